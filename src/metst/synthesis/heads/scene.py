"""The recipe of a rendered clip, and how head and gaze move in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from metst.arrays import Float64Array
from metst.config import FaceSettings, Settings
from metst.errors import UsageError
from metst.synthesis.behaviour import Behaviour, BehaviourSettings, draw_behaviour, smooth_course
from metst.synthesis.events import PlantedEvent
from metst.synthesis.expression_shapes import shape_weights
from metst.synthesis.habits import NOD_DEG, draw_nod, stroke
from metst.synthesis.heads.skin import SkinSettings
from metst.timeline import MINUTE_S

# How the head moves beside its settings; pairs are the ends of a uniform draw.  Set by hand.
_STREAM = 1  # of the numbers drawn here, beside others with the same seed
_EXPOSURE_S = 0.8  # grain of slow changes of the exposure: standard deviation of the Gaussian that smooths noise
_TURN_SHARES = (0.8, 1.0, 0.6)  # of the slow rotation: pitch, yaw, roll
_WANDER_S, _TREMOR_S, _SHIFT_S = (0.6, 2.0), 0.06, 1.2  # grains of slow rotation, quick rotation, slow shifts
_TURN_S, _TURN = (1.5, 4.0), (0.3, 1)  # length; share of the largest turn
_LIDS_DEG = 30.0  # gaze at which the shape of a look is full

_LEAST_EYES_PX = FaceSettings().min_eye_distance_px  # under which the tracker calls a face too small
_MOST_EYES = 0.45  # share of the picture's shorter side; set by hand


class LightSettings(Settings):
    """One key light and what comes from everywhere."""

    side_deg: float = Field(25.0, ge=-90, le=90, description="key light to image right (negative: left), degrees")
    up_deg: float = Field(35.0, ge=-30, le=85, description="key light above the eyes, degrees")
    key: float = Field(0.75, ge=0, le=3, description="strength of the key light")
    ambient: float = Field(0.35, gt=0, le=2, description="light from everywhere")
    gloss: float = Field(0.06, ge=0, le=0.5, description="shine of the skin")
    flicker: float = Field(
        0.004, ge=0, le=0.1, description="standard deviation of the exposure from frame to frame, share"
    )
    drift: float = Field(0.01, ge=0, le=0.2, description="standard deviation of slow changes of the exposure, share")


class CameraSettings(Settings):
    """Picture size and faults of the camera."""

    width: int = Field(640, ge=64, le=4096, description="pixels, even")
    height: int = Field(480, ge=64, le=4096, description="pixels, even")
    noise_sigma: float = Field(1.5, ge=0, le=30, description="sensor noise at 8 bits, grey levels")
    defocus_px: float = Field(0.5, ge=0, le=10, description="standard deviation of the blur, px")
    distance: float = Field(7.0, ge=2.5, le=100, description="camera to eyes, eye-corner distances")

    @model_validator(mode="after")
    def _even(self) -> Self:
        if self.width % 2 or self.height % 2:
            raise ValueError(f"a picture of {self.width}x{self.height} px has an odd side: make both even")
        return self


class MotionSettings(Settings):
    """How the head moves."""

    wander_deg: float = Field(1.0, ge=0, le=20, description="standard deviation of slow head rotation, degrees")
    wander_share: float = Field(
        0.02, ge=0, le=0.5, description="standard deviation of slow shifts, eye-corner distances"
    )
    tremor_deg: float = Field(0.05, ge=0, le=2, description="standard deviation of quick, small rotation, degrees")
    nods_per_min: float = Field(0.0, ge=0, description="nods and head shakes, per minute")
    turns_per_min: float = Field(0.0, ge=0, description="turns of the head to one side and back, per minute")
    turn_deg: float = Field(20.0, ge=0, le=40, description="largest turn, degrees")


class HeadScene(Settings):
    """All that decides a rendered clip besides its events, its frame times and its noise seed."""

    family: Literal["anny", "ict"] = Field("anny", description="parametric head the scene is made for")
    identity: int = Field(1, ge=0, description="seed of the person: shape, skin, brows, eyes, hair")
    variety: float = Field(1.0, ge=0, le=1.5, description="how far people differ in shape")
    eye_distance_px: float = Field(100.0, gt=0, description="distance between the outer eye corners, px")
    centre: tuple[float, float] = Field((0.5, 0.45), description="where the eyes are, share of width and height")
    background: Literal["plain", "gradient", "textured"] = Field("gradient", description="what is behind the head")
    skin: SkinSettings = Field(default_factory=SkinSettings)
    light: LightSettings = Field(default_factory=LightSettings)
    camera: CameraSettings = Field(default_factory=CameraSettings)
    motion: MotionSettings = Field(default_factory=MotionSettings)
    behaviour: BehaviourSettings = Field(default_factory=BehaviourSettings)

    @model_validator(mode="after")
    def _face_fits(self) -> Self:
        limit = _MOST_EYES * min(self.camera.width, self.camera.height)
        if not _LEAST_EYES_PX <= self.eye_distance_px <= limit:
            raise ValueError(
                f"eye_distance_px {self.eye_distance_px:g} must lie between {_LEAST_EYES_PX:g} (a smaller face cannot "
                f"be measured) and {limit:g} (a larger one leaves the picture of "
                f"{self.camera.width}x{self.camera.height})"
            )
        return self


@dataclass(frozen=True, eq=False)
class Course:
    """Everything that moves, per frame.

    Parameters
    ----------
    behaviour : Behaviour
        What the face does by itself.
    weights : mapping of str to (T,) float64
        Expression-shape weights of behaviour, gaze and events together.
    turn_rad : (T, 3) float64
        Pitch (down), yaw (to image right), roll (clockwise in the image) of the head, rad.
    shift : (T, 3) float64
        Shift of the whole person, face units.
    gaze_rad : (T, 2) float64
        Rotation of the eyeballs to image right and down, rad.
    exposure : (T,) float64
        Factor on the light of each frame.
    """

    behaviour: Behaviour
    weights: Mapping[str, Float64Array]
    turn_rad: Float64Array
    shift: Float64Array
    gaze_rad: Float64Array
    exposure: Float64Array


def draw_course(scene: HeadScene, *, time_s: npt.ArrayLike, events: Sequence[PlantedEvent], rng_seed: int) -> Course:
    """Everything that moves in a clip; only ``weights`` depends on the events.

    Parameters
    ----------
    scene : HeadScene
        The recipe.
    time_s : (T,) array
        Time of each frame, seconds, from 0 on.
    events : sequence of PlantedEvent
        Micro-expressions.
    rng_seed : int
        Seed of behaviour, head motion and exposure.

    Raises
    ------
    UsageError
        No frame, an unknown action unit, or an event that is a pattern of the regions.
    """
    time = np.asarray(time_s, dtype=np.float64)
    if not time.size:
        raise UsageError("a rendered clip needs at least one frame time, got none")
    streams = np.random.default_rng([rng_seed, _STREAM]).spawn(4)
    behaviour = draw_behaviour(scene.behaviour, time_s=time, rng=streams[0])
    turn, shift = _head_motion(scene.motion, time_s=time, rng=streams[1])
    turn[:, 0] += np.radians(behaviour.nod_deg)
    gaze = np.radians(behaviour.gaze_deg)
    light = scene.light
    exposure = 1 + light.flicker * streams[2].standard_normal(len(time))
    exposure += light.drift * smooth_course(time, rng=streams[3], scale_s=_EXPOSURE_S)
    weights = {name: values.copy() for name, values in behaviour.weights.items()}
    _add_lids(weights, gaze_deg=behaviour.gaze_deg)
    for event in events:
        if event.pattern is not None:
            raise UsageError("a rendered head moves by action units only: plant patterns into footage or the portrait")
        for name, weight in shape_weights(event.units).items():
            weights[name] = weights.get(name, np.zeros(len(time))) + weight * event.profile(time)
    return Course(behaviour, weights, turn, shift, gaze, exposure)


def _head_motion(
    settings: MotionSettings, *, time_s: Float64Array, rng: np.random.Generator
) -> tuple[Float64Array, Float64Array]:
    wander, tremor, strokes = rng.spawn(3)
    turn, shift = np.zeros((len(time_s), 3)), np.zeros((len(time_s), 3))
    for axis, share in enumerate(_TURN_SHARES):
        slow = smooth_course(time_s, rng=wander, scale_s=float(wander.uniform(*_WANDER_S)))
        quick = smooth_course(time_s, rng=tremor, scale_s=_TREMOR_S)
        turn[:, axis] = np.radians(settings.wander_deg * share * slow + settings.tremor_deg * quick)
        shift[:, axis] = settings.wander_share * smooth_course(time_s, rng=wander, scale_s=_SHIFT_S)
    end_s = float(time_s[-1])
    for _ in range(strokes.poisson(settings.nods_per_min * end_s / MINUTE_S)):
        start, nod = strokes.uniform(0, end_s), draw_nod(strokes)
        angle = np.radians(strokes.uniform(*NOD_DEG))
        turn[:, int(nod.sideways)] += nod.course(time_s, start_s=start, angle=angle)
    for _ in range(strokes.poisson(settings.turns_per_min * end_s / MINUTE_S)):
        angle = np.radians(settings.turn_deg) * strokes.uniform(*_TURN) * strokes.choice([-1, 1])
        turn[:, 1] += angle * stroke(time_s, start_s=strokes.uniform(0, end_s), length_s=strokes.uniform(*_TURN_S))
    return turn, shift


def _add_lids(weights: dict[str, Float64Array], *, gaze_deg: Float64Array) -> None:
    """The lids follow the gaze."""
    right, down = np.clip(gaze_deg / _LIDS_DEG, -1, 1).T
    for name, course in {
        "eyeLookDownLeft": down, "eyeLookDownRight": down, "eyeLookUpLeft": -down, "eyeLookUpRight": -down,
        "eyeLookOutLeft": right, "eyeLookInRight": right, "eyeLookInLeft": -right, "eyeLookOutRight": -right,
    }.items():  # fmt: skip
        if (course > 0).any():
            weights[name] = weights.get(name, np.zeros(len(course))) + np.maximum(course, 0)
