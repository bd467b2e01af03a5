"""The one file of motion: an entry of the cache, a video of a data set, a background, a table of results.

A safetensors file holds the arrays of a :class:`metst.results.Motion` under their names, ``time_s``, ``valid`` and
``face_valid`` (the frames of its two series), and each frame's reason as a number.  Its header holds ``about``: the
regions, the reasons by number, what was wrong with the recording, its file name, and a checksum, because safetensors
notices a missing end, not a changed bit.

Files of earlier versions may hold less, and no checksum; what they lack is not known
(:data:`metst.results.motion.UNKNOWN`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors
import safetensors.numpy
import xxhash

from metst.arrays import AnyArray
from metst.errors import DataError
from metst.regions import AXES, REGION_NAMES
from metst.results.motion import FACE_CHANNELS, UNKNOWN, Measured, Motion
from metst.storage import fingerprint
from metst.timeline import Series, TimeGrid

_ABOUT: Final = "about"
"""The one key of the header: of several safetensors shuffles the order, and equal content would give other bytes."""

_CHECKED: Final = ("name", "reasons", "problems")
"""What of ``about`` the checksum covers, in this order: entries of caches have it so.  Regions are compared."""

_FORMER_NAMES: Final = {"motion": "displacement", "centres_px": "centres"}
"""Names of arrays in the ``motion.safetensors`` of results of earlier versions, and what they are called now."""

_LENGTH_BYTES: Final = 8
"""A safetensors file starts with the length of its header, a little-endian number of 64 bits (its format)."""

_LONGEST_HEADER: Final = 1 << 20
"""Bytes: what is longer is no header of such a file.  Set by hand; real ones have about two thousand."""


def motion_bytes(motion: Motion, *, name: str = "", problems: Sequence[str] = ()) -> bytes:
    """A file of motion; equal motion gives equal bytes.

    Parameters
    ----------
    motion : Motion
        All of it is kept.
    name : str
        The recording's file name, for people.
    problems : sequence of str
        What was wrong while it was decoded.
    """
    reasons = sorted(set(motion.reason))
    number = {reason: index for index, reason in enumerate(reasons)}
    tensors: dict[str, AnyArray] = {
        "time_s": motion.grid.time_s,
        "displacement": motion.displacement.values,
        "valid": motion.displacement.valid,
        "face": motion.face.values,
        "face_valid": motion.face.valid,
        "reason": np.array([number[reason] for reason in motion.reason], np.int32),
    }
    tensors |= {key: getattr(motion, key) for key in UNKNOWN}
    tensors = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    about = {"name": name, "reasons": reasons, "problems": list(problems), "regions": motion.displacement.channels}
    about["checksum"] = _checksum(tensors, about)
    return safetensors.numpy.save(tensors, metadata={_ABOUT: json.dumps(about)})


def motion_of(data: bytes, *, regions: Sequence[str] = REGION_NAMES) -> Measured:
    """The motion in a file, and what was wrong with its recording.

    Parameters
    ----------
    data : bytes
        All of the file.
    regions : sequence of str
        Whose motion it must be.

    Raises
    ------
    DataError
        It is damaged, or not the motion of these regions.
    """
    try:
        tensors = {_FORMER_NAMES.get(key, key): value for key, value in safetensors.numpy.load(data).items()}
        about = header_of(data)
        if about and about["checksum"] != _checksum(tensors, about):
            raise DataError("its checksum does not agree")
        if (found := tuple(about.get("regions", regions))) != tuple(regions):
            raise DataError(f"expected the regions {', '.join(regions)}, got {', '.join(found)}")
        motion = _checked(_from_tensors(tensors, reasons=about.get("reasons", ()), regions=tuple(regions)))
        return Measured(motion, tuple(about.get("problems", ())))
    except safetensors.SafetensorError as error:
        raise DataError(f"it is no whole safetensors file: {error}") from error
    except KeyError as error:
        raise DataError(f"it has no {error}") from error
    except (ValueError, TypeError, IndexError, RecursionError) as error:
        raise DataError(f"its header or its arrays are not those of motion: {error}") from error


def read_motion_file(
    path: Path, *, remedy: str, of: str = "a recording", sha256: str = "", regions: Sequence[str] = REGION_NAMES
) -> Motion:
    """Motion of a file that :func:`motion_bytes` made, or an earlier version.

    Parameters
    ----------
    path : Path
        The file.
    remedy : str
        What to do when it cannot be read.
    of : str
        Whose motion it is, for people.
    sha256 : str
        What its fingerprint must be; empty: it is not checked.
    regions : sequence of str
        Whose motion it must be.

    Raises
    ------
    DataError
        It is missing, damaged or another file, has other regions, or is not finite where it is marked valid.
    """
    try:
        data = path.read_bytes()
        if sha256 and fingerprint(data) != sha256:
            raise DataError("it is not the file that its index speaks of")
        return motion_of(data, regions=regions).motion
    except (OSError, DataError) as error:
        raise DataError(f"{path} cannot be read as the motion of {of} ({error}): {remedy}") from error


def name_in(path: Path) -> str:
    """The recording's name in a file of motion; empty when it has none or is damaged."""
    try:
        with path.open("rb") as handle:
            first = handle.read(_LENGTH_BYTES)
            return str(header_of(first + handle.read(min(int.from_bytes(first, "little"), _LONGEST_HEADER)))["name"])
    except (OSError, ValueError, RecursionError, KeyError, DataError):
        return ""


def header_of(head: bytes) -> dict[str, Any]:
    """What a file says besides its arrays, from its first bytes; empty when an earlier version wrote it."""
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    header = json.loads(head[_LENGTH_BYTES : _LENGTH_BYTES + length])
    if not isinstance(header, dict) or not isinstance(said := header.get("__metadata__", {}), dict):
        raise DataError("it has no description")
    return dict(json.loads(said.get(_ABOUT, "{}")))


def _checksum(tensors: dict[str, AnyArray], about: dict[str, Any]) -> str:
    digest = xxhash.xxh3_128(json.dumps([about[key] for key in _CHECKED]).encode())
    for key in sorted(tensors):
        digest.update(f"{key} {tensors[key].dtype} {array_digest(tensors[key])}".encode())
    return digest.hexdigest()


def array_digest(array: AnyArray) -> str:
    """Shape and hash of an array."""
    shape = "x".join(map(str, array.shape))
    return f"{shape}-{xxhash.xxh3_128(array.tobytes()).hexdigest()}"


def _from_tensors(tensors: dict[str, AnyArray], *, reasons: Sequence[str], regions: tuple[str, ...]) -> Motion:
    """Motion as it was kept; what is not there is not known."""
    grid, values = TimeGrid(tensors["time_s"]), tensors["displacement"]
    if values.shape != (expected := (len(grid), len(regions), len(AXES))):
        raise DataError(f"expected motion {expected}, got {values.shape}")
    valid = tensors["valid"] if "valid" in tensors else np.asarray(~np.isnan(values).all(axis=(1, 2)))
    bare = Motion.bare(Series(grid, values, valid, regions), quality=tensors["quality"])
    face = bare.face
    if "face" in tensors:
        face = Series(grid, tensors["face"], tensors["face_valid"], FACE_CHANNELS)
    return Motion(
        displacement=bare.displacement,
        face=face,
        reason=tuple(reasons[index] for index in tensors["reason"].tolist()) if reasons else bare.reason,
        **{key: tensors.get(key, getattr(bare, key)) for key in UNKNOWN},
    )


def _checked(motion: Motion) -> Motion:
    """A network would carry one number that is not finite to all that follow."""
    finite = np.isfinite(motion.displacement.values).all(axis=(1, 2)) & np.isfinite(motion.quality).all(axis=1)
    if (bad := np.flatnonzero(motion.displacement.valid & ~finite)).size:
        raise DataError(f"{len(bad)} frames, the first {bad[0]}, are marked valid but are not finite")
    return motion
