"""Planted movements: what moves, how strong, when; drawn as real ones are distributed.

Durations are published statistics of spontaneous micro-expressions, and the mixes of action units
follow some; a planted event carries its exact onset, apex and offset.  What moves is a listed mix of
action units, a free one, or a pattern drawn from statistics (:mod:`metst.synthesis.patterns`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import numpy.typing as npt

from metst.arrays import Float64Array
from metst.errors import UsageError
from metst.synthesis.action_units import ACTION_UNITS, Contraction, Side, halves_of
from metst.synthesis.patterns import PATTERN_SHAPE, PatternStatistics

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

GAP_S = 0.3
"""Rest between two events of a schedule at the least, seconds; set by hand."""

LEAD_S = 0.3
"""A movement may have begun so long before the first frame, seconds; set by hand."""

_RISE_LIMITS = (0.35, 0.7)  # draws of the share that rises are cut here; set by hand
_UNIT_SPREAD = (0.8, 1.2)  # factor on the contraction of each action unit, uniform; set by hand

SIDE_LOG_RATIO_SD = float(np.log(2))
"""Standard deviation of the logarithm of left over right strength in free mixes.  Measured in optical flow of 309
published micro-expressions of two data sets: 0.52 to 0.84 by class, factors of 1.7 to 2.3."""

# Free mixes.  Pairs are the ends of uniform draws of a factor on the contraction; all set by hand.
_NUCLEUS_SHARE = 0.8  # how often the nucleus is a listed mix of the class
_MOST_OF_CLASS = 3  # units of the class otherwise
_MOST_FURTHER = 3  # units that join on one side
_FREE_SPREAD, _FURTHER_SPREAD = (0.4, 1.6), (0.1, 1.0)  # of the nucleus's units, and of those that join
_NEVER_JOIN = ("26", "45")  # an open jaw and a blink are no part of other movements


PATTERN = "pattern"
"""What tables name in place of action units where a pattern of the regions was planted."""


@dataclass(frozen=True)
class PlantedEvent:
    """One movement with its truth.

    Parameters
    ----------
    onset_s, apex_s, offset_s : float
        Start, strongest moment and end, seconds of the clip.
    label : str
        Emotion class, or what the distractor is.
    units : mapping of str to float or (float, float)
        Contraction of each action unit at the apex, as a fraction of full contraction: of both halves alike, or of
        the left and the right half of the image.
    pattern : (18, 2) float64, optional
        How far each region moves at the apex, face units, x right and y down; takes the place of action units.

    Raises
    ------
    UsageError
        Times out of order, action units and a pattern at once, or a pattern of another shape.
    """

    onset_s: float
    apex_s: float
    offset_s: float
    label: str
    units: Mapping[str, Contraction]
    pattern: Float64Array | None = None

    def __post_init__(self) -> None:
        if not self.onset_s < self.apex_s < self.offset_s:
            raise UsageError(
                f"an event needs onset < apex < offset, got {self.onset_s}, {self.apex_s}, {self.offset_s}"
            )
        if self.pattern is None:
            return
        if self.units:
            raise UsageError("an event is a mix of action units or a pattern of the regions, not both")
        pattern = np.array(self.pattern, dtype=np.float64)
        if pattern.shape != PATTERN_SHAPE or not np.isfinite(pattern).all():
            raise UsageError(f"a pattern must be finite numbers of shape {PATTERN_SHAPE}, got {pattern.shape}")
        pattern.setflags(write=False)
        object.__setattr__(self, "pattern", pattern)

    def __eq__(self, other: object) -> bool:
        # Arrays compare number by number: the dataclass's own comparison would fail on them.
        if not isinstance(other, PlantedEvent):
            return NotImplemented
        mine, theirs = ([getattr(each, f.name) for f in fields(each)] for each in (self, other))
        return mine[:-1] == theirs[:-1] and np.array_equal(mine[-1], theirs[-1])

    def __hash__(self) -> int:
        return hash((self.onset_s, self.apex_s, self.offset_s, self.label))

    @property
    def side(self) -> Side:
        """Half of the image that moves, where action units are of one half only."""
        halves = [halves_of(contraction) for contraction in self.units.values()]
        if halves and not any(right for _, right in halves) and any(left for left, _ in halves):
            return "left"
        return "right" if any(right for _, right in halves) and not any(left for left, _ in halves) else "both"

    @property
    def units_in_words(self) -> str:
        """Action units as tables have them, such as ``"4+7"``; ``"pattern"`` where there is one in their place."""
        return "+".join(self.units) if self.pattern is None else PATTERN

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
    free: bool = False,
    patterns: PatternStatistics | None = None,
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
        Fraction of full contraction; 0.05-0.2 is micro.  With ``patterns``: how far the farthest region moves, face
        units; 0.006-0.06 is micro.
    duration_s : float, optional
        Onset to offset; drawn from the published distribution when absent.
    units : sequence of str
        Action units that contract together on both sides; drawn as they are in the class when empty.
    free : bool
        Whether the class's units are mixed freely: see :func:`free_mix`.
    patterns : PatternStatistics, optional
        Where the pattern is drawn from, in place of action units.

    Raises
    ------
    UsageError
        Unknown class, or units named beside a free mix or patterns.
    """
    if label not in EMOTION_UNITS:
        raise UsageError(f"unknown class {label!r}: expected one of {', '.join(EMOTION_UNITS)}")
    if units and (free or patterns is not None):
        raise UsageError("name action units, or have them mixed freely or patterns drawn: not both")
    one_sided = False
    if not units:
        mixes = EMOTION_UNITS[label]
        _, units, one_sided = mixes[rng.choice(len(mixes), p=np.array([share for share, _, _ in mixes]))]
    if duration_s is None:
        duration_s = float(np.clip(rng.normal(MEAN_DURATION_S, SD_DURATION_S), MIN_DURATION_S, MAX_DURATION_S))
    rise = duration_s * float(np.clip(rng.normal(MEAN_RISE_SHARE, SD_RISE_SHARE), *_RISE_LIMITS))
    times = start_s, start_s + rise, start_s + duration_s
    if patterns is not None:
        return PlantedEvent(*times, label, {}, amplitude * patterns.draw(rng, label=label))
    if free:
        return PlantedEvent(*times, label, free_mix(rng, units, label=label, amplitude=amplitude))
    halves = ((1, 0), (0, 1))[rng.integers(2)] if one_sided else None
    weights = {unit: amplitude * float(rng.uniform(*_UNIT_SPREAD)) for unit in units}
    return PlantedEvent(*times, label, {unit: _on(halves, weight) for unit, weight in weights.items()})


def _on(halves: tuple[int, int] | None, weight: float) -> Contraction:
    return weight if halves is None else (halves[0] * weight, halves[1] * weight)


def free_mix(
    rng: np.random.Generator, nucleus: Sequence[str], *, label: str, amplitude: float
) -> dict[str, Contraction]:
    """Contractions as single micro-expressions have them: of a class by their nucleus, otherwise each its own.

    Most of the time the nucleus is a listed mix of the class, else some of the class's units; the two halves of each
    contract unlike.  Up to three further units join on one side each.

    Parameters
    ----------
    rng : numpy Generator
        Source of all chance.
    nucleus : sequence of str
        A mix of the class.
    label : {"negative", "positive", "surprise", "others"}
        Emotion class.
    amplitude : float
        Fraction of full contraction of the nucleus, about which its units are drawn.

    Returns
    -------
    dict of str to (float, float)
        Contraction of the left and the right half of the image.
    """
    if rng.random() >= _NUCLEUS_SHARE:
        own = list(dict.fromkeys(unit for _, mix, _ in EMOTION_UNITS[label] for unit in mix))
        nucleus = rng.choice(own, size=rng.integers(1, min(len(own), _MOST_OF_CLASS) + 1), replace=False).tolist()
    mixed: dict[str, Contraction] = {}
    for unit in nucleus:
        weight = amplitude * float(rng.uniform(*_FREE_SPREAD))
        apart = float(rng.normal(0, SIDE_LOG_RATIO_SD)) / 2
        mixed[unit] = (weight * float(np.exp(apart)), weight * float(np.exp(-apart)))
    others = [unit for unit in ACTION_UNITS if unit not in (*mixed, *_NEVER_JOIN)]
    for unit in rng.choice(others, size=rng.integers(_MOST_FURTHER + 1), replace=False).tolist():
        mixed[unit] = _on(((1, 0), (0, 1))[rng.integers(2)], amplitude * float(rng.uniform(*_FURTHER_SPREAD)))
    return mixed


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
    patterns: PatternStatistics | None = None,
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
        Fraction of full contraction, or what it is in :func:`draw_event` with ``patterns``.
    amplitude_max : float, optional
        Each amplitude is drawn between ``amplitude`` and this one.
    labels : sequence of str
        Classes, in equal numbers and random order.
    units : sequence of str
        Mixes such as ``"4+7"``, in equal numbers, in place of those of the classes.
    durations_s : sequence of float
        Durations, in equal numbers; drawn from the published distribution when empty.
    patterns : PatternStatistics, optional
        Where patterns are drawn from, in place of action units.

    Raises
    ------
    UsageError
        The stretch is too short for that many events, or ends before it starts; an unknown class or action unit;
        a duration that is not above 0; units beside patterns, or patterns without one of the classes.
    """
    kinds = _kinds(labels, units=units)
    longest_s = max(durations_s, default=MAX_DURATION_S)
    _check_stretch(count, start_s=start_s, end_s=end_s, durations_s=durations_s, longest_s=longest_s)
    slot = (end_s - start_s) / max(count, 1)
    order = rng.permutation(count) % len(kinds)
    lengths = [durations_s[i % len(durations_s)] for i in rng.permutation(count)] if durations_s else [None] * count
    draw, events = partial(draw_event, rng, patterns=patterns), []
    for i in range(count):
        label, mix = kinds[order[i]]
        onset_s = start_s + i * slot + GAP_S / 2 + rng.uniform(0, slot - longest_s - GAP_S)
        strong = amplitude if amplitude_max is None else float(rng.uniform(amplitude, amplitude_max))
        events.append(draw(start_s=onset_s, label=label, amplitude=strong, duration_s=lengths[i], units=mix))
    return tuple(events)


def _check_stretch(count: int, *, start_s: float, end_s: float, durations_s: Sequence[float], longest_s: float) -> None:
    if end_s <= start_s:
        raise UsageError(f"the stretch from {start_s:.1f} s to {end_s:.1f} s is empty: the clip may end before it")
    if wrong := [value for value in durations_s if not value > 0]:  # NaN too
        raise UsageError(f"durations must be above 0 s, got {wrong[0]:g}")
    if count and (end_s - start_s) / count < longest_s + GAP_S:
        need = count * (longest_s + GAP_S)
        raise UsageError(f"{count} events need {need:.1f} s, the stretch has {end_s - start_s:.1f} s: plant fewer")


def _kinds(labels: Sequence[str], *, units: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
    """Classes and their action units, drawn later where there are none."""
    mixes = [parse_units(text) for text in units]
    kinds: list[tuple[str, Sequence[str]]] = [(label_of(mix), mix) for mix in mixes]
    if not mixes:
        kinds = [(label, ()) for label in labels]
    if not kinds:
        raise UsageError("name at least one class or action unit to plant")
    return kinds
