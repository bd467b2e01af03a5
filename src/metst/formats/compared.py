"""Two folders of results or files of other programs in, how well their coders agree out.

A folder may hold the results of many recordings: those that both sides have are pooled.  What is one recording the
hash of its content tells, and where a file does not know that, its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metst.coding.comparing import Compared, layers_agreement
from metst.coding.handed_on import result_folders
from metst.coding.layers import MACHINE, Layer
from metst.coding.layers_folder import read_coding
from metst.errors import FAULTS_SHOWN, DataError, UsageError
from metst.formats.conversion import READERS
from metst.formats.files import Found, same_video
from metst.formats.names import ImportName
from metst.formats.tables import existing, read_csv, read_xlsx, videos_in
from metst.metrics.agreement import MATCH_IOU
from metst.timeline import TimeGrid

_BY_ENDING: dict[str, tuple[ImportName, ...]] = {
    ".csv": ("csv",),
    ".txt": ("csv",),
    ".tsv": ("tsv", "bids", "boris"),
    ".xlsx": ("xlsx",),
    ".eaf": ("elan",),
    ".textgrid": ("textgrid",),
    ".boris": ("boris",),
    ".json": ("label-studio",),
    ".vtt": ("webvtt",),
}
"""Formats that a file may have, by its ending; the first that can be read is it."""

_TABLES = {".csv", ".txt", ".tsv", ".xlsx"}
"""Endings of files that name frames, and may be of several recordings."""


@dataclass(frozen=True, eq=False)
class _Recorded:
    """The layers of one recording; content and timestamps are not known where only a file tells of it."""

    name: str
    layers: tuple[Layer, ...]
    content: str = ""
    grid: TimeGrid | None = None

    def layer(self, coder: str) -> Layer | None:
        return next((each for each in self.layers if each.coder == coder), None)


def compare(
    a: Path, b: Path, *, coder_a: str | None = None, coder_b: str | None = None, iou: float = MATCH_IOU
) -> dict[str, Any]:
    """How well a coder of one side agrees with one of the other.

    Parameters
    ----------
    a, b : Path
        Folders of results, or that hold some, or files that ``metst import`` reads.
    coder_a, coder_b : str, optional
        Whose layers; by default the only one there is, or the only one that is not the machine's.
    iou : float
        Lowest IoU at which two events are one.

    Returns
    -------
    dict
        As :func:`metst.coding.comparing.layers_agreement` gives, and ``notes`` for people.

    Raises
    ------
    UsageError
        There is no such file, folder or layer, or several layers and nobody said which.
    DataError
        A side cannot be read, or the two have no recording in common.
    """
    sides = _read_sides(a, b)
    coders = [_chosen(side, coder, path) for side, coder, path in zip(sides, (coder_a, coder_b), (a, b), strict=True)]
    pairs, notes = _paired(sides, names=(str(a), str(b)))
    both: list[Compared] = []
    for one, other in pairs:
        layers = one.layer(coders[0]), other.layer(coders[1])
        if layers[0] is None or layers[1] is None:
            notes.append(f"{one.name} is left out: there is no layer of both coders")
        else:
            both.append(Compared(layers[0], layers[1], one.grid or other.grid))
    if not both:
        raise DataError(f"no recording has a layer of both {coders[0]} in {a} and {coders[1]} in {b}")
    if any(each.grid is None for each in both):
        notes.append("no side tells how long each recording is: frames are compared up to the last one that is marked")
    return layers_agreement(both, iou=iou) | {"notes": notes}


def _read_sides(a: Path, b: Path) -> list[list[_Recorded]]:
    folders = {path: _in_folder(path) for path in (a, b) if path.is_dir()}
    sides = []
    for path, other in ((a, b), (b, a)):
        sides.append(folders[path] if path in folders else _in_file(path, beside=folders.get(other, [])))
    return sides


def _in_folder(root: Path) -> list[_Recorded]:
    codings = map(read_coding, result_folders(root))
    return [_Recorded(each.source.name, each.layers, each.source.content_hash, each.grid) for each in codings]


def _in_file(path: Path, *, beside: Sequence[_Recorded]) -> list[_Recorded]:
    """What a file tells of the recordings of the other side; or of those that it names, where that is a file, too."""
    existing(path)
    ending = path.suffix.casefold()
    if ending not in _BY_ENDING:
        raise UsageError(f"{path}: expected a folder of results, or a file {', '.join(_BY_ENDING)}")
    if not beside:
        return _in_table(path)
    if len(beside) == 1:
        return [_of(beside[0], _read(path, video=beside[0].name, grid=beside[0].grid))]
    if ending not in _TABLES:
        raise UsageError(f"{path} is of one recording, the other side has {len(beside)}: give the folder of that one")
    names = videos_in(path)
    named = [each for each in beside if any(same_video(name, each.name) for name in names)]
    if not named:
        told = ", ".join(names[:FAULTS_SHOWN]) or "none"
        raise DataError(f"{path} names no recording of the other side in a column video: it has {told}")
    return [_of(each, _read(path, video=each.name, grid=each.grid)) for each in named]


def _of(recorded: _Recorded, found: Found) -> _Recorded:
    return _Recorded(recorded.name, found.layers, recorded.content, recorded.grid)


def _in_table(path: Path) -> list[_Recorded]:
    """Recordings of a table of frames, which needs no timestamps."""
    ending = path.suffix.casefold()
    if ending not in _TABLES:
        raise DataError(
            f"{path} has times and no frames: compare it with the results of its recording, or import it first"
        )
    names = videos_in(path)
    return [_Recorded(name, _read(path, video=name, grid=None).layers) for name in names or (path.stem,)]


def _read(path: Path, *, video: str, grid: TimeGrid | None) -> Found:
    """Read a file by the first of the formats that it may have and has."""
    ending, faults = path.suffix.casefold(), []
    for name in _BY_ENDING[ending]:
        try:
            if grid is None:
                return (read_xlsx if ending == ".xlsx" else read_csv)(path, video=video, grid=None)
            return READERS[name](path, video=video, grid=grid)
        except DataError as error:
            faults.append(error)
    raise faults[0] if str(path) in str(faults[0]) else DataError(f"{path}: {faults[0]}") from faults[0]


def _chosen(side: Sequence[_Recorded], coder: str | None, path: Path) -> str:
    """Whose layers are meant."""
    there = dict.fromkeys(layer.coder for each in side for layer in each.layers)
    people = [name for name in there if name != MACHINE]
    if coder is not None:
        if coder not in there:
            raise UsageError(f"{path} has no layer of {coder!r}: it has {', '.join(there) or 'none at all'}")
        return coder
    if len(people) > 1:
        raise UsageError(f"{path} has layers of {', '.join(there)}: say whose, with --coder-a or --coder-b")
    if not there:
        raise DataError(f"{path} has no layer at all")
    return people[0] if people else MACHINE


def _paired(
    sides: Sequence[Sequence[_Recorded]], *, names: tuple[str, str]
) -> tuple[list[tuple[_Recorded, _Recorded]], list[str]]:
    """Recordings that both sides have, and notes on those that only one has."""
    one, other = sides
    if len(one) == len(other) == 1 and not (one[0].content and other[0].content):
        note = f"taken for one recording: {one[0].name} and {other[0].name}"
        return [(one[0], other[0])], [] if same_video(one[0].name, other[0].name) else [note]
    pairs = []
    free = list(other)
    for each in one:
        match = next((k for k, it in enumerate(free) if _same(each, it)), None)
        if match is not None:
            pairs.append((each, free.pop(match)))
    if not pairs:
        told = [", ".join(each.name for each in side[:FAULTS_SHOWN]) for side in sides]
        raise DataError(f"{names[0]} and {names[1]} have no recording in common: {told[0]}; {told[1]}")
    matched = {id(each) for pair in pairs for each in pair}
    alone = [each.name for side in sides for each in side if id(each) not in matched]
    return pairs, [f"left out, as only one side has them: {', '.join(alone)}"] if alone else []


def _same(one: _Recorded, other: _Recorded) -> bool:
    if one.content and other.content:
        return one.content == other.content
    return same_video(one.name, other.name)
