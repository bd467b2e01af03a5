"""Splits by subject: nobody on both sides, everybody tested once, the same whatever the order."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metst.errors import UsageError
from metst.training.folds import Fold, grouped_k_fold, inner_split, leave_one_subject_out

subjects = st.lists(st.text(min_size=1, max_size=4), min_size=2, max_size=12, unique=True)


@given(subjects, st.randoms())
def test_each_subject_is_left_out_once(names: list[str], order: random.Random) -> None:
    folds = leave_one_subject_out(names)
    assert [fold.name for fold in folds] == sorted(names)
    for fold in folds:
        assert fold.test == (fold.name,)
        assert sorted((*fold.train, *fold.test)) == sorted(names)
    again = [*names, names[0]]
    order.shuffle(again)
    assert leave_one_subject_out(again) == folds


@given(subjects, st.integers(2, 12), st.integers(0, 3))
def test_parts_are_even_and_test_everybody_once(names: list[str], count: int, seed: int) -> None:
    count = min(count, len(names))
    folds = grouped_k_fold(names, folds=count, seed=seed)
    assert folds == grouped_k_fold(reversed(names), folds=count, seed=seed)
    assert sorted(name for fold in folds for name in fold.test) == sorted(names)
    sizes = [len(fold.test) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    for fold in folds:
        assert sorted((*fold.train, *fold.test)) == sorted(names)


def test_another_seed_draws_other_parts() -> None:
    names = [f"s{number}" for number in range(20)]
    drawn = {grouped_k_fold(names, folds=4, seed=seed)[0].test for seed in range(5)}
    assert len(drawn) > 1


@given(subjects, st.floats(0.01, 0.99))
def test_validation_subjects_are_some_of_the_training_subjects(names: list[str], share: float) -> None:
    fitted, held = inner_split(names, share=share)
    assert fitted
    assert held
    assert sorted((*fitted, *held)) == sorted(names)
    assert (fitted, held) == inner_split(reversed(names), share=share)


def test_a_subject_on_both_sides_is_named() -> None:
    with pytest.raises(UsageError, match="fold a: subject b, c is on both sides"):
        Fold("a", ("b", "c", "d"), ("c", "a", "b"))


def test_splits_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match=r"2 parts needs as many subjects, got 1 \(anna\)"):
        leave_one_subject_out(["anna", "anna"])
    with pytest.raises(UsageError, match="5 parts needs as many subjects, got 3"):
        grouped_k_fold("abc", folds=5, seed=0)
    with pytest.raises(UsageError, match="2 or more, or loso"):
        grouped_k_fold("abc", folds=1, seed=0)
    with pytest.raises(UsageError, match="between 0 and 1"):
        inner_split("abc", share=1.0)
