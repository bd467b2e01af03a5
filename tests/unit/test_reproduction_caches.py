"""Cached features: shapes and numbers are checked, windows come as the engine reads them."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metst.errors import DataError, UsageError
from metst.reproduction.author_caches import expected_windows, natural_key, read_features


def windows(*counts: int, channels: int = 36, k: int = 30) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(0)
    return [[rng.normal(size=(channels, k)) for _ in range(count)] for count in counts]


def cache(folder: Path, content: Any, name: str = "SAMMLV_dataset.pkl") -> Path:
    path = folder / name
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.mark.parametrize(("channels", "k"), [(36, 30), (10, 50)])
def test_windows_come_with_time_first(tmp_path: Path, channels: int, k: int) -> None:
    content = windows(3, 0, 2, channels=channels, k=k)
    features = read_features(cache(tmp_path, content))
    assert (features.channels, features.window, features.windows) == (channels, k, 5)
    assert [video.shape for video in features.videos] == [(3, k, channels), (0, k, channels), (2, k, channels)]
    assert all(video.dtype == np.float32 and video.flags.c_contiguous for video in features.videos)
    for video, expected in zip(features.videos, content, strict=True):
        for one, other in zip(video, expected, strict=True):
            np.testing.assert_array_equal(one.T, other.astype(np.float32))


def test_a_window_without_a_face_is_zeros_as_integers(tmp_path: Path) -> None:
    content = windows(2)
    content[0][1] = np.zeros((36, 30), dtype=np.int64)
    assert not read_features(cache(tmp_path, content)).videos[0][1].any()


def test_parts_follow_one_another_by_number(tmp_path: Path) -> None:
    parts = [windows(1) for _ in range(11)]
    for number, part in enumerate(parts, start=1):
        part[0][0][0, 0] = number
        cache(tmp_path, part, f"CASME_3_dataset_{number}.pkl")
    (tmp_path / "readme.txt").write_text("not read")
    features = read_features(tmp_path)
    assert [video[0, 0, 0] for video in features.videos] == list(range(1, 12))
    two = read_features([tmp_path / "CASME_3_dataset_2.pkl", tmp_path / "CASME_3_dataset_1.pkl"])
    assert [video[0, 0, 0] for video in two.videos] == [2, 1]
    assert two.files == ("CASME_3_dataset_2.pkl", "CASME_3_dataset_1.pkl")


def test_a_part_that_is_given_twice(tmp_path: Path) -> None:
    path = cache(tmp_path, windows(1))
    with pytest.raises(UsageError, match="given twice"):
        read_features([path, tmp_path / "." / path.name])


def test_a_folder_without_pickles(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no cached features"):
        read_features(tmp_path)


def test_every_wrong_window_is_named(tmp_path: Path) -> None:
    content: Any = windows(4, 3)
    content[0][1][7, 2] = np.nan
    content[0][2] = content[0][2].T
    content[0][3] = content[0][3].tolist()
    content[1][0][35, 29] = -np.inf
    content[1][1][3, 0] = 1e300
    content[1][2] = np.ones((36, 30), dtype=bool)
    with pytest.raises(DataError) as error:
        read_features(cache(tmp_path, content))
    text = str(error.value)
    assert "video 1, window 2: expected finite numbers, got nan in channel 8, frame 3" in text
    assert "video 1, window 3: expected (36, k) or (10, k) with an even k, got (30, 36)" in text
    assert "video 1, window 4: expected an array (C, k), got list" in text
    assert "video 2, window 1: expected finite numbers, got -inf in channel 36, frame 30" in text
    assert "video 2, window 2: expected finite numbers, got 1e+300 in channel 4, frame 1" in text
    assert "video 2, window 3: expected numbers, got bool" in text


def test_many_faults_are_counted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="and 5 more"):
        read_features(cache(tmp_path, windows(15, k=7)))


def test_windows_of_two_shapes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 shapes, \(36, 30\) and \(36, 50\)"):
        read_features(cache(tmp_path, windows(1) + windows(1, k=50)))


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (np.zeros((2, 36, 30)), "an array"),
        (3, "int"),
        ([np.zeros((36, 30))], "a list with an array"),
        ([[], 3], "a list with int"),
    ],
)
def test_other_nestings(tmp_path: Path, content: Any, got: str) -> None:
    with pytest.raises(DataError, match=f"one list per video, got {got}"):
        read_features(cache(tmp_path, content))


def test_nothing_in_the_lists(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 videos and no window"):
        read_features(cache(tmp_path, [[], []]))


def test_one_list_for_several_videos_would_multiply_a_small_file(tmp_path: Path) -> None:
    video = windows(1)[0]
    with pytest.raises(DataError, match="one list for several videos"):
        read_features(cache(tmp_path, [video] * 1000))
    with pytest.raises(DataError, match="window 2: the same array as an earlier window"):
        read_features(cache(tmp_path, [video * 2]))


@pytest.mark.parametrize(("frames", "k", "count"), [(90, 30, 5), (104, 30, 5), (105, 30, 6), (29, 30, 0), (3, 30, 0)])
def test_windows_of_a_video(frames: int, k: int, count: int) -> None:
    assert expected_windows(frames, window=k) == count


def test_numbers_in_names_sort_by_value() -> None:
    names = ["spNO.10", "spNO.9", "spNO.100", "a2", "a", "006_2", "006_10"]
    assert sorted(names, key=natural_key) == ["006_2", "006_10", "a", "a2", "spNO.9", "spNO.10", "spNO.100"]
