"""Label sheets: workbooks and files of text become rows with their numbers, and tables found by their header.

openpyxl (.xlsx) and xlrd (.xls) are imported when a workbook is opened: they belong to the extra ``[train]``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from metst.datasets.types import Journal, Source
from metst.errors import DataError, UsageError
from metst.guard.limits import WORKBOOK, check_file
from metst.spelling.delimited import plain_name, read_text_table
from metst.spelling.names import composed
from metst.spelling.workbook import open_workbook

_HEADER_ROWS = 40
"""Rows in which a header is looked for; the longest preamble known has 13 rows."""
_INTEGRAL = 1e-6
"""Farthest that a number may lie from a whole one and be taken for it: rounding of a formula. Set by hand."""
_EXACT = 2**53
"""Up to it every whole number is a float64."""
_ZIP = b"PK\x03\x04"
"""What an .xlsx file starts with: it is a ZIP archive."""
_TEXT_COLUMNS = ("subject", "video", "Filename", "onset", "OnsetFrame", "OnsetF", "apex", "ApexFrame", "offset",
                 "OffsetFrame", "OffsetF", "FirstF", "emotion", "Estimated Emotion", "clip", "label")  # fmt: skip
"""Columns by which the separator of a file of text is found."""
_NUMBERS = ("onset", "OnsetFrame", "OnsetF", "apex", "ApexFrame", "offset", "OffsetFrame", "OffsetF", "FirstF", "fps")
"""Columns with numbers, where a comma is a decimal one."""


@dataclass(frozen=True)
class Sheet:
    """Cells of one sheet.

    Parameters
    ----------
    source : Source
        File and sheet.
    rows : sequence of (int, tuple)
        Row number from 1 and cells; rows without any value are left out.
    merged : tuple of (int, int, str)
        First and last row and the name ("B3:B5") of each range of merged cells.
    notes : tuple of str
        How it was read, where that is worth saying.
    """

    source: Source
    rows: Sequence[tuple[int, tuple[Any, ...]]]
    merged: tuple[tuple[int, int, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """Cells of one row by the name of their column."""

    source: Source
    cells: Mapping[str, Any]

    def text(self, column: str) -> str:
        """A cell as text; empty where there is no such cell."""
        return cell_text(self.cells.get(column))


def read_workbook(path: Path) -> tuple[Sheet, ...]:
    """All sheets of an .xlsx or .xls file.

    Raises
    ------
    UsageError
        If the package that reads it is not installed.
    DataError
        If the file is not such a workbook.
    """
    # By content: the wrong one of the two endings is a common slip.
    zipped = path.suffix.lower() != ".xls" or _first_bytes(path) == _ZIP
    kind, package, read = ("xlsx", "openpyxl", _read_xlsx) if zipped else ("xls", "xlrd", _read_xls)
    try:
        sheets = read(path)
    except ImportError as error:
        raise UsageError(f"reading {path.name} needs the package {package}: pip install 'metst[train]'") from error
    except DataError:
        raise
    except Exception as error:  # in a damaged file each byte may break the reader at another place
        what = f"expected an .{kind} workbook, got a file that is none ({error or type(error).__name__})"
        raise DataError(f"{path} cannot be read: {what}") from error
    if not sheets:
        raise DataError(f"{path} holds no sheet with cells: expected a table of labels")
    return tuple(
        replace(sheet, rows=[(number, cells) for number, cells in sheet.rows if any(map(cell_text, cells))])
        for sheet in sheets
    )


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(_ZIP))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _read_xlsx(path: Path) -> list[Sheet]:
    return [
        Sheet(
            Source(path.name, sheet.title),
            list(enumerate(sheet.iter_rows(values_only=True), start=1)),
            tuple((area.min_row, area.max_row, area.coord) for area in sheet.merged_cells.ranges),
        )
        for sheet in open_workbook(path).worksheets
    ]


def _read_xls(path: Path) -> list[Sheet]:
    import xlrd

    # Only with formatting does xlrd tell of merged cells; what it would print goes nowhere.
    check_file(path, WORKBOOK)
    book = xlrd.open_workbook(str(path), formatting_info=True, logfile=StringIO())
    return [
        Sheet(
            Source(path.name, sheet.name),
            [(k + 1, tuple(_xls_cell(cell.ctype, cell.value) for cell in sheet.row(k))) for k in range(sheet.nrows)],
            tuple(
                (top + 1, bottom, f"{xlrd.cellname(top, left)}:{xlrd.cellname(bottom - 1, right - 1)}")
                for top, bottom, left, right in sheet.merged_cells
            ),
        )
        for sheet in book.sheets()
    ]


def _xls_cell(kind: int, value: Any) -> Any:
    """What openpyxl would give: xlrd has numbers for dates, truth values and errors."""
    from xlrd.biffh import XL_CELL_BOOLEAN, XL_CELL_DATE, XL_CELL_ERROR, error_text_from_code

    if kind == XL_CELL_ERROR:
        return error_text_from_code.get(value, "#?")
    if kind == XL_CELL_BOOLEAN:
        return bool(value)
    return f"a date ({value:g})" if kind == XL_CELL_DATE else value


def read_csv(path: Path) -> Sheet:
    """A file of text as a sheet; errors are those of :func:`metst.spelling.delimited.read_text_table`."""
    table = read_text_table(path, columns=_TEXT_COLUMNS, numbers=_NUMBERS)
    return Sheet(Source(path.name), table.rows, notes=table.notes)


def read_sheets(path: Path) -> tuple[Sheet, ...]:
    """All sheets of a workbook, or the one of a file of text, by the file's ending.

    Raises
    ------
    UsageError, DataError
        As from :func:`read_workbook` and :func:`read_csv`.
    """
    if path.suffix.lower() in {".csv", ".tsv", ".txt"}:
        return (read_csv(path),)
    return read_workbook(path)


def headers(sheet: Sheet) -> Iterator[set[str]]:
    """What each row that may be a header names, without case, blanks and signs."""
    for _, cells in sheet.rows[:_HEADER_ROWS]:
        yield {plain_name(cell_text(cell)) for cell in cells}


def sheet_names(sheet: Sheet) -> list[str]:
    """The cells of the row that is most likely the header: the first with the most texts that are no numbers."""
    rows = [
        [text for text in map(cell_text, cells) if text and whole_number(text) is None]
        for _, cells in sheet.rows[:_HEADER_ROWS]
    ]
    return max(rows, key=len, default=[])


def find_table(
    sheet: Sheet, *, columns: Sequence[str], journal: Journal, optional: Sequence[str] = (), remarks: bool = True
) -> list[Row] | None:
    """Rows below the header, which is the first row that holds most of the names of the columns.

    Case, blanks and signs of the names do not matter.

    Parameters
    ----------
    sheet : Sheet
        Where to look.
    columns, optional : sequence of str
        Names of the columns that must and may be there.
    journal : Journal
        Gets the faults: no rows, no header, missing columns, merged cells.
    remarks : bool
        Whether rows that fill fewer than two of ``columns`` are remarks, which are left out and noted.

    Returns
    -------
    list of Row or None
        None where the table cannot be read.
    """
    wanted = {plain_name(name): name for name in (*columns, *optional)}
    if not sheet.rows:
        journal.fault(sheet.source, expected=f"a table with the columns {', '.join(columns)}", got="an empty sheet")
        return None
    head, names, hits = _header(sheet, wanted, required=len(columns))
    if not hits:
        got = ", ".join(filter(None, map(cell_text, sheet.rows[0][1])))
        journal.fault(sheet.source, expected=f"a header with {', '.join(columns)}", got=f"a first row with {got}")
        return None
    at = {wanted[name]: place for place, name in reversed(list(enumerate(names))) if name in wanted}
    if missing := [name for name in columns if name not in at]:
        other = [cell_text(cell) for cell in _cells(sheet, head) if plain_name(cell_text(cell)) not in wanted]
        others = ", ".join(filter(None, other))
        journal.fault(
            replace(sheet.source, row=head),
            ", ".join(missing),
            expected=f"a column with {'this name' if len(missing) == 1 else 'each of these names'}",
            got=f"none; other columns are {others}" if others else "none",
            effect="the sheet is left out",
        )
        return None
    check_merged(sheet, journal=journal, below=head)
    body = [(number, cells) for number, cells in sheet.rows if number > head]
    if not body:
        journal.fault(replace(sheet.source, row=head), expected="rows below the header", got="none")
    rows = [
        Row(
            replace(sheet.source, row=number),
            {name: cells[place] if place < len(cells) else None for name, place in at.items()},
        )
        for number, cells in body
    ]
    return _without_remarks(rows, columns=columns, journal=journal) if remarks else rows


def _without_remarks(rows: Sequence[Row], *, columns: Sequence[str], journal: Journal) -> list[Row]:
    filled = [sum(bool(row.text(name)) for name in columns) for row in rows]
    if left_out := [row.source for row, number in zip(rows, filled, strict=True) if number < 2]:
        numbers = ", ".join(str(source.row) for source in left_out)
        journal.notes.append(f"{replace(left_out[0], row=0)}: read as remarks, not as labels: rows {numbers}")
    return [row for row, number in zip(rows, filled, strict=True) if number > 1]


def _header(sheet: Sheet, wanted: Mapping[str, str], *, required: int) -> tuple[int, list[str], int]:
    """Row number, names and number of hits of the best header row; no hits where none is good enough."""
    best: tuple[int, list[str], int] = (0, [], 0)
    for number, cells in sheet.rows[:_HEADER_ROWS]:
        names = [plain_name(cell_text(cell)) for cell in cells]
        hits = len(set(names) & set(wanted))
        if hits > best[2] and 2 * hits >= required:
            best = (number, names, hits)
    return best


def _cells(sheet: Sheet, row: int) -> tuple[Any, ...]:
    return next(cells for number, cells in sheet.rows if number == row)


def check_merged(sheet: Sheet, *, journal: Journal, below: int) -> None:
    """Note each range of merged cells in the body of a table: all cells but the first are empty there."""
    for first, last, name in sheet.merged:
        if last > below:
            source = replace(sheet.source, row=max(first, below + 1))
            journal.fault(
                source, name, expected="single cells", got="merged cells", effect="all but the first are empty"
            )


def cell_text(cell: object) -> str:
    """A cell as text: nothing for an empty one, whole numbers without a decimal point."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return composed(str(cell).strip())


def whole_number(cell: object) -> int | None:
    """A cell as a whole number: numbers as numbers or as text, ``12.0`` too; None where it is none."""
    number = _number(cell)
    return None if number is None or abs(number - round(number)) > _INTEGRAL else round(number)


def whole_part(cell: object) -> int | None:
    """A cell's number without its fraction; None where it is no number."""
    number = _number(cell)
    return None if number is None else math.trunc(number)


def _number(cell: object) -> float | None:
    if isinstance(cell, bool):
        return None
    try:
        number = float(cell if isinstance(cell, int | float) else cell_text(cell))
    except ValueError:
        return None
    return number if abs(number) < _EXACT else None
