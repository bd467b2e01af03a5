"""Products and inverses of matrices, each sum in an order that never changes; and the median of a few values.

Libraries of linear algebra share a product among threads and choose its order by the processor; the last digits then
differ from run to run and from machine to machine, and a face near a threshold is followed another way.  Here every
element is summed term after term.  Loops run along rows, so that the compiler vectorises over elements and need not
reorder sums: the kernels are compiled without ``fastmath``.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from metst.guard.kernels import kernel

_Real = TypeVar("_Real", np.float32, np.float64)


def product(one: npt.NDArray[_Real], other: npt.NDArray[_Real]) -> npt.NDArray[_Real]:
    """Matrix product ``(M, K) x (K, N) -> (M, N)``."""
    out = np.zeros((one.shape[0], other.shape[1]), one.dtype)
    _add_product(np.ascontiguousarray(one), np.ascontiguousarray(other), out)
    return out


def inverse(matrix: npt.NDArray[_Real]) -> npt.NDArray[_Real]:
    """Inverse of a symmetric positive definite matrix ``(N, N)``; only the upper triangle is read."""
    swept = np.array(matrix, order="C")
    _sweep(swept, np.empty(len(swept), swept.dtype))
    return swept


def median(values: npt.NDArray[_Real]) -> float:
    """Median of a few values ``(N,)``; NumPy's own takes some ten times as long."""
    ordered = np.sort(values)
    return float((ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2)


@kernel()
def _add_product(one: npt.NDArray[_Real], other: npt.NDArray[_Real], out: npt.NDArray[_Real]) -> None:
    """Add a product to ``out``."""
    last = np.uint64(out.shape[1])
    for i in range(out.shape[0]):
        for k in range(one.shape[1]):
            share = one[i, k]
            if share != 0:  # masks and splines are mostly zeros
                for j in range(last):
                    out[i, j] += share * other[k, j]


@kernel()
def _sweep(matrix: npt.NDArray[_Real], line: npt.NDArray[_Real]) -> None:
    """Replace a matrix by its inverse: Gauss-Jordan elimination of the upper triangle, one pivot after the other."""
    size = np.uint64(len(matrix))
    for k in range(size):
        for j in range(k):
            line[j] = matrix[j, k]
        for j in range(k, size):
            line[j] = matrix[k, j]
        pivot = line[k]
        for i in range(size):
            if i != k:
                share = line[i] / pivot
                for j in range(i, size):
                    matrix[i, j] -= share * line[j]
        for j in range(k):
            matrix[j, k] = line[j] / pivot
        for j in range(k + np.uint64(1), size):
            matrix[k, j] = line[j] / pivot
        matrix[k, k] = -1 / pivot
    for i in range(size):
        for j in range(i, size):
            matrix[i, j] = -matrix[i, j]
            matrix[j, i] = matrix[i, j]
