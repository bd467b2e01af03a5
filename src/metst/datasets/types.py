"""What a data set is once it is loaded: videos, labels, and what was wrong or was corrected on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from metst.published.facts import Kind
from metst.spelling.alike import first_rows, grouped, without_values
from metst.spelling.names import composed

LabelKind = Literal["micro", "macro", "blink", "rejected"]
"""Micro-expressions are what is looked for; the others are hard negatives: movements of other kinds, and candidates
that somebody looked at and rejected."""


@dataclass(frozen=True, order=True)
class Source:
    """Where something is written: file name, sheet (empty for CSV), row as a spreadsheet counts it (0: no row)."""

    file: str
    sheet: str = ""
    row: int = 0

    def __str__(self) -> str:
        sheet = f", sheet {self.sheet!r}" if self.sheet else ""
        return f"{self.file}{sheet}{f', row {self.row}' if self.row else ''}"


@dataclass(frozen=True)
class Video:
    """One video of one subject.

    Parameters
    ----------
    subject, name : str
        As the folders are called, with composed letters (Unicode NFC).
    path : Path
        Video file, or folder of frames.
    rate_hz : float or None
        Frames per second, where the data set or the manifest says so.
    frames : int or None
        Length in frames, known for folders; a number that is missing between images counts.
    first_image : int or None
        Number in the name of the first image: the frame with index 0.
    """

    subject: str
    name: str
    path: Path
    rate_hz: float | None = None
    frames: int | None = None
    first_image: int | None = None

    def __post_init__(self) -> None:
        """Compose the letters of the names: sheets and folders of other systems spell them otherwise."""
        object.__setattr__(self, "subject", composed(self.subject))
        object.__setattr__(self, "name", composed(self.name))


@dataclass(frozen=True)
class Label:
    """One labelled movement.

    Frames are indices of the video, 0-based and half-open, so ``0 <= onset < offset``, within the
    video where its length is known.

    Parameters
    ----------
    subject, video : str
        Of the :class:`Video`; as the sheet writes them where there is no such video.
    onset, offset : int
        First frame of the movement, first frame after it.
    apex : int or None
        Frame of the strongest movement, ``onset <= apex < offset``; None if unknown.
    kind : {"micro", "macro", "blink", "rejected"}
        What it is.
    emotion : str
        As the label sheet writes it.
    emotion_class : str or None
        One of :data:`metst.labels.EMOTIONS`; None if there is no emotion or no map knows it.
    action_units : tuple of str
        As written, one by one.
    source : Source
        The row it came from.
    """

    subject: str
    video: str
    onset: int
    apex: int | None
    offset: int
    kind: LabelKind
    emotion: str
    emotion_class: str | None
    action_units: tuple[str, ...]
    source: Source


@dataclass(frozen=True, order=True)
class Fault:
    """Something that is not as it should be; ``effect`` says what became of the row or file."""

    source: Source
    column: str
    expected: str
    got: str
    effect: str = ""

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column else ""
        effect = f"; {self.effect}" if self.effect else ""
        return f"{self.source}{column}: expected {self.expected}, got {self.got}{effect}"

    @property
    def kind(self) -> tuple[str, ...]:
        """What faults of one kind have in common."""
        place = (self.source.file, self.source.sheet) if self.source.row else ()
        return (*place, self.column, *map(without_values, (self.expected, self.got, self.effect)))


@dataclass(frozen=True, order=True)
class Correction:
    """A value that was read as another one, and why."""

    source: Source
    column: str
    before: str
    after: str
    why: str

    def __str__(self) -> str:
        return f"{self.source}, column {self.column}: {self.before} is read as {self.after} ({self.why})"

    @property
    def kind(self) -> tuple[str, ...]:
        """What corrections of one kind have in common."""
        return (self.source.file, self.source.sheet, self.why)


def said_once(findings: Iterable[Fault | Correction]) -> Iterator[str]:
    """A line for each, and one for many of a kind: the first, how many rows there are, and the first of them."""
    for group in grouped(findings, kind=lambda finding: finding.kind):
        rows = list(dict.fromkeys(one.source.row or one.source.file for one in group))
        cells = f", {len(group)} cells" if len(group) != len(rows) else ""
        places = "rows" if group[0].source.row else "places"
        more = f" [{len(rows)} {places} like this{cells}: {first_rows(rows)}]" if len(group) > 1 else ""
        yield f"{group[0]}{more}"


@dataclass(frozen=True)
class RowTally:
    """What became of the labels of one sheet."""

    source: Source
    rows: int
    read: int
    corrected: int

    @property
    def left_out(self) -> int:
        """Rows that gave no label."""
        return self.rows - self.read


@dataclass(frozen=True)
class DataSet:
    """A data set as it lies on disk.

    Parameters
    ----------
    kind : str
        Which data set it is.
    root : Path
        Its folder.
    videos : tuple of Video
        All videos found, with or without labels.
    labels : tuple of Label
        In the order of the sheets.
    faults : tuple of Fault
        All inconsistencies that remain.
    notes : tuple of str
        What is worth knowing and not wrong.
    corrections : tuple of Correction
        Errata that were applied.
    tallies : tuple of RowTally
        One per label sheet.
    """

    kind: Kind
    root: Path
    videos: tuple[Video, ...]
    labels: tuple[Label, ...] = ()
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    corrections: tuple[Correction, ...] = ()
    tallies: tuple[RowTally, ...] = ()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Everyone with a video or a label, sorted."""
        return tuple(sorted({video.subject for video in self.videos} | {label.subject for label in self.labels}))

    def labels_of(self, kind: LabelKind) -> tuple[Label, ...]:
        """Labels of one kind."""
        return tuple(label for label in self.labels if label.kind == kind)


@dataclass
class Journal:
    """Collects faults, notes and corrections while a data set is read, so that all are told at once."""

    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)
    tallies: list[RowTally] = field(default_factory=list)

    def fault(self, source: Source, column: str = "", *, expected: str, got: str, effect: str = "") -> None:
        """Note an inconsistency."""
        self.faults.append(Fault(source, column, expected, got, effect))

    def data_set(self, kind: Kind, root: Path, *, videos: list[Video], labels: list[Label]) -> DataSet:
        """The data set with all that was collected."""
        return DataSet(
            kind,
            root,
            tuple(videos),
            tuple(labels),
            tuple(sorted(self.faults)),
            tuple(self.notes),
            tuple(self.corrections),
            tuple(self.tallies),
        )
