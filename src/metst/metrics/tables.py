"""Tables of intervals for people: read and checked on the way in, figures as text on the way out."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt

from metst.errors import DataError, UsageError
from metst.timeline import BoolArray, IntArray

COLUMNS = ("subject", "video", "onset", "offset", "emotion")


class DataFrame(Protocol):
    """What is read of a pandas or polars table; neither is needed here."""

    columns: Any

    def __getitem__(self, name: str) -> Any:
        """A column."""


Table = DataFrame | str | PathLike[str] | Sequence[Sequence[Any]] | Sequence[Mapping[str, Any]]
TextTable = tuple[str, tuple[str, ...], list[tuple[str, ...]]]

# What a cell of each column is.
_EXPECTED = ("a text", "a text", "a whole frame number from 1", "a whole frame number from 1", "a text")
_LAST_FRAME = 10**9
_MISSING = ("NAType", "NaTType")  # pandas' marks of an empty cell
_FAULTS_SHOWN = 50


@dataclass(frozen=True, eq=False)
class IntervalTable:
    """Checked rows: texts without outer spaces, emotions in lower case, frames from 1 and both ends included."""

    subject: tuple[str, ...]
    video: tuple[str, ...]
    onset: IntArray
    offset: IntArray
    emotion: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.subject)


@dataclass(frozen=True)
class _Cells:
    """Cells as they came, by column, and the row numbers that people see."""

    columns: Mapping[str, Sequence[Any]]
    rows: Sequence[int]


class _Fault(NamedTuple):
    """What is wrong with a cell, or with a whole row when no column is named."""

    row: int
    column: str
    text: str

    def __str__(self) -> str:
        return f"row {self.row}{', column ' + self.column if self.column else ''}: {self.text}"


def read_intervals_csv(path: str | PathLike[str]) -> IntervalTable:
    """Read a table of intervals: UTF-8, commas, a header with at least the five columns.

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
    path = Path(path)
    if not path.exists():
        raise UsageError(f"no file {path}: expected a table with the columns {', '.join(COLUMNS)}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV table in UTF-8: {error}") from error
    (_, header), *rows = rows or [(1, [])]
    width = len(header)
    faults = [_Fault(at, "", f"expected {width} cells, got {len(row)}") for at, row in rows if len(row) != width]
    if faults:
        _raise(faults, name=str(path))
    columns = {name.strip(): [row[place] for _, row in rows] for place, name in enumerate(header)}
    return _checked(_Cells(columns, [at for at, _ in rows]), name=str(path))


def checked_table(source: Table, *, name: str) -> IntervalTable:
    """The same from a file or from memory, where rows count from 1 and ``name`` stands for the file's."""
    if isinstance(source, str | PathLike):
        return read_intervals_csv(source)
    columns = _columns(source, name=name)
    return _checked(_Cells(columns, range(1, 1 + max(map(len, columns.values()), default=0))), name=name)


def _columns(source: DataFrame | Sequence[Sequence[Any]] | Sequence[Mapping[str, Any]], *, name: str) -> dict[str, Any]:
    """Cells by column, whatever they come in."""
    if hasattr(source, "columns"):
        return {str(column): list(source[column]) for column in source.columns}
    records = [row for row in source if isinstance(row, Mapping)]
    if records:
        named = dict.fromkeys(column for row in records for column in row)
        return {column: [row.get(column) for row in records] for column in named}
    rows = cast("list[Sequence[Any]]", list(source))
    wrong = [i for i, row in enumerate(rows, start=1) if len(row) != len(COLUMNS)]
    if wrong:
        _raise([_Fault(i, "", f"expected the values {', '.join(COLUMNS)}") for i in wrong], name=name)
    return {column: [row[place] for row in rows] for place, column in enumerate(COLUMNS)}


def _checked(table: _Cells, *, name: str) -> IntervalTable:
    """The five columns with their types."""
    if missing := [column for column in COLUMNS if column not in table.columns]:
        have = ", ".join(table.columns) or "none"
        raise DataError(f"{name} lacks the columns {', '.join(missing)}: expected {', '.join(COLUMNS)}, got {have}")
    cells = {column: np.array([_text(cell) for cell in table.columns[column]], dtype=object) for column in COLUMNS}
    sound = {column: cells[column] != "" for column in COLUMNS}
    for column in ("onset", "offset"):
        number = np.array([_number(cell) for cell in cells[column]], dtype=np.float64)
        sound[column] = (number >= 1) & (number <= _LAST_FRAME) & (number == np.floor(number))
        cells[column] = np.where(sound[column], number, 0).astype(np.int64)
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
    )


def _faults(table: _Cells, *, cells: dict[str, npt.NDArray[Any]], sound: dict[str, BoolArray]) -> Iterator[_Fault]:
    """All faults, given the cells with their types and which of them are what they should be."""
    for column, expected in zip(COLUMNS, _EXPECTED, strict=True):
        for i in np.flatnonzero(~sound[column]).tolist():
            yield _Fault(table.rows[i], column, f"expected {expected}, got {_text(table.columns[column][i])!r}")
    seen: dict[tuple[Any, ...], int] = {}
    for i, (row, key) in enumerate(zip(table.rows, zip(*cells.values(), strict=True), strict=True)):
        _, _, onset, offset, _ = key
        if onset > offset > 0:
            yield _Fault(row, "onset", f"is after the offset, {offset}")
        first = seen.setdefault(key, row)
        if first != row and all(good[i] for good in sound.values()):
            yield _Fault(row, "", f"repeats row {first}")


def _raise(faults: Sequence[_Fault], *, name: str) -> None:
    shown = [str(fault) for fault in sorted(faults)[:_FAULTS_SHOWN]]
    more = [f"and {len(faults) - _FAULTS_SHOWN} more"] if len(faults) > _FAULTS_SHOWN else []
    raise DataError(f"{name} has {len(faults)} fault{'s' if len(faults) > 1 else ''}: {'; '.join(shown + more)}")


def _number(text: str) -> float:
    """A cell's number, NaN where there is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _text(cell: object) -> str:
    """A cell as text: nothing for an empty one, whole numbers without a decimal point."""
    if cell is None or type(cell).__name__ in _MISSING:
        return ""
    if isinstance(cell, float):
        return "" if np.isnan(cell) else str(int(cell)) if cell.is_integer() else str(cell)
    return str(cell).strip()


def tables_for_people(result: Mapping[str, Any]) -> list[TextTable]:
    """What :func:`~metst.metrics.score_tables` returned as tables of text: title, column names, rows."""
    spotting, recognition, names = result["spotting"], result["recognition"], result["classes"]
    rates = ("precision", "recall", "f1")
    counts = tuple(str(spotting[name]) for name in ("tp", "fp", "fn"))
    per_class = [(name, *_figures(row, rates), str(row["support"])) for name, row in recognition["per_class"].items()]
    means = ("all", *_figures(recognition, rates), str(recognition["pairs"]))
    confusion = zip(names, recognition["confusion"], strict=True)
    together = (
        *_figures(spotting, ("f1",)),
        *_figures(recognition, ("f1", "uf1", "uar")),
        *_figures(result, ("strs",)),
    )
    title = f"Spotting: {result['scorer']}, IoU >= {result['iou']:g}, {result['videos']['counted']} videos"
    columns = ("hits", "false alarms", "misses", "precision", "recall", "F1", "mean IoU")
    tables: list[TextTable] = [(title, columns, [counts + _figures(spotting, (*rates, "mean_iou"))])]
    for kind in ("false_alarms", "misses"):
        causes = spotting[kind]
        tables.append((kind.replace("_", " ").capitalize(), tuple(causes), [tuple(str(n) for n in causes.values())]))
    tables += [
        (f"Recognition: {len(names)} classes", ("class", "precision", "recall", "F1", "hits"), [*per_class, means]),
        ("True class by predicted class", ("", *names, "other"), [(name, *map(str, row)) for name, row in confusion]),
        ("Spotting and recognition", ("spotting F1", "recognition F1", "UF1", "UAR", "STRS"), [together]),
    ]
    if intervals := result.get("confidence_intervals"):
        ends: list[tuple[str, ...]] = [
            (name.replace("_", " "), *(f"{end:.4f}" for end in interval)) for name, interval in intervals.items()
        ]
        tables.append(("95 % over resamples of the subjects", ("figure", "from", "to"), ends))
    return tables


def _figures(source: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{source[name]:.4f}" for name in names)
