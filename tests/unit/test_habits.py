"""What a face does by itself: the same in rendered heads and in simulated regions."""

from typing import Any

import numpy as np
import pytest

from metst.synthesis import habits, measurement
from metst.synthesis.behaviour import BehaviourSettings, draw_behaviour
from metst.synthesis.faces import simulated_responses
from metst.synthesis.heads.scene import HeadScene, MotionSettings, draw_course
from metst.synthesis.trajectories import MotionSimulator, SimulationSettings

RATE_HZ = 200.0
HEADS_BEFORE = [
    0.06549327124819204, -0.42595832853889193, 31.27858323552281, 54.57626651279142, 253.1218901665784,
    -315.41063889818116,
]  # fmt: skip


def test_both_blink_by_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[habits.Blink] = []

    def one(rng: np.random.Generator) -> habits.Blink:
        drawn.append(habits.Blink(0.08, 0.02, 0.2, float(rng.uniform(0.9, 1.0))))
        return drawn[-1]

    monkeypatch.setattr(habits, "draw_blink", one)
    spans = draw_behaviour(BehaviourSettings(), time_s=np.arange(0, 30, 0.1), rng=np.random.default_rng(1)).spans
    assert spans
    assert [each.offset_s - each.onset_s for each in spans] == pytest.approx([0.3] * len(drawn))
    heads = len(drawn)
    MotionSimulator(simulated_responses(count=1, seed=1)).draw(np.random.default_rng(1), frames=900)
    assert len(drawn) > heads


def test_a_blink_closes_faster_than_it_opens_and_takes_what_blinks_take() -> None:
    rng = np.random.default_rng(2)
    blinks = [habits.draw_blink(rng) for _ in range(500)]
    assert all(each.rise_s < each.fall_s for each in blinks)
    assert all(0.1 <= each.length_s <= 0.4 for each in blinks), "100 to 400 ms"
    time_s = np.arange(0, 1, 1 / RATE_HZ)
    for each in blinks[:20]:
        course = each.course(time_s, start_s=0.2)
        assert course.max() == pytest.approx(1, abs=0.02)
        moving = time_s[course > 0]
        assert moving[-1] - moving[0] == pytest.approx(each.length_s, abs=2 / RATE_HZ)


def test_a_nod_swings_as_often_as_it_says_and_ends_where_it_began() -> None:
    time_s = np.arange(0, 3, 1 / RATE_HZ)
    rng = np.random.default_rng(3)
    for nod in (habits.draw_nod(rng) for _ in range(50)):
        course = nod.course(time_s, start_s=0.5, angle=7.0)
        assert 2 < np.abs(course).max() <= 7
        assert not course[(time_s < 0.5) | (time_s > 0.5 + nod.length_s)].any()
        signs = np.sign(course[np.abs(course) > 1e-6])
        assert (np.diff(signs) != 0).sum() == 2 * nod.cycles - 1


def test_nods_move_the_regions_of_the_simulator() -> None:
    def leak(per_min: float) -> Any:
        rng = np.random.default_rng(5)
        return measurement.head_leak(rng, time_s=np.arange(0, 60, 1 / 30), nods_per_min=per_min)

    before = leak(0.0)
    assert before.shape == (1800, 18, 2)
    assert np.abs(leak(20.0)).max() > np.abs(before).max()


def test_what_heads_do_is_drawn_as_ever() -> None:
    """Clips of rendered heads are rebuilt from their recipes; the numbers are from before regions drew the same."""
    behaviour = BehaviourSettings(speech_per_min=6, macros_per_min=6, laughs_per_min=6)
    scene = HeadScene(motion=MotionSettings(nods_per_min=10, turns_per_min=8), behaviour=behaviour)
    course = draw_course(scene, time_s=np.arange(0, 60, 1 / 30), events=(), rng_seed=4)
    shapes = ("eyeBlinkLeft", "jawOpen", "mouthSmileLeft")
    seen = [*course.turn_rad[::100, :2].sum(axis=0), *(course.weights[each].sum() for each in shapes)]
    assert [*seen, course.behaviour.nod_deg.sum()] == pytest.approx(HEADS_BEFORE, rel=1e-9)


def test_the_wide_ranges_of_the_simulator_hold_those_of_heads() -> None:
    pairs = (
        (habits.MACRO_RISE_S, habits.MACRO_WIDE_RISE_S), (habits.MACRO_HOLD_S, habits.MACRO_WIDE_HOLD_S),
        (habits.MACRO_FALL_S, habits.MACRO_WIDE_FALL_S), (habits.MACRO_STRENGTH, habits.MACRO_WIDE_STRENGTH),
        (habits.LAUGH_HOLD_S, habits.LAUGH_WIDE_HOLD_S), (habits.LAUGH_STRENGTH, habits.LAUGH_WIDE_STRENGTH),
        (habits.NOD_DEG, habits.NOD_WIDE_DEG),
        ((habits.LAUGH_RISE_S,) * 2, habits.LAUGH_WIDE_RISE_S), ((habits.LAUGH_FALL_S,) * 2, habits.LAUGH_WIDE_FALL_S),
    )  # fmt: skip
    for narrow, wide in pairs:
        assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]


def test_settings_of_both_have_the_same_blinks() -> None:
    assert SimulationSettings().blinks_per_min == BehaviourSettings().blinks_per_min == habits.BLINKS_PER_MIN
