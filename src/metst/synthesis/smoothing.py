"""Smoothing over time."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from metst.arrays import Float64Array

_REACH = 4.0  # standard deviations of the Gaussian that are kept on each side, 99.994 % of it


def gaussian_over_time(values: Float64Array, *, sigma: float, ends: Literal["hold", "wrap", "mirror"]) -> Float64Array:
    """Smooth along the first axis.

    Parameters
    ----------
    values : (T, ...) float64
        What is smoothed.
    sigma : float
        Standard deviation of the Gaussian, frames.
    ends : {"hold", "wrap", "mirror"}
        What lies beyond the first and the last frame: that frame, the other end, or the way back.
    """
    reach = int(_REACH * sigma + 0.5)
    if reach == 0:
        return values
    kernel = cv2.getGaussianKernel(2 * reach + 1, sigma, cv2.CV_64F)
    mode = {"hold": "edge", "wrap": "wrap", "mirror": "symmetric"}[ends]
    flat = values.reshape(len(values), -1)
    padded = np.pad(flat, ((reach, reach), (0, 0)), mode=mode)  # type: ignore[call-overload]
    smooth = cv2.sepFilter2D(np.ascontiguousarray(padded), cv2.CV_64F, np.ones(1), kernel)
    return np.asarray(smooth.reshape(len(padded), -1)[reach : reach + len(values)].reshape(values.shape))
