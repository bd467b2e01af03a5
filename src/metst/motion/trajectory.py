"""Trajectory mode, the default: the motion of the 18 regions of a whole video in one pass.

One registration per frame serves all regions (:mod:`metst.motion.tracker`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from metst.arrays import AnyArray
from metst.config import MotionSettings
from metst.motion.conditions import backdated
from metst.motion.tracker import MotionTracker
from metst.regions import AXES, REGION_NAMES
from metst.results.motion import FACE_CHANNELS, HEAD_CHANNELS, Motion
from metst.timeline import Series, TimeGrid

if TYPE_CHECKING:
    from metst.face import FaceFrame
    from metst.motion.frame import MotionFrame

_DEFAULTS = MotionSettings()  # see metst.config


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
    tracker, rows = MotionTracker(settings), _Rows()
    for done, face_frame in enumerate(track, start=1):
        rows.append(tracker.update(face_frame))
        if on_progress is not None:
            on_progress("motion", done, total)
    return _collect(rows)


_BLOCK = 1024
"""Frames that are put by together: half a megabyte.  Set by hand; it decides nothing that is computed."""

_ROW = np.dtype(
    [
        ("time_s", np.float64),
        ("valid", np.bool_),
        ("displacement", np.float32, (len(REGION_NAMES), len(AXES))),
        ("quality", np.float32, len(REGION_NAMES)),
        ("conditions", np.uint8, len(REGION_NAMES)),
        ("centres", np.float32, (len(REGION_NAMES), len(AXES))),
        ("face_px", np.float32),
        ("head", np.float32, len(HEAD_CHANNELS)),
        ("face", np.float32, len(FACE_CHANNELS)),
        ("face_quality", np.float32),
    ]
)
"""What is kept of a frame, under the names of :class:`MotionFrame`."""


class _Rows:
    """Rows of frames, packed: half a kilobyte each, so that long videos take little memory."""

    def __init__(self) -> None:
        self._blocks: list[npt.NDArray[np.void]] = []
        self.reasons: list[str] = []

    def append(self, row: MotionFrame) -> None:
        """Add the next frame."""
        at = len(self.reasons) % _BLOCK
        if at == 0:
            self._blocks.append(np.empty(_BLOCK, _ROW))
        assert _ROW.names is not None
        self._blocks[-1][at] = tuple(getattr(row, name) for name in _ROW.names)
        self.reasons.append(sys.intern(row.reason))

    def column(self, name: str) -> AnyArray:
        """One value of all frames, as an array of its own."""
        empty = np.empty(0, _ROW)[name]
        joined = np.concatenate([empty, *(block[name] for block in self._blocks)])
        return joined[: len(self.reasons)]


def _collect(rows: _Rows) -> Motion:
    """Rows of frames as arrays over time."""
    grid, face = TimeGrid(rows.column("time_s")), rows.column("face")
    return Motion(
        displacement=Series(grid, rows.column("displacement"), rows.column("valid"), REGION_NAMES),
        quality=rows.column("quality"),
        conditions=backdated(rows.column("conditions"), time_s=grid.time_s),
        centres=rows.column("centres").round(2),
        face_px=rows.column("face_px"),
        head=rows.column("head"),
        face=Series(grid, face, np.array(np.isfinite(face).all(axis=1)), FACE_CHANNELS),
        face_quality=rows.column("face_quality"),
        reason=tuple(rows.reasons),
    )
