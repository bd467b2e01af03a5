"""The published networks, trained on the training split by their own recipes with fewer epochs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

from clips import Recording, Say, load, simulated
from plan import Plan

from metst.config import AnalyzeSettings
from metst.datasets.features import (
    FeatureIndex,
    FeatureVideo,
    TrueEvent,
    features_fingerprint,
    write_features_index,
)
from metst.models.checkpoint import Model, load_model
from metst.results.motion import Motion
from metst.results.motion_file import motion_bytes
from metst.storage import write_whole
from metst.training.recipes import published_recipe

STRATEGY = 1
"""Of the published results: a detection that is voted neutral is dropped."""


def train_published(name: str, *, plan: Plan, folder: Path, epochs: int | None, say: Say) -> Model:
    """A published network, trained once: what is there already is kept, and what was cut off goes on.

    Parameters
    ----------
    name : str
        Of the network and its recipe.
    plan : Plan
    folder : Path
        A build.
    epochs : int, optional
        In place of the plan's.
    say : callable
        Told where training stands.
    """
    from metst.training.lesson import Lesson
    from metst.training.recordings import train_recordings

    training = plan.published
    recipe = published_recipe(name).model_copy(
        update={"epochs": epochs or training.epochs[name], "plans": {"manifest": training.windows}}
    )
    features = write_features(plan, folder=folder)
    home = folder / "systems" / f"{name}-{recipe.epochs}-{features_fingerprint(features)[:8]}"
    if not (home / "model.json").is_file():
        train_recordings(
            home, Lesson(features, recipe, strategy=STRATEGY, seed=training.seed), without=plan.persons("development"),
            on_progress=lambda stage, done, total: say(f"{name}: {stage} {done} of {total}"),
        )  # fmt: skip
    return load_model(home)


def write_features(plan: Plan, *, folder: Path) -> Path:
    """Motion and labels of the training and the development split in the folder that training reads."""
    home = folder / "features"
    recordings: Iterable[Recording] = itertools.chain(
        simulated(plan.simulated), *(load(plan, folder=folder, split=split) for split in ("train", "development"))
    )
    home.mkdir(parents=True, exist_ok=True)
    videos = [_written(each, home / f"{number:04d}.safetensors") for number, each in enumerate(recordings)]
    index = FeatureIndex(data_set="manifest", settings=AnalyzeSettings(), videos=tuple(videos))
    write_features_index(home, index)
    return home


def _written(recording: Recording, path: Path) -> FeatureVideo:
    motion, truth = recording.motion, recording.truth
    write_whole(path, motion_bytes(Motion.bare(motion, quality=recording.quality)))
    events = zip(truth.onset.tolist(), truth.apex.tolist(), truth.offset.tolist(), truth.label, strict=True)
    return FeatureVideo(
        subject=recording.person,
        video=recording.name,
        frames=len(motion),
        rate_hz=1 / motion.grid.frame_s,
        file=path.name,
        events=tuple(TrueEvent(onset=a, apex=b, offset=c, emotion=emotion) for a, b, c, emotion in events),
    )
