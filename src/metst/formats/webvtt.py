"""WebVTT: cues that any browser and most players show over the recording.

A cue says who (a voice), the label, and below it apex, confidence, action units and note, each in a span of a class of
its own.  ``&``, ``<`` and ``>`` in texts are written as character references, so that no label ends a cue or a span.
Times are whole milliseconds: frames that last longer come back as they were.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

from metst.coding.layers import Coding, Layer, LayerEvent, action_units_of, coder_of, label_of, note_of
from metst.errors import DataError
from metst.formats.files import Found, read_text
from metst.formats.frames import MS_PER_S, FrameTimes
from metst.storage import make_folder, write_whole
from metst.timeline import MINUTE_S, TimeGrid

_EXPECTED = "WebVTT file"
"""What a file that is something else should have been, for messages."""
_CODERS = "NOTE coders:"
"""Begin of the comment that names all coders, also those who saw nothing; behind it their names with commas."""
_TIME = r"(?:\d{2,9}:)?[0-5]\d:[0-5]\d\.\d{3}"  # hours may be left out
_CUE = re.compile(rf"({_TIME})[ \t]+-->[ \t]+({_TIME})(?:[ \t].*)?")
"""First line of a cue: start and end; settings behind them are not read."""
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?[ \t]([^>]*)>")
"""Who speaks, which is the coder here."""
_SPAN = re.compile(r"<c\.(apex|confidence|units|note)>(.*?)</c>")
"""What a cue says beside its label."""
_TAG = re.compile(r"<[^>]*>")
"""Any other markup, which is dropped."""


def write_webvtt(coding: Coding, path: Path) -> None:
    """Write the layers of a recording as cues.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    times = FrameTimes(coding.grid)
    events = [(event, layer.coder) for layer in coding.layers for event in layer.events]
    events.sort(key=lambda each: times.span_ms(each[0]))
    blocks = [
        "WEBVTT",
        f"{_CODERS} " + ", ".join(_escaped(layer.coder).replace(",", "&#44;") for layer in coding.layers),
    ]
    for number, (event, coder) in enumerate(events, start=1):
        start, end = (_clock(ms) for ms in times.span_ms(event))
        said = [f"{number}", f"{start} --> {end}", f"<v {_escaped(coder)}>{_escaped(event.label)}</v>"]
        said += [" ".join(_details(event, times=times))]
        blocks.append("\n".join(filter(None, said)))
    make_folder(path.parent)
    write_whole(path, ("\n\n".join(blocks) + "\n").encode())


def _details(event: LayerEvent, *, times: FrameTimes) -> Iterator[str]:
    if event.apex is not None:
        yield f"apex <c.apex>{_clock(times.frame_span_ms(event.apex)[0])}</c>"
    if event.confidence is not None:
        yield f"confidence <c.confidence>{event.confidence!r}</c>"
    if event.action_units:
        yield f"<c.units>{' '.join(event.action_units)}</c>"
    if event.note:
        yield f"<c.note>{_escaped(event.note)}</c>"


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


def _clock(ms: int) -> str:
    seconds, ms = divmod(ms, MS_PER_S)
    minutes, seconds = divmod(seconds, MINUTE_S)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}.{ms:03}"


def _seconds(clock: str) -> float:
    *hours, minutes, seconds = clock.split(":")
    whole_minutes = int(hours[0]) * 60 + int(minutes) if hours else int(minutes)
    return whole_minutes * MINUTE_S + float(seconds)


def read_webvtt(path: Path, *, video: str, grid: TimeGrid) -> Found:  # noqa: ARG001 - it does not name its video
    """Read cues: a layer for each voice; cues without one are of a coder called like the file.

    Raises
    ------
    UsageError
        There is no such file.
    DataError
        It is no such file, or not one of this recording.
    """
    text = read_text(path, expected=_EXPECTED).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    if not re.match(r"WEBVTT(?:[ \t\n]|\Z)", text):
        raise DataError(f"{path} is no {_EXPECTED}: it does not begin with WEBVTT")
    times = FrameTimes(grid)
    events: dict[str, list[LayerEvent]] = {}
    for block in re.split(r"\n{2,}", text)[1:]:
        if block.startswith(_CODERS):
            events |= {
                coder_of(html.unescape(name)): [] for name in block.removeprefix(_CODERS).split(",") if name.strip()
            }
        lines = block.strip("\n").split("\n")
        at = next((k for k, line in enumerate(lines[:2]) if "-->" in line), None)
        if at is None:
            continue  # a comment, style or region
        what = f"{path}, cue {lines[at]}"
        match = _CUE.fullmatch(lines[at].strip())
        if match is None:
            raise DataError(f"{what}: expected two times such as 00:01:02.345 --> 00:01:02.678")
        try:
            coder, event = _event("\n".join(lines[at + 1 :]), match=match, times=times, what=what)
        except ValueError as error:
            raise DataError(f"{what}: {error}") from error
        events.setdefault(coder or coder_of(path.stem), []).append(event)
    layers = tuple(Layer(coder, tuple(own)) for coder, own in events.items())
    return Found(layers if layers or _CODERS in text else (Layer(coder_of(path.stem)),))


def _event(payload: str, *, match: re.Match[str], times: FrameTimes, what: str) -> tuple[str, LayerEvent]:
    voice = _VOICE.search(payload)
    said = {name: html.unescape(_TAG.sub("", text)) for name, text in _SPAN.findall(payload)}
    first = payload.split("\n")[0] if said else payload
    onset, offset = times.frames(_seconds(match[1]), _seconds(match[2]), what=what)
    apex, confidence = said.get("apex"), said.get("confidence")
    return coder_of(html.unescape(voice[1])) if voice else "", LayerEvent(
        onset,
        offset,
        label_of(html.unescape(_TAG.sub("", first))),
        apex=times.frame_in(_seconds(apex), onset=onset, offset=offset) if apex else None,
        confidence=float(confidence) if confidence else None,
        note=note_of(said.get("note", "")),
        action_units=action_units_of(said.get("units", "")),
    )
