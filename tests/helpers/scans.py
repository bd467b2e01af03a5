"""Operands of selective scans, and the recurrence step by step: what every implementation is compared with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[np.floating]

VALUE_TOLERANCE = 2e-6
"""Largest difference relative to the largest value, in single precision."""
GRADIENT_TOLERANCE = 5e-6
"""The same of gradients."""


def loop(a: dict[str, Array], *, delta_softplus: bool) -> tuple[Array, Array]:
    """The recurrence, step by step in float64."""
    a = {name: operand.astype(np.float64) for name, operand in a.items()}
    step = a["delta"] + a.get("delta_bias", 0.0)
    step = np.logaddexp(0.0, step) if delta_softplus else step
    batch, length, width = a["u"].shape
    state = a.get("initial_state", np.zeros((batch, width, a["A"].shape[1])))
    y = np.empty((batch, length, width))
    for t in range(length):
        drive = (step[:, t] * a["u"][:, t])[..., None] * a["B"][:, t, None, :]
        state = np.exp(step[:, t, :, None] * a["A"]) * state + drive
        y[:, t] = (state * a["C"][:, t, None, :]).sum(-1) + a["D"] * a["u"][:, t]
    if "z" in a:
        y *= a["z"] / (1 + np.exp(-a["z"]))
    return y, state


def operands(
    shape: tuple[int, int, int, int],
    *,
    gate: bool = False,
    bias: bool = False,
    initial: bool = False,
    softplus: bool = True,
    seed: int = 0,
    dtype: type[np.floating] = np.float32,
) -> dict[str, Array]:
    """Random operands; without softplus the step sizes are as small as a trained model's."""
    batch, length, width, states = shape
    rng = np.random.default_rng(seed)
    a = {
        "u": rng.standard_normal((batch, length, width)),
        "delta": rng.standard_normal((batch, length, width)) - 1.0,
        "A": -rng.uniform(0.05, 4.0, (width, states)),
        "B": rng.standard_normal((batch, length, states)),
        "C": rng.standard_normal((batch, length, states)),
        "D": rng.standard_normal(width),
    }
    if not softplus:
        a["delta"] = np.exp(a["delta"] - 2.0)
    if gate:
        a["z"] = 2 * rng.standard_normal((batch, length, width))
    if bias:
        a["delta_bias"] = np.abs(rng.standard_normal(width))
    if initial:
        a["initial_state"] = rng.standard_normal((batch, width, states))
    return {name: operand.astype(dtype) for name, operand in a.items()}


def tensors(a: dict[str, Array], *, grad: bool = False, dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(operand, dtype=dtype).requires_grad_(grad) for name, operand in a.items()}


def distance(found: Array | torch.Tensor, wanted: Array | torch.Tensor) -> float:
    """Largest difference relative to the largest value."""
    found, wanted = np.asarray(found, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-30))
