"""Systems to be compared with: chance, a rule made by hand, and a sliding-window classifier."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from clips import Recording
from numpy.lib.stride_tricks import sliding_window_view
from scored import CurveModel, CurveSystem, Float32Array, fit_system
from sklearn.ensemble import HistGradientBoostingClassifier

from metst.inference import network_input
from metst.labels import CLASSES, EMOTIONS, NEUTRAL
from metst.regions import METST_REGIONS
from metst.timeline import Intervals, true_runs

WINDOW = 16
"""Frames of a window of the classifier, about half a second."""

NEUTRAL_PER_EVENT = 3
_REACH = 12  # frames: 0.4 s, somewhat more than the rise or the fall of a micro-expression
_SEED = 5


def planted_per_min(recordings: Sequence[Recording]) -> float:
    """Movements per minute, clips without any included."""
    return sum(len(each.truth) for each in recordings) / sum(each.minutes for each in recordings)


@dataclass(frozen=True)
class Chance:
    """Intervals at random, as many per minute and as long as those of the development split."""

    per_min: float
    durations_s: tuple[float, ...]

    @classmethod
    def like(cls, development: Sequence[Recording]) -> Chance:
        """Rate and durations of what is planted there."""
        lengths = [(each.truth.offset - each.truth.onset) * each.motion.grid.frame_s for each in development]
        return cls(planted_per_min(development), tuple(np.concatenate(lengths).tolist()))

    def find(self, recording: Recording) -> Intervals:
        """Random intervals; the clip's name decides them."""
        rng = np.random.default_rng([_SEED, *recording.name.encode()])
        time_s = recording.motion.grid.time_s
        starts = np.sort(rng.uniform(time_s[0], time_s[-1], rng.poisson(self.per_min * recording.minutes)))
        onset = np.searchsorted(time_s, starts)
        end = np.searchsorted(time_s, starts + rng.choice(self.durations_s, len(starts)))
        offset = np.minimum(np.maximum(end, onset + 1), len(time_s))
        onset = np.minimum(onset, offset - 1)
        probability = rng.dirichlet(np.ones(3), len(onset))
        label = tuple(EMOTIONS[i] for i in probability.argmax(axis=1)) if len(onset) else ()
        confidence = rng.uniform(0, 1, len(onset))
        return Intervals(onset, (onset + offset) // 2, offset, label, confidence, probability, EMOTIONS[:3])


def rule_curve(x: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Regions that go away from where they were and come back; the class by where brows and mouth corners go.

    How far a region is from where it was 0.4 s before, and from where it will be 0.4 s later, whichever is less, in
    units of what is usual for it in this very clip; the mean of the four most moved regions; 60 units are the score 1.
    """
    before, after = (np.pad(x, ends, mode="edge") for ends in (((_REACH, 0), (0, 0)), ((0, _REACH), (0, 0))))
    since, until = x - before[: len(x)], x - after[_REACH:]
    motion = ((since + until) / 2).reshape(len(x), 18, 2).astype(np.float64)
    away, back = (np.hypot(*np.moveaxis(each.reshape(len(x), 18, 2), -1, 0)) for each in (since, until))
    size = np.minimum(away, back)
    usual = np.maximum(np.median(size, axis=0), 5e-4)
    excess = np.sort(size / usual, axis=1)[:, -4:].mean(axis=1)
    brows, corners = motion[:, [0, 1, 2, 4, 5, 6]].mean(axis=1), motion[:, [9, 10]]
    inward = motion[:, 1, 0] - motion[:, 5, 0]
    smile = -corners[..., 1].mean(axis=1) + (corners[:, 1, 0] - corners[:, 0, 0]) / 2
    nose_up = -motion[:, list(METST_REGIONS[3:]), 1].mean(axis=1)
    logits = np.full((len(x), len(CLASSES)), -6.0)
    for name, evidence in (
        ("negative", np.maximum(brows[:, 1] + inward / 2, nose_up)), ("positive", smile), ("surprise", -brows[:, 1])
    ):  # fmt: skip
        logits[:, CLASSES.index(name)] = evidence / 0.004
    return np.minimum(excess / 60, 0.98).astype(np.float32), logits.astype(np.float32)


@dataclass(frozen=True, eq=False)
class WindowCurve:
    """A classifier of the window around each frame."""

    classifier: Any

    def __call__(self, x: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Score: probability that the centre of the window lies in a micro-expression."""
        chance = np.full((len(x), len(CLASSES)), 1e-6)
        chance[:, self.classifier.classes_] = self.classifier.predict_proba(window_features(x))
        return (1 - chance[:, NEUTRAL]).astype(np.float32), np.log(chance + 1e-6).astype(np.float32)


def window_features(x: Float32Array) -> npt.NDArray[np.float32]:
    """Displacement since the window's start at four moments, and how far each channel went: ``(T, 5 * 36)``."""
    half = WINDOW // 2
    padded = np.pad(x, ((half, half), (0, 0)), mode="edge")
    windows = sliding_window_view(padded, WINDOW + 1, axis=0)  # (T, 36, 17)
    since = windows[..., [4, 8, 12, 16]] - windows[..., :1]
    return np.concatenate([since.reshape(len(x), -1), np.ptp(windows, axis=-1)], axis=1).astype(np.float32)


def train_windows(recordings: Iterable[Recording]) -> WindowCurve:
    """Fit the classifier on the windows of all events, and three times as many of those without."""
    model = CurveModel.named("windows", rule_curve)  # for the description of its input only
    features, labels = [], []
    for number, recording in enumerate(recordings):
        for run in true_runs(recording.motion.valid):
            part = network_input(recording.motion.part(run), settings=model.info.input)
            label = _labels(recording.truth, part.grid.time_s, native_s=recording.motion.grid.time_s)
            chosen = _balanced(label, rng=np.random.default_rng([_SEED, number]))
            features.append(window_features(part.values)[chosen])
            labels.append(label[chosen])
    classifier = HistGradientBoostingClassifier(
        max_iter=80, learning_rate=0.12, max_leaf_nodes=24, early_stopping=False, random_state=_SEED
    )
    return WindowCurve(classifier.fit(np.concatenate(features), np.concatenate(labels)))


def _labels(
    truth: Intervals, time_s: npt.NDArray[np.float64], *, native_s: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    label = np.full(len(time_s), NEUTRAL)
    for onset, offset, name in zip(truth.onset, truth.offset, truth.label, strict=True):
        label[(time_s >= native_s[onset]) & (time_s <= native_s[offset - 1])] = CLASSES.index(name)
    return label


def _balanced(label: npt.NDArray[np.int64], *, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    inside, outside = np.flatnonzero(label != NEUTRAL), np.flatnonzero(label == NEUTRAL)
    wanted = NEUTRAL_PER_EVENT * len(inside) or len(outside) // 8
    return np.sort(np.concatenate([inside, rng.permutation(outside)[:wanted]]))


def rule_system(development: Sequence[Recording]) -> CurveSystem:
    """The rule with its threshold fitted."""
    return fit_system(CurveModel.named("rule", rule_curve), development=development)


def windows_system(training: Iterable[Recording], *, development: Sequence[Recording]) -> CurveSystem:
    """The classifier trained on the training split, with its threshold fitted."""
    return fit_system(CurveModel.named("windows", train_windows(training)), development=development)
