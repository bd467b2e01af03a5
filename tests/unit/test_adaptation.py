"""Adapting a model to unlabelled recordings: how they are parted, what is fitted on which, what is said of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from metst.cli import app
from metst.config import DEFAULT_SEED, DecodeSettings, PublishedDecodeSettings
from metst.errors import DataError, UsageError
from metst.models.checkpoint import Model, load_model
from metst.regions import REGION_NAMES
from metst.results import Measured
from metst.results.motion import Motion
from metst.synthesis.faces import simulated_responses
from metst.synthesis.trajectories import MotionSimulator, SimulationSettings
from metst.timeline import Series, TimeGrid
from metst.training.layout import training_folder
from metst.training.simulated_recipes import RECIPES

pytest.importorskip("torch")
from metst.training import adaptation
from metst.training.adaptation import (
    CHECK_FILE,
    Recordings,
    adapt_model,
    adaptable,
    kept_to_check,
    measured_recordings,
    minutes,
)
from metst.training.adaptation_check import CHECK_AMPLITUDES, check_gain


def recording(seed: int, *, seconds: float = 8.0, jitter: float = 0.0) -> Motion:
    """The motion of a face that makes no micro-expression; jitter is a camera's."""
    settings = SimulationSettings(event_free_share=1.0, speech_share=0.0, lively_share=0.0, macros_per_min=0.0)
    simulator = MotionSimulator(simulated_responses(count=2, seed=1), settings=settings)
    rng, frames = np.random.default_rng([5, seed]), round(30 * seconds)
    moved = simulator.draw(rng, frames=frames, rate_hz=30.0).displacement
    moved = (moved + rng.normal(0, jitter, moved.shape) if jitter else moved).astype(np.float32)
    series = Series(TimeGrid.uniform(frames, rate_hz=30.0), moved, np.ones(frames, bool), REGION_NAMES)
    return Motion.bare(series, quality=np.ones((frames, 18), np.float32))


@pytest.fixture(scope="module")
def lab() -> list[Motion]:
    return [recording(seed) for seed in range(4)]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little to fit and to check on."""
    monkeypatch.setattr(adaptation, "_FIT_MIN", 0.5)
    monkeypatch.setattr(adaptation, "_BATCH", 1)
    few = RECIPES["metst-event"].model_copy(update={"faces": 2, "clip_frames": 120})
    monkeypatch.setitem(RECIPES, "metst-event", few)
    monkeypatch.setattr("metst.training.adaptation_check._FACES", 2)
    monkeypatch.setattr("metst.training.adaptation_check._PLANTED", 4)
    monkeypatch.setattr("metst.training.simulation._EPOCH_STEPS", 2)


@pytest.mark.parametrize("count", range(2, 12))
def test_recordings_are_parted_so_that_none_is_checked_on_that_was_used(count: int) -> None:
    one = recording(0)
    lab = [replace(one) for _ in range(count)]  # equal in content, and each another recording all the same
    for seed in range(5):
        parts = Recordings.parted(lab, seed=seed)
        assert not set(parts.checked) & {*parts.learnt, *parts.fitted}
        assert {*parts.learnt, *parts.fitted, *parts.checked} == set(lab)
        assert all((parts.learnt, parts.fitted, parts.checked))
        assert bool(set(parts.learnt) & set(parts.fitted)) == (count == 2)
        assert parts == Recordings.parted(lab, seed=seed) or parts.learnt == Recordings.parted(lab, seed=seed).learnt


@pytest.mark.slow
def test_short_clips_are_enough(tmp_path: Path, quick: None) -> None:
    """Three seconds each: every one is learnt from, fitted on or checked on."""
    lab = [recording(seed, seconds=3.0) for seed in range(6)]
    check = adapt_model(tmp_path / "model", lab, model=load_model("starter"), steps=1)
    assert check.recordings == 2
    assert check.minutes == pytest.approx(0.1)
    assert all(check.planted.values())
    checked = kept_to_check({Path(str(number)): motion for number, motion in enumerate(lab)}, seed=DEFAULT_SEED)
    parts = Recordings.parted(lab, seed=DEFAULT_SEED)
    assert [lab[int(path.name)] for path in checked] == [each for each in lab if each in parts.checked]


@pytest.mark.parametrize(("seconds", "enough"), [(2.1, True), (1.9, False)])
def test_a_recording_without_room_for_a_movement_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, enough: bool
) -> None:
    path, motion = tmp_path / "a.mp4", recording(0, seconds=seconds)
    path.write_bytes(b"a video")
    monkeypatch.setattr(adaptation, "probe_video", lambda path, rate_hz: path)
    monkeypatch.setattr(adaptation, "measure_motion", lambda *_, **__: Measured(motion, ()))
    if enough:
        assert measured_recordings([path], min_quality=0.1) == {path: motion}
    else:
        with pytest.raises(DataError, match=r"no stretch of 2 s with a usable face"):
            measured_recordings([path], min_quality=0.1)


def test_one_recording_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 recording: expected two or more"):
        adapt_model(tmp_path / "model", [recording(0)], model=load_model())
    assert not (tmp_path / "model").exists()


def test_a_model_with_a_published_rule_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model()
    rule = model.info.model_copy(update={"decode": PublishedDecodeSettings(rule="fixed", k_p=5)})
    monkeypatch.setattr(adaptation, "load_model", lambda _: Model(rule, model.folder))
    with pytest.raises(UsageError, match="only a model with this product's own rule can be adapted"):
        adaptable("published")


def test_a_model_that_is_adapted_again_says_it_once() -> None:
    info = load_model("starter").info
    for _ in range(3):
        recipe = adaptation.adaptation_recipe(info, steps=1, recordings=2)
        assert (recipe.name, recipe.network.name) == ("starter-adapted", "starter-adapted")
        info = info.model_copy(update={"network": recipe.network})


class StoppedError(Exception):
    pass


def stopper(at: int) -> Callable[[str, int, int | None], None]:
    def stop(stage: str, done: int, _: int | None) -> None:
        if stage == "training" and done == at:
            raise StoppedError

    return stop


@pytest.mark.slow
def test_an_adaptation_that_was_stopped_goes_on_to_the_same_model(
    lab: list[Motion], tmp_path: Path, quick: None
) -> None:
    model, how = load_model("starter"), {"steps": 4, "seed": 3}
    whole = adapt_model(tmp_path / "whole", lab, model=model, **how)
    with pytest.raises(StoppedError):
        adapt_model(tmp_path / "again", lab, model=model, **how, on_progress=stopper(3))
    again = adapt_model(tmp_path / "again", lab, model=model, **how)
    one, other = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "again"))
    assert one == other
    assert one != (model.folder / "weights.safetensors").read_bytes()
    assert again == whole
    with pytest.raises(StoppedError):
        adapt_model(tmp_path / "third", lab, model=model, **how, on_progress=stopper(3))
    with pytest.raises(UsageError, match="of another training"):
        adapt_model(tmp_path / "third", lab, model=load_model("metst-event"), **how)


@pytest.mark.slow
def test_the_model_card_says_on_what_and_keeps_nothing_of_a_person(
    lab: list[Motion], tmp_path: Path, quick: None
) -> None:
    check = adapt_model(tmp_path / "model", lab, model=load_model("starter"), steps=1)
    info = load_model(tmp_path / "model").info
    assert info.training_subjects is None
    assert "of 2 unlabelled recordings (0.3 min) of one lab, of which no picture, landmark or name is kept" in (
        info.trained_on
    )
    assert "1 of these recordings" in info.decode_fitted_on
    assert json.loads(info.provenance["check"]) == json.loads(json.dumps(check.as_dict()))
    assert info.provenance["adapted_from"].startswith("starter ")
    assert isinstance(info.decode, DecodeSettings)
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"model.json", "weights.safetensors"}
    left = {path.name for path in training_folder(tmp_path / "model").rglob("*")}
    assert left == {CHECK_FILE, "metrics.jsonl"}
    adapt_model(tmp_path / "known", lab, model=load_model("starter"), steps=1, subjects=("b", "a"))
    assert load_model(tmp_path / "known").info.training_subjects == ("a", "b")


def test_the_check_counts_what_each_model_finds(
    lab: list[Motion], quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same model on both sides finds the same; one that finds nothing has nothing; plain movements are found."""
    monkeypatch.setattr("metst.training.adaptation_check._PLANTED", 8)  # of four, one nod at the wrong moment is much
    model = load_model("metst-event")
    deaf = replace(
        model, info=model.info.model_copy(update={"decode": DecodeSettings(peak_threshold=0.999, edge_fraction=0.4)})
    )
    settings = SimulationSettings()
    same = check_gain(lab[:2], before=model, after=model, simulation=settings, seed=1)
    assert same.before == same.after
    assert same.recordings == 2
    assert same.minutes == pytest.approx(minutes(lab[:2]))
    assert all(same.planted[amplitude] >= 4 for amplitude in CHECK_AMPLITUDES)
    assert same.after.found[0.4] > same.planted[0.4] / 2
    assert same.before.best_f1 >= same.f1(same.before) - 0.02
    other = check_gain(lab[:2], before=model, after=deaf, simulation=settings, seed=1)
    assert other.before == same.before
    assert sum(other.after.found.values()) < sum(same.after.found.values())
    assert other.after.best_f1 == same.after.best_f1


def test_the_command_refuses_one_recording_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"the same")
    monkeypatch.setattr(adaptation, "probe_video", lambda path, rate_hz: path)
    monkeypatch.setattr(adaptation, "measure_motion", lambda *_, **__: Measured(recording(0)))
    arguments = ["adapt", str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4"), "-o", str(tmp_path / "model")]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UsageError)
    assert "is the same recording as" in str(result.exception)
