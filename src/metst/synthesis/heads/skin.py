"""Procedural reflectance of one person: skin with pores and moles, brows, lips, lids, hair, eyes.

The skin texture is a cylinder around the head's axis: columns are the angle, rows the height.
All is painted at rest, so that it moves with the mesh and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from pydantic import Field

from metst.arrays import Float32Array, Float64Array, FloatArray
from metst.config import Settings

Points = Float64Array

TEXELS = 1536
"""Columns of the skin texture, all around the head."""

AXIS_DEPTH = -0.75
"""Depth of the cylinder's axis behind the eye corners, face units."""

TOP, BOTTOM = 1.35, -2.6
"""Height range of the texture, face units."""

EYE_TEXELS = 192

TONES = ((0.78, 0.56, 0.45), (0.66, 0.44, 0.33), (0.52, 0.33, 0.23), (0.36, 0.21, 0.14), (0.20, 0.115, 0.075))
"""Linear reflectance of skin, red green blue, from light to dark."""

HAIR = ((0.02, 0.016, 0.014), (0.05, 0.03, 0.018), (0.12, 0.07, 0.035), (0.32, 0.22, 0.11), (0.33, 0.32, 0.31))
IRIS = ((0.09, 0.045, 0.02), (0.16, 0.10, 0.045), (0.10, 0.15, 0.08), (0.12, 0.19, 0.28), (0.20, 0.23, 0.26))


class SkinSettings(Settings):
    """Looks of a person's skin; what is absent is drawn from the identity seed."""

    tone: float | None = Field(None, ge=0, le=1, description="0 light to 1 dark")
    hair: float | None = Field(None, ge=0, le=1, description="0 black over brown and blond to 1 grey")
    beard: float | None = Field(None, ge=0, le=1, description="0 shaved to 1 full beard")
    brows: float | None = Field(None, ge=0, le=1, description="0 thin and light to 1 thick")
    iris: float | None = Field(None, ge=0, le=1, description="0 brown over green and blue to 1 grey")
    texture: float = Field(1.0, ge=0, le=3, description="contrast of pores, moles and blush")


@dataclass(frozen=True, eq=False)
class Skin:
    """Textures of one person, linear reflectance, red green blue.

    Parameters
    ----------
    skin : (rows, TEXELS, 3) float32
        Around the head.
    eye : (EYE_TEXELS, EYE_TEXELS, 3) float32
        Front of the eyeball.
    hairline : (rows, TEXELS) float32
        Share of hair.
    """

    skin: Float32Array
    eye: Float32Array
    hairline: Float32Array


def texel_of(mesh: FloatArray) -> Points:
    """Texel column and row ``(V, 2)`` of points at rest ``(V, 3)``."""
    angle = np.arctan2(mesh[:, 0], mesh[:, 2] - AXIS_DEPTH)
    column = (angle / (2 * np.pi) + 0.5) * TEXELS
    row = (TOP - mesh[:, 1]) * TEXELS / (2 * np.pi) / _RADIUS
    return np.stack([column, row], axis=1)


_RADIUS = 0.9
"""Radius at which texels are square, face units."""

_PER_UNIT = TEXELS / (2 * np.pi) / _RADIUS
_ROWS = round((TOP - BOTTOM) * _PER_UNIT)


def paint_skin(landmarks: FloatArray, *, settings: SkinSettings, rng: np.random.Generator) -> Skin:
    """Paint one person.

    Parameters
    ----------
    landmarks : (68, 3) array
        Landmarks of the mesh at rest, face units.
    settings : SkinSettings
        What is given; the rest is drawn.
    rng : numpy Generator
        Source of all chance.
    """
    draws = rng.random(5)
    tone, hair, beard, brows, iris = (
        float(draw) if given is None else given
        for given, draw in zip(
            (settings.tone, settings.hair, settings.beard, settings.brows, settings.iris), draws, strict=True
        )
    )
    if settings.beard is None:
        beard = max(0.0, 2.2 * beard - 1.2)
    points = texel_of(landmarks)
    skin = np.ones((_ROWS, TEXELS, 3), dtype=np.float32) * _between(TONES, tone)
    hair_colour = _between(HAIR, hair * (1 - tone) ** 0.7)
    _mottle(skin, rng=rng, strength=settings.texture)
    _blush(skin, points, rng=rng, strength=settings.texture)
    _moles(skin, rng=rng, strength=settings.texture)
    _lips(skin, points, tone=tone, rng=rng)
    _eye_lines(skin, points)
    _beard(skin, points, colour=hair_colour, amount=beard, rng=rng)
    _brows(skin, points, colour=hair_colour, thickness=brows, rng=rng)
    hairline = _hair(skin, points, colour=hair_colour, rng=rng)
    return Skin(np.clip(skin, 0.004, 0.95), _eye(_between(IRIS, iris), rng=rng), hairline)


def _between(table: tuple[tuple[float, float, float], ...], place: float) -> Float32Array:
    colours = np.array(table, dtype=np.float32)
    at = place * (len(colours) - 1)
    low = min(int(at), len(colours) - 2)
    return np.asarray(colours[low] + (at - low) * (colours[low + 1] - colours[low]), dtype=np.float32)


def _noise(rng: np.random.Generator, *, sigma: float, channels: int = 1) -> Float32Array:
    """Unit-variance noise of a given grain, texels, ``(rows, TEXELS, channels)``."""
    step = max(1, int(sigma))
    coarse = rng.standard_normal((_ROWS // step + 2, TEXELS // step + 2, channels), dtype=np.float32)
    fine = cv2.resize(coarse, (TEXELS, _ROWS), interpolation=cv2.INTER_CUBIC).reshape(_ROWS, TEXELS, channels)
    if sigma % 1:
        fine = cv2.GaussianBlur(fine, (0, 0), sigma - step + 0.3).reshape(fine.shape)
    return np.asarray(fine / fine.std(), dtype=np.float32)


def _mottle(skin: Float32Array, *, rng: np.random.Generator, strength: float) -> None:
    """Pores, grain and patches; the finest is what a camera still resolves at a close face."""
    for sigma, contrast in ((1.4, 0.030), (3, 0.030), (7, 0.025), (20, 0.025), (60, 0.035)):
        skin *= 1 + strength * rng.uniform(0.7, 1.3) * contrast * _noise(rng, sigma=sigma)
    skin *= 1 + strength * 0.025 * _noise(rng, sigma=35, channels=3)


def _mask(polygons: list[Points], *, blur: float) -> Float32Array:
    """Soft mask ``(rows, TEXELS, 1)`` of closed polygons."""
    mask = np.zeros((_ROWS, TEXELS), dtype=np.float32)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.round(polygon * 16).astype(np.int32)], 1.0, lineType=cv2.LINE_AA, shift=4)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), blur), dtype=np.float32)[..., None]


def _mix(skin: Float32Array, mask: Float32Array, colour: Float32Array) -> None:
    skin += mask * (colour - skin)


def _disc(centre: Points, radius: tuple[float, float]) -> Points:
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return np.asarray(centre + np.stack([radius[0] * np.cos(turn), radius[1] * np.sin(turn)], axis=1))


def _blush(skin: Float32Array, points: Points, *, rng: np.random.Generator, strength: float) -> None:
    size = 0.16 * _PER_UNIT
    cheeks = [_disc(points[[outer, mouth]].mean(axis=0), (size, size)) for outer, mouth in ((36, 48), (45, 54))]
    nose = _disc(points[30], (0.6 * size, 0.5 * size))
    amount = strength * float(rng.uniform(0.02, 0.22))
    skin *= 1 - amount * _mask([*cheeks, nose], blur=0.6 * size) * np.array([0.1, 0.9, 0.8], dtype=np.float32)
    sockets = [_disc(points[eye].mean(axis=0), (0.9 * size, 0.5 * size)) for eye in (range(36, 42), range(42, 48))]
    shade = float(rng.uniform(0.02, 0.22))
    skin *= 1 - shade * _mask(sockets, blur=0.4 * size) * np.array([0.8, 1.0, 0.8], dtype=np.float32)


def _moles(skin: Float32Array, *, rng: np.random.Generator, strength: float) -> None:
    freckled = rng.random() < 0.25
    for radius, contrast, count in (
        (3.2, 0.6, rng.integers(1, 8)),
        (1.8, 0.35, rng.integers(20, 90)),
        (1.3, 0.25, 1500 if freckled else 250),
    ):
        spots = np.zeros((_ROWS, TEXELS), dtype=np.float32)
        for x, y in rng.uniform((TEXELS * 0.2, 60), (TEXELS * 0.8, _ROWS - 60), (count, 2)):
            size = radius * rng.uniform(0.6, 1.4)
            cv2.circle(
                spots, (round(x * 16), round(y * 16)), round(size * 16), float(rng.uniform(0.4, 1)), -1, cv2.LINE_AA, 4
            )
        spots = np.asarray(cv2.GaussianBlur(spots, (0, 0), 0.8))
        skin *= 1 - strength * contrast * spots[..., None] * np.array([0.8, 1.0, 1.0], dtype=np.float32)


def _lips(skin: Float32Array, points: Points, *, tone: float, rng: np.random.Generator) -> None:
    lips = _mask([points[48:60]], blur=2.2)
    red = np.array([0.86, 0.58, 0.60], dtype=np.float32) * rng.uniform(0.8, 1.05, 3).astype(np.float32)
    lines = 1 + 0.07 * np.asarray(cv2.GaussianBlur(_noise(rng, sigma=2)[..., 0], (1, 9), 0))[..., None]
    _mix(skin, lips * (0.85 - 0.3 * tone), (skin * red * lines).astype(np.float32))
    seam = _strokes([points[[60, 61, 62, 63, 64, 65, 66, 67, 60]]], width=2, blur=1.2)
    skin *= 1 - 0.45 * seam


def _strokes(lines: list[Points], *, width: int, blur: float) -> Float32Array:
    mask = np.zeros((_ROWS, TEXELS), dtype=np.float32)
    rounded = [np.round(line * 16).astype(np.int32) for line in lines]
    cv2.polylines(mask, rounded, isClosed=False, color=1.0, thickness=width, lineType=cv2.LINE_AA, shift=4)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), blur), dtype=np.float32)[..., None]


def _eye_lines(skin: Float32Array, points: Points) -> None:
    """Lashes darken the rim of the lids, the crease lies above."""
    upper = [points[[36, 37, 38, 39]], points[[42, 43, 44, 45]]]
    lower = [points[[39, 40, 41, 36]], points[[45, 46, 47, 42]]]
    skin *= 1 - 0.75 * np.minimum(1.0, 1.6 * _strokes(upper, width=4, blur=1.5))
    skin *= 1 - 0.35 * _strokes(lower, width=2, blur=1.5)
    crease = [line - np.array([0.0, 0.055 * _PER_UNIT]) for line in upper]
    skin *= 1 - 0.30 * _strokes(crease, width=2, blur=2.0)


def _hairs(rng: np.random.Generator, roots: Points, *, direction: Points, length: float, spread: float) -> Float32Array:
    """Short strokes from their roots, ``(rows, TEXELS, 1)`` coverage."""
    turn = rng.normal(0, spread, len(roots))
    turned = np.stack(
        [
            direction[:, 0] * np.cos(turn) - direction[:, 1] * np.sin(turn),
            direction[:, 0] * np.sin(turn) + direction[:, 1] * np.cos(turn),
        ],
        axis=1,
    )
    ends = roots + turned * (length * rng.uniform(0.5, 1.3, len(roots)))[:, None]
    strokes = np.round(np.stack([roots, ends], axis=1) * 16).astype(np.int32)
    mask = np.zeros((_ROWS, TEXELS), dtype=np.float32)
    cv2.polylines(mask, list(strokes), isClosed=False, color=1.0, thickness=1, lineType=cv2.LINE_AA, shift=4)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.7), dtype=np.float32)[..., None]


def _brows(
    skin: Float32Array, points: Points, *, colour: Float32Array, thickness: float, rng: np.random.Generator
) -> None:
    height = (0.022 + 0.030 * thickness) * _PER_UNIT
    for chain, outward in ((points[[21, 20, 19, 18, 17]], -1.0), (points[22:27], 1.0)):
        place = np.sort(rng.uniform(0, 4, 550))
        low = np.minimum(place.astype(int), 3)
        share = (place - low)[:, None]
        spine = chain[low] * (1 - share) + chain[low + 1] * share
        taper = np.interp(place, [0, 0.6, 2.2, 4], [0.9, 1.0, 0.85, 0.2])
        roots = spine + np.stack([rng.normal(0, 1.5, 550), rng.uniform(-1, 1, 550) * height * taper], axis=1)
        rise = np.interp(place, [0, 2, 4], [-1.0, -0.45, 0.25])
        direction = np.stack([np.full(550, outward), rise], axis=1)
        cover = _hairs(rng, roots, direction=direction, length=0.05 * _PER_UNIT, spread=0.25)
        body = _mask([_ribbon(chain, height=height)], blur=0.35 * height)
        _mix(skin, np.clip((0.25 + 0.3 * thickness) * body + 0.75 * cover, 0, 0.95), colour)


def _ribbon(chain: Points, *, height: float) -> Points:
    taper = height * np.array([0.9, 1.0, 0.9, 0.6, 0.1])
    shift = np.stack([np.zeros(5), taper], axis=1)
    return np.concatenate([chain - shift, (chain + shift)[::-1]])


def _beard(
    skin: Float32Array, points: Points, *, colour: Float32Array, amount: float, rng: np.random.Generator
) -> None:
    if amount < 0.05:
        return
    jaw = points[3:14]
    above = points[[14, 54, 35, 33, 31, 48, 2]] + np.array([0.0, 0.06 * _PER_UNIT])
    below = (jaw + np.array([0.0, 0.14 * _PER_UNIT]))[::-1]
    area = _mask([np.concatenate([above, points[2:3], below[::-1], points[14:15]])], blur=0.05 * _PER_UNIT)
    area *= 1 - _mask([_disc(points[48:60].mean(axis=0), (0.2 * _PER_UNIT, 0.075 * _PER_UNIT))], blur=4)
    roots = rng.uniform(points[[2, 33]].min(axis=0), points[[14, 8]].max(axis=0) + 20, (6000, 2))
    down = np.tile([0.0, 1.0], (6000, 1))
    cover = _hairs(rng, roots, direction=down, length=(0.01 + 0.05 * amount) * _PER_UNIT, spread=0.5)
    _mix(skin, area * np.clip(0.35 * amount + 0.65 * amount**0.5 * cover, 0, 0.9), colour)


def _hair(skin: Float32Array, points: Points, *, colour: Float32Array, rng: np.random.Generator) -> Float32Array:
    """A cap of hair above a hairline; returns its coverage ``(rows, TEXELS)``."""
    columns = (np.arange(TEXELS) / TEXELS - 0.5) * 2 * np.pi
    forehead = points[17:27, 1].min() - rng.uniform(0.50, 0.72) * _PER_UNIT
    ear = points[[36, 45], 1].mean() + rng.uniform(-0.02, 0.06) * _PER_UNIT
    nape = points[[48, 54], 1].mean()
    above_ear = ear - 0.17 * _PER_UNIT
    line = np.interp(
        np.abs(columns),
        [0, 0.55, 1.0, 1.25, 1.45, 2.0, 2.3, np.pi],
        [forehead, forehead, forehead + 0.25 * _PER_UNIT, ear, above_ear, above_ear, nape, nape],
    )
    ragged = np.asarray(cv2.GaussianBlur(rng.standard_normal((TEXELS, 1)), (1, 0), 0, None, 9))[:, 0]
    line = line + 0.09 * _PER_UNIT * ragged
    rows = np.arange(_ROWS)[:, None]
    cover = np.clip((line[None] - rows) / (0.05 * _PER_UNIT) + 0.5, 0, 1).astype(np.float32)
    strands = np.asarray(cv2.GaussianBlur(_noise(rng, sigma=1)[..., 0], (1, 41), 0, None, 9))
    strands = strands / strands.std()
    _mix(skin, 0.93 * cover[..., None], (colour * np.exp(0.35 * strands[..., None])).astype(np.float32))
    return np.asarray(cover, dtype=np.float32)


def _eye(iris: Float32Array, *, rng: np.random.Generator) -> Float32Array:
    """Front of an eyeball seen along its axis; the texture spans its diameter."""
    grid = (np.mgrid[0:EYE_TEXELS, 0:EYE_TEXELS].astype(np.float32) - (EYE_TEXELS - 1) / 2) / (EYE_TEXELS / 2)
    radius = np.hypot(*grid)
    eye = np.ones((EYE_TEXELS, EYE_TEXELS, 3), dtype=np.float32) * np.array([0.62, 0.57, 0.54], dtype=np.float32)
    eye *= 1 - 0.25 * np.clip(radius - 0.4, 0, 1)[..., None]
    coarse = rng.standard_normal((24, 24)).astype(np.float32)
    veins = np.asarray(cv2.resize(coarse, (EYE_TEXELS, EYE_TEXELS), interpolation=cv2.INTER_CUBIC))
    eye *= 1 - 0.06 * np.clip(veins, 0, 2)[..., None] * np.array([0.2, 1, 1], dtype=np.float32)
    spokes = np.sin(np.arctan2(*grid) * rng.integers(20, 40) + rng.uniform(0, 6)) + rng.standard_normal(radius.shape)
    fibres = np.asarray(cv2.GaussianBlur(spokes.astype(np.float32), (0, 0), 1.2))
    limbus = 1 - 0.6 * np.clip((radius - 0.36) / 0.08, 0, 1)
    inside = np.clip((0.46 - radius) / 0.03, 0, 1)[..., None]
    _mix(eye, inside, (iris * (1 + 0.25 * fibres[..., None]) * limbus[..., None]).astype(np.float32))
    pupil = float(rng.uniform(0.14, 0.21))
    _mix(eye, np.clip((pupil - radius) / 0.02 + 0.5, 0, 1)[..., None], np.full(3, 0.006, dtype=np.float32))
    return np.asarray(eye, dtype=np.float32)
