"""Smoothing over time against SciPy's Gaussian filter."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from metst.synthesis.smoothing import gaussian_over_time


@pytest.mark.parametrize("shape", [(50, 3), (7, 4), (120, 18, 2), (1, 2)])
@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.3, 30.0])
@pytest.mark.parametrize(("ends", "mode"), [("hold", "nearest"), ("wrap", "wrap"), ("mirror", "reflect")])
def test_smoothing_is_that_of_scipy(shape, sigma, ends, mode):
    values = np.random.default_rng(3).standard_normal(shape)
    smooth = gaussian_over_time(values, sigma=sigma, ends=ends)
    np.testing.assert_allclose(smooth, gaussian_filter1d(values, sigma, axis=0, mode=mode), atol=1e-12)
