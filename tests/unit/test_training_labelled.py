"""The product's own network on labelled recordings: clips, loss, operating point, folds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.feature_folders import feature_folder, planted_motion, write_index, write_motion
from metst.cli import app
from metst.cli.evaluation_rows import Asked
from metst.config import DecodeSettings
from metst.datasets.features import INDEX_FILE, FeatureVideo, TrueEvent, read_features_index
from metst.errors import MetstError, UsageError
from metst.evaluation.executors import Executor
from metst.evaluation.models import scored_model
from metst.evaluation.outcome import evaluate_run
from metst.evaluation.plan import LabelledVariant, make_plan, read_plan
from metst.evaluation.run import run_plan
from metst.labels import CLASSES, NEUTRAL
from metst.models.checkpoint import load_model
from metst.training.folds import Fold
from metst.training.labelled_recipe import LabelledLesson, LabelledRecipe, labelled_recipe
from metst.training.operating_point import best_threshold

torch = pytest.importorskip("torch")
from metst.training import labelled  # noqa: E402
from metst.training.clips import clip_batches, epoch_steps, labelled_stretches  # noqa: E402

FOLD = Fold("s0", ("s1", "s2", "s3"), ("s0",))


def tiny(**changes: Any) -> LabelledRecipe:
    """A small network from nothing, and short clips."""
    recipe = labelled_recipe(start=None, epochs=25, width=8)
    network = recipe.network.model_copy(update={"blocks": 3, "d_state": 4})
    short = {"network": network, "clip_frames": 120, "batch_size": 4, "learning_rate": 5e-3}
    return recipe.model_copy(update=short | changes)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = feature_folder(tmp_path_factory.mktemp("labelled") / "features", subjects=4, still=0)
    return folder


@pytest.fixture(scope="module")
def whole(features: Path) -> Path:
    """A fold that nothing stopped."""
    folder = features.parent / "whole"
    labelled.run_labelled_fold(folder, LabelledLesson(features, tiny()), fold=FOLD)
    return folder


def weights(folder: Path) -> bytes:
    return (folder / "model" / "weights.safetensors").read_bytes()


def one_video(root: Path, *events: TrueEvent, frames: int = 300) -> FeatureVideo:
    root.mkdir(parents=True)
    video = FeatureVideo(subject="s0", video="v0", frames=frames, rate_hz=30.0, file="0.safetensors", events=events)
    rng = np.random.default_rng(0)
    write_motion(root / video.file, planted_motion(events, frames=frames, rng=rng), rate_hz=30.0)
    write_index(root, video)
    return video


def test_a_clip_says_what_each_frame_is_as_late_as_the_network_answers(tmp_path: Path) -> None:
    """One clip that holds all of a video: targets stand ``lag`` frames late, and only frames that are there count."""
    events = (
        TrueEvent(onset=40, apex=None, offset=55, emotion="surprise"),
        TrueEvent(onset=90, apex=None, offset=100, emotion=None),
        TrueEvent(onset=50, apex=None, offset=80, kind="macro", emotion=None),
        TrueEvent(onset=120, apex=None, offset=125, kind="blink", emotion=None),
    )
    video = one_video(tmp_path / "f", *events, frames=150)
    recipe = tiny(clip_frames=200, mirrored_share=0.0, gain=(1.0, 1.0), negative_weight=5.0)
    (stretch,) = labelled_stretches(tmp_path / "f", [video], recipe=recipe)
    motion, score, label, weight = (part[0].numpy() for part in clip_batches([stretch], recipe=recipe, seed=0)(0))
    lag = recipe.scoring.lag
    assert lag == 12
    expected = np.zeros(200)
    expected[40 + lag : 55 + lag] = expected[90 + lag : 100 + lag] = 1
    np.testing.assert_array_equal(score, expected)
    counted = np.zeros(200)
    counted[lag : 150 + lag] = 1
    counted[55 + lag : 80 + lag] = counted[120 + lag : 125 + lag] = 5
    np.testing.assert_array_equal(weight, counted)
    classes = np.full(200, NEUTRAL)
    classes[40 + lag : 55 + lag] = CLASSES.index("surprise")
    classes[90 + lag : 100 + lag] = -1
    np.testing.assert_array_equal(label, classes)
    np.testing.assert_array_equal(motion[:, :150], stretch.motion.T)
    np.testing.assert_array_equal(motion[:, 150:], np.repeat(motion[:, 149:150], 50, axis=1))


def test_clips_from_within_a_video_carry_its_baseline_and_do_not_count_while_they_warm_up(tmp_path: Path) -> None:
    video = one_video(tmp_path / "f", TrueEvent(onset=200, apex=None, offset=215, emotion="positive"), frames=600)
    recipe = tiny(event_share=1.0, mirrored_share=0.0, gain=(1.0, 1.0))
    (stretch,) = labelled_stretches(tmp_path / "f", [video], recipe=recipe)
    batch = clip_batches([stretch], recipe=recipe, seed=0)
    for step in range(5):
        for motion, score, _, weight in zip(*(part.numpy() for part in batch(step)), strict=True):
            at = next(i for i in range(600) if np.array_equal(motion.T, stretch.motion[i : i + 120]))
            assert at > 0
            np.testing.assert_array_equal(weight, np.arange(120) >= 12 + 30)
            np.testing.assert_array_equal(score[12:], stretch.score[at : at + 108])


def test_hard_negatives_are_chosen_and_mirroring_twice_changes_nothing(tmp_path: Path) -> None:
    micro = TrueEvent(onset=20, apex=None, offset=35, emotion="positive")
    macro = TrueEvent(onset=1500, apex=None, offset=1560, kind="macro", emotion=None)
    video = one_video(tmp_path / "f", micro, macro, frames=3000)
    recipe = tiny(event_share=0.0, negative_share=1.0, gain=(1.0, 1.0), mirrored_share=1.0)
    (stretch,) = labelled_stretches(tmp_path / "f", [video], recipe=recipe)
    _, score, _, weight = clip_batches([stretch], recipe=recipe, seed=1)(0)
    assert not score.any()
    assert ((weight == recipe.negative_weight).sum(dim=1) > 0).float().mean() >= 0.5
    plain = recipe.model_copy(update={"mirrored_share": 0.0})
    mirrored = clip_batches([stretch], recipe=recipe, seed=1)(0)[0].numpy().reshape(4, 18, 2, 120)
    as_it_is = clip_batches([stretch], recipe=plain, seed=1)(0)[0].numpy().reshape(4, 18, 2, 120)
    np.testing.assert_array_equal(mirrored[:, 16], as_it_is[:, 17] * [[[-1], [1]]])  # lower eyelids, left and right
    np.testing.assert_array_equal(mirrored[:, 8], as_it_is[:, 8] * [[[-1], [1]]])  # the mouth is its own mirror image


class Fixed(torch.nn.Module):  # type: ignore[misc]
    """Says what it is told to."""

    def __init__(self, score: Any) -> None:
        super().__init__()
        self.score = score

    def forward(self, x: Any) -> Any:
        return self.score, torch.zeros(*x.shape[::2], len(CLASSES))


def test_the_loss_is_the_weighted_cross_entropy_of_the_frames_that_count() -> None:
    rng = np.random.default_rng(0)
    said, score = rng.uniform(0.1, 0.9, (2, 7)), rng.integers(0, 2, (2, 7))
    weight = rng.choice([0.0, 1.0, 3.0], (2, 7))
    label = np.where(score, 1, NEUTRAL)
    tensors = (torch.zeros(2, 36, 7), *(torch.from_numpy(each) for each in (np.float32(score), label)),
               torch.from_numpy(np.float32(weight)))  # fmt: skip
    losses = labelled.labelled_loss(class_weight=0.3, neutral_weight=0.05)(
        Fixed(torch.from_numpy(np.float32(said))), tensors
    )
    entropy = -(score * np.log(said) + (1 - score) * np.log(1 - said))
    assert float(losses["spotting"]) == pytest.approx((weight * entropy).sum() / weight.sum(), rel=1e-5)
    assert float(losses["recognition"]) == pytest.approx(np.log(len(CLASSES)), rel=1e-5)
    assert float(losses["loss"]) == pytest.approx(float(losses["spotting"] + 0.3 * losses["recognition"]), rel=1e-6)


def test_the_threshold_is_that_of_the_best_f1() -> None:
    """Against every threshold there is, on drawn peaks."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        peaks = rng.uniform(0.06, 0.94, 30)
        right = rng.random(30) < peaks
        wanted = int(right.sum()) + int(rng.integers(5))
        threshold, f1 = best_threshold(peaks, right=right, wanted=wanted)

        def of(level: float, peaks: Any = peaks, right: Any = right, wanted: int = wanted) -> float:
            return float(2 * right[peaks >= level].sum() / ((peaks >= level).sum() + wanted))

        assert f1 == pytest.approx(max(of(level) for level in peaks))
        assert of(threshold) == pytest.approx(f1, abs=0.05)  # it is rounded to three digits


class StoppedError(Exception):
    pass


def stopper(at: int) -> Callable[[str, int, int | None], None]:
    def stop(stage: str, done: int, _: int | None) -> None:
        if stage == "training" and done == at:
            raise StoppedError

    return stop


def test_a_fold_that_was_stopped_has_the_weights_of_one_that_was_not(
    features: Path, whole: Path, tmp_path: Path
) -> None:
    lesson = LabelledLesson(features, tiny())
    index = read_features_index(features)
    steps = epoch_steps(labelled_stretches(features, index.of(("s1", "s2")), recipe=tiny()), recipe=tiny())
    with pytest.raises(StoppedError):
        labelled.run_labelled_fold(tmp_path / "fold", lesson, fold=FOLD, on_progress=stopper(steps + 1))
    assert (tmp_path / "fold" / "state.safetensors").exists()
    labelled.run_labelled_fold(tmp_path / "fold", lesson, fold=FOLD)
    assert weights(tmp_path / "fold") == weights(whole)
    assert (tmp_path / "fold" / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
    assert not (tmp_path / "fold" / "state.safetensors").exists()


def test_labels_of_a_test_subject_decide_nothing(features: Path, whole: Path, tmp_path: Path) -> None:
    """Without any of them: the same weights, threshold, edges and confidence."""
    index = read_features_index(features)
    other = tmp_path / "features"
    other.mkdir()
    for path in features.glob("*.safetensors"):
        (other / path.name).symlink_to(path)
    videos = tuple(v.model_copy(update={"events": ()}) if v.subject == "s0" else v for v in index.videos)
    (other / INDEX_FILE).write_text(index.model_copy(update={"videos": videos}).model_dump_json())
    labelled.run_labelled_fold(tmp_path / "fold", LabelledLesson(other, tiny()), fold=FOLD)
    assert weights(tmp_path / "fold") == weights(whole)
    assert (tmp_path / "fold" / "model" / "model.json").read_bytes() == (whole / "model" / "model.json").read_bytes()


def test_kept_subjects_fit_the_decoding_and_no_weight(features: Path, whole: Path, tmp_path: Path) -> None:
    """Labels of the kept subject move the decoding only; those of another one move weights."""
    info = json.loads((whole / "model" / "model.json").read_text())
    assert info["training_subjects"] == ["s1", "s2", "s3"]
    index = read_features_index(features)
    same = {}
    for subject in FOLD.train:
        other = tmp_path / subject
        other.mkdir()
        for path in features.glob("*.safetensors"):
            (other / path.name).symlink_to(path)
        videos = tuple(
            v.model_copy(update={"events": v.events[:1]}) if v.subject == subject else v for v in index.videos
        )
        (other / INDEX_FILE).write_text(index.model_copy(update={"videos": videos}).model_dump_json())
        labelled.run_labelled_fold(tmp_path / f"{subject}-fold", LabelledLesson(other, tiny()), fold=FOLD)
        same[subject] = weights(tmp_path / f"{subject}-fold") == weights(whole)
    assert sum(same.values()) == 1
    (kept,) = (subject for subject, unchanged in same.items() if unchanged)
    again = json.loads((tmp_path / f"{kept}-fold" / "model" / "model.json").read_text())
    assert again["decode"]["calibrated_per_min"] != info["decode"]["calibrated_per_min"]


@pytest.mark.slow
def test_a_planted_pattern_is_learnt_from_nothing(tmp_path: Path) -> None:
    """Bumps that no packaged model takes for micro-expressions: found in people who were not trained on."""
    root = feature_folder(tmp_path / "features", subjects=4, videos=2, frames=450, still=0)
    recipe = tiny(epochs=40)
    plan = make_plan(root, variants=[LabelledVariant(name="own", recipe=recipe), scored_model("metst-event")],
                     folds="2")  # fmt: skip
    run_plan(tmp_path / "run", plan, features=root, executor=Executor(workers=1))
    assert read_plan(tmp_path / "run") == plan
    result = evaluate_run(tmp_path / "run", plan, features=root)
    own, packaged = (result["variants"][row.name]["strict"]["spotting"]["f1"] for row in plan.variants)
    assert own > 0.8
    assert packaged < 0.5
    assert set(result["variants"]["own"]["threshold"]) == {part.name for part in plan.folds}


def test_fine_tuning_starts_from_the_packaged_weights(features: Path, tmp_path: Path) -> None:
    """A step of no length leaves them as they are; what normalises them is measured anew."""
    recipe = labelled_recipe(epochs=1).model_copy(
        update={"learning_rate": 1e-12, "batch_size": 1, "clip_frames": 120, "edge_fractions": (0.4,)}
    )
    info = labelled.train_labelled(tmp_path / "model", LabelledLesson(features, recipe), without=("s3",))
    ours, theirs = load_model(tmp_path / "model").network, load_model("metst-event").network
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-8)
    assert info.training_subjects == ("s0", "s1", "s2")
    assert isinstance(info.decode, DecodeSettings)
    assert "2 training subjects" not in info.decode_fitted_on  # one of three is kept


def test_a_subject_on_both_sides_and_one_subject_alone_are_refused(features: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both sides"):
        Fold("f", ("s0", "s1"), ("s1",))
    lesson = LabelledLesson(features, tiny())
    with pytest.raises(UsageError, match="expected two or more to train on, got s1"):
        labelled.run_labelled_fold(tmp_path / "fold", lesson, fold=Fold("f", ("s1",), ("s0",)))
    with pytest.raises(UsageError, match="no video of subject s9"):
        labelled.train_labelled(tmp_path / "model", lesson, without=("s9",))


def test_both_starts_stand_in_one_table(features: Path) -> None:
    asked = Asked(
        ["metst-event", "metst-event:from-nothing"], [], strategy="1", epochs=2, width=None, grid=None,
        as_published=False, from_nothing=False,
    )  # fmt: skip
    plan = asked.plan(features, folds="loso", seed=1, allow_training_subjects=False)
    assert [row.name for row in plan.variants] == ["metst-event, trained on", "metst-event, trained from nothing"]
    tuned, fresh = (row.recipe for row in plan.variants)
    assert (tuned.start, fresh.start) == ("metst-event", None)
    assert tuned.epochs == fresh.epochs == 2
    assert not asked.published


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("train", "--recipe", "metst-event", "--features", "F", "--steps", "3", "-o", "M"), "only --without"),
        (("train", "--recipe", "metst-event", "--from-nothing", "-o", "M"), "--from-nothing is for"),
        (("train", "--recipe", "metst-event", "--features", "F", "--width", "8", "-o", "M"), "needs --from-nothing"),
        (("evaluate", "F", "--recipe", "metst", "--from-nothing"), "--from-nothing is for"),
        (("evaluate", "F", "--recipe", "metst-event", "--width", "8"), "needs --from-nothing"),
        (("evaluate", "F", "--model", "starter", "--epochs", "8"), "there is none"),
    ],
)
def test_options_that_would_have_no_effect_are_refused(options: tuple[str, ...], match: str) -> None:
    result = CliRunner().invoke(app, options)
    assert isinstance(result.exception, MetstError)
    assert match in str(result.exception)
