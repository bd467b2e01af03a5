"""The hand-made action units against an independent parametric face model."""

from pathlib import Path

import numpy as np
import pytest

from metst.synthesis.action_units import ACTION_UNITS, control_points, field_weights, unit_displacement

FACE_MODEL = Path(__file__).parents[2].parent / "shared" / "assets" / "ict_facekit.npz"

BLENDSHAPES = {
    "1": "browInnerUp", "2": "browOuterUp", "4": "browDown", "5": "eyeWide", "7": "eyeSquint", "9": "noseSneer",
    "10": "mouthUpperUp", "12": "mouthSmile", "15": "mouthFrown", "17": "mouthShrugLower", "20": "mouthStretch",
    "24": "mouthPress", "26": "jawOpen", "45": "eyeBlink",
}  # fmt: skip


@pytest.fixture(scope="module")
def face() -> dict[str, np.ndarray]:
    if not FACE_MODEL.exists():
        pytest.skip("the parametric face is not there")
    with np.load(FACE_MODEL) as data:
        points = data["V"][data["landmarks68"]].astype(float)[:, :2] * [1, -1]
        moves = data["E"][:, data["landmarks68"]].astype(float)[..., :2] * [1, -1]
        names = [str(name) for name in data["enames"]]
    unit = np.linalg.norm(points[45] - points[36])
    return {"landmarks": points} | {name: move / unit for name, move in zip(names, moves, strict=True)}


@pytest.mark.parametrize("unit", BLENDSHAPES)
def test_field_moves_the_landmarks_as_the_face_model_does(face: dict[str, np.ndarray], unit: str) -> None:
    truth = face.get(BLENDSHAPES[unit], 0) + sum(face.get(f"{BLENDSHAPES[unit]}_{side}", 0) for side in "LR")
    control = control_points(face["landmarks"])
    ours = (field_weights(control, control=control) @ unit_displacement(unit))[:68]
    cosine = (ours * truth).sum() / np.linalg.norm(ours) / np.linalg.norm(truth)
    assert cosine > 0.82
    assert 0.4 < np.linalg.norm(ours) / np.linalg.norm(truth) < 1.25


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_left_and_right_halves_are_mirror_images_and_add_up(face: dict[str, np.ndarray], unit: str) -> None:
    control = control_points(face["landmarks"])  # the model's face is symmetric to its mesh resolution
    weights = field_weights(control, control=control)
    left, right, both = (weights @ unit_displacement(unit, side=side) for side in ("left", "right", "both"))
    on_axis = np.abs(control[:, 0]) < 1e-3
    both_halves = left + right
    assert np.allclose(np.abs(left[:, 0]).sum(), np.abs(right[:, 0]).sum(), atol=2e-3)
    assert np.allclose(np.abs(left[:, 1]).sum(), np.abs(right[:, 1]).sum(), rtol=0.02, atol=2e-3)
    if not any(unit_displacement(unit)[point].any() for point in np.flatnonzero(on_axis)):
        assert np.allclose(both, both_halves)
