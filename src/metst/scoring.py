"""Stage 4, from ROI motion to per-frame scores: the only place that windows, chunks or streams.

The way of one stretch with a face: its motion, on the timestamps of the video, is averaged onto
the uniform grid of the network (:func:`network_input`), the network scores it, in one pass with
carried state (:func:`score_whole`) or in windows (:func:`score_windows`), and the scores go back
to the frames of the video.  A lost face is a gap: the next stretch starts afresh.

Arrays have time first: motion ``(T, C)``, scores ``(T,)``, logits ``(T, K)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter
from scipy.special import softmax

from metst.config import DecodeSettings, InputSettings, ModelInfo
from metst.decode import CLASS_PREFIX, SPOT, decode_published, decode_scores
from metst.errors import DataError
from metst.regions import AXES, REGIONS
from metst.timeline import IntArray, Intervals, Series, TimeGrid, true_runs

if TYPE_CHECKING:
    from torch import Tensor

Float32Array = npt.NDArray[np.float32]
OnProgress = Callable[[str, int, int | None], None]
OnFrames = Callable[[int], None]

# Timestamps carry rounding; a frame that is late by less than this share of a frame is on time.
_FRAME_TOLERANCE = 1e-3


class Network(Protocol):
    """What scoring asks of a network; :class:`metst.models.networks.StateTransitionNetwork` is one."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C, T)`` to scores ``(B, T)`` and logits ``(B, T, K)``."""

    def advance(
        self, x: Tensor, state: dict[str, Tensor] | None, *, last: bool
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Score the next chunk of a sequence, with what the chunk before left."""


class ScoringModel(Protocol):
    """A network and its description; :class:`metst.checkpoint.Model` is one."""

    @property
    def info(self) -> ModelInfo:
        """The description."""

    @property
    def network(self) -> Network:
        """The network in evaluation mode."""


def score_motion(
    motion: Series,
    *,
    model: ScoringModel,
    quality: Float32Array | None = None,
    batch_size: int = 64,
    chunk_frames: int = 1024,
    on_progress: OnProgress | None = None,
) -> Series:
    """Score a whole video.

    Every stretch of valid frames is scored on its own, from a fresh state.  Stretches shorter
    than ``input.min_segment_s`` are not scored.

    Parameters
    ----------
    motion : Series
        Values ``(T, 18, 2)`` in face units, gaps marked.
    model : ScoringModel
        Network and settings.
    quality : (T, 18) float32, optional
        How well each region was measured; what is under ``input.min_quality`` is held still.
    batch_size : int
        Windows that are scored together; does not change the result.
    chunk_frames : int
        Frames of the network's rate that are scored together; does not change the result.
    on_progress : callable, optional
        Called as ``on_progress("score", done, total)`` with frames of the network's rate.

    Returns
    -------
    Series
        ``(T, 1 + K)`` on the frames of the video: ``spot_score`` in [0, 1] and one ``p_<class>``
        per class of the model, neutral included, which add up to 1.

    Raises
    ------
    DataError
        When the motion has not 18 regions, or is not finite where it is valid.
    """
    if motion.values.shape[1:] != (len(REGIONS), len(AXES)):
        raise DataError(f"expected motion (T, {len(REGIONS)}, {len(AXES)}), got {motion.values.shape}")
    if not np.isfinite(motion.values[motion.valid]).all():
        raise DataError("motion has frames that are marked valid but are not finite: mark them as gaps")
    info = model.info
    if quality is not None:
        motion = hold_uncertain(motion, quality=quality, min_quality=info.input.min_quality)
    parts = [part for part in true_runs(motion.valid) if _duration_s(part, motion) >= info.input.min_segment_s]
    inputs = [network_input(_cut(motion, part), settings=info.input) for part in parts]
    done, total = 0, sum(len(x) + info.scoring.lag for x in inputs)

    def report(frames: int) -> None:
        nonlocal done
        done += frames
        if on_progress is not None:
            on_progress("score", done, total)

    values = np.full((len(motion), 1 + len(info.classes)), np.nan, dtype=np.float32)
    for part, x in zip(parts, inputs, strict=True):
        score, logits = _score_stretch(
            x.values, model=model, batch_size=batch_size, chunk_frames=chunk_frames, on_frames=report
        )
        columns = np.column_stack([score, softmax(logits, axis=1)])
        values[part] = _interpolate(columns, x.grid, onto=motion.grid.time_s[part])
    channels = (SPOT, *(CLASS_PREFIX + name for name in info.classes))
    return Series(motion.grid, values, np.asarray(np.isfinite(values).all(axis=1)), channels)


def decode_events(scores: Series, *, model: ScoringModel) -> Intervals:
    """Find the events in the scores of a video, with the rule and the parameters of the checkpoint.

    The product's rule works on the frames of the video.  A published rule counts in frames of
    the network, so it gets the scores of the video's frames nearest to those.

    Parameters
    ----------
    scores : Series
        What :func:`score_motion` returns.
    model : ScoringModel
        The checkpoint the scores come from.

    Returns
    -------
    Intervals
        In frames of the video.
    """
    settings = model.info.decode
    if isinstance(settings, DecodeSettings):
        return decode_scores(scores, settings=settings)
    grid = _uniform_grid(scores.grid, rate_hz=model.info.input.rate_hz)
    nearest = scores.grid.frame_at(grid.time_s)
    sampled = Series(grid, scores.values[nearest], scores.valid[nearest], scores.channels)
    events = decode_published(
        sampled, k_p=settings.k_p, rule=settings.rule, strategy=settings.strategy, classes=model.info.classes
    )
    return replace(
        events,
        onset=nearest[events.onset],
        apex=nearest[events.apex],
        offset=nearest[events.offset - 1] + 1,
    )


# From motion to the network's input


def hold_uncertain(motion: Series, *, quality: Float32Array, min_quality: float) -> Series:
    """Let each region stand still while it is measured badly.

    A hand, hair at the temple or a patch without texture sends a region astray.  Its steps from and to a
    frame under ``min_quality`` are left out, and later displacement goes on from where it was.

    Parameters
    ----------
    motion : Series
        ``(T, 18, 2)``.
    quality : (T, 18) float32
        In [0, 1].
    min_quality : float
        Lowest quality that is believed.

    Raises
    ------
    DataError
        When the quality has another shape than the motion.
    """
    if quality.shape != motion.values.shape[:2]:
        raise DataError(f"expected a quality for each region {motion.values.shape[:2]}, got {quality.shape}")
    trusted = quality >= min_quality
    held = motion.values.copy()
    for part in true_runs(motion.valid):
        steps = np.diff(motion.values[part].astype(np.float64), axis=0)
        steps *= (trusted[part][1:] & trusted[part][:-1])[:, :, None]
        held[part][1:] = held[part][:1] + np.cumsum(steps, axis=0)
    return replace(motion, values=held)


def network_input(motion: Series, *, settings: InputSettings) -> Series:
    """Input of a network for one stretch without a gap.

    The regions that the network reads, averaged onto its uniform grid and scaled.  With the
    reference ``"leaky"`` a displacement ``d`` becomes ``y``, ``y_t = exp(-dt / baseline_s)
    y_{t-1} + d_t - d_{t-1}``, which starts at 0 and forgets slow drift; with ``"window"`` it stays,
    and each window subtracts its first frame.

    Parameters
    ----------
    motion : Series
        ``(T, 18, 2)`` in face units, every frame valid.
    settings : InputSettings
        Rate, regions, reference and scale.

    Returns
    -------
    Series
        ``(T', C)`` with ``C`` twice the number of regions: per region x, then y.
    """
    regions = [number - 1 for number in settings.regions]
    names = tuple(f"{motion.channels[region]} {axis}" for region in regions for axis in AXES)
    chosen = Series(motion.grid, motion.values[:, regions].reshape(len(motion), -1), motion.valid, names)
    resampled = resample(chosen, rate_hz=settings.rate_hz)
    values = resampled.values
    if settings.reference == "leaky":
        kept = np.exp(-1 / (settings.rate_hz * settings.baseline_s))
        steps = np.diff(values.astype(np.float64), axis=0, prepend=values[:1])
        values = lfilter([1.0], [1.0, -kept], steps, axis=0)
    return replace(resampled, values=(settings.scale * values).astype(np.float32))


def resample(series: Series, *, rate_hz: float) -> Series:
    """Average a stretch without a gap onto a uniform grid.

    The values between two frames are taken as linear.  Each frame of the new grid is the exact
    mean over a bin around it, as wide as a frame of the slower of the two rates: every frame of
    a fast video counts, and what the grid cannot follow is damped.  At equal rates the weights
    are 1/8, 3/4, 1/8.  The bins of both ends stop at the first and last frame.

    Parameters
    ----------
    series : Series
        ``(T, ...)`` at any, also changing, rate; every frame valid.
    rate_hz : float
        Rate of the new grid, which starts at the first frame and does not go beyond the last.

    Raises
    ------
    DataError
        When there is a gap, or no frame.
    """
    if not len(series) or not series.valid.all():
        raise DataError("only a stretch of valid frames can be resampled: split the series at its gaps")
    time_s = series.grid.time_s
    grid = _uniform_grid(series.grid, rate_hz=rate_hz)
    if len(series) == 1:
        return replace(series, grid=grid)
    half = max(1 / rate_hz, series.grid.frame_s) / 2
    edges = np.clip([grid.time_s - half, grid.time_s + half], time_s[0], time_s[-1])
    before = np.clip(np.searchsorted(time_s, edges, side="right") - 1, 0, len(series) - 2)
    since = edges - time_s[before]
    flat = series.values.reshape(len(series), -1)
    means = np.empty((len(grid), flat.shape[1]), dtype=np.float32)
    for channel in range(flat.shape[1]):
        low, high = _integral(flat[:, channel].astype(np.float64), time_s, before, since)
        means[:, channel] = (high - low) / (edges[1] - edges[0])
    values = means.reshape(len(grid), *series.values.shape[1:])
    return Series(grid, values, np.ones(len(grid), dtype=np.bool_), series.channels)


# One stretch through the network


def _score_stretch(
    x: Float32Array, *, model: ScoringModel, batch_size: int, chunk_frames: int, on_frames: OnFrames
) -> tuple[Float32Array, Float32Array]:
    info = model.info
    if info.scoring.mode == "whole":
        lag = info.scoring.lag
        return score_whole(model.network, x, chunk_frames=chunk_frames, lag=lag, on_frames=on_frames)
    return score_windows(
        model.network,
        x,
        window=info.scoring.window,
        hop=info.scoring.hop,
        batch_size=batch_size,
        relative=info.input.reference == "window",
        on_frames=on_frames,
    )


def score_whole(
    network: Network, x: Float32Array, *, chunk_frames: int, lag: int = 0, on_frames: OnFrames | None = None
) -> tuple[Float32Array, Float32Array]:
    """Score a stretch in one pass with carried state, chunk by chunk.

    Parameters
    ----------
    network : Network
        In evaluation mode.
    x : (T, C) float32
        Input of the network, at least one frame.
    chunk_frames : int
        Frames scored together: bounds the memory, does not change the result.
    lag : int
        Frames by which the network answers late: what it says at frame ``t + lag`` is the score
        of frame ``t``.  The last frame is repeated as often, to hear the last answers.
    on_frames : callable, optional
        Called with the number of frames of each chunk.

    Returns
    -------
    score : (T,) float32
    logits : (T, K) float32
    """
    import torch

    x = np.concatenate([x, np.repeat(x[-1:], lag, axis=0)])
    state: dict[str, Tensor] | None = None
    scores, logits = [], []
    with torch.inference_mode():
        for start in range(0, len(x), chunk_frames):
            chunk = torch.from_numpy(np.ascontiguousarray(x[start : start + chunk_frames].T))
            score, logit, state = network.advance(chunk[None], state, last=start + chunk_frames >= len(x))
            scores.append(score[0].numpy())
            logits.append(logit[0].numpy())
            if on_frames is not None:
                on_frames(chunk.shape[1])
    return np.concatenate(scores)[lag:], np.concatenate(logits)[lag:]


def score_windows(
    network: Network,
    x: Float32Array,
    *,
    window: int,
    hop: int,
    batch_size: int,
    relative: bool = False,
    on_frames: OnFrames | None = None,
) -> tuple[Float32Array, Float32Array]:
    """Score a stretch in windows, each from a fresh state, as the released networks were trained.

    Parameters
    ----------
    network : Network
        In evaluation mode.
    x : (T, C) float32
        Input of the network, at least one frame.
    window, hop, batch_size : int
        Frames per window, frames from one to the next, windows scored together.
    relative : bool
        Subtract from each window its first frame.
    on_frames : callable, optional
        Called with the number of frames that each batch adds.

    Returns
    -------
    score : (T,) float32
    logits : (T, K) float32
    """
    import torch

    starts = window_starts(len(x), window=window, hop=hop)
    covered = np.minimum(starts + window, len(x))
    scores, logits, done = [], [], 0
    with torch.inference_mode():
        for first in range(0, len(starts), batch_size):
            batch = _windows(x, starts[first : first + batch_size], window=window)
            if relative:
                batch = batch - batch[:, :1]
            score, logit = network(torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 2, 1))))
            scores.append(score.numpy())
            logits.append(logit.numpy())
            end = int(covered[first : first + batch_size][-1])
            if on_frames is not None:
                on_frames(end - done)
            done = end
    return (
        stitch_windows(np.concatenate(scores), length=len(x), hop=hop),
        stitch_windows(np.concatenate(logits), length=len(x), hop=hop),
    )


def window_starts(length: int, *, window: int, hop: int) -> IntArray:
    """First frames of the windows that cover ``length`` frames.

    Every ``hop`` frames, as published; the published code drops the frames after the last whole
    window, here one more window is shifted back so that it ends with the last frame.  A stretch
    shorter than a window is one short window.
    """
    starts = np.arange(0, max(length - window, 0) + 1, hop)
    rest = length - window - starts[-1]
    return np.append(starts, length - window) if rest > 0 else starts


def split_windows(x: Float32Array, *, window: int, hop: int) -> Float32Array:
    """Windows ``(W, window, ...)`` of a stretch ``(T, ...)``; ``(1, T, ...)`` when it is shorter."""
    return _windows(x, window_starts(len(x), window=window, hop=hop), window=window)


def stitch_windows(windows: Float32Array, *, length: int, hop: int) -> Float32Array:
    """Join what was computed for windows ``(W, k, ...)`` to one stretch ``(length, ...)``.

    The first window gives all its ``k`` frames, each next one its last ``hop`` (its second half
    as published), and a last window that was shifted back what is still missing: each frame
    comes from the first window that covers it.
    """
    k = windows.shape[1]
    starts = window_starts(length, window=k, hop=hop)
    frames = np.arange(length)
    source = np.searchsorted(starts + k, frames, side="right")
    return np.asarray(windows[source, frames - starts[source]])


def _windows(x: Float32Array, starts: IntArray, *, window: int) -> Float32Array:
    return np.asarray(x[starts[:, None] + np.arange(min(window, len(x)))])


def _cut(series: Series, part: slice) -> Series:
    return Series(TimeGrid(series.grid.time_s[part]), series.values[part], series.valid[part], series.channels)


def _duration_s(part: slice, series: Series) -> float:
    """From the start of a stretch's first frame to the end of its last."""
    time_s = series.grid.time_s[part]
    return float(time_s[-1] - time_s[0]) + series.grid.frame_s


def _uniform_grid(grid: TimeGrid, *, rate_hz: float) -> TimeGrid:
    """Uniform grid from the first frame to at most the last."""
    steps = (grid.time_s[-1] - grid.time_s[0]) * rate_hz
    return TimeGrid.uniform(int(steps + _FRAME_TOLERANCE) + 1, rate_hz=rate_hz, start_s=float(grid.time_s[0]))


def _integral(
    value: npt.NDArray[np.float64], time_s: npt.NDArray[np.float64], before: IntArray, since: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Integral of a piecewise linear signal from its start to ``since`` seconds after knot ``before``."""
    step_s = np.diff(time_s)
    total = np.concatenate([[0.0], np.cumsum((value[1:] + value[:-1]) / 2 * step_s)])
    slope = np.diff(value) / step_s
    return np.asarray(total[before] + since * (value[before] + since / 2 * slope[before]))


def _interpolate(columns: Float32Array, grid: TimeGrid, *, onto: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Columns ``(T', n)`` of a grid at other times, linear in between and constant beyond the ends."""
    return np.column_stack([np.interp(onto, grid.time_s, column) for column in columns.T])
