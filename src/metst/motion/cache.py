"""The motion of recordings that were analysed before: another model, or the same again, then takes a moment.

An entry is one file.  It holds the motion of the facial regions, where the face was, and the file's name; no picture,
and no score.  Its name is made of the hash of the recording's content and a fingerprint of all that decides its motion,
so that an entry is never out of date, only unused.  Any number of processes may share a folder: files appear whole, and
two that compute the same write the same.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import xxhash

from metst.arrays import FloatArray
from metst.config import AnalyzeSettings
from metst.errors import DataError, OutputError
from metst.results.motion import Measured
from metst.results.motion_file import array_digest, header_of, motion_bytes, motion_of, name_in
from metst.storage import json_key, make_folder, write_whole
from metst.storage.cache_folder import FOLDER_VARIABLE as FOLDER_VARIABLE
from metst.storage.cache_folder import PICTURES_SUFFIX
from metst.storage.cache_folder import default_folder as default_folder
from metst.storage.leftovers import sweep

FORMAT = 5
"""To be raised whenever the layout of an entry, or what stages 1 to 3 compute, changes within a version of metst."""

_SUFFIX = ".motion.safetensors"
"""How the name of an entry ends."""

_PICTURES_NAME = "(pictures for metst review)"
"""Such a copy does not say how its recording is called."""

_DAY_S = 86400.0  # seconds
_OWN_NAME = "\0"  # stands for the recording's name in problems: the same content may be called otherwise next time

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One file of the cache.

    Parameters
    ----------
    path : Path
    name : str
        The recording's file name; empty when the entry is damaged.
    size : int
        Bytes.
    used : datetime
        When it was last written or read, UTC.
    """

    path: Path
    name: str
    size: int
    used: datetime


@lru_cache(maxsize=8)
def open_cache(folder: Path) -> MotionCache:
    """The cache in a folder, one per process: what it has to say, it says once.

    The user's own, which earlier versions left open to all, is closed to others.
    """
    if FOLDER_VARIABLE not in os.environ and folder == default_folder():
        with suppress(OSError):
            folder.chmod(stat.S_IRWXU)
    return MotionCache(folder)


class MotionCache:
    """Entries in one folder, which need not exist.  A folder that cannot be written to costs only time.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._told = False

    def measured(self, key: str, compute: Callable[[], Measured], *, name: str) -> Measured:
        """What is kept under ``key``, else what ``compute`` gives, which is kept then.

        Parameters
        ----------
        key : str
            Of :func:`motion_key`.
        compute : callable
            Runs stages 1 to 3.  What it found in a recording that was changed meanwhile is not kept.
        name : str
            The recording's file name, for people.
        """
        if (found := self.read(key, name=name)) is not None:
            return found
        result = compute()
        if not result.changed:
            self.write(key, result, name=name)
        return result

    def read(self, key: str, *, name: str) -> Measured | None:
        """What is kept, problems told of a recording called ``name``; None when there is nothing, or only damage."""
        path = self._path(key)
        try:
            data = path.read_bytes()
            kept = motion_of(data)
            if not header_of(data):  # as files of earlier versions, which no entry of this format is
                raise DataError("it does not say what it holds")
        except FileNotFoundError:
            return None
        except (OSError, DataError) as error:
            _log.info("%s is damaged and counts as absent (%s)", path, error)
            return None
        with suppress(OSError):
            os.utime(path)  # what was used last is dropped last
        return Measured(kept.motion, tuple(each.replace(_OWN_NAME, f"{name}: ", 1) for each in kept.problems))

    def write(self, key: str, measured: Measured, *, name: str) -> None:
        """Keep a result: whole or not at all."""
        problems = [problem.replace(f"{name}: ", _OWN_NAME, 1) for problem in measured.problems]
        try:
            make_folder(self.folder, private=True)
            write_whole(self._path(key), motion_bytes(measured.motion, name=name, problems=problems), private=True)
        except OutputError as error:
            if not self._told:
                self._told = True
                _log.warning("motion is not kept for the next run: %s", error)

    def entries(self) -> list[Entry]:
        """All entries and copies of recordings, the one used last first."""
        found = []
        for path in self._files(f"*{_SUFFIX}") + self._files(f"*{PICTURES_SUFFIX}"):
            with suppress(FileNotFoundError):  # another process may be pruning
                status = path.stat()
                used = datetime.fromtimestamp(status.st_mtime, UTC)
                name = _PICTURES_NAME if path.name.endswith(PICTURES_SUFFIX) else name_in(path)
                found.append(Entry(path, name, status.st_size, used))
        return sorted(found, key=lambda entry: (entry.used, entry.path.name), reverse=True)

    def forget(self, contents: Set[str]) -> list[Entry]:
        """Delete all entries of recordings with these hashes of their content; what was deleted."""
        gone = [each for each in self.entries() if each.path.name.split("-")[0] in contents]
        for entry in gone:
            entry.path.unlink(missing_ok=True)
        return gone

    def prune(
        self, *, older_than_days: float | None = None, max_bytes: float | None = None, everything: bool = False
    ) -> list[Entry]:
        """Delete entries that were not used for long, then those used longest ago until the rest is small enough.

        Parameters
        ----------
        older_than_days : float, optional
            Days without use after which an entry goes.
        max_bytes : float, optional
            Size of all that may stay.
        everything : bool
            Delete all entries.

        Returns
        -------
        list of Entry
            What was deleted.
        """
        now, kept_bytes = datetime.now(UTC), 0
        gone = []
        for entry in self.entries():
            old = older_than_days is not None and (now - entry.used).total_seconds() > _DAY_S * older_than_days
            full = max_bytes is not None and kept_bytes + entry.size > max_bytes
            if everything or old or full:
                entry.path.unlink(missing_ok=True)
                gone.append(entry)
            else:
                kept_bytes += entry.size
        sweep(self.folder)
        return gone

    def _files(self, pattern: str) -> list[Path]:
        return list(self.folder.glob(pattern)) if self.folder.is_dir() else []

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"


def motion_key(
    content_hash: str, *, settings: AnalyzeSettings, rate_hz: float | None = None, landmarks: FloatArray | None = None
) -> str:
    """Name of all that decides what stages 1 to 3 find: the recording's content, settings, version of metst.

    Parameters
    ----------
    content_hash : str
        What :func:`metst.video.hashing.content_hash` gives for the recording.
    settings : AnalyzeSettings
        Of the face and motion stages.
    rate_hz : float, optional
        Frame rate that was given.
    landmarks : (T, 68, 2) array, optional
        Landmarks that were given.
    """
    decides = {
        "format": FORMAT,
        "version": version("metst"),
        "face": settings.face.model_dump(mode="json"),
        "motion": settings.motion.model_dump(mode="json"),
        "rate_hz": rate_hz,
        "landmarks": None if landmarks is None else landmarks_digest(landmarks),
    }
    fingerprint = xxhash.xxh3_64(json_key(decides)).hexdigest()
    return f"{content_hash}-{fingerprint}"


def landmarks_digest(landmarks: FloatArray) -> str:
    """What tells landmarks ``(T, 68, 2)`` that were given from others: shape and hash, as the face stage takes them."""
    return array_digest(np.asarray(landmarks, np.float32))
