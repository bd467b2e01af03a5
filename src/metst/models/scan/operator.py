"""The compiled scan as torch operators, so that autograd, ``torch.compile`` and ``torch.export`` know it.

On the processor they are Numba's loops, on a graphics processor Triton's kernels, which are imported when first called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from metst.errors import UsageError
from metst.models.scan.checks import check_values
from metst.models.scan.numpy_scan import Operands, Outputs, checkpoint_shape, plain, run_backward, run_forward
from metst.models.scan.rows import Array
from metst.threads import thread_limit


def as_array(tensor: Tensor) -> Array:
    """The values of a processor tensor as the compiled loops want them; copied only where they must be."""
    array: Array = tensor.detach().numpy()
    return plain(array)


def _operands(required: list[Tensor], z: Tensor | None, delta_bias: Tensor | None) -> Operands:
    optional = (None if tensor is None else as_array(tensor) for tensor in (z, delta_bias))
    return Operands(*map(as_array, required), *optional)


def _state(state: Tensor | None) -> Array | None:
    """In the layout ``(B, N, D)`` of the loops."""
    return None if state is None else as_array(state.transpose(1, 2))


def usable_threads() -> int:
    """Threads that torch and this process may use."""
    return min(torch.get_num_threads(), thread_limit())


def _scan(
    required: list[Tensor],
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    delta_softplus: bool,
    return_last_state: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Output, last state, output before the gate and checkpoints; what is not wanted has no elements.

    Operands as those of :func:`metst.models.scan.selective_scan`, ``required`` being ``u, delta, A, B, C, D``; ``keep``
    stores what the gradients need.  Optional ones come one by one: of a list with gaps torch takes no gradients.
    """
    u, A = required[0], required[2]
    operands, state = _operands(required, z, delta_bias), _state(initial_state)
    checked = operands.present() if state is None else operands.present() | {"initial_state": state.transpose(0, 2, 1)}
    check_values(checked, delta_softplus=delta_softplus)
    if state is not None:
        state = state.copy()  # the loops replace it, and the initial state is the caller's
    elif return_last_state:
        state = u.new_zeros(u.shape[0], A.shape[1], u.shape[2]).numpy()
    outputs = run_forward(operands, delta_softplus=delta_softplus, state=state, keep=keep, threads=usable_threads())
    wanted = state is not None and return_last_state
    last = torch.from_numpy(state).transpose(1, 2) if wanted else u.new_empty(0)
    return torch.from_numpy(outputs.y), last, torch.from_numpy(outputs.ungated), torch.from_numpy(outputs.checkpoints)


def _scan_shapes(
    required: list[Tensor],
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    delta_softplus: bool,
    return_last_state: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    del delta_bias, initial_state, delta_softplus
    u, A = required[0], required[2]
    batch, length, width = u.shape
    states = A.shape[1]
    last = u.new_empty(batch, states, width).transpose(1, 2) if return_last_state else u.new_empty(0)
    ungated = u.new_empty(u.shape if keep and z is not None else (0, 0, 0))
    checkpoints = u.new_empty(checkpoint_shape((batch, length, width), states) if keep else (0, 0, 0, 0))
    return u.new_empty(u.shape), last, ungated, checkpoints


def _backward(
    grad_y: Tensor,
    grad_state: Tensor | None,
    required: list[Tensor],
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    saved: list[Tensor],
    delta_softplus: bool,
) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    """Gradients of the operands, as they come; those of absent ones have no elements.

    ``saved`` is the output before the gate and the checkpoints.
    """
    u, A = required[0], required[2]
    operands, initial = _operands(required, z, delta_bias), _state(initial_state)
    carried = _state(grad_state)
    if carried is not None:
        carried = carried.copy()  # replaced by the gradient of the initial state
    elif initial is not None:
        carried = u.new_zeros(u.shape[0], A.shape[1], u.shape[2]).numpy()
    ungated, checkpoints = map(as_array, saved)
    outputs = Outputs(y=operands.u, ungated=ungated, checkpoints=checkpoints)
    if not outputs.fit(operands):  # the forward pass was told that no gradient would be wanted
        state = None if initial is None else initial.copy()
        outputs = run_forward(operands, delta_softplus=delta_softplus, state=state, keep=True, threads=usable_threads())
    gradients = run_backward(
        operands,
        outputs,
        delta_softplus=delta_softplus,
        initial=initial,
        grad_y=as_array(grad_y),
        grad_state=carried,
        threads=usable_threads(),
    )
    of = {name: torch.from_numpy(gradient) for name, gradient in gradients.items()}
    last = u.new_empty(0) if initial is None else torch.from_numpy(carried).transpose(1, 2)
    gate, bias = (of[name] if name in of else u.new_empty(0) for name in ("z", "delta_bias"))
    return [of[name] for name in ("u", "delta", "A", "B", "C", "D")], gate, bias, last


def _backward_shapes(
    grad_y: Tensor,
    grad_state: Tensor | None,
    required: list[Tensor],
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    saved: list[Tensor],
    delta_softplus: bool,
) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    del grad_y, grad_state, saved, delta_softplus
    u, A = required[0], required[2]
    gate, bias = (u.new_empty(0 if tensor is None else tensor.shape) for tensor in (z, delta_bias))
    initial = u.new_empty(0)
    if initial_state is not None:
        initial = u.new_empty(u.shape[0], A.shape[1], u.shape[2]).transpose(1, 2)
    return [u.new_empty(tensor.shape) for tensor in required], gate, bias, initial


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    required, z, delta_bias, initial_state, delta_softplus, return_last_state, _ = inputs
    _, _, ungated, checkpoints = output
    ctx.save_for_backward(*required, z, delta_bias, initial_state, ungated, checkpoints)
    ctx.flags = (delta_softplus, return_last_state)
    ctx.set_materialize_grads(False)  # zeros for results that nobody used would cost more than the checks below


def _differentiate(
    ctx: Any, grad_y: Tensor | None, grad_state: Tensor | None, *_unused: Tensor | None
) -> tuple[list[Tensor] | Tensor | None, ...]:
    delta_softplus, returned_state = ctx.flags
    *required, z, delta_bias, initial_state, ungated, checkpoints = ctx.saved_tensors
    optional = (z, delta_bias, initial_state)
    if grad_y is None:
        grad_y = torch.zeros_like(required[0])
    gradients, *others = _backward_operator(
        grad_y, grad_state if returned_state else None, required, *optional, [ungated, checkpoints], delta_softplus
    )
    present = (gradient if tensor is not None else None for gradient, tensor in zip(others, optional, strict=True))
    return (gradients, *present, None, None, None)


def save_nothing(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    """Nothing is needed to refuse."""


def refuse_second(_ctx: Any, *_gradients: Tensor) -> None:
    """Backward of a backward operator; raises ``UsageError``."""
    raise UsageError(
        "the compiled operators can be differentiated once, not twice: use reference_scan for higher derivatives"
    )


def _scan_on_gpu(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from metst.models.scan.triton_scan import scan

    return scan(*arguments)


def _backward_on_gpu(*arguments: Any) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    from metst.models.scan.triton_scan import scan_backward

    return scan_backward(*arguments)


def register(
    name: str, function: Callable[..., Any], shapes: Callable[..., Any], *, on_gpu: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Make a torch operator of a function on processor tensors, and one on those of a graphics processor.

    As ``torch.library.custom_op`` does, without its wrapper, whose first call imports the compiler for two seconds.
    """
    qualified = f"metst::{name}"
    schema = torch.library.infer_schema(function, mutates_args=())
    torch.library.define(qualified, schema, tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(qualified, "cpu", function)
    if on_gpu is not None:
        torch.library.impl(qualified, "cuda", on_gpu)
    torch.library.register_fake(qualified, shapes)
    return cast(Callable[..., Any], getattr(torch.ops.metst, name).default)


_backward_operator = register("selective_scan_backward", _backward, _backward_shapes, on_gpu=_backward_on_gpu)
scan_operator = register("selective_scan", _scan, _scan_shapes, on_gpu=_scan_on_gpu)
"""Output, last state, output before the gate and checkpoints of a scan, see :func:`_scan`."""

torch.library.register_autograd("metst::selective_scan_backward", refuse_second, setup_context=save_nothing)
torch.library.register_autograd("metst::selective_scan", _differentiate, setup_context=_save)
