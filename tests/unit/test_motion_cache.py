"""What is kept of a recording comes back as it was, or not at all."""

import json
import logging
import os
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from metst.config import AnalyzeSettings, FaceSettings, MotionSettings
from metst.motion import Motion
from metst.motion.cache import FOLDER_VARIABLE, MotionCache, default_folder, motion_key
from metst.regions import REGION_NAMES
from metst.results import FACE_CHANNELS, Measured
from metst.timeline import Series, TimeGrid

COUNT = 40
PROBLEMS = ("talk.mp4: frame 7 cannot be decoded", "one more: thing")


def measured(seed: int = 0) -> Measured:
    rng = np.random.default_rng(seed)
    grid = TimeGrid(np.cumsum(rng.uniform(0.01, 0.1, COUNT)))
    displacement = rng.normal(0, 1, (COUNT, 18, 2)).astype(np.float32)
    displacement[5:9] = np.nan
    valid = np.isfinite(displacement).all(axis=(1, 2))
    motion = Motion(
        displacement=Series(grid, displacement, valid, REGION_NAMES),
        quality=rng.random((COUNT, 18), np.float32),
        conditions=rng.integers(0, 128, (COUNT, 18)).astype(np.uint8),
        centres=rng.normal(0, 1, (COUNT, 18, 2)).astype(np.float32),
        face_px=rng.random(COUNT, np.float32),
        head=rng.random((COUNT, 4), np.float32),
        face=Series(grid, rng.random((COUNT, 8), np.float32), np.arange(COUNT) % 7 > 0, FACE_CHANNELS),
        face_quality=rng.random(COUNT, np.float32),
        reason=tuple("no face" if i in range(5, 8) else "scene cut" if i == 8 else "" for i in range(COUNT)),
    )
    return Measured(motion, PROBLEMS)


def assert_same(one: Motion, other: Motion) -> None:
    for field in fields(Motion):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, Series):
            np.testing.assert_array_equal(left.grid.time_s, right.grid.time_s)
            np.testing.assert_array_equal(left.values, right.values)
            np.testing.assert_array_equal(left.valid, right.valid)
            assert left.channels == right.channels
        elif isinstance(left, tuple):
            assert left == right
        else:
            np.testing.assert_array_equal(left, right)
            assert left.dtype == right.dtype


def test_what_was_kept_comes_back_bit_by_bit(tmp_path: Path) -> None:
    cache, kept = MotionCache(tmp_path / "deep" / "down"), measured()
    cache.write("key", kept, name="talk.mp4")
    found = cache.read("key", name="talk.mp4")
    assert found is not None
    assert_same(found.motion, kept.motion)
    assert found.problems == PROBLEMS


def test_a_copy_under_another_name_is_told_its_own(tmp_path: Path) -> None:
    cache = MotionCache(tmp_path)
    cache.write("key", measured(), name="talk.mp4")
    found = cache.read("key", name="copy.mp4")
    assert found is not None
    assert found.problems == ("copy.mp4: frame 7 cannot be decoded", "one more: thing")


def test_it_is_computed_once(tmp_path: Path) -> None:
    calls = []

    def compute() -> Measured:
        calls.append(1)
        return measured()

    for _ in range(3):
        assert_same(MotionCache(tmp_path).measured("key", compute, name="a.mp4").motion, measured().motion)
    assert len(calls) == 1


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "text", "folder", "other header", "other name"])
def test_damage_counts_as_absent_and_is_replaced(tmp_path: Path, damage: str) -> None:
    cache = MotionCache(tmp_path)
    cache.write("key", measured(), name="a.mp4")
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "bit":
        content[len(content) - 1000] ^= 1
    path.write_bytes({"cut": content[: len(content) // 2], "bit": content, "empty": b"", "text": b"no tensors here",
                      "other name": content.replace(b"about", b"aboue"),
                      "other header": (2).to_bytes(8, "little") + b"[]"}.get(damage, content))  # fmt: skip
    if damage == "folder":
        path.unlink()
        path.mkdir()
        assert cache.read("key", name="a.mp4") is None
        return
    assert cache.read("key", name="a.mp4") is None
    assert len(cache.entries()) == 1
    assert_same(cache.measured("key", measured, name="a.mp4").motion, measured().motion)
    assert cache.read("key", name="a.mp4") is not None


def test_a_write_that_fails_leaves_the_old_entry_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = MotionCache(tmp_path)
    cache.write("key", measured(), name="a.mp4")

    def full_disk(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    cache.write("key", measured(seed=1), name="a.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["key.motion.safetensors"]
    found = cache.read("key", name="a.mp4")
    assert found is not None
    assert_same(found.motion, measured().motion)
    assert "the disk is full" in caplog.text


def test_a_place_that_cannot_be_written_says_so_once_and_costs_only_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = MotionCache(tmp_path / "file" / "cache")
    with caplog.at_level(logging.WARNING):
        for key in ("one", "two", "three"):
            assert_same(cache.measured(key, measured, name="a.mp4").motion, measured().motion)
    assert len(caplog.records) == 1
    assert "a file stands where a folder is needed" in caplog.text
    assert cache.entries() == []


def test_the_key_is_made_of_all_that_decides_the_motion() -> None:
    usual, landmarks = AnalyzeSettings(), np.zeros((3, 68, 2))
    keys = [
        motion_key("a", settings=usual),
        motion_key("b", settings=usual),
        motion_key("a", settings=AnalyzeSettings(face=FaceSettings(min_score=0.6))),
        motion_key("a", settings=AnalyzeSettings(motion=MotionSettings(template_memory_s=1))),
        motion_key("a", settings=usual, rate_hz=25),
        motion_key("a", settings=usual, landmarks=landmarks),
        motion_key("a", settings=usual, landmarks=landmarks + 1),
        motion_key("a", settings=usual, landmarks=landmarks[:2]),
    ]
    assert len(set(keys)) == len(keys)
    assert motion_key("a", settings=AnalyzeSettings()) == keys[0]


@pytest.fixture
def aged(tmp_path: Path) -> MotionCache:
    """Entries 0 to 4, last used so many days ago; 3 is damaged."""
    cache = MotionCache(tmp_path)
    for days in range(5):
        cache.write(str(days), measured(), name=f"{days}.mp4")
        path = tmp_path / f"{days}.motion.safetensors"
        if days == 3:
            path.write_bytes(b"damaged")
        os.utime(path, (time.time() - 86400 * days,) * 2)
    return cache


def test_entries_are_listed_by_last_use(aged: MotionCache) -> None:
    assert [entry.name for entry in aged.entries()] == ["0.mp4", "1.mp4", "2.mp4", "", "4.mp4"]
    aged.read("2", name="2.mp4")
    assert aged.entries()[0].name == "2.mp4"


def test_pruning_by_age_size_and_all(aged: MotionCache) -> None:
    assert [entry.name for entry in aged.prune(older_than_days=3.5)] == ["4.mp4"]
    size = aged.entries()[0].size
    assert [entry.name for entry in aged.prune(max_bytes=2.5 * size)] == ["2.mp4"]
    assert len(aged.entries()) == 3
    assert aged.prune() == []
    assert len(aged.prune(everything=True)) == 3
    assert aged.entries() == []


def test_pruning_removes_what_dead_processes_left_but_not_what_others_write(aged: MotionCache) -> None:
    old, new = aged.folder / ".metst-1.part", aged.folder / ".metst-2.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    aged.prune()
    assert not old.exists()
    assert new.exists()


def test_the_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert default_folder().name == "motion"


def test_a_motion_with_other_values_has_another_file(tmp_path: Path) -> None:
    """The comparison above can fail."""
    kept = measured()
    changed = replace(kept.motion, face_px=kept.motion.face_px + 1)
    with pytest.raises(AssertionError):
        assert_same(changed, kept.motion)


def test_an_entry_of_an_earlier_version_is_found(tmp_path: Path) -> None:
    """Its header did not name the regions."""
    cache, kept = MotionCache(tmp_path), measured()
    cache.write("key", kept, name="talk.mp4")
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    about = json.loads(header["__metadata__"]["about"])
    assert about.pop("regions") == list(REGION_NAMES)
    header["__metadata__"]["about"] = json.dumps(about)
    old = json.dumps(header).encode()
    path.write_bytes(len(old).to_bytes(8, "little") + old + content[8 + length :])
    found = cache.read("key", name="talk.mp4")
    assert found is not None
    assert_same(found.motion, kept.motion)
    assert found.problems == PROBLEMS
