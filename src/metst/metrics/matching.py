"""Which predictions match which true intervals, under each of the scorers in use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import lap
import numpy as np
import numpy.typing as npt

from metst.arrays import BoolArray, Float64Array, FloatArray, Int64Array, IntArray

SCORERS = ("strict", "greedy", "many-to-many", "megc")
"""Names of the scorers; :mod:`metst.metrics` says what each counts."""


def interval_iou(predictions: npt.ArrayLike, truth: npt.ArrayLike) -> Float64Array:
    """Intersection over union of every prediction with every true interval.

    Parameters
    ----------
    predictions, truth : (N, 2), (M, 2) array_like of int
        First and last frame, both inclusive.

    Returns
    -------
    (N, M) float64
    """
    first, second = (np.asarray(ends, dtype=np.int64).reshape(-1, 2) for ends in (predictions, truth))
    return _iou(first[:, None, 0], first[:, None, 1], second[None, :, 0], second[None, :, 1])


def match_intervals(iou: FloatArray, *, threshold: float = 0.5) -> Int64Array:
    """One-to-one maximum matching: as many pairs as possible, of those the largest total IoU.

    Parameters
    ----------
    iou : (N, M) float
        As from :func:`interval_iou`.
    threshold : float
        Lowest IoU of a pair.

    Returns
    -------
    (P, 2) int64
        Row and column of every pair, in order of row.
    """
    row, column = np.nonzero(iou >= threshold)
    pairs = Pairs(row, column, iou[row, column])
    pairs = pairs.of(_maximum(pairs))
    return np.stack([pairs.prediction, pairs.truth], axis=1).astype(np.int64)


def _iou(onset: IntArray, offset: IntArray, other_onset: IntArray, other_offset: IntArray) -> Float64Array:
    common = np.maximum(np.minimum(offset, other_offset) - np.maximum(onset, other_onset) + 1, 0)
    return np.asarray(common / ((offset - onset + 1) + (other_offset - other_onset + 1) - common), dtype=np.float64)


@dataclass(frozen=True)
class Pairs:
    """Predictions and true intervals, by row, that overlap enough."""

    prediction: IntArray
    truth: IntArray
    iou: FloatArray

    def of(self, kept: IntArray | BoolArray) -> Pairs:
        """Only these, by number or mask."""
        return Pairs(self.prediction[kept], self.truth[kept], self.iou[kept])


@dataclass(frozen=True)
class Events:
    """One table: video by number, frames on one axis on which no two videos touch, class by number.

    A class of -1 is none of those that recognition looks at.
    """

    video: IntArray
    onset: IntArray
    offset: IntArray
    emotion: IntArray

    def __len__(self) -> int:
        return len(self.video)

    def of(self, kept: BoolArray) -> Events:
        """Only those under the mask, in the same order."""
        return Events(self.video[kept], self.onset[kept], self.offset[kept], self.emotion[kept])


def close_pairs(predictions: Events, truth: Events, *, iou: float) -> Pairs:
    """All pairs of at least this IoU.

    An IoU of ``t`` bounds how far two onsets are apart: by ``(1 - t)`` times the length of the
    interval that starts first, whose length is at most ``1 / t`` times that of the other.
    """
    order = np.argsort(truth.onset, kind="stable")
    onset, length = predictions.onset, predictions.offset - predictions.onset + 1
    begin = np.searchsorted(truth.onset[order], np.floor(onset - (1 - iou) / iou * length), side="left")
    end = np.searchsorted(truth.onset[order], np.ceil(onset + (1 - iou) * length), side="right")
    count = end - begin
    prediction = np.repeat(np.arange(len(predictions)), count)
    place = np.arange(len(prediction)) - np.repeat(np.cumsum(count) - count, count)
    true = order[np.repeat(begin, count) + place]
    value = _iou(onset[prediction], predictions.offset[prediction], truth.onset[true], truth.offset[true])
    return Pairs(prediction, true, value).of(value >= iou)


def overlapped(events: Events, others: Events) -> BoolArray:
    """Which events share a frame with any of the others."""
    if not len(others):
        return np.zeros(len(events), dtype=bool)
    order = np.argsort(others.onset, kind="stable")
    reach = np.concatenate([[-1], np.maximum.accumulate(others.offset[order])])
    return np.asarray(reach[np.searchsorted(others.onset[order], events.offset, side="right")] >= events.onset)


def scorer_hits(scorer: str, pairs: Pairs, *, predictions: Events) -> Pairs:
    """Those of the close pairs that a scorer counts."""
    if scorer == "strict":
        return pairs.of(_maximum(pairs))
    if scorer == "greedy":
        return pairs.of(_greedy(pairs, predictions))
    if scorer == "megc":
        return pairs.of(_first_taken(pairs, order=pairs.prediction))
    return pairs


def _maximum(pairs: Pairs) -> IntArray:
    """One-to-one, as many pairs as possible, of those the largest total IoU.

    Blocks of intervals that no pair connects are settled apart.  In its block a pair weighs more than all IoUs there
    together, so that the number of pairs comes first.
    """
    block = _blocks(pairs)
    order = np.argsort(block, kind="stable")
    ends = np.flatnonzero(np.diff(block[order])) + 1
    chosen = [_assigned(pairs, members) for members in np.split(order, ends)] if len(block) else []
    return np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *chosen]))


def _blocks(pairs: Pairs) -> IntArray:
    """The same number for pairs that share intervals, also by way of others: ``(P,)``."""
    _, row = np.unique(pairs.prediction, return_inverse=True)
    _, column = np.unique(pairs.truth, return_inverse=True)
    rows = int(row.max(initial=-1)) + 1
    label, before = np.arange(rows), np.full(rows, -1)
    while not np.array_equal(label, before):
        before = label.copy()
        least = np.full(int(column.max()) + 1, rows)
        np.minimum.at(least, column, label[row])
        np.minimum.at(label, row, least[column])
        label = label[label]  # a label is the number of a row: long chains shrink by half
    return np.asarray(label[row])


def _assigned(pairs: Pairs, members: IntArray) -> IntArray:
    """The pairs of one block that are chosen."""
    if len(members) == 1:
        return members
    block = pairs.of(members)
    _, row = np.unique(block.prediction, return_inverse=True)
    _, column = np.unique(block.truth, return_inverse=True)
    cost = np.zeros((int(row.max()) + 1, int(column.max()) + 1))
    cost[row, column] = -(1 + len(members) + block.iou)
    _, partner, _ = lap.lapjv(cost, extend_cost=True)
    return np.asarray(members[partner[row] == column])


def _greedy(pairs: Pairs, predictions: Events) -> IntArray:
    """In time order each prediction takes the true interval that it looks at, if that is still free."""
    best = looked_at(pairs)
    in_time = np.argsort(np.argsort(predictions.onset, kind="stable"))
    looked = pairs.of(best)
    return np.asarray(best[_first_taken(looked, order=in_time[looked.prediction])])


def looked_at(pairs: Pairs) -> IntArray:
    """The pair of each prediction with the true interval of its highest IoU (of equal ones the last)."""
    best = np.lexsort((-pairs.truth, -pairs.iou, pairs.prediction))
    return np.asarray(best[first_of(pairs.prediction[best])])


def _first_taken(pairs: Pairs, *, order: IntArray) -> IntArray:
    """For each true interval the pair whose prediction comes first."""
    taken = np.lexsort((order, pairs.truth))
    return np.asarray(taken[first_of(pairs.truth[taken])])


def first_of(groups: IntArray) -> BoolArray:
    """Marks the first of each run of equal neighbours."""
    return np.asarray(np.diff(groups, prepend=-1) != 0)


def matched_in_turn(pairs: Pairs, *, order: Iterable[int]) -> list[int]:
    """Predictions that make the maximum one-to-one matching larger by one pair, when they come in this order.

    After any number of them the matching has as many pairs as are possible by then: a prediction
    that finds no chain of exchanges to a free true interval (Berge, 1957) will not find one later.
    """
    sorted_pairs = np.argsort(pairs.prediction, kind="stable")
    own, start = np.unique(pairs.prediction[sorted_pairs], return_index=True)
    reachable = {
        int(prediction): near.tolist()
        for prediction, near in zip(own, np.split(pairs.truth[sorted_pairs], start[1:]), strict=False)
    }
    holder: dict[int, int] = {}
    closed: set[int] = set()  # no chain from these ends at a free one, now or later
    return [p for p in order if p in reachable and _takes(p, reachable=reachable, holder=holder, closed=closed)]


def _takes(prediction: int, *, reachable: dict[int, list[int]], holder: dict[int, int], closed: set[int]) -> bool:
    """Give the prediction a true interval, exchanging those of others where that frees one."""
    came_from: dict[int, int] = {}
    given_up: dict[int, int | None] = {prediction: None}
    queue = [prediction]
    for asking in queue:
        for wanted in reachable[asking]:
            if wanted in came_from or wanted in closed:
                continue
            came_from[wanted] = asking
            if wanted in holder:
                given_up[holder[wanted]] = wanted
                queue.append(holder[wanted])
                continue
            free: int | None = wanted
            while free is not None:
                holder[free] = came_from[free]
                free = given_up[came_from[free]]
            return True
    closed.update(came_from)
    return False
