"""Uploads on their way to the disk: whole or not at all, of any size, in little memory, under a harmless name."""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from anyio.to_thread import run_sync

from metst.errors import OutputError
from metst.spelling.names import composed
from metst.storage import make_folder, remedy, whole_file

_AT_ONCE: Final = 2**20
"""Bytes that are written together.  Set by hand."""

_LONGEST: Final = 120
"""Bytes of a name; systems take 255, and folders and parts are called after it.  Set by hand."""

_SPARE: Final = 64 * 2**20
"""Bytes that must stay free on the disk for all else.  Set by hand."""

_NOT_IN_NAMES: Final = re.compile(r'[<>:"|?*\\/]')
"""What some system does not take in a name, or a page for markup."""


def safe_name(name: str) -> str:
    """The last part of a name, with nothing in it that any system, page or shell takes for more than a name."""
    last = re.split(r"[\\/]", composed(name))[-1]
    plain = "".join(" " if unicodedata.category(each)[0] == "C" else each for each in last)
    plain = " ".join(_NOT_IN_NAMES.sub("_", plain).split()).strip(". ")
    stem, dot, ending = plain.rpartition(".")
    if dot and len(ending) < _LONGEST // 8:
        return f"{_cut(stem, _LONGEST - len(ending.encode()))}.{ending}"
    return _cut(plain, _LONGEST)


def _cut(name: str, most: int) -> str:
    """The beginning of a name, of so many bytes at most, without what means something to shells and systems."""
    return name.strip(". -").encode("utf-8", "replace")[:most].decode(errors="ignore").strip(". -") or "recording"


def folder_for(video: Path) -> Path:
    """Where the results of an upload go."""
    return video.with_name(video.stem or video.name) if video.suffix else video.with_name(f"{video.name} results")


def free_path(folder: Path, name: str) -> Path:
    """Where an upload goes: under its name, with a number behind it where that, or its results' folder, is taken."""
    path, number = folder / name, 1
    while path.exists() or folder_for(path).exists():
        number += 1
        path = folder / f"{Path(name).stem} {number}{Path(name).suffix}"
    return path


def check_space(folder: Path, size: int) -> None:
    """Refuse, before it is sent, what the disk cannot hold.

    Raises
    ------
    OutputError
        There is not enough space, or no such folder can be made.
    """
    make_folder(folder)
    free = shutil.disk_usage(folder).free
    if size + _SPARE > free:
        raise OutputError(f"{size:,} bytes do not fit on the disk ({free:,} free): free some space and upload again")


async def received(parts: AsyncIterator[bytes], path: Path) -> int:
    """Write what comes to a file that is there when all of it is; how many bytes.

    Raises
    ------
    OutputError
        The disk is full, or does not let us.  Errors of who sends stay what they are; nothing stays of the file then.
    """
    size, waiting = 0, bytearray()
    with ExitStack() as stack:
        part = stack.enter_context(whole_file(path, private=True))
        with part.open("wb", buffering=0) as file:
            async for each in parts:
                waiting += each
                if len(waiting) >= _AT_ONCE:
                    size += await run_sync(_write, file, bytes(waiting), path)
                    waiting.clear()
            size += await run_sync(_write, file, bytes(waiting), path)
        whole = stack.pop_all()
        await run_sync(whole.__exit__, None, None, None)  # to the disk, without keeping others waiting
    return size


def _write(file: object, data: bytes, path: Path) -> int:
    try:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]  # type: ignore[attr-defined]
    except OSError as error:
        raise OutputError(f"cannot write {path.name}: {remedy(error)}") from error
    return len(data)
