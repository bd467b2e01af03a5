"""Two layers of each of some recordings in, how well their coders agree out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metst.coding.layers import Layer
from metst.metrics.agreement import MATCH_IOU, MISSING, Coded, Pair, agreement
from metst.timeline import TimeGrid


@dataclass(frozen=True, eq=False)
class Compared:
    """One recording as two coders saw it; without a ``grid`` nobody knows how long it is, and when its frames are."""

    one: Layer
    other: Layer
    grid: TimeGrid | None = None


def layers_agreement(recordings: Sequence[Compared], *, iou: float = MATCH_IOU) -> dict[str, Any]:
    """How well two coders agree; see :func:`metst.metrics.agreement.agreement`.

    Parameters
    ----------
    recordings : sequence of Compared
        All that both saw.
    iou : float
        Lowest IoU at which two events are one.

    Returns
    -------
    dict
        As there, and the names of both: ``coder_a, coder_b``.

    Raises
    ------
    UsageError
        No such IoU, or no recording.
    """
    pairs = [
        Pair(
            _coded(each.one),
            _coded(each.other),
            frames=0 if each.grid is None else len(each.grid),
            time_s=None if each.grid is None else each.grid.time_s,
        )
        for each in recordings
    ]
    found = agreement(pairs, iou=iou)
    return {"coder_a": recordings[0].one.coder, "coder_b": recordings[0].other.coder, **found}


def _coded(layer: Layer) -> Coded:
    events = layer.events
    return Coded(
        np.array([each.onset for each in events], dtype=np.int64),
        np.array([MISSING if each.apex is None else each.apex for each in events], dtype=np.int64),
        np.array([each.offset for each in events], dtype=np.int64),
        tuple(each.label for each in events),
    )
