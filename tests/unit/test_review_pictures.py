"""Pictures of the review: each is its frame, and shows no more than was unlocked."""

from __future__ import annotations

import gc
import random
import shutil
import time
import weakref
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import httpx
import numpy as np
import pytest

from helpers.numbered_clips import HEIGHT, WIDTH, number_in, numbered_picture, results_of, uneven_times
from helpers.review_server import only, serving
from metst.errors import VideoError
from metst.report.thumbnails import Face, eye_bar
from metst.results import Motion, read_analysis
from metst.review.frames import FileFrames, FolderFrames
from metst.review.magnify import fitting, magnified
from metst.review.pictures import Pictures, Wanted
from metst.review.proxy import Proxy, is_slow, proxy_path
from metst.review.refusals import Conflict
from metst.synthesis.portrait import portrait
from metst.timeline import Series, TimeGrid
from metst.video import read_frames, write_video

FRAMES = 200
SEEKS = 500


def pictures() -> list[np.ndarray]:
    return [numbered_picture(number) for number in range(1, FRAMES + 1)]


def encoded(path: Path, codec: str, *, times_s: list[float], options: dict[str, str] | None = None) -> None:
    """A recording as cameras and converters write it, by any encoder of FFmpeg."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options=options or {})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"  # type: ignore[attr-defined]
        stream.codec_context.time_base = Fraction(1, 90000)
        for picture, time_s in zip(pictures(), times_s, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(time_s * 90000), Fraction(1, 90000)
            container.mux(stream.encode(frame))  # type: ignore[attr-defined]
        container.mux(stream.encode(None))  # type: ignore[attr-defined]


def even(start_s: float = 0.0) -> list[float]:
    return [start_s + k / 30 for k in range(FRAMES)]


CLIPS: dict[str, Callable[[Path], None]] = {
    "constant.mp4": lambda path: write_video(path, pictures(), rate_hz=30),
    "variable.mp4": lambda path: write_video(path, pictures(), times_s=uneven_times(FRAMES)),
    "late.mov": lambda path: encoded(path, "libx264", times_s=even(2.0), options={"bf": "3", "g": "90"}),
    "open.mkv": lambda path: encoded(
        path,
        "libx264",
        times_s=uneven_times(FRAMES),
        options={"x264-params": "open-gop=1:keyint=40:bframes=5"},
    ),
    "stream.ts": lambda path: encoded(path, "libx264", times_s=even(), options={"bf": "4", "g": "60"}),
    "old.avi": lambda path: encoded(path, "libx264", times_s=even(), options={"bf": "2", "g": "50"}),
    "web.webm": lambda path: encoded(
        path, "libvpx", times_s=even(), options={"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "1"}
    ),
}
"""Constant and variable rate, B-frames, open groups, a late start, no index, decoding times, pictures never shown."""


def grid_of(path: Path, *, rate_hz: float | None = None) -> TimeGrid:
    return TimeGrid(np.array([frame.time_s for frame in read_frames(path, rate_hz=rate_hz)]))


def shown(frames: FileFrames | FolderFrames, number: int) -> int:
    _, jpeg = cv2.imencode(".jpg", frames.picture(number - 1))
    return number_in(jpeg.tobytes())


@pytest.mark.parametrize("name", CLIPS)
def test_the_picture_of_a_number_is_that_frame(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    CLIPS[name](path)
    grid = grid_of(path)
    assert len(grid) == FRAMES
    frames, rng = FileFrames(path, grid=grid, size=(WIDTH, HEIGHT)), random.Random(4)
    wanted = [rng.randint(1, FRAMES) for _ in range(SEEKS)]
    wanted += [*range(40, 60), *range(60, 40, -1), 1, FRAMES, 2, FRAMES - 1]
    assert [number for number in wanted if shown(frames, number) != number] == []
    frames.close()


def test_images_of_a_folder_with_a_hole_and_a_damaged_one(tmp_path: Path) -> None:
    for number in [1, 2, 3, 5, 6, 7, 8, 9, 10]:
        cv2.imwrite(str(tmp_path / f"{number:03}.png"), numbered_picture(number)[..., ::-1])
    (tmp_path / "007.png").write_bytes(b"no image")
    grid = grid_of(tmp_path, rate_hz=20)
    frames = FolderFrames(tmp_path, grid=grid, size=(WIDTH, HEIGHT))
    assert [shown(frames, row) for row in range(1, len(grid) + 1)] == [1, 2, 3, 5, 6, 8, 9, 10]
    (tmp_path / "010.png").unlink()
    with pytest.raises((Conflict, VideoError)):
        FolderFrames(tmp_path, grid=grid, size=(WIDTH, HEIGHT))


def test_a_recording_with_other_frames_is_no_source(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", pictures()[:60], rate_hz=30)
    other = TimeGrid(uneven_times(60) + np.linspace(0, 1e-3, 60))  # type: ignore[operator]
    frames = FileFrames(tmp_path / "a.mp4", grid=other, size=(WIDTH, HEIGHT))
    with pytest.raises(Conflict, match="not the recording that was analysed"):
        frames.picture(40)


def test_steps_cost_no_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward the decoder goes on; back, what it decoded lately is there."""
    write_video(tmp_path / "a.mp4", pictures(), rate_hz=30)
    frames = FileFrames(tmp_path / "a.mp4", grid=grid_of(tmp_path / "a.mp4"), size=(WIDTH, HEIGHT))
    frames.picture(120)
    opened: list[int] = []
    own = frames._decode_up_to
    monkeypatch.setattr(frames, "_end", lambda: opened.append(1))
    monkeypatch.setattr(frames, "_decode_up_to", own)
    for frame in [*range(121, 140), *range(140, 120, -1)]:
        frames.picture(frame)
    assert not opened


def test_a_decoder_that_is_closed_lets_its_frames_go(tmp_path: Path) -> None:
    encoded(tmp_path / "clip.mp4", "libx264", times_s=even())
    frames = FileFrames(tmp_path / "clip.mp4", grid=grid_of(tmp_path / "clip.mp4"), size=(WIDTH, HEIGHT))
    collects = gc.isenabled()
    gc.disable()  # a cycle would keep it until the next collection, and with it the memory of all frames
    try:
        frames.picture(3)
        assert frames._decoding is not None
        decoding = weakref.ref(frames._decoding)
        frames.picture(FRAMES - 1)
        assert decoding() is None
        frames.close()
    finally:
        if collects:
            gc.enable()


# --- a quicker copy


def test_a_copy_has_the_same_frames_and_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METST_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "a.mp4"
    write_video(path, pictures(), times_s=uneven_times(FRAMES))
    grid = grid_of(path)
    assert is_slow(path, height=HEIGHT, frames=len(grid))
    proxy = Proxy(path, content="0" * 32, grid=grid, size=(WIDTH, HEIGHT), rate_hz=None)
    proxy._run()
    assert (proxy.problem, proxy.whole, proxy.progress) == ("", True, 1.0)
    made = proxy_path("0" * 32)
    assert made.stat().st_mode & 0o077 == 0
    assert [each.name for each in made.parent.iterdir()] == [made.name]
    assert not is_slow(made, height=HEIGHT, frames=len(grid))
    frames, rng = proxy.open(), random.Random(2)
    wanted = [rng.randint(1, FRAMES) for _ in range(100)]
    assert [number for number in wanted if shown(frames, number) != number] == []
    frames.close()


def test_a_copy_has_the_same_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METST_CACHE_DIR", str(tmp_path / "cache"))
    path, face = tmp_path / "a.mp4", portrait()[: HEIGHT // 2 * 2, : WIDTH // 2 * 2]
    write_video(path, [face] * 3, rate_hz=30, crf=1)
    size = face.shape[1], face.shape[0]
    proxy = Proxy(path, content="0" * 32, grid=grid_of(path), size=size, rate_hz=None)
    proxy._run()
    own, copy = (
        each.picture(1).astype(float) for each in (FileFrames(path, grid=grid_of(path), size=size), proxy.open())
    )
    assert np.abs((copy - own).mean(axis=(0, 1))).max() < 0.4  # rounded down it would be 0.8 and more


def test_a_copy_that_is_stopped_or_of_another_length_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METST_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "a.mp4"
    write_video(path, pictures()[:50], rate_hz=30)
    grid = grid_of(path)
    stopped = Proxy(path, content="1" * 32, grid=grid, size=(WIDTH, HEIGHT), rate_hz=None)
    monkeypatch.setattr(stopped._stop, "is_set", iter([False, *[False] * 20, True]).__next__)
    stopped._run()
    short = Proxy(path, content="2" * 32, grid=TimeGrid(grid.time_s[:40]), size=(WIDTH, HEIGHT), rate_hz=None)
    short._run()
    assert not stopped.whole
    assert not short.whole
    assert "50 frames, but 40 were analysed" in short.problem
    assert not list((tmp_path / "cache").iterdir())


def test_copies_go_with_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from metst.motion.cache import open_cache

    monkeypatch.setenv("METST_CACHE_DIR", str(tmp_path))
    proxy_path("a" * 32).write_bytes(b"x" * 100)
    proxy_path("b" * 32).write_bytes(b"x" * 100)
    cache = open_cache(tmp_path)
    assert {(each.name, each.size) for each in cache.entries()} == {("(pictures for metst review)", 100)}
    assert [each.path for each in cache.forget({"a" * 32})] == [proxy_path("a" * 32)]
    cache.prune(everything=True)
    assert not list(tmp_path.iterdir())


# --- what may be seen

SIZE = 200
BOX = (50.0, 40.0, 150.0, 160.0, 80.0, 80.0, 120.0, 80.0)
FACE = Face(BOX[:4], (BOX[4:6], BOX[6:8]))


class Still:
    """A source whose every frame is fine noise: what is covered or averaged shows."""

    def __init__(self) -> None:
        self.image = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)

    def picture(self, frame: int) -> np.ndarray:
        return self.image

    def close(self) -> None:
        pass


def face_series(valid: list[bool]) -> Series:
    values = np.tile(np.float32(BOX), (len(valid), 1))
    values[~np.array(valid)] = np.nan
    names = ("left", "top", "right", "bottom", "eye_left_x", "eye_left_y", "eye_right_x", "eye_right_y")
    return Series(TimeGrid.uniform(len(valid), rate_hz=30), values, np.array(valid), names)


def drawn(wanted: Wanted, *, valid: tuple[bool, ...] = (True, False)) -> np.ndarray:
    made = Pictures(face_series(list(valid)), width=SIZE).draw(wanted, frames=Still(), motion=None)
    return np.asarray(cv2.imdecode(np.frombuffer(made.jpeg, np.uint8), cv2.IMREAD_COLOR))


def inside_the_bar(picture: np.ndarray, *, offset: tuple[float, float] = (0, 0), scale: float = 1.0) -> np.ndarray:
    bar = (eye_bar(FACE) - offset) * scale
    (left, top), (right, bottom) = np.ceil(bar.min(axis=0)).astype(int) + 4, np.floor(bar.max(axis=0)).astype(int) - 4
    return picture[max(top, 0) : bottom, max(left, 0) : right]


def fine_detail(picture: np.ndarray) -> float:
    """What of the noise is left: mean difference of neighbours, grey levels."""
    return float(np.abs(np.diff(picture.astype(int), axis=1)).mean())


def test_faces_are_barred_blurred_or_clear() -> None:
    clear, eyes, blurred = (drawn(Wanted(0, faces=faces)) for faces in ("clear", "eyes", "blurred"))
    assert fine_detail(inside_the_bar(clear)) > 40
    assert fine_detail(inside_the_bar(eyes)) < 6
    assert fine_detail(eyes[:30]) > 40
    assert fine_detail(inside_the_bar(blurred)) < 6
    assert fine_detail(blurred) < 12


@pytest.mark.parametrize("width", [50, 100, 200, 3000])
def test_the_bar_stays_where_it_is_in_any_width(width: int) -> None:
    picture = drawn(Wanted(0, width=width, faces="eyes"))
    assert picture.shape[1] == min(width, SIZE)
    scale = picture.shape[1] / SIZE
    bar = eye_bar(FACE) * scale
    centre = picture[
        int(bar[:, 1].mean()) - 1 : int(bar[:, 1].mean()) + 2, int(bar[:, 0].min()) + 3 : int(bar[:, 0].max()) - 3
    ]
    assert centre.max() < 60


def test_a_frame_without_a_face_is_averaged_while_locked() -> None:
    assert fine_detail(drawn(Wanted(1, faces="eyes"))) < 12
    assert fine_detail(drawn(Wanted(1, faces="clear"))) > 40
    assert fine_detail(drawn(Wanted(0, faces="eyes"), valid=(False, False))) < 12


def test_a_cut_shows_the_face_the_same_for_an_event() -> None:
    one = drawn(Wanted(0, faces="clear", around=0, width=240))
    other = drawn(Wanted(1, faces="clear", around=0, width=240))
    assert one.shape[1] == 240
    np.testing.assert_array_equal(one, other)
    assert fine_detail(drawn(Wanted(1, faces="eyes", around=0, width=240))) < 12


def test_pictures_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metst.review.pictures._KEPT_BYTES", 200_000)
    made = Pictures(face_series([True] * 50), width=SIZE)
    for frame in range(50):
        made.draw(Wanted(frame), frames=Still(), motion=None)
    assert made.kept(Wanted(49)) is not None
    assert made.kept(Wanted(0)) is None
    assert made._bytes == sum(len(each.jpeg) for each in made._kept.values()) <= 200_000


# --- motion drawn larger


def checks(shift_px: float = 0.0) -> np.ndarray:
    """Soft vertical stripes, moved to the right."""
    x = np.arange(SIZE) - shift_px
    row = (128 + 100 * np.sin(x / 9)).astype(np.uint8)
    return np.repeat(np.tile(row, (SIZE, 1))[:, :, None], 3, axis=2)


def test_motion_is_drawn_as_many_times_as_said() -> None:
    """All regions moved by d to the right: pixels of the face are found (times - 1) d farther to the right."""
    unit_px, moved, times = 40 / (0.34 + 0.34), 0.02, 5.0
    picture = magnified(checks(), face=FACE, moved=np.tile(np.float32([moved, 0]), (18, 1)), times=times)
    middle = np.s_[100:130, 85:115, 0]  # the lower face between the eyes and the mouth
    differences = [
        (float(np.abs(picture[middle].astype(int) - checks(shift)[middle]).mean()), shift)
        for shift in np.arange(0, 12, 0.25)
    ]
    assert min(differences)[1] == pytest.approx(moved * (times - 1) * unit_px, abs=1.5)
    assert np.array_equal(picture[:20], checks()[:20])  # away from the face nothing moves


def test_motion_is_never_torn() -> None:
    moved = np.tile(np.float32([0.1, 0]), (18, 1))
    assert fitting(moved, times=2) == 2
    assert fitting(moved, times=50) == pytest.approx(3.5)
    assert fitting(np.zeros((18, 2), np.float32), times=50) == 50
    assert fitting(np.full((18, 2), np.nan, np.float32), times=50) == 50


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_video(folder / "clip.mp4", pictures()[:90], rate_hz=30)
    results_of(folder / "clip.mp4", folder / "results" / "clip", events=2)
    return folder


def frame(client: httpx.Client, number: int, **query: object) -> httpx.Response:
    return client.get(f"/api/recordings/{only(client)}/frames/{number}.jpg", params=query)  # type: ignore[arg-type]


def test_frames_over_the_interface(made: Path) -> None:
    analysis = read_analysis(made / "results" / "clip")
    with serving(made / "results") as (client, _):
        assert frame(client, 5, faces="clear").status_code == 403
        assert "faces are not unlocked" in frame(client, 5, faces="clear").json()["detail"]
        locked = frame(client, 5)
        told = client.post("/api/session/unlock", json={"faces": "clear"}).json()
        assert (told["faces"], told["unlocked"]) == ("clear", True)
        for number in (5, 6, 7, 40, 39, 90, 1):
            found = frame(client, number)
            assert found.headers["x-frame"] == str(number)
            assert float(found.headers["x-time-s"]) == analysis.grid.time_s[number - 1]
            assert found.headers["content-type"] == "image/jpeg"
            assert number_in(found.content) == number
        assert frame(client, 5).content != locked.content
        assert frame(client, 5, faces="eyes").content == locked.content
        client.post("/api/session/unlock", json={"faces": "eyes"})
        assert frame(client, 5).content == locked.content
        assert frame(client, 5, faces="clear").status_code == 403
        client.post("/api/session/unlock", json={"faces": "blurred"})
        assert frame(client, 5).content == frame(client, 5, faces="blurred").content != locked.content
        assert frame(client, 5, faces="eyes").status_code == frame(client, 5, faces="clear").status_code == 403
        assert client.post("/api/session/unlock", json={"faces": "all"}).status_code == 400


def test_magnified_frames_say_how_much(made: Path, tmp_path: Path) -> None:
    analysis = read_analysis(made / "results" / "clip")
    onset, apex = int(analysis.events.onset[0]), int(analysis.events.apex[0])
    with serving(made / "results") as (client, _):
        plain = frame(client, apex + 1)
        large = frame(client, apex + 1, magnify=5, since=onset + 1)
        assert (plain.headers["x-magnified"], large.headers["x-magnified"]) == ("1", "5")
        assert plain.content != large.content
        assert frame(client, apex + 1, magnify=5, since=apex + 1).headers["x-magnified"] == "1"
        assert frame(client, apex + 1, magnify=5, since=900).status_code == 404


def test_nothing_is_drawn_larger_across_a_gap() -> None:
    count = 10
    grid = TimeGrid.uniform(count, rate_hz=30)
    values = np.random.default_rng(3).normal(0, 0.01, (count, 18, 2)).astype(np.float32)
    valid = np.ones(count, bool)
    valid[4] = False
    values[4] = np.nan
    names = tuple(map(str, range(18)))
    motion = Motion.bare(Series(grid, values, valid, names), quality=np.ones((count, 18), np.float32))
    made = Pictures(face_series([True] * count), width=SIZE)
    across = made.draw(Wanted(8, times=5, since=2), frames=Still(), motion=motion)
    within = made.draw(Wanted(8, times=5, since=6), frames=Still(), motion=motion)
    assert across.times == 1
    assert across.jpeg == made.draw(Wanted(8), frames=Still(), motion=None).jpeg
    assert within.times > 1


def test_several_windows_get_their_own_frames(made: Path) -> None:
    """Requests from many threads at once: each gets the picture of its number."""
    from concurrent.futures import ThreadPoolExecutor

    with serving(made / "results") as (client, _):
        client.post("/api/session/unlock", json={"faces": "clear"})
        rid, rng = only(client), random.Random(3)
        numbers = [rng.randint(1, 90) for _ in range(120)]

        def get(number: int) -> int:
            return number_in(client.get(f"/api/recordings/{rid}/frames/{number}.jpg?width=160").content)

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(get, numbers)) == numbers


def test_a_slow_recording_is_served_from_its_copy_once_that_is_whole(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METST_CACHE_DIR", str(tmp_path / "cache"))
    shutil.copytree(made, tmp_path / "work")
    with serving(tmp_path / "work" / "results") as (client, desk):
        client.post("/api/session/unlock", json={"faces": "clear"})
        recording = desk.recording(only(client))
        assert number_in(frame(client, 7).content) == 7
        end = time.monotonic() + 30
        while recording.proxy_progress != 1 and time.monotonic() < end:
            time.sleep(0.05)
        assert client.get(f"/api/recordings/{recording.id}").json()["video"]["copy_progress"] == 1
        assert [number_in(frame(client, number).content) for number in (8, 70, 30)] == [8, 70, 30]
        assert recording._frames is not None
        assert recording._frames_of[1]
