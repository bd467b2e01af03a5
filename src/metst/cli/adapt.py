"""``metst adapt``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from metst.cli.calibrate import found_of, interval_of
from metst.cli.console import console, print_json, progress, table, talk
from metst.cli.options import AsJson, ModelName, Quiet, Rate, Verbose
from metst.errors import FaceError, UsageError

if TYPE_CHECKING:
    from metst.models.checkpoint import Model
    from metst.sensitivity.summary import Summary
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
    calibrate: Annotated[
        bool, typer.Option(help="Also plant into the pictures of the kept recordings, as metst calibrate does.")
    ] = True,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Adapt a model to your camera, light and task, from recordings without labels.

    Stopped at any moment, the same command goes on where it was.
    """
    talk(quiet=quiet, verbose=verbose)
    from metst.models.checkpoint import check_target, load_model
    from metst.training import adaptation

    base = adaptation.adaptable(model)
    check_target(output, overwrite=True)
    if len(videos) < 2:
        raise UsageError(f"{len(videos)} recording: expected two or more, of which some are kept to check on")
    if subject and base.info.training_subjects is None:
        raise UsageError(f"--subject: {model} does not say whom it was trained on, so neither can what comes of it")
    with progress("adapt") as on_progress:
        recordings = adaptation.measured_recordings(
            videos, min_quality=base.info.input.min_quality, rate_hz=fps, cache=cache, on_progress=on_progress
        )
        check = adaptation.adapt_model(
            output, recordings, model=base, steps=steps or adaptation.DEFAULT_STEPS, seed=seed, subjects=subject,
            on_progress=on_progress,
        )  # fmt: skip
    _show(check)
    result = check.as_dict()
    if calibrate:
        kept = adaptation.kept_to_check(videos, recordings, seed=seed)
        result["calibrate"] = calibrated(kept, before=base, after=load_model(output), rate_hz=fps, cache=cache)
        adaptation.write_check(output, result)
    console.print(escape(f"{output}: give it to metst analyze, live or calibrate with --model"))
    if as_json:
        print_json(result)


def calibrated(
    videos: Sequence[Path], *, before: Model, after: Model, rate_hz: float | None, cache: bool
) -> dict[str, Any]:
    """What `metst calibrate` measures, with both models on the same planted pictures; shown, and as plain values."""
    from metst.sensitivity.comparison import calibrate_models
    from metst.sensitivity.settings import CalibrateSettings
    from metst.sensitivity.summary import figures_of, summarise_all

    try:
        with progress("calibrate") as on_progress:
            found = calibrate_models(
                videos, models=(before, after), settings=CalibrateSettings(), rate_hz=rate_hz, cache=cache,
                on_progress=on_progress,
            )  # fmt: skip
    except FaceError as error:
        console.print(f"[yellow]note:[/yellow] not calibrated: {escape(str(error))}")
        return {"problem": str(error)}
    sides = dict(zip(("before", "after"), map(summarise_all, zip(*found, strict=True)), strict=True))
    moments = sum(each.moments for each, _ in found)
    _compare(sides, title=f"metst calibrate, {len(found)} of the {len(videos)} with a quiet moment ({moments} in all)")
    figures = {name: figures_of(summary) for name, summary in sides.items()}
    return {"recordings": len(found), "quiet_moments": moments} | figures


def _compare(sides: dict[str, Summary], *, title: str) -> None:
    """The table and the sentences of `metst calibrate`, for both models."""
    from metst.sensitivity.calibration_page import lead

    points = zip(*(summary.points for summary in sides.values()), strict=True)
    rows = [[f"found, amplitude {pair[0]['amplitude']:g}", *map(_found, pair)] for pair in points]
    alarms = [summary.figures["false_alarms"] for summary in sides.values()]
    for kind, words in (("recording", "as recorded"), ("beside_planted", "beside what was planted")):
        rows.append([f"false alarms per minute {words}", *(_rate(each[kind]) for each in alarms)])
    table(title, ["", *sides], rows)
    for name, summary in sides.items():
        console.print(f"{name}: {lead(summary.typical, points=summary.points)}")


def _found(point: dict[str, Any]) -> str:
    return f"{found_of(point)} ({interval_of(point)})"


def _rate(counted: dict[str, float]) -> str:
    return f"{counted['per_minute']:.2f} ({counted['low']:.2f} - {counted['high']:.2f})"


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
    title = (
        f"{check.recordings} recordings unused before ({check.minutes:.1f} min), movements planted into their motion"
    )
    table(title, ["", "before", "after"], rows)
    if check.f1(after) <= check.f1(before):
        console.print("[yellow]note:[/yellow] nothing was gained on these recordings: keep the model of before")
    if after.candidates_per_min > before.candidates_per_min:
        console.print("[yellow]note:[/yellow] it gives more candidates per minute where nothing was planted")
