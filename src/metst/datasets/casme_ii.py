"""CASME II, short clips: 200 frames per second, micro-expressions.  Not CAS(ME)2, which is ``casme2`` here.

Layout: ``CASME2_RAW/sub01/EP02_01f/img46.jpg`` and ``CASME2-coding-20140508.xlsx``: Subject (``01``), Filename
(``EP02_01f``), OnsetFrame, ApexFrame (``/`` where it is unknown), OffsetFrame, Action Units, Estimated Emotion.
Frame numbers are those in the images' names.
"""

from __future__ import annotations

from pathlib import Path

from metst.datasets.errata import Entry
from metst.datasets.folders import folder_of, videos_by_subject
from metst.datasets.label_sheets import Form, LabelSheets
from metst.datasets.reading import Columns, Reader, action_units, note_unlabelled
from metst.datasets.sheets import Row, find_table
from metst.datasets.types import DataSet, Journal, Video

RATE_HZ = 200.0
"""Frame rate of the recordings, as their owners give it."""

LABELS = Form(
    ("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Estimated Emotion"),
    example="CASME2-coding-20140508.xlsx",
    file=r"CASME2-coding.*\.xlsx?",
    without=("Inducement Code",),
)
"""The sheet of labels; that of SAMM has the same columns and an inducement code."""

SUBJECT = r"sub\d+"  # folders of subjects
_SUBJECT_DIGITS = 2  # with zeros in front, as folders have it
# Columns of the sheet that say where a label is, and what.
_COLUMNS = Columns(onset="OnsetFrame", apex="ApexFrame", offset="OffsetFrame", emotion="Estimated Emotion")


def load_casme_ii(root: Path, *, errata: bool, sheets: LabelSheets) -> DataSet:
    """Read CASME II; errors and promises are those of :func:`metst.datasets.load_dataset`."""
    journal = Journal()
    sheet = sheets.need(LABELS, kind="casme-ii", journal=journal)
    videos = _videos(root, journal=journal)
    reader = Reader("casme-ii", "casme-ii", _COLUMNS, videos, errata, journal)
    rows = find_table(sheet, columns=LABELS.columns, optional=("Action Units",), journal=journal) or []
    entries = [entry for row in rows if (entry := _entry(row, reader=reader)) is not None]
    labels = reader.labels(entries, rows=len(rows), first_row=rows[0].source.row if rows else 1)
    note_unlabelled(reader, labels)
    return journal.data_set("casme-ii", root, videos=videos, labels=labels)


def _videos(root: Path, *, journal: Journal) -> list[Video]:
    return videos_by_subject(
        folder_of(root, children=SUBJECT), subjects=f"(?i:{SUBJECT})", rate_hz=RATE_HZ, root=root,
        example="folders of frames like CASME2_RAW/sub01/EP02_01f", journal=journal,
    )  # fmt: skip


def _entry(row: Row, *, reader: Reader) -> Entry | None:
    cells = row.cells
    frames = reader.frames(row.source, onset=cells["OnsetFrame"], apex=cells["ApexFrame"], offset=cells["OffsetFrame"])
    if frames is None:
        return None
    number = row.text("Subject")
    subject = f"sub{number.zfill(_SUBJECT_DIGITS)}" if number.isdigit() else number
    emotion, units = row.text("Estimated Emotion"), action_units(cells.get("Action Units"))
    return Entry(row.source, subject, row.text("Filename"), *frames, "micro", emotion=emotion, action_units=units)
