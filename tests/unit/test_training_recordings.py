"""Training on labelled recordings: windows, targets and weights by hand, folds from end to end."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import nn

from helpers.feature_folders import feature_folder, planted_motion, write_index, write_motion
from metst.cli import main
from metst.config import NetworkConfig
from metst.datasets.features import FeatureVideo, TrueEvent, read_features_index, read_motion
from metst.errors import DataError, UsageError
from metst.labels import CLASSES, EMOTIONS, NEUTRAL
from metst.models.checkpoint import load_model
from metst.published.facts import SCALE
from metst.timeline import TimeGrid
from metst.training import joint_loss, published_recipe, recordings
from metst.training.folds import Fold
from metst.training.layout import DONE_FILE, METRICS_FILE, PREDICTIONS_FILE, SCORES_FOLDER, STATE_FILE
from metst.training.lesson import Lesson
from metst.training.recipes import (
    PUBLISHED_PLANS,
    PUBLISHED_RECIPES,
    Recipe,
    WindowPlan,
    changed_recipe,
)
from metst.training.recordings import (
    run_fold,
    train_recordings,
    window_batches,
)
from metst.training.windows import (
    IGNORED,
    TrainingWindows,
    frame_targets,
    training_windows,
    typical_half_duration,
    window_plan,
)

feature_folder, planted_motion = feature_folder, planted_motion
write_index, write_motion = write_index, write_motion

NETWORK = NetworkConfig(name="tiny", in_channels=36, width=8, blocks=3, slow_fast=True, d_state=4)
RECIPE = Recipe(name="tiny", network=NETWORK, rule="fixed", learning_rate=3e-3, epochs=2)
PLAN = WindowPlan(rate_hz=30.0, window=10, batch_size=4, neutral_ratio=1.0)


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def event(onset: int, offset: int, *, emotion: str | None = "negative", kind: str = "micro") -> TrueEvent:
    return TrueEvent(onset=onset, offset=offset, emotion=emotion, kind=kind)  # type: ignore[arg-type]


def one_video(root: Path, *events: TrueEvent, frames: int = 60, rate_hz: float = 30.0, **kind: str) -> Path:
    root.mkdir(parents=True)
    motion = planted_motion(events, frames=frames, rng=np.random.default_rng(1))
    write_motion(root / "0.safetensors", motion, rate_hz=rate_hz)
    row = FeatureVideo(subject="a", video="v", frames=frames, rate_hz=rate_hz, file="0.safetensors", events=events)
    write_index(root, row, **kind)  # type: ignore[arg-type]
    return root


def windows_of(root: Path, *, recipe: Recipe = RECIPE, plan: WindowPlan = PLAN, seed: int = 0) -> TrainingWindows:
    index = read_features_index(root)
    return training_windows(root, index, index.subjects, recipe=recipe, plan=plan, seed=seed)


# The published training, as the papers have it


@pytest.mark.parametrize(
    ("name", "rate", "epochs", "channels"),
    [
        ("metst-2024", 1e-4, 30, 10),
        ("metst", 3e-4, 50, 10),
        ("metst-plus", 3e-4, 50, 36),
        ("boosting-vrme", 3e-4, 50, 36),
    ],
)
def test_published_recipes(name: str, rate: float, epochs: int, channels: int) -> None:
    recipe = published_recipe(name)
    assert (recipe.learning_rate, recipe.epochs, recipe.network.in_channels) == (rate, epochs, channels)
    assert len(recipe.regions) == channels // 2
    assert (recipe.spotting_weight, recipe.recognition_weight, recipe.neutral_factor) == (0.9, 0.1, 6.0)
    assert recipe.gain == (0.9, 1.1)
    assert not recipe.mixed_precision
    assert not recipe.as_published
    assert recipe.neutral_by_sign == (channels == 36)
    assert not recipe.background
    assert not recipe.patience
    assert recipe.statistic == ("median" if name == "boosting-vrme" else "mean")
    samm, casme3 = recipe.plans["samm-lv"], recipe.plans["casme3"]
    assert (samm.rate_hz, samm.window, samm.hop, samm.batch_size, samm.neutral_ratio) == (200 / 7, 30, 15, 32, 0.5)
    assert (casme3.rate_hz, casme3.window, casme3.hop, casme3.batch_size, casme3.neutral_ratio) == (30, 50, 25, 256, 4)


def test_recipes_change_by_name_and_say_what_they_do_not_know() -> None:
    recipe = changed_recipe(published_recipe("metst-plus"), {"epochs": 2, "network.width": 16})
    assert (recipe.epochs, recipe.network.width, recipe.network.name) == (2, 16, "metst-plus-changed")
    assert changed_recipe(recipe, {}) == recipe
    assert changed_recipe(recipe, {"network.width": 8}).network.name == "metst-plus-changed"
    with pytest.raises(UsageError, match=r"no .network\.wide.: .*network\.width"):
        changed_recipe(recipe, {"network.wide": 3})
    with pytest.raises(UsageError, match="epochs"):
        changed_recipe(recipe, {"epochs": 0})
    with pytest.raises(UsageError, match="validation"):
        changed_recipe(recipe, {"patience": 3})
    for impossible in ({"network": 5}, {"network": 5, "network.width": 16}):
        with pytest.raises(UsageError, match="network"):
            changed_recipe(recipe, impossible)
    assert changed_recipe(recipe, {"gain": (0.29, 1.13)}).gain == (0.29, 1.13)
    for gain in ((1.1, 0.9), (0.9, float("inf")), (float("nan"), 1.0), (0.905, 1.1), (0.9, 1e12)):
        with pytest.raises(UsageError, match="gain"):
            changed_recipe(recipe, {"gain": gain})
    with pytest.raises(UsageError, match="metst-plus"):
        published_recipe("starter")
    assert set(PUBLISHED_RECIPES) == {"metst", "metst-2024", "metst-plus", "boosting-vrme"}


# Targets and windows, by hand


def test_targets_are_one_strictly_between_onset_and_offset() -> None:
    video = FeatureVideo(subject="a", video="v", frames=20, rate_hz=30, file="x",
                         events=(event(3, 8, emotion="surprise"), event(12, 16, emotion=None)))  # fmt: skip
    grid = TimeGrid.uniform(20, rate_hz=30.0)
    score, label = frame_targets(video, grid, grid=grid, rate_hz=30.0)
    # Frames 3 .. 7, of which 4, 5, 6 are inside; frames 12 .. 15, of which 13 and 14 are.
    assert np.flatnonzero(score).tolist() == [4, 5, 6, 13, 14]
    assert label[4:7].tolist() == [CLASSES.index("surprise")] * 3
    assert label[13:15].tolist() == [IGNORED] * 2
    assert (label[score == 0] == NEUTRAL).all()


def test_targets_of_a_fast_video_are_the_published_integer_division() -> None:
    """SAMM-LV: 200 frames per second, every 7th; onset // 7 + 1 .. offset // 7 - 1."""
    rng = np.random.default_rng(0)
    for onset, length in rng.integers(10, 300, size=(50, 2)):
        last = int(onset + length)
        video = FeatureVideo(subject="a", video="v", frames=700, rate_hz=200, file="x",
                             events=(event(int(onset), last + 1),))  # fmt: skip
        grid = TimeGrid.uniform(100, rate_hz=200 / 7)
        score, _ = frame_targets(video, TimeGrid.uniform(700, rate_hz=200.0), grid=grid, rate_hz=200 / 7)
        assert np.flatnonzero(score).tolist() == list(range(onset // 7 + 1, last // 7))


def test_targets_of_a_stretch_that_starts_late_and_cuts_an_event() -> None:
    video = FeatureVideo(subject="a", video="v", frames=40, rate_hz=10, file="x", events=(event(8, 16), event(28, 39)))
    whole = TimeGrid.uniform(40, rate_hz=10.0)
    stretch = TimeGrid.uniform(20, rate_hz=10.0, start_s=1.2)  # frames 12 .. 31
    score, _ = frame_targets(video, whole, grid=stretch, rate_hz=10.0)
    assert (np.flatnonzero(score) + 12).tolist() == [12, 13, 14, 29, 30, 31]


def test_every_window_with_an_event_and_as_many_neutral_ones_as_the_ratio_says(tmp_path: Path) -> None:
    # Windows of 10 start at 0, 5, ..., 50; frames 23 and 24 lie in those of 15 and 20.
    root = one_video(tmp_path / "f", event(22, 26))
    for ratio, neutral in ((0.0, 0), (0.5, 1), (0.9, 1), (1.0, 2), (4.0, 8), (4.5, 7), (100.0, 7)):
        chosen = windows_of(root, plan=PLAN.model_copy(update={"neutral_ratio": ratio}))
        assert chosen.with_event == 2
        assert chosen.starts[:2].tolist() == [15, 20]
        assert len(chosen) == 2 + neutral
        assert not set(chosen.starts[2:].tolist()) & {15, 20}
        assert len(set(chosen.starts.tolist())) == len(chosen)
    seeds = {tuple(windows_of(root, seed=seed).starts.tolist()) for seed in range(8)}
    assert len(seeds) > 1
    assert windows_of(root, seed=3).starts.tolist() == windows_of(root, seed=3).starts.tolist()


def test_windows_do_not_cross_gaps(tmp_path: Path) -> None:
    root = one_video(tmp_path / "f", event(5, 12), event(45, 55), frames=80)
    motion = planted_motion((), frames=80, rng=np.random.default_rng(0))
    valid = np.ones(80, bool)
    valid[30:40] = False
    motion[~valid] = np.nan
    write_motion(root / "0.safetensors", motion, rate_hz=30.0, valid=valid)
    plan = PLAN.model_copy(update={"neutral_ratio": 100.0})
    # Stretches of 30 and 40 frames lie one behind the other; the second one's frame 0 is frame 40 of the video.
    starts = [windows_of(root, plan=plan, seed=seed).starts.tolist() for seed in range(20)]
    assert {start for each in starts for start in each} == {*range(0, 21, 5), *range(30, 61, 5)}
    assert {len(each) for each in starts} == {10}  # all but two
    chosen = windows_of(root, plan=plan)
    assert np.flatnonzero(chosen.score).tolist() == [*range(6, 11), *range(36, 44)]
    assert np.isfinite(chosen.motion).all()


def test_input_is_motion_against_the_first_frame_of_the_window(tmp_path: Path) -> None:
    root = one_video(tmp_path / "f", event(22, 26))
    chosen = windows_of(root)
    x = chosen.inputs(np.array([1]), gain=np.array([1.1], np.float32))[0]
    motion = read_motion(root, read_features_index(root).videos[0])
    # At equal rates a frame is 1/8, 3/4, 1/8 of it and its neighbours.
    values = motion.displacement.values.reshape(60, 36)
    smooth = (values[:-2] + 6 * values[1:-1] + values[2:]) / 8
    start = int(chosen.starts[1])
    expected = 1.1 * SCALE * (smooth[start - 1 : start + 9] - smooth[start - 1])
    np.testing.assert_allclose(x, expected.T, atol=1e-3)
    assert x.shape == (36, 10)
    assert (x[:, 0] == 0).all()


def test_background_and_hard_negatives(tmp_path: Path) -> None:
    root = feature_folder(tmp_path / "f", subjects=2, videos=2, frames=240)
    index = read_features_index(root)
    plan = PLAN.model_copy(update={"neutral_ratio": 1000.0})
    without = training_windows(root, index, index.subjects, recipe=RECIPE, plan=plan, seed=0)
    background = RECIPE.model_copy(update={"background": True})
    with_ = training_windows(root, index, index.subjects, recipe=background, plan=plan, seed=0)
    assert without.with_event == with_.with_event
    assert len(with_.motion) == 2 * len(without.motion) == 4 * 240
    blinks = one_video(tmp_path / "b", event(22, 26), event(40, 43, kind="blink", emotion=None))
    hard = RECIPE.model_copy(update={"hard_negatives": True})
    few = PLAN.model_copy(update={"neutral_ratio": 1.0})
    for seed in range(5):  # frames 40 .. 42 lie in the windows of 35 and 40, which come first
        assert windows_of(blinks, recipe=hard, plan=few, seed=seed).starts[2:].tolist() == [35, 40]


def test_class_weights_by_hand() -> None:
    label = np.array([4, 4, 4, 0, 0, 1, 4, 4, 4, IGNORED], np.int8)
    windows = TrainingWindows(np.zeros((10, 36), np.float32), (label != 4).astype(np.uint8), label,
                              np.array([0, 4]), 6, 2)  # fmt: skip
    # Frames 0 .. 5 and 4 .. 9: neutral 3 + 3, class 0 2 + 1, class 1 1 + 1: 11 frames of 3 classes, one ignored.
    expected = {0: 11 / (3 * 3), 1: 11 / (3 * 2), 4: 11 / (3 * 6)}
    for strategy, factor in ((0, 0.0), (1, 6.0), (2, 6.0)):
        weights = windows.class_weights(strategy=strategy, neutral_factor=6.0)
        np.testing.assert_allclose(weights, [expected[0], expected[1], 0, 0, factor * expected[4]], rtol=1e-6)


class Fixed(nn.Module):
    """A network that always says the same."""

    def __init__(self, score: torch.Tensor, logits: torch.Tensor) -> None:
        super().__init__()
        self.answer = score, logits

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.answer


def test_loss_written_out() -> None:
    rng = np.random.default_rng(0)
    score, logits = rng.random((2, 3)), rng.normal(size=(2, 3, 5))
    truth, label = np.array([[0, 1, 1], [0, 0, 0]]), np.array([[4, 0, IGNORED], [4, 4, 2]])
    weights = np.array([2.0, 1.0, 0.5, 1.0, 0.25])
    chance = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    pairs = [(i, k) for i in range(2) for k in range(3) if label[i, k] != IGNORED]
    entropy = sum(-weights[label[p]] * np.log(chance[p][label[p]]) for p in pairs) / len(pairs)
    expected = 0.9 * ((score - truth) ** 2).mean() + 0.1 * entropy
    network = Fixed(torch.tensor(score).float(), torch.tensor(logits).float())
    batch = (torch.zeros(2, 36, 3), torch.tensor(truth).float(), torch.tensor(label))
    losses = joint_loss(weights.astype(np.float32), recipe=RECIPE)(network, batch)
    assert float(losses["loss"]) == pytest.approx(expected, rel=1e-5)


def test_a_batch_that_weighs_nothing_costs_only_its_score() -> None:
    network = Fixed(torch.full((1, 4), 0.5), torch.randn(1, 4, 5, requires_grad=True))
    batch = (torch.zeros(1, 36, 4), torch.zeros(1, 4), torch.full((1, 4), NEUTRAL))
    losses = joint_loss(np.array([1, 1, 1, 1, 0], np.float32), recipe=RECIPE)(network, batch)
    assert float(losses["loss"].detach()) == pytest.approx(0.9 * 0.25)
    losses["loss"].backward()
    grad = network.answer[1].grad
    assert grad is not None
    assert (grad == 0).all()


def test_batches_show_every_window_once_per_epoch_with_gains_in_range(tmp_path: Path) -> None:
    chosen = windows_of(one_video(tmp_path / "f", event(22, 26)), plan=PLAN.model_copy(update={"neutral_ratio": 2.5}))
    batch = window_batches(chosen, batch_size=3, gain=(0.9, 1.1), seed=7)
    plain = chosen.inputs(np.arange(len(chosen)), gain=np.ones(len(chosen), np.float32))
    orders = []
    for epoch in range(2):
        found = []
        for step in range(3 * epoch, 3 * epoch + 3):
            motion, score, label = batch(step)
            assert all(torch.equal(a, b) for a, b in zip((motion, score, label), batch(step), strict=True))
            for x, y in zip(motion.numpy(), score.numpy(), strict=True):
                ratio = (x * plain).sum(axis=(1, 2)) / (plain**2).sum(axis=(1, 2))
                error = np.abs(x - ratio[:, None, None] * plain).max(axis=(1, 2))
                row = int(error.argmin())
                assert error[row] < 1e-3
                assert 0.9 <= ratio[row] <= 1.1
                assert y.tolist() == chosen.score[chosen.frames(np.array([row]))[0]].tolist()
                found.append(row)
        assert sorted(found) == list(range(len(chosen)))
        orders.append(found)
    assert orders[0] != orders[1]


def test_plans_of_other_data_follow_the_training_subjects(tmp_path: Path) -> None:
    root = feature_folder(tmp_path / "f", rate_hz=100.0, frames=900)
    index = read_features_index(root)
    plan = window_plan(RECIPE, index, index.subjects)
    assert plan.rate_hz == pytest.approx(100 / 3)  # every third frame comes nearest to 30 per second
    assert plan.window == 40  # 2.4 times half a second
    assert (
        window_plan(RECIPE, read_features_index(one_video(tmp_path / "s", event(1, 9), kind="samm-lv")), ("a",))
        == (PUBLISHED_PLANS["samm-lv"])
    )


def test_half_duration_is_that_of_the_training_subjects_only(tmp_path: Path) -> None:
    root = tmp_path / "f"
    root.mkdir()
    rows = []
    for name, offsets in (("a", (20, 26)), ("b", (60,))):
        events = tuple(event(10, offset) for offset in offsets)
        rows.append(
            FeatureVideo(subject=name, video="v", frames=90, rate_hz=30, file=f"{name}.safetensors", events=events)
        )
        write_motion(root / f"{name}.safetensors", np.zeros((90, 18, 2), np.float32), rate_hz=30.0)
    write_index(root, *rows)
    index = read_features_index(root)
    # Durations 10 and 16 frames, both ends inclusive: the mean 13 over 2.
    assert typical_half_duration(root, index, ("a",), recipe=RECIPE, plan=PLAN) == 6
    assert typical_half_duration(root, index, ("a", "b"), recipe=RECIPE, plan=PLAN) == int(76 / 3 / 2)
    median = RECIPE.model_copy(update={"rule": "extensible"})
    assert typical_half_duration(root, index, ("a", "b"), recipe=median, plan=PLAN) == 8


# Folds


FOLD = Fold("s0", ("s1", "s2"), ("s0",))


def fold_files(folder: Path) -> dict[str, bytes]:
    """All that a fold writes, without what only says how long it took."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    found.pop(DONE_FILE)
    records = [json.loads(line) for line in found.pop(METRICS_FILE).splitlines()]
    found["metrics"] = json.dumps([{**record, "seconds": 0} for record in records]).encode()
    return found


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return feature_folder(tmp_path_factory.mktemp("learn") / "features", frames=300)


def test_a_fold_writes_what_evaluation_reads(features: Path, tmp_path: Path) -> None:
    run_fold(tmp_path / "o", Lesson(features, RECIPE, strategy=2, seed=1), fold=FOLD)
    done = json.loads((tmp_path / "o" / DONE_FILE).read_text())
    assert (done["fold"], done["strategy"], done["seed"], done["k_p"]) == ("s0", 2, 1, 7)
    model = load_model(tmp_path / "o" / "model")
    assert model.info.training_subjects == ("s1", "s2")
    assert "2 micro" not in model.info.decode_fitted_on
    assert model.info.weights_sha256 == done["weights_sha256"]
    with (tmp_path / "o" / PREDICTIONS_FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == done["predictions"] > 0
    assert {row["subject"] for row in rows} == {"s0"}
    assert {row["emotion"] for row in rows} <= set(EMOTIONS)
    assert all(1 <= int(row["onset"]) <= int(row["offset"]) <= 300 for row in rows)
    for video in ("v0", "v1"):
        tensors = safetensors.numpy.load_file(tmp_path / "o" / SCORES_FOLDER / f"s0--{video}.safetensors")
        assert tensors["scores"].shape == (300, 6)
        assert tensors["valid"].all()
    assert not (tmp_path / "o" / STATE_FILE).exists()
    before = fold_files(tmp_path / "o")
    run_fold(tmp_path / "o", Lesson(features, RECIPE, strategy=2, seed=1), fold=FOLD)
    assert fold_files(tmp_path / "o") == before
    with pytest.raises(UsageError, match="other data or settings"):
        run_fold(tmp_path / "o", Lesson(features, RECIPE, seed=1), fold=FOLD)
    for text in ("[]", "{}", "torn"):
        (tmp_path / "o" / DONE_FILE).write_text(text)
        with pytest.raises(DataError, match="delete its fold's folder and run again"):
            run_fold(tmp_path / "o", Lesson(features, RECIPE, strategy=2, seed=1), fold=FOLD)


def test_a_fold_that_was_killed_ends_as_one_that_was_not(features: Path, tmp_path: Path) -> None:
    class Kill(BaseException):
        pass

    def kill_at(stage: str, step: int) -> None:
        def on_progress(now: str, done: int, total: int | None) -> None:
            if (now, done) == (stage, step):
                raise Kill

        with pytest.raises(Kill):
            run_fold(tmp_path / "cut", Lesson(features, RECIPE, seed=1), fold=FOLD,
                     on_progress=on_progress)  # fmt: skip

    run_fold(tmp_path / "whole", Lesson(features, RECIPE, seed=1), fold=FOLD)
    kill_at("training", 2)  # before the first epoch is over
    epoch_steps = json.loads((tmp_path / "whole" / METRICS_FILE).read_text().splitlines()[0])["step"]
    kill_at("training", epoch_steps + 1)
    kill_at("prediction", 1)
    run_fold(tmp_path / "cut", Lesson(features, RECIPE, seed=1), fold=FOLD)
    assert fold_files(tmp_path / "cut") == fold_files(tmp_path / "whole")


def test_threads_and_the_order_of_subjects_change_nothing(features: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    hashes = set()
    try:
        for threads, train in ((1, ("s1", "s2")), (2, ("s2", "s1"))):
            torch.set_num_threads(threads)
            fold, folder = Fold("s0", train, ("s0",)), tmp_path / str(threads)
            run_fold(folder, Lesson(features, RECIPE, seed=1), fold=fold)
            hashes.add((load_model(folder / "model").info.weights_sha256, (folder / PREDICTIONS_FILE).read_bytes()))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(hashes) == 1


def test_test_subjects_leave_no_trace_in_the_model(tmp_path: Path) -> None:
    """The same training subjects, another test subject's motion and labels: the same model."""
    hashes = []
    for seed in (0, 1):
        root = feature_folder(tmp_path / f"f{seed}", frames=240)
        if seed:
            motion = np.random.default_rng(9).normal(size=(240, 18, 2)).astype(np.float32)
            write_motion(root / "00.safetensors", motion, rate_hz=30.0)
            index = read_features_index(root)
            changed = index.videos[0].model_copy(update={"events": (event(5, 200),)})
            write_index(root, changed, *index.videos[1:])
        run_fold(tmp_path / f"o{seed}", Lesson(root, RECIPE, seed=1), fold=FOLD)
        hashes.append(load_model(tmp_path / f"o{seed}" / "model").info)
    assert hashes[0].weights_sha256 == hashes[1].weights_sha256
    assert hashes[0].decode == hashes[1].decode
    assert hashes[0].scoring == hashes[1].scoring


def test_validation_is_on_training_subjects_only(features: Path, tmp_path: Path) -> None:
    recipe = changed_recipe(RECIPE, {"validation_share": 0.5, "patience": 1, "epochs": 3})
    run_fold(tmp_path / "o", Lesson(features, recipe, seed=1), fold=FOLD)
    records = [json.loads(line) for line in (tmp_path / "o" / METRICS_FILE).read_text().splitlines()]
    assert all(0 <= record["validation"] <= 1 for record in records)
    info = load_model(tmp_path / "o" / "model").info
    assert info.training_subjects == ("s1", "s2")  # neither may be scored
    assert "1 more to validate on" in info.trained_on


@pytest.mark.slow
def test_a_small_network_learns_planted_movements(tmp_path: Path) -> None:
    root = feature_folder(tmp_path / "f", subjects=5, videos=2, frames=600)
    recipe = changed_recipe(RECIPE, {"epochs": 40, "network.width": 16})
    fold = Fold("s0", ("s1", "s2", "s3", "s4"), ("s0",))
    run_fold(tmp_path / "o", Lesson(root, recipe), fold=fold)
    with (tmp_path / "o" / PREDICTIONS_FILE).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["video"] == "v0"]
    truth = next(video for video in read_features_index(root).videos if video.key == ("s0", "v0")).micro
    found = [(int(row["onset"]) - 1, row["emotion"]) for row in rows]
    hits = [any(abs(onset - one.onset) < 5 and emotion == one.emotion for onset, emotion in found) for one in truth]
    assert sum(hits) >= len(truth) - 1
    assert len(rows) <= len(truth) + 4


# The command


def metst(*arguments: object) -> int:
    """Exit code of a command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["metst", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
    return int(left.value.code or 0)


def test_the_command_trains_on_recordings(features: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    options = ("--features", features, "--recipe", "metst", "--without", "s0", "--epochs", 1, "--width", 8, "-q")
    assert metst("train", *options, "--strategy", 2, "--seed", 3, "-o", model) == 0
    info = load_model(model).info
    assert info.training_subjects == ("s1", "s2")
    assert (info.network.width, info.network.in_channels) == (8, 10)
    assert info.decode.strategy == 2  # type: ignore[union-attr]
    assert len((tmp_path / "model.training" / METRICS_FILE).read_text().splitlines()) == 1
    assert not (tmp_path / "model.training" / STATE_FILE).exists()


def test_the_command_trains_into_the_folder_it_stands_in(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    options = ("--features", features, "--recipe", "metst", "--epochs", 1, "--width", 8, "-q")
    assert metst("train", *options, "-o", ".") == 0
    assert load_model(tmp_path / "here").info.decode.strategy == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--recipe", "metst-plus"), "give --features"),
        (("--recipe", "starter", "--epochs", "3"), "simulated motion"),
        (("--recipe", "starter", "--strategy", "2"), "simulated motion"),
        (("--recipe", "nothing"), "expected one of starter"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert metst("train", *options, "-o", tmp_path / "model") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


# What cannot be trained on


def test_a_subject_on_both_sides_is_refused(features: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="s1 is on both sides"):
        run_fold(tmp_path / "o", Lesson(features, RECIPE, seed=1), fold=Fold("x", ("s1", "s2"), ("s1",)))
    assert not (tmp_path / "o").exists()


def test_unknown_subjects_and_strategies_are_refused(features: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no video of subject s9"):
        run_fold(tmp_path / "o", Lesson(features, RECIPE, seed=1), fold=Fold("x", ("s9",), ("s1",)))
    with pytest.raises(UsageError, match="strategy 3"):
        run_fold(tmp_path / "o", Lesson(features, RECIPE, strategy=3, seed=1), fold=FOLD)
    with pytest.raises(UsageError, match="no training subject"):
        train_recordings(tmp_path / "o", Lesson(features, RECIPE), without=("s0", "s1", "s2"))


def test_nothing_to_learn_is_said(tmp_path: Path) -> None:
    root = one_video(tmp_path / "f", event(40, 44, kind="macro"), kind="samm-lv")
    with pytest.raises(DataError, match="no micro-expression to learn from"):
        train_recordings(tmp_path / "o", Lesson(root, RECIPE))


def test_a_training_without_some_class_runs(tmp_path: Path) -> None:
    root = one_video(tmp_path / "f", event(40, 60, emotion="positive"), frames=200)
    info = train_recordings(tmp_path / "o", Lesson(root, changed_recipe(RECIPE, {"epochs": 1}), strategy=0))
    assert info.training_subjects == ("a",)
    assert load_model(tmp_path / "o").info == info


@pytest.mark.parametrize("mixed", [False, True])
def test_precision_is_that_of_the_recipe(
    mixed: bool, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(recordings, "fit_network", lambda network, training, **_: seen.append(training.mixed_precision))
    recipe = RECIPE.model_copy(update={"mixed_precision": mixed})
    train_recordings(tmp_path / "m", Lesson(features, recipe, seed=1))
    assert seen == [mixed]
