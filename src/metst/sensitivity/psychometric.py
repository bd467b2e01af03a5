"""Detection probability over amplitude and duration: a psychometric curve fitted by Newton steps.

``P = guess + (1 - guess - lapse) * logistic(w0 + w1 ln(amplitude / 0.1) + w2 ln(duration / 0.38 s))``, as in
Wichmann and Hill (2001), "The psychometric function I": the guess rate is what is found where nothing was
planted, the lapse rate what is missed however strong the movement.  At amplitude 0 the curve is the guess rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from metst.arrays import BoolArray, Float64Array, Int64Array
from metst.decode.odds import probability as logistic
from metst.synthesis.events import MEAN_DURATION_S

REFERENCE_AMPLITUDE: Final = 0.1
"""Amplitude at which the weights are read, fraction of full contraction: in the middle of what real ones reach."""


# Weak normal prior: without it the slope is infinite as soon as all weak movements are missed and all strong found.
_PRIOR_MEAN: Final = np.array([0.0, 3.0, 1.0])
_PRIOR_SD: Final = np.array([10.0, 2.0, 1.5])
_LAPSES: Final = (0.0, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
_LAPSE_PRIOR: Final = 9.0  # of the density (1 - lapse) ** 9: lapses are rare unless the trials say otherwise
# Newton steps, halvings of one step, and the gain of log posterior at which they end: set by hand, seldom reached.
_STEPS: Final = 30
_HALVINGS: Final = 12
_TOLERANCE: Final = 1e-8
# Probabilities and amplitudes keep this distance from 0 (and 1), so that logarithms are finite.
_TINY: Final = 1e-9
_LARGEST_EXPONENT: Final = 700.0  # of e, in numbers of 64 bits
_FEWEST_MOMENTS: Final = 5
_TAIL: Final = 0.025  # beyond each end of a 95 % interval
_Z95: Final = 1.959963984540054  # where the normal distribution has that tail
_BAND: Final = (2.5, 97.5)  # the same in percent
_BISECTIONS: Final = 80  # more than the 64 bits of a number
_SMALLEST_MEAN: Final = 1e-12  # of a Poisson count: the logarithm of 0 is not finite


@dataclass(frozen=True)
class Curve:
    """A fitted curve; ``weights`` are those of the formula above."""

    weights: tuple[float, float, float]
    guess: float
    lapse: float

    def probability(self, amplitude: npt.ArrayLike, *, duration_s: npt.ArrayLike) -> Float64Array:
        """Probability of detection; the guess rate at amplitude 0."""
        rows = _design(np.asarray(amplitude, np.float64), np.asarray(duration_s, np.float64))
        share = logistic(rows @ np.array(self.weights))
        zero = np.asarray(amplitude, np.float64) <= 0
        return np.asarray(self.guess + (1 - self.guess - self.lapse) * np.where(zero, 0.0, share))

    def amplitude_at(self, target: float, *, duration_s: float) -> float:
        """Amplitude that is detected with this probability; infinite when none is, 0 when chance alone does it."""
        if target <= self.guess:
            return 0.0
        span = 1 - self.guess - self.lapse
        share = (target - self.guess) / span if span > 0 else 1.0
        if share >= 1 or self.weights[1] <= 0:
            return math.inf
        wanted = math.log(share / (1 - share))
        rest = self.weights[0] + self.weights[2] * math.log(duration_s / MEAN_DURATION_S)
        return REFERENCE_AMPLITUDE * math.exp(min((wanted - rest) / self.weights[1], _LARGEST_EXPONENT))


def fit_curve(amplitude: Float64Array, duration_s: Float64Array, *, found: BoolArray) -> Curve:
    """Most probable curve for trials ``(N,)``; the guess rate is the share found among those of amplitude 0."""
    placebo = amplitude <= 0
    guess = float(found[placebo].mean()) if placebo.any() else 0.0
    rows, hits = _design(amplitude[~placebo], duration_s[~placebo]), found[~placebo].astype(np.float64)
    if not len(hits):
        return Curve((0.0, 0.0, 0.0), guess, 0.0)
    weights, best = _PRIOR_MEAN, (-math.inf, _PRIOR_MEAN, 0.0)
    for lapse in _LAPSES:
        if guess + lapse >= 1:
            break
        weights, worth = _newton(weights, rows=rows, hits=hits, guess=guess, lapse=lapse)
        worth += _LAPSE_PRIOR * math.log1p(-lapse)
        best = max(best, (worth, weights, lapse), key=lambda each: each[0])
    return Curve((float(best[1][0]), float(best[1][1]), float(best[1][2])), guess, best[2])


def resampled_curves(
    amplitude: Float64Array,
    duration_s: Float64Array,
    *,
    found: BoolArray,
    moment: Int64Array,
    count: int,
    seed: int,
) -> list[Curve]:
    """Curves of ``count`` bootstrap samples.

    Whole moments are drawn, since the trials of one moment share its background; single trials where there are
    fewer than five moments.
    """
    rng = np.random.default_rng([seed, 1])
    groups = [np.flatnonzero(moment == each) for each in np.unique(moment)]
    if len(groups) < _FEWEST_MOMENTS:
        groups = [np.array([i]) for i in range(len(amplitude))]
    curves = []
    for _ in range(count):
        rows = np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])
        curves.append(fit_curve(amplitude[rows], duration_s[rows], found=found[rows]))
    return curves


def band(curves: list[Curve], read: Callable[[Curve], npt.ArrayLike]) -> tuple[Any, Any]:
    """Ends of the 95 % interval, over the curves, of what is read off each."""
    values = np.array([read(curve) for curve in curves], np.float64)
    low, high = (np.percentile(values, at, axis=0, method="nearest") for at in _BAND)
    return low, high


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); all of 0 to 1 when nothing was counted."""
    if not count:
        return 0.0, 1.0
    share, square = hits / count, _Z95**2 / count
    middle, half = share + square / 2, _Z95 * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


def poisson_interval(count: int) -> tuple[float, float]:
    """Exact 95 % interval of the mean of a Poisson count (Garwood 1936)."""
    low = _bisect(lambda mean: 1 - _poisson_up_to(count - 1, mean) - _TAIL, high=count + 1.0) if count else 0.0
    return low, _bisect(lambda mean: _TAIL - _poisson_up_to(count, mean), high=2.0 * count + 20)


def _poisson_up_to(count: int, mean: float) -> float:
    """Probability of at most ``count`` when the mean is above 0."""
    return sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))


def _bisect(rising: Callable[[float], float], *, high: float) -> float:
    low = _SMALLEST_MEAN
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def _design(amplitude: Float64Array, duration_s: Float64Array) -> Float64Array:
    """Rows ``(..., 3)`` of the linear part; an amplitude of 0 is taken as very small."""
    strong = np.log(np.maximum(amplitude, _TINY) / REFERENCE_AMPLITUDE)
    strong, long = np.broadcast_arrays(strong, np.log(duration_s / MEAN_DURATION_S))
    return np.stack([np.ones_like(strong), strong, long], axis=-1)


def _newton(
    weights: Float64Array, *, rows: Float64Array, hits: Float64Array, guess: float, lapse: float
) -> tuple[Float64Array, float]:
    """Weights of the highest posterior, and its logarithm: Fisher scoring, halved until it climbs."""
    worth = _log_posterior(weights, rows=rows, hits=hits, guess=guess, lapse=lapse)
    for _ in range(_STEPS):
        share = logistic(rows @ weights)
        seen = np.clip(guess + (1 - guess - lapse) * share, _TINY, 1 - _TINY)
        slope = (1 - guess - lapse) * share * (1 - share)
        gradient = rows.T @ ((hits - seen) / (seen * (1 - seen)) * slope) - (weights - _PRIOR_MEAN) / _PRIOR_SD**2
        curvature = (rows.T * (slope**2 / (seen * (1 - seen)))) @ rows + np.diag(1 / _PRIOR_SD**2)
        step = np.linalg.solve(curvature, gradient)
        for _ in range(_HALVINGS):
            tried = _log_posterior(weights + step, rows=rows, hits=hits, guess=guess, lapse=lapse)
            if tried >= worth:
                break
            step = step / 2
        else:
            return weights, worth
        gained, weights, worth = tried - worth, weights + step, tried
        if gained < _TOLERANCE:
            break
    return weights, worth


def _log_posterior(
    weights: Float64Array, *, rows: Float64Array, hits: Float64Array, guess: float, lapse: float
) -> float:
    seen = np.clip(guess + (1 - guess - lapse) * logistic(rows @ weights), _TINY, 1 - _TINY)
    likely = np.where(hits > 0, np.log(seen), np.log1p(-seen)).sum()
    return float(likely - (((weights - _PRIOR_MEAN) / _PRIOR_SD) ** 2).sum() / 2)
