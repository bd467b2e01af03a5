"""What is found depends on the recording, the model and the settings, and on nothing else.

Here: how processes are started, how much is worked on at once, whether frames come from a file or one by one.  The rest
of the promise is in `test_thread_counts.py` (threads), `test_corpus.py` (workers) and `test_cache.py` (kept motion).
"""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers import analysis_digest
from helpers.analysis_digest import digest
from helpers.margins import assert_no_event_hangs_on_rounding
from helpers.rounding import assert_within_rounding
from metst.analyze import analyze
from metst.inference import decode_events, score_motion
from metst.models.checkpoint import load_model
from metst.results import Analysis
from metst.stream import Stream, Update
from metst.synthesis.clip import write_clip
from metst.synthesis.recipe import ClipRecipe
from metst.timeline import Intervals, Series
from metst.video import read_frames

ROUNDING = 32
"""Units of rounding between scores that were computed together and piece by piece, as products of other sizes are
summed in another order; seven were seen."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = ClipRecipe(count=2, amplitude=0.4, duration_s=4.0, rate_hz=25)
    return write_clip(tmp_path_factory.mktemp("clip"), recipe=recipe).video


@pytest.fixture(scope="module")
def analysis(clip: Path) -> Analysis:
    found = analyze(clip, cache=False)
    assert len(found.events) == 2
    assert_no_event_hangs_on_rounding(found)
    return found


def assert_same_frames(one: Intervals, other: Intervals) -> None:
    for part in ("onset", "apex", "offset"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
    assert one.label == other.label


def test_however_a_process_is_started_it_finds_the_same_bytes(clip: Path, analysis: Analysis) -> None:
    methods = multiprocessing.get_all_start_methods()
    done = subprocess.run(
        [sys.executable, analysis_digest.__file__, str(clip), *methods],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [digest(analysis)] * len(methods)


@pytest.mark.parametrize("chunk_frames", [1, 7, 64])
def test_how_much_is_scored_at_once_changes_no_event_and_no_score_but_by_rounding(
    analysis: Analysis, chunk_frames: int
) -> None:
    motion, model = analysis.motion, load_model()

    def scored() -> Series:
        return score_motion(motion.displacement, model=model, quality=motion.quality, chunk_frames=chunk_frames)

    scores = scored()
    np.testing.assert_array_equal(scored().values, scores.values)
    assert_within_rounding(scores.values, analysis.scores.values, units=ROUNDING)
    assert_same_frames(decode_events(scores, model=model), analysis.events)


def fed(clip: Path) -> list[Update]:
    stream = Stream()
    updates = [stream.feed(frame) for frame in read_frames(clip)]
    return [*updates, stream.close()]


def test_frame_by_frame_the_motion_has_the_same_bytes_and_the_events_the_same_frames(
    clip: Path, analysis: Analysis
) -> None:
    updates, motion = fed(clip), analysis.motion
    moved = [update.motion for update in updates if update.motion is not None]
    for part in ("quality", "face_px", "head", "face_quality"):
        kept = getattr(motion, part)
        assert np.stack([getattr(each, part) for each in moved]).astype(kept.dtype).tobytes() == kept.tobytes(), part
    centres = np.stack([each.centres for each in moved])
    assert centres.round(2).tobytes() == motion.centres.tobytes()  # as a recording's are kept
    assert np.stack([each.displacement for each in moved]).tobytes() == motion.displacement.values.tobytes()
    model = load_model().as_live()
    whole = score_motion(motion.displacement, model=model, quality=motion.quality)
    events = decode_events(whole, model=model)
    assert len(events) == 2
    scores = np.concatenate([update.scores.values for update in updates])
    assert_within_rounding(scores, whole.values, units=ROUNDING)
    for part in ("onset", "apex", "offset"):
        live = np.concatenate([getattr(update.events, part) for update in updates])
        np.testing.assert_array_equal(live, getattr(events, part))
    assert sum((update.events.label for update in updates), ()) == events.label
