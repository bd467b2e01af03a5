"""Entries of a log in, the reviews of all layers out.

What a review is follows from its entries alone, in their order: the beginning, then edits, and what takes them back or
makes them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from metst.coding.layers import Layer
from metst.coding.reviewed import Change, Edit, ReviewEvent, changes_of, event_of, events_json, invert, put
from metst.errors import DataError

Kind = Literal["begin", "edit", "undo", "redo", "release"]
"""What an entry of the log does."""

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Entry:
    """One entry of a log.

    Parameters
    ----------
    number : int
        From 1, one after the other over all layers.
    layer : str
        Which review it belongs to.
    kind : {"begin", "edit", "undo", "redo", "release"}
    by, at : str
        Who made it, and when (ISO 8601, UTC).
    id : str
        Drawn by who made it: one that comes twice is made once.
    body : mapping
        Plain JSON values: ``what`` it is, for people, and what it does.
    """

    number: int
    layer: str
    kind: Kind
    by: str
    at: str
    id: str
    body: Mapping[str, Any]

    @property
    def what(self) -> str:
        """What it is, for people."""
        return str(self.body.get("what", ""))


@dataclass
class Review:
    """One layer as far as its entries tell; :meth:`take` adds one.

    Parameters
    ----------
    layer : str
    events : dict of str to ReviewEvent
        By key.
    revision : int
        Number of the last entry; 0 where there is none.
    """

    layer: str
    events: dict[str, ReviewEvent] = field(default_factory=dict)
    revision: int = 0
    released: bool = False
    began: Mapping[str, Any] | None = None
    begun: int = 0
    edited: bool = False
    entries: dict[int, Entry] = field(default_factory=dict)
    _edits: dict[int, tuple[Change, ...]] = field(default_factory=dict)
    _done: list[int] = field(default_factory=list)
    _undone: list[int] = field(default_factory=list)

    @property
    def kind(self) -> Literal["coder", "adjudicated"]:
        """Whether one coder makes it, or two layers are brought together in it."""
        return "adjudicated" if self.began is not None and self.began.get("adjudicates") else "coder"

    @property
    def coder(self) -> str:
        """Whose it is: of the first round its name, of a later one as its beginning says."""
        return self.layer if self.began is None else str(self.began.get("coder", self.layer))

    @property
    def began_from(self) -> str | None:
        """What it began with, for people; None where it has not begun."""
        if self.began is None:
            return None
        layers = ", ".join(self.began_layers)
        if self.began["from"] != "layers":
            return str(self.began["from"])
        return f"agreed part of {layers}" if self.began.get("agreed_only") else f"layers: {layers}"

    @property
    def began_layers(self) -> tuple[str, ...]:
        """Names of the layers that it began from; none where it began with something else, or has not begun."""
        if self.began is None or self.began["from"] != "layers":
            return ()
        return tuple(self.began.get("layers", ()))

    @property
    def can_undo(self) -> str | None:
        """What would be taken back; None where nothing can be."""
        return self._what(self._done)

    @property
    def can_redo(self) -> str | None:
        """What would be made again; None where nothing can be."""
        return self._what(self._undone)

    @property
    def accepted(self) -> Layer:
        """The coder's layer: what was accepted."""
        return Layer(self.layer, tuple(each.event for each in self.events.values() if each.verdict == "accepted"))

    def undoes(self) -> tuple[int, tuple[Change, ...]]:
        """Number of the entry that is to be taken back next, and the changes that do it.

        Raises
        ------
        IndexError
            There is none.
        """
        number = self._done[-1]
        return number, invert(self._edits[number])

    def redoes(self) -> tuple[int, tuple[Change, ...]]:
        """Number of the entry that is to be made again next, and its changes.

        Raises
        ------
        IndexError
            There is none.
        """
        number = self._undone[-1]
        return number, self._edits[number]

    def keys_of(self, entry: Entry) -> list[str]:
        """Events that an entry changed."""
        number = int(entry.body.get("entry", entry.number))
        return [change.key for change in self._edits.get(number, ())]

    def take(
        self, entry: Entry, changes: tuple[Change, ...] | None = None, *, events: Iterable[ReviewEvent] | None = None
    ) -> None:
        """Add the next entry.

        Parameters
        ----------
        entry : Entry
            With the number after that of the log's last.
        changes : tuple of Change, optional
            What an edit's body says, where that is known already.
        events : iterable of ReviewEvent, optional
            The same of a beginning.

        Raises
        ------
        DataError
            It does not follow from those before it.
        """
        try:
            self._take(entry, changes, events)
        except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
            raise DataError(f"entry {entry.number} of the log is none ({error})") from error
        self.revision = entry.number
        self.entries[entry.number] = entry

    def _take(self, entry: Entry, changes: tuple[Change, ...] | None, events: Iterable[ReviewEvent] | None) -> None:
        if entry.kind == "begin":
            begun = map(event_of, entry.body["events"]) if events is None else events
            self.events = {each.key: each for each in begun}
            self.began, self.begun = entry.body, self.begun + len(self.events)
        elif entry.kind == "release":
            self.released = bool(entry.body["released"])
        elif entry.kind == "edit":
            made = changes_of(entry.body["changes"], self.events) if changes is None else changes
            self._put(made, entry)
            self._edits[entry.number], self.edited = made, True
            self._done.append(entry.number)
            self._undone.clear()
        else:
            number, made = self.undoes() if entry.kind == "undo" else self.redoes()
            if number != entry.body["entry"]:
                raise ValueError(f"it names entry {entry.body['entry']}, expected {number}")
            self._put(made, entry)
            one, other = (self._done, self._undone) if entry.kind == "undo" else (self._undone, self._done)
            other.append(one.pop())

    def _put(self, changes: tuple[Change, ...], entry: Entry) -> None:
        put(Edit(changes, entry.number, entry.by, entry.at), self.events)

    def state(self) -> dict[str, Any]:
        """All that a page shows of it, as JSON has it."""
        return {
            "layer": self.layer,
            "revision": self.revision,
            "events": events_json(self.events.values()),
            "can_undo": self.can_undo,
            "can_redo": self.can_redo,
            "released": self.released,
            "began_from": self.began_from,
        }

    def history(self) -> list[dict[str, Any]]:
        """All entries in their order, as JSON has them."""
        undone = {*self._edits} - {*self._done}
        return [
            {
                "number": each.number,
                "kind": each.kind,
                "by": each.by,
                "at": each.at,
                "what": each.what,
                "undone": each.number in undone,
            }
            for each in self.entries.values()
        ]

    def _what(self, numbers: list[int]) -> str | None:
        return self.entries[numbers[-1]].what if numbers else None


def unfold(entries: Iterable[Entry]) -> dict[str, Review]:
    """The reviews of all layers that a log tells of.

    Raises
    ------
    DataError
        An entry does not follow from those before it.
    """
    reviews: dict[str, Review] = {}
    for entry in entries:
        reviews.setdefault(entry.layer, Review(entry.layer)).take(entry)
    return reviews
