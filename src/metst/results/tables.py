"""The tables of an analysis, for people: frames from 1, both ends of an event included."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metst.arrays import AnyArray, Block, Float32Array, Float64Array
from metst.errors import DataError
from metst.results.flags import WORDS, face_conditions, in_words
from metst.results.motion import FACE_CHANNELS
from metst.results.uncertainty import frame_uncertainty
from metst.spelling.formulas import as_meant, harmless
from metst.timeline import Intervals, TimeGrid, event_columns, frame_for_people, frames_from_people

if TYPE_CHECKING:
    from metst.results.analysis import Analysis

_ROWS_AT_ONCE = 512
"""Rows that become text together, so that long tables take little memory.  Set by hand; it changes no byte."""

_BYTES_READ = 2**17
"""Bytes that become numbers together: long tables take little memory, and other threads wait for some milliseconds.

Set by hand; it changes no value.
"""

_NOT_PLAIN = (b'"', b"'", b"\r")
"""Marks of a table that lines and commas alone do not divide."""

_UNEVEN = "a row has not as many cells as the header"
"""What is wrong with a table that was cut or glued."""

_PLACES = 5
"""Decimals of an uncertainty, face units: a hundredth of what the most certain region has."""

_SHORT_DIGITS = (8, 7)
"""Digits that are tried for a number of 32 bits, which nine always tell from all others (IEEE 754)."""

COLUMNS = {
    "events.csv": {
        "event": "number of the movement candidate, from 1",
        "onset_frame, apex_frame, offset_frame": "first, strongest and last frame; counted from 1, both ends included",
        "onset_s, apex_s, offset_s": "timestamps of these three frames, seconds",
        "label": "most likely class",
        "confidence": "probability that this is a micro-expression at all, 0 to 1, at the rate of them that"
        " expected_per_min of the settings says",
        "p_<class>": "probability of each class given that it is one; they sum to 1",
    },
    "frames.csv": {
        "frame": "counted from 1",
        "time_s": "timestamp in the recording, seconds",
        "face_valid": "whether the face of this frame could be used; face.csv has the reason if not",
        "spot_score": "score of a micro-expression at this frame, 0 to 1; empty where nothing could be scored",
        "p_<class>": "probability of each class at this frame; empty where nothing could be scored",
        "conditions": "what may make motion look different from what it is, in any region: "
        + ", ".join(WORDS.values()),
    },
    "face.csv": {
        "reason": "why the frame could not be used; empty when it could",
        "quality": "quality of the face track, 0 to 1",
        "left, top, right, bottom": "box of the face, pixels of the recording; empty where no face was found",
        "eye_left_x, eye_left_y, eye_right_x, eye_right_y": "eye centres, pixels; left is the left of the picture",
    },
    "motion": {
        "<region>_x, <region>_y": "displacement since the face was found, right and down positive; "
        "1 = distance of the outer eye corners",
        "<region>_quality": "quality of the measurement, 0 to 1",
        "<region>_conditions": "sum of what holds for the region: "
        + ", ".join(f"{condition} {word}" for condition, word in WORDS.items()),
        "<region>_px_x, <region>_px_y": "centre of the region, pixels of the recording",
        "<region>_uncertainty": "in motion.csv: how far movements that end here and began within half a second may be"
        " off, along x and along y (about 95 %); empty where nothing was measured",
    },
}
"""What each column means; the tables of frames share ``frame`` and ``time_s``."""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of frames: names of all columns, and the columns in blocks of one kind each."""

    columns: tuple[str, ...]
    blocks: tuple[Block, ...]

    def by_column(self) -> dict[str, Block]:
        """Each column (T,) by its name."""
        flat = [block.reshape(len(block), -1).T if isinstance(block, np.ndarray) else [block] for block in self.blocks]
        return dict(zip(self.columns, (column for block in flat for column in block), strict=True))

    def csv_parts(self) -> Iterator[bytes]:
        """CSV in UTF-8, some rows at a time; NaN becomes an empty cell, numbers keep every digit they have."""
        yield (",".join(map(_quoted, self.columns)) + "\n").encode()
        for start in range(0, len(self.blocks[0]), _ROWS_AT_ONCE):
            cells = [cells_of(block[start : start + _ROWS_AT_ONCE]) for block in self.blocks]
            yield "".join(",".join(row) + "\n" for row in zip(*cells, strict=True)).encode()


def cells_of(block: Block) -> list[str]:
    """Each row of a block as text; NaN becomes an empty cell, numbers keep every digit they have."""
    if not isinstance(block, np.ndarray):
        return [_quoted(text) for text in block]
    # Nine digits tell any two numbers of 32 bits apart.
    one = "%.9g" if block.dtype == np.float32 else "%s"
    rows = block.reshape(len(block), math.prod(block.shape[1:]))
    rows = _shortened(rows) if rows.dtype == np.float32 else rows
    whole = ",".join([one] * rows.shape[1])
    values: list[list[Any]] = rows.tolist()
    has_nan: list[bool] = (rows != rows).any(axis=1).tolist()
    return [
        ",".join("" if value != value else one % value for value in row) if holes else whole % tuple(row)
        for row, holes in zip(values, has_nan, strict=True)
    ]


def _shortened(values: AnyArray) -> Float64Array:
    """Numbers of 32 bits as decimals of seven or eight digits where these are enough: 0.9 and not 0.899999976."""
    shortened = values.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        exponent = np.floor(np.log10(np.abs(shortened)))
        for digits in _SHORT_DIGITS:
            scale = 10.0 ** (digits - 1 - exponent)
            candidate = np.rint(shortened * scale) / scale
            shortened = np.where(candidate.astype(np.float32) == values, candidate, shortened)
    return shortened


def _quoted(text: str) -> str:
    text = harmless(text)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n\r') else text


def event_table(analysis: Analysis) -> dict[str, Block]:
    """One row per event, as in ``events.csv``, by column: ``pandas.DataFrame(event_table(analysis))`` is a data frame.

    ``offset_frame`` is the last frame that belongs to the event, and ``offset_s`` is its timestamp.
    """
    return event_columns(analysis.events, times_s=analysis.events.times_s(analysis.grid))


def table_of(columns: Mapping[str, Block]) -> Table:
    """A table of named columns."""
    return Table(tuple(columns), tuple(columns.values()))


def frame_table(analysis: Analysis) -> Table:
    """One row per frame, as in ``frames.csv``."""
    scores, words = analysis.scores, [in_words(flags) for flags in face_conditions(analysis.motion.conditions).tolist()]
    columns = ["face_valid", *scores.channels, "conditions"]
    return _with_time(analysis.grid, columns, [analysis.usable, scores.values, words])


def face_table(analysis: Analysis) -> Table:
    """One row per frame, as in ``face.csv``."""
    columns, motion = ["reason", "quality", *FACE_CHANNELS], analysis.motion
    return _with_time(analysis.grid, columns, [list(motion.reason), motion.face_quality, motion.face.values])


def motion_table(analysis: Analysis) -> Table:
    """One row per frame, as in ``motion.csv``."""
    motion = analysis.motion
    values = np.concatenate([motion.displacement.values, motion.quality[:, :, None], motion.centres], axis=2)
    regions = motion.displacement.channels
    columns = [*motion_columns(regions), *condition_columns(regions), *_columns(regions, "uncertainty")]
    blocks: list[Block] = [
        values.reshape(len(values), -1),
        motion.conditions,
        frame_uncertainty(motion).astype(np.float64).round(_PLACES),
    ]
    return _with_time(analysis.grid, columns, blocks)


def motion_columns(regions: Sequence[str]) -> list[str]:
    """Columns of measurements in ``motion.csv``: per region x, y, quality, and its centre's x, y."""
    return _columns(regions, "x", "y", "quality", "px_x", "px_y")


def condition_columns(regions: Sequence[str]) -> list[str]:
    """Columns of conditions in ``motion.csv``, one per region."""
    return _columns(regions, "conditions")


def _columns(regions: Sequence[str], *parts: str) -> list[str]:
    return [f"{region.replace(' ', '_')}_{part}" for region in regions for part in parts]


def _with_time(grid: TimeGrid, columns: list[str], blocks: list[Block]) -> Table:
    return Table(("frame", "time_s", *columns), (frame_for_people(np.arange(len(grid))), grid.time_s, *blocks))


@dataclass(frozen=True, eq=False)
class ReadColumns:
    """Columns of a table that was read: numbers (NaN where a cell is empty) by name, and the words of one column."""

    numbers: Mapping[str, Float64Array]
    words: tuple[str, ...] = ()

    def floats(self, columns: Iterable[str]) -> Float32Array:
        """Columns of numbers as one array ``(T, n)``."""
        return np.stack([self.numbers[name].astype(np.float32) for name in columns], axis=1)


def table_in(data: bytes, *, path: Path, columns: Iterable[str], text: str = "") -> ReadColumns:
    """Read the named columns as numbers, and the column ``text``, whose words never mean "missing".

    Parameters
    ----------
    data : bytes
        All of a CSV file.
    path : Path
        Where it lies, for people.
    columns : iterable of str
        Those of numbers.
    text : str
        That of words; empty: none.

    Raises
    ------
    DataError
        It lacks a column, or is something else.
    """
    columns = tuple(columns)
    try:
        if any(mark in data for mark in _NOT_PLAIN):
            return _columns_of_any(data.decode(), columns, text=text)
        return _columns_of_plain(data, columns, text=text)
    except (ValueError, KeyError, csv.Error) as error:
        why = f"no column {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise DataError(f"{path} is not as it was written ({why}): analyse the recording again") from error


def _columns_of_any(content: str, columns: Sequence[str], *, text: str) -> ReadColumns:
    """Columns of a table as CSV may have it: text with commas and line ends stands in quotes."""
    header, *rows = ([*map(as_meant, row)] for row in csv.reader(io.StringIO(content, newline=""), strict=True))
    if any(len(row) != len(header) for row in rows):
        raise ValueError(_UNEVEN)
    cells = {name: [row[place] for row in rows] for place, name in enumerate(header)}
    numbers = {name: np.array([float(cell or "nan") for cell in cells[name]], np.float64) for name in columns}
    return ReadColumns(numbers, tuple(cells[text]) if text else ())


def _columns_of_plain(data: bytes, columns: Sequence[str], *, text: str) -> ReadColumns:
    """The same of a table without quotes, in a tenth of the time: an hour at 30 frames per second has 108,000 rows."""
    header, _, _ = data.partition(b"\n")
    places = {as_meant(name): place for place, name in enumerate(header.decode().split(","))}
    wanted, words = [places[name] for name in columns], list[str]()
    values = np.empty((max(data.count(b"\n") - data.endswith(b"\n"), 0), len(wanted)))
    done = 0
    for block in _blocks(data, start=len(header) + 1):  # between two blocks other threads have their turn
        lines = block.split("\n")
        if any(line.count(",") != len(places) - 1 for line in lines):
            raise ValueError(_UNEVEN)
        if wanted:
            rows = _with_nan(block).split("\n")
            values[done : done + len(rows)] = np.loadtxt(rows, delimiter=",", usecols=wanted, comments=None, ndmin=2)
        if text:
            at, last = places[text], places[text] == len(places) - 1
            cells = (line.rpartition(",")[2] if last else line.split(",", at + 1)[at] for line in lines)
            words += [as_meant(cell) if cell else cell for cell in cells]
        done += len(lines)
    return ReadColumns({name: values[:, place] for place, name in enumerate(columns)}, tuple(words))


def _blocks(data: bytes, *, start: int) -> Iterator[str]:
    """The lines of a table from a byte on, some at a time, without the end of the last."""
    while start < len(data):
        end = data.find(b"\n", start + _BYTES_READ)
        end = len(data) if end < 0 else end + 1
        yield data[start:end].decode().removesuffix("\n")
        start = end


def _with_nan(block: str) -> str:
    """Lines in which an empty cell says that nothing is known."""
    for _ in range(2):  # of three commas in a row the one in the middle ends one cell and begins the next
        block = block.replace(",,", ",nan,")
    block = f"\n{block}\n".replace(",\n", ",nan\n").replace("\n,", "\nnan,")
    return block[1:-1]


def events_in(data: bytes, *, path: Path, classes: tuple[str, ...]) -> Intervals:
    """Read ``events.csv``; the frames count, the seconds are for people.

    Raises
    ------
    DataError
        As :func:`table_in`.
    """
    frames = ["onset_frame", "apex_frame", "offset_frame"]
    probability = [f"p_{name}" for name in classes]
    table = table_in(data, path=path, columns=[*frames, "confidence", *probability], text="label")
    if not all(np.isfinite(column).all() for column in table.numbers.values()):
        raise DataError(f"{path} has empty cells: analyse the recording again")
    first, middle, last = (table.numbers[name].astype(np.int64) for name in frames)
    onset, offset = frames_from_people(first, last)
    apex, _ = frames_from_people(middle, middle)
    return Intervals(
        onset=onset,
        apex=apex,
        offset=offset,
        label=table.words,
        confidence=table.numbers["confidence"],
        probability=np.stack([table.numbers[name] for name in probability], axis=1),
        classes=classes,
    )
