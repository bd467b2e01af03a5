"""``metst demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metst.cli.console import (
    AsJson,
    ModelName,
    OutputFolder,
    Quiet,
    Verbose,
    console,
    print_json,
    progress,
    table,
    talk,
)


def demo(
    output: OutputFolder = Path("metst-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the clip.")] = 1,
    model: ModelName = "metst-event",
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make a clip with known micro-expressions, analyse it, compare found with planted."""
    talk(quiet=quiet, verbose=verbose)
    from metst.cli.demonstration import run_demo

    with progress("demo") as on_progress:
        outcome = run_demo(output, seed=seed, model=model, on_progress=on_progress)
    table("Planted and found", list(outcome.columns), [list(row) for row in outcome.rows])
    console.print(outcome.summary)
    console.print(f"Report: {outcome.report}")
    if as_json:
        print_json(outcome.as_dict())
