"""Numbers as people read them."""

from __future__ import annotations

import math

from metst.timeline import MINUTE_S

_HOUR_MIN = 60  # minutes of an hour


def clock(time_s: float, *, decimals: int = 0) -> str:
    """Seconds as m:ss or h:mm:ss; with a minus before them where a recording starts before zero."""
    unit = 10**decimals
    rounded = round(time_s * unit)
    if rounded < 0:
        return f"-{clock(-time_s, decimals=decimals)}"
    whole, part = divmod(rounded, unit)
    minutes, seconds = divmod(whole, MINUTE_S)
    hours, minutes = divmod(minutes, _HOUR_MIN)
    ending = f"{seconds:02d}" + (f".{part:0{decimals}d}" if decimals else "")
    return f"{hours}:{minutes:02d}:{ending}" if hours else f"{minutes}:{ending}"


def length_in_words(duration_s: float) -> str:
    """Length of a recording."""
    if duration_s < MINUTE_S:
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), MINUTE_S)
    return f"{minutes} min {seconds} s"


def direction(x: float, y: float) -> tuple[str, str]:
    """Arrow and words for a displacement, x to the right and y down."""
    turn = round(math.atan2(-y, x) / (2 * math.pi / len(_DIRECTIONS))) % len(_DIRECTIONS)
    return _DIRECTIONS[turn]


# Arrow and words, from the right on against the clock, in equal steps.
_DIRECTIONS = (
    ("→", "to the right"),
    ("↗", "up and to the right"),
    ("↑", "up"),
    ("↖", "up and to the left"),
    ("←", "to the left"),
    ("↙", "down and to the left"),
    ("↓", "down"),
    ("↘", "down and to the right"),
)
