"""How well two coders agree: on which events there are, on their labels, on their edges, and frame by frame.

Events of two coders are one where they overlap enough, one to one, whatever their labels: as many pairs as possible, of
those the ones of the largest total IoU.  An event without a partner is one to which the other coder gave the class
:data:`NONE`.  Frames have the label of the event that they lie in, of several the one that begins last, or that class.

Cohen's kappa is ``(observed - expected) / (1 - expected)`` of the shares on which two coders agree and would by chance,
each with the classes as often as used (Cohen, 1960).  Krippendorff's alpha is ``1 - observed / expected`` of
disagreements, with the classes as often as all coders together used them; it takes any number of coders, and frames
that some did not look at (Krippendorff, 2004).  Where all is of one class nothing is left to chance: both are 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metst.arrays import Float64Array, Int64Array, IntArray
from metst.errors import UsageError
from metst.metrics.matching import Events, Pairs, close_pairs, scorer_hits

NONE = "none"
"""Class of what a coder did not mark."""

MATCH_IOU = 0.5
"""Lowest IoU at which two coders saw one event: that of MEGC's spotting, and of the scorers here."""

MISSING = -1
"""In the place of a value that a coder did not give."""

_PAIR = 2
"""Values that a unit needs for anybody to agree about it."""


@dataclass(frozen=True, eq=False)
class Coded:
    """What one coder saw in one recording.

    Parameters
    ----------
    onset, apex, offset : (N,) int
        Frames, 0-based, half-open; an apex of :data:`MISSING` was not given.
    label : tuple of str
        Of each event.
    """

    onset: IntArray
    apex: IntArray
    offset: IntArray
    label: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Pair:
    """One recording as two coders saw it.

    Parameters
    ----------
    one, other : Coded
        Their events.
    frames : int
        Of the recording; 0 where nobody knows: then up to the last one that is marked.
    time_s : (T,) float64, optional
        Timestamps of the frames; without them differences are in frames only.
    """

    one: Coded
    other: Coded
    frames: int = 0
    time_s: Float64Array | None = None

    @property
    def length(self) -> int:
        """Frames that are compared."""
        return self.frames or int(max(self.one.offset.max(initial=0), self.other.offset.max(initial=0)))


def matched_intervals(one: IntArray, other: IntArray, *, iou: float = MATCH_IOU) -> Int64Array:
    """One-to-one pairs of the intervals of two coders: as many as possible, of those the largest total IoU.

    Parameters
    ----------
    one, other : (N, 2), (M, 2) int
        First frame and the one after the last.
    iou : float
        Lowest IoU of a pair, in (0, 1].

    Returns
    -------
    (P, 2) int64
        Row in ``one`` and in ``other`` of every pair, in order of ``one``.

    Raises
    ------
    UsageError
        No such IoU.
    """
    pairs = _matched(one, other, iou=iou)
    return np.stack([pairs.prediction, pairs.truth], axis=1).astype(np.int64)


def _matched(one: IntArray, other: IntArray, *, iou: float) -> Pairs:
    if not 0 < iou <= 1:
        raise UsageError(f"expected an IoU above 0 and up to 1, got {iou}")
    first, second = (_events(each) for each in (one, other))
    pairs = scorer_hits("strict", close_pairs(first, second, iou=iou), predictions=first)
    return pairs.of(np.argsort(pairs.prediction, kind="stable"))


def _events(intervals: IntArray) -> Events:
    ends = np.asarray(intervals, dtype=np.int64).reshape(-1, 2)
    nothing = np.zeros(len(ends), dtype=np.int64)
    return Events(nothing, ends[:, 0], ends[:, 1] - 1, nothing)


def cohen_kappa(table: IntArray) -> float | None:
    """Cohen's kappa of a table of counts.

    Parameters
    ----------
    table : (K, K) int
        Units by the class of one coder (rows) and of the other.

    Returns
    -------
    float or None
        1 where all units are of one class; None where there are no units.
    """
    total = float(table.sum())
    if not total:
        return None
    observed = float(np.trace(table)) / total
    expected = float(table.sum(axis=0) @ table.sum(axis=1)) / total**2
    return 1.0 if expected == 1 else (observed - expected) / (1 - expected)


def krippendorff_alpha(values: IntArray) -> float | None:
    """Krippendorff's alpha of classes without an order.

    Parameters
    ----------
    values : (C, N) int
        Class from 0 that each of ``C`` coders gave each of ``N`` units; below 0 where a coder gave none.

    Returns
    -------
    float or None
        1 where all values are of one class; None where no unit has two values.
    """
    values = np.asarray(values)
    classes, units = int(values.max(initial=0)) + 1, values.shape[1]
    counts = np.zeros((units, classes))
    for row in values:
        given = np.flatnonzero(row >= 0)
        counts[given, row[given]] += 1
    counts = counts[counts.sum(axis=1) >= _PAIR]
    if not len(counts):
        return None
    given = counts.sum(axis=1)
    by_class = counts.sum(axis=0)
    total = float(by_class.sum())
    differing = float(((given[:, None] - counts) * counts / (given[:, None] - 1)).sum())
    expected = float((by_class * (total - by_class)).sum()) / (total - 1)
    return 1.0 if expected == 0 else 1 - differing / expected


def frame_classes(coded: Coded, *, frames: int, labels: Sequence[str]) -> IntArray:
    """``(frames,)`` number of the class of each frame: 0 for none, then as in ``labels``."""
    number = {label: place for place, label in enumerate(labels, start=1)}
    classes = np.zeros(frames, dtype=np.int64)
    for event in np.argsort(coded.onset, kind="stable"):
        classes[coded.onset[event] : coded.offset[event]] = number[coded.label[event]]
    return classes


def agreement(pairs: Sequence[Pair], *, iou: float = MATCH_IOU) -> dict[str, Any]:
    """All figures of how well two coders agree over some recordings.

    Parameters
    ----------
    pairs : sequence of Pair
        The recordings, each as both saw it.
    iou : float
        Lowest IoU at which two events are one, in (0, 1].

    Returns
    -------
    dict
        Plain values, for JSON: ``iou, recordings, frames, events_a, events_b, matched, agreed, only_a, only_b, f1,
        f1_labelled, mean_iou, kappa, kappa_frames, agreement_frames, alpha, labels, confusion, onset, apex, offset``.
        Figures are null where there is nothing to tell.

    Raises
    ------
    UsageError
        No such IoU, or no recording.
    """
    if not pairs:
        raise UsageError("expected at least one recording that both coders saw")
    matches = [
        _matched(*(np.stack([each.onset, each.offset], axis=1) for each in (pair.one, pair.other)), iou=iou)
        for pair in pairs
    ]
    labels = sorted({label for pair in pairs for each in (pair.one, pair.other) for label in each.label})
    table = _confusion(pairs, matches, labels=labels)
    first, second = (np.concatenate(each) for each in zip(*(_both_frames(pair, labels) for pair in pairs), strict=True))
    by_frame = np.zeros((len(labels) + 1, len(labels) + 1), dtype=np.int64)
    np.add.at(by_frame, (first, second), 1)
    matched, agreed = int(table[:-1, :-1].sum()), int(np.trace(table[:-1, :-1]))
    events_a, events_b = int(table[:-1].sum()), int(table[:, :-1].sum())
    return {
        "iou": iou,
        "recordings": len(pairs),
        "frames": len(first),
        "events_a": events_a,
        "events_b": events_b,
        "matched": matched,
        "agreed": agreed,
        "only_a": events_a - matched,
        "only_b": events_b - matched,
        "f1": _f1(matched, events_a + events_b),
        "f1_labelled": _f1(agreed, events_a + events_b),
        "mean_iou": float(np.concatenate([each.iou for each in matches]).mean()) if matched else None,
        "kappa": cohen_kappa(table),
        "kappa_frames": cohen_kappa(by_frame),
        "agreement_frames": float((first == second).mean()) if len(first) else None,
        "alpha": krippendorff_alpha(np.stack([first, second])),
        "labels": [*labels, NONE],
        "confusion": table.tolist(),
        **{edge: _differences(pairs, matches, edge=edge) for edge in ("onset", "apex", "offset")},
    }


def _f1(hits: int, events: int) -> float | None:
    return 2 * hits / events if events else None


def _both_frames(pair: Pair, labels: Sequence[str]) -> tuple[IntArray, IntArray]:
    one, other = (frame_classes(each, frames=pair.length, labels=labels) for each in (pair.one, pair.other))
    return one, other


def _confusion(pairs: Sequence[Pair], matches: Sequence[Pairs], *, labels: Sequence[str]) -> Int64Array:
    """``(K + 1, K + 1)`` events by the label of one coder (rows) and of the other; the last is for none."""
    number = {label: place for place, label in enumerate(labels)}
    table = np.zeros((len(labels) + 1, len(labels) + 1), dtype=np.int64)
    for pair, matched in zip(pairs, matches, strict=True):
        one, other = (np.array([number[each] for each in side.label], dtype=int) for side in (pair.one, pair.other))
        np.add.at(table, (one[matched.prediction], other[matched.truth]), 1)
        np.add.at(table[:, -1], np.delete(one, matched.prediction), 1)
        np.add.at(table[-1], np.delete(other, matched.truth), 1)
    return table


def _differences(pairs: Sequence[Pair], matches: Sequence[Pairs], *, edge: str) -> dict[str, Any]:
    """How far the other coder's edges are behind the first one's, over all matched events that have them."""
    frames, seconds = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for pair, matched in zip(pairs, matches, strict=True):
        one, other = getattr(pair.one, edge)[matched.prediction], getattr(pair.other, edge)[matched.truth]
        given = (one != MISSING) & (other != MISSING)
        one, other = one[given], other[given]
        frames.append(other - one)
        if pair.time_s is not None:
            at = -1 if edge == "offset" else 0  # the last frame of an event, not the first one after
            seconds.append(pair.time_s[other + at] - pair.time_s[one + at])
    timed = all(pair.time_s is not None for pair in pairs)
    return {
        "pairs": sum(map(len, frames)),
        "frames": _spread(np.concatenate(frames)),
        "seconds": _spread(np.concatenate(seconds)) if timed else None,
    }


def _spread(values: Float64Array | IntArray) -> dict[str, float] | None:
    if not len(values):
        return None
    lower, median, upper = np.percentile(values, (25, 50, 75))
    return {
        "median": float(median),
        "mean": float(values.mean()),
        "lower_quartile": float(lower),
        "upper_quartile": float(upper),
        "mean_absolute": float(np.abs(values).mean()),
    }
