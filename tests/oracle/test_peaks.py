"""Peaks and odds against SciPy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import signal, special

from metst.decode import odds
from metst.published.rule import find_peaks

levels = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.5000001, 0.9])  # plateaus and ties are common


@given(arrays(np.float64, st.integers(1, 60), elements=levels), st.floats(-1, 1), st.integers(1, 20))
@settings(max_examples=300, deadline=None)
def test_peaks_are_those_of_scipy(curve, height, distance):
    expected, _ = signal.find_peaks(curve, height=height, distance=distance)
    np.testing.assert_array_equal(find_peaks(curve, height=height, distance=distance), expected)


def test_peaks_of_a_long_noisy_curve_are_those_of_scipy():
    curve = np.random.default_rng(4).standard_normal(20_000)
    expected, _ = signal.find_peaks(curve, height=0.4, distance=17)
    np.testing.assert_array_equal(find_peaks(curve, height=0.4, distance=17), expected)


def test_odds_are_those_of_scipy():
    values = np.array([-800.0, -40.0, -3.0, 0.0, 1e-9, 2.5, 40.0, 800.0])
    np.testing.assert_allclose(odds.probability(values), special.expit(values), rtol=1e-15)
    assert odds.probability(values.astype(np.float32)).dtype == np.float32
    shares = np.array([1e-300, 1e-6, 0.3, 0.5, 1 - 1e-6])
    np.testing.assert_allclose(odds.log_odds(shares), special.logit(shares), rtol=1e-12, atol=1e-15)
    logits = np.random.default_rng(0).normal(scale=30, size=(7, 5))
    np.testing.assert_allclose(odds.class_probabilities(logits), special.softmax(logits, axis=1), rtol=1e-14)


def test_two_distributions_are_pooled_as_their_geometric_mean():
    shares = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    np.testing.assert_allclose(odds.pooled_shares(shares, shares), shares, rtol=1e-6)
    mixed = odds.pooled_shares(shares, shares[::-1])
    geometric = np.sqrt(shares * shares[::-1])
    np.testing.assert_allclose(mixed, geometric / geometric.sum(axis=1, keepdims=True), rtol=1e-6)
    certain = np.array([[1.0, 0.0, 0.0]])
    assert np.isfinite(odds.pooled_shares(certain, shares[:1])).all()
