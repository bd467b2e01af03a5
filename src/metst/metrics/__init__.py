"""How well predicted intervals match the truth: spotting, recognition and their product, STRS.

Everything works on tables for people: one interval per row, in the columns ``subject, video, onset,
offset, emotion``, with frames that count from 1 and both ends included.  Two intervals match when
their IoU on inclusive frames is at least the threshold.

Several scorers are in use and disagree, so each is offered under its name and every result says
which one was used:

``strict`` (default)
    One-to-one maximum matching, of the maximum ones that of the largest total IoU; all videos.
``greedy`` (what ME-TST's and MEAN's results used)
    Predictions in time order, each looks only at the true interval of its highest IoU; if that is
    taken the prediction is a false alarm.
``many-to-many`` (a copy inside ME-TST)
    A prediction counts one hit per true interval; nothing is ever taken, misses may be negative.
``megc`` (the grand challenge's program)
    Predictions in file order take every free true interval; videos without truth and subjects
    without predictions are ignored.  Its UAR is in truth the mean precision, its recognition
    misses are its recognition false alarms, and a class that all hits have, true and predicted,
    counts 0 like a class that none has.

Spotting counts hits, false alarms and misses over all videos.  Recognition looks at the hits whose
true class is one of the classes asked for: precision and recall are means over the classes (0 where
there is nothing to divide by), ``f1 = 2 P R / (P + R)``, UF1 is the mean F1 of the classes and UAR
the mean recall.  ``STRS = spotting f1 * recognition f1`` (Liong et al., MEAN, 2023).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from metst.errors import UsageError
from metst.metrics.matching import (
    SCORERS,
    Events,
    Float64Array,
    Pairs,
    close_pairs,
    interval_iou,
    match_intervals,
    overlapped,
    scorer_hits,
)
from metst.metrics.tables import COLUMNS, IntervalTable, Table, checked_table, read_intervals_csv, tables_for_people
from metst.timeline import BoolArray, IntArray

__all__ = [
    "COLUMNS",
    "SCORERS",
    "interval_iou",
    "match_intervals",
    "read_intervals_csv",
    "score_tables",
    "tables_for_people",
]

_INTERVAL_PERCENT = (2.5, 97.5)


def score_tables(
    predictions: Table,
    truth: Table,
    *,
    scorer: str = "strict",
    iou: float = 0.5,
    classes: Sequence[str] = ("negative", "positive", "surprise"),
    videos: Iterable[tuple[str, str]] = (),
    bootstrap: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare predicted intervals with the truth; the module says what the scorers count.

    Parameters
    ----------
    predictions, truth : DataFrame, path of a CSV file, or rows
        Columns ``subject, video, onset, offset, emotion``; frames from 1, both ends inclusive.
    scorer : {"strict", "greedy", "many-to-many", "megc"}
        How hits are counted.
    iou : float
        Lowest IoU of a hit, in (0, 1].
    classes : sequence of str
        Classes of recognition: three without "others", or four.
    videos : iterable of (subject, video)
        Videos of the split that neither table names; their subjects are resampled as well.
    bootstrap, seed : int
        Number of resamples of the subjects for 95 % confidence intervals (0 for none), and its seed.

    Returns
    -------
    dict
        Plain numbers, ready for JSON: ``scorer, iou, classes, frame_base, interval_convention, videos,
        subjects, strs``; ``spotting`` with ``tp, fp, fn, precision, recall, f1, mean_iou`` of the hits,
        ``false_alarms`` and ``misses`` split by cause; ``recognition`` with ``f1, uf1, uar, precision,
        recall, tp, fp, fn, pairs, dropped, per_class, confusion`` (rows true, columns predicted, the
        last one for any other class); ``confidence_intervals`` if asked for.

    Raises
    ------
    UsageError
        If an option has no valid value or a file is missing.
    DataError
        If a table is faulty; all faults of a table are named at once.
    """
    names = tuple(name.strip().lower() for name in classes)
    _check_options(scorer, iou=iou, classes=names, bootstrap=bootstrap)
    tables = (checked_table(predictions, name="predictions"), checked_table(truth, name="truth"))
    predicted, true, subject = _events(*tables, videos=videos, classes=names)
    counted = _counted(predicted, true, subject=subject, scorer=scorer)
    predicted, true = predicted.of(counted[predicted.video]), true.of(counted[true.video])
    pairs = close_pairs(predicted, true, iou=iou)
    hits = scorer_hits(scorer, pairs, predictions=predicted)
    tally = _tally(predicted, true, hits, subject=subject, classes=len(names))
    result = _conditions(counted, true, subject=subject) | _figures(tally, hits, names=names, scorer=scorer)
    result["spotting"] |= _causes(predicted, true, pairs=pairs, hits=hits)
    if bootstrap:
        chosen = tally.of(np.unique(subject[counted]))
        result["confidence_intervals"] = _confidence(chosen, scorer=scorer, bootstrap=bootstrap, seed=seed)
    return {"scorer": scorer, "iou": iou, "classes": list(names)} | result


def _check_options(scorer: str, *, iou: float, classes: tuple[str, ...], bootstrap: int) -> None:
    if scorer not in SCORERS:
        raise UsageError(f"unknown scorer {scorer!r}: expected one of {', '.join(SCORERS)}")
    if not 0 < iou <= 1:
        raise UsageError(f"the IoU threshold must be above 0 and at most 1, got {iou}")
    if not classes or len(set(classes)) < len(classes):
        raise UsageError(f"classes must be given once each, got {', '.join(classes) or 'none'}")
    if bootstrap < 0:
        raise UsageError(f"the number of resamples must not be negative, got {bootstrap}")


def _events(
    predictions: IntervalTable, truth: IntervalTable, *, videos: Iterable[tuple[str, str]], classes: tuple[str, ...]
) -> tuple[Events, Events, IntArray]:
    """Both tables as events, and the number of the subject of every video."""
    tables = (predictions, truth)
    keys = [key for table in tables for key in zip(table.subject, table.video, strict=True)]
    listed = sorted({*keys, *((str(subject), str(video)) for subject, video in videos)})
    numbers = {key: number for number, key in enumerate(listed)}
    subjects = {name: number for number, name in enumerate(dict.fromkeys(name for name, _ in (*keys, *listed)))}
    subject = np.array([subjects[name] for name, _ in listed], dtype=np.int64)
    video = np.array([numbers[key] for key in keys], dtype=np.int64)
    length = np.zeros(len(listed), dtype=np.int64)
    np.maximum.at(length, video, np.concatenate([table.offset for table in tables]))
    start = (np.cumsum(length + 1) - length - 1)[video]
    onset, offset = (start + np.concatenate([getattr(table, end) for table in tables]) for end in ("onset", "offset"))
    place = {name: number for number, name in enumerate(classes)}
    emotion = np.array([place.get(name, -1) for table in tables for name in table.emotion], dtype=np.int64)
    events, first = Events(video, onset, offset, emotion), np.arange(len(video)) < len(predictions)
    return events.of(first), events.of(~first), subject


def _counted(predictions: Events, truth: Events, *, subject: IntArray, scorer: str) -> BoolArray:
    """Which videos a scorer counts, ``(V,)``."""
    if scorer != "megc":
        return np.ones(len(subject), dtype=bool)
    with_truth = np.isin(np.arange(len(subject)), truth.video)
    return with_truth & np.isin(subject, subject[predictions.video])


@dataclass(frozen=True)
class _Tally:
    """Per subject: hits, false alarms, misses ``(S, 3)``; true by predicted class ``(S, K, K + 1)``."""

    counts: IntArray
    confusion: IntArray

    def of(self, subjects: IntArray) -> _Tally:
        return _Tally(self.counts[subjects], self.confusion[subjects])


def _tally(predictions: Events, truth: Events, hits: Pairs, *, subject: IntArray, classes: int) -> _Tally:
    size = int(subject.max(initial=-1)) + 1

    def per_subject(video: IntArray) -> IntArray:
        return np.bincount(subject[video], minlength=size)

    hit = per_subject(truth.video[hits.truth])
    false_alarm = per_subject(predictions.video) - per_subject(predictions.video[np.unique(hits.prediction)])
    counts = np.stack([hit, false_alarm, per_subject(truth.video) - hit], axis=1)
    looked_at = hits.of(truth.emotion[hits.truth] >= 0)
    confusion = np.zeros((size, classes, classes + 1), dtype=np.int64)
    where = (subject[truth.video[looked_at.truth]], truth.emotion[looked_at.truth])
    # A predicted class of -1 falls into the last column: none of the classes.
    np.add.at(confusion, (*where, predictions.emotion[looked_at.prediction]), 1)
    return _Tally(counts, confusion)


def _scores(counts: IntArray, confusion: IntArray, *, scorer: str) -> dict[str, Float64Array]:
    """All figures for counts ``(..., 3)`` and confusions ``(..., K, K + 1)``; leading axes are resamples."""
    hit, false_alarm, miss = np.moveaxis(counts, -1, 0)
    precision, recall = _ratio(hit, hit + false_alarm), _ratio(hit, hit + miss)
    predicted, true = confusion[..., :-1].sum(axis=-2), confusion.sum(axis=-1)
    right = np.diagonal(confusion[..., :-1], axis1=-2, axis2=-1)
    if scorer == "megc":
        right = np.where(right == true.sum(axis=-1, keepdims=True), 0, right)
    class_precision, class_recall = _ratio(right, predicted), _ratio(right, true)
    class_f1 = _harmonic(class_precision, class_recall)
    mean_precision, mean_recall = class_precision.mean(axis=-1), class_recall.mean(axis=-1)
    spotting_f1, recognition_f1 = _harmonic(precision, recall), _harmonic(mean_precision, mean_recall)
    return {
        "strs": spotting_f1 * recognition_f1,
        "spotting_precision": precision,
        "spotting_recall": recall,
        "spotting_f1": spotting_f1,
        "recognition_precision": mean_precision,
        "recognition_recall": mean_recall,
        "recognition_f1": recognition_f1,
        "uf1": class_f1.mean(axis=-1),
        "uar": mean_precision if scorer == "megc" else mean_recall,
        "class_precision": class_precision,
        "class_recall": class_recall,
        "class_f1": class_f1,
    }


def _conditions(counted: BoolArray, truth: Events, *, subject: IntArray) -> dict[str, Any]:
    videos = int(counted.sum())
    return {
        "frame_base": 1,
        "interval_convention": "inclusive",
        "videos": {
            "counted": videos,
            "without_truth": videos - np.unique(truth.video).size,
            "ignored": len(counted) - videos,
        },
        "subjects": np.unique(subject[counted]).size,
    }


def _ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> Float64Array:
    """Quotient, 0 where there is nothing to divide by."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole != 0))


def _harmonic(precision: Float64Array, recall: Float64Array) -> Float64Array:
    return _ratio(2 * precision * recall, precision + recall)


def _figures(tally: _Tally, hits: Pairs, *, names: tuple[str, ...], scorer: str) -> dict[str, Any]:
    """STRS, spotting and recognition over all subjects."""
    counts, confusion = tally.counts.sum(axis=0), tally.confusion.sum(axis=0)
    scores = _scores(counts, confusion, scorer=scorer)
    pairs, right = int(confusion.sum()), int(np.trace(confusion))
    wrong = int(confusion[:, :-1].sum()) - right
    plain = {name: float(value) for name, value in scores.items() if value.ndim == 0}
    spotting = dict(zip(("tp", "fp", "fn"), counts.tolist(), strict=True))
    spotting |= {name: plain[f"spotting_{name}"] for name in ("precision", "recall", "f1")}
    recognition = {name: plain[f"recognition_{name}"] for name in ("f1", "precision", "recall")}
    return {
        "strs": plain["strs"],
        "spotting": spotting | {"mean_iou": float(hits.iou.mean()) if len(hits.iou) else 0.0},
        "recognition": recognition
        | {"uf1": plain["uf1"], "uar": plain["uar"]}
        | {"tp": right, "fp": wrong, "fn": wrong if scorer == "megc" else pairs - right}
        | {"pairs": pairs, "dropped": len(hits.iou) - pairs, "confusion": confusion.tolist()}
        | {"per_class": {name: _class_figures(scores, i, confusion=confusion) for i, name in enumerate(names)}},
    }


def _class_figures(scores: Mapping[str, Float64Array], number: int, *, confusion: IntArray) -> dict[str, float]:
    figures = {name: float(scores[f"class_{name}"][number]) for name in ("precision", "recall", "f1")}
    return figures | {"support": int(confusion[number].sum())}


def _causes(predictions: Events, truth: Events, *, pairs: Pairs, hits: Pairs) -> dict[str, dict[str, int]]:
    """Why predictions are false alarms and why true intervals are missed.

    ``background`` and ``unseen`` touch nothing on the other side, ``interval`` touches but overlaps
    too little, ``duplicate`` and ``taken`` overlap enough with a partner that another one has.
    """

    def split(events: Events, others: Events, hit: IntArray, close: IntArray) -> tuple[int, int, int]:
        place = np.arange(len(events))
        left, near = ~np.isin(place, hit), np.isin(place, close)
        touching = overlapped(events, others)
        return int((left & ~touching).sum()), int((left & touching & ~near).sum()), int((left & near).sum())

    alarms = split(predictions, truth, hits.prediction, pairs.prediction)
    misses = split(truth, predictions, hits.truth, pairs.truth)
    return {
        "false_alarms": dict(zip(("background", "interval", "duplicate"), alarms, strict=True)),
        "misses": dict(zip(("unseen", "interval", "taken"), misses, strict=True)),
    }


def _confidence(tally: _Tally, *, scorer: str, bootstrap: int, seed: int) -> dict[str, list[float]]:
    """95 % percentile intervals over resamples of the subjects."""
    size = len(tally.counts)
    if size == 0:
        return {}
    drawn = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=bootstrap)
    counts, confusion = (np.tensordot(drawn, part, axes=1) for part in (tally.counts, tally.confusion))
    scores = _scores(counts, confusion, scorer=scorer)
    names = [name for name in scores if not name.startswith("class_")]
    return {name: np.percentile(scores[name], _INTERVAL_PERCENT).tolist() for name in names}
