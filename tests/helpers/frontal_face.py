"""Landmarks of a made-up frontal face, the same on both sides."""

import numpy as np
import numpy.typing as npt

Points = list[tuple[float, float]]

# In face units: origin between the outer eye corners, x to the right, y down.
_BROW = [(-0.43, -0.2), (-0.36, -0.27), (-0.28, -0.29), (-0.2, -0.28), (-0.13, -0.24)]
_EYE = [(-0.5, 0.0), (-0.41, -0.06), (-0.28, -0.06), (-0.2, 0.02), (-0.28, 0.05), (-0.41, 0.05)]
_JAW = [(0.8 * np.cos(a), 0.15 + 1.05 * np.sin(a)) for a in np.linspace(np.pi, 0, 17)]
_NOSE = [(0, 0), (0, 0.12), (0, 0.24), (0, 0.36)]
_NOSE_BASE = [(-0.16, 0.45), (-0.08, 0.48), (0, 0.5), (0.08, 0.48), (0.16, 0.45)]


def _mirrored(points: Points) -> Points:
    return [(-x, y) for x, y in points]


def _oval(count: int, *, wide: float, high: float) -> Points:
    """Around the middle of the mouth, from its left corner over its upper edge."""
    angles = np.linspace(np.pi, -np.pi, count + 1)[:-1]
    return [(wide * np.cos(a), 0.75 - high * np.sin(a)) for a in angles]


def frontal_face(*, opening: float) -> npt.NDArray[np.float64]:
    """(68, 2) landmarks in face units; the mouth is open by twice ``opening``."""
    right_eye = [_mirrored(_EYE)[i] for i in (3, 2, 1, 0, 5, 4)]
    mouth, lips = _oval(12, wide=0.28, high=0.1), _oval(8, wide=0.2, high=opening)
    brows = [*_BROW, *reversed(_mirrored(_BROW))]
    return np.array([*_JAW, *brows, *_NOSE, *_NOSE_BASE, *_EYE, *right_eye, *mouth, *lips], dtype=np.float64)
