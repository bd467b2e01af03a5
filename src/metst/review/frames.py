"""Frames of a recording by number: those that the analysis saw, by the decoder that it used.

A decoder stays where it is, so that the next frame costs one frame's decoding, and what it decoded lately is kept as it
came out of it.  A frame far away is found from the key frame before it and known by its timestamp, which must be
exactly one of the analysis; where a file gives other timestamps after a jump, it is decoded from its beginning and
frames are counted.  So a picture is its frame, or there is an error: never a neighbour.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Protocol

import av
import numpy as np

from metst.arrays import Float64Array, Image, IntArray
from metst.errors import MetstError
from metst.review.refusals import Conflict
from metst.timeline import TIME_TOLERANCE_S, TimeGrid
from metst.video.clock import ignore
from metst.video.decoder import decode, make_clock, open_video, stores_decoding_times
from metst.video.folder import bit_depth, list_images, read_image, to_eight_bits
from metst.video.pixels import Converter
from metst.video.reading import resized
from metst.video.seeking import seek_to

# Set by hand.
_LEADS_S = (0.2, 2.0, 10.0)  # before a frame, where decoding starts after a jump: tried in this order
_WORTH_A_JUMP = 48  # frames ahead, fewer are decoded through
_BEHIND = 24  # frames before the one that is wanted that are decoded with it, when somebody goes back
_RECENT_BYTES = 64 * 2**20  # decoded frames that are kept: some 45 of 1280 x 720
_SAME_FRAME = 0.25  # of a frame: nearer, a time is that of an image
_BACK = 200  # frames: a step back no larger than this is one of somebody who goes back


class Frames(Protocol):
    """Pictures of a recording by number."""

    def picture(self, frame: int) -> Image:
        """RGB ``(H, W, 3)`` uint8 of a 0-based frame of the analysis."""

    def close(self) -> None:
        """Let go of the file."""


class _Astray(Exception):  # noqa: N818 - no error: another way is tried
    """A jump led to where no frame of the analysis is."""


class FileFrames:
    """Frames of a video file.

    Parameters
    ----------
    path : Path
        The file.
    grid : TimeGrid
        Timestamps of its frames, from the analysis.
    size : (int, int)
        Width and height of the first frame, pixels: all pictures have it.
    rate_hz : float, optional
        Frames per second where the file has no timestamps.
    rounded : bool
        As of :class:`metst.video.pixels.Converter`: not as the analysis saw them, but as they were written.
    """

    def __init__(
        self,
        path: Path,
        *,
        grid: TimeGrid,
        size: tuple[int, int],
        rate_hz: float | None = None,
        rounded: bool = False,
    ) -> None:
        self._path, self._time_s, self._size, self._rate_hz = path, grid.time_s, size, rate_hz
        self._lock = threading.Lock()
        self._convert = Converter(colour=True, rounded=rounded)
        self._recent: OrderedDict[int, av.VideoFrame] = OrderedDict()
        self._bytes = 0
        self._decoding: _Decoding | None = None

    def picture(self, frame: int) -> Image:
        """RGB ``(H, W, 3)`` uint8 of a 0-based frame.

        Raises
        ------
        Conflict
            The file is not the one that was analysed.
        VideoError
            It cannot be read.
        """
        with self._lock:
            if frame not in self._recent:
                self._decode_up_to(frame)
            self._recent.move_to_end(frame)
            picture = self._convert(self._recent[frame])
        return resized(picture, self._size)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._end()
            self._recent.clear()
            self._bytes = 0

    def _end(self) -> None:
        if self._decoding is not None:
            self._decoding.close()
            self._decoding = None

    def _decode_up_to(self, frame: int) -> None:
        """Have the frame among the recent ones: from where the decoder is, or else from the nearest good start."""
        at = self._decoding.at if self._decoding is not None else None
        if self._decoding is not None and at is not None and 0 <= frame - at < _WORTH_A_JUMP:
            with suppress(_Astray):
                self._take(self._decoding, frame)
                return
        goes_back = at is not None and 0 < at - frame < _BACK
        first = max(frame - _BEHIND, 0) if goes_back else frame
        for lead_s in (*_LEADS_S, math.inf):
            self._end()
            try:
                self._decoding = _Decoding(
                    self._path, time_s=self._time_s, first=first, lead_s=lead_s, rate_hz=self._rate_hz
                )
                self._take(self._decoding, frame)
                return
            except _Astray:
                continue
            except MetstError:
                self._end()
                raise
        self._end()
        raise Conflict(
            f"{self._path.name} has no frame {frame + 1} at {self._time_s[frame]:.3f} s: it is not the recording that"
            " was analysed, or was changed; put the analysed one there, or analyse again"
        )

    def _take(self, decoding: _Decoding, frame: int) -> None:
        for number, decoded in decoding.frames:
            self._keep(number, decoded)
            if number == frame:
                return
            if number > frame:
                break
        raise _Astray

    def _keep(self, number: int, frame: av.VideoFrame) -> None:
        if number in self._recent:
            return
        self._recent[number] = frame
        self._bytes += _size_of(frame)
        while self._bytes > _RECENT_BYTES and len(self._recent) > 2:
            self._bytes -= _size_of(self._recent.popitem(last=False)[1])


def _size_of(frame: av.VideoFrame) -> int:
    return sum(plane.buffer_size for plane in frame.planes)


class _Decoding:
    """A decoder at work, from a good start on.

    Parameters
    ----------
    path : Path
    time_s : (T,) float64
        Timestamps of the frames.
    first : int
        The first frame that is wanted.
    lead_s : float
        How long before it to start, seconds; infinite: at the beginning, where frames are counted.
    rate_hz : float, optional
        As of :class:`FileFrames`.
    """

    def __init__(self, path: Path, *, time_s: Float64Array, first: int, lead_s: float, rate_hz: float | None) -> None:
        self._time_s, self._stack = time_s, ExitStack()
        self.at: int | None = None if math.isfinite(lead_s) else 0
        target_s = float(time_s[first]) - lead_s
        jumps = math.isfinite(lead_s) and target_s > float(time_s[0])
        try:
            container, stream = self._stack.enter_context(open_video(path, threads=None))
            clock = make_clock(path, container, stream, rate_hz=rate_hz, report=ignore)
            if jumps and not seek_to(container, stream, target_s):
                raise _Astray
            # Where only times of decoding are stored, frames left out would spoil them.
            skips = jumps and not stores_decoding_times(container)
            wanted = time_s[first:].tolist() if skips else None
            decoded = self._stack.enter_context(
                closing(decode(container, stream, clock=clock, report=ignore, wanted=wanted))  # type: ignore[type-var]
            )
        except BaseException:
            self._stack.close()
            raise
        self.frames = self._jumped(decoded, by_s=float(time_s[first]) - lead_s / 2) if jumps else self._counted(decoded)

    def close(self) -> None:
        """Let go of the file, and of the last frame: it would keep the memory of all that the decoder ever held."""
        self.frames.close()
        self._stack.close()

    def _counted(
        self, decoded: Iterator[tuple[int, float, av.VideoFrame]]
    ) -> Generator[tuple[int, av.VideoFrame], None, None]:
        """Frames from the beginning: the number is the count, and the timestamp must be that of the analysis."""
        for number, (_, time_s, frame) in enumerate(decoded):
            if number >= len(self._time_s) or abs(time_s - self._time_s[number]) > TIME_TOLERANCE_S:
                raise _Astray
            self.at = number + 1
            yield number, frame

    def _jumped(
        self, decoded: Iterator[tuple[int, float, av.VideoFrame]], *, by_s: float
    ) -> Generator[tuple[int, av.VideoFrame], None, None]:
        """Frames after a jump, known by their timestamps; those at the start may lack what they were predicted from."""
        started = False
        for _, time_s, frame in decoded:
            if not started and time_s > by_s:
                raise _Astray
            started = True
            if time_s < by_s:
                continue
            number = int(np.searchsorted(self._time_s, time_s - TIME_TOLERANCE_S))
            if number >= len(self._time_s) or abs(time_s - self._time_s[number]) > TIME_TOLERANCE_S:
                raise _Astray
            self.at = number + 1
            yield number, frame


class FolderFrames:
    """Frames of a folder of images.

    Parameters
    ----------
    path : Path
        The folder.
    grid : TimeGrid
        Timestamps of its frames, from the analysis.
    size : (int, int)
        Width and height of the first image, pixels.

    Raises
    ------
    VideoError
        The folder cannot be read.
    Conflict
        Its images are not those that were analysed.
    """

    def __init__(self, path: Path, *, grid: TimeGrid, size: tuple[int, int]) -> None:
        images = list_images(path, report=ignore)
        self._size, self._depth = size, bit_depth(images)
        self._files = _those_analysed(images, grid=grid)
        if len(self._files) != len(grid):
            raise Conflict(
                f"{path.name} has {len(images)} images, but {len(grid)} frames were analysed: put the analysed folder"
                " there, or analyse again"
            )

    def picture(self, frame: int) -> Image:
        """As of :class:`FileFrames`."""
        picture = to_eight_bits(read_image(self._files[frame], colour=True), depth=self._depth)
        return resized(picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2), self._size)

    def close(self) -> None:
        """Nothing is held."""


def _those_analysed(images: list[tuple[int, Path]], *, grid: TimeGrid) -> list[Path]:
    """Images in the order of the frames: all, or those at whose time there is a frame, as damaged ones are left out."""
    last_s = float(grid.time_s[-1]) if len(grid) else 0.0
    numbers = np.array([number for number, _ in images])
    if len(images) == len(grid) and (not last_s or _in_step(numbers, grid, rate_hz=float(numbers[-1]) / last_s)):
        return [file for _, file in images]
    if not last_s:
        return []
    rate_hz, files = round(last_s / grid.frame_s) / last_s, dict(images)
    wanted = np.rint(grid.time_s * rate_hz).astype(np.int64)
    return [files[number] for number in wanted.tolist() if number in files]


def _in_step(numbers: IntArray, grid: TimeGrid, *, rate_hz: float) -> bool:
    """Whether images with these numbers were taken at the times of the grid."""
    return bool(np.abs(numbers - grid.time_s * rate_hz).max() < _SAME_FRAME)
