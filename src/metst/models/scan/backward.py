"""The compiled loops of the selective scan: gradients.

What the backward pass needs inside a chunk is computed again from the state at the chunk's start, so that memory grows
with ``T / CHUNK`` and not with ``T``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from metst.models.scan.compile import compiled, hot_loop, hot_loop_with_sums, part
from metst.models.scan.math import LN_2, decay_change, flush_denormals, fma, restore_denormals, sigmoid
from metst.models.scan.rows import (
    CHUNK,
    LANES,
    Array,
    Inputs,
    Span,
    advance,
    block_count,
    count_remembered,
    load_block,
    load_fastest,
    load_state,
    load_steps,
    row,
    stays_normal,
    store_block,
    workspace,
)

Gradients = tuple[Array, Array, Array, Array, Array, Array, Array, Array]
"""Of ``u, delta, z (B, T, D)``; ``bias (B, D)``, ``rate (B, N, D)``, ``B, C (blocks, B, N, T)``, ``skip (B, D)``.

Where several tasks contribute to one value there is an axis for them, to be summed in a fixed order.
"""

Sums = tuple[Array, Array, Array, Array, Array, Array]
"""Of one chunk: gradients of the state and the rates ``(N, LANES)``, what passes through decay and input
``(CHUNK, LANES)``; and of the whole sequence, the gradients of ``B`` and ``C (N, T)``."""

Given = tuple[Array, Array, Array, Array, Array, Array]
"""Of one chunk: rates of the remembered states ``(n, LANES)``; step sizes, drive and gradient of the output
``(CHUNK, LANES)``; and of the whole sequence, ``B`` and ``C (N, T)``."""


def _make_sweep(bounded: bool) -> Callable[..., None]:
    """Loop that takes one chunk forth and back, one state index after the other.

    Forth, the states before each step and the decays are computed again and the gradient of ``C`` is summed.  Back,
    with ``g_t = dL/dh_t`` and ``q = g_t exp(step A) h_{t-1}``: ``through_decay = sum_n q rate``,
    ``through_input = sum_n g_t B``, ``grad_rate += q step``; ``grad_state`` leaves as ``exp(step A) g_t``.  Kept on the
    way are the state ``(N, LANES)``, and of one state index the states before each step and the changes by the decay
    ``(CHUNK, LANES)``.

    With the state index outside, what is kept of a chunk fits the first-level cache, and the row of a state stays in
    registers over all steps.  Steps are counted without a sign: else each index is tested for being negative, a third
    of the instructions on the way back.  States that are not remembered are left to :func:`_sweep_forgotten`.
    """

    @hot_loop_with_sums
    def run(sums: Sums, kept: tuple[Array, Array, Array], given: Given, span: Span) -> None:
        grad_state, grad_rate, through_decay, through_input, grad_B, grad_C = sums
        state, history, change = kept
        rate, step, drive, grad_out, B, C = given
        begin, count, one = np.uint64(span[1]), np.uint64(span[2]), np.uint64(1)
        for n in range(np.uint64(rate.shape[0])):
            for t in range(count):
                b, total = B[n, begin + t], B.dtype.type(0)
                for j in range(LANES):
                    before, now = state[n, j], decay_change(step[t, j], rate[n, j], bounded)
                    value = advance(before, now, drive[t, j], b)
                    history[t, j], change[t, j], state[n, j] = before, now, value
                    total += value * grad_out[t, j]
                grad_C[n, begin + t] = total
            for back in range(count):
                at = count - one - back
                b, c, total = B[n, begin + at], C[n, begin + at], B.dtype.type(0)
                for j in range(LANES):
                    g = grad_state[n, j] + grad_out[at, j] * c
                    passed = g + change[at, j] * g
                    q = passed * history[at, j]
                    through_decay[at, j] += q * rate[n, j]
                    through_input[at, j] += g * b
                    grad_rate[n, j] += q * step[at, j]
                    grad_state[n, j] = passed
                    total += g * drive[at, j]
                grad_B[n, begin + at] = total

    return run


_sweep_bounded, _sweep = _make_sweep(True), _make_sweep(False)


@hot_loop_with_sums
def _sweep_forgotten(sums: Sums, given: Given, span: Span) -> None:
    """What the sweep leaves out: states that are ``drive_t B_t`` at each step and pass no gradient back.

    All of them need ``sum_j drive_t grad_out_t``, and together they add ``grad_out_t sum_n B_t C_t`` to
    ``through_input``; only the gradient that comes from behind the chunk is one's own.
    """
    grad_state, _, _, through_input, grad_B, grad_C = sums
    rate, _, drive, grad_out, B, C = given
    first, states, begin, count = rate.shape[0], grad_state.shape[0], span[1], span[2]
    last = begin + count - 1
    common, direct = np.zeros(count, drive.dtype), np.zeros(count, drive.dtype)
    for t in range(count):
        total = drive.dtype.type(0)
        for j in range(LANES):
            total += drive[t, j] * grad_out[t, j]
        common[t] = total
    for n in range(first, states):
        b_row, c_row = B[n, begin : last + 1], C[n, begin : last + 1]
        grad_b, grad_c = grad_B[n, begin : last + 1], grad_C[n, begin : last + 1]
        for t in range(b_row.size):
            grad_b[t] = c_row[t] * common[t]
            grad_c[t] = b_row[t] * common[t]
            direct[t] += b_row[t] * c_row[t]
    for t in range(count):
        for j in range(LANES):
            through_input[t, j] += direct[t] * grad_out[t, j]
    for n in range(first, states):
        b, total = B[n, last], drive.dtype.type(0)
        for j in range(LANES):
            through_input[count - 1, j] += grad_state[n, j] * b
            total += grad_state[n, j] * drive[count - 1, j]
            grad_state[n, j] = 0
        grad_B[n, last] += total


@part
def _load_grad_output(grad_out: Array, grad_z: Array, grad_y: Array, ungated: Array, z: Array, span: Span) -> None:
    """Gradient of the output before the gate; that of the gate is written on the way."""
    i, begin, count, first = span
    for t in range(count):
        grad_row = row(grad_y, i, begin + t, first)
        for j in range(grad_row.size):
            grad_out[t, j] = grad_row[j]
        if z.size:
            z_row, y_row = row(z, i, begin + t, first), row(ungated, i, begin + t, first)
            grad_z_row = row(grad_z, i, begin + t, first)
            for j in range(grad_row.size):
                opened = sigmoid(z_row[j])
                slope = opened * fma(z_row[j], z.dtype.type(1) - opened, z.dtype.type(1))
                grad_z_row[j] = grad_row[j] * y_row[j] * slope
                grad_out[t, j] = grad_row[j] * (z_row[j] * opened)
        grad_out[t, grad_row.size :] = 0


@hot_loop
def _store_input_gradients(
    grad_u: Array,
    grad_skip: Array,
    through_decay: Array,
    through_input: Array,
    step: Array,
    grad_out: Array,
    u: Array,
    skip: Array,
    span: Span,
) -> None:
    """Gradients of inputs and skip connection of a chunk; ``through_decay`` becomes the gradient of the step size."""
    i, begin, count, first = span
    skip_row, grad_skip_row = skip[first : first + LANES], grad_skip[i, first : first + LANES]
    for t in range(count):
        u_row, grad_row = row(u, i, begin + t, first), row(grad_u, i, begin + t, first)
        for j in range(u_row.size):
            through = through_input[t, j]
            grad_row[j] = fma(step[t, j], through, skip_row[j] * grad_out[t, j])
            grad_skip_row[j] += grad_out[t, j] * u_row[j]
            through_decay[t, j] = fma(u_row[j], through, through_decay[t, j] * u.dtype.type(LN_2))


@hot_loop
def _store_step_gradients(
    grad_delta: Array, grad_bias: Array, grad_step: Array, delta: Array, bias: Array, use_softplus: bool, span: Span
) -> None:
    """Gradients of ``delta`` and its bias from those of the step size."""
    i, begin, count, first = span
    grad_bias_row = grad_bias[i, first : first + LANES]
    for t in range(count):
        delta_row, grad_row = row(delta, i, begin + t, first), row(grad_delta, i, begin + t, first)
        if use_softplus and bias.size:
            bias_row = bias[first : first + LANES]
            for j in range(delta_row.size):
                grad_step[t, j] *= sigmoid(delta_row[j] + bias_row[j])
        elif use_softplus:
            for j in range(delta_row.size):
                grad_step[t, j] *= sigmoid(delta_row[j])
        for j in range(delta_row.size):
            grad_row[j] = grad_step[t, j]
            grad_bias_row[j] += grad_step[t, j]


@compiled
def backward(
    tasks: tuple[int, int],
    use_softplus: bool,
    inputs: Inputs,
    saved: tuple[Array, Array, Array],
    grad_y: Array,
    grad_state: Array,
    gradients: Gradients,
) -> None:
    """Gradients of the tasks ``tasks[0] .. tasks[1] - 1``.

    ``B`` and ``C`` of ``inputs`` come turned, ``(B, N, T)``.  ``saved`` is the initial state ``(B, N, D)``, the
    checkpoints and the output before the gate, as :func:`~metst.models.scan.forward.forward` left them.  ``grad_state
    (B, N, D)`` comes as the gradient of the last state and leaves as that of the initial one; ``bias`` and ``skip`` of
    ``gradients`` come as zeros.
    """
    denormals = flush_denormals()
    u, delta, z, bias, rate, B, C, skip = inputs
    grad_u, grad_delta, grad_z, grad_bias, grad_rate, grad_B, grad_C, grad_skip = gradients
    initial, checkpoints, ungated = saved
    length, states, blocks = u.shape[1], rate.shape[0], block_count(u.shape[2])
    one, chunk = np.int64(1), np.int64(CHUNK)
    r, g, fastest, least = workspace(states, u), workspace(states, u), workspace(one, u), workspace(one, u)
    chunk_rate, total_rate = workspace(states, u), workspace(states, u)
    step, drive, grad_out = workspace(chunk, u), workspace(chunk, u), workspace(chunk, u)
    through_decay, through_input = workspace(chunk, u), workspace(chunk, u)
    state, history, change = workspace(states, u), workspace(chunk, u), workspace(chunk, u)
    for task in range(tasks[0], tasks[1]):
        i, block = task // blocks, task % blocks
        first = block * LANES
        load_block(r, rate, first)
        load_fastest(fastest, r)
        load_state(g, grad_state, i, first)
        total_rate[:] = 0
        for begin in range((length - 1) // CHUNK * CHUNK, -1, -CHUNK):
            span = (i, begin, min(CHUNK, length - begin), first)
            load_steps(step, drive, u, delta, bias, use_softplus, span)
            _load_grad_output(grad_out, grad_z, grad_y, ungated, z, span)
            if begin:
                load_block(state, checkpoints[i, begin // CHUNK - 1], first)
            else:
                load_state(state, initial, i, first)
            chunk_rate[:], through_decay[:], through_input[:] = 0, 0, 0
            remembered = count_remembered(step, r, least, span[2])
            sums = (g, chunk_rate, through_decay, through_input, grad_B[block, i], grad_C[block, i])
            kept = (state, history, change)
            given = (r[:remembered], step, drive, grad_out, B[i], C[i])
            if stays_normal(step, fastest, span[2]):
                _sweep_bounded(sums, kept, given, span)
            else:
                _sweep(sums, kept, given, span)
            if remembered < states:
                _sweep_forgotten(sums, given, span)
            total_rate += chunk_rate  # sums over long sequences lose fewer digits chunk by chunk
            _store_input_gradients(grad_u, grad_skip, through_decay, through_input, step, grad_out, u, skip, span)
            _store_step_gradients(grad_delta, grad_bias, through_decay, delta, bias, use_softplus, span)
        store_block(grad_rate[i], total_rate, first)
        if grad_state.size:
            store_block(grad_state[i], g, first)
    restore_denormals(denormals)
