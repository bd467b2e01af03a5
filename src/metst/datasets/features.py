"""Motion of all videos of a data set with their labels, in one folder: what training and evaluation read.

``features.json`` says which data set it was, how motion was measured, and per video its length, its file and
its labels.  Each video has one ``.safetensors`` file with its motion at its own frames.  What a network reads is
derived from these when it is needed, so that one folder serves every recipe.

Frames are those of the video, 0-based and half-open.  A frame that is missing on disk is a gap.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError, field_validator

from metst.arrays import OnProgress
from metst.config import AnalyzeSettings, Settings
from metst.datasets import DataSet, Kind, Label, LabelKind, Video
from metst.errors import DataError, FaceError, OutputError, UsageError, VideoError
from metst.labels import EMOTIONS
from metst.motion.measured import measure_motion
from metst.results.motion import Motion
from metst.results.motion_file import motion_bytes, read_motion_file
from metst.storage import FAULTS_SHOWN, faults_in_words, fingerprint, make_folder, write_whole
from metst.timeline import TimeGrid
from metst.video import probe_video
from metst.video.hashing import content_hash

INDEX_FILE = "features.json"

_NAME_BYTES, _HASH_DIGITS = 80, 8
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


def extract_features(
    data_set: DataSet,
    folder: Path,
    *,
    settings: AnalyzeSettings | None = None,
    rate_hz: float | None = None,
    cache: bool | Path = True,
    on_progress: OnProgress | None = None,
) -> FeatureIndex:
    """Measure the motion of all videos of a data set.

    A video that cannot be read, or that shows no face, stays in the index with what was wrong: its
    micro-expressions are still there to be missed.  Run again, videos measured before come from the cache.
    An earlier ``features.json`` goes first: whatever stops the work, no index speaks of other files.

    Parameters
    ----------
    data_set : DataSet
        With its videos.
    folder : Path
        Where to write; ``features.json`` comes last.
    settings : AnalyzeSettings, optional
        Of the face and motion stages.
    rate_hz : float, optional
        Frame rate of frame folders for which the data set does not say it; video files have their own.
    cache : bool or Path
        As for :func:`metst.analyze`.
    on_progress : callable, optional
        Called as ``on_progress("videos", done, total)``, and with the stages of each video.

    Raises
    ------
    UsageError
        The data set has no video, or a folder of frames and no rate.
    DataError
        A subject or video has a name that no file can have.
    OutputError
        The folder cannot be written.
    """
    settings = settings or AnalyzeSettings()
    _check_videos(data_set, rate_hz=rate_hz)
    make_folder(folder)
    try:
        (folder / INDEX_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot prepare the folder {folder}: {error}") from error
    videos: list[FeatureVideo] = []
    left_out = _without_video(data_set)
    for number, video in enumerate(data_set.videos):
        path = folder / f"{number:04d}.safetensors"
        row = _row(video, path, settings=settings, rate_hz=rate_hz, cache=cache, on_progress=on_progress)
        own = [label for label in data_set.labels if (label.subject, label.video) == row.key]
        inside = [label for label in own if not row.file or label.offset <= row.frames]
        left_out += [f"{la.source}: offset {la.offset} of {row.frames} frames" for la in own if la not in inside]
        videos.append(row.model_copy(update={"events": tuple(map(_event, inside))}))
        if on_progress is not None:
            on_progress("videos", number + 1, len(data_set.videos))
    index = FeatureIndex(data_set=data_set.kind, settings=settings, metst_version=version("metst"),
                         left_out=tuple(left_out), videos=tuple(videos))  # fmt: skip
    write_features_index(folder, index)
    return index


def _check_videos(data_set: DataSet, *, rate_hz: float | None) -> None:
    if not data_set.videos:
        raise UsageError(f"{data_set.root} has labels but no videos: give the folder that holds both")
    without = [f"{v.subject}/{v.name}" for v in data_set.videos if v.path.is_dir() and not (v.rate_hz or rate_hz)]
    if without:
        some = ", ".join(without[:FAULTS_SHOWN])
        raise UsageError(f"frame folders without a frame rate ({some}): give it with --fps")
    for video in data_set.videos:
        file_name(video.subject, video.name)


def _event(label: Label) -> TrueEvent:
    return TrueEvent(
        onset=label.onset, apex=label.apex, offset=label.offset, kind=label.kind, emotion=label.emotion_class
    )


def _row(
    video: Video,
    path: Path,
    *,
    settings: AnalyzeSettings,
    rate_hz: float | None,
    cache: bool | Path,
    on_progress: OnProgress | None,
) -> FeatureVideo:
    """One video measured and written, or what is wrong with it."""
    # Only a folder of frames needs to be told its rate: a video file knows it.
    rate_hz = (video.rate_hz or rate_hz) if video.path.is_dir() else None
    try:
        motion, problems = _measured(video, settings, rate_hz=rate_hz, cache=cache, on_progress=on_progress)
    except (VideoError, FaceError, DataError) as error:
        return FeatureVideo(
            subject=video.subject,
            video=video.name,
            frames=video.frames or 0,
            rate_hz=rate_hz or 0,
            file="",
            problems=(str(error),),
        )
    row = _stored(video, motion, path, rate_hz=rate_hz)
    return row.model_copy(update={"problems": problems})


def _without_video(data_set: DataSet) -> list[str]:
    known = {(video.subject, video.name) for video in data_set.videos}
    return [
        f"{label.source}: there is no video {label.subject}/{label.video}"
        for label in data_set.labels
        if (label.subject, label.video) not in known
    ]


def _measured(
    video: Video,
    settings: AnalyzeSettings,
    *,
    rate_hz: float | None,
    cache: bool | Path,
    on_progress: OnProgress | None,
) -> tuple[Motion, tuple[str, ...]]:
    info = probe_video(video.path, rate_hz=rate_hz)
    measured = measure_motion(
        info,
        settings=settings,
        content=content_hash(video.path),
        rate_hz=rate_hz,
        landmarks=None,
        cache=cache,
        on_progress=on_progress,
    )
    faceless = () if measured.motion.displacement.valid.any() else ("no frame with a usable face",)
    return measured.motion, (*measured.problems, *faceless)


def _stored(video: Video, motion: Motion, path: Path, *, rate_hz: float | None) -> FeatureVideo:
    """Write the motion at the frames that labels count: in a folder a missing image has its number, too."""
    grid = motion.grid
    rate_hz = rate_hz or (1 / grid.frame_s if grid.frame_s else 0.0)
    if video.frames is not None and video.frames != len(grid):
        place = np.rint(grid.time_s * rate_hz).astype(np.int64)
        time_s = np.arange(max(video.frames, int(place[-1]) + 1)) / (rate_hz or 1.0)
        time_s[place] = grid.time_s
        motion = motion.placed(place, grid=TimeGrid(time_s), reason="no image")
    data = motion_bytes(motion)
    write_whole(path, data)
    return FeatureVideo(subject=video.subject, video=video.name, frames=len(motion), rate_hz=rate_hz, file=path.name,
                        sha256=fingerprint(data))  # fmt: skip


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
