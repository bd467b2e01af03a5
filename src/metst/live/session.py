"""A live run: frames from the capture thread through the stream to the outputs, until it ends or is stopped."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np

from metst.errors import OutputError
from metst.live.outputs import Output
from metst.live.rows import EventRow, event_rows
from metst.live.source import Capture, Source
from metst.live.status import Status
from metst.models.checkpoint import Model
from metst.stream import Stream, Update
from metst.synthesis.portrait import portrait

_WARM_UP_S = 1.0  # of the source, not counted in the time per stage: kernels are compiled; set by hand
_WARM_UP_FRAMES, _WARM_UP_HZ = 40, 30  # more than the 19 after which the first score comes (docs/live.md); set by hand


@dataclass(frozen=True)
class Outcome:
    """What a live run came to.

    Parameters
    ----------
    events : int
        Movement candidates.
    frames, dropped : int
        Frames that were processed, and that came too fast.
    seconds : float
        Of the source.
    rate_hz : float
        Frames processed per second of work and waiting.
    stage_ms : dict
        Mean milliseconds per frame of each stage, without the first second, in which kernels are compiled.
    problems : tuple of str
        What went wrong, for people.
    """

    events: int
    frames: int
    dropped: int
    seconds: float
    rate_hz: float
    stage_ms: dict[str, float]
    problems: tuple[str, ...]


def warm_up(model: Model) -> None:
    """Load all that the first frames would have to wait for: networks, and compiled loops from their cache."""
    stream, grey = Stream(model=model), np.ascontiguousarray(portrait()[:, :, 1])
    for i in range(_WARM_UP_FRAMES):
        stream.feed_picture(np.roll(grey, i % 2, axis=1), time_s=i / _WARM_UP_HZ)
    stream.close()


def run_live(
    source: Source,
    *,
    stream: Stream,
    outputs: Sequence[Output],
    keep_all: bool = False,
    duration_s: float | None = None,
    stop: threading.Event | None = None,
) -> Outcome:
    """Watch a source until it ends, ``duration_s`` of it have passed, or ``stop`` is set.

    Parameters
    ----------
    source : Source
        Frames with increasing times.
    stream : Stream
        A fresh one; it is closed at the end, so that the last events are told.
    outputs : sequence of Output
        Get every update, and are closed at the end.  One that fails is left out from then on.
    keep_all : bool
        Let the source wait rather than drop frames.
    duration_s : float, optional
        Seconds of the source.
    stop : threading.Event, optional
        Set from elsewhere to end the run.

    Returns
    -------
    Outcome
    """
    run = _Run(source, stream, outputs=outputs)
    capture, stop, started_s = Capture(source, keep_all=keep_all), stop or threading.Event(), time.monotonic()
    try:
        with closing(capture):
            for frame in capture:
                if stop.is_set():
                    break
                if frame is None:
                    continue
                run.status.dropped = capture.dropped
                run.take(stream.feed(frame))
                if duration_s is not None and run.status.elapsed_s >= duration_s:
                    break
        seconds = time.monotonic() - started_s
        run.take(stream.close())
    finally:
        run.close()
    run.problems += source.problems
    if capture.error is not None:
        run.problems.append(str(capture.error))
    return run.outcome(seconds=seconds, dropped=capture.dropped)


@contextmanager
def ended_by_interrupt() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that a run ends cleanly; a second Ctrl-C ends the program at once."""
    stop = threading.Event()

    def interrupt(_signal: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


class _Run:
    """The state of one run: what is shown, who is told, what went wrong."""

    def __init__(self, source: Source, stream: Stream, *, outputs: Sequence[Output]) -> None:
        self.problems: list[str] = []
        self.status = Status.of(stream, source=source.name)
        self._source, self._stream, self._outputs = source, stream, list(outputs)
        self._warm_frames, self._warm_seconds = 0, stream.stage_seconds

    def take(self, update: Update) -> None:
        """Keep the status up to date and tell the outputs."""
        rows = event_rows(update, number=self.status.event_count + 1)
        self.status.add(update, rows=rows, behind_s=self._behind_s(update))
        if not self._warm_frames and self.status.elapsed_s >= _WARM_UP_S:
            self._warm_frames, self._warm_seconds = self._stream.frames, self._stream.stage_seconds
        for output in list(self._outputs):
            self._tell(output, update, rows=rows)

    def _tell(self, output: Output, update: Update, *, rows: list[EventRow]) -> None:
        try:
            output.take(update, rows=rows, status=self.status)
        except OutputError as error:
            self.problems.append(f"{error}; nothing more was written there")
            self._outputs.remove(output)
            output.close()

    def close(self) -> None:
        for output in self._outputs:
            output.close()

    def outcome(self, *, seconds: float, dropped: int) -> Outcome:
        status, frames = self.status, self._stream.frames
        if frames and not status.reasons[""]:
            most = status.reasons.most_common(1)[0][0]
            self.problems.append(f"no frame with a usable face ({most}): the face must be seen from the front")
        return Outcome(
            events=status.event_count,
            frames=frames,
            dropped=dropped,
            seconds=status.elapsed_s,
            rate_hz=frames / seconds if seconds else 0.0,
            stage_ms={
                stage: 1000 * (seconds - self._warm_seconds[stage]) / max(frames - self._warm_frames, 1)
                for stage, seconds in self._stream.stage_seconds.items()
            },
            problems=tuple(self.problems),
        )

    def _behind_s(self, update: Update) -> float:
        """How long ago the last frame with a final score was taken."""
        if not len(update.scores):
            return self.status.behind_s
        return time.monotonic() - self._source.clock_s(float(update.scores.grid.time_s[-1]))
