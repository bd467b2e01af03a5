"""What every training on labelled recordings has in common: a fold that is done once, and all subjects but some."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from metst.arrays import OnProgress
from metst.config import ModelInfo
from metst.datasets.features import read_features_index
from metst.storage import write_whole
from metst.training.folds import Fold
from metst.training.layout import DONE_FILE, MODEL_FOLDER, discard_state, is_done, training_folder
from metst.training.loop import one_thread

if TYPE_CHECKING:
    from metst.training.predictions import Candidate


class SomeLesson(Protocol):
    """What is learnt, whatever it is."""

    @property
    def features(self) -> Path:
        """What ``metst extract`` wrote."""

    def fingerprint(self, train: Sequence[str], *, test: Sequence[str] = ()) -> str:
        """Names all that decides what comes out for these subjects."""


_Lesson_contra = TypeVar("_Lesson_contra", bound=SomeLesson, contravariant=True)
_Lesson = TypeVar("_Lesson", bound=SomeLesson)


class Train(Protocol[_Lesson_contra]):
    """Trains on some subjects and writes a checkpoint; goes on from the state in the folder."""

    def __call__(
        self,
        folder: Path,
        lesson: _Lesson_contra,
        *,
        subjects: tuple[str, ...],
        model: Path,
        fingerprint: str,
        on_progress: OnProgress | None = None,
    ) -> Candidate:
        """The trained network and its description."""


def run_to_done(
    folder: Path,
    lesson: _Lesson,
    *,
    fold: Fold,
    train: Train[_Lesson],
    about: Callable[[Candidate], dict[str, Any]],
    on_progress: OnProgress | None = None,
) -> None:
    """Train on the training subjects of a fold and predict its test subjects, unless that is done.

    Parameters
    ----------
    folder : Path
        Of this fold; what is written there is said at :func:`metst.training.recordings.run_fold`.
    lesson : SomeLesson
        What is learnt.
    fold : Fold
        Training and test subjects.
    train : Train
        How.
    about : callable
        What ``done.json`` says of the trained network beside what it says of all.
    on_progress : callable, optional
        Called as ``on_progress(stage, done, total)``.

    Raises
    ------
    UsageError
        A subject is unknown, or the folder holds a fold with other settings; or as ``train``.
    DataError, OutputError
        As ``train``; the features do not fit, or the folder cannot be written.
    """
    # Engine and kernels are for who predicts: what is done is found without them.
    from metst.training.predictions import write_predictions

    index = read_features_index(lesson.features)
    fingerprint = lesson.fingerprint(fold.train, test=fold.test)
    if not is_done(folder, fingerprint):
        started, test = time.perf_counter(), index.of(fold.test)
        with one_thread():
            model = train(
                folder, lesson, subjects=fold.train, model=folder / MODEL_FOLDER, fingerprint=fingerprint,
                on_progress=on_progress,
            )  # fmt: skip
            rows = write_predictions(folder, lesson.features, test, model=model, on_progress=on_progress)
        done = {"fingerprint": fingerprint, "fold": fold.name, **about(model), "videos": len(test),
                "predictions": rows, "weights_sha256": model.info.weights_sha256,
                "seconds": round(time.perf_counter() - started, 1)}  # fmt: skip
        write_whole(folder / DONE_FILE, (json.dumps(done, indent=1) + "\n").encode())
    discard_state(folder)


def train_all_but(
    output: Path,
    lesson: _Lesson,
    *,
    without: Sequence[str],
    train: Train[_Lesson],
    on_progress: OnProgress | None = None,
) -> ModelInfo:
    """Train on all subjects of a data set but some, and write a checkpoint.

    Parameters
    ----------
    output : Path
        Checkpoint folder to write.  The state, until it is done, and metrics lie beside it, in ``<output>.training``.
    lesson, train, on_progress
        As for :func:`run_to_done`.
    without : sequence of str
        Subjects that training must not see.

    Returns
    -------
    ModelInfo
        What was written to ``model.json``.

    Raises
    ------
    UsageError, DataError, OutputError
        As for :func:`run_to_done`.
    """
    output = output.resolve()  # a name is needed, and "." has none
    index = read_features_index(lesson.features)
    index.of(tuple(without))
    subjects = tuple(name for name in index.subjects if name not in without)
    folder = training_folder(output)
    model = train(
        folder, lesson, subjects=subjects, model=output, fingerprint=lesson.fingerprint(subjects),
        on_progress=on_progress,
    )  # fmt: skip
    discard_state(folder)
    return model.info
