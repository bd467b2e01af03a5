"""From ROI motion to the input of a network, piece by piece.

One stretch without a gap goes through three steps, each of which holds no more than it looks ahead:
:class:`QualityHold`, :class:`Resampler`, and in :class:`NetworkInput` the leaking baseline and the scale.
"""

from __future__ import annotations

import math
from itertools import accumulate

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from metst.arrays import BoolArray, Float32Array, Float64Array
from metst.config import InputSettings
from metst.errors import DataError
from metst.regions import AXES
from metst.timeline import LOWEST_RATE_HZ, Series, TimeGrid

# Both set by hand.  Timestamps carry rounding; a frame that is late by less than this share of a frame is on time.
_FRAME_TOLERANCE = 1e-3
# Frames whose median duration is the local one: enough to bear a late frame, few enough to follow a new rate.
_LOCAL_FRAMES = 10
SLOWEST_FRAME_S = 1 / LOWEST_RATE_HZ
"""Longest frame that widens a bin, seconds: it bounds what resampling looks ahead."""


def widest_bin_s(rate_hz: float) -> float:
    """Widest bin of a grid, seconds."""
    return max(1 / rate_hz, SLOWEST_FRAME_S)


def uniform_grid(grid: TimeGrid, *, rate_hz: float) -> TimeGrid:
    """Uniform grid from the first frame to at most the last."""
    length = _grid_length(float(grid.time_s[-1] - grid.time_s[0]), rate_hz=rate_hz)
    return TimeGrid.uniform(length, rate_hz=rate_hz, start_s=float(grid.time_s[0]))


def _grid_length(duration_s: float, *, rate_hz: float) -> int:
    return int(duration_s * rate_hz + _FRAME_TOLERANCE) + 1


class QualityHold:
    """Let each region stand still while it is measured badly.

    A hand, hair at the temple or a patch without texture sends a region astray.  Its steps from and to a
    frame under ``min_quality`` are left out, and later displacement goes on from where it was.

    Parameters
    ----------
    min_quality : float
        Lowest quality that is believed.
    """

    def __init__(self, min_quality: float) -> None:
        self._min_quality = min_quality
        self._last: Float64Array | None = None
        self._last_held: Float64Array | None = None
        self._last_trusted: BoolArray | None = None

    def feed(self, values: Float32Array, *, quality: Float32Array | None) -> Float32Array:
        """Take displacement ``(n, 18, 2)``, ``n >= 1``, and quality ``(n, 18)`` in [0, 1] of the next frames.

        Without a quality all regions are believed.  Returns the displacement that is believed, ``(n, 18, 2)``.
        """
        measured = values.astype(np.float64)
        trusted = np.ones(values.shape[:2], dtype=np.bool_) if quality is None else quality >= self._min_quality
        if self._last is None or self._last_held is None or self._last_trusted is None:
            self._last, self._last_held, self._last_trusted = measured[0], measured[0], trusted[0]
        steps = np.diff(measured, axis=0, prepend=self._last[None])
        steps *= (trusted & np.concatenate([self._last_trusted[None], trusted[:-1]]))[:, :, None]
        held = np.cumsum(np.concatenate([self._last_held[None], steps]), axis=0)[1:]
        self._last, self._last_held, self._last_trusted = measured[-1].copy(), held[-1].copy(), trusted[-1].copy()
        return held.astype(np.float32)


class GapHold:
    """Let all regions stand still where there is no face, so that a video has no gap.

    The step over a gap is left out, too: what is measured after it goes on from where the regions stood.
    """

    def __init__(self) -> None:
        self._hold = QualityHold(1.0)

    def feed(self, motion: Series) -> Series:
        """Motion ``(n, 18, 2)`` of the next frames without its gaps."""
        if not len(motion):
            return motion
        measured = np.where(motion.valid[:, None, None], motion.values, np.float32(0))
        faces = np.broadcast_to(motion.valid[:, None], motion.values.shape[:2])
        held = self._hold.feed(measured, quality=faces.astype(np.float32))
        return Series(motion.grid, held, np.ones(len(motion), dtype=np.bool_), motion.channels)


class LatestFrame:
    """Take for each frame of a uniform grid the last frame of the stretch up to it.

    The grid starts with the first frame and does not go beyond the last.  Where the video is ``n`` times as fast as
    the grid this is every ``n``-th frame, the first one included.

    Parameters
    ----------
    rate_hz : float
        Rate of the grid.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._next = 0  # frame of the grid
        self._start_s = 0.0
        self._time_s = np.zeros(0)  # of the last frame
        self._value = np.zeros((0, 0), dtype=np.float32)

    @property
    def held_frames(self) -> int:
        """Frames of the video that are in memory."""
        return len(self._time_s)

    def feed(self, values: Float32Array, time_s: Float64Array) -> Float32Array:
        """Take the next frames ``(n, C)``, ``n >= 1``, at ``(n,)`` seconds; the next of the grid, ``(k, C)``."""
        if not len(self._time_s):
            self._start_s, self._value = float(time_s[0]), values[:0]
        self._time_s, self._value = np.concatenate([self._time_s, time_s]), np.concatenate([self._value, values])
        # A frame of the grid is known as soon as there is a frame of the video behind it.
        reached = (float(time_s[-1]) - self._start_s) * self._rate_hz - _FRAME_TOLERANCE
        taken = self._take(math.ceil(max(reached, 0)))
        self._time_s, self._value = self._time_s[-1:].copy(), self._value[-1:].copy()
        return taken

    def close(self) -> Float32Array:
        """The rest, ``(k, C)``: no frame of the stretch follows."""
        return self._take(_grid_length(float(self._time_s[-1] - self._start_s), rate_hz=self._rate_hz))

    def _take(self, end: int) -> Float32Array:
        grid = np.arange(self._next, end)
        self._next = max(self._next, end)
        latest_s = self._start_s + (grid + _FRAME_TOLERANCE) / self._rate_hz
        return self._value[np.searchsorted(self._time_s, latest_s, side="right") - 1]


class Resampler:
    """Average a stretch without a gap onto a uniform grid that starts with its first frame.

    The values between two frames are taken as linear.  Each frame of the grid is the exact mean over a
    bin around it, as wide as a frame of the slower of the two rates: every frame of a fast video counts,
    and what the grid cannot follow is damped.  At equal rates the weights are 1/8, 3/4, 1/8.  The bins of
    both ends stop at the first and the last frame.

    How long a frame of the video lasts is the median of the ten frames up to the first that is not before
    the frame of the grid (before the start of the stretch they count as the first), at most
    :data:`SLOWEST_FRAME_S`: a late frame changes nothing, a new rate counts after half of them, and a value
    is final as soon as a frame half a bin later is there.

    Parameters
    ----------
    rate_hz : float
        Rate of the grid.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._next = 0  # frame of the grid
        self._start_s = 0.0
        # Of the frames that bins to come may reach: time, value, integral up to it, how long frames last there.
        self._time_s = np.zeros(0)
        self._value = np.zeros((0, 0))
        self._total = np.zeros((0, 0))
        self._frame_s = np.zeros(0)
        self._durations = np.zeros(0)

    @property
    def held_frames(self) -> int:
        """Frames of the video that are in memory."""
        return len(self._time_s)

    def feed(self, values: Float32Array, time_s: Float64Array) -> Float32Array:
        """Take the next frames ``(n, C)`` at ``(n,)`` seconds; the next frames of the grid, ``(k, C)``."""
        self._append(values.astype(np.float64), time_s)
        last_s = self._time_s[-1]
        count = _grid_length(float(last_s - self._start_s), rate_hz=self._rate_hz)
        centre_s = self._grid_s(count)
        half_s = self._half_bin_s(centre_s)
        waiting = np.flatnonzero(centre_s + half_s > last_s)
        final = int(waiting[0]) if waiting.size else len(centre_s)
        means = self._means(centre_s[:final], half_s[:final])
        self._forget()
        return means

    def close(self) -> Float32Array:
        """The rest of the grid, ``(k, C)``: no frame of the stretch follows."""
        count = _grid_length(float(self._time_s[-1] - self._start_s), rate_hz=self._rate_hz)
        centre_s = self._grid_s(count)
        return self._means(centre_s, self._half_bin_s(centre_s))

    def _grid_s(self, count: int) -> Float64Array:
        """Times of the frames of the grid that are still to come, of the first ``count``."""
        return self._start_s + np.arange(self._next, count) / self._rate_hz

    def _append(self, value: Float64Array, time_s: Float64Array) -> None:
        if not len(self._time_s):
            self._start_s = float(time_s[0])
            self._time_s, self._value = time_s[:1].copy(), value[:1].copy()
            self._total, self._frame_s = np.zeros_like(self._value), np.zeros(1)
            time_s, value = time_s[1:], value[1:]
        if not len(time_s):
            return
        times = np.concatenate([self._time_s[-1:], time_s])
        steps_s = np.diff(times)
        values = np.concatenate([self._value[-1:], value])
        areas = (values[1:] + values[:-1]) / 2 * steps_s[:, None]
        totals = np.cumsum(np.concatenate([self._total[-1:], areas]), axis=0)[1:]
        self._time_s = np.concatenate([self._time_s, time_s])
        self._value = np.concatenate([self._value, value])
        self._total = np.concatenate([self._total, totals])
        self._frame_s = np.concatenate([self._frame_s, self._local_frame_s(steps_s)])

    def _local_frame_s(self, steps_s: Float64Array) -> Float64Array:
        """How long frames last up to each new frame, ``(n,)``."""
        if not len(self._durations):
            self._durations = np.full(_LOCAL_FRAMES - 1, steps_s[0])
        durations = np.concatenate([self._durations, steps_s])
        self._durations = durations[-(_LOCAL_FRAMES - 1) :].copy()
        ordered = np.sort(sliding_window_view(durations, _LOCAL_FRAMES), axis=1)
        middle = (_LOCAL_FRAMES - 1) // 2, _LOCAL_FRAMES // 2
        return np.asarray((ordered[:, middle[0]] + ordered[:, middle[1]]) / 2)

    def _half_bin_s(self, centre_s: Float64Array) -> Float64Array:
        """Half of the width of the bin around each frame of the grid."""
        reached = np.clip(np.searchsorted(self._time_s, centre_s), 1, max(len(self._time_s) - 1, 1))
        frame_s = self._frame_s[reached] if len(self._time_s) > 1 else np.zeros(len(centre_s))
        return np.asarray(np.clip(frame_s, 1 / self._rate_hz, widest_bin_s(self._rate_hz)) / 2)

    def _means(self, centre_s: Float64Array, half_s: Float64Array) -> Float32Array:
        self._next += len(centre_s)
        if len(self._time_s) == 1:
            return np.repeat(self._value.astype(np.float32), len(centre_s), axis=0)
        edges = np.clip([centre_s - half_s, centre_s + half_s], self._start_s, self._time_s[-1])
        before = np.clip(np.searchsorted(self._time_s, edges, side="right") - 1, 0, len(self._time_s) - 2)
        since_s = (edges - self._time_s[before])[..., None]
        slope = np.diff(self._value, axis=0) / np.diff(self._time_s)[:, None]
        low, high = self._total[before] + since_s * (self._value[before] + since_s / 2 * slope[before])
        return np.asarray((high - low) / (edges[1] - edges[0])[:, None], dtype=np.float32)

    def _forget(self) -> None:
        """Drop the frames before the widest bin that can come next."""
        reach_s = self._start_s + self._next / self._rate_hz - widest_bin_s(self._rate_hz) / 2
        first = int(np.clip(np.searchsorted(self._time_s, reach_s, side="right") - 1, 0, len(self._time_s) - 1))
        if first:
            self._time_s, self._value = self._time_s[first:].copy(), self._value[first:].copy()
            self._total, self._frame_s = self._total[first:].copy(), self._frame_s[first:].copy()


class NetworkInput:
    """Input of a network for one stretch: the regions it reads, on its grid, against its reference, scaled.

    With the reference ``"leaky"`` a displacement ``d`` becomes ``y``, ``y_t = exp(-dt / baseline_s)
    y_{t-1} + d_t - d_{t-1}``, which starts at 0 and forgets slow drift; with ``"window"`` it stays,
    and each window subtracts its first frame.

    Parameters
    ----------
    settings : InputSettings
        Rate, regions, reference and scale.
    """

    def __init__(self, settings: InputSettings) -> None:
        self._settings = settings
        self._regions = [number - 1 for number in settings.regions]
        self._resampler = (Resampler if settings.sampling == "mean" else LatestFrame)(settings.rate_hz)
        self._last: Float64Array | None = None
        self._leak = np.zeros(2 * len(self._regions))

    @property
    def held_frames(self) -> int:
        """Frames of the video that are in memory."""
        return self._resampler.held_frames

    def feed(self, values: Float32Array, time_s: Float64Array) -> Float32Array:
        """Take the next frames ``(n, 18, 2)`` in face units; the next of the network, ``(k, C)``."""
        chosen = values[:, self._regions].reshape(len(values), -1)
        return self._referred(self._resampler.feed(chosen, time_s))

    def close(self) -> Float32Array:
        """The rest, ``(k, C)``: no frame of the stretch follows."""
        return self._referred(self._resampler.close())

    def _referred(self, values: Float32Array) -> Float32Array:
        settings, referred = self._settings, values.astype(np.float64)
        if settings.reference == "leaky" and len(values):
            first = referred[0] if self._last is None else self._last
            self._last = referred[-1].copy()
            kept = np.exp(-1 / (settings.rate_hz * settings.baseline_s))
            steps = np.diff(referred, axis=0, prepend=first[None])
            leaked = accumulate(steps, lambda before, step: kept * before + step, initial=self._leak)
            referred = np.stack([*leaked][1:])
            self._leak = referred[-1]
        return np.asarray(settings.scale * referred, dtype=np.float32)


def network_input(motion: Series, *, settings: InputSettings) -> Series:
    """Input of a network for one whole stretch without a gap.

    Parameters
    ----------
    motion : Series
        ``(T, 18, 2)`` in face units, every frame valid.
    settings : InputSettings
        Rate, regions, reference and scale; see :class:`NetworkInput`.

    Returns
    -------
    Series
        ``(T', C)`` on the network's grid, with ``C`` twice the number of regions: per region x, then y.

    Raises
    ------
    DataError
        When there is a gap, or no frame.
    """
    names = tuple(f"{motion.channels[number - 1]} {axis}" for number in settings.regions for axis in AXES)
    return _through(NetworkInput(settings), motion, rate_hz=settings.rate_hz, channels=names)


def resample(series: Series, *, rate_hz: float) -> Series:
    """Average a whole stretch without a gap onto a uniform grid, by the rule of :class:`Resampler`.

    Parameters
    ----------
    series : Series
        ``(T, C)`` at any, also changing, rate; every frame valid.
    rate_hz : float
        Rate of the new grid, which starts at the first frame and does not go beyond the last.

    Raises
    ------
    DataError
        When there is a gap, or no frame.
    """
    return _through(Resampler(rate_hz), series, rate_hz=rate_hz, channels=series.channels)


def _through(stream: NetworkInput | Resampler, source: Series, *, rate_hz: float, channels: tuple[str, ...]) -> Series:
    """All that comes out of a stream which is fed a whole stretch."""
    if not len(source) or not source.valid.all():
        raise DataError("only a stretch of valid frames can be resampled: split the series at its gaps")
    values = np.concatenate([stream.feed(source.values, source.grid.time_s), stream.close()])
    grid = uniform_grid(source.grid, rate_hz=rate_hz)
    return Series(grid, values, np.ones(len(grid), dtype=np.bool_), channels)
