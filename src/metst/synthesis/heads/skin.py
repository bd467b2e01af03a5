"""Procedural reflectance of one person: skin with pores and moles, brows, lips, lids, hair, eyes.

The skin texture is a cylinder around the head's axis: columns are the angle, rows the height.
All is painted at rest, so that it moves with the mesh and nothing else.

Contrasts and coverages are shares, colours linear reflectance in red, green and blue, sizes texels or, where
``_PER_UNIT`` stands with them, face units.  Pairs are the ends of a uniform draw.  All numbers are set by hand.
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
"""Columns of the skin texture, all around the head: some 270 per face unit."""

AXIS_DEPTH = -0.75
"""Depth of the cylinder's axis behind the eye corners, face units."""

TOP, BOTTOM = 1.35, -2.6
"""Height range of the texture, face units."""

EYE_TEXELS = 192
"""Rows and columns of the eye texture, which spans an eyeball."""

TONES = ((0.78, 0.56, 0.45), (0.66, 0.44, 0.33), (0.52, 0.33, 0.23), (0.36, 0.21, 0.14), (0.20, 0.115, 0.075))
"""Reflectance of skin, from light to dark."""

HAIR = ((0.02, 0.016, 0.014), (0.05, 0.03, 0.018), (0.12, 0.07, 0.035), (0.32, 0.22, 0.11), (0.33, 0.32, 0.31))
"""Reflectance of hair: black, two browns, blond, grey."""

IRIS = ((0.09, 0.045, 0.02), (0.16, 0.10, 0.045), (0.10, 0.15, 0.08), (0.12, 0.19, 0.28), (0.20, 0.23, 0.26))
"""Reflectance of irises: two browns, green, blue, grey."""


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

_PER_UNIT = TEXELS / (2 * np.pi) / _RADIUS  # texels per face unit
_ROWS = round((TOP - BOTTOM) * _PER_UNIT)  # of the skin texture

# The whole.
_SHAVED = 1.2  # a beard is 2.2 times a draw from 0 to 1, less this: more than half have none
_FADES = 0.7  # the darker the skin, the nearer to black the hair: exponent
_DARKEST, _LIGHTEST = 0.004, 0.95  # reflectance of anything

# Drawing.
_FINE_BITS = 4  # OpenCV draws at places in so many fractional bits
_FINE = 1 << _FINE_BITS

# Pores, grain and patches.
_MOTTLES = ((1.4, 0.030), (3, 0.030), (7, 0.025), (20, 0.025), (60, 0.035))  # grain, contrast
_MOTTLE_SPREAD, _TINGE, _TINGE_GRAIN = (0.7, 1.3), 0.025, 35  # factor on each contrast; differences of colour

# Cheeks, nose and eye sockets.
_BLUSH_SIZE, _BLUSH, _BLUSH_COLOUR = 0.16, (0.02, 0.22), (0.1, 0.9, 0.8)  # cheeks, nose; what is taken away
_SOCKETS, _SOCKET_COLOUR = (0.02, 0.22), (0.8, 1.0, 0.8)  # shade around the eyes

# Moles and freckles.
_FRECKLED, _FRECKLES, _SPECKS = 0.25, 1500, 250  # share of people; spots of those, of the others
_MOLES, _SPOTS = (1, 8), (20, 90)  # large and middling ones, fewer than the second
_MOLE_RADIUS, _SPOT_RADIUS, _SPECK_RADIUS = 3.2, 1.8, 1.3  # the last: of freckles too
_MOLE_CONTRAST, _SPOT_CONTRAST, _SPECK_CONTRAST = 0.6, 0.35, 0.25
_MOLE_SIZES, _MOLE_DARKNESS, _MOLE_BLUR, _MOLE_COLOUR = (0.6, 1.4), (0.4, 1), 0.8, (0.8, 1.0, 1.0)  # the first: factor
_FRONT = (0.2, 0.8)  # share of the columns that moles are in: not on the back of the head
_MOLE_MARGIN = 60  # nor so near the upper and lower edge

# Lips and lids.
_LIP_COLOUR, _LIP_SPREAD = (0.86, 0.58, 0.60), (0.8, 1.05)  # factor on the skin's, and on each of its colours
_LIP_COVER, _LIP_COVER_DARK, _LIP_LINES, _LIP_SEAM = 0.85, 0.3, 0.07, 0.45  # the second: less on dark skin
_LASHES, _LASHES_GROW, _LOWER_LASHES = 0.75, 1.6, 0.35  # contrast; gain on their soft strokes; contrast
_CREASE, _CREASE_UP = 0.30, 0.055  # of the lids, and how far above the lashes

# Brows and beard.
_BROW_HEIGHT, _BROW_THICKER, _BROW_HAIRS, _BROW_LENGTH = 0.022, 0.030, 550, 0.05  # times _PER_UNIT, but for the count
_BROW_BODY, _BROW_BODY_THICKER, _BROW_COVER, _BROW_MOST = 0.25, 0.3, 0.75, 0.95  # of the shape; of hairs; together
# Along the five points of a brow, from the nose outwards: height of its hairs as a share; how they point, up below 0.
_BROW_TAPER = ((0, 0.6, 2.2, 4), (0.9, 1.0, 0.85, 0.2))
_BROW_RISE = ((0, 2, 4), (-1.0, -0.45, 0.25))
_BROW_SCATTER, _BROW_SPREAD, _BROW_BLUR = 1.5, 0.25, 0.35  # of roots along it; of directions, radians; times the height
_BROW_SHAPE = (0.9, 1.0, 0.9, 0.6, 0.1)  # height of the body at each point, as a share
_LEAST_BEARD, _BEARD_HAIRS = 0.05, 6000  # under which there is none; hairs
_BEARD_LENGTH, _BEARD_LONGER = 0.01, 0.05  # times _PER_UNIT; a full one is so much longer
_BEARD_SHADE, _BEARD_COVER, _BEARD_MOST = 0.35, 0.65, 0.9  # of a shaved skin; of hairs; together
_BEARD_UNDER_NOSE, _BEARD_UNDER_JAW, _BEARD_BLUR = 0.06, 0.14, 0.05  # begin, end, edge; times _PER_UNIT
_BARE_MOUTH, _BARE_MOUTH_BLUR = (0.2, 0.075), 4  # radii, times _PER_UNIT; texels
_BEARD_LOWEST, _BEARD_SPREAD = 20, 0.5  # roots under the chin, texels; of directions, radians

# Hair.
_HAIRLINE, _EAR_LINE = (0.50, 0.72), (-0.02, 0.06)  # over the brows; under the eyes; times _PER_UNIT
_RAGGED, _HAIR_SOFT = 0.09, 0.05  # the hairline's unevenness and softness, times _PER_UNIT
_TEMPLE, _ABOVE_EAR = 0.25, 0.17  # how far the hairline falls at the temples; over the ears; times _PER_UNIT
_HAIRLINE_AT = (0, 0.55, 1.0, 1.25, 1.45, 2.0, 2.3, np.pi)  # angles of its corners from the front, radians
_HAIR_COVER, _STRANDS = 0.93, 0.35  # contrast of strands: of the logarithm

# Eyes.
_SCLERA, _SCLERA_SHADE = (0.62, 0.57, 0.54), 0.25  # white of the eye; darker towards its rim
_VEINS, _VEIN_COLOUR = 0.06, (0.2, 1, 1)  # contrast; what is taken away
_SPOKES, _FIBRES = (20, 40), 0.25  # of the iris: number, contrast
_IRIS, _LIMBUS, _LIMBUS_FROM, _PUPIL = 0.46, 0.6, 0.36, (0.14, 0.21)  # radii: 1 is the eyeball's; the second a contrast
_PUPIL_COLOUR = 0.006
_SHADE_FROM, _VEIN_CELLS = 0.4, 24  # radius from which the white darkens; cells of the veins each way
_LIMBUS_EDGE, _IRIS_EDGE, _PUPIL_EDGE = 0.08, 0.03, 0.02  # widths of soft edges, radii


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
        beard = max(0.0, (1 + _SHAVED) * beard - _SHAVED)
    points = texel_of(landmarks)
    skin = np.ones((_ROWS, TEXELS, 3), dtype=np.float32) * _between(TONES, tone)
    hair_colour = _between(HAIR, hair * (1 - tone) ** _FADES)
    _mottle(skin, rng=rng, strength=settings.texture)
    _blush(skin, points, rng=rng, strength=settings.texture)
    _moles(skin, rng=rng, strength=settings.texture)
    _lips(skin, points, tone=tone, rng=rng)
    _eye_lines(skin, points)
    _beard(skin, points, colour=hair_colour, amount=beard, rng=rng)
    _brows(skin, points, colour=hair_colour, thickness=brows, rng=rng)
    hairline = _hair(skin, points, colour=hair_colour, rng=rng)
    return Skin(np.clip(skin, _DARKEST, _LIGHTEST), _eye(_between(IRIS, iris), rng=rng), hairline)


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
    for sigma, contrast in _MOTTLES:
        skin *= 1 + strength * rng.uniform(*_MOTTLE_SPREAD) * contrast * _noise(rng, sigma=sigma)
    skin *= 1 + strength * _TINGE * _noise(rng, sigma=_TINGE_GRAIN, channels=3)


def _mask(polygons: list[Points], *, blur: float) -> Float32Array:
    """Soft mask ``(rows, TEXELS, 1)`` of closed polygons."""
    mask = np.zeros((_ROWS, TEXELS), dtype=np.float32)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.round(polygon * _FINE).astype(np.int32)], 1.0, lineType=cv2.LINE_AA, shift=_FINE_BITS)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), blur), dtype=np.float32)[..., None]


def _mix(skin: Float32Array, mask: Float32Array, colour: Float32Array) -> None:
    skin += mask * (colour - skin)


def _disc(centre: Points, radius: tuple[float, float]) -> Points:
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return np.asarray(centre + np.stack([radius[0] * np.cos(turn), radius[1] * np.sin(turn)], axis=1))


def _blush(skin: Float32Array, points: Points, *, rng: np.random.Generator, strength: float) -> None:
    size = _BLUSH_SIZE * _PER_UNIT
    cheeks = [_disc(points[[outer, mouth]].mean(axis=0), (size, size)) for outer, mouth in ((36, 48), (45, 54))]
    nose = _disc(points[30], (0.6 * size, 0.5 * size))
    amount = strength * float(rng.uniform(*_BLUSH))
    skin *= 1 - amount * _mask([*cheeks, nose], blur=0.6 * size) * np.array(_BLUSH_COLOUR, dtype=np.float32)
    sockets = [_disc(points[eye].mean(axis=0), (0.9 * size, 0.5 * size)) for eye in (range(36, 42), range(42, 48))]
    shade = float(rng.uniform(*_SOCKETS))
    skin *= 1 - shade * _mask(sockets, blur=0.4 * size) * np.array(_SOCKET_COLOUR, dtype=np.float32)


def _moles(skin: Float32Array, *, rng: np.random.Generator, strength: float) -> None:
    freckled = rng.random() < _FRECKLED
    for radius, contrast, count in (
        (_MOLE_RADIUS, _MOLE_CONTRAST, rng.integers(*_MOLES)),
        (_SPOT_RADIUS, _SPOT_CONTRAST, rng.integers(*_SPOTS)),
        (_SPECK_RADIUS, _SPECK_CONTRAST, _FRECKLES if freckled else _SPECKS),
    ):
        spots = np.zeros((_ROWS, TEXELS), dtype=np.float32)
        low, high = (TEXELS * _FRONT[0], _MOLE_MARGIN), (TEXELS * _FRONT[1], _ROWS - _MOLE_MARGIN)
        for x, y in rng.uniform(low, high, (count, 2)):
            size = radius * rng.uniform(*_MOLE_SIZES)
            at, dark = (round(x * _FINE), round(y * _FINE)), float(rng.uniform(*_MOLE_DARKNESS))
            cv2.circle(spots, at, round(size * _FINE), dark, -1, cv2.LINE_AA, _FINE_BITS)
        spots = np.asarray(cv2.GaussianBlur(spots, (0, 0), _MOLE_BLUR))
        skin *= 1 - strength * contrast * spots[..., None] * np.array(_MOLE_COLOUR, dtype=np.float32)


def _lips(skin: Float32Array, points: Points, *, tone: float, rng: np.random.Generator) -> None:
    lips = _mask([points[48:60]], blur=2.2)
    red = np.array(_LIP_COLOUR, dtype=np.float32) * rng.uniform(*_LIP_SPREAD, 3).astype(np.float32)
    lines = 1 + _LIP_LINES * np.asarray(cv2.GaussianBlur(_noise(rng, sigma=2)[..., 0], (1, 9), 0))[..., None]
    _mix(skin, lips * (_LIP_COVER - _LIP_COVER_DARK * tone), (skin * red * lines).astype(np.float32))
    seam = _strokes([points[[60, 61, 62, 63, 64, 65, 66, 67, 60]]], width=2, blur=1.2)
    skin *= 1 - _LIP_SEAM * seam


def _strokes(lines: list[Points], *, width: int, blur: float) -> Float32Array:
    mask = np.zeros((_ROWS, TEXELS), dtype=np.float32)
    rounded = [np.round(line * _FINE).astype(np.int32) for line in lines]
    cv2.polylines(mask, rounded, isClosed=False, color=1.0, thickness=width, lineType=cv2.LINE_AA, shift=_FINE_BITS)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), blur), dtype=np.float32)[..., None]


def _eye_lines(skin: Float32Array, points: Points) -> None:
    """Lashes darken the rim of the lids, the crease lies above."""
    upper = [points[[36, 37, 38, 39]], points[[42, 43, 44, 45]]]
    lower = [points[[39, 40, 41, 36]], points[[45, 46, 47, 42]]]
    skin *= 1 - _LASHES * np.minimum(1.0, _LASHES_GROW * _strokes(upper, width=4, blur=1.5))
    skin *= 1 - _LOWER_LASHES * _strokes(lower, width=2, blur=1.5)
    crease = [line - np.array([0.0, _CREASE_UP * _PER_UNIT]) for line in upper]
    skin *= 1 - _CREASE * _strokes(crease, width=2, blur=2.0)


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
    strokes = np.round(np.stack([roots, ends], axis=1) * _FINE).astype(np.int32)
    mask = np.zeros((_ROWS, TEXELS), dtype=np.float32)
    cv2.polylines(mask, list(strokes), isClosed=False, color=1.0, thickness=1, lineType=cv2.LINE_AA, shift=_FINE_BITS)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.7), dtype=np.float32)[..., None]


def _brows(
    skin: Float32Array, points: Points, *, colour: Float32Array, thickness: float, rng: np.random.Generator
) -> None:
    height = (_BROW_HEIGHT + _BROW_THICKER * thickness) * _PER_UNIT
    for chain, outward in ((points[[21, 20, 19, 18, 17]], -1.0), (points[22:27], 1.0)):
        place = np.sort(rng.uniform(0, 4, _BROW_HAIRS))
        low = np.minimum(place.astype(int), 3)
        share = (place - low)[:, None]
        spine = chain[low] * (1 - share) + chain[low + 1] * share
        taper = np.interp(place, *_BROW_TAPER)
        across, down = rng.normal(0, _BROW_SCATTER, _BROW_HAIRS), rng.uniform(-1, 1, _BROW_HAIRS)
        roots = spine + np.stack([across, down * height * taper], axis=1)
        rise = np.interp(place, *_BROW_RISE)
        direction = np.stack([np.full(_BROW_HAIRS, outward), rise], axis=1)
        cover = _hairs(rng, roots, direction=direction, length=_BROW_LENGTH * _PER_UNIT, spread=_BROW_SPREAD)
        body = _mask([_ribbon(chain, height=height)], blur=_BROW_BLUR * height)
        filled = (_BROW_BODY + _BROW_BODY_THICKER * thickness) * body
        _mix(skin, np.clip(filled + _BROW_COVER * cover, 0, _BROW_MOST), colour)


def _ribbon(chain: Points, *, height: float) -> Points:
    taper = height * np.array(_BROW_SHAPE)
    shift = np.stack([np.zeros(len(taper)), taper], axis=1)
    return np.concatenate([chain - shift, (chain + shift)[::-1]])


def _beard(
    skin: Float32Array, points: Points, *, colour: Float32Array, amount: float, rng: np.random.Generator
) -> None:
    if amount < _LEAST_BEARD:
        return
    jaw = points[3:14]
    above = points[[14, 54, 35, 33, 31, 48, 2]] + np.array([0.0, _BEARD_UNDER_NOSE * _PER_UNIT])
    below = (jaw + np.array([0.0, _BEARD_UNDER_JAW * _PER_UNIT]))[::-1]
    area = _mask([np.concatenate([above, points[2:3], below[::-1], points[14:15]])], blur=_BEARD_BLUR * _PER_UNIT)
    across, down = _BARE_MOUTH
    mouth = _disc(points[48:60].mean(axis=0), (across * _PER_UNIT, down * _PER_UNIT))
    area *= 1 - _mask([mouth], blur=_BARE_MOUTH_BLUR)
    roots = rng.uniform(points[[2, 33]].min(axis=0), points[[14, 8]].max(axis=0) + _BEARD_LOWEST, (_BEARD_HAIRS, 2))
    length = (_BEARD_LENGTH + _BEARD_LONGER * amount) * _PER_UNIT
    cover = _hairs(rng, roots, direction=np.tile([0.0, 1.0], (_BEARD_HAIRS, 1)), length=length, spread=_BEARD_SPREAD)
    filled = _BEARD_SHADE * amount + _BEARD_COVER * amount**0.5 * cover
    _mix(skin, area * np.clip(filled, 0, _BEARD_MOST), colour)


def _hair(skin: Float32Array, points: Points, *, colour: Float32Array, rng: np.random.Generator) -> Float32Array:
    """A cap of hair above a hairline; returns its coverage ``(rows, TEXELS)``."""
    columns = (np.arange(TEXELS) / TEXELS - 0.5) * 2 * np.pi
    forehead = points[17:27, 1].min() - rng.uniform(*_HAIRLINE) * _PER_UNIT
    ear = points[[36, 45], 1].mean() + rng.uniform(*_EAR_LINE) * _PER_UNIT
    nape = points[[48, 54], 1].mean()
    above_ear = ear - _ABOVE_EAR * _PER_UNIT
    line = np.interp(
        np.abs(columns),
        _HAIRLINE_AT,
        [forehead, forehead, forehead + _TEMPLE * _PER_UNIT, ear, above_ear, above_ear, nape, nape],
    )
    ragged = np.asarray(cv2.GaussianBlur(rng.standard_normal((TEXELS, 1)), (1, 0), 0, None, 9))[:, 0]
    line = line + _RAGGED * _PER_UNIT * ragged
    rows = np.arange(_ROWS)[:, None]
    cover = np.clip((line[None] - rows) / (_HAIR_SOFT * _PER_UNIT) + 0.5, 0, 1).astype(np.float32)
    strands = np.asarray(cv2.GaussianBlur(_noise(rng, sigma=1)[..., 0], (1, 41), 0, None, 9))
    strands = strands / strands.std()
    _mix(skin, _HAIR_COVER * cover[..., None], (colour * np.exp(_STRANDS * strands[..., None])).astype(np.float32))
    return np.asarray(cover, dtype=np.float32)


def _eye(iris: Float32Array, *, rng: np.random.Generator) -> Float32Array:
    """Front of an eyeball seen along its axis; the texture spans its diameter."""
    grid = (np.mgrid[0:EYE_TEXELS, 0:EYE_TEXELS].astype(np.float32) - (EYE_TEXELS - 1) / 2) / (EYE_TEXELS / 2)
    radius = np.hypot(*grid)
    eye = np.ones((EYE_TEXELS, EYE_TEXELS, 3), dtype=np.float32) * np.array(_SCLERA, dtype=np.float32)
    eye *= 1 - _SCLERA_SHADE * np.clip(radius - _SHADE_FROM, 0, 1)[..., None]
    coarse = rng.standard_normal((_VEIN_CELLS, _VEIN_CELLS)).astype(np.float32)
    veins = np.asarray(cv2.resize(coarse, (EYE_TEXELS, EYE_TEXELS), interpolation=cv2.INTER_CUBIC))
    eye *= 1 - _VEINS * np.clip(veins, 0, 2)[..., None] * np.array(_VEIN_COLOUR, dtype=np.float32)
    spokes = np.sin(np.arctan2(*grid) * rng.integers(*_SPOKES) + rng.uniform(0, 6)) + rng.standard_normal(radius.shape)
    fibres = np.asarray(cv2.GaussianBlur(spokes.astype(np.float32), (0, 0), 1.2))
    limbus = 1 - _LIMBUS * np.clip((radius - _LIMBUS_FROM) / _LIMBUS_EDGE, 0, 1)
    inside = np.clip((_IRIS - radius) / _IRIS_EDGE, 0, 1)[..., None]
    _mix(eye, inside, (iris * (1 + _FIBRES * fibres[..., None]) * limbus[..., None]).astype(np.float32))
    pupil = float(rng.uniform(*_PUPIL))
    _mix(
        eye, np.clip((pupil - radius) / _PUPIL_EDGE + 0.5, 0, 1)[..., None], np.full(3, _PUPIL_COLOUR, dtype=np.float32)
    )
    return np.asarray(eye, dtype=np.float32)
