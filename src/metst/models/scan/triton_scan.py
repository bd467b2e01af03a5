"""The selective scan of torch tensors by the kernels for a graphics processor.

The two halves have the arguments and results of those on the processor, see :mod:`metst.models.scan.operator`, in
single precision only.  Values are not checked: that would wait for the device.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from metst.models.scan import triton_kernels as kernels
from metst.models.scan.numpy_scan import checkpoint_shape
from metst.models.scan.rows import CHUNK

_FIRST_VERSION = (3, 3)
"""Of Triton whose kernels take tuples; torch 2.7 brings it."""
if tuple(int(part) for part in triton.__version__.split(".")[:2]) < _FIRST_VERSION:
    raise ImportError(f"the kernels need Triton {_FIRST_VERSION}, this is {triton.__version__}")

_CHANNELS = 32
"""Of one program: the lanes of a warp, so that a row of them is one access to memory; not tuned on a device."""
_STATES_PER_WARP = 16
"""States of each channel that one warp keeps.  With 16 the backward pass fills the registers of a thread (252 of 255
for compute capability 9.0, by ptxas), with 32 it spills.
"""
_MOST_WARPS = 8
"""Of one program: more would halve the registers of a thread."""

Results = tuple[Tensor, Tensor, Tensor, Tensor]
Optional = tuple[Tensor | None, Tensor | None, Tensor | None]
"""``z``, ``delta_bias`` and ``initial_state``."""


def scan(
    required: list[Tensor],
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    delta_softplus: bool,
    return_last_state: bool,
    keep: bool,
) -> Results:
    """Output, last state, output before the gate and checkpoints; what is not wanted has no elements."""
    u, states = required[0], required[2].shape[1]
    batch, length, width = u.shape
    y = u.new_empty(u.shape)
    last = u.new_empty(batch, states, width) if return_last_state else None
    ungated = u.new_empty(u.shape) if keep and z is not None else None
    checkpoints = u.new_empty(checkpoint_shape((batch, length, width), states)) if keep else None
    with _device_of(u):
        kernels.forward[_grid(u)](
            _operands(required, z, delta_bias),
            _turned(initial_state),
            (y, ungated, checkpoints, last),
            (length, width, states),
            SOFTPLUS=delta_softplus,
            **shape_of_program(states),
        )
    return (
        y,
        u.new_empty(0) if last is None else last.transpose(1, 2),
        u.new_empty(0, 0, 0) if ungated is None else ungated,
        u.new_empty(0, 0, 0, 0) if checkpoints is None else checkpoints,
    )


def scan_backward(
    grad_y: Tensor,
    grad_state: Tensor | None,
    required: list[Tensor],
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    saved: list[Tensor],
    delta_softplus: bool,
) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    """Gradients of the operands, as they come; those of absent ones have no elements."""
    u, states = required[0], required[2].shape[1]
    batch, length, width = u.shape
    ungated, checkpoints = saved
    if checkpoints.shape != checkpoint_shape((batch, length, width), states) or (z is not None and not ungated.numel()):
        # The forward pass was told that no gradient would be wanted.
        *_, ungated, checkpoints = scan(required, z, delta_bias, initial_state, delta_softplus, False, True)
    of_u, of_delta, of_z = (u.new_empty(u.shape) for _ in range(3))
    of_B, of_C = (u.new_empty(triton.cdiv(width, _CHANNELS), batch, length, states) for _ in range(2))
    of_A, of_initial = (u.new_empty(batch, states, width) for _ in range(2))
    of_D, of_bias = (u.new_empty(batch, width) for _ in range(2))
    with _device_of(u):
        kernels.backward[_grid(u)](
            _operands(required, z, delta_bias),
            (_turned(initial_state), checkpoints, ungated, u.new_empty(batch, min(CHUNK, length), states, width)),
            (grad_y.contiguous(), _turned(grad_state)),
            (of_u, of_delta, of_z, of_B, of_C),
            (of_A, of_D, of_bias, of_initial),
            (length, width, states),
            SOFTPLUS=delta_softplus,
            **shape_of_program(states),
        )
    none = u.new_empty(0)
    return (
        [of_u, of_delta, of_A.sum(dim=0).T.contiguous(), of_B.sum(dim=0), of_C.sum(dim=0), of_D.sum(dim=0)],
        none if z is None else of_z,
        none if delta_bias is None else of_bias.sum(dim=0),
        none if initial_state is None else of_initial.transpose(1, 2),
    )


def _device_of(u: Tensor) -> torch.cuda.device:
    """Kernels are launched on the present device: make it that of a tensor; without effect on the processor."""
    return torch.cuda.device(u.device.index if u.is_cuda else -1)


def _operands(required: list[Tensor], z: Tensor | None, delta_bias: Tensor | None) -> tuple[Tensor | None, ...]:
    """As the kernels want them."""
    u, delta, A, B, C, D = required
    given = (u, delta, z, delta_bias, A.T, B, C, D)
    return tuple(None if tensor is None else tensor.contiguous() for tensor in given)


def _turned(state: Tensor | None) -> Tensor | None:
    """``(B, N, D)`` from ``(B, D, N)``."""
    return None if state is None else state.transpose(1, 2).contiguous()


def _grid(u: Tensor) -> tuple[int, int]:
    return triton.cdiv(u.shape[2], _CHANNELS), u.shape[0]


def shape_of_program(states: int) -> dict[str, Any]:
    """Steps of a chunk, the block of a program, and how it is compiled."""
    block = triton.next_power_of_2(states)
    warps = min(max(block // _STATES_PER_WARP, 1), _MOST_WARPS)
    return {
        "CHUNK": CHUNK, "BLOCK_N": block, "BLOCK_D": _CHANNELS, "num_warps": warps, "enable_fp_fusion": True,
    }  # fmt: skip
