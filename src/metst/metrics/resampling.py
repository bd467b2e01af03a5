"""How far figures may be trusted: percentile intervals over resamples of the subjects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metst.arrays import Float64Array, IntArray
from metst.errors import UsageError
from metst.metrics.figures import Tally, all_scores, overall_scores

FEWEST_SUBJECTS = 2
"""With one subject all resamples are alike."""
_INTERVAL_PERCENT = (2.5, 97.5)
"""Percentiles between which 95 % of the resamples lie."""


@dataclass(frozen=True)
class Bootstrap:
    """How many resamples of the subjects there are (0 for none), and the seed of their chance.

    Raises
    ------
    UsageError
        If the number is negative.
    """

    resamples: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 0:
            raise UsageError(f"the number of resamples must not be negative, got {self.resamples}")

    def drawn(self, size: int) -> IntArray:
        """How often each of ``size`` subjects comes into each resample: ``(resamples, size)``.

        There are no resamples of fewer than two subjects: all of them would be alike.
        """
        if size < FEWEST_SUBJECTS:
            return np.zeros((0, size), dtype=np.int64)
        return np.random.default_rng(self.seed).multinomial(size, np.full(size, 1 / size), size=self.resamples)


def intervals(tally: Tally, *, scorer: str, drawn: IntArray) -> dict[str, list[float]]:
    """95 % interval of every figure; empty without resamples."""
    return _ends(_resampled(tally, scorer=scorer, drawn=drawn)) if len(drawn) else {}


def differences(tally: Tally, other: Tally, *, scorer: str, drawn: IntArray) -> dict[str, Any]:
    """Every figure of the first minus that of the second, with its 95 % interval.

    Both are taken from the same resample each time, so that what makes a subject hard for both does
    not widen the interval (paired bootstrap; Efron and Tibshirani 1993, chapter 8).
    """
    everyone = np.ones((1, len(tally.counts)), dtype=np.int64)
    value = _difference(tally, other, scorer=scorer, drawn=everyone)
    ends = _ends(_difference(tally, other, scorer=scorer, drawn=drawn)) if len(drawn) else {}
    return {
        name: {"value": float(number[0])} | ({"interval": ends[name]} if ends else {}) for name, number in value.items()
    }


def _resampled(tally: Tally, *, scorer: str, drawn: IntArray) -> dict[str, Float64Array]:
    counts, confusion = (np.tensordot(drawn, part, axes=1) for part in (tally.counts, tally.confusion))
    return overall_scores(all_scores(Tally(counts, confusion), scorer=scorer))


def _difference(tally: Tally, other: Tally, *, scorer: str, drawn: IntArray) -> dict[str, Float64Array]:
    first, second = (_resampled(one, scorer=scorer, drawn=drawn) for one in (tally, other))
    return {name: first[name] - second[name] for name in first}


def _ends(samples: dict[str, Float64Array]) -> dict[str, list[float]]:
    return {name: np.percentile(values, _INTERVAL_PERCENT).tolist() for name, values in samples.items()}
