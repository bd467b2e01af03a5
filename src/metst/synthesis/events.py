"""Planted movements: which action units, how strong, when; drawn as real ones are distributed.

Durations are published statistics of spontaneous micro-expressions, and the mixes of action units
follow some; a planted event carries its exact onset, apex and offset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metst.arrays import Float64Array
from metst.errors import UsageError
from metst.synthesis.action_units import ACTION_UNITS, Side

EMOTION_UNITS: Mapping[str, Sequence[tuple[float, tuple[str, ...], bool]]] = {
    "positive": [
        (0.40, ("6", "12"), False),
        (0.40, ("12",), False),
        (0.08, ("12",), True),
        (0.06, ("12", "25"), False),
        (0.06, ("6", "12", "25"), False),
    ],
    "surprise": [
        (0.52, ("1", "2", "5"), False),
        (0.22, ("1", "2"), False),
        (0.14, ("5",), False),
        (0.12, ("2",), False),
    ],
    "negative": [
        (0.30, ("4",), False),
        (0.27, ("4", "7"), False),
        (0.09, ("9",), False),
        (0.09, ("10",), False),
        (0.07, ("1", "4"), False),
        (0.06, ("4", "9"), False),
        (0.06, ("15",), False),
        (0.06, ("17",), False),
    ],
    "others": [(0.40, ("14",), True), (0.20, ("14",), False), (0.20, ("24",), False), (0.20, ("20",), False)],
}
"""Per class: share, action units that contract together, whether on one side only.

Which mixes lead follows published shares in spontaneous micro-expressions (positive: 6+12 0.35, 12 0.19; surprise:
1+2+5 0.43, 1+2 0.08, 5 0.07; negative: 4 and 4+7 dominate, 9, 10 and 17 are seen too).  The shares here are set by
hand.
"""

MEAN_DURATION_S, SD_DURATION_S = 0.38, 0.10
"""Onset to offset, seconds; published statistics of spontaneous micro-expressions."""

MIN_DURATION_S, MAX_DURATION_S = 0.16, 0.60
"""Draws are cut here, 2.2 standard deviations from the mean; set by hand."""

MEAN_RISE_SHARE, SD_RISE_SHARE = 0.54, 0.07
"""Share of the duration that rises: rise takes 0.18-0.24 s and fall 0.16-0.20 s in the median, as published; the
spread is set by hand."""

LEAD_S = 0.3
"""A movement may have begun so long before the first frame, seconds; set by hand."""

_RISE_LIMITS = (0.35, 0.7)  # draws of the share that rises are cut here; set by hand
_UNIT_SPREAD = (0.8, 1.2)  # factor on the contraction of each action unit, uniform; set by hand


@dataclass(frozen=True)
class PlantedEvent:
    """One movement with its truth.

    Parameters
    ----------
    onset_s, apex_s, offset_s : float
        Start, strongest moment and end, seconds of the clip.
    label : str
        Emotion class, or what the distractor is.
    units : mapping of str to float
        Contraction of each action unit at the apex, as a fraction of full contraction.
    side : {"both", "left", "right"}
        Half of the image that moves.
    """

    onset_s: float
    apex_s: float
    offset_s: float
    label: str
    units: Mapping[str, float]
    side: Side = "both"

    def __post_init__(self) -> None:
        if not self.onset_s < self.apex_s < self.offset_s:
            raise UsageError(
                f"an event needs onset < apex < offset, got {self.onset_s}, {self.apex_s}, {self.offset_s}"
            )

    def profile(self, time_s: npt.ArrayLike) -> Float64Array:
        """Share of the apex's displacement at each time, in [0, 1]: minimum-jerk rise and fall."""
        time = np.asarray(time_s, dtype=np.float64)
        rise = (time - self.onset_s) / (self.apex_s - self.onset_s)
        fall = (self.offset_s - time) / (self.offset_s - self.apex_s)
        return minimum_jerk(np.minimum(rise, fall))


def minimum_jerk(x: Float64Array) -> Float64Array:
    """Smoothest step from 0 to 1 for ``x`` in [0, 1] (Flash and Hogan 1985), clipped outside."""
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x**3 * (10 - 15 * x + 6 * x**2))


def lasting(time_s: Float64Array, *, start: float, rise: float, hold: float, fall: float) -> Float64Array:
    """Share of an expression that comes at ``start``, rises, stays and falls, seconds each."""
    return minimum_jerk(np.minimum((time_s - start) / rise, (start + rise + hold + fall - time_s) / fall))


def parse_units(text: str) -> tuple[str, ...]:
    """Action units that contract together, as in ``"4+7"``.

    Raises
    ------
    UsageError
        One of them is not in the table.
    """
    units = tuple(part.strip() for part in text.split("+"))
    for unit in units:
        if unit not in ACTION_UNITS:
            raise UsageError(f"unknown action unit {unit!r} in {text!r}: expected some of {', '.join(ACTION_UNITS)}")
    return units


def label_of(units: Sequence[str]) -> str:
    """Class in which this mix of action units is listed; ``"others"`` when in none."""
    for label, mixes in EMOTION_UNITS.items():
        if any(set(mix) == set(units) for _, mix, _ in mixes):
            return label
    return "others"


def draw_event(
    rng: np.random.Generator,
    *,
    start_s: float,
    label: str,
    amplitude: float,
    duration_s: float | None = None,
    units: Sequence[str] = (),
) -> PlantedEvent:
    """A micro-expression of one class that starts at ``start_s``.

    Parameters
    ----------
    rng : numpy Generator
        Source of all chance.
    start_s : float
        Onset, seconds.
    label : {"negative", "positive", "surprise", "others"}
        Emotion class.
    amplitude : float
        Fraction of full contraction; 0.05-0.2 is micro.
    duration_s : float, optional
        Onset to offset; drawn from the published distribution when absent.
    units : sequence of str
        Action units that contract together on both sides; drawn as they are in the class when empty.

    Raises
    ------
    UsageError
        Unknown class.
    """
    if label not in EMOTION_UNITS:
        raise UsageError(f"unknown class {label!r}: expected one of {', '.join(EMOTION_UNITS)}")
    one_sided = False
    if not units:
        mixes = EMOTION_UNITS[label]
        _, units, one_sided = mixes[rng.choice(len(mixes), p=np.array([share for share, _, _ in mixes]))]
    if duration_s is None:
        duration_s = float(np.clip(rng.normal(MEAN_DURATION_S, SD_DURATION_S), MIN_DURATION_S, MAX_DURATION_S))
    rise = duration_s * float(np.clip(rng.normal(MEAN_RISE_SHARE, SD_RISE_SHARE), *_RISE_LIMITS))
    side: Side = ("left", "right")[rng.integers(2)] if one_sided else "both"
    weights = {unit: amplitude * float(rng.uniform(*_UNIT_SPREAD)) for unit in units}
    return PlantedEvent(start_s, start_s + rise, start_s + duration_s, label, weights, side)


def draw_schedule(
    rng: np.random.Generator,
    *,
    count: int,
    start_s: float,
    end_s: float,
    amplitude: float,
    amplitude_max: float | None = None,
    labels: Sequence[str] = ("negative", "positive", "surprise"),
    units: Sequence[str] = (),
    durations_s: Sequence[float] = (),
    gap_s: float = 0.3,
) -> tuple[PlantedEvent, ...]:
    """``count`` micro-expressions, spread over a stretch of time without overlap.

    Parameters
    ----------
    rng : numpy Generator
        Source of all chance.
    count : int
        How many.
    start_s, end_s : float
        The stretch, seconds.
    amplitude : float
        Fraction of full contraction.
    amplitude_max : float, optional
        Each amplitude is drawn between ``amplitude`` and this one.
    labels : sequence of str
        Classes, in equal numbers and random order.
    units : sequence of str
        Mixes such as ``"4+7"``, in equal numbers, in place of those of the classes.
    durations_s : sequence of float
        Durations, in equal numbers; drawn from the published distribution when empty.
    gap_s : float
        Rest between two events at least.

    Raises
    ------
    UsageError
        The stretch is too short for that many events, or ends before it starts; an unknown class or action unit;
        a duration that is not above 0.
    """
    if end_s <= start_s:
        raise UsageError(f"the stretch from {start_s:.1f} s to {end_s:.1f} s is empty: the clip may end before it")
    kinds = _kinds(labels, units=units)
    if wrong := [value for value in durations_s if not value > 0]:  # NaN too
        raise UsageError(f"durations must be above 0 s, got {wrong[0]:g}")
    longest_s, slot = max(durations_s, default=MAX_DURATION_S), (end_s - start_s) / max(count, 1)
    if count and slot < longest_s + gap_s:
        need = count * (longest_s + gap_s)
        raise UsageError(f"{count} events need {need:.1f} s, the stretch has {end_s - start_s:.1f} s: plant fewer")
    order = rng.permutation(count) % len(kinds)
    lengths = [durations_s[i % len(durations_s)] for i in rng.permutation(count)] if durations_s else [None] * count
    events = []
    for i in range(count):
        label, mix = kinds[order[i]]
        onset_s = start_s + i * slot + gap_s / 2 + rng.uniform(0, slot - longest_s - gap_s)
        strong = amplitude if amplitude_max is None else float(rng.uniform(amplitude, amplitude_max))
        events.append(draw_event(rng, start_s=onset_s, label=label, amplitude=strong, duration_s=lengths[i], units=mix))
    return tuple(events)


def _kinds(labels: Sequence[str], *, units: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
    """Classes and their action units, drawn later where there are none."""
    mixes = [parse_units(text) for text in units]
    kinds: list[tuple[str, Sequence[str]]] = [(label_of(mix), mix) for mix in mixes]
    if not mixes:
        kinds = [(label, ()) for label in labels]
    if not kinds:
        raise UsageError("name at least one class or action unit to plant")
    return kinds
