"""The overlay video shows every frame at its own time, the eyes covered, and nothing at all of a face not located."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.analyses import make_analysis
from metst.errors import DataError
from metst.report.condition_marks import hints
from metst.report.overlay import enlargements, recent_displacement, write_overlay
from metst.report.thumbnails import Face, eye_bar
from metst.results import Analysis, Condition
from metst.timeline import Series, TimeGrid
from metst.video import read_colour_stream, write_video

WIDTH, HEIGHT = 128, 96
FACE = (40.0, 20.0, 88.0, 80.0, 52.0, 42.0, 76.0, 42.0)


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    """Three seconds at a varying rate; no face in the last half second."""
    found = make_analysis(duration_s=3.0, rate_hz=20.0, events=1, gaps=((2.5, 9.0, "no face"),))
    steps = np.where(np.arange(60) % 3 == 0, 0.08, 0.04)
    grid = TimeGrid(np.cumsum(steps) - steps[0])

    def moved(series: Series) -> Series:
        return Series(grid, series.values, series.valid, series.channels)

    face = np.tile(np.float32(FACE), (60, 1))
    face[~found.motion.face.valid] = np.nan
    return replace(
        found,
        source=replace(found.source, width=WIDTH, height=HEIGHT, duration_s=grid.duration_s),
        scores=moved(found.scores),
        motion=replace(
            found.motion,
            displacement=moved(found.motion.displacement),
            face=Series(grid, face, found.motion.face.valid, found.motion.face.channels),
            centres=(found.motion.centres * 0.25).astype(np.float32),
        ),
    )


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """(60, H, W, 3): a checkerboard of two colours, which no covering leaves as it is."""
    rows, columns = np.indices((HEIGHT, WIDTH)) // 4
    board = np.where(((rows + columns) % 2)[..., None], np.uint8([220, 60, 60]), np.uint8([60, 60, 220]))
    return np.tile(board.astype(np.uint8), (60, 1, 1, 1))


@pytest.fixture(scope="module")
def video(analysis: Analysis, pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "recording.mp4"
    write_video(path, pictures, times_s=analysis.grid.time_s.tolist(), crf=5)
    return path


@pytest.fixture(scope="module")
def shown(analysis: Analysis, video: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[float, np.ndarray]]:
    path = tmp_path_factory.mktemp("overlay") / "overlay.mp4"
    write_overlay(analysis, path, video=video)
    return [(frame.time_s, frame.rgb) for frame in read_colour_stream(path)]


def test_every_frame_has_its_own_time(analysis: Analysis, shown: list[tuple[float, np.ndarray]]) -> None:
    np.testing.assert_allclose([time_s for time_s, _ in shown], analysis.grid.time_s, atol=1e-6)
    heights = {image.shape for _, image in shown}
    assert len(heights) == 1
    assert heights.pop()[1] == 800


def test_eyes_are_covered_in_the_pixels(analysis: Analysis, shown: list[tuple[float, np.ndarray]]) -> None:
    scale = 800 / WIDTH
    bar = eye_bar(Face(FACE[:4], ((FACE[4], FACE[5]), (FACE[6], FACE[7])))) * scale
    (left, top), (right, bottom) = bar.min(axis=0) + 8, bar.max(axis=0) - 8
    for frame in (0, 20, 40):
        inside = shown[frame][1][round(top) : round(bottom), round(left) : round(right)].astype(int)
        beside = shown[frame][1][round(top) : round(bottom), round(right) + 20 : round(right) + 60].astype(int)
        assert np.median(inside.std(axis=(0, 1))) < 35
        assert inside.mean() < 60
        assert beside.std(axis=(0, 1)).max() > 60  # the board


def test_without_a_located_face_the_frame_is_averaged(shown: list[tuple[float, np.ndarray]]) -> None:
    below = shown[58][1][300:560, 100:700].astype(int)
    assert below.std(axis=(0, 1)).max() < 40
    with_face = shown[30][1][480:560, 620:760].astype(int)
    assert with_face.std(axis=(0, 1)).max() > 60


def test_identity_is_shown_on_request_only(analysis: Analysis, video: Path, tmp_path: Path) -> None:
    write_overlay(analysis, tmp_path / "open.mp4", video=video, cover_eyes=False)
    last = [frame.rgb for frame in read_colour_stream(tmp_path / "open.mp4")][58]
    assert last[300:560, 100:700].astype(int).std(axis=(0, 1)).max() > 60


def test_the_cursor_moves_to_the_right(shown: list[tuple[float, np.ndarray]]) -> None:
    height = shown[0][1].shape[0]
    places = []
    for frame in (2, 15, 30, 45, 57):
        row = shown[frame][1][height - 45, 45:780].astype(int).min(axis=1)
        places.append(int(row.argmax()))
    assert places == sorted(places)
    assert places[-1] - places[0] > 500


def test_another_recording_is_refused(analysis: Analysis, pictures: np.ndarray, tmp_path: Path) -> None:
    for name, frames, rate_hz in (("short", pictures[:40], 20), ("rate", pictures, 20)):
        write_video(tmp_path / f"{name}.mp4", frames, rate_hz=rate_hz)
        with pytest.raises(DataError, match="not the recording that was analysed"):
            write_overlay(analysis, tmp_path / "overlay.mp4", video=tmp_path / f"{name}.mp4")
        assert not (tmp_path / "overlay.mp4").exists()


def test_arrows_are_motion_against_the_second_before_and_never_across_a_gap() -> None:
    grid = TimeGrid.uniform(100, rate_hz=20)
    values = np.zeros((100, 18, 2), np.float32)
    values[30:, :, 0] = 0.01  # a step
    values[60:] = 0.5  # another segment
    values[55:60] = np.nan
    valid = np.isfinite(values).all(axis=(1, 2))
    shown = recent_displacement(Series(grid, values, valid, tuple(map(str, range(18)))))
    np.testing.assert_allclose(shown[:30], 0, atol=1e-7)
    np.testing.assert_allclose(shown[30, 0], [0.01 * 20 / 21, 0], rtol=1e-4)
    np.testing.assert_allclose(shown[51:55], 0, atol=1e-7)
    np.testing.assert_allclose(shown[60:], 0, atol=1e-6)
    assert np.isnan(shown[55:60]).all()


def test_arrows_are_enlarged_by_what_moves_around_a_frame() -> None:
    time_s = np.arange(200) / 20
    rng = np.random.default_rng(0)
    motion = rng.normal(0, 0.004, (200, 18, 2)).astype(np.float32)
    motion[100:104] *= 8  # a strong movement 5 s from the start
    motion[180:] = np.nan
    drawn = enlargements(motion, time_s=time_s)
    near = (time_s >= 5.0 - 0.9) & (time_s < 5.2 + 0.9)
    far = np.abs(time_s - 5.1) > 1.2
    assert drawn.shape == (200,)
    assert drawn[near].max() < drawn[far].min()
    length = np.linalg.norm(motion, axis=-1) * drawn[:, None]
    assert (np.percentile(length[:180], 90, axis=1) <= 0.2).all()
    assert (enlargements(motion * 0, time_s=time_s) == enlargements(np.full_like(motion, np.nan), time_s=time_s)).all()
    assert (enlargements(motion * 1000, time_s=time_s)[:160] == 2).all()


def test_the_enlargement_is_said_in_the_picture(analysis: Analysis, video: Path, tmp_path: Path) -> None:
    def corner(scale: float) -> np.ndarray:
        found = analysis.motion.displacement
        moved = replace(analysis.motion, displacement=replace(found, values=found.values * np.float32(scale)))
        write_overlay(replace(analysis, motion=moved), tmp_path / "overlay.mp4", video=video)
        frame = [frame.rgb for frame in read_colour_stream(tmp_path / "overlay.mp4")][30]
        return frame[25:44, :420].astype(int)

    weak, same, strong = corner(1.0), corner(1.0), corner(50.0)
    assert np.abs(weak - same).max() == 0
    assert np.abs(weak - strong).max() > 60


def test_hints_name_what_overlaps_an_event() -> None:
    analysis = make_analysis(duration_s=10.0, events=2)
    onset, offset = int(analysis.events.onset[1]), int(analysis.events.offset[1])
    conditions = np.zeros_like(analysis.motion.conditions)
    plain = replace(analysis, motion=replace(analysis.motion, conditions=conditions))
    assert hints(plain, 1) == ()
    conditions[offset + 2, 16:] = Condition.BLINK  # just after
    conditions[onset - 3, 8:14] = Condition.SPEECH  # before: none of it
    conditions[onset + 1, [0, 4, 5, 6, 7]] = Condition.OCCLUDED
    assert hints(plain, 1) == (
        "beside a blink",
        "partly hidden or changed in looks (left brow, right brow, right brow inner and 2 more)",
    )
    assert hints(plain, 0) == ()
