"""``metst datasets``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from metst.cli.console import FINISHED_WITH_PROBLEMS, console, print_json, table, talk
from metst.cli.options import AsJson, LabelFiles, Quiet, Verbose
from metst.published.facts import REMARKS, Kind

if TYPE_CHECKING:
    from metst.datasets import DataSet

datasets = typer.Typer(no_args_is_help=True, help="Look after data sets with labels.")


@datasets.callback()
def _group() -> None:
    """Keep ``check`` a command of its own while it is the only one."""


@datasets.command()
def check(
    root: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    kind: Annotated[Kind | None, typer.Option(help="Which data set it is, if it is not recognised.")] = None,
    labels: LabelFiles = None,
    errata: Annotated[bool, typer.Option("--errata/--no-errata", help="Correct known errors of the sheets.")] = True,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say what a data set holds, all that is wrong with it, and how it differs from what was published."""
    talk(quiet=quiet, verbose=verbose)
    from metst.datasets import load_dataset

    with console.status(escape(f"reading {root}")):
        data_set = load_dataset(root, kind=kind, errata=errata, labels=labels or ())
    _show(data_set, verbose=verbose)
    if as_json:
        print_json(_as_json(data_set, errata=errata))
    if data_set.faults:
        raise typer.Exit(FINISHED_WITH_PROBLEMS)


def _show(data_set: DataSet, *, verbose: bool) -> None:
    from metst.datasets.counts import compare, counts
    from metst.datasets.types import said_once
    from metst.spelling.alike import together

    found = [[what, str(number)] for what, number in counts(data_set).items()]
    console.print(escape(f"{data_set.root} is read as {data_set.kind}"))
    table("Found", ["what", "found"], found)
    for tally in data_set.tallies:
        console.print(escape(f"{tally.source}: {_tally(tally.rows, tally.corrected, tally.left_out)}"))
    published = [[c.what, "-".join(dict.fromkeys(map(str, c.published))), str(c.found), c.difference or "as published"]
                 for c in compare(data_set)]  # fmt: skip
    if published:
        table("Published counts", ["what", "published", "found", "difference"], published)
    if data_set.kind in REMARKS:
        console.print(escape(f"Published counts: {REMARKS[data_set.kind]}"))
    corrections, faults = data_set.corrections, data_set.faults
    for line in map(str, corrections) if verbose else said_once(corrections):
        console.print(escape(f"corrected: {line}"))
    for note in data_set.notes if verbose else together(data_set.notes):
        console.print(escape(f"note: {note}"))
    for line in map(str, faults) if verbose else said_once(faults):
        console.print(f"[yellow]fault:[/yellow] {escape(line)}")
    number = len(data_set.faults)
    console.print(f"{number or 'no'} inconsistenc{'y' if number == 1 else 'ies'}")


def _tally(rows: int, corrected: int, left_out: int) -> str:
    return f"labels {rows}: read as written {rows - corrected - left_out}, corrected {corrected}, left out {left_out}"


def _as_json(data_set: DataSet, *, errata: bool) -> dict[str, Any]:
    from metst.datasets.counts import compare, counts

    return {
        "data_set": data_set.kind,
        "root": str(data_set.root),
        "errata": errata,
        "counts": counts(data_set),
        "rows": [{**asdict(tally), "left_out": tally.left_out} for tally in data_set.tallies],
        "published": [{**asdict(count), "agrees": count.agrees} for count in compare(data_set)],
        "remark": REMARKS.get(data_set.kind, ""),
        "corrections": [asdict(correction) for correction in data_set.corrections],
        "notes": list(data_set.notes),
        "faults": [asdict(fault) for fault in data_set.faults],
    }
