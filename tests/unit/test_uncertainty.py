"""The stated uncertainty of motion holds the errors where the truth is known, and says no more than it can."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from helpers.analyses import make_analysis
from helpers.moving_faces import RATE_HZ, UNIT, render, skin, track
from metst.motion import extract_motion
from metst.regions import REGION_NAMES, REGIONS
from metst.results import uncertainty
from metst.results.motion import Motion
from metst.results.tables import motion_table
from metst.results.uncertainty import WITHIN_S, Seen, bound, frame_uncertainty, movement_uncertainty, shares_of
from metst.timeline import Series, TimeGrid

SITES = {"left brow middle": (-0.28, -0.29), "left mouth corner": (-0.28, 0.75), "right nose wing": (0.16, 0.45)}
BUMP_IN_REGION = {"right nose wing": 0.87}
"""Mean of a bump of 0.15 face units over a region, of its height; 0.957 over the usual square of +-0.055."""


def seen(**changes: float) -> Seen:
    usual = {"moved": 0.01, "quality": 0.9, "tremor": 1e-3, "unit_px": 100.0}
    return Seen(*(np.array([[value]]) for value in (usual | changes).values()))


@pytest.mark.parametrize("changes", [{"moved": 0.02}, {"quality": 0.5}, {"tremor": 4e-3}, {"unit_px": 40.0}])
def test_what_is_measured_worse_is_less_certain(changes: dict[str, float]) -> None:
    assert bound(seen(**changes), np.array([0.3])).item() > bound(seen(), np.array([0.3])).item()


@pytest.fixture(scope="module")
def moving() -> Motion:
    texture = skin(np.random.default_rng(11))
    course = np.sin(np.linspace(0, 2 * np.pi, 60)) ** 2
    frames = [render(texture, bump=(SITES["left mouth corner"], (0.0, -a))) for a in course]
    return extract_motion(track(frames, noise=1.5, missing=(30, 31)))


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("size", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("noise", [0.5, 4.0])
def test_errors_of_planted_motion_lie_inside(site: str, size: float, noise: float) -> None:
    texture = skin(np.random.default_rng(12))
    course = size * np.sin(np.linspace(0, np.pi, 16)) ** 2
    direction = np.array([0.6, -0.8])
    frames = [render(texture, bump=(SITES[site], tuple(direction * a))) for a in course]
    motion = extract_motion(track(frames, noise=noise))
    region = [each.name for each in REGIONS].index(site)
    truth = BUMP_IN_REGION.get(site, 0.957) * course[:, None] * direction
    error = UNIT * motion.displacement.values[:, region] - truth
    stated = UNIT * np.array([movement_uncertainty(motion, first=0, last=last)[region] for last in range(len(frames))])
    assert (np.abs(error[1:]) <= stated[1:, None]).mean() >= 0.9
    # A statement that nothing could break would be none.
    assert (stated < 0.35 + 1.1 * shares_of([site]) * size).all()


def test_a_frame_states_the_least_certain_of_the_movements_that_end_in_it(moving: Motion) -> None:
    stated = frame_uncertainty(moving)
    last = 20
    before = range(last - round(WITHIN_S * RATE_HZ), last)
    alone = np.array([movement_uncertainty(moving, first=first, last=last) for first in before])
    assert (stated[last] >= alone.max(axis=0) * (1 - 1e-6)).all()
    assert (stated[last] <= alone.max(axis=0) * 1.5).all()


def test_nothing_is_stated_of_gaps_nor_across_one(moving: Motion) -> None:
    stated, gap = frame_uncertainty(moving), ~moving.displacement.valid
    assert gap[30:32].all()
    assert np.isnan(stated[gap]).all()
    assert np.isfinite(stated[~gap]).all()
    assert np.isnan(movement_uncertainty(moving, first=25, last=35)).all()
    alone = frame_uncertainty(extract_motion(track([render(skin(np.random.default_rng(11)))] * 5, noise=1.5)))
    np.testing.assert_array_less(stated[32], 3 * alone.max(axis=0))  # it knows nothing of the movement before the gap


def test_the_certainty_of_a_movement_is_that_of_its_worse_end(moving: Motion) -> None:
    quality = moving.quality.copy()
    quality[10] = 0.1
    worse = replace(moving, quality=quality)
    for first, last in ((10, 15), (5, 10)):
        usual, stated = (movement_uncertainty(each, first=first, last=last) for each in (moving, worse))
        assert (stated > 1.2 * usual).all()
    np.testing.assert_array_equal(*(movement_uncertainty(each, first=11, last=15) for each in (moving, worse)))


def test_tremor_is_the_noise_of_the_curve(moving: Motion) -> None:
    for rate_hz in (25.0, 100.0, 200.0):
        grid = TimeGrid.uniform(400, rate_hz=rate_hz)
        t = grid.time_s[:, None, None]
        noise = np.random.default_rng(3).normal(0, 2e-3, (400, len(REGIONS), 2))
        curve = (0.02 * np.sin(4 * t) + noise).astype(np.float32)
        face = Series(grid, np.tile(moving.face.values[0], (400, 1)), np.ones(400, bool), moving.face.channels)
        motion = Motion.bare(
            Series(grid, curve, np.ones(400, bool), REGION_NAMES), quality=np.ones((400, 18), np.float32)
        )
        found = uncertainty.tremor(replace(motion, face=face), slice(0, 400))
        np.testing.assert_allclose(np.median(found[200:]), 2e-3, rtol=0.2)


def test_a_face_unit_is_told_from_the_eyes(moving: Motion) -> None:
    there = moving.displacement.valid
    found = uncertainty.unit_px(moving, slice(0, len(moving)))[there]
    np.testing.assert_allclose(found, moving.face_px[there], rtol=0.15)


def test_a_region_that_is_missing_for_a_frame_leaves_the_others_and_the_rest(moving: Motion) -> None:
    values = moving.displacement.values.copy()
    values[10, 3] = np.nan
    hole = replace(moving, displacement=replace(moving.displacement, values=values))
    stated, usual = frame_uncertainty(hole), frame_uncertainty(moving)
    np.testing.assert_array_equal(np.delete(stated, 3, axis=1), np.delete(usual, 3, axis=1))
    assert np.isnan(stated[10, 3])
    assert np.isfinite(stated[24:30, 3]).all()


def test_many_gaps_take_no_longer_than_frames(moving: Motion) -> None:
    looked_at = []
    real = uncertainty.unit_px
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uncertainty, "unit_px", lambda motion, run: (looked_at.append(run), real(motion, run))[1])
        frame_uncertainty(moving)
    assert sum(run.stop - run.start for run in looked_at) <= len(moving)


def test_a_camera_of_two_frames_a_second_states_the_step_between_them(moving: Motion) -> None:
    grid = TimeGrid(moving.grid.time_s * 20)
    slow = replace(
        moving,
        displacement=replace(moving.displacement, grid=grid),
        face=replace(moving.face, grid=grid),
    )
    stated = frame_uncertainty(slow)[10]
    np.testing.assert_allclose(stated, movement_uncertainty(slow, first=9, last=10), rtol=0.5)
    assert (stated >= movement_uncertainty(slow, first=9, last=10) * (1 - 1e-6)).all()


def test_blocks_decide_nothing(moving: Motion, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = frame_uncertainty(moving)
    monkeypatch.setattr(uncertainty, "_BLOCK", 7)
    np.testing.assert_allclose(frame_uncertainty(moving), whole, rtol=1e-5)


def test_motion_of_which_the_place_is_not_known_has_none(moving: Motion) -> None:
    bare = Motion.bare(moving.displacement, quality=moving.quality)
    assert np.isnan(frame_uncertainty(bare)).all()


def test_the_table_says_it_for_each_region() -> None:
    analysis = make_analysis()
    rows = list(csv.DictReader(b"".join(motion_table(analysis).csv_parts()).decode().splitlines()))
    expected = frame_uncertainty(analysis.motion)
    assert np.isfinite(expected).any()
    for region, name in enumerate(analysis.motion.displacement.channels):
        cells = [row[f"{name.replace(' ', '_')}_uncertainty"] for row in rows]
        found = np.array([float(cell) if cell else np.nan for cell in cells])
        np.testing.assert_allclose(found, expected[:, region], atol=6e-6)
