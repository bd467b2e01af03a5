"""Whether a recording is long enough, and its rate such, that motion can be measured; and what rate it really has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metst.arrays import Float64Array
from metst.errors import VideoError
from metst.timeline import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, TIMESTAMP_SLACK_S, TimeGrid

SHORTEST_S = 0.2
"""Length of a recording under which no movement has an onset, an apex and an offset, seconds; set by hand."""
_ROUNDED = 0.999  # share of a length or a rate that is enough, as containers round their timestamps; set by hand


def check_measurable(grid: TimeGrid, *, name: str) -> None:
    """Refuse a recording that is too short, or too slow or too fast, for its movements to be measured.

    Parameters
    ----------
    grid : TimeGrid
        Timestamps of the frames that were decoded.
    name : str
        What the recording is called, for the message.

    Raises
    ------
    VideoError
        Fewer than two frames, less than :data:`SHORTEST_S` seconds, or a median rate outside 5 to
        1000 frames per second.
    """
    if len(grid) < 2 or grid.duration_s < SHORTEST_S * _ROUNDED:
        length = f"{len(grid)} frame(s), {grid.duration_s:.3f} s"
        raise VideoError(f"{name} is too short to measure motion: {length}; give at least {SHORTEST_S} s")
    rate_hz = 1 / grid.frame_s
    if not LOWEST_RATE_HZ * _ROUNDED <= rate_hz <= HIGHEST_RATE_HZ / _ROUNDED:
        expected = f"{LOWEST_RATE_HZ:g} to {HIGHEST_RATE_HZ:g} frames per second"
        raise VideoError(f"{name} has {rate_hz:.4g} frames per second: motion can be measured at {expected}")


# Set by hand.
_EVEN = 1e-6  # share of a step by which the steps of an even recording differ
_SHORT_STEPS = 0.1  # quantile of the steps: a recording that lost nine of ten frames is not one any more
_NEAR, _LATTICE = 0.2, 0.95  # of a frame from a whole number of frames; share of steps that lie so
_SINGLE = 0.4  # share of steps of one frame, at least: of a recording that lost more nobody knows what it was
_TURNS = 0.5  # of the number of longer steps, how often at least steps change in length: losses are scattered
_LONGEST_LOSS_S = 0.5  # a longer step is a pause
_TOLERATED_LOSS = 0.02  # share of frames
_ROUNDED_S = TIMESTAMP_SLACK_S * 1e-3  # from a whole millisecond, of timestamps that were rounded to one
_COARSE_S = 4.5 * TIMESTAMP_SLACK_S  # of a frame: of shorter ones rounding hides how many a step has


@dataclass(frozen=True)
class _Rate:
    """Frames per second, frames lost, and whether the recorder itself left out frames as it liked."""

    hz: float
    lost: int = 0
    varies: bool = False


def _rate(grid: TimeGrid) -> _Rate:
    median_hz = 1 / grid.frame_s if grid.frame_s else 0.0
    steps = np.diff(grid.time_s)
    steps = steps[steps <= _LONGEST_LOSS_S]
    if steps.size < 2 or np.ptp(steps) <= _EVEN * grid.frame_s:
        return _Rate(median_hz)
    ticks = grid.time_s / TIMESTAMP_SLACK_S
    rounded = bool((np.abs(ticks - np.rint(ticks)) * TIMESTAMP_SLACK_S <= _ROUNDED_S).all())
    if rounded and grid.frame_s < _COARSE_S:
        return _rate_of_rounded(steps)
    frame_s = float(np.quantile(steps, _SHORT_STEPS))
    for _ in range(2):  # containers round timestamps: all steps together tell the frame better than one
        count = np.maximum(np.rint(steps / frame_s), 1)
        frame_s = float(steps.sum() / count.sum())
    if (np.abs(steps / frame_s - count) <= _NEAR).mean() < _LATTICE:
        return _Rate(median_hz)
    longer, lost = int((count > 1).sum()), int(count.sum()) - steps.size
    scattered = longer <= (1 - _SINGLE) * count.size and np.count_nonzero(np.diff(count)) >= _TURNS * longer
    if not scattered and lost > _TOLERATED_LOSS * count.sum():
        # One that leaves out every second picture all the time simply has half the rate.
        return _Rate(median_hz, varies=longer < count.size)
    return _Rate(1 / frame_s, lost)


def _rate_of_rounded(steps: Float64Array) -> _Rate:
    """Of steps that rounding makes one tick shorter or longer: only one that it cannot explain is a loss."""
    usual = steps[steps <= np.median(steps) + 1.5 * TIMESTAMP_SLACK_S]
    frame_s = float(usual.mean())
    gaps = steps[steps >= frame_s + 2 * TIMESTAMP_SLACK_S]
    return _Rate(1 / frame_s, int((np.maximum(np.rint(gaps / frame_s), 1) - 1).sum()))


def rate_and_loss(grid: TimeGrid) -> tuple[float, int]:
    """Frames per second that the camera took, and how many of them the recording has lost.

    Steps between timestamps that are whole multiples of a frame are losses, where most are single frames and the
    longer ones scattered; where steps vary in another way, nothing is lost and the median step tells the rate.  Of
    timestamps in milliseconds, as Matroska has them, all steps together tell the rate, also above 200 frames per
    second, where only what rounding cannot explain is a loss.

    Parameters
    ----------
    grid : TimeGrid
        Timestamps of the frames that were decoded.

    Returns
    -------
    rate_hz : float
        0 for fewer than two frames.
    lost : int
        Frames, apart from pauses of more than half a second.
    """
    rate = _rate(grid)
    return rate.hz, rate.lost


def loss_problem(grid: TimeGrid, *, name: str) -> str | None:
    """One line when more than an odd frame of a recording is missing, or its rate varies, by its timestamps."""
    rate = _rate(grid)
    taken = len(grid) + rate.lost
    if rate.varies:
        return (
            f"{name} has a variable frame rate, by its timestamps, as of a screen recorder that leaves out what has "
            "not changed, or of a camera in the dark; whether frames are missing cannot be told"
        )
    if rate.lost <= _TOLERATED_LOSS * taken:
        return None
    return (
        f"{name}: {rate.lost} of {taken} frames are missing, by their timestamps: the camera took {rate.hz:.4g} a "
        f"second, the recording holds {rate.hz * len(grid) / taken:.4g}; fast movements may look different from what "
        "they are"
    )
