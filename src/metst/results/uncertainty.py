"""How far a measured movement may be off: its expanded uncertainty, by region and frame.

Nobody knows the true motion of a real face, so the errors were learnt where it is known: on real portraits that are
warped and on rendered heads, both with noise, encoded, and moving.  What may be wrong shows in how well a region's
texture determines its motion (quality), in how its curve trembles, and in how far the region moved, of which a share
may be missing.  (How far the head moved was tried as well, and told nothing more.)
``benchmarks/motion_uncertainty.py`` fits the constants and counts, on other people, how many errors lie inside: see
``docs/motion.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from metst.arrays import Float32Array, Float64Array, FloatArray, IntArray
from metst.timeline import extremes, true_runs

if TYPE_CHECKING:
    from metst.results.motion import Motion

WITHIN_S: Final = 0.5
"""Uncertainty of a frame is that of a movement which began within so many seconds before: as long as a
micro-expression lasts at most."""

_EYES_IN_UNIT: Final = 0.68  # distance of the eye centres, in face units: of the mean face of 68 points
_UNIT_PX: Final = 70.0  # of the face that the constants are written for
_LEAST_UNIT_PX: Final = 2.0  # a smaller face is none
_LEAST_DOUBT: Final = 0.01  # added to 1 - quality: so much is always left to doubt
_LEAST_TREMOR: Final = 2e-4  # face units, added: tremor that is too small to be told from rounding
_MOST: Final = float(np.finfo(np.float32).max)  # that can be kept
_BLOCK: Final = 4096  # frames that are looked at together: some megabytes; it decides nothing
_BEND_S: Final = 0.04  # between the three frames of a second difference: of the recordings that the law was fitted to
_TREMOR_OF_BEND: Final = 6.0  # variance of a second difference, over that of the noise whose it is


class _Law(NamedTuple):
    """Exponents of the noise, fitted by ``benchmarks/motion_uncertainty.py``."""

    noise: float
    doubt: float
    tremor: float
    size: float


LAW = _Law(-0.512, 0.434, 0.552, -0.267)
SHARES: Final = {"brow": 0.385, "mouth": 0.382, "lip": 0.638, "nose": 0.867, "eyelid": 1.175}
"""Share of a movement that may be wrong, by the part of the face that a region's name tells; from the same fit."""


class Seen(NamedTuple):
    """What the uncertainty of movements is told from, all ``(N, R)`` or broadcast to it.

    Parameters
    ----------
    moved : float64
        Length of the movement, face units.
    quality : float64
        The lower one of its two ends.
    tremor : float64
        Standard deviation of the noise of the curve, told from its second differences, face units.
    unit_px : float64
        A face unit in pixels.
    """

    moved: Float64Array
    quality: Float64Array
    tremor: Float64Array
    unit_px: Float64Array


def bound(seen: Seen, shares: FloatArray, law: _Law = LAW) -> Float64Array:
    """Half-width, along x or y, within which 95 % of the errors lie: ``(N, R)``, face units.

    Root of the sum of squares of noise, a product of powers of what is seen, and of a share of the movement
    (``shares``, (R,) or (N, R)).
    """
    noise = np.exp(
        law.noise
        + law.doubt * np.log(1 - np.clip(seen.quality, 0, 1) + _LEAST_DOUBT)
        + law.tremor * np.log(seen.tremor + _LEAST_TREMOR)
        + law.size * np.log(np.maximum(seen.unit_px, _LEAST_UNIT_PX) / _UNIT_PX)
    )
    return np.minimum(np.sqrt(noise**2 + (shares * seen.moved) ** 2), _MOST)


def shares_of(regions: Sequence[str]) -> Float64Array:
    """Those of :data:`SHARES` that belong to regions of these names, the largest to others: ``(R,)``."""
    largest = max(SHARES.values())
    return np.array([next((share for part, share in SHARES.items() if part in name), largest) for name in regions])


def frame_uncertainty(motion: Motion) -> Float32Array:
    """Expanded uncertainty of the displacement, by frame and region: about 95 % of the errors lie inside.

    It is that of a movement which ends in the frame and began at any moment of the half second before (at the frame
    before, where that is longer ago), the least certain of them: displacement over minutes is another thing, which
    ``docs/motion.md`` speaks of.  Half of it is no standard deviation: the errors are not normal.

    Parameters
    ----------
    motion : Motion
        ``T`` frames.

    Returns
    -------
    (T, R) float32
        Face units, for each of the two axes; NaN where nothing was measured, and where it is not known where the face
        is in the picture.
    """
    found = np.full(motion.quality.shape, np.nan, np.float32)
    shares = shares_of(motion.displacement.channels)
    for run in true_runs(motion.displacement.valid):
        for start in range(run.start, run.stop, _BLOCK):
            lead = _lead(motion, start, run.start)
            block = slice(start, min(start + _BLOCK, run.stop))
            found[block] = bound(_seen_before(motion, slice(lead, block.stop)), shares)[start - lead :]
    return found


def movement_uncertainty(motion: Motion, *, first: int, last: int) -> Float32Array:
    """The same of the movement from frame ``first`` to frame ``last``: ``(R,)``; NaN across a gap."""
    if not motion.displacement.valid[first : last + 1].all():
        return np.full(motion.quality.shape[1], np.nan, np.float32)
    lead, ends = _lead(motion, last, 0), [first, last]
    lead = lead + int(np.flatnonzero(~motion.displacement.valid[lead:last]).max(initial=-1)) + 1
    moved = np.diff(motion.displacement.values[ends].astype(np.float64), axis=0)
    seen = Seen(
        np.linalg.norm(moved, axis=-1),
        motion.quality[ends].min(axis=0)[None].astype(np.float64),
        tremor(motion, slice(lead, last + 1))[-1:],
        unit_px(motion, slice(last, last + 1))[:, None],
    )
    return np.asarray(bound(seen, shares_of(motion.displacement.channels))[0], np.float32)


def _lead(motion: Motion, frame: int, least: int) -> int:
    """First frame that has a say in the half second before ``frame``: what lies before it enters the first bend."""
    time_s = motion.grid.time_s
    first = min(int(np.searchsorted(time_s, time_s[frame] - WITHIN_S)), frame - 1)
    return max(first - 2 * _bend_frames(motion), least)


def _bend_frames(motion: Motion) -> int:
    """Frames from one to the next of those that a second difference is made of."""
    return max(1, round(_BEND_S / motion.grid.frame_s)) if motion.grid.frame_s else 1


def _seen_before(motion: Motion, run: slice) -> Seen:
    """What is seen of each frame of a stretch and the half second before it, the worst of it: ``(N, R)`` each."""
    first = _first_within(motion, run)
    quality = extremes(motion.quality[run].astype(np.float64), first, np.arange(1, len(first) + 1), np.minimum)
    moved = _farthest(motion.displacement.values[run].astype(np.float64), first)
    return Seen(moved, quality, tremor(motion, run), unit_px(motion, run)[:, None])


def tremor(motion: Motion, run: slice) -> Float64Array:
    """Noise of each region's curve over the half second before: ``(N, R)``, face units."""
    values, lag = motion.displacement.values[run].astype(np.float64), _bend_frames(motion)
    bend = np.zeros_like(values)
    bend[2 * lag :] = values[2 * lag :] - 2 * values[lag:-lag] + values[: -2 * lag]
    squares = (bend**2).mean(axis=-1)
    known = np.isfinite(squares)
    first, after = _first_within(motion, run), np.arange(1, len(values) + 1)
    sums, counts = (np.cumsum(np.pad(each, ((1, 0), (0, 0))), axis=0) for each in (np.where(known, squares, 0), known))
    mean = (sums[after] - sums[first]) / np.maximum(counts[after] - counts[first], 1)
    return np.asarray(np.sqrt(np.maximum(mean, 0) / _TREMOR_OF_BEND), np.float64)


def _first_within(motion: Motion, run: slice) -> IntArray:
    """First frame of the half second before each frame of a stretch, counted from its start: ``(N,)``.

    It is the frame before where that is longer ago.
    """
    time_s = motion.grid.time_s[run]
    return np.minimum(np.searchsorted(time_s, time_s - WITHIN_S), np.maximum(np.arange(len(time_s)) - 1, 0))


def _farthest(places: Float64Array, first: IntArray) -> Float64Array:
    """How far each place is, at most, from those of the half second before: ``(N, R, 2)`` to ``(N, R)``."""
    after = np.arange(1, len(places) + 1)
    low, high = (extremes(places, first, after, which) for which in (np.minimum, np.maximum))
    return np.asarray(np.linalg.norm(np.maximum(places - low, high - places), axis=-1), np.float64)


def unit_px(motion: Motion, run: slice) -> Float64Array:
    """A face unit in pixels, from the eyes: ``(N,)``."""
    eyes = motion.face.values[run, motion.face.channels.index("eye_left_x") :].astype(np.float64)
    return np.asarray(np.hypot(eyes[:, 2] - eyes[:, 0], eyes[:, 3] - eyes[:, 1]) / _EYES_IN_UNIT, np.float64)
