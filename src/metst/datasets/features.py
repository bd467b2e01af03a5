"""Motion of all videos of a data set with their labels, in one folder: what training and evaluation read.

``features.json`` says which data set it was, how motion was measured, and per video its length, its file and
its labels.  Each video has one ``.safetensors`` file with its motion at its own frames.  What a network reads is
derived from these when it is needed, so that one folder serves every recipe.

Frames are those of the video, 0-based and half-open.  A frame that is missing on disk is a gap.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from metst.config import AnalyzeSettings, Settings
from metst.datasets import Kind, LabelKind
from metst.errors import FAULTS_SHOWN, DataError, UsageError
from metst.guard.limits import SETTINGS, check_file
from metst.labels import EMOTIONS
from metst.results.motion import Motion
from metst.results.motion_file import read_motion_file
from metst.storage import faults_in_words, fingerprint, write_whole

INDEX_FILE = "features.json"
"""The index of a folder of features, beside the files of its videos."""

_NAME_BYTES, _HASH_DIGITS = 80, 8
"""Longest part of a name, and what tells shortened ones apart.

Two parts and an ending fit into the 255 bytes that file systems give a name.  Both set by hand.
"""

# What could be mistaken for the joint of two names, or for the hash of another one.
_AMBIGUOUS = re.compile(rf"^-|--|-$|-[0-9a-f]{{{_HASH_DIGITS}}}$")


def file_name(*parts: str) -> str:
    """Name of a file or folder of its own for names that come from data: subjects, videos, folds.

    Parts are joined by ``--``.  In each, what is no letter, digit, ``_``, ``.`` or ``-`` becomes ``_``.  A part
    that was changed so, is longer than 80 bytes, or could be mistaken for another one, gets the start of its
    SHA-256 behind it: different names have different files, and none leaves its folder.

    Raises
    ------
    DataError
        A part is empty, ``.`` or ``..``.
    """
    return "--".join(map(_one_name, parts))


def _one_name(name: str) -> str:
    if name in ("", ".", ".."):
        raise DataError(f"{name!r} cannot be the name of a subject, video or fold: give it another one")
    clean = re.sub(r"[^\w.-]", "_", name)
    clean = clean.encode()[:_NAME_BYTES].decode(errors="ignore")
    if clean == name and not _AMBIGUOUS.search(name):
        return name
    return f"{clean}-{fingerprint(name.encode(errors='backslashreplace'))[:_HASH_DIGITS]}"


class TrueEvent(Settings):
    """One labelled movement of a video."""

    onset: int = Field(ge=0, description="first frame, 0-based")
    apex: int | None = Field(None, ge=0, description="frame of the strongest movement; null when unknown")
    offset: int = Field(gt=0, description="first frame after it")
    kind: LabelKind = Field("micro", description="micro-expressions are looked for; the others are not")
    emotion: str | None = Field(None, description="class; null when the label sheet gives none that is known")

    @field_validator("emotion")
    @classmethod
    def _known(cls, emotion: str | None) -> str | None:
        if emotion is not None and emotion not in EMOTIONS:
            raise ValueError(f"unknown class {emotion!r}: expected one of {', '.join(EMOTIONS)}, or null")
        return emotion


class FeatureVideo(Settings):
    """One video."""

    subject: str
    video: str
    frames: int = Field(ge=0, description="length in frames; 0 when it could not be read")
    rate_hz: float = Field(ge=0, description="frames per second; 0 when unknown")
    file: str = Field(description="file of its motion beside the index; empty when it could not be read")
    sha256: str = Field("", description="SHA-256 of that file; empty: it is not checked")
    events: tuple[TrueEvent, ...] = Field((), description="its labels")
    problems: tuple[str, ...] = Field((), description="what was wrong with it, for people")

    @property
    def micro(self) -> tuple[TrueEvent, ...]:
        """Its micro-expressions."""
        return tuple(event for event in self.events if event.kind == "micro")

    @property
    def key(self) -> tuple[str, str]:
        """Subject and video."""
        return self.subject, self.video


class FeatureIndex(Settings):
    """All of ``features.json``."""

    format: Literal[1] = Field(1, description="version of this file's layout")
    data_set: Kind = Field(description="which data set it was")
    settings: AnalyzeSettings = Field(description="how face and motion were measured")
    metst_version: str = Field("", description="version of metst that measured")
    left_out: tuple[str, ...] = Field((), description="labels that belong to no frame of a video, for people")
    videos: tuple[FeatureVideo, ...] = Field(min_length=1)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Everyone with a video, sorted."""
        return tuple(sorted({video.subject for video in self.videos}))

    def of(self, subjects: tuple[str, ...]) -> tuple[FeatureVideo, ...]:
        """Videos of some subjects, sorted by subject and name.

        Raises
        ------
        UsageError
            If a subject has no video.
        """
        if unknown := sorted(set(subjects) - set(self.subjects)):
            raise UsageError(f"no video of subject {', '.join(unknown)}: expected of {', '.join(self.subjects)}")
        return tuple(sorted((v for v in self.videos if v.subject in subjects), key=lambda video: video.key))


def motion_name(number: int) -> str:
    """Name of the file of a video's motion, by its place in the index."""
    return f"{number:04d}.safetensors"


def write_features_index(folder: Path, index: FeatureIndex) -> None:
    """Write ``features.json``.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    write_whole(folder / INDEX_FILE, (index.model_dump_json(indent=1) + "\n").encode())


def features_fingerprint(folder: Path) -> str:
    """What tells these features from all others: SHA-256 of their index, which has that of each file."""
    return fingerprint(folder / INDEX_FILE)


def read_features_index(folder: Path) -> FeatureIndex:
    """Read and check ``features.json``.

    Raises
    ------
    UsageError
        There is none.
    DataError
        It is not valid, names a video twice or as no file can be called, or a label reaches beyond its video.
    """
    path = folder / INDEX_FILE
    check_file(path, SETTINGS)
    try:
        index = FeatureIndex.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{folder} holds no features ({INDEX_FILE}): make them with `metst extract`") from error
    except ValidationError as error:
        raise DataError(f"{path} is not valid: {faults_in_words(error)}") from error
    keys = [video.key for video in index.videos]
    for key in keys:
        file_name(*key)
    faults = [f"{subject}/{name} is there twice" for subject, name in sorted({k for k in keys if keys.count(k) > 1})]
    faults += [
        f"{video.subject}/{video.video}: event on frames {event.onset} to {event.offset} of {video.frames}"
        for video in index.videos
        for event in video.events
        if event.onset >= event.offset or (video.file and event.offset > video.frames)
    ]
    if faults:
        raise DataError(f"{path}: {'; '.join(faults[:FAULTS_SHOWN])}")
    return index


def read_motion(folder: Path, video: FeatureVideo) -> Motion:
    """Motion of one video.

    Parameters
    ----------
    folder : Path
        Of the features.
    video : FeatureVideo
        Of its index; its ``file`` is not empty.

    Returns
    -------
    Motion
        At the frames that its labels count.

    Raises
    ------
    DataError
        The file is missing, damaged or not the one of the index, has another length, or is not finite.
    """
    path, name = folder / video.file, f"{video.subject}/{video.video}"
    motion = read_motion_file(path, of=name, sha256=video.sha256, remedy="extract the features again")
    if len(motion) != video.frames:
        raise DataError(
            f"{path}: expected {video.frames} frames of {name}, got {len(motion)}: extract the features again"
        )
    return motion
