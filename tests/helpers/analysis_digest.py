"""Writes a digest of the analysis of a recording for each way to start a process, each in one of its own.

analysis_digest.py RECORDING METHOD...
"""

import hashlib
import multiprocessing
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from metst.results import Analysis


def digest(analysis: Analysis) -> str:
    """SHA-256 of all that was found; when it was, and how long it took, do not count."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if is_dataclass(value):
            for field in fields(value):
                add(getattr(value, field.name))
        elif isinstance(value, np.ndarray):
            found.update(f"{value.shape}{value.dtype}".encode() + np.ascontiguousarray(value).tobytes())
        elif hasattr(value, "time_s"):
            add(value.time_s)
        else:
            found.update(repr(value).encode())

    add(replace(analysis, created="", seconds=0.0))
    return found.hexdigest()


def tell(path: Path) -> None:
    """Analyse a recording and write its digest."""
    from metst.analyze import analyze

    sys.stdout.write(digest(analyze(path, cache=False)) + "\n")
    sys.stdout.flush()


def main() -> None:
    """One process after the other."""
    for method in sys.argv[2:]:
        process = multiprocessing.get_context(method).Process(target=tell, args=(Path(sys.argv[1]),))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{method}: {process.exitcode}")


if __name__ == "__main__":
    main()
