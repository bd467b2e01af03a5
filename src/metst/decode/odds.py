"""Between probabilities, log-odds and logits."""

from __future__ import annotations

import numpy as np

from metst.arrays import AnyArray

LEAST = 1e-6
"""Least probability, and least doubt: logarithms stay finite, and the weight of a frame above 0.  Set by hand."""


def probability(log_odds: AnyArray) -> AnyArray:
    """The logistic function, of the same dtype and without overflow."""
    small = np.exp(-np.abs(log_odds))
    return np.asarray(np.where(log_odds >= 0, 1, small) / (1 + small))


def log_odds(probability: AnyArray) -> AnyArray:
    """Inverse of :func:`probability`; infinite at 0 and 1."""
    return np.asarray(np.log(probability) - np.log1p(-probability))


def class_probabilities(logits: AnyArray) -> AnyArray:
    """Softmax over the last axis."""
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def pooled_shares(one: AnyArray, other: AnyArray) -> AnyArray:
    """Two distributions over the last axis as one: their geometric mean."""
    return class_probabilities((np.log(np.maximum(one, LEAST)) + np.log(np.maximum(other, LEAST))) / 2)


def pooled_probability(one: AnyArray, other: AnyArray) -> AnyArray:
    """Two probabilities as one: the mean of their log-odds."""
    first, second = (log_odds(np.clip(each.astype(np.float64), LEAST, 1 - LEAST)) for each in (one, other))
    return probability((first + second) / 2)
