"""What both rules read of a series of scores, and how they write down what they found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from metst.arrays import BoolArray, Float64Array, IntArray
from metst.errors import DataError
from metst.timeline import Intervals, Series

# Channels of a series of scores, as frames.csv names them too, and the class that is no event.
SPOT = "spot_score"
CLASS_PREFIX = "p_"
NEUTRAL = "neutral"


def score_channels(classes: Sequence[str]) -> tuple[str, ...]:
    """Channels of the scores of a network with these classes."""
    return (SPOT, *(CLASS_PREFIX + name for name in classes))


def class_names(channels: Sequence[str]) -> tuple[str, ...]:
    """Classes that have a channel ``p_<class>``, in order."""
    return tuple(name.removeprefix(CLASS_PREFIX) for name in channels if name.startswith(CLASS_PREFIX))


def spot_and_chance(scores: Series, classes: Sequence[str]) -> tuple[Float64Array, Float64Array, BoolArray]:
    """Spotting score (T,) and class probabilities (T, K) in float64, and which frames have both (T,).

    Raises
    ------
    DataError
        If a channel is missing.
    """
    columns = _columns(scores.channels, classes)
    values = scores.values[:, columns].astype(np.float64)
    return values[:, 0], values[:, 1:], np.asarray(scores.valid & np.isfinite(values).all(axis=1))


def _columns(channels: Sequence[str], classes: Sequence[str]) -> list[int]:
    wanted = score_channels(classes)
    if missing := [name for name in wanted if name not in channels]:
        raise DataError(f"scores lack the channels {', '.join(missing)}: they have {', '.join(channels)}")
    return [channels.index(name) for name in wanted]


def mean_chance(chance: Float64Array, weight: Float64Array | None = None) -> Float64Array:
    """Mean probabilities over frames ``(F, K)``, scaled to a sum of 1; all alike when nothing is left."""
    mean = np.average(chance, axis=0, weights=weight)
    total = float(mean.sum())
    return np.asarray(mean / total) if total > 0 else np.full(len(mean), 1 / len(mean))


def table(rows: Sequence[npt.ArrayLike], *, width: int) -> Float64Array:
    """Array ``(N, width)``, also for no row at all."""
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)


def intervals(
    frames: npt.NDArray[np.generic],
    *,
    confidence: Float64Array,
    probability: Float64Array,
    classes: tuple[str, ...],
    label: IntArray,
) -> Intervals:
    """Intervals of half-open frames ``(N, 3)`` with their classes by index."""
    onset, apex, offset = frames.astype(np.int64).T
    return Intervals(onset, apex, offset, tuple(classes[i] for i in label), confidence, probability, classes)
