"""Recordings that decode without an error and yet are not what they seem: each is noticed and told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.codec.context import Flags
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from metst.video import Frame, read_colour_frames, read_colour_stream, read_frames

Image = npt.NDArray[np.uint8]
COUNT, RATE_HZ, HEIGHT, WIDTH = 60, 25, 72, 96


def picture(index: int, *, height: int = HEIGHT, width: int = WIDTH) -> Image:
    y, x = np.mgrid[:height, :width]
    return np.uint8(120 + 50 * np.sin(x / 9 + index / 5) + 50 * np.cos(y / 7 - index / 6) + (x * y * 7 + index) % 13)


def encode(path: Path, pictures: Sequence[Image], *, codec: str = "mjpeg", **options: str) -> Path:
    """Every value of the pictures becomes the luma of a frame."""
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE_HZ, options=options)
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape, pix_fmt
        for index, luma in enumerate(pictures):
            stored = np.concatenate([luma.ravel(), np.full(luma.size // 2, 128, np.uint8)])
            frame = av.VideoFrame.from_ndarray(stored.reshape(-1, luma.shape[1]), format="yuv420p")
            frame.color_range = ColorRange.JPEG
            frame = frame.reformat(format=pix_fmt, src_color_range="JPEG", dst_color_range="JPEG")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def lossless(path: Path, pictures: Sequence[Image]) -> Path:
    return encode(path, pictures, codec="libx264", qp="0", preset="ultrafast")


def read(path: Path) -> tuple[list[Frame], list[str]]:
    problems: list[str] = []
    return list(read_frames(path, on_problem=problems.append)), [problem.split(": ", 1)[1] for problem in problems]


def overwrite_headers(data: bytearray, places: list[int]) -> bytearray:
    for place in places[20:24]:
        data[place - 8 : place] = b"\xa5" * 8
    return data


def overwrite_chunks(data: bytearray, places: list[int]) -> bytearray:
    size = places[24] - places[20]
    data[places[20] - 8 : places[24] - 8] = np.random.default_rng(0).bytes(size)
    return data


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
@pytest.mark.parametrize("harm", [overwrite_headers, overwrite_chunks])
def test_chunks_that_vanish_from_an_avi_file_leave_a_hole_and_are_told(
    tmp_path: Path, codec: str, harm: Callable[[bytearray, list[int]], bytearray]
) -> None:
    path = encode(tmp_path / "a.avi", [picture(k) for k in range(COUNT)], codec=codec, g="1")
    intact, no_problems = read(path)
    assert no_problems == []
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.pos is not None]
    path.write_bytes(harm(bytearray(path.read_bytes()), places))
    frames, problems = read(path)
    kept = [index for index in range(COUNT) if not 20 <= index < 24]
    assert problems == ["4 frame(s) lost before 0.960 s"]
    assert [(frame.index, frame.time_s) for frame in frames] == [(k, intact[k].time_s) for k in kept]
    for frame in frames:
        np.testing.assert_array_equal(frame.grey, intact[frame.index].grey)


def test_chunks_cut_out_of_an_avi_file_are_told(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.avi", [picture(k) for k in range(COUNT)])
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.pos is not None]
    data = bytearray(path.read_bytes())
    del data[places[20] - 8 : places[24] - 8]
    path.write_bytes(data)
    frames, problems = read(path)
    assert len(frames) == COUNT - 4
    assert len(problems) == 1
    assert "holds 0.160 s less than its header says" in problems[0]


def test_an_empty_chunk_of_an_avi_file_is_no_loss(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.avi", [picture(k) for k in range(COUNT)])
    data = bytearray(path.read_bytes())
    entry = data.index(b"idx1") + 8 + 16 * 20  # chunk name, flags, offset, size of each
    start, size = (int.from_bytes(data[entry + k : entry + k + 4], "little") for k in (8, 12))
    header = data.index(b"movi") + start
    data[entry + 12 : entry + 16] = bytes(4)
    data[header + 4 : header + 8] = bytes(4)
    data[header + 8 : header + 16] = b"JUNK" + (size - 8).to_bytes(4, "little")
    path.write_bytes(data)
    frames, problems = read(path)
    assert not any("lost" in problem for problem in problems)
    assert len(frames) == COUNT - 1
    assert frames[-1].time_s == (COUNT - 1) / RATE_HZ


def interlaced(path: Path) -> tuple[Path, list[Image]]:
    """Each frame weaves two moments: even rows one, odd rows the next."""
    moments = [picture(4 * k) for k in range(40)]
    woven = [
        np.where(np.arange(HEIGHT)[:, None] % 2, odd, even)
        for even, odd in zip(moments[::2], moments[1::2], strict=True)
    ]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=RATE_HZ, options={"qmin": "1", "q": "1", "g": "1"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.codec_context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        for index, luma in enumerate(woven):
            stored = np.concatenate([luma, np.full((HEIGHT // 2, WIDTH), 128, np.uint8)])
            frame = av.VideoFrame.from_ndarray(stored, format="yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path, moments


def test_of_interlaced_video_one_field_is_measured(tmp_path: Path) -> None:
    path, moments = interlaced(tmp_path / "a.ts")
    frames, problems = read(path)
    start = f"{frames[0].time_s:.3f} s"
    assert problems == [f"is interlaced from {start} on: motion is measured on one field, half the rows"]
    assert len(frames) == 20
    for frame, moment, later in zip(frames, moments[::2], moments[1::2], strict=True):
        assert frame.grey.shape == (HEIGHT, WIDTH)
        assert np.abs(frame.grey.astype(int) - moment).mean() < 7 < 20 < np.abs(frame.grey.astype(int) - later).mean()
        between = (frame.grey[:-2:2].astype(int) + frame.grey[2::2]) / 2
        np.testing.assert_allclose(frame.grey[1:-1:2], between, atol=0.51)
        np.testing.assert_array_equal(frame.grey[-1], frame.grey[-2])


def test_of_interlaced_video_colour_shows_what_is_measured(tmp_path: Path) -> None:
    """Pictures of the report and of the overlay show one moment, that of the grey frame."""
    path, _ = interlaced(tmp_path / "a.ts")
    frames = read(path)[0]
    streamed = [frame.rgb for frame in read_colour_stream(path)]
    found = read_colour_frames(path, times_s=[frame.time_s for frame in frames[3:9]])
    for frame, one, other in zip(frames[3:9], streamed[3:9], found, strict=True):
        np.testing.assert_array_equal(one, other)
        expected = np.clip((frame.grey.astype(float) - 16) * 255 / 219, 0, 255)  # no colour in it
        np.testing.assert_allclose(one, np.repeat(expected[:, :, None], 3, axis=2), atol=3)


def test_a_change_of_resolution_is_told_once_and_cuts(tmp_path: Path) -> None:
    glued = tmp_path / "c.ts"
    sizes = [(72, 96), (144, 192), (72, 96)]
    parts = [
        encode(tmp_path / f"{k}.ts", [picture(i, height=h, width=w) for i in range(12)], codec="mpeg2video")
        for k, (h, w) in enumerate(sizes)
    ]
    glued.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, problems = read(glued)
    assert {frame.grey.shape for frame in frames} == {(72, 96)}
    assert [frame.cut for frame in frames if frame.cut] == ["change of resolution"] * 2
    told = [problem for problem in problems if "resized" in problem]
    assert len(told) == 1
    assert "on pictures are 192x144, resized to 96x72" in told[0]


def test_frames_out_of_order_never_go_back_in_time(tmp_path: Path) -> None:
    path = tmp_path / "b.mkv"
    order = [*range(20), 22, *range(21, 40)]
    with av.open(str(encode(tmp_path / "a.mkv", [picture(k) for k in range(40)]))) as reading:
        packets = [packet for packet in reading.demux(video=0) if packet.dts is not None]
        with av.open(str(path), "w") as writing:
            stream = writing.add_stream_from_template(reading.streams.video[0])
            ticks = [packet.pts for packet in packets]
            for number, packet in enumerate(packets):
                packet.pts, packet.stream = ticks[order[number]], stream
                writing.mux(packet)
    frames, problems = read(path)
    assert any("not later than the one before" in problem for problem in problems)
    assert (np.diff([frame.index for frame in frames]) > 0).all()
    assert (np.diff([frame.time_s for frame in frames]) > 0).all()
    assert frames[-1].time_s == pytest.approx(39 / RATE_HZ, abs=1e-3)


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv422p10le", "yuv444p12le"])
def test_of_deep_hdr_luma_the_upper_eight_bits_are_kept(tmp_path: Path, pix_fmt: str) -> None:
    bits = int(pix_fmt[7:9])
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    levels = ((x * 11 + y * 7) % (1 << bits)).astype(np.uint16)
    path = tmp_path / "hdr.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE_HZ)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, pix_fmt
        context = stream.codec_context
        context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.BT2020
        context.color_primaries, context.color_trc = ColorPrimaries.BT2020, ColorTrc.SMPTE2084
        for index in range(3):
            frame = av.VideoFrame(WIDTH, HEIGHT, pix_fmt)
            for number, plane in enumerate(frame.planes):
                rows = np.full((plane.height, plane.line_size // 2), 1 << (bits - 1), np.uint16)
                if number == 0:
                    rows[:, :WIDTH] = np.roll(levels, index, axis=1)
                plane.update(rows.tobytes())
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames, problems = read(path)
    assert problems == []
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.grey, np.roll(levels, index, axis=1) >> (bits - 8))


def test_a_freeze_is_told_and_cuts_from_where_it_is_known_to_where_it_ends(tmp_path: Path) -> None:
    shown = [*range(20), *[19] * 10, *range(30, 50)]
    frames, problems = read(lossless(tmp_path / "a.mp4", [picture(k) for k in shown]))
    assert [frame.index for frame in frames if frame.cut == "frozen picture"] == [*range(23, 31)], "0.15 s and later"
    assert {frame.cut for frame in frames} == {"", "frozen picture"}
    assert len(problems) == 1
    assert problems[0].startswith("10 of 50 frames repeat the picture before them; the picture freezes 1 time(s)")
    assert "the longest for 0.40 s from 0.760 s" in problems[0]


def test_single_repeats_are_told_and_do_not_cut(tmp_path: Path) -> None:
    shown = [k - k % 6 // 5 for k in range(60)]  # five pictures in six frames
    frames, problems = read(lossless(tmp_path / "a.mp4", [picture(k) for k in shown]))
    assert len(problems) == 1
    assert problems[0].startswith("9 of 60 frames repeat")
    assert {frame.cut for frame in frames} == {""}


@pytest.mark.parametrize("shown", [[*range(60)], [0] * 60, [*range(59), 58], [*range(30), 29, *range(31, 60)]])
def test_what_is_no_freeze_is_not_told(tmp_path: Path, shown: list[int]) -> None:
    frames, problems = read(lossless(tmp_path / "a.mp4", [picture(k) for k in shown]))
    assert problems == []
    assert {frame.cut for frame in frames} == {""}


def test_a_still_that_is_encoded_anew_is_no_freeze(tmp_path: Path) -> None:
    still = [picture(0) + np.uint8(5 * (k // 10 % 2)) for k in range(60)]
    frames, problems = read(lossless(tmp_path / "a.mp4", still))
    assert len({frame.grey.tobytes() for frame in frames}) == 2
    assert problems == []
    assert {frame.cut for frame in frames} == {""}


def test_black_frames_are_given_as_they_are(tmp_path: Path) -> None:
    pictures = [picture(k) for k in range(20)]
    pictures[8:12] = [np.full((HEIGHT, WIDTH), 16, np.uint8)] * 4
    path = lossless(tmp_path / "a.mp4", pictures)
    frames, _ = read(path)
    assert [int(frame.grey.max()) for frame in frames[8:12]] == [16] * 4
    assert sum(1 for _ in read_colour_stream(path)) == 20


def cut_without_its_start(tmp_path: Path) -> Path:
    """A file that was cut at 0.4 s without encoding: Matroska has no timestamps before 0."""
    whole, path = lossless(tmp_path / "whole.mp4", [picture(k) for k in range(60)]), tmp_path / "cut.mkv"
    with (
        av.open(str(whole)) as source,
        av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container,
    ):
        stream = source.streams.video[0]
        target, shift = container.add_stream_from_template(stream), int(0.4 / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = target
                container.mux(packet)
    return path


def test_frames_without_a_timestamp_at_the_start_lie_before_those_that_have_one(tmp_path: Path) -> None:
    path = cut_without_its_start(tmp_path)
    with av.open(str(path)) as container:
        given = [
            None if frame.pts is None else float(frame.pts * frame.time_base) for frame in container.decode(video=0)
        ]
    untimed = given.count(None)
    assert untimed >= 9
    assert None not in given[untimed:]
    frames, problems = read(path)
    assert [frame.time_s for frame in frames[untimed:]] == pytest.approx(given[untimed:], abs=1e-9), "never overruled"
    first = given[untimed]
    assert first is not None
    expected = [first - (untimed - k) / RATE_HZ for k in range(untimed)]
    assert [frame.time_s for frame in frames[:untimed]] == pytest.approx(expected, abs=2e-3)
    assert [frame.index for frame in frames] == list(range(len(given)))
    assert problems == [
        f"the first {untimed} frame(s) have no timestamp: they are placed one nominal frame apart before the "
        f"first that has one, at {first:.3f} s"
    ]
