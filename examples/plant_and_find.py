"""Plant movements of known strength, and count how many of them are found.

python examples/plant_and_find.py [VIDEO]    # your own footage in place of the packaged portrait
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import metst
from metst.metrics import interval_iou, match_intervals
from metst.synthesis.clip import ClipRecipe, write_clip
from metst.synthesis.inject import truth_intervals
from metst.timeline import Intervals

footage = Path(sys.argv[1]) if len(sys.argv) > 1 else None


def both_ends(events: Intervals) -> np.ndarray:
    """First and last frame of each, as the overlap of intervals is counted."""
    return np.stack([events.onset, events.offset - 1], axis=1)


for amplitude in (0.02, 0.3):  # shares of a full contraction
    recipe = ClipRecipe(count=4, amplitude=amplitude, duration_s=9, seed=2)
    clip = write_clip(Path(tempfile.mkdtemp(prefix="metst-example-")), recipe=recipe, footage=footage)
    found = metst.analyze(clip.video).events
    planted = truth_intervals(clip.events, grid=clip.grid)
    hits = match_intervals(interval_iou(both_ends(found), both_ends(planted)), threshold=0.5)
    print(f"amplitude {amplitude}: {len(hits)} of {len(planted)} found, {len(found) - len(hits)} false alarms")
