"""What was reviewed becomes labels, hard negatives, and a confidence that keeps its word."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from helpers.analyses import make_analysis
from helpers.command_line import run
from metst.analyze import resolved_settings
from metst.coding import open_reviews
from metst.coding.handed_on import handed_on
from metst.config import AnalyzeSettings, DecodeSettings
from metst.datasets.features import read_features_index, read_motion
from metst.datasets.reviewed_features import features_of_reviews
from metst.decode import odds
from metst.errors import DataError, UsageError
from metst.models.checkpoint import Model, load_model
from metst.motion.cache import FORMAT
from metst.results import Custody, read_analysis, write_analysis
from metst.training.clips import _targets
from metst.training.recalibration import LEAST_OF_EACH, judged_candidates, recalibrated

SLOPE, OFFSET = 1.6, -1.2
"""How likely a candidate of these tests is right, by the log-odds of its peak."""

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("metst-event")


def results(folder: Path, model: Model, *, person: str = "P1", seed: int = 0, events: int = 40) -> list[bool]:
    """Results of a model whose confidence promises too much, and which of its candidates are right."""
    analysis = make_analysis(duration_s=events * 2.0, events=events, seed=seed, name=f"{folder.name}.mp4")
    rng = np.random.default_rng(seed)
    height = rng.normal(0.5, 1.5, len(analysis.events))
    right = rng.random(len(height)) < odds.probability(SLOPE * height + OFFSET)
    decode = model.info.decode
    assert isinstance(decode, DecodeSettings)
    used = model.as_used(expected_per_min=4.0)
    offset = decode.expecting(4.0).offset
    analysis = replace(
        analysis,
        source=replace(analysis.source, content_hash=folder.name),
        events=replace(analysis.events, confidence=odds.probability(decode.confidence_slope * height + offset)),
        model=used.describe(),
        settings=resolved_settings(AnalyzeSettings(), model=used),
        custody=Custody(person=person),
        motion_algorithm=FORMAT,
    )
    write_analysis(analysis, folder, motion_format="safetensors" if seed else "csv")
    return right.tolist()


def review(
    folder: Path, right: list[bool], *, coder: str = "anna", release: bool = True, start: str = "machine"
) -> None:
    with open_reviews(folder) as reviews:
        state = reviews.begin(coder, start, by=coder)  # type: ignore[arg-type]
        if start == "machine":
            changes = [
                {"key": each["key"], "after": {"verdict": "accepted" if yes else "rejected"}}
                for each, yes in zip(state["events"], right, strict=True)
            ]
        else:
            machine = read_analysis(folder).events
            changes = [
                {"key": None, "after": {"onset_frame": int(a) + 1, "offset_frame": int(b), "label": "positive"}}
                for a, b, yes in zip(machine.onset, machine.offset, right, strict=True)
                if yes
            ]
        reviews.edit(coder, changes, by=coder)
        reviews.release(coder, release, by=coder)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Path:
    """Reviewed results of six recordings of four people."""
    root = tmp_path_factory.mktemp("learn")
    for number in range(6):
        folder = root / "all" / f"v{number}"
        review(folder, results(folder, model, person=f"P{number % 4}", seed=number))
    return root


def test_the_confidence_is_fitted_on_what_was_judged(root: Path, model: Model) -> None:
    judged, notes = judged_candidates([root / "all"], model=model)
    assert notes == []
    assert (len(judged.right), judged.recordings, len(set(judged.person))) == (240, 6, 4)
    info, figures = recalibrated(model, judged)
    assert isinstance(info.decode, DecodeSettings)
    oracle = LogisticRegression(C=np.inf).fit(judged.height[:, None], judged.right)
    # Its weak prior draws the product's fit to slope 1 and offset 0.
    assert info.decode.confidence_slope == pytest.approx(oracle.coef_[0, 0], rel=0.02)
    assert info.decode.offset == pytest.approx(oracle.intercept_[0], abs=0.02)
    assert figures["ece_after"] < 0.6 * figures["ece_before"]
    assert figures["brier_after"] < figures["brier_before"]
    assert figures["per_min"] == pytest.approx(figures["right"] / (6 * 80 / 60))
    assert info.as_used().decode == info.decode  # used as fitted, for recordings as those
    assert info.decode.peak_threshold == model.info.decode.peak_threshold


def test_live_use_changes_by_as_much(root: Path, model: Model) -> None:
    judged, _ = judged_candidates([root / "all"], model=model)
    info, _ = recalibrated(model, judged)
    before, after = model.info, info
    for height in (-2.0, 0.0, 1.5):
        moved = []
        for side in ("decode", "live_decode"):
            old, new = getattr(before, side), getattr(after, side)
            moved.append((old.confidence_slope * height + old.confidence_offset,
                          new.confidence_slope * height + new.confidence_offset))  # fmt: skip
        factor = info.decode.confidence_slope / model.info.decode.confidence_slope  # type: ignore[union-attr]
        assert moved[1][1] - moved[0][1] == pytest.approx(factor * (moved[1][0] - moved[0][0]))


def test_each_person_is_left_out_in_turn(root: Path, model: Model) -> None:
    judged, _ = judged_candidates([root / "all"], model=model)
    _, figures = recalibrated(model, judged)
    who, expected = np.array(judged.person), np.zeros(len(judged.right))
    for person in set(judged.person):
        rest = who != person
        fit = LogisticRegression(C=np.inf).fit(judged.height[rest, None], judged.right[rest])
        expected[~rest] = fit.predict_proba(judged.height[~rest, None])[:, 1]
    assert figures["brier_after"] == pytest.approx(np.mean((expected - judged.right) ** 2), abs=1e-3)
    alone = replace(judged, person=("P1",) * len(judged.person))
    _, figures = recalibrated(model, alone)
    assert (figures["ece_after"], figures["persons"]) == (None, 1)


def test_a_copy_of_the_model_is_written_and_used(root: Path, model: Model, tmp_path: Path, capsys: Capsys) -> None:
    code, out, err = run(capsys, "calibrate", "--from-reviews", root / "all", "-o", tmp_path / "mine", "--json")
    assert code == 0
    figures = json.loads(out)
    assert f"{figures['ece_after']:.3f} after" in err
    copy = load_model(tmp_path / "mine")
    assert copy.info.weights_sha256 == model.info.weights_sha256
    assert copy.info.decode.confidence_slope == figures["slope"]  # type: ignore[union-attr]
    assert "accepted" in copy.info.decode_fitted_on
    # Results that were made with the copy say the same of their peaks: calibrated on the same, it is the same.
    judged, _ = judged_candidates([root / "all"], model=copy)
    assert recalibrated(copy, judged)[0].decode == copy.info.decode
    code, _, err = run(capsys, "calibrate", "--from-reviews", root / "all", "-o", tmp_path / "mine")
    assert (code, "is there already" in err) == (2, True)


def test_too_few_are_refused(tmp_path: Path, model: Model, capsys: Capsys) -> None:
    right = results(tmp_path / "v", model, events=24)
    review(tmp_path / "v", right)
    code, _, err = run(capsys, "calibrate", "--from-reviews", tmp_path / "v", "-o", tmp_path / "mine")
    assert code == 1
    assert f"expected {LEAST_OF_EACH} of each" in err
    assert not (tmp_path / "mine").exists()
    assert run(capsys, "calibrate", "x.mp4", "--coder", "anna")[0] == 2


def test_what_is_not_released_or_of_another_model_is_told(tmp_path: Path, model: Model) -> None:
    right = results(tmp_path / "v", model)
    review(tmp_path / "v", right, release=False)
    with pytest.raises(DataError, match="no review is released"):
        handed_on([tmp_path / "v"])
    review(tmp_path / "v", right, coder="ben")
    assert handed_on([tmp_path / "v"])[0][0].review.layer == "ben"
    with pytest.raises(DataError, match="no review of anna"):
        handed_on([tmp_path / "v"], coder="anna")
    with open_reviews(tmp_path / "v") as reviews:
        reviews.release("anna", True, by="anna")
    with pytest.raises(DataError, match="say whose"):
        handed_on([tmp_path / "v"])
    with pytest.raises(DataError, match="say whose"):
        judged_candidates([tmp_path / "v"], model=model)
    with open_reviews(tmp_path / "v") as reviews:
        name = reviews.adjudicate("anna", "ben", by="cora")
        reviews.release(name, True, by="cora")
    assert handed_on([tmp_path / "v"])[0][0].review.layer == name
    with pytest.raises(DataError, match="say which model"):
        judged_candidates([tmp_path / "v"], model=load_model("starter"), coder="ben")
    with pytest.raises(UsageError, match="holds no results"):
        handed_on([tmp_path / "nowhere"])


def test_a_blind_coder_judges_the_machine_as_well(tmp_path: Path, model: Model) -> None:
    right = results(tmp_path / "v", model)
    review(tmp_path / "v", right, start="nothing")
    judged, _ = judged_candidates([tmp_path / "v"], model=model)
    assert judged.right.tolist() == right


def test_undecided_candidates_tell_nothing(tmp_path: Path, model: Model) -> None:
    right = results(tmp_path / "v", model)
    with open_reviews(tmp_path / "v") as reviews:
        reviews.begin("anna", "machine", by="anna")
        changes = [{"key": "m1", "after": {"verdict": "accepted"}}, {"key": "m2", "after": {"verdict": "rejected"}}]
        reviews.edit("anna", changes, by="anna")
    judged, _ = judged_candidates([tmp_path / "v"], model=model)  # what is decided counts before all is
    assert judged.right.tolist() == [True, False]
    assert judged.per_min is None
    enough = replace(judged, **{name: np.tile(getattr(judged, name), 20) for name in ("height", "confidence", "right")},
                     person=("a", "b") * 20)  # fmt: skip
    info, figures = recalibrated(model, enough)
    assert (figures["per_min"], info.decode.granted_per_min) == (None, None)  # type: ignore[union-attr]
    assert info.as_used() == info
    assert len(right) > 2


def test_features_hold_labels_and_hard_negatives(root: Path, tmp_path: Path, capsys: Capsys) -> None:
    code, out, err = run(capsys, "extract", "--from-reviews", root / "all", "-o", tmp_path / "features", "--json")
    assert code == 0, err
    told = json.loads(out)
    index = read_features_index(tmp_path / "features")
    assert index.subjects == ("P0", "P1", "P2", "P3")
    assert (told["videos"], told["subjects"]) == (6, 4)
    for number, video in enumerate(index.videos):
        folder = root / "all" / f"v{number}"
        analysis = read_analysis(folder)
        (found,), _ = handed_on([folder])
        assert video.key == (f"P{number % 4}", f"v{number}")
        accepted = [(each.onset, each.apex, each.offset, each.label) for each in found.accepted.events]
        assert [(each.onset, each.apex, each.offset, each.emotion) for each in video.micro] == accepted
        negatives = [each for each in video.events if each.kind == "rejected"]
        assert len(negatives) + len(accepted) == len(analysis.events)
        motion = read_motion(tmp_path / "features", video)
        assert np.array_equal(motion.displacement.values, analysis.motion.displacement.values, equal_nan=True)
        score, _, negative = _targets(video)
        first = negatives[0]
        assert negative[first.onset : first.offset].all()
        assert not score[first.onset : first.offset].any()
    assert told["rejected"] + told["micro_expressions"] == 240


def test_who_is_on_a_recording_must_be_known(tmp_path: Path, model: Model, capsys: Capsys) -> None:
    right = results(tmp_path / "v", model, person="")
    review(tmp_path / "v", right)
    found, _ = handed_on([tmp_path / "v"])
    with pytest.raises(UsageError, match="--subject"):
        features_of_reviews(found, tmp_path / "features")
    index = features_of_reviews(found, tmp_path / "features", subject="P9")
    assert index.subjects == ("P9",)
    again = replace(found[0], analysis=replace(found[0].analysis, motion_algorithm=FORMAT - 1))
    with pytest.raises(DataError, match="another version"):
        features_of_reviews([again], tmp_path / "features", subject="P9")
    for words in (["x", "--coder", "anna"], ["x", "y"]):
        assert run(capsys, "extract", *words, "-o", tmp_path / "out")[0] == 2
