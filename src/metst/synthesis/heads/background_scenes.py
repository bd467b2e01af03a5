"""Scenes in which a rendered head does everything but micro-expressions: what training plants them into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metst.synthesis.behaviour import BehaviourSettings
from metst.synthesis.heads.scene import CameraSettings, HeadScene, LightSettings, MotionSettings
from metst.synthesis.measurement import log_uniform

FIRST_IDENTITY = 10_000
"""Identities from here on are those of backgrounds: no clip that anything is measured on shows one of them."""

_SIDE_PX = 400
_RATES_HZ = (25.0, 30.0, 30.0)
_LOWEST_CRF, _HIGHEST_CRF = 16, 29


@dataclass(frozen=True)
class BackgroundScene:
    """One clip without a micro-expression.

    Parameters
    ----------
    scene : HeadScene
        Who is seen, in which light, and what the head and the face do.
    rate_hz : float
        Frames per second.
    crf : int
        H.264 quality.
    """

    scene: HeadScene
    rate_hz: float
    crf: int


def draw_background(seed: int) -> BackgroundScene:
    """A scene by its number: another person each, from a calm sitter to one who talks, laughs and turns.

    What a face does is drawn per scene, each with a rate of its own, so that calm recordings are as
    frequent as lively ones: a network must be sensitive in the first and careful in the second.
    """
    rng = np.random.default_rng([seed, 11])

    def rate(share: float, low: float, high: float) -> float:
        often = float(rng.uniform(low, high))
        return often if rng.random() < share else 0.0

    behaviour = BehaviourSettings(
        blinks_per_min=rate(0.9, 4.0, 35.0),
        speech_per_min=rate(0.4, 4.0, 16.0),
        laughs_per_min=rate(0.25, 3.0, 10.0),
        macros_per_min=rate(0.35, 3.0, 10.0),
        yawns_per_min=rate(0.1, 1.0, 3.0),
        swallows_per_min=rate(0.5, 1.0, 6.0),
        gaze_shifts_per_min=rate(0.9, 4.0, 40.0),
        gaze_deg=float(rng.uniform(2.0, 12.0)),
    )
    motion = MotionSettings(
        wander_deg=log_uniform(rng, (0.15, 4.0)),
        wander_share=log_uniform(rng, (0.004, 0.05)),
        tremor_deg=log_uniform(rng, (0.01, 0.2)),
        nods_per_min=rate(0.4, 2.0, 20.0),
        turns_per_min=rate(0.3, 2.0, 12.0),
    )
    light = LightSettings(
        side_deg=float(rng.uniform(-60, 60)),
        up_deg=float(rng.uniform(5, 60)),
        flicker=log_uniform(rng, (0.001, 0.015)),
        drift=log_uniform(rng, (0.003, 0.05)),
        gloss=float(rng.uniform(0.0, 0.15)),
    )
    camera = CameraSettings(
        width=_SIDE_PX,
        height=_SIDE_PX,
        noise_sigma=log_uniform(rng, (0.4, 5.0)),
        defocus_px=float(rng.uniform(0.2, 1.4)),
    )
    scene = HeadScene(
        identity=FIRST_IDENTITY + seed,
        eye_distance_px=float(rng.uniform(60, 140)),
        background=("plain", "gradient", "textured")[rng.integers(3)],
        light=light,
        camera=camera,
        motion=motion,
        behaviour=behaviour,
    )
    return BackgroundScene(scene, _RATES_HZ[rng.integers(len(_RATES_HZ))], int(rng.integers(_LOWEST_CRF, _HIGHEST_CRF)))
