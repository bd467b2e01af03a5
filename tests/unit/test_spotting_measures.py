"""The spotting benchmark: confidences at the rate that analyses expect, and amplitudes that were not built."""

from collections.abc import Iterator
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.spotting import benchmark_on_the_path, recording
from metst.labels import EMOTIONS
from metst.timeline import Intervals


@pytest.fixture(autouse=True)
def _benchmark_on_the_path() -> Iterator[None]:
    with benchmark_on_the_path():
        yield


def found(ends: list[tuple[int, int]], confidence: list[float]) -> Intervals:
    onset, offset = np.array(ends, dtype=np.int64).reshape(-1, 2).T
    label, probability = ("positive",) * len(ends), np.tile(np.eye(4)[1], (len(ends), 1))
    return Intervals(onset, (onset + offset) // 2, offset, label, np.array(confidence), probability, EMOTIONS)


def test_each_candidate_counts_as_often_as_it_would_come_at_that_rate() -> None:
    from default_rate import default_rate_of

    planted = recording([(30, 42), (90, 104), (200, 212), (250, 262)], name="planted")
    # One right, one beside its movement, one that has to do with none; in two minutes as they are one candidate.
    in_planted = found([(30, 42), (90, 150), (270, 280)], [0.6, 0.6, 0.99])
    as_it_is, placebo = recording([], name="raw", frames=3600), recording([], name="placebo", tags=("real", "placebo"))
    pairs = [
        (planted, in_planted), (as_it_is, found([(500, 512)], [0.6])), (placebo, found([(30, 42)], [0.9])),
        (recording([], name="head", tags=("head",)), found([(30, 42)], [0.9])),
    ]  # fmt: skip
    row = default_rate_of("by hand", pairs)
    assert (row.right, row.beside, row.elsewhere, row.minutes) == (1, 1, 1, 2)
    # At one a minute: of four movements a quarter is hit and a quarter missed beside it; elsewhere half a one a minute.
    assert row.held == pytest.approx(0.25 / (0.25 + 0.25 + 0.5))
    assert row.said == pytest.approx(0.6)
    assert row.ece == pytest.approx(0.6 - 0.25)
    low, high = row.held_interval
    assert low == pytest.approx(0.25 / (0.5 + 5.572 / 2), rel=1e-3)  # of one, Poisson: 0.0253 to 5.572
    assert high == pytest.approx(0.25 / (0.5 + 0.0253 / 2), rel=1e-3)


def exactly_right(*, minutes: int, seed: int) -> list[tuple[Any, Intervals]]:
    """A system whose candidates are right as often as they say at one movement a minute; 300 movements, all found."""
    rng = np.random.default_rng(seed)
    ends = [(60 * i + 10, 60 * i + 22) for i in range(300)]
    confidence = rng.uniform(0.3, 0.95, len(ends))
    raw = recording([], name="raw", frames=1800 * minutes)
    false = np.repeat(confidence, rng.poisson(minutes / len(ends) * (1 / confidence - 1)))
    at = [(40 * i, 40 * i + 12) for i in range(len(false))]
    return [
        (recording(ends, name="planted", frames=60 * len(ends)), found(ends, confidence.tolist())),
        (raw, found(at, false.tolist())),
    ]


def test_a_confidence_that_is_exactly_right_shows_an_error_where_minutes_are_few() -> None:
    from default_rate import default_rate_of

    long = default_rate_of("exact", exactly_right(minutes=400, seed=0))
    assert long.ece < 0.05
    assert long.said == pytest.approx(long.held, abs=0.03)
    short = default_rate_of("exact", exactly_right(minutes=2, seed=0))
    low, median, high = short.exact
    assert 0.1 < low < median < high
    assert long.exact[1] < median / 3
    inside = [default_rate_of("exact", exactly_right(minutes=2, seed=seed)).ece for seed in range(1, 11)]
    assert sum(low <= each <= high for each in inside) >= 8


def test_without_footage_as_it_is_nothing_is_told() -> None:
    from default_rate import default_rate_of

    row = default_rate_of("x", [(recording([(30, 42)]), found([(30, 42)], [0.5]))])
    assert np.isnan([row.ece, row.said, row.held, *row.interval, *row.exact]).all()


def test_a_model_is_also_scored_with_the_confidences_of_an_analysis() -> None:
    import systems
    from plan import load_plan

    from metst.config import EXPECTED_PER_MIN
    from metst.models.checkpoint import load_model

    system = systems.make_system("starter:default", plan=load_plan(), folder=Path("unused"), say=print)
    assert isinstance(system, systems.NetworkSystem)
    assert system.model.info == load_model("starter").info.expecting(EXPECTED_PER_MIN)


def test_an_amplitude_that_was_not_built_is_a_share_of_the_measured_movement() -> None:
    from amplitudes import at_amplitude, scaled

    rng = np.random.default_rng(2)
    own, move = rng.normal(size=(2, 300, 18, 2)).astype(np.float32)
    placebo = changed(recording([], name="s-placebo-crf18-s1", values=own, tags=("real", "placebo")), stretch="s")
    worse = changed(recording([], name="s-placebo-crf28-s2", values=own + 1, tags=("real", "placebo")), stretch="s")
    clips = {
        level: changed(
            recording([(30, 42)], name=f"s-a{level:g}-crf18-s1", values=own + level * move, amplitude=level),
            stretch="s",
        )
        for level in (0.1, 0.2)
    }
    every = [placebo, worse, *clips.values()]
    (half,) = at_amplitude(every, amplitude=0.05)
    np.testing.assert_allclose(half.motion.values, own + np.float32(0.05) * move, atol=1e-5)
    assert half.amplitude == 0.05
    (strong,) = at_amplitude(every, amplitude=0.3)
    np.testing.assert_allclose(strong.motion.values, own + np.float32(0.3) * move, atol=1e-5)
    (built,) = at_amplitude(every, amplitude=0.2)
    assert built is clips[0.2]
    lost = changed(placebo, motion=changed(placebo.motion, valid=np.arange(300) > 5))
    assert not scaled(clips[0.1], placebo=lost, amplitude=0.3).motion.valid[:6].any()
