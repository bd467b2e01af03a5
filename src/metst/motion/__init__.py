"""Motion of the 18 regions: as published for released checkpoints, and as one-pass trajectories."""

from metst.motion.published import published_windows
from metst.motion.trajectory import Motion, extract_motion

__all__ = ["Motion", "extract_motion", "published_windows"]
