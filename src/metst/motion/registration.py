"""Numba kernels: sampling a frame through the composed warp, and the normal equations of its registration.

The warp of a template's pixel ``p`` (canonical face frame) into a frame is ``S(p + u(p))``: ``S`` is a similarity that
stays as it is, ``u`` a tensor product of cubic B-splines that carries all motion.  B-splines reproduce straight lines,
so the warp is itself a spline, whose nodes are ``S`` of the displaced nodes.  Registration is Gauss-Newton with the
gradients of the template (Baker and Matthews 2004, IJCV 56(3)), so that the normal matrix is assembled once for many
frames.

Loops over pixels count in unsigned integers: numba then need not test for indices from the end, and vectorises.

Order of the unknowns: spline x (K), spline y (K), contrast (G).  Arrays ``span`` (rows, 2) int32 hold the first
column of each row that is compared, and the end of the last: what lies outside is never touched.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

HEAD_UNKNOWNS = 6


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

    row_node: Int32
    column_node: Int32
    row_spline: Float32
    column_spline: Float32
    row_light: Int32
    column_light: Int32
    row_share: Float32
    column_share: Float32


class Model(NamedTuple):
    """What frames are registered against, as the kernels read it.

    Parameters
    ----------
    template, weight : (rows, columns) float32
        Picture of the face, and 1 where it is compared.
    gradient : (2, rows, columns) float32
        Derivatives of the template by x and y, per canonical pixel.
    span : (rows, 2) int32
        Columns that are compared.
    nodes, rest : (N,), (K - N,) int64
        Spline nodes that are unknown, and the others.
    carry : (K - N, N) float32
        How the others follow them.
    inverse : (2 N + G, 2 N + G) float32
        Inverse of the normal matrix.
    prior : (N, N) float32
        Precision of the spline coefficients of one axis.
    head : (6, 2 N) float32
        ``prior`` times the spline coefficients of the head's motions.
    head_cover : (6, 6) float32
        Covariance of the head's motions under the prior.
    light_prior : float
        Precision of the contrast's coefficients.
    """

    template: Float32
    weight: Float32
    gradient: Float32
    span: Int32
    nodes: npt.NDArray[np.int64]
    rest: npt.NDArray[np.int64]
    carry: Float32
    inverse: Float32
    prior: Float32
    head: Float32
    head_cover: Float32
    light_prior: float


@njit(cache=True, nogil=True, fastmath=True)
def _across(nodes: Float32, plane: int, basis: Basis, out: Float32) -> None:
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


@njit(cache=True, nogil=True, fastmath=True)
def _down(
    lines: Float32, i: np.uint64, taps: Float32, row: np.uint64, first: np.uint64, last: np.uint64, out: Float32
) -> None:
    """Evaluate splines at one row, from the four of the ``lines`` (node_rows, columns) that begin with ``i``."""
    t0, t1, t2, t3 = taps[row, 0], taps[row, 1], taps[row, 2], taps[row, 3]
    j, k, m = i + np.uint64(1), i + np.uint64(2), i + np.uint64(3)
    for c in range(first, last):
        out[c] = t0 * lines[i, c] + t1 * lines[j, c] + t2 * lines[k, c] + t3 * lines[m, c]


@njit(cache=True, nogil=True, fastmath=True)
def _cubic(place: Float32, end: int, first: np.uint64, last: np.uint64, whole: Int32, taps: Float32) -> None:
    """First of the four pixels that reach each place, within ``[0, end - 4]``, and their weights ``(4, n)``.

    Cubic convolution (Keys 1981, a = -1/2).
    """
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


@njit(cache=True, nogil=True, fastmath=True)
def _fetch(
    flat: Float32,
    width: np.uint64,
    left: Int32,
    top: Int32,
    k: Float32,
    m: Float32,
    row: np.uint64,
    first: np.uint64,
    last: np.uint64,
    out: Float32,
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


@njit(cache=True, nogil=True, fastmath=True)
def _inside(
    x: Float32,
    y: Float32,
    width: int,
    height: int,
    weight: Float32,
    row: np.uint64,
    first: np.uint64,
    last: np.uint64,
    out: Float32,
) -> None:
    """The weight where a place lies inside the image, else 0."""
    low, right, bottom, nothing = np.float32(1), np.float32(width - 2), np.float32(height - 2), np.float32(0)
    for c in range(first, last):
        out[row, c] = weight[row, c] if (x[c] >= low) & (y[c] >= low) & (x[c] < right) & (y[c] < bottom) else nothing


@njit(cache=True, nogil=True, fastmath=True)
def sample(
    image: Float32,
    warp: Float32,
    basis: Basis,
    span: Int32,
    weight: Float32,
    values: Float32,
    used: Float32,
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
    _across(warp, 0, basis, lines_x)
    _across(warp, 1, basis, lines_y)
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


@njit(cache=True, nogil=True, fastmath=True)
def contrast_of(values: Float32, used: Float32, template: Float32, span: Int32) -> float:
    """Contrast of a frame over the template's, within [0.1, 10]."""
    along, own = np.float32(1e-3), np.float32(1e-3)
    for row in range(np.uint64(values.shape[0])):
        for c in range(np.uint64(span[row, 0]), np.uint64(span[row, 1])):
            weighted = used[row, c] * template[row, c]
            along += weighted * values[row, c]
            own += weighted * template[row, c]
    return min(max(float(along / own), 0.1), 10.0)


@njit(cache=True, nogil=True, fastmath=True)
def right_side(
    values: Float32,
    used: Float32,
    template: Float32,
    gradient: Float32,
    span: Int32,
    basis: Basis,
    contrast: float,
    light: Float32,
    clip: float,
    residual: Float32,
    splines: Float32,
    lights: Float32,
) -> None:
    """Residual of every pixel, and ``J^T W psi(residual)`` with Huber's clipped residual ``psi``.

    Parameters
    ----------
    values, used, template : (rows, columns) float32
        Samples of the frame, their weights (0: not compared), and what they are compared with.
    gradient : (2, rows, columns) float32
        Derivatives of the template by x and y, per canonical pixel.
    span : (rows, 2) int32
        Columns that are compared.
    basis : Basis
        Of the grid.
    contrast : float
        Contrast of the frame over the template's, whole face.
    light : (light_rows, light_columns) float32
        Local deviation of the contrast, bilinear between its nodes.
    clip : float
        Residuals are clipped at this size, so that an occluder or a lid pulls with bounded force.
    residual : (rows, columns) float32
        Written inside the span: frame at the template's contrast, minus template, where it is compared, else 0.
    splines, lights : (2, node_rows, node_columns), (light_rows, light_columns) float32
        Written: the two parts of the right side.
    """
    columns, one, next_one = template.shape[1], np.float32(1), np.uint64(1)
    shade, glow = np.empty((len(light), columns), np.float32), np.zeros((len(light), columns), np.float32)
    _shade(light, basis, shade)
    node_rows = splines.shape[1]
    pull_x, pull_y = np.zeros((node_rows, columns), np.float32), np.zeros((node_rows, columns), np.float32)
    e, ex, ey = np.empty(columns, np.float32), np.empty(columns, np.float32), np.empty(columns, np.float32)
    scale, limit = np.float32(1 / contrast), np.float32(clip)
    for row in range(np.uint64(template.shape[0])):
        first, last, above = np.uint64(span[row, 0]), np.uint64(span[row, 1]), np.uint64(basis.row_light[row])
        low = basis.row_share[row]
        high = one - low
        for c in range(first, last):
            t = template[row, c]
            off = used[row, c] * (
                values[row, c] * scale - (one + high * shade[above, c] + low * shade[above + next_one, c]) * t
            )
            residual[row, c] = off
            off = min(max(off, -limit), limit)
            e[c], ex[c], ey[c] = -off * t, off * gradient[0, row, c], off * gradient[1, row, c]
        _add(e, high, first, last, above, glow)
        _add(e, low, first, last, above + next_one, glow)
        for tap in range(np.uint64(4)):
            node = np.uint64(basis.row_node[row]) + tap
            _add(ex, basis.row_spline[row, tap], first, last, node, pull_x)
            _add(ey, basis.row_spline[row, tap], first, last, node, pull_y)
    splines[:] = 0
    _gather(pull_x, basis, 0, splines)
    _gather(pull_y, basis, 1, splines)
    _unshade(glow, basis, lights)


@njit(cache=True, nogil=True, fastmath=True)
def _shade(light: Float32, basis: Basis, out: Float32) -> None:
    """Interpolate the contrast's nodes along the rows: ``out`` (light_rows, columns)."""
    for i in range(light.shape[0]):
        for c in range(out.shape[1]):
            j, share = basis.column_light[c], basis.column_share[c]
            out[i, c] = (np.float32(1) - share) * light[i, j] + share * light[i, j + 1]


@njit(cache=True, nogil=True, fastmath=True)
def _unshade(glow: Float32, basis: Basis, lights: Float32) -> None:
    """Sum over columns what reaches each of the contrast's nodes: the transpose of :func:`_shade`."""
    lights[:] = 0
    for i in range(glow.shape[0]):
        for c in range(glow.shape[1]):
            j, share = basis.column_light[c], basis.column_share[c]
            lights[i, j] += (np.float32(1) - share) * glow[i, c]
            lights[i, j + 1] += share * glow[i, c]


@njit(cache=True, nogil=True, fastmath=True)
def _add(values: Float32, share: np.float32, first: np.uint64, last: np.uint64, i: np.uint64, out: Float32) -> None:
    """Add a share of a row to row ``i`` of ``out``."""
    for c in range(first, last):
        out[i, c] += share * values[c]


@njit(cache=True, nogil=True, fastmath=True)
def _gather(pulls: Float32, basis: Basis, plane: int, splines: Float32) -> None:
    """Sum over columns what reaches each spline node: the transpose of :func:`_across`."""
    one = np.uint64(1)
    for i in range(np.uint64(pulls.shape[0])):
        for c in range(np.uint64(pulls.shape[1])):
            k, pull = np.uint64(basis.column_node[c]), pulls[i, c]
            splines[plane, i, k] += basis.column_spline[c, 0] * pull
            splines[plane, i, k + one] += basis.column_spline[c, 1] * pull
            splines[plane, i, k + one + one] += basis.column_spline[c, 2] * pull
            splines[plane, i, k + one + one + one] += basis.column_spline[c, 3] * pull


@njit(cache=True, nogil=True, fastmath=True)
def times(matrix: Float32, vector: Float32) -> Float32:
    """Matrix times vector; Numba's own needs SciPy."""
    out = np.empty(len(matrix), np.float32)
    for row in range(len(matrix)):
        total = np.float32(0)
        for column in range(len(vector)):
            total += matrix[row, column] * vector[column]
        out[row] = total
    return out


@njit(cache=True, nogil=True, fastmath=True)
def gauss_newton(
    image: Float32,
    still: Float32,
    turn: Float32,
    model: Model,
    basis: Basis,
    centre: Float32,
    clip: float,
    steps: int,
    tolerance: float,
    nodes: Float32,
    light: Float32,
    residual: Float32,
    used: Float32,
) -> tuple[float, int]:
    """Refine a displacement and the local contrast.

    Parameters
    ----------
    image : (H, W) float32
        The frame.
    still : (2, node_rows, node_columns) float32
        Where the spline nodes lie in ``image`` (x, y) without displacement.
    turn : (2,) float32
        Rotation and scale of canonical to image pixels, ``(a, b)`` of ``[[a, -b], [b, a]]``.
    model : Model
        Of the template.
    basis : Basis
        Of the grid.
    centre : (2, node_rows, node_columns) float32
        Most likely displacement under the prior, canonical pixels.
    clip : float
        Bound of a residual.
    steps : int
        Most steps; at least two are done, for the first is long by the noise and short by what is clipped.
    tolerance : float
        It stops once no node moves by more, canonical pixels.
    nodes, light : (2, node_rows, node_columns), (light_rows, light_columns) float32
        Start and result.
    residual, used : (rows, columns) float32
        Written inside the span: residual and weights at the start of the last step.

    Returns
    -------
    contrast : float
        Of the frame over the template's.
    done : int
        Steps done.
    """
    count, (rows, columns) = len(model.nodes), nodes.shape[1:]
    values, warp = np.empty(residual.shape, np.float32), np.empty(nodes.shape, np.float32)
    splines, lights = np.empty(nodes.shape, np.float32), np.empty(light.shape, np.float32)
    right, away = np.empty(2 * count + light.size, np.float32), np.empty(2 * count, np.float32)
    flat_light, whole = light.reshape(-1), rows * columns
    flat_nodes, flat_centre, flat_splines = nodes.reshape(-1), centre.reshape(-1), splines.reshape(-1)
    contrast, done = 1.0, 0
    while done < steps:
        done += 1
        warp[0] = still[0] + turn[0] * nodes[0] - turn[1] * nodes[1]
        warp[1] = still[1] + turn[1] * nodes[0] + turn[0] * nodes[1]
        sample(image, warp, basis, model.span, model.weight, values, used)
        contrast = contrast_of(values, used, model.template, model.span)
        right_side(
            values, used, model.template, model.gradient, model.span, basis, contrast, light, clip, residual,
            splines, lights,
        )  # fmt: skip
        for axis in range(2):
            for k in range(count):
                at = axis * whole + model.nodes[k]
                away[axis * count + k] = flat_nodes[at] - flat_centre[at]
                right[axis * count + k] = flat_splines[at]
        right[:count] += times(model.prior, away[:count])
        right[count : 2 * count] += times(model.prior, away[count:])
        pull = times(model.head_cover, times(model.head, away))
        for k in range(len(pull)):
            right[: 2 * count] -= pull[k] * model.head[k]
        right[2 * count :] = lights.reshape(-1) + np.float32(model.light_prior) * flat_light
        move = times(model.inverse, right)
        for axis in range(2):
            for k in range(count):
                flat_nodes[axis * whole + model.nodes[k]] -= move[axis * count + k]
        flat_light -= move[2 * count :]
        if done > 1 and np.abs(move[: 2 * count]).max() < tolerance:
            break
    for axis in range(2):
        for k in range(count):
            away[k] = flat_nodes[axis * whole + model.nodes[k]]
        follow = times(model.carry, away[:count])
        for k in range(len(follow)):
            flat_nodes[axis * whole + model.rest[k]] = follow[k]
    return contrast, done


@njit(cache=True, nogil=True, fastmath=True)
def spline_at(nodes: Float32, place: Float32, out: Float32) -> None:
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


@njit(cache=True, nogil=True, fastmath=True)
def mix(template: Float32, residual: Float32, share: np.float32, limit: np.float32) -> None:
    """Add a share of the residuals, each bounded by ``limit``, to the template."""
    for row in range(np.uint64(template.shape[0])):
        for c in range(np.uint64(template.shape[1])):
            template[row, c] += share * min(max(residual[row, c], -limit), limit)


class SparseMasks(NamedTuple):
    """Masks of the regions, ``(R, rows * columns)``, row by row: what lies between ``start[r]`` and ``start[r + 1]``.

    Parameters
    ----------
    start : (R + 1,) int32
    pixel : (N,) int32
    share : (N,) float32
    """

    start: Int32
    pixel: Int32
    share: Float32


@njit(cache=True, nogil=True, fastmath=True)
def region_sums(
    residual: Float32, used: Float32, template: Float32, weight: Float32, masks: SparseMasks, out: Float32
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


@njit(cache=True, nogil=True, fastmath=True)
def block_energies(residual: Float32, used: Float32, template: Float32) -> tuple[float, float]:
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
