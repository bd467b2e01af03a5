"""metst: find micro-expressions in long videos of a face and say what they express."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from metst.analyze import analyze

if TYPE_CHECKING:
    from metst.models.checkpoint import load_model as load_model
    from metst.stream import Stream as Stream

# The matrix threads of NumPy and of torch spin for a while after each product, on processors that the compiled loops
# want.  At rest sooner, a second thread makes whole videos 1.7 and training steps 1.5 times as fast, not 1.2 times.
# Read when those are loaded: who loaded them before, or set something else, keeps that.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "14")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

__all__ = ["Stream", "analyze", "load_model"]


def __getattr__(name: str) -> Any:
    """Import what is heavy when it is first used: ``import metst`` stays instant."""
    if name == "load_model":
        from metst.models.checkpoint import load_model

        return load_model
    if name == "Stream":
        from metst.stream import Stream

        return Stream
    raise AttributeError(f"module 'metst' has no attribute {name!r}")
