"""The reviews of one recording, as a server uses them: requests in, answers out, as JSON has both.

Nothing is applied, or told to anybody, before it is on the disk.  Any thread may ask at any time.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Literal, Self

from metst.coding.beginnings import Start, beginning
from metst.coding.journal import Journal, check_recording, open_journal, read_journal, recording_of
from metst.coding.layers import MACHINE, Coding, Layer, coder_of, one_line
from metst.coding.layers_folder import read_coding
from metst.coding.reviewed import VERDICTS, Change, ReviewEvent, change_json, events_json, kept_json
from metst.coding.unfolding import Entry, Kind, Review, unfold
from metst.coding.wanted import ConflictError, as_changes, wanted_changes
from metst.errors import OutputError, UsageError
from metst.results.analysis_folder import REVIEW_FILE
from metst.storage.locks import only_reviewer

Answer = dict[str, Any]
"""As JSON has it."""

_SECOND = 2  # round after the first, whose layer has the coder's name alone


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def adjudicated_name(one: str, other: str) -> str:
    """Name of the layer in which two are brought together."""
    return f"adjudicated {one} + {other}"


def round_name(coder: str, number: int) -> str:
    """Name of a coder's layer of a later round."""
    return f"{coder} round {number}"


class Reviews:
    """All reviews of one recording; :func:`open_reviews` gives them.

    Parameters
    ----------
    folder : Path
        Of results.
    coding : Coding
        Layers that a review may begin from, and the recording.
    journal : Journal or None
        The log; None where there is none yet, or it cannot be written to.
    entries : sequence of Entry
        What stands in it.
    read_only : str
        Why nothing can be changed; empty where it can.
    now : callable
        The time, ISO 8601 in UTC.
    """

    def __init__(
        self,
        folder: Path,
        *,
        coding: Coding,
        journal: Journal | None,
        entries: Sequence[Entry],
        read_only: str,
        now: Callable[[], str] = _now,
    ) -> None:
        self.folder, self.coding, self.read_only = folder, coding, read_only
        self._journal, self._now = journal, now
        self._lock, self.held = RLock(), ExitStack()
        self._reviews = unfold(entries)
        self._ids = {each.id: each for each in entries}
        self._number = len(entries)

    def layers(self) -> list[Answer]:
        """The reviews that have begun: name, coder, kind, whether released, how many events have which verdict."""
        with self._lock:
            return [_line(each) for each in self._reviews.values()]

    def layer(self, name: str) -> Layer:
        """A coder's layer: what was accepted.

        Raises
        ------
        UsageError
            There is no such review.
        """
        with self._lock:
            return self._of(name).accepted

    def has_begun(self, layer: str) -> bool:
        """Whether there is such a review."""
        with self._lock:
            return layer in self._reviews

    def began_layers(self, layer: str) -> tuple[str, ...]:
        """Names of the layers that a review began from; none where it began with something else, or has not begun."""
        with self._lock:
            return self._reviews.get(layer, Review(layer)).began_layers

    def state(self, layer: str) -> Answer:
        """All of a review: ``layer, revision, events, can_undo, can_redo, released, began_from``.

        ``began_from`` is null where it has not begun.
        """
        with self._lock:
            return self._reviews.get(layer, Review(layer)).state()

    def steps(self, layer: str) -> Answer:
        """What a review would take back and make again next: ``can_undo, can_redo``, null where nothing."""
        with self._lock:
            review = self._reviews.get(layer, Review(layer))
            return {"can_undo": review.can_undo, "can_redo": review.can_redo}

    def history(self, layer: str) -> list[Answer]:
        """All that was done in a review, in order: ``number, kind, by, at, what, undone``."""
        with self._lock:
            return self._reviews.get(layer, Review(layer)).history()

    def edit(self, layer: str, changes: Any, *, by: str, what: str = "", id: str = "") -> Answer:
        """Change events, all of them or none.

        Parameters
        ----------
        layer : str
            The review.
        changes : list
            As JSON has them, or :class:`metst.coding.wanted.WantedChange`.
        by : str
            Who does it.
        what : str
            What it is, for the history.
        id : str
            Drawn by who asks: what comes twice is done once.

        Returns
        -------
        dict
            ``number, before, revision, events, removed, can_undo, can_redo``: the number of this entry of the log, that
            of the one before it in this review, and of its last; events are those that changed, as they are now.

        Raises
        ------
        ConflictError
            An event was changed meanwhile.
        DataError, UsageError
            They cannot be made: they do not fit the events or the recording, or the review has not begun or is
            released.
        OutputError
            They cannot be saved.
        """
        with self._lock:
            if (known := self._known(id, layer, "edit")) is not None:
                return known
            review = self._open(layer)
            wanted = wanted_changes(changes)
            made = as_changes(wanted, review.events, number=self._number + 1, frames=self.coding.source.frames)
            body = {"what": one_line(what) or "changed", "changes": [change_json(each) for each in made]}
            return self._answer(self._append(layer, "edit", body, by=by, name=id, changes=made))

    def undo(self, layer: str, *, by: str, id: str = "", revision: int | None = None) -> Answer:
        """Take back the last edit of a review that still holds; answer and errors as of :meth:`edit`.

        ``revision`` is that of the review as it was seen; where it is given, an older one is a conflict.
        """
        return self._step(layer, "undo", by=by, name=id, revision=revision)

    def redo(self, layer: str, *, by: str, id: str = "", revision: int | None = None) -> Answer:
        """Make again what was taken back last; as :meth:`undo`."""
        return self._step(layer, "redo", by=by, name=id, revision=revision)

    def begin(
        self,
        layer: str,
        start: Start,
        *,
        by: str,
        layers: Sequence[str] = (),
        agreed_only: bool = False,
        id: str = "",
    ) -> Answer:
        """Begin a review, or begin it anew while nothing is edited; gives its :meth:`state`.

        Parameters are those of :func:`metst.coding.beginnings.beginning`; layers may be those of other reviews.

        Raises
        ------
        UsageError
            It has edits, is released, or there is no such layer to begin from.
        OutputError
            It cannot be saved.
        """
        with self._lock:
            body = {"from": start, "layers": list(layers), "agreed_only": agreed_only}
            if self._asked(id, layer, "begin", body=body) is None:
                self._begin(layer, body, by=by, name=id)
            return self.state(layer)

    def as_it_would_begin(self, layer: str, start: Literal["machine", "nothing"]) -> Answer:
        """The :meth:`state` of a review that has not begun, as it will be when it has; nothing is saved."""
        with self._lock:
            events = beginning(start, find=partial(self._layer_to_begin_from, layer))
            number = self._number + (0 if self.read_only else 1)
            return self.state(layer) | {"events": events_json(events), "began_from": start, "revision": number}

    def begin_once(self, layer: str, start: Literal["machine", "nothing"], *, by: str) -> None:
        """Begin a review unless it has begun; errors as of :meth:`begin`."""
        with self._lock:
            if not self.has_begun(layer):
                self.begin(layer, start, by=by)

    def adjudicate(self, a: str, b: str, *, by: str, id: str = "") -> str:
        """Begin the review in which two layers are brought together, if there is none; gives its name.

        What agrees is accepted, the rest is open.  Errors as of :meth:`begin`.
        """
        with self._lock:
            name = adjudicated_name(a, b)
            if name not in self._reviews and adjudicated_name(b, a) in self._reviews:
                name = adjudicated_name(b, a)
            body = {"from": "layers", "layers": [a, b], "agreed_only": False, "adjudicates": True}
            if name not in self._reviews and self._asked(id, name, "begin", body=body) is None:
                self._begin(name, body, by=by, name=id)
            return name

    def begin_round(self, coder: str, start: Start, *, layers: Sequence[str] = (), agreed_only: bool = False) -> Answer:
        """Begin a layer of a coder's next round, beside those of the rounds before; gives its :meth:`state`.

        Parameters and errors are those of :meth:`begin`.
        """
        with self._lock:
            taken = {*self._reviews, *(each.coder for each in self.coding.layers)}
            name = next(name for number in count(_SECOND) if (name := round_name(coder, number)) not in taken)
            body = {"from": start, "layers": list(layers), "agreed_only": agreed_only, "coder": coder}
            self._begin(name, body, by=coder, name="")
            return self.state(name)

    def release(self, layer: str, released: bool, *, by: str, id: str = "") -> Answer:
        """Hand a review on, or take it back; gives its :meth:`state`.  While released, nothing in it changes.

        Raises
        ------
        UsageError
            It has not begun.
        OutputError
            It cannot be saved.
        """
        with self._lock:
            review = self._of(layer)
            body = {"what": "released" if released else "taken back", "released": released}
            if self._asked(id, layer, "release", body=body) is None and review.released != released:
                self._append(layer, "release", body, by=by, name=id)
            return self.state(layer)

    def close(self) -> None:
        """Close the log and let others at it."""
        with self._lock:
            if self._journal is not None:
                self._journal.close()
            self.held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _of(self, layer: str) -> Review:
        if layer not in self._reviews:
            if self.read_only:  # it could not begin
                raise OutputError(f"nothing was saved: {self.read_only}")
            raise UsageError(f"nobody has begun a review {layer!r}: begin it first")
        return self._reviews[layer]

    def _open(self, layer: str) -> Review:
        review = self._of(layer)
        if review.released:
            raise UsageError(f"the review {layer!r} is released: take it back before you change it")
        return review

    def _asked(self, name: str, layer: str, kind: Kind, *, body: Mapping[str, Any]) -> Entry | None:
        """The entry that an id has made; None where it made none.  The entry says the same as ``body``, and more."""
        entry = self._ids.get(one_line(name))
        if entry is None:
            return None
        same = all(entry.body.get(key) == value for key, value in body.items())
        if (entry.layer, entry.kind) != (layer, kind) or not same:
            raise UsageError(f"the id {name!r} was used for something else: draw another one")
        return entry

    def _known(self, name: str, layer: str, kind: Kind) -> Answer | None:
        """The answer to what was asked before; None where it was not."""
        entry = self._asked(name, layer, kind, body={})
        return None if entry is None else self._answer(entry)

    def _answer(self, entry: Entry) -> Answer:
        """What an entry changed, as it is now."""
        review = self._reviews[entry.layer]
        keys = review.keys_of(entry)
        return {
            "number": entry.number,
            "before": next((number for number in reversed(review.entries) if number < entry.number), 0),
            "revision": review.revision,
            "events": events_json(review.events[key] for key in keys if key in review.events),
            "removed": [key for key in keys if key not in review.events],
            **self.steps(entry.layer),
        }

    def _step(self, layer: str, kind: Literal["undo", "redo"], *, by: str, name: str, revision: int | None) -> Answer:
        with self._lock:
            if (known := self._known(name, layer, kind)) is not None:
                return known
            review = self._open(layer)
            if revision is not None and revision != review.revision:
                raise ConflictError(
                    f"the review was changed meanwhile in another window or by somebody else: look before you {kind}",
                    events=events_json(review.events.values()),
                    removed=[],
                )
            if (what := review.can_undo if kind == "undo" else review.can_redo) is None:
                raise UsageError(f"there is nothing to {kind}")
            number, _ = review.undoes() if kind == "undo" else review.redoes()
            body = {"what": f"{kind}: {what}", "entry": number}
            return self._answer(self._append(layer, kind, body, by=by, name=name))

    def _begin(self, layer: str, body: dict[str, Any], *, by: str, name: str) -> None:
        if layer == MACHINE or layer != coder_of(layer):
            raise UsageError(f"expected the name of a coder, not {MACHINE!r} and without / \\ ( ) < > |, got {layer!r}")
        review = self._reviews.get(layer, Review(layer))
        if review.kind == "adjudicated":
            raise UsageError(f"in {layer!r} two layers are brought together: it cannot begin with something else")
        if review.edited:
            raise UsageError(f"the review {layer!r} has edits already: it cannot begin anew")
        if review.released:
            raise UsageError(f"the review {layer!r} is released: take it back before you change it")
        events = beginning(
            body["from"],
            layers=body["layers"],
            agreed_only=body["agreed_only"],
            find=partial(self._layer_to_begin_from, layer),
            first_key=review.begun + 1,
        )
        if review.began is not None and "coder" in review.began:
            body = body | {"coder": review.began["coder"]}
        body = body | {"what": f"began from {_told(body)}", "events": [kept_json(each) for each in events]}
        self._append(layer, "begin", body, by=by, name=name, events=events)

    def _layer_to_begin_from(self, layer: str, name: str) -> Layer:
        """The layer of a name: a review other than the one that begins, else of the results."""
        if name in self._reviews and name != layer:
            return self._reviews[name].accepted
        found = next((each for each in self.coding.layers if each.coder == name), None)
        if found is None:
            there = dict.fromkeys([*self._reviews, *(each.coder for each in self.coding.layers)])
            raise UsageError(f"there is no layer {name!r} to begin from: there is {', '.join(there) or 'none'}")
        return found

    def _append(
        self,
        layer: str,
        kind: Kind,
        body: Mapping[str, Any],
        *,
        by: str,
        name: str,
        changes: tuple[Change, ...] | None = None,
        events: Sequence[ReviewEvent] | None = None,
    ) -> Entry:
        """Save an entry, then apply it."""
        if self.read_only:
            raise OutputError(f"nothing was saved: {self.read_only}")
        entry = Entry(
            self._number + 1, layer, kind, one_line(by), self._now(), one_line(name) or str(uuid.uuid4()), body
        )
        if self._journal is None:
            self._journal = open_journal(self.folder, recording=recording_of(self.coding.source))
        self._journal.append(entry)
        self._number = entry.number
        self._ids[entry.id] = entry
        self._reviews.setdefault(layer, Review(layer)).take(entry, changes, events=events)
        return entry


def _told(beginning: Mapping[str, Any]) -> str:
    """What a review begins from, for its history."""
    layers = " and ".join(beginning["layers"])
    if beginning["from"] != "layers":
        return str(beginning["from"])
    return f"what {layers} agree on" if beginning["agreed_only"] else layers


def _line(review: Review) -> Answer:
    verdicts = Counter(each.verdict for each in review.events.values())
    counted: Answer = {verdict: verdicts[verdict] for verdict in VERDICTS}
    return {"name": review.layer, "coder": review.coder, "kind": review.kind, "released": review.released, **counted}


def open_reviews(folder: str | Path, *, coding: Coding | None = None, now: Callable[[], str] = _now) -> Reviews:
    """Open the reviews of a recording; no other process can meanwhile.

    Parameters
    ----------
    folder : str or Path
        Of results.
    coding : Coding, optional
        What a review may begin from; by default what lies in the folder.
    now : callable
        The time, ISO 8601 in UTC.

    Returns
    -------
    Reviews
        To be closed.  In a folder that cannot be written to they can be read, and say so in ``read_only``.

    Raises
    ------
    DataError
        The folder holds no results, or a log that is damaged, newer or of another recording.
    OutputError
        Another one has them open.
    """
    folder = Path(folder)
    if coding is None:
        coding = read_coding(folder, reviews=False)
    recording, path = recording_of(coding.source), folder / REVIEW_FILE
    read_only = next(
        (f"{each} may not be changed; look at its permissions" for each in (folder, path) if _may_not_change(each)), ""
    )
    with ExitStack() as stack:
        journal, entries = None, []
        if not read_only:
            stack.enter_context(only_reviewer(folder))
        if path.exists() and read_only:
            written = read_journal(folder)
            check_recording(path, written.recording, expected=recording)
            entries = written.entries
        elif path.exists():
            journal = stack.enter_context(open_journal(folder, recording=recording))
            entries = journal.entries
        reviews = Reviews(folder, coding=coding, journal=journal, entries=entries, read_only=read_only, now=now)
        reviews.held = stack.pop_all()
    return reviews


def _may_not_change(path: Path) -> bool:
    return path.exists() and not os.access(path, os.W_OK)
