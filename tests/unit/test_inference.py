"""From the motion of a video to its scores and events: gaps, rates, time, errors."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from helpers.rounding import assert_within_rounding
from helpers.scoring_fakes import CLASSES, FakeEngine
from helpers.scoring_fakes import alike as motion
from helpers.scoring_fakes import fake_model as model
from metst.config import DecodeSettings, PublishedDecodeSettings, ScoringSettings
from metst.decode import published_intervals
from metst.errors import DataError, UsageError
from metst.inference import ScoreStream, decode_events, event_stream, resample, score_motion
from metst.regions import REGION_NAMES
from metst.timeline import Series, TimeGrid, true_runs

ROUNDING = 64
"""Units of rounding; 4 were seen."""


def bump(time_s: np.ndarray, *, at_s: float) -> np.ndarray:
    return np.exp(-(((time_s - at_s) / 0.15) ** 2))


@pytest.mark.parametrize("rate", [24, 30, 60, 200, 240])
@pytest.mark.parametrize("late", [0, 12])
def test_a_movement_is_scored_at_its_own_time_whatever_the_rate(rate: int, late: int) -> None:
    time_s = 100 + np.arange(4 * rate) / rate
    settings = ScoringSettings(lag=late)
    scores = score_motion(
        motion(bump(time_s, at_s=102.3), time_s=time_s),
        model=model(FakeEngine(late=late), scoring=settings),
        chunk_frames=7,
    )
    peak_s = time_s[int(np.argmax(scores.channel("spot_score")))]
    assert abs(peak_s - 102.3) <= 0.5 / 30 + 0.5 / rate
    assert scores.valid.all()
    assert scores.grid.time_s is time_s or np.array_equal(scores.grid.time_s, time_s)


def test_a_changing_frame_rate_does_not_move_a_movement() -> None:
    rng = np.random.default_rng(0)
    time_s = np.cumsum(rng.choice([1 / 30, 1 / 15, 1 / 120], 300))
    at_s = float(time_s[150])
    scores = score_motion(motion(bump(time_s, at_s=at_s), time_s=time_s), model=model())
    assert abs(time_s[int(np.argmax(scores.channel("spot_score")))] - at_s) < 0.05


@pytest.mark.parametrize("chunk_frames", [1, 8, 100])
def test_late_answers_keep_the_end_of_the_video(chunk_frames: int) -> None:
    time_s = np.arange(40) / 30
    moving = motion(np.random.default_rng(1).standard_normal(40), time_s=time_s)
    late = model(FakeEngine(late=9), scoring=ScoringSettings(lag=9))
    scores = score_motion(moving, model=late, chunk_frames=chunk_frames)
    np.testing.assert_array_equal(scores.values, score_motion(moving, model=model()).values)


def test_channels_are_the_score_and_probabilities_of_all_classes() -> None:
    time_s = np.arange(60) / 30
    scores = score_motion(motion(np.sin(time_s), time_s=time_s), model=model())
    assert scores.channels == ("spot_score", "p_negative", "p_positive", "p_surprise", "p_others", "p_neutral")
    np.testing.assert_allclose(scores.values[:, 1:].sum(axis=1), 1, atol=1e-5)


def test_a_lost_face_is_a_gap_and_the_next_stretch_starts_afresh() -> None:
    time_s = np.arange(300) / 30
    valid = np.ones(300, dtype=bool)
    valid[100:130] = valid[200:204] = False
    displacement = np.cumsum(np.random.default_rng(2).standard_normal(300)) / 10
    whole = score_motion(motion(displacement, time_s=time_s, valid=valid), model=model())
    np.testing.assert_array_equal(whole.valid, valid)
    assert np.isnan(whole.values[~valid]).all()
    for part in (slice(0, 100), slice(130, 200), slice(204, 300)):
        alone = score_motion(motion(displacement[part] + 3, time_s=time_s[part]), model=model())
        assert_within_rounding(whole.values[part], alone.values, units=ROUNDING)


def test_stretches_too_short_for_any_movement_are_not_scored() -> None:
    valid = np.zeros(90, dtype=bool)
    valid[10:15] = valid[30:36] = valid[50:51] = True  # 0.17 s, 0.2 s and one frame, at 30 per second
    scores = score_motion(motion(np.zeros(90), time_s=np.arange(90) / 30, valid=valid), model=model())
    assert true_runs(scores.valid) == [slice(30, 36)]


def test_a_video_without_a_face_has_no_scores() -> None:
    none = np.zeros(50, dtype=bool)
    scores = score_motion(motion(np.zeros(50), time_s=np.arange(50) / 30, valid=none), model=model())
    assert not scores.valid.any()
    assert scores.values.shape == (50, 6)


@pytest.mark.parametrize("mode", ["whole", "windows"])
def test_progress_counts_up_to_its_total(mode: str) -> None:
    calls: list[tuple[str, int, int | None]] = []
    time_s = np.arange(400) / 30
    valid = time_s != time_s[250]
    score_motion(
        motion(np.zeros(400), time_s=time_s, valid=valid),
        model=model(scoring=ScoringSettings.model_validate({"mode": mode})),
        batch_size=3,
        chunk_frames=50,
        on_progress=lambda *call: calls.append(call),
    )
    done = [call[1] for call in calls]
    assert {call[0] for call in calls} == {"score"}
    assert len(calls) > 4
    assert done == sorted(done)
    assert done[-1] == calls[-1][2]


def test_the_network_gets_the_regions_rate_and_scale_it_asks_for() -> None:
    time_s = np.arange(120) / 60
    values = (np.arange(36).reshape(18, 2) * bump(time_s, at_s=1)[:, None, None]).astype(np.float32)
    series = Series(TimeGrid(time_s), values, np.ones(120, dtype=bool), REGION_NAMES)
    echo = FakeEngine()
    score_motion(series, model=model(echo, rate_hz=20, regions=(1, 9, 16), scale=10))
    seen = np.concatenate(echo.seen, axis=1)
    assert seen.shape == (1, 40, 6)
    peak = seen[0].max(axis=0)
    expected = np.array([0, 1, 16, 17, 30, 31]) * 10
    np.testing.assert_allclose(peak, expected * peak[1] / 10, rtol=1e-3)
    assert peak[1] == pytest.approx(10, rel=0.05)


def test_windows_of_released_networks_start_with_no_displacement() -> None:
    time_s = np.arange(100) / 30
    echo = FakeEngine()
    score_motion(
        motion(time_s * 3, time_s=time_s),
        model=model(echo, reference="window", scoring=ScoringSettings(mode="windows", window=30, hop=15)),
    )
    seen = np.concatenate(echo.seen)
    assert seen.shape == (6, 30, 36)
    assert np.abs(seen[:, 0]).max() == 0
    np.testing.assert_allclose(seen[1:-1, 29], 3 * 29 / 30, atol=1e-4)


def test_motion_of_other_regions_is_refused() -> None:
    series = Series(
        TimeGrid.uniform(10, rate_hz=30), np.zeros((10, 5, 2), np.float32), np.ones(10, bool), REGION_NAMES[:5]
    )
    with pytest.raises(DataError, match=r"expected motion \(T, 18, 2\), got \(10, 5, 2\)"):
        score_motion(series, model=model())


def test_frames_that_are_called_valid_but_are_not_finite_are_refused() -> None:
    series = motion(np.zeros(30), time_s=np.arange(30) / 30)
    series.values[7, 3, 1] = np.nan
    with pytest.raises(DataError, match="mark them as gaps"):
        score_motion(series, model=model())


def test_a_series_with_a_gap_is_not_resampled_over_it() -> None:
    valid = np.ones(30, dtype=bool)
    valid[10] = False
    with pytest.raises(DataError, match="split the series at its gaps"):
        resample(motion(np.zeros(30), time_s=np.arange(30) / 30, valid=valid), rate_hz=30)


def scored(score: np.ndarray, *, rate_hz: float, emotion: int = 2) -> Series:
    chance = np.full((len(score), 5), 0.05)
    chance[:, emotion] = 0.8
    values = np.column_stack([score, chance]).astype(np.float32)
    channels = ("spot_score", *(f"p_{name}" for name in CLASSES))
    return Series(TimeGrid.uniform(len(score), rate_hz=rate_hz), values, np.ones(len(score), bool), channels)


def test_events_are_decoded_by_the_rule_of_the_product() -> None:
    score = np.where((np.arange(300) >= 100) & (np.arange(300) < 115), 0.9, 0.02)
    events = decode_events(scored(score, rate_hz=30), model=model(decode=DecodeSettings(smooth_s=0)))
    assert (events.onset.tolist(), events.offset.tolist(), events.label) == ([100], [115], ("surprise",))


@pytest.mark.parametrize("rule", ["fixed", "extensible"])
def test_a_published_rule_counts_in_frames_of_the_network(rule: str) -> None:
    """200 frames per second read at 200 / 7: the rule sees every seventh frame."""
    time_s = np.arange(2100) / 200
    score = 0.05 + 0.8 * bump(time_s, at_s=3.5) + 0.7 * bump(time_s, at_s=7.7)
    expected = published_intervals(score[::7].astype(np.float32), k_p=5, rule=rule)  # type: ignore[arg-type]
    decode = PublishedDecodeSettings.model_validate({"rule": rule, "k_p": 5})
    events = decode_events(scored(score, rate_hz=200), model=model(decode=decode, rate_hz=200 / 7))
    assert len(expected) == 2
    np.testing.assert_array_equal(events.onset, 7 * expected[:, 0])
    np.testing.assert_array_equal(events.apex, 7 * expected[:, 1])
    np.testing.assert_array_equal(events.offset, 7 * expected[:, 2] + 1)


def test_strategy_of_the_checkpoint_deletes_neutral_detections() -> None:
    score = bump(np.arange(300) / 30, at_s=5)
    for strategy, count in ((1, 0), (2, 1)):
        decode = PublishedDecodeSettings.model_validate({"rule": "fixed", "k_p": 5, "strategy": strategy})
        assert len(decode_events(scored(score, rate_hz=30, emotion=4), model=model(decode=decode))) == count


def test_a_region_measured_badly_stands_still_and_goes_on_from_there() -> None:
    rng = np.random.default_rng(0)
    values = np.cumsum(rng.normal(size=(60, 18, 2)), axis=0).astype(np.float32)
    moving = Series(TimeGrid.uniform(60, rate_hz=30), values, np.ones(60, dtype=bool), REGION_NAMES)
    quality = np.ones((60, 18), dtype=np.float32)
    quality[20:30, 3] = 0.2
    still = values.copy()
    still[20:30, 3] = values[19, 3]
    still[30:, 3] -= values[30, 3] - values[19, 3]  # the step from a bad frame to a good one is left out too
    expected, got = FakeEngine(), FakeEngine()
    score_motion(Series(moving.grid, still, moving.valid, REGION_NAMES), model=model(expected))
    score_motion(moving, model=model(got), quality=quality)
    assert_within_rounding(np.concatenate(got.seen, axis=1), np.concatenate(expected.seen, axis=1), units=ROUNDING)


def test_a_quality_that_does_not_fit_the_motion_is_refused() -> None:
    with pytest.raises(DataError, match=r"\(30, 18\), got \(29, 18\)"):
        score_motion(
            motion(np.zeros(30), time_s=np.arange(30) / 30), model=model(), quality=np.ones((29, 18), np.float32)
        )


def test_a_model_with_a_published_rule_has_no_events_while_it_runs() -> None:
    decode = PublishedDecodeSettings(rule="fixed", k_p=5)
    with pytest.raises(UsageError, match="published fixed rule, whose threshold depends on the whole video"):
        event_stream(model(decode=decode))
    assert event_stream(model()).delay_s == pytest.approx(1.05, abs=2e-4)


def test_frames_that_come_in_the_wrong_order_are_refused() -> None:
    stream = ScoreStream(model())
    stream.feed(motion(np.zeros(2), time_s=np.array([1.0, 2.0])))
    with pytest.raises(DataError, match=r"2\.0 s is not later than the one before, 2\.0 s"):
        stream.feed(motion(np.zeros(1), time_s=np.array([2.0])))


def test_nothing_can_follow_the_end() -> None:
    stream = ScoreStream(model())
    stream.close()
    with pytest.raises(UsageError, match="closed"):
        stream.feed(motion(np.zeros(1), time_s=np.array([2.0])))


def test_chunks_and_batches_need_a_frame_at_least() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        ScoreStream(model(), chunk_frames=0)


# Both directions


BOTH = ScoringSettings(directions="both")


def moving(frames: int = 90, *, seed: int = 1, rate: float = 30.0) -> Series:
    time_s = 5 + np.arange(frames) / rate
    valid = np.ones(frames, bool)
    valid[40:43] = False
    return motion(np.random.default_rng(seed).normal(0, 0.3, frames), time_s=time_s, valid=valid)


class Squashed(FakeEngine):
    """Scores between 0 and 1, as those of networks."""

    def advance(self, x, state, *, last):
        score, logits, state = super().advance(x, state, last=last)
        return (1 / (1 + np.exp(-score))).astype(np.float32), logits, state


def lower(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.minimum(one, other)


def between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The geometric mean of the odds, as a probability."""
    odds = np.sqrt(one / (1 - one) * (other / (1 - other)))
    return odds / (1 + odds)


@pytest.mark.parametrize(("pooling", "pooled_as"), [("lower", lower), ("mean", between)])
def test_scores_of_both_directions_are_pooled_as_the_model_says(
    pooling: Literal["lower", "mean"], pooled_as: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> None:
    scoring = ScoringSettings(directions="both", pooling=pooling)
    one_way, both = model(Squashed(memory=0.8)), model(Squashed(memory=0.8), scoring=scoring)
    forwards = score_motion(moving(), model=one_way)
    backwards = score_motion(moving().reversed(), model=one_way).reversed()
    pooled = score_motion(moving(), model=both, chunk_frames=7)
    assert np.array_equal(pooled.valid, moving().valid)
    assert np.array_equal(pooled.grid.time_s, moving().grid.time_s)
    inside = pooled.valid
    expected = pooled_as(forwards.values[inside, 0].astype(float), backwards.values[inside, 0].astype(float))
    assert_within_rounding(pooled.values[inside, 0], expected.astype(np.float32), units=8)
    assert (forwards.values[inside, 0] < backwards.values[inside, 0] - 0.01).any()
    assert (forwards.values[inside, 0] > backwards.values[inside, 0] + 0.01).any()
    np.testing.assert_allclose(pooled.values[inside, 1:].sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("pooling", ["lower", "mean"])
def test_a_recording_and_its_reverse_have_the_same_scores_in_both_directions(
    pooling: Literal["lower", "mean"],
) -> None:
    quality = np.random.default_rng(2).uniform(0, 1, (90, 18)).astype(np.float32)
    both = model(Squashed(memory=0.8), scoring=ScoringSettings(directions="both", pooling=pooling), min_quality=0.3)
    scores = score_motion(moving(), model=both, quality=quality)
    back = score_motion(moving().reversed(), model=both, quality=quality[::-1]).reversed()
    assert_within_rounding(scores.values, back.values, units=8)


def test_live_use_reads_forwards_and_has_its_own_threshold() -> None:
    own = DecodeSettings(peak_threshold=0.8)
    both = model(Squashed(memory=0.8), scoring=BOTH)
    both = replace(both, info=both.info.model_copy(update={"live_decode": own}))
    stream = ScoreStream(both, chunk_frames=16)
    pieces = [stream.feed(moving()), stream.close()]
    one_way = score_motion(moving(), model=model(Squashed(memory=0.8)))
    assert_within_rounding(np.concatenate([piece.values for piece in pieces]), one_way.values, units=8)
    assert len(event_stream(both).feed(scored(np.full(60, 0.6), rate_hz=30.0))) == 0
    peak = np.where(np.abs(np.arange(200) - 60) < 6, 0.7, 0.1)
    for threshold, count in ((0.8, 0), (0.6, 1)):
        info = both.info.model_copy(update={"live_decode": DecodeSettings(peak_threshold=threshold)})
        events = event_stream(replace(both, info=info))
        series = scored(peak, rate_hz=30.0)
        assert len(events.feed(series)) + len(events.close()) == count


def test_windows_have_no_direction() -> None:
    with pytest.raises(ValueError, match="both directions is for mode whole only"):
        ScoringSettings(mode="windows", directions="both")
