"""Hits, false alarms and misses of the published protocol, before and after its synergy strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from metst.arrays import AnyArray, BoolArray, Int64Array
from metst.config import Rule, Strategy
from metst.decode import kept_detections, majority_label, published_intervals
from metst.labels import CLASSES, EMOTIONS
from metst.metrics import score_tables
from metst.metrics.matching import Events, Pairs, close_pairs, scorer_hits
from metst.reproduction.split import TestVideo

Scorer = Literal["greedy", "strict"]

SCORERS: dict[Scorer, str] = {
    "greedy": "sampled frames, intervals as decoded; a detection that the strategy deletes goes after the matching",
    "strict": "frames of the video, intervals clipped to it; what the strategy deletes goes before the matching",
}
"""What each scorer is applied to here."""

IOU = 0.5
"""Lowest overlap of a hit, on frames with both ends included: that of all published results."""

_THREE = EMOTIONS[:3]  # the classes of the published three-class figures: all but others


@dataclass(frozen=True, eq=False)
class Detections:
    """What was decoded in all videos.

    Parameters
    ----------
    video : (N,) int64
        Number of the video in the split.
    first, last : (N,) int64
        Frames of the network, 0-based, both inclusive, as published: they may lie outside of the video.
    label : (N,) int64
        Index into :data:`metst.labels.CLASSES`.
    kept : (N,) bool
        What the synergy strategy leaves.
    """

    video: Int64Array
    first: Int64Array
    last: Int64Array
    label: Int64Array
    kept: BoolArray

    def __len__(self) -> int:
        return len(self.video)


def decoded(number: int, curve: AnyArray, votes: AnyArray, *, k_p: int, rule: Rule, strategy: Strategy) -> Detections:
    """Decode one video as published.

    Parameters
    ----------
    number : int
        Of the video in the split.
    curve : (T,) float
        Score of every frame of the network.
    votes : (T,) int
        Class of every one (:func:`metst.decode.frame_classes`).
    k_p, rule, strategy
        As for :func:`metst.decode.published_intervals` and :func:`metst.decode.kept_detections`.
    """
    first, _, last = published_intervals(curve, k_p=k_p, rule=rule).T
    label = np.array([majority_label(votes, *ends) for ends in zip(first, last, strict=True)], dtype=np.int64)
    video = np.full(len(label), number, dtype=np.int64)
    return Detections(video, first, last, label, kept_detections(label, strategy=strategy))


def joined(parts: Sequence[Detections]) -> Detections:
    """Detections of several videos, at least one, in the order of the videos."""
    fields = ("video", "first", "last", "label", "kept")
    video, first, last, label, kept = (np.concatenate([getattr(part, name) for part in parts]) for name in fields)
    order = np.argsort(video, kind="stable")
    return Detections(video[order], first[order], last[order], label[order], kept[order])


def native_detections(found: Detections, videos: Sequence[TestVideo], *, step: int) -> tuple[Int64Array, Int64Array]:
    """Detections in frames of their videos, 0-based and half-open."""
    return _in_videos([videos[video].native(*ends, step=step) for video, *ends in _rows(found)])


def _rows(found: Detections) -> list[tuple[int, Int64Array, Int64Array]]:
    return [(int(v), found.first[i : i + 1], found.last[i : i + 1]) for i, v in enumerate(found.video)]


def _in_videos(ends: Sequence[tuple[Int64Array, Int64Array]]) -> tuple[Int64Array, Int64Array]:
    none = np.zeros(0, dtype=np.int64)
    first, last = (np.concatenate([none, *part]) for part in (zip(*ends, strict=True) if ends else ((), ())))
    return first, last


def count(found: Detections, videos: Sequence[TestVideo], *, scorer: Scorer, step: int) -> dict[str, Any]:
    """Figures of all detections (``raw``) and of those that the strategy keeps (``after_strategy``).

    Parameters
    ----------
    found : Detections
        Of all videos.
    videos : sequence of TestVideo
        The split.
    scorer : {"greedy", "strict"}
        See :data:`SCORERS` and :mod:`metst.metrics`.
    step : int
        Frames of the video per frame of the network.

    Returns
    -------
    dict
        Per stage ``spotting`` (``tp, fp, fn, precision, recall, f1``) and for 3 and for 4 classes ``recognition`` and
        ``strs``, as :func:`metst.metrics.score_tables` gives them.
    """
    predicted, true = _events(found, videos, scorer=scorer, step=step)
    hits = _hits(predicted, true, scorer=scorer)
    everything = np.ones(len(found), dtype=bool)
    after = hits.of(found.kept[hits.prediction])
    if scorer == "strict":
        places = np.flatnonzero(found.kept)
        again = _hits(predicted.of(found.kept), true, scorer=scorer)
        after = Pairs(places[again.prediction], again.truth, again.iou)
    return {
        "raw": _figures(found, videos, hits=hits, counted=everything),
        "after_strategy": _figures(found, videos, hits=after, counted=found.kept),
    }


def _events(found: Detections, videos: Sequence[TestVideo], *, scorer: Scorer, step: int) -> tuple[Events, Events]:
    """Detections and truth with both ends inclusive, videos put one behind the other with room between them."""
    if scorer == "greedy":
        first, last = found.first, found.last
        true_first, true_last = _in_videos([video.sampled(step) for video in videos])
    else:
        first, end = native_detections(found, videos, step=step)
        true_first, true_end = _in_videos([(video.onset, video.offset) for video in videos])
        last, true_last = end - 1, true_end - 1
    true_video = _truth_video(videos)
    ends = np.concatenate([first, last, true_first, true_last, [0]])
    room = int(ends.max() - ends.min()) + 2
    start, true_start = found.video * room, true_video * room
    none = np.zeros(len(true_video), dtype=np.int64)  # the class plays no part in matching
    return (
        Events(found.video, first + start, last + start, found.label),
        Events(true_video, true_first + true_start, true_last + true_start, none),
    )


def _truth_video(videos: Sequence[TestVideo]) -> Int64Array:
    return np.repeat(np.arange(len(videos), dtype=np.int64), [len(video.onset) for video in videos])


def _hits(predicted: Events, true: Events, *, scorer: Scorer) -> Pairs:
    return scorer_hits(scorer, close_pairs(predicted, true, iou=IOU), predictions=predicted)


def _figures(found: Detections, videos: Sequence[TestVideo], *, hits: Pairs, counted: BoolArray) -> dict[str, Any]:
    """Figures of a matching that is settled: each hit, false alarm and miss becomes a video of its own."""
    emotions = [(video.subject, emotion) for video in videos for emotion in video.emotion]
    partner = np.full(len(found), -1)
    partner[hits.prediction] = hits.truth
    predictions = [
        (videos[found.video[i]].subject, f"truth {partner[i]}" if partner[i] >= 0 else f"alarm {i}", 1, 1,
         CLASSES[found.label[i]])
        for i in np.flatnonzero(counted).tolist()
    ]  # fmt: skip
    truth = [(subject, f"truth {i}", 1, 1, emotion) for i, (subject, emotion) in enumerate(emotions)]
    figures: dict[str, Any] = {}
    for names in (_THREE, EMOTIONS):
        scores = score_tables(predictions, truth, scorer="strict", iou=IOU, classes=names, bootstrap=0)
        spotting = {name: scores["spotting"][name] for name in ("tp", "fp", "fn", "precision", "recall", "f1")}
        recognition = {name: scores["recognition"][name] for name in ("f1", "uf1", "uar", "pairs", "dropped")}
        figures |= {"spotting": spotting}
        figures[f"classes_{len(names)}"] = {"recognition": recognition, "strs": scores["strs"]}
    return figures
