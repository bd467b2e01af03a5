"""Linear layers and layer normalisation whose gradients do not depend on the number of threads.

PyTorch divides the sums over the rows of a batch among its threads, so that the gradient of a weight has other last
bits on two threads than on one.  Here these sums are taken over blocks of rows of one size, in a fixed order; the
results are those of PyTorch's layers up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_ROWS = 240
"""Of one block: few enough that the matrix library leaves the sum over them to one thread."""


class _FixedOrderLinear(torch.autograd.Function):
    """``rows (M, inputs)`` to ``(M, outputs)``."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return functional.linear(rows, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            grad @ weight if wanted[0] else None,
            _weight_gradient(grad, rows) if wanted[1] else None,
            grad.sum(dim=0) if wanted[2] else None,
        )


def _weight_gradient(grad: Tensor, rows: Tensor) -> Tensor:
    """``grad.T @ rows``, block by block."""
    count = len(rows) // _ROWS
    whole = count * _ROWS
    if count == 0:
        return grad.T @ rows
    blocks = (part[:whole].reshape(count, _ROWS, part.shape[1]) for part in (grad, rows))
    total = torch.bmm(next(blocks).transpose(1, 2), next(blocks)).sum(dim=0)
    return total if whole == len(rows) else total + grad[whole:].T @ rows[whole:]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x (..., inputs)`` to ``(..., outputs)``, as :func:`torch.nn.functional.linear`; differentiable once."""
    if not torch.is_grad_enabled() or torch.compiler.is_compiling() or _is_in_one_order(x):
        return functional.linear(x, weight, bias)
    out: Tensor = _FixedOrderLinear.apply(x.flatten(0, -2), weight, bias)  # type: ignore[no-untyped-call]
    return out.view(*x.shape[:-1], len(weight))


def _is_in_one_order(x: Tensor) -> bool:
    """Whether PyTorch's own sums know no threads (another device), or are not to be the same (mixed precision)."""
    return x.device.type != "cpu" or torch.is_autocast_enabled("cpu")


class Linear(nn.Linear):
    """``x (..., inputs)`` to ``(..., outputs)``."""

    def forward(self, x: Tensor) -> Tensor:
        """See :func:`linear`."""
        return linear(x, self.weight, self.bias)


class LayerNorm(nn.LayerNorm):
    """Layer normalisation over the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        """``x (..., channels)`` to the same shape."""
        if not torch.is_grad_enabled():
            return super().forward(x)
        return torch.addcmul(self.bias, functional.layer_norm(x, self.normalized_shape, eps=self.eps), self.weight)
