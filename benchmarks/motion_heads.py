"""Rendered heads whose regions move by known amounts: the mesh is projected with and without what is planted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from motion_clips import Condition, compress

from metst.face import FaceFrame, FaceTracker
from metst.motion import extract_motion
from metst.motion.canonical import make_grid, region_masks
from metst.regions import OUTER_EYE_CORNERS
from metst.results.motion import Motion
from metst.synthesis.behaviour import BehaviourSettings
from metst.synthesis.events import PlantedEvent
from metst.synthesis.heads.model import HeadModel
from metst.synthesis.heads.raster import visible
from metst.synthesis.heads.render import _Stage, render_scene
from metst.synthesis.heads.scene import HeadScene, LightSettings, MotionSettings, draw_course
from metst.video import Frame

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.heads import real_head

HEAD_RATE_HZ, HEAD_LENGTH_S = 25.0, 5.0
STARTS_S = (0.6, 1.7, 2.8, 3.9)
UNITS = ("1", "2", "4", "5", "6", "7", "9", "10", "12", "14", "15", "17", "20", "24", "25")
AT_REST = BehaviourSettings(blinks_per_min=0, gaze_shifts_per_min=0)
HELD_STILL = MotionSettings(wander_deg=0, wander_share=0, tremor_deg=0)


@dataclass(frozen=True)
class HeadClip:
    """Grey frames (T, H, W), and the true motion of the regions (T, 18, 2) that the planted events add, face units."""

    frames: np.ndarray
    truth: np.ndarray


def head_clip(family: str, identity: int, *, moving: bool, seed: int) -> HeadClip:
    """Five seconds of a head that rests or wanders, with four movements of two action units each."""
    model, rng = real_head(family), np.random.default_rng(seed)
    motion = MotionSettings() if moving else HELD_STILL
    light = LightSettings(flicker=0, drift=0)
    scene = HeadScene(family=family, identity=identity, behaviour=AT_REST, light=light, motion=motion)
    time_s, events = np.arange(round(HEAD_RATE_HZ * HEAD_LENGTH_S)) / HEAD_RATE_HZ, tuple(_events(rng))
    images = render_scene(scene, time_s=time_s, events=events, rng_seed=seed, model=model)
    frames = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])
    stage = _Stage.of(scene, model=model)
    courses = [draw_course(scene, time_s=time_s, events=each, rng_seed=seed) for each in (events, ())]
    weights = region_weights(stage.project(stage.mesh(courses[1], 0)), scene, model=model)
    truth = []
    for frame in range(len(time_s)):
        with_events, without = (stage.project(stage.mesh(course, frame))[:, :2] for course in courses)
        moved = ((with_events - without) @ [1, 1j]) / between_corners(without[model.landmarks])[0]
        truth.append(np.stack([weights @ moved.real, weights @ moved.imag], axis=-1))
    return HeadClip(frames, np.stack(truth))


def _events(rng: np.random.Generator) -> Iterator[PlantedEvent]:
    for start_s in STARTS_S:
        units = {str(unit): float(rng.uniform(0.05, 0.6)) for unit in rng.choice(UNITS, 2, replace=False)}
        onset_s = start_s + rng.uniform(0, 0.2)
        apex_s = onset_s + rng.uniform(0.12, 0.3)
        yield PlantedEvent(onset_s, apex_s, apex_s + rng.uniform(0.15, 0.5), "planted", units)


def between_corners(points: np.ndarray) -> tuple[complex, complex]:
    """A face unit in pixels, turned as the head is, and the middle of the outer eye corners; of 68 points."""
    left, right = (complex(*points[corner]) for corner in OUTER_EYE_CORNERS)
    return right - left, (left + right) / 2


def region_weights(screen: np.ndarray, scene: HeadScene, *, model: HeadModel) -> np.ndarray:
    """Share of each vertex in the mean motion of each region, (18, V): by the skin that is seen there."""
    unit, middle = between_corners(screen[model.landmarks, :2])
    points = (screen[model.landmarks, :2] @ [1, 1j] - middle) / unit
    grid = make_grid(64, 8)
    masks = region_masks(grid, np.stack([points.real, points.imag], axis=-1).astype(np.float32))
    x, y = grid.coordinates()
    at = ((x + 1j * y) * unit + middle).ravel()
    owner, shares = visible(screen.astype(np.float32), model.triangles, scene.camera.height, scene.camera.width)
    row, column = np.round(at.imag).astype(int), np.round(at.real).astype(int)
    seen, triangles = owner[row, column], model.triangles
    skin = (seen >= 0) & ~np.isin(triangles[seen], np.concatenate(model.eyes)).any(axis=-1)
    second, third = shares[row, column].T
    weights = np.zeros((len(masks), len(screen)))
    for mask, own in zip(masks, weights, strict=True):
        share = mask * skin
        for corner, part in enumerate((1 - second - third, second, third)):
            np.add.at(own, triangles[seen, corner], share * part)
    return weights / weights.sum(axis=1, keepdims=True)


def head_motion(clip: HeadClip, *, crf: int | None) -> Motion:
    """What is measured of it, landmarks by the product's own networks."""
    frames, faces = compress(clip.frames, Condition(crf=crf)), FaceTracker()

    def track() -> Iterator[FaceFrame]:
        return (faces.update(Frame(i, i / HEAD_RATE_HZ, grey)) for i, grey in enumerate(frames))

    return extract_motion(track())
