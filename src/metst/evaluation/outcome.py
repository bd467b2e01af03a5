"""Scores what all folds of a plan predicted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from metst.config import PublishedDecodeSettings
from metst.datasets.features import FeatureIndex, FeatureVideo, read_features_index
from metst.decode import score_channels
from metst.errors import DataError, MetstError
from metst.evaluation.models import ScoredModel, about_model
from metst.evaluation.plan import Plan, Row, Variant, fold_folder
from metst.evaluation.published_counts import ScoredVideo, published_counts
from metst.inference import decode_events
from metst.labels import EMOTIONS
from metst.metrics import COLUMNS, score_tables
from metst.models.checkpoint import Model, load_model
from metst.storage import csv_bytes, make_folder, write_whole
from metst.timeline import Series, frames_for_people
from metst.training.layout import DONE_FILE, METRICS_FILE, MODEL_FOLDER
from metst.training.predictions import PredictedRow, event_rows, read_scores, scores_path

# In the folder of a run: all figures, the labels, and a folder with a table per variant.
RESULT_FILE, TRUTH_FILE, PREDICTIONS = "evaluation.json", "truth.csv", "predictions"

THREE = EMOTIONS[:3]
"""The classes of most published results: others are left out."""

TruthRow = tuple[str, str, int, int, str]
"""Subject, video, onset, offset, emotion."""


def evaluate_run(run: Path, plan: Plan, *, features: Path) -> dict[str, Any]:
    """Gather the predictions of all folds, score them, and write tables and ``evaluation.json``.

    Every figure is given by the scorers ``strict`` (all videos, with confidence intervals by subject) and
    ``greedy`` (what published results used; videos with micro-expressions), with three classes and with four.
    For a recipe that is as published, ``greedy`` is of :mod:`metst.evaluation.published_counts`.
    Thresholds and ``k_p`` come from training subjects.

    Returns
    -------
    dict
        Plain values: ``data_set, seed, folds, variants`` (by name: ``recipe, strategy, k_p, strict, greedy,
        training``; of the product's own network ``threshold, edge_fraction`` in place of ``strategy, k_p``; of a model
        as it is ``model, trained_on_tested, strict, greedy, training``) and ``differences`` of every further variant
        from the first, paired by subject.

    Raises
    ------
    DataError
        A fold is missing or damaged.
    OutputError
        A file cannot be written.
    """
    index = read_features_index(features)
    make_folder(run / PREDICTIONS)
    truth = list(_truth_rows(index))
    videos = [video.key for video in index.videos]
    write_whole(run / TRUTH_FILE, csv_bytes(COLUMNS, truth))
    results: dict[str, Any] = {}
    rows: dict[str, list[PredictedRow]] = {}
    for variant in plan.variants:
        rows[variant.name] = list(_predictions(run, plan, variant, index=index))
        write_whole(run / PREDICTIONS / f"{variant.slug}.csv", csv_bytes((*COLUMNS, "confidence"), rows[variant.name]))
        results[variant.name] = _about(run, plan, variant) | _figures(rows[variant.name], truth, videos=videos)
        if isinstance(variant, Variant) and variant.recipe.as_published:
            scored = _scored(run, plan, variant, index=index)
            results[variant.name]["greedy"] = published_counts(scored, classes=THREE)
    result = {
        "data_set": plan.data_set,
        "seed": plan.seed,
        "folds": [{"name": part.name, "test": list(part.test)} for part in plan.folds],
        "problems": _problems(index),
        "variants": results,
        "differences": _differences(plan, rows, truth, videos=videos),
    }
    write_whole(run / RESULT_FILE, (json.dumps(result, indent=1, allow_nan=False) + "\n").encode())
    return result


def _truth_rows(index: FeatureIndex) -> Iterator[TruthRow]:
    """Micro-expressions, frames from 1 and inclusive; without a known emotion they count as others."""
    for video in index.videos:
        for event in video.micro:
            first, last = frames_for_people(np.array([event.onset]), np.array([event.offset]))
            yield video.subject, video.video, int(first[0]), int(last[0]), event.emotion or EMOTIONS[-1]


def _problems(index: FeatureIndex) -> list[str]:
    per_video = [f"{video.subject}/{video.video}: {text}" for video in index.videos for text in video.problems]
    return [*index.left_out, *per_video]


def _predictions(run: Path, plan: Plan, variant: Row, *, index: FeatureIndex) -> Iterator[PredictedRow]:
    """Decode the scores of all folds under the variant's strategy."""
    for video, scores, model in _scored(run, plan, variant, index=index):
        if scores is not None:
            yield from event_rows(video, decode_events(scores, model=model))


def _scored(run: Path, plan: Plan, variant: Row, *, index: FeatureIndex) -> Iterator[ScoredVideo]:
    """What the folds' networks say of their test videos, each network with the variant's strategy."""
    for part in plan.folds:
        folder = fold_folder(run, training=variant.training, fold=part.name)
        model = _model(folder, variant)
        for video in index.of(part.test):
            yield video, _video_scores(folder, video, model=model) if video.file else None, model


def _damaged(path: Path, error: Exception) -> DataError:
    why = f"it has no {error}" if isinstance(error, KeyError) else error
    return DataError(f"{path} is missing or damaged ({why}): delete its fold's folder and run again")


def _model(folder: Path, variant: Row) -> Model:
    """The network that a fold left, under the variant's strategy; or the row's own."""
    if isinstance(variant, ScoredModel):
        return variant.load()
    path = folder / MODEL_FOLDER
    try:
        model = load_model(path)
        if isinstance(model.info.decode, PublishedDecodeSettings) != isinstance(variant, Variant):
            raise DataError("it is decoded by another rule")
    except MetstError as error:
        raise _damaged(path, error) from error
    return _with_strategy(model, variant) if isinstance(variant, Variant) else model


def _with_strategy(model: Model, variant: Variant) -> Model:
    decode = model.info.decode
    assert isinstance(decode, PublishedDecodeSettings)
    changed = decode.model_copy(update={"strategy": variant.strategy})
    return replace(model, info=model.info.model_copy(update={"decode": changed}))


def _video_scores(folder: Path, video: FeatureVideo, *, model: Model) -> Series:
    path = scores_path(folder, video)
    try:
        scores = read_scores(path)
        if scores.channels != score_channels(model.info.classes):
            raise DataError(f"it has the channels {', '.join(scores.channels)}")
    except (OSError, KeyError, TypeError, safetensors.SafetensorError, MetstError) as error:
        raise _damaged(path, error) from error
    return scores


def _about(run: Path, plan: Plan, variant: Row) -> dict[str, Any]:
    """What the variant is, and how its trainings went."""
    folders = {part.name: fold_folder(run, training=variant.training, fold=part.name) for part in plan.folds}
    if isinstance(variant, ScoredModel):
        seconds = {name: _done(folder, "seconds")["seconds"] for name, folder in folders.items()}
        return about_model(variant, tested=plan.tested, seconds=seconds)
    about: dict[str, Any] = {"recipe": variant.recipe.model_dump(mode="json")}
    if isinstance(variant, Variant):
        k_p = {name: int(_done(folder, "k_p")["k_p"]) for name, folder in folders.items()}
        about |= {"strategy": variant.strategy, "k_p": k_p}
    else:
        for name in ("threshold", "edge_fraction"):
            about[name] = {fold: _done(folder, name)[name] for fold, folder in folders.items()}
    return about | {"training": {name: _history(folder) for name, folder in folders.items()}}


def _history(folder: Path) -> dict[str, Any]:
    """Time and epochs of a fold."""
    done = _done(folder, "seconds")
    path = folder / METRICS_FILE
    try:
        epochs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not [(epoch["loss"], epoch["validation"]) for epoch in epochs]:
            raise ValueError("it is empty")
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error
    return {"seconds": done["seconds"], "epochs": epochs}


def _done(folder: Path, *names: str) -> dict[str, Any]:
    """Some numbers that a fold left when it was done."""
    path = folder / DONE_FILE
    try:
        done = json.loads(path.read_bytes())
        return {name: float(done[name]) for name in names}
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error


def _figures(
    rows: Sequence[PredictedRow], truth: Sequence[TruthRow], *, videos: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    with_truth = {row[:2] for row in truth}
    published = [row for row in rows if row[:2] in with_truth]
    figures: dict[str, Any] = {}
    for scorer, predicted, listed in (("strict", rows, videos), ("greedy", published, ())):
        three = score_tables(predicted, truth, scorer=scorer, classes=THREE, videos=listed)
        four = score_tables(predicted, truth, scorer=scorer, classes=EMOTIONS, videos=listed, bootstrap=0)
        figures[scorer] = three | {"with_others": {name: four[name] for name in ("classes", "recognition", "strs")}}
    return figures


def _differences(
    plan: Plan,
    rows: dict[str, list[PredictedRow]],
    truth: Sequence[TruthRow],
    *,
    videos: Sequence[tuple[str, str]],
) -> list[dict[str, Any]]:
    """Strict figures of each further variant minus those of the first."""
    first, *others = plan.variants
    compared = []
    for variant in others:
        result = score_tables(
            rows[variant.name],
            truth,
            against=rows[first.name],
            videos=videos,
        )
        compared.append({"variant": variant.name, "minus": first.name, **result["against"]["difference"]})
    return compared
