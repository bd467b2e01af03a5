"""An analysis in Python: short in words, harmless as HTML, tables as data frames, a drawing, a folder and back."""

import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import metst
from helpers.analyses import CLASSES, make_analysis
from metst.errors import DataError, UsageError
from metst.results import Analysis, Measured
from metst.timeline import Intervals, TimeGrid

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{} $x$ {0}"


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return make_analysis(duration_s=40, events=4, gaps=((30.0, 32.0, "no face"),))


# Words


@pytest.mark.parametrize(("duration_s", "events"), [(2.0, 0), (20.0, 1), (7200.0, 60)])
def test_whatever_its_length_an_analysis_is_told_in_a_line(duration_s: float, events: int) -> None:
    long = make_analysis(duration_s=duration_s, events=events)
    parts = (long, long.motion, Measured(long.motion), long.scores, long.motion.displacement, long.grid, long.events)
    for each in parts:
        assert len(repr(each)) < 200
        assert "\n" not in repr(each)
    assert long.source.name in repr(long)
    assert str(len(long.scores)) in repr(long)
    assert f"{len(long.events)} candidate" in repr(long)


def test_empty_things_have_words_too() -> None:
    assert repr(TimeGrid(np.zeros(0))) == "TimeGrid(no frames)"
    assert repr(Intervals.empty(CLASSES)) == "Intervals(0 events)"
    assert repr(TimeGrid(np.zeros(1))) == "TimeGrid(1 frames, 0.000 to 0.000 s)"


# HTML


class Tags(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_notebook_shows_a_small_table_and_no_picture() -> None:
    page = make_analysis(duration_s=7200, events=60)._repr_html_()
    shown = Tags(page)
    assert len(page) < 6000
    assert shown.tags.count("tr") == 1 + 10
    assert "and 50 more" in shown.text
    assert set(shown.tags) <= {"div", "b", "br", "small", "table", "thead", "tbody", "tr", "th", "td", "p"}
    assert shown.attributes <= {"style"}


def test_what_came_from_files_is_text(analysis: Analysis) -> None:
    events = analysis.events
    labels = tuple(HOSTILE if label == CLASSES[0] else label for label in events.label)
    classes = (HOSTILE, *events.classes[1:])
    hostile = replace(
        analysis,
        source=replace(analysis.source, name=HOSTILE),
        events=replace(events, classes=classes, label=labels),
        model={"name": HOSTILE},
        problems=(HOSTILE,),
    )
    shown, plain = Tags(hostile._repr_html_()), Tags(analysis._repr_html_())
    assert {*shown.tags} == {*plain.tags}
    assert shown.text.count(HOSTILE) == 3 + labels.count(HOSTILE)


def test_no_candidate_is_said() -> None:
    assert "No movement candidate" in make_analysis(events=0)._repr_html_()


# Tables


def test_events_and_frames_are_those_of_the_files(analysis: Analysis, tmp_path: Path) -> None:
    folder = analysis.save(tmp_path / "results")
    for frame, name in ((analysis.events(), "events"), (analysis.frames(), "frames")):
        written = pd.read_csv(folder / f"{name}.csv")
        assert list(frame.columns) == list(written.columns)
        for column in frame:
            mine, theirs = frame[column], written[column]
            if column == "conditions":
                assert mine.tolist() == theirs.fillna("").tolist()
            elif mine.dtype.kind == "f":
                np.testing.assert_allclose(mine, theirs, rtol=1e-7)
            else:
                assert mine.tolist() == theirs.tolist()


def test_events_stay_what_programs_read(analysis: Analysis) -> None:
    events = analysis.events
    assert isinstance(events, Intervals)
    table = events()
    assert (table["onset_frame"] - 1).tolist() == events.onset.tolist()
    assert table["offset_frame"].tolist() == events.offset.tolist()
    np.testing.assert_allclose(table["onset_s"], analysis.grid.time_s[events.onset], atol=1e-6)
    # On a recording of other times the same frames have other seconds.
    late = replace(analysis, scores=replace(analysis.scores, grid=TimeGrid(analysis.grid.time_s + 5)))
    np.testing.assert_allclose(late.events()["onset_s"], table["onset_s"] + 5, atol=2e-6)


def test_events_of_no_recording_have_frames_alone() -> None:
    assert list(Intervals.empty(CLASSES)().columns) == [
        "event", "onset_frame", "apex_frame", "offset_frame", "label", "confidence", *(f"p_{name}" for name in CLASSES)
    ]  # fmt: skip


def test_what_is_done_to_a_table_is_not_done_to_the_analysis(analysis: Analysis) -> None:
    onset, score = analysis.events.onset.copy(), analysis.scores.values.copy()
    events, frames = analysis.events(), analysis.frames()
    events.loc[:, "onset_frame"] = 0
    events.loc[:, "confidence"] = 0.0
    frames.loc[:, "spot_score"] = 0.0
    np.testing.assert_array_equal(analysis.events.onset, onset)
    assert (analysis.events.confidence > 0).all()
    np.testing.assert_array_equal(analysis.scores.values, score)


def test_frames_with_motion_have_that_of_each_region(analysis: Analysis) -> None:
    frames = analysis.frames(motion=True)
    assert frames.columns.is_unique
    np.testing.assert_array_equal(frames["left_brow_inner_y"], analysis.motion.displacement.values[:, 1, 1])
    assert len(frames) == len(analysis.scores)


def test_without_pandas_one_line_says_what_to_do(analysis: Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    for ask in (analysis.events, analysis.frames):
        with pytest.raises(UsageError, match=r"pandas: pip install 'metst\[pandas\]'") as caught:
            ask()
        assert "\n" not in str(caught.value)


# Drawing


@pytest.fixture
def pyplot(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    mpl = pytest.importorskip("matplotlib", reason="matplotlib, of the extra plot, is not installed")
    mpl.use("Agg")
    yield
    mpl.pyplot.close("all")


@pytest.mark.usefixtures("pyplot")
def test_the_drawing_has_score_candidates_and_gaps(analysis: Analysis) -> None:
    axes = analysis.plot()
    curve = axes.lines[0]
    np.testing.assert_array_equal(curve.get_xdata(), analysis.grid.time_s)
    np.testing.assert_array_equal(curve.get_ydata(), analysis.scores.values[:, 0])
    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]
    assert len(spans) == len(analysis.gaps) + len(analysis.events)
    assert spans[0] == pytest.approx((30.0, 32.0), abs=1e-6)
    for span, onset in zip(spans[1:], analysis.events.onset, strict=True):
        assert span[0] == pytest.approx(analysis.grid.time_s[onset])
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    assert named == ["score", "threshold", "not usable", *dict.fromkeys(analysis.events.label)]


@pytest.mark.usefixtures("pyplot")
def test_it_draws_where_it_is_told_and_takes_names_as_they_are(analysis: Analysis) -> None:
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2)
    named = replace(analysis, source=replace(analysis.source, name="a $\\frac$ b.mp4"))
    assert named.plot(below) is below
    assert not above.lines
    figure.savefig(io.BytesIO())
    assert below.get_title() == "a $\\frac$ b.mp4"


@pytest.mark.usefixtures("pyplot")
def test_a_recording_of_one_frame_is_drawn() -> None:
    make_analysis(duration_s=1 / 30, events=0).plot().figure.savefig(io.BytesIO())


def test_without_matplotlib_one_line_says_what_to_do(analysis: Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"Matplotlib: pip install 'metst\[plot\]'"):
        analysis.plot()


# Folders


@pytest.mark.parametrize("motion_format", ["csv", "safetensors"])
def test_what_is_saved_is_read(analysis: Analysis, tmp_path: Path, motion_format: str) -> None:
    folder = analysis.save(tmp_path / "all" / "one", motion_format=motion_format)
    assert folder == tmp_path / "all" / "one"
    for place in (folder, str(folder), tmp_path / "all"):
        again = metst.read(place)
        assert again.source == analysis.source
        pd.testing.assert_frame_equal(again.frames(motion=True), analysis.frames(motion=True))
        pd.testing.assert_frame_equal(again.events(), analysis.events())


def test_of_several_one_must_be_named(analysis: Analysis, tmp_path: Path) -> None:
    for name in ("one", "two"):
        analysis.save(tmp_path / name)
    with pytest.raises(DataError, match=r"has 2 analyses: give the folder of one of them \(one, two\)"):
        metst.read(tmp_path)


def test_a_folder_without_any_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"analysis\.json"):
        metst.read(tmp_path)
