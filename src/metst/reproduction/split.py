"""The videos of the published protocol in the order of the cache, and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metst.arrays import Int64Array, IntArray
from metst.errors import DataError
from metst.labels import Statistic, half_duration
from metst.metrics.interval_tables import read_videos_csv
from metst.reproduction.author_caches import Features, expected_windows, natural_key

if TYPE_CHECKING:
    from metst.datasets import DataSet, Label

NO_CLASS = "unknown"
"""Class of a micro-expression to which the label sheet gives none: it counts for spotting only."""

_FAULTS_SHOWN = 5  # of several faults in one message: set by hand
_NAMES_SHOWN = 3  # videos up to which all are named in a message: set by hand


@dataclass(frozen=True, eq=False)
class TestVideo:
    """One video of the cache with its micro-expressions.

    Parameters
    ----------
    subject, name : str
        As the data set calls them.
    onset, offset : (N,) int64
        Frames of the video, 0-based, half-open.
    emotion : tuple of str
        Class of each; :data:`NO_CLASS` where the sheet gives none.
    frames : int or None
        Length of the video, where its frames are at hand.
    before : int
        Frames between the frame that the authors count as 0 (image 1) and frame 0 of the video.
    """

    __test__ = False  # its name begins like that of a test

    subject: str
    name: str
    onset: Int64Array
    offset: Int64Array
    emotion: tuple[str, ...]
    frames: int | None = None
    before: int = 0

    def sampled(self, step: int) -> tuple[Int64Array, Int64Array]:
        """First and last frame of the micro-expressions in frames of the network, as the authors round them."""
        return (self.onset + self.before) // step, (self.offset - 1 + self.before) // step

    def native(self, first: IntArray, last: IntArray, *, step: int) -> tuple[Int64Array, Int64Array]:
        """Frames of the network, both ends inclusive, as frames of the video, 0-based, half-open and clipped to it.

        A frame of the network stands for the ``step`` frames of the video that begin with it.
        """
        end = np.iinfo(np.int64).max if self.frames is None else self.frames
        onset = np.asarray(first, np.int64) * step - self.before
        offset = (np.asarray(last, np.int64) + 1) * step - self.before
        return np.clip(onset, 0, end - 1), np.clip(offset, 1, end)


@dataclass(frozen=True, eq=False)
class Split:
    """All videos of the cache in its order.

    Parameters
    ----------
    videos : tuple of TestVideo
        With at least one label each, unless an order was given.
    order_from : str
        Where the order comes from, for people.
    left_out : int
        Micro-expressions of the data set that belong to none of these videos.
    """

    videos: tuple[TestVideo, ...]
    order_from: str
    left_out: int

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects in order."""
        return tuple(dict.fromkeys(video.subject for video in self.videos))

    @property
    def labels(self) -> int:
        """Number of micro-expressions."""
        return sum(len(video.onset) for video in self.videos)

    def numbers(self, subject: str) -> list[int]:
        """Places of a subject's videos."""
        return [number for number, video in enumerate(self.videos) if video.subject == subject]

    def half_duration(self, *, step: int, without: str, statistic: Statistic) -> int:
        """``k_p`` from all subjects but one, in frames of the network (:func:`metst.labels.half_duration`)."""
        ends = [video.sampled(step) for video in self.videos if video.subject != without]
        none = np.zeros(0, dtype=np.int64)
        first, last = (np.concatenate([none, *part]) for part in (zip(*ends, strict=True) if ends else ((), ())))
        return half_duration(first, last + 1, statistic=statistic)


def published_split(data_set: DataSet, features: Features, *, step: int, order: str | Path | None = None) -> Split:
    """Which video of a data set each list of windows of the cache belongs to.

    The cache does not name its videos.  The authors' program lists the folders of subjects and videos with numbers
    sorted by value, and keeps videos with at least one micro-expression; it compares names with their case, so that a
    label whose name is spelled otherwise than its folder does not count.  Both readings of such labels are tried.

    Parameters
    ----------
    data_set : DataSet
        With or without frames.
    features : Features
        The cache.
    step : int
        Frames of the video per frame of the network.
    order : path, optional
        CSV file with the columns ``subject, video``: the videos of the cache in its order.

    Raises
    ------
    UsageError
        If there is no such file.
    DataError
        If the number of videos is not that of the cache, if a number of windows does not fit the length of its video,
        or if the order names a video twice or one that the data set does not have.
    """
    micro = data_set.labels_of("micro")
    if order is not None:
        keys = _given(read_videos_csv(order), data_set=data_set, where=Path(order))
        split = _split(data_set, keys, labels=micro, order_from=f"the file {Path(order).name}")
    else:
        split = _listed(data_set, micro, count=len(features.videos))
    _check(split, features, step=step)
    return split


def _listed(data_set: DataSet, micro: Sequence[Label], *, count: int) -> Split:
    """Videos with labels, sorted; without respelled labels if only then their number is that of the cache."""
    respelled = _respelled(data_set)
    exact = [label for label in micro if (label.source.file, label.source.row) not in respelled]
    order_from = "subjects and videos with a micro-expression, numbers in names sorted by value"
    splits = [
        _split(data_set, _sorted(labels), labels=labels, order_from=order_from + remark)
        for labels, remark in ((micro, ""), (exact, ", without labels whose names are spelled otherwise than a folder"))
    ]
    return next((split for split in splits if len(split.videos) == count), splits[0])


def _respelled(data_set: DataSet) -> set[tuple[str, int]]:
    """Rows whose subject or video the loader found under a name in another case."""
    corrections = [fix.source for fix in data_set.corrections if fix.column in ("Subject", "Filename")]
    faults = [fault.source for fault in data_set.faults if fault.effect == f"read as {fault.expected}"]
    return {(source.file, source.row) for source in corrections + faults}


def _sorted(labels: Sequence[Label]) -> list[tuple[str, str]]:
    keys = {(label.subject, label.video) for label in labels}
    return sorted(keys, key=lambda key: (natural_key(key[0]), natural_key(key[1])))


def _given(pairs: list[tuple[str, str]], *, data_set: DataSet, where: Path) -> list[tuple[str, str]]:
    known = {(video.subject, video.name) for video in data_set.videos}
    known |= {(label.subject, label.video) for label in data_set.labels}
    unknown = [f"{subject}/{video}" for subject, video in pairs if (subject, video) not in known]
    if unknown:
        raise DataError(
            f"{where} names videos that {data_set.root} does not have: {', '.join(unknown[:_FAULTS_SHOWN])}"
        )
    if len(set(pairs)) < len(pairs):
        raise DataError(f"{where} names a video twice: expected each video of the cache once")
    return pairs


def _split(data_set: DataSet, keys: Sequence[tuple[str, str]], *, labels: Sequence[Label], order_from: str) -> Split:
    found = {(video.subject, video.name): video for video in data_set.videos}
    videos = []
    for subject, name in keys:
        own = [label for label in labels if (label.subject, label.video) == (subject, name)]
        video = found.get((subject, name))
        videos.append(
            TestVideo(
                subject,
                name,
                np.array([label.onset for label in own], dtype=np.int64),
                np.array([label.offset for label in own], dtype=np.int64),
                tuple(label.emotion_class or NO_CLASS for label in own),
                frames=None if video is None else video.frames,
                before=0 if video is None or video.first_image is None else video.first_image - 1,
            )
        )
    split = Split(tuple(videos), order_from, 0)
    return Split(split.videos, order_from, len(data_set.labels_of("micro")) - split.labels)


def _check(split: Split, features: Features, *, step: int) -> None:
    if len(split.videos) != len(features.videos):
        raise DataError(
            f"the cache holds {len(features.videos)} videos, but the labels name {len(split.videos)} with a"
            f" micro-expression ({_in_short(split)}): say with --order which videos these are, or check the labels"
        )
    faults = [
        f"{video.subject}/{video.name} has {len(windows)}, its {video.frames} frames make {wanted}"
        for video, windows in zip(split.videos, features.videos, strict=True)
        if video.frames is not None and len(windows) != (wanted := _windows_of(video, features, step=step))
    ]
    if faults:
        more = f"; and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        raise DataError(
            f"windows of the cache do not fit {len(faults)} of {len(split.videos)} videos:"
            f" {'; '.join(faults[:_FAULTS_SHOWN])}{more}. Say with --order which videos these are; where the frames are"
            " of another release, give a folder with the label sheets only, and lengths are not compared"
        )


def _windows_of(video: TestVideo, features: Features, *, step: int) -> int:
    return expected_windows(-(-((video.frames or 0) + video.before) // step), window=features.window)


def _in_short(split: Split) -> str:
    names = [f"{video.subject}/{video.name}" for video in split.videos]
    return ", ".join(names) if len(names) <= _NAMES_SHOWN else f"{names[0]}, {names[1]}, ..., {names[-1]}"
