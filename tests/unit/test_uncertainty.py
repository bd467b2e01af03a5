"""The stated uncertainty of motion holds the errors where the truth is known, and says no more than it can."""

import csv

import numpy as np
import pytest

from helpers.analyses import make_analysis
from helpers.moving_faces import RATE_HZ, UNIT, render, skin, track
from metst.motion import extract_motion
from metst.regions import REGIONS
from metst.results import uncertainty
from metst.results.motion import Motion
from metst.results.tables import motion_table
from metst.results.uncertainty import WITHIN_S, Seen, bound, frame_uncertainty, movement_uncertainty

SITES = {"left brow middle": (-0.28, -0.29), "left mouth corner": (-0.28, 0.75)}
BUMP_IN_REGION = 0.957
"""Mean of a bump of 0.15 face units over a region's square of +-0.055: of its height."""


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
    truth = BUMP_IN_REGION * course[:, None] * direction
    error = UNIT * motion.displacement.values[:, region] - truth
    stated = UNIT * np.array([movement_uncertainty(motion, first=0, last=last)[region] for last in range(len(frames))])
    assert (np.abs(error[1:]) <= stated[1:, None]).mean() >= 0.9
    # A statement that nothing could break would be none.
    assert (stated < 0.35 + 0.5 * size).all()


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
