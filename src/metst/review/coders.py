"""Who sees whose layers: reviews of all recordings, and what a coder may not see yet.

A coder sees the layers of others when those are released and the own one is.  What was imported counts as released; who
begins from it on purpose sees it, and the log says so.  In the same way one may begin from what two released layers
agree on; the layers themselves stay hidden.  A coder who has released may begin layers of further rounds.  Where the
coder codes without the machine, what it found is one more layer of somebody else.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from metst.coding.beginnings import Start
from metst.coding.journal import read_journal
from metst.coding.layers import MACHINE, Coding, Layer
from metst.coding.layers_folder import read_coding
from metst.coding.reviews import Reviews, open_reviews
from metst.coding.unfolding import unfold
from metst.errors import DataError, OutputError
from metst.results.analysis_folder import REVIEW_FILE
from metst.review.bodies import LayerKind
from metst.review.recordings import Recording
from metst.review.refusals import Conflict, NotAllowed, NotThere

State = dict[str, Any]
"""A review, as JSON has it."""


@dataclass(frozen=True)
class LayerLine:
    """One layer of a recording: whose it is, and whether this coder may see it."""

    name: str
    kind: LayerKind
    released: bool
    visible: bool
    mine: bool


class Coders:
    """The reviews of all recordings of a server, for one coder.

    Parameters
    ----------
    coder : str
        Whose layer is edited.
    with_machine : bool
        Whether the coder sees what the machine found from the start.
    """

    def __init__(self, *, coder: str, with_machine: bool) -> None:
        self.coder, self.with_machine = coder, with_machine
        self._lock = threading.Lock()
        self._open: dict[str, Reviews] = {}

    def reviews(self, recording: Recording) -> Reviews:
        """The reviews of a recording, opened once.

        Raises
        ------
        Conflict
            Another process has them open.
        DataError
            The log is damaged, or of another recording.
        """
        with self._lock:
            if recording.id not in self._open:
                tables = recording.tables if recording.analysed else None
                coding = read_coding(recording.folder, reviews=False, tables=tables)
                try:
                    self._open[recording.id] = open_reviews(recording.folder, coding=coding)
                except OutputError as error:
                    raise Conflict(str(error)) from error
            return self._open[recording.id]

    def forget(self, rid: str) -> None:
        """Close the reviews of a recording whose results are written anew."""
        with self._lock:
            reviews = self._open.pop(rid, None)
        if reviews is not None:
            reviews.close()

    def close(self) -> None:
        """Close all."""
        with self._lock:
            for reviews in self._open.values():
                reviews.close()
            self._open.clear()

    def counts(self, recording: Recording) -> dict[str, Any]:
        """How many events of the own layer have which verdict, and whether it is released; none and not where its log
        cannot be read.

        It is read without being opened for good; what is wrong with it is told when that is done.
        """
        with self._lock:
            reviews = self._open.get(recording.id)
        if reviews is not None:
            lines = reviews.layers()
        elif (recording.folder / REVIEW_FILE).is_file():
            own = None
            with suppress(DataError, OutputError):
                own = unfold(read_journal(recording.folder).entries).get(self.coder)
            verdicts = [each.verdict for each in own.events.values()] if own is not None else []
            counted = {name: verdicts.count(name) for name in ("open", "accepted", "rejected")}
            return counted | {"released": own is not None and own.released}
        else:
            lines = []
        line: dict[str, Any] = next((each for each in lines if each["name"] == self.coder), {})
        counted = {name: int(line.get(name, 0)) for name in ("open", "accepted", "rejected")}
        return counted | {"released": bool(line.get("released"))}

    def sees_machine(self, recording: Recording) -> bool:
        """Whether the coder may see what the machine found."""
        return self.with_machine or self._released(self.reviews(recording))

    def _released(self, reviews: Reviews) -> bool:
        return any(each["name"] == self.coder and each["released"] for each in reviews.layers())

    def lines(self, recording: Recording) -> list[LayerLine]:
        """All layers of a recording: the machine's, those that were imported, those of reviews."""
        reviews = self.reviews(recording)
        own_released, found = self._released(reviews), []
        began_from = reviews.began_layers(self.coder)
        reviewed = {each["name"]: each for each in reviews.layers()}
        for layer in reviews.coding.layers:
            if layer.coder == MACHINE and recording.analysed:
                seen = self.with_machine or own_released
                found.append(LayerLine(MACHINE, "machine", released=True, visible=seen, mine=False))
            elif layer.coder not in reviewed:
                own = layer.coder == self.coder
                seen = own or own_released or layer.coder in began_from
                found.append(LayerLine(layer.coder, "imported", released=True, visible=seen, mine=False))
        for name, each in reviewed.items():
            mine, adjudicated = each["coder"] == self.coder, each["kind"] == "adjudicated"
            seen = mine or (own_released and (each["released"] or adjudicated))
            found.append(LayerLine(name, each["kind"], released=each["released"], visible=seen, mine=mine))
        if reviews.read_only and all(each.name != self.coder for each in found):  # it cannot begin
            found.append(LayerLine(self.coder, "coder", released=False, visible=True, mine=True))
        return found

    def line(self, recording: Recording, name: str) -> LayerLine:
        """A layer that the coder may see.

        Raises
        ------
        NotThere
            There is none of that name.
        NotAllowed
            The coder may not see it yet.
        """
        found = next((each for each in self.lines(recording) if each.name == name), None)
        if found is None:
            raise NotThere(f"no layer {name[:80]!r} of this recording")
        if not found.visible:
            raise NotAllowed(
                f"the layer {name!r} is kept from {self.coder} until both it and the own layer are released"
            )
        return found

    def layer(self, recording: Recording, name: str) -> Layer:
        """Events of a layer that the coder may see; of a review those that were accepted."""
        reviews = self.reviews(recording)
        if self.line(recording, name).kind in {"coder", "adjudicated"}:
            if not reviews.has_begun(name):
                return Layer(name, ())
            return reviews.layer(name)
        return next(each for each in reviews.coding.layers if each.coder == name)

    def coding(self, recording: Recording, names: list[str]) -> Coding:
        """The recording with some layers that the coder may see, for exports."""
        coding = self.reviews(recording).coding
        layers = tuple(self.layer(recording, name) for name in names)
        return Coding(coding.source, coding.grid, layers, coding.created, coding.classes)

    def begin(self, recording: Recording, name: str, start: Start, *, layers: list[str], agreed_only: bool) -> State:
        """Begin a review, or begin it anew while nothing is edited."""
        return self.reviews(recording).begin(name, start, by=self.coder, layers=layers, agreed_only=agreed_only)

    def have_begun(self, recording: Recording, name: str) -> None:
        """Begin the coder's own review, if it has not begun and anything can be saved."""
        reviews = self.reviews(recording)
        if name == self.coder and not reviews.read_only:
            reviews.begin_once(name, self._start(recording), by=self.coder)

    def _start(self, recording: Recording) -> Literal["machine", "nothing"]:
        return "machine" if self.with_machine and recording.analysed else "nothing"

    def check_writable(self, recording: Recording, name: str) -> None:
        """Make sure that a layer is one that the coder may change.

        Raises
        ------
        NotAllowed
            It is somebody else's.
        """
        if name == self.coder:
            return
        line = self.line(recording, name)
        if not line.mine and line.kind != "adjudicated":
            raise NotAllowed(f"the layer {name!r} is not that of {self.coder}: only its own coder changes it")

    def check_released(self, recording: Recording) -> None:
        """Make sure that the coder has judged alone before a further round begins.

        Raises
        ------
        NotAllowed
            The layer of the first round is not released.
        """
        if not self._released(self.reviews(recording)):
            raise NotAllowed(f"release the layer {self.coder!r} first: a further round begins after it")

    def check_begins_from(self, recording: Recording, names: list[str], *, agreed_only: bool) -> None:
        """Make sure that a review may begin from some layers.

        What was imported, and what two released reviews agree on, is to be had before the own layer is released: that
        is a choice, and the log keeps it.  Else reviews of others are not to be had in that way, nor, where it is kept
        from the coder, what the machine found.

        Raises
        ------
        NotAllowed
            One is kept from the coder.
        """
        lines = {line.name: line for line in self.lines(recording)}
        for name in names:
            line = lines.get(name)
            if line is None or line.visible or line.kind == "imported":
                continue
            if line.kind == "machine" or not (agreed_only and line.released):
                raise NotAllowed(f"the layer {name!r} is kept from {self.coder} until both layers are released")

    def state(self, recording: Recording, name: str) -> State:
        """A review as the page shows it; the coder's own begins with what the machine found, or with nothing.

        One that has not begun is shown as it will, and is begun by :meth:`have_begun`.
        """
        reviews = self.reviews(recording)
        if name != self.coder and self.line(recording, name).kind not in {"coder", "adjudicated"}:
            raise NotThere(f"the layer {name!r} is no review: begin one from it")
        if name == self.coder and not reviews.has_begun(name):
            return reviews.as_it_would_begin(name, self._start(recording))
        return reviews.state(name)
