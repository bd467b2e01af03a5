"""The selective scan on NumPy arrays, without torch: whole sequences and gradients.

Mamba's recurrence (arXiv 2312.00752, algorithm 2): ``h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t``,
``y_t = C_t h_t + D u_t``.  Letters: ``B`` sequences, ``T`` steps, ``D`` channels, ``N`` states per channel.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from metst.models.scan.backward import Gradients, backward
from metst.models.scan.checks import check_values
from metst.models.scan.forward import forward
from metst.models.scan.math import LOG2_E
from metst.models.scan.pool import run_tasks
from metst.models.scan.rows import CHUNK, Array, Inputs, block_count


@dataclass(frozen=True, eq=False)
class Operands:
    """Operands of a scan, all float32 or all float64.

    Parameters
    ----------
    u, delta : (B, T, D) array
        Input and step size.
    A : (D, N) array
        Rates of the states, not positive.
    B, C : (B, T, N) array
        Input and output maps.
    D : (D,) array
        Weight of the input in the output.
    z : (B, T, D) array, optional
        Gate: the output is multiplied by ``SiLU(z)``.
    delta_bias : (D,) array, optional
        Added to ``delta`` before the softplus.
    """

    u: Array
    delta: Array
    A: Array
    B: Array
    C: Array
    D: Array
    z: Array | None = None
    delta_bias: Array | None = None

    def present(self) -> dict[str, Array]:
        """Those that are there, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: operand for name, operand in named.items() if operand is not None}

    def plain(self) -> Operands:
        """The same, C-contiguous for the loops; copied only where they must be."""
        return Operands(**{name: plain(operand) for name, operand in self.present().items()})

    def loop_inputs(self) -> Inputs:
        """As the compiled loops want them, of plain operands."""
        none = np.zeros((0, 0, 0), self.u.dtype)
        bias, z = self.delta_bias, self.z
        return (
            self.u,
            self.delta,
            none if z is None else z,
            none.reshape(0) if bias is None else bias,
            _rate(self.A),
            self.B,
            self.C,
            self.D,
        )

    @property
    def tasks(self) -> int:
        """Independent pieces of work."""
        return int(self.u.shape[0]) * block_count(int(self.u.shape[2]))

    @property
    def updates(self) -> int:
        """State updates of the whole scan."""
        return int(self.u.size) * int(self.A.shape[1])


@dataclass(frozen=True, eq=False)
class Outputs:
    """Of a scan: ``y (B, T, D)`` and what its gradients need.

    ``ungated (B, T, D)`` is the output before the gate, ``checkpoints (B, chunks - 1, N, D)`` the states at chunk
    starts; each has size 0 where not needed.
    """

    y: Array
    ungated: Array
    checkpoints: Array

    def fit(self, operands: Operands) -> bool:
        """Whether the gradients of ``operands`` can be computed from them."""
        checkpoints = checkpoint_shape(operands.u.shape, operands.A.shape[1])
        return self.checkpoints.shape == checkpoints and (operands.z is None or self.ungated.shape == operands.u.shape)


def checkpoint_shape(u_shape: tuple[int, int, int], states: int) -> tuple[int, int, int, int]:
    """Shape of the checkpoints of a scan."""
    batch, length, width = u_shape
    return batch, (length - 1) // CHUNK, states, width


def run_forward(operands: Operands, *, delta_softplus: bool, state: Array | None, keep: bool, threads: int) -> Outputs:
    """Scan checked operands.

    Parameters
    ----------
    operands : Operands
        With finite values.
    delta_softplus : bool
        Whether the step size is ``softplus(delta + delta_bias)``.
    state : (B, N, D) array or None
        Initial state, replaced by the last one; zero and dropped when None.
    keep : bool
        Whether gradients will be wanted.
    threads : int
        Most threads to use; the result does not depend on it.
    """
    u, dtype = operands.u, operands.u.dtype
    shape = checkpoint_shape(u.shape, operands.A.shape[1])
    checkpoints = np.empty(shape if keep else (0, 0, 0, 0), dtype)
    ungated = np.empty(u.shape if keep and operands.z is not None else (0, 0, 0), dtype)
    carried = np.empty((0, 0, 0), dtype) if state is None else state
    inputs, y = operands.loop_inputs(), np.empty_like(u)

    def work(share: tuple[int, int]) -> None:
        forward(share, delta_softplus, inputs, carried, checkpoints, ungated, y)

    run_tasks(work, operands.tasks, threads=threads, updates=operands.updates)
    return Outputs(y, ungated, checkpoints)


def run_backward(
    operands: Operands,
    outputs: Outputs,
    *,
    delta_softplus: bool,
    initial: Array | None,
    grad_y: Array,
    grad_state: Array | None,
    threads: int,
) -> dict[str, Array]:
    """Gradients of checked operands, by their names.

    Parameters
    ----------
    operands : Operands
        Those of the forward pass.
    outputs : Outputs
        Of :func:`run_forward` with ``keep``; ``y`` is not read.
    delta_softplus : bool
        As in the forward pass.
    initial : (B, N, D) array or None
        Initial state of the forward pass.
    grad_y : (B, T, D) array
        Gradient of the output.
    grad_state : (B, N, D) array or None
        Gradient of the last state; replaced by that of the initial state.
    threads : int
        Most threads to use; the result does not depend on it.
    """
    u, states = operands.u, operands.A.shape[1]
    (batch, length, width), dtype = u.shape, u.dtype
    none, (_, delta, z, bias, rate, B, C, skip) = np.empty((0, 0, 0), dtype), operands.loop_inputs()
    inputs = (u, delta, z, bias, rate, _turned(B), _turned(C), skip)
    parts = (block_count(width), batch, states, length)
    gradients: Gradients = (
        np.empty_like(u),
        np.empty_like(u),
        none if operands.z is None else np.empty_like(u),
        np.zeros((batch, width), dtype),
        np.empty((batch, states, width), dtype),
        np.empty(parts, dtype),
        np.empty(parts, dtype),
        np.zeros((batch, width), dtype),
    )
    saved = (none if initial is None else initial, outputs.checkpoints, outputs.ungated)
    carried = none if grad_state is None else grad_state

    def work(share: tuple[int, int]) -> None:
        backward(share, delta_softplus, inputs, saved, grad_y, carried, gradients)

    run_tasks(work, operands.tasks, threads=threads, updates=operands.updates)
    names = ("u", "delta", "z", "delta_bias", "A", "B", "C", "D")
    summed = (*gradients[:3], *(part.sum(axis=0) for part in gradients[3:]))
    named = dict(zip(names, summed, strict=True))
    named["A"] = np.ascontiguousarray(named["A"].T)
    named |= {name: _turned(named[name]) for name in ("B", "C")}
    return {name: named[name] for name in operands.present()}


def plain(array: Array) -> Array:
    """The array itself if C-contiguous, aligned and writable, which the loops are compiled for; else a copy."""
    return array if array.flags.carray else np.require(array, requirements=["C", "A", "W"])


def _turned(array: Array) -> Array:
    """``(B, T, N)`` from ``(B, N, T)`` or the other way."""
    return np.ascontiguousarray(array.transpose(0, 2, 1))


def _rate(A: Array) -> Array:
    """``A`` transposed, for exponentials of base 2."""
    return np.ascontiguousarray(A.T * A.dtype.type(LOG2_E))


@dataclass(frozen=True, eq=False)
class StepParameters:
    """What does not change from step to step, ready for the loops.

    Parameters
    ----------
    rate : (N, D) array
        ``A`` transposed, times log2(e).
    skip : (D,) array
        ``D`` of the recurrence.
    bias : (D,) array
        Of the step size; size 0 when there is none.
    """

    rate: Array
    skip: Array
    bias: Array

    @classmethod
    def of(cls, A: Array, D: Array, *, delta_bias: Array | None = None) -> StepParameters:
        """From the operands of a scan; ``DataError`` when their values do not fit."""
        bias = np.zeros(0, A.dtype) if delta_bias is None else plain(delta_bias)
        check_values({"A": plain(A), "D": plain(D), "delta_bias": bias}, delta_softplus=True)
        return cls(_rate(A), plain(D), bias)
