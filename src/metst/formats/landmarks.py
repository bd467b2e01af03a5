"""Tables of landmarks of other programs, in place of metst's own: OpenFace 2 and py-feat.

Both have a row for each frame and face, with the 68 iBUG points as ``x_0 ... x_67, y_0 ... y_67`` in pixels of the
recording, which is what :class:`metst.face.FaceTracker` takes.  Rows belong to frames by their number, never by the
times beside it: OpenFace makes those from a constant rate.  A row that failed is a frame without a face.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from metst.arrays import Float32Array
from metst.errors import DataError, UsageError
from metst.face import lie_on_faces
from metst.guard.limits import LANDMARKS, check_file
from metst.regions import LANDMARK_COUNT
from metst.video import probe_video, read_frames
from metst.video.clock import ignore
from metst.video.folder import list_images

_POINTS = tuple(f"{axis}_{number}" for axis in "xy" for number in range(LANDMARK_COUNT))
"""Columns with the points.  Case tells them from the points in space of OpenFace, ``X_0``: millimetres."""
_ONE_MORE = f"x_{LANDMARK_COUNT}"
"""A column of tables with other points: the first ones of a mesh are called alike, but are not those of iBUG."""
_MISSING_SHARE, _MISSING_FRAMES = 0.01, 2
"""Frames by which a table and a recording may differ: a share of the recording's, and their number where that is less.
Containers and the programs differ in whether the last frames count.  Set by hand."""
_LEAST_ROWS = 2 / 3
"""Share of the frames that must have a row: programs that leave frames out have half of them or fewer.  Set by hand."""
_OUTSIDE_SHARE = 0.5
"""Share of faces whose middle lies outside of the picture from which on a table is of another picture.  Set by hand."""
_CHECKED, _CHECKED_EVERY, _LEAST_CHECKED = 5, 10, 3
"""Frames in which it is looked whether the points lie on a face: their number, one of so many, and in how many of
them a face must be seen for that to tell.  Set by hand."""


@dataclass(frozen=True)
class _Layout:
    """What a program calls things: itself, a column that no other has, the first frame, and what tells a failure."""

    program: str
    mark: str
    first: int
    success: str


_LAYOUTS = (_Layout("OpenFace", "success", 1, "success"), _Layout("py-feat", "FaceRectX", 0, "FaceScore"))
"""OpenFace 2 (its wiki, "Output Format") counts frames from 1, py-feat (``Fex``) from 0."""


def read_landmarks(path: Path, *, video: Path, rate_hz: float | None = None) -> Float32Array:
    """Read the landmarks of a recording from a table of OpenFace or py-feat.

    Where frames have several faces, the largest in the first of them is followed, as metst's own tracker does, from
    box to overlapping box.

    Parameters
    ----------
    path : Path
        The table (CSV), whatever other columns it has.
    video : Path
        The recording.
    rate_hz : float, optional
        Frame rate of a frame folder.

    Returns
    -------
    (T, 68, 2) float32
        Source pixels; NaN where a frame has no row, or one that failed.

    Raises
    ------
    UsageError
        There is no such file.
    DataError
        It is no such table, or not one of this recording: another number of frames, or faces outside of the picture.
    VideoError
        The recording cannot be read.
    """
    info = probe_video(video, rate_hz=rate_hz)
    faces = _faces(path)
    frames = max(faces, default=-1) + 1
    if len(faces) < _LEAST_ROWS * frames:
        raise DataError(
            f"{path.name} has rows of {len(faces)} frames among {frames:.7g}: motion is measured from frame to frame,"
            " so that each needs its row (py-feat: skip_frames=1), also those without a face"
        )
    images = _images_with_holes(video)
    count = len(images) or info.frame_count or frames
    slack = max(_MISSING_FRAMES, math.ceil(_MISSING_SHARE * count))
    if abs(frames - count) > slack:
        raise DataError(
            f"{path.name} has landmarks of {frames:.7g} frames, but {video.name} has {count}: give the table of this"
            " recording, with a row for each frame, also those without a face"
        )
    images = images or tuple(range(max(count, frames)))
    points = np.full((images[-1] + 1 + slack, LANDMARK_COUNT, 2), np.nan, np.float32)
    for frame, chosen in _followed(faces):
        if frame < len(images):
            points[images[frame]] = chosen
    _check_inside(points, path=path, size=(info.width, info.height), name=video.name)
    return points


def _images_with_holes(video: Path) -> tuple[int, ...]:
    """Frame of each image of a folder in which numbers are missing, as both programs count on there; else nothing."""
    if not video.is_dir():
        return ()
    frames = tuple(frame for frame, _ in list_images(video, report=ignore))
    return frames if frames[-1] + 1 > len(frames) else ()


def check_on_face(points: Float32Array, *, path: Path, video: Path, rate_hz: float | None = None) -> None:
    """Make sure that landmarks lie on a face, where metst sees one in some of the first frames that have them.

    Points of a smaller copy lie inside the picture as well, and motion would be measured beside the face.

    Parameters
    ----------
    points : (T, 68, 2) float32
        What :func:`read_landmarks` gave.
    path, video, rate_hz
        What it was given.

    Raises
    ------
    DataError
        They lie on no face in any of these frames.
    VideoError, FaceError
        The recording cannot be read, or the installation lacks the network files.
    """
    seen = np.flatnonzero(np.isfinite(points).all(axis=(1, 2)))
    wanted = set(seen[::_CHECKED_EVERY][:_CHECKED].tolist())
    frames = takewhile(lambda frame: frame.index <= max(wanted), read_frames(video, rate_hz=rate_hz))
    told = lie_on_faces((frame for frame in frames if frame.index in wanted), points)
    if len(told) >= _LEAST_CHECKED and not any(told):
        raise DataError(
            f"{path.name} has landmarks where {video.name} shows no face, but one elsewhere: give the table that was"
            " made of this recording, at its size"
        )


def _check_inside(points: Float32Array, *, path: Path, size: tuple[int, int], name: str) -> None:
    seen = points[np.isfinite(points).all(axis=(1, 2))]
    if not len(seen):
        raise DataError(f"{path.name} has no frame with all {LANDMARK_COUNT} landmarks: nothing can be measured")
    middle = seen.mean(axis=1)
    outside = ((middle < 0) | (middle >= size)).any(axis=1)
    if outside.mean() > _OUTSIDE_SHARE:
        x, y = np.median(middle, axis=0)
        raise DataError(
            f"{path.name} has faces around ({x:.0f}, {y:.0f}), outside of the {size[0]} x {size[1]} pixels of {name}:"
            " give the table that was made of this recording, at its size"
        )


def _followed(faces: dict[int, list[Float32Array]]) -> Iterator[tuple[int, Float32Array]]:
    """One face of each frame: the only one, or of several the one that overlaps with the last most; else none."""
    several = any(len(found) > 1 for found in faces.values())
    last: Float32Array | None = None
    for frame in sorted(faces):
        found = [each for each in faces[frame] if np.isfinite(each).all()]
        if not found:
            continue
        if several:
            shared = [_area(each) if last is None else _shared(each, last) for each in found]
            best = int(np.argmax(shared))
            if shared[best] <= 0:
                continue
            found = [found[best]]
        last = found[0]
        yield frame, last


def _area(points: Float32Array) -> float:
    return float(np.ptp(points, axis=0).prod())


def _shared(one: Float32Array, other: Float32Array) -> float:
    """Area that the boxes of two faces share, square pixels."""
    low = np.maximum(one.min(axis=0), other.min(axis=0))
    return float(np.clip(np.minimum(one.max(axis=0), other.max(axis=0)) - low, 0, None).prod())


def _faces(path: Path) -> dict[int, list[Float32Array]]:
    """The faces (68, 2) of each frame, counted from 0, as they stand in the table; NaN where one failed."""
    if not path.is_file():
        raise UsageError(f"no table of landmarks {path}")
    check_file(path, LANDMARKS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, skipinitialspace=True)
            header = [name.strip() for name in next(rows, [])]
            layout = _layout(header, path=path)
            columns = [header.index(name) for name in _POINTS]
            frame, success = header.index("frame"), header.index(layout.success) if layout.success in header else None
            found: dict[int, list[Float32Array]] = {}
            for row in rows:
                if not row:
                    continue
                what = f"{path.name}, line {rows.line_num}"
                if len(row) != len(header):
                    raise DataError(f"{what}: expected {len(header)} cells, as the header has, got {len(row)}")
                number = _number(row[frame], what=f"{what}: frame") - layout.first
                if not number.is_integer() or number < 0:
                    raise DataError(f"{what}: expected a frame from {layout.first} on, got {row[frame]!r}")

                failed = success is not None and not _number(row[success], what=f"{what}: {layout.success}") > 0
                points = _points(row, columns, what=what)
                found.setdefault(int(number), []).append(np.full_like(points, np.nan) if failed else points)
            return found
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no table of landmarks: it is not in UTF-8 ({error.reason})") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table of landmarks: {error}") from error


def _layout(header: Sequence[str], *, path: Path) -> _Layout:
    for layout in _LAYOUTS:
        if layout.mark in header:
            if missing := [name for name in ("frame", *_POINTS) if name not in header]:
                raise DataError(
                    f"{path.name}, a table of {layout.program}, has no column {missing[0]}: metst needs frame and"
                    f" {_POINTS[0]} to {_POINTS[-1]}, the 2-D landmarks (of OpenFace: -2Dfp)"
                )
            if _ONE_MORE in header:
                raise DataError(
                    f"{path.name} has more than {LANDMARK_COUNT} landmarks, as the mesh of MediaPipe: metst needs the"
                    f" {LANDMARK_COUNT} of iBUG (py-feat: Detector, not MPDetector)"
                )
            return layout
    joined = next((sign for sign in ";\t" if len(header) == 1 and sign in header[0]), "")
    raise DataError(
        f"{path.name} is neither a table of OpenFace (column success) nor of py-feat (column FaceRectX): expected CSV"
        + (f" with commas, got {joined!r} between the cells" if joined else " with a header")
    )


def _points(row: Sequence[str], columns: Sequence[int], *, what: str) -> Float32Array:
    cells = [row[column] for column in columns]
    try:
        values = np.array([cell or "nan" for cell in cells], np.float64)
    except ValueError as error:
        raise DataError(f"{what}: a landmark is no number ({error})") from error
    return values.astype(np.float32).reshape(2, LANDMARK_COUNT).T


def _number(cell: str, *, what: str) -> float:
    """A number; NaN for an empty cell, as py-feat has where there is no face."""
    try:
        return float(cell or "nan")
    except ValueError as error:
        raise DataError(f"{what} is no number: {cell!r}") from error
