import math

import numpy as np
import pytest
from pydantic import ValidationError

from metst.config import DecodeSettings
from metst.decode import decode_published, decode_scores, majority_label, published_intervals
from metst.errors import DataError, UsageError
from metst.timeline import Series, TimeGrid

RATE = 100.0
CLASSES = ("negative", "positive", "surprise", "others", "neutral")
SETTINGS = DecodeSettings()


def series(score, *, chance=None, time_s=None, valid=None, classes=CLASSES):
    score = np.asarray(score, dtype=np.float32)
    chance = np.full((len(score), len(classes)), 1 / len(classes)) if chance is None else chance
    valid = np.ones(len(score), dtype=bool) if valid is None else valid
    values = np.column_stack([score, chance]).astype(np.float32)
    values[~valid] = np.nan
    grid = TimeGrid.uniform(len(score), rate_hz=RATE) if time_s is None else TimeGrid(time_s)
    return Series(grid, values, valid, ("spot_score", *(f"p_{name}" for name in classes)))


def box(*spans, length=400, height=1.0):
    score = np.zeros(length)
    for first, after in spans:
        score[first:after] = height
    return score


def spans(events):
    return list(zip(events.onset.tolist(), events.offset.tolist(), strict=True))


# The product's rule


@pytest.mark.parametrize("height", [0.0, 0.2, 0.49, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("length", [1, 2, 40, 1000])
def test_a_constant_curve_gives_nothing(height, length):
    assert len(decode_scores(series(np.full(length, height)), settings=SETTINGS)) == 0


def test_no_frames_and_no_valid_frames_give_nothing():
    assert len(decode_scores(series(np.zeros(0)), settings=SETTINGS)) == 0
    assert len(decode_scores(series(np.ones(50), valid=np.zeros(50, dtype=bool)), settings=SETTINGS)) == 0


def test_peaks_under_the_threshold_are_no_events():
    assert len(decode_scores(series(box((100, 140), height=0.49)), settings=SETTINGS)) == 0
    assert spans(decode_scores(series(box((100, 140), height=0.51)), settings=SETTINGS)) == [(100, 140)]


def test_duration_limits_are_in_seconds():
    score = box((50, 56), (150, 190), (250, 355))
    events = decode_scores(series(score), settings=DecodeSettings(smooth_s=0.0))
    assert spans(events) == [(150, 190)]
    slow = np.arange(400) / 10  # the same frames at a tenth of the rate
    events = decode_scores(series(score, time_s=slow), settings=DecodeSettings(smooth_s=0.0))
    assert spans(events) == [(50, 56)]


def test_irregular_timestamps_count_by_time_not_by_frame():
    steps = np.full(400, 0.01)
    steps[120:] = 0.04
    time_s = np.cumsum(steps)
    settings = DecodeSettings(smooth_s=0.0, max_duration_s=0.5)
    events = decode_scores(series(box((60, 100), (200, 240)), time_s=time_s), settings=settings)
    assert spans(events) == [(60, 100)]


def test_events_at_the_ends_of_the_video_are_found():
    assert spans(decode_scores(series(box((0, 30), (370, 400))), settings=SETTINGS)) == [(0, 30), (370, 400)]


def test_a_gap_is_never_inside_an_event_and_leaks_nothing():
    valid = np.ones(400, dtype=bool)
    valid[150:160] = False
    events = decode_scores(series(box((120, 190)), valid=valid), settings=SETTINGS)
    assert spans(events) == [(120, 150), (160, 190)]
    # Next to a gap the curve is as if the video ended there: what lies behind it does not count.
    quiet = decode_scores(series(box((130, 150)), valid=valid), settings=SETTINGS)
    loud = decode_scores(series(box((130, 150), (160, 400)), valid=valid), settings=SETTINGS)
    assert spans(quiet) == spans(loud)[:1] == [(130, 150)]
    assert quiet.confidence[0] == loud.confidence[0]


def test_invalid_class_probabilities_are_a_gap_too():
    scores = series(box((120, 190)))
    scores.values[150:160, 2] = np.nan
    assert spans(decode_scores(scores, settings=SETTINGS)) == [(120, 150), (160, 190)]


@pytest.mark.parametrize(("valley", "expected"), [(0.75, [(100, 160)]), (0.65, [(100, 125), (125, 160)])])
def test_two_peaks_with_a_shallow_valley_are_one_event(valley, expected):
    score = box((100, 160), height=0.95)
    score[125:135] = valley
    assert spans(decode_scores(series(score), settings=DecodeSettings(smooth_s=0.0))) == expected


@pytest.mark.parametrize(("edge_fraction", "expected"), [(0.25, (120, 181)), (0.5, (130, 171)), (0.75, (140, 161))])
def test_an_event_reaches_as_far_as_its_share_of_the_peak(edge_fraction, expected):
    score = np.clip(0.8 - 0.02 * np.abs(np.arange(400) - 150) + 1e-4, 0, 1)  # falls by 0.2 in ten frames
    settings = DecodeSettings(smooth_s=0.0, edge_fraction=edge_fraction)
    assert spans(decode_scores(series(score), settings=settings)) == [expected]


def test_an_event_on_a_raised_floor_keeps_its_own_edges():
    score = np.full(400, 0.4)
    score[200:230] = 0.95
    assert spans(decode_scores(series(score), settings=DecodeSettings(smooth_s=0.0))) == [(200, 230)]


def test_the_end_must_come_into_sight_within_the_longest_duration():
    # A peak, a valley that is too low for one event, and no rise that would confirm it for long.
    score = np.concatenate([np.zeros(50), np.full(20, 0.9), np.full(200, 0.6), np.full(20, 0.95), np.zeros(50)])
    settings = DecodeSettings(smooth_s=0.0, max_duration_s=1.0)
    assert spans(decode_scores(series(score), settings=settings)) == []
    settings = DecodeSettings(smooth_s=0.0, max_duration_s=3.0)
    assert spans(decode_scores(series(score), settings=settings)) == [(50, 70), (70, 290)]


def test_the_apex_is_the_highest_raw_score():
    score = box((100, 140), height=0.8)
    score[117] = 0.97
    assert decode_scores(series(score), settings=SETTINGS).apex.tolist() == [117]


def test_confidence_is_the_calibrated_peak():
    settings = DecodeSettings(smooth_s=0.0, confidence_slope=2.0, confidence_offset=-0.7)
    events = decode_scores(series(box((100, 140), height=0.8)), settings=settings)
    expected = 1 / (1 + math.exp(-(2.0 * math.log(0.8 / 0.2) - 0.7)))
    assert events.confidence == pytest.approx([expected], abs=1e-6)


def test_class_probabilities_are_weighted_by_the_score_and_without_neutral():
    score = box((100, 140), height=0.6)
    score[120:140] = 0.9
    chance = np.tile([0.0, 0.0, 0.0, 0.0, 1.0], (400, 1))
    chance[100:120] = [0.4, 0.1, 0.0, 0.0, 0.5]
    chance[120:140] = [0.1, 0.6, 0.0, 0.1, 0.2]
    events = decode_scores(series(score, chance=chance), settings=DecodeSettings(smooth_s=0.0))
    mean = 0.6 * np.array([0.4, 0.1, 0.0, 0.0]) + 0.9 * np.array([0.1, 0.6, 0.0, 0.1])
    assert events.classes == CLASSES[:4]
    assert events.label == ("positive",)
    assert events.probability[0] == pytest.approx(mean / mean.sum(), abs=1e-6)


def test_three_classes_without_neutral_are_enough():
    events = decode_scores(series(box((100, 140)), classes=("negative", "positive", "surprise")), settings=SETTINGS)
    assert events.classes == ("negative", "positive", "surprise")
    assert events.probability.sum(axis=1) == pytest.approx([1])


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (("spot_score", "p_neutral"), "at least one emotion, got spot_score, p_neutral"),
        (("score", "p_negative"), "lack the channels spot_score"),
    ],
)
def test_scores_without_the_needed_channels_are_refused(channels, message):
    values = np.zeros((5, 2), dtype=np.float32)
    scores = Series(TimeGrid.uniform(5, rate_hz=25), values, np.ones(5, dtype=bool), channels)
    with pytest.raises(DataError, match=message):
        decode_scores(scores, settings=SETTINGS)


def test_durations_that_clash_are_refused():
    with pytest.raises(ValidationError, match="min_duration_s"):
        DecodeSettings(min_duration_s=2.0, max_duration_s=1.0)


# The published rules


@pytest.mark.parametrize("rule", ["fixed", "extensible"])
@pytest.mark.parametrize("score", [[], [0.4], [0.0] * 3, np.zeros(100)], ids=["empty", "one", "short", "zero"])
def test_curves_without_a_peak_give_no_dummy(score, rule):
    intervals = published_intervals(score, k_p=5, rule=rule)
    assert intervals.shape == (0, 3)
    assert intervals.dtype == np.int64


def test_the_relative_threshold_finds_something_in_a_flat_curve():
    assert published_intervals(np.full(100, 0.1), k_p=5, rule="fixed").tolist() == [[45, 50, 55]]


def test_fixed_intervals_reach_over_the_ends_of_the_video():
    # The average over frames t - 5 .. t + 4 is highest for t = 2 .. 7 and for t = 53 .. 58.
    score = box((2, 7), (53, 58), length=60)
    assert published_intervals(score, k_p=5, rule="fixed").tolist() == [[-1, 4, 9], [50, 55, 60]]


def test_extensible_intervals_stay_inside_the_video():
    score = box((2, 7), (53, 58), length=60)
    assert published_intervals(score, k_p=5, rule="extensible").tolist() == [[1, 2, 7], [52, 53, 58]]


def test_a_curve_shorter_than_the_window_keeps_its_length():
    intervals = published_intervals([0.1, 0.2, 0.9, 0.2, 0.1], k_p=4, rule="fixed")
    assert ((intervals[:, 1] >= 0) & (intervals[:, 1] < 5)).all()


def test_bad_arguments_of_the_published_rules():
    with pytest.raises(UsageError, match="k_p"):
        published_intervals(np.zeros(9), k_p=0, rule="fixed")
    with pytest.raises(UsageError, match="'loose'"):
        published_intervals(np.zeros(9), k_p=2, rule="loose")
    with pytest.raises(DataError, match="finite"):
        published_intervals([0.0, np.nan, 1.0], k_p=2, rule="fixed")


@pytest.mark.parametrize(
    ("onset", "offset", "expected"),
    [
        (0, 6, 1),  # frames 1 to 4: 1 1 2 2, a tie that the first seen wins
        (2, 7, 2),  # frames 3 to 5: 2 2 0
        (-3, 4, 1),  # frames 1 to 2: what lies before the video does not shift the slice
        (4, 40, 0),  # frames 5 to 7: 0 3 0
        (3, 5, 4),  # nothing left inside
        (-9, -2, 4),
        (20, 30, 4),
    ],
)
def test_majority_vote_inside_of_an_interval(onset, offset, expected):
    assert majority_label([0, 1, 1, 2, 2, 0, 3, 0], onset, offset) == expected


def voted(labels):
    """Per-frame probabilities whose best class is given and whose second is "others"."""
    chance = np.full((len(labels), 5), 0.05)
    chance[:, 3] = 0.2
    chance[np.arange(len(labels)), labels] = 0.65
    return chance


@pytest.fixture
def two_detections():
    """One detection on frames 20 to 30 that votes neutral, one on 60 to 70 that votes surprise."""
    labels = np.full(100, 4)
    labels[60:71] = 2
    return series(box((23, 27), (63, 67), length=100), chance=voted(labels))


@pytest.mark.parametrize(
    ("strategy", "labels", "classes"),
    [(0, ("neutral", "surprise"), 5), (1, ("surprise",), 4), (2, ("others", "surprise"), 4)],
)
def test_synergy_strategies(two_detections, strategy, labels, classes):
    events = decode_published(two_detections, k_p=5, rule="fixed", strategy=strategy)
    assert events.label == labels
    assert events.classes == CLASSES[:classes]
    assert events.probability.sum(axis=1) == pytest.approx(np.ones(len(labels)))
    assert events.confidence == pytest.approx(np.full(len(labels), 0.4))


def test_published_events_are_half_open_and_clipped_to_the_video():
    scores = series(box((2, 7), (53, 58), length=60), chance=voted(np.zeros(60, dtype=int)))
    events = decode_published(scores, k_p=5, rule="fixed", strategy=1)
    assert spans(events) == [(0, 10), (50, 60)]
    assert events.apex.tolist() == [4, 55]


def test_the_vote_at_the_end_of_the_video_is_the_published_one():
    labels = np.full(60, 4)
    labels[52:55], labels[55], labels[56:60] = 2, 1, 0
    scores = series(box((53, 59), length=60), chance=voted(labels))
    assert published_intervals(scores.channel("spot_score"), k_p=5, rule="fixed").tolist() == [[51, 56, 61]]
    events = decode_published(scores, k_p=5, rule="fixed", strategy=1)
    assert events.label == (CLASSES[majority_label(labels, 51, 61)],) == ("negative",)


def test_published_events_stop_at_gaps():
    valid = np.ones(100, dtype=bool)
    valid[52:58] = False
    scores = series(box((46, 52), length=100), valid=valid, chance=voted(np.zeros(100, dtype=int)))
    events = decode_published(scores, k_p=8, rule="fixed", strategy=1)
    ((onset, offset),) = spans(events)
    assert offset == 52
    assert onset < 46


def test_a_published_detection_with_its_apex_in_a_gap_is_dropped():
    valid = np.ones(100, dtype=bool)
    valid[45:55] = False
    scores = series(box((40, 60), length=100), valid=valid, chance=voted(np.zeros(100, dtype=int)))
    assert len(decode_published(scores, k_p=10, rule="fixed", strategy=1)) == 0


def test_a_vote_of_nobody_falls_back_to_the_mean_under_strategy_two():
    scores = series(box((50, 51), length=100), chance=voted(np.ones(100, dtype=int)))
    assert decode_published(scores, k_p=1, rule="fixed", strategy=2).label == ("positive",)
    assert len(decode_published(scores, k_p=1, rule="fixed", strategy=1)) == 0


def test_bad_arguments_of_decode_published(two_detections):
    with pytest.raises(UsageError, match="strategy 3"):
        decode_published(two_detections, k_p=5, rule="fixed", strategy=3)
    with pytest.raises(DataError, match="neutral last"):
        decode_published(two_detections, k_p=5, rule="fixed", strategy=1, classes=CLASSES[::-1])
    with pytest.raises(DataError, match="five classes"):
        decode_published(series(np.zeros(9), classes=CLASSES[:3]), k_p=5, rule="fixed", strategy=1)


@pytest.mark.parametrize("rate_hz", [30.0, 30000 / 1001])
def test_the_two_rates_called_thirty_are_smoothed_alike(rate_hz):
    score = np.full(61, 0.1)
    score[30] = 0.9  # one frame alone: the mean over three is under the threshold
    grid = TimeGrid.uniform(61, rate_hz=rate_hz)
    settings = DecodeSettings(smooth_s=0.1, min_duration_s=0.0, peak_threshold=0.5)
    assert len(decode_scores(series(score, time_s=grid.time_s), settings=settings)) == 0
    unsmoothed = settings.model_copy(update={"smooth_s": 0.0})
    assert len(decode_scores(series(score, time_s=grid.time_s), settings=unsmoothed)) == 1
