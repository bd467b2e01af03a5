"""Where a movement can be planted and nothing else moves: the quiet moments of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from metst.arrays import BoolArray, UInt8Array
from metst.errors import FaceError
from metst.report.movement import recent_movement
from metst.results.flags import Condition, face_conditions
from metst.sensitivity.settings import SLOT_S
from metst.timeline import true_runs

if TYPE_CHECKING:
    from metst.results import Analysis

QUIET_MOVEMENT: Final = 0.02
"""Mean movement of the regions within a quarter of a second above which a face is not quiet, face units."""

_AROUND_EVENT_S: Final = 0.5
"""Nothing within this of a candidate is quiet, seconds.  Set by hand."""

_AROUND_CONDITION_S: Final = 0.2
"""The same around blinks, speech and movement, seconds.  Set by hand."""

_LEAD_S, _TAIL_S = 1.0, 0.7  # what the pipeline needs to settle before, and to decide after

_DISTURBING: Final = Condition.BLINK | Condition.SPEECH
"""Conditions in which a face is not quiet."""

_SHORTEST_FRAME_S: Final = 1e-6
"""Stands for the duration of a frame where there is only one, seconds: nothing is divided by zero."""


@dataclass(frozen=True)
class Moment:
    """Half-open stretch of the recording for one movement, seconds; ``number`` counts from 0 through the recording."""

    number: int
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Section:
    """Frames ``first`` up to, not including, ``stop`` of the recording, and the quiet moments among them."""

    first: int
    stop: int
    moments: tuple[Moment, ...]


def quiet_frames(analysis: Analysis, *, others: Sequence[Analysis] = ()) -> BoolArray:
    """Frames ``(T,)`` with a usable face, no candidate, no blink, no speech, and little movement.

    Parameters
    ----------
    analysis : Analysis
        Of the recording.
    others : sequence of Analysis
        Of the same recording by other models, whose candidates count, too.
    """
    grid = analysis.grid
    quiet = np.asarray(analysis.usable & analysis.motion.displacement.valid)
    busy = np.zeros(len(grid), bool)
    for events in (each.events for each in (analysis, *others)):
        for onset, offset in zip(events.onset, events.offset, strict=True):
            start_s, end_s = grid.time_s[onset] - _AROUND_EVENT_S, grid.time_s[offset - 1] + _AROUND_EVENT_S
            busy |= (grid.time_s >= start_s) & (grid.time_s <= end_s)
    movement = recent_movement(analysis.motion.displacement)
    moved = np.where(np.isfinite(movement), movement, np.inf).mean(axis=1)
    disturbed = ((face_conditions(analysis.motion.conditions) & _DISTURBING) > 0) | (moved > QUIET_MOVEMENT) | ~quiet
    return np.asarray(
        quiet & ~busy & ~_widened(disturbed, by=_AROUND_CONDITION_S / max(grid.frame_s, _SHORTEST_FRAME_S))
    )


def find_sections(analysis: Analysis, *, trials: int, others: Sequence[Analysis] = ()) -> tuple[Section, ...]:
    """Sections of the recording that hold moments for ``trials`` movements, or all there are.

    Those with many moments for their length come first: what lies between costs time and tells nothing.  ``others``
    are as for :func:`quiet_frames`.

    Raises
    ------
    FaceError
        There is not one quiet moment.
    """
    grid, moments = analysis.grid, quiet_moments(analysis, others=others)
    if not moments:
        raise FaceError(
            f"{analysis.source.name}: no quiet moment of {SLOT_S:g} s (a usable face, no candidate, no blink,"
            " no speech, little movement): record a minute in which the person sits still and looks ahead"
        )
    groups: list[list[Moment]] = []
    for moment in moments:
        if groups and moment.start_s - groups[-1][-1].end_s < _LEAD_S + _TAIL_S:
            groups[-1].append(moment)
        else:
            groups.append([moment])
    sections = []
    for group in groups:
        first, stop = np.searchsorted(grid.time_s, [group[0].start_s - _LEAD_S, group[-1].end_s + _TAIL_S])
        sections.append(Section(int(first), int(stop), tuple(group)))
    return _enough(sections, trials=trials)


def quiet_moments(analysis: Analysis, *, others: Sequence[Analysis] = ()) -> tuple[Moment, ...]:
    """All quiet moments of a recording, in order; none overlaps another.  ``others``: :func:`quiet_frames`."""
    time_s, moments = analysis.grid.time_s, []
    for run in true_runs(quiet_frames(analysis, others=others)):
        start_s, end_s = float(time_s[run.start]), float(time_s[run.stop - 1])
        count = int((end_s - start_s) / SLOT_S)
        spare = (end_s - start_s - count * SLOT_S) / max(count, 1)
        moments += [start_s + i * (SLOT_S + spare) for i in range(count)]
    return tuple(Moment(i, start_s, start_s + SLOT_S) for i, start_s in enumerate(moments))


def _enough(sections: Sequence[Section], *, trials: int) -> tuple[Section, ...]:
    chosen: list[Section] = []
    for section in sorted(sections, key=lambda each: (each.stop - each.first) / len(each.moments)):
        if sum(len(each.moments) for each in chosen) >= trials:
            break
        chosen.append(section)
    return tuple(sorted(chosen, key=lambda section: section.first))


def _widened(mask: BoolArray, *, by: float) -> BoolArray:
    """Mask with every true stretch longer by so many frames on both sides."""
    width = 2 * int(np.ceil(by)) + 1
    column: UInt8Array = mask.astype(np.uint8)[:, None]
    return np.asarray(cv2.dilate(column, np.ones((width, 1), np.uint8))[:, 0] > 0)
