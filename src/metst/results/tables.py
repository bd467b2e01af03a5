"""The tables of an analysis, for people: frames from 1, both ends of an event included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from metst.errors import DataError
from metst.results.analysis import FACE_CHANNELS, Analysis
from metst.timeline import Intervals, TimeGrid, frame_for_people, frames_for_people, frames_from_people

Float32 = npt.NDArray[np.float32]

COLUMNS = {
    "events.csv": {
        "event": "number of the movement candidate, from 1",
        "onset_frame, apex_frame, offset_frame": "first, strongest and last frame; counted from 1, both ends included",
        "onset_s, apex_s, offset_s": "timestamps of these three frames, seconds",
        "label": "most likely class",
        "confidence": "probability that this is a micro-expression at all, 0 to 1",
        "p_<class>": "probability of each class given that it is one; they sum to 1",
    },
    "frames.csv": {
        "frame": "counted from 1",
        "time_s": "timestamp in the recording, seconds",
        "face_valid": "whether the face of this frame could be used; face.csv has the reason if not",
        "spot_score": "score of a micro-expression at this frame, 0 to 1; empty where nothing could be scored",
        "p_<class>": "probability of each class at this frame; empty where nothing could be scored",
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
    },
}
"""What each column means; the tables of frames share ``frame`` and ``time_s``."""


def event_table(analysis: Analysis) -> pd.DataFrame:
    """One row per event, as in ``events.csv``.

    ``offset_frame`` is the last frame that belongs to the event, and ``offset_s`` is its timestamp.
    """
    events, time_s = analysis.events, analysis.grid.time_s
    first, last = frames_for_people(events.onset, events.offset)
    table = pd.DataFrame(
        {
            "event": np.arange(1, len(events) + 1),
            "onset_frame": first,
            "apex_frame": frame_for_people(events.apex),
            "offset_frame": last,
            "onset_s": time_s[events.onset].round(6),
            "apex_s": time_s[events.apex].round(6),
            "offset_s": time_s[events.offset - 1].round(6),
            "label": list(events.label),
            "confidence": events.confidence,
        }
    )
    for k, name in enumerate(events.classes):
        table[f"p_{name}"] = events.probability[:, k]
    return table


def frame_table(analysis: Analysis) -> pd.DataFrame:
    """One row per frame, as in ``frames.csv``."""
    scores = pd.DataFrame(analysis.scores.values, columns=list(analysis.scores.channels))
    scores.insert(0, "face_valid", analysis.usable)
    return _with_time(scores, analysis.grid)


def face_table(analysis: Analysis) -> pd.DataFrame:
    """One row per frame, as in ``face.csv``."""
    face = pd.DataFrame(analysis.face.values, columns=list(FACE_CHANNELS))
    face.insert(0, "reason", list(analysis.reasons))
    face.insert(1, "quality", analysis.face_quality)
    return _with_time(face, analysis.grid)


def motion_table(analysis: Analysis) -> pd.DataFrame:
    """One row per frame, as in ``motion.csv``."""
    columns = motion_columns(analysis.motion.channels)
    values = np.concatenate([analysis.motion.values, analysis.motion_quality[:, :, None]], axis=2)
    return _with_time(pd.DataFrame(values.reshape(len(values), -1), columns=columns), analysis.grid)


def motion_columns(regions: Sequence[str]) -> list[str]:
    """Columns of ``motion.csv``: per region x, y, quality."""
    return [f"{region.replace(' ', '_')}_{part}" for region in regions for part in ("x", "y", "quality")]


def _with_time(table: pd.DataFrame, grid: TimeGrid) -> pd.DataFrame:
    table.insert(0, "frame", frame_for_people(np.arange(len(grid))))
    table.insert(1, "time_s", grid.time_s)
    return table


def csv_bytes(table: pd.DataFrame) -> bytes:
    """CSV in UTF-8; NaN becomes an empty cell, numbers keep every digit they have."""
    return table.to_csv(index=False, lineterminator="\n").encode()


def read_table(path: Path, *, columns: Iterable[str], text: str = "") -> pd.DataFrame:
    """Read the named columns as numbers, and the column ``text``, whose words never mean "missing", as strings.

    Raises
    ------
    DataError
        The file is missing, lacks a column, or holds something else.
    """
    types = dict.fromkeys(columns, "float64") | ({text: "str"} if text else {})
    try:
        table = pd.read_csv(
            path,
            usecols=list(types),
            dtype=types,
            keep_default_na=False,
            na_values=[""],
        )
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: analyse the recording again") from error
    except (OSError, ValueError) as error:  # what pandas' parser raises are ValueErrors
        why = " ".join(str(error).split())
        raise DataError(f"{path} is not as it was written ({why}): analyse the recording again") from error
    if text:
        table[text] = table[text].fillna("")
    return table


def floats(table: pd.DataFrame, columns: Iterable[str]) -> Float32:
    """Columns of a table as one array."""
    return table[list(columns)].to_numpy(np.float32)


def read_events(path: Path, *, classes: tuple[str, ...]) -> Intervals:
    """Read ``events.csv``; the frames count, the seconds are for people.

    Raises
    ------
    DataError
        As :func:`read_table`.
    """
    frames = ["onset_frame", "apex_frame", "offset_frame"]
    probability = [f"p_{name}" for name in classes]
    table = read_table(path, columns=[*frames, "confidence", *probability], text="label")
    if not np.isfinite(table[[*frames, "confidence", *probability]].to_numpy()).all():
        raise DataError(f"{path} has empty cells: analyse the recording again")
    first, middle, last = (table[name].to_numpy(np.int64) for name in frames)
    onset, offset = frames_from_people(first, last)
    apex, _ = frames_from_people(middle, middle)
    return Intervals(
        onset=onset,
        apex=apex,
        offset=offset,
        label=tuple(table["label"]),
        confidence=table["confidence"].to_numpy(),
        probability=table[probability].to_numpy().reshape(-1, len(classes)),
        classes=classes,
    )
