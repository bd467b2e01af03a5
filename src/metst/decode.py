"""From per-frame scores to intervals: the product's rule and the two published ones.

:func:`decode_scores` is what the product uses: an absolute threshold, events of any length and a
calibrated confidence, so that a video without any micro-expression gives nothing.
:func:`published_intervals` and :func:`majority_label` repeat what ME-TST, ME-TST+ and BoostingVRME
were published with; :func:`decode_published` makes :class:`~metst.timeline.Intervals` of them.

Scores are a :class:`~metst.timeline.Series` with the channels ``spot_score`` and one ``p_<class>``
per class; frames that are not valid are gaps, which no event contains or crosses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.signal import find_peaks
from scipy.special import expit, logit

from metst.config import DecodeSettings
from metst.errors import DataError, UsageError
from metst.timeline import BoolArray, FloatArray, IntArray, Intervals, Series, true_runs

SPOT = "spot_score"
CLASS_PREFIX = "p_"
NEUTRAL = "neutral"
NEUTRAL_INDEX = 4
"""The published networks' last class."""

PEAK_SHARE = 0.55
"""Share of the way from the mean to the maximum that a published peak must reach."""

Rule = Literal["fixed", "extensible"]
Strategy = Literal[0, 1, 2]
Float64Array = npt.NDArray[np.float64]

# Timestamps are sums of frame durations: equal times may differ by rounding.
_TIME_TOLERANCE_S = 1e-6
# Keeps the log-odds of a score of 0 or 1 finite.
_LEAST_DOUBT = 1e-6


# The product's rule


def decode_scores(scores: Series, *, settings: DecodeSettings) -> Intervals:
    """Find the events of a video in its scores.

    1. Every unbroken stretch of valid frames is smoothed on its own by a moving average that
       covers at most ``smooth_s`` and shrinks towards the ends of the stretch.
    2. Every *excursion* of the curve above ``edge_fraction * peak_threshold`` is taken by itself.
       Inside of it, two peaks are separate when the valley between them is under
       ``merge_fraction`` (at least ``edge_fraction``) of both.
    3. A peak of at least ``peak_threshold`` is an event.  It reaches as far as the curve keeps
       ``edge_fraction`` of the peak and no farther than the valleys beside it.
    4. Not taken are events shorter than ``min_duration_s``, those whose end is not in sight
       ``max_duration_s`` after their onset, and a stretch that is high from end to end.

    The apex is where the raw score is highest.  The confidence is the peak's log-odds through the
    logistic calibration of the settings.  Class probabilities are the mean over the event, weighted
    by the raw score, of the emotions' probabilities, scaled to a sum of 1 without neutral.

    The curve is read once, from left to right, and an event is decided at the latest
    ``max_duration_s + smooth_s / 2`` after its onset: the look-ahead that a live version needs.

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
    emotions = tuple(name for name in _class_names(scores) if name != NEUTRAL)
    if not emotions:
        raise DataError(f"scores need a channel p_<class> of at least one emotion, got {', '.join(scores.channels)}")
    score, chance = _values(scores, emotions)
    time_s, frame_s = scores.grid.time_s, scores.grid.frame_s
    spans: list[slice] = []
    peaks: list[float] = []
    for run in true_runs(_valid(scores, score, chance)):
        stretch = _Stretch(smooth(score[run], time_s[run], width_s=settings.smooth_s), time_s[run], frame_s)
        for onset, offset, peak in _stretch_events(stretch, settings=settings):
            spans.append(slice(run.start + onset, run.start + offset))
            peaks.append(peak)
    weight = np.maximum(score, _LEAST_DOUBT)
    probability = _rows([_mean_chance(chance[span], weight[span]) for span in spans], width=len(emotions))
    return _intervals(
        _rows([(span.start, span.start + np.argmax(score[span]), span.stop) for span in spans], width=3),
        confidence=_calibrated(np.array(peaks, dtype=np.float64), settings=settings),
        probability=probability,
        classes=emotions,
        label=probability.argmax(axis=1),
    )


def smooth(score: Float64Array, time_s: Float64Array, *, width_s: float) -> Float64Array:
    """Moving average over time whose window stays centred: towards both ends it shrinks.

    Nothing is padded, and an edge near an end is not moved by a window that sees one side only.

    Parameters
    ----------
    score, time_s : (T,) float64
        Values and their timestamps in seconds, without a gap.
    width_s : float
        The window covers at most this time, the durations of its frames included.
    """
    if len(score) < 2:
        return score
    widest_s = (width_s - float(np.median(np.diff(time_s)))) / 2 + _TIME_TOLERANCE_S
    if widest_s < 0:
        return score
    reach_s = np.minimum(widest_s, np.minimum(time_s - time_s[0], time_s[-1] - time_s) + _TIME_TOLERANCE_S)
    first = np.searchsorted(time_s, time_s - reach_s, side="left")
    after = np.searchsorted(time_s, time_s + reach_s, side="right")
    total = np.concatenate([[0.0], np.cumsum(score)])
    return np.asarray((total[after] - total[first]) / (after - first), dtype=np.float64)


@dataclass(frozen=True)
class _Stretch:
    """Unbroken valid frames: the smoothed curve, its times and the duration of one frame."""

    curve: Float64Array
    time_s: Float64Array
    frame_s: float

    def seconds(self, first: int, after: int) -> float:
        """Duration of the half-open frames ``first`` .. ``after``."""
        return float(self.time_s[after - 1] - self.time_s[first]) + self.frame_s


@dataclass(frozen=True)
class _Hill:
    """A peak with the ground that is its own: from the valley before it to the valley after it.

    ``known`` is the first frame by which ``after`` is known to be a valley (or the excursion's end).
    """

    first: int
    peak: int
    after: int
    known: int


def _stretch_events(stretch: _Stretch, *, settings: DecodeSettings) -> Iterator[tuple[int, int, float]]:
    """Half-open frames and peak of the events of one unbroken stretch, excursion by excursion."""
    low = settings.edge_fraction * settings.peak_threshold
    # A curve that has left an event does not return to it: what comes then is another one.
    merge_fraction = max(settings.merge_fraction, settings.edge_fraction)
    for excursion in true_runs(stretch.curve >= low):
        for hill in _hills(stretch.curve, excursion, merge_fraction=merge_fraction):
            if stretch.curve[hill.peak] >= settings.peak_threshold:
                yield from _event_on(hill, stretch, settings=settings)


def _hills(curve: Float64Array, excursion: slice, *, merge_fraction: float) -> list[_Hill]:
    """Split an excursion at its valleys, reading it once from left to right.

    A peak stands once the curve has fallen under ``merge_fraction`` of it; the valley after it
    stands once the curve has risen so far that the valley is under ``merge_fraction`` of it.
    """
    hills: list[_Hill] = []
    start, heights = excursion.start, curve[excursion].tolist()
    first = peak = valley = 0
    falling = False
    for i, height in enumerate(heights):
        if not falling and height > heights[peak]:
            peak = i
        elif not falling and height < merge_fraction * heights[peak]:
            falling, valley = True, i
        elif falling and height < heights[valley]:
            valley = i
        elif falling and heights[valley] < merge_fraction * height:
            hills.append(_Hill(start + first, start + peak, start + valley, start + i))
            first, peak, falling = valley, i, False
    return [*hills, _Hill(start + first, start + peak, excursion.stop, excursion.stop)]


def _event_on(hill: _Hill, stretch: _Stretch, *, settings: DecodeSettings) -> Iterator[tuple[int, int, float]]:
    """The event of a hill, or nothing when its duration or its edges are not those of an event."""
    peak = float(stretch.curve[hill.peak])
    under = np.flatnonzero(stretch.curve[hill.first : hill.after] < settings.edge_fraction * peak) + hill.first
    before, behind = under[under < hill.peak], under[under > hill.peak]
    onset = int(before[-1]) + 1 if before.size else hill.first
    offset, known = (int(behind[0]), int(behind[0])) if behind.size else (hill.after, hill.known)
    has_edge = onset > 0 or offset < len(stretch.curve)
    long_enough = stretch.seconds(onset, offset) >= settings.min_duration_s - _TIME_TOLERANCE_S
    short_enough = stretch.seconds(onset, known) <= settings.max_duration_s + _TIME_TOLERANCE_S
    if has_edge and long_enough and short_enough:
        yield onset, offset, peak


def _calibrated(peak: Float64Array, *, settings: DecodeSettings) -> Float64Array:
    log_odds = logit(np.clip(peak, _LEAST_DOUBT, 1 - _LEAST_DOUBT))
    return np.asarray(expit(settings.confidence_slope * log_odds + settings.confidence_offset), dtype=np.float64)


# The published rules


def published_intervals(score: npt.ArrayLike, *, k_p: int, rule: Rule) -> npt.NDArray[np.int64]:
    """Intervals exactly as the published code decodes one video's curve.

    Both rules smooth with a zero-padded moving average of width ``2 k_p`` and take peaks at least
    ``k_p`` apart that reach ``mean + 0.55 (max - mean)`` of the smoothed curve: a threshold that is
    relative to the video, so that one without any micro-expression gives detections as well.

    ``"fixed"`` (ME-TST, ME-TST+): peak +- ``k_p``, also over the ends of the video.
    ``"extensible"`` (BoostingVRME): the ends follow the raw curve, inside of the video; the apex is
    its maximum between them; of two intervals that overlap or whose apexes are close the first stays.

    Parameters
    ----------
    score : (T,) array_like of float
        The raw score of every frame, without gaps.
    k_p : int
        Half of a typical event in frames, from the training subjects.
    rule : {"fixed", "extensible"}
        Which published rule.

    Returns
    -------
    (N, 3) int64
        Onset, apex, offset: 0-based frames, both ends inclusive, in order of onset.

    Raises
    ------
    UsageError
        If ``k_p`` is below 1 or the rule is unknown.
    DataError
        If the score is not one finite curve.
    """
    intervals, _ = _published(np.asarray(score, dtype=np.float64), k_p=k_p, rule=rule)
    return intervals


def majority_label(classes: npt.ArrayLike, onset: int, offset: int) -> int:
    """The class that most frames strictly inside of an interval have.

    Parameters
    ----------
    classes : (T,) array_like of int
        Class of every frame.
    onset, offset : int
        First and last frame of the interval, 0-based; they may lie outside of the video.  The vote
        is held on ``onset + 1 .. offset - 2``, as published.

    Returns
    -------
    int
        The class; of several the one seen first; neutral (4) when there is no frame to vote.
    """
    votes = np.asarray(classes)[max(0, int(onset)) + 1 : max(0, int(offset) - 1)]
    return int(Counter(votes.tolist()).most_common(1)[0][0]) if votes.size else NEUTRAL_INDEX


def frame_classes(probability: FloatArray, *, strategy: Strategy) -> npt.NDArray[np.int64]:
    """Class of every frame under one of the three synergy strategies.

    Parameters
    ----------
    probability : (T, K) float
        Class probabilities, neutral last.
    strategy : {0, 1, 2}
        0 none and 1 recognition mainly: the best of all classes; 2 spotting mainly: the best
        emotion, so that every detection keeps one.
    """
    return np.asarray(np.argmax(probability[:, :-1] if strategy == 2 else probability, axis=1), dtype=np.int64)


def kept_detections(labels: npt.ArrayLike, *, strategy: Strategy) -> BoolArray:
    """Which detections, ``(N,)`` classes by majority, survive: under strategy 1 the neutral ones do not."""
    neutral = np.equal(np.asarray(labels, dtype=np.int64), NEUTRAL_INDEX)
    return ~neutral if strategy == 1 else np.ones_like(neutral)


def decode_published(
    scores: Series, *, k_p: int, rule: Rule, strategy: Strategy, classes: Sequence[str] = ()
) -> Intervals:
    """Events of a video under a published rule and a synergy strategy.

    A gap counts as score 0, which is what the published smoothing takes the outside of a video for.
    Intervals are clipped to the video and at gaps; a detection whose apex lies in a gap is dropped.
    The confidence is the smoothed score at the peak; it is *not* calibrated.

    Parameters
    ----------
    scores : Series
        ``(T, 1 + 5)``, on frames of the rate that ``k_p`` was fitted on.
    k_p, rule, strategy
        As for :func:`published_intervals` and :func:`frame_classes`; strategy 1 deletes detections
        whose majority vote is neutral.
    classes : sequence of str
        The network's classes in order, neutral last; by default as the channels have them.

    Returns
    -------
    Intervals
        Its classes are the emotions, under strategy 0 neutral too.  The label is the majority vote,
        the probabilities are means over the interval, scaled to a sum of 1.

    Raises
    ------
    UsageError
        If ``k_p``, ``rule`` or ``strategy`` is none that exists.
    DataError
        If the channels are not the score and five classes with neutral last.
    """
    if strategy not in (0, 1, 2):
        raise UsageError(f"unknown synergy strategy {strategy!r}: expected 0, 1 or 2")
    names = tuple(classes) or _class_names(scores)
    if len(names) != NEUTRAL_INDEX + 1 or names[NEUTRAL_INDEX] != NEUTRAL:
        raise DataError(f"published networks have five classes with neutral last, got {', '.join(names) or 'none'}")
    score, chance = _values(scores, names)
    valid = _valid(scores, score, chance)
    frames, height = _published(np.where(valid, score, 0.0), k_p=k_p, rule=rule)
    frames, height = frames[valid[frames[:, 1]]], height[valid[frames[:, 1]]]
    start, stop = _run_around(frames[:, 1], valid)
    onset, offset = np.maximum(frames[:, 0], start), np.minimum(frames[:, 2] + 1, stop)
    voted = frame_classes(np.where(valid[:, None], chance, 0.0), strategy=strategy)
    # An interval cut at its end votes up to the cut, as the published slice does at the end of a video.
    ends = zip(onset, np.minimum(frames[:, 2], stop + 1), strict=True)
    label = np.array([majority_label(voted, *end) for end in ends], dtype=np.int64)
    kept = kept_detections(label, strategy=strategy)
    shown = names if strategy == 0 else names[:NEUTRAL_INDEX]
    spans = [slice(*ends) for ends in zip(onset[kept], offset[kept], strict=True)]
    probability = _rows([_mean_chance(chance[span, : len(shown)]) for span in spans], width=len(shown))
    # A vote of no frame is neutral; where neutral is no answer the mean probabilities give one.
    answered = np.where(label[kept] < len(shown), label[kept], probability.argmax(axis=1))
    return _intervals(
        np.stack([onset, frames[:, 1], offset], axis=1)[kept],
        confidence=np.clip(height[kept], 0.0, 1.0),
        probability=probability,
        classes=shown,
        label=answered,
    )


def _published(score: Float64Array, *, k_p: int, rule: str) -> tuple[npt.NDArray[np.int64], Float64Array]:
    """Published intervals (N, 3) and the smoothed score (N,) at the peak of each."""
    if k_p < 1:
        raise UsageError(f"k_p must be at least 1 frame, got {k_p}")
    if rule not in ("fixed", "extensible"):
        raise UsageError(f"unknown decoding rule {rule!r}: expected 'fixed' or 'extensible'")
    if score.ndim != 1 or not np.isfinite(score).all():
        raise DataError(f"the published rules need one finite score per frame, got shape {score.shape}")
    if score.size == 0:
        return np.zeros((0, 3), dtype=np.int64), np.zeros(0)
    padded = np.convolve(score, np.full(2 * k_p, 1 / (2 * k_p)))
    # The centre of the full convolution; unlike mode="same" also where the curve is the shorter one.
    curve = padded[k_p - 1 : k_p - 1 + score.size]
    threshold = curve.mean() + PEAK_SHARE * (curve.max() - curve.mean())
    peaks, _ = find_peaks(curve, height=threshold, distance=k_p)
    if rule == "fixed":
        return np.stack([peaks - k_p, peaks, peaks + k_p], axis=1).astype(np.int64), curve[peaks]
    extended = [(_extended(score, int(peak), k_p=k_p), float(curve[peak])) for peak in peaks]
    kept = _first_of_close(sorted(extended, key=lambda item: item[0][0]), k_p=k_p)
    intervals = np.array([interval for interval, _ in kept], dtype=np.int64).reshape(-1, 3)
    return intervals, np.array([height for _, height in kept], dtype=np.float64)


def _extended(score: Float64Array, peak: int, *, k_p: int) -> tuple[int, int, int]:
    """Extensible interval around one peak: its end is the start of the mirrored curve."""
    last = len(score) - 1
    mean = float(score.mean())
    onset = _extended_onset(score, peak, k_p=k_p, mean=mean)
    offset = last - _extended_onset(score[::-1], last - peak, k_p=k_p, mean=mean)
    return onset, onset + int(np.argmax(score[onset : offset + 1])), offset


def _extended_onset(score: Float64Array, peak: int, *, k_p: int, mean: float) -> int:
    """First the rise nearest to ``peak - k_p``, then outward to where the curve rests below its mean."""
    nearest = max(0, peak - k_p)
    rises = (i - 1 for i in range(nearest + 1, peak) if score[i] > score[i - 1] and score[i] > mean / 1.5)
    onset = next(rises, nearest)
    outward = range(onset - 1, max(1, peak - 5 * k_p) - 1, -1)
    return next((i + 1 for i in outward if score[i] < mean and score[i - 1] < mean), onset)


def _first_of_close(
    extended: list[tuple[tuple[int, int, int], float]], *, k_p: int
) -> list[tuple[tuple[int, int, int], float]]:
    """Drop an interval that overlaps (IoU >= 0.2 of plain lengths) or nearly shares its apex with a kept one."""
    kept: list[tuple[tuple[int, int, int], float]] = []
    for (onset, apex, offset), height in extended:
        for (kept_onset, kept_apex, kept_offset), _ in kept:
            common = max(0, min(offset, kept_offset) - max(onset, kept_onset))
            union = (offset - onset) + (kept_offset - kept_onset) - common
            if common / union >= 0.2 or abs(apex - kept_apex) <= k_p:
                break
        else:
            kept.append(((onset, apex, offset), height))
    return kept


def _run_around(frames: IntArray, valid: BoolArray) -> tuple[IntArray, IntArray]:
    """Half-open ends of the unbroken valid stretch around each valid frame."""
    number = np.arange(len(valid))
    gap_before = np.maximum.accumulate(np.where(valid, -1, number))
    gap_after = np.minimum.accumulate(np.where(valid, len(valid), number)[::-1])[::-1]
    return gap_before[frames] + 1, gap_after[frames]


# Shared by both


def _class_names(scores: Series) -> tuple[str, ...]:
    return tuple(name.removeprefix(CLASS_PREFIX) for name in scores.channels if name.startswith(CLASS_PREFIX))


def _values(scores: Series, classes: Sequence[str]) -> tuple[Float64Array, Float64Array]:
    """Spotting score (T,) and class probabilities (T, K) in float64."""
    wanted = (SPOT, *(CLASS_PREFIX + name for name in classes))
    if missing := [name for name in wanted if name not in scores.channels]:
        raise DataError(f"scores lack the channels {', '.join(missing)}: they have {', '.join(scores.channels)}")
    values = scores.values[:, [scores.channels.index(name) for name in wanted]].astype(np.float64)
    return values[:, 0], values[:, 1:]


def _valid(scores: Series, score: Float64Array, chance: Float64Array) -> BoolArray:
    return np.asarray(scores.valid & np.isfinite(score) & np.isfinite(chance).all(axis=1))


def _mean_chance(chance: Float64Array, weight: Float64Array | None = None) -> Float64Array:
    """Mean probabilities over frames ``(F, K)``, scaled to a sum of 1; all alike when nothing is left."""
    mean = np.average(chance, axis=0, weights=weight)
    total = float(mean.sum())
    return np.asarray(mean / total) if total > 0 else np.full(len(mean), 1 / len(mean))


def _rows(rows: Sequence[npt.ArrayLike], *, width: int) -> Float64Array:
    """Array ``(N, width)``, also for no row at all."""
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)


def _intervals(
    frames: npt.NDArray[np.generic],
    *,
    confidence: Float64Array,
    probability: Float64Array,
    classes: tuple[str, ...],
    label: IntArray,
) -> Intervals:
    """Intervals of half-open frames ``(N, 3)`` with their classes by index."""
    onset, apex, offset = frames.astype(np.int64).T
    return Intervals(onset, apex, offset, tuple(classes[i] for i in label), confidence, probability, classes)
