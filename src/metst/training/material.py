"""What training on simulated motion learns from: recordings drawn by a seed, as batches of the network's input."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from metst.arrays import Float32Array
from metst.inference import network_input
from metst.labels import NEUTRAL
from metst.regions import REGION_NAMES
from metst.results.motion import Motion
from metst.synthesis.faces import simulated_responses
from metst.synthesis.trajectories import Background, MotionSimulator, SimulatedMotion
from metst.timeline import MINUTE_S, Series, TimeGrid, true_runs
from metst.training.drawn import Drawn
from metst.training.loop import Batch
from metst.training.simulated_recipes import SimulationRecipe

SHORTEST_BACKGROUND_S = 4.0
"""A shorter stretch of a rendered background is not planted into, seconds: there are always longer ones beside it, and
the packaged weights were made so.  Set by hand."""
SHORTEST_RECORDED_S = 2.0
"""The same of a lab's own recordings, which may all be short, seconds: the longest movement (0.6 s) with the rest that
is kept before and behind it (1 s) has room to lie in different places.  Training plays a stretch to and fro for as long
as a clip lasts, so that its length sets no limit there.  Set by hand."""


@dataclass(frozen=True, eq=False)
class Material:
    """What recordings are drawn from: the simulator, and recorded backgrounds to plant into.

    Parameters
    ----------
    simulator : MotionSimulator
    backgrounds : tuple of Background
        Unbroken stretches.
    share : float
        Share of recordings that are planted into one of them.
    people : tuple of tuple of Background
        Unbroken stretches of footage of people, by person: each person is drawn as often, however much there is of
        one.
    people_share : float
        Share of recordings that are planted into one of these.
    """

    simulator: MotionSimulator
    backgrounds: tuple[Background, ...]
    share: float
    people: tuple[tuple[Background, ...], ...] = ()
    people_share: float = 0.0

    @classmethod
    def of(
        cls,
        recipe: SimulationRecipe,
        *,
        drawn: Drawn,
        seed: int,
        shortest_s: float = SHORTEST_BACKGROUND_S,
    ) -> Material:
        """Material by a recipe; stretches of heads that are shorter are left out."""
        simulator = MotionSimulator(
            simulated_responses(count=recipe.faces, seed=seed), settings=recipe.simulation, patterns=drawn.patterns
        )

        def stretches(recordings: Sequence[Motion], *, shortest_s: float) -> tuple[Background, ...]:
            quality = recipe.input.min_quality
            found = (background_stretches(each, min_quality=quality, shortest_s=shortest_s) for each in recordings)
            return tuple(chain.from_iterable(found))

        rendered = stretches(drawn.heads, shortest_s=shortest_s)
        by_person = tuple(
            filter(None, (stretches(each, shortest_s=SHORTEST_RECORDED_S) for each in drawn.people.values()))
        )
        return cls(
            simulator, rendered, recipe.background_share if rendered else 0.0,
            by_person, recipe.footage_share if by_person else 0.0,
        )  # fmt: skip

    def draw(self, rng: np.random.Generator, *, seconds: float, once: bool = False) -> SimulatedMotion:
        """A recording by a camera of one of the usual rates.

        It lasts at least so many seconds; with ``once`` no longer than the background it is planted into, of which no
        frame is seen twice.
        """
        if (background := self._background(rng)) is not None:
            if once and background.seconds <= seconds:
                return self.simulator.draw_over(rng, background)
            frames = math.ceil(seconds * background.rate_hz) + 1
            return self.simulator.draw_over(rng, background.to_and_fro(frames=frames, start=rng.random()))
        rates = self.simulator.settings.camera_rates_hz
        rate_hz = rates[rng.integers(len(rates))]
        return self.simulator.draw(rng, frames=math.ceil(seconds * rate_hz) + 1, rate_hz=rate_hz)

    def _background(self, rng: np.random.Generator) -> Background | None:
        """What is planted into; None for a recording that is simulated as a whole."""
        if self.people and rng.random() < self.people_share:
            person = self.people[rng.integers(len(self.people))]
            return person[rng.integers(len(person))]
        if self.share and rng.random() < self.share:
            return self.backgrounds[rng.integers(len(self.backgrounds))]
        return None


def background_stretches(recording: Motion, *, min_quality: float, shortest_s: float) -> Iterator[Background]:
    """Unbroken stretches of a recording that are long enough to plant into; a model starts afresh in each."""
    rate_hz = 1 / recording.grid.frame_s
    for run in true_runs(recording.displacement.valid):
        stretch = Background(recording.displacement.values[run], recording.quality[run], rate_hz, min_quality)
        if stretch.seconds >= shortest_s:
            yield stretch


def clip_batch(step: int, *, material: Material, recipe: SimulationRecipe, seed: int) -> Batch:
    """Input (B, 36, T) and, delayed by the model's lag, score (B, T) and class (B, T)."""
    rng, frames, lag = np.random.default_rng([seed, step]), recipe.clip_frames, recipe.scoring.lag
    motion, score, label = [], [], []
    for _ in range(recipe.batch_size):
        drawn = material.draw(rng, seconds=frames / recipe.input.rate_hz)
        if recipe.reversed_share and rng.random() < recipe.reversed_share:
            drawn = drawn.reversed()
        read = network_input(motion_series(drawn), settings=recipe.input)
        nearest = np.rint(read.grid.time_s * drawn.rate_hz).astype(int)[: frames - lag]
        motion.append(read.values[:frames].T)
        score.append(np.pad(drawn.score[nearest], (lag, 0)))
        label.append(np.pad(drawn.label[nearest], (lag, 0), constant_values=NEUTRAL))
    return tuple(torch.from_numpy(np.stack(rows)) for rows in (motion, score, label))


def motion_series(recording: SimulatedMotion) -> Series:
    """The motion of a recording, as measuring would give it."""
    return uniform_series(recording.displacement, rate_hz=recording.rate_hz)


def uniform_series(displacement: Float32Array, *, rate_hz: float) -> Series:
    """Motion ``(T, 18, 2)`` at an even rate without a gap."""
    length = len(displacement)
    grid = TimeGrid.uniform(length, rate_hz=rate_hz)
    return Series(grid, displacement, np.ones(length, dtype=bool), REGION_NAMES)


def minutes(recordings: Sequence[Motion]) -> float:
    """Minutes with a usable face."""
    return sum(float(each.displacement.valid.sum()) * each.grid.frame_s for each in recordings) / MINUTE_S
