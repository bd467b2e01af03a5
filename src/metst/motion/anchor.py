"""One anchor: the face of one frame, and how later frames are registered against it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from metst.motion.canonical import Grid
from metst.motion.registration import HEAD, Float32, normal_matrix, right_side, sample

_HIGH_PASS = 0.12
_LIGHT_SD, _TURN_SD = 0.1, 0.03
_HUBER = 2.5
_MIN_NOISE = 0.6
NOISE_FACTOR = 6.0


@dataclass(frozen=True)
class Similarity:
    """``p -> scale p + shift`` on complex numbers: rotation and scale in one factor."""

    scale: complex
    shift: complex

    def __matmul__(self, other: Similarity) -> Similarity:
        """The map that applies ``other`` first."""
        return Similarity(self.scale * other.scale, self.scale * other.shift + self.shift)

    def inverse(self) -> Similarity:
        """The map back."""
        return Similarity(1 / self.scale, -self.shift / self.scale)

    def apply(self, points: npt.NDArray[np.floating]) -> Float32:
        """Map points ``(..., 2)``."""
        moved = self.scale * (points[..., 0] + 1j * points[..., 1]) + self.shift
        return np.stack([moved.real, moved.imag], axis=-1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Picture:
    """Part of a frame, freed of its local brightness: where it lies and its resolution."""

    values: Float32
    to_picture: Similarity


@dataclass(frozen=True, eq=False)
class Pose:
    """How one frame lies on its anchor.

    Parameters
    ----------
    similarity : Similarity
        Canonical face units to pixels of the frame.
    nodes : (2, node_rows, node_columns) float32
        Local displacement, face units.
    turn : (2,) float32
        Shift of a point of unit depth by yaw and pitch, face units.
    light : (light_rows, light_columns) float32
        Local deviation of the contrast.
    contrast : float
        Contrast of the frame over the anchor's.
    """

    similarity: Similarity
    nodes: Float32
    turn: Float32
    light: Float32
    contrast: float = 1.0


def still_pose(grid: Grid, similarity: Similarity) -> Pose:
    """Pose without local motion."""
    nodes, light = np.zeros((2, *grid.node_shape), np.float32), np.zeros(grid.light_shape, np.float32)
    return Pose(similarity, nodes, np.zeros(2, np.float32), light)


def make_picture(grey: npt.NDArray[np.uint8], similarity: Similarity, *, grid: Grid, px_per_pixel: float) -> Picture:
    """Cut the face out of a frame, smooth it to the grid's resolution and remove its local mean.

    Parameters
    ----------
    grey : (H, W) uint8
    similarity : Similarity
        Canonical face units to pixels of the frame; only says where the face is.
    px_per_pixel : float
        Source pixels per canonical pixel: the resolution.
    """
    reach, centre = 1.45 * abs(similarity.scale), similarity.apply(np.array([0.0, 0.125]))
    factor = max(1, int(px_per_pixel / 1.6))
    left, top = (int(max(0, c - reach) // factor * factor) for c in centre)
    right, bottom = (int(min(n, c + reach)) for c, n in zip(centre, grey.shape[::-1], strict=True))
    cut = grey[top : max(bottom, top + 1), left : max(right, left + 1)].astype(np.float32)
    if factor > 1:
        size = max(cut.shape[1] // factor, 1), max(cut.shape[0] // factor, 1)
        cut = cv2.resize(cut[: size[1] * factor, : size[0] * factor], size, interpolation=cv2.INTER_AREA)
    relative = px_per_pixel / factor
    values = cv2.GaussianBlur(cut, (0, 0), 0.7 * max(relative, 0.8))
    width = 2 * round(_HIGH_PASS * grid.unit * relative * 1.2) + 1
    values -= cv2.blur(cv2.blur(values, (width, width)), (width, width))
    offset = complex(left, top) + (factor - 1) / 2 * (1 + 1j)
    return Picture(np.ascontiguousarray(values), Similarity(1 / factor, -offset / factor))


@dataclass(frozen=True, eq=False)
class Match:
    """Residual (rows, columns) at the last step, the pixels used, and the frame's contrast."""

    residual: Float32
    used: Float32
    contrast: float

    def noise(self) -> float:
        """Robust standard deviation of the residual."""
        return 1.2533 * float(np.abs(self.residual).sum()) / max(float(self.used.sum()), 1.0)


class Anchor:
    """Template of one frame on one grid, ready to register others against it.

    Parameters
    ----------
    picture : Picture
        The anchor frame.
    similarity : Similarity
        Canonical face units to pixels of the frame.
    weight : (rows, columns) float32
        Which pixels are compared.
    precision : (K, K) float64
        Prior precision of the nodes, per squared pixel.
    noise : float
        Standard deviation of the residual, grey levels.
    """

    def __init__(
        self, picture: Picture, *, grid: Grid, similarity: Similarity, weight: Float32, precision: npt.NDArray[np.float64], noise: float
    ) -> None:
        self.grid, self.noise = grid, max(noise, _MIN_NOISE)
        everywhere = np.ones(grid.shape, np.float32)
        self.template, seen = self._sample(picture, still_pose(grid, similarity), everywhere)
        self.weight = weight * cv2.erode(seen, np.ones((5, 5), np.uint8))
        kernel = np.array([1, -8, 0, 8, -1], np.float32)[None] / 12
        self.gradient = np.stack(
            [cv2.filter2D(self.template, -1, kernel), cv2.filter2D(self.template, -1, np.ascontiguousarray(kernel.T))]
        )
        self._solve(precision)

    def _solve(self, precision: npt.NDArray[np.float64]) -> None:
        """Assemble and invert the normal matrix."""
        grid, nodes = self.grid, len(precision)
        size = 2 * nodes + HEAD + int(np.prod(grid.light_shape))
        normal = np.empty((size, size))
        normal_matrix(
            self.weight, self.template, self.gradient, grid.depth, grid.origin, grid.step, grid.light_step, grid.light_shape, normal
        )
        variance = self.noise**2 * NOISE_FACTOR
        self.prior = (variance * precision).astype(np.float32)
        normal[:nodes, :nodes] += self.prior
        normal[nodes : 2 * nodes, nodes : 2 * nodes] += self.prior
        diagonal = np.zeros(size)
        diagonal[2 * nodes : 2 * nodes + HEAD] = 1e-3
        self.turn_prior = variance / _TURN_SD**2
        self.light_prior = variance / _LIGHT_SD**2
        diagonal[2 * nodes + 4 : 2 * nodes + HEAD] = self.turn_prior
        diagonal[2 * nodes + HEAD :] = self.light_prior
        normal[np.diag_indices(size)] += diagonal
        self.inverse = np.linalg.inv(normal).astype(np.float32)

    def _sample(self, picture: Picture, pose: Pose, weight: Float32) -> tuple[Float32, Float32]:
        """Frame values at the warped pixels of the grid."""
        grid = self.grid
        warp = picture.to_picture @ pose.similarity
        scale, shift = warp.scale / grid.unit, warp.shift
        values, seen = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
        sample(
            picture.values,
            np.array([scale.real, scale.imag, shift.real, shift.imag], np.float32),
            pose.turn,
            pose.nodes * np.float32(grid.unit),
            grid.step,
            grid.origin,
            grid.depth,
            weight,
            values,
            seen,
        )
        return values, seen

    def register(self, picture: Picture, start: Pose, *, steps: int, noise: float) -> tuple[Pose, Match]:
        """Refine a pose by Gauss-Newton."""
        pose = start
        for _ in range(steps):
            pose, match, change = self._step(picture, pose, noise=noise)
            if change < 2e-3:
                break
        return pose, match

    def _step(self, picture: Picture, pose: Pose, *, noise: float) -> tuple[Pose, Match, float]:
        grid, weight = self.grid, self.weight
        values, seen = self._sample(picture, pose, weight)
        used = weight * seen
        contrast = float(np.vdot(used * self.template, values) / (np.vdot(used * self.template, self.template) + 1e-3))
        contrast = min(max(contrast, 0.1), 10.0)
        residual, right = np.zeros(grid.shape, np.float32), np.empty(len(self.inverse), np.float32)
        right_side(
            values, seen, weight, self.template, self.gradient, grid.depth, grid.origin, grid.step, grid.light_step,
            contrast, pose.light, _HUBER * max(noise, _MIN_NOISE), residual, right,
        )  # fmt: skip
        nodes = pose.nodes.size // 2
        right[:nodes] += self.prior @ pose.nodes[0].ravel() * grid.unit
        right[nodes : 2 * nodes] += self.prior @ pose.nodes[1].ravel() * grid.unit
        right[2 * nodes + 4 : 2 * nodes + HEAD] += np.float32(self.turn_prior) * pose.turn
        right[2 * nodes + HEAD :] += np.float32(self.light_prior) * pose.light.ravel()
        move = -(self.inverse @ right)
        head, unit = move[2 * nodes : 2 * nodes + HEAD], np.float32(grid.unit)
        step = Similarity(complex(1 + head[2], head[3]), complex(head[0], head[1]) / grid.unit)
        moved = Pose(
            pose.similarity @ step,
            pose.nodes + move[: 2 * nodes].reshape(pose.nodes.shape) / unit,
            pose.turn + head[4:6],
            pose.light + move[2 * nodes + HEAD :].reshape(pose.light.shape),
            contrast,
        )
        change = float(np.abs(move[: 2 * nodes]).max() + np.abs(head[:2]).max()) / grid.unit
        return moved, Match(residual, used, contrast), change
