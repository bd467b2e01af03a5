import json
import time
from pathlib import Path

import numpy as np
import pytest

from metst.errors import DataError, UsageError
from metst.metrics import (
    SCORERS,
    interval_iou,
    match_intervals,
    read_intervals_csv,
    read_lengths_csv,
    read_videos_csv,
    score_tables,
    tables_for_people,
)

COLUMNS = "subject,video,onset,offset,emotion\n"
CLASSES = ("negative", "positive", "surprise")


def row(onset, offset, emotion="negative", *, subject="s1", video="v1"):
    return (subject, video, onset, offset, emotion)


def spotting(predictions, truth, **options):
    result = score_tables(predictions, truth, classes=CLASSES, **options)["spotting"]
    return result["tp"], result["fp"], result["fn"]


# Intervals


def test_iou_counts_frames_of_both_ends():
    assert interval_iou([(1, 10)], [(6, 15), (10, 10), (11, 20)]).tolist() == [[5 / 15, 1 / 10, 0.0]]


def test_the_threshold_itself_is_a_hit():
    assert spotting([row(1, 10)], [row(1, 20)], iou=0.5) == (1, 0, 0)
    assert spotting([row(1, 10)], [row(1, 21)], iou=0.5) == (0, 1, 1)


def test_matching_prefers_more_pairs_and_then_more_overlap():
    # The best single pair (0.9) would leave the second prediction alone.
    assert match_intervals(np.array([[0.9, 0.6], [0.7, 0.0]]), threshold=0.5).tolist() == [[0, 1], [1, 0]]
    assert match_intervals(np.array([[0.6, 0.9], [0.9, 0.6]]), threshold=0.5).tolist() == [[0, 1], [1, 0]]
    assert match_intervals(np.zeros((3, 2)), threshold=0.5).shape == (0, 2)


# Scorers


def test_scorers_disagree_where_they_are_known_to():
    # The second prediction overlaps both truths by more than half, the first one more than the other.
    truth = [row(1, 20), row(11, 30)]
    predictions = [row(1, 19), row(5, 24), row(100, 110)]
    assert spotting(predictions, truth, scorer="strict") == (2, 1, 0)
    assert spotting(predictions, truth, scorer="greedy") == (1, 2, 1)
    assert spotting(predictions, truth, scorer="many-to-many") == (3, 1, -1)
    assert spotting(predictions, truth, scorer="megc") == (2, 1, 0)
    assert spotting(predictions[1::-1], truth, scorer="megc") == (2, 1, 0)
    assert spotting(predictions[1::-1], truth, scorer="strict") == (2, 0, 0)


def test_greedy_reads_in_time_order_and_megc_in_file_order():
    late, early = row(10, 29, "positive"), row(8, 27, "negative")
    greedy = score_tables([late, early], [row(9, 28)], scorer="greedy", classes=CLASSES)
    megc = score_tables([late, early], [row(9, 28)], scorer="megc", classes=CLASSES)
    assert greedy["recognition"]["confusion"][0] == [1, 0, 0, 0]
    assert megc["recognition"]["confusion"][0] == [0, 1, 0, 0]


def test_one_megc_prediction_takes_all_free_truths():
    truth = [row(1, 10), row(11, 20)]
    assert spotting([row(1, 20)], truth, scorer="megc") == (2, 0, 0)
    assert spotting([row(1, 20)], truth, scorer="strict") == (1, 0, 1)


def test_videos_without_truth_count_except_for_megc():
    truth = [row(1, 20), row(1, 20, subject="s9")]
    predictions = [row(1, 20), row(5, 9, video="calm"), row(1, 20, video="other video")]
    assert spotting(predictions, truth, scorer="strict") == (1, 2, 1)
    assert spotting(predictions, truth, scorer="megc") == (1, 0, 0)
    assert score_tables(predictions, truth, scorer="strict")["videos"] == {
        "rule": "all videos that the tables or the list of videos name",
        "counted": 4,
        "without_truth": 2,
        "ignored": 0,
        "names": {"s1": ["calm", "other video", "v1"], "s9": ["v1"]},
        "ignored_names": {},
    }
    assert score_tables(predictions, truth, scorer="megc")["videos"] == {
        "rule": "videos with truth, of subjects with predictions",
        "counted": 1,
        "without_truth": 0,
        "ignored": 3,
        "names": {"s1": ["v1"]},
        "ignored_names": {"s1": ["calm", "other video"], "s9": ["v1"]},
    }


def test_listed_videos_belong_to_the_split():
    result = score_tables([], [row(1, 20)], videos=[("s2", "calm"), ("s1", "v1")])
    assert (result["videos"]["counted"], result["videos"]["without_truth"]) == (2, 1)
    assert result["videos"]["names"] == {"s1": ["v1"], "s2": ["calm"]}
    assert result["subjects"] == 2
    one = score_tables([row(50, 60)], [row(1, 20)])["spotting"]["false_alarms_per_video"]
    assert one == 1
    more = score_tables([row(50, 60)], [row(1, 20)], videos=[("s2", "calm"), ("s2", "calm too"), ("s1", "v9")])
    assert more["spotting"]["false_alarms_per_video"] == 1 / 4


def test_equal_frames_of_different_videos_never_match():
    assert spotting([row(1, 20)], [row(1, 20, video="v2")]) == (0, 1, 1)
    assert spotting([row(1, 20)], [row(1, 20, subject="01")]) == (0, 1, 1)


def test_recognition_looks_at_hits_with_a_true_class_of_the_set():
    frames = [(100 * i + 1, 100 * i + 20) for i in range(6)]
    true = ["negative", "negative", "positive", "others", "surprise", "positive"]
    predicted = ["negative", "positive", "positive", "negative", "others", "positive"]
    truth = [row(*ends, label) for ends, label in zip(frames, true, strict=True)]
    predictions = [row(*ends, label) for ends, label in zip(frames[:5], predicted[:5], strict=True)]
    result = score_tables(predictions, truth, classes=CLASSES)
    recognition = result["recognition"]
    assert (recognition["pairs"], recognition["dropped"]) == (4, 1)
    assert recognition["confusion"] == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    assert recognition["precision"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert recognition["recall"] == recognition["uar"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert recognition["uf1"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert recognition["f1"] == pytest.approx(0.5)
    assert result["strs"] == pytest.approx(result["spotting"]["f1"] * recognition["f1"])
    four = score_tables(predictions, truth, classes=(*CLASSES, "others"))["recognition"]
    assert (four["pairs"], four["dropped"]) == (5, 0)


def test_megc_has_the_quirks_of_the_program():
    # Its UAR is the mean precision; a class that every hit has on both sides counts nothing.
    predictions = [row(1, 20), row(101, 120), row(201, 220, "positive")]
    truth = [row(1, 20), row(101, 120, "positive"), row(201, 220, "positive")]
    recognition = score_tables(predictions, truth, scorer="megc", classes=CLASSES)["recognition"]
    assert recognition["uar"] == recognition["precision"] == pytest.approx((1 / 2 + 1) / 3)
    assert recognition["recall"] == pytest.approx((1 + 1 / 2) / 3)
    alike = score_tables(predictions[:1], truth[:1], scorer="megc", classes=CLASSES)
    assert (alike["spotting"]["f1"], alike["recognition"]["f1"], alike["strs"]) == (1, 0, 0)
    assert score_tables(predictions[:1], truth[:1], classes=CLASSES)["recognition"]["uf1"] == pytest.approx(1 / 3)


def test_false_alarms_and_misses_are_split_by_cause():
    truth = [row(1, 20), row(101, 120), row(201, 220), row(301, 320)]
    predictions = [row(1, 20), row(2, 21), row(115, 140), row(501, 520)]
    result = score_tables(predictions, truth)["spotting"]
    assert result["false_alarms"] == {"background": 1, "wrong_interval": 1, "duplicate": 1}
    assert result["misses"] == {"no_peak": 2, "wrong_interval": 1, "taken": 0}
    assert result["mean_iou"] == 1.0


def test_a_truth_whose_prediction_is_too_unsure_is_missed_below_the_threshold():
    truth = [row(1, 20), row(101, 120), row(201, 220), row(301, 320), row(401, 420)]
    predictions = [
        (*row(1, 20), 0.9),
        (*row(102, 121), 0.2),  # would match
        (*row(115, 140), 0.9),  # overlaps the same one too little
        (*row(215, 240), 0.2),  # would not match either
        (*row(415, 440), 0.9),  # sure, and wrong
    ]
    result = score_tables(predictions, truth, threshold=0.5)
    spotting = result["spotting"]
    assert (spotting["tp"], spotting["fp"], spotting["fn"]) == (1, 2, 4)
    assert spotting["misses"] == {"no_peak": 1, "below_threshold": 1, "wrong_interval": 2, "taken": 0}
    assert spotting["false_alarms"] == {"background": 0, "wrong_interval": 2, "duplicate": 0}
    assert result["threshold"] == 0.5
    assert "predictions: 2 with a confidence below 0.5 do not count" in result["notes"]
    assert "below_threshold" not in score_tables(predictions, truth)["spotting"]["misses"]


def test_the_threshold_itself_counts():
    assert spotting([(*row(1, 20), 0.5)], [row(1, 20)], threshold=0.5) == (1, 0, 0)
    assert spotting([(*row(1, 20), 0.5)], [row(1, 20)], threshold=np.nextafter(0.5, 1)) == (0, 0, 1)


# Breakdowns, worked by hand


def test_classes_subjects_and_durations_of_a_small_table():
    truth = [row(1, 6), row(101, 120, "positive"), row(1, 60, "others", subject="s2"), row(201, 207, subject="s2")]
    predictions = [
        row(1, 6, "positive"),
        row(301, 315, "surprise"),
        row(1, 50, "others", subject="s2"),
        row(500, 700, subject="s3"),
    ]
    result = score_tables(predictions, truth, classes=CLASSES)

    def counts(figures):
        return tuple(figures[name] for name in ("tp", "fp", "fn"))

    assert {name: counts(figures) for name, figures in result["spotting"]["per_class"].items()} == {
        "negative": (1, 1, 1),
        "positive": (0, 0, 1),
        "surprise": (0, 1, 0),
        "other": (1, 0, 0),
    }
    assert [(b["from"], b["below"], b["unit"], *counts(b)) for b in result["spotting"]["per_duration"]] == [
        (0, 8, "frames", 1, 0, 1),
        (8, 16, "frames", 0, 1, 0),
        (16, 32, "frames", 0, 0, 1),
        (32, 64, "frames", 1, 0, 0),
        (128, None, "frames", 0, 1, 0),
    ]
    assert {name: (s["videos"], *counts(s), s["pairs"], s["right"]) for name, s in result["per_subject"].items()} == {
        "s1": (1, 1, 1, 1, 1, 0),
        "s2": (1, 1, 0, 1, 0, 0),
        "s3": (1, 0, 1, 0, 0, 0),
    }
    assert result["per_subject"]["s1"]["f1"] == 0.5
    seconds = score_tables(predictions, truth, rate_hz=30)["spotting"]["per_duration"]
    assert [(b["from"], b["below"], b["unit"], *counts(b)) for b in seconds] == [
        (0.2, 0.3, "s", 1, 0, 1),
        (0.5, 1.0, "s", 0, 1, 1),
        (1.0, None, "s", 1, 1, 0),
    ]


def test_subjects_that_megc_ignores_have_no_row():
    result = score_tables([row(1, 9)], [row(1, 9), row(1, 9, subject="s2")], scorer="megc")
    assert list(result["per_subject"]) == ["s1"]


# Thresholds


def test_the_curve_of_a_small_table():
    truth = [row(1, 20), row(101, 120)]
    predictions = [(*row(1, 20), 0.9), (*row(300, 320, video="v2"), 0.7), (*row(101, 120), 0.6), (*row(400, 410), 0.1)]
    curve = score_tables(predictions, truth)["curve"]
    assert curve["threshold"] == [0.9, 0.7, 0.6, 0.1]
    assert (curve["tp"], curve["fp"], curve["fn"]) == ([1, 1, 2, 2], [0, 1, 1, 2], [1, 1, 0, 0])
    assert curve["precision"] == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])
    assert curve["recall"] == [0.5, 0.5, 1, 1]
    assert curve["f1"] == pytest.approx([2 / 3, 1 / 2, 4 / 5, 2 / 3])
    assert curve["false_alarms_per_video"] == [0, 0.5, 0.5, 1]
    best = curve["best"]
    assert (best["threshold"], best["tp"], best["fp"]) == (0.6, 2, 1)
    assert best["note"] == "best on this very data: not a fair estimate"


def test_of_equally_good_thresholds_the_highest_is_the_best():
    predictions = [(*row(100 * i, 100 * i + 9), 1 / i) for i in (1, 2, 3)]
    assert score_tables(predictions, [row(5000, 5009)])["curve"]["best"]["threshold"] == 1


def test_without_a_confidence_there_is_no_curve_and_no_threshold():
    assert "curve" not in score_tables([row(1, 20)], [row(1, 20)])
    with pytest.raises(UsageError, match="needs a column confidence in every table of predictions"):
        score_tables([row(1, 20)], [row(1, 20)], threshold=0.5)
    with pytest.raises(UsageError, match="needs a column confidence"):
        score_tables([(*row(1, 20), 0.7)], [row(1, 20)], against=[row(1, 20)], threshold=0.5)
    assert spotting([], [row(1, 20)], threshold=0.5) == (0, 0, 1)


def test_a_confidence_may_be_any_finite_number(write):
    path = write(COLUMNS.strip() + ",confidence\ns,v,1,9,x,-3\ns,v,11,19,x,1e3\n")
    assert read_intervals_csv(path, with_confidence=True).confidence.tolist() == [-3, 1000]
    assert read_intervals_csv(path).confidence is None
    bad = write(COLUMNS.strip() + ",confidence\ns,v,1,9,x,\ns,v,11,19,x,nan\ns,v,31,39,x,0.5\ns,v,31,39,x,0.7\n")
    with pytest.raises(DataError) as caught:
        score_tables(bad, [])
    assert str(caught.value) == (
        f"{bad} has 3 faults: row 2, column confidence: expected a finite number, got ''; "
        "row 3, column confidence: expected a finite number, got 'nan'; row 5: repeats row 4"
    )
    # Of the truth nobody needs it.
    assert score_tables([], write(COLUMNS.strip() + ",confidence\ns,v,1,9,x,\n"))["spotting"]["fn"] == 1


# Notes


def test_unknown_emotions_are_listed_with_their_counts():
    truth = [row(1, 9, "Happiness"), row(21, 29), row(41, 49, "others"), row(61, 69, "happiness")]
    predictions = [row(1, 9, "smile"), row(21, 29, "neutral")]
    result = score_tables(predictions, truth, classes=["negative"], bootstrap=0)
    assert result["emotions"] == {
        "predictions": {"neutral": 1, "smile": 1},
        "truth": {"happiness": 2, "negative": 1, "others": 1},
    }
    assert result["notes"] == [
        "predictions: unknown emotion smile (1); a hit with it counts as a wrong class",
        "truth: unknown emotion happiness (2, perhaps positive); a hit with it is left out of recognition",
    ]


def test_unknown_classes_and_classes_without_a_sample_are_named():
    table = [row(1, 9), row(21, 29, "joy", subject="s2")]
    assert score_tables(table, table, classes=["negative", "joy"])["notes"] == []
    assert score_tables(table, table, classes=["negative", "joy", "Positve", "surprise"])["notes"] == [
        "unknown class positve: neither one of negative, positive, surprise, others nor an emotion of the truth",
        "class without any sample: positve, surprise; it counts as 0 in the means over the classes",
    ]


def test_tables_that_do_not_meet_and_single_subjects_are_noted():
    result = score_tables([row(1, 9, subject="06")], [row(1, 9, subject="006")], classes=["negative"])
    assert result["notes"] == [
        "predictions and truth have no video in common: compare how subjects and videos are written",
        "predictions and truth: 1 video that would meet but for case, zeros in front or the form of letters: "
        "06/v1 perhaps 006/v1",
    ]
    alone = score_tables([row(1, 9)], [row(1, 9)], classes=["negative"])
    assert alone["notes"] == ["fewer than 2 subjects: no intervals over resamples of the subjects"]
    assert alone["confidence_intervals"] == {}


# Two tables


def test_against_itself_nothing_differs():
    truth = [row(1, 20, subject=f"s{i}") for i in range(5)]
    table = truth[:3]
    result = score_tables(table, truth, against=table, classes=["negative"])
    for change in result["against"]["difference"].values():
        assert change == {"value": 0, "interval": [0, 0]}
    assert (result["against"]["strs"], result["against"]["subjects"]) == (result["strs"], 5)


def test_a_table_that_is_better_on_every_subject_is_surely_better():
    truth = [row(100 * i + 1, 100 * i + 20, subject=f"s{s}") for s in range(6) for i in range(4)]
    better = [interval for interval in truth if interval[2] <= 201 + 100 * (interval[0] in ("s1", "s2"))]
    worse = [interval for interval in better if interval[2] > 1]
    result = score_tables(better, truth, against=worse, classes=["negative"])
    change = result["against"]["difference"]["spotting_f1"]
    assert change["value"] == pytest.approx(result["spotting"]["f1"] - result["against"]["spotting"]["f1"])
    low, high = change["interval"]
    assert 0 < low < change["value"] < high
    # Each side alone varies more than the difference does.
    alone = result["confidence_intervals"]["spotting_f1"]
    assert high - low < alone[1] - alone[0]
    turned = score_tables(worse, truth, against=better, classes=["negative"])["against"]["difference"]["spotting_f1"]
    assert turned["interval"] == pytest.approx([-high, -low])


def test_a_scorer_that_counts_other_videos_for_each_table_is_noted():
    truth = [row(1, 9), row(1, 9, subject="s2")]
    options = {"against": truth[:1], "classes": ["negative"]}
    note = "the megc scorer counts other videos in each table of predictions: the difference is not fair"
    assert note in score_tables(truth, truth, scorer="megc", **options)["notes"]
    assert score_tables(truth, truth, scorer="strict", **options)["notes"] == []


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize(("predictions", "truth"), [([], []), ([row(1, 9)], []), ([], [row(1, 9)])])
def test_empty_tables_score_zero(scorer, predictions, truth):
    result = score_tables(predictions, truth, scorer=scorer, bootstrap=5)
    assert (result["strs"], result["spotting"]["f1"], result["recognition"]["f1"]) == (0, 0, 0)
    json.dumps(result, allow_nan=False)


def test_the_result_says_how_it_was_made():
    result = score_tables(
        [row(1, 20)], [row(1, 20)], scorer="greedy", iou=0.3, classes=[" Negative", "positive"], rate_hz=200
    )
    expected = {
        "scorer": "greedy",
        "iou": 0.3,
        "classes": ["negative", "positive"],
        "threshold": None,
        "rate_hz": 200,
        "frame_base": 1,
        "interval_convention": "inclusive",
        "subjects": 1,
    }
    assert {name: result[name] for name in expected} == expected


def test_tables_for_people_show_every_figure():
    predictions = [(*row(1, 20), 0.9), (*row(50, 60, subject="s2"), 0.3)]
    result = score_tables(predictions, [row(1, 20)], classes=CLASSES, against=predictions[:1], threshold=0.2)
    tables = tables_for_people(result)
    assert all(len(cells) == len(columns) for _, columns, rows in tables for cells in rows)
    assert all(isinstance(cell, str) for _, _, rows in tables for cells in rows for cell in cells)
    by_title = {title: (columns, rows) for title, columns, rows in tables}
    assert dict(by_title["How it was scored"][1]) == {
        "scorer": "strict",
        "a hit": "IoU >= 0.5 on frames from 1, both ends inclusive",
        "classes": "negative, positive, surprise",
        "videos": "2 (all videos that the tables or the list of videos name); 1 of them without truth, 0 ignored",
        "subjects": "2",
        "confidence": ">= 0.2",
    }
    columns, rows = by_title["Spotting"]
    assert dict(zip(columns, rows[0], strict=True)) == {
        "hits": "1",
        "false alarms": "1",
        "misses": "0",
        "precision": "0.5000",
        "recall": "1.0000",
        "F1": "0.6667",
        "mean IoU": "1.0000",
        "false alarms per video": "0.5000",
    }
    curve = by_title["Spotting by threshold of the confidence (2 of 2 thresholds)"][1]
    assert curve[-1] == ("0.9", "1.0000", "1.0000", "1.0000", "0.0000", "best on this very data: not a fair estimate")
    assert by_title["Misses by cause"][0] == ("no peak", "below threshold", "wrong interval", "taken")
    difference = {name: value for name, value, *_ in tables[-1].rows}
    assert difference["spotting F1"] == "-0.3333"
    assert any(title == "95 % over resamples of the subjects" for title in by_title)


def test_a_long_curve_is_shown_in_parts():
    predictions = [(*row(100 * i + 1, 100 * i + 9), i / 1000) for i in range(1000)]
    tables = tables_for_people(score_tables(predictions, predictions[::2]))
    shown = next(table for table in tables if "threshold" in table.title)
    assert "(10 of 1000 thresholds)" in shown.title
    assert [cells[0] for cells in (shown.rows[0], shown.rows[9])] == ["0.999", "0"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scorer": "fair"}, "unknown scorer 'fair': expected one of strict, greedy, many-to-many, megc"),
        ({"iou": 0.0}, "above 0"),
        ({"iou": 1.5}, "at most 1"),
        ({"classes": ()}, "got none"),
        ({"classes": ("positive", "Positive")}, "once each"),
        ({"classes": ("positive", "")}, "once each"),
        ({"bootstrap": -1}, "negative"),
        ({"rate_hz": 0.0}, "above 0, got 0.0"),
        ({"rate_hz": float("nan")}, "above 0, got nan"),
        ({"threshold": float("inf")}, "finite number, got inf"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(UsageError, match=message):
        score_tables([], [], **options)


def test_ten_thousand_against_ten_thousand_take_less_than_a_second():
    rng = np.random.default_rng(0)
    onset, length = rng.integers(1, 100_000, 10_000), rng.integers(5, 60, 10_000)

    def table(shift):
        moved = onset + rng.integers(0, shift + 1, len(onset))
        emotions = rng.choice(CLASSES, len(onset)).tolist()
        ends = zip(moved.tolist(), (moved + length).tolist(), emotions, strict=True)
        return list({("s", "v", *interval) for interval in ends})

    sure = [(*interval, number) for interval, number in zip(table(10), rng.random(10_000).tolist(), strict=False)]
    truth = table(0)
    began = time.process_time()
    result = score_tables(sure, truth, scorer="strict", threshold=0.05)
    assert time.process_time() - began < 1
    assert result["spotting"]["tp"] > 7500
    assert len(result["curve"]["f1"]) == len(sure)


# Tables


@pytest.fixture
def write(tmp_path):
    def write_table(text, *, encoding="utf-8"):
        path = tmp_path / "pred.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write_table


def test_zero_padding_and_other_columns_survive_reading(write):
    path = write(
        "video,apex,subject,onset,offset,emotion,note\r\n006_1,7,006,5,12.0, Positive ,\r\n", encoding="utf-8-sig"
    )
    table = read_intervals_csv(path)
    assert (table.subject, table.video, table.emotion) == (("006",), ("006_1",), ("positive",))
    assert (table.onset.tolist(), table.offset.tolist()) == ([5], [12])
    assert (table.onset.dtype, table.offset.dtype) == (np.int64, np.int64)


def test_a_header_alone_is_a_table_without_events(write):
    path = write(COLUMNS + "\n\n")
    assert len(read_intervals_csv(path)) == 0
    assert spotting(path, [row(1, 9)]) == (0, 0, 1)


def test_files_frames_and_rows_score_alike(write):
    pd = pytest.importorskip("pandas")
    rows = [row(1, 20), row(40, 60, "positive", subject="6")]
    path = write(COLUMNS + "".join(",".join(map(str, r)) + "\n" for r in rows))
    frame = pd.DataFrame(rows, columns=COLUMNS.strip().split(","))
    numbers = frame.assign(subject=[1.0, 6.0]).replace({"subject": {1.0: 6.0}})
    truth = [row(1, 20), row(40, 60, subject="6")]
    expected = score_tables(rows, truth)
    assert score_tables(path, truth) == score_tables(frame, truth) == score_tables(str(path), truth) == expected
    assert score_tables(frame.to_dict("records"), truth) == expected
    assert score_tables(numbers, [row(1, 20, subject=6), row(40, 60, subject=6)])["spotting"]["tp"] == 2


def test_every_fault_of_a_file_is_named_at_once(write):
    path = write(
        COLUMNS
        + "s1,v1,1,20,positive\n"
        + "s1,v1,abc,20,positive\n"
        + "s1,v1,30,25,positive\n"
        + "\n"
        + "s1,,0,2.5,positive\n"
        + "s1,v1,1,20,Positive\n"
        + "s2,v1,,nan,\n"
        + "s2,v1,1,inf,x\n"
    )
    with pytest.raises(DataError) as caught:
        read_intervals_csv(path)
    assert str(caught.value) == (
        f"{path} has 10 faults: "
        "row 3, column onset: expected a whole frame number from 1, got 'abc'; "
        "row 4, column onset: is after the offset, 25; "
        "row 6, column offset: expected a whole frame number from 1, got '2.5'; "
        "row 6, column onset: expected a whole frame number from 1, got '0'; "
        "row 6, column video: expected a text, got ''; "
        "row 7: repeats row 2; "
        "row 8, column emotion: expected a text, got ''; "
        "row 8, column offset: expected a whole frame number from 1, got 'nan'; "
        "row 8, column onset: expected a whole frame number from 1, got ''; "
        "row 9, column offset: expected a whole frame number from 1, got 'inf'"
    )


def test_faults_of_tables_in_memory_are_counted_from_one():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"subject": ["a", None], "video": "v", "onset": [1, np.nan], "offset": 9, "emotion": "other"})
    with pytest.raises(DataError, match=r"truth has 2 faults: row 2, column onset: .* row 2, column subject"):
        score_tables([], frame)
    with pytest.raises(DataError, match="predictions has 1 fault: row 2: expected the values subject, video"):
        score_tables([row(1, 9), ("s", "v", 1, 2)], [])
    assert frame.index.tolist() == [0, 1]


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_prediction_may_begin_before_the_first_frame_and_counts_with_its_whole_length(scorer):
    truth = [row(1, 12), row(2, 6, video="v2")]
    for onset in range(-12, 2):
        predictions = [row(onset, 12), row(-3, 6, video="v2")]
        common = [len(set(range(a, b + 1)) & set(range(c, d + 1))) / len(set(range(a, b + 1)) | set(range(c, d + 1)))
                  for (_, _, a, b, _), (_, _, c, d, _) in zip(predictions, truth, strict=True)]  # fmt: skip
        hits = sum(iou >= 0.5 for iou in common)
        result = score_tables(predictions, truth, scorer=scorer, bootstrap=0)
        assert (result["spotting"]["tp"], result["spotting"]["fp"]) == (hits, 2 - hits)
        early = sum(p[2] < 1 for p in predictions)
        lowest = min(onset, -3)
        assert f"predictions: intervals that begin before frame 1: {early}, the earliest at {lowest};" in str(
            result["notes"]
        )


def test_videos_do_not_touch_where_predictions_begin_early():
    # The second video's prediction reaches 40 frames before its start, where the first one has an interval.
    predictions = [row(-40, 30, video="v2")]
    assert spotting(predictions, [row(1, 80, video="v1"), row(60, 70, video="v2")]) == (0, 1, 2)


def test_only_predictions_may_begin_early():
    with pytest.raises(DataError, match="truth has 1 fault: row 1, column onset"):
        score_tables([], [row(0, 9)])
    with pytest.raises(DataError, match="predictions has 1 fault: row 1, column offset"):
        score_tables([row(-9, 0)], [])


@pytest.mark.parametrize(
    ("mine", "theirs", "noted"),
    [
        (("7", "a"), ("007", "a"), True),
        (("S7", "a"), ("s7", "a"), True),
        (("s1", "talk_01"), ("s1", "talk_1"), True),
        (("s1", "talk\u00a02"), ("s1", "talk 2"), True),
        (("s1", "talk"), ("s1", "walk"), False),
        (("s10", "a"), ("s1", "a"), False),
    ],
)
def test_names_that_meet_but_for_a_slip_are_noted_though_others_meet(mine, theirs, noted):
    both = row(1, 9, subject="both")
    result = score_tables([both, row(1, 9, subject=mine[0], video=mine[1])],
                          [both, row(1, 9, subject=theirs[0], video=theirs[1])], bootstrap=0)  # fmt: skip
    assert any("would meet but for" in note for note in result["notes"]) == noted
    assert result["spotting"]["tp"] == 1


def test_a_slip_that_could_mean_two_videos_is_not_guessed():
    truth = [row(1, 9, subject="007"), row(1, 9, subject="07")]
    assert "would meet" not in str(score_tables([row(1, 9, subject="7")], truth, bootstrap=0)["notes"])


def test_composed_and_decomposed_letters_are_one_name():
    composed, decomposed = row(1, 9, subject="Jos\u00e9"), row(1, 9, subject="Jose\u0301")
    result = score_tables([decomposed], [composed], classes=["negative"], bootstrap=0)
    assert (result["spotting"]["tp"], result["notes"]) == (1, [])


def test_more_faults_than_anyone_reads_are_counted():
    with pytest.raises(DataError) as caught:
        score_tables([row(i, -1) for i in range(1, 81)], [])
    assert str(caught.value) == (
        "predictions has 80 faults: row 1, column offset: expected a whole frame number from 1, got '-1' "
        "(80 like this, rows 1, 2, 3 and 77 more)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks the columns subject, video, onset, offset, emotion.*got none"),
        ("subject,video,start,offset,emotion\n", "lacks the columns onset.*got subject, video, start"),
        (
            COLUMNS + "s,v,1,2\ns,v,1,2,x,y\n",
            "2 faults: row 2: expected 5 cells, got 4; row 3: expected 5 cells, got 6",
        ),
    ],
)
def test_malformed_files(write, text, message):
    with pytest.raises(DataError, match=message):
        read_intervals_csv(write(text))


def test_files_that_are_no_text_or_not_there(write, tmp_path):
    with pytest.raises(DataError, match="UTF-8"):
        read_intervals_csv(write(COLUMNS + "é,v,1,2,x\n", encoding="latin-1"))
    with pytest.raises(DataError, match="cannot be read"):
        read_intervals_csv(tmp_path)
    with pytest.raises(UsageError, match="no file"):
        read_intervals_csv(tmp_path / "missing.csv")


def test_a_list_of_videos(write):
    assert read_videos_csv(write("video,note,subject\n006_1,,006\n006_2,x,006\n")) == [
        ("006", "006_1"),
        ("006", "006_2"),
    ]
    with pytest.raises(DataError, match="lacks the columns video: expected subject, video, got subject"):
        read_videos_csv(write("subject\n"))
    with pytest.raises(DataError, match="1 fault: row 3, column video: expected a text, got ''"):
        read_videos_csv(write("subject,video\ns,v\ns,\n"))


@pytest.mark.parametrize("scorer", ["strict", "greedy", "many-to-many", "megc"])
def test_intervals_that_end_after_the_last_frame_count_as_written_with_a_note(write, scorer):
    """Where the length of the video is known; the figures are those of the unclipped intervals either way."""
    truth = [("s", "v", 91, 100, "negative"), ("s", "w", 1, 9, "positive")]
    found = [("s", "v", 92, 111, "negative"), ("s", "w", -3, 14, "positive"), ("s", "x", 5, 99, "positive")]
    lengths = read_lengths_csv(write("subject,video,frames\ns,v,100\ns,w,10\ns,x,\n"))
    assert lengths == {("s", "v"): 100, ("s", "w"): 10, ("s", "x"): None}
    options = {"scorer": scorer, "iou": 0.4, "bootstrap": 0}
    known = score_tables(found, truth, videos=lengths, **options)
    unknown = score_tables(found, truth, videos=list(lengths), **options)
    told = [note for note in known["notes"] if note not in unknown["notes"]]
    words = "they count as written, as in the published programs"
    assert told == [f"predictions: intervals that end after the last frame: 2, the latest by 11; {words}"]
    assert {name: value for name, value in known.items() if name != "notes"} == {
        name: value for name, value in unknown.items() if name != "notes"
    }
    # 9 of 20 frames of one, 9 of 18 of the other: as written; clipped to 100 frames the first would be 9 of 10.
    assert known["spotting"]["tp"] == 2
    assert score_tables(found, truth, **(options | {"iou": 0.5}))["spotting"]["tp"] == 1
    with pytest.raises(DataError, match=r"row 2, column frames: expected a whole number of frames from 1.*'1\.5'"):
        read_lengths_csv(write("subject,video,frames\ns,v,1.5\n"))


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "p.csv"
    table.write_text("subject,video,onset,offset,emotion,onset\ns,v,1,9,positive,5\n")
    with pytest.raises(DataError, match="column onset is there 2 times"):
        read_intervals_csv(table)
