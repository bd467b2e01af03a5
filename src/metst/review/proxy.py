"""A small copy of a recording whose pictures are found at once, where the recording itself finds them slowly.

One picture per frame of the recording in its order, so that the n-th picture is frame n; at most :data:`HEIGHT` rows, a
key frame every :data:`KEY_FRAME_EVERY` frames.  It shows faces as they are, lies in the user's own folder for caches,
private to the user, whole or not at all, and goes with ``metst cache --prune`` and ``metst purge``.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from metst.arrays import Image
from metst.errors import MetstError, VideoError
from metst.review.frames import FileFrames
from metst.storage import make_folder, whole_file
from metst.storage.cache_folder import PICTURES_SUFFIX, default_folder
from metst.timeline import TimeGrid
from metst.video import check_untouched, content_stamp, read_colour_stream, write_video
from metst.video.decoder import has_timestamps, open_video, stores_decoding_times
from metst.video.seeking import key_times

# Set by hand.
HEIGHT: Final = 720
"""Rows of the copy, at most."""
KEY_FRAME_EVERY: Final = 12
"""Frames."""
_SLOW_FRAMES: Final = 30  # between key frames of a recording, more take too long to decode through
_RATE_HZ: Final = 25  # of the copy: its times are only numbers
_CRF: Final = 20  # quality of H.264
_FORMAT: Final = 1  # to be raised when copies are made in another way

_ONE_AT_A_TIME = threading.Lock()


def proxy_path(content: str) -> Path:
    """Where the copy of a recording lies, by the hash of its content."""
    return default_folder() / f"{content}-{_FORMAT}{PICTURES_SUFFIX}"


def is_slow(path: Path, *, height: int, frames: int) -> bool:
    """Whether a jump in a recording takes longer than a reviewer should wait.

    Parameters
    ----------
    path : Path
        Video file or folder.
    height : int
        Its rows.
    frames : int
        How many it has.
    """
    if path.is_dir():
        return height > HEIGHT
    with open_video(path, threads=1) as (container, stream):
        out_of_step = stores_decoding_times(container) and stream.codec_context.has_b_frames
        only_from_the_start = out_of_step or not has_timestamps(container)
    keys = key_times(path)
    return height > HEIGHT or only_from_the_start or not keys or frames / len(keys) > _SLOW_FRAMES


class _Stopped(Exception):  # noqa: N818 - no error
    """The server ends."""


class Proxy:
    """The copy of one recording, while it is made and after.

    Parameters
    ----------
    video : Path
        The recording.
    content : str
        Hash of its content.
    grid : TimeGrid
        Its frames.
    size : (int, int)
        Its width and height, pixels.
    rate_hz : float, optional
        Frames per second of a source without timestamps.
    """

    def __init__(
        self, video: Path, *, content: str, grid: TimeGrid, size: tuple[int, int], rate_hz: float | None
    ) -> None:
        self._video, self._grid, self._rate_hz = video, grid, rate_hz
        self._path = proxy_path(content)
        width, height = size
        scale = min(1.0, HEIGHT / height)
        self._size = max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))
        self._stop = threading.Event()
        self.progress, self.problem = 0.0, ""

    @property
    def whole(self) -> bool:
        """Whether it can be used."""
        return self._path.is_file()

    def open(self) -> FileFrames:
        """Its pictures by number."""
        grid = TimeGrid.uniform(len(self._grid), rate_hz=_RATE_HZ)
        return FileFrames(self._path, grid=grid, size=self._size, rounded=True)

    def start(self) -> None:
        """Make it in the background."""
        threading.Thread(target=self._run, name="metst-proxy", daemon=True).start()

    def stop(self) -> None:
        """Make it no longer; nothing of it stays."""
        self._stop.set()

    def _run(self) -> None:
        with _ONE_AT_A_TIME:
            try:
                if not self.whole and not self._stop.is_set():
                    make_folder(self._path.parent, private=True)
                    stamp = content_stamp(self._video)
                    with whole_file(self._path, private=True) as part, closing(self._pictures()) as pictures:
                        write_video(
                            part, pictures, rate_hz=_RATE_HZ, crf=_CRF, preset="ultrafast",
                            key_frame_every=KEY_FRAME_EVERY,
                        )  # fmt: skip
                        check_untouched(self._video, stamp=stamp, during="it was copied")
                self.progress = 1.0
            except _Stopped:
                pass
            except MetstError as error:  # pictures come from the recording itself then
                self.problem = str(error)

    def _pictures(self) -> Generator[Image, None, None]:
        count = 0
        for count, frame in enumerate(read_colour_stream(self._video, rate_hz=self._rate_hz, threads=1), start=1):
            if self._stop.is_set():
                raise _Stopped
            self.progress = min(count / len(self._grid), 1.0)
            yield np.asarray(cv2.resize(frame.rgb, self._size, interpolation=cv2.INTER_AREA), np.uint8)
        if count != len(self._grid):
            raise VideoError(f"{self._video.name} has {count} frames, but {len(self._grid)} were analysed")
