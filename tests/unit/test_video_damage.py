"""Damaged and truncated files: what can be decoded is given, what is lost is told and leaves a hole.

Files that are no video at all are refused in one line.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from av.bitstream import BitStreamFilterContext

from metst.errors import VideoError
from metst.video import Frame, probe_video, read_colour_frames, read_frames
from metst.video.clock import ignore
from metst.video.decoder import _packets

Image = npt.NDArray[np.uint8]
COUNT, RATE_HZ = 60, 25


def picture(index: int) -> Image:
    y, x = np.mgrid[:72, :96]
    return np.uint8(120 + 50 * np.sin(x / 9 + index / 5) + 50 * np.cos(y / 7 - index / 6) + (x * y * 7 + index) % 13)


def encode(path: Path, *, codec: str, pix_fmt: str, options: dict[str, str]) -> Path:
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=RATE_HZ, options=options)
        stream.height, stream.width, stream.pix_fmt = 72, 96, pix_fmt
        for index in range(COUNT):
            frame = av.VideoFrame.from_ndarray(picture(index), format="gray")
            frame = frame.reformat(format=pix_fmt, src_color_range="JPEG", dst_color_range="JPEG")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def mjpeg(path: Path) -> Path:
    """Every frame on its own, so that one damaged packet is one lost frame."""
    return encode(path, codec="mjpeg", pix_fmt="yuvj420p", options={})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """H.264 with a key frame every 12 frames and frames reordered; the index comes first."""
    path = tmp_path_factory.mktemp("whole") / "whole.mp4"
    return encode(path, codec="libx264", pix_fmt="yuv420p", options={"g": "12", "bf": "2", "mbtree": "0"})


def remux(
    source: Path, target: Path, *, keep: Sequence[int] | None = None, late: dict[int, float] | None = None
) -> Path:
    """Copy the packets, or some of them, into another container; some presentation times are moved by seconds."""
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        stream = writing.add_stream_from_template(reading.streams.video[0])
        # AVI stores H.264 with start codes.
        name = "h264_mp4toannexb" if target.suffix == ".avi" else "null"
        start_codes = BitStreamFilterContext(name, reading.streams.video[0])
        for number, packet in enumerate(reading.demux(video=0)):
            if packet.dts is None or (keep is not None and number not in keep):
                continue
            packet.pts += round((late or {}).get(number, 0) / packet.time_base)
            for filtered in start_codes.filter(packet):
                filtered.stream = stream
                writing.mux(filtered)
    return target


def positions(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [packet.pos for packet in container.demux(video=0) if packet.pos is not None]


def wipe(path: Path, numbers: Sequence[int]) -> Path:
    """Overwrite these packets' payload."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for number, packet in enumerate(container.demux(video=0)):
            if number in numbers and packet.pos is not None:
                end = path.read_bytes().index(bytes(packet), packet.pos) + packet.size
                data[end - packet.size + 4 : end] = bytes(packet.size - 4)
    damaged = path.with_stem("damaged")
    damaged.write_bytes(data)
    return damaged


def read(path: Path, **options: int) -> tuple[list[Frame], list[str]]:
    problems: list[str] = []
    return list(read_frames(path, on_problem=problems.append, **options)), problems


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mov"])
@pytest.mark.parametrize("lost", [[0], [17], [17, 18, 19, 40], [59]])
def test_a_lost_frame_is_a_jump_in_index_and_time(tmp_path: Path, name: str, lost: list[int]) -> None:
    path = mjpeg(tmp_path / name)
    intact, no_problems = read(path)
    assert len(intact) == COUNT
    assert no_problems == []
    frames, problems = read(wipe(path, lost))
    kept = [index for index in range(COUNT) if index not in lost]
    assert [frame.index for frame in frames] == kept
    assert [frame.time_s for frame in frames] == [intact[index].time_s for index in kept]
    for frame in frames:
        np.testing.assert_array_equal(frame.grey, intact[frame.index].grey)
    for index in lost:
        assert any(f"near {intact[index].time_s:.3f} s cannot be decoded" in problem for problem in problems)


def test_frames_before_damage_are_exact_and_numbers_after_it_hold(whole: Path) -> None:
    intact, _ = read(whole)
    frames, problems = read(wipe(whole, [30]))
    assert problems
    assert frames[-1].index > 55
    for frame in frames:
        assert frame.time_s == intact[frame.index].time_s
    np.testing.assert_array_equal(frames[10].grey, intact[10].grey)


@pytest.mark.parametrize("key_frame", [12, 24])
def test_an_old_frame_that_comes_late_is_left_out(whole: Path, key_frame: int) -> None:
    frames, problems = read(wipe(whole, [key_frame]))
    assert sum("came after later ones and is left out" in problem for problem in problems) == 2
    shown = [np.argmin([np.abs(frame.grey.astype(int) - picture(k)).mean() for k in range(COUNT)]) for frame in frames]
    assert (np.diff(shown) > 0).all()


@pytest.mark.parametrize("packets", [15, 40, 58])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_what_is_left_of_a_truncated_file_is_read(whole: Path, tmp_path: Path, name: str, packets: int) -> None:
    path = whole if name == "a.mp4" else remux(whole, tmp_path / name)
    intact, _ = read(path)
    cut = tmp_path / f"cut{path.suffix}"
    cut.write_bytes(path.read_bytes()[: positions(path)[packets] + 90])
    frames, problems = read(cut)
    assert packets - 3 <= len(frames) <= packets + 1
    # The last packet is half there; frames that do not depend on it are untouched.
    for frame, original in zip(frames[:-5], intact, strict=False):
        assert (frame.index, frame.time_s) == (original.index, original.time_s)
        np.testing.assert_array_equal(frame.grey, original.grey)
    if name != "a.ts":  # a transport stream does not say how long it should be
        assert any("the rest is missing" in problem for problem in problems) == (packets < 58)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
@pytest.mark.parametrize("seed", range(6))
def test_scattered_damage_never_breaks_order_and_never_raises(
    whole: Path, tmp_path: Path, name: str, seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    path = whole if name == "a.mp4" else remux(whole, tmp_path / name)
    data = bytearray(path.read_bytes())
    random = np.random.default_rng(seed)
    first, last = positions(path)[5], positions(path)[-1]
    for start in random.integers(first, last, 6):
        data[start : start + 12] = random.bytes(12)
    damaged = tmp_path / f"damaged{path.suffix}"
    damaged.write_bytes(data)
    frames, problems = read(damaged, threads=1)
    assert len(frames) > COUNT // 3
    assert problems or len(frames) == COUNT
    assert all("\n" not in problem for problem in problems)
    for one, two in itertools.pairwise(frames):
        assert one.index < two.index
        assert one.time_s < two.time_s
    again, same = read(damaged, threads=1)
    assert same == problems
    for one, two in zip(frames, again, strict=True):
        np.testing.assert_array_equal(one.grey, two.grey)
    (found,) = read_colour_frames(damaged, times_s=[frames[len(frames) // 2].time_s])
    assert found.shape == (72, 96, 3)
    assert capfd.readouterr() == ("", "")


def test_a_file_may_start_late(tmp_path: Path) -> None:
    path = mjpeg(tmp_path / "a.mkv")
    intact, _ = read(path)
    frames, problems = read(remux(path, tmp_path / "b.mkv", keep=range(20, 40)))
    assert [frame.index for frame in frames] == list(range(20))
    assert [frame.time_s for frame in frames] == [frame.time_s for frame in intact[20:40]]
    assert problems == []


def test_an_empty_packet_does_not_end_the_reading(tmp_path: Path) -> None:
    path = mjpeg(tmp_path / "a.mov")
    data = bytearray(path.read_bytes())
    # Sizes of the samples: box name, version, common size (none), count, then one size after the other.
    sizes = data.index(b"stsz") + 16
    data[sizes + 4 * 17 : sizes + 4 * 18] = bytes(4)
    path.write_bytes(data)
    frames, problems = read(path)
    assert [frame.time_s for frame in frames] == [index / RATE_HZ for index in range(COUNT) if index != 17]
    assert [frame.index for frame in frames] == [index for index in range(COUNT) if index != 17]
    assert problems == ["a.mov: 1 frame(s) lost before 0.720 s"]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize("late_s", [3, 30, 100_000])
def test_one_false_timestamp_does_not_spoil_the_rest(whole: Path, tmp_path: Path, name: str, late_s: float) -> None:
    intact, _ = read(remux(whole, tmp_path / name))
    frames, problems = read(remux(whole, tmp_path / name, late={20: late_s}))
    assert [frame.index for frame in frames] == list(range(COUNT))
    np.testing.assert_allclose([frame.time_s for frame in frames], [frame.time_s for frame in intact], atol=1e-9)
    for frame, original in zip(frames, intact, strict=True):
        np.testing.assert_array_equal(frame.grey, original.grey)
    assert "no usable timestamp" in problems[0]


def test_frames_cut_off_by_an_edit_list_are_not_lost_frames(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(whole)) as reading, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as writing:
        stream = writing.add_stream_from_template(reading.streams.video[0])
        for packet in reading.demux(video=0):
            if packet.dts is not None:
                shift = round(5 / RATE_HZ / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                writing.mux(packet)
    intact, _ = read(whole)
    frames, problems = read(path)
    assert problems == []
    assert [(frame.index, frame.time_s) for frame in frames] == [(k, k / RATE_HZ) for k in range(COUNT - 5)]
    for frame in frames:
        np.testing.assert_array_equal(frame.grey, intact[frame.index + 5].grey)


def test_many_problems_of_a_kind_become_a_count(tmp_path: Path) -> None:
    _, problems = read(wipe(mjpeg(tmp_path / "a.mkv"), range(10, 50)))
    told = [problem for problem in problems if "cannot be decoded" in problem]
    assert len(told) == 10
    assert "damaged.mkv: 30 more reports of the kind: damage" in problems


def test_reading_ends_where_pyav_cannot_flush_a_late_stream() -> None:
    class Container:
        def demux(self, _stream: object) -> Iterator[str]:
            yield from ("first", "flush")
            raise IndexError("list index out of range")

    assert list(_packets(Container(), None, ignore)) == ["first", "flush"]  # type: ignore[arg-type]


def make_bad(folder: Path, kind: str) -> Path:
    path = folder / "bad.mp4"
    if kind == "not a video":
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    elif kind == "empty":
        path.touch()
    elif kind == "audio":
        path = folder / "bad.wav"
        with wave.open(str(path), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(bytes(8000))
    elif kind == "text":
        path = folder / "bad.txt"
        path.write_text("onset,apex,offset\n" * 50)
    elif kind == "still":
        path.write_bytes(cv2.imencode(".jpg", picture(0))[1].tobytes())
    elif kind == "no index":
        data = encode(folder / "a.mov", codec="mpeg4", pix_fmt="yuv420p", options={}).read_bytes()
        path.write_bytes(data[: data.index(b"moov") - 100])
    elif kind == "no decoder":
        data = encode(folder / "a.avi", codec="mpeg4", pix_fmt="yuv420p", options={}).read_bytes()
        path.write_bytes(data.replace(b"FMP4", b"ZZZZ"))
    elif kind == "no frame":
        path = wipe(mjpeg(folder / "a.avi"), range(COUNT))
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("not a video", "cannot be read as a video"),
        ("empty", "is empty"),
        ("audio", "holds no video, only: audio"),
        ("text", "is a text file"),
        ("still", "is one still image"),
        ("no index", "cut short"),
        ("no decoder", "no decoder"),
        ("no frame", "not one frame can be decoded"),
    ],
)
def test_what_is_no_video_is_refused_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str, message: str
) -> None:
    path = make_bad(tmp_path, kind)
    for read in (
        lambda: list(read_frames(path)),
        lambda: probe_video(path),
        lambda: read_colour_frames(path, times_s=[0]),
    ):
        with pytest.raises(VideoError, match=message) as error:
            read()
        assert "\n" not in str(error.value)
        assert str(path) in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_playlists_never_reach_the_network(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        visitors: list[bytes] = []

        def serve() -> None:
            with contextlib.suppress(TimeoutError):
                connection, _ = server.accept()
                with connection:
                    visitors.append(connection.recv(100))

        thread = threading.Thread(target=serve)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        path = tmp_path / "a.m3u8"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9.0,\n{address}\n#EXT-X-ENDLIST\n")
        with pytest.raises(VideoError):
            list(read_frames(path))
        thread.join()
    assert visitors == []


def test_cover_art_of_a_sound_file_is_no_video(tmp_path: Path) -> None:
    cover = cv2.imencode(".png", picture(0))[1].tobytes()
    body = b"\x00image/png\x00\x03\x00" + cover
    tag = b"APIC" + struct.pack(">IH", len(body), 0) + body
    size = bytes(len(tag) >> shift & 127 for shift in (21, 14, 7, 0))
    plain = tmp_path / "plain.mp3"
    with av.open(str(plain), "w") as container:
        stream = container.add_stream("libmp3lame", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 1152), np.float32), format="fltp", layout="stereo")
        sound.sample_rate = 44100
        container.mux([*stream.encode(sound), *stream.encode(None)])
    path = tmp_path / "a.mp3"
    path.write_bytes(b"ID3\x03\x00\x00" + size + tag + plain.read_bytes())
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    with pytest.raises(VideoError, match="holds no video, only: audio, video"):
        list(read_frames(path))
