"""The compiled loops of the selective scan: gradients.

What the backward pass needs inside a chunk is computed again from the state at the chunk's start, so that memory grows
with ``T / CHUNK`` and not with ``T``.
"""

from __future__ import annotations

from collections.abc import Callable

from metst.models.scan.compile import compiled, hot_loop, hot_loop_with_sums
from metst.models.scan.math import LN_2, decay_change, flush_denormals, fma, restore_denormals, sigmoid
from metst.models.scan.rows import (
    CHUNK,
    LANES,
    Array,
    Inputs,
    Span,
    advance,
    block_count,
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
"""Of ``u, delta, z (B, T, D)``; ``bias (B, D)``, ``rate (B, N, D)``, ``B, C (blocks, B, T, N)``, ``skip (B, D)``.

Where several tasks contribute to one value there is an axis for them, to be summed in a fixed order.
"""


def _make_trace(bounded: bool) -> Callable[..., None]:
    """Loop that computes the states of a chunk again, keeps them and the decays, and sums the gradient of ``C``.

    Row ``t N + n`` of ``history`` is state n before step t.
    """

    @hot_loop_with_sums
    def run(
        history: Array,
        change: Array,
        grad_C: Array,
        rate: Array,
        step: Array,
        drive: Array,
        grad_out: Array,
        B: Array,
        span: Span,
    ) -> None:
        begin, states = span[1], rate.shape[0]
        for t in range(span[2]):
            for n in range(states):
                b, at = B[begin + t, n], t * states + n
                total = B.dtype.type(0)
                for j in range(LANES):
                    now = decay_change(step[t, j], rate[n, j], bounded)
                    value = advance(history[at, j], now, drive[t, j], b)
                    change[at, j] = now
                    history[at + states, j] = value
                    total += value * grad_out[t, j]
                grad_C[begin + t, n] = total

    return run


_trace_bounded, _trace = _make_trace(True), _make_trace(False)


@hot_loop_with_sums
def _sweep(
    grad_state: Array,
    grad_rate: Array,
    through_decay: Array,
    through_input: Array,
    grad_B: Array,
    history: Array,
    change: Array,
    rate: Array,
    step: Array,
    drive: Array,
    grad_out: Array,
    B: Array,
    C: Array,
    span: Span,
) -> None:
    """Backwards through a chunk.

    With ``g_t = dL/dh_t`` and ``q = g_t exp(step A) h_{t-1}``: ``through_decay = sum_n q rate``,
    ``through_input = sum_n g_t B``, ``grad_rate += q step``; ``grad_state`` leaves as ``exp(step A) g_t``.
    """
    begin, states = span[1], rate.shape[0]
    for t in range(span[2] - 1, -1, -1):
        for n in range(states):
            b, c, at = B[begin + t, n], C[begin + t, n], t * states + n
            total = B.dtype.type(0)
            for j in range(LANES):
                g = grad_state[n, j] + grad_out[t, j] * c
                passed = g + change[at, j] * g
                q = passed * history[at, j]
                through_decay[t, j] += q * rate[n, j]
                through_input[t, j] += g * b
                grad_rate[n, j] += q * step[t, j]
                grad_state[n, j] = passed
                total += g * drive[t, j]
            grad_B[begin + t, n] = total


@compiled
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

    ``saved`` is the initial state ``(B, N, D)``, the checkpoints and the output before the gate, as
    :func:`~metst.models.scan.forward.forward` left them.  ``grad_state (B, N, D)`` comes as the gradient of the last
    state and leaves as that of the initial one; ``bias`` and ``skip`` of ``gradients`` come as zeros.
    """
    denormals = flush_denormals()
    u, delta, z, bias, rate, B, C, skip = inputs
    grad_u, grad_delta, grad_z, grad_bias, grad_rate, grad_B, grad_C, grad_skip = gradients
    initial, checkpoints, ungated = saved
    length, states, blocks = u.shape[1], rate.shape[0], block_count(u.shape[2])
    r, fastest, g = workspace(states, u), workspace(1, u), workspace(states, u)
    chunk_rate, total_rate = workspace(states, u), workspace(states, u)
    step, drive, grad_out = workspace(CHUNK, u), workspace(CHUNK, u), workspace(CHUNK, u)
    through_decay, through_input = workspace(CHUNK, u), workspace(CHUNK, u)
    history, change = workspace((CHUNK + 1) * states, u), workspace(CHUNK * states, u)
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
                load_block(history[:states], checkpoints[i, begin // CHUNK - 1], first)
            else:
                load_state(history[:states], initial, i, first)
            trace = (grad_C[block, i], r, step, drive, grad_out, B[i])
            if stays_normal(step, fastest, span[2]):
                _trace_bounded(history, change, *trace, span)
            else:
                _trace(history, change, *trace, span)
            chunk_rate[:], through_decay[:], through_input[:] = 0, 0, 0
            swept = (g, chunk_rate, through_decay, through_input, grad_B[block, i])
            _sweep(*swept, history, change, r, step, drive, grad_out, B[i], C[i], span)
            total_rate += chunk_rate  # sums over long sequences lose fewer digits chunk by chunk
            sums = (through_decay, through_input, step, grad_out)
            _store_input_gradients(grad_u, grad_skip, *sums, u, skip, span)
            _store_step_gradients(grad_delta, grad_bias, through_decay, delta, bias, use_softplus, span)
        store_block(grad_rate[i], total_rate, first)
        if grad_state.size:
            store_block(grad_state[i], g, first)
    restore_denormals(denormals)
