"""What a rerun of the published protocol gave: figures beside the published ones, and files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metst.config import Rule, Strategy
from metst.labels import CLASSES
from metst.metrics import COLUMNS
from metst.published.facts import DATA_SETS, RELEASED_COUNTS, Follow, HalfDuration, ReleasedCounts, TrainedOn
from metst.reproduction.author_caches import Features
from metst.reproduction.counting import SCORERS, Detections, count, native_detections
from metst.reproduction.split import NO_CLASS, Split, TestVideo
from metst.storage import csv_bytes, make_folder, write_whole
from metst.timeline import frames_for_people

if TYPE_CHECKING:
    from metst.datasets import DataSet

FOLLOWED: dict[Follow, str] = {
    "description": "first window of each video whole, then second halves",
    "code": "first window of each batch whole, then second halves, zeros where no window wrote, as the authors' "
    "program does; strategy 1 of ME-TST+ and BoostingVRME compares the emotions' logits with 0 instead of the neutral "
    "one",
}
"""How the windows of a video become its curve."""


@dataclass(frozen=True)
class Options:
    """How the protocol is run; see :func:`metst.reproduction.evaluate_published`."""

    data_set: TrainedOn
    strategy: Strategy
    k_p: HalfDuration
    follow: Follow


@dataclass(frozen=True)
class Fold:
    """What is told of a subject's checkpoint."""

    subject: str
    file: str
    network: str
    rule: Rule
    k_p: int
    trained_on: bool | None
    weights_sha256: str


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a rerun gave.

    Parameters
    ----------
    result : dict
        Plain values, ready for JSON: ``protocol``, ``scorers``, ``published``, ``warnings``, ``trained_on``, ...
    split : Split
        The videos.
    detections : Detections
        All that was decoded.
    step : int
        Frames of the video per frame of the network.
    """

    result: dict[str, Any]
    split: Split
    detections: Detections
    step: int


def outcome(
    found: Detections,
    split: Split,
    *,
    features: Features,
    folds: Sequence[Fold],
    data_set: DataSet,
    options: Options,
) -> dict[str, Any]:
    """Plain values, ready for JSON: how it was done, what was found, figures, published counts, what to know.

    Parameters
    ----------
    found : Detections
        Of all videos.
    split : Split
        The videos.
    features : Features
        The cache.
    folds : sequence of Fold
        One per subject, at least one.
    data_set : DataSet
        Where the labels come from.
    options : Options
        How the protocol was run.
    """
    step = DATA_SETS[options.data_set].step
    targets = RELEASED_COUNTS.get((options.data_set, folds[0].network), ())
    return {
        "protocol": _protocol(split, features=features, folds=folds, options=options),
        "found": {
            "subjects": len(split.subjects),
            "videos": len(split.videos),
            "windows": features.windows,
            "micro_expressions": split.labels,
            "micro_expressions_left_out": split.left_out,
            "detections": len(found),
        },
        "scorers": {name: count(found, split.videos, scorer=name, step=step) for name in SCORERS},
        "published": [{**vars(target), "scorer": "greedy"} for target in targets],
        "trained_on": [fold.subject for fold in folds if fold.trained_on],
        "warnings": _warnings(split, targets=targets, folds=folds, data_set=data_set, options=options),
        "label_faults": [str(fault) for fault in data_set.faults],
        "label_corrections": len(data_set.corrections),
        "checkpoints": [vars(fold) for fold in folds],
        "features": list(features.files),
    }


def _protocol(split: Split, *, features: Features, folds: Sequence[Fold], options: Options) -> dict[str, Any]:
    """How it was done."""
    return {
        "data_set": options.data_set,
        "network": folds[0].network,
        "rule": folds[0].rule,
        "strategy": options.strategy,
        "follows": options.follow,
        "stitching": FOLLOWED[options.follow],
        "k_p_from": options.k_p,
        "k_p": {fold.subject: fold.k_p for fold in folds},
        "frames_per_input": DATA_SETS[options.data_set].step,
        "window": features.window,
        "scorers": dict(SCORERS),
        "order_from": split.order_from,
    }


def _warnings(
    split: Split, *, targets: Sequence[ReleasedCounts], folds: Sequence[Fold], data_set: DataSet, options: Options
) -> list[str]:
    found = []
    counted = {target.tp + target.fn for target in targets}
    if counted and split.labels not in counted:
        published = " or ".join(map(str, sorted(counted)))
        found.append(f"the published counts are over {published} micro-expressions, these over {split.labels}")
    if split.left_out:
        found.append(f"micro-expressions that are not of these videos, or are spelled otherwise: {split.left_out}")
    if left_out := sum(tally.left_out for tally in data_set.tallies):
        found.append(f"rows of the label sheets that could not be read as labels: {left_out}")
    if options.k_p == "published":
        found.append("k_p is the published one, which was taken over all subjects, the tested ones included")
    if any(NO_CLASS in video.emotion for video in split.videos):
        found.append("some micro-expressions have no class: they count for spotting only")
    if any(fold.trained_on is None for fold in folds):
        found.append("checkpoints that do not say which subjects they were trained on: their names are trusted")
    return found


def write_evaluation(evaluation: Evaluation, folder: str | Path) -> None:
    """Write ``evaluation.json``, ``predictions.csv``, ``truth.csv`` and ``order.csv``.

    The two tables hold what the scorer ``strict`` counts after the strategy, in frames of the videos from 1, both ends
    included: ``metst score predictions.csv truth.csv`` gives its figures again.  ``order.csv`` is the order of the
    videos in the cache, as ``--order`` reads it.

    Raises
    ------
    OutputError
        If a file cannot be written; each is written whole or not at all.
    """
    folder = Path(folder)
    make_folder(folder)
    videos, found = evaluation.split.videos, evaluation.detections
    onset, offset = frames_for_people(*native_detections(found, videos, step=evaluation.step))
    predictions = [
        (videos[found.video[i]].subject, videos[found.video[i]].name, onset[i], offset[i], CLASSES[found.label[i]])
        for i in np.flatnonzero(found.kept).tolist()
    ]
    contents = {
        "predictions.csv": csv_bytes(COLUMNS, predictions),
        "truth.csv": csv_bytes(COLUMNS, [row for video in videos for row in _truth_rows(video)]),
        "order.csv": csv_bytes(COLUMNS[:2], [(video.subject, video.name) for video in videos]),
        "evaluation.json": (json.dumps(evaluation.result, indent=2, allow_nan=False) + "\n").encode(),
    }
    for name, content in contents.items():
        write_whole(folder / name, content)


def _truth_rows(video: TestVideo) -> list[tuple[Any, ...]]:
    onset, offset = frames_for_people(video.onset, video.offset)
    return [(video.subject, video.name, *row) for row in zip(onset, offset, video.emotion, strict=True)]
