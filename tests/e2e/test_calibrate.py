"""Calibration of a recording, as a user runs it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metst.config import DecodeSettings
from metst.errors import FaceError, MetstError
from metst.models.checkpoint import load_model
from metst.sensitivity import footage as reading
from metst.sensitivity.calibration import calibrate
from metst.sensitivity.calibration_page import write_page
from metst.sensitivity.comparison import calibrate_models
from metst.sensitivity.footage import Footage
from metst.sensitivity.moments import Section
from metst.sensitivity.settings import CalibrateSettings
from metst.sensitivity.summary import as_dict, summarise, write_calibration
from metst.synthesis.clip import write_clip
from metst.synthesis.recipe import ClipRecipe
from metst.video import write_video

SETTINGS = CalibrateSettings(
    amplitudes=(0.0, 0.02, 0.4), durations_s=(0.4,), labels=("positive", "surprise"), repeats=1, resamples=20
)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait that drifts and does nothing, 6 s."""
    recipe = ClipRecipe(count=0, duration_s=6.0, rate_hz=25)
    return write_clip(tmp_path_factory.mktemp("still"), recipe=recipe).video


def test_strong_movements_are_found_and_placebos_are_not(still: Path, tmp_path: Path) -> None:
    found = calibrate(still, settings=SETTINGS, cache=False)
    summary = summarise(found)
    share = {point["amplitude"]: point["share"] for point in summary.points}
    assert share[0.4] == 1
    assert share[0.0] == 0
    assert share[0.02] <= share[0.4]
    assert 70 < found.conditions.face_px < 200
    write_calibration(found, summary, tmp_path)
    write_page(found, summary, tmp_path / "calibration.html")
    assert json.loads((tmp_path / "calibration.json").read_text())["trials"] == len(found.rows)
    placebos = [row for row in found.rows if not row.trial.amplitude]
    assert all(row.peak_px == 0 for row in placebos)


@pytest.mark.slow
def test_models_are_compared_on_the_same_pictures(still: Path, tmp_path: Path) -> None:
    """One that finds nothing beside the usual one, which finds what it finds alone; other recordings are left out."""
    model = load_model()
    deaf = replace(
        model, info=model.info.model_copy(update={"decode": DecodeSettings(min_duration_s=30, max_duration_s=60)})
    )
    short = write_clip(tmp_path / "clip", recipe=ClipRecipe(count=0, duration_s=1.0, rate_hz=20)).video
    found = calibrate_models([short, still], models=(model, deaf), settings=SETTINGS, cache=tmp_path / "cache")
    ((one, other),) = found
    assert one.raw.source.name == still.name
    assert [row.trial for row in one.rows] == [row.trial for row in other.rows]
    assert [row.peak_px for row in one.rows] == [row.peak_px for row in other.rows]
    strong = [row.outcome.found for row in one.rows if row.trial.amplitude == 0.4]
    assert strong
    assert all(strong)
    assert not any(row.outcome.found for row in other.rows)
    with pytest.raises(FaceError, match="no quiet moment in 1 recordings"):
        calibrate_models([short], models=(model,), settings=SETTINGS, cache=tmp_path / "cache")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_figures(still: Path) -> None:
    one, two = (calibrate(still, settings=SETTINGS, cache=False) for _ in range(2))
    first, second = (as_dict(each, summarise(each)) | {"created": ""} for each in (one, two))
    assert first == second


def test_footage_is_the_same_from_memory_and_from_the_file(still: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sections = (Section(5, 9, ()), Section(20, 23, ()))
    pictures = []
    for kept in (10**9, 0):
        monkeypatch.setattr(reading, "KEPT_BYTES", kept)
        footage = Footage(still, sections)
        stretches = list(footage.track())
        assert [len(stretch.time_s) for stretch in stretches] == [4, 3]
        assert all(np.isfinite(stretch.landmarks).all() for stretch in stretches)
        pictures.append([frame.rgb for _, frames in footage.parts() for frame in frames])
    assert len(pictures[0]) == 7
    assert all(np.array_equal(a, b) for a, b in zip(*pictures, strict=True))


def test_no_face_and_too_short_are_one_clear_line(tmp_path: Path) -> None:
    grey, short = tmp_path / "grey.mp4", tmp_path / "short.mp4"
    write_video(grey, (np.full((160, 160), 90, np.uint8) for _ in range(60)), rate_hz=15)
    with pytest.raises(FaceError) as caught:
        calibrate(grey, settings=SETTINGS, cache=False)
    assert "\n" not in str(caught.value)
    clip = write_clip(tmp_path / "clip", recipe=ClipRecipe(count=0, duration_s=1.5, rate_hz=20)).video
    clip.rename(short)
    with pytest.raises(MetstError, match=r"short\.mp4") as caught:
        calibrate(short, settings=SETTINGS, cache=False)
    assert caught.value.exit_code == 1
