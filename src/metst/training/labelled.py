"""Training of the product's own network on labelled recordings, and what it then finds in others.

Weights are fitted on some of the training subjects, threshold, edges and confidence on the others: nothing of a test
subject decides anything.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from metst.arrays import OnProgress
from metst.config import DecodeSettings, ModelInfo
from metst.datasets.features import FeatureIndex, FeatureVideo, read_features_index, read_motion
from metst.decode import decode_scores
from metst.errors import UsageError
from metst.inference import score_motion
from metst.labels import CLASSES
from metst.metrics import interval_iou, match_intervals
from metst.models.checkpoint import check_target, load_model, save_model
from metst.models.networks import StateTransitionNetwork
from metst.training.clips import clip_batches, epoch_steps, labelled_stretches
from metst.training.folds import Fold, inner_split
from metst.training.labelled_recipe import LabelledLesson, LabelledRecipe
from metst.training.loop import Batch, Loss, Losses, Optimisation, Training, fit_network, fresh_network
from metst.training.losses import class_weights, score_cross_entropy, summed_cross_entropy
from metst.training.operating_point import ANY_PEAK, best_threshold, fit_logistic
from metst.training.predictions import Candidate
from metst.training.runs import run_to_done, train_all_but
from metst.training.windows import IGNORED

logger = logging.getLogger(__name__)

_MINUTE_S = 60
"""Seconds of a minute."""


def run_labelled_fold(
    folder: Path, lesson: LabelledLesson, *, fold: Fold, on_progress: OnProgress | None = None
) -> None:
    """Train on the training subjects of a fold and predict the videos of its test subjects.

    Resumes, writes and computes in one thread as :func:`metst.training.recordings.run_fold` does.

    Parameters
    ----------
    folder : Path
        Of this fold.
    lesson : LabelledLesson
        What is learnt.
    fold : Fold
        Training and test subjects.
    on_progress : callable, optional
        Called as ``on_progress(stage, done, total)``.

    Raises
    ------
    UsageError
        A subject is unknown, there are fewer than two to train on, or the folder holds a fold with other settings.
    DataError
        The features do not fit, or there is nothing to learn.
    OutputError
        The folder cannot be written.
    """
    run_to_done(folder, lesson, fold=fold, train=_train, about=partial(_about, lesson), on_progress=on_progress)


def _about(lesson: LabelledLesson, model: Candidate) -> dict[str, Any]:
    decode = model.info.decode
    assert isinstance(decode, DecodeSettings)
    return {
        "recipe": lesson.recipe.name,
        "seed": lesson.seed,
        "threshold": decode.peak_threshold,
        "edge_fraction": decode.edge_fraction,
    }


def train_labelled(
    output: Path, lesson: LabelledLesson, *, without: Sequence[str] = (), on_progress: OnProgress | None = None
) -> ModelInfo:
    """Train on all subjects of a data set, or on all but some, and write a checkpoint.

    Parameters, result and errors are those of :func:`metst.training.runs.train_all_but`.
    """
    return train_all_but(output, lesson, without=without, train=_train, on_progress=on_progress)


def _train(
    folder: Path,
    lesson: LabelledLesson,
    *,
    subjects: tuple[str, ...],
    model: Path,
    fingerprint: str,
    on_progress: OnProgress | None = None,
) -> Candidate:
    """Train on some subjects and write a checkpoint."""
    check_target(model, overwrite=True)
    recipe, index = lesson.recipe, read_features_index(lesson.features)
    if len(subjects) < 2:
        raise UsageError(
            f"recipe {recipe.name} keeps training subjects for its threshold: expected two or more to train on, got"
            f" {', '.join(subjects) or 'none'}"
        )
    fitted, kept = inner_split(subjects, share=recipe.kept_share, seed=lesson.seed)
    stretches = labelled_stretches(lesson.features, index.of(fitted), recipe=recipe)
    steps = epoch_steps(stretches, recipe=recipe)
    training = Training(
        batch=clip_batches(stretches, recipe=recipe, seed=lesson.seed),
        loss=labelled_loss(class_weight=recipe.class_weight, neutral_weight=recipe.neutral_weight),
        # Decay and clipping are those of the training on simulated motion.
        optimisation=Optimisation(recipe.learning_rate, optimiser="adamw", weight_decay=0.01, clip_norm=1.0),
        steps=recipe.epochs * steps,
        epoch_steps=steps,
        seed=lesson.seed,
        fingerprint=fingerprint,
    )
    network = _start(recipe, seed=lesson.seed)
    fit_network(network, training, folder=folder, on_progress=on_progress)
    info = _described(lesson, index, subjects=subjects, kept=kept)
    info = _fitted(Candidate.of(network, info), lesson.features, index.of(kept), recipe=recipe)
    return Candidate.of(network, save_model(model, network=network, info=info, overwrite=True).info)


def _start(recipe: LabelledRecipe, *, seed: int) -> StateTransitionNetwork:
    """The network before training.

    Raises
    ------
    UsageError
        The packaged weights are not those that the recipe was made with.
    """
    network = fresh_network(recipe.network, seed=seed)
    if recipe.start is not None:
        model = load_model(recipe.start)
        if model.info.weights_sha256 != recipe.start_sha256:
            raise UsageError(f"the packaged weights of {recipe.start} are others than this was begun with: start anew")
        network.load_state_dict(model.network.state_dict())
    return network


def labelled_loss(*, class_weight: float, neutral_weight: float) -> Loss:
    """Cross-entropy of the score, each frame by its weight, and of the class, mostly inside micro-expressions.

    Parameters
    ----------
    class_weight : float
        Weight of the class beside the score.
    neutral_weight : float
        Weight of a neutral frame in the class; a frame of a micro-expression weighs 1.

    Returns
    -------
    callable
        ``loss(network, (x, score, label, weight))`` gives ``"loss"``, ``"spotting"`` and ``"recognition"``, for the
        batches of :func:`metst.training.clips.clip_batches`.  A frame of weight 0 counts nowhere.
    """
    weights = class_weights(neutral_weight)

    def loss(network: nn.Module, batch: Batch) -> Losses:
        motion, score, label, weight = batch
        predicted, logits = network(motion)
        # Mixed precision ends at the network: torch refuses this cross-entropy inside of it.
        with torch.autocast(score.device.type, enabled=False):
            spotting = score_cross_entropy(predicted, score, weight=weight, reduction="sum")
            spotting = spotting / weight.sum().clamp_min(1)
            counted = label.masked_fill(weight == 0, IGNORED)
            by_class = weights.to(label.device)
            heavy = by_class[counted.clamp_min(0)] * (counted != IGNORED)
            summed = summed_cross_entropy(logits.float(), counted, weights=by_class)
            recognition = summed / heavy.sum().clamp_min(torch.finfo(heavy.dtype).tiny)
        return {"loss": spotting + class_weight * recognition, "spotting": spotting, "recognition": recognition}

    return loss


def _described(
    lesson: LabelledLesson, index: FeatureIndex, *, subjects: Sequence[str], kept: Sequence[str]
) -> ModelInfo:
    """What a model is, but for its decoding."""
    recipe = lesson.recipe
    videos = [video for video in index.of(tuple(subjects)) if video.file]
    events = sum(len(video.micro) for video in videos)
    negatives = sum(len(video.events) for video in videos) - events
    before = f"after the weights of the packaged {recipe.start}" if recipe.start else "from fresh weights"
    return ModelInfo(
        network=recipe.network,
        classes=CLASSES,
        input=recipe.input,
        scoring=recipe.scoring,
        decode=recipe.fallback,
        training_subjects=tuple(sorted(subjects)),
        trained_on=f"{index.data_set}: {events} micro-expressions and {negatives} labelled hard negatives in"
        f" {len(videos)} videos of {len(subjects)} subjects, {len(kept)} of them for threshold and confidence;"
        f" {before}",
        provenance={"recipe": recipe.model_dump_json(), "seed": str(lesson.seed)},
    )


def _fitted(model: Candidate, features: Path, videos: Sequence[FeatureVideo], *, recipe: LabelledRecipe) -> ModelInfo:
    """The description of a trained network with its decoding."""
    fitted = fit_on_videos(model, features, videos, recipe=recipe)
    if fitted is None:
        logger.warning("the kept training subjects allow no fit: threshold and confidence are those of before")
        return model.info.model_copy(update={"decode_fitted_on": "nothing of these recordings: too few events"})
    people = len({video.subject for video in videos})
    about = f"{people} training subjects whose videos fitted no weights"
    return model.info.model_copy(update={"decode": fitted, "decode_fitted_on": about})


def fit_on_videos(
    model: Candidate, features: Path, videos: Sequence[FeatureVideo], *, recipe: LabelledRecipe
) -> DecodeSettings | None:
    """Edges and threshold of the best spotting F1 (IoU >= 0.5) on some videos, and the calibration of the confidence.

    Every peak of the score is an event first; each is then right or wrong.  A logistic fit of right over the peak's
    log-odds is the confidence.

    Parameters
    ----------
    model : Candidate
        Network and description.
    features : Path
        Feature folder.
    videos : sequence of FeatureVideo
        Of subjects that fitted no weights.
    recipe : LabelledRecipe
        Edges to choose from.

    Returns
    -------
    DecodeSettings or None
        None where there is no event, or all are right, or all are wrong.
    """
    usable = [video for video in videos if video.file]
    motions = [read_motion(features, video) for video in usable]
    scores = [score_motion(each.displacement, model=model, quality=each.quality) for each in motions]
    wanted = sum(len(video.micro) for video in usable)
    minutes = sum(each.grid.duration_s for each in motions) / _MINUTE_S
    best: tuple[float, DecodeSettings] | None = None
    for edge in recipe.edge_fractions:
        everything = DecodeSettings(peak_threshold=ANY_PEAK, edge_fraction=edge)
        peaks, right = [np.zeros(0)], [np.zeros(0, np.bool_)]
        for video, score in zip(usable, scores, strict=True):
            events = decode_scores(score, settings=everything)
            truth = np.array([(event.onset, event.offset - 1) for event in video.micro], np.int64).reshape(-1, 2)
            found = np.stack([events.onset, events.offset - 1], axis=1)
            hits = [hit for hit, _ in match_intervals(interval_iou(found, truth))]
            peaks.append(np.asarray(events.confidence, np.float64))
            right.append(np.isin(np.arange(len(events)), hits))
        heights, is_right = np.concatenate(peaks), np.concatenate(right)
        if not is_right.any() or is_right.all():
            continue
        threshold, f1 = best_threshold(heights, right=is_right, wanted=wanted)
        if best is None or f1 > best[0]:
            slope, offset = fit_logistic(heights, right=is_right)
            best = f1, DecodeSettings(
                peak_threshold=threshold, edge_fraction=edge, confidence_slope=slope, confidence_offset=offset,
                calibrated_per_min=wanted / minutes,
            )  # fmt: skip
    return None if best is None else best[1]
