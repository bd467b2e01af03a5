"""``metst calibrate``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from metst.cli.console import console, ended_with, named, print_json, progress, table, talk, tell_folders
from metst.cli.options import (
    AsJson,
    ModelName,
    OutputFolder,
    Quiet,
    Rate,
    ReviewsOf,
    Verbose,
    on_machines,
    one_by_one,
    reachable,
    reachable_model,
    setting,
)
from metst.cli.synthesize import numbers, words
from metst.errors import UsageError
from metst.evaluation.executors import Executor, alone, check_executor, run_tasks
from metst.sensitivity.settings import CalibrateSettings

if TYPE_CHECKING:
    from metst.sensitivity.many import CalibrationTask

_USUAL = CalibrateSettings.model_construct()
"""The settings without options."""

_USUAL_LABELS = ",".join(_USUAL.labels)
"""Their classes, as the option takes them."""

OVERALL_TABLE = "calibrations.csv"
"""The table over several recordings, in the folder for the results."""


FromReviews = Annotated[
    bool,
    typer.Option(
        "--from-reviews",
        help="Fit the confidence of the model on what was accepted and rejected in released reviews, and write it with"
        " that into the output folder.",
    ),
]
Labels = Annotated[str, typer.Option(help="Classes to plant, separated by commas.")]


def _listed(values: tuple[float, ...]) -> str:
    """Numbers as the options take them."""
    return ",".join(f"{value:g}" for value in values)


@on_machines
def calibrate(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Recordings to calibrate, a minute of a person who sits still each; folders or lists (.txt) of them."
            " With --from-reviews: results that were reviewed, or folders that hold some.",
            show_default=False,
        ),
    ],
    where: Executor,
    output: OutputFolder = Path("metst-calibration"),
    model: ModelName = "metst-event",
    amplitudes: Annotated[
        str, typer.Option(help="Fractions of full contraction, separated by commas; placebos (0) are always there.")
    ] = _listed(_USUAL.amplitudes),
    durations: Annotated[str, typer.Option(help="Durations, seconds, separated by commas.")] = _listed(
        _USUAL.durations_s
    ),
    labels: Labels = _USUAL_LABELS,
    repeats: Annotated[int, setting(CalibrateSettings, "repeats")] = _USUAL.repeats,
    crf: Annotated[int, setting(CalibrateSettings, "crf")] = _USUAL.crf,
    seed: Annotated[int, setting(CalibrateSettings, "seed")] = _USUAL.seed,
    fps: Rate = None,
    cache: Annotated[bool, typer.Option(help="Keep the motion of the recording, and take what was kept.")] = True,
    from_reviews: FromReviews = False,
    coder: ReviewsOf = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure what can be found in your own recording, by planting known movements into it.

    Of several recordings, each has a folder in that of the results, and those that are done are not run again.
    """
    talk(quiet=quiet, verbose=verbose)
    if from_reviews:
        _from_reviews(inputs, output, model=model, coder=coder, as_json=as_json)
        return
    if coder is not None:
        raise UsageError("--coder belongs to --from-reviews")
    settings = CalibrateSettings(
        amplitudes=numbers(amplitudes, option="--amplitudes"),
        durations_s=numbers(durations, option="--durations"),
        labels=words(labels),
        repeats=repeats,
        crf=crf,
        seed=seed,
    )
    where, output, model = one_by_one(where), reachable(output, where), reachable_model(model, where)
    figures = _recordings(inputs, output, model=model, settings=settings, rate_hz=fps, cache=cache, where=where)
    if as_json:
        print_json(figures)
    if code := _code([figures] if isinstance(figures, dict) else figures):
        raise typer.Exit(code)


def _recordings(
    inputs: list[Path],
    output: Path,
    *,
    model: str,
    settings: CalibrateSettings,
    rate_hz: float | None,
    cache: bool,
    where: Executor,
) -> dict[str, Any] | list[dict[str, Any]]:
    """Calibrate recordings; the figures of a single one, or of each."""
    from metst.datasets.corpus import find_recordings
    from metst.sensitivity.many import CalibrationTask

    recordings = find_recordings([reachable(each, where) for each in inputs], output=output)
    by_itself = [each.path for each in recordings] == inputs[:1] and where.kind == "local"
    if not by_itself:
        tell_folders(recordings)
    folders = [output if by_itself else output / each.name for each in recordings]
    tasks = [
        CalibrationTask(each.path, folder, model, settings, rate_hz=rate_hz, cache=cache)
        for each, folder in zip(recordings, folders, strict=True)
    ]
    return _one(tasks[0], where) if by_itself else _all(tasks, output=output, where=where)


def _from_reviews(inputs: list[Path], output: Path, *, model: str, coder: str | None, as_json: bool) -> None:
    """Write the model with a confidence that fits what was reviewed."""
    from metst.models.checkpoint import check_target, load_model, save_copy
    from metst.training.recalibration import judged_candidates, recalibrated

    check_target(output, overwrite=False)
    base = load_model(model)
    judged, notes = judged_candidates(inputs, model=base, coder=coder)
    info, figures = recalibrated(base, judged)
    save_copy(base, output, info=info)
    for note in notes:
        console.print(f"[yellow]note:[/yellow] {escape(note)}")
    told = f"{figures['right']} accepted, {figures['wrong']} rejected, {figures['recordings']} recordings"
    console.print(f"Confidence fitted on candidates of {figures['persons']} people: {told}")
    if figures["ece_after"] is None:
        console.print("[yellow]note:[/yellow] one person alone: nobody is left to tell whether it is better")
    else:
        errors = f"{figures['ece_before']:.3f} before, {figures['ece_after']:.3f} after"
        console.print(f"Calibration error, each person left out in turn: {errors}")
    console.print(escape(f"{output}: give it to metst analyze with --model"))
    if as_json:
        print_json({"folder": str(output), **figures, "notes": notes})


def _code(figures: list[dict[str, Any]]) -> int:
    """What the command leaves with."""
    failed = [each["error"] for each in figures if "error" in each]
    problems = [*failed, *(problem for each in figures if "error" not in each for problem in each["problems"])]
    return ended_with(problems, failed=len(failed), of=len(figures))


def _one(task: CalibrationTask, where: Executor) -> dict[str, Any]:
    """Calibrate one recording and say what was found."""
    from metst.sensitivity.many import calibrate_into, read_figures

    if where.separate:
        from metst.video import probe_video

        probe_video(task.path, rate_hz=task.rate_hz)  # a wrong call is told as such, and before there is a worker
        with progress("calibrate") as on_progress:
            alone(calibrate_into, task, executor=where, on_progress=on_progress, counted="recordings")
    else:
        with progress(task.path.name) as on_progress:
            calibrate_into(task, on_progress=on_progress)
    figures = read_figures(task.folder)
    _tell(task, figures)
    return figures


def _tell(task: CalibrationTask, figures: dict[str, Any]) -> None:
    from metst.sensitivity.calibration_page import lead
    from metst.sensitivity.many import PAGE_FILE
    from metst.sensitivity.summary import Threshold

    points, thresholds = figures["points"], figures["found_9_in_10"]
    rows = [[f"{point['amplitude']:g}", found_of(point), interval_of(point)] for point in points]
    table(f"{task.path.name}: planted movements found", ["amplitude", "found", "95 % interval"], rows)
    console.print(lead(Threshold(**thresholds[len(thresholds) // 2]), points=points))
    for problem in figures["problems"]:
        console.print(f"[yellow]note:[/yellow] {escape(problem)}")
    console.print(escape(f"Page: {task.folder / PAGE_FILE}"))


def found_of(point: dict[str, Any]) -> str:
    """How many of the movements of an amplitude were found."""
    return f"{point['found']} of {point['trials']}"


def interval_of(point: dict[str, Any]) -> str:
    """The 95 % interval of their share."""
    return f"{point['low']:.0%} - {point['high']:.0%}"


def _all(tasks: list[CalibrationTask], *, output: Path, where: Executor) -> list[dict[str, Any]]:
    """Calibrate all recordings that are not done, and write the table over all."""
    from metst.sensitivity.many import do_calibration, write_overall
    from metst.storage import make_folder

    where = replace(where, folder=output / "slurm")
    check_executor(where)
    make_folder(output)
    with progress("calibrate") as on_progress:
        failures = run_tasks(do_calibration, tasks, executor=where, on_progress=on_progress, counted="recordings")
    figures = write_overall(tasks, {each.task: each.message for each in failures}, output / OVERALL_TABLE)
    console.print(escape(f"{output}: {OVERALL_TABLE}, a folder for each of {len(tasks) - len(failures)} recordings"))
    console.quiet = False
    for failure in failures:
        console.print(f"[red]failed:[/red] {escape(named(tasks[failure.task].path, failure.message))}")
    return figures
