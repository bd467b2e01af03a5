"""The command line: a thin layer that names files, draws progress and turns errors into one line.

Heavy modules are imported inside the commands, so that ``metst --help`` is instant.
Messages for people go to the standard error stream; the standard output carries results only,
and only with ``--json``.
"""

from __future__ import annotations

import itertools
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from typer.exceptions import TyperException

from metst.errors import MetstError, UsageError

if TYPE_CHECKING:
    from metst.checkpoint import Model
    from metst.results import Analysis

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Finds micro-expressions in videos of a face. What it finds are movement candidates for a person to review.",
)
console = Console(stderr=True, highlight=False)

FINISHED_WITH_PROBLEMS = 3

Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only errors.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more, down to each stage.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on the standard output.")]
OutputFolder = Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")]
Rate = Annotated[float | None, typer.Option("--fps", min=1, help="Frame rate of frame folders, in frames per second.")]
ModelName = Annotated[str, typer.Option("--model", help="Name of a packaged model, or a checkpoint folder.")]

MotionFormat = Literal["csv", "safetensors"]
Scorer = Literal["strict", "greedy", "many-to-many", "megc"]
DataSet = Literal["casme3", "samm-lv"]

OnProgress = Callable[[str, int, int | None], None]


def _talk(*, quiet: bool, verbose: bool) -> None:
    console.quiet = quiet
    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.WARNING
    handler = RichHandler(console=console, show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("metst").setLevel(level)


@contextmanager
def _progress(title: str) -> Iterator[OnProgress]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=console.quiet) as progress:
        tasks: dict[str, TaskID] = {}

        def on_progress(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(f"{escape(title)}: {stage}", total=total)
            progress.update(tasks[stage], completed=done, total=total)

        yield on_progress


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def _table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)


@app.command()
def demo(
    output: OutputFolder = Path("metst-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the clip.")] = 1,
    model: ModelName = "starter",
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make a clip with known micro-expressions, analyse it, compare found with planted."""
    _talk(quiet=quiet, verbose=verbose)
    from metst.demo import run_demo

    with _progress("demo") as on_progress:
        outcome = run_demo(output, seed=seed, model=model, on_progress=on_progress)
    _table("Planted and found", list(outcome.columns), [list(row) for row in outcome.rows])
    console.print(outcome.summary)
    console.print(f"Report: {outcome.report}")
    if as_json:
        _print_json(outcome.as_dict())


@app.command()
def analyze(
    inputs: Annotated[list[Path], typer.Argument(help="Videos or folders of frames.", show_default=False)],
    output: OutputFolder = Path("metst-results"),
    model: ModelName = "starter",
    fps: Rate = None,
    motion_format: Annotated[MotionFormat, typer.Option(help="Format of the motion file.")] = "csv",
    show_identity: Annotated[bool, typer.Option("--show-identity", help="Do not blur faces in the report.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find micro-expressions in videos; write tables and a report for each."""
    _talk(quiet=quiet, verbose=verbose)
    from metst.checkpoint import load_model

    loaded = load_model(model)
    console.print(f"Model {loaded.info.name}: trained on {loaded.info.trained_on}")
    results: list[dict[str, Any]] = []
    for path, folder in zip(inputs, _result_folders(inputs, output=output), strict=True):
        try:
            results.append(_analyze_one(path, folder, model=loaded, fps=fps, motion_format=motion_format,
                                        blur=not show_identity))  # fmt: skip
        except MetstError as error:
            if len(inputs) == 1:
                raise
            console.print(f"[red]{escape(path.name)}:[/red] {escape(str(error))}")
            results.append({"input": str(path), "error": str(error)})
    if as_json:
        _print_json(results)
    _list_problems(results, quiet=quiet)
    if any(_is_failed(result) or result["problems"] for result in results):
        raise typer.Exit(FINISHED_WITH_PROBLEMS)


def _is_failed(result: dict[str, Any]) -> bool:
    return "error" in result


def _list_problems(results: list[dict[str, Any]], *, quiet: bool) -> None:
    """Name what failed at the end, where it cannot be overlooked; when quiet, also what else was wrong."""
    console.quiet = False
    if failed := [result for result in results if _is_failed(result)]:
        console.print(f"{len(failed)} of {len(results)} inputs failed:")
        for result in failed:
            console.print(f"  {escape(result['input'])}: {escape(result['error'])}", soft_wrap=True)
    if quiet:
        for result in results:
            for problem in result.get("problems", ()):
                console.print(f"{escape(result['input'])}: {escape(problem)}", soft_wrap=True)


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
    path: Path, folder: Path, *, model: Model, fps: float | None, motion_format: MotionFormat, blur: bool
) -> dict[str, Any]:
    from metst.analyze import analyze as run
    from metst.report import write_report
    from metst.results import write_analysis

    with _progress(path.name) as on_progress:
        analysis = run(path, model=model, rate_hz=fps, on_progress=on_progress)
        write_analysis(analysis, folder, motion_format=motion_format)
        write_report(analysis, folder / "report.html", video=path, blur=blur, on_progress=on_progress)
    _tell(analysis, folder)
    events = analysis.events
    return {
        "input": str(path),
        "folder": str(folder),
        "events": len(events),
        "labels": list(events.label),
        "confidence": [round(float(value), 4) for value in events.confidence],
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
        _table(f"{analysis.source.name}: movement candidates", columns, rows)
    else:
        console.print(f"{escape(analysis.source.name)}: no movement candidate")
    for problem in analysis.problems:
        console.print(f"[yellow]note:[/yellow] {escape(problem)}")
    console.print(f"Report: {folder / 'report.html'}")


@app.command()
def convert(
    released: Annotated[Path, typer.Argument(help="A released checkpoint (.pkl).")],
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    data_set: Annotated[DataSet, typer.Option(help="Data set it was trained on.")] = "casme3",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a checkpoint that is there.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Turn a released checkpoint into a checkpoint folder, without running code from it."""
    _talk(quiet=quiet, verbose=verbose)
    from metst.checkpoint import convert_released

    info = convert_released(released, output, data_set=data_set, overwrite=overwrite)
    console.print(f"{output}: network {info.network.name}")


@app.command()
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
    _talk(quiet=quiet, verbose=verbose)
    from metst.metrics import score_tables, tables_for_people

    names = tuple(name.strip() for name in classes.split(",") if name.strip())
    tables = score_tables(predictions, truth, scorer=scorer, iou=iou, classes=names, bootstrap=bootstrap)
    for title, columns, rows in tables_for_people(tables):
        _table(title, list(columns), [list(row) for row in rows])
    if "others" not in names:
        # The field reports recognition over three classes or over these and "others": both belong in sight.
        four = score_tables(predictions, truth, scorer=scorer, iou=iou, classes=(*names, "others"))
        tables["with_others"] = {key: four[key] for key in ("classes", "recognition", "strs")}
        f1, strs = four["recognition"]["f1"], four["strs"]
        console.print(f"With class others as well: recognition F1 {f1:.4f}, STRS {strs:.4f}")
    if as_json:
        _print_json(tables)


@app.command()
def synthesize(
    video: Annotated[Path | None, typer.Argument(help="Footage to plant into; a portrait when absent.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for clip, truth and recipe.")] = Path(
        "planted"
    ),
    count: Annotated[int, typer.Option(min=0, help="Number of micro-expressions.")] = 10,
    amplitude: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction of full contraction; 0.05-0.2 is micro.")
    ] = 0.2,
    start: Annotated[float, typer.Option(min=0, help="Start of the stretch to plant into, seconds.")] = 0.5,
    end: Annotated[
        float | None, typer.Option(min=0, help="End of that stretch, seconds; the clip's end when absent.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed; the same seed gives the same clip.")] = 1,
    crf: Annotated[int, typer.Option(min=0, max=51, help="H.264 quality of the clip; lower is better.")] = 18,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Plant known micro-expressions into real footage or into a portrait."""
    _talk(quiet=quiet, verbose=verbose)
    from metst.synthesis.clip import ClipRecipe, write_clip

    recipe = ClipRecipe(count=count, amplitude=amplitude, start_s=start, end_s=end, seed=seed, crf=crf)
    with _progress("synthesize") as on_progress:
        clip = write_clip(output, recipe=recipe, footage=video, on_progress=on_progress)
    console.print(f"Clip: {clip.video}\nTruth: {clip.truth}")


@app.command()
def train(
    output: Annotated[Path, typer.Option("-o", "--output", help="Checkpoint folder to write.")],
    recipe: Annotated[str, typer.Option(help="Named recipe: starter.")] = "starter",
    steps: Annotated[int | None, typer.Option(min=1, help="Number of steps; the recipe's when absent.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of data and weights.")] = 100,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a model on simulated facial motion."""
    _talk(quiet=quiet, verbose=verbose)
    from metst.train import RECIPES, train_model

    if recipe not in RECIPES:
        raise UsageError(f"unknown recipe {recipe!r}: expected one of {', '.join(RECIPES)}")
    with _progress("train") as on_progress:
        info = train_model(output, recipe=RECIPES[recipe], steps=steps, seed=seed, on_progress=on_progress)
    console.print(f"{output}: {info.trained_on}")


def main() -> None:
    """Run the command line; every expected error becomes one line and an exit code."""
    try:
        code = app(standalone_mode=False)
    except MetstError as error:
        _fail(str(error), code=error.exit_code)
    except TyperException as error:
        _fail(error.format_message(), code=UsageError.exit_code)
    except BrokenPipeError:
        code = 1
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    sys.exit(code or 0)


def _fail(message: str, *, code: int) -> NoReturn:
    console.quiet = False
    console.print(f"[red]error:[/red] {escape(message)}", soft_wrap=True)
    sys.exit(code)
