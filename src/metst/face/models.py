"""The two networks of stage 2: where faces are, and the mesh of one face.

Both are MediaPipe's (Apache-2.0): the short-range BlazeFace detector (Bazarevsky et al.,
arXiv 1907.05047) and the 468-point face mesh (Kartynnik et al., arXiv 1907.06724).  The
build puts their files next to the package and OpenCV's dnn runs them.  The detector is fully
convolutional, so one file serves several picture sizes and with them several face sizes; with
256 pixels along the long side it finds faces from 7 % of that side, rolled by up to 60 degrees.

Pixel coordinates are OpenCV's: (0, 0) is the *centre* of the first pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib import resources

import cv2
import numpy as np
import numpy.typing as npt

from metst.arrays import Float32Array, Float64Array, FloatArray, Image, IntArray
from metst.errors import FaceError
from metst.threads import thread_limit

# Names in MediaPipe's wheel.
DETECTOR_FILE = "face_detection_short_range.tflite"
MESH_FILE = "face_landmark.tflite"

# What the mesh network reads and gives.
MESH_POINTS = 468
MESH_SIZE = 192  # pixels, side of the crop
MESH_MARGIN = 1.5  # the mesh network was trained on squares 1.5 times as large as the face
EYE_CORNERS = (33, 263)  # outer corners: left and right in the picture

# Each of the 68 iBUG points is the mean of two mesh points (the same one twice where the mesh
# has the point itself).  The mesh outlines a brow by its upper and lower edge where iBUG has
# one line through the hairs, and its jaw line is denser than iBUG's.
_JAW = [(127, 127), (234, 93), (93, 132), (58, 58), (172, 172), (136, 150), (149, 149), (176, 148), (152, 152),
        (400, 377), (378, 378), (365, 379), (397, 397), (288, 288), (323, 361), (454, 323), (356, 356)]  # fmt: skip
_LEFT_BROW = [(70, 46), (63, 53), (105, 52), (66, 65), (107, 55)]
_RIGHT_BROW = [(336, 285), (296, 295), (334, 282), (293, 283), (300, 276)]
_SINGLE = [168, 197, 5, 4, 75, 97, 2, 326, 305,  # nose bridge, nostrils
           33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
           61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91,  # outer lips
           78, 82, 13, 312, 308, 317, 14, 87]  # inner lips  # fmt: skip
MESH_TO_68: npt.NDArray[np.intp] = np.array(_JAW + _LEFT_BROW + _RIGHT_BROW + [(i, i) for i in _SINGLE], dtype=np.intp)

_MAX_LOGIT = 80.0  # beyond it the exponential overflows and the probability is 0 or 1 anyway
_MIN_DETECTION = 0.5  # the published threshold; the mesh network's presence decides afterwards
_CELLS = ((8, 2), (16, 6))  # of the detector: pixels a side, and anchors in each
_STRIDE = 32  # pixels; sides of the detector's picture are multiples of it, and so of its cells of 8 and 16
_BEST_FACE_SIZE = 50  # pixels of the detector's picture, which finds faces of 15 to 130; set by hand
_NEAR_SIDE = 96  # ... and the side of that picture around a known face; set by hand
_MOST_SHRINKING = 4  # a larger crop is averaged over at most so many pixels a side; set by hand
_SAME_FACE_IOU = 0.3  # the published threshold of its non-maximum suppression
# Crops lie on a grid: centres and sides of so many steps to the pixel, angles to the radian; set by hand.
# A crop is sampled in whole grey levels, so one that is off in its last digit shows another picture, and meshes that
# follow one another through their crops carry that on.  On the grid nearly all such crops are the same.
_CENTER_STEPS, _SIDE_STEPS, _ROLL_STEPS = 8, 4, 512


@dataclass(frozen=True, eq=False)
class Crop:
    """Square piece of the picture, turned with the head, that the mesh network looks at.

    Parameters
    ----------
    center : (2,) float64
        Source pixels.
    side : float
        Source pixels.
    roll_rad : float
        Angle of the eye line, clockwise on the screen.
    """

    center: Float64Array
    side: float
    roll_rad: float

    @classmethod
    def around(cls, points: Float32Array, *, eyes: Float32Array) -> Crop:
        """Square around ``points`` (N, 2), upright with respect to the two ``eyes`` (2, 2)."""
        (dx, dy) = np.asarray(eyes[1], np.float64) - eyes[0]
        roll_rad = math.atan2(dy, dx)
        turn = _rotation(roll_rad)
        upright = _mapped(np.asarray(points, np.float64), turn.T)
        low, high = upright.min(axis=0), upright.max(axis=0)
        return cls.on_grid(_mapped((low + high)[None] / 2, turn)[0], float((high - low).max()), roll_rad=roll_rad)

    @classmethod
    def on_grid(cls, center: Float64Array, size: float, *, roll_rad: float) -> Crop:
        """Square around a face of ``size`` source pixels, on the grid of crops."""
        side = max(1, round(size * MESH_MARGIN * _SIDE_STEPS)) / _SIDE_STEPS
        return cls(np.round(center * _CENTER_STEPS) / _CENTER_STEPS, side, round(roll_rad * _ROLL_STEPS) / _ROLL_STEPS)

    @classmethod
    def of_mesh(cls, mesh: Float32Array) -> Crop:
        """Square for the next frame from the mesh (468, 2) of this one."""
        return cls.around(mesh, eyes=mesh[list(EYE_CORNERS)])

    def to_source(self, size: int) -> Float64Array:
        """Affine map (2, 3) from the pixels of a ``size`` x ``size`` crop to source pixels."""
        turn = _rotation(self.roll_rad) * (self.side / size)
        return np.column_stack([turn, self.center - _mapped(np.full((1, 2), (size - 1) / 2), turn)[0]])


@dataclass(frozen=True, eq=False)
class Detection:
    """One face found: ``score`` in [0, 1], ``box`` (left, top, right, bottom), ``eyes`` (2, 2), source pixels."""

    score: float
    box: Float32Array
    eyes: Float32Array

    def moved(self, by: IntArray) -> Detection:
        """The same face in a picture whose origin lies ``by`` pixels (x, y) to the left and above."""
        shift = by.astype(np.float32)
        return Detection(self.score, self.box + np.tile(shift, 2), self.eyes + shift)

    @property
    def crop(self) -> Crop:
        """Where the mesh network should look."""
        left, top, right, bottom = self.box
        (dx, dy) = self.eyes[1] - self.eyes[0]
        center = np.array([left + right, top + bottom], np.float64) / 2
        return Crop.on_grid(center, float(max(right - left, bottom - top)), roll_rad=math.atan2(dy, dx))


class FaceModels:
    """The detector and the mesh network, loaded once.

    Raises
    ------
    FaceError
        The installation lacks the network files.
    """

    def __init__(self) -> None:
        # OpenCV counts the cores and knows nothing of the limit that launchers set for their workers.
        cv2.setNumThreads(min(cv2.getNumThreads(), thread_limit()))
        self._detector = _load(DETECTOR_FILE)
        self._mesh = _load(MESH_FILE)
        self._mesh.enableFusion(False)  # fused layers give the same numbers and take 7 % longer

    def detect(self, grey: Image, *, long_side: int) -> list[Detection]:
        """Find faces with the picture's long side scaled to ``long_side`` pixels, best first.

        Faces (brow to chin) of about 15 to 130 of these pixels are found.

        Parameters
        ----------
        grey : (H, W) uint8
            The picture.
        long_side : int
            Pixels; a multiple of 32.
        """
        scale = long_side / max(grey.shape)
        height, width = (max(1, round(length * scale)) for length in grey.shape)
        canvas = np.full((_whole_strides(height), _whole_strides(width)), -1, np.float32)
        # The network reads -1 to 1, the padding is black.
        canvas[:height, :width] = _resize(grey, width=width, height=height) / np.float32(127.5) - 1
        self._detector.setInput(_as_colour(canvas))
        logits, offsets = self._detector.forward(["classificators", "regressors"])
        score = _probability(logits.reshape(-1))
        found = np.flatnonzero(score > _MIN_DETECTION)
        points = offsets.reshape(-1, 8, 2)[found]  # centre, size, two eyes, four more points
        center = points[:, 0] + _anchors(*canvas.shape)[found]
        eyes = points[:, 2:4] + _anchors(*canvas.shape)[found, None]
        box = np.concatenate([center - points[:, 1] / 2, center + points[:, 1] / 2], axis=1)
        return _merge(score[found], _unscale(box, scale=scale), _unscale(eyes, scale=scale))

    def detect_near(self, grey: Image, box: Float32Array) -> list[Detection]:
        """Find faces in and around ``box`` (left, top, right, bottom), those as large as it best; best first."""
        size = float((box[2:] - box[:2]).max())
        reach = size * _NEAR_SIDE / _BEST_FACE_SIZE / 2
        low = np.maximum((box[:2] + box[2:]) / 2 - reach, 0).astype(int)
        high = np.ceil(np.minimum((box[:2] + box[2:]) / 2 + reach, grey.shape[::-1])).astype(int)
        part = grey[low[1] : high[1], low[0] : high[0]]
        if not part.size:
            return []
        long_side = _STRIDE * max(1, round(max(part.shape) * _BEST_FACE_SIZE / size / _STRIDE))
        return [found.moved(low) for found in self.detect(part, long_side=long_side)]

    def fit_mesh(self, grey: Image, crop: Crop) -> tuple[Float32Array, float]:
        """Fit the mesh to the face in ``crop``.

        Returns
        -------
        mesh : (468, 2) float32
            Source pixels.
        presence : float
            Probability that the crop shows a face at all.
        """
        self._mesh.setInput(_as_colour(_cropped(grey, crop) * np.float32(1 / 255)))  # it reads 0 to 1
        points, logit = self._mesh.forward(["conv2d_21", "conv2d_31"])
        to_source = crop.to_source(MESH_SIZE)
        flat = points.reshape(MESH_POINTS, 3)[:, :2] - 0.5  # the network counts from the first pixel's corner
        mesh = (_mapped(flat, to_source[:, :2]) + to_source[:, 2]).astype(np.float32)
        return mesh, float(_probability(logit.reshape(-1))[0])


def _cropped(grey: Image, crop: Crop) -> Image:
    """The ``crop`` as the (192, 192) picture the mesh network reads.

    A large face is averaged over whole pixels first: plain interpolation would alias.
    """
    step = int(np.clip(round(crop.side / MESH_SIZE), 1, _MOST_SHRINKING))
    to_source = crop.to_source(MESH_SIZE)
    if step > 1:
        reach = crop.side * (abs(math.cos(crop.roll_rad)) + abs(math.sin(crop.roll_rad))) / 2 + step
        low = np.clip(crop.center - reach, 0, np.maximum(np.array(grey.shape[::-1]) - step, 0)).astype(int)
        size = np.maximum((np.minimum(crop.center + reach, grey.shape[::-1]) - low).astype(int) // step, 1)
        part = grey[low[1] : low[1] + size[1] * step, low[0] : low[0] + size[0] * step]
        grey = _resize(part, width=int(size[0]), height=int(size[1]))
        to_source = np.column_stack([to_source[:, :2], to_source[:, 2] - low - (step - 1) / 2]) / step
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    picture = cv2.warpAffine(grey, to_source, (MESH_SIZE, MESH_SIZE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(picture)


def landmarks_from_mesh(mesh: Float32Array) -> Float32Array:
    """The 68 iBUG points (68, 2) of a mesh (468, 2)."""
    return np.asarray(mesh[MESH_TO_68].mean(axis=1, dtype=np.float32))


def box_overlap(box: Float32Array, others: Float32Array) -> Float32Array:
    """Intersection over union of one box (4,) with each of ``others`` (N, 4)."""
    size = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.clip(size, 0, None).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    return np.asarray(shared / ((box[2:] - box[:2]).prod() + areas - shared), np.float32)


def _load(name: str) -> cv2.dnn.Net:
    file = resources.files("metst") / "assets" / name
    if not file.is_file():
        raise FaceError(f"the face network {name} is missing from this installation of metst: reinstall it")
    with resources.as_file(file) as path:
        if hasattr(cv2.dnn, "ENGINE_CLASSIC"):
            # OpenCV 5's default engine gives a wrong tensor for these files without saying so,
            # and ignores the choice of engine when it is handed bytes instead of a path.
            return cv2.dnn.readNetFromTFLite(str(path), engine=cv2.dnn.ENGINE_CLASSIC)
        return cv2.dnn.readNetFromTFLite(str(path))


@cache
def _anchors(height: int, width: int) -> Float32Array:
    """Centres (N, 2) of the detector's cells: two per 8 x 8 pixels, then six per 16 x 16."""
    grids = []
    for stride, repeats in _CELLS:
        y, x = np.mgrid[0 : height // stride, 0 : width // stride]
        grids.append((np.stack([x, y], axis=-1).reshape(-1, 2).repeat(repeats, axis=0) + 0.5) * stride)
    return np.concatenate(grids).astype(np.float32)


def _merge(score: Float32Array, box: Float32Array, eyes: Float32Array) -> list[Detection]:
    """Non-maximum suppression that averages overlapping boxes by score, as published for BlazeFace."""
    left = np.argsort(-score)
    merged = []
    while left.size:
        same = box_overlap(box[left[0]], box[left]) > _SAME_FACE_IOU
        same[0] = True
        group = left[same]
        weight = (score[group] / score[group].sum())[:, None, None]  # sums one after the other, on every machine alike
        mean_box, mean_eyes = (weight[..., 0] * box[group]).sum(axis=0), (weight * eyes[group]).sum(axis=0)
        merged.append(Detection(float(score[group[0]]), mean_box.astype(np.float32), mean_eyes.astype(np.float32)))
        left = left[~same]
    return merged


def _unscale(points: Float32Array, *, scale: float) -> Float32Array:
    return np.asarray(points / scale - 0.5, np.float32)


def _resize(grey: Image, *, width: int, height: int) -> Image:
    shrinks = width <= grey.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (width, height), interpolation=how))


def _as_colour(picture: Float32Array) -> Float32Array:
    """Grey (H, W) as the (1, 3, H, W) the networks read."""
    return np.ascontiguousarray(np.broadcast_to(picture, (1, 3, *picture.shape)))


def _probability(logit: Float32Array) -> Float32Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(logit, -_MAX_LOGIT, _MAX_LOGIT))), np.float32)


def _mapped(points: FloatArray, matrix: Float64Array) -> Float64Array:
    """A matrix (2, 2) times each of the points (N, 2), in an order of sums that is the same on every machine."""
    return np.asarray(points[:, :1] * matrix[:, 0] + points[:, 1:] * matrix[:, 1], np.float64)


def _rotation(angle_rad: float) -> Float64Array:
    """Matrix that turns upright vectors by ``angle_rad`` clockwise on the screen."""
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[cos, -sin], [sin, cos]])


def _whole_strides(length: int) -> int:
    return -(-length // _STRIDE) * _STRIDE
