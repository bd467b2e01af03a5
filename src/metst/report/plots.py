"""Curves over time: the whole recording in rows, and each event close up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from metst.report.drawing import ACCENT, INK, LINE, MUTED, class_colour, inline_svg, place
from metst.report.facemap import region_centres
from metst.report.movement import (
    Float32,
    bin_starts,
    binned,
    onset_to_apex,
    region_groups,
)
from metst.report.wording import clock
from metst.results import Analysis
from metst.timeline import FloatArray, IntArray

ROW_S: Final = (60.0, 120.0, 300.0, 600.0, 1800.0)
MOST_ROWS: Final = 12

# Layout of a row, inches: a score panel over one thin strip per region.
_WIDTH, _LEFT, _RIGHT = 11.0, 0.95, 0.2
_SCORE, _STRIPS, _GAP, _ABOVE, _BELOW = 1.0, 1.35, 0.07, 0.26, 0.24
_BINS: Final = 700
_LEAST_SPAN_S: Final = 1e-3
_ROUNDING_S: Final = 1e-6

# Movement that fills a strip: the strongest half per cent of the recording, but at least 2 % of the eye distance.
_FULL_STRIP: Final = 99.5
_LEAST_FULL: Final = 0.02
HEAT_RGB: Final = (91, 91, 214)


@dataclass(frozen=True)
class Row:
    """One stretch of the recording as a drawing, and where on it time runs, as shares of its width."""

    svg: str
    start_s: float
    stop_s: float
    left: float = _LEFT / _WIDTH
    right: float = 1 - _RIGHT / _WIDTH


def full_strip(movement: Float32) -> float:
    """Movement, face units, that is drawn in full colour."""
    seen = movement[np.isfinite(movement)]
    return max(float(np.percentile(seen, _FULL_STRIP)) if seen.size else 0.0, _LEAST_FULL)


def timeline_rows(analysis: Analysis, *, movement: Float32) -> Iterator[Row]:
    """Draw the whole recording, one row after the other.

    Parameters
    ----------
    analysis : Analysis
        What was found.
    movement : (T, R) float32
        What :func:`metst.report.movement.recent_movement` gives, face units.
    """
    grid, full = analysis.grid, full_strip(movement)
    count = row_count(grid.duration_s)
    edges = grid.time_s[0] + np.linspace(0, max(grid.duration_s, _LEAST_SPAN_S), count + 1)
    bounds = np.searchsorted(grid.time_s, edges)
    for number in range(count):
        frames = slice(int(bounds[number]), int(bounds[number + 1]))
        start_s, stop_s = float(edges[number]), float(edges[number + 1])
        figure = Figure(figsize=(_WIDTH, _BELOW + _STRIPS + _GAP + _SCORE + _ABOVE))
        across = _WIDTH - _LEFT - _RIGHT
        score = place(figure, box=(_LEFT, _BELOW + _STRIPS + _GAP, across, _SCORE))
        strips = place(figure, box=(_LEFT, _BELOW, across, _STRIPS))
        _draw_score(score, analysis, frames=frames)
        _draw_strips(strips, movement[frames] / full, grid.time_s[frames], stop_s=stop_s)
        for axes in (score, strips):
            axes.set_xlim(start_s, stop_s)
            _draw_gaps(axes, analysis, span_s=(start_s, stop_s), named=axes is score)
        _mark_events(score, strips, analysis, span_s=(start_s, stop_s))
        _time_axis(strips, label=True)
        _time_axis(score, label=False)
        label = f"Score and motion from {clock(start_s)} to {clock(stop_s)}"
        yield Row(inline_svg(figure, key=f"row{number}", label=label, role="group"), start_s, stop_s)


def row_count(duration_s: float) -> int:
    """Rows of about a minute; of more where that would be too many."""
    for row_s in ROW_S:
        # A rest of some seconds is no row of its own.
        count = max(1, int(np.ceil(duration_s / row_s - 0.2)))
        if count <= MOST_ROWS:
            return count
    return MOST_ROWS


def _draw_score(axes: Axes, analysis: Analysis, *, frames: slice) -> None:
    time_s, score = analysis.grid.time_s[frames], analysis.scores.values[frames, 0]
    if len(score):
        axes.plot(*_envelope(time_s, score, starts=bin_starts(frames, count=_BINS)), color=INK, linewidth=0.8)
    if analysis.threshold is not None:
        axes.axhline(analysis.threshold, color=MUTED, linewidth=0.7, dashes=(4, 3))
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylabel("score", color=MUTED, labelpad=2)


def _envelope(time_s: FloatArray, values: Float32, *, starts: IntArray) -> tuple[FloatArray, FloatArray]:
    """Curve through the lowest and highest value of each bin: no peak is lost, however long the recording."""
    if len(starts) == len(values):
        return time_s, values
    low, high = (binned(values, starts=starts, highest=highest) for highest in (False, True))
    return np.repeat(time_s[starts], 2), np.column_stack([low, high]).ravel()


def _draw_strips(axes: Axes, share: Float32, time_s: FloatArray, *, stop_s: float) -> None:
    """One strip per region, the fuller the farther it moved; groups from brow to mouth."""
    height = region_centres()[:, 1]
    groups = sorted(region_groups(), key=lambda group: float(height[list(group[1])].mean()))
    order = [index for _, indices in groups for index in indices]
    axes.set_ylim(len(order), 0)
    if len(time_s):
        edges = np.linspace(time_s[0], stop_s, min(_BINS, len(time_s)) + 1)
        # Equal in time, not in frames: the strip is a picture, and a picture has columns of one width.
        starts = np.searchsorted(time_s, edges[:-1] + _ROUNDING_S, side="right") - 1
        shown = np.nan_to_num(binned(share, starts=starts, highest=True))[:, order]
        image = np.empty((*shown.T.shape, 4), dtype=np.uint8)
        image[..., :3] = HEAT_RGB
        image[..., 3] = np.rint(255 * np.clip(shown.T, 0, 1))
        extent = (float(time_s[0]), stop_s, len(order), 0)
        axes.imshow(image, extent=extent, aspect="auto", interpolation="none")
    ends = np.cumsum([len(indices) for _, indices in groups])
    for end in ends[:-1]:
        axes.axhline(end, color=LINE, linewidth=0.6)
    axes.set_yticks([end - len(indices) / 2 for end, (_, indices) in zip(ends, groups, strict=True)])
    axes.set_yticklabels([name for name, _ in groups])
    axes.tick_params(axis="y", length=0)


def _draw_gaps(axes: Axes, analysis: Analysis, *, span_s: tuple[float, float], named: bool) -> None:
    width_s = span_s[1] - span_s[0]
    for start, stop, reason in _visible_gaps(analysis, span_s=span_s):
        axes.axvspan(start, stop, facecolor="none", edgecolor=MUTED, hatch="////", linewidth=0, alpha=0.6)
        if named and stop - start > 0.007 * len(reason) * width_s:
            axes.text((start + stop) / 2, 0.75, reason, color=INK, ha="center", va="center")


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


def _mark_events(score: Axes, strips: Axes, analysis: Analysis, *, span_s: tuple[float, float]) -> None:
    events, time_s, frame_s = analysis.events, analysis.grid.time_s, analysis.grid.frame_s
    last_s, level = -np.inf, 0
    for i in range(len(events)):
        start, stop = float(time_s[events.onset[i]]), float(time_s[events.offset[i] - 1]) + frame_s
        if stop <= span_s[0] or start >= span_s[1]:
            continue
        # So narrow that it would not be seen on a row of ten minutes.
        stop = max(stop, start + (span_s[1] - span_s[0]) / 500)
        colour = class_colour(events.classes.index(events.label[i]))
        score.axvspan(start, stop, facecolor=colour, alpha=0.3, linewidth=0)
        score.axvspan(start, stop, ymin=0.96, facecolor=colour, linewidth=0)
        strips.axvspan(start, stop, facecolor="none", edgecolor=colour, linewidth=0.8)
        middle = (start + stop) / 2
        level = 1 - level if middle - last_s < (span_s[1] - span_s[0]) / 50 else 0
        last_s = middle
        place_x = float(np.clip(middle, *span_s))
        number = score.text(place_x, 1.05 + 0.12 * level, str(i + 1), color=INK, ha="center", fontweight="bold")
        number.set_url(f"#event-{i + 1}")


def _time_axis(axes: Axes, *, label: bool) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(nbins=13, steps=[1, 2, 3, 5, 6, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda time_s, _: clock(time_s)))
    axes.tick_params(axis="x", labelbottom=label, pad=1.5, length=2.5 if label else 0)


_PADDING_S: Final = 0.7
_CURVES: Final = 3
_DASHES: Final = ("-", (0, (4, 1.5)), (0, (1, 1.2)))


def strongest_regions(displacement: Float32, *, count: int) -> list[int]:
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
    figure = Figure(figsize=(6.4, 3.0))
    score, motion = place(figure, box=(0.6, 1.58, 4.3, 1.2)), place(figure, box=(0.6, 0.25, 4.3, 1.2))
    _draw_score(score, analysis, frames=frames)
    _draw_paths(motion, analysis, frames=frames, onset=onset, apex=apex)
    colour = class_colour(events.classes.index(events.label[event]))
    span_s = float(time_s[frames][0]), float(time_s[frames][-1]) + max(analysis.grid.frame_s, _LEAST_SPAN_S)
    for axes in (score, motion):
        axes.set_xlim(*span_s)
        axes.axvspan(time_s[onset], time_s[last], facecolor=colour, alpha=0.22, linewidth=0)
        axes.axvline(time_s[apex], color=colour, linewidth=1)
        _draw_gaps(axes, analysis, span_s=span_s, named=axes is score)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda time, _: clock(time, decimals=1)))
    score.tick_params(axis="x", labelbottom=False)
    for at, name, side in ((onset, "onset", "right"), (apex, "apex", "center"), (last, "offset", "left")):
        score.text(float(time_s[at]), 1.06, name, color=MUTED, ha=side)
    return inline_svg(figure, key=f"close{event}", label=f"Score and motion around candidate {event + 1}")


def _draw_paths(axes: Axes, analysis: Analysis, *, frames: slice, onset: int, apex: int) -> None:
    time_s, motion = analysis.grid.time_s[frames], analysis.motion
    strongest = strongest_regions(onset_to_apex(motion, onset=onset, apex=apex), count=_CURVES)
    for dashes, region in zip(_DASHES, strongest, strict=False):
        away = np.linalg.norm(motion.values[frames, region] - motion.values[onset, region], axis=1)
        axes.plot(time_s, 100 * away, color=ACCENT, linewidth=1.1, linestyle=dashes, label=motion.channels[region])
    if strongest:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, handlelength=1.8, fontsize=7.5)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.set_ylabel("motion", color=MUTED)
