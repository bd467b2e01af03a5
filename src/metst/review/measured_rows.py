"""What was measured, as the page draws it: values over all frames, and stretches in which a condition holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from metst.arrays import BoolArray, Float32Array, Float64Array
from metst.results import Flags, Motion
from metst.results.flags import WORDS
from metst.review.recordings import Recording
from metst.review.refusals import NotThere
from metst.timeline import true_runs

_KINDS: Final = ("motion", "movement", "quality")
"""Of series of a region."""

_SLOW_S: Final = 4.0
"""Seconds over which the median displacement of a region is its slow drift: eight times as long as the longest
micro-expression lasts, so that nothing of one is taken off.  Set by hand."""


def series_names(recording: Recording) -> list[str]:
    """All that :func:`series_of` can give."""
    if not recording.analysed:
        return ["time_s"]
    header = recording.tables.header
    regions = [f"{kind}/{region}" for kind in _KINDS for region in header.regions]
    return ["time_s", *header.score_channels, "face_valid", *regions]


def series_of(recording: Recording, name: str) -> bytes:
    """Values over all frames, little-endian: ``time_s`` as 64-bit floats, all others as 32-bit floats, NaN in gaps.

    Parameters
    ----------
    recording : Recording
        Whose.
    name : str
        ``time_s``, ``spot_score``, ``p_<class>``, ``face_valid`` (1 or 0), ``motion/<region>`` (length of the
        displacement, face units), ``movement/<region>`` (the same without slow drift) or ``quality/<region>``.

    Raises
    ------
    NotThere
        There is no such series.
    """
    if name == "time_s":
        return recording.grid.time_s.astype("<f8").tobytes()
    names = series_names(recording)
    if name not in names:
        raise NotThere(f"no series {name!r}: expected one of {', '.join(names)}")
    if name == "face_valid":
        usable = np.array([not reason for reason in recording.tables.reason])
        return usable.astype("<f4").tobytes()
    kind, _, region = name.partition("/")
    if not region:
        return recording.tables.scores.channel(name).astype("<f4").tobytes()
    motion = recording.motion
    at = motion.displacement.channels.index(region)
    if kind == "quality":
        return motion.quality[:, at].astype("<f4").tobytes()
    xy = motion.displacement.values[:, at] if kind == "motion" else _without_drift(motion, at)
    length: Float64Array = np.hypot(*xy.T)
    return length.astype("<f4").tobytes()


def _without_drift(motion: Motion, region: int) -> Float32Array:
    """Displacement (T, 2) of a region from where it usually is at that time: the medians of some seconds, joined."""
    displacement, time_s = motion.displacement, motion.grid.time_s
    found = np.array(displacement.values[:, region])
    for run in true_runs(displacement.valid & np.isfinite(found).all(axis=1)):
        part, at_s = found[run], time_s[run]
        blocks = np.array_split(np.arange(len(part)), max(round(float(at_s[-1] - at_s[0]) / _SLOW_S), 1))
        middles = [float(at_s[block].mean()) for block in blocks]
        for axis in range(2):
            usual = [float(np.median(part[block, axis])) for block in blocks]
            part[:, axis] -= np.interp(at_s, middles, usual).astype(np.float32)
    return found


def condition_runs(words: Sequence[str]) -> list[dict[str, Any]]:
    """Stretches in which a condition holds for any region; frames count from 1, both ends included."""
    alike = {each: number for number, each in enumerate(dict.fromkeys(words))}
    numbers = np.array([alike[each] for each in words], np.int64)
    found: list[dict[str, Any]] = []
    for word in WORDS.values():
        holds = np.array([word in each.split() for each in alike], dtype=bool)[numbers] if len(numbers) else numbers > 0
        found += _runs(holds, region=None, condition=word)
    return _in_order(found)


def regional_runs(conditions: Flags, *, regions: Sequence[str]) -> list[dict[str, Any]]:
    """Stretches in which a condition (T, R) holds for each region; as :func:`condition_runs`."""
    found: list[dict[str, Any]] = []
    for at, region in enumerate(regions):
        there = int(np.bitwise_or.reduce(conditions[:, at], initial=0))
        for condition, word in WORDS.items():
            if there & condition:
                found += _runs((conditions[:, at] & condition) > 0, region=region, condition=word)
    return _in_order(found)


def _runs(holds: BoolArray, *, region: str | None, condition: str) -> list[dict[str, Any]]:
    return [
        {"first_frame": run.start + 1, "last_frame": run.stop, "region": region, "condition": condition}
        for run in true_runs(holds)
    ]


def _in_order(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(runs, key=lambda each: (each["first_frame"], each["condition"]))
