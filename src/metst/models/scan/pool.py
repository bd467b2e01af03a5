"""Threads for compiled loops: one pool per process, never more threads at work than the machine or the user allows."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

_SMALLEST_SHARE = 1 << 19
"""State updates that are worth waking a thread for (some 60 microseconds of work)."""


class _Pool:
    """Helpers that all calling threads share; forgotten in a forked child, where its threads do not exist."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._size = 0
        self._executor: ThreadPoolExecutor | None = None

    def helpers(self, count: int) -> ThreadPoolExecutor:
        """At least ``count`` of them; idle ones of a smaller pool end by themselves."""
        with self._lock:
            if self._executor is None or self._size < count:
                self._executor = ThreadPoolExecutor(count, thread_name_prefix="metst-scan")
                self._size = count
            return self._executor


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
    count = max(1, min(threads, tasks, 1 + updates // _SMALLEST_SHARE))
    shares = list(itertools.pairwise(tasks * k // count for k in range(count + 1)))
    pending = [_pool.helpers(count - 1).submit(work, share) for share in shares[1:]]
    try:
        work(shares[0])
    finally:
        wait(pending)  # they write into arrays of the caller
    for future in pending:
        future.result()
