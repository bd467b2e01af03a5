"""The compiled loops of the engine: what lies between the matrix products of a chunk, and whole blocks for few frames.

One file, because the loops are inlined into each other and Numba's cache looks at one file at a time (those of the
scan it uses are covered by :mod:`metst.models.scan.compile`).

Letters: ``R`` rows (frames of all sequences of the batch), ``d`` width, ``D`` inner width, ``N`` states.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metst.models.engine.tensors import TAPS
from metst.models.scan.compile import compiled, hot_loop, hot_loop_with_sums, part
from metst.models.scan.forward import one_step
from metst.models.scan.math import Number, fma, prefetch, sigmoid
from metst.models.scan.rows import CACHE_LINE, Array

_EPSILON = np.float32(1e-5)  # of a layer normalisation, as torch has it
_GROUP = 8  # rows of a matrix that are read at a time: as many streams as the processor follows well
_LANES = 16  # columns that lie side by side in a packed matrix: a cache line, the widest vector of float32
_AHEAD = 4096  # bytes that are asked for ahead of time in one, a page of memory; twice and half as much gain the same


class StackWeights(NamedTuple):
    """Weights of ``n`` Mamba blocks in a row, each array with an axis for them; matrices are ``(inputs, outputs)``."""

    norm_in: Array
    """``(n, 2, d)``: weight, bias."""
    in_proj: Array
    """``(n, 2, d, D)``: to the inner channels, to the gate."""
    conv: Array
    """``(n, taps + 1, D)``: taps from the oldest frame to the present one, then the bias."""
    x_proj: Array
    """``(n, D, rank + 2 N)``: to the step size, to ``B``, to ``C``."""
    dt_proj: Array
    """``(n, rank, D)``."""
    dt_bias: Array
    """``(n, D)``."""
    rate: Array
    """``(n, N, D)``: ``A`` transposed, times log2(e)."""
    skip: Array
    """``(n, D)``."""
    out_proj: Array
    """``(n, D, d)``."""
    norm_out: Array
    """``(n, 2, d)``."""


@hot_loop_with_sums
def _normalise(out: Array, x: Array, norm: Array) -> None:
    """Layer normalisation of one row ``(d,)``."""
    weight, bias = norm[0], norm[1]
    total = x.dtype.type(0)
    for j in range(x.size):
        total += x[j]
    mean = total / x.dtype.type(x.size)
    squares = x.dtype.type(0)
    for j in range(x.size):
        squares += (x[j] - mean) * (x[j] - mean)
    scale = x.dtype.type(1) / np.sqrt(squares / x.dtype.type(x.size) + _EPSILON)
    for j in range(x.size):
        out[j] = (x[j] - mean) * scale * weight[j] + bias[j]


@hot_loop
def _add(x: Array, y: Array) -> None:
    for j in range(x.size):
        x[j] += y[j]


@hot_loop
def _add_scaled(out: Array, x: Array, scale: Array) -> None:
    for j in range(out.size):
        out[j] = fma(x[j], scale[j], out[j])


@hot_loop
def _apply_silu(x: Array) -> None:
    for j in range(x.size):
        x[j] *= sigmoid(x[j])


@hot_loop
def _apply_relu(x: Array) -> None:
    for j in range(x.size):
        x[j] = x.dtype.type(0) if x[j] < 0 else x[j]  # keeps NaN, to be found at the end


@compiled
def normalise_rows(rows: tuple[int, int], out: Array, x: Array, norm: Array) -> None:
    """``out = LN(x)`` for the rows ``rows[0] .. rows[1] - 1`` of ``(R, d)``."""
    for r in range(rows[0], rows[1]):
        _normalise(out[r], x[r], norm)


@compiled
def finish_block(
    rows: tuple[int, int], x: Array, normed: Array, branch: Array, norm_out: Array, norm_next: Array
) -> None:
    """``x += LN_out(branch)`` and ``normed = LN_next(x)``, the input of the next block, for some rows of ``(R, d)``.

    ``norm_next`` has size 0 after the last block.
    """
    for r in range(rows[0], rows[1]):
        _normalise(normed[r], branch[r], norm_out)
        _add(x[r], normed[r])
        if norm_next.size:
            _normalise(normed[r], x[r], norm_next)


@compiled
def conv_silu(rows: tuple[int, int], out: Array, x: Array, past: Array, conv: Array) -> None:
    """Causal convolution of each channel, then SiLU, for some rows (frame ``r % T`` of sequence ``r // T``).

    ``out, x (B, T, D)``; ``past (B, taps - 1, D)`` are the frames before; ``conv (taps + 1, D)``.
    """
    length, before = x.shape[1], past.shape[1]
    for r in range(rows[0], rows[1]):
        i, t = r // length, r % length
        row = out[i, t]
        for j in range(row.size):  # not an array's: Numba would compile words for shapes that do not fit
            row[j] = conv[before + 1, j]
        for lag in range(before + 1):
            at = t + lag - before
            if at < 0:
                _add_scaled(row, past[i, before + at], conv[lag])
            else:
                _add_scaled(row, x[i, at], conv[lag])
        _apply_silu(row)


@hot_loop
def _add_product(out: Array, x: Array, matrix: Array) -> None:
    """``out (n,) += x (m,) @ matrix (m, n)``: reads the matrix once, in order."""
    grouped = x.size - x.size % _GROUP
    for k in range(0, grouped, _GROUP):
        x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
        x4, x5, x6, x7 = x[k + 4], x[k + 5], x[k + 6], x[k + 7]
        w0, w1, w2, w3 = matrix[k], matrix[k + 1], matrix[k + 2], matrix[k + 3]
        w4, w5, w6, w7 = matrix[k + 4], matrix[k + 5], matrix[k + 6], matrix[k + 7]
        for j in range(out.size):
            low = fma(x3, w3[j], fma(x2, w2[j], fma(x1, w1[j], fma(x0, w0[j], out[j]))))
            out[j] = fma(x7, w7[j], fma(x6, w6[j], fma(x5, w5[j], fma(x4, w4[j], low))))
    for k in range(grouped, x.size):
        xk, wk = x[k], matrix[k]
        for j in range(out.size):
            out[j] = fma(xk, wk[j], out[j])


def packed(matrices: Array) -> Array:
    """``(n, m, columns)`` in the order in which :func:`run_frames` reads them, so that memory comes in one stream.

    ``(n, groups, blocks, 8, 16)``: of eight rows at a time sixteen columns at a time, filled up with zeros that nobody
    reads.
    """
    count, rows, columns = matrices.shape
    groups, blocks = -(-rows // _GROUP), -(-columns // _LANES)
    whole = np.zeros((count, groups * _GROUP, blocks * _LANES), matrices.dtype)
    whole[:, :rows, :columns] = matrices
    return whole.reshape(count, groups, _GROUP, blocks, _LANES).swapaxes(2, 3)


@hot_loop
def _add_packed(out: Array, x: Array, matrix: Array) -> None:
    """As :func:`_add_product`, to the bit, of a matrix :func:`packed` before, ``(groups, blocks, 8, 16)``."""
    groups, blocks, whole = x.size // _GROUP, matrix.shape[1], out.size // _LANES
    size = _GROUP * _LANES * matrix.itemsize
    soon = matrix.ctypes.data + _AHEAD
    for group in range(groups):
        k = group * _GROUP
        x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
        x4, x5, x6, x7 = x[k + 4], x[k + 5], x[k + 6], x[k + 7]
        for block in range(whole):
            w, first = matrix[group, block], block * _LANES
            for line in range(0, size, 2 * CACHE_LINE):  # processors fetch lines in pairs; each asked for gains less
                prefetch(soon + line)
            soon += size
            for j in range(_LANES):
                low = fma(x3, w[3, j], fma(x2, w[2, j], fma(x1, w[1, j], fma(x0, w[0, j], out[first + j]))))
                out[first + j] = fma(x7, w[7, j], fma(x6, w[6, j], fma(x5, w[5, j], fma(x4, w[4, j], low))))
        if whole < blocks:
            soon += size
            for row in range(_GROUP):
                _add_row(out, x[k + row], matrix[group, whole, row], whole * _LANES)
    for k in range(groups * _GROUP, x.size):
        for block in range(blocks):
            _add_row(out, x[k], matrix[groups, block, k % _GROUP], block * _LANES)


@part
def _add_row(out: Array, x: Number, row: Array, first: int) -> None:
    """``out += x row`` from column ``first`` on, as far as ``out`` goes."""
    for j in range(min(_LANES, out.size - first)):
        out[first + j] = fma(x, row[j], out[first + j])


@part
def _product(out: Array, x: Array, matrix: Array) -> None:
    """``out (n,) = x (m,) @ matrix``, one of :func:`packed`."""
    out[:] = 0
    _add_packed(out, x, matrix)


@compiled
def conv_frames(
    out: Array, x: Array, kept: Array, count: int, work: Array, matrix: Array, bias: Array, stride: int
) -> None:
    """Convolution of three frames and ReLU, frame by frame: a product with a matrix ``(3 C, channels)`` each.

    ``out (B, T', channels)``, ``x (B, T, C)``.  Before ``x`` come the first ``count`` frames of ``kept (B, 2, C)``,
    which receives what the next frames need.  ``work`` has room for these, ``x`` and the zero frames behind it.
    """
    length, channels, start = x.shape[1], x.shape[2], out.shape[1] * stride
    joined = work.reshape(-1, channels)
    for i in range(x.shape[0]):
        joined[:count] = kept[i, :count]
        joined[count : count + length] = x[i]
        joined[count + length :] = 0
        for t in range(out.shape[1]):
            at = t * stride * channels
            out[i, t] = bias
            _add_product(out[i, t], work[at : at + TAPS * channels], matrix)
            _apply_relu(out[i, t])
        kept[i, : joined.shape[0] - start] = joined[start:]


@part
def _shift_in(past: Array, x: Array) -> None:
    """The frames of ``past (taps - 1, D)`` move up for ``x (D,)``."""
    for k in range(past.shape[0] - 1):
        past[k] = past[k + 1]
    if past.shape[0]:
        past[past.shape[0] - 1] = x


@compiled
def run_frames(x: Array, weights: StackWeights, past: Array, state: Array, work: Array) -> bool:
    """Take a few frames through a stack of blocks, row by row: the weights are read in order and hardly anything else.

    Of ``weights``, those that :func:`for_frames` turned.  ``x (B, T, d)``, ``past (n, B, taps - 1, D)`` and ``state
    (n, B, N, D)`` are changed in place; ``work`` is :func:`work_size` numbers.  False when a number was not finite: all
    three are then of no use.
    """
    blocks, inner, width = weights.skip.shape[0], weights.skip.shape[1], x.shape[2]
    rank, states = weights.dt_proj.shape[1], weights.rate.shape[1]
    raw, gate, u = work[:inner], work[inner : 2 * inner], work[2 * inner : 3 * inner]
    delta, y = work[3 * inner : 4 * inner], work[4 * inner : 5 * inner]
    normed, branch = work[5 * inner : 5 * inner + width], work[5 * inner + width : 5 * inner + 2 * width]
    maps = work[5 * inner + 2 * width : 5 * inner + 2 * width + weights.x_proj.shape[2] * _LANES]  # all of a packed one
    b, c = maps[rank : rank + states], maps[rank + states : rank + 2 * states]
    steps = (u.reshape(1, -1), delta.reshape(1, -1), gate.reshape(1, -1), b.reshape(1, -1), c.reshape(1, -1))
    for block in range(blocks):
        conv, taps = weights.conv[block], weights.conv.shape[1] - 1
        for i in range(x.shape[0]):
            for t in range(x.shape[1]):
                _normalise(normed, x[i, t], weights.norm_in[block])
                _product(raw, normed, weights.in_proj[block, 0])
                _product(gate, normed, weights.in_proj[block, 1])
                u[:] = conv[taps]
                for lag in range(taps - 1):
                    _add_scaled(u, past[block, i, lag], conv[lag])
                _add_scaled(u, raw, conv[taps - 1])
                _apply_silu(u)
                _shift_in(past[block, i], raw)
                _product(maps, u, weights.x_proj[block])
                delta[:] = 0
                _add_product(delta, maps[:rank], weights.dt_proj[block])
                if not one_step(
                    True,
                    steps,
                    weights.rate[block],
                    weights.skip[block],
                    weights.dt_bias[block],
                    state[block, i : i + 1],
                    y.reshape(1, -1),
                ):
                    return False
                _product(branch, y, weights.out_proj[block])
                _normalise(normed, branch, weights.norm_out[block])
                _add(x[i, t], normed)
    return True


def for_frames(weights: StackWeights) -> StackWeights:
    """The same weights, with the large matrices as :func:`run_frames` reads them."""
    count, halves, width, inner = weights.in_proj.shape
    in_proj = packed(weights.in_proj.reshape(count * halves, width, inner))
    return weights._replace(
        in_proj=in_proj.reshape(count, halves, *in_proj.shape[1:]),
        x_proj=packed(weights.x_proj),
        out_proj=packed(weights.out_proj),
    )


def work_size(weights: StackWeights) -> int:
    """How many numbers :func:`run_frames` needs to work with, of its weights: the rows that it cuts them into."""
    inner, width = weights.skip.shape[1], weights.norm_in.shape[2]
    return int(5 * inner + 2 * width + weights.x_proj.shape[2] * _LANES)
