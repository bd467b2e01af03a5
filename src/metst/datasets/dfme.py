"""DFME, short clips: 200, 300 or 500 frames per second, micro-expressions.

Layout: folders of frames with the clips' names (``sub0003_01``), in a folder per subject (``sub0003``) or not, and
``training_full_with_AU.xlsx``: Subject, Filename, OnsetFrame, ApexFrame, OffsetFrame, Emotion, EmotionId, Fps, AU.
The sheets of the test sets are read as well where they lie beside it and name emotions.  Frames count from 0, which
is the first image of the clip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from metst.datasets.errata import Entry
from metst.datasets.folders import folders, folders_of, frame_folder, holds_images
from metst.datasets.label_sheets import Form, LabelSheets
from metst.datasets.reading import Columns, Reader, action_units, note_unlabelled, rates_by_video
from metst.datasets.sheets import Row, find_table
from metst.datasets.types import DataSet, Journal, Label, Source, Video

FIRST_FRAME = 0
"""Number of a clip's first frame, as the owners count."""

LABELS = Form(
    ("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "Fps"),
    example="training_full_with_AU.xlsx",
    file=r"(training|test).*_with_AU.*\.xlsx?",
)
"""A sheet of labels."""

CLIP = r"sub\d+_\d+"  # folders of clips
# Columns of the sheet that say where a label is, and what.
_COLUMNS = Columns(onset="OnsetFrame", apex="ApexFrame", offset="OffsetFrame", emotion="Emotion")


def load_dfme(root: Path, *, errata: bool, sheets: LabelSheets) -> DataSet:
    """Read DFME; errors and promises are those of :func:`metst.datasets.load_dataset`."""
    journal = Journal()
    found = sheets.find_all(LABELS, journal=journal) or [sheets.need(LABELS, kind="dfme", journal=journal)]
    tables = [find_table(sheet, columns=LABELS.columns, optional=("AU",), journal=journal) or [] for sheet in found]
    rows = [row for table in tables for row in table]
    rates = rates_by_video(rows, subject="Subject", video="Filename", rate="Fps", journal=journal)
    videos = _videos(root, rates_hz=rates, journal=journal)
    reader = Reader("dfme", "dfme", _COLUMNS, videos, errata, journal)
    sources: dict[str, Source] = {}
    labels = [label for table in tables for label in _labels(table, reader=reader, sources=sources)]
    note_unlabelled(reader, labels)
    return journal.data_set("dfme", root, videos=videos, labels=labels)


def _videos(root: Path, *, rates_hz: Mapping[tuple[str, str], float], journal: Journal) -> list[Video]:
    clips = [
        clip
        for parent in folders_of(root, children=CLIP)
        for clip in folders(parent)
        if clip.name.casefold().startswith("sub") and holds_images(clip)
    ]
    if not clips:
        journal.fault(Source(root.name), expected="folders of frames like sub0003/sub0003_01", got="none")
    videos = []
    for clip in clips:
        subject = clip.name.partition("_")[0]
        rate_hz = rates_hz.get((subject.casefold(), clip.name.casefold()))
        videos.append(frame_folder(clip, subject=subject, name=clip.name, rate_hz=rate_hz, root=root, journal=journal))
    return [video for video in videos if video is not None]


def _labels(rows: Sequence[Row], *, reader: Reader, sources: dict[str, Source]) -> list[Label]:
    """Labels of one sheet; a clip that an earlier sheet has already is left out."""
    entries = []
    for row in rows:
        name = row.text("Filename")
        first = sources.setdefault(name, row.source)
        if first.file != row.source.file:
            effect = "the row is left out"
            reader.journal.fault(row.source, "Filename", expected="one sheet per clip", got=str(first), effect=effect)
        elif (entry := _entry(row, reader=reader)) is not None:
            entries.append(entry)
    return reader.labels(entries, rows=len(rows), first_row=rows[0].source.row if rows else 1)


def _entry(row: Row, *, reader: Reader) -> Entry | None:
    cells = row.cells
    frames = reader.frames(row.source, onset=cells["OnsetFrame"], apex=cells["ApexFrame"], offset=cells["OffsetFrame"])
    if frames is None:
        return None
    onset, apex, offset = frames
    subject, name, emotion = row.text("Subject"), row.text("Filename"), row.text("Emotion")
    return Entry(row.source, subject, name, onset, apex, offset, "micro", emotion, action_units(cells.get("AU")),
                 first_frame=FIRST_FRAME)  # fmt: skip
