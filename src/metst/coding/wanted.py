"""What a page asks to be changed, checked against what is there: requests in, changes of a review out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from metst.coding.layers import LayerEvent, frames_of, label_of, note_of
from metst.coding.reviewed import Change, Events, ReviewEvent, Verdict, events_json
from metst.errors import DataError
from metst.storage import faults_in_words

_SAID_BY_THE_LOG = {"key", "revision", "by", "at", "proposals"}
"""Values of an event that no request changes: they may stand in it and are not looked at."""

_LONGEST_KEY = 60
"""Letters of an event's key, such as a12.3: no log becomes so long.  Set by hand."""


class ConflictError(DataError):
    """Somebody else changed an event meanwhile: nothing of the edit is applied.

    ``events`` are those concerned as they are now, as JSON has them; ``removed`` are keys of those that are gone.
    """

    def __init__(self, message: str, *, events: list[dict[str, Any]], removed: list[str]) -> None:
        super().__init__(message)
        self.events, self.removed = events, removed


class WantedEvent(BaseModel):
    """How an event is to be; what is left out stays as it is.  Frames count from 1, both ends included."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    onset_frame: int | None = None
    apex_frame: int | None = None
    offset_frame: int | None = None
    label: str | None = None
    confidence: float | None = None
    action_units: list[str] | None = None
    note: str | None = None
    verdict: Verdict | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_what_the_log_says(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: each for name, each in value.items() if name not in _SAID_BY_THE_LOG}
        return value


_Key = Annotated[str, Field(max_length=_LONGEST_KEY, pattern=r"^[a-z0-9.]*$")]
"""Key of an event: what else comes may hold what no answer can."""


class WantedChange(BaseModel):
    """One change of an edit.

    ``key`` is null for a new event, ``after`` null for one that goes.  ``revision`` is that of the event as it was
    seen.  ``from`` names events of the same edit whose proposals the event takes over.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", populate_by_name=True)

    key: _Key | None = None
    revision: int = 0
    after: WantedEvent | None = None
    taken_from: list[_Key] = Field(default=[], alias="from")

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.key is None and self.after is None:
            raise ValueError("a change without key and without after changes nothing: expected one of them at least")
        return self


class _Wanted(BaseModel):
    changes: list[WantedChange] = Field(min_length=1)


def wanted_changes(values: Any) -> list[WantedChange]:
    """Requests as JSON has them, checked for what they are.

    Raises
    ------
    DataError
        They are no changes.
    """
    if isinstance(values, Sequence) and values and all(isinstance(each, WantedChange) for each in values):
        return list(values)
    try:
        return _Wanted.model_validate({"changes": values}).changes
    except ValidationError as error:
        raise DataError(f"these are no changes: {faults_in_words(error, whole='')}") from error


def as_changes(wanted: Sequence[WantedChange], events: Events, *, number: int, frames: int) -> tuple[Change, ...]:
    """What requests change, if all of them can be done.

    Parameters
    ----------
    wanted : sequence of WantedChange
        All of one edit.
    events : mapping of str to ReviewEvent
        As they are.
    number : int
        Of the entry that the changes will be: new events are called ``a<number>.<i>``.
    frames : int
        Of the recording.

    Raises
    ------
    ConflictError
        An event is not the one that was seen.
    DataError
        The changes do not fit each other or the recording.
    """
    keys = [each.key for each in wanted if each.key is not None]
    if len(set(keys)) < len(keys):
        raise DataError("one event is changed twice in one edit: expected each once")
    _check_revisions(wanted, events)
    strangers = {key for each in wanted for key in each.taken_from} - set(keys)
    if strangers:
        raise DataError(f"proposals of {', '.join(sorted(strangers))}: expected events that this edit changes, too")
    names = (f"a{number}.{place}" for place in range(1, len(wanted) + 1))
    changes = []
    for each in wanted:
        key = next(names) if each.key is None else each.key
        before = None if each.key is None else events[key]
        after = None if each.after is None else _event_after(each, before, key=key, events=events, frames=frames)
        changes.append(Change(key, before, after))
    _check_proposals_kept(changes)
    return tuple(changes)


def _check_revisions(wanted: Iterable[WantedChange], events: Events) -> None:
    seen = {each.key: each.revision for each in wanted if each.key is not None}
    gone = [key for key in seen if key not in events]
    stale = [events[key] for key, revision in seen.items() if key in events and events[key].revision != revision]
    if gone or stale:
        names = ", ".join([*gone, *(each.key for each in stale)])
        raise ConflictError(
            f"changed meanwhile in another window or by somebody else: {names}; look at it as it is now and decide",
            events=events_json(stale),
            removed=gone,
        )


def _event_after(
    change: WantedChange, before: ReviewEvent | None, *, key: str, events: Events, frames: int
) -> ReviewEvent:
    wanted = change.after
    assert wanted is not None
    event = _values(wanted, before, key=key)
    if event.offset > frames:
        raise DataError(f"event of frames {event.onset + 1} to {event.offset}: the recording has {frames} frames")
    own = () if before is None else before.proposals
    taken = (each for source in change.taken_from for each in events[source].proposals)
    proposals = tuple(dict.fromkeys((*own, *taken)))
    verdict = _verdict(wanted, before, changed=before is not None and event != before.event)
    if not proposals and verdict != "accepted":
        raise DataError(f"event {key} was added by a coder and cannot be {verdict}: delete it, or keep it accepted")
    return ReviewEvent(key, event, verdict, proposals)


def _verdict(wanted: WantedEvent, before: ReviewEvent | None, *, changed: bool) -> Verdict:
    if wanted.verdict is not None:
        return wanted.verdict
    if before is None or (changed and before.verdict == "open"):
        return "accepted"
    return before.verdict


def _values(wanted: WantedEvent, before: ReviewEvent | None, *, key: str) -> LayerEvent:
    """The event that is wanted: all values of a new one, those that are given of one that is there."""
    given = wanted.model_fields_set
    if before is None:
        if wanted.onset_frame is None or wanted.offset_frame is None:
            raise DataError("a new event needs onset_frame and offset_frame")
        onset, offset, apex = frames_of(wanted.onset_frame, wanted.offset_frame, wanted.apex_frame)
        old = LayerEvent(onset, offset, label_of(wanted.label or ""), apex=apex)
    else:
        first, last, apex_frame = before.event.for_people
        onset, offset, apex = frames_of(
            first if wanted.onset_frame is None else wanted.onset_frame,
            last if wanted.offset_frame is None else wanted.offset_frame,
            wanted.apex_frame if "apex_frame" in given else apex_frame,
        )
        old = before.event
    try:
        return replace(
            old,
            onset=onset,
            offset=offset,
            apex=apex,
            label=old.label if wanted.label is None else label_of(wanted.label),
            confidence=wanted.confidence if "confidence" in given else old.confidence,
            note=old.note if wanted.note is None else note_of(wanted.note),
            action_units=old.action_units if wanted.action_units is None else tuple(wanted.action_units),
        )
    except DataError as error:
        raise DataError(f"{error} (event {key})") from error


def _check_proposals_kept(changes: Iterable[Change]) -> None:
    """What the machine or a coder proposed goes with no edit: another event takes it over, or it is rejected."""
    changes = list(changes)
    kept = {proposal for change in changes if change.after for proposal in change.after.proposals}
    lost = [change.key for change in changes if change.before and not kept.issuperset(change.before.proposals)]
    if lost:
        raise DataError(f"{', '.join(lost)} came from a proposal and cannot be deleted: reject it instead")
