"""Pictures that come again and again: their displacement stays what it was, however long it takes."""

import numpy as np
import numpy.typing as npt
import pytest

from helpers.moving_faces import CENTRE, RATE_HZ, UNIT, render, skin, track
from metst.config import MotionSettings
from metst.motion.trajectory import extract_motion

PICTURES, ROUNDS = 40, 12
RENEWED_OFTEN = MotionSettings(anchor_interval_s=0.4)
"""An anchor takes over the displacement of the last: twenty times as often as usual stands for twenty times as long."""


@pytest.fixture(scope="module")
def texture() -> npt.NDArray[np.float64]:
    return skin(np.random.default_rng(11))


def test_a_face_that_comes_and_goes_does_not_drift(texture: npt.NDArray[np.float64]) -> None:
    """A head that nods and turns while a corner of the mouth moves, played forth and back: 936 frames, 90 anchors."""
    t = np.arange(PICTURES) / RATE_HZ
    turn = UNIT * np.exp(0.03 * np.sin(2.2 * t) + 0.05j * np.sin(1.7 * t))
    heads = list(zip(turn, CENTRE + 5 * np.sin(2.9 * t) - 4j * np.sin(1.3 * t), strict=True))
    course = 4 * np.sin(np.linspace(0, np.pi, PICTURES)) ** 2
    pictures = [
        render(texture, head=head, bump=((-0.28, 0.75), (0.6 * size, -0.8 * size)))
        for head, size in zip(heads, course, strict=True)
    ]
    order = [*range(PICTURES), *range(PICTURES - 2, 0, -1)] * ROUNDS
    rows = track([pictures[k] for k in order], heads=[heads[k] for k in order], noise=2.0)
    motion = extract_motion(rows, settings=RENEWED_OFTEN).displacement
    assert motion.valid.all()
    off = np.linalg.norm(motion.values - motion.values[:PICTURES][order], axis=-1)
    last = np.median(off[-len(order) // ROUNDS :], axis=0)
    assert np.median(last) < 0.002  # face units; it was 0.006 when each anchor believed the last
    assert last.max() < 0.004


def test_a_face_that_rests_stays_where_it_is(texture: npt.NDArray[np.float64]) -> None:
    still = render(texture)
    rows = track([still] * 600, noise=2.0)
    motion = extract_motion(rows, settings=RENEWED_OFTEN).displacement.values
    off = np.linalg.norm(motion[-150:] - motion[:50].mean(axis=0), axis=-1)
    assert np.median(off) < 0.0015


def test_what_is_given_back_does_not_look_like_a_movement(texture: npt.NDArray[np.float64]) -> None:
    """A mouth that stays pulled for long, and then comes back: what it is off by goes slower than any movement."""
    course = np.concatenate(
        [np.zeros(20), np.linspace(0, 4, 10), np.full(150, 4), np.linspace(4, 0, 10), np.zeros(150)]
    )
    frames = {size: render(texture, bump=((-0.28, 0.75), (0.0, -size))) for size in np.unique(course)}
    motion = extract_motion(track([frames[size] for size in course]), settings=RENEWED_OFTEN).displacement.values
    rest = motion[200:]
    fastest = np.linalg.norm(rest[12:] - rest[:-12], axis=-1).max()
    assert fastest < 0.004  # face units in half a second
    assert np.linalg.norm(rest[-25:].mean(axis=0) - motion[:20].mean(axis=0), axis=-1).max() < 0.004
