"""What a calibration says: points, curve, threshold, false alarms, timing, classes; and the files it becomes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from metst.arrays import Float64Array
from metst.results import Block, table_of
from metst.results.figures import FIGURES_FILE
from metst.sensitivity.calibration import Calibration, Row
from metst.sensitivity.psychometric import (
    REFERENCE_AMPLITUDE,
    Curve,
    band,
    fit_curve,
    poisson_interval,
    resampled_curves,
    wilson,
)
from metst.sensitivity.recording_quality import give_advice
from metst.sensitivity.trials import TOLERANCE_S
from metst.storage import finite, sealed, write_parts, write_whole
from metst.synthesis.events import MEAN_DURATION_S
from metst.timeline import MINUTE_S, frame_for_people

TARGET: Final = 0.9
"""A movement that is "found" is found with this probability."""

_CURVE_POINTS: Final = 81
"""Amplitudes at which the curve is drawn and written: set by eye."""

_SAME_S: Final = 1e-6
"""Durations so close are the same, seconds: sums of times are not exact."""


_BEYOND: Final = 1.25  # the curve is drawn so far beyond the weakest and the strongest amplitude


FILES = ("trials.csv", "curve.csv")
"""Tables that :func:`write_calibration` writes beside the figures."""


@dataclass(frozen=True)
class Threshold:
    """Smallest movement of one duration that is found 9 times in 10; None where that is beyond all that was planted.

    ``low`` and ``high`` are the 95 % interval; None where it has no end within what was planted.
    """

    duration_s: float
    amplitude: float | None
    low: float | None
    high: float | None
    face_units: float | None
    px: float | None


@dataclass(frozen=True, eq=False)
class Summary:
    """The figures of a calibration.

    Parameters
    ----------
    points : list of dict
        Per amplitude, and per amplitude and duration: trials, found, share and its 95 % Wilson interval.
    curve : Curve
        The fit over all trials.
    grid : (G,) float64
        Amplitudes at which the curve is given.
    lines : dict of float to (3, G) float64
        Per duration the probability and the ends of its 95 % band.
    thresholds : tuple of Threshold
        One per duration, in order.
    figures : dict
        All the rest, as plain JSON values.
    """

    points: list[dict[str, Any]]
    by_duration: list[dict[str, Any]]
    curve: Curve
    grid: Float64Array
    lines: dict[float, Float64Array]
    thresholds: tuple[Threshold, ...]
    figures: dict[str, Any]

    @property
    def typical(self) -> Threshold:
        """The threshold for the middle of the durations."""
        return self.thresholds[len(self.thresholds) // 2]


def summarise(calibration: Calibration) -> Summary:
    """Fit the curve and count everything."""
    return summarise_all((calibration,))


def summarise_all(parts: Sequence[Calibration]) -> Summary:
    """The same over several recordings, whose trials were planned together."""
    rows, settings = [row for part in parts for row in part.rows], parts[0].settings
    amplitude = np.array([row.trial.amplitude for row in rows])
    duration_s = np.array([row.trial.duration_s for row in rows])
    found = np.array([row.outcome.found for row in rows])
    moment = np.array([row.trial.moment for row in rows])
    curve = fit_curve(amplitude, duration_s, found=found)
    curves = resampled_curves(
        amplitude, duration_s, found=found, moment=moment, count=settings.resamples, seed=settings.seed
    )
    strongest, weakest = float(amplitude.max()), float(amplitude[amplitude > 0].min())
    grid = np.geomspace(weakest / _BEYOND, strongest * _BEYOND, _CURVE_POINTS)
    durations = sorted(settings.durations_s)
    lines = {each: _line(curve, curves, grid=grid, duration_s=each) for each in durations}
    moving = [row for row in rows if row.trial.amplitude > 0]
    per_amplitude = float(np.median([row.peak_units / row.trial.amplitude for row in moving]))
    face_px = float(np.median([part.conditions.face_px for part in parts]))
    thresholds = tuple(
        _threshold(curve, curves, duration_s=each, most=strongest, per_amplitude=per_amplitude, face_px=face_px)
        for each in durations
    )
    levels = sorted(set(amplitude.tolist()))
    return Summary(
        points=[_point(rows, amplitude=level) for level in levels],
        by_duration=[_point(rows, amplitude=level, duration_s=each) for level in levels for each in durations],
        curve=curve,
        grid=grid,
        lines=lines,
        thresholds=thresholds,
        figures={
            "false_alarms": _false_alarms(parts),
            "timing": _timing(moving),
            "classes": _classes(moving),
            "face_units_per_amplitude": per_amplitude,
        },
    )


def as_dict(calibration: Calibration, summary: Summary) -> dict[str, Any]:
    """Everything but the single trials, as plain JSON values; infinite and missing numbers are null."""
    raw = calibration.raw
    value = {
        "format": 1,
        "source": asdict(raw.source),
        "model": model_facts(raw.model),
        "metst_version": raw.version,
        "motion_algorithm": raw.motion_algorithm,
        "created": raw.created,
        "settings": calibration.settings.model_dump(mode="json"),
        "trials": len(calibration.rows),
        "quiet_moments": calibration.moments,
        "passes": calibration.runs,
        "hit": f"apex of a candidate within the planted movement, or at most {TOLERANCE_S:g} s from its ends",
        **_figures(summary),
        "conditions": asdict(calibration.conditions),
        "advice": [asdict(advice) for advice in give_advice(calibration.conditions)],
        "problems": list(raw.problems),
    }
    clean: dict[str, Any] = finite(value)
    return clean


def figures_of(summary: Summary) -> dict[str, Any]:
    """What was found, as :func:`as_dict` says it, without the recording."""
    clean: dict[str, Any] = finite(_figures(summary))
    return clean


def _figures(summary: Summary) -> dict[str, Any]:
    curve = summary.curve
    return {
        "points": summary.points,
        "points_by_duration": summary.by_duration,
        "curve": {
            "formula": "guess + (1 - guess - lapse) / (1 + exp(-w0"
            f" - w1 ln(amplitude / {REFERENCE_AMPLITUDE:g}) - w2 ln(duration / {MEAN_DURATION_S:g})))",
            "weights": list(curve.weights),
            "guess": curve.guess,
            "lapse": curve.lapse,
        },
        "found_9_in_10": [asdict(threshold) for threshold in summary.thresholds],
        **summary.figures,
    }


def model_facts(described: dict[str, str]) -> dict[str, str]:
    """What a calibration records of its model."""
    return {name: value for name, value in described.items() if name != "settings"}


def write_calibration(calibration: Calibration, summary: Summary, folder: Path) -> None:
    """Write ``trials.csv``, ``curve.csv`` and, last, ``calibration.json``.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    text = json.dumps(as_dict(calibration, summary), indent=2, allow_nan=False)
    trials, curve = FILES
    write_parts(folder / trials, table_of(trial_table(calibration)).csv_parts())
    write_parts(folder / curve, table_of(_curve_table(summary)).csv_parts())
    write_whole(folder / FIGURES_FILE, sealed(text))


def trial_table(calibration: Calibration) -> dict[str, Block]:
    """One row per trial, by column; times in seconds of the recording, frames from 1."""
    rows, grid = calibration.rows, calibration.raw.grid
    events = [row.trial.event for row in rows]

    def numbers(values: Iterator[float]) -> Float64Array:
        return np.array(list(values), np.float64)

    return {
        "pass": np.array([row.trial.run + 1 for row in rows]),
        "moment": np.array([row.trial.moment + 1 for row in rows]),
        "onset_frame": frame_for_people(grid.frame_at(numbers(event.onset_s for event in events))),
        "onset_s": numbers(event.onset_s for event in events),
        "apex_s": numbers(event.apex_s for event in events),
        "offset_s": numbers(event.offset_s for event in events),
        "amplitude": numbers(row.trial.amplitude for row in rows),
        "largest_face_units": numbers(row.peak_units for row in rows),
        "largest_px": numbers(row.peak_px for row in rows),
        "label": [event.label if row.trial.amplitude else "" for row, event in zip(rows, events, strict=True)],
        "action_units": [event.units_in_words for event in events],
        "side": [event.side for event in events],
        "found": np.array([int(row.outcome.found) for row in rows]),
        "found_label": [row.outcome.label for row in rows],
        "confidence": numbers(row.outcome.confidence for row in rows),
        "iou": numbers(row.outcome.iou for row in rows),
        "onset_error_s": numbers(row.outcome.onset_error_s for row in rows),
        "offset_error_s": numbers(row.outcome.offset_error_s for row in rows),
    }


def _curve_table(summary: Summary) -> dict[str, Block]:
    durations = np.repeat(list(summary.lines), len(summary.grid))
    probability, low, high = np.concatenate(list(summary.lines.values()), axis=1)
    return {
        "duration_s": durations,
        "amplitude": np.tile(summary.grid, len(summary.lines)),
        "probability": probability,
        "low": low,
        "high": high,
    }


def _line(curve: Curve, curves: list[Curve], *, grid: Float64Array, duration_s: float) -> Float64Array:
    low, high = band(curves, lambda each: each.probability(grid, duration_s=duration_s))
    return np.stack([curve.probability(grid, duration_s=duration_s), low, high])


def _threshold(
    curve: Curve, curves: list[Curve], *, duration_s: float, most: float, per_amplitude: float, face_px: float
) -> Threshold:
    def known(amplitude: float) -> float | None:
        return amplitude if amplitude <= most else None

    amplitude = known(curve.amplitude_at(TARGET, duration_s=duration_s))
    low, high = band(curves, lambda each: each.amplitude_at(TARGET, duration_s=duration_s))
    units = None if amplitude is None else amplitude * per_amplitude
    return Threshold(
        duration_s, amplitude, known(float(low)), known(float(high)), units, None if units is None else units * face_px
    )


def _point(rows: Sequence[Row], *, amplitude: float, duration_s: float | None = None) -> dict[str, Any]:
    mine = [
        row
        for row in rows
        if row.trial.amplitude == amplitude and (duration_s is None or abs(row.trial.duration_s - duration_s) < _SAME_S)
    ]
    hits = sum(row.outcome.found for row in mine)
    low, high = wilson(hits, len(mine))
    return {
        "amplitude": amplitude,
        **({} if duration_s is None else {"duration_s": duration_s}),
        "trials": len(mine),
        "found": hits,
        "share": hits / len(mine) if mine else math.nan,
        "low": low,
        "high": high,
        "iou_half": sum(row.outcome.iou >= 0.5 for row in mine),
        "largest_px": float(np.median([row.peak_px for row in mine])) if mine else math.nan,
    }


def _false_alarms(parts: Sequence[Calibration]) -> dict[str, Any]:
    """Of the recordings as they are, and of the quiet moments; counts per minute with exact 95 % intervals."""
    candidates = sum(len(part.raw.events) for part in parts)
    usable_s = sum(float(part.raw.usable.sum()) * part.raw.grid.frame_s for part in parts)
    placebo = [row for part in parts for row in part.rows if row.trial.amplitude <= 0]
    strays, planted_s = sum(part.stray for part in parts), sum(part.planted_s for part in parts)
    return {
        "recording": _per_minute(candidates, minutes=usable_s / MINUTE_S),
        "beside_planted": _per_minute(strays, minutes=planted_s / MINUTE_S),
        "placebo": {"trials": len(placebo), "found": sum(row.outcome.found for row in placebo)},
    }


def _per_minute(count: int, *, minutes: float) -> dict[str, float]:
    low, high = poisson_interval(count)
    scale = 1 / minutes if minutes > 0 else math.nan
    return {"count": count, "minutes": minutes, "per_minute": count * scale, "low": low * scale, "high": high * scale}


def _timing(rows: Sequence[Row]) -> dict[str, Any]:
    """Errors of onset and offset of what was found, in ms: median, and median without its sign."""
    hits = [row.outcome for row in rows if row.outcome.found]
    errors = {
        "onset": np.array([hit.onset_error_s for hit in hits]),
        "offset": np.array([hit.offset_error_s for hit in hits]),
    }
    return {"found": len(hits)} | {
        name: {
            "median_ms": float(1000 * np.median(values)) if hits else None,
            "median_size_ms": float(1000 * np.median(np.abs(values))) if hits else None,
        }
        for name, values in errors.items()
    }


def _classes(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Per planted class how often each class was found; misses are not counted."""
    planted = sorted({row.trial.event.label for row in rows})
    found = sorted({row.outcome.label for row in rows if row.outcome.found} | set(planted))
    return {
        name: {each: sum(row.trial.event.label == name and row.outcome.label == each for row in rows) for each in found}
        for name in planted
    }
