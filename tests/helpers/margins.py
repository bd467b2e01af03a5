"""Golden events carry their distance to the threshold: none of them may come or go by rounding."""

from __future__ import annotations

import numpy as np

from helpers.benchmark_modules import benchmark_module
from metst.models.checkpoint import Model, load_model
from metst.results import Analysis

rounding = benchmark_module("rounding")

STEP = 1e-4
"""Share by which each number of motion and weights is changed: 1,700 times what storing it with 32 bits may change."""

FACTOR = 10
"""How many times farther than it moves by that each peak must be from the threshold; the least that was seen is 80."""


def assert_no_event_hangs_on_rounding(analysis: Analysis, *, model: Model | None = None) -> None:
    """Motion and weights that are changed at random, by a share of at most `STEP`, give the same events and no others.

    And no peak, of an event or of what is none, is nearer to the threshold than `FACTOR` times what peaks move by that.
    """
    __tracebackhide__ = True
    model = model or load_model()
    changed = rounding.spread(analysis.motion, model=model, step=STEP, runs=2)
    assert (changed.stay, changed.others) == (len(analysis.events), 0), f"events hang on rounding: {changed}"
    nearest = float(np.abs(rounding.distances(analysis.scores, settings=model.info.decode)).min(initial=np.inf))
    assert nearest >= FACTOR * changed.peak, f"a peak is {nearest:.2g} (log-odds) from the threshold: {changed}"
