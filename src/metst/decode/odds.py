"""Between probabilities, log-odds and logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[Any]

_SMALLEST = 1e-6


def probability(log_odds: FloatArray) -> FloatArray:
    """The logistic function, of the same dtype and without overflow."""
    small = np.exp(-np.abs(log_odds))
    return np.asarray(np.where(log_odds >= 0, 1, small) / (1 + small))


def log_odds(probability: FloatArray) -> FloatArray:
    """Inverse of :func:`probability`; infinite at 0 and 1."""
    return np.asarray(np.log(probability) - np.log1p(-probability))


def class_probabilities(logits: FloatArray) -> FloatArray:
    """Softmax over the last axis."""
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def pooled_shares(one: FloatArray, other: FloatArray) -> FloatArray:
    """Two distributions over the last axis as one: their geometric mean."""
    return class_probabilities((np.log(np.maximum(one, _SMALLEST)) + np.log(np.maximum(other, _SMALLEST))) / 2)
