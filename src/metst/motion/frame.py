"""What is known of one frame: the row of a result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metst.arrays import Float32Array
from metst.motion.conditions import outside_picture
from metst.regions import REGIONS
from metst.results.flags import Flags

if TYPE_CHECKING:
    from metst.face import FaceFrame


@dataclass(frozen=True, eq=False)
class MotionFrame:
    """Motion of one frame.

    Parameters
    ----------
    index : int
        Frame of the source video.
    time_s : float
    displacement : (18, 2) float32
        Face units since the start of the segment; NaN where nothing was measured.
    quality : (18,) float32
        In [0, 1].
    conditions : (18,) uint8
        Sets of :class:`metst.results.Condition`.
    centres : (18, 2) float32
        Centres of the regions, source pixels; NaN where nothing was measured.
    face_px : float
        Face unit in source pixels; NaN where nothing was measured.
    head : (4,) float32
        Shift x, y (face units), log scale, roll (radians) since the start of the segment.
    face : (8,) float32
        Box left, top, right, bottom and centres of the two eyes (x, y), source pixels.
    face_quality : float
    reason : str
        Why there is no motion; empty when there is.
    """

    index: int
    time_s: float
    displacement: Float32Array
    quality: Float32Array
    conditions: Flags
    centres: Float32Array
    face_px: float
    head: Float32Array
    face: Float32Array
    face_quality: float
    reason: str

    @property
    def valid(self) -> bool:
        """Whether motion was measured."""
        return not self.reason


def unmeasured(face_frame: FaceFrame, reason: str) -> MotionFrame:
    """Row of a frame without motion."""
    face, shape = face_frame.face, face_frame.frame.grey.shape
    unseen = np.zeros(len(REGIONS), np.uint8)
    return MotionFrame(
        index=face_frame.frame.index,
        time_s=face_frame.frame.time_s,
        displacement=np.full((len(REGIONS), 2), np.nan, np.float32),
        quality=np.zeros(len(REGIONS), np.float32),
        conditions=unseen if face is None else outside_picture(face.landmarks, shape=shape),
        centres=np.full((len(REGIONS), 2), np.nan, np.float32),
        face_px=math.nan,
        head=np.full(4, np.nan, np.float32),
        face=face_row(face_frame),
        face_quality=face_frame.quality,
        reason=reason or "no face",
    )


def face_row(face_frame: FaceFrame) -> Float32Array:
    """Box and eye centres; NaN without a face."""
    face = face_frame.face
    if face is None:
        return np.full(8, np.nan, np.float32)
    eyes = face.landmarks[36:48].reshape(2, 6, 2).mean(axis=1)  # two eyes of six landmarks
    return np.concatenate([face.box, eyes.ravel()]).astype(np.float32)
