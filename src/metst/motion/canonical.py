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

from metst.motion.registration import Basis, Float32
from metst.regions import REGIONS

LEFT, TOP, RIGHT, BOTTOM = -0.75, -0.625, 0.75, 1.25
"""Extent of the canonical frame in face units: from the forehead to the chin."""

_LIGHT_STEP = 0.375
_CORRELATION_LENGTH = 0.12
_LOCAL_SD = 0.02


@dataclass(frozen=True, eq=False)
class Grid:
    """Pixels, spline nodes and contrast nodes of the canonical frame at one resolution.

    Parameters
    ----------
    unit : int
        Pixels per face unit.
    basis : Basis
        Where the pixels lie between the nodes.
    nodes : (node_rows, node_columns, 2) float32
        Positions of the spline nodes, face units.
    light_shape : tuple of int
        Rows and columns of contrast nodes.
    precision : (K, K) float64
        Prior precision of the spline coefficients of one axis, per squared pixel: a Gaussian process (Matern 3/2).
    """

    unit: int
    basis: Basis
    nodes: Float32
    light_shape: tuple[int, int]
    precision: npt.NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of pixels."""
        return len(self.basis.row_node), len(self.basis.column_node)

    @property
    def node_shape(self) -> tuple[int, int]:
        """Rows and columns of spline nodes."""
        return self.nodes.shape[0], self.nodes.shape[1]

    def coordinates(self) -> tuple[Float32, Float32]:
        """X (1, columns) and y (rows, 1) of the pixels, face units."""
        rows, columns = self.shape
        x = LEFT + np.arange(columns) / self.unit
        y = TOP + np.arange(rows) / self.unit
        return x[None, :].astype(np.float32), y[:, None].astype(np.float32)

    def spline_matrices(self) -> tuple[Float32, Float32]:
        """Splines at the rows ``(rows, node_rows)`` and at the columns ``(columns, node_columns)``."""
        basis = self.basis
        down = _dense(basis.row_node, basis.row_spline, self.node_shape[0])
        return down, _dense(basis.column_node, basis.column_spline, self.node_shape[1])


@lru_cache(maxsize=8)
def make_grid(unit: int, step: int) -> Grid:
    """Grid of ``unit`` pixels per face unit with a spline node every ``step`` pixels."""
    columns, rows = round((RIGHT - LEFT) * unit) + 1, round((BOTTOM - TOP) * unit) + 1
    row_node, row_spline = _splines(rows, step)
    column_node, column_spline = _splines(columns, step)
    x = LEFT + (np.arange(column_node[-1] + 4) - 1) * step / unit
    y = TOP + (np.arange(row_node[-1] + 4) - 1) * step / unit
    nodes = np.stack(np.meshgrid(x, y), axis=-1)
    apart = np.linalg.norm(nodes.reshape(-1, 1, 2) - nodes.reshape(1, -1, 2), axis=-1)
    distance = np.sqrt(3) * apart / _CORRELATION_LENGTH
    correlation = (1 + distance) * np.exp(-distance) + 1e-3 * np.eye(len(apart))
    depth = unit * _depth(LEFT + np.arange(columns)[None] / unit, TOP + np.arange(rows)[:, None] / unit)
    light_step = _LIGHT_STEP * unit
    basis = Basis(
        origin=np.array([LEFT * unit, TOP * unit], np.float32),
        depth=depth.astype(np.float32),
        row_node=row_node,
        column_node=column_node,
        row_spline=row_spline,
        column_spline=column_spline,
        row_light=(np.arange(rows) / light_step).astype(np.float32),
        column_light=(np.arange(columns) / light_step).astype(np.float32),
    )
    light_shape = int(np.ceil((rows - 1) / light_step)) + 1, int(np.ceil((columns - 1) / light_step)) + 1
    return Grid(
        unit, basis, nodes.astype(np.float32), light_shape, np.linalg.inv(correlation) / (_LOCAL_SD * unit) ** 2
    )


def _splines(length: int, step: int) -> tuple[npt.NDArray[np.int32], Float32]:
    """First node and values of the four uniform cubic B-splines that reach each of ``length`` pixels."""
    first = np.minimum(np.arange(length) // step, (length - 2) // step)
    t = np.arange(length) / step - first
    values = (
        np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (1 - t) ** 3 - 6 * (1 - t) ** 2 + 4, t**3], axis=-1) / 6
    )
    return first.astype(np.int32), values.astype(np.float32)


def _dense(first: npt.NDArray[np.int32], values: Float32, nodes: int) -> Float32:
    """Four values per pixel, from node ``first`` on, as a matrix ``(pixels, nodes)``."""
    matrix = np.zeros((len(first), nodes), np.float32)
    for tap in range(4):
        matrix[np.arange(len(first)), first + tap] = values[:, tap]
    return matrix


def _depth(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Depth of an average face, face units: a bowl, a nose, a chin (fitted to the mean of ICT-FaceKit, rms 0.06)."""
    bowl = -0.42 * x**2 - 0.47 * x**4 - 0.26 * y - 0.58 * y**2
    nose = 0.32 * np.exp(-0.5 * (x / 0.124) ** 2 - 0.5 * ((y - 0.332) / 0.149) ** 2)
    chin = 0.94 * np.exp(-0.5 * (x / 0.776) ** 2 - 0.5 * ((y - 1.116) / 0.447) ** 2)
    return bowl + nose + chin


def nodes_on_face(grid: Grid, landmarks: Float32) -> npt.NDArray[np.bool_]:
    """Which spline nodes lie inside the outline of the face: ``(K,)``."""
    outline = cv2.convexHull(landmarks[:27].astype(np.float32))
    inside = [cv2.pointPolygonTest(outline, (float(x), float(y)), False) for x, y in grid.nodes.reshape(-1, 2)]
    return np.array(inside) > 0


def pixel_weights(grid: Grid, landmarks: Float32) -> Float32:
    """``(rows, columns)``: 1 on the skin, 0 outside the face's outline, inside the eyes and inside an open mouth."""
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
    """Weights of the spline coefficients in the mean displacement of each mask: ``(R, K)``."""
    down, across = grid.spline_matrices()
    pooled = down.T @ masks.reshape(-1, *grid.shape) @ across
    return pooled.reshape(len(masks), -1).astype(np.float32)


def depth_at(points: Float32) -> Float32:
    """Depth of the average face at canonical points: ``(N,)``, face units."""
    x, y = points.astype(np.float64).T
    return _depth(x, y).astype(np.float32)


def displacement_at(grid: Grid, nodes: Float32, points: Float32) -> Float32:
    """Local displacement at canonical points (face units), in the unit of the coefficients: ``(N, 2)``."""
    down, across = grid.spline_matrices()
    field = (down @ nodes @ across.T).transpose(1, 2, 0)
    at = ((points - np.array([LEFT, TOP], np.float32)) * grid.unit).astype(np.float32)
    moved = cv2.remap(field, at[:, None, 0], at[:, None, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32).reshape(-1, 2)
