"""Training on simulated motion and the constants fitted after it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from metst.cli import app
from metst.config import DecodeSettings, ModelInfo, NetworkConfig, PublishedDecodeSettings, ScoringSettings
from metst.errors import MetstError, UsageError
from metst.labels import CLASSES, NEUTRAL
from metst.models.checkpoint import load_model
from metst.regions import REGION_NAMES
from metst.results import Motion
from metst.synthesis.trajectories import SimulationSettings
from metst.timeline import Series, TimeGrid
from metst.training.drawn import Drawn
from metst.training.layout import METRICS_FILE
from metst.training.material import SHORTEST_BACKGROUND_S, Material, clip_batch
from metst.training.operating_point import fit_logistic, pick_threshold
from metst.training.predictions import Candidate
from metst.training.simulated_recipes import RECIPES
from metst.training.simulation import fit_decoding, train_model
from metst.training.sources import Sources

TINY = RECIPES["starter"].model_copy(
    update={
        "network": NetworkConfig(name="tiny", in_channels=36, width=8, blocks=3, slow_fast=True, d_state=4),
        "faces": 2,
        "batch_size": 4,
        "clip_frames": 120,
        "validation_minutes": 3.0,
    }
)

UNTRAINED = ModelInfo(
    network=TINY.network,
    classes=CLASSES,
    input=TINY.input,
    scoring=TINY.scoring,
    decode=DecodeSettings(),
    trained_on="nothing",
)

QUIET = {
    "blinks_per_min": 0.0,
    "macros_per_min": 0.0,
    "lively_share": 0.0,
    "nods_per_min": 0.0,
    "glitches_per_min": 0.0,
    "speech_share": 0.0,
    "held_share": 0.0,
    "deformation": (1e-7, 1e-6),
    "noise": (1e-6, 2e-6),
}


def peaks_and_truth(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    peaks = rng.uniform(0.02, 0.98, 4000)
    right = rng.random(4000) < 1 / (1 + np.exp(-(1.7 * logit(peaks) - 0.8)))
    return peaks, right


def test_calibration_is_the_logistic_regression() -> None:
    peaks, right = peaks_and_truth()
    slope, offset = fit_logistic(peaks, right=right)
    reference = LogisticRegression(C=25).fit(logit(peaks)[:, None], right)
    assert slope == pytest.approx(float(reference.coef_[0, 0]), rel=0.02)
    assert offset == pytest.approx(float(reference.intercept_[0]), abs=0.02)


def test_calibration_needs_both_kinds() -> None:
    with pytest.raises(ValueError, match="both"):
        fit_logistic(np.array([0.2, 0.8]), right=np.array([True, True]))


@pytest.mark.parametrize("per_min", [0.1, 0.5, 2.0])
def test_threshold_keeps_the_rate_of_false_alarms(per_min: float) -> None:
    peaks, right = peaks_and_truth()
    alarms = peaks[~right]
    threshold = pick_threshold(alarms, minutes=300, per_min=per_min)
    assert (alarms >= threshold).sum() <= per_min * 300
    lower = threshold - 0.02
    assert lower < 0.05 or (alarms >= lower).sum() > per_min * 300


@pytest.mark.parametrize("kept_share", [0.5, 0.1])
def test_confidence_adjusted_to_rarer_events_is_that_fitted_on_rarer_events(kept_share: float) -> None:
    peaks, right = peaks_and_truth()
    # False alarms stay as they are while events become rare.
    stay = ~right | (np.random.default_rng(3).random(len(right)) < kept_share)
    slope, offset = fit_logistic(peaks, right=right)
    settings = DecodeSettings(confidence_slope=slope, confidence_offset=offset, calibrated_per_min=10.0)
    adjusted = settings.expecting(10.0 * kept_share)
    slope, offset = fit_logistic(peaks[stay], right=right[stay])
    assert adjusted.confidence_slope == pytest.approx(slope, rel=0.1)
    assert adjusted.offset == pytest.approx(offset, abs=0.12)
    assert adjusted.expecting(10.0).offset == pytest.approx(settings.offset)
    assert adjusted.peak_threshold == settings.peak_threshold


def test_what_cannot_be_adjusted_is_refused_and_what_can_stays_plain() -> None:
    settings = DecodeSettings(calibrated_per_min=8.0)
    assert type(settings.expecting(np.int64(2)).expected_per_min) is float
    with pytest.raises(ValueError, match="needs calibrated_per_min"):
        DecodeSettings(expected_per_min=2.0)
    model = load_model("starter").info
    with pytest.raises(UsageError, match="published rule"):
        model.model_copy(update={"decode": PublishedDecodeSettings(rule="fixed", k_p=3)}).expecting(1.0)
    live = model.model_copy(update={"live_decode": settings}).expecting(1.0)
    assert live.decode_live == settings.expecting(1.0)
    assert live.decode == model.decode.expecting(1.0)


class Loud:
    """A network that sees a micro-expression in everything, of a height that tells the recording it is in."""

    look_ahead = 0

    def advance(self, x: np.ndarray, state: object, *, last: bool) -> tuple[np.ndarray, np.ndarray, None]:
        score = np.zeros(x.shape[:2], np.float32)
        score[:, 30:42] = 0.6 if np.abs(x).max() < 1e-3 else 0.9
        return score, np.zeros((*x.shape[:2], 5), np.float32), None

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError


def test_the_threshold_looks_at_recordings_without_events_only() -> None:
    still = background(20)
    still.displacement.values[:] = 0
    source = over_backgrounds(still, event_free_share=0.5, amplitude=(1.0, 1.01))
    recipe = TINY.model_copy(update={"validation_minutes": 6.0, "false_alarms_per_min": 0.01})
    decode = fit_decoding(Candidate(UNTRAINED, Loud()), source=source, recipe=recipe, seed=1)
    # Wrong events of height 0.9 lie in recordings with events; those without are still and show 0.6.
    assert 0.6 <= decode.peak_threshold < 0.65
    # There is one of 0.6 a minute: where one a minute may pass all do, where 0.3 a minute may none does.
    often = recipe.model_copy(update={"false_alarms_per_min": 1.0})
    decode = fit_decoding(Candidate(UNTRAINED, Loud()), source=source, recipe=often, seed=1)
    points = decode.operating_points
    assert points["balanced"] == decode.peak_threshold
    assert points["quiet"] >= 0.6 > points["sensitive"]


class Seer(Loud):
    """A network that takes every movement for a micro-expression, as late as the recipe allows."""

    def advance(self, x: np.ndarray, state: object, *, last: bool) -> tuple[np.ndarray, np.ndarray, None]:
        score = np.clip(np.abs(x).max(axis=2) / 4, 0.0, 0.98).astype(np.float32)
        lag = TINY.scoring.lag
        late = np.pad(score, ((0, 0), (lag, 0)))[:, : score.shape[1]]
        return late, np.zeros((*x.shape[:2], 5), np.float32), None


def test_calibration_says_how_many_events_per_minute_it_saw() -> None:
    source = Material.of(TINY, drawn=Drawn(), seed=1)
    recipe = TINY.model_copy(update={"validation_minutes": 6.0})
    decode = fit_decoding(Candidate(UNTRAINED, Seer()), source=source, recipe=recipe, seed=1)
    drawn = [source.draw(np.random.default_rng([1, number]), seconds=60.0, once=True) for number in range(6)]
    onsets = sum(int((np.diff(each.score, prepend=0) > 0).sum()) for each in drawn)
    assert decode.calibrated_per_min == pytest.approx(onsets / sum(each.seconds / 60 for each in drawn), abs=0.01)


def test_training_writes_a_checkpoint_that_loads_and_repeats(tmp_path: Path) -> None:
    first = train_model(tmp_path / "a", recipe=TINY, steps=3, seed=1)
    second = train_model(tmp_path / "b", recipe=TINY, steps=3, seed=1)
    other = train_model(tmp_path / "c", recipe=TINY, steps=3, seed=2)
    assert first.weights_sha256 == second.weights_sha256
    assert first.decode == second.decode
    assert first.weights_sha256 != other.weights_sha256
    assert load_model(tmp_path / "a").info == first
    assert "simulated" in first.trained_on


def test_a_folder_that_is_no_checkpoint_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(UsageError, match="not a checkpoint"):
        train_model(tmp_path, recipe=TINY, steps=10**9)
    assert (tmp_path / "keep.txt").read_text() == "mine"


def test_a_recipe_may_go_on_from_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "tiny", TINY)
    alone = TINY.model_copy(update={"learning_rate": 1e-9})
    after = alone.model_copy(update={"after": "tiny"})
    train_model(tmp_path / "first", recipe=TINY, steps=3, seed=1)
    train_model(tmp_path / "after", recipe=after, steps=3, seed=1)
    train_model(tmp_path / "alone", recipe=alone, steps=3, seed=1)
    weights = {
        name: load_model(tmp_path / name).network.recog_head.weight.detach() for name in ("first", "after", "alone")
    }
    assert torch.allclose(weights["first"], weights["after"], atol=1e-6)
    assert not torch.allclose(weights["first"], weights["alone"], atol=1e-6)


@pytest.mark.parametrize("subjects", [("s01", "s02"), (), None])
def test_weights_that_are_taken_over_bring_along_what_they_have_seen(
    tmp_path: Path, subjects: tuple[str, ...] | None
) -> None:
    first = train_model(tmp_path / "first", recipe=TINY, steps=3, seed=1)
    start = load_model(tmp_path / "first")
    labelled = {"training_subjects": subjects, "trained_on": "labelled recordings"}
    start = replace(start, info=start.info.model_copy(update=labelled))
    alike = TINY.model_copy(update={"learning_rate": 1e-9, "after": "starter"})
    after = train_model(tmp_path / "after", recipe=alike, steps=3, seed=2, sources=Sources(start=start))
    weights = [load_model(tmp_path / name).network.recog_head.weight.detach() for name in ("first", "after")]
    assert torch.allclose(*weights, atol=1e-6)
    assert after.training_subjects == subjects
    assert "no recording of a spontaneous micro-expression" not in after.trained_on
    assert after.trained_on.endswith(f"before that, as {start.info.name}: labelled recordings")
    assert after.provenance["start"] == f"{first.name} {first.weights_sha256}"
    other = TINY.model_copy(update={"network": TINY.network.model_copy(update={"width": 12})})
    with pytest.raises(UsageError, match="of another network"):
        train_model(tmp_path / "other", recipe=other, steps=10**9, sources=Sources(start=start))


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metst.training.simulation._EPOCH_STEPS", 2)

    def stop(stage: str, done: int, total: int | None) -> None:
        if stage == "training" and done == 3:
            raise KeyboardInterrupt

    whole = train_model(tmp_path / "whole", recipe=TINY, steps=4, seed=1)
    with pytest.raises(KeyboardInterrupt):
        train_model(tmp_path / "parts", recipe=TINY, steps=4, seed=1, on_progress=stop)
    seen: list[int] = []
    parts = train_model(
        tmp_path / "parts", recipe=TINY, steps=4, seed=1,
        on_progress=lambda stage, done, total: seen.append(done) if stage == "training" else None,
    )  # fmt: skip
    assert seen == [3, 4]
    assert parts.weights_sha256 == whole.weights_sha256
    # What is needed to go on is gone; the metrics stay.
    left = [path for path in tmp_path.rglob("*.training/**/*") if path.is_file()]
    assert {str(path.relative_to(tmp_path)) for path in left} == {
        f"{name}.training/0/{METRICS_FILE}" for name in ("parts", "whole")
    }


def test_training_sees_cameras_of_several_rates_and_truth_in_step() -> None:
    settings = SimulationSettings(event_free_share=0.0, amplitude=(2.0, 2.0), **QUIET)
    source = Material.of(TINY.model_copy(update={"simulation": settings}), drawn=Drawn(), seed=1)
    rates = set()
    for seed in range(12):
        drawn = source.draw(np.random.default_rng(seed), seconds=20)
        rates.add(drawn.rate_hz)
        assert len(drawn.score) >= 20 * drawn.rate_hz
        moving = np.abs(np.diff(drawn.displacement, axis=0)).max(axis=(1, 2)) > 0.02
        inside = np.maximum(drawn.score[1:], drawn.score[:-1])
        assert moving.sum() > 10
        assert inside[moving].all()
    assert len(rates) > 2


def test_every_recipe_reads_the_motion_it_is_given() -> None:
    for recipe in RECIPES.values():
        assert recipe.network.in_channels == 2 * len(recipe.input.regions)
        if recipe.after is not None:
            first = RECIPES[recipe.after]
            same = ("name",)
            assert first.network.model_dump(exclude=set(same)) == recipe.network.model_dump(exclude=set(same))
            held = {"min_quality"}
            assert first.input.model_dump(exclude=held) == recipe.input.model_dump(exclude=held)


def background(seconds: float, *, rate_hz: float = 25.0, start: float = 0.0) -> Motion:
    """Every region walks evenly to the right, so that each frame can be told from the others."""
    frames = round(seconds * rate_hz)
    values = np.zeros((frames, 18, 2), np.float32)
    values[:, :, 0] = (start + np.arange(frames) / rate_hz)[:, None]
    motion = Series(TimeGrid.uniform(frames, rate_hz=rate_hz), values, np.ones(frames, bool), REGION_NAMES)
    return Motion.bare(motion, quality=np.ones((frames, 18), np.float32))


def over_backgrounds(*recordings: Motion, share: float = 1.0, **simulation: object) -> Material:
    settings = SimulationSettings(background_gain=(1.0, 1.0), **simulation)
    recipe = TINY.model_copy(update={"simulation": settings, "background_share": share})
    return Material.of(recipe, drawn=Drawn(recordings), seed=1)


def test_without_events_a_background_comes_as_it_was_measured_or_mirrored() -> None:
    source = over_backgrounds(background(8), event_free_share=1.0)
    mirrored = 0
    for seed in range(20):
        drawn = source.draw(np.random.default_rng(seed), seconds=12)
        steps = np.diff(drawn.displacement[..., 0], axis=0) * drawn.rate_hz
        assert np.allclose(np.abs(steps), 1, atol=1e-3)  # longer than the background: it goes back the way it came
        assert not drawn.score.any()
        assert np.abs(drawn.displacement[..., 0]).max() < 8
        mirrored += bool((drawn.displacement[..., 0] < 0).any())
    assert 4 < mirrored < 16


def test_events_over_a_background_are_where_the_truth_says() -> None:
    still = background(20)
    still.displacement.values[:] = 0
    source = over_backgrounds(still, event_free_share=0.0, amplitude=(2.0, 2.01), asymmetry=0.0)
    for seed in range(5):
        drawn = source.draw(np.random.default_rng(seed), seconds=16)
        moved = np.abs(drawn.displacement).max(axis=(1, 2)) > 0.002
        assert moved.any()
        assert (drawn.score[moved] == 1).all()
        assert moved[drawn.score > 0].mean() > 0.6


def test_disturbances_over_a_background_leave_the_truth_as_it_is() -> None:
    plain, disturbed = (
        over_backgrounds(background(20), event_free_share=0.0, speech_share=0.0, disturbed_share=share)
        for share in (0.0, 1.0)
    )
    for seed in range(5):
        one, other = (each.draw(np.random.default_rng(seed), seconds=16) for each in (plain, disturbed))
        assert np.array_equal(one.score, other.score)
        assert np.array_equal(one.label, other.label)
        added = other.displacement - one.displacement
        assert (np.abs(added).max(axis=(0, 2)) > 1e-4).all()
    share = over_backgrounds(background(20), event_free_share=1.0, disturbed_share=0.5)
    steps = [np.diff(share.draw(np.random.default_rng(seed), seconds=8).displacement[..., 0], axis=0) * 25
             for seed in range(40)]  # fmt: skip
    assert 10 < sum(not np.allclose(np.abs(each), 1, atol=1e-2) for each in steps) < 30


def test_a_region_that_is_measured_badly_stands_still_in_training_as_in_scoring() -> None:
    lost = background(8)
    lost.quality[:, 3] = 0
    source = over_backgrounds(lost, event_free_share=1.0)
    drawn = source.draw(np.random.default_rng(3), seconds=6)
    still = np.ptp(drawn.displacement[..., 0], axis=0) == 0
    assert still.sum() == 1
    assert still[3] or still[7]  # the mirrored region


def test_short_stretches_are_no_background_and_without_any_all_is_simulated() -> None:
    assert not over_backgrounds(background(3)).backgrounds
    assert over_backgrounds(background(3)).draw(np.random.default_rng(1), seconds=5).displacement.any()
    broken = background(12)
    broken.displacement.valid[100] = False
    assert [len(each.displacement) for each in over_backgrounds(broken).backgrounds] == [100, 199]


def test_a_recording_played_backwards_keeps_its_truth() -> None:
    drawn = over_backgrounds(background(8), event_free_share=0.0).draw(np.random.default_rng(2), seconds=6)
    back = drawn.reversed()
    assert np.array_equal(back.displacement, drawn.displacement[::-1])
    assert np.array_equal(back.score[::-1], drawn.score)
    assert np.array_equal(back.label[::-1], drawn.label)


def test_a_lost_region_does_not_show_what_is_planted() -> None:
    lost = background(20)
    lost.displacement.values[:] = 0
    lost.quality[:] = 0
    drawn = over_backgrounds(lost, event_free_share=0.0, amplitude=(1.0, 1.01)).draw(
        np.random.default_rng(4), seconds=9
    )
    assert drawn.score.any()
    assert not drawn.displacement.any()


def test_calibration_sees_no_frame_of_a_background_twice_in_a_recording() -> None:
    source = over_backgrounds(background(8), event_free_share=1.0)
    drawn = source.draw(np.random.default_rng(1), seconds=60, once=True)
    assert drawn.seconds == pytest.approx(8)
    assert len(np.unique(drawn.displacement[:, 0, 0])) == len(drawn.score)


def test_what_is_played_backwards_keeps_its_truth_in_a_batch() -> None:
    still = background(20, rate_hz=30.0)  # the network's own rate: no frame is a mixture of two
    still.displacement.values[:] = 0
    loud = SimulationSettings(event_free_share=0.0, amplitude=(1.0, 1.01), asymmetry=0.0)
    recipe = TINY.model_copy(update={"simulation": loud, "background_share": 1.0, "reversed_share": 1.0})
    motion, score, label = clip_batch(
        3, material=Material.of(recipe, drawn=Drawn([still]), seed=1), recipe=recipe, seed=1
    )
    lag = recipe.scoring.lag
    assert score[:, lag:].any()
    for x, truth, name in zip(motion.numpy(), score.numpy(), label.numpy(), strict=True):
        # While the leaking baseline has not seen an event, all is still: the first thing that moves is an event.
        moved = np.flatnonzero(np.abs(x).max(axis=0) > 0.3)
        if moved.size and moved[0] + lag < len(truth):
            assert truth[lag + moved[0] : lag + moved[0] + 4].all()
            assert (name[lag + moved[0] : lag + moved[0] + 4] != NEUTRAL).all()


def test_training_and_calibration_see_other_backgrounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = [background(6, start=100.0 * i) for i in range(8)]
    seen: list[set[int]] = []
    real = Material.of

    def of(recipe: object, *, drawn: Drawn, seed: int, shortest_s: float) -> Material:
        assert shortest_s == SHORTEST_BACKGROUND_S  # what the packaged weights were made with
        seen.append({recorded.index(each) for each in drawn.heads})
        return real(recipe, drawn=drawn, seed=seed)  # type: ignore[arg-type]

    monkeypatch.setattr("metst.training.sources.recorded_backgrounds", lambda *_, **__: recorded)
    monkeypatch.setattr(Material, "of", of)
    recipe = TINY.model_copy(
        update={
            "backgrounds": 8,
            "scoring": ScoringSettings(lag=2, directions="both"),
            "validation_minutes": 1.0,
        }
    )
    monkeypatch.setattr(
        "metst.training.simulation.fit_decoding",
        lambda model, **_: DecodeSettings(peak_threshold=0.3 if model.info.scoring.directions == "both" else 0.4),
    )
    info = train_model(tmp_path / "m", recipe=recipe, steps=2, seed=1)
    assert seen == [{1, 2, 3, 5, 6, 7}, {0, 4}]
    assert info.decode == DecodeSettings(peak_threshold=0.3)
    assert info.live_decode == DecodeSettings(peak_threshold=0.4)
    assert "6 rendered heads" in info.trained_on
    assert load_model(tmp_path / "m").info == info


def test_a_training_that_was_stopped_does_not_go_on_with_other_backgrounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metst.training.simulation._EPOCH_STEPS", 2)
    recipe = TINY.model_copy(update={"backgrounds": 4})

    def stop(stage: str, done: int, total: int | None) -> None:
        if stage == "training" and done == 3:
            raise KeyboardInterrupt

    recorded = [background(6, start=float(i)) for i in range(4)]
    monkeypatch.setattr("metst.training.sources.recorded_backgrounds", lambda *_, **__: recorded)
    with pytest.raises(KeyboardInterrupt):
        train_model(tmp_path / "m", recipe=recipe, steps=4, seed=1, on_progress=stop)
    recorded = [background(6, start=float(i + 1)) for i in range(4)]
    with pytest.raises(MetstError, match="another"):
        train_model(tmp_path / "m", recipe=recipe, steps=4, seed=1)


@pytest.mark.parametrize("recipe", ["starter", "metst-plus"])
def test_only_recipes_with_heads_take_a_head_model(recipe: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", "--recipe", recipe, "-o", str(tmp_path / "m"), "--head-model", "a.whl"])
    assert isinstance(done.exception, UsageError)
    assert "learns from no rendered heads" in str(done.exception)


def test_a_head_that_is_not_there_is_said_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nope\.whl does not exist"):
        train_model(tmp_path / "m", recipe=RECIPES["metst-event"], sources=Sources(head_model=tmp_path / "nope.whl"))
    assert not list(tmp_path.iterdir())
