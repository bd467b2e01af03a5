"""The motion of a recording, as a value: what stages 1 to 3 found, and what analyses and features hold.

It stands here and not in :mod:`metst.motion`, which measures it: tables, reports and training only read it, and need
nothing of the tracker to do so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from metst.arrays import AnyArray, BoolArray, Float32Array, IntArray
from metst.errors import DataError
from metst.regions import AXES
from metst.results.flags import Flags
from metst.timeline import Series, TimeGrid

FACE_CHANNELS = ("left", "top", "right", "bottom", "eye_left_x", "eye_left_y", "eye_right_x", "eye_right_y")
"""Box of the face and the two eye centres, pixels of the recording; left is the left of the picture."""

HEAD_CHANNELS = ("shift_x", "shift_y", "log_scale", "roll")
"""How the head moved: face units, and radians for the roll."""

UNKNOWN: Final = {"quality": 0, "conditions": 0, "centres": np.nan, "face_px": np.nan, "head": np.nan,
                  "face_quality": 0}  # fmt: skip
"""What each array of a :class:`Motion` holds in a frame without motion, and where it was not kept."""


def frame_shapes(regions: int) -> dict[str, tuple[int, ...]]:
    """Shape of one frame's values in each array of a :class:`Motion`."""
    return {
        "quality": (regions,),
        "conditions": (regions,),
        "centres": (regions, len(AXES)),
        "face_px": (),
        "head": (len(HEAD_CHANNELS),),
        "face_quality": (),
    }


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion of one video of ``T`` frames.

    Parameters
    ----------
    displacement : Series, values (T, 18, 2) float32
        Displacement (x to the image's right, y down) of each region in the aligned face since the start of its valid
        stretch, in face units: 1 is the distance of the outer eye corners.  A stretch of valid frames is chained; one
        after a gap starts again from zero or goes on, so differences across a gap mean nothing.
    quality : (T, 18) float32
        In [0, 1]; 0 where invalid: how well a region's texture determines its motion, times how well the frame agrees
        with the template there (occlusion, blur, blinks lower it), times how well fresh landmarks agree.
    conditions : (T, 18) uint8
        Sets of :class:`metst.results.Condition`: what may make motion look different from what it is.
    centres : (T, 18, 2) float32
        Centres of the regions, pixels of the recording; NaN where invalid.
    face_px : (T,) float32
        Face unit in pixels of the recording; NaN where invalid, or where it was not kept: no table holds it.
    head : (T, 4) float32
        :data:`HEAD_CHANNELS` of the head since the start of the valid stretch; NaN as ``face_px``.
    face : Series, values (T, 8) float32
        Channels :data:`FACE_CHANNELS`.
    face_quality : (T,) float32
        Quality of the face track, in [0, 1].
    reason : tuple of T str
        Why a frame could not be used (``"no face"``); empty when it could.

    Raises
    ------
    DataError
        The parts do not belong together.
    """

    displacement: Series
    quality: Float32Array
    conditions: Flags
    centres: Float32Array
    face_px: Float32Array
    head: Float32Array
    face: Series
    face_quality: Float32Array
    reason: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in UNKNOWN.keys() - {"conditions"}:
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float32))
        count, regions = len(self.displacement), len(self.displacement.channels)
        expected = {name: (count, *shape) for name, shape in frame_shapes(regions).items()}
        got: dict[str, tuple[int, ...]] = {name: getattr(self, name).shape for name in expected}
        expected |= {"displacement": (count, regions, len(AXES)), "face": (count, len(FACE_CHANNELS)),
                     "reason": (count,)}  # fmt: skip
        got |= {"displacement": self.displacement.values.shape, "face": self.face.values.shape,
                "reason": (len(self.reason),)}  # fmt: skip
        for name, shape in expected.items():
            if got[name] != shape:
                raise DataError(f"motion of {count} frames needs {name} of shape {shape}, got {got[name]}")
        if self.face.channels != FACE_CHANNELS:
            raise DataError(f"face channels must be {', '.join(FACE_CHANNELS)}; got {', '.join(self.face.channels)}")

    @classmethod
    def bare(cls, displacement: Series, *, quality: Float32Array, reason: str = "not measured") -> Motion:
        """Motion of which no more than this is known; ``reason`` for all frames without it."""
        grid, shapes = displacement.grid, frame_shapes(len(displacement.channels))
        nowhere = np.full((len(grid), len(FACE_CHANNELS)), np.nan, np.float32)

        def unknown(name: str) -> Float32Array:
            return np.full((len(grid), *shapes[name]), UNKNOWN[name], np.float32)

        return cls(
            displacement=displacement,
            quality=quality,
            conditions=unknown("conditions").astype(np.uint8),
            centres=unknown("centres"),
            face_px=unknown("face_px"),
            head=unknown("head"),
            face=Series(grid, nowhere, np.zeros(len(grid), np.bool_), FACE_CHANNELS),
            face_quality=unknown("face_quality"),
            reason=tuple("" if valid else reason for valid in displacement.valid.tolist()),
        )

    def __len__(self) -> int:
        return len(self.displacement)

    def __repr__(self) -> str:
        regions, usable = len(self.displacement.channels), np.count_nonzero(self.usable)
        return f"Motion({len(self)} frames, {regions} regions; {usable} frames usable)"

    @property
    def grid(self) -> TimeGrid:
        """Timestamps of the ``T`` frames."""
        return self.displacement.grid

    @property
    def usable(self) -> BoolArray:
        """(T,) true where the frame could be used."""
        return np.array([not reason for reason in self.reason], dtype=bool)

    def placed(self, frames: IntArray, *, grid: TimeGrid, reason: str) -> Motion:
        """The same motion at ``frames`` (T,) of a longer recording; ``reason`` for those between, which have none."""

        def spread(values: AnyArray, fill: float) -> AnyArray:
            whole = np.full((len(grid), *values.shape[1:]), fill, values.dtype)
            whole[frames] = values
            return whole

        def series(part: Series) -> Series:
            return Series(grid, spread(part.values, np.nan), spread(part.valid, False), part.channels)

        reasons = [reason] * len(grid)
        for frame, own in zip(frames.tolist(), self.reason, strict=True):
            reasons[frame] = own
        return Motion(
            displacement=series(self.displacement),
            quality=spread(self.quality, UNKNOWN["quality"]),
            conditions=spread(self.conditions, UNKNOWN["conditions"]),
            centres=spread(self.centres, UNKNOWN["centres"]),
            face_px=spread(self.face_px, UNKNOWN["face_px"]),
            head=spread(self.head, UNKNOWN["head"]),
            face=series(self.face),
            face_quality=spread(self.face_quality, UNKNOWN["face_quality"]),
            reason=tuple(reasons),
        )


@dataclass(frozen=True, eq=False)
class Measured:
    """What stages 1 to 3 found in a recording: its motion, and what was wrong while it was decoded.

    ``changed``: somebody wrote to it meanwhile, so that nobody knows what content this is the motion of.
    """

    motion: Motion
    problems: tuple[str, ...] = ()
    changed: bool = False
