"""Frames that repeat the picture before them, as cameras, calls and converters put them in for lost ones.

A repeat that was encoded anew is not equal to the bit.  It is told by how little it changes against what the pictures
before and after it change: movement does not stop within one frame and go on at full speed, a picture that is shown
twice does.  Both edges have to be sharp, since a person who comes to rest does so over several frames.

Where the pictures of a recording hardly differ anyway, as they do of a still scene that is rendered, denoised, recorded
from a screen or coarsely encoded, equal ones tell nothing, and nothing is said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from statistics import median

import cv2

from metst.arrays import Image
from metst.video.clock import Report

# Where no origin is named, a number was set by hand.
_FREEZE_S = 0.15  # a repeat this late is a freeze; a film of 8 pictures a second does not get there
_TOLERATED_SHARE = 0.02  # of frames, outside freezes
_MOVED_LEVELS = 20  # grey levels at some edge; encoding the same picture anew changes less
_OTHER_SCENE_LEVELS = 25.0  # mean grey levels: another scene, against which anything within one is little
_LOOK_AT_ROWS, _MEASURE_ROWS = 32, 4  # one row in so many: for the largest change, and for the mean one
# Of the mean change of other frames.  Planted repeats change by 0.01 to 0.22 of it (H.264 at crf 18 to 28), frames of
# 138 ordinary clips of 14 persons by 0.5 and more, but for one in two hundred.
_REPEATS = 0.25
_USUAL_FRAMES, _LEAST_FRAMES = 8, 4  # whose median is the usual change, and without which nothing is usual yet
_QUIET_FRAMES, _LEAST_QUIET_FRAMES, _QUIET_SHARE = 100, 12, 0.1  # the quietest tenth of so many tells the noise
# Mean grey levels of the usual change.  A still face without noise, or with noise that the encoder (H.264 at crf 23 and
# 30) took out, has at most 0.04, whether it moves a little or not; ordinary clips at crf 18 to 28 have 0.2 and more.
_CLEAR_LEVELS = 0.1
# A scene that stands still of itself does so in this share of the last so many frames at least, by so many mean grey
# levels; of a frozen or repeated picture only what lasts counts among them.
_STILL_SHARE, _STILL_FRAMES, _STILL_LEVELS = 0.3, 500, 0.02
# Mean grey levels from one frozen picture to the next: encoded ones soon have 0 to 0.02, noise of 0.3 has 0.18.
_EQUAL_LEVELS = 0.05
_FULL_SPEED = 0.2  # of the usual change, at least, in the frame before a repeat and in the one after it
_LONGEST_STAND_S = 5.0  # that is taken for a freeze before it ends: after a pan, a face at rest may look like one


class Repeats:
    """Counts repeats in a stream of grey pictures, in constant memory.

    A picture that stands still to the end is a still, not a fault: only what moves on afterwards counts.  While it
    stands, it is taken for frozen where it changes by less than the recording's noise, at most for some seconds.
    """

    def __init__(self) -> None:
        self._last: Image | None = None
        self._usual: deque[float] = deque(maxlen=_USUAL_FRAMES)
        self._changes: deque[float] = deque(maxlen=_QUIET_FRAMES)  # of frames that moved
        self._history: deque[float] = deque(maxlen=_STILL_FRAMES)  # the same, and those of stands
        self._noise = -1.0  # change of the quietest frames, as a stretch began that may be a repeat; below 0: unknown
        self._frames = self._repeats = self._pending = self._freezes = 0
        self._largest = self._smallest = 0.0  # change within the stretch that may be a repeat
        self._stopped_at_once = True
        self._new_s = self._last_s = 0.0
        self._longest_s = self._longest_at_s = 0.0

    def is_frozen(self, picture: Image, *, time_s: float) -> bool:
        """Whether this next picture stands still in a freeze, or is the first new one after it."""
        self._frames += 1
        last, self._last = self._last, picture
        stood_s, self._last_s = self._last_s - self._new_s, time_s
        if last is None or last.shape != picture.shape:
            self._forget_scene()
            self._history.clear()
            return self._moves_on(sharply=True, stood_s=stood_s, time_s=time_s)
        change = _change(last, picture)
        if self._is_low(change):
            self._stand(change)
            long = time_s - self._new_s >= _FREEZE_S
            if long:
                self._history.append(change)
            quiet = self._smallest <= _EQUAL_LEVELS and self._largest <= _REPEATS * self._noise
            return self._stopped_at_once and quiet and long and time_s - self._new_s <= _LONGEST_STAND_S
        sharply = self._pending > 0 and self._goes_on_at_once(change) and _has_moved(last, picture)
        sharply &= self._smallest <= _EQUAL_LEVELS or stood_s < _FREEZE_S
        if change >= _OTHER_SCENE_LEVELS:
            sharply &= self._largest == 0
            self._forget_scene()
        else:
            for changes in (self._usual, self._changes, self._history):
                changes.append(change)
        return self._moves_on(sharply=sharply, stood_s=stood_s, time_s=time_s)

    def _forget_scene(self) -> None:
        self._usual.clear()
        self._changes.clear()

    def _is_low(self, change: float) -> bool:
        usual = median(self._usual) if len(self._usual) >= _LEAST_FRAMES else 0.0
        return usual >= _CLEAR_LEVELS and change <= _REPEATS * usual

    def _stand(self, change: float) -> None:
        if not self._pending:
            before = self._usual[-1]
            at_full_speed = before >= _FULL_SPEED * median(self._usual)
            self._stopped_at_once = at_full_speed and change <= _REPEATS * before and self._is_lively()
            self._largest = self._smallest = change
            known = len(self._changes) >= _LEAST_QUIET_FRAMES
            self._noise = _quantile(self._changes, _QUIET_SHARE) if known else -1.0
        self._pending += 1
        self._largest, self._smallest = max(self._largest, change), min(self._smallest, change)

    def _is_lively(self) -> bool:
        """Whether pictures of the recording differ, but for few: only then does it say something where they do not."""
        return len(self._history) > 0 and _quantile(self._history, _STILL_SHARE) >= _STILL_LEVELS

    def _goes_on_at_once(self, change: float) -> bool:
        fast = change >= _FULL_SPEED * median(self._usual)
        return self._stopped_at_once and fast and self._largest <= _REPEATS * change

    def _moves_on(self, *, sharply: bool, stood_s: float, time_s: float) -> bool:
        """End what has been pending; ``sharply`` tells repeats from a still that is encoded anew, or a rest."""
        pending, self._pending = self._pending if sharply else 0, 0
        self._repeats += pending
        froze = pending > 0 and stood_s >= _FREEZE_S
        self._freezes += froze
        if froze and stood_s > self._longest_s:
            self._longest_s, self._longest_at_s = stood_s, self._new_s
        self._new_s, self._largest = time_s, 0.0
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


def _quantile(values: Collection[float], share: float) -> float:
    return sorted(values)[int(share * len(values))]


def _change(one: Image, other: Image) -> float:
    """Mean change of two pictures of one size, grey levels; 0 only where they are equal."""
    return _mean_change(one[::_MEASURE_ROWS], other[::_MEASURE_ROWS]) or _mean_change(one, other)


def _mean_change(one: Image, other: Image) -> float:
    # One pass: their difference is written nowhere.
    return cv2.norm(one, other, cv2.NORM_L1) * (1 / one.size)


def _has_moved(one: Image, other: Image) -> bool:
    return int(cv2.absdiff(one[::_LOOK_AT_ROWS], other[::_LOOK_AT_ROWS]).max()) >= _MOVED_LEVELS
