"""The normal matrix of a registration: assembled once for many frames, as its derivatives are the template's."""

from __future__ import annotations

import numpy as np

from metst.arrays import Float32Array, Int32Array
from metst.guard.kernels import kernel, part
from metst.motion.warp import Basis


@kernel(fastmath=True)
def normal_matrix(
    weight: Float32Array,
    template: Float32Array,
    gradient: Float32Array,
    span: Int32Array,
    basis: Basis,
    light_shape: tuple[int, int],
    node_shape: tuple[int, int],
    out: Float32Array,
) -> None:
    """``J^T W J`` of all unknowns.

    Contrast is taken as uncorrelated with the rest: that costs convergence, not accuracy.

    Parameters
    ----------
    weight, template : (rows, columns) float32
        Weights of the pixels, and what frames are compared with.
    gradient : (2, rows, columns) float32
        Derivatives of the template by x and y, per canonical pixel.
    span : (rows, 2) int32
        Columns that are compared.
    basis : Basis
        Of the grid.
    light_shape, node_shape : tuple of int
        Rows and columns of contrast and of spline nodes.
    out : (2 K + G, 2 K + G) float32
        Written.
    """
    count = node_shape[0] * node_shape[1]
    out[:] = 0
    pairs = np.empty((3, node_shape[1], 4), np.float32)
    lights = out[2 * count :, 2 * count :]
    for row in range(template.shape[0]):
        _sum_row(row, weight, gradient, span, basis, pairs)
        _spread_row(basis.row_node[row], basis.row_spline[row], pairs, count, out)
        _sum_lights(row, weight, template, span, basis, light_shape, lights)
    for p in range(count):
        for q in range(count):
            out[count + q, p] = out[p, count + q]


@part(fastmath=True)
def _sum_row(
    row: int, weight: Float32Array, gradient: Float32Array, span: Int32Array, basis: Basis, pairs: Float32Array
) -> None:
    """Products along one row of pixels of splines that overlap.

    Written are ``pairs`` (3, node_columns, 4), for xx, xy, yy by node and distance to the next one.
    """
    pairs[:] = 0
    for column in range(span[row, 0], span[row, 1]):
        w = weight[row, column]
        gx, gy = gradient[0, row, column], gradient[1, row, column]
        xx, xy, yy = w * gx * gx, w * gx * gy, w * gy * gy
        k = basis.column_node[column]
        for tap in range(4):
            share = basis.column_spline[column, tap]
            for other in range(tap, 4):
                both = share * basis.column_spline[column, other]
                pairs[0, k + tap, other - tap] += both * xx
                pairs[1, k + tap, other - tap] += both * xy
                pairs[2, k + tap, other - tap] += both * yy


@part(fastmath=True)
def _spread_row(first: int, splines: Float32Array, pairs: Float32Array, count: int, out: Float32Array) -> None:
    """Add the products along one row to the nodes above and below it (upper block triangle)."""
    columns = pairs.shape[1]
    for tap in range(4):
        for other in range(4):
            both = splines[tap] * splines[other]
            for k in range(columns):
                p = (first + tap) * columns + k
                for apart in range(min(4, columns - k)):
                    q = (first + other) * columns + k + apart
                    xx, xy, yy = both * pairs[0, k, apart], both * pairs[1, k, apart], both * pairs[2, k, apart]
                    out[p, q] += xx
                    out[p, count + q] += xy
                    out[count + p, count + q] += yy
                    if apart > 0:
                        out[q, p] += xx
                        out[q, count + p] += xy
                        out[count + q, count + p] += yy


@part(fastmath=True)
def _sum_lights(
    row: int,
    weight: Float32Array,
    template: Float32Array,
    span: Int32Array,
    basis: Basis,
    light_shape: tuple[int, int],
    lights: Float32Array,
) -> None:
    """Add one row of pixels to the products of the contrast's nodes, ``(G, G)``."""
    one = np.float32(1)
    i, fy = basis.row_light[row], basis.row_share[row]
    for column in range(span[row, 0], span[row, 1]):
        tt = weight[row, column] * template[row, column] ** 2
        j, fx = basis.column_light[column], basis.column_share[column]
        for p in range(4):
            share = (fy if p // 2 else one - fy) * (fx if p % 2 else one - fx) * tt
            at = (i + p // 2) * light_shape[1] + j + p % 2
            for q in range(4):
                other = (fy if q // 2 else one - fy) * (fx if q % 2 else one - fx)
                lights[at, (i + q // 2) * light_shape[1] + j + q % 2] += share * other
