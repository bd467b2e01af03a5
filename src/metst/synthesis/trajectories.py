"""Simulated ROI motion: micro-expressions among all that is not one, without rendering a pixel.

A face is reduced to how far its 18 regions move.  Micro-expressions, blinks, speech, lasting
expressions and head rotation are spatial patterns times a course over time; measurement noise
and its drift come on top.  Training can draw such recordings without end and without any
licensed data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from metst.config import Settings
from metst.labels import CLASSES, NEUTRAL
from metst.regions import REGIONS
from metst.synthesis.action_units import field_weights, mix_displacement
from metst.synthesis.events import EMOTION_UNITS, PlantedEvent, draw_event, minimum_jerk
from metst.synthesis.smoothing import gaussian_over_time

FloatArray = npt.NDArray[np.float64]


class SimulationSettings(Settings):
    """How often and how strongly things happen in a simulated recording."""

    rate_hz: float = Field(30.0, gt=0, description="frames per second")
    events_per_min: float = Field(14.0, ge=0, description="micro-expressions per minute, in recordings that have any")
    event_free_share: float = Field(0.3, ge=0, le=1, description="share of recordings without any micro-expression")
    amplitude: tuple[float, float] = Field((0.04, 0.45), description="range of contraction, log-uniform")
    others_share: float = Field(0.12, ge=0, le=1, description="share of micro-expressions of class others")
    blinks_per_min: float = Field(14.0, ge=0, description="blinks per minute")
    macros_per_min: float = Field(4.0, ge=0, description="lasting expressions per minute")
    nods_per_min: float = Field(4.0, ge=0, description="quick head movements per minute")
    glitches_per_min: float = Field(3.0, ge=0, description="measurement faults of a few regions per minute")
    speech_share: float = Field(0.3, ge=0, le=1, description="share of recordings with speech")
    noise: tuple[float, float] = Field(
        (0.0004, 0.006), description="range of white noise per region, face units, log-uniform"
    )


BROWS, LIDS = slice(0, 8), slice(16, 18)
"""Positions of the brow and of the lower eyelid regions."""

REGION_DEPTH = np.array(
    [0.12, 0.20, 0.14, 0.06, 0.12, 0.20, 0.14, 0.06, 0.32, 0.18, 0.18, 0.36, 0.33, 0.32, 0.25, 0.25, 0.08, 0.08]
)
"""How far each region lies in front of the outer eye corners, face units: what head rotation moves apart."""

MACRO_MIN_S = 0.8
"""A facial movement from here on is a lasting expression; between this and the longest micro-expression lie none."""

STABLE_DEPTH = 0.12
"""Mean depth of the stable parts that head motion is measured on."""


@dataclass(frozen=True, eq=False)
class SimulatedMotion:
    """One recording and its truth per frame.

    Parameters
    ----------
    displacement : (T, 18, 2) float32
        ROI motion, face units.
    score : (T,) float32
        1 inside a micro-expression, else 0.
    label : (T,) int64
        Class index per frame (neutral outside).
    """

    displacement: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    label: npt.NDArray[np.int64]


def region_response(control: FloatArray, *, points: FloatArray, masks: npt.NDArray[np.floating]) -> FloatArray:
    """How far each region moves per unit of each control point, ``(18, 74)``.

    Parameters
    ----------
    control : (74, 2) float64
        Control points of the face, face coordinates.
    points : (P, 2) float64
        Points of the face, face coordinates.
    masks : (18, P) array
        Share of each point in each region; rows sum to 1.
    """
    return np.asarray(masks @ field_weights(points, control=control))


class MotionSimulator:
    """Draws recordings for a set of faces.

    Parameters
    ----------
    responses : (F, 18, 74) float64
        :func:`region_response` of ``F`` faces.
    settings : SimulationSettings
        Rates and strengths.
    """

    def __init__(self, responses: FloatArray, *, settings: SimulationSettings | None = None) -> None:
        self.responses = responses
        self.settings = settings or SimulationSettings()

    def draw(self, rng: np.random.Generator, *, frames: int) -> SimulatedMotion:
        """One recording of ``frames`` frames."""
        time_s = np.arange(frames) / self.settings.rate_hz
        response = self.responses[rng.integers(len(self.responses))]
        response = response * _region_gain(rng)[:, None]
        speech = _speech_span(rng, time_s=time_s, share=self.settings.speech_share)
        events = self._draw_events(rng, time_s=time_s, speech=speech)
        motion = np.zeros((frames, len(REGIONS), 2))
        for event in events:
            _add(motion, event.profile(time_s), response @ mix_displacement(event.units, side=event.side))
        self._add_macros(rng, motion, time_s=time_s, response=response)
        self._add_blinks(rng, motion, time_s=time_s, response=response)
        _add_speech(rng, motion, time_s=time_s, span=speech, response=response)
        motion += _head_leak(rng, time_s=time_s, nods_per_min=self.settings.nods_per_min)
        motion += _wandering(rng, time_s=time_s)
        _add_glitches(rng, motion, time_s=time_s, per_min=self.settings.glitches_per_min)
        motion += _noise(rng, frames=frames, bounds=self.settings.noise)
        score, label = _truth(events, time_s=time_s)
        return SimulatedMotion(motion.astype(np.float32), score, label)

    def _draw_events(
        self, rng: np.random.Generator, *, time_s: FloatArray, speech: tuple[float, float]
    ) -> list[PlantedEvent]:
        settings = self.settings
        if rng.random() < settings.event_free_share:
            return []
        events: list[PlantedEvent] = []
        start = float(rng.exponential(60 / settings.events_per_min)) * 0.5 + 0.3
        while start < time_s[-1] - 0.7:
            label = "others" if rng.random() < settings.others_share else CLASSES[rng.integers(3)]
            event = draw_event(rng, start_s=start, label=label, amplitude=_log_uniform(rng, settings.amplitude))
            if not speech[0] - 0.5 < start < speech[1]:
                events.append(event)
            start = event.offset_s + 0.4 + float(rng.exponential(60 / settings.events_per_min))
        return events

    def _add_macros(
        self, rng: np.random.Generator, motion: FloatArray, *, time_s: FloatArray, response: FloatArray
    ) -> None:
        """Lasting expressions: the same action units for longer; they may come or go as fast as a micro-expression."""
        labels = list(EMOTION_UNITS)
        for start in _moments(rng, time_s=time_s, per_min=self.settings.macros_per_min):
            amplitude = _log_uniform(rng, (0.08, 1.0))
            shape = draw_event(rng, start_s=0.0, label=labels[rng.integers(len(labels))], amplitude=amplitude)
            rise, fall = _log_uniform(rng, (0.12, 1.5)), _log_uniform(rng, (0.12, 2.5))
            hold = max(rng.uniform(0.0, 4.0), MACRO_MIN_S - rise - fall)
            since_onset, until_offset = time_s - start, start + rise + hold + fall - time_s
            course = minimum_jerk(np.minimum(since_onset / rise, until_offset / fall))
            _add(motion, course, response @ mix_displacement(shape.units, side=shape.side))

    def _add_blinks(
        self, rng: np.random.Generator, motion: FloatArray, *, time_s: FloatArray, response: FloatArray
    ) -> None:
        """A blink closes the lids and tugs brows and cheeks a little, each time in its own way."""
        for start in _moments(rng, time_s=time_s, per_min=self.settings.blinks_per_min):
            length = rng.uniform(0.15, 0.45)
            units = {
                "45": float(rng.uniform(0.3, 1.0)),
                "4": float(rng.normal(0, 0.04)),
                "2": float(rng.normal(0, 0.02)),
                "6": float(abs(rng.normal(0, 0.06))),
                "7": float(abs(rng.normal(0, 0.10))),
            }
            blink = PlantedEvent(start, start + length * rng.uniform(0.3, 0.5), start + length, "blink", units)
            pattern = response @ mix_displacement(units)
            # The lids sweep over much of the upper face: patches near them report motion that is no motion of the
            # skin, and the head is taken to follow them a little, which moves all that stays behind.
            pattern[LIDS] += rng.normal(0, 0.010, (2, 2))
            pattern[BROWS] += rng.normal(0, 0.002, (8, 2)) + rng.normal(0, [0.003, 0.010])
            pattern += rng.normal(0, [0.002, 0.004])
            _add(motion, blink.profile(time_s), pattern)


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def _moments(rng: np.random.Generator, *, time_s: FloatArray, per_min: float) -> FloatArray:
    """Times of a Poisson process over the recording."""
    count = rng.poisson(per_min * (time_s[-1] - time_s[0]) / 60)
    return np.asarray(rng.uniform(time_s[0] - 0.3, time_s[-1], count))


def _add(motion: FloatArray, course: FloatArray, pattern: FloatArray) -> None:
    active = np.flatnonzero(course > 0)
    if active.size:
        motion[active] += course[active, None, None] * pattern


def _region_gain(rng: np.random.Generator) -> FloatArray:
    """What registration returns of each region's motion; now and then a region is hidden."""
    gain = rng.uniform(0.75, 1.1, len(REGIONS))
    gain[rng.random(len(REGIONS)) < 0.03] *= 0.2
    return np.asarray(gain)


def _smooth_noise(rng: np.random.Generator, *, shape: tuple[int, ...], sigma: float) -> FloatArray:
    """Unit-variance noise smoothed over time with a Gaussian of ``sigma`` frames."""
    values = gaussian_over_time(rng.standard_normal(shape), sigma=sigma, ends="wrap")
    return np.asarray(values * np.sqrt(2 * sigma * np.sqrt(np.pi)))


def _speech_span(rng: np.random.Generator, *, time_s: FloatArray, share: float) -> tuple[float, float]:
    if rng.random() >= share:
        return (np.inf, -np.inf)
    start = float(rng.uniform(time_s[0] - 2, time_s[-1]))
    return start, start + float(rng.uniform(1.5, 12.0))


def _add_speech(
    rng: np.random.Generator, motion: FloatArray, *, time_s: FloatArray, span: tuple[float, float], response: FloatArray
) -> None:
    """Jaw and lips move at syllable rate, brows and cheeks now and then with them."""
    inside = np.flatnonzero((time_s >= span[0]) & (time_s < span[1]))
    if not inside.size:
        return
    rate = 1 / float(time_s[1] - time_s[0])
    strength = _log_uniform(rng, (0.06, 0.6))
    units: Mapping[str, float] = {
        "26": 0.5,
        "25": 1.0,
        "20": 0.35,
        "12": 0.25,
        "17": 0.4,
        "10": 0.25,
        "24": 0.3,
        "4": 0.08,
        "2": 0.08,
    }
    fade = np.clip(np.minimum(time_s[inside] - span[0], span[1] - time_s[inside]) / 0.2, 0, 1)
    for unit, share in units.items():
        course = _smooth_noise(rng, shape=(inside.size,), sigma=rate * rng.uniform(0.035, 0.10))
        course += 0.5 * _smooth_noise(rng, shape=(inside.size,), sigma=rate * rng.uniform(0.2, 0.6))
        pattern = response @ mix_displacement({unit: strength * share})
        motion[inside] += (fade * course)[:, None, None] * pattern


def _head_leak(rng: np.random.Generator, *, time_s: FloatArray, nods_per_min: float) -> FloatArray:
    """What is left of head rotation after a similarity is removed: parts at other depths shift."""
    frames, rate = len(time_s), 1 / float(time_s[1] - time_s[0])
    strength = _log_uniform(rng, (0.002, 0.06))
    angles = strength * _smooth_noise(rng, shape=(frames, 2), sigma=rate * rng.uniform(0.3, 2.0))
    for start in _moments(rng, time_s=time_s, per_min=nods_per_min):
        length = rng.uniform(0.3, 1.2)
        nod = PlantedEvent(start, start + length * rng.uniform(0.3, 0.7), start + length, "nod", {})
        angles += nod.profile(time_s)[:, None] * rng.normal(0, _log_uniform(rng, (0.01, 0.12)), 2)
    relative = REGION_DEPTH - STABLE_DEPTH + rng.normal(0, 0.03, len(REGIONS))
    return np.asarray(angles[:, None, :] * relative[None, :, None])


def _wandering(rng: np.random.Generator, *, time_s: FloatArray) -> FloatArray:
    """Slow common movement in any direction: light that wanders over the face, poses the model does not know."""
    rate = 1 / float(time_s[1] - time_s[0])
    total = np.zeros((len(time_s), len(REGIONS), 2))
    for _ in range(3):
        pattern = rng.standard_normal((len(REGIONS), 2)) + rng.standard_normal(2)
        course = _smooth_noise(rng, shape=(len(time_s),), sigma=rate * rng.uniform(0.4, 2.5))
        total += _log_uniform(rng, (0.0003, 0.008)) * course[:, None, None] * pattern
    return total


def _add_glitches(rng: np.random.Generator, motion: FloatArray, *, time_s: FloatArray, per_min: float) -> None:
    """Measurement faults: one region and those that share its pixels jump and come back, or stay."""
    for start in _moments(rng, time_s=time_s, per_min=per_min):
        length = rng.uniform(0.1, 0.8)
        fault = PlantedEvent(start, start + length * rng.uniform(0.2, 0.8), start + length, "fault", {})
        chosen = int(rng.integers(len(REGIONS)))
        group = [i for i, region in enumerate(REGIONS) if i == chosen or chosen == region.parent]
        pattern = np.zeros((len(REGIONS), 2))
        pattern[group] = rng.normal(0, 0.3, (len(group), 2)) + rng.normal(0, 1, 2)
        pattern *= _log_uniform(rng, (0.003, 0.03))
        course = fault.profile(time_s)
        if rng.random() < 0.3:
            course[time_s > fault.apex_s] = 1.0
        _add(motion, course, pattern)


def _noise(rng: np.random.Generator, *, frames: int, bounds: tuple[float, float]) -> FloatArray:
    """White noise, its slow part, and the walk that chained anchors add; fine regions share their parent's."""
    level = _log_uniform(rng, bounds)
    own = level * np.exp(rng.normal(0, 0.4, (len(REGIONS), 1)) + rng.normal(0, 0.15, (len(REGIONS), 2)))
    white = rng.standard_normal((frames, len(REGIONS), 2))
    slow = _smooth_noise(rng, shape=(frames, len(REGIONS), 2), sigma=rng.uniform(1.5, 8.0))
    steps = np.zeros_like(white)
    renewals = np.flatnonzero((np.arange(frames) + rng.integers(15)) % 15 == 0)
    steps[renewals] = rng.standard_normal((renewals.size, len(REGIONS), 2))
    walk = np.cumsum(steps, axis=0)
    mixed = white + rng.uniform(0.2, 1.2) * slow + rng.uniform(0.2, 0.8) * walk
    for region in REGIONS:
        if region.parent is not None:
            mixed[:, region.number - 1] = 0.6 * mixed[:, region.parent] + 0.8 * mixed[:, region.number - 1]
    # Motion blur and compression come and go: so does the noise.
    swell = np.exp(0.4 * _smooth_noise(rng, shape=(frames, 1, 1), sigma=rng.uniform(5, 40)))
    return np.asarray(mixed * own * swell)


def _truth(events: list[PlantedEvent], *, time_s: FloatArray) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    score = np.zeros(len(time_s), dtype=np.float32)
    label = np.full(len(time_s), NEUTRAL, dtype=np.int64)
    for event in events:
        inside = (time_s >= event.onset_s) & (time_s <= event.offset_s)
        score[inside] = 1
        label[inside] = CLASSES.index(event.label)
    return score, label
