"""Tables of intervals for people, read and checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from metst.arrays import AnyArray, BoolArray, Float64Array, IntArray
from metst.errors import DataError, UsageError
from metst.spelling.alike import first_rows, grouped, without_values
from metst.spelling.delimited import plain_name, read_text_table
from metst.spelling.names import composed

COLUMNS = ("subject", "video", "onset", "offset", "emotion")
"""Columns that every table of intervals has."""
CONFIDENCE = "confidence"
"""Column that predictions may have."""
FRAMES = "frames"
"""Column that a list of videos may have: how many there are of each."""


class DataFrame(Protocol):
    """What is read of a pandas or polars table; neither is needed here."""

    columns: Any

    def __getitem__(self, name: str) -> Any:
        """A column."""


Table = DataFrame | str | PathLike[str] | Sequence[Sequence[Any]] | Sequence[Mapping[str, Any]]

# What a cell of each column is.
_EXPECTED = {
    **dict.fromkeys(("subject", "video", "emotion"), "a text"),
    **dict.fromkeys(("onset", "offset"), "a whole frame number from 1"),
    CONFIDENCE: "a finite number",
    FRAMES: "a whole number of frames from 1, or nothing",
}
_NUMBERS = ("onset", "offset", CONFIDENCE, FRAMES)  # columns with numbers
_LAST_FRAME = 10**9
_MISSING = ("NAType", "NaTType")  # pandas' marks of an empty cell
_FAULTS_SHOWN = 50


@dataclass(frozen=True, eq=False)
class IntervalTable:
    """Checked rows: texts without outer spaces, emotions in lower case, frames from 1 and both ends included.

    ``confidence`` is None where the table has none, or none was asked for; ``notes`` say how the file was read.
    """

    subject: tuple[str, ...]
    video: tuple[str, ...]
    onset: IntArray
    offset: IntArray
    emotion: tuple[str, ...]
    confidence: Float64Array | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.subject)


@dataclass(frozen=True)
class _Cells:
    """Cells as they came, by column, and the row numbers that people see."""

    columns: Mapping[str, Sequence[Any]]
    rows: Sequence[int]
    notes: tuple[str, ...] = ()


class _Fault(NamedTuple):
    """What is wrong with a cell, or with a whole row when no column is named."""

    row: int
    column: str
    text: str

    def __str__(self) -> str:
        return f"row {self.row}{', column ' + self.column if self.column else ''}: {self.text}"


def read_intervals_csv(
    path: str | PathLike[str], *, with_confidence: bool = False, predicted: bool = False
) -> IntervalTable:
    """Read a table of intervals: a header with at least the five columns, as spreadsheets write CSV files.

    Parameters
    ----------
    path : path
        The file.
    with_confidence : bool
        Read a column ``confidence`` as well, if there is one.
    predicted : bool
        Intervals may begin before frame 1, as published decoding rules write them.

    Returns
    -------
    IntervalTable
        Zero padding of names is kept; other columns are left out.

    Raises
    ------
    UsageError
        If the file does not exist.
    DataError
        If it cannot be read, or naming every fault with its row (the header is row 1) and column.
    """
    cells = _csv_cells(Path(path), needed=COLUMNS)
    return _checked(cells, name=str(path), with_confidence=with_confidence, predicted=predicted)


def read_videos_csv(path: str | PathLike[str]) -> list[tuple[str, str]]:
    """Read a list of videos: a CSV file like that of intervals with at least the columns ``subject, video``.

    Raises
    ------
    UsageError, DataError
        As from :func:`read_intervals_csv`.
    """
    return [video for video, _ in _video_rows(path)]


def read_lengths_csv(path: str | PathLike[str]) -> dict[tuple[str, str], int | None]:
    """Read a list of videos with their numbers of frames, where a column ``frames`` says them.

    Returns
    -------
    dict of (subject, video) to int or None
        In the order of the file; None where nothing is said.

    Raises
    ------
    UsageError, DataError
        As from :func:`read_intervals_csv`.
    """
    return dict(_video_rows(path))


def _video_rows(path: str | PathLike[str]) -> list[tuple[tuple[str, str], int | None]]:
    """Subject and video of each row, and the frames of the video."""
    needed = COLUMNS[:2]
    table = _csv_cells(Path(path), needed=needed)
    _require(table, needed=needed, name=str(path))
    cells = {column: [_text(cell) for cell in table.columns[column]] for column in needed}
    faults = [
        _Fault(table.rows[i], column, f"expected {_EXPECTED[column]}, got ''")
        for column in needed
        for i, cell in enumerate(cells[column])
        if not cell
    ]
    texts = [_text(cell) for cell in table.columns.get(FRAMES, [""] * len(table.rows))]
    numbers = _numbers(np.array(texts, dtype=object))
    sound = [not text or (1 <= number <= _LAST_FRAME and number == int(number))
             for text, number in zip(texts, numbers, strict=True)]  # fmt: skip
    faults += [
        _Fault(table.rows[i], FRAMES, f"expected {_EXPECTED[FRAMES]}, got {texts[i]!r}")
        for i, good in enumerate(sound)
        if not good
    ]
    if faults:
        _raise(faults, name=str(path))
    lengths = [int(number) if text else None for text, number in zip(texts, numbers, strict=True)]
    return list(zip(zip(*cells.values(), strict=True), lengths, strict=True))


def _csv_cells(path: Path, *, needed: Sequence[str]) -> _Cells:
    if not path.exists():
        raise UsageError(f"no file {path}: expected a table with the columns {', '.join(needed)}")
    text = read_text_table(path, columns=needed, numbers=_NUMBERS)
    (_, header), *rows = text.rows or [(1, ())]
    width = len(header)
    faults = [_Fault(at, "", f"expected {width} cells, got {len(row)}") for at, row in rows if len(row) != width]
    if faults:
        _raise(faults, name=str(path))
    known = {plain_name(name): name for name in (*COLUMNS, CONFIDENCE)}
    spelled = [name.strip() for name in header]
    # A name in another case is the column's, unless that one is there as well.
    spelled = [known.get(plain_name(name), name) if known.get(plain_name(name)) not in spelled else name
               for name in spelled]  # fmt: skip
    if doubled := [name for name in known.values() if spelled.count(name) > 1]:
        raise DataError(f"{path}: column {doubled[0]} is there {spelled.count(doubled[0])} times: leave one")
    columns = {name: [row[place] for _, row in rows] for place, name in enumerate(spelled)}
    return _Cells(columns, [at for at, _ in rows], text.notes)


def checked_table(source: Table, *, name: str, with_confidence: bool = False, predicted: bool = False) -> IntervalTable:
    """The same from a file or from memory, where rows count from 1 and ``name`` stands for the file's."""
    if isinstance(source, str | PathLike):
        return read_intervals_csv(source, with_confidence=with_confidence, predicted=predicted)
    columns = _columns(source, name=name)
    cells = _Cells(columns, range(1, 1 + max(map(len, columns.values()), default=0)))
    return _checked(cells, name=name, with_confidence=with_confidence, predicted=predicted)


def _columns(source: DataFrame | Sequence[Sequence[Any]] | Sequence[Mapping[str, Any]], *, name: str) -> dict[str, Any]:
    """Cells by column, whatever they come in."""
    if hasattr(source, "columns"):
        return {str(column): list(source[column]) for column in source.columns}
    records = [row for row in source if isinstance(row, Mapping)]
    if records:
        named = dict.fromkeys(column for row in records for column in row)
        return {column: [row.get(column) for row in records] for column in named}
    rows = cast("list[Sequence[Any]]", list(source))
    expected = (*COLUMNS, CONFIDENCE) if rows and len(rows[0]) == len(COLUMNS) + 1 else COLUMNS
    wrong = [i for i, row in enumerate(rows, start=1) if len(row) != len(expected)]
    if wrong:
        _raise([_Fault(i, "", f"expected the values {', '.join(expected)}") for i in wrong], name=name)
    return {column: [row[place] for row in rows] for place, column in enumerate(expected)}


def _require(table: _Cells, *, needed: Sequence[str], name: str) -> None:
    if missing := [column for column in needed if column not in table.columns]:
        have = ", ".join(table.columns) or "none"
        raise DataError(f"{name} lacks the columns {', '.join(missing)}: expected {', '.join(needed)}, got {have}")


def _checked(table: _Cells, *, name: str, with_confidence: bool, predicted: bool) -> IntervalTable:
    """The five columns, and the confidence if there is one, with their types."""
    _require(table, needed=COLUMNS, name=name)
    wanted = (*COLUMNS, CONFIDENCE) if with_confidence and CONFIDENCE in table.columns else COLUMNS
    cells = {column: np.array([_text(cell) for cell in table.columns[column]], dtype=object) for column in wanted}
    sound = {column: cells[column] != "" for column in wanted}
    for column in ("onset", "offset"):
        number = _numbers(cells[column])
        lowest = -_LAST_FRAME if predicted and column == "onset" else 1
        sound[column] = (number >= lowest) & (number <= _LAST_FRAME) & (number == np.floor(number))
        cells[column] = np.where(sound[column], number, 0).astype(np.int64)
    if CONFIDENCE in wanted:
        cells[CONFIDENCE] = _numbers(cells[CONFIDENCE])
        sound[CONFIDENCE] = np.isfinite(cells[CONFIDENCE])
    cells["emotion"] = np.array([emotion.lower() for emotion in cells["emotion"]], dtype=object)
    faults = list(_faults(table, cells=cells, sound=sound))
    if faults:
        _raise(faults, name=name)
    return IntervalTable(
        subject=tuple(cells["subject"]),
        video=tuple(cells["video"]),
        onset=cells["onset"],
        offset=cells["offset"],
        emotion=tuple(cells["emotion"]),
        confidence=cells.get(CONFIDENCE),
        notes=table.notes,
    )


def _faults(table: _Cells, *, cells: dict[str, AnyArray], sound: dict[str, BoolArray]) -> Iterator[_Fault]:
    """All faults, given the cells with their types and which of them are what they should be."""
    for column, good in sound.items():
        for i in np.flatnonzero(~good).tolist():
            yield _Fault(
                table.rows[i], column, f"expected {_EXPECTED[column]}, got {_text(table.columns[column][i])!r}"
            )
    seen: dict[tuple[Any, ...], int] = {}
    intervals = zip(*(cells[column] for column in COLUMNS), strict=True)
    for i, (row, key) in enumerate(zip(table.rows, intervals, strict=True)):
        _, _, onset, offset, _ = key
        if onset > offset > 0:
            yield _Fault(row, "onset", f"is after the offset, {offset}")
        first = seen.setdefault(key, row)
        if first != row and all(good[i] for good in sound.values()):
            yield _Fault(row, "", f"repeats row {first}")


def _raise(faults: Sequence[_Fault], *, name: str) -> None:
    kinds = grouped(sorted(faults), kind=lambda fault: (fault.column, without_values(fault.text)))
    lines = [_line(group) for group in kinds]
    shown = lines[:_FAULTS_SHOWN]
    more = [f"and {len(lines) - _FAULTS_SHOWN} more"] if len(lines) > _FAULTS_SHOWN else []
    raise DataError(f"{name} has {len(faults)} fault{'s' if len(faults) > 1 else ''}: {'; '.join(shown + more)}")


def _line(group: Sequence[_Fault]) -> str:
    """A fault, or the first of many of its kind and the rows of the others."""
    if len(group) == 1:
        return str(group[0])
    return f"{group[0]} ({len(group)} like this, rows {first_rows([fault.row for fault in group])})"


def _numbers(texts: AnyArray) -> Float64Array:
    """Cells as numbers, NaN where there is none."""

    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return float("nan")

    return np.array([number(text) for text in texts], dtype=np.float64)


def _text(cell: object) -> str:
    """A cell as text: nothing for an empty one, whole numbers without a decimal point."""
    if cell is None or type(cell).__name__ in _MISSING:
        return ""
    if isinstance(cell, float):
        return "" if np.isnan(cell) else str(int(cell)) if cell.is_integer() else str(cell)
    return composed(str(cell).strip())
