"""Published motion against what the published extractor gave for the same frames."""

import cv2
import numpy as np
import pytest

from helpers.benchmark_modules import benchmark_module
from helpers.reference_values import shared_file
from metst.face import FaceTracker
from metst.motion import published_windows
from metst.published.extractor import landmarks_in_crop, published_boxes, window_motion
from metst.regions import METST_CHANNELS, REGION_NAMES, REGIONS
from metst.video import Frame

PICTURES = "pictures of a person"


@pytest.fixture(scope="module")
def golden():
    with np.load(shared_file("official", "motion_plus_golden.npz", why=PICTURES)) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def portrait(astronaut):
    """A clip ``(12, 280, 300)`` of a face that drifts, with the box and the landmarks of two windows."""
    frame = cv2.resize(astronaut[20:220, 120:334], (300, 280), interpolation=cv2.INTER_AREA)
    face = FaceTracker().update(Frame(index=0, time_s=0.0, grey=frame)).face
    assert face is not None
    points = np.repeat(face.landmarks[None].astype(float), 2, axis=0)
    boxes = published_boxes(points, frame_shape=frame.shape)
    landmarks = landmarks_in_crop(points, boxes, frame_shape=frame.shape)
    return {
        "frames": np.stack([np.roll(frame, (k // 4, k // 3), (0, 1)) for k in range(12)]),
        "boxes": boxes,
        "landmarks": landmarks,
    }


@pytest.fixture(scope="module")
def motion(golden):
    return published_windows(golden["frames"], boxes=golden["boxes"], landmarks=golden["landmarks"], window=30)


@pytest.fixture(scope="module")
def extract_reference():
    return benchmark_module("published_extractor").extract_reference


def test_all_18_regions_agree_with_the_published_extractor(golden, motion):
    assert motion.shape == (3, 36, 30)
    assert motion.dtype == np.float32
    # Equal to the last bit on x86-64 with AVX-512; the room is for other instruction sets.
    np.testing.assert_allclose(motion, golden["features"], rtol=0, atol=1e-3)
    for ours, theirs in zip(motion.reshape(-1, 30), golden["features"].reshape(-1, 30), strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.99999


def test_the_five_regions_of_metst_are_a_subset(motion):
    with np.load(shared_file("official", "motion_golden.npz", why=PICTURES)) as five:
        np.testing.assert_allclose(motion[:, METST_CHANNELS], five["features"], rtol=0, atol=1e-3)


def test_boxes_follow_from_the_landmarks(golden):
    """Landmarks mapped back from the crop give the stored boxes, up to the rounding of both detections."""
    top, bottom, left, right = golden["boxes"].T[..., None]
    x = left + golden["landmarks"][..., 0] * (right - left) / 320
    y = top + golden["landmarks"][..., 1] * (bottom - top) / 320
    boxes = published_boxes(np.stack([x, y], axis=-1), frame_shape=(280, 300))
    # One pixel of g moves an edge by 5.5 px at most, one pixel of the centre by 1.
    assert np.abs(boxes - golden["boxes"]).max() <= 6.5
    back = landmarks_in_crop(np.stack([x, y], axis=-1), golden["boxes"], frame_shape=(280, 300))
    assert np.abs(back - golden["landmarks"]).max() <= 1


def shaken(frames, *, reach, seed=0):
    """Frames moved as a whole by up to ``reach`` pixels."""
    rng = np.random.default_rng(seed)
    shifts = rng.integers(-reach, reach + 1, (len(frames), 2))
    return np.stack([np.roll(frame, shift, (0, 1)) for frame, shift in zip(frames, shifts, strict=True)])


@pytest.mark.parametrize(
    ("reach", "offset"),
    [
        pytest.param(3, (0, 0, 0, 0), id="box follows"),
        pytest.param(12, (0, 0, 0, 0), id="box lost on the upper left"),
        pytest.param(6, (-46, -46, -68, -68), id="box pushed against the upper left corner"),
        pytest.param(4, (60, 190, 60, 130), id="box beyond the lower right corner"),
    ],
)
def test_vectorised_equals_the_loop_as_published(portrait, extract_reference, reach, offset):
    frames = shaken(portrait["frames"][:12], reach=reach)
    given = {"boxes": portrait["boxes"][:2] + np.array(offset), "landmarks": portrait["landmarks"][:2], "window": 8}
    np.testing.assert_allclose(published_windows(frames, **given), extract_reference(frames, **given), atol=1e-5)


def test_a_box_follows_the_head_for_the_rest_of_the_window(portrait):
    """In a crop of the source's own scale a whole-pixel head motion is undone exactly, and stays undone."""
    frame = np.pad(portrait["frames"][0], 60, mode="reflect")
    given = {"box": np.array([60, 380, 60, 380]), "landmarks": portrait["landmarks"][0]}
    moved = np.stack([frame, *(np.roll(frame, shift, (0, 1)) for shift in ((3, -5), (3, -5), (1, -4), (0, 0)))])
    still = np.stack([frame] * len(moved))
    np.testing.assert_array_equal(window_motion(moved, **given), window_motion(still, **given))


def test_a_region_without_pixels_moves_like_the_head_reversed(portrait):
    landmarks = portrait["landmarks"][0].copy()
    landmarks[36:42, 1] += 190  # the eyelid's patch lies below the crop
    landmarks[18, 0] = landmarks[17, 0] + 2  # the square would start left of the brow's patch
    landmarks[23, 0] = landmarks[22, 0] + 5
    regions = window_motion(portrait["frames"][:10], box=portrait["boxes"][0], landmarks=landmarks).reshape(18, 2, 10)
    empty = [REGION_NAMES.index(name) for name in ("left lower eyelid", "left brow outer", "right brow inner")]
    head = -regions[empty[0]]
    assert np.abs(head[:, 1:]).max() > 0.05
    for index, motion in enumerate(regions):
        assert np.array_equal(motion, -head) == (index in empty)


def test_a_patch_without_pixels_gives_zero(portrait):
    """The mouth below the crop: the published extractor stopped here with an error."""
    landmarks = portrait["landmarks"][0] + np.array([0, 160])
    motion = window_motion(portrait["frames"][:5], box=portrait["boxes"][0], landmarks=landmarks).reshape(18, 2, 5)
    mouth = [index for index, region in enumerate(REGIONS) if 8 in (index, region.parent)]
    assert np.isfinite(motion).all()
    assert (motion[mouth] == motion[mouth[:1]]).all()
