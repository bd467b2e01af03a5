"""Crops and boxes of stage 2 under arbitrary similarity transforms."""

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from metst.face.memory import MeshFilter
from metst.face.models import MESH_SIZE, Crop, box_overlap

seeds = st.integers(0, 2**32 - 1)


def random_mesh(seed: int) -> npt.NDArray[np.float32]:
    mesh = np.random.default_rng(seed).uniform(50, 150, (468, 2))
    mesh[[33, 263]] = [[80, 90], [130, 90]]
    return mesh.astype(np.float32)


@given(
    seed=seeds,
    scale=st.floats(0.3, 4),
    roll_rad=st.floats(-2.5, 2.5),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
)
def test_the_crop_moves_with_the_face(seed: int, scale: float, roll_rad: float, shift: tuple[float, float]) -> None:
    mesh = random_mesh(seed)
    turn = scale * np.array([[np.cos(roll_rad), -np.sin(roll_rad)], [np.sin(roll_rad), np.cos(roll_rad)]])
    crop, moved = Crop.of_mesh(mesh), Crop.of_mesh((mesh @ turn.T + shift).astype(np.float32))
    # Both crops lie on the grid, off by half of its step at most.
    np.testing.assert_allclose(moved.center, turn @ crop.center + shift, atol=0.073 + 0.09 * scale)
    np.testing.assert_allclose(moved.side, scale * crop.side, atol=0.13 + 0.126 * scale)
    np.testing.assert_allclose(moved.roll_rad, roll_rad, atol=0.6 / 512 + 1e-3)


@given(seed=seeds, roll_rad=st.floats(-2.5, 2.5))
def test_a_last_digit_does_not_change_the_crop(seed: int, roll_rad: float) -> None:
    """Of crops on a grid, one in some ten thousand is an exception."""
    random = np.random.default_rng(seed)
    turn = np.array([[np.cos(roll_rad), -np.sin(roll_rad)], [np.sin(roll_rad), np.cos(roll_rad)]])
    meshes = [(random_mesh(seed + k) @ turn.T).astype(np.float32) for k in range(10)]
    crops = [Crop.of_mesh(mesh) for mesh in meshes]
    others = [Crop.of_mesh((mesh + random.normal(0, 1e-5, mesh.shape)).astype(np.float32)) for mesh in meshes]
    same = [
        (one.to_source(MESH_SIZE) == other.to_source(MESH_SIZE)).all() for one, other in zip(crops, others, strict=True)
    ]
    assert sum(same) >= 9


@given(seed=seeds, roll_rad=st.floats(-3, 3))
def test_the_whole_face_is_inside_its_crop(seed: int, roll_rad: float) -> None:
    turn = np.array([[np.cos(roll_rad), -np.sin(roll_rad)], [np.sin(roll_rad), np.cos(roll_rad)]])
    mesh = (random_mesh(seed) @ turn.T).astype(np.float32)
    to_source = Crop.of_mesh(mesh).to_source(MESH_SIZE)
    inside = (mesh - to_source[:, 2]) @ np.linalg.inv(to_source[:, :2]).T
    margin = MESH_SIZE / 6 - 1  # a crop of 1.5 face sizes leaves a quarter of a face size on each side
    assert inside.min() > margin
    assert inside.max() < MESH_SIZE - margin


boxes = st.tuples(*[st.floats(-50, 50)] * 2, *[st.floats(1, 60)] * 2).map(
    lambda b: np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]], np.float32)
)


@given(one=boxes, other=boxes)
def test_overlap_is_a_symmetric_share(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> None:
    there, back = box_overlap(one, other[None])[0], box_overlap(other, one[None])[0]
    assert 0 <= there <= 1 + 1e-6
    np.testing.assert_allclose(there, back, rtol=1e-5)
    np.testing.assert_allclose(box_overlap(one, one[None]), 1, rtol=1e-5)


@given(seed=seeds, scale=st.floats(0.5, 4), step_s=st.floats(0.005, 0.5))
def test_the_filter_does_not_depend_on_picture_size(seed: int, scale: float, step_s: float) -> None:
    rng = np.random.default_rng(seed)
    meshes = [random_mesh(seed) + rng.normal(0, 2, (468, 2)).astype(np.float32) for _ in range(5)]
    small, large = MeshFilter(), MeshFilter()
    for i, mesh in enumerate(meshes):
        one = small.smooth(mesh, time_s=i * step_s)
        other = large.smooth(np.float32(scale) * mesh, time_s=i * step_s)
        np.testing.assert_allclose(other, np.float32(scale) * one, rtol=1e-3)
