"""Where training on simulated motion takes what the simulator does not draw: heads, people, patterns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metst.arrays import OnProgress
from metst.errors import UsageError
from metst.models.checkpoint import Model
from metst.synthesis.patterns import read_patterns
from metst.training.backgrounds import recorded_backgrounds
from metst.training.drawn import Drawn, People, check_tuned
from metst.training.footage import clips_of, people_on_video
from metst.training.simulated_recipes import SimulationRecipe


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
        check_tuned(sources.tuned_on, people=dict(clips_of(sources.footage)))
    patterns = read_patterns(sources.patterns) if sources.patterns is not None else None
    heads = recorded_backgrounds(
        kept, count=recipe.backgrounds, seconds=recipe.background_s, head_model=sources.head_model,
        on_progress=on_progress,
    )  # fmt: skip
    people: People = {}
    if sources.footage is not None:
        people = people_on_video(sources.footage, kept=kept, again=recipe.footage_again, on_progress=on_progress)
    return Drawn(heads, people, patterns)
