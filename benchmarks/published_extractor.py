"""The published motion extractor as it runs: the yardstick for speed and accuracy of our own.

The tables and slices are those of the product; what differs is how the work is done.  Every frame is processed once
per window, that is twice, each region's mean is a Python loop over its pixels, and each window is measured from
scratch.  Run ``python benchmarks/published_extractor.py CLIP.npz`` with arrays ``frames``, ``boxes``, ``landmarks``
as :func:`metst.motion.published_windows` takes them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from metst.arrays import IntArray
from metst.published.extractor import (
    MAX_BOX_SHIFTS,
    Flow,
    GreyImage,
    Slices,
    crop_face,
    patch_flow,
    patch_slices,
    pooled_slices,
    published_windows,
    shifted_box,
)
from metst.regions import HEAD, REGIONS, Pooling


def extract_reference(frames: GreyImage, *, boxes: IntArray, landmarks: IntArray, window: int) -> Flow:
    """Same as :func:`metst.motion.published_windows`, in the published way of computing it."""
    starts = range(0, len(frames) - window + 1, window // 2)
    clips = [frames[start : start + window] for start in starts]
    return np.stack(
        [_window(clip, box=box, landmarks=points) for clip, box, points in zip(clips, boxes, landmarks, strict=True)]
    )


def _window(frames: GreyImage, *, box: IntArray, landmarks: IntArray) -> Flow:
    box = tuple(int(value) for value in box)
    anchor = crop_face(frames[0], box)
    curves = [[(0.0, 0.0)] for _ in REGIONS]
    for frame in frames[1:]:
        crop = crop_face(frame, box)
        head_x, head_y = _motion(HEAD, anchor, crop=crop, landmarks=landmarks)
        shifts = 0
        while head_x**2 + head_y**2 > 1 and shifts < MAX_BOX_SHIFTS:
            shifts += 1
            box = shifted_box(box, np.array([head_x, head_y]))
            crop = crop_face(frame, box)
            head_x, head_y = _motion(HEAD, anchor, crop=crop, landmarks=landmarks)
        flows: dict[object, Flow] = {}
        for curve, region in zip(curves, REGIONS, strict=True):
            pooling = region.published
            if pooling.patch not in flows:
                flows[pooling.patch] = patch_flow(anchor, crop, area=patch_slices(pooling.patch, landmarks))
            x, y = _mean_in_a_loop(flows[pooling.patch], pooled_slices(pooling, landmarks), share=pooling.share)
            curve.append((x - head_x, y - head_y))
    return np.array(curves).transpose(0, 2, 1).reshape(2 * len(REGIONS), len(frames)).astype(np.float32)


def _motion(pooling: Pooling, anchor: GreyImage, *, crop: GreyImage, landmarks: IntArray) -> tuple[float, float]:
    flow = patch_flow(anchor, crop, area=patch_slices(pooling.patch, landmarks))
    return _mean_in_a_loop(flow, pooled_slices(pooling, landmarks), share=pooling.share)


def _mean_in_a_loop(flow: Flow, inside: Slices, *, share: float) -> tuple[float, float]:
    flow = flow[inside]
    if flow.size == 0:
        return 0.0, 0.0
    length, _ = cv2.cartToPolar(flow[:, :, 0], flow[:, :, 1], angleInDegrees=True)
    x, y = np.ravel(flow[:, :, 0]), np.ravel(flow[:, :, 1])
    order = np.argsort(np.ravel(length))
    dropped = int(len(order) * (1 - share))
    sum_x = sum_y = 0
    for index in range(dropped, len(order)):
        sum_x += x[order[index]]
        sum_y += y[order[index]]
    return sum_x / (len(order) - dropped), sum_y / (len(order) - dropped)


def _best_ms_per_frame(extract: Callable[[], Flow], *, frames: int, repeats: int) -> tuple[float, Flow]:
    best, motion = np.inf, np.zeros(0, dtype=np.float32)
    for _ in range(repeats):
        start = time.perf_counter()
        motion = extract()
        best = min(best, time.perf_counter() - start)
    return best / frames * 1e3, motion


def main() -> None:
    """Print milliseconds per frame of both on one core, and how far apart their features are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path, help=".npz with frames, boxes and landmarks")
    parser.add_argument("--window", type=int, default=30, help="frames per window")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the fastest counts")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with np.load(options.clip) as clip:
        frames, given = clip["frames"], {"boxes": clip["boxes"], "landmarks": clip["landmarks"]}
    measured = [
        _best_ms_per_frame(
            lambda extract=extract: extract(frames, **given, window=options.window),
            frames=len(frames),
            repeats=options.repeats,
        )
        for extract in (extract_reference, published_windows)
    ]
    (reference_ms, reference), (product_ms, product) = measured
    print(f"published way  {reference_ms:6.2f} ms/frame")
    print(f"metst          {product_ms:6.2f} ms/frame  ({reference_ms / product_ms:.2f} times as fast)")
    print(f"largest difference {np.abs(reference - product).max():.2g} px over {reference.shape}")


if __name__ == "__main__":
    main()
