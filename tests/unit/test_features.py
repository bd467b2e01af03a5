"""From a data set's folder to the features that training and evaluation read."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from typer.testing import CliRunner

from helpers import dataset_folders as make
from helpers import feature_folders as small
from metst.cli import app
from metst.config import AnalyzeSettings
from metst.datasets import DataSet, Video, load_dataset
from metst.datasets import extraction as module
from metst.datasets.extraction import extract_features
from metst.datasets.features import (
    INDEX_FILE,
    FeatureIndex,
    TrueEvent,
    file_name,
    read_features_index,
    read_motion,
    write_features_index,
)
from metst.datasets.merging import merge_features
from metst.errors import DataError, UsageError, VideoError
from metst.motion import Motion
from metst.regions import REGION_NAMES
from metst.results import FACE_CHANNELS, Measured
from metst.timeline import Series, TimeGrid
from metst.video import read_frames


def motion_of(time_s: np.ndarray) -> Motion:
    """Motion whose value is its time: it shows where a frame went."""
    length, grid = len(time_s), TimeGrid(time_s)
    values = np.broadcast_to(time_s[:, None, None], (length, 18, 2)).astype(np.float32)
    return Motion(
        displacement=Series(grid, values, np.ones(length, bool), REGION_NAMES),
        quality=np.full((length, 18), 0.75, np.float32),
        conditions=np.zeros((length, 18), np.uint8),
        centres=np.zeros((length, 18, 2), np.float32),
        face_px=np.ones(length, np.float32),
        head=np.zeros((length, 4), np.float32),
        face=Series(grid, np.zeros((length, 8), np.float32), np.ones(length, bool), FACE_CHANNELS),
        face_quality=np.ones(length, np.float32),
        reason=("",) * length,
    )


@pytest.fixture
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages 1 to 3 read the frames of the folder, and find their times."""

    def measure(info, *, rate_hz, **rest):
        return Measured(motion_of(np.array([f.time_s for f in read_frames(info.path, rate_hz=rate_hz)])), ())

    monkeypatch.setattr(module, "measure_motion", measure)


@pytest.mark.usefixtures("_no_pictures")
def test_a_data_set_becomes_one_file_per_video(tmp_path: Path) -> None:
    data_set = load_dataset(make.samm_lv(tmp_path / "samm"))
    index = extract_features(data_set, tmp_path / "out", cache=False)
    assert read_features_index(tmp_path / "out") == index
    assert index.data_set == "samm-lv"
    assert index.subjects == ("006", "007")
    assert [video.key for video in index.videos] == [("006", "006_1"), ("007", "007_2"), ("007", "007_3")]
    assert all((video.frames, video.rate_hz) == (40, 200.0) for video in index.videos)
    # Rows 11 .. 20 macro and 21 .. 30 micro, from 1 and inclusive, of the sheet.
    first = [(event.onset, event.offset, event.kind, event.emotion) for event in index.videos[0].events]
    assert first == [(10, 20, "macro", None), (20, 30, "micro", "negative")]
    assert [(e.onset, e.offset, e.emotion) for e in index.videos[0].micro] == [(20, 30, "negative")]
    motion = read_motion(tmp_path / "out", index.videos[0])
    np.testing.assert_allclose(motion.grid.time_s, np.arange(40) / 200)
    np.testing.assert_allclose(motion.displacement.values[:, 3, 1], np.arange(40) / 200, atol=1e-6)
    assert (motion.quality == 0.75).all()
    assert motion.reason == ("",) * 40


@pytest.mark.usefixtures("_no_pictures")
@pytest.mark.parametrize(
    ("layout", "sheet", "kind", "rates", "first"),
    [
        (make.casme_ii, "CASME2-coding-20140508.xlsx", "casme-ii", [200, 200, 200], (0, 41, "positive")),
        (make.samm, "SAMM.xlsx", "samm", [200, 200, 200], (12, 83, "negative")),
        (make.dfme, "training_full_with_AU.xlsx", "dfme", [200, 300, 500], (0, 30, "positive")),
    ],
)
def test_short_clips_are_extracted_from_a_sheet_given_by_hand(layout, sheet, kind, rates, first, tmp_path):
    root = layout(tmp_path / "clips")
    given = tmp_path / "labels of mine.xlsx"
    (root / sheet).rename(given)
    command = ["extract", root, "-o", tmp_path / "out", "--labels", given, "--no-cache", "--json"]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert (said["data_set"], said["videos"], said["micro_expressions"], said["problems"]) == (kind, 3, 3, [])
    index = read_features_index(tmp_path / "out")
    assert [video.rate_hz for video in index.videos] == rates
    (event,) = index.videos[0].micro
    assert (event.onset, event.offset, event.emotion) == first


@pytest.mark.usefixtures("_no_pictures")
def test_a_missing_image_is_a_gap_and_moves_no_label(tmp_path: Path) -> None:
    root = make.samm_lv(tmp_path / "samm")
    (root / "SAMM_longvideos" / "006_1" / "006_1_0011.jpg").unlink()
    index = extract_features(load_dataset(root), tmp_path / "out", cache=False)
    motion = read_motion(tmp_path / "out", index.videos[0])
    assert len(motion) == index.videos[0].frames == 40
    assert np.flatnonzero(~motion.displacement.valid).tolist() == [10]
    assert [reason for reason in motion.reason if reason] == [motion.reason[10]] == ["no image"]
    assert np.flatnonzero(np.isnan(motion.face_px)).tolist() == [10]
    np.testing.assert_allclose(motion.displacement.values[11:, 0, 0], np.arange(11, 40) / 200, atol=1e-6)


@pytest.mark.usefixtures("_no_pictures")
def test_what_cannot_be_read_stays_with_its_truth(tmp_path: Path) -> None:
    data_set = load_dataset(make.manifest(tmp_path / "own"))
    with pytest.raises(UsageError, match=r"anna/talk.*--fps"):
        extract_features(data_set, tmp_path / "out", cache=False)
    assert not (tmp_path / "out").exists()
    index = extract_features(data_set, tmp_path / "out", rate_hz=30.0, cache=False)
    clip = next(video for video in index.videos if video.key == ("ben", "clip"))
    assert clip.file == ""
    assert len(clip.micro) == 1
    assert "clip.mp4" in clip.problems[0]
    talk = next(video for video in index.videos if video.key == ("anna", "talk"))
    assert [(e.onset, e.offset, e.emotion) for e in talk.micro] == [(4, 14, "positive"), (19, 24, "negative")]


def test_a_video_without_a_face_is_a_gap_from_end_to_end(tmp_path: Path) -> None:
    root = make.casme3(tmp_path / "casme3", length=12, rows=[["spNO.1", "a", 3, 5, 8, "4", "IV", "disgust"]])
    index = extract_features(load_dataset(root), tmp_path / "out", cache=False)
    assert all(video.file and video.problems == ("no frame with a usable face",) for video in index.videos)
    motion = read_motion(tmp_path / "out", index.videos[0])
    assert not motion.displacement.valid.any()


def test_labels_only_are_refused(tmp_path: Path) -> None:
    root = make.samm_lv(tmp_path / "samm")
    for path in sorted((root / "SAMM_longvideos").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    with pytest.raises(UsageError, match="no videos"):
        extract_features(load_dataset(root), tmp_path / "out")


@pytest.mark.usefixtures("_no_pictures")
def test_motion_that_changed_after_the_index_is_refused_and_seen_by_a_new_index(tmp_path: Path) -> None:
    data_set, out = load_dataset(make.samm_lv(tmp_path / "samm")), tmp_path / "out"
    video = extract_features(data_set, out, cache=False).videos[0]
    tensors = safetensors.numpy.load_file(out / video.file)
    tensors["displacement"][3] += 1
    safetensors.numpy.save_file(tensors, out / video.file)
    with pytest.raises(DataError, match=r"not the file that its index speaks of.*extract the features again"):
        read_motion(out, video)
    again = extract_features(data_set, out, cache=False).videos[0]
    assert again == video
    read_motion(out, again)


def test_no_index_speaks_of_files_of_another_extraction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(KeyboardInterrupt):
        pass

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    out: Path = small.feature_folder(tmp_path / "out", subjects=1, videos=1)
    monkeypatch.setattr(module, "write_whole", killed)
    monkeypatch.setattr(module, "_measured", lambda *_, **__: Measured(motion_of(np.arange(5) / 30)))
    with pytest.raises(KilledError):
        extract_features(load_dataset(make.samm_lv(tmp_path / "samm")), out, cache=False)
    assert not (out / INDEX_FILE).exists()


def test_the_rate_of_a_video_file_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float | None] = []

    def measured(video, rate_hz, **rest):
        told.append(rate_hz)
        if video.name == "torn":
            raise VideoError("torn")
        return Measured(motion_of(np.arange(5) / 30))

    monkeypatch.setattr(module, "_measured", measured)
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "1.png").touch()
    (tmp_path / "clip.mp4").touch()
    videos = (
        Video("a", "clip", tmp_path / "clip.mp4", rate_hz=25.0),
        Video("a", "torn", tmp_path / "clip.mp4"),
        Video("a", "frames", tmp_path / "frames", frames=5),
    )
    data_set = DataSet(kind="manifest", root=tmp_path, labels=(), videos=videos)
    index = extract_features(data_set, tmp_path / "out", rate_hz=60.0, cache=False)
    assert told == [None, None, 60.0]
    assert [video.rate_hz for video in index.videos] == [pytest.approx(30.0), 0.0, 60.0]


def test_a_class_that_is_not_known_is_refused() -> None:
    assert TrueEvent(onset=1, offset=2, emotion=None).emotion is None
    with pytest.raises(ValueError, match="unknown class 'anger': expected one of negative"):
        TrueEvent(onset=1, offset=2, emotion="anger")


# Names of files


def test_names_that_files_can_have_stay() -> None:
    assert file_name("spNO.1", "006_1") == "spNO.1--006_1"
    assert file_name("Zoë") == "Zoë"


def test_different_names_have_different_files_within_their_folder(tmp_path: Path) -> None:
    names = ["a", "b", "a--b", "b--c", "c", "a-", "-b", "x/y", "x y", "x_y", "../../../evil", "/etc", "..a", "n" * 300,
             "n" * 301, "é" * 200, "a\\b", "a\0b", "a\nb"]  # fmt: skip
    names.append(file_name("x y"))
    pairs = [(one, other) for one in names for other in names]
    found = [file_name(*pair) for pair in pairs]
    assert len(set(found)) == len(pairs)
    for name in found:
        assert (tmp_path / name).resolve().parent == tmp_path.resolve()
        assert len(name.encode()) < 200
    for name in ("", ".", ".."):
        with pytest.raises(DataError, match="cannot be the name"):
            file_name("a", name)


# Reading


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made: Path = small.feature_folder(tmp_path / "f", subjects=2, videos=1, still=0, frames=90)
    return made


def changed(folder: Path, **tensors: np.ndarray) -> None:
    path = folder / "00.safetensors"
    safetensors.numpy.save_file(safetensors.numpy.load_file(path) | tensors, path)


def test_subjects_are_found_and_named(folder: Path) -> None:
    index = read_features_index(folder)
    assert [video.key for video in index.of(("s1", "s0"))] == [("s0", "v0"), ("s1", "v0")]
    with pytest.raises(UsageError, match="no video of subject s7"):
        index.of(("s0", "s7"))


def test_motion_that_is_not_finite_is_refused(folder: Path) -> None:
    values = np.zeros((90, 18, 2), np.float32)
    values[30:32, 4, 1] = np.nan
    changed(folder, displacement=values)
    with pytest.raises(DataError, match=r"s0/v0.*2 frames, the first 30, are marked valid but are not finite"):
        read_motion(folder, read_features_index(folder).videos[0])
    valid = np.ones(90, bool)
    valid[30:32] = False
    changed(folder, displacement=values, valid=valid)
    read_motion(folder, read_features_index(folder).videos[0])


def test_a_file_that_does_not_fit_its_index_is_refused(folder: Path) -> None:
    video = read_features_index(folder).videos[0]
    with pytest.raises(DataError, match="expected 91 frames of s0/v0, got 90"):
        read_motion(folder, video.model_copy(update={"frames": 91}))
    changed(folder, time_s=np.zeros(90))
    with pytest.raises(DataError, match="timestamps must increase"):
        read_motion(folder, video)
    (folder / video.file).write_bytes(b"torn")
    with pytest.raises(DataError, match="cannot be read"):
        read_motion(folder, video)
    (folder / video.file).unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read_motion(folder, video)


def test_an_index_is_checked(folder: Path) -> None:
    path = folder / INDEX_FILE
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | {"videos": [*whole["videos"], whole["videos"][0]]}))
    with pytest.raises(DataError, match="s0/v0 is there twice"):
        read_features_index(folder)
    late = json.loads(json.dumps(whole))
    late["videos"][1]["events"][0]["offset"] = 91
    path.write_text(json.dumps(late))
    with pytest.raises(DataError, match=r"s1/v0: event on frames \d+ to 91 of 90"):
        read_features_index(folder)
    late["videos"][1] |= {"video": "..", "events": []}
    path.write_text(json.dumps(late))
    with pytest.raises(DataError, match="cannot be the name"):
        read_features_index(folder)
    path.write_text(json.dumps(whole | {"fromat": 1}))
    with pytest.raises(DataError, match="fromat"):
        read_features_index(folder)
    path.unlink()
    with pytest.raises(UsageError, match="metst extract"):
        read_features_index(folder)


def test_an_index_survives_its_file(folder: Path) -> None:
    index = read_features_index(folder)
    assert FeatureIndex.model_validate_json(index.model_dump_json()) == index


# Many machines, and folders put together


@pytest.mark.usefixtures("_no_pictures")
def test_videos_measured_elsewhere_give_the_same_folder(tmp_path: Path) -> None:
    """In any order, each as often as it likes: a worker that was killed does its task again."""
    data_set = load_dataset(make.samm_lv(tmp_path / "samm"))

    def elsewhere(function, tasks) -> None:
        for task in [*reversed(tasks), *pickle.loads(pickle.dumps(list(tasks)))]:
            function(task)

    there = extract_features(data_set, tmp_path / "there", cache=False, run=elsewhere)
    here = extract_features(data_set, tmp_path / "here", cache=False)
    assert there == here
    files = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()} == files
    rows, motion = ([f"000{number}.{kind}" for number in range(3)] for kind in ("row.json", "safetensors"))
    assert sorted(files) == sorted([*rows, *motion, INDEX_FILE])


@pytest.mark.usefixtures("_no_pictures")
def test_without_the_cache_too_a_video_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any video, the same command goes on; finished, it measures what is new, changed or damaged."""
    data_set, measure, seen = load_dataset(make.samm_lv(tmp_path / "samm")), module.measure_motion, list[str]()
    whole = extract_features(data_set, tmp_path / "whole", cache=False)

    class KilledError(KeyboardInterrupt):
        pass

    def counted(info, **rest):
        if len(seen) == stop:
            raise KilledError
        seen.append(info.path.name)
        return measure(info, **rest)

    monkeypatch.setattr(module, "measure_motion", counted)
    out = tmp_path / "out"
    for stop in (1, 2, 3):
        with pytest.raises(KilledError) if stop < 3 else nullcontext():
            extract_features(data_set, out, cache=False)
    assert seen == ["006_1", "007_2", "007_3"]
    assert read_features_index(out) == whole

    def again(**changes: Any) -> list[str]:
        seen.clear()
        assert extract_features(data_set, out, cache=False, **changes).videos[1:] == whole.videos[1:]
        return seen

    stop = -1
    assert again() == []
    image = tmp_path / "samm" / "SAMM_longvideos" / "006_1" / "006_1_0001.jpg"
    image.write_bytes(image.read_bytes() + b"more")
    assert again() == ["006_1"]
    (out / "0001.safetensors").write_bytes(b"damaged")
    assert again() == ["007_2"]
    (out / "0002.row.json").write_text("{}")
    assert again() == ["007_3"]
    assert again(settings=AnalyzeSettings(motion={"anchor_interval_s": 4})) == ["006_1", "007_2", "007_3"]
    (out / "9999.row.json").write_text("{}")
    again(settings=AnalyzeSettings(motion={"anchor_interval_s": 4}))
    assert not (out / "9999.row.json").exists()


@pytest.mark.usefixtures("_no_pictures")
def test_a_folder_has_one_writer_of_features_and_no_row_of_another_video(tmp_path: Path) -> None:
    data_set, out = load_dataset(make.samm_lv(tmp_path / "samm")), tmp_path / "out"

    def second(function: Callable[[Any], None], tasks: Sequence[Any]) -> None:
        """While the first one measures, another process wants the folder."""
        code = (
            "import sys; from pathlib import Path; from metst.datasets import load_dataset\n"
            "from metst.datasets.extraction import extract_features\n"
            "extract_features(load_dataset(Path(sys.argv[1])), Path(sys.argv[2]))"
        )
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "samm"), str(out)], capture_output=True)
        assert b"OutputError: another metst" in done.stderr
        for task in tasks:
            function(task)

    whole = extract_features(data_set, out, cache=False, run=second)
    assert read_features_index(out) == whole

    def mixed(function: Callable[[Any], None], tasks: Sequence[Any]) -> None:
        for task in tasks:
            function(task)
        shutil.copy(tasks[0].row_path, tasks[1].row_path)

    with pytest.raises(DataError, match=r"0001\.row\.json: it is of 006/006_1, not of 007/007_2; extract .* again"):
        extract_features(data_set, out, cache=False, run=mixed)
    assert not (out / "features.json").exists()


@pytest.mark.usefixtures("_no_pictures")
def test_a_row_that_was_changed_is_measured_again(tmp_path: Path) -> None:
    data_set, out = load_dataset(make.samm_lv(tmp_path / "samm")), tmp_path / "out"
    whole = extract_features(data_set, out, cache=False)
    row = out / "0001.row.json"
    row.write_text(
        row.read_text().replace('"problems":[', '"problems":["changed"').replace('"changed""', '"changed","')
    )
    assert extract_features(data_set, out, cache=False) == whole


def test_parts_put_together_are_the_whole(tmp_path: Path) -> None:
    whole = small.feature_folder(tmp_path / "whole", subjects=3, videos=2, frames=90)
    index = read_features_index(whole)
    parts = []
    for number, subjects in enumerate((("s0", "s2"), ("s1",), ("s2", "s1"))):
        parts.append(Path(shutil.copytree(whole, tmp_path / f"part{number}")))
        part = index.model_copy(update={"videos": index.of(subjects), "left_out": ("a label",)})
        write_features_index(parts[-1], part)
    merged = merge_features(parts, tmp_path / "merged")
    assert read_features_index(tmp_path / "merged") == merged
    assert merged.left_out == ("a label",)
    assert sorted(video.key for video in merged.videos) == sorted(video.key for video in index.videos)
    for video in merged.videos:
        (same,) = [each for each in index.videos if each.key == video.key]
        assert video.events == same.events
        assert (tmp_path / "merged" / video.file).read_bytes() == (whole / same.file).read_bytes()
    assert len({video.file for video in merged.videos}) == len(merged.videos)
    with pytest.raises(UsageError, match="has features already"):
        merge_features(parts, tmp_path / "merged")


def test_parts_that_do_not_belong_together_are_refused(folder: Path, tmp_path: Path) -> None:
    other: Path = small.feature_folder(tmp_path / "other", subjects=2, videos=1, still=0, frames=120)
    with pytest.raises(UsageError, match=r"2 videos .*other motion or labels \(s0/v0, s1/v0\)"):
        merge_features([folder, other], tmp_path / "merged")
    index = read_features_index(other)
    for change in ({"metst_version": "0"}, {"data_set": "samm-lv"}, {"settings": {"motion": {"anchor_interval_s": 4}}}):
        write_features_index(other, FeatureIndex.model_validate(index.model_dump() | change))
        with pytest.raises(UsageError, match=f"differ in {next(iter(change))}"):
            merge_features([folder, other], tmp_path / "merged")
    with pytest.raises(UsageError, match="expected two or more"):
        merge_features([folder], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    damaged = index.model_copy(update={"videos": (index.videos[0].model_copy(update={"video": "w", "sha256": "0"}),)})
    write_features_index(other, damaged)
    with pytest.raises(DataError, match="not the file that its index speaks of"):
        merge_features([folder, other], tmp_path / "merged")
    assert not (tmp_path / "merged" / INDEX_FILE).exists()
