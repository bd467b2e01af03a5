"""What a face does by itself, in numbers: how often, how long and how strongly.

One place for both that draw it, rendered heads (:mod:`metst.synthesis.behaviour`, :mod:`metst.synthesis.heads.scene`)
and simulated regions (:mod:`metst.synthesis.trajectories`).  How a face looks in it stays with each: expression shapes
there, action units here.

Pairs are the ends of a uniform draw.  Simulated regions make the hard cases that a network learns from, and draw some
things from a wider range than heads do: ``WIDE`` in a name, ends of a log-uniform draw.  All set by hand, but for the
bursts of a laugh.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metst.arrays import Float64Array
from metst.synthesis.events import lasting, minimum_jerk

BLINKS_PER_MIN = 14.0
"""Blinks, where nothing else is said."""

SPEECH_S, SPEECH_FADE_S = (1.5, 8.0), 0.15
"""Length of a stretch of speech, and how long it takes to come and to go, seconds."""

MACRO_RISE_S, MACRO_HOLD_S, MACRO_FALL_S = (0.25, 0.8), (0.6, 3.0), (0.3, 1.2)
"""Course of a lasting expression, seconds."""

MACRO_WIDE_RISE_S, MACRO_WIDE_HOLD_S, MACRO_WIDE_FALL_S = (0.12, 1.5), (0.0, 4.0), (0.12, 2.5)
"""The same for regions, some as fast as a micro-expression comes or goes; the middle one is a uniform draw."""

MACRO_STRENGTH, MACRO_WIDE_STRENGTH = (0.3, 0.9), (0.08, 1.0)
"""Contraction of a lasting expression, shares of full contraction."""

LAUGH_RISE_S, LAUGH_HOLD_S, LAUGH_FALL_S = 0.3, (0.9, 2.4), 0.6
"""Course of a laugh, seconds; rise and fall are the same each time."""

LAUGH_WIDE_RISE_S, LAUGH_WIDE_HOLD_S, LAUGH_WIDE_FALL_S = (0.15, 0.8), (0.5, 5.0), (0.3, 2.5)
"""The same for regions."""

LAUGH_STRENGTH, LAUGH_WIDE_STRENGTH = (0.6, 1.0), (0.1, 1.0)
"""How strong a laugh is; 1 is a full smile."""

LAUGH_BURSTS_HZ = (4.0, 5.5)
"""Bursts of voice in a laugh, per second: the lower part of four to six (Bachorowski, Smoski and Owren 2001)."""

NOD_DEG, NOD_WIDE_DEG = (2.0, 7.0), (0.6, 7.0)
"""Largest angle of a nod, degrees."""

# Blinks: the lids close faster than they open, and not each time wholly.
_BLINK_RISE_S, _BLINK_HOLD_S, _BLINK_FALL_S = (0.06, 0.10), (0.0, 0.05), (0.12, 0.24)
_FULL_BLINKS, _FULL_CLOSURE, _PART_CLOSURE = 0.85, (0.75, 1.0), (0.3, 0.7)  # share of full ones; closure of either

# Nods.
_NOD_S, _NOD_CYCLES, _SHAKES = (0.5, 1.6), (1, 4), 0.3  # length; swings, fewer than the second; share to the sides
_RAMP = 0.35  # share of a stroke's length in which it comes, and goes


@dataclass(frozen=True)
class Blink:
    """One blink.

    Parameters
    ----------
    rise_s, hold_s, fall_s : float
        While the lids close, stay and open, seconds.
    closure : float
        How far they close; 1 is wholly.
    """

    rise_s: float
    hold_s: float
    fall_s: float
    closure: float

    @property
    def length_s(self) -> float:
        """From the first movement to the last."""
        return self.rise_s + self.hold_s + self.fall_s

    def course(self, time_s: Float64Array, *, start_s: float) -> Float64Array:
        """Share of its closure, over time ``(T,)``."""
        return lasting(time_s, start=start_s, rise=self.rise_s, hold=self.hold_s, fall=self.fall_s)


def draw_blink(rng: np.random.Generator) -> Blink:
    """A blink by chance."""
    rise, hold, fall = rng.uniform(*_BLINK_RISE_S), rng.uniform(*_BLINK_HOLD_S), rng.uniform(*_BLINK_FALL_S)
    closure = float(rng.uniform(*(_FULL_CLOSURE if rng.random() < _FULL_BLINKS else _PART_CLOSURE)))
    return Blink(float(rise), float(hold), float(fall), closure)


@dataclass(frozen=True)
class Nod:
    """A head that swings, up and down or to the sides.

    Parameters
    ----------
    length_s : float
    cycles : int
        Swings to and fro.
    sideways : bool
        Whether the head is shaken.
    """

    length_s: float
    cycles: int
    sideways: bool

    def course(self, time_s: Float64Array, *, start_s: float, angle: float) -> Float64Array:
        """How far the head is turned, over time ``(T,)``; ``angle`` is the most, in its unit."""
        swing = np.sin(2 * np.pi * self.cycles * (time_s - start_s) / self.length_s)
        return np.asarray(angle * stroke(time_s, start_s=start_s, length_s=self.length_s) * swing)


def draw_nod(rng: np.random.Generator) -> Nod:
    """A nod by chance, but for its angle."""
    return Nod(float(rng.uniform(*_NOD_S)), int(rng.integers(*_NOD_CYCLES)), bool(rng.random() < _SHAKES))


def stroke(time_s: Float64Array, *, start_s: float, length_s: float) -> Float64Array:
    """Share of a stroke of the head that comes, stays and goes, over time ``(T,)``."""
    ramp = _RAMP * length_s
    return minimum_jerk(np.minimum((time_s - start_s) / ramp, (start_s + length_s - time_s) / ramp))
