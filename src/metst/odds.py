"""Between probabilities, log-odds and logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[Any]

_CERTAIN = 1e-6


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


def pooled_probability(one: FloatArray, other: FloatArray) -> FloatArray:
    """Two opinions as one: the logistic function of the mean of their log-odds, symmetric and neutral at 1/2."""
    return probability((log_odds(_inside(one)) + log_odds(_inside(other))) / 2)


def pooled_shares(one: FloatArray, other: FloatArray) -> FloatArray:
    """Two distributions over the last axis as one: their geometric mean."""
    return class_probabilities((np.log(_inside(one)) + np.log(_inside(other))) / 2)


def _inside(chance: FloatArray) -> FloatArray:
    """Away from 0 and 1, whose log-odds no other opinion could move."""
    return np.asarray(np.clip(chance, _CERTAIN, 1 - _CERTAIN))
