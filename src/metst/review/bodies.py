"""What the page sends and gets about reviews, as JSON has it; frames count from 1, both ends included."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from metst.coding.reviewed import Verdict
from metst.coding.wanted import WantedChange

LayerKind = Literal["machine", "coder", "imported", "adjudicated"]
"""Where a layer comes from."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class CodedTold(BaseModel):
    """What a coder or the machine says of one event; frames from 1, both ends included."""

    onset_frame: int
    apex_frame: int | None
    offset_frame: int
    label: str
    confidence: float | None
    action_units: list[str]
    note: str


class ProposalTold(CodedTold):
    """What a review began with: it never changes."""

    by: str


class EventTold(CodedTold):
    """An event under review."""

    key: str
    verdict: Verdict
    proposals: list[ProposalTold]
    revision: int
    by: str
    at: str


class ReviewTold(BaseModel):
    """All of a review."""

    layer: str
    revision: int
    events: list[EventTold]
    can_undo: str | None
    can_redo: str | None
    released: bool
    began_from: str | None


class Changed(BaseModel):
    """What an edit changed, as it is now; ``revision`` is the review's, of which other entries may be newer."""

    number: int = Field(description="of its entry in the log")
    before: int = Field(description="number of the entry before it in this review")
    revision: int
    events: list[EventTold]
    removed: list[str]
    can_undo: str | None
    can_redo: str | None


class Stale(BaseModel):
    """Nothing was applied: somebody else changed these meanwhile."""

    detail: str
    events: list[EventTold]
    removed: list[str]
    can_undo: str | None
    can_redo: str | None


class Edits(_Body):
    """Changes that are made together or not at all; ``id`` is drawn anew for each: what comes twice is done once."""

    id: str = Field(min_length=1, max_length=100)
    layer: str | None = None
    what: str = Field("", max_length=200, description="for the history")
    changes: list[WantedChange] = Field(min_length=1)


class Step(_Body):
    """Undo or redo."""

    id: str = Field(min_length=1, max_length=100)
    layer: str | None = None
    revision: int | None = Field(None, description="of the review as it was seen")


class Begin(_Body):
    """What a layer without edits is to begin with."""

    layer: str | None = None
    start: Literal["machine", "nothing", "layers"] = Field(alias="from")
    layers: list[str] = []
    agreed_only: bool = False
    another_round: bool = Field(False, description="in a new layer of the coder, once the first one is released")


class Release(_Body):
    """Hand a layer on, or take it back; ``id`` is drawn anew for each: what comes twice is done once."""

    id: str = Field("", max_length=100)
    layer: str | None = None
    released: bool


class Adjudicate(_Body):
    """Two layers to be brought together."""

    a: str
    b: str


class Adjudicated(BaseModel):
    """The layer in which that is done."""

    layer: str


class HistoryLine(BaseModel):
    """One entry of the log."""

    number: int
    kind: str
    by: str
    at: str
    what: str
    undone: bool


class SeenEvent(CodedTold):
    """An event of a layer that is only looked at."""

    key: str


class SeenLayer(BaseModel):
    """A layer that the coder may see."""

    name: str
    kind: LayerKind
    released: bool
    events: list[SeenEvent]
