"""Numba kernels: the registration of a frame, by the normal equations of its composed warp.

Registration is Gauss-Newton with the gradients of the template (Baker and Matthews 2004, IJCV 56(3)), so that the
normal matrix is assembled once for many frames.  Order of the unknowns: spline x (K), spline y (K), contrast (G).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metst.arrays import Float32Array, Int32Array, Int64Array
from metst.guard.kernels import kernel, part
from metst.motion.warp import Basis, sample

HEAD_UNKNOWNS = 6
"""Motions of the head: shift x, y, dilation, rotation, yaw, pitch."""

# Set by hand: see metst.motion.
_LEAST_CONTRAST, _MOST_CONTRAST = 0.1, 10.0  # of a frame over the template's
_NO_CONTRAST = 1e-3  # squared grey levels, against a division by 0


class Template(NamedTuple):
    """What frames are compared with.

    Parameters
    ----------
    picture : (rows, columns) float32
        Picture of the face.
    gradient : (2, rows, columns) float32
        Its derivatives by x and y, per canonical pixel.
    span : (rows, 2) int32
        Columns that are compared.
    """

    picture: Float32Array
    gradient: Float32Array
    span: Int32Array


class Model(NamedTuple):
    """What frames are registered against, as the kernels read it.

    Parameters
    ----------
    template : Template
        Picture of the face.
    weight : (rows, columns) float32
        1 where it is compared.
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

    template: Template
    weight: Float32Array
    nodes: Int64Array
    rest: Int64Array
    carry: Float32Array
    inverse: Float32Array
    prior: Float32Array
    head: Float32Array
    head_cover: Float32Array
    light_prior: float


class Frame(NamedTuple):
    """A frame to be registered.

    Parameters
    ----------
    image : (H, W) float32
        Its grey levels.
    still : (2, node_rows, node_columns) float32
        Where the spline nodes lie in it (x, y) without displacement.
    turn : (2,) float32
        Rotation and scale of canonical to image pixels, ``(a, b)`` of ``[[a, -b], [b, a]]``.
    """

    image: Float32Array
    still: Float32Array
    turn: Float32Array


class Unknowns(NamedTuple):
    """What registration finds, or one value for each of it.

    Parameters
    ----------
    nodes : (2, node_rows, node_columns) float32
        Displacement of the spline nodes, canonical pixels.
    light : (light_rows, light_columns) float32
        Local deviation of the contrast, bilinear between its nodes.
    """

    nodes: Float32Array
    light: Float32Array


@part(fastmath=True)
def contrast_of(values: Float32Array, used: Float32Array, template: Float32Array, span: Int32Array) -> float:
    """Contrast of a frame over the template's, within [0.1, 10]."""
    along, own = np.float32(_NO_CONTRAST), np.float32(_NO_CONTRAST)
    for row in range(np.uint64(values.shape[0])):
        for c in range(np.uint64(span[row, 0]), np.uint64(span[row, 1])):
            weighted = used[row, c] * template[row, c]
            along += weighted * values[row, c]
            own += weighted * template[row, c]
    return min(max(float(along / own), _LEAST_CONTRAST), _MOST_CONTRAST)


@part(fastmath=True)
def right_side(
    values: Float32Array,
    used: Float32Array,
    template: Template,
    basis: Basis,
    contrast: float,
    light: Float32Array,
    clip: float,
    residual: Float32Array,
    right: Unknowns,
) -> None:
    """Residual of every pixel, and ``J^T W psi(residual)`` with Huber's clipped residual ``psi``.

    Parameters
    ----------
    values, used : (rows, columns) float32
        Samples of the frame, and their weights (0: not compared).
    template : Template
        What they are compared with.
    basis : Basis
        Of the grid.
    contrast : float
        Contrast of the frame over the template's, whole face.
    light : (light_rows, light_columns) float32
        Local deviation of the contrast.
    clip : float
        Residuals are clipped at this size, so that an occluder or a lid pulls with bounded force.
    residual : (rows, columns) float32
        Written inside the span: frame at the template's contrast, minus template, where it is compared, else 0.
    right : Unknowns
        Written: the right side.
    """
    picture, gradient, span = template
    columns, lines = picture.shape[1], (right.nodes.shape[1], picture.shape[1])
    one, next_one, scale, limit = np.float32(1), np.uint64(1), np.float32(1 / contrast), np.float32(clip)
    shade, glow = np.empty((len(light), columns), np.float32), np.zeros((len(light), columns), np.float32)
    _shade(light, basis, shade)
    pull_x, pull_y = np.zeros(lines, np.float32), np.zeros(lines, np.float32)
    e, ex, ey = np.empty(columns, np.float32), np.empty(columns, np.float32), np.empty(columns, np.float32)
    for row in range(np.uint64(picture.shape[0])):
        first, last, above = np.uint64(span[row, 0]), np.uint64(span[row, 1]), np.uint64(basis.row_light[row])
        low, high = basis.row_share[row], one - basis.row_share[row]
        for c in range(first, last):
            t = picture[row, c]
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
    right.nodes[:] = 0
    for plane, pull in enumerate((pull_x, pull_y)):
        _gather(pull, basis, plane, right.nodes)
    _unshade(glow, basis, right.light)


@part(fastmath=True)
def _shade(light: Float32Array, basis: Basis, out: Float32Array) -> None:
    """Interpolate the contrast's nodes along the rows: ``out`` (light_rows, columns)."""
    for i in range(light.shape[0]):
        for c in range(out.shape[1]):
            j, share = basis.column_light[c], basis.column_share[c]
            out[i, c] = (np.float32(1) - share) * light[i, j] + share * light[i, j + 1]


@part(fastmath=True)
def _unshade(glow: Float32Array, basis: Basis, lights: Float32Array) -> None:
    """Sum over columns what reaches each of the contrast's nodes: the transpose of :func:`_shade`."""
    lights[:] = 0
    for i in range(glow.shape[0]):
        for c in range(glow.shape[1]):
            j, share = basis.column_light[c], basis.column_share[c]
            lights[i, j] += (np.float32(1) - share) * glow[i, c]
            lights[i, j + 1] += share * glow[i, c]


@part(fastmath=True)
def _add(
    values: Float32Array, share: np.float32, first: np.uint64, last: np.uint64, i: np.uint64, out: Float32Array
) -> None:
    """Add a share of a row to row ``i`` of ``out``."""
    for c in range(first, last):
        out[i, c] += share * values[c]


@part(fastmath=True)
def _gather(pulls: Float32Array, basis: Basis, plane: int, splines: Float32Array) -> None:
    """Sum over columns what reaches each spline node: the transpose of :func:`_across`."""
    one = np.uint64(1)
    for i in range(np.uint64(pulls.shape[0])):
        for c in range(np.uint64(pulls.shape[1])):
            k, pull = np.uint64(basis.column_node[c]), pulls[i, c]
            splines[plane, i, k] += basis.column_spline[c, 0] * pull
            splines[plane, i, k + one] += basis.column_spline[c, 1] * pull
            splines[plane, i, k + one + one] += basis.column_spline[c, 2] * pull
            splines[plane, i, k + one + one + one] += basis.column_spline[c, 3] * pull


@part(fastmath=True)
def times(matrix: Float32Array, vector: Float32Array) -> Float32Array:
    """Matrix times vector; Numba's own needs SciPy."""
    out = np.empty(len(matrix), np.float32)
    for row in range(len(matrix)):
        total = np.float32(0)
        for column in range(len(vector)):
            total += matrix[row, column] * vector[column]
        out[row] = total
    return out


@kernel(fastmath=True)
def gauss_newton(
    frame: Frame,
    model: Model,
    basis: Basis,
    centre: Float32Array,
    clip: float,
    steps: int,
    tolerance: float,
    found: Unknowns,
    residual: Float32Array,
    used: Float32Array,
) -> tuple[float, int]:
    """Refine a displacement and the local contrast.

    Parameters
    ----------
    frame, model, basis
        What is registered, against what, and the grid.
    centre : (2, node_rows, node_columns) float32
        Most likely displacement under the prior, canonical pixels.
    clip : float
        Bound of a residual.
    steps : int
        Most steps; at least two are done, for the first is long by the noise and short by what is clipped.
    tolerance : float
        It stops once no node moves by more, canonical pixels.
    found : Unknowns
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
    count, values, warp = (
        len(model.nodes),
        np.empty(residual.shape, np.float32),
        np.empty(found.nodes.shape, np.float32),
    )
    right = Unknowns(np.empty(found.nodes.shape, np.float32), np.empty(found.light.shape, np.float32))
    count, flat_light, contrast, done = len(model.nodes), found.light.reshape(-1), 1.0, 0
    while done < steps:
        done += 1
        _place(found.nodes, frame, warp)
        sample(frame.image, warp, basis, model.template.span, model.weight, values, used)
        contrast = contrast_of(values, used, model.template.picture, model.template.span)
        right_side(values, used, model.template, basis, contrast, found.light, clip, residual, right)
        move = times(model.inverse, _with_prior(model, right, found, centre))
        _shift(found.nodes, model.nodes, move)
        for k in range(flat_light.size):
            flat_light[k] -= move[2 * count + k]
        if done > 1 and _is_within(move, 2 * count, tolerance):
            break
    _carry(found.nodes, model)
    return contrast, done


@part(fastmath=True)
def _place(nodes: Float32Array, frame: Frame, warp: Float32Array) -> None:
    """Where the displaced spline nodes lie in the frame."""
    still, turn = frame.still, frame.turn
    for i in range(np.uint64(nodes.shape[1])):
        for j in range(np.uint64(nodes.shape[2])):
            warp[0, i, j] = still[0, i, j] + turn[0] * nodes[0, i, j] - turn[1] * nodes[1, i, j]
            warp[1, i, j] = still[1, i, j] + turn[1] * nodes[0, i, j] + turn[0] * nodes[1, i, j]


@part(fastmath=True)
def _is_within(values: Float32Array, count: int, bound: float) -> bool:
    """Whether the first values are all smaller than a bound."""
    inside = True
    for k in range(count):
        inside &= abs(values[k]) < bound
    return inside


@part(fastmath=True)
def _with_prior(model: Model, right: Unknowns, found: Unknowns, centre: Float32Array) -> Float32Array:
    """The right side of the unknowns ``(2 N + G,)``, with the pull of the prior towards ``centre``."""
    count, whole = len(model.nodes), found.nodes.shape[1] * found.nodes.shape[2]
    total, away = np.empty(2 * count + found.light.size, np.float32), np.empty(2 * count, np.float32)
    flat_nodes, flat_centre, flat_splines = found.nodes.reshape(-1), centre.reshape(-1), right.nodes.reshape(-1)
    for axis in range(2):
        for k in range(count):
            at = axis * whole + model.nodes[k]
            away[axis * count + k] = flat_nodes[at] - flat_centre[at]
            total[axis * count + k] = flat_splines[at]
    for axis in range(2):
        drawn = times(model.prior, away[axis * count : (axis + 1) * count])
        for k in range(count):
            total[axis * count + k] += drawn[k]
    pull = times(model.head_cover, times(model.head, away))
    for k in range(len(pull)):
        for j in range(np.uint64(2 * count)):  # products are rounded before they are subtracted: hence two loops
            away[j] = pull[k] * model.head[k, j]
        for j in range(np.uint64(2 * count)):
            total[j] -= away[j]
    share, flat_light, flat_right = np.float32(model.light_prior), found.light.reshape(-1), right.light.reshape(-1)
    for k in range(flat_light.size):
        total[2 * count + k] = flat_right[k] + share * flat_light[k]
    return total


@part(fastmath=True)
def _shift(nodes: Float32Array, unknown: Int64Array, move: Float32Array) -> None:
    """Take a step of the spline nodes that are unknown."""
    count, whole, flat = len(unknown), nodes.shape[1] * nodes.shape[2], nodes.reshape(-1)
    for axis in range(2):
        for k in range(count):
            flat[axis * whole + unknown[k]] -= move[axis * count + k]


@part(fastmath=True)
def _carry(nodes: Float32Array, model: Model) -> None:
    """Let the other spline nodes follow those that were found."""
    count, whole, flat = len(model.nodes), nodes.shape[1] * nodes.shape[2], nodes.reshape(-1)
    found = np.empty(count, np.float32)
    for axis in range(2):
        for k in range(count):
            found[k] = flat[axis * whole + model.nodes[k]]
        follow = times(model.carry, found)
        for k in range(len(follow)):
            flat[axis * whole + model.rest[k]] = follow[k]
