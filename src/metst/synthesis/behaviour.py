"""What a face does besides micro-expressions, as expression-shape weights over time.

Blinks, speech, yawns, swallowing, lasting expressions and laughing are drawn at given rates.  The
draw depends on the seed and the time span alone: never on the planted events, and not on the
frame rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from metst.arrays import Float64Array
from metst.config import Settings
from metst.synthesis import habits
from metst.synthesis.events import EMOTION_UNITS, LEAD_S, draw_event, lasting, minimum_jerk
from metst.synthesis.expression_shapes import MIDLINE_SHAPES, shape_weights
from metst.timeline import MINUTE_S

# How single things go.  Pairs are the ends of a uniform draw; tables give the weight of each expression shape (1: fully
# contracted) where the movement is strongest; nods of the head are degrees.  Set by hand, but for the main sequence of
# saccades.
_BUSY_BEFORE_S, _BUSY_AFTER_S = 2.0, 0.3  # no lasting behaviour starts within another, nor so long around it

# Blinks.
_BLINK_TUGS: Mapping[str, float] = {"eyeSquint": 0.10, "cheekSquint": 0.06, "browDown": 0.04}  # at most

# Speech.
_LOUDNESS = (0.5, 1.3)
_SYLLABLE_S, _SYLLABLE_RISE, _SYLLABLE_JAW = (0.14, 0.30), 0.45, (0.05, 0.35)  # length; share that rises; opening
_LAST_SYLLABLE_S, _SYLLABLE_EVERY = 0.2, (0.9, 1.1)  # none starts later before the end; one after so many lengths
_PAUSES, _PAUSE_S = 0.1, (0.2, 0.6)  # probability after a syllable; length
_LIP_OF_JAW = 0.5  # how far the lower lip goes with the jaw
# Shape, weight of one standard deviation, and grain in seconds.
_SPEECH_SHAPES: Sequence[tuple[str, float, float]] = (
    ("mouthFunnel", 0.25, 0.06), ("mouthPucker", 0.30, 0.08), ("mouthPress", 0.22, 0.05), ("mouthStretch", 0.20, 0.07),
    ("mouthSmile", 0.14, 0.3), ("mouthUpperUp", 0.15, 0.06), ("mouthShrugLower", 0.15, 0.08),
    ("browInnerUp", 0.10, 0.35), ("browOuterUp", 0.08, 0.35),
)  # fmt: skip
_SPEECH_NOD_DEG, _SPEECH_NOD_S = 1.0, 0.35  # standard deviation and grain of the nods

# Yawns.
_YAWN_RISE_S, _YAWN_HOLD_S, _YAWN_FALL_S = (1.4, 2.2), (1.0, 2.0), (0.8, 1.4)
_YAWN_JAW = (0.55, 0.85)  # opening
_YAWN_SHAPES: Mapping[str, float] = {"noseSneer": 0.25, "browInnerUp": 0.25, "mouthStretch": 0.2}
_YAWN_SQUINT, _YAWN_LIDS = 0.7, (0.3, 0.9)
_YAWN_NOD_DEG = 4.0  # backwards

# Swallowing.
_SWALLOW_RISE_S, _SWALLOW_HOLD_S, _SWALLOW_FALL_S = (0.2, 0.3), (0.1, 0.3), (0.3, 0.5)
_SWALLOW = (0.5, 1.2)  # strength
_SWALLOW_SHAPES: Mapping[str, float] = {
    "mouthPress": 0.25, "mouthShrugLower": 0.22, "mouthRollLower": 0.12, "mouthDimple": 0.10,
}  # fmt: skip
_SWALLOW_NOD_DEG = 0.5

# Laughs.
_LAUGH_SMILE: Mapping[str, float] = {
    "mouthSmile": 0.85, "cheekSquint": 0.6, "eyeSquint": 0.4, "mouthUpperUp": 0.25, "jawOpen": 0.12,
}  # fmt: skip
_LAUGH_BURST: Mapping[str, float] = {"jawOpen": 0.16, "mouthLowerDown": 0.1}
_LAUGH_SHAKE_DEG, _LAUGH_LEAN_DEG = 1.2, 2.0  # down with each burst; back while it lasts

# Gaze.
_GAZE_SPREAD, _GAZE_UP_DOWN = 0.5, 0.6  # standard deviation as a share of the setting; the vertical one is less
_SACCADE_S, _SACCADE_S_PER_DEG = 0.02, 0.0025  # main sequence of saccades: duration over amplitude


class BehaviourSettings(Settings):
    """How often each thing happens, per minute."""

    blinks_per_min: float = Field(habits.BLINKS_PER_MIN, ge=0, description="blinks")
    speech_per_min: float = Field(0.0, ge=0, description="stretches of speech, 1.5 to 8 s each")
    yawns_per_min: float = Field(0.0, ge=0, description="yawns, 4 to 6 s each")
    swallows_per_min: float = Field(0.0, ge=0, description="swallows, 0.6 to 1.1 s each")
    macros_per_min: float = Field(0.0, ge=0, description="lasting expressions, 1 s and longer")
    laughs_per_min: float = Field(0.0, ge=0, description="laughs, 1.5 to 3.5 s each")
    gaze_shifts_per_min: float = Field(12.0, ge=0, description="saccades")
    gaze_deg: float = Field(6.0, ge=0, le=25, description="spread of the gaze around the camera, degrees")


@dataclass(frozen=True)
class Span:
    """When a behaviour takes place, seconds.

    Parameters
    ----------
    label : str
        ``blink``, ``speech``, ``yawn``, ``swallow``, ``macro`` or ``laugh``.
    onset_s, offset_s : float
        Start and end.
    """

    label: str
    onset_s: float
    offset_s: float


@dataclass(frozen=True, eq=False)
class Behaviour:
    """The course of everything a face does by itself.

    Parameters
    ----------
    spans : tuple of Span
        In order of their onsets.
    weights : mapping of str to (T,) float64
        Weight of each expression shape that ever moves.
    gaze_deg : (T, 2) float64
        Gaze to image right and down, degrees.
    nod_deg : (T,) float64
        Pitch of the head that comes with laughing and yawning, degrees down.
    """

    spans: tuple[Span, ...]
    weights: Mapping[str, Float64Array]
    gaze_deg: Float64Array
    nod_deg: Float64Array


def draw_behaviour(settings: BehaviourSettings, *, time_s: npt.ArrayLike, rng: np.random.Generator) -> Behaviour:
    """Draw what a face does over a stretch of time.

    Parameters
    ----------
    settings : BehaviourSettings
        Rates.
    time_s : (T,) array
        Time of each frame, seconds; only its last value decides what is drawn.
    rng : numpy Generator
        Source of all chance.
    """
    course = _Course(np.asarray(time_s, dtype=np.float64))
    # Each kind has a stream of its own: changing one rate leaves the others' moments where they are.
    streams = dict(zip(_DRAW, rng.spawn(len(_DRAW) + 1), strict=False))
    gaze_rng = rng.spawn(1)[0]
    for label, draw in _DRAW.items():
        stream = streams[label]
        rate = getattr(settings, f"{label}s_per_min" if label != "speech" else "speech_per_min")
        for start in _moments(stream, end_s=course.end_s, per_min=rate):
            one = stream.spawn(1)[0]
            if label == "blink" or not course.busy(start):
                course.spans.append(Span(label, start, start + draw(course, start, one)))
    gaze = _draw_gaze(course, settings, rng=gaze_rng)
    spans = tuple(sorted(course.spans, key=lambda span: span.onset_s))
    weights = {name: np.clip(values, 0, 1) for name, values in course.weights.items()}
    return Behaviour(spans, weights, gaze, course.nod_deg)


class _Course:
    """What has been drawn so far."""

    def __init__(self, time_s: Float64Array) -> None:
        self.time_s = time_s
        self.end_s = float(time_s[-1]) if time_s.size else 0.0
        self.spans: list[Span] = []
        self.weights: dict[str, Float64Array] = {}
        self.nod_deg = np.zeros(len(time_s))

    def busy(self, moment: float) -> bool:
        """Whether a lasting behaviour is going on: two at once would tear the face."""
        return any(
            s.label != "blink" and s.onset_s - _BUSY_BEFORE_S < moment < s.offset_s + _BUSY_AFTER_S for s in self.spans
        )

    def add(self, shapes: Mapping[str, float], course: Float64Array) -> None:
        for name, weight in shapes.items():
            halves = [name] if name in MIDLINE_SHAPES or name.endswith(("Left", "Right")) else _both(name)
            for half in halves:
                self.weights[half] = self.weights.get(half, np.zeros(len(self.time_s))) + weight * course

    def bump(self, start: float, *, rise: float, hold: float, fall: float) -> Float64Array:
        return lasting(self.time_s, start=start, rise=rise, hold=hold, fall=fall)


def _both(name: str) -> list[str]:
    return [name + "Left", name + "Right"]


def _moments(rng: np.random.Generator, *, end_s: float, per_min: float) -> list[float]:
    """Times of a Poisson process, from shortly before the first frame on."""
    moments = []
    now = -LEAD_S
    while per_min > 0:
        now += float(rng.exponential(MINUTE_S / per_min))
        if now > end_s:
            break
        moments.append(now)
    return moments


def _blink(course: _Course, start: float, rng: np.random.Generator) -> float:
    blink = habits.draw_blink(rng)
    shapes = {"eyeBlink": blink.closure} | {name: most * float(rng.random()) for name, most in _BLINK_TUGS.items()}
    course.add(shapes, blink.course(course.time_s, start_s=start))
    return blink.length_s


def _speech(course: _Course, start: float, rng: np.random.Generator) -> float:
    length = float(rng.uniform(*habits.SPEECH_S))
    loudness = float(rng.uniform(*_LOUDNESS))
    fade = course.bump(
        start, rise=habits.SPEECH_FADE_S, hold=length - 2 * habits.SPEECH_FADE_S, fall=habits.SPEECH_FADE_S
    )
    jaw = np.zeros(len(course.time_s))
    now = start
    while now < start + length - _LAST_SYLLABLE_S:
        syllable = float(rng.uniform(*_SYLLABLE_S))
        rise, fall = syllable * _SYLLABLE_RISE, syllable * (1 - _SYLLABLE_RISE)
        jaw += rng.uniform(*_SYLLABLE_JAW) * course.bump(now, rise=rise, hold=0.0, fall=fall)
        step = syllable * float(rng.uniform(*_SYLLABLE_EVERY))
        now += step + (float(rng.uniform(*_PAUSE_S)) if rng.random() < _PAUSES else 0)
    course.add({"jawOpen": loudness, "mouthLowerDown": _LIP_OF_JAW * loudness}, jaw * fade)
    for shape, level, scale_s in _SPEECH_SHAPES:
        wave = np.maximum(0, smooth_course(course.time_s, rng=rng, scale_s=scale_s))
        course.add({shape: level * loudness}, wave * fade)
    course.nod_deg += _SPEECH_NOD_DEG * fade * smooth_course(course.time_s, rng=rng, scale_s=_SPEECH_NOD_S)
    return length


def _yawn(course: _Course, start: float, rng: np.random.Generator) -> float:
    rise, hold, fall = rng.uniform(*_YAWN_RISE_S), rng.uniform(*_YAWN_HOLD_S), rng.uniform(*_YAWN_FALL_S)
    wide = float(rng.uniform(*_YAWN_JAW))
    course.add({"jawOpen": wide, **_YAWN_SHAPES}, course.bump(start, rise=rise, hold=hold, fall=fall))
    half = 0.5 * rise  # the lids follow in the second half of the rise
    lids = course.bump(start + half, rise=half, hold=hold, fall=fall)
    course.add({"eyeSquint": _YAWN_SQUINT, "eyeBlink": float(rng.uniform(*_YAWN_LIDS))}, lids)
    course.nod_deg -= _YAWN_NOD_DEG * course.bump(start, rise=rise, hold=hold, fall=fall)
    return float(rise + hold + fall)


def _swallow(course: _Course, start: float, rng: np.random.Generator) -> float:
    rise, hold, fall = rng.uniform(*_SWALLOW_RISE_S), rng.uniform(*_SWALLOW_HOLD_S), rng.uniform(*_SWALLOW_FALL_S)
    strength = float(rng.uniform(*_SWALLOW))
    course.add(
        {name: strength * weight for name, weight in _SWALLOW_SHAPES.items()},
        course.bump(start, rise=rise, hold=hold, fall=fall),
    )
    course.nod_deg += _SWALLOW_NOD_DEG * strength * course.bump(start, rise=rise, hold=hold, fall=fall)
    return float(rise + hold + fall)


def _macro(course: _Course, start: float, rng: np.random.Generator) -> float:
    labels = list(EMOTION_UNITS)
    label = labels[rng.integers(len(labels))]
    shape = draw_event(rng, start_s=0.0, label=label, amplitude=float(rng.uniform(*habits.MACRO_STRENGTH)))
    rise, hold, fall = (rng.uniform(*each) for each in (habits.MACRO_RISE_S, habits.MACRO_HOLD_S, habits.MACRO_FALL_S))
    course.add(shape_weights(shape.units), course.bump(start, rise=rise, hold=hold, fall=fall))
    return float(rise + hold + fall)


def _laugh(course: _Course, start: float, rng: np.random.Generator) -> float:
    hold, rate = float(rng.uniform(*habits.LAUGH_HOLD_S)), float(rng.uniform(*habits.LAUGH_BURSTS_HZ))
    body = course.bump(start, rise=habits.LAUGH_RISE_S, hold=hold, fall=habits.LAUGH_FALL_S)
    shake = body * (0.5 + 0.5 * np.sin(2 * np.pi * rate * (course.time_s - start)))
    strength = float(rng.uniform(*habits.LAUGH_STRENGTH))
    course.add({name: strength * weight for name, weight in _LAUGH_SMILE.items()}, body)
    course.add({name: strength * weight for name, weight in _LAUGH_BURST.items()}, shake)
    course.nod_deg += strength * (_LAUGH_SHAKE_DEG * shake - _LAUGH_LEAN_DEG * body)
    return habits.LAUGH_RISE_S + hold + habits.LAUGH_FALL_S


_DRAW = {
    "blink": _blink,
    "speech": _speech,
    "yawn": _yawn,
    "laugh": _laugh,
    "macro": _macro,
    "swallow": _swallow,
}
"""What draws each behaviour; each has a stream of chance by its place here, so that the order is part of every clip."""


def _draw_gaze(course: _Course, settings: BehaviourSettings, *, rng: np.random.Generator) -> Float64Array:
    """Fixations with quick steps between them, degrees."""
    gaze = np.zeros((len(course.time_s), 2))
    here = np.zeros(2)
    for start in _moments(rng, end_s=course.end_s, per_min=settings.gaze_shifts_per_min):
        there = settings.gaze_deg * rng.normal(0, _GAZE_SPREAD, 2) * [1.0, _GAZE_UP_DOWN]
        length = _SACCADE_S + _SACCADE_S_PER_DEG * float(np.hypot(*(there - here)))
        gaze += minimum_jerk((course.time_s - start) / length)[:, None] * (there - here)
        here = there
    return gaze


def smooth_course(time_s: Float64Array, *, rng: np.random.Generator, scale_s: float, waves: int = 24) -> Float64Array:
    """Unit-variance smooth noise at any times: a sum of waves, so that it does not depend on the frame rate.

    Parameters
    ----------
    time_s : (T,) float64
        Seconds.
    rng : numpy Generator
        Source of all chance.
    scale_s : float
        Standard deviation of the Gaussian whose smoothing of white noise this resembles, seconds.
    waves : int
        How many waves are summed.
    """
    frequency = np.abs(rng.normal(0, 1 / (2 * np.pi * np.sqrt(2) * scale_s), waves))
    phase = rng.uniform(0, 2 * np.pi, waves)
    arguments = 2 * np.pi * frequency[:, None] * np.asarray(time_s)[None] + phase[:, None]
    return np.asarray(np.sqrt(2 / waves) * np.sin(arguments).sum(axis=0))
