"""How many threads this process may use: one answer for decoding, networks and compiled loops."""

from __future__ import annotations

import os


def thread_limit() -> int:
    """Threads this process may use: the processors it may run on, or fewer by ``OMP_NUM_THREADS``.

    joblib and other launchers of worker processes set that variable in each worker.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    available = len(affinity(0)) if affinity else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(available, int(wanted)) if wanted.isdigit() and int(wanted) > 0 else available
