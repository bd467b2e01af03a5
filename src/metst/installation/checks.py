"""What is installed and what the machine offers: one check each, in a line."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from metst.arrays import OnProgress
from metst.errors import MetstError
from metst.installation.self_test import run_self_test
from metst.storage import temporary_folder
from metst.threads import thread_limit

_LEAST_FREE_GB: Final = 1.0
"""Free space under which long recordings may not fit, gigabytes: the tables of some hours.  Set by hand."""

_GB, _MB = 1e9, 1e6
"""Bytes, as disks are sold: decimal."""

_REQUIRED: Final = re.compile(r"([\w.-]+)(?:\[[\w,-]+\])?(.*)")
"""Name and bounds of what a package needs, as its metadata have it."""
_LEAST, _BELOW = re.compile(r">=\s*([\d.]+)"), re.compile(r"<\s*([\d.]+)")
"""Parts of the bounds: see :class:`_Bounds`."""

_PICTURE_PX, _PICTURES = 64, 5
"""Side and number of the pictures that are encoded and decoded."""

_MOST_OFF: Final = 12
"""Grey levels by which one that went through H.264 may be off; it is a plain picture, and two were seen."""


@dataclass(frozen=True)
class Check:
    """What was looked at, whether all is well, what was found, and what to do where it is not."""

    name: str
    well: bool
    found: str
    advice: str = ""


def check_all(*, on_progress: OnProgress | None = None) -> Iterator[Check]:
    """All checks, one after the other; a check that breaks is itself a problem, and the others follow."""
    checks: dict[str, Callable[[], Check]] = {
        "versions": check_versions,
        "extras": check_extras,
        "processor": check_processor,
        "threads": check_threads,
        "codec": check_codec,
        "face networks": check_face_networks,
        "models": check_models,
        "kernels": check_kernel_cache,
        "motion cache": check_motion_cache,
        "disk": check_disk,
        "self-test": check_self_test,
    }
    for number, (name, check) in enumerate(checks.items()):
        if on_progress is not None:
            on_progress(name, number, len(checks))
        try:
            yield check()
        except MetstError as error:
            yield Check(name, False, " ".join(str(error).split()), _AGAIN)
        except Exception as error:  # noqa: BLE001  # whatever a broken machine does is what is looked for
            yield Check(name, False, f"{type(error).__name__}: {' '.join(str(error).split())}", _AGAIN)


_AGAIN: Final = "install metst again into a fresh environment, with -c constraints.txt"


class _Bounds(NamedTuple):
    """The oldest version that works, and the first that is not known to (empty: none)."""

    least: str
    below: str = ""


def _needs(extra: str = "") -> dict[str, _Bounds]:
    """Versions of what the plain installation, or an extra, needs, by name."""
    found = {}
    for line in metadata.requires("metst") or ():
        name, _, condition = line.partition(";")
        of_extra = re.search(r"extra == ['\"]([\w-]+)", condition)
        match = _REQUIRED.match(name.strip())
        if match and match[1] != "metst" and (of_extra[1] if of_extra else "") == extra:
            least, below = _LEAST.search(match[2]), _BELOW.search(match[2])
            found[match[1]] = _Bounds(least[1] if least else "0", below[1] if below else "")
    return found


def _installed(name: str) -> str:
    """Version of a package, empty where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _lacking(needs: dict[str, _Bounds]) -> list[str]:
    """What is not installed, too old or too new, in words."""
    versions = {name: _installed(name) for name in needs}
    missing = [f"{name} is not installed" for name, version in versions.items() if not version]
    there = {name: version for name, version in versions.items() if version}
    old = [
        f"{name} {version} is older than {needs[name].least}"
        for name, version in there.items()
        if _numbers(version) < _numbers(needs[name].least)
    ]
    new = [
        f"{name} {version} is newer than what is known to work (below {needs[name].below})"
        for name, version in there.items()
        if needs[name].below and _numbers(version) >= _numbers(needs[name].below)
    ]
    return missing + old + new


def check_versions() -> Check:
    """What the plain installation needs is there, and in versions that work."""
    needs = _needs()
    if lacking := _lacking(needs):
        return Check("versions", False, ", ".join(lacking), "pip install --upgrade metst, with -c constraints.txt")
    return Check("versions", True, f"metst {_installed('metst')} and {len(needs)} packages that it needs")


def check_extras() -> Check:
    """Which extras are there; none has to be."""
    names = metadata.metadata("metst").get_all("Provides-Extra") or []
    there = [name for name in names if not _lacking(_needs(name))]
    absent = [name for name in names if name not in there]
    found = f"installed: {', '.join(there) or 'none'}; not installed: {', '.join(absent) or 'none'}"
    return Check("extras", True, f"{found} (pip install 'metst[NAME]')" if absent else found)


def check_processor() -> Check:
    """Which vectors the compiled loops can use."""
    from llvmlite import binding  # type: ignore[import-untyped]

    features = binding.get_host_cpu_features()
    sets = [words for name, words in (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("neon", "NEON")) if features.get(name)]
    told = ", ".join(sets) or "neither AVX2 nor AVX-512: all works, several times as slowly"
    return Check("processor", True, f"{binding.get_host_cpu_name()}: {told}")


def check_threads() -> Check:
    """How many threads there are, and which library multiplies matrices."""
    built = np.show_config(mode="dicts")
    blas = built["Build Dependencies"]["blas"]["name"] if isinstance(built, dict) else "unknown"
    return Check("threads", True, f"{thread_limit()} of {os.cpu_count()} processors, BLAS {blas}")


def check_codec() -> Check:
    """H.264 can be written and read."""
    from metst.video import read_frames, write_video

    pictures = [np.full((_PICTURE_PX, _PICTURE_PX, 3), 40 * k, np.uint8) for k in range(1, _PICTURES + 1)]
    with temporary_folder() as folder:
        path = Path(folder) / "codec.mp4"
        try:
            write_video(path, pictures, rate_hz=25)
        except (MetstError, OSError, ValueError) as error:
            return Check("codec", False, f"H.264 cannot be written: {error}", "pip install --force-reinstall av")
        try:
            levels = [float(frame.grey.mean()) for frame in read_frames(path)]
        except (MetstError, OSError, ValueError) as error:
            return Check("codec", False, f"H.264 cannot be read: {error}", "pip install --force-reinstall av")
    off = max((abs(level - int(picture[0, 0, 0])) for level, picture in zip(levels, pictures, strict=False)), default=0)
    if len(levels) != _PICTURES or off > _MOST_OFF:
        told = f"of {_PICTURES} pictures {len(levels)} came back, up to {off:.0f} grey levels off"
        return Check("codec", False, told, "pip install --force-reinstall av")
    return Check("codec", True, f"H.264 is written and read (PyAV {_installed('av')})")


def check_face_networks() -> Check:
    """OpenCV's dnn can load and run the networks that find faces."""
    from metst.face.models import FaceModels

    FaceModels().detect(np.full((_PICTURE_PX, _PICTURE_PX), 128, np.uint8), long_side=128)
    return Check("face networks", True, f"OpenCV {_installed('opencv-python-headless')} runs both")


def check_models() -> Check:
    """The packaged models are those that were packaged."""
    from metst.models.checkpoint import known_models, load_model

    names = known_models()
    for name in names:
        load_model(name)
    if not names:
        return Check("models", False, "no packaged model is there", _AGAIN)
    return Check("models", True, f"{', '.join(names)}: hashes as packaged")


def check_kernel_cache() -> Check:
    """Compiled loops can be kept."""
    from metst.motion.warp import sample

    folder = getattr(getattr(sample, "stats", None), "cache_path", None)
    if folder is None or not _writable(Path(folder)):
        told = "no folder for compiled loops can be written: each process compiles them again"
        return Check("kernels", False, told, "set NUMBA_CACHE_DIR to a folder that can be written")
    return Check("kernels", True, f"kept in {folder}, {_size(Path(folder)) / _MB:.0f} MB")


def check_motion_cache() -> Check:
    """Motion of analysed recordings can be kept."""
    from metst.motion.cache import FOLDER_VARIABLE, default_folder

    folder = default_folder()
    if not _writable(folder):
        advice = f"set {FOLDER_VARIABLE} to a folder that can be written, or analyse with --no-cache"
        return Check("motion cache", False, f"{folder} cannot be written", advice)
    return Check("motion cache", True, f"{folder}, {_size(folder) / _MB:.0f} MB")


def check_disk() -> Check:
    """There is room for results and for what is kept on the way."""
    from metst.motion.cache import default_folder

    places = {"temporary files": Path(tempfile.gettempdir()), "kept motion": _there(default_folder())}
    free = {what: shutil.disk_usage(place).free / _GB for what, place in places.items()}
    told = ", ".join(f"{gigabytes:.0f} GB free for {what}" for what, gigabytes in free.items())
    well = min(free.values()) >= _LEAST_FREE_GB
    return Check("disk", well, told, "" if well else "make room, or set TMPDIR and METST_CACHE_DIR to another disk")


def check_self_test() -> Check:
    """A recording whose movements are known is analysed as expected; all loops are compiled on the way."""
    outcome = run_self_test()
    advice = "" if not outcome.faults else f"{_AGAIN}; if it stays, do not use this machine for results"
    return Check("self-test", not outcome.faults, "; ".join(outcome.faults) or outcome.told, advice)


def _there(folder: Path) -> Path:
    """The folder, or the first above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _writable(folder: Path) -> bool:
    """Whether a file can be made in a folder, or in the first above it that exists."""
    try:
        with tempfile.TemporaryFile(dir=_there(folder)):
            return True
    except OSError:
        return False


def _size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*") if path.is_file())
