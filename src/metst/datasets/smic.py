"""SMIC-E, long videos of the high-speed (HS), visible (VIS) and near-infrared (NIR) camera.

Layout: ``SMIC-HS-E/HS/s01/s1_ne_01/image000123.jpg`` and ``SMIC-HS-E_annotation.xlsx`` with Subject
(1), Filename (``s1_ne_01``), OnsetF, OffsetF, FirstF and Emotion.  Frames count from the start of the
recording: FirstF is the first frame of the video and is taken off.  No apex is given.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from metst.datasets.errata import Entry
from metst.datasets.folders import folders_of, videos_by_subject
from metst.datasets.label_sheets import Form, LabelSheets
from metst.datasets.reading import Columns, Reader, note_unlabelled
from metst.datasets.sheets import Row, find_table, whole_number
from metst.datasets.types import DataSet, Journal, Video
from metst.published.facts import Kind
from metst.spelling.names import loose_spelling

Camera = Literal["hs", "vis", "nir"]
RATE_HZ: dict[Camera, float] = {"hs": 100.0, "vis": 25.0, "nir": 25.0}
"""Frame rate of each camera, as the owners give it."""

KINDS: dict[Camera, Kind] = {"hs": "smic-hs", "vis": "smic-vis", "nir": "smic-nir"}
"""Data set of each camera."""

# Folders of subjects; a camera in the name of a folder; what the sheet calls its columns.
SUBJECT = r"s\d+"
_CAMERA = re.compile("(?<![a-z])(hs|vis|nir)(?![a-z])")
_COLUMNS = Columns(onset="OnsetF", offset="OffsetF", emotion="Emotion")


def labels_form(camera: Camera) -> Form:
    """The label sheet of a camera; that of another one differs in its name only."""
    return Form(
        ("Subject", "Filename", "OnsetF", "OffsetF", "FirstF", "Emotion"),
        example=f"SMIC-{camera.upper()}-E_annotation.xlsx",
        file=rf"SMIC[-_]{camera}[-_]E_annotation.*\.xlsx?",
    )


def cameras(root: Path, sheets: LabelSheets) -> list[Camera]:
    """Cameras whose labels are there: as the paths of sheets say, or else those of the folders of frames."""
    found = sheets.told(labels_form("hs"))
    named = [camera for camera in KINDS if any(camera in _named(path) for path in found)]
    if found and not named:
        named = [camera for camera in KINDS if _camera_folder(root, camera=camera, named=True)] or list(KINDS)
    return named


def load_smic(root: Path, *, camera: Camera, errata: bool, sheets: LabelSheets) -> DataSet:
    """Read one camera of SMIC-E; errors and promises are those of :func:`metst.datasets.load_dataset`."""
    journal, form = Journal(), labels_form(camera)
    sheet = sheets.need(form, kind=KINDS[camera], journal=journal, among=lambda path: _named(path) in (set(), {camera}))
    videos = _videos(root, camera=camera, journal=journal)
    reader = Reader(KINDS[camera], "smic", _COLUMNS, videos, errata, journal)
    rows = find_table(sheet, columns=form.columns, journal=journal) or []
    known = {loose_spelling(video.name): video for video in videos}
    entries = [entry for row in rows if (entry := _entry(row, reader=reader, known=known)) is not None]
    labels = reader.labels(entries, rows=len(rows), first_row=rows[0].source.row if rows else 1)
    note_unlabelled(reader, labels)
    return journal.data_set(KINDS[camera], root, videos=videos, labels=labels)


def _named(path: Path) -> set[str]:
    """Cameras that a path names."""
    return set(_CAMERA.findall(str(path).casefold()))


def _videos(root: Path, *, camera: Camera, journal: Journal) -> list[Video]:
    name = camera.upper()
    return videos_by_subject(
        _camera_folder(root, camera=camera), subjects=SUBJECT, rate_hz=RATE_HZ[camera], root=root,
        example=f"folders like SMIC-{name}-E/{name}/s01/s1_ne_01", journal=journal,
    )  # fmt: skip


def _camera_folder(root: Path, *, camera: Camera, named: bool = False) -> Path | None:
    """The folder with the subjects of a camera: its path names the camera, or it is the only one and names none."""
    found = folders_of(root, children=SUBJECT)
    of_path = {folder: _named(folder.relative_to(root)) for folder in found}
    own = [folder for folder in found if camera in of_path[folder]]
    if own or named:
        return next(iter(own), None)
    unnamed = [folder for folder in found if not of_path[folder]]
    return unnamed[0] if len(unnamed) == 1 else None


def _entry(row: Row, *, reader: Reader, known: dict[str, Video]) -> Entry | None:
    journal, cells = reader.journal, row.cells
    frames = reader.frames(row.source, onset=cells["OnsetF"], apex=None, offset=cells["OffsetF"])
    first = whole_number(cells["FirstF"])
    if first is None:
        got = repr(row.text("FirstF")) if row.text("FirstF") else "an empty cell"
        journal.fault(row.source, "FirstF", expected="a whole frame number", got=got, effect="the row is left out")
    if frames is None or first is None:
        return None
    name = row.text("Filename")
    video = known.get(loose_spelling(name))
    if video is not None and video.first_image not in (None, first):
        expected = f"{video.first_image}, the first image of {video.name}"
        journal.fault(row.source, "FirstF", expected=expected, got=str(first))
    subject, name = (f"s{row.text('Subject').zfill(2)}", name) if video is None else (video.subject, video.name)
    if loose_spelling(row.text("Subject")).lstrip("s") != (number := loose_spelling(subject).lstrip("s")):
        expected = f"{number}, whose folder holds {name}"
        journal.fault(row.source, "Subject", expected=expected, got=repr(row.text("Subject")))
    onset, apex, offset = frames
    emotion = row.text("Emotion")
    return Entry(row.source, subject, name, onset, apex, offset, "micro", emotion, first_frame=first)
