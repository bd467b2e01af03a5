"""Memory of the engine: where the weights lie, what a stream of chunks carries, and the buffers layers work in."""

from __future__ import annotations

import math

import numpy as np

from metst.arrays import Float32Array
from metst.models.scan.rows import CACHE_LINE

_LINE = CACHE_LINE // 4  # numbers in a cache line


class Arena:
    """One piece of memory for all weights, in the order they are read.

    NumPy asks for large memory pages for a large piece: of small ones there would be more than the processor
    remembers the addresses of, and every single frame reads all weights.

    Parameters
    ----------
    size : int
        Numbers that all arrays have together.
    count : int
        How many arrays.
    """

    def __init__(self, size: int, *, count: int) -> None:
        memory = np.empty(size + (count + 1) * _LINE, np.float32)
        self._free = memory[-memory.ctypes.data // memory.itemsize % _LINE :]

    def put(self, array: Float32Array) -> Float32Array:
        """C-contiguous copy that starts at a cache line."""
        taken = -(-array.size // _LINE) * _LINE
        copy = self._free[: array.size].reshape(array.shape)
        np.copyto(copy, array)
        self._free = self._free[taken:]
        return copy


class Buffers:
    """Arrays that are used again from call to call, each under a name; they grow as needed."""

    def __init__(self) -> None:
        self._memory: dict[str, Float32Array] = {}

    def get(self, name: str, *shape: int) -> Float32Array:
        """Array of this shape with anything in it; what the name stood for before is overwritten."""
        size = math.prod(shape)
        memory = self._memory.get(name)
        if memory is None or memory.size < size:
            memory = self._memory[name] = np.empty(size, np.float32)
        return memory[:size].reshape(shape)


class Stream:
    """One batch of sequences on its way through an engine; every chunk changes it in place.

    Parameters
    ----------
    batch : int
        Sequences.
    buffers : Buffers
        Where the layers work.

    Attributes
    ----------
    frames : int
        How many went in so far.
    last : bool
        Whether the present chunk is the last: the layers flush what they hold back.
    kept : dict of arrays
        What each layer needs of earlier chunks, by name.
    counts : dict of int
        How many frames of it count, where that changes.
    """

    def __init__(self, batch: int, buffers: Buffers) -> None:
        self.batch = batch
        self.buffers = buffers
        self.frames = 0
        self.last = False
        self.kept: dict[str, Float32Array] = {}
        self.counts: dict[str, int] = {}

    def zeros(self, name: str, *shape: int) -> Float32Array:
        """What a layer keeps under a name, to be changed in place; zeros before the first chunk."""
        kept = self.kept.get(name)
        if kept is None:
            kept = self.kept[name] = np.zeros(shape, np.float32)
        return kept
