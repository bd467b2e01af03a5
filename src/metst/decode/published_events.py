"""The published rules on a series of scores: events in a video that has gaps, with labels and probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metst.arrays import BoolArray, IntArray
from metst.config import Rule, Strategy
from metst.decode.scores import NEUTRAL, class_names, intervals, mean_chance, spot_and_chance, table
from metst.errors import DataError, UsageError
from metst.labels import NEUTRAL as NEUTRAL_INDEX
from metst.published.rule import frame_classes, intervals_and_heights, kept_detections, majority_label
from metst.timeline import Intervals, Series


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
    names = tuple(classes) or class_names(scores.channels)
    if len(names) != NEUTRAL_INDEX + 1 or names[NEUTRAL_INDEX] != NEUTRAL:
        raise DataError(f"published networks have five classes with neutral last, got {', '.join(names) or 'none'}")
    score, chance, valid = spot_and_chance(scores, names)
    frames, height = intervals_and_heights(np.where(valid, score, 0.0), k_p=k_p, rule=rule)
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
    probability = table([mean_chance(chance[span, : len(shown)]) for span in spans], width=len(shown))
    # A vote of no frame is neutral; where neutral is no answer the mean probabilities give one.
    answered = np.where(label[kept] < len(shown), label[kept], probability.argmax(axis=1))
    return intervals(
        np.stack([onset, frames[:, 1], offset], axis=1)[kept],
        confidence=np.clip(height[kept], 0.0, 1.0),
        probability=probability,
        classes=shown,
        label=answered,
    )


def _run_around(frames: IntArray, valid: BoolArray) -> tuple[IntArray, IntArray]:
    """Half-open ends of the unbroken valid stretch around each valid frame."""
    number = np.arange(len(valid))
    gap_before = np.maximum.accumulate(np.where(valid, -1, number))
    gap_after = np.minimum.accumulate(np.where(valid, len(valid), number)[::-1])[::-1]
    return gap_before[frames] + 1, gap_after[frames]
