"""Trajectory-mode motion against planted motion, still pictures, and footage that cannot be measured."""

import numpy as np
import numpy.typing as npt
import pytest

from helpers.moving_faces import CENTRE, RATE_HZ, SHAPE, UNIT, render, skin, track
from metst.config import MotionSettings
from metst.face import FaceFrame
from metst.motion.trajectory import Motion, extract_motion
from metst.regions import REGIONS
from metst.video import Frame


def motion_px(motion: Motion) -> npt.NDArray[np.float64]:
    return UNIT * motion.displacement.values.astype(np.float64)


def region(name: str) -> int:
    return [r.name for r in REGIONS].index(name)


@pytest.fixture(scope="module")
def texture() -> npt.NDArray[np.float64]:
    return skin(np.random.default_rng(11))


SITES = {
    "left brow middle": (19, (-0.28, -0.29)),
    "right nose wing": (35, (0.16, 0.45)),
    "left mouth corner": (48, (-0.28, 0.75)),
}


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize(("size", "allowed"), [(0.3, 0.05), (1.0, 0.12), (3.0, 0.35)])
def test_planted_motion_is_measured_at_its_place(
    texture: npt.NDArray[np.float64], name: str, size: float, allowed: float
) -> None:
    direction = np.array([0.6, -0.8])
    course = size * np.sin(np.linspace(0, np.pi, 12)) ** 2
    frames = [render(texture, bump=(SITES[name][1], tuple(direction * a))) for a in course]
    motion = motion_px(extract_motion(track(frames)))
    measured = motion[:, region(name)]
    # Mean of the bump over the region's square of +-0.055 face units: 0.957 of its height; the nose wing's is larger.
    share = 0.957 if name != "right nose wing" else 0.87
    truth = share * course[:, None] * direction
    assert np.abs(measured - truth).max() < allowed
    far = motion[:, region("right brow outer")]
    assert np.abs(far).max() < 0.04 + 0.06 * size


def test_head_motion_is_no_motion_of_the_face(texture: npt.NDArray[np.float64]) -> None:
    t = np.arange(40) / RATE_HZ
    turn = UNIT * np.exp(0.02 * np.sin(3 * t) + 1j * np.deg2rad(2.0) * np.sin(5 * t))
    heads = list(zip(turn, CENTRE + 6 * np.sin(4 * t) - 4j * np.sin(2.5 * t), strict=True))
    motion = extract_motion(track([render(texture, head=head) for head in heads], heads=heads))
    assert motion.displacement.valid.all()
    assert np.sqrt((motion_px(motion) ** 2).mean(axis=(0, 2))).max() < 0.03
    shift = (np.array([h[1] for h in heads]) - CENTRE) / UNIT
    np.testing.assert_allclose(motion.head[:, 0], shift.real, atol=2e-3)
    np.testing.assert_allclose(motion.head[:, 1], shift.imag, atol=2e-3)
    np.testing.assert_allclose(motion.head[:, 2], 0.02 * np.sin(3 * t), atol=2e-3)
    np.testing.assert_allclose(motion.head[:, 3], np.deg2rad(2.0) * np.sin(5 * t), atol=2e-3)


def test_a_still_photograph_does_not_move(texture: npt.NDArray[np.float64]) -> None:
    motion = extract_motion(track([render(texture)] * 40))
    assert motion.displacement.valid.all()
    assert np.abs(motion_px(motion)).max() < 1e-3


def test_noise_reads_as_little_motion(texture: npt.NDArray[np.float64]) -> None:
    motion = motion_px(extract_motion(track([render(texture)] * 50, noise=4.0)))
    later = motion[10:] - motion[10:].mean(axis=0)
    assert np.sqrt((later**2).mean()) < 0.06


def test_flicker_and_fades_are_no_motion(texture: npt.NDArray[np.float64]) -> None:
    t, row = np.arange(40), np.arange(SHAPE[0])[:, None]
    still = render(texture)
    lights = [0.9 + 0.1 * np.sin(2.1 * k + row / 40) - 0.004 * k for k in t]
    motion = extract_motion(track([still * light for light in lights]))
    assert motion.displacement.valid.all()
    assert np.sqrt((motion_px(motion) ** 2).mean(axis=(0, 2))).max() < 0.05


def test_renewed_anchors_make_no_jumps(texture: npt.NDArray[np.float64]) -> None:
    course = np.linspace(0, 1.5, 50)
    frames = [render(texture, bump=(SITES["left mouth corner"][1], (0.0, -a))) for a in course]
    site = region("left mouth corner")
    often = motion_px(extract_motion(track(frames), settings=MotionSettings(anchor_interval_s=0.4)))[:, site, 1]
    never = motion_px(extract_motion(track(frames), settings=MotionSettings(anchor_interval_s=100)))[:, site, 1]
    assert np.abs(np.diff(often) + 0.957 * np.diff(course)).max() < 0.04
    assert np.abs(never + 0.957 * course).max() < 0.15
    assert np.abs(often - never).max() < 0.12


def test_a_lost_face_is_a_gap_with_its_reason(texture: npt.NDArray[np.float64]) -> None:
    motion = extract_motion(track([render(texture)] * 20, missing=(7, 8)))
    valid = np.ones(20, bool)
    valid[[7, 8]] = False
    np.testing.assert_array_equal(motion.displacement.valid, valid)
    assert motion.reason[7] == "face lost"
    assert motion.reason[9] == ""
    assert np.isnan(motion.displacement.values[7]).all()
    assert (motion.quality[7] == 0).all()


def test_another_picture_under_the_same_landmarks_is_a_gap(texture: npt.NDArray[np.float64]) -> None:
    other = render(skin(np.random.default_rng(12)))
    motion = extract_motion(track([render(texture)] * 8 + [other] * 8))
    assert not motion.displacement.valid[8:10].any()
    assert motion.displacement.valid[11:].all()
    assert "motion lost" in motion.reason
    assert np.abs(np.nan_to_num(motion_px(motion))).max() < 0.02


def test_an_occluder_lowers_the_quality_where_it_is(texture: npt.NDArray[np.float64]) -> None:
    still = render(texture)
    hidden = still.copy()
    y, x = int(CENTRE.imag + 0.6 * UNIT), int(CENTRE.real)
    hidden[y : y + 30, x - 35 : x + 35] = 60 + 20 * np.indices((30, 70)).sum(axis=0) % 90
    motion = extract_motion(track([still] * 10 + [hidden]))
    assert motion.quality[10, region("mouth")] < 0.6 * motion.quality[9, region("mouth")]
    assert motion.quality[10, region("left brow")] > 0.9 * motion.quality[9, region("left brow")]
    assert np.abs(motion_px(motion)[10, region("left brow")]).max() < 0.1


def test_a_change_of_resolution_is_a_gap(texture: npt.NDArray[np.float64]) -> None:
    still = render(texture)
    motion = extract_motion(track([still] * 5 + [still[:-20, :-10]] * 8))
    assert motion.reason[5] == "change of resolution"
    assert motion.displacement.valid[[4, 6, 12]].all()


def test_no_frames_is_an_empty_motion() -> None:
    motion = extract_motion([])
    assert motion.displacement.values.shape == (0, 18, 2)
    assert motion.reason == ()


def test_every_frame_of_a_long_video_is_there() -> None:
    frames = [Frame(index, index / RATE_HZ, np.zeros((8, 8), np.uint8)) for index in range(2500)]
    motion = extract_motion(FaceFrame(frame, None, False, 0.0, "no face") for frame in frames)
    np.testing.assert_array_equal(motion.displacement.grid.time_s, [frame.time_s for frame in frames])
    assert motion.reason == ("no face",) * 2500
    assert motion.displacement.values.shape == (2500, 18, 2)


def test_progress_counts_frames(texture: npt.NDArray[np.float64]) -> None:
    seen: list[tuple[str, int, int | None]] = []
    extract_motion(
        track([render(texture)] * 3), total=3, on_progress=lambda stage, done, total: seen.append((stage, done, total))
    )
    assert seen == [("motion", 1, 3), ("motion", 2, 3), ("motion", 3, 3)]
