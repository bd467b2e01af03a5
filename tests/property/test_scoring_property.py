"""Invariants of resampling, windows and chunks."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from metst.config import InputSettings, NetworkConfig
from metst.models.networks import StateTransitionNetwork
from metst.scoring import (
    network_input,
    resample,
    score_whole,
    score_windows,
    split_windows,
    stitch_windows,
    window_starts,
)
from metst.timeline import Series, TimeGrid


def curve(time_s: np.ndarray, values: np.ndarray) -> Series:
    return Series(TimeGrid(time_s), values.astype(np.float32)[:, None], np.ones(len(time_s), dtype=bool), ("curve",))


@st.composite
def frame_times(draw: st.DrawFn) -> np.ndarray:
    """Timestamps of a camera, steady or not."""
    rate = draw(st.sampled_from([24.0, 25.0, 29.97, 30.0, 60.0, 120.0, 200.0, 240.0]))
    count = draw(st.integers(2, 300))
    jitter = draw(st.sampled_from([0.0, 0.3]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return draw(st.sampled_from([0.0, 7.25, 3600.0])) + np.cumsum(1 + jitter * rng.uniform(-1, 1, count)) / rate


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
    half = max(1 / rate_hz, float(np.median(np.diff(time_s)))) / 2
    grid = result.grid.time_s
    inside = (grid - half >= time_s[0]) & (grid + half <= time_s[-1])
    np.testing.assert_allclose(result.values[inside, 0], grid[inside] - time_s[0], atol=1e-4)


@settings(deadline=None, max_examples=50)
@given(time_s=frame_times(), rate_hz=rates)
def test_the_grid_is_uniform_and_lies_within_the_stretch(time_s: np.ndarray, rate_hz: float) -> None:
    grid = resample(curve(time_s, np.zeros(len(time_s))), rate_hz=rate_hz).grid.time_s
    assert grid[0] == time_s[0]
    np.testing.assert_allclose(np.diff(grid), 1 / rate_hz, atol=1e-9)
    assert -1 / rate_hz < grid[-1] - time_s[-1] <= 1e-3 / rate_hz


@settings(deadline=None, max_examples=30)
@given(time_s=frame_times(), rate_hz=rates, seed=st.integers(0, 99))
def test_each_value_is_the_mean_of_the_joined_frames_over_its_bin(
    time_s: np.ndarray, rate_hz: float, seed: int
) -> None:
    """Oracle: the midpoint rule on 2000 points per bin."""
    values = np.random.default_rng(seed).standard_normal(len(time_s)).astype(np.float32)
    result = resample(curve(time_s, values), rate_hz=rate_hz)
    half = max(1 / rate_hz, float(np.median(np.diff(time_s)))) / 2
    low = np.clip(result.grid.time_s - half, time_s[0], time_s[-1])[:, None]
    high = np.clip(result.grid.time_s + half, time_s[0], time_s[-1])[:, None]
    dense = low + (high - low) * (np.arange(2000) + 0.5) / 2000
    expected = np.interp(dense, time_s, values.astype(np.float64)).mean(axis=1)
    np.testing.assert_allclose(result.values[:, 0], expected, atol=1e-4)


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


def motion_series(displacement: np.ndarray, *, rate_hz: float) -> Series:
    """The same displacement in both directions of all 18 regions."""
    values = np.broadcast_to(displacement[:, None, None], (len(displacement), 18, 2)).astype(np.float32)
    names = tuple(f"region {number}" for number in range(1, 19))
    grid = TimeGrid.uniform(len(displacement), rate_hz=rate_hz)
    return Series(grid, values, np.ones(len(displacement), dtype=bool), names)


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


@settings(deadline=None, max_examples=100)
@given(length=st.integers(1, 200), window=st.integers(1, 60), hop=st.integers(1, 60), seed=st.integers(0, 9))
def test_stitched_windows_are_what_was_split(length: int, window: int, hop: int, seed: int) -> None:
    assume(hop <= window)
    x = np.random.default_rng(seed).standard_normal((length, 3)).astype(np.float32)
    windows = split_windows(x, window=window, hop=hop)
    assert windows.shape[1:] == (min(window, length), 3)
    np.testing.assert_array_equal(stitch_windows(windows, length=length, hop=hop), x)


@settings(deadline=None, max_examples=100)
@given(length=st.integers(1, 200), window=st.integers(2, 60))
def test_stitching_takes_the_first_window_and_then_second_halves(length: int, window: int) -> None:
    """Oracle: the published order of joining, written as the loop it is."""
    hop = window // 2
    starts = window_starts(length, window=window, hop=hop)
    k = min(window, length)
    windows = np.arange(len(starts) * k, dtype=np.float32).reshape(len(starts), k)
    whole_windows = 1 + max(length - window, 0) // hop
    expected = list(windows[0])
    for row in windows[1:whole_windows]:
        expected.extend(row[-hop:])
    missing = length - len(expected)
    if missing:
        expected.extend(windows[-1][-missing:])
    np.testing.assert_array_equal(stitch_windows(windows, length=length, hop=hop), expected)


torch.manual_seed(5)
NETWORK = StateTransitionNetwork(
    NetworkConfig(name="small", in_channels=4, width=8, blocks=3, slow_fast=True, d_state=4, classes=3)
).eval()
with torch.no_grad():
    for parameter in NETWORK.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))


AGREEMENT = 1e-4
"""float32 sums in another order; the logits are of order 1 and the scores of other inputs differ by 100 times this."""


def random_input(length: int) -> np.ndarray:
    return np.random.default_rng(length).standard_normal((length, 4)).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(length=st.integers(1, 120), chunk_frames=st.integers(1, 130))
def test_the_size_of_chunks_does_not_change_the_scores(length: int, chunk_frames: int) -> None:
    x = random_input(length)
    with torch.inference_mode():
        score, logits = NETWORK(torch.from_numpy(x.T[None].copy()))
    got_score, got_logits = score_whole(NETWORK, x, chunk_frames=chunk_frames)
    np.testing.assert_allclose(got_score, score[0], atol=AGREEMENT)
    np.testing.assert_allclose(got_logits, logits[0], atol=AGREEMENT)


@settings(deadline=None, max_examples=15)
@given(
    length=st.integers(1, 80),
    window=st.integers(4, 30),
    batch_size=st.integers(1, 20),
    relative=st.booleans(),
)
def test_windows_are_scored_as_if_each_were_given_to_the_network_alone(
    length: int, window: int, batch_size: int, relative: bool
) -> None:
    x, hop = random_input(length), window // 2
    windows = split_windows(x, window=window, hop=hop)
    scores, logits = [], []
    with torch.inference_mode():
        for one in windows:
            score, logit = NETWORK(torch.from_numpy((one - one[0] if relative else one).T[None].copy()))
            scores.append(score[0].numpy())
            logits.append(logit[0].numpy())
    got_score, got_logits = score_windows(NETWORK, x, window=window, hop=hop, batch_size=batch_size, relative=relative)
    np.testing.assert_allclose(got_score, stitch_windows(np.stack(scores), length=length, hop=hop), atol=AGREEMENT)
    np.testing.assert_allclose(got_logits, stitch_windows(np.stack(logits), length=length, hop=hop), atol=AGREEMENT)


def test_scores_depend_on_what_the_network_reads() -> None:
    """The agreements above would hold for a network that ignores its input as well."""
    one, other = (score_whole(NETWORK, random_input(50) * factor, chunk_frames=50)[0] for factor in (1, -1))
    assert np.abs(one - other).max() > 100 * AGREEMENT
    assert pytest.approx(one) != score_windows(NETWORK, random_input(50), window=20, hop=10, batch_size=9)[0]
