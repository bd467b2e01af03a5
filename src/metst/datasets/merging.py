"""Folders of features put together: extracted in parts, read as one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metst.datasets.extraction import NO_VIDEO
from metst.datasets.features import (
    INDEX_FILE,
    FeatureIndex,
    FeatureVideo,
    motion_name,
    read_features_index,
    write_features_index,
)
from metst.errors import FAULTS_SHOWN, DataError, UsageError
from metst.guard.faults import all_or_none
from metst.storage import fingerprint, make_folder, write_whole


def merge_features(folders: Sequence[Path], output: Path) -> FeatureIndex:
    """Copy the features of several folders into one.

    Videos come in the order of the folders.  What two folders hold alike is there once.

    Parameters
    ----------
    folders : sequence of Path
        Of one data set, measured with the same settings and version.
    output : Path
        Where to write; ``features.json`` comes last.

    Returns
    -------
    FeatureIndex
        Of all videos.

    Raises
    ------
    UsageError
        Fewer than two folders; other data sets, settings or versions; a video that two folders have differently; or
        ``output`` has features.
    DataError
        A folder cannot be read, or a file is not the one of its index.
    OutputError
        ``output`` cannot be written.
    """
    if len(folders) < 2:
        raise UsageError(f"{len(folders)} folder of features: expected two or more")
    if (output / INDEX_FILE).exists():
        raise UsageError(f"{output} has features already: give another folder")
    indexes = all_or_none(read_features_index, folders)
    for folder, index in zip(folders, indexes, strict=True):
        _check_alike(index, indexes[0], names=(folder, folders[0]))
    places = _places(folders, indexes)
    make_folder(output)
    videos = tuple(_copied(*each, number, output=output) for number, each in enumerate(places))
    there = {f"{video.subject}/{video.video}" for video in videos}
    left_out = dict.fromkeys(
        line for index in indexes for line in index.left_out if line.rpartition(NO_VIDEO)[2] not in there
    )
    merged = indexes[0].model_copy(update={"videos": videos, "left_out": tuple(left_out)})
    write_features_index(output, merged)
    return merged


def _check_alike(index: FeatureIndex, first: FeatureIndex, *, names: tuple[Path, Path]) -> None:
    for name in ("data_set", "settings", "metst_version"):
        if getattr(index, name) != getattr(first, name):
            raise UsageError(
                f"{names[0]} and {names[1]} differ in {name} ({getattr(index, name)}; {getattr(first, name)}): extract"
                " one of them again"
            )


def _places(folders: Sequence[Path], indexes: Sequence[FeatureIndex]) -> list[tuple[Path, FeatureVideo]]:
    """All videos, each once, with the folder that has it."""
    found: dict[tuple[str, str], tuple[Path, FeatureVideo]] = {}
    clashes = []
    for folder, index in zip(folders, indexes, strict=True):
        for video in index.videos:
            earlier = found.setdefault(video.key, (folder, video))[1]
            if earlier.model_copy(update={"file": video.file}) != video:
                clashes.append("/".join(video.key))
    if clashes:
        raise UsageError(
            f"{len(clashes)} videos are in two folders with other motion or labels"
            f" ({', '.join(clashes[:FAULTS_SHOWN])}): leave out one, or give subjects other names"
        )
    return list(found.values())


def _copied(folder: Path, video: FeatureVideo, number: int, *, output: Path) -> FeatureVideo:
    """A video with its file in the new folder, as extraction names it."""
    if not video.file:
        return video
    try:
        data = (folder / video.file).read_bytes()
    except OSError as error:
        raise DataError(f"{folder / video.file} cannot be read ({error.strerror}): extract again") from error
    if video.sha256 and fingerprint(data) != video.sha256:
        raise DataError(f"{folder / video.file} is not the file that its index speaks of: extract again")
    name = motion_name(number)
    write_whole(output / name, data)
    return video.model_copy(update={"file": name})
