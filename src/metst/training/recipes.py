"""Everything that decides a training on labelled recordings besides its data and its seed, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from metst.config import NetworkConfig, Rule, Settings
from metst.errors import UsageError
from metst.labels import Statistic
from metst.published.facts import DATA_SETS, NETWORKS, REGIONS_READ, RULES, TRAINING, Kind
from metst.storage import faults_in_words

HUNDREDTHS = 100
"""What gains are drawn in, per unit, as published."""
_MOST_GAIN = 100.0
"""Farthest gain from 0 that makes sense; set by hand."""


class WindowPlan(Settings):
    """How the videos of a data set are cut for training."""

    rate_hz: float = Field(gt=0, description="frames per second the network reads")
    window: int = Field(ge=2, description="frames per window, even")
    batch_size: int = Field(ge=1, description="windows per step")
    neutral_ratio: float = Field(ge=0, description="neutral windows per window with a micro-expression")

    @property
    def hop(self) -> int:
        """Frames from one window to the next."""
        return self.window // 2

    @model_validator(mode="after")
    def _even(self) -> Self:
        if self.window % 2:
            raise ValueError(f"windows overlap by half: window {self.window} must be even")
        return self


PUBLISHED_PLANS: dict[Kind, WindowPlan] = {
    data_set: WindowPlan(
        rate_hz=facts.rate_hz, window=facts.window, batch_size=facts.batch_size, neutral_ratio=facts.neutral_ratio
    )
    for data_set, facts in DATA_SETS.items()
}
"""Of the data sets that the published networks were trained on (arXiv 2508.08082)."""


class Recipe(Settings):
    """A training on labelled recordings, besides its data, strategy and seed."""

    name: str = Field(description="name of the recipe")
    network: NetworkConfig
    rule: Rule = Field(description="published rule that decodes the scores")
    learning_rate: float = Field(gt=0, description="peak of the one-cycle schedule")
    epochs: int = Field(ge=1, description="times that every chosen window is seen")
    plans: dict[Kind, WindowPlan] = Field(PUBLISHED_PLANS, description="windows by data set; derived for the others")
    spotting_weight: float = Field(
        TRAINING.spotting_weight, ge=0, description="weight of the squared error of the score"
    )
    recognition_weight: float = Field(
        TRAINING.recognition_weight, ge=0, description="weight of the cross-entropy of the class"
    )
    neutral_factor: float = Field(
        TRAINING.neutral_factor, ge=0, description="times the balanced weight of neutral; 0 under strategy 0"
    )
    gain: tuple[float, float] = Field(
        TRAINING.gain, description="each window is multiplied by one of the hundredths in this range"
    )
    background: bool = Field(False, description="also train on videos without a micro-expression")
    hard_negatives: bool = Field(False, description="take windows with macro-expressions or blinks as neutral first")
    validation_share: float = Field(0.0, ge=0, lt=1, description="share of the training subjects kept to validate on")
    patience: int = Field(0, ge=0, description="epochs without a better validation before training stops; 0: never")
    as_published: bool = Field(
        False,
        description="also where the product differs on purpose, in training and test: every n-th frame, nothing held"
        " still but gaps, windows from the first frame of the video, deletion after matching",
    )
    neutral_by_sign: bool = Field(
        False,
        description="with as_published, strategy 1: a frame is neutral only where the logits of all emotions are"
        " negative",
    )
    mixed_precision: bool = Field(
        False, description="train in bfloat16 on a graphics processor that has it; published: no"
    )

    @property
    def regions(self) -> tuple[int, ...]:
        """Numbers of the regions that are read: all 18, or the five of ME-TST."""
        return REGIONS_READ[self.network.in_channels]

    @property
    def statistic(self) -> Statistic:
        """What a typical duration is for ``k_p``, as published with each rule."""
        return RULES[self.rule].statistic

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.patience and not self.validation_share:
            raise ValueError("early stopping (patience) needs validation subjects: set validation_share, say to 0.2")
        if self.network.in_channels not in REGIONS_READ:
            known = " or ".join(map(str, REGIONS_READ))
            raise ValueError(f"a network reads {known} channels, got {self.network.in_channels}")
        low, high = self.gain
        if not (-_MOST_GAIN <= low <= high <= _MOST_GAIN and all(_is_hundredths(each) for each in self.gain)):
            raise ValueError(
                f"gain is the lowest and the highest factor, whole hundredths up to {_MOST_GAIN}, got {low} and {high}"
            )
        return self


_CHANGED = "-changed"
"""Behind the name of a network that a recipe was changed to have, once."""


def _is_hundredths(gain: float) -> bool:
    return math.isclose(HUNDREDTHS * gain, round(HUNDREDTHS * gain), abs_tol=1e-9)


PUBLISHED_RECIPES = tuple(NETWORKS)
"""Published trainings on recordings, by the name of their network."""


def published_recipe(name: str) -> Recipe:
    """A published training (ME-TST arXiv 2409.09707, ME-TST+ 2508.08082, BoostingVRME 2508.18834).

    Raises
    ------
    UsageError
        There is none of this name, or PyTorch is not installed.
    """
    if name not in NETWORKS:
        raise UsageError(f"unknown recipe {name!r} for recordings: expected one of {', '.join(NETWORKS)}")
    try:
        from metst.models.networks import PUBLISHED
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError("training needs PyTorch: pip install 'metst[train]'") from error

    facts = NETWORKS[name]
    return Recipe(
        name=name,
        network=PUBLISHED[name],
        rule=facts.rule,
        learning_rate=facts.learning_rate,
        epochs=facts.epochs,
        neutral_by_sign=facts.neutral_by_sign,
    )


def changed_recipe(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A recipe with other values: for a small machine, or for a table of variants.

    Parameters
    ----------
    recipe : Recipe
        What to start from.
    changes : mapping
        New values by name; a dot leads into a part: ``{"epochs": 5, "network.width": 32}``.  A network that is
        changed is called so, unless ``network.name`` gives it a name.

    Raises
    ------
    UsageError
        There is no such value, or it cannot be what is given.
    """
    values = recipe.model_dump()
    for name, value in changes.items():
        *parts, last = name.split(".")
        place: Any = values
        for part in parts:
            place = place.get(part) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            raise UsageError(f"a recipe has no {name!r}: expected one of {', '.join(_names(recipe.model_dump()))}")
        place[last] = value
    changed = isinstance(values["network"], dict) and values["network"] != recipe.network.model_dump()
    if changed and "network.name" not in changes:
        values["network"]["name"] = f"{recipe.network.name.removesuffix(_CHANGED)}{_CHANGED}"
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        words = faults_in_words(error, whole="recipe")
        raise UsageError(f"recipe {recipe.name} cannot be changed so: {words}") from error


def _names(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    parts = [_names(v, f"{prefix}{k}.") if isinstance(v, dict) and k != "plans" else [prefix + k]
             for k, v in values.items()]  # fmt: skip
    return [name for part in parts for name in part]
