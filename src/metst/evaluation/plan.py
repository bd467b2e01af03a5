"""What an evaluation runs: the folds, the variants, and which trainings they share."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from metst.config import DEFAULT_SEED, DEFAULT_STRATEGY, Settings, Strategy
from metst.datasets.features import features_fingerprint, file_name, read_features_index
from metst.errors import DataError, UsageError
from metst.evaluation.models import NamedRow, ScoredModel
from metst.guard.limits import SETTINGS, check_file
from metst.storage import faults_in_words, fingerprint, json_key, make_folder, write_whole
from metst.training.folds import Fold, grouped_k_fold, leave_one_subject_out
from metst.training.labelled_recipe import LabelledLesson, LabelledRecipe
from metst.training.lesson import Lesson
from metst.training.recipes import Recipe, changed_recipe

PLAN_FILE = "run.json"
"""The plan, in the folder of a run."""
TRAINED = "trained"
"""Folder of a run: what each fold keeps and leaves, by training."""
LOSO = "loso"
"""Instead of a number of folds: leave one subject out."""


class Variant(NamedRow):
    """A recipe under a synergy strategy."""

    recipe: Recipe
    strategy: Strategy = Field(DEFAULT_STRATEGY, description="synergy: 0 none, 1 recognition mainly, 2 spotting mainly")

    @property
    def training_strategy(self) -> Strategy:
        """Strategies 1 and 2 share their weights: they differ after the network only."""
        return 0 if self.strategy == 0 else 1

    @property
    def training(self) -> str:
        """Name of its training: the same for variants that need the same weights."""
        decides = {"recipe": self.recipe.model_dump(mode="json"), "strategy": self.training_strategy}
        return f"{self.recipe.name}-{fingerprint(json_key(decides))[:10]}"

    def lesson(self, features: Path, *, seed: int) -> Lesson:
        """What a worker needs to know of its training."""
        return Lesson(features, self.recipe, strategy=self.training_strategy, seed=seed)


class LabelledVariant(NamedRow):
    """The product's own network, trained on the recordings of each fold and decoded by its own rule."""

    recipe: LabelledRecipe

    @property
    def training(self) -> str:
        """Name of its training."""
        return f"{self.recipe.name}-{fingerprint(json_key(self.recipe.model_dump(mode='json')))[:10]}"

    def lesson(self, features: Path, *, seed: int) -> LabelledLesson:
        """What a worker needs to know of its training."""
        return LabelledLesson(features, self.recipe, seed=seed)


Row = Variant | LabelledVariant | ScoredModel
"""One row of the table."""


class PlannedFold(Settings):
    """Who is trained on and who is tested."""

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def fold(self) -> Fold:
        """As training wants it."""
        return Fold(self.name, self.train, self.test)


class Plan(Settings):
    """Everything that decides an evaluation."""

    format: Literal[1] = Field(1, description="version of this file's layout")
    features_sha256: str = Field(description="of the index of the features")
    data_set: str = Field(description="which data set the features are of")
    variants: tuple[Row, ...] = Field(min_length=1)
    folds: tuple[PlannedFold, ...] = Field(min_length=2)
    seed: int = Field(ge=0, description="of weights, windows and augmentation")

    @property
    def models(self) -> tuple[ScoredModel, ...]:
        """The rows that are models as they are."""
        return tuple(row for row in self.variants if isinstance(row, ScoredModel))

    @property
    def tested(self) -> tuple[str, ...]:
        """Everyone who is tested in some fold, sorted."""
        return tuple(sorted({subject for part in self.folds for subject in part.test}))

    @model_validator(mode="after")
    def _names_differ(self) -> Plan:
        slugs = [variant.slug for variant in self.variants]
        if len(set(slugs)) < len(slugs):
            raise ValueError(f"variants need names that differ as file names, got {', '.join(slugs)}")
        return self


def make_plan(features: Path, *, variants: Sequence[Row], folds: str = LOSO, seed: int = DEFAULT_SEED) -> Plan:
    """Plan an evaluation of a features folder.

    Parameters
    ----------
    features : Path
        What ``metst extract`` wrote.
    variants : sequence of Variant, LabelledVariant or ScoredModel
        What is compared; the first is what the others are compared with.
    folds : str
        ``"loso"``, or a number of parts.
    seed : int
        Of weights, windows, augmentation, and of the draw of the parts.

    Raises
    ------
    UsageError
        Too few subjects, a number of folds that cannot be, or two variants of one name.
    DataError
        The features cannot be read.
    """
    index = read_features_index(features)
    if folds == LOSO:
        parts = leave_one_subject_out(index.subjects)
    elif folds.isdecimal():
        parts = grouped_k_fold(index.subjects, folds=int(folds), seed=seed)
    else:
        raise UsageError(f"folds {folds!r}: expected {LOSO} or a number")
    try:
        return Plan(
            features_sha256=features_fingerprint(features),
            data_set=index.data_set,
            variants=tuple(variants),
            folds=tuple(PlannedFold(name=part.name, train=part.train, test=part.test) for part in parts),
            seed=seed,
        )
    except ValidationError as error:
        raise UsageError(faults_in_words(error, whole="")) from error


def claim_folder(run: Path, plan: Plan) -> None:
    """Make a run folder, or make sure that it is one of the same plan.

    Raises
    ------
    UsageError
        It holds a run with other data or settings.
    OutputError
        It cannot be written.
    """
    path = run / PLAN_FILE
    if path.exists():
        if read_plan(run) != plan:
            raise UsageError(
                f"{run} holds an evaluation with other features, variants, folds or seed: give another folder"
            )
        return
    make_folder(run)
    write_whole(path, (plan.model_dump_json(indent=1) + "\n").encode())


def fold_folder(run: Path, *, training: str, fold: str) -> Path:
    """Where a fold keeps its state and leaves its result."""
    return run.resolve() / TRAINED / file_name(training) / file_name(fold)


def read_plan(run: Path) -> Plan:
    """The plan of a run folder.

    Raises
    ------
    DataError
        There is none that can be read.
    """
    path = run / PLAN_FILE
    check_file(path, SETTINGS)
    try:
        return Plan.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: give another folder ({error})") from error
    except ValidationError as error:
        # What it lacks of each kind of row would fill the screen and help nobody.
        raise DataError(
            f"{path} is no plan of an evaluation that this version can read: give another folder"
        ) from error


def read_grid(path: Path, *, recipe: Recipe, strategy: Strategy) -> tuple[Variant, ...]:
    """Variants of a recipe from a TOML file.

    Each ``[[variant]]`` has a ``name``; ``strategy`` if it is not the common one; and values of the recipe by
    name, ``"network.width" = 64`` leading into a part.

    Raises
    ------
    UsageError
        The file is missing, is no TOML, or asks for what a recipe does not have.
    """
    check_file(path, SETTINGS, error=UsageError)
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8")).get("variant")
    except FileNotFoundError:
        raise UsageError(f"no file {path}: expected a table of variants in TOML") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as TOML: {error}") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{path} has no [[variant]]: expected one or more, each with a name")
    return tuple(
        _variant(row, number, path=path, recipe=recipe, strategy=strategy) for number, row in enumerate(rows, 1)
    )


def _variant(row: dict[str, Any], number: int, *, path: Path, recipe: Recipe, strategy: Strategy) -> Variant:
    changes = {name: value for name, value in row.items() if name not in ("name", "strategy")}
    nested = [name for name, value in changes.items() if isinstance(value, dict)]
    if nested:
        raise UsageError(f'{path}: variant {number}: write "{nested[0]}.x" = value in one line, with quotes')
    try:
        return Variant(
            name=row.get("name", ""),
            recipe=changed_recipe(recipe, changes) if changes else recipe,
            strategy=row.get("strategy", strategy),
        )
    except ValidationError as error:
        raise UsageError(f"{path}: variant {number}: {faults_in_words(error, whole='')}") from error
