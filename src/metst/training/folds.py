"""Who is trained on and who is tested: splits by subject, so that no person is on both sides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from metst.errors import UsageError


@dataclass(frozen=True)
class Fold:
    """One part of a cross-validation.

    Parameters
    ----------
    name : str
        The test subject, or ``fold-3``.
    train, test : tuple of str
        Subjects, sorted; no subject is in both.

    Raises
    ------
    UsageError
        A subject is in both.
    """

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        if both := sorted(set(self.train) & set(self.test)):
            raise UsageError(f"fold {self.name}: subject {', '.join(both)} is on both sides of the split")


def leave_one_subject_out(subjects: Iterable[str]) -> tuple[Fold, ...]:
    """One fold per subject, in sorted order: it is tested, all others are trained on.

    Raises
    ------
    UsageError
        Fewer than two subjects.
    """
    names = _distinct(subjects, at_least=2)
    return tuple(Fold(name, tuple(other for other in names if other != name), (name,)) for name in names)


def grouped_k_fold(subjects: Iterable[str], *, folds: int, seed: int) -> tuple[Fold, ...]:
    """``folds`` parts whose numbers of test subjects differ by one at most; each subject is tested once.

    Raises
    ------
    UsageError
        Fewer than two folds, or more folds than subjects.
    """
    if folds < 2:
        raise UsageError(f"{folds} folds: expected 2 or more, or loso")
    names = _distinct(subjects, at_least=folds)
    drawn = _shuffled(names, seed=seed)
    parts = [tuple(sorted(drawn[k::folds])) for k in range(folds)]
    width = len(str(folds))
    return tuple(
        Fold(f"fold-{k + 1:0{width}}", tuple(name for name in names if name not in part), part)
        for k, part in enumerate(parts)
    )


def inner_split(subjects: Iterable[str], *, share: float, seed: int = 0) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Training subjects to fit on and to validate on, both sorted and neither empty.

    Parameters
    ----------
    subjects : iterable of str
        The training subjects of a fold.
    share : float
        Of the subjects that go to validation, in (0, 1); one at least, and not all.
    seed : int
        Of the draw.

    Raises
    ------
    UsageError
        Fewer than two subjects, or a share outside (0, 1).
    """
    if not 0 < share < 1:
        raise UsageError(f"share of validation subjects {share}: expected a number between 0 and 1")
    names = _distinct(subjects, at_least=2)
    count = min(max(round(share * len(names)), 1), len(names) - 1)
    held = set(_shuffled(names, seed=seed)[:count])
    return tuple(name for name in names if name not in held), tuple(sorted(held))


def _distinct(subjects: Iterable[str], *, at_least: int) -> tuple[str, ...]:
    names = tuple(sorted(set(subjects)))
    if len(names) < at_least:
        known = f" ({', '.join(names)})" if names else ""
        raise UsageError(f"a split by subject into {at_least} parts needs as many subjects, got {len(names)}{known}")
    return names


def _shuffled(names: tuple[str, ...], *, seed: int) -> list[str]:
    return [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
