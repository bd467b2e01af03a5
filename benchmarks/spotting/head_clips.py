"""Clips of rendered heads: the micro-expressions are part of the rendering, and so are acts that are none."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from plan import ClipPlan

from metst.results import table_of
from metst.storage import write_parts
from metst.synthesis.behaviour import BehaviourSettings
from metst.synthesis.clip import truth_table
from metst.synthesis.events import draw_schedule
from metst.synthesis.heads.load import load_head_model
from metst.synthesis.heads.model import HeadModel
from metst.synthesis.heads.render import render_scene
from metst.synthesis.heads.scene import CameraSettings, HeadScene, LightSettings, MotionSettings
from metst.timeline import TimeGrid
from metst.video import write_video

_WIDTH, _HEIGHT, _EYE_DISTANCE = 400, 400, 90.0
_SIDES_DEG = (-60.0, 60.0)

BEHAVIOURS = {
    "blinks": BehaviourSettings(blinks_per_min=40),
    "talking": BehaviourSettings(speech_per_min=20),
    "laughing": BehaviourSettings(laughs_per_min=14, macros_per_min=6),
}
HEADS_MOVE = {
    "turning": MotionSettings(turns_per_min=20),
    "nodding": MotionSettings(nods_per_min=30),
}


def scene_of(clip: ClipPlan) -> HeadScene:
    """Who is seen, in which light, and what happens besides the micro-expressions."""
    rng = np.random.default_rng([clip.stretch.seed, clip.seed])
    side, noise, defocus = rng.uniform(*_SIDES_DEG), rng.uniform(0.5, 3.0), rng.uniform(0.3, 1.0)
    return HeadScene(
        identity=clip.stretch.seed,
        eye_distance_px=_EYE_DISTANCE,
        camera=CameraSettings(width=_WIDTH, height=_HEIGHT, noise_sigma=noise, defocus_px=defocus),
        light=LightSettings(side_deg=side, flicker=0.04 if clip.act == "flicker" else 0.004),
        behaviour=BEHAVIOURS.get(clip.act or "", BehaviourSettings()),
        motion=HEADS_MOVE.get(clip.act or "", MotionSettings()),
    )


def write_head_clip(folder: Path, *, clip: ClipPlan, model: Path) -> None:
    """Video and truth, as :func:`metst.synthesis.clip.write_clip` lays them out."""
    count = round(clip.stretch.duration_s * clip.stretch.rate_hz)
    time_s = np.arange(count) / clip.stretch.rate_hz
    events = draw_schedule(
        np.random.default_rng(clip.seed), count=clip.count, start_s=clip.start_s, end_s=float(time_s[-1]),
        amplitude=clip.amplitude,
    )  # fmt: skip
    images = render_scene(scene_of(clip), time_s=time_s, events=events, rng_seed=clip.seed, model=_model(model))
    folder.mkdir(parents=True, exist_ok=True)
    write_video(folder / "planted.mp4", images, times_s=time_s.tolist(), crf=clip.crf, codec=clip.codec)
    truth = truth_table(events, grid=TimeGrid(time_s), video="planted.mp4")
    write_parts(folder / "truth.csv", table_of(truth).csv_parts())


@cache
def _model(path: Path) -> HeadModel:
    return load_head_model(path)
