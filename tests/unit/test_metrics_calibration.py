"""Calibration error, and the same for another rate of micro-expressions."""

import numpy as np
import pytest

from metst.config import DecodeSettings
from metst.decode import odds
from metst.errors import UsageError
from metst.metrics.calibration import confidence_bins, expected_calibration_error, weights_for_rate

HELD, EXPECTED = 8.0, 1.0


def candidates(seed: int = 0, *, count: int = 200_000) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds of candidates and which of them are right: as often as their log-odds say."""
    rng = np.random.default_rng(seed)
    height = rng.normal(0.5, 2.0, count)
    return height, rng.random(count) < odds.probability(height)


def error_of(confidence: np.ndarray, right: np.ndarray, weight: np.ndarray | None = None) -> float:
    return expected_calibration_error(confidence_bins(confidence, right=right, weight=weight))


def test_it_is_the_mean_distance_by_hand() -> None:
    confidence = np.array([0.91, 0.95, 0.2, 0.24, 1.0])
    right = np.array([True, False, False, True, True])
    # Means 0.22 against 1/2 for two, 2.86 / 3 against 2/3 for three.
    assert error_of(confidence, right) == pytest.approx((2 * 0.28 + 3 * (2.86 / 3 - 2 / 3)) / 5)
    assert np.isnan(error_of(np.zeros(0), np.zeros(0, bool)))


def test_what_counts_twice_counts_as_if_it_were_there_twice() -> None:
    height, right = candidates(count=500)
    confidence, times = odds.probability(height), np.where(right, 3, 1)
    weight = weights_for_rate(right, held_per_min=2.0, expected_per_min=6.0)
    repeated = error_of(np.repeat(confidence, times), np.repeat(right, times))
    assert error_of(confidence, right, weight) == pytest.approx(repeated, rel=1e-12)
    plain = weights_for_rate(right, held_per_min=2.0, expected_per_min=2.0)
    assert error_of(confidence, right, plain) == error_of(confidence, right)


def test_confidences_for_a_rate_are_right_in_the_mix_of_that_rate() -> None:
    """The oracle: recordings that really hold fewer, of which the same false candidates stay."""
    height, right = candidates()
    settings = DecodeSettings(calibrated_per_min=HELD).expecting(EXPECTED)
    told = odds.probability(height + settings.offset)
    weighted = error_of(told, right, weights_for_rate(right, held_per_min=HELD, expected_per_min=EXPECTED))
    stay = ~right | (np.random.default_rng(1).random(len(right)) < EXPECTED / HELD)
    drawn = error_of(told[stay], right[stay])
    assert weighted == pytest.approx(drawn, abs=0.005)
    assert weighted < 0.01
    # Neither without the weights nor with the confidences of the old rate.
    assert error_of(told, right) > 0.2
    old = odds.probability(height)
    assert error_of(old, right, weights_for_rate(right, held_per_min=HELD, expected_per_min=EXPECTED)) > 0.2


@pytest.mark.parametrize("rates", [(0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0), (1.0, float("inf"))])
def test_rates_that_are_none_are_refused(rates: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="above 0"):
        weights_for_rate(np.array([True]), held_per_min=rates[0], expected_per_min=rates[1])
