"""Events under review as values: what a coder makes of what was there, beside what was there.

In JSON, that of the log and that of the page alike, frames count from 1 with both ends included, as in the tables of
results; the values here have them as :class:`metst.coding.layers.LayerEvent` has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from metst.coding.layers import LayerEvent, frames_of
from metst.errors import DataError

Verdict = Literal["open", "accepted", "rejected"]
"""What a coder decided about an event; only accepted ones belong to the coder's layer."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

Json = dict[str, Any]


@dataclass(frozen=True)
class Proposal:
    """What a review began with: an event, and whose it is.  It never changes."""

    by: str
    event: LayerEvent


@dataclass(frozen=True)
class ReviewEvent:
    """One event under review.

    Two are equal when a coder sees the same; who changed it last, and when, is not part of that.

    Parameters
    ----------
    key : str
        Its name in the review; never given to another one.
    event : LayerEvent
        As it is now.
    verdict : {"open", "accepted", "rejected"}
    proposals : tuple of Proposal
        What it came from; none for one that a coder added.
    revision : int
        Number of the entry in the log that changed it last; 0 for the beginning.
    by, at : str
        Who that was, and when (ISO 8601, UTC).
    """

    key: str
    event: LayerEvent
    verdict: Verdict = "open"
    proposals: tuple[Proposal, ...] = ()
    revision: int = field(default=0, compare=False)
    by: str = field(default="", compare=False)
    at: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise DataError(f"event {self.key}: expected a verdict {', '.join(VERDICTS)}, got {self.verdict!r}")


@dataclass(frozen=True)
class Change:
    """One event before and after; None where it was not there, or is no more."""

    key: str
    before: ReviewEvent | None
    after: ReviewEvent | None

    @property
    def inverse(self) -> Change:
        """What takes it back."""
        return Change(self.key, self.after, self.before)


Events = Mapping[str, ReviewEvent]
"""Events of a review by their keys."""


@dataclass(frozen=True)
class Edit:
    """What one entry of the log does: its changes, who made them, and when."""

    changes: tuple[Change, ...]
    number: int
    by: str
    at: str


def invert(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Changes that take others back."""
    return tuple(each.inverse for each in reversed(tuple(changes)))


def put(edit: Edit, events: dict[str, ReviewEvent]) -> None:
    """Make an edit's changes in place.

    Raises
    ------
    DataError
        An event is not what the edit changes: the two do not belong together.
    """
    for change in edit.changes:
        if events.get(change.key) != change.before:
            raise DataError(f"entry {edit.number} changes event {change.key}, which is not as it says")
    for change in edit.changes:
        if change.after is None:
            del events[change.key]
        else:
            events[change.key] = replace(change.after, revision=edit.number, by=edit.by, at=edit.at)


def apply(edit: Edit, events: Events) -> dict[str, ReviewEvent]:
    """Events after an edit; those given stay as they are.  Errors are those of :func:`put`."""
    changed = dict(events)
    put(edit, changed)
    return changed


def fold(edits: Iterable[Edit], events: Events) -> dict[str, ReviewEvent]:
    """Events after all edits, one behind the other.  Errors are those of :func:`put`."""
    changed = dict(events)
    for edit in edits:
        put(edit, changed)
    return changed


def in_order(events: Iterable[ReviewEvent]) -> list[ReviewEvent]:
    """Events by onset, offset and key."""
    return sorted(events, key=lambda each: (each.event.onset, each.event.offset, each.key))


def layer_event_json(event: LayerEvent) -> Json:
    """An event without who and what of a review, as JSON has it."""
    first, last, apex = event.for_people
    return {
        "onset_frame": first,
        "apex_frame": apex,
        "offset_frame": last,
        "label": event.label,
        "confidence": event.confidence,
        "action_units": list(event.action_units),
        "note": event.note,
    }


def layer_event_of(value: Mapping[str, Any]) -> LayerEvent:
    """The event of what :func:`layer_event_json` made.

    Raises
    ------
    DataError
        The values do not fit each other.
    """
    onset, offset, apex = frames_of(value["onset_frame"], value["offset_frame"], value["apex_frame"])
    return LayerEvent(
        onset,
        offset,
        value["label"],
        apex=apex,
        confidence=value["confidence"],
        note=value["note"],
        action_units=tuple(value["action_units"]),
    )


def kept_json(event: ReviewEvent) -> Json:
    """What the log keeps of an event: all but what the entry itself says."""
    own = layer_event_json(event.event)
    return {
        "key": event.key,
        **own,
        "verdict": event.verdict,
        "proposals": [
            {"by": each.by, **(own if each.event is event.event else layer_event_json(each.event))}
            for each in event.proposals
        ],
    }


def event_json(event: ReviewEvent) -> Json:
    """An event as the page has it."""
    return kept_json(event) | {"revision": event.revision, "by": event.by, "at": event.at}


def events_json(events: Iterable[ReviewEvent]) -> list[Json]:
    """Events as the page has them, in order of onset."""
    return [event_json(each) for each in in_order(events)]


def event_of(value: Mapping[str, Any], before: ReviewEvent | None = None) -> ReviewEvent:
    """The event of what :func:`kept_json` or :func:`event_json` made.

    Without proposals it has those of the event that it was ``before``.

    Raises
    ------
    DataError
        The values do not fit each other.
    """
    if before is not None and "proposals" not in value:
        proposals, event = before.proposals, layer_event_of(value)
    else:
        given = value["proposals"]
        proposals = tuple(Proposal(each["by"], layer_event_of(each)) for each in given)
        # Most are as they were proposed: ten thousand of them are read in half the time.
        as_proposed = given and all(value[name] == each for name, each in given[0].items() if name != "by")
        event = proposals[0].event if as_proposed else layer_event_of(value)
    return ReviewEvent(
        value["key"],
        event,
        value["verdict"],
        proposals,
        value.get("revision", 0),
        value.get("by", ""),
        value.get("at", ""),
    )


def change_json(change: Change) -> Json:
    """A change as the log keeps it: what was before follows from the entries before, also proposals that stay."""
    after = change.after and kept_json(change.after)
    if after and change.before and change.after and change.before.proposals == change.after.proposals:
        del after["proposals"]
    return {"key": change.key, "after": after}


def changes_of(values: Iterable[Mapping[str, Any]], events: Events) -> tuple[Change, ...]:
    """The changes of what :func:`change_json` made, to events as they were when they were made.

    Raises
    ------
    DataError
        The values do not fit each other.
    """
    known = [(each["key"], events.get(each["key"]), each["after"]) for each in values]
    return tuple(Change(key, before, after and event_of(after, before)) for key, before, after in known)
