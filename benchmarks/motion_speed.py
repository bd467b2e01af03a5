"""How fast face and motion are, how they share two cores, what memory they take, and what real footage gives."""

from __future__ import annotations

import multiprocessing
import multiprocessing.synchronize
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from motion_clips import RATE_HZ, Clip
from published_extractor import extract_reference

from metst.face import FaceFrame, FaceTracker
from metst.face.models import FaceModels, landmarks_from_mesh
from metst.motion import Motion, MotionTracker, extract_motion
from metst.published.extractor import landmarks_in_crop, published_boxes
from metst.video import Frame, read_frames

WINDOW = 30
LAG = 10
WRONG = 0.03
"""Face units by which the motion over ``LAG`` frames may differ between a clip and the clip run backwards."""


def as_frames(frames: np.ndarray, *, count: int) -> Iterator[Frame]:
    """The clip forth and back, over and over."""
    order = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    return (Frame(index, index / RATE_HZ, frames[order[index % len(order)]]) for index in range(count))


def face_and_motion(frames: np.ndarray, *, count: int) -> tuple[float, float]:
    """Processor seconds of face and of motion, after a second that starts them."""
    face, motion, spent = FaceTracker(), MotionTracker(), np.zeros(2)
    for frame in as_frames(frames, count=count + 25):
        started = time.process_time()
        face_frame = face.update(frame)
        between = time.process_time()
        motion.update(face_frame)
        if frame.index >= 25:
            spent += between - started, time.process_time() - between
    return float(spent[0]), float(spent[1])


def published(frames: np.ndarray, models: FaceModels) -> float:
    """Processor seconds per frame that the published extractor takes in a long video.

    There each frame lies in two windows; the ends of a short clip, which lie in one or none, must not count.  Landmarks
    are found twice per window, on its first frame and again on the crop.  The published dlib (20 ms on this kind of
    core) is no dependency: its place is taken by one pass of our detector and one of our mesh network (9 ms).
    """
    starts, shape = range(0, len(frames) - WINDOW + 1, WINDOW // 2), frames.shape[1:]
    started = time.process_time()
    found = [_landmarks(frames[start], models) for start in starts for _ in range(2)]
    landmarks = np.array(found[::2])
    boxes = published_boxes(landmarks, frame_shape=shape)
    points = landmarks_in_crop(landmarks, boxes, frame_shape=shape)
    extract_reference(frames, boxes=boxes, landmarks=points, window=WINDOW)
    return (time.process_time() - started) / (len(starts) * WINDOW // 2)


def _landmarks(grey: np.ndarray, models: FaceModels) -> np.ndarray:
    found = models.detect(grey, long_side=256)[0]
    return landmarks_from_mesh(models.fit_mesh(grey, found.crop)[0])


@dataclass(frozen=True)
class Speed:
    """Milliseconds per frame, medians over runs in turn, and by run how many times as long the published one takes."""

    face_ms: float
    motion_ms: float
    published_ms: float
    ratios: list[float]


def measured_speed(frames: np.ndarray, *, repeats: int) -> Speed:
    """Face and motion on frames in memory, in turn with the published extractor on the same frames."""
    models = FaceModels()
    face_and_motion(frames, count=5)  # compiles
    rows = [(*face_and_motion(frames, count=150), 150 * published(frames, models)) for _ in range(repeats)]
    face, motion, other = (1e3 * median(column) / 150 for column in zip(*rows, strict=True))
    return Speed(face, motion, other, [other / (face + motion) for face, motion, other in rows])


def speed(clip: Clip, *, repeats: int) -> None:
    """Print milliseconds per frame of both, and the median of the ratios of runs in turn."""
    found = measured_speed(clip.frames, repeats=repeats)
    height, width = clip.frames.shape[1:]
    print(
        f"speed {width}x{height}: face {found.face_ms:.2f} + motion {found.motion_ms:.2f} ms/frame, published"
        f" {found.published_ms:.1f}; {median(found.ratios):.1f} times as fast"
        f" ({min(found.ratios):.1f} to {max(found.ratios):.1f})",
        flush=True,
    )


def _timed(frames: np.ndarray, gate: multiprocessing.synchronize.Barrier, spent: multiprocessing.Queue[tuple]) -> None:
    """Wall and processor seconds of a run that begins when all have come to the gate."""
    cv2.setNumThreads(1)
    face_and_motion(frames, count=5)
    gate.wait()
    started = time.perf_counter(), time.process_time()
    face_and_motion(frames, count=400)
    spent.put((time.perf_counter() - started[0], time.process_time() - started[1]))


def _together(frames: np.ndarray, processes: int) -> np.ndarray:
    """Wall and processor seconds of the slowest of some processes that run at the same time."""
    context = multiprocessing.get_context("spawn")
    gate, spent = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=_timed, args=(frames, gate, spent)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    times = [spent.get() for _ in workers]
    for worker in workers:
        worker.join()
    return np.max(times, axis=0)


def two_processes(clip: Clip, *, repeats: int) -> None:
    """Print how many times the frames of one process two processes do in the same time."""
    gains = np.array([2 * _together(clip.frames, 1) / _together(clip.frames, 2) for _ in range(repeats)])
    (wall, cpu), low, high = np.median(gains, axis=0), gains.min(axis=0), gains.max(axis=0)
    print(
        f"two processes: {wall:.2f} times one by the clock ({low[0]:.2f} to {high[0]:.2f}),"
        f" {cpu:.2f} by processor time ({low[1]:.2f} to {high[1]:.2f}), which other programs disturb less",
        flush=True,
    )


def _peak_mb(frames: np.ndarray, count: int, peak: multiprocessing.Queue[float]) -> None:
    """Peak memory of a process that measures ``count`` frames."""
    cv2.setNumThreads(1)
    extract_motion(map(FaceTracker().update, as_frames(frames, count=count)))
    peak.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def memory(clip: Clip, *, minutes: int) -> None:
    """Print the peak memory of one minute and of more of them."""
    context = multiprocessing.get_context("spawn")
    peaks = []
    for length in (1, minutes):
        queue = context.Queue()
        worker = context.Process(target=_peak_mb, args=(clip.frames, int(60 * RATE_HZ * length), queue))
        worker.start()
        peaks.append(queue.get())
        worker.join()
    print(
        f"memory: {peaks[0]:.0f} MB for 1 min, {peaks[1]:.0f} MB for {minutes} min: {peaks[1] / peaks[0]:.3f}",
        flush=True,
    )


def footage(path: Path) -> None:
    """Print the share of frames of a real clip with motion, and of values that the clip run backwards contradicts."""
    tracked = list(map(FaceTracker().update, read_frames(path)))
    forth, back = extract_motion(tracked), _mirrored(extract_motion(_backwards(tracked)))
    there = forth.displacement.valid & back.displacement.valid
    there = there[LAG:] & there[:-LAG] & (np.convolve(~there, np.ones(LAG + 1), "valid") == 0)
    quality = np.minimum(forth.quality, back.quality)
    good = (np.minimum(quality[LAG:], quality[:-LAG]) >= 0.5) & there[:, None]
    moved = [motion.displacement.values[LAG:] - motion.displacement.values[:-LAG] for motion in (forth, back)]
    apart = np.linalg.norm(moved[0] - moved[1], axis=-1)[good]
    head = np.nanstd(np.diff(forth.head[:, :2], axis=0), axis=0) * np.nanmedian(forth.face_px)
    print(
        f"{path.name}: {len(tracked)} frames, head steps {head[0]:.1f}, {head[1]:.1f} px (sd):"
        f" {forth.displacement.valid.mean():.1%} of frames with motion, {good.mean():.1%} of values of good quality;"
        f" of these forth and back differ by more than {WRONG} face units in {LAG} frames: {(apart > WRONG).mean():.2%}"
        f" (median {np.median(apart):.4f}, 99 % under {np.quantile(apart, 0.99):.4f})",
        flush=True,
    )


def _backwards(tracked: list[FaceFrame]) -> Iterator[FaceFrame]:
    """The track with time reversed: landmarks count as fresh only where they were measured."""
    last, face = tracked[-1], None
    for index, row in enumerate(reversed(tracked)):
        face = row.face if row.fresh or not row.valid or face is None else face
        frame = Frame(index, last.frame.time_s - row.frame.time_s, row.frame.grey)
        yield replace(row, frame=frame, face=face)


def _mirrored(motion: Motion) -> Motion:
    """Motion of a clip run backwards, in the order of the clip."""
    displacement = replace(
        motion.displacement, values=motion.displacement.values[::-1], valid=motion.displacement.valid[::-1]
    )
    return replace(motion, displacement=displacement, quality=motion.quality[::-1])
