"""What must hold of every decoded curve."""

from collections import Counter

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from metst.config import DecodeSettings
from metst.decode import decode_scores, majority_label, published_intervals, smooth
from metst.timeline import Series, TimeGrid

unhurried = hypothesis.settings(deadline=None)

EMOTIONS = ("negative", "positive", "surprise")


def series(score, grid, *, valid=None):
    valid = np.ones(len(score), dtype=bool) if valid is None else valid
    chance = np.random.default_rng(len(score)).dirichlet(np.ones(4), size=len(score))
    values = np.column_stack([score, chance]).astype(np.float32)
    values[~valid] = np.nan
    return Series(grid, values, valid, ("spot_score", *(f"p_{name}" for name in EMOTIONS), "p_neutral"))


@st.composite
def planted(draw):
    """A frame rate, and events of 0.15 to 0.9 s with pauses longer than the smoothing."""
    rate = draw(st.sampled_from([24.0, 25.0, 29.97, 30.0, 50.0, 60.0, 100.0, 120.0, 200.0, 240.0]))
    seconds = st.floats(0.15, 0.9)
    lengths = draw(st.lists(st.tuples(seconds, seconds), max_size=6))
    at, spans = 0, []
    for pause_s, duration_s in lengths:
        onset = at + int(np.ceil(pause_s * rate))
        at = onset + int(np.ceil(duration_s * rate))
        spans.append((onset, at))
    return rate, spans, at + draw(st.integers(0, 50))


@given(planted())
@unhurried
def test_perfect_scores_decode_to_the_truth(case):
    rate, spans, length = case
    score = np.zeros(length)
    for onset, offset in spans:
        score[onset:offset] = 1.0
    events = decode_scores(series(score, TimeGrid.uniform(length, rate_hz=rate)), settings=DecodeSettings())
    assert list(zip(events.onset, events.offset, strict=True)) == spans
    assert (events.confidence > 0.99).all()


@given(planted(), st.floats(0.005, 0.03))
@unhurried
def test_soft_edges_decode_to_the_truth(case, edge_s):
    """Sigmoid flanks that cross one half at onset and offset, as a well-trained network gives."""
    rate, spans, length = case
    frame = np.arange(length)
    score = np.zeros(length)
    for onset, offset in spans:
        # The onset frame is the first one inside: the flank crosses half a frame before it.
        rise, fall = (frame - onset + 0.5) / (edge_s * rate), (offset - 0.5 - frame) / (edge_s * rate)
        score = np.maximum(score, 1 / (1 + np.exp(-np.clip(np.minimum(rise, fall), -500, 500))))
    events = decode_scores(series(score, TimeGrid.uniform(length, rate_hz=rate)), settings=DecodeSettings())
    assert len(events) == len(spans)
    for onset, offset, (true_onset, true_offset) in zip(events.onset, events.offset, spans, strict=True):
        # The smoothing lowers a short peak a little, and with it the level of the ends.
        assert max(abs(onset - true_onset), abs(offset - true_offset)) <= max(1, 0.01 * rate)


def walk(seed, length, scale):
    """A reflected random walk in [0, 1]: many excursions of all sizes."""
    steps = np.cumsum(np.random.default_rng(seed).normal(0, scale, length))
    return np.abs((steps + 1) % 2 - 1)


curves = arrays(np.float32, st.integers(1, 400), elements=st.floats(0, 1, width=32))
rough = st.builds(walk, st.integers(0, 10**6), st.integers(1, 900), st.floats(0.01, 0.3))
rules = st.builds(
    DecodeSettings,
    peak_threshold=st.floats(0.2, 0.9),
    edge_fraction=st.floats(0.1, 0.9),
    smooth_s=st.sampled_from([0.0, 0.05, 0.1, 0.3]),
    merge_fraction=st.floats(0.1, 0.95),
    min_duration_s=st.floats(0.0, 0.2),
    max_duration_s=st.floats(0.3, 2.0),
)


@st.composite
def gappy(draw):
    """Scores on an irregular grid with gaps."""
    score = draw(st.one_of(curves, rough)).astype(np.float64)
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    grid = TimeGrid(np.cumsum(rng.uniform(0.005, 0.05, len(score))))
    valid = np.repeat(rng.random(len(score)) > 0.2, 7)[: len(score)]
    return series(score, grid, valid=valid)


@given(gappy(), rules)
@unhurried
def test_events_keep_the_rules(scores, settings):
    events = decode_scores(scores, settings=settings)
    spot, time_s, frame_s = scores.channel("spot_score"), scores.grid.time_s, scores.grid.frame_s
    assert (events.onset[1:] >= events.offset[:-1]).all()
    for i, (onset, apex, offset) in enumerate(zip(events.onset, events.apex, events.offset, strict=True)):
        assert scores.valid[onset:offset].all()
        assert spot[apex] == spot[onset:offset].max()
        duration_s = time_s[offset - 1] - time_s[onset] + frame_s
        assert settings.min_duration_s - 1e-5 <= duration_s <= settings.max_duration_s + 1e-5
        assert events.label[i] == events.classes[int(events.probability[i].argmax())]
    # Uncalibrated, the confidence is the peak of the smoothed curve.
    assert ((events.confidence >= settings.peak_threshold - 1e-6) & (events.confidence < 1)).all()
    assert events.probability.sum(axis=1) == pytest.approx(np.ones(len(events)))


@given(rough, rules, st.sampled_from([25.0, 100.0]))
@unhurried
def test_the_look_ahead_is_bounded(score, settings, rate):
    """Whatever is found is also found when the video ends as soon as the stated look-ahead allows."""
    whole = decode_scores(series(score, TimeGrid.uniform(len(score), rate_hz=rate)), settings=settings)
    for i, onset in enumerate(whole.onset):
        seen = int(np.ceil(onset + (settings.max_duration_s + settings.smooth_s / 2) * rate)) + 2
        cut = score[: min(seen, len(score))]
        early = decode_scores(series(cut, TimeGrid.uniform(len(cut), rate_hz=rate)), settings=settings)
        assert (onset, whole.offset[i]) in zip(early.onset, early.offset, strict=True)


@given(rough, rules)
@unhurried
def test_stretches_between_gaps_are_decoded_as_videos_of_their_own(score, settings):
    grid = TimeGrid.uniform(2 * len(score) + 1, rate_hz=100)
    valid = np.ones(2 * len(score) + 1, dtype=bool)
    valid[len(score)] = False
    twice = decode_scores(series(np.concatenate([score, [1.0], score]), grid, valid=valid), settings=settings)
    once = decode_scores(series(score, TimeGrid.uniform(len(score), rate_hz=100)), settings=settings)
    # A single frame has no rate of its own: it borrows that of its video.
    if len(score) > 1:
        assert twice.onset.tolist() == [*once.onset, *(once.onset + len(score) + 1)]
        assert twice.offset.tolist() == [*once.offset, *(once.offset + len(score) + 1)]
        assert twice.confidence == pytest.approx(np.tile(once.confidence, 2))


@given(rough, st.floats(0, 0.4), st.integers(0, 10**6))
@unhurried
def test_smoothing_is_a_mean_over_time(score, width_s, seed):
    time_s = np.cumsum(np.random.default_rng(seed).uniform(0.005, 0.05, len(score)))
    frame_s = np.median(np.diff(time_s)) if len(score) > 1 else np.inf
    widest_s = (width_s - frame_s) / 2
    expected = score.copy()
    for i, t in enumerate(time_s):
        reach_s = min(widest_s, t - time_s[0], time_s[-1] - t) + 1e-6
        if widest_s + 1e-6 >= 0:
            expected[i] = score[np.abs(time_s - t) <= reach_s].mean()
    assert smooth(score, time_s, width_s=width_s) == pytest.approx(expected, abs=1e-9)


@given(st.one_of(curves, rough), st.integers(1, 20))
@unhurried
def test_published_intervals_keep_their_distance(score, k_p):
    fixed = published_intervals(score, k_p=k_p, rule="fixed")
    assert (fixed[:, 1] - fixed[:, 0] == k_p).all()
    assert (fixed[:, 2] - fixed[:, 1] == k_p).all()
    assert (np.diff(fixed[:, 1]) >= k_p).all()
    extensible = published_intervals(score, k_p=k_p, rule="extensible")
    assert len(extensible) <= len(fixed)
    assert (np.diff(extensible[:, 0]) >= 0).all()
    for onset, apex, offset in extensible:
        assert 0 <= onset <= apex <= offset < len(score)
        assert score[apex] == score[onset : offset + 1].max()
    apexes = np.sort(extensible[:, 1])
    assert (np.diff(apexes) > k_p).all()


def ends_step_by_step(score, peak, *, k_p):
    """Both ends of an extensible interval, each walked by itself."""
    last, mean = len(score) - 1, score.mean()
    onset, offset = max(0, peak - k_p), min(last, peak + k_p)
    for i in range(max(0, peak - k_p) + 1, peak):
        if score[i] > score[i - 1] and score[i] > mean / 1.5:
            onset = i - 1
            break
    for j in range(min(last, peak + k_p) - 1, peak, -1):
        if score[j] > score[j + 1] and score[j] > mean / 1.5:
            offset = j + 1
            break
    i = onset - 1
    while i >= max(1, peak - 5 * k_p) and not (score[i] < mean and score[i - 1] < mean):
        i -= 1
    if i >= max(1, peak - 5 * k_p):
        onset = i + 1
    j = offset + 1
    while j <= min(last - 1, peak + 5 * k_p) and not (score[j] < mean and score[j + 1] < mean):
        j += 1
    if j <= min(last - 1, peak + 5 * k_p):
        offset = j - 1
    return onset, offset


@given(st.one_of(curves, rough), st.integers(1, 20))
@unhurried
def test_extensible_intervals_follow_the_raw_curve(score, k_p):
    score = np.asarray(score, dtype=np.float64)
    expected = []
    for _, peak, _ in published_intervals(score, k_p=k_p, rule="fixed").tolist():
        onset, offset = ends_step_by_step(score, peak, k_p=k_p)
        expected.append((onset, onset + int(np.argmax(score[onset : offset + 1])), offset))
    kept = []
    for one in sorted(expected, key=lambda interval: interval[0]):
        for other in kept:
            plain = [set(range(interval[0], interval[2])) for interval in (one, other)]
            if len(plain[0] & plain[1]) / len(plain[0] | plain[1]) >= 0.2 or abs(one[1] - other[1]) <= k_p:
                break
        else:
            kept.append(one)
    assert published_intervals(score, k_p=k_p, rule="extensible").tolist() == [list(interval) for interval in kept]


@given(st.lists(st.integers(0, 4), max_size=30), st.integers(-10, 40), st.integers(-10, 40))
@unhurried
def test_majority_label_is_the_most_frequent_inside(classes, onset, offset):
    inside = [c for i, c in enumerate(classes) if max(onset, 0) + 1 <= i <= offset - 2]
    label = majority_label(classes, onset, offset)
    if not inside:
        assert label == 4
    else:
        counts = Counter(inside)
        assert counts[label] == max(counts.values())
        assert label == next(c for c in inside if counts[c] == counts[label])
