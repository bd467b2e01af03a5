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

REVIEW_LOCK_FILE = ".metst-review-lock"
"""The same of the one that has a folder's reviews open."""

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
        with _acquired(lock, folder, f"writes into {folder}: wait until it is done, or give another folder"):
            yield
    finally:
        with suppress(OSError):  # those that are not empty stay
            for each in made:
                each.rmdir()


@contextmanager
def only_reviewer(folder: Path) -> Iterator[None]:
    """Keep every other metst, and everything else in this one, from opening the reviews in a folder of results.

    Any thread may leave the block.

    Raises
    ------
    OutputError
        Another one has them open, or the folder cannot be written to.
    """
    lock = FileLock(folder.resolve() / REVIEW_LOCK_FILE, timeout=0, thread_local=False)
    with _acquired(lock, folder, f"has the review of {folder} open: close that one first"):
        yield


@contextmanager
def _acquired(lock: FileLock, folder: Path, doing: str) -> Iterator[None]:
    """Hold a lock, or say what another one is doing; on a disk without locks, go on without."""
    path = Path(lock.lock_file)
    try:
        lock.acquire()
        _log.debug("%s is held", path)
    except Timeout as error:
        raise OutputError(f"another metst ({_holder(path)}) {doing}") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise OutputError(f"cannot write into {folder}: {remedy(error)}") from error
        _log.info("%s cannot be locked (%s)", folder, error)
        yield
        return
    try:
        with suppress(OSError):  # for people; the lock itself is held
            path.write_text(f"{os.getpid()}\n", encoding="ascii")
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)  # while it is held: who waits for it sees that it has no name any more
        lock.release()


def _absent(folder: Path) -> list[Path]:
    """The folder and those above it that are not there; none where that cannot be seen: whoever makes it says why."""
    try:
        return [each for each in (folder, *folder.parents) if not each.exists()]
    except OSError:
        return []


def _holder(lock: Path) -> str:
    with suppress(OSError, ValueError):
        return f"process {int(lock.read_text(encoding='ascii'))}"
    return "or another thread of this one"
