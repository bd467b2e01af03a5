"""The canonical face frame: its pixel grid, what may move in it, and where the regions of interest lie.

Canonical coordinates have their origin midway between the outer eye corners, x to the right of the image and y down;
the outer eye corners lie one *face unit* apart on the x axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from metst.motion.registration import Float32
from metst.regions import REGIONS

LEFT, TOP, RIGHT, BOTTOM = -0.75, -0.75, 0.75, 1.0
"""Extent of the canonical frame in face units: from the forehead to below the lower lip."""

_CORRELATION_LENGTH = 0.16
_RIGID_SD, _MOBILE_SD = 0.002, 0.02
_RIGID_POINTS = (27, 28, 29, 36, 39, 42, 45, 0, 1, 15, 16)
_RIGID_REACH = 0.1


@dataclass(frozen=True, eq=False)
class Grid:
    """Pixels and nodes of the canonical frame at one resolution.

    Parameters
    ----------
    unit : int
        Pixels per face unit.
    step, light_step : int
        Pixels between two nodes of the displacement, of the contrast.
    depth : (rows, columns) float32
        Depth of the face, pixels, towards the camera.
    correlation_inverse : (K, K) float64
        Inverse of the prior correlation of the displacement at the nodes.
    """

    unit: int
    step: int
    light_step: int
    depth: Float32
    correlation_inverse: npt.NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of pixels."""
        return self.depth.shape[0], self.depth.shape[1]

    @property
    def node_shape(self) -> tuple[int, int]:
        """Rows and columns of nodes."""
        return (self.shape[0] - 1) // self.step + 1, (self.shape[1] - 1) // self.step + 1

    @property
    def light_shape(self) -> tuple[int, int]:
        """Rows and columns of contrast nodes."""
        return -(-(self.shape[0] - 1) // self.light_step) + 1, -(-(self.shape[1] - 1) // self.light_step) + 1

    @property
    def origin(self) -> Float32:
        """Canonical coordinates (x, y) of the first pixel, pixels."""
        return np.array([LEFT * self.unit, TOP * self.unit], dtype=np.float32)

    def coordinates(self) -> tuple[Float32, Float32]:
        """x (1, columns) and y (rows, 1) of the pixels, face units."""
        rows, columns = self.shape
        x = LEFT + np.arange(columns, dtype=np.float32) / self.unit
        y = TOP + np.arange(rows, dtype=np.float32) / self.unit
        return x[None, :], y[:, None]


@lru_cache(maxsize=8)
def make_grid(unit: int, step: int) -> Grid:
    """Grid of ``unit`` pixels per face unit with a node every ``step`` pixels (``unit`` a multiple of 4 steps)."""
    columns, rows = round((RIGHT - LEFT) * unit) + 1, round((BOTTOM - TOP) * unit) + 1
    x = LEFT + np.arange(columns)[None, :] / unit
    y = TOP + np.arange(rows)[:, None] / unit
    nodes = np.stack(np.broadcast_arrays(x[:, ::step], y[::step]), axis=-1).reshape(-1, 2)
    distance = np.sqrt(3) / _CORRELATION_LENGTH * np.linalg.norm(nodes[:, None] - nodes[None], axis=-1)
    correlation = (1 + distance) * np.exp(-distance) + 1e-3 * np.eye(len(nodes))
    return Grid(
        unit=unit,
        step=step,
        light_step=3 * step,
        depth=(unit * _depth(x, y)).astype(np.float32),
        correlation_inverse=np.linalg.inv(correlation),
    )


def _depth(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Depth of an average face, face units: a bowl, a nose, a chin (fitted to the mean of ICT-FaceKit, rms 0.06)."""
    bowl = -0.42 * x**2 - 0.47 * x**4 - 0.26 * y - 0.58 * y**2
    nose = 0.32 * np.exp(-0.5 * (x / 0.124) ** 2 - 0.5 * ((y - 0.332) / 0.149) ** 2)
    chin = 0.94 * np.exp(-0.5 * (x / 0.776) ** 2 - 0.5 * ((y - 1.116) / 0.447) ** 2)
    return bowl + nose + chin


def prior_precision(grid: Grid, landmarks: Float32) -> npt.NDArray[np.float64]:
    """Precision of the local displacement at the nodes, per squared pixel: ``(K, K)``.

    A Gaussian process (Matern 3/2) whose standard deviation is small at the stable parts (nose bridge, eye corners,
    temples), so that what they do together is read as head motion, and larger elsewhere.

    Parameters
    ----------
    landmarks : (68, 2) float32
        Canonical coordinates, face units.
    """
    x, y = grid.coordinates()
    x, y = x[:, :: grid.step, None], y[:: grid.step, :, None]
    rigid = landmarks[list(_RIGID_POINTS)]
    near = np.exp(-0.5 * ((x - rigid[:, 0]) ** 2 + (y - rigid[:, 1]) ** 2) / _RIGID_REACH**2).max(axis=-1)
    spread = grid.unit * (_RIGID_SD + (_MOBILE_SD - _RIGID_SD) * (1 - near.ravel()).astype(np.float64))
    return grid.correlation_inverse / np.outer(spread, spread)


def pixel_weights(grid: Grid, landmarks: Float32) -> Float32:
    """1 on the skin of the face, 0 outside its outline, inside the eyes and inside an open mouth: ``(rows, columns)``."""
    forehead = landmarks[17:27] - np.array([0, 0.22], dtype=np.float32)
    weight = np.zeros(grid.shape, dtype=np.uint8)
    outline = cv2.convexHull(np.concatenate([0.96 * landmarks[:17], forehead]).astype(np.float32))
    cv2.fillConvexPoly(weight, _to_pixels(grid, outline[:, 0]), 1, shift=4)
    for eye in (landmarks[36:42], landmarks[42:48]):
        centre = eye.mean(axis=0)
        cv2.fillConvexPoly(weight, _to_pixels(grid, centre + (eye - centre) * np.array([0.9, 1.3])), 0, shift=4)
    if (landmarks[65:68, 1] - landmarks[[63, 62, 61], 1]).max() > 0.03:
        cv2.fillConvexPoly(weight, _to_pixels(grid, landmarks[60:68]), 0, shift=4)
    return weight.astype(np.float32)


def _to_pixels(grid: Grid, points: npt.NDArray[np.floating]) -> npt.NDArray[np.int32]:
    """Face units to pixels of the grid with 4 fractional bits, as OpenCV's polygons take them."""
    return np.asarray(np.round(16 * grid.unit * (points - np.array([LEFT, TOP]))), dtype=np.int32)


_Margins = tuple[float, float, float, float]
_FINE: _Margins = (0.055, 0.055, 0.055, 0.055)
_NOSE_WING: _Margins = (0.08, 0.1, 0.08, 0.1)
_COARSE: dict[int, _Margins] = {
    1: (0.03, 0.05, 0.03, 0.03),
    5: (0.03, 0.05, 0.03, 0.03),
    9: (0.05, 0.03, 0.05, 0.03),
    15: _NOSE_WING,
    16: _NOSE_WING,
    17: (0.0, -0.1, 0.0, 0.15),
    18: (0.0, -0.1, 0.0, 0.15),
}
"""By region number: how far a region reaches beyond its landmarks (left, top, right, bottom), face units."""


def region_masks(grid: Grid, landmarks: Float32) -> Float32:
    """Share of each pixel in each region of interest, rows summing to 1: ``(18, rows * columns)``."""
    x, y = grid.coordinates()
    masks = np.empty((len(REGIONS), *grid.shape), dtype=np.float32)
    for mask, region in zip(masks, REGIONS, strict=True):
        left, top, right, bottom = _COARSE.get(region.number, _FINE)
        points = landmarks[list(region.landmarks)]
        low, high = points.min(axis=0), points.max(axis=0)
        inside_x = np.clip(0.5 + grid.unit * np.minimum(x - low[0] + left, high[0] + right - x), 0, 1)
        inside_y = np.clip(0.5 + grid.unit * np.minimum(y - low[1] + top, high[1] + bottom - y), 0, 1)
        mask[:] = inside_x * inside_y
        mask /= max(float(mask.sum()), 1e-6)
    return masks.reshape(len(REGIONS), -1)


def pool_nodes(grid: Grid, masks: Float32) -> Float32:
    """Weights of the nodes in the mean displacement of each mask: ``(R, K)``."""
    down, across = _interpolation(grid.shape[0], grid.step), _interpolation(grid.shape[1], grid.step)
    pooled = down.T @ masks.reshape(-1, *grid.shape) @ across
    return pooled.reshape(len(masks), -1).astype(np.float32)


def _interpolation(length: int, step: int) -> Float32:
    """Matrix of linear interpolation from nodes to pixels: ``(length, nodes)``."""
    nodes = np.arange((length - 1) // step + 1)
    return np.clip(1 - np.abs(np.arange(length)[:, None] / step - nodes), 0, None).astype(np.float32)
