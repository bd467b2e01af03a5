"""The portrait that comes with the package, and where its face is."""

from __future__ import annotations

from importlib import resources

import cv2
import numpy as np
import numpy.typing as npt

from metst.errors import FaceError
from metst.face import FaceTracker
from metst.video import Frame


def portrait() -> npt.NDArray[np.uint8]:
    """A public-domain portrait, (450, 360, 3) uint8 in red, green, blue: head and shoulders.

    Raises
    ------
    FaceError
        The installation lacks the picture.
    """
    path = resources.files("metst") / "assets" / "astronaut.png"
    if not path.is_file():
        raise FaceError("the installation lacks its portrait, assets/astronaut.png: build and install metst again")
    picture = np.asarray(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB))
    return np.asarray(cv2.resize(picture[:300, 100:340], (360, 450), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def portrait_landmarks() -> npt.NDArray[np.float64]:
    """Landmarks ``(68, 2)`` of :func:`portrait`, px, as the face tracker finds them."""
    grey = np.asarray(np.rint(portrait() @ [0.299, 0.587, 0.114]), dtype=np.uint8)
    found = FaceTracker().update(Frame(index=0, time_s=0.0, grey=grey))
    if found.face is None:
        raise FaceError(f"no face found in the portrait: {found.reason}")
    return found.face.landmarks.astype(np.float64)
