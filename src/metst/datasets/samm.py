"""SAMM, short clips: grey frames at 200 per second, micro-expressions.

Layout: ``006/006_1_2/006_05562.jpg`` and ``SAMM.xlsx`` (sheet ``MICRO_ONLY``) or ``SAMM_Micro_FACS_Codes_v2.xlsx``:
Subject, Filename (``006_1_2``), Inducement Code, Onset Frame, Apex Frame, Offset Frame, Duration, Micro, Action
Units, Estimated Emotion, Objective Classes, Notes.  Frame numbers are those in the images' names.
"""

from __future__ import annotations

import re
from pathlib import Path

from metst.datasets.errata import Entry
from metst.datasets.folders import folder_of, videos_by_subject
from metst.datasets.label_sheets import Form, LabelSheets
from metst.datasets.reading import Columns, Reader, action_units, label_kind, note_unlabelled
from metst.datasets.sheets import Row, find_table
from metst.datasets.types import DataSet, Journal, Video
from metst.published.facts import DATA_SETS

RATE_HZ = DATA_SETS["samm-lv"].video_rate_hz
"""Frame rate of the recordings: the clips are cut out of the long videos."""

LABELS = Form(
    ("Subject", "Filename", "Onset Frame", "Apex Frame", "Offset Frame", "Estimated Emotion"),
    example="SAMM.xlsx",
    file=r"SAMM\.xlsx?|SAMM.*Micro_FACS_Codes.*\.xlsx?",
    marks=("Inducement Code",),
    title="MICRO_ONLY",
)
"""The sheet of labels, which also gives SAMM Long Videos their emotions."""

SUBJECT = r"\d{3}"  # folders of subjects
_SUBJECT_DIGITS = 3  # with zeros in front, as folders and file names have it
_FILENAME = re.compile(r"(\d{3})_\d+_\d+")  # subject, video, sample
# Columns of the sheet that say where a label is, and what.
_COLUMNS = Columns(onset="Onset Frame", apex="Apex Frame", offset="Offset Frame", emotion="Estimated Emotion")


def load_samm(root: Path, *, errata: bool, sheets: LabelSheets) -> DataSet:
    """Read SAMM; errors and promises are those of :func:`metst.datasets.load_dataset`."""
    journal = Journal()
    sheet = sheets.need(LABELS, kind="samm", journal=journal)
    videos = _videos(root, journal=journal)
    reader = Reader("samm", "samm", _COLUMNS, videos, errata, journal)
    rows = find_table(sheet, columns=LABELS.columns, optional=("Action Units", "Micro"), journal=journal) or []
    entries = [entry for row in rows if (entry := _entry(row, reader=reader)) is not None]
    labels = reader.labels(entries, rows=len(rows), first_row=rows[0].source.row if rows else 1)
    note_unlabelled(reader, labels)
    return journal.data_set("samm", root, videos=videos, labels=labels)


def _videos(root: Path, *, journal: Journal) -> list[Video]:
    return videos_by_subject(
        folder_of(root, children=SUBJECT), subjects=SUBJECT, rate_hz=RATE_HZ, root=root,
        example="folders of frames like 006/006_1_2", journal=journal,
    )  # fmt: skip


def _entry(row: Row, *, reader: Reader) -> Entry | None:
    cells, name = row.cells, row.text("Filename")
    subject = row.text("Subject").zfill(_SUBJECT_DIGITS)
    match = _FILENAME.fullmatch(name)
    if match is not None and match[1] != subject:
        expected, got = f"{match[1]} as in {name}", repr(row.text("Subject"))
        reader.journal.fault(row.source, "Subject", expected=expected, got=got)
    frames = reader.frames(
        row.source, onset=cells["Onset Frame"], apex=cells["Apex Frame"], offset=cells["Offset Frame"]
    )
    if frames is None:
        return None
    kind = label_kind(row.text("Micro")) or "micro"
    emotion, units = row.text("Estimated Emotion"), action_units(cells.get("Action Units"))
    subject = subject if match is None else match[1]
    return Entry(row.source, subject, name, *frames, kind, emotion=emotion, action_units=units)
