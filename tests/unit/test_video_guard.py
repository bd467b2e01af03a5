"""Frozen, repeated and combed pictures are noticed at every door: files, folders, cameras, pictures that are fed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from metst.stream import Stream
from metst.timeline import TimeGrid
from metst.video import Frame, loss_problem, rate_and_loss, read_frames
from metst.video.camera import Camera
from metst.video.guard import PictureGuard

Image = npt.NDArray[np.uint8]
RATE_HZ, HEIGHT, WIDTH = 25, 144, 192
FREEZE = [*range(30), *[29] * 10, *range(40, 70)]
PADDED = [k - k // 6 for k in range(90)]  # every sixth picture is the one before
COMBED = "interlaced"


def scene(moment: float, *, seed: int = 0) -> Image:
    """A textured thing that moves over a still ground, with the noise of a camera."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ground = 90 + 30 * np.sin(x / 11) * np.cos(y / 8)
    left, top = 60 + 25 * np.sin(moment / 7), 40 + 18 * np.cos(moment / 9)
    inside = (np.abs(x - left - 35) < 35) & (np.abs(y - top - 35) < 35)
    thing = 140 + 60 * np.sin((x - left) / 3) * np.sin((y - top) / 3)
    noise = np.random.default_rng([seed, round(100 * moment)]).normal(0, 1.5, (HEIGHT, WIDTH))
    return np.clip(np.where(inside, thing, ground) + noise, 0, 255).astype(np.uint8)


def woven(count: int, *, speed: float = 1.0) -> list[Image]:
    odd = np.arange(HEIGHT)[:, None] % 2 == 1
    return [np.where(odd, scene(speed * (k + 0.5)), scene(speed * k)) for k in range(count)]


def encode(path: Path, pictures: Sequence[Image], *, codec: str = "libx264", **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE_HZ, options=options)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for index, grey in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(grey, format="gray")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read(path: Path, *, rate_hz: float | None = None) -> tuple[list[Frame], list[str]]:
    problems: list[str] = []
    return list(read_frames(path, rate_hz=rate_hz, on_problem=problems.append)), problems


def guarded(pictures: Sequence[Image]) -> tuple[list[str], list[str]]:
    problems: list[str] = []
    guard = PictureGuard(lambda kind, message: problems.append(f"{kind}: {message}"))
    cuts = [guard.take(picture, time_s=k / RATE_HZ)[1] for k, picture in enumerate(pictures)]
    guard.close()
    return cuts, problems


def counted(problems: Sequence[str]) -> int:
    told = [line for line in problems if "repeat the picture before them" in line]
    return int(told[0].split(": ")[1].split()[0]) if told else 0


@pytest.mark.parametrize("crf", ["18", "23", "28"])
def test_repeats_that_were_encoded_anew_are_counted(tmp_path: Path, crf: str) -> None:
    planted = len(PADDED) - len(set(PADDED))
    _, problems = read(encode(tmp_path / "a.mp4", [scene(k) for k in PADDED], crf=crf))
    assert 0.85 * planted <= counted(problems) <= planted
    _, problems = read(encode(tmp_path / "b.mp4", [scene(k) for k in range(90)], crf=crf))
    assert problems == []


@pytest.mark.parametrize("crf", ["18", "23", "28"])
def test_an_encoded_freeze_is_a_gap_until_it_ends(tmp_path: Path, crf: str) -> None:
    frames, problems = read(encode(tmp_path / "a.mp4", [scene(k) for k in FREEZE], crf=crf))
    cut = [frame.index for frame in frames if frame.cut]
    assert cut[-1] == 40
    assert cut[0] >= 29 + 0.15 * RATE_HZ
    assert "the picture freezes 1 time(s)" in problems[0]


def at_rest(count: int) -> Iterator[Image]:
    """Someone who moves, comes to rest within half a second, and moves off again as slowly."""
    moment = 0.0
    for k in range(count):
        speed = min(1.0, abs(k - count / 2) / 12)
        moment += speed
        yield scene(round(moment, 2), seed=k)


def test_coming_to_rest_is_no_freeze() -> None:
    cuts, problems = guarded(list(at_rest(100)))
    assert set(cuts) == {""}
    assert problems == []


def test_a_face_at_rest_after_a_pan_is_measured() -> None:
    """What changes little after a sharp stop, but no less than the noise did before, is a picture as it is."""
    still = [scene(0, seed=k) for k in range(30)]
    pan = [np.roll(scene(0, seed=k), 9 * k, axis=1) for k in range(10)]
    cuts, _ = guarded([*still, *pan, *(scene(0, seed=100 + k) for k in range(60))])
    assert cuts.count("frozen picture") <= 1


def test_a_pan_that_ends_at_once_on_a_face_with_little_noise_is_no_freeze() -> None:
    """As of a camera that takes noise out: what stands still changes by less than a quarter of what moved."""
    rng = np.random.default_rng(0)
    still = cv2.GaussianBlur(scene(0), (0, 0), 2).astype(np.float64)
    at = [*range(30), *[29] * 40, *range(30, 60)]
    noisy = [np.round(np.roll(still, 3 * k, axis=1) + rng.normal(0, 0.35, still.shape)).astype(np.uint8) for k in at]
    cuts, problems = guarded(noisy)
    assert set(cuts) == {""}
    assert problems == []


def lifted(height_px: float) -> Image:
    """A picture without noise, of which a part is lifted."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    part = np.exp(-(((x - 90) / 20) ** 2) - ((y - 70) / 12) ** 2)
    texture = (130 + 60 * np.sin(x / 3) * np.sin(y / 3)).astype(np.uint8)
    return np.asarray(cv2.remap(texture, x, y + np.float32(height_px) * part, cv2.INTER_LINEAR), np.uint8)


@pytest.mark.parametrize("rate_hz", [25, 60, 200])
@pytest.mark.parametrize("abrupt", [False, True])
def test_in_a_still_scene_without_noise_equal_pictures_say_nothing(rate_hz: int, abrupt: bool) -> None:
    """Rendered, denoised, recorded from a screen: nothing differs while nothing moves."""
    movement = np.linspace(0, 1, round(0.3 * rate_hz))
    course = 1 - np.abs(2 * movement - 1) if abrupt else np.sin(np.pi * movement) ** 2
    rest = np.zeros(2 * rate_hz)
    heights = np.concatenate([rest, course, rest, course, rest, course, rest])
    problems: list[str] = []
    guard = PictureGuard(lambda kind, message: problems.append(f"{kind}: {message}"))
    cuts = {guard.take(lifted(6 * height), time_s=k / rate_hz)[1] for k, height in enumerate(heights)}
    guard.close()
    assert cuts == {""}
    assert problems == []


@pytest.mark.parametrize("crf", ["23", "30", "36"])
def test_noise_that_the_encoder_takes_out_makes_no_repeats(tmp_path: Path, crf: str) -> None:
    rng = np.random.default_rng(0)
    noisy = [np.round(lifted(0) + rng.normal(0, 1.5, (HEIGHT, WIDTH))).astype(np.uint8) for _ in range(200)]
    frames, problems = read(encode(tmp_path / "a.mp4", noisy, crf=crf))
    assert problems == []
    assert {frame.cut for frame in frames} == {""}


def test_a_quiet_scene_between_two_cuts_is_no_freeze() -> None:
    flicker = [np.full((HEIGHT, WIDTH), level, np.uint8) for level in (10, 20, 8, 18, 12, 22, 10, 20)]
    quiet = [scene(0.01 * k, seed=k) for k in range(60)]
    cuts, problems = guarded([*quiet, *flicker, *quiet, *(255 - picture for picture in quiet)])
    assert set(cuts) == {""}
    assert problems == []


@pytest.mark.parametrize("options", [{"qp": "0"}, {"crf": "18"}, {"crf": "28"}])
def test_combed_video_that_does_not_say_so_is_told_and_brought_to_one_field(
    tmp_path: Path, options: dict[str, str]
) -> None:
    frames, problems = read(encode(tmp_path / "a.mp4", woven(40, speed=2.0), **options))
    assert len(problems) == 1
    assert "is interlaced, which its file does not say" in problems[0]
    assert "bwdif" in problems[0], "what to do"
    cut = [frame.index for frame in frames if frame.cut]
    assert len(cut) == 1
    assert cut[0] <= 5
    for frame in frames[cut[0] :]:
        rows = frame.grey.astype(int)
        np.testing.assert_allclose(rows[1:-1:2], (rows[:-2:2] + rows[2::2]) / 2, atol=0.5)


def test_what_is_whole_is_not_taken_for_combed() -> None:
    noise = [np.random.default_rng(k).integers(0, 255, (HEIGHT, WIDTH), np.uint8) for k in range(20)]
    for pictures in (noise, [scene(2 * k) for k in range(40)], [scene(k).T.copy() for k in range(40)]):
        assert guarded(pictures)[1] == []


@pytest.mark.parametrize("period_px", [2, 2.2, 2.5, 3, 4])
@pytest.mark.parametrize("step_px", [0.17, 0.67, 2])
def test_fine_stripes_that_move_are_not_taken_for_combed(period_px: float, step_px: float) -> None:
    """A striped shirt: its rows are unlike their neighbours, but in all pictures alike."""
    rows = np.arange(HEIGHT)[:, None]
    pictures = []
    for k in range(40):
        shirt = scene(0, seed=k) + 30 * np.sin(2 * np.pi * (rows + step_px * k) / period_px)
        pictures.append(np.clip(np.where(rows > 60, shirt, scene(0, seed=k)), 0, 255).astype(np.uint8))
    assert [line for line in guarded(pictures)[1] if COMBED in line] == []


def test_combing_that_ends_is_told_and_all_rows_are_measured_again() -> None:
    pictures = [*woven(30, speed=2.0), *(scene(2 * k) for k in range(30, 90))]
    guard = PictureGuard(lambda _kind, _message: None)
    taken = [guard.take(picture, time_s=k / RATE_HZ) for k, picture in enumerate(pictures)]
    cuts = [k for k, (_, cut) in enumerate(taken) if cut]
    assert [taken[k][1] for k in cuts] == ["change to one field", "change to both fields"]
    assert cuts[0] <= 5
    assert 30 < cuts[1] <= 56
    np.testing.assert_array_equal(taken[-1][0], pictures[-1])
    assert "no longer interlaced" in guarded(pictures)[1][1]


class Device:
    """Stands in for ``cv2.VideoCapture``: gives pictures as it was told, then none."""

    def __init__(self, pictures: Sequence[Image]) -> None:
        self._pictures, self._at = pictures, -1

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def get(self, _key: int) -> float:
        return RATE_HZ

    def grab(self) -> bool:
        self._at += 1
        return self._at < len(self._pictures)

    def retrieve(self) -> tuple[bool, Image]:
        return True, cv2.cvtColor(self._pictures[self._at], cv2.COLOR_GRAY2BGR)

    def release(self) -> None: ...


@pytest.mark.parametrize("shown", [FREEZE, PADDED])
def test_all_doors_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: list[int]) -> None:
    pictures = [scene(k) for k in shown]
    expected, told = guarded(pictures)
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / f"{index:04d}.png"), picture)
    frames, problems = read(tmp_path, rate_hz=RATE_HZ)
    assert [frame.cut for frame in frames] == expected
    assert [line.split(": ", 1)[1] for line in problems] == [line.split(": ", 1)[1] for line in told]

    stream, fed = Stream(), []
    monkeypatch.setattr(stream, "feed", lambda frame: fed.append(frame.cut))
    for index, picture in enumerate(pictures):
        stream.feed_picture(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), time_s=index / RATE_HZ)
    assert fed == expected
    stream.close()
    assert [f"repeats: {line}" for line in stream.problems] == told

    clock = iter(k / RATE_HZ for k in range(1000))
    monkeypatch.setattr("metst.video.camera.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("metst.video.camera.time.sleep", lambda _seconds: None)
    camera = Camera(0, opener=lambda _index: Device(pictures))
    taken = camera.frames()
    assert [next(taken).cut for _ in pictures] == expected
    taken.close()
    assert len(camera.problems) == 1
    assert camera.problems[0].startswith("camera 0: ")


def milliseconds(frames: Sequence[int], *, rate_hz: float) -> TimeGrid:
    """Timestamps as Matroska rounds them."""
    return TimeGrid(np.round(np.array(frames) / rate_hz, 3))


@pytest.mark.parametrize("rate_hz", [24.0, 30.0, 60.0, 120.0, 200.0])
@pytest.mark.parametrize("lost", [3, 4, 10])
def test_lost_frames_are_counted_and_the_rate_is_the_cameras(rate_hz: float, lost: int) -> None:
    kept = [k for k in range(480) if k % lost != 1]
    found_hz, count = rate_and_loss(milliseconds(kept, rate_hz=rate_hz))
    assert found_hz == pytest.approx(rate_hz, rel=1e-3)
    assert count == kept[-1] + 1 - len(kept)
    told = loss_problem(milliseconds(kept, rate_hz=rate_hz), name="a.mkv")
    assert told is not None
    assert told.startswith(f"a.mkv: {count} of {kept[-1] + 1} frames are missing")
    assert f"took {rate_hz:g} a second" in told


def test_of_a_recording_without_loss_nothing_is_said() -> None:
    rng = np.random.default_rng(0)
    shaken = TimeGrid(np.cumsum(rng.normal(1 / 30, 0.003, 300)))
    even = TimeGrid(np.arange(100) / 25)
    for grid in (milliseconds(range(480), rate_hz=24), shaken, even):
        assert rate_and_loss(grid)[1] == 0
        assert loss_problem(grid, name="a") is None
    assert rate_and_loss(even)[0] == 1 / even.frame_s
    assert rate_and_loss(milliseconds(range(480), rate_hz=24))[0] == pytest.approx(24, rel=1e-3)
    assert rate_and_loss(TimeGrid(np.array([0.0])))[0] == 0


@pytest.mark.parametrize("rate_hz", [23.976, 25, 29.97, 50, 59.94, 60, 100, 120, 200, 240, 300, 360, 400])
@pytest.mark.parametrize("faster", [1, 2.25, 2.5])
def test_timestamps_in_milliseconds_hide_neither_the_rate_nor_show_a_loss(rate_hz: float, faster: float) -> None:
    grid = milliseconds(range(2000), rate_hz=faster * rate_hz)
    found_hz, lost = rate_and_loss(grid)
    assert found_hz == pytest.approx(faster * rate_hz, rel=2e-3)
    assert lost == 0
    assert loss_problem(grid, name="a.mkv") is None


def test_a_gap_that_rounding_cannot_explain_is_a_loss_at_high_rates_too() -> None:
    kept = [k for k in range(2000) if k % 100 >= 10]
    found_hz, lost = rate_and_loss(milliseconds(kept, rate_hz=600))
    assert found_hz == pytest.approx(600, rel=5e-3)
    assert lost == pytest.approx(190, abs=10)


def test_a_rate_that_varies_is_told_and_no_loss_is_claimed() -> None:
    rng = np.random.default_rng(0)
    screen = TimeGrid(np.cumsum(rng.choice([1, 2, 3, 4, 6, 10], 500) / 60))
    exposure = TimeGrid(np.concatenate([np.arange(300) / 30, 10 + np.arange(1, 150) / 15]))
    for grid in (screen, exposure):
        assert rate_and_loss(grid)[1] == 0
        told = loss_problem(grid, name="a.mp4")
        assert told is not None
        assert told.startswith("a.mp4 has a variable frame rate")


def test_a_pause_is_no_loss() -> None:
    times_s = np.concatenate([np.arange(50) / 25, 10 + np.arange(50) / 25])
    assert rate_and_loss(TimeGrid(times_s)) == (pytest.approx(25), 0)
