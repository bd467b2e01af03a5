"""Recordings of a corpus: which files and folders of frames a folder or a list holds, and a name for each."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from metst.datasets.folders import VIDEO_SUFFIXES
from metst.errors import MetstError, UsageError
from metst.results.analysis_folder import HEADER_FILE, content_in
from metst.spelling.names import given_name, printable
from metst.video import content_hash
from metst.video.folder import IMAGE_SUFFIXES

LIST_SUFFIX = ".txt"
"""How the name of a list of recordings ends."""


@dataclass(frozen=True)
class Recording:
    """One recording, and the folder for what is found in it.

    Parameters
    ----------
    path : Path
    name : str
        Folder, relative to that of all results.
    avoided : str
        Folder that it would have, were there not the results of another recording in it; empty where it has that, and
        where its own results were found.
    """

    path: Path
    name: str
    avoided: str = ""

    @property
    def note(self) -> str:
        """What people are told of its folder; empty where there is nothing to tell."""
        if not self.avoided:
            return ""
        return (
            f"{self.avoided} holds the results of another recording: those of {printable(self.path)} go to {self.name}"
        )


def find_recordings(inputs: Sequence[Path], *, output: Path) -> list[Recording]:
    """All recordings of some inputs, each with a name of its own.

    A folder that holds a video, or no image, is searched for videos and for folders of frames, at any depth; results
    and hidden entries are left out.  A folder that holds images and no video is one recording.  A text file has one
    path per line, relative to its own folder.  Everything else is one recording, whatever it is; so is a folder in
    which nothing is found: what reads it says what is wrong.

    Parameters
    ----------
    inputs : sequence of Path
        Videos, folders, lists.
    output : Path
        Folder for the results: not searched.

    Returns
    -------
    list of Recording
        In the order of the inputs, within a folder in that of the names.  Below a folder the names are those of the
        paths there, else those of the files; a number keeps equal names apart, also those of earlier calls: results
        of a recording with another content are never replaced, and those of the same content are found again.

    Raises
    ------
    UsageError
        A list that is empty or cannot be read.
    """
    found: list[tuple[Path, Path]] = []
    for path in inputs:
        if not _is_corpus(path):
            below = []
        elif path.is_file():
            below = _listed(path)
        else:
            below = list(_below(path, output=output))
        found += below or [(path, Path(Path(given_name(path)).stem or "input"))]
    return list(_apart(found, output=output))


def _is_corpus(path: Path) -> bool:
    """Whether an input stands for the recordings in it, rather than for itself."""
    if path.is_file():
        return path.suffix.lower() == LIST_SUFFIX
    try:
        return path.is_dir() and not _is_frames([entry.name for entry in path.iterdir() if not entry.is_dir()])
    except OSError:  # whoever reads it says why it cannot be read
        return False


def _is_frames(names: Sequence[str]) -> bool:
    """Whether files are the frames of one recording: images, and no video among them."""
    suffixes = {Path(name).suffix.lower() for name in names if not name.startswith(".")}
    return bool(suffixes & IMAGE_SUFFIXES) and not suffixes & VIDEO_SUFFIXES


def _listed(path: Path) -> list[tuple[Path, Path]]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as a list of paths in UTF-8: {error}") from error
    if any("\0" in line for line in lines):
        raise UsageError(f"{path} cannot be read as a list of paths: save it as text in UTF-8")
    recordings = [path.parent / line for line in lines if line]
    if not recordings:
        raise UsageError(f"{path} names no recording: expected one path per line")
    return [(recording, Path(recording.stem or "input")) for recording in recordings]


def _below(root: Path, *, output: Path) -> Iterator[tuple[Path, Path]]:
    results = output.resolve()
    seen: set[Path] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        here = Path(folder)
        if here.resolve() in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(here.resolve())
        if here != root and (here.resolve() == results or HEADER_FILE in files):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if here != root and _is_frames(files):
            yield here, here.relative_to(root)
            continue
        for name in sorted(files):
            if Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith("."):
                yield here / name, (here / name).relative_to(root).with_suffix("")


def _apart(found: Sequence[tuple[Path, Path]], *, output: Path) -> Iterator[Recording]:
    """Recordings with their names, with a number where one was there before, whatever its case."""
    earlier, taken, times = _Earlier(output), set[str](), Counter[str]()
    for path, wanted in found:
        name = wanted.as_posix()
        held = earlier.named_like(wanted)
        if held and (own := _own(path, held, taken=taken)):
            taken.add(own.casefold())
            yield Recording(path, own)
            continue
        chosen, avoided = name, ""
        while chosen.casefold() in taken or chosen.casefold() in held:
            avoided = avoided or (chosen if chosen.casefold() not in taken else "")
            times[name.casefold()] += 1
            chosen = f"{name}-{times[name.casefold()] + 1}"
        taken.add(chosen.casefold())
        yield Recording(path, chosen, avoided)


def _own(path: Path, held: Mapping[str, tuple[str, str]], *, taken: Set[str]) -> str:
    """The folder among some that holds the results of this recording; empty where none does."""
    try:
        content = content_hash(path)
    except MetstError:  # whoever reads it says why it cannot be read
        return ""
    return next((name for name, of in held.values() if of == content and name.casefold() not in taken), "")


class _Earlier:
    """Folders of results of earlier calls."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._folders: dict[Path, list[str]] = {}
        self._held: dict[str, dict[str, tuple[str, str]]] = {}

    def named_like(self, wanted: Path) -> dict[str, tuple[str, str]]:
        """Those with this name or with it and a number: name and content of the recording, by folded name."""
        key = wanted.as_posix().casefold()
        if key not in self._held:
            alike = re.compile(rf"{re.escape(wanted.name.casefold())}(-(\d+))?")
            numbered = [
                (int(match[2] or 1), (wanted.parent / name).as_posix())
                for name in self._names(wanted.parent)
                if (match := alike.fullmatch(name.casefold()))
            ]
            contents = {name: content_in(self._output / name) for _, name in sorted(numbered)}
            self._held[key] = {name.casefold(): (name, content) for name, content in contents.items() if content}
        return self._held[key]

    def _names(self, parent: Path) -> list[str]:
        if parent not in self._folders:
            try:
                self._folders[parent] = [entry.name for entry in (self._output / parent).iterdir() if entry.is_dir()]
            except OSError:  # there is none, or whoever writes there says why it cannot
                self._folders[parent] = []
        return self._folders[parent]
