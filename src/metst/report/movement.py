"""The numbers behind the drawings of facial motion: made for the eye, no input of any model."""

from __future__ import annotations

from typing import Final

import numpy as np

from metst.arrays import Float32Array, FloatArray, IntArray
from metst.regions import REGIONS
from metst.timeline import Series

# A micro-expression rises within about 0.2 s (0.18-0.24 s in the median, as published): over this time it moves
# farthest, slow motion hardly at all.
LAG_S: Final = 0.25


def recent_movement(motion: Series) -> Float32Array:
    """How far each region moved within the last quarter of a second.

    Parameters
    ----------
    motion : Series (T, R, 2)
        ROI trajectory in face units.

    Returns
    -------
    (T, R) float32
        Face units; NaN in gaps, and never measured across one.
    """
    frames = np.arange(len(motion))
    starts = motion.valid & ~np.concatenate([[False], motion.valid[:-1]])
    stretch = np.maximum.accumulate(np.where(starts, frames, 0))
    before = np.maximum(motion.grid.frame_at(motion.grid.time_s - LAG_S), stretch)
    moved = np.empty((len(motion), len(motion.channels)), np.float32)
    for region in range(len(motion.channels)):  # one by one: a long recording would take a dozen megabytes at once
        x, y = (motion.values[:, region] - motion.values[before, region]).T
        np.hypot(x, y, out=moved[:, region])
    return moved


def onset_to_apex(motion: Series, *, onset: int, apex: int) -> Float32Array:
    """Displacement of each region from onset to apex, (R, 2) in face units; NaN across a gap."""
    if not motion.valid[onset : apex + 1].all():
        return np.full(motion.values.shape[1:], np.nan, dtype=np.float32)
    return np.asarray(motion.values[apex] - motion.values[onset], dtype=np.float32)


def binned(values: FloatArray, *, starts: IntArray, highest: bool) -> FloatArray:
    """Highest or lowest value of each bin of frames, ``(T, ...)`` to ``(N, ...)``; NaN where all of a bin is."""
    return (np.fmax if highest else np.fmin).reduceat(values, starts, axis=0)


def bin_starts(frames: slice, *, count: int) -> IntArray:
    """First frame of each of at most ``count`` equal bins of a stretch of frames, relative to its start."""
    length = frames.stop - frames.start
    return np.unique(np.linspace(0, length, min(count, length), endpoint=False).astype(np.int64))


def region_groups() -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Regions that belong together, by name: a coarse one with its fine ones, or a pair without any."""
    groups: list[tuple[str, tuple[int, ...]]] = []
    for index, region in enumerate(REGIONS):
        fine = tuple(i for i, other in enumerate(REGIONS) if other.parent == index)
        if fine:
            groups.append((region.name, (index, *fine)))
        elif region.parent is None and region.side == "left":
            groups.append((f"{region.name.removeprefix('left ')}s", (index, region.mirror)))
    return tuple(groups)
