"""Scenes in which a rendered head does everything but micro-expressions: what training plants them into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from metst.synthesis.behaviour import BehaviourSettings
from metst.synthesis.chance import log_uniform
from metst.synthesis.heads.scene import CameraSettings, HeadScene, LightSettings, MotionSettings

FIRST_IDENTITY = 10_000
"""Identities from here on are those of backgrounds: no clip that anything is measured on shows one of them."""

# Of the numbers drawn here, beside others with the same seed; set by hand.
_STREAM = 11

# The range of scenes: pairs are the ends of a uniform draw (log-uniform: in logarithm).  All set by hand, from calm and
# well recorded to lively and badly recorded.
_SIDE_PX = 400
_RATES_HZ = (25.0, 30.0, 30.0)  # as often each
_CRF = (16, 29)  # lower than the second
# Share of scenes in which it happens at all, and the range of its rate there.
_BEHAVIOUR: Mapping[str, tuple[float, float, float]] = {
    "blinks_per_min": (0.9, 4.0, 35.0),
    "speech_per_min": (0.4, 4.0, 16.0),
    "laughs_per_min": (0.25, 3.0, 10.0),
    "macros_per_min": (0.35, 3.0, 10.0),
    "yawns_per_min": (0.1, 1.0, 3.0),
    "swallows_per_min": (0.5, 1.0, 6.0),
    "gaze_shifts_per_min": (0.9, 4.0, 40.0),
}
_GAZE_DEG = (2.0, 12.0)
_NODS_PER_MIN, _TURNS_PER_MIN = (0.4, 2.0, 20.0), (0.3, 2.0, 12.0)  # share of scenes, range of rates
_WANDER_DEG, _WANDER, _TREMOR_DEG = (0.15, 4.0), (0.004, 0.05), (0.01, 0.2)  # standard deviations, log-uniform
_LIGHT_SIDE_DEG, _LIGHT_UP_DEG, _GLOSS = (-60, 60), (5, 60), (0.0, 0.15)
_FLICKER, _DRIFT = (0.001, 0.015), (0.003, 0.05)  # standard deviations of the exposure, log-uniform
_NOISE, _DEFOCUS_PX = (0.4, 5.0), (0.2, 1.4)  # grey levels, log-uniform
_EYES_PX = (60, 140)  # distance of the outer eye corners


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
    rng = np.random.default_rng([seed, _STREAM])

    def rate(share: float, low: float, high: float) -> float:
        often = float(rng.uniform(low, high))
        return often if rng.random() < share else 0.0

    rates = {name: rate(*how) for name, how in _BEHAVIOUR.items()}
    behaviour = BehaviourSettings.model_validate(rates | {"gaze_deg": float(rng.uniform(*_GAZE_DEG))})
    motion = MotionSettings(
        wander_deg=log_uniform(rng, _WANDER_DEG),
        wander_share=log_uniform(rng, _WANDER),
        tremor_deg=log_uniform(rng, _TREMOR_DEG),
        nods_per_min=rate(*_NODS_PER_MIN),
        turns_per_min=rate(*_TURNS_PER_MIN),
    )
    light = LightSettings(
        side_deg=float(rng.uniform(*_LIGHT_SIDE_DEG)),
        up_deg=float(rng.uniform(*_LIGHT_UP_DEG)),
        flicker=log_uniform(rng, _FLICKER),
        drift=log_uniform(rng, _DRIFT),
        gloss=float(rng.uniform(*_GLOSS)),
    )
    camera = CameraSettings(
        width=_SIDE_PX,
        height=_SIDE_PX,
        noise_sigma=log_uniform(rng, _NOISE),
        defocus_px=float(rng.uniform(*_DEFOCUS_PX)),
    )
    scene = HeadScene(
        identity=FIRST_IDENTITY + seed,
        eye_distance_px=float(rng.uniform(*_EYES_PX)),
        background=("plain", "gradient", "textured")[rng.integers(3)],
        light=light,
        camera=camera,
        motion=motion,
        behaviour=behaviour,
    )
    return BackgroundScene(scene, _RATES_HZ[rng.integers(len(_RATES_HZ))], int(rng.integers(*_CRF)))
