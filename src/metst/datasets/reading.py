"""From the rows of a label sheet to labels on videos: the checks that all data sets share.

A row that cannot be a label is left out and its fault says so; what remains satisfies the
promises of :class:`~metst.datasets.types.Label`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metst.datasets.errata import FRACTIONS_CUT, NAMES_IN_OTHER_CASE, Entry, apply_errata
from metst.datasets.sheets import Row, cell_text, whole_number, whole_part
from metst.datasets.types import Correction, Journal, Label, LabelKind, RowTally, Source, Video
from metst.errors import DataError
from metst.labels import emotion_class
from metst.published.facts import Kind
from metst.spelling.names import close_names

UNKNOWN_FRAME = -1
"""How sheets write an apex that could not be seen."""
STROKES = frozenset({"", "/", "\\", "-", "\N{EN DASH}", "\N{EM DASH}", "\N{MINUS SIGN}"})
"""Other ways to write it: an empty cell, or a stroke."""

_LEFT_OUT = "the row is left out"  # what follows from a fault
_SEPARATORS = re.compile(r"\s*[+,;/\s]\s*")  # of action units
_NAMES_SHOWN = 5  # of videos, in a note


@dataclass(frozen=True)
class Columns:
    """What a sheet calls the columns that all sheets have, for messages."""

    subject: str = "Subject"
    video: str = "Filename"
    onset: str = "Onset"
    apex: str = "Apex"
    offset: str = "Offset"
    emotion: str = "emotion"


@dataclass(frozen=True)
class Reader:
    """What the labels of one data set have in common.

    Parameters
    ----------
    data_set : str
        Which data set.
    emotions : str
        Name of its map of emotions.
    columns : Columns
        Names of its columns.
    videos : sequence of Video
        What the labels are about.
    errata : bool
        Whether known errors are corrected.
    journal : Journal
        Gets all faults, notes and corrections.
    """

    data_set: Kind
    emotions: str
    columns: Columns
    videos: Sequence[Video]
    errata: bool
    journal: Journal

    def frames(self, source: Source, *, onset: Any, apex: Any, offset: Any) -> tuple[int, int | None, int] | None:
        """Cells with frame numbers as whole numbers; None, and a fault per cell, where one is none."""
        names = (self.columns.onset, self.columns.apex, self.columns.offset)
        unknown = cell_text(apex) in STROKES or whole_number(apex) == UNKNOWN_FRAME
        cells = (onset, None if unknown else apex, offset)
        numbers = [self._frame(source, name, cell) for name, cell in zip(names, cells, strict=True)]
        bad = [k for k, number in enumerate(numbers) if number is None and not (k == 1 and unknown)]
        for k in bad:
            got = repr(cell_text(cells[k])) if cell_text(cells[k]) else "an empty cell"
            self.journal.fault(source, names[k], expected="a whole frame number", got=got, effect=_LEFT_OUT)
        first, middle, last = numbers
        return None if bad or first is None or last is None else (first, middle, last)

    def _frame(self, source: Source, column: str, cell: Any) -> int | None:
        """A frame number; where its fraction is known to be cut off it is, and the journal gets it."""
        whole, cut = whole_number(cell), whole_part(cell)
        why = FRACTIONS_CUT.get(self.data_set)
        if whole is not None or cut is None or why is None:
            return whole
        if self.errata:
            self.journal.corrections.append(Correction(source, column, cell_text(cell), str(cut), why))
        else:
            got, effect = repr(cell_text(cell)), f"read as {cut}"
            self.journal.fault(source, column, expected="a whole frame number", got=got, effect=effect)
        return cut

    def labels(self, entries: Sequence[Entry], *, rows: int, first_row: int) -> list[Label]:
        """Labels of the entries of one sheet.

        Parameters
        ----------
        entries : sequence of Entry
            Rows that could be read.
        rows : int
            Labels that the sheet has, including those that could not be read.
        first_row : int
            Spreadsheet row of the first of them.
        """
        if self.errata:
            entries = apply_errata(entries, data_set=self.data_set, first_row=first_row, journal=self.journal)
        find = _Finder(self)
        labels = list(self._unique(filter(None, (self._label(entry, find=find) for entry in entries))))
        find.tell()
        if entries:
            corrections = {fix.source for fix in self.journal.corrections}
            corrected = sum(label.source in corrections for label in labels)
            sheet = replace(entries[0].source, row=0)
            self.journal.tallies.append(RowTally(sheet, rows, len(labels), corrected))
        return labels

    def _label(self, entry: Entry, *, find: _Finder) -> Label | None:
        video = find(entry)
        first = entry.first_frame
        if first is None:
            first = 1 if video is None or video.first_image is None else video.first_image
        frames = None if video is None else video.frames
        if not self._in_order(entry, first=first, last=None if frames is None else first + frames - 1):
            return None
        apex = entry.apex if entry.apex is not None and entry.onset <= entry.apex <= entry.offset else None
        if entry.apex is not None and apex is None:
            expected = f"a frame from onset {entry.onset} to offset {entry.offset}"
            self.journal.fault(
                entry.source, self.columns.apex, expected=expected, got=str(entry.apex), effect="read as unknown"
            )
        return Label(
            subject=entry.subject if video is None else video.subject,
            video=entry.video if video is None else video.name,
            onset=entry.onset - first,
            apex=None if apex is None else apex - first,
            offset=entry.offset - first + 1,  # the sheet's offset is the last frame, ours the first after it
            kind=entry.kind,
            emotion=entry.emotion or "",
            emotion_class=self._emotion_class(entry),
            action_units=entry.action_units,
            source=entry.source,
        )

    def _in_order(self, entry: Entry, *, first: int, last: int | None) -> bool:
        columns, fault = self.columns, self.journal.fault
        if entry.onset > entry.offset:
            expected, got = f"a frame up to the offset, {entry.offset}", str(entry.onset)
            fault(entry.source, columns.onset, expected=expected, got=got, effect=_LEFT_OUT)
            return False
        if entry.onset < first:
            expected = f"a frame from {first}, the first of the video"
            fault(entry.source, columns.onset, expected=expected, got=str(entry.onset), effect=_LEFT_OUT)
            return False
        if last is not None and entry.offset > last:
            expected = f"a frame up to {last}, the last of the video"
            fault(entry.source, columns.offset, expected=expected, got=str(entry.offset), effect=_LEFT_OUT)
            return False
        return True

    def _emotion_class(self, entry: Entry) -> str | None:
        if entry.emotion is None or (not entry.emotion and entry.kind != "micro"):
            return None
        try:
            return emotion_class(entry.emotion, data_set=self.emotions)
        except DataError as error:
            expected = f"one of{str(error).partition('expected one of')[2]}"
            got = repr(entry.emotion) if entry.emotion else "an empty cell"
            self.journal.fault(
                entry.source, self.columns.emotion, expected=expected, got=got, effect="the label has no class"
            )
            return None

    def _unique(self, labels: Iterator[Label]) -> Iterator[Label]:
        seen: dict[tuple[object, ...], int] = {}
        for label in labels:
            key = (label.subject, label.video, label.onset, label.apex, label.offset, label.kind)
            first = seen.setdefault(key, label.source.row)
            if first == label.source.row:
                yield label
            else:
                got = f"the same as row {first}"
                self.journal.fault(label.source, expected="one row per movement", got=got, effect=_LEFT_OUT)


class _Finder:
    """Finds the video of a row, and tells once per video what is wrong with its name."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._exact = {(video.subject, video.name): video for video in reader.videos}
        self._folded = {(s.casefold(), n.casefold()): video for (s, n), video in self._exact.items()}
        self._missing: dict[tuple[str, str], list[Source]] = {}
        self._respelled: dict[tuple[str, str, str], Source] = {}

    def __call__(self, entry: Entry) -> Video | None:
        key = (entry.subject, entry.video)
        if key in self._exact:
            return self._exact[key]
        video = self._folded.get((entry.subject.casefold(), entry.video.casefold()))
        if video is None:
            self._missing.setdefault(key, []).append(entry.source)
            return None
        columns = self._reader.columns
        for column, as_written, name in (
            (columns.subject, entry.subject, video.subject),
            (columns.video, entry.video, video.name),
        ):
            if as_written != name:
                self._respelled.setdefault((column, as_written, name), entry.source)
        return video

    def tell(self) -> None:
        """Write all that was wrong into the journal."""
        reader, journal = self._reader, self._reader.journal
        for (column, as_written, name), source in self._respelled.items():
            why = NAMES_IN_OTHER_CASE.get(reader.data_set)
            if reader.errata and why:
                journal.corrections.append(Correction(source, column, repr(as_written), repr(name), why))
            else:
                effect = f"read as {name!r}"
                journal.fault(source, column, expected=repr(name), got=f"{as_written!r}, another case", effect=effect)
        for (subject, video), sources in self._missing.items():
            rows = f"{len(sources)} label{'s' if len(sources) > 1 else ''} without"
            expected = f"a video {video!r} of subject {subject!r}"
            likely = likely_slip((subject, video), self._exact)
            journal.fault(sources[0], reader.columns.video, expected=expected, got=f"none ({rows}){likely}")


def likely_slip(key: tuple[str, str], there: Iterable[tuple[str, str]]) -> str:
    """What is likely wrong with a subject and video that are not there, in words; nothing if nobody can tell."""
    close = close_names([key], there).get(key)
    if close is None:
        return ""
    subject, video = close
    return f": perhaps {video!r} of subject {subject!r} is meant, whose case, zeros in front or letters differ"


def rates_by_video(
    rows: Sequence[Row], *, subject: str, video: str, rate: str, journal: Journal
) -> dict[tuple[str, str], float]:
    """Frames per second by subject and video in lower case, where a sheet gives them.

    Parameters
    ----------
    rows : sequence of Row
        Of the sheet.
    subject, video, rate : str
        Names of its columns.
    journal : Journal
        Gets rates that are none, and videos with two of them.
    """
    rates: dict[tuple[str, str], float] = {}
    for row in rows:
        text = row.text(rate)
        if not text:
            continue
        number = _positive(text)
        if number is None:
            journal.fault(row.source, rate, expected="a number above 0", got=repr(text), effect="read as unknown")
        elif rates.setdefault((row.text(subject).casefold(), row.text(video).casefold()), number) != number:
            journal.fault(row.source, rate, expected="one rate per video", got=f"{text} after another")
    return rates


def _positive(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


def note_unlabelled(reader: Reader, labels: Sequence[Label]) -> None:
    """Note how many videos have no label at all; in the published data sets that is no fault."""
    named = {(label.subject, label.video) for label in labels}
    bare = [f"{v.subject}/{v.name}" for v in reader.videos if (v.subject, v.name) not in named]
    if bare and labels:
        shown = ", ".join(bare[:_NAMES_SHOWN]) + (", ..." if len(bare) > _NAMES_SHOWN else "")
        reader.journal.notes.append(f"videos without a label of any kind: {len(bare)} ({shown})")


def action_units(cell: object) -> tuple[str, ...]:
    """Action units of a cell one by one, as written: ``4+L7`` is ``("4", "L7")``."""
    return tuple(filter(None, _SEPARATORS.split(cell_text(cell))))


def label_kind(text: str) -> LabelKind | None:
    """Kind of a label by the word that its type holds (``Micro - 1/2``, ``Macro-expression``); None for others."""
    kinds: tuple[LabelKind, ...] = ("micro", "macro", "blink")
    return next((kind for kind in kinds if kind in text.casefold()), None)
