"""How much of a recording could be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_LEAST_SHARE = 0.5
"""Share of usable frames below which a recording is called a problem: the half of them.  Set by hand."""


def usable_problem(reasons: Sequence[str], *, name: str) -> str | None:
    """One line when less than half of the frames could be used, with the main reason; else None.

    Parameters
    ----------
    reasons : sequence of T str
        Why a frame could not be used; empty when it could.
    name : str
        What the recording is called.
    """
    counts = Counter(reason for reason in reasons if reason)
    usable = 1 - counts.total() / len(reasons) if reasons else 0.0
    if usable >= _LEAST_SHARE or not counts:
        return None
    (main, count), *_ = counts.most_common(1)
    return f"{name}: only {usable:.0%} of the frames could be used; main reason: {main} ({count / len(reasons):.0%})"
