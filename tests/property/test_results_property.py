"""Whatever an analysis holds, its folder gives it back."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metst.results import FACE_CHANNELS, Analysis, Motion, Source, read_analysis, write_analysis
from metst.results.motion_file import motion_bytes, motion_of
from metst.timeline import Intervals, Series, TimeGrid

# Carriage returns are not promised to survive a CSV cell; surrogates are not text.
names = st.text(st.characters(exclude_characters="\r", exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)
float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def series(draw: st.DrawFn, grid: TimeGrid, channels: tuple[str, ...], *, inner: tuple[int, ...] = ()) -> Series:
    valid = draw(hnp.arrays(bool, len(grid)))
    values = draw(hnp.arrays(np.float32, (len(grid), len(channels), *inner), elements=float32))
    values[~valid] = np.nan
    return Series(grid, values, valid, channels)


@st.composite
def intervals(draw: st.DrawFn, *, length: int) -> Intervals:
    classes = tuple(draw(st.lists(names, min_size=1, max_size=4, unique=True)))
    count = draw(st.integers(0, 4))
    ends = sorted(
        draw(st.lists(st.tuples(*[st.integers(0, length - 1)] * 3).map(sorted), min_size=count, max_size=count))
    )
    onset, apex, last = np.array(ends, dtype=np.int64).reshape(-1, 3).T
    unit = st.floats(0, 1)
    return Intervals(
        onset,
        apex,
        last + 1,
        tuple(draw(st.sampled_from(classes)) for _ in range(count)),
        draw(hnp.arrays(np.float64, count, elements=unit)),
        draw(hnp.arrays(np.float64, (count, len(classes)), elements=unit)),
        classes,
    )


@st.composite
def motions(draw: st.DrawFn, grid: TimeGrid, regions: tuple[str, ...]) -> Motion:
    def arrays(*shape: int, most: float = 1.0) -> np.ndarray:
        elements = st.floats(0 if most == 1 else -most, most, width=32)
        return draw(hnp.arrays(np.float32, (len(grid), *shape), elements=elements))

    return Motion(
        displacement=draw(series(grid, regions, inner=(2,))),
        quality=arrays(len(regions)),
        conditions=draw(hnp.arrays(np.uint8, (len(grid), len(regions)), elements=st.integers(0, 127))),
        centres=arrays(len(regions), 2, most=8192),
        face_px=arrays(),
        head=arrays(4),
        face=draw(series(grid, FACE_CHANNELS)),
        face_quality=arrays(),
        reason=tuple(draw(st.lists(st.just("") | names, min_size=len(grid), max_size=len(grid)))),
    )


@st.composite
def analyses(draw: st.DrawFn) -> Analysis:
    length = draw(st.integers(1, 12))
    steps = draw(hnp.arrays(np.float64, length, elements=st.floats(1e-4, 10)))
    grid = TimeGrid(np.cumsum(steps))
    classes = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    number = st.floats(0, 1e6)
    return Analysis(
        source=Source(draw(names), draw(names), 640, 480, length, draw(number), draw(number), draw(names), draw(names)),
        scores=draw(series(grid, ("spot_score", *(f"p_{name}" for name in classes)))),
        motion=draw(motions(grid, ("left brow", "mouth", "upper lip"))),
        events=draw(intervals(length=length)),
        model=draw(st.dictionaries(names, names, max_size=3)),
        settings=draw(st.dictionaries(names, json_values, max_size=3)),
        problems=tuple(draw(st.lists(names, max_size=3))),
        version=draw(names),
        created=draw(names),
        seconds=draw(number),
    )


def assert_same_series(one: Series, two: Series) -> None:
    np.testing.assert_array_equal(one.grid.time_s, two.grid.time_s)
    np.testing.assert_array_equal(one.values, two.values)
    np.testing.assert_array_equal(one.valid, two.valid)
    assert one.channels == two.channels


def assert_same_motion(one: Motion, two: Motion, *, but: tuple[str, ...] = ()) -> None:
    """``but``: what no table holds, and is not known afterwards."""
    for name in ("displacement", "face"):
        assert_same_series(getattr(one, name), getattr(two, name))
    for name in ("quality", "conditions", "centres", "face_px", "head", "face_quality"):
        if name in but:
            assert np.isnan(getattr(two, name)).all()
        else:
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert one.reason == two.reason


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_file_of_motion_gives_back_all_of_it(data: st.DataObject) -> None:
    length = data.draw(st.integers(0, 12))
    regions = data.draw(st.lists(names, min_size=1, max_size=3, unique=True))
    grid = TimeGrid.uniform(length, rate_hz=25)
    motion, problems = data.draw(motions(grid, tuple(regions))), tuple(data.draw(st.lists(names, max_size=3)))
    kept = motion_bytes(motion, name=data.draw(names), problems=problems)
    again = motion_of(kept, regions=regions)
    assert_same_motion(motion, again.motion)
    assert again.problems == problems
    assert kept != motion_bytes(motion, problems=problems)
    assert motion_bytes(again.motion, problems=problems) == motion_bytes(motion, problems=problems)


@pytest.mark.parametrize("motion_format", ["csv", "safetensors"])
@given(analysis=analyses())
@settings(max_examples=60, deadline=None)
def test_write_then_read_is_the_identity(analysis: Analysis, motion_format: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_analysis(analysis, Path(folder), motion_format=motion_format)
        again = read_analysis(folder)
    assert_same_series(analysis.scores, again.scores)
    assert_same_motion(analysis.motion, again.motion, but=("face_px", "head") if motion_format == "csv" else ())
    for name in ("onset", "apex", "offset", "confidence", "probability"):
        np.testing.assert_array_equal(getattr(analysis.events, name), getattr(again.events, name))
    assert (analysis.events.label, analysis.events.classes) == (again.events.label, again.events.classes)
    for name in ("source", "model", "settings", "problems", "version", "created", "seconds", "gaps"):
        assert getattr(analysis, name) == getattr(again, name)


@given(analysis=analyses())
@settings(max_examples=60, deadline=None)
def test_gaps_are_the_frames_that_are_not_usable(analysis: Analysis) -> None:
    rebuilt = [""] * len(analysis.scores)
    for gap in analysis.gaps:
        assert gap.start < gap.stop
        rebuilt[gap.start : gap.stop] = [gap.reason] * (gap.stop - gap.start)
    assert tuple(rebuilt) == analysis.motion.reason
    np.testing.assert_array_equal(analysis.usable, [not reason for reason in rebuilt])
