"""Region motion exactly as the published extractor gives it, for released checkpoints.

Each window of ``k`` frames is measured against its own first frame: the face is cropped with one
box, Farneback flow is computed inside each region's patch, the largest displacements are averaged
and the nose tip's motion is subtracted.  Peculiarities are kept on purpose, because the released
weights were trained on them: the box is shifted by crop pixels taken for source pixels, slices may
be empty or wrap around, left and right differ.  Sources: ME-TST (arXiv 2409.09707), ME-TST+
(arXiv 2508.08082), BoostingVRME (arXiv 2508.18834) and their released extractor.
"""

from __future__ import annotations

from itertools import groupby
from typing import TypeAlias

import cv2
import numpy as np

from metst.arrays import Float32Array, FloatArray, Int64Array, IntArray, UInt8Array
from metst.errors import DataError
from metst.published.facts import BOX_REACH
from metst.regions import CROP_PX, HEAD, LANDMARK_COUNT, REGIONS, Patch, Pooling

GreyImage: TypeAlias = UInt8Array
Flow: TypeAlias = Float32Array
Vector: TypeAlias = Float32Array
Box: TypeAlias = tuple[int, int, int, int]
Slices: TypeAlias = tuple[slice, slice]

MAX_BOX_SHIFTS = 3
"""Most times that the box follows the nose within one frame, as in the released extractor."""

_INNER_EYE_CORNERS = [39, 42]  # landmarks, left and right in the image


def published_windows(frames: GreyImage, *, boxes: IntArray, landmarks: IntArray, window: int) -> Float32Array:
    """Motion of the 18 regions in overlapping windows, as published.

    Parameters
    ----------
    frames : (T, H, W) uint8
        Grey frames.
    boxes : (N, 4) int
        Per window the face box in its first frame: top, bottom, left, right, in source pixels.
        It may reach beyond the lower and right border, where the crop then ends.
    landmarks : (N, 68, 2) int
        Per window the landmarks (x, y) in the 320 px crop of its first frame.
    window : int
        Frames per window; the hop is ``window // 2`` and ``N = 1 + (T - window) // hop``.

    Returns
    -------
    (N, 36, window) float32
        Displacement against the window's first frame in pixels of the crop, channels as in
        :data:`metst.regions.CHANNEL_NAMES`; frames after the last whole window are left out.

    Raises
    ------
    DataError
        Wrong shape or type, a box that is empty or leaves the frame, fewer frames than a window.
    """
    starts = _window_starts(frames, boxes=boxes, landmarks=landmarks, window=window)
    motion = np.empty((len(starts), 2 * len(REGIONS), window), dtype=np.float32)
    for index, start in enumerate(starts):
        clip = frames[start : start + window]
        motion[index] = window_motion(clip, box=boxes[index], landmarks=landmarks[index])
    return motion


def window_motion(frames: GreyImage, *, box: IntArray, landmarks: IntArray) -> Float32Array:
    """Motion of the 18 regions in one window, ``(36, T)`` float32; see :func:`published_windows`.

    Parameters
    ----------
    frames : (T, H, W) uint8
        The window's grey frames.
    box : (4,) int
        Top, bottom, left, right in the first frame, source pixels.
    landmarks : (68, 2) int
        Points (x, y) in the 320 px crop of the first frame.

    Raises
    ------
    DataError
        When the box is empty, or leaves the frame while it follows the head.
    """
    top, bottom, left, right = (int(value) for value in box)
    current: Box = top, bottom, left, right
    anchor = crop_face(frames[0], current)
    plan = _plan(landmarks)
    motion = np.zeros((len(REGIONS), 2, len(frames)), dtype=np.float32)
    for step, frame in enumerate(frames[1:], start=1):
        crop, current, head = _follow_head(frame, current, anchor=anchor, landmarks=landmarks)
        for area, regions in plan:
            flow = patch_flow(anchor, crop, area=area)
            for index, inside, share in regions:
                motion[index, :, step] = _pool(flow[inside], share) - head
    return motion.reshape(2 * len(REGIONS), len(frames))


def published_boxes(landmarks: FloatArray | IntArray, *, frame_shape: tuple[int, int]) -> Int64Array:
    """Face boxes as published, from the landmarks of each window's first frame.

    With ``g`` half the distance between the inner eye corners, the box reaches 4.5 g to the sides,
    3.5 g up and 5.5 g down from the middle between them, all truncated to integers.

    Parameters
    ----------
    landmarks : (N, 68, 2) float or int
        Points (x, y) in source pixels.
    frame_shape : (int, int)
        Height and width of the frames.

    Returns
    -------
    (N, 4) int64
        Top, bottom, left, right; top and left stop at 0, bottom and right may lie beyond the frame.

    Raises
    ------
    DataError
        Wrong shape, eye corners too close or in the wrong order, a box outside of the frame.
    """
    if landmarks.ndim != 3 or landmarks.shape[1:] != (LANDMARK_COUNT, 2):
        raise DataError(f"landmarks must be (windows, {LANDMARK_COUNT}, 2), got {landmarks.shape}")
    left_eye, right_eye = np.moveaxis(landmarks[:, _INNER_EYE_CORNERS], 1, 0)
    half = np.trunc((right_eye[:, 0] - left_eye[:, 0]) / 2)
    if not (half >= 1).all():
        at = int(np.argmin(half >= 1))
        raise DataError(f"window {at}: the inner eye corners are not at least 2 px apart, left before right")
    x, y = np.trunc((left_eye + right_eye) / 2).T
    up, down, sideways = (np.trunc(reach * half) for reach in BOX_REACH.values())
    boxes = np.stack([np.maximum(y - up, 0), y + down, np.maximum(x - sideways, 0), x + sideways], axis=1)
    _check_boxes(boxes, frame_shape)
    return boxes.astype(np.int64)


def landmarks_in_crop(landmarks: FloatArray | IntArray, boxes: IntArray, *, frame_shape: tuple[int, int]) -> Int64Array:
    """Landmarks of the source frame in the 320 px crop, truncated to integers as published.

    Parameters
    ----------
    landmarks : (..., 68, 2) float or int
        Points (x, y) in source pixels.
    boxes : (..., 4) int
        Top, bottom, left, right as from :func:`published_boxes`.
    frame_shape : (int, int)
        Height and width of the frames, where a crop ends.
    """
    top, bottom, left, right = np.moveaxis(np.asarray(boxes), -1, 0)
    height, width = frame_shape
    origin = np.stack([left, top], axis=-1)
    size = np.stack([np.minimum(right, width), np.minimum(bottom, height)], axis=-1) - origin
    scaled: FloatArray = (landmarks - origin[..., None, :]) * (CROP_PX / size[..., None, :])
    return scaled.astype(np.int64)


def crop_face(frame: GreyImage, box: Box) -> GreyImage:
    """The box of a frame, bilinearly resized to 320 x 320.

    Raises
    ------
    DataError
        When the box holds no pixel of the frame.
    """
    top, bottom, left, right = box
    inside = frame[top:bottom, left:right]
    if inside.size == 0:
        raise DataError(
            f"the face box {box} (top, bottom, left, right) has left the {frame.shape} frame: leave this window out"
        )
    return np.asarray(cv2.resize(inside, (CROP_PX, CROP_PX)), dtype=np.uint8)


def patch_flow(anchor: GreyImage, crop: GreyImage, *, area: Slices) -> Flow:
    """Farneback flow ``(h, w, 2)`` from the anchor to the crop inside one patch; empty for an empty patch."""
    before, after = anchor[area], crop[area]
    flow = np.zeros((*before.shape, 2), dtype=np.float32)
    if before.size:
        cv2.calcOpticalFlowFarneback(
            before, after, flow, pyr_scale=0.5, levels=3, winsize=15, iterations=5, poly_n=7, poly_sigma=1.5, flags=0
        )
    return flow


def patch_slices(patch: Patch, landmarks: IntArray) -> Slices:
    """Rows and columns of a patch in the crop."""
    top, bottom, left, right = _reach(patch, landmarks)
    if patch.rows_below is not None:
        middle, half = (top + bottom) / 2, (right - left) / 2
        top, bottom = (int(middle + distance * half) for distance in patch.rows_below)
    rows = slice(max(top, 0) if patch.clip_top else top, bottom)
    return rows, slice(max(left, 0) if patch.clip_left else left, right)


def pooled_slices(pooling: Pooling, landmarks: IntArray) -> Slices:
    """Rows and columns, inside the flow of its patch, that a region is averaged over.

    Squares are placed from the patch's unclipped origin.  Where a brow's patch is cut off by the
    crop's upper border, the border dropped there shrinks by as much.
    """
    patch, cut = pooling.patch, pooling.cut
    origin_top, _, origin_left, _ = _reach(patch, landmarks)
    if pooling.point is not None:
        x, y = (int(value) for value in landmarks[pooling.point])
        x, y = x - origin_left, y - origin_top
        return slice(y - cut.top, y + cut.bottom), slice(x - cut.left, x + cut.right)
    top, bottom = cut.top, cut.bottom
    if patch.clip_top:
        top = max(0, cut.top + min(0, origin_top))
    rows, _ = patch_slices(patch, landmarks)
    if pooling.low_patch_bottom is not None and rows.stop - rows.start - 3 < cut.bottom + top:
        bottom = pooling.low_patch_bottom
    return slice(top, -bottom), slice(cut.left, -cut.right)


def shifted_box(box: Box, motion: Vector) -> Box:
    """The box moved by the nose's motion (x, y), rounded; top and left stop at 0."""
    top, bottom, left, right = box
    x, y = (round(float(value)) for value in motion)
    return max(top + y, 0), bottom + y, max(left + x, 0), right + x


def _plan(landmarks: IntArray) -> list[tuple[Slices, list[tuple[int, Slices, float]]]]:
    """Each patch once, with the index, pixels and share of the regions that are read from its flow."""
    return [
        (
            patch_slices(patch, landmarks),
            [
                (region.number - 1, pooled_slices(region.published, landmarks), region.published.share)
                for region in group
            ],
        )
        for patch, group in groupby(REGIONS, lambda region: region.published.patch)
    ]


def _follow_head(
    frame: GreyImage, box: Box, *, anchor: GreyImage, landmarks: IntArray
) -> tuple[GreyImage, Box, Vector]:
    """Crop of a frame, the box it was cut with, and the nose's motion left in it."""
    area, pooled = patch_slices(HEAD.patch, landmarks), pooled_slices(HEAD, landmarks)
    for shifts_left in range(MAX_BOX_SHIFTS, -1, -1):
        crop = crop_face(frame, box)
        head = _pool(patch_flow(anchor, crop, area=area)[pooled], HEAD.share)
        if not shifts_left or (head**2).sum() <= 1:
            break
        box = shifted_box(box, head)
    return crop, box, head


def _pool(flow: Flow, share: float) -> Vector:
    """Mean (x, y) of the given share of flow vectors, the longest ones; zero when there is none.

    Ranked by the same routine and summed in the same order and precision as published, from the shortest to the
    longest: near-ties and rounding then fall alike, and the result is equal to the last bit.
    """
    if not flow.size:
        return np.zeros(2, dtype=np.float32)
    length = np.asarray(cv2.cartToPolar(flow[..., 0], flow[..., 1])[0]).ravel()
    longest = np.argsort(length)[int(len(length) * (1 - share)) :]
    total: Vector = np.add.accumulate(flow.reshape(-1, 2)[longest], axis=0)[-1]
    return total / np.float32(len(longest))


def _reach(patch: Patch, landmarks: IntArray) -> Box:
    """Top, bottom, left, right of a patch's bounding box with its margins, not clipped."""
    points = landmarks[list(patch.points)]
    left, top = (int(value) for value in points.min(axis=0))
    right, bottom = (int(value) for value in points.max(axis=0))
    margin = patch.margin
    return top - margin.top, bottom + margin.bottom, left - margin.left, right + margin.right


def _window_starts(frames: GreyImage, *, boxes: IntArray, landmarks: IntArray, window: int) -> range:
    """First frame of each window, once everything that is needed for it fits together."""
    if frames.ndim != 3 or frames.dtype != np.uint8:
        raise DataError(f"frames must be grey (T, H, W) uint8, got {frames.shape} {frames.dtype}")
    if window < 2:
        raise DataError(f"a window needs at least 2 frames, got {window}")
    if len(frames) < window:
        raise DataError(f"{len(frames)} frames do not fill one window of {window}: give more of them")
    hop = window // 2
    starts = range(0, len(frames) - window + 1, hop)
    _check_integers("boxes", boxes, shape=(len(starts), 4))
    _check_integers("landmarks", landmarks, shape=(len(starts), LANDMARK_COUNT, 2))
    _check_boxes(boxes, frames.shape[1:])
    return starts


def _check_integers(name: str, values: IntArray, *, shape: tuple[int, ...]) -> None:
    if values.shape != shape or not np.issubdtype(values.dtype, np.integer):
        raise DataError(f"{name} must be integers of shape {shape}, got {values.shape} {values.dtype}")


def _check_boxes(boxes: IntArray | FloatArray, frame_shape: tuple[int, ...]) -> None:
    """Every box must hold at least one pixel of the frame and start inside of it."""
    start, stop = boxes[:, [0, 2]], np.minimum(boxes[:, [1, 3]], frame_shape)
    holds_pixels = ((start >= 0) & (start < stop)).all(axis=1)
    if not holds_pixels.all():
        at = int(np.argmin(holds_pixels))
        box = [int(value) for value in boxes[at]]
        raise DataError(f"window {at}: the box {box} (top, bottom, left, right) does not lie on a {frame_shape} frame")
