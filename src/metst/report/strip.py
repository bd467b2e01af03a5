"""The score over time as a strip of pixels, page by page, with a cursor: the lower part of the overlay video."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from metst.arrays import Image
from metst.report.canvas import line, palette, ring, shade, text_size, write
from metst.report.drawing import CLASS_COLOURS
from metst.report.ticks import clock_ticks
from metst.results import Analysis, face_conditions
from metst.timeline import true_runs

PAGE_S: Final = 20.0
"""Seconds that one page of the strip shows; set by hand, as is all that follows."""

_ONE_PAGE_S: Final = 30.0  # a recording this short is one page
_LEAST_PAGE_S: Final = 1e-3  # also for a recording of one frame
_ROUNDING: Final = 1e-9  # seconds or steps: what lies on an edge belongs to what follows, however sums are rounded

# Layout, in sizes of the text.
_LEFT, _RIGHT, _TOP, _BOTTOM = 3.2, 1.0, 1.9, 1.9
HEIGHT: Final = 10.5
_DOT, _BESIDE_DOT = 0.33, 0.6  # radius of the cursor's dot; from its middle to the words

# Layout, in pixels.
_SMALLER: Final = 2  # the text of axes, threshold and gaps
_TICK, _UNDER_TICK, _BESIDE_AXIS = 4, 6, 5  # length of a mark; from the axis to the words below, and to those beside
_DASH_EVERY, _DASH = 9, 4  # of the threshold
_EVENT_BAR, _OVER_EVENT, _LEAST_EVENT = 3, 5, 2  # bar over an event; from the panel to its words; least width
_FLAG, _GAP_PADDING, _CURVE = 4, 4, 2  # line of conditions; room beside the words in a gap; width of the curve

_GAP_SHADE, _EVENT_SHADE = 0.8, 0.38  # how much of the ground is hidden
_MOST_TICKS: Final = 11  # on a page


class ScoreStrip:
    """Draws the strip of one analysis.

    Parameters
    ----------
    analysis : Analysis
    width : int
        Pixels.
    size : int
        Of the text, pixels.
    """

    def __init__(self, analysis: Analysis, *, width: int, size: int) -> None:
        self.analysis, self.size, self.small = analysis, size, size - _SMALLER
        self.shape = round(HEIGHT * size), width
        self.left, self.right = round(_LEFT * size), width - round(_RIGHT * size)
        self.top, self.bottom = round(_TOP * size), self.shape[0] - round(_BOTTOM * size)
        duration_s = analysis.grid.duration_s
        self.page_s = max(duration_s, _LEAST_PAGE_S) if duration_s <= _ONE_PAGE_S else PAGE_S
        # Pages are shown one after the other, so one is enough to keep.
        self._page = lru_cache(maxsize=1)(self._drawn_page)

    def at(self, frame: int) -> Image:
        """(height, width, 3) uint8 RGB: the strip while ``frame`` is shown."""
        grid = self.analysis.grid
        time_s = float(grid.time_s[frame])
        number = int((time_s - grid.time_s[0]) / self.page_s + _ROUNDING)
        image = self._page(number).copy()
        x = self._x(time_s, number)
        score = float(self.analysis.scores.values[frame, 0])
        ink = palette()["ink"]
        line(image, [(x, self.top), (x, self.bottom)], colour=ink)
        if np.isfinite(score):
            ring(image, (x, self._y(score)), radius=_DOT * self.size, colour=ink, width=-1)
            text = f"{score:.2f}"
            beside = x + _BESIDE_DOT * self.size
            over = beside + text_size(text, size=self.size)[0] > self.right
            y = min(self._y(score), self.bottom - self.size)  # clear of the curve's foot
            place = (x - _BESIDE_DOT * self.size if over else beside, y)
            write(image, text, at=place, size=self.size, colour=ink, align=(1.0 if over else 0.0, 0.5))
        return image

    def _drawn_page(self, number: int) -> Image:
        analysis, colours = self.analysis, palette()
        start_s = float(analysis.grid.time_s[0]) + number * self.page_s
        edges = np.array([start_s, start_s + self.page_s]) - _ROUNDING
        first, after = np.searchsorted(analysis.grid.time_s, edges)
        image = np.empty((*self.shape, 3), np.uint8)
        image[:] = colours["page"]
        shade(image, box=(self.left, self.top, self.right, self.bottom), colour=colours["surface"], share=1.0)
        self._draw_ticks(image, number, start_s=start_s)
        self._draw_gaps(image, number)
        self._draw_events(image, number)
        self._draw_conditions(image, number, frames=slice(int(first), int(after)))
        if analysis.threshold is not None:
            y = self._y(analysis.threshold)
            for x in range(self.left, self.right, _DASH_EVERY):
                line(image, [(x, y), (min(x + _DASH, self.right), y)], colour=colours["muted"])
            write(image, f"{analysis.threshold:.2g}", at=(self.left - _BESIDE_AXIS, y), size=self.small,
                  colour=colours["muted"], align=(1, 0.5))  # fmt: skip
        self._draw_curve(image, number, frames=slice(int(first), int(after)))
        return image

    def _x(self, time_s: float, number: int) -> float:
        start_s = float(self.analysis.grid.time_s[0]) + number * self.page_s
        return self.left + (self.right - self.left) * (time_s - start_s) / self.page_s

    def _y(self, score: float) -> float:
        return self.bottom - (self.bottom - self.top) * min(max(score, 0.0), 1.0)

    def _draw_ticks(self, image: Image, number: int, *, start_s: float) -> None:
        colours = palette()
        for tick in clock_ticks(start_s, start_s + self.page_s, most=_MOST_TICKS):
            x = self._x(tick.value, number)
            line(image, [(x, self.bottom), (x, self.bottom + _TICK)], colour=colours["muted"])
            if self.left + self.size < x < self.right - self.size:
                place = (x, self.bottom + _UNDER_TICK)
                write(image, tick.text, at=place, size=self.small, colour=colours["muted"], align=(0.5, 0))
        for score in (0, 1):
            beside = (self.left - _BESIDE_AXIS, self._y(score))
            write(image, str(score), at=beside, size=self.small, colour=colours["muted"], align=(1, 0.5))
        title = (self.left - _BESIDE_AXIS, 2)
        write(image, "score", at=title, size=self.small, colour=colours["muted"], align=(1, 0))

    def _span(self, first: int, last: int, number: int) -> tuple[float, float] | None:
        """Where frames ``first`` to ``last`` lie on a page; None when on another."""
        time_s, frame_s = self.analysis.grid.time_s, self.analysis.grid.frame_s
        start, stop = self._x(float(time_s[first]), number), self._x(float(time_s[last]) + frame_s, number)
        if stop <= self.left or start >= self.right:
            return None
        return max(start, self.left), min(stop, self.right)

    def _draw_gaps(self, image: Image, number: int) -> None:
        colours = palette()
        for gap in self.analysis.gaps:
            if (span := self._span(gap.start, gap.stop - 1, number)) is None:
                continue
            shade(image, box=(span[0], self.top, span[1], self.bottom), colour=colours["line"], share=_GAP_SHADE)
            if text_size(gap.reason, size=self.small)[0] < span[1] - span[0] - _GAP_PADDING:
                middle = (sum(span) / 2, (self.top + self.bottom) / 2)
                write(image, gap.reason, at=middle, size=self.small, colour=colours["muted"], align=(0.5, 0.5))

    def _draw_events(self, image: Image, number: int) -> None:
        events, busy = self.analysis.events, -np.inf
        for i in range(len(events)):
            if (span := self._span(int(events.onset[i]), int(events.offset[i]) - 1, number)) is None:
                continue
            colour = event_colour(self.analysis, i)
            end = max(span[1], span[0] + _LEAST_EVENT)
            shade(image, box=(span[0], self.top, end, self.bottom), colour=colour, share=_EVENT_SHADE)
            shade(image, box=(span[0], self.top - _EVENT_BAR, end, self.top), colour=colour, share=1.0)
            text = f"{i + 1}  {event_words(self.analysis, i)}"
            width = text_size(text, size=self.size)[0]
            left = min(max((sum(span) - width) / 2, self.left), self.right - width)
            if left < busy:  # beside another: its number must do
                text, left = str(i + 1), max(left, busy)
            write(image, text, at=(left, self.top - _OVER_EVENT), size=self.size, colour=colour, align=(0, 1))
            busy = left + text_size(text, size=self.size)[0] + self.size / 2

    def _draw_conditions(self, image: Image, number: int, *, frames: slice) -> None:
        """A line along the bottom where a condition was noticed."""
        flagged = face_conditions(self.analysis.motion.conditions[frames]) > 0
        for frame in np.flatnonzero(flagged) + frames.start:
            if (span := self._span(int(frame), int(frame), number)) is not None:
                box = (span[0], self.bottom - _FLAG, span[1] + 0.5, self.bottom)
                shade(image, box=box, colour=palette()["class-4"], share=1.0)

    def _draw_curve(self, image: Image, number: int, *, frames: slice) -> None:
        score, time_s = self.analysis.scores.values[frames, 0], self.analysis.grid.time_s[frames]
        if not len(score):
            return
        points = np.array([(self._x(float(time_s[k]), number), self._y(float(score[k]))) for k in range(len(score))])
        for run in true_runs(np.isfinite(score)):
            line(image, points[run], colour=palette()["accent"], width=_CURVE)


def event_words(analysis: Analysis, event: int) -> str:
    """Class and confidence."""
    return f"{analysis.events.label[event]} {analysis.events.confidence[event]:.0%}"


def event_colour(analysis: Analysis, event: int) -> tuple[int, int, int]:
    """Colour of the event's class."""
    return palette()[f"class-{analysis.events.classes.index(analysis.events.label[event]) % CLASS_COLOURS}"]
