"""``metst evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from rich.markup import escape

from metst.cli.console import FINISHED_WITH_PROBLEMS, console, print_json, progress, table, talk
from metst.cli.options import AsJson, OutputFolder, Quiet, Verbose
from metst.cli.published import Follow, HalfDuration, Published, rerun_published
from metst.errors import UsageError

if TYPE_CHECKING:
    from metst.evaluation import Plan, Variant
    from metst.evaluation.executors import Executor
    from metst.evaluation.plan import Strategy

_ALL = "all"
_STRATEGIES = ("0", "1", "2", _ALL)
_OWN, _PUBLISHED = "Cross-validation: FEATURES", "Published test: --published"
_ONLY_OWN = ("recipe", "folds", "epochs", "width", "grid", "executor", "scheduler", "workers", "seed")
_ONLY_PUBLISHED = ("features", "checkpoints", "labels", "k_p", "follow", "order", "errata", "allow_training_subjects")


def evaluate(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FEATURES]", help="What metst extract wrote: train and test on it.")
    ] = None,
    output: OutputFolder = Path("evaluation"),
    strategy: Annotated[str, typer.Option(help="Synergy strategy 0, 1 or 2; all: the three (FEATURES only).")] = "1",
    recipe: Annotated[
        str, typer.Option(help="metst, metst-2024, metst-plus or boosting-vrme.", rich_help_panel=_OWN)
    ] = "metst-plus",
    folds: Annotated[
        str, typer.Option(help="loso (one fold per subject), or a number of folds.", rich_help_panel=_OWN)
    ] = "loso",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs; the recipe's when absent.", rich_help_panel=_OWN)
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Width of the network; the recipe's when absent.", rich_help_panel=_OWN)
    ] = None,
    grid: Annotated[
        Path | None, typer.Option(help="TOML: variants of the recipe, over the same folds.", rich_help_panel=_OWN)
    ] = None,
    executor: Annotated[
        Literal["local", "dask", "slurm"], typer.Option(help="Where folds run.", rich_help_panel=_OWN)
    ] = "local",
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler, or Slurm partition.", rich_help_panel=_OWN)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Folds at a time; all processors when absent.", rich_help_panel=_OWN)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, windows and folds.", rich_help_panel=_OWN)] = 100,
    published: Annotated[
        Published | None, typer.Option(help="Rerun the published test on this data set.", rich_help_panel=_PUBLISHED)
    ] = None,
    features: Annotated[
        list[Path],
        typer.Option(
            help="The authors' cached features: a file, each of several parts, or a folder.",
            rich_help_panel=_PUBLISHED,
        ),
    ] = [],  # noqa: B006
    checkpoints: Annotated[
        Path | None,
        typer.Option(help="Folder with one checkpoint per subject, released or converted.", rich_help_panel=_PUBLISHED),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Folder of the data set, or of its label sheets only.", rich_help_panel=_PUBLISHED),
    ] = None,
    k_p: Annotated[
        HalfDuration,
        typer.Option(help="As published, or from the other subjects of each.", rich_help_panel=_PUBLISHED),
    ] = "published",
    follow: Annotated[
        Follow,
        typer.Option(
            help="Windows become a curve as the papers describe it, or as the authors' program does.",
            rich_help_panel=_PUBLISHED,
        ),
    ] = "description",
    order: Annotated[
        Path | None,
        typer.Option(help="CSV subject, video: the order of the videos in the cache.", rich_help_panel=_PUBLISHED),
    ] = None,
    errata: Annotated[
        bool,
        typer.Option("--errata/--no-errata", help="Correct known errors of the sheets.", rich_help_panel=_PUBLISHED),
    ] = True,
    allow_training_subjects: Annotated[
        bool,
        typer.Option(
            "--allow-training-subjects",
            help="Score subjects that a checkpoint was trained on.",
            rich_help_panel=_PUBLISHED,
        ),
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train and test on your recordings, no subject on both sides; or rerun a published test.

    Stopped at any moment, the same command goes on where it was.
    """
    talk(quiet=quiet, verbose=verbose)
    if strategy not in _STRATEGIES:
        raise UsageError(f"unknown strategy {strategy!r}: expected one of {', '.join(_STRATEGIES)}")
    if (folder is None) == (published is None):
        raise UsageError("give either FEATURES (from metst extract) or --published, and not both")
    _refuse_mixed(context, published=published is not None)
    if published is not None:
        if not features or checkpoints is None or labels is None or strategy == _ALL:
            raise UsageError("--published needs --features, --checkpoints, --labels and one --strategy")
        rerun_published(
            published,
            features=features,
            checkpoints=checkpoints,
            labels=labels,
            output=output,
            strategy=cast("Strategy", int(strategy)),
            k_p=k_p,
            follow=follow,
            order=order,
            errata=errata,
            allow_training_subjects=allow_training_subjects,
            as_json=as_json,
        )
        return
    assert folder is not None
    from metst.evaluation import make_plan
    from metst.evaluation.executors import Executor

    variants = _variants(recipe, strategy=strategy, changes={"epochs": epochs, "network.width": width}, grid=grid)
    plan = make_plan(folder, variants=variants, folds=folds, seed=seed)
    where = Executor(executor, workers=workers, scheduler=scheduler, folder=output / "slurm")
    result = _run(folder, plan, output=output, executor=where)
    if as_json:
        print_json(result)
    if result["problems"]:
        raise typer.Exit(FINISHED_WITH_PROBLEMS)


def _refuse_mixed(context: typer.Context, *, published: bool) -> None:
    """An option of the other form would be of no effect: nobody may believe that it had one."""
    other = _ONLY_OWN if published else _ONLY_PUBLISHED
    sources = {name: context.get_parameter_source(name) for name in other}
    given = [
        f"--{name.replace('_', '-')}" for name, source in sources.items() if source and source.name == "COMMANDLINE"
    ]
    if given:
        form = "for FEATURES from metst extract, not for --published" if published else "for --published only"
        raise UsageError(f"{', '.join(given)}: {form}")


def _variants(recipe: str, *, strategy: str, changes: dict[str, int | None], grid: Path | None) -> tuple[Variant, ...]:
    from metst.evaluation import Variant, read_grid
    from metst.training.recipes import changed_recipe, published_recipe

    chosen = published_recipe(recipe)
    if given := {name: value for name, value in changes.items() if value is not None}:
        chosen = changed_recipe(chosen, given)
    if grid is not None:
        if strategy == _ALL:
            raise UsageError("with --grid give one --strategy; each variant may have its own")
        return read_grid(grid, recipe=chosen, strategy=cast("Strategy", int(strategy)))
    wanted = (0, 1, 2) if strategy == _ALL else (cast("Strategy", int(strategy)),)
    return tuple(Variant(name=f"{recipe}, strategy {each}", recipe=chosen, strategy=each) for each in wanted)


def _run(features: Path, plan: Plan, *, output: Path, executor: Executor) -> dict[str, Any]:
    """Run and show."""
    from metst.evaluation import evaluate_run, run_plan, write_run_report
    from metst.evaluation.page import summary_tables

    with progress("evaluate") as on_progress:
        run_plan(output, plan, features=features, executor=executor, on_progress=on_progress)
    with console.status("scoring"):
        result = evaluate_run(output, plan, features=features)
    write_run_report(result, output / "report.html")
    console.print(escape(f"{plan.data_set}: {len(plan.folds)} folds by subject, a hit is IoU >= 0.5"))
    for title, columns, rows in summary_tables(result):
        table(title, list(columns), [list(row) for row in rows])
    console.print("strict: one to one, all videos; greedy: as in published results, videos with micro-expressions only")
    for problem in result["problems"]:
        console.print(f"[yellow]note:[/yellow] {escape(problem)}")
    console.print(escape(f"{output}: report.html, evaluation.json, predictions/, truth.csv"))
    return result
