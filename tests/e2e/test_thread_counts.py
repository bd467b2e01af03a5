"""How many threads a process may use changes no byte of motion, scores and events; another processor last digits."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from helpers import motion_digest

POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def test_one_two_and_four_threads_give_the_same_bytes(astronaut: npt.NDArray[np.uint8], tmp_path: Path) -> None:
    """Four seconds of a head that nods, with a new anchor each half second: face, motion, scores and events."""
    np.save(tmp_path / "portrait.npy", astronaut)
    said = []
    for threads in ("1", "2", "4"):
        done = subprocess.run(
            [sys.executable, motion_digest.__file__, str(tmp_path / "portrait.npy"), threads],
            env=os.environ | dict.fromkeys(POOLS, threads),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split())
    assert len(said[0]) == 3
    assert said[1] == said[0]
    assert said[2] == said[0]


@pytest.mark.slow
def test_kernels_of_another_processor_change_last_digits_only(astronaut: npt.NDArray[np.uint8], tmp_path: Path) -> None:
    """Products of matrices as a Haswell sums them: landmarks that are off in the last digit must stay so."""
    np.save(tmp_path / "portrait.npy", astronaut)
    found = []
    for name, chosen in (("own", {}), ("other", {"OPENBLAS_CORETYPE": "Haswell"})):
        out = tmp_path / f"{name}.npz"
        subprocess.run(
            [sys.executable, motion_digest.__file__, str(tmp_path / "portrait.npy"), "1", str(out)],
            env=os.environ | dict.fromkeys(POOLS, "1") | chosen,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        found.append(np.load(out))
    np.testing.assert_allclose(found[1]["motion"], found[0]["motion"], rtol=0, atol=1e-5)  # face units
    np.testing.assert_allclose(found[1]["scores"], found[0]["scores"], rtol=0, atol=1e-3)
