"""One folder of results as the server holds it: read when it is needed, once, the largest part last."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from metst.coding.layers import label_of
from metst.errors import MetstError
from metst.results import FACE_CHANNELS, Motion, Source, read_header, read_motion, read_tables
from metst.results.analysis_folder import HEADER_FILE, LAYERS_FILE, LAYERS_FOLDER, Tables
from metst.review.frames import FileFrames, FolderFrames, Frames
from metst.review.pictures import Pictures
from metst.review.proxy import Proxy, is_slow
from metst.review.refusals import Conflict, NotThere
from metst.review.videos import VideoFolders, VideoFound, VideoWatch, places_of
from metst.storage import fingerprint
from metst.timeline import Series, TimeGrid
from metst.video import content_stamp

if TYPE_CHECKING:
    from metst.coding.layers import Coding

ID_LETTERS: Final = 12
"""Of a recording's id: enough that no two of thousands are alike."""

_log = logging.getLogger(__name__)


def id_of(folder: Path) -> str:
    """A short name of a folder of results that stays while the folder stays where it is."""
    return fingerprint(str(folder.resolve()).encode("utf-8", "surrogateescape"))[:ID_LETTERS]


def is_results(folder: Path) -> bool:
    """Whether a folder holds an analysis or layers."""
    return (folder / HEADER_FILE).is_file() or (folder / LAYERS_FOLDER / LAYERS_FILE).is_file()


class Recording:
    """What is known of one recording: its tables, its motion, its layers, its pictures.

    Parameters
    ----------
    folder : Path
        Of results.
    videos : VideoFolders
        Folders in which recordings may lie, besides the usual ones.
    """

    def __init__(self, folder: Path, *, videos: VideoFolders) -> None:
        self.folder, self.id = folder, id_of(folder)
        self._videos = videos
        self._tables_lock, self._motion_lock, self._frames_lock = (threading.Lock() for _ in range(3))
        self._stamp = content_stamp(folder / HEADER_FILE)
        self._source: Source | None = None
        self._watch: VideoWatch | None = None
        self._tables: Tables | None = None
        self._grid: TimeGrid | None = None
        self._motion: Motion | None = None
        self._frames: Frames | None = None
        self._frames_of: tuple[Path | None, bool] = None, False
        self._pictures: Pictures | None = None
        self._proxy: Proxy | None = None

    @property
    def was_rewritten(self) -> bool:
        """Whether somebody analysed the recording again since this was made."""
        return content_stamp(self.folder / HEADER_FILE) != self._stamp

    @property
    def source(self) -> Source:
        """The recording, as the results tell.

        Raises
        ------
        DataError
            The folder is damaged, or of another version.
        """
        if self._source is None:
            self._source = read_header(self.folder).source if self.analysed else self._layers.source
        return self._source

    @property
    def header_events(self) -> int:
        """How many events the machine found, by the header."""
        return int(read_header(self.folder).summary.get("events", 0))

    @property
    def analysed(self) -> bool:
        """Whether there is an analysis, and not layers alone."""
        return (self.folder / HEADER_FILE).is_file()

    @property
    def tables(self) -> Tables:
        """All that an analysis found but its motion.

        Raises
        ------
        DataError
            The folder is damaged, or of another version.
        NotThere
            There are layers alone.
        """
        with self._tables_lock:
            if self._tables is None:
                if not self.analysed:
                    raise NotThere(f"{self.folder.name} holds layers and no analysis: analyse the recording for more")
                self._tables = read_tables(self.folder)
                threading.Thread(target=self._read_ahead, name="metst-motion", daemon=True).start()
            return self._tables

    @property
    def grid(self) -> TimeGrid:
        """Timestamps of its frames."""
        if self.analysed:
            return self.tables.scores.grid
        if self._grid is None:
            self._grid = self._layers.grid
        return self._grid

    @property
    def _layers(self) -> Coding:
        """What was imported, where there is no analysis."""
        from metst.coding.layers_folder import read_layers

        return read_layers(self.folder)

    @property
    def motion(self) -> Motion:
        """What the regions of the face moved; of an hour it takes seconds to read.

        Raises
        ------
        DataError
            Its file is damaged.
        """
        tables = self.tables
        with self._motion_lock:
            if self._motion is None:
                self._motion = read_motion(self.folder, tables=tables)
            return self._motion

    def _read_ahead(self) -> None:
        try:
            _ = self.motion
        except MetstError as error:  # who asks for it is told
            _log.info("%s", error)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the analysis; none without one."""
        return tuple(map(label_of, self.tables.header.classes)) if self.analysed else ()

    # --- the recording itself

    @property
    def watch(self) -> VideoWatch:
        """Looks for the recording."""
        if self._watch is None:
            self._watch = VideoWatch(self.source, places=places_of(self.folder), more=self._videos)
        return self._watch

    def frames(self) -> Frames:
        """Where its pictures come from: the recording, or a copy that is quicker once that is whole.

        Raises
        ------
        Conflict
            The recording is not there, or is another one.
        """
        found = self.watch.check()
        if found.path is None:
            raise Conflict(found.hint)
        with self._frames_lock:
            if self._proxy is None and self.source.content_hash and found.sure:
                self._proxy = self._copy_of(found)
            quick = self._proxy is not None and self._proxy.whole
            if self._frames is None or self._frames_of != (found.path, quick):
                if self._frames is not None:
                    self._frames.close()
                self._frames = self._proxy.open() if quick and self._proxy is not None else self._open(found.path)
                self._frames_of = found.path, quick
            return self._frames

    def _open(self, path: Path) -> Frames:
        source = self.source
        size = source.width, source.height
        if path.is_dir():
            return FolderFrames(path, grid=self.grid, size=size)
        return FileFrames(path, grid=self.grid, size=size, rate_hz=source.rate_hz)

    def _copy_of(self, found: VideoFound) -> Proxy | None:
        source = self.source
        assert found.path is not None
        if not is_slow(found.path, height=source.height, frames=len(self.grid)):
            return None
        proxy = Proxy(
            found.path, content=source.content_hash, grid=self.grid, size=(source.width, source.height),
            rate_hz=source.rate_hz if source.rate_hz else None,
        )  # fmt: skip
        proxy.start()
        return proxy

    @property
    def proxy_progress(self) -> float | None:
        """How much of a quicker copy is made, 0 to 1; None where there is none to be made."""
        proxy = self._proxy
        return None if proxy is None or proxy.problem else 1.0 if proxy.whole else proxy.progress

    @property
    def pictures(self) -> Pictures:
        """Draws and keeps its pictures."""
        with self._frames_lock:
            if self._pictures is None:
                grid = self.grid
                nowhere = np.full((len(grid), len(FACE_CHANNELS)), np.nan, np.float32)
                nobody = Series(grid, nowhere, np.zeros(len(grid), np.bool_), FACE_CHANNELS)
                self._pictures = Pictures(self.tables.face if self.analysed else nobody, width=self.source.width)
            return self._pictures

    def let_go(self) -> None:
        """Close what is open, and forget what can be read again."""
        with self._frames_lock:
            if self._frames is not None:
                self._frames.close()
            if self._proxy is not None:
                self._proxy.stop()
            self._frames = self._proxy = self._pictures = None
        with self._motion_lock:
            self._motion = None
        with self._tables_lock:
            self._tables = None
