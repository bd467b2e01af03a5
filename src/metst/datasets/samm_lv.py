"""SAMM Long Videos: grey frames at 200 per second, macro- and micro-expressions.

Layout: ``SAMM_longvideos/006_1/006_1_0001.jpg`` and ``SAMM_LongVideos_V*_Release.xlsx``, whose
file names ``006_1_2`` mean video ``006_1``, sample 2.  The emotions of the micro-expressions stand
in the sheet of SAMM, ``SAMM_Micro_FACS_Codes_v2.xlsx``, under the same file names; its frame
numbers are those of other, shorter videos and are not read.
"""

from __future__ import annotations

import re
from pathlib import Path

from metst.datasets.errata import Entry
from metst.datasets.folders import folder_of, folders, frame_folder
from metst.datasets.label_sheets import Form, LabelSheets
from metst.datasets.reading import Columns, Reader, action_units, label_kind, note_unlabelled
from metst.datasets.sheets import Row, find_table
from metst.datasets.types import DataSet, Journal, Source, Video
from metst.published.facts import DATA_SETS

RATE_HZ = DATA_SETS["samm-lv"].video_rate_hz
"""Frame rate of the recordings, as their owners give it."""

_SUBJECT_DIGITS = 3  # with zeros in front, as folders and file names have it

LABELS = Form(
    ("Subject", "Filename", "Onset", "Apex", "Offset", "Type"),
    example="SAMM_LongVideos_V3_Release.xlsx",
    file=r"SAMM_LongVideos.*\.xlsx?",
)
"""The sheet of labels."""
EMOTIONS = Form(
    ("Filename", "Estimated Emotion"),
    example="SAMM_Micro_FACS_Codes_v2.xlsx",
    file=r"SAMM.*Micro_FACS_Codes.*\.xlsx?",
)
"""The sheet of SAMM, for its emotions."""

# Folders of videos; names of labels, which hold subject, video and sample.
VIDEO = r"\d{3}_\d+"
_FILENAME = re.compile(r"((\d{3})_\d+)_\d+")


def load_samm_lv(root: Path, *, errata: bool, sheets: LabelSheets) -> DataSet:
    """Read SAMM Long Videos; errors and promises are those of :func:`metst.datasets.load_dataset`."""
    journal = Journal()
    sheet = sheets.need(LABELS, kind="samm-lv", journal=journal)
    videos = _videos(root, journal=journal)
    reader = Reader("samm-lv", "samm", Columns(emotion="Estimated Emotion"), videos, errata, journal)
    rows = find_table(sheet, columns=LABELS.columns, optional=("Action Units",), journal=journal) or []
    emotions = _emotions(root, sheets=sheets, journal=journal)
    entries = [entry for row in rows if (entry := _entry(row, reader=reader, emotions=emotions)) is not None]
    labels = reader.labels(entries, rows=len(rows), first_row=rows[0].source.row if rows else 1)
    note_unlabelled(reader, labels)
    return journal.data_set("samm-lv", root, videos=videos, labels=labels)


def _videos(root: Path, *, journal: Journal) -> list[Video]:
    parent = folder_of(root, children=VIDEO)
    if parent is None:
        journal.fault(Source(root.name), expected="folders of frames like SAMM_longvideos/006_1", got="none")
        return []
    named = [folder for folder in folders(parent) if re.fullmatch(VIDEO, folder.name)]
    videos = (
        frame_folder(
            folder, subject=folder.name.split("_")[0], name=folder.name, rate_hz=RATE_HZ, root=root, journal=journal
        )
        for folder in named
    )
    return [video for video in videos if video is not None]


def _emotions(root: Path, *, sheets: LabelSheets, journal: Journal) -> dict[str, str] | None:
    """Emotion by file name; None where the sheet is missing or cannot be read."""
    sheet = sheets.find(EMOTIONS, journal=journal)
    if sheet is None:
        expected = f"{EMOTIONS.example} with the emotions"
        journal.fault(Source(root.name), expected=expected, got="no such file", effect="the labels have no class")
        return None
    rows = find_table(sheet, columns=EMOTIONS.columns, journal=journal)
    if rows is None:
        return None
    emotions: dict[str, str] = {}
    for row in rows:
        name, emotion = row.text("Filename"), row.text("Estimated Emotion")
        if emotions.setdefault(name, emotion) != emotion:
            got = f"{emotion!r} after {emotions[name]!r}"
            journal.fault(row.source, "Estimated Emotion", expected=f"one emotion of {name}", got=got)
    return emotions


def _entry(row: Row, *, reader: Reader, emotions: dict[str, str] | None) -> Entry | None:
    journal, name, kind = reader.journal, row.text("Filename"), label_kind(row.text("Type"))
    match = _FILENAME.fullmatch(name)
    if match is None:
        expected = "a name like 006_1_2 (video 006_1, sample 2)"
        journal.fault(row.source, "Filename", expected=expected, got=repr(name), effect="the row is left out")
    elif row.text("Subject").zfill(_SUBJECT_DIGITS) != match[2]:
        journal.fault(row.source, "Subject", expected=f"{match[2]} as in {name}", got=repr(row.text("Subject")))
    if kind is None:
        got = repr(row.text("Type"))
        journal.fault(row.source, "Type", expected="Macro or Micro - 1/2", got=got, effect="the row is left out")
    frames = reader.frames(row.source, onset=row.cells["Onset"], apex=row.cells["Apex"], offset=row.cells["Offset"])
    if match is None or kind is None or frames is None:
        return None
    emotion: str | None = ""
    if kind == "micro":
        emotion = None if emotions is None else emotions.get(name)
        if emotions is not None and emotion is None:
            expected = f"an emotion of {name} in SAMM_Micro_FACS_Codes"
            journal.fault(row.source, "Filename", expected=expected, got="none", effect="the label has no class")
    onset, apex, offset = frames
    units = action_units(row.cells.get("Action Units"))
    return Entry(row.source, match[2], match[1], onset, apex, offset, kind, emotion, units)
