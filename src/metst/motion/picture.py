"""The face cut out of a frame: smoothed to the resolution it is compared at, freed of its local brightness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from metst.arrays import AnyArray, Float32Array, FloatArray, UInt8Array
from metst.guard.kernels import kernel
from metst.motion.canonical import BOTTOM, LEFT, RIGHT, TOP, Grid

# Where no origin is named, a number was set by hand: see metst.motion.
_HIGH_PASS = 0.1  # reach of the local mean, face units
_BOX_REACH = 1.2  # half a box over that reach; at sqrt(6) / 2 it is the standard deviation of two boxes in a row
_MEAN_STEP = 4  # pixels, side of the blocks whose means the local mean is made from
_MARGIN = 0.1  # face units that the face may move between the guess and where it is
_REDUCED = 1.6  # source pixels per canonical pixel that are left when a large face is averaged over whole pixels first
_COARSEST = 0.8  # source pixels per canonical pixel; a smaller face is smoothed as one of this size
_SMOOTH = 0.45  # standard deviation over the spacing of the pixels compared
_TAPS = 5  # pixels that the smoothing reaches over; its kernel is written for so many


@dataclass(frozen=True)
class Similarity:
    """``p -> scale p + shift`` on complex numbers: rotation and scale in one factor."""

    scale: complex
    shift: complex

    def __matmul__(self, other: Similarity) -> Similarity:
        """The map that applies ``other`` first."""
        return Similarity(self.scale * other.scale, self.scale * other.shift + self.shift)

    def inverse(self) -> Similarity:
        """The map back."""
        return Similarity(1 / self.scale, -self.shift / self.scale)

    def apply(self, points: FloatArray) -> Float32Array:
        """Map points ``(..., 2)``."""
        moved = self.scale * (points[..., 0] + 1j * points[..., 1]) + self.shift
        return np.stack([moved.real, moved.imag], axis=-1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Picture:
    """Part of a frame, freed of its local brightness: where it lies and its resolution."""

    values: Float32Array
    to_picture: Similarity


def make_picture(grey: UInt8Array, similarity: Similarity, *, grid: Grid, px_per_pixel: float) -> Picture:
    """Cut the face out of a frame, smooth it to the grid's resolution and remove its local mean.

    The mean is so smooth that it is made from means over blocks of pixels.

    Parameters
    ----------
    grey : (H, W) uint8
        The frame.
    similarity : Similarity
        Canonical face units to pixels of the frame; only says where the face is.
    grid : Grid
        Where the face is going to be compared.
    px_per_pixel : float
        Source pixels per canonical pixel: the resolution.
    """
    factor = max(1, min(int(px_per_pixel / _REDUCED), min(grey.shape) // _MEAN_STEP))
    relative = px_per_pixel / factor
    high_pass = _HIGH_PASS * grid.unit * relative * _BOX_REACH
    left, top, right, bottom = _extent(grey.shape, similarity, margin=high_pass * factor, step=_MEAN_STEP * factor)
    cut = np.ascontiguousarray(grey[top:bottom, left:right])  # numba vectorises no other
    if factor > 1:
        size = cut.shape[1] // factor, cut.shape[0] // factor
        cut = cv2.resize(cut.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    small = np.empty((cut.shape[0] // _MEAN_STEP, cut.shape[1] // _MEAN_STEP), np.float32)
    values = np.empty(cut.shape, np.float32)
    _block_means(cut, small)
    width = 2 * round(high_pass / _MEAN_STEP) + 1
    small = cv2.blur(cv2.blur(small, (width, width)), (width, width))
    means = cv2.resize(small, (cut.shape[1], small.shape[0]), interpolation=cv2.INTER_LINEAR)
    _smooth(cut, _gaussian(_SMOOTH * max(relative, _COARSEST)), means, values)
    offset = complex(left, top) + (factor - 1) / 2 * (1 + 1j)
    return Picture(values, Similarity(1 / factor, -offset / factor))


# Corners of the canonical frame, with the margin.
_SIDES = tuple(complex(x, y) for x in (LEFT - _MARGIN, RIGHT + _MARGIN) for y in (TOP - _MARGIN, BOTTOM + _MARGIN))


def _extent(shape: tuple[int, ...], similarity: Similarity, *, margin: float, step: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of a frame that shows the face: whole steps, one at least."""
    corners = [similarity.scale * side + similarity.shift for side in _SIDES]
    left, right = _whole_steps([z.real for z in corners], length=shape[1], margin=margin, step=step)
    top, bottom = _whole_steps([z.imag for z in corners], length=shape[0], margin=margin, step=step)
    return left, top, right, bottom


def _whole_steps(places: list[float], *, length: int, margin: float, step: int) -> tuple[int, int]:
    """First and last pixel of whole steps around places along one axis, within its length."""
    last = max(length // step, 1)
    low = min(max(math.floor((min(places) - margin) / step), 0), last - 1)
    high = min(max(math.ceil((max(places) + margin) / step), low + 1), last)
    return low * step, high * step


def reduced(picture: Picture, grid: Grid, *, coarse: Grid, px_per_pixel: float) -> Picture:
    """A picture made for a grid, smoothed to the resolution of a coarser one.

    ``px_per_pixel`` are pixels of the picture per canonical pixel of ``grid``.
    """
    wider = _SMOOTH * math.sqrt((grid.unit / coarse.unit) ** 2 - 1)
    return Picture(cv2.GaussianBlur(picture.values, (0, 0), wider * px_per_pixel), picture.to_picture)


@lru_cache(maxsize=8)
def _gaussian(deviation: float) -> Float32Array:
    """Weights of a Gaussian that is cut off beyond the taps.

    Up to a deviation of 0.8 pixels nothing is lost.  The widest that occurs, of 1.44 pixels for a face that is just not
    reduced (``_REDUCED``), loses 8 % at its ends and smooths as one of 1.2 would.
    """
    weights = np.exp(-0.5 * ((np.arange(_TAPS) - _TAPS // 2) / deviation) ** 2)
    return np.asarray(weights / weights.sum(), np.float32)


@kernel(fastmath=True)
def _smooth(image: AnyArray, taps: Float32Array, means: Float32Array, out: Float32Array) -> None:
    """Convolve with five ``taps`` each way, the border repeated, and take away ``means`` over so many rows each."""
    height, width, one, two = image.shape[0], np.uint64(image.shape[1]), np.uint64(1), np.uint64(2)
    line = np.empty(image.shape[1] + 4, np.float32)
    t0, t1, t2, t3, t4 = taps[0], taps[1], taps[2], taps[3], taps[4]
    for row in range(height):
        a, b = np.uint64(max(row - 2, 0)), np.uint64(max(row - 1, 0))
        d, e = np.uint64(min(row + 1, height - 1)), np.uint64(min(row + 2, height - 1))
        c = np.uint64(row)
        for x in range(width):
            line[x + two] = (
                t0 * np.float32(image[a, x]) + t1 * np.float32(image[b, x]) + t2 * np.float32(image[c, x])
                + t3 * np.float32(image[d, x]) + t4 * np.float32(image[e, x])
            )  # fmt: skip
        line[:2], line[-2:] = line[2], line[-3]
        place = min(max((row + 0.5) / _MEAN_STEP - 0.5, 0.0), means.shape[0] - 1.0)
        above = np.uint64(place)
        below, share = np.uint64(min(int(place) + 1, means.shape[0] - 1)), np.float32(place - int(place))
        rest = np.float32(1) - share
        for x in range(width):
            p, q = x + one, x + two
            smooth = t0 * line[x] + t1 * line[p] + t2 * line[q] + t3 * line[q + one] + t4 * line[q + two]
            out[c, x] = smooth - rest * means[above, x] - share * means[below, x]


@kernel(fastmath=True)
def _block_means(image: AnyArray, out: Float32Array) -> None:
    """Means over blocks of 4 by 4 pixels."""
    one, four, share = np.uint64(1), np.uint64(4), np.float32(1 / 16)
    line = np.empty(image.shape[1], np.float32)
    for i in range(np.uint64(out.shape[0])):
        a = four * i
        b, c, d = a + one, a + one + one, a + one + one + one
        for x in range(np.uint64(image.shape[1])):
            line[x] = (
                np.float32(image[a, x]) + np.float32(image[b, x]) + np.float32(image[c, x]) + np.float32(image[d, x])
            )
        for j in range(np.uint64(out.shape[1])):
            at = four * j
            out[i, j] = share * (line[at] + line[at + one] + line[at + one + one] + line[at + one + one + one])
