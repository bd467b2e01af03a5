"""Rows of the tables of a live run: the columns and their meaning are those of :mod:`metst.results.tables`."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from metst.results.tables import COLUMNS
from metst.stream import Update
from metst.timeline import frame_for_people, frames_for_people

EventRow = dict[str, int | float | str]


def columns(table: str, *, classes: Sequence[str]) -> list[str]:
    """Column names of ``"events.csv"`` or ``"frames.csv"`` in order.

    Conditions are left out: what a frame shows, a blink say, is known only some frames later.
    """
    names = [name for key in COLUMNS[table] for name in key.split(", ") if name != "conditions"]
    return [*names[:-1], *(names[-1].replace("<class>", name) for name in classes)]


def event_rows(update: Update, *, number: int) -> list[EventRow]:
    """Events of an update as in ``events.csv``, counted from ``number``."""
    events = update.events
    names = columns("events.csv", classes=events.classes)
    first, last = frames_for_people(events.onset, events.offset)
    frames = zip(first.tolist(), frame_for_people(events.apex).tolist(), last.tolist(), strict=True)
    times_s, probability = update.event_times_s.round(6).tolist(), events.probability.tolist()
    return [
        dict(zip(names, (number + i, *three, *times_s[i], label, confidence, *probability[i]), strict=True))
        for i, (three, label, confidence) in enumerate(
            zip(frames, events.label, events.confidence.tolist(), strict=True)
        )
    ]


def frame_rows(update: Update, *, usable: deque[bool]) -> Iterator[list[str]]:
    """Cells of the frames of an update that became final, as in ``frames.csv``; ``usable`` loses one each."""
    scores = update.scores
    for i, (time_s, values) in enumerate(zip(scores.grid.time_s.tolist(), scores.values, strict=True)):
        number = int(frame_for_people(update.first_frame + i))
        cells = ("" if np.isnan(value) else str(value) for value in values)
        yield [str(number), str(time_s), str(usable.popleft()), *cells]


def event_json(row: EventRow) -> str:
    """One event as one line of JSON."""
    return json.dumps(row, allow_nan=False)


def event_text(row: EventRow) -> str:
    """One event as one line for people."""
    first = f"{row['onset_s']:.2f}-{row['offset_s']:.2f} s"
    return f"movement candidate {row['event']}: {first}, {row['label']}, confidence {row['confidence']:.0%}"
