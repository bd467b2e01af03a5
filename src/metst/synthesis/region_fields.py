"""A smooth displacement field whose means over the regions of the face are a given pattern."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from metst.arrays import Float64Array, FloatArray
from metst.motion.canonical import make_grid, region_masks
from metst.regions import REGIONS
from metst.synthesis.action_units import FacePose, kernel

GRID_UNIT, GRID_STEP = 32, 4
"""Resolution at which a field is averaged over the regions: pixels per face unit, and per node; set by hand."""

_STILL = slice(28, 31)
"""Landmarks along the lower bridge of the nose, which stays: patterns are motion relative to it."""

_RIDGE = 0.002
"""On a kernel of height 1, so that regions that overlap and disagree are met half way; set by hand."""


def region_points(shape: Float64Array) -> tuple[Float64Array, FloatArray]:
    """Pixels over which the regions of a face are averaged, and their shares.

    Parameters
    ----------
    shape : (68, 2) float64
        Landmarks in face coordinates.

    Returns
    -------
    (P, 2) float64
        The pixels, face coordinates.
    (18, P) float32
        Share of each pixel in each region; rows sum to 1.
    """
    grid = make_grid(GRID_UNIT, GRID_STEP)
    x, y = grid.coordinates()
    pixels = np.stack(np.broadcast_arrays(x, y), axis=-1).reshape(-1, 2)
    return pixels, region_masks(grid, shape.astype(np.float32))


def region_field_weights(points: npt.ArrayLike, *, landmarks: npt.ArrayLike) -> Float64Array:
    """How much the motion of each region moves each of ``points``.

    Of all fields of Gaussian bumps with the given means over the regions, this is the one of least energy (up to a
    slight ridge): it goes smoothly from region to region and fades out away from them, and the nose stays.

    Parameters
    ----------
    points : (P, 2) array
        Face coordinates.
    landmarks : (68, 2) array
        Of the face, px.

    Returns
    -------
    (P, 18) float64
        ``weights @ pattern`` is the displacement ``(P, 2)``, in the unit of the pattern ``(18, 2)``.
    """
    shape = FacePose.from_landmarks(landmarks).to_face(landmarks)
    pixels, masks = region_points(shape)
    inside = np.flatnonzero(masks.any(axis=0))
    still = shape[_STILL]
    sources = np.concatenate([pixels[inside], still])
    shares = np.zeros((len(REGIONS) + 1, len(sources)))
    shares[:-1, : len(inside)] = masks[:, inside]
    shares[-1, len(inside) :] = 1 / len(still)
    gram = shares @ kernel(sources, sources) @ shares.T
    gram[np.diag_indices_from(gram)] += _RIDGE
    reach = kernel(np.asarray(points, dtype=np.float64), sources) @ shares.T
    return np.asarray(np.linalg.solve(gram, reach.T).T[:, :-1])
