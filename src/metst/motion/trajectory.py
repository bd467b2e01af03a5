"""Trajectory mode, the default: the motion of the 18 regions of a whole video in one pass.

One registration per frame serves all regions (:mod:`metst.motion.tracker`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from metst.config import MotionSettings
from metst.face import FaceFrame
from metst.motion.registration import Float32
from metst.motion.tracker import MotionFrame, MotionTracker
from metst.regions import AXES, REGION_NAMES
from metst.results import FACE_CHANNELS
from metst.timeline import Series, TimeGrid

_DEFAULTS = MotionSettings()


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion of one video.

    Parameters
    ----------
    displacement : Series, values (T, 18, 2) float32
        Displacement (x to the image's right, y down) of each region in the aligned face since the start of its valid
        stretch, in face units: 1 is the distance of the outer eye corners.  A stretch of valid frames is chained; one
        after a gap starts again from zero or goes on, so differences across a gap mean nothing.
    quality : (T, 18) float32
        In [0, 1]; 0 where invalid: how well a region's texture determines its motion, times how well the frame agrees
        with the template there (occlusion, blur, blinks lower it), times how well fresh landmarks agree.
    face_px : (T,) float32
        Face unit in source pixels; NaN where invalid.
    head : (T, 4) float32
        Shift x, y (face units), log scale and roll (radians) of the head since the start of the valid stretch.
    face : Series, values (T, 8) float32
        Box left, top, right, bottom and the two eye centres (x, y), source pixels.
    face_quality : (T,) float32
        Quality of the face track.
    reason : tuple of str
        Why a frame has no motion; empty when it has.
    """

    displacement: Series
    quality: Float32
    face_px: Float32
    head: Float32
    face: Series
    face_quality: Float32
    reason: tuple[str, ...]


def extract_motion(
    track: Iterable[FaceFrame],
    *,
    settings: MotionSettings = _DEFAULTS,
    total: int | None = None,
    on_progress: Callable[[str, int, int | None], None] | None = None,
) -> Motion:
    """Measure the motion of the 18 regions over one video, in one pass over its frames.

    Parameters
    ----------
    track : iterable of FaceFrame
        Stage 2's face track, in order of time; each frame is read once and then forgotten.
    settings : MotionSettings
        How long anchors live and how fast they learn.
    total : int, optional
        Number of frames, for the progress only.
    on_progress : callable, optional
        Called as ``on_progress("motion", done, total)``.

    Raises
    ------
    DataError
        The frames' timestamps do not increase.
    """
    tracker = MotionTracker(settings)
    rows: list[MotionFrame] = []
    for face_frame in track:
        rows.append(tracker.update(face_frame))
        if on_progress is not None:
            on_progress("motion", len(rows), total)
    return _collect(rows)


def _collect(rows: list[MotionFrame]) -> Motion:
    """Rows of frames as arrays over time."""
    grid = TimeGrid(np.array([row.time_s for row in rows], np.float64))
    valid = np.array([row.valid for row in rows], bool)
    regions = len(REGION_NAMES)
    displacement = np.array([row.displacement for row in rows], np.float32).reshape(-1, regions, len(AXES))
    face = np.array([row.face for row in rows], np.float32).reshape(-1, len(FACE_CHANNELS))
    return Motion(
        displacement=Series(grid, displacement, valid, REGION_NAMES),
        quality=np.array([row.quality for row in rows], np.float32).reshape(-1, regions),
        face_px=np.array([row.face_px for row in rows], np.float32),
        head=np.array([row.head for row in rows], np.float32).reshape(-1, 4),
        face=Series(grid, face, np.array(np.isfinite(face).all(axis=1)), FACE_CHANNELS),
        face_quality=np.array([row.face_quality for row in rows], np.float32),
        reason=tuple(row.reason for row in rows),
    )
