"""metst: find micro-expressions in long videos of a face and say what they express."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metst.analyze import analyze

if TYPE_CHECKING:
    from metst.checkpoint import load_model as load_model
    from metst.stream import Stream as Stream

__all__ = ["Stream", "analyze", "load_model"]


def __getattr__(name: str) -> Any:
    """Import what is heavy when it is first used: ``import metst`` stays instant."""
    if name == "load_model":
        from metst.checkpoint import load_model

        return load_model
    if name == "Stream":
        from metst.stream import Stream

        return Stream
    raise AttributeError(f"module 'metst' has no attribute {name!r}")
