"""Refuses operands that a selective scan cannot use, arrays and tensors alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from metst.errors import DataError
from metst.models.scan.rows import Array, first_outside

# Axes of each operand; the letters are those of the room.
_SEQUENCES = {
    "u": ("B", "T", "D"),
    "delta": ("B", "T", "D"),
    "A": ("D", "N"),
    "B": ("B", "T", "N"),
    "C": ("B", "T", "N"),
    "D": ("D",),
    "z": ("B", "T", "D"),
    "delta_bias": ("D",),
    "initial_state": ("B", "D", "N"),
    "state": ("B", "D", "N"),
}
_AXIS_NAMES = {"B": "sequences", "T": "steps", "D": "channels", "N": "states"}  # for messages
_DTYPES = ("float32", "float64")  # that the loops are compiled for


def check_operands(operands: Mapping[str, Any]) -> None:
    """Refuse operands whose shapes or dtypes do not fit each other.

    Parameters
    ----------
    operands : mapping of str to array or tensor
        Those that are there, by the names of :func:`metst.models.scan.selective_scan`; ``u`` and ``A`` set the sizes.

    Raises
    ------
    DataError
        Naming the operand, the shape or dtype expected, and what came.
    """
    sizes = {axis: size for name in ("u", "A") for axis, size in _sizes(name, operands[name]).items()}
    for axis, size in sizes.items():
        if size == 0:
            raise DataError(f"a selective scan needs at least one of its {_AXIS_NAMES[axis]}, got none: skip the call")
    dtype = _dtype(operands["u"])
    for name, operand in operands.items():
        wanted = tuple(sizes[axis] for axis in _SEQUENCES[name])
        if tuple(operand.shape) != wanted:
            axes = _describe(_SEQUENCES[name])
            raise DataError(f"{name} must have shape {wanted} {axes} to fit u and A, got {tuple(operand.shape)}")
        if _dtype(operand) not in _DTYPES or _dtype(operand) != dtype:
            raise DataError(f"all operands must be float32, or all float64: {name} is {_dtype(operand)}, u is {dtype}")


def check_values(operands: Mapping[str, Array], *, delta_softplus: bool) -> None:
    """Refuse values that a scan cannot use: not finite, ``A > 0``, or negative step sizes.

    Raises
    ------
    DataError
        Naming the operand and the first index.
    """
    for name, operand in operands.items():
        _check_range(name, operand, highest=0.0 if name == "A" else np.inf)
    if not delta_softplus and "delta_bias" in operands:
        _check_range("delta + delta_bias", operands["delta"] + operands["delta_bias"], lowest=0.0)
    elif not delta_softplus:
        _check_range("delta", operands["delta"], lowest=0.0)


def _sizes(name: str, operand: Any) -> dict[str, int]:
    axes, shape = _SEQUENCES[name], tuple(operand.shape)
    if len(shape) != len(axes):
        raise DataError(f"{name} of a selective scan must have {len(axes)} axes {_describe(axes)}, got shape {shape}")
    return dict(zip(axes, shape, strict=True))


def _describe(axes: tuple[str, ...]) -> str:
    return f"({', '.join(_AXIS_NAMES[axis] for axis in axes)})"


def _dtype(operand: Any) -> str:
    return str(operand.dtype).removeprefix("torch.")


def _check_range(name: str, operand: Array, *, lowest: float = -np.inf, highest: float = np.inf) -> None:
    largest = float(np.finfo(operand.dtype).max)
    low, high = max(lowest, -largest), min(highest, largest)
    if first_outside(operand.ravel(order="K"), low, high) < 0:
        return
    flat = operand.ravel()
    at = first_outside(flat, low, high)
    index, value = tuple(int(k) for k in np.unravel_index(at, operand.shape)), flat[at]
    if not np.isfinite(value):
        raise DataError(f"{name} must be finite, got {value} at index {index}")
    if name == "A":
        raise DataError(f"A must not be positive, or states grow without bound; got {value} at index {index}")
    raise DataError(f"{name} must not be negative without delta_softplus, got {value} at index {index}")
