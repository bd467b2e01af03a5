"""What is known right now, for a display: one small value that is kept up to date frame by frame."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

from metst.arrays import Float32Array
from metst.config import DecodeSettings
from metst.decode import SPOT
from metst.live.rows import EventRow
from metst.motion import MotionFrame
from metst.regions import REGION_NAMES
from metst.stream import Stream, Update

HISTORY_S = 10.0
"""Seconds of scores that are shown; set by hand."""

MOVED_WITHIN_S = 0.5
"""Regions are shown by how far they moved within this time, seconds; set by hand."""

# Set by hand.
_EVENTS_SHOWN = 6  # the last
_REGIONS_SHOWN = 3  # that moved most
_RATE_FRAMES = 60  # over which the speed is taken: two seconds at 30 frames/s
_ARROWS = "→↘↓↙←↖↑↗"  # by eighths of a turn, clockwise in the picture


@dataclass(frozen=True)
class Movement:
    """How far a region moved lately: per cent of the distance of the outer eye corners, and an arrow."""

    region: str
    percent: float
    arrow: str


@dataclass(eq=False)
class Status:
    """State of a live run.

    Parameters
    ----------
    source, model : str
        What is watched and with which model.
    threshold : float
        Score a peak has to reach.
    min_quality : float
        A region measured with less is not shown.
    """

    source: str
    model: str
    threshold: float
    min_quality: float
    frames: int = 0
    dropped: int = 0
    first_s: float = math.nan
    time_s: float = math.nan
    reason: str = "no face yet"
    quality: float = 0.0
    eye_px: float = math.nan
    score: float = math.nan
    behind_s: float = math.nan
    moving: tuple[Movement, ...] = ()
    history: deque[tuple[float, float]] = field(default_factory=deque)
    events: deque[EventRow] = field(default_factory=lambda: deque(maxlen=_EVENTS_SHOWN))
    event_count: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    _past: deque[MotionFrame] = field(default_factory=deque)
    _done: deque[float] = field(default_factory=lambda: deque(maxlen=_RATE_FRAMES))

    @classmethod
    def of(cls, stream: Stream, *, source: str) -> Status:
        """The state before the first frame."""
        info = stream.model.info
        rule = info.decode_live
        assert isinstance(rule, DecodeSettings)  # a stream takes no other
        return cls(source, info.name, threshold=rule.peak_threshold, min_quality=info.input.min_quality)

    @property
    def elapsed_s(self) -> float:
        """Seconds of the source that were seen."""
        return self.time_s - self.first_s if self.frames else 0.0

    @property
    def rate_hz(self) -> float:
        """Frames that were processed in the last second or two, per second."""
        span_s = self._done[-1] - self._done[0] if len(self._done) > 1 else 0.0
        return (len(self._done) - 1) / span_s if span_s else 0.0

    def add(self, update: Update, *, rows: list[EventRow], behind_s: float) -> None:
        """Take in what one more frame made known; ``behind_s`` is how old its last final score is."""
        if update.motion is not None:
            self._see(update.motion)
        for time_s, score in zip(update.scores.grid.time_s, update.scores.channel(SPOT), strict=True):
            self.score = float(score)
            self.history.append((float(time_s), self.score))
        while self.history and self.history[0][0] < self.history[-1][0] - HISTORY_S:
            self.history.popleft()
        self.behind_s = behind_s
        self.events.extend(rows)
        self.event_count += len(rows)

    def _see(self, motion: MotionFrame) -> None:
        self.first_s = self.first_s if self.frames else motion.time_s
        self.frames, self.time_s = self.frames + 1, motion.time_s
        self.reason, self.quality, self.eye_px = motion.reason, motion.face_quality, motion.face_px
        self.reasons[motion.reason] += 1
        self._done.append(time.monotonic())
        if not motion.valid:
            self._past.clear()
        else:
            self._past.append(motion)
            while self._past[0].time_s < motion.time_s - MOVED_WITHIN_S:
                self._past.popleft()
        self.moving = self._movements()

    def _movements(self) -> tuple[Movement, ...]:
        """The regions that moved farthest since the oldest frame kept, the farthest first."""
        if len(self._past) < 2:
            return ()
        now = self._past[-1]
        moved = now.displacement - self._past[0].displacement
        far = np.where(now.quality >= self.min_quality, np.linalg.norm(moved, axis=1), 0.0)
        return tuple(_movement(int(i), moved[i]) for i in np.argsort(-far)[:_REGIONS_SHOWN] if far[i] > 0)


def _movement(region: int, moved: Float32Array) -> Movement:
    x, y = moved.tolist()
    eighth = round(math.atan2(y, x) / (math.pi / 4)) % len(_ARROWS)
    return Movement(REGION_NAMES[region], 100 * math.hypot(x, y), _ARROWS[eighth])
