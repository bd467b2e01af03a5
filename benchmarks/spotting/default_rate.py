"""Whether confidences hold at the rate of micro-expressions that analyses take for granted.

A test is full of planted movements, so that nearly all candidates are right there, whatever their confidence.  Here
each planted movement counts for less, until all of them together come as often as analyses expect them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from figures import Pair
from scipy.stats import chi2
from scored import hits

from metst.config import EXPECTED_PER_MIN
from metst.metrics.calibration import confidence_bins, expected_calibration_error, weights_for_rate

_RESAMPLES, _SEED = 1000, 7
_LEAST = 1e-3
"""Confidences below this count as this much where odds are taken of them."""

Values = npt.NDArray[np.float64]
Truths = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """Candidates in the footage of one person, or of several together.

    Parameters
    ----------
    confidence : (N,) float64
    right : (N,) bool
        Which hit a planted movement.
    caused : (N,) bool
        Which have to do with a planted movement, right or beside it: they come as often as movements do.
    planted : int
        Movements.
    minutes : float
        Of footage as it is, where the other candidates are from.
    """

    confidence: Values
    right: Truths
    caused: Truths
    planted: int
    minutes: float

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Sample:
        """Of planted clips what lies on a movement, of clips as they are everything, of placebos nothing."""
        confidence, right, caused = [np.zeros(0)], [np.zeros(0, bool)], [np.zeros(0, bool)]
        planted, minutes = 0, 0.0
        for each, events in pairs:
            if each.placebo:
                continue
            hit = hits(events, each.truth) >= 0
            before = events.onset[:, None] < each.truth.offset
            near = hit | (before & (events.offset[:, None] > each.truth.onset)).any(axis=1)
            count = len(each.truth)
            kept = near if count else np.ones(len(hit), bool)
            for column, values in zip((confidence, right, caused), (events.confidence, hit, near), strict=True):
                column.append(values[kept])
            planted, minutes = planted + count, minutes + (0.0 if count else each.minutes)
        return cls(np.concatenate(confidence), np.concatenate(right), np.concatenate(caused), planted, minutes)

    @classmethod
    def together(cls, several: Sequence[Sample]) -> Sample:
        """Those of several people as one."""
        columns = (
            np.concatenate([getattr(each, name) for each in several]) for name in ("confidence", "right", "caused")
        )
        return cls(*columns, sum(each.planted for each in several), sum(each.minutes for each in several))

    @property
    def weight(self) -> Values:
        """What each candidate counts at the default rate."""
        held = self.planted / self.minutes
        return weights_for_rate(self.caused, held_per_min=held, expected_per_min=EXPECTED_PER_MIN)

    def error(self) -> float:
        """Expected calibration error at that rate; NaN where there is nothing to tell it from."""
        if not (self.planted and self.minutes and len(self.confidence)):
            return float("nan")
        return expected_calibration_error(confidence_bins(self.confidence, right=self.right, weight=self.weight))


@dataclass(frozen=True)
class DefaultRate:
    """Confidences of one system at the default rate; intervals are 95 %.

    Parameters
    ----------
    system : str
    right, beside, elsewhere : int
        Candidates that hit a planted movement, lie on one and miss it, or lie where nothing was planted.
    minutes : float
        Of footage as it is.
    said, held : float
        Mean confidence, and the share that is right.
    held_interval : (low, high)
        Of that share, by how few candidates elsewhere it is known from: exact for a Poisson number (Garwood, 1936).
    ece : float
    interval : (low, high)
        Over resamples of the persons.
    exact : (low, median, high)
        What a confidence that is exactly right would show in so few minutes.
    """

    system: str
    right: int
    beside: int
    elsewhere: int
    minutes: float
    said: float
    held: float
    held_interval: tuple[float, float]
    ece: float
    interval: tuple[float, float]
    exact: tuple[float, float, float]

    def for_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def default_rate_of(system: str, pairs: Sequence[Pair]) -> DefaultRate:
    """All of one system on the real footage of one split."""
    real = [pair for pair in pairs if pair[0].real]
    people = [
        Sample.of([pair for pair in real if pair[0].person == person])
        for person in dict.fromkeys(each.person for each, _ in real)
    ]
    nothing = float("nan")
    whole = Sample.of(real)
    known = np.isfinite(whole.error())
    weight = whole.weight if known else np.zeros(0)
    rng = np.random.default_rng(_SEED)
    drawn = [Sample.together([people[i] for i in rng.integers(len(people), size=len(people))]).error()
             for _ in range(_RESAMPLES if known else 0)]  # fmt: skip
    return DefaultRate(
        system=system,
        right=int(whole.right.sum()),
        beside=int((whole.caused & ~whole.right).sum()),
        elsewhere=int((~whole.caused).sum()),
        minutes=whole.minutes,
        said=float(np.average(whole.confidence, weights=weight)) if known else nothing,
        held=float(np.average(whole.right, weights=weight)) if known else nothing,
        held_interval=_held_interval(whole) if known else (nothing, nothing),
        ece=whole.error(),
        interval=_interval(drawn),
        exact=exact_errors(whole, rng=rng) if known and whole.right.any() else (nothing,) * 3,
    )


def _held_interval(sample: Sample) -> tuple[float, float]:
    elsewhere = int((~sample.caused).sum())
    fewest = chi2.ppf(0.025, 2 * elsewhere) / 2 if elsewhere else 0.0
    most = chi2.ppf(0.975, 2 * elsewhere + 2) / 2
    right, caused = (EXPECTED_PER_MIN / sample.planted * which.sum() for which in (sample.right, sample.caused))
    low, high = (float(right / (caused + count / sample.minutes)) for count in (most, fewest))
    return low, high


def exact_errors(sample: Sample, *, rng: np.random.Generator) -> tuple[float, float, float]:
    """The error that candidates would show if their confidences were exactly right: lower end, median, upper end.

    Of the right ones it follows how many false ones there should be of each confidence, a minute; so many are drawn
    (Poisson) for as many minutes as the sample has.
    """
    right = sample.confidence[sample.right]
    rate = EXPECTED_PER_MIN / sample.planted * (1 / np.clip(right, _LEAST, 1) - 1)
    shown = []
    for _ in range(_RESAMPLES):
        false = np.repeat(right, rng.poisson(rate * sample.minutes))
        hit = np.arange(len(right) + len(false)) < len(right)
        both = Sample(np.concatenate([right, false]), hit, hit, sample.planted, sample.minutes)
        shown.append(both.error())
    low, high = _interval(shown)
    return low, float(np.median(shown)), high


def _interval(values: Sequence[float]) -> tuple[float, float]:
    there = [each for each in values if np.isfinite(each)]
    return (float(np.percentile(there, 2.5)), float(np.percentile(there, 97.5))) if there else (float("nan"),) * 2
