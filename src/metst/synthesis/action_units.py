"""Facial action units as displacements of control points, and the smooth field between them.

An action unit is a short list of how far landmarks of one side of the face move when the unit
is fully contracted.  Units of length are *face units*: 1 is the distance between the outer eye
corners.  Directions are written for the left half of the image as (outward, down), so that the
same row serves both halves.  They are rounded from what a parametric face, FACS photographs and
optical flow of published micro-expressions show; a test holds their directions against that face.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from metst.arrays import Float64Array
from metst.errors import UsageError
from metst.regions import OUTER_EYE_CORNERS

Side = Literal["both", "left", "right"]

CHEEK, FOREHEAD, UNDER_EYE = 68, 70, 72
"""Control points beyond the 68 landmarks, left then right: cheek, forehead, skin under the lower lid."""

CONTROL_POINTS = 74
"""Landmarks and control points beyond them."""

ActionUnit = Mapping[int, tuple[float, float]]

Contraction = float | tuple[float, float]
"""Of an action unit, as a fraction of full contraction: of both halves alike, or of the left and the right half of the
image."""

ACTION_UNITS: Mapping[str, ActionUnit] = {
    "1": {21: (0.0, -0.055), 20: (0.0, -0.055), 19: (0.0, -0.03), 18: (0.0, -0.012), FOREHEAD: (0.0, -0.03)},
    "2": {
        17: (0.010, -0.055), 18: (0.020, -0.080), 19: (0.015, -0.075), 20: (0.010, -0.045), 21: (0.0, -0.015),
        FOREHEAD: (0.0, -0.03),
    },
    "4": {21: (-0.018, 0.032), 20: (-0.024, 0.043), 19: (-0.024, 0.046), 18: (-0.024, 0.045), 17: (-0.016, 0.032)},
    # The field of the upper lid alone would reach the brow and overshoot below the eye: the others hold it there.
    "5": {
        37: (0.003, -0.027), 38: (0.003, -0.022), 36: (0.003, -0.014), 39: (0.0, -0.004), 40: (0.004, -0.017),
        41: (0.004, -0.018), 21: (0.0, 0.012), FOREHEAD: (0.0, 0.021),
    },
    "6": {
        CHEEK: (0.0, -0.070), UNDER_EYE: (-0.003, -0.045), 41: (-0.006, -0.028), 40: (-0.004, -0.024),
        36: (-0.002, -0.008), 48: (0.008, -0.012), 49: (0.008, -0.011),
    },
    "7": {41: (-0.006, -0.021), 40: (-0.008, -0.024), UNDER_EYE: (-0.004, -0.014), 37: (0.0, 0.012), 38: (0.0, 0.012)},
    "9": {
        31: (0.0, -0.070), 49: (0.0, -0.100), 50: (0.0, -0.090), 51: (0.0, -0.080), 48: (-0.010, -0.065),
        61: (0.0, -0.075), 62: (0.0, -0.070), 21: (-0.012, 0.025), 20: (-0.012, 0.020), 40: (0.0, -0.010),
    },
    "10": {
        49: (0.020, -0.095), 50: (0.008, -0.095), 51: (0.0, -0.088), 61: (0.012, -0.085), 62: (0.0, -0.080),
        48: (0.0, -0.050), 31: (0.018, -0.060),
    },
    "12": {
        48: (0.079, -0.118), 60: (0.076, -0.108), 49: (0.058, -0.062), 59: (0.047, -0.080), 61: (0.040, -0.043),
        67: (0.035, -0.060), 50: (0.022, -0.030), 58: (0.025, -0.065), 57: (0.0, -0.060), 66: (0.0, -0.055),
        31: (0.012, -0.014), CHEEK: (0.015, -0.050),
    },
    "14": {48: (0.048, -0.005), 60: (0.044, -0.005), 49: (0.022, 0.0), 59: (0.022, 0.0), CHEEK: (0.010, -0.008)},
    "15": {48: (0.012, 0.070), 60: (0.010, 0.060), 59: (0.008, 0.045), 49: (0.004, 0.028), 58: (0.0, 0.015)},
    "17": {
        7: (0.0, -0.085), 8: (0.0, -0.090), 58: (0.0, -0.078), 57: (0.0, -0.085), 59: (0.0, -0.050),
        66: (0.0, -0.070), 67: (0.0, -0.065), 51: (0.0, -0.022), 50: (0.0, -0.020),
    },
    "20": {48: (0.075, 0.032), 60: (0.075, 0.030), 59: (0.046, 0.012), 49: (0.033, 0.014), 67: (0.030, 0.005)},
    "24": {
        59: (0.0, -0.030), 58: (0.0, -0.028), 57: (0.0, -0.018), 50: (0.0, 0.022), 51: (0.0, 0.022),
        48: (-0.015, 0.0), 7: (0.0, -0.040), 8: (0.0, -0.025),
    },
    "25": {
        57: (0.0, 0.045), 58: (0.0, 0.045), 66: (0.0, 0.045), 67: (0.0, 0.042), 59: (0.010, 0.030), 51: (0.0, -0.015),
    },
    "26": {
        57: (0.0, 0.200), 58: (0.0, 0.180), 66: (0.0, 0.200), 67: (0.0, 0.175), 59: (0.0, 0.120), 48: (-0.01, 0.050),
        60: (-0.01, 0.055), 8: (0.0, 0.160), 7: (0.0, 0.155), 6: (0.0, 0.120), 5: (0.0, 0.07),
    },
    "45": {37: (-0.002, 0.086), 38: (-0.012, 0.086), 41: (0.0, -0.004), 40: (0.0, -0.004)},
}  # fmt: skip
"""Full contraction per action unit: control point of the left image half -> (outward, down), face units.

Rounded by hand from a parametric face (ICT-FaceKit; 12 and 20 are its numbers in good part) and FACS photographs.  A
test holds the directions against that same face, not the sizes: it finds slips, and is no independent check.  Where
optical flow of published micro-expressions moves otherwise, the table follows that: brows that draw together (4) go
mainly down, the outer ones as far as the inner, and a smile (12) lifts the lower lip, too.
"""

_MIRROR = np.array(
    [
        *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
        45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
        *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
        CHEEK + 1, CHEEK, FOREHEAD + 1, FOREHEAD, UNDER_EYE + 1, UNDER_EYE,
    ]
)  # fmt: skip
"""Index of each control point's partner on the other half of the face."""

_MIDLINE = np.flatnonzero(np.arange(CONTROL_POINTS) == _MIRROR)
"""Control points that are their own partner: they move once, whichever half contracts."""

FIELD_SIGMA = 0.17
"""Width of the Gaussian kernel between control points, face units: skin moves smoothly.  Set by hand."""

_RIDGE = 0.05  # on a kernel of height 1; set by hand
_FOREHEAD_UP, _UNDER_EYE_DOWN = 1.2, 0.1  # over the brow, in distances of brow and eye; face units; set by hand


@dataclass(frozen=True)
class FacePose:
    """Similarity from face coordinates to the image.

    Face coordinates have their origin midway between the outer eye corners, the x axis along
    them and the face unit as length.

    Parameters
    ----------
    centre : (float, float)
        Image position of the origin, px.
    unit_px : float
        Face unit in pixels.
    roll : float
        Angle of the eye line, rad.
    """

    centre: tuple[float, float]
    unit_px: float
    roll: float

    @classmethod
    def from_landmarks(cls, landmarks: npt.ArrayLike) -> FacePose:
        """Pose of a face from its 68 landmarks ``(68, 2)``, px."""
        points = np.asarray(landmarks, dtype=np.float64)
        left, right = points[list(OUTER_EYE_CORNERS)]
        dx, dy = right - left
        centre = (left + right) / 2
        return cls((float(centre[0]), float(centre[1])), float(np.hypot(dx, dy)), float(np.arctan2(dy, dx)))

    @property
    def matrix(self) -> Float64Array:
        """(2, 3) map from face coordinates to image pixels."""
        c, s = self.unit_px * np.cos(self.roll), self.unit_px * np.sin(self.roll)
        return np.array([[c, -s, self.centre[0]], [s, c, self.centre[1]]])

    def to_face(self, points: npt.ArrayLike) -> Float64Array:
        """Image points ``(..., 2)`` in face coordinates."""
        matrix = self.matrix
        return np.asarray((np.asarray(points, dtype=np.float64) - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T)


def control_points(landmarks: npt.ArrayLike) -> Float64Array:
    """The 74 control points, in face coordinates, of a face with these 68 landmarks.

    Parameters
    ----------
    landmarks : (68, 2) array
        Landmarks in pixels.

    Returns
    -------
    (74, 2) float64
        The landmarks, then the points beyond them, left and right of the image.
    """
    points = FacePose.from_landmarks(landmarks).to_face(landmarks)
    cheeks = points[[[2, 31, 41, 48], [14, 35, 46, 54]]].mean(axis=1)
    brows = points[[20, 23]]
    foreheads = brows + _FOREHEAD_UP * (brows - points[[39, 42]])
    under_eyes = points[[[40, 41], [46, 47]]].mean(axis=1) + np.array([0.0, _UNDER_EYE_DOWN])
    return np.concatenate([points, cheeks, foreheads, under_eyes])


def unit_displacement(unit: str, *, side: Side = "both") -> Float64Array:
    """Displacement of the control points at full contraction of one action unit.

    Parameters
    ----------
    unit : str
        FACS number such as ``"12"``.
    side : {"both", "left", "right"}
        Half of the image that moves.

    Returns
    -------
    (74, 2) float64
        (x to the right, y down), face units.

    Raises
    ------
    UsageError
        The unit is not in the table.
    """
    if unit not in ACTION_UNITS:
        raise UsageError(f"unknown action unit {unit!r}: expected one of {', '.join(ACTION_UNITS)}")
    shift = np.zeros((CONTROL_POINTS, 2))
    for point, (outward, down) in ACTION_UNITS[unit].items():
        partner = int(_MIRROR[point])
        if side in ("both", "left") or point == partner:
            shift[point] = (0.0 if point == partner else -outward), down
        if side in ("both", "right") and point != partner:
            shift[partner] = outward, down
    return shift


def halves_of(contraction: Contraction) -> tuple[float, float]:
    """Contraction of the left and of the right half of the image."""
    return contraction if isinstance(contraction, tuple) else (contraction, contraction)


def stronger_half(contraction: Contraction) -> float:
    """Contraction of the half that moves more: points on the midline go with it."""
    return max(halves_of(contraction), key=abs)


def mix_displacement(units: Mapping[str, Contraction]) -> Float64Array:
    """Weighted sum of action units, ``(74, 2)`` face units; weight 1 is full contraction.

    Points on the midline move with the stronger half.
    """
    total = np.zeros((CONTROL_POINTS, 2))
    for unit, contraction in units.items():
        left, right = halves_of(contraction)
        shift = left * unit_displacement(unit, side="left") + right * unit_displacement(unit, side="right")
        shift[_MIDLINE] = stronger_half(contraction) * unit_displacement(unit)[_MIDLINE]
        total += shift
    return total


def kernel(a: Float64Array, b: Float64Array) -> Float64Array:
    """Gaussian of width :data:`FIELD_SIGMA` and height 1 between points ``(A, 2)`` and ``(B, 2)``: ``(A, B)``."""
    squared = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
    return np.asarray(np.exp(-squared / (2 * FIELD_SIGMA**2)))


def field_weights(points: npt.ArrayLike, *, control: Float64Array) -> Float64Array:
    """How much each control point moves each of ``points``: Gaussian radial basis interpolation.

    Parameters
    ----------
    points : (P, 2) array
        Face coordinates.
    control : (74, 2) float64
        :func:`control_points` of the same face.

    Returns
    -------
    (P, 74) float64
        ``weights @ mix_displacement(...)`` is the displacement ``(P, 2)`` in face units: it equals the
        displacement at the control points (up to a slight smoothing) and fades out away from them.
    """
    gram = kernel(control, control)
    # Lip contours lie closer together than the kernel is wide: the ridge keeps the solve smooth there.
    gram[np.diag_indices_from(gram)] += _RIDGE
    return np.asarray(np.linalg.solve(gram, kernel(np.asarray(points, dtype=np.float64), control).T).T)
