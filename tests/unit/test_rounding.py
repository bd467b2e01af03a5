"""The comparison that other tests rest on can fail."""

import numpy as np
import pytest

from helpers.rounding import assert_within_rounding, rounding_errors

EPS = np.finfo(np.float32).eps


def test_errors_are_counted_in_units_of_the_largest_value() -> None:
    expected = np.array([4.0, 0.5, np.nan], np.float32)
    assert rounding_errors(expected + np.float32([0, 8 * EPS, 0]), expected) == 2
    assert rounding_errors(expected + np.float32([0, 8 * EPS, 0]), expected, size=1) == 8
    assert rounding_errors(expected, expected) == 0


@pytest.mark.parametrize("found", [[4.0, 0.5 + 16 * EPS, np.nan], [4.0, np.nan, np.nan], [4.0, 0.5, 1.0], [4.0, 0.5]])
def test_what_is_further_apart_or_missing_or_of_another_shape_fails(found: list[float]) -> None:
    with pytest.raises(AssertionError):
        assert_within_rounding(np.float32(found), np.float32([4.0, 0.5, np.nan]), units=3)
