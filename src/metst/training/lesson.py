"""A training on labelled recordings as a value, but for its subjects: what a worker elsewhere can be handed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metst.config import DEFAULT_SEED, DEFAULT_STRATEGY, Strategy
from metst.datasets.features import features_fingerprint
from metst.errors import UsageError
from metst.storage import fingerprint, json_key
from metst.training.recipes import Recipe


@dataclass(frozen=True)
class Lesson:
    """What is learnt from which recordings, whoever of them is trained on.

    Parameters
    ----------
    features : Path
        What ``metst extract`` wrote.
    recipe : Recipe
        Network, schedule, windows.
    strategy : {0, 1, 2}
        Synergy of spotting and recognition: 0 none, 1 recognition mainly, 2 spotting mainly.
    seed : int
        Of weights, windows and augmentation.

    Raises
    ------
    UsageError
        There is no such strategy.
    """

    features: Path
    recipe: Recipe
    strategy: Strategy = DEFAULT_STRATEGY
    seed: int = DEFAULT_SEED

    def __post_init__(self) -> None:
        if self.strategy not in (0, 1, 2):
            raise UsageError(f"unknown synergy strategy {self.strategy!r}: expected 0, 1 or 2")

    def fingerprint(self, train: Sequence[str], *, test: Sequence[str] = ()) -> str:
        """SHA-256 over all that decides what comes out for these subjects."""
        decides = {
            "features": features_fingerprint(self.features),
            "recipe": self.recipe.model_dump(mode="json"),
            "strategy": self.strategy,
            "seed": self.seed,
            "train": sorted(train),
            "test": sorted(test),
        }
        return fingerprint(json_key(decides))
