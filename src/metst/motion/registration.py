"""Numba kernels: sampling a frame through the composed warp, and the normal equations of its registration.

The warp of a template's pixel ``p`` (canonical face frame) into a frame is ``S(p + u(p) + z(p) turn)``: ``S`` is the
similarity of the head, ``z`` the depth of the face, ``turn`` what a small yaw and pitch do to a point of unit depth,
and ``u`` the local displacement, a tensor product of cubic B-splines.  Registration is Gauss-Newton with the gradients
of the template (inverse compositional in the head; Baker and Matthews 2004, IJCV 56(3)), so that the normal matrix is
assembled once for many frames.

Order of the unknowns: spline x (K), spline y (K), head (x, y, dilation, rotation, yaw, pitch), contrast (G).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Float32 = npt.NDArray[np.float32]

HEAD_UNKNOWNS = 6


class Basis(NamedTuple):
    """Where the pixels of a grid lie between its nodes; part of the signature of every kernel.

    Parameters
    ----------
    origin : (2,) float32
        Canonical coordinates (x, y) of the first pixel, pixels.
    depth : (rows, columns) float32
        Depth of the face, pixels.
    row_node, column_node : (rows,), (columns,) int32
        First of the four spline nodes that reach a pixel.
    row_spline, column_spline : (rows, 4), (columns, 4) float32
        Values of these four splines.
    row_light, column_light : (rows,), (columns,) float32
        Position between the nodes of the contrast, in nodes.
    """

    origin: Float32
    depth: Float32
    row_node: npt.NDArray[np.int32]
    column_node: npt.NDArray[np.int32]
    row_spline: Float32
    column_spline: Float32
    row_light: Float32
    column_light: Float32


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def _keys(t):  # type: ignore[no-untyped-def]  # inlined into typed kernels
    """Weights of the four taps of cubic convolution (Keys 1981, a = -1/2) at fraction ``t``."""
    half, one = np.float32(0.5), np.float32(1)
    s = one - t
    return (
        -half * t * s * s,
        one + t * t * (np.float32(1.5) * t - np.float32(2.5)),
        one + s * s * (np.float32(1.5) * s - np.float32(2.5)),
        -half * s * t * t,
    )


@njit(cache=True, nogil=True, fastmath=True)
def sample(
    image: Float32,
    warp: Float32,
    turn: Float32,
    nodes: Float32,
    basis: Basis,
    weight: Float32,
    values: Float32,
    seen: Float32,
) -> None:
    """Sample ``image`` at the warped position of every canonical pixel that has a weight.

    Parameters
    ----------
    image : (H, W) float32
        The frame.
    warp : (4,) float32
        Canonical pixels to pixels of ``image``: (a, b, x, y) of ``[[a, -b], [b, a]] p + (x, y)``.
    turn : (2,) float32
        Shift of a point per depth.
    nodes : (2, node_rows, node_columns) float32
        Spline coefficients of the local displacement, canonical pixels.
    basis : Basis
        Of the grid.
    weight : (rows, columns) float32
        Which pixels are wanted: those above 0.
    values, seen : (rows, columns) float32
        Written: the samples, and 1 where the sample lies inside the image.
    """
    height, width = image.shape
    rows, columns = weight.shape
    a, b, shift_x, shift_y = warp
    ux, uy = np.empty(nodes.shape[2], np.float32), np.empty(nodes.shape[2], np.float32)
    for row in range(rows):
        i = basis.row_node[row]
        s0, s1, s2, s3 = basis.row_spline[row]
        for k in range(nodes.shape[2]):
            ux[k] = s0 * nodes[0, i, k] + s1 * nodes[0, i + 1, k] + s2 * nodes[0, i + 2, k] + s3 * nodes[0, i + 3, k]
            uy[k] = s0 * nodes[1, i, k] + s1 * nodes[1, i + 1, k] + s2 * nodes[1, i + 2, k] + s3 * nodes[1, i + 3, k]
        y0 = basis.origin[1] + np.float32(row)
        for column in range(columns):
            seen[row, column] = 0.0
            values[row, column] = 0.0
            if weight[row, column] == 0.0:
                continue
            k = basis.column_node[column]
            c0, c1, c2, c3 = basis.column_spline[column]
            z = basis.depth[row, column]
            x = basis.origin[0] + np.float32(column) + z * turn[0]
            y = y0 + z * turn[1]
            x += c0 * ux[k] + c1 * ux[k + 1] + c2 * ux[k + 2] + c3 * ux[k + 3]
            y += c0 * uy[k] + c1 * uy[k + 1] + c2 * uy[k + 2] + c3 * uy[k + 3]
            at_x = a * x - b * y + shift_x
            at_y = b * x + a * y + shift_y
            if at_x < 1 or at_y < 1 or at_x >= width - 2 or at_y >= height - 2:
                continue
            left, top = int(at_x), int(at_y)
            k0, k1, k2, k3 = _keys(at_x - np.float32(left))
            m0, m1, m2, m3 = _keys(at_y - np.float32(top))
            left -= 1
            r0, r1, r2, r3 = image[top - 1], image[top], image[top + 1], image[top + 2]
            values[row, column] = (
                m0 * (k0 * r0[left] + k1 * r0[left + 1] + k2 * r0[left + 2] + k3 * r0[left + 3])
                + m1 * (k0 * r1[left] + k1 * r1[left + 1] + k2 * r1[left + 2] + k3 * r1[left + 3])
                + m2 * (k0 * r2[left] + k1 * r2[left + 1] + k2 * r2[left + 2] + k3 * r2[left + 3])
                + m3 * (k0 * r3[left] + k1 * r3[left + 1] + k2 * r3[left + 2] + k3 * r3[left + 3])
            )
            seen[row, column] = 1.0


@njit(cache=True, nogil=True, fastmath=True)
def right_side(
    values: Float32,
    used: Float32,
    template: Float32,
    gradient: Float32,
    basis: Basis,
    contrast: float,
    light: Float32,
    clip: float,
    residual: Float32,
    splines: Float32,
    head: Float32,
    lights: Float32,
) -> None:
    """Residual of every pixel, and ``J^T W psi(residual)`` with Huber's clipped residual ``psi``.

    Parameters
    ----------
    values, used, template : (rows, columns) float32
        Samples of the frame, their weights (0: not compared), and what they are compared with.
    gradient : (2, rows, columns) float32
        Derivatives of the template by x and y, per canonical pixel.
    basis : Basis
        Of the grid.
    contrast : float
        Contrast of the frame over the template's, whole face.
    light : (light_rows, light_columns) float32
        Local deviation of the contrast, bilinear between its nodes.
    clip : float
        Residuals are clipped at this size, so that an occluder or a lid pulls with bounded force.
    residual : (rows, columns) float32
        Written: frame at the template's contrast, minus template.
    splines, head, lights : (2, node_rows, node_columns), (6,), (light_rows, light_columns) float32
        Written: the three parts of the right side.
    """
    rows, columns = template.shape
    splines[:] = 0
    head[:] = 0
    lights[:] = 0
    scale, limit, one = np.float32(1 / contrast), np.float32(clip), np.float32(1)
    across = np.empty((2, splines.shape[2]), np.float32)
    for row in range(rows):
        across[:] = 0
        li = min(int(basis.row_light[row]), light.shape[0] - 2)
        ly = basis.row_light[row] - np.float32(li)
        y = basis.origin[1] + np.float32(row)
        for column in range(columns):
            residual[row, column] = 0.0
            w = used[row, column]
            if w == 0.0:
                continue
            lj = min(int(basis.column_light[column]), light.shape[1] - 2)
            lx = basis.column_light[column] - np.float32(lj)
            upper = (one - lx) * light[li, lj] + lx * light[li, lj + 1]
            lower = (one - lx) * light[li + 1, lj] + lx * light[li + 1, lj + 1]
            t = template[row, column]
            e = values[row, column] * scale - (one + (one - ly) * upper + ly * lower) * t
            residual[row, column] = e
            e = w * min(max(e, -limit), limit)
            ex, ey = e * gradient[0, row, column], e * gradient[1, row, column]
            k = basis.column_node[column]
            for tap in range(4):
                share = basis.column_spline[column, tap]
                across[0, k + tap] += share * ex
                across[1, k + tap] += share * ey
            x, z = basis.origin[0] + np.float32(column), basis.depth[row, column]
            head[0] += ex
            head[1] += ey
            head[2] += x * ex + y * ey
            head[3] += x * ey - y * ex
            head[4] += z * ex
            head[5] += z * ey
            e *= -t
            lights[li, lj] += (one - ly) * (one - lx) * e
            lights[li, lj + 1] += (one - ly) * lx * e
            lights[li + 1, lj] += ly * (one - lx) * e
            lights[li + 1, lj + 1] += ly * lx * e
        i = basis.row_node[row]
        for tap in range(4):
            share = basis.row_spline[row, tap]
            for k in range(splines.shape[2]):
                splines[0, i + tap, k] += share * across[0, k]
                splines[1, i + tap, k] += share * across[1, k]


@njit(cache=True, nogil=True, fastmath=True)
def normal_matrix(
    used: Float32,
    template: Float32,
    gradient: Float32,
    basis: Basis,
    light_shape: tuple[int, int],
    node_shape: tuple[int, int],
    out: npt.NDArray[np.float64],
) -> None:
    """``J^T W J`` of all unknowns.

    Contrast is taken as uncorrelated with the rest: that costs convergence, not accuracy.

    Parameters
    ----------
    used, template : (rows, columns) float32
        Weights of the pixels, and what frames are compared with.
    gradient : (2, rows, columns) float32
        Derivatives of the template by x and y, per canonical pixel.
    basis : Basis
        Of the grid.
    light_shape, node_shape : tuple of int
        Rows and columns of contrast and of spline nodes.
    out : (2 K + 6 + G, 2 K + 6 + G) float64
        Written.
    """
    count = node_shape[0] * node_shape[1]
    out[:] = 0
    pairs = np.empty((3, node_shape[1], 4), np.float32)
    ties = np.empty((2, node_shape[1], HEAD_UNKNOWNS), np.float32)
    head = out[2 * count : 2 * count + HEAD_UNKNOWNS, 2 * count : 2 * count + HEAD_UNKNOWNS]
    lights = out[2 * count + HEAD_UNKNOWNS :, 2 * count + HEAD_UNKNOWNS :]
    for row in range(template.shape[0]):
        _sum_row(row, used, gradient, basis, pairs, ties, head)
        _spread_row(basis.row_node[row], basis.row_spline[row], pairs, ties, count, out)
        _sum_lights(row, used, template, basis, light_shape, lights)
    for p in range(2 * count):
        for q in range(count if p < count else 2 * count, 2 * count + HEAD_UNKNOWNS):
            out[q, p] = out[p, q]


@njit(cache=True, nogil=True, fastmath=True)
def _sum_row(
    row: int,
    used: Float32,
    gradient: Float32,
    basis: Basis,
    pairs: Float32,
    ties: Float32,
    head: npt.NDArray[np.float64],
) -> None:
    """Products along one row of pixels: of splines that overlap, of splines and head, of the head.

    Written are ``pairs`` (3, node_columns, 4), for xx, xy, yy by node and distance to the next one, and ``ties``
    (2, node_columns, 6), for x, y by node and unknown of the head; ``head`` (6, 6) is added to.
    """
    pairs[:] = 0
    ties[:] = 0
    y = basis.origin[1] + np.float32(row)
    along, down = np.empty(HEAD_UNKNOWNS, np.float32), np.empty(HEAD_UNKNOWNS, np.float32)
    for column in range(used.shape[1]):
        w = used[row, column]
        if w == 0.0:
            continue
        gx, gy = gradient[0, row, column], gradient[1, row, column]
        xx, xy, yy = w * gx * gx, w * gx * gy, w * gy * gy
        x, z = basis.origin[0] + np.float32(column), basis.depth[row, column]
        along[0], along[1], along[2], along[3] = xx, xy, x * xx + y * xy, x * xy - y * xx
        along[4], along[5] = z * xx, z * xy
        down[0], down[1], down[2], down[3] = xy, yy, x * xy + y * yy, x * yy - y * xy
        down[4], down[5] = z * xy, z * yy
        k = basis.column_node[column]
        for tap in range(4):
            share = basis.column_spline[column, tap]
            for other in range(tap, 4):
                both = share * basis.column_spline[column, other]
                pairs[0, k + tap, other - tap] += both * xx
                pairs[1, k + tap, other - tap] += both * xy
                pairs[2, k + tap, other - tap] += both * yy
            for h in range(HEAD_UNKNOWNS):
                ties[0, k + tap, h] += share * along[h]
                ties[1, k + tap, h] += share * down[h]
        for h in range(HEAD_UNKNOWNS):
            head[0, h] += along[h]
            head[1, h] += down[h]
            head[2, h] += x * along[h] + y * down[h]
            head[3, h] += x * down[h] - y * along[h]
            head[4, h] += z * along[h]
            head[5, h] += z * down[h]


@njit(cache=True, nogil=True, fastmath=True)
def _spread_row(
    first: int, splines: Float32, pairs: Float32, ties: Float32, count: int, out: npt.NDArray[np.float64]
) -> None:
    """Add the products along one row to the nodes above and below it (upper block triangle)."""
    columns = pairs.shape[1]
    for tap in range(4):
        for k in range(columns):
            p = (first + tap) * columns + k
            for h in range(HEAD_UNKNOWNS):
                out[p, 2 * count + h] += splines[tap] * ties[0, k, h]
                out[count + p, 2 * count + h] += splines[tap] * ties[1, k, h]
            for other in range(4):
                both = splines[tap] * splines[other]
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


@njit(cache=True, nogil=True, fastmath=True)
def _sum_lights(
    row: int,
    used: Float32,
    template: Float32,
    basis: Basis,
    light_shape: tuple[int, int],
    lights: npt.NDArray[np.float64],
) -> None:
    """Add one row of pixels to the products of the contrast's nodes, ``(G, G)``."""
    one = np.float32(1)
    i = min(int(basis.row_light[row]), light_shape[0] - 2)
    fy = basis.row_light[row] - np.float32(i)
    for column in range(used.shape[1]):
        tt = used[row, column] * template[row, column] ** 2
        j = min(int(basis.column_light[column]), light_shape[1] - 2)
        fx = basis.column_light[column] - np.float32(j)
        for p in range(4):
            share = (fy if p // 2 else one - fy) * (fx if p % 2 else one - fx) * tt
            at = (i + p // 2) * light_shape[1] + j + p % 2
            for q in range(4):
                other = (fy if q // 2 else one - fy) * (fx if q % 2 else one - fx)
                lights[at, (i + q // 2) * light_shape[1] + j + q % 2] += share * other
