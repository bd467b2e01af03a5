"""How many threads a process may use changes no byte of motion, scores and events."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

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
