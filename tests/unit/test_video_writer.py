"""Writing video: timestamps, pixels, equal bytes, whole files or none."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import av
import numpy as np
import numpy.typing as npt
import pytest

from metst.errors import DataError, OutputError, UsageError
from metst.video import probe_video, read_colour_stream, read_frames, write_video
from metst.video.writer import Codec

Image = npt.NDArray[np.uint8]
CODECS = get_args(Codec)


def texture(index: int, height: int = 48, width: int = 64) -> Image:
    y, x = np.mgrid[:height, :width]
    return np.uint8(120 + 50 * np.sin(x / 7 + index / 3) + 50 * np.cos(y / 5 - index / 4))


GREY = [texture(index) for index in range(20)]
LARGE = [texture(index, 136, 200) for index in range(10)]  # enough for every codec


@pytest.mark.parametrize("rate_hz", [25, 30000 / 1001, 29.97, 200, 1000, 0.5])
def test_a_fixed_rate_gives_exact_times(tmp_path: Path, rate_hz: float) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, GREY, rate_hz=rate_hz)
    times = [frame.time_s for frame in read_frames(path)]
    np.testing.assert_allclose(times, np.arange(20) / rate_hz, rtol=1e-15)
    info = probe_video(path)
    assert (info.frame_count, info.codec, info.variable_rate) == (20, "h264", False)
    assert info.rate_hz == pytest.approx(rate_hz, rel=1e-12)
    assert info.duration_s == pytest.approx(20 / rate_hz, rel=1e-12)


def test_given_times_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    times = [0.25, 0.29, 0.3, 1.0, 1.001, 7.5]
    write_video(path, GREY[:6], times_s=times)
    assert [frame.time_s for frame in read_frames(path)] == times


def test_almost_lossless_grey_is_luma_in_video_range(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    ramp = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    write_video(path, [ramp, ramp[:, ::-1]], rate_hz=25, crf=0)
    first, second = read_frames(path)
    expected = 16 + ramp * (219 / 255)
    assert np.abs(first.grey - expected).max() <= 1
    assert np.abs(second.grey - expected[:, ::-1]).max() <= 1
    assert abs((first.grey - expected).mean()) < 0.1
    colour = next(read_colour_stream(path)).rgb.astype(int)
    assert np.abs(colour - ramp[..., None]).max() <= 2
    assert (np.ptp(colour, axis=2) <= 1).all()


def test_colours_survive(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    flat = np.zeros((32, 48, 3), np.uint8)
    flat[:, :24], flat[:, 24:] = (200, 60, 40), (30, 90, 180)
    write_video(path, [flat] * 3, rate_hz=25, crf=0)
    for frame in read_colour_stream(path):
        away_from_the_edge = np.r_[0:20, 28:48]
        assert np.abs(frame.rgb[:, away_from_the_edge].astype(int) - flat[:, away_from_the_edge]).max() <= 3


def test_the_format_is_one_that_every_player_shows(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, [np.dstack([picture] * 3) for picture in GREY], rate_hz=25)
    with av.open(str(path)) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        frame = next(container.decode(stream))
        assert (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc) == (1, 1, 1, 1)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("shape", [(47, 63), (48, 63), (47, 64), (1, 1)])
@pytest.mark.parametrize("colours", [(), (3,)])
def test_odd_sizes_grow_by_a_repeated_row_or_column(tmp_path: Path, shape: tuple[int, int], colours: tuple[()]) -> None:
    picture = np.broadcast_to(texture(0, *shape)[(...,) + (None,) * len(colours)], shape + colours).copy()
    path = tmp_path / "a.mp4"
    write_video(path, [picture] * 2, rate_hz=25, crf=0)
    frame = next(read_frames(path))
    height, width = shape
    assert frame.grey.shape == (height + height % 2, width + width % 2)
    np.testing.assert_array_equal(frame.grey[-1], frame.grey[height - 1])
    np.testing.assert_array_equal(frame.grey[:, -1], frame.grey[:, width - 1])
    grey = frame.grey[:height, :width]
    assert np.abs(grey - (16 + texture(0, *shape) * (219 / 255))).max() <= 2


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    y, x = np.mgrid[:72, :96]
    moving = [
        np.uint8(120 + 50 * np.sin(x / 9 + k / 5) + 50 * np.cos(y / 7 - k / 6) + (x * y * 7 + k) % 13)
        for k in range(60)
    ]
    first = tmp_path / "first.mp4"
    write_video(first, iter(moving), rate_hz=25)
    # An encoder that reads memory it has not set differs only now and then.
    for _ in range(25):
        write_video(tmp_path / "again.mp4", moving, rate_hz=25)
        assert (tmp_path / "again.mp4").read_bytes() == first.read_bytes()
    write_video(tmp_path / "again.mp4", moving[::-1], rate_hz=25)
    assert (tmp_path / "again.mp4").read_bytes() != first.read_bytes()


@pytest.mark.parametrize("codec", CODECS)
def test_crf_trades_size_for_quality(tmp_path: Path, codec: Codec) -> None:
    sizes, errors = [], []
    for crf in (10, 40):
        path = tmp_path / f"{crf}.mp4"
        write_video(path, LARGE, rate_hz=25, crf=crf, codec=codec)
        sizes.append(path.stat().st_size)
        differences = [frame.grey - (16 + LARGE[frame.index] * (219 / 255)) for frame in read_frames(path)]
        errors.append(np.abs(differences).mean())
    assert sizes[0] > sizes[1]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_keeps_times_and_repeats_its_bytes(tmp_path: Path, codec: Codec) -> None:
    times_s = [0.5, 0.52, 0.6, 0.610011, 90.9]
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, LARGE[:5], times_s=times_s, codec=codec)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert b"cpuid=" not in (tmp_path / "a.mp4").read_bytes()  # nor do they name the machine
    assert probe_video(tmp_path / "a.mp4").codec == codec
    assert [frame.time_s for frame in read_frames(tmp_path / "a.mp4")] == pytest.approx(times_s, abs=1e-9)


def test_pictures_that_a_codec_cannot_hold_are_refused(target: Path) -> None:
    for codec, shape in (("hevc", (200, 64)), ("hevc", (64, 200)), ("mpeg4", (2, 8192))):
        with pytest.raises(UsageError, match=f"{shape[1]}x{shape[0]} px cannot be written as {codec}"):
            write_video(target, [np.zeros(shape, np.uint8)], rate_hz=25, codec=codec)  # type: ignore[arg-type]
    check_untouched(target)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A whole file that a failed attempt must leave alone."""
    path = tmp_path / "out" / "a.mp4"
    path.parent.mkdir()
    path.write_bytes(b"whole")
    return path


def check_untouched(target: Path) -> None:
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.6, 0.99, -1])
def test_a_full_disk_leaves_no_half_file(target: Path, share: float) -> None:
    noise = list(np.random.default_rng(3).integers(0, 255, (20, 96, 128), dtype=np.uint8))
    reference = target.with_name("whole.mp4")
    write_video(reference, noise, rate_hz=25)
    size = reference.stat().st_size
    reference.unlink()
    allowed = size - 1 if share == -1 else int(size * share)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*a\.mp4: the file would be larger than allowed") as error:
            write_video(target, noise, rate_hz=25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    check_untouched(target)


def test_no_space_left(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: Path, _target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="the disk is full"):
        write_video(target, GREY, rate_hz=25)
    check_untouched(target)


def test_targets_that_cannot_be_written(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="the folder does not exist"):
        write_video(target.parent / "missing" / "a.mp4", GREY, rate_hz=25)
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        write_video(target / "a.mp4", GREY, rate_hz=25)
    with pytest.raises(OutputError, match="not a file that can be replaced"):
        write_video(target.parent, GREY, rate_hz=25)
    with pytest.raises(OutputError, match="not a file that can be replaced"):
        write_video("/dev/full", GREY, rate_hz=25)
    assert Path("/dev/full").is_char_device()

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise av.error.PermissionError(13, "Permission denied")

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(OutputError, match="no permission to write there"):
        write_video(target, GREY, rate_hz=25)
    check_untouched(target)


def test_a_failing_source_is_not_taken_for_a_failing_disk(target: Path) -> None:
    def frames() -> Iterator[Image]:
        yield from GREY[:5]
        raise OSError("the camera was unplugged")

    with pytest.raises(OSError, match="the camera was unplugged"):
        write_video(target, frames(), rate_hz=25)
    check_untouched(target)


def test_wrong_calls(target: Path) -> None:
    wrong_rates = [0.0, -1.0, float("nan"), float("inf"), 1e-9]
    for rate_hz in wrong_rates:
        with pytest.raises(UsageError, match="positive number"):
            write_video(target, GREY, rate_hz=rate_hz)
    with pytest.raises(UsageError, match="either the frame rate or the times"):
        write_video(target, GREY)
    with pytest.raises(UsageError, match="either the frame rate or the times"):
        write_video(target, GREY, rate_hz=25, times_s=np.arange(20) / 25)
    with pytest.raises(UsageError, match="crf must lie between"):
        write_video(target, GREY, rate_hz=25, crf=52)
    with pytest.raises(UsageError, match="preset"):
        write_video(target, GREY, rate_hz=25, preset="quick")
    with pytest.raises(UsageError, match="one of the codecs h264, hevc, mpeg4; got vp9"):
        write_video(target, GREY, rate_hz=25, codec="vp9")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no frames"):
        write_video(target, [], rate_hz=25)
    with pytest.raises(UsageError, match="more frames than the 19 times"):
        write_video(target, GREY, times_s=np.arange(19) / 25)
    with pytest.raises(UsageError, match="21 times given for 20 frames"):
        write_video(target, GREY, times_s=np.arange(21) / 25)
    with pytest.raises(DataError, match="must increase"):
        write_video(target, GREY[:3], times_s=[0, 1, 1])
    with pytest.raises(UsageError, match="a microsecond apart"):
        write_video(target, GREY[:3], times_s=[0, 1, 1 + 1e-7])
    with pytest.raises(UsageError, match="start at 0 s or later"):
        write_video(target, GREY[:2], times_s=[-0.1, 1])
    check_untouched(target)


@pytest.mark.parametrize(
    "frames",
    [
        [GREY[0], texture(1, 50, 64)],
        [GREY[0], np.dstack([GREY[0]] * 3)],
        [np.zeros((48, 64, 4), np.uint8)],
        [np.zeros((48, 64), np.float32)],
        [np.zeros((48, 64, 3, 1), np.uint8)],
        [np.zeros(64, np.uint8)],
        [np.zeros((0, 64), np.uint8)],
    ],
)
def test_frames_of_another_kind(target: Path, frames: list[Image]) -> None:
    with pytest.raises(UsageError, match="expected frames of one shape"):
        write_video(target, frames, rate_hz=25)
    check_untouched(target)
