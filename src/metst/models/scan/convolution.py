"""The compiled loops of a Mamba layer's causal convolution with SiLU: forward and gradients.

A task is one sequence and one block of ``LANES`` channels, as in the scan; the lanes of the vectors are channels.

Arrays are C-contiguous: ``xz (B, T, 2 D)`` holds what is convolved and, behind it, the gate that passes by; ``weight
(K, D)`` the taps, oldest frame first; ``bias (D,)``; ``past (B, K - 1, D)`` the frames before the first, or size 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from metst.models.scan.compile import compiled, hot_loop, part
from metst.models.scan.math import fma, sigmoid
from metst.models.scan.pool import run_tasks
from metst.models.scan.rows import LANES, Array, block_count, row, store_block, workspace


@part
def _load_columns(block: Array, source: Array, first: int) -> None:
    """``block (rows, LANES)`` from columns of ``source (rows, D)``; lanes beyond the last channel are 0."""
    for k in range(source.shape[0]):
        columns = source[k, first : first + LANES]
        for j in range(columns.size):
            block[k, j] = columns[j]
        block[k, columns.size :] = 0


@part
def _load_frames(frames: Array, xz: Array, past: Array, place: tuple[int, int, int]) -> None:
    """``frames (K - 1 + T, LANES)`` of one task, the past ones first."""
    i, first, last = place
    earlier = frames.shape[0] - xz.shape[1]
    for k in range(earlier):
        if past.size:
            columns = past[i, k, first:last]
            for j in range(columns.size):
                frames[k, j] = columns[j]
        else:
            frames[k, :] = 0
    for t in range(xz.shape[1]):
        columns = xz[i, t, first:last]
        for j in range(columns.size):
            frames[earlier + t, j] = columns[j]


@hot_loop
def _convolve_frames(sums: Array, frames: Array, taps: Array, bias: Array) -> None:
    for t in range(sums.shape[0]):
        for j in range(LANES):
            sums[t, j] = bias[0, j]
        for k in range(taps.shape[0]):
            for j in range(LANES):
                sums[t, j] = fma(taps[k, j], frames[t + k, j], sums[t, j])


@compiled
def _forward(tasks: tuple[int, int], xz: Array, past: Array, weight: Array, bias: Array, x: Array, gate: Array) -> None:
    length, (kernel, width) = xz.shape[1], weight.shape
    blocks = block_count(width)
    frames, sums, taps, shift = (
        workspace(length + kernel - 1, xz),
        workspace(length, xz),
        workspace(kernel, xz),
        workspace(np.int64(1), xz),
    )
    frames[:] = 0
    for task in range(tasks[0], tasks[1]):
        i, first = task // blocks, task % blocks * LANES
        _load_columns(taps, weight, first)
        _load_columns(shift, bias, first)
        _load_frames(frames, xz, past, (i, first, min(first + LANES, width)))
        _convolve_frames(sums, frames, taps, shift)
        for t in range(length):
            x_row, gate_row, gate_from = row(x, i, t, first), row(gate, i, t, first), row(xz, i, t, width + first)
            for j in range(x_row.size):
                x_row[j] = sums[t, j] * sigmoid(sums[t, j])
                gate_row[j] = gate_from[j]


@hot_loop
def _differentiate_frames(
    grad_frames: Array, grad_taps: Array, grad_bias: Array, slopes: Array, frames: Array, taps: Array
) -> None:
    """Gradients of what :func:`_convolve_frames` read, from those of ``sums``; all come as zeros."""
    for t in range(slopes.shape[0]):
        for j in range(LANES):
            grad_bias[0, j] += slopes[t, j]
        for k in range(taps.shape[0]):
            for j in range(LANES):
                grad_frames[t + k, j] = fma(taps[k, j], slopes[t, j], grad_frames[t + k, j])
                grad_taps[k, j] = fma(frames[t + k, j], slopes[t, j], grad_taps[k, j])


@compiled
def _backward(
    tasks: tuple[int, int],
    xz: Array,
    past: Array,
    weight: Array,
    bias: Array,
    grad_x: Array,
    grad_gate: Array,
    gradients: tuple[Array, Array, Array, Array],
) -> None:
    """Gradients ``xz (B, T, 2 D)``, ``past``, ``weight (B, K, D)``, ``bias (B, 1, D)``."""
    grad_xz, grad_past, grad_weight, grad_bias = gradients
    length, (kernel, width) = xz.shape[1], weight.shape
    blocks, one = block_count(width), xz.dtype.type(1)
    frames, grad_frames = workspace(length + kernel - 1, xz), workspace(length + kernel - 1, xz)
    taps, grad_taps = workspace(kernel, xz), workspace(kernel, xz)
    shift, grad_shift, sums = workspace(np.int64(1), xz), workspace(np.int64(1), xz), workspace(length, xz)
    frames[:], sums[:] = 0, 0
    for task in range(tasks[0], tasks[1]):
        i, first = task // blocks, task % blocks * LANES
        last = min(first + LANES, width)
        _load_columns(taps, weight, first)
        _load_columns(shift, bias, first)
        _load_frames(frames, xz, past, (i, first, last))
        _convolve_frames(sums, frames, taps, shift)
        for t in range(length):
            grad_row = row(grad_x, i, t, first)
            gate_to, gate_row = row(grad_xz, i, t, width + first), row(grad_gate, i, t, first)
            for j in range(grad_row.size):
                opened = sigmoid(sums[t, j])
                sums[t, j] = grad_row[j] * (opened * fma(sums[t, j], one - opened, one))
                gate_to[j] = gate_row[j]
        grad_frames[:], grad_taps[:], grad_shift[:] = 0, 0, 0
        _differentiate_frames(grad_frames, grad_taps, grad_shift, sums, frames, taps)
        store_block(grad_weight[i], grad_taps, first)
        store_block(grad_bias[i], grad_shift, first)
        if past.size:
            store_block(grad_past[i], grad_frames, first)
        for t in range(length):
            to = grad_xz[i, t, first:last]
            for j in range(to.size):
                to[j] = grad_frames[kernel - 1 + t, j]


def convolve(xz: Array, past: Array | None, *, weight: Array, bias: Array, threads: int) -> tuple[Array, Array]:
    """``SiLU`` of the causal convolution of the first half of ``xz (B, T, 2 D)``, and its second half.

    Parameters
    ----------
    xz : (B, T, 2 D) array
        Frames; in each the channels to convolve, then as many that pass by.
    past : (B, K - 1, D) array or None
        Frames before the first one; zero when None.
    weight : (K, D) array
        Taps of each channel, oldest frame first.
    bias : (D,) array
        Added before the activation.
    threads : int
        Most threads to use; the result does not depend on it.

    Returns
    -------
    x, gate : (B, T, D) arrays
    """
    batch, length, _ = xz.shape
    x, gate = (np.empty((batch, length, bias.size), xz.dtype) for _ in range(2))
    before = np.empty((0, 0, 0), xz.dtype) if past is None else past

    def work(share: tuple[int, int]) -> None:
        _forward(share, xz, before, weight, bias[None], x, gate)

    _run(work, xz, weight, threads=threads)
    return x, gate


def convolve_backward(
    xz: Array,
    past: Array | None,
    *,
    weight: Array,
    bias: Array,
    grad_x: Array,
    grad_gate: Array,
    threads: int,
) -> tuple[Array, Array | None, Array, Array]:
    """Gradients of ``xz``, ``past``, ``weight`` and ``bias`` of :func:`convolve`, from those of its results.

    Sums over the batch are taken in its order, so that they do not depend on the threads.
    """
    batch, dtype = xz.shape[0], xz.dtype
    before = np.empty((0, 0, 0), dtype) if past is None else past
    grad_weight, grad_bias = np.empty((batch, *weight.shape), dtype), np.empty((batch, 1, bias.size), dtype)
    gradients = (np.empty_like(xz), np.empty_like(before), grad_weight, grad_bias)

    def work(share: tuple[int, int]) -> None:
        _backward(share, xz, before, weight, bias[None], grad_x, grad_gate, gradients)

    _run(work, xz, weight, threads=threads)
    grad_past = None if past is None else gradients[1]
    return gradients[0], grad_past, grad_weight.sum(axis=0), grad_bias.sum(axis=0)[0]


def _run(work: Callable[[tuple[int, int]], None], xz: Array, weight: Array, *, threads: int) -> None:
    tasks = xz.shape[0] * block_count(weight.shape[1])
    run_tasks(work, tasks, threads=threads, updates=xz.size * weight.shape[0])
