"""Where training on simulated motion takes what the simulator does not draw: heads, people, patterns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from metst.arrays import OnProgress
from metst.errors import UsageError
from metst.models.checkpoint import Model
from metst.results.motion import Motion
from metst.storage import fingerprint
from metst.synthesis.patterns import PatternStatistics, read_patterns
from metst.training.backgrounds import recorded_backgrounds
from metst.training.footage import People, clips_of, people_on_video
from metst.training.simulated_recipes import SimulationRecipe

KEPT_FOR_VALIDATION = 4
"""Every so manieth head and person is kept from training, for threshold and calibration; set by hand."""


def motions_sha256(motions: Sequence[Motion]) -> str:
    """SHA-256 over what was measured; empty without any."""
    measured = (part.tobytes() for each in motions for part in (each.displacement.values, each.quality))
    return fingerprint(*measured) if motions else ""


def patterns_sha256(patterns: PatternStatistics) -> str:
    """SHA-256 over what patterns are drawn from."""
    drawn = (
        np.asarray(part, dtype=np.float64).tobytes()
        for _, each in sorted(patterns.classes.items())
        for part in (each.mean, each.components, each.std, each.rest_std)
    )
    return fingerprint(*drawn)


@dataclass(frozen=True, eq=False)
class Sources:
    """Where a training on simulated motion takes what the simulator does not draw.

    Parameters
    ----------
    backgrounds : Path, optional
        Folder that keeps measured motion, of rendered heads and of footage; when absent it goes with the training's
        state.
    head_model : Path, optional
        Parametric head that heads are rendered with; that of the installed package when absent.
    footage : Path, optional
        People on video that nobody has labelled: a folder per person; see
        :func:`metst.training.footage.people_on_video`.
    tuned_on : sequence of str
        Of these persons, those that only threshold and confidence are fitted on; every fourth when empty.
    patterns : Path, optional
        Statistics of how real micro-expressions move the regions; see :mod:`metst.synthesis.patterns`.
    start : Model, optional
        Whose weights the last stage of the recipe goes on from, in place of the stages before it.
    """

    backgrounds: Path | None = None
    head_model: Path | None = None
    footage: Path | None = None
    tuned_on: Sequence[str] = ()
    patterns: Path | None = None
    start: Model | None = None


@dataclass(frozen=True, eq=False)
class Drawn:
    """What of these sources is drawn from, as it was read.

    Parameters
    ----------
    heads : sequence of Motion
        Measured motion of rendered heads.
    people : mapping of str to sequence of Motion
        That of people, by person.
    patterns : PatternStatistics, optional
    """

    heads: Sequence[Motion] = ()
    people: People = field(default_factory=dict)
    patterns: PatternStatistics | None = None

    @property
    def sha256(self) -> str:
        """Over all that was measured, and the statistics; empty without any."""
        parts = [motions_sha256([*self.heads, *chain.from_iterable(self.people.values())])]
        parts += [patterns_sha256(self.patterns)] if self.patterns is not None else []
        return " ".join(filter(None, parts))

    def for_recipe(self, recipe: SimulationRecipe) -> Drawn:
        """What of it a recipe draws from."""
        return Drawn(
            self.heads if recipe.backgrounds else (),
            self.people if recipe.footage_share else {},
            self.patterns if recipe.simulation.measured_share else None,
        )

    def parted(self, tuned_on: Sequence[str]) -> tuple[Drawn, Drawn]:
        """What training sees, and what is kept for threshold and confidence; no person is on both sides.

        Raises
        ------
        UsageError
            A person to tune on is not in the footage, or nobody would be left to learn from.
        """
        _check_tuned(tuned_on, people=self.people)
        tuned = set(tuned_on) or set(list(self.people)[::KEPT_FOR_VALIDATION])
        learnt = {name: motions for name, motions in self.people.items() if name not in tuned}
        if self.people and not learnt:
            raise UsageError(
                f"all persons of the footage ({', '.join(self.people)}) are to tune on: leave some to learn from"
            )
        kept = self.heads[::KEPT_FOR_VALIDATION]
        seen = [each for number, each in enumerate(self.heads) if number % KEPT_FOR_VALIDATION]
        return (
            Drawn(seen, learnt, self.patterns),
            Drawn(kept, {name: self.people[name] for name in self.people if name in tuned}, self.patterns),
        )


def _check_tuned(tuned_on: Sequence[str], *, people: Collection[str]) -> None:
    if unknown := [name for name in tuned_on if name not in people]:
        raise UsageError(f"{unknown[0]} is not in the footage: expected some of {', '.join(people) or 'none'}")


NOTHING_ELSE = Sources()
"""The simulator alone, and heads of the installed package."""


def drawn_from(
    sources: Sources, *, recipe: SimulationRecipe, kept: Path, on_progress: OnProgress | None = None
) -> Drawn:
    """Read, render and measure what a recipe draws from; measured motion stays in the folder ``kept``.

    Raises
    ------
    UsageError
        There is no head to render, footage or patterns are given for a recipe that learns from none, the footage
        holds no clip, or a person to tune on is not in it.
    DataError
        A source is damaged.
    """
    if sources.footage is not None and not recipe.footage_share:
        raise UsageError(f"recipe {recipe.name} learns from no footage of people: leave it out")
    if sources.patterns is not None and not recipe.simulation.measured_share:
        raise UsageError(f"recipe {recipe.name} plants no patterns of real micro-expressions: leave the statistics out")
    if sources.tuned_on and sources.footage is None:
        raise UsageError(f"{sources.tuned_on[0]} is to tune on, and there is no footage of people: name its folder")
    if sources.footage is not None:  # before hours of rendering and measuring
        _check_tuned(sources.tuned_on, people=dict(clips_of(sources.footage)))
    patterns = read_patterns(sources.patterns) if sources.patterns is not None else None
    heads = recorded_backgrounds(
        kept, count=recipe.backgrounds, seconds=recipe.background_s, head_model=sources.head_model,
        on_progress=on_progress,
    )  # fmt: skip
    people: People = {}
    if sources.footage is not None:
        people = people_on_video(sources.footage, kept=kept, again=recipe.footage_again, on_progress=on_progress)
    return Drawn(heads, people, patterns)
