"""Frames in, scores and finished events out, one frame at a time: stages 2 to 5 in constant memory.

The result is that of :func:`metst.analyze` on the same frames; it only comes piece by piece.  A model that reads
recordings in both directions runs forwards only here, with its ``live_decode``.  Frames are numbered as they are
fed: frame ``i`` is the ``i``-th picture that this stream has seen.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from metst.arrays import FloatArray, IntArray, UInt8Array
from metst.config import AnalyzeSettings, OperatingPoint
from metst.errors import DataError, UsageError
from metst.face import FaceFrame, FaceTracker
from metst.inference import ScoreStream, event_stream
from metst.models.checkpoint import DEFAULT_MODEL, Model, load_model
from metst.motion import MotionFrame, MotionTracker
from metst.regions import REGION_NAMES
from metst.timeline import Intervals, Series, TimeGrid, join_intervals
from metst.video import Frame
from metst.video.guard import PictureGuard
from metst.video.pixels import rgb_to_grey

_R = TypeVar("_R")  # what a stage gives

STAGES = ("face", "motion", "network", "decode")
"""Whose time is taken, in the order of a frame's way."""

_ORDERS = {"bgr": -1, "rgb": 1}  # of the channels: the step that reads them as red, green, blue
_TIMES_KEPT_S = 1.0  # beyond what the decision of an event can take; set by hand


@dataclass(frozen=True, eq=False)
class Update:
    """What one more frame made known.

    Parameters
    ----------
    face : FaceFrame or None
        The face in the frame that was fed; None from :meth:`Stream.close`.
    motion : MotionFrame or None
        The motion in that frame; None from :meth:`Stream.close`.
    scores : Series (n, 1 + K)
        The next ``n`` frames whose scores are final, often earlier ones than the frame that was fed.
    first_frame : int
        Number of the first of these frames.
    events : Intervals
        Movement candidates decided now, in numbers of the frames that were fed.
    event_times_s : (N, 3) float64
        Timestamps of the first, the strongest and the last frame of each of these.
    """

    face: FaceFrame | None
    motion: MotionFrame | None
    scores: Series
    first_frame: int
    events: Intervals
    event_times_s: FloatArray


@dataclass(frozen=True)
class Latency:
    """How long each stage waits for later frames before it answers, at most; computing comes on top.

    Parameters
    ----------
    rate_hz : float
        Frames per second of the network.
    resampling_s : float
        Seconds until the average around a frame of the network is complete and the next frame of the
        network is there, towards which scores are interpolated.
    look_ahead : int
        Frames of the network that its convolutions look ahead, or that a window lasts.
    lag : int
        Frames of the network by which it was trained to answer late.
    event_s : float
        Seconds from the onset of an event until its scores decide it.
    """

    rate_hz: float
    resampling_s: float
    look_ahead: int
    lag: int
    event_s: float

    @property
    def score_s(self) -> float:
        """From a frame to its final score, seconds."""
        return self.resampling_s + (self.look_ahead + self.lag) / self.rate_hz

    @property
    def score_frames(self) -> float:
        """From a frame to its final score, frames of the network."""
        return self.score_s * self.rate_hz

    @property
    def event_total_s(self) -> float:
        """From the onset of an event to its report, seconds."""
        return self.score_s + self.event_s


class Stream:
    """Feed frames, get scores and finished events, in constant memory.

    Parameters
    ----------
    model : str, Path or Model
        Name of a packaged model, a checkpoint folder, or a loaded model.
    operating_point : {"quiet", "balanced", "sensitive"}, optional
        As for :func:`metst.analyze`.
    settings : AnalyzeSettings, optional
        Settings of the face and motion stages.
    landmarks : (T, 68, 2) array, optional
        Landmarks in pixels, in place of the face tracker's, by ``Frame.index``; NaN where there is no face.

    Attributes
    ----------
    problems : list of str
        What was wrong with the pictures of :meth:`feed_picture`, such as repeats: complete after :meth:`close`.

    Raises
    ------
    UsageError
        There is no such model, it has no such operating point, or it cannot run live: a published rule needs the whole
        video.
    CheckpointError, FaceError, DataError
        The model cannot be loaded, the face networks are missing, or the landmarks have another shape.

    Examples
    --------
    >>> stream = metst.Stream()
    >>> for time_s, picture in camera:
    ...     update = stream.feed_picture(picture, time_s=time_s)
    ...     for label, times_s in zip(update.events.label, update.event_times_s):
    ...         print(label, times_s)
    >>> update = stream.close()
    """

    def __init__(
        self,
        *,
        model: str | Path | Model = DEFAULT_MODEL,
        operating_point: OperatingPoint | None = None,
        settings: AnalyzeSettings | None = None,
        landmarks: FloatArray | None = None,
    ) -> None:
        settings = settings or AnalyzeSettings()
        self.model = (model if isinstance(model, Model) else load_model(model)).as_used(point=operating_point)
        self._events = event_stream(self.model)
        self._face = FaceTracker(settings.face, landmarks=landmarks)
        self._motion = MotionTracker(settings.motion)
        self._scores = ScoreStream(self.model)
        self._clock = _Clock(kept_s=self._events.delay_s + _TIMES_KEPT_S)
        self.problems: list[str] = []
        self._guard = PictureGuard(lambda _kind, message: self.problems.append(message))
        self._scored = 0
        self._closed = False
        self._seconds = dict.fromkeys(STAGES, 0.0)

    def feed(self, frame: Frame) -> Update:
        """Take the next frame.

        Parameters
        ----------
        frame : Frame
            Grey ``(H, W)`` uint8, later than the frame before.

        Raises
        ------
        DataError
            The picture is not ``(H, W)`` uint8, or its time is not finite or not later than the last one.
        UsageError
            The stream is closed.
        """
        self._require_open()
        if not _is_grey(frame.grey):
            raise DataError(f"expected a grey picture (H, W) of uint8, got {_described(frame.grey)}: convert it first")
        self._clock.add(frame.time_s)
        face = self._timed("face", lambda: self._face.update(frame))
        motion = self._timed("motion", lambda: self._motion.update(face))
        row = Series(
            TimeGrid(np.array([motion.time_s])), motion.displacement[None], np.array([motion.valid]), REGION_NAMES
        )
        scores = self._timed("network", lambda: self._scores.feed(row, quality=motion.quality[None]))
        events = self._timed("decode", lambda: self._events.feed(scores))
        return self._update(scores, events, face=face, motion=motion)

    def feed_picture(self, picture: UInt8Array, *, time_s: float, order: Literal["bgr", "rgb"] = "bgr") -> Update:
        """Take the next picture, as cameras give it; freezes and combing are looked for, as in files.

        Parameters
        ----------
        picture : (H, W) or (H, W, 3) uint8
            Grey or colour.
        time_s : float
            When it was taken, seconds from any start.
        order : {"bgr", "rgb"}
            Order of the colour channels; OpenCV gives blue, green, red.

        Raises
        ------
        DataError, UsageError
            As :meth:`feed`; an unknown order is a UsageError.
        """
        if order not in _ORDERS:
            raise UsageError(f"unknown order of channels {order!r}: expected 'bgr' or 'rgb'")
        whole = picture
        if _is_colour(picture):
            whole = np.asarray(rgb_to_grey(picture[..., :: _ORDERS[order]]), np.uint8)
        elif not _is_grey(picture):
            raise DataError(f"expected a picture (H, W) or (H, W, 3) of uint8, got {_described(picture)}")
        self._require_open()
        grey, cut = self._guard.take(whole, time_s=time_s)
        return self.feed(Frame(self.frames, time_s, grey, cut))

    def close(self) -> Update:
        """End the stream: what was held back becomes final.

        Raises
        ------
        UsageError
            The stream is closed already.
        """
        self._require_open()
        self._closed = True
        self._guard.close()
        rest = self._timed("network", self._scores.close)
        decided = self._timed("decode", lambda: self._events.feed(rest))
        last = self._timed("decode", self._events.close)
        return self._update(rest, join_intervals([decided, last]), face=None, motion=None)

    @property
    def frames(self) -> int:
        """Frames that were fed."""
        return self._clock.count

    @property
    def stage_seconds(self) -> dict[str, float]:
        """Seconds that each stage has computed so far: face, motion, network, decode."""
        return dict(self._seconds)

    @property
    def latency(self) -> Latency:
        """What each stage holds back."""
        delay, info = self._scores.delay, self.model.info
        lag, rate_hz = info.scoring.lag, info.input.rate_hz
        return Latency(
            rate_hz,
            resampling_s=delay.seconds - delay.frames / rate_hz,
            look_ahead=delay.frames - lag,
            lag=lag,
            event_s=self._events.delay_s,
        )

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels of the scores: ``spot_score`` and one ``p_<class>`` per class."""
        return self._scores.channels

    def _update(
        self, scores: Series, events: Intervals, *, face: FaceFrame | None, motion: MotionFrame | None
    ) -> Update:
        first = self._scored
        self._scored += len(scores)
        frames = np.stack([events.onset, events.apex, events.offset - 1], axis=1)
        times_s = self._clock.at(frames)
        if len(scores):
            self._clock.forget(before_s=float(scores.grid.time_s[-1]))
        return Update(face, motion, scores, first, events, times_s)

    def _timed(self, stage: str, work: Callable[[], _R]) -> _R:
        started = time.perf_counter()
        result = work()
        self._seconds[stage] += time.perf_counter() - started
        return result

    def _require_open(self) -> None:
        if self._closed:
            raise UsageError("this stream is closed: make a new one for the next recording")


class _Clock:
    """Timestamps of the frames that an event may still be made of.

    Parameters
    ----------
    kept_s : float
        How far an undecided event may reach back behind the last score.
    """

    def __init__(self, *, kept_s: float) -> None:
        self.count = 0
        self._kept_s = kept_s
        self._first = 0
        self._times: deque[float] = deque()
        self._last_s = -math.inf

    def add(self, time_s: float) -> None:
        if not (math.isfinite(time_s) and time_s > self._last_s):
            raise DataError(
                f"timestamps must be finite and increase: frame {self.count} is at {time_s} s,"
                f" the one before at {self._last_s} s; leave such frames out"
            )
        self._last_s = time_s
        self._times.append(time_s)
        self.count += 1

    def at(self, frames: IntArray) -> FloatArray:
        """Timestamps of frames by number, in the shape of ``frames``."""
        return np.array([self._times[frame - self._first] for frame in frames.ravel()]).reshape(frames.shape)

    def forget(self, *, before_s: float) -> None:
        """Drop what lies too far behind the last score."""
        while self._times and self._times[0] < before_s - self._kept_s:
            self._times.popleft()
            self._first += 1


def _is_grey(picture: object) -> bool:
    return isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 2 and picture.size > 0


def _is_colour(picture: object) -> bool:
    return isinstance(picture, np.ndarray) and picture.ndim == 3 and picture.shape[2] == 3 and _is_grey(picture[..., 0])


def _described(picture: object) -> str:
    if isinstance(picture, np.ndarray):
        return f"{picture.shape} of {picture.dtype}"
    return type(picture).__name__
