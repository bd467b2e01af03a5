"""The recordings that results are of: found by name, known by the hash of their content, looked at again while used."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final, Literal

from metst.errors import MetstError
from metst.results import Source
from metst.video import Stamp, content_hash, content_stamp

VideoState = Literal["found", "missing", "changed", "none"]
"""Of a recording: there and the one that was analysed; not there; another one of that name there; it has no name."""

_LOOK_AGAIN_S: Final = 1.0
"""Seconds after which a recording that is in use is looked at again, without reading it.  Set by hand."""

_WAIT_S: Final = 2.0
"""Seconds for which pictures wait until a recording is known to be the one that was analysed; longer ones are shown
meanwhile, since their timestamps must agree in any case.  Set by hand."""


_WALK_AGAIN_S: Final = 5.0
"""Seconds after which folders are walked through again for a name that was not there.  Set by hand."""

DEEPEST: Final = 6
"""Folders below one that was given in which recordings and results are looked for.  Set by hand."""

_UNSURE: Final = "its content is being checked"


@dataclass(frozen=True)
class VideoFound:
    """Where a recording is, and what to do if it is not there; ``sure`` once its content was compared."""

    state: VideoState
    hint: str = ""
    path: Path | None = None
    sure: bool = True


def places_of(folder: Path) -> list[Path]:
    """Folders where the recording of a folder of results may lie: in it, beside it, one above."""
    above = folder.resolve()
    return [above, above.parent, above.parent.parent]


class VideoFolders:
    """Folders in which recordings lie, at any depth, by their names; walked through when a name is first asked for.

    Links and hidden folders are not followed.  A name that is not there is looked for again after a while.

    Parameters
    ----------
    roots : sequence of Path
        The folders.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(roots)
        self._lock = threading.Lock()
        self._walked_s = -math.inf
        self._paths: dict[str, list[Path]] = {}

    def named(self, name: str, *, another: bool) -> list[Path]:
        """Files and folders of that name, those that lie least deep first; ``another``: those known are not the one."""
        with self._lock:
            stale = time.monotonic() - self._walked_s > _WALK_AGAIN_S
            if self._roots and stale and (another or not any(path.exists() for path in self._paths.get(name, ()))):
                self._paths = self._walked()
                self._walked_s = time.monotonic()
            return list(self._paths.get(name, ()))

    def _walked(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = defaultdict(list)
        for root in self._roots:
            for place, below, files in os.walk(root):
                below[:] = sorted(each for each in below if not each.startswith("."))
                for each in (*below, *files):
                    found[each].append(Path(place) / each)
                if len(Path(place).relative_to(root).parts) >= DEEPEST:
                    below.clear()
        return {name: sorted(paths, key=lambda path: len(path.parts)) for name, paths in found.items()}


class VideoWatch:
    """Looks for the recording of one folder of results, in the background, and keeps an eye on it.

    Parameters
    ----------
    source : Source
        The recording, as the results tell.
    places : sequence of Path
        Folders to look in; the first is that of the results.
    more : VideoFolders
        Folders to look in at any depth; of what is alike, what lies there comes first.
    """

    def __init__(self, source: Source, *, places: Sequence[Path], more: VideoFolders) -> None:
        self._source, self._places, self._more = source, places, more
        self._lock = threading.Lock()
        self._known: tuple[VideoFound, Stamp] | None = None  # in one, as others read it while the folders are looked at
        self._looked_s = 0.0
        self._checking: threading.Thread | None = None

    def glance(self) -> VideoFound:
        """What is known now, without reading a recording; one that is there counts as found until it was checked."""
        known = self._known
        if known is not None and self._holds(*known):
            return known[0]
        there = self._candidates()
        return VideoFound("found", _UNSURE, there[0], sure=False) if there else self._missing()

    def check(self, *, wait_s: float = _WAIT_S) -> VideoFound:
        """The same for sure, if reading the recording takes no longer than that; it goes on in the background.

        One that was not touched since is not read again.
        """
        with self._lock:
            now_s, known = time.monotonic(), self._known
            running = self._checking is not None and self._checking.is_alive()
            if not running and (known is None or (now_s - self._looked_s > _LOOK_AGAIN_S and not self._holds(*known))):
                self._looked_s = now_s
                self._checking = threading.Thread(target=self._look, name="metst-video-check", daemon=True)
                self._checking.start()
            checking = self._checking
        if checking is not None:
            checking.join(wait_s)
        return self.glance()

    def _holds(self, found: VideoFound, stamp: Stamp) -> bool:
        """Whether what was found is still there, untouched, or still not there."""
        return (self._stamps() if found.path is None else content_stamp(found.path)) == stamp

    def _stamps(self) -> Stamp:
        return tuple(each for path in self._candidates() for each in content_stamp(path))

    def _candidates(self) -> list[Path]:
        name = self._source.name
        if not name or Path(name).name != name:
            return []
        known = self._known
        another = known is not None and known[0].state == "changed"
        paths = dict.fromkeys([*self._more.named(name, another=another), *(place / name for place in self._places)])
        return sorted((path for path in paths if path.exists() and content_stamp(path)), key=self._unlike)

    def _unlike(self, path: Path) -> int:
        """Less for a recording that lies in folders called as those of the results.

        All have one name and each that is not the one is read in vain: the likeliest comes first.
        """
        own = (path if path.is_dir() else path.parent / path.stem).parts
        named = zip(reversed(own), reversed(self._places[0].parts), strict=False)
        return -sum(1 for _ in takewhile(lambda both: both[0] == both[1], named))

    def _look(self) -> None:
        source, stamps = self._source, self._stamps()
        if not source.name:
            self._known = VideoFound("none", "the results do not say which recording they are of"), stamps
            return
        there = self._candidates()
        for path in there:
            stamp = content_stamp(path)
            try:
                content = content_hash(path)
            except MetstError:
                continue
            if content == source.content_hash or not source.content_hash:
                hint = "" if source.content_hash else "nobody can tell whether it is the one that was analysed"
                self._known = VideoFound("found", hint, path), stamp
                return
        changed = VideoFound(
            "changed",
            f"{source.name} is there, but it is not the recording that was analysed, or was changed since: put the"
            " analysed one there, or analyse this one",
        )
        self._known = changed if there else self._missing(), stamps

    def _missing(self) -> VideoFound:
        name = self._source.name
        return VideoFound(
            "missing", f"{name} was not found: put it beside the results, or give its folder with --videos"
        )
