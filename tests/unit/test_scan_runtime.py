"""How the selective scan is compiled, cached and spread over threads and processes."""

from __future__ import annotations

import gc
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np
import pytest
import torch
from numba import types
from numba.core.caching import NullCache

import metst
from metst.guard import kernels
from metst.guard.kernels import KernelCacheWarning
from metst.models.scan import pool as scan_threads
from metst.models.scan import selective_scan
from metst.models.scan.compile import compiled, hot_loop
from metst.models.scan.numpy_scan import Operands, run_forward
from metst.models.scan.pool import run_tasks
from metst.models.scan.rows import workspace
from metst.threads import thread_limit

X86 = platform.machine().lower() in ("x86_64", "amd64")


# Compilation


def test_numba_still_takes_the_hints_that_make_the_loops_fast() -> None:
    """Fails when a release of Numba ignores the non-overlap of arguments, the vector width or the fixed boundary."""

    @hot_loop
    def scale(target: np.ndarray, source: np.ndarray, factor: np.ndarray) -> None:
        for n in range(source.shape[0]):
            for j in range(64):
                target[n, j] = source[n, j] * factor[0, 0]

    scale.compile((types.float32[:, ::1],) * 3)
    (code,), (assembly,) = scale.inspect_llvm().values(), scale.inspect_asm().values()
    definition = next(line for line in code.splitlines() if line.startswith("define") and "scale" in line)
    assert definition.count("noalias") >= 5  # two for the result, one for the data of each array
    assert '"prefer-vector-width"="512"' in code
    assert "noinline" in code
    if X86:
        features = llvmlite.binding.get_host_cpu_features()
        assert "zmm" in assembly if features.get("avx512f") else "ymm" in assembly or not features.get("avx")


def test_python_cannot_call_what_has_no_entrance() -> None:
    with pytest.raises(TypeError, match="workspace is a part of compiled loops"):
        workspace(3, np.ones(3, np.float32))


def test_cycles_are_collected_again_after_compiling() -> None:
    @compiled
    def half(value: float) -> float:
        return value / 2

    half._cache = NullCache()  # so that it is compiled
    assert (half(3.0), gc.isenabled()) == (1.5, True)


SCAN_ONCE = """
import numpy as np
from metst.models.scan.numpy_scan import Operands, run_forward
ones = np.ones((1, 3, 2), np.float32)
operands = Operands(ones, ones, np.zeros((2, 2), np.float32), ones, ones, ones[0, 0])
y = run_forward(operands, delta_softplus=False, state=None, keep=False, threads=2).y
assert y.tolist() == [[[3.0] * 2, [5.0] * 2, [7.0] * 2]], y
"""


def run_python(code: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", *options, "-c", textwrap.dedent(code)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.mark.slow
def test_without_any_place_for_the_cache_it_compiles_and_says_so_once(tmp_path: Path) -> None:
    """No folder can be made where a file is in the way: of the package's, the user's, or the one asked for."""
    copy = tmp_path / "metst"
    shutil.copytree(Path(metst.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    (copy / "models" / "scan" / "__pycache__").touch()
    places = {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(in_the_way), "NUMBA_CACHE_DIR": str(in_the_way)}
    done = run_python(SCAN_ONCE, **places)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("KernelCacheWarning") == 1, done.stderr
    assert "NUMBA_CACHE_DIR" in done.stderr


def write_module(folder: Path, name: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(
        "from metst.models.scan.compile import compiled\n\n@compiled\ndef total(values):\n"
        "    s = 0.0\n    for v in values:\n        s += v\n    return s\n"
    )
    return path


def load_total(path: Path) -> Callable[[np.ndarray], float]:
    scope: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    return scope["total"]


@pytest.fixture
def _forgotten_warning() -> None:
    kernels._warn_once.cache_clear()
    yield
    kernels._warn_once.cache_clear()


@pytest.mark.usefixtures("_forgotten_warning")
@pytest.mark.parametrize("fault", ["vanished", "damaged"])
def test_a_cache_that_breaks_later_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr("numba.core.config.CACHE_DIR", "")
    path, folder = write_module(tmp_path, f"total_{fault}"), tmp_path / "__pycache__"
    total = load_total(path)
    if fault == "vanished":
        shutil.rmtree(folder, ignore_errors=True)
        folder.touch()
    else:
        assert total(np.ones(3)) == 3.0
        (index,) = folder.glob("*.nbi")
        index.write_bytes(index.read_bytes()[:50])
        total = load_total(path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert total(np.ones(4)) == 4.0
        assert total(np.ones(5, np.float32)) == 5.0
    assert [w.category for w in said] == [KernelCacheWarning]


def test_compiled_code_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.config.CACHE_DIR", "")
    path = write_module(tmp_path, "total_kept")
    first, second, changed = (load_total(path) for _ in range(3))
    assert first(np.ones(3)) == second(np.ones(3)) == 3.0
    assert not first.stats.cache_hits
    assert second.stats.cache_hits
    monkeypatch.setattr(kernels, "_sources_digest", lambda folder: "another release")
    assert changed(np.ones(3)) == 3.0
    assert not changed.stats.cache_hits


def test_arrays_are_scanned_without_torch() -> None:
    done = run_python(SCAN_ONCE + "import sys\nassert 'torch' not in sys.modules\n", "-W", "error")
    assert done.returncode == 0, done.stderr


# Threads and processes


def test_thread_limit_obeys_the_environment_and_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    available = thread_limit()
    assert 1 <= available <= (os.cpu_count() or 1)
    for text, wanted in [("1", 1), ("1,4", 1), ("9999", available), ("0", available), ("many", available)]:
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert thread_limit() == wanted, text


def test_workers_of_joblib_stay_within_their_share() -> None:
    joblib = pytest.importorskip("joblib")
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(thread_limit)() for _ in range(2)) == [1, 1]


def test_torch_threads_are_the_limit_of_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(
        "metst.models.scan.numpy_scan.run_tasks",
        lambda work, tasks, *, threads, updates: seen.append(threads) or work((0, tasks)),
    )
    monkeypatch.setattr("metst.models.scan.operator.thread_limit", lambda: 3)
    before = torch.get_num_threads()
    try:
        for wanted in (1, 2):
            torch.set_num_threads(wanted)
            selective_scan(*map(torch.from_numpy, large_arrays().values()))
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 2]


class Counter:
    """Work that records how many threads are at it."""

    def __init__(self) -> None:
        self.lock, self.now, self.most, self.shares = threading.Lock(), 0, 0, []

    def __call__(self, share: tuple[int, int]) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.shares.append(share)
        time.sleep(0.05)
        with self.lock:
            self.now -= 1


@pytest.mark.parametrize(
    ("threads", "tasks", "updates", "most"),
    [(1, 9, 1 << 30, 1), (3, 9, 1 << 30, 3), (8, 2, 1 << 30, 2), (4, 9, 1000, 1)],
)
def test_work_is_divided_once_among_as_many_threads_as_it_deserves(
    threads: int, tasks: int, updates: int, most: int
) -> None:
    counter = Counter()
    run_tasks(counter, tasks, threads=threads, updates=updates)
    assert counter.most == most
    assert sorted(k for first, last in counter.shares for k in range(first, last)) == list(range(tasks))


def test_calls_from_several_threads_share_the_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_threads, "_pool", scan_threads._Pool())  # not the larger one of an earlier test
    counter = Counter()
    callers = [
        threading.Thread(target=run_tasks, args=(counter, 8), kwargs={"threads": 3, "updates": 1 << 30})
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert counter.most <= 4 + 2  # the callers themselves and two helpers
    assert sum(last - first for first, last in counter.shares) == 4 * 8


def test_an_error_in_a_helper_reaches_the_caller() -> None:
    def fail(share: tuple[int, int]) -> None:
        if share[0]:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_tasks(fail, 4, threads=2, updates=1 << 30)


FORWARD: dict[str, Any] = {"delta_softplus": False, "state": None, "keep": False}


def large_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    u, maps = rng.uniform(0, 1, (8, 64, 128)), rng.uniform(0, 1, (8, 64, 32))
    a = {"u": u, "delta": u, "A": -np.ones((128, 32)), "B": maps, "C": maps, "D": np.ones(128)}
    return {name: operand.astype(np.float32) for name, operand in a.items()}


def test_an_error_of_the_caller_waits_for_the_helpers() -> None:
    """They write into the caller's arrays."""
    ended = threading.Event()

    def work(share: tuple[int, int]) -> None:
        if not share[0]:
            raise ValueError("broken")
        time.sleep(0.1)
        ended.set()

    with pytest.raises(ValueError, match="broken"):
        run_tasks(work, 2, threads=2, updates=1 << 30)
    assert ended.is_set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_scans_with_threads_of_its_own() -> None:
    operands = Operands(**large_arrays())
    wanted = run_forward(operands, threads=2, **FORWARD).y
    receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(
        target=lambda: sender.send_bytes(run_forward(operands, threads=2, **FORWARD).y.tobytes())
    )
    child.start()
    try:
        assert receiver.poll(30), "the forked process hangs"
        assert receiver.recv_bytes() == wanted.tobytes()
        child.join(30)
        assert child.exitcode == 0
    finally:
        child.kill()


def test_a_spawned_process_scans_the_same_bits() -> None:
    operands = Operands(**large_arrays())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        spawned = pool.apply(run_forward, (operands,), FORWARD | {"threads": 2})
    np.testing.assert_array_equal(spawned.y, run_forward(operands, threads=1, **FORWARD).y)
