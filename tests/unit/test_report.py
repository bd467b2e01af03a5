"""The report: self-contained, harmless whatever it is told, honest about what it shows, unrecognisable faces."""

import base64
import hashlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.analyses import ASTRONAUT_FACE as BOX
from helpers.analyses import make_analysis
from metst.errors import OutputError, VideoError
from metst.regions import REGIONS
from metst.report import cards, write_report
from metst.report.facemap import drawn_landmarks, region_centres
from metst.report.html import MOST_CARDS, MOST_GAPS
from metst.report.movement import LAG_S, bin_starts, binned, onset_to_apex, recent_movement, region_groups
from metst.report.plots import MOST_ROWS, row_count
from metst.report.thumbnails import WIDTH, Face, thumbnail
from metst.report.wording import clock, direction
from metst.results import Analysis, Gap, event_table
from metst.results.motion import Motion
from metst.results.uncertainty import movement_uncertainty
from metst.timeline import Intervals, Series, TimeGrid

FACE = Face(BOX[:4], (BOX[4:6], BOX[6:8]))
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}"


class Page(HTMLParser):
    """Elements, texts and tables of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "img", "link"):
            self._open.append(tag)
        self.texts.setdefault(tag, []).append("")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def words(self) -> str:
        return " ".join(self.texts["body"][0].split())


def written(analysis: Analysis, folder: Path, **options: Any) -> str:
    write_report(analysis, folder / "report.html", **options)
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return np.asarray(pytest.importorskip("skimage.data").astronaut())


@pytest.fixture
def video(monkeypatch: pytest.MonkeyPatch, portrait: np.ndarray, tmp_path: Path) -> Path:
    """A path for which every frame is the portrait."""

    def read(path: Path, *, groups: Iterable[list[float]], rate_hz: float | None) -> Iterator[list[np.ndarray]]:
        return ([portrait for _ in times_s] for times_s in groups)

    monkeypatch.setattr(cards, "read_colour_groups", read)
    return tmp_path / "clip.mp4"


def pictures(page: Page) -> list[np.ndarray]:
    encoded = [image["src"].removeprefix("data:image/jpeg;base64,") for image in page.all("img")]
    return [cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR_RGB) for text in encoded]


# Self-contained and harmless


def test_the_page_loads_nothing(tmp_path: Path, video: Path) -> None:
    page = Page(written(make_analysis(), tmp_path, video=video))
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "xlink:href", "srcset", "poster", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:image/")), (tag, name)
        for value in attributes.values():
            assert all(address.startswith("#") for address in re.findall(r"url\(\s*[\"']?([^)]*)", value))
    assert "@import" not in page.texts["style"][0]
    assert "url(" not in page.texts["style"][0]


def test_the_policy_lets_run_only_the_script_of_the_page(tmp_path: Path) -> None:
    page = Page(written(make_analysis(), tmp_path))
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    scripts = [text for text, kind in zip(page.texts["script"], page.all("script"), strict=True) if "type" not in kind]
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"


def hostile_analysis() -> Analysis:
    analysis = make_analysis(name=HOSTILE, gaps=((8.0, 14.0, HOSTILE),), problems=(HOSTILE,))
    events, scores = analysis.events, analysis.scores
    classes = (HOSTILE, *events.classes[1:])
    labels = tuple(HOSTILE if label == events.classes[0] else label for label in events.label)
    return replace(
        analysis,
        events=replace(events, classes=classes, label=labels),
        scores=replace(scores, channels=("spot_score", *(f"p_{name}" for name in classes))),
        model={HOSTILE: HOSTILE, "name": HOSTILE, "trained_on": HOSTILE},
        settings={HOSTILE: HOSTILE},
        version=HOSTILE,
        created=HOSTILE,
    )


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    plain = Page(written(make_analysis(gaps=((8.0, 14.0, "x"),)), tmp_path))
    page = Page(written(hostile_analysis(), tmp_path))
    assert page.texts["h1"] == [HOSTILE]
    assert len(page.all("script")) == len(plain.all("script")) == 2
    assert page.all("img") == []
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert HOSTILE in page.words()
    assert "49" not in page.texts["h1"][0]


def test_every_reference_inside_the_page_has_one_target(tmp_path: Path) -> None:
    analysis = make_analysis(duration_s=130, events=6, gaps=((30, 35, "no face"),))
    page = Page(written(analysis, tmp_path))
    identifiers = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert set(identifiers.values()) == {1}
    values = [value for _, attributes in page.elements for value in attributes.values()]
    used = {value[1:] for value in values if re.fullmatch(r"#[\w-]+", value)}
    used |= {name for value in values for name in re.findall(r"url\(#([^)]+)\)", value)}
    assert used <= set(identifiers)
    assert {f"event-{number}" for number in range(1, len(analysis.events) + 1)} <= used


def test_equal_analyses_give_equal_pages(tmp_path: Path, video: Path) -> None:
    one = written(make_analysis(), tmp_path, video=video)
    assert one == written(make_analysis(), tmp_path, video=video)


def test_ten_minutes_are_less_than_a_megabyte(tmp_path: Path) -> None:
    assert len(written(make_analysis(duration_s=600, events=30), tmp_path).encode()) < 1_000_000


def test_colours_come_from_the_style_sheet(tmp_path: Path) -> None:
    text = written(make_analysis(gaps=((8.0, 9.0, "no face"),)), tmp_path)
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert "<path" in drawings
    assert not re.search(r"(?:fill|stroke):\s*(?!var\(|url\(|none)", drawings)
    used = set(re.findall(r"var\((--[\w-]+)\)", text))
    style = text[text.index("<style>") : text.index("</style>")]
    assert used - {"--own"} <= set(re.findall(r"(--[\w-]+):", style))


def test_importing_the_report_draws_nothing_in() -> None:
    code = "import sys, metst.report; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"cv2", "av", "torch"} & set(done.stdout.split())


# What it says


def test_it_says_how_many_events_the_confidence_takes_for_granted(tmp_path: Path) -> None:
    decode = {"peak_threshold": 0.5, "smooth_s": 0.1, "calibrated_per_min": 8.24}
    told = written(make_analysis(events=2, decode=decode), tmp_path)
    assert "where 8.24 of them per minute are to be expected" in told
    other = written(make_analysis(events=2, decode=decode | {"expected_per_min": 1.5}), tmp_path)
    assert "where 1.5 of them per minute are to be expected" in other
    assert "to be expected" not in written(make_analysis(events=2), tmp_path)
    unknown = written(make_analysis(events=2, decode=decode | {"calibrated_per_min": None}), tmp_path)
    assert "for the rate that the model was fitted on, which it does not say" in unknown


def test_it_says_in_one_line_at_which_operating_point_the_model_stood(tmp_path: Path) -> None:
    points = {"quiet": 0.7, "balanced": 0.5, "sensitive": 0.3}
    own = {"peak_threshold": 0.7, "smooth_s": 0.1, "operating_points": points, "operating_point": "quiet"}
    words = Page(written(make_analysis(decode=own), tmp_path)).words()
    assert (
        "Operating point: quiet, threshold 0.7. Of false candidates there are balanced about 3.3 times as many,"
        " sensitive about 10 times as many." in words
    )
    plain = {"peak_threshold": 0.5, "smooth_s": 0.1, "operating_points": {}, "operating_point": "balanced"}
    words = Page(written(make_analysis(decode=plain), tmp_path)).words()
    assert "Operating point: balanced, the model's own threshold 0.5." in words
    assert "Operating point" not in Page(written(make_analysis(), tmp_path)).words()


def test_the_most_confident_candidates_come_first_and_keep_their_numbers(tmp_path: Path) -> None:
    analysis = make_analysis(duration_s=90, events=5)
    confidence = np.array([0.2, 0.9, 0.4, 0.9, 0.1])
    analysis = replace(analysis, events=replace(analysis.events, confidence=confidence))
    page = Page(written(analysis, tmp_path))
    assert [row[0] for row in page.rows if len(row) > 8 and row[0].isdigit()] == ["2", "4", "3", "1", "5"]
    assert [article["id"] for article in page.all("article")] == [f"event-{number}" for number in (2, 4, 3, 1, 5)]
    np.testing.assert_array_equal(event_table(analysis)["event"], [1, 2, 3, 4, 5])


def test_the_table_is_the_events_table(tmp_path: Path) -> None:
    analysis = make_analysis(duration_s=90, events=5)
    page, table = Page(written(analysis, tmp_path)), event_table(analysis)
    records = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    records.sort(key=lambda event: -event["confidence"])
    head = next(row for row in page.rows if row[:2] == ["#", "class"])
    rows = [dict(zip(head, row, strict=True)) for row in page.rows if len(row) == len(head) and row != head]
    assert len(rows) == len(records) == 5
    for row, event in zip(rows, records, strict=True):
        minutes, seconds = row["apex"].split(":")
        assert 60 * int(minutes) + float(seconds) == pytest.approx(event["apex_s"], abs=0.0051)
        assert row["frames"] == f"{event['onset_frame']}–{event['offset_frame']}"
        assert (row["#"], row["class"]) == (str(event["event"]), event["label"])
        assert row["confidence"] == f"{100 * event['confidence']:.0f}\N{NO-BREAK SPACE}%"
        assert row["lasts"] == f"{(event['offset_frame'] - event['onset_frame'] + 1) / 30:.2f} s"
        assert row["surprise"] == f"{100 * event['p_surprise']:.0f}\N{NO-BREAK SPACE}%"


def test_the_first_sentence_counts_and_warns(tmp_path: Path) -> None:
    words = Page(written(make_analysis(events=1), tmp_path)).words()
    assert (
        "1 movement candidate found. A person should review it: a candidate is a short facial movement, not a" in words
    )
    words = Page(written(make_analysis(events=0), tmp_path)).words()
    assert "No movement candidate found. That does not mean that nothing was felt" in words


def test_quality_names_gaps_and_problems(tmp_path: Path) -> None:
    gaps = ((2.0, 3.0, "no face"), (3.0, 3.5, "scene cut"), (15.0, 16.5, "no face"))
    page = Page(written(make_analysis(duration_s=20, gaps=gaps, problems=("3 frames are missing",)), tmp_path))
    words = page.words().replace("\N{NO-BREAK SPACE}", " ")
    assert "85 % of 600 frames could be used. Not usable: no face (12.5 %), scene cut (2.5 %)." in words
    assert "3 frames are missing" in words
    assert ["0:03.00", "0:03.47", "91–105", "scene cut"] in page.rows


def test_model_settings_and_training_are_named(tmp_path: Path) -> None:
    page = Page(written(make_analysis(), tmp_path))
    assert "The model starter was trained on simulated facial motion, 1200 faces." in page.words()
    assert ["decode.peak_threshold", "0.5"] in page.rows
    assert "threshold 0.5" in page.words()
    assert "threshold" not in Page(written(make_analysis(decode={"rule": "fixed"}), tmp_path)).words()


def test_many_candidates_are_all_listed_but_not_all_drawn(tmp_path: Path) -> None:
    analysis = make_analysis(duration_s=60, events=MOST_CARDS + 5)
    page = Page(written(analysis, tmp_path))
    shown = {article["id"] for article in page.all("article")}
    least = sorted(range(len(analysis.events)), key=lambda i: float(analysis.events.confidence[i]))[:5]
    assert len(shown) == MOST_CARDS
    assert not shown & {f"event-{i + 1}" for i in least}
    assert f"Shown are the {MOST_CARDS} most confident of {MOST_CARDS + 5} candidates." in page.words()
    links = {link["href"][1:] for link in page.all("a") if link.get("href", "").startswith("#event-")}
    assert links == shown


def test_ten_minutes_with_many_events_and_gaps_stay_small(tmp_path: Path, video: Path) -> None:
    gaps = tuple((second + 0.2, second + 0.5, "no face") for second in range(0, 600, 4))
    analysis = make_analysis(duration_s=600, events=60, gaps=gaps)
    assert len(analysis.events) > 20
    text = written(analysis, tmp_path, video=video)
    assert len(text) < 5_000_000
    assert f"The {MOST_GAPS} longest of {len(gaps)} gaps" in text


def test_progress_ends_at_its_total(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int | None]] = []
    write_report(
        make_analysis(duration_s=130, events=4), tmp_path / "r.html", on_progress=lambda *step: steps.append(step)
    )
    assert steps == [("report", done, 6) for done in range(1, 7)]


@pytest.mark.parametrize("target", ["/dev/full", "missing/report.html"])
def test_what_cannot_be_written_is_one_line(tmp_path: Path, target: str) -> None:
    with pytest.raises(OutputError) as caught:
        write_report(make_analysis(duration_s=2, events=0), tmp_path / target)
    assert "\n" not in str(caught.value)


def test_odd_recordings(tmp_path: Path) -> None:
    one = make_analysis(duration_s=1 / 30, events=0)
    assert len(one.scores) == 1
    assert "No movement candidate" in written(one, tmp_path)
    nothing = make_analysis(duration_s=5, events=0, gaps=((0, 5, "no face"),))
    assert "0\N{NO-BREAK SPACE}%" in written(nothing, tmp_path)
    frame = np.array([0])
    single = Intervals(frame, frame, frame + 1, ("x",), np.ones(1), np.ones((1, 1)), ("x",))
    assert "1 movement candidate" in Page(written(replace(one, events=single), tmp_path)).words()


def test_uneven_timestamps(tmp_path: Path) -> None:
    analysis = make_analysis(duration_s=20)
    grid = TimeGrid(3600 + analysis.grid.time_s**1.3)
    motion = analysis.motion
    late = replace(
        analysis,
        scores=replace(analysis.scores, grid=grid),
        motion=replace(
            motion, displacement=replace(motion.displacement, grid=grid), face=replace(motion.face, grid=grid)
        ),
    )
    assert f">{clock(float(grid.time_s[late.events.apex[0]]), decimals=2)}<" in written(late, tmp_path)


# Pictures


def test_pictures_show_a_bar_and_cells(tmp_path: Path, video: Path) -> None:
    page = Page(written(make_analysis(), tmp_path, video=video))
    assert len(page.all("img")) == 3 * 3
    assert page.all("img")[1]["alt"] == "Face at the apex of candidate 1, eyes covered"
    open_page = Page(written(make_analysis(), tmp_path, video=video, blur=False))
    covered, uncovered = pictures(page)[0], pictures(open_page)[0]
    assert covered.shape == uncovered.shape == (198, WIDTH, 3)
    scale = WIDTH / (1.36 * (BOX[2] - BOX[0]))
    x, y = (
        np.array(BOX[4:6])
        - (
            BOX[0] - 0.18 * (BOX[2] - BOX[0]),
            BOX[1] - 0.18 * (BOX[3] - BOX[1]),
        )
    ) * scale
    eye = slice(int(y) - 6, int(y) + 6), slice(int(x) - 8, int(x) + 8)
    assert covered[eye].std() < 4 < 15 < uncovered[eye].std()
    assert covered[eye].mean() < 45
    assert "Faces are shown as recorded" in open_page.words()


def test_nothing_of_the_eyes_is_left(portrait: np.ndarray) -> None:
    other = portrait.copy()
    (left_x, left_y), (right_x, right_y) = FACE.eyes
    middle_y = (left_y + right_y) / 2
    other[int(middle_y) - 11 : int(middle_y) + 11, int(left_x) - 24 : int(right_x) + 24] = 255
    np.testing.assert_array_equal(*(thumbnail(image, face=FACE, around=FACE, blur=True) for image in (portrait, other)))


def test_no_detail_within_a_cell_is_left(portrait: np.ndarray) -> None:
    picture = thumbnail(portrait, face=FACE, around=FACE, blur=True)
    across, down = (
        1.36 * 16,
        1.36 * 16 * (BOX[3] - BOX[1]) / (BOX[2] - BOX[0]),
    )
    colours = np.unique(picture.reshape(-1, 3), axis=0)
    assert len(colours) <= round(across + 1) * round(down + 1) + 1
    sharp = thumbnail(portrait, face=FACE, around=FACE, blur=False)
    assert len(np.unique(sharp.reshape(-1, 3), axis=0)) > 10 * len(colours)


@pytest.mark.parametrize(
    "face",
    [
        Face((-40.0, -30.0, 60.0, 90.0), ((0.0, 20.0), (30.0, 25.0))),
        Face((480.0, 470.0, 600.0, 640.0), ((500.0, 500.0), (540.0, 500.0))),
        Face((100.0, 100.0, 200.0, 220.0), ((150.0, 140.0), (150.0, 140.0))),
        Face((900.0, 900.0, 950.0, 950.0), ((910.0, 910.0), (930.0, 910.0))),
    ],
)
def test_faces_at_the_border_and_in_profile(portrait: np.ndarray, face: Face) -> None:
    picture = thumbnail(portrait, face=face, around=face, blur=True)
    assert picture.shape[1:] == (WIDTH, 3)


def test_a_head_in_profile_keeps_its_bar(portrait: np.ndarray) -> None:
    centre = (225.0, 119.0)
    profile = replace(FACE, eyes=(centre, centre))
    picture = thumbnail(portrait, face=profile, around=profile, blur=True)
    dark = (picture == (28, 28, 32)).all(axis=2)
    assert dark.any(axis=0).sum() > 0.3 * WIDTH


def test_a_video_that_fails_costs_only_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fail(path: Path, *, groups: Iterable[list[float]], rate_hz: float | None) -> Iterator[list[np.ndarray]]:
        for times_s in groups:
            calls.append(times_s)
            raise VideoError("clip.mp4 is not a video")
        yield []

    monkeypatch.setattr(cards, "read_colour_groups", fail)
    page = Page(written(make_analysis(), tmp_path, video=tmp_path / "clip.mp4"))
    assert "No pictures: the video could not be read again (clip.mp4 is not a video)." in page.words()
    assert len(page.all("article")) == 3
    assert page.all("img") == []
    assert len(calls) == 1


def test_a_video_that_is_gone(tmp_path: Path) -> None:
    page = Page(written(make_analysis(), tmp_path, video=tmp_path / "gone.mp4"))
    assert "No pictures: the video could not be read again" in page.words()


def test_an_event_without_a_located_face_has_no_picture(tmp_path: Path, video: Path) -> None:
    analysis = make_analysis()
    onset, offset = int(analysis.events.onset[1]), int(analysis.events.offset[1])
    motion = analysis.motion
    values, valid = motion.face.values.copy(), motion.face.valid.copy()
    values[onset:offset], valid[onset:offset] = np.nan, False
    motion = replace(motion, face=replace(motion.face, values=values, valid=valid))
    page = Page(written(replace(analysis, motion=motion), tmp_path, video=video))
    assert len(page.all("img")) == 2 * 3
    assert page.words().count("No picture: no face was located during this candidate.") == 1


# What is drawn


def test_recent_movement_against_a_plain_loop() -> None:
    analysis = make_analysis(duration_s=6, rate_hz=40, gaps=((2.0, 2.1, "no face"), (4.0, 5.0, "no face")))
    motion = analysis.motion.displacement
    moved = recent_movement(motion)
    for frame in range(len(motion)):
        if not motion.valid[frame]:
            assert np.isnan(moved[frame]).all()
            continue
        before = frame
        while before > 0 and motion.valid[before - 1] and frame - before < LAG_S * 40:
            before -= 1
        expected = np.hypot(*(motion.values[frame] - motion.values[before]).T)
        np.testing.assert_allclose(moved[frame], expected, atol=1e-6)


def test_motion_is_never_measured_across_a_gap() -> None:
    grid = TimeGrid.uniform(10, rate_hz=30)
    values = np.zeros((10, 18, 2), np.float32)
    values[6:] = 5.0
    values[5] = np.nan
    motion = Series(grid, values, np.arange(10) != 5, tuple(region.name for region in REGIONS))
    assert np.nanmax(recent_movement(motion)) == 0
    assert np.isnan(onset_to_apex(motion, onset=3, apex=7)).all()


def test_bins_lose_no_peak() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(10_007, 2))
    values[rng.random(10_007) < 0.3] = np.nan
    starts = bin_starts(slice(50, 10_057), count=700)
    assert len(starts) == 700
    for first, after, low, high in zip(
        starts, [*starts[1:], None], binned(values, starts=starts, highest=False),
        binned(values, starts=starts, highest=True), strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(low, np.nanmin(values[first:after], axis=0))
        np.testing.assert_array_equal(high, np.nanmax(values[first:after], axis=0))


@pytest.mark.parametrize("duration_s", [0, 0.04, 8, 61, 90, 600, 721, 3600, 3 * 3600, 40 * 3600])
def test_rows_are_few(duration_s: float) -> None:
    rows = row_count(duration_s)
    assert 1 <= rows <= MOST_ROWS
    if duration_s <= 600:
        assert duration_s / rows <= 72


def test_neighbouring_gaps_are_drawn_as_one(tmp_path: Path) -> None:
    flicker = tuple((30 + i / 15 - 0.001, 30 + i / 15 + 0.001, "no face") for i in range(400))
    analysis = make_analysis(duration_s=600, events=0, gaps=flicker)
    assert analysis.gaps == tuple(Gap(frame, frame + 1, "no face") for frame in range(900, 1700, 2))
    assert written(analysis, tmp_path).count("url(#row0-h") <= 4


def test_the_drawn_face_is_symmetric() -> None:
    points, centres = drawn_landmarks(), region_centres()
    assert {tuple(point) for point in np.round(points, 9)} == {tuple(point) for point in np.round(points * (-1, 1), 9)}
    assert points[45, 0] - points[36, 0] == pytest.approx(1)
    # The outline of the whole mouth ends before the last of its points, so that its centre is a little off.
    mirrored = centres[[region.mirror for region in REGIONS]] * (-1, 1)
    np.testing.assert_allclose(centres, mirrored, atol=0.01)
    for region, (x, _) in zip(REGIONS, centres, strict=True):
        assert region.side == ("centre" if abs(x) < 0.01 else "left" if x < 0 else "right")


def test_every_region_is_in_one_group() -> None:
    groups = region_groups()
    assert sorted(index for _, indices in groups for index in indices) == list(range(len(REGIONS)))
    assert {"mouth", "nose wings", "lower eyelids"} <= {name for name, _ in groups}


@pytest.mark.parametrize(
    ("x", "y", "arrow", "words"),
    [
        (1, 0, "→", "to the right"),
        (0, -1, "↑", "up"),
        (-1, 1, "↙", "down and to the left"),
        (-1, 0.1, "←", "to the left"),
    ],
)
def test_directions_have_y_downwards(x: float, y: float, arrow: str, words: str) -> None:
    assert direction(x, y) == (arrow, words)


@pytest.mark.parametrize(
    ("time_s", "decimals", "text"),
    [(0, 0, "0:00"), (59.996, 2, "1:00.00"), (61.5, 1, "1:01.5"), (3600, 0, "1:00:00"), (3725.25, 2, "1:02:05.25")],
)
def test_clock(time_s: float, decimals: int, text: str) -> None:
    assert clock(time_s, decimals=decimals) == text


def _moved_rows(page: Page) -> list[list[str]]:
    """Region and figure of each row that says how far a region moved."""
    names = {region.name for region in REGIONS}
    return [[row[0], row[2]] for row in page.rows if len(row) == 3 and row[0] in names]


def test_a_card_says_how_far_a_movement_may_be_off(tmp_path: Path) -> None:
    analysis = make_analysis(events=1)
    page = Page(written(analysis, tmp_path))
    onset, apex = int(analysis.events.onset[0]), int(analysis.events.apex[0])
    stated = movement_uncertainty(analysis.motion, first=onset, last=apex)
    rows = _moved_rows(page)
    assert rows
    for name, figure in rows:
        region = [each.name for each in REGIONS].index(name)
        assert figure.endswith(f" ± {100 * stated[region]:.1f} %"), name
    assert "± along each axis, about 95 %" in page.words()


def test_where_that_is_not_known_nothing_is_said_of_it(tmp_path: Path) -> None:
    analysis = make_analysis(events=1)
    bare = Motion.bare(analysis.motion.displacement, quality=analysis.motion.quality)
    page = Page(written(replace(analysis, motion=bare), tmp_path))
    assert _moved_rows(page)
    assert "±" not in page.words()
