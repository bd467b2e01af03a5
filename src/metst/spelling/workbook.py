"""Workbooks (.xlsx) as openpyxl reads them, once their sizes are known to be those of a table."""

from __future__ import annotations

import functools
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from metst.errors import UsageError
from metst.guard.limits import CELLS, WORKBOOK

if TYPE_CHECKING:
    from openpyxl import Workbook

_CORNER = rb"\$?([A-Za-z]{1,9})\$?(\d{1,9})"
"""A cell as formulas name it: letters of its column, number of its row."""
_MERGED = re.compile(rb"<(?:\w+:)?mergeCell\b[^>]*?\bref\s*=\s*[\"']" + _CORNER + b":" + _CORNER)
"""Corners of merged cells in a sheet of an .xlsx file."""


@contextmanager
def openpyxl_for(what: str) -> Iterator[None]:
    """Around what imports openpyxl, which the plain installation does without.

    Raises
    ------
    UsageError
        It is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise UsageError(f"{what} needs the package openpyxl: pip install 'metst[tables]'") from error


def open_workbook(path: Path) -> Workbook:
    """Open a workbook to read values.

    Raises
    ------
    DataError
        It would unpack, or spread over cells, to more than a table has.
    OSError, zipfile.BadZipFile, ...
        It cannot be read, or is no workbook: in a damaged one each byte may break the reader in another way.
    """
    import openpyxl

    with path.open("rb") as file, warnings.catch_warnings():
        _check_archive(file, path=path)
        warnings.simplefilter("ignore")  # about styles and drop-down lists that are not read
        book = openpyxl.load_workbook(file, data_only=True)
    for sheet in book.worksheets:
        CELLS.check(sheet.max_row * sheet.max_column, where=f"{path}, sheet {sheet.title}")
    return book


def _check_archive(file: IO[bytes], *, path: Path) -> None:
    """Refuse what would unpack, or spread over merged cells, to more than a sheet of labels has."""
    with zipfile.ZipFile(file) as archive:
        WORKBOOK.check(sum(entry.file_size for entry in archive.infolist()), where=str(path))
        for entry in archive.infolist():
            if entry.filename.endswith(".xml"):
                areas = _MERGED.findall(archive.read(entry))
                CELLS.check(sum(map(_area, areas)), where=f"{path}, {entry.filename}")


def _area(corners: tuple[bytes, bytes, bytes, bytes]) -> int:
    """Cells between two corners, such as A and 1, C and 12."""
    left, top, right, bottom = corners
    columns = _column(right) - _column(left) + 1
    return max(columns, 0) * max(int(bottom) - int(top) + 1, 0)


def _column(letters: bytes) -> int:
    return functools.reduce(lambda number, letter: 26 * number + letter - ord("A") + 1, letters.upper(), 0)
