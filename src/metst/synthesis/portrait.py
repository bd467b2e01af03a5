"""The portrait that comes with the package, and where its face is."""

from __future__ import annotations

from importlib import resources

import cv2
import numpy as np

from metst.arrays import Float64Array, UInt8Array
from metst.errors import FaceError
from metst.face import FaceTracker
from metst.video import Frame

_SIZE = (360, 450)  # width and height when none is asked for, px: the head and shoulders enlarged by 1.5
_ROWS, _COLUMNS = slice(0, 300), slice(100, 340)  # head and shoulders in the picture
_LUMA = (0.299, 0.587, 0.114)  # grey of red, green, blue: ITU-R BT.601


def portrait(size: tuple[int, int] | None = None) -> UInt8Array:
    """A public-domain portrait, (H, W, 3) uint8 in red, green, blue: head and shoulders.

    Parameters
    ----------
    size : (int, int), optional
        Width and height, px; the picture fills it and is cut at the sides or at the bottom.  360 x 450 when absent.

    Raises
    ------
    FaceError
        The installation lacks the picture.
    """
    path = resources.files("metst") / "assets" / "astronaut.png"
    if not path.is_file():
        raise FaceError("the installation lacks its portrait, assets/astronaut.png: build and install metst again")
    picture = np.asarray(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB))
    width, height = size or _SIZE
    part = picture[_ROWS, _COLUMNS]
    scale = max(width / part.shape[1], height / part.shape[0])
    whole = (max(round(part.shape[1] * scale), width), max(round(part.shape[0] * scale), height))
    large = cv2.resize(part, whole, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)
    left = (whole[0] - width) // 2
    return np.asarray(large[:height, left : left + width], dtype=np.uint8)


def portrait_landmarks(picture: UInt8Array | None = None) -> Float64Array:
    """Landmarks ``(68, 2)`` of :func:`portrait`, or of another size of it, px, as the face tracker finds them.

    Raises
    ------
    FaceError
        None is found, or it is too small to measure.
    """
    picture = portrait() if picture is None else picture
    grey = np.asarray(np.rint(picture @ _LUMA), dtype=np.uint8)
    found = FaceTracker().update(Frame(index=0, time_s=0.0, grey=grey))
    if found.face is None:
        raise FaceError(f"no face found in the portrait: {found.reason}")
    return found.face.landmarks.astype(np.float64)
