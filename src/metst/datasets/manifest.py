"""Any folder of videos with a list of what is in them: how a lab brings its own data.

Layout: one CSV file with the columns ``subject, video, onset, apex, offset, emotion`` beside
``subject/video.mp4`` or ``subject/video/`` with numbered images.  Frames count from the first of the
video, which is 1, and both ends are included.  An empty ``apex`` is unknown; a row with only
``subject`` and ``video`` says that nothing happens in that video.  Optional columns: ``fps`` (folders of
images have no time of their own), ``kind`` (micro, macro or blink; micro if empty) and ``action_units``.
"""

from __future__ import annotations

import math
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
    what_is_there,
)
from metst.datasets.reading import Columns, Reader, action_units, label_kind
from metst.datasets.sheets import Row, Sheet, find_table, read_csv
from metst.datasets.types import DataSet, Journal, Label, LabelKind, Source, Video
from metst.errors import DataError

COLUMNS = ("subject", "video", "onset", "apex", "offset", "emotion")
"""Columns that every manifest has."""

OPTIONAL = ("fps", "kind", "action_units")
"""Columns that it may have."""

_COLUMNS = Columns(*COLUMNS)  # the same, for messages


def manifests(root: Path) -> list[Path]:
    """CSV files directly in a folder whose first row holds the columns of a manifest."""
    found = [path for path in entries(root) if path.suffix.lower() == ".csv" and path.is_file()]
    named = [path for path in found if set(COLUMNS) <= {str(cell).strip().casefold() for cell in _first_row(path)}]
    return [path for path in named if path.stem.casefold() == "manifest"] or named


def _first_row(path: Path) -> Sequence[object]:
    try:
        rows = read_csv(path).rows
    except DataError:
        return ()
    return rows[0][1] if rows else ()


def load_manifest(root: Path) -> DataSet:
    """Read a folder with a manifest; errors and promises are those of :func:`metst.datasets.load_dataset`."""
    path = _manifest(root)
    sheet = read_csv(path)
    journal = Journal()
    sheet = _even(sheet, journal=journal)
    rows = find_table(sheet, columns=COLUMNS, optional=OPTIONAL, journal=journal, remarks=False) or []
    videos = _videos(root, rates_hz=_rates(rows, journal=journal), journal=journal)
    check_subject_names(videos, root=root, journal=journal)
    reader = Reader("manifest", "manifest", _COLUMNS, videos, False, journal)
    eventful = [row for row in rows if any(row.text(name) for name in COLUMNS[2:])]
    entries_ = [entry for row in eventful if (entry := _entry(row, reader=reader)) is not None]
    labels = reader.labels(entries_, rows=len(eventful), first_row=rows[0].source.row if rows else 1)
    _check_listed(rows, labels=labels, reader=reader)
    return journal.data_set("manifest", root, videos=videos, labels=labels)


def _manifest(root: Path) -> Path:
    found = manifests(root) or [path for path in entries(root) if path.suffix.lower() == ".csv"]
    if not found:
        expected = f"a CSV file with the columns {', '.join(COLUMNS)}"
        raise DataError(f"no manifest in {root}: expected {expected}; {what_is_there(root)}")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"{root} holds {len(found)} CSV files that can be the manifest ({names}): call it manifest.csv")
    return found[0]


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


def _rates(rows: Sequence[Row], *, journal: Journal) -> dict[tuple[str, str], float]:
    """Frames per second by subject and video in lower case, where given."""
    rates: dict[tuple[str, str], float] = {}
    for row in rows:
        text = row.text("fps")
        if not text:
            continue
        rate = _positive(text)
        if rate is None:
            journal.fault(row.source, "fps", expected="a number above 0", got=repr(text), effect="read as unknown")
        elif rates.setdefault((row.text("subject").casefold(), row.text("video").casefold()), rate) != rate:
            journal.fault(row.source, "fps", expected="one rate per video", got=f"{text} after another")
    return rates


def _positive(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


def _videos(root: Path, *, rates_hz: Mapping[tuple[str, str], float], journal: Journal) -> list[Video]:
    videos: dict[tuple[str, str], Video] = {}
    for subject in folders(root):
        if holds_images(subject):
            expected = "a folder per subject, and in it videos or folders of images"
            journal.fault(Source(subject.name), expected=expected, got="images", effect="no video")
            continue
        for path in entries(subject):
            name = path.name if path.is_dir() else path.stem
            rate_hz = rates_hz.get((subject.name.casefold(), name.casefold()))
            if path.is_dir():
                video = frame_folder(path, subject=subject.name, name=name, rate_hz=rate_hz, root=root, journal=journal)
            else:
                is_video = path.suffix.lower() in VIDEO_SUFFIXES
                video = Video(subject.name, name, path, rate_hz) if is_video else None
            if video is None:
                continue
            first = videos.setdefault((subject.name, name), video)
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
    frames = reader.frames(row.source, onset=cells["onset"], apex=cells["apex"], offset=cells["offset"])
    if kind is None or frames is None:
        return None
    units = action_units(cells.get("action_units"))
    subject, video, emotion = (row.text(name) for name in ("subject", "video", "emotion"))
    return Entry(row.source, subject, video, *frames, kind, emotion, units, first_frame=1)


def _check_listed(rows: Sequence[Row], *, labels: Sequence[Label], reader: Reader) -> None:
    """Each video must be listed: one that was forgotten must not pass for one without events; and the reverse."""
    listed = {(row.text("subject").casefold(), row.text("video").casefold()) for row in rows}
    there = {(video.subject.casefold(), video.name.casefold()) for video in reader.videos}
    for video in reader.videos:
        if (video.subject.casefold(), video.name.casefold()) not in listed:
            expected = "a row in the manifest (subject and video only, if nothing happens in it)"
            reader.journal.fault(Source(f"{video.subject}/{video.path.name}"), expected=expected, got="none")
    eventless = [row for row in rows if not any(row.text(name) for name in COLUMNS[2:])]
    labelled = {(label.subject.casefold(), label.video.casefold()) for label in labels}
    for row in eventless:
        key = (row.text("subject").casefold(), row.text("video").casefold())
        if key not in there:
            expected = f"a video {row.text('video')!r} of subject {row.text('subject')!r}"
            reader.journal.fault(row.source, "video", expected=expected, got="none")
        elif key in labelled:
            got = "a row without frames"
            reader.journal.fault(row.source, "onset", expected="frames, as other rows of this video have", got=got)
