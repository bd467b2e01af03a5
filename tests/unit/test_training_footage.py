"""Footage of people as backgrounds: what is measured, what is kept, who learns and who tunes; no person is in it."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from metst.cli import app
from metst.errors import MetstError, UsageError
from metst.regions import REGION_NAMES
from metst.results.motion import Motion
from metst.synthesis.patterns import ClassPatterns, PatternStatistics
from metst.timeline import Series, TimeGrid
from metst.training import footage as footage_module
from metst.training import sources as sources_module
from metst.training.drawn import Drawn
from metst.training.footage import people_on_video
from metst.training.material import Material
from metst.training.simulated_recipes import RECIPES
from metst.training.sources import Sources, drawn_from
from metst.video import write_video

pytest.importorskip("torch")


def walking(frames: int = 60, *, by: float = 1.0) -> Motion:
    values = np.zeros((frames, 18, 2), np.float32)
    values[:, :, 0] = (by * np.arange(frames) / 25.0)[:, None]
    series = Series(TimeGrid.uniform(frames, rate_hz=25.0), values, np.ones(frames, bool), REGION_NAMES)
    return Motion.bare(series, quality=np.ones((frames, 18), np.float32))


def clip(path: Path, *, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, [np.full((64, 64), shade + i, np.uint8) for i in range(6)], rate_hz=25.0)
    return path


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """A measurement that needs no face; what it was given: name, width and frames."""
    seen: list[tuple[str, int, int]] = []

    def measure(path: Path) -> Motion:
        info = footage_module.probe_video(path)
        count = sum(1 for _ in footage_module.read_colour_stream(path))
        seen.append((path.stem, info.width, count))
        return walking(count, by=float(len(seen)))

    monkeypatch.setattr(footage_module, "_measured", measure)
    return seen


def test_each_clip_is_measured_as_it_is_and_encoded_again_and_only_once(
    tmp_path: Path, measured: list[tuple[str, int, int]]
) -> None:
    people = tmp_path / "people"
    clip(people / "anna" / "one.mp4", shade=20)
    clip(people / "ben" / "two.mp4", shade=90)
    (people / "ben" / "notes.txt").write_text("no video")
    again = ((28, 1.0), (23, 0.5))
    found = people_on_video(people, kept=tmp_path / "kept", again=again)
    assert {name: len(motions) for name, motions in found.items()} == {"anna": 3, "ben": 3}
    assert [width for _, width, _ in measured] == [64, 64, 32] * 2
    assert {count for _, _, count in measured} == {6}
    before = len(measured)
    second = people_on_video(people, kept=tmp_path / "kept", again=again)
    assert len(measured) == before
    for name, motions in found.items():
        for one, other in zip(motions, second[name], strict=True):
            assert np.array_equal(one.displacement.values, other.displacement.values)


def test_the_same_recording_of_two_persons_is_refused_by_name(
    tmp_path: Path, measured: list[tuple[str, int, int]]
) -> None:
    people = tmp_path / "people"
    one = clip(people / "anna" / "one.mp4", shade=20)
    (people / "ben").mkdir()
    (people / "ben" / "copy.mp4").write_bytes(one.read_bytes())
    with pytest.raises(MetstError, match="shows ben, and the same recording lies with anna"):
        people_on_video(people, kept=tmp_path / "kept")
    faults: list[str] = []
    found = people_on_video(people, kept=tmp_path / "kept", on_fault=faults.append)
    assert list(found) == ["anna"]
    assert len(faults) == 1
    assert measured


def test_footage_without_a_face_or_without_a_video_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        people_on_video(tmp_path / "nobody", kept=tmp_path / "kept")
    (tmp_path / "empty" / "anna").mkdir(parents=True)
    with pytest.raises(UsageError, match="holds no video file in a folder of a person"):
        people_on_video(tmp_path / "empty", kept=tmp_path / "kept")
    clip(tmp_path / "grey" / "anna" / "one.mp4", shade=50)
    with pytest.raises(MetstError, match="usable face"):
        people_on_video(tmp_path / "grey", kept=tmp_path / "kept")


@pytest.mark.parametrize(
    ("tuned_on", "words"), [(("carl",), "carl is not in the footage: expected some of anna, ben"), ((), "is no folder")]
)
def test_what_is_wrong_with_footage_is_said_before_heads_are_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tuned_on: tuple[str, ...], words: str
) -> None:
    def rendered(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(sources_module, "recorded_backgrounds", rendered)
    for person in ("anna", "ben") if tuned_on else ():
        clip(tmp_path / "people" / person / "one.mp4", shade=20)
    given = Sources(footage=tmp_path / "people", tuned_on=tuned_on)
    with pytest.raises(UsageError, match=words):
        drawn_from(given, recipe=RECIPES["metst-event"], kept=tmp_path / "kept")


def drawn(*names: str) -> Drawn:
    return Drawn([walking(by=-1.0) for _ in range(4)], {name: [walking()] for name in names})


def test_no_person_learns_and_tunes_and_all_are_used() -> None:
    everything = drawn("a", "b", "c", "d", "e")
    for tuned_on in ((), ("b",), ("a", "e")):
        seen, kept = everything.parted(tuned_on)
        assert not set(seen.people) & set(kept.people)
        assert set(seen.people) | set(kept.people) == set(everything.people)
        if tuned_on:
            assert set(kept.people) == set(tuned_on)
        assert len(seen.heads) + len(kept.heads) == 4
    with pytest.raises(UsageError, match="z is not in the footage"):
        everything.parted(("z",))
    with pytest.raises(UsageError, match="leave some to learn from"):
        drawn("a").parted(("a",))


def test_every_person_is_drawn_as_often_however_much_there_is_of_one() -> None:
    recipe = RECIPES["metst-event"].model_copy(update={"faces": 2, "footage_share": 1.0})
    much = {"much": [walking(by=1.0) for _ in range(30)], "little": [walking(by=2.0)]}
    still = recipe.simulation.model_copy(
        update={"event_free_share": 1.0, "background_gain": (1.0, 1.0), "disturbed_share": 0.0}
    )
    material = Material.of(recipe.model_copy(update={"simulation": still}), drawn=Drawn(people=much), seed=1)
    little = 0
    for seed in range(60):
        drawn = material.draw(np.random.default_rng(seed), seconds=2.0)
        step = np.abs(np.diff(drawn.displacement[..., 0], axis=0)).max() * 25
        little += step > 1.5
    assert 18 <= little <= 42


def patterns(scale: float = 1.0) -> PatternStatistics:
    mean = np.zeros((18, 2))
    mean[9] = scale, 0.0
    one = ClassPatterns(mean, np.zeros((1, 18, 2)), np.zeros(1), 0.0)
    return PatternStatistics({"negative": one})


def test_what_is_drawn_from_decides_the_fingerprint() -> None:
    first = drawn("a")
    assert first.sha256 == drawn("a").sha256
    other = Drawn(first.heads, {"a": [walking(by=3.0)]})
    statistics = Drawn(first.heads, first.people, patterns())
    wider = Drawn(first.heads, first.people, patterns(2.0))
    moved = Drawn(first.heads, {"b": first.people["a"]})
    assert len({each.sha256 for each in (first, other, statistics, wider, moved)}) == 5
    assert Drawn().sha256 == ""


def test_recipes_that_learn_from_nobody_say_so(tmp_path: Path) -> None:
    for sources, words in (
        (Sources(footage=tmp_path), "learns from no footage"),
        (Sources(patterns=tmp_path / "p.npz"), "plants no patterns"),
        (Sources(tuned_on=["anna"]), "anna is to tune on, and there is no footage"),
    ):
        with pytest.raises(UsageError, match=words):
            drawn_from(sources, recipe=RECIPES["starter"], kept=tmp_path / "kept")
    done = CliRunner().invoke(
        app, ["train", "--recipe", "metst-plus", "-o", str(tmp_path / "m"), "--footage", str(tmp_path)]
    )
    assert isinstance(done.exception, UsageError)
    assert "learns from labelled recordings" in str(done.exception)
