"""The motion of a video to its scores, piece by piece: the only place where stretches begin and end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from metst.arrays import BoolArray, Float32Array, Float64Array
from metst.config import PublishedDecodeSettings
from metst.decode import score_channels
from metst.decode.odds import class_probabilities
from metst.errors import DataError, UsageError
from metst.inference.passes import ScoringModel, new_pass, pass_delay
from metst.inference.signal import GapHold, NetworkInput, QualityHold, widest_bin_s
from metst.labels import NEUTRAL
from metst.regions import AXES, REGIONS
from metst.timeline import TIME_TOLERANCE_S, Series, TimeGrid, join_series

_ON_THE_ROW = 1e-3
"""Share of a frame of the network by which a frame of the video may seem to lie behind it: rounding; set by hand."""


@dataclass(frozen=True)
class Delay:
    """How late the scores of a frame may come, at most.

    Parameters
    ----------
    frames : int
        Frames of the network that must follow a frame of the network: what its convolutions look ahead
        and its lag, or a window, and the frames that are scored together.
    seconds : float
        From a frame of the video: the scores are there with the first frame that is so much later.  Beside
        ``frames`` these are the next frame of the network, between which the scores are interpolated, half
        of the widest bin, and for the first frames of a stretch the shortest stretch that is scored.
    """

    frames: int
    seconds: float


def check_motion(motion: Series, *, quality: Float32Array | None) -> None:
    """Refuse what cannot be scored.

    Raises
    ------
    DataError
        When the motion has not 18 regions or is not finite where it is valid, or the quality has another shape.
    """
    if motion.values.shape[1:] != (len(REGIONS), len(AXES)):
        raise DataError(f"expected motion (T, {len(REGIONS)}, {len(AXES)}), got {motion.values.shape}")
    if not np.isfinite(motion.values[motion.valid]).all():
        raise DataError("motion has frames that are marked valid but are not finite: mark them as gaps")
    if quality is not None and quality.shape != motion.values.shape[:2]:
        raise DataError(f"expected a quality for each region {motion.values.shape[:2]}, got {quality.shape}")


class ScoreStream:
    """Score a video that comes piece by piece, in constant memory.

    Every stretch of valid frames is scored on its own, from a fresh state, as soon as it has lasted
    ``input.min_segment_s``; a shorter one is a gap.  It lasts from its first frame to the next frame
    after it; the last frame of a video lasts as long as the one before.  The way of a stretch: each region
    is held still where it was measured badly, the motion is averaged onto the uniform grid of the network,
    the network scores it, and the scores are interpolated at the frames of the video.  Whatever the
    pieces, the scores are the same.

    Parameters
    ----------
    model : ScoringModel
        Network and settings.
    chunk_frames : int
        Frames of the network that are scored together (one pass only).
    batch_size : int
        Windows that are scored together (windows only).

    Raises
    ------
    UsageError
        If one of these is below 1.
    """

    def __init__(self, model: ScoringModel, *, chunk_frames: int = 1, batch_size: int = 1) -> None:
        if min(chunk_frames, batch_size) < 1:
            raise UsageError(f"chunk_frames {chunk_frames} and batch_size {batch_size} must be at least 1")
        self._model = model
        self._chunk_frames = chunk_frames
        self._batch_size = batch_size
        self._gaps = GapHold() if model.info.input.gaps == "still" else None
        self._stretch: _Stretch | None = None
        self._last_s = -math.inf
        self._frame_s = 0.0
        self._closed = False

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels of the scores: ``spot_score`` and one ``p_<class>`` per class."""
        return score_channels(self._model.info.classes)

    @property
    def delay(self) -> Delay:
        """How late scores may come, at most."""
        settings = self._model.info.input
        frames = pass_delay(self._model, chunk_frames=self._chunk_frames, batch_size=self._batch_size)
        seconds = (frames + 1) / settings.rate_hz + widest_bin_s(settings.rate_hz) / 2
        return Delay(frames, max(seconds, settings.min_segment_s))

    @property
    def held_frames(self) -> int:
        """Frames, of the video and of the network, that are in memory."""
        return self._stretch.held_frames if self._stretch else 0

    def feed(self, motion: Series, *, quality: Float32Array | None = None) -> Series:
        """Take the next frames of the video.

        Parameters
        ----------
        motion : Series
            ``(n, 18, 2)`` in face units, gaps marked, ``n >= 0``.
        quality : (n, 18) float32, optional
            How well each region was measured; what is under ``input.min_quality`` is held still.

        Returns
        -------
        Series
            ``(m, 1 + K)`` for the next ``m`` frames whose scores are final: each frame that was fed
            comes out once, in order; NaN and not valid in gaps.

        Raises
        ------
        DataError
            When the motion has not 18 regions, is not finite where it is valid or not later than that
            before, or the quality has another shape.
        UsageError
            After :meth:`close`.
        """
        self._check(motion, quality)
        if self._gaps is not None:
            motion = self._gaps.feed(motion)
        rows: list[Series] = []
        for part in _even_parts(motion.valid):
            piece, time_s = motion.values[part], motion.grid.time_s[part]
            if motion.valid[part.start]:
                if self._stretch is None:
                    self._stretch = _Stretch(
                        self._model, chunk_frames=self._chunk_frames, batch_size=self._batch_size, start_s=time_s[0]
                    )
                believed = None if quality is None else quality[part]
                rows.append(self._series(*self._stretch.feed(piece, time_s, quality=believed)))
            else:
                rows.append(self._end_stretch(float(time_s[0])))
                rows.append(self._series(time_s, self._blank(len(time_s))))
        if len(motion):
            before_s = motion.grid.time_s[-2] if len(motion) > 1 else self._last_s
            self._last_s = float(motion.grid.time_s[-1])
            self._frame_s = self._last_s - float(before_s) if math.isfinite(before_s) else 0.0
        return join_series(rows or [self._none()])

    def close(self) -> Series:
        """No frame follows: the scores of the rest ``(m, 1 + K)``."""
        self._closed = True
        return self._end_stretch(self._last_s + self._frame_s)

    def _check(self, motion: Series, quality: Float32Array | None) -> None:
        if self._closed:
            raise UsageError("this stream of scores is closed: make a new one for another video")
        check_motion(motion, quality=quality)
        if len(motion) and motion.grid.time_s[0] <= self._last_s:
            raise DataError(f"a frame at {motion.grid.time_s[0]} s is not later than the one before, {self._last_s} s")

    def _end_stretch(self, end_s: float) -> Series:
        stretch, self._stretch = self._stretch, None
        return self._none() if stretch is None else self._series(*stretch.close(end_s))

    def _none(self) -> Series:
        return self._series(np.zeros(0), self._blank(0))

    def _blank(self, length: int) -> Float32Array:
        return np.full((length, len(self.channels)), np.nan, dtype=np.float32)

    def _series(self, time_s: Float64Array, values: Float32Array) -> Series:
        return Series(TimeGrid(time_s), values, np.asarray(np.isfinite(values).all(axis=1)), self.channels)


class _Stretch:
    """Unbroken valid frames from their motion to their scores."""

    def __init__(self, model: ScoringModel, *, chunk_frames: int, batch_size: int, start_s: float) -> None:
        settings = model.info.input
        self._start_s = start_s
        self._min_s = settings.min_segment_s - TIME_TOLERANCE_S
        self._hold = QualityHold(settings.min_quality)
        self._input = NetworkInput(settings)
        self._waiting: list[Float32Array] = []  # input of a stretch that is not yet long enough
        self._pass = new_pass(model, chunk_frames=chunk_frames, batch_size=batch_size)
        self._back = _BackToVideo(
            start_s,
            rate_hz=settings.rate_hz,
            columns=1 + len(model.info.classes),
            goes_on=model.info.scoring.remainder == "scored",
        )
        decode = model.info.decode
        self._neutral_is_0 = isinstance(decode, PublishedDecodeSettings) and decode.neutral_by_sign

    @property
    def held_frames(self) -> int:
        waiting = sum(len(x) for x in self._waiting)
        return waiting + self._input.held_frames + self._pass.held_frames + self._back.held_frames

    def feed(
        self, values: Float32Array, time_s: Float64Array, *, quality: Float32Array | None
    ) -> tuple[Float64Array, Float32Array]:
        """Take the next frames; times ``(m,)`` and scores ``(m, 1 + K)`` of the next that are final."""
        self._back.expect(time_s)
        self._waiting.append(self._input.feed(self._hold.feed(values, quality=quality), time_s))
        if time_s[-1] - self._start_s < self._min_s:
            return self._back.nothing()
        return self._back.feed(self._with_chances(self._pass.feed(self._ready())))

    def close(self, end_s: float) -> tuple[Float64Array, Float32Array]:
        """Times and scores of the rest of a stretch that ends where the frame at ``end_s`` starts."""
        self._waiting.append(self._input.close())
        if end_s - self._start_s < self._min_s:
            return self._back.without_scores()
        rows = [self._pass.feed(self._ready()), self._pass.close()]
        return self._back.close(self._with_chances(np.concatenate(rows)))

    def _ready(self) -> Float32Array:
        x = np.concatenate(self._waiting)
        self._waiting.clear()
        return x

    def _with_chances(self, rows: Float32Array) -> Float32Array:
        """Score and logits ``(k, 1 + K)`` to score and probabilities."""
        logits = rows[:, 1:].copy()
        if self._neutral_is_0:
            logits[:, NEUTRAL] = 0
        return np.concatenate([rows[:, :1], class_probabilities(logits)], axis=1)


class _BackToVideo:
    """Rows on the grid of the network to rows at the frames of the video, linear in between.

    The grid starts with the first frame; behind its last row the rows are constant, or there are none.

    Parameters
    ----------
    start_s : float
        Time of the first frame.
    rate_hz : float
        Rate of the grid.
    columns : int
        Columns of the rows.
    goes_on : bool
        Frames behind the last row have its values; else they are NaN, but for the one that is nearest to it: a video
        whose rate is no multiple of the grid's has no frame on the row.
    """

    def __init__(self, start_s: float, *, rate_hz: float, columns: int, goes_on: bool) -> None:
        self._start_s = start_s
        self._rate_hz = rate_hz
        self._goes_on = goes_on
        self._time_s = np.zeros(0)  # of the frames that have no row yet
        self._rows = np.zeros((0, columns), dtype=np.float32)
        self._first = 0  # frame of the grid that `_rows` starts with
        self._taken_s = -math.inf  # the last frame that has its row

    @property
    def held_frames(self) -> int:
        return len(self._time_s) + len(self._rows)

    def expect(self, time_s: Float64Array) -> None:
        """Frames of the video that want a row."""
        self._time_s = np.concatenate([self._time_s, time_s])

    def feed(self, rows: Float32Array) -> tuple[Float64Array, Float32Array]:
        """Take the next rows of the grid; times and rows of the frames that lie before the last one."""
        self._rows = np.concatenate([self._rows, rows])
        reached = int(np.searchsorted(self._places(), len(self._rows) - 1, side="right"))
        return self._take(reached if len(self._rows) else 0)

    def close(self, rows: Float32Array) -> tuple[Float64Array, Float32Array]:
        """Take the last rows of the grid; times and rows of all frames that are left."""
        self._rows = np.concatenate([self._rows, rows])
        if self._goes_on:
            return self._take(len(self._time_s))
        behind = self._behind_the_last()
        if behind.all():
            return self.without_scores()
        time_s, values = self._take(len(self._time_s))
        values[behind] = np.nan
        return time_s, values

    def _behind_the_last(self) -> BoolArray:
        """Which frames lie behind the last row and are not the nearest to it; of two as near the first is."""
        places, last = self._places(), len(self._rows) - 1
        behind = np.asarray(places > last + _ON_THE_ROW)
        if last >= 0 and behind.any():
            first = int(np.argmax(behind))
            before = places[first - 1] if first else (self._taken_s - self._start_s) * self._rate_hz - self._first
            behind[first] = places[first] - last >= last - before
        return behind

    def nothing(self) -> tuple[Float64Array, Float32Array]:
        """No frame yet."""
        return self._take(0)

    def without_scores(self) -> tuple[Float64Array, Float32Array]:
        """Times of all frames that are left, with rows of NaN."""
        return self._time_s, np.full((len(self._time_s), self._rows.shape[1]), np.nan, dtype=np.float32)

    def _places(self) -> Float64Array:
        """Where the frames lie in the rows that are held, in frames of the grid."""
        return np.asarray((self._time_s - self._start_s) * self._rate_hz - self._first)

    def _take(self, count: int) -> tuple[Float64Array, Float32Array]:
        if not count:
            return self._time_s[:0], self._rows[:0]
        places, last = self._places(), len(self._rows) - 1
        before = np.clip(places[:count].astype(np.int64), 0, last)
        share = np.clip(places[:count] - before, 0, 1)[:, None]
        after = np.minimum(before + 1, last)
        values = (1 - share) * self._rows[before] + share * self._rows[after]
        time_s, self._time_s = self._time_s[:count], self._time_s[count:].copy()
        self._taken_s = float(time_s[-1])
        # The next frame lies at or behind the row before this one.
        self._rows, self._first = self._rows[before[-1] :].copy(), self._first + int(before[-1])
        return time_s, values.astype(np.float32)


def _even_parts(valid: BoolArray) -> list[slice]:
    """The stretches of equal values in a mask ``(n,)``."""
    edges = [0, *(np.flatnonzero(np.diff(valid)) + 1).tolist(), len(valid)]
    return [slice(first, after) for first, after in pairwise(edges) if after > first]
