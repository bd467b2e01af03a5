"""What a training on simulated motion draws from, as it was read: measured motion of heads and people, and patterns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from metst.errors import UsageError
from metst.results.motion import Motion
from metst.storage import fingerprint
from metst.synthesis.patterns import PatternStatistics

People = Mapping[str, Sequence[Motion]]
"""Measured motion by person."""

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
class Drawn:
    """What is drawn from beside the simulator.

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
        parts = [motions_sha256(self.heads)]
        parts += [f"{name} {motions_sha256(motions)}" for name, motions in self.people.items()]
        parts += [patterns_sha256(self.patterns)] if self.patterns is not None else []
        return " ".join(filter(None, parts))

    def parted(self, tuned_on: Sequence[str]) -> tuple[Drawn, Drawn]:
        """What training sees, and what is kept for threshold and confidence; no person is on both sides.

        Raises
        ------
        UsageError
            A person to tune on is not in the footage, or nobody would be left to learn from.
        """
        check_tuned(tuned_on, people=self.people)
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


def check_tuned(tuned_on: Sequence[str], *, people: Collection[str]) -> None:
    """Refuse to tune on somebody who is not there.

    Raises
    ------
    UsageError
        A person is not among these.
    """
    if unknown := [name for name in tuned_on if name not in people]:
        raise UsageError(f"{unknown[0]} is not in the footage: expected some of {', '.join(people) or 'none'}")
