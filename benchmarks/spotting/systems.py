"""The systems by name: how each is made from a build, and how it finds events."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from baselines import Chance, planted_per_min, rule_system, windows_system
from clips import Recording, Say, load, simulated
from plan import Plan

from metst.errors import UsageError
from metst.inference import decode_events, score_motion
from metst.models.checkpoint import Model, known_models, load_model
from metst.timeline import Intervals
from metst.training.recipes import PUBLISHED_RECIPES

BASELINES = ("chance", "rule", "windows")

LIVE = ":live"
"""Behind the name of a model: as it runs live, forwards only."""

DEFAULT = ":default"
"""Behind the name of a model: with confidences as analyses give them, for few movements per minute."""

TOLD = ":told"
"""Behind the name of a model: told how many movements per minute the development split holds."""


class System(Protocol):
    """What finds events in a clip."""

    def find(self, recording: Recording) -> Intervals:
        """Events in native frames, with confidences."""


@dataclass(frozen=True, eq=False)
class NetworkSystem:
    """A checkpoint with its own decoding."""

    model: Model

    def live(self) -> NetworkSystem:
        """The same as it runs live: forwards only, with the decoding for that."""
        return NetworkSystem(self.model.as_live())

    def default(self) -> NetworkSystem:
        """The same with confidences for the rate that analyses take for granted."""
        return NetworkSystem(replace(self.model, info=self.model.info.as_used()))

    def told(self, development: Sequence[Recording]) -> NetworkSystem:
        """The same with confidences for as many movements per minute as these recordings hold."""
        return NetworkSystem(self.model.expecting(planted_per_min(development)))

    def find(self, recording: Recording) -> Intervals:
        """What an analysis with this checkpoint would report."""
        scores = score_motion(recording.motion, model=self.model, quality=recording.quality)
        return decode_events(scores, model=self.model)


def make_system(name: str, *, plan: Plan, folder: Path, say: Say, epochs: int | None = None) -> System:
    """One system, trained or fitted on the build where it needs that.

    Parameters
    ----------
    name : str
        One of :data:`BASELINES`, a published network, a packaged model, or a checkpoint folder; of the last two with
        :data:`LIVE` behind it as it runs live, :data:`DEFAULT` or :data:`TOLD`.
    plan : Plan
    folder : Path
        A build.
    say : callable
        Told where training stands.
    epochs : int, optional
        Of the published networks, in place of the plan's.

    Raises
    ------
    UsageError
        Nothing has that name.
    """
    if name in BASELINES:
        return _baseline(name, plan=plan, development=load(plan, folder=folder, split="development"), folder=folder)
    if name in PUBLISHED_RECIPES:
        from published import train_published

        return NetworkSystem(train_published(name, plan=plan, folder=folder, epochs=epochs, say=say))
    suffix = next((each for each in (LIVE, DEFAULT, TOLD) if name.endswith(each)), "")
    base = name.removesuffix(suffix)
    if base in known_models() or Path(base).is_dir():
        system = NetworkSystem(load_model(base))
        if suffix == TOLD:
            return system.told(load(plan, folder=folder, split="development"))
        return {LIVE: system.live, DEFAULT: system.default}[suffix]() if suffix else system
    known = ", ".join((*BASELINES, *PUBLISHED_RECIPES, *known_models()))
    raise UsageError(
        f"unknown system {name!r}: expected one of {known}, or a checkpoint folder; behind one of the last two may"
        f" stand {LIVE}, {DEFAULT} or {TOLD}"
    )


def _baseline(name: str, *, plan: Plan, development: Sequence[Recording], folder: Path) -> System:
    if name == "chance":
        return Chance.like(development)
    if name == "rule":
        return rule_system(development)
    training = itertools.chain(simulated(plan.simulated), load(plan, folder=folder, split="train"))
    return windows_system(training, development=development)
