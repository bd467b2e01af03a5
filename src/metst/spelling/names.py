"""Names of people and videos as folders, sheets and tables write them: one spelling, and the slips between two."""

from __future__ import annotations

import os
import re
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from metst.errors import UsageError
from metst.guard.faults import traced_to

_SHARED_PARTS = 2  # of a path, such as / and home, which say nothing of what is below; set by hand
_DIGITS = re.compile(r"\d+")  # numbers in names, which may have zeros in front

_FOLDERS = re.compile(r"(?<![\w./\\~-])(?:[A-Za-z]:[\\/]|/)(?=[^\s/])(?:[^\s/\\:'\",;()]+[\\/])*")
"""The folders of an absolute path in a text, up to its last part."""
_QUOTED_FOLDERS = re.compile(r"(['\"])(?:[A-Za-z]:[\\/]|/)(?:[^'\"\n]*[\\/])?")
"""The same where quotes hold it together: it may have blanks."""


def composed(name: str) -> str:
    """A name with composed letters (Unicode NFC): some systems write an accent as a letter of its own."""
    return unicodedata.normalize("NFC", name)


def loose_spelling(name: str) -> str:
    """A name without what programs lose on the way: case, zeros in front of numbers, the form of letters and blanks."""
    plain = " ".join(unicodedata.normalize("NFKC", name).split()).casefold()
    return _DIGITS.sub(lambda digits: str(int(digits[0])), plain)


def close_names(
    missing: Iterable[tuple[str, str]], there: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], tuple[str, str]]:
    """For each (subject, video) that is missing, the one that differs in its loose spelling only.

    Names with several such counterparts are left out: nobody could say which is meant.
    """
    by_spelling: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for key in dict.fromkeys(there):
        by_spelling[_loose(key)].append(key)
    return {key: found[0] for key in missing if len(found := by_spelling.get(_loose(key), [])) == 1}


def _loose(key: tuple[str, str]) -> tuple[str, str]:
    return loose_spelling(key[0]), loose_spelling(key[1])


def given_name(path: Path) -> str:
    """Last part of a path as it was given; that of ``.`` is its folder's.

    A link goes by its own name: stores that keep files by their content link each name to a fingerprint.
    """
    return path.name if path.name not in {"", ".."} else path.resolve().name


def check_name(path: Path) -> None:
    """Refuse a name that no table could hold, before the work.

    Raises
    ------
    UsageError
        It is not in UTF-8.
    """
    if printable(path) != str(path):
        raise UsageError(f"{printable(path)}: its name is not in UTF-8: rename it")


def printable(path: Path) -> str:
    """A path as text of any program: bytes that are no UTF-8 are written out."""
    return str(path).encode(errors="backslashreplace").decode()


def without_folders(text: str, *, known: Iterable[Path] = ()) -> str:
    """A message without the folders of this machine: of each absolute path what is below a known one, or its last part.

    Parameters
    ----------
    text : str
        What is told of a recording.
    known : iterable of Path
        Folders of recordings and results, besides those of the user and the system.
    """
    usual = [Path("~").expanduser(), Path(), Path(tempfile.gettempdir()), *filter(None, [traced_to()])]
    folders = {each for folder in (*known, *usual) for each in (folder, Path(os.path.realpath(folder)))}
    for folder in sorted(folders, key=lambda each: (-len(str(each)), each)):
        if folder.is_absolute() and len(folder.parts) > 1:
            text = re.sub(rf"{re.escape(printable(folder))}[\\/]+(?=[^\s\\/])", "", text)
    return _FOLDERS.sub("", _QUOTED_FOLDERS.sub(r"\1", text))


def without_their_place(paths: Sequence[str]) -> list[str]:
    """Paths below the folder that all of them share, or else their names: where that lies is told to nobody.

    Results are handed on; the folders of the machine they were made on, with a user's or a ward's name, are not.
    """
    try:
        shared = Path(os.path.commonpath([str(Path(path).parent) for path in paths])) if paths else Path()
    except ValueError:  # some from the root and some from here
        return [Path(path).name for path in paths]
    vague = len(paths) > 1 and len(shared.parts) <= _SHARED_PARTS and shared.is_absolute()
    if vague or any(".." in Path(path).parts for path in paths):
        return [Path(path).name for path in paths]
    return [Path(path).relative_to(shared).as_posix() for path in paths]
