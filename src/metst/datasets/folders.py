"""What lies in a data set's folder: label sheets, folders of frames, video files.

The search for files never walks into folders of frames: they hold thousands of files each.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from metst.datasets.types import Journal, Source, Video
from metst.errors import DataError, UsageError, VideoError
from metst.video.folder import IMAGE_SUFFIXES, list_images

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})
"""Endings of the names of files that are taken for videos."""

_DEPTH = 5  # levels below the root that are walked; set by hand, as are the two below
_ENTRIES = 4  # of a folder, among which an image is looked for
_NUMBER = re.compile(r"(\d+)\D*$")  # of a frame, in the name of its file
_NAMES_SHOWN = 12  # in a message
_WORKBOOK = r".*\.(xlsx|xlsm|xls)"  # names of files that hold sheets


def check_root(root: Path) -> None:
    """Raise a UsageError unless ``root`` is a folder."""
    if not root.is_dir():
        what = "a file" if root.exists() else "nothing"
        raise UsageError(f"no folder {root}: expected the folder of a data set, got {what}")


def entries(folder: Path) -> list[Path]:
    """Files and folders of a folder in order of name, without hidden ones (and those of office locks).

    Raises
    ------
    DataError
        If the folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.name[0] not in ".~")
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror}") from error


def folders(folder: Path) -> list[Path]:
    """Folders in a folder in order of name."""
    return [path for path in entries(folder) if path.is_dir()]


def walk(root: Path, *, depth: int = _DEPTH) -> Iterator[Path]:
    """Files and folders below ``root``, the upper levels first; nothing of what a folder of images holds."""
    level = [root]
    for _ in range(depth):
        below: list[Path] = []
        for folder in level:
            if folder != root and _starts_with_image(folder):
                continue
            inside = entries(folder)
            yield from inside
            below += [path for path in inside if path.is_dir()]
        level = below


def _starts_with_image(folder: Path) -> bool:
    """Whether an image is among the first entries: a folder of frames is not to be listed for that."""
    try:
        with os.scandir(folder) as found:
            return any(Path(entry.name).suffix.lower() in IMAGE_SUFFIXES for entry in islice(found, _ENTRIES))
    except OSError:
        return False


def holds_images(folder: Path) -> bool:
    """Whether any file of a folder is an image by its name."""
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in entries(folder))


def matching(root: Path, pattern: str) -> list[Path]:
    """Files below ``root`` whose whole name fits a regular expression, whatever its case."""
    fits = re.compile(pattern, re.IGNORECASE).fullmatch
    return [path for path in walk(root) if fits(path.name) and path.is_file()]


def label_files(root: Path) -> list[Path]:
    """What may hold labels: workbooks in and below ``root``, and CSV files in it."""
    in_root = [path for path in entries(root) if path.suffix.lower() == ".csv" and path.is_file()]
    return [*matching(root, _WORKBOOK), *in_root]


def folders_of(root: Path, *, children: str) -> list[Path]:
    """Folders, ``root`` or below, that hold a folder whose whole name fits a pattern, whatever its case."""
    fits = re.compile(children, re.IGNORECASE).fullmatch
    return list(dict.fromkeys(path.parent for path in walk(root) if fits(path.name) and path.is_dir()))


def folder_of(root: Path, *, children: str) -> Path | None:
    """The first of these folders, upper levels first."""
    return next(iter(folders_of(root, children=children)), None)


def what_is_there(root: Path) -> str:
    """The first names in a folder, for messages."""
    names = [path.name + "/" * path.is_dir() for path in entries(root)]
    more = ", ..." if len(names) > _NAMES_SHOWN else ""
    return f"{root} holds {', '.join(names[:_NAMES_SHOWN]) + more if names else 'nothing'}"


def frame_folder(
    folder: Path, *, subject: str, name: str, rate_hz: float | None, root: Path, journal: Journal
) -> Video | None:
    """A folder of numbered images as a video; None, and a fault, where it holds no images."""
    where = Source(str(folder.relative_to(root)))

    def report(what: str, message: str) -> None:
        if what != "gaps":
            journal.fault(where, expected="images that are numbered alike", got=message)
        else:
            journal.notes.append(f"{where}: {message}")

    try:
        images = list_images(folder, report=report)
    except VideoError:
        journal.fault(where, expected="numbered images", got="none", effect="no video")
        return None
    number = _NUMBER.search(images[0][1].stem)
    return Video(subject, name, folder, rate_hz, images[-1][0] + 1, int(number[1]) if number else None)


def videos_by_subject(
    parent: Path | None, *, subjects: str, rate_hz: float, root: Path, example: str, journal: Journal
) -> list[Video]:
    """Folders of images in folders of subjects, as videos.

    Parameters
    ----------
    parent : Path or None
        Holds the folders of subjects; None, and a fault, where there is none.
    subjects : str
        Pattern of their whole names.
    rate_hz : float
        Of all videos.
    root : Path
        Of the data set.
    example : str
        How the folders are expected to lie, in words.
    journal : Journal
        Takes the faults.
    """
    if parent is None:
        journal.fault(Source(root.name), expected=example, got="none")
        return []
    videos = (
        frame_folder(folder, subject=subject.name, name=folder.name, rate_hz=rate_hz, root=root, journal=journal)
        for subject in folders(parent)
        if re.fullmatch(subjects, subject.name)
        for folder in folders(subject)
    )
    return [video for video in videos if video is not None]


def check_subject_names(videos: Iterable[Video], *, root: Path, journal: Journal) -> None:
    """Two subjects whose names differ in case only would be one person on both sides of a split."""
    seen: dict[str, str] = {}
    for subject in sorted({video.subject for video in videos}):
        first = seen.setdefault(subject.casefold(), subject)
        if first != subject:
            got = f"{first!r} and {subject!r}"
            journal.fault(Source(root.name), expected="subjects whose names differ in more than case", got=got)
