"""What a system is worth on a split: the scorers of the product, on the sets of clips that the demands name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from clips import Recording
from same import Share
from scored import hits, rows_of

from metst.metrics import score_tables
from metst.metrics.calibration import confidence_bins, expected_calibration_error
from metst.timeline import Intervals

DURATION_EDGES_S = (0.0, 0.3, 0.4, 0.5, np.inf)
MICRO = 0.1
"""Amplitude of the table from which a planted movement must be found."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bin:
    """Events of similar confidence: how sure the system was, and how often it was right."""

    confidence: float
    right: float
    events: int


@dataclass(frozen=True)
class Figures:
    """One row of the table; intervals are 95 % over resamples of the persons."""

    system: str
    spotting_f1: float
    spotting_interval: tuple[float, float]
    recognition_f1: float
    recognition_interval: tuple[float, float]
    strs: float
    strs_interval: tuple[float, float]
    counts: tuple[int, int, int]
    real_f1: float
    free_per_min: float
    negatives_per_min: float
    still_events: int
    onset_ms: float
    offset_ms: float
    ece: float
    bins: tuple[Bin, ...]
    recall_amplitude: tuple[Share, ...]
    recall_duration: tuple[Share, ...]
    minutes: dict[str, float]

    def for_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def figures_of(
    system: str, *, recordings: Sequence[Recording], found: Sequence[Intervals], bootstrap: int = 1000
) -> Figures:
    """All figures of one system on one split."""
    every = list(zip(recordings, found, strict=True))
    total = scored(every, bootstrap=bootstrap)
    real = scored(
        [pair for pair in every if pair[0].real and pair[0].field == "table" and pair[0].amplitude >= MICRO],
        bootstrap=0,
    )
    partner = [hits(events, each.truth) for each, events in every]
    bins, ece = _calibration(every, partner)
    by_amplitude, by_duration = _recalls(every, partner)
    ends = total["confidence_intervals"]

    def interval(name: str) -> tuple[float, float]:
        low, high = ends.get(name, (float("nan"),) * 2)
        return low, high

    return Figures(
        system=system,
        spotting_f1=total["spotting"]["f1"],
        spotting_interval=interval("spotting_f1"),
        recognition_f1=total["recognition"]["f1"],
        recognition_interval=interval("recognition_f1"),
        strs=total["strs"],
        strs_interval=interval("strs"),
        counts=(total["spotting"]["tp"], total["spotting"]["fp"], total["spotting"]["fn"]),
        real_f1=real["spotting"]["f1"],
        free_per_min=_per_min(every, _free_and_real),
        negatives_per_min=_per_min(every, _hard_negative),
        still_events=sum(len(events) for each, events in every if "still photograph" in each.tags),
        onset_ms=_error_ms(every, partner, end="onset"),
        offset_ms=_error_ms(every, partner, end="offset"),
        ece=ece,
        bins=bins,
        recall_amplitude=by_amplitude,
        recall_duration=by_duration,
        minutes={
            "all": sum(each.minutes for each, _ in every),
            "free real": sum(each.minutes for each, _ in every if _free_and_real(each)),
            "hard negatives": sum(each.minutes for each, _ in every if _hard_negative(each)),
        },
    )


Pair = tuple[Recording, Intervals]


def scored(pairs: Sequence[Pair], *, bootstrap: int) -> dict[str, Any]:
    """What the product's own scorer says of clips and what was found in them."""
    recordings = [each for each, _ in pairs]
    return score_tables(
        rows_of(recordings, [events for _, events in pairs]),
        rows_of(recordings, [each.truth for each in recordings]),
        videos=[(each.person, each.name) for each in recordings],
        bootstrap=bootstrap,
    )


def _clear_and_real(recording: Recording) -> bool:
    return recording.real and recording.field == "table" and recording.amplitude >= MICRO


def _free_and_real(recording: Recording) -> bool:
    return recording.real and not len(recording.truth) and not recording.placebo and "sentence" not in recording.tags


def _hard_negative(recording: Recording) -> bool:
    return "hard negative" in recording.tags


def _per_min(pairs: Sequence[Pair], chosen: Callable[[Recording], bool]) -> float:
    inside = [(each, events) for each, events in pairs if chosen(each)]
    minutes = sum(each.minutes for each, _ in inside)
    return sum(len(events) for _, events in inside) / minutes if minutes else float("nan")


def _error_ms(pairs: Sequence[Pair], partner: Sequence[npt.NDArray[np.int64]], *, end: str) -> float:
    """Median distance of a hit's end from the true one; the end of an interval is the start of the frame after."""
    errors: list[float] = []
    for (each, events), other in zip(pairs, partner, strict=True):
        grid = each.motion.grid
        time_s = np.append(grid.time_s, grid.time_s[-1] + grid.frame_s)
        own = other >= 0
        apart = time_s[getattr(events, end)[own]] - time_s[getattr(each.truth, end)[other[own]]]
        errors.extend(np.abs(apart).tolist())
    return 1000 * float(np.median(errors)) if errors else float("nan")


def _calibration(pairs: Sequence[Pair], partner: Sequence[npt.NDArray[np.int64]]) -> tuple[tuple[Bin, ...], float]:
    """Reliability bins, and the expected calibration error: their distance from the diagonal by number of events."""
    confidence = np.concatenate([events.confidence for _, events in pairs])
    right = np.concatenate(partner) >= 0
    bins = confidence_bins(confidence, right=right)
    shown = tuple(Bin(each.confidence, each.right, round(each.weight)) for each in bins)
    return shown, expected_calibration_error(bins)


def _recalls(
    pairs: Sequence[Pair], partner: Sequence[npt.NDArray[np.int64]]
) -> tuple[tuple[Share, ...], tuple[Share, ...]]:
    """Recall over amplitude of the table, and over duration."""
    both = zip(pairs, partner, strict=True)
    hit = np.concatenate([np.isin(np.arange(len(each.truth)), other) for (each, _), other in both])
    amplitude = np.concatenate([np.full(len(each.truth), each.amplitude) for each, _ in pairs])
    length_s = np.concatenate([(each.truth.offset - each.truth.onset) * each.motion.grid.frame_s for each, _ in pairs])
    table = np.concatenate([np.full(len(each.truth), each.field == "table") for each, _ in pairs])
    levels = [(f"{level:g}", table & (amplitude == level)) for level in np.unique(amplitude[table])]
    bands = [(f"{low:g}-{high:g} s", (length_s >= low) & (length_s < high)) for low, high in pairwise(DURATION_EDGES_S)]

    def shares(groups: Sequence[tuple[str, npt.NDArray[np.bool_]]]) -> tuple[Share, ...]:
        return tuple(Share(name, int(hit[inside].sum()), int(inside.sum())) for name, inside in groups)

    return shares(levels), shares(bands)
