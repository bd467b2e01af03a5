"""Operating points of a model, and the rate that its confidences are given for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from metst.config import EXPECTED_PER_MIN, FALSE_ALARM_FACTORS, DecodeSettings, ModelInfo, PublishedDecodeSettings
from metst.decode import decode_scores
from metst.errors import UsageError
from metst.evaluation.analyses import Choices, loaded
from metst.models.checkpoint import load_model, save_model
from metst.models.networks import StateTransitionNetwork
from metst.stream import Stream
from metst.timeline import Series, TimeGrid
from metst.training.operating_point import pick_points, pick_threshold

POINTS = {"quiet": 0.8, "balanced": 0.6, "sensitive": 0.4}
FITTED = DecodeSettings(peak_threshold=0.6, operating_points=POINTS, calibrated_per_min=8.0)


def with_points(**others: object) -> ModelInfo:
    return load_model("starter").info.model_copy(update={"decode": FITTED, **others})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"operating_points": {"balanced": 0.6}}, "operating_points lack quiet, sensitive"),
        ({"operating_points": POINTS | {"quiet": 0.5}}, "must not rise from quiet to balanced to sensitive"),
        ({"operating_points": POINTS | {"balanced": 0.7}}, "peak_threshold 0.6 is not the one of operating"),
        ({"operating_points": POINTS | {"loud": 0.1}}, "loud"),
        ({"operating_points": POINTS | {"quiet": 1.0}}, "less than 1"),
        ({"operating_points": {}, "operating_point": "quiet"}, "there are none"),
    ],
)  # fmt: skip
def test_points_that_are_none_are_refused(change: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        DecodeSettings.model_validate({"peak_threshold": 0.6, **change})


def test_a_point_is_a_threshold_and_nothing_else() -> None:
    quiet = FITTED.at("quiet")
    assert quiet.model_dump() == FITTED.model_dump() | {"peak_threshold": 0.8, "operating_point": "quiet"}
    assert quiet.at("sensitive").at("balanced") == FITTED
    assert DecodeSettings.model_validate(quiet.model_dump()) == quiet


def test_three_peaks_are_found_one_after_the_other() -> None:
    score = np.full(90, 0.01, np.float32)
    score[10:20], score[40:50], score[70:80] = 0.9, 0.7, 0.5
    values = np.stack([score, np.ones_like(score)], axis=1)
    scores = Series(TimeGrid.uniform(90, rate_hz=30.0), values, np.ones(90, bool), ("spot_score", "p_negative"))
    found = {name: decode_scores(scores, settings=FITTED.at(name)).onset.tolist() for name in FALSE_ALARM_FACTORS}
    assert found == {"quiet": [10], "balanced": [10, 40], "sensitive": [10, 40, 70]}


def test_a_model_moves_offline_and_live_together() -> None:
    live = FITTED.model_copy(update={"operating_points": {name: p - 0.1 for name, p in POINTS.items()}})
    moved = with_points(live_decode=live.at("balanced")).at("sensitive")
    assert isinstance(moved.decode, DecodeSettings)
    assert isinstance(moved.decode_live, DecodeSettings)
    assert (moved.decode.peak_threshold, moved.decode_live.peak_threshold) == (0.4, pytest.approx(0.3))


def test_a_model_without_points_has_the_balanced_one_and_says_so() -> None:
    info = load_model("starter").info.model_copy(update={"decode": DecodeSettings(peak_threshold=0.6)})
    assert info.at("balanced") == info
    with pytest.raises(UsageError, match=r"no operating point 'quiet': .* balanced only, its own threshold 0\.6"):
        info.at("quiet")
    rule = info.model_copy(update={"decode": PublishedDecodeSettings(rule="fixed", k_p=3)})
    assert rule.at("balanced") == rule
    with pytest.raises(UsageError, match=r"published fixed rule, .* has balanced only"):
        rule.at("sensitive")


def test_confidences_are_for_the_usual_rate_unless_another_is_told() -> None:
    info, plain = with_points(), with_points(decode=DecodeSettings(peak_threshold=0.6))
    used = info.as_used()
    assert used.decode == FITTED.expecting(EXPECTED_PER_MIN)
    assert info.as_used(expected_per_min=3.0).decode == FITTED.expecting(3.0)
    assert info.expecting(3.0).as_used().decode == FITTED.expecting(3.0)
    assert info.as_used(point="quiet").decode == FITTED.at("quiet").expecting(EXPECTED_PER_MIN)
    assert info.at("quiet").as_used() == info.as_used(point="quiet")
    # What nobody knows the rate of stays as it is.
    assert plain.as_used() == plain
    assert isinstance(plain.decode, DecodeSettings)
    assert plain.decode.granted_per_min is None
    live = with_points(live_decode=FITTED).as_used()
    assert live.decode_live == FITTED.expecting(EXPECTED_PER_MIN)


def test_commands_and_streams_use_a_model_so() -> None:
    for used in (loaded(Choices()).info, Stream().model.info):
        assert isinstance(used.decode, DecodeSettings)
        assert used.decode.expected_per_min == EXPECTED_PER_MIN


def test_points_are_stored_with_a_checkpoint(tmp_path: Path) -> None:
    info = with_points()
    torch.manual_seed(1)
    save_model(tmp_path / "model", network=StateTransitionNetwork(info.network), info=info)
    stored = load_model(tmp_path / "model")
    assert stored.info.decode == FITTED
    quiet = loaded(Choices(str(tmp_path / "model"), operating_point="quiet")).info
    assert quiet.decode == FITTED.at("quiet").expecting(EXPECTED_PER_MIN)
    assert Stream(model=stored, operating_point="sensitive").model.info.decode_live.peak_threshold == 0.4


def test_points_let_their_share_of_the_same_false_alarms_through() -> None:
    alarms, minutes = np.random.default_rng(0).uniform(0.02, 0.98, 900), 60.0
    points = pick_points(alarms, minutes=minutes, balanced_per_min=2.0)
    for name, per_min in (("quiet", 0.6), ("balanced", 2.0), ("sensitive", 6.0)):
        assert np.count_nonzero(alarms >= points[name]) <= per_min * minutes
        # A hundredth lower there are more than that: some nine of the alarms lie in between.
        assert np.count_nonzero(alarms >= points[name] - 0.01) > per_min * minutes
    assert points["balanced"] == pick_threshold(alarms, minutes=minutes, per_min=2.0)
