"""Measured backgrounds made into others that nobody showed: few minutes of people must not be learnt by heart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from metst.arrays import Float64Array
from metst.regions import REGIONS
from metst.synthesis.chance import log_uniform
from metst.synthesis.trajectories import BROWS, LIDS, Background

# All set by hand.  Pairs are the ends of a uniform draw (log-uniform: in logarithm).
_TEMPO = (0.7, 1.4)  # log-uniform: how fast everything happens
_REGION_SPREAD = 0.25  # standard deviation of the logarithm of what each region keeps
_AXIS_SPREAD, _SHEAR = 0.15, 0.15  # the same of either axis; standard deviation of what one axis gives to the other
_JOINED_SHARE, _TAKEN_SHARE = 0.7, 0.5  # of backgrounds that another is joined to; of those where it takes the place
_JOINED_GAIN = (0.3, 1.3)  # log-uniform: how much the other counts
_WHOLE_SHARE, _WINDOW_S = 0.5, (1.0, 6.0)  # of joins that last throughout; length of the others, log-uniform
_RAMP_S = 0.3  # in which it comes and goes

UPPER_FACE = np.isin(np.arange(len(REGIONS)), [*range(BROWS.start, BROWS.stop), *range(LIDS.start, LIDS.stop)])
"""Which regions are brows and lower lids: they and the rest of the face can come from two persons."""


def varied(
    rng: np.random.Generator, background: Background, *, others: Sequence[Background], seconds: float
) -> Background:
    """A background that lasts so many seconds and differs from what was measured.

    Faster or slower, each region and axis by more or less, and mostly with the motion of another stretch: added, or
    in place of that of the upper face, the lower one, or both, throughout or for a while.

    Parameters
    ----------
    rng : numpy Generator
        Source of all chance.
    background : Background
        What was measured.
    others : sequence of Background
        What may be joined to it; may be empty.
    seconds : float
        Length wanted, seconds; shorter stretches are played to and fro.
    """
    rate_hz = background.rate_hz * log_uniform(rng, _TEMPO)
    frames = int(np.ceil(seconds * rate_hz)) + 1
    first = background.to_and_fro(frames=frames, start=rng.random())
    motion, quality = first.displacement.astype(np.float64), first.quality
    if others and rng.random() < _JOINED_SHARE:
        second = others[int(rng.integers(len(others)))].to_and_fro(frames=frames, start=rng.random())
        share = _join(rng, frames=frames, rate_hz=rate_hz)
        kept = 1 - share if rng.random() < _TAKEN_SHARE else np.ones_like(share)
        # Steps are joined, not places: where the other ends, nothing jumps back.
        steps = np.diff(motion, axis=0) * kept[1:, :, None]
        gain = log_uniform(rng, _JOINED_GAIN)
        steps += gain * share[1:, :, None] * np.diff(second.displacement.astype(np.float64), axis=0)
        motion = np.concatenate([motion[:1], motion[:1] + np.cumsum(steps, axis=0)])
        quality = np.where(share > 0, np.where(kept > 0, np.minimum(quality, second.quality), second.quality), quality)
    motion = motion * np.exp(rng.normal(0, _REGION_SPREAD, (len(REGIONS), 1))) @ _sheared(rng)
    return replace(first, displacement=motion.astype(np.float32), quality=quality.astype(np.float32), rate_hz=rate_hz)


def _join(rng: np.random.Generator, *, frames: int, rate_hz: float) -> Float64Array:
    """How much of each region ``(T, 18)`` another background moves, over time."""
    place = (np.ones(len(REGIONS), dtype=bool), UPPER_FACE, ~UPPER_FACE)[rng.integers(3)]
    course = np.ones(frames)
    if rng.random() >= _WHOLE_SHARE:
        time_s = np.arange(frames) / rate_hz
        length = log_uniform(rng, _WINDOW_S)
        start = rng.uniform(-length / 2, time_s[-1])
        course = np.clip(np.minimum(time_s - start, start + length - time_s) / _RAMP_S, 0, 1)
    return np.asarray(course[:, None] * place)


def _sheared(rng: np.random.Generator) -> Float64Array:
    """What x and y become ``(2, 2)``: near themselves."""
    return np.asarray(
        np.diag(np.exp(rng.normal(0, _AXIS_SPREAD, 2))) + _SHEAR * rng.standard_normal() * np.eye(2)[::-1]
    )
