"""Where the product differs from the authors on purpose, and the switch that follows them: each case by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.lib.stride_tricks import sliding_window_view

from helpers.command_line import run
from helpers.feature_folders import feature_folder, planted_motion, write_index, write_motion
from helpers.scoring_fakes import CLASSES, FakeEngine, FakeModel
from metst.config import (
    InputSettings,
    ModelInfo,
    NetworkConfig,
    PublishedDecodeSettings,
    ScoringSettings,
)
from metst.datasets.features import FeatureVideo, TrueEvent, read_features_index
from metst.decode import score_channels
from metst.errors import UsageError
from metst.evaluation.plan import PLAN_FILE, Variant, claim_folder, make_plan
from metst.evaluation.published_counts import published_counts
from metst.inference import decode_events, network_input, network_scores, score_motion
from metst.inference.signal import NetworkInput
from metst.published.facts import SCALE
from metst.regions import REGION_NAMES
from metst.timeline import Series, TimeGrid
from metst.training.folds import Fold
from metst.training.lesson import Lesson
from metst.training.recipes import PUBLISHED_RECIPES, Recipe, WindowPlan, published_recipe
from metst.training.recordings import run_fold
from metst.training.windows import TrainingWindows, training_windows

NETWORK = NetworkConfig(name="tiny", in_channels=36, width=8, blocks=3, slow_fast=True, d_state=4)
OWN = Recipe(name="tiny", network=NETWORK, rule="fixed", learning_rate=3e-3, epochs=1)
THEIRS = OWN.model_copy(update={"as_published": True, "neutral_by_sign": True})
PLAN = WindowPlan(rate_hz=30.0, window=10, batch_size=4, neutral_ratio=1000.0)
EVENT = TrueEvent(onset=22, offset=28, emotion="negative")


def motion(frames: int, *, rate_hz: float, seed: int = 0) -> Series:
    values = np.random.default_rng(seed).normal(size=(frames, len(REGION_NAMES), 2)).astype(np.float32)
    return Series(TimeGrid.uniform(frames, rate_hz=rate_hz), values, np.ones(frames, bool), REGION_NAMES)


def model(**changes: Any) -> FakeModel:
    values: dict[str, Any] = {
        "network": NetworkConfig(name="fake", in_channels=36, width=8, slow_fast=False),
        "classes": CLASSES,
        "input": InputSettings(rate_hz=30.0, reference="window", sampling="latest", gaps="still", min_quality=0.0),
        "scoring": ScoringSettings(mode="windows", window=10, hop=5, remainder="dropped"),
        "decode": PublishedDecodeSettings(rule="fixed", k_p=5, strategy=1),
        "trained_on": "nothing",
    }
    return FakeModel(ModelInfo(**(values | changes)), FakeEngine())


@pytest.mark.parametrize(("frames", "rate_hz", "step"), [(100, 200.0, 7), (99, 200.0, 7), (40, 30.0, 1), (1, 200.0, 7)])
@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_every_nth_frame_is_taken_as_it_is(frames: int, rate_hz: float, step: int, piece: int) -> None:
    whole = motion(frames, rate_hz=rate_hz)
    settings = InputSettings(rate_hz=rate_hz / step, reference="window", sampling="latest")
    expected = whole.values.reshape(frames, 36)[::step]
    np.testing.assert_array_equal(network_input(whole, settings=settings).values, expected)
    stream = NetworkInput(settings)
    parts = [stream.feed(whole.values[i : i + piece], whole.grid.time_s[i : i + piece])
             for i in range(0, frames, piece)]  # fmt: skip
    np.testing.assert_array_equal(np.concatenate([*parts, stream.close()]), expected)


def windows_of(root: Path, recipe: Recipe) -> TrainingWindows:
    index = read_features_index(root)
    return training_windows(root, index, index.subjects, recipe=recipe, plan=PLAN, seed=0)


def one_video(root: Path, *, quality: np.ndarray | None = None, valid: np.ndarray | None = None) -> np.ndarray:
    root.mkdir()
    values = planted_motion((EVENT,), frames=83, rng=np.random.default_rng(1))
    if valid is not None:
        values[~valid] = np.nan
    write_motion(root / "0.safetensors", values, rate_hz=30.0, valid=valid)
    if quality is not None:
        stored = safetensors.numpy.load_file(root / "0.safetensors")
        safetensors.numpy.save_file(stored | {"quality": quality}, root / "0.safetensors")
    write_index(root, FeatureVideo(subject="a", video="v", frames=83, rate_hz=30.0, file="0.safetensors",
                                   events=(EVENT,)))  # fmt: skip
    return values


def test_weak_regions_are_not_held_still(tmp_path: Path) -> None:
    quality = np.ones((83, 18), np.float32)
    quality[10:60, 4] = 0.0
    values = one_video(tmp_path / "f", quality=quality)
    theirs = windows_of(tmp_path / "f", THEIRS).motion
    np.testing.assert_allclose(theirs, SCALE * values.reshape(83, 36), rtol=1e-5, atol=1e-4)
    own = windows_of(tmp_path / "f", OWN).motion
    assert np.ptp(own[15:55, 8]) == 0
    assert np.ptp(theirs[15:55, 8]) > 0


def test_windows_are_those_of_the_whole_video_and_stand_still_where_there_is_no_face(tmp_path: Path) -> None:
    valid = np.ones(83, bool)
    valid[:3] = valid[40:52] = False
    values = one_video(tmp_path / "f", valid=valid)
    theirs, own = windows_of(tmp_path / "f", THEIRS), windows_of(tmp_path / "f", OWN)
    assert len(theirs.motion) == 83
    assert set(theirs.starts.tolist()) <= set(range(0, 71, 5))
    assert len(theirs) == 83 // 5 - 1 - 2  # all but two of the neutral ones
    assert np.flatnonzero(theirs.score).tolist() == [23, 24, 25, 26]
    steps, measured = np.diff(theirs.motion, axis=0), SCALE * np.diff(values.reshape(83, 36), axis=0)
    with_face = valid[1:] & valid[:-1]
    np.testing.assert_allclose(steps[with_face], measured[with_face], rtol=1e-4, atol=1e-3)
    assert (steps[~with_face] == 0).all()
    assert len(own.motion) == valid.sum()


@pytest.mark.parametrize("frames", [83, 85, 10, 9])
def test_what_is_left_behind_the_last_window_has_no_score_and_no_part_in_the_curve(frames: int) -> None:
    whole, fake = motion(frames, rate_hz=30.0), model()
    scores = score_motion(whole, model=fake)
    scored = (frames // 5) * 5 if frames >= 10 else 0
    assert np.flatnonzero(scores.valid).tolist() == list(range(scored))
    curve = network_scores(scores, model=fake)
    assert len(curve) == scored
    # Of each window against its first frame: the first whole, then second halves.
    x = whole.values.reshape(frames, 36)[:, 0]
    starts = range(0, frames - 9, 5)
    parts = [(x[start : start + 10] - x[start])[5 * (start > 0) :] for start in starts]
    np.testing.assert_allclose(curve.values[:, 0], np.concatenate([np.zeros(0), *parts]), atol=1e-6)
    events = decode_events(scores, model=fake)
    assert (events.offset <= scored).all()
    # The product's own way gives every frame a score.
    goes_on = model(scoring=ScoringSettings(mode="windows", window=10, hop=5))
    assert score_motion(whole, model=goes_on).valid.all()


@pytest.mark.parametrize("rate_hz", [24.0, 25.0, 29.97, 30.0, 50.0, 60.0, 200.0])
@pytest.mark.parametrize("network_hz", [200 / 7, 30.0])
@pytest.mark.parametrize("seconds", [65 / 30, 2.5, 4.1])
def test_every_row_of_the_network_is_in_the_curve_whatever_the_rate_of_the_video(
    rate_hz: float, network_hz: float, seconds: float
) -> None:
    """65 frames at 30 Hz are among them: the last row lies between two frames, and is held for the nearest."""
    whole = motion(round(seconds * rate_hz), rate_hz=rate_hz)
    fake = model(input=model().info.input.model_copy(update={"rate_hz": network_hz}))
    read = network_input(whole, settings=fake.info.input).values
    rows = (len(read) // 5) * 5
    for chunk_frames in (7, 1000):
        scores = score_motion(whole, model=fake, chunk_frames=chunk_frames)
        curve = network_scores(scores, model=fake)
        assert len(curve) == rows
        assert curve.valid.all()
    time_s = np.arange(rows) / network_hz
    assert scores.valid[scores.grid.frame_at(time_s)].all()
    behind = np.flatnonzero(whole.grid.time_s > time_s[-1] + 1e-9)[1:]
    assert not scores.valid[behind].any()
    # The frame behind the last row has its values as they are: of the last window, against its first frame.
    held = int(whole.grid.frame_at(time_s[-1]))
    if whole.grid.time_s[held] > time_s[-1] + 1e-9:
        assert scores.values[held, 0] == pytest.approx(read[rows - 1, 0] - read[rows - 10, 0], abs=1e-6)


def test_a_gap_is_no_gap_and_pieces_of_a_video_are_the_whole() -> None:
    whole = motion(83, rate_hz=30.0)
    valid = np.ones(83, bool)
    valid[30:37] = False
    values = np.where(valid[:, None, None], whole.values, np.float32(np.nan))
    gappy = Series(whole.grid, values, valid, whole.channels)
    scores = score_motion(gappy, model=model(), chunk_frames=4)
    assert scores.valid[:80].all()
    np.testing.assert_array_equal(scores.values, score_motion(gappy, model=model(), chunk_frames=1000).values)


def test_neutral_is_taken_for_0(tmp_path: Path) -> None:
    whole = motion(40, rate_hz=30.0)
    by_sign = model(decode=PublishedDecodeSettings(rule="fixed", k_p=5, neutral_by_sign=True))
    scores = network_scores(score_motion(whole, model=by_sign), model=by_sign)
    x = whole.values.reshape(40, 36)
    windows = sliding_window_view(x, 10, axis=0)[::5].transpose(0, 2, 1)
    logits = np.concatenate([(w - w[0])[5 * (i > 0) :, 1:6] for i, w in enumerate(windows)])
    logits[:, 4] = 0
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores.values[:, 1:], expected, rtol=1e-4)
    neutral = scores.values[:, 1:].argmax(axis=1) == 4
    np.testing.assert_array_equal(neutral, (logits[:, :4] < 0).all(axis=1))


def bump(video: FeatureVideo, *, at: int, label: int) -> Series:
    """One peak in a video of 60 frames, every frame of one class."""
    values = np.zeros((60, 6), np.float32)
    values[at - 3 : at + 4, 0] = [0.3, 0.6, 0.8, 0.9, 0.8, 0.6, 0.3]
    values[:, 1 + label] = 1.0
    return Series(TimeGrid.uniform(60, rate_hz=30.0), values, np.ones(60, bool), score_channels(CLASSES))


def test_what_the_strategy_deletes_is_deleted_after_the_matching() -> None:
    def video(name: str, *onsets: int) -> FeatureVideo:
        events = tuple(TrueEvent(onset=at, offset=at + 11, emotion="positive") for at in onsets)
        return FeatureVideo(subject="s", video=name, frames=60, rate_hz=30.0, file="x", events=events)

    kept, deleted, unread, without = video("a", 25), video("b", 25), video("c", 5), video("d")
    scored = [
        (kept, bump(kept, at=30, label=1), model()),
        (deleted, bump(deleted, at=30, label=4), model()),
        (unread, None, model()),
        (without, bump(without, at=30, label=0), model()),
    ]
    result = published_counts(scored, classes=("negative", "positive", "surprise"))  # type: ignore[arg-type]
    counts = [[stage["spotting"][name] for name in ("tp", "fp", "fn")] for stage in (result["raw"], result)]
    assert counts == [[2, 0, 1], [1, 0, 2]]
    nothing = published_counts([(unread, None, model())], classes=CLASSES[:3])  # type: ignore[list-item]
    assert [nothing["spotting"][name] for name in ("tp", "fp", "fn")] == [0, 0, 1]


@pytest.mark.parametrize(("recipe", "strategy"), [(THEIRS, 1), (THEIRS, 0), (OWN, 1)])
def test_the_checkpoint_of_a_fold_says_which_way_it_is(tmp_path: Path, recipe: Recipe, strategy: Any) -> None:
    root = feature_folder(tmp_path / "f", subjects=2, videos=1, still=0, frames=143)
    run_fold(tmp_path / "o", Lesson(root, recipe, strategy=strategy, seed=1), fold=Fold("s1", ("s0",), ("s1",)))
    info = json.loads((tmp_path / "o" / "model" / "model.json").read_text())
    theirs = recipe.as_published
    assert info["input"]["sampling"] == ("latest" if theirs else "mean")
    assert info["input"]["gaps"] == ("still" if theirs else "restart")
    assert info["input"]["min_quality"] == (0.0 if theirs else 0.5)
    assert info["scoring"]["remainder"] == ("dropped" if theirs else "scored")
    assert info["decode"]["neutral_by_sign"] == (theirs and strategy == 1)


def test_the_option_is_in_the_recipe_of_the_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = feature_folder(tmp_path / "f", subjects=1, videos=1, still=0, frames=150)
    code, _, err = run(capsys, "train", "--features", root, "--recipe", "metst-plus", "--width", 8, "--epochs", 1,
                       "--as-published", "-o", tmp_path / "m")  # fmt: skip
    assert code == 0, err
    info = json.loads((tmp_path / "m" / "model.json").read_text())
    assert json.loads(info["provenance"]["recipe"])["as_published"]
    assert info["decode"]["neutral_by_sign"]
    code, _, err = run(capsys, "train", "--as-published", "-o", tmp_path / "n")
    assert code == 2
    assert "simulated" in err


def test_a_run_of_before_is_refused(tmp_path: Path) -> None:
    root = feature_folder(tmp_path / "f", subjects=2, videos=1, still=0, frames=150)
    plan = make_plan(root, variants=[Variant(name="a", recipe=published_recipe("metst-plus"))])
    claim_folder(tmp_path / "run", plan)
    path = tmp_path / "run" / PLAN_FILE
    old = json.loads(path.read_text())
    recipe = old["variants"][0]["recipe"]
    for name in ("mixed_precision", "as_published", "neutral_by_sign"):
        del recipe[name]
    for name in ("time_step_start", "drop_path_row", "trunk_per_head"):
        del recipe["network"][name]
    path.write_text(json.dumps(old))
    with pytest.raises(UsageError, match="give another folder"):
        claim_folder(tmp_path / "run", plan)


def test_an_evaluation_counts_as_published_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = feature_folder(tmp_path / "f", subjects=2, videos=1, still=0, frames=150)
    common = ("evaluate", root, "--recipe", "metst", "--width", 8, "--epochs", 1, "--workers", 1)
    for name, options in (("theirs", ("--as-published",)), ("own", ())):
        code, _, err = run(capsys, *common, *options, "-o", tmp_path / name)
        assert code == 0, err
        (variant,) = json.loads((tmp_path / name / "evaluation.json").read_text())["variants"].values()
        assert variant["recipe"]["as_published"] == ("raw" in variant["greedy"]) == (name == "theirs")
        hits, missed = (variant["greedy"]["spotting"][count] for count in ("tp", "fn"))
        assert hits + missed == sum(len(video.micro) for video in read_features_index(root).videos)
        page = (tmp_path / name / "report.html").read_text()
        for text in (page, err):
            words = "Greedy of metst, as published, strategy 1 is counted as the authors"
            assert (words in text) == (name == "theirs")


def test_an_unknown_recipe_is_told_all_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "evaluate", tmp_path, "--recipe", "metst-pluss", "-o", tmp_path / "run")
    assert code == 2
    assert "'metst-pluss'" in err
    for name in (*PUBLISHED_RECIPES, "metst-event"):
        assert name in err.partition("expected")[2]
