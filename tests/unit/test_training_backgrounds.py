"""Rendered recordings that training plants into."""

from pathlib import Path

import numpy as np
import pytest

from metst.errors import DataError
from metst.regions import REGION_NAMES
from metst.results import Motion
from metst.results.motion_file import motion_bytes, read_motion_file
from metst.synthesis.heads.background_scenes import FIRST_IDENTITY, draw_background
from metst.timeline import Series, TimeGrid
from metst.training.backgrounds import recorded_backgrounds


def test_scenes_are_drawn_by_their_number_and_show_people_of_their_own() -> None:
    scenes = [draw_background(seed) for seed in range(150)]
    assert scenes == [draw_background(seed) for seed in range(150)]
    assert [each.scene.identity for each in scenes] == list(range(FIRST_IDENTITY, FIRST_IDENTITY + 150))
    speaks = np.array([each.scene.behaviour.speech_per_min > 0 for each in scenes])
    still = np.array([each.scene.motion.wander_deg < 0.6 for each in scenes])
    assert 0.25 < speaks.mean() < 0.55
    assert 0.2 < still.mean() < 0.6
    assert (speaks & still).any()
    assert (~speaks & still).any()


def test_no_background_wanted_needs_no_head_and_leaves_no_folder(tmp_path: Path) -> None:
    assert recorded_backgrounds(tmp_path / "none", count=0, seconds=5) == []
    assert not (tmp_path / "none").exists()


def test_what_is_there_is_read_and_what_is_made_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make(path: Path, drawn: object, *, seed: int, **_: object) -> None:
        made.append(seed)
        frames = 40
        values = np.full((frames, 18, 2), float(seed), np.float32)
        motion = Series(TimeGrid.uniform(frames, rate_hz=25), values, np.ones(frames, bool), REGION_NAMES)
        path.write_bytes(motion_bytes(Motion.bare(motion, quality=np.ones((frames, 18), np.float32))))

    monkeypatch.setattr("metst.training.backgrounds._make", make)
    monkeypatch.setattr("metst.training.backgrounds.load_head_model", lambda path: object())
    recorded_backgrounds(tmp_path, count=2, seconds=5)
    found = recorded_backgrounds(tmp_path, count=3, seconds=5)
    assert made == [0, 1, 2]
    assert [float(each.displacement.values[0, 0, 0]) for each in found] == [0, 1, 2]
    recorded_backgrounds(tmp_path, count=1, seconds=6)
    assert made == [0, 1, 2, 0]


def test_a_damaged_recording_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"torn")
    with pytest.raises(DataError, match=r"a\.safetensors cannot be read as the motion of a recording"):
        read_motion_file(path, remedy="delete it")
