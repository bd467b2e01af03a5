"""A preview window: the picture with the landmarks and the score.  Needs an OpenCV that has windows."""

from __future__ import annotations

import cv2
import numpy as np

from metst.arrays import UInt8Array
from metst.errors import UsageError
from metst.live.rows import EventRow
from metst.live.status import Status
from metst.stream import Update

# Set by hand.
_TITLE = "metst live: movement candidates"
_DOT, _LOW, _HIGH, _MARK = (120, 220, 120), (200, 160, 60), (60, 60, 230), (255, 255, 255)  # BGR
_BAR_PX = 12  # height


class Preview:
    """A window beside the terminal.

    Raises
    ------
    UsageError
        This OpenCV has no windows.
    """

    def __init__(self) -> None:
        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise UsageError(
                "this OpenCV cannot open windows (opencv-python-headless): run without --window,"
                " or put opencv-python in its place"
            ) from error

    def take(self, update: Update, *, rows: list[EventRow], status: Status) -> None:  # noqa: ARG002
        """Show the frame that was fed."""
        if update.face is not None:
            cv2.imshow(_TITLE, picture(update, status=status))
            cv2.waitKey(1)

    def close(self) -> None:
        """Close the window."""
        cv2.destroyWindow(_TITLE)


def picture(update: Update, *, status: Status) -> UInt8Array:
    """Frame ``(H, W, 3)`` in BGR with its landmarks, and below it the score as a bar with the threshold."""
    assert update.face is not None
    drawn = cv2.cvtColor(update.face.frame.grey, cv2.COLOR_GRAY2BGR)
    if update.face.face is not None:
        for x, y in update.face.face.landmarks.round().astype(int).tolist():
            cv2.circle(drawn, (x, y), 1, _DOT, -1)
    width = drawn.shape[1]
    bar = np.zeros((_BAR_PX, width, 3), np.uint8)
    score = float(np.nan_to_num(status.score))
    bar[:, : round(score * width)] = _HIGH if score >= status.threshold else _LOW
    bar[:, min(round(status.threshold * width), width - 1)] = _MARK
    return np.vstack([drawn, bar]).astype(np.uint8)
