"""Interlaced video that does not say so: both fields in one picture, combed wherever something moves.

Of what moves, between two pictures that follow each other, two things are looked at.  In a picture of one moment a row
is more like the next row than like the one after it; where two moments lie in alternate rows it is the other way round.
So it is in fine stripes, too.  But fields have an order in time: the later field of one picture and the earlier one of
the next are neighbours, the other two are three fields apart, and so fit less well together.  Of pictures of one moment
the odd rows of each fit the even ones of the other equally badly.
"""

from __future__ import annotations

from collections import deque

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
# How much less two fields fit that are three apart than neighbours: four clips woven from two pictures each have 1.6 to
# 2.1 in most frames, as pictures of one moment, also of stripes, have 1.
_ORDERED = 1.2
_OWN = 0.35  # of the misfit of neighbours, that of a picture's own fields at least: 0.5 to 1, else mostly 0.1 to 0.3
# Pictures that move, the last of which are counted; without how many nothing is noticed, and nothing taken back.
_REMEMBERED, _LEAST_FRAMES, _LEAST_TO_END = 24, 4, 12
_BEGINS, _ENDS = 0.7, 0.25  # shares of them whose fields have one order


class Combing:
    """Notices combed pictures in a stream of grey ones, and when they end, in constant memory."""

    def __init__(self) -> None:
        self.noticed = False
        self._last: UInt8Array | None = None
        self._order: deque[int] = deque(maxlen=_REMEMBERED)
        self._combed: deque[bool] = deque(maxlen=_REMEMBERED)

    def changes(self, picture: Image) -> bool:
        """Whether with this picture it is noticed that combing begins or ends."""
        last, self._last = self._last, np.ascontiguousarray(picture[:, :: max(1, picture.shape[1] // _COLUMNS)])
        if last is None or last.shape != self._last.shape:
            return False
        moved = (cv2.absdiff(last, self._last) > _MOVED_LEVELS).view(np.uint8)
        if cv2.countNonZero(moved) < max(_LEAST_PLACES, _LEAST_SHARE * moved.size):
            return False
        self._order.append(_field_order(last, self._last, moved=moved))
        self._combed.append(_combed(self._last, moved=moved[1:-1]) > _COMBED)
        before, self.noticed = self.noticed, self._is_combed()
        if before == self.noticed:
            return False
        self._order.clear()
        self._combed.clear()
        return True

    def _is_combed(self) -> bool:
        count = len(self._order)
        ordered = max(self._order.count(1), self._order.count(-1))
        if self.noticed:
            return count < _LEAST_TO_END or ordered > _ENDS * count
        return count >= _LEAST_FRAMES and ordered >= _BEGINS * count and sum(self._combed) >= _COMBED_FRAMES


def _field_order(last: UInt8Array, picture: UInt8Array, *, moved: UInt8Array) -> int:
    """1 where even rows show an earlier moment than odd rows, -1 where a later one; 0 for one moment, or unclear."""
    height = (len(picture) - 1) // 2 * 2
    # At most 1020: NumPy is quick with arrays of 16 bits, and OpenCV adds them up without making them wider first.
    places = moved[1:height:2].astype(np.int16)
    even_before, even = (one[: height + 1 : 2].astype(np.int16) for one in (last, picture))
    odd_before, odd = (one[1:height:2].astype(np.int16) for one in (last, picture))

    def misfit(odd: AnyArray, even: AnyArray) -> float:
        apart: AnyArray = np.abs(2 * odd - even[:-1] - even[1:])
        return cv2.sumElems(apart * places)[0]

    even_first, odd_first = misfit(odd, even_before), misfit(odd_before, even)
    neighbours = min(even_first, odd_first)
    if max(even_first, odd_first) < _ORDERED * neighbours or misfit(odd, even) < _OWN * neighbours:
        return 0
    return 1 if even_first > odd_first else -1


def _combed(picture: UInt8Array, *, moved: UInt8Array) -> float:
    """How much less a row that moves is like the next one than like the one after that."""
    next_row = cv2.norm(picture[1:-1], picture[:-2], cv2.NORM_L1, moved)
    second_row = cv2.norm(picture[:-2], picture[2:], cv2.NORM_L1, moved)
    return next_row / max(second_row, 1)


def one_field(picture: AnyArray) -> UInt8Array:
    """Even rows as they are, odd rows averaged from them: the two fields show two moments."""
    whole = np.array(picture, dtype=np.uint8)
    field = whole[::2]
    between = len(field) - 1
    whole[1 : 2 * between : 2] = cv2.addWeighted(field[:-1], 0.5, field[1:], 0.5, 0) if between > 0 else 0
    whole[2 * between + 1 :: 2] = field[between]
    return whole
