"""Light, noise, size of the face, rate, compression and head motion of a recording; and what to do about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from metst.report.movement import LAG_S
from metst.results.flags import Condition, face_conditions

if TYPE_CHECKING:
    from metst.results import Analysis
    from metst.sensitivity.footage import Stretch

Verdict = Literal["good", "fair", "poor"]

SHORT_S: Final = 0.2
"""A short micro-expression, seconds: what the frame rate has to follow."""

_MOSTLY: Final = 95.0
"""Percent of the time that the head is no faster than its figure."""

# Rules of thumb for light, set by hand: grey levels of 255, and shares of the frames.
_DARK, _BRIGHT, _FLAT = 50.0, 210.0, 20.0
_MUCH_LIGHT_LOST: Final = 0.2
_MUCH_SPEECH: Final = 0.3
_BITS_PER_BYTE: Final = 8


@dataclass(frozen=True)
class Light:
    """What one picture of the face says about light and camera, grey levels."""

    brightness: float
    contrast: float
    noise: float


@dataclass(frozen=True)
class Conditions:
    """What was measured of a recording.

    Parameters
    ----------
    rate_hz : float
        Frames per second.
    face_px : float
        Distance of the outer eye corners, px.
    noise, brightness, contrast : float
        Of the face, grey levels of 255; the noise as a standard deviation.
    too_bright, too_dark : float
        Share of frames with an overexposed or black region.
    bits_per_pixel : float
        Size of the file per pixel of its frames; NaN for a folder of images.
    codec : str
        FFmpeg's name.
    head_speed : float
        Distance the face goes within a quarter of a second, 95 % of the time at most, face units.
    usable, blinking, speaking : float
        Shares of the frames.
    """

    rate_hz: float
    face_px: float
    noise: float
    brightness: float
    contrast: float
    too_bright: float
    too_dark: float
    bits_per_pixel: float
    codec: str
    head_speed: float
    usable: float
    blinking: float
    speaking: float


@dataclass(frozen=True)
class Advice:
    """One line about one condition: what was measured, how good that is, what to do."""

    topic: str
    measured: str
    verdict: Verdict
    words: str


@dataclass(frozen=True)
class _Scale:
    """What is said of a figure that is better the higher it is.

    Parameters
    ----------
    topic : str
        What it is a figure of.
    good, fair : float
        From where on it is good, and fair.
    words : three str
        What to do when it is good, fair and poor.
    """

    topic: str
    good: float
    fair: float
    words: tuple[str, str, str]

    def advise(self, value: float, measured: str, *, besides: str = "") -> Advice:
        """Advice for one value; ``besides`` is said after it."""
        level = 0 if value >= self.good else 1 if value >= self.fair else 2
        return Advice(self.topic, measured, _VERDICTS[level], self.words[level] + besides)


_VERDICTS: Final[tuple[Verdict, Verdict, Verdict]] = ("good", "fair", "poor")
"""From the best down."""

# Rules of thumb, set by hand.
_RATE: Final = _Scale(  # frames per second
    "Frame rate",
    good=48,
    fair=24,
    words=(
        "Enough to follow the shortest movements.",
        "Enough to find most movements. 60 frames/s or more show when the short ones begin and end.",
        "Too few: short movements fall between frames. Record at 60 frames/s or more.",
    ),
)
_SIZE: Final = _Scale(  # px between the outer eye corners
    "Size of the face",
    good=120,
    fair=60,
    words=(
        "The face is large enough.",
        "A face twice as large shows movements half as large: go closer, zoom in, or record more pixels.",
        "The face is small: weak movements are a small part of a pixel. Go closer or zoom in.",
    ),
)
_NOISE: Final = _Scale(  # grey levels of noise, below zero
    "Noise",
    good=-2.5,
    fair=-5,
    words=(
        "The picture is clean, or was smoothed by its codec.",
        "Some grain. More light lets the camera amplify less.",
        "The picture is grainy. Add light, so that the camera can lower its gain; do not smooth afterwards.",
    ),
)
_COMPRESSION: Final = _Scale(  # bits per pixel
    "Compression",
    good=0.15,
    fair=0.05,
    words=(
        "Compression is mild.",
        "Compression removes fine texture. Record at a higher bit rate if the camera lets you.",
        "Strong compression: weak movements may be coded as no movement. Record at a higher bit rate.",
    ),
)
_HEAD: Final = _Scale(  # shares of the eye corners' distance in LAG_S, below zero
    "Head motion",
    good=-0.05,
    fair=-0.15,
    words=(
        "The head is still.",
        "The head moves now and then. A headrest, or a screen to look at, keeps it calmer.",
        "The head moves much. Ask the person to sit back and look at one place.",
    ),
)
_VIEW: Final = _Scale(  # share of the frames that are usable
    "Face in view",
    good=0.95,
    fair=0.7,
    words=(
        "The face is nearly always in view.",
        "The face is lost at times. Keep it in the picture, from the front.",
        "The face is lost often. Keep it in the picture, from the front, with nothing before it.",
    ),
)


def typical(stretches: Sequence[Stretch]) -> Light:
    """Median light and noise over all looks at the face."""
    looks = np.array([(look.brightness, look.contrast, look.noise) for each in stretches for look in each.looks])
    return Light(*(float(value) for value in np.median(looks, axis=0))) if len(looks) else Light(0.0, 0.0, 0.0)


def measure_conditions(raw: Analysis, *, stretches: Sequence[Stretch], path: Path) -> Conditions:
    """Conditions of a recording, from its analysis and the sections that were tracked."""
    light, flags = typical(stretches), face_conditions(raw.motion.conditions)
    pixels = raw.source.frames * raw.source.width * raw.source.height

    def share(condition: Condition) -> float:
        return float(((flags & condition) > 0).mean())

    return Conditions(
        rate_hz=raw.source.rate_hz,
        face_px=float(np.median([stretch.face_px for stretch in stretches])),
        noise=light.noise,
        brightness=light.brightness,
        contrast=light.contrast,
        too_bright=share(Condition.OVEREXPOSED),
        too_dark=share(Condition.UNDEREXPOSED),
        bits_per_pixel=_BITS_PER_BYTE * path.stat().st_size / pixels if path.is_file() else float("nan"),
        codec=raw.source.codec,
        head_speed=_head_speed(raw),
        usable=float(raw.usable.mean()),
        blinking=share(Condition.BLINK),
        speaking=share(Condition.SPEECH),
    )


def _head_speed(raw: Analysis) -> float:
    eyes = raw.motion.face.values[:, 4:].reshape(-1, 2, 2).astype(np.float64)
    grid, middle = raw.grid, eyes.mean(axis=1)
    moved = np.hypot(*(middle - middle[grid.frame_at(grid.time_s - LAG_S)]).T) / np.nanmedian(raw.motion.face_px)
    seen = moved[np.isfinite(moved)]
    return float(np.percentile(seen, _MOSTLY)) if seen.size else 0.0


def give_advice(found: Conditions) -> tuple[Advice, ...]:
    """What each condition means, in plain words.  The limits are rules of thumb; the curve is what counts."""
    frames = f"{found.rate_hz * SHORT_S:.0f} frames in {SHORT_S:g} s"
    coded = f"{found.codec}, {found.bits_per_pixel:.2f} bits per pixel"
    moved = f"up to {100 * found.head_speed:.0f} % of the eye corners' distance in {LAG_S:g} s, 95 % of the time"
    seen = f"{found.usable:.0%} of frames usable, {found.blinking:.0%} with a blink, {found.speaking:.0%} in speech"
    speech = " Where the mouth speaks, movements around it are judged with less certainty."
    return (
        _RATE.advise(found.rate_hz, f"{found.rate_hz:.4g} frames/s; {frames}"),
        _SIZE.advise(found.face_px, f"{found.face_px:.0f} px between the outer eye corners"),
        _light(found),
        _NOISE.advise(-found.noise, f"{found.noise:.1f} grey levels"),
        *([_COMPRESSION.advise(found.bits_per_pixel, coded)] if np.isfinite(found.bits_per_pixel) else []),
        _HEAD.advise(-found.head_speed, moved),
        _VIEW.advise(found.usable, seen, besides=speech if found.speaking > _MUCH_SPEECH else ""),
    )


def _light(found: Conditions) -> Advice:
    measured = f"mean grey level {found.brightness:.0f} of 255, contrast {found.contrast:.0f}"
    if found.brightness < _DARK or found.too_dark > _MUCH_LIGHT_LOST:
        return Advice("Light", measured, "poor", "The face is dark. Add soft light from the front.")
    if found.brightness > _BRIGHT or found.too_bright > _MUCH_LIGHT_LOST:
        return Advice("Light", measured, "poor", "Parts of the face are blown out. Less light, or a shorter exposure.")
    if found.contrast < _FLAT:
        return Advice("Light", measured, "fair", "The face has little contrast. Light it from slightly to one side.")
    return Advice("Light", measured, "good", "The face is well lit.")
