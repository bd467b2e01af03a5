"""What papers say a data set holds, beside what was found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from metst.datasets.types import DataSet
from metst.labels import EMOTIONS
from metst.published.facts import COUNTS, MICRO_VIDEOS, SUBJECTS, VIDEOS


@dataclass(frozen=True)
class Count:
    """A published count beside the one found.

    Parameters
    ----------
    what : str
        What is counted.
    published : tuple of int
        The lowest and the highest number in print.
    found : int
        What this copy holds.
    """

    what: str
    published: tuple[int, int]
    found: int

    @property
    def agrees(self) -> bool:
        """Whether the count is one of those in print."""
        low, high = self.published
        return low <= self.found <= high

    @property
    def difference(self) -> str:
        """How much was found too little or too much, as text; empty if the counts agree."""
        low, high = self.published
        if self.agrees:
            return ""
        return f"{low - self.found} too few" if self.found < low else f"{self.found - high} too many"


def counts(data_set: DataSet) -> dict[str, int]:
    """Everything that is counted, by name: subjects, videos, labels by kind, micro-expressions by class."""
    micro = data_set.labels_of("micro")
    classes = Counter(label.emotion_class for label in micro)
    rates = Counter(video.rate_hz for video in data_set.videos)
    result = {
        "subjects": len(data_set.subjects),
        SUBJECTS: len({label.subject for label in micro}),
        VIDEOS: len(data_set.videos),
        MICRO_VIDEOS: len({(label.subject, label.video) for label in micro}),
        "micro-expressions": len(micro),
        "macro-expressions": len(data_set.labels_of("macro")),
        "blinks": len(data_set.labels_of("blink")),
        **{f"micro-expressions, {name}": classes[name] for name in EMOTIONS},
        "micro-expressions without a class": classes[None],
    }
    if data_set.kind == "megc":
        result |= {f"videos at {rate:g} frames per second": number for rate, number in rates.items() if rate}
    return result


def compare(data_set: DataSet) -> tuple[Count, ...]:
    """Published counts of a data set beside those found."""
    found = counts(data_set)
    return tuple(Count(what, numbers, found.get(what, 0)) for what, numbers in COUNTS[data_set.kind].items())
