"""``metst live``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from metst.cli.console import FINISHED_WITH_PROBLEMS, console, introduce, talk
from metst.cli.options import ExpectedRate, ModelName, PointName, Quiet, Rate, Verbose
from metst.config import DEFAULT_POINT
from metst.errors import UsageError

if TYPE_CHECKING:
    from metst.live.outputs import Output
    from metst.live.session import Outcome
    from metst.live.source import Source
    from metst.stream import Stream


def live(
    source: Annotated[str, typer.Argument(help="Number of a camera, or a video to play.")] = "0",
    model: ModelName = "metst-event",
    operating_point: PointName = DEFAULT_POINT,
    expected_per_min: ExpectedRate = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for events.csv and frames.csv; without it nothing is stored."),
    ] = None,
    duration: Annotated[float | None, typer.Option(min=0, help="Seconds after which to end.")] = None,
    speed: Annotated[float, typer.Option(min=0, help="How fast a video is played; 0 as fast as possible.")] = 1.0,
    fast: Annotated[bool, typer.Option("--fast", help="Play a video as fast as possible: the same as --speed 0.")] = (
        False
    ),
    fps: Rate = None,
    lsl: Annotated[
        str | None, typer.Option(metavar="NAME", help="Send scores and events to the Lab Streaming Layer.")
    ] = None,
    window: Annotated[bool, typer.Option("--window", help="Show the picture, if this OpenCV has windows.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line per event on the standard output.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Watch a camera, or play a video, and show movement candidates as they happen."""
    talk(quiet=quiet, verbose=verbose)
    from metst.live.session import ended_by_interrupt, run_live, warm_up
    from metst.models.checkpoint import load_model
    from metst.stream import Stream

    speed = 0.0 if fast else speed
    if lsl and not speed:
        raise UsageError("--lsl gives times at which things happened: play the video at its own speed")
    stream = Stream(model=load_model(model).as_used(point=operating_point, expected_per_min=expected_per_min))
    introduce(stream.model.as_live())
    late = stream.latency
    console.print(f"Scores come {late.score_s:.2f} s late, candidates {late.event_total_s:.2f} s after onset at most")
    if speed:
        warm_up(stream.model)
    opened = _open(source, speed=speed, fps=fps)
    with ended_by_interrupt() as stop:
        outputs = _outputs(stream, opened, folder=output, lsl=lsl, window=window, as_json=as_json)
        outcome = run_live(opened, stream=stream, outputs=outputs, keep_all=not speed, duration_s=duration, stop=stop)
    _tell(outcome, verbose=verbose)
    if outcome.problems:
        raise typer.Exit(FINISHED_WITH_PROBLEMS)


def _open(source: str, *, speed: float, fps: float | None) -> Source:
    from metst.live.source import Playback
    from metst.video.camera import Camera

    return Camera(int(source)) if source.isdecimal() else Playback(Path(source), speed=speed, rate_hz=fps)


def _outputs(
    stream: Stream, source: Source, *, folder: Path | None, lsl: str | None, window: bool, as_json: bool
) -> list[Output]:
    """All that was asked for; the display comes last, so that nothing fails while it draws."""
    from metst.live.display import Lines, Screen
    from metst.live.outputs import JsonLines, LabStreamingLayer, Tables
    from metst.live.window import Preview

    outputs: list[Output] = []
    if folder is not None:
        outputs.append(Tables(folder, classes=stream.model.info.classes))
    if as_json:
        outputs.append(JsonLines(sys.stdout))
    if lsl:
        outputs.append(LabStreamingLayer(lsl, channels=stream.channels, source=source))
    if window:
        outputs.append(Preview())
    if not console.quiet:
        # JSON lines in the same terminal would break a panel that is redrawn.
        redrawn = console.is_terminal and not (as_json and sys.stdout.isatty())
        outputs.append(Screen(console) if redrawn else Lines(console))
    return outputs


def _tell(outcome: Outcome, *, verbose: bool) -> None:
    found = f"{outcome.events or 'no'} movement candidate{'' if outcome.events <= 1 else 's'}"
    speed = f"{outcome.frames} frames at {outcome.rate_hz:.1f} frames/s, {outcome.dropped} dropped"
    console.print(f"{outcome.seconds:.1f} s, {speed}: {found}")
    if verbose:
        stages = ", ".join(f"{stage} {milliseconds:.2f}" for stage, milliseconds in outcome.stage_ms.items())
        console.print(f"milliseconds per frame: {stages}")
    console.quiet = False
    for problem in outcome.problems:
        console.print(f"[yellow]note:[/yellow] {escape(problem)}", soft_wrap=True)
