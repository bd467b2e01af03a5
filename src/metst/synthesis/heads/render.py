"""Rendered clips of parametric heads: frames, and where the landmarks truly are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from metst.arrays import Float32Array, Float64Array, Image, Int32Array
from metst.errors import UsageError
from metst.synthesis.events import PlantedEvent
from metst.synthesis.heads import raster
from metst.synthesis.heads.load import load_head_model
from metst.synthesis.heads.model import HeadModel, Material, Person, draw_person
from metst.synthesis.heads.scene import Course, HeadScene, draw_course
from metst.synthesis.heads.skin import AXIS_DEPTH, EYE_TEXELS, Skin, paint_skin, texel_of

_PIVOT = np.array([0.0, -1.55, -0.95], dtype=np.float32)
"""Where the head turns on the neck, face units; set by hand."""

_GAMMA, _CURVE_STEPS = 2.2, 4096  # the usual one of 8-bit video; points of the table, set by hand
_CURVE = np.append(255 * np.linspace(0, 1, _CURVE_STEPS) ** (1 / _GAMMA), 255).astype(np.float32)
"""Camera response: grey level over linear light."""

# How a person and what is behind are lit, dressed and coloured.  Lengths are face units, colours linear reflectance,
# pairs the ends of a uniform draw.  All set by hand.
_FROM_ABOVE, _WRAP = 0.35, 0.15  # share of the ambient light from above; how far the key light reaches round an edge
_HAIR_THICKNESS, _HAIR_EDGE_TEXELS = (0.01, 0.10), 12  # how far hair lifts the surface, and how softly that begins
_COLLAR, _COLLAR_DIP, _COLLAR_WIDTH = 1.72, 0.28, 0.45  # depth below the eyes at the sides; how much deeper in front
_HIDDEN_CELL = 24  # texels: what lies behind the outermost point of such a cell is in its shadow
_SHADOW_FROM, _SHADOW_OVER, _DARKEST = 0.10, 0.25, 0.12  # depth where it begins, over which it falls; light left there
_THROAT = -1.2  # height under which nothing is taken for hidden: neck and bust
_EYE_TINT = 0.85  # the lids' shadow on the eyeballs
_NECK_TILT, _NECK_LOW, _NECK_LONG = 0.4, -2.1, 0.9  # the neck slants; where it begins to follow the head; its length
_MOUTH_COLOUR, _TEETH_COLOUR = (0.30, 0.09, 0.08), (0.62, 0.58, 0.50)
_CLOTH, _CLOTH_TINT = (0.02, 0.5), (0.5, 1)  # reflectance; factor on each of red, green, blue
_WALL, _WALL_TINT, _WALL_SLOPE = (0.08, 0.5), (0.75, 1), (-0.4, 0.4)  # the same; change of light across the picture
_THINGS, _THING_PLACE, _THING_SIZE = (4, 12), (0, 0.9), (0.05, 0.45)  # fewer than the second; shares of the picture
_THING, _THING_TINT = (0.03, 0.6), (0.6, 1)
_WALL_GRAIN, _WALL_GRAIN_PX, _WALL_BLUR_PX = 0.1, 2, 3  # contrast and size of what covers wall and things; their blur
_LEAST_LIGHT, _MOST_LIGHT = 0.005, 0.95  # of what is behind the head


def render_scene(
    scene: HeadScene,
    *,
    time_s: npt.ArrayLike,
    events: Sequence[PlantedEvent],
    rng_seed: int,
    model: HeadModel | None = None,
) -> Iterator[Image]:
    """Render a clip frame by frame; equal arguments give equal bits.

    Parameters
    ----------
    scene : HeadScene
        Who is seen, how, and what else moves.
    time_s : (T,) array
        Time of each frame, seconds, from 0 on.
    events : sequence of PlantedEvent
        Micro-expressions; nothing but the motion of the face depends on them.
    rng_seed : int
        Seed of behaviour, head motion, exposure and noise.
    model : HeadModel, optional
        From :func:`metst.synthesis.heads.load.load_head_model`; the installed one when absent.

    Yields
    ------
    (height, width, 3) uint8
        Red, green, blue, as :func:`metst.video.write_video` takes them.

    Raises
    ------
    UsageError
        No head model, one of another family, an unknown action unit, or no frame.
    """
    stage = _Stage.of(scene, model=model)
    course = draw_course(scene, time_s=time_s, events=events, rng_seed=rng_seed)
    return _frames(stage, course, noise=np.random.default_rng([rng_seed, 2]))


def scene_landmarks(
    scene: HeadScene,
    *,
    time_s: npt.ArrayLike,
    events: Sequence[PlantedEvent],
    rng_seed: int,
    model: HeadModel | None = None,
) -> Float64Array:
    """Where the 68 landmarks truly are in each frame of :func:`render_scene`, ``(T, 68, 2)`` px.

    The difference between this with and without the events is the displacement that they cause.
    """
    stage = _Stage.of(scene, model=model)
    course = draw_course(scene, time_s=time_s, events=events, rng_seed=rng_seed)
    points = stage.person.model.landmarks
    return np.stack([stage.project(stage.mesh(course, i))[points, :2] for i in range(len(course.exposure))]).astype(
        np.float64
    )


@dataclass(frozen=True, eq=False)
class _Stage:
    """What stays the same in all frames."""

    scene: HeadScene
    person: Person
    skin: Skin
    uv: Float32Array
    tint: Float32Array
    hair: Float32Array
    follows: Float32Array
    colours: Float32Array
    background: Float32Array

    @classmethod
    def of(cls, scene: HeadScene, *, model: HeadModel | None) -> _Stage:
        model = load_head_model() if model is None else model
        if model.name != scene.family:
            raise UsageError(f"the scene is made for the head {scene.family!r}, the model given is {model.name!r}")
        shape, paint, dress = np.random.default_rng([scene.identity, 0]).spawn(3)
        person = draw_person(model, rng=shape, strength=scene.variety)
        skin = paint_skin(person.neutral[model.landmarks], settings=scene.skin, rng=paint)
        uv = _texture_places(person)
        return cls(
            scene=scene,
            person=person,
            skin=skin,
            uv=uv,
            tint=_light_reached(person),
            hair=_hair_offset(person, skin=skin, uv=uv, thickness=float(dress.uniform(*_HAIR_THICKNESS))),
            follows=_neck_share(person),
            colours=_colours(dress),
            background=_background(scene, rng=dress),
        )

    def mesh(self, course: Course, frame: int) -> Float32Array:
        """Mesh ``(V, 3)`` of one frame, face units."""
        mesh = self.person.posed({name: float(values[frame]) for name, values in course.weights.items()})
        mesh += self.hair
        gaze = _rotation(float(course.gaze_rad[frame, 1]), float(course.gaze_rad[frame, 0]), 0.0)
        for eye in self.person.model.eyes:
            centre = (mesh[eye].min(axis=0) + mesh[eye].max(axis=0)) / 2
            mesh[eye] = (mesh[eye] - centre) @ gaze.T + centre
        turned = (mesh - _PIVOT) @ _rotation(*course.turn_rad[frame].tolist()).T + _PIVOT
        mesh += self.follows * (turned - mesh)
        mesh += course.shift[frame].astype(np.float32)
        return mesh

    def project(self, mesh: Float32Array) -> Float32Array:
        """Column, row, px, and distance from the camera of each vertex."""
        camera = self.scene.camera
        distance = np.float32(camera.distance) - mesh[:, 2]
        scale = np.float32(self.scene.eye_distance_px * camera.distance) / distance
        column = np.float32(self.scene.centre[0] * camera.width) + scale * mesh[:, 0]
        row = np.float32(self.scene.centre[1] * camera.height) - scale * mesh[:, 1]
        return np.stack([column, row, distance], axis=1)


def _frames(stage: _Stage, course: Course, *, noise: np.random.Generator) -> Iterator[Image]:
    scene, model = stage.scene, stage.person.model
    camera = scene.camera
    light, paint = _light(scene), raster.Paint(stage.skin.skin, stage.skin.eye, stage.colours)
    for frame, exposure in enumerate(course.exposure.tolist()):
        mesh = stage.mesh(course, frame)
        screen = stage.project(mesh)
        low = np.maximum(np.floor(screen[:, :2].min(axis=0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(screen[:, :2].max(axis=0)).astype(int) + 2, [camera.width, camera.height])
        samples = screen.copy()
        samples[:, :2] = (screen[:, :2] - low) * raster.SAMPLES + (raster.SAMPLES - 1) / 2
        height, width = (max(int(n), 0) for n in (high - low)[::-1])
        owner, weights = raster.visible(samples, model.triangles, raster.SAMPLES * height, raster.SAMPLES * width)
        normals = raster.vertex_normals(mesh, model.triangles)
        surface = raster.Surface(model.triangles, model.material, normals, stage.uv, stage.tint)
        head = raster.shade(owner, weights, surface=surface, paint=paint, light=light)
        image = raster.compose(head, stage.background, int(low[1]), int(low[0]), exposure)
        if camera.defocus_px > 0:
            image = cv2.GaussianBlur(image, (0, 0), camera.defocus_px)
        grain = noise.standard_normal((camera.height, camera.width), dtype=np.float32)
        colour = noise.standard_normal((camera.height // 2, camera.width // 2, 3), dtype=np.float32)
        yield raster.develop(np.asarray(image), _CURVE, grain, colour, camera.noise_sigma)


def _rotation(pitch: float, yaw: float, roll: float) -> Float32Array:
    """Rotation that turns the face down, to image right, and clockwise in the image, radians."""
    cp, sp, cy, sy, cr, sr = np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw), np.cos(roll), np.sin(roll)
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x, dtype=np.float32)


def _light(scene: HeadScene) -> Float32Array:
    light = scene.light
    side, up = np.radians(light.side_deg), np.radians(light.up_deg)
    direction = [np.sin(side) * np.cos(up), np.sin(up), np.cos(side) * np.cos(up)]
    return np.array([*direction, light.key, light.ambient, _FROM_ABOVE, light.gloss, _WRAP], dtype=np.float32)


def _eye_vertices(person: Person) -> Int32Array:
    return np.concatenate(person.model.eyes)


def _texture_places(person: Person) -> Float32Array:
    """Texel column and row, around the head for skin, along the eye's axis for eyeballs; height above the collar."""
    uv = texel_of(person.neutral)
    for eye in person.model.eyes:
        ball = person.neutral[eye]
        radius = (ball.max(axis=0) - ball.min(axis=0)).max() / 2
        offset = (ball - (ball.min(axis=0) + ball.max(axis=0)) / 2) / radius
        uv[eye] = (offset[:, :2] * [1, -1] + 1) * (EYE_TEXELS / 2) - 0.5
    across, height, _ = person.neutral.T
    collar = height + _COLLAR + _COLLAR_DIP * np.exp(-((across / _COLLAR_WIDTH) ** 2))
    return np.asarray(np.column_stack([uv, collar]), dtype=np.float32)


def _light_reached(person: Person) -> Float32Array:
    """Share of light at each vertex: what lies behind the outer surface (mouth, nostrils) is dark."""
    mesh = person.neutral
    cell = np.floor(texel_of(mesh) / _HIDDEN_CELL).astype(int)
    _, index = np.unique(cell, axis=0, return_inverse=True)
    radius = np.hypot(mesh[:, 0], mesh[:, 2] - AXIS_DEPTH)
    outermost = np.zeros(index.max() + 1)
    np.maximum.at(outermost, index.ravel(), radius)
    gap = outermost[index.ravel()] - radius
    tint = np.clip(1 - (gap - _SHADOW_FROM) / _SHADOW_OVER, _DARKEST, 1)
    tint[mesh[:, 1] < _THROAT] = 1
    tint[_eye_vertices(person)] = _EYE_TINT
    return np.asarray(tint, dtype=np.float32)


def _hair_offset(person: Person, *, skin: Skin, uv: Float32Array, thickness: float) -> Float32Array:
    """How far the hair lifts the surface, ``(V, 3)`` face units."""
    normals = raster.vertex_normals(person.neutral, person.model.triangles)
    rows = np.clip(uv[:, 1].astype(int), 0, skin.hairline.shape[0] - 1)
    columns = np.clip(uv[:, 0].astype(int), 0, skin.hairline.shape[1] - 1)
    share = np.asarray(cv2.GaussianBlur(skin.hairline, (0, 0), _HAIR_EDGE_TEXELS))[rows, columns]
    share[_eye_vertices(person)] = 0
    return np.asarray(thickness * share[:, None] * normals, dtype=np.float32)


def _neck_share(person: Person) -> Float32Array:
    """How far each vertex follows the head, ``(V, 1)``: 1 on the head, 0 on the shoulders."""
    height = person.neutral[:, 1] + _NECK_TILT * (person.neutral[:, 2] - AXIS_DEPTH)
    share = np.clip((height - _NECK_LOW) / _NECK_LONG, 0, 1)
    return np.asarray(share**2 * (3 - 2 * share), dtype=np.float32)[:, None]


def _colours(rng: np.random.Generator) -> Float32Array:
    colours = np.zeros((len(Material), 3), dtype=np.float32)
    colours[Material.MOUTH] = _MOUTH_COLOUR
    colours[Material.TEETH] = _TEETH_COLOUR
    colours[Material.CLOTH] = rng.uniform(*_CLOTH) * rng.uniform(*_CLOTH_TINT, 3)
    return colours


def _background(scene: HeadScene, *, rng: np.random.Generator) -> Float32Array:
    """Linear light behind the head, ``(height, width, 3)``."""
    height, width = scene.camera.height, scene.camera.width
    base = (rng.uniform(*_WALL) * rng.uniform(*_WALL_TINT, 3)).astype(np.float32)
    image = np.ones((height, width, 3), dtype=np.float32) * base
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    if scene.background != "plain":
        slope = rng.uniform(*_WALL_SLOPE, 2)
        image *= (1 + slope[0] * (rows / height - 0.5) + slope[1] * (columns / width - 0.5))[..., None]
    if scene.background == "textured":
        for _ in range(rng.integers(*_THINGS)):
            corner, size = rng.uniform(*_THING_PLACE, 2), rng.uniform(*_THING_SIZE, 2)
            (x, y), (w, h) = corner * [width, height], size * [width, height]
            colour = (rng.uniform(*_THING) * rng.uniform(*_THING_TINT, 3)).astype(np.float32)
            cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), colour.tolist(), -1)
        grain = rng.standard_normal((height, width, 1)).astype(np.float32)
        grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), _WALL_GRAIN_PX)).reshape(height, width, 1)
        image *= 1 + _WALL_GRAIN * grain
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), _WALL_BLUR_PX))
    return np.ascontiguousarray(np.clip(image, _LEAST_LIGHT, _MOST_LIGHT), dtype=np.float32)
