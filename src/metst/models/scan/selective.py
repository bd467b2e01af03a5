"""The selective scan of Mamba for torch: one entry, implementations chosen by what is there.

A torch operator has the compiled loops of :mod:`metst.models.scan.numpy_scan` for tensors on the processor, and the
Triton kernels of :mod:`metst.models.scan.triton_scan` for those on a graphics processor.  Without Triton these go to
``mamba-ssm`` where it is installed; everything else goes to :func:`reference_scan`.  :func:`implementation` decides.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal, cast, overload

import torch
from torch import Tensor
from torch.nn import functional

from metst.errors import DataError
from metst.models.scan.checks import check_operands
from metst.models.scan.operator import scan_operator

Implementation = Literal["operator", "mamba-ssm", "definition"]


def reference_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    *,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Step through the recurrence with plain tensor operations: the definition, on any device and dtype.

    Parameters and results as those of :func:`selective_scan`, always with the last state.
    """
    if delta_bias is not None:
        delta = delta + delta_bias
    if delta_softplus:
        delta = functional.softplus(delta, threshold=40.0)  # from the default of 20 on it would be off by 2e-9
    # Unbound once: an index per step would make the backward pass quadratic in T.
    decay = torch.exp(delta.unsqueeze(-1) * A).unbind(1)
    drive = ((delta * u).unsqueeze(-1) * B.unsqueeze(2)).unbind(1)
    state = torch.zeros_like(drive[0]) if initial_state is None else initial_state
    outputs = []
    for decay_t, drive_t, C_t in zip(decay, drive, C.unbind(1), strict=True):
        state = decay_t * state + drive_t
        outputs.append(torch.einsum("bdn,bn->bd", state, C_t))
    y = torch.stack(outputs, dim=1) + D * u
    return (y if z is None else y * functional.silu(z)), state


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    *,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
    return_last_state: Literal[False] = False,
) -> Tensor: ...
@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    *,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
    return_last_state: Literal[True],
) -> tuple[Tensor, Tensor]: ...
@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    *,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
    return_last_state: bool,
) -> Tensor | tuple[Tensor, Tensor]: ...
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    *,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
    return_last_state: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Selective scan of Mamba: ``h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t``, ``y_t = C_t h_t + D u_t``.

    Source: Gu and Dao, arXiv 2312.00752, algorithm 2, with the simplified discretisation of ``B`` of its released code.
    Differentiable once, by all tensors.  Under ``torch.autocast``, operands of 16 bits are scanned in single precision.

    Parameters
    ----------
    u, delta : (B, T, D) tensor
        Input and step size of ``B`` sequences of ``T`` steps in ``D`` channels, float32 or float64 like all operands.
    A : (D, N) tensor
        Rates of the ``N`` states of each channel, not positive.
    B, C : (B, T, N) tensor
        Input and output maps.
    D : (D,) tensor
        Weight of the input in the output.
    z : (B, T, D) tensor, optional
        Gate: the output is multiplied by ``SiLU(z)``.
    delta_bias : (D,) tensor, optional
        Added to ``delta`` before the softplus.
    delta_softplus : bool
        Whether the step size is ``softplus(delta + delta_bias)``; without it, it must not be negative.
    initial_state : (B, D, N) tensor, optional
        State before the first step, zero by default.
    return_last_state : bool
        Whether to return the last state too: as initial state of the next piece it gives the bits of the whole.

    Returns
    -------
    y : (B, T, D) tensor
    last_state : (B, D, N) tensor, only with ``return_last_state``

    Raises
    ------
    DataError
        When an operand has the wrong shape, dtype, device or (on the processor) values.
    """
    required = {"u": u, "delta": delta, "A": A, "B": B, "C": C, "D": D}
    optional = {"z": z, "delta_bias": delta_bias, "initial_state": initial_state}
    mixed = u.device.type in ("cpu", "cuda") and torch.is_autocast_enabled(u.device.type)
    given = {name: _whole(tensor, mixed) for name, tensor in (required | optional).items() if tensor is not None}
    _check(given)
    with torch.autocast(u.device.type, enabled=False) if mixed else nullcontext():
        y, state = _scanned(given, delta_softplus=delta_softplus, return_last_state=return_last_state)
    return (y, state) if return_last_state else y


def _scanned(given: dict[str, Tensor], *, delta_softplus: bool, return_last_state: bool) -> tuple[Tensor, Tensor]:
    """Output and last state, which has no elements where it was not wanted and need not be made."""
    u = given["u"]
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given.values())
    chosen = implementation(
        u.device.type, u.dtype, initial="initial_state" in given, through_state=keep and return_last_state
    )
    if chosen == "operator":
        required = [given[name] for name in ("u", "delta", "A", "B", "C", "D")]
        optional = (given.get(name) for name in ("z", "delta_bias", "initial_state"))
        y, state, *_ = scan_operator(required, *optional, delta_softplus, return_last_state, keep)
        return y, state
    if chosen == "mamba-ssm":
        return _on_gpu(_fused_scan(), given, delta_softplus=delta_softplus)
    return reference_scan(**given, delta_softplus=delta_softplus)


def implementation(device: str, dtype: torch.dtype, *, initial: bool, through_state: bool) -> Implementation:
    """Which implementation scans tensors.

    Parameters
    ----------
    device : str
        Type of their device.
    dtype : torch.dtype
        Of all of them.
    initial : bool
        Whether there is an initial state.
    through_state : bool
        Whether gradients may come in through the last state.

    Returns
    -------
    {"operator", "mamba-ssm", "definition"}
        The torch operator: on the processor, and on a graphics processor in single precision where Triton is there; the
        kernel of ``mamba-ssm`` where that is installed, which knows neither an initial state nor such gradients; or
        :func:`reference_scan`.
    """
    if device in ("cpu", "meta"):
        return "operator"
    if device != "cuda" or dtype != torch.float32:
        return "definition"
    if _has_triton():
        return "operator"
    return "definition" if initial or through_state or _fused_scan() is None else "mamba-ssm"


def _whole(tensor: Tensor, mixed: bool) -> Tensor:
    """In single precision where the precision is mixed: a state sums up over many steps."""
    return tensor.float() if mixed and tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _check(operands: dict[str, Tensor]) -> None:
    """Shapes, dtypes and devices; values are checked where the loops read them."""
    check_operands(operands)
    device = operands["u"].device
    for name, tensor in operands.items():
        if tensor.device != device:
            raise DataError(f"all operands must be on one device: {name} is on {tensor.device}, u on {device}")


@functools.cache
def _has_triton() -> bool:
    """Whether the Triton kernels can be imported: Triton comes with the CUDA builds of torch."""
    try:
        importlib.import_module("metst.models.scan.triton_scan")
    except (ImportError, OSError):
        return False
    return True


@functools.cache
def _fused_scan() -> Callable[..., Any] | None:
    """The CUDA kernel of ``mamba-ssm``, or None where it is not installed or does not fit this torch."""
    try:
        module = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
    except (ImportError, OSError):
        return None
    return cast(Callable[..., Any], module.selective_scan_fn)


def _on_gpu(
    fused: Callable[..., Any] | None, given: dict[str, Tensor], *, delta_softplus: bool
) -> tuple[Tensor, Tensor]:
    """``mamba-ssm`` has time as the last axis and starts from a zero state."""
    assert fused is not None
    turned = {name: given[name].transpose(1, 2).contiguous() for name in ("u", "delta", "B", "C", "z") if name in given}
    y, state = fused(**given | turned, delta_softplus=delta_softplus, return_last_state=True)
    return y.transpose(1, 2), state
