"""A recording with two known movements, analysed: figures that a broken machine does not reach, and others do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from metst.storage import temporary_folder
from metst.synthesis.recipe import ClipRecipe

if TYPE_CHECKING:
    from metst.results import Analysis
    from metst.synthesis.events import PlantedEvent

RECIPE: Final = ClipRecipe(count=2, amplitude=0.4, duration_s=4.0, rate_hz=25)
"""The recording: the packaged portrait, with two movements that are easily found."""

MOVED: Final = (0.0179, 0.0530)
"""How far the region that moves farthest was measured to move from onset to apex, face units, per movement: metst 0.1.0
on an x86-64 machine with AVX-512."""

_SAME_MOVEMENT: Final = 0.2
"""Share by which another processor or encoder may measure another movement.  By hand; no second one was tried yet."""

_LEAST_USABLE, _LEAST_SCORE = 0.95, 0.9
"""Share of usable frames, and score within each movement: 1.00 and 0.999 were seen.  Set by hand."""

_LIVE_FRAMES: Final = 30
"""Frames that go through live use as well, so that its loops are compiled."""


@dataclass(frozen=True)
class Outcome:
    """What was found, and where it is not what was expected."""

    told: str
    faults: tuple[str, ...]


def run_self_test() -> Outcome:
    """Make the recording, analyse it, and take some of its frames through live use.

    Raises
    ------
    MetstError
        A stage fails.
    """
    from metst.analyze import analyze
    from metst.stream import Stream
    from metst.synthesis.clip import write_clip
    from metst.video import read_frames

    with temporary_folder() as folder:
        clip = write_clip(Path(folder), recipe=RECIPE)
        started = time.perf_counter()
        analysis = analyze(clip.video, cache=False)
        seconds = time.perf_counter() - started
        stream = Stream()
        for number, frame in enumerate(read_frames(clip.video)):
            if number == _LIVE_FRAMES:
                break
            stream.feed_picture(frame.grey, time_s=frame.time_s)
        stream.close()
    told = f"{len(clip.events)} of {len(clip.events)} planted movements found and measured as expected, {seconds:.1f} s"
    return Outcome(told, tuple(faults_of(analysis, clip.events)))


def faults_of(analysis: Analysis, planted: Sequence[PlantedEvent]) -> list[str]:
    """What differs from the figures above, in words."""
    faults = []
    if (share := float(analysis.usable.mean())) < _LEAST_USABLE:
        faults.append(f"only {share:.0%} of the frames were usable")
    displacement = analysis.motion.displacement.values
    for number, (event, expected) in enumerate(zip(planted, MOVED, strict=True), start=1):
        onset, apex, offset = analysis.grid.frame_at(np.array([event.onset_s, event.apex_s, event.offset_s])).tolist()
        moved = float(np.linalg.norm(displacement[apex] - displacement[onset], axis=1).max())
        if not abs(moved - expected) <= _SAME_MOVEMENT * expected:
            faults.append(f"movement {number} was measured as {moved:.4f}, expected {expected:.4f}")
        score = float(analysis.scores.values[onset : offset + 1, 0].max())
        if not score >= _LEAST_SCORE:
            faults.append(f"movement {number} has the score {score:.2f}, expected {_LEAST_SCORE} or more")
    return faults
