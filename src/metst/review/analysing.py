"""Analyses one upload, in a process of its own: ``python -m metst.review.analysing VIDEO FOLDER``.

It tells how far it is as lines of JSON on the standard output, and ends when its standard input does: that is the
server's, and when the server is gone nobody waits for the results.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from metst.guard.faults import Fault, guarded

_TOLD_S: Final = 0.2
"""Seconds between two lines of one stage, at least.  Set by hand."""


def main(video: str, folder: str) -> int:
    """Analyse a recording into a folder; 0 when that worked."""
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    outcome = guarded(lambda: _analyse(Path(video), Path(folder)), name=Path(video).name)
    if isinstance(outcome, Fault):
        _tell({"problem": outcome.message})
        return 1
    return 0


def _analyse(video: Path, folder: Path) -> None:
    from metst.evaluation.analyses import AnalysisTask, Choices, analyze_into, loaded

    told: dict[str, float] = {}

    def on_progress(stage: str, done: int, total: int | None) -> None:
        now_s = time.monotonic()
        if done == total or now_s - told.get(stage, 0.0) > _TOLD_S:
            told[stage] = now_s
            _tell({"stage": stage, "progress": min(done / total, 1.0) if total else 0.0})

    choices = Choices()
    analyze_into(AnalysisTask(video, folder, choices), model=loaded(choices), on_progress=on_progress)


def _tell(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _end_with_the_server() -> None:
    while os.read(0, 1):  # not through sys.stdin, which a thread that waits would hold while this process ends
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
