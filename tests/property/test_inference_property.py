"""Invariants of scoring: pieces, resampling, windows, chunks, delay and memory."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.rounding import assert_within_rounding
from helpers.scoring_fakes import FakeEngine, alike, fake_model
from metst.config import InputSettings, ScoringSettings
from metst.inference import ScoreStream, decode_events, event_stream, network_input, resample, score_motion
from metst.models.checkpoint import load_model
from metst.regions import REGION_NAMES
from metst.timeline import Series, TimeGrid, join_intervals, join_series, true_runs

ROUNDING = 32
"""Units of rounding between frame by frame and one pass; 3 were seen with the packaged model."""

# Videos


@st.composite
def frame_times(draw: st.DrawFn, most: int = 300) -> np.ndarray:
    """Timestamps of a camera, steady or not."""
    rate = draw(st.sampled_from([24.0, 25.0, 29.97, 30.0, 60.0, 120.0, 200.0, 240.0]))
    count = draw(st.integers(2, most))
    jitter = draw(st.sampled_from([0.0, 0.3, 0.9]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    steps = (1 + jitter * rng.uniform(-1, 1, count)) / rate
    if draw(st.booleans()):
        steps[rng.integers(count)] = 0.4  # dropped frames
    return draw(st.sampled_from([0.0, 7.25, 3600.0])) + np.cumsum(steps)


@st.composite
def videos(draw: st.DrawFn) -> tuple[Series, np.ndarray]:
    """Motion with gaps, and its quality."""
    time_s = draw(frame_times(most=400))
    count = len(time_s)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    every = draw(st.sampled_from([1, 5, 40, 1000]))
    valid = np.repeat(rng.random(count) > draw(st.sampled_from([0.0, 0.2, 0.6])), every)[:count]
    values = (0.1 * np.cumsum(rng.standard_normal((count, 18, 2)), axis=0)).astype(np.float32)
    values[~valid] = np.nan
    quality = rng.uniform(0.3, 1, (count, 18)).astype(np.float32)
    return Series(TimeGrid(time_s), values, valid, REGION_NAMES), quality


@st.composite
def models(draw: st.DrawFn) -> Any:
    """Networks of both modes, with look-ahead and memory."""
    look_ahead, memory = draw(st.integers(0, 4)), draw(st.sampled_from([0.0, 0.9]))
    read = {"rate_hz": draw(st.sampled_from([20.0, 200 / 7, 30.0])), "baseline_s": 1.0, "regions": (1, 4, 5)}
    if draw(st.booleans()):
        lag = draw(st.sampled_from([0, 7]))
        return fake_model(
            FakeEngine(late=lag, look_ahead=look_ahead, memory=memory), scoring=ScoringSettings(lag=lag), **read
        )
    window = draw(st.integers(3, 30))
    scoring = ScoringSettings(mode="windows", window=window, hop=draw(st.integers(1, window)))
    reference = draw(st.sampled_from(["leaky", "window"]))
    return fake_model(FakeEngine(look_ahead=look_ahead, memory=memory), scoring=scoring, reference=reference, **read)


def pieces(series: Series, sizes: list[int]) -> list[slice]:
    """Slices of the given lengths, over and over; one of them may be empty."""
    edges = [0]
    while edges[-1] < len(series):
        edges.append(min(edges[-1] + sizes[len(edges) % len(sizes)], len(series)))
    return [slice(*ends) for ends in pairwise(edges)]


piece_sizes = st.one_of(
    st.just([1]),
    st.sampled_from([[2], [7], [31], [97], [10**6]]),
    st.lists(st.integers(0, 50), min_size=1, max_size=5).filter(any),
)


def fed(stream: ScoreStream, motion: Series, quality: np.ndarray | None, sizes: list[int]) -> Series:
    """Scores of a video fed in pieces."""
    rows = [
        stream.feed(motion.part(piece), quality=None if quality is None else quality[piece])
        for piece in pieces(motion, sizes)
    ]
    return join_series([*rows, stream.close()])


# Whatever the pieces


@settings(deadline=None, max_examples=60)
@given(video=videos(), model=models(), sizes=piece_sizes, together=st.sampled_from([1, 2, 13, 500]))
def test_the_pieces_do_not_change_the_scores(video: Any, model: Any, sizes: list[int], together: int) -> None:
    motion, quality = video
    whole = score_motion(motion, model=model, quality=quality)
    stream = ScoreStream(model, chunk_frames=together, batch_size=together)
    scores = fed(stream, motion, quality, sizes)
    assert scores.channels == whole.channels
    np.testing.assert_array_equal(scores.grid.time_s, motion.grid.time_s)
    np.testing.assert_array_equal(scores.valid, whole.valid)
    assert_within_rounding(scores.values, whole.values, units=8)
    assert stream.held_frames == 0


@settings(deadline=None, max_examples=30)
@given(video=videos(), model=models(), sizes=piece_sizes)
def test_the_pieces_do_not_change_the_events(video: Any, model: Any, sizes: list[int]) -> None:
    motion, quality = video
    scores, events = ScoreStream(model), event_stream(model)
    found = [events.feed(scores.feed(motion.part(piece), quality=quality[piece])) for piece in pieces(motion, sizes)]
    found += [events.feed(scores.close()), events.close()]
    live = join_intervals(found)
    whole = decode_events(score_motion(motion, model=model, quality=quality), model=model)
    np.testing.assert_array_equal(live.onset, whole.onset)
    np.testing.assert_array_equal(live.apex, whole.apex)
    np.testing.assert_array_equal(live.offset, whole.offset)
    assert_within_rounding(live.confidence, whole.confidence, units=8)


@settings(deadline=None, max_examples=40)
@given(video=videos(), model=models())
def test_scores_are_the_networks_answers_at_the_times_of_the_frames(video: Any, model: Any) -> None:
    """Oracle: each stretch by itself, its input as a whole, the fake network's formula, linear in between."""
    motion, _ = video
    scores = score_motion(motion, model=model)
    for part in true_runs(motion.valid):
        stretch = motion.part(part)
        end_s = motion.grid.time_s[part.stop] if part.stop < len(motion) else _end_s(motion.grid.time_s)
        if end_s - stretch.grid.time_s[0] < model.info.input.min_segment_s - 1e-6:
            assert not scores.valid[part].any()
            continue
        x = network_input(stretch, settings=model.info.input)
        answers = _answers(x.values.astype(np.float64), model)
        logits = np.exp(answers[:, 1:6] - answers[:, 1:6].max(axis=1, keepdims=True))
        rows = np.column_stack([answers[:, 0], logits / logits.sum(axis=1, keepdims=True)])
        expected = [np.interp(stretch.grid.time_s, x.grid.time_s, column) for column in rows.T]
        np.testing.assert_allclose(scores.values[part], np.column_stack(expected), atol=2e-4)
    assert not scores.valid[~motion.valid].any()


def _end_s(time_s: np.ndarray) -> float:
    return float(2 * time_s[-1] - time_s[-2])


def _answers(x: np.ndarray, model: Any) -> np.ndarray:
    """What the fake network says of one stretch, in one pass or window by window, as published."""
    scoring = model.info.scoring
    if scoring.mode == "whole":
        return _formula(np.concatenate([x, np.repeat(x[-1:], scoring.lag, axis=0)]), model.engine)[: len(x)]
    window, hop = min(scoring.window, len(x)), scoring.hop
    starts = list(range(0, len(x) - window + 1, hop))
    if starts[-1] + window < len(x):
        starts.append(len(x) - window)
    answers = np.full_like(x, np.nan)
    for start in starts[::-1]:  # the first window that covers a frame has the last word
        part = x[start : start + window]
        answers[start : start + window] = _formula(
            part - part[0] if model.info.input.reference == "window" else part, model.engine
        )
    return answers


def _formula(x: np.ndarray, engine: Any) -> np.ndarray:
    answers = np.zeros_like(x)
    for t in range(len(x)):
        answers[t] = x[t] + (engine.memory * answers[t - 1] if t else 0)
    if engine.look_ahead:
        answers[: -engine.look_ahead] += x[engine.look_ahead :] / 2
    return answers


def test_the_real_network_scores_the_same_in_one_pass_and_frame_by_frame() -> None:
    rng = np.random.default_rng(3)
    values = (0.02 * np.cumsum(rng.standard_normal((200, 18, 2)), axis=0)).astype(np.float32)
    motion = Series(TimeGrid.uniform(200, rate_hz=50), values, np.ones(200, bool), REGION_NAMES)
    motion.valid[90:94] = False
    model = load_model("starter")
    whole = score_motion(motion, model=model)
    assert_within_rounding(fed(ScoreStream(model), motion, None, [1]).values, whole.values, units=ROUNDING)
    assert np.nanstd(whole.values[:, 0]) > 1e-3


# Delay and memory


@settings(deadline=None, max_examples=25)
@given(video=videos(), model=models(), together=st.sampled_from([1, 4]))
def test_scores_come_no_later_than_stated(video: Any, model: Any, together: int) -> None:
    motion, _ = video
    stream = ScoreStream(model, chunk_frames=together, batch_size=together)
    time_s, out = motion.grid.time_s, 0
    for i in range(len(motion)):
        out += len(stream.feed(motion.part(slice(i, i + 1))))
        assert (time_s[i] - time_s[out : i + 1] < stream.delay.seconds + 1e-9).all()


def test_the_delay_is_that_of_resampling_look_ahead_and_lag() -> None:
    model = fake_model(FakeEngine(late=12, look_ahead=3), scoring=ScoringSettings(lag=12))
    delay = ScoreStream(model).delay
    assert delay.frames == 15
    assert delay.seconds == pytest.approx(16 / 30 + 0.1)
    windows = fake_model(scoring=ScoringSettings(mode="windows", window=50, hop=25))
    assert ScoreStream(windows).delay.frames == 49
    long = ScoreStream(fake_model(min_segment_s=3.0)).delay
    assert long.seconds == 3.0


@pytest.mark.parametrize("rate", [24, 30, 200])
@pytest.mark.parametrize("lag", [0, 12])
def test_a_steady_camera_waits_for_little_more_than_the_network(rate: int, lag: int) -> None:
    """The stated delay has room for slow and unsteady cameras; of this one nothing is held longer than needed."""
    stream = ScoreStream(fake_model(FakeEngine(late=lag, look_ahead=3), scoring=ScoringSettings(lag=lag)))
    behind = []
    for i in range(5 * rate):
        time_s = np.array([i / rate])
        out = stream.feed(alike(np.zeros(1), time_s=time_s))
        behind += (time_s[0] - out.grid.time_s).tolist()
    needed_s = (3 + lag + 1) / 30 + max(1 / 30, 1 / rate) / 2 + 1 / rate  # the last: until the next frame is there
    assert max(behind[rate:]) < needed_s


@pytest.mark.parametrize("mode", ["whole", "windows"])
def test_memory_does_not_grow(mode: str) -> None:
    lag = 12 if mode == "whole" else 0
    model = fake_model(
        FakeEngine(late=lag, look_ahead=3), scoring=ScoringSettings.model_validate({"mode": mode, "lag": lag})
    )
    stream, events = ScoreStream(model), event_stream(model)
    values = 0.3 * np.sin(np.arange(50_000) / 20)
    moving = alike(values, time_s=np.arange(50_000) / 100)
    held, kept = [], []
    for piece in pieces(moving, [25]):
        events.feed(stream.feed(moving.part(piece)))
        held.append(stream.held_frames)
        kept.append(events.held_frames)
    # A window of the network's input on the way in and out, and what waits for it.
    assert max(held) < 100 * stream.delay.seconds * 2 + 100
    assert max(kept) < 100 * events.delay_s * 2
    assert max(held[200:]) <= max(held[:200]) + 5
    assert max(kept[200:]) <= max(kept[:200])


# Resampling


def curve(time_s: np.ndarray, values: np.ndarray) -> Series:
    return Series(TimeGrid(time_s), values.astype(np.float32)[:, None], np.ones(len(time_s), dtype=bool), ("curve",))


def half_bins(time_s: np.ndarray, grid_s: np.ndarray, *, rate_hz: float) -> np.ndarray:
    """Oracle: half of the wider of a frame of the grid and the local frame, one by one."""
    steps = np.diff(time_s)
    halves = []
    for centre_s in grid_s:
        reached = min(max(int(np.argmax(time_s >= centre_s)) or len(steps), 1), len(steps))
        if centre_s <= time_s[0]:
            reached = 1
        before = [*[steps[0]] * 10, *steps[:reached]]
        halves.append(max(1 / rate_hz, min(float(np.median(before[-10:])), 0.2)) / 2)
    return np.array(halves)


rates = st.sampled_from([20.0, 200 / 7, 30.0, 50.0])


@settings(deadline=None, max_examples=50)
@given(time_s=frame_times(), rate_hz=rates, level=st.floats(-3, 3))
def test_a_constant_stays_constant(time_s: np.ndarray, rate_hz: float, level: float) -> None:
    result = resample(curve(time_s, np.full(len(time_s), level)), rate_hz=rate_hz)
    np.testing.assert_allclose(result.values, level, rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=50)
@given(time_s=frame_times(), rate_hz=rates)
def test_a_ramp_stays_on_time_away_from_the_ends(time_s: np.ndarray, rate_hz: float) -> None:
    result = resample(curve(time_s, time_s - time_s[0]), rate_hz=rate_hz)
    grid = result.grid.time_s
    half = half_bins(time_s, grid, rate_hz=rate_hz)
    inside = (grid - half >= time_s[0]) & (grid + half <= time_s[-1])
    np.testing.assert_allclose(result.values[inside, 0], grid[inside] - time_s[0], atol=1e-4)


@settings(deadline=None, max_examples=50)
@given(time_s=frame_times(), rate_hz=rates)
def test_the_grid_is_uniform_and_lies_within_the_stretch(time_s: np.ndarray, rate_hz: float) -> None:
    grid = resample(curve(time_s, np.zeros(len(time_s))), rate_hz=rate_hz).grid.time_s
    assert grid[0] == time_s[0]
    np.testing.assert_allclose(np.diff(grid), 1 / rate_hz, atol=1e-9)
    assert -1 / rate_hz < grid[-1] - time_s[-1] <= 1e-3 / rate_hz


@settings(deadline=None, max_examples=40)
@given(time_s=frame_times(), rate_hz=rates, seed=st.integers(0, 99))
def test_each_value_is_the_mean_of_the_joined_frames_over_its_bin(
    time_s: np.ndarray, rate_hz: float, seed: int
) -> None:
    """Oracle: the midpoint rule on 2000 points per bin."""
    values = np.random.default_rng(seed).standard_normal(len(time_s)).astype(np.float32)
    result = resample(curve(time_s, values), rate_hz=rate_hz)
    half = half_bins(time_s, result.grid.time_s, rate_hz=rate_hz)
    low = np.clip(result.grid.time_s - half, time_s[0], time_s[-1])[:, None]
    high = np.clip(result.grid.time_s + half, time_s[0], time_s[-1])[:, None]
    dense = low + (high - low) * (np.arange(2000) + 0.5) / 2000
    expected = np.interp(dense, time_s, values.astype(np.float64)).mean(axis=1)
    np.testing.assert_allclose(result.values[:, 0], expected, atol=3e-4)


@pytest.mark.parametrize("rate", [5, 12.5, 24, 29.97, 30, 60, 240])
def test_at_a_steady_rate_a_bin_is_a_frame_of_the_slower_one(rate: float) -> None:
    """A frame that stands alone: the bins it shows up in have the width of a frame, at the start as at the end."""
    time_s = 3 + np.arange(40) / rate
    half = max(1 / 30, 1 / rate) / 2
    for at in (0, 1, 20, 39):
        impulse = np.zeros(40)
        impulse[at] = 1
        result = resample(curve(time_s, impulse), rate_hz=30)
        low = np.clip(result.grid.time_s - half, time_s[0], time_s[-1])
        high = np.clip(result.grid.time_s + half, time_s[0], time_s[-1])
        dense = low[:, None] + (high - low)[:, None] * (np.arange(4000) + 0.5) / 4000
        np.testing.assert_allclose(result.values[:, 0], np.interp(dense, time_s, impulse).mean(axis=1), atol=2e-3)


def test_one_late_frame_does_not_widen_the_bins_after_it() -> None:
    time_s = np.arange(60) / 30
    late = np.delete(time_s, slice(20, 30))
    values = np.random.default_rng(0).standard_normal(60)
    whole = resample(curve(time_s, values), rate_hz=30).values
    np.testing.assert_allclose(
        resample(curve(late, np.delete(values, slice(20, 30))), rate_hz=30).values[31:], whole[31:]
    )


def test_a_new_rate_counts_after_half_a_dozen_frames() -> None:
    time_s = np.concatenate([np.arange(60) / 60, 1 + np.arange(30) / 15])
    values = np.sin(np.arange(90))
    got = resample(curve(time_s, values), rate_hz=30).values
    alone = resample(curve(time_s[60:], values[60:]), rate_hz=30).values
    np.testing.assert_allclose(got[30 + 14 :], alone[14:], atol=1e-5)


def test_equal_rates_weigh_a_frame_and_its_neighbours() -> None:
    impulse = np.zeros(21)
    impulse[10] = 1
    result = resample(curve(np.arange(21) / 30, impulse), rate_hz=30)
    np.testing.assert_allclose(result.values[9:12, 0], [1 / 8, 3 / 4, 1 / 8], atol=1e-6)
    assert len(result) == 21
    assert not result.values[:9].any()


def test_every_frame_of_a_fast_video_counts_and_its_noise_is_averaged_out() -> None:
    noise = np.random.default_rng(1).standard_normal(20_000)
    result = resample(curve(np.arange(20_000) / 200, noise), rate_hz=30)
    assert 0.3 < result.values.std() < 1.05 * np.sqrt(30 / 200)
    assert noise[::7].std() > 0.9  # taking every seventh frame keeps all of it


def test_motion_that_the_grid_cannot_follow_is_damped() -> None:
    time_s = np.arange(4000) / 200
    slow = resample(curve(time_s, np.sin(2 * np.pi * 2 * time_s)), rate_hz=30).values.std()
    fast = resample(curve(time_s, np.sin(2 * np.pi * 28 * time_s)), rate_hz=30).values.std()
    assert slow > 0.97 * np.sqrt(0.5)
    assert fast < 0.1 * np.sqrt(0.5)


# The leaking baseline


def motion_series(displacement: np.ndarray, *, rate_hz: float) -> Series:
    """The same displacement in both directions of all 18 regions."""
    return alike(displacement, time_s=np.arange(len(displacement)) / rate_hz)


@settings(deadline=None, max_examples=30)
@given(baseline_s=st.floats(0.2, 5), level=st.floats(-5, 5), scale=st.floats(0.1, 100))
def test_a_leaking_baseline_forgets_a_step_exponentially(baseline_s: float, level: float, scale: float) -> None:
    step = np.where(np.arange(300) < 100, level, level + 1.0)
    config = InputSettings(rate_hz=50, baseline_s=baseline_s, scale=scale)
    x = network_input(motion_series(step, rate_hz=50), settings=config).values
    assert x.shape == (300, 36)
    assert np.abs(x[:98]).max() < 1e-4 * scale  # where the face rests at the start does not matter
    after = np.arange(300 - 110)
    np.testing.assert_allclose(x[110:, 0], x[110, 0] * np.exp(-after / 50 / baseline_s), atol=2e-4 * scale)


@settings(deadline=None, max_examples=20)
@given(speed=st.floats(0.01, 0.5), baseline_s=st.floats(0.2, 1))
def test_a_leaking_baseline_bounds_a_drift(speed: float, baseline_s: float) -> None:
    drift = motion_series(speed * np.arange(3000) / 30, rate_hz=30)
    x = network_input(drift, settings=InputSettings(rate_hz=30, baseline_s=baseline_s)).values
    steady = (speed / 30) / (1 - np.exp(-1 / (30 * baseline_s)))  # the geometric sum of equal steps
    np.testing.assert_allclose(x[1500:-1], steady, rtol=1e-3)
