"""The folder of one analysis: written file by file, read back whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metst.arrays import Float32Array
from metst.errors import DataError, OutputError, UsageError
from metst.results.analysis import Analysis, Gap, Source
from metst.results.motion import FACE_CHANNELS, Motion
from metst.results.motion_file import motion_bytes, read_motion_file
from metst.results.tables import (
    COLUMNS,
    TIME_DIGITS,
    condition_columns,
    event_table,
    face_table,
    frame_table,
    motion_columns,
    motion_table,
    read_events,
    read_table,
    table_of,
)
from metst.storage import faults_in_words, make_folder, write_parts, write_whole
from metst.timeline import Series, TimeGrid, frame_for_people

SCHEMA = 1
"""Version of the layout of the folder."""


def write_analysis(analysis: Analysis, folder: str | Path, *, motion_format: str = "csv") -> None:
    """Write the files of one analysis.

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
        A file cannot be written.  Each file is written whole or not at all, and all the others
        are written nevertheless; ``analysis.json`` lists those that are there.
    """
    if motion_format not in _MOTION_CONTENTS:
        raise UsageError(f"unknown motion format {motion_format!r}: expected {' or '.join(_MOTION_CONTENTS)}")
    folder = Path(folder)
    make_folder(folder)
    contents = _CONTENTS | {f"motion.{motion_format}": _MOTION_CONTENTS[motion_format]}
    failures: list[OutputError] = []
    written: list[str] = []
    for name, content in contents.items():
        try:
            write_parts(folder / name, content(analysis))
            written.append(name)
        except OutputError as error:
            failures.append(error)
    write_whole(folder / "analysis.json", _header_json(analysis, files=written))
    if failures:
        raise OutputError(f"{failures[0]} ({len(written) + 1} of {len(contents) + 1} files are in {folder})")
    for other in _MOTION_CONTENTS.keys() - {motion_format}:  # an earlier run's would contradict this one
        (folder / f"motion.{other}").unlink(missing_ok=True)


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


def _header_json(analysis: Analysis, *, files: list[str]) -> bytes:
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
        files=tuple(files),
        columns=COLUMNS,
    )
    return header.model_dump_json(indent=2).encode() + b"\n"


def _gap_for_people(gap: Gap, grid: TimeGrid) -> dict[str, Any]:
    last = gap.stop - 1
    return {
        "first_frame": int(frame_for_people(gap.start)),
        "last_frame": int(frame_for_people(last)),
        "first_s": round(float(grid.time_s[gap.start]), TIME_DIGITS),
        "last_s": round(float(grid.time_s[last]), TIME_DIGITS),
        "reason": gap.reason,
    }


def read_analysis(folder: str | Path) -> Analysis:
    """Read what :func:`write_analysis` wrote.

    Raises
    ------
    DataError
        A file is missing, damaged, does not fit the others, or comes from a newer version.
    """
    folder = Path(folder)
    header = read_header(folder)
    for name in _CONTENTS:
        _require(name, folder=folder, header=header)
    frames = read_table(folder / "frames.csv", columns=["time_s", *header.score_channels])
    grid = TimeGrid(frames.numbers["time_s"])
    return Analysis(
        source=header.source,
        scores=_series(grid, frames.floats(header.score_channels), header.score_channels),
        motion=_read_motion(folder, header, grid=grid),
        events=read_events(folder / "events.csv", classes=header.classes),
        model=header.model,
        settings=header.settings,
        problems=header.problems,
        version=header.version,
        created=header.created,
        seconds=header.seconds,
    )


def read_header(folder: Path) -> AnalysisHeader:
    """Read ``analysis.json``.

    Raises
    ------
    DataError
        It is missing, damaged, or comes from a newer version.
    """
    path = folder / "analysis.json"
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: expected a folder that `metst analyze` wrote") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}): analyse the recording again") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise DataError(f"{path} has schema {schema!r}, this version reads {SCHEMA}: use the version that wrote it")
    try:
        return AnalysisHeader.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{path}: {faults_in_words(error)}; analyse the recording again") from error


def _require(name: str, *, folder: Path, header: AnalysisHeader) -> None:
    """A file that could not be written may still be there from an earlier run: it does not belong to this one."""
    if name not in header.files:
        raise DataError(f"{folder / name} does not belong to this analysis: it could not be written; analyse again")


def _read_motion(folder: Path, header: AnalysisHeader, *, grid: TimeGrid) -> Motion:
    """Motion from either file of motion, and where the face was from its table."""
    face = read_table(folder / "face.csv", columns=["quality", *FACE_CHANNELS], text="reason")
    _same_length(len(face.words), of="face", grid=grid, folder=folder)
    if "motion.csv" in header.files:
        motion = _motion_from_table(folder, header, grid=grid)
    else:
        path = folder / "motion.safetensors"
        _require(path.name, folder=folder, header=header)
        motion = read_motion_file(path, remedy="analyse the recording again", regions=header.regions)
        _same_length(len(motion), of="motion", grid=grid, folder=folder)
    return replace(
        motion,
        face=_series(grid, face.floats(FACE_CHANNELS), FACE_CHANNELS),
        face_quality=face.floats(["quality"])[:, 0],
        reason=face.words,
    )


def _motion_from_table(folder: Path, header: AnalysisHeader, *, grid: TimeGrid) -> Motion:
    columns, flags = motion_columns(header.regions), condition_columns(header.regions)
    table = read_table(folder / "motion.csv", columns=[*columns, *flags])
    values = table.floats(columns)
    _same_length(len(values), of="motion", grid=grid, folder=folder)
    values = values.reshape(len(values), len(header.regions), -1)
    motion = Motion.bare(_series(grid, values[:, :, :2], header.regions), quality=values[:, :, 2])
    return replace(motion, centres=values[:, :, 3:], conditions=table.floats(flags).astype(np.uint8))


def _same_length(rows: int, *, of: str, grid: TimeGrid, folder: Path) -> None:
    if rows != len(grid):
        raise DataError(f"{folder}: {rows} frames of {of}, but {len(grid)} in frames.csv: analyse the recording again")


def _series(grid: TimeGrid, values: Float32Array, channels: tuple[str, ...]) -> Series:
    missing = np.isnan(values).reshape(len(values), -1)
    return Series(grid, values, np.asarray(~missing.all(axis=1)), channels)
