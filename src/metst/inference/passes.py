"""The input of one stretch through a network, piece by piece: in one pass, or in windows."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from metst.arrays import Float32Array
from metst.config import ModelInfo, ScoringSettings


class Engine(Protocol):
    """What scoring asks of a network; :class:`metst.models.engine.Engine` is one."""

    @property
    def look_ahead(self) -> int:
        """Most frames that must follow a frame before its score comes out."""

    def __call__(self, x: Float32Array) -> tuple[Float32Array, Float32Array]:
        """``(B, T, C)`` float32 to scores ``(B, T)`` and logits ``(B, T, K)``, from a fresh state."""

    def advance(self, x: Float32Array, state: Any, *, last: bool) -> tuple[Float32Array, Float32Array, Any]:
        """Score the next chunk ``(B, T, C)`` of a sequence, with what the chunk before left (None at the start)."""


class ScoringModel(Protocol):
    """A network and its description; :class:`metst.models.checkpoint.Model` is one."""

    @property
    def info(self) -> ModelInfo:
        """The description."""

    @property
    def engine(self) -> Engine:
        """The network."""


class Pass(Protocol):
    """One stretch on its way through a network."""

    @property
    def held_frames(self) -> int:
        """Frames of the network's input that are in memory."""

    def feed(self, x: Float32Array) -> Float32Array:
        """Take the next frames ``(n, C)``; score and logits ``(k, 1 + K)`` of the next that are final."""

    def close(self) -> Float32Array:
        """The rest ``(k, 1 + K)``: no frame of the stretch follows."""


def new_pass(model: ScoringModel, *, chunk_frames: int, batch_size: int) -> Pass:
    """The pass that a model is made for."""
    if model.info.scoring.mode == "whole":
        return WholePass(model, chunk_frames=chunk_frames)
    return WindowPass(model, batch_size=batch_size)


def pass_delay(model: ScoringModel, *, chunk_frames: int, batch_size: int) -> int:
    """Most frames of the network that must follow a frame before its result comes out."""
    scoring = model.info.scoring
    if scoring.mode == "whole":
        return scoring.lag + model.engine.look_ahead + chunk_frames - 1
    return scoring.window - 1 + (batch_size - 1) * scoring.hop


class WholePass:
    """One pass with carried state, chunk by chunk.

    The network may answer late: what it says at frame ``t + lag`` is the result of frame ``t``.  At the end
    the last frame is repeated as often, to hear the last answers.

    Parameters
    ----------
    model : ScoringModel
        Network and its lag.
    chunk_frames : int
        Frames that are scored together: does not change the result.
    """

    def __init__(self, model: ScoringModel, *, chunk_frames: int) -> None:
        self._engine = model.engine
        self._lag = model.info.scoring.lag
        self._chunk_frames = chunk_frames
        self._waiting = _no_input(model.info)
        self._last = self._waiting
        self._too_early = self._lag  # answers still to come before that of the first frame
        self._state: Any = None
        self._nothing = _no_result(model.info)

    @property
    def held_frames(self) -> int:
        """Frames of the network's input that are in memory."""
        return len(self._waiting)

    def feed(self, x: Float32Array) -> Float32Array:
        """Take the next frames ``(n, C)``; score and logits ``(k, 1 + K)`` of the next that are final."""
        if not len(x):
            return self._nothing
        self._last = x[-1:].copy()
        x = np.concatenate([self._waiting, x])
        ready = len(x) - len(x) % self._chunk_frames
        self._waiting = x[ready:].copy()
        return self._scored(x[:ready], last=False)

    def close(self) -> Float32Array:
        """The rest ``(k, 1 + K)``: no frame of the stretch follows."""
        return self._scored(np.concatenate([self._waiting, np.repeat(self._last, self._lag, axis=0)]), last=True)

    def _scored(self, x: Float32Array, *, last: bool) -> Float32Array:
        """Score all of ``x`` chunk by chunk; the last chunk may be a short one, or empty."""
        columns = [self._nothing]
        starts = range(0, max(len(x), 1) if last else len(x), self._chunk_frames)
        for start in starts:
            chunk = np.ascontiguousarray(x[None, start : start + self._chunk_frames])
            score, logits, self._state = self._engine.advance(chunk, self._state, last=last and start == starts[-1])
            columns.append(_columns(score[0], logits[0]))
        result = np.concatenate(columns)
        early = min(self._too_early, len(result))
        self._too_early -= early
        return result[early:]


class WindowPass:
    """Windows, each from a fresh state, as the released networks were trained.

    A window starts every ``hop`` frames, as published.  Each frame gets its result from the first window
    that covers it: the first window gives all its frames, each next one its last ``hop`` (its second half
    as published).  The published code drops the frames after the last whole window; here one more window
    is shifted back so that it ends with the last frame, unless the model wants them dropped.  A stretch shorter
    than a window is one short window, or then none.  A rerun of the published test joins the authors' windows as
    their program does, where later ones win: :func:`metst.reproduction.protocol.stitch_windows`.

    Parameters
    ----------
    model : ScoringModel
        Network, window, hop and reference.
    batch_size : int
        Windows that are scored together: does not change the result.
    """

    def __init__(self, model: ScoringModel, *, batch_size: int) -> None:
        self._engine = model.engine
        self._window, self._hop = model.info.scoring.window, model.info.scoring.hop
        self._remainder = model.info.scoring.remainder == "scored"
        self._relative = model.info.input.reference == "window"
        self._batch_size = batch_size
        self._held = _no_input(model.info)
        self._first = 0  # frame of the stretch that `_held` starts with
        self._next = 0  # start of the next window
        self._covered = 0  # frames that have their result
        self._nothing = _no_result(model.info)

    @property
    def held_frames(self) -> int:
        """Frames of the network's input that are in memory."""
        return len(self._held)

    def feed(self, x: Float32Array) -> Float32Array:
        """Take the next frames ``(n, C)``; score and logits ``(k, 1 + K)`` of the next that are final."""
        self._held = np.concatenate([self._held, x])
        columns = [self._nothing]
        while self._complete() >= self._batch_size:
            columns.append(self._scored(self._next_windows(self._batch_size)))
        # The window that is shifted back starts behind the last one at the earliest.
        forgotten = self._next - self._hop - self._first
        if forgotten > 0:
            self._held, self._first = self._held[forgotten:].copy(), self._first + forgotten
        return np.concatenate(columns)

    def close(self) -> Float32Array:
        """The rest ``(k, 1 + K)``: no frame of the stretch follows."""
        starts, length = self._next_windows(self._complete()), self._first + len(self._held)
        if self._remainder and (not starts or starts[-1] + self._window < length):
            starts = [*starts, max(length - self._window, 0)]
        return self._scored(starts) if starts and self._covered < length else self._nothing

    def _complete(self) -> int:
        """Windows that can be scored now."""
        beyond = self._first + len(self._held) - self._window - self._next
        return beyond // self._hop + 1 if beyond >= 0 else 0

    def _next_windows(self, count: int) -> list[int]:
        starts = [self._next + i * self._hop for i in range(count)]
        self._next += count * self._hop
        return starts

    def _scored(self, starts: list[int]) -> Float32Array:
        frames = min(self._window, len(self._held))
        x = np.stack([self._held[start - self._first :][:frames] for start in starts])
        score, logits = self._engine(x - x[:, :1] if self._relative else x)
        columns = []
        for start, *result in zip(starts, score, logits, strict=True):
            columns.append(_columns(*result)[self._covered - start :])
            self._covered = start + frames
        return np.concatenate(columns)


def rows_of_windows(frames: int, *, scoring: ScoringSettings) -> int:
    """Frames of a stretch that whole windows cover, from its first on."""
    return scoring.window + (frames - scoring.window) // scoring.hop * scoring.hop if frames >= scoring.window else 0


def _columns(score: Float32Array, logits: Float32Array) -> Float32Array:
    return np.concatenate([score[:, None], logits], axis=1)


def _no_input(info: ModelInfo) -> Float32Array:
    return np.zeros((0, info.network.in_channels), dtype=np.float32)


def _no_result(info: ModelInfo) -> Float32Array:
    return np.zeros((0, 1 + len(info.classes)), dtype=np.float32)
