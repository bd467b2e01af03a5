"""Where a live run sends what it finds: tables that grow row by row, JSON lines, Lab Streaming Layer."""

from __future__ import annotations

import csv
import importlib
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from metst.decode import NEUTRAL
from metst.errors import OutputError, UsageError
from metst.live.rows import EventRow, columns, event_json, frame_rows
from metst.spelling.formulas import harmless
from metst.storage import make_folder, remedy

if TYPE_CHECKING:
    from metst.live.source import Source
    from metst.live.status import Status
    from metst.stream import Update


class Output(Protocol):
    """Takes what every frame makes known."""

    def take(self, update: Update, *, rows: list[EventRow], status: Status) -> None:
        """Take one update, its events as rows, and the state after it."""

    def close(self) -> None:
        """Nothing follows."""


class JsonLines:
    """One JSON object per event and line, as soon as it is decided."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def take(self, update: Update, *, rows: list[EventRow], status: Status) -> None:  # noqa: ARG002
        """Write the events."""
        for row in rows:
            self._stream.write(event_json(row) + "\n")
            self._stream.flush()

    def close(self) -> None:
        """The stream belongs to the caller."""


class Tables:
    """``events.csv`` and ``frames.csv``, with the columns that :func:`metst.results.write_analysis` writes.

    Every row is written out when it is complete: what was found until then survives a crash.

    Parameters
    ----------
    folder : Path
        Made as needed; tables of an earlier run are not replaced.
    classes : sequence of str
        The model's classes.

    Raises
    ------
    UsageError
        There are such tables already.
    OutputError
        They cannot be written; also from :meth:`take`.
    """

    def __init__(self, folder: Path, *, classes: Sequence[str]) -> None:
        emotions = [name for name in classes if name != NEUTRAL]
        self._usable: deque[bool] = deque()
        try:
            make_folder(folder)
            self._events = _table(folder / "events.csv", header=columns("events.csv", classes=emotions))
            self._frames = _table(folder / "frames.csv", header=columns("frames.csv", classes=classes))
        except OSError as error:
            raise OutputError(f"cannot write {error.filename or folder}: {remedy(error)}") from error

    def take(self, update: Update, *, rows: list[EventRow], status: Status) -> None:  # noqa: ARG002
        """Write what became final."""
        if update.motion is not None:
            self._usable.append(update.motion.valid)
        try:
            for row in rows:
                csv.writer(self._events, lineterminator="\n").writerow(map(harmless, row.values()))
            csv.writer(self._frames, lineterminator="\n").writerows(frame_rows(update, usable=self._usable))
        except OSError as error:
            raise OutputError(f"cannot write {self._frames.name}: {remedy(error)}") from error

    def close(self) -> None:
        """Close both files."""
        self._events.close()
        self._frames.close()


class LabStreamingLayer:
    """Two outlets of the Lab Streaming Layer: the scores, and the events as markers.

    Scores go out frame by frame with the time at which the frame was taken, on LSL's own clock, though they are
    known some tenths of a second later.  Frames without a score are NaN.  A marker is the event's row as JSON, at
    the time of its onset.

    Parameters
    ----------
    name : str
        Name of the score stream; the marker stream is called ``<name>-events``.
    channels : sequence of str
        Names of the score channels.
    source : Source
        Gives the nominal rate and the time of each frame.

    Raises
    ------
    UsageError
        ``pylsl`` is not installed, or finds no library.
    """

    def __init__(self, name: str, *, channels: Sequence[str], source: Source) -> None:
        self._lsl = _pylsl()
        self._source = source
        # Both clocks are monotonic: one offset holds for the whole run.
        self._offset_s: float = self._lsl.local_clock() - time.monotonic()
        rate_hz = source.rate_hz or self._lsl.IRREGULAR_RATE
        scores = self._lsl.StreamInfo(name, "MovementScore", len(channels), rate_hz, "float32", f"metst-{name}")
        described = scores.desc().append_child("channels")
        for channel in channels:
            described.append_child("channel").append_child_value("label", channel)
        events = self._lsl.StreamInfo(
            f"{name}-events", "Markers", 1, self._lsl.IRREGULAR_RATE, "string", f"metst-{name}-events"
        )
        self._scores, self._events = self._lsl.StreamOutlet(scores), self._lsl.StreamOutlet(events)

    def take(self, update: Update, *, rows: list[EventRow], status: Status) -> None:  # noqa: ARG002
        """Send what became final."""
        for time_s, values in zip(update.scores.grid.time_s.tolist(), update.scores.values.tolist(), strict=True):
            self._scores.push_sample(values, self._stamp(time_s))
        for row in rows:
            self._events.push_sample([event_json(row)], self._stamp(float(row["onset_s"])))

    def close(self) -> None:
        """Take the outlets off the network."""
        del self._scores, self._events

    def _stamp(self, time_s: float) -> float:
        return self._source.clock_s(time_s) + self._offset_s


def _pylsl() -> Any:
    try:
        return importlib.import_module("pylsl")
    except (ImportError, RuntimeError) as error:  # RuntimeError: the package is there, its library is not
        raise UsageError(f"the Lab Streaming Layer needs pylsl ({error}): pip install 'metst[live]'") from error


def _table(path: Path, *, header: list[str]) -> TextIO:
    """A new file that writes out every line."""
    if path.exists():
        raise UsageError(f"{path} is there already: give another folder")
    file = path.open("x", encoding="utf-8", newline="", buffering=1)
    csv.writer(file, lineterminator="\n").writerow(map(harmless, header))
    return file
