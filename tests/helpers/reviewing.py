"""Reviews for tests: a recording that needs no video, edits of every kind, and a coder who is cut off."""

from __future__ import annotations

import os
import random
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from metst.coding import Coding, Layer, LayerEvent, Reviews, open_reviews
from metst.coding.layers import MACHINE
from metst.results import Source
from metst.timeline import TimeGrid

FRAMES = 600
LABELS = ("negative", "positive", "surprise")
KINDS = ("move", "relabel", "split", "merge", "add", "remove", "accept", "reject", "units", "note", "several", "paste")
"""Edits that a coder makes."""

Json = dict[str, Any]

QUICK = next((each for each in ("/dev/shm",) if os.access(each, os.W_OK)), None)
"""Where logs lie that are written again and again: in memory, where there is such a place, as each entry waits for the
disk otherwise.  What a killed process had written is there as well as on a disk."""


def recorded(events: int = 5, *, content: str = "a1", others: tuple[Layer, ...] = ()) -> Coding:
    """What a machine found in a recording of 600 frames: ``events`` events, and layers of others."""
    step = FRAMES // (events + 1)
    found = [
        LayerEvent(start, start + 12, LABELS[k % 3], apex=start + 5, confidence=0.5 + 0.4 * k / events)
        for k, start in enumerate(range(step, step * (events + 1), step))
    ]
    source = Source("a.mp4", "a.mp4", 64, 64, FRAMES, 20.0, 30.0, "h264", content)
    return Coding(source, TimeGrid.uniform(FRAMES, rate_hz=30), (Layer(MACHINE, tuple(found)), *others), "", LABELS)


def opened(folder: Path, coding: Coding | None = None) -> Reviews:
    """Reviews of that recording, as at the same moment always."""
    return open_reviews(folder, coding=coding or recorded(), now=lambda: "2026-11-29T04:00:00+00:00")


def seen(state: Json) -> Json:
    """What a coder sees of a review: all but who changed what when, and what is next to undo."""
    events = [{k: v for k, v in each.items() if k not in {"revision", "by", "at"}} for each in state["events"]]
    return {"layer": state["layer"], "events": events}


def changes_for(kind: str, state: Json, draw: random.Random) -> list[Json]:
    """An edit of a kind that this review allows; an added event where there is nothing for it."""
    events = list(state["events"])
    one = draw.choice(events) if events else None
    added = [each for each in events if not each["proposals"]]
    if kind == "remove" and added:
        one = draw.choice(added)
        return [_change(one, None)]
    if one is None or kind in {"add", "remove"}:
        onset = draw.randrange(1, FRAMES - 20)
        value = {"onset_frame": onset, "offset_frame": onset + draw.randrange(20), "label": draw.choice(LABELS)}
        return [{"key": None, "after": value}]
    if kind == "move":
        return [_change(one, _moved(one, draw))]
    if kind == "relabel":
        return [_change(one, {"label": draw.choice([*LABELS, "repressed"])})]
    if kind == "split" and one["offset_frame"] > one["onset_frame"]:
        return _split(one, draw.randrange(one["onset_frame"], one["offset_frame"]))
    if kind == "merge" and len(events) > 1:
        return _merge(*draw.sample(events, 2))
    if kind in {"accept", "reject"}:
        verdict = f"{kind}ed" if one["proposals"] else "accepted"
        return [_change(one, {"verdict": verdict})]
    if kind == "units":
        return [_change(one, {"action_units": draw.sample(["AU4", "L12C", "R14B"], draw.randrange(4))})]
    if kind == "several":
        return [_change(each, _moved(each, draw)) for each in draw.sample(events, draw.randint(1, len(events)))]
    if kind == "paste":
        return [{"key": None, "after": {k: one[k] for k in ("onset_frame", "offset_frame", "label", "note")}}]
    return [_change(one, {"note": draw.choice(["", "blink?", "=1+1", "ä 😀"])})]


def _change(event: Json, after: Json | None) -> Json:
    return {"key": event["key"], "revision": event["revision"], "after": after}


def _moved(event: Json, draw: random.Random) -> Json:
    onset = min(max(event["onset_frame"] + draw.choice((-1, 1)), 1), event["offset_frame"])
    return {"onset_frame": onset, "apex_frame": None}


def _split(one: Json, last: int) -> list[Json]:
    plain = {"label": one["label"], "apex_frame": None, "verdict": "accepted"}
    parts = ((one["onset_frame"], last), (last + 1, one["offset_frame"]))
    new = [
        {"key": None, "after": plain | {"onset_frame": onset, "offset_frame": offset}, "from": [one["key"]]}
        for onset, offset in parts
    ]
    return [_change(one, None), *new]


def _merge(one: Json, other: Json) -> list[Json]:
    after = {"onset_frame": min(one["onset_frame"], other["onset_frame"]), "label": one["label"]}
    after |= {"offset_frame": max(one["offset_frame"], other["offset_frame"]), "verdict": "accepted"}
    new = {"key": None, "after": after, "from": [one["key"], other["key"]]}
    return [_change(one, None), _change(other, None), new]


def code_until_killed(folder: str, seed: int, told: Connection) -> None:
    """Edit, undo and redo without an end; what is confirmed is told, with the state that holds from then on."""
    draw = random.Random(seed)
    reviews = opened(Path(folder))
    reviews.begin("anna", "machine", by="anna", id="begin")
    told.send(("begin", seen(reviews.state("anna"))))
    for number in range(10**6):
        name = f"{seed}.{number}"
        state = reviews.state("anna")
        if draw.random() < 0.2 and state["can_undo"]:
            reviews.undo("anna", by="anna", id=name)
        elif draw.random() < 0.2 and state["can_redo"]:
            reviews.redo("anna", by="anna", id=name)
        else:
            reviews.edit("anna", changes_for(draw.choice(KINDS), state, draw), by="anna", what="edit", id=name)
        told.send((name, seen(reviews.state("anna"))))
    os._exit(1)
