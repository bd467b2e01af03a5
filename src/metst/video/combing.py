"""Interlaced video that does not say so: both fields in one picture, combed wherever something moves.

Between two pictures that follow each other, the rows of what moves are compared.  In a picture of one moment a row is
more like the next row than like the one after it; where two moments lie in alternate rows it is the other way round.
"""

from __future__ import annotations

import cv2
import numpy as np

from metst.arrays import AnyArray, Image, UInt8Array

# Where no origin is named, a number was set by hand.
_COLUMNS = 256  # at least so many are looked at, where there are as many
_MOVED_LEVELS = 12  # grey levels from one picture to the next: more than noise
_LEAST_SHARE = 0.002  # of the places, to tell anything: a small face that moves
_LEAST_PLACES = 500
# Difference of neighbouring rows over that of every second row: noise has 1; 226 files of ordinary footage have at most
# 0.72 in any frame, ten combed ones 0.7 to 2.4 as their movement is slow or fast.
_COMBED = 1.1
_COMBED_FRAMES = 2  # until it is believed


class Combing:
    """Notices combed pictures in a stream of grey ones, in constant memory; once noticed, all that follow are."""

    def __init__(self) -> None:
        self.noticed = False
        self._last: UInt8Array | None = None
        self._frames = 0

    def begins(self, picture: Image) -> bool:
        """Whether combing is noticed in this picture, for the first time."""
        if self.noticed:
            return False
        last, self._last = self._last, np.ascontiguousarray(picture[:, :: max(1, picture.shape[1] // _COLUMNS)])
        if last is None or last.shape != self._last.shape:
            return False
        self._frames += _combed(last, self._last) > _COMBED
        self.noticed = self._frames >= _COMBED_FRAMES
        return self.noticed


def _combed(last: UInt8Array, picture: UInt8Array) -> float:
    """How much less a row that moves is like the next one than like the one after that; 0 where too little moves."""
    moved = (cv2.absdiff(last, picture) > _MOVED_LEVELS)[1:-1]
    places = int(moved.sum())
    if places < max(_LEAST_PLACES, _LEAST_SHARE * moved.size):
        return 0.0
    next_row = int(cv2.absdiff(picture[1:-1], picture[:-2])[moved].sum())
    second_row = int(cv2.absdiff(picture[:-2], picture[2:])[moved].sum())
    return next_row / max(second_row, 1)


def one_field(picture: AnyArray) -> UInt8Array:
    """Even rows as they are, odd rows averaged from them: the two fields show two moments."""
    whole = np.array(picture, dtype=np.uint8)
    field = whole[::2]
    between = len(field) - 1
    whole[1 : 2 * between : 2] = cv2.addWeighted(field[:-1], 0.5, field[1:], 0.5, 0) if between > 0 else 0
    whole[2 * between + 1 :: 2] = field[between]
    return whole
