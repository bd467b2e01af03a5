"""What the packaged models do with motion: nothing where nothing happens, and most of what is plain to see."""

from inspect import signature

import numpy as np
import pytest
import torch

from helpers.rounding import assert_within_rounding
from metst.analyze import analyze
from metst.cli.analyze import analyze as cli_analyze
from metst.cli.calibrate import calibrate as cli_calibrate
from metst.cli.demo import demo as cli_demo
from metst.cli.live import live as cli_live
from metst.config import DecodeSettings
from metst.decode import decode_scores
from metst.inference import network_input, score_motion
from metst.metrics import interval_iou, match_intervals
from metst.models.checkpoint import DEFAULT_MODEL, Model, load_model
from metst.regions import REGION_NAMES
from metst.sensitivity.calibration import calibrate
from metst.stream import Stream
from metst.synthesis.faces import simulated_responses
from metst.synthesis.trajectories import MotionSimulator, SimulatedMotion, SimulationSettings
from metst.timeline import Intervals, Series, TimeGrid, true_runs

ROUNDING = 64
"""Units of rounding between the engine and torch, as for the published networks."""

NAMES = ("starter", "metst-event")
RESTING = SimulationSettings(
    event_free_share=0.0, amplitude=(0.3, 0.3), others_share=0.0, noise=(0.0006, 0.0012), macros_per_min=0.0,
    lively_share=0.0, nods_per_min=0.0, glitches_per_min=0.0, speech_share=0.0, held_share=0.0,
)  # fmt: skip


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest) -> Model:
    return load_model(request.param)


def series(displacement: np.ndarray, *, rate_hz: float) -> Series:
    length = len(displacement)
    return Series(
        TimeGrid.uniform(length, rate_hz=rate_hz),
        displacement.astype(np.float32),
        np.ones(length, dtype=bool),
        REGION_NAMES,
    )


def events_of(model: Model, recording: SimulatedMotion) -> Intervals:
    assert isinstance(model.info.decode, DecodeSettings)
    scores = score_motion(series(recording.displacement, rate_hz=recording.rate_hz), model=model)
    return decode_scores(scores, settings=model.info.decode)


@pytest.mark.parametrize("noise", [0.0, 3e-4])
def test_a_face_that_stands_still_for_a_minute_gives_nothing(model: Model, noise: float) -> None:
    displacement = np.random.default_rng(1).normal(0, 1, (1500, len(REGION_NAMES), 2)) * noise
    recording = SimulatedMotion(displacement.astype(np.float32), np.zeros(1500, np.float32), np.zeros(1500, int), 25.0)
    assert len(events_of(model, recording)) == 0


@pytest.mark.parametrize("rate_hz", [pytest.param(25.0, marks=pytest.mark.slow), 30.0, 60.0])
def test_plain_movements_of_a_resting_face_are_found_and_named(model: Model, rate_hz: float) -> None:
    simulator = MotionSimulator(simulated_responses(count=4, seed=31), settings=RESTING)
    found = planted = named = reported = 0
    for seed in range(4):
        drawn = simulator.draw(np.random.default_rng(seed), frames=round(60 * rate_hz), rate_hz=rate_hz)
        events = events_of(model, drawn)
        runs = true_runs(drawn.score > 0)
        truth = np.array([(run.start, run.stop - 1) for run in runs]).reshape(-1, 2)
        pairs = match_intervals(interval_iou(np.stack([events.onset, events.offset - 1], 1), truth), threshold=0.5)
        found, planted, reported = found + len(pairs), planted + len(runs), reported + len(events)
        named += sum(events.label[p] == model.info.classes[drawn.label[runs[t].start]] for p, t in pairs)
    assert found / planted > 0.75
    assert named / found > 0.85
    assert (reported - found) <= 4


def test_the_engine_gives_the_numbers_of_the_network(model: Model) -> None:
    drawn = MotionSimulator(simulated_responses(count=1, seed=3)).draw(np.random.default_rng(5), frames=600)
    x = network_input(series(drawn.displacement, rate_hz=drawn.rate_hz), settings=model.info.input).values[None]
    with torch.no_grad():
        expected = model.network(torch.from_numpy(x).transpose(1, 2).contiguous())
    for one, other in zip(model.engine(np.ascontiguousarray(x)), expected, strict=True):
        assert_within_rounding(one, other, units=ROUNDING)


def test_everything_takes_the_same_model_when_none_is_named() -> None:
    calls = (analyze, calibrate, Stream.__init__, cli_analyze, cli_calibrate, cli_demo, cli_live)
    assert {signature(call).parameters["model"].default for call in calls} == {DEFAULT_MODEL}
