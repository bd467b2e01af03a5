"""The demonstration, and planting into footage, as a user runs them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.margins import assert_no_event_hangs_on_rounding
from metst.cli.demo import run_demo
from metst.errors import UsageError
from metst.models.checkpoint import DEFAULT_MODEL
from metst.results import read_analysis
from metst.synthesis.clip import write_clip
from metst.synthesis.recipe import ClipRecipe
from metst.video import read_frames


def test_the_demo_finds_what_it_planted(tmp_path: Path) -> None:
    outcome = run_demo(tmp_path, seed=1, model=DEFAULT_MODEL)
    assert outcome.planted == 8
    assert outcome.found >= 6
    assert outcome.false_alarms <= 1
    assert outcome.report.exists()
    assert_no_event_hangs_on_rounding(read_analysis(tmp_path))


def test_a_clip_is_rebuilt_bit_equal_from_its_recipe(tmp_path: Path) -> None:
    recipe = ClipRecipe(count=1, duration_s=2.0, seed=4)
    one, two = (write_clip(tmp_path / name, recipe=recipe) for name in "ab")
    assert one.video.read_bytes() == two.video.read_bytes()
    again = ClipRecipe(**json.loads((tmp_path / "a" / "recipe.json").read_text()))
    assert again == recipe


@pytest.mark.slow
def test_planting_into_footage_changes_the_events_frames_only(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "source", recipe=ClipRecipe(count=0, duration_s=2.0, crf=4))
    planted = write_clip(
        tmp_path / "planted",
        recipe=ClipRecipe(count=1, amplitude=0.5, start_s=0.4, end_s=1.8, crf=4),
        footage=source.video,
    )
    truth = pd.read_csv(planted.truth)
    apex = int(truth.apex[0]) - 1
    changed = [
        float(np.abs(a.grey.astype(int) - b.grey).max())
        for a, b in zip(read_frames(source.video), read_frames(planted.video), strict=True)
    ]
    assert changed[apex] > 3 * max(changed[0], changed[-1])


def test_too_many_events_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fewer"):
        write_clip(tmp_path, recipe=ClipRecipe(count=50, duration_s=5.0))
