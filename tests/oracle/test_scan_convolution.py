"""The causal convolution before the scan against a loop written here, numerical gradients, and torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.rounding import assert_within_rounding
from metst.errors import UsageError
from metst.models.scan import causal_convolution
from metst.models.scan.convolution import convolve, convolve_backward
from metst.models.scan.convolution_operator import convolution_operator, reference_convolution

ROUNDING = 16
"""Units of rounding; 1.3 were seen in values and 3.2 in gradients."""

SHAPES = [(1, 1, 3, 4), (2, 7, 5, 4), (3, 40, 70, 4), (2, 3, 128, 6), (2, 9, 64, 1)]
"""Sequences, frames, channels (below, above and at a block of lanes), taps (also more than frames)."""


def tensors(shape: tuple[int, int, int, int], *, past: bool, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    batch, frames, channels, taps = shape
    generator = torch.Generator().manual_seed(0)
    sizes = {"xz": (batch, frames, 2 * channels), "weight": (channels, 1, taps), "bias": (channels,)}
    if past:
        sizes["past"] = (batch, taps - 1, channels)
    return {name: torch.randn(size, generator=generator, dtype=dtype).requires_grad_() for name, size in sizes.items()}


def loop(a: dict[str, Tensor]) -> np.ndarray:
    """Frame by frame and tap by tap."""
    xz, weight, bias = (a[name].detach().numpy().astype(np.float64) for name in ("xz", "weight", "bias"))
    channels, taps = bias.size, weight.shape[2]
    before = a["past"].detach().numpy() if "past" in a else np.zeros((len(xz), taps - 1, channels))
    frames = np.concatenate([before, xz[:, :, :channels]], axis=1)
    sums = np.zeros_like(xz[:, :, :channels]) + bias
    for t in range(xz.shape[1]):
        for k in range(taps):
            sums[:, t] += weight[:, 0, k] * frames[:, t + k]
    return sums / (1 + np.exp(-sums))


@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_equal_those_of_the_loop(shape: tuple[int, int, int, int], past: bool, dtype: torch.dtype) -> None:
    a = tensors(shape, past=past, dtype=dtype)
    x, gate = causal_convolution(a["xz"], a.get("past"), weight=a["weight"], bias=a["bias"])
    assert_within_rounding(x.detach(), loop(a), units=ROUNDING)
    assert torch.equal(gate, a["xz"][:, :, shape[2] :])


@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_equal_those_of_torch(shape: tuple[int, int, int, int], past: bool) -> None:
    gradients = []
    for function in (causal_convolution, reference_convolution):
        a = tensors(shape, past=past)
        x, gate = function(a["xz"], a.get("past"), weight=a["weight"], bias=a["bias"])
        steps = torch.linspace(0, 9, x.numel(), dtype=x.dtype).view_as(x)
        ((x * steps.sin()).sum() + (gate * steps.cos()).sum()).backward()
        gradients.append({name: tensor.grad for name, tensor in a.items() if tensor.numel()})
    for name, wanted in gradients[1].items():
        assert_within_rounding(gradients[0][name], wanted, units=ROUNDING)


@pytest.mark.parametrize("past", [False, True])
def test_numerical_gradients_and_the_rules_of_torch(past: bool) -> None:
    a = tensors((2, 5, 3, 4), past=past)
    arguments = (a["xz"], a.get("past"), a["weight"], a["bias"])
    assert torch.autograd.gradcheck(convolution_operator, arguments)
    torch.library.opcheck(convolution_operator, arguments)
    (gradient,) = torch.autograd.grad(convolution_operator(*arguments)[0].sum(), a["xz"], create_graph=True)
    with pytest.raises(UsageError, match="once"):
        gradient.sum().backward()


def test_pieces_with_their_past_give_the_bits_of_the_whole() -> None:
    a = tensors((2, 23, 70, 4), past=False, dtype=torch.float32)
    with torch.no_grad():
        whole, _ = causal_convolution(a["xz"], None, weight=a["weight"], bias=a["bias"])
        first, second = a["xz"].split([9, 14], dim=1)
        past = first[:, -3:, :70]
        pieces = [
            causal_convolution(piece, before, weight=a["weight"], bias=a["bias"])[0]
            for piece, before in ((first, None), (second, past))
        ]
    assert torch.equal(torch.cat(pieces, dim=1), whole)


def test_threads_do_not_change_a_bit() -> None:
    rng = np.random.default_rng(0)
    xz, weight, bias = (rng.standard_normal(size).astype(np.float32) for size in ((16, 300, 512), (4, 256), (256,)))
    results = []
    for threads in (1, 2, 3):
        x, gate = convolve(xz, None, weight=weight, bias=bias, threads=threads)
        gradients = convolve_backward(xz, None, weight=weight, bias=bias, grad_x=x, grad_gate=gate, threads=threads)
        results.append([x, gate, *(part for part in gradients if part is not None)])
    for other in results[1:]:
        for got, wanted in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_other_dtypes_go_to_torch() -> None:
    a = tensors((2, 7, 5, 4), past=False)
    x, _ = causal_convolution(
        a["xz"].to(torch.bfloat16), None, weight=a["weight"].to(torch.bfloat16), bias=a["bias"].to(torch.bfloat16)
    )
    assert x.dtype == torch.bfloat16
    np.testing.assert_allclose(x.detach().to(torch.float64).numpy(), loop(a), atol=0.1)
