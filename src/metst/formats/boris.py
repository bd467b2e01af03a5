"""BORIS: projects (``.boris``, format 7.0), and tables of events (``.tsv``, ``.csv``) as it exports them.

One observation per coder, whose name is the independent variable ``coder``; the classes are state events with START and
STOP, the apex is a point event, confidence and action units are modifiers, the note is the comment of START.  Where
events of one coder overlap there is a second observation, ``anna (2)``.  Times are seconds with six decimals: frames
that last longer than a microsecond come back as they were.
"""

from __future__ import annotations

import json
import string
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path, PurePosixPath
from typing import Any

from metst.coding.layers import Coding, Layer, LayerEvent, action_units_of, coder_of, label_of, note_of
from metst.errors import DataError
from metst.formats.files import Found, of_this_video, read_json, tier_name, without_overlap
from metst.formats.frames import FrameTimes
from metst.formats.tables import existing, seconds
from metst.spelling.delimited import plain_name, read_text_table
from metst.storage import csv_bytes, make_folder, write_whole
from metst.timeline import TimeGrid

_VERSION = "7.0"
"""Version of a project's format: key project_format_version."""
_EXPECTED = "project of BORIS"
"""What a file that is something else should have been, for messages."""
_DECIMALS = 6
"""Of times in seconds; BORIS itself has three."""
_CODER = "coder"
"""Independent variable with the coder of an observation."""
_LABELS, _APEX = "metst label", "metst apex"
"""Categories of behaviours: the classes, and the point event that marks the apex."""
_NUMERIC, _SEVERAL = 2, 1
"""Kinds of modifiers: a number, and several of a list."""
_NOTHING = "None"
"""Value of a modifier that was not chosen."""
_PLAYER = "1"
"""The player whose media an observation is timed by."""
_KEYS = string.ascii_lowercase + string.digits
"""Keys of the keyboard for behaviours, in turn."""
_TABLES = {".tsv": "\t", ".csv": ","}
"""Endings of tables, and what parts their cells."""
_STATE, _POINT, _START, _STOP = "STATE", "POINT", "START", "STOP"
"""Words of tables: kinds of events, and the two ends of a state."""
_AGGREGATED = ("Observation id", "Observation date", "Description", "Observation type", "Source", "Time offset (s)",
               "Coding duration", "Media duration (s)", "FPS (frame/s)", _CODER, "Subject",
               "Observation duration by subject by observation", "Behavior", "Behavioral category", "Modifier #1",
               "Modifier #2", "Behavior type", "Start (s)", "Stop (s)", "Duration (s)", "Media file name",
               "Image index start", "Image index stop", "Image file path start", "Image file path stop",
               "Comment start", "Comment stop")  # fmt: skip
"""Columns of aggregated events."""
_OTHERS = ("Time", "Status", "Media file path", "Media file", "Comment", "Modifiers")
"""Further columns of tabular events and of earlier versions."""
_MEDIA = ("Media file name", "Media file path", "Media file")
"""Columns that name the recording."""


@dataclass(frozen=True)
class _Seen:
    """One state, or a point in time, where ``start_s`` is ``end_s``."""

    start_s: float
    end_s: float
    code: str
    category: str
    modifiers: tuple[str, ...]
    comment: str


@dataclass
class _Observation:
    """What one coder saw of one recording; read when it is asked for: what is wrong in one of another is no matter."""

    coder: str
    media: str
    seen: Iterable[_Seen]


def write_boris(coding: Coding, path: Path) -> None:
    """Write the layers of a recording as a project, or as a table of aggregated events (``.tsv``, ``.csv``).

    Raises
    ------
    OutputError
        It cannot be written.
    """
    make_folder(path.parent)
    separator = _TABLES.get(path.suffix.lower())
    if separator:
        write_whole(path, csv_bytes(_AGGREGATED, _aggregated(coding), separator=separator))
    else:
        write_whole(path, f"{json.dumps(_project(coding), indent=1, ensure_ascii=False)}\n".encode())


def _project(coding: Coding) -> dict[str, Any]:
    times = FrameTimes(coding.grid)
    labels = coding.vocabulary
    date = coding.created[:19]
    return {
        "time_format": "s",
        "project_date": date,
        "project_name": PurePosixPath(coding.source.name).stem,
        "project_description": "",
        "project_format_version": _VERSION,
        "subjects_conf": {},
        "behaviors_conf": _ethogram(coding),
        "observations": {
            tier_name(layer.coder, group=group): _observation(
                events, coding=coding, coder=layer.coder, times=times, apex=_apex_code(labels), date=date
            )
            for layer in coding.layers
            for group, events in enumerate(without_overlap(layer.events))
        },
        "behavioral_categories": [_LABELS, _APEX],
        "independent_variables": {
            "0": {"label": _CODER, "description": "who saw it", "type": "text", "default value": "",
                  "possible values": ""},
        },
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }  # fmt: skip


def _apex_code(labels: Sequence[str]) -> str:
    """What the point event is called: no label is."""
    code = "apex"
    while code in labels:
        code += " frame"
    return code


def _ethogram(coding: Coding) -> dict[str, Any]:
    labels = coding.vocabulary
    units = sorted({unit for layer in coding.layers for event in layer.events for unit in event.action_units})
    modifiers = {
        "0": {"name": "confidence", "type": _NUMERIC, "values": []},
        "1": {"name": "action units", "type": _SEVERAL, "values": units},
    }
    kinds = [(label, "State event", _LABELS, modifiers) for label in labels]
    kinds += [(_apex_code(labels), "Point event", _APEX, {})]
    return {
        str(number): {"type": kind, "key": key, "code": code, "description": "", "category": category,
                      "modifiers": own, "excluded": "", "coding map": "", "color": ""}
        for number, ((code, kind, category, own), key) in enumerate(zip(kinds, cycle(_KEYS), strict=False))
    }  # fmt: skip


def _observation(
    events: Iterable[LayerEvent], *, coding: Coding, coder: str, times: FrameTimes, apex: str, date: str
) -> dict[str, Any]:
    name, source, rows = coding.source.name, coding.source, []
    for event in events:
        start_s, end_s = (round(time_s, _DECIMALS) for time_s in times.span_s(event))
        first, last, apex_frame = event.for_people
        modifiers = "|".join(_modifiers(event))
        rows.append([start_s, "", event.label, modifiers, event.note, first])
        if event.apex is not None:
            rows.append([round(times.frame_span_s(event.apex)[0], _DECIMALS), "", apex, "", "", apex_frame])
        rows.append([end_s, "", event.label, modifiers, "", last])
    return {
        "file": {_PLAYER: [name]} | {str(player): [] for player in range(2, 9)},
        "type": "MEDIA",
        "date": date,
        "description": "",
        "time offset": 0.0,
        "events": sorted(rows, key=lambda row: row[0]),  # which keeps a STOP before the START at the same time
        "observation time interval": [0, 0],
        "independent_variables": {_CODER: coder},
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "close_behaviors_between_videos": False,
        "media_info": {
            "length": {name: round(source.duration_s, _DECIMALS)},
            "fps": {name: source.rate_hz},
            "hasVideo": {name: True},
            "hasAudio": {name: False},
            "offset": {_PLAYER: 0.0},
        },
    }


def _modifiers(event: LayerEvent) -> tuple[str, str]:
    confidence = _NOTHING if event.confidence is None else repr(event.confidence)
    return confidence, ",".join(event.action_units) or _NOTHING


def _aggregated(coding: Coding) -> Iterator[tuple[Any, ...]]:
    times, source, apex = FrameTimes(coding.grid), coding.source, _apex_code(coding.vocabulary)
    for layer in coding.layers:
        for group, events in enumerate(without_overlap(layer.events)):
            head = (tier_name(layer.coder, group=group), coding.created[:19].replace("T", " "), "", "Media file(s)",
                    f"player #{_PLAYER}:{source.name}", 0.0, _shown(source.duration_s),
                    _shown(source.duration_s), _shown(source.rate_hz), layer.coder, "No focal subject",
                    "")  # fmt: skip
            for event in events:
                start_s, end_s = times.span_s(event)
                span = (_shown(start_s), _shown(end_s), _shown(end_s - start_s), source.name)
                yield (*head, event.label, _LABELS, *_modifiers(event), _STATE, *span, *[""] * 4, event.note, "")
                if event.apex is not None:
                    at = _shown(times.frame_span_s(event.apex)[0])
                    yield (*head, apex, _APEX, "", "", _POINT, at, at, "NA", source.name, *[""] * 6)


def _shown(number: float) -> str:
    return f"{number:.{_DECIMALS}f}"


def read_boris(path: Path, *, video: str, grid: TimeGrid) -> Found:
    """Read a project, or a table of aggregated or tabular events: a layer for each observation of this recording.

    States are events; points of other programs' behaviours are events of one frame.

    Raises
    ------
    UsageError
        There is no such file.
    DataError
        It is none of these, or holds nothing of this recording.
    """
    existing(path)
    table = path.suffix.lower() in {*_TABLES, ".txt"}
    try:
        observations = list(_in_table(path) if table else _in_project(path))
        names, notes = of_this_video((each.media for each in observations), video=video, path=path)
        times = FrameTimes(grid)
        events: dict[str, list[LayerEvent]] = {}
        for each in observations:
            if each.media in names:
                events.setdefault(each.coder, []).extend(_events(each, times=times, path=path))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise DataError(f"{path} is not as BORIS writes it ({error!r})") from error
    layers = tuple(Layer(coder, tuple(own)) for coder, own in events.items())
    return Found(layers if layers or not table else (Layer(coder_of(path.stem)),), notes)


def _in_project(path: Path) -> Iterator[_Observation]:
    project = read_json(path, expected=_EXPECTED)
    if not isinstance(project, dict) or not {"observations", "behaviors_conf"} <= project.keys():
        raise DataError(f"{path} is no {_EXPECTED}: it has no observations and behaviors_conf")
    behaviours = {each["code"]: each for each in project["behaviors_conf"].values()}
    states = {code for code, each in behaviours.items() if each["type"].startswith("State")}
    categories = {code: each.get("category", "") for code, each in behaviours.items()}
    for name, each in project["observations"].items():
        shift_s = float(each.get("time offset", 0))
        rows: list[tuple[Any, ...]] = [
            (float(row[0]) - shift_s, *map(str, row[1:5]), "" if row[2] in states else _POINT) for row in each["events"]
        ]
        said = each.get("independent_variables", {}).get(_CODER)
        coders = {subject: coder_of(said or f"{name} {subject}") for _, subject, *_ in rows} or {
            "": coder_of(said or name)
        }
        for file, begin_s, end_s in _media(each):
            for subject, coder in coders.items():
                own = [(row[0] - begin_s, *row[2:]) for row in rows if row[1] == subject and begin_s <= row[0] < end_s]
                seen = _paired(own, categories=categories, what=f"{path}, observation {name}")
                yield _Observation(coder, file, seen)


def _media(observation: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    """The recordings of an observation, which follow one another, and the times at which each begins and ends."""
    files = observation["file"]
    media = files.get(_PLAYER, []) if isinstance(files, dict) else []  # none where somebody coded what was live
    lengths_s = observation.get("media_info", {}).get("length", {})
    begin_s = 0.0
    for k, file in enumerate(media, start=1):
        end_s = begin_s + float(lengths_s[file]) if k < len(media) else float("inf")
        yield file, begin_s, end_s
        begin_s = end_s


def _paired(rows: Iterable[tuple[Any, ...]], *, categories: Mapping[str, str], what: str) -> Iterator[_Seen]:
    """States of a START and a STOP each, and points: rows of time, code, modifiers, comment and status.

    A project does not say which end of a state a row is: they take turns.
    """
    begun: dict[tuple[str, str], tuple[float, str]] = {}
    for time_s, code, modifiers, comment, status in rows:
        said = tuple(modifiers.split("|"))
        if status == _POINT:
            yield _Seen(time_s, time_s, code, categories.get(code, ""), said, comment)
        elif (code, modifiers) in begun:
            start_s, note = begun.pop((code, modifiers))
            yield _Seen(start_s, time_s, code, categories.get(code, ""), said, note or comment)
        else:
            begun[code, modifiers] = time_s, comment
    for (code, _), (start_s, _) in begun.items():
        raise DataError(f"{what}: {code} begins at {start_s:.3f} s and has no STOP; mend it in BORIS first")


def _in_table(path: Path) -> Iterator[_Observation]:
    columns = {plain_name(name): name for name in (*_AGGREGATED, *_OTHERS)}
    rows = read_text_table(path, columns=(*_AGGREGATED, *_OTHERS)).rows
    at = next((k for k, (_, cells) in enumerate(rows) if "behavior" in map(plain_name, cells)), None)
    if at is None:
        raise DataError(f"{path} is no table of events of BORIS: no row names the column Behavior")
    header = [columns.get(plain_name(cell), cell) for cell in rows[at][1]]
    named = [dict(zip(header, cells, strict=False)) for _, cells in rows[at + 1 :]]
    aggregated = {"Start (s)", "Stop (s)"} <= {*header}
    if not aggregated and "Time" not in header:
        raise DataError(f"{path} is no table of events of BORIS: expected columns Start (s) and Stop (s), or Time")
    first = next((cells[1] for _, cells in rows[:at] if plain_name(cells[0]) == "observationid" and len(cells) > 1), "")
    groups: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in named:
        media = next((row[name] for name in _MEDIA if row.get(name)), "")
        name = row.get("Observation id") or first or path.stem
        subject = row.get("Subject", "")
        own = row.get(_CODER) or (name if subject in {"", "No focal subject"} else f"{name} {subject}")
        groups[f"{name}\t{own}", media].append(row)
    for (who, media), own_rows in groups.items():
        seen = map(_state, own_rows) if aggregated else _tabular(own_rows, path=path)
        yield _Observation(coder_of(who.split("\t")[1]), media, seen)


def _said(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("Modifier #1", "Modifier #2", "Modifiers") if row.get(name))


def _state(row: Mapping[str, str]) -> _Seen:
    start_s = seconds(row["Start (s)"])
    point = row.get("Behavior type") == _POINT
    end_s = start_s if point else seconds(row["Stop (s)"])
    note = row.get("Comment start") or row.get("Comment stop") or ""
    return _Seen(start_s, end_s, row["Behavior"], row.get("Behavioral category", ""), _said(row), note)


def _tabular(rows: Iterable[Mapping[str, str]], *, path: Path) -> Iterator[_Seen]:
    rows = list(rows)
    categories = {row["Behavior"]: row.get("Behavioral category", "") for row in rows}
    timed = [
        (seconds(row["Time"]), row["Behavior"], "|".join(_said(row)), row.get("Comment", ""),
         row.get("Behavior type") or row.get("Status", ""))
        for row in rows
    ]  # fmt: skip
    return _paired(timed, categories=categories, what=str(path))


def _events(observation: _Observation, *, times: FrameTimes, path: Path) -> Iterator[LayerEvent]:
    seen = list(observation.seen)
    spans = sorted((each for each in seen if each.category != _APEX), key=lambda each: each.start_s)
    begins = [each.start_s for each in spans]
    apexes: dict[int, float] = {}
    for each in seen:
        at = bisect_right(begins, each.start_s) - 1
        if each.category == _APEX and at >= 0 and each.start_s < spans[at].end_s:
            apexes[at] = each.start_s
    for at, each in enumerate(spans):
        what = f"{path}, {each.code!r} of {observation.coder}"
        onset, offset = times.frames(each.start_s, each.end_s, what=what)
        own = each.category == _LABELS
        confidence, units = (each.modifiers if own else (_NOTHING, _NOTHING))[:2]
        others = () if own else tuple(word for word in each.modifiers if word not in {"", _NOTHING})
        yield LayerEvent(
            onset,
            offset,
            label_of(each.code),
            apex=times.frame_in(apexes[at], onset=onset, offset=offset) if at in apexes else None,
            confidence=None if confidence == _NOTHING else float(confidence),
            note=note_of(" ".join(filter(None, (each.comment, *others)))),
            action_units=() if units == _NOTHING else action_units_of(units),
        )
