"""Tables of landmarks of OpenFace and py-feat: their own files, failed rows, several faces, what is refused."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from helpers.command_line import run
from helpers.frontal_face import frontal_face
from metst import analyze
from metst.arrays import Float32Array
from metst.errors import DataError, MetstError, UsageError
from metst.evaluation.analyses import AnalysisTask, Choices, analyze_into, is_done, loaded
from metst.face import track_face
from metst.formats.landmarks import check_on_face, read_landmarks
from metst.synthesis.clip import write_clip
from metst.synthesis.recipe import ClipRecipe
from metst.video import read_frames, write_video

FRAMES, WIDTH, HEIGHT = 12, 640, 480
FACE = np.asarray(frontal_face(opening=0.02) * 60 + (300, 200), np.float32)
COLUMNS = [f"{axis}_{number}" for axis in "xy" for number in range(68)]
Rows = list[tuple[int, Float32Array | None]]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("video") / "clip.mp4", FRAMES)


def written(path: Path, count: int) -> Path:
    write_video(path, [np.full((HEIGHT, WIDTH), 16 + n % 200, np.uint8) for n in range(count)], rate_hz=25)
    return path


def moved(number: int) -> Float32Array:
    return FACE + np.float32(number)


def openface(path: Path, rows: Rows) -> Path:
    """A table as OpenFace 2 writes it: blanks after commas, frames from 1, zeros where it failed, points in space."""
    with path.open("w") as file:
        print("frame, face_id, timestamp, confidence, success", *COLUMNS, *map(str.upper, COLUMNS), sep=", ", file=file)
        for frame, points in rows:
            values = np.zeros(136) if points is None else points.T.ravel()
            print(frame + 1, 0, 99.9, 0.0, int(points is not None), *values, *np.full(136, -7.0), sep=", ", file=file)
    return path


def pyfeat(path: Path, rows: Rows) -> Path:
    """A table as ``Fex.to_csv`` writes it: frames from 0, empty cells where there is no face."""
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        box = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"]
        out.writerow([*box, "FaceScore", *COLUMNS, "AU01", "frame"])
        for frame, points in rows:
            values = [""] * 136 if points is None else [repr(float(value)) for value in points.T.ravel()]
            out.writerow([1, 2, 3, 4, "" if points is None else 0.9, *values, 0.3, float(frame)])
    return path


WRITERS = pytest.mark.parametrize("write", [openface, pyfeat])


@WRITERS
def test_rows_belong_to_frames_by_number_and_failed_ones_are_gaps(write, video: Path, tmp_path: Path) -> None:
    rows: Rows = [(n, None if n == 4 else moved(n)) for n in range(FRAMES) if n != 7]
    points = read_landmarks(write(tmp_path / "t.csv", rows), video=video)
    assert len(points) >= FRAMES
    for number in range(FRAMES):
        expected = np.full((68, 2), np.nan) if number in (4, 7) else moved(number)
        np.testing.assert_array_equal(points[number], expected)
    assert np.isnan(points[FRAMES:]).all()
    reasons = [frame.reason for frame in track_face(read_frames(video), landmarks=points)]
    assert [n for n, reason in enumerate(reasons) if reason == "no face"] == [4, 7]


@WRITERS
def test_rows_belong_to_the_images_of_a_folder_that_are_there(write, tmp_path: Path) -> None:
    numbers = [1, 2, 3, 4, 6, 7, 20, 21, 22, 23]
    (tmp_path / "images").mkdir()
    for number in numbers:
        cv2.imwrite(str(tmp_path / "images" / f"{number:03}.png"), np.full((HEIGHT, WIDTH), number, np.uint8))
    table = write(tmp_path / "t.csv", [(n, moved(n)) for n in range(len(numbers))])
    points = read_landmarks(table, video=tmp_path / "images", rate_hz=25)
    seen = list(track_face(read_frames(tmp_path / "images", rate_hz=25), landmarks=points))
    assert [found.frame.index for found in seen] == [number - 1 for number in numbers]
    for n, found in enumerate(seen):
        assert found.face is not None
        np.testing.assert_array_equal(found.face.landmarks, moved(n))


@WRITERS
def test_the_largest_face_at_the_start_is_followed(write, video: Path, tmp_path: Path) -> None:
    small = (FACE - FACE.mean(axis=0)) * 0.4 + np.float32([90, 90])
    rows: Rows = []
    for n in range(FRAMES):
        # The small one comes first in each frame; the large one is away in frames 5 and 6.
        rows += [(n, small)] + ([] if n in (5, 6) else [(n, moved(n))])
    points = read_landmarks(write(tmp_path / "t.csv", rows), video=video)
    for n in range(FRAMES):
        np.testing.assert_array_equal(points[n], np.full((68, 2), np.nan) if n in (5, 6) else moved(n))


def test_a_table_that_openface_wrote(pyfeat_data: Path, tmp_path: Path) -> None:
    table = pyfeat_data / "OpenFace_Test.csv"
    points = read_landmarks(table, video=written(tmp_path / "v.mp4", 100))
    told = pd.read_csv(table, skipinitialspace=True)
    assert told.frame.tolist() == list(range(1, 101))
    for axis, name in enumerate("xy"):
        columns = told[[f"{name}_{number}" for number in range(68)]].to_numpy(np.float32)
        np.testing.assert_array_equal(points[:100, :, axis], columns)


def test_a_table_that_py_feat_wrote(pyfeat_data: Path, tmp_path: Path) -> None:
    told = pd.read_csv(pyfeat_data / "Feat_Test.csv")
    assert "frame" in told
    points = read_landmarks(pyfeat_data / "Feat_Test.csv", video=written(tmp_path / "v.mp4", len(told)))
    columns = told[[f"x_{number}" for number in range(68)]].to_numpy(np.float32)
    np.testing.assert_array_equal(points[: len(told), :, 0], columns)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:5], r"has landmarks of 4 frames, but clip.mp4 has 12: give the table of this recording"),
        (lambda lines: lines[:2] + lines[11:], r"has rows of 3 frames among 12: .*\(py-feat: skip_frames=1\)"),
        (lambda lines: [lines[0].replace("x_67", "x_99"), *lines[1:]], "has no column x_67"),
        (lambda lines: [lines[0].replace("FaceRectX", "left"), *lines[1:]], "neither a table of OpenFace"),
        (lambda lines: [lines[0], lines[1].replace(",0.9,", ",often,"), *lines[2:]], "line 2: FaceScore is no number"),
        (lambda lines: [lines[0], lines[1] + ",7", *lines[2:]], r"line 2: expected 143 cells"),
        (lambda lines: [lines[0], lines[1][:-3] + "-2", *lines[2:]], r"line 2: expected a frame from 0 on, got '-2'"),
        (
            lambda lines: [line.replace(",", ";") for line in lines],
            "expected CSV with commas, got ';' between the cells",
        ),
        (lambda lines: [lines[0].replace("AU01", "x_68"), *lines[1:]], r"more than 68 landmarks.*not MPDetector\)"),
        (lambda lines: [], "neither a table of OpenFace"),
    ],
)
def test_what_is_no_table_of_this_recording_is_refused(change, message: str, video: Path, tmp_path: Path) -> None:
    table = pyfeat(tmp_path / "t.csv", [(n, moved(n)) for n in range(FRAMES)])
    table.write_text("\n".join(change(table.read_text().splitlines())) + "\n")
    with pytest.raises(DataError, match=message) as refused:
        read_landmarks(table, video=video)
    assert "\n" not in str(refused.value)


@WRITERS
def test_points_of_another_picture_size_are_refused(write, video: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", [(n, 3 * FACE) for n in range(FRAMES)])
    with pytest.raises(DataError, match=r"outside of the 640 x 480 pixels of clip\.mp4"):
        read_landmarks(table, video=video)


def test_a_table_without_faces_and_one_that_is_not_there(video: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no frame with all 68 landmarks"):
        read_landmarks(openface(tmp_path / "t.csv", [(n, None) for n in range(FRAMES)]), video=video)
    with pytest.raises(UsageError, match="no table of landmarks"):
        read_landmarks(tmp_path / "none.csv", video=video)


def test_bytes_that_are_no_text_are_refused(video: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00frame\x00")
    with pytest.raises(MetstError, match="not in UTF-8"):
        read_landmarks(tmp_path / "t.csv", video=video)


def test_one_table_for_two_recordings_and_a_folder_without_one(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = written(tmp_path / "other.mp4", FRAMES)
    table = pyfeat(tmp_path / "clip.csv", [(n, moved(n)) for n in range(FRAMES)])
    call = ["analyze", video, other, "-o", tmp_path / "out", "-q", "--landmarks"]
    for given, message in [(table, "is one table for 2 recordings"), (tmp_path, "has no other.csv")]:
        code, _, said = run(capsys, *call, given)
        assert code == 2
        assert message in said


def test_recordings_of_one_name_have_their_tables_in_folders_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings, tables = tmp_path / "recordings", tmp_path / "tables"
    for person in ("one", "two"):
        (recordings / person).mkdir(parents=True)
        written(recordings / person / "clip.mp4", FRAMES)
    tables.mkdir()
    pyfeat(tables / "clip.csv", [(n, moved(n)) for n in range(FRAMES)])
    call = ["analyze", recordings, "-o", tmp_path / "out", "-q", "--landmarks", tables]
    code, _, said = run(capsys, *call)
    assert code == 2
    assert re.search(r"clip\.csv is one table for \S+one/clip\.mp4, \S+two/clip\.mp4", said)
    for person in ("one", "two"):
        (tables / person).mkdir()
        (tables / person / "clip.csv").write_text(f"{person}\n")
    with pytest.MonkeyPatch.context() as patch:  # which table goes with which recording
        patch.setattr("metst.evaluation.analyses.analyze_all", lambda tasks, **_: found.extend(tasks) or [])
        found: list[AnalysisTask] = []
        run(capsys, *call)
    assert [task.landmarks.read_text() for task in found if task.landmarks] == ["one\n", "two\n"]
    assert [task.path.parent.name for task in found] == ["one", "two"]


def test_points_of_a_smaller_copy_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = ClipRecipe(count=1, duration_s=2.6, start_s=0.8, end_s=2.2, seed=3)
    clip = write_clip(tmp_path / "clip", recipe=recipe).video
    seen = [found.face and found.face.landmarks for found in track_face(read_frames(clip))]
    half = pyfeat(tmp_path / "t.csv", [(n, None if points is None else points / 2) for n, points in enumerate(seen)])
    assert read_landmarks(half, video=clip).shape[1:] == (68, 2)  # inside the picture
    code, _, said = run(capsys, "analyze", clip, "-o", tmp_path / "out", "-q", "--landmarks", half)
    assert code == 1
    assert "shows no face, but one elsewhere" in " ".join(said.split())
    assert not list((tmp_path / "out").rglob("analysis.json"))


def test_points_are_taken_where_no_face_is_seen(tmp_path: Path) -> None:
    video = written(tmp_path / "grey.mp4", 40)
    table = pyfeat(tmp_path / "t.csv", [(n, moved(n)) for n in range(40)])
    check_on_face(read_landmarks(table, video=video), path=table, video=video)


def test_the_same_movement_is_found_with_a_table_and_the_results_say_so(tmp_path: Path) -> None:
    recipe = ClipRecipe(count=1, duration_s=2.6, start_s=0.8, end_s=2.2, seed=3)
    clip = write_clip(tmp_path / "clip", recipe=recipe).video
    seen = [found.face and found.face.landmarks for found in track_face(read_frames(clip))]
    table = openface(tmp_path / "t.csv", [*enumerate(seen)])
    task = AnalysisTask(clip, tmp_path / "results", Choices(cache=False), landmarks=table)
    model = loaded(task.choices)
    own = analyze(clip, model=model, cache=False).events
    given = analyze_into(task, model=model).events
    assert len(own) == 1
    assert given.label == own.label
    np.testing.assert_allclose([*given.onset, *given.offset], [*own.onset, *own.offset], atol=1)
    # An analysis with other landmarks, or with none, is another one.
    assert is_done(task, model=model)
    assert not is_done(replace(task, landmarks=None), model=model)
    table.write_text(table.read_text().replace(", 0.0, 1, ", ", 0.0, 0, ", 1))
    assert not is_done(task, model=model)
