"""People on video as backgrounds: the measured motion of footage that nobody has labelled, by person.

Rendered heads show what their author thought of; people do the rest.  Each clip is measured as it is, and encoded
again at lower qualities, so that a network learns that the same face looks a little different through every codec.
No picture is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from metst.arrays import Float64Array, Image, OnProgress
from metst.config import AnalyzeSettings
from metst.datasets.folders import VIDEO_SUFFIXES, entries, folders
from metst.errors import DataError, OutputError, UsageError
from metst.guard.faults import Fault, guarded
from metst.motion.cache import FORMAT
from metst.motion.measured import CHANGED, measure_motion
from metst.results.motion import Motion
from metst.results.motion_file import motion_bytes, read_motion_file
from metst.storage import fingerprint, json_key, make_folder, temporary_folder, write_whole
from metst.video import content_hash, probe_video, read_colour_stream, write_video

Encoding = tuple[int, float]
"""Constant rate factor of H.264, and share of the width and height."""


def people_on_video(
    footage: Path,
    *,
    kept: Path,
    again: Sequence[Encoding] = (),
    on_fault: Callable[[str], None] | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, tuple[Motion, ...]]:
    """Motion of all clips in ``footage/<person>/``, as they are and encoded again.

    Parameters
    ----------
    footage : Path
        A folder per person, and in it video files.
    kept : Path
        Folder that keeps the motion; what it holds already is read, not measured again.  Made when absent.
    again : sequence of (int, float)
        What each clip is encoded with once more: constant rate factor of H.264, and share of its width and height.
    on_fault : callable, optional
        Called with a line for each clip that is left out; an error when absent.
    on_progress : callable, optional
        Called as ``on_progress("footage", done, total)``.

    Returns
    -------
    dict of str to tuple of Motion
        Per person in order of their names; nobody without a clip that can be measured.

    Raises
    ------
    UsageError
        The folder is not there, or holds no video in folders of persons.
    VideoError, FaceError, DataError
        Without ``on_fault``: a clip cannot be read, shows no face, or lies with two persons.
    OutputError
        What is kept cannot be written.
    """
    clips = clips_of(footage)
    make_folder(kept)
    found: dict[str, list[Motion]] = {}
    shown: dict[str, str] = {}
    for number, (person, path) in enumerate(clips, start=1):
        ours = (OutputError,) if on_fault else (Exception,)
        work = partial(_motions, path, person=person, shown=shown, kept=kept, again=again)
        done = guarded(work, name=path.stem, let_through=ours)
        if not isinstance(done, Fault):
            found.setdefault(person, []).extend(done)
        elif on_fault is not None:
            on_fault(f"{path}: {done.message.removeprefix(f'{path}: ')}")
        if on_progress is not None:
            on_progress("footage", number, len(clips))
    return {person: tuple(motions) for person, motions in found.items()}


def clips_of(footage: Path) -> list[tuple[str, Path]]:
    """Persons and clips of a folder with a folder per person, in order of their names.

    Raises
    ------
    UsageError
        The folder is not there, or holds no video in folders of persons.
    """
    if not footage.is_dir():
        raise UsageError(f"{footage} is no folder: expected one with a folder of video files per person")
    clips = [
        (person.name, path)
        for person in folders(footage)
        for path in entries(person)
        if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES
    ]
    if not clips:
        raise UsageError(f"{footage} holds no video file in a folder of a person: expected {footage}/PERSON/CLIP.mp4")
    return clips


def _motions(path: Path, *, person: str, shown: dict[str, str], kept: Path, again: Sequence[Encoding]) -> list[Motion]:
    content = content_hash(path)
    if shown.setdefault(content, person) != person:
        raise DataError(f"{path} shows {person}, and the same recording lies with {shown[content]}: keep one of them")
    original = _kept(kept, [content], measure=partial(_measured, path))
    if not original.displacement.valid.any():
        raise DataError(f"{path}: no frame with a usable face: leave it out")
    time_s = original.grid.time_s - original.grid.time_s[0]
    encoded = [_kept(kept, [content, how], measure=partial(_recoded, path, time_s=time_s, how=how)) for how in again]
    return [original, *encoded]


def _kept(folder: Path, about: list[object], *, measure: Callable[[], Motion]) -> Motion:
    """Motion that the folder holds, measured now when it does not: by the clip, its quality, and how it is measured."""
    key = json_key([*about, FORMAT, AnalyzeSettings().model_dump(mode="json")])
    file = folder / f"{fingerprint(key)[:24]}.safetensors"
    if not file.is_file():
        write_whole(file, motion_bytes(measure()))
    return read_motion_file(file, remedy="delete it")


def _recoded(path: Path, *, time_s: Float64Array, how: Encoding) -> Motion:
    """Motion of a clip after one more encoding."""
    crf, scale = how
    with temporary_folder() as work:
        video = work / "again.mp4"
        images = (_smaller(frame.rgb, scale=scale) for frame in read_colour_stream(path))
        write_video(video, images, times_s=time_s.tolist(), crf=crf)
        return _measured(video)


def _smaller(image: Image, *, scale: float) -> Image:
    """Each pixel the mean of those that it stands for."""
    if scale == 1:
        return image
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def _measured(path: Path) -> Motion:
    measured = measure_motion(
        probe_video(path), settings=AnalyzeSettings(), content="", rate_hz=None, landmarks=None, cache=False,
        on_progress=None,
    )  # fmt: skip
    if measured.changed:
        raise DataError(f"{path}: {CHANGED}")
    return measured.motion
