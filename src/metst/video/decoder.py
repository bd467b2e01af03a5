"""Video files through FFmpeg: frames in order, in grey or colour, upright, as far as they decode."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.format import Flags as FormatFlags
from av.stream import Disposition

from metst.arrays import UInt8Array
from metst.errors import VideoError
from metst.threads import thread_limit
from metst.video.clock import Clock, Report, Source, ignore, needed_rate
from metst.video.index import with_index_times
from metst.video.pixels import Converter

Picture = tuple[int, float, UInt8Array]

# Where no origin is named, a number was set by hand.
_READ_ATTEMPTS = 10  # parts of a file that cannot be read, until the rest is given up
_MOST_THREADS = 4  # more would only hold more frames: what comes after decoding takes longer
_ALL_FRAMES_S = 0.5  # within it of a picture that is wanted, nothing is skipped
UNKNOWN_RATE_HZ = 25.0  # only spaces frames whose own timestamps are missing or wrong
_VARIES = 0.02  # share by which mean and base rate of a variable rate differ
_OTHER_RATE = 0.01  # share by which a given rate differs from the header's, to be worth a word
_MOST_UNTIMED = 1000  # frames without a timestamp at the start, after which none is expected any more
_MISSING_S, _MISSING_FRAMES = 0.2, 3  # at the end, to be worth a word: more than both
_MISCOUNTED_FRAMES = 1.5  # fewer than an AVI header says, to be worth a word
# Words in a file that are no UTF-8 stop nothing: PyAV 18 has to be told so, and 19 knows no such argument.
_REPLACED: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
# Formats that FFmpeg "plays" although they are no video: text drawn as a terminal screen.
_TEXT_FORMATS = frozenset({"tty", "bin", "xbin", "adf", "idf"})


@dataclass(frozen=True)
class VideoInfo:
    """What a source says of itself before it is decoded; ``None`` where it says nothing.

    Parameters
    ----------
    path : Path
        The file or folder.
    width, height : int
        Pixels of the upright picture.
    frame_count : int or None
        The container's figure, else duration times rate; for a folder, gaps counted.
    duration_s : float or None
        Seconds.
    rate_hz : float or None
        Mean frames per second.
    codec : str
        FFmpeg's name of the codec; ``"images"`` for a folder.
    variable_rate : bool or None
        Whether the mean rate and the base rate in the header disagree.
    """

    path: Path
    width: int
    height: int
    frame_count: int | None
    duration_s: float | None
    rate_hz: float | None
    codec: str
    variable_rate: bool | None


def probe_stream(path: Path, *, rate_hz: float | None) -> VideoInfo:
    """Describe a video file; its first frame is decoded to know its size and that it can be."""
    with closing(stream_pictures(path, colour=False, rate_hz=rate_hz, report=ignore, threads=1)) as pictures:
        if (first := next(pictures, None)) is None:
            raise nothing_decoded(path)
    height, width = first[2].shape
    with open_video(path, threads=1) as (container, stream):
        mean_hz, duration_s = mean_rate_hz(stream), _duration_s(container, stream)
        varies: bool | None = None
        if not has_timestamps(container):
            mean_hz, varies = rate_hz, False
        elif stream.base_rate and mean_hz:
            varies = abs(float(stream.base_rate) / mean_hz - 1) > _VARIES
        count = stream.frames or round((duration_s or 0) * (mean_hz or 0))
        return VideoInfo(path, width, height, count or None, duration_s, mean_hz, stream.codec_context.name, varies)


def nothing_decoded(path: Path) -> VideoError:
    """Return the error for a source without one readable frame."""
    return VideoError(f"{path}: not one frame can be decoded; check that it plays")


def stream_pictures(
    path: Path, *, colour: bool, rate_hz: float | None, report: Report, threads: int | None
) -> Generator[Picture, None, None]:
    """All frames of a file that can be decoded: index, seconds, ``(H, W)`` grey or ``(H, W, 3)`` RGB."""
    to_array = Converter(colour=colour)
    with open_video(path, threads=threads) as (container, stream):
        clock = make_clock(path, container, stream, rate_hz=rate_hz, report=report)
        if (count := len(container.streams.video)) > 1:
            report("several streams", f"holds {count} video streams, stream {stream.index} is read")
        interlaced = False
        for index, time_s, frame in decode(container, stream, clock=clock, report=report):
            if frame.interlaced_frame and not interlaced:
                interlaced = True
                report(
                    "interlaced",
                    f"is interlaced from {time_s:.3f} s on: motion is measured on one field, half the rows",
                )
            yield index, time_s, to_array(frame)
        _report_missing_end(container, stream, clock=clock, report=report)


@contextmanager
def open_video(path: Path, *, threads: int | None) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """Container and first stream of moving pictures; closed at the end."""
    # Without the whitelist a playlist could make FFmpeg fetch from the network.
    options = {"protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path}", "r", container_options=options, **_REPLACED)
    except (av.FFmpegError, OSError) as error:
        if isinstance(error, av.error.EOFError) or _begins_as_mp4(path):
            raise VideoError(
                f"{path} is cut short or damaged, its index is missing; copy or record it again"
            ) from error
        raise VideoError(f"{path} cannot be read as a video ({error.strerror}); expected mp4, mkv, avi ...") from error
    with container:
        stream = _video_stream(path, container)
        stream.thread_type = "AUTO"
        stream.thread_count = threads or min(thread_limit(), _MOST_THREADS)
        yield container, stream


def _begins_as_mp4(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(8)[4:] == b"ftyp"  # behind the size of the first box
    except OSError:
        return False


def _video_stream(path: Path, container: InputContainer) -> av.VideoStream:
    """First stream of moving pictures."""
    name = container.format.name
    if name in _TEXT_FORMATS:
        raise VideoError(f"{path} is a text file; expected a video or a folder of images")
    if name == "image2" or name.endswith("_pipe"):
        raise VideoError(f"{path} is one still image; expected a video or a folder of images")
    cover = (Disposition.attached_pic | Disposition.timed_thumbnails).value
    streams = [stream for stream in container.streams.video if not stream.disposition.value & cover]
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise VideoError(f"{path} holds no video, only: {kinds}")
    if streams[0].codec_context is None:
        raise VideoError(f"{path}: no decoder for its codec; convert it, for example to H.264 in mp4")
    return streams[0]


def has_timestamps(container: InputContainer) -> bool:
    """Whether the format stores any times at all; bare H.264 does not."""
    flag = FormatFlags.no_timestamps.value  # an integer, whatever PyAV's type stub says
    return not container.format.flags & flag  # type: ignore[operator]


def stores_decoding_times(container: InputContainer) -> bool:
    """Whether the format numbers frames in order of decoding, and stores nothing else."""
    return container.format.name == "avi"


def mean_rate_hz(stream: av.VideoStream) -> float | None:
    """Frames per second by the header; None where it says nothing."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else None


def _duration_s(container: InputContainer, stream: av.VideoStream) -> float | None:
    """Length of the video stream; that of the container where nothing else is in it."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if len(container.streams) == 1 and container.duration is not None:
        return container.duration / av.time_base
    return None


def make_clock(
    path: Path, container: InputContainer, stream: av.VideoStream, *, rate_hz: float | None, report: Report
) -> Clock:
    """Clock that fits what the container stores."""
    if not has_timestamps(container):
        return Clock(stream, source="count", rate_hz=needed_rate(path, rate_hz), report=report)
    mean_hz = mean_rate_hz(stream)
    if rate_hz and mean_hz and abs(mean_hz / rate_hz - 1) > _OTHER_RATE:
        report("rate", f"the rate given, {rate_hz:g} Hz, is not used: its timestamps say {mean_hz:g} Hz")
    source: Source = "decoding" if stores_decoding_times(container) else "presentation"
    known_hz = mean_hz or rate_hz or UNKNOWN_RATE_HZ
    return Clock(stream, source=source, rate_hz=known_hz, report=report, first_timed=partial(_first_timed, path))


def _first_timed(path: Path) -> tuple[int, int] | None:
    """How many frames have no timestamp before the first that has one, and that timestamp, ticks."""
    with open_video(path, threads=1) as (container, stream):
        untimed = 0
        for packet in _packets(container, stream, ignore):
            try:
                frames = stream.decode(packet)
            except av.FFmpegError:
                continue
            for frame in frames:
                if frame.pts is not None:
                    return (untimed, frame.pts) if untimed else None
                untimed += 1
                if untimed > _MOST_UNTIMED:
                    return None
    return None


def _packets(
    container: InputContainer, stream: av.VideoStream, report: Report
) -> Iterator[av.Packet[av.VideoStream] | None]:
    """All packets that can be read, then an empty one or ``None``, which flushes the decoder."""
    for _ in range(_READ_ATTEMPTS):
        try:
            yield from container.demux(stream)
            return
        except IndexError:
            return  # PyAV flushes, after ours, a stream that only appeared in the middle of the file
        except av.FFmpegError as error:
            report("unreadable data", f"a part of the file cannot be read ({error.strerror})")
    yield None


def decode(
    container: InputContainer,
    stream: av.VideoStream,
    *,
    clock: Clock,
    report: Report,
    wanted: Sequence[float] | None = None,
) -> Iterator[tuple[int, float, av.VideoFrame]]:
    """Index, time and picture of all frames that can be decoded.

    With sorted times ``wanted``, frames far from each and needed for no other are left out, and indices mean nothing.
    """
    packets = _packets(container, stream, report)
    if stores_decoding_times(container):
        packets = with_index_times(packets, stream, on_lost=clock.expect_lost)
    for packet in clock.mended(packets):
        if packet is not None:
            clock.expect(packet)
            if packet.dts is not None and packet.size == 0:
                continue  # a lost frame's place; the decoder would take it for the end of the stream
            if wanted is not None and packet.pts is not None:
                near = _is_near(clock.seconds(packet.pts), wanted)
                stream.codec_context.skip_frame = "DEFAULT" if near else "NONREF"
        try:
            frames = stream.decode(packet)
        except av.FFmpegError as error:
            clock.damaged = True
            at = "" if packet is None or packet.pts is None else f" near {clock.seconds(packet.pts):.3f} s"
            report("damage", f"a frame{at} cannot be decoded ({error.strerror})")
            continue
        for frame in frames:
            clock.damaged |= frame.is_corrupt
            if (place := clock.place(frame)) is None:
                continue
            if frame.is_corrupt:
                report("repaired", f"frame {place[0]} ({place[1]:.3f} s) is damaged, the decoder filled it in")
            yield *place, frame


def _is_near(time_s: float, wanted: Sequence[float]) -> bool:
    at = bisect_left(wanted, time_s - _ALL_FRAMES_S)
    return at < len(wanted) and wanted[at] <= time_s + _ALL_FRAMES_S


def _report_missing_end(container: InputContainer, stream: av.VideoStream, *, clock: Clock, report: Report) -> None:
    """Report a file that ends well before its header says."""
    rate_hz, expected_s = mean_rate_hz(stream) or UNKNOWN_RATE_HZ, _duration_s(container, stream)
    if container.format.name == "avi":  # its duration is guessed from the size of the file
        expected_s = stream.frames / rate_hz
    elif expected_s is not None and stream.duration is not None:
        # The duration of a stream counts from its start, that of a container from 0.
        expected_s += clock.seconds(stream.start_time or 0)
    if expected_s is None or clock.end_s is None:
        return
    short_s = expected_s - clock.end_s
    if short_s > max(_MISSING_S, _MISSING_FRAMES / rate_hz):
        report("cut short", f"ends at {clock.end_s:.3f} s instead of {expected_s:.3f} s, the rest is missing")
    elif container.format.name == "avi" and short_s * rate_hz > _MISCOUNTED_FRAMES:
        # Without a usable index nothing tells where: see metst.video.index.
        report("count", f"holds {short_s:.3f} s less than its header says: times after what is missing are too early")
