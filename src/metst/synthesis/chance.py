"""Numbers and courses over time, drawn by chance."""

from __future__ import annotations

import numpy as np

from metst.arrays import Float64Array
from metst.synthesis.smoothing import gaussian_over_time


def log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """A number whose logarithm is uniform between those of the bounds."""
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def smooth_noise(rng: np.random.Generator, *, shape: tuple[int, ...], sigma: float) -> Float64Array:
    """Unit-variance noise smoothed over time with a Gaussian of ``sigma`` frames."""
    values = gaussian_over_time(rng.standard_normal(shape), sigma=sigma, ends="wrap")
    return np.asarray(values * np.sqrt(2 * sigma * np.sqrt(np.pi)))
