"""The sections of a recording, tracked once, and read again for every pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from metst.arrays import Float64Array, Image
from metst.config import FaceSettings
from metst.face import track_face
from metst.regions import LANDMARK_COUNT
from metst.sensitivity.moments import Moment, Section
from metst.sensitivity.recording_quality import Light
from metst.synthesis.action_units import FacePose
from metst.synthesis.events import PlantedEvent
from metst.timeline import TimeGrid
from metst.video import ColourFrame, Frame, read_colour_stream
from metst.video.pixels import rgb_to_grey

KEPT_BYTES: Final = 1_000_000_000
"""Pictures of the sections up to this size stay in memory; larger recordings are decoded once per pass."""

_LOOKS: Final = 24  # pictures per section whose light and noise are measured

_NOISE_GAIN: Final = 6.0
"""Standard deviation of white noise after the kernel of :func:`look_at`: the root of the sum of its squares, 36."""

_MEDIAN_OF_NORMAL: Final = 0.6745
"""Median of the absolute value of a standard normal number."""


@dataclass(frozen=True, eq=False)
class Stretch:
    """One section as it was tracked.

    Parameters
    ----------
    section : Section
        Which frames.
    time_s : (n,) float64
        Their timestamps in the recording.
    landmarks : (n, 68, 2) float64
        px; NaN where there is no face.
    looks : tuple of Light
        Light and noise of some of the frames.
    """

    section: Section
    time_s: Float64Array
    landmarks: Float64Array
    looks: tuple[Light, ...]

    @property
    def grid(self) -> TimeGrid:
        """Times from the first frame of the section on."""
        return TimeGrid(self.time_s - self.time_s[0])

    @property
    def face_px(self) -> float:
        """Distance of the outer eye corners, px, in the median over the frames."""
        seen = self.landmarks[np.isfinite(self.landmarks).all(axis=(1, 2))]
        return float(np.median([FacePose.from_landmarks(points).unit_px for points in seen])) if len(seen) else 0.0

    def local(self, event: PlantedEvent) -> PlantedEvent:
        """The same movement on :attr:`grid`."""
        first = float(self.time_s[0])
        return replace(
            event, onset_s=event.onset_s - first, apex_s=event.apex_s - first, offset_s=event.offset_s - first
        )


@dataclass(eq=False)
class Footage:
    """Pictures of the sections of a recording, in order."""

    path: Path
    sections: tuple[Section, ...]
    rate_hz: float | None = None
    _kept: list[list[ColourFrame]] | None = field(default=None, init=False)

    def parts(self) -> Iterator[tuple[Section, Iterator[ColourFrame]]]:
        """Each section with its frames; the frames have to be taken before the next section."""
        if self._kept is not None:
            yield from ((section, iter(frames)) for section, frames in zip(self.sections, self._kept, strict=True))
            return
        stream, at = read_colour_stream(self.path, rate_hz=self.rate_hz), 0
        for section in self.sections:
            for _ in islice(stream, section.first - at):
                pass
            yield section, islice(stream, section.stop - section.first)
            at = section.stop

    @property
    def moments(self) -> list[Moment]:
        """The quiet moments of all sections."""
        return [moment for section in self.sections for moment in section.moments]

    def track(self) -> Iterator[Stretch]:
        """Landmarks of every frame; from then on small footage is read from memory."""
        kept: list[list[ColourFrame]] | None = []
        size = 0
        for section, frames in self.parts():
            mine: list[ColourFrame] = []
            taken = _Taken(frames)
            points, looks = [], []
            every = max((section.stop - section.first) // _LOOKS, 1)
            for number, found in enumerate(track_face(taken, settings=FaceSettings(landmark_interval_s=0.0))):
                face = found.face
                points.append(
                    np.full((LANDMARK_COUNT, 2), np.nan) if face is None else face.landmarks.astype(np.float64)
                )
                if face is not None and number % every == 0:
                    looks.append(look_at(found.frame.grey, landmarks=points[-1]))
                if kept is not None:
                    size += taken.last.rgb.nbytes
                    mine.append(taken.last)
                    kept = kept if size <= KEPT_BYTES else None
            if kept is not None:
                kept.append(mine)
            yield Stretch(section, np.array(taken.times_s), np.stack(points), tuple(looks))
        self._kept = kept


class _Taken:
    """Grey frames of colour ones; the last colour frame and all times stay at hand."""

    def __init__(self, frames: Iterator[ColourFrame]) -> None:
        self._frames = frames
        self.times_s: list[float] = []
        self.last: ColourFrame

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._frames:
            self.last = frame
            self.times_s.append(frame.time_s)
            yield Frame(frame.index, frame.time_s, np.asarray(rgb_to_grey(frame.rgb), np.uint8))


def look_at(grey: Image, *, landmarks: Float64Array) -> Light:
    """Light and noise within the box of the landmarks.

    The noise is the median of the absolute second difference of second differences, scaled to the standard deviation
    of white noise (Immerkaer 1996 with a median in place of the mean, so that edges and hair do not count).
    """
    height, width = grey.shape
    left, top = np.clip(np.floor(landmarks.min(axis=0)).astype(int), 0, [width - 1, height - 1])
    right, bottom = np.clip(np.ceil(landmarks.max(axis=0)).astype(int), 1, [width, height])
    face = grey[top : max(bottom, top + 1), left : max(right, left + 1)].astype(np.float32)
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    grain = float(np.median(np.abs(cv2.filter2D(face, cv2.CV_32F, kernel)))) / (_NOISE_GAIN * _MEDIAN_OF_NORMAL)
    return Light(float(face.mean()), float(face.std()), grain)
