"""The training loop and the constants fitted after it."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from metst.checkpoint import load_model
from metst.config import NetworkConfig
from metst.errors import UsageError
from metst.train import RECIPES, fit_logistic, pick_threshold, train_model

TINY = RECIPES["starter"].model_copy(
    update={
        "network": NetworkConfig(name="tiny", in_channels=36, width=8, blocks=3, slow_fast=True, d_state=4),
        "faces": 2,
        "batch_size": 4,
        "clip_frames": 120,
        "validation_minutes": 3.0,
    }
)


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
    threshold = pick_threshold(peaks, right=right, minutes=300, per_min=per_min)
    assert (peaks[~right] >= threshold).sum() <= per_min * 300
    lower = threshold - 0.02
    assert lower < 0.05 or (peaks[~right] >= lower).sum() > per_min * 300


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
