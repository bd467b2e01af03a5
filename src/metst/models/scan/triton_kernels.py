"""The kernels of the selective scan for a graphics processor, in Triton: forward, and backward.

Imported only where Triton is installed; it comes with the CUDA builds of torch.  A program takes one sequence and a
block of channels through time; its state ``(N, D)`` stays in registers.  All arithmetic is in single precision, and all
sums are taken in one fixed order.  Docstrings say what is a pointer; what is not there is None.
Letters: ``B`` sequences, ``T`` steps, ``D`` channels, ``N`` states per channel.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _change(x: tl.tensor) -> tl.tensor:
    """``exp(x) - 1`` for ``x <= 0``, accurate relative to its value: a decay near 1 keeps too few digits of itself."""
    # The series to x**8: at -1/2 what follows is 1e-8 of it.  Below, the difference loses less than a bit.
    near = 1 + x / 5 * (1 + x / 6 * (1 + x / 7 * (1 + x / 8)))
    near = x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * near)))
    return tl.where(x > -0.5, near, tl.exp(x) - 1)


@triton.jit
def _softplus(x: tl.tensor) -> tl.tensor:
    """``log(1 + exp(x))``, accurate relative to its value."""
    w = tl.exp(-tl.abs(x))
    # log(1 + w) = 2 artanh(s); s is at most 1/3, and what follows s**15 is 1e-8 of the sum.
    s = w / (2 + w)
    q = s * s
    series = 1 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * (1 / 11 + q * (1 / 13 + q / 15))))))
    return tl.maximum(x, 0.0) + 2 * s * series


@triton.jit
def _sigmoid(x: tl.tensor) -> tl.tensor:
    """``1 / (1 + exp(-x))``, accurate relative to its value."""
    w = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, w) / (1 + w)


@triton.jit
def _step_size(raw: tl.tensor, SOFTPLUS: tl.constexpr) -> tl.tensor:
    """Step size of what ``delta`` and its bias make."""
    step = raw
    if SOFTPLUS:
        step = _softplus(raw)
    return step


@triton.jit
def _places(sizes: tl.tuple, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr) -> tl.tuple:
    """Sequence, channels and states of a program, where their tile ``(N, D)`` lies, and which of these there are."""
    _, width, states = sizes
    d, n = tl.program_id(0) * BLOCK_D + tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_N)
    in_d, in_n = d < width, n < states
    tile = n[:, None] * width + d[None, :]
    return tl.program_id(1).to(tl.int64), d, n, tile, in_d, in_n, in_n[:, None] & in_d[None, :]


@triton.jit
def _kept(place: tl.tensor, at: tl.tensor, like: tl.tensor, mask: tl.tensor) -> tl.tensor:
    """What lies at a place and offsets; zeros like another where there is no such place."""
    return like * 0 if place is None else tl.load(place + at, mask=mask, other=0.0)


@triton.jit
def _steady(operands: tl.tuple, places: tl.tuple) -> tl.tuple:
    """What stays from step to step: rates ``(N, D)``, ``D`` of the recurrence and bias of the step size ``(D,)``."""
    _, _, _, bias, rates, _, _, skips = operands
    _, d, _, tile, in_d, _, inside = places
    skip = tl.load(skips + d, mask=in_d, other=0.0)
    return tl.load(rates + tile, mask=inside, other=0.0), skip, _kept(bias, d, skip, in_d)


@triton.jit
def forward(
    operands: tl.tuple,
    initial: tl.tensor,
    outputs: tl.tuple,
    sizes: tl.tuple,
    SOFTPLUS: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
) -> None:
    """Scan one sequence, one block of channels.

    ``operands`` are ``u, delta, z (B, T, D), bias (D,), A (N, D), B, C (B, T, N), D (D,)``; ``initial (B, N, D)``;
    ``outputs`` ``y, ungated (B, T, D), checkpoints (B, chunks - 1, N, D), last (B, N, D)``; ``sizes`` ``T, D, N``.
    """
    u, delta, z, _, _, B, C, _ = operands
    y, ungated, checkpoints, last = outputs
    length, width, states = sizes
    places = _places(sizes, BLOCK_N, BLOCK_D)
    i, d, n, tile, in_d, in_n, inside = places
    rate, skip, bias = _steady(operands, places)
    state = _kept(initial, i * states * width + tile, rate, inside)
    for begin in range(0, length, CHUNK):
        if checkpoints is not None:
            at = i * ((length - 1) // CHUNK) + begin // CHUNK - 1
            tl.store(checkpoints + at * states * width + tile, state, mask=inside & (begin > 0))
        for t in range(begin, min(begin + CHUNK, length)):
            row, maps = (i * length + t) * width + d, (i * length + t) * states + n
            step = _step_size(tl.load(delta + row, mask=in_d, other=0.0) + bias, SOFTPLUS)
            value = tl.load(u + row, mask=in_d, other=0.0)
            b, c = tl.load(B + maps, mask=in_n, other=0.0), tl.load(C + maps, mask=in_n, other=0.0)
            state += state * _change(step[None, :] * rate) + (step * value)[None, :] * b[:, None]
            out = tl.sum(state * c[:, None], axis=0) + skip * value
            if ungated is not None:
                tl.store(ungated + row, out, mask=in_d)
            if z is not None:
                gate = tl.load(z + row, mask=in_d, other=0.0)
                out *= gate * _sigmoid(gate)
            tl.store(y + row, out, mask=in_d)
    if last is not None:
        tl.store(last + i * states * width + tile, state, mask=inside)


@triton.jit
def _states_again(
    operands: tl.tuple,
    state: tl.tensor,
    room: tl.tensor,
    span: tl.tuple,
    sizes: tl.tuple,
    places: tl.tuple,
    SOFTPLUS: tl.constexpr,
) -> None:
    """Go through a chunk again, from the ``state`` at its start, and leave the state before each step in ``room``.

    ``span`` is its first step and how many it has; the rest as in :func:`backward`.
    """
    u, delta, _, _, _, B, _, _ = operands
    first, count = span
    length, width, states = sizes
    i, d, n, tile, in_d, in_n, inside = places
    rate, _, bias = _steady(operands, places)
    for k in range(count):
        tl.store(room + k * states * width + tile, state, mask=inside)
        at = i * length + first + k
        step = _step_size(tl.load(delta + at * width + d, mask=in_d, other=0.0) + bias, SOFTPLUS)
        drive = step * tl.load(u + at * width + d, mask=in_d, other=0.0)
        b = tl.load(B + at * states + n, mask=in_n, other=0.0)
        state += state * _change(step[None, :] * rate) + drive[None, :] * b[:, None]
    tl.debug_barrier()  # what one thread wrote another may read


@triton.jit
def _before_gate(
    grad: tl.tensor, z: tl.tensor, ungated: tl.tensor, grad_z: tl.tensor, row: tl.tensor, in_d: tl.tensor
) -> tl.tensor:
    """Gradient of a row before the gate, from that behind it; writes that of the gate where there is one."""
    if z is not None:
        gate, out = tl.load(z + row, mask=in_d, other=0.0), tl.load(ungated + row, mask=in_d, other=0.0)
        opened = _sigmoid(gate)
        tl.store(grad_z + row, grad * out * opened * (1 + gate * (1 - opened)), mask=in_d)
        grad *= gate * opened
    return grad


@triton.jit
def _chunk_back(
    operands: tl.tuple,
    saved: tl.tuple,
    gradients: tl.tuple,
    carry: tl.tuple,
    span: tl.tuple,
    sizes: tl.tuple,
    places: tl.tuple,
    SOFTPLUS: tl.constexpr,
) -> tl.tuple:
    """Take the gradient of the state, and the sums of those that stay, back through a chunk.

    ``saved`` are the states before its steps, the output before the gate and the gradient of ``y``; ``carry`` the
    gradient of the state behind the chunk and the sums for ``A (N, D)``, ``D`` and the bias ``(D,)``.
    """
    u, delta, z, _, _, B, C, _ = operands
    room, ungated, grad_y = saved
    grad_u, grad_delta, grad_z, grad_B, grad_C = gradients
    grad, rate_sum, skip_sum, bias_sum = carry
    first, count = span
    length, width, states = sizes
    i, d, n, tile, in_d, in_n, inside = places
    rate, skip, bias = _steady(operands, places)
    part = tl.program_id(0).to(tl.int64) * tl.num_programs(1) * length * states
    for back in range(count):
        k = count - 1 - back
        row, maps = (i * length + first + k) * width + d, (i * length + first + k) * states + n
        raw = tl.load(delta + row, mask=in_d, other=0.0) + bias
        step = _step_size(raw, SOFTPLUS)
        value, b = tl.load(u + row, mask=in_d, other=0.0), tl.load(B + maps, mask=in_n, other=0.0)
        c, out = tl.load(C + maps, mask=in_n, other=0.0), tl.load(grad_y + row, mask=in_d, other=0.0)
        out = _before_gate(out, z, ungated, grad_z, row, in_d)
        before = tl.load(room + k * states * width + tile, mask=inside, other=0.0)
        change, drive = _change(step[None, :] * rate), (step * value)[None, :]
        kept = before + before * change
        tl.store(grad_C + part + maps, tl.sum((kept + drive * b[:, None]) * out[None, :], axis=1), mask=in_n)
        grad += out[None, :] * c[:, None]
        tl.store(grad_B + part + maps, tl.sum(grad * drive, axis=1), mask=in_n)
        fed, kept = tl.sum(grad * b[:, None], axis=0), grad * kept
        grad_step = tl.sum(kept * rate, axis=0) + fed * value
        rate_sum += kept * step[None, :]
        skip_sum += out * value
        if SOFTPLUS:
            grad_step *= _sigmoid(raw)
        bias_sum += grad_step
        tl.store(grad_u + row, fed * step + out * skip, mask=in_d)
        tl.store(grad_delta + row, grad_step, mask=in_d)
        grad += grad * change
    tl.debug_barrier()  # the next chunk writes where this one read
    return grad, rate_sum, skip_sum, bias_sum


@triton.jit
def backward(
    operands: tl.tuple,
    saved: tl.tuple,
    given: tl.tuple,
    gradients: tl.tuple,
    sums: tl.tuple,
    sizes: tl.tuple,
    SOFTPLUS: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
) -> None:
    """Gradients of one sequence, one block of channels, from the last chunk to the first.

    ``operands`` and ``sizes`` as in :func:`forward`; ``saved`` are ``initial, checkpoints, ungated`` and room for the
    states of a chunk
    ``(B, steps, N, D)``; ``given`` the gradients of ``y`` and of the last state; ``gradients`` those of
    ``u, delta, z (B, T, D), B, C (blocks, B, T, N)``, which the caller sums over blocks; ``sums`` those of
    ``A (B, N, D), D, bias (B, D)``, which it sums over sequences, and of the initial state ``(B, N, D)``.
    """
    initial, checkpoints, ungated, scratch = saved
    length, width, states = sizes
    places = _places(sizes, BLOCK_N, BLOCK_D)
    i, d, _, tile, in_d, _, inside = places
    rate, skip, _ = _steady(operands, places)
    own, row = i * states * width + tile, i * width + d
    room = scratch + i * min(CHUNK, length) * states * width
    carry = (_kept(given[1], own, rate, inside), rate * 0, skip * 0, skip * 0)
    for back in range(0, length, CHUNK):
        first = ((length - 1) // CHUNK) * CHUNK - back
        span = (first, min(CHUNK, length - first))
        state = _kept(initial, own, rate, inside)
        if first > 0:
            at = i * ((length - 1) // CHUNK) + first // CHUNK - 1
            state = tl.load(checkpoints + at * states * width + tile, mask=inside, other=0.0)
        _states_again(operands, state, room, span, sizes, places, SOFTPLUS)
        kept = (room, ungated, given[0])
        carry = _chunk_back(operands, kept, gradients, carry, span, sizes, places, SOFTPLUS)
    tl.store(sums[0] + own, carry[1], mask=inside)
    tl.store(sums[1] + row, carry[2], mask=in_d)
    tl.store(sums[2] + row, carry[3], mask=in_d)
    if sums[3] is not None:
        tl.store(sums[3] + own, carry[0], mask=inside)
