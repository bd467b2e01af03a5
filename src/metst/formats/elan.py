"""ELAN annotation files (``.eaf``, format 3.0), through pympi.

One tier of labels per coder, with a controlled vocabulary, and below it tiers for the apex (a frame in the event) and
for confidence, action units and note (one of each per event).  Where events of one coder overlap, which a tier cannot
hold, there is a second tier.  Times are whole milliseconds: frames that last longer come back as they were.
"""

from __future__ import annotations

import mimetypes
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from metst.coding.layers import Coding, Layer, LayerEvent, action_units_of, coder_of, label_of, layers_of, note_of
from metst.errors import DataError
from metst.formats.files import Found, check_xml, of_this_video, same_video, tier_name, tier_of, without_overlap
from metst.formats.frames import MS_PER_S, FrameTimes
from metst.storage import make_folder, write_whole
from metst.timeline import TimeGrid

if TYPE_CHECKING:
    from pympi.Elan import Eaf

_FORMAT = "3.0"
"""Version of the format: attributes FORMAT and VERSION."""
_SCHEMA = f"http://www.mpi.nl/tools/elan/EAFv{_FORMAT}.xsd"
"""Name of its schema; nothing is loaded from there."""
_EXPECTED = "annotation file of ELAN (.eaf)"
"""What a file that is something else should have been, for messages."""
_VOCABULARY = "labels"
"""The controlled vocabulary, and the type of tiers whose labels are of it."""
_LANGUAGE = ("und", "http://cdb.iso.org/lg/CDB-00130975-001", "undetermined (und)")
"""What ELAN itself writes for words of no certain language."""
_ASSOCIATED = "Symbolic_Association"
"""Constraint of tiers that say one thing about each annotation above them."""
_KINDS = {"apex": "Included_In", "confidence": _ASSOCIATED, "action units": _ASSOCIATED, "note": _ASSOCIATED}
"""Types of the tiers below, and their constraints."""
_VIDEO = "video/*"
"""Kind of the medium where its ending does not tell."""


def write_elan(coding: Coding, path: Path) -> None:
    """Write the layers of a recording as an annotation file.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    from pympi.Elan import to_adocument

    eaf = _empty(coding)
    times = FrameTimes(coding.grid)
    for layer in coding.layers:
        for group, events in enumerate(without_overlap(layer.events)):
            _add_tiers(eaf, layer.coder, group=group, events=events, times=times)
    _order_times(eaf)
    eaf.properties = [("lastUsedAnnotationId", eaf.maxaid)]
    make_folder(path.parent)
    write_whole(path, ElementTree.tostring(to_adocument(eaf), encoding="UTF-8", xml_declaration=True))


def _empty(coding: Coding) -> Eaf:
    """A document with types, vocabulary and the recording's name, and without tiers."""
    from pympi.Elan import Eaf

    eaf = Eaf(author="metst")
    eaf.adocument |= {"DATE": coding.created, "VERSION": _FORMAT, "FORMAT": _FORMAT}
    eaf.adocument["xsi:noNamespaceSchemaLocation"] = _SCHEMA
    eaf.header = {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"}
    eaf.remove_tier("default")
    eaf.remove_linguistic_type("default-lt")
    name = quote(coding.source.name)
    kind = mimetypes.guess_type(coding.source.name)[0] or _VIDEO
    eaf.add_linked_file(name, relpath=f"./{name}", mimetype=kind)
    eaf.add_language(*_LANGUAGE)
    eaf.add_controlled_vocabulary(_VOCABULARY)
    for number, label in enumerate(coding.vocabulary):
        eaf.add_cv_entry(_VOCABULARY, f"cve{number}", [(label, _LANGUAGE[0], None)])
    eaf.add_linguistic_type(_VOCABULARY)
    eaf.linguistic_types[_VOCABULARY]["CONTROLLED_VOCABULARY_REF"] = _VOCABULARY
    for kind, constraint in _KINDS.items():
        eaf.add_linguistic_type(kind, constraints=constraint, timealignable=constraint != _ASSOCIATED)
    return eaf


def _add_tiers(eaf: Eaf, coder: str, *, group: int, events: list[LayerEvent], times: FrameTimes) -> None:
    """The tier of labels of events that do not overlap, and those below it."""
    above = tier_name(coder, group=group)
    eaf.add_tier(above, ling=_VOCABULARY, ann=coder)
    for kind in _KINDS:
        eaf.add_tier(tier_name(coder, group=group, part=kind), ling=kind, parent=above, ann=coder)
    for event in events:
        eaf.add_annotation(above, *times.span_ms(event), value=event.label)
        number = f"a{eaf.maxaid}"
        if event.apex is not None:
            eaf.add_annotation(tier_name(coder, group=group, part="apex"), *times.frame_span_ms(event.apex), "apex")
        said = {
            "confidence": "" if event.confidence is None else repr(event.confidence),
            "action units": " ".join(event.action_units),
            "note": event.note,
        }
        for kind, value in said.items():
            if value:
                _refer(eaf, tier_name(coder, group=group, part=kind), to=number, value=value)


def _refer(eaf: Eaf, tier: str, *, to: str, value: str) -> None:
    """An annotation of another one: pympi finds that by its time, and in long files never comes to an end."""
    number = eaf.generate_annotation_id()
    eaf.annotations[number] = tier
    eaf.tiers[tier][1][number] = (to, value, None, None)


def _order_times(eaf: Eaf) -> None:
    """Number the points in time as they follow one another, as ELAN does."""
    in_order = sorted(eaf.timeslots, key=lambda slot: eaf.timeslots[slot])
    numbers = {slot: f"ts{number}" for number, slot in enumerate(in_order, start=1)}
    eaf.timeslots = {numbers[slot]: eaf.timeslots[slot] for slot in in_order}
    for aligned, *_ in eaf.tiers.values():
        aligned |= {name: (numbers[start], numbers[end], *rest) for name, (start, end, *rest) in aligned.items()}


def read_elan(path: Path, *, video: str, grid: TimeGrid) -> Found:
    """Read the annotations of a file: each tier that is not below another is a coder's layer.

    Parameters
    ----------
    path : Path
        The file.
    video : str
        Name of the recording.
    grid : TimeGrid
        Timestamps of its frames.

    Raises
    ------
    UsageError
        There is no such file.
    DataError
        It is no annotation file, or not one of this recording.
    """
    from pympi.Elan import Eaf

    check_xml(path, root="ANNOTATION_DOCUMENT", expected=_EXPECTED)
    try:
        eaf = Eaf(str(path.absolute()), suppress_version_warning=True)
        if eaf.header.get("TIME_UNITS", "milliseconds") != "milliseconds":
            raise DataError(f"{path} counts {eaf.header['TIME_UNITS']}: expected milliseconds; save it in ELAN anew")
        medium, origin_ms = _medium(eaf, video=video)
        tiers = {name: tier for name, tier in eaf.tiers.items() if not tier[2].get("PARENT_REF")}
        below = _below(eaf)
        clock = _Clock(FrameTimes(grid), eaf.timeslots, origin_ms)
        events = [
            (_coder(name, tier[2]), _event(annotation, below=below.get(number, {}), clock=clock, tier=name))
            for name, tier in tiers.items()
            for number, annotation in tier[0].items()
        ]
        coders = [_coder(name, tier[2]) for name, tier in tiers.items()]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # in a damaged file each element may break the reader at another place
        raise DataError(f"{path} is no {_EXPECTED}: an element is not as it should be ({error!r})") from error
    notes = of_this_video([medium] if medium else [], video=video, path=path)[1]
    return Found(_with_empty(layers_of(events), coders=coders), (*notes, *_left_out(eaf, path=path)))


def _medium(eaf: Eaf, *, video: str) -> tuple[str, int]:
    """Name of the medium that this recording is, or of the first one; and by how much its times are later, ms."""
    named = [(unquote(each.get("RELATIVE_MEDIA_URL") or each["MEDIA_URL"]), each) for each in eaf.media_descriptors]
    fitting = [(name, each) for name, each in named if same_video(name, video)]
    return next(((name, int(each.get("TIME_ORIGIN") or 0)) for name, each in fitting or named), ("", 0))


@dataclass(frozen=True)
class _Clock:
    """Points in time of a file, and the frames of the recording; its times are later by ``origin_ms``."""

    times: FrameTimes
    slots: dict[str, int | None]
    origin_ms: int

    def frames(self, start: str, end: str, *, what: str) -> tuple[int, int]:
        """Frames between two points in time."""
        first, after = self.slots[start], self.slots[end]
        if first is None or after is None:
            raise DataError(f"{what}: it has no time; align it in ELAN first")
        return self.times.frames(self._seconds(first), self._seconds(after), what=what)

    def frame_in(self, ms: int, *, onset: int, offset: int) -> int:
        """The frame of an event that begins nearest to a time."""
        return self.times.frame_in(self._seconds(ms), onset=onset, offset=offset)

    def _seconds(self, ms: int) -> float:
        return (ms + self.origin_ms) / MS_PER_S


def _coder(name: str, attributes: dict[str, str]) -> str:
    """Whose a tier is: this product's own say it as the annotator, other tiers are called after something."""
    coder = attributes.get("ANNOTATOR") or ""
    return coder if coder and coder == tier_of(name)[0] else coder_of(name)


def _with_empty(layers: tuple[Layer, ...], *, coders: list[str]) -> tuple[Layer, ...]:
    """One layer for each coder, in this order: who saw nothing has one as well."""
    events = {layer.coder: layer.events for layer in layers}
    return tuple(Layer(coder, events.get(coder, ())) for coder in dict.fromkeys(coders))


def _below(eaf: Eaf) -> dict[str, dict[str, Any]]:
    """By annotation, what the tiers below say of it: a text each, and for the apex the time at which it begins, ms."""
    found: dict[str, dict[str, Any]] = {}
    for aligned, referring, attributes, _ in eaf.tiers.values():
        kind, parent = attributes["LINGUISTIC_TYPE_REF"], attributes.get("PARENT_REF")
        if parent is None or kind not in _KINDS:
            continue
        for to, value, _, _ in referring.values():
            found.setdefault(to, {})[kind] = value
        spans = sorted(
            (eaf.timeslots[start], eaf.timeslots[end], number)
            for number, (start, end, _, _) in eaf.tiers[parent][0].items()
        )
        for at in (eaf.timeslots[start] for start, _, _, _ in aligned.values()):
            first, after, number = spans[bisect_right(spans, at, key=lambda span: span[0]) - 1]
            if first <= at < after:
                found.setdefault(number, {})[kind] = at
    return found


def _event(annotation: Any, *, below: dict[str, Any], clock: _Clock, tier: str) -> LayerEvent:
    start, end, value, _ = annotation
    onset, offset = clock.frames(start, end, what=f"tier {tier}, annotation {value!r}")
    apex = below.get("apex")
    confidence = below.get("confidence")
    return LayerEvent(
        onset,
        offset,
        label_of(value),
        apex=None if apex is None else clock.frame_in(apex, onset=onset, offset=offset),
        confidence=None if confidence is None else float(confidence),
        note=note_of(below.get("note", "")),
        action_units=action_units_of(below.get("action units", "")),
    )


def _left_out(eaf: Eaf, *, path: Path) -> tuple[str, ...]:
    """A note on the tiers that were not read."""
    names = [
        name
        for name, (_, _, attributes, _) in eaf.tiers.items()
        if attributes.get("PARENT_REF") and attributes["LINGUISTIC_TYPE_REF"] not in _KINDS
    ]
    return (f"{path.name}: tiers below others are left out: {', '.join(names)}",) if names else ()
