"""``metst analyze``."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from metst.cli.console import FINISHED_WITH_PROBLEMS, console, introduce, load, print_json, progress, table, talk
from metst.cli.options import AsJson, ExpectedRate, ModelName, OutputFolder, Quiet, Rate, Verbose
from metst.errors import MetstError

if TYPE_CHECKING:
    from metst.models.checkpoint import Model
    from metst.results import Analysis

MotionFormat = Literal["csv", "safetensors"]

_DIGITS = 4
"""Decimals of a confidence in JSON. Set by hand."""


def analyze(
    inputs: Annotated[list[Path], typer.Argument(help="Videos or folders of frames.", show_default=False)],
    output: OutputFolder = Path("metst-results"),
    model: ModelName = "metst-event",
    expected_per_min: ExpectedRate = None,
    fps: Rate = None,
    motion_format: Annotated[MotionFormat, typer.Option(help="Format of the motion file.")] = "csv",
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write a video that shows the motion.")] = False,
    show_identity: Annotated[
        bool, typer.Option("--show-identity", help="Do not blur faces in the report, nor cover eyes in the video.")
    ] = False,
    use_cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Keep the motion (no pictures) for the next run, and use it.")
    ] = True,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find micro-expressions in videos; write tables and a report for each."""
    talk(quiet=quiet, verbose=verbose)
    loaded = load(model, expected_per_min=expected_per_min)
    introduce(loaded, expected_per_min=expected_per_min)
    results: list[dict[str, Any]] = []
    for path, folder in zip(inputs, _result_folders(inputs, output=output), strict=True):
        try:
            results.append(_analyze_one(path, folder, model=loaded, fps=fps, motion_format=motion_format,
                                        overlay=overlay, cache=use_cache, blur=not show_identity))  # fmt: skip
        except MetstError as error:
            if len(inputs) == 1:
                raise
            console.print(f"[red]failed:[/red] {escape(_named(path, str(error)))}")
            results.append({"input": str(path), "error": str(error)})
    if as_json:
        print_json(results)
    _list_problems(results, quiet=quiet)
    if any(_is_failed(result) or result["problems"] for result in results):
        raise typer.Exit(FINISHED_WITH_PROBLEMS)


def _is_failed(result: dict[str, Any]) -> bool:
    return "error" in result


def _named(path: Path, message: str) -> str:
    """A message that names its input, once."""
    return message if path.name in message else f"{path.name}: {message}"


def _list_problems(results: list[dict[str, Any]], *, quiet: bool) -> None:
    """Name what failed at the end, where it cannot be overlooked; when quiet, say why, and what else was wrong."""
    console.quiet = False
    if quiet:
        for result in results:
            for problem in [result["error"]] if _is_failed(result) else result["problems"]:
                console.print(escape(_named(Path(result["input"]), problem)))
    if failed := [result["input"] for result in results if _is_failed(result)]:
        console.print(f"{len(failed)} of {len(results)} inputs failed: {escape(', '.join(failed))}")


def _result_folders(inputs: list[Path], *, output: Path) -> list[Path]:
    """One folder per input, named by its file; a number keeps equal names apart."""
    taken: set[str] = set()
    folders = []
    for path in inputs:
        stem = path.resolve().stem or "input"
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        name = next(name for name in names if name.casefold() not in taken)
        taken.add(name.casefold())
        folders.append(output / name)
    return folders


def _analyze_one(
    path: Path,
    folder: Path,
    *,
    model: Model,
    fps: float | None,
    motion_format: MotionFormat,
    overlay: bool,
    cache: bool,
    blur: bool,
) -> dict[str, Any]:
    from metst.analyze import analyze as run
    from metst.report import write_report
    from metst.report.overlay import write_overlay
    from metst.results import write_analysis

    with progress(path.name) as on_progress:
        analysis = run(path, model=model, rate_hz=fps, cache=cache, on_progress=on_progress)
        write_analysis(analysis, folder, motion_format=motion_format)
        write_report(analysis, folder / "report.html", video=path, blur=blur, on_progress=on_progress)
        if overlay:
            write_overlay(
                analysis, folder / "overlay.mp4", video=path, rate_hz=fps, cover_eyes=blur, on_progress=on_progress
            )
    _tell(analysis, folder)
    if overlay:
        console.print(f"Overlay: {folder / 'overlay.mp4'}")
    events = analysis.events
    return {
        "input": str(path),
        "folder": str(folder),
        "events": len(events),
        "labels": list(events.label),
        "confidence": [round(float(value), _DIGITS) for value in events.confidence],
        "problems": list(analysis.problems),
    }


def _tell(analysis: Analysis, folder: Path) -> None:
    events, time_s = analysis.events, analysis.scores.grid.time_s
    rows = [
        [f"{time_s[onset]:.2f}", f"{time_s[apex]:.2f}", f"{time_s[offset - 1]:.2f}", label, f"{confidence:.0%}"]
        for onset, apex, offset, label, confidence in zip(
            events.onset, events.apex, events.offset, events.label, events.confidence, strict=True
        )
    ]
    if rows:
        columns = ["onset s", "apex s", "offset s", "class", "confidence"]
        table(f"{analysis.source.name}: movement candidates", columns, rows)
    else:
        console.print(f"{escape(analysis.source.name)}: no movement candidate")
    for problem in analysis.problems:
        console.print(f"[yellow]note:[/yellow] {escape(problem)}")
    console.print(f"Report: {folder / 'report.html'}")
