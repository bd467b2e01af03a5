"""Video files: pixels, order, timestamps, orientation, odd sources, errors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from metst.errors import UsageError, VideoError
from metst.video import (
    probe_video,
    read_colour_frames,
    read_colour_groups,
    read_colour_stream,
    read_frames,
    seeking,
)
from metst.video.decoder import open_video
from metst.video.pixels import Converter

Image = npt.NDArray[np.uint8]


def texture(index: int, height: int = 48, width: int = 64) -> Image:
    """Smooth, different for each index and without any symmetry."""
    y, x = np.mgrid[:height, :width]
    return np.uint8(120 + 40 * np.sin(x / 7 + index / 3) + 40 * np.cos(y / 5 + x / 31 - index / 4))


def encode(
    path: Path,
    pictures: Sequence[Image],
    *,
    codec: str = "ffv1",
    pix_fmt: str = "gray",
    pts: Sequence[int] | None = None,
    tick: Fraction = Fraction(1, 25),
    options: dict[str, str] | None = None,
    display: tuple[int, bool, bool] | None = None,
    stamps: Sequence[int] | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a video with PyAV alone; ``stamps`` overwrite the packets' timestamps in order of decoding."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        container.metadata.update(metadata or {})
        stream.codec_context.time_base = tick
        if display is not None:
            stream.set_display_rotation(display[0], hflip=display[1], vflip=display[2])
        packets = []
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="gray" if picture.ndim == 2 else "rgb24")
            frame = frame.reformat(format=pix_fmt, src_color_range="JPEG", dst_color_range="JPEG")
            frame.pts, frame.time_base = index if pts is None else pts[index], tick
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for index, packet in enumerate(packets):
            if stamps is not None:
                packet.pts = packet.dts = stamps[index]
            container.mux(packet)
    return path


def shown(picture: Image, pictures: Sequence[Image]) -> int:
    """Which of the pictures a lossy copy shows."""
    return int(np.argmin([np.abs(picture.astype(int) - other).mean() for other in pictures]))


TEXTURES = [texture(index) for index in range(24)]


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.nut", "a.mov"])
def test_lossless_pixels_come_back_in_order_with_the_containers_times(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, TEXTURES, codec="ffv1" if name != "a.mov" else "png", pix_fmt="gray")
    frames = list(read_frames(path))
    assert [frame.index for frame in frames] == list(range(24))
    assert [frame.time_s for frame in frames] == [index / 25 for index in range(24)]
    for frame, picture in zip(frames, TEXTURES, strict=True):
        assert frame.grey.dtype == np.uint8
        assert frame.grey.flags.c_contiguous
        np.testing.assert_array_equal(frame.grey, picture)


def raw_frame(pix_fmt: str, luma: npt.NDArray[np.integer]) -> av.VideoFrame:
    """A frame whose first plane holds these samples, the other planes 128."""
    height, width = luma.shape[:2]
    frame = av.VideoFrame(width, height, pix_fmt)
    for number, plane in enumerate(frame.planes):
        rows = np.full((plane.height, plane.line_size), 128, np.uint8)
        if number == 0:
            samples = luma.reshape(height, -1).view(np.uint8)
            rows[:, : samples.shape[1]] = samples
        plane.update(rows.tobytes())
    return frame


def raw_video(path: Path, frame: av.VideoFrame) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("pix_fmt", "bits", "dtype"),
    [
        *(
            (name, 8, "u1")
            for name in ("gray", "yuv420p", "yuv422p", "yuv444p", "yuv410p", "yuvj420p", "yuva420p", "nv12")
        ),
        *((f"{name}{bits}le", bits, "<u2") for name in ("yuv420p", "yuv422p", "gray") for bits in (10, 12, 16)),
        ("yuv420p10be", 10, ">u2"),
        ("gray16be", 16, ">u2"),
    ],
)
def test_grey_is_the_upper_eight_bits_of_stored_luma(tmp_path: Path, pix_fmt: str, bits: int, dtype: str) -> None:
    luma = np.arange(35 * 27).reshape(27, 35) * 2654435761 % 2**bits
    path = raw_video(tmp_path / "a.nut", raw_frame(pix_fmt, luma.astype(dtype)))
    (frame,) = read_frames(path)
    np.testing.assert_array_equal(frame.grey, luma >> (bits - 8))


def test_luma_among_other_samples_keeps_its_range(tmp_path: Path) -> None:
    levels = np.tile(np.arange(16, 236, 2, dtype=np.uint8), (8, 1))
    packed = np.full((8, levels.shape[1], 2), 128, np.uint8)
    packed[..., 0] = levels
    (frame,) = read_frames(raw_video(tmp_path / "a.nut", raw_frame("yuyv422", packed)))
    np.testing.assert_array_equal(frame.grey, levels)
    # Samples in the upper bits, as hardware decoders give them; no container stores these.
    deep = raw_frame("p010le", levels.astype("<u2") << 8)
    np.testing.assert_array_equal(Converter(colour=False)(deep), levels)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mov", "png", "rgb24"),
        ("a.mov", "png", "rgba"),
        ("a.mov", "png", "rgb48be"),
        ("a.mkv", "ffv1", "bgr0"),
        ("a.mkv", "ffv1", "gbrp10le"),
        ("a.avi", "rawvideo", "bgr24"),  # rows stored from the bottom up
    ],
)
def test_colour_sources_give_full_range_grey_and_their_colours(
    tmp_path: Path, name: str, codec: str, pix_fmt: str
) -> None:
    rgb = np.dstack([texture(0), texture(5), texture(9)])
    path = encode(tmp_path / name, [rgb], codec=codec, pix_fmt=pix_fmt)
    (frame,) = read_frames(path)
    (colour,) = read_colour_stream(path)
    assert np.abs(frame.grey.astype(int) - cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)).max() <= 2
    assert np.abs(colour.rgb.astype(int) - rgb).max() <= 1


def test_palette_animation(tmp_path: Path) -> None:
    levels = [np.full((20, 30), 16 * index, np.uint8) for index in range(8)]
    frames = list(read_frames(encode(tmp_path / "a.gif", levels, codec="gif", pix_fmt="gray", tick=Fraction(1, 10))))
    assert [frame.time_s for frame in frames] == [index / 10 for index in range(8)]
    for frame, picture in zip(frames, levels, strict=True):
        assert np.abs(frame.grey.astype(int) - picture).max() <= 1


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"bf": "3"}),
        ("a.mkv", "libx264", {"bf": "3"}),
        ("a.avi", "libx264", {"bf": "3"}),  # stores no presentation times
        ("a.avi", "mpeg4", {"bf": "2"}),
        ("a.avi", "mjpeg", {}),
        ("a.webm", "libvpx-vp9", {}),
        ("a.mov", "libx265", {"x265-params": "log-level=none"}),
    ],
)
@pytest.mark.parametrize("threads", [1, None])
def test_lossy_codecs_with_reordered_frames(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], threads: int | None
) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = encode(tmp_path / name, TEXTURES, codec=codec, pix_fmt=pix_fmt, options=options)
    problems: list[str] = []
    frames = list(read_frames(path, on_problem=problems.append, threads=threads))
    assert problems == []
    assert [frame.index for frame in frames] == list(range(24))
    assert [frame.time_s for frame in frames] == [index / 25 for index in range(24)]
    assert [shown(frame.grey, TEXTURES) for frame in frames] == list(range(24))


def test_avi_leaves_out_frames_for_a_gap(tmp_path: Path) -> None:
    pts = [0, 1, 2, 6, 7, 9]
    path = encode(tmp_path / "a.avi", TEXTURES[:6], codec="mjpeg", pix_fmt="yuvj420p", pts=pts)
    problems: list[str] = []
    frames = list(read_frames(path, on_problem=problems.append))
    assert [(frame.index, frame.time_s) for frame in frames] == [(k, stamp / 25) for k, stamp in enumerate(pts)]
    assert problems == []


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.nut"])
def test_variable_rate_keeps_each_timestamp(tmp_path: Path, name: str) -> None:
    pts = [7, 40, 41, 100, 133, 500, 501, 533, 2000, 2033, 2034]
    path = encode(tmp_path / name, TEXTURES[:11], codec="mpeg4", pix_fmt="yuv420p", pts=pts, tick=Fraction(1, 1000))
    assert [frame.time_s for frame in read_frames(path)] == [stamp / 1000 for stamp in pts]


def test_header_figures_of_constant_and_variable_rate(tmp_path: Path) -> None:
    steady = probe_video(encode(tmp_path / "a.mp4", TEXTURES, codec="libx264", pix_fmt="yuv420p"))
    assert (steady.width, steady.height, steady.frame_count, steady.codec) == (64, 48, 24, "h264")
    assert (steady.duration_s, steady.rate_hz, steady.variable_rate) == (24 / 25, 25, False)
    pts = [index * index for index in range(24)]
    path = encode(tmp_path / "b.mp4", TEXTURES, codec="libx264", pix_fmt="yuv420p", pts=pts, tick=Fraction(1, 600))
    assert probe_video(path).variable_rate is True
    no_count = probe_video(encode(tmp_path / "c.mkv", TEXTURES))
    assert no_count.frame_count == 24


@pytest.mark.parametrize(("degrees", "hflip", "vflip"), list(product([0, 90, 180, -90], [False, True], [False, True])))
def test_rotation_and_mirroring_metadata(tmp_path: Path, degrees: int, hflip: bool, vflip: bool) -> None:
    rgb = np.dstack([texture(0), texture(5), texture(9)])
    path = encode(tmp_path / "a.mov", [rgb] * 2, codec="png", pix_fmt="rgb24", display=(degrees, hflip, vflip))
    expected = np.rot90(rgb, degrees // 90)
    expected = expected[:: -1 if vflip else 1, :: -1 if hflip else 1]
    info = probe_video(path)
    assert (info.height, info.width) == expected.shape[:2]
    np.testing.assert_array_equal(next(read_colour_stream(path)).rgb, expected)
    np.testing.assert_array_equal(read_colour_frames(path, times_s=[0.04])[0], expected)
    grey = cv2.cvtColor(np.ascontiguousarray(expected), cv2.COLOR_RGB2GRAY)
    assert np.abs(next(read_frames(path)).grey.astype(int) - grey).max() <= 1


def test_rows_stored_from_the_bottom_up() -> None:
    graph = av.filter.Graph()
    frame = av.VideoFrame.from_ndarray(texture(0), format="gray")
    graph.link_nodes(graph.add_buffer(width=64, height=48, format=frame.format, time_base=Fraction(1, 25)),
                     graph.add("vflip"), graph.add("buffersink")).configure()  # fmt: skip
    graph.push(frame)
    flipped = graph.pull()
    assert flipped.planes[0].line_size < 0
    picture = Converter(colour=False)(flipped)
    np.testing.assert_array_equal(picture, texture(0)[::-1])


def test_repeated_timestamps_are_spread_and_reported(tmp_path: Path) -> None:
    stamps = [0, 40, 80, 80, 120, 160]
    path = encode(
        tmp_path / "a.flv", TEXTURES[:6], codec="flashsv", pix_fmt="bgr24", stamps=stamps, tick=Fraction(1, 1000)
    )
    problems: list[str] = []
    frames = list(read_frames(path, on_problem=problems.append))
    assert [shown(frame.grey, TEXTURES) for frame in frames] == list(range(6))
    assert [frame.index for frame in frames] == list(range(6))
    times = [frame.time_s for frame in frames]
    assert times[:3] == [0, 0.04, 0.08]
    assert times[4:] == [0.12, 0.16]
    assert 0.08 < times[3] < 0.12
    assert len(problems) == 1
    assert "not later than the one before" in problems[0]


def test_glued_files_go_on_and_take_the_first_size(tmp_path: Path) -> None:
    first = encode(tmp_path / "a.ts", TEXTURES, codec="mpeg2video", pix_fmt="yuv420p")
    large = [texture(index, 96, 128) for index in range(24)]
    second = encode(tmp_path / "b.ts", large, codec="mpeg2video", pix_fmt="yuv420p")
    glued = tmp_path / "c.ts"
    glued.write_bytes(first.read_bytes() + second.read_bytes())
    problems: list[str] = []
    frames = list(read_frames(glued, on_problem=problems.append))
    assert len(frames) >= 46  # the decoder may hold back a picture where the size changes
    assert {frame.grey.shape for frame in frames} == {(48, 64)}
    steps = np.diff([frame.time_s for frame in frames])
    indices = np.diff([frame.index for frame in frames])
    np.testing.assert_allclose(steps, indices / 25, atol=1e-9)
    assert any("start again" in problem for problem in problems)
    assert [problem for problem in problems if "resized" in problem] == problems[-1:]
    assert problems[-1].endswith("on pictures are 128x96, resized to 64x48")
    assert [frame.cut for frame in frames if frame.cut] == ["change of resolution"]


def test_bare_streams_need_and_use_the_given_rate(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.h264", TEXTURES, codec="libx264", pix_fmt="yuv420p")
    with pytest.raises(UsageError, match="no timestamps: give its frame rate"):
        next(read_frames(path))
    frames = list(read_frames(path, rate_hz=200))
    assert [(frame.index, frame.time_s) for frame in frames] == [(index, index / 200) for index in range(24)]
    assert [shown(frame.grey, TEXTURES) for frame in frames] == list(range(24))
    assert probe_video(path, rate_hz=200).rate_hz == 200
    (late,) = read_colour_frames(path, times_s=[20 / 200], rate_hz=200)
    assert shown(late[..., 1], TEXTURES) == 20


def test_timestamps_have_precedence_over_a_given_rate(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", TEXTURES)
    problems: list[str] = []
    frames = list(read_frames(path, rate_hz=200, on_problem=problems.append))
    assert frames[-1].time_s == 23 / 25
    assert problems == ["a.mkv: the rate given, 200 Hz, is not used: its timestamps say 25 Hz"]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_frames_found_by_time_are_those_of_the_stream(tmp_path: Path, name: str) -> None:
    pictures = [texture(index) for index in range(150)]
    options = {"g": "40", "x264-params": "open-gop=1:scenecut=0"}
    irregular = [index * 40 + (index % 7) * 5 for index in range(150)]
    pts, tick = (None, Fraction(1, 25)) if name == "a.avi" else (irregular, Fraction(1, 1000))
    path = encode(tmp_path / name, pictures, codec="libx264", pix_fmt="yuv420p", options=options, pts=pts, tick=tick)
    frames = list(read_colour_stream(path))
    assert len(frames) == 150
    order = [149, 3, 0, 75, 76, 120, 41, 3, 118]
    found = read_colour_frames(path, times_s=[frames[index].time_s for index in order])
    for index, picture in zip(order, found, strict=True):
        np.testing.assert_array_equal(picture, frames[index].rgb)
    groups = read_colour_groups(path, groups=[[frames[index].time_s for index in group] for group in (order[:2], [75])])
    for group, pictures_of_it in zip((order[:2], [75]), groups, strict=True):
        np.testing.assert_array_equal(pictures_of_it, [frames[index].rgb for index in group])
    between = (frames[60].time_s * 0.6 + frames[61].time_s * 0.4, frames[149].time_s + 99, -1.0)
    for index, picture in zip((60, 149, 0), read_colour_frames(path, times_s=between), strict=True):
        np.testing.assert_array_equal(picture, frames[index].rgb)


def test_a_sound_track_that_begins_in_the_middle(tmp_path: Path) -> None:
    silent = encode(tmp_path / "a.ts", TEXTURES, codec="mpeg2video", pix_fmt="yuv420p")
    with av.open(str(silent)) as reading, av.open(str(tmp_path / "b.ts"), "w") as writing:
        pictures = writing.add_stream_from_template(reading.streams.video[0])
        track = writing.add_stream("mp2", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 1152), np.int16), format="s16", layout="stereo")
        sound.sample_rate = 44100
        for packet in reading.demux(video=0):
            if packet.dts is not None:
                packet.stream = pictures
                writing.mux([packet, *track.encode(sound)])
    glued = tmp_path / "c.ts"
    glued.write_bytes(silent.read_bytes() + (tmp_path / "b.ts").read_bytes())
    frames = list(read_frames(glued))
    assert 47 <= len(frames) <= 48  # where they are glued together a frame may be lost
    assert [shown(frame.grey, TEXTURES) for frame in frames[-23:]] == list(range(1, 24))


def test_frames_found_by_time_where_timestamps_start_again(tmp_path: Path) -> None:
    pictures = [texture(index) for index in range(120)]
    for name, part in (("a.ts", pictures[:60]), ("b.ts", pictures[60:])):
        encode(tmp_path / name, part, codec="libx264", pix_fmt="yuv420p", options={"g": "20"})
    glued = tmp_path / "c.ts"
    glued.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    frames = list(read_colour_stream(glued))
    found = read_colour_frames(glued, times_s=[frames[index].time_s for index in (50, 70, 118)])
    for index, picture in zip((50, 70, 118), found, strict=True):
        np.testing.assert_array_equal(picture, frames[index].rgb)


def open_files() -> list[Path]:
    return [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]


def test_decoding_is_lazy_takes_constant_memory_and_lets_go_of_the_file(tmp_path: Path) -> None:
    pictures = [texture(0, 480, 640)] * 400
    path = encode(tmp_path / "a.mp4", pictures, codec="mpeg4", pix_fmt="yuv420p")
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("needs /proc to see the memory in use")
    resident = []
    frames = read_frames(path, threads=1)
    for frame in frames:
        resident.append(int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        if frame.index == 380:
            break
    del frame
    assert resident[-1] - resident[50] < 20 * 640 * 480
    assert path in open_files()
    del frames
    assert path not in open_files()


def test_wrong_calls_are_told_at_the_call(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        read_frames(tmp_path / "missing.mp4")
    with pytest.raises(UsageError, match="no such file or folder"):
        probe_video(encode(tmp_path / "a.mkv", TEXTURES[:2]) / "below.mp4")
    with pytest.raises(UsageError, match="neither"):
        read_frames("/dev/null")
    for rate in (0.0, -25.0, float("nan"), float("inf"), 4.9, 1001.0, 100_000.0):
        with pytest.raises(UsageError, match="5 to 1000 frames per second"):
            read_frames(tmp_path / "a.mkv", rate_hz=rate)


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "a.mkv", TEXTURES[:2])

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise av.error.PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(VideoError, match=r"Permission denied"):
        list(read_frames(path))


def test_tags_in_another_encoding_do_not_matter(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.avi", TEXTURES[:2], metadata={"title": "Grundlinie"})
    data = path.read_bytes()
    assert b"Grundlinie" in data
    path.write_bytes(data.replace(b"Grundlinie", b"Gr\xfcndlinie"))
    assert len(list(read_frames(path))) == 2


def test_single_frames_between_rare_key_frames_are_those_of_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [texture(index % 40, 48, 64) for index in range(160)]
    path = encode(tmp_path / "a.mp4", pictures, codec="libx264", pix_fmt="yuv420p", options={"g": "100", "bf": "3"})
    stream = list(read_colour_stream(path))
    opened: list[float] = []
    near = seeking._pictures_near

    def noted(path: Path, wanted: list[float], *, rate_hz: float | None) -> dict[float, npt.NDArray[np.uint8]]:
        opened.append(wanted[0])
        return near(path, wanted, rate_hz=rate_hz)

    monkeypatch.setattr(seeking, "_pictures_near", noted)
    indices = [5, 60, 61, 140, 150]
    found = read_colour_frames(path, times_s=[stream[index].time_s for index in indices])
    for index, rgb in zip(indices, found, strict=True):
        np.testing.assert_array_equal(rgb, stream[index].rgb)
    assert opened == [stream[5].time_s, stream[140].time_s]  # a key frame, 100, lies only between 61 and 140


@pytest.mark.parametrize(("text", "expected"), [("1", 1), ("", 4)])
def test_decoder_threads_keep_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(32)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    path = encode(tmp_path / "a.mkv", TEXTURES[:3])
    with open_video(path, threads=None) as (_, stream):
        assert stream.thread_count == expected
    with open_video(path, threads=2) as (_, stream):
        assert stream.thread_count == 2
