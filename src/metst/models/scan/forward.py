"""The compiled loops of the selective scan: forward over a sequence, and one step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from metst.models.scan.compile import compiled, hot_loop, part
from metst.models.scan.math import decay_change, flush_denormals, fma, prefetch, restore_denormals, sigmoid, softplus
from metst.models.scan.rows import (
    CACHE_LINE,
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


def _make_chunk(bounded: bool) -> Callable[..., None]:
    """Loop that takes ``state`` through one chunk and adds ``C_t h_t`` to the rows of ``out``."""

    @hot_loop
    def run(
        state: Array,
        out: Array,
        rate: Array,
        step: Array,
        drive: Array,
        B: Array,
        C: Array,
        span: Span,
        soon: tuple[int, int, int, int],
    ) -> None:
        begin, count = span[1], span[2]
        for t in range(count):
            for line in range(t * soon[3], t * soon[3] + LANES * state.itemsize, CACHE_LINE):
                prefetch(soon[0] + line)
                prefetch(soon[1] + line)
                prefetch(soon[2] + line)
            for n in range(rate.shape[0]):
                b, c = B[begin + t, n], C[begin + t, n]
                for j in range(LANES):
                    value = advance(state[n, j], decay_change(step[t, j], rate[n, j], bounded), drive[t, j], b)
                    state[n, j] = value
                    out[t, j] = fma(value, c, out[t, j])

    return run


_chunk_bounded, _chunk = _make_chunk(True), _make_chunk(False)


@hot_loop
def _chunk_forgotten(state: Array, out: Array, drive: Array, B: Array, C: Array, span: Span, first: int) -> None:
    """The same bits for the states from ``first`` on, whose change by the decay is -1."""
    begin, count = span[1], span[2]
    for n in range(first, state.shape[0]):
        for t in range(count):
            b, c = B[begin + t, n], C[begin + t, n]
            for j in range(LANES):
                value = advance(state[n, j], type(b)(-1), drive[t, j], b)
                state[n, j] = value
                out[t, j] = fma(value, c, out[t, j])


@part
def _start_output(out: Array, u: Array, skip: Array, span: Span) -> None:
    """``D u``, which passes the state by."""
    i, begin, count, first = span
    skip_row = skip[first : first + LANES]
    for t in range(count):
        u_row = row(u, i, begin + t, first)
        for j in range(u_row.size):
            out[t, j] = skip_row[j] * u_row[j]
        out[t, u_row.size :] = 0


@part
def _soon_needed(u: Array, delta: Array, y: Array, span: Span) -> tuple[int, int, int, int]:
    """Addresses of the rows of ``u`` and ``delta`` of the next chunk and of ``y`` of this one, and bytes per row.

    The rows of a block are too far apart for the processor to foresee: asked for in time, they cost nothing.
    """
    i, begin, _, first = span
    length, width = u.shape[1], u.shape[2]
    here = ((i * length + begin) * width + first) * u.itemsize
    ahead = here + CHUNK * width * u.itemsize
    return u.ctypes.data + ahead, delta.ctypes.data + ahead, y.ctypes.data + here, width * u.itemsize


@part
def _store_output(y: Array, ungated: Array, out: Array, z: Array, span: Span) -> None:
    """Write the rows of a chunk, gated by ``SiLU(z)`` where there is a gate."""
    i, begin, count, first = span
    for t in range(count):
        y_row = row(y, i, begin + t, first)
        if ungated.size:
            ungated_row = row(ungated, i, begin + t, first)
            for j in range(y_row.size):
                ungated_row[j] = out[t, j]
        if z.size:
            z_row = row(z, i, begin + t, first)
            for j in range(y_row.size):
                y_row[j] = out[t, j] * (z_row[j] * sigmoid(z_row[j]))
        else:
            for j in range(y_row.size):
                y_row[j] = out[t, j]


@compiled
def forward(
    tasks: tuple[int, int],
    use_softplus: bool,
    inputs: Inputs,
    state: Array,
    checkpoints: Array,
    ungated: Array,
    y: Array,
) -> None:
    """Scan the tasks ``tasks[0] .. tasks[1] - 1``, writing ``y (B, T, D)`` and, where wanted, ``state`` in place.

    ``checkpoints (B, chunks - 1, N, D)`` receives the state at the start of each chunk but the first, ``ungated``
    ``(B, T, D)`` the output before the gate.
    """
    denormals = flush_denormals()
    u, delta, z, bias, rate, B, C, skip = inputs
    length, states, blocks = u.shape[1], rate.shape[0], block_count(u.shape[2])
    one, chunk = np.int64(1), np.int64(CHUNK)
    h, r, fastest = workspace(states, u), workspace(states, u), workspace(one, u)
    step, drive, out, least = workspace(chunk, u), workspace(chunk, u), workspace(chunk, u), workspace(one, u)
    for task in range(tasks[0], tasks[1]):
        i, first = task // blocks, task % blocks * LANES
        load_block(r, rate, first)
        load_fastest(fastest, r)
        load_state(h, state, i, first)
        for begin in range(0, length, CHUNK):
            span = (i, begin, min(CHUNK, length - begin), first)
            if begin and checkpoints.size:
                store_block(checkpoints[i, begin // CHUNK - 1], h, first)
            load_steps(step, drive, u, delta, bias, use_softplus, span)
            _start_output(out, u, skip, span)
            soon = _soon_needed(u, delta, y, span)
            remembered = count_remembered(step, r, least, span[2])
            if stays_normal(step, fastest, span[2]):
                _chunk_bounded(h, out, r[:remembered], step, drive, B[i], C[i], span, soon)
            else:
                _chunk(h, out, r[:remembered], step, drive, B[i], C[i], span, soon)
            _chunk_forgotten(h, out, drive, B[i], C[i], span, remembered)
            _store_output(y, ungated, out, z, span)
        if state.size:
            store_block(state[i], h, first)
    restore_denormals(denormals)


@hot_loop
def _step_rows(
    h: Array, y: Array, step: Array, drive: Array, rate: Array, b_row: Array, c_row: Array, use_softplus: bool
) -> None:
    """One sequence, one step, all channels: ``step`` comes raw; ``drive`` as ``u``; ``y`` as ``D u``."""
    if use_softplus:
        for j in range(step.size):
            step[j] = softplus(step[j])
    for j in range(step.size):
        drive[j] *= step[j]
    for n in range(rate.shape[0]):
        b, c = b_row[n], c_row[n]
        for j in range(step.size):
            value = advance(h[n, j], decay_change(step[j], rate[n, j], False), drive[j], b)
            h[n, j] = value
            y[j] = fma(value, c, y[j])


@part
def _all_finite(values: Array) -> bool:
    finite = True
    for k in range(values.size):
        finite &= values[k] - values[k] == 0
    return finite


@part
def _usable(rows: tuple[Array, Array, Array, Array, Array], bias: Array, use_softplus: bool) -> bool:
    for values in rows:
        if not _all_finite(values.reshape(-1)):
            return False
    delta, positive = rows[1], True
    if not use_softplus:
        for i in range(delta.shape[0]):
            for j in range(delta.shape[1]):
                shift = bias[j] if bias.size else delta.dtype.type(0)
                positive &= delta[i, j] + shift >= 0
    return positive


@compiled
def one_step(
    use_softplus: bool,
    rows: tuple[Array, Array, Array, Array, Array],
    rate: Array,
    skip: Array,
    bias: Array,
    state: Array,
    y: Array,
) -> bool:
    """Advance ``state (B, N, D)`` by one step and write ``y (B, D)``: the same bits as :func:`forward`.

    ``rows`` are ``u, delta, z (B, D)`` and ``B, C (B, N)``.  False, with nothing done, when one is not finite or a
    step size is negative.
    """
    if not _usable(rows, bias, use_softplus):
        return False
    denormals = flush_denormals()
    u, delta, z, B, C = rows
    width = u.shape[1]
    step, drive = np.empty(width, u.dtype), np.empty(width, u.dtype)
    for i in range(u.shape[0]):
        for j in range(width):
            step[j] = delta[i, j]
            drive[j] = u[i, j]
            y[i, j] = skip[j] * u[i, j]
        if bias.size:
            for j in range(width):
                step[j] += bias[j]
        _step_rows(state[i], y[i], step, drive, rate, B[i], C[i], use_softplus)
        if z.size:
            for j in range(width):
                y[i, j] = y[i, j] * (z[i, j] * sigmoid(z[i, j]))
    restore_denormals(denormals)
    return True
