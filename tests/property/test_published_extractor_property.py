"""What must hold for published motion on any clip."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from metst.motion import published_windows
from metst.published.extractor import window_motion
from metst.regions import CROP_PX, REGION_NAMES, REGIONS

WHOLE_CROP = np.array([0, CROP_PX, 0, CROP_PX])
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=12, deadline=None)


def arc(centre, *, radii, degrees):
    """Points of an ellipse at the given angles, x to the right and y down."""
    angle = np.deg2rad(degrees)
    return np.stack([centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)], axis=1)


def drawn_landmarks():
    """A frontal face of ellipses that fills the crop as published crops do."""
    around = np.arange(0, 360, 30)
    parts = [
        arc((160, 150), radii=(125, 165), degrees=np.linspace(180, 0, 17)),
        arc((92, 95), radii=(42, 16), degrees=np.linspace(195, 345, 5)),
        arc((228, 95), radii=(42, 16), degrees=np.linspace(195, 345, 5)),
        np.stack([np.full(4, 160), np.linspace(120, 185, 4)], axis=1),
        np.stack([np.linspace(135, 185, 5), np.full(5, 205)], axis=1),
        arc((92, 120), radii=(22, 8), degrees=np.arange(180, 540, 60)),
        arc((228, 120), radii=(22, 8), degrees=np.arange(180, 540, 60)),
        arc((160, 250), radii=(50, 22), degrees=180 + around),
        arc((160, 250), radii=(40, 8), degrees=180 + np.arange(0, 360, 45)),
    ]
    return np.concatenate(parts).round().astype(np.int64)


LANDMARKS = drawn_landmarks()


def skin(seed, *, side=CROP_PX):
    """Blurred noise at two scales, (side, side) uint8."""
    noise = np.random.default_rng(seed).normal(size=(2, side, side)).astype(np.float32)
    texture = sum(cv2.GaussianBlur(layer, (0, 0), sigma) * sigma for layer, sigma in zip(noise, (2, 5), strict=True))
    return np.clip(128 + 60 * texture, 0, 255).astype(np.uint8)


def pushed(image, *, at, motion):
    """The image with a bump of skin around ``at`` moved by ``motion`` (x, y) pixels."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    bump = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 12**2))
    source_x, source_y = (x - motion[0] * bump).astype(np.float32), (y - motion[1] * bump).astype(np.float32)
    return cv2.remap(image, source_x, source_y, cv2.INTER_CUBIC)


@few
@given(seed=seeds, x=st.integers(0, 40), y=st.integers(0, 40))
def test_frames_and_boxes_moved_together_change_nothing(seed, x, y):
    rng = np.random.default_rng(seed)
    clip = np.stack([np.roll(skin(seed), shift, (0, 1)) for shift in rng.integers(-2, 3, (3, 2))])
    canvas = np.stack([skin(seed + 1, side=CROP_PX + 80)] * len(clip))
    margin = 20  # so that the box meets no border while it follows the head
    box = np.array([margin, CROP_PX - margin, margin, CROP_PX - margin])

    def placed(dx, dy):
        frames = canvas.copy()
        frames[:, dy : dy + CROP_PX, dx : dx + CROP_PX] = clip
        return window_motion(frames, box=box + np.array([dy, dy, dx, dx]), landmarks=LANDMARKS)

    np.testing.assert_array_equal(placed(20, 20), placed(x + 1, y + 1))


@few
@given(seed=seeds)
def test_a_still_clip_shows_no_motion(seed):
    """Farneback is not quite zero between equal images at a patch's border, but no step differs from another."""
    motion = window_motion(np.stack([skin(seed)] * 4), box=WHOLE_CROP, landmarks=LANDMARKS)
    assert np.abs(motion).max() < 0.1
    np.testing.assert_array_equal(motion[:, 0], 0)
    np.testing.assert_array_equal(motion[:, 1:], motion[:, [1]].repeat(3, axis=1))


@few
@given(
    seed=seeds,
    name=st.sampled_from(["left mouth corner", "right mouth corner"]),
    axis=st.integers(0, 1),
    amount=st.floats(0.6, 2.0),
    sign=st.sampled_from([-1, 1]),
)
def test_a_moved_mouth_corner_is_seen_there_and_with_its_sign(seed, name, axis, amount, sign):
    index = REGION_NAMES.index(name)
    region = REGIONS[index]
    planted = sign * amount * np.eye(2)[axis]
    frame = skin(seed)
    moved = pushed(frame, at=LANDMARKS[region.landmarks[0]], motion=planted)
    motion = window_motion(np.stack([frame, moved]), box=WHOLE_CROP, landmarks=LANDMARKS)
    seen = motion[:, 1].reshape(18, 2)
    assert 0.6 * amount < sign * seen[index, axis] < amount  # the mean over a bump is below its peak
    assert np.abs(seen[index, 1 - axis]) < 0.15 * amount
    length = np.linalg.norm(seen, axis=1)
    assert np.argmax(length) == index
    assert length[[region.mirror, 0, 4, 16, 17]].max() < 0.05 * amount


@few
@given(seed=seeds, window=st.integers(2, 5), tail=st.integers(0, 1))
def test_each_window_stands_alone_and_the_tail_is_left_out(seed, window, tail):
    rng = np.random.default_rng(seed)
    hop, count = window // 2, 3
    length = window + (count - 1) * hop + min(tail, hop - 1)
    clip = np.stack([np.roll(skin(seed), shift, (0, 1)) for shift in rng.integers(-1, 2, (length, 2))])
    boxes = WHOLE_CROP + np.arange(count)[:, None]
    landmarks = LANDMARKS + rng.integers(-2, 3, (count, 68, 2))
    motion = published_windows(clip, boxes=boxes, landmarks=landmarks, window=window)
    assert motion.shape == (count, 36, window)
    for index, (box, points) in enumerate(zip(boxes, landmarks, strict=True)):
        alone = window_motion(clip[index * hop : index * hop + window], box=box, landmarks=points)
        np.testing.assert_array_equal(motion[index], alone)
