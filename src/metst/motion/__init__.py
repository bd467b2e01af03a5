"""Stage 3: frames and the face track become the motion of 18 regions.

``trajectory`` is the product's way, one pass over the video by the ``tracker``, which registers each frame
(``registration``) against an ``anchor`` in the ``canonical`` face and takes the ``head`` out;
``measured`` is stages 1 to 3 in one call.  The published extractor is :mod:`metst.published.extractor`.

Settings of the registration were chosen on three portraits with ten seeds (benchmarks/motion.py, docs/motion.md); which
of them served which number is not on record.  A constant that names no origin was set by hand.
"""

from metst.motion.frame import MotionFrame
from metst.motion.tracker import MotionTracker
from metst.motion.trajectory import extract_motion
from metst.published.extractor import published_windows
from metst.results.motion import Motion

__all__ = ["Motion", "MotionFrame", "MotionTracker", "extract_motion", "published_windows"]
