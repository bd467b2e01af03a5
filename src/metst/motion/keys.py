"""How the face looked in a few poses, kept while it is followed, so that displacement does not drift.

Each new anchor takes over what was displaced before, and with it the error of that; alone, the errors of thousands of
anchors would add up.  So a few earlier looks stay.  When the anchor is renewed and the face is in a pose that it was
in before, it is registered against that look as well: the displacement that then comes out has gone through one anchor
only, whatever has happened since.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from metst.arrays import Float32Array, UInt8Array
from metst.guard.kernels import kernel
from metst.motion.algebra import product
from metst.motion.anchor import Pose, register, still_pose
from metst.motion.canonical import Grid
from metst.motion.picture import Similarity, make_picture
from metst.motion.registration import Model
from metst.motion.template import SparseMasks
from metst.regions import REGIONS

if TYPE_CHECKING:
    from metst.motion.head import HeadFit

# Where no origin is named, a number was set by hand: see metst.motion.
_MOST_KEYS = 8  # about a megabyte each
_NEAR_TURN, _NEAR_SCALE = 0.12, 0.12  # face units at unit depth, and log of the size, up to which a look is compared
_TRIED = 2  # looks that are compared, the nearest
_ROUNDS, _STEPS, _TOLERANCE = 2, 6, 1e-3  # registrations, steps of each, and face units at which steps end
_SAME_FIT = 0.8  # share of the look that the frame explains
_FORGOTTEN_S = 300.0  # without being seen again, after which a look gives way to a new one
_SURE = 0.5  # agreement of a region with a look, from which on what it says counts
# Speed at which an error is given back: face units a second, too slow for a movement, and the share of a region's own
# motion, no more than motion comes out too small by.
_BACK_PER_S, _BACK_SHARE = 0.004, 0.1
_LEAST = 1e-9  # face units, against a division by 0


@dataclass(frozen=True, eq=False)
class KeyFace:
    """One look.

    Parameters
    ----------
    model : Model
        What frames are registered against; its template no longer learns.
    head_fit : HeadFit
    px_per_pixel : float
        Source pixels per canonical pixel.
    pool : (18, K) float32
        Weights of the spline coefficients in the displacement of each region.
    masks : SparseMasks
        Of the regions.
    turn : (2,) float32
        Yaw and pitch terms since the start of the segment, face units at unit depth.
    displacement : (18, 2) float32
        Of the regions since the start of the segment, face units.
    """

    model: Model
    head_fit: HeadFit
    px_per_pixel: float
    pool: Float32Array
    masks: SparseMasks
    turn: Float32Array
    displacement: Float32Array


@dataclass(frozen=True, eq=False)
class Sighting:
    """A look that was seen again: what it says about the frame.

    Parameters
    ----------
    displacement : (18, 2) float32
        Of the regions since the start of the segment, face units.
    agreement : (18,) float32
        How well the frame agrees with the look in each region, in [0, 1].
    turn : (2,) float32
        Yaw and pitch terms since the start of the segment.
    """

    displacement: Float32Array
    agreement: Float32Array
    turn: Float32Array


def _nothing() -> Float32Array:
    return np.zeros((len(REGIONS), 2), np.float32)


@dataclass(eq=False)
class Correction:
    """What displacement is off by, and is given back so slowly that it does not look like a movement.

    Parameters
    ----------
    owed : (18, 2) float32
        Still to be taken off, face units.
    given : (18, 2) float32
        What was added to the displacement since the anchor was placed, face units.
    local : (18, 2) float32
        Displacement since the anchor was placed, as it was measured, face units.
    """

    owed: Float32Array = field(default_factory=_nothing)
    given: Float32Array = field(default_factory=_nothing)
    local: Float32Array = field(default_factory=_nothing)

    def advance(self, local: Float32Array, *, elapsed_s: float) -> None:
        """Give back a part, as ``local`` was measured ``elapsed_s`` after the last."""
        _give_back(self.owed, self.given, self.local, local, _BACK_PER_S * elapsed_s)
        self.local = local

    def renew(self) -> None:
        """A new anchor has taken over the displacement."""
        self.given, self.local = _nothing(), _nothing()

    def settle(self, displacement: Float32Array, seen: Sighting) -> None:
        """Compare the displacement ``(18, 2)`` with what a look that was seen again says."""
        sure = seen.agreement[:, None] >= _SURE
        self.owed = np.where(sure, displacement - seen.displacement, self.owed)


@kernel()
def _give_back(owed: Float32Array, given: Float32Array, before: Float32Array, local: Float32Array, most: float) -> None:
    """Take from what is ``owed`` and ``given`` at most ``most``, and a share of what moved since ``before``."""
    for region in range(len(owed)):
        x, y = local[region, 0] - before[region, 0], local[region, 1] - before[region, 1]
        allowed = most + _BACK_SHARE * math.sqrt(x * x + y * y)
        size = math.sqrt(owed[region, 0] * owed[region, 0] + owed[region, 1] * owed[region, 1])
        share = allowed / max(size, allowed + _LEAST)
        for axis in range(2):
            part = np.float32(share * owed[region, axis])
            owed[region, axis] -= part
            given[region, axis] -= part


@dataclass(eq=False)
class _Kept:
    key: KeyFace
    seen_s: float


class KeyFaces:
    """The looks of one segment, at most eight.

    Parameters
    ----------
    grid : Grid
        On which they are compared.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._kept: list[_Kept] = []

    def keep(self, key: KeyFace, *, time_s: float) -> None:
        """Keep one more; when there are enough, in the place of one that was not seen for long, else not at all."""
        if len(self._kept) >= _MOST_KEYS:
            oldest = min(self._kept, key=lambda kept: kept.seen_s)
            if time_s - oldest.seen_s < _FORGOTTEN_S:
                return
            self._kept.remove(oldest)
        self._kept.append(_Kept(key, time_s))

    def seen(
        self, grey: UInt8Array, *, similarity: Similarity, turn: Float32Array, time_s: float, noise: float
    ) -> Sighting | None:
        """Look for the face of a frame among those that are kept.

        Parameters
        ----------
        grey : (H, W) uint8
            The frame.
        similarity : Similarity
            Canonical face units to its pixels.
        turn : (2,) float32
            Yaw and pitch terms since the start of the segment.
        time_s : float
            Its timestamp.
        noise : float
            Standard deviation of the residual, grey levels.

        Returns
        -------
        Sighting or None
            None where it looks like none of them.
        """
        unit_px = abs(similarity.scale)
        near = sorted(
            (distance, number)
            for number, kept in enumerate(self._kept)
            if (distance := self._distance(kept.key, unit_px=unit_px, turn=turn)) < 1
        )
        for _, number in near[:_TRIED]:
            kept = self._kept[number]
            found = self._compare(kept.key, grey, similarity=similarity, turn=turn, noise=noise)
            if found is not None:
                kept.seen_s = time_s
                return found
        return None

    def _distance(self, key: KeyFace, *, unit_px: float, turn: Float32Array) -> float:
        """How far a pose is from that of a look; under 1 the two are compared."""
        scale = abs(math.log(unit_px / (self._grid.unit * key.px_per_pixel)))
        return max(scale / _NEAR_SCALE, float(np.abs(turn - key.turn).max()) / _NEAR_TURN)

    def _compare(
        self, key: KeyFace, grey: UInt8Array, *, similarity: Similarity, turn: Float32Array, noise: float
    ) -> Sighting | None:
        grid, still = self._grid, still_pose(self._grid, similarity)
        pose = Pose(similarity, still.nodes, turn - key.turn, still.light)
        for _ in range(_ROUNDS):
            picture = make_picture(grey, pose.similarity, grid=grid, px_per_pixel=key.px_per_pixel)
            found, match = register(
                picture, pose, model=key.model, grid=grid, steps=_STEPS, tolerance=_TOLERANCE, noise=noise
            )
            if not match.explained(key.model) >= _SAME_FIT:
                return None
            pose = key.head_fit.separated(found, last_turn=pose.turn)
        local = product(key.pool, pose.nodes.reshape(2, -1).T)
        return Sighting(
            key.displacement + local, match.by_region(key.model, key.masks, noise=noise), key.turn + pose.turn
        )
