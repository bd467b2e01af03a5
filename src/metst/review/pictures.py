"""Pictures for the page: a frame as JPEG, with nothing in it that the coder has not unlocked."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final, Literal

import cv2
import numpy as np

from metst.arrays import Float64Array, Image
from metst.report.thumbnails import Face, average_cells, covered, eye_bar, face_cut, jpeg
from metst.results import Motion
from metst.review.frames import Frames
from metst.timeline import Series

FaceView = Literal["blurred", "eyes", "clear"]
"""How faces are shown: averaged over large cells, the eyes under a bar, or as they are: from least to most."""

# Set by hand.
_KEPT_BYTES: Final = 48 * 2**20  # of JPEG files
_WIDEST: Final = 3840  # pixels; wider pictures are refused nobody needs
_FIRST_FACE: Final = 4  # where no frame has a face, it is taken to be this part of the width
_ENLARGED: Final = 4.0  # a cut of the face is enlarged by no more: there is nothing to be seen in it


@dataclass(frozen=True)
class Wanted:
    """Which picture, and how.

    Parameters
    ----------
    frame : int
        0-based.
    width : int, optional
        Pixels; the recording's own when absent.
    faces : {"blurred", "eyes", "clear"}
    times : float
        How many times larger motion is drawn.
    since : int, optional
        0-based frame from which motion counts.
    around : int, optional
        Cut the face out, around where it is in this 0-based frame; the whole picture when absent.
    """

    frame: int
    width: int | None = None
    faces: FaceView = "eyes"
    times: float = 1.0
    since: int | None = None
    around: int | None = None


@dataclass(frozen=True)
class Drawn:
    """A picture: the file, and how many times larger motion is in it."""

    jpeg: bytes
    times: float


class Pictures:
    """Pictures of one recording.

    Parameters
    ----------
    face : Series (T, 8)
        Where the face is, pixels of the recording, of the analysis.
    width : int
        Of the recording, pixels.
    """

    def __init__(self, face: Series, *, width: int) -> None:
        self._face, self._width = face, width
        self._with_face = np.flatnonzero(face.valid)
        boxes = face.values[self._with_face]
        self._face_px = float(np.median(boxes[:, 2] - boxes[:, 0])) if len(boxes) else width / _FIRST_FACE
        self._lock = threading.Lock()
        self._kept: OrderedDict[Wanted, Drawn] = OrderedDict()
        self._bytes = 0

    def kept(self, wanted: Wanted) -> Drawn | None:
        """A picture that was made lately."""
        with self._lock:
            if wanted in self._kept:
                self._kept.move_to_end(wanted)
            return self._kept.get(wanted)

    def draw(self, wanted: Wanted, *, frames: Frames, motion: Motion | None) -> Drawn:
        """A picture, made or made lately.

        Parameters
        ----------
        wanted : Wanted
            Which, and how.
        frames : Frames
            Where pictures come from.
        motion : Motion, optional
            What the face moved; needed where it is drawn larger.
        """
        if (found := self.kept(wanted)) is not None:
            return found
        image, times = self._drawn(frames.picture(wanted.frame), wanted, motion=motion)
        drawn = Drawn(jpeg(image), times)
        with self._lock:
            if wanted not in self._kept:
                self._kept[wanted] = drawn
                self._bytes += len(drawn.jpeg)
            while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1].jpeg)
        return drawn

    def _drawn(self, picture: Image, wanted: Wanted, *, motion: Motion | None) -> tuple[Image, float]:
        scale = picture.shape[1] / self._width  # a copy of a recording may be smaller
        face, times = self._face_at(wanted.frame, scale=scale), 1.0
        hidden = wanted.faces != "clear"
        bar = eye_bar(face) if face is not None else None
        if hidden and bar is not None:  # before anything else, so that no pixel beside the bar carries a trace of it
            picture = covered(picture, bar)
        if face is not None and motion is not None and wanted.times > 1 and wanted.since is not None:
            picture, times = _larger(picture, wanted, face=face, motion=motion)
            picture = covered(picture, bar) if hidden and bar is not None else picture
        left, top, right, bottom = self._part(picture, wanted, scale=scale)
        picture = picture[top:bottom, left:right]
        size = _size_of(picture, wanted)
        if wanted.faces == "blurred" or (hidden and face is None):
            cells = average_cells(picture, face_px=self._face_px * scale)
            picture = np.asarray(cv2.resize(cells, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        elif size != picture.shape[1::-1]:
            method = cv2.INTER_AREA if size[0] < picture.shape[1] else cv2.INTER_CUBIC
            picture = np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)
        if hidden and bar is not None:
            shown: Float64Array = (bar - (left, top)) * (size[0] / (right - left))
            picture = covered(picture, shown)
        return picture, times

    def _part(self, picture: Image, wanted: Wanted, *, scale: float) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of what is shown."""
        face = None if wanted.around is None else self._nearest_face(wanted.around, scale=scale)
        if face is None:
            return 0, 0, picture.shape[1], picture.shape[0]
        return face_cut(picture, face)

    def _nearest_face(self, frame: int, *, scale: float) -> Face | None:
        if not len(self._with_face):
            return None
        return self._face_at(int(self._with_face[np.argmin(np.abs(self._with_face - frame))]), scale=scale)

    def _face_at(self, frame: int, *, scale: float) -> Face | None:
        if not self._face.valid[frame]:
            return None
        values = ((self._face.values[frame].astype(float) + 0.5) * scale - 0.5).tolist()
        return Face((values[0], values[1], values[2], values[3]), ((values[4], values[5]), (values[6], values[7])))


def _size_of(picture: Image, wanted: Wanted) -> tuple[int, int]:
    height, width = picture.shape[:2]
    if wanted.width is None:
        return width, height
    scale = wanted.width / width if wanted.around is None else min(wanted.width / width, _ENLARGED)
    scale = min(scale, 1.0) if wanted.around is None else scale  # the page enlarges better than a file
    return max(1, round(width * scale)), max(1, round(height * scale))


def _larger(picture: Image, wanted: Wanted, *, face: Face, motion: Motion) -> tuple[Image, float]:
    """The picture with motion drawn larger, and how much larger that is: not at all across a gap."""
    from metst.review.magnify import fitting, magnified

    assert wanted.since is not None
    first, last = sorted((wanted.since, wanted.frame))
    if first == last or not motion.displacement.valid[first : last + 1].all():
        return picture, 1.0
    moved = motion.displacement.values[wanted.frame] - motion.displacement.values[wanted.since]
    times = fitting(moved, times=wanted.times)
    return magnified(picture, face=face, moved=moved, times=times), times


def at_most(wanted: Wanted) -> Wanted:
    """The same, no wider than any screen."""
    return wanted if wanted.width is None else replace(wanted, width=min(wanted.width, _WIDEST))
