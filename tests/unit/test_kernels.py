"""Compiled loops of all rooms: without a folder they are compiled again, and what waits says so once."""

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import logging, numpy as np
from numba.core import caching
{prepare}
logging.basicConfig(format="LOG %(message)s")
from metst.motion import algebra
one = np.eye(3)
print(algebra.product(one, one).sum(), algebra.inverse(one).sum())
"""


def run(prepare: str, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CODE.format(prepare=prepare)],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_where_no_folder_can_be_written_it_compiles_and_warns_once(tmp_path: Path) -> None:
    # As on a machine where the package's folder, the user's and the one asked for are all read-only.
    done = run("caching.CompileResultCacheImpl._locator_classes = []", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3.0 3.0\n"
    assert done.stderr.count("KernelCacheWarning") == 1
    assert "NUMBA_CACHE_DIR" in done.stderr


def test_the_first_run_on_a_machine_says_so_once_and_the_second_does_not_wait(tmp_path: Path) -> None:
    first, second = run("", tmp_path), run("", tmp_path)
    assert first.stdout == second.stdout == "3.0 3.0\n"
    assert first.stderr.count("LOG compiling kernels, once on this machine") == 1
    assert second.stderr == ""


def test_with_compilation_switched_off_loops_run_as_they_stand(tmp_path: Path) -> None:
    done = run("from numba import config; config.DISABLE_JIT = 1", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3.0 3.0\n"
    assert not done.stderr
