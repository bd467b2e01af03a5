"""Training on labelled recordings, as published, and what the trained network finds in others.

Every number that is not in the recipe is found on the training subjects: weights, class weights, ``k_p``, the
window of a data set without a published one, the epoch to stop at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from metst.arrays import OnProgress
from metst.config import ModelInfo, PublishedDecodeSettings, ScoringSettings
from metst.datasets.features import FeatureIndex, FeatureVideo, read_features_index
from metst.errors import UsageError
from metst.labels import CLASSES
from metst.metrics.matching import interval_iou, match_intervals
from metst.models.checkpoint import check_target, save_model
from metst.models.networks import StateTransitionNetwork
from metst.training.folds import Fold, inner_split
from metst.training.lesson import Lesson
from metst.training.loop import Batch, Optimisation, Training, fit_network, fresh_network
from metst.training.losses import joint_loss
from metst.training.predictions import Candidate, predict
from metst.training.recipes import HUNDREDTHS, Recipe, WindowPlan
from metst.training.runs import run_to_done, train_all_but
from metst.training.windows import (
    TrainingWindows,
    input_settings,
    training_windows,
    typical_half_duration,
    window_plan,
)


def run_fold(folder: Path, lesson: Lesson, *, fold: Fold, on_progress: OnProgress | None = None) -> None:
    """Train on the training subjects of a fold and predict the videos of its test subjects.

    It goes on from the state that is in the folder, and does nothing when the fold is done.  One thread
    trains, so that the result is the same bit for bit however many folds run beside it.

    Writes ``model/`` (a checkpoint), ``metrics.jsonl``, ``predictions.csv`` (``subject, video, onset, offset,
    emotion, confidence``; frames of the video from 1, inclusive), ``scores/<subject>--<video>.safetensors`` and
    last of all ``done.json``.

    Parameters
    ----------
    folder : Path
        Of this fold.
    lesson : Lesson
        What is learnt.
    fold : Fold
        Training and test subjects.
    on_progress : callable, optional
        Called as ``on_progress(stage, done, total)``.

    Raises
    ------
    UsageError
        A subject is unknown, or the folder holds a fold with other settings.
    DataError
        The features do not fit, or there is nothing to learn.
    OutputError
        The folder cannot be written.
    """
    run_to_done(
        folder, lesson, fold=fold, train=train_candidate, about=partial(_about, lesson), on_progress=on_progress
    )


def _about(lesson: Lesson, model: Candidate) -> dict[str, Any]:
    assert isinstance(model.info.decode, PublishedDecodeSettings)
    return {
        "recipe": lesson.recipe.name,
        "strategy": lesson.strategy,
        "seed": lesson.seed,
        "k_p": model.info.decode.k_p,
    }


def train_recordings(
    output: Path, lesson: Lesson, *, without: Sequence[str] = (), on_progress: OnProgress | None = None
) -> ModelInfo:
    """Train on all subjects of a data set, or on all but some, and write a checkpoint.

    Parameters, result and errors are those of :func:`metst.training.runs.train_all_but`.
    """
    return train_all_but(output, lesson, without=without, train=train_candidate, on_progress=on_progress)


def train_candidate(
    folder: Path,
    lesson: Lesson,
    *,
    subjects: tuple[str, ...],
    model: Path,
    fingerprint: str,
    on_progress: OnProgress | None = None,
) -> Candidate:
    """Train on some subjects and write a checkpoint.

    Parameters
    ----------
    folder : Path
        For the state and ``metrics.jsonl``.
    lesson, on_progress
        As for :func:`run_fold`.
    subjects : tuple of str
        Training subjects; the validation subjects, if the recipe wants any, are among them.
    model : Path
        Checkpoint folder to write.
    fingerprint : str
        Names the training.

    Raises
    ------
    UsageError, DataError, OutputError
        As for :func:`run_fold`.
    """
    check_target(model, overwrite=True)
    features, recipe = lesson.features, lesson.recipe
    index = read_features_index(features)
    fitted, validation = _inner(subjects, recipe=recipe, index=index)
    plan = window_plan(recipe, index, subjects)
    windows = training_windows(features, index, fitted, recipe=recipe, plan=plan, seed=lesson.seed)
    k_p = typical_half_duration(features, index, subjects, recipe=recipe, plan=plan)
    what = _description(index, fitted, validation=validation, windows=windows, recipe=recipe)
    info = _described(lesson, subjects=subjects, plan=plan, k_p=k_p, trained_on=what)
    training = _training(
        lesson, windows, batch_size=plan.batch_size, fingerprint=fingerprint,
        validate=_validation(features, index.of(validation), info=info) if validation else None,
    )  # fmt: skip
    network = fresh_network(recipe.network, seed=lesson.seed)
    fit_network(network, training, folder=folder, on_progress=on_progress)
    saved = save_model(model, network=network, info=info, overwrite=True)
    return Candidate.of(network, saved.info)


def _inner(
    subjects: tuple[str, ...], *, recipe: Recipe, index: FeatureIndex
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Subjects to fit weights on and to validate on: none for the latter unless the recipe asks for some."""
    if not subjects:
        raise UsageError("no training subject: expected at least one")
    index.of(subjects)
    if not recipe.validation_share:
        return subjects, ()
    if len(subjects) < 2:
        raise UsageError(f"validation by subject needs two training subjects, got only {subjects[0]}")
    return inner_split(subjects, share=recipe.validation_share)


def _description(
    index: FeatureIndex, fitted: Sequence[str], *, validation: Sequence[str], windows: TrainingWindows, recipe: Recipe
) -> str:
    """The training data, for people."""
    videos = [v for v in index.of(tuple(fitted)) if v.file and (v.micro or recipe.background)]
    events = sum(len(video.micro) for video in videos)
    kept = f"; {len(validation)} more to validate on" if validation else ""
    return (
        f"{index.data_set}: {events} micro-expressions in {len(videos)} videos of {len(fitted)} subjects"
        f" ({windows.with_event} windows with and {len(windows) - windows.with_event} without){kept}"
    )


def _described(lesson: Lesson, *, subjects: Sequence[str], plan: WindowPlan, k_p: int, trained_on: str) -> ModelInfo:
    """What the model will be."""
    recipe = lesson.recipe
    return ModelInfo(
        network=recipe.network,
        classes=CLASSES,
        input=input_settings(recipe, plan),
        scoring=ScoringSettings(
            mode="windows", window=plan.window, hop=plan.hop, remainder="dropped" if recipe.as_published else "scored"
        ),
        decode=PublishedDecodeSettings(
            rule=recipe.rule, k_p=k_p, strategy=lesson.strategy,
            neutral_by_sign=recipe.as_published and recipe.neutral_by_sign and lesson.strategy == 1,
        ),
        decode_fitted_on=f"micro-expressions of {len(subjects)} training subjects",
        training_subjects=tuple(sorted(subjects)),
        trained_on=trained_on,
        provenance={
            "recipe": recipe.model_dump_json(), "strategy": str(lesson.strategy), "seed": str(lesson.seed),
        },
    )  # fmt: skip


def _training(
    lesson: Lesson,
    windows: TrainingWindows,
    *,
    batch_size: int,
    fingerprint: str,
    validate: Callable[[nn.Module], float] | None,
) -> Training:
    """The recipe on these windows: an epoch sees each of them once."""
    recipe, epoch_steps = lesson.recipe, _epoch_steps(windows, batch_size=batch_size)
    weights = windows.class_weights(strategy=lesson.strategy, neutral_factor=recipe.neutral_factor)
    return Training(
        batch=window_batches(windows, batch_size=batch_size, gain=recipe.gain, seed=lesson.seed),
        loss=joint_loss(weights, recipe=recipe),
        optimisation=Optimisation(recipe.learning_rate),
        steps=recipe.epochs * epoch_steps,
        epoch_steps=epoch_steps,
        seed=lesson.seed,
        fingerprint=fingerprint,
        validate=validate,
        patience=recipe.patience,
        mixed_precision=recipe.mixed_precision,
    )


def _epoch_steps(windows: TrainingWindows, *, batch_size: int) -> int:
    return math.ceil(len(windows) / batch_size)


def window_batches(
    windows: TrainingWindows, *, batch_size: int, gain: tuple[float, float], seed: int
) -> Callable[[int], Batch]:
    """Batches by the number of the step: every window once per epoch, in an order of its own, each with its gain.

    A gain is one of the hundredths between the lowest and the highest, these included.

    Returns
    -------
    callable
        ``batch(step)`` gives motion ``(b, C, k)`` float32, score ``(b, k)`` float32 and class ``(b, k)`` int64.
    """
    epoch_steps = _epoch_steps(windows, batch_size=batch_size)
    lowest, highest = (round(HUNDREDTHS * each) for each in gain)

    # Order and gains are streams of their own beside the choice of the windows, which draws from [seed, 0].
    def batch(step: int) -> Batch:
        epoch, place = divmod(step, epoch_steps)
        order = np.random.default_rng([seed, 1, epoch]).permutation(len(windows))
        rows = order[place * batch_size : (place + 1) * batch_size]
        drawn = np.random.default_rng([seed, 2, step]).integers(lowest, highest, size=len(rows), endpoint=True)
        frames = windows.frames(rows)
        return (
            torch.from_numpy(windows.inputs(rows, gain=(drawn / HUNDREDTHS).astype(np.float32))),
            torch.from_numpy(windows.score[frames].astype(np.float32)),
            torch.from_numpy(windows.label[frames].astype(np.int64)),
        )

    return batch


def _validation(features: Path, videos: Sequence[FeatureVideo], *, info: ModelInfo) -> Callable[[nn.Module], float]:
    """Spotting F1 (strict: IoU >= 0.5 on frames of the video, one to one) over all videos of some subjects."""

    def validate(network: nn.Module) -> float:
        assert isinstance(network, StateTransitionNetwork)
        model = Candidate.of(network, info)
        hits = found = wanted = 0
        for video in videos:
            truth = np.array([(event.onset, event.offset - 1) for event in video.micro], np.int64).reshape(-1, 2)
            wanted += len(truth)
            if not video.file:
                continue
            events, _ = predict(features, video, model=model)
            spans = np.stack([events.onset, events.offset - 1], axis=1)
            hits += len(match_intervals(interval_iou(spans, truth)))
            found += len(events)
        return 2 * hits / (found + wanted) if found + wanted else 0.0

    return validate
