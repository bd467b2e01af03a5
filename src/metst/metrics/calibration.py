"""Whether confidences are the shares they say, at the rate of micro-expressions that a test holds or at another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from metst.arrays import BoolArray, Float64Array
from metst.errors import UsageError

CONFIDENCE_BINS: Final = 10
"""Equal parts of 0 to 1 that candidates are sorted into by their confidence, as is usual; set by hand."""


@dataclass(frozen=True)
class ConfidenceBin:
    """Candidates of about one confidence.

    Parameters
    ----------
    confidence : float
        Their mean.
    right : float
        Which share of them is right.
    weight : float
        How many they are; with weights, the sum of these.
    """

    confidence: float
    right: float
    weight: float


def weights_for_rate(right: BoolArray, *, held_per_min: float, expected_per_min: float) -> Float64Array:
    """What each candidate counts, so that a test stands for recordings with another rate of micro-expressions.

    False candidates are as many a minute as before; of micro-expressions, and so of right candidates, there are
    ``expected_per_min / held_per_min`` times as many.  It is the same assumption by which
    :meth:`metst.config.DecodeSettings.expecting` changes confidences.

    Parameters
    ----------
    right : (N,) bool
        Which of the candidates are right.
    held_per_min : float
        Micro-expressions per minute in the recordings that the candidates come from.
    expected_per_min : float
        In those that they are to stand for.

    Returns
    -------
    (N,) float64

    Raises
    ------
    UsageError
        A rate is not above 0.
    """
    if not (0 < held_per_min < np.inf and 0 < expected_per_min < np.inf):
        raise UsageError(
            f"micro-expressions per minute: above 0, got {held_per_min} held and {expected_per_min} expected"
        )
    return np.where(right, expected_per_min / held_per_min, 1.0)


def confidence_bins(
    confidence: Float64Array, *, right: BoolArray, weight: Float64Array | None = None
) -> tuple[ConfidenceBin, ...]:
    """Sort candidates by confidence into equal parts of 0 to 1; parts without any are left out.

    Parameters
    ----------
    confidence : (N,) float64
        From 0 to 1.
    right : (N,) bool
        Which of them are right.
    weight : (N,) float64, optional
        What each counts, see :func:`weights_for_rate`; 1 each when absent.
    """
    counts = np.ones(len(confidence)) if weight is None else weight
    place = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    return tuple(
        ConfidenceBin(
            float(np.average(confidence[here], weights=counts[here])),
            float(np.average(right[here], weights=counts[here])),
            float(counts[here].sum()),
        )
        for here in (place == number for number in range(CONFIDENCE_BINS))
        if here.any()
    )


def expected_calibration_error(bins: tuple[ConfidenceBin, ...]) -> float:
    """Mean distance of confidence and share of right candidates, by the weight of the bins; NaN without any.

    Naeini, Cooper and Hauskrecht, AAAI 2015.
    """
    total = sum(each.weight for each in bins)
    return sum(each.weight * abs(each.confidence - each.right) for each in bins) / total if total else float("nan")
