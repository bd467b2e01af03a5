"""Databases of SQLite in a file: connections for writing that keep what they confirm, others that leave no trace."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WRITING = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # a commit is on the disk when it returns
    "PRAGMA wal_autocheckpoint=1",  # and in the file itself soon after: what lies beside it is one commit at most
    "PRAGMA cell_size_check=ON",
)
"""What makes a connection one for writing."""

BESIDE = ("-wal", "-shm")
"""What SQLite lays beside a file while it is open; behind the file's name."""

_BUSY_S = 5.0
"""How long a reader waits for a commit of another process, seconds.  Set by hand."""

_PLAIN_CODE = 0xFF
"""Extended result codes of SQLite have the plain one in their lowest byte."""

_CLOSED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY}
"""Result codes of a file that the system keeps closed: it is not damaged."""

_CAUSES = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space and try again",
    sqlite3.SQLITE_READONLY: "it may not be changed; look at the permissions of the folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; look at the permissions of the folder",
    sqlite3.SQLITE_BUSY: "another program holds it; close that and try again",
    sqlite3.SQLITE_IOERR: "the disk refuses it (full, over its quota or taken away); look at it and try again",
}
"""What keeps a database from being written, by result code, and what to do."""


def connected_for_writing(path: Path) -> sqlite3.Connection:
    """A connection to a database that is there; transactions are begun by hand, one thread at a time uses it.

    Raises
    ------
    sqlite3.Error
        It cannot be opened or is damaged.
    """
    connection = _connected(path, "mode=rw")
    try:
        for statement in _WRITING:
            connection.execute(statement)
        if (found := connection.execute("PRAGMA quick_check(1)").fetchone()) != ("ok",):
            raise sqlite3.DatabaseError(str(found and found[0]))
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def connected_for_reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing, also not beside the file where nobody has it open.

    Raises
    ------
    sqlite3.Error
        It cannot be opened.
    """
    # SQLite lays files beside one that it opens, and leaves them there when it may only read.
    is_open = path.with_name(f"{path.name}{BESIDE[0]}").exists()
    connection = _connected(path, "mode=ro" if is_open else "mode=ro&immutable=1")
    try:
        yield connection
    finally:
        connection.close()


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?{mode}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)


def is_closed(error: sqlite3.Error) -> bool:
    """Whether the system keeps a database closed: it is not damaged."""
    return getattr(error, "sqlite_errorcode", 0) & _PLAIN_CODE in _CLOSED


def cause(error: sqlite3.Error) -> str:
    """What keeps a database from being written, and what to do."""
    return _CAUSES.get(getattr(error, "sqlite_errorcode", 0) & _PLAIN_CODE, str(error))
