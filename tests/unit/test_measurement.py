"""What measuring adds to simulated motion."""

import numpy as np
import pytest

from metst.regions import REGIONS
from metst.synthesis import measurement
from metst.synthesis.faces import simulated_responses
from metst.synthesis.measurement import REGION_PLACE, add_covers, deformation, hold_regions

TIME_S = np.arange(600) / 30.0


def test_regions_lie_where_those_of_the_portrait_lie() -> None:
    from metst.synthesis.action_units import FacePose
    from metst.synthesis.portrait import portrait_landmarks

    landmarks = portrait_landmarks()
    points = FacePose.from_landmarks(landmarks).to_face(landmarks)
    below_eye = np.array([0.0, 0.12])
    expected = [points[list(r.landmarks)].mean(axis=0) + below_eye * ("eyelid" in r.name) for r in REGIONS]
    assert np.abs(REGION_PLACE - expected).max() < 0.05
    mirrored = REGION_PLACE[[r.mirror for r in REGIONS]] * [-1, 1]
    assert np.allclose(REGION_PLACE, mirrored)


def test_deformation_is_linear_in_the_place_of_a_region() -> None:
    moved = deformation(np.random.default_rng(1), time_s=TIME_S, bounds=(0.001, 0.01))
    for frame in moved[::97]:
        _, residual, rank, _ = np.linalg.lstsq(REGION_PLACE, frame, rcond=None)
        assert rank == 2
        assert residual.max() < 1e-12
    assert moved.std() > 1e-5


def test_a_lost_region_stands_still_and_goes_on_from_there() -> None:
    motion = np.cumsum(np.random.default_rng(0).normal(1, 0.1, (600, len(REGIONS), 2)), axis=0)
    held = motion.copy()
    hold_regions(np.random.default_rng(3), held, time_s=TIME_S, share=1.0)
    steps, before = np.diff(held, axis=0), np.diff(motion, axis=0)
    still = np.isclose(steps, 0)
    assert 0 < still.mean() < 0.9
    assert np.allclose(steps[~still], before[~still])
    assert np.allclose(held[0], motion[0])


def test_no_region_is_lost_when_none_may_be() -> None:
    motion = np.random.default_rng(0).normal(size=(600, len(REGIONS), 2))
    held = motion.copy()
    hold_regions(np.random.default_rng(3), held, time_s=TIME_S, share=0.0)
    assert np.array_equal(held, motion)


def test_a_cover_moves_the_regions_behind_it_and_leaves_them_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "moments", lambda *_, **__: np.array([5.0]))
    partly = 0
    for seed in range(30):
        motion = np.zeros((600, len(REGIONS), 2))
        add_covers(np.random.default_rng(seed), motion, time_s=TIME_S, per_min=1.0)
        moved = np.abs(motion).max(axis=(0, 2)) > 0
        apart = np.linalg.norm(REGION_PLACE[:, None] - REGION_PLACE, axis=-1)
        farthest, nearest = apart[:, moved].max(axis=1), np.where(moved, np.inf, apart).min(axis=1)
        assert (farthest < nearest).any()  # they fill a disc around one of them
        partly += not moved.all()
        assert not motion[TIME_S < 5].any()
        assert np.ptp(motion[TIME_S > 9.1], axis=0).max() < 1e-12  # the longest is gone by then
        assert np.abs(np.diff(motion[(TIME_S > 5) & (TIME_S < 5.3)], axis=0)).max() > 1e-4
        assert (np.abs(motion[-1, moved]).max(axis=1) > 0).all()
    assert partly > 10


def test_without_covers_nothing_changes() -> None:
    motion = np.zeros((600, len(REGIONS), 2))
    add_covers(np.random.default_rng(1), motion, time_s=TIME_S, per_min=0.0)
    assert not motion.any()


def test_faces_differ_but_move_alike() -> None:
    responses = simulated_responses(count=3, seed=4)
    assert not np.allclose(responses[0], responses[1])
    assert np.corrcoef(responses[0].ravel(), responses[1].ravel())[0, 1] > 0.7
