"""What coders and the machine say of one recording, as values: layers of events.

A machine's analysis has scores, motion and a probability of each class; a person's coding has none of these, but may
leave the apex open, name action units and add a note.  A layer holds what both have.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from metst.errors import DataError
from metst.results.analysis import Analysis, Source
from metst.timeline import TimeGrid, frame_for_people, frames_for_people, frames_from_people

if TYPE_CHECKING:
    from metst.results.analysis_folder import Tables

MACHINE = "machine"
"""Coder of the layer that an analysis is."""

EDITED = f"{MACHINE} edited"
"""Coder of a layer that was the machine's and came back from another program, where the machine has one of its own."""

UNLABELLED = "unlabelled"
"""Label of an event of which its file says nothing."""

_ACTION_UNIT = re.compile(r"[A-Za-z0-9]+")  # such as AU12, 12, R12 or 12C; what stands between parts them
_NOT_IN_NAMES = re.compile(r"[/\\()<>|]")  # of coders: files of other programs part names with these
_NO_TEXT = {"Cc", "Cs"}  # categories of Unicode: control characters and half letters, which XML cannot hold
_NOT_IN_XML = {"\ufffe", "\uffff"}  # no characters, by Unicode
_TEXTS_KEPT = 4096
"""Texts whose line is kept: labels come again and again, and a log of reviews holds thousands.  Set by hand."""
_NOTHING = "n/a"  # what tables of BIDS and BORIS have in the place of an empty note


@lru_cache(maxsize=_TEXTS_KEPT)
def one_line(text: str) -> str:
    """Text that any file can hold: one line, single blanks, no control characters."""
    plain = "".join(" " if unicodedata.category(each) in _NO_TEXT or each in _NOT_IN_XML else each for each in text)
    return " ".join(plain.split())


def label_of(text: str) -> str:
    """A label as it stands in a file; :data:`UNLABELLED` where there is none."""
    return one_line(text) or UNLABELLED


def note_of(text: str) -> str:
    """A note as it stands in a file; empty where it says that there is none."""
    note = one_line(text)
    return "" if note.casefold() == _NOTHING else note


def coder_of(text: str) -> str:
    """Name of a coder without the signs by which files of other programs part names; ``coder`` where there is none."""
    return one_line(_NOT_IN_NAMES.sub(" ", text)) or "coder"


def action_units_of(text: str) -> tuple[str, ...]:
    """Action units as they stand in a file, whatever parts them: ``"AU4 AU12"``, ``"4+12C"``."""
    return tuple(_ACTION_UNIT.findall(text))


@dataclass(frozen=True)
class LayerEvent:
    """One event that somebody saw.

    Parameters
    ----------
    onset, offset : int
        Frames of the recording, 0-based; half-open, so ``offset`` is the first frame after.
    label : str
        Class or other word; one line.
    apex : int, optional
        Frame in the event; None where nobody said.
    confidence : float, optional
        In [0, 1]; None where nobody said.
    note : str
        One line.
    action_units : tuple of str
        Letters and digits each.

    Raises
    ------
    DataError
        The parts do not fit each other.
    """

    onset: int
    offset: int
    label: str
    apex: int | None = None
    confidence: float | None = None
    note: str = ""
    action_units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"event of frames {self.onset + 1} to {self.offset}"
        if not 0 <= self.onset < self.offset:
            raise DataError(f"{where}: expected a first frame from 1 on, and a last one that is not before it")
        if self.apex is not None and not self.onset <= self.apex < self.offset:
            raise DataError(f"{where}: its apex {self.apex + 1} is not in it")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise DataError(f"{where}: expected a confidence from 0 to 1, got {self.confidence}")
        if self.label != label_of(self.label) or self.note != note_of(self.note):
            raise DataError(f"{where}: expected a label and a note of one line each, got {self.label!r}, {self.note!r}")
        if any(not _ACTION_UNIT.fullmatch(unit) for unit in self.action_units):
            raise DataError(f"{where}: expected action units such as AU12, got {', '.join(self.action_units)}")

    @property
    def for_people(self) -> tuple[int, int, int | None]:
        """First, last and apex frame, counted from 1."""
        first, last = frames_for_people(self.onset, self.offset)  # type: ignore[arg-type]
        return int(first), int(last), None if self.apex is None else int(frame_for_people(self.apex))


@dataclass(frozen=True)
class Layer:
    """All events that one coder saw, or the machine found.

    Parameters
    ----------
    coder : str
        Whose they are; :data:`MACHINE` for those of an analysis.
    events : tuple of LayerEvent
        They are put in order of onset.  They may overlap.

    Raises
    ------
    DataError
        The name is none that all files can hold, see :func:`coder_of`.
    """

    coder: str
    events: tuple[LayerEvent, ...] = ()

    def __post_init__(self) -> None:
        if self.coder != coder_of(self.coder):
            raise DataError(f"expected the name of a coder without / \\ ( ) < > |, got {self.coder!r}")
        object.__setattr__(self, "events", tuple(sorted(self.events, key=_order)))


def frames_of(first: int, last: int, apex: int | None = None) -> tuple[int, int, int | None]:
    """Onset, offset and apex of an event whose frames a file counts from 1, both ends included."""
    onset, offset = frames_from_people(first, last)  # type: ignore[arg-type]
    at = None if apex is None else frames_from_people(apex, apex)[0]  # type: ignore[arg-type]
    return int(onset), int(offset), None if at is None else int(at)


def row_of(event: LayerEvent) -> tuple[Any, ...]:
    """An event as a row of ``onset_frame, apex_frame, offset_frame, label, confidence, action_units, note``."""
    first, last, apex = event.for_people
    confidence = "" if event.confidence is None else repr(event.confidence)
    return first, "" if apex is None else apex, last, event.label, confidence, " ".join(event.action_units), event.note


def _order(event: LayerEvent) -> tuple[object, ...]:
    apex = -1 if event.apex is None else event.apex
    confidence = -1.0 if event.confidence is None else event.confidence
    return event.onset, event.offset, event.label, apex, confidence, event.note, event.action_units


def layers_of(events: Iterable[tuple[str, LayerEvent]]) -> tuple[Layer, ...]:
    """Events with the names of their coders, as layers in order of the first event of each."""
    by_coder: dict[str, list[LayerEvent]] = {}
    for coder, event in events:
        by_coder.setdefault(coder, []).append(event)
    return tuple(Layer(coder, tuple(own)) for coder, own in by_coder.items())


def edited_name(taken: Container[str]) -> str:
    """:data:`EDITED`, with a number behind it where a layer is called so already."""
    return free_name(EDITED, taken)


def free_name(name: str, taken: Container[str]) -> str:
    """A name, with a number behind it where a layer is called so already."""
    return next(each for each in chain([name], (f"{name} {k}" for k in count(2))) if each not in taken)


@dataclass(frozen=True, eq=False)
class Coding:
    """All layers of one recording.

    Parameters
    ----------
    source : Source
        The recording.
    grid : TimeGrid
        Timestamps of its frames, the container's.
    layers : tuple of Layer
        One of each coder.
    created : str
        ISO 8601 date and time of the results they are from.
    classes : tuple of str
        Classes that labels are of, where somebody said; labels may be others, too.

    Raises
    ------
    DataError
        Two layers are of one coder, or an event is behind the last frame.
    """

    source: Source
    grid: TimeGrid
    layers: tuple[Layer, ...]
    created: str
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        coders = [layer.coder for layer in self.layers]
        if twice := {coder for coder in coders if coders.count(coder) > 1}:
            raise DataError(f"several layers of one coder ({', '.join(sorted(twice))}): expected one of each")
        last = max((event.offset for layer in self.layers for event in layer.events), default=0)
        if last > len(self.grid):
            raise DataError(f"an event ends at frame {last}, but {self.source.name} has {len(self.grid)} frames")

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Classes, and behind them all other labels in use."""
        labels = (event.label for layer in self.layers for event in layer.events)
        return tuple(dict.fromkeys([*self.classes, *labels]))


def machine_layer(analysis: Analysis | Tables) -> Layer:
    """What an analysis found, as a layer."""
    events = analysis.events
    columns = events.onset, events.apex, events.offset, events.label, events.confidence
    return Layer(
        MACHINE,
        tuple(
            LayerEvent(int(onset), int(offset), label_of(label), apex=int(apex), confidence=float(confidence))
            for onset, apex, offset, label, confidence in zip(*columns, strict=True)
        ),
    )
