"""Simulated recordings: what is in them is what their truth says."""

import numpy as np
import pytest

from metst.labels import CLASSES, NEUTRAL
from metst.regions import REGIONS
from metst.synthesis.action_units import unit_displacement
from metst.synthesis.events import PlantedEvent
from metst.synthesis.faces import simulated_responses
from metst.synthesis.trajectories import MotionSimulator, SimulationSettings

LOWER_LIP = next(i for i, region in enumerate(REGIONS) if region.name == "lower lip")

QUIET = {
    "blinks_per_min": 0.0,
    "macros_per_min": 0.0,
    "nods_per_min": 0.0,
    "glitches_per_min": 0.0,
    "speech_share": 0.0,
    "noise": (1e-6, 2e-6),
}


@pytest.fixture(scope="module")
def responses() -> np.ndarray:
    return simulated_responses(count=4, seed=1)


def test_same_seed_same_recording(responses: np.ndarray) -> None:
    simulator = MotionSimulator(responses)
    one, two, other = (simulator.draw(np.random.default_rng(seed), frames=300) for seed in (5, 5, 6))
    assert np.array_equal(one.displacement, two.displacement)
    assert not np.array_equal(one.displacement, other.displacement)


def test_without_events_nothing_is_labelled(responses: np.ndarray) -> None:
    simulator = MotionSimulator(responses, settings=SimulationSettings(event_free_share=1.0))
    for seed in range(20):
        drawn = simulator.draw(np.random.default_rng(seed), frames=300)
        assert not drawn.score.any()
        assert (drawn.label == NEUTRAL).all()


def test_labelled_frames_move_more_than_the_others(responses: np.ndarray) -> None:
    settings = SimulationSettings(event_free_share=0.0, amplitude=(0.3, 0.3), **QUIET)
    simulator = MotionSimulator(responses, settings=settings)
    inside, outside = [], []
    for seed in range(20):
        drawn = simulator.draw(np.random.default_rng(seed), frames=600)
        step = np.abs(np.diff(drawn.displacement, axis=0)).max(axis=(1, 2))
        events = drawn.score[1:] > 0
        inside.append(step[events].mean() if events.any() else np.nan)
        outside.append(step[~events].mean())
    assert np.nanmedian(inside) > 3 * np.median(outside)


def test_classes_are_those_of_the_events_and_all_occur(responses: np.ndarray) -> None:
    simulator = MotionSimulator(responses, settings=SimulationSettings(event_free_share=0.0))
    seen = np.zeros(len(CLASSES), dtype=int)
    for seed in range(40):
        drawn = simulator.draw(np.random.default_rng(seed), frames=600)
        assert ((drawn.label != NEUTRAL) == (drawn.score > 0)).all()
        seen += np.bincount(drawn.label, minlength=len(CLASSES))
    assert (seen > 0).all()


def test_a_smile_moves_the_mouth_corners_up_and_out(responses: np.ndarray) -> None:
    moved = responses.mean(axis=0) @ unit_displacement("12")
    left, right = (
        next(i for i, r in enumerate(REGIONS) if r.name == f"{side} mouth corner") for side in ("left", "right")
    )
    assert moved[left, 0] < -0.03 < 0.03 < moved[right, 0]
    assert (moved[[left, right], 1] < -0.05).all()
    assert np.abs(moved[:8]).max() < 0.02


def region(name: str) -> int:
    return next(i for i, each in enumerate(REGIONS) if each.name == name)


def test_units_move_the_regions_in_the_directions_that_were_measured(responses: np.ndarray) -> None:
    # Means of optical flow of published micro-expressions: negative brows, smiles, raised upper lids.
    frown, smile, wide = (responses.mean(axis=0) @ unit_displacement(unit) for unit in ("4", "12", "5"))
    brows = frown[[region(f"left brow {part}") for part in ("inner", "middle", "outer")]]
    assert (brows > 0).all(), "inwards, and down"
    assert (np.abs(brows[:, 1] / brows[:, 0] - 2) < 0.5).all()
    strength = np.linalg.norm(brows, axis=1)
    assert strength[2] == pytest.approx(strength[0], rel=0.15)
    assert 0.35 < smile[LOWER_LIP, 1] / smile[region("left mouth corner"), 1] < 0.75
    assert smile[LOWER_LIP, 1] < 3 * smile[region("upper lip"), 1] < 0
    assert wide[region("left lower eyelid"), 1] < 0, "a lid that is raised does not push the lower one down"
    assert np.abs(wide[:8]).max() < 0.003


def test_the_midline_moves_once_where_both_halves_move(responses: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    chin_raised = PlantedEvent(5.0, 5.2, 5.4, "negative", {"17": 50.0})
    monkeypatch.setattr("metst.synthesis.trajectories.draw_event", lambda *_, **__: chin_raised)
    settings = SimulationSettings(**QUIET, event_free_share=0.0, lively_share=0.0, held_share=0.0, asymmetry=0.0)
    moved = MotionSimulator(responses[:1], settings=settings).draw(np.random.default_rng(1), frames=190)
    apex = np.abs(moved.displacement[:, LOWER_LIP, 1]).max()
    once = abs((responses[0] @ unit_displacement("17"))[LOWER_LIP, 1])
    assert 0.7 < apex / (50 * once) < 1.15, "what the measurement keeps of it"


def test_covers_come_when_the_settings_say_so(responses: np.ndarray) -> None:
    def moved(per_min: float) -> float:
        settings = SimulationSettings(**QUIET, covers_per_min=per_min, event_free_share=1.0, lively_share=0.0)
        simulator = MotionSimulator(responses, settings=settings)
        drawn = (simulator.draw(np.random.default_rng(seed), frames=900).displacement for seed in range(8))
        return float(np.mean([np.abs(each).max() for each in drawn]))

    assert moved(20.0) > 2 * moved(0.0)


def laughing(responses: np.ndarray, *, per_min: float, seed: int) -> np.ndarray:
    settings = SimulationSettings(
        **QUIET,
        laughs_per_min=per_min,
        event_free_share=1.0,
        lively_share=0.0,
        held_share=0.0,
        deformation=(1e-6, 2e-6),
    )
    drawn = MotionSimulator(responses, settings=settings).draw(np.random.default_rng(seed), frames=1800)
    assert not drawn.score.any()
    return drawn.displacement


def test_a_laugh_is_a_lasting_smile_shaken_some_five_times_a_second(responses: np.ndarray) -> None:
    def strength(per_min: float, band: tuple[float, float]) -> float:
        """Median power of the lower lip in a band, Hz."""
        low, high = band
        total = []
        for seed in range(12):
            course = laughing(responses, per_min=per_min, seed=seed)[:, LOWER_LIP, 1]
            power = np.abs(np.fft.rfft(course - course.mean())) ** 2
            rate = np.fft.rfftfreq(len(course), 1 / 30)
            total.append(power[(rate >= low) & (rate < high)].mean())
        return float(np.median(total))

    voice, below, above = (3.0, 6.5), (2.0, 3.0), (6.5, 8.0)
    assert strength(20.0, voice) > 1.3 * strength(20.0, below)
    assert strength(20.0, voice) > 4 * strength(20.0, above)
    assert strength(20.0, voice) > 100 * strength(0.0, voice)
    assert strength(20.0, (0.1, 1.0)) > 5 * strength(0.0, (0.1, 1.0))
