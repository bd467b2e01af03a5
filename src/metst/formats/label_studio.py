"""Label Studio: tasks in JSON with labels on the timeline of a video, as it imports and exports them.

One task per recording; what coders saw are annotations, what the machine found is a prediction.  Regions are frames
that count from 1, both ends included.  The label of a region is of the control ``label``; ``coder`` (a text of the
whole annotation), ``apex`` (a region of one frame below the other), ``confidence`` and ``action_units`` (of a region)
are controls of their own, and the note is the region's.  Frames come back as they were.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from metst.coding.layers import MACHINE, Coding, Layer, LayerEvent, action_units_of, coder_of, label_of, note_of
from metst.errors import DataError
from metst.formats.files import Found, of_this_video, read_json, same_video
from metst.formats.frames import FrameTimes
from metst.formats.tables import whole
from metst.storage import make_folder, write_whole
from metst.timeline import TimeGrid

_EXPECTED = "export of Label Studio (JSON, not JSON-MIN)"
"""What a file that is something else should have been, for messages."""
_VIDEO = "video"
"""Key of a task's data with the recording, and name of the control that shows it."""
_TIMELINE = "timelinelabels"
"""Kind of regions on the timeline, and key of their labels."""


def write_label_studio(coding: Coding, path: Path) -> None:
    """Write the layers of a recording as a task.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    annotations, predictions = [], []
    for number, layer in enumerate(coding.layers):
        result = list(_result(layer, number=number))
        if layer.coder == MACHINE:
            predictions.append({"model_version": MACHINE, "result": result})
        else:
            coder = _control("coder", "textarea", {"text": [layer.coder]}, number=f"{number}-coder")
            annotations.append({"result": [coder, *result]})
    task = {"data": {_VIDEO: coding.source.name}, "annotations": annotations, "predictions": predictions}
    make_folder(path.parent)
    write_whole(path, f"{json.dumps([task], indent=2, ensure_ascii=False)}\n".encode())


def _control(name: str, kind: str, value: dict[str, Any], *, number: str) -> dict[str, Any]:
    return {"id": number, "from_name": name, "to_name": _VIDEO, "type": kind, "origin": "manual", "value": value}


def _result(layer: Layer, *, number: int) -> Iterator[dict[str, Any]]:
    for k, event in enumerate(layer.events):
        own = f"{number}-{k}"
        first, last, apex = event.for_people
        ranges = [{"start": first, "end": last}]
        region = _control("label", _TIMELINE, {"ranges": ranges, _TIMELINE: [event.label]}, number=own)
        if event.note:
            region["meta"] = {"text": [event.note]}
        if event.confidence is not None:
            region["score"] = event.confidence
        yield region
        if event.confidence is not None:
            yield _control("confidence", "number", {"ranges": ranges, "number": event.confidence}, number=own)
        if event.action_units:
            yield _control("action_units", "textarea", {"ranges": ranges, "text": [*event.action_units]}, number=own)
        if apex is not None:
            value = {"ranges": [{"start": apex, "end": apex}], _TIMELINE: ["apex"]}
            yield _control("apex", _TIMELINE, value, number=f"{own}-apex") | {"parentID": own}


def read_label_studio(path: Path, *, video: str, grid: TimeGrid) -> Found:
    """Read the tasks of this recording: a layer for each annotator, and one for each model that predicted.

    Annotations that were cancelled, and regions that are none of a timeline, are left out.

    Raises
    ------
    UsageError
        There is no such file.
    DataError
        It is no such file, or holds nothing of this recording.
    """
    tasks = read_json(path, expected=_EXPECTED)
    tasks = [tasks] if isinstance(tasks, dict) else tasks
    try:
        named = [(_recording(task["data"], video=video), task) for task in tasks]
        names, notes = of_this_video((name for name, _ in named), video=video, path=path)
        times = FrameTimes(grid)
        events: dict[str, list[LayerEvent]] = {}
        for coder, result in (each for name, task in named if name in names for each in _codings(task)):
            events.setdefault(coder, []).extend(_events(result, times=times, what=f"{path}, {coder}"))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise DataError(f"{path} is no {_EXPECTED}: something is not as it should be ({error!r})") from error
    return Found(tuple(Layer(coder, tuple(own)) for coder, own in events.items()), notes)


def _recording(data: dict[str, Any], *, video: str) -> str:
    """The recording that a task is of: whatever its key is called, a text that means this one wins."""
    texts = [unquote(text) for text in data.values() if isinstance(text, str)]
    fitting = (text for text in texts if same_video(text, video))
    return next(fitting, unquote(str(data[_VIDEO])) if _VIDEO in data else texts[0])


def _codings(task: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Who coded, and the regions and other values."""
    for number, each in enumerate(task.get("annotations", []), start=1):
        if each.get("was_cancelled"):
            continue
        said = [item["value"]["text"][0] for item in each["result"] if item.get("from_name") == "coder"]
        by = each.get("completed_by")
        by = by.get("email") or by.get("id") if isinstance(by, dict) else by
        yield coder_of(said[0] if said else f"annotator {by or number}"), each["result"]
    for each in task.get("predictions", []):
        yield coder_of(each.get("model_version") or "model"), each["result"]


def _events(result: Iterable[dict[str, Any]], *, times: FrameTimes, what: str) -> Iterator[LayerEvent]:
    regions, said, apexes = [], defaultdict(dict), {}  # type: ignore[var-annotated]
    for item in result:
        name, kind, value = item.get("from_name"), item["type"], item["value"]
        if kind == _TIMELINE and name == "apex" and "parentID" in item:
            apexes[item["parentID"]] = value["ranges"][0]["start"]
        elif kind == _TIMELINE:
            regions.append(item)
        else:
            said[item.get("id")][name] = value
    for region in regions:
        own, value = said[region.get("id")], region["value"]
        confidence = own.get("confidence", {}).get("number", region.get("score"))
        peak = apexes.get(region.get("id"))
        for span in value["ranges"]:
            numbers = whole(span["start"]), whole(span["end"]), None if peak is None else whole(peak)
            onset, offset, apex = times.numbered(*numbers, what=what)
            for label in value.get(_TIMELINE) or [""]:
                yield LayerEvent(
                    onset,
                    offset,
                    label_of(label),
                    apex=apex,
                    confidence=None if confidence is None else float(confidence),
                    note=note_of(" ".join(region.get("meta", {}).get("text", []))),
                    action_units=action_units_of(" ".join(own.get("action_units", {}).get("text", []))),
                )
