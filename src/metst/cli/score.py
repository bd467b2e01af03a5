"""``metst score``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from metst.cli.console import console, print_json, table, talk
from metst.cli.options import AsJson, Quiet, Verbose

Scorer = Literal["strict", "greedy", "many-to-many", "megc"]


Predictions = Annotated[
    Path, typer.Argument(help="CSV: subject, video, onset, offset, emotion, and confidence if there is; frames from 1.")
]
Truth = Annotated[Path, typer.Argument(help="CSV with the same columns.")]
ScorerName = Annotated[Scorer, typer.Option(help="Who counts how: see the documentation.")]
LowestIou = Annotated[float, typer.Option(min=0.01, max=1, help="Lowest overlap that counts as found.")]
Classes = Annotated[str, typer.Option(help="Classes for recognition, with commas.")]
Against = Annotated[Path | None, typer.Option(help="Other predictions, CSV: print how much better the first are.")]
Threshold = Annotated[float | None, typer.Option(help="Lowest confidence of a prediction that counts.")]
VideoRate = Annotated[
    float | None, typer.Option("--fps", help="Frame rate, in frames per second: durations in seconds.")
]
VideoList = Annotated[
    Path | None, typer.Option(help="CSV: subject, video (and frames) of all videos, also those without any event.")
]
Resamples = Annotated[int, typer.Option(min=0, help="Resamples of the subjects for confidence intervals.")]


def score(
    predictions: Predictions,
    truth: Truth,
    scorer: ScorerName = "strict",
    iou: LowestIou = 0.5,
    classes: Classes = "negative,positive,surprise",
    against: Against = None,
    threshold: Threshold = None,
    rate: VideoRate = None,
    videos: VideoList = None,
    bootstrap: Resamples = 1000,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compare predicted intervals with the truth under a named scorer."""
    talk(quiet=quiet, verbose=verbose)
    from metst.metrics import read_lengths_csv, score_tables, tables_for_people

    names = tuple(name.strip() for name in classes.split(",") if name.strip())
    listed = read_lengths_csv(videos) if videos is not None else ()
    result = score_tables(
        predictions,
        truth,
        scorer=scorer,
        iou=iou,
        classes=names,
        against=against,
        threshold=threshold,
        rate_hz=rate,
        videos=listed,
        bootstrap=bootstrap,
    )
    for title, columns, rows in tables_for_people(result):
        table(title, list(columns), [list(row) for row in rows])
    if "others" not in result["classes"]:
        # The field reports recognition over three classes or over these and "others": both belong in sight.
        four = score_tables(
            predictions,
            truth,
            scorer=scorer,
            iou=iou,
            classes=(*names, "others"),
            threshold=threshold,
            videos=listed,
            bootstrap=0,
        )
        result["with_others"] = {key: four[key] for key in ("classes", "recognition", "strs")}
        f1, strs = four["recognition"]["f1"], four["strs"]
        absent = "" if "others" in result["emotions"]["truth"] else " (no true interval has it: it counts as 0)"
        console.print(f"With class others as well{absent}: recognition F1 {f1:.4f}, STRS {strs:.4f}")
    for note in result["notes"]:
        console.print(f"[yellow]note:[/yellow] {escape(note)}")
    if as_json:
        print_json(result)
