"""Something foreign beside a region, a finger say, pulls at the smooth field of displacements as far as that reaches.

The region's motion is then in doubt although the frame agrees with the template there.
"""

from __future__ import annotations

import numpy as np

from metst.arrays import Float32Array, Float64Array
from metst.guard.kernels import kernel
from metst.motion.canonical import CORRELATION_LENGTH, LEFT, TOP, Grid

# Set by hand: see metst.motion.
_BLOCK = 8  # pixels, side of the blocks
_LEAST_USED = 16  # pixels of a block of 64; over fewer the residual is spread
_FOREIGN = 7.0  # residual over noise; fingers give 8 and more


def influence(grid: Grid, masks: Float32Array) -> Float32Array:
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


def _outside(places: Float64Array, inside: Float32Array) -> Float64Array:
    """Distance of places to an interval, which may be empty."""
    if not len(inside):
        return np.full(len(places), np.inf)
    return np.asarray(np.maximum(np.maximum(inside[0] - places, places - inside[-1]), 0), np.float64)


def undisturbed(residual: Float32Array, used: Float32Array, reach: Float32Array, *, noise: float) -> Float32Array:
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


@kernel(fastmath=True)
def _strongest(residual: Float32Array, used: Float32Array, reach: Float32Array, out: Float32Array) -> None:
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
