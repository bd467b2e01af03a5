"""The authors' cached features: one motion array per window, in a list per video, in a list of all videos."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metst.arrays import AnyArray, Float32Array
from metst.errors import DataError, UsageError
from metst.published.facts import REGIONS_READ
from metst.reproduction.unpickle import PickledArray, read_pickle

SUFFIXES = (".pkl", ".pickle")
"""How files with cached features end; the authors write the first."""

_FAULTS_SHOWN = 10  # of several faults in one message: set by hand


@dataclass(frozen=True, eq=False)
class Features:
    """Cached features of all videos, in the order of the files.

    Parameters
    ----------
    videos : tuple of (W, k, C) float32
        Windows of each video, time before channels as the engine reads them; pixels of the published crop.
    channels, window : int
        ``C`` and ``k``, the same for all.
    files : tuple of str
        Where they come from.
    """

    videos: tuple[Float32Array, ...]
    channels: int
    window: int
    files: tuple[str, ...]

    @property
    def windows(self) -> int:
        """Number of windows of all videos."""
        return sum(map(len, self.videos))


def read_features(paths: str | Path | Sequence[str | Path]) -> Features:
    """Read cached features; see :func:`metst.reproduction.unpickle.read_pickle` for what is refused in the files.

    Parameters
    ----------
    paths : path or sequence of paths
        Files, read in the order given, or one folder, whose pickles are read in order of the numbers in their names
        (CAS(ME)3 is published in five parts).

    Raises
    ------
    UsageError
        If there is no file.
    DataError
        If a file is refused, or if a window is no ``(C, k)`` array of finite numbers with 36 or 10 channels and the
        same shape as all others; all windows that are wrong are named at once.
    """
    files = _files([Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)])
    videos: list[list[Float32Array]] = []
    faults = _Faults(", ".join(map(str, files)))
    for file in files:
        seen: set[int] = set()
        for windows in _lists(read_pickle(file), file=file):
            videos.append(list(_windows(windows, video=len(videos) + 1, faults=faults, seen=seen)))
    shapes = {array.shape for windows in videos for array in windows}
    if len(shapes) > 1:
        faults.add(f"windows of {len(shapes)} shapes, {' and '.join(map(str, sorted(shapes)))}: expected one")
    faults.tell()
    if not shapes:
        raise DataError(f"{faults.where}: expected a list of windows per video, got {len(videos)} videos and no window")
    ((channels, window),) = shapes
    return Features(
        tuple(_stacked(windows, channels=channels, window=window) for windows in videos),
        channels,
        window,
        tuple(file.name for file in files),
    )


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts numbers in names by value, as the authors list their files: ``spNO.2`` before ``spNO.10``."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts if part)


def _files(paths: list[Path]) -> list[Path]:
    if len(paths) == 1 and paths[0].is_dir():
        found = [path for path in paths[0].iterdir() if path.suffix.lower() in SUFFIXES]
        if not found:
            raise UsageError(f"{paths[0]} holds no cached features: expected files with {' or '.join(SUFFIXES)}")
        return sorted(found, key=lambda path: natural_key(path.name))
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("cached features: a file is given twice, expected each part once")
    return paths


class _Faults:
    """Collects what is wrong, to tell all at once."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._found: list[str] = []

    def add(self, fault: str) -> None:
        self._found.append(fault)

    def tell(self) -> None:
        if self._found:
            more = len(self._found) - _FAULTS_SHOWN
            shown = "; ".join(self._found[:_FAULTS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
            raise DataError(f"{self.where}: {shown}")


def _lists(content: Any, *, file: Path) -> Iterator[Sequence[Any]]:
    """The list of windows of each video; a list that stands for two videos is refused, it cannot be right."""
    if not isinstance(content, list | tuple) or not all(isinstance(video, list | tuple) for video in content):
        raise DataError(f"{file}: expected a list of lists of arrays, one list per video, got {_what(content)}")
    if len({id(video) for video in content if video}) < sum(bool(video) for video in content):
        raise DataError(f"{file}: expected a list of windows per video, got one list for several videos")
    yield from content


def _what(content: Any) -> str:
    if isinstance(content, list | tuple):
        other = next(item for item in content if not isinstance(item, list | tuple))
        return f"a list with {'an array' if isinstance(other, PickledArray) else type(other).__name__}"
    return "an array" if isinstance(content, PickledArray) else type(content).__name__


def _windows(windows: Sequence[Any], *, video: int, faults: _Faults, seen: set[int]) -> Iterator[Float32Array]:
    """The windows that are what they should be, ``(C, k)``, each array of the file (``seen`` so far) once."""
    for number, window in enumerate(windows, start=1):
        where = f"video {video}, window {number}"
        if not isinstance(window, PickledArray) or window.values is None:
            faults.add(f"{where}: expected an array (C, k), got {type(window).__name__}")
            continue
        values = window.values
        if id(window) in seen:
            faults.add(f"{where}: the same array as an earlier window")
        elif values.ndim != 2 or values.shape[0] not in REGIONS_READ or values.shape[1] < 2 or values.shape[1] % 2:
            expected = " or ".join(f"({channels}, k)" for channels in REGIONS_READ)
            faults.add(f"{where}: expected {expected} with an even k, got {values.shape}")
        elif values.dtype.kind not in "fi":  # a window without any face is all zeros, as integers
            faults.add(f"{where}: expected numbers, got {values.dtype}")
        elif (bad := _not_finite(values)) is not None:
            channel, frame = bad
            got = f"{values[channel, frame]} in channel {channel + 1}, frame {frame + 1}"
            faults.add(f"{where}: expected finite numbers, got {got}")
        else:
            yield values.astype(np.float32)
        seen.add(id(window))


def _not_finite(values: AnyArray) -> tuple[int, int] | None:
    """Channel and frame of the first number that float32 cannot hold."""
    limit = float(np.finfo(np.float32).max)
    bad = ~(np.abs(values) <= limit)
    if not bad.any():
        return None
    channel, frame = np.unravel_index(int(np.argmax(bad)), bad.shape)
    return int(channel), int(frame)


def _stacked(windows: list[Float32Array], *, channels: int, window: int) -> Float32Array:
    if not windows:
        return np.zeros((0, window, channels), dtype=np.float32)
    return np.ascontiguousarray(np.stack(windows).transpose(0, 2, 1))


def expected_windows(frames: int, *, window: int) -> int:
    """Windows of a video of so many sampled frames: the authors cut one per hop of ``window // 2``, none at the end.

    Parameters
    ----------
    frames : int
        Frames that the network reads, after sampling.
    window : int
        ``k``.
    """
    return max(0, frames // (window // 2) - 1)
