"""Face shapes for simulated motion: variations of the portrait's landmarks."""

from __future__ import annotations

import numpy as np

from metst.arrays import Float64Array
from metst.synthesis.action_units import FacePose, control_points
from metst.synthesis.portrait import portrait_landmarks
from metst.synthesis.region_fields import region_points
from metst.synthesis.trajectories import region_response

# Of the numbers drawn here, beside others with the same seed; set by hand.
_STREAM = 7

# How faces differ from the portrait's: standard deviations, of factors on lengths or in face units.  Set by hand.
_HEIGHT = 0.07
_PARTS = ((slice(17, 27), 0.05), (slice(27, 36), 0.10), (slice(48, 68), 0.08))  # brows, nose, mouth: their size
_PLACE, _BROW_HEIGHT, _EACH_POINT = 0.02, 0.02, 0.006  # of a part; of the brows over the eyes; of each landmark


def simulated_responses(*, count: int, seed: int) -> Float64Array:
    """Region responses of ``count`` face shapes, ``(count, 18, 74)``.

    Each shape is the portrait's, stretched in height and in the width of brows, nose and mouth as
    people's faces differ, and read with the regions that motion is measured in.
    """
    rng = np.random.default_rng([seed, _STREAM])
    points = FacePose.from_landmarks(portrait_landmarks()).to_face(portrait_landmarks())
    responses = []
    for _ in range(count):
        shape = vary_shape(points, rng=rng)
        pixels, masks = region_points(shape)
        responses.append(region_response(control_points(shape), points=pixels, masks=masks))
    return np.stack(responses)


def vary_shape(points: Float64Array, *, rng: np.random.Generator) -> Float64Array:
    """One random variation of 68 landmarks in face coordinates."""
    shape = points * np.array([1.0, rng.normal(1.0, _HEIGHT)])
    for part, spread in _PARTS:
        centre = shape[part].mean(axis=0)
        scale = rng.normal(1.0, spread, 2)
        shape[part] = centre + (shape[part] - centre) * scale + rng.normal(0, _PLACE, 2)
    shape[17:27, 1] += rng.normal(0, _BROW_HEIGHT)
    return np.asarray(shape + rng.normal(0, _EACH_POINT, shape.shape))
