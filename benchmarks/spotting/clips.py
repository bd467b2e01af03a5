"""The measured clips of a build, with the truth that only training and scoring see; and simulated motion."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from listing import Listing, measured, video_of
from numpy.lib.stride_tricks import sliding_window_view
from people import Split
from plan import ClipPlan, FieldName, Plan, Simulated
from planting import FACTS

from metst.errors import UsageError
from metst.labels import CLASSES, EMOTIONS, NEUTRAL
from metst.metrics import read_intervals_csv
from metst.regions import REGION_NAMES
from metst.synthesis.faces import simulated_responses
from metst.synthesis.trajectories import MotionSimulator
from metst.timeline import MINUTE_S, Intervals, Series, TimeGrid, frames_from_people, true_runs

Say = Callable[[str], None]

OWN_AROUND_S = 1.0
"""A region's own movement is looked at so long before and after a planted one, seconds; set by hand."""


@dataclass(frozen=True, eq=False)
class Planted:
    """What is known of planted movements beside their intervals; arrays of one number each.

    Parameters
    ----------
    region : (N,) int64
        That goes farthest.
    peak : (N,) float64
        How far it goes, as a share of the distance of the outer eye corners.
    peak_px : (N,) float64
        The same, px.
    table_cosine : (N,) float64
        How like the movement is to the most similar mix that the table lists for its class, from -1 to 1.
    own : (N,) float64
        How far the same region goes there by itself in as long a time, in the unit of ``peak``; NaN where unknown.
    """

    region: npt.NDArray[np.int64]
    peak: npt.NDArray[np.float64]
    peak_px: npt.NDArray[np.float64]
    table_cosine: npt.NDArray[np.float64]
    own: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Recording:
    """What a system sees of a clip, and the truth that only training and scoring see.

    Parameters
    ----------
    name, person : str
    split : {"train", "development", "test"}
    tags : tuple of str
        What it shows.
    amplitude : float
        Of what is planted; 0 where nothing is.
    motion : Series
        ``(T, 18, 2)`` at the native frames.
    quality : (T, 18) float32
    truth : Intervals
        What is planted, in native frames.
    field : {"table", "patterns"}, optional
        What the planted movements are made of.
    stretch : str
        What the clip is made of: clips of one stretch show the same but for what is planted.
    planted : Planted, optional
        More of each movement of the truth, where it was planted into footage.
    """

    name: str
    person: str
    split: Split
    tags: tuple[str, ...]
    amplitude: float
    motion: Series
    quality: npt.NDArray[np.float32]
    truth: Intervals
    field: FieldName | None = None
    stretch: str = ""
    planted: Planted | None = None

    @cached_property
    def minutes(self) -> float:
        """Length of the clip."""
        return self.motion.grid.duration_s / MINUTE_S

    @property
    def real(self) -> bool:
        """Whether the pictures are footage of a person, not a still picture set in motion."""
        return "real" in self.tags

    @property
    def placebo(self) -> bool:
        """Whether it went the way of planted clips, and nothing moves."""
        return "placebo" in self.tags


def load(plan: Plan, *, folder: Path, split: Split) -> list[Recording]:
    """The measured clips of a split, as many as were built.

    Raises
    ------
    UsageError
        The folder holds no build, nothing of that split, or a build of another plan.
    """
    clips = built_clips(plan, folder=folder, split=split)
    if not clips:
        raise UsageError(f"{folder} holds no clip of the {split} split: run with --build {folder} --only {split} first")
    recordings = [_recording(clip, folder=folder) for clip in clips]
    placebos = {each.stretch: each for each in recordings if each.placebo}
    return [_with_own_movement(each, placebo=placebos.get(each.stretch)) for each in recordings]


def built_clips(plan: Plan, *, folder: Path, split: Split) -> list[ClipPlan]:
    """The clips of a split that were built.

    Raises
    ------
    UsageError
        The folder holds no build, or one of another plan.
    """
    built = Listing.of(folder).plans
    clips = [clip for clip in plan.clips() if clip.split == split and clip.name in built]
    if any(built[clip.name] != clip.digest for clip in clips):
        raise UsageError(f"{folder} was built from another plan: run with --build {folder} again")
    return clips


def simulated(settings: Simulated) -> Iterator[Recording]:
    """Recordings of simulated motion, for training only."""
    simulator = MotionSimulator(simulated_responses(count=settings.faces, seed=settings.seed))
    frames = round(settings.duration_s * settings.rate_hz)
    for i in range(settings.recordings):
        drawn = simulator.draw(np.random.default_rng([settings.seed, i]), frames=frames)
        grid = TimeGrid.uniform(frames, rate_hz=settings.rate_hz)
        motion = Series(grid, drawn.displacement, np.ones(frames, dtype=bool), REGION_NAMES)
        runs = true_runs(drawn.label != NEUTRAL)
        labels = tuple(CLASSES[drawn.label[run.start]] for run in runs)
        yield Recording(
            f"simulated-{i:03d}", f"simulated-{i:03d}", "train", ("simulated",), 0.0, motion,
            np.ones((frames, len(REGION_NAMES)), np.float32),
            truth_of([(run.start, run.stop) for run in runs], labels=labels),
        )  # fmt: skip


def truth_of(ends: list[tuple[int, int]], *, labels: tuple[str, ...]) -> Intervals:
    """Planted events as intervals of half-open frames."""
    if not ends:
        return Intervals.empty(EMOTIONS)
    onset, offset = np.array(ends).T
    probability = np.array([[float(name == label) for name in EMOTIONS] for label in labels])
    return Intervals(onset, (onset + offset) // 2, offset, labels, np.ones(len(ends)), probability, EMOTIONS)


def _recording(clip: ClipPlan, *, folder: Path) -> Recording:
    home = folder / "clips" / clip.name
    motion = measured(video_of(clip, folder=folder), folder=folder)
    truth, planted = Intervals.empty(EMOTIONS), None
    if clip.count and not clip.placebo:
        table = read_intervals_csv(home / "truth.csv")
        onset, offset = frames_from_people(table.onset, table.offset)
        truth = truth_of(list(zip(onset.tolist(), offset.tolist(), strict=True)), labels=table.emotion)
        planted = None if clip.stretch.kind == "head" else _planted(home / "truth.csv")
    return Recording(
        clip.name, clip.person, clip.split, clip.tags, clip.amplitude, motion.displacement, motion.quality, truth,
        field=clip.field, stretch=clip.stretch.name, planted=planted,
    )  # fmt: skip


def _planted(path: Path) -> Planted:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    peak, peak_px, cosine = (np.array([float(row[name]) for row in rows]) for name in FACTS[1:])
    region = np.array([REGION_NAMES.index(row[FACTS[0]]) for row in rows])
    return Planted(region, peak, peak_px, cosine, np.full(len(rows), np.nan))


def _with_own_movement(recording: Recording, *, placebo: Recording | None) -> Recording:
    """The recording, and how far each movement's region goes there by itself: looked up in the stretch's placebo."""
    if recording.planted is None or placebo is None:
        return recording
    motion, truth, frame_s = placebo.motion, recording.truth, placebo.motion.grid.frame_s
    around = round(OWN_AROUND_S / frame_s)
    own = np.full(len(truth), np.nan)
    for i, (onset, offset, region) in enumerate(zip(truth.onset, truth.offset, recording.planted.region, strict=True)):
        length = int(offset - onset)
        near = slice(max(onset - around, 0), offset + around)
        own[i] = own_movement(motion.values[near, region], valid=motion.valid[near], length=length)
    return replace(recording, planted=replace(recording.planted, own=own))


def own_movement(place: npt.NDArray[np.float32], *, valid: npt.NDArray[np.bool_], length: int) -> float:
    """How far a region ``(T, 2)`` goes from where it was within ``length`` frames: median over all starts."""
    if len(place) < length:
        return float("nan")
    windows = sliding_window_view(place.astype(np.float64), length, axis=0)  # (T - length + 1, 2, length)
    seen = sliding_window_view(valid, length).all(axis=-1)
    far = np.hypot(*np.moveaxis(windows - windows[..., :1], 1, 0)).max(axis=-1)
    return float(np.median(far[seen])) if seen.any() else float("nan")
