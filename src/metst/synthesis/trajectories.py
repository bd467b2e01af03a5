"""Simulated ROI motion: micro-expressions among all that is not one, without rendering a pixel.

A face is reduced to how far its 18 regions move.  Micro-expressions, blinks, speech, lasting
expressions and head rotation are spatial patterns times a course over time; what measuring adds
(:mod:`metst.synthesis.measurement`) comes on top.  Training can draw such recordings without end
and without any licensed data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field, model_validator

from metst.arrays import Float32Array, Float64Array, FloatArray, Int64Array
from metst.config import Settings
from metst.errors import UsageError
from metst.inference import QualityHold
from metst.labels import CLASSES, NEUTRAL
from metst.regions import MIRRORED, REGIONS
from metst.synthesis import habits
from metst.synthesis.action_units import Contraction, field_weights, mix_displacement
from metst.synthesis.chance import log_uniform
from metst.synthesis.events import EMOTION_UNITS, PlantedEvent, draw_event, lasting
from metst.synthesis.measurement import (
    add_course,
    add_covers,
    add_glitches,
    deformation,
    head_leak,
    hold_regions,
    moments,
    noise,
    region_gain,
    rotation_shift,
    wandering,
)
from metst.synthesis.patterns import PatternStatistics
from metst.synthesis.speech_and_play import MACRO_MIN_S, add_play, add_speech, speech_span
from metst.timeline import MINUTE_S


class SimulationSettings(Settings):
    """How often and how strongly things happen in a simulated recording."""

    rate_hz: float = Field(30.0, gt=0, description="frames per second, unless a recording is drawn at another rate")
    camera_rates_hz: tuple[float, ...] = Field(
        (24.0, 25.0, 30.0, 30.0, 60.0), min_length=1, description="frame rates of the recordings that train a network"
    )
    events_per_min: float = Field(14.0, gt=0, description="micro-expressions per minute, in recordings that have any")
    event_free_share: float = Field(0.3, ge=0, le=1, description="share of recordings without any micro-expression")
    speech_event_share: float = Field(0.5, ge=0, le=1, description="share of micro-expressions kept during speech")
    amplitude: tuple[float, float] = Field((0.04, 0.45), description="range of contraction, log-uniform")
    free_share: float = Field(
        0.0, ge=0, le=1, description="share of movements whose action units are mixed freely, each half its own way"
    )
    measured_share: float = Field(
        0.0, ge=0, le=1, description="share of movements drawn from statistics of measured ones, where there are some"
    )
    measured_amplitude: tuple[float, float] = Field(
        (0.006, 0.06), description="range of the farthest region's motion in those, face units, log-uniform"
    )
    others_share: float = Field(0.12, ge=0, le=1, description="share of micro-expressions of class others")
    asymmetry: float = Field(0.15, ge=0, description="standard deviation of the strength of either half of the face")
    blinks_per_min: float = Field(habits.BLINKS_PER_MIN, ge=0, description="blinks per minute")
    macros_per_min: float = Field(5.0, ge=0, description="lasting expressions per minute")
    laughs_per_min: float = Field(0.0, ge=0, description="laughs per minute")
    lively_share: float = Field(0.35, ge=0, le=1, description="share of recordings of a face that is never at rest")
    nods_per_min: float = Field(4.0, ge=0, description="quick head movements per minute")
    deformation: tuple[float, float] = Field(
        (0.0005, 0.012), description="range of stretch and shear that the head's motion leaves behind, log-uniform"
    )
    glitches_per_min: float = Field(3.0, ge=0, description="measurement faults of a few regions per minute")
    covers_per_min: float = Field(0.0, ge=0, description="things before part of the face per minute")
    held_share: float = Field(0.25, ge=0, le=1, description="share of recordings with regions that are lost at times")
    speech_share: float = Field(0.4, ge=0, le=1, description="share of recordings with speech")
    beats_per_min: float = Field(10.0, ge=0, description="movements of the brows per minute of speech")
    noise: tuple[float, float] = Field(
        (0.0004, 0.006), description="range of white noise per region, face units, log-uniform"
    )
    background_gain: tuple[float, float] = Field(
        (0.4, 1.6), description="range of the factor on what a recorded background shows, log-uniform"
    )
    disturbed_share: float = Field(
        0.0, ge=0, le=1, description="share of recorded backgrounds that simulated disturbances are added to"
    )

    @model_validator(mode="after")
    def _shares_fit(self) -> SimulationSettings:
        if (total := self.free_share + self.measured_share) > 1:
            raise UsageError(f"free and measured movements can be all at most, got shares of {total:g} together")
        return self


BROWS, LIDS = slice(0, 8), slice(16, 18)
"""Positions of the brow and of the lower eyelid regions."""

LAUGH_UNITS: Mapping[str, float] = {"6": 0.7, "12": 1.0, "7": 0.3, "25": 0.7, "26": 0.2, "10": 0.25}
"""Action units of the smile of a laugh, shares of its strength; set by hand."""

VOICE_UNITS: Mapping[str, float] = {"26": 0.35, "25": 0.3, "6": 0.1, "12": 0.15, "20": 0.1, "4": 0.04}
"""Action units that each burst of voice moves, shares of the laugh's strength; set by hand."""

# How single things go.  Pairs are the ends of a uniform draw (log-uniform: in logarithm); contractions are shares of
# full contraction.  Set by hand; how long and how often things go on is in metst.synthesis.habits.
_HALF_LIMITS = (0.4, 1.6)  # factors on either half of the face: the normal draw of the asymmetry is cut there
_EMOTIONS = CLASSES.index("others")  # the classes before it are drawn alike; its own share is a setting
_FIRST_S, _REST_S = 0.3, 0.4  # at the least, before the first micro-expression and between two
_ROOM_S = 0.7  # none starts later before the end: the longest lasts 0.6 s
_BESIDE_SPEECH_S = 0.5  # so near speech, a micro-expression comes as rarely as during it

# Lasting expressions.
_MACRO_MEASURED = (0.012, 0.13)  # of those from statistics, face units; log-uniform

# Blinks.
_BLINK_TUGS: Mapping[str, float] = {"4": 0.04, "2": 0.02}  # standard deviation of contractions of either sign
_BLINK_PULLS: Mapping[str, float] = {"6": 0.06, "7": 0.10}  # the same, never below 0
_LID_JITTER, _BROW_JITTER = 0.010, 0.002  # what patches near sweeping lids report, standard deviation, face units
_BROWS_TUGGED, _ALL_TUGGED = (0.003, 0.010), (0.002, 0.004)  # the same for all brows, all regions: across, down

# Laughs.
_LEAST_SMILE, _LEAST_VOICE = 0.4, 0.2  # least share of each of the action units that a laugh draws
_SHAKE_RAD = (0.002, 0.03)  # of the head with each burst, log-uniform
_BOUT_EVERY_S, _BOUT_S, _BOUT_FADE_S = (0.8, 2.0), (0.2, 1.5), 0.15  # the length log-uniform
_SLOWING_PER_S = (0.0, 0.15)  # of the bursts: share of their rate
_BURST_STRENGTH = (0.2, 1.0)

# Brows that stress what is said.
_BEATS: Sequence[tuple[float, tuple[str, ...]]] = ((0.5, ("1", "2")), (0.2, ("1",)), (0.3, ("4",)))  # share, units
_BEAT_STRENGTH, _BEAT_S = (0.05, 0.5), (0.2, 1.5)  # log-uniform
_BEAT_SPREAD, _BEAT_RISE = (0.7, 1.3), (0.3, 0.7)  # factor on each unit; share of the length that rises
_BEAT_LEAD_S = 0.3  # a brow may rise so long before the first word


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
    rate_hz : float
        Frames per second.
    """

    displacement: Float32Array
    score: Float32Array
    label: Int64Array
    rate_hz: float

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.score) / self.rate_hz

    def reversed(self) -> SimulatedMotion:
        """The same recording played backwards."""
        return SimulatedMotion(self.displacement[::-1], self.score[::-1], self.label[::-1], self.rate_hz)


@dataclass(frozen=True, eq=False)
class Background:
    """Measured motion of a face that makes no micro-expression, without a gap.

    Parameters
    ----------
    displacement : (T, 18, 2) float32
        ROI motion, face units.
    quality : (T, 18) float32
        How well each region was measured, in [0, 1].
    rate_hz : float
        Frames per second.
    min_quality : float
        What scoring takes for measured badly.
    """

    displacement: Float32Array
    quality: Float32Array
    rate_hz: float
    min_quality: float

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.displacement) / self.rate_hz

    def to_and_fro(self, *, frames: int, start: float) -> Background:
        """So many frames from a share ``start`` of there and back on; at either end it goes back the way it came."""
        last = len(self.displacement) - 1
        place = last - np.abs((np.arange(frames) + int(start * 2 * last)) % (2 * last) - last)
        return replace(self, displacement=self.displacement[place], quality=self.quality[place])


def region_response(control: Float64Array, *, points: Float64Array, masks: FloatArray) -> Float64Array:
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
    patterns : PatternStatistics, optional
        Where the measured share of movements is drawn from; without, these are action units like the rest.
    """

    def __init__(
        self,
        responses: Float64Array,
        *,
        settings: SimulationSettings | None = None,
        patterns: PatternStatistics | None = None,
    ) -> None:
        self.responses = responses
        self.settings = settings or SimulationSettings()
        self.patterns = patterns

    def draw(self, rng: np.random.Generator, *, frames: int, rate_hz: float | None = None) -> SimulatedMotion:
        """One recording of ``frames`` frames at a rate, that of the settings when absent."""
        settings, rate_hz = self.settings, rate_hz or self.settings.rate_hz
        time_s = np.arange(frames) / rate_hz
        response, gain = self._face(rng)
        speech = speech_span(rng, time_s=time_s, share=settings.speech_share)
        events = self._draw_events(rng, time_s=time_s, speech=speech)
        motion = np.zeros((frames, len(REGIONS), 2))
        for event in events:
            add_course(motion, event.profile(time_s), self._pattern(rng, event, response=response, gain=gain))
        self._add_everything_else(rng, motion, time_s=time_s, response=response, gain=gain, speech=speech)
        hold_regions(rng, motion, time_s=time_s, share=settings.held_share)
        score, label = _truth(events, time_s=time_s)
        return SimulatedMotion(motion.astype(np.float32), score, label, rate_hz)

    def draw_over(self, rng: np.random.Generator, background: Background) -> SimulatedMotion:
        """Micro-expressions over the measured motion of a face that makes none.

        Half of the time the background is mirrored, and it counts for more or less: the same person, livelier or
        calmer, on a better or worse camera.  To some, what a simulated recording shows beside events is added.

        Parameters
        ----------
        rng : numpy Generator
            Source of all chance.
        background : Background
            What was measured; a region that was measured badly stands still, whatever is planted.
        """
        time_s = np.arange(len(background.displacement)) / background.rate_hz
        response, gain = self._face(rng)
        motion, quality = background.displacement.astype(np.float64), background.quality
        if rng.random() < 0.5:
            motion, quality = motion[:, MIRRORED] * [-1.0, 1.0], quality[:, MIRRORED]
        motion = motion * log_uniform(rng, self.settings.background_gain)
        disturbed = rng.random() < self.settings.disturbed_share
        speech = speech_span(rng, time_s=time_s, share=self.settings.speech_share * disturbed)
        events = self._draw_events(rng, time_s=time_s, speech=speech)
        for event in events:
            add_course(motion, event.profile(time_s), self._pattern(rng, event, response=response, gain=gain))
        if disturbed:
            self._add_everything_else(rng, motion, time_s=time_s, response=response, gain=gain, speech=speech)
        score, label = _truth(events, time_s=time_s)
        held = QualityHold(background.min_quality).feed(motion.astype(np.float32), quality=quality)
        return SimulatedMotion(held, score, label, background.rate_hz)

    def _add_everything_else(
        self,
        rng: np.random.Generator,
        motion: Float64Array,
        *,
        time_s: Float64Array,
        response: Float64Array,
        gain: Float64Array,
        speech: tuple[float, float],
    ) -> None:
        """What a recording shows beside micro-expressions."""
        settings = self.settings
        self._add_macros(rng, motion, time_s=time_s, response=response, gain=gain)
        self._add_blinks(rng, motion, time_s=time_s, response=response)
        self._add_laughs(rng, motion, time_s=time_s, response=response)
        if rng.random() < settings.lively_share:
            add_play(rng, motion, time_s=time_s, response=response)
        add_speech(rng, motion, time_s=time_s, span=speech, response=response)
        self._add_beats(rng, motion, time_s=time_s, span=speech, response=response)
        motion += head_leak(rng, time_s=time_s, nods_per_min=settings.nods_per_min)
        motion += deformation(rng, time_s=time_s, bounds=settings.deformation) + wandering(rng, time_s=time_s)
        add_glitches(rng, motion, time_s=time_s, per_min=settings.glitches_per_min)
        add_covers(rng, motion, time_s=time_s, per_min=settings.covers_per_min)
        motion += noise(rng, frames=len(time_s), bounds=settings.noise)

    def _face(self, rng: np.random.Generator) -> tuple[Float64Array, Float64Array]:
        """Region responses ``(18, 74)`` of one of the faces as they are measured, and what that keeps ``(18,)``."""
        response = self.responses[rng.integers(len(self.responses))]
        gain = region_gain(rng)
        return response * gain[:, None], gain

    def _pattern(
        self, rng: np.random.Generator, event: PlantedEvent, *, response: Float64Array, gain: Float64Array
    ) -> Float64Array:
        """How the regions move at the apex ``(18, 2)``."""
        if event.pattern is not None:
            return gain[:, None] * event.pattern
        return self._contracted(rng, event.units, response=response)

    def _contracted(
        self, rng: np.random.Generator, units: Mapping[str, Contraction], *, response: Float64Array
    ) -> Float64Array:
        """How action units move the regions ``(18, 2)``: the halves of a face are never quite alike."""
        left, right = rng.normal(1, self.settings.asymmetry, 2).clip(*_HALF_LIMITS)
        # Halves that are named each for itself are unlike already.
        shift = mix_displacement(
            {unit: each if isinstance(each, tuple) else (left * each, right * each) for unit, each in units.items()}
        )
        return np.asarray(response @ shift * rng.normal(1, self.settings.asymmetry / 2, (len(REGIONS), 1)))

    def _draw_shape(
        self,
        rng: np.random.Generator,
        *,
        start_s: float,
        label: str,
        amplitude: float,
        measured: tuple[float, float],
    ) -> PlantedEvent:
        """A movement of one class, of the kinds and in the shares of the settings.

        ``amplitude`` is its contraction, ``measured`` the range of the farthest region's motion, face units.
        """
        share = self.settings.measured_share
        known = self.patterns if self.patterns is not None and label in self.patterns.classes else None
        # Nothing is drawn here while all movements come from the table: what a seed gives stays the same.
        place = rng.random() if share + self.settings.free_share else 1.0
        if known is not None and place < share:
            strength = log_uniform(rng, measured)
            return draw_event(rng, start_s=start_s, label=label, amplitude=strength, patterns=known)
        free = share <= place < share + self.settings.free_share
        return draw_event(rng, start_s=start_s, label=label, amplitude=amplitude, free=free)

    def _draw_events(
        self, rng: np.random.Generator, *, time_s: Float64Array, speech: tuple[float, float]
    ) -> list[PlantedEvent]:
        settings = self.settings
        if rng.random() < settings.event_free_share:
            return []
        events: list[PlantedEvent] = []
        start = float(rng.exponential(MINUTE_S / settings.events_per_min)) * 0.5 + _FIRST_S
        while start < time_s[-1] - _ROOM_S:
            label = "others" if rng.random() < settings.others_share else CLASSES[rng.integers(_EMOTIONS)]
            amplitude = log_uniform(rng, settings.amplitude)
            event = self._draw_shape(
                rng, start_s=start, label=label, amplitude=amplitude, measured=settings.measured_amplitude
            )
            if not speech[0] - _BESIDE_SPEECH_S < start < speech[1] or rng.random() < settings.speech_event_share:
                events.append(event)
            start = event.offset_s + _REST_S + float(rng.exponential(MINUTE_S / settings.events_per_min))
        return events

    def _add_macros(
        self,
        rng: np.random.Generator,
        motion: Float64Array,
        *,
        time_s: Float64Array,
        response: Float64Array,
        gain: Float64Array,
    ) -> None:
        """Lasting expressions: the same movements for longer; they may come or go as fast as a micro-expression."""
        labels = list(EMOTION_UNITS)
        for start in moments(rng, time_s=time_s, per_min=self.settings.macros_per_min):
            amplitude = log_uniform(rng, habits.MACRO_WIDE_STRENGTH)
            label = labels[rng.integers(len(labels))]
            shape = self._draw_shape(rng, start_s=0.0, label=label, amplitude=amplitude, measured=_MACRO_MEASURED)
            rise, fall = log_uniform(rng, habits.MACRO_WIDE_RISE_S), log_uniform(rng, habits.MACRO_WIDE_FALL_S)
            hold = max(rng.uniform(*habits.MACRO_WIDE_HOLD_S), MACRO_MIN_S - rise - fall)
            course = lasting(time_s, start=start, rise=rise, hold=hold, fall=fall)
            add_course(motion, course, self._pattern(rng, shape, response=response, gain=gain))

    def _add_blinks(
        self, rng: np.random.Generator, motion: Float64Array, *, time_s: Float64Array, response: Float64Array
    ) -> None:
        """A blink closes the lids and tugs brows and cheeks a little, each time in its own way."""
        for start in moments(rng, time_s=time_s, per_min=self.settings.blinks_per_min):
            blink = habits.draw_blink(rng)
            units = {"45": blink.closure}
            units |= {unit: float(rng.normal(0, spread)) for unit, spread in _BLINK_TUGS.items()}
            units |= {unit: float(abs(rng.normal(0, spread))) for unit, spread in _BLINK_PULLS.items()}
            pattern = response @ mix_displacement(units)
            # The lids sweep over much of the upper face: patches near them report motion that is no motion of the
            # skin, and the head is taken to follow them a little, which moves all that stays behind.
            pattern[LIDS] += rng.normal(0, _LID_JITTER, (2, 2))
            pattern[BROWS] += rng.normal(0, _BROW_JITTER, (8, 2)) + rng.normal(0, _BROWS_TUGGED)
            pattern += rng.normal(0, _ALL_TUGGED)
            add_course(motion, blink.course(time_s, start_s=start), pattern)

    def _add_laughs(
        self, rng: np.random.Generator, motion: Float64Array, *, time_s: Float64Array, response: Float64Array
    ) -> None:
        """A smile with bouts of voice in it, whose bursts shake jaw, cheeks and head.

        As breath runs out the bursts slow down, by the end of a long bout to half as many.
        """
        for start in moments(rng, time_s=time_s, per_min=self.settings.laughs_per_min):
            rise, hold, fall = (
                log_uniform(rng, each)
                for each in (habits.LAUGH_WIDE_RISE_S, habits.LAUGH_WIDE_HOLD_S, habits.LAUGH_WIDE_FALL_S)
            )
            strength = log_uniform(rng, habits.LAUGH_WIDE_STRENGTH)
            smile = _some_of(rng, LAUGH_UNITS, least=_LEAST_SMILE, strength=strength)
            course = lasting(time_s, start=start, rise=rise, hold=hold, fall=fall)
            add_course(motion, course, self._contracted(rng, smile, response=response))
            voice = _some_of(rng, VOICE_UNITS, least=_LEAST_VOICE, strength=strength)
            shaken = self._contracted(rng, voice, response=response)
            shaken += log_uniform(rng, _SHAKE_RAD) * rotation_shift(rng)[:, None] * rng.standard_normal(2)
            for bout in np.arange(start + rise / 2, start + rise + hold, rng.uniform(*_BOUT_EVERY_S)):
                length = log_uniform(rng, _BOUT_S)
                rate_hz = rng.uniform(*habits.LAUGH_BURSTS_HZ) * (1 - rng.uniform(*_SLOWING_PER_S) * (time_s - bout))
                hold_s = length - 2 * _BOUT_FADE_S
                envelope = lasting(time_s, start=bout, rise=_BOUT_FADE_S, hold=hold_s, fall=_BOUT_FADE_S)
                bursts = np.sin(np.pi * rate_hz * (time_s - bout)) ** 2
                add_course(motion, rng.uniform(*_BURST_STRENGTH) * envelope * bursts, shaken)

    def _add_beats(
        self,
        rng: np.random.Generator,
        motion: Float64Array,
        *,
        time_s: Float64Array,
        span: tuple[float, float],
        response: Float64Array,
    ) -> None:
        """Brows that stress what is said: as short as a micro-expression at times, and part of speech all the same."""
        for start in moments(rng, time_s=time_s, per_min=self.settings.beats_per_min):
            if span[0] - _BEAT_LEAD_S <= start < span[1]:
                _, together = _BEATS[rng.choice(len(_BEATS), p=[share for share, _ in _BEATS])]
                strength, length = log_uniform(rng, _BEAT_STRENGTH), log_uniform(rng, _BEAT_S)
                units = {unit: strength * float(rng.uniform(*_BEAT_SPREAD)) for unit in together}
                beat = PlantedEvent(start, start + length * rng.uniform(*_BEAT_RISE), start + length, "beat", units)
                add_course(motion, beat.profile(time_s), self._contracted(rng, beat.units, response=response))


def _some_of(
    rng: np.random.Generator, units: Mapping[str, float], *, least: float, strength: float
) -> dict[str, float]:
    return {unit: strength * share * float(rng.uniform(least, 1.0)) for unit, share in units.items()}


def _truth(events: list[PlantedEvent], *, time_s: Float64Array) -> tuple[Float32Array, Int64Array]:
    score = np.zeros(len(time_s), dtype=np.float32)
    label = np.full(len(time_s), NEUTRAL, dtype=np.int64)
    for event in events:
        inside = (time_s >= event.onset_s) & (time_s <= event.offset_s)
        score[inside] = 1
        label[inside] = CLASSES.index(event.label)
    return score, label
