"""What is written to a disk and read back: a whole file or none, fingerprints, faults in words; each of them once.

Two processes may write one file at the same time: each writes a file of its own beside it, whose name nobody else has,
and puts it in place when it is whole.  A reader sees one of the two, or what was there before; never a part.

What is not whole yet is its owner's alone (0600, folders 0700), and its name says whose it is: the machine, the process
and when that started.  What a dead process left is deleted by the next one that writes into the folder.
"""

from __future__ import annotations

import csv
import ctypes
import errno
import hashlib
import io
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from metst.errors import FAULTS_SHOWN, DataError, OutputError
from metst.spelling.formulas import harmless
from metst.storage.leftovers import PART_SUFFIX as PART_SUFFIX
from metst.storage.leftovers import name_beside

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

_Model = TypeVar("_Model", bound="BaseModel")

_SEAL = "sha256_of_the_rest"
"""The value in a JSON file that tells whether any other was changed."""

_HERE, _EXCHANGE = -100, 2
"""``AT_FDCWD`` and ``RENAME_EXCHANGE`` of Linux, ``fcntl.h`` and ``linux/fs.h``."""

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


def write_whole(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write a file whole or not at all: a reader sees the old content or the new, never a part.

    Links are followed; a device is written to directly.

    Parameters
    ----------
    path : Path
        The file.
    data : bytes
        All of it.
    private : bool
        Nobody but its owner may read it.

    Raises
    ------
    OutputError
        No space, no permission, a folder in the way, ...
    """
    write_parts(path, [data], private=private)


def write_parts(path: Path, parts: Iterable[bytes], *, private: bool = False) -> str:
    """As :func:`write_whole`, without holding the whole of it.

    Returns
    -------
    str
        :func:`fingerprint` of what was written.

    Raises
    ------
    OutputError
        As :func:`write_whole`.
    """
    digest = hashlib.sha256()

    def told() -> Iterator[bytes]:
        for part in parts:
            digest.update(part)
            yield part

    with _told(path):
        if path.exists() and not path.is_file():
            with path.open("wb") as handle:
                handle.writelines(told())
        else:
            with whole_file(path, private=private) as part, os.fdopen(_opened(part), "wb") as handle:
                handle.writelines(told())
    return digest.hexdigest()


@contextmanager
def whole_file(path: Path, *, private: bool = False) -> Iterator[Path]:
    """A path for what can only write to a path: what lies there becomes the file when the block ends without an error.

    An empty file is there already; until it is whole, only its owner may read it, then it has the permissions of what
    it replaces, or those of any new file, unless it is to stay private.  Where the disk knows no permissions it is
    written nevertheless.  Links to the file are followed, no other.

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
        part = name_beside(target)
        os.close(_opened(part, os.O_CREAT | os.O_EXCL))  # made by nobody else
    try:
        with _told(path):
            usual = _closed(part, instead_of=target)
        yield part
        with _told(path):
            _flush(part)
            if not private:
                _permit(part, usual)
            part.replace(target)
            _flush_folder(target.parent)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _opened(part: Path, flags: int = 0) -> int:
    """Open a file for writing, but none that a link leads to."""
    return os.open(part, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | flags, 0o666)


def _closed(path: Path, *, instead_of: Path) -> int:
    """Take all permissions but the owner's; those that it is to have in the place of another one, or of none."""
    owners = stat.S_IRWXU if path.is_dir() else stat.S_IRUSR | stat.S_IWUSR
    usual = stat.S_IMODE((instead_of if instead_of.exists() else path).stat().st_mode)
    _permit(path, owners)
    return usual | owners


def _permit(path: Path, mode: int) -> None:
    """Set permissions, where the disk has any: one of Windows in a network refuses."""
    with suppress(OSError):
        path.chmod(mode)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill with files, which takes the place of ``folder`` when the block ends without an error.

    Where the system can, they change places in one step.  Else what was there stands aside for a moment, and comes back
    if the new one cannot be put there; if this process dies in that moment, the next that writes there brings it back.

    Yields
    ------
    Path
        Empty, beside the folder.

    Raises
    ------
    OutputError
        It cannot be made, filled or put in its place.
    """
    new = name_beside(folder)
    try:
        with _told(folder):
            new.mkdir(parents=True)
            usual = _closed(new, instead_of=folder)
            yield new
            for file in new.iterdir():
                _flush(file)
            _permit(new, usual)
            _put(new, folder)
            _flush_folder(folder.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _put(new: Path, folder: Path) -> None:
    """The new folder in the place of the old one, which then has the name of the new one or is gone."""
    if not folder.exists():
        new.replace(folder)
    elif not _exchanged(new, folder):
        old = name_beside(folder, aside=True)
        folder.replace(old)
        try:
            new.replace(folder)
        except OSError:
            old.replace(folder)
            raise
        shutil.rmtree(old)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether two paths have changed places, in one step: not every system and disk can do it."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for files that are needed for a while, which nobody else may enter.

    Yields
    ------
    Path
        Empty, where the system has such folders; gone after the block.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    folder = name_beside(Path(tempfile.gettempdir()) / "work")
    with _told(folder, "make the folder"):
        folder.mkdir(mode=stat.S_IRWXU)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def make_folder(folder: Path, *, private: bool = False) -> None:
    """Make a folder for results, and those above it, where there is none; nobody but its owner may enter a private one.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    with _told(folder, "make the folder"):
        folder.mkdir(mode=stat.S_IRWXU if private else 0o777, parents=True, exist_ok=True)


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


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, separator: str = ",") -> bytes:
    """A table as a CSV file has it: UTF-8, commas, lines that end with a line feed, and no text that is a formula."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(
        [*map(harmless, row)] for row in (columns, *rows)
    )
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


def sealed(text: str) -> bytes:
    """The text of a JSON object, as a file has it, with one more value that tells whether any other was changed."""
    seal = fingerprint(json_key(json.loads(text)))
    return f'{text.rstrip().removesuffix("}").rstrip()},\n  "{_SEAL}": "{seal}"\n}}\n'.encode()


def unsealed(data: bytes) -> Any:
    """What a JSON file says, without its seal; files of earlier versions have none.

    Raises
    ------
    ValueError
        It is no JSON.
    DataError
        It is not what was sealed.
    """
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict):
        return value
    rest = {name: each for name, each in value.items() if name != _SEAL}
    if value.get(_SEAL, seal := fingerprint(json_key(rest))) != seal:
        raise DataError(
            f"it is not what was written: changed or damaged (who changed it on purpose takes its line {_SEAL} out)"
        )
    return rest


def unsealed_as(kind: type[_Model], data: bytes) -> _Model:
    """What a JSON file says, as settings of a kind.

    Raises
    ------
    ValidationError
        It is no JSON, or not of that kind.
    DataError
        It is not what was sealed.
    """
    with suppress(ValueError):  # what is no JSON is told by who makes settings of it
        data = json_key(unsealed(data))
    return kind.model_validate_json(data)


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
