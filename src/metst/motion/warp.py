"""Numba kernels: where the pixels of a grid lie in a frame, and the frame's values there.

The warp of a template's pixel ``p`` (canonical face frame) into a frame is ``S(p + u(p))``: ``S`` is a similarity that
stays as it is, ``u`` a tensor product of cubic B-splines that carries all motion.  B-splines reproduce straight lines,
so the warp is itself a spline, whose nodes are ``S`` of the displaced nodes.

Loops over pixels count in unsigned integers: numba then need not test for indices from the end, and vectorises.
Arrays ``span`` (rows, 2) int32 hold the first column of each row that is compared, and the end of the last: what lies
outside is never touched.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metst.arrays import Float32Array, Int32Array
from metst.guard.kernels import kernel, part


class Basis(NamedTuple):
    """Where the pixels of a grid lie between its nodes; part of the signature of every kernel.

    Parameters
    ----------
    row_node, column_node : (rows,), (columns,) int32
        First of the four spline nodes that reach a pixel.
    row_spline, column_spline : (rows, 4), (columns, 4) float32
        Values of these four splines.
    row_light, column_light : (rows,), (columns,) int32
        First of the two nodes of the contrast that reach a pixel.
    row_share, column_share : (rows,), (columns,) float32
        Share of the second of them.
    """

    row_node: Int32Array
    column_node: Int32Array
    row_spline: Float32Array
    column_spline: Float32Array
    row_light: Int32Array
    column_light: Int32Array
    row_share: Float32Array
    column_share: Float32Array


@part(fastmath=True)
def _across(nodes: Float32Array, plane: int, basis: Basis, out: Float32Array) -> None:
    """Evaluate splines ``nodes[plane]`` (node_rows, node_columns) along the rows: ``out`` (node_rows, columns)."""
    one = np.uint64(1)
    for i in range(np.uint64(nodes.shape[1])):
        for c in range(np.uint64(out.shape[1])):
            k = np.uint64(basis.column_node[c])
            out[i, c] = (
                basis.column_spline[c, 0] * nodes[plane, i, k]
                + basis.column_spline[c, 1] * nodes[plane, i, k + one]
                + basis.column_spline[c, 2] * nodes[plane, i, k + one + one]
                + basis.column_spline[c, 3] * nodes[plane, i, k + one + one + one]
            )


@part(fastmath=True)
def _down(
    lines: Float32Array,
    i: np.uint64,
    taps: Float32Array,
    row: np.uint64,
    first: np.uint64,
    last: np.uint64,
    out: Float32Array,
) -> None:
    """Evaluate splines at one row, from the four of the ``lines`` (node_rows, columns) that begin with ``i``."""
    t0, t1, t2, t3 = taps[row, 0], taps[row, 1], taps[row, 2], taps[row, 3]
    j, k, m = i + np.uint64(1), i + np.uint64(2), i + np.uint64(3)
    for c in range(first, last):
        out[c] = t0 * lines[i, c] + t1 * lines[j, c] + t2 * lines[k, c] + t3 * lines[m, c]


@part(fastmath=True)
def _cubic(
    place: Float32Array, end: int, first: np.uint64, last: np.uint64, whole: Int32Array, taps: Float32Array
) -> None:
    """First of the four pixels that reach each place, within ``[0, end - 4]``, and their weights ``(4, n)``.

    Cubic convolution (Keys 1981, a = -1/2).
    """
    # Just under the last but one pixel: the fourth pixel of a place is the last of the row.
    half, one, low, high = np.float32(0.5), np.float32(1), np.float32(1), np.float32(end - 2.01)
    a, b = np.float32(1.5), np.float32(2.5)
    for c in range(first, last):
        at = min(max(place[c], low), high)
        begin = np.int32(at)
        t = at - np.float32(begin)
        s = one - t
        whole[c] = begin - np.int32(1)
        taps[0, c] = -half * t * s * s
        taps[1, c] = one + t * t * (a * t - b)
        taps[2, c] = one + s * s * (a * s - b)
        taps[3, c] = -half * s * t * t


@part(fastmath=True)
def _fetch(
    flat: Float32Array,
    width: np.uint64,
    left: Int32Array,
    top: Int32Array,
    k: Float32Array,
    m: Float32Array,
    row: np.uint64,
    first: np.uint64,
    last: np.uint64,
    out: Float32Array,
) -> None:
    """One row of values between pixels: four weights ``k`` to the right, four ``m`` down."""
    one = np.uint64(1)
    for c in range(first, last):
        p = np.uint64(top[c]) * width + np.uint64(left[c])
        p1, p2, p3 = p + one, p + one + one, p + one + one + one
        q, r, s = p + width, p + width + width, p + width + width + width
        q1, q2, q3 = q + one, q + one + one, q + one + one + one
        r1, r2, r3 = r + one, r + one + one, r + one + one + one
        s1, s2, s3 = s + one, s + one + one, s + one + one + one
        a, b, d, e = m[0, c], m[1, c], m[2, c], m[3, c]
        out[row, c] = (
            k[0, c] * (a * flat[p] + b * flat[q] + d * flat[r] + e * flat[s])
            + k[1, c] * (a * flat[p1] + b * flat[q1] + d * flat[r1] + e * flat[s1])
            + k[2, c] * (a * flat[p2] + b * flat[q2] + d * flat[r2] + e * flat[s2])
            + k[3, c] * (a * flat[p3] + b * flat[q3] + d * flat[r3] + e * flat[s3])
        )


@part(fastmath=True)
def _inside(
    x: Float32Array,
    y: Float32Array,
    width: int,
    height: int,
    weight: Float32Array,
    row: np.uint64,
    first: np.uint64,
    last: np.uint64,
    out: Float32Array,
) -> None:
    """The weight where a place lies inside the image, else 0."""
    low, right, bottom, nothing = np.float32(1), np.float32(width - 2), np.float32(height - 2), np.float32(0)
    for c in range(first, last):
        out[row, c] = weight[row, c] if (x[c] >= low) & (y[c] >= low) & (x[c] < right) & (y[c] < bottom) else nothing


@kernel(fastmath=True)
def sample(
    image: Float32Array,
    warp: Float32Array,
    basis: Basis,
    span: Int32Array,
    weight: Float32Array,
    values: Float32Array,
    used: Float32Array,
) -> None:
    """Sample ``image`` at the warped position of every canonical pixel inside ``span``.

    Parameters
    ----------
    image : (H, W) float32
        The frame, at least four pixels each way.
    warp : (2, node_rows, node_columns) float32
        Where the spline nodes lie in ``image`` (x, y).
    basis : Basis
        Of the grid.
    span : (rows, 2) int32
        Which columns are wanted.
    weight : (rows, columns) float32
        Weights of the pixels.
    values, used : (rows, columns) float32
        Written inside the span: the samples, and the weight where the sample lies inside the image, else 0.
    """
    height, width = image.shape
    flat, columns = image.reshape(-1), values.shape[1]
    lines_x, lines_y = np.empty((warp.shape[1], columns), np.float32), np.empty((warp.shape[1], columns), np.float32)
    for plane, lines in enumerate((lines_x, lines_y)):  # no constant, each of which Numba would compile
        _across(warp, plane, basis, lines)
    x, y = np.empty(columns, np.float32), np.empty(columns, np.float32)
    left, top = np.empty(columns, np.int32), np.empty(columns, np.int32)
    taps_x, taps_y = np.empty((4, columns), np.float32), np.empty((4, columns), np.float32)
    for row in range(np.uint64(values.shape[0])):
        first, last, i = np.uint64(span[row, 0]), np.uint64(span[row, 1]), np.uint64(basis.row_node[row])
        _down(lines_x, i, basis.row_spline, row, first, last, x)
        _down(lines_y, i, basis.row_spline, row, first, last, y)
        _cubic(x, width, first, last, left, taps_x)
        _cubic(y, height, first, last, top, taps_y)
        _fetch(flat, np.uint64(width), left, top, taps_x, taps_y, row, first, last, values)
        _inside(x, y, width, height, weight, row, first, last, used)


@kernel(fastmath=True)
def spline_at(nodes: Float32Array, place: Float32Array, out: Float32Array) -> None:
    """Cubic B-splines ``(2, node_rows, node_columns)`` at places (x, y) in steps of the nodes: ``out`` (N, 2)."""
    w = np.empty((2, 4), np.float32)
    for n in range(len(place)):
        out[n] = 0
        i, j = min(int(place[n, 1]), nodes.shape[1] - 4), min(int(place[n, 0]), nodes.shape[2] - 4)
        for axis in range(2):
            t = place[n, axis] - (i if axis else j)
            s = 1 - t
            w[axis, 0], w[axis, 3] = s**3 / 6, t**3 / 6
            w[axis, 1], w[axis, 2] = (3 * t**3 - 6 * t**2 + 4) / 6, (3 * s**3 - 6 * s**2 + 4) / 6
        for down in range(4):
            for across in range(4):
                share = w[1, down] * w[0, across]
                out[n, 0] += share * nodes[0, i + down, j + across]
                out[n, 1] += share * nodes[1, i + down, j + across]
