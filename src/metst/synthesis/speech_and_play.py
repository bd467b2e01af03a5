"""What a face does for long beside expressions: it talks, or is never at rest.

Parts of :class:`metst.synthesis.trajectories.MotionSimulator`.  Motion is ``(T, 18, 2)`` in face units, ``time_s``
``(T,)`` at an even rate, ``response`` ``(18, 74)`` of :func:`metst.synthesis.trajectories.region_response`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from metst.arrays import Float64Array
from metst.synthesis.action_units import mix_displacement
from metst.synthesis.chance import log_uniform, smooth_noise
from metst.synthesis.events import minimum_jerk
from metst.synthesis.habits import SPEECH_FADE_S, SPEECH_S

MACRO_MIN_S = 0.8
"""Seconds; a facial movement from here on is a lasting expression; between this and the longest micro-expression lie
none.  Set by hand."""

PLAY_UNITS = ("1", "2", "4", "5", "6", "7", "10", "12", "14", "15", "17", "20", "24", "25", "45")
"""Action units that a lively face goes from level to level with; chosen by hand."""

SPEECH_UNITS: Mapping[str, float] = {
    "26": 0.5, "25": 1.0, "20": 0.35, "12": 0.25, "17": 0.4, "10": 0.25, "24": 0.3, "4": 0.08, "2": 0.08,
}  # fmt: skip
"""Action units that talk, shares of the strength of speech; set by hand."""

# How single things go.  Pairs are the ends of a uniform draw (log-uniform: in logarithm); contractions are shares of
# full contraction.  Set by hand.

# Speech.
_SPEECH_LEAD_S = 2.0  # it may have begun so long before the first frame
_SPEECH_STRENGTH = (0.06, 0.6)  # log-uniform
_SYLLABLE_S, _PHRASE_S, _PHRASE_SHARE = (0.035, 0.10), (0.2, 0.6), 0.5  # grains, quick and slow; the slow one's share

# Lively faces.
_PLAY_COUNT, _PLAY_STRENGTH = (1, 5), (0.08, 0.8)  # action units, fewer than the second; log-uniform
_PLAY_PACE_S, _PLAY_STEP_S = (0.5, 4.0), (0.12, 0.9)  # rest between steps; length of one; log-uniform
_PLAY_HALVES = ((1.0, 1.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0))  # left, right; as often each
_PLAY_RELAXES = 0.4  # probability that a raised unit goes back to rest


def speech_span(rng: np.random.Generator, *, time_s: Float64Array, share: float) -> tuple[float, float]:
    """When somebody talks, from and to, seconds; an empty span but for a ``share`` of the recordings."""
    if rng.random() >= share:
        return (np.inf, -np.inf)
    start = float(rng.uniform(time_s[0] - _SPEECH_LEAD_S, time_s[-1]))
    return start, start + float(rng.uniform(*SPEECH_S))


def add_speech(
    rng: np.random.Generator,
    motion: Float64Array,
    *,
    time_s: Float64Array,
    span: tuple[float, float],
    response: Float64Array,
) -> None:
    """Jaw and lips move at syllable rate, brows and cheeks now and then with them."""
    inside = np.flatnonzero((time_s >= span[0]) & (time_s < span[1]))
    if not inside.size:
        return
    rate = 1 / float(time_s[1] - time_s[0])
    strength = log_uniform(rng, _SPEECH_STRENGTH)
    fade = np.clip(np.minimum(time_s[inside] - span[0], span[1] - time_s[inside]) / SPEECH_FADE_S, 0, 1)
    for unit, share in SPEECH_UNITS.items():
        course = smooth_noise(rng, shape=(inside.size,), sigma=rate * rng.uniform(*_SYLLABLE_S))
        course += _PHRASE_SHARE * smooth_noise(rng, shape=(inside.size,), sigma=rate * rng.uniform(*_PHRASE_S))
        pattern = response @ mix_displacement({unit: strength * share})
        motion[inside] += (fade * course)[:, None, None] * pattern


def add_play(rng: np.random.Generator, motion: Float64Array, *, time_s: Float64Array, response: Float64Array) -> None:
    """A lively face: some action units go from one level to the next and stay there, longer than micro-expressions."""
    for unit in rng.choice(PLAY_UNITS, size=rng.integers(*_PLAY_COUNT), replace=False):
        strongest, pace_s = log_uniform(rng, _PLAY_STRENGTH), log_uniform(rng, _PLAY_PACE_S)
        halves = _PLAY_HALVES[rng.integers(len(_PLAY_HALVES))]
        pattern = response @ mix_displacement({str(unit): halves})
        level, at_s = 0.0, float(rng.uniform(0, pace_s))
        while at_s < time_s[-1]:
            target = 0.0 if level and rng.random() < _PLAY_RELAXES else strongest * float(rng.random())
            length = log_uniform(rng, _PLAY_STEP_S)
            motion += ((target - level) * minimum_jerk((time_s - at_s) / length))[:, None, None] * pattern
            at_s += max(length + float(rng.exponential(pace_s)), MACRO_MIN_S)
            level = target
