"""Folders of still images: the frame number in each name, gaps, bit depth.

Order and time come from the number in the name relative to the first, so that a missing image
is a jump in both.  Where names hold a clock, or several numbers that run, the images are taken in
natural order of all numbers and counted; that the rate decides, and gaps cannot be seen, is told.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from metst.arrays import AnyArray, Image, UInt8Array
from metst.errors import VideoError
from metst.guard.limits import PICTURE
from metst.video.clock import Report
from metst.video.pixels import rgb_to_grey
from metst.video.quiet import silent_opencv

DeepImage = UInt8Array | npt.NDArray[np.uint16]

# Of formats that OpenCV reads and cameras or converters write; the choice is by hand.
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_JPEG_SUFFIXES = frozenset({".jpeg", ".jpg"})
_DIGITS = re.compile(r"([0-9]+)")  # of a name, between what is no number
# From one image to the next, set by hand: every twenty-fifth frame, one a second, may be kept, or a thousandth at most;
# steps between these count time where they divide a second that is counted in milliseconds, as those of a clock do.
_LARGEST_STEP, _LONGEST_STEP, _SECOND = 25, 999, 1000
_LEAST_STEPS, _CLOCK_JITTER = 9, 0.25  # to tell a clock from frame numbers; share of a step; set by hand
_DENSE = 0.9  # share that makes a rule: of the numbers in a span, of the steps that are alike; set by hand
_GAPS_NAMED = 5  # in a report, the first; set by hand
_DEPTH_SAMPLES = 4  # images, at least, whose values tell the bit depth; set by hand
_DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras use

FULL_DEPTH = _DEPTHS[-1]
"""Bits of an image all of which are in use."""


def list_images(folder: Path, *, report: Report) -> list[tuple[int, Path]]:
    """Images of a folder in order of their numbers.

    Returns
    -------
    list of (int, Path)
        Frame number, 0 for the first image, and file.

    Raises
    ------
    VideoError
        The folder cannot be read or holds no images.
    """
    paths = image_files(folder)
    values = _numbers_in_names(paths)
    if not values:
        report("no numbers", "file names carry no frame number: taken in order of name, gaps cannot be seen")
        return list(enumerate(sorted(paths)))
    if left_out := len(paths) - len(values):
        report("other names", f"{left_out} image(s) do not fit the numbering of the others and are left out")
    files = [values[key] for key in sorted(values)]
    numbers = _frame_numbers(sorted(values))
    if numbers is None:
        report(
            "several numbers",
            "file names hold several numbers that run, or a clock: all images are taken in their natural order, one "
            "after the other at the rate given; gaps cannot be seen",
        )
        return list(enumerate(files))
    ordered = sorted(zip(numbers, files, strict=True))
    rising = [number for number, _ in ordered]
    unit = _clock_step(rising)
    if unit is None:
        _report_gaps(rising, report)
        return [(number - rising[0], path) for number, path in ordered]
    report(
        "clock",
        "the numbers in file names are times, not frames: the images are taken in their order at the rate given"
        + (f", {unit} for each frame" if unit else ", one after the other; gaps cannot be seen"),
    )
    counted = [(number - rising[0]) // unit for number in rising] if unit else list(range(len(rising)))
    _report_gaps(counted, report)
    return [(count, path) for count, (_, path) in zip(counted, ordered, strict=True)]


def image_files(folder: Path) -> list[Path]:
    """Images in a folder by their names' endings, in no particular order; hidden files are left out.

    Raises
    ------
    VideoError
        The folder cannot be read or holds no images.
    """
    try:
        paths = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."]
    except OSError as error:
        raise VideoError(f"the folder {folder} cannot be read: {error.strerror}") from error
    if not paths:
        raise VideoError(f"{folder} holds no images; expected numbered files ({' '.join(sorted(IMAGE_SUFFIXES))})")
    return paths


def _numbers_in_names(paths: Sequence[Path]) -> dict[tuple[int, ...], Path]:
    """Files by the numbers in their names, of the largest set of names that are alike but for these."""
    alike: dict[tuple[str, ...], dict[tuple[int, ...], Path]] = {}
    for path in sorted(paths):
        parts = _DIGITS.split(path.stem)
        group = alike.setdefault((*parts[::2], path.suffix.lower()), {})
        group.setdefault(tuple(map(int, parts[1::2])), path)
    largest = max(alike.values(), key=len)
    return {} if () in largest else largest


def _frame_numbers(names: Sequence[tuple[int, ...]]) -> list[int] | None:
    """The one number of each name that counts frames; names are in natural order, all of one length.

    A name may hold several numbers (``006_1_0001.jpg``, ``frame12_t0.400.png``): the frame's differs in all names
    and keeps them in natural order, or leaves hardly a number out; among such columns it is the one of the smallest
    span, then the last, but of several that leave hardly a number out one that keeps natural order
    (``f_000_left_059.png`` to ``f_059_left_000.png``).  ``None`` where there is none: minutes and seconds, parts and
    their frames.
    """
    columns = [list(column) for column in zip(*names, strict=True)]
    count = len(names)
    spans = [max(column) - min(column) for column in columns]
    dense = [_DENSE * span < count for span in spans]
    ordered = [column == sorted(column) for column in columns]
    fit = [
        place for place, column in enumerate(columns) if len(set(column)) == count and (ordered[place] or dense[place])
    ]
    if not fit:
        return None
    return columns[min(fit, key=lambda at: (0 if dense[at] else spans[at], not ordered[at], spans[at], -at))]


def _clock_step(numbers: Sequence[int]) -> int | None:
    """What a clock in rising numbers counts from one frame to the next; 0 where that varies, ``None`` for no clock.

    Frame numbers are multiples of one step, or have holes of any size; the steps of a clock are all about the same.
    """
    steps = [after - before for before, after in pairwise(numbers)]
    if len(steps) < _LEAST_STEPS:
        return None
    common, usual = math.gcd(*steps), median(steps)
    if common == min(steps):
        fits = common > _LONGEST_STEP or (common > _LARGEST_STEP and _SECOND % common == 0)
        return common if fits else None
    alike = sum(abs(step - usual) <= _CLOCK_JITTER * usual for step in steps)
    return 0 if usual > 1 / _CLOCK_JITTER and alike >= _DENSE * len(steps) else None


def _report_gaps(numbers: Sequence[int], report: Report) -> None:
    gaps = [(a + 1, b - 1) for a, b in pairwise(numbers) if b - a > 1]
    if gaps:
        missing = sum(last - first + 1 for first, last in gaps)
        named = [str(first) if first == last else f"{first}-{last}" for first, last in gaps[:_GAPS_NAMED]]
        more = ", ..." if len(gaps) > _GAPS_NAMED else ""
        report("gaps", f"{missing} number(s) missing between images: {', '.join(named)}{more}")


def read_image(path: Path, *, colour: bool) -> DeepImage:
    """Read a still image upright (EXIF), ``(H, W)`` grey or ``(H, W, 3)`` RGB, 8 or 16 bits.

    Raises
    ------
    VideoError
        The file cannot be read or is not such an image.
    """
    try:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise VideoError(f"{path.name} cannot be read: {error.strerror}") from error
    _check_size(data, path=path)
    # A JPEG holds luma: taken as stored.  Of the others each decoder of OpenCV has its own way to grey.
    luma = not colour and path.suffix.lower() in _JPEG_SUFFIXES
    mode = cv2.IMREAD_GRAYSCALE if luma else cv2.IMREAD_ANYCOLOR if not colour else cv2.IMREAD_COLOR
    mode |= cv2.IMREAD_ANYDEPTH
    # A damaged image is told of by an error of ours; OpenCV would print as well.
    try:
        with silent_opencv():
            image = cv2.imdecode(data, mode) if data.size else None
    except cv2.error:
        image = None
    if image is None:
        raise VideoError(f"{path.name} cannot be decoded, it is damaged or not an image")
    if image.dtype not in (np.uint8, np.uint16):
        raise VideoError(f"{path.name} holds {image.dtype} values, expected 8- or 16-bit integers")
    rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)) if image.ndim == 3 else np.asarray(image)
    picture: AnyArray = rgb if colour or rgb.ndim == 2 else rgb_to_grey(rgb)
    return picture


def _check_size(data: UInt8Array, *, path: Path) -> None:
    """Refuse a picture that claims to be huge; of a format that Pillow does not know, OpenCV's own limit holds.

    Raises
    ------
    VideoError
        It has more pixels than any camera.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about tags of the file, and its size, which is looked at here
        try:
            with PillowImage.open(io.BytesIO(data.tobytes())) as picture:
                pixels = picture.width * picture.height
        except PillowImage.DecompressionBombError as error:
            raise VideoError(f"{path.name}: {error}") from error
        except Exception:  # noqa: BLE001 - not read here: whoever does says what is wrong with it
            return
    PICTURE.check(pixels, where=path.name, error=VideoError)


def bit_depth(images: Sequence[tuple[int, Path]]) -> int:
    """Bits in use in the 16-bit images of a folder: 8, 10, 12, 14 or 16 (also where there are none).

    Files have no place to say that a camera used 10 or 12 of 16 bits, so the brightest value of
    images from all over the folder decides.
    """
    brightest = 0
    for _, path in images[:: max(1, len(images) // _DEPTH_SAMPLES)]:
        try:
            image = read_image(path, colour=True)
        except VideoError:
            continue
        if image.dtype == np.uint8:
            return FULL_DEPTH
        brightest = max(brightest, int(image.max(initial=0)))
    return next(bits for bits in _DEPTHS if brightest < 1 << bits) if brightest else FULL_DEPTH


def to_eight_bits(image: DeepImage, *, depth: int) -> Image:
    """Keep the upper 8 of the ``depth`` bits of a 16-bit image, saturated; an 8-bit image stays as it is."""
    return image.astype(np.uint8) if image.dtype == np.uint8 else np.minimum(image >> (depth - 8), 255).astype(np.uint8)
