"""Curves over time: the whole recording in rows, and each event close up."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from metst.arrays import Float32Array, FloatArray, IntArray
from metst.regions import REGIONS
from metst.report.condition_marks import draw_conditions
from metst.report.drawing import (
    ACCENT,
    INK,
    LINE,
    MUTED,
    Box,
    Drawing,
    Panel,
    add,
    class_colour,
    stroke,
    write,
)
from metst.report.facemap import region_centres
from metst.report.movement import bin_starts, binned, onset_to_apex, region_groups
from metst.report.ticks import Tick, clock_ticks, number_ticks
from metst.report.wording import clock
from metst.results import Analysis

ROW_S: Final = (60.0, 120.0, 300.0, 600.0, 1800.0)
"""Seconds that a row of the timeline may show; set by hand, as is all that follows."""

MOST_ROWS: Final = 12
"""Rows beyond which they show more each."""

_REST: Final = 0.2  # share of a row: a rest shorter than that is no row of its own

# Layout of a row, points: a score panel, a line of conditions, one thin strip per region.
_WIDTH, _LEFT, _RIGHT = 792.0, 68.0, 14.0
_SCORE, _FLAGS, _STRIPS, _GAP, _ABOVE, _BELOW = 72.0, 4.0, 97.0, 5.0, 19.0, 17.0
_SCORE_RANGE: Final = (0.0, 1.02)  # of the axis: a curve at 1 keeps its width
_BINS: Final = 700  # across a row: about one per point
_LEAST_SPAN_S: Final = 1e-3  # of an axis, also for a recording of one frame
_ROUNDING_S: Final = 1e-6  # a frame on the edge of a bin belongs to it, however sums are rounded
_MOST_TIMES, _MOST_SECONDS, _MOST_PERCENTS = 13, 6, 4  # marks along a row; below a close-up; beside it
_SCORES: Final = (Tick(0, "0"), Tick(0.5, "0.5"), Tick(1, "1"))  # marks beside the score
_LETTER: Final = 0.007  # of a row's width, per letter of a reason that is written into a gap
_LEAST_EVENT, _CLOSE_EVENTS = 500, 50  # a row's width over these: least width of an event; numbers nearer go up a step
_EVENT_BAR: Final = 0.04  # height of the bar over an event, share of the panel's
_NUMBER_UP, _NUMBER_STEP = 1.05, 0.12  # where the numbers of events stand, values of the score
_REASON_UP: Final = 0.75  # where the reason of a gap stands
_WORDS_UP: Final = 1.06  # where onset, apex and offset stand over a close-up

# Movement that fills a strip: the strongest half per cent of the recording, but at least 2 % of the eye distance.
_FULL_STRIP: Final = 99.5
_LEAST_FULL: Final = 0.02
HEAT_RGB: Final = (91, 91, 214)
"""Colour of a strip where the movement is full; where there is none, it is clear."""


@dataclass(frozen=True)
class Row:
    """One stretch of the recording as a drawing, and where on it time runs, as shares of its width."""

    svg: str
    start_s: float
    stop_s: float
    left: float = _LEFT / _WIDTH
    right: float = 1 - _RIGHT / _WIDTH


def full_strip(movement: Float32Array) -> float:
    """Movement, face units, that is drawn in full colour."""
    seen = movement[np.isfinite(movement)]
    return max(float(np.percentile(seen, _FULL_STRIP)) if seen.size else 0.0, _LEAST_FULL)


def timeline_rows(analysis: Analysis, *, movement: Float32Array, linked: Collection[int]) -> Iterator[Row]:
    """Draw the whole recording, one row after the other.

    Parameters
    ----------
    analysis : Analysis
        What was found.
    movement : (T, R) float32
        What :func:`metst.report.movement.recent_movement` gives, face units.
    linked : collection of int
        Events that have a card, to which their numbers lead.
    """
    grid, full = analysis.grid, full_strip(movement)
    count = row_count(grid.duration_s)
    edges = grid.time_s[0] + np.linspace(0, max(grid.duration_s, _LEAST_SPAN_S), count + 1)
    bounds = np.searchsorted(grid.time_s, edges)
    for number in range(count):
        frames = slice(int(bounds[number]), int(bounds[number + 1]))
        span_s = float(edges[number]), float(edges[number + 1])
        label = f"Score and motion from {clock(span_s[0])} to {clock(span_s[1])}"
        height = _ABOVE + _SCORE + _FLAGS + _GAP + _STRIPS + _BELOW
        drawing = Drawing(_WIDTH, height, key=f"row{number}", label=label, role="group")
        across = _WIDTH - _LEFT - _RIGHT
        score = drawing.panel(Box(_LEFT, _ABOVE, across, _SCORE), x=span_s, y=_SCORE_RANGE)
        flags = drawing.panel(Box(_LEFT, _ABOVE + _SCORE + 1, across, _FLAGS), x=span_s, y=(0, 1))
        below = Box(_LEFT, _ABOVE + _SCORE + _FLAGS + _GAP, across, _STRIPS)
        strips = drawing.panel(below, x=span_s, y=(len(REGIONS), 0))
        _draw_strips(strips, movement[frames] / full, grid.time_s[frames])
        _draw_score(score, analysis, frames=frames)
        draw_conditions(flags, analysis)
        for panel in (score, strips):
            _draw_gaps(panel, analysis, named=panel is score)
            panel.frame()
        _mark_events(score, strips, analysis, linked=linked)
        strips.x_ticks(clock_ticks(*span_s, most=_MOST_TIMES))
        yield Row(drawing.svg(), *span_s)


def row_count(duration_s: float) -> int:
    """Rows of about a minute; of more where that would be too many."""
    for row_s in ROW_S:
        count = max(1, int(np.ceil(duration_s / row_s - _REST)))
        if count <= MOST_ROWS:
            return count
    return MOST_ROWS


def _draw_score(panel: Panel, analysis: Analysis, *, frames: slice) -> None:
    time_s, score = analysis.grid.time_s[frames], analysis.scores.values[frames, 0]
    if len(score):
        envelope = _envelope(time_s, score, starts=bin_starts(frames, count=_BINS))
        panel.curve(*envelope, colour=INK, width=0.8)
    if analysis.threshold is not None:
        panel.level(analysis.threshold, colour=MUTED, width=0.7, dashes="3 2")
    panel.y_ticks(_SCORES)
    panel.y_title("score", off=24)


def _envelope(time_s: FloatArray, values: Float32Array, *, starts: IntArray) -> tuple[FloatArray, FloatArray]:
    """Curve through the lowest and highest value of each bin: no peak is lost, however long the recording."""
    if len(starts) == len(values):
        return time_s, values
    low, high = (binned(values, starts=starts, highest=highest) for highest in (False, True))
    return np.repeat(time_s[starts], 2), np.column_stack([low, high]).ravel()


def _draw_strips(panel: Panel, share: Float32Array, time_s: FloatArray) -> None:
    """One strip per region, the fuller the farther it moved; groups from brow to mouth."""
    height = region_centres()[:, 1]
    groups = sorted(region_groups(), key=lambda group: float(height[list(group[1])].mean()))
    order = [index for _, indices in groups for index in indices]
    if len(time_s):
        edges = np.linspace(time_s[0], panel.x[1], min(_BINS, len(time_s)) + 1)
        # Equal in time, not in frames: the strip is a picture, and a picture has columns of one width.
        starts = np.searchsorted(time_s, edges[:-1] + _ROUNDING_S, side="right") - 1
        shown = np.nan_to_num(binned(share, starts=starts, highest=True))[:, order]
        panel.heat(shown.T, x=(float(time_s[0]), panel.x[1]), rgb=HEAT_RGB)
    ends = np.cumsum([len(indices) for _, indices in groups])
    for end in ends[:-1]:
        panel.level(float(end), colour=LINE, width=0.6)
    named = [Tick(float(end) - len(indices) / 2, name) for end, (name, indices) in zip(ends, groups, strict=True)]
    panel.y_ticks(named, marks=False)


def _draw_gaps(panel: Panel, analysis: Analysis, *, named: bool) -> None:
    width_s = panel.x[1] - panel.x[0]
    for start, stop, reason in _visible_gaps(analysis, span_s=panel.x):
        panel.hatched(start, stop)
        if named and stop - start > _LETTER * len(reason) * width_s:
            panel.write((start + stop) / 2, _REASON_UP, reason)


def _visible_gaps(analysis: Analysis, *, span_s: tuple[float, float]) -> list[tuple[float, float, str]]:
    """Start, stop and reason of the gaps in a span; what the eye could not separate is one, named by its longest."""
    time_s, frame_s = analysis.grid.time_s, analysis.grid.frame_s
    least_s = (span_s[1] - span_s[0]) / _BINS
    found: list[tuple[float, float, str]] = []
    longest_s = 0.0
    for gap in analysis.gaps:
        start, stop = max(float(time_s[gap.start]), span_s[0]), min(float(time_s[gap.stop - 1]) + frame_s, span_s[1])
        if start >= stop:
            continue
        if found and start - found[-1][1] < least_s and (gap.reason == found[-1][2] or stop - start < least_s):
            found[-1] = (found[-1][0], stop, gap.reason if stop - start > longest_s else found[-1][2])
        else:
            found.append((start, stop, gap.reason))
            longest_s = 0.0
        longest_s = max(longest_s, stop - start)
    return found


def _mark_events(score: Panel, strips: Panel, analysis: Analysis, *, linked: Collection[int]) -> None:
    events, time_s, frame_s = analysis.events, analysis.grid.time_s, analysis.grid.frame_s
    width_s = score.x[1] - score.x[0]
    last_s, level = -np.inf, 0
    for i in range(len(events)):
        start, stop = float(time_s[events.onset[i]]), float(time_s[events.offset[i] - 1]) + frame_s
        if stop <= score.x[0] or start >= score.x[1]:
            continue
        # So narrow that it would not be seen on a row of ten minutes.
        stop = max(stop, start + width_s / _LEAST_EVENT)
        colour = class_colour(events.classes.index(events.label[i]))
        score.span(start, stop, style=f"fill:{colour};opacity:.3")
        score.span(start, stop, style=f"fill:{colour}", top=_EVENT_BAR)
        strips.span(start, stop, style=stroke(colour, width=0.8))
        middle = (start + stop) / 2
        level = 1 - level if middle - last_s < width_s / _CLOSE_EVENTS else 0
        last_s = middle
        place_x = float(np.clip(middle, *score.x))
        link = f"#event-{i + 1}" if i in linked else ""
        score.write(place_x, _NUMBER_UP + _NUMBER_STEP * level, str(i + 1), bold=True, link=link)


# Layout of a close-up, points.  Set by hand, as is all that follows.
_CLOSE_WIDTH, _CLOSE_HEIGHT = 460.0, 216.0
_SCORE_BOX, _MOTION_BOX = Box(43, 16, 310, 86), Box(43, 112, 310, 86)
_PADDING_S: Final = 0.7  # shown before and after an event at the least; else as long as it lasts
# The key beside a panel, pt: its distance, that of its rows, the length of its lines, where its words begin and how far
# their feet are below the lines.
_KEY_ASIDE, _KEY_ROW, _KEY_LINE, _KEY_WORDS, _KEY_FEET = 6, 12, 14, 18, 2.6
_CURVES: Final = 3  # regions that moved farthest, one per style of line
_LEAST_PERCENT: Final = 0.1  # of the eye distance: height of the panel for a face that does not move
_HEADROOM: Final = 1.05  # height of the panel over that of the highest curve
_DASHES: Final = ("", "4.4 1.6", "1.1 1.3")  # styles of line, points drawn and left out


def strongest_regions(displacement: Float32Array, *, count: int) -> list[int]:
    """Indices of the regions that moved farthest from onset to apex, farthest first."""
    distance = np.nan_to_num(np.linalg.norm(displacement, axis=1), nan=-1)
    return [int(i) for i in np.argsort(-distance, kind="stable")[:count] if distance[i] >= 0]


def draw_close_up(analysis: Analysis, event: int) -> str:
    """SVG of one event: the score around it, and how far the regions that moved most were from their place at onset."""
    events, time_s = analysis.events, analysis.grid.time_s
    onset, apex, last = int(events.onset[event]), int(events.apex[event]), int(events.offset[event]) - 1
    padding = max(_PADDING_S, float(time_s[last] - time_s[onset]))
    first, end = analysis.grid.frame_at(np.array([time_s[onset] - padding, time_s[last] + padding]))
    frames = slice(int(first), int(end) + 1)
    span_s = float(time_s[frames][0]), float(time_s[frames][-1]) + max(analysis.grid.frame_s, _LEAST_SPAN_S)
    label = f"Score and motion around candidate {event + 1}"
    drawing = Drawing(_CLOSE_WIDTH, _CLOSE_HEIGHT, key=f"close{event}", label=label)
    paths = _paths(analysis, frames=frames, onset=onset, apex=apex)
    highest = _HEADROOM * max([_LEAST_PERCENT, *(float(np.nanmax(away)) for _, away in paths)])
    score = drawing.panel(_SCORE_BOX, x=span_s, y=_SCORE_RANGE)
    motion = drawing.panel(_MOTION_BOX, x=span_s, y=(0, highest))
    colour = class_colour(events.classes.index(events.label[event]))
    for panel in (score, motion):
        panel.span(float(time_s[onset]), float(time_s[last]), style=f"fill:{colour};opacity:.22")
        panel.upright(float(time_s[apex]), colour=colour, width=1)
        _draw_gaps(panel, analysis, named=panel is score)
        panel.frame()
    _draw_score(score, analysis, frames=frames)
    _draw_paths(motion, paths, time_s=time_s[frames])
    motion.x_ticks(clock_ticks(*span_s, most=_MOST_SECONDS))
    score.write(float(time_s[onset]), _WORDS_UP, "onset", colour=MUTED, anchor="end")
    score.write(float(time_s[apex]), _WORDS_UP, "apex", colour=MUTED)
    score.write(float(time_s[last]), _WORDS_UP, "offset", colour=MUTED, anchor="start")
    return drawing.svg()


def _paths(analysis: Analysis, *, frames: slice, onset: int, apex: int) -> list[tuple[str, Float32Array]]:
    """Name of each region that moved most, and how far it was from its place at onset, percent of the eye distance."""
    motion = analysis.motion.displacement
    strongest = strongest_regions(onset_to_apex(motion, onset=onset, apex=apex), count=_CURVES)
    away = [100 * np.linalg.norm(motion.values[frames, r] - motion.values[onset, r], axis=1) for r in strongest]
    return [(motion.channels[region], path) for region, path in zip(strongest, away, strict=True)]


def _draw_paths(panel: Panel, paths: list[tuple[str, Float32Array]], *, time_s: FloatArray) -> None:
    beside, middle = panel.box.left + panel.box.width + _KEY_ASIDE, panel.box.top + panel.box.height / 2
    for row, (dashes, (name, away)) in enumerate(zip(_DASHES, paths, strict=False)):
        panel.curve(time_s, away, colour=ACCENT, width=1.1, dashes=dashes)
        down = middle + _KEY_ROW * (row - (len(paths) - 1) / 2)
        key = {"d": f"M{beside:g} {down:.2f}h{_KEY_LINE}", "style": stroke(ACCENT, width=1.1, dashes=dashes)}
        add(panel.drawing.root, "path", key)
        write(panel.drawing.root, beside + _KEY_WORDS, down + _KEY_FEET, name, colour=INK, anchor="start")
    panel.y_ticks(number_ticks(*panel.y, most=_MOST_PERCENTS, unit=" %"))
    panel.y_title("motion", off=34)
