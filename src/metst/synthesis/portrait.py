"""The portrait that comes with a dependency, and where its face is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from metst.errors import FaceError
from metst.face import FaceTracker
from metst.video import Frame


def portrait() -> npt.NDArray[np.uint8]:
    """The public-domain portrait that scikit-image carries, (450, 360, 3) uint8: head and shoulders."""
    from skimage import data, transform

    head = data.astronaut()[:300, 100:340]
    enlarged = transform.resize(head, (450, 360), order=3, anti_aliasing=False)
    return np.asarray(np.clip(np.rint(enlarged * 255), 0, 255), dtype=np.uint8)


def portrait_landmarks() -> npt.NDArray[np.float64]:
    """Landmarks ``(68, 2)`` of :func:`portrait`, px, as the face tracker finds them."""
    grey = np.asarray(np.rint(portrait() @ [0.299, 0.587, 0.114]), dtype=np.uint8)
    found = FaceTracker().update(Frame(index=0, time_s=0.0, grey=grey))
    if found.face is None:
        raise FaceError(f"no face found in the portrait: {found.reason}")
    return found.face.landmarks.astype(np.float64)
