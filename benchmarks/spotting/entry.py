"""A system that somebody else ran: its candidates come in a table, by the names of ``clips.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from baselines import Chance
from clips import Recording
from plan import Plan
from scored import hits

from metst.errors import DataError, UsageError
from metst.labels import EMOTIONS
from metst.metrics import read_intervals_csv
from metst.timeline import Intervals, frames_from_people

_NAMED = 3  # clips that a line names, of those it counts


@dataclass(frozen=True, eq=False)
class Entry:
    """Candidates by clip."""

    name: str
    found: dict[str, Intervals]

    def find(self, recording: Recording) -> Intervals:
        """Those of a clip; none where the table has no row for it.

        Raises
        ------
        DataError
            One ends after the clip.
        """
        events = self.found.get(recording.name, Intervals.empty(EMOTIONS))
        frames = len(recording.motion)
        if len(events) and events.offset.max() > frames:
            raise DataError(
                f"{self.name}: a candidate in {recording.name} ends in frame {events.offset.max()}, the clip has"
                f" {frames} frames"
            )
        return events

    def note(self, recordings: Sequence[Recording]) -> str:
        """Which clips have no row, and what chance would find there; empty where all have one."""
        missing = [each for each in recordings if each.name not in self.found]
        if not missing:
            return ""
        chance = Chance.like(recordings)
        found = [chance.find(each) for each in missing]
        right = sum(int((hits(events, each.truth) >= 0).sum()) for events, each in zip(found, missing, strict=True))
        named = ", ".join(each.name for each in missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
        return (
            f"{self.name}: no row for {len(missing)} of {len(recordings)} clips ({named}): counted as nothing found."
            f" Chance finds {right} of their {sum(len(each.truth) for each in missing)} movements, with"
            f" {sum(map(len, found)) - right} false alarms"
        )


def read_entry(path: Path, *, plan: Plan) -> Entry:
    """Read ``subject,video,onset,offset,emotion,confidence``; clips of other splits may stand there too.

    Raises
    ------
    UsageError
        There is no such file.
    DataError
        It is no such table, or a row names a clip that the plan does not have, another person than its own, an
        emotion that is none, or a confidence that is not between 0 and 1.
    """
    table = read_intervals_csv(path, with_confidence=True)
    if table.confidence is None:
        raise DataError(f"{path} has no column confidence: expected one number from 0 to 1 for each candidate")
    people = {clip.name: clip.person for clip in plan.clips()}
    for i, (person, video) in enumerate(zip(table.subject, table.video, strict=True)):
        if video not in people:
            raise DataError(f"{path}: row {i + 2} names the clip {video!r}, which the plan does not have")
        if person != people[video]:
            raise DataError(f"{path}: row {i + 2} has the subject {person!r}, {video} shows {people[video]!r}")
        if table.emotion[i] not in EMOTIONS:
            raise DataError(f"{path}: row {i + 2} has {table.emotion[i]!r}, expected one of {', '.join(EMOTIONS)}")
        if not 0 <= table.confidence[i] <= 1:
            raise DataError(f"{path}: row {i + 2} has the confidence {table.confidence[i]:g}, expected 0 to 1")
    onset, offset = frames_from_people(table.onset, table.offset)
    found = {}
    for name in dict.fromkeys(table.video):
        rows = [i for i, video in enumerate(table.video) if video == name]
        rows.sort(key=lambda i: int(onset[i]))
        labels = tuple(table.emotion[i] for i in rows)
        probability = np.array([[float(label == each) for each in EMOTIONS] for label in labels])
        middle = (onset[rows] + offset[rows]) // 2
        found[name] = Intervals(
            onset[rows], middle, offset[rows], labels, table.confidence[rows], probability, EMOTIONS
        )
    return Entry(path.stem, found)


def read_entries(paths: Sequence[Path], *, plan: Plan) -> list[Entry]:
    """Several entries, each under a name of its own.

    Raises
    ------
    UsageError
        Two have the same name.
    """
    entries = [read_entry(path, plan=plan) for path in paths]
    names = [entry.name for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"two entries are called {twice[0]}: give the files names of their own")
    return entries
