"""Where spotting goes right and wrong: by cause, by class, by duration, by subject."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from metst.arrays import IntArray
from metst.metrics.comparison import Comparison
from metst.metrics.figures import count_figures, count_groups
from metst.metrics.matching import Events, close_pairs, overlapped
from metst.metrics.videos import Videos

_BANDS_FRAMES = (8, 16, 32, 64, 128)
"""Ends of the bands of duration, frames: doubled each time, for any rate. Set by hand."""
_BANDS_S = (0.2, 0.3, 0.5, 1.0)
"""Ends of the bands of duration, seconds: 0.5 is the usual limit of a micro-expression, the others are set by hand."""
OTHER_CLASS = "other"
"""Name of all classes that were not asked for, together."""


def false_alarm_causes(compared: Comparison) -> dict[str, int]:
    """How many false alarms there are of each cause; the causes exclude each other and cover all.

    ``duplicate`` overlaps a true interval enough, which other predictions hit; ``wrong_interval``
    shares frames with one but overlaps none enough; ``background`` shares no frame with any.
    """
    number = np.arange(len(compared.predictions))
    left, enough = ~np.isin(number, compared.hits.prediction), np.isin(number, compared.pairs.prediction)
    touching = overlapped(compared.predictions, compared.truth)
    return {
        "background": int((left & ~touching).sum()),
        "wrong_interval": int((left & touching & ~enough).sum()),
        "duplicate": int((left & enough).sum()),
    }


def miss_causes(compared: Comparison, *, iou: float) -> dict[str, int]:
    """How many true intervals are missed for each cause; the causes exclude each other and cover all.

    ``taken`` is overlapped enough by a prediction that hits another one; ``below_threshold`` would be
    overlapped enough by a prediction whose confidence is too low; ``wrong_interval`` shares frames
    with a prediction of any confidence, but none overlaps it enough; ``no_peak`` shares no frame with
    any.  Without a threshold nobody can tell what lies below it: that cause is then left out.
    """
    truth, below = compared.truth, compared.below
    number = np.arange(len(truth))
    left, enough = ~np.isin(number, compared.hits.truth), np.isin(number, compared.pairs.truth)
    touching, lower = overlapped(truth, compared.predictions), np.zeros(len(truth), dtype=bool)
    if below is not None:
        touching |= overlapped(truth, below)
        lower[close_pairs(below, truth, iou=iou).truth] = True
    causes = {
        "no_peak": left & ~touching,
        "below_threshold": left & ~enough & lower,
        "wrong_interval": left & touching & ~enough & ~lower,
        "taken": left & enough,
    }
    if below is None:
        del causes["below_threshold"]
    return {cause: int(mask.sum()) for cause, mask in causes.items()}


def spotting_by_class(compared: Comparison, *, names: Sequence[str]) -> dict[str, Any]:
    """Spotting of every class: hits and misses by the true class, false alarms by the predicted one.

    The last one, ``other``, is everything outside of the classes.
    """

    def group(events: Events) -> IntArray:
        return np.where(events.emotion < 0, len(names), events.emotion)

    counts = _counts(compared, group, size=len(names) + 1)
    return {name: count_figures(row) for name, row in zip((*names, OTHER_CLASS), counts, strict=True)}


def spotting_by_duration(compared: Comparison, *, rate_hz: float | None) -> list[dict[str, Any]]:
    """Spotting of bands of duration: hits and misses by the true interval's, false alarms by their own.

    In seconds where the frame rate is known, else in frames; bands that hold nothing are left out.
    ``from`` belongs to a band and ``below`` does not; ``below`` is None for the last band.
    """
    unit, edges = ("frames", _BANDS_FRAMES) if rate_hz is None else ("s", _BANDS_S)

    def band(events: Events) -> IntArray:
        duration = (events.offset - events.onset + 1) / (rate_hz or 1)
        return np.asarray(np.searchsorted(edges, duration, side="right"))

    counts = _counts(compared, band, size=len(edges) + 1)
    return [
        {"from": start, "below": end, "unit": unit} | count_figures(row)
        for start, end, row in zip((0, *edges), (*edges, None), counts, strict=True)
        if row.any()
    ]


def _counts(compared: Comparison, group: Callable[[Events], IntArray], *, size: int) -> IntArray:
    groups = group(compared.predictions), group(compared.truth)
    return count_groups(compared.hits, predictions=groups[0], truth=groups[1], size=size)


def spotting_by_subject(compared: Comparison, *, videos: Videos) -> dict[str, Any]:
    """Spotting of each subject that counts, with the pairs that recognition looked at and those it got right."""
    counted = np.bincount(videos.subject[compared.counted], minlength=len(videos.subjects))
    counts, confusion = compared.tally.counts, compared.tally.confusion
    return {
        videos.subjects[i]: {"videos": int(counted[i])}
        | count_figures(counts[i])
        | {"pairs": int(confusion[i].sum()), "right": int(np.trace(confusion[i]))}
        for i in np.flatnonzero(counted).tolist()
    }
