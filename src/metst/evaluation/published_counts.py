"""How the published results count what a fold found, for trainings that follow them in everything.

In frames of the network, with intervals as decoded, also over the ends of a video; a detection that the strategy
deletes is deleted after the matching, so that its hit becomes a miss and nothing is matched anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from metst.config import PublishedDecodeSettings
from metst.datasets.features import FeatureVideo
from metst.decode import frame_classes
from metst.inference import network_scores
from metst.labels import EMOTIONS
from metst.models.checkpoint import Model
from metst.reproduction.counting import SCORERS, Detections, count, decoded, joined
from metst.reproduction.split import TestVideo
from metst.timeline import Series
from metst.training.windows import network_frames

ScoredVideo = tuple[FeatureVideo, Series | None, Model]
"""A video, what its fold's network says of its frames (None where it could not be read), and that network."""


def published_counts(scored: Iterable[ScoredVideo], *, classes: Sequence[str]) -> dict[str, Any]:
    """Figures of the scorer ``greedy`` over the videos with micro-expressions.

    Parameters
    ----------
    scored : iterable of (FeatureVideo, Series or None, Model)
        Of all folds, each model with the strategy that counts.
    classes : sequence of str
        Names of the three classes.

    Returns
    -------
    dict
        ``scorer, counted`` (in words), ``classes, spotting, recognition, strs, with_others, confidence_intervals``
        (none are drawn) as :func:`metst.metrics.score_tables` has them, and ``raw``: the same before the deletion.
    """
    videos: list[TestVideo] = []
    found: list[Detections] = []
    for video, scores, model in scored:
        if video.micro:
            found += [_detections(len(videos), scores, model=model)] if scores is not None else []
            videos.append(_truth(video, scores, rate_hz=model.info.input.rate_hz))
    if not found:
        none = np.zeros(0, np.int64)
        found = [Detections(none, none, none, none, none > 0)]
    stages = count(joined(found), videos, scorer="greedy", step=1)
    after, raw = (_as_tables(stages[stage], classes=classes) for stage in ("after_strategy", "raw"))
    return after | {"scorer": "greedy", "counted": SCORERS["greedy"], "confidence_intervals": {}, "raw": raw}


def _detections(number: int, scores: Series, *, model: Model) -> Detections:
    decode = model.info.decode
    assert isinstance(decode, PublishedDecodeSettings)
    rows = network_scores(scores, model=model).values
    votes = frame_classes(rows[:, 1:], strategy=decode.strategy)
    return decoded(number, rows[:, 0], votes, k_p=decode.k_p, rule=decode.rule, strategy=decode.strategy)


def _truth(video: FeatureVideo, scores: Series | None, *, rate_hz: float) -> TestVideo:
    """Labels in frames of the network; where nothing can be found the frames do not matter."""
    ends = np.array([(event.onset, event.offset - 1) for event in video.micro], np.int64)
    if scores is not None:
        ends = network_frames(video, scores.grid, start_s=scores.grid.time_s[0], rate_hz=rate_hz)
    emotions = tuple(event.emotion or EMOTIONS[-1] for event in video.micro)
    return TestVideo(video.subject, video.video, ends[:, 0], ends[:, 1] + 1, emotions)


def _as_tables(figures: dict[str, Any], *, classes: Sequence[str]) -> dict[str, Any]:
    three, four = (figures[f"classes_{len(names)}"] for names in (classes, EMOTIONS))
    return {
        "spotting": figures["spotting"],
        "classes": list(classes),
        **three,
        "with_others": {"classes": list(EMOTIONS), **four},
    }
