"""What a trained network finds in the videos of a feature folder, as files: no torch is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors
import safetensors.numpy

from metst.arrays import AnyArray, OnProgress
from metst.config import ModelInfo
from metst.datasets.features import FeatureVideo, file_name, read_motion
from metst.inference import ScoringModel, decode_events, score_motion
from metst.models.engine import Engine
from metst.storage import csv_bytes, make_folder, write_whole
from metst.timeline import Intervals, Series, TimeGrid, frames_for_people
from metst.training.layout import PREDICTION_COLUMNS, PREDICTIONS_FILE, SCORES_FOLDER

if TYPE_CHECKING:
    from metst.models.networks import StateTransitionNetwork

PredictedRow = tuple[str, str, int, int, str, float]
"""Subject, video, onset, offset, emotion, confidence."""


def scores_path(folder: Path, video: FeatureVideo) -> Path:
    """Where the scores of a video lie in the folder of a fold."""
    return folder / SCORES_FOLDER / f"{file_name(*video.key)}.safetensors"


@dataclass(frozen=True, eq=False)
class Candidate:
    """A trained network with its description: what scoring asks for."""

    info: ModelInfo
    engine: Engine

    @classmethod
    def of(cls, network: StateTransitionNetwork, info: ModelInfo) -> Candidate:
        """A network as it is now; on the processor it shares its weights."""
        weights = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
        return cls(info, Engine(info.network, weights, where="the trained network"))


def predict(
    features: Path, video: FeatureVideo, *, model: ScoringModel, on_progress: OnProgress | None = None
) -> tuple[Intervals, Series]:
    """Events and scores ``(T, 1 + K)`` of one video, in its own frames."""
    motion = read_motion(features, video)
    scores = score_motion(motion.displacement, model=model, quality=motion.quality, on_progress=on_progress)
    return decode_events(scores, model=model), scores


def write_predictions(
    folder: Path,
    features: Path,
    videos: Sequence[FeatureVideo],
    *,
    model: ScoringModel,
    on_progress: OnProgress | None,
) -> int:
    """Write the scores and the predictions of videos.

    Parameters
    ----------
    folder : Path
        Gets ``predictions.csv`` (frames of the video from 1, inclusive) and ``scores/<subject>--<video>.safetensors``
        (``scores`` (T, 1 + K), ``valid``, ``time_s``; the channels are named in the header; see
        :func:`metst.datasets.features.file_name` for names that no file can have).
    features : Path
        Feature folder.
    videos : sequence of FeatureVideo
        Of its index; those that could not be read have no prediction.
    model : ScoringModel
        Network and description.
    on_progress : callable, optional
        Called as ``on_progress("prediction", done, total)``.

    Returns
    -------
    int
        Number of predictions.

    Raises
    ------
    DataError
        A file of features does not fit.
    OutputError
        The folder cannot be written.
    """
    make_folder(folder / SCORES_FOLDER)
    rows: list[tuple[object, ...]] = []
    for number, video in enumerate(videos, start=1):
        if video.file:
            events, scores = predict(features, video, model=model)
            rows += [(*row[:-1], f"{row[-1]:.6f}") for row in event_rows(video, events)]
            write_whole(scores_path(folder, video), _packed(scores))
        if on_progress is not None:
            on_progress("prediction", number, len(videos))
    write_whole(folder / PREDICTIONS_FILE, csv_bytes(PREDICTION_COLUMNS, rows))
    return len(rows)


def event_rows(video: FeatureVideo, events: Intervals) -> Iterator[PredictedRow]:
    """Events of a video as rows of a table: frames from 1 and inclusive, confidence to six digits."""
    first, last = frames_for_people(events.onset, events.offset)
    for onset, offset, emotion, confidence in zip(first, last, events.label, events.confidence, strict=True):
        yield video.subject, video.video, int(onset), int(offset), emotion, round(float(confidence), ndigits=6)


def read_scores(path: Path) -> Series:
    """Scores of a video, as :func:`write_predictions` wrote them.

    Raises
    ------
    OSError, KeyError, TypeError, SafetensorError, MetstError
        The file is missing or is no such file.
    """
    with safetensors.safe_open(path, framework="numpy") as file:
        channels = tuple(file.metadata()["channels"].split(","))
        values, valid, time_s = (file.get_tensor(name) for name in ("scores", "valid", "time_s"))
    return Series(TimeGrid(time_s), values, valid, channels)


def _packed(scores: Series) -> bytes:
    tensors: dict[str, AnyArray] = {
        "scores": np.ascontiguousarray(scores.values),
        "valid": np.ascontiguousarray(scores.valid),
        "time_s": np.ascontiguousarray(scores.grid.time_s),
    }
    return safetensors.numpy.save(tensors, metadata={"channels": ",".join(scores.channels)})
