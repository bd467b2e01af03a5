"""The hand-made action units against a parametric face model, from which some of them were rounded."""

import numpy as np
import pytest

from helpers.heads import ball_head, ict_file
from metst.motion.canonical import make_grid, region_masks
from metst.regions import REGIONS
from metst.synthesis.action_units import ACTION_UNITS, FacePose, control_points, field_weights, unit_displacement

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


def region_patterns() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Landmarks ``(68, 2)`` and how each expression of the face model moves the regions ``(18, 2)``, face units.

    A region's motion is the mean over the skin that is seen from the front, by its area in the picture.
    """
    with np.load(ict_file()) as data:
        mesh, quads = data["V"].astype(float), data["F"][data["mat"] == list(data["mats"]).index("M_Face")]
        landmarks = mesh[data["landmarks68"], :2] * [1, -1]
        pose = FacePose.from_landmarks(landmarks)
        moves = data["E"].astype(float)[..., :2] * [1, -1] / pose.unit_px
        names = [str(name) for name in data["enames"]]
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    a, b, c = (mesh[triangles[:, corner]] for corner in range(3))
    towards = np.cross(b - a, c - a)[:, 2]
    area = np.zeros(len(mesh))
    np.add.at(area, triangles[towards > 0], towards[towards > 0, None])
    places, shape = pose.to_face(mesh[:, :2] * [1, -1]), pose.to_face(landmarks)
    grid = make_grid(64, 8)
    x, y = grid.coordinates()
    masks = region_masks(grid, shape.astype(np.float32)).reshape(len(REGIONS), *grid.shape)
    column, row = np.rint((places - [x[0, 0], y[0, 0]]) * 64).astype(int).T
    seen = (area > 0) & (column >= 0) & (column < grid.shape[1]) & (row >= 0) & (row < grid.shape[0])
    shares = masks[:, row[seen], column[seen]] * area[seen]
    shares /= shares.sum(axis=1, keepdims=True)
    return landmarks, {name: shares @ move[seen] for name, move in zip(names, moves, strict=True)}


def test_units_move_the_regions_as_the_face_model_does() -> None:
    landmarks, face = region_patterns()
    grid = make_grid(64, 8)
    pixels = np.stack(np.broadcast_arrays(*grid.coordinates()), axis=-1).reshape(-1, 2)
    masks = region_masks(grid, FacePose.from_landmarks(landmarks).to_face(landmarks).astype(np.float32))
    response = masks @ field_weights(pixels, control=control_points(landmarks))
    for unit, shape in BLENDSHAPES.items():
        if unit == "45":
            continue  # closing lids move what no region holds
        truth = face.get(shape, 0) + sum(face.get(f"{shape}_{side}", 0) for side in "LR")
        ours = response @ unit_displacement(unit)
        cosine = (ours * truth).sum() / np.linalg.norm(ours) / np.linalg.norm(truth)
        assert cosine > (0.85 if unit == "5" else 0.7), (unit, cosine)
        # Of a raised upper lid the regions hold next to nothing: its size is that of the landmarks above.
        assert unit == "5" or 0.4 < np.linalg.norm(ours) / np.linalg.norm(truth) < 1.6, unit


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
