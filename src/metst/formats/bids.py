"""Events of the Brain Imaging Data Structure: ``*_events.tsv`` and the ``.json`` beside it that describes the columns.

``onset`` and ``duration`` are seconds of the recording, ``trial_type`` is the label; ``n/a`` stands for what nobody
said.  Times have six decimals: frames that last longer than a microsecond come back as they were.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metst.coding.layers import Coding, Layer, LayerEvent, action_units_of, coder_of, label_of, layers_of, note_of
from metst.errors import DataError
from metst.formats.files import Found
from metst.formats.frames import FrameTimes
from metst.formats.tables import events_of_video, existing, named_rows, seconds
from metst.spelling.delimited import plain_name, read_text_table
from metst.storage import csv_bytes, make_folder, write_whole
from metst.timeline import TimeGrid

_ABSENT = "n/a"
"""What stands where there is no value."""
_DECIMALS = 6
"""Of times: to the microsecond."""
_COLUMNS: dict[str, dict[str, Any]] = {
    "onset": {"Description": "Begin of the first frame of the event, from the start of the recording.", "Units": "s"},
    "duration": {"Description": "Time until the frame after the last one of the event begins.", "Units": "s"},
    "trial_type": {"LongName": "Label", "Description": "Class of the movement, or what the coder called it."},
    "coder": {"Description": "Who saw it; machine: found by metst, a candidate with a confidence."},
    "apex": {"Description": "Begin of the frame in which the movement is strongest.", "Units": "s"},
    "confidence": {"Description": "Probability that this is a movement of this kind, 0 to 1."},
    "action_units": {"Description": "Action units of the Facial Action Coding System, with blanks between."},
    "note": {"Description": "What the coder added."},
    "stim_file": {"Description": "Name of the recording."},
}
"""Columns and their descriptions, as the file beside has them."""


def write_bids(coding: Coding, path: Path) -> None:
    """Write the layers of a recording as a table of events, and what its columns are as JSON beside it.

    Raises
    ------
    OutputError
        One of them cannot be written.
    """
    make_folder(path.parent)
    described = dict(_COLUMNS)
    labels = {label: f"Events with the label {label}" for label in coding.vocabulary}
    described["trial_type"] = described["trial_type"] | {"Levels": labels}
    write_whole(path.with_suffix(".json"), f"{json.dumps(described, indent=2, ensure_ascii=False)}\n".encode())
    write_whole(path, csv_bytes(tuple(_COLUMNS), _rows(coding), separator="\t"))


def _rows(coding: Coding) -> Iterator[tuple[str, ...]]:
    """In order of onset, as the standard wants it."""
    times = FrameTimes(coding.grid)
    events = [(event, layer.coder) for layer in coding.layers for event in layer.events]
    for event, coder in sorted(events, key=lambda each: each[0].onset):
        start_s, end_s = times.span_s(event)
        apex_s = None if event.apex is None else times.frame_span_s(event.apex)[0]
        confidence = None if event.confidence is None else repr(event.confidence)
        yield (
            f"{start_s:.{_DECIMALS}f}",
            f"{end_s - start_s:.{_DECIMALS}f}",
            event.label,
            coder,
            _ABSENT if apex_s is None else f"{apex_s:.{_DECIMALS}f}",
            confidence or _ABSENT,
            " ".join(event.action_units) or _ABSENT,
            event.note or _ABSENT,
            coding.source.name,
        )


def read_bids(path: Path, *, video: str, grid: TimeGrid) -> Found:
    """Read a table of events: a layer for each coder, or one called like the file where it names none.

    Raises
    ------
    UsageError
        There is no such file.
    DataError
        It is no such table, or not one of this recording.
    """
    existing(path)
    rows = read_text_table(path, columns=_COLUMNS).rows
    named = named_rows(rows, columns=_COLUMNS, path=path)
    if missing := {"onset", "duration"} - {plain_name(name) for name in rows[0][1]}:
        raise DataError(f"{path} is no table of events of BIDS: it lacks the columns {', '.join(sorted(missing))}")
    named = [
        (line, {name: _said(cell) if name != "trial_type" else cell for name, cell in row.items()})
        for line, row in named
    ]
    somebody, times = coder_of(path.stem.removesuffix("_events")), FrameTimes(grid)

    def coded(row: Mapping[str, str], what: str) -> tuple[str, LayerEvent]:
        return coder_of(row["coder"]) if row.get("coder") else somebody, _event(row, times=times, what=what)

    events, notes = events_of_video(named, column="stim_file", video=video, path=path, coded=coded)
    return Found(layers_of(events) or (Layer(somebody),), notes)


def _said(cell: str) -> str:
    return "" if cell == _ABSENT else cell


def _event(row: Mapping[str, str], *, times: FrameTimes, what: str) -> LayerEvent:
    start_s, duration_s = seconds(row.get("onset", "")), seconds(row.get("duration") or "0")
    onset, offset = times.frames(start_s, start_s + duration_s, what=what)
    apex, confidence = row.get("apex"), row.get("confidence")
    return LayerEvent(
        onset,
        offset,
        label_of(row.get("trial_type", "")),
        apex=times.frame_in(seconds(apex), onset=onset, offset=offset) if apex else None,
        confidence=float(confidence) if confidence else None,
        note=note_of(row.get("note", "")),
        action_units=action_units_of(row.get("action_units", "")),
    )
