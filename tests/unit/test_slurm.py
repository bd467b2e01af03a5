"""Slurm: jobs get what the options say; those that are refused, killed or too slow are one line, and end no other."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import run
from helpers.slurm_commands import install
from metst.errors import MetstError, UsageError
from metst.evaluation import slurm
from metst.evaluation.executors import Executor, Failure, run_tasks
from metst.evaluation.slurm import ATTEMPTS, SlurmSettings, submitted

pytest.importorskip("submitit")

# Jobs import the function by the name of its module, which in this suite none has: they get the text.
WORK = """
import os, signal, time
from metst.errors import DataError

def work(task):
    folder, name, what = task
    with (folder / f"{name}.runs").open("a") as file:
        file.write("x")
    if what == "fault":
        raise DataError(f"{name} is bad")
    if what == "slow":
        time.sleep(60)
    if what == "once" and (folder / f"{name}.runs").read_text() == "x":
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / f"{name}.done").touch()
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    modules = tmp_path / "modules"
    modules.mkdir()
    name = f"slurm_work_{os.getpid()}_{abs(hash(str(tmp_path))) % 10**6}"
    (modules / f"{name}.py").write_text(WORK)
    monkeypatch.syspath_prepend(modules)
    monkeypatch.setenv("PYTHONPATH", str(modules), prepend=os.pathsep)
    function: Callable[[Any], None] = __import__(name).work
    return function


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", install(tmp_path / "commands"))
    monkeypatch.setenv("WORK_OF_JOBS", str(tmp_path))
    monkeypatch.setattr(slurm, "_POLL_S", 0.1)
    return tmp_path / "commands" / "state"


def asked(cluster: Path) -> list[dict[str, str]]:
    return [json.loads(path.read_text()) for path in sorted(cluster.glob("*.asked"))]


def executor(tmp_path: Path, **settings: Any) -> Executor:
    return Executor("slurm", folder=tmp_path / 'logs "0" = x', slurm=SlurmSettings(**settings))


def test_tasks_are_done_once_and_a_killed_job_is_handed_out_again(work, cluster: Path, tmp_path: Path) -> None:
    tasks = [(tmp_path, "a", ""), (tmp_path, "b", "fault"), (tmp_path, "c", "once"), (tmp_path, "d", "")]
    told: list[tuple[str, int, int | None]] = []
    failures = run_tasks(
        work, tasks, executor=executor(tmp_path), on_progress=lambda *each: told.append(each), counted="folds"
    )
    assert failures == (Failure(1, "b is bad"),)
    assert sorted(path.stem for path in tmp_path.glob("*.done")) == ["a", "c", "d"]
    runs = {path.stem: path.read_text() for path in tmp_path.glob("*.runs")}
    assert runs == {"a": "x", "b": "x", "c": "xx", "d": "x"}
    assert told == [("folds", done, 4) for done in range(5)]
    assert [each["array"].split("%")[0] for each in asked(cluster) if "array" in each] == ["0-3"]


def test_jobs_get_what_was_asked_and_no_default_of_a_library(work, cluster: Path, tmp_path: Path) -> None:
    chosen = executor(
        tmp_path, time_min=30, memory_gb=1.5, gpus=2, account="lab", partition="fast",
        extra=("--qos=high", "exclusive", "cpus-per-task=4"),
    )  # fmt: skip
    assert run_tasks(work, [(tmp_path, "a", "")], executor=chosen) == ()
    assert run_tasks(work, [(tmp_path, "b", "")], executor=executor(tmp_path)) == ()
    first, second = asked(cluster)
    expected = {"time": "30", "mem": "1536M", "gpus-per-node": "2", "account": "lab", "partition": "fast",
                "qos": "high", "exclusive": "", "cpus-per-task": "4", "job-name": "metst"}  # fmt: skip
    assert {name: first.get(name) for name in expected} == expected
    assert (second["time"], second["mem"], second["cpus-per-task"]) == ("240", "8192M", "1")
    assert not {"account", "partition", "gpus-per-node", "qos"} & second.keys()


@pytest.mark.parametrize(
    ("settings", "state", "remedy"),
    [
        ({"time_min": 2}, "TIMEOUT", "--slurm-time"),
        ({"extra": ("constraint=doomed",)}, "OUT_OF_MEMORY", "--slurm-memory"),
    ],
)  # fmt: skip
def test_a_job_that_gets_too_little_is_one_line_with_its_log(
    work, cluster: Path, tmp_path: Path, settings: dict[str, Any], state: str, remedy: str
) -> None:
    (failure,) = run_tasks(work, [(tmp_path, "a", "slow")], executor=executor(tmp_path, **settings))
    assert "\n" not in failure.message
    assert "Traceback" not in failure.message
    assert re.search(rf"job \d+ of Slurm ended \({state}; (.*): .*CANCELLED: {state}", failure.message)
    log = re.search(rf"{state}; (.*_log\.err): ", failure.message)
    assert log is not None
    assert Path(log[1]).read_text().strip().endswith(f"{state} ***")
    assert remedy in failure.message
    assert "run the same command again" in failure.message
    assert (tmp_path / "a.runs").read_text() == "x", "what would end again is not repeated"


def test_a_refused_job_is_one_line(work, cluster: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MetstError, match=r"refused the jobs: .*invalid partition specified: closed") as caught:
        run_tasks(work, [(tmp_path, "a", ""), (tmp_path, "b", "")], executor=executor(tmp_path, partition="closed"))
    assert "\n" not in str(caught.value)
    assert "--slurm-partition" in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.glob("*.runs"))


def test_the_command_tells_a_refusal_in_one_line(
    cluster: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").touch()
    where = ("--executor", "slurm", "--slurm-partition", "closed")
    code, _, err = run(capsys, "analyze", tmp_path / "a.mp4", "-o", tmp_path / "out", *where, "-q")
    assert code == 1
    assert len(err.strip().splitlines()) == 1
    assert "invalid partition" in err


def test_a_machine_without_slurm_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="Slurm is not at hand"):
        run_tasks(print, [1], executor=Executor("slurm", folder=tmp_path))


@pytest.mark.parametrize("wrong", [{"time_min": 0}, {"memory_gb": 0}, {"gpus": -1}, {"extra": ("--=x",)}])
def test_jobs_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"expected NAME=VALUE|at least 1 minute"):
        SlurmSettings(**wrong)
    with pytest.raises(UsageError, match="for the executor slurm"):
        Executor("dask", slurm=SlurmSettings(gpus=1))
    with pytest.raises(UsageError, match="two partitions"):
        Executor("slurm", scheduler="a", slurm=SlurmSettings(partition="b"))


class FakeQueue:
    """As an executor of submitit; counts what it holds, refuses to hold more than ``room``."""

    folder = Path("logs")

    def __init__(self, *, room: int = 10**9, kills: dict[int, int] | None = None) -> None:
        self.room, self.kills, self.held, self.most, self.done = room, kills or {}, 0, 0, list[int]()

    def batch(self) -> "FakeQueue":
        return self

    def __enter__(self) -> None:
        self.adding = 0

    def __exit__(self, *error: object) -> None:
        from submitit.core.utils import FailedJobError

        if self.held + self.adding > self.room:
            raise FailedJobError("sbatch: error: QOSMaxSubmitJobPerUserLimit")
        self.held += self.adding
        self.most = max(self.most, self.held)

    def submit(self, function: Any, task: Any, position: int) -> "FakeJob":
        self.adding += 1
        return FakeJob(self, lambda: function(task, position), position)


class FakeJob:
    def __init__(self, queue: FakeQueue, call: Callable[[], Any], position: int) -> None:
        self.queue, self.call, self.position, self.job_id, self.state = (
            queue,
            call,
            position,
            str(position),
            "NODE_FAIL",
        )
        self.paths = type("Paths", (), {name: Path("no-such-file") for name in
                                        ("result_pickle", "submitted_pickle", "stderr", "stdout")})  # fmt: skip

    def done(self) -> bool:
        queue = self.queue
        queue.held -= 1
        queue.done.append(self.position)
        if queue.done.count(self.position) > queue.kills.get(self.position, 0):
            self.state = "COMPLETED"
        return True

    def result(self) -> Any:
        return self.call()


def instantly(task: Any, position: int) -> tuple[int, str | None]:
    return position, None


@pytest.mark.parametrize("most", [slurm.IN_HAND, 4])
def test_ten_thousand_tasks_are_never_held_at_once(most: int) -> None:
    queue = FakeQueue()
    found = list(submitted(queue, instantly, range(10_000), most=most))
    assert sorted(found) == [(position, None) for position in range(10_000)]
    assert queue.most == most


def test_killed_jobs_are_handed_out_again_and_given_up_one_by_one() -> None:
    queue = FakeQueue(kills={1: ATTEMPTS - 1, 2: ATTEMPTS})
    found = dict(submitted(queue, instantly, "abcd"))
    assert [found[position] for position in (0, 1, 3)] == [None] * 3
    assert f"job 2 of Slurm ended {ATTEMPTS} times (NODE_FAIL; no log)" in str(found[2])
    assert sorted(queue.done) == [0, *[1] * ATTEMPTS, *[2] * ATTEMPTS, 3]
    assert list(submitted(queue, instantly, [])) == []


def test_a_cluster_that_takes_few_jobs_gets_few() -> None:
    queue = FakeQueue(room=5)
    assert len(list(submitted(queue, instantly, range(30), most=100))) == 30
    assert queue.most <= 5
    with pytest.raises(MetstError, match="QOSMaxSubmitJobPerUserLimit"):
        list(submitted(FakeQueue(room=0), instantly, range(30), most=8))
