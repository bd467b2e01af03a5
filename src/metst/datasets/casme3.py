"""CAS(ME)3, part A: 30 frames per second, micro-expressions, and macro-expressions and blinks as hard negatives.

Layout: ``data/spNO.1/a/color/1.jpg`` (a folder ``depth`` beside it is not read),
``cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx`` and, for the negatives, ``CAS(ME)3_part_A_v2.xls``.
Frame numbers are those in the images' names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from metst.datasets.errata import Entry
from metst.datasets.folders import (
    check_subject_names,
    folder_of,
    folders,
    frame_folder,
    holds_images,
    label_sheet,
    matching,
)
from metst.datasets.reading import Columns, Reader, action_units, label_kind, note_unlabelled
from metst.datasets.sheets import Row, find_table, read_workbook
from metst.datasets.types import DataSet, Journal, Label, LabelKind, Source, Video
from metst.published.facts import DATA_SETS

RATE_HZ = DATA_SETS["casme3"].video_rate_hz
"""Frame rate of the recordings, as their owners give it."""

# The label sheet as it circulates, and as it was published; the sheet of macro-expressions and blinks; folders of
# subjects; the columns that say where a label is.
SHEET = r"cas\(me\)\^?3_part_A_ME_label_JpgIndex.*\.xlsx?"
EXAMPLE = "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
NEGATIVES = r"CAS\(ME\)\^?3_part_A_v\d+\.xlsx?"
SUBJECT = r"spNO\.\d+"
_PLACE = ("Subject", "Filename", "Onset", "Apex", "Offset")


def load_casme3(root: Path, *, errata: bool) -> DataSet:
    """Read part A of CAS(ME)3; errors and promises are those of :func:`metst.datasets.load_dataset`."""
    journal = Journal()
    sheet = read_workbook(label_sheet(root, pattern=SHEET, example=EXAMPLE, journal=journal))[0]
    videos = _videos(root, journal=journal)
    check_subject_names(videos, root=root, journal=journal)
    reader = Reader("casme3", "casme3", Columns(), videos, errata, journal)
    rows = find_table(sheet, columns=(*_PLACE, "emotion"), optional=("AU", "Objective class"), journal=journal) or []
    labels = _labels(rows, kinds=["micro"] * len(rows), reader=reader) + _negatives(root, reader=reader)
    note_unlabelled(reader, labels)
    return journal.data_set("casme3", root, videos=videos, labels=labels)


def _videos(root: Path, *, journal: Journal) -> list[Video]:
    parent = folder_of(root, children=SUBJECT)
    if parent is None:
        journal.fault(Source(root.name), expected="folders of frames like data/spNO.1/a/color", got="none")
        return []
    videos = []
    for subject in folders(parent):
        for folder in folders(subject) if re.fullmatch(SUBJECT, subject.name, re.IGNORECASE) else ():
            colour = next((inner for inner in folders(folder) if inner.name.casefold() == "color"), None)
            if colour is None and not holds_images(folder):
                where = Source(str(folder.relative_to(root)))
                journal.fault(where, expected="a folder color with the frames", got="none", effect="no video")
                continue
            frames = colour or folder
            videos.append(
                frame_folder(
                    frames, subject=subject.name, name=folder.name, rate_hz=RATE_HZ, root=root, journal=journal
                )
            )
    return [video for video in videos if video is not None]


def _negatives(root: Path, *, reader: Reader) -> list[Label]:
    """Macro-expressions and blinks; the micro-expressions of that sheet are those of the other one."""
    found = matching(root, NEGATIVES)
    if not found:
        reader.journal.notes.append("no CAS(ME)3_part_A_v2.xls: no macro-expressions and blinks as hard negatives")
        return []
    sheet = read_workbook(found[-1])[0]
    columns = (*_PLACE, "Expression type")
    optional = ("AU", "Action Units", "Objective class")
    rows = find_table(sheet, columns=columns, optional=optional, journal=reader.journal) or []
    kinds = [label_kind(row.text("Expression type")) or label_kind(row.text("Objective class")) for row in rows]
    kept: list[tuple[Row, LabelKind]] = []
    for row, kind in zip(rows, kinds, strict=True):
        if kind is None:
            expected, got = "a macro-expression, micro-expression or blink", repr(row.text("Expression type"))
            reader.journal.fault(
                row.source, "Expression type", expected=expected, got=got, effect="the row is left out"
            )
        elif kind != "micro":
            kept.append((row, kind))
    if micro := kinds.count("micro"):
        reader.journal.notes.append(f"{micro} micro-expressions of {found[-1].name} are read from {EXAMPLE} instead")
    return _labels([row for row, _ in kept], kinds=[kind for _, kind in kept], reader=reader)


def _labels(rows: Sequence[Row], *, kinds: Sequence[LabelKind], reader: Reader) -> list[Label]:
    entries = []
    for row, kind in zip(rows, kinds, strict=True):
        cells = row.cells
        frames = reader.frames(row.source, onset=cells["Onset"], apex=cells["Apex"], offset=cells["Offset"])
        if frames is not None:
            onset, apex, offset = frames
            units = action_units(cells.get("AU") or cells.get("Action Units"))
            subject, video = row.text("Subject"), row.text("Filename")
            emotion = row.text("emotion")
            entries.append(Entry(row.source, subject, video, onset, apex, offset, kind, emotion, units))
    return reader.labels(entries, rows=len(rows), first_row=rows[0].source.row if rows else 1)
