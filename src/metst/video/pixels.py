"""From a decoder's frame to an array: luma as stored or RGB, turned upright."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import cast

import av
import cv2
import numpy as np
from av.buffer import Buffer
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from metst.arrays import AnyArray, UInt8Array
from metst.errors import VideoError
from metst.guard.limits import PICTURE
from metst.video.combing import one_field

# FFmpeg's names of such pixel formats: bits above 8, and the order of bytes, are groups.
_OWN_LUMA_PLANE = re.compile(r"(?:yuv[aj]?4\d\dp|gray)(9|1[0246])?(le|be)?|nv(?:12|16|21|24|42)")

_ROUNDED = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
"""Of swscale, with which colours are rounded to the nearest; without the last of them, two grey levels are missing."""

_EIGHT_BITS = 8
"""Of a sample, at most, where one byte holds it."""


def rgb_to_grey(picture: AnyArray) -> AnyArray:
    """Full-range luma of a colour picture ``(H, W, 3)`` RGB, 8 or 16 bits (ITU-R BT.601, as OpenCV rounds it).

    The one way from colours to grey: of RGB video, still images, cameras and pictures that a caller feeds.
    """
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))


@lru_cache(maxsize=64)
def _luma_layout(pixel_format: str) -> tuple[np.dtype[np.unsignedinteger], int] | None:
    """Sample type and bits of formats that hold luma, and nothing else, in their first plane."""
    if (match := _OWN_LUMA_PLANE.fullmatch(pixel_format)) is None:
        return None
    bits = int(match[1] or 8)
    return np.dtype(np.uint8 if bits == 8 else ">u2" if match[2] == "be" else "<u2"), bits


class Converter:
    """Turns decoded frames into arrays that own their memory, upright, in grey or RGB.

    Parameters
    ----------
    colour : bool
        RGB, not grey.
    rounded : bool
        Round colours to the nearest, which takes longer; else they come out darker, by one grey level in the mean.
    """

    def __init__(self, *, colour: bool, rounded: bool = False):
        self._colour, self._interpolation = colour, _ROUNDED if rounded else None
        self._reformatter = VideoReformatter()
        self._rotation: int | None = None
        self._turn = (False, 1, 1)

    def __call__(self, frame: av.VideoFrame) -> UInt8Array:
        """Array of a frame: ``(H, W)``, or ``(H, W, 3)`` in colour.

        Raises
        ------
        VideoError
            It has more pixels than any camera.
        """
        PICTURE.check(frame.width * frame.height, where="a frame", error=VideoError)
        if frame.rotation != self._rotation:
            # Looking at side data makes a reference cycle that keeps the frame in memory: a tiny copy has them, too.
            tiny = self._reformatter.reformat(frame, width=16, height=16, format="gray", threads=1)
            self._rotation, self._turn = frame.rotation, _turn(tiny)
        picture = self._rgb(frame) if self._colour else self._grey(frame)
        if frame.interlaced_frame:
            picture = one_field(picture)
        transposed, down, right = self._turn
        picture = picture.swapaxes(0, 1) if transposed else picture
        # The copy lets the decoder have its buffer back, which a view would keep alive.
        return np.array(picture[::down, ::right], dtype=np.uint8, order="C")

    def _rgb(self, frame: av.VideoFrame) -> AnyArray:
        return self._reformatter.reformat(
            frame, format="rgb24", interpolation=self._interpolation, threads=1
        ).to_ndarray()

    def _grey(self, frame: av.VideoFrame) -> AnyArray:
        if frame.format.is_rgb or frame.format.has_palette:
            deep_rgb = max(part.bits for part in frame.format.components) > _EIGHT_BITS
            colours = self._reformatter.reformat(frame, format="rgb48le" if deep_rgb else "rgb24", threads=1)
            luma = rgb_to_grey(colours.to_ndarray())
            return luma >> _EIGHT_BITS if deep_rgb else luma
        layout = _luma_layout(frame.format.name)
        if layout is None:
            # Equal ranges on both sides make swscale keep luma as stored.  16 bits in between,
            # since swscale's way from deep luma to 8 bits rounds and, for P010, has a fault.
            full = ColorRange.JPEG
            deep: AnyArray = self._reformatter.reformat(
                frame, format="gray16le", src_color_range=full, dst_color_range=full, threads=1
            ).to_ndarray()
            return deep >> 8
        dtype, bits = layout
        plane = frame.planes[0]
        rows = np.frombuffer(memoryview(plane), dtype).reshape(frame.height, -1)[:, : frame.width]
        # A negative line size: FFmpeg stores the rows from the bottom up.
        rows = rows[::-1] if plane.line_size < 0 else rows
        return rows >> (bits - 8) if bits > 8 else rows


def _turn(frame: av.VideoFrame) -> tuple[bool, int, int]:
    """Display matrix, (x, y) to (a x + c y, b x + d y), as transposition and steps down and right.

    Other angles become the nearest quarter turn.
    """
    matrix = cast("Buffer | None", frame.side_data.get("DISPLAYMATRIX"))
    if matrix is None:
        return False, 1, 1
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, -1 if d < 0 else 1, -1 if a < 0 else 1
    return True, -1 if b < 0 else 1, -1 if c < 0 else 1
