"""The compiled causal convolution as torch operators, with gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from metst.models.scan.convolution import convolve, convolve_backward
from metst.models.scan.operator import as_array, refuse_second, register, save_nothing, usable_threads
from metst.models.scan.rows import Array


def _taps(weight: Tensor) -> Array:
    """``(K, D)`` of the weight ``(D, 1, K)`` of a grouped convolution."""
    return as_array(weight[:, 0].T)


def _convolve(xz: Tensor, past: Tensor | None, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    before = None if past is None else as_array(past)
    x, gate = convolve(as_array(xz), before, weight=_taps(weight), bias=as_array(bias), threads=usable_threads())
    return torch.from_numpy(x), torch.from_numpy(gate)


def _convolve_shapes(xz: Tensor, past: Tensor | None, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    del past, weight
    shape = (xz.shape[0], xz.shape[1], bias.shape[0])
    return xz.new_empty(shape), xz.new_empty(shape)


def _convolve_backward(
    grad_x: Tensor, grad_gate: Tensor, xz: Tensor, past: Tensor | None, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients in the order of the arguments of the operator; that of an absent ``past`` has no elements."""
    grad_xz, grad_past, grad_weight, grad_bias = convolve_backward(
        as_array(xz),
        None if past is None else as_array(past),
        weight=_taps(weight),
        bias=as_array(bias),
        grad_x=as_array(grad_x),
        grad_gate=as_array(grad_gate),
        threads=usable_threads(),
    )
    return (
        torch.from_numpy(grad_xz),
        xz.new_empty(0) if grad_past is None else torch.from_numpy(grad_past),
        torch.from_numpy(grad_weight).T.unsqueeze(1).contiguous(),
        torch.from_numpy(grad_bias),
    )


def _convolve_backward_shapes(
    grad_x: Tensor, grad_gate: Tensor, xz: Tensor, past: Tensor | None, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    del grad_x, grad_gate
    grad_past = xz.new_empty(0 if past is None else past.shape)
    return xz.new_empty(xz.shape), grad_past, weight.new_empty(weight.shape), bias.new_empty(bias.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    del output
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad_x: Tensor, grad_gate: Tensor) -> tuple[Tensor | None, ...]:
    xz, past, weight, bias = ctx.saved_tensors
    grad_xz, grad_past, grad_weight, grad_bias = _backward_operator(grad_x, grad_gate, xz, past, weight, bias)
    return grad_xz, None if past is None else grad_past, grad_weight, grad_bias


_backward_operator = register("causal_convolution_backward", _convolve_backward, _convolve_backward_shapes)
convolution_operator = register("causal_convolution", _convolve, _convolve_shapes)
"""``x`` and ``gate`` of :func:`metst.models.scan.convolution.convolve`, from ``xz, past, weight (D, 1, K), bias``."""

torch.library.register_autograd("metst::causal_convolution_backward", refuse_second, setup_context=save_nothing)
torch.library.register_autograd("metst::causal_convolution", _differentiate, setup_context=_save)


def causal_convolution(xz: Tensor, past: Tensor | None, *, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Causal convolution of each channel with SiLU, and the gate that comes with it (arXiv 2312.00752, figure 3).

    Parameters
    ----------
    xz : (B, T, 2 D) tensor
        Frames; in each the channels to convolve, then as many of the gate.
    past : (B, K - 1, D) tensor or None
        Channels of the frames before the first one; zero when None.
    weight : (D, 1, K) tensor
        Of a grouped convolution.
    bias : (D,) tensor
        Added before the activation.

    Returns
    -------
    x : (B, T, D) tensor
        Convolved and activated.
    gate : (B, T, D) tensor
        As it came.
    """
    if xz.device.type in ("cpu", "meta") and xz.dtype in (torch.float32, torch.float64):
        x, gate = convolution_operator(xz, past, weight, bias)
        return x, gate
    return reference_convolution(xz, past, weight=weight, bias=bias)


def reference_convolution(xz: Tensor, past: Tensor | None, *, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The same with plain tensor operations, on any device and dtype."""
    x, gate = xz.chunk(2, dim=-1)
    channels, taps = bias.shape[0], weight.shape[2]
    before = x.new_zeros(x.shape[0], taps - 1, channels) if past is None else past
    frames = torch.cat([before, x], dim=1).transpose(1, 2)
    return functional.silu(functional.conv1d(frames, weight, bias, groups=channels)).transpose(1, 2), gate
