"""What may make a movement look different from what it is, beside the score and on the card of an event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from metst.arrays import IntArray
from metst.regions import REGIONS
from metst.report.drawing import Panel, add
from metst.results import Analysis, Condition, face_conditions, in_words
from metst.timeline import true_runs

BESIDE_S: Final = 0.15
"""A blink so shortly before or after an event counts as beside it, seconds; set by hand."""

_LEAST_SHARE: Final = 1 / 700  # of the panel's width: what is narrower would not be seen; set by hand
_NAMED: Final = 3  # regions in a hint, before "and 4 more"; set by hand


def draw_conditions(panel: Panel, analysis: Analysis) -> None:
    """Mark where something was noticed; the words show when pointed at."""
    for start, stop, words in _stretches(analysis, span_s=panel.x):
        panel.span(start, stop, style="fill:var(--class-4)")
        add(panel.drawing.root[-1], "title").text = words


def _stretches(analysis: Analysis, *, span_s: tuple[float, float]) -> Iterator[tuple[float, float, str]]:
    """Start, stop and words; stretches that the eye could not separate are one."""
    time_s, least_s = analysis.grid.time_s, (span_s[1] - span_s[0]) * _LEAST_SHARE
    first, after = np.searchsorted(time_s, span_s)
    flags = face_conditions(analysis.motion.conditions[first:after])
    joined: list[tuple[float, float, int]] = []
    for run in true_runs(np.asarray(flags > 0)):
        start, stop = float(time_s[first + run.start]), float(time_s[first + run.stop - 1]) + analysis.grid.frame_s
        stop, found = min(max(stop, start + least_s), span_s[1]), int(np.bitwise_or.reduce(flags[run]))
        if joined and start - joined[-1][1] < least_s:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]), joined[-1][2] | found)
        else:
            joined.append((start, stop, found))
    return ((start, stop, in_words(found)) for start, stop, found in joined)


def hints(analysis: Analysis, event: int) -> tuple[str, ...]:
    """What a reviewer of an event should know about the frames it lies in; nothing is left out because of it."""
    time_s = analysis.grid.time_s
    onset, last = int(analysis.events.onset[event]), int(analysis.events.offset[event]) - 1
    around = slice(*np.searchsorted(time_s, [time_s[onset] - BESIDE_S, time_s[last] + BESIDE_S]).tolist())
    during, beside = analysis.motion.conditions[onset : last + 1], analysis.motion.conditions[around]
    found = [
        (Condition.BLINK, beside, "beside a blink"),
        (Condition.SPEECH, during, "while speaking, or moving the mouth as in speech"),
        (Condition.BLURRED, during, "in a blurred picture"),
        (Condition.GLARE, during, "while a bright spot moves over an eye, as on glasses"),
    ]
    whole = [words for condition, where, words in found if (where & condition).any()]
    partly = [
        (Condition.OCCLUDED, "partly hidden or changed in looks"),
        (Condition.OUT_OF_VIEW, "partly out of the picture"),
        (Condition.OVEREXPOSED, "partly overexposed"),
        (Condition.UNDEREXPOSED, "partly underexposed"),
    ]
    parts = [f"{words} ({_names(during & condition)})" for condition, words in partly if (during & condition).any()]
    return (*whole, *parts)


def _names(flags: IntArray) -> str:
    """Names of the regions where a condition holds at any frame."""
    names = [REGIONS[index].name for index in np.flatnonzero(flags.any(axis=0))]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
