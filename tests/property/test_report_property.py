"""Axes of pages and videos: round marks, each with words of its own, whatever the length and the rate."""

import re
from collections.abc import Sequence
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from helpers.analyses import make_analysis
from metst.report import strip
from metst.report.movement import recent_movement
from metst.report.plots import draw_close_up, timeline_rows
from metst.report.ticks import Tick, apart, clock_ticks, number_ticks
from metst.results import Analysis

MOST = st.integers(4, 15)
STARTS_S = st.one_of(st.just(0.0), st.floats(-5, 20_000))
SPANS_S = st.one_of(st.floats(1e-3, 3), st.floats(3, 60), st.floats(60, 40_000))


def seconds(text: str) -> float:
    """What a clock says: the inverse of what is written, by another way."""
    sign, text = (-1, text[1:]) if text.startswith("-") else (1, text)
    return sign * sum(float(part) * 60**place for place, part in enumerate(reversed(text.split(":"))))


def check(ticks: Sequence[Tick], *, low: float, high: float, most: int) -> None:
    """Inside, few but not too few, equally spaced, each in words of its own."""
    values = np.array([tick.value for tick in ticks])
    slack = 1e-6 * (high - low) + 1e-9 * max(abs(low), abs(high))
    assert 1 <= len(ticks) <= most
    assert low - slack <= values.min()
    assert values.max() <= high + slack
    assert len({tick.text for tick in ticks}) == len(ticks)
    if len(ticks) > 1:
        steps = np.diff(values)
        assert steps.min() == pytest.approx(steps.max(), rel=1e-6, abs=4 * np.spacing(max(abs(low), abs(high))))
        assert values[0] - steps[0] < low + slack
        assert values[-1] + steps[0] > high - slack


@given(low=STARTS_S, span=SPANS_S, most=MOST)
def test_times_are_round_distinct_and_say_what_they_mark(low: float, span: float, most: int) -> None:
    ticks = clock_ticks(low, low + span, most=most)
    check(ticks, low=low, high=low + span, most=most)
    assert [seconds(tick.text) for tick in ticks] == pytest.approx([tick.value for tick in ticks], abs=1e-9)
    if len(ticks) > 1:
        step = ticks[1].value - ticks[0].value
        # A step on a clock divides a minute, an hour or a day, or is a number of days.
        whole = (60 / step, 3600 / step, 86_400 / step, step / 86_400) if step > 0.9 else (1 / step,)
        assert any(round(count) and count == pytest.approx(round(count), rel=1e-6) for count in whole)


@given(
    low=st.floats(-1e6, 1e6),
    span=st.one_of(st.floats(1e-4, 1), st.floats(1, 1e7)),
    most=MOST,
)
def test_numbers_are_round_distinct_and_say_what_they_mark(low: float, span: float, most: int) -> None:
    assume(low + span > low)
    ticks = number_ticks(low, low + span, most=most, unit=" %")
    check(ticks, low=low, high=low + span, most=most)
    assert [float(tick.text.removesuffix(" %")) for tick in ticks] == pytest.approx([tick.value for tick in ticks])
    if len(ticks) > 1:
        step = ticks[1].value - ticks[0].value
        first_figure = step / 10 ** np.floor(np.log10(step) + 1e-6)
        assert any(first_figure == pytest.approx(figure, rel=1e-4) for figure in (1, 2, 5))


@given(high=st.integers(1, 500), most=MOST)
def test_what_is_counted_has_no_marks_between_whole_numbers(high: int, most: int) -> None:
    assert all(re.fullmatch(r"\d+", tick.text) for tick in number_ticks(1, high, most=most, whole=True))


@given(levels=st.lists(st.floats(-7, 1), min_size=1, max_size=30), least=st.floats(0.01, 2))
def test_given_marks_do_not_lie_on_each_other(levels: list[float], least: float) -> None:
    ticks = [Tick(level, f"{100 * np.exp(level):.3g}") for level in sorted(levels)]
    kept = apart(ticks, least=least)
    assert kept[0] == ticks[0]
    assert all(after.value - before.value >= least for before, after in pairwise(kept))
    assert all(before.text != after.text for before, after in pairwise(kept))


def times_below(svg: str) -> list[float]:
    """What the time axis of a drawing says, seconds."""
    texts = [element.text or "" for element in ElementTree.fromstring(svg).iter("text")]
    clocks = [text for text in texts if re.fullmatch(r"(?:\d+:)?\d+:\d\d(?:\.\d+)?", text)]
    assert len(set(clocks)) == len(clocks), clocks
    return [seconds(text) for text in clocks]


LENGTHS = [(0.5, 30.0), (0.5, 1000.0), (0.3, 15.0), (3.0, 30.0), (3.0, 200.0), (59.0, 25.0), (61.0, 29.97),
           (150.0, 30.0), (1200.0, 5.0), (4 * 3600.0, 5.0)]  # fmt: skip
"""Seconds, and frames per second."""


@pytest.fixture(params=LENGTHS, ids=str, scope="module")
def analysis(request: pytest.FixtureRequest) -> Analysis:
    duration_s, rate_hz = request.param
    return make_analysis(duration_s=duration_s, rate_hz=rate_hz, events=1 if duration_s >= 3 else 0)


def test_rows_and_close_ups_of_any_length_have_distinct_times(analysis: Analysis) -> None:
    movement = recent_movement(analysis.motion.displacement)
    rows = list(timeline_rows(analysis, movement=movement, linked=()))
    drawings = [(row.svg, row.start_s, row.stop_s) for row in rows]
    drawings += [
        (draw_close_up(analysis, event), 0.0, analysis.grid.duration_s) for event in range(len(analysis.events))
    ]
    for svg, start_s, stop_s in drawings:
        times_s = times_below(svg)
        assert len(times_s) >= 2
        assert start_s - 1e-6 <= min(times_s) <= max(times_s) <= stop_s + 1e-6
        assert np.diff(times_s) == pytest.approx(np.diff(times_s)[0])


def test_the_strip_of_the_video_has_distinct_times(analysis: Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(strip, "write", lambda image, text, **where: written.append(text))
    strip.ScoreStrip(analysis, width=800, size=13).at(len(analysis.grid) // 2)
    times_s = [seconds(text) for text in written if ":" in text]
    assert len(times_s) >= 2
    assert len(set(times_s)) == len(times_s)
