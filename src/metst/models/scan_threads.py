"""Threads for compiled loops: one pool per process, never more threads at work than the machine or the user allows."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_SMALLEST_SHARE = 1 << 19
"""State updates that are worth waking a thread for (some 60 microseconds of work)."""


def thread_limit() -> int:
    """Threads this process may use: the processors it may run on, or fewer by ``OMP_NUM_THREADS``.

    joblib and other launchers of worker processes set that variable in each worker.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    available = len(affinity(0)) if affinity else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(available, int(wanted)) if wanted.isdigit() and int(wanted) > 0 else available


class _Pool:
    """Helpers of the calling threads; forgotten in a forked child, where its threads do not exist."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.busy = 0
        self.executor: ThreadPoolExecutor | None = None
        self.size = 0

    def claim(self, threads: int) -> int:
        """Take up to ``threads`` threads, the caller's own included, that no other call is using."""
        with self.lock:
            granted = max(1, threads - self.busy)
            self.busy += granted
            return granted

    def release(self, granted: int) -> None:
        with self.lock:
            self.busy -= granted

    def helpers(self, count: int) -> ThreadPoolExecutor:
        with self.lock:
            if self.executor is None or self.size < count:
                self.executor = ThreadPoolExecutor(count, thread_name_prefix="metst-scan")
                self.size = count
            return self.executor


_pool = _Pool()


def _forget_pool() -> None:
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def run_tasks(work: Callable[[tuple[int, int]], None], tasks: int, *, threads: int, updates: int) -> None:
    """Call ``work((first, last))`` on ranges that cover ``tasks`` tasks.

    Parameters
    ----------
    work : callable
        Must release the interpreter lock and not depend on how the tasks are divided.
    tasks : int
        How many there are.
    threads : int
        Most threads to use, the calling one included.
    updates : int
        State updates of all tasks together: small work stays on the calling thread.
    """
    pool = _pool
    granted = pool.claim(min(threads, tasks, 1 + updates // _SMALLEST_SHARE))
    try:
        bounds = [tasks * k // granted for k in range(granted + 1)]
        ranges = list(itertools.pairwise(bounds))
        pending = [pool.helpers(granted - 1).submit(work, share) for share in ranges[1:]]
        work(ranges[0])
        for future in pending:
            future.result()
    finally:
        pool.release(granted)
