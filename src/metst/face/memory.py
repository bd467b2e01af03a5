"""What the face tracker remembers: the person's looks and place, the last scene, the filtered mesh.

Pictures are compared by *glances*: a part of the frame averaged down to 24 x 24, brought to
zero mean and unit contrast, so that brightness does not count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from metst.arrays import Float32Array, Image
from metst.guard.kernels import kernel

# Where no origin is named, a number was set by hand.
_GLANCE = 24  # cells along each side of a glance
_ACROSS, _DOWN = 4, 2  # 8 pixels are averaged to a cell; each costs a cache miss
_NOISE_GREY = 2.0  # grey levels; contrast below this is noise: it must not be blown up to unit contrast
_LOOKS_BLUR = 1.0  # cells, standard deviation: 4 % of the face

# Change is the difference of two glances, 0 to 1.4.
_SCENE_MEMORY = 0.2  # weight of the newest frame in what counts as usual change
_CUT_LOWEST, _CUT_HIGHEST = 0.6, 1.0  # a hand raised before a close-up face changes a frame by 0.31, fast heads by 0.5
_CUT_FACTOR = 4.0  # times the usual change; between the two bounds above
_BLACK = 24  # grey levels; video black is 16, and it is noisy

_STRANGER = 0.5  # likeness (a correlation) that even a turned or half covered face of one person keeps
_FAR_STRANGER = 0.65  # ... and what is asked of a face in another place
_NEAR_BONUS = 0.2  # likeness that being in the last place is worth
_LOOKS_MEMORY_HZ = 0.08  # the average of a person's looks reaches back some two seconds
_KNOWN_AFTER_S = 1.0  # in sight; who is lost earlier is forgotten

# MediaPipe's figures for face landmarks: cut-off of a resting mesh, its rise per face size a second, cut-off of speeds.
_MESH_HZ, _MESH_BETA, _SPEED_HZ = 0.05, 80.0, 1.0
_SHORTEST_STEP_S = 1e-3  # speeds are never taken over less


@dataclass(frozen=True, eq=False)
class Fit:
    """A mesh (468, 2) fitted to one frame, its box (4,), its presence, and how the face looks (468,)."""

    mesh: Float32Array
    box: Float32Array
    presence: float
    looks: Float32Array


class Person:
    """Whom the tracker follows: how the face looks and where it was last.

    *Looks* are the grey values under the mesh points of a blurred picture, which neither
    expression nor pose moves far.
    """

    def __init__(self) -> None:
        self._looks: list[Float32Array] = []  # first, latest, average
        self._box = np.zeros(4, np.float32)
        self._last_s = math.nan
        self._seen_s = 0.0

    @property
    def known(self) -> bool:
        """There is somebody to look for."""
        return bool(self._looks)

    def likeness(self, looks: Float32Array) -> float:
        """Highest correlation with the looks remembered."""
        return max(float((looks * remembered).sum()) for remembered in self._looks)

    def is_stranger(self, fit: Fit) -> bool:
        """The mesh has slipped onto somebody or something else."""
        return self.likeness(fit.looks) < _STRANGER

    def remember(self, fit: Fit, *, time_s: float) -> None:
        """Take in the face of a key frame."""
        elapsed_s = 0.0 if math.isnan(self._last_s) else time_s - self._last_s
        self._seen_s += elapsed_s
        self._last_s, self._box = time_s, fit.box
        first, _, average = self._looks or [fit.looks] * 3
        average = average + gain(_LOOKS_MEMORY_HZ, step_s=elapsed_s) * (fit.looks - average)
        self._looks = [first, fit.looks, average / _length(average)]

    def out_of_sight(self) -> Person:
        """Whom to look for now: nobody in particular when this one was seen for less than a second.

        Else a passer-by or a false detection would claim the rest of the video.
        """
        self._last_s = math.nan
        return self if self._seen_s >= _KNOWN_AFTER_S else Person()

    def pick(self, fits: Sequence[Fit]) -> Fit | None:
        """The largest face when nobody is known, else the one that is this person, or None."""
        if not self.known:
            return max(fits, key=lambda fit: float((fit.box[2:] - fit.box[:2]).prod()))
        near = [self._is_near(fit.box) for fit in fits]
        likeness = [self.likeness(fit.looks) for fit in fits]
        best = int(np.argmax(np.array(likeness) + _NEAR_BONUS * np.array(near)))
        return fits[best] if likeness[best] >= (_STRANGER if near[best] else _FAR_STRANGER) else None

    def _is_near(self, box: Float32Array) -> bool:
        """Within one face size of the last place, and between half and twice the size."""
        size, last_size = (float((b[2:] - b[:2]).max()) for b in (box, self._box))
        distance = float(np.linalg.norm(box[:2] + box[2:] - self._box[:2] - self._box[2:])) / 2
        return distance < last_size and 0.5 < size / last_size < 2


class SceneWatch:
    """Tells cuts from motion by how much more than usual a frame differs from the last one."""

    def __init__(self) -> None:
        self._shape: tuple[int, ...] | None = None
        self._last: Float32Array | None = None
        self._usual: float | None = None
        self._brightest = 255.0  # before the first frame nothing is black

    def is_cut(self, grey: Image) -> bool:
        """Whether this frame starts another scene, or another picture size; remembers it."""
        cells = _shrunk(grey)
        last, self._last = self._last, np.empty_like(cells)
        self._brightest = _normalise(cells, self._last)
        resized, self._shape = self._shape not in (None, grey.shape), grey.shape
        if last is None:
            return False
        change = difference(self._last, last)
        usual = change if self._usual is None else self._usual
        self._usual = usual + _SCENE_MEMORY * (change - usual)
        return resized or change > min(max(_CUT_FACTOR * usual, _CUT_LOWEST), _CUT_HIGHEST)

    @property
    def view(self) -> Float32Array:
        """Glance of the whole frame that :meth:`is_cut` has seen last."""
        assert self._last is not None
        return self._last

    def is_black(self, grey: Image) -> bool:
        """Whether the frame, which :meth:`is_cut` has just seen, shows nothing at all."""
        return self._brightest < _BLACK and int(grey.max()) < _BLACK


class MeshFilter:
    """One-euro filter over the mesh: still points rest, moving points are followed at once.

    Casiez, Roussel, Vogel: "1 € Filter", CHI 2012; speeds are in face sizes per second.
    """

    def __init__(self) -> None:
        self._mesh: Float32Array | None = None
        self._velocity: Float32Array | None = None
        self._time_s = 0.0

    def smooth(self, mesh: Float32Array, *, time_s: float) -> Float32Array:
        """Filtered mesh (468, 2) at ``time_s``, which is later than the last call's."""
        step_s, self._time_s = max(time_s - self._time_s, _SHORTEST_STEP_S), time_s
        if self._mesh is None or self._velocity is None:
            self._mesh, self._velocity = mesh, np.zeros_like(mesh)
            return mesh
        size = float(np.ptp(mesh, axis=0).max())
        velocity = (mesh - self._mesh) / np.float32(size * step_s)
        self._velocity = self._velocity + gain(_SPEED_HZ, step_s=step_s) * (velocity - self._velocity)
        speed = np.linalg.norm(self._velocity, axis=1, keepdims=True)
        self._mesh = self._mesh + gain(_MESH_HZ + _MESH_BETA * speed, step_s=step_s) * (mesh - self._mesh)
        return self._mesh


def gain(cutoff_hz: float | Float32Array, *, step_s: float) -> Float32Array:
    """Weight of the newest value in a first-order low-pass filter."""
    phase = 2 * np.pi * np.asarray(cutoff_hz, np.float32) * np.float32(step_s)
    return np.asarray(phase / (phase + 1), np.float32)


def glance(grey: Image, *, box: Float32Array) -> Float32Array:
    """What ``box`` (left, top, right, bottom) holds of the frame, as a normalised (24, 24) picture."""
    cells = _shrunk(_cut_out(grey, box))
    _normalise(cells, cells)
    return cells


def difference(one: Float32Array, other: Float32Array) -> float:
    """Root mean square difference of two glances: 0 for equal ones, 1.4 for unrelated ones."""
    return cv2.norm(one, other, cv2.NORM_L2) / _GLANCE


def face_looks(grey: Image, mesh: Float32Array, *, box: Float32Array) -> Float32Array:
    """Grey values (468,) under the mesh, blurred by 4 % of the face, with zero mean and unit length."""
    cells = cv2.GaussianBlur(_shrunk(_cut_out(grey, box)), (0, 0), _LOOKS_BLUR)
    left_top = np.clip(box[:2], 0, None)
    scale = _GLANCE / np.maximum(np.minimum(box[2:], grey.shape[::-1]) - left_top, 1)
    points = ((mesh - left_top) * scale - 0.5).astype(np.float32)
    values = cv2.remap(cells, points[:, :1], points[:, 1:], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    values = values.ravel() - values.mean()
    return np.asarray(values / (_length(values) + _NOISE_GREY), np.float32)


def _length(values: Float32Array) -> np.float32:
    """Root of the sum of squares, in an order of sums that is the same on every machine."""
    return np.float32(np.sqrt((values * values).sum(), dtype=np.float32))


def _cut_out(grey: Image, box: Float32Array) -> Image:
    height, width = grey.shape
    left, top = min(max(int(box[0]), 0), width - 1), min(max(int(box[1]), 0), height - 1)
    return grey[top : max(int(box[3]), top + 1), left : max(int(box[2]), left + 1)]


def _shrunk(grey: Image) -> Float32Array:
    """Mean grey levels of 24 x 24 cells."""
    cells = np.empty((_GLANCE, _GLANCE), np.float32)
    _average(grey, cells)
    return cells


@kernel()
def _average(grey: Image, cells: Float32Array) -> None:
    """Average a few pixels of each cell."""
    height, width = grey.shape
    for i in range(_GLANCE):
        for j in range(_GLANCE):
            total = np.uint32(0)
            for m in range(_DOWN * i, _DOWN * (i + 1)):
                row = m * height // (_DOWN * _GLANCE)
                for k in range(_ACROSS * j, _ACROSS * (j + 1)):
                    total += np.uint32(grey[row, k * width // (_ACROSS * _GLANCE)])
            cells[i, j] = np.float32(total) / np.float32(_DOWN * _ACROSS)


@kernel(fastmath=True)
def _normalise(cells: Float32Array, out: Float32Array) -> float:
    """Write cells at zero mean and unit contrast to ``out``, which may be the same; returns the brightest."""
    flat, target = cells.reshape(-1), out.reshape(-1)
    total, squares, brightest = np.float32(0), np.float32(0), np.float32(0)
    for value in flat:
        total += value
        brightest = max(brightest, value)
    mean = total / np.float32(len(flat))
    for value in flat:
        squares += (value - mean) ** 2
    scale = np.float32(1) / (math.sqrt(squares / np.float32(len(flat))) + np.float32(_NOISE_GREY))
    for n in range(len(flat)):
        target[n] = (flat[n] - mean) * scale
    return float(brightest)
