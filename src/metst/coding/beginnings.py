"""What a review begins with: what the machine found, nothing, another layer, or two layers to be brought together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from metst.coding.layers import MACHINE, Layer, LayerEvent
from metst.coding.reviewed import Proposal, ReviewEvent, Verdict
from metst.errors import UsageError
from metst.metrics.agreement import matched_intervals

Start = Literal["machine", "nothing", "layers"]
"""What a review can begin with."""

STARTS: tuple[Start, ...] = get_args(Start)

_PAIR = 2  # layers that can be brought together

_Start = tuple[LayerEvent, Verdict, tuple[Proposal, ...]]


def beginning(
    start: Start,
    *,
    layers: Sequence[str] = (),
    agreed_only: bool = False,
    find: Callable[[str], Layer],
    first_key: int = 1,
) -> list[ReviewEvent]:
    """Events that a review begins with.

    Parameters
    ----------
    start : {"machine", "nothing", "layers"}
        Where they come from.
    layers : sequence of str
        With ``"layers"``: one, whose events are open; or two, of which what agrees is accepted and the rest is open.
    agreed_only : bool
        Of two layers, only what agrees.
    find : callable
        The layer of a name.
    first_key : int
        Number in the key of the first one.

    Raises
    ------
    UsageError
        Layers that ``start`` has no use for, or too few or too many.
    """
    if start not in STARTS:
        raise UsageError(f"a review begins from {', '.join(STARTS)}; got {start!r}")
    if start != "layers" and (layers or agreed_only):
        raise UsageError("layers and agreed_only belong to a beginning from layers")
    if start == "nothing":
        found: list[_Start] = []
    elif start == "machine":
        found = _proposed(find(MACHINE))
    elif len(layers) == 1 and not agreed_only:
        found = _proposed(find(layers[0]))
    elif len(set(layers)) == len(layers) == _PAIR:
        found = _brought_together(find(layers[0]), find(layers[1]), agreed_only=agreed_only)
    else:
        need = "two different layers" if agreed_only else "one layer, or two different ones"
        raise UsageError(f"expected {need} to begin from, got {', '.join(layers) or 'none'}")
    found.sort(key=lambda each: (each[0].onset, each[0].offset))
    return [ReviewEvent(f"m{number}", *each) for number, each in enumerate(found, start=first_key)]


def _proposed(layer: Layer) -> list[_Start]:
    return [(event, "open", (Proposal(layer.coder, event),)) for event in layer.events]


def _brought_together(one: Layer, other: Layer, *, agreed_only: bool) -> list[_Start]:
    """Events of both: those that agree as their mean, those that overlap as well with both proposals, the rest."""
    pairs = matched_events(one.events, other.events)
    found: list[_Start] = []
    for first, second in pairs:
        mine, theirs = one.events[first], other.events[second]
        proposals = Proposal(one.coder, mine), Proposal(other.coder, theirs)
        found.append((mean_event(mine, theirs), "accepted" if mine.label == theirs.label else "open", proposals))
    if agreed_only:
        return [each for each in found if each[1] == "accepted"]
    for layer, taken in ((one, {first for first, _ in pairs}), (other, {second for _, second in pairs})):
        alone = Layer(layer.coder, tuple(event for k, event in enumerate(layer.events) if k not in taken))
        found += _proposed(alone)
    return found


def matched_events(one: Sequence[LayerEvent], other: Sequence[LayerEvent]) -> list[tuple[int, int]]:
    """One-to-one pairs of events that two coders saw, by their numbers: as many as possible, of any label."""
    first, second = (np.array([(event.onset, event.offset) for event in events]) for events in (one, other))
    return [(int(a), int(b)) for a, b in matched_intervals(first, second)]


def mean_event(one: LayerEvent, other: LayerEvent) -> LayerEvent:
    """The event between two: mean onset, apex and offset, half frames to the earlier one; the label of the first.

    What only one of them says is kept: apex, confidence, action units, note.
    """
    apexes = [each.apex for each in (one, other) if each.apex is not None]
    confidences = [each.confidence for each in (one, other) if each.confidence is not None]
    onset, offset = (one.onset + other.onset) // 2, (one.offset + other.offset) // 2
    apex = min(max(sum(apexes) // len(apexes), onset), offset - 1) if apexes else None
    return LayerEvent(
        onset,
        offset,
        one.label,
        apex=apex,
        confidence=sum(confidences) / len(confidences) if confidences else None,
        note="; ".join(dict.fromkeys(note for note in (one.note, other.note) if note)),
        action_units=tuple(dict.fromkeys((*one.action_units, *other.action_units))),
    )
