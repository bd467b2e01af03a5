"""Any folder of videos with a list of what is in them: how a lab brings its own data.

Layout: one CSV file, or a workbook, with the columns ``subject, video, onset, offset, emotion`` beside
``subject/video.mp4`` or ``subject/video/`` with numbered images.  Frames count from the first of the
video, which is 1, and both ends are included.  A row with only ``subject`` and ``video`` says that nothing
happens in that video.  Optional columns: ``apex`` (empty if unknown), ``fps`` (folders of images have no time
of their own), ``kind`` (micro, macro or blink; micro if empty) and ``action_units``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from metst.datasets.errata import Entry
from metst.datasets.folders import (
    VIDEO_SUFFIXES,
    check_subject_names,
    entries,
    folders,
    frame_folder,
    holds_images,
)
from metst.datasets.label_sheets import Form, LabelSheets
from metst.datasets.reading import Columns, Reader, action_units, label_kind, likely_slip, rates_by_video
from metst.datasets.sheets import Row, Sheet, find_table
from metst.datasets.types import DataSet, Journal, Label, LabelKind, Source, Video
from metst.errors import DataError
from metst.spelling.names import composed

LABELS = Form(
    ("subject", "video", "onset", "offset", "emotion"), example="manifest.csv", file=r"manifest\.csv", marks=("apex",)
)
"""The list of labels; without the column ``apex`` it may as well be a table of predictions."""

OPTIONAL = ("apex", "fps", "kind", "action_units")
"""Columns that it may have."""

_FRAMES = ("onset", "apex", "offset", "emotion")  # what is empty in the row of a video without movements
_COLUMNS = Columns("subject", "video", *_FRAMES)  # for messages


def load_manifest(root: Path, *, sheets: LabelSheets) -> DataSet:
    """Read a folder with a manifest; errors and promises are those of :func:`metst.datasets.load_dataset`."""
    _check_only_one(root, sheets=sheets)
    journal = Journal()
    sheet = sheets.need(LABELS, kind="manifest", journal=journal)
    if sheet.source.sheet == "":
        sheet = _even(sheet, journal=journal)
    rows = find_table(sheet, columns=LABELS.columns, optional=OPTIONAL, journal=journal, remarks=False) or []
    rates = rates_by_video(rows, subject="subject", video="video", rate="fps", journal=journal)
    videos = _videos(root, rates_hz=rates, journal=journal)
    check_subject_names(videos, root=root, journal=journal)
    reader = Reader("manifest", "manifest", _COLUMNS, videos, False, journal)
    eventful = [row for row in rows if any(row.text(name) for name in _FRAMES)]
    entries_ = [entry for row in eventful if (entry := _entry(row, reader=reader)) is not None]
    labels = reader.labels(entries_, rows=len(eventful), first_row=rows[0].source.row if rows else 1)
    _check_listed(rows, labels=labels, reader=reader)
    return journal.data_set("manifest", root, videos=videos, labels=labels)


def _check_only_one(root: Path, *, sheets: LabelSheets) -> None:
    found = sheets.told(LABELS) or sheets.fitting(LABELS)
    if len(found) > 1 and not any(path.stem.casefold() == "manifest" for path in found):
        names = ", ".join(map(str, found))
        what = f"{root} holds {len(found)} files that can be the manifest ({names})"
        raise DataError(f"{what}: call it manifest.csv, or name it with --labels")


def _even(sheet: Sheet, *, journal: Journal) -> Sheet:
    """The sheet without rows that are longer or shorter than the header."""
    width = len(sheet.rows[0][1]) if sheet.rows else 0
    even = []
    for number, cells in sheet.rows:
        if len(cells) == width:
            even.append((number, cells))
            continue
        source = replace(sheet.source, row=number)
        journal.fault(source, expected=f"{width} cells", got=str(len(cells)), effect="the row is left out")
    return replace(sheet, rows=even)


def _videos(root: Path, *, rates_hz: Mapping[tuple[str, str], float], journal: Journal) -> list[Video]:
    videos: dict[tuple[str, str], Video] = {}
    for subject in folders(root):
        if holds_images(subject):
            expected = "a folder per subject, and in it videos or folders of images"
            journal.fault(Source(subject.name), expected=expected, got="images", effect="no video")
            continue
        for path in entries(subject):
            name = path.name if path.is_dir() else path.stem
            rate_hz = rates_hz.get((composed(subject.name).casefold(), composed(name).casefold()))
            if path.is_dir():
                video = frame_folder(path, subject=subject.name, name=name, rate_hz=rate_hz, root=root, journal=journal)
            else:
                is_video = path.suffix.lower() in VIDEO_SUFFIXES
                video = Video(subject.name, name, path, rate_hz) if is_video else None
            if video is None:
                continue
            first = videos.setdefault((video.subject, video.name), video)
            if first is not video:
                source = Source(str(path.relative_to(root)))
                journal.fault(source, expected=f"one video of the name {name}", got=f"{first.path.name} as well")
    return list(videos.values())


def _entry(row: Row, *, reader: Reader) -> Entry | None:
    for column in ("subject", "video"):
        if not row.text(column):
            reader.journal.fault(row.source, column, expected="a name", got="an empty cell")
    kind: LabelKind | None = label_kind(row.text("kind")) if row.text("kind") else "micro"
    if kind is None:
        got = repr(row.text("kind"))
        reader.journal.fault(
            row.source, "kind", expected="micro, macro or blink", got=got, effect="the row is left out"
        )
    cells = row.cells
    frames = reader.frames(row.source, onset=cells["onset"], apex=cells.get("apex"), offset=cells["offset"])
    if kind is None or frames is None:
        return None
    units = action_units(cells.get("action_units"))
    subject, video, emotion = (row.text(name) for name in ("subject", "video", "emotion"))
    return Entry(row.source, subject, video, *frames, kind, emotion, units, first_frame=1)


def _check_listed(rows: Sequence[Row], *, labels: Sequence[Label], reader: Reader) -> None:
    """Each video must be listed: one that was forgotten must not pass for one without events; and the reverse."""
    listed = {(row.text("subject").casefold(), row.text("video").casefold()) for row in rows}
    known = [(video.subject, video.name) for video in reader.videos]
    there = {(video.subject.casefold(), video.name.casefold()) for video in reader.videos}
    for video in reader.videos:
        if (video.subject.casefold(), video.name.casefold()) not in listed:
            expected = "a row in the manifest (subject and video only, if nothing happens in it)"
            reader.journal.fault(Source(f"{video.subject}/{video.path.name}"), expected=expected, got="none")
    eventless = [row for row in rows if not any(row.text(name) for name in _FRAMES)]
    labelled = {(label.subject.casefold(), label.video.casefold()) for label in labels}
    for row in eventless:
        key = (row.text("subject").casefold(), row.text("video").casefold())
        if key not in there:
            expected = f"a video {row.text('video')!r} of subject {row.text('subject')!r}"
            likely = likely_slip((row.text("subject"), row.text("video")), known)
            reader.journal.fault(row.source, "video", expected=expected, got=f"none{likely}")
        elif key in labelled:
            got = "a row without frames"
            reader.journal.fault(row.source, "onset", expected="frames, as other rows of this video have", got=got)
