"""CAS(ME)2, long videos: 30 frames per second, macro- and micro-expressions.

Layout: ``rawpic/s15/15_0101disgustingteeth/img1.jpg`` and ``CAS(ME)^2code_final.xlsx``.  Its first
sheet has no header: subject (1 to 22), video and sample (``disgust1_1``), onset, apex, offset,
action units, emotion, type, self-report.  The second says which folder a subject is (``s15``, 1), the
third which number a video has in the folders' names (``101``, ``disgust1``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from metst.datasets.errata import Entry
from metst.datasets.folders import folder_of, videos_by_subject
from metst.datasets.label_sheets import Form, LabelSheets
from metst.datasets.reading import Columns, Reader, action_units, label_kind, note_unlabelled
from metst.datasets.sheets import Row, Sheet, cell_text, check_merged, headers, whole_number
from metst.datasets.types import DataSet, Journal, Video

RATE_HZ = 30.0
"""Frame rate of the recordings, as their owners give it."""

# Folders of subjects and of videos with their number; the columns of the sheet, which has no header.
SUBJECT = r"s\d+"
_VIDEO = re.compile(r"\d+_(\d{3,4})(?!\d).*")
_COLUMNS = ("A (subject)", "B (video)", "C (onset)", "D (apex)", "E (offset)", "F (AU)", "G (emotion)", "H (type)")
_ROWS_LOOKED_AT = 5  # rows that tell a sheet without a header: enough for one slip among them


def _holds_labels(sheet: Sheet) -> bool:
    """Whether a row has numbers, names and a type where labels have them, and none is a header."""
    if any("onset" in name for names in headers(sheet) for name in names):
        return False
    return any(
        len(cells) >= len(_COLUMNS)
        and all(whole_number(cells[k]) is not None for k in (0, 2, 3, 4))
        and bool(cell_text(cells[1]))
        and label_kind(cell_text(cells[7])) is not None
        for _, cells in sheet.rows[:_ROWS_LOOKED_AT]
    )


LABELS = Form(
    _COLUMNS,
    example="CAS(ME)^2code_final.xlsx",
    file=r"(CAS\(ME\)\^?2 ?|CASME_?2?_?)?code_final.*\.xlsx?",
    headless=_holds_labels,
)
"""The sheet of labels; the two with names are the next ones of its workbook."""


def load_casme2(root: Path, *, errata: bool, sheets: LabelSheets) -> DataSet:
    """Read CAS(ME)2; errors and promises are those of :func:`metst.datasets.load_dataset`."""
    journal = Journal()
    sheet = sheets.need(LABELS, kind="casme2", journal=journal)
    book = sheets.book(sheet)
    videos = _videos(root, journal=journal)
    subject, video, onset, apex, offset, _, emotion, _ = _COLUMNS
    reader = Reader("casme2", "casme2", Columns(subject, video, onset, apex, offset, emotion), videos, errata, journal)
    numbers = _pairs(book, at=1, columns=(1, 2), journal=journal)
    folder_names = {number: _folder_name(name) for name, number in numbers}
    codes = dict(_pairs(book, at=2, columns=(1, 0), journal=journal))
    names = {(video.subject, int(match[1])): video.name for video in videos if (match := _VIDEO.match(video.name))}
    rows = _rows(sheet, journal=journal)
    resolve = _Resolver(reader, folder_names, codes, names)
    entries = [entry for row in rows if (entry := resolve(row)) is not None]
    labels = reader.labels(entries, rows=len(rows), first_row=rows[0].source.row if rows else 1)
    note_unlabelled(reader, labels)
    return journal.data_set("casme2", root, videos=videos, labels=labels)


def _videos(root: Path, *, journal: Journal) -> list[Video]:
    return videos_by_subject(
        folder_of(root, children=SUBJECT), subjects=SUBJECT, rate_hz=RATE_HZ, root=root,
        example="folders like rawpic/s15/15_0101disgustingteeth", journal=journal,
    )  # fmt: skip


def _rows(sheet: Sheet, *, journal: Journal) -> list[Row]:
    if not sheet.rows:
        journal.fault(sheet.source, expected="labels in columns A to I", got="an empty sheet")
    check_merged(sheet, journal=journal, below=0)
    return [
        Row(replace(sheet.source, row=number), dict(zip(_COLUMNS, (*cells, *[None] * len(_COLUMNS)), strict=False)))
        for number, cells in sheet.rows
    ]


def _pairs(sheets: tuple[Sheet, ...], *, at: int, columns: tuple[int, int], journal: Journal) -> list[tuple[str, int]]:
    """Name and number of each row of a sheet with names."""
    if len(sheets) <= at or not sheets[at].rows:
        what = ("folder of each subject", "number of each video")[at - 1]
        got = "an empty sheet" if len(sheets) > at else f"{len(sheets)} sheets"
        journal.fault(replace(sheets[0].source, sheet=""), expected=f"sheet {at + 1} with the {what}", got=got)
        return []
    pairs = []
    for number, cells in sheets[at].rows:
        name, value = (cell_text(cells[k]) if k < len(cells) else "" for k in columns)
        code = whole_number(value)
        if code is None or not name:
            source = replace(sheets[at].source, row=number)
            journal.fault(source, expected="a name and a whole number", got=repr(f"{name} {value}".strip()))
        else:
            pairs.append((name, code))
    return pairs


def _folder_name(name: str) -> str:
    return name if name.startswith("s") else f"s{name}"


class _Resolver:
    """Turns the first sheet's rows into entries on the folders' names."""

    def __init__(
        self,
        reader: Reader,
        folder_names: Mapping[int, str],
        codes: Mapping[str, int],
        names: Mapping[tuple[str, int], str],
    ) -> None:
        self._reader, self._folders, self._codes, self._names = reader, folder_names, codes, names

    def __call__(self, row: Row) -> Entry | None:
        subject, video = self._subject(row), self._code(row)
        onset, apex, offset, units, emotion, kind = (row.cells[name] for name in _COLUMNS[2:])
        frames = self._reader.frames(row.source, onset=onset, apex=apex, offset=offset)
        what = label_kind(cell_text(kind))
        if what is None:
            self._fault(row, _COLUMNS[7], expected="macro-expression or micro-expression")
        if subject is None or video is None or frames is None or what is None:
            return None
        name = self._names.get((subject, video), f"{subject.lstrip('s')}_{video:04d}")
        return Entry(
            row.source, subject, name, *frames, what, emotion=cell_text(emotion), action_units=action_units(units)
        )

    def _subject(self, row: Row) -> str | None:
        number = whole_number(row.cells[_COLUMNS[0]])
        if number is not None and number in self._folders:
            return self._folders[number]
        self._fault(row, _COLUMNS[0], expected="a subject that sheet 2 names")
        return None

    def _code(self, row: Row) -> int | None:
        name = row.text(_COLUMNS[1])
        code = self._codes.get(name.rpartition("_")[0] or name)
        if code is None:
            self._fault(row, _COLUMNS[1], expected="a video that sheet 3 names, and a sample (disgust1_1)")
        return code

    def _fault(self, row: Row, column: str, *, expected: str) -> None:
        got = repr(row.text(column)) if row.text(column) else "an empty cell"
        self._reader.journal.fault(row.source, column, expected=expected, got=got, effect="the row is left out")
