"""TextGrid files of Praat, written by praatio.

One interval tier of labels per coder, a point tier for the apex, and interval tiers for confidence, action units and
note, called ``anna``, ``anna / apex``, ``anna / note``...  Intervals of a tier cannot overlap: where events of one
coder do, there are second tiers, ``anna (2)``...  Times have all digits: frames come back as they were.

They are read here, by Praat's own rule that only numbers, quoted texts and flags that stand free mean something:
praatio takes minus signs off, stops at damage without a word, and takes a label such as ``item [2]`` for a tier.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from metst.coding.layers import Coding, Layer, LayerEvent, action_units_of, coder_of, label_of, note_of
from metst.errors import DataError, OutputError
from metst.formats.files import Found, read_bytes, tier_name, tier_of, without_overlap
from metst.formats.frames import FrameTimes
from metst.storage import make_folder, remedy, whole_file
from metst.timeline import TimeGrid

_EXPECTED = "TextGrid of Praat"
"""What a file that is something else should have been, for messages."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
"""What a file in UTF-16 starts with, as Praat writes it where a label has other letters than Latin ones."""
_SHOWN = 40
"""Letters of a file that a message shows, at most; set by hand."""
_TOKEN = re.compile(
    r'"(?P<text>(?:[^"]|"")*)"|(?<!\S)(?P<number>[+-]?\d+\.?\d*(?:[eE][+-]?\d+)?)%?(?!\S)|<(?P<flag>\w+)>|!.*'
)
"""What means something in a text file of Praat, and the comments that may hold what only looks so."""
_SAID: dict[str, Callable[[LayerEvent], str]] = {
    "confidence": lambda event: "" if event.confidence is None else repr(event.confidence),
    "action units": lambda event: " ".join(event.action_units),
    "note": lambda event: event.note,
}
"""What interval tiers beside the labels say of an event; empty where nobody did."""


def write_textgrid(coding: Coding, path: Path) -> None:
    """Write the layers of a recording as a TextGrid in the long format.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    from praatio.data_classes.interval_tier import IntervalTier
    from praatio.data_classes.point_tier import PointTier
    from praatio.data_classes.textgrid import Textgrid

    times = FrameTimes(coding.grid)
    start_s, end_s = min(float(times.edges_s[0]), 0.0), float(times.edges_s[-1])
    grid = Textgrid(start_s, end_s)
    for layer in coding.layers:
        for group, events in enumerate(without_overlap(layer.events)):
            labels = [(*times.span_s(event), event.label) for event in events]
            grid.addTier(IntervalTier(tier_name(layer.coder, group=group), labels, start_s, end_s))
            points = [(float(times.edges_s[event.apex]), "apex") for event in events if event.apex is not None]
            if points:
                grid.addTier(PointTier(tier_name(layer.coder, group=group, part="apex"), points, start_s, end_s))
            for part, said in _SAID.items():
                entries = [(*times.span_s(event), said(event)) for event in events if said(event)]
                if entries:
                    name = tier_name(layer.coder, group=group, part=part)
                    grid.addTier(IntervalTier(name, entries, start_s, end_s))
    make_folder(path.parent)
    with whole_file(path) as new:
        try:  # none is too short: an interval may be a single frame
            grid.save(str(new), "long_textgrid", includeBlankSpaces=True, minimumIntervalLength=None)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {remedy(error)}") from error


def read_textgrid(path: Path, *, video: str, grid: TimeGrid) -> Found:  # noqa: ARG001 - it does not name its video
    """Read the tiers of a TextGrid: each that is not called like one beside another is a coder's layer.

    Points of other programs are events of one frame.

    Raises
    ------
    UsageError
        There is no such file.
    DataError
        It is no TextGrid, or not one of this recording.
    """
    data = read_bytes(path)
    try:
        text = data.decode("utf-16" if data[:2] in _UTF16 else "utf-8-sig")
        tiers = _tiers_in(text)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no {_EXPECTED}: it is neither in UTF-8 nor in UTF-16 ({error.reason})") from error
    except DataError as error:
        raise DataError(f"{path} is no {_EXPECTED}: {error}") from error
    try:
        return Found(_layers(tiers, times=FrameTimes(grid)))
    except (DataError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error


@dataclass(frozen=True)
class _Tier:
    """Start, end and text of each interval; of a point, start and end are the same."""

    name: str
    points: bool
    entries: tuple[tuple[float, float, str], ...]


class _Tokens:
    """Numbers, texts and flags of a file, one after the other."""

    def __init__(self, text: str):
        self._matches = _TOKEN.finditer(text)

    def next(self, kind: str) -> str:
        """The next one, which must be of this kind: text, number or flag."""
        match = next((match for match in self._matches if match.lastgroup), None)
        if match is None or match.lastgroup != kind:
            got = "the end of the file" if match is None else repr(match[0][:_SHOWN])
            raise DataError(f"it is damaged: expected a {kind}, got {got}")
        return match[kind].replace('""', '"') if kind == "text" else match[kind]

    def number(self) -> float:
        """The next one, a number."""
        number = float(self.next("number"))
        if not math.isfinite(number):
            raise DataError("it is damaged: a number is infinite")
        return number


def _tiers_in(text: str) -> list[_Tier]:
    tokens = _Tokens(text)
    head = [tokens.next("text"), tokens.next("text")]
    if not head[0].startswith("ooTextFile") or head[1] != "TextGrid":
        raise DataError(f"it holds {' '.join(head)[:_SHOWN]!r}")
    tokens.number(), tokens.number()
    if tokens.next("flag") != "exists":
        return []
    return [_tier_in(tokens) for _ in range(int(tokens.number()))]


def _tier_in(tokens: _Tokens) -> _Tier:
    kind, name = tokens.next("text"), tokens.next("text")
    if kind not in {"IntervalTier", "TextTier"}:
        raise DataError(f"it has a tier of kind {kind[:_SHOWN]!r}: expected IntervalTier or TextTier")
    tokens.number(), tokens.number()
    entries = []
    for _ in range(int(tokens.number())):
        start_s = tokens.number()
        end_s = tokens.number() if kind == "IntervalTier" else start_s
        entries.append((start_s, end_s, tokens.next("text")))
    filled = tuple(entry for entry in entries if entry[2].strip() or kind != "IntervalTier")
    return _Tier(name, kind != "IntervalTier", filled)


def _layers(tiers: list[_Tier], *, times: FrameTimes) -> tuple[Layer, ...]:
    labels, beside = [], defaultdict(list)
    names = {tier.name for tier in tiers}
    for tier in tiers:
        coder, group, part = tier_of(tier.name)
        above = tier_name(coder, group=group)
        if part and above in names:
            beside[above].append((part, tier))
        else:
            labels.append((coder_of(tier.name if part else coder), tier))
    events: dict[str, list[LayerEvent]] = {}
    for coder, tier in labels:
        events.setdefault(coder, []).extend(_events(tier, beside=beside[tier.name], times=times))
    return tuple(Layer(coder, tuple(own)) for coder, own in events.items())


def _events(tier: _Tier, *, beside: list[tuple[str, _Tier]], times: FrameTimes) -> Iterator[LayerEvent]:
    """The events of a tier of labels, with what tiers beside it say of each at its time."""
    spans = sorted(tier.entries)
    begins = [start_s for start_s, _, _ in spans]
    said: dict[int, dict[str, str]] = defaultdict(dict)
    apexes: dict[int, float] = {}
    for part, other in beside:
        for at_s, _, text in other.entries:
            at = bisect_right(begins, at_s) - 1
            if at < 0 or at_s >= spans[at][1]:
                continue
            if part == "apex":
                apexes[at] = at_s
            else:
                said[at][part] = text
    for at, (start_s, end_s, label) in enumerate(spans):
        onset, offset = times.frames(start_s, end_s, what=f"tier {tier.name}, {label!r}")
        confidence = said[at].get("confidence")
        yield LayerEvent(
            onset,
            offset,
            label_of(label),
            apex=times.frame_in(apexes[at], onset=onset, offset=offset) if at in apexes else None,
            confidence=None if confidence is None else float(confidence),
            note=note_of(said[at].get("note", "")),
            action_units=action_units_of(said[at].get("action units", "")),
        )
