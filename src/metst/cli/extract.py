"""``metst extract``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from metst.cli.console import FINISHED_WITH_PROBLEMS, console, print_json, progress, talk
from metst.cli.options import AsJson, LabelFiles, Quiet, Rate, ReviewsOf, Verbose, on_machines, one_by_one, reachable
from metst.errors import UsageError
from metst.evaluation.executors import Executor, check_executor, run_all
from metst.published.facts import Kind
from metst.spelling.alike import together

if TYPE_CHECKING:
    from metst.arrays import OnProgress
    from metst.datasets.extraction import Run, VideoTask
    from metst.datasets.features import FeatureIndex


FromReviews = Annotated[
    bool,
    typer.Option(
        "--from-reviews",
        help="Take what was accepted in released reviews as labels, what was rejected as hard negatives, and the motion"
        " of the results.",
    ),
]


@on_machines
def extract(
    roots: Annotated[
        list[Path],
        typer.Argument(
            metavar="ROOT...",
            help="Folder of the data set. With --from-reviews: results that were reviewed, or folders that hold some.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the features.")],
    where: Executor,
    kind: Annotated[Kind | None, typer.Option(help="Which data set it is, if it is not recognised.")] = None,
    labels: LabelFiles = None,
    fps: Rate = None,
    errata: Annotated[bool, typer.Option("--errata/--no-errata", help="Correct known errors of the sheets.")] = True,
    use_cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Keep and use the motion of videos.")] = True,
    from_reviews: FromReviews = False,
    coder: ReviewsOf = None,
    subject: Annotated[
        str | None, typer.Option(help="With --from-reviews: who is on recordings of which nobody said so.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure the motion of all videos of a data set, for training and evaluation."""
    talk(quiet=quiet, verbose=verbose)
    if from_reviews:
        _from_reviews(roots, output, coder=coder, subject=subject, as_json=as_json)
        return
    if coder is not None or subject is not None:
        raise UsageError("--coder and --subject belong to --from-reviews")
    if len(roots) != 1:
        raise UsageError(f"expected the folder of one data set, got {len(roots)}")
    from metst.datasets import load_dataset
    from metst.datasets.extraction import extract_features
    from metst.datasets.types import said_once

    where, root, output = one_by_one(where), reachable(roots[0], where), reachable(output, where)
    with console.status(escape(f"reading {root}")):
        data_set = load_dataset(root, kind=kind, errata=errata, labels=labels or ())
    with progress("extract") as on_progress:
        index = extract_features(data_set, output, rate_hz=fps, cache=use_cache, on_progress=on_progress,
                                 run=_elsewhere(where, output=output, on_progress=on_progress))  # fmt: skip
    of_videos = [f"{v.subject}/{v.video}: {problem}" for v in index.videos for problem in v.problems]
    problems = [*map(str, data_set.faults), *index.left_out, *of_videos]
    short = [*said_once(data_set.faults), *together([*index.left_out, *of_videos])]
    for problem in problems if verbose else short:
        console.print(f"[yellow]note:[/yellow] {escape(problem)}")
    result = _summary(index, output) | {"problems": problems}
    console.print(escape(_told(result)))
    if as_json:
        print_json(result)
    if problems:
        raise typer.Exit(FINISHED_WITH_PROBLEMS)


def _from_reviews(roots: list[Path], output: Path, *, coder: str | None, subject: str | None, as_json: bool) -> None:
    from metst.coding.handed_on import handed_on
    from metst.datasets.reviewed_features import features_of_reviews

    found, notes = handed_on(roots, coder=coder)
    index = features_of_reviews(found, output, subject=subject)
    for note in notes:
        console.print(f"[yellow]note:[/yellow] {escape(note)}")
    rejected = sum(event.kind == "rejected" for video in index.videos for event in video.events)
    result = _summary(index, output) | {"rejected": rejected, "problems": notes}
    console.print(escape(f"{_told(result)}, {rejected} rejected candidates"))
    if as_json:
        print_json(result)


def _told(result: dict[str, object]) -> str:
    videos = f"{result['videos']} videos of {result['subjects']} subjects"
    return f"{result['folder']}: {videos}, {result['micro_expressions']} micro-expressions"


def _elsewhere(where: Executor, *, output: Path, on_progress: OnProgress) -> Run | None:
    """What measures videos on several processors or machines; None where this process does it."""
    if where.kind == "local" and where.processes == 1 and not where.separate:
        return None
    executor = replace(where, folder=output / "slurm")
    check_executor(executor)

    def run(function: Callable[[VideoTask], None], tasks: Sequence[VideoTask]) -> None:
        names = [f"{task.video.subject}/{task.video.name}" for task in tasks]
        run_all(function, tasks, executor=executor, names=names, counted="videos", on_progress=on_progress)

    return run


def _summary(index: FeatureIndex, output: Path) -> dict[str, object]:
    return {
        "folder": str(output),
        "data_set": index.data_set,
        "subjects": len(index.subjects),
        "videos": len(index.videos),
        "unreadable": sum(not video.file for video in index.videos),
        "micro_expressions": sum(len(video.micro) for video in index.videos),
    }
