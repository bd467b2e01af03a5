"""The videos of a comparison, and tables as events in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metst.arrays import BoolArray, IntArray
from metst.metrics.matching import Events

if TYPE_CHECKING:
    from metst.metrics.interval_tables import IntervalTable


@dataclass(frozen=True, eq=False)
class Videos:
    """Every (subject, video), in order of name, and the number of its subject ``(V,)``."""

    names: tuple[tuple[str, str], ...]
    subjects: tuple[str, ...]
    subject: IntArray

    def __len__(self) -> int:
        return len(self.names)

    def by_subject(self, chosen: BoolArray) -> dict[str, list[str]]:
        """Names of the chosen videos."""
        listed: dict[str, list[str]] = {}
        for i in np.flatnonzero(chosen).tolist():
            subject, video = self.names[i]
            listed.setdefault(subject, []).append(video)
        return listed


def place_tables(
    named: Mapping[str, IntervalTable], *, videos: Iterable[tuple[str, str]], classes: Sequence[str]
) -> tuple[Videos, dict[str, Events]]:
    """All tables on one axis on which no two videos touch; subjects count in the order in which they appear."""
    tables = list(named.values())
    keys = [key for table in tables for key in zip(table.subject, table.video, strict=True)]
    listed = sorted({*keys, *((str(subject), str(video)) for subject, video in videos)})
    numbers = {key: number for number, key in enumerate(listed)}
    subjects = {name: number for number, name in enumerate(dict.fromkeys(name for name, _ in (*keys, *listed)))}
    subject = np.array([subjects[name] for name, _ in listed], dtype=np.int64)
    video = np.array([numbers[key] for key in keys], dtype=np.int64)
    onset, offset = (np.concatenate([getattr(table, end) for table in tables]) for end in ("onset", "offset"))
    # From the earliest onset, which published rules put before frame 1 at times, to the latest offset, and one apart.
    earliest, length = np.ones(len(listed), dtype=np.int64), np.zeros(len(listed), dtype=np.int64)
    np.minimum.at(earliest, video, onset)
    np.maximum.at(length, video, offset)
    room = length + 2 - earliest
    start = (np.cumsum(room) - room + 1 - earliest)[video]
    onset, offset = start + onset, start + offset
    place = {name: number for number, name in enumerate(classes)}
    emotion = np.array([place.get(name, -1) for table in tables for name in table.emotion], dtype=np.int64)
    events = Events(video, onset, offset, emotion)
    of_table = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    placed = {name: events.of(of_table == i) for i, name in enumerate(named)}
    return Videos(tuple(listed), tuple(subjects), subject), placed


def counted_videos(predictions: Events, truth: Events, *, subject: IntArray, scorer: str) -> BoolArray:
    """Which videos a scorer counts, ``(V,)``."""
    if scorer != "megc":
        return np.ones(len(subject), dtype=bool)
    with_truth = np.isin(np.arange(len(subject)), truth.video)
    return with_truth & np.isin(subject, subject[predictions.video])


def counted_rule(scorer: str) -> str:
    """The same in words."""
    if scorer != "megc":
        return "all videos that the tables or the list of videos name"
    return "videos with truth, of subjects with predictions"
