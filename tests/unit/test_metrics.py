import json
import time

import numpy as np
import pandas as pd
import pytest

from metst.errors import DataError, UsageError
from metst.metrics import SCORERS, interval_iou, match_intervals, read_intervals_csv, score_tables, tables_for_people

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
    videos = score_tables(predictions, truth, scorer="strict")["videos"]
    assert videos == {"counted": 4, "without_truth": 2, "ignored": 0}
    assert score_tables(predictions, truth, scorer="megc")["videos"] == {"counted": 1, "without_truth": 0, "ignored": 3}


def test_listed_videos_belong_to_the_split():
    result = score_tables([], [row(1, 20)], videos=[("s2", "calm"), ("s1", "v1")])
    assert result["videos"] == {"counted": 2, "without_truth": 1, "ignored": 0}
    assert result["subjects"] == 2


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
    assert result["false_alarms"] == {"background": 1, "interval": 1, "duplicate": 1}
    assert result["misses"] == {"unseen": 2, "interval": 1, "taken": 0}
    assert result["mean_iou"] == 1.0


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize(("predictions", "truth"), [([], []), ([row(1, 9)], []), ([], [row(1, 9)])])
def test_empty_tables_score_zero(scorer, predictions, truth):
    result = score_tables(predictions, truth, scorer=scorer, bootstrap=5)
    assert (result["strs"], result["spotting"]["f1"], result["recognition"]["f1"]) == (0, 0, 0)
    json.dumps(result, allow_nan=False)


def test_the_result_says_how_it_was_made():
    result = score_tables([row(1, 20)], [row(1, 20)], scorer="greedy", iou=0.3, classes=[" Negative", "positive"])
    assert {name: result[name] for name in ("scorer", "iou", "classes", "frame_base", "interval_convention")} == {
        "scorer": "greedy",
        "iou": 0.3,
        "classes": ["negative", "positive"],
        "frame_base": 1,
        "interval_convention": "inclusive",
    }


def test_tables_for_people_show_every_figure():
    result = score_tables([row(1, 20), row(50, 60)], [row(1, 20)], classes=CLASSES, bootstrap=10)
    tables = tables_for_people(result)
    assert all(len(cells) == len(columns) for _, columns, rows in tables for cells in rows)
    title, columns, rows = tables[0]
    assert title == "Spotting: strict, IoU >= 0.5, 1 videos"
    assert dict(zip(columns, rows[0], strict=True)) == {
        "hits": "1",
        "false alarms": "1",
        "misses": "0",
        "precision": "0.5000",
        "recall": "1.0000",
        "F1": "0.6667",
        "mean IoU": "1.0000",
    }
    assert any("resamples" in title for title, _, _ in tables)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scorer": "fair"}, "unknown scorer 'fair': expected one of strict, greedy, many-to-many, megc"),
        ({"iou": 0.0}, "above 0"),
        ({"iou": 1.5}, "at most 1"),
        ({"classes": ()}, "got none"),
        ({"classes": ("positive", "Positive")}, "once each"),
        ({"bootstrap": -1}, "negative"),
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
        emotion = rng.choice(CLASSES, len(onset))
        columns = {"subject": "s", "video": "v", "onset": moved, "offset": moved + length, "emotion": emotion}
        return pd.DataFrame(columns).drop_duplicates()

    predictions, truth = table(10), table(0)
    began = time.process_time()
    result = score_tables(predictions, truth, scorer="strict")
    assert time.process_time() - began < 1
    assert result["spotting"]["tp"] > 8000


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
    frame = pd.DataFrame({"subject": ["a", None], "video": "v", "onset": [1, np.nan], "offset": 9, "emotion": "other"})
    with pytest.raises(DataError, match=r"truth has 2 faults: row 2, column onset: .* row 2, column subject"):
        score_tables([], frame)
    with pytest.raises(DataError, match="predictions has 1 fault: row 2: expected the values subject, video"):
        score_tables([row(1, 9), ("s", "v", 1, 2)], [])
    assert frame.index.tolist() == [0, 1]


def test_more_faults_than_anyone_reads_are_counted():
    with pytest.raises(DataError, match=r"predictions has 80 faults: .*; and 30 more$"):
        score_tables([row(i, -1) for i in range(1, 81)], [])


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
