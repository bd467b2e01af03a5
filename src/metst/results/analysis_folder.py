"""The folder of one analysis: one whole, which is there when ``analysis.json`` is.

That file is written last and holds the hash of each of the others, and one of its own values.  Whoever reads the folder
checks them: no half of one analysis beside half of another, no bit that changed, is taken for what was found.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metst.arrays import Float32Array
from metst.errors import DataError, OutputError, UsageError
from metst.results.analysis import Analysis, Custody, Gap, Source
from metst.results.figures import FIGURES_FILE
from metst.results.motion import FACE_CHANNELS, Motion
from metst.results.motion_file import motion_bytes, motion_of
from metst.results.tables import (
    COLUMNS,
    TIME_DIGITS,
    condition_columns,
    event_table,
    events_in,
    face_table,
    frame_table,
    motion_columns,
    motion_table,
    table_in,
    table_of,
)
from metst.storage import faults_in_words, fingerprint, remedy, sealed, unsealed, write_parts, write_whole
from metst.storage.database import connected_for_reading
from metst.storage.locks import only_writer
from metst.timeline import Intervals, Series, TimeGrid, frame_for_people

SCHEMA = 1
"""Version of the layout of the folder."""

HEADER_FILE = "analysis.json"
"""What says that the others belong together; see :class:`AnalysisHeader`."""

LAYERS_FOLDER = "layers"
"""Folder of layers in one of results; see :mod:`metst.coding.layers_folder`."""

LAYERS_FILE = "layers.json"
"""What says that its files belong together."""

_CONDITIONS = "conditions"
"""Column of words in ``frames.csv``, its last; earlier versions have none."""

REVIEW_FILE = "review.sqlite"
"""The log of what coders make of the results; see :mod:`metst.coding.journal`."""

FACTS_OF_REVIEWS = "SELECT name, value FROM meta"
"""What gives the facts in such a log: name and value of each, ``content_hash`` of the recording among them."""

_AGAIN = "analyse the recording again"
"""What to do about a damaged folder."""

_Header = TypeVar("_Header", bound=BaseModel)


def write_analysis(analysis: Analysis, folder: str | Path, *, motion_format: str = "csv") -> None:
    """Write the files of one analysis.

    A header without files comes first, in the place of an earlier one, and the whole one last: a process that dies in
    between leaves a folder that says whose it is and of which recording, and that is no analysis, never parts of two.

    Parameters
    ----------
    analysis : Analysis
        What was found.
    folder : str or Path
        Created when absent.
    motion_format : {"csv", "safetensors"}
        Format of the motion file.

    Raises
    ------
    UsageError
        Unknown motion format.
    OutputError
        A file cannot be written, or another process writes into the folder.  Each file is written whole or not at
        all, and all the others are written nevertheless; ``analysis.json`` lists those that are there.
    """
    if motion_format not in _MOTION_CONTENTS:
        raise UsageError(f"unknown motion format {motion_format!r}: expected {' or '.join(_MOTION_CONTENTS)}")
    folder = Path(folder)
    contents = _CONTENTS | {f"motion.{motion_format}": _MOTION_CONTENTS[motion_format]}
    failures: list[OutputError] = []
    written: dict[str, str] = {}
    with only_writer(folder):
        write_whole(folder / HEADER_FILE, _header_json(analysis, hashes={}))
        for name, content in contents.items():
            try:
                written[name] = write_parts(folder / name, content(analysis))
            except OutputError as error:
                failures.append(error)
        write_whole(folder / HEADER_FILE, _header_json(analysis, hashes=written))
        if failures:
            raise OutputError(f"{failures[0]} ({len(written) + 1} of {len(contents) + 1} files are in {folder})")
        discard(folder, *(f"motion.{other}" for other in _MOTION_CONTENTS.keys() - {motion_format}))


def discard(folder: Path, *names: str) -> None:
    """Take away files of an earlier analysis, which nobody must take for part of a new one.

    Raises
    ------
    OutputError
        One cannot be taken away.
    """
    for name in names:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{folder / name} of an earlier analysis cannot be replaced: {remedy(error)}") from error


# The tables of a folder, and the file of motion in either format: what each becomes.
_CONTENTS: dict[str, Callable[[Analysis], Iterable[bytes]]] = {
    "events.csv": lambda analysis: table_of(event_table(analysis)).csv_parts(),
    "frames.csv": lambda analysis: frame_table(analysis).csv_parts(),
    "face.csv": lambda analysis: face_table(analysis).csv_parts(),
}
_MOTION_CONTENTS: dict[str, Callable[[Analysis], Iterable[bytes]]] = {
    "csv": lambda analysis: motion_table(analysis).csv_parts(),
    "safetensors": lambda analysis: [motion_bytes(analysis.motion)],
}


FILES = frozenset({*_CONTENTS, *(f"motion.{format}" for format in _MOTION_CONTENTS)})
"""Names of all files that may stand beside the header."""


class AnalysisHeader(BaseModel):
    """``analysis.json``: what does not fit in a table, and what the columns of the tables mean."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True)

    schema_version: int = Field(alias="schema")
    version: str
    created: str
    seconds: float
    source: Source
    model: dict[str, str]
    problems: tuple[str, ...]
    summary: dict[str, Any]
    gaps: tuple[dict[str, Any], ...]
    classes: tuple[str, ...]
    score_channels: tuple[str, ...]
    regions: tuple[str, ...]
    settings: dict[str, Any]
    files: tuple[str, ...]
    columns: dict[str, dict[str, str]]
    custody: Custody = Custody()
    motion_algorithm: int = 0
    sha256: dict[str, str] = {}

    @property
    def checked(self) -> bool:
        """Whether it tells the hashes of its files; those of earlier versions do not."""
        return bool(self.sha256)

    @property
    def whole(self) -> bool:
        """Whether all tables are named; else work was cut off or one could not be written, and may be there anyway."""
        return _CONTENTS.keys() <= {*self.files} and len(self.files) > len(_CONTENTS)


def _header_json(analysis: Analysis, *, hashes: dict[str, str]) -> bytes:
    header = AnalysisHeader(
        schema=SCHEMA,
        version=analysis.version,
        created=analysis.created,
        seconds=analysis.seconds,
        source=analysis.source,
        model=analysis.model,
        problems=analysis.problems,
        summary={
            "frames": len(analysis.scores),
            "usable_frames": int(analysis.usable.sum()),
            "events": len(analysis.events),
            "events_by_label": dict(Counter(analysis.events.label)),
        },
        gaps=tuple(_gap_for_people(gap, analysis.grid) for gap in analysis.gaps),
        classes=analysis.events.classes,
        score_channels=analysis.scores.channels,
        regions=analysis.motion.displacement.channels,
        settings=analysis.settings,
        files=tuple(hashes),
        columns=COLUMNS,
        custody=analysis.custody,
        motion_algorithm=analysis.motion_algorithm,
        sha256=hashes,
    )
    return sealed(header.model_dump_json(indent=2))


def _gap_for_people(gap: Gap, grid: TimeGrid) -> dict[str, Any]:
    last = gap.stop - 1
    return {
        "first_frame": int(frame_for_people(gap.start)),
        "last_frame": int(frame_for_people(last)),
        "first_s": round(float(grid.time_s[gap.start]), TIME_DIGITS),
        "last_s": round(float(grid.time_s[last]), TIME_DIGITS),
        "reason": gap.reason,
    }


def read_analysis(folder: str | Path, *, check: bool = True) -> Analysis:
    """Read what :func:`write_analysis` wrote.

    Parameters
    ----------
    folder : str or Path
        The folder.
    check : bool
        Refuse tables that are not those that were written.  Without it, what was changed by hand is read as it is.

    Raises
    ------
    DataError
        A file is missing, damaged, not the one that was written, does not fit the others, or comes from a newer
        version.
    """
    tables = read_tables(folder, check=check)
    header = tables.header
    return Analysis(
        source=header.source,
        scores=tables.scores,
        motion=read_motion(folder, tables=tables, check=check),
        events=tables.events,
        model=header.model,
        settings=header.settings,
        problems=header.problems,
        version=header.version,
        created=header.created,
        seconds=header.seconds,
        custody=header.custody,
        motion_algorithm=header.motion_algorithm,
    )


@dataclass(frozen=True, eq=False)
class Tables:
    """An analysis without its motion, whose file is by far the largest.

    Parameters
    ----------
    header : AnalysisHeader
    scores : Series (T, 1 + K)
        As of an :class:`~metst.results.Analysis`, like the events.
    events : Intervals
    face : Series (T, 8)
        As of a :class:`~metst.results.Motion`, like its quality (T,) and the reasons (T).
    face_quality : (T,) float32
    reason : tuple of T str
    conditions : tuple of T str
        Words for what holds for any region (:func:`~metst.results.in_words`); empty where no column holds them.
    """

    header: AnalysisHeader
    scores: Series
    events: Intervals
    face: Series
    face_quality: Float32Array
    reason: tuple[str, ...]
    conditions: tuple[str, ...]

    @property
    def grid(self) -> TimeGrid:
        """Timestamps of the ``T`` frames."""
        return self.scores.grid

    @property
    def source(self) -> Source:
        """The recording that was analysed."""
        return self.header.source

    @property
    def created(self) -> str:
        """ISO 8601 date and time."""
        return self.header.created


def read_tables(folder: str | Path, *, check: bool = True) -> Tables:
    """Read what :func:`write_analysis` wrote, but for the motion: of an hour it takes about a second.

    Raises
    ------
    DataError
        As :func:`read_analysis`.
    """
    folder = Path(folder)
    header = read_header(folder)
    files = _Files(folder, header, check)
    data, path = files.read("frames.csv"), folder / "frames.csv"
    with_words = data.partition(b"\n")[0].endswith(f",{_CONDITIONS}".encode())
    text = _CONDITIONS if with_words else ""
    frames = table_in(data, path=path, columns=["time_s", *header.score_channels], text=text)
    grid = TimeGrid(frames.numbers["time_s"])
    face = table_in(
        files.read("face.csv"), path=folder / "face.csv", columns=["quality", *FACE_CHANNELS], text="reason"
    )
    _same_length(len(face.words), of="face", grid=grid, folder=folder)
    return Tables(
        header=header,
        scores=_series(grid, frames.floats(header.score_channels), header.score_channels),
        events=events_in(files.read("events.csv"), path=folder / "events.csv", classes=header.classes),
        face=_series(grid, face.floats(FACE_CHANNELS), FACE_CHANNELS),
        face_quality=face.floats(["quality"])[:, 0],
        reason=face.words,
        conditions=frames.words or ("",) * len(grid),
    )


def read_header(folder: Path) -> AnalysisHeader:
    """Read ``analysis.json``.

    Raises
    ------
    DataError
        It is missing, damaged, not the one that was written, or comes from a newer version.
    """
    return header_in(folder / HEADER_FILE, AnalysisHeader, schema=SCHEMA, writer="metst analyze", again=_AGAIN)


def header_in(path: Path, kind: type[_Header], *, schema: int, writer: str, again: str) -> _Header:
    """Read a sealed file that says what belongs together in a folder.

    Parameters
    ----------
    path : Path
        The file.
    kind : type of pydantic model
        What it becomes.
    schema : int
        Version of the layout that is read.
    writer, again : str
        The command that writes such folders, and what to do about a damaged one, for people.

    Raises
    ------
    DataError
        It is missing, damaged, not the one that was written, or comes from a newer version.
    """
    try:
        content = unsealed(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: expected a folder that `{writer}` wrote") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}): {again}") from error
    except DataError as error:
        raise DataError(f"{path}: {error}; {again}") from error
    found = content.get("schema") if isinstance(content, dict) else None
    if found != schema:
        raise DataError(f"{path} has schema {found!r}, this version reads {schema}: use the version that wrote it")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{path}: {faults_in_words(error)}; {again}") from error


def content_in(folder: Path) -> str:
    """Hash of the recording that a folder holds an analysis, calibration, layers or reviews of; empty: none says it.

    It is read from damaged results, too: no damage makes it that of another recording, and what is there of one is not
    to be replaced by another's.
    """
    for name in (HEADER_FILE, FIGURES_FILE, f"{LAYERS_FOLDER}/{LAYERS_FILE}"):
        with suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
            return str(json.loads((folder / name).read_bytes())["source"]["content_hash"])
    return _facts_of_reviews(folder / REVIEW_FILE).get("content_hash", "")


def _facts_of_reviews(log: Path) -> dict[str, str]:
    """What the log of reviews says of their recording; nothing where there is none that can be read."""
    with suppress(OSError, sqlite3.Error):
        if log.is_file():
            with connected_for_reading(log) as connection:
                return dict(connection.execute(FACTS_OF_REVIEWS))
    return {}


def check_files(folder: Path, header: AnalysisHeader) -> None:
    """Make sure that the files of a folder are those that its header was written with.

    Raises
    ------
    DataError
        One is missing or is not.
    """
    files = _Files(folder, header, True)
    for name in header.files:
        files.read(name)


@dataclass(frozen=True)
class _Files:
    """The files of a folder: what is checked is what was read."""

    folder: Path
    header: AnalysisHeader
    check: bool

    def read(self, name: str) -> bytes:
        """All of a file, if it is the one that the header was written with.

        One that could not be written may still be there from an earlier run: it does not belong to this one.
        """
        path = self.folder / name
        if name not in self.header.files:
            raise DataError(f"{path} does not belong to this analysis, cut off or not written: analyse again")
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise DataError(f"{path} is missing: analyse the recording again") from error
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}): analyse the recording again") from error
        if self.check and self.header.checked and fingerprint(data) != self.header.sha256.get(name):
            raise DataError(
                f"{path} is not the one that {HEADER_FILE} was written with (changed by hand, damaged or half-written):"
                " analyse the recording again, or read it as it is with --unchecked (in Python: check=False)"
            )
        return data


def read_motion(folder: str | Path, *, tables: Tables, check: bool = True) -> Motion:
    """Motion from either file of motion, and where the face was from the tables that were read of the same folder.

    Raises
    ------
    DataError
        As :func:`read_analysis`.
    """
    folder, header, grid = Path(folder), tables.header, tables.scores.grid
    files = _Files(folder, header, check)
    if "motion.csv" in header.files:
        motion = _motion_from_table(files, grid=grid)
    else:
        data = files.read("motion.safetensors")
        try:
            motion = motion_of(data, regions=header.regions).motion
        except DataError as error:
            path = folder / "motion.safetensors"
            raise DataError(f"{path} cannot be read as motion ({error}): analyse the recording again") from error
        _same_length(len(motion), of="motion", grid=grid, folder=folder)
    return replace(motion, face=tables.face, face_quality=tables.face_quality, reason=tables.reason)


def _motion_from_table(files: _Files, *, grid: TimeGrid) -> Motion:
    regions, path = files.header.regions, files.folder / "motion.csv"
    columns, flags = motion_columns(regions), condition_columns(regions)
    table = table_in(files.read(path.name), path=path, columns=[*columns, *flags])
    values = table.floats(columns)
    _same_length(len(values), of="motion", grid=grid, folder=files.folder)
    values = values.reshape(len(values), len(regions), -1)
    motion = Motion.bare(_series(grid, values[:, :, :2], regions), quality=values[:, :, 2])
    return replace(motion, centres=values[:, :, 3:], conditions=table.floats(flags).astype(np.uint8))


def _same_length(rows: int, *, of: str, grid: TimeGrid, folder: Path) -> None:
    if rows != len(grid):
        raise DataError(f"{folder}: {rows} frames of {of}, but {len(grid)} in frames.csv: analyse the recording again")


def _series(grid: TimeGrid, values: Float32Array, channels: tuple[str, ...]) -> Series:
    missing = np.isnan(values).reshape(len(values), -1)
    return Series(grid, values, np.asarray(~missing.all(axis=1)), channels)
