"""The recordings that results are of: found by name, known by the hash of their content, looked at again while used."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from metst.errors import MetstError
from metst.results import Source
from metst.video import Stamp, content_hash, content_stamp

VideoState = Literal["found", "missing", "changed", "none"]
"""Of a recording: there and the one that was analysed; not there; another one of that name there; it has no name."""

_LOOK_AGAIN_S: Final = 1.0
"""Seconds after which a recording that is in use is looked at again, without reading it.  Set by hand."""


@dataclass(frozen=True)
class VideoFound:
    """Where a recording is, and what to do if it is not there."""

    state: VideoState
    hint: str = ""
    path: Path | None = None


def places_of(folder: Path, *, more: Sequence[Path]) -> list[Path]:
    """Folders where the recording of a folder of results may lie: those given, then in it, beside it, one above."""
    above = folder.resolve()
    return list(dict.fromkeys([*more, above, above.parent, above.parent.parent]))


class VideoWatch:
    """Looks for the recording of one folder of results, in the background, and keeps an eye on it.

    Parameters
    ----------
    source : Source
        The recording, as the results tell.
    places : sequence of Path
        Folders to look in.
    """

    def __init__(self, source: Source, *, places: Sequence[Path]) -> None:
        self._source, self._places = source, places
        self._lock = threading.Lock()
        self._found: VideoFound | None = None
        self._stamp: Stamp = ()
        self._looked_s = 0.0

    def glance(self) -> VideoFound:
        """What is known now, without reading a recording; one that is there counts as found until it was checked."""
        found = self._found
        if found is not None:
            return found
        there = self._candidates()
        if not there:
            return self._missing()
        return VideoFound("found", "its content is being checked", there[0])

    def check(self) -> VideoFound:
        """The same for sure; it takes as long as reading the recording when that is new or was touched."""
        with self._lock:
            now_s = time.monotonic()
            if self._found is None or now_s - self._looked_s > _LOOK_AGAIN_S:
                self._looked_s = now_s
                path = self._found.path if self._found is not None else None
                if path is None or content_stamp(path) != self._stamp:
                    self._found = self._look()
            return self._found

    def check_in_background(self) -> None:
        """Check without waiting for it."""
        threading.Thread(target=self.check, name="metst-video-check", daemon=True).start()

    def _candidates(self) -> list[Path]:
        name = self._source.name
        if not name or Path(name).name != name:
            return []
        return [path for place in self._places if (path := place / name).exists() and content_stamp(path)]

    def _look(self) -> VideoFound:
        source, there = self._source, self._candidates()
        if not source.name:
            return VideoFound("none", "the results do not say which recording they are of")
        if not there:
            return self._missing()
        for path in there:
            stamp = content_stamp(path)
            try:
                content = content_hash(path)
            except MetstError:
                continue
            if not source.content_hash:
                self._stamp = stamp
                return VideoFound("found", "nobody can tell whether it is the one that was analysed", path)
            if content == source.content_hash:
                self._stamp = stamp
                return VideoFound("found", "", path)
        return VideoFound(
            "changed",
            f"{source.name} is there, but it is not the recording that was analysed, or was changed since: put the"
            " analysed one there, or analyse this one",
        )

    def _missing(self) -> VideoFound:
        name = self._source.name
        return VideoFound(
            "missing", f"{name} was not found: put it beside the results, or give its folder with --videos"
        )
