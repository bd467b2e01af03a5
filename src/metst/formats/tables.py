"""Tables: CSV, TSV and Excel workbooks, one row per event, columns as those of ``events.csv``.

Frames count from 1 and both ends are included; the times beside them are for people, and are read where a table has no
frames.  Text that a spreadsheet would run as a formula is made harmless when it is written, and is as it was when read.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from metst.coding.layers import (
    Coding,
    Layer,
    LayerEvent,
    action_units_of,
    coder_of,
    frames_of,
    label_of,
    layers_of,
    note_of,
    row_of,
)
from metst.errors import DataError, UsageError
from metst.formats.files import Found, of_this_video
from metst.formats.frames import FrameTimes
from metst.results.tables import TIME_DIGITS
from metst.spelling.delimited import plain_name, read_text_table
from metst.spelling.formulas import as_meant, harmless
from metst.spelling.workbook import open_workbook, openpyxl_for
from metst.storage import csv_bytes, make_folder, write_whole
from metst.timeline import TimeGrid

COLUMNS = ("video", "coder", "onset_frame", "apex_frame", "offset_frame", "onset_s", "apex_s", "offset_s", "label",
           "confidence", "action_units", "note")  # fmt: skip
"""Of each table; ``offset_s`` is the timestamp of the last frame that belongs to the event, as in ``events.csv``."""
_NUMBERS = ("onset_s", "apex_s", "offset_s", "confidence")
"""Columns where a comma may be a decimal one."""
_SHEET = "events"
"""Name of the sheet of a workbook."""
_MOST_FRAMES = 20_000_000
"""Last frame that a table may name where no recording tells how many there are: a day at 200 frames a second, and some.
Set by hand: each frame takes memory when coders are compared."""
_Row = tuple[int, Sequence[str]]
"""Line and cells."""
_LONGEST_CELL = 32_767
"""Characters that a cell of Excel holds, by its specification."""


def _rows(coding: Coding) -> Iterator[tuple[Any, ...]]:
    time_s = coding.grid.time_s.round(TIME_DIGITS).tolist()
    for layer in coding.layers:
        for event in layer.events:
            first, apex, last, *said = row_of(event)
            times = (time_s[event.onset], "" if event.apex is None else time_s[event.apex], time_s[event.offset - 1])
            yield coding.source.name, layer.coder, first, apex, last, *times, *said


def write_csv(coding: Coding, path: Path) -> None:
    """Write the layers of a recording as a table with commas, in UTF-8.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    make_folder(path.parent)
    write_whole(path, csv_bytes(COLUMNS, _rows(coding)))


def write_tsv(coding: Coding, path: Path) -> None:
    """The same with tabs.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    make_folder(path.parent)
    write_whole(path, csv_bytes(COLUMNS, _rows(coding), separator="\t"))


def write_xlsx(coding: Coding, path: Path) -> None:
    """The same as an Excel workbook.

    Raises
    ------
    DataError
        A text is longer than a cell may be.
    OutputError
        It cannot be written.
    UsageError
        The package openpyxl is not installed.
    """
    with openpyxl_for("an Excel workbook"):
        import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None  # a new book has one
    sheet.title = _SHEET
    sheet.freeze_panes = "A2"
    for row in (COLUMNS, *_rows(coding)):
        cells = [harmless(cell) for cell in row]
        if any(isinstance(cell, str) and len(cell) > _LONGEST_CELL for cell in cells):
            raise DataError(
                f"a text is longer than a cell of Excel may be ({_LONGEST_CELL} characters): use --format csv"
            )
        sheet.append(cells)
    data = io.BytesIO()
    book.save(data)
    make_folder(path.parent)
    write_whole(path, data.getvalue())


def read_csv(path: Path, *, video: str, grid: TimeGrid | None) -> Found:
    """Read a table of text, whatever stands between its cells: the rows of this recording, a layer per coder.

    Expected are the columns of :data:`COLUMNS`, in any order; needed are ``label`` and ``onset_frame`` with
    ``offset_frame``, or ``onset_s`` with ``offset_s``.  ``events.csv`` of an analysis is such a table.  Without
    timestamps only frames can be read, and nobody sees whether they are in the recording.

    Raises
    ------
    UsageError
        There is no such file.
    DataError
        It is no such table, or not one of this recording.
    """
    rows, notes = _text_rows(path)
    found = _found(rows, path=path, video=video, grid=grid)
    return Found(found.layers, (*found.notes, *notes))


def _text_rows(path: Path) -> tuple[list[_Row], tuple[str, ...]]:
    existing(path)
    table = read_text_table(path, columns=COLUMNS, numbers=_NUMBERS)
    return [*table.rows], tuple(note for note in table.notes if "tabs" not in note)


def read_xlsx(path: Path, *, video: str, grid: TimeGrid | None) -> Found:
    """The same of the first sheet of an Excel workbook.

    Raises
    ------
    UsageError, DataError
        As :func:`read_csv`, and where openpyxl is not installed.
    """
    return _found(_sheet_rows(path), path=path, video=video, grid=grid)


def _sheet_rows(path: Path) -> list[_Row]:
    existing(path)
    try:
        with openpyxl_for("an Excel workbook"):
            cells = list(open_workbook(path).worksheets[0].iter_rows(values_only=True))
    except (DataError, UsageError):
        raise
    except Exception as error:  # in a damaged file each byte may break the reader at another place
        raise DataError(f"{path} is no Excel workbook (.xlsx): {error or type(error).__name__}") from error
    rows = [(number, tuple(map(_text, row))) for number, row in enumerate(cells, start=1)]
    return [row for row in rows if any(row[1])]


def videos_in(path: Path) -> tuple[str, ...]:
    """Names of the recordings whose events a table has, a workbook by its ending; empty where it names none.

    Raises
    ------
    UsageError, DataError
        As :func:`read_csv` and :func:`read_xlsx`.
    """
    rows = _sheet_rows(path) if path.suffix.casefold() == ".xlsx" else _text_rows(path)[0]
    named = named_rows(rows, columns=COLUMNS, path=path)
    return tuple(dict.fromkeys(name for _, row in named if (name := row.get("video"))))


def existing(path: Path) -> None:
    """Refuse a file that is not there.

    Raises
    ------
    UsageError
        It is not.
    """
    if not path.is_file():
        raise UsageError(f"no file {path}")


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return as_meant(cell) if isinstance(cell, str) else str(cell)


def named_rows(
    rows: Sequence[tuple[int, Sequence[str]]], *, columns: Iterable[str], path: Path
) -> list[tuple[int, dict[str, str]]]:
    """Rows below a header, by column; case, blanks and signs of its names do not matter.

    Parameters
    ----------
    rows : sequence of (int, sequence of str)
        Line and cells; the first is the header.
    columns : iterable of str
        Those that are wanted, as they are to be called; others are left out.
    path : Path
        The file.

    Raises
    ------
    DataError
        There is no header.
    """
    if not rows:
        raise DataError(f"{path} is empty: expected a table with a header")
    wanted = {plain_name(column): column for column in columns}
    places = {place: wanted.get(plain_name(name)) for place, name in enumerate(rows[0][1])}
    return [
        (line, {name: cells[place].strip() if place < len(cells) else "" for place, name in places.items() if name})
        for line, cells in rows[1:]
    ]


def _found(rows: list[_Row], *, path: Path, video: str, grid: TimeGrid | None) -> Found:
    named = named_rows(rows, columns=COLUMNS, path=path)
    header = {plain_name(name) for name in rows[0][1]}
    by_frame = {"onsetframe", "offsetframe"} <= header
    if "label" not in header or not (by_frame or {"onsets", "offsets"} <= header):
        raise DataError(
            f"{path} is no table of events: expected the columns label, and onset_frame and offset_frame or onset_s and"
            f" offset_s; got {', '.join(rows[0][1][:20])}"
        )
    times = None if grid is None else FrameTimes(grid)

    def coded(row: Mapping[str, str], what: str) -> tuple[str, LayerEvent]:
        if by_frame:
            event = _event_by_frame(row, times=times, what=what)
        elif times is not None:
            event = _event_by_time(row, times=times, what=what)
        else:
            raise DataError(f"{path} says seconds and no frames: which frames they are, only the recording tells")
        return coder_of(row.get("coder") or path.stem), event

    events, notes = events_of_video(named, column="video", video=video, path=path, coded=coded)
    return Found(layers_of(events) or (Layer(coder_of(path.stem)),), notes)


def events_of_video(
    rows: Sequence[tuple[int, Mapping[str, str]]],
    *,
    column: str,
    video: str,
    path: Path,
    coded: Callable[[Mapping[str, str], str], tuple[str, LayerEvent]],
) -> tuple[list[tuple[str, LayerEvent]], tuple[str, ...]]:
    """Events of the rows that are of this recording, with their coders, and notes.

    Parameters
    ----------
    rows : sequence of (int, mapping)
        Of :func:`named_rows`.
    column : str
        Where rows name their recording; those that do not are of this one.
    video : str
        Name of this one.
    path : Path
        The file.
    coded : callable
        Coder and event of a row; gets the row, and what to call it for people.

    Raises
    ------
    DataError
        No row is of this recording, or a cell is no number where one is expected.
    """
    names, notes = of_this_video((row[column] for _, row in rows if row.get(column)), video=video, path=path)
    events = []
    for line, row in rows:
        if row.get(column) and row[column] not in names:
            continue
        what = f"{path}, row {line}"
        try:
            events.append(coded(row, what))
        except ValueError as error:
            raise DataError(f"{what}: {error}; expected a number") from error
    return events, notes


def whole(cell: str | float) -> int:
    """A whole number, as people and programs write one: ``12``, ``12.0``.

    Raises
    ------
    ValueError
        It is none.
    """
    number = float(cell)
    if not number.is_integer():
        raise ValueError(f"{cell!r} is no whole number")
    return int(number)


def seconds(cell: str) -> float:
    """A time that is a number, not infinite.

    Raises
    ------
    ValueError
        It is none.
    """
    number = float(cell)
    if not math.isfinite(number):
        raise ValueError(f"{cell!r} is no time")
    return number


def _event_by_frame(row: Mapping[str, str], *, times: FrameTimes | None, what: str) -> LayerEvent:
    numbers = [whole(row[name]) if row.get(name) else None for name in ("onset_frame", "offset_frame", "apex_frame")]
    if numbers[0] is None or numbers[1] is None:
        raise ValueError("a cell of onset_frame or offset_frame is empty")
    if times is None:
        if not 1 <= numbers[0] <= numbers[1] <= _MOST_FRAMES:
            raise DataError(f"{what}: frames {numbers[0]} to {numbers[1]}: expected them from 1 on, first and last")
        onset, offset, apex = frames_of(numbers[0], numbers[1], numbers[2])
    else:
        onset, offset, apex = times.numbered(numbers[0], numbers[1], numbers[2], what=what)
    return _event(row, onset=onset, offset=offset, apex=apex)


def _event_by_time(row: Mapping[str, str], *, times: FrameTimes, what: str) -> LayerEvent:
    start_s, last_s, apex = seconds(row["onset_s"]), seconds(row["offset_s"]), row.get("apex_s", "")
    onset, last = (times.frames(each, each, what=what)[0] for each in (start_s, last_s))
    if last < onset:
        raise DataError(f"{what}: it ends at {last_s:.3f} s, before it begins at {start_s:.3f} s")
    at = times.frame_in(seconds(apex), onset=onset, offset=last + 1) if apex else None
    return _event(row, onset=onset, offset=last + 1, apex=at)


def _event(row: Mapping[str, str], *, onset: int, offset: int, apex: int | None) -> LayerEvent:
    confidence = row.get("confidence", "")
    return LayerEvent(
        onset,
        offset,
        label_of(row.get("label", "")),
        apex=apex,
        confidence=float(confidence) if confidence else None,
        note=note_of(row.get("note", "")),
        action_units=action_units_of(row.get("action_units", "")),
    )
