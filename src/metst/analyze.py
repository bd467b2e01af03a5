"""From a video to its micro-expression candidates: stages 1 to 6 in order.

The package offers :func:`analyze` as ``metst.analyze``; importing it must not cost what running it does.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metst.errors import FaceError
from metst.spelling.names import given_name

# Functions import what they run: the package offers `metst.analyze`, and importing that must not cost as much.
if TYPE_CHECKING:
    from metst.arrays import FloatArray, OnProgress
    from metst.config import AnalyzeSettings, OperatingPoint
    from metst.models.checkpoint import Model
    from metst.results import Analysis, Measured, Motion, Source
    from metst.timeline import Series


def analyze(
    path: str | Path,
    *,
    model: str | Path | Model = "metst-event",
    operating_point: OperatingPoint | None = None,
    settings: AnalyzeSettings | None = None,
    rate_hz: float | None = None,
    landmarks: FloatArray | None = None,
    cache: bool | str | Path = True,
    on_progress: OnProgress | None = None,
) -> Analysis:
    """Find micro-expressions in one video or frame folder.

    Parameters
    ----------
    path : str or Path
        Any container FFmpeg reads, or a folder of frames.
    model : str, Path or Model
        Name of a packaged model, a checkpoint folder, or a loaded model.
    operating_point : {"quiet", "balanced", "sensitive"}, optional
        How many candidates: few, as the model has it, or many.  Absent: ``balanced``, or where a loaded model stands.
    settings : AnalyzeSettings, optional
        Settings of the face and motion stages.
    rate_hz : float, optional
        Frame rate of a frame folder.
    landmarks : (T, 68, 2) array, optional
        Landmarks in pixels, in place of the face tracker's; NaN where there is no face.
    cache : bool, str or Path
        Keep motion, place of the face and file name (no picture), and take what was kept: in the user's cache folder
        (``METST_CACHE_DIR``), in the folder given, or not at all.
    on_progress : callable, optional
        Called as ``on_progress(stage, done, total)``.

    Returns
    -------
    Analysis

    Raises
    ------
    UsageError, VideoError, FaceError, CheckpointError
        The input is unreadable or shows no usable face, or the model cannot be loaded or has no such point.
    """
    from metst.config import AnalyzeSettings
    from metst.inference import score_motion
    from metst.models.checkpoint import Model, load_model
    from metst.motion.measured import measure_motion
    from metst.results.recording import source_of
    from metst.video import content_hash, probe_video

    started, path, settings = time.perf_counter(), Path(path), settings or AnalyzeSettings()
    loaded = (model if isinstance(model, Model) else load_model(model)).as_used(point=operating_point)
    info, content = probe_video(path, rate_hz=rate_hz), content_hash(path)
    measured = measure_motion(info, settings=settings, content=content, rate_hz=rate_hz, landmarks=landmarks,
                              cache=cache, on_progress=on_progress)  # fmt: skip
    motion = _usable(measured.motion, name=given_name(path))
    scores = score_motion(motion.displacement, model=loaded, quality=motion.quality, on_progress=on_progress)
    source = source_of(path, info=info, grid=scores.grid, content=content, changed=measured.changed)
    return _analysis(
        source, measured, scores=scores, model=loaded, settings=settings, landmarks=landmarks, started=started
    )


def _analysis(
    source: Source,
    measured: Measured,
    *,
    scores: Series,
    model: Model,
    settings: AnalyzeSettings,
    landmarks: FloatArray | None,
    started: float,
) -> Analysis:
    """All that was found, and how; ``started`` is of :func:`time.perf_counter`."""
    from metst.inference import decode_events
    from metst.motion.cache import FORMAT
    from metst.results import Analysis, usable_problem
    from metst.video import loss_problem

    notes = loss_problem(scores.grid, name=source.name), usable_problem(measured.motion.reason, name=source.name)
    return Analysis(
        source=source,
        scores=scores,
        motion=measured.motion,
        events=decode_events(scores, model=model),
        model=model.describe(),
        settings=resolved_settings(settings, model=model, landmarks=landmarks),
        problems=(*measured.problems, *filter(None, notes)),
        version=version("metst"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=time.perf_counter() - started,
        motion_algorithm=FORMAT,
    )


def resolved_settings(
    settings: AnalyzeSettings, *, model: Model, landmarks: FloatArray | None = None
) -> dict[str, Any]:
    """All settings of an analysis, as its files have them: of face and motion, and those that come with the model.

    Landmarks that were given are told by their digest; without them there is no such key.
    """
    from metst.motion.cache import landmarks_digest

    of_model = model.info.model_dump(mode="json", include={"input", "scoring", "decode"})
    given = {} if landmarks is None else {"landmarks": landmarks_digest(landmarks)}
    return settings.model_dump(mode="json") | of_model | given


def _usable(motion: Motion, *, name: str) -> Motion:
    """The motion, where there is enough of it to be scored."""
    from metst.video import check_measurable

    check_measurable(motion.grid, name=name)
    if not motion.displacement.valid.any():
        raise FaceError(f"{name}: {_why_unusable(motion.reason)}")
    return motion


def _why_unusable(reasons: tuple[str, ...]) -> str:
    """The most frequent reason, for the message."""
    most = max(set(reasons), key=reasons.count)
    return f"no frame with a usable face ({most}): use footage that shows one from the front"
