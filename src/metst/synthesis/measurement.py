"""What measuring a face adds to its motion: noise, drift, faults, what head rotation leaves behind.

Parts of :class:`metst.synthesis.trajectories.MotionSimulator`.  Motion is ``(T, 18, 2)`` in face units, ``time_s``
``(T,)`` at an even rate.
"""

from __future__ import annotations

import numpy as np

from metst.arrays import Float64Array
from metst.regions import REGIONS
from metst.synthesis.events import PlantedEvent
from metst.synthesis.smoothing import gaussian_over_time

REGION_DEPTH = np.array(
    [0.12, 0.20, 0.14, 0.06, 0.12, 0.20, 0.14, 0.06, 0.32, 0.18, 0.18, 0.36, 0.33, 0.32, 0.25, 0.25, 0.08, 0.08]
)
"""How far each region lies in front of the outer eye corners, face units: what head rotation moves apart."""

REGION_PLACE = np.array(
    [
        (-0.42, -0.19), (-0.32, -0.22), (-0.45, -0.22), (-0.54, -0.20), (0.42, -0.19), (0.32, -0.22), (0.45, -0.22),
        (0.54, -0.20), (0.0, 0.67), (-0.36, 0.60), (0.36, 0.60), (0.0, 0.59), (0.0, 0.85), (0.0, 0.63), (-0.16, 0.44),
        (0.16, 0.44), (-0.35, 0.12), (0.35, 0.12),
    ]
)  # fmt: skip
"""Where each region lies, face coordinates: what a wrong scale or shear of the head moves apart."""

STABLE_DEPTH = 0.12
"""Mean depth of the stable parts that head motion is measured on."""


def log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """A number whose logarithm is uniform between those of the bounds."""
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def moments(rng: np.random.Generator, *, time_s: Float64Array, per_min: float) -> Float64Array:
    """Times of a Poisson process over the recording."""
    count = rng.poisson(per_min * (time_s[-1] - time_s[0]) / 60)
    return np.asarray(rng.uniform(time_s[0] - 0.3, time_s[-1], count))


def add_course(motion: Float64Array, course: Float64Array, pattern: Float64Array) -> None:
    """Add a pattern ``(18, 2)`` times its share over time ``(T,)`` to the motion, in place."""
    active = np.flatnonzero(course > 0)
    if active.size:
        motion[active] += course[active, None, None] * pattern


def region_gain(rng: np.random.Generator) -> Float64Array:
    """What registration returns of each region's motion; now and then a region is hidden."""
    gain = rng.uniform(0.75, 1.1, len(REGIONS))
    gain[rng.random(len(REGIONS)) < 0.03] *= 0.2
    return np.asarray(gain)


def smooth_noise(rng: np.random.Generator, *, shape: tuple[int, ...], sigma: float) -> Float64Array:
    """Unit-variance noise smoothed over time with a Gaussian of ``sigma`` frames."""
    values = gaussian_over_time(rng.standard_normal(shape), sigma=sigma, ends="wrap")
    return np.asarray(values * np.sqrt(2 * sigma * np.sqrt(np.pi)))


def head_leak(rng: np.random.Generator, *, time_s: Float64Array, nods_per_min: float) -> Float64Array:
    """What is left of head rotation after a similarity is removed: parts at other depths shift."""
    frames, rate = len(time_s), 1 / float(time_s[1] - time_s[0])
    strength = log_uniform(rng, (0.002, 0.06))
    angles = strength * smooth_noise(rng, shape=(frames, 2), sigma=rate * rng.uniform(0.3, 2.0))
    for start in moments(rng, time_s=time_s, per_min=nods_per_min):
        length = rng.uniform(0.3, 1.2)
        nod = PlantedEvent(start, start + length * rng.uniform(0.3, 0.7), start + length, "nod", {})
        angles += nod.profile(time_s)[:, None] * rng.normal(0, log_uniform(rng, (0.01, 0.12)), 2)
    return np.asarray(angles[:, None, :] * rotation_shift(rng)[None, :, None])


def rotation_shift(rng: np.random.Generator) -> Float64Array:
    """How far each region ``(18,)`` of some face shifts per radian, after the stable parts are held in place."""
    return np.asarray(REGION_DEPTH - STABLE_DEPTH + rng.normal(0, 0.03, len(REGIONS)))


def wandering(rng: np.random.Generator, *, time_s: Float64Array) -> Float64Array:
    """Slow common movement in any direction: light that wanders over the face, poses the model does not know."""
    rate = 1 / float(time_s[1] - time_s[0])
    total = np.zeros((len(time_s), len(REGIONS), 2))
    for _ in range(3):
        pattern = rng.standard_normal((len(REGIONS), 2)) + rng.standard_normal(2)
        course = smooth_noise(rng, shape=(len(time_s),), sigma=rate * rng.uniform(0.4, 2.5))
        total += log_uniform(rng, (0.0003, 0.008)) * course[:, None, None] * pattern
    return total


def add_glitches(rng: np.random.Generator, motion: Float64Array, *, time_s: Float64Array, per_min: float) -> None:
    """Measurement faults: one region and those that share its pixels jump and come back, or stay."""
    for start in moments(rng, time_s=time_s, per_min=per_min):
        length = rng.uniform(0.1, 0.8)
        fault = PlantedEvent(start, start + length * rng.uniform(0.2, 0.8), start + length, "fault", {})
        chosen = int(rng.integers(len(REGIONS)))
        group = [i for i, region in enumerate(REGIONS) if i == chosen or chosen == region.parent]
        pattern = np.zeros((len(REGIONS), 2))
        pattern[group] = rng.normal(0, 0.3, (len(group), 2)) + rng.normal(0, 1, 2)
        pattern *= log_uniform(rng, (0.003, 0.03))
        course = fault.profile(time_s)
        if rng.random() < 0.3:
            course[time_s > fault.apex_s] = 1.0
        add_course(motion, course, pattern)


def add_covers(rng: np.random.Generator, motion: Float64Array, *, time_s: Float64Array, per_min: float) -> None:
    """A hand, a cup or hair before part of the face: the regions behind it follow it, and come back elsewhere.

    Its motion is added to that of the face, so that what happens behind it stays true.
    """
    rate = 1 / float(time_s[1] - time_s[0])
    for start in moments(rng, time_s=time_s, per_min=per_min):
        length = log_uniform(rng, (0.3, 4.0))
        centre, reach = REGION_PLACE[rng.integers(len(REGIONS))], rng.uniform(0.2, 0.7)
        behind = np.linalg.norm(REGION_PLACE - centre, axis=1) < reach
        into, out = np.minimum(rng.uniform(0.05, 0.4, 2), length / 2)
        there = np.clip(np.minimum((time_s - start) / into, (start + length - time_s) / out), 0, 1)
        strength = log_uniform(rng, (0.01, 0.15))
        common = smooth_noise(rng, shape=(len(time_s), 1, 2), sigma=rate * rng.uniform(0.1, 1.0))
        own = smooth_noise(rng, shape=(len(time_s), len(REGIONS), 2), sigma=rate * rng.uniform(0.05, 0.3))
        moved = strength * there[:, None, None] * (common + rng.uniform(0.1, 0.8) * own)
        left_behind = strength * rng.uniform(0, 0.5) * rng.standard_normal((len(REGIONS), 2))
        moved += np.clip((time_s - start - length + out) / out, 0, 1)[:, None, None] * left_behind
        motion += moved * behind[:, None]


def noise(rng: np.random.Generator, *, frames: int, bounds: tuple[float, float]) -> Float64Array:
    """White noise, its slow part, and the walk that chained anchors add; fine regions share their parent's."""
    level = log_uniform(rng, bounds)
    own = level * np.exp(rng.normal(0, 0.4, (len(REGIONS), 1)) + rng.normal(0, 0.15, (len(REGIONS), 2)))
    white = rng.standard_normal((frames, len(REGIONS), 2))
    slow = smooth_noise(rng, shape=(frames, len(REGIONS), 2), sigma=rng.uniform(1.5, 8.0))
    steps = np.zeros_like(white)
    renewals = np.flatnonzero((np.arange(frames) + rng.integers(15)) % 15 == 0)
    steps[renewals] = rng.standard_normal((renewals.size, len(REGIONS), 2))
    walk = np.cumsum(steps, axis=0)
    mixed = white + rng.uniform(0.2, 1.2) * slow + rng.uniform(0.2, 0.8) * walk
    for region in REGIONS:
        if region.parent is not None:
            mixed[:, region.number - 1] = 0.6 * mixed[:, region.parent] + 0.8 * mixed[:, region.number - 1]
    # Motion blur and compression come and go: so does the noise.
    swell = np.exp(0.4 * smooth_noise(rng, shape=(frames, 1, 1), sigma=rng.uniform(5, 40)))
    return np.asarray(mixed * own * swell)


def deformation(rng: np.random.Generator, *, time_s: Float64Array, bounds: tuple[float, float]) -> Float64Array:
    """What a similarity cannot follow when the head turns: heights and widths change, and the face shears."""
    rate = 1 / float(time_s[1] - time_s[0])
    strength = log_uniform(rng, bounds)
    courses = strength * smooth_noise(rng, shape=(len(time_s), 2, 2), sigma=rate * rng.uniform(0.3, 2.0))
    return np.asarray(np.einsum("tij,rj->tri", courses, REGION_PLACE))


def hold_regions(rng: np.random.Generator, motion: Float64Array, *, time_s: Float64Array, share: float) -> None:
    """Regions that are lost for a while stand still and then go on from there, as scoring takes bad quality."""
    if rng.random() >= share:
        return
    steps = np.diff(motion, axis=0, prepend=motion[:1])
    for _ in range(rng.integers(1, 4)):
        chosen = int(rng.integers(len(REGIONS)))
        group = [i for i, region in enumerate(REGIONS) if i == chosen or chosen == region.parent]
        for start in moments(rng, time_s=time_s, per_min=log_uniform(rng, (2.0, 40.0))):
            lost = np.flatnonzero((time_s >= start) & (time_s < start + log_uniform(rng, (0.04, 2.0))))
            steps[lost[:, None], group] = 0
    motion[:] = motion[:1] + np.cumsum(steps, axis=0)
