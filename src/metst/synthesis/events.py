"""Planted movements: which action units, how strong, when; drawn as real ones are distributed.

The shares of action units per class and the durations are published statistics of spontaneous
micro-expressions; a planted event carries its exact onset, apex and offset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metst.errors import UsageError
from metst.synthesis.action_units import Side

FloatArray = npt.NDArray[np.float64]

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
"""Per class: share, action units that contract together, whether on one side only."""

MEAN_DURATION_S, SD_DURATION_S = 0.38, 0.10
MIN_DURATION_S, MAX_DURATION_S = 0.16, 0.60
MEAN_RISE_SHARE, SD_RISE_SHARE = 0.54, 0.07
"""Rise takes 0.18-0.24 s and fall 0.16-0.20 s in the median."""


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

    def profile(self, time_s: npt.ArrayLike) -> FloatArray:
        """Share of the apex's displacement at each time, in [0, 1]: minimum-jerk rise and fall."""
        time = np.asarray(time_s, dtype=np.float64)
        rise = (time - self.onset_s) / (self.apex_s - self.onset_s)
        fall = (self.offset_s - time) / (self.offset_s - self.apex_s)
        return minimum_jerk(np.minimum(rise, fall))


def minimum_jerk(x: FloatArray) -> FloatArray:
    """Smoothest step from 0 to 1 for ``x`` in [0, 1] (Flash and Hogan 1985), clipped outside."""
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x**3 * (10 - 15 * x + 6 * x**2))


def draw_event(
    rng: np.random.Generator, *, start_s: float, label: str, amplitude: float, duration_s: float | None = None
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

    Raises
    ------
    UsageError
        Unknown class.
    """
    if label not in EMOTION_UNITS:
        raise UsageError(f"unknown class {label!r}: expected one of {', '.join(EMOTION_UNITS)}")
    mixes = EMOTION_UNITS[label]
    _, units, one_sided = mixes[rng.choice(len(mixes), p=np.array([share for share, _, _ in mixes]))]
    if duration_s is None:
        duration_s = float(np.clip(rng.normal(MEAN_DURATION_S, SD_DURATION_S), MIN_DURATION_S, MAX_DURATION_S))
    rise = duration_s * float(np.clip(rng.normal(MEAN_RISE_SHARE, SD_RISE_SHARE), 0.35, 0.7))
    side: Side = ("left", "right")[rng.integers(2)] if one_sided else "both"
    weights = {unit: amplitude * float(rng.uniform(0.8, 1.2)) for unit in units}
    return PlantedEvent(start_s, start_s + rise, start_s + duration_s, label, weights, side)


def draw_schedule(
    rng: np.random.Generator,
    *,
    count: int,
    start_s: float,
    end_s: float,
    amplitude: float,
    labels: Sequence[str] = ("negative", "positive", "surprise"),
    gap_s: float = 0.3,
) -> tuple[PlantedEvent, ...]:
    """``count`` micro-expressions of the classes in turn, spread over a stretch of time without overlap.

    Raises
    ------
    UsageError
        The stretch is too short for that many events, or ends before it starts.
    """
    if end_s <= start_s:
        raise UsageError(f"the stretch from {start_s:.1f} s to {end_s:.1f} s is empty: the clip may end before it")
    slot = (end_s - start_s) / max(count, 1)
    if count and slot < MAX_DURATION_S + gap_s:
        need = count * (MAX_DURATION_S + gap_s)
        raise UsageError(f"{count} events need {need:.1f} s, the stretch has {end_s - start_s:.1f} s: plant fewer")
    order = rng.permutation([labels[i % len(labels)] for i in range(count)])
    free = slot - MAX_DURATION_S - gap_s
    return tuple(
        draw_event(
            rng, start_s=start_s + i * slot + gap_s / 2 + rng.uniform(0, free), label=str(order[i]), amplitude=amplitude
        )
        for i in range(count)
    )
