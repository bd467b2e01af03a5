"""The engine: a network without torch, for scoring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from metst.arrays import Float32Array
from metst.config import STAGES, NetworkConfig
from metst.decode.odds import probability
from metst.errors import CheckpointError, DataError
from metst.models.engine.buffers import Arena, Buffers, Stream
from metst.models.engine.layers import OUT_OF_BOUNDS, BlockStack, CentredConv, Weights, is_few
from metst.models.engine.tensors import check_tensors, tensor_shapes
from metst.models.scan.numpy_scan import plain
from metst.models.scan.pool import run_tasks
from metst.models.scan.rows import CHUNK, first_outside
from metst.threads import thread_limit

_ROWS = 2048  # frames of all sequences that go through a layer together: what they need stays in the cache
_LARGEST = float(np.finfo(np.float32).max)  # of the numbers that motion may hold


class _Pathway(Protocol):
    def run(self, x: Float32Array, stream: Stream) -> Float32Array: ...


class _SingleRate:
    """One row of Mamba blocks at full rate (ME-TST)."""

    def __init__(self, name: str, weights: Weights, *, config: NetworkConfig, arena: Arena) -> None:
        self._name = name
        self._blocks = BlockStack(f"{name}.blocks", weights, arena=arena, blocks=config.blocks)

    def run(self, x: Float32Array, stream: Stream) -> Float32Array:
        """``(B, T, d)`` to a buffer of the same shape; ``x`` is left as it is."""
        out = stream.buffers.get(self._name, *x.shape)
        np.copyto(out, x)
        return self._blocks.run(out, stream)


class _SlowFast:
    """Full rate and half rate side by side in three stages (ME-TST+, BoostingVRME)."""

    def __init__(self, name: str, weights: Weights, *, config: NetworkConfig, arena: Arena) -> None:
        self._name, count = name, config.blocks // STAGES
        self._slow_stem = CentredConv(f"{name}.slow_stem", weights, arena=arena, stride=2)
        self._fast, self._slow = (
            [BlockStack(f"{name}.{rate}.{stage}", weights, arena=arena, blocks=count) for stage in range(STAGES)]
            for rate in ("fast", "slow")
        )
        self._laterals = [
            CentredConv(f"{name}.laterals.{lateral}", weights, arena=arena, stride=2) for lateral in range(STAGES - 1)
        ]

    def run(self, x: Float32Array, stream: Stream) -> Float32Array:
        """``(B, T, d)`` to ``(B, T', 3 d)``, slow channels first; ``x`` is left as it is."""
        fast = stream.buffers.get(self._name, *x.shape)
        np.copyto(fast, x)
        slow = self._slow[0].run(self._slow_stem.run(x, stream), stream)
        self._fast[0].run(fast, stream)
        for lateral, fast_blocks, slow_blocks in zip(self._laterals, self._fast[1:], self._slow[1:], strict=True):
            np.add(slow, lateral.run(fast, stream), out=slow)
            slow_blocks.run(slow, stream)
            fast_blocks.run(fast, stream)
        return self._join(fast, slow, stream)

    def _join(self, fast: Float32Array, slow: Float32Array, stream: Stream) -> Float32Array:
        past = stream.kept.get(self._name, fast[:, :0])
        fast = np.concatenate([past, fast], axis=1)
        frames = min(fast.shape[1], 2 * slow.shape[1])
        stream.kept[self._name] = fast[:, frames:].copy()
        out = stream.buffers.get(f"{self._name} features", len(fast), frames, slow.shape[2] + fast.shape[2])
        out[:, 0::2, : slow.shape[2]] = slow[:, : (frames + 1) // 2]
        out[:, 1::2, : slow.shape[2]] = slow[:, : frames // 2]
        out[:, :, slow.shape[2] :] = fast[:, :frames]
        return out


class Engine:
    """A network of the family of :mod:`metst.models.networks`, computed without torch.

    It gives the numbers of ``StateTransitionNetwork`` in evaluation mode (to 1e-5).  Any number of threads may use one
    engine at the same time, each with its own streams.

    Parameters
    ----------
    config : NetworkConfig
        Which member of the family.
    weights : mapping of str to float32 array
        By the names of the torch module's state dict.
    where : str
        What an error message calls the source of the weights.

    Raises
    ------
    CheckpointError
        When a tensor is missing, is left over, has another shape or dtype, or is not finite.
    """

    def __init__(self, config: NetworkConfig, weights: Mapping[str, Float32Array], *, where: str) -> None:
        check_tensors(weights, expected=tensor_shapes(config), where=where)
        _check_values(weights, where)
        pathway = _SlowFast if config.slow_fast else _SingleRate
        self.config = config
        self._size = sum(values.size for values in weights.values())  # weights that a frame is multiplied with
        arena = Arena(self._size, count=len(weights))
        self._stem = [CentredConv(f"stem.{layer}", weights, arena=arena) for layer in range(2)]
        self._pathways: list[_Pathway] = [
            pathway(f"pathways.{index}", weights, config=config, arena=arena) for index in range(config.pathway_count)
        ]
        self._heads = [
            (arena.put(weights[f"{head}.weight"].T), arena.put(weights[f"{head}.bias"]))
            for head in ("spot_head", "recog_head")
        ]

    @property
    def look_ahead(self) -> int:
        """Most frames that must follow a frame before its score comes out."""
        return len(self._stem) + (1 if self.config.slow_fast else 0)

    def __call__(self, x: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Score whole sequences.

        Parameters
        ----------
        x : (B, T, C) float32
            ROI motion in the units the network was trained with, at least one frame.

        Returns
        -------
        score : (B, T) float32
            Micro-expression score in [0, 1].
        logits : (B, T, K) float32
            Class logits.

        Raises
        ------
        DataError
            When ``x`` is not float32 ``(B, T, C)`` with the channels of this network, not finite, or so large that the
            network's numbers overflow.
        """
        x = self._checked(x, first=0)
        if x.shape[1] == 0:
            raise DataError(f"network {self.config.name} expects at least one frame to score, got none")
        together, buffers = max(1, _ROWS // x.shape[1]), Buffers()
        parts = [
            self._advance(x[first : first + together], Stream(len(x[first : first + together]), buffers), last=True)
            for first in range(0, len(x), together)
        ]
        return _joined([score for score, _ in parts], axis=0), _joined([logits for _, logits in parts], axis=0)

    def advance(
        self, x: Float32Array, state: Stream | None, *, last: bool
    ) -> tuple[Float32Array, Float32Array, Stream | None]:
        """Score the next chunk of a sequence.

        The results of all chunks, joined, are the result of one pass over the whole sequence, whatever the sizes of
        the chunks.  Up to :attr:`look_ahead` frames are held back until later frames are known, or until ``last``.

        Parameters
        ----------
        x : (B, T, C) float32
            The next frames; ``T`` may be 0.
        state : Stream or None
            What the previous chunk returned; None for the first one.  It is used up: the call changes it in place,
            unless it refuses ``x``, and no other call can go on from it.
        last : bool
            No frame follows.

        Returns
        -------
        score : (B, T') float32
        logits : (B, T', K) float32
            For the next ``T'`` frames whose result is final.
        state : Stream or None
            For the next chunk; None after the last.

        Raises
        ------
        DataError
            When ``x`` is not float32 ``(B, T, C)`` with the channels of this network and the sequences of the state, or
            not finite; or when it is so large that the network's numbers overflow, which ends the stream.
        """
        x = self._checked(x, first=0 if state is None else state.frames)
        if state is None:
            state = Stream(len(x), Buffers())
        elif state.batch != len(x):
            raise DataError(f"expected the next frames of {state.batch} sequences, got {len(x)}: start a new stream")
        score, logits = self._advance(x, state, last=last)
        return score, logits, None if last else state

    def _advance(self, x: Float32Array, stream: Stream, *, last: bool) -> tuple[Float32Array, Float32Array]:
        """Piece by piece, so that the memory does not grow with the chunk."""
        piece = max(1, _ROWS // max(1, len(x)) // CHUNK) * CHUNK
        scores, logits = [], []
        for start in range(0, max(1, x.shape[1]), piece):
            stream.last = last and start + piece >= x.shape[1]
            score, logit = self._run(plain(x[:, start : start + piece]), stream)
            scores.append(score)
            logits.append(logit)
        stream.frames += x.shape[1]
        return _joined(scores, axis=1), _joined(logits, axis=1)

    def _run(self, x: Float32Array, stream: Stream) -> tuple[Float32Array, Float32Array]:
        with np.errstate(over="ignore", invalid="ignore"):  # found below, as in compiled code, which cannot warn
            for layer in self._stem:
                x = layer.run(x, stream)
            features = self._features(x, stream)
            spot, recog = (
                np.matmul(read, matrix) + bias
                for read, (matrix, bias) in zip((features[0], features[-1]), self._heads, strict=True)
            )
        if not (np.isfinite(spot).all() and np.isfinite(recog).all()):
            raise DataError(OUT_OF_BOUNDS)
        return probability(spot[:, :, 0]), recog

    def _features(self, x: Float32Array, stream: Stream) -> list[Float32Array]:
        """What each pathway makes of ``x``; of few frames, for which it has no threads of its own, each in a thread."""
        if len(self._pathways) == 1 or not is_few(x):
            return [pathway.run(x, stream) for pathway in self._pathways]
        found: dict[int, Float32Array] = {}

        def run(share: tuple[int, int]) -> None:
            with np.errstate(over="ignore", invalid="ignore"):  # a thread does not inherit it
                for index in range(*share):
                    found[index] = self._pathways[index].run(x, stream)

        run_tasks(run, len(self._pathways), threads=thread_limit(), updates=self._size)
        return [found[index] for index in range(len(found))]

    def _checked(self, x: Float32Array, *, first: int) -> Float32Array:
        """``x`` as the compiled loops want it; ``first`` is the number of its first frame in the stream."""
        name, channels = self.config.name, self.config.in_channels
        if x.ndim != 3 or x.shape[2] != channels or x.dtype != np.float32:
            raise DataError(f"network {name} expects motion (B, T, {channels}) of float32, got {x.shape} of {x.dtype}")
        if len(x) == 0:
            raise DataError(f"network {name} expects at least one sequence, got {x.shape}")
        x = plain(x)
        at = first_outside(x.reshape(-1), -_LARGEST, _LARGEST)
        if at >= 0:
            sequence, frame, channel = np.unravel_index(at, x.shape)
            raise DataError(
                f"network {name} expects finite motion, got {x[sequence, frame, channel]} in frame {first + frame},"
                f" channel {channel} of sequence {sequence} (counted from 0)"
            )
        return x


def _joined(parts: list[Float32Array], *, axis: int) -> Float32Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)


def _check_values(weights: Mapping[str, Float32Array], where: str) -> None:
    for name, values in weights.items():
        if name.endswith("num_batches_tracked"):
            continue
        if values.dtype != np.float32:
            raise CheckpointError(f"{where}: {name} must be float32, is {values.dtype}: convert the checkpoint again")
        if not np.isfinite(values).all():
            raise CheckpointError(f"{where}: {name} has numbers that are not finite: get another checkpoint")
