"""One call, four places to run: the work is done once, errors are named, killed workers cost what they had begun."""

import os
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from metst.errors import MetstError, UsageError
from metst.evaluation.executors import ATTEMPTS, Executor, Failure, check_executor, run_tasks, submitted

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
    monkeypatch.setenv("PYTHONPATH", str(modules))
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


def test_other_errors_are_no_words(work, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run_tasks(work, [(tmp_path, "a", "bug")], executor=Executor(workers=1))


def test_a_killed_worker_costs_only_what_it_had_begun(work, tmp_path: Path) -> None:
    tasks = [(tmp_path, name, "once" if name == "c" else "") for name in "abcdef"]
    told: list[int] = []
    assert run_tasks(work, tasks, executor=Executor(workers=2), on_done=told.append) == ()
    assert sorted(told) == list(range(6))
    assert done(tmp_path) == list("abcdef")
    assert runs(tmp_path, "c") == 2
    assert runs(tmp_path, "a") == 1


def test_a_task_that_always_kills_its_worker_is_given_up(work, tmp_path: Path) -> None:
    with pytest.raises(MetstError, match=f"killed {ATTEMPTS} times"):
        run_tasks(work, [(tmp_path, "a", "always"), (tmp_path, "b", "")], executor=Executor(workers=2))
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


# submitit's debugging jobs leave their log files open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_submitted_jobs_come_back_as_tasks(work, tmp_path: Path) -> None:
    submitit = pytest.importorskip("submitit")
    queue = submitit.AutoExecutor(folder=str(tmp_path / "logs"), cluster="debug")
    tasks = [(tmp_path, "a", ""), (tmp_path, "b", "fault")]
    assert sorted(submitted(queue, work, tasks)) == [(0, None), (1, "b is bad")]
    assert done(tmp_path) == ["a"]


class KillingQueue:
    """As submitit's executors; jobs of a task are killed as often as it says."""

    def __init__(self, kills: dict[int, int]) -> None:
        self.kills, self.jobs = kills, list[int]()

    def batch(self) -> AbstractContextManager[None]:
        return nullcontext()

    def submit(self, function: Any, work: Any, task: Any, position: int) -> Any:
        from submitit.core.utils import UncompletedJobError

        kills, jobs = self.kills, self.jobs

        class Job:
            def done(self) -> bool:
                return True

            def result(self) -> Any:
                jobs.append(position)
                if jobs.count(position) <= kills.get(position, 0):
                    raise UncompletedJobError("out of memory")
                return function(work, task, position)

        return Job()


def test_killed_jobs_are_handed_out_again(work, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    tasks = [(tmp_path, name, "") for name in "abc"]
    queue = KillingQueue({1: ATTEMPTS - 1})
    assert sorted(submitted(queue, work, tasks)) == [(0, None), (1, None), (2, None)]
    assert sorted(queue.jobs) == [0, *[1] * ATTEMPTS, 2]
    found = []
    with pytest.raises(MetstError, match=rf"killed {ATTEMPTS} times.*1 of 3 tasks are not done.*out of memory"):
        found += submitted(KillingQueue({1: ATTEMPTS}), work, tasks)
    assert list(submitted(queue, work, [])) == []


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
    check_executor(Executor())
