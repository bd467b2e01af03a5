"""Calibrations of many recordings: each is a task of its own, and what is done stays done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metst.errors import DataError
from metst.models.checkpoint import load_model
from metst.motion.cache import FORMAT
from metst.results.figures import read_figures as read_figures
from metst.sensitivity.calibration import Calibration, calibrate
from metst.sensitivity.calibration_page import write_page
from metst.sensitivity.settings import CalibrateSettings
from metst.sensitivity.summary import FILES, Summary, model_facts, summarise, write_calibration
from metst.spelling.names import check_name, printable, without_folders, without_their_place
from metst.storage import csv_bytes, json_key, write_whole
from metst.storage.locks import only_writer
from metst.video import check_untouched, content_hash, content_stamp, probe_video

if TYPE_CHECKING:
    from metst.arrays import OnProgress

PAGE_FILE = "calibration.html"
"""The page of a calibration, in its folder."""

_COLUMNS = ("input", "folder", "duration_s", "amplitude", "low", "high", "false_alarms_per_min", "problems")
"""Of the table over all recordings: for each duration the amplitude that is found 9 times in 10, and its 95 % ends."""


@dataclass(frozen=True)
class CalibrationTask:
    """One recording; all that a worker elsewhere needs to know.

    Parameters
    ----------
    path, folder : Path
        The recording, and the folder for its calibration.
    model : str
        Name of a packaged model, or a checkpoint folder.
    settings : CalibrateSettings
        What is planted.
    rate_hz : float, optional
        Frame rate of a frame folder.
    cache : bool
        Keep and use the motion of the recording.
    """

    path: Path
    folder: Path
    model: str
    settings: CalibrateSettings
    rate_hz: float | None = None
    cache: bool = True


def do_calibration(task: CalibrationTask) -> None:
    """Calibrate one recording and write its folder, or find it done.

    Raises
    ------
    MetstError
        As :func:`metst.sensitivity.calibration.calibrate`, or the folder cannot be written.
    """
    if not _is_done(task):
        calibrate_into(task)


def calibrate_into(task: CalibrationTask, *, on_progress: OnProgress | None = None) -> tuple[Calibration, Summary]:
    """Calibrate one recording and write its folder; the figures come last.

    Raises
    ------
    MetstError
        As :func:`do_calibration`.
    """
    check_name(task.path)
    probe_video(task.path, rate_hz=task.rate_hz)
    stamp = content_stamp(task.path)
    with only_writer(task.folder):  # before the work, which would be lost without the folder
        found = calibrate(
            task.path, model=task.model, settings=task.settings, rate_hz=task.rate_hz, cache=task.cache,
            on_progress=on_progress,
        )  # fmt: skip
        check_untouched(task.path, stamp=stamp, during="it was calibrated")
        summary = summarise(found)
        write_page(found, summary, task.folder / PAGE_FILE)
        write_calibration(found, summary, task.folder)
    return found, summary


@lru_cache(maxsize=1)
def _facts(model: str) -> dict[str, str]:
    return model_facts(load_model(model).describe())


def _is_done(task: CalibrationTask) -> bool:
    """Whether the folder holds this calibration: of the same content, model, settings and version."""
    try:
        figures = read_figures(task.folder)
    except DataError:
        return False
    asked = [_facts(task.model), task.settings.model_dump(mode="json"), version("metst"), FORMAT]
    decides = ("model", "settings", "metst_version", "motion_algorithm")
    if json_key([figures.get(name) for name in decides]) != json_key(asked):
        return False
    source = figures["source"]
    same_rate = task.rate_hz is None or not task.path.is_dir() or math.isclose(source["rate_hz"], task.rate_hz)
    whole = all((task.folder / name).is_file() for name in (PAGE_FILE, *FILES))
    return whole and same_rate and bool(source["content_hash"] == content_hash(task.path))


def write_overall(tasks: Sequence[CalibrationTask], errors: dict[int, str], path: Path) -> list[dict[str, Any]]:
    """Write one row per recording and duration, and give the figures of all recordings.

    Parameters
    ----------
    tasks : sequence of CalibrationTask
        One per recording.
    errors : dict
        Why a task could not be done, by its position.
    path : Path
        The CSV file.

    Returns
    -------
    list of dict
        Per task its ``input``, and its figures or an ``error``.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    found: list[dict[str, Any]] = []
    rows: list[list[Any]] = []
    names = without_their_place([printable(task.path) for task in tasks])
    told = partial(without_folders, known=[path.parent, *(task.path.parent for task in tasks)])
    for position, (name, task) in enumerate(zip(names, tasks, strict=True)):
        line: dict[str, Any] = {"input": printable(task.path), "folder": str(task.folder)}
        if position in errors:
            rows.append([name, "", "", "", "", "", "", told(errors[position].replace(line["input"], name))])
            found.append({"input": line["input"], "error": errors[position]})
            continue
        figures = read_figures(task.folder)
        alarms, problems = figures["false_alarms"]["recording"]["per_minute"], "; ".join(map(told, figures["problems"]))
        for each in figures["found_9_in_10"]:
            ends = [each[name] for name in ("duration_s", "amplitude", "low", "high")]
            rows.append([name, task.folder.relative_to(path.parent).as_posix(), *ends, alarms, problems])
        found.append(line | figures)
    write_whole(path, csv_bytes(_COLUMNS, rows))
    return found
