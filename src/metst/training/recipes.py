"""Everything that decides a training on labelled recordings besides its data and its seed, by name."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from metst.config import NetworkConfig, Settings
from metst.datasets import Kind
from metst.errors import UsageError
from metst.models.checkpoint import PROTOCOLS
from metst.regions import METST_REGIONS, REGIONS
from metst.storage import faults_in_words


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


def _published_plan(data_set: Literal["samm-lv", "casme3"], *, batch_size: int, neutral_ratio: float) -> WindowPlan:
    protocol = PROTOCOLS[data_set]
    return WindowPlan(
        rate_hz=protocol.rate_hz, window=protocol.window, batch_size=batch_size, neutral_ratio=neutral_ratio
    )


PUBLISHED_PLANS: dict[Kind, WindowPlan] = {
    "samm-lv": _published_plan("samm-lv", batch_size=32, neutral_ratio=0.5),
    "casme3": _published_plan("casme3", batch_size=256, neutral_ratio=4.0),
}
"""Of the data sets that the published networks were trained on (arXiv 2508.08082)."""


class Recipe(Settings):
    """A training on labelled recordings, besides its data, strategy and seed."""

    name: str = Field(description="name of the recipe")
    network: NetworkConfig
    rule: Literal["fixed", "extensible"] = Field(description="published rule that decodes the scores")
    learning_rate: float = Field(gt=0, description="peak of the one-cycle schedule")
    epochs: int = Field(ge=1, description="times that every chosen window is seen")
    plans: dict[Kind, WindowPlan] = Field(PUBLISHED_PLANS, description="windows by data set; derived for the others")
    spotting_weight: float = Field(0.9, ge=0, description="weight of the squared error of the score")
    recognition_weight: float = Field(0.1, ge=0, description="weight of the cross-entropy of the class")
    neutral_factor: float = Field(6.0, ge=0, description="times the balanced weight of neutral; 0 under strategy 0")
    gain: tuple[float, float] = Field((0.9, 1.1), description="each window is multiplied by a number in this range")
    background: bool = Field(False, description="also train on videos without a micro-expression")
    hard_negatives: bool = Field(False, description="take windows with macro-expressions or blinks as neutral first")
    validation_share: float = Field(0.0, ge=0, lt=1, description="share of the training subjects kept to validate on")
    patience: int = Field(0, ge=0, description="epochs without a better validation before training stops; 0: never")

    @property
    def regions(self) -> tuple[int, ...]:
        """Numbers of the regions that are read: all 18, or the five of ME-TST."""
        every = self.network.in_channels == 2 * len(REGIONS)
        return tuple(REGIONS[i].number for i in (range(len(REGIONS)) if every else METST_REGIONS))

    @property
    def statistic(self) -> Literal["mean", "median"]:
        """What a typical duration is for ``k_p``, as published with each rule."""
        return "median" if self.rule == "extensible" else "mean"

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.patience and not self.validation_share:
            raise ValueError("early stopping (patience) needs validation subjects: set validation_share, say to 0.2")
        if self.network.in_channels not in (2 * len(REGIONS), 2 * len(METST_REGIONS)):
            raise ValueError(f"a network reads 36 or 10 channels, got {self.network.in_channels}")
        low, high = self.gain
        if not (isfinite(low) and isfinite(high) and low <= high):
            raise ValueError(f"gain is the lowest and the highest factor, both finite, got {low} and {high}")
        return self


_SCHEDULES: dict[str, tuple[float, int]] = {
    "metst": (1e-4, 30),
    "metst-2024": (1e-4, 30),
    "metst-plus": (3e-4, 50),
    "boosting-vrme": (3e-4, 50),
}

PUBLISHED_RECIPES = tuple(_SCHEDULES)
"""Published trainings on recordings, by the name of their network."""


def published_recipe(name: str) -> Recipe:
    """A published training (ME-TST arXiv 2409.09707, ME-TST+ 2508.08082, BoostingVRME 2508.18834).

    Raises
    ------
    UsageError
        There is none of this name, or PyTorch is not installed.
    """
    if name not in _SCHEDULES:
        raise UsageError(f"unknown recipe {name!r} for recordings: expected one of {', '.join(_SCHEDULES)}")
    try:
        from metst.models.networks import PUBLISHED
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError("training needs PyTorch: pip install 'metst[train]'") from error

    learning_rate, epochs = _SCHEDULES[name]
    rule: Literal["fixed", "extensible"] = "extensible" if name == "boosting-vrme" else "fixed"
    return Recipe(name=name, network=PUBLISHED[name], rule=rule, learning_rate=learning_rate, epochs=epochs)


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
        values["network"]["name"] = f"{recipe.network.name}-changed"
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        words = faults_in_words(error, whole="recipe")
        raise UsageError(f"recipe {recipe.name} cannot be changed so: {words}") from error


def _names(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    parts = [_names(v, f"{prefix}{k}.") if isinstance(v, dict) and k != "plans" else [prefix + k]
             for k, v in values.items()]  # fmt: skip
    return [name for part in parts for name in part]
