"""Numba kernels: how a registered frame agrees with the template, and what the template learns from it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metst.arrays import Float32Array, Int32Array
from metst.guard.kernels import kernel


class SparseMasks(NamedTuple):
    """Masks of the regions, ``(R, rows * columns)``, row by row: what lies between ``start[r]`` and ``start[r + 1]``.

    Parameters
    ----------
    start : (R + 1,) int32
    pixel : (N,) int32
    share : (N,) float32
    """

    start: Int32Array
    pixel: Int32Array
    share: Float32Array


@kernel(fastmath=True)
def region_sums(
    residual: Float32Array,
    used: Float32Array,
    template: Float32Array,
    weight: Float32Array,
    masks: SparseMasks,
    out: Float32Array,
) -> None:
    """By region: contrast seen of the template, squared residual, what is seen, and what there is to see.

    Arguments are as in :func:`right_side`; written is ``out`` (R, 4).
    """
    off, seen, own, all_seen = residual.reshape(-1), used.reshape(-1), template.reshape(-1), weight.reshape(-1)
    out[:] = 0
    for region in range(len(out)):
        for k in range(masks.start[region], masks.start[region + 1]):
            p, share = masks.pixel[k], masks.share[k]
            out[region, 0] += share * seen[p] * own[p] ** 2
            out[region, 1] += share * off[p] ** 2
            out[region, 2] += share * seen[p]
            out[region, 3] += share * all_seen[p]


@kernel(fastmath=True)
def block_energies(residual: Float32Array, used: Float32Array, template: Float32Array) -> tuple[float, float]:
    """Sums of squares of the residual and of the template, both summed over blocks of 3 by 3 pixels first."""
    left, whole, blocks = np.float32(0), np.float32(0), np.uint64(residual.shape[1] // 3)
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    off, own = np.empty(residual.shape[1], np.float32), np.empty(residual.shape[1], np.float32)
    for row in range(np.uint64(0), np.uint64(residual.shape[0] - 2), three):
        a, b = row + one, row + two
        for c in range(np.uint64(residual.shape[1])):
            off[c] = residual[row, c] + residual[a, c] + residual[b, c]
            own[c] = used[row, c] * template[row, c] + used[a, c] * template[a, c] + used[b, c] * template[b, c]
        for block in range(blocks):
            at = three * block
            left += (off[at] + off[at + one] + off[at + two]) ** 2
            whole += (own[at] + own[at + one] + own[at + two]) ** 2
    return float(left), float(whole)


@kernel(fastmath=True)
def mix(template: Float32Array, residual: Float32Array, share: np.float32, limit: np.float32) -> None:
    """Add a share of the residuals, each bounded by ``limit``, to the template."""
    for row in range(np.uint64(template.shape[0])):
        for c in range(np.uint64(template.shape[1])):
            template[row, c] += share * min(max(residual[row, c], -limit), limit)


@kernel(fastmath=True)
def derivatives(template: Float32Array, gradient: Float32Array) -> None:
    """Derivatives of the template by x and y, ``(2, rows, columns)``, over five pixels; the border is mirrored."""
    # The central difference over five pixels.
    near, far = np.float32(2 / 3), np.float32(1 / 12)
    rows, columns, one, two = template.shape[0], np.uint64(template.shape[1]), np.uint64(1), np.uint64(2)
    line = np.empty(template.shape[1] + 4, np.float32)
    for row in range(rows):
        at, a, b = np.uint64(row), np.uint64(abs(row - 2)), np.uint64(abs(row - 1))
        d, e = np.uint64(min(row + 1, 2 * rows - row - 3)), np.uint64(min(row + 2, 2 * rows - row - 4))
        for c in range(columns):
            line[c + two] = template[at, c]
        line[0], line[1], line[-2], line[-1] = line[4], line[3], line[-4], line[-5]
        for c in range(columns):
            gradient[0, at, c] = near * (line[c + two + one] - line[c + one]) - far * (line[c + two + two] - line[c])
            gradient[1, at, c] = near * (template[d, c] - template[b, c]) - far * (template[e, c] - template[a, c])
