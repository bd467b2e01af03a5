"""Whether a recording is long enough, and its rate such, that motion can be measured."""

from __future__ import annotations

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
