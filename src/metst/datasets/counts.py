"""What papers say a data set holds, beside what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from metst.datasets.types import DataSet, Kind
from metst.labels import EMOTIONS


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


_SUBJECTS, _MICRO_VIDEOS, _VIDEOS = "subjects with micro-expressions", "videos with micro-expressions", "videos"
_NAMES = {"micro": "micro-expressions", "macro": "macro-expressions", "blink": "blinks"}

PUBLISHED: Mapping[Kind, Mapping[str, tuple[int, int]]] = {
    "samm-lv": {
        _SUBJECTS: (29, 29),
        _MICRO_VIDEOS: (79, 79),
        _VIDEOS: (147, 147),
        "macro-expressions": (343, 343),
        "micro-expressions": (159, 159),
        "micro-expressions, negative": (92, 92),
        "micro-expressions, positive": (26, 26),
        "micro-expressions, surprise": (15, 15),
        "micro-expressions, others": (26, 26),
    },
    "casme3": {
        _SUBJECTS: (94, 94),
        _MICRO_VIDEOS: (462, 463),
        "micro-expressions": (853, 860),
        "macro-expressions": (3346, 3346),
        "blinks": (841, 841),
    },
    "casme2": {"macro-expressions": (300, 300), "micro-expressions": (57, 57)},
    "smic-hs": {"micro-expressions": (157, 157)},
    "smic-vis": {"micro-expressions": (71, 71)},
    "smic-nir": {"micro-expressions": (71, 71)},
    "megc": {"videos at 200 frames per second": (10, 10), "videos at 30 frames per second": (20, 20)},
    "manifest": {},
}
"""Per data set, lowest and highest count in print (they differ where protocols read faulty rows differently)."""

REMARKS: Mapping[Kind, str] = {
    "casme3": (
        "the sheet has 860 rows; protocols in print use 853 to 858, as they read the faulty ones differently "
        "(the code of ME-TST drops rows with onset 0 and takes the others as written)"
    ),
}


def counts(data_set: DataSet) -> dict[str, int]:
    """Everything that is counted, by name: subjects, videos, labels by kind, micro-expressions by class."""
    micro = data_set.labels_of("micro")
    classes = Counter(label.emotion_class for label in micro)
    rates = Counter(video.rate_hz for video in data_set.videos)
    result = {
        "subjects": len(data_set.subjects),
        _SUBJECTS: len({label.subject for label in micro}),
        _VIDEOS: len(data_set.videos),
        _MICRO_VIDEOS: len({(label.subject, label.video) for label in micro}),
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
    return tuple(Count(what, numbers, found.get(what, 0)) for what, numbers in PUBLISHED[data_set.kind].items())
