"""Where live frames come from, a camera or a recording that is played, and the thread that reads it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Protocol

from metst.errors import MetstError
from metst.video import Frame, probe_video, read_frames

WAITING = 3
"""Frames that may wait while one is worked on: 0.1 s at 30 frames/s.  Set by hand."""

_POLL_S = 0.1  # between two looks whether the run has been stopped; set by hand
_END_S = 1.0  # that closing waits for the thread; set by hand


class Source(Protocol):
    """A camera or a recording; :class:`metst.video.camera.Camera` is one."""

    name: str
    rate_hz: float | None
    problems: list[str]

    def frames(self) -> Iterator[Frame]:
        """Frames as they come, each later than the one before; blocks until the next one is there."""

    def clock_s(self, time_s: float) -> float:
        """When the frame of a timestamp came, on the clock of :func:`time.monotonic`; NaN if it keeps no time."""

    def close(self) -> None:
        """Let the device or file go."""


class Playback:
    """A video file or a folder of frames, played.

    Parameters
    ----------
    path : Path
        What to play.
    speed : float
        1 plays at the recording's own speed, 2 at twice that; 0 gives frames as fast as they are taken.
    rate_hz : float, optional
        Frame rate of a frame folder.

    Raises
    ------
    UsageError, VideoError
        As :func:`metst.video.probe_video`.
    """

    def __init__(self, path: Path, *, speed: float = 1.0, rate_hz: float | None = None) -> None:
        self.name = path.name
        self.rate_hz = probe_video(path, rate_hz=rate_hz).rate_hz
        self.problems: list[str] = []
        self._frames = read_frames(path, rate_hz=rate_hz, on_problem=self.problems.append, threads=1)
        self._speed = speed
        self._start_s, self._first_s = time.monotonic(), 0.0

    def frames(self) -> Iterator[Frame]:
        """Frames, none before its time."""
        for number, frame in enumerate(self._frames):
            if not number:
                self._start_s, self._first_s = time.monotonic(), frame.time_s
            if self._speed:
                time.sleep(max(0.0, self.clock_s(frame.time_s) - time.monotonic()))
            yield frame

    def clock_s(self, time_s: float) -> float:
        """When the frame of a timestamp is due, on the clock of :func:`time.monotonic`; NaN without a speed."""
        return self._start_s + (time_s - self._first_s) / (self._speed or math.nan)

    def close(self) -> None:
        """Nothing to do: the file is let go with its last frame."""


class Capture:
    """Reads a source in a thread of its own, so that computing never delays a camera.

    At most :data:`WAITING` frames wait.  A frame that comes while so many wait is dropped and counted: what is
    in the queue stays in order and recent, and the memory is bounded.

    Parameters
    ----------
    source : Source
    keep_all : bool
        The source waits instead, and no frame is dropped: for recordings that need not keep time.
    """

    def __init__(self, source: Source, *, keep_all: bool = False) -> None:
        self.dropped = 0
        self.error: MetstError | None = None
        self._source, self._keep_all = source, keep_all
        self._queue: Queue[Frame] = Queue(WAITING)
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="capture", daemon=True)

    def __iter__(self) -> Iterator[Frame | None]:
        """Frames until the source ends or fails with :attr:`error`; None whenever there was none for a while."""
        self._thread.start()
        while True:
            ended = not self._thread.is_alive()
            try:
                yield self._queue.get(timeout=0 if ended else _POLL_S)
            except Empty:
                if ended:
                    break
                yield None
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Stop reading; the frames that wait are forgotten."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_END_S)

    def _read(self) -> None:
        try:
            for frame in self._source.frames():
                self._offer(frame)
                if self._stop.is_set():
                    break
        except MetstError as error:
            self.error = error
        except BaseException as error:  # noqa: BLE001 - raised where the frames are read
            self._failure = error
        finally:
            self._source.close()

    def _offer(self, frame: Frame) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(frame, timeout=_POLL_S if self._keep_all else None, block=self._keep_all)
            except Full:
                if not self._keep_all:
                    self.dropped += 1
                    return
            else:
                return
