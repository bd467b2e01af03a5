"""Names of what is not whole yet, and what dead processes left of it.

A part of a file, a folder of temporary files: its name says on which machine, by which process, and when that started.
Two processes never draw one name, and whoever comes later sees what nobody will ever finish.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
import time
import uuid
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

PART_SUFFIX = ".part"
"""How the name of a file ends that is not whole yet; it starts with a dot."""

_TOKEN_BYTES = 8
"""Random bytes in the name of such a file: enough that no two writers ever draw the same."""

_OWNED: Final = re.compile(r"\.metst-(?P<place>[0-9a-f]{8})-(?P<process>\d+)-(?P<started>\d+)-(?P<rest>.+)", re.DOTALL)
"""Such a name: where its process runs, the process's number, when it started (see :func:`_started`), what follows."""

_ASIDE: Final = "old-"
"""What follows in the name of a folder that stands aside while another takes its place; then comes its own name."""

_ABANDONED_S = 86400.0
"""Seconds after which a part that another machine left counts as abandoned: nobody here can see whether its process
lives, but writing touches the file all the time.  Set by hand."""

_PROCESSES: Final = Path("/proc")
"""Where Linux tells of its processes."""

_TICKS_FIELD: Final = 19
"""Place of ``starttime`` behind the name in ``/proc/<pid>/stat``, proc_pid_stat(5): clock ticks from the start of the
machine, which no set clock moves."""

_SAME_START_S: Final = 3600
"""Seconds by which two readings of when a process started may differ where there is only the clock, which may be set.
A number that was given anew within it keeps a leftover for a while longer.  Set by hand."""

_MACHINE_FILES: Final = (Path("/proc/sys/kernel/random/boot_id"), Path("/etc/machine-id"))
"""What tells a machine from those of the same name, the first that can be read."""


def name_beside(path: Path, *, aside: bool = False) -> Path:
    """A name in the same folder that nobody else has, and that tells whose it is.

    It is as long for every path, since a system limits its length; but that of a folder which stands ``aside`` ends
    with the folder's own.  What dead processes left there is deleted, once per process.
    """
    _sweep_once(path.parent, os.getpid())
    rest = f"{_ASIDE}{path.name}" if aside else f"{secrets.token_hex(_TOKEN_BYTES)}{PART_SUFFIX}"
    return path.with_name(f".metst-{_place()}-{os.getpid()}-{_start_of(os.getpid())}-{rest}")


@lru_cache(maxsize=1)
def _place() -> str:
    """Tell this machine, and the processes that see each other, from all others."""
    node = f"{platform.node()} {_machine()}"
    with suppress(OSError):
        node += str(Path("/proc/self/ns/pid").readlink())  # the first one has one number on all machines
    return hashlib.sha256(node.encode()).hexdigest()[:8]


def _machine() -> str:
    for file in _MACHINE_FILES:
        with suppress(OSError, ValueError):
            if found := file.read_text(encoding="ascii").strip():
                return found
    return str(uuid.getnode())


@lru_cache(maxsize=1)
def _start_of(process: int) -> int:
    """As :func:`_started`, of this process, which starts but once; 0 when nobody can tell."""
    return _started(process) or 0


def _started(process: int) -> int | None:
    """When a process started: clock ticks from the start of the machine on Linux, elsewhere seconds since 1970.

    It is 0 when there is none such, or only its exit code is left, and None when nobody can tell.
    """
    import psutil

    try:
        if _has_ticks():
            state, *rest = (_PROCESSES / str(process) / "stat").read_text(errors="replace").rpartition(")")[2].split()
            return 0 if state in "ZX" else int(rest[_TICKS_FIELD - 1])
        found = psutil.Process(process)
        return 0 if found.status() == psutil.STATUS_ZOMBIE else int(found.create_time())
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None if psutil.pid_exists(process) else 0  # a system may hide what it tells of others
    except (psutil.Error, OSError, ValueError, IndexError):
        return None


@lru_cache(maxsize=1)
def _has_ticks() -> bool:
    return (_PROCESSES / "self" / "stat").is_file()


def _is_gone(process: int, *, started: int) -> bool:
    """Whether a process that started then is no more; where nobody can tell, it lives."""
    now = _started(process)
    if not now or not started:
        return now == 0
    return abs(now - started) > (0 if _has_ticks() else _SAME_START_S)


@lru_cache(maxsize=4096)
def _sweep_once(folder: Path, process: int) -> None:  # noqa: ARG001 - a process that was forked sweeps again
    sweep(folder)


def leftovers(folder: Path) -> list[Path]:
    """What processes that are gone have left in a folder: parts of files, folders of temporary files."""
    try:
        return [path for path in folder.glob(".metst-*") if _is_left(path)]
    except OSError:
        return []


def sweep(folder: Path) -> list[Path]:
    """Delete :func:`leftovers`, and bring back what stood aside for a folder that never came; what went or came."""
    done = leftovers(folder)
    for path in done:
        named = _OWNED.fullmatch(path.name)
        aside = named is not None and named["rest"].startswith(_ASIDE)
        home = folder / named["rest"].removeprefix(_ASIDE) if named is not None and aside else path
        with suppress(OSError):
            if aside and not home.exists():
                path.replace(home)
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    return done


def _is_left(path: Path) -> bool:
    """Whether it is this user's, and its process is gone.  Elsewhere, and of earlier versions, only age tells."""
    named = _OWNED.fullmatch(path.name)
    if named is None and not path.name.endswith(PART_SUFFIX):
        return False
    with suppress(OSError):
        status = path.lstat()
        if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
            return False
        if named is not None and named["place"] == _place():
            return _is_gone(int(named["process"]), started=int(named["started"]))
        inside = path.iterdir() if path.is_dir() and not path.is_symlink() else ()
        newest = max([status.st_mtime, *(each.lstat().st_mtime for each in inside)])
        return time.time() - newest > _ABANDONED_S
    return False
