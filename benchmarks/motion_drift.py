"""How far displacement drifts: a stretch of a clip is played forth and back, so that the same pictures come again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from motion_clips import RATE_HZ
from motion_speed import as_frames

from metst.face import FaceFrame, FaceTracker
from metst.motion import extract_motion
from metst.video import read_frames

STRETCH_S = 10.0
"""Length of the stretch that is played, from the beginning of the clip."""

ASKED_S = (30, 60, 151, 295, 439, 900, 1800, 2820, 3600)
"""When the drift is printed, seconds."""


def drift(path: Path, *, minutes: float) -> None:
    """Print how far the displacement of a picture is from what it was when the picture was first seen.

    Medians over one round, forth and back: of the median region, and of the worst one.  Pictures are compared within
    one segment, as displacement begins anew after a gap; it is printed how many frames have motion.
    """
    pictures = np.stack([frame.grey for frame in islice(read_frames(path), round(STRETCH_S * RATE_HZ))])
    count, faces = round(60 * RATE_HZ * minutes), FaceTracker()
    order = np.array([*range(len(pictures)), *range(len(pictures) - 2, 0, -1)])

    def track() -> Iterator[FaceFrame]:
        return (faces.update(frame) for frame in as_frames(pictures, count=count))

    motion = extract_motion(track())
    off = _off(motion.displacement.values, motion.displacement.valid, order[np.arange(count) % len(order)])
    valid, quality = motion.displacement.valid.mean(), float(np.mean(motion.quality))
    print(f"{path.name}: {len(pictures)} pictures, {count} frames, {valid:.2%} with motion, mean quality {quality:.2f}")
    for seconds in (*(each for each in ASKED_S if each < 60 * minutes), 60 * minutes):
        last = round(seconds * RATE_HZ)
        by_region = np.nanmedian(off[max(last - len(order), 0) : last], axis=0)
        print(f"  {seconds:6.0f} s: median region {np.median(by_region):.4f}, worst {by_region.max():.4f} face units")


def _off(values: np.ndarray, valid: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Distance ``(T, 18)`` of the displacement ``(T, 18, 2)`` from the first of the same picture in the segment."""
    off, first = np.full(values.shape[:2], np.nan), {}
    for t, picture in enumerate(pictures):
        if not valid[t]:
            first = {}
            continue
        off[t] = np.linalg.norm(values[t] - first.setdefault(int(picture), values[t]), axis=-1)
    return off
