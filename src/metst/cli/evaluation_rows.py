"""The rows of the table of ``metst evaluate FEATURES``, from its options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from metst.errors import UsageError

if TYPE_CHECKING:
    from metst.config import Strategy
    from metst.evaluation.plan import LabelledVariant, Plan, Row, Variant

ALL = "all"
"""Instead of one strategy: a variant for each."""
STRATEGIES = ("0", "1", "2", ALL)
"""What may be asked for."""
DEFAULT_RECIPE = "metst-plus"
"""Where neither a recipe nor a model is named."""


@dataclass(frozen=True)
class Asked:
    """What is compared, as the options ask for it; each field is what its option says."""

    recipes: list[str]
    models: list[str]
    strategy: str
    epochs: int | None
    width: int | None
    grid: Path | None
    as_published: bool
    from_nothing: bool
    mixed_precision: bool = False

    def plan(self, features: Path, *, folds: str, seed: int, allow_training_subjects: bool) -> Plan:
        """The evaluation; models that were trained on tested subjects are refused unless allowed.

        Raises
        ------
        UsageError
            What is asked for cannot be.
        """
        from metst.evaluation.models import check_models
        from metst.evaluation.plan import make_plan

        plan = make_plan(features, variants=self._rows(), folds=folds, seed=seed)
        if not allow_training_subjects:
            check_models(plan.models, tested=plan.tested)
        return plan

    def _rows(self) -> tuple[Row, ...]:
        """Recipes in the order they were given, then models as they are."""
        from metst.evaluation.models import scored_models
        from metst.training.labelled_recipe import LABELLED, LABELLED_FRESH

        recipes = self.recipes or ([] if self.models else [DEFAULT_RECIPE])
        if self.grid is not None and len(recipes) != 1:
            raise UsageError(f"--grid is a table of variants of one recipe: give one --recipe, not {len(recipes)}")
        if self.from_nothing and LABELLED not in recipes:
            raise UsageError(f"--from-nothing is for --recipe {LABELLED}: the published recipes start from nothing")
        if self.as_published and all(recipe in (LABELLED, LABELLED_FRESH) for recipe in recipes):
            raise UsageError("--as-published is for the published recipes: give one with --recipe")
        if self.mixed_precision and not self.published:
            raise UsageError("--mixed-precision is for the published recipes: give one with --recipe")
        if self._changes and not recipes:
            raise UsageError("--epochs and --width change a recipe, and there is none: give one with --recipe")
        trained = [row for recipe in recipes for row in self._variants(recipe)]
        return (*trained, *scored_models(self.models))

    @property
    def published(self) -> bool:
        """Whether any row trains by a published recipe, which has a strategy."""
        from metst.training.labelled_recipe import LABELLED, LABELLED_FRESH

        own = (LABELLED, LABELLED_FRESH)
        return any(recipe not in own for recipe in self.recipes) or not (self.recipes or self.models)

    @property
    def _changes(self) -> dict[str, Any]:
        given = {"epochs": self.epochs, "network.width": self.width, "as_published": self.as_published or None,
                 "mixed_precision": self.mixed_precision or None}  # fmt: skip
        return {name: value for name, value in given.items() if value is not None}

    def _variants(self, recipe: str) -> tuple[Variant | LabelledVariant, ...]:
        from metst.evaluation.plan import LabelledVariant, Variant, read_grid
        from metst.models.checkpoint import DEFAULT_MODEL
        from metst.training.labelled_recipe import LABELLED, LABELLED_FRESH, labelled_recipe
        from metst.training.recipes import PUBLISHED_RECIPES, changed_recipe, published_recipe

        if recipe not in (known := (*PUBLISHED_RECIPES, LABELLED, LABELLED_FRESH)):
            raise UsageError(f"unknown recipe {recipe!r} for recordings: expected one of {', '.join(known)}")
        if recipe in (LABELLED, LABELLED_FRESH):
            if self.grid is not None:
                raise UsageError(f"--grid is a table of variants of a published recipe, not of {LABELLED}")
            fresh = self.from_nothing or recipe == LABELLED_FRESH
            own = labelled_recipe(start=None if fresh else DEFAULT_MODEL, epochs=self.epochs, width=self.width)
            name = f"{LABELLED}, trained {'from nothing' if fresh else 'on'}"
            return (LabelledVariant(name=name, recipe=own),)
        chosen = published_recipe(recipe)
        if self._changes:
            chosen = changed_recipe(chosen, self._changes)
        if self.grid is not None:
            if self.strategy == ALL:
                raise UsageError("with --grid give one --strategy; each variant may have its own")
            return read_grid(self.grid, recipe=chosen, strategy=one_strategy(self.strategy))
        wanted = (0, 1, 2) if self.strategy == ALL else (one_strategy(self.strategy),)
        name = f"{recipe}, as published" if self.as_published else recipe
        return tuple(Variant(name=f"{name}, strategy {each}", recipe=chosen, strategy=each) for each in wanted)


def one_strategy(strategy: str) -> Strategy:
    """A strategy that is not ``all``."""
    return cast("Strategy", int(strategy))
