"""Shares, and candidates in two versions of one clip: which of them are the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from metst.metrics import interval_iou, match_intervals
from metst.timeline import Intervals

SAME_IOU = 0.3
"""Two candidates of one moment in two versions of a clip are the same from this overlap on; set by hand."""


@dataclass(frozen=True)
class Share:
    """How many of how many, and what is counted."""

    of: str
    part: int
    whole: int

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.part / self.whole if self.whole else float("nan")


@dataclass(frozen=True)
class Exchange:
    """Candidates in one version of clips and in another: how many are in both."""

    first: int
    second: int
    kept: int

    @property
    def kept_share(self) -> Share:
        """Of the first, those that the second has too."""
        return Share("kept", self.kept, self.first)

    @property
    def gained_share(self) -> Share:
        """Of the second, those that the first does not have."""
        return Share("gained", self.second - self.kept, self.second)


def exchange(first: Intervals, second: Intervals) -> Exchange:
    """Of the candidates of one version those that the other has as well; both have the same frames."""
    overlap = interval_iou(*(np.stack([each.onset, each.offset - 1], axis=1) for each in (first, second)))
    return Exchange(len(first), len(second), len(match_intervals(overlap, threshold=SAME_IOU)))


def together(several: Iterable[Exchange]) -> Exchange:
    """Those of several clips as one."""
    each = list(several)
    return Exchange(sum(one.first for one in each), sum(one.second for one in each), sum(one.kept for one in each))
