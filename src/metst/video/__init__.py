"""Stage 1: a video file or a folder of numbered images becomes frames with timestamps.

Decoding is lazy and takes constant memory.  Three decisions hold everywhere:

* **Grey is the luma as stored.**  Video range (16-235) stays as it is and deeper luma keeps its
  upper 8 bits: no arithmetic stands between the camera and the motion measured.  Sources
  without a luma plane (RGB, palettes, still images but JPEG) become full-range grey in one way,
  ``pixels.rgb_to_grey``.  Only interlaced frames, which show two moments, are brought to one:
  every second row is averaged anew.
* **Time is the container's**, ``pts * time_base``, never ``index / rate``; for the exceptions
  see :class:`metst.video.clock.Clock`.
* **What is lost leaves a hole.**  A missing image or a frame that cannot be decoded is a jump
  in index and time, reported; nothing is invented to fill it.

``reading`` is the way in for both kinds of source; ``decoder`` decodes files, with ``clock`` for
their timestamps and ``index`` for what vanished from AVI; ``seeking`` gets single pictures;
``folder`` reads images; ``guard`` looks at every picture, from whichever door: ``repeats`` notices
those that stand still, ``combing`` two moments in one; ``measurable`` refuses what cannot be
analysed and tells what rate a recording has and how many frames it lost; ``writer`` writes mp4;
``hashing`` tells recordings apart.
"""

from metst.video.decoder import VideoInfo
from metst.video.hashing import Stamp, check_untouched, content_hash, content_stamp, is_unchanged
from metst.video.measurable import check_measurable, loss_problem, rate_and_loss
from metst.video.reading import (
    ColourFrame,
    Frame,
    probe_video,
    read_colour_frames,
    read_colour_groups,
    read_colour_stream,
    read_frames,
)
from metst.video.writer import write_video

__all__ = [
    "ColourFrame",
    "Frame",
    "Stamp",
    "VideoInfo",
    "check_measurable",
    "check_untouched",
    "content_hash",
    "content_stamp",
    "is_unchanged",
    "loss_problem",
    "probe_video",
    "rate_and_loss",
    "read_colour_frames",
    "read_colour_groups",
    "read_colour_stream",
    "read_frames",
    "write_video",
]
