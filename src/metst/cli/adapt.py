"""``metst adapt``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from metst.cli.console import FINISHED_WITH_PROBLEMS, console, print_json, progress, table, talk
from metst.cli.options import AsJson, ModelName, Quiet, Rate, Verbose
from metst.errors import DataError, UsageError

if TYPE_CHECKING:
    from metst.training.adaptation_check import Check


def adapt(
    videos: Annotated[
        list[Path],
        typer.Argument(metavar="VIDEO...", help="Two recordings or more, as your lab makes them."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Checkpoint folder to write.")],
    model: ModelName = "metst-event",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps.", show_default="150, a few minutes")
    ] = None,
    subject: Annotated[
        list[str],
        typer.Option(help="Who is on the recordings, for `metst evaluate` not to test them; may be repeated."),
    ] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(min=0, help="Seed of parting, clips and planted movements.")] = 100,
    fps: Rate = None,
    cache: Annotated[bool, typer.Option(help="Keep the motion of the recordings, and take what was kept.")] = True,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Adapt a model to your camera, light and task, from recordings without labels.

    Stopped at any moment, the same command goes on where it was.
    """
    talk(quiet=quiet, verbose=verbose)
    from metst.models.checkpoint import check_target
    from metst.training.adaptation import DEFAULT_STEPS, adapt_model, adaptable, measured_recordings

    base = adaptable(model)
    check_target(output, overwrite=True)
    if len(videos) < 2:
        raise UsageError(f"{len(videos)} recording: expected two or more, of which some are kept to check on")
    if subject and base.info.training_subjects is None:
        raise UsageError(f"--subject: {model} does not say whom it was trained on, so neither can what comes of it")
    faults: list[str] = []
    with progress("adapt") as on_progress:
        recordings = measured_recordings(
            videos, min_quality=base.info.input.min_quality, rate_hz=fps, cache=cache, on_fault=faults.append,
            on_progress=on_progress,
        )  # fmt: skip
        if len(recordings) < 2:
            raise DataError(
                f"{len(recordings)} of {len(videos)} recordings can be used, of two or more: {'; '.join(faults)}"
            )
        check = adapt_model(
            output, recordings, model=base, steps=steps or DEFAULT_STEPS, seed=seed, subjects=subject,
            on_progress=on_progress,
        )  # fmt: skip
    _show(check)
    console.print(escape(f"{output}: give it to metst analyze, live or calibrate with --model"))
    if as_json:
        print_json(check.as_dict())
    console.quiet = False
    for fault in faults:
        console.print(f"[red]left out:[/red] {escape(fault)}")
    if faults:
        raise typer.Exit(FINISHED_WITH_PROBLEMS)


def _show(check: Check) -> None:
    """The figures of before and after."""
    before, after = check.before, check.after
    rows = [
        [f"found, amplitude {amplitude:g}", *(f"{side.found[amplitude]} of {count}" for side in (before, after))]
        for amplitude, count in check.planted.items()
    ]
    rows += [
        ["other events beside them", str(before.wrong), str(after.wrong)],
        ["spotting F1", f"{check.f1(before):.3f}", f"{check.f1(after):.3f}"],
        ["best F1 over all thresholds", f"{before.best_f1:.3f}", f"{after.best_f1:.3f}"],
        ["candidates per minute as recorded", f"{before.candidates_per_min:.1f}", f"{after.candidates_per_min:.1f}"],
    ]
    title = f"{check.recordings} of the recordings, unused before ({check.minutes:.1f} min), with planted movements"
    table(title, ["", "before", "after"], rows)
    if check.f1(after) <= check.f1(before):
        console.print("[yellow]note:[/yellow] nothing was gained on these recordings: keep the model of before")
    if after.candidates_per_min > before.candidates_per_min:
        console.print("[yellow]note:[/yellow] it gives more candidates per minute where nothing was planted")
