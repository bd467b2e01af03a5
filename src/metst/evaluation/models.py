"""Models as they are, beside the recipes of an evaluation: a fold only scores its test videos with them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from metst.arrays import OnProgress
from metst.config import Settings
from metst.datasets.features import features_fingerprint, read_features_index
from metst.errors import UsageError
from metst.models.checkpoint import INFO_FILE, WEIGHTS_FILE, Model, is_packaged, load_model
from metst.reproduction.subject_checkpoints import was_trained_on
from metst.storage import fingerprint, json_key, write_whole
from metst.training.folds import Fold
from metst.training.layout import DONE_FILE, is_done

_HASH_DIGITS = 10
"""Of a model's SHA-256 in the name of its folder: enough to tell the few models of one evaluation apart."""


_LONGEST_NAME = 80
"""Letters of a row's name: what a file may be called on every system, and a page can show.  Set by hand."""


class NamedRow(Settings):
    """One row of the table: whatever it is, it has a name and files that are called so."""

    name: str = Field(min_length=1, max_length=_LONGEST_NAME, description="what it is called; its files, too")

    @property
    def slug(self) -> str:
        """Its name as a file is called."""
        return re.sub(r"[^\w.+-]+", "-", self.name).strip("-.") or "variant"


class ScoredModel(NamedRow):
    """A model as it is, decoded by its own rule."""

    model: str = Field(description="name of a packaged model, or its checkpoint folder")
    sha256: str = Field(description="of its description and its weights: another model in its place is refused")

    def called(self, name: str) -> ScoredModel:
        """The same with a name that says what kind of row it is."""
        return self.model_copy(update={"name": f"{name}, as it is"[-_LONGEST_NAME:]})

    @property
    def training(self) -> str:
        """Name of the folder of its folds."""
        return f"model-{self.sha256[:_HASH_DIGITS]}"

    def lesson(self, features: Path) -> ModelLesson:
        """What a worker needs to know."""
        return ModelLesson(features, self.model, self.sha256)

    def load(self) -> Model:
        """The model, which must be the one that was planned.

        Raises
        ------
        UsageError
            There is none, or another one.
        CheckpointError
            It is damaged.
        """
        return _planned(self.model, self.sha256)


def scored_models(models: Sequence[str]) -> tuple[ScoredModel, ...]:
    """Models as rows of one table.

    Each is called like its folder; where that is no name of its own, so much of the path goes before it that it is one.

    Parameters
    ----------
    models : sequence of str
        Names of packaged models, or checkpoint folders.

    Raises
    ------
    UsageError
        There is neither such a folder nor such a name, or one is named twice.
    CheckpointError
        One is damaged.
    """
    rows = [scored_model(model) for model in models]
    places = [row.model for row in rows]
    for place in places:
        if places.count(place) > 1:
            raise UsageError(f"model {place} is named twice: once is enough")
    depth, deepest = 1, max((len(Path(place).parts) for place in places), default=1)
    while len({row.slug for row in rows}) < len(rows) and depth < deepest:
        depth += 1
        slugs = [row.slug for row in rows]
        rows = [row.called("/".join(Path(row.model).parts[-depth:])) if slugs.count(row.slug) > 1 else row
                for row in rows]  # fmt: skip
    return tuple(rows)


def scored_model(model: str) -> ScoredModel:
    """A model as a row; see :func:`scored_models`."""
    found = load_model(model)
    place = model if is_packaged(model) else str(Path(model).resolve())
    return ScoredModel(name="unnamed", model=place, sha256=_sha256(found)).called(Path(place).name)


def _sha256(model: Model) -> str:
    return fingerprint(model.folder / INFO_FILE, model.folder / WEIGHTS_FILE)


def _planned(model: str, sha256: str) -> Model:
    found = load_model(model)
    if _sha256(found) != sha256:
        raise UsageError(f"model {model} is not the one that this evaluation was planned with: give another run folder")
    return found


@dataclass(frozen=True)
class ModelLesson:
    """A model that scores recordings: nothing is learnt.

    Parameters
    ----------
    features : Path
        What ``metst extract`` wrote.
    model : str
        Name of a packaged model, or a checkpoint folder.
    sha256 : str
        Of its description and its weights.
    """

    features: Path
    model: str
    sha256: str

    def fingerprint(self, test: Sequence[str]) -> str:
        """SHA-256 over all that decides what comes out for these subjects."""
        decides = {"features": features_fingerprint(self.features), "model": self.sha256, "test": sorted(test)}
        return fingerprint(json_key(decides))


def score_fold(folder: Path, lesson: ModelLesson, *, fold: Fold, on_progress: OnProgress | None = None) -> None:
    """Score the videos of the test subjects of a fold; nothing is done where that is done.

    Writes what a trained fold writes, but for its model and metrics: ``predictions.csv``,
    ``scores/<subject>--<video>.safetensors`` and last of all ``done.json``.

    Parameters
    ----------
    folder : Path
        Of this fold.
    lesson : ModelLesson
        Model and features.
    fold : Fold
        Its test subjects are scored.
    on_progress : callable, optional
        Called as ``on_progress("prediction", done, total)``.

    Raises
    ------
    UsageError
        A subject is unknown, the model is another one, or the folder holds a fold with other settings.
    DataError
        The features do not fit.
    OutputError
        The folder cannot be written.
    """
    # Engine and kernels are for who scores: a plan that names models needs none.
    from metst.training.predictions import write_predictions

    decided = lesson.fingerprint(fold.test)
    if is_done(folder, decided):
        return
    started, model = time.perf_counter(), _planned(lesson.model, lesson.sha256)
    test = read_features_index(lesson.features).of(fold.test)
    rows = write_predictions(folder, lesson.features, test, model=model, on_progress=on_progress)
    done = {"fingerprint": decided, "fold": fold.name, "videos": len(test), "predictions": rows,
            "weights_sha256": model.info.weights_sha256,
            "seconds": round(time.perf_counter() - started, 1)}  # fmt: skip
    write_whole(folder / DONE_FILE, (json.dumps(done, indent=1) + "\n").encode())


def trained_on_tested(model: Model, subjects: Iterable[str]) -> tuple[str, ...] | None:
    """Which of some subjects a model says it was trained on; None if it does not say whom it was trained on."""
    if model.info.training_subjects is None:
        return None
    return tuple(subject for subject in subjects if was_trained_on(model, subject))


def check_models(models: Iterable[ScoredModel], *, tested: Sequence[str]) -> None:
    """Refuse models that were trained on tested subjects.

    Raises
    ------
    UsageError
        A model says that it was trained on one.
    """
    for each in models:
        if seen := trained_on_tested(each.load(), tested):
            raise UsageError(
                f"model {each.model} was trained on subject {', '.join(seen)}, which is tested here: its figures would"
                " be too good (--allow-training-subjects scores it, and the page says so)"
            )


def about_model(row: ScoredModel, *, tested: Sequence[str], seconds: dict[str, float]) -> dict[str, Any]:
    """What the result says of a model beside its figures.

    Parameters
    ----------
    row : ScoredModel
        The model.
    tested : sequence of str
        Subjects of the evaluation.
    seconds : dict
        How long scoring took, by fold.
    """
    model = row.load()
    seen = trained_on_tested(model, tested)
    return {
        "model": model.describe(),
        "trained_on_tested": None if seen is None else list(seen),
        "training": {fold: {"seconds": spent, "epochs": []} for fold, spent in seconds.items()},
    }
