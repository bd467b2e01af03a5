"""The published decoding rules against what the published code gave."""

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
