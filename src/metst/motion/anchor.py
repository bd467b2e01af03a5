"""One anchor: the face of one frame, and how later frames are registered against it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from metst.arrays import Float32Array, Int32Array
from metst.motion.algebra import inverse, product
from metst.motion.canonical import LEFT, TOP, Grid, TooLittleSeenError, reach_of
from metst.motion.normal import normal_matrix
from metst.motion.picture import Picture, Similarity, reduced
from metst.motion.registration import HEAD_UNKNOWNS, Frame, Model, Template, Unknowns, gauss_newton
from metst.motion.template import SparseMasks, block_energies, derivatives, mix, region_sums
from metst.motion.warp import sample

# Where no origin is named, a number was set by hand: see metst.motion.
_LIGHT_SD = 0.1  # of the local contrast over the whole face's, under the prior
_TURN_SD = 0.008  # face units at unit depth, of yaw and pitch from frame to frame, under the prior; as in head.py
_HUBER, _LEARN = 16.0, 4.0  # bounds of a residual that pulls at the face, and that changes the template; by the noise
_MIN_NOISE = 0.6  # grey levels; less is taken for so much
_NOISE_FACTOR = 20.0  # by which the priors weigh more than pixels with independent noise would let them
_NOISE_CHANGE = 0.4  # of the logarithm of the noise, beyond which the normal matrix is made anew
_SD_OF_MEAN_ABSOLUTE = math.sqrt(math.pi / 2)  # standard deviation over mean absolute value of a normal distribution
_LEAST_DETAIL = 0.5  # grey levels, root mean square over the face; with less there is nothing to follow
_LEAST_SEEN = 0.4  # share of the compared pixels that lie inside the picture; with fewer nothing holds the face
_RIDGE = 1e-3  # on the diagonal of unknowns that have no prior of their own: matrices stay invertible
_NOTHING = 1e-6  # squared grey levels or pixels; where there is nothing to see, shares come out as 0
_LEAST_PRIOR = 1e-9  # squared pixels, against a division by 0


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
    nodes: Float32Array
    turn: Float32Array
    light: Float32Array
    contrast: float = 1.0


def still_pose(grid: Grid, similarity: Similarity) -> Pose:
    """Pose without local motion."""
    nodes, light = np.zeros((2, *grid.node_shape), np.float32), np.zeros(grid.light_shape, np.float32)
    return Pose(similarity, nodes, np.zeros(2, np.float32), light)


@dataclass(frozen=True, eq=False)
class Match:
    """Residual (rows, columns) at the last step, the pixels used, and the frame's contrast."""

    residual: Float32Array
    used: Float32Array
    contrast: float

    def noise(self) -> float:
        """Robust standard deviation of the residual."""
        return _SD_OF_MEAN_ABSOLUTE * cv2.norm(self.residual, cv2.NORM_L1) / max(cv2.sumElems(self.used)[0], 1.0)

    def explained(self, model: Model) -> float:
        """Share of the template's contrast that the frame explains, fine detail and its noise left out; at most 1.

        It is 0 where most of what is compared lies outside the picture.
        """
        if cv2.sumElems(self.used)[0] < _LEAST_SEEN * cv2.sumElems(model.weight)[0]:
            return 0.0
        left, whole = block_energies(self.residual, self.used, model.template.picture)
        return float(1 - left / (whole + _NOTHING))

    def by_region(self, model: Model, masks: SparseMasks, *, noise: float) -> Float32Array:
        """How far the frame shows and matches the template in each region, beyond noise: ``(R,)`` in [0, 1]."""
        sums = np.empty((len(masks.start) - 1, 4), np.float32)
        region_sums(self.residual, self.used, model.template.picture, model.weight, masks, sums)
        energy, off, seen, whole = sums.T
        agreement: Float32Array = (
            seen / np.maximum(whole, _NOTHING) * energy / (energy + np.maximum(off - noise**2, 0) + _NOTHING)
        )
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

    Raises
    ------
    TooLittleSeenError
        The face lies outside the picture, or shows nothing.
    """

    def __init__(
        self,
        picture: Picture,
        *,
        grid: Grid,
        similarity: Similarity,
        weight: Float32Array,
        noise: float,
    ) -> None:
        self.grid = grid
        self.template, seen = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
        everywhere, ones = np.tile(np.array([0, grid.shape[1]], np.int32), (grid.shape[0], 1)), np.ones_like(seen)
        still, _ = _still(grid, picture, still_pose(grid, similarity))
        sample(picture.values, still, grid.basis, everywhere, ones, self.template, seen)
        # Derivatives reach two pixels to each side.
        self.weight = weight * cv2.erode(seen, np.ones((5, 5), np.uint8))
        detail = float((self.weight * self.template**2).sum())
        if not detail >= _LEAST_DETAIL**2 * float(weight.sum()) > 0:
            raise TooLittleSeenError
        self._span, self._gradient = _spans(self.weight), np.empty((2, *grid.shape), np.float32)
        self._reach = reach_of(grid, self.weight)
        derivatives(self.template, self._gradient)
        self.refresh(noise)

    def refresh_for(self, noise: float) -> None:
        """Renew the normal matrix when the noise is no longer what it was made for."""
        if abs(np.log(max(noise, _MIN_NOISE) / self._noise)) > _NOISE_CHANGE:
            self.refresh(noise)

    def refresh(self, noise: float) -> None:
        """Assemble and invert the normal matrix for the present template and noise."""
        grid, reach = self.grid, self._reach
        whole, count = len(grid.covariance), len(reach.nodes)
        normal = np.empty((2 * whole + grid.light_shape[0] * grid.light_shape[1],) * 2, np.float32)
        normal_matrix(
            self.weight, self.template, self._gradient, self._span, grid.basis, grid.light_shape, grid.node_shape,
            normal,
        )  # fmt: skip
        unknown = np.concatenate([reach.nodes, whole + reach.nodes, np.arange(2 * whole, len(normal))])
        normal = normal[np.ix_(unknown, unknown)]
        self._noise = max(noise, _MIN_NOISE)
        variance = _NOISE_FACTOR * self._noise**2
        prior, head = variance * reach.precision, grid.unit * reach.head
        pulled = product(head.reshape(-1, count), prior).reshape(HEAD_UNKNOWNS, 2 * count)
        tie = np.diag([_RIDGE] * 4 + [variance / _TURN_SD**2] * 2)  # shift, dilation and rotation are free
        cover = inverse(product(head.reshape(HEAD_UNKNOWNS, -1), pulled.T) + tie)
        self._prior, self._cover = prior.astype(np.float32), cover.astype(np.float32)
        self._head = pulled.astype(np.float32)
        normal[:count, :count] += self._prior
        normal[count : 2 * count, count : 2 * count] += self._prior
        normal[: 2 * count, : 2 * count] -= product(self._head.T, product(self._cover, self._head))
        self._light_prior = variance / _LIGHT_SD**2
        normal[np.diag_indices(len(normal))] += np.repeat(
            [_RIDGE, self._light_prior], [2 * count, len(normal) - 2 * count]
        )
        self._inverse, self._variance = inverse(normal), variance

    def certainty(self, pool: Float32Array) -> Float32Array:
        """Share of the prior variance of each region's motion that a registration removes: ``(R,)`` in [0, 1]."""
        reach, count = self._reach, len(self._reach.nodes)
        pool = pool[:, reach.nodes] + product(pool[:, reach.rest], reach.carry)
        prior = (product(pool.astype(np.float64), reach.covariance) * pool).sum(axis=1)
        left = [
            self._variance * (product(pool, self._inverse[at : at + count, at : at + count]) * pool).sum(axis=1)
            for at in (0, count)
        ]
        share = np.clip(1 - np.mean(left, axis=0) / np.maximum(prior, _LEAST_PRIOR), 0, 1)
        return np.asarray(share, np.float32)

    def model(self) -> Model:
        """What frames are registered against now; it goes on to learn with the anchor."""
        reach = self._reach
        return Model(
            Template(self.template, self._gradient, self._span), self.weight, reach.nodes, reach.rest, reach.carry,
            self._inverse, self._prior, self._head, self._cover, self._light_prior,
        )  # fmt: skip

    def kept(self) -> Model:
        """What frames are registered against now, for good."""
        model = self.model()
        picture, gradient, span = model.template
        return model._replace(template=Template(picture.copy(), gradient.copy(), span))

    def reduced(self, grid: Grid, *, weight: Float32Array, noise: float) -> Anchor:
        """The same template at the resolution of a coarser grid."""
        whole = Picture(self.template, Similarity(self.grid.unit, -complex(LEFT, TOP) * self.grid.unit))
        picture = reduced(whole, self.grid, coarse=grid, px_per_pixel=1.0)
        return Anchor(picture, grid=grid, similarity=Similarity(1, 0), weight=weight, noise=noise)

    def learn(self, match: Match, *, share: float, noise: float) -> None:
        """Mix a registered frame into the template, as far as it agrees with it."""
        mix(self.template, match.residual, np.float32(share), np.float32(_LEARN * max(noise, _MIN_NOISE)))
        derivatives(self.template, self._gradient)


def register(
    picture: Picture,
    start: Pose,
    *,
    model: Model,
    grid: Grid,
    steps: int,
    tolerance: float,
    noise: float,
    centre: Float32Array | None = None,
) -> tuple[Pose, Match]:
    """Refine a pose by Gauss-Newton: ``steps`` steps, fewer once nothing moves by ``tolerance`` (face units).

    The motion of the head stays in the local displacement: its similarity and turn are those of the start.
    """
    unit = np.float32(grid.unit)
    still, turn = _still(grid, picture, start)
    nodes, light = start.nodes * unit, start.light.copy()
    centre = np.zeros_like(nodes) if centre is None else centre * unit
    residual, used = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    contrast, _ = gauss_newton(
        Frame(picture.values, still, turn), model, grid.basis, centre, _HUBER * max(noise, _MIN_NOISE), steps,
        tolerance * grid.unit, Unknowns(nodes, light), residual, used,
    )  # fmt: skip
    return Pose(start.similarity, nodes / unit, start.turn, light, contrast), Match(residual, used, contrast)


def _still(grid: Grid, picture: Picture, pose: Pose) -> tuple[Float32Array, Float32Array]:
    """Where the spline nodes lie in the picture without displacement, and its pixels per canonical pixel."""
    warp = picture.to_picture @ pose.similarity
    z = warp.scale * (grid.places + complex(*pose.turn.tolist()) * grid.head[4, 0]) + warp.shift
    scale = warp.scale / grid.unit
    return np.array([z.real, z.imag], np.float32), np.array([scale.real, scale.imag], np.float32)


def _spans(weight: Float32Array) -> Int32Array:
    """First column of each row that has a weight, and the end of the last: ``(rows, 2)``."""
    some = weight.astype(np.bool_)
    first, behind = some.argmax(axis=1), some.shape[1] - some[:, ::-1].argmax(axis=1)
    behind = np.where(weight.max(axis=1) > 0, behind, first)
    return np.stack([first, behind], axis=-1).astype(np.int32)
