"""One seam for many processors: the same call on a laptop, on a Dask cluster and under Slurm.

A task is a picklable value, the work a function of one task that leaves its result on disk and does nothing
when that result is already there.  So a worker that is killed costs no more than its unfinished task: whatever
had not been reported is run again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from metst.errors import MetstError, UsageError
from metst.threads import thread_limit

Task = TypeVar("Task")
Kind = Literal["local", "dask", "slurm"]

ATTEMPTS = 3
"""Times that work is handed out before killed workers count as a failure; set by hand."""

_WATCH_S = 0.5
"""Seconds between two looks of a worker for the process that started it; set by hand."""

# Held while a process does a task.
_ONE_AT_A_TIME = threading.Lock()
# What brings the packages of the cluster, and of folds on this machine.
_MISSING = "pip install 'metst[cluster]'"
_MISSING_LOCALLY = "pip install 'metst[train]'"


@dataclass(frozen=True)
class Executor:
    """Where tasks run.

    Parameters
    ----------
    kind : {"local", "dask", "slurm"}
    workers : int, optional
        Processes at a time; all processors of the machine when None.  One Slurm job per task, so many at a time.
    scheduler : str, optional
        Address of a Dask scheduler (a cluster on this machine when None), or partition of Slurm.
    folder : Path, optional
        For the logs of Slurm's jobs; shared by all nodes.

    Raises
    ------
    UsageError
        A kind that is not known, fewer than one worker, or a scheduler for local work.
    """

    kind: Kind = "local"
    workers: int | None = None
    scheduler: str | None = None
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UsageError(f"unknown executor {self.kind!r}: expected one of {', '.join(get_args(Kind))}")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"{self.workers} workers: expected 1 or more")
        if self.kind == "local" and self.scheduler is not None:
            raise UsageError("a scheduler is for the executors dask and slurm")

    @property
    def processes(self) -> int:
        """Processes at a time."""
        return self.workers or thread_limit()


@dataclass(frozen=True)
class Failure:
    """A task that could not be done, and why, for people."""

    task: int
    message: str


def run_tasks(
    function: Callable[[Task], None],
    tasks: Sequence[Task],
    *,
    executor: Executor,
    on_done: Callable[[int], None] | None = None,
) -> tuple[Failure, ...]:
    """Run a function on all tasks.

    Parameters
    ----------
    function : callable
        Module-level function of one task.  It keeps its result on disk, and finds it there when called again.
    tasks : sequence
        Picklable values.
    executor : Executor
        Where.
    on_done : callable, optional
        Called in this process with the position of each task that is done.

    Returns
    -------
    tuple of Failure
        Tasks that raised an error of this product, in the order of the tasks; the others went on.

    Raises
    ------
    MetstError
        Workers were killed again and again.
    UsageError
        What the executor needs is not installed, or its cluster does not answer.
    Exception
        Any other error of the function, as it is.
    """
    runs = {"local": _local, "dask": _dask, "slurm": _slurm}
    failures: dict[int, Failure] = {}
    for position, message in runs[executor.kind](function, tasks, executor):
        if message is not None:
            failures[position] = Failure(position, message)
        elif on_done is not None:
            on_done(position)
    return tuple(failures[position] for position in sorted(failures))


def check_executor(executor: Executor) -> None:
    """Make sure that what an executor needs is there, before anything is written for it.

    Raises
    ------
    UsageError
        It is not installed, or its cluster does not answer.
    """
    if executor.kind == "local":
        _library("joblib", _MISSING_LOCALLY)
    elif executor.kind == "slurm":
        _queue(executor)
    elif executor.scheduler is None:
        _library("distributed", _MISSING)
    else:
        _client(executor).close()


Outcome = tuple[int, str | None]


def _guarded(function: Callable[[Any], None], task: Any, position: int) -> Outcome:
    """Do one task; an error of this product becomes words, so that it crosses any process boundary.

    One at a time in a process: a Dask worker may have several threads, and training seeds what they share.
    """
    try:
        with _ONE_AT_A_TIME:
            function(task)
    except MetstError as error:
        return position, str(error)
    return position, None


def _watched(function: Callable[[Any], None], task: Any, position: int, *, parent: int) -> Outcome:
    """As a worker on this machine: it ends when the process that started it does."""
    _end_with(parent)
    return _guarded(function, task, position)


def _end_with(parent: int) -> None:
    """Stop this process when the one that asked for the work is gone: nobody must write beside its successor."""
    if parent == os.getpid() or getattr(_end_with, "watching", None) == parent:
        return
    _end_with.watching = parent  # type: ignore[attr-defined]

    def watch() -> None:
        # Not whether it is alive: a killed process that nobody waited for still has its number.
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _local(function: Callable[[Task], None], tasks: Sequence[Task], executor: Executor) -> Iterator[Outcome]:
    joblib = _library("joblib", _MISSING_LOCALLY)
    from joblib.externals.loky.process_executor import BrokenProcessPool

    waiting = dict(enumerate(tasks))
    for attempt in range(ATTEMPTS):
        try:
            # One thread per worker: the processors are shared out among the tasks.
            with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
                jobs = [
                    joblib.delayed(_watched)(function, task, position, parent=os.getpid())
                    for position, task in waiting.items()
                ]
                workers = min(executor.processes, max(len(waiting), 1))
                for position, message in joblib.Parallel(workers, return_as="generator_unordered")(jobs):
                    del waiting[position]
                    yield position, message
            return
        except BrokenProcessPool as error:
            if attempt + 1 == ATTEMPTS:
                raise MetstError(
                    f"workers were killed {ATTEMPTS} times (out of memory?); {len(waiting)} of {len(tasks)} tasks are"
                    " not done: run the same command again, with fewer workers"
                ) from error


def _dask(function: Callable[[Task], None], tasks: Sequence[Task], executor: Executor) -> Iterator[Outcome]:
    distributed = _library("distributed", _MISSING)
    with _client(executor) as client:
        futures = [
            client.submit(_guarded, function, task, position, pure=False, retries=ATTEMPTS - 1)
            for position, task in enumerate(tasks)
        ]
        for future in distributed.as_completed(futures):
            try:
                yield future.result()
            except distributed.scheduler.KilledWorker as error:
                raise MetstError(f"workers of the Dask cluster were killed again and again: {error}") from error


def _client(executor: Executor) -> Any:
    distributed = _library("distributed", _MISSING)
    try:
        return (
            distributed.Client(n_workers=executor.processes, threads_per_worker=1, dashboard_address=None)
            if executor.scheduler is None
            else distributed.Client(executor.scheduler, timeout="10s")
        )
    except (OSError, ValueError) as error:
        raise UsageError(f"no Dask scheduler answers at {executor.scheduler}: {error}") from error


def _slurm(function: Callable[[Task], None], tasks: Sequence[Task], executor: Executor) -> Iterator[Outcome]:
    queue = _queue(executor)
    queue.update_parameters(cpus_per_task=1, slurm_array_parallelism=executor.workers or len(tasks))
    if executor.scheduler is not None:
        queue.update_parameters(slurm_partition=executor.scheduler)
    yield from submitted(queue, function, tasks)


def submitted(queue: Any, function: Callable[[Task], None], tasks: Sequence[Task]) -> Iterator[Outcome]:
    """Outcomes of tasks given to an executor of submitit, as they come; killed jobs are handed out again."""
    from submitit.core.utils import UncompletedJobError
    from submitit.helpers import as_completed

    waiting, killed = dict(enumerate(tasks)), None
    for _ in range(ATTEMPTS):
        if not waiting:
            return
        with queue.batch():
            jobs = [queue.submit(_guarded, function, task, position) for position, task in waiting.items()]
        for job in as_completed(jobs):
            try:
                position, message = job.result()
            except UncompletedJobError as error:
                killed = error
                continue
            del waiting[position]
            yield position, message
    if waiting:
        raise MetstError(
            f"jobs were killed {ATTEMPTS} times (out of memory or time?); {len(waiting)} of {len(tasks)} tasks are"
            f" not done: run the same command again ({killed})"
        ) from killed


def _queue(executor: Executor) -> Any:
    submitit = _library("submitit", _MISSING)
    folder = executor.folder or Path("slurm-logs")
    try:
        return submitit.AutoExecutor(folder=str(folder), cluster="slurm")
    except RuntimeError as error:
        raise UsageError(f"Slurm is not at hand on this machine: {error}") from error


def _library(name: str, how: str) -> Any:
    try:
        return __import__(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UsageError(f"this needs the package {name}: {how}") from error
