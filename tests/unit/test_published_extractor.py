"""Geometry of the published extractor, worked out by hand, and what it refuses."""

import numpy as np
import pytest

from metst.errors import DataError
from metst.motion import published_windows
from metst.published.extractor import (
    crop_face,
    landmarks_in_crop,
    patch_slices,
    pooled_slices,
    published_boxes,
    shifted_box,
)
from metst.regions import HEAD, REGION_NAMES, REGIONS


def pooling(name):
    return REGIONS[REGION_NAMES.index(name)].published


def points(first, *given):
    """68 landmarks that are zero but for those from ``first`` on."""
    landmarks = np.zeros((68, 2), dtype=np.int64)
    landmarks[first : first + len(given)] = given
    return landmarks


LEFT_BROW = points(17, (50, 90), (65, 80), (80, 76), (95, 78), (110, 84))
UPPER_LIP = [(100, 240), (120, 232), (140, 230), (150, 231), (160, 230), (180, 233), (200, 241)]
MOUTH = points(48, *UPPER_LIP, *UPPER_LIP, *UPPER_LIP[2:], (250, 300))  # point 67 does not count
NOSE = points(29, (150, 150), (152, 170), (130, 190), (140, 195), (152, 198), (163, 195), (172, 189))
LEFT_EYE = points(36, (70, 120), (80, 113), (95, 112), (110, 121), (96, 125), (80, 126))


@pytest.mark.parametrize(
    ("name", "landmarks", "rows", "columns"),
    [
        ("left brow", LEFT_BROW, slice(61, 95), slice(45, 110)),
        ("right brow", np.roll(LEFT_BROW, 5, axis=0), slice(61, 95), slice(50, 110)),
        ("mouth", MOUTH, slice(215, 251), slice(80, 220)),
        ("left nose wing", NOSE, slice(150, 203), slice(100, 202)),
        # Eye 40 px wide, centred on row 119: from 10 px below it to 30 px below it.
        ("left lower eyelid", LEFT_EYE, slice(129, 149), slice(70, 110)),
    ],
)
def test_patches(name, landmarks, rows, columns):
    patch = pooling(name).patch
    assert patch_slices(patch, landmarks) == (rows, columns)


def test_the_nose_tip_stands_for_the_head():
    assert patch_slices(HEAD.patch, NOSE) == (slice(137, 183), slice(137, 165))
    assert pooled_slices(HEAD, NOSE) == (slice(15, -10), slice(5, -5))


@pytest.mark.parametrize(
    ("name", "landmarks", "rows", "columns"),
    [
        ("left brow", LEFT_BROW, slice(10, -10), slice(10, -10)),
        ("left brow inner", LEFT_BROW, slice(7, 27), slice(40, 60)),
        ("right brow outer", np.roll(LEFT_BROW, 5, axis=0), slice(7, 27), slice(35, 55)),
        ("left mouth corner", MOUTH, slice(15, 35), slice(10, 40)),
        ("right mouth corner", MOUTH, slice(16, 36), slice(100, 130)),
        ("left nose wing", NOSE, slice(20, 45), slice(10, 40)),
        ("right nose wing", NOSE, slice(19, 44), slice(62, 92)),
        ("left lower eyelid", LEFT_EYE, slice(5, -5), slice(5, -5)),
    ],
)
def test_pixels_averaged_within_the_flow_of_the_patch(name, landmarks, rows, columns):
    assert pooled_slices(pooling(name), landmarks) == (rows, columns)


@pytest.mark.parametrize(("highest", "first_row", "trim"), [(15, 0, 10), (16, 1, 10), (12, 0, 7), (5, 0, 0), (2, 0, 0)])
def test_a_brow_at_the_upper_border_loses_less_of_its_patch(highest, first_row, trim):
    landmarks = LEFT_BROW + np.array([0, highest - 76])
    brow, fine = pooling("left brow"), pooling("left brow middle")
    assert patch_slices(brow.patch, landmarks)[0].start == first_row
    assert pooled_slices(brow, landmarks)[0].start == trim
    # Squares keep counting from where the patch would have started.
    assert pooled_slices(fine, landmarks)[0] == slice(5, 25)


@pytest.mark.parametrize(("height", "bottom"), [(2, -4), (3, -10)])
def test_a_flat_left_brow_loses_less_at_the_bottom(height, bottom):
    """The patch is the brow's height plus 20; both borders take 20 of what is left after 3 more."""
    flat = points(17, (50, 80), (65, 80), (80, 80 + height), (95, 80), (110, 80))
    assert pooled_slices(pooling("left brow"), flat)[0] == slice(10, bottom)
    assert pooled_slices(pooling("right brow"), np.roll(flat, 5, axis=0))[0] == slice(10, -10)


def test_only_the_left_margins_stop_at_the_crop_border():
    assert patch_slices(pooling("mouth").patch, MOUTH - np.array([90, 0]))[1] == slice(0, 130)
    assert patch_slices(pooling("mouth").patch, MOUTH - np.array([0, 220]))[0] == slice(-5, 31)
    assert pooled_slices(pooling("left mouth corner"), MOUTH - np.array([90, 0]))[1] == slice(10, 40)


def test_boxes_from_the_inner_eye_corners():
    landmarks = np.zeros((2, 68, 2))
    landmarks[:, 39], landmarks[:, 42] = (133.9, 108), (170, 111)
    landmarks[1] -= (100, 60)
    # Half of 36.1 is 18; the middle (151.95, 109.5) is (151, 109).  The second box stops at the border.
    expected = [[46, 208, 70, 232], [0, 148, 0, 132]]
    np.testing.assert_array_equal(published_boxes(landmarks, frame_shape=(200, 300)), expected)


@pytest.mark.parametrize(("left", "right"), [((100, 80), (101, 80)), ((120, 80), (90, 80)), ((400, 80), (440, 80))])
def test_boxes_need_a_frontal_face_on_the_frame(left, right):
    landmarks = np.zeros((1, 68, 2))
    landmarks[:, 39], landmarks[:, 42] = left, right
    with pytest.raises(DataError, match="window 0"):
        published_boxes(landmarks, frame_shape=(200, 300))


@pytest.mark.parametrize(
    ("frame_shape", "inside"), [((300, 300), (40, 20)), ((130, 300), (40, 40)), ((300, 100), (80, 20))]
)
def test_landmarks_in_a_crop_that_the_frame_may_cut_short(frame_shape, inside):
    """What is left of the box is stretched to the whole crop."""
    landmarks = np.tile([[40.2, 60.2]], (68, 1))  # truncated after scaling
    mapped = landmarks_in_crop(landmarks, np.array([50, 210, 20, 180]), frame_shape=frame_shape)
    np.testing.assert_array_equal(mapped, np.tile(inside, (68, 1)))


def test_a_shifted_box_stops_at_the_upper_left_only():
    motion = np.array([-2.5, -3.6], dtype=np.float32)
    assert shifted_box((2, 100, 1, 90), motion) == (0, 96, 0, 88)
    assert shifted_box((190, 300, 290, 400), -motion) == (194, 304, 292, 402)


def test_a_box_that_has_left_the_frame():
    with pytest.raises(DataError, match="has left the"):
        crop_face(np.zeros((200, 300), dtype=np.uint8), (20, 100, 300, 400))


def clip(length=9, dtype=np.uint8):
    return np.zeros((length, 64, 64), dtype=dtype)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": np.zeros((9, 64, 64, 3), dtype=np.uint8)}, "grey"),
        ({"frames": clip(dtype=np.float32)}, "uint8"),
        ({"frames": clip(3)}, "3 frames do not fill one window of 4"),
        ({"window": 1}, "at least 2 frames, got 1"),
        ({"boxes": np.tile([0, 60, 0, 60], (2, 1))}, r"boxes must be integers of shape \(3, 4\)"),
        ({"boxes": np.tile([0.0, 60.0, 0.0, 60.0], (3, 1))}, "float64"),
        ({"boxes": np.tile([30, 30, 0, 60], (3, 1))}, r"window 0: the box \[30, 30, 0, 60\]"),
        ({"boxes": np.array([[0, 60, 0, 60], [0, 60, 64, 99], [0, 60, 0, 60]])}, "window 1"),
        ({"boxes": np.tile([-1, 60, 0, 60], (3, 1))}, "does not lie on"),
        ({"landmarks": np.zeros((3, 68, 3), dtype=np.int64)}, r"landmarks must be integers of shape \(3, 68, 2\)"),
    ],
)
def test_refused_input(changes, message):
    """Nine frames in windows of 4 with hop 2: three windows, the last frame is left over."""
    boxes, landmarks = np.tile([0, 60, 0, 60], (3, 1)), np.zeros((3, 68, 2), dtype=np.int64)
    given = {"frames": clip(), "boxes": boxes, "landmarks": landmarks, "window": 4} | changes
    frames = given.pop("frames")
    with pytest.raises(DataError, match=message):
        published_windows(frames, **given)
