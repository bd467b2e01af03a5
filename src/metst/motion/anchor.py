"""One anchor: the face of one frame, and how later frames are registered against it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

from metst.motion.canonical import Grid
from metst.motion.registration import HEAD_UNKNOWNS, Float32, normal_matrix, right_side, sample

_HIGH_PASS = 0.1
_LIGHT_SD, _TURN_SD = 0.1, 0.008
_HUBER = 4.0
_MIN_NOISE = 0.6
_NOISE_FACTOR = 20.0
_NOISE_CHANGE = 0.25
_SD_OF_MEAN_ABSOLUTE = math.sqrt(math.pi / 2)
_DERIVATIVE = np.array([1, -8, 0, 8, -1], np.float32) / 12


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
        The frame.
    similarity : Similarity
        Canonical face units to pixels of the frame; only says where the face is.
    grid : Grid
        Where the face is going to be compared.
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
        return _SD_OF_MEAN_ABSOLUTE * float(np.abs(self.residual).sum()) / max(float(self.used.sum()), 1.0)

    def explained(self, template: Float32) -> float:
        """Share of the template's contrast that the frame explains; at most 1."""
        return 1 - float((self.residual**2).sum()) / (float((self.used * template**2).sum()) + 1e-6)

    def by_region(self, anchor: Anchor, masks: Float32, *, noise: float) -> Float32:
        """How far the frame shows and matches the template in each region, beyond noise: ``(R,)`` in [0, 1]."""
        energy = masks @ (self.used * anchor.template**2).ravel()
        excess = np.maximum(masks @ (self.residual**2).ravel() - noise**2, 0)
        in_view = masks @ self.used.ravel() / np.maximum(masks @ anchor.weight.ravel(), 1e-6)
        agreement: Float32 = (in_view * energy / (energy + excess + 1e-6)).astype(np.float32)
        return agreement


class Anchor:
    """Template of the face on one grid, against which frames are registered.

    It starts as one frame.  Every frame that has been registered then improves it a little: a running mean over the
    template's memory has less noise, and follows slow changes of the light, without the steps that a chain of fresh
    anchors would add up.

    Parameters
    ----------
    picture : Picture
        The anchor frame.
    grid : Grid
        Its resolution.
    similarity : Similarity
        Canonical face units to pixels of the frame.
    weight : (rows, columns) float32
        Which pixels are compared.
    noise : float
        Standard deviation of the residual, grey levels.
    """

    def __init__(
        self,
        picture: Picture,
        *,
        grid: Grid,
        similarity: Similarity,
        weight: Float32,
        noise: float,
    ) -> None:
        self.grid = grid
        self.template, seen = self._sample(picture, still_pose(grid, similarity), np.ones(grid.shape, np.float32))
        self.weight = weight * cv2.erode(seen, np.ones((5, 5), np.uint8))
        self._derive()
        self.refresh(noise)

    def _derive(self) -> None:
        """Gradient of the template."""
        self._gradient = np.stack(
            [
                cv2.sepFilter2D(self.template, -1, _DERIVATIVE, np.ones(1, np.float32)),
                cv2.sepFilter2D(self.template, -1, np.ones(1, np.float32), _DERIVATIVE),
            ]
        )

    def refresh_for(self, noise: float) -> None:
        """Renew the normal matrix when the noise is no longer what it was made for."""
        if abs(np.log(max(noise, _MIN_NOISE) / self._noise)) > _NOISE_CHANGE:
            self.refresh(noise)

    def refresh(self, noise: float) -> None:
        """Assemble and invert the normal matrix for the present template and noise."""
        grid, nodes = self.grid, len(self.grid.precision)
        size = 2 * nodes + HEAD_UNKNOWNS + grid.light_shape[0] * grid.light_shape[1]
        normal = np.empty((size, size))
        normal_matrix(self.weight, self.template, self._gradient, grid.basis, grid.light_shape, grid.node_shape, normal)
        self._noise = max(noise, _MIN_NOISE)
        variance = _NOISE_FACTOR * self._noise**2
        self._prior = (variance * grid.precision).astype(np.float32)
        self._turn_prior, self._light_prior = variance / _TURN_SD**2, variance / _LIGHT_SD**2
        normal[:nodes, :nodes] += self._prior
        normal[nodes : 2 * nodes, nodes : 2 * nodes] += self._prior
        diagonal = np.full(size, 1e-3)
        diagonal[2 * nodes + 4 : 2 * nodes + HEAD_UNKNOWNS] += self._turn_prior
        diagonal[2 * nodes + HEAD_UNKNOWNS :] += self._light_prior
        normal[np.diag_indices(size)] += diagonal
        self._inverse = _inverse(normal).astype(np.float32)
        self._variance = variance

    def certainty(self, pool: Float32) -> Float32:
        """Share of the prior variance of each region's motion that a registration removes: ``(R,)`` in [0, 1]."""
        nodes = len(self.grid.precision)
        prior = np.einsum("rk,kr->r", pool, np.linalg.solve(self.grid.precision, pool.T.astype(np.float64)))
        left = [
            self._variance * np.einsum("rk,kl,rl->r", pool, self._inverse[at : at + nodes, at : at + nodes], pool)
            for at in (0, nodes)
        ]
        share = np.clip(1 - np.mean(left, axis=0) / np.maximum(prior, 1e-9), 0, 1)
        return np.asarray(share, np.float32)

    def register(
        self, picture: Picture, start: Pose, *, steps: int, tolerance: float, noise: float
    ) -> tuple[Pose, Match]:
        """Refine a pose by Gauss-Newton: ``steps`` steps, fewer once nothing moves by ``tolerance`` (face units)."""
        pose = start
        for _ in range(steps):
            pose, match, change = self._step(picture, pose, noise=noise, last_turn=start.turn)
            if change < tolerance:
                break
        return pose, match

    def learn(self, match: Match, *, share: float, noise: float) -> None:
        """Mix a registered frame into the template, as far as it agrees with it."""
        limit = np.float32(_HUBER * max(noise, _MIN_NOISE))
        self.template += np.float32(share) * np.clip(match.residual, -limit, limit)
        self._derive()

    def _sample(self, picture: Picture, pose: Pose, weight: Float32) -> tuple[Float32, Float32]:
        """Frame values at the warped pixels of the grid, and where there are any."""
        grid, warp = self.grid, picture.to_picture @ pose.similarity
        scale, shift = warp.scale / grid.unit, warp.shift
        values, seen = np.empty(grid.shape, np.float32), np.empty(grid.shape, np.float32)
        numbers = np.array([scale.real, scale.imag, shift.real, shift.imag], np.float32)
        nodes = pose.nodes * np.float32(grid.unit)
        sample(picture.values, numbers, pose.turn, nodes, grid.basis, weight, values, seen)
        return values, seen

    def _step(self, picture: Picture, pose: Pose, *, noise: float, last_turn: Float32) -> tuple[Pose, Match, float]:
        """One Gauss-Newton step; the match is that of the pose given."""
        grid, size = self.grid, pose.nodes.size
        values, seen = self._sample(picture, pose, self.weight)
        used = self.weight * seen
        contrast = self._contrast(values, used)
        residual, right = np.empty(grid.shape, np.float32), np.empty(len(self._inverse), np.float32)
        splines, head, lights = np.split(right, [size, size + HEAD_UNKNOWNS])
        right_side(
            values, used, self.template, self._gradient, grid.basis, contrast, pose.light,
            _HUBER * max(noise, _MIN_NOISE), residual, splines.reshape(pose.nodes.shape), head,
            lights.reshape(grid.light_shape),
        )  # fmt: skip
        nodes = pose.nodes.reshape(2, -1) * np.float32(grid.unit)
        splines += (nodes @ self._prior).ravel()
        head[4:] += np.float32(self._turn_prior) * (pose.turn - last_turn)
        lights += np.float32(self._light_prior) * pose.light.ravel()
        move = -(self._inverse @ right)
        return self._moved(pose, move, contrast=contrast), Match(residual, used, contrast), self._size(move)

    def _contrast(self, values: Float32, used: Float32) -> float:
        """Contrast of a frame over the template's."""
        weighted = (used * self.template).ravel()
        return min(max(float(weighted @ values.ravel()) / (float(weighted @ self.template.ravel()) + 1e-3), 0.1), 10.0)

    def _moved(self, pose: Pose, move: Float32, *, contrast: float) -> Pose:
        """The pose after a step: the head's part is composed, the rest added."""
        size, unit = pose.nodes.size, np.float32(self.grid.unit)
        splines, head, lights = np.split(move, [size, size + HEAD_UNKNOWNS])
        step = Similarity(complex(1 + head[2], head[3]), complex(head[0], head[1]) / self.grid.unit)
        return Pose(
            pose.similarity @ step,
            pose.nodes + splines.reshape(pose.nodes.shape) / unit,
            pose.turn + head[4:],
            pose.light + lights.reshape(pose.light.shape),
            contrast,
        )

    def _size(self, move: Float32) -> float:
        """Largest displacement that a step makes, face units."""
        nodes = 2 * len(self.grid.precision)
        return float(np.abs(move[:nodes]).max() + np.abs(move[nodes : nodes + 2]).max()) / self.grid.unit


def _inverse(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Inverse of a symmetric positive definite matrix."""
    factor, _ = lapack.dpotrf(matrix, lower=1)
    lower, _ = lapack.dpotri(factor, lower=1)
    return np.asarray(lower + lower.T - np.diag(np.diagonal(lower)))
