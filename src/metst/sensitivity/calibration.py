"""The way of a calibration: analyse, find quiet moments, plant, analyse again, compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metst.analyze import analyze
from metst.arrays import OnProgress
from metst.config import AnalyzeSettings
from metst.errors import VideoError
from metst.inference import decode_events, score_motion
from metst.results import Analysis
from metst.sensitivity.footage import Footage, Stretch
from metst.sensitivity.moments import Section, find_sections
from metst.sensitivity.recording_quality import Conditions, measure_conditions
from metst.sensitivity.settings import CalibrateSettings
from metst.sensitivity.trials import Outcome, Trial, judge, plan_trials
from metst.storage import temporary_folder
from metst.synthesis.inject import PlantedFields, inject_events
from metst.timeline import Intervals
from metst.video import probe_video, write_video

if TYPE_CHECKING:
    from metst.models.checkpoint import Model


LEAST_S = 3.0
"""A recording shorter than this holds no moment with what the pipeline needs before and after it, seconds."""


@dataclass(frozen=True)
class Row:
    """A trial and its outcome; the largest displacement of the face at the apex in face units and pixels."""

    trial: Trial
    outcome: Outcome
    peak_units: float
    peak_px: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a calibration measured.

    Parameters
    ----------
    raw : Analysis
        Of the recording as it is.
    rows : tuple of Row
        All trials, in order of pass and time.
    moments : int
        Quiet moments that were used.
    runs : int
        Passes.
    stray : int
        Candidates of all passes that belong to no trial.
    planted_s : float
        Seconds of footage in which they were found: the moments of all passes.
    conditions : Conditions
        Light, noise, size, rate, compression, head motion.
    settings : CalibrateSettings
        How it was done.
    """

    raw: Analysis
    rows: tuple[Row, ...]
    moments: int
    runs: int
    stray: int
    planted_s: float
    conditions: Conditions
    settings: CalibrateSettings


def calibrate(
    path: str | Path,
    *,
    model: str | Path | Model = "metst-event",
    settings: CalibrateSettings | None = None,
    rate_hz: float | None = None,
    cache: bool | str | Path = True,
    on_progress: OnProgress | None = None,
) -> Calibration:
    """Measure what can be found in one recording, by planting known movements at its quiet moments.

    Each pass plants movements into the recording's own pictures, writes them as H.264 and analyses the file as any
    other recording, from decoding to events.

    Parameters
    ----------
    path : str or Path
        Video or frame folder.
    model : str, Path or Model
        Name of a packaged model, a checkpoint folder, or a loaded model.
    settings : CalibrateSettings, optional
        What is planted.
    rate_hz : float, optional
        Frame rate of a frame folder.
    cache : bool, str or Path
        For the analysis of the recording as it is; see :func:`metst.analyze`.
    on_progress : callable, optional
        Called as ``on_progress(stage, done, total)``.

    Raises
    ------
    VideoError
        The recording is too short, or cannot be read.
    FaceError
        It shows no face, one that is too small, or no quiet moment.
    UsageError, CheckpointError
        Settings that cannot be met; a model that cannot be loaded.
    """
    from metst.models.checkpoint import Model, load_model

    settings, path = settings or CalibrateSettings(), Path(path)
    loaded = model if isinstance(model, Model) else load_model(model)
    raw = _long_enough(analyze(path, model=loaded, rate_hz=rate_hz, cache=cache, on_progress=on_progress))
    sections = find_sections(raw, trials=settings.trials().count)
    moments = [moment for section in sections for moment in section.moments]
    trials = plan_trials(moments, settings=settings.trials())
    recording = Planned(path, (raw,), sections, rate_hz=rate_hz)
    (found,) = carry_out(recording, trials, models=(loaded,), settings=settings, on_progress=on_progress)
    return found


@dataclass(frozen=True, eq=False)
class Planned:
    """A recording to be calibrated for one model or for several.

    Parameters
    ----------
    path : Path
    raw : tuple of Analysis
        Of the recording as it is, by each model.
    sections : tuple of Section
        What is planted into.
    rate_hz : float, optional
        Frame rate of a frame folder.
    """

    path: Path
    raw: tuple[Analysis, ...]
    sections: tuple[Section, ...]
    rate_hz: float | None = None


def carry_out(
    recording: Planned,
    trials: Sequence[Trial],
    *,
    models: Sequence[Model],
    settings: CalibrateSettings,
    on_progress: OnProgress | None = None,
) -> tuple[Calibration, ...]:
    """Plant what is planned into one recording, and let each model find it in the same pictures.

    Parameters
    ----------
    recording : Planned
        What, and where.
    trials : sequence of Trial
        Of all passes; those at moments of other recordings are left to these.
    models : sequence of Model
        In the order of ``recording.raw``.
    settings : CalibrateSettings
        What is planted.
    on_progress : callable, optional
        Called as ``on_progress(stage, done, total)``.

    Returns
    -------
    tuple of Calibration
        One per model.
    """
    footage = Footage(recording.path, recording.sections, rate_hz=recording.rate_hz)
    stretches = _tracked(footage, on_progress=on_progress)
    found = _run(trials, footage=footage, stretches=stretches, models=models, crf=settings.crf, on_progress=on_progress)
    runs, length_s = trials[-1].run + 1, sum(moment.end_s - moment.start_s for moment in footage.moments)
    conditions = measure_conditions(recording.raw[0], stretches=stretches, path=recording.path)
    return tuple(
        Calibration(
            raw=raw,
            rows=tuple(rows),
            moments=len(footage.moments),
            runs=runs,
            stray=stray,
            planted_s=runs * length_s,
            conditions=conditions,
            settings=settings,
        )
        for raw, (rows, stray) in zip(recording.raw, found, strict=True)
    )


def _long_enough(raw: Analysis) -> Analysis:
    source = raw.source
    if source.duration_s < LEAST_S:
        raise VideoError(
            f"{source.name} lasts {source.duration_s:.1f} s: calibration needs {LEAST_S:g} s or more, better a minute"
        )
    return raw


def _tracked(footage: Footage, *, on_progress: OnProgress | None) -> list[Stretch]:
    stretches: list[Stretch] = []
    for stretch in footage.track():
        stretches.append(stretch)
        _tell(on_progress, "tracking", len(stretches), len(footage.sections))
    return stretches


def _run(
    trials: Sequence[Trial],
    *,
    footage: Footage,
    stretches: list[Stretch],
    models: Sequence[Model],
    crf: int,
    on_progress: OnProgress | None,
) -> list[tuple[list[Row], int]]:
    """For each model the rows of all trials, and the number of candidates that belong to none."""
    rows: list[list[Row]] = [[] for _ in models]
    stray, done = [0] * len(models), 0
    runs = trials[-1].run + 1
    with temporary_folder() as work:
        for run in range(runs):
            for stretch, (section, frames) in zip(stretches, footage.parts(), strict=True):
                numbers = {moment.number for moment in section.moments}
                mine = [trial for trial in trials if trial.run == run and trial.moment in numbers]
                images = (frame.rgb for frame in frames)
                passed = _pass(mine, images=images, stretch=stretch, models=models, crf=crf, file=work / "pass.mp4")
                for number, (found, free) in enumerate(passed):
                    rows[number] += found
                    stray[number] += free
                done += 1
                _tell(on_progress, "planting and finding", done, runs * len(stretches))
    return list(zip(rows, stray, strict=True))


def _pass(
    trials: list[Trial],
    *,
    images: Iterator[np.ndarray],
    stretch: Stretch,
    models: Sequence[Model],
    crf: int,
    file: Path,
) -> list[tuple[list[Row], int]]:
    """Plant the trials into one section, analyse it, compare: for each model rows and candidates of no trial."""
    events = [stretch.local(trial.event) for trial in trials]
    moving = [event for trial, event in zip(trials, events, strict=True) if trial.amplitude > 0]
    grid = stretch.grid
    planted = inject_events(images, landmarks=stretch.landmarks, time_s=grid.time_s, events=moving)
    write_video(file, planted, times_s=grid.time_s.tolist(), crf=crf, preset="veryfast")
    peaks = _peaks(trials, stretch=stretch)
    passed = []
    for candidates in found_in(file, models=models):
        rows, taken = [], set()
        for trial, event, peak in zip(trials, events, peaks, strict=True):
            outcome, mine = judge(event, candidates=candidates, grid=grid)
            taken.update(mine)
            rows.append(Row(trial, outcome, peak, peak * stretch.face_px))
        passed.append((rows, _inside(candidates, stretch=stretch) - len(taken)))
    return passed


def found_in(file: Path, *, models: Sequence[Model]) -> list[Intervals]:
    """Candidates of each model in a planted recording, which is measured once; none where no frame can be used."""
    from metst.motion.measured import measure_motion  # with all of the measuring, which planning does without

    info = probe_video(file)
    motion = measure_motion(
        info, settings=AnalyzeSettings(), content="", rate_hz=None, landmarks=None, cache=False, on_progress=None
    ).motion
    if not motion.displacement.valid.any():
        return [Intervals.empty(model.info.classes) for model in models]
    scores = [score_motion(motion.displacement, model=model, quality=motion.quality) for model in models]
    return [decode_events(each, model=model) for each, model in zip(scores, models, strict=True)]


def _inside(candidates: Intervals, *, stretch: Stretch) -> int:
    """Candidates whose apex lies in a quiet moment of the section."""
    apex_s = stretch.time_s[candidates.apex]
    return int(sum(((apex_s >= moment.start_s) & (apex_s <= moment.end_s)).sum() for moment in stretch.section.moments))


def _peaks(trials: list[Trial], *, stretch: Stretch) -> list[float]:
    """Largest displacement of the face at the apex of each movement, face units."""
    from metst.synthesis.action_units import FacePose

    seen = stretch.landmarks[np.isfinite(stretch.landmarks).all(axis=(1, 2))]
    shape = np.median([FacePose.from_landmarks(points).to_face(points) for points in seen], axis=0)
    fields = PlantedFields.for_face(shape, [trial.event for trial in trials]).fields
    return [float(np.hypot(field[..., 0], field[..., 1]).max()) for field in fields]


def _tell(on_progress: OnProgress | None, stage: str, done: int, total: int) -> None:
    if on_progress is not None:
        on_progress(stage, done, total)
