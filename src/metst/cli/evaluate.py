"""``metst evaluate``: cross-validation on own recordings, or the rerun of a published test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from metst.cli.console import FINISHED_WITH_PROBLEMS, console, print_json, progress, table, talk
from metst.cli.evaluation_rows import ALL, STRATEGIES, Asked, one_strategy
from metst.cli.options import MACHINES, AsJson, OutputFolder, Quiet, Verbose, on_machines
from metst.cli.published import (
    PANEL,
    CheckpointsOption,
    DataSetOption,
    ErrataOption,
    FeaturesOption,
    FollowOption,
    HalfDurationOption,
    LabelsOption,
    OrderOption,
    PublishedTest,
    TrainingSubjectsOption,
    rerun_published,
)
from metst.config import DEFAULT_SEED, DEFAULT_STRATEGY
from metst.errors import UsageError
from metst.evaluation.executors import TASKS_PER_GPU, Executor
from metst.published.facts import NETWORKS

if TYPE_CHECKING:
    from metst.evaluation.plan import Plan

_OWN = "Cross-validation: FEATURES"
"""Title of the options that only own recordings take, in the help of the command."""

_RECIPES = list(NETWORKS)
"""What may be trained: the published networks."""

FolderArgument = Annotated[
    Path | None, typer.Argument(metavar="[FEATURES]", help="What metst extract wrote: train and test on it.")
]
StrategyOption = Annotated[str, typer.Option(help="Synergy strategy 0, 1 or 2; all: the three (FEATURES only).")]
RecipeOption = Annotated[
    list[str],
    typer.Option(
        help=f"{', '.join(_RECIPES)}; or metst-event, the product's own network, metst-event:from-nothing to have both"
        " of its starts in one table; may be repeated.",
        rich_help_panel=_OWN,
        show_default="metst-plus without --model",
    ),
]
ModelOption = Annotated[
    list[str],
    typer.Option(
        help="Packaged model or checkpoint folder to score as it is on the same folds; may be repeated.",
        rich_help_panel=_OWN,
    ),
]
FoldsOption = Annotated[
    str, typer.Option(help="loso (one fold per subject), or a number of folds.", rich_help_panel=_OWN)
]
EpochsOption = Annotated[
    int | None, typer.Option(min=1, help="Epochs; the recipe's when absent.", rich_help_panel=_OWN)
]
WidthOption = Annotated[
    int | None, typer.Option(min=1, help="Width of the network; the recipe's when absent.", rich_help_panel=_OWN)
]
AsPublishedOption = Annotated[
    bool,
    typer.Option("--as-published", help="The authors' way also where metst differs on purpose.", rich_help_panel=_OWN),
]
FromNothingOption = Annotated[
    bool,
    typer.Option(
        "--from-nothing", help="metst-event from fresh weights, not from the packaged ones.", rich_help_panel=_OWN
    ),
]
MixedPrecisionOption = Annotated[
    bool,
    typer.Option(
        "--mixed-precision",
        help="Published recipes: train in bfloat16 on a graphics processor; published is float32.",
        rich_help_panel=_OWN,
    ),
]
GpusOption = Annotated[
    int,
    typer.Option(
        min=0,
        help="Graphics processors of this machine that the folds share in turn, so many at a time as --workers says;"
        f" absent: {TASKS_PER_GPU} on each. 0: whatever PyTorch takes.",
        rich_help_panel=MACHINES,
    ),
]
GridOption = Annotated[
    Path | None, typer.Option(help="TOML: variants of the recipe, over the same folds.", rich_help_panel=_OWN)
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of weights, windows and folds.", rich_help_panel=_OWN)]


@on_machines
def evaluate(
    context: typer.Context,
    where: Executor,
    folder: FolderArgument = None,
    output: OutputFolder = Path("evaluation"),
    strategy: StrategyOption = str(DEFAULT_STRATEGY),
    recipe: RecipeOption = [],  # noqa: B006
    model: ModelOption = [],  # noqa: B006
    folds: FoldsOption = "loso",
    epochs: EpochsOption = None,
    width: WidthOption = None,
    as_published: AsPublishedOption = False,
    from_nothing: FromNothingOption = False,
    mixed_precision: MixedPrecisionOption = False,
    gpus: GpusOption = 0,
    grid: GridOption = None,
    seed: SeedOption = DEFAULT_SEED,
    published: DataSetOption = None,
    features: FeaturesOption = [],  # noqa: B006
    checkpoints: CheckpointsOption = None,
    labels: LabelsOption = None,
    k_p: HalfDurationOption = "published",
    follow: FollowOption = "description",
    order: OrderOption = None,
    errata: ErrataOption = True,
    allow_training_subjects: TrainingSubjectsOption = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train and test on your recordings, no subject on both sides; or rerun a published test.

    Stopped at any moment, the same command goes on where it was.
    """
    talk(quiet=quiet, verbose=verbose)
    if strategy not in STRATEGIES:
        raise UsageError(f"unknown strategy {strategy!r}: expected one of {', '.join(STRATEGIES)}")
    if (folder is None) == (published is None):
        raise UsageError("give either FEATURES (from metst extract) or --published, and not both")
    _refuse_mixed(context, published=published is not None)
    if published is not None:
        if not features or checkpoints is None or labels is None or strategy == ALL:
            raise UsageError("--published needs --features, --checkpoints, --labels and one --strategy")
        test = PublishedTest(
            published, features, checkpoints, labels, strategy=one_strategy(strategy), k_p=k_p, follow=follow,
            order=order, errata=errata, allow_training_subjects=allow_training_subjects,
        )  # fmt: skip
        result, with_problems = rerun_published(test, output=output)
    else:
        assert folder is not None
        asked = Asked(
            recipe, model, strategy=strategy, epochs=epochs, width=width, grid=grid, as_published=as_published,
            from_nothing=from_nothing, mixed_precision=mixed_precision,
        )  # fmt: skip
        _refuse_strategy(context, asked)
        plan = asked.plan(folder, folds=folds, seed=seed, allow_training_subjects=allow_training_subjects)
        result = _cross_validate(folder, plan, output=output, where=replace(where, gpus=gpus), mixed=mixed_precision)
        with_problems = bool(result["problems"])
    _end(result if as_json else None, with_problems=with_problems)


def _end(result: dict[str, Any] | None, *, with_problems: bool) -> None:
    """Print the result where it is wanted as JSON; the exit code says whether all was well."""
    if result is not None:
        print_json(result)
    if with_problems:
        raise typer.Exit(FINISHED_WITH_PROBLEMS)


def _refuse_strategy(context: typer.Context, asked: Asked) -> None:
    """A strategy without a published recipe would be of no effect either."""
    source = context.get_parameter_source("strategy")
    if source is not None and source.name == "COMMANDLINE" and not asked.published:
        raise UsageError("--strategy is for the published recipes: give one with --recipe")


def _refuse_mixed(context: typer.Context, *, published: bool) -> None:
    """An option of the other form would be of no effect: nobody may believe that it had one."""
    others = (_OWN, MACHINES) if published else (PANEL,)
    names = [each.name for each in context.command.params if getattr(each, "rich_help_panel", None) in others]
    sources = {name: context.get_parameter_source(name) for name in names if name is not None}
    given = [
        f"--{name.replace('_', '-')}" for name, source in sources.items() if source and source.name == "COMMANDLINE"
    ]
    if given:
        form = "for FEATURES from metst extract, not for --published" if published else "for --published only"
        raise UsageError(f"{', '.join(given)}: {form}")


def _cross_validate(features: Path, plan: Plan, *, output: Path, where: Executor, mixed: bool) -> dict[str, Any]:
    """Train and test, print what came of it, and return it."""
    from metst.evaluation.outcome import evaluate_run
    from metst.evaluation.page import authors_greedy, summary_tables, write_run_report
    from metst.evaluation.run import run_plan

    if mixed and where.kind == "local":
        from metst.training.devices import check_mixed_precision

        check_mixed_precision()
    executor = replace(where, folder=output / "slurm")
    with progress("evaluate") as on_progress:
        run_plan(output, plan, features=features, executor=executor, on_progress=on_progress)
    with console.status("scoring"):
        result = evaluate_run(output, plan, features=features)
    write_run_report(result, output / "report.html")
    console.print(escape(f"{plan.data_set}: {len(plan.folds)} folds by subject, a hit is IoU >= 0.5"))
    for title, columns, rows in summary_tables(result):
        table(title, list(columns), [list(row) for row in rows])
    console.print("strict: one to one, all videos; greedy: as in published results, videos with micro-expressions only")
    if words := authors_greedy(result):
        console.print(f"[yellow]note:[/yellow] {escape(words)}")
    for name, values in result["variants"].items():
        if seen := values.get("trained_on_tested"):
            console.print(f"[red]{escape(name)}: trained on subjects that are tested ({escape(', '.join(seen))})[/red]")
    for problem in result["problems"]:
        console.print(f"[yellow]note:[/yellow] {escape(problem)}")
    console.print(escape(f"{output}: report.html, evaluation.json, predictions/, truth.csv"))
    return result
