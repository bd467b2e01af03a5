"""One command, stopped at chosen steps, and run again each time; one line of JSON per fault.

    python -m faults.driver COMMAND FAULT STEPS WORK      (from the folder of the tests)

A step is a moment before something on the disk is changed: a file opened for writing, renamed or deleted, a folder made
or removed.  This process runs the command once, so that all is compiled and loaded; a copy of it (``fork``) does so for
each fault, with a hook (``sys.addaudithook``) that strikes at the step.  Then another copy runs the command without a
fault: what it leaves must be what an unbroken run leaves, byte for byte but for dates and durations, and nothing else
may lie about.  ``STEPS`` is how many steps are drawn evenly from all, or ``all``.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from faults import commands
from helpers.disk_steps import Strike, watch

os.environ["OMP_NUM_THREADS"] = "1"  # a copy of a process has none of its threads

PATIENCE_S = 600.0
_VOLATILE = re.compile(
    rb'"(?:created|seconds|sha256_of_the_rest)": ?[^,\n}]+|analysis took</th><td>[^<]+'
    rb"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\+00:00| UTC|Z)?"
)
_ERRORS = {"full": errno.ENOSPC, "forbidden": errno.EACCES}


def striking(fault: str, step: int) -> Strike:
    """Do harm at a step; a disk that is full or read-only stays so."""

    def strike(number: int) -> None:
        if fault in _ERRORS:
            if number >= step:
                raise OSError(_ERRORS[fault], os.strerror(_ERRORS[fault]))
        elif number == step:
            os.kill(os.getpid(), signal.SIGKILL if fault == "kill" else signal.SIGTERM)

    return strike


def run(words: Sequence[str]) -> int:
    """The command in this process; its exit code."""
    from metst import cli

    sys.argv = ["metst", *words]
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def copy_runs(words: Sequence[str], *, log: Path, roots: Sequence[Path], strike: Strike | None) -> int:
    """Exit code of the command in a copy of this process, or minus the signal that ended it."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 70
        try:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            if strike is not None:
                watch(roots, strike)
            code = run(words)
        except BaseException:  # noqa: BLE001 - told in the log, which the caller reads
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"{' '.join(words)} did not end within {PATIENCE_S:.0f} s")


def content(root: Path) -> dict[str, str]:
    """Fingerprint of each file below a folder, dates and durations aside; folders by their names."""
    found = {}
    for path in sorted(root.rglob("*")):
        data = path.read_bytes() if path.is_file() else b"folder"
        if path.suffix in {".json", ".jsonl", ".html", ".csv"}:
            data = _VOLATILE.sub(b"", data)
        found[str(path.relative_to(root))] = hashlib.sha256(data).hexdigest()
    return found


def main(name: str, fault: str, steps: str, work: Path) -> None:
    temporary, output, cache, log = (work / part for part in ("tmp", "out", "cache", "log"))
    inputs = work / "in"
    for folder in (inputs, temporary):
        folder.mkdir(parents=True)
    os.environ |= {"TMPDIR": str(temporary), "METST_CACHE_DIR": str(cache)}
    tempfile.tempdir = None
    words = commands.COMMANDS[name](inputs, output)

    def fresh() -> None:
        for folder in (output, cache, temporary):
            shutil.rmtree(folder, ignore_errors=True)
        temporary.mkdir()
        commands.before(name, output)

    fresh()
    if code := run(words):  # loads and compiles what copies then have
        raise SystemExit(f"an unbroken run of {name} ended with {code}")
    fresh()
    counted = work / "steps"

    def count(number: int) -> None:
        with counted.open("a") as lines:  # not below a folder that is watched
            lines.write(f"{number}\n")

    roots = (output, cache, temporary)
    if code := copy_runs(words, log=log, roots=roots, strike=count):
        raise SystemExit(f"an unbroken copy of {name} ended with {code}: {log.read_text()}")
    expected = {"out": content(output), "cache": content(cache), "tmp": content(temporary)}
    total = len(counted.read_text().split())
    wanted = total if steps == "all" else min(int(steps), total)
    for step in sorted({1 + (total * k) // wanted for k in range(wanted)}):
        fresh()
        code = copy_runs(words, log=log, roots=roots, strike=striking(fault, step))
        said = log.read_text()
        again = copy_runs(words, log=log, roots=roots, strike=None)
        left = {"out": content(output), "cache": content(cache), "tmp": content(temporary)}
        odd = sorted(
            f"{place}/{path}"
            for place in expected
            for path in left[place].keys() | expected[place].keys()
            if left[place].get(path) != expected[place].get(path)
        )
        answer = {"command": name, "fault": fault, "step": step, "steps": total, "code": code, "again": again}
        said_again = log.read_text() if again else ""
        answer |= {"odd": odd, "said": said[-2000:], "said_again": said_again[-2000:]}
        sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]).resolve())
