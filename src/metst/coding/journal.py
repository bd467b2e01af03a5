"""The log of the reviews of one recording: entries in, on the disk before anybody is told; the same entries out.

A SQLite database in a file that is its owner's alone.  Nothing in it is ever changed, entries come behind others.  Each
row has a checksum over itself and the one of the row before it, and the head tells the last of them: no row that
changed, is missing or was added by others is taken for what was written.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from metst.coding.unfolding import KINDS, Entry
from metst.errors import DataError, OutputError
from metst.results.analysis_folder import REVIEW_FILE
from metst.storage import fingerprint, json_key, whole_file

_SCHEMA = 1
"""Version of the layout of the log."""

_HEAD = "head"
"""Name of the row that tells number and checksum of the last entry; the only one that is ever replaced."""

_TABLES = (
    "CREATE TABLE meta (name TEXT NOT NULL, value TEXT NOT NULL) STRICT",
    "CREATE TABLE entries (number INTEGER PRIMARY KEY, layer TEXT NOT NULL, kind TEXT NOT NULL, by TEXT NOT NULL,"
    " at TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, checksum TEXT NOT NULL) STRICT",
)

_WRITING = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # a commit is on the disk when it returns
    "PRAGMA wal_autocheckpoint=1",  # and in the file itself soon after: what lies beside it is one entry at most
    "PRAGMA cell_size_check=ON",
)
"""What makes a connection one for writing."""

_AGAIN = "bring back a copy of it from a backup, or move it away to begin anew"
"""What to do about a damaged log."""

_BUSY_S = 5.0
"""How long a reader waits for a commit of another process, seconds.  Set by hand."""


@dataclass(frozen=True)
class Recording:
    """The recording that a log is of: hash of its content, number of frames, name."""

    content_hash: str
    frames: int
    name: str


class Journal:
    """An open log; :func:`open_journal` gives one.

    Used by one thread at a time.  ``recording`` is what it is of.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, *, read_only: bool) -> None:
        self._path, self._connection, self._read_only = path, connection, read_only
        with self._read():
            self.recording, self._checksum = _meta(connection)
            self.entries, self._checksum = _entries(connection, self._checksum)
        self._file = path.stat().st_ino

    def append(self, entry: Entry) -> None:
        """Put an entry behind the last one; it is on the disk when this returns.

        Raises
        ------
        OutputError
            It cannot be written; the log is as it was.
        """
        if self._read_only:
            raise OutputError(f"{self._path} cannot be written to: open the review where the results may be changed")
        self._still_there()
        values = _values(entry)
        checksum = _checksum(self._checksum, values)
        try:
            with self._connection:  # one transaction: both or none
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*values, checksum))
                head = f"{entry.number} {checksum}", _HEAD
                self._connection.execute("UPDATE meta SET value = ? WHERE name = ?", head)
        except sqlite3.Error as error:
            raise OutputError(f"nothing was saved: cannot write {self._path}: {_cause(error)}") from error
        self._checksum = checksum

    def close(self) -> None:
        """Close it; what lies beside it goes into it."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _still_there(self) -> None:
        """Make sure that the file has its name still: who writes into one that was deleted saves nothing."""
        with suppress(OSError):
            if self._path.stat().st_ino == self._file:
                return
        raise OutputError(f"nothing was saved: {self._path} was moved away or deleted meanwhile; start again")

    @contextmanager
    def _read(self) -> Iterator[None]:
        with _told(self._path):
            yield


def open_journal(folder: Path, *, recording: Recording | None = None, read_only: bool = False) -> Journal:
    """Open the log in a folder of results.

    Parameters
    ----------
    folder : Path
        Of results.
    recording : Recording, optional
        What it has to be of; with it, a log is made where there is none, unless it is only read.
    read_only : bool
        Nothing is written, also not beside it where that can be helped.

    Raises
    ------
    DataError
        There is none, it is damaged, of a newer version, or of another recording.
    OutputError
        It cannot be made.
    """
    path = folder / REVIEW_FILE
    if not path.exists() and recording is not None and not read_only:
        _make(path, recording)
    journal = _opened(path, read_only=read_only)
    if recording is not None and journal.recording.content_hash != recording.content_hash:
        journal.close()
        raise DataError(f"{path} is the review of another recording ({journal.recording.name}): move it away")
    if recording is not None and journal.recording.frames != recording.frames:
        journal.close()
        raise DataError(
            f"{path} is of {journal.recording.frames} frames, but the results have {recording.frames}: {_AGAIN}"
        )
    return journal


def _opened(path: Path, *, read_only: bool) -> Journal:
    if not path.is_file():
        raise DataError(f"{path} is missing: nobody reviewed this recording yet")
    connection = None
    with _told(path):
        try:
            connection = _connection(path, read_only=read_only)
            return Journal(path, connection, read_only=read_only)
        except BaseException:
            if connection is not None:
                connection.close()
            raise


def _connection(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection that other threads may use, too, one at a time; transactions are begun by hand."""
    modes = ("mode=ro", "mode=ro&immutable=1") if read_only else ("mode=rw",)
    for mode in modes:
        uri = f"{path.resolve().as_uri()}?{mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            if not read_only:
                for statement in _WRITING:
                    connection.execute(statement)
                if (found := connection.execute("PRAGMA quick_check(1)").fetchone()) != ("ok",):
                    raise sqlite3.DatabaseError(str(found and found[0]))
            connection.execute("SELECT count(*) FROM meta").fetchone()
            return connection
        except sqlite3.OperationalError as error:
            connection.close()
            # In a folder that cannot be written to, what SQLite lays beside a file cannot be made; it is not needed
            # where nothing else is there.
            beside = path.with_name(f"{path.name}-wal")
            if mode == modes[-1] or (beside.exists() and beside.stat().st_size) or not _is_closed(error):
                raise
        except BaseException:
            connection.close()
            raise
    raise AssertionError("the last mode returns or raises")


def _make(path: Path, recording: Recording) -> None:
    """A log without entries, whole or not at all."""
    facts = {"schema": str(_SCHEMA), "content_hash": recording.content_hash}
    facts |= {"frames": str(recording.frames), "name": recording.name}
    try:
        with whole_file(path, private=True) as part, closing(sqlite3.connect(part)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            for statement in _TABLES:
                connection.execute(statement)
            rows = [*facts.items(), (_HEAD, f"0 {_seed(facts)}")]
            connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise OutputError(f"nothing was saved: cannot write {path}: {_cause(error)}") from error


def _seed(facts: dict[str, str]) -> str:
    return fingerprint(json_key(facts))


def _meta(connection: sqlite3.Connection) -> tuple[Recording, str]:
    """What the log is of, and the checksum that the first entry follows."""
    facts = dict(connection.execute("SELECT name, value FROM meta"))
    facts.pop(_HEAD, None)
    schema = str(facts.get("schema", ""))
    if schema.isdecimal() and int(schema) > _SCHEMA:
        raise DataError(f"it has schema {schema}, this version reads {_SCHEMA}: use the version that wrote it")
    return Recording(facts["content_hash"], int(facts["frames"]), facts["name"]), _seed(facts)


def _entries(connection: sqlite3.Connection, checksum: str) -> tuple[list[Entry], str]:
    """All entries in order, and the checksum of the last."""
    found = []
    rows = connection.execute("SELECT number, layer, kind, by, at, id, body, checksum FROM entries ORDER BY number")
    for place, (*values, said) in enumerate(rows, start=1):
        checksum = _checksum(checksum, values)
        if checksum != said or values[0] != place:
            raise ValueError(f"entry {place} is not the one that was written")
        number, layer, kind, by, at, name, body = values
        if kind not in KINDS:
            raise ValueError(f"entry {place} is of no kind that is known")
        found.append(Entry(number, layer, kind, by, at, name, json.loads(body)))
    (head,) = connection.execute("SELECT value FROM meta WHERE name = ?", (_HEAD,)).fetchone() or ("",)
    if head != f"{len(found)} {checksum}":
        raise ValueError(f"it has {len(found)} entries, which are not those that were written")
    return found, checksum


def _values(entry: Entry) -> list[Any]:
    body = json.dumps(entry.body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return [entry.number, entry.layer, entry.kind, entry.by, entry.at, entry.id, body]


def _checksum(before: str, values: list[Any]) -> str:
    return fingerprint(json_key([before, *values]))


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Faults in a log, in one line with its name."""
    try:
        yield
    except DataError as error:
        raise error if str(path) in str(error) else DataError(f"{path}: {error}") from error
    except sqlite3.OperationalError as error:
        if _is_closed(error):
            raise DataError(f"{path} cannot be opened ({error}): look at its permissions") from error
        raise DataError(f"{path} is damaged ({error}): {_AGAIN}") from error
    except (sqlite3.Error, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error}): {_AGAIN}") from error


def _is_closed(error: sqlite3.Error) -> bool:
    """Whether the system keeps a log closed: it is not damaged."""
    # Extended codes of SQLite have the plain one in their lowest byte.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY}


def _cause(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return _CAUSES.get(code, str(error))


_CAUSES = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space and try again",
    sqlite3.SQLITE_READONLY: "it may not be changed; look at the permissions of the folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; look at the permissions of the folder",
    sqlite3.SQLITE_BUSY: "another program holds it; close that and try again",
    sqlite3.SQLITE_IOERR: "the disk refuses it (full, over its quota or taken away); try again",
    sqlite3.SQLITE_CORRUPT: f"it is damaged; {_AGAIN}",
}
"""What keeps an entry from being written, by SQLite's result codes, and what to do."""
