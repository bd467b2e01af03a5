"""The rules that ME-TST, ME-TST+ and BoostingVRME were published with.

Both set their threshold by the mean and the maximum over the video: they need all of it.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from metst.arrays import BoolArray, Float64Array, FloatArray, Int64Array
from metst.config import Rule, Strategy
from metst.errors import DataError, UsageError
from metst.labels import NEUTRAL
from metst.published.facts import EXTENSION, RULES


def published_intervals(score: npt.ArrayLike, *, k_p: int, rule: Rule) -> Int64Array:
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
    frames, _ = intervals_and_heights(np.asarray(score, dtype=np.float64), k_p=k_p, rule=rule)
    return frames


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
    return int(Counter(votes.tolist()).most_common(1)[0][0]) if votes.size else NEUTRAL


def frame_classes(probability: FloatArray, *, strategy: Strategy) -> Int64Array:
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
    neutral = np.equal(np.asarray(labels, dtype=np.int64), NEUTRAL)
    return ~neutral if strategy == 1 else np.ones_like(neutral)


def intervals_and_heights(score: Float64Array, *, k_p: int, rule: str) -> tuple[Int64Array, Float64Array]:
    """Published intervals (N, 3) and the smoothed score (N,) at the peak of each."""
    if k_p < 1:
        raise UsageError(f"k_p must be at least 1 frame, got {k_p}")
    facts = next((facts for known, facts in RULES.items() if known == rule), None)
    if facts is None:
        raise UsageError(f"unknown decoding rule {rule!r}: expected {' or '.join(map(repr, RULES))}")
    if score.ndim != 1 or not np.isfinite(score).all():
        raise DataError(f"the published rules need one finite score per frame, got shape {score.shape}")
    if score.size == 0:
        return np.zeros((0, 3), dtype=np.int64), np.zeros(0)
    width = facts.smoothing * k_p
    padded = np.convolve(score, np.full(width, 1 / width))
    # The centre of the full convolution; unlike mode="same" also where the curve is the shorter one.
    curve = padded[width // 2 - 1 : width // 2 - 1 + score.size]
    threshold = curve.mean() + facts.peak_share * (curve.max() - curve.mean())
    peaks = find_peaks(curve, height=threshold, distance=k_p)
    if rule == "fixed":
        return np.stack([peaks - k_p, peaks, peaks + k_p], axis=1).astype(np.int64), curve[peaks]
    extended = [(_extended(score, int(peak), k_p=k_p), float(curve[peak])) for peak in peaks]
    kept = _first_of_close(sorted(extended, key=lambda item: item[0][0]), k_p=k_p)
    frames = np.array([frames for frames, _ in kept], dtype=np.int64).reshape(-1, 3)
    return frames, np.array([height for _, height in kept], dtype=np.float64)


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
    lowest = mean / EXTENSION.rise_divisor
    rises = (i - 1 for i in range(nearest + 1, peak) if score[i] > score[i - 1] and score[i] > lowest)
    onset = next(rises, nearest)
    outward = range(onset - 1, max(1, peak - EXTENSION.reach * k_p) - 1, -1)
    return next((i + 1 for i in outward if score[i] < mean and score[i - 1] < mean), onset)


def _first_of_close(
    extended: list[tuple[tuple[int, int, int], float]], *, k_p: int
) -> list[tuple[tuple[int, int, int], float]]:
    """Drop an interval that overlaps (by plain lengths) or nearly shares its apex with a kept one."""
    kept: list[tuple[tuple[int, int, int], float]] = []
    for (onset, apex, offset), height in extended:
        for (kept_onset, kept_apex, kept_offset), _ in kept:
            common = max(0, min(offset, kept_offset) - max(onset, kept_onset))
            union = (offset - onset) + (kept_offset - kept_onset) - common
            if common / union >= EXTENSION.same_event_iou or abs(apex - kept_apex) <= k_p:
                break
        else:
            kept.append(((onset, apex, offset), height))
    return kept


def find_peaks(curve: Float64Array, *, height: float, distance: int) -> Int64Array:
    """Local maxima of at least a height, none closer to a higher one than a distance.

    The semantics are those of ``scipy.signal.find_peaks``, which the published code calls, ties included: a plateau
    counts once, at its middle; the ends of the curve are no peaks.

    Parameters
    ----------
    curve : (T,) float64
        Finite.
    height : float
        Lowest peak.
    distance : int
        Fewest frames from one peak to the next, at least 1.

    Returns
    -------
    (N,) int64
        In order of time.
    """
    peaks = _local_maxima(curve)
    peaks = peaks[curve[peaks] >= height]
    kept = np.ones(len(peaks), dtype=bool)
    for highest in np.argsort(curve[peaks])[::-1]:
        if kept[highest]:
            close = np.abs(peaks - peaks[highest]) < distance
            kept &= ~close
            kept[highest] = True
    return peaks[kept]


def _local_maxima(curve: Float64Array) -> Int64Array:
    """Middles of the level stretches that are higher than both sides."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(curve)) + 1]).astype(np.int64)
    lasts = np.append(starts[1:], len(curve)) - 1
    level = curve[starts]
    higher = np.concatenate([[False], (level[1:-1] > level[:-2]) & (level[1:-1] > level[2:]), [False]])
    higher = higher[: len(starts)]
    return np.asarray((starts[higher] + lasts[higher]) // 2)
