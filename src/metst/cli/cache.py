"""``metst cache``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from metst.cli.console import console, print_json, table, talk
from metst.cli.options import AsJson, Quiet, Verbose
from metst.errors import UsageError

if TYPE_CHECKING:
    from metst.motion.cache import Entry

_MB = 1e6
"""Bytes of a megabyte, as disks are sold: decimal."""


def cache(
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete entries: say which ones with an option below.")
    ] = False,
    older_than: Annotated[
        float | None, typer.Option("--older-than", min=0, metavar="DAYS", help="With --prune: not used for so long.")
    ] = None,
    max_size: Annotated[
        float | None,
        typer.Option("--max-size", min=0, metavar="MB", help="With --prune: those used longest ago, until this fits."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="With --prune: all of them.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List or delete what is kept of recordings: the motion of analysed ones, and quicker copies for the review."""
    talk(quiet=quiet, verbose=verbose)
    from metst.motion.cache import default_folder, open_cache

    chosen = everything or older_than is not None or max_size is not None
    if prune != chosen:
        raise UsageError("to delete entries give --prune with --older-than DAYS, --max-size MB or --all")
    kept = open_cache(default_folder())
    if prune:
        max_bytes = None if max_size is None else max_size * _MB
        gone = kept.prune(older_than_days=older_than, max_bytes=max_bytes, everything=everything)
        console.print(f"Deleted {_sum(gone)}.")
    entries = kept.entries()
    if as_json:
        print_json(
            [
                {"name": entry.name, "bytes": entry.size, "used": entry.used.isoformat(timespec="seconds")}
                for entry in entries
            ]
        )
    elif entries and not prune:
        rows = [[entry.name or "(damaged)", _size(entry.size), f"{entry.used.astimezone():%Y-%m-%d %H:%M}"]
                for entry in entries]  # fmt: skip
        table("Kept motion", ["recording", "size", "last used"], rows)
    console.print(escape(f"{_sum(entries)} in {kept.folder}"), soft_wrap=True)


def _sum(entries: list[Entry]) -> str:
    noun = "entry" if len(entries) == 1 else "entries"
    return f"{len(entries)} {noun}, {_size(sum(entry.size for entry in entries))}"


def _size(count: int) -> str:
    return f"{count / _MB:.1f} MB"
