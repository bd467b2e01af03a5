"""Submissions to the Micro-Expression Grand Challenge: one CSV file per part of the test set.

Columns ``subject,video,onset,offset,emotion``; frames count from 1 and both ends are included; names are compared as
text, so they are kept as they are, zeros in front included.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metst.coding.layers import Layer, LayerEvent, coder_of, label_of
from metst.coding.layers_folder import has_layers_only, read_coding
from metst.errors import DataError, UsageError
from metst.formats.files import Found
from metst.formats.frames import FrameTimes
from metst.formats.tables import events_of_video, existing, named_rows, whole
from metst.results import Analysis, read_analysis
from metst.spelling.delimited import plain_name, read_text_table
from metst.spelling.formulas import as_meant
from metst.spelling.names import check_name, given_name
from metst.storage import csv_bytes, make_folder, write_whole
from metst.timeline import TimeGrid, frames_for_people

Part = Literal["cas", "samm"]

# File of each part and its columns, as the challenge wants them.
FILES: dict[Part, str] = {"cas": "cas_pred.csv", "samm": "samm_pred.csv"}
COLUMNS = ("subject", "video", "onset", "offset", "emotion")

NAMES_COLUMNS = ("input", "subject", "video")
"""Columns of the list that says which recording is which."""

# Classes that are left out: the first when that is asked for, the second always.
_OTHERS = "others"
_NO_EMOTION = "neutral"

Name = tuple[str, str]
"""Subject and video."""


@dataclass(frozen=True)
class Submission:
    """What was written.

    Parameters
    ----------
    path : Path
        The file.
    names : tuple of (str, str)
        Subject and video of each result, in the order given.
    rows : int
        Intervals written.
    left_out : int
        Intervals of class others (if asked for) or neutral.
    """

    path: Path
    names: tuple[Name, ...]
    rows: int
    left_out: int


def submission_path(output: str | Path, *, part: Part | None) -> Path:
    """File to write: in the folder ``output`` under the name of the part, or ``output`` itself.

    Raises
    ------
    UsageError
        If no part is given and ``output`` is no CSV file name.
    """
    output = Path(output)
    if part is not None:
        return output / FILES[part]
    if output.suffix.lower() != ".csv" or output.is_dir():
        raise UsageError(f"{output} is no name of a CSV file: give one, or say with --data-set cas|samm which it is")
    return output


def name_results(folders: Sequence[Path], *, names: str | Path | None = None) -> tuple[Name, ...]:
    """Subject and video of each result folder.

    Parameters
    ----------
    folders : sequence of Path
        Result folders of ``metst analyze``.
    names : path, optional
        CSV file with the columns ``input, subject, video``; ``input`` is a folder as given, or its name.  By default
        a folder is called like its video, and the subject is what stands before the first ``_`` of that name.

    Raises
    ------
    UsageError
        If there is no such table, if a folder has no name in it, or if two have the same.
    DataError
        If the table cannot be read, lacks a column or has empty cells.
    """
    listed = {} if names is None else _listed(names)
    found = [_name(folder, listed=listed, names=names) for folder in folders]
    twice = {"/".join(name) for name in found if found.count(name) > 1}
    if twice:
        raise UsageError(f"several results are of the same video ({', '.join(sorted(twice))}): give each video once")
    return tuple(found)


def _listed(names: str | Path) -> dict[str, Name]:
    rows = _read_names(Path(names))
    listed: dict[str, Name] = {}
    for key, subject, video in rows:
        if listed.setdefault(key, (subject, video)) != (subject, video):
            raise UsageError(f"{names} names {key} twice: expected one subject and video for each input")
    return listed


def _read_names(path: Path) -> list[tuple[str, str, str]]:
    expected = f"a CSV table in UTF-8 with the columns {', '.join(NAMES_COLUMNS)}"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            header = reader.fieldnames or ()
            rows = [
                (reader.line_num, [as_meant(row.get(name) or "").strip() for name in NAMES_COLUMNS]) for row in reader
            ]
    except FileNotFoundError as error:
        raise UsageError(f"no file {path}: expected {expected}") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}): expected {expected}") from error
    if missing := [name for name in NAMES_COLUMNS if name not in header]:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}: expected {expected}")
    empty = [
        f"row {at}, column {name}"
        for at, row in rows
        for name, cell in zip(NAMES_COLUMNS, row, strict=True)
        if not cell
    ]
    if empty:
        raise DataError(f"{path} has empty cells ({'; '.join(empty[:10])}): expected a name in each")
    return [(key, subject, video) for _, (key, subject, video) in rows]


def _name(folder: Path, *, listed: Mapping[str, Name], names: str | Path | None) -> Name:
    check_name(folder)
    video = given_name(folder)
    if names is not None:
        found = next((listed[key] for key in (str(folder), str(folder.resolve()), video) if key in listed), None)
        if found is None:
            raise UsageError(f"{names} does not name {folder}: expected a row with this input or with {video}")
        return found
    subject, separator, _ = video.partition("_")
    if not subject or not separator:
        raise UsageError(
            f"the name of the result folder {folder} does not tell its subject: expected one like 006_1 (subject 006,"
            " video 006_1), or a table with the columns input, subject, video given with --names"
        )
    return subject, video


def read_submitted(folder: Path, *, check: bool = True) -> Analysis | Layer:
    """What a folder of results has to submit: the analysis, or the layer of one coder where there is none.

    Parameters
    ----------
    folder : Path
        Of ``metst analyze`` or ``metst import``.
    check : bool
        Refuse tables that are not those that were written.

    Raises
    ------
    UsageError
        There is no analysis, and layers of several coders.
    DataError
        The folder holds no results that can be read.
    """
    if not has_layers_only(folder):
        return read_analysis(folder, check=check)
    layers = read_coding(folder, check=check).layers
    if len(layers) != 1:
        coders = ", ".join(layer.coder for layer in layers)
        raise UsageError(
            f"{folder} holds layers of {coders}: import the one that is to be submitted into a folder alone"
        )
    return layers[0]


def _intervals(found: Analysis | Layer) -> list[tuple[int, int, str]]:
    """First and last frame, counted from 1, and class of each event."""
    if isinstance(found, Layer):
        return [(*event.for_people[:2], event.label) for event in found.events]
    first, last = frames_for_people(found.events.onset, found.events.offset)
    return list(zip(first, last, found.events.label, strict=True))


def write_submission(
    analyses: Sequence[tuple[Name, Analysis | Layer]], path: Path, *, drop_others: bool = False, overwrite: bool = False
) -> Submission:
    """Write the movement candidates of several videos as one submission, whole or not at all.

    Parameters
    ----------
    analyses : sequence of ((str, str), Analysis or Layer)
        Subject, video, and what was found in it, or what a coder saw.
    path : Path
        The file; its folder is made as needed.
    drop_others : bool
        Leave out intervals of class ``others``, which the challenge does not score.
    overwrite : bool
        Replace a file that is there.

    Raises
    ------
    UsageError
        If the file is there already.
    OutputError
        If it cannot be written.
    """
    if path.is_dir() or (path.exists() and not overwrite):
        raise UsageError(f"{path} is there already: give another file, or ask to overwrite it")
    dropped = {_NO_EMOTION, _OTHERS} if drop_others else {_NO_EMOTION}
    rows: list[tuple[str | int, ...]] = []
    total = 0
    for name, analysis in analyses:
        found = _intervals(analysis)
        total += len(found)
        rows += [(*name, *row) for row in found if row[2] not in dropped]
    make_folder(path.parent)
    write_whole(path, csv_bytes(COLUMNS, rows))
    return Submission(path, tuple(name for name, _ in analyses), len(rows), total - len(rows))


def read_submission(path: Path, *, video: str, grid: TimeGrid) -> Found:
    """Read the intervals of one recording in a submission, or a table of truth with the same columns, as a layer.

    Raises
    ------
    UsageError
        There is no such file.
    DataError
        It is no such table, or holds nothing of this recording.
    """
    existing(path)
    rows = read_text_table(path, columns=COLUMNS, numbers=("onset", "offset")).rows
    named = named_rows(rows, columns=COLUMNS, path=path)
    if missing := {*COLUMNS} - {plain_name(name) for name in rows[0][1]}:
        raise DataError(f"{path} is no submission: it lacks the columns {', '.join(sorted(missing))}")
    coder, times = coder_of(path.stem), FrameTimes(grid)

    def coded(row: Mapping[str, str], what: str) -> tuple[str, LayerEvent]:
        onset, offset, _ = times.numbered(whole(row["onset"]), whole(row["offset"]), what=what)
        return coder, LayerEvent(onset, offset, label_of(row["emotion"]))

    events, notes = events_of_video(named, column="video", video=video, path=path, coded=coded)
    return Found((Layer(coder, tuple(event for _, event in events)),), notes)
