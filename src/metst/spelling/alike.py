"""Findings of one kind that repeat are said once, with their number and the first rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

ROWS_SHOWN = 3
"""Rows named of findings of one kind; up to so many findings get a line each.  Enough to find them in a sheet."""

_VALUES = re.compile(r"""'[^']*'|"[^"]*"|[+-]?\d+(?:\.\d+)?""")  # what differs between findings of one kind

Finding = TypeVar("Finding")


def without_values(text: str) -> str:
    """A finding's words without the numbers and quoted values in them: alike for findings of one kind."""
    return _VALUES.sub("*", text)


def grouped(findings: Iterable[Finding], *, kind: Callable[[Finding], Hashable]) -> list[list[Finding]]:
    """Findings of one kind together where there are many, in order of the first of each; the others stay alone."""
    listed = [(kind(finding), finding) for finding in findings]
    number = Counter(what for what, _ in listed)
    groups: dict[Hashable, list[Finding]] = {}
    for place, (what, finding) in enumerate(listed):
        groups.setdefault(what if number[what] > ROWS_SHOWN else ("alone", place), []).append(finding)
    return list(groups.values())


def first_rows(places: Sequence[object]) -> str:
    """The first places, and how many more there are."""
    shown = ", ".join(map(str, places[:ROWS_SHOWN]))
    return shown if len(places) <= ROWS_SHOWN else f"{shown} and {len(places) - ROWS_SHOWN} more"


def together(lines: Iterable[str]) -> Iterator[str]:
    """Lines like ``place: what``; many that say the same are one, with their number and the first places."""
    for group in grouped(lines, kind=lambda line: without_values(line.partition(": ")[2] or line)):
        places = first_rows([line.partition(": ")[0] for line in group])
        yield f"{group[0]} [{len(group)} like this: {places}]" if len(group) > 1 else group[0]
