"""The networks without torch: NumPy's matrix products and compiled loops, from the same weights.

``metst.models.networks`` is the definition; this package computes the same numbers for scoring.  ``tensors`` knows
which weights a network has, ``layers`` what is made of them and how chunks and single frames go through,
``kernels`` the compiled loops, ``buffers`` what is carried from chunk to chunk, ``network`` puts them together.
"""

from __future__ import annotations

from metst.models.engine.buffers import Stream
from metst.models.engine.network import Engine

__all__ = ["Engine", "Stream"]
