"""Stage 4, from ROI motion to per-frame scores: the only place that windows, chunks or streams.

:class:`ScoreStream` takes a video piece by piece, and :func:`score_motion` is the same code fed with all of it, for
some models a second time from its end.
The way of one stretch with a face: its motion, on the timestamps of the video, is averaged onto the uniform
grid of the network (``signal``), the network scores it, in one pass with carried state or in windows
(``passes``), and the scores go back to the frames of the video (``score_stream``).  A lost face is a gap: the next
stretch starts afresh.

Arrays have time first: motion ``(T, C)``, scores ``(T,)``, logits ``(T, K)``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from metst.arrays import Float32Array, OnProgress
from metst.config import DecodeSettings
from metst.decode import EventStream, decode_published, decode_scores, score_channels
from metst.decode.odds import pooled_probability, pooled_shares
from metst.errors import UsageError
from metst.inference.passes import Engine, ScoringModel, rows_of_windows
from metst.inference.score_stream import Delay, ScoreStream, check_motion
from metst.inference.signal import QualityHold, network_input, resample, uniform_grid
from metst.timeline import Intervals, Series, join_series

__all__ = [
    "Delay",
    "Engine",
    "QualityHold",
    "ScoreStream",
    "ScoringModel",
    "decode_events",
    "event_stream",
    "network_input",
    "network_scores",
    "resample",
    "score_motion",
]


def score_motion(
    motion: Series,
    *,
    model: ScoringModel,
    quality: Float32Array | None = None,
    batch_size: int = 64,
    chunk_frames: int = 2048,
    on_progress: OnProgress | None = None,
) -> Series:
    """Score a whole video, as :class:`ScoreStream` does piece by piece; also backwards, for a model that wants it.

    A network that looks back in time knows little at the onset of a movement and much at its end.  Played
    backwards, with the same weights, it is the other way round: both must agree.

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
        Frames that are scored together; does not change the result.
    on_progress : callable, optional
        Called as ``on_progress("score", done, total)`` with frames of the video, those of both directions.

    Returns
    -------
    Series
        ``(T, 1 + K)`` on the frames of the video: ``spot_score`` in [0, 1] and one ``p_<class>``
        per class of the model, neutral included, which add up to 1.

    Raises
    ------
    DataError
        When the motion has not 18 regions, is not finite where it is valid, or the quality has another shape.
    """
    check_motion(motion, quality=quality)
    both = model.info.scoring.directions == "both"
    length = len(motion)

    def feed_all(motion: Series, quality: Float32Array | None, *, before: int) -> Series:
        stream = ScoreStream(model, chunk_frames=chunk_frames, batch_size=batch_size)
        rows: list[Series] = []
        for start in range(0, max(length, 1), chunk_frames):
            piece = slice(start, start + chunk_frames)
            rows.append(stream.feed(motion.part(piece), quality=None if quality is None else quality[piece]))
            if on_progress is not None:
                on_progress("score", before + min(piece.stop, length), (1 + both) * length)
        return join_series([*rows, stream.close()])

    forwards = feed_all(motion, quality, before=0)
    if not both:
        return forwards
    backwards = feed_all(motion.reversed(), None if quality is None else quality[::-1], before=length)
    return _pooled(forwards, backwards.reversed(), pooling=model.info.scoring.pooling)


def _pooled(one: Series, other: Series, *, pooling: Literal["lower", "mean"]) -> Series:
    """Scores of both directions as one: what only one of them could score is a gap.

    A movement that does not come back looks like the start of a micro-expression from one side only.  The lower score
    lets none of those through.  A network that has learnt from people is seldom deceived by them, and its mean finds
    more: docs/models.md has the figures.
    """
    valid = one.valid & other.valid
    values = np.full_like(one.values, np.nan)
    pool = np.minimum if pooling == "lower" else pooled_probability
    values[valid, 0] = pool(one.values[valid, 0], other.values[valid, 0])
    values[valid, 1:] = pooled_shares(one.values[valid, 1:], other.values[valid, 1:])
    return replace(one, values=values, valid=valid)


def event_stream(model: ScoringModel) -> EventStream:
    """Stage 5 for the scores of a model that come piece by piece.

    Raises
    ------
    UsageError
        When the model is decoded with a published rule.
    """
    settings = model.info.decode_live
    if isinstance(settings, DecodeSettings):
        return EventStream(settings, channels=score_channels(model.info.classes))
    raise UsageError(
        f"model {model.info.name} is decoded by the published {settings.rule} rule, whose threshold depends on the"
        " whole video: analyze a recording with it, or take a model with this product's own rule for live use"
    )


def network_scores(scores: Series, *, model: ScoringModel) -> Series:
    """Scores of a video at the frames of the network: of the video's frames nearest to those.

    A model that drops what is left behind the last window has no scores there: the series ends before.

    Parameters
    ----------
    scores : Series
        What :func:`score_motion` returns.
    model : ScoringModel
        The checkpoint the scores come from.
    """
    grid = uniform_grid(scores.grid, rate_hz=model.info.input.rate_hz)
    nearest = scores.grid.frame_at(grid.time_s)
    sampled = Series(grid, scores.values[nearest], scores.valid[nearest], scores.channels)
    if model.info.scoring.remainder == "scored":
        return sampled
    scored = np.flatnonzero(sampled.valid)
    rows = int(scored[-1]) + 1 if len(scored) else 0
    if model.info.input.gaps == "still":
        # One stretch: its windows are known.  A frame of a slow video may be the nearest to a row behind them, too.
        rows = min(rows, rows_of_windows(len(grid), scoring=model.info.scoring))
    return sampled.part(slice(0, rows))


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
    sampled = network_scores(scores, model=model)
    nearest = scores.grid.frame_at(sampled.grid.time_s)
    events = decode_published(
        sampled, k_p=settings.k_p, rule=settings.rule, strategy=settings.strategy, classes=model.info.classes
    )
    return replace(
        events,
        onset=nearest[events.onset],
        apex=nearest[events.apex],
        offset=nearest[events.offset - 1] + 1,
    )
