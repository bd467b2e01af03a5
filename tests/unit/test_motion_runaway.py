"""A face that leaves, jumps, fades or shrinks is a gap with a reason, whatever its landmarks say."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from metst.config import MotionSettings
from metst.face import Face, FaceFrame, FaceTracker
from metst.motion import MotionFrame, MotionTracker
from metst.motion.trajectory import extract_motion
from metst.video import Frame

HEIGHT, WIDTH, RATE_HZ = 240, 320, 25.0
Grey = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def landmarks(astronaut: Grey) -> npt.NDArray[np.float32]:
    """Landmarks of the portrait, (68, 2)."""
    face = FaceTracker().update(Frame(0, 0.0, astronaut)).face
    assert face is not None
    return face.landmarks


def moved(picture: Grey, matrix: npt.NDArray[np.float64], *, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> Grey:
    """The portrait's face in a frame of even grey."""
    frame = np.full(shape, 100, np.uint8)
    size = shape[::-1]
    return np.asarray(
        cv2.warpAffine(picture[20:220, 120:330], matrix, size, dst=frame, borderMode=cv2.BORDER_TRANSPARENT), np.uint8
    )


def face_of(points: npt.NDArray[np.floating]) -> Face:
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    return Face(np.full((468, 2), np.nan, np.float32), points.astype(np.float32), 1.0, box.astype(np.float32))


def at(x: float, y: float) -> npt.NDArray[np.float64]:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y]])


@pytest.mark.parametrize(
    "speed", [(8, 0), (-8, 0), (0, 8), (0, -8), (12, 9), (20, 0), (-4, 0)], ids="{0[0]},{0[1]}".format
)
def test_a_copy_of_the_face_that_flies_out_of_the_picture_is_lost(
    astronaut: Grey, landmarks: npt.NDArray[np.float32], speed: tuple[int, int]
) -> None:
    """The landmarks stay behind for 8 s, as they do in a transition to another picture; then the face is back."""
    face, rows = face_of(landmarks - [120, 20] + [55, 20]), []
    for k in range(240):
        way = min(max(k - 5, 0), 60) if k < 220 else 0
        grey = moved(astronaut, at(55 + way * speed[0], 20 + way * speed[1]))
        rows.append(FaceFrame(Frame(k, k / RATE_HZ, grey), face, k == 0 or k >= 222, 1.0, ""))
    motion = extract_motion(rows, settings=MotionSettings(anchor_interval_s=2.0))
    valid = motion.displacement.valid
    assert valid[:5].all()
    assert not valid[200:220].any()
    assert valid[230:].all()
    assert set(motion.reason) <= {"", "motion lost", "face lost"}
    np.testing.assert_array_equal(np.isfinite(motion.displacement.values).all(axis=(1, 2)), valid)
    assert np.isfinite(motion.quality).all()


def test_the_tracker_of_faces_in_front_changes_nothing(astronaut: Grey) -> None:
    """A copy flies to the right over a cut to another picture, and a face comes back in the middle."""
    rng, faces, motion = np.random.default_rng(4), FaceTracker(), MotionTracker()
    other = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8)).astype(np.uint8)
    behind = np.asarray(cv2.resize(other, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)
    found = []
    for k in range(90):
        grey = moved(astronaut, at(55, 20))
        if 20 <= k < 45:
            x = 55 + 12 * (k - 20)
            flying = moved(astronaut, at(x, 20))
            grey = np.where(np.arange(WIDTH) < x, behind, flying)
        found.append(motion.update(faces.update(Frame(k, k / RATE_HZ, grey))))
    assert all(row.valid for row in found[:20])
    assert any(not row.valid and row.reason for row in found[20:50])
    assert all(row.valid for row in found[-10:])


def check(row: MotionFrame) -> None:
    for values in (row.displacement, row.centres, row.head, np.array(row.face_px)):
        assert np.isfinite(values).all() == row.valid
    assert ((row.quality >= 0) & (row.quality <= 1)).all()


@pytest.mark.parametrize("seed", range(24))
def test_no_course_of_a_face_raises(astronaut: Grey, landmarks: npt.NDArray[np.float32], seed: int) -> None:
    """Any size from 16 px to several frames, any speed and turn, cuts, black and flat frames, bad landmarks."""
    rng = np.random.default_rng(seed)
    shape = int(rng.choice([8, 40, 120, 240])), int(rng.choice([8, 64, 160, 320]))
    size, angle, face = float(np.exp(rng.uniform(np.log(0.25), np.log(6)))), 0.0, None
    place, speed = rng.uniform(-0.2, 1.2, 2) * shape[::-1], rng.normal(size=2) * rng.choice([0, 2, 10, 40])
    growth, turn = 1 + rng.normal() * rng.choice([0, 0.005, 0.05]), rng.normal() * rng.choice([0, 0.02, 0.2])
    often, renewed_s = rng.choice([0.03, 0.2, 1.0]), float(rng.choice([0.04, 0.2, 8.0]))
    tracker, level = MotionTracker(MotionSettings(anchor_interval_s=renewed_s)), -1
    for k in range(40):
        if rng.random() < 0.05:
            place = rng.uniform(0, 1, 2) * shape[::-1]
        if rng.random() < 0.1:
            level = int(rng.choice([-1, -1, 0, 128, 255]))
        place, size, angle = place + speed, float(np.clip(size * growth, 0.01, 40)), angle + turn
        z = size * np.exp(1j * angle)
        matrix = np.array([[z.real, -z.imag, 0], [z.imag, z.real, 0]])
        matrix[:, 2] = place - matrix[:, :2] @ [105, 100]
        grey = moved(astronaut, matrix, shape=shape) if level < 0 else np.full(shape, level, np.uint8)
        fresh = face is None or rng.random() < often
        if fresh:
            points = (landmarks - [120, 20]) @ matrix[:, :2].T + matrix[:, 2]
            face = face_of(points + rng.normal(size=(68, 2)) * rng.choice([0, 0.5, 3]))
        if rng.random() < 0.02:
            face = face_of(np.full((68, 2), 5.0))
        reason = "" if rng.random() > 0.05 else "face lost"
        check(tracker.update(FaceFrame(Frame(k, k / RATE_HZ, grey), face, bool(fresh), 1.0, reason)))
