"""Single pictures of a video file, found by going to a key frame near each."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

import av
from av.container import InputContainer

from metst.arrays import UInt8Array
from metst.video.clock import ignore
from metst.video.decoder import (
    UNKNOWN_RATE_HZ,
    decode,
    has_timestamps,
    make_clock,
    mean_rate_hz,
    nothing_decoded,
    open_video,
    stores_decoding_times,
)
from metst.video.pixels import Converter

_T = TypeVar("_T")  # what stands for a picture

# Set by hand.
_SEEK_LEADS_S = (0.2, 2.0, 10.0)  # before a picture, where decoding starts: tried in this order
_WORTH_A_SEEK_S = 1.0  # between two pictures, less is decoded through
_FRAME_FOUND = 0.51  # of a frame: one lies no farther from any time, but for rounding


def _groups(times_s: Sequence[float], *, key_times_s: Sequence[float]) -> Iterator[list[float]]:
    """Split sorted times where going to a key frame saves decoding what lies between two of them."""
    group: list[float] = []
    for time_s in times_s:
        if group and time_s - group[-1] > _WORTH_A_SEEK_S:
            key = bisect_left(key_times_s, group[-1])
            if not key_times_s or (key < len(key_times_s) and key_times_s[key] <= time_s - _SEEK_LEADS_S[0]):
                yield group
                group = []
        group.append(time_s)
    if group:
        yield group


def _nearest(frames: Iterable[tuple[float, _T]], wanted: Sequence[float]) -> Iterator[tuple[float, float, _T]]:
    """For each of the sorted times: itself, time and picture of the nearest frame (the earlier of two)."""
    pending = deque(wanted)
    before: tuple[float, _T] | None = None
    for time_s, frame in frames:
        while pending and pending[0] <= time_s:
            target = pending.popleft()
            yield target, *(before if before and target - before[0] <= time_s - target else (time_s, frame))
        if not pending:
            return
        before = (time_s, frame)
    if before:
        yield from ((target, *before) for target in pending)


def pictures_at(path: Path, groups: Iterable[Sequence[float]], *, rate_hz: float | None) -> Iterator[list[UInt8Array]]:
    """Of each group of times, frames of a file nearest to them, ``(H, W, 3)`` RGB, in the order of the times."""
    keys_s = key_times(path)
    for times_s in groups:
        pictures: dict[float, UInt8Array] = {}
        for close in _groups(sorted(set(times_s)), key_times_s=keys_s):
            pictures |= _pictures_near(path, close, rate_hz=rate_hz)
        yield [pictures[time_s] for time_s in times_s]


def key_times(path: Path) -> list[float]:
    """Times of the key frames in a file's index, sorted, seconds; none where it has no index."""
    with open_video(path, threads=1) as (_, stream):
        tick = float(stream.time_base or 0)
        return sorted(entry.timestamp * tick for entry in stream.index_entries if entry.is_keyframe)


def _pictures_near(path: Path, wanted: Sequence[float], *, rate_hz: float | None) -> dict[float, UInt8Array]:
    """Pictures nearest to a few close times, decoded from a key frame well before the first.

    An earlier start is tried, at last the beginning of the file, when decoding did not begin
    before the first time or no frame is where one was asked for.
    """
    to_array = Converter(colour=True)
    for lead_s in (*_SEEK_LEADS_S, math.inf):
        with open_video(path, threads=None) as (container, stream):
            clock = make_clock(path, container, stream, rate_hz=rate_hz, report=ignore)
            if math.isfinite(lead_s) and not seek_to(container, stream, wanted[0] - lead_s):
                continue
            # Where only times of decoding are stored, frames left out would spoil them.
            skip = math.isfinite(lead_s) and not stores_decoding_times(container)
            decoded = decode(container, stream, clock=clock, report=ignore, wanted=wanted if skip else None)
            frames = ((time_s, frame) for _, time_s, frame in decoded)
            first = next(frames, None)
            if first is None or (math.isfinite(lead_s) and first[0] > wanted[0] - lead_s / 2):
                continue
            near = list(_nearest(chain([first], frames), wanted))
            slack_s = _FRAME_FOUND / (mean_rate_hz(stream) or UNKNOWN_RATE_HZ)
            if math.isinf(lead_s) or all(abs(time_s - target) <= slack_s for target, time_s, _ in near):
                return {target: to_array(frame) for target, _, frame in near}
    raise nothing_decoded(path)


def seek_to(container: InputContainer, stream: av.VideoStream, time_s: float) -> bool:
    """Go to the key frame before a time; false where that is the beginning or cannot be found."""
    if not has_timestamps(container) or not stream.time_base:
        return False
    if stores_decoding_times(container) and stream.codec_context.has_b_frames:
        return False  # only from the beginning are times of decoding and of frames in step
    ticks = math.floor(time_s / stream.time_base)
    if ticks <= (stream.start_time or 0):
        return False
    try:
        container.seek(ticks, stream=stream)
    except av.FFmpegError:
        return False
    return True
