"""What makes the motion of a region doubtful although the frame agrees with the template there.

Two things: fast motion of the head or the region, and something foreign beside the region, a finger say, which pulls at
the smooth field of displacements as far as that reaches.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import numpy.typing as npt
from numba import njit

from metst.motion.canonical import CORRELATION_LENGTH, LEFT, TOP, Grid
from metst.motion.warp import Float32
from metst.regions import AXES, REGION_NAMES

_BLOCK = 8
_LEAST_USED = 16  # pixels of a block of 64
_FOREIGN = 7.0  # residual over noise; fingers give 8 and more
_SPAN_S = 0.035  # over which speeds are taken: one frame at 25 Hz, more at higher rates, whose steps are mostly noise
_FAST = 0.5  # face units per second; micro-expressions stay under 0.3
_TURNING = 1.0  # turn of the head per second, as sine of the angle; noise gives 0.4
_MEMORY_S = 0.3  # displacements are read against how the face was up to half a second ago


class Haste:
    """How far the motion of the last half second may be trusted, given how fast it was.

    Measured forth and back, displacements over 0.4 s differ by up to a half where a head turns fast, mostly because the
    depth of the face is that of an average one; the doubt grows with the square of the speed.
    """

    def __init__(self) -> None:
        self._doubt = np.zeros(len(REGION_NAMES), np.float32)
        self._past: deque[tuple[float, Float32, Float32]] = deque()
        self._turned = np.zeros(len(AXES), np.float32)
        self._seen_s = 0.0

    def trust(self, displacement: Float32, *, turn: Float32, time_s: float) -> Float32:
        """Factor of the quality of each region, ``(R,)`` in [0, 1].

        Parameters
        ----------
        displacement : (R, 2) float32
            Of this frame, face units.
        turn : (2,) float32
            Change of the yaw and pitch terms since the frame before.
        time_s : float
            Of this frame.
        """
        past, self._turned = self._past, self._turned + turn
        past.append((time_s, displacement, self._turned))
        while len(past) > 1 and time_s - past[1][0] >= _SPAN_S:
            past.popleft()
        since_s, before, turned = past[0]
        rate = 1 / max(time_s - since_s, _SPAN_S)
        moved, turn = displacement - before, self._turned - turned
        fast = (moved[:, 0] ** 2 + moved[:, 1] ** 2) * (rate / _FAST) ** 2
        turning = (float(turn[0] ** 2 + turn[1] ** 2) * (rate / _TURNING) ** 2) ** 2
        fading = math.exp(-(time_s - self._seen_s) / _MEMORY_S)
        self._doubt, self._seen_s = np.maximum(fast + np.float32(turning), np.float32(fading) * self._doubt), time_s
        return np.asarray(1 / (1 + self._doubt), np.float32)


def influence(grid: Grid, masks: Float32) -> Float32:
    """How much a disturbance in each block of 8 by 8 pixels matters to each region: ``(R, blocks)`` in [0, 1].

    ``masks`` are ``(R, rows * columns)``; the field of displacements ties points within its correlation length.
    """
    x, y = grid.coordinates()
    rows, columns = (length // _BLOCK for length in grid.shape)
    at_x = LEFT + (_BLOCK * (np.arange(columns) + 0.5) - 0.5) / grid.unit
    at_y = TOP + (_BLOCK * (np.arange(rows) + 0.5) - 0.5) / grid.unit
    out = np.empty((len(masks), rows, columns), np.float32)
    for share, mask in zip(out, masks.reshape(-1, *grid.shape) > 0, strict=True):
        inside_x, inside_y = x[0, mask.any(axis=0)], y[mask.any(axis=1), 0]
        off_x, off_y = _outside(at_x, inside_x), _outside(at_y, inside_y)
        share[:] = np.exp(-0.5 * (off_y[:, None] ** 2 + off_x**2) / CORRELATION_LENGTH**2)
    return out.reshape(len(masks), -1)


def _outside(places: npt.NDArray[np.float64], inside: Float32) -> npt.NDArray[np.float64]:
    """Distance of places to an interval, which may be empty."""
    if not len(inside):
        return np.full(len(places), np.inf)
    return np.asarray(np.maximum(np.maximum(inside[0] - places, places - inside[-1]), 0), np.float64)


def undisturbed(residual: Float32, used: Float32, reach: Float32, *, noise: float) -> Float32:
    """Factor of the quality of each region, ``(R,)`` in [0, 1]: nothing foreign is near.

    Parameters
    ----------
    residual, used : (rows, columns) float32
        Of a registration.
    reach : (R, blocks) float32
        Of :func:`influence`.
    noise : float
        Standard deviation of the residual, grey levels.
    """
    strongest = np.empty(len(reach), np.float32)
    _strongest(residual, used, reach, strongest)
    return np.asarray(1 / (1 + (strongest / (_FOREIGN * noise) ** 2) ** 2), np.float32)


@njit(cache=True, nogil=True, fastmath=True)
def _strongest(residual: Float32, used: Float32, reach: Float32, out: Float32) -> None:
    """By region: the largest mean squared residual of a block, each by the square of how much the block matters."""
    rows, columns = residual.shape[0] // _BLOCK, residual.shape[1] // _BLOCK
    out[:] = 0
    for i in range(rows):
        for j in range(columns):
            energy, count = np.float32(0), np.float32(_LEAST_USED)
            seen = np.float32(0)
            for row in range(_BLOCK * i, _BLOCK * (i + 1)):
                for column in range(_BLOCK * j, _BLOCK * (j + 1)):
                    energy += residual[row, column] ** 2
                    seen += used[row, column]
            energy /= max(seen, count)
            for region in range(len(out)):
                out[region] = max(out[region], energy * reach[region, i * columns + j] ** 2)
