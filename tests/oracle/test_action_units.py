"""The hand-made action units against an independent parametric face model."""

import numpy as np
import pytest

from helpers.heads import ball_head, ict_file
from metst.synthesis.action_units import ACTION_UNITS, control_points, field_weights, unit_displacement

BLENDSHAPES = {
    "1": "browInnerUp", "2": "browOuterUp", "4": "browDown", "5": "eyeWide", "7": "eyeSquint", "9": "noseSneer",
    "10": "mouthUpperUp", "12": "mouthSmile", "15": "mouthFrown", "17": "mouthShrugLower", "20": "mouthStretch",
    "24": "mouthPress", "26": "jawOpen", "45": "eyeBlink",
}  # fmt: skip


def parametric_face() -> dict[str, np.ndarray]:
    with np.load(ict_file()) as data:
        points = data["V"][data["landmarks68"]].astype(float)[:, :2] * [1, -1]
        moves = data["E"][:, data["landmarks68"]].astype(float)[..., :2] * [1, -1]
        names = [str(name) for name in data["enames"]]
    unit = np.linalg.norm(points[45] - points[36])
    return {"landmarks": points} | {name: move / unit for name, move in zip(names, moves, strict=True)}


def test_field_moves_the_landmarks_as_the_face_model_does() -> None:
    face = parametric_face()
    control = control_points(face["landmarks"])
    weights = field_weights(control, control=control)
    for unit, shape in BLENDSHAPES.items():
        truth = face.get(shape, 0) + sum(face.get(f"{shape}_{side}", 0) for side in "LR")
        ours = (weights @ unit_displacement(unit))[:68]
        cosine = (ours * truth).sum() / np.linalg.norm(ours) / np.linalg.norm(truth)
        assert cosine > 0.82, unit
        assert 0.4 < np.linalg.norm(ours) / np.linalg.norm(truth) < 1.25, unit


@pytest.fixture(scope="module")
def landmarks() -> np.ndarray:
    """(68, 2) of a face that is symmetric to its mesh resolution, y down."""
    head = ball_head()
    return head.vertices[head.landmarks, :2].astype(float) * [1, -1]


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_left_and_right_halves_are_mirror_images_and_add_up(landmarks: np.ndarray, unit: str) -> None:
    control = control_points(landmarks)
    weights = field_weights(control, control=control)
    left, right, both = (weights @ unit_displacement(unit, side=side) for side in ("left", "right", "both"))
    on_axis = np.abs(control[:, 0]) < 1e-3
    both_halves = left + right
    assert np.allclose(np.abs(left[:, 0]).sum(), np.abs(right[:, 0]).sum(), atol=2e-3)
    assert np.allclose(np.abs(left[:, 1]).sum(), np.abs(right[:, 1]).sum(), rtol=0.02, atol=2e-3)
    if not any(unit_displacement(unit)[point].any() for point in np.flatnonzero(on_axis)):
        assert np.allclose(both, both_halves)
