"""Two or more models calibrated on the same recordings: the same movements, in the same pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from metst.analyze import analyze
from metst.arrays import OnProgress
from metst.errors import FaceError
from metst.results import Analysis
from metst.sensitivity.calibration import Calibration, Planned, carry_out
from metst.sensitivity.moments import Section, find_sections
from metst.sensitivity.settings import CalibrateSettings
from metst.sensitivity.trials import plan_trials
from metst.storage import temporary_folder

if TYPE_CHECKING:
    from metst.models.checkpoint import Model


def calibrate_models(
    paths: Sequence[Path],
    *,
    models: Sequence[Model],
    settings: CalibrateSettings,
    rate_hz: float | None = None,
    cache: bool | Path = True,
    on_progress: OnProgress | None = None,
) -> list[tuple[Calibration, ...]]:
    """Calibrate recordings for several models, as one: the trials are shared out among all quiet moments.

    A moment is quiet where no model has a candidate; each pass is planted, written and measured once, and every model
    scores it.

    Parameters
    ----------
    paths : sequence of Path
        Recordings.  Those without a quiet moment are left out.
    models : sequence of Model
        What is compared.
    settings : CalibrateSettings
        What is planted.
    rate_hz : float, optional
        Frame rate of frame folders.
    cache : bool or Path
        For the motion of the recordings as they are; see :func:`metst.analyze`.
    on_progress : callable, optional
        Called as ``on_progress("calibrated recordings", done, total)``.

    Returns
    -------
    list of tuple of Calibration
        For each recording that has a quiet moment, one per model.

    Raises
    ------
    VideoError, FaceError
        A recording cannot be read or shows no face; or none has a quiet moment.
    """
    with temporary_folder() as work:  # every recording is measured once
        recordings = _planned(paths, models=models, settings=settings, rate_hz=rate_hz, cache=cache or work)
    if not recordings:
        raise FaceError(
            f"no quiet moment in {len(paths)} recordings: movements are planted where a person sits still, looks ahead"
            " and does not speak"
        )
    moments = [moment for each in recordings for section in each.sections for moment in section.moments]
    trials = plan_trials(moments, settings=settings.trials())
    found = []
    for done, recording in enumerate(recordings, 1):
        found.append(carry_out(recording, trials, models=models, settings=settings))
        if on_progress is not None:
            on_progress("calibrated recordings", done, len(recordings))
    return found


def _planned(
    paths: Sequence[Path],
    *,
    models: Sequence[Model],
    settings: CalibrateSettings,
    rate_hz: float | None,
    cache: bool | Path,
) -> list[Planned]:
    """The recordings with quiet moments, which are numbered through."""
    share, first = math.ceil(settings.trials().count / len(paths)), 0
    planned = []
    for path in paths:
        raw = tuple(analyze(path, model=model, rate_hz=rate_hz, cache=cache) for model in models)
        sections = _numbered(raw, trials=share, first=first)
        if sections:
            planned.append(Planned(path, raw, sections, rate_hz=rate_hz))
            first = 1 + sections[-1].moments[-1].number
    return planned


def _numbered(raw: Sequence[Analysis], *, trials: int, first: int) -> tuple[Section, ...]:
    try:
        sections = find_sections(raw[0], trials=trials, others=raw[1:])
    except FaceError:
        return ()
    return tuple(
        replace(section, moments=tuple(replace(moment, number=first + moment.number) for moment in section.moments))
        for section in sections
    )
