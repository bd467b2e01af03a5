"""Tasks as jobs of Slurm: handed out in batches, watched until they end, and in one line why a job left nothing.

submitit writes the job scripts, calls ``sbatch`` and asks ``sacct``; what jobs get is decided here alone.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metst.errors import MetstError, UsageError

Outcome = tuple[int, str | None]
"""Position of a task, and in words why it could not be done; None when it was."""

ATTEMPTS = 3
"""Times that a task is handed out when its worker is killed for no fault of its own; set by hand."""

IN_HAND = 500
"""Tasks that a cluster holds at a time: half of the array that Slurm allows unless told otherwise (1001). By hand."""

_POLL_S = 5.0
"""Seconds between two looks at the jobs; set by hand."""
_GONE_S = 60.0
"""Seconds after which a job that neither sacct nor squeue knows has ended, set by hand: some clusters keep no accounts.
"""
_WARNING_S = 10
"""Seconds before the end of its time at which a job is told, whole: nothing needs longer to be put away. By hand."""
_LINES = 2
"""Last lines of a job's log that are told; set by hand."""
_LATE = ("COMPLETED", "UNKNOWN")
"""States, as sacct has them, after which a result may still appear on a shared disk."""
_TOO_LITTLE = {"TIMEOUT": "give more time with --slurm-time", "OUT_OF_MEMORY": "give more memory with --slurm-memory"}
"""States in which the same job would end again, and what helps."""


@dataclass(frozen=True)
class SlurmSettings:
    """What each job gets.

    Parameters
    ----------
    time_min : int
        Minutes after which Slurm ends it.
    memory_gb : float
        Memory, in 2^30 bytes.
    gpus : int
        Graphics processors.
    account, partition : str, optional
        Who pays, and where it runs; the cluster's own when None.
    extra : tuple of str
        Further options of ``sbatch``, ``NAME=VALUE`` or ``NAME``; they win over those above.

    Raises
    ------
    UsageError
        No time, no memory, fewer than no graphics processors, or an option without a name.
    """

    time_min: int = 240
    memory_gb: float = 8.0
    gpus: int = 0
    account: str | None = None
    partition: str | None = None
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.time_min < 1 or self.memory_gb <= 0 or self.gpus < 0:
            raise UsageError("a job of Slurm needs at least 1 minute, some memory, and 0 or more graphics processors")
        if wrong := [each for each in self.extra if not each.lstrip("-").split("=")[0].strip()]:
            raise UsageError(f"{wrong[0]!r} is no option of sbatch: expected NAME=VALUE or NAME")

    def parameters(self) -> dict[str, Any]:
        """As submitit has them; nothing is left to its defaults that decides what a job may use."""
        named = {
            "job_name": "metst",
            "time": self.time_min,
            "mem": f"{round(self.memory_gb * 1024)}M",
            "cpus_per_task": 1,
            "gpus_per_node": self.gpus or None,
            "account": self.account,
            "partition": self.partition,
            "signal_delay_s": _WARNING_S,
            "setup": ["export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}"],  # not all processors of a node
        }
        more = [each.lstrip("-").partition("=") for each in self.extra]
        extra = {name.strip().replace("-", "_"): value if joint else True for name, joint, value in more}
        # What submitit computes with must come by its own name.
        given = {name: value for name, value in (named | extra).items() if value is not None}
        return {name: value for name, value in given.items() if name in named} | {
            "additional_parameters": {name: value for name, value in given.items() if name not in named}
        }


def open_queue(submitit: Any, settings: SlurmSettings, *, folder: Path, most: int) -> Any:
    """An executor of submitit whose jobs get what the settings say.

    Raises
    ------
    UsageError
        This machine has no Slurm, or it knows no such option.
    """
    try:
        queue = submitit.SlurmExecutor(folder=str(folder))
        queue.update_parameters(array_parallelism=most, **settings.parameters())
    except RuntimeError as error:
        raise UsageError(f"Slurm is not at hand on this machine: {error}") from error
    except (TypeError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"these options cannot be given to Slurm: {first}") from error
    return queue


def submitted(
    queue: Any, function: Callable[[Any, int], Outcome], tasks: Sequence[Any], *, most: int = IN_HAND
) -> Iterator[Outcome]:
    """Outcomes of tasks given to an executor of submitit, as they come.

    At most ``most`` jobs are with the cluster at a time; others follow as these end.  Jobs that were killed are
    handed out again, up to ATTEMPTS times in all.

    Raises
    ------
    MetstError
        The cluster refuses the jobs.
    """
    waiting = deque((position, 1) for position in range(len(tasks)))
    jobs: dict[Any, tuple[int, int]] = {}
    watch = _Watch()
    try:
        while waiting or jobs:
            batch = [waiting.popleft() for _ in range(min(len(waiting), most - len(jobs)))]
            try:
                given = _submit(queue, function, [(tasks[position], position) for position, _ in batch])
                jobs.update(zip(given, batch, strict=True))
            except MetstError:
                if not jobs and len(batch) == 1:
                    raise
                waiting.extendleft(reversed(batch))  # clusters limit jobs in the queue: go on with fewer
                most = max(len(jobs), (len(jobs) + len(batch)) // 2)
            ended = [job for job in jobs if job.done()] or watch.vanished(list(jobs))
            if jobs and not ended:
                time.sleep(_POLL_S)
            for job in ended:
                position, attempt = jobs.pop(job)
                outcome, state = _result(job)
                if outcome is None and attempt < ATTEMPTS and state not in _TOO_LITTLE:
                    waiting.append((position, attempt + 1))
                else:
                    yield outcome or (position, _why(job, state, attempt=attempt))
    finally:
        for job in jobs:  # whoever goes on must not meet them
            with contextlib.suppress(OSError):
                job.cancel(check=False)


def _submit(queue: Any, function: Callable[[Any, int], Outcome], tasks: Sequence[tuple[Any, int]]) -> list[Any]:
    from submitit.core.utils import FailedSubmissionError, UncompletedJobError

    if not tasks:
        return []
    try:
        # What sbatch says goes into the message.
        with contextlib.redirect_stderr(io.StringIO()), queue.batch():
            jobs = [queue.submit(function, task, position) for task, position in tasks]
    except (UncompletedJobError, FailedSubmissionError, OSError) as error:
        said = " | ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise MetstError(
            f"Slurm refused the jobs: {said or 'it did not say why'} (job scripts: {queue.folder}): change"
            " --slurm-partition, --slurm-account, --slurm-time or --slurm-memory, or have fewer in the queue with"
            " --workers, and run the same command again"
        ) from error
    return list(jobs)


def _result(job: Any) -> tuple[Outcome | None, str]:
    """What a job that has ended came to, or None; and its state."""
    from submitit.core.utils import UncompletedJobError

    state = str(job.state).split(" ")[0]
    if state not in _LATE and not job.paths.result_pickle.exists():
        return None, state
    try:
        outcome: Outcome = job.result()
    except UncompletedJobError as error:
        # Told shortly before its end, a job leaves a message, and Slurm calls it failed.
        return None, "TIMEOUT" if "timed-out" in str(error) else state
    for file in (job.paths.result_pickle, job.paths.submitted_pickle):
        file.unlink(missing_ok=True)  # of ten thousand tasks, only the logs stay
    return outcome, state


def _why(job: Any, state: str, *, attempt: int) -> str:
    """Why a job left nothing, in one line with the end of its log."""
    log = next((each for each in (job.paths.stderr, job.paths.stdout) if each.exists() and each.stat().st_size), None)
    words = "no log" if log is None else f"{log}: {_last_lines(log)}"
    times = f" {attempt} times" if attempt > 1 else ""
    remedy = _TOO_LITTLE.get(state, "see its log")
    return f"its job {job.job_id} of Slurm ended{times} ({state}; {words}): {remedy}, and run the same command again"


def _last_lines(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line[:1].strip()]
    return " | ".join(lines[-_LINES:])


class _Watch:
    """Looks for jobs that no account speaks of: when the queue has not known one for long, it has ended."""

    def __init__(self) -> None:
        self.missing: dict[str, float] = {}

    def vanished(self, jobs: Sequence[Any]) -> list[Any]:
        """Those of the jobs that have ended without a trace."""
        unknown = [job for job in jobs if str(job.state) == "UNKNOWN"]
        queued = _queued() if unknown else None
        if queued is None:
            return []
        now = time.monotonic()
        absent = {job.job_id: job for job in unknown if job.job_id.split("_")[0] not in queued}
        self.missing = {name: self.missing.get(name, now) for name in absent}
        return [job for name, job in absent.items() if now - self.missing[name] > _GONE_S]


def _queued() -> set[str] | None:
    """Numbers of the own jobs and arrays in the queue; None when it cannot be asked."""
    try:
        asked = subprocess.run(
            ["squeue", "--me", "--noheader", "--format=%A %F"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return set(asked.stdout.split())
