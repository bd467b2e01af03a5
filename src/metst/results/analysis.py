"""What one analysis found, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metst.arrays import BoolArray, Float32Array
from metst.errors import DataError
from metst.results.flags import Flags
from metst.timeline import Intervals, Series, TimeGrid

FACE_CHANNELS = ("left", "top", "right", "bottom", "eye_left_x", "eye_left_y", "eye_right_x", "eye_right_y")


@dataclass(frozen=True)
class Source:
    """The recording that was analysed; ``path`` as it was given, sizes in pixels as displayed."""

    name: str
    path: str
    width: int
    height: int
    frames: int
    duration_s: float
    rate_hz: float
    codec: str
    content_hash: str = ""


@dataclass(frozen=True)
class Gap:
    """Frames ``start`` up to, not including, ``stop`` (0-based) that could not be used, and why."""

    start: int
    stop: int
    reason: str


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything that one analysis found, over the ``T`` frames of the recording.

    Parameters
    ----------
    source : Source
        The recording.
    scores : Series (T, 1 + K)
        Channels ``spot_score`` and ``p_<class>``, in [0, 1].
    motion : Series (T, 18, 2)
        ROI trajectory in face units (1 = distance of the outer eye corners), x right, y down.
    motion_quality : (T, 18) float32
        In [0, 1].
    conditions : (T, 18) uint8
        Sets of :class:`metst.results.Condition`: what may make motion look different from what it is.
    centres : (T, 18, 2) float32
        Centres of the regions, pixels of the recording; NaN where there is no motion.
    face : Series (T, 8)
        Channels :data:`FACE_CHANNELS`: the box and the eye centres, in pixels of the recording.
    face_quality : (T,) float32
        In [0, 1].
    reasons : tuple of T str
        Why a frame could not be used (``"no face"``); empty when it could.
    events : Intervals
        The movement candidates.
    model : dict of str
        ``name``, ``trained_on``, ``mode``, ...
    settings : dict
        The resolved settings, plain JSON values.
    problems : tuple of str
        What was wrong with the recording, for people.
    version, created : str
        Version of the product; ISO 8601 date and time.
    seconds : float
        How long the analysis took.

    Raises
    ------
    DataError
        The parts do not belong together.
    """

    source: Source
    scores: Series
    motion: Series
    motion_quality: Float32Array
    conditions: Flags
    centres: Float32Array
    face: Series
    face_quality: Float32Array
    reasons: tuple[str, ...]
    events: Intervals
    model: dict[str, str]
    settings: dict[str, Any]
    problems: tuple[str, ...]
    version: str
    created: str
    seconds: float

    def __post_init__(self) -> None:
        for name in ("motion_quality", "centres", "face_quality"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float32))
        count, regions = len(self.scores), len(self.motion.channels)
        shapes = {
            "motion": (self.motion.values.shape, (count, regions, 2)),
            "motion_quality": (self.motion_quality.shape, (count, regions)),
            "conditions": (self.conditions.shape, (count, regions)),
            "centres": (self.centres.shape, (count, regions, 2)),
            "face": (self.face.values.shape, (count, len(FACE_CHANNELS))),
            "face_quality": (self.face_quality.shape, (count,)),
            "reasons": ((len(self.reasons),), (count,)),
        }
        for name, (got, expected) in shapes.items():
            if got != expected:
                raise DataError(f"an analysis of {count} frames needs {name} of shape {expected}, got {got}")
        if self.face.channels != FACE_CHANNELS:
            raise DataError(f"face channels must be {', '.join(FACE_CHANNELS)}; got {', '.join(self.face.channels)}")
        if self.scores.channels[0] != "spot_score" or not all(c.startswith("p_") for c in self.scores.channels[1:]):
            raise DataError(f"score channels must be spot_score, p_<class>...; got {', '.join(self.scores.channels)}")
        if unknown := set(self.events.label) - set(self.events.classes):
            raise DataError(f"events of class {', '.join(sorted(unknown))}: expected {', '.join(self.events.classes)}")
        if len(self.events) and (self.events.onset.min() < 0 or self.events.offset.max() > count):
            raise DataError(f"an event lies outside the {count} frames of the analysis")

    @property
    def grid(self) -> TimeGrid:
        """Timestamps of the ``T`` frames."""
        return self.scores.grid

    @property
    def usable(self) -> BoolArray:
        """(T,) true where the frame could be used."""
        return np.array([not reason for reason in self.reasons], dtype=bool)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Runs of frames that could not be used, one per run and reason."""
        reasons = self.reasons
        starts = [i for i in range(len(reasons)) if i == 0 or reasons[i] != reasons[i - 1]]
        runs = zip(starts, [*starts[1:], len(reasons)], strict=True)
        return tuple(Gap(start, stop, reasons[start]) for start, stop in runs if reasons[start])

    @property
    def threshold(self) -> float | None:
        """Absolute score a peak had to reach; None under a rule whose threshold is relative to the video."""
        value = self.settings.get("decode", {}).get("peak_threshold")
        return None if value is None else float(value)
