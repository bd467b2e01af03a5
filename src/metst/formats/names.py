"""Names of the formats, for the command line, which must not load what reads them."""

from typing import Literal

FormatName = Literal["elan", "textgrid", "csv", "tsv", "xlsx", "boris", "label-studio", "bids", "webvtt"]
"""Formats of other programs, written and read."""

ImportName = Literal[FormatName, "megc"]
"""Formats that are read: submissions, whose names are those of the challenge, are written in a way of their own."""
