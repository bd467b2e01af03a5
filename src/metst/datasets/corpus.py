"""Recordings of a corpus: which files and folders of frames a folder or a list holds, and a name for each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from metst.datasets.folders import VIDEO_SUFFIXES
from metst.errors import UsageError
from metst.video.folder import IMAGE_SUFFIXES

LIST_SUFFIX = ".txt"
"""How the name of a list of recordings ends."""

_RESULT = "analysis.json"
"""File by which a folder of results is known: overlays in it are no recordings."""


@dataclass(frozen=True)
class Recording:
    """One recording, and the folder for what is found in it, relative to that of all results."""

    path: Path
    name: str


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
        paths there, else those of the files; a number keeps equal names apart.

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
        found += below or [(path, Path(_stem(path) or "input"))]
    return [Recording(path, name) for (path, _), name in zip(found, _apart([name for _, name in found]), strict=True)]


def _stem(path: Path) -> str:
    """Name of an input without its ending; that of ``.`` is its folder's."""
    try:
        return path.resolve().stem
    except (OSError, RuntimeError):  # a link that leads to itself: whoever reads it says so
        return path.stem


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
        if here != root and (here.resolve() == results or _RESULT in files):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if here != root and _is_frames(files):
            yield here, here.relative_to(root)
            continue
        for name in sorted(files):
            if Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith("."):
                yield here / name, (here / name).relative_to(root).with_suffix("")


def _apart(names: Sequence[Path]) -> Iterator[str]:
    """The names, with a number where one was there before, whatever its case."""
    taken: set[str] = set()
    times: Counter[str] = Counter()
    for name in map(Path.as_posix, names):
        chosen = name
        while chosen.casefold() in taken:
            times[name.casefold()] += 1
            chosen = f"{name}-{times[name.casefold()] + 1}"
        taken.add(chosen.casefold())
        yield chosen
