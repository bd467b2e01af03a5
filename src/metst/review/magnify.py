"""Measured motion drawn larger: a picture is bent by what the face moved since another frame, once more and again."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from metst.arrays import Float32Array, Float64Array, Image
from metst.regions import OUTER_EYE_CORNERS
from metst.report.facemap import drawn_landmarks
from metst.report.thumbnails import Face
from metst.synthesis.action_units import FacePose
from metst.synthesis.inject import (
    FIELD_BOTTOM,
    FIELD_LEFT,
    FIELD_RIGHT,
    FIELD_STEP,
    FIELD_TOP,
    displacement_map,
)
from metst.synthesis.region_fields import region_field_weights

_LARGEST: Final = 0.25
"""What a region is moved at most, face units: farther, a picture is torn.  Set by hand."""

_LEFT_EYE, _RIGHT_EYE = slice(36, 42), slice(42, 48)
"""Landmarks of the eyes (iBUG 300-W)."""


def fitting(moved: Float32Array, *, times: float) -> float:
    """How many times larger motion is drawn: as wanted, or less where a region would go too far.

    Parameters
    ----------
    moved : (18, 2) float32
        Motion, face units; NaN where nobody knows it.
    times : float
        Wanted, from 1.
    """
    longest = float(np.nanmax(np.hypot(*np.nan_to_num(moved).T), initial=0.0))
    return times if longest * (times - 1) <= _LARGEST else 1 + _LARGEST / longest


def magnified(picture: Image, *, face: Face, moved: Float32Array, times: float) -> Image:
    """A picture in which the face has moved ``times`` as far as it did.

    Parameters
    ----------
    picture : (H, W, 3) uint8
        RGB.
    face : Face
        The face in it, pixels of this picture.
    moved : (18, 2) float32
        What each region moved until this picture, face units; NaN: nothing.
    times : float
        As :func:`fitting` gave it.

    Returns
    -------
    (H, W, 3) uint8
        It goes over smoothly from region to region and stays as it is away from the face.
    """
    pattern = np.nan_to_num(moved).astype(np.float64) * (times - 1)
    if not pattern.any():
        return picture
    rows, columns, weights = _field()
    field = (weights @ pattern).reshape(rows, columns, 2).astype(np.float32)
    pose = _pose(face)
    height, width = picture.shape[:2]
    corners = np.array([[x, y] for x in (FIELD_LEFT, FIELD_RIGHT) for y in (FIELD_TOP, FIELD_BOTTOM)])
    box = corners @ pose.matrix[:, :2].T + pose.matrix[:, 2]
    left, top = np.clip(np.floor(box.min(axis=0)).astype(int), 0, [width, height]).tolist()
    right, bottom = np.clip(np.ceil(box.max(axis=0)).astype(int), 0, [width, height]).tolist()
    if right <= left or bottom <= top:
        return picture
    points = np.stack(np.meshgrid(np.arange(left, right), np.arange(top, bottom)), axis=-1).astype(np.float32)
    source = displacement_map(points, field=field, pose=pose)
    drawn = picture.copy()
    drawn[top:bottom, left:right] = cv2.remap(picture, source, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return drawn


@lru_cache(maxsize=1)
def _field() -> tuple[int, int, Float64Array]:
    """Rows and columns of the field, and how much each region's motion moves each of its points."""
    xs, ys = np.arange(FIELD_LEFT, FIELD_RIGHT, FIELD_STEP), np.arange(FIELD_TOP, FIELD_BOTTOM, FIELD_STEP)
    points = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    return len(ys), len(xs), region_field_weights(points, landmarks=drawn_landmarks())


def _pose(face: Face) -> FacePose:
    """Where the face is, by its eye centres; a drawn face tells how far these are apart in face units."""
    points = drawn_landmarks()
    left, right = (points[eye].mean(axis=0) for eye in (_LEFT_EYE, _RIGHT_EYE))
    apart, below = float(right[0] - left[0]), float(left[1] - points[list(OUTER_EYE_CORNERS)].mean(axis=0)[1])
    eyes = np.array(face.eyes)
    along = (eyes[1] - eyes[0]) / apart
    across = np.array([-along[1], along[0]])
    centre = eyes.mean(axis=0) - below * across
    return FacePose(
        (float(centre[0]), float(centre[1])), float(np.hypot(*along)), float(np.arctan2(along[1], along[0]))
    )
