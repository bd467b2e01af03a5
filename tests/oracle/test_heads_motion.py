"""Rendered motion as optical flow sees it against the projected motion of the mesh."""

import cv2
import numpy as np
import pytest

from helpers.heads import ball_head, real_head
from metst.face import FaceTracker
from metst.synthesis.events import PlantedEvent
from metst.synthesis.heads.model import HeadModel
from metst.synthesis.heads.render import render_scene, scene_landmarks
from metst.synthesis.heads.scene import HeadScene
from metst.video import Frame

STILL = {
    "behaviour": {"blinks_per_min": 0, "gaze_shifts_per_min": 0},
    "motion": {"wander_deg": 0, "wander_share": 0, "tremor_deg": 0},
    "light": {"flicker": 0, "drift": 0, "gloss": 0},
    "camera": {"noise_sigma": 0.5},
}
REST_AND_APEX = [0.0, 0.5]


def event(units: dict[str, float]) -> PlantedEvent:
    return PlantedEvent(0.2, 0.5, 0.8, "x", units)


def grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def measured_and_true(model: HeadModel, scene: HeadScene, *, units: dict[str, float], points: list[int]) -> np.ndarray:
    """(2, N, 2) displacement of landmarks from rest to apex: by optical flow, and by projection."""
    events = (event(units),)
    rest, apex = render_scene(scene, time_s=REST_AND_APEX, events=events, rng_seed=1, model=model)
    true = scene_landmarks(scene, time_s=REST_AND_APEX, events=events, rng_seed=1, model=model)[:, points]
    start = true[0].astype(np.float32)[:, None]
    found, good, _ = cv2.calcOpticalFlowPyrLK(grey(rest), grey(apex), start, None, winSize=(17, 17), maxLevel=1)
    assert good.all()
    return np.stack([(found - start)[:, 0], true[1] - true[0]])


@pytest.mark.parametrize("family", ["ball", "anny", "ict"])
@pytest.mark.parametrize(
    ("units", "points"), [({"1": 0.2}, [19, 20, 21, 22, 23, 24]), ({"12": 0.2}, [48, 54])], ids=["brows", "mouth"]
)
def test_flow_sees_the_projected_motion(family: str, units: dict[str, float], points: list[int]) -> None:
    model = ball_head() if family == "ball" else real_head(family)
    scene = HeadScene(family=model.name, variety=0, skin={"tone": 0.2, "hair": 0.1, "texture": 1.5}, **STILL)
    measured, true = measured_and_true(model, scene, units=units, points=points)
    assert np.linalg.norm(true, axis=1).max() > 0.5
    slope = (measured * true).sum() / (true**2).sum()
    assert 0.7 < slope < 1.2
    cosine = (measured * true).sum() / np.linalg.norm(measured) / np.linalg.norm(true)
    assert cosine > 0.9


@pytest.mark.parametrize("shift_px", [0.1, 0.35])
def test_a_shift_below_one_pixel_is_rendered_as_it_is(shift_px: float) -> None:
    model = ball_head()
    images = []
    for column in (320.0, 320.0 + shift_px):
        scene = HeadScene(centre=(column / 640, 0.45), skin={"texture": 1.5}, background="plain", **STILL)
        images.append(grey(next(iter(render_scene(scene, time_s=[0.0], events=(), rng_seed=1, model=model)))))
    start = np.array([[[290, 285]], [[320, 300]], [[350, 285]], [[320, 260]]], dtype=np.float32)
    found, _, _ = cv2.calcOpticalFlowPyrLK(*images, start, None, winSize=(41, 41), maxLevel=0)
    moved = (found - start)[:, 0].mean(axis=0)
    assert moved[0] == pytest.approx(shift_px, abs=0.05)
    assert moved[1] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("family", ["anny", "ict"])
def test_the_face_tracker_finds_rendered_heads_where_they_are(family: str) -> None:
    model = real_head(family)
    for identity in (1, 2, 3):
        scene = HeadScene(family=family, identity=identity, **STILL)
        image = next(iter(render_scene(scene, time_s=[0.0], events=(), rng_seed=1, model=model)))
        found = FaceTracker().update(Frame(index=0, time_s=0.0, grey=grey(image)))
        assert found.face is not None, found.reason
        truth = scene_landmarks(scene, time_s=[0.0], events=(), rng_seed=1, model=model)[0]
        error = np.linalg.norm(found.face.landmarks - truth, axis=1)[17:]
        assert np.median(error) < 0.06 * scene.eye_distance_px
