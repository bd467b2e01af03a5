"""Recordings that cannot be measured are refused; those that hardly could be are told of."""

from __future__ import annotations

import numpy as np
import pytest

from metst.errors import VideoError
from metst.results import usable_problem
from metst.timeline import TimeGrid
from metst.video import check_measurable


@pytest.mark.parametrize(
    ("count", "rate_hz", "words"),
    [
        (0, 30, r"a\.mp4 is too short .* 0 frame\(s\)"),
        (1, 30, r"a\.mp4 is too short .* 1 frame\(s\)"),
        (5, 30, "too short"),
        (300, 100_000, "too short"),
        (300, 1200, "1200 frames per second: motion can be measured at 5 to 1000"),
        (30, 1, "1 frames per second"),
    ],
)
def test_what_cannot_be_measured_is_refused(count: int, rate_hz: float, words: str) -> None:
    with pytest.raises(VideoError, match=words):
        check_measurable(TimeGrid.uniform(count, rate_hz=rate_hz), name="a.mp4")


@pytest.mark.parametrize(("count", "rate_hz"), [(6, 30), (2, 5), (300, 1000)])
def test_what_can_be_measured_passes(count: int, rate_hz: float) -> None:
    check_measurable(TimeGrid.uniform(count, rate_hz=rate_hz), name="a.mp4")


def test_less_than_half_usable_is_told_with_the_main_reason() -> None:
    reasons = [""] * 49 + ["no face"] * 30 + ["face lost"] * 21
    expected = "a.mp4: only 49% of the frames could be used; main reason: no face (30%)"
    assert usable_problem(reasons, name="a.mp4") == expected
    assert usable_problem(["no face"] * 7, name="a").startswith("a: only 0% ")  # type: ignore[union-attr]


@pytest.mark.parametrize("bad", [0, 1, 50])
def test_half_usable_or_more_is_not_told(bad: int) -> None:
    assert usable_problem(np.repeat(["", "no face"], [100 - bad, bad]).tolist(), name="a") is None
