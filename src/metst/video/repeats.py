"""Frames that repeat the picture before them, as cameras and converters put them in for lost ones."""

from __future__ import annotations

import cv2
import numpy as np

from metst.arrays import Image
from metst.video.clock import Report

# Where no origin is named, a number was set by hand.
_FREEZE_S = 0.15  # a repeat this late is a freeze; a film of 8 pictures a second does not get there
_TOLERATED_SHARE = 0.02  # of frames, outside freezes
_MOVED_LEVELS = 20  # grey levels at some edge; encoding the same picture anew changes less
_LOOK_AT_ROWS = 32  # one row in so many tells most pictures apart


class Repeats:
    """Counts repeats in a stream of grey pictures, in constant memory.

    A picture that stands still to the end is a still, not a fault: only what moves on afterwards counts.
    """

    def __init__(self) -> None:
        self._last: Image | None = None
        self._frames = self._repeats = self._pending = self._freezes = 0
        self._new_s = self._last_s = 0.0
        self._longest_s = self._longest_at_s = 0.0

    def ends_freeze(self, picture: Image, *, time_s: float) -> bool:
        """Whether this next picture is the first new one after a freeze."""
        self._frames += 1
        last, self._last = self._last, picture
        stood_s, self._last_s = self._last_s - self._new_s, time_s
        if last is not None and _equal(last, picture):
            self._pending += 1
            return False
        if self._pending and last is not None and not _has_moved(last, picture):
            self._pending = 0  # a still, encoded anew
        self._repeats += self._pending
        froze = self._pending > 0 and stood_s >= _FREEZE_S
        self._freezes += froze
        if froze and stood_s > self._longest_s:
            self._longest_s, self._longest_at_s = stood_s, self._new_s
        self._pending, self._new_s = 0, time_s
        return froze

    def close(self, report: Report) -> None:
        """Report what was counted when it is more than an odd frame."""
        if not self._freezes and self._repeats <= _TOLERATED_SHARE * self._frames:
            return
        message = f"{self._repeats} of {self._frames} frames repeat the picture before them"
        if self._freezes:
            message += (
                f"; the picture freezes {self._freezes} time(s), the longest for {self._longest_s:.2f} s "
                f"from {self._longest_at_s:.3f} s"
            )
        report("repeats", f"{message}: movements there are missing or come late")


def _has_moved(one: Image, other: Image) -> bool:
    if one.shape != other.shape:
        return True
    return int(cv2.absdiff(one[::_LOOK_AT_ROWS], other[::_LOOK_AT_ROWS]).max()) >= _MOVED_LEVELS


def _equal(one: Image, other: Image) -> bool:
    if one.shape != other.shape or not np.array_equal(one[::_LOOK_AT_ROWS], other[::_LOOK_AT_ROWS]):
        return False
    return bool(np.array_equal(one, other))
