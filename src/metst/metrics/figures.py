"""From hits to figures: counts and confusion per subject, then precision, recall, F1, UF1, UAR and STRS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from metst.arrays import Float64Array, IntArray
from metst.metrics.matching import Events, Pairs

RATES = ("precision", "recall", "f1")
"""Keys of the rates of a class or of all."""


@dataclass(frozen=True)
class Tally:
    """Per subject: hits, false alarms, misses ``(S, 3)``; true by predicted class ``(S, K, K + 1)``."""

    counts: IntArray
    confusion: IntArray

    def of(self, subjects: IntArray) -> Tally:
        """Only these subjects, by number."""
        return Tally(self.counts[subjects], self.confusion[subjects])


def count_subjects(predictions: Events, truth: Events, *, hits: Pairs, subject: IntArray, classes: int) -> Tally:
    """Count by subject; ``subject`` is that of each video."""
    size = int(subject.max(initial=-1)) + 1
    counts = count_groups(hits, predictions=subject[predictions.video], truth=subject[truth.video], size=size)
    looked_at = hits.of(truth.emotion[hits.truth] >= 0)
    confusion = np.zeros((size, classes, classes + 1), dtype=np.int64)
    where = (subject[truth.video[looked_at.truth]], truth.emotion[looked_at.truth])
    # A predicted class of -1 falls into the last column: none of the classes.
    np.add.at(confusion, (*where, predictions.emotion[looked_at.prediction]), 1)
    return Tally(counts, confusion)


def count_groups(hits: Pairs, *, predictions: IntArray, truth: IntArray, size: int) -> IntArray:
    """Hits, false alarms and misses of each group: ``(size, 3)``.

    Hits and misses belong to the group of the true interval, false alarms to that of the prediction.

    Parameters
    ----------
    hits : Pairs
        Those that count.
    predictions, truth : (N,), (M,) int
        Number of the group of every interval, below ``size``.
    size : int
        How many groups there are.
    """

    def of(groups: IntArray) -> IntArray:
        return np.bincount(groups, minlength=size)

    hit = of(truth[hits.truth])
    false_alarm = of(predictions) - of(predictions[np.unique(hits.prediction)])
    return np.stack([hit, false_alarm, of(truth) - hit], axis=1)


def ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> Float64Array:
    """Quotient, 0 where there is nothing to divide by."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole != 0))


def spotting_rates(counts: IntArray) -> dict[str, Float64Array]:
    """``precision, recall, f1`` of hits, false alarms and misses ``(..., 3)``."""
    hit, false_alarm, miss = np.moveaxis(counts, -1, 0)
    precision, recall = ratio(hit, hit + false_alarm), ratio(hit, hit + miss)
    return dict(zip(RATES, (precision, recall, _harmonic(precision, recall)), strict=True))


def all_scores(tally: Tally, *, scorer: str) -> dict[str, Float64Array]:
    """All figures; the axes before the last of the counts are kept: those of subjects or resamples."""
    confusion = tally.confusion
    spotting = spotting_rates(tally.counts)
    predicted, true = confusion[..., :-1].sum(axis=-2), confusion.sum(axis=-1)
    right = np.diagonal(confusion[..., :-1], axis1=-2, axis2=-1)
    if scorer == "megc":
        right = np.where(right == true.sum(axis=-1, keepdims=True), 0, right)
    class_precision, class_recall = ratio(right, predicted), ratio(right, true)
    class_f1 = _harmonic(class_precision, class_recall)
    mean_precision, mean_recall = class_precision.mean(axis=-1), class_recall.mean(axis=-1)
    recognition_f1 = _harmonic(mean_precision, mean_recall)
    return {
        "strs": spotting["f1"] * recognition_f1,
        **{f"spotting_{name}": rate for name, rate in spotting.items()},
        "recognition_precision": mean_precision,
        "recognition_recall": mean_recall,
        "recognition_f1": recognition_f1,
        "uf1": class_f1.mean(axis=-1),
        "uar": mean_precision if scorer == "megc" else mean_recall,
        "class_precision": class_precision,
        "class_recall": class_recall,
        "class_f1": class_f1,
    }


def overall_scores(scores: Mapping[str, Float64Array]) -> dict[str, Float64Array]:
    """Those of :func:`all_scores` that are not of single classes."""
    return {name: score for name, score in scores.items() if not name.startswith("class_")}


def count_figures(counts: IntArray) -> dict[str, int | float]:
    """``tp, fp, fn`` with precision, recall and F1, for JSON."""
    rates = {name: float(rate) for name, rate in spotting_rates(counts).items()}
    return dict(zip(("tp", "fp", "fn"), counts.tolist(), strict=True)) | rates


def total_figures(tally: Tally, *, hits: Pairs, names: Sequence[str], scorer: str) -> dict[str, Any]:
    """STRS, spotting and recognition over all subjects, for JSON."""
    total = Tally(tally.counts.sum(axis=0), tally.confusion.sum(axis=0))
    scores, confusion = all_scores(total, scorer=scorer), total.confusion
    pairs, right = int(confusion.sum()), int(np.trace(confusion))
    wrong = int(confusion[:, :-1].sum()) - right
    plain = {name: float(score) for name, score in overall_scores(scores).items()}
    mean_iou = float(hits.iou.mean()) if len(hits.iou) else 0.0
    return {
        "strs": plain["strs"],
        "spotting": {**count_figures(total.counts), "mean_iou": mean_iou},
        "recognition": {name: plain[f"recognition_{name}"] for name in RATES}
        | {"uf1": plain["uf1"], "uar": plain["uar"]}
        | {"tp": right, "fp": wrong, "fn": wrong if scorer == "megc" else pairs - right}
        | {"pairs": pairs, "dropped": len(hits.iou) - pairs, "confusion": confusion.tolist()}
        | {"per_class": {name: _class_figures(scores, i, confusion=confusion) for i, name in enumerate(names)}},
    }


def _harmonic(precision: Float64Array, recall: Float64Array) -> Float64Array:
    return ratio(2 * precision * recall, precision + recall)


def _class_figures(scores: Mapping[str, Float64Array], number: int, *, confusion: IntArray) -> dict[str, float]:
    figures = {name: float(scores[f"class_{name}"][number]) for name in RATES}
    return figures | {"support": int(confusion[number].sum())}
