"""Whether a recording is long enough, and its rate such, that motion can be measured; and what rate it really has."""

from __future__ import annotations

import numpy as np

from metst.errors import VideoError
from metst.timeline import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, TimeGrid

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
_SINGLE = 0.1  # share of steps of one frame, at least
_LONGEST_LOSS_S = 0.5  # a longer step is a pause
_TOLERATED_LOSS = 0.02  # share of frames


def rate_and_loss(grid: TimeGrid) -> tuple[float, int]:
    """Frames per second that the camera took, and how many of them the recording has lost.

    Steps between timestamps that are whole multiples of a frame are losses; where steps vary in another way,
    nothing is lost and the median step tells the rate.

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
    median_hz = 1 / grid.frame_s if grid.frame_s else 0.0
    steps = np.diff(grid.time_s)
    steps = steps[steps <= _LONGEST_LOSS_S]
    if steps.size < 2 or np.ptp(steps) <= _EVEN * grid.frame_s:
        return median_hz, 0
    frame_s = float(np.quantile(steps, _SHORT_STEPS))
    for _ in range(2):  # containers round timestamps: all steps together tell the frame better than one
        count = np.maximum(np.rint(steps / frame_s), 1)
        frame_s = float(steps.sum() / count.sum())
    near = np.abs(steps / frame_s - count) <= _NEAR
    if near.mean() < _LATTICE or (count == 1).mean() < _SINGLE:
        return median_hz, 0
    return 1 / frame_s, int(count.sum()) - steps.size


def loss_problem(grid: TimeGrid, *, name: str) -> str | None:
    """One line when more than an odd frame of a recording is missing, by its timestamps; else ``None``."""
    rate_hz, lost = rate_and_loss(grid)
    taken = len(grid) + lost
    if lost <= _TOLERATED_LOSS * taken:
        return None
    return (
        f"{name}: {lost} of {taken} frames are missing, by their timestamps: the camera took {rate_hz:.4g} a second, "
        f"the recording holds {rate_hz * len(grid) / taken:.4g}; fast movements may look different from what they are"
    )
