"""Builds the clips of the plan and measures them: what is there already is kept, so that a build can be resumed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from head_clips import write_head_clip
from material import write_stretch
from plan import ClipPlan, Plan, Simulated, Split
from sources import fetch

from metst.config import AnalyzeSettings
from metst.errors import UsageError
from metst.labels import CLASSES, EMOTIONS, NEUTRAL
from metst.metrics import read_intervals_csv
from metst.motion import Motion
from metst.motion.measured import measure_motion
from metst.regions import REGION_NAMES
from metst.synthesis.clip import write_clip
from metst.synthesis.faces import simulated_responses
from metst.synthesis.recipe import ClipRecipe
from metst.synthesis.trajectories import MotionSimulator
from metst.timeline import Intervals, Series, TimeGrid, frames_from_people, true_runs
from metst.video import probe_video
from metst.video.hashing import content_hash

Say = Callable[[str], None]


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
    """

    name: str
    person: str
    split: Split
    tags: tuple[str, ...]
    amplitude: float
    motion: Series
    quality: np.ndarray
    truth: Intervals

    @cached_property
    def minutes(self) -> float:
        """Length of the clip."""
        return self.motion.grid.duration_s / 60

    @property
    def real(self) -> bool:
        """Whether the pictures are footage of a person, not a still picture set in motion."""
        return "real" in self.tags


def build(plan: Plan, *, folder: Path, quick: bool, say: Say) -> None:
    """Fetch footage, write clips, measure their motion, and write the list of what is there."""
    listed = []
    clips = plan.clips(quick=quick)
    for number, clip in enumerate(clips, start=1):
        say(f"{number} of {len(clips)}: {clip.name}")
        video = _built(clip, folder=folder)
        _measured(video, folder=folder)
        listed.append({"name": clip.name, "plan": clip.digest, "content": content_hash(video)})
    about = {"plan": plan.digest, "version": plan.version, "quick": quick, "clips": listed}
    (folder / "build.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def load(plan: Plan, *, folder: Path, split: Split) -> list[Recording]:
    """The measured clips of a split.

    Raises
    ------
    UsageError
        The folder holds no build, or one of another plan.
    """
    listing = folder / "build.json"
    if not listing.is_file():
        raise UsageError(f"{folder} holds no build of the benchmark: run with --build {folder} first")
    about = json.loads(listing.read_text(encoding="utf-8"))
    clips = [clip for clip in plan.clips(quick=about["quick"]) if clip.split == split]
    built = {each["name"]: each["plan"] for each in about["clips"]}
    if any(built.get(clip.name) != clip.digest for clip in clips):
        raise UsageError(f"{folder} was built from another plan: run with --build {folder} again")
    return [_recording(clip, folder=folder) for clip in clips]


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


def _built(clip: ClipPlan, *, folder: Path) -> Path:
    """The clip's video, made unless it is there."""
    home = folder / "clips" / clip.name
    stamp = home / "plan.sha256"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == clip.digest:
        return home / "planted.mp4"
    shutil.rmtree(home, ignore_errors=True)
    if clip.stretch.kind == "head":
        write_head_clip(home, clip=clip, model=fetch(clip.footage, folder=folder / "footage"))
    else:
        # Where nothing is planted the amplitude means nothing, but a recipe has one.
        recipe = ClipRecipe(
            count=clip.count, amplitude=clip.amplitude or 1.0, seed=clip.seed, crf=clip.crf, start_s=clip.start_s,
            end_s=clip.end_s,
        )  # fmt: skip
        write_clip(home, recipe=recipe, footage=_stretch(clip, folder=folder))
    stamp.write_text(clip.digest, encoding="utf-8")
    return home / "planted.mp4"


def _stretch(clip: ClipPlan, *, folder: Path) -> Path:
    path = folder / "stretches" / f"{clip.stretch.name}-{clip.act or 'plain'}-{clip.stretch_digest[:12]}.mp4"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        packaged = clip.footage.registry == "packaged"
        write_stretch(path, clip=clip, source=None if packaged else fetch(clip.footage, folder=folder / "footage"))
    return path


def _measured(video: Path, *, folder: Path) -> Motion:
    """Motion of a clip, from the build's cache or measured now, as an analysis would."""
    return measure_motion(
        probe_video(video), settings=AnalyzeSettings(), content=content_hash(video), rate_hz=None, landmarks=None,
        cache=folder / "motion", on_progress=None,
    ).motion  # fmt: skip


def _recording(clip: ClipPlan, *, folder: Path) -> Recording:
    home = folder / "clips" / clip.name
    motion = _measured(home / "planted.mp4", folder=folder)
    table = read_intervals_csv(home / "truth.csv")
    onset, offset = frames_from_people(table.onset, table.offset)
    truth = truth_of(list(zip(onset.tolist(), offset.tolist(), strict=True)), labels=table.emotion)
    return Recording(
        clip.name, clip.person, clip.split, clip.tags, clip.amplitude, motion.displacement, motion.quality, truth
    )
