"""One writer at a time into a folder of results."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from metst.errors import OutputError
from metst.storage import make_folder, remedy

LOCK_FILE = ".metst-lock"
"""Held by the one that writes into a folder of results; the number of its process is in it."""

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
"""What disks without locks answer."""

_log = logging.getLogger(__name__)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keep every other metst, and other threads of this one, from writing into a folder of results.

    The folder is made, and goes again if nothing was written.  The lock goes with the process: one that was killed
    keeps nobody out.  Blocks within blocks are one.

    Raises
    ------
    OutputError
        Another one writes there, or the folder cannot be made or written to.
    """
    made = _absent(folder)
    make_folder(folder)
    lock = FileLock(folder.resolve() / LOCK_FILE, timeout=0, is_singleton=True)
    if lock.is_locked:
        yield
        return
    try:
        lock.acquire()
        _log.debug("%s is held", lock.lock_file)
    except Timeout as error:
        raise OutputError(
            f"another metst ({_holder(folder)}) writes into {folder}: wait until it is done, or give another folder"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise OutputError(f"cannot write into {folder}: {remedy(error)}") from error
        _log.info("%s cannot be locked (%s)", folder, error)
        yield
        return
    path = Path(lock.lock_file)
    try:
        with suppress(OSError):  # for people; the lock itself is held
            path.write_text(f"{os.getpid()}\n", encoding="ascii")
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)  # while it is held: who waits for it sees that it has no name any more
        lock.release()
        with suppress(OSError):  # those that are not empty stay
            for each in made:
                each.rmdir()


def _absent(folder: Path) -> list[Path]:
    """The folder and those above it that are not there; none where that cannot be seen: whoever makes it says why."""
    try:
        return [each for each in (folder, *folder.parents) if not each.exists()]
    except OSError:
        return []


def _holder(folder: Path) -> str:
    with suppress(OSError, ValueError):
        return f"process {int((folder / LOCK_FILE).read_text(encoding='ascii'))}"
    return "or another thread of this one"
