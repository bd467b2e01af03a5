"""What is planted where, and whether it was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from metst.metrics.matching import interval_iou
from metst.sensitivity.moments import Moment
from metst.sensitivity.settings import REST_S, TrialSettings
from metst.synthesis.events import PlantedEvent, draw_event
from metst.synthesis.inject import truth_intervals
from metst.timeline import Intervals, TimeGrid

TOLERANCE_S: Final = 0.15
"""A candidate belongs to a planted movement when its apex lies within it, or so close to its ends, seconds."""


@dataclass(frozen=True)
class Trial:
    """One movement planted at one moment.

    Parameters
    ----------
    run : int
        Pass over the recording, from 0.
    moment : int
        Number of the quiet moment.
    amplitude : float
        Fraction of full contraction; 0 for a placebo, which leaves every pixel as it is.
    event : PlantedEvent
        The movement, in seconds of the recording.
    """

    run: int
    moment: int
    amplitude: float
    event: PlantedEvent

    @property
    def duration_s(self) -> float:
        """Onset to offset."""
        return self.event.offset_s - self.event.onset_s


@dataclass(frozen=True)
class Outcome:
    """What was found of a trial; errors are found minus planted, NaN where nothing was found.

    Parameters
    ----------
    found : bool
        Whether a candidate's apex lies in the trial's span of time.
    label : str
        Class of that candidate; the most confident of several.
    confidence, iou, onset_error_s, offset_error_s : float
        Of that candidate; ``iou`` in frames.
    """

    found: bool
    label: str = ""
    confidence: float = float("nan")
    iou: float = 0.0
    onset_error_s: float = float("nan")
    offset_error_s: float = float("nan")


def plan_trials(moments: Sequence[Moment], *, settings: TrialSettings) -> list[Trial]:
    """Every amplitude with every duration and class, in random order over moments and passes.

    Moments left over in the last pass get placebos: they cost nothing.
    """
    rng = np.random.default_rng([settings.seed, 0])
    cells = [
        (amplitude, duration_s, label)
        for _ in range(settings.repeats)
        for amplitude in settings.amplitudes
        for duration_s in settings.durations_s
        for label in settings.labels
    ]
    while len(cells) % len(moments):
        cells.append((0.0, settings.durations_s[len(cells) % len(settings.durations_s)], settings.labels[0]))
    trials = []
    for place, cell in enumerate(rng.permutation(len(cells))):
        run, at = divmod(place, len(moments))
        amplitude, duration_s, label = cells[cell]
        moment = moments[at]
        onset_s = moment.start_s + REST_S
        onset_s += float(rng.uniform(0, max(moment.end_s - REST_S - duration_s - onset_s, 0)))
        event = draw_event(rng, start_s=onset_s, label=label, amplitude=amplitude, duration_s=duration_s)
        trials.append(Trial(run, moment.number, amplitude, event))
    return trials


def judge(event: PlantedEvent, *, candidates: Intervals, grid: TimeGrid) -> tuple[Outcome, list[int]]:
    """What was found of a movement, and which candidates lie in its span of time.

    Parameters
    ----------
    event : PlantedEvent
        What was planted, in seconds of ``grid``.
    candidates : Intervals
        What was found in the same frames.
    grid : TimeGrid
        Times of the frames.
    """
    apex_s = grid.time_s[candidates.apex] if len(candidates) else np.zeros(0)
    near = (apex_s >= event.onset_s - TOLERANCE_S) & (apex_s <= event.offset_s + TOLERANCE_S)
    mine = [int(i) for i in np.flatnonzero(near)]
    if not mine:
        return Outcome(False), mine
    best = max(mine, key=lambda i: float(candidates.confidence[i]))
    onset, last = int(candidates.onset[best]), int(candidates.offset[best]) - 1
    truth = truth_intervals([event], grid=grid)
    planted = np.stack([truth.onset, truth.offset - 1], axis=1)
    return (
        Outcome(
            True,
            label=candidates.label[best],
            confidence=float(candidates.confidence[best]),
            iou=float(interval_iou(np.array([[onset, last]]), planted)[0, 0]),
            onset_error_s=float(grid.time_s[onset]) - event.onset_s,
            offset_error_s=float(grid.time_s[last]) - event.offset_s,
        ),
        mine,
    )
