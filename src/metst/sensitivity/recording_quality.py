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
    return (
        _rate(found),
        _size(found),
        _light(found),
        _noise(found),
        *([_compression(found)] if np.isfinite(found.bits_per_pixel) else []),
        _head(found),
        _face(found),
    )


def _graded(value: float, *, good: float, fair: float) -> Verdict:
    """Verdict on a figure that is better the higher it is."""
    return "good" if value >= good else "fair" if value >= fair else "poor"


def _rate(found: Conditions) -> Advice:
    frames = found.rate_hz * SHORT_S
    verdict = _graded(found.rate_hz, good=48, fair=24)
    words = {
        "good": "Enough to follow the shortest movements.",
        "fair": "Enough to find most movements. 60 frames/s or more show when the short ones begin and end.",
        "poor": "Too few: short movements fall between frames. Record at 60 frames/s or more.",
    }[verdict]
    return Advice("Frame rate", f"{found.rate_hz:.4g} frames/s; {frames:.0f} frames in {SHORT_S:g} s", verdict, words)


def _size(found: Conditions) -> Advice:
    verdict = _graded(found.face_px, good=120, fair=60)
    words = {
        "good": "The face is large enough.",
        "fair": "A face twice as large shows movements half as large: go closer, zoom in, or record more pixels.",
        "poor": "The face is small: weak movements are a small part of a pixel. Go closer or zoom in.",
    }[verdict]
    return Advice("Size of the face", f"{found.face_px:.0f} px between the outer eye corners", verdict, words)


def _light(found: Conditions) -> Advice:
    measured = f"mean grey level {found.brightness:.0f} of 255, contrast {found.contrast:.0f}"
    if found.brightness < _DARK or found.too_dark > _MUCH_LIGHT_LOST:
        return Advice("Light", measured, "poor", "The face is dark. Add soft light from the front.")
    if found.brightness > _BRIGHT or found.too_bright > _MUCH_LIGHT_LOST:
        return Advice("Light", measured, "poor", "Parts of the face are blown out. Less light, or a shorter exposure.")
    if found.contrast < _FLAT:
        return Advice("Light", measured, "fair", "The face has little contrast. Light it from slightly to one side.")
    return Advice("Light", measured, "good", "The face is well lit.")


def _noise(found: Conditions) -> Advice:
    verdict = _graded(-found.noise, good=-2.5, fair=-5)
    words = {
        "good": "The picture is clean, or was smoothed by its codec.",
        "fair": "Some grain. More light lets the camera amplify less.",
        "poor": "The picture is grainy. Add light, so that the camera can lower its gain; do not smooth afterwards.",
    }[verdict]
    return Advice("Noise", f"{found.noise:.1f} grey levels", verdict, words)


def _compression(found: Conditions) -> Advice:
    verdict = _graded(found.bits_per_pixel, good=0.15, fair=0.05)
    words = {
        "good": "Compression is mild.",
        "fair": "Compression removes fine texture. Record at a higher bit rate if the camera lets you.",
        "poor": "Strong compression: weak movements may be coded as no movement. Record at a higher bit rate.",
    }[verdict]
    return Advice("Compression", f"{found.codec}, {found.bits_per_pixel:.2f} bits per pixel", verdict, words)


def _head(found: Conditions) -> Advice:
    verdict = _graded(-found.head_speed, good=-0.05, fair=-0.15)
    words = {
        "good": "The head is still.",
        "fair": "The head moves now and then. A headrest, or a screen to look at, keeps it calmer.",
        "poor": "The head moves much. Ask the person to sit back and look at one place.",
    }[verdict]
    measured = f"up to {100 * found.head_speed:.0f} % of the eye corners' distance in {LAG_S:g} s, 95 % of the time"
    return Advice("Head motion", measured, verdict, words)


def _face(found: Conditions) -> Advice:
    verdict = _graded(found.usable, good=0.95, fair=0.7)
    measured = f"{found.usable:.0%} of frames usable, {found.blinking:.0%} with a blink, {found.speaking:.0%} in speech"
    words = {
        "good": "The face is nearly always in view.",
        "fair": "The face is lost at times. Keep it in the picture, from the front.",
        "poor": "The face is lost often. Keep it in the picture, from the front, with nothing before it.",
    }[verdict]
    if found.speaking > _MUCH_SPEECH:
        words += " Where the mouth speaks, movements around it are judged with less certainty."
    return Advice("Face in view", measured, verdict, words)
