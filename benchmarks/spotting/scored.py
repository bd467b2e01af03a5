"""Systems that are a curve over the motion: how one becomes events, and how its threshold is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from clips import Recording

from metst.config import DecodeSettings, InputSettings, ModelInfo, NetworkConfig, ScoringSettings
from metst.decode import decode_scores
from metst.inference import score_motion
from metst.labels import CLASSES
from metst.metrics import interval_iou, match_intervals, score_tables
from metst.timeline import Intervals, Series, frames_for_people
from metst.training.operating_point import ANY_PEAK, fit_logistic

Float32Array = npt.NDArray[np.float32]

RATE_HZ = 30.0

EDGE_FRACTIONS = (0.15, 0.25, 0.35, 0.5)
"""Shares of the peak down to which an event may reach: the best is chosen on the development split."""

IN_ONE_PIECE = 1 << 30
"""Chunk that holds any clip: these curves look at a whole stretch at once."""


class Curve(Protocol):
    """What makes a score and class logits of the motion of one stretch."""

    def __call__(self, x: Float32Array) -> tuple[Float32Array, Float32Array]:
        """``(T, 36)`` face units against a leaking baseline, to score ``(T,)`` and logits ``(T, 5)``."""


@dataclass(frozen=True, eq=False)
class CurveModel:
    """A curve in the place of a network, so that stretches, gaps and frame rates are treated alike."""

    curve: Curve
    info: ModelInfo

    @classmethod
    def named(cls, name: str, curve: Curve) -> CurveModel:
        """A model that reads all regions at :data:`RATE_HZ`."""
        info = ModelInfo(
            network=NetworkConfig(name=name, in_channels=36, width=1, slow_fast=False),
            classes=CLASSES,
            input=InputSettings(rate_hz=RATE_HZ, reference="leaky", baseline_s=1.0, scale=1.0),
            scoring=ScoringSettings(mode="whole"),
            decode=DecodeSettings(),
            trained_on="the training split of the spotting benchmark",
        )
        return cls(curve, info)

    @property
    def engine(self) -> CurveModel:
        """Itself: it scores as a network does."""
        return self

    @property
    def look_ahead(self) -> int:
        """It reads a stretch as one piece."""
        return 0

    def __call__(self, x: Float32Array) -> tuple[Float32Array, Float32Array]:
        """``(B, T, C)`` to scores ``(B, T)`` and logits ``(B, T, K)``."""
        scores, logits = zip(*(self.curve(each) for each in x), strict=True)
        return np.stack(scores), np.stack(logits)

    def advance(self, x: Float32Array, state: Any, *, last: bool) -> tuple[Float32Array, Float32Array, Any]:
        """The whole stretch comes in one piece."""
        assert state is None
        assert last
        return *self(x), None


@dataclass(frozen=True, eq=False)
class CurveSystem:
    """A curve with a threshold and a calibration that were fitted on the development split."""

    model: CurveModel
    decode: DecodeSettings

    def find(self, recording: Recording) -> Intervals:
        """Events of a clip."""
        return decode_scores(scores_of(self.model, recording), settings=self.decode)


def scores_of(model: CurveModel, recording: Recording) -> Series:
    """Score and class probabilities at the frames of a clip."""
    return score_motion(recording.motion, model=model, quality=recording.quality, chunk_frames=IN_ONE_PIECE)


def fit_system(model: CurveModel, *, development: Sequence[Recording]) -> CurveSystem:
    """Threshold and edges of the best strict F1 on the development split; confidence as the share of right events."""
    scores = [scores_of(model, each) for each in development]
    fits = [_fitted(scores, development=development, edge_fraction=edge) for edge in EDGE_FRACTIONS]
    _, decode = max(fits, key=lambda fit: fit[0])
    found = [decode_scores(each, settings=decode) for each in scores]
    peaks = np.concatenate([each.confidence for each in found])
    right = np.concatenate([hits(events, each.truth) >= 0 for events, each in zip(found, development, strict=True)])
    if right.any() and not right.all():
        slope, offset = fit_logistic(peaks, right=right)
        decode = decode.model_copy(update={"confidence_slope": slope, "confidence_offset": offset})
    return CurveSystem(model, decode)


def _fitted(
    scores: Sequence[Series], *, development: Sequence[Recording], edge_fraction: float
) -> tuple[float, DecodeSettings]:
    """Best F1 over all thresholds, and the settings that reach it."""
    everything = DecodeSettings(peak_threshold=ANY_PEAK, edge_fraction=edge_fraction)
    scored = score_tables(
        rows_of(development, [decode_scores(each, settings=everything) for each in scores]),
        rows_of(development, [each.truth for each in development]),
        videos=[(each.person, each.name) for each in development],
        bootstrap=0,
    )
    best = scored["curve"].get("best", {"f1": 0.0, "threshold": 0.5})
    threshold = float(np.clip(best["threshold"], ANY_PEAK, 0.97))
    return best["f1"], everything.model_copy(update={"peak_threshold": threshold})


def hits(found: Intervals, truth: Intervals) -> npt.NDArray[np.int64]:
    """For each found event the true one that it hits (strict: one to one, IoU >= 0.5), or -1."""
    ends = [np.stack([each.onset, each.offset - 1], axis=1) for each in (found, truth)]
    partner = np.full(len(found), -1)
    for own, other in match_intervals(interval_iou(*ends)):
        partner[own] = other
    return partner


def rows_of(recordings: Sequence[Recording], found: Sequence[Intervals]) -> list[dict[str, Any]]:
    """Events of all clips as a table for people, as the scorers read it."""
    rows = []
    for recording, events in zip(recordings, found, strict=True):
        first, last = frames_for_people(events.onset, events.offset)
        for i, label in enumerate(events.label):
            rows.append(
                {
                    "subject": recording.person,
                    "video": recording.name,
                    "onset": int(first[i]),
                    "offset": int(last[i]),
                    "emotion": label,
                    "confidence": float(events.confidence[i]),
                }
            )
    return rows
