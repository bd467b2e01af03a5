"""Training on labelled recordings, as published, and what the trained network finds in others.

Every number that is not in the recipe is found on the training subjects: weights, class weights, ``k_p``, the
window of a data set without a published one, the epoch to stop at.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from metst.arrays import Float32Array, OnProgress
from metst.config import ModelInfo, PublishedDecodeSettings, ScoringSettings, Strategy
from metst.datasets.features import FeatureIndex, FeatureVideo, features_fingerprint, read_features_index
from metst.errors import DataError, UsageError
from metst.labels import CLASSES
from metst.metrics import interval_iou, match_intervals
from metst.models.checkpoint import check_target, save_model
from metst.models.engine import Engine
from metst.models.networks import StateTransitionNetwork
from metst.storage import fingerprint, json_key, write_whole
from metst.training.folds import Fold, inner_split
from metst.training.loop import STATE_FILE, Batch, Losses, Optimisation, fit_network
from metst.training.predictions import DONE_FILE, Candidate, predict, write_predictions
from metst.training.recipes import Recipe
from metst.training.windows import (
    IGNORED,
    TrainingWindows,
    input_settings,
    training_windows,
    typical_half_duration,
    window_plan,
)

_IOU = 0.5


def run_fold(
    folder: Path,
    *,
    features: Path,
    recipe: Recipe,
    strategy: int,
    fold: Fold,
    seed: int,
    on_progress: OnProgress | None = None,
) -> None:
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
    features : Path
        What ``metst extract`` wrote.
    recipe : Recipe
        Network, schedule, windows.
    strategy : {0, 1, 2}
        Synergy of spotting and recognition: 0 none, 1 recognition mainly, 2 spotting mainly.
    fold : Fold
        Training and test subjects.
    seed : int
        Of weights, windows and augmentation.
    on_progress : callable, optional
        Called as ``on_progress(stage, done, total)``.

    Raises
    ------
    UsageError
        A subject is on both sides or unknown, or the folder holds a fold with other settings.
    DataError
        The features do not fit, or there is nothing to learn.
    OutputError
        The folder cannot be written.
    """
    if both := sorted(set(fold.train) & set(fold.test)):
        raise UsageError(f"fold {fold.name}: subject {', '.join(both)} is on both sides of the split")
    index = read_features_index(features)
    fingerprint = _fingerprint(features, recipe, strategy=strategy, seed=seed, train=fold.train, test=fold.test)
    if not _is_done(folder, fingerprint):
        started = time.perf_counter()
        test = index.of(fold.test)
        with _one_thread():
            candidate = train_candidate(
                folder, features=features, recipe=recipe, strategy=strategy, subjects=fold.train, seed=seed,
                fingerprint=fingerprint, model=folder / "model", on_progress=on_progress,
            )  # fmt: skip
            rows = write_predictions(folder, features, test, model=candidate, on_progress=on_progress)
        done = {"fingerprint": fingerprint, "fold": fold.name, "recipe": recipe.name, "strategy": strategy,
                "seed": seed, "k_p": _published_decode(candidate.info).k_p, "videos": len(test),
                "predictions": rows, "weights_sha256": candidate.info.weights_sha256,
                "seconds": round(time.perf_counter() - started, 1)}  # fmt: skip
        write_whole(folder / DONE_FILE, (json.dumps(done, indent=1) + "\n").encode())
    (folder / STATE_FILE).unlink(missing_ok=True)  # of use to an unfinished fold only, and large


def train_recordings(
    output: Path,
    *,
    features: Path,
    recipe: Recipe,
    strategy: int = 1,
    without: Sequence[str] = (),
    seed: int = 100,
    on_progress: OnProgress | None = None,
) -> ModelInfo:
    """Train on all subjects of a data set, or on all but some, and write a checkpoint.

    Parameters
    ----------
    output : Path
        Checkpoint folder to write.  State and metrics lie beside it, in ``<output>.training``.
    without : sequence of str
        Subjects that training must not see.
    features, recipe, strategy, seed, on_progress
        As for :func:`run_fold`.

    Returns
    -------
    ModelInfo
        What was written to ``model.json``.

    Raises
    ------
    UsageError, DataError, OutputError
        As for :func:`run_fold`.
    """
    output = output.resolve()  # a name is needed, and "." has none
    index = read_features_index(features)
    index.of(tuple(without))
    subjects = tuple(name for name in index.subjects if name not in without)
    work = output.with_name(f"{output.name}.training")
    candidate = train_candidate(
        work, features=features, recipe=recipe, strategy=strategy, subjects=subjects, seed=seed, model=output,
        on_progress=on_progress,
    )  # fmt: skip
    (work / STATE_FILE).unlink(missing_ok=True)
    return candidate.info


def train_candidate(
    folder: Path,
    *,
    features: Path,
    recipe: Recipe,
    strategy: int,
    subjects: tuple[str, ...],
    seed: int,
    model: Path,
    fingerprint: str = "",
    on_progress: OnProgress | None = None,
) -> Candidate:
    """Train on some subjects and write a checkpoint.

    Parameters
    ----------
    folder : Path
        For the state and ``metrics.jsonl``.
    features, recipe, strategy, seed, on_progress
        As for :func:`run_fold`.
    subjects : tuple of str
        Training subjects; the validation subjects, if the recipe wants any, are among them.
    model : Path
        Checkpoint folder to write.
    fingerprint : str
        Names the training; by default made from all that decides it.

    Raises
    ------
    UsageError, DataError, OutputError
        As for :func:`run_fold`.
    """
    if strategy not in (0, 1, 2):
        raise UsageError(f"unknown synergy strategy {strategy!r}: expected 0, 1 or 2")
    check_target(model, overwrite=True)
    index = read_features_index(features)
    fitted, validation = _inner(subjects, recipe=recipe, index=index)
    plan = window_plan(recipe, index, subjects)
    windows = training_windows(features, index, fitted, recipe=recipe, plan=plan, seed=seed)
    info = ModelInfo(
        network=recipe.network,
        classes=CLASSES,
        input=input_settings(recipe, plan),
        scoring=ScoringSettings(mode="windows", window=plan.window, hop=plan.hop),
        decode=PublishedDecodeSettings(
            rule=recipe.rule,
            k_p=typical_half_duration(features, index, subjects, recipe=recipe, plan=plan),
            strategy=_strategy(strategy),
        ),
        decode_fitted_on=f"micro-expressions of {len(subjects)} training subjects",
        training_subjects=tuple(sorted(subjects)),
        trained_on=_description(index, fitted, validation=validation, windows=windows, recipe=recipe),
        provenance={"recipe": recipe.model_dump_json(), "strategy": str(strategy), "seed": str(seed)},
    )
    network = _fitted_network(
        folder, windows=windows, recipe=recipe, strategy=strategy, batch_size=plan.batch_size, seed=seed,
        fingerprint=fingerprint or _fingerprint(features, recipe, strategy=strategy, seed=seed, train=subjects),
        validate=_validation(features, index.of(validation), info=info) if validation else None,
        on_progress=on_progress,
    )  # fmt: skip
    saved = save_model(model, network=network, info=info, overwrite=True)
    return _candidate(network, saved.info)


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


def _strategy(strategy: int) -> Strategy:
    known: dict[int, Strategy] = {0: 0, 1: 1, 2: 2}
    return known[strategy]


def _published_decode(info: ModelInfo) -> PublishedDecodeSettings:
    assert isinstance(info.decode, PublishedDecodeSettings)
    return info.decode


def _description(
    index: FeatureIndex, fitted: Sequence[str], *, validation: Sequence[str], windows: TrainingWindows, recipe: Recipe
) -> str:
    videos = [v for v in index.of(tuple(fitted)) if v.file and (v.micro or recipe.background)]
    events = sum(len(video.micro) for video in videos)
    kept = f"; {len(validation)} more to validate on" if validation else ""
    return (
        f"{index.data_set}: {events} micro-expressions in {len(videos)} videos of {len(fitted)} subjects"
        f" ({windows.with_event} windows with and {len(windows) - windows.with_event} without){kept}"
    )


def _fitted_network(
    folder: Path,
    *,
    windows: TrainingWindows,
    recipe: Recipe,
    strategy: int,
    batch_size: int,
    seed: int,
    fingerprint: str,
    validate: Callable[[nn.Module], float] | None,
    on_progress: OnProgress | None,
) -> StateTransitionNetwork:
    weights = windows.class_weights(strategy=strategy, neutral_factor=recipe.neutral_factor)
    epoch_steps = -(-len(windows) // batch_size)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = StateTransitionNetwork(recipe.network)
    fit_network(
        network,
        window_batches(windows, batch_size=batch_size, gain=recipe.gain, seed=seed),
        loss=joint_loss(weights, recipe=recipe),
        optimisation=Optimisation(recipe.learning_rate),
        steps=recipe.epochs * epoch_steps,
        epoch_steps=epoch_steps,
        seed=seed,
        folder=folder,
        fingerprint=fingerprint,
        validate=validate,
        patience=recipe.patience,
        device="cuda" if torch.cuda.is_available() else "cpu",
        on_progress=on_progress,
    )
    return network


def window_batches(
    windows: TrainingWindows, *, batch_size: int, gain: tuple[float, float], seed: int
) -> Callable[[int], Batch]:
    """Batches by the number of the step: every window once per epoch, in an order of its own, each with its gain.

    Returns
    -------
    callable
        ``batch(step)`` gives motion ``(b, C, k)`` float32, score ``(b, k)`` float32 and class ``(b, k)`` int64.
    """
    epoch_steps = -(-len(windows) // batch_size)

    def batch(step: int) -> Batch:
        epoch, place = divmod(step, epoch_steps)
        order = np.random.default_rng([seed, 1, epoch]).permutation(len(windows))
        rows = order[place * batch_size : (place + 1) * batch_size]
        factor = np.random.default_rng([seed, 2, step]).uniform(*gain, size=len(rows)).astype(np.float32)
        frames = windows.frames(rows)
        return (
            torch.from_numpy(windows.inputs(rows, gain=factor)),
            torch.from_numpy(windows.score[frames].astype(np.float32)),
            torch.from_numpy(windows.label[frames].astype(np.int64)),
        )

    return batch


def joint_loss(class_weights: Float32Array, *, recipe: Recipe) -> Callable[[nn.Module, Batch], Losses]:
    """``0.9 * MSE(score) + 0.1 * CE(class)`` by the recipe's weights.

    The cross-entropy is the mean weighted by class; where all frames of a batch weigh nothing it is 0.
    """
    weights = torch.from_numpy(class_weights)

    def loss(network: nn.Module, batch: Batch) -> Losses:
        motion, score, label = batch
        predicted, logits = network(motion)
        spotting = functional.mse_loss(predicted.float(), score)
        recognition = _weighted_cross_entropy(logits.float(), label, weights=weights.to(label.device))
        total = recipe.spotting_weight * spotting + recipe.recognition_weight * recognition
        return {"loss": total, "spotting": spotting, "recognition": recognition}

    return loss


def _weighted_cross_entropy(logits: Tensor, label: Tensor, *, weights: Tensor) -> Tensor:
    total = functional.cross_entropy(
        logits.transpose(1, 2), label, weight=weights, ignore_index=IGNORED, reduction="sum"
    )
    weight = (weights[label.clamp_min(0)] * (label != IGNORED)).sum()
    return total / weight.clamp_min(torch.finfo(weight.dtype).tiny)


def _candidate(network: StateTransitionNetwork, info: ModelInfo) -> Candidate:
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
    return Candidate(info, Engine(network.config, weights, where="the trained network"))


def _validation(features: Path, videos: Sequence[FeatureVideo], *, info: ModelInfo) -> Callable[[nn.Module], float]:
    """Spotting F1 (strict: IoU >= 0.5 on frames of the video, one to one) over all videos of some subjects."""

    def validate(network: nn.Module) -> float:
        assert isinstance(network, StateTransitionNetwork)
        model = _candidate(network, info)
        hits = found = wanted = 0
        for video in videos:
            truth = np.array([(event.onset, event.offset - 1) for event in video.micro], np.int64).reshape(-1, 2)
            wanted += len(truth)
            if not video.file:
                continue
            events, _ = predict(features, video, model=model)
            spans = np.stack([events.onset, events.offset - 1], axis=1)
            hits += len(match_intervals(interval_iou(spans, truth), threshold=_IOU))
            found += len(events)
        return 2 * hits / (found + wanted) if found + wanted else 0.0

    return validate


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _fingerprint(
    features: Path, recipe: Recipe, *, strategy: int, seed: int, train: Sequence[str], test: Sequence[str] = ()
) -> str:
    """Of all that decides a fold."""
    decides = {
        "features": features_fingerprint(features),
        "recipe": recipe.model_dump(mode="json"),
        "strategy": strategy,
        "seed": seed,
        "train": sorted(train),
        "test": sorted(test),
    }
    return fingerprint(json_key(decides))


def _is_done(folder: Path, fingerprint: str) -> bool:
    path = folder / DONE_FILE
    try:
        done = json.loads(path.read_bytes())
        found = done["fingerprint"]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error!r}): delete its fold's folder and run again") from error
    if found != fingerprint:
        raise UsageError(f"{folder} holds a fold with other data or settings: give another folder")
    return True
