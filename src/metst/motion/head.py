"""What of a face's motion is the head's: a robust fit of similarity, yaw and pitch to the registered motion.

The registration finds the motion of the whole face well but shares it between head and expression by a Gaussian
prior, which lets a strong expression pull the head along.  Here the head is fitted again to least absolute deviations:
parts that move on their own have a bounded say, the stable parts (nose bridge, eye corners) most, the mouth least.
The problem is convex, so the head never jumps from one explanation to another.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from metst.motion.anchor import Pose, Similarity
from metst.motion.canonical import Grid, nodes_on_face
from metst.motion.registration import HEAD_UNKNOWNS, Float32

_STABLE_POINTS = (27, 28, 39, 42, 36, 45)
_STABLE_REACH = 0.1
_NOSE_BASE = 33
_FREE_SHARE, _MOUTH_SHARE = 0.3, 0.1
_SCALE = 0.001  # face units under which deviations count as noise, squared
_GAIN = 3000.0  # weight of the fit against the tie of yaw and pitch to the frame before
_TURN_STEP_SD = 0.008
_ROUNDS = 4


class HeadFit:
    """Separates head and expression for one template.

    Parameters
    ----------
    grid : Grid
    landmarks : (68, 2) float32
        Canonical coordinates, face units.
    """

    def __init__(self, grid: Grid, landmarks: Float32) -> None:
        stable = landmarks[list(_STABLE_POINTS)]
        apart = np.linalg.norm(grid.nodes.reshape(-1, 1, 2) - stable, axis=-1).astype(np.float64)
        near = np.exp(-0.5 * (apart / _STABLE_REACH) ** 2).max(axis=-1)
        inside = np.flatnonzero(nodes_on_face(grid, landmarks))
        below_nose = grid.nodes.reshape(-1, 2)[:, 1] > landmarks[_NOSE_BASE, 1]
        self._share = (np.where(below_nose, _MOUTH_SHARE, _FREE_SHARE) * (1 - near) + near)[inside]
        x, y = grid.nodes.reshape(-1, 2).astype(np.float64).T
        rows, columns = grid.shape
        pixel_x = np.clip(np.round((x - grid.nodes[1, 1, 0]) * grid.unit), 0, columns - 1).astype(int)
        pixel_y = np.clip(np.round((y - grid.nodes[1, 1, 1]) * grid.unit), 0, rows - 1).astype(int)
        depth = grid.basis.depth[pixel_y, pixel_x] / grid.unit
        zero, one = np.zeros_like(x), np.ones_like(x)
        effect_x = np.stack([one, zero, x, -y, depth, zero], axis=-1)
        effect_y = np.stack([zero, one, y, x, zero, depth], axis=-1)
        self._effect = np.concatenate([effect_x, effect_y])
        self._inside = np.concatenate([inside, inside + len(x)])
        self._shape = (2, *grid.node_shape)

    def separated(self, pose: Pose, *, last_turn: Float32) -> Pose:
        """The same motion, shared anew between head and expression; arguments as in :meth:`split`."""
        head = self.split(pose.nodes, pose.turn, last_turn=last_turn)
        step = Similarity(complex(1 + head[2], head[3]), complex(head[0], head[1]))
        rest = pose.nodes - self.field(head)
        own = (rest[0] + 1j * rest[1]) / step.scale
        return replace(
            pose,
            similarity=pose.similarity @ step,
            nodes=np.stack([own.real, own.imag]).astype(np.float32),
            turn=pose.turn + head[4:].astype(np.float32),
        )

    def split(self, nodes: Float32, turn: Float32, *, last_turn: Float32) -> npt.NDArray[np.float64]:
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
        moved = np.stack([_values(plane) for plane in nodes.astype(np.float64)]).ravel()[self._inside]
        effect = self._effect[self._inside]
        tie = np.array([0, 0, 0, 0, 1, 1]) / _TURN_STEP_SD**2
        pull, head = np.zeros(HEAD_UNKNOWNS), np.zeros(HEAD_UNKNOWNS)
        pull[4:] = tie[4:] * (last_turn - turn)
        for _ in range(_ROUNDS):
            square = (moved - effect @ head).reshape(2, -1) ** 2
            weight = _GAIN / np.sqrt(_SCALE**2 + square.sum(axis=0)) * self._share
            weighted = effect * np.tile(weight, 2)[:, None]
            head = np.linalg.solve(weighted.T @ effect + np.diag(tie), weighted.T @ moved + pull)
        return head

    def field(self, head: npt.NDArray[np.float64]) -> Float32:
        """Spline coefficients of a motion of the head: ``(2, node_rows, node_columns)``."""
        return (self._effect @ head).reshape(self._shape).astype(np.float32)


def _values(nodes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Values of a cubic spline at its own nodes."""
    padded = np.pad(nodes, 1, mode="edge")
    across = (padded[:, :-2] + 4 * padded[:, 1:-1] + padded[:, 2:]) / 6
    return (across[:-2] + 4 * across[1:-1] + across[2:]) / 6
