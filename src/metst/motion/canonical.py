"""The canonical face frame: its pixel grid, what may move in it, and where the regions of interest lie.

Canonical coordinates have their origin midway between the outer eye corners, x to the right of the image and y down;
the outer eye corners lie one *face unit* apart on the x axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from metst.arrays import BoolArray, Float32Array, Float64Array, FloatArray, Int32Array, Int64Array
from metst.motion.algebra import inverse, product
from metst.motion.template import SparseMasks
from metst.motion.warp import Basis, spline_at
from metst.regions import REGIONS

# Where no origin is named, a number was set by hand: see metst.motion.
LEFT, TOP, RIGHT, BOTTOM = -0.75, -0.625, 0.75, 1.25
"""Extent of the canonical frame in face units: from the forehead to the chin."""

CORRELATION_LENGTH = 0.2
"""Reach of the prior of the displacement, face units."""

_LOCAL_SD = 0.02  # face units, of the displacement under the prior
_NUGGET = 1e-3  # of the prior's variance, independent at each node: its matrix stays invertible
_LIGHT_STEP = 0.375  # face units between the nodes of the contrast: the extent is 4 by 5 steps
_LEAST_COVER = 2.0  # pixels under a spline, of up to 64
_LEAST_NODES = 24  # determined by what is seen, of about 180 on a whole face; with fewer there is nothing to follow
_EMPTY = 1e-6  # sum of the mask of a region outside the grid, against a division by 0

_FOREHEAD = 0.22  # face units of skin above the brows
_JAW_SHARE = 0.96  # of the way from the eyes to the jaw that is skin
_EYE_SHARE = (0.9, 1.3)  # width and height left out at an eye, over those of its landmarks
_OPEN_MOUTH = 0.03  # face units between the lips
_FRACTION_BITS = 4  # of the coordinates of polygons


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
    covariance : (K, K) float64
        Prior covariance of the spline coefficients of one axis, squared pixels: a Gaussian process (Matern 3/2).
    head : (6, 2, node_rows, node_columns) float64
        Spline coefficients of the head's motions: shift x, y, dilation, rotation, yaw, pitch (the last two move a
        point in proportion to its depth).
    """

    unit: int
    basis: Basis
    nodes: Float32Array
    light_shape: tuple[int, int]
    covariance: Float64Array
    head: Float64Array

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of pixels."""
        return len(self.basis.row_node), len(self.basis.column_node)

    @cached_property
    def places(self) -> npt.NDArray[np.complex128]:
        """Spline nodes as complex numbers, face units: ``(node_rows, node_columns)``."""
        return self.nodes[..., 0] + 1j * self.nodes[..., 1].astype(np.float64)

    @property
    def node_shape(self) -> tuple[int, int]:
        """Rows and columns of spline nodes."""
        return self.nodes.shape[0], self.nodes.shape[1]

    def coordinates(self) -> tuple[Float32Array, Float32Array]:
        """X (1, columns) and y (rows, 1) of the pixels, face units."""
        rows, columns = self.shape
        x = LEFT + np.arange(columns) / self.unit
        y = TOP + np.arange(rows) / self.unit
        return x[None, :].astype(np.float32), y[:, None].astype(np.float32)

    def spline_matrices(self) -> tuple[Float32Array, Float32Array]:
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
    distance = np.sqrt(3) * apart / CORRELATION_LENGTH
    correlation = (1 + distance) * np.exp(-distance) + _NUGGET * np.eye(len(apart))
    variance = (_LOCAL_SD * unit) ** 2
    row_light, row_share = _between(rows, _LIGHT_STEP * unit)
    column_light, column_share = _between(columns, _LIGHT_STEP * unit)
    basis = Basis(
        row_node=row_node,
        column_node=column_node,
        row_spline=row_spline,
        column_spline=column_spline,
        row_light=row_light,
        column_light=column_light,
        row_share=row_share,
        column_share=column_share,
    )
    return Grid(
        unit,
        basis,
        nodes.astype(np.float32),
        (int(row_light[-1]) + 2, int(column_light[-1]) + 2),
        variance * correlation,
        _head_motions(nodes, _dense(row_node, row_spline, len(y)), _dense(column_node, column_spline, len(x))),
    )


def _head_motions(nodes: Float64Array, down: Float32Array, across: Float32Array) -> Float64Array:
    """Coefficients of the head's motions; splines reproduce straight lines, the depth is fitted."""
    x, y = nodes[..., 0], nodes[..., 1]
    at_x = LEFT + (RIGHT - LEFT) * np.linspace(0, 1, len(across))
    at_y = TOP + (BOTTOM - TOP) * np.linspace(0, 1, len(down))
    fitted = product(_least_squares(down), _depth(at_x[None], at_y[:, None]))
    depth = product(fitted, _least_squares(across).T)
    zero, one = np.zeros_like(x), np.ones_like(x)
    return np.array([[one, zero], [zero, one], [x, y], [-y, x], [depth, zero], [zero, depth]])


def _least_squares(splines: Float32Array) -> Float64Array:
    """Matrix ``(nodes, pixels)`` that fits coefficients of splines ``(pixels, nodes)`` to values at the pixels."""
    columns = splines.astype(np.float64)
    return product(inverse(product(columns.T, columns)), columns.T)


def _between(length: int, step: float) -> tuple[Int32Array, Float32Array]:
    """First of the two nodes that lie around each of ``length`` pixels, and the share of the second."""
    place = np.arange(length) / step
    first = np.minimum(place.astype(np.int32), max(int(np.ceil(place[-1])) - 1, 0)).astype(np.int32)
    return first, (place - first).astype(np.float32)


def _splines(length: int, step: int) -> tuple[Int32Array, Float32Array]:
    """First node and values of the four uniform cubic B-splines that reach each of ``length`` pixels."""
    first = np.minimum(np.arange(length) // step, (length - 2) // step)
    t = np.arange(length) / step - first
    values = (
        np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (1 - t) ** 3 - 6 * (1 - t) ** 2 + 4, t**3], axis=-1) / 6
    )
    return first.astype(np.int32), values.astype(np.float32)


def _dense(first: Int32Array, values: Float32Array, nodes: int) -> Float32Array:
    """Four values per pixel, from node ``first`` on, as a matrix ``(pixels, nodes)``."""
    matrix = np.zeros((len(first), nodes), np.float32)
    for tap in range(4):
        matrix[np.arange(len(first)), first + tap] = values[:, tap]
    return matrix


def _depth(x: Float64Array, y: Float64Array) -> Float64Array:
    """Depth of an average face, face units: a bowl, a nose, a chin (fitted to the mean of ICT-FaceKit, rms 0.06)."""
    bowl = -0.42 * x**2 - 0.47 * x**4 - 0.26 * y - 0.58 * y**2
    nose = 0.32 * np.exp(-0.5 * (x / 0.124) ** 2 - 0.5 * ((y - 0.332) / 0.149) ** 2)
    chin = 0.94 * np.exp(-0.5 * (x / 0.776) ** 2 - 0.5 * ((y - 1.116) / 0.447) ** 2)
    return bowl + nose + chin


class TooLittleSeenError(Exception):
    """So little of the face is seen that nothing can be followed."""


@dataclass(frozen=True, eq=False)
class Reach:
    """Spline nodes that the compared pixels determine, and how the rest of the nodes follow them.

    Parameters
    ----------
    nodes, rest : (N,), (K - N,) int64
        Which nodes are determined, and which follow.
    carry : (K - N, N) float32
        Coefficients of the rest, given those of ``nodes``: most likely under the prior, exact for the head's motions.
    covariance, precision : (N, N) float64
        Of the prior, for one axis, as in :class:`Grid`, and its inverse.
    head : (6, 2, N) float64
        The head's motions, as in :class:`Grid`.
    """

    nodes: Int64Array
    rest: Int64Array
    carry: Float32Array
    covariance: Float64Array
    precision: Float64Array
    head: Float64Array


def reach_of(grid: Grid, weight: Float32Array) -> Reach:
    """Nodes whose spline covers more than a few of the pixels that have a ``weight`` (rows, columns).

    Raises
    ------
    TooLittleSeenError
        These are too few.
    """
    down, across = grid.spline_matrices()
    covered = product(product(down.T, weight), across).ravel() > _LEAST_COVER
    nodes, rest = np.flatnonzero(covered), np.flatnonzero(~covered)
    if len(nodes) < _LEAST_NODES:
        raise TooLittleSeenError
    covariance = grid.covariance[np.ix_(nodes, nodes)]
    precision = inverse(covariance)
    follow = product(grid.covariance[np.ix_(rest, nodes)], precision)
    trend = np.stack([grid.head[0, 0], grid.head[2, 0], grid.head[2, 1], grid.head[4, 0]]).reshape(4, -1)
    pulled = product(trend[:, nodes], precision)
    missed = trend[:, rest].T - product(follow, trend[:, nodes].T)
    carry = follow + product(missed, product(inverse(product(pulled, trend[:, nodes].T)), pulled))
    head = grid.head.reshape(len(grid.head), 2, -1)[..., nodes]
    return Reach(nodes, rest, carry.astype(np.float32), covariance, precision, head)


def nodes_on_face(grid: Grid, landmarks: Float32Array) -> BoolArray:
    """Which spline nodes lie inside the outline of the face: ``(K,)``."""
    outline = cv2.convexHull(landmarks[:27].astype(np.float32))
    inside = [cv2.pointPolygonTest(outline, (float(x), float(y)), False) for x, y in grid.nodes.reshape(-1, 2)]
    return np.array(inside) > 0


def pixel_weights(grid: Grid, landmarks: Float32Array) -> Float32Array:
    """``(rows, columns)``: 1 on the skin, 0 outside the face's outline, inside the eyes and inside an open mouth."""
    forehead = landmarks[17:27] - np.array([0, _FOREHEAD], dtype=np.float32)
    weight = np.zeros(grid.shape, dtype=np.uint8)
    outline = cv2.convexHull(np.concatenate([_JAW_SHARE * landmarks[:17], forehead]).astype(np.float32))
    cv2.fillConvexPoly(weight, _to_pixels(grid, outline[:, 0]), 1, shift=_FRACTION_BITS)
    for eye in (landmarks[36:42], landmarks[42:48]):
        centre = eye.mean(axis=0)
        left_out = centre + (eye - centre) * np.array(_EYE_SHARE)
        cv2.fillConvexPoly(weight, _to_pixels(grid, left_out), 0, shift=_FRACTION_BITS)
    if (landmarks[65:68, 1] - landmarks[[63, 62, 61], 1]).max() > _OPEN_MOUTH:
        cv2.fillConvexPoly(weight, _to_pixels(grid, landmarks[60:68]), 0, shift=_FRACTION_BITS)
    return weight.astype(np.float32)


def _to_pixels(grid: Grid, points: FloatArray) -> Int32Array:
    """Face units to pixels of the grid with fractional bits, as OpenCV's polygons take them."""
    return np.asarray(np.round((1 << _FRACTION_BITS) * grid.unit * (points - np.array([LEFT, TOP]))), dtype=np.int32)


_Margins = tuple[float, float, float, float]
# Set by hand; a fine region reaches about as far as the published 10 px of a crop with 185 px to the face unit.
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


def region_masks(grid: Grid, landmarks: Float32Array) -> Float32Array:
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
        mask /= max(float(mask.sum()), _EMPTY)
    return masks.reshape(len(REGIONS), -1)


def sparse_masks(masks: Float32Array) -> SparseMasks:
    """Masks ``(R, rows * columns)`` without their zeros."""
    region, pixel = np.nonzero(masks)
    start = np.searchsorted(region, np.arange(len(masks) + 1))
    return SparseMasks(start.astype(np.int32), pixel.astype(np.int32), masks[region, pixel])


def mask_centres(grid: Grid, masks: Float32Array) -> Float32Array:
    """Centre of each mask, x and y, and the depth of the face there: ``(R, 3)``, face units."""
    x, y = grid.coordinates()
    pixels = np.stack(np.broadcast_arrays(x, y), axis=-1).reshape(-1, 2)
    total = product(masks, np.ascontiguousarray(pixels, np.float32))
    centres = (total / np.maximum(masks.sum(axis=1, keepdims=True), _EMPTY)).astype(np.float32)
    return np.column_stack([centres, depth_at(centres)])


def pool_nodes(grid: Grid, masks: Float32Array) -> Float32Array:
    """Weights of the spline coefficients in the mean displacement of each mask: ``(R, K)``."""
    down, across = grid.spline_matrices()
    along = product(masks.reshape(-1, grid.shape[1]), across).reshape(len(masks), grid.shape[0], -1)
    return np.stack([product(down.T, each).ravel() for each in along])


def depth_at(points: Float32Array) -> Float32Array:
    """Depth of the average face at canonical points: ``(N,)``, face units."""
    x, y = points.astype(np.float64).T
    return _depth(x, y).astype(np.float32)


def displacement_at(grid: Grid, nodes: Float32Array, points: Float32Array) -> Float32Array:
    """Local displacement at canonical points (face units), in the unit of the coefficients: ``(N, 2)``."""
    last = np.array(grid.node_shape[::-1]) - 3.0  # four splines reach each place
    place = np.clip((points - np.array([LEFT, TOP])) * (last / (RIGHT - LEFT, BOTTOM - TOP)), 0, last)
    out = np.empty((len(points), 2), np.float32)
    spline_at(nodes, place.astype(np.float32), out)
    return out
