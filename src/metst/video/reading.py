"""Public readers of stage 1: a file or folder becomes frames with timestamps."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from metst.arrays import Image
from metst.errors import UsageError, VideoError
from metst.spelling.names import given_name
from metst.timeline import TimeGrid
from metst.video.clock import Report, check_rate, ignore, needed_rate
from metst.video.decoder import Picture, VideoInfo, nothing_decoded, probe_stream, stream_pictures
from metst.video.folder import FULL_DEPTH, bit_depth, list_images, read_image, to_eight_bits
from metst.video.guard import PictureGuard
from metst.video.seeking import pictures_at

OnProblem = Callable[[str], None]

_REPORTS_PER_KIND = 10  # of problems, the rest are counted; set by hand


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame in grey.

    Parameters
    ----------
    index : int
        0-based number of the frame in the source; what could not be read keeps its number.
    time_s : float
        Seconds, from the container's timestamp.
    grey : (H, W) uint8
        Upright picture (rotation metadata applied).
    cut : str
        Why nothing may be measured from the frame before to this one ("change of resolution",
        "frozen picture"); empty when it may.
    """

    index: int
    time_s: float
    grey: Image
    cut: str = ""


@dataclass(frozen=True, eq=False)
class ColourFrame:
    """One frame in colour: as :class:`Frame`, but ``rgb`` is ``(H, W, 3)`` uint8."""

    index: int
    time_s: float
    rgb: Image


def probe_video(path: Path | str, *, rate_hz: float | None = None) -> VideoInfo:
    """Describe a video file or frame folder; only its first frame is decoded.

    Parameters
    ----------
    path : path
        Video file or folder of numbered images.
    rate_hz : float, optional
        Frames per second, needed where the source has no timestamps.

    Raises
    ------
    UsageError
        Nothing at ``path``, or no frame rate where one is needed.
    VideoError
        Not a video, or not one frame of it can be decoded.
    """
    path = Path(path)
    check_rate(rate_hz)
    if not _is_folder(path):
        return probe_stream(path, rate_hz=rate_hz)
    rate_hz = needed_rate(path, rate_hz)
    with closing(_pictures(path, colour=False, rate_hz=rate_hz, problems=_Problems(path, None))) as pictures:
        height, width = next(pictures)[0][2].shape
    count = list_images(path, report=ignore)[-1][0] + 1
    return VideoInfo(path, width, height, count, count / rate_hz, rate_hz, "images", False)


def read_frames(
    path: Path | str,
    *,
    rate_hz: float | None = None,
    on_problem: OnProblem | None = None,
    threads: int | None = None,
) -> Iterator[Frame]:
    """Decode a video file or frame folder, in grey, one frame at a time.

    Index and time increase from frame to frame.  Damage does not end the reading: what can be
    decoded is given, and each loss is told to ``on_problem``.  A picture of another size than
    the first is resized to the first's.  Of interlaced video one field is kept, and the rows of
    the other are averaged from it; where the file does not say so, from where combed pictures are
    noticed.  Frames that repeat the picture before them, also encoded anew, are counted.

    Parameters
    ----------
    path : path
        Video file or folder of numbered images.
    rate_hz : float, optional
        Frames per second, for sources without timestamps (frame folders, bare H.264 ...); the
        timestamps of a container have precedence.
    on_problem : callable, optional
        Called with one line per problem: at most ten of a kind, then a count.
    threads : int, optional
        Decoder threads; by default as many as :func:`metst.threads.thread_limit` allows, but no more than 4.

    Raises
    ------
    UsageError
        Nothing at ``path``, or a source without timestamps and no ``rate_hz``.
    VideoError
        Not a video (found while iterating), or not one frame of it can be decoded.
    """
    problems = _Problems(Path(path), on_problem)
    return _grey_frames(
        _pictures(Path(path), colour=False, rate_hz=rate_hz, problems=problems, threads=threads), problems
    )


def _grey_frames(pictures: Iterator[tuple[Picture, bool]], problems: _Problems) -> Iterator[Frame]:
    guard = PictureGuard(problems.report)
    for (index, time_s, picture), resized in pictures:
        grey, cut = guard.take(picture, time_s=time_s)
        yield Frame(index, time_s, grey, "change of resolution" if resized else cut)
    guard.close()
    problems.close()


def read_colour_stream(
    path: Path | str,
    *,
    rate_hz: float | None = None,
    on_problem: OnProblem | None = None,
    threads: int | None = None,
) -> Iterator[ColourFrame]:
    """Decode all frames in colour; index, time, field of interlaced video and all else as in :func:`read_frames`."""
    problems = _Problems(Path(path), on_problem)
    return _colour_frames(
        _pictures(Path(path), colour=True, rate_hz=rate_hz, problems=problems, threads=threads), problems
    )


def _colour_frames(pictures: Iterator[tuple[Picture, bool]], problems: _Problems) -> Iterator[ColourFrame]:
    for picture, _ in pictures:
        yield ColourFrame(*picture)
    problems.close()


def read_colour_frames(path: Path | str, *, times_s: Sequence[float], rate_hz: float | None = None) -> list[Image]:
    """Frames nearest to the given times, in colour, found by seeking.

    Parameters
    ----------
    path : path
        Video file or folder of numbered images.
    times_s : sequence of float
        Seconds, in any order; a time that :func:`read_frames` gave finds exactly its frame.
    rate_hz : float, optional
        As in :func:`read_frames`.

    Returns
    -------
    list of (H, W, 3) uint8
        RGB, one for each time.

    Raises
    ------
    UsageError, VideoError
        As :func:`read_frames`; also where an image of a folder cannot be read.
    """
    return next(read_colour_groups(path, groups=[times_s], rate_hz=rate_hz))


def read_colour_groups(
    path: Path | str, *, groups: Iterable[Sequence[float]], rate_hz: float | None = None
) -> Iterator[list[Image]]:
    """As :func:`read_colour_frames` for several groups of times, each read when it is asked for.

    The recording is looked at once, not for every group.
    """
    info = probe_video(path, rate_hz=rate_hz)
    if info.path.is_dir():
        found = _images_at(info.path, groups, rate_hz=needed_rate(info.path, rate_hz))
    else:
        found = pictures_at(info.path, groups, rate_hz=rate_hz)
    size = info.width, info.height
    yield from ([resized(picture, size) for picture in pictures] for pictures in found)


def _images_at(folder: Path, groups: Iterable[Sequence[float]], *, rate_hz: float) -> Iterator[list[Image]]:
    images = list_images(folder, report=ignore)
    grid, depth = TimeGrid(np.array([index for index, _ in images]) / rate_hz), bit_depth(images)
    for times_s in groups:
        files = [images[int(grid.frame_at(time_s))][1] for time_s in times_s]
        yield [to_eight_bits(read_image(file, colour=True), depth=depth) for file in files]


class _Problems:
    """Passes problems on, the first few of each kind one by one, the rest as a count."""

    def __init__(self, path: Path, on_problem: OnProblem | None):
        self._name = given_name(path)
        self._tell = on_problem or (lambda _message: None)
        self._count: Counter[str] = Counter()

    def report(self, kind: str, message: str) -> None:
        self._count[kind] += 1
        if self._count[kind] <= _REPORTS_PER_KIND:
            self._tell(f"{self._name}: {message}")

    def close(self) -> None:
        for kind, count in self._count.items():
            if (more := count - _REPORTS_PER_KIND) > 0:
                self._tell(f"{self._name}: {more} more reports of the kind: {kind}")


def _pictures(
    path: Path, *, colour: bool, rate_hz: float | None, problems: _Problems, threads: int | None = None
) -> Generator[tuple[Picture, bool], None, None]:
    """Check the call now, decode later; with each picture whether its size has changed."""
    check_rate(rate_hz)
    if _is_folder(path):
        pictures = _folder_pictures(path, colour=colour, rate_hz=needed_rate(path, rate_hz), report=problems.report)
    else:
        pictures = stream_pictures(path, colour=colour, rate_hz=rate_hz, report=problems.report, threads=threads)
    return _one_size(path, pictures, problems.report)


def _is_folder(path: Path) -> bool:
    """Whether the source is a folder; refuse what is neither a folder nor a file with content."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"no such file or folder: {path}") from error
    except OSError as error:
        raise VideoError(f"{path} cannot be read: {error.strerror}") from error
    if stat.S_ISDIR(status.st_mode):
        return True
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"expected a video file or a folder of images, but {path} is neither")
    if status.st_size == 0:
        raise VideoError(f"{path} is empty (0 bytes); record or copy it again")
    return False


def _one_size(path: Path, pictures: Iterator[Picture], report: Report) -> Generator[tuple[Picture, bool], None, None]:
    """Resize every picture to the size of the first: one track and one motion need one scale."""
    first: tuple[int, int] | None = None
    last: tuple[int, int] | None = None
    for index, time_s, picture in pictures:
        height, width = picture.shape[:2]
        size = (width, height)
        first, last = first or size, last or size
        changed, last = size != last, size
        if changed and size != first:
            change = f"{width}x{height}, resized to {first[0]}x{first[1]}"
            report("another size", f"from frame {index} ({time_s:.3f} s) on pictures are {change}")
        yield (index, time_s, resized(picture, first)), changed
    if first is None:
        raise nothing_decoded(path)


def resized(picture: Image, size: tuple[int, int]) -> Image:
    """A picture in the size (width, height) of the first of its recording."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    method = cv2.INTER_AREA if width * height > size[0] * size[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, interpolation=method), dtype=np.uint8)


def _folder_pictures(path: Path, *, colour: bool, rate_hz: float, report: Report) -> Iterator[Picture]:
    images = list_images(path, report=report)
    depth = bit_depth(images)
    if depth < FULL_DEPTH:
        report("depth", f"its 16-bit images use {depth} bits, the upper 8 of them are kept")
    for index, file in images:
        try:
            picture = to_eight_bits(read_image(file, colour=colour), depth=depth)
        except VideoError as error:
            report("unreadable image", f"frame {index} is left out: {error}")
            continue
        yield index, index / rate_hz, picture
