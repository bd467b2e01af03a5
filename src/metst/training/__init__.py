"""From labelled or simulated motion to a trained model: what is learnt from, the loop, and what the model finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metst.training.losses import joint_loss as joint_loss
    from metst.training.recipes import published_recipe as published_recipe

__all__ = ["joint_loss", "published_recipe"]


def __getattr__(name: str) -> Any:
    """The two doors when they are first used: a loss needs PyTorch, the rest of the room mostly does not."""
    if name == "joint_loss":
        from metst.training.losses import joint_loss

        return joint_loss
    if name == "published_recipe":
        from metst.training.recipes import published_recipe

        return published_recipe
    raise AttributeError(f"module 'metst.training' has no attribute {name!r}")
