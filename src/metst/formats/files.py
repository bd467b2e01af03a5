"""What all readers share: a file that is small enough to read, whose video it is of, and tiers without overlap."""

from __future__ import annotations

import json
import re
import xml.parsers.expat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from metst.coding.layers import Layer, LayerEvent, one_line
from metst.errors import FAULTS_SHOWN, DataError, UsageError
from metst.guard.limits import TABLE, check_file

_UPLOAD = re.compile(r"[0-9a-f]{8}-(.+)")  # what Label Studio calls a file that was uploaded


@dataclass(frozen=True)
class Found:
    """What a file holds.

    Parameters
    ----------
    layers : tuple of Layer
        One of each coder.
    notes : tuple of str
        What people should know of how it was read.
    """

    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()


def read_bytes(path: Path) -> bytes:
    """All of a file that is no larger than a table of text may be.

    Raises
    ------
    UsageError
        There is none.
    DataError
        It is larger, or cannot be read.
    """
    check_file(path, TABLE)
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"no file {path}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def read_text(path: Path, *, expected: str) -> str:
    """The same as text in UTF-8.

    Raises
    ------
    UsageError, DataError
        As :func:`read_bytes`; also if it is no text.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no {expected}: it is not in UTF-8 ({error.reason}, byte {error.start})") from error


def read_json(path: Path, *, expected: str) -> Any:
    """The value of a JSON file.

    Raises
    ------
    UsageError, DataError
        As :func:`read_text`; also if it is no JSON.
    """
    try:
        return json.loads(read_text(path, expected=expected))
    except RecursionError as error:
        raise DataError(f"{path} is no {expected}: it is nested too deeply") from error
    except ValueError as error:
        raise DataError(f"{path} is no {expected}: it is no JSON ({error})") from error


def check_xml(path: Path, *, root: str, expected: str) -> None:
    """Refuse XML that is damaged or begins with another element, and any that declares entities, before it is parsed.

    Raises
    ------
    UsageError, DataError
        As :func:`read_bytes`; also for what is named above.
    """
    parser = xml.parsers.expat.ParserCreate()
    seen: list[str] = []

    def declared(*_: object) -> None:
        raise DataError(f"{path} has a document type declaration: no {expected} has one, and none is followed")

    parser.StartDoctypeDeclHandler = declared
    parser.StartElementHandler = lambda name, _attributes: None if seen else seen.append(name)
    try:
        parser.Parse(read_bytes(path), True)
    except (xml.parsers.expat.ExpatError, LookupError, ValueError) as error:  # also encodings that nobody knows
        raise DataError(f"{path} is no {expected}: its XML is damaged ({error})") from error
    if seen != [root]:
        raise DataError(f"{path} is no {expected}: it begins with <{seen[0]}>, expected <{root}>")


def file_name(path: str) -> str:
    """The last part of a path or address, of whatever system."""
    return PureWindowsPath(PurePosixPath(path).name).name


def same_video(named: str, video: str) -> bool:
    """Whether a file's name for its video means this one: with or without folders and ending, or as an upload."""
    names = {file_name(named)}
    names |= {match[1] for name in names if (match := _UPLOAD.fullmatch(name))}
    return not names.isdisjoint({video, PurePosixPath(video).stem})


def of_this_video(named: Iterable[str], *, video: str, path: Path) -> tuple[set[str], tuple[str, ...]]:
    """Which of the names that a file has for videos mean this one, and a note if none does and there is only one.

    Raises
    ------
    DataError
        None of several does.
    """
    names = list(dict.fromkeys(named))
    if fit := {name for name in names if same_video(name, video)}:
        return fit, ()
    if len(names) > 1:
        shown = ", ".join(file_name(name) for name in names[:FAULTS_SHOWN])
        raise DataError(f"{path.name} holds nothing of {video}: it is of {shown}")
    return set(names), tuple(
        f"{path.name} calls its video {file_name(name)}, and not {video}" for name in names if one_line(name)
    )


def without_overlap(events: Sequence[LayerEvent]) -> list[list[LayerEvent]]:
    """Events in as few groups as it takes for none to overlap with another of its group; at least one group."""
    groups: list[list[LayerEvent]] = [[]]
    for event in sorted(events, key=lambda each: (each.onset, each.offset)):
        free = next((group for group in groups if not group or group[-1].offset <= event.onset), None)
        if free is None:
            groups.append([event])
        else:
            free.append(event)
    return groups


_PARTS = ("apex", "confidence", "action units", "note")
"""What stands beside a label on tiers of their own, where a format has only labels."""
_TIER = re.compile(rf"(?P<coder>.*?)(?: \((?P<group>[2-9]|[1-9]\d+)\))?(?: / (?P<part>{'|'.join(_PARTS)}))?", re.DOTALL)
"""Name of a tier, taken apart: the coder, a number from 2 on, and the part of the events that it has."""


def tier_name(coder: str, *, group: int, part: str = "") -> str:
    """Name of a tier: of a coder, with a number where the events of one need several, and what part of them it has.

    Parameters
    ----------
    coder : str
        Of the layer.
    group : int
        Of :func:`without_overlap`, from 0.
    part : str
        Empty for the labels.
    """
    number = f" ({group + 1})" if group else ""
    return f"{coder}{number}{f' / {part}' if part else ''}"


def tier_of(name: str) -> tuple[str, int, str]:
    """Coder, group and part of a tier's name; other programs' names are taken for those of coders."""
    match = _TIER.fullmatch(name)
    assert match is not None  # the coder takes whatever there is
    return match["coder"], int(match["group"] or 1) - 1, match["part"] or ""
