"""One seam for many processors: the same call on a laptop, on a Dask cluster and under Slurm.

A task is a picklable value, the work a function of one task that leaves its result on disk and does nothing
when that result is already there.  So a worker that is killed costs no more than its unfinished task: whatever
had not been reported is run again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from metst.errors import FAULTS_SHOWN, MetstError, UsageError
from metst.evaluation.slurm import ATTEMPTS, IN_HAND, Outcome, SlurmSettings, open_queue, submitted
from metst.guard.faults import Fault, guarded, tracebacks, traced_to
from metst.storage import temporary_folder
from metst.threads import thread_limit

if TYPE_CHECKING:
    from metst.arrays import OnProgress

Task = TypeVar("Task")
Kind = Literal["local", "dask", "slurm"]

TASKS_PER_GPU = 3
"""At a time on each graphics processor where nobody says how many: one alone waits for its steps to be handed over.  By
hand.
"""
_WATCH_S = 0.5
"""Seconds between two looks of a worker for the process that started it; set by hand."""

# Held while a process does a task.
_ONE_AT_A_TIME = threading.Lock()
# What brings the packages of the cluster.
_MISSING = "pip install 'metst[cluster]'"
# What a task is told whose worker was killed each time.
_KILLED = "its worker was killed again and again (out of memory?): free some, and run the same command again"


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
    slurm : SlurmSettings
        What each job of Slurm gets.
    separate : bool
        A single worker on this machine, too, is a process of its own with one thread, like each of several: sums over
        more threads may round otherwise.
    gpus : int
        Graphics processors of this machine that the workers share, each worker on one; 0: whatever torch takes.

    Raises
    ------
    UsageError
        A kind that is not known, fewer than one worker, a scheduler for local work, two partitions, or graphics
        processors of another machine.
    """

    kind: Kind = "local"
    workers: int | None = None
    scheduler: str | None = None
    folder: Path | None = None
    slurm: SlurmSettings = field(default_factory=SlurmSettings)
    separate: bool = False
    gpus: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UsageError(f"unknown executor {self.kind!r}: expected one of {', '.join(get_args(Kind))}")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"{self.workers} workers: expected 1 or more")
        if self.kind == "local" and self.scheduler is not None:
            raise UsageError("a scheduler is for the executors dask and slurm")
        if self.kind != "slurm" and self.slurm != SlurmSettings():
            raise UsageError("options of Slurm are for the executor slurm")
        if None not in (self.scheduler, self.slurm.partition) and self.scheduler != self.slurm.partition:
            raise UsageError(f"two partitions of Slurm, {self.scheduler} and {self.slurm.partition}: give one")

        if self.gpus and self.kind != "local":
            how = (
                "--slurm-gpus says what a job gets" if self.kind == "slurm" else "a Dask worker has those it was given"
            )
            raise UsageError(f"--gpus is for this machine: {how}")
        if self.workers is not None and self.workers < self.gpus:
            raise UsageError(f"{self.workers} workers for {self.gpus} graphics processors: give as many or more")

    @property
    def processes(self) -> int:
        """Processes at a time."""
        return self.workers or (TASKS_PER_GPU * self.gpus if self.gpus else thread_limit())


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
    on_progress: OnProgress | None = None,
    counted: str = "tasks",
) -> tuple[Failure, ...]:
    """Run a function on all tasks.

    However many tasks there are, a cluster holds at most IN_HAND of them at a time.

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
    on_progress : callable, optional
        Called in this process as ``on_progress(counted, ended, total)``, also for tasks that failed.
    counted : str
        What the tasks are.

    Returns
    -------
    tuple of Failure
        Tasks that raised any error, or whose workers were killed again and again, in the order of the tasks; the others
        went on.

    Raises
    ------
    MetstError
        Slurm refuses the jobs.
    UsageError
        What the executor needs is not installed, or its cluster does not answer.
    """
    runs = {"local": _local, "dask": _dask, "slurm": _slurm}
    failures: dict[int, Failure] = {}
    tell = on_progress or (lambda *_: None)
    tell(counted, 0, len(tasks))
    for ended, (position, message) in enumerate(runs[executor.kind](function, tasks, executor), 1):
        tell(counted, ended, len(tasks))
        if message is not None:
            failures[position] = Failure(position, message)
        elif on_done is not None:
            on_done(position)
    return tuple(failures[position] for position in sorted(failures))


def run_all(
    function: Callable[[Task], None],
    tasks: Sequence[Task],
    *,
    executor: Executor,
    names: Sequence[str],
    counted: str,
    on_progress: OnProgress | None = None,
) -> None:
    """Run a function on all tasks of one whole: as :func:`run_tasks`, but none may fail.

    Raises
    ------
    MetstError
        Tasks failed: they are named (``names``, one per task), the others are done.
    UsageError
        As :func:`run_tasks`.
    """
    failures = run_tasks(function, tasks, executor=executor, on_progress=on_progress, counted=counted)
    if failures:
        words = "; ".join(f"{names[each.task]}: {each.message}" for each in failures[:FAULTS_SHOWN])
        more = "; ..." if len(failures) > FAULTS_SHOWN else ""
        raise MetstError(f"{len(failures)} of {len(tasks)} {counted} failed ({words}{more})")


def alone(
    function: Callable[[Task], Any],
    task: Task,
    *,
    executor: Executor,
    counted: str,
    on_progress: OnProgress | None = None,
) -> None:
    """Run a function on one task by a worker of its own, as each of several has one.

    Raises
    ------
    MetstError
        The task failed.
    UsageError, Exception
        As :func:`run_tasks`.
    """
    for failure in run_tasks(function, [task], executor=executor, on_progress=on_progress, counted=counted):
        raise MetstError(failure.message)


def check_executor(executor: Executor) -> None:
    """Make sure that what an executor needs is there, before anything is written for it.

    Raises
    ------
    UsageError
        It is not installed, or its cluster does not answer.
    """
    if executor.kind == "slurm":
        _queue(executor)
    elif executor.kind == "dask" and executor.scheduler is None:
        _library("distributed", _MISSING)
    elif executor.kind == "dask":
        _client(executor).close()
    elif executor.gpus:
        _library("torch", "pip install 'metst[train]'")
        from metst.training.devices import check_gpus

        check_gpus(executor.gpus)


def _guarded(function: Callable[[Any], None], task: Any, position: int, *, traces: Path | None = None) -> Outcome:
    """Do one task; any error becomes words, so that it crosses any process boundary.

    One at a time in a process: a Dask worker may have several threads, and training seeds what they share.
    """
    with _ONE_AT_A_TIME, tracebacks(traces):
        done = guarded(lambda: function(task), name=f"{getattr(function, '__name__', 'task')}-{position + 1}")
    return position, done.message if isinstance(done, Fault) else None


def _watched(
    function: Callable[[Any], None],
    task: Any,
    position: int,
    *,
    traces: Path | None,
    parent: int,
    prepare: Callable[[], object],
) -> Outcome:
    """As a worker on this machine, once prepared: it ends when the process that started it does."""
    _end_with(parent)
    prepare()
    return _guarded(function, task, position, traces=traces)


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
    if executor.processes == 1 and not executor.separate:
        yield from (_guarded(function, task, position, traces=traced_to()) for position, task in enumerate(tasks))
        return
    waiting = dict.fromkeys(range(len(tasks)))
    for _ in range(ATTEMPTS - 1):
        if waiting:
            workers = min(executor.processes, max(len(waiting), 2))
            for outcome in _pool(function, tasks, waiting, workers=workers, gpus=executor.gpus):
                del waiting[outcome[0]]
                yield outcome
    # One of the rest kills its worker: now each has workers of its own, so that it shows which.
    for position in waiting:
        yield next(_pool(function, tasks, [position], workers=1, gpus=executor.gpus), (position, _KILLED))


def _own_gpu(places: Path, gpus: int) -> Callable[[], object]:
    """What gives a worker the graphics processor that is its own, where some are shared out."""
    if gpus == 0:
        return _nothing
    from metst.training.devices import take_gpu

    return partial(take_gpu, places, gpus=gpus)


def _nothing() -> None:
    """The preparation of a worker that needs none."""


def _pool(
    function: Callable[[Task], None], tasks: Sequence[Task], positions: Iterable[int], *, workers: int, gpus: int
) -> Iterator[Outcome]:
    """Outcomes of some tasks until all are done, or a worker is killed."""
    import joblib
    from joblib.externals.loky.process_executor import BrokenProcessPool

    # One thread per worker: the processors are shared out among the tasks.
    with (
        temporary_folder() as places,
        joblib.parallel_config(backend="loky", inner_max_num_threads=1),
    ):
        prepare = _own_gpu(places, gpus)
        watched = partial(_watched, traces=traced_to(), parent=os.getpid(), prepare=prepare)
        jobs = (joblib.delayed(watched)(function, tasks[position], position) for position in list(positions))
        with contextlib.suppress(BrokenProcessPool):
            # A pool of one would be this process: of two, one gets no work.
            ahead: int | str = 1 if workers == 1 else "2 * n_jobs"
            yield from joblib.Parallel(max(workers, 2), return_as="generator_unordered", pre_dispatch=ahead)(jobs)


def _dask(function: Callable[[Task], None], tasks: Sequence[Task], executor: Executor) -> Iterator[Outcome]:
    distributed = _library("distributed", _MISSING)
    with _client(executor) as client:
        waiting, positions = iter(enumerate(tasks)), dict[str, int]()
        running = distributed.as_completed()

        def hand_out(count: int) -> None:
            for position, task in itertools.islice(waiting, count):
                future = client.submit(
                    _guarded, function, task, position, traces=traced_to(), pure=False, retries=ATTEMPTS - 1
                )
                positions[future.key] = position
                running.add(future)

        hand_out(IN_HAND)
        suspected = []
        for future in running:
            position = positions.pop(future.key)
            hand_out(1)
            try:
                yield future.result()
            except distributed.scheduler.KilledWorker:
                suspected.append(position)
            except (CancelledError, distributed.comm.CommClosedError) as error:
                raise MetstError(f"the Dask cluster went away ({error}): run the same command again") from error
        # Dask suspects all that a worker that died had in hand: each alone shows which of them kills it.
        for position in suspected:
            alone = client.submit(_guarded, function, tasks[position], position, traces=traced_to(), pure=False)
            try:
                yield alone.result()
            except distributed.scheduler.KilledWorker:
                yield position, _KILLED


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
    yield from submitted(
        _queue(executor), partial(_guarded, function, traces=traced_to()), tasks, most=_at_a_time(executor)
    )


def _at_a_time(executor: Executor) -> int:
    return min(executor.workers or IN_HAND, IN_HAND)


def _queue(executor: Executor) -> Any:
    settings = replace(executor.slurm, partition=executor.slurm.partition or executor.scheduler)
    folder = executor.folder or Path("slurm-logs")
    return open_queue(_library("submitit", _MISSING), settings, folder=folder, most=_at_a_time(executor))


def _library(name: str, how: str) -> Any:
    try:
        return __import__(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UsageError(f"this needs the package {name}: {how}") from error
