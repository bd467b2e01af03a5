"""Frame folders: order by the number in the name, gaps, bit depths, odd files."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from metst.errors import UsageError, VideoError
from metst.results.recording import source_of
from metst.timeline import TimeGrid
from metst.video import Frame, probe_video, read_colour_frames, read_colour_stream, read_frames
from metst.video.folder import list_images

Image = npt.NDArray[np.uint8]


def level(index: int, shape: tuple[int, ...] = (20, 30)) -> Image:
    return np.full(shape, 10 + 5 * index, np.uint8)


def make_folder(folder: Path, names: Sequence[str]) -> Path:
    """The image of each name has the grey level of its place in the list."""
    for index, name in enumerate(names):
        cv2.imwrite(str(folder / name), level(index))
    return folder


def read(folder: Path, rate_hz: float = 30) -> tuple[list[Frame], list[str]]:
    problems: list[str] = []
    return list(read_frames(folder, rate_hz=rate_hz, on_problem=problems.append)), problems


@pytest.mark.parametrize(
    "names",
    [
        [f"img{number}.jpg" for number in range(1, 13)],  # CAS(ME)2: img1 ... img10
        [f"{number}.jpg" for number in range(1, 13)],
        [f"006_1_{number:04}.jpg" for number in range(1, 13)],  # SAMM Long Videos
        [f"reg_image{number:06}.bmp" for number in range(480, 492)],
        [f"take2_{number}_crop.PNG" for number in range(95, 107)],
        [f"f{number}_t{number / 30:.3f}.tif" for number in range(8, 20)],
        [f"{number}.webp" for number in range(98, 110)],
        [f"{chr(97 + number)}.tiff" for number in range(12)],  # no numbers: in order of name
    ],
)
def test_order_is_that_of_the_number(tmp_path: Path, names: list[str]) -> None:
    frames, _ = read(make_folder(tmp_path, names), rate_hz=200)
    assert [(frame.index, frame.time_s) for frame in frames] == [(index, index / 200) for index in range(12)]
    for frame in frames:
        assert np.abs(frame.grey.astype(int) - level(frame.index)).max() <= 1


def test_missing_images_are_jumps_and_told_once(tmp_path: Path) -> None:
    numbers = [3, 4, 6, 10, 11, 20]
    frames, problems = read(make_folder(tmp_path, [f"img{number}.png" for number in numbers]))
    assert [frame.index for frame in frames] == [0, 1, 3, 7, 8, 17]
    assert [frame.time_s for frame in frames] == [index / 30 for index in (0, 1, 3, 7, 8, 17)]
    assert problems == [f"{tmp_path.name}: 12 number(s) missing between images: 5, 7-9, 12-19"]
    info = probe_video(tmp_path, rate_hz=30)
    assert (info.frame_count, info.duration_s, info.rate_hz, info.codec) == (18, 18 / 30, 30, "images")
    assert (info.width, info.height, info.variable_rate) == (30, 20, False)


def test_the_folder_one_stands_in_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s1").mkdir()
    monkeypatch.chdir(make_folder(tmp_path / "s1", [f"{number}.png" for number in (1, 2, 4)]))
    _, problems = read(Path())
    assert problems
    assert all(each.startswith("s1: ") for each in problems)
    info = probe_video(Path(), rate_hz=30)
    source = source_of(Path(), info=info, grid=TimeGrid(np.arange(3) / 30), content="")
    assert (source.name, source.path) == ("s1", "s1")


def test_many_gaps_are_named_in_part(tmp_path: Path) -> None:
    _, problems = read(make_folder(tmp_path, [f"{number}.png" for number in range(0, 84, 7)]))
    assert problems[0].endswith("66 number(s) missing between images: 1-6, 8-13, 15-20, 22-27, 29-34, ...")


def test_other_files_in_the_folder_are_left_out(tmp_path: Path) -> None:
    make_folder(tmp_path, [f"img{number}.jpg" for number in range(1, 6)])
    for name in ("notes.txt", "Thumbs.db", "._img1.jpg", ".img9.jpg"):
        (tmp_path / name).write_text("no image")
    cv2.imwrite(str(tmp_path / "cover.png"), level(9))
    cv2.imwrite(str(tmp_path / "img01.jpg"), level(0))
    (tmp_path / "img2").mkdir()
    frames, problems = read(tmp_path)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert problems == [f"{tmp_path.name}: 2 image(s) do not fit the numbering of the others and are left out"]


def test_an_unreadable_image_is_a_hole(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make_folder(tmp_path, [f"{number}.png" for number in range(1, 9)])
    whole = (tmp_path / "4.png").read_bytes()
    (tmp_path / "4.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "5.png").write_bytes(b"")
    (tmp_path / "6.png").unlink()
    (tmp_path / "6.png").mkdir()
    frames, problems = read(tmp_path)
    assert [frame.index for frame in frames] == [0, 1, 2, 6, 7]
    assert [problem.split(": ", 1)[1] for problem in problems] == [
        "frame 3 is left out: 4.png cannot be decoded, it is damaged or not an image",
        "frame 4 is left out: 5.png cannot be decoded, it is damaged or not an image",
        "frame 5 is left out: 6.png cannot be read: Is a directory",
    ]
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_images_keep_their_upper_eight_bits(tmp_path: Path, suffix: str, bits: int) -> None:
    ramp = np.linspace(0, 2**bits - 1, 600).astype(np.uint16).reshape(20, 30)
    for number in range(1, 10):
        # A dark start must not be taken for few bits.
        cv2.imwrite(str(tmp_path / f"{number}{suffix}"), ramp if number > 1 else ramp // 64)
    frames, problems = read(tmp_path)
    np.testing.assert_array_equal(frames[5].grey, ramp >> (bits - 8))
    np.testing.assert_array_equal(frames[0].grey, (ramp // 64) >> (bits - 8))
    (colour,) = read_colour_frames(tmp_path, times_s=[5 / 30], rate_hz=30)
    np.testing.assert_array_equal(colour, np.dstack([ramp >> (bits - 8)] * 3))
    assert bool(problems) == (bits < 16)


def test_colour_and_alpha(tmp_path: Path) -> None:
    rgb = np.dstack([level(0), level(20), level(40)])
    cv2.imwrite(str(tmp_path / "1.png"), rgb[..., ::-1])
    cv2.imwrite(str(tmp_path / "2.png"), np.dstack([rgb[..., ::-1], level(3)]))
    cv2.imwrite(str(tmp_path / "3.png"), rgb[..., ::-1].astype(np.uint16) * 257)
    for frame in read_colour_stream(tmp_path, rate_hz=30):
        np.testing.assert_array_equal(frame.rgb, rgb)
    for frame in read_frames(tmp_path, rate_hz=30):
        assert np.abs(frame.grey.astype(int) - cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)).max() <= 1


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (6, -1), (3, 2), (8, 1)])
def test_orientation_stored_by_a_camera(tmp_path: Path, orientation: int, turns: int) -> None:
    y, x = np.mgrid[:40, :64]
    jpeg = cv2.imencode(".jpg", np.uint8(x * 2 + y * 3))[1].tobytes()
    tag = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    (tmp_path / "1.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(tag) + 2) + tag + jpeg[2:])
    (frame,), _ = read(tmp_path)
    expected = np.rot90(x * 2 + y * 3, turns)
    assert frame.grey.shape == expected.shape
    assert np.abs(frame.grey - expected).max() < 10


def test_other_sizes_become_the_first(tmp_path: Path) -> None:
    for number, shape in enumerate([(20, 30), (40, 60), (10, 15), (20, 30)], start=1):
        cv2.imwrite(str(tmp_path / f"{number}.png"), level(number, shape))
    frames, problems = read(tmp_path)
    for frame in frames:
        np.testing.assert_array_equal(frame.grey, level(frame.index + 1))
    assert [problem.split(": ", 1)[1] for problem in problems] == [
        "from frame 1 (0.033 s) on pictures are 60x40, resized to 30x20",
        "from frame 2 (0.067 s) on pictures are 15x10, resized to 30x20",
    ]
    assert [frame.cut for frame in frames] == ["", *["change of resolution"] * 3]
    (colour,) = read_colour_frames(tmp_path, times_s=[1 / 30], rate_hz=30)
    assert colour.shape == (20, 30, 3)


def test_a_larger_image_is_averaged_down(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), level(0))
    cv2.imwrite(str(tmp_path / "2.png"), np.tile(np.uint8([240, 0, 0]), (60, 30)))
    frames, _ = read(tmp_path)
    np.testing.assert_array_equal(frames[1].grey, np.full((20, 30), 80))


def test_frames_found_by_time(tmp_path: Path) -> None:
    make_folder(tmp_path, ["1.png", "2.png", "5.png", "6.png"])
    times = [4 / 30, 0.0, 1 / 30, 5 / 30, 2.4 / 30, 99.0, -1.0]
    found = read_colour_frames(tmp_path, times_s=times, rate_hz=30)
    assert [int(picture[0, 0, 0]) for picture in found] == [int(level(k)[0, 0]) for k in (2, 0, 1, 3, 1, 3, 0)]


def test_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"holds no images; expected numbered files \(\.bmp"):
        read(tmp_path)
    (tmp_path / "1.png").write_bytes(b"damaged")
    with pytest.raises(VideoError, match="not one frame can be decoded"):
        read(tmp_path)
    with pytest.raises(VideoError, match="not one frame can be decoded"):
        probe_video(tmp_path, rate_hz=30)
    for read_something in (read_frames, read_colour_stream, probe_video):
        with pytest.raises(UsageError, match="no timestamps: give its frame rate"):
            read_something(tmp_path)
    with pytest.raises(UsageError, match="no timestamps: give its frame rate"):
        read_colour_frames(tmp_path, times_s=[0.0])


def test_float_images_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.tif"), np.zeros((8, 8), np.float32))
    problems: list[str] = []
    with pytest.raises(VideoError, match="not one frame can be decoded"):
        list(read_frames(tmp_path, rate_hz=30, on_problem=problems.append))
    assert "1.tif holds float32 values, expected 8- or 16-bit integers" in problems[0]


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path, ["1.png"])
    if os.geteuid() != 0:
        tmp_path.chmod(0)
    else:  # root may read everything

        def refuse(_folder: Path) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(VideoError, match="cannot be read: Permission denied"):
        read(tmp_path)
    tmp_path.chmod(0o700)


def clock_name(moment_s: float) -> str:
    """Hours, minutes, seconds and milliseconds, as recorders write them."""
    milliseconds = 41_217_765 + round(1000 * moment_s)
    seconds = milliseconds // 1000
    return f"RGB-{seconds // 3600}-{seconds // 60 % 60}-{seconds % 60}-{milliseconds % 1000:04d}.png"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([clock_name(k / 24) for k in range(49)], "several numbers that run, or a clock"),
        ([clock_name(k / 24.7) for k in range(49)], "several numbers that run, or a clock"),
        ([f"20210301_11265{7 + k // 24}_{k % 24 * 1000 // 24:03d}.png" for k in range(49)], "several numbers"),
        ([f"{k / 24:.3f}.png" for k in range(49)], "several numbers"),
        ([f"cam_12-01-{5 + k // 24:02d}_{k % 24:02d}.png" for k in range(49)], "several numbers"),
        ([f"part{1 + k // 30}_{k % 30:03d}.png" for k in range(49)], "several numbers"),
        ([f"{1614597417123456 + round(k * 1e6 / 24)}.png" for k in range(49)], "times, not frames"),
        ([f"{1614597417123 + 40 * k}.png" for k in range(49)], "times, not frames"),
    ],
)
def test_several_numbers_and_clocks_are_in_natural_order_at_the_rate_given(
    tmp_path: Path, names: list[str], told: str
) -> None:
    frames, problems = read(make_folder(tmp_path, names))
    assert [int(frame.grey[0, 0]) for frame in frames] == [10 + 5 * k for k in range(49)]
    assert [frame.index for frame in frames] == list(range(49))
    assert np.diff([frame.time_s for frame in frames]) == pytest.approx(frames[1].time_s)
    assert len(problems) == 1
    assert told in problems[0]


def test_a_frame_number_beside_a_clock_still_shows_gaps(tmp_path: Path) -> None:
    names = [f"img_{k:04d}_{k / 24:.3f}s.png" for k in range(30) if k != 12]
    frames, problems = read(make_folder(tmp_path, names))
    assert [frame.index for frame in frames] == [k for k in range(30) if k != 12]
    assert len(problems) == 1
    assert problems[0].endswith("1 number(s) missing between images: 12")


def test_an_even_clock_shows_gaps(tmp_path: Path) -> None:
    names = [f"{1_000_000 + 40 * k}.png" for k in range(30) if k != 12]
    frames, problems = read(make_folder(tmp_path, names))
    assert [frame.index for frame in frames] == [k for k in range(30) if k != 12]
    assert "40 for each frame" in problems[0]
    assert problems[1].endswith("1 number(s) missing between images: 12")


@pytest.mark.parametrize(
    "name",
    [lambda k: f"f_{k:03d}_left_{59 - k:03d}.png", lambda k: f"frame_{k:03d}_id_{37 * k % 60:03d}.png"],
    ids=["countdown", "identifier"],
)
def test_of_numbers_that_run_alike_natural_order_decides(tmp_path: Path, name: Callable[[int], str]) -> None:
    files = [name(k) for k in range(60)]
    for file in files:
        (tmp_path / file).touch()
    problems: list[str] = []
    listed = list_images(tmp_path, report=lambda _kind, message: problems.append(message))
    assert [(index, path.name) for index, path in listed] == list(enumerate(files))
    assert problems == []


@pytest.mark.parametrize("step", [2, 11, 12, 15, 20, 24, 25, 30, 60])
def test_every_nth_frame_kept_is_no_clock(tmp_path: Path, step: int) -> None:
    folder = make_folder(tmp_path, [f"f_{step * k:05d}.png" for k in range(30)])
    problems: list[str] = []
    listed = list_images(folder, report=lambda _kind, message: problems.append(message))
    assert [index for index, _ in listed] == [step * k for k in range(30)]
    assert "missing between images" in problems[0]
