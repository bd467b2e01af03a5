"""``metst calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from metst.cli.console import FINISHED_WITH_PROBLEMS, console, print_json, progress, table, talk
from metst.cli.options import AsJson, ModelName, OutputFolder, Quiet, Rate, Verbose
from metst.cli.synthesize import numbers, words


def calibrate(
    video: Annotated[Path, typer.Argument(help="Recording to calibrate; a minute of a person who sits still.")],
    output: OutputFolder = Path("metst-calibration"),
    model: ModelName = "metst-event",
    amplitudes: Annotated[
        str, typer.Option(help="Fractions of full contraction, separated by commas; placebos (0) are always there.")
    ] = "0,0.03,0.05,0.08,0.12,0.2,0.3",
    durations: Annotated[str, typer.Option(help="Durations, seconds, separated by commas.")] = "0.2,0.35,0.5",
    labels: Annotated[str, typer.Option(help="Classes to plant, separated by commas.")] = "negative,positive,surprise",
    repeats: Annotated[int, typer.Option(min=1, max=100, help="Trials per amplitude, duration and class.")] = 2,
    crf: Annotated[int, typer.Option(min=0, max=51, help="H.264 quality of the planted recordings.")] = 18,
    seed: Annotated[int, typer.Option(min=0, help="Seed; the same seed gives the same figures.")] = 1,
    fps: Rate = None,
    cache: Annotated[bool, typer.Option(help="Keep the motion of the recording, and take what was kept.")] = True,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure what can be found in your own recording, by planting known movements into it."""
    talk(quiet=quiet, verbose=verbose)
    from metst.sensitivity import CalibrateSettings, as_dict, summarise, write_calibration, write_page
    from metst.sensitivity import calibrate as run
    from metst.sensitivity.calibration_page import lead
    from metst.storage import make_folder
    from metst.video import probe_video

    settings = CalibrateSettings(
        amplitudes=numbers(amplitudes, option="--amplitudes"),
        durations_s=numbers(durations, option="--durations"),
        labels=words(labels),
        repeats=repeats,
        crf=crf,
        seed=seed,
    )
    probe_video(video, rate_hz=fps)
    make_folder(output)  # before the work, which would be lost without it
    with progress(video.name) as on_progress:
        found = run(video, model=model, settings=settings, rate_hz=fps, cache=cache, on_progress=on_progress)
        summary = summarise(found)
    write_calibration(found, summary, output)
    write_page(found, summary, output / "calibration.html")
    rows = [
        [
            f"{point['amplitude']:g}",
            f"{point['found']} of {point['trials']}",
            f"{point['low']:.0%} - {point['high']:.0%}",
        ]
        for point in summary.points
    ]
    table(f"{escape(video.name)}: planted movements found", ["amplitude", "found", "95 % interval"], rows)
    console.print(lead(summary))
    for problem in found.raw.problems:
        console.print(f"[yellow]note:[/yellow] {escape(problem)}")
    console.print(escape(f"Page: {output / 'calibration.html'}"))
    if as_json:
        print_json(as_dict(found, summary))
    if found.raw.problems:
        raise typer.Exit(FINISHED_WITH_PROBLEMS)
