"""All that has a time axis: :class:`TimeGrid`, :class:`Series`, :class:`Intervals`.

Inside the product a frame is a 0-based integer and an interval is half-open, with the
container's timestamps beside it.  Tables for people count frames from 1 and include both
ends.  The only places where one becomes the other are the functions named ``*_for_people``
and ``*_from_people``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from metst.arrays import Block, BoolArray, Float32Array, Float64Array, FloatArray, IntArray
from metst.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

TIME_TOLERANCE_S = 1e-6
"""Timestamps are sums of frame durations: times this close, in seconds, are equal.  Set by hand."""

TIMESTAMP_SLACK_S = 1e-3
"""Containers round their timestamps, Matroska to milliseconds: what is due is due so many seconds earlier."""

TIME_DIGITS = 6
"""Decimals of seconds in tables of events: to the microsecond."""

MINUTE_S = 60
"""Seconds of a minute."""

_CHANNELS_NAMED = 3
"""Channels that the short form of a series names.  Set by hand."""

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 5.0, 1000.0
"""Frames per second at which a face that moves is filmed; others are refused.  Set by hand."""


@dataclass(frozen=True, eq=False)
class TimeGrid:
    """Timestamps of ``T`` consecutive frames.

    Parameters
    ----------
    time_s : (T,) float64
        Seconds, strictly increasing: the container's timestamps, or a uniform grid of a model.
    """

    time_s: Float64Array

    def __post_init__(self) -> None:
        time_s = np.asarray(self.time_s, dtype=np.float64)
        if time_s.ndim != 1 or not np.isfinite(time_s).all():
            raise DataError(f"timestamps must be a finite 1-D array, got shape {time_s.shape}")
        if time_s.size > 1 and (steps := np.diff(time_s)).min() <= 0:
            at = int(np.argmax(steps <= 0)) + 1
            raise DataError(f"timestamps must increase: frame {at} is not later than frame {at - 1}")
        object.__setattr__(self, "time_s", time_s)

    @classmethod
    def uniform(cls, length: int, *, rate_hz: float, start_s: float = 0.0) -> TimeGrid:
        """Grid of ``length`` frames at a fixed rate."""
        return cls(start_s + np.arange(length) / rate_hz)

    def __len__(self) -> int:
        return int(self.time_s.size)

    def __repr__(self) -> str:
        if not len(self):
            return "TimeGrid(no frames)"
        span = f"{self.time_s[0]:.3f} to {self.time_s[-1]:.3f} s"
        rate = f", {1 / self.frame_s:.4g} per second" if self.frame_s else ""
        return f"TimeGrid({len(self)} frames, {span}{rate})"

    @property
    def frame_s(self) -> float:
        """Median duration of a frame in seconds (0 for fewer than two frames)."""
        return float(np.median(np.diff(self.time_s))) if len(self) > 1 else 0.0

    @property
    def duration_s(self) -> float:
        """From the start of the first frame to the end of the last, in seconds."""
        return float(self.time_s[-1] - self.time_s[0]) + self.frame_s if len(self) else 0.0

    def frame_at(self, time_s: FloatArray | float) -> IntArray:
        """Index of the frame nearest to each time, clipped to the grid."""
        right = np.clip(np.searchsorted(self.time_s, time_s), 1, max(len(self) - 1, 1))
        if len(self) == 1:
            return np.zeros_like(np.asarray(time_s), dtype=np.int64)
        left = right - 1
        nearer_left = np.asarray(time_s) - self.time_s[left] <= self.time_s[right] - np.asarray(time_s)
        return np.where(nearer_left, left, right).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Series:
    """Values over time: ROI motion ``(T, R, 2)``, scores ``(T, 1 + K)``, ...

    Parameters
    ----------
    grid : TimeGrid
        ``T`` timestamps.
    values : (T, ...) float32
        NaN exactly where ``valid`` is false.
    valid : (T,) bool
        False where nothing could be measured (no face, a scene cut): a gap, never "zero".
    channels : tuple of str
        Names along the second axis.
    """

    grid: TimeGrid
    values: Float32Array
    valid: BoolArray
    channels: tuple[str, ...]

    def __post_init__(self) -> None:
        length, shape = len(self.grid), np.shape(self.values)
        if len(shape) < 2 or shape[0] != length or np.shape(self.valid) != (length,):
            raise DataError(f"a series of {length} frames got values {shape} and valid {np.shape(self.valid)}")
        if len(self.channels) != shape[1]:
            raise DataError(f"{len(self.channels)} channel names for {shape[1]} channels")

    def __len__(self) -> int:
        return len(self.grid)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, np.shape(self.values)))
        more = ", ..." if len(self.channels) > _CHANNELS_NAMED else ""
        named = ", ".join(self.channels[:_CHANNELS_NAMED])
        return f"Series({shape}: {named}{more}; {np.count_nonzero(self.valid)} of {len(self)} frames valid)"

    def channel(self, name: str) -> Float32Array:
        """Values of one named channel, ``(T, ...)``."""
        return self.values[:, self.channels.index(name)]

    def part(self, frames: slice) -> Series:
        """Some frames that follow one another, as a series of their own."""
        return Series(TimeGrid(self.grid.time_s[frames]), self.values[frames], self.valid[frames], self.channels)

    def reversed(self) -> Series:
        """The same played backwards, over the same span of time."""
        time_s = self.grid.time_s
        back_s = time_s[0] + (time_s[-1] - time_s[::-1]) if len(time_s) else time_s
        return Series(TimeGrid(back_s), self.values[::-1], self.valid[::-1], self.channels)


def join_series(parts: Sequence[Series]) -> Series:
    """Series of the same channels, at least one, put one behind the other."""
    if len(parts) == 1:
        return parts[0]
    return Series(
        TimeGrid(np.concatenate([part.grid.time_s for part in parts])),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.valid for part in parts]),
        parts[0].channels,
    )


@dataclass(frozen=True, eq=False)
class Intervals:
    """``N`` events on one video, in order of onset.

    Parameters
    ----------
    onset, apex, offset : (N,) int64
        Frames of the source video, 0-based; half-open, so ``offset`` is the first frame after.
    label : tuple of str
        Class of each event.
    confidence : (N,) float64
        Probability that the event is a facial movement of this kind, in [0, 1].
    probability : (N, K) float64
        Class probabilities given that it is one; each row sums to 1.
    classes : tuple of str
        Names of the ``K`` classes.
    grid : TimeGrid, optional
        Timestamps of the recording, where they are known: those of an :class:`metst.Analysis` have them.

    Notes
    -----
    Called, they are a table.  What an analysis found is its field ``events``, which programs read as
    ``analysis.events.onset``, and a notebook wants a data frame from ``analysis.events()``: so that both hold, the
    value itself is called, and nothing was renamed.
    """

    onset: IntArray
    apex: IntArray
    offset: IntArray
    label: tuple[str, ...]
    confidence: FloatArray
    probability: FloatArray
    classes: tuple[str, ...] = field(default=())
    grid: TimeGrid | None = None

    def __post_init__(self) -> None:
        count = len(self.label)
        for name in ("onset", "apex", "offset", "confidence", "probability"):
            if len(getattr(self, name)) != count:
                raise DataError(f"{count} labels but {len(getattr(self, name))} values of {name}")
        if count and not ((self.onset <= self.apex) & (self.apex < self.offset)).all():
            raise DataError("every event needs onset <= apex < offset")

    @classmethod
    def empty(cls, classes: Sequence[str]) -> Intervals:
        """No event at all."""
        none = np.zeros(0, dtype=np.int64)
        return cls(none, none, none, (), np.zeros(0), np.zeros((0, len(classes))), tuple(classes))

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        return f"Intervals({number_of(self, 'event')}{': ' if len(self) else ''}{counted(self.label)})"

    def __call__(self) -> pd.DataFrame:
        """As a data frame, one row per event, with the columns of ``events.csv``; without ``grid`` none of seconds.

        Raises
        ------
        UsageError
            pandas is not installed.
        """
        return data_frame(event_columns(self, times_s=None if self.grid is None else self.times_s(self.grid)))

    def times_s(self, grid: TimeGrid) -> Float64Array:
        """Timestamps (N, 3) of onset, apex and last frame, seconds."""
        return grid.time_s[np.stack([self.onset, self.apex, self.offset - 1], axis=1)]


def join_intervals(parts: Sequence[Intervals]) -> Intervals:
    """Events of the same video and classes, at least one list of them, each list behind the one before."""
    if len(parts) == 1:
        return parts[0]
    return Intervals(
        np.concatenate([part.onset for part in parts]),
        np.concatenate([part.apex for part in parts]),
        np.concatenate([part.offset for part in parts]),
        tuple(label for part in parts for label in part.label),
        np.concatenate([part.confidence for part in parts]),
        np.concatenate([part.probability for part in parts]),
        parts[0].classes,
    )


def event_columns(events: Intervals, *, times_s: FloatArray | None, number: int = 1) -> dict[str, Block]:
    """Columns of ``events.csv`` for events, from ``number`` on; ``times_s`` (N, 3): when their frames were taken."""
    first, last = frames_for_people(events.onset, events.offset)
    columns: dict[str, Block] = {
        "event": np.arange(number, number + len(events)),
        "onset_frame": first,
        "apex_frame": frame_for_people(events.apex),
        "offset_frame": last,
    }
    if times_s is not None:
        names = ("onset_s", "apex_s", "offset_s")
        columns |= dict(zip(names, times_s.round(TIME_DIGITS).T, strict=True))
    columns |= {"label": list(events.label), "confidence": events.confidence}
    return columns | {f"p_{name}": events.probability[:, k] for k, name in enumerate(events.classes)}


def data_frame(columns: Mapping[str, Block]) -> pd.DataFrame:
    """Columns ``(N,)`` by name as a ``pandas.DataFrame`` with the index 0 to N - 1.

    Raises
    ------
    UsageError
        pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise UsageError("a data frame needs the package pandas: pip install 'metst[pandas]'") from error
    return pandas.DataFrame(dict(columns))


def number_of(events: Intervals, what: str) -> str:
    """``1 event``, ``3 events``."""
    return f"{len(events)} {what}{'' if len(events) == 1 else 's'}"


def counted(labels: Iterable[str]) -> str:
    """``negative 2, surprise 1``: in order of name."""
    return ", ".join(f"{label} {count}" for label, count in sorted(Counter(labels).items()))


def true_runs(mask: BoolArray) -> list[slice]:
    """The unbroken half-open stretches of true values in a mask ``(T,)``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return [slice(int(first), int(after)) for first, after in edges.reshape(-1, 2)]


def extremes(values: Float64Array, first: IntArray, after: IntArray, which: np.ufunc) -> Float64Array:
    """Largest or smallest of each stretch of frames; stretches may overlap.

    Parameters
    ----------
    values : (T, ...) float64
        By frame.
    first, after : (N,) int
        Stretches, half-open and not empty.
    which : numpy.ufunc
        ``numpy.maximum`` or ``numpy.minimum``.

    Returns
    -------
    (N, ...) float64
    """
    # Pairs of bounds: every second extreme is that of a stretch, the others are of what lies up to the next.
    bounds = np.stack([first, after], axis=1).ravel()
    return np.asarray(which.reduceat(np.concatenate([values, values[-1:]]), bounds)[::2], np.float64)


def frames_for_people(onset: IntArray, offset: IntArray) -> tuple[IntArray, IntArray]:
    """0-based half-open frames to the first and last frame counted from 1."""
    return np.asarray(onset) + 1, np.asarray(offset)


def frames_from_people(first: IntArray, last: IntArray) -> tuple[IntArray, IntArray]:
    """First and last frame counted from 1 to 0-based half-open frames."""
    return np.asarray(first) - 1, np.asarray(last)


def frame_for_people(frame: int | IntArray) -> IntArray:
    """One 0-based frame, or an array of them, counted from 1."""
    return np.asarray(frame) + 1
