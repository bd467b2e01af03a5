"""Spotting at every threshold of the confidence, each as if the table had ended there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metst.arrays import Float64Array, IntArray
from metst.metrics.figures import ratio, spotting_rates
from metst.metrics.matching import Events, Pairs, first_of, looked_at, matched_in_turn

BEST_NOTE = "best on this very data: not a fair estimate"
"""What stands beside the threshold of the highest F1."""


@dataclass(frozen=True)
class _Levels:
    """For each thing that is counted the highest threshold at which it is there.

    A prediction is a hit from its level in ``found`` down to, but not at, its level in ``lost``.
    """

    hits: Float64Array
    found: Float64Array
    lost: Float64Array


def threshold_curve(
    predictions: Events, truth: Events, *, confidence: Float64Array, pairs: Pairs, subject: IntArray, scorer: str
) -> dict[str, Any]:
    """Counts, rates and false alarms per video where only predictions of at least a confidence count.

    Parameters
    ----------
    predictions, truth : Events
        All of them, also those that the scorer ignores.
    confidence : (N,) float64
        Of every prediction.
    pairs : Pairs
        All that overlap enough.
    subject : (V,) int
        Subject of every video.
    scorer : str
        How hits are counted.

    Returns
    -------
    dict
        Lists of one length, from the highest confidence in the table to the lowest: ``threshold, tp, fp,
        fn, precision, recall, f1, false_alarms_per_video``; and ``best``, the row of the highest F1 (of
        equal ones the highest threshold) with a ``note`` that it is no fair estimate.
    """
    thresholds = np.unique(confidence)[::-1]

    def reached(levels: Float64Array) -> IntArray:
        return np.asarray(len(levels) - np.searchsorted(np.sort(levels), thresholds, side="left"))

    videos = np.full(len(subject), np.inf)
    counted = np.ones(len(predictions), dtype=bool)
    if scorer == "megc":  # videos with truth, from where their subject has any prediction
        most = np.full(int(subject.max(initial=-1)) + 1, -np.inf)
        np.maximum.at(most, subject[predictions.video], confidence)
        with_truth = np.isin(np.arange(len(subject)), truth.video)
        videos = np.where(with_truth, most[subject], -np.inf)
        counted = with_truth[predictions.video]
    levels = _levels(pairs, confidence=confidence, scorer=scorer)
    hit = reached(levels.hits)
    false_alarm = reached(confidence[counted]) - reached(levels.found) + reached(levels.lost)
    counts = np.stack([hit, false_alarm, reached(videos[truth.video]) - hit], axis=-1)
    columns = {"threshold": thresholds, **dict(zip(("tp", "fp", "fn"), counts.T, strict=True))}
    columns |= spotting_rates(counts) | {"false_alarms_per_video": ratio(false_alarm, reached(videos))}
    curve: dict[str, Any] = {name: column.tolist() for name, column in columns.items()}
    if len(thresholds):
        place = int(np.argmax(columns["f1"]))
        curve["best"] = {name: column[place] for name, column in curve.items()} | {"note": BEST_NOTE}
    return curve


def _levels(pairs: Pairs, *, confidence: Float64Array, scorer: str) -> _Levels:
    none = np.zeros(0)
    if scorer == "many-to-many":
        return _Levels(confidence[pairs.prediction], confidence[np.unique(pairs.prediction)], none)
    if scorer == "megc":
        hits = _highest_of_truth(pairs, confidence=confidence)
        return _Levels(hits, *_megc_predictions(pairs, confidence=confidence))
    if scorer == "greedy":
        hits = _highest_of_truth(pairs.of(looked_at(pairs)), confidence=confidence)
    else:
        descending = np.argsort(-confidence, kind="stable").tolist()
        hits = confidence[np.array(matched_in_turn(pairs, order=descending), dtype=np.int64)]
    return _Levels(hits, hits, none)  # one to one: each hit is one prediction


def _highest_of_truth(pairs: Pairs, *, confidence: Float64Array) -> Float64Array:
    """For each true interval in the pairs the highest confidence of its predictions."""
    own, place = np.unique(pairs.truth, return_inverse=True)
    highest = np.full(len(own), -np.inf)
    np.maximum.at(highest, place, confidence[pairs.prediction])
    return highest


def _megc_predictions(pairs: Pairs, *, confidence: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Where predictions become hits, and where earlier ones in the file have taken all that they overlap."""
    values, rank = np.unique(confidence, return_inverse=True)
    ordered = pairs.of(np.lexsort((pairs.prediction, pairs.truth)))
    # The highest confidence so far in each run of one true interval: every run starts above all before it.
    base = ordered.truth * len(values)
    before = np.concatenate([[0], np.maximum.accumulate(base + rank[ordered.prediction])[:-1]])[: len(base)]
    taken = np.where(first_of(ordered.truth), -np.inf, values[np.maximum(before - base, 0)])
    lost = np.full(len(confidence), np.inf)
    np.minimum.at(lost, ordered.prediction, taken)
    with_pairs = np.unique(pairs.prediction)
    return confidence[with_pairs], np.minimum(lost, confidence)[with_pairs]
