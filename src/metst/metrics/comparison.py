"""One table of predictions against the truth, under one set of rules."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from metst.arrays import BoolArray, Float64Array
from metst.errors import UsageError
from metst.metrics.figures import Tally, count_subjects
from metst.metrics.interval_tables import CONFIDENCE
from metst.metrics.matching import SCORERS, Events, Pairs, close_pairs, scorer_hits
from metst.metrics.videos import Videos, counted_videos


@dataclass(frozen=True)
class Rules:
    """What counts: the scorer, the lowest IoU of a hit, the classes, the lowest confidence if there is one.

    With a frame rate, frames per second, bands of duration are in seconds.

    Raises
    ------
    UsageError
        If one has no valid value.
    """

    scorer: str
    iou: float
    classes: tuple[str, ...]
    threshold: float | None = None
    rate_hz: float | None = None

    def __post_init__(self) -> None:
        if self.scorer not in SCORERS:
            raise UsageError(f"unknown scorer {self.scorer!r}: expected one of {', '.join(SCORERS)}")
        if not 0 < self.iou <= 1:
            raise UsageError(f"the IoU threshold must be above 0 and at most 1, got {self.iou}")
        if not all(self.classes) or not 0 < len(self.classes) == len(set(self.classes)):
            raise UsageError(f"classes must be given once each, got {', '.join(self.classes) or 'none'}")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise UsageError(f"the confidence threshold must be a finite number, got {self.threshold}")
        if self.rate_hz is not None and not 0 < self.rate_hz < math.inf:
            raise UsageError(f"the frame rate must be a number of frames per second above 0, got {self.rate_hz}")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Predictions and truth in the videos that count ``(V,)``, and what came of them.

    ``below`` are the predictions under the threshold of confidence, in all videos; None if there is
    no threshold.
    """

    counted: BoolArray
    predictions: Events
    below: Events | None
    truth: Events
    pairs: Pairs
    hits: Pairs
    tally: Tally


def compare(
    predictions: Events, truth: Events, *, confidence: Float64Array | None, videos: Videos, rules: Rules
) -> Comparison:
    """Match, and count by subject.

    Raises
    ------
    UsageError
        If there is a threshold, and predictions have no confidence.
    """
    below = None
    if rules.threshold is not None:
        if confidence is None and len(predictions):
            raise UsageError(f"a confidence threshold needs a column {CONFIDENCE} in every table of predictions")
        enough = np.zeros(0, dtype=bool) if confidence is None else confidence >= rules.threshold
        predictions, below = predictions.of(enough), predictions.of(~enough)
    counted = counted_videos(predictions, truth, subject=videos.subject, scorer=rules.scorer)
    predictions, truth = predictions.of(counted[predictions.video]), truth.of(counted[truth.video])
    pairs = close_pairs(predictions, truth, iou=rules.iou)
    hits = scorer_hits(rules.scorer, pairs, predictions=predictions)
    tally = count_subjects(predictions, truth, hits=hits, subject=videos.subject, classes=len(rules.classes))
    return Comparison(counted, predictions, below, truth, pairs, hits, tally)
