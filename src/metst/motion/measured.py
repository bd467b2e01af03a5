"""Stages 1 to 3 of a recording in one call: its motion, measured now or taken from what an earlier analysis kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from metst.face import track_face
from metst.motion.cache import default_folder, motion_key, open_cache
from metst.motion.trajectory import extract_motion
from metst.results.motion import Measured
from metst.spelling.names import given_name
from metst.threads import ahead
from metst.video import content_stamp, is_unchanged, read_frames

CHANGED = "the recording was changed while it was read: this may be of neither content; analyse it again"
"""The problem that is told of such a recording."""

_AHEAD_FRAMES = 4  # decoded while the one before is measured: more would only take memory; set by hand

if TYPE_CHECKING:
    from metst.arrays import FloatArray, OnProgress
    from metst.config import AnalyzeSettings
    from metst.video import VideoInfo


def measure_motion(
    info: VideoInfo,
    *,
    settings: AnalyzeSettings,
    content: str,
    rate_hz: float | None,
    landmarks: FloatArray | None,
    cache: bool | str | Path,
    on_progress: OnProgress | None,
) -> Measured:
    """Stages 1 to 3, or what an earlier analysis kept of them; ``content`` is the hash of the recording.

    It is hashed again after it was decoded: what was changed meanwhile is marked, and not kept.
    """
    stamp = content_stamp(info.path)

    def compute() -> Measured:
        problems: list[str] = []
        frames = ahead(read_frames(info.path, rate_hz=rate_hz, on_problem=problems.append), most=_AHEAD_FRAMES)
        track = track_face(frames, settings=settings.face, landmarks=landmarks)
        motion = extract_motion(track, settings=settings.motion, total=info.frame_count, on_progress=on_progress)
        if content and not is_unchanged(info.path, stamp=stamp, content=content):
            return Measured(motion, (*problems, f"{given_name(info.path)}: {CHANGED}"), changed=True)
        return Measured(motion, tuple(problems))

    if cache is False:
        return compute()
    kept = open_cache(default_folder() if cache is True else Path(cache))
    key = motion_key(content, settings=settings, rate_hz=rate_hz, landmarks=landmarks)
    measured = kept.measured(key, compute, name=given_name(info.path))
    if on_progress is not None:
        on_progress("motion", len(measured.motion), len(measured.motion))
    return measured
