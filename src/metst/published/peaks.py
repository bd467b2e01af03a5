"""Peaks of a curve, as the published rules take them."""

from __future__ import annotations

import numpy as np

from metst.arrays import Float64Array, Int64Array

Peaks = Int64Array


def find_peaks(curve: Float64Array, *, height: float, distance: int) -> Peaks:
    """Local maxima of at least a height, none closer to a higher one than a distance.

    The semantics are those of ``scipy.signal.find_peaks``, which the published code calls, ties included: a plateau
    counts once, at its middle; the ends of the curve are no peaks.

    Parameters
    ----------
    curve : (T,) float64
        Finite.
    height : float
        Lowest peak.
    distance : int
        Fewest frames from one peak to the next, at least 1.

    Returns
    -------
    (N,) int64
        In order of time.
    """
    peaks = _local_maxima(curve)
    peaks = peaks[curve[peaks] >= height]
    kept = np.ones(len(peaks), dtype=bool)
    for highest in np.argsort(curve[peaks])[::-1]:
        if kept[highest]:
            close = np.abs(peaks - peaks[highest]) < distance
            kept &= ~close
            kept[highest] = True
    return peaks[kept]


def _local_maxima(curve: Float64Array) -> Peaks:
    """Middles of the level stretches that are higher than both sides."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(curve)) + 1]).astype(np.int64)
    lasts = np.append(starts[1:], len(curve)) - 1
    level = curve[starts]
    higher = np.concatenate([[False], (level[1:-1] > level[:-2]) & (level[1:-1] > level[2:]), [False]])
    higher = higher[: len(starts)]
    return np.asarray((starts[higher] + lasts[higher]) // 2)
