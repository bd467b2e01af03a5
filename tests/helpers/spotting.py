"""The scripts of the spotting benchmark, imported as they import each other, and recordings to score with."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from metst.regions import REGION_NAMES
from metst.timeline import Series, TimeGrid

HERE = Path(__file__).parents[2] / "benchmarks" / "spotting"


@contextmanager
def benchmark_on_the_path() -> Iterator[None]:
    """The benchmark's modules can be imported by their short names, and are forgotten afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(HERE))
    try:
        yield
    finally:
        sys.path.remove(str(HERE))
        for name in set(sys.modules) - before:
            if str(HERE) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


def recording(
    ends: list[tuple[int, int]], *, name: str = "clip", person: str = "one", tags: tuple[str, ...] = ("real",),
    amplitude: float = 0.2, frames: int = 300, values: Any = None, field: str = "table",
) -> Any:  # fmt: skip
    """A clip at 30 frames a second with movements at these frames, in three classes by turns."""
    from clips import Recording, truth_of

    grid = TimeGrid.uniform(frames, rate_hz=30.0)
    shape = (frames, len(REGION_NAMES), 2)
    motion = Series(
        grid, np.zeros(shape, np.float32) if values is None else values, np.ones(frames, bool), REGION_NAMES
    )
    labels = tuple(("negative", "positive", "surprise")[i % 3] for i in range(len(ends)))
    truth = truth_of(ends, labels=labels)
    return Recording(
        name, person, "test", tags, amplitude if ends else 0.0, motion, np.ones(shape[:2], np.float32), truth,
        field=field if ends else None,
    )  # fmt: skip
