"""What the forward and the backward loops of the scan share: the layout, and the rows of one chunk.

A task is one sequence of the batch and one block of ``LANES`` channels; tasks share nothing, so any number of threads
gives the same bits.  Inside a task the channels of the block are the lanes of the vectors: the state ``(N, LANES)``
stays in the first-level cache, ``B`` and ``C`` are broadcast, and only their gradients need sums across lanes.
Time runs in chunks of ``CHUNK`` steps.

Arrays are C-contiguous: ``u, delta, z (B, T, D)``; ``B, C (B, T, N)``; ``bias, skip (D,)``; ``rate (N, D)`` is ``A``
transposed, times log2(e); states are ``(B, N, D)``.  An optional array that is not there has size 0.
"""

from __future__ import annotations

import numpy as np

from metst.arrays import FloatArray
from metst.models.scan.compile import compiled, part
from metst.models.scan.math import EXPONENT_LIMIT, Number, fma, forgetting_exponent, softplus

Array = FloatArray

Inputs = tuple[Array, Array, Array, Array, Array, Array, Array, Array]
"""``u, delta, z, bias, rate, B, C, skip``."""

Span = tuple[int, int, int, int]
"""Where a chunk of one task is: sequence, first step, number of steps, first channel."""

# Set by hand.
LANES = 64  # channels of a block: 64 states of so many in single precision take 16 KiB of the first-level cache
CHUNK = 32  # steps
CACHE_LINE = 64  # bytes; a vector that crosses two lines costs two accesses
_PART = 4096  # values that are looked at before it is asked whether one was outside


@compiled
def block_count(width: int) -> int:
    """Blocks of ``LANES`` channels that cover ``width`` channels."""
    return (width + LANES - 1) // LANES


@part
def workspace(rows: int | np.int64, like: Array) -> Array:
    """Uninitialised ``(rows, LANES)``, aligned to cache lines.

    Numba compiles it anew for each ``rows`` that is a constant: callers hand over variables.
    """
    size = rows * LANES
    memory = np.empty(size + CACHE_LINE // like.itemsize, like.dtype)
    start = (-memory.ctypes.data % CACHE_LINE) // like.itemsize
    return memory[start : start + size].reshape(rows, LANES)


@part
def row(array: Array, i: int, t: int, first: int) -> Array:
    """The channels of one block in row ``t`` of sequence ``i``, ``(LANES,)`` or fewer at the end.

    Loops run over such rows because Numba lets an index that starts at 0 go unchecked for negative values.
    """
    return array[i, t, first : first + LANES]


@part
def load_block(block: Array, source: Array, first: int) -> None:
    """``block (N, LANES)`` from columns of ``source (N, D)``; lanes beyond the last channel are 0."""
    for n in range(block.shape[0]):
        columns = source[n, first : first + LANES]
        for j in range(columns.size):
            block[n, j] = columns[j]
        block[n, columns.size :] = 0


@part
def store_block(target: Array, block: Array, first: int) -> None:
    """Columns of ``target (N, D)`` from ``block (N, LANES)``."""
    for n in range(target.shape[0]):
        columns = target[n, first : first + LANES]
        for j in range(columns.size):
            columns[j] = block[n, j]


@part
def load_state(block: Array, state: Array, i: int, first: int) -> None:
    """State of one task; zero when ``state`` is not there."""
    if state.size:
        load_block(block, state[i], first)
    else:
        block[:] = 0


@part
def load_steps(step: Array, drive: Array, u: Array, delta: Array, bias: Array, use_softplus: bool, span: Span) -> None:
    """Rows of the step size (after bias and softplus) and of ``step u``."""
    i, begin, count, first = span
    for t in range(count):
        u_row, delta_row = row(u, i, begin + t, first), row(delta, i, begin + t, first)
        for j in range(u_row.size):
            step[t, j] = delta_row[j]
        if bias.size:
            bias_row = bias[first : first + LANES]
            for j in range(bias_row.size):
                step[t, j] += bias_row[j]
        if use_softplus:
            for j in range(u_row.size):
                step[t, j] = softplus(step[t, j])
        for j in range(u_row.size):
            drive[t, j] = step[t, j] * u_row[j]
        step[t, u_row.size :] = 0
        drive[t, u_row.size :] = 0


@part
def load_fastest(fastest: Array, rate: Array) -> None:
    """Largest ``-rate`` of each lane, ``(1, LANES)``."""
    for j in range(LANES):
        fastest[0, j] = 0
    for n in range(rate.shape[0]):
        for j in range(LANES):
            fastest[0, j] = max(fastest[0, j], -rate[n, j])


@part
def stays_normal(step: Array, fastest: Array, count: int) -> bool:
    """Whether all exponents of a chunk are above ``-EXPONENT_LIMIT``."""
    inside = True
    limit = step.dtype.type(EXPONENT_LIMIT)
    for t in range(count):
        for j in range(LANES):
            inside &= step[t, j] * fastest[0, j] < limit
    return inside


@compiled
def count_remembered(step: Array, rate: Array, least: Array, count: int) -> int:
    """How many states a chunk needs decays of; all behind them keep nothing from one step to the next.

    There the change by the decay is -1 to the last bit in all channels of the block.  Mamba's rates start in rising
    order and stay near it, so that one number says nearly all.  ``least (1, LANES)`` is written over.
    """
    for j in range(LANES):
        least[0, j] = step[0, j]
    for t in range(1, count):
        for j in range(LANES):
            least[0, j] = min(least[0, j], step[t, j])
    limit = -forgetting_exponent(step[0, 0])
    for n in range(rate.shape[0] - 1, -1, -1):
        forgotten = True
        for j in range(LANES):
            forgotten &= least[0, j] * rate[n, j] <= limit
        if not forgotten:
            return n + 1
    return 0


@part
def advance(state: Number, change: Number, drive: Number, b: Number) -> Number:
    """``h_t = exp(step A) h_{t-1} + step u B_t`` from ``change = exp(step A) - 1``."""
    return fma(change, state, fma(drive, b, state))


@compiled
def first_outside(values: Array, low: float, high: float) -> int:
    """Index of the first of ``values (n,)`` that is not within ``[low, high]``, or -1."""
    lowest, highest = values.dtype.type(low), values.dtype.type(high)
    for begin in range(0, values.size, _PART):
        part = values[begin : begin + _PART]
        inside = True
        for k in range(part.size):
            inside &= (part[k] >= lowest) & (part[k] <= highest)
        if not inside:
            for k in range(part.size):
                if not lowest <= part[k] <= highest:
                    return begin + k
    return -1
