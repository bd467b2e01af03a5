"""Score, candidates and gaps over time, drawn with Matplotlib for a notebook or a paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from metst.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from metst.results.analysis import Analysis

# Set by hand: size of a figure, inches; width of the curve, points; height of the score's axis above 1.
_SIZE: Final = (9.0, 2.6)
_CURVE: Final = 0.9
_TOP: Final = 1.05
_COLOURS: Final = "petroff10"
"""Colours of classes: those of Matplotlib that people with any colour vision tell apart (Petroff 2021)."""
_EVENT, _GAP = 0.35, 0.5  # how much of the ground they hide


def draw_timeline(analysis: Analysis, axes: Axes | None) -> Axes:
    """Draw on axes, or on those of a new figure; see :meth:`metst.Analysis.plot`."""
    try:
        import matplotlib as mpl
        from matplotlib import pyplot
    except ImportError as error:
        raise UsageError("a drawing needs the package Matplotlib: pip install 'metst[plot]'") from error
    if axes is None:
        _, axes = pyplot.subplots(figsize=_SIZE, layout="constrained")
    grid, events, colours = analysis.grid, analysis.events, mpl.color_sequences[_COLOURS]
    score = np.where(analysis.scores.valid, analysis.scores.values[:, 0], np.nan)
    axes.plot(grid.time_s, score, color="black", linewidth=_CURVE, label="score")
    if analysis.threshold is not None:
        axes.axhline(analysis.threshold, color="gray", linewidth=_CURVE, linestyle="--", label="threshold")
    for number, gap in enumerate(analysis.gaps):
        after_s = float(grid.time_s[gap.stop - 1]) + grid.frame_s
        axes.axvspan(
            float(grid.time_s[gap.start]), after_s, facecolor="none", edgecolor="gray", hatch="///", alpha=_GAP,
            label="" if number else "not usable",
        )  # fmt: skip
    named: set[str] = set()
    for label, (onset_s, apex_s, last_s) in zip(events.label, events.times_s(grid).tolist(), strict=True):
        colour, new = colours[events.classes.index(label) % len(colours)], label not in named
        shown = label if new else ""
        axes.axvspan(onset_s, last_s + grid.frame_s, color=colour, alpha=_EVENT, linewidth=0, label=shown)
        axes.axvline(apex_s, color=colour, linewidth=_CURVE)
        named.add(label)
    axes.set(xlabel="time, s", ylabel="score", ylim=(0, _TOP))
    # Names are text: a dollar in one begins no formula.
    axes.set_title(analysis.source.name, parse_math=False)
    if len(grid) > 1:
        axes.set_xlim(float(grid.time_s[0]), float(grid.time_s[-1]) + grid.frame_s)
    for text in axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False).get_texts():
        text.set_parse_math(False)
    return axes
