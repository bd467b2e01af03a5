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
from metst.results.analysis import Source
from metst.results.analysis_folder import FACTS_OF_REVIEWS, REVIEW_FILE
from metst.storage import fingerprint, json_key, whole_file
from metst.storage.database import cause, connected_for_reading, connected_for_writing, is_closed

_SCHEMA = 1
"""Version of the layout of the log."""

_HEAD = "head"
"""Name of the row that tells number and checksum of the last entry; the only one that is ever replaced."""

_TABLES = (
    "CREATE TABLE meta (name TEXT NOT NULL, value TEXT NOT NULL) STRICT",
    "CREATE TABLE entries (number INTEGER PRIMARY KEY, layer TEXT NOT NULL, kind TEXT NOT NULL, by TEXT NOT NULL,"
    " at TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, checksum TEXT NOT NULL) STRICT",
)

_AGAIN = "bring back a copy of it from a backup, or move it away to begin anew"
"""What to do about a damaged log."""


@dataclass(frozen=True)
class Recording:
    """The recording that a log is of: hash of its content, number of frames, name."""

    content_hash: str
    frames: int
    name: str


def recording_of(source: Source) -> Recording:
    """A recording as a log knows it."""
    return Recording(source.content_hash, source.frames, source.name)


@dataclass(frozen=True)
class Written:
    """What stands in a log: what it is of, its entries, the checksum of the last."""

    recording: Recording
    entries: list[Entry]
    checksum: str


class Journal:
    """A log that is open for writing; :func:`open_journal` gives one.

    Used by one thread at a time.  ``entries`` are those that were there when it was opened.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, written: Written) -> None:
        self._path, self._connection, self._checksum = path, connection, written.checksum
        self.recording, self.entries = written.recording, written.entries
        self._file = path.stat().st_ino

    def append(self, entry: Entry) -> None:
        """Put an entry behind the last one; it is on the disk when this returns.

        Raises
        ------
        OutputError
            It cannot be written; the log is as it was.
        """
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
            raise OutputError(f"nothing was saved: cannot write {self._path}: {cause(error)}") from error
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


def open_journal(folder: Path, *, recording: Recording) -> Journal:
    """Open the log in a folder of results for writing; one is made where there is none.

    Raises
    ------
    DataError
        It is damaged, of a newer version, or of another recording.
    OutputError
        It cannot be made.
    """
    path = folder / REVIEW_FILE
    if not path.exists():
        _make(path, recording)
    with _told(path):
        connection = connected_for_writing(path)
        try:
            written = _written(connection)
            check_recording(path, written.recording, expected=recording)
            return Journal(path, connection, written)
        except BaseException:
            connection.close()
            raise


def read_journal(folder: Path) -> Written:
    """What stands in the log in a folder of results; nothing is written, also not beside it where it is not open.

    Raises
    ------
    DataError
        There is none, it is damaged or of a newer version.
    """
    path = folder / REVIEW_FILE
    if not path.is_file():
        raise DataError(f"{path} is missing: nobody reviewed this recording yet")
    try:
        return _read(path)
    except DataError:
        return _read(path)  # somebody may have opened it just now


def _read(path: Path) -> Written:
    with _told(path), connected_for_reading(path) as connection:
        return _written(connection)


def is_journal(path: Path) -> bool | None:
    """Whether a file is such a log, of whatever version; None where nobody can tell."""
    try:
        with connected_for_reading(path) as connection:
            facts = dict(connection.execute(FACTS_OF_REVIEWS))
    except (OSError, sqlite3.Error, ValueError):
        return None if path.exists() else False
    return {"schema", "content_hash", _HEAD} <= facts.keys()


def check_recording(path: Path, found: Recording, *, expected: Recording) -> None:
    """Make sure that a log is of a recording.

    Raises
    ------
    DataError
        It is of another one.
    """
    if found.content_hash != expected.content_hash:
        raise DataError(f"{path} is the review of another recording ({found.name}): move it away")
    if found.frames != expected.frames:
        raise DataError(f"{path} is of {found.frames} frames, but the results have {expected.frames}: {_AGAIN}")


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
        raise OutputError(f"nothing was saved: cannot write {path}: {cause(error)}") from error


def _seed(facts: dict[str, str]) -> str:
    return fingerprint(json_key(facts))


def _written(connection: sqlite3.Connection) -> Written:
    """All of a log, if it is what was written."""
    facts = dict(connection.execute(FACTS_OF_REVIEWS))
    facts.pop(_HEAD, None)
    schema = str(facts.get("schema", ""))
    if schema.isdecimal() and int(schema) > _SCHEMA:
        raise DataError(f"it has schema {schema}, this version reads {_SCHEMA}: use the version that wrote it")
    entries, checksum = _entries(connection, _seed(facts))
    return Written(Recording(facts["content_hash"], int(facts["frames"]), facts["name"]), entries, checksum)


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
        if is_closed(error):
            raise DataError(f"{path} cannot be opened ({error}): look at its permissions") from error
        raise DataError(f"{path} is damaged ({error}): {_AGAIN}") from error
    except (sqlite3.Error, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error}): {_AGAIN}") from error
