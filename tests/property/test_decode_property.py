"""What must hold of every decoded curve."""

from collections import Counter
from itertools import pairwise

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from metst.config import DecodeSettings
from metst.decode import EventStream, decode_scores, majority_label, published_intervals
from metst.timeline import Series, TimeGrid, join_intervals, true_runs

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


def start_s(time_s, frame):
    """When a frame starts, also the one behind the last, which lasts as long as the one before."""
    last_s = time_s[-1] - time_s[-2] if len(time_s) > 1 else 0.0
    return time_s[frame] if frame < len(time_s) else time_s[-1] + last_s


@given(gappy(), rules)
@unhurried
def test_events_keep_the_rules(scores, settings):
    events = decode_scores(scores, settings=settings)
    spot, time_s = scores.channel("spot_score"), scores.grid.time_s
    assert (events.onset[1:] >= events.offset[:-1]).all()
    for i, (onset, apex, offset) in enumerate(zip(events.onset, events.apex, events.offset, strict=True)):
        assert scores.valid[onset:offset].all()
        assert spot[apex] == spot[onset:offset].max()
        duration_s = start_s(time_s, offset) - time_s[onset]
        assert settings.min_duration_s - 1e-5 <= duration_s <= settings.max_duration_s + 1e-5
        assert events.label[i] == events.classes[int(events.probability[i].argmax())]
    # Uncalibrated, the confidence is the peak of the smoothed curve.
    assert ((events.confidence >= settings.peak_threshold - 1e-6) & (events.confidence < 1)).all()
    assert events.probability.sum(axis=1) == pytest.approx(np.ones(len(events)))


# Oracle: the documented rule, read off whole stretches, with no memory to save


def smoothed(score, time_s, *, width_s):
    """Mean over the frames within reach; the reach is the same on both sides."""
    curve = score.copy()
    for i in range(1, len(score) - 1):
        frame_s = (time_s[i + 1] - time_s[i - 1]) / 2
        reach_s = min((width_s - frame_s) / 2, time_s[i] - time_s[0], time_s[-1] - time_s[i]) + 1e-6
        if (width_s - frame_s) / 2 + 1e-6 >= 0:
            curve[i] = score[np.abs(time_s - time_s[i]) <= reach_s].mean()
    return curve


def hills_of(curve, first, after, *, share):
    """Peaks of an excursion with the valleys between them, and where each valley became one."""
    peaks, valleys, risen = [first], [], []
    lowest = None
    for i in range(first, after):
        if lowest is None:
            if curve[i] > curve[peaks[-1]]:
                peaks[-1] = i
            elif curve[i] < share * curve[peaks[-1]]:
                lowest = i
        elif curve[i] < curve[lowest]:
            lowest = i
        elif curve[lowest] < share * curve[i]:
            valleys.append(lowest)
            risen.append(i)
            peaks.append(i)
            lowest = None
    return list(zip(peaks, [first, *valleys], [*valleys, after], [*risen, after], strict=True))


def oracle(scores, settings):
    """(onset, offset, peak) of all events."""
    found = []
    spot, time_s = scores.channel("spot_score").astype(np.float64), scores.grid.time_s
    for run in true_runs(scores.valid):
        curve = smoothed(spot[run], time_s[run], width_s=1.002 * settings.smooth_s)
        share = max(settings.merge_fraction, settings.edge_fraction)
        for part in true_runs(curve >= settings.edge_fraction * settings.peak_threshold):
            for peak, first, after, risen in hills_of(curve, part.start, part.stop, share=share):
                level = settings.edge_fraction * curve[peak]
                onset = max([i + 1 for i in range(first, peak) if curve[i] < level], default=first)
                ends = [i for i in range(peak, min(after + 1, len(curve))) if curve[i] < level]
                offset, known = (ends[0], ends[0]) if ends else (after, risen)
                times = [start_s(time_s, run.start + frame) for frame in (onset, offset, known)]
                if (
                    curve[peak] >= settings.peak_threshold
                    and times[1] - times[0] >= settings.min_duration_s - 1e-6
                    and times[2] - times[0] <= settings.max_duration_s + 1e-6
                    and (onset, offset) != (0, len(curve))
                ):
                    found.append((run.start + onset, run.start + offset, curve[peak]))
    return found


@given(gappy(), rules)
@unhurried
def test_events_are_those_of_the_rule_read_off_the_whole_curve(scores, settings):
    expected = oracle(scores, settings)
    events = decode_scores(scores, settings=settings)
    assert list(zip(events.onset, events.offset, strict=True)) == [event[:2] for event in expected]
    assert events.confidence == pytest.approx(np.clip([event[2] for event in expected], 1e-6, 1 - 1e-6), abs=1e-9)


def pieces(scores, sizes):
    """The series in pieces of the given lengths, over and over."""
    edges = [0]
    while edges[-1] < len(scores):
        edges.append(edges[-1] + sizes[len(edges) % len(sizes)])
    return [scores.part(slice(*ends)) for ends in pairwise(edges)]


@given(gappy(), rules, st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(any))
@unhurried
def test_the_pieces_do_not_change_the_events(scores, settings, sizes):
    stream = EventStream(settings, channels=scores.channels)
    fed = join_intervals([*[stream.feed(piece) for piece in pieces(scores, sizes)], stream.close()])
    whole = decode_scores(scores, settings=settings)
    for name in ("onset", "apex", "offset", "confidence", "probability"):
        np.testing.assert_array_equal(getattr(fed, name), getattr(whole, name))
    assert fed.label == whole.label
    assert stream.held_frames == 0


@given(gappy(), rules)
@unhurried
def test_events_come_no_later_than_stated(scores, settings):
    """With the first frame later than the delay after the onset, even if nothing came before it."""
    stream = EventStream(settings, channels=scores.channels)
    time_s = scores.grid.time_s
    for i, piece in enumerate(pieces(scores, [1])):
        for onset in stream.feed(piece).onset:
            assert i == 0 or time_s[i - 1] - time_s[onset] <= stream.delay_s + 1e-5
    for onset in stream.close().onset:
        assert time_s[-1] - time_s[onset] <= stream.delay_s + 1e-5


def test_memory_does_not_grow_even_on_a_curve_that_never_falls():
    rising = 0.3 + 0.6 * np.arange(50_000) / 50_000
    scores = series(rising, TimeGrid.uniform(50_000, rate_hz=100))
    stream = EventStream(DecodeSettings(), channels=scores.channels)
    held = []
    for piece in pieces(scores, [10]):
        assert not len(stream.feed(piece))
        held.append(stream.held_frames)
    assert max(held) <= 100 * stream.delay_s + 100
    assert max(held[50:]) == max(held[2500:])


def test_a_late_higher_peak_on_a_long_hill_is_an_event_of_its_own():
    """The curve stays up for minutes, then rises so much that what was before is under the edge of the new peak."""
    score = np.full(20_000, 0.42)
    score[0] = 0.0
    score[15_000:15_030] = 0.95
    events = decode_scores(
        series(score, TimeGrid.uniform(20_000, rate_hz=100)), settings=DecodeSettings(smooth_s=0.0, peak_threshold=0.6)
    )
    assert (events.onset.tolist(), events.offset.tolist()) == ([15_000], [15_030])


def test_the_fall_of_an_event_ends_it_whatever_comes_later():
    """The lowest frame right behind the event is its end, also when the curve does not rise from it for long."""
    score = np.concatenate([np.zeros(50), np.full(20, 0.9), [0.42], np.full(300, 0.55), np.full(20, 0.9), np.zeros(50)])
    scores = series(score, TimeGrid.uniform(len(score), rate_hz=100))
    settings = DecodeSettings(smooth_s=0.0, max_duration_s=1.0)
    events = decode_scores(scores, settings=settings)
    assert (events.onset[0], events.offset[0]) == (50, 70)
    stream = EventStream(settings, channels=scores.channels)
    assert len(stream.feed(scores.part(slice(0, 70)))) == 0
    assert len(stream.feed(scores.part(slice(70, 71)))) == 1


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
