"""Unlabelled test sets of the Micro-Expression Grand Challenge, 2023 to 2025.

Layout: one folder whose name holds ``SAMM`` (200 frames per second) and one whose name holds ``CAS``
(30 frames per second); in each, videos are folders of frames or files, directly or in a folder
per subject.  Names stay as they are, zero padding included: submissions are compared as text.
"""

from __future__ import annotations

from pathlib import Path

from metst.datasets.folders import VIDEO_SUFFIXES, entries, folders, frame_folder, holds_images
from metst.datasets.types import DataSet, Journal, Source, Video

RATES_HZ = {"samm": 200.0, "cas": 30.0}
"""Frame rate of the recordings of each part, as the challenge gives it."""


def parts(root: Path) -> dict[str, Path]:
    """The folder of each of the two parts that is there."""
    found: dict[str, Path] = {}
    for folder in folders(root):
        part = next((name for name in RATES_HZ if name in folder.name.casefold()), None)
        if part is not None:
            found.setdefault(part, folder)
    return found


def load_megc(root: Path) -> DataSet:
    """Read the test sets; errors and promises are those of :func:`metst.datasets.load_dataset`."""
    journal = Journal()
    found = parts(root)
    for part in RATES_HZ:
        if part not in found:
            expected = f"a folder with {part.upper()} in its name"
            journal.fault(Source(root.name), expected=expected, got="none")
    videos = [
        video
        for part in RATES_HZ
        for path, subject in (_paths(found[part]) if part in found else ())
        if (video := _video(path, subject=subject, rate_hz=RATES_HZ[part], root=root, journal=journal)) is not None
    ]
    return journal.data_set("megc", root, videos=videos, labels=[])


def _paths(folder: Path) -> list[tuple[Path, str]]:
    """Videos of a part and their subjects; without a folder per subject, a name's part before ``_`` is it."""
    found: list[tuple[Path, str]] = []
    for path in entries(folder):
        if path.suffix.lower() in VIDEO_SUFFIXES or (path.is_dir() and holds_images(path)):
            found.append((path, path.stem.partition("_")[0]))
        elif path.is_dir():
            found += [(inner, path.name) for inner in entries(path) if _is_video(inner)]
    return found


def _is_video(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES


def _video(path: Path, *, subject: str, rate_hz: float, root: Path, journal: Journal) -> Video | None:
    if path.is_dir():
        return frame_folder(path, subject=subject, name=path.name, rate_hz=rate_hz, root=root, journal=journal)
    return Video(subject, path.stem, path, rate_hz)
