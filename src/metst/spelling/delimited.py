"""Tables of text as spreadsheets write them: encoding, separator and decimal commas are found, and said.

UTF-8 or UTF-16, with or without a byte-order mark; commas, semicolons or tabs; a first line ``sep=;``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from metst.errors import DataError
from metst.guard.limits import TABLE, check_file
from metst.spelling.formulas import as_meant

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""What stands between cells, and its name."""
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[ ]*\r?\n?', re.IGNORECASE)
"""The first line that Excel takes as an order, and some programs write for it."""
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")  # a number as it is written where the comma is decimal
_PERHAPS_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")  # one thousand and thirty-one, or a bit more than one
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}  # by what such a file starts with
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # what .xlsx and .xls files start with
_HEADER_BYTES = 64  # of a file's start, which its header fills: Latin letters
_REMEDY = "save it as CSV in UTF-8"  # what to do, at the end of each refusal


@dataclass(frozen=True)
class TextTable:
    """Cells of a file.

    Parameters
    ----------
    rows : sequence of (int, tuple of str)
        Line on which each row ends, from 1, and its cells; rows without any text are left out.
    notes : tuple of str
        What is not as in UTF-8 with commas, in words.
    """

    rows: Sequence[tuple[int, tuple[str, ...]]]
    notes: tuple[str, ...] = ()


def plain_name(name: str) -> str:
    """The name of a column without case, blanks and signs: ``Onset Frame`` and ``onset_frame`` are one."""
    return "".join(filter(str.isalnum, name.casefold()))


def read_text_table(path: Path, *, columns: Collection[str], numbers: Collection[str] = ()) -> TextTable:
    """Read a file of text with a header.

    Parameters
    ----------
    path : path
        The file.
    columns : collection of str
        Names that its header should hold: the separator is the one that parts them.
    numbers : collection of str
        Columns with numbers, where a decimal comma is read as a point.

    Raises
    ------
    DataError
        If the file cannot be read, is neither UTF-8 nor UTF-16, or if two separators fit alike.
    """
    check_file(path, TABLE)
    try:
        text, encoding = _decoded(path.read_bytes(), path=path)
        ordered = _SEPARATOR_LINE.match(text)
        lines_before = text[: ordered.end()].count("\n") if ordered else 0
        body = text[ordered.end() :] if ordered else text
        separator = ordered[1] if ordered else _separator(body, columns=columns, path=path)
        reader = csv.reader(StringIO(body, newline=""), delimiter=separator)
        rows = [(lines_before + reader.line_num, tuple(map(as_meant, cells))) for cells in reader]
    except (OSError, csv.Error, TypeError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a CSV table in UTF-8: {error}") from error
    rows = [(number, cells) for number, cells in rows if any(cell.strip() for cell in cells)]
    rows, converted = _with_points(rows, numbers=numbers) if separator != "," else (rows, 0)
    found = [encoding] if encoding else []
    found += [f"{_SEPARATORS.get(separator, repr(separator))} between cells"] if separator != "," else []
    found += ["a first line sep="] if ordered else []
    found += [f"{converted} decimal commas"] if converted else []
    return TextTable(rows, (f"{path.name} is read with {', '.join(found)}",) if found else ())


def _decoded(data: bytes, *, path: Path) -> tuple[str, str]:
    """The text, and the name of its encoding if it is not UTF-8."""
    if data.startswith(_WORKBOOKS):
        raise DataError(f"{path} cannot be read as a CSV table in UTF-8: it is a workbook; {_REMEDY}")
    mark = _BYTE_ORDER_MARKS.get(data[:2])
    try:
        if mark:
            return data[2:].decode(mark), "UTF-16"
        # Without a mark the zeros tell: Latin letters have theirs in the second byte, or in the first.
        start = data[:_HEADER_BYTES]
        for order, zeros in (("le", start[1::2]), ("be", start[::2])):
            if zeros and zeros.count(0) > len(zeros) / 2:
                return data.decode(f"utf-16-{order}"), "UTF-16"
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError as error:
        what = "neither UTF-8 nor UTF-16" if not mark else "UTF-16 that is cut off"
        raise DataError(f"{path} cannot be read as a CSV table in UTF-8: it is {what} ({error}); {_REMEDY}") from error


def _separator(text: str, *, columns: Collection[str], path: Path) -> str:
    """The one character that parts the names of columns in the header."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    wanted = set(map(plain_name, columns))
    parts = {separator: next(csv.reader([header], delimiter=separator), []) for separator in _SEPARATORS}
    hits = {separator: len(wanted.intersection(map(plain_name, cells))) for separator, cells in parts.items()}
    best = max(hits.values())
    if best == 0:
        present = [separator for separator in _SEPARATORS if separator in header]
        return present[0] if len(present) == 1 else ","
    found = [separator for separator, count in hits.items() if count == best and separator in header]
    # A cell that holds two names still shows that another character parts them, too.
    found += [other for separator in found[:1] for other in _SEPARATORS
              if any(_names(cell.split(other), wanted) > 1 for cell in parts[separator])]  # fmt: skip
    if len(found) > 1:
        names = " and ".join(_SEPARATORS[separator] for separator in dict.fromkeys(found))
        raise DataError(f"{path} has a header parted by {names} alike ({header!r}): expected one of them; {_REMEDY}")
    return found[0] if found else ","


def _names(cells: Collection[str], wanted: Collection[str]) -> int:
    """How many of the cells are names of columns."""
    return sum(plain_name(cell) in wanted for cell in cells)


def _with_points(
    rows: Sequence[tuple[int, tuple[str, ...]]], *, numbers: Collection[str]
) -> tuple[list[tuple[int, tuple[str, ...]]], int]:
    """Rows with points for the decimal commas of columns with numbers, and how many there were.

    A column whose commas can all part thousands stays as it is: its numbers are refused where they are read.
    """
    wanted = set(map(plain_name, numbers))
    header = rows[0][1] if rows else ()
    chosen = set()
    for place, name in enumerate(header):
        column = [cells[place].strip() for _, cells in rows[1:] if place < len(cells)]
        with_comma = [cell for cell in column if _DECIMAL_COMMA.fullmatch(cell)]
        if plain_name(name) in wanted and not all(map(_PERHAPS_THOUSANDS.fullmatch, with_comma)):
            chosen.add(place)
    result, converted = [], 0
    for number, cells in rows:
        fit = [place in chosen and _DECIMAL_COMMA.fullmatch(cell.strip()) for place, cell in enumerate(cells)]
        new = tuple(cell.replace(",", ".") if fits else cell for cell, fits in zip(cells, fit, strict=True))
        converted += sum(map(bool, fit))
        result.append((number, new))
    return result, converted
