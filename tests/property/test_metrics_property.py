"""The scorers against plain loops, and the figures against scikit-learn."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from metst.metrics import SCORERS, Bootstrap, interval_iou, match_intervals, score_tables

CLASSES = ("negative", "positive", "surprise", "others")

rows = st.builds(
    lambda subject, video, onset, length, emotion: (subject, video, onset, onset + length, emotion),
    st.sampled_from(["s1", "s2"]),
    st.sampled_from(["v1", "v2"]),
    st.integers(1, 30),
    st.integers(0, 15),
    st.sampled_from(CLASSES),
)
tables = st.lists(rows, max_size=7, unique=True)
thresholds = st.sampled_from([0.2, 1 / 3, 0.5, 0.7, 1.0])


def iou(one, other):
    if one[:2] != other[:2]:
        return 0.0
    first, second = (set(range(row[2], row[3] + 1)) for row in (one, other))
    return len(first & second) / len(first | second)


def loops(predictions, truth, *, scorer, threshold):
    """Hits (prediction, truth) of the scorers that go through the table once."""
    hits, taken = [], set()
    order = range(len(predictions))
    if scorer == "greedy":
        order = sorted(order, key=lambda p: predictions[p][2])
    for p in order:
        overlaps = [iou(predictions[p], row) for row in truth]
        near = [t for t, value in enumerate(overlaps) if value >= threshold]
        if scorer == "greedy":
            near = [t for t in near if overlaps[t] == max(overlaps)][-1:]
        for t in near:
            if scorer == "many-to-many" or t not in taken:
                hits.append((p, t))
                taken.add(t)
    return hits


def best_matching(predictions, truth, *, threshold):
    """Size and total IoU of the best one-to-one matching, by trying all of them."""
    overlaps = [[iou(p, t) for t in truth] for p in predictions]
    best = (0, 0.0)
    small, large = sorted([range(len(predictions)), range(len(truth))], key=len)
    flipped = len(predictions) > len(truth)
    for chosen in itertools.permutations(large, len(small)):
        values = [overlaps[j][i] if flipped else overlaps[i][j] for i, j in zip(small, chosen, strict=True)]
        hits = [value for value in values if value >= threshold]
        best = max(best, (len(hits), sum(hits)))
    return best


@given(tables.map(lambda t: t[:5]), tables.map(lambda t: t[:5]), thresholds)
@settings(max_examples=200, deadline=None)
def test_strict_is_the_best_of_all_one_to_one_matchings(predictions, truth, threshold):
    result = score_tables(predictions, truth, scorer="strict", iou=threshold)["spotting"]
    size, total = best_matching(predictions, truth, threshold=threshold)
    assert (result["tp"], result["fp"], result["fn"]) == (size, len(predictions) - size, len(truth) - size)
    assert result["mean_iou"] * size == pytest.approx(total)
    assert sum(result["false_alarms"].values()) == result["fp"]
    assert sum(result["misses"].values()) == result["fn"]


@given(tables, tables, thresholds, st.sampled_from(["greedy", "many-to-many", "megc"]))
@settings(deadline=None)
def test_the_other_scorers_do_what_their_loops_do(predictions, truth, threshold, scorer):
    if scorer == "megc":
        subjects = {row[0] for row in predictions}
        kept_truth = [row for row in truth if row[0] in subjects]
        kept = [row for row in predictions if row[:2] in {t[:2] for t in kept_truth}]
    else:
        kept_truth, kept = truth, predictions
    hits = loops(kept, kept_truth, scorer=scorer, threshold=threshold)
    result = score_tables(predictions, truth, scorer=scorer, iou=threshold, classes=CLASSES)
    counts = (len(hits), len(kept) - len({p for p, _ in hits}), len(kept_truth) - len(hits))
    assert tuple(result["spotting"][name] for name in ("tp", "fp", "fn")) == counts
    confusion = np.zeros((4, 5), dtype=int)
    for p, t in hits:
        confusion[CLASSES.index(kept_truth[t][4]), CLASSES.index(kept[p][4])] += 1
    assert result["recognition"]["confusion"] == confusion.tolist()


@given(st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_recognition_figures_are_those_of_scikit_learn(labels):
    """Every interval is found, so all classes are compared; a class outside of the set is dropped."""
    truth = [("s", "v", 10 * i + 1, 10 * i + 9, true) for i, (true, _) in enumerate(labels)]
    predictions = [("s", "v", 10 * i + 1, 10 * i + 9, predicted) for i, (_, predicted) in enumerate(labels)]
    for classes in (CLASSES, CLASSES[:3]):
        result = score_tables(predictions, truth, classes=classes)["recognition"]
        kept = [(true, predicted) for true, predicted in labels if true in classes]
        if not kept:
            assert result["f1"] == result["uf1"] == result["uar"] == 0
            continue
        options = {"labels": list(classes), "average": "macro", "zero_division": 0}
        true, predicted = zip(*kept, strict=True)
        precision, recall = precision_score(true, predicted, **options), recall_score(true, predicted, **options)
        assert result["uf1"] == pytest.approx(f1_score(true, predicted, **options))
        assert (result["precision"], result["recall"], result["uar"]) == pytest.approx((precision, recall, recall))
        total = precision + recall
        assert result["f1"] == pytest.approx(2 * precision * recall / total if total else 0)


@given(tables, tables, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_strict_does_not_depend_on_the_order_of_rows(predictions, truth, random):
    before = score_tables(predictions, truth)["spotting"]
    random.shuffle(predictions)
    random.shuffle(truth)
    after = score_tables(predictions, truth)["spotting"]
    assert after.pop("mean_iou") == pytest.approx(before.pop("mean_iou"))
    assert after == before


@given(tables, st.sampled_from(SCORERS))
@settings(deadline=None)
def test_the_truth_itself_is_a_perfect_prediction(truth, scorer):
    apart = [(s, v, 100 * i + on, 100 * i + off, emotion) for i, (s, v, on, off, emotion) in enumerate(truth)]
    result = score_tables(apart, apart, scorer=scorer, iou=1.0)["spotting"]
    assert (result["tp"], result["fp"], result["fn"]) == (len(truth), 0, 0)
    assert result["f1"] == (1 if truth else 0)


@given(tables, tables)
@settings(deadline=None)
def test_dense_and_sparse_matching_agree(predictions, truth):
    """The matrix form, as for one video, finds as many hits as the table form."""
    ends = [np.array([row[2:4] for row in table], dtype=np.int64).reshape(-1, 2) for table in (predictions, truth)]
    overlaps = interval_iou(*ends)
    pairs = match_intervals(overlaps, threshold=0.5)
    one_video = [[("s", "v", *row[2:4], str(i)) for i, row in enumerate(table)] for table in (predictions, truth)]
    result = score_tables(*one_video, iou=0.5)["spotting"]
    assert len(pairs) == result["tp"]
    assert overlaps[pairs[:, 0], pairs[:, 1]].sum() == pytest.approx(result["mean_iou"] * len(pairs))


def drawn_copies(subjects, *, seed):
    """For each of eight resamples the subjects drawn, each with the number of its copy."""
    size = len(subjects)
    for counts in np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=8):
        yield [(name, i) for name, count in zip(subjects, counts, strict=True) for i in range(count)]


def copied(table, *, copies):
    return [(f"{name}#{i}", *row[1:]) for name, i in copies for row in table if row[0] == name]


@given(tables, tables, st.integers(0, 100), st.sampled_from(SCORERS))
@settings(max_examples=20, deadline=None)
def test_confidence_intervals_are_those_of_resampled_tables(predictions, truth, seed, scorer):
    """The same subjects drawn, their rows copied out under new names and scored anew."""
    result = score_tables(predictions, truth, scorer=scorer, classes=CLASSES, bootstrap=Bootstrap(8, seed=seed))
    # Subjects are drawn in the order in which they appear, predictions first.
    subjects = list(dict.fromkeys(row[0] for row in predictions + truth))
    if scorer == "megc":
        subjects = [s for s in subjects if all(s in {row[0] for row in table} for table in (predictions, truth))]
    if len(subjects) < 2:
        assert result["confidence_intervals"] == {}
        return
    strs, f1 = [], []
    for copies in drawn_copies(subjects, seed=seed):
        resampled = [copied(table, copies=copies) for table in (predictions, truth)]
        scored = score_tables(*resampled, scorer=scorer, classes=CLASSES, bootstrap=0)
        strs.append(scored["strs"])
        f1.append(scored["spotting"]["f1"])
    assert result["confidence_intervals"]["strs"] == pytest.approx(np.percentile(strs, (2.5, 97.5)))
    assert result["confidence_intervals"]["spotting_f1"] == pytest.approx(np.percentile(f1, (2.5, 97.5)))


@given(tables, tables, tables, st.integers(0, 100), st.sampled_from(["strict", "greedy", "many-to-many"]))
@settings(max_examples=30, deadline=None)
def test_paired_differences_are_those_of_resampled_tables(predictions, against, truth, seed, scorer):
    options = {"scorer": scorer, "classes": CLASSES, "iou": 0.3}
    result = score_tables(predictions, truth, against=against, bootstrap=Bootstrap(8, seed=seed), **options)["against"]
    subjects = list(dict.fromkeys(row[0] for row in predictions + against + truth))
    plain = [score_tables(table, truth, bootstrap=0, **options) for table in (predictions, against)]
    assert (result["strs"], result["spotting"]["f1"]) == (plain[1]["strs"], plain[1]["spotting"]["f1"])
    change = {name: result["difference"][name] for name in ("strs", "spotting_f1", "recognition_f1")}
    assert change["strs"]["value"] == pytest.approx(plain[0]["strs"] - plain[1]["strs"])
    if len(subjects) < 2:
        assert all("interval" not in figure for figure in result["difference"].values())
        return
    differences = []
    for copies in drawn_copies(subjects, seed=seed):
        first, second = (
            score_tables(copied(table, copies=copies), copied(truth, copies=copies), bootstrap=0, **options)
            for table in (predictions, against)
        )
        pairs = [
            (first["strs"], second["strs"]),
            (first["spotting"]["f1"], second["spotting"]["f1"]),
            (first["recognition"]["f1"], second["recognition"]["f1"]),
        ]
        differences.append([one - other for one, other in pairs])
    expected = np.percentile(differences, (2.5, 97.5), axis=0).T
    assert np.array([figure["interval"] for figure in change.values()]) == pytest.approx(expected, abs=1e-12)


crowds = st.lists(
    st.builds(
        lambda subject, onset, length: (subject, "v1", onset, onset + length, "negative"),
        st.sampled_from(["s1", "s1", "s1", "s2"]),
        st.integers(1, 8),
        st.integers(3, 8),
    ),
    max_size=8,
    unique=True,
)
"""Intervals that overlap, so that predictions compete."""


def sure(rows):
    """The same tables with a confidence."""
    return rows.flatmap(
        lambda table: st.lists(st.integers(0, 5), min_size=len(table), max_size=len(table)).map(
            lambda levels: [(*row, level / 5) for row, level in zip(table, levels, strict=True)]
        )
    )


both_sure = st.one_of(st.tuples(sure(tables), tables), st.tuples(sure(crowds), crowds))


@pytest.mark.parametrize("scorer", SCORERS)
@given(both=both_sure, threshold=st.sampled_from([0.2, 0.5]))
@settings(max_examples=80, deadline=None)
def test_each_point_of_the_curve_is_the_table_scored_up_to_there(both, threshold, scorer):
    predictions, truth = both
    options = {"scorer": scorer, "iou": threshold, "bootstrap": 0}
    if not predictions:
        return
    curve = score_tables(predictions, truth, **options)["curve"]
    assert curve["threshold"] == sorted({row[5] for row in predictions}, reverse=True)
    every = [row[:2] for row in predictions]
    for i, level in enumerate(curve["threshold"]):
        kept = [row[:5] for row in predictions if row[5] >= level]
        scored = score_tables(kept, truth, videos=every, **options)
        for name in ("tp", "fp", "fn", "precision", "recall", "f1", "false_alarms_per_video"):
            assert curve[name][i] == pytest.approx(scored["spotting"][name]), name
    best = max(curve["f1"])
    assert curve["best"]["f1"] == best
    assert curve["best"]["threshold"] == curve["threshold"][curve["f1"].index(best)]


@given(both_sure, thresholds, st.sampled_from(["strict", "greedy"]), st.sampled_from([0.0, 0.4, 0.8]))
@settings(max_examples=200, deadline=None)
def test_causes_are_what_their_words_say(both, threshold, scorer, least):
    predictions, truth = both
    spotting = score_tables(predictions, truth, scorer=scorer, iou=threshold, threshold=least, bootstrap=0)["spotting"]
    kept = [row for row in predictions if row[5] >= least]
    alarms = [max((iou(p[:5], t) for t in truth), default=0) for p in kept]
    assert spotting["false_alarms"]["background"] == sum(value == 0 for value in alarms)
    assert spotting["false_alarms"]["wrong_interval"] == sum(0 < value < threshold for value in alarms)
    assert sum(spotting["false_alarms"].values()) == spotting["fp"]
    best_kept = [max((iou(p[:5], t) for p in kept), default=0) for t in truth]
    any_at_all = [max((iou(p[:5], t) for p in predictions), default=0) for t in truth]
    pairs = list(zip(best_kept, any_at_all, strict=True))
    misses = spotting["misses"]
    assert misses["no_peak"] == sum(value == 0 for value in any_at_all)
    assert misses["below_threshold"] == sum(one < threshold <= other for one, other in pairs)
    assert misses["wrong_interval"] == sum(0 < value < threshold for value in any_at_all)
    assert sum(misses.values()) == spotting["fn"]


@given(tables, tables, st.sampled_from(SCORERS), st.sampled_from([None, 25.0]))
@settings(max_examples=100, deadline=None)
def test_every_breakdown_adds_up_to_the_whole(predictions, truth, scorer, rate_hz):
    result = score_tables(predictions, truth, scorer=scorer, iou=0.3, classes=CLASSES[:2], rate_hz=rate_hz, bootstrap=0)
    spotting = result["spotting"]
    whole = [spotting[name] for name in ("tp", "fp", "fn")]
    for rows in (spotting["per_class"].values(), spotting["per_duration"], result["per_subject"].values()):
        assert [sum(row[name] for row in rows) for name in ("tp", "fp", "fn")] == whole
    assert sum(row["pairs"] for row in result["per_subject"].values()) == result["recognition"]["pairs"]
    assert sum(row["right"] for row in result["per_subject"].values()) == result["recognition"]["tp"]
    assert sum(row["videos"] for row in result["per_subject"].values()) == result["videos"]["counted"]
    if scorer != "megc":
        # Of one subject alone the same as in the whole.
        for name, figures in result["per_subject"].items():
            own = [[row for row in table if row[0] == name] for table in (predictions, truth)]
            alone = score_tables(*own, scorer=scorer, iou=0.3, bootstrap=0)["spotting"]
            assert {key: figures[key] for key in ("tp", "fp", "fn", "f1")} == {
                key: alone[key] for key in ("tp", "fp", "fn", "f1")
            }
