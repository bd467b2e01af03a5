"""Patterns that were planted into pixels, as the product measures them."""

from pathlib import Path

import numpy as np
import pytest

from helpers.patterns import write_statistics
from metst.face import track_face
from metst.motion import extract_motion
from metst.synthesis.clip import write_clip
from metst.synthesis.recipe import ClipRecipe
from metst.video import read_frames


@pytest.mark.slow
def test_the_measured_motion_is_the_pattern_that_was_planted(tmp_path: Path) -> None:
    recipe = ClipRecipe(count=6, amplitude=0.04, duration_s=8, crf=10, seed=3)
    clip = write_clip(tmp_path / "clip", recipe=recipe, patterns=write_statistics(tmp_path / "patterns.npz"))
    motion = extract_motion(track_face(read_frames(clip.video)), total=len(clip.grid)).displacement.values
    cosines, ratios = [], []
    for event in clip.events:
        onset, apex = np.searchsorted(clip.grid.time_s, [event.onset_s, event.apex_s])
        measured = (motion[apex] - motion[onset - 1]).astype(float)
        planted = event.pattern * event.profile(clip.grid.time_s[apex])
        # The head's own shift is taken out of what is measured: it is no part of the comparison.
        measured, planted = (each - each.mean(axis=0) for each in (measured, planted))
        cosines.append((measured * planted).sum() / np.linalg.norm(measured) / np.linalg.norm(planted))
        ratios.append(np.linalg.norm(measured) / np.linalg.norm(planted))
    assert min(cosines) > 0.7
    assert np.median(cosines) > 0.9
    assert 0.7 < np.median(ratios) < 1.15
