"""Frames to H.264, HEVC or MPEG-4 in mp4: exact timestamps, equal bytes for equal frames, never half a file."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import Literal, get_args

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter

from metst.arrays import UInt8Array
from metst.config import Codec
from metst.errors import OutputError, UsageError
from metst.storage import remedy, whole_file
from metst.timeline import TimeGrid

# x265 reads beyond pictures that are one of its blocks of 64 px wide, and what it writes of them is damaged.
_SIDES_PX: dict[Codec, tuple[int, int]] = {"h264": (1, 16384), "hevc": (128, 8192), "mpeg4": (1, 8190)}
# Without it swscale rounds down, and grey gets a tint.
_ROUNDED = Interpolation.BILINEAR | Interpolation.ACCURATE_RND
# Of x264 and x265, the fastest first.
_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
_COARSEST_CRF = 51  # of H.264 and HEVC
_FINEST_TICK = 1_000_000  # ticks per second where times have no common one: microseconds; set by hand
_MIN_TICKS_PER_S = 10_000  # fewer the muxer of FFmpeg would multiply by itself
_MPEG4_RATE_HZ = 25  # of its own clock, which is too coarse for exact times: the container has those
_MAX_TICKS_PER_S = 2**31 - 1  # mp4 stores the ticks per second in 32 bits


def write_video(
    path: Path | str,
    frames: Iterable[UInt8Array],
    *,
    rate_hz: float | None = None,
    times_s: Sequence[float] | None = None,
    crf: int = 18,
    preset: str = "medium",
    codec: Codec = "h264",
    key_frame_every: int | None = None,
) -> None:
    """Write frames as video (yuv420p, BT.709, video range) in mp4.

    The file appears under its name only when it is whole.  Equal frames and settings give equal
    bytes (one encoder thread, no macroblock tree).  yuv420p needs even sizes: an odd width or height grows by one,
    the last column or row repeated.

    Parameters
    ----------
    path : path
        Target; an existing file is replaced.
    frames : iterable of (H, W) or (H, W, 3) uint8
        Grey or RGB, all of one shape, taken one at a time.
    rate_hz : float, optional
        Frames per second.  Either this or ``times_s``.
    times_s : sequence of float, optional
        Time of each frame in seconds, from 0 on, increasing; to the microsecond at least, and
        exact for multiples of a common tick.
    crf : int
        Quality, from 0 (lossless but for the range, H.264 only) to 51; 18 looks like the original.  MPEG-4 gets the
        quantiser whose steps are those of H.264 at this quality: from 14 to 39, its finest and coarsest beyond.
    preset : str
        The encoder's trade of time for size, from ``ultrafast`` to ``veryslow``; not for MPEG-4.
    codec : {"h264", "hevc", "mpeg4"}
        How the pictures are compressed.
    key_frame_every : int, optional
        Frames from one that needs no other to the next, at most; the encoder's choice when absent.

    Raises
    ------
    UsageError
        Settings that clash, no frame at all, frames of other shapes, not as many as times.
    DataError
        Times that do not increase.
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    tick, stamps = _timing(rate_hz, times_s)
    _check_options(crf, preset, codec)
    frames = iter(frames)
    if (first := next(frames, None)) is None:
        raise UsageError(f"no frames to write to {path}")
    _check_picture(first, first.shape)
    _check_size(first.shape[1], first.shape[0], codec=codec)
    with whole_file(path) as partial, _container(partial, path=path, tick=tick) as container:
        stream = _add_stream(container, first.shape, tick=tick, crf=crf, preset=preset, codec=codec)
        if key_frame_every is not None:
            stream.gop_size = key_frame_every
        _encode(container, stream, chain([first], frames), tick=tick, stamps=stamps, path=path)


def _check_size(width: int, height: int, *, codec: Codec) -> None:
    low, high = _SIDES_PX[codec]
    if not low <= min(width, height) <= max(width, height) <= high:
        what = f"pictures of {width}x{height} px cannot be written as {codec}"
        raise UsageError(f"{what}: width and height must lie between {low} and {high} px")


@contextlib.contextmanager
def _container(partial: Path, *, path: Path, tick: Fraction) -> Iterator[OutputContainer]:
    """An mp4 file to write to, complete at the end."""
    with _errors_of(path):
        container = av.open(f"file:{partial}", "w", format="mp4", options=_container_options(tick))
    try:
        yield container
        with _errors_of(path):
            container.close()
    finally:
        # After a failure the trailer fails once more; the first error is the one to tell.
        with contextlib.suppress(OSError, av.FFmpegError):
            container.close()


@contextlib.contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Turn an error of writing, and of nothing else, into one line."""
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        raise OutputError(f"cannot write {path}: {remedy(error)}") from error


def _timing(rate_hz: float | None, times_s: Sequence[float] | None) -> tuple[Fraction, list[int] | None]:
    """Seconds per tick, and the ticks of each frame (``None``: one tick from frame to frame)."""
    if (rate_hz is None) == (times_s is None):
        raise UsageError("give either the frame rate or the times of the frames")
    if rate_hz is not None:
        # NTSC rates are multiples of 1/1001; the decimals others would give are exact as well.
        rate = Fraction(rate_hz).limit_denominator(1001) if math.isfinite(rate_hz) else Fraction(0)
        if rate <= 0:
            raise UsageError(f"the frame rate must be a positive number of frames per second, got {rate_hz}")
        return 1 / rate, None
    times = TimeGrid(np.asarray(times_s, dtype=np.float64)).time_s.tolist()
    if times and times[0] < 0:
        raise UsageError(f"times must start at 0 s or later, got {times[0]} s")
    exact = [Fraction(time_s).limit_denominator(_FINEST_TICK) for time_s in times]
    ticks_per_s = math.lcm(*(time.denominator for time in exact))
    if ticks_per_s > _MAX_TICKS_PER_S:
        ticks_per_s = _FINEST_TICK
    ticks_per_s *= -(-_MIN_TICKS_PER_S // ticks_per_s)
    stamps = [round(time * ticks_per_s) for time in exact]
    if any(later <= earlier for earlier, later in pairwise(stamps)):
        raise UsageError("times must be at least a microsecond apart")
    return Fraction(1, ticks_per_s), stamps


def _check_options(crf: int, preset: str, codec: str) -> None:
    if not 0 <= crf <= _COARSEST_CRF:
        raise UsageError(f"crf must lie between 0 and {_COARSEST_CRF}, got {crf}")
    if preset not in _PRESETS:
        raise UsageError(f"expected one of the presets {', '.join(_PRESETS)}; got {preset}")
    if codec not in get_args(Codec):
        raise UsageError(f"expected one of the codecs {', '.join(get_args(Codec))}; got {codec}")


def _container_options(tick: Fraction) -> dict[str, str]:
    # A start later than 0 s is stored in ticks of the movie, which by default are 1 ms.
    return {"movflags": "faststart", "movie_timescale": str(max(tick.denominator, 1000))}


def _check_picture(picture: UInt8Array, expected: tuple[int, ...]) -> None:
    shape = picture.shape
    usable = picture.dtype == np.uint8 and picture.size > 0 and (len(shape) == 2 or shape[2:] == (3,))
    if not usable or shape != expected:
        after = f" after {expected}" if shape != expected else ""
        raise UsageError(
            f"expected frames of one shape, (H, W) or (H, W, 3), in uint8; got {shape} {picture.dtype}{after}"
        )


def _add_stream(
    container: OutputContainer, shape: tuple[int, ...], *, tick: Fraction, crf: int, preset: str, codec: Codec
) -> av.VideoStream:
    encoder, options = _encoder(codec, crf=crf, preset=preset)
    stream = container.add_stream(encoder, rate=1 / tick, options=options)
    stream.height, stream.width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
    stream.pix_fmt = "yuv420p"
    stream.thread_count = 1
    context = stream.codec_context
    context.time_base = Fraction(1, _MPEG4_RATE_HZ) if codec == "mpeg4" else tick
    stream.time_base = tick
    if codec == "hevc":
        context.codec_tag = "hvc1"  # the name that players of Apple know
    context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.ITU709
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream


def _encoder(codec: Codec, *, crf: int, preset: str) -> tuple[Literal["libx264", "libx265", "mpeg4"], dict[str, str]]:
    """FFmpeg's name of the encoder, and its options."""
    if codec == "h264":
        # x264's macroblock tree reads memory it has not set, so that its choices differ from run to run.
        return "libx264", {"crf": str(crf), "preset": preset, "mbtree": "0"}
    if codec == "hevc":
        # What x265 tells of itself in the file names the processor.
        alike = "log-level=error:info=0:pools=none:frame-threads=1"
        return "libx265", {"crf": str(crf), "preset": preset, "x265-params": alike}
    # A step of H.264 doubles every six qualities and is 1 at 4; one of MPEG-4 is twice its quantiser, 1 to 31.
    quantiser = str(min(max(round(2 ** ((crf - 4) / 6) / 2), 1), 31))
    return "mpeg4", {"qmin": quantiser, "qmax": quantiser}


def _encode(
    container: OutputContainer,
    stream: av.VideoStream,
    frames: Iterable[UInt8Array],
    *,
    tick: Fraction,
    stamps: Sequence[int] | None,
    path: Path,
) -> None:
    reformatter = VideoReformatter()
    shape: tuple[int, ...] | None = None
    count = 0
    for count, picture in enumerate(frames, start=1):
        shape = shape or picture.shape
        _check_picture(picture, shape)
        if stamps is not None and count > len(stamps):
            raise UsageError(f"more frames than the {len(stamps)} times given")
        frame = _to_frame(picture, reformatter)
        stamp = count - 1 if stamps is None else stamps[count - 1]
        own_clock = stream.codec_context.time_base != tick
        frame.pts, frame.time_base = (count - 1 if own_clock else stamp), stream.codec_context.time_base
        with _errors_of(path):
            for packet in stream.encode(frame):
                if own_clock:  # without frames that look ahead, packets come as frames do
                    packet.pts = packet.dts = stamp
                    packet.time_base = tick
                container.mux(packet)
    if stamps is not None and count < len(stamps):
        raise UsageError(f"{len(stamps)} times given for {count} frames")
    with _errors_of(path):
        container.mux(stream.encode(None))


def _to_frame(picture: UInt8Array, reformatter: VideoReformatter) -> av.VideoFrame:
    """Convert a grey or RGB picture, padded to even sizes, to what the encoder takes."""
    odd = [(0, size % 2) for size in picture.shape[:2]]
    padded = np.pad(picture, odd + [(0, 0)] * (picture.ndim - 2), mode="edge")
    frame = av.VideoFrame.from_ndarray(padded, format="gray" if picture.ndim == 2 else "rgb24")
    return reformatter.reformat(
        frame,
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=_ROUNDED,
        threads=1,
    )
