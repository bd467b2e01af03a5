"""CAS(ME)3, part A: 30 frames per second, micro-expressions, and macro-expressions and blinks as hard negatives.

Layout: ``data/spNO.1/a/color/1.jpg`` (a folder ``depth`` beside it is not read),
``cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx`` and, for the negatives, ``CAS(ME)3_part_A_v2.xls``: its first
sheet has micro- and macro-expressions, the second, ``eye blink``, onset and offset of blinks.  The
micro-expressions are read from the former where it is there, else from the latter.
Frame numbers are those in the images' names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from metst.datasets.errata import Entry
from metst.datasets.folders import check_subject_names, folder_of, folders, frame_folder, holds_images
from metst.datasets.label_sheets import Form, LabelSheets
from metst.datasets.reading import Columns, Reader, action_units, label_kind, note_unlabelled
from metst.datasets.sheets import Row, Sheet, find_table
from metst.datasets.types import DataSet, Journal, Label, LabelKind, Source, Video
from metst.published.facts import DATA_SETS

RATE_HZ = DATA_SETS["casme3"].video_rate_hz
"""Frame rate of the recordings, as their owners give it."""

_PLACE = ("Subject", "Filename", "Onset", "Apex", "Offset")  # the columns that say where a label is
_TYPE = "Expression type"  # the column that says what it is

MICRO = Form(
    (*_PLACE, "emotion"),
    example="cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",
    file=r"cas\(me\)\^?3_part_A_ME_label_JpgIndex.*\.xlsx?",
    without=(_TYPE, "Type", "Fps"),
    title="label",
)
"""The sheet of micro-expressions."""
ALL = Form((*_PLACE, _TYPE), example="CAS(ME)3_part_A_v2.xls", file=r"CAS\(ME\)\^?3_part_A_v\d+\.xlsx?")
"""The sheet of micro- and macro-expressions."""
BLINKS = Form(
    ("Subject", "Filename", "Onset", "Offset"),
    example="CAS(ME)3_part_A_v2.xls",
    file=ALL.file,
    without=("Apex", "Type", _TYPE, "emotion"),
    title="eye blink",
)
"""The sheet of blinks."""

SUBJECT = r"spNO\.\d+"  # folders of subjects


def load_casme3(root: Path, *, errata: bool, sheets: LabelSheets) -> DataSet:
    """Read part A of CAS(ME)3; errors and promises are those of :func:`metst.datasets.load_dataset`."""
    journal = Journal()
    every = sheets.find(ALL, journal=journal, told=True)
    micro = sheets.find(MICRO, journal=journal, told=every is not None)
    if micro is None and every is None:
        raise sheets.missing(MICRO, kind="casme3")
    blinks = sheets.find(BLINKS, journal=journal, told=True)
    videos = _videos(root, journal=journal)
    check_subject_names(videos, root=root, journal=journal)
    reader = Reader("casme3", "casme3", Columns(), videos, errata, journal)
    labels = [] if micro is None else _micro(micro, reader=reader)
    labels += [] if every is None else _by_type(every, reader=reader, elsewhere=micro is not None)
    labels += [] if blinks is None else _blinks(blinks, reader=reader)
    if missing := [what for what, sheet in (("macro-expressions", every), ("blinks", blinks)) if sheet is None]:
        what = " and ".join(missing)
        journal.notes.append(f"no {ALL.example}: no {what} as hard negatives")
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


def _micro(sheet: Sheet, *, reader: Reader) -> list[Label]:
    rows = find_table(sheet, columns=MICRO.columns, optional=("AU", "Objective class"), journal=reader.journal) or []
    return _labels(rows, kinds=["micro"] * len(rows), reader=reader)


def _by_type(sheet: Sheet, *, reader: Reader, elsewhere: bool) -> list[Label]:
    """Expressions of a sheet that says what each is, without its micro-expressions where they stand elsewhere."""
    optional = ("AU", "AUs", "Objective class", "emotion")
    rows = find_table(sheet, columns=ALL.columns, optional=optional, journal=reader.journal) or []
    kinds = [label_kind(row.text(_TYPE)) or label_kind(row.text("Objective class")) for row in rows]
    kept: list[tuple[Row, LabelKind]] = []
    for row, kind in zip(rows, kinds, strict=True):
        if kind is None:
            expected, got = "a macro-expression, micro-expression or blink", repr(row.text(_TYPE))
            reader.journal.fault(row.source, _TYPE, expected=expected, got=got, effect="the row is left out")
        elif kind != "micro" or not elsewhere:
            kept.append((row, kind))
    micro = kinds.count("micro")
    if micro and elsewhere:
        reader.journal.notes.append(
            f"{micro} micro-expressions of {sheet.source.file} are read from the sheet of micro-expressions instead"
        )
    elif micro and "emotion" not in rows[0].cells:
        reader.journal.notes.append(f"{sheet.source} names no emotions: its micro-expressions have no class")
    return _labels([row for row, _ in kept], kinds=[kind for _, kind in kept], reader=reader)


def _blinks(sheet: Sheet, *, reader: Reader) -> list[Label]:
    rows = find_table(sheet, columns=BLINKS.columns, journal=reader.journal) or []
    return _labels(rows, kinds=["blink"] * len(rows), reader=reader)


def _labels(rows: Sequence[Row], *, kinds: Sequence[LabelKind], reader: Reader) -> list[Label]:
    entries = []
    for row, kind in zip(rows, kinds, strict=True):
        cells = row.cells
        frames = reader.frames(row.source, onset=cells["Onset"], apex=cells.get("Apex"), offset=cells["Offset"])
        if frames is not None:
            onset, apex, offset = frames
            units = action_units(cells.get("AU") or cells.get("AUs"))
            subject, video = row.text("Subject"), row.text("Filename")
            emotion = row.text("emotion") if "emotion" in cells else None
            entries.append(Entry(row.source, subject, video, onset, apex, offset, kind, emotion, units))
    return reader.labels(entries, rows=len(rows), first_row=rows[0].source.row if rows else 1)
