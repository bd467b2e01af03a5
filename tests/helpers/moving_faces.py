"""Textured faces whose head and skin move as they are told, and tracks of them."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

from helpers.frontal_face import frontal_face
from metst.face import Face, FaceFrame
from metst.video import Frame

UNIT, RATE_HZ, SHAPE = 64.0, 25.0, (240, 240)
CENTRE = complex(118.3, 96.7)

POINTS = frontal_face(opening=0.02)


def skin(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A texture of fine and coarse detail, twice the resolution of the frames."""
    size = (2 * SHAPE[0], 2 * SHAPE[1])
    layers = [gaussian_filter(rng.normal(size=size), s) * s * a for s, a in ((3.0, 35), (6.0, 45), (14.0, 60))]
    return 120 + np.sum(layers, axis=0)


def render(
    texture: npt.NDArray[np.float64],
    *,
    head: tuple[complex, complex] = (UNIT, CENTRE),
    bump: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> npt.NDArray[np.float64]:
    """One frame: quintic splines on the doubled texture, a Gaussian bump of 0.15 face units moved by pixels."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float64)
    z = (x + 1j * y - head[1]) / head[0]
    if bump is not None:
        (cx, cy), (dx, dy) = bump
        own = np.zeros_like(z)
        for _ in range(8):
            at = z - own
            own = (dx + 1j * dy) / UNIT * np.exp(-((at.real - cx) ** 2 + (at.imag - cy) ** 2) / (2 * 0.15**2))
        z = z - own
    source = 2 * (UNIT * z + CENTRE)
    return map_coordinates(texture, [source.imag, source.real], order=5, mode="reflect")


def track(
    frames: list[npt.NDArray[np.float64]],
    *,
    heads: list[tuple[complex, complex]] | None = None,
    every: int = 5,
    noise: float = 0.0,
    missing: tuple[int, ...] = (),
) -> list[FaceFrame]:
    """Frames as a face track with landmarks at every fifth frame."""
    rng, face, rows = np.random.default_rng(5), None, []
    for index, values in enumerate(frames):
        grey = np.clip(np.round(values + noise * rng.normal(size=values.shape)), 0, 255).astype(np.uint8)
        frame = Frame(index, index / RATE_HZ, grey)
        if index in missing:
            rows.append(FaceFrame(frame, None, False, 0.0, "face lost"))
            continue
        fresh = index % every == 0 or (index - 1) in missing
        if fresh or face is None:
            scale, shift = (UNIT, CENTRE) if heads is None else heads[index]
            z = scale * (POINTS @ [1, 1j]) + shift
            points = np.stack([z.real, z.imag], -1).astype(np.float32)
            box = np.concatenate([points.min(axis=0), points.max(axis=0)])
            face = Face(np.full((468, 2), np.nan, np.float32), points, 1.0, box)
        rows.append(FaceFrame(frame, face, fresh, 1.0, ""))
    return rows
