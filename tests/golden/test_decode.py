"""The published decoding rules against what the published code gave."""

import numpy as np
import pytest

from helpers.reference_values import cases
from metst.decode import majority_label, published_intervals

RULES = {"metst": "fixed", "bvrme": "extensible"}


@pytest.mark.parametrize("published", RULES)
def test_intervals_and_emotions_are_the_published_ones(published):
    for case in cases("decode_golden"):
        emotions = []
        for video, expected in zip(case["videos"], case[published]["intervals"], strict=True):
            intervals = published_intervals(video["score"], k_p=case["k_p"], rule=RULES[published])
            assert intervals.tolist() == expected
            emotions += [majority_label(video["emotion"], onset, offset) for onset, _, offset in intervals]
        assert emotions == case[published]["emotions"]


@pytest.mark.parametrize("published", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_none_of_these_intervals_hangs_on_rounding(published, seed):
    """Scores that are rounded otherwise, by a share of up to 1e-6: seventeen times what 32 bits may round.

    Equal scores stay equal, as rounding leaves them: the rules ask whether a score is above the one before.
    """
    for case in cases("decode_golden"):
        for video, expected in zip(case["videos"], case[published]["intervals"], strict=True):
            values, places = np.unique(video["score"], return_inverse=True)
            rounded = values * (1 + 1e-6 * np.random.default_rng(seed).uniform(-1, 1, len(values)))
            intervals = published_intervals(rounded[places], k_p=case["k_p"], rule=RULES[published])
            assert intervals.tolist() == expected
