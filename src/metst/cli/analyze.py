"""``metst analyze``: one recording, or all of a corpus."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from metst.cli.console import (
    console,
    ended_with,
    introduce,
    named,
    print_json,
    progress,
    table,
    talk,
    tell_folders,
)
from metst.cli.options import (
    AsJson,
    ExpectedRate,
    LandmarkTables,
    ModelName,
    OutputFolder,
    PointName,
    Quiet,
    Rate,
    Verbose,
    on_machines,
    one_by_one,
    reachable,
    reachable_model,
)
from metst.config import DEFAULT_POINT
from metst.errors import FAULTS_SHOWN, UsageError
from metst.evaluation.analyses import (
    CORPUS_PAGE,
    CORPUS_TABLE,
    OVERLAY_FILE,
    REPORT_FILE,
    AnalysisTask,
    Choices,
    MotionFormat,
    loaded,
)
from metst.evaluation.executors import Executor, alone
from metst.spelling.names import given_name, printable

if TYPE_CHECKING:
    from metst.results import Analysis

ShowIdentity = Annotated[
    bool, typer.Option("--show-identity", help="Do not blur faces in the report, nor cover eyes in the video.")
]
UseCache = Annotated[
    bool, typer.Option("--cache/--no-cache", help="Keep the motion (no pictures) for the next run, and use it.")
]
_TOLD = 20
"""Recordings whose candidates are told on the screen, at most; set by hand."""


@on_machines
def analyze(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Videos, folders of frames; folders of those; text files (.txt) with one path per line.",
            show_default=False,
        ),
    ],
    where: Executor,
    output: OutputFolder = Path("metst-results"),
    model: ModelName = "metst-event",
    operating_point: PointName = DEFAULT_POINT,
    expected_per_min: ExpectedRate = None,
    fps: Rate = None,
    landmarks: LandmarkTables = None,
    motion_format: Annotated[MotionFormat, typer.Option(help="Format of the motion file.")] = "csv",
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write a video that shows the motion.")] = False,
    show_identity: ShowIdentity = False,
    use_cache: UseCache = True,
    person: Annotated[str, typer.Option(help="Name or code of the person: kept in the results, see purge.")] = "",
    consent: Annotated[str, typer.Option(help="Reference to the consent: kept in the results.")] = "",
    delete_by: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Last day on which the results may be there: purge --expired."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Of several recordings, run those too that are done.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find micro-expressions in videos; write tables and a report for each.

    Of several recordings, those whose results are there (same content, model and settings) are not run again.
    """
    talk(quiet=quiet, verbose=verbose)
    from metst.datasets.corpus import find_recordings

    choices = Choices(
        reachable_model(model, where), expected_per_min, operating_point=operating_point, rate_hz=fps,
        motion_format=motion_format, overlay=overlay, blur=not show_identity, cache=use_cache, person=person,
        consent=consent, delete_by=None if delete_by is None else delete_by.date(),
    )  # fmt: skip
    introduce(loaded(choices))
    where, output = one_by_one(where), reachable(output, where)
    recordings = find_recordings([reachable(each, where) for each in inputs], output=output)
    tell_folders(recordings)
    tables = _tables(landmarks, [each.path for each in recordings], where=where)
    tasks = [AnalysisTask(each.path, output / each.name, choices, again, tables.get(each.path)) for each in recordings]
    if one := [task.path for task in tasks] == inputs[:1] and where.kind == "local":
        lines = [_analyze_one(tasks[0], where)]
    else:
        lines = _analyze_all(tasks, output=output, where=replace(where, folder=output / "slurm"))
    if as_json:
        print_json(lines)
    _list_problems(lines, alone=one, quiet=quiet)
    problems = [problem for line in lines for problem in _problems(line)]
    if code := ended_with(problems, failed=sum("error" in line for line in lines), of=len(lines)):
        raise typer.Exit(code)


def _tables(landmarks: Path | None, paths: list[Path], *, where: Executor) -> dict[Path, Path]:
    """The table of landmarks of each recording, if any were given."""
    if landmarks is None:
        return {}
    landmarks = reachable(landmarks, where)
    if not landmarks.is_dir():
        if len(paths) > 1:
            raise UsageError(f"{landmarks} is one table for {len(paths)} recordings: give a folder with one for each")
        return dict.fromkeys(paths, landmarks)
    tables = {path: _table_of(path, folder=landmarks) for path in paths}
    if missing := [table.name for table in tables.values() if not table.is_file()]:
        raise UsageError(f"{landmarks} has no {', '.join(missing[:FAULTS_SHOWN])}: expected a table for each recording")
    if shared := [table for table, number in Counter(tables.values()).items() if number > 1]:
        of = ", ".join(printable(path) for path, table in tables.items() if table == shared[0])
        raise UsageError(
            f"{printable(shared[0])} is one table for {of}: give each its own, in a folder called as the recording's"
        )
    return tables


def _table_of(path: Path, *, folder: Path) -> Path:
    """The table of a recording: below folders as the recording's own, if it lies there, else by the name alone."""
    path = Path(os.path.abspath(path))  # noqa: PTH100 - links keep the names by which the recording was given
    name, above = f"{path.name if path.is_dir() else path.stem}.csv", path.parent.parts[1:]
    below = (folder.joinpath(*above[first:], name) for first in range(len(above)))
    return next((each for each in below if each.is_file()), folder / name)


def _problems(line: dict[str, Any]) -> list[str]:
    return [line["error"]] if "error" in line else list(line["problems"])


def _list_problems(lines: list[dict[str, Any]], *, alone: bool, quiet: bool) -> None:
    """Name what was wrong at the end, where it cannot be overlooked; of one recording it was said before."""
    console.quiet = False
    for line in lines if quiet or not alone else []:
        for problem in _problems(line):
            kind = "[red]failed:[/red] " if "error" in line else "[yellow]note:[/yellow] "
            console.print(("" if quiet else kind) + escape(named(Path(line["input"]), problem)))
    if failed := [line["input"] for line in lines if "error" in line]:
        console.print(f"{len(failed)} of {len(lines)} inputs failed: {escape(', '.join(failed))}")


def _analyze_all(tasks: list[AnalysisTask], *, output: Path, where: Executor) -> list[dict[str, Any]]:
    """Analyse all recordings that are not done; write the table and the page over all."""
    from metst.evaluation.analyses import analyze_all
    from metst.report.corpus_page import write_corpus_page, write_summary
    from metst.storage import make_folder

    make_folder(output)
    with progress("analyze") as on_progress:
        lines = analyze_all(tasks, executor=where, on_progress=on_progress)
    write_summary(lines, output / CORPUS_TABLE)
    write_corpus_page(lines, output / CORPUS_PAGE, report=REPORT_FILE)
    done = [line for line in lines if "error" not in line]
    if done and len(lines) <= _TOLD:
        rows = [
            [
                os.path.relpath(line["folder"], output),
                str(line["events"]),
                ", ".join(line["labels"]),
                f"{line['usable_share']:.0%}",
            ]
            for line in done
        ]
        table("Movement candidates", ["recording", "candidates", "classes", "usable"], rows)
    if done:
        candidates = sum(line["events"] for line in done)
        console.print(f"{len(done)} recordings, {candidates} movement candidates")
        console.print(escape(f"{output}: {CORPUS_PAGE}, {CORPUS_TABLE}, a folder for each recording"))
    return lines


def _analyze_one(task: AnalysisTask, where: Executor) -> dict[str, Any]:
    from metst.evaluation.analyses import analyze_into, do_analysis, line_of

    if where.separate:
        from metst.results import read_analysis
        from metst.video import probe_video

        probe_video(task.path, rate_hz=task.choices.rate_hz)  # a wrong call is told as such
        with progress("analyze") as on_progress:
            alone(do_analysis, replace(task, again=True), executor=where, on_progress=on_progress, counted="recordings")
        analysis = read_analysis(task.folder)
    else:
        with progress(given_name(task.path)) as on_progress:
            analysis = analyze_into(task, model=loaded(task.choices), on_progress=on_progress)
    _tell(analysis, task.folder)
    if task.landmarks:
        console.print(escape(f"Landmarks: {printable(task.landmarks)}, in place of metst's own"))
    if task.choices.overlay:
        console.print(escape(f"Overlay: {task.folder / OVERLAY_FILE}"))
    return line_of(task, error=None)


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
    console.print(escape(f"Report: {folder / REPORT_FILE}"))
