"""Rows of the tables of a live run: the columns and their meaning are those of :mod:`metst.results.tables`."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from metst.results.tables import COLUMNS, cells_of
from metst.timeline import event_columns, frame_for_people

if TYPE_CHECKING:
    from metst.stream import Update

EventRow = dict[str, int | float | str]


def columns(table: str, *, classes: Sequence[str]) -> list[str]:
    """Column names of ``"events.csv"`` or ``"frames.csv"`` in order.

    Conditions are left out: what a frame shows, a blink say, is known only some frames later.
    """
    names = [name for key in COLUMNS[table] for name in key.split(", ") if name != "conditions"]
    return [*names[:-1], *(names[-1].replace("<class>", name) for name in classes)]


def event_rows(update: Update, *, number: int) -> list[EventRow]:
    """Events of an update as in ``events.csv``, counted from ``number``."""
    found = event_columns(update.events, times_s=update.event_times_s, number=number)
    values = [block.tolist() if isinstance(block, np.ndarray) else block for block in found.values()]
    return [dict(zip(found, row, strict=True)) for row in zip(*values, strict=True)]


def frame_rows(update: Update, *, usable: deque[bool]) -> Iterator[list[str]]:
    """Cells of the frames of an update that became final, as in ``frames.csv``; ``usable`` loses one each."""
    scores = update.scores
    numbers = frame_for_people(update.first_frame + np.arange(len(scores)))
    valid = np.array([usable.popleft() for _ in range(len(scores))], bool)
    blocks = [numbers, scores.grid.time_s, valid, *np.asarray(scores.values).T]
    return (list(row) for row in zip(*map(cells_of, blocks), strict=True))


def event_json(row: EventRow) -> str:
    """One event as one line of JSON."""
    return json.dumps(row, allow_nan=False)


def event_text(row: EventRow) -> str:
    """One event as one line for people."""
    first = f"{row['onset_s']:.2f}-{row['offset_s']:.2f} s"
    return f"movement candidate {row['event']}: {first}, {row['label']}, confidence {row['confidence']:.0%}"
