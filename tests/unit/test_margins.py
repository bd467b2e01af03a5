"""The check that golden events do not hang on rounding can fail, and says how near a peak is."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from helpers.margins import assert_no_event_hangs_on_rounding, rounding
from helpers.pretend_recordings import motion_of_content
from metst.decode.odds import log_odds
from metst.inference import decode_events, score_motion
from metst.models.checkpoint import Model, load_model

MOTION = motion_of_content(b"0")
SCORES = score_motion(MOTION.displacement, model=load_model(), quality=MOTION.quality)
PEAK = float(rounding.peaks(SCORES, settings=load_model().info.decode).confidence.max())


def with_threshold(threshold: float) -> Model:
    packaged = load_model()
    decode = packaged.info.decode.model_copy(update={"peak_threshold": threshold})
    return Model(packaged.info.model_copy(update={"decode": decode}), packaged.folder)


def check(model: Model) -> None:
    found: Any = SimpleNamespace(motion=MOTION, scores=SCORES, events=decode_events(SCORES, model=model))
    assert_no_event_hangs_on_rounding(found, model=model)


@pytest.mark.parametrize("side", [1 - 1e-9, 1 + 1e-9])
def test_a_peak_at_the_threshold_is_refused_from_either_side(side: float) -> None:
    with pytest.raises(AssertionError, match=r"hang on rounding|from the threshold"):
        check(with_threshold(PEAK * side))


def test_one_far_from_it_is_not() -> None:
    check(with_threshold(PEAK / 2))


def test_what_is_changed_is_a_share_of_each_number_and_drawn_from_the_seed() -> None:
    one, again, other = (rounding.shaken_motion(MOTION, step=1e-3, rng=np.random.default_rng(s)) for s in (1, 1, 2))
    moved, still = one.displacement.values, MOTION.displacement.values
    np.testing.assert_array_equal(again.displacement.values, moved)
    assert not np.array_equal(other.displacement.values, moved, equal_nan=True)
    valid = MOTION.displacement.valid
    assert 5e-4 < np.abs(moved[valid] / still[valid] - 1).max() < 1.01e-3


@pytest.mark.parametrize(("change", "decimals"), [(0.0, "all"), (4e-6, "5"), (6e-6, "4"), (0.3, "0")])
def test_decimals_that_agree(change: float, decimals: str) -> None:
    assert rounding.digits(change) == decimals


def test_distances_are_log_odds_from_the_threshold() -> None:
    model = with_threshold(PEAK / 2)
    far = rounding.distances(SCORES, settings=model.info.decode)
    assert far.max() == pytest.approx(float(log_odds(np.float64(PEAK)) - log_odds(np.float64(PEAK / 2))))
