"""What is written to a disk and read back: a whole file or none, fingerprints, faults in words; each of them once.

Two processes may write one file at the same time: each writes a file of its own beside it, whose name nobody else has,
and puts it in place when it is whole.  A reader sees one of the two, or what was there before; never a part.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metst.errors import OutputError
from metst.spelling.formulas import harmless

if TYPE_CHECKING:
    from pydantic import ValidationError

PART_SUFFIX = ".part"
"""How the name of a file ends that is not whole yet; it starts with a dot."""

_TOKEN_BYTES = 8
"""Random bytes in the name of such a file: enough that no two writers ever draw the same."""

FAULTS_SHOWN = 10
"""Faults named in one line: a file that is wrong throughout would fill the screen.  Set by hand."""

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EFBIG: "the file would be larger than allowed; write to another disk",
    errno.EACCES: "no permission to write there; choose another output folder",
    errno.EPERM: "no permission to write there; choose another output folder",
    errno.EROFS: "the disk is read-only; choose another output folder",
    errno.EEXIST: "a file stands where a folder is needed; move it or choose another output folder",
    errno.ENOTDIR: "a file stands where a folder is needed; move it or choose another output folder",
    errno.EISDIR: "a folder stands where the file should be; move it or choose another output folder",
    errno.ENOENT: "the folder does not exist; create it first",
}
"""What to do about the system's errors, by its numbers."""


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: a reader sees the old content or the new, never a part.

    Links are followed; a device is written to directly.

    Raises
    ------
    OutputError
        No space, no permission, a folder in the way, ...
    """
    write_parts(path, [data])


def write_parts(path: Path, parts: Iterable[bytes]) -> None:
    """As :func:`write_whole`, without holding the whole of it.

    Raises
    ------
    OutputError
        As :func:`write_whole`.
    """
    with _told(path):
        if path.exists() and not path.is_file():
            with path.open("wb") as handle:
                handle.writelines(parts)
        else:
            with whole_file(path) as part, part.open("wb") as handle:
                handle.writelines(parts)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path for what can only write to a path: what lies there becomes the file when the block ends without an error.

    An empty file is there already, with the permissions of any new file.  Links are followed.

    Yields
    ------
    Path
        In the folder of the file.

    Raises
    ------
    OutputError
        The file cannot be made or put in its place, or its name belongs to what is no file.  Errors of the block stay
        what they are.
    """
    with _told(path):
        target = path.resolve()
        if target.exists() and not target.is_file():
            raise OutputError(f"{path} is not a file that can be replaced; give another name")
        part = _beside(target)
        part.touch(exist_ok=False)  # made by nobody else, and no link to elsewhere
    try:
        yield part
        with _told(path):
            _flush(part)
            part.replace(target)
            _flush_folder(target.parent)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill with files, which takes the place of ``folder`` when the block ends without an error.

    What was there goes once the new one is in its place, and comes back if it cannot be.

    Yields
    ------
    Path
        Empty, beside the folder.

    Raises
    ------
    OutputError
        It cannot be made, filled or put in its place.
    """
    new = _beside(folder)
    try:
        with _told(folder):
            new.mkdir(parents=True)
            yield new
            for file in new.iterdir():
                _flush(file)
            _put(new, folder)
            _flush_folder(folder.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _put(new: Path, folder: Path) -> None:
    if not folder.exists():
        new.replace(folder)
        return
    old = _beside(folder)
    folder.replace(old)
    try:
        new.replace(folder)
    except OSError:
        old.replace(folder)
        raise
    shutil.rmtree(old)


def _beside(path: Path) -> Path:
    """A name in the same folder that nobody else has; as long for every path, since a system limits its length."""
    return path.with_name(f".metst-{secrets.token_hex(_TOKEN_BYTES)}{PART_SUFFIX}")


def _flush(file: Path, flags: int = os.O_RDWR) -> None:
    """Wait until the content is on the disk: else a file could be in its place, and empty, after a loss of power."""
    descriptor = os.open(file, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """The same for the name of the file.  Not every system can; the file is whole nevertheless."""
    with suppress(OSError):
        _flush(folder, os.O_RDONLY)


def make_folder(folder: Path) -> None:
    """Make a folder for results, and those above it, where there is none.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    with _told(folder, "make the folder"):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _told(path: Path, doing: str = "write") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot {doing} {path}: {remedy(error)}") from error


def remedy(error: Exception) -> str:
    """What keeps a file from being written, and what to do: by the number and the text that errors of a system have."""
    number, text = getattr(error, "errno", None), getattr(error, "strerror", None)
    return _REMEDIES.get(number or 0, f"{text or error}; choose another output folder")


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A table as a CSV file has it: UTF-8, commas, lines that end with a line feed, and no text that is a formula."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*map(harmless, row)] for row in (columns, *rows))
    return text.getvalue().encode()


def finite(value: Any) -> Any:
    """Plain values for JSON, which knows no infinity and no NaN: null stands in their place."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def fingerprint(*parts: bytes | Path) -> str:
    """SHA-256 of bytes and of the content of files, one behind the other.

    Recordings are large and have another one: :func:`metst.video.hashing.content_hash`.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            with part.open("rb") as file:
                hashlib.file_digest(file, lambda: digest)
        else:
            digest.update(part)
    return digest.hexdigest()


def json_key(value: Any) -> bytes:
    """Plain values as JSON in one order of names: equal values give equal bytes, for :func:`fingerprint`."""
    return json.dumps(value, sort_keys=True).encode()


def faults(error: ValidationError) -> list[tuple[str, str]]:
    """Where settings or a file are wrong (``"camera.width"``; empty: as a whole), and why."""
    return [(".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, ")) for each in error.errors()]


def faults_in_words(error: ValidationError, *, whole: str = "file") -> str:
    """What is wrong with settings or a file, fault by fault in one line: where, and why.

    Parameters
    ----------
    error : ValidationError
        Pydantic's.
    whole : str
        What a fault that belongs to no single value is said of; empty: of nothing.
    """
    named = [(where or whole, why) for where, why in faults(error)[:FAULTS_SHOWN]]
    return "; ".join(f"{where}: {why}" if where else why for where, why in named)
