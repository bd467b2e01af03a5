"""Names of the formats, for the command line, which must not load what reads them."""

from typing import Literal

FormatName = Literal["elan", "textgrid", "csv", "tsv", "xlsx", "boris", "bids", "webvtt"]
"""Formats of other programs, written and read."""
