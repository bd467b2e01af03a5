"""How far apart two ways to compute the same numbers may be: in units of rounding of their size."""

from __future__ import annotations

from typing import Any

import numpy as np


def rounding_errors(found: Any, expected: Any, *, size: float | None = None) -> float:
    """Largest difference in units of rounding, ``eps(dtype) * size``.

    Parameters
    ----------
    found, expected : array_like
        Arrays or tensors of one shape; the coarser of the two dtypes counts.  Numbers that are missing (NaN) must be
        missing in both.
    size : float, optional
        Size of the numbers; the largest expected one when absent.
    """
    a, b = np.asarray(found), np.asarray(expected)
    assert a.shape == b.shape, f"expected shape {b.shape}, got {a.shape}"
    unit = max(float(np.finfo(each.dtype).eps) for each in (a, b) if each.dtype.kind == "f")
    missing = np.isnan(b)
    np.testing.assert_array_equal(np.isnan(a), missing)
    a, b = a[~missing].astype(np.float64), b[~missing].astype(np.float64)
    size = float(np.abs(b).max(initial=0)) if size is None else size
    worst = float(np.abs(a - b).max(initial=0))
    return worst / (unit * size) if worst else 0.0


def assert_within_rounding(found: Any, expected: Any, *, units: float, size: float | None = None) -> None:
    """At most ``units`` units of rounding apart, see `rounding_errors`."""
    __tracebackhide__ = True
    worst = rounding_errors(found, expected, size=size)
    assert worst <= units, f"{worst:.1f} units of rounding apart, allowed are {units}"
