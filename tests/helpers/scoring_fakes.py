"""A network whose answers are known, for the tests of scoring."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from metst.config import (
    DecodeSettings,
    InputSettings,
    ModelInfo,
    NetworkConfig,
    PublishedDecodeSettings,
    ScoringSettings,
)
from metst.regions import REGION_NAMES
from metst.timeline import Series, TimeGrid

Float32Array = npt.NDArray[np.float32]

CLASSES = ("negative", "positive", "surprise", "others", "neutral")


@dataclass
class _State:
    x: Float32Array
    y: Float32Array
    leak: npt.NDArray[np.float64]
    tail: Float32Array


class FakeEngine:
    """Answers ``late`` frames later with ``y_t + x_{t + look_ahead} / 2``, where ``y_t = memory y_{t-1} + x_t``.

    Without look-ahead it is ``y_t``.  The first channel is the score, the next five are the logits; beyond the last
    frame ``x`` is 0.
    """

    def __init__(self, *, late: int = 0, look_ahead: int = 0, memory: float = 0.0) -> None:
        self.late, self.look_ahead, self.memory = late, look_ahead, memory
        self.seen: list[Float32Array] = []

    def __call__(self, x: Float32Array) -> tuple[Float32Array, Float32Array]:
        score, logits, _ = self.advance(x, None, last=True)
        return score, logits

    def advance(
        self, x: Float32Array, state: _State | None, *, last: bool
    ) -> tuple[Float32Array, Float32Array, _State]:
        assert x.dtype == np.float32
        self.seen.append(x)
        if state is None:
            none = np.zeros((x.shape[0], 0, x.shape[2]), np.float32)
            tail = np.zeros((x.shape[0], self.late, x.shape[2]), np.float32)
            state = _State(none, none, np.zeros((x.shape[0], 1, x.shape[2])), tail)
        y, leak = state.y[:, :0], state.leak
        if x.shape[1]:
            y, leak = lfilter([1.0], [1.0, -self.memory], x.astype(np.float64), axis=1, zi=leak)
        xs = np.concatenate([state.x, x], axis=1)
        ys = np.concatenate([state.y, y.astype(np.float32)], axis=1)
        known = xs.shape[1] if last else max(0, xs.shape[1] - self.look_ahead)
        out = ys[:, :known].copy()
        if self.look_ahead:
            following = np.concatenate([xs[:, self.look_ahead :], np.zeros_like(xs[:, : self.look_ahead])], axis=1)
            out += following[:, :known] / 2
        out = np.concatenate([state.tail, out], axis=1)
        kept = _State(xs[:, known:], ys[:, known:], leak, out[:, known:])
        return out[:, :known, 0], out[:, :known, 1:6], kept


@dataclass(frozen=True)
class FakeModel:
    info: ModelInfo
    engine: FakeEngine


def fake_model(
    engine: FakeEngine | None = None,
    *,
    scoring: ScoringSettings | None = None,
    decode: DecodeSettings | PublishedDecodeSettings | None = None,
    **read: object,
) -> FakeModel:
    """A fake network with input settings ``read``; its baseline hardly leaks unless told."""
    reading = InputSettings.model_validate({"baseline_s": 1e6} | read)
    info = ModelInfo(
        network=NetworkConfig(name="fake", in_channels=2 * len(reading.regions), width=8, slow_fast=False),
        classes=CLASSES,
        input=reading,
        scoring=scoring or ScoringSettings(),
        decode=decode or DecodeSettings(),
        trained_on="nothing",
    )
    return FakeModel(info, engine or FakeEngine())


def alike(
    displacement: npt.NDArray[np.floating],
    *,
    time_s: npt.NDArray[np.float64],
    valid: npt.NDArray[np.bool_] | None = None,
) -> Series:
    """Motion in which all regions move alike ``(T,)`` in both directions; invalid frames are NaN."""
    valid = np.ones(len(time_s), dtype=bool) if valid is None else valid
    values = np.repeat(displacement.astype(np.float32), 36).reshape(-1, 18, 2)
    values[~valid] = np.nan
    return Series(TimeGrid(time_s), values, valid, REGION_NAMES)
