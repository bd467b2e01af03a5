"""Whatever coders say of a recording, a file of another program gives it back, to the frame."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metst.coding.layers import Coding, Layer, LayerEvent, coder_of, label_of, note_of
from metst.formats.conversion import FORMATS
from metst.results import Source
from metst.timeline import TimeGrid

# What breaks files: markup of each, formulas, what reads like a number, a gap or a name of something else.
AWKWARD = ("a<b & 'c' \"d\" --> e", "]]>", "<v x>y</v>", "=1+1", "-2", "n/a", "apex", "12.5", "null", "1,5;2\t3", "\\n",
           "NOTE", "ä é 😀 表情", "#N/A", "sep=;", "'+1", "STYLE", "{}", "text\u2028text", "None", "True", "1e5",
           "apex (2) / note", "item [2]:", "intervals [1]", '"IntervalTier"', "! 3 <exists>",
           '""', "&amp;lt;", "_x0041_")  # fmt: skip

texts = st.sampled_from(AWKWARD) | st.text(max_size=12)
units = st.lists(st.sampled_from(["AU4", "12", "R12C", "25"]), max_size=3).map(tuple)


@st.composite
def events(draw: st.DrawFn, frames: int) -> LayerEvent:
    onset = draw(st.integers(0, frames - 1))
    offset = draw(st.integers(onset + 1, frames))
    return LayerEvent(
        onset,
        offset,
        label_of(draw(texts)),
        apex=draw(st.none() | st.integers(onset, offset - 1)),
        confidence=draw(st.none() | st.floats(0, 1)),
        note=note_of(draw(texts)),
        action_units=draw(units),
    )


@st.composite
def codings(draw: st.DrawFn) -> Coding:
    """Layers of a recording whose frames last longer than a millisecond, each as long as it likes."""
    steps = draw(
        st.lists(st.sampled_from([0.0011, 1 / 30, 0.04, 1.0]) | st.floats(0.0011, 0.2), min_size=1, max_size=12)
    )
    grid = TimeGrid(draw(st.sampled_from([0.0, 0.08]) | st.floats(0, 10)) + np.cumsum([0.0, *steps]))
    coders = draw(st.lists(texts.map(coder_of), max_size=3, unique=True))
    layers = tuple(Layer(coder, tuple(draw(st.lists(events(len(grid)), max_size=4)))) for coder in coders)
    source = Source("a b&c.mp4", "a b&c.mp4", 64, 48, len(grid), grid.duration_s, 30.0, "h264")
    return Coding(source, grid, layers, "2026-11-25T10:00:00+00:00", ("negative", "positive"))


KEEPS_EMPTY = {"elan", "textgrid", "boris", "label-studio", "webvtt"}
"""Formats that also hold whose layers have no events."""


@pytest.fixture(autouse=True, scope="module")
def no_flushing() -> Iterator[None]:
    """Nobody pulls the plug here: waiting for the disk would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metst.storage.os.fsync", lambda _descriptor: None)
        yield


@pytest.mark.parametrize("name", FORMATS)
@settings(deadline=None)  # the disk takes the time it takes
@given(coding=codings())
def test_what_is_written_is_read(name: str, coding: Coding) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{FORMATS[name].suffix}"
        FORMATS[name].write(coding, path)
        found = FORMATS[name].read(path, video=coding.source.name, grid=coding.grid)
    expected = {layer.coder: layer for layer in coding.layers if layer.events or name in KEEPS_EMPTY}
    if not expected and name not in KEEPS_EMPTY:
        expected = {"file": Layer("file")}  # somebody, called like the file, saw nothing
    assert {layer.coder: layer for layer in found.layers} == expected
    assert not found.notes
