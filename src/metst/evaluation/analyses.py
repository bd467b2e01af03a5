"""Analyses of many recordings: each is a task of its own, and what is done stays done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metst.config import DEFAULT_POINT, OperatingPoint
from metst.errors import DataError, MetstError, VideoError
from metst.evaluation.executors import Executor, check_executor, run_tasks
from metst.spelling.names import check_name, printable
from metst.storage.leftovers import sweep

if TYPE_CHECKING:
    from metst.arrays import Float32Array, OnProgress
    from metst.models.checkpoint import Model
    from metst.results import Analysis, AnalysisHeader, Custody, Source

MotionFormat = Literal["csv", "safetensors"]
"""Formats of the file of motion."""

REPORT_FILE = "report.html"
"""The page of an analysis, in its folder."""
OVERLAY_FILE = "overlay.mp4"
"""The video that shows the motion."""
CORPUS_PAGE, CORPUS_TABLE = "corpus.html", "summary.csv"
"""Files over all recordings, in the folder for the results."""


@dataclass(frozen=True)
class Choices:
    """How recordings are analysed, and what is written of each.

    Parameters
    ----------
    model : str
        Name of a packaged model, or a checkpoint folder.
    expected_per_min : float, optional
        Micro-expressions per minute that are to be expected.
    operating_point : {"quiet", "balanced", "sensitive"}
        How many candidates to report.
    rate_hz : float, optional
        Frame rate of frame folders.
    motion_format : {"csv", "safetensors"}
        Of the file of motion.
    overlay : bool
        Also write a video that shows the motion.
    blur : bool
        Blur faces in the report, and cover the eyes in that video.
    cache : bool
        Keep and use the motion of recordings.
    person, consent : str
        Whose recordings they are, and a reference to the consent; empty: what an earlier analysis was told.
    delete_by : date, optional
        The last day on which the results may be there.
    """

    model: str = "metst-event"
    expected_per_min: float | None = None
    operating_point: OperatingPoint = DEFAULT_POINT
    rate_hz: float | None = None
    motion_format: MotionFormat = "csv"
    overlay: bool = False
    blur: bool = True
    cache: bool = True
    person: str = ""
    consent: str = ""
    delete_by: date | None = None

    @property
    def outputs(self) -> dict[str, Any]:
        """What decides the files, but neither the model nor its settings: those are in ``analysis.json``."""
        chosen = asdict(self)
        return {name: chosen[name] for name in ("rate_hz", "motion_format", "overlay", "blur")}

    @property
    def custody(self) -> dict[str, Any]:
        """What was said of whose it is and until when, by name."""
        said = {"person": self.person, "consent": self.consent, "delete_by": self.delete_by}
        return {name: each for name, each in said.items() if each}


@dataclass(frozen=True)
class AnalysisTask:
    """One recording; all that a worker elsewhere needs to know.

    Parameters
    ----------
    path : Path
        The recording.
    folder : Path
        For its results.
    choices : Choices
        How it is analysed.
    again : bool
        Also if that is done.
    landmarks : Path, optional
        Table of landmarks in place of the face stage's own.
    """

    path: Path
    folder: Path
    choices: Choices
    again: bool = False
    landmarks: Path | None = None

    def given_landmarks(self, *, checked: bool = False) -> Float32Array | None:
        """The landmarks ``(T, 68, 2)`` of the table, if there is one; ``checked``: they lie on a face.

        Raises
        ------
        MetstError
            It cannot be read, or is not of this recording.
        """
        if self.landmarks is None:
            return None
        from metst.formats.landmarks import check_on_face, read_landmarks

        points = read_landmarks(self.landmarks, video=self.path, rate_hz=self.choices.rate_hz)
        if checked:
            check_on_face(points, path=self.landmarks, video=self.path, rate_hz=self.choices.rate_hz)
        return points


def do_analysis(task: AnalysisTask) -> None:
    """Analyse one recording and write its folder, or find it done.

    Raises
    ------
    MetstError
        The recording cannot be analysed, or its folder not be written.
    """
    check_name(task.path)
    model = loaded(task.choices)
    if task.again or not is_done(task, model=model):
        analyze_into(task, model=model)


def loaded(choices: Choices) -> Model:
    """The model, at the operating point and with confidences for the rate that is expected; read once per process.

    Raises
    ------
    UsageError, CheckpointError
        There is none of that name, it cannot be read, no such rate can be expected, or it has no such operating point.
    """
    return _loaded(choices.model, choices.operating_point, choices.expected_per_min)


@lru_cache(maxsize=1)
def _loaded(name: str, point: OperatingPoint, expected_per_min: float | None) -> Model:
    from metst.models.checkpoint import load_model

    return load_model(name).as_used(point=point, expected_per_min=expected_per_min)


def analyze_into(task: AnalysisTask, *, model: Model, on_progress: OnProgress | None = None) -> Analysis:
    """Analyse one recording and write all of its folder; the overview comes last.

    What an earlier analysis of the same recording was told of person, consent and deletion stays, where nothing new is
    said.

    Raises
    ------
    MetstError
        As :func:`do_analysis`; also when another process writes into the folder, or the recording is changed while its
        pictures are drawn.
    """
    from metst.analyze import analyze
    from metst.report import write_report
    from metst.results import discard, overview_of, write_analysis, write_overview
    from metst.storage.locks import only_writer
    from metst.video import check_untouched, content_stamp

    path, folder, choices = task.path, task.folder, task.choices
    check_name(path)
    stamp = content_stamp(path)
    with only_writer(folder):
        analysis = analyze(
            path, model=model, rate_hz=choices.rate_hz, landmarks=task.given_landmarks(checked=True),
            cache=choices.cache, on_progress=on_progress,
        )  # fmt: skip
        analysis = replace(analysis, custody=_custody(task, source=analysis.source))
        _clear(folder)  # what an earlier analysis left is not taken for part of this one, wherever this one stops
        write_analysis(analysis, folder, motion_format=choices.motion_format)
        write_report(analysis, folder / REPORT_FILE, video=path, blur=choices.blur, on_progress=on_progress)
        if choices.overlay:
            from metst.report.overlay import write_overlay

            write_overlay(
                analysis, folder / OVERLAY_FILE, video=path, rate_hz=choices.rate_hz, cover_eyes=choices.blur,
                on_progress=on_progress,
            )  # fmt: skip
        if not analysis.source.changed:  # else it was told already
            try:
                check_untouched(path, stamp=stamp, during="its pictures were drawn")
            except VideoError:
                discard(folder, REPORT_FILE, OVERLAY_FILE)
                raise
        write_overview(overview_of(analysis, outputs=choices.outputs), folder)
    return analysis


def _custody(task: AnalysisTask, *, source: Source) -> Custody:
    """What is said now of whose the recording is, and else what was said when it was analysed before."""
    from metst.results import Custody

    return replace(_said_before(task, source=source) or Custody(), **task.choices.custody)


def _said_before(task: AnalysisTask, *, source: Source) -> Custody | None:
    """What an earlier analysis was told of the same recording.

    The same is what has the same content.  Where one of both is not known, as of a recording that was changed
    meanwhile, its name tells; where the header is damaged beyond that, its name and its length.
    """
    from metst.results import read_header, read_overview
    from metst.results.analysis_folder import content_in

    held = content_in(task.folder)
    if held and source.content_hash and held != source.content_hash:
        return None
    try:
        header = read_header(task.folder)
        return header.custody if held == source.content_hash != "" or header.source.name == source.name else None
    except DataError:
        pass
    try:
        overview = read_overview(task.folder)
    except DataError:
        return None
    same = (overview.name, overview.duration_s) == (source.name, source.duration_s)
    return overview.custody if held == source.content_hash != "" or same else None


def is_done(task: AnalysisTask, *, model: Model) -> bool:
    """Whether the folder holds this analysis: of the same content, model, settings and version, with all its files.

    Raises
    ------
    DataError
        It does, but a table was changed since: who did that on purpose does not want it overwritten.
    """
    from metst.analyze import resolved_settings
    from metst.config import AnalyzeSettings
    from metst.motion.cache import FORMAT as ALGORITHM
    from metst.results import check_files, read_header, read_overview
    from metst.storage import json_key
    from metst.video import content_hash

    try:
        header, overview = read_header(task.folder), read_overview(task.folder)
    except DataError:
        return False
    settings = resolved_settings(AnalyzeSettings(), model=model, landmarks=task.given_landmarks())
    custody = asdict(header.custody)
    same = (
        overview.outputs == task.choices.outputs
        and json_key([header.model, header.settings]) == json_key([model.describe(), settings])
        and (header.version, header.motion_algorithm) == (_version(), ALGORITHM)
        and custody | task.choices.custody == custody
        and _has_files(task, header)
        and header.source.content_hash == content_hash(task.path)
    )
    if same:
        check_files(task.folder, header)
    return same


def _version() -> str:
    from importlib.metadata import version

    return version("metst")


def _has_files(task: AnalysisTask, header: AnalysisHeader) -> bool:
    names = [*header.files, REPORT_FILE, *([OVERLAY_FILE] if task.choices.overlay else [])]
    return all((task.folder / name).is_file() for name in names)


def _clear(folder: Path) -> None:
    """Take away what says that an earlier analysis is done: whatever stops the work, nobody must take it for this one.

    Raises
    ------
    MetstError
        It cannot be taken away.
    """
    from metst.results import discard
    from metst.results.overview import OVERVIEW_FILE

    discard(folder, OVERVIEW_FILE, REPORT_FILE, OVERLAY_FILE)
    sweep(folder)  # parts of a worker that was killed


def line_of(task: AnalysisTask, *, error: str | None) -> dict[str, Any]:
    """A line of the table over all recordings: what was found, or why nothing was.

    Parameters
    ----------
    task : AnalysisTask
        Of the recording.
    error : str, optional
        Why it could not be done.
    """
    from metst.results import read_overview

    line: dict[str, Any] = {"input": printable(task.path)}
    if error is None:
        try:
            found = read_overview(task.folder)
        except MetstError as fault:
            return line | {"error": str(fault)}
        values = found.model_dump(mode="json", exclude={"outputs"})
        return line | {"folder": str(task.folder), "events": found.events} | values
    return line | {"error": error}


def analyze_all(
    tasks: Sequence[AnalysisTask], *, executor: Executor, on_progress: OnProgress | None = None
) -> list[dict[str, Any]]:
    """Analyse all recordings that are not done.

    Cut off at any moment and called again, it goes on.  What is found depends neither on the executor nor on the
    number of workers.

    Parameters
    ----------
    tasks : sequence of AnalysisTask
        One per recording; no two have one folder.
    executor : Executor
        Where.
    on_progress : callable, optional
        Called as ``on_progress("recordings", done, total)``.

    Returns
    -------
    list of dict
        A line per task, in their order: what was found, or under ``error`` why nothing was.

    Raises
    ------
    UsageError, MetstError
        The executor is not at hand, or its cluster refuses the work.
    """
    check_executor(executor)
    try:
        failures = run_tasks(do_analysis, tasks, executor=executor, on_progress=on_progress, counted="recordings")
    except BaseException:  # workers were stopped with this process, and could not tidy up
        for task in tasks:
            sweep(task.folder)
        raise
    errors = {failure.task: failure.message for failure in failures}
    return [line_of(task, error=errors.get(position)) for position, task in enumerate(tasks)]
