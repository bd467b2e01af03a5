"""Pictures of the face at onset, apex and offset, made unrecognisable in their very pixels."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from metst.arrays import Float64Array, Image
from metst.results import Analysis

WIDTH: Final = 168
"""Of a picture, pixels; set by hand, as is all that follows."""

_MARGIN: Final = 0.18  # around the face, share of its box

# A face of this many cells across keeps brows and mouth as shapes; it does not keep whose they are.
_CELLS: Final = 16
# The bar over the eyes, in distances of the eye centres.
_BAR_LENGTH, _BAR_HEIGHT = 2.3, 0.7
_LEAST_EYES: Final = 0.35  # share of the face's width that the eye centres are taken to be apart at the least
_BAR_COLOUR: Final = (28, 28, 32)
_QUALITY: Final = 82  # of JPEG, per cent
_CORNERS: Final = ((-1, -1), (1, -1), (1, 1), (-1, 1))  # of the bar, in order around it


@dataclass(frozen=True)
class Face:
    """Where the face is in one frame, pixels: box (left, top, right, bottom) and the two eye centres."""

    box: tuple[float, float, float, float]
    eyes: tuple[tuple[float, float], tuple[float, float]]


def face_in(analysis: Analysis, frame: int, *, event: int) -> Face | None:
    """The face at a frame, or at the nearest frame of the event that has one; None where the event has none."""
    first, after = int(analysis.events.onset[event]), int(analysis.events.offset[event])
    found = first + np.flatnonzero(analysis.motion.face.valid[first:after])
    if not found.size:
        return None
    values = analysis.motion.face.values[found[np.argmin(np.abs(found - frame))]].astype(float).tolist()
    return Face((values[0], values[1], values[2], values[3]), ((values[4], values[5]), (values[6], values[7])))


def thumbnail(image: Image, *, face: Face, around: Face, blur: bool) -> Image:
    """Cut the face out of a frame.

    Parameters
    ----------
    image : (H, W, 3) uint8
        RGB frame.
    face : Face
        The face in this frame: where the eyes are covered.
    around : Face
        The face that the cut is taken around; the same for all pictures of an event, so that what
        moves between them is the face.
    blur : bool
        Cover the eyes and average the whole picture over large cells.  What is averaged away is not
        in the file any more.

    Returns
    -------
    (height, WIDTH, 3) uint8
        RGB.
    """
    left, top, right, bottom = face_cut(image, around)
    picture = image[top:bottom, left:right]
    scale = WIDTH / (right - left)
    size = WIDTH, max(1, round((bottom - top) * scale))
    if not blur:
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    bar = eye_bar(face) - (left, top)
    # Covered before the averaging, so that no cell beside the bar carries a trace of the eyes.
    cells = average_cells(covered(picture, bar), face_px=around.box[2] - around.box[0])
    return covered(np.asarray(cv2.resize(cells, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8), bar * scale)


def face_cut(image: Image, face: Face) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of a picture that shows a face and a margin, pixels."""
    height, width = image.shape[:2]
    left, top, right, bottom = face.box
    margin_x, margin_y = _MARGIN * (right - left), _MARGIN * (bottom - top)
    first_x, first_y = int(np.clip(left - margin_x, 0, width - 1)), int(np.clip(top - margin_y, 0, height - 1))
    after_x, after_y = int(np.clip(right + margin_x, 0, width)), int(np.clip(bottom + margin_y, 0, height))
    return first_x, first_y, max(after_x, first_x + 1), max(after_y, first_y + 1)


def average_cells(picture: Image, *, face_px: float) -> Image:
    """Means over cells, one pixel each."""
    height, width = picture.shape[:2]
    cell = max(face_px / _CELLS, 1.0)
    cells = max(1, round(width / cell)), max(1, round(height / cell))
    return np.asarray(cv2.resize(picture, cells, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def eye_bar(face: Face) -> Float64Array:
    """(4, 2) corners of the bar, pixels of the recording."""
    eyes = np.array(face.eyes)
    along = eyes[1] - eyes[0]
    distance = float(np.hypot(*along))
    along = along / distance if distance > 0 else np.array([1.0, 0.0])
    across = np.array([-along[1], along[0]])
    # A head in profile brings the eye centres together, but the bar must not shrink with them.
    unit = max(distance, _LEAST_EYES * (face.box[2] - face.box[0]))
    reach, half_height = unit * _BAR_LENGTH / 2, unit * _BAR_HEIGHT / 2
    return np.array([eyes.mean(axis=0) + x * reach * along + y * half_height * across for x, y in _CORNERS])


def covered(picture: Image, bar: Float64Array) -> Image:
    """The picture with the bar over the eyes."""
    return np.asarray(
        cv2.fillConvexPoly(picture.copy(), np.rint(bar).astype(np.int32), color=_BAR_COLOUR), dtype=np.uint8
    )


def jpeg(picture: Image) -> bytes:
    """An RGB picture as a JPEG file."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()


def data_uri(picture: Image) -> str:
    """JPEG of an RGB picture as a ``data:`` address."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(picture)).decode("ascii")
