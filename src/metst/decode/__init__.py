"""Stage 5, from per-frame scores to intervals: the product's rule and the two published ones.

:func:`decode_scores` is what the product uses, and :class:`EventStream` the same rule frame by frame:
an absolute threshold, events of any length and a calibrated confidence, so that a video without any
micro-expression gives nothing.  :func:`published_intervals` and :func:`majority_label` repeat what
ME-TST, ME-TST+ and BoostingVRME were published with; :func:`decode_published` makes
:class:`~metst.timeline.Intervals` of them.

Scores are a :class:`~metst.timeline.Series` with the channels ``spot_score`` and one ``p_<class>``
per class; frames that are not valid are gaps, which no event contains or crosses.
"""

from metst.decode.events import EventStream, decode_scores
from metst.decode.published_events import decode_published
from metst.decode.scores import CLASS_PREFIX, NEUTRAL, SPOT, score_channels
from metst.published.rule import (
    frame_classes,
    kept_detections,
    majority_label,
    published_intervals,
)

__all__ = [
    "CLASS_PREFIX",
    "NEUTRAL",
    "SPOT",
    "EventStream",
    "decode_published",
    "decode_scores",
    "frame_classes",
    "kept_detections",
    "majority_label",
    "published_intervals",
    "score_channels",
]
