"""Marks of an axis and the words beside them: round, and each unlike the others, however short or long the axis is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from metst.report.wording import clock

_DECIMAL: Final = (1, 2, 5)
"""Which steps are round, times a power of ten; a convention."""

_FINEST, _COARSEST = -12, 15
"""Powers of ten of the steps that an axis of numbers may have.  Set by hand, as is all that follows."""

_PLAIN: Final = range(-6, 7)
"""Powers of ten of a step whose figures are written out; others as 1E-7."""

_CLOCK_S: Final = (
    *(Decimal(step).scaleb(power) for power in range(-6, 0) for step in _DECIMAL),
    *map(Decimal, (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)),
    *(Decimal(86_400) * 2**power for power in range(1, 20)),
)
"""Which steps are round on a clock, seconds: from a microsecond over minutes, hours and days to more than a century."""

_ROUNDING: Final = 1e-9  # steps: what lies on the end of an axis belongs to it, however sums are rounded


@dataclass(frozen=True)
class Tick:
    """A mark at a value of the axis, and its words."""

    value: float
    text: str


def number_ticks(low: float, high: float, *, most: int, unit: str = "", whole: bool = False) -> list[Tick]:
    """Equally spaced round numbers between two, at most ``most``, and then their unit; ``whole``: integers alone."""
    powers = range(0 if whole else _FINEST, _COARSEST)
    values, step = _spaced(low, high, most=most, steps=[Decimal(n).scaleb(k) for k in powers for n in _DECIMAL])
    written = "f" if step.adjusted() in _PLAIN else ""
    return [Tick(float(value), f"{value.normalize() if value else Decimal(0):{written}}{unit}") for value in values]


def clock_ticks(low: float, high: float, *, most: int) -> list[Tick]:
    """Equally spaced times between two, at most ``most``, seconds, that are round on a clock: m:ss or h:mm:ss."""
    values, step = _spaced(low, high, most=most, steps=_CLOCK_S)
    decimals = max(0, -step.adjusted())
    return [Tick(float(value), clock(float(value), decimals=decimals)) for value in values]


def apart(ticks: Iterable[Tick], *, least: float) -> list[Tick]:
    """Those of given marks, in order of their values, that are ``least`` or more from the last kept, in new words."""
    kept: list[Tick] = []
    for tick in ticks:
        if not kept or (tick.value - kept[-1].value >= least and tick.text != kept[-1].text):
            kept.append(tick)
    return kept


def _spaced(low: float, high: float, *, most: int, steps: Sequence[Decimal]) -> tuple[list[Decimal], Decimal]:
    """Multiples of the finest step of which no more than ``most`` lie in the range, and that step."""
    for step in steps:
        first, last = math.ceil(low / float(step) - _ROUNDING), math.floor(high / float(step) + _ROUNDING)
        if last - first < most:
            break
    return [number * step for number in range(first, last + 1)], step
