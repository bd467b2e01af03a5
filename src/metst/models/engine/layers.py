"""The layers of the engine: what is made of the weights when they are loaded, and how chunks go through.

Arrays are ``(B, T, channels)``, C-contiguous float32.  Counterparts of the layers of ``metst.models.networks``, where
what they compute is described.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import as_strided

from metst.arrays import Float32Array
from metst.errors import CheckpointError, DataError
from metst.models.engine.buffers import Arena, Stream
from metst.models.engine.kernels import (
    StackWeights,
    conv_frames,
    conv_silu,
    finish_block,
    for_frames,
    normalise_rows,
    run_frames,
    work_size,
)
from metst.models.engine.tensors import TAPS
from metst.models.scan.forward import forward
from metst.models.scan.numpy_scan import StepParameters
from metst.models.scan.pool import run_tasks
from metst.models.scan.rows import block_count
from metst.threads import thread_limit

Weights = Mapping[str, Float32Array]

OUT_OF_BOUNDS = "the network's numbers went beyond all bounds: check the scale of the motion"
"""What is said when a number on the way is not finite, though the motion was."""

_BATCH_NORM_EPSILON = 1e-5  # added to the variance, as PyTorch does
_FEW_ROWS = 4  # measured: from some 5 frames on, matrix products beat reading the weights once per frame

# What the scan fills where gradients will be wanted: here never.
_NONE = np.zeros((0, 0, 0), np.float32)
_NO_CHECKPOINTS = np.zeros((0, 0, 0, 0), np.float32)


class CentredConv:
    """Convolution of three frames around each (second) frame, batch normalisation, ReLU; the first two as one.

    Parameters
    ----------
    name : str
        Of the layer that has both.
    weights : mapping
        Of the network.
    arena : Arena
        Where they are put.
    stride : int
        Frames from one result to the next.
    """

    def __init__(self, name: str, weights: Weights, *, arena: Arena, stride: int = 1) -> None:
        self._name, self._stride = name, stride
        self._matrix, self._bias = (arena.put(part) for part in _folded(name, weights))

    def run(self, x: Float32Array, stream: Stream) -> Float32Array:
        """``(B, T, in)`` to ``(B, T', out)``, in a buffer that the next call uses again."""
        kept = stream.zeros(self._name, len(x), TAPS - 1, x.shape[2])
        count = stream.counts.get(self._name, 1)  # the sequence is padded with one zero frame
        total = count + x.shape[1] + int(stream.last)
        frames = max(0, (total - TAPS) // self._stride + 1)
        stream.counts[self._name] = total - frames * self._stride
        out = stream.buffers.get(self._name, len(x), frames, len(self._bias))
        if is_few(x):
            work = stream.buffers.get(f"{self._name} work", total * x.shape[2])
            conv_frames(out, x, kept, count, work, self._matrix, self._bias, self._stride)
            return out
        joined = stream.buffers.get("joined", len(x), total, x.shape[2])
        joined[:, :count] = kept[:, :count]
        joined[:, count : count + x.shape[1]] = x
        joined[:, count + x.shape[1] :] = 0
        kept[:, : total - frames * self._stride] = joined[:, frames * self._stride :]
        read = stream.buffers.get("read", len(x), frames, TAPS * x.shape[2])
        steps = joined.strides
        np.copyto(read, as_strided(joined, read.shape, (steps[0], self._stride * steps[1], steps[2])))
        np.matmul(_rows(read), self._matrix, out=_rows(out))
        np.add(out, self._bias, out=out)
        return np.maximum(out, 0, out=out)


class BlockStack:
    """Mamba blocks one after the other.

    Parameters
    ----------
    name : str
        Of the stack.
    weights : mapping
        Of the network.
    arena : Arena
        Where they are put.
    blocks : int
        How many.
    """

    def __init__(self, name: str, weights: Weights, *, arena: Arena, blocks: int) -> None:
        self._name = name
        self._weights = _stacked([_block(f"{name}.{block}", weights) for block in range(blocks)], arena)

    def run(self, x: Float32Array, stream: Stream) -> Float32Array:
        """``(B, T, d)`` in place; returns it.

        Raises
        ------
        DataError
            When numbers on the way are not finite.
        """
        if x.shape[1] == 0:  # the layers before still hold back the first frames
            return x
        w = self._weights
        blocks, inner = w.skip.shape
        past = stream.zeros(f"{self._name} past", blocks, len(x), w.conv.shape[1] - 2, inner)
        state = stream.zeros(f"{self._name} state", blocks, len(x), w.rate.shape[1], inner)
        if not is_few(x):
            self._run_chunk(x, past, state, stream)
        else:
            of_frames = self._frame_weights
            work = stream.buffers.get(f"{self._name} work", work_size(of_frames))
            if not run_frames(x, of_frames, past, state, work):
                raise DataError(OUT_OF_BOUNDS)
        return x

    @cached_property
    def _frame_weights(self) -> StackWeights:
        """For single frames, which a recording need not have: made when the first comes."""
        parts = for_frames(self._weights)
        arena = Arena(sum(part.size for part in parts), count=len(parts))
        return StackWeights(*(arena.put(part) for part in parts))

    def _run_chunk(self, x: Float32Array, past: Float32Array, state: Float32Array, stream: Stream) -> None:
        w, rows = self._weights, x.reshape(-1, x.shape[2])
        normed, branch = (stream.buffers.get(name, *rows.shape) for name in ("normed", "branch"))
        share_rows(lambda share: normalise_rows(share, normed, rows, w.norm_in[0]), rows)
        for block in range(len(w.skip)):
            self._mix(block, normed, branch, past[block], state[block], stream)
            norm_next = w.norm_in[block + 1] if block + 1 < len(w.skip) else w.norm_in[0, :0]
            norm_out = w.norm_out[block]
            share_rows(lambda share: finish_block(share, rows, normed, branch, norm_out, norm_next), rows)  # noqa: B023

    def _mix(
        self,
        block: int,
        normed: Float32Array,
        branch: Float32Array,
        past: Float32Array,
        state: Float32Array,
        stream: Stream,
    ) -> None:
        """The Mamba layer itself: ``normed (R, d)`` to ``branch (R, d)``."""
        w, buffers = self._weights, stream.buffers
        inner, states, rank = w.skip.shape[1], w.rate.shape[1], w.dt_proj.shape[1]
        batch, length = len(state), len(normed) // len(state)
        raw, gate, u, delta, y = (
            buffers.get(name, batch, length, inner) for name in ("raw", "gate", "u", "delta", "y")
        )
        np.matmul(normed, w.in_proj[block, 0], out=_rows(raw))
        np.matmul(normed, w.in_proj[block, 1], out=_rows(gate))
        share_rows(lambda share: conv_silu(share, u, raw, past, w.conv[block]), _rows(u))
        _keep_last(past, raw)
        maps = np.matmul(_rows(u), w.x_proj[block], out=buffers.get("maps", len(normed), rank + 2 * states))
        np.matmul(maps[:, :rank], w.dt_proj[block], out=_rows(delta))
        B, C = (buffers.get(name, batch, length, states) for name in "BC")
        np.copyto(_rows(B), maps[:, rank : rank + states])
        np.copyto(_rows(C), maps[:, rank + states :])
        inputs = (u, delta, gate, w.dt_bias[block], w.rate[block], B, C, w.skip[block])
        run_tasks(
            lambda share: forward(share, True, inputs, state, _NO_CHECKPOINTS, _NONE, y),
            batch * block_count(inner),
            threads=thread_limit(),
            updates=u.size * states,
        )
        np.matmul(_rows(y), w.out_proj[block], out=branch)


def is_few(x: Float32Array) -> bool:
    """Whether the loops for single frames are faster than matrix products for ``x (B, T, channels)``."""
    return bool(x.shape[0] * x.shape[1] <= _FEW_ROWS)


def share_rows(work: Callable[[tuple[int, int]], None], rows: Float32Array) -> None:
    """Call ``work`` on ranges of the rows, on several threads where it is worth it."""
    run_tasks(work, len(rows), threads=thread_limit(), updates=4 * rows.size)


def _rows(x: Float32Array) -> Float32Array:
    return x.reshape(-1, x.shape[-1])


def _keep_last(past: Float32Array, x: Float32Array) -> None:
    """The last frames of ``past (B, k, D)`` and ``x (B, T, D)`` together become the past."""
    kept, length = past.shape[1], x.shape[1]
    if length < kept:
        past[:, : kept - length] = past[:, length:].copy()
        past[:, kept - length :] = x
    else:
        past[:] = x[:, length - kept :]


def _folded(name: str, weights: Weights) -> tuple[Float32Array, Float32Array]:
    """Convolution and batch normalisation as one matrix ``(3 in, out)`` and bias ``(out,)``; computed in float64."""
    kernel, bias = (weights[f"{name}.conv.{part}"].astype(np.float64) for part in ("weight", "bias"))
    gain, shift, mean, variance = (
        weights[f"{name}.norm.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
    )
    if variance.min() < 0:
        raise CheckpointError(f"{name}.norm.running_var must not be negative, got {variance.min():g}")
    scale = gain / np.sqrt(variance + _BATCH_NORM_EPSILON)
    matrix = (kernel * scale[:, None, None]).transpose(2, 1, 0).reshape(-1, len(scale))
    return matrix.astype(np.float32), ((bias - mean) * scale + shift).astype(np.float32)


def _block(name: str, weights: Weights) -> StackWeights:
    """Weights of one Mamba block."""

    def get(part: str) -> Float32Array:
        return weights[f"{name}.{part}"]

    with np.errstate(over="ignore"):
        rates = -np.exp(get("mixer.A_log"))
    if not np.isfinite(rates).all():
        raise CheckpointError(f"{name}.mixer.A_log is too large: its exponential is not finite")
    scan = StepParameters.of(rates, get("mixer.D"), delta_bias=get("mixer.dt_proj.bias"))
    in_proj = get("mixer.in_proj.weight")
    return StackWeights(
        norm_in=np.stack([get("norm_in.weight"), get("norm_in.bias")]),
        in_proj=in_proj.reshape(2, -1, in_proj.shape[1]).transpose(0, 2, 1),
        conv=np.vstack([get("mixer.conv.weight")[:, 0].T, get("mixer.conv.bias")]),
        x_proj=get("mixer.x_proj.weight").T,
        dt_proj=get("mixer.dt_proj.weight").T,
        dt_bias=scan.bias,
        rate=scan.rate,
        skip=scan.skip,
        out_proj=get("mixer.out_proj.weight").T,
        norm_out=np.stack([get("norm_out.weight"), get("norm_out.bias")]),
    )


def _stacked(blocks: list[StackWeights], arena: Arena) -> StackWeights:
    """Weights of several blocks as one array per part."""
    return StackWeights(*(arena.put(np.stack(parts)) for parts in zip(*blocks, strict=True)))
