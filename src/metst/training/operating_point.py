"""Confidence and threshold of a model, fitted on peaks that were found right or wrong, and on false alarms."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from metst.arrays import BoolArray, Float64Array
from metst.config import FALSE_ALARM_FACTORS, OperatingPoint
from metst.decode import odds

ANY_PEAK = 0.02
"""Lowest peak of a score that is looked at, to calibrate and to compare thresholds; set by hand."""

# Peaks are kept this far from 0 and 1, where log-odds are not finite; probabilities from 0, where logarithms are not.
_PEAK_MARGIN, _PROBABILITY_MARGIN = 1e-6, 1e-9
# Of the weak normal prior of the offset and of the logarithm of the slope, around 0; set by hand.
_PRIOR_VARIANCE = 25
# A threshold lies this much above the false alarm that is one too many, and within these ends; set by hand.
_ABOVE_ALARM = 1e-3
_LOWEST_THRESHOLD, _HIGHEST_THRESHOLD = 0.05, 0.95


def fit_logistic(peaks: Float64Array, *, right: BoolArray) -> tuple[float, float]:
    """Slope (> 0) and offset of P(right) over the peak's log-odds, by maximum likelihood with a weak prior.

    Raises
    ------
    ValueError
        No peak, or all of one kind: nothing to fit.
    """
    if not right.any() or right.all():
        raise ValueError("calibration needs both right and wrong events")
    x = odds.log_odds(np.clip(peaks, _PEAK_MARGIN, 1 - _PEAK_MARGIN))

    def negative_log_likelihood(parameters: Float64Array) -> float:
        probability = odds.probability(np.exp(parameters[0]) * x + parameters[1])
        probability = np.clip(probability, _PROBABILITY_MARGIN, 1 - _PROBABILITY_MARGIN)
        fit = -np.where(right, np.log(probability), np.log1p(-probability)).sum()
        return float(fit + 0.5 * (parameters**2).sum() / _PRIOR_VARIANCE)

    best = minimize(negative_log_likelihood, np.zeros(2), method="BFGS")
    return float(np.exp(best.x[0])), float(best.x[1])


def pick_threshold(alarms: Float64Array, *, minutes: float, per_min: float) -> float:
    """Lowest threshold that lets at most ``per_min`` of the false alarms per minute through; within 0.05 .. 0.95."""
    too_many = first_too_many(alarms, minutes=minutes, per_min=per_min)
    return round(float(np.clip(too_many + _ABOVE_ALARM, _LOWEST_THRESHOLD, _HIGHEST_THRESHOLD)), ndigits=3)


def pick_points(alarms: Float64Array, *, minutes: float, balanced_per_min: float) -> dict[OperatingPoint, float]:
    """The thresholds of all operating points, from the same false alarms: see :func:`pick_threshold`.

    Parameters
    ----------
    alarms : (N,) float64
        Peaks of all false alarms.
    minutes : float
        How long was looked for them.
    balanced_per_min : float
        How many of them per minute ``balanced`` lets through; the others as :data:`FALSE_ALARM_FACTORS` has it.
    """
    return {
        name: pick_threshold(alarms, minutes=minutes, per_min=factor * balanced_per_min)
        for name, factor in FALSE_ALARM_FACTORS.items()
    }


def best_threshold(peaks: Float64Array, *, right: BoolArray, wanted: int) -> tuple[float, float]:
    """Threshold of the best F1, within 0.05 .. 0.95, and that F1; of equals the highest threshold.

    Parameters
    ----------
    peaks : (N,) float64
        Peaks of all events that were found.
    right : (N,) bool
        Which of them are micro-expressions.
    wanted : int
        Micro-expressions that there are.
    """
    order = np.argsort(-peaks, kind="stable")
    heights, hits = peaks[order], np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(peaks) + 1) + wanted)
    best = int(np.argmax(f1))
    # Halfway to the next lower peak: neither is at the edge.
    below = float(heights[best + 1]) if best + 1 < len(heights) else 0.0
    threshold = (float(heights[best]) + below) / 2
    return round(float(np.clip(threshold, _LOWEST_THRESHOLD, _HIGHEST_THRESHOLD)), ndigits=3), float(f1[best])


def first_too_many(alarms: Float64Array, *, minutes: float, per_min: float) -> float:
    """Height of the highest false alarm that is one more than ``per_min`` per minute; 0 when there is none."""
    highest = np.sort(alarms)[::-1]
    allowed = int(per_min * minutes)
    return float(highest[allowed]) if allowed < len(highest) else 0.0
