"""How well coders agree: against scikit-learn, a published example, other ways to the same figure, and by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from metst.errors import UsageError
from metst.metrics.agreement import (
    MISSING,
    NONE,
    Coded,
    Pair,
    agreement,
    cohen_kappa,
    frame_classes,
    krippendorff_alpha,
    matched_intervals,
)
from metst.metrics.matching import interval_iou, match_intervals

_ = MISSING
# Four coders, twelve units, five classes, some missing: the example by which Krippendorff's "Computing Krippendorff's
# Alpha-Reliability" (2011, part C) explains the nominal alpha, which is 0.743 there.
KRIPPENDORFF = np.array([
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
])  # fmt: skip


def coded(*events: tuple[int, int, int, str]) -> Coded:
    """Of onset, apex, offset (0-based, half-open) and label."""
    onset, apex, offset = (np.array([event[k] for event in events], dtype=np.int64) for k in range(3))
    return Coded(onset, apex, offset, tuple(event[3] for event in events))


@st.composite
def sides(draw: st.DrawFn) -> Coded:
    events = []
    for _ in range(draw(st.integers(0, 8))):
        onset = draw(st.integers(0, 90))
        offset = draw(st.integers(onset + 1, 100))
        apex = draw(st.just(MISSING) | st.integers(onset, offset - 1))
        events.append((onset, apex, offset, draw(st.sampled_from("xyz"))))
    return coded(*events)


def test_the_published_example_of_alpha() -> None:
    assert krippendorff_alpha(KRIPPENDORFF) == pytest.approx(0.743, abs=5e-4)


@given(st.lists(st.lists(st.integers(-1, 3), min_size=3, max_size=3), min_size=1, max_size=25))
@settings(deadline=None)
def test_alpha_is_that_of_all_pairs_of_values(units: list[list[int]]) -> None:
    """Observed: pairs within units, each unit by its values; expected: pairs of all values that can be paired."""
    values = np.array(units).T
    kept = [[v for v in unit if v >= 0] for unit in units]
    kept = [unit for unit in kept if len(unit) > 1]
    alpha = krippendorff_alpha(values)
    if not kept:
        assert alpha is None
        return
    every = [v for unit in kept for v in unit]
    observed = sum(sum(a != b for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in kept) / len(
        every
    )
    pairs = list(itertools.permutations(every, 2))
    expected = sum(a != b for a, b in pairs) / len(pairs)
    assert alpha == pytest.approx(1 if expected == 0 else 1 - observed / expected)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
@settings(deadline=None)
def test_kappa_is_that_of_scikit_learn(units: list[tuple[int, int]]) -> None:
    one, other = np.array(units).T
    table = confusion_matrix(one, other, labels=range(4))
    if len(set(one) | set(other)) == 1:
        assert cohen_kappa(table) == 1
    else:
        assert cohen_kappa(table) == pytest.approx(cohen_kappa_score(one, other))


def test_nothing_agrees_about_nothing() -> None:
    assert cohen_kappa(np.zeros((2, 2), dtype=int)) is None
    assert krippendorff_alpha(np.array([[0, 1, -1], [-1, -1, 2]])) is None


@given(sides(), sides(), st.sampled_from([0.2, 0.5, 0.75]))
@settings(deadline=None)
def test_figures_of_two_coders(one: Coded, other: Coded, iou: float) -> None:
    found = agreement([Pair(one, other, frames=100, time_s=np.arange(100) / 25)], iou=iou)
    ends = [np.stack([each.onset, each.offset - 1], axis=1) for each in (one, other)]
    matched = match_intervals(interval_iou(*ends), threshold=iou)  # over the whole table of IoUs
    assert found["matched"] == len(matched)
    assert (found["only_a"], found["only_b"]) == (len(one.label) - len(matched), len(other.label) - len(matched))
    assert np.sum(found["confusion"]) == found["matched"] + found["only_a"] + found["only_b"]
    first, second = (_painted(each) for each in (one, other))
    if len({*first, *second}) > 1:
        assert found["kappa_frames"] == pytest.approx(cohen_kappa_score(first, second))
    assert found["agreement_frames"] == np.mean([a == b for a, b in zip(first, second, strict=True)])
    back = agreement([Pair(other, one, frames=100)], iou=iou)
    for name in ("kappa", "kappa_frames", "alpha", "f1", "matched", "mean_iou"):
        assert back[name] == pytest.approx(found[name])
    assert np.array_equal(np.transpose(back["confusion"]), found["confusion"])


def _painted(side: Coded) -> list[str]:
    frames = [NONE] * 100
    for onset, _, offset, label in sorted(
        zip(side.onset, range(len(side.label)), side.offset, side.label, strict=True)
    ):
        frames[onset:offset] = [label] * (offset - onset)
    return frames


@given(sides())
@settings(deadline=None)
def test_a_coder_agrees_with_the_same_coder(one: Coded) -> None:
    found = agreement([Pair(one, one, frames=100)])
    assert found["kappa_frames"] == found["alpha"] == 1
    assert (found["only_a"], found["only_b"]) == (0, 0)
    if len(one.label):
        assert found["f1"] == found["mean_iou"] == 1
        assert found["onset"]["frames"]["mean"] == found["offset"]["frames"]["median"] == 0


def test_figures_by_hand() -> None:
    one = coded((10, 14, 20, "x"), (40, 44, 50, "x"), (70, MISSING, 80, "y"))
    other = coded((12, 15, 20, "x"), (41, MISSING, 53, "y"), (90, 92, 95, "y"))
    time_s = np.arange(100) / 50
    found = agreement([Pair(one, other, frames=100, time_s=time_s), Pair(one, one, frames=100, time_s=time_s)])
    assert (found["recordings"], found["frames"], found["labels"]) == (2, 200, ["x", "y", "none"])
    # x-x (once, and twice in the second recording), x-y, y of one alone, y of the other alone, y-y
    assert found["confusion"] == [[3, 1, 0], [0, 1, 1], [0, 1, 0]]
    assert (found["events_a"], found["events_b"], found["matched"], found["agreed"]) == (6, 6, 5, 4)
    assert (found["f1"], found["f1_labelled"]) == (pytest.approx(10 / 12), pytest.approx(8 / 12))
    rows = ["x"] * 4 + ["y"] * 2 + ["none"]
    columns = ["x"] * 3 + ["y", "y", "none"] + ["y"]
    assert found["kappa"] == pytest.approx(cohen_kappa_score(rows, columns))
    assert found["onset"]["pairs"] == 5
    assert found["onset"]["frames"]["mean"] == pytest.approx((2 + 1) / 5)
    assert found["offset"]["seconds"]["mean_absolute"] == pytest.approx((0 + 3) / 50 / 5)
    assert found["apex"]["pairs"] == 3
    assert found["apex"]["frames"]["upper_quartile"] == 0.5
    assert found["mean_iou"] == pytest.approx((8 / 10 + 9 / 13 + 3) / 5)


def test_several_recordings_are_pooled_and_not_mixed() -> None:
    one, other = coded((10, MISSING, 20, "x")), coded((60, MISSING, 70, "x"))
    apart = agreement([Pair(one, other, frames=80), Pair(other, one, frames=80)])
    assert (apart["matched"], apart["kappa"]) == (0, pytest.approx(-1))
    assert apart["onset"] == {"pairs": 0, "frames": None, "seconds": None}
    with pytest.raises(UsageError, match="at least one recording"):
        agreement([])


def test_the_event_that_begins_last_has_the_frame() -> None:
    both = coded((5, MISSING, 9, "y"), (2, MISSING, 8, "x"))
    assert frame_classes(both, frames=10, labels=["x", "y"]).tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2, 0]


@pytest.mark.parametrize("iou", [0.0, -1.0, 1.5, float("nan")])
def test_an_iou_that_is_none(iou: float) -> None:
    with pytest.raises(UsageError, match="IoU"):
        matched_intervals(np.zeros((0, 2), dtype=int), np.zeros((0, 2), dtype=int), iou=iou)


def test_ten_thousand_events_of_each() -> None:
    onset = np.arange(10_000) * 30
    intervals = np.stack([onset, onset + 15], axis=1)
    assert len(matched_intervals(intervals, intervals + 3)) == 10_000
