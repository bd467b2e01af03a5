"""The product's rule: absolute threshold, events of any length, a calibrated confidence.

The curve is read once, from left to right, whether it comes whole or frame by frame: there is one implementation.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np

from metst.arrays import Float64Array
from metst.config import DecodeSettings
from metst.decode import odds
from metst.decode.scores import NEUTRAL, class_names, intervals, mean_chance, spot_and_chance, table
from metst.errors import DataError, UsageError
from metst.timeline import TIME_TOLERANCE_S, Intervals, Series, join_intervals

# 29.97 frames per second are called 30 (1.001 times as many): three of them count as a tenth of a second.
_RATE_SLACK = 1.002
# Frames out of reach are dropped this many at a time, which costs less than one by one; set by hand.
_FORGET_FRAMES = 64


def decode_scores(scores: Series, *, settings: DecodeSettings) -> Intervals:
    """Find the events of a video in its scores.

    1. Every unbroken stretch of valid frames is smoothed on its own by a moving average that
       covers at most ``smooth_s`` (and 0.2 %), the durations of its frames included, and stays centred: it
       shrinks towards the ends of the stretch.  How long frames last around a frame is half of
       the time from the one before to the one after.
    2. Every *excursion* of the curve above ``edge_fraction * peak_threshold`` is taken by itself.
       Inside of it, two peaks are separate when the valley between them is under
       ``merge_fraction`` (at least ``edge_fraction``) of both.
    3. A peak of at least ``peak_threshold`` is an event.  It reaches as far as the curve keeps
       ``edge_fraction`` of the peak and no farther than the valleys beside it.
    4. Not taken are events shorter than ``min_duration_s``, those whose end is not in sight
       ``max_duration_s`` after their onset, and a stretch that is high from end to end.  An end is
       in sight where the curve falls under the share of the peak, or where it has risen enough to
       make a valley one.  Times go from the start of a frame to the start of another; the last
       frame of a video lasts as long as the one before.

    The apex is where the raw score is highest.  The confidence is the peak's log-odds through the
    logistic calibration of the settings.  Class probabilities are the mean over the event, weighted
    by the raw score, of the emotions' probabilities, scaled to a sum of 1 without neutral.

    Parameters
    ----------
    scores : Series
        ``(T, 1 + K)``: ``spot_score`` in [0, 1] and one ``p_<class>`` per class, on the frames of
        the source video at any, also changing, rate.
    settings : DecodeSettings
        The rule's parameters; a checkpoint carries fitted ones.

    Returns
    -------
    Intervals
        Events in order of onset, none overlapping another; classes without neutral.

    Raises
    ------
    DataError
        If there is no ``spot_score`` or no ``p_<class>`` of an emotion.
    """
    stream = EventStream(settings, channels=scores.channels)
    return join_intervals([stream.feed(scores), stream.close()])


class EventStream:
    """The rule of :func:`decode_scores` on scores that come piece by piece.

    Whatever the pieces, the events are the same.  What is held is bounded by time: the frames of the last
    ``max_duration_s`` (or ``smooth_s`` if that is longer).

    Parameters
    ----------
    settings : DecodeSettings
        The rule's parameters.
    channels : tuple of str
        Channels of the scores that will come.

    Raises
    ------
    DataError
        If there is no ``spot_score`` or no ``p_<class>`` of an emotion.
    """

    def __init__(self, settings: DecodeSettings, *, channels: tuple[str, ...]) -> None:
        self._settings = settings
        self._channels = channels
        self._emotions = tuple(name for name in class_names(channels) if name != NEUTRAL)
        if not self._emotions:
            raise DataError(f"scores need a channel p_<class> of at least one emotion, got {', '.join(channels)}")
        self._none = Intervals.empty(self._emotions)
        self._found: list[_Event] = []
        self._stretch: _Stretch | None = None
        self._frames = 0
        self._last_s = -math.inf
        self._frame_s = 0.0
        self._closed = False

    @property
    def delay_s(self) -> float:
        """Seconds of scores after its onset within which an event is decided.

        The first frame that is later than that brings the event, if not an earlier one.
        """
        return self._settings.max_duration_s + _RATE_SLACK * self._settings.smooth_s / 2

    @property
    def held_frames(self) -> int:
        """Frames that are in memory."""
        return len(self._stretch) if self._stretch else 0

    def feed(self, scores: Series) -> Intervals:
        """Take the scores of the next frames.

        Parameters
        ----------
        scores : Series
            ``(n, 1 + K)`` with the channels of this stream, ``n >= 0``.

        Returns
        -------
        Intervals
            The events that are decided by now and were not before, in order of onset; frames are
            counted from the first one fed.

        Raises
        ------
        DataError
            If a channel is missing, the channels are others, or the frames are not later than those before.
        UsageError
            After :meth:`close`.
        """
        self._check(scores)
        score, chance, valid = spot_and_chance(scores, self._emotions)
        times = scores.grid.time_s.tolist()
        for time_s, height, row, ok in zip(times, score.tolist(), chance.tolist(), valid.tolist(), strict=True):
            if ok:
                if self._stretch is None:
                    self._stretch = _Stretch(self._settings, first=self._frames, found=self._found)
                self._stretch.add(time_s, height, row)
            elif self._stretch is not None:
                self._end_stretch(time_s)
            self._frame_s = time_s - self._last_s if self._frames else 0.0
            self._frames, self._last_s = self._frames + 1, time_s
        return self._decided()

    def close(self) -> Intervals:
        """No frame follows: the rest of the events."""
        self._closed = True
        self._end_stretch(self._last_s + self._frame_s)
        return self._decided()

    def _check(self, scores: Series) -> None:
        if self._closed:
            raise UsageError("this stream of events is closed: make a new one for another video")
        if scores.channels != self._channels:
            raise DataError(f"expected scores {', '.join(self._channels)}, got {', '.join(scores.channels)}")
        if len(scores) and scores.grid.time_s[0] <= self._last_s:
            raise DataError(
                f"frame {self._frames} at {scores.grid.time_s[0]} s is not later than the one before, {self._last_s} s"
            )

    def _end_stretch(self, end_s: float) -> None:
        if self._stretch is not None:
            self._stretch.end(end_s)
        self._stretch = None

    def _decided(self) -> Intervals:
        if not self._found:
            return self._none
        found = self._found.copy()
        self._found.clear()
        probability = table([event.probability for event in found], width=len(self._emotions))
        return intervals(
            np.array([(event.onset, event.apex, event.offset) for event in found]),
            confidence=_calibrated(np.array([event.peak for event in found]), settings=self._settings),
            probability=probability,
            classes=self._emotions,
            label=probability.argmax(axis=1),
        )


def _calibrated(peak: Float64Array, *, settings: DecodeSettings) -> Float64Array:
    height = odds.log_odds(np.clip(peak, odds.LEAST, 1 - odds.LEAST))
    return odds.probability(settings.confidence_slope * height + settings.offset)


@dataclass(frozen=True, eq=False)
class _Event:
    """Half-open frames of the video, the peak of the curve and the class probabilities (K,)."""

    onset: int
    apex: int
    offset: int
    peak: float
    probability: Float64Array


@dataclass(slots=True)
class _Hill:
    """A peak of the curve, with the ground from the valley before it to the lowest frame behind it so far."""

    first: int
    peak: int
    height: float
    valley: int = 0
    lowest: float = math.inf
    falling: bool = False
    decided: bool = False


class _Stretch:
    """One unbroken stretch: smooths it, splits its curve into hills and adds the events among them to ``found``.

    The lists go in parallel and start with frame ``_base`` of the video; ``_curve`` is the shorter one, as
    smoothing looks ahead.  Plain lists and floats: one frame costs some microseconds.
    """

    def __init__(self, settings: DecodeSettings, *, first: int, found: list[_Event]) -> None:
        self._settings = settings
        self._found = found
        self._low = settings.edge_fraction * settings.peak_threshold
        # A curve that has left an event does not return to it: what comes then is another one.
        self._merge_fraction = max(settings.merge_fraction, settings.edge_fraction)
        self._width_s = _RATE_SLACK * settings.smooth_s
        self._reach_back_s = max(settings.max_duration_s, self._width_s) + TIME_TOLERANCE_S
        self._first = self._base = first
        self._first_s = 0.0
        self._time_s: list[float] = []
        self._score: list[float] = []
        self._sum_before: list[float] = []  # of the scores of all frames before each
        self._chance: list[list[float]] = []
        self._curve: list[float] = []
        self._sum = 0.0
        self._since_forgotten = 0
        self._hill: _Hill | None = None

    def __len__(self) -> int:
        return len(self._time_s)

    def add(self, time_s: float, score: float, chance: list[float]) -> None:
        """Take one more frame."""
        if not self._time_s:
            self._first_s = time_s
        self._time_s.append(time_s)
        self._score.append(score)
        self._chance.append(chance)
        self._sum_before.append(self._sum)
        self._sum += score
        self._read_on(ended=False)
        self._forget()

    def end(self, end_s: float) -> None:
        """The stretch ends at ``end_s``, where another frame starts."""
        self._read_on(ended=True)
        if self._hill is not None:
            self._decide(self._hill, offset=self._base + len(self), end_s=end_s)

    def _read_on(self, *, ended: bool) -> None:
        while len(self._curve) < len(self._time_s):
            height = self._smoothed(len(self._curve), ended=ended)
            if height is None:
                return
            self._curve.append(height)
            self._climb(height)

    # The curve

    def _smoothed(self, i: int, *, ended: bool) -> float | None:
        """Mean of the scores around entry ``i``; None while it depends on frames to come."""
        time_s, score, width_s = self._time_s, self._score[i], self._width_s
        following = i + 1 < len(time_s)
        if width_s == 0 or self._base + i == self._first or (ended and not following):
            return score
        if not following:
            return None
        now_s, last_s = time_s[i], time_s[-1]
        widest_s = (width_s - (time_s[i + 1] - time_s[i - 1]) / 2) / 2 + TIME_TOLERANCE_S
        if widest_s < 0:
            return score
        if not ended and last_s <= now_s + widest_s:
            return None
        reach_s = min(widest_s, min(now_s - self._first_s, last_s - now_s) + TIME_TOLERANCE_S)
        first, after = bisect_left(time_s, now_s - reach_s), bisect_right(time_s, now_s + reach_s)
        sum_after = self._sum_before[after] if after < len(time_s) else self._sum
        return (sum_after - self._sum_before[first]) / (after - first)

    # The hills

    def _climb(self, height: float) -> None:
        """Read the newest value of the curve.

        A peak stands once the curve has fallen under ``merge_fraction`` of it; the valley after it
        stands once the curve has risen so far that the valley is under ``merge_fraction`` of it.
        """
        hill, i = self._hill, self._base + len(self._curve) - 1
        if hill is None:
            if height >= self._low:
                self._hill = _Hill(i, i, height)
            return
        if not hill.falling and height > hill.height:
            hill.peak, hill.height = i, height
        elif not hill.falling and height < self._merge_fraction * hill.height:
            hill.falling, hill.valley, hill.lowest = True, i, height
        elif hill.falling and height < hill.lowest:
            hill.valley, hill.lowest = i, height
        elif hill.falling and hill.lowest < self._merge_fraction * height:
            self._decide(hill, offset=hill.valley)
            self._hill = _Hill(hill.valley, i, height)
            return
        if height < self._settings.edge_fraction * hill.height:
            self._decide(hill, offset=i)
        if height < self._low:
            self._hill = None

    def _decide(self, hill: _Hill, *, offset: int, end_s: float | None = None) -> None:
        """Add the event of a hill, or nothing when its duration or its edges are not those of an event.

        The end is in sight with the newest value of the curve, or as the stretch ends with it, at ``end_s``.
        """
        if hill.decided or hill.height < self._settings.peak_threshold or hill.peak < self._base:
            return
        hill.decided = True
        onset = self._onset(hill)
        onset_s = self._time_s[onset - self._base]
        offset_s = self._time_s[offset - self._base] if end_s is None else end_s
        known_s = self._time_s[len(self._curve) - 1] if end_s is None else end_s
        has_edge = onset > self._first or offset < self._base + len(self)
        long_enough = offset_s - onset_s >= self._settings.min_duration_s - TIME_TOLERANCE_S
        short_enough = known_s - onset_s <= self._settings.max_duration_s + TIME_TOLERANCE_S
        if has_edge and long_enough and short_enough:
            self._found.append(self._event(onset, offset, hill.height))

    def _onset(self, hill: _Hill) -> int:
        """First frame of the event, or the oldest in memory: that one is too old to be an onset."""
        least = self._settings.edge_fraction * hill.height
        onset, first = hill.peak - self._base, max(hill.first - self._base, 0)
        while onset > first and self._curve[onset - 1] >= least:
            onset -= 1
        return onset + self._base

    def _event(self, onset: int, offset: int, peak: float) -> _Event:
        span = slice(onset - self._base, offset - self._base)
        score = np.array(self._score[span])
        probability = mean_chance(np.array(self._chance[span]), np.maximum(score, odds.LEAST))
        return _Event(onset, onset + int(score.argmax()), offset, peak, probability)

    def _forget(self) -> None:
        """Drop frames out of reach, but for the last of them, which shows that an event is too long."""
        self._since_forgotten += 1
        if self._since_forgotten < _FORGET_FRAMES:
            return
        self._since_forgotten = 0
        horizon_s = self._time_s[max(len(self._curve) - 1, 0)] - self._reach_back_s
        stale = bisect_left(self._time_s, horizon_s) - 1
        if stale > 0:
            for kept in (self._time_s, self._score, self._sum_before, self._chance, self._curve):
                del kept[:stale]
            self._base += stale
