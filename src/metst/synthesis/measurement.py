"""What measuring a face adds to its motion: noise, drift, faults, what head rotation leaves behind.

Parts of :class:`metst.synthesis.trajectories.MotionSimulator`.  Motion is ``(T, 18, 2)`` in face units, ``time_s``
``(T,)`` at an even rate.
"""

from __future__ import annotations

import numpy as np

from metst.arrays import Float64Array
from metst.regions import REGIONS
from metst.synthesis.chance import log_uniform, smooth_noise
from metst.synthesis.events import LEAD_S, PlantedEvent
from metst.synthesis.habits import NOD_WIDE_DEG, draw_nod
from metst.timeline import MINUTE_S

REGION_DEPTH = np.array(
    [0.12, 0.20, 0.14, 0.06, 0.12, 0.20, 0.14, 0.06, 0.32, 0.18, 0.18, 0.36, 0.33, 0.32, 0.25, 0.25, 0.08, 0.08]
)
"""How far each region lies in front of the outer eye corners, face units: what head rotation moves apart.  Set by
hand."""

REGION_PLACE = np.array(
    [
        (-0.42, -0.19), (-0.32, -0.22), (-0.45, -0.22), (-0.54, -0.20), (0.42, -0.19), (0.32, -0.22), (0.45, -0.22),
        (0.54, -0.20), (0.0, 0.67), (-0.36, 0.60), (0.36, 0.60), (0.0, 0.59), (0.0, 0.85), (0.0, 0.63), (-0.16, 0.44),
        (0.16, 0.44), (-0.35, 0.12), (0.35, 0.12),
    ]
)  # fmt: skip
"""Where each region lies, face coordinates: what a wrong scale or shear of the head moves apart.  Rounded from the
packaged portrait, to which a test holds them within 0.05."""

STABLE_DEPTH = 0.12
"""Mean depth of the stable parts that head motion is measured on, face units; set by hand."""

# How single things go.  Pairs are the ends of a uniform draw (log-uniform: in logarithm), lengths of motion are face
# units, grains the standard deviation of the Gaussian that smooths noise over time.  All set by hand.
_GAIN, _HIDDEN, _HIDDEN_GAIN = (0.75, 1.1), 0.03, 0.2  # of a region; probability to be hidden, and what it then keeps

# Head rotation.
_LEAK_RAD, _LEAK_GRAIN_S = (0.002, 0.06), (0.3, 2.0)  # head rotation; the angle log-uniform
_DEPTH_SPREAD = 0.03  # standard deviation of depths between faces

# Slow common movement.
_WANDERERS, _WANDERING, _WANDERING_GRAIN_S = 3, (0.0003, 0.008), (0.4, 2.5)  # how many at once; strength, log-uniform

# Faults.
_FAULT_S, _FAULT_RISE, _FAULT = (0.1, 0.8), (0.2, 0.8), (0.003, 0.03)  # length; share that rises; jump, log-uniform
_FAULT_APART, _FAULT_STAYS = 0.3, 0.3  # of the jump, what regions do not share; probability not to come back

# Covers.
_COVER_S, _COVER_REACH = (0.3, 4.0), (0.2, 0.7)  # length, log-uniform; regions within this distance are behind
_COVER_COMES_S = (0.05, 0.4)  # and goes
_COVER, _COVER_LEFT = (0.01, 0.15), (0.0, 0.5)  # motion, log-uniform; share of it by which regions come back elsewhere
_COVER_GRAIN_S, _COVER_APART, _COVER_APART_GRAIN_S = (0.1, 1.0), (0.1, 0.8), (0.05, 0.3)  # common; of each region

# Noise.
_LEVEL_OF_REGIONS, _LEVEL_OF_AXES = 0.4, 0.15  # standard deviation of the logarithm of the noise
_SLOW, _SLOW_GRAIN = (0.2, 1.2), (1.5, 8.0)  # share of slow noise; its grain, frames
_WALK, _RENEWAL = (0.2, 0.8), 15  # share of the walk; it takes a step every so many frames
_PARENTS, _OWN = 0.6, 0.8  # what a fine region's noise is made of: together of unit variance
_SWELL, _SWELL_GRAIN = 0.4, (5, 40)  # standard deviation of the logarithm of what comes and goes; its grain, frames

# Deformation, and regions that are lost.
_DEFORMATION_GRAIN_S = (0.3, 2.0)
_LOST_REGIONS = (1, 4)  # how many of a recording, fewer than the second
_LOST_PER_MIN, _LOST_S = (2.0, 40.0), (0.04, 2.0)  # log-uniform


def moments(rng: np.random.Generator, *, time_s: Float64Array, per_min: float) -> Float64Array:
    """Times of a Poisson process over the recording."""
    count = rng.poisson(per_min * (time_s[-1] - time_s[0]) / MINUTE_S)
    return np.asarray(rng.uniform(time_s[0] - LEAD_S, time_s[-1], count))


def add_course(motion: Float64Array, course: Float64Array, pattern: Float64Array) -> None:
    """Add a pattern ``(18, 2)`` times its share over time ``(T,)`` to the motion, in place."""
    active = np.flatnonzero(course > 0)
    if active.size:
        motion[active] += course[active, None, None] * pattern


def region_gain(rng: np.random.Generator) -> Float64Array:
    """What registration returns of each region's motion; now and then a region is hidden."""
    gain = rng.uniform(*_GAIN, len(REGIONS))
    gain[rng.random(len(REGIONS)) < _HIDDEN] *= _HIDDEN_GAIN
    return np.asarray(gain)


def head_leak(rng: np.random.Generator, *, time_s: Float64Array, nods_per_min: float) -> Float64Array:
    """What is left of head rotation after a similarity is removed: parts at other depths shift."""
    frames, rate = len(time_s), 1 / float(time_s[1] - time_s[0])
    strength = log_uniform(rng, _LEAK_RAD)
    angles = strength * smooth_noise(rng, shape=(frames, 2), sigma=rate * rng.uniform(*_LEAK_GRAIN_S))
    for start in moments(rng, time_s=time_s, per_min=nods_per_min):
        nod, angle = draw_nod(rng), np.radians(log_uniform(rng, NOD_WIDE_DEG))
        angles[:, 0 if nod.sideways else 1] += nod.course(time_s, start_s=start, angle=angle)
    return np.asarray(angles[:, None, :] * rotation_shift(rng)[None, :, None])


def rotation_shift(rng: np.random.Generator) -> Float64Array:
    """How far each region ``(18,)`` of some face shifts per radian, after the stable parts are held in place."""
    return np.asarray(REGION_DEPTH - STABLE_DEPTH + rng.normal(0, _DEPTH_SPREAD, len(REGIONS)))


def wandering(rng: np.random.Generator, *, time_s: Float64Array) -> Float64Array:
    """Slow common movement in any direction: light that wanders over the face, poses the model does not know."""
    rate = 1 / float(time_s[1] - time_s[0])
    total = np.zeros((len(time_s), len(REGIONS), 2))
    for _ in range(_WANDERERS):
        pattern = rng.standard_normal((len(REGIONS), 2)) + rng.standard_normal(2)
        course = smooth_noise(rng, shape=(len(time_s),), sigma=rate * rng.uniform(*_WANDERING_GRAIN_S))
        total += log_uniform(rng, _WANDERING) * course[:, None, None] * pattern
    return total


def add_glitches(rng: np.random.Generator, motion: Float64Array, *, time_s: Float64Array, per_min: float) -> None:
    """Measurement faults: one region and those that share its pixels jump and come back, or stay."""
    for start in moments(rng, time_s=time_s, per_min=per_min):
        length = rng.uniform(*_FAULT_S)
        fault = PlantedEvent(start, start + length * rng.uniform(*_FAULT_RISE), start + length, "fault", {})
        chosen = int(rng.integers(len(REGIONS)))
        group = [i for i, region in enumerate(REGIONS) if i == chosen or chosen == region.parent]
        pattern = np.zeros((len(REGIONS), 2))
        pattern[group] = rng.normal(0, _FAULT_APART, (len(group), 2)) + rng.normal(0, 1, 2)
        pattern *= log_uniform(rng, _FAULT)
        course = fault.profile(time_s)
        if rng.random() < _FAULT_STAYS:
            course[time_s > fault.apex_s] = 1.0
        add_course(motion, course, pattern)


def add_covers(rng: np.random.Generator, motion: Float64Array, *, time_s: Float64Array, per_min: float) -> None:
    """A hand, a cup or hair before part of the face: the regions behind it follow it, and come back elsewhere.

    Its motion is added to that of the face, so that what happens behind it stays true.
    """
    rate = 1 / float(time_s[1] - time_s[0])
    for start in moments(rng, time_s=time_s, per_min=per_min):
        length = log_uniform(rng, _COVER_S)
        centre, reach = REGION_PLACE[rng.integers(len(REGIONS))], rng.uniform(*_COVER_REACH)
        behind = np.linalg.norm(REGION_PLACE - centre, axis=1) < reach
        into, out = np.minimum(rng.uniform(*_COVER_COMES_S, 2), length / 2)
        there = np.clip(np.minimum((time_s - start) / into, (start + length - time_s) / out), 0, 1)
        strength = log_uniform(rng, _COVER)
        common = smooth_noise(rng, shape=(len(time_s), 1, 2), sigma=rate * rng.uniform(*_COVER_GRAIN_S))
        own_grain = rate * rng.uniform(*_COVER_APART_GRAIN_S)
        own = smooth_noise(rng, shape=(len(time_s), len(REGIONS), 2), sigma=own_grain)
        moved = strength * there[:, None, None] * (common + rng.uniform(*_COVER_APART) * own)
        left_behind = strength * rng.uniform(*_COVER_LEFT) * rng.standard_normal((len(REGIONS), 2))
        moved += np.clip((time_s - start - length + out) / out, 0, 1)[:, None, None] * left_behind
        motion += moved * behind[:, None]


def noise(rng: np.random.Generator, *, frames: int, bounds: tuple[float, float]) -> Float64Array:
    """White noise, its slow part, and the walk that chained anchors add; fine regions share their parent's."""
    level = log_uniform(rng, bounds)
    of_regions = rng.normal(0, _LEVEL_OF_REGIONS, (len(REGIONS), 1))
    own = level * np.exp(of_regions + rng.normal(0, _LEVEL_OF_AXES, (len(REGIONS), 2)))
    white = rng.standard_normal((frames, len(REGIONS), 2))
    slow = smooth_noise(rng, shape=(frames, len(REGIONS), 2), sigma=rng.uniform(*_SLOW_GRAIN))
    steps = np.zeros_like(white)
    renewals = np.flatnonzero((np.arange(frames) + rng.integers(_RENEWAL)) % _RENEWAL == 0)
    steps[renewals] = rng.standard_normal((renewals.size, len(REGIONS), 2))
    walk = np.cumsum(steps, axis=0)
    mixed = white + rng.uniform(*_SLOW) * slow + rng.uniform(*_WALK) * walk
    for region in REGIONS:
        if region.parent is not None:
            own_part = _OWN * mixed[:, region.number - 1]
            mixed[:, region.number - 1] = _PARENTS * mixed[:, region.parent] + own_part
    # Motion blur and compression come and go: so does the noise.
    swell = np.exp(_SWELL * smooth_noise(rng, shape=(frames, 1, 1), sigma=rng.uniform(*_SWELL_GRAIN)))
    return np.asarray(mixed * own * swell)


def deformation(rng: np.random.Generator, *, time_s: Float64Array, bounds: tuple[float, float]) -> Float64Array:
    """What a similarity cannot follow when the head turns: heights and widths change, and the face shears."""
    rate = 1 / float(time_s[1] - time_s[0])
    strength = log_uniform(rng, bounds)
    courses = strength * smooth_noise(rng, shape=(len(time_s), 2, 2), sigma=rate * rng.uniform(*_DEFORMATION_GRAIN_S))
    return np.asarray(np.einsum("tij,rj->tri", courses, REGION_PLACE))


def hold_regions(rng: np.random.Generator, motion: Float64Array, *, time_s: Float64Array, share: float) -> None:
    """Regions that are lost for a while stand still and then go on from there, as scoring takes bad quality."""
    if rng.random() >= share:
        return
    steps = np.diff(motion, axis=0, prepend=motion[:1])
    for _ in range(rng.integers(*_LOST_REGIONS)):
        chosen = int(rng.integers(len(REGIONS)))
        group = [i for i, region in enumerate(REGIONS) if i == chosen or chosen == region.parent]
        for start in moments(rng, time_s=time_s, per_min=log_uniform(rng, _LOST_PER_MIN)):
            lost = np.flatnonzero((time_s >= start) & (time_s < start + log_uniform(rng, _LOST_S)))
            steps[lost[:, None], group] = 0
    motion[:] = motion[:1] + np.cumsum(steps, axis=0)
