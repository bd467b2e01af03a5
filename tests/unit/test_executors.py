"""One call, four places to run: the work is done once, errors are named, killed workers cost what they had begun."""

import os
import sys
import threading
from collections import deque
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metst.errors import UsageError
from metst.evaluation import executors
from metst.evaluation.executors import Executor, Failure, check_executor, run_tasks
from metst.evaluation.slurm import ATTEMPTS, IN_HAND

pytest.importorskip("joblib")

# Workers import the function by the name of its module, which in this suite none has: they get the text.
WORK = """
import os, signal, threading, time
from pathlib import Path
from metst.errors import DataError

inside = []

def work(task):
    folder, name, what = task
    inside.append(name)
    alone = len(inside) == 1
    with (folder / f"{name}.runs").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    if what == "fault":
        inside.remove(name)
        raise DataError(f"{name} is bad")
    if what == "bug":
        inside.remove(name)
        raise ZeroDivisionError(name)
    if what == "always" or (what == "once" and not (folder / f"{name}.died").exists()):
        while what == "once" and not (folder / "a.done").exists():
            time.sleep(0.01)  # so that one is certainly done, and told, before
        time.sleep(0.5 * (what == "once"))
        (folder / f"{name}.died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    inside.remove(name)
    (folder / f"{name}.done").write_text("alone" if alone else "beside another")
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    modules = tmp_path / "modules"
    modules.mkdir()
    name = f"parallel_work_{os.getpid()}_{abs(hash(str(tmp_path))) % 10**6}"
    (modules / f"{name}.py").write_text(WORK)
    monkeypatch.syspath_prepend(modules)
    monkeypatch.setenv("PYTHONPATH", str(modules), prepend=os.pathsep)
    return __import__(name).work


def done(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.done"))


def runs(folder: Path, name: str) -> int:
    return len((folder / f"{name}.runs").read_text().splitlines())


def test_locally_every_task_runs_once_and_faults_are_told(work, tmp_path: Path) -> None:
    told: list[int] = []
    tasks = [(tmp_path, "a", ""), (tmp_path, "b", "fault"), (tmp_path, "c", "")]
    failures = run_tasks(work, tasks, executor=Executor(workers=1), on_done=told.append)
    assert failures == (Failure(1, "b is bad"),)
    assert sorted(told) == [0, 2]
    assert done(tmp_path) == ["a", "c"]
    assert run_tasks(work, [], executor=Executor()) == ()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_unexpected_error_costs_its_own_task_only(
    work, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METST_DEBUG", str(tmp_path / "debug"))
    tasks = [(tmp_path, "a", ""), (tmp_path, "b", "bug"), (tmp_path, "c", "")]
    (failure,) = run_tasks(work, tasks, executor=Executor(workers=workers))
    assert failure.task == 1
    assert failure.message.startswith("unexpected ZeroDivisionError: b in ")
    (written,) = (tmp_path / "debug").iterdir()
    assert str(written) in failure.message
    assert "Traceback" in written.read_text()
    assert written.stat().st_mode & 0o777 == 0o600
    assert done(tmp_path) == ["a", "c"]


def test_a_killed_worker_costs_only_what_it_had_begun(work, tmp_path: Path) -> None:
    tasks = [(tmp_path, name, "once" if name == "c" else "") for name in "abcdef"]
    told: list[int] = []
    assert run_tasks(work, tasks, executor=Executor(workers=2), on_done=told.append) == ()
    assert sorted(told) == list(range(6))
    assert done(tmp_path) == list("abcdef")
    assert runs(tmp_path, "c") == 2
    assert runs(tmp_path, "a") == 1


def test_a_task_that_always_kills_its_worker_is_given_up_and_no_other(work, tmp_path: Path) -> None:
    tasks = [(tmp_path, "a", "always"), (tmp_path, "b", ""), (tmp_path, "c", "")]
    told: list[int] = []
    (failure,) = run_tasks(work, tasks, executor=Executor(workers=2), on_done=told.append)
    assert failure.task == 0
    assert "killed again and again" in failure.message
    assert sorted(told) == [1, 2]
    assert done(tmp_path) == ["b", "c"]
    assert runs(tmp_path, "a") <= ATTEMPTS


@pytest.mark.filterwarnings("ignore")
def test_two_workers_of_a_dask_cluster(work, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    tasks = [(tmp_path, name, "fault" if name == "b" else "") for name in "abcdef"]
    told: list[int] = []
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster:
        executor = Executor("dask", scheduler=cluster.scheduler_address)
        assert run_tasks(work, tasks, executor=executor, on_done=told.append) == (Failure(1, "b is bad"),)
    assert sorted(told) == [0, 2, 3, 4, 5]
    assert done(tmp_path) == list("acdef")
    processes = {line for path in tmp_path.glob("*.runs") for line in path.read_text().splitlines()}
    assert len(processes) == 2
    assert str(os.getpid()) not in processes


@pytest.mark.filterwarnings("ignore")
def test_a_killed_worker_of_a_dask_cluster_costs_what_it_had_begun(work, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    kinds = {"c": "once", "e": "always"}
    tasks = [(tmp_path, name, kinds.get(name, "")) for name in "abcdefgh"]
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        executor = Executor("dask", scheduler=cluster.scheduler_address)
        (failure,) = run_tasks(work, tasks, executor=executor)
    assert (failure.task, "killed again and again" in failure.message) == (4, True)
    assert done(tmp_path) == list("abcdfgh")


def test_a_dask_cluster_never_holds_all_of_many_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand recordings cost the scheduler a bounded number of tasks."""
    distributed = pytest.importorskip("distributed")
    held, most, total = 0, 0, 10_000

    class Client(AbstractContextManager[Any]):
        def __exit__(self, *_: object) -> None:
            return None

        def submit(self, function: Any, work: Any, task: Any, position: int, **_: Any) -> Any:
            nonlocal held, most
            held += 1
            most = max(most, held)
            return SimpleNamespace(key=str(position), result=lambda: function(work, task, position))

    def as_completed() -> Any:
        waiting: deque[Any] = deque()

        class Completed:
            add = waiting.append

            def __iter__(self) -> Any:
                nonlocal held
                while waiting:
                    held -= 1
                    yield waiting.popleft()

        return Completed()

    monkeypatch.setattr(executors, "_client", lambda _: Client())
    monkeypatch.setattr(distributed, "as_completed", as_completed)
    told: list[int] = []
    assert run_tasks(abs, range(total), executor=Executor("dask"), on_done=told.append) == ()
    assert sorted(told) == list(range(total))
    assert most == IN_HAND


def test_tasks_of_one_process_do_not_run_side_by_side(work, tmp_path: Path) -> None:
    from metst.evaluation.executors import _guarded

    threads = [threading.Thread(target=_guarded, args=(work, (tmp_path, name, ""), 0)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.read_text() for path in tmp_path.glob("*.done")} == {"alone"}


def test_executors_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0 workers"):
        Executor(workers=0)
    with pytest.raises(UsageError, match="for the executors dask and slurm"):
        Executor(scheduler="tcp://localhost:1")
    with pytest.raises(UsageError, match="expected one of local, dask, slurm"):
        Executor("cloud")  # type: ignore[arg-type]


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"submitit: pip install 'metst\[cluster\]'"):
        run_tasks(print, [1], executor=Executor("slurm"))
    with pytest.raises(UsageError, match=r"submitit: pip install 'metst\[cluster\]'"):
        check_executor(Executor("slurm"))
