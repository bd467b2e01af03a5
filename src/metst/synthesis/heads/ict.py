"""The ICT-FaceKit head (University of Southern California, MIT licence) from its converted ``.npz`` file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from metst.arrays import Float32Array, Int32Array, UInt8Array
from metst.errors import DataError
from metst.synthesis.expression_shapes import MIDLINE_SHAPES, SHAPES
from metst.synthesis.heads.model import SKIRT, HeadModel, Material, normalised, skirt

_MATERIALS = {
    "M_Face": Material.SKIN,
    "M_BackHead": Material.SKIN,
    "M_GumsTongue": Material.MOUTH,
    "M_Teeth": Material.TEETH,
    "M_ScleraLeft": Material.EYE,
    "M_ScleraRight": Material.EYE,
}
"""What is drawn; lashes, tear film and the transparent shells around the eyes are not."""

_IDENTITY_STRENGTH = 0.7
"""Factor on the identity modes: standard normal weights of all at once make caricatures.  Set by hand."""

_RIM = -1.8
"""Open edges below this height are the lower edge of the bust, face units; set by hand for this mesh."""

_NOT_DRAWN = 255
"""Code of materials that are not drawn: none of :class:`Material`."""


def load_ict(path: Path) -> HeadModel:
    """Read the arrays ``V F mat mats I E enames landmarks68``.

    Raises
    ------
    DataError
        The file lacks an array or is none of this kind.
    """
    try:
        with np.load(path) as data:
            arrays = {key: data[key] for key in ("V", "F", "mat", "mats", "I", "E", "enames", "landmarks68")}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path.name}: expected an ICT-FaceKit .npz (V, F, mat, I, E, landmarks68): {error}") from error
    quads, material, used = _drawn(arrays)
    place = np.full(len(arrays["V"]), -1, dtype=np.int32)
    place[used] = np.arange(len(used), dtype=np.int32)
    landmarks = place[arrays["landmarks68"]]
    mesh, scale = normalised(arrays["V"][used].astype(np.float64), landmarks=landmarks)
    expression = _expressions(arrays, used=used, scale=scale)
    identity = arrays["I"][:, used].astype(np.float32) * np.float32(scale * _IDENTITY_STRENGTH)
    quads = place[quads]
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    rim, faces = skirt(mesh, triangles, below=_RIM)
    eye = np.unique(quads[material == Material.EYE])
    eyes = eye[mesh[eye, 0] < 0], eye[mesh[eye, 0] > 0]
    expression[:, eye] = 0
    return HeadModel(
        name="ict",
        vertices=np.concatenate([mesh, mesh[rim] - SKIRT]).astype(np.float32),
        triangles=np.ascontiguousarray(np.concatenate([triangles, faces]), dtype=np.int32),
        material=np.concatenate([material, material, np.full(len(faces), Material.CLOTH, dtype=np.uint8)]),
        people=np.zeros((1, len(used) + len(rim), 3), dtype=np.float32),
        identity=np.concatenate([identity, identity[:, rim]], axis=1),
        expression=np.concatenate([expression, expression[:, rim]], axis=1),
        landmarks=landmarks,
        eyes=eyes,
    )


def _drawn(
    arrays: dict[str, npt.NDArray[np.generic]],
) -> tuple[Int32Array, UInt8Array, Int32Array]:
    """Quads that are drawn, their materials, and the vertices they use."""
    code = np.array([_MATERIALS.get(str(name), _NOT_DRAWN) for name in arrays["mats"]], dtype=np.uint8)
    material = code[arrays["mat"].astype(np.intp)]
    quads = arrays["F"][material != _NOT_DRAWN].astype(np.int32)
    return quads, material[material != _NOT_DRAWN], np.unique(np.append(quads, arrays["landmarks68"])).astype(np.int32)


def _expressions(arrays: dict[str, npt.NDArray[np.generic]], *, used: Int32Array, scale: float) -> Float32Array:
    index = {str(name): i for i, name in enumerate(arrays["enames"])}
    offsets = []
    for shape in SHAPES:
        name = shape if shape in MIDLINE_SHAPES else shape.replace("Left", "_L").replace("Right", "_R")
        # This model's cheek raiser is the action unit; its cheek squint is the lower lid's share of it.
        name = name.replace("cheekSquint", "cheekRaiser")
        if name not in index:
            raise DataError(f"the head model lacks the expression shape {name}")
        offsets.append(arrays["E"][index[name], used].astype(np.float32) * np.float32(scale))
    return np.stack(offsets)
