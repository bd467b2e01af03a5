"""Words and shapes on pictures, for the overlay video."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from metst.arrays import Float32Array, Image, Int32Array

Colour = tuple[int, int, int]
Point = tuple[float, float]

_FRACTION_BITS = 4  # OpenCV draws at places in so many fractional bits: sixteenths of a pixel
_FINER = 4  # words are drawn so many times larger and averaged; set by hand

# Looks, set by hand.
_CHIP_SHADE = 0.72  # how much of the picture the ground of a chip hides
_CHIP_GAP = 3  # pixels between two chips
_SHORTEST_ARROW_PX = 1e-6  # under which an arrow has no direction
_LONGEST_HEAD, _HEAD_WIDTH = 0.7, 0.45  # of an arrow: share of its length; half the width, share of the head's length
_WHITE = 255  # of a mask of 8 bits


@lru_cache(maxsize=1)
def palette() -> dict[str, Colour]:
    """Colours by name, those of the report's dark page."""
    style = files("metst.report").joinpath("report.css").read_text(encoding="utf-8")
    dark = style[style.index("prefers-color-scheme: dark") :]
    return {name: _rgb(code) for name, code in re.findall(r"--([\w-]+): #([0-9a-f]{6})", dark)}


def _rgb(code: str) -> Colour:
    return int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16)


@lru_cache(maxsize=4096)
def _mask(text: str, size: int) -> Float32Array:
    """How much of each pixel the words cover, ``(h, w, 1)`` in [0, 1]; equal heights for one size."""
    # Drawn larger and averaged: at the size itself the font's hints close the gaps between small words.
    font = ImageFont.load_default(_FINER * size)
    ascent, descent = font.getmetrics()  # type: ignore[union-attr]  # Pillow's own font is a FreeType one
    width, height = -(-int(font.getlength(text) + 1) // _FINER), -(-(ascent + descent) // _FINER)
    picture = Pictures.new("L", (_FINER * width, _FINER * height))
    ImageDraw.Draw(picture).text((0, 0), text, fill=_WHITE, font=font)
    covered = np.asarray(picture, np.float32) / np.float32(_WHITE)
    return np.asarray(covered.reshape(height, _FINER, width, _FINER).mean(axis=(1, 3))[:, :, None], np.float32)


def text_size(text: str, *, size: int) -> tuple[int, int]:
    """Width and height of words, pixels."""
    height, width, _ = _mask(text, size).shape
    return width, height


def write(
    image: Image, text: str, *, at: Point, size: int, colour: Colour, align: tuple[float, float] = (0.0, 0.0)
) -> None:
    """Write words, ``at`` their left upper corner; ``align`` moves that by shares of their width and height."""
    mask = _mask(text, size)
    height, width, _ = mask.shape
    left, top = round(at[0] - align[0] * width), round(at[1] - align[1] * height)
    first_x, first_y = max(left, 0), max(top, 0)
    after_x, after_y = min(left + width, image.shape[1]), min(top + height, image.shape[0])
    if first_x >= after_x or first_y >= after_y:
        return
    part = image[first_y:after_y, first_x:after_x]
    share = mask[first_y - top : after_y - top, first_x - left : after_x - left]
    part[:] = np.rint(part + share * (np.array(colour, np.float32) - part)).astype(np.uint8)


def chip(image: Image, text: str, *, at: Point, size: int, ink: Colour, ground: Colour, right: bool = False) -> Point:
    """Words on a darkened ground; returns where the next chip goes (below), ``at`` being this one's corner."""
    width, height = text_size(text, size=size)
    pad = size // 3
    left = at[0] - width - 2 * pad if right else at[0]
    shade(image, box=(left, at[1], left + width + 2 * pad, at[1] + height + pad), colour=ground, share=_CHIP_SHADE)
    write(image, text, at=(left + pad, at[1] + pad / 2), size=size, colour=ink)
    return at[0], at[1] + height + pad + _CHIP_GAP


def shade(image: Image, *, box: tuple[float, float, float, float], colour: Colour, share: float) -> None:
    """Mix a colour into a box (left, top, right, bottom)."""
    left, top, right, bottom = (max(0, round(edge)) for edge in box)
    part = image[top:bottom, left:right]
    part[:] = np.rint(part + np.float32(share) * (np.array(colour, np.float32) - part)).astype(np.uint8)


def line(image: Image, points: npt.ArrayLike, *, colour: Colour, width: int = 1) -> None:
    """Smooth line through points ``(N, 2)``, pixels."""
    cv2.polylines(image, [_fixed(points)], False, colour, width, cv2.LINE_AA, _FRACTION_BITS)


def ring(image: Image, centre: Sequence[float], *, radius: float, colour: Colour, width: int = 1) -> None:
    """Smooth circle; filled when ``width`` is negative."""
    at = _fixed([centre])[0].tolist()
    cv2.circle(image, at, round(radius * (1 << _FRACTION_BITS)), colour, width, cv2.LINE_AA, _FRACTION_BITS)


def arrow(image: Image, start: npt.ArrayLike, stop: npt.ArrayLike, *, colour: Colour, width: int, head: float) -> None:
    """Arrow with a filled head of ``head`` pixels, and a dark rim that keeps it apart from any ground."""
    first, last = np.asarray(start, np.float64), np.asarray(stop, np.float64)
    length = float(np.hypot(*(last - first)))
    if length < _SHORTEST_ARROW_PX:
        return
    along = (last - first) / length
    across = np.array([-along[1], along[0]])
    head = min(head, _LONGEST_HEAD * length)
    neck = last - head * along
    tip = np.stack([last, neck + _HEAD_WIDTH * head * across, neck - _HEAD_WIDTH * head * across])
    for rim, ink in ((2, (0, 0, 0)), (0, colour)):
        line(image, np.stack([first, neck]), colour=ink, width=width + rim)
        if rim:
            cv2.polylines(image, [_fixed(tip)], True, ink, rim, cv2.LINE_AA, _FRACTION_BITS)
        else:
            cv2.fillConvexPoly(image, _fixed(tip), ink, cv2.LINE_AA, _FRACTION_BITS)


def _fixed(points: npt.ArrayLike) -> Int32Array:
    return np.rint(np.asarray(points, np.float64) * (1 << _FRACTION_BITS)).astype(np.int32)
