"""All recordings that a server shows: folders of results that were given, and those that come while it runs."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from metst.errors import UsageError
from metst.review.recordings import Recording, id_of, is_results
from metst.review.refusals import NotThere
from metst.review.videos import DEEPEST, VideoFolders

_OPEN: Final = 2
"""Recordings whose tables and pictures are kept in memory.  Set by hand."""


def folders_of_results(root: Path) -> list[Path]:
    """Folders of results at or below one, in order of their names; links and hidden folders are not followed.

    Raises
    ------
    UsageError
        There is no such folder, or it holds none.
    """
    if not root.is_dir():
        raise UsageError(f"no such folder: {root}: give a folder that metst analyze or metst import wrote")
    if is_results(root):
        return [root]
    found = []
    for place, below, _ in os.walk(root):
        folder = Path(place)
        if is_results(folder):
            found.append(folder)
            below.clear()
        elif len(folder.relative_to(root).parts) >= DEEPEST:
            below.clear()
        below[:] = sorted(name for name in below if not name.startswith("."))
    return found


class Library:
    """Recordings by id, in the order in which they came.

    Parameters
    ----------
    videos : sequence of Path
        Folders in which recordings may lie, at any depth, besides the usual ones.
    """

    def __init__(self, *, videos: Sequence[Path] = ()) -> None:
        self._videos = VideoFolders(videos)
        self._lock = threading.Lock()
        self._recordings: dict[str, Recording] = {}
        self._open: OrderedDict[str, None] = OrderedDict()

    def add(self, folder: Path) -> Recording:
        """Show a folder of results, too, or again when it was written anew."""
        with self._lock:
            rid = id_of(folder)
            if rid not in self._recordings:
                self._recordings[rid] = Recording(folder, videos=self._videos)
            return self._recordings[rid]

    def renew(self, folder: Path) -> None:
        """Forget what was read of a folder that was written anew."""
        with self._lock:
            old = self._recordings.get(id_of(folder))
            if old is not None:
                self._recordings[old.id] = Recording(folder, videos=self._videos)
        if old is not None:
            old.let_go()

    def all(self) -> list[Recording]:
        """All of them."""
        with self._lock:
            return list(self._recordings.values())

    def get(self, rid: str) -> Recording:
        """One of them; those used longest ago are let go of.

        Raises
        ------
        NotThere
            There is none of that id.
        """
        with self._lock:
            if rid not in self._recordings:
                raise NotThere(f"no recording {rid[:40]!r} here: load the list of recordings again")
            self._open[rid] = None
            self._open.move_to_end(rid)
            old = self._recordings[self._open.popitem(last=False)[0]] if len(self._open) > _OPEN else None
            found = self._recordings[rid]
        if old is not None:
            old.let_go()
        return found

    def close(self) -> None:
        """Let go of everything."""
        for recording in self.all():
            recording.let_go()
