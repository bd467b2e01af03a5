"""The published decoding rules against what the published code gave."""

import json
from pathlib import Path

import pytest

from metst.decode import majority_label, published_intervals

GOLDEN = Path(__file__).parents[2].parent / "shared" / "official" / "decode_golden.json"
pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason=f"{GOLDEN} is not there")

RULES = {"metst": "fixed", "bvrme": "extensible"}


@pytest.mark.parametrize("published", RULES)
def test_intervals_and_emotions_are_the_published_ones(published):
    cases = json.loads(GOLDEN.read_text())
    assert cases
    for case in cases:
        emotions = []
        for video, expected in zip(case["videos"], case[published]["intervals"], strict=True):
            intervals = published_intervals(video["score"], k_p=case["k_p"], rule=RULES[published])
            assert intervals.tolist() == expected
            emotions += [majority_label(video["emotion"], onset, offset) for onset, _, offset in intervals]
        assert emotions == case[published]["emotions"]
