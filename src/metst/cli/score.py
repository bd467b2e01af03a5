"""``metst score``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from metst.cli.console import AsJson, Quiet, Verbose, console, print_json, table, talk

Scorer = Literal["strict", "greedy", "many-to-many", "megc"]


def score(
    predictions: Annotated[Path, typer.Argument(help="CSV: subject, video, onset, offset, emotion; frames from 1.")],
    truth: Annotated[Path, typer.Argument(help="CSV with the same columns.")],
    scorer: Annotated[Scorer, typer.Option(help="Who counts how: see the documentation.")] = "strict",
    iou: Annotated[float, typer.Option(min=0.01, max=1, help="Lowest overlap that counts as found.")] = 0.5,
    classes: Annotated[str, typer.Option(help="Classes for recognition, with commas.")] = "negative,positive,surprise",
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of the subjects for confidence intervals.")] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compare predicted intervals with the truth under a named scorer."""
    talk(quiet=quiet, verbose=verbose)
    from metst.metrics import score_tables, tables_for_people

    names = tuple(name.strip() for name in classes.split(",") if name.strip())
    tables = score_tables(predictions, truth, scorer=scorer, iou=iou, classes=names, bootstrap=bootstrap)
    for title, columns, rows in tables_for_people(tables):
        table(title, list(columns), [list(row) for row in rows])
    if "others" not in names:
        # The field reports recognition over three classes or over these and "others": both belong in sight.
        four = score_tables(predictions, truth, scorer=scorer, iou=iou, classes=(*names, "others"))
        tables["with_others"] = {key: four[key] for key in ("classes", "recognition", "strs")}
        f1, strs = four["recognition"]["f1"], four["strs"]
        console.print(f"With class others as well: recognition F1 {f1:.4f}, STRS {strs:.4f}")
    if as_json:
        print_json(tables)
