"""The published test protocol, from cached features and released checkpoints to counts.

Leave-one-subject-out: each subject's windows go through the network that was trained without this subject, every
window from a fresh state; the windows' scores become one curve per video, the published rule decodes it, and the
synergy strategy deletes detections.  Sources: arXiv 2409.09707, 2508.08082 and 2508.18834, and the authors' programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metst.arrays import AnyArray, BoolArray, Float32Array, Int64Array, OnProgress
from metst.config import DEFAULT_STRATEGY, Strategy
from metst.decode import frame_classes
from metst.errors import UsageError
from metst.labels import CLASSES, NEUTRAL
from metst.models.checkpoint import Model
from metst.published.facts import DATA_SETS, NETWORKS, RULES, Follow, HalfDuration
from metst.reproduction.author_caches import Features
from metst.reproduction.counting import Detections, decoded, joined
from metst.reproduction.result_files import FOLLOWED, Evaluation, Fold, Options, outcome
from metst.reproduction.split import Split, published_split
from metst.reproduction.subject_checkpoints import check_model, find_folds, fold_model, was_trained_on

if TYPE_CHECKING:
    from metst.datasets import DataSet

_TOGETHER = 64  # windows that are scored together here, for speed: set by hand, does not change the result


def evaluate_published(
    data_set: DataSet,
    features: Features,
    *,
    checkpoints: str | Path,
    strategy: Strategy = DEFAULT_STRATEGY,
    k_p: HalfDuration = "published",
    follow: Follow = "description",
    order: str | Path | None = None,
    allow_training_subjects: bool = False,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Rerun the published test protocol.

    Parameters
    ----------
    data_set : DataSet
        SAMM Long Videos or CAS(ME)3: labels, and frames if they are at hand.
    features : Features
        The cache of that data set.
    checkpoints : path
        One per subject: checkpoint folders, or released files (they need PyTorch).
    strategy : {0, 1, 2}
        Synergy; the published results use 1.
    k_p : {"published", "train"}
        Half of a typical event: that of the checkpoint, over all subjects, or for each subject that of all others.
    follow : {"description", "code"}
        See :data:`FOLLOWED`.
    order : path, optional
        See :func:`metst.reproduction.split.published_split`.
    allow_training_subjects : bool
        Score subjects that a checkpoint says it was trained on.
    on_progress : callable, optional
        Called as ``on_progress("score", done, total)`` with windows.

    Returns
    -------
    Evaluation

    Raises
    ------
    UsageError, CheckpointError, DataError
        If an option, a file or a checkpoint is not what it should be, or if a checkpoint was trained on its subject.
    """
    options = _options(data_set, strategy=strategy, k_p=k_p, follow=follow)
    step = DATA_SETS[options.data_set].step
    split = published_split(data_set, features, step=step, order=order)
    parts, told, done = list[Detections](), list[Fold](), 0
    for subject, path in find_folds(checkpoints, split.subjects).items():
        with fold_model(path, data_set=options.data_set) as model:
            fold = _fold(model, path, subject=subject, features=features, split=split, options=options)
            _check_fold(fold, path, first=told[0] if told else fold, allowed=allow_training_subjects)
            parts.append(_subject(model, features, numbers=split.numbers(subject), fold=fold, options=options))
        told.append(fold)
        done += sum(len(features.videos[number]) for number in split.numbers(subject))
        if on_progress is not None:
            on_progress("score", done, features.windows)
    found = joined(parts)
    result = outcome(found, split, features=features, folds=told, data_set=data_set, options=options)
    return Evaluation(result, split, found, step)


def _options(data_set: DataSet, *, strategy: Strategy, k_p: HalfDuration, follow: Follow) -> Options:
    """How the protocol is run, once it is known that there is such a one."""
    if data_set.kind not in DATA_SETS:
        raise UsageError(f"the published protocol is that of {' and '.join(DATA_SETS)}, got {data_set.kind}")
    if strategy not in (0, 1, 2) or k_p not in ("published", "train") or follow not in FOLLOWED:
        raise UsageError(f"unknown protocol: strategy {strategy!r}, k_p {k_p!r}, follow {follow!r}")
    return Options(data_set.kind, strategy, k_p, follow)


def _fold(model: Model, path: Path, *, subject: str, features: Features, split: Split, options: Options) -> Fold:
    decode = check_model(model, features, data_set=options.data_set, where=path)
    k_p = decode.k_p
    if options.k_p == "train":
        step, statistic = DATA_SETS[options.data_set].step, RULES[decode.rule].statistic
        k_p = split.half_duration(step=step, without=subject, statistic=statistic)
    trained_on = was_trained_on(model, subject)
    return Fold(subject, path.name, model.info.name, decode.rule, k_p, trained_on, model.info.weights_sha256)


def _check_fold(fold: Fold, path: Path, *, first: Fold, allowed: bool) -> None:
    if fold.trained_on and not allowed:
        raise UsageError(
            f"{path} was trained on subject {fold.subject}, so its score on that subject says nothing: take the"
            " checkpoint that was trained without, or ask for it with --allow-training-subjects"
        )
    if (fold.network, fold.rule) != (first.network, first.rule):
        raise UsageError(
            f"{path} is of {fold.network} ({fold.rule} rule), but {first.file} of {first.network} ({first.rule} rule):"
            " expected one network for all subjects"
        )


def _subject(model: Model, features: Features, *, numbers: Sequence[int], fold: Fold, options: Options) -> Detections:
    """Detections in the videos of one subject."""
    found: list[Detections] = []
    before = 0  # windows of the subject in earlier videos
    for number in numbers:
        windows = features.videos[number]
        score, classes = _window_results(model, windows, network=fold.network, options=options)
        whole = np.arange(len(windows)) == 0
        if options.follow == "code":
            whole = (before + np.arange(len(windows))) % DATA_SETS[options.data_set].batch_size == 0
        before += len(windows)
        curve, votes = stitch_windows(score, whole=whole), stitch_windows(classes, whole=whole)
        found.append(decoded(number, curve, votes, k_p=fold.k_p, rule=fold.rule, strategy=options.strategy))
    return joined(found)


def _window_results(
    model: Model, windows: Float32Array, *, network: str, options: Options
) -> tuple[Float32Array, Int64Array]:
    """Scores and classes ``(W, k)``, every window from a fresh state."""
    count_, length = windows.shape[:2]
    scores = np.zeros((count_, length), np.float32)
    logits = np.zeros((count_, length, len(CLASSES)), np.float32)
    for start in range(0, len(windows), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        scores[part], logits[part] = model.engine(windows[part])
    by_sign = network in NETWORKS and NETWORKS[network].neutral_by_sign
    if options.follow == "code" and options.strategy == 1 and by_sign:
        logits[:, :, NEUTRAL] = 0
    # The class of the highest logit is that of the highest probability.
    flat = frame_classes(logits.reshape(-1, len(CLASSES)), strategy=options.strategy)
    return scores, flat.reshape(count_, length)


def stitch_windows(values: AnyArray, *, whole: BoolArray) -> AnyArray:
    """One curve from the windows of a video, which start every half window.

    Parameters
    ----------
    values : (W, k)
        Results of the windows.
    whole : (W,) bool
        Windows that give all their frames; the others give their second half.

    Returns
    -------
    ((W + 1) * k // 2,)
        Later windows win; 0 where no window gave anything.  Without any window there is no frame.
    """
    count_, length = values.shape
    half = length // 2
    curve = np.zeros((count_ + 1) * half if count_ else 0, dtype=values.dtype)
    for number, row in enumerate(values):
        start = 0 if whole[number] else half
        curve[number * half + start : number * half + length] = row[start:]
    return curve
