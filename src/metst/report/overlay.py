"""The recording once more, with what was measured drawn onto it: regions, their motion enlarged, score, candidates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from metst.arrays import Float32Array, Float64Array, FloatArray, Image, IntArray, OnProgress
from metst.config import InputSettings
from metst.errors import DataError
from metst.regions import REGIONS
from metst.report.canvas import Point, arrow, chip, palette, ring, text_size, write
from metst.report.facemap import drawn_landmarks
from metst.report.strip import ScoreStrip, event_colour, event_words
from metst.report.thumbnails import Face, average_cells, covered, eye_bar
from metst.report.wording import clock
from metst.results import Analysis, in_words
from metst.spelling.names import given_name
from metst.timeline import Series, extremes, frame_for_people, true_runs
from metst.video import read_colour_stream, write_video

REFERENCE_S: Final = 1.0
"""Arrows show the motion against the mean of so many seconds before; set by hand, as is all that follows."""

_LEAST_WIDTH, _MOST_WIDTH, _MOST_HEIGHT = 800, 1280, 960  # pixels: small recordings are enlarged, large ones reduced
_CRF: Final = 20  # quality of H.264
_PRESET: Final = "veryfast"  # half the time of "fast", 26 and 53 ms a frame at 1280x940, and no larger file
_FULL_ARROW, _STRONG = 0.2, 90.0  # face units; the percentile of the motion around a frame that is drawn so long
_AROUND_S = 1.0  # what has just been seen, and comes next, is drawn to the same scale
_LONGEST_ARROW = 0.4  # face units; what moved still farther gets no longer arrow
_ENLARGEMENTS: Final = (2, 3, 5, 8, 12, 20, 30)  # few and round: the words name the one that is used
_SHORTEST_ARROW = 0.03  # face units: shorter ones stay within their ring and are left out
_RING = 0.045  # radius, face units
_ARROW_HEAD: Final = 0.075  # length, face units
_TRUSTED: Final = InputSettings().min_quality  # below, a region shows no arrow, as networks take it to stand still
_SAME_TIME_S: Final = 1e-3  # containers round their timestamps
_STILL: Final = 1e-9  # face units; keeps a face without motion from being divided by
_LEAST_TEXT_PX, _TEXT_OF_WIDTH, _BIGGER = 11, 60, 1.3  # size of the text: a 60th of the width; that of an event's words
_FIRST_FACE: Final = 4  # until a face was seen, it is taken to be this part of the width
_LEFT_EYE, _RIGHT_EYE = slice(36, 42), slice(42, 48)  # landmarks
_LEAST_FRAME_PX, _FRAME_OF_TEXT = 3, 4  # width of the frame around an event: size of the text over this
_ARROW_OF_TEXT: Final = 7  # width of an arrow: size of the text over this

# A coarse region says what its fine ones say together: only the fine ones are drawn.
_SHOWN: Final = [region.number - 1 for region in REGIONS if region.number - 1 not in {r.parent for r in REGIONS}]


def write_overlay(
    analysis: Analysis,
    path: str | Path,
    *,
    video: str | Path,
    rate_hz: float | None = None,
    cover_eyes: bool = True,
    on_progress: OnProgress | None = None,
) -> None:
    """Write the recording with the analysis drawn onto it, as H.264 in mp4, with the recording's timestamps.

    Parameters
    ----------
    analysis : Analysis
        What was found.
    path : str or Path
        The file to write.
    video : str or Path
        The recording that was analysed.
    rate_hz : float, optional
        Frame rate of a frame folder.
    cover_eyes : bool
        Cover the eyes with a bar, and average frames in which the face was not located over large cells, in the
        pixels themselves.  Somebody who knows the person may know them nevertheless, and other people in the picture
        are not covered.
    on_progress : callable, optional
        Called as ``on_progress("overlay", done, total)``.

    Raises
    ------
    DataError
        The video is not the one that was analysed.
    UsageError, VideoError
        It cannot be read.
    OutputError
        The file cannot be written.
    """
    times_s = analysis.grid.time_s - min(float(analysis.grid.time_s[0]), 0.0)
    frames = _frames(analysis, Path(video), rate_hz=rate_hz, cover_eyes=cover_eyes, on_progress=on_progress)
    write_video(path, frames, times_s=times_s.tolist(), crf=_CRF, preset=_PRESET)


def _frames(
    analysis: Analysis, video: Path, *, rate_hz: float | None, cover_eyes: bool, on_progress: OnProgress | None
) -> Iterator[Image]:
    time_s, painter, frame = analysis.grid.time_s, _Painter(analysis, cover_eyes=cover_eyes), 0
    for frame, picture in enumerate(read_colour_stream(video, rate_hz=rate_hz)):
        if frame >= len(time_s) or abs(picture.time_s - time_s[frame]) > _SAME_TIME_S:
            break
        yield painter.painted(picture.rgb, frame)
        if on_progress is not None:
            on_progress("overlay", frame + 1, len(time_s))
    else:
        if frame + 1 == len(time_s):
            return
    raise DataError(f"{given_name(video)} is not the recording that was analysed (from frame {frame + 1} on)")


def recent_displacement(motion: Series) -> Float32Array:
    """Motion against its mean over the second before: ``(T, R, 2)``, face units; NaN in gaps, never across one."""
    shown = np.full_like(motion.values, np.nan)
    for run in true_runs(motion.valid):
        values, time_s = motion.values[run].astype(np.float64), motion.grid.time_s[run]
        sums = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
        after = np.arange(1, len(values) + 1)
        first = np.searchsorted(time_s, time_s - REFERENCE_S)
        shown[run] = values - (sums[after] - sums[first]) / (after - first)[:, None, None]
    return shown


def enlargements(displacement: Float32Array, *, time_s: FloatArray) -> IntArray:
    """How many times longer than the motion the arrows of each frame are drawn: ``(T,)``.

    Parameters
    ----------
    displacement : (T, R, 2) float32
        What is to be drawn, face units; NaN where there is no arrow.
    time_s : (T,) float64
        Timestamps.
    """
    length = np.linalg.norm(displacement, axis=-1)
    strong = np.percentile(np.where(np.isfinite(length), length, 0), _STRONG, axis=1)
    first, after = (np.searchsorted(time_s, time_s + step_s) for step_s in (-_AROUND_S, _AROUND_S))
    around = extremes(strong, first, after, np.maximum)
    fitting = np.searchsorted(_ENLARGEMENTS, _FULL_ARROW / np.maximum(around, _STILL), side="right") - 1
    return np.array(_ENLARGEMENTS)[np.maximum(fitting, 0)]


class _Painter:
    """Draws frame after frame of one analysis."""

    def __init__(self, analysis: Analysis, *, cover_eyes: bool) -> None:
        self._analysis, self._cover_eyes = analysis, cover_eyes
        source = analysis.source
        grow = max(1.0, _LEAST_WIDTH / source.width)
        self._scale = min(grow, _MOST_WIDTH / source.width, _MOST_HEIGHT / source.height)
        # Even sizes: the encoder would add a column or row.
        self._size = 2 * round(source.width * self._scale / 2), 2 * round(source.height * self._scale / 2)
        self._text = max(_LEAST_TEXT_PX, round(self._size[0] / _TEXT_OF_WIDTH))
        self._strip = ScoreStrip(analysis, width=self._size[0], size=self._text)
        self._displacement = recent_displacement(analysis.motion.displacement)
        self._displacement[analysis.motion.quality < _TRUSTED] = np.nan
        self._enlarged = enlargements(self._displacement[:, _SHOWN], time_s=analysis.grid.time_s)
        left, right = (drawn_landmarks()[eye].mean(axis=0) for eye in (_LEFT_EYE, _RIGHT_EYE))
        self._eyes_apart = float(right[0] - left[0])
        self._event = np.full(len(analysis.grid), -1)
        for event in range(len(analysis.events)):
            self._event[analysis.events.onset[event] : analysis.events.offset[event]] = event
        self._face_px = source.width / _FIRST_FACE

    def painted(self, picture: Image, frame: int) -> Image:
        """(height, width, 3) uint8 RGB."""
        image = self._shown(picture, frame)
        if self._analysis.motion.displacement.valid[frame]:
            self._draw_regions(image, frame)
        self._draw_words(image, frame)
        if (event := int(self._event[frame])) >= 0:
            self._draw_event(image, event)
        strip = self._strip.at(frame)
        return np.concatenate([image, strip, strip[-1:]] if strip.shape[0] % 2 else [image, strip])

    def _shown(self, picture: Image, frame: int) -> Image:
        """The frame, in its size in the video, and with nothing to be seen that must not be."""
        face = self._face(frame)
        if face is not None:
            self._face_px = face.box[2] - face.box[0]
        if self._cover_eyes:
            if face is None:
                cells = average_cells(picture, face_px=self._face_px)
                return np.asarray(cv2.resize(cells, self._size, interpolation=cv2.INTER_NEAREST), np.uint8)
            # Covered before the picture grows, so that no pixel beside the bar carries a trace of the eyes.
            picture = covered(picture, eye_bar(face))
        method = cv2.INTER_AREA if self._scale < 1 else cv2.INTER_CUBIC
        image = np.array(cv2.resize(picture, self._size, interpolation=method), np.uint8)
        return covered(image, self._enlarged_points(eye_bar(face))) if self._cover_eyes and face is not None else image

    def _enlarged_points(self, points: FloatArray) -> Float64Array:
        """Pixels of the recording to pixels of the video."""
        return (points.astype(np.float64) + 0.5) * self._scale - 0.5

    def _face(self, frame: int) -> Face | None:
        if not self._analysis.motion.face.valid[frame]:
            return None
        values = self._analysis.motion.face.values[frame].astype(float).tolist()
        return Face((values[0], values[1], values[2], values[3]), ((values[4], values[5]), (values[6], values[7])))

    def _draw_regions(self, image: Image, frame: int) -> None:
        analysis, colours = self._analysis, palette()
        eyes = analysis.motion.face.values[frame, 4:].astype(np.float64) * self._scale
        unit = complex(eyes[2] - eyes[0], eyes[3] - eyes[1]) / self._eyes_apart  # a face unit in the picture
        width = max(1, round(self._text / _ARROW_OF_TEXT))
        for region in _SHOWN:
            centre = self._enlarged_points(analysis.motion.centres[frame, region])
            flagged = analysis.motion.conditions[frame, region] > 0
            moved = complex(*self._displacement[frame, region].tolist()) * self._enlarged[frame]
            trusted = moved == moved  # not NaN
            colour = colours["class-4"] if flagged else colours["accent"] if trusted else colours["muted"]
            ring(image, centre.tolist(), radius=_RING * abs(unit), colour=(0, 0, 0), width=2)
            ring(image, centre.tolist(), radius=_RING * abs(unit), colour=colour)
            if trusted and abs(moved) >= _SHORTEST_ARROW:
                moved *= min(1.0, _LONGEST_ARROW / abs(moved))
                tip = centre + (moved * unit).real * np.array([1, 0]) + (moved * unit).imag * np.array([0, 1])
                arrow(image, centre, tip, colour=colour, width=width, head=_ARROW_HEAD * abs(unit))

    def _draw_words(self, image: Image, frame: int) -> None:
        """Time and legend in the left corner, conditions in the right one."""
        analysis, colours, margin = self._analysis, palette(), self._text / 2
        time_s = float(analysis.grid.time_s[frame])
        ink, ground = colours["ink"], colours["page"]
        head = f"{clock(time_s, decimals=2)}   frame {int(frame_for_people(frame))}"
        below = chip(image, head, at=(margin, margin), size=self._text, ink=ink, ground=ground)
        times = self._enlarged[frame]
        legend = f"arrows: motion against the last second, enlarged {times} times here; the longest are cut"
        chip(image, legend, at=below, size=self._text - 2, ink=colours["muted"], ground=ground)
        corner: Point = (image.shape[1] - margin, margin)
        words = in_words(int(np.bitwise_or.reduce(analysis.motion.conditions[frame]))).split()
        for word in [analysis.motion.reason[frame], *words] if analysis.motion.reason[frame] else words:
            corner = chip(image, word, at=corner, size=self._text, ink=colours["class-4"], ground=ground, right=True)

    def _draw_event(self, image: Image, event: int) -> None:
        """A frame around the picture in the colour of the class, and what it is."""
        colour, thick = event_colour(self._analysis, event), max(_LEAST_FRAME_PX, self._text // _FRAME_OF_TEXT)
        height, width = image.shape[:2]
        for box in (np.s_[:thick], np.s_[height - thick :], np.s_[:, :thick], np.s_[:, width - thick :]):
            image[box] = colour
        words = f"{event + 1}  {event_words(self._analysis, event)}"
        size = round(_BIGGER * self._text)
        across, down = text_size(words, size=size)
        image[height - down - size : height, : across + 2 * size] = colour
        write(image, words, at=(size, height - down - size / 2), size=size, colour=palette()["page"])
