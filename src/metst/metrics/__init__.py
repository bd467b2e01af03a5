"""How well predicted intervals match the truth: spotting, recognition and their product, STRS.

Everything works on tables for people: one interval per row, in the columns ``subject, video, onset,
offset, emotion``, with frames that count from 1 and both ends included.  Two intervals match when
their IoU on inclusive frames is at least the threshold; what of a prediction lies outside of the video
counts as the published programs count it, in its length.

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

A false alarm is one of these, and a miss one of those (:mod:`metst.metrics.breakdown`):

``background``, ``wrong_interval``, ``duplicate``
    Nothing true near; near, but overlapping too little; overlapping enough what others hit.
``no_peak``, ``below_threshold``, ``wrong_interval``, ``taken``
    No prediction near; one of too low a confidence would have matched; near, but overlapping too
    little; overlapped enough by a prediction that hits another one.

The result of :func:`score_tables` holds

- how it was scored: ``scorer, iou, classes, threshold, rate_hz, frame_base, interval_convention,
  subjects`` and ``videos`` (``rule, counted, without_truth, ignored`` and names by subject in
  ``names, ignored_names``);
- ``strs``;
- ``spotting``: ``tp, fp, fn, precision, recall, f1, mean_iou`` of the hits,
  ``false_alarms_per_video``, ``false_alarms`` and ``misses`` by cause, ``per_class`` and
  ``per_duration``;
- ``recognition``: ``f1, uf1, uar, precision, recall, tp, fp, fn, pairs, dropped, per_class,
  confusion`` (rows true, columns predicted, the last one for any other class);
- ``per_subject``: counts and rates of spotting, recognised pairs;
- ``curve``, if there is a confidence: see :func:`~metst.metrics.curve.threshold_curve`;
- ``confidence_intervals`` of the figures, empty for fewer than two subjects, if asked for;
- ``against``, if given: ``strs, spotting, recognition`` of the other table, and ``difference``
  (predictions minus against) with ``value`` and ``interval`` of every figure;
- ``emotions`` of each table with their counts, and ``notes`` in words on what may be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from metst.arrays import Float64Array
from metst.metrics.breakdown import (
    false_alarm_causes,
    miss_causes,
    spotting_by_class,
    spotting_by_duration,
    spotting_by_subject,
)
from metst.metrics.comparison import Comparison, Rules, compare
from metst.metrics.curve import threshold_curve
from metst.metrics.figures import ratio, total_figures
from metst.metrics.interval_tables import (
    COLUMNS,
    IntervalTable,
    Table,
    checked_table,
    read_intervals_csv,
    read_lengths_csv,
    read_videos_csv,
)
from metst.metrics.matching import SCORERS, Events, close_pairs, interval_iou, match_intervals
from metst.metrics.notes import (
    comparison_notes,
    emotion_counts,
    emotion_notes,
    length_notes,
    resampling_notes,
    table_notes,
)
from metst.metrics.resampling import Bootstrap, differences, intervals
from metst.metrics.text_tables import tables_for_people
from metst.metrics.videos import Videos, counted_rule, place_tables

__all__ = [
    "COLUMNS",
    "SCORERS",
    "Bootstrap",
    "interval_iou",
    "match_intervals",
    "read_intervals_csv",
    "read_lengths_csv",
    "read_videos_csv",
    "score_tables",
    "tables_for_people",
]


def score_tables(
    predictions: Table,
    truth: Table,
    *,
    scorer: str = "strict",
    iou: float = 0.5,
    classes: Sequence[str] = ("negative", "positive", "surprise"),
    against: Table | None = None,
    threshold: float | None = None,
    rate_hz: float | None = None,
    videos: Iterable[tuple[str, str]] | Mapping[tuple[str, str], int | None] = (),
    bootstrap: int | Bootstrap = 1000,
) -> dict[str, Any]:
    """Compare predicted intervals with the truth; the module says what is counted and what the result holds.

    Parameters
    ----------
    predictions, truth : DataFrame, path of a CSV file, or rows
        Columns ``subject, video, onset, offset, emotion``; frames from 1 (predictions may begin earlier), inclusive.
        Predictions may have a column ``confidence`` (any finite numbers, higher is surer).
    scorer : {"strict", "greedy", "many-to-many", "megc"}
        How hits are counted.
    iou : float
        Lowest IoU of a hit, in (0, 1].
    classes : sequence of str
        Classes of recognition: three without "others", or four.
    against : like predictions, optional
        Other predictions for the same truth, to be compared with in pairs of subjects.
    threshold : float, optional
        Only predictions of at least this confidence count, in both tables of predictions.
    rate_hz : float, optional
        Frames per second of all videos: bands of duration are then in seconds.
    videos : iterable of (subject, video)
        Videos of the split that no table names; their subjects are resampled as well.  A mapping gives their frames.
    bootstrap : int or Bootstrap
        Number of resamples of the subjects for 95 % confidence intervals (0 for none).

    Returns
    -------
    dict
        Plain values, ready for JSON.

    Raises
    ------
    UsageError
        If an option has no valid value, a file is missing, or a threshold meets no confidence.
    DataError
        If a table is faulty; all faults of a table are named at once.
    """
    rules = Rules(scorer, iou=iou, classes=_plain(classes), threshold=threshold, rate_hz=rate_hz)
    bootstrap = bootstrap if isinstance(bootstrap, Bootstrap) else Bootstrap(bootstrap)
    tables = _checked(predictions, truth, against=against)
    every, events = place_tables(tables, videos=videos, classes=rules.classes)
    sides = _sides(events, tables=tables, videos=every, rules=rules)
    result = _result(sides["predictions"], videos=every, rules=rules)
    result |= _curve(events, confidence=tables["predictions"].confidence, videos=every, rules=rules)
    result |= _resampled(sides, videos=every, rules=rules, bootstrap=bootstrap)
    few = resampling_notes(result["subjects"], resamples=bootstrap.resamples)
    notes = [*table_notes(tables, listed=every.names), *length_notes(tables, videos=videos), *few]
    return result | _words(sides, tables=tables, rules=rules, notes=notes)


def _plain(classes: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in classes)


def _checked(predictions: Table, truth: Table, *, against: Table | None) -> dict[str, IntervalTable]:
    """The tables by name, the truth at the end."""
    given = {"predictions": predictions} | ({} if against is None else {"against": against})
    tables = {
        name: checked_table(table, name=name, with_confidence=True, predicted=True) for name, table in given.items()
    }
    return tables | {"truth": checked_table(truth, name="truth")}


def _sides(
    events: Mapping[str, Events], *, tables: Mapping[str, IntervalTable], videos: Videos, rules: Rules
) -> dict[str, Comparison]:
    """Each table of predictions against the truth, by name."""
    return {
        name: compare(predictions, events["truth"], confidence=tables[name].confidence, videos=videos, rules=rules)
        for name, predictions in events.items()
        if name != "truth"
    }


def _result(compared: Comparison, *, videos: Videos, rules: Rules) -> dict[str, Any]:
    """How it was scored, and every figure of the predictions."""
    result = _conditions(compared, videos=videos, rules=rules) | _figures(compared, rules=rules)
    details = {
        "false_alarms": false_alarm_causes(compared),
        "misses": miss_causes(compared, iou=rules.iou),
        "per_class": spotting_by_class(compared, names=rules.classes),
        "per_duration": spotting_by_duration(compared, rate_hz=rules.rate_hz),
    }
    return result | {
        "spotting": result["spotting"] | details,
        "per_subject": spotting_by_subject(compared, videos=videos),
    }


def _words(
    sides: Mapping[str, Comparison], *, tables: Mapping[str, IntervalTable], rules: Rules, notes: Iterable[str]
) -> dict[str, Any]:
    """What people should know beside the figures."""
    emotions = {name: emotion_counts(table) for name, table in tables.items()}
    return {
        "emotions": emotions,
        "notes": [*emotion_notes(emotions, names=rules.classes), *comparison_notes(sides, rules=rules), *notes],
    }


def _conditions(compared: Comparison, *, videos: Videos, rules: Rules) -> dict[str, Any]:
    """How it was scored."""
    counted = int(compared.counted.sum())
    return {
        "scorer": rules.scorer,
        "iou": rules.iou,
        "classes": list(rules.classes),
        "threshold": rules.threshold,
        "frame_base": 1,
        "interval_convention": "inclusive",
        "videos": {
            "rule": counted_rule(rules.scorer),
            "counted": counted,
            "without_truth": counted - np.unique(compared.truth.video).size,
            "ignored": len(videos) - counted,
            "names": videos.by_subject(compared.counted),
            "ignored_names": videos.by_subject(~compared.counted),
        },
        "subjects": np.unique(videos.subject[compared.counted]).size,
        "rate_hz": rules.rate_hz,
    }


def _figures(compared: Comparison, *, rules: Rules) -> dict[str, Any]:
    figures = total_figures(compared.tally, hits=compared.hits, names=rules.classes, scorer=rules.scorer)
    spotting = figures["spotting"]
    spotting["false_alarms_per_video"] = float(ratio(spotting["fp"], compared.counted.sum()))
    return figures


def _curve(
    events: Mapping[str, Events], *, confidence: Float64Array | None, videos: Videos, rules: Rules
) -> dict[str, Any]:
    """Spotting at every threshold, of all predictions."""
    if confidence is None:
        return {}
    predictions, truth = events["predictions"], events["truth"]
    pairs = close_pairs(predictions, truth, iou=rules.iou)
    curve = threshold_curve(
        predictions, truth, confidence=confidence, pairs=pairs, subject=videos.subject, scorer=rules.scorer
    )
    return {"curve": curve}


def _resampled(
    sides: Mapping[str, Comparison], *, videos: Videos, rules: Rules, bootstrap: Bootstrap
) -> dict[str, Any]:
    """Intervals, and the comparison with the other table if there is one."""
    side, other = sides["predictions"], sides.get("against")
    result: dict[str, Any] = {}
    if bootstrap.resamples:
        own = np.unique(videos.subject[side.counted])
        drawn = bootstrap.drawn(len(own))
        result["confidence_intervals"] = intervals(side.tally.of(own), scorer=rules.scorer, drawn=drawn)
    if other is not None:
        either = np.unique(videos.subject[side.counted | other.counted])
        pair = side.tally.of(either), other.tally.of(either)
        change = differences(*pair, scorer=rules.scorer, drawn=bootstrap.drawn(len(either)))
        result["against"] = _figures(other, rules=rules) | {"subjects": len(either), "difference": change}
    return result
