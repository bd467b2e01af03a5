"""Stages 1 to 3 over a whole data set: its videos become a folder of features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from metst.config import AnalyzeSettings, Settings
from metst.datasets.features import (
    INDEX_FILE,
    FeatureIndex,
    FeatureVideo,
    TrueEvent,
    file_name,
    motion_name,
    write_features_index,
)
from metst.errors import FAULTS_SHOWN, DataError, OutputError, UsageError, VideoError
from metst.guard.faults import Fault, guarded
from metst.motion.cache import motion_key
from metst.motion.measured import CHANGED, measure_motion
from metst.results.motion_file import motion_bytes
from metst.spelling.names import check_name
from metst.storage import fingerprint, sealed, unsealed_as, write_whole
from metst.storage.locks import only_writer
from metst.timeline import TimeGrid
from metst.video import probe_video
from metst.video.hashing import content_hash

if TYPE_CHECKING:
    from metst.arrays import OnProgress
    from metst.datasets import DataSet, Label, Video
    from metst.results.motion import Measured, Motion

NO_VIDEO = ": there is no video "
"""Between where a label stands and the name of its video, in what is told of features."""

_ROW = ".row.json"
"""How the name of a file ends that holds a video's row of the index, without labels, beside its motion."""


class MeasuredRow(Settings):
    """What a video was found to be, and what decided it: a later extraction takes it, where that is the same."""

    decided_by: str = Field(description="names content, settings and version; empty for what could not be measured")
    row: FeatureVideo


@dataclass(frozen=True)
class VideoTask:
    """One video to be measured; all that a worker elsewhere needs to know.

    Parameters
    ----------
    video : Video
    path : Path
        File for its motion.
    settings : AnalyzeSettings
        Of the face and motion stages.
    rate_hz : float, optional
        Frame rate of frame folders for which the data set does not say it.
    cache : bool or Path
        As for :func:`metst.analyze`.
    """

    video: Video
    path: Path
    settings: AnalyzeSettings
    rate_hz: float | None
    cache: bool | Path

    @property
    def row_path(self) -> Path:
        """File for its row of the index."""
        return self.path.with_suffix(_ROW)


Run = Callable[[Callable[[VideoTask], None], Sequence[VideoTask]], None]
"""Calls a function on all tasks, wherever that is."""


def extract_features(
    data_set: DataSet,
    folder: Path,
    *,
    settings: AnalyzeSettings | None = None,
    rate_hz: float | None = None,
    cache: bool | Path = True,
    run: Run | None = None,
    on_progress: OnProgress | None = None,
) -> FeatureIndex:
    """Measure the motion of all videos of a data set.

    A video that cannot be read, or that shows no face, stays in the index with what was wrong: its
    micro-expressions are still there to be missed.  Run again, in a folder that was finished or after a stop, videos
    that lie there measured alike are not measured again, with or without the cache.  An earlier ``features.json`` goes
    first: whatever stops the work, no index speaks of other files.

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
    run : callable, optional
        Measures the videos on many processors or machines: called with a function and its tasks, it calls the function
        on each.  One after the other when absent.
    on_progress : callable, optional
        Called as ``on_progress("videos", done, total)``, and with the stages of each video; not with ``run``.

    Raises
    ------
    UsageError
        The data set has no video, a folder of frames and no rate, or a name that is not in UTF-8.
    DataError
        A subject or video has a name that no file can have; what was measured is damaged or of another video.
    OutputError
        The folder cannot be written, or another process writes into it.
    """
    settings = settings or AnalyzeSettings()
    _check_videos(data_set, rate_hz=rate_hz)
    tasks = [
        VideoTask(video, folder / motion_name(number), settings, rate_hz, cache)
        for number, video in enumerate(data_set.videos)
    ]
    with only_writer(folder):
        _clear(folder, tasks)
        if run is None:
            _one_after_the_other(tasks, on_progress=on_progress)
        else:
            run(measure_video, tasks)
        index = _index(data_set, tasks, settings=settings)
        write_features_index(folder, index)
    return index


def _index(data_set: DataSet, tasks: Sequence[VideoTask], *, settings: AnalyzeSettings) -> FeatureIndex:
    """The rows of all videos with their labels."""
    videos: list[FeatureVideo] = []
    left_out = _without_video(data_set)
    for task in tasks:
        try:
            measured = _read_row(task)
        except (OSError, ValueError, DataError) as error:
            raise DataError(f"{task.row_path}: {error}; extract the features again") from error
        row, outside = _labelled(measured.row, data_set.labels)
        videos.append(row)
        left_out += outside
    return FeatureIndex(data_set=data_set.kind, settings=settings, metst_version=version("metst"),
                        left_out=tuple(left_out), videos=tuple(videos))  # fmt: skip


def measure_video(task: VideoTask, *, on_progress: OnProgress | None = None) -> None:
    """Measure one video, and leave its motion and its row of the index in files; or find them there.

    Raises
    ------
    OutputError
        They cannot be written.
    """
    if not _is_measured(task):
        row = _row(task, on_progress=on_progress)
        measured = MeasuredRow(decided_by=_decided_by(task) if row.file else "", row=row)
        write_whole(task.row_path, sealed(measured.model_dump_json()))


def _read_row(task: VideoTask) -> MeasuredRow:
    """What was left for a video.

    Raises
    ------
    OSError, ValueError, DataError
        It is not there, not what was written, or of another video.
    """
    found = unsealed_as(MeasuredRow, task.row_path.read_bytes())
    if found.row.key != (task.video.subject, task.video.name):
        raise DataError(f"it is of {'/'.join(found.row.key)}, not of {task.video.subject}/{task.video.name}")
    return found


def _is_measured(task: VideoTask) -> bool:
    """Whether its motion lies there, of the same content, measured with the same settings and version."""
    try:
        found = _read_row(task)
        return (
            found.row.file == task.path.name
            and found.decided_by == _decided_by(task)
            and fingerprint(task.path) == found.row.sha256
        )
    except (OSError, ValueError, DataError, VideoError):  # not there, of another version, or it cannot be read any more
        return False


def _decided_by(task: VideoTask) -> str:
    key = motion_key(content_hash(task.video.path), settings=task.settings, rate_hz=_told_rate(task))
    return f"{key}-{task.video.frames}"


def _one_after_the_other(tasks: Sequence[VideoTask], *, on_progress: OnProgress | None) -> None:
    for done, task in enumerate(tasks, 1):
        measure_video(task, on_progress=on_progress)
        if on_progress is not None:
            on_progress("videos", done, len(tasks))


def _clear(folder: Path, tasks: Sequence[VideoTask]) -> None:
    """Take away the index of an earlier extraction and the rows of videos that are no more."""
    rows = {task.row_path.name for task in tasks}
    try:
        (folder / INDEX_FILE).unlink(missing_ok=True)
        for path in folder.glob(f"*{_ROW}"):
            if path.name not in rows:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot prepare the folder {folder}: {error}") from error


def _check_videos(data_set: DataSet, *, rate_hz: float | None) -> None:
    if not data_set.videos:
        raise UsageError(f"{data_set.root} has labels but no videos: give the folder that holds both")
    without = [f"{v.subject}/{v.name}" for v in data_set.videos if v.path.is_dir() and not (v.rate_hz or rate_hz)]
    if without:
        some = ", ".join(without[:FAULTS_SHOWN])
        raise UsageError(f"frame folders without a frame rate ({some}): give it with --fps")
    for video in data_set.videos:
        check_name(Path(video.subject, video.name))
        file_name(video.subject, video.name)


def _labelled(row: FeatureVideo, labels: tuple[Label, ...]) -> tuple[FeatureVideo, list[str]]:
    """A video with its labels, and a line for each that ends after it."""
    own = [label for label in labels if (label.subject, label.video) == row.key]
    inside = [label for label in own if not row.file or label.offset <= row.frames]
    outside = [f"{la.source}: offset {la.offset} of {row.frames} frames" for la in own if la not in inside]
    return row.model_copy(update={"events": tuple(map(_event, inside))}), outside


def _event(label: Label) -> TrueEvent:
    return TrueEvent(
        onset=label.onset, apex=label.apex, offset=label.offset, kind=label.kind, emotion=label.emotion_class
    )


def _row(task: VideoTask, *, on_progress: OnProgress | None) -> FeatureVideo:
    """One video measured and written, or what is wrong with it."""
    video, rate_hz = task.video, _told_rate(task)
    measured = guarded(
        lambda: _measured(video, rate_hz, settings=task.settings, cache=task.cache, on_progress=on_progress),
        name=f"{video.subject}-{video.name}",
        let_through=(OutputError,),
    )
    if isinstance(measured, Fault):
        return FeatureVideo(
            subject=video.subject,
            video=video.name,
            frames=video.frames or 0,
            rate_hz=rate_hz or 0,
            file="",
            problems=(measured.message,),
        )
    faceless = () if measured.motion.displacement.valid.any() else ("no frame with a usable face",)
    row = _stored(video, measured.motion, task.path, rate_hz=rate_hz)
    return row.model_copy(update={"problems": (*measured.problems, *faceless)})


def _told_rate(task: VideoTask) -> float | None:
    """Only a folder of frames needs to be told its rate: a video file knows it."""
    return (task.video.rate_hz or task.rate_hz) if task.video.path.is_dir() else None


def _without_video(data_set: DataSet) -> list[str]:
    known = {(video.subject, video.name) for video in data_set.videos}
    return [
        f"{label.source}{NO_VIDEO}{label.subject}/{label.video}"
        for label in data_set.labels
        if (label.subject, label.video) not in known
    ]


def _measured(
    video: Video,
    rate_hz: float | None,
    *,
    settings: AnalyzeSettings,
    cache: bool | Path,
    on_progress: OnProgress | None,
) -> Measured:
    info, content = probe_video(video.path, rate_hz=rate_hz), content_hash(video.path)
    measured = measure_motion(
        info, settings=settings, content=content, rate_hz=rate_hz, landmarks=None, cache=cache, on_progress=on_progress
    )
    if measured.changed:
        raise DataError(f"{video.path.name}: {CHANGED}")
    return measured


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
