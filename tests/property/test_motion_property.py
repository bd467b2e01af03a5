"""Invariants of trajectory-mode motion: mirroring, shifting, lighting, streaming, gaps."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy.ndimage import gaussian_filter, map_coordinates

from helpers.frontal_face import frontal_face
from metst.face import Face, FaceFrame
from metst.motion.canonical import (
    depth_at,
    displacement_at,
    make_grid,
    pixel_weights,
    pool_nodes,
    reach_of,
    region_masks,
)
from metst.motion.foreign import influence, undisturbed
from metst.motion.head import HeadFit
from metst.motion.normal import normal_matrix
from metst.motion.picture import Similarity, make_picture
from metst.motion.registration import Template, Unknowns, right_side
from metst.motion.tracker import MotionTracker
from metst.motion.trajectory import extract_motion
from metst.regions import REGION_NAMES, REGIONS
from metst.video import Frame

HEIGHT, WIDTH, UNIT = 200, 221, 60.0
CENTRE = np.array([(WIDTH - 1) / 2, 80.0])
MIRROR = [region.mirror for region in REGIONS]

_SWAP = [
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
]  # fmt: skip
"""The point that takes each point's place in the mirror."""


POINTS = frontal_face(opening=0.01)


def clip(seed: int, length: int = 5) -> list[npt.NDArray[np.uint8]]:
    """A textured face on which two places move and which shifts a little."""
    rng = np.random.default_rng(seed)
    texture = 120 + sum(gaussian_filter(rng.normal(size=(HEIGHT, WIDTH)), s) * s * 40 for s in (1.5, 3.0, 7.0))
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    places, ways = rng.uniform([-0.4, -0.3], [0.4, 0.8], (2, 2)), rng.uniform(-1.5, 1.5, (2, 2))
    frames = []
    for step in np.linspace(0, 1, length):
        at_x, at_y = x - 2.5 * step, y + 1.5 * step
        for (px, py), (wx, wy) in zip(places, ways, strict=True):
            near = np.exp(-(((x - CENTRE[0]) / UNIT - px) ** 2 + ((y - CENTRE[1]) / UNIT - py) ** 2) / (2 * 0.15**2))
            at_x, at_y = at_x - step * wx * near, at_y - step * wy * near
        frames.append(np.clip(map_coordinates(texture, [at_y, at_x], order=3, mode="reflect"), 0, 255).astype(np.uint8))
    return frames


def track(
    frames: list[npt.NDArray[np.uint8]], *, offset: tuple[float, float] = (0, 0), flipped: bool = False
) -> list[FaceFrame]:
    points = CENTRE + UNIT * POINTS
    if flipped:
        points = points[_SWAP] * [-1, 1] + [WIDTH - 1, 0]
    points = (points + offset).astype(np.float32)
    face = Face(np.full((468, 2), np.nan, np.float32), points, 1.0, np.concatenate([points.min(0), points.max(0)]))
    return [FaceFrame(Frame(i, i / 25, grey), face, i == 0, 1.0, "") for i, grey in enumerate(frames)]


seeds = st.integers(0, 10_000)
few = settings(max_examples=6, deadline=None)


@few
@given(seeds)
def test_mirroring_the_video_mirrors_the_motion(seed: int) -> None:
    frames = clip(seed)
    motion = extract_motion(track(frames)).displacement.values
    other = extract_motion(track([np.ascontiguousarray(f[:, ::-1]) for f in frames], flipped=True)).displacement.values
    np.testing.assert_allclose(other[:, MIRROR] * [-1, 1], motion, atol=5e-4)


@few
@given(seeds, st.integers(0, 40), st.integers(0, 40))
def test_where_the_face_is_in_the_picture_does_not_matter(seed: int, right: int, down: int) -> None:
    frames = clip(seed)
    motion = extract_motion(track(frames)).displacement.values
    moved = [np.pad(f, ((down, 40 - down), (right, 40 - right)), mode="symmetric") for f in frames]
    other = extract_motion(track(moved, offset=(right, down))).displacement.values
    np.testing.assert_allclose(other, motion, atol=1e-3)


@few
@given(seeds, st.floats(0.7, 1.0), st.floats(-15, 15))
def test_brightness_and_contrast_do_not_matter(seed: int, contrast: float, brightness: float) -> None:
    frames = clip(seed)
    motion = extract_motion(track(frames)).displacement.values
    lit = [
        np.clip(np.round(contrast * (f.astype(float) - 128) + 120 + k % 2 * brightness), 0, 255)
        for k, f in enumerate(frames)
    ]
    other = extract_motion(track([f.astype(np.uint8) for f in lit])).displacement.values
    np.testing.assert_allclose(other, motion, atol=4e-3)


@few
@given(seeds, st.sets(st.integers(0, 7), max_size=4))
def test_streaming_is_the_whole_and_gaps_are_gaps(seed: int, missing: set[int]) -> None:
    rows = track(clip(seed, 8))
    rows = [FaceFrame(r.frame, None, False, 0.0, "no face") if i in missing else r for i, r in enumerate(rows)]
    motion = extract_motion(rows)
    tracker = MotionTracker()
    one_by_one = [tracker.update(row) for row in rows]
    np.testing.assert_array_equal(np.array([f.displacement for f in one_by_one]), motion.displacement.values)
    valid = motion.displacement.valid
    assert not valid[list(missing)].any()
    np.testing.assert_array_equal(valid, [not reason for reason in motion.reason])
    for values in (motion.displacement.values, motion.head, motion.face_px):
        np.testing.assert_array_equal(np.isfinite(values).reshape(8, -1).all(axis=1), valid)
    assert ((motion.quality >= 0) & (motion.quality <= 1)).all()
    assert (motion.quality[~valid] == 0).all()


@few
@given(st.lists(st.floats(-0.02, 0.02), min_size=4, max_size=4))
def test_a_motion_of_the_head_is_all_the_heads(head: list[float]) -> None:
    grid = make_grid(64, 8)
    fit = HeadFit(grid, POINTS.astype(np.float32))
    nodes = fit.field(np.array([*head, 0, 0]))
    turn = np.zeros(2, np.float32)
    np.testing.assert_allclose(fit.split(nodes, turn, last_turn=turn), [*head, 0, 0], atol=1e-4)


@few
@given(seeds)
def test_a_strong_expression_does_not_pull_the_head(seed: int) -> None:
    grid, rng = make_grid(64, 8), np.random.default_rng(seed)
    nodes = np.zeros((2, *grid.node_shape), np.float32)
    raised = grid.nodes[..., 1] < -0.2
    nodes[1][raised] = -0.08
    nodes += rng.normal(0, 0.0005, nodes.shape).astype(np.float32)
    turn = np.zeros(2, np.float32)
    head = HeadFit(grid, POINTS.astype(np.float32)).split(nodes, turn, last_turn=turn)
    assert np.abs(head[:4]).max() < 0.012


@few
@given(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05))
def test_pooling_agrees_with_the_field(dx: float, dy: float) -> None:
    grid = make_grid(64, 8)
    nodes = np.stack([dx + 0.1 * grid.nodes[..., 1], dy - 0.2 * grid.nodes[..., 0]]).astype(np.float32)
    points = POINTS.astype(np.float32)
    np.testing.assert_allclose(
        displacement_at(grid, nodes, points[17:]),
        np.stack([dx + 0.1 * points[17:, 1], dy - 0.2 * points[17:, 0]], -1),
        atol=2e-4,
    )
    pooled = pool_nodes(grid, region_masks(grid, points)) @ nodes.reshape(2, -1).T
    upper_lip = points[51]
    np.testing.assert_allclose(pooled[11], [dx + 0.1 * upper_lip[1], dy - 0.2 * upper_lip[0]], atol=2e-3)


def test_regions_lie_on_the_face_and_mirror() -> None:
    grid = make_grid(64, 8)
    points = POINTS.astype(np.float32)
    masks = region_masks(grid, points).reshape(-1, *grid.shape)
    np.testing.assert_allclose(masks.sum(axis=(1, 2)), 1, rtol=1e-4)
    np.testing.assert_allclose(masks[MIRROR][:, :, ::-1], masks, atol=1e-5)
    weight = pixel_weights(grid, points)
    assert (masks.reshape(len(masks), -1) @ weight.ravel() > 0.6).all()


@njit
def from_python(*arguments: object) -> None:
    """Python cannot call parts of compiled loops."""
    right_side(*arguments)


@pytest.mark.parametrize("unit", [24, 64])
def test_the_normal_equations_agree_with_finite_differences(unit: int) -> None:
    """``J^T W psi(r)`` for residuals along each unknown is the normal matrix's column."""
    grid, rng = make_grid(unit, unit // 8), np.random.default_rng(3)
    template = gaussian_filter(rng.normal(size=grid.shape), 2).astype(np.float32)
    gradient = np.stack([np.gradient(template, axis=1), np.gradient(template, axis=0)]).astype(np.float32)
    used = (rng.random(grid.shape) > 0.2).astype(np.float32)
    span = np.tile(np.array([0, grid.shape[1]], np.int32), (grid.shape[0], 1))
    count = grid.node_shape[0] * grid.node_shape[1]
    size = 2 * count + grid.light_shape[0] * grid.light_shape[1]
    normal = np.empty((size, size), np.float32)
    normal_matrix(used, template, gradient, span, grid.basis, grid.light_shape, grid.node_shape, normal)
    down, across = grid.spline_matrices()
    for node in rng.integers(0, count, 6):
        effect = np.outer(down[:, node // grid.node_shape[1]], across[:, node % grid.node_shape[1]]) * gradient[1]
        residual, splines = np.empty(grid.shape, np.float32), np.empty((2, *grid.node_shape), np.float32)
        lights, light = np.empty(grid.light_shape, np.float32), np.zeros(grid.light_shape, np.float32)
        from_python(
            template + effect.astype(np.float32), used, Template(template, gradient, span), grid.basis, 1.0, light, 1e9,
            residual, Unknowns(splines, lights),
        )  # fmt: skip
        column = normal[: 2 * count, count + node]
        np.testing.assert_allclose(splines.ravel(), column, atol=1e-4 * np.abs(column).max())


@pytest.mark.parametrize("unit", [24, 64])
def test_a_motion_of_the_head_is_the_same_motion_of_every_pixel(unit: int) -> None:
    grid = make_grid(unit, unit // 8)
    down, across = grid.spline_matrices()
    x, y = grid.coordinates()
    zero, one = np.zeros(grid.shape), np.ones(grid.shape)
    depth = depth_at(np.stack(np.broadcast_arrays(x, y), axis=-1).reshape(-1, 2)).reshape(grid.shape)
    truth = [(one, zero), (zero, one), (x + zero, y + zero), (-y + zero, x + zero), (depth, zero), (zero, depth)]
    for motion, expected, allowed in zip(grid.head, truth, [1e-5] * 4 + [5e-3] * 2, strict=True):
        np.testing.assert_allclose(down @ motion @ across.T, expected, atol=allowed)


def test_nodes_without_pixels_follow_the_head() -> None:
    grid = make_grid(64, 8)
    reach = reach_of(grid, pixel_weights(grid, POINTS.astype(np.float32)))
    assert len(reach.nodes) + len(reach.rest) == len(grid.covariance)
    whole = grid.head.reshape(6, 2, -1)
    np.testing.assert_allclose(reach.head @ reach.carry.T, whole[..., reach.rest], atol=1e-4)


@given(seeds, st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=10, deadline=None)
def test_a_picture_shows_what_is_there_without_its_brightness(seed: int, right: int, down: int) -> None:
    """Linear in the frame, blind to its brightness, and it moves along with the face by whole blocks."""
    grey = clip(seed, 1)[0]
    grid, face = make_grid(64, 8), Similarity(UNIT + 3j, complex(*CENTRE))
    wide = np.pad(grey, ((64, 64), (64, 64)), mode="symmetric")
    picture = make_picture(wide // 2, Similarity(face.scale, face.shift + 64 + 64j), grid=grid, px_per_pixel=1.3)
    bright = make_picture(wide // 2 + 90, Similarity(face.scale, face.shift + 64 + 64j), grid=grid, px_per_pixel=1.3)
    np.testing.assert_allclose(bright.values, picture.values, atol=1e-3)
    shift = 4 * np.array([right // 4, down // 4])
    moved = np.roll(wide // 2, shift[::-1], axis=(0, 1))
    there = Similarity(face.scale, face.shift + 64 + 64j + complex(*shift))
    other = make_picture(moved, there, grid=grid, px_per_pixel=1.3)
    at = there.apply(POINTS[17:]), Similarity(face.scale, face.shift + 64 + 64j).apply(POINTS[17:])
    for mine, theirs in zip(*(np.round(at_).astype(int) for at_ in at), strict=True):
        x, y = np.round(other.to_picture.apply(mine[None].astype(float))[0]).astype(int)
        u, v = np.round(picture.to_picture.apply(theirs[None].astype(float))[0]).astype(int)
        np.testing.assert_allclose(other.values[y, x], picture.values[v, u], atol=1e-3)


@given(st.complex_numbers(min_magnitude=0.1, max_magnitude=9), st.complex_numbers(max_magnitude=99))
def test_similarities_invert(scale: complex, shift: complex) -> None:
    there = Similarity(scale, shift)
    points = np.array([[0.3, -2.0], [5.0, 1.0]])
    np.testing.assert_allclose((there @ there.inverse()).apply(points), points, atol=1e-3)


def test_the_mirrored_points_are_an_involution() -> None:
    assert [_SWAP[p] for p in _SWAP] == list(range(68))


GRID = make_grid(64, 8)
MOUTH_CORNER, OTHER_CORNER = (REGION_NAMES.index(f"{side} mouth corner") for side in ("right", "left"))
BROW = REGION_NAMES.index("left brow outer")


def test_something_beside_a_region_disturbs_it_and_its_neighbours_only() -> None:
    points = POINTS.astype(np.float32)
    reach = influence(GRID, region_masks(GRID, points))
    rng = np.random.default_rng(0)
    residual = rng.normal(0, 1, GRID.shape).astype(np.float32)
    used = np.ones(GRID.shape, np.float32)
    assert undisturbed(residual, used, reach, noise=1).min() > 0.9
    x, y = GRID.coordinates()
    finger = np.hypot(x - points[54, 0] - 0.12, y - points[54, 1] - 0.1) < 0.1
    residual[finger] += 15
    factor = undisturbed(residual, used, reach, noise=1)
    assert factor[MOUTH_CORNER] < 0.3
    assert factor[BROW] > 0.9
    assert factor[OTHER_CORNER] > factor[MOUTH_CORNER] + 0.5
