"""What of a face's motion is the head's: a robust fit of similarity, yaw and pitch to the registered motion.

The registration finds the motion of the whole face well but shares it between head and expression by a Gaussian
prior, which lets a strong expression pull the head along.  Here the head is fitted again to least absolute deviations:
parts that move on their own have a bounded say, the stable parts (nose bridge, eye corners) most.
The problem is convex, so the head never jumps from one explanation to another.
"""

from __future__ import annotations

import numpy as np

from metst.arrays import Float32Array, Float64Array, Int64Array
from metst.guard.kernels import kernel, part
from metst.motion.algebra import product
from metst.motion.anchor import Pose
from metst.motion.canonical import Grid, nodes_on_face
from metst.motion.picture import Similarity
from metst.motion.registration import HEAD_UNKNOWNS

# Where no origin is named, a number was set by hand: see metst.motion.
_STABLE_POINTS = (27, 28, 39, 42, 36, 45)  # landmarks: nose bridge, eye corners
_STABLE_REACH = 0.1  # face units, standard deviation of a Gaussian around them
_FREE_SHARE = 0.3  # of the say that the stable parts have
_SCALE = 0.0003  # face units; smaller deviations count squared
_GAIN = 3000.0  # weight of the fit against the tie of yaw and pitch to the frame before
# Face units at unit depth, of yaw and pitch from frame to frame: the prior of anchor.py.  It stands here again, as
# Numba's cache does not notice when a number changes that a kernel takes from another module.
_TURN_STEP_SD = 0.008
_ROUNDS, _SETTLED = 8, 1e-5  # reweightings at most, fewer once the head changes by less (face units, radians)


class HeadFit:
    """Separates head and expression for one template.

    Parameters
    ----------
    grid : Grid
    landmarks : (68, 2) float32
        Canonical coordinates, face units.
    """

    def __init__(self, grid: Grid, landmarks: Float32Array) -> None:
        stable = landmarks[list(_STABLE_POINTS)]
        apart = np.linalg.norm(grid.nodes.reshape(-1, 1, 2) - stable, axis=-1).astype(np.float64)
        near = np.exp(-0.5 * (apart / _STABLE_REACH) ** 2).max(axis=-1)
        inside = np.flatnonzero(nodes_on_face(grid, landmarks))
        self._share = (_FREE_SHARE * (1 - near) + near)[inside]
        self._motions, self._inside = grid.head.reshape(HEAD_UNKNOWNS, -1).astype(np.float32), inside
        self._shape = grid.head.shape[1:]
        self._effect = np.stack([_values_at(motion, inside) for motion in grid.head], axis=1)

    def separated(self, pose: Pose, *, last_turn: Float32Array) -> Pose:
        """The same motion, shared anew between head and expression; arguments as in :meth:`split`."""
        head = self.split(pose.nodes, pose.turn, last_turn=last_turn)
        step = Similarity(complex(1 + head[2], head[3]), complex(head[0], head[1]))
        own, (x, y) = np.empty_like(pose.nodes), pose.nodes - self.field(head)
        back = 1 / step.scale
        own[0], own[1] = back.real * x - back.imag * y, back.imag * x + back.real * y
        turn = pose.turn + head[4:].astype(np.float32)
        return Pose(pose.similarity @ step, own, turn, pose.light, pose.contrast)

    def split(self, nodes: Float32Array, turn: Float32Array, *, last_turn: Float32Array) -> Float64Array:
        """Motion of the head that is left in the local displacement.

        Parameters
        ----------
        nodes : (2, node_rows, node_columns) float32
            Spline coefficients, face units.
        turn, last_turn : (2,) float32
            Yaw and pitch terms of this pose and of the frame before, which they are tied to.

        Returns
        -------
        (6,) float64
            Shift x, y, dilation, rotation, change of the yaw and pitch terms.
        """
        moved = _values_at(nodes.astype(np.float64), self._inside)
        head = _least_deviations(moved, self._effect, self._share, (last_turn - turn).astype(np.float64))
        return np.asarray(head, np.float64)

    def field(self, head: Float64Array) -> Float32Array:
        """Spline coefficients of a motion of the head: ``(2, node_rows, node_columns)``."""
        return product(head.astype(np.float32)[None], self._motions).reshape(self._shape)


@part()
def _solved(lower: Float64Array, right: Float64Array) -> Float64Array:
    """Solution of a symmetric positive definite system by Cholesky; Numba's own needs SciPy.

    Of the matrix the lower triangle is read, and replaced by its factor.
    """
    size = len(right)
    found = right.copy()
    for i in range(size):
        for j in range(i + 1):
            left = lower[i, j]
            for k in range(j):
                left -= lower[i, k] * lower[j, k]
            lower[i, j] = np.sqrt(left) if i == j else left / lower[j, j]
        for k in range(i):
            found[i] -= lower[i, k] * found[k]
        found[i] /= lower[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            found[i] -= lower[k, i] * found[k]
        found[i] /= lower[i, i]
    return found


@kernel(fastmath=True)
def _least_deviations(
    moved: Float64Array,
    effect: Float64Array,
    share: Float64Array,
    pull: Float64Array,
) -> Float64Array:
    """Head ``(6,)`` that explains the motion ``moved`` (2, N) of points with ``effect`` (2, 6, N), reweighted."""
    head = np.zeros(HEAD_UNKNOWNS)
    normal, right = np.empty((HEAD_UNKNOWNS, HEAD_UNKNOWNS)), np.empty(HEAD_UNKNOWNS)
    off, weight = np.empty_like(moved), np.empty_like(share)
    for _ in range(_ROUNDS):
        normal[:], right[:] = 0, 0
        for h in range(2):
            normal[4 + h, 4 + h] = 1 / _TURN_STEP_SD**2
            right[4 + h] = pull[h] / _TURN_STEP_SD**2
        _copy(moved, off)
        for axis in range(2):
            for h in range(HEAD_UNKNOWNS):
                for n in range(np.uint64(len(share))):
                    off[axis, n] -= effect[axis, h, n] * head[h]
        for n in range(np.uint64(len(share))):
            weight[n] = share[n] * _GAIN / np.sqrt(_SCALE**2 + off[0, n] ** 2 + off[1, n] ** 2)
        for axis in range(2):
            for h in range(HEAD_UNKNOWNS):
                for n in range(np.uint64(len(share))):
                    off[axis, n] = weight[n] * effect[axis, h, n]
                right[h] += _product(off[axis], moved[axis])
                for other in range(h + 1):
                    normal[h, other] += _product(off[axis], effect[axis, other])
        found = _solved(normal, right)
        change = _replace(head, found)
        if change < _SETTLED:
            break
    return head


# Loops in place of expressions of arrays, which take Numba seconds more to compile.


@part()
def _copy(values: Float64Array, out: Float64Array) -> None:
    """``out = values``, both ``(2, N)``."""
    for axis in range(values.shape[0]):
        for n in range(values.shape[1]):
            out[axis, n] = values[axis, n]


@part()
def _replace(values: Float64Array, new: Float64Array) -> float:
    """``values = new``; returns by how much the one that changed most did."""
    most = 0.0
    for n in range(len(values)):
        most = max(most, abs(new[n] - values[n]))
        values[n] = new[n]
    return most


@part(fastmath=True)
def _product(one: Float64Array, other: Float64Array) -> float:
    """Inner product; Numba's own needs SciPy."""
    total = 0.0
    for n in range(np.uint64(len(one))):
        total += one[n] * other[n]
    return total


@kernel()
def _values_at(nodes: Float64Array, places: Int64Array) -> Float64Array:
    """Values of cubic splines ``(2, node_rows, node_columns)`` at some of their own nodes, ``(2, N)``."""
    rows, columns = nodes.shape[1:]
    out = np.empty((2, len(places)))
    for n, place in enumerate(places):
        i, j = divmod(place, columns)
        up, down, left, right = max(i - 1, 0), min(i + 1, rows - 1), max(j - 1, 0), min(j + 1, columns - 1)
        for axis in range(2):
            own = nodes[axis]
            # A cubic spline is 1/6, 4/6, 1/6 at the nodes around its own.
            above, here, below = (
                own[up, left] + 4 * own[up, j] + own[up, right],
                own[i, left] + 4 * own[i, j] + own[i, right],
                own[down, left] + 4 * own[down, j] + own[down, right],
            )
            out[axis, n] = (above + 4 * here + below) / 36
    return out
