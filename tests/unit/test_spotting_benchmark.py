"""The spotting benchmark: its plan keeps persons apart, its figures say what is there, its curves become events."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from helpers.spotting import HERE, benchmark_on_the_path, recording
from metst.config import ModelInfo
from metst.errors import DataError, UsageError
from metst.labels import EMOTIONS
from metst.regions import REGION_NAMES
from metst.timeline import Intervals


@pytest.fixture(autouse=True)
def _benchmark_on_the_path() -> Iterator[None]:
    with benchmark_on_the_path():
        yield


def test_the_plan_keeps_persons_apart_and_names_every_clip_once() -> None:
    from plan import load_plan

    plan = load_plan()
    clips = plan.clips()
    assert len({clip.name for clip in clips}) == len({clip.digest for clip in clips}) == len(clips)
    people = {split: {clip.person for clip in clips if clip.split == split} for split in plan.split}
    assert all(people.values())
    assert not people["train"] & people["development"] | people["train"] & people["test"]
    assert not people["development"] & people["test"]
    for field, amplitudes in plan.amplitudes.items():
        assert {clip.amplitude for clip in clips if clip.field == field} == set(amplitudes)
    assert set(plan.clips(quick=True)) < set(clips)


def test_the_plan_is_frozen() -> None:
    from plan import load_plan

    # A changed plan is another benchmark: raise its version, and this hash with it.
    plan = load_plan()
    assert (plan.version, plan.digest[:16]) == (3, "372756a3d1433067")


def test_every_codec_meets_every_quality_in_the_test_split() -> None:
    from plan import load_plan

    heads = [clip for clip in load_plan().clips() if clip.stretch.kind == "head" and clip.split == "test"]
    met = {(clip.codec, clip.crf) for clip in heads}
    assert len(met) == len({codec for codec, _ in met}) * len({crf for _, crf in met}) == 9


def test_rendered_heads_differ_in_light_and_do_what_their_act_says() -> None:
    from head_clips import scene_of
    from plan import load_plan

    clips = {clip.name: clip for clip in load_plan().clips() if clip.stretch.kind == "head"}
    talking, planted = clips["head-302-talking"], clips["head-302-a0.1"]
    assert "hard negative" in talking.tags
    assert talking.count == 0 < planted.count
    assert scene_of(talking).behaviour.speech_per_min > 0 == scene_of(planted).behaviour.speech_per_min
    assert scene_of(talking).identity == scene_of(planted).identity == 302
    assert scene_of(talking).light.side_deg != scene_of(planted).light.side_deg
    assert scene_of(planted) == scene_of(planted)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("plan.toml", 'development = ["man-sitting"]', 'development = ["portrait-a"]'),
        ("plan.toml", 'train = ["portrait-astronaut", ', 'train = ["P02", '),
        ("people.toml", 'person = "P17"', 'person = "P16"'),
    ],
)
def test_a_person_in_two_splits_is_refused(tmp_path: Path, name: str, old: str, new: str) -> None:
    from plan import load_plan

    for file in ("plan.toml", "people.toml"):
        text = (HERE / file).read_text(encoding="utf-8")
        (tmp_path / file).write_text(text.replace(old, new) if file == name else text, encoding="utf-8")
    with pytest.raises(UsageError, match="one split only") as error:
        load_plan(tmp_path / "plan.toml")
    assert "\n" not in str(error.value)


def test_a_changed_file_is_refused() -> None:
    from plan import load_plan
    from sources import check

    with pytest.raises(DataError, match="the plan expects"):
        check(b"another film", footage=load_plan().footage["sitting"])


def test_a_system_that_says_the_truth_has_the_best_figures() -> None:
    from figures import figures_of

    clips = [
        recording([(30, 42), (90, 105), (200, 212)], name=f"{person}-{level}", person=person, amplitude=level)
        for person in ("one", "two")
        for level in (0.05, 0.2)
    ]
    clips += [recording([], name="free"), recording([], name="still", tags=("still photograph", "hard negative"))]
    figures = figures_of("truth", recordings=clips, found=[each.truth for each in clips])
    assert figures.spotting_f1 == figures.recognition_f1 == figures.strs == figures.real_f1 == 1
    assert figures.spotting_interval == (1, 1)
    assert figures.counts == (12, 0, 0)
    assert (figures.onset_ms, figures.offset_ms, figures.ece) == (0, 0, 0)
    assert (figures.free_per_min, figures.negatives_per_min, figures.still_events) == (0, 0, 0)
    assert [(each.of, each.part, each.whole) for each in figures.recall_amplitude] == [("0.05", 6, 6), ("0.2", 6, 6)]
    assert [each.whole for each in figures.recall_duration] == [0, 8, 4, 0]


def test_late_ends_false_alarms_and_overconfidence_are_counted() -> None:
    from figures import figures_of

    planted, free = recording([(30, 45)]), recording([], name="free", frames=1800)
    late = Intervals(
        np.array([33]), np.array([40]), np.array([47]), ("positive",), np.array([0.95]), np.eye(4)[[1]], EMOTIONS
    )
    wrong = Intervals(
        np.array([0, 90]), np.array([5, 95]), np.array([12, 99]), ("positive",) * 2, np.array([0.95, 0.95]),
        np.eye(4)[[1, 1]], EMOTIONS,
    )  # fmt: skip
    figures = figures_of("late", recordings=[planted, free], found=[late, wrong])
    assert figures.counts == (1, 2, 0)
    assert figures.onset_ms == pytest.approx(100)
    assert figures.offset_ms == pytest.approx(1000 * 2 / 30)
    assert figures.free_per_min == pytest.approx(2)
    assert figures.ece == pytest.approx(0.95 - 1 / 3)
    assert figures.recognition_f1 == 0


def moving(ends: list[tuple[int, int]], *, frames: int = 600) -> Any:
    """Noise, and at each event the mouth corners up by a hundredth of the face unit."""
    values = np.random.default_rng(3).normal(0, 2e-4, (frames, len(REGION_NAMES), 2)).astype(np.float32)
    for first, end in ends:
        values[first:end, 8:14, 1] -= 0.02 * np.sin(np.linspace(0, np.pi, end - first))[:, None].astype(np.float32)
    return recording(ends, values=values, frames=frames)


def test_the_rule_finds_clear_movements_and_the_class_by_their_direction() -> None:
    from baselines import rule_system
    from scored import hits

    clip = moving([(100, 113), (250, 261), (420, 434)])
    system = rule_system([clip])
    found = system.find(moving([(60, 72), (330, 343)]))
    truth = moving([(60, 72), (330, 343)]).truth
    assert sorted(hits(found, truth)) == [0, 1]
    assert set(found.label) == {"positive"}


def test_chance_is_the_same_every_time_and_stays_in_the_clip() -> None:
    from baselines import Chance

    clip = recording([(30, 42), (90, 105)])
    chance = Chance.like([clip])
    assert chance.per_min == pytest.approx(12)
    many = [chance.find(recording([], name=f"clip-{i}")) for i in range(50)]
    assert 1.4 < np.mean([len(each) for each in many]) < 2.6
    again = [chance.find(recording([], name=f"clip-{i}")) for i in range(50)]
    assert all((a.onset == b.onset).all() for a, b in zip(many, again, strict=True))
    assert all((each.offset <= 300).all() for each in many)


def test_window_features_are_blind_to_where_the_face_was_before() -> None:
    from baselines import WINDOW, window_features

    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 36)).astype(np.float32)
    moved = x + 7.0
    np.testing.assert_allclose(window_features(moved)[WINDOW:-WINDOW], window_features(x)[WINDOW:-WINDOW], atol=1e-5)
    assert window_features(x).shape == (50, 180)


def test_the_table_names_every_system_and_the_diagram_is_svg() -> None:
    from figures import figures_of
    from table import recalls, reliability, table

    clips = [recording([(30, 42)], person="one"), recording([(50, 64)], person="two", name="other")]
    rows = [figures_of(name, recordings=clips, found=[each.truth for each in clips]) for name in ("a", "b")]
    lines = table(rows).splitlines()
    assert [line.split("|")[1].strip() for line in lines] == ["system", "---", "a", "b"]
    assert len({line.count("|") for line in lines}) == 1
    assert "1.00 (2/2)" in recalls(rows)
    assert ElementTree.fromstring(reliability(rows)).tag.endswith("svg")


def test_an_unknown_system_and_a_folder_without_a_build_are_named(tmp_path: Path) -> None:
    from clips import load
    from plan import load_plan
    from systems import make_system

    with pytest.raises(UsageError, match="unknown system"):
        make_system("oracle", plan=load_plan(), folder=tmp_path, say=print)
    with pytest.raises(UsageError, match="--build"):
        load(load_plan(), folder=tmp_path, split="test")


def test_a_model_is_also_compared_as_it_runs_live() -> None:
    from systems import NetworkSystem

    from metst.config import DecodeSettings
    from metst.models.checkpoint import load_model

    model = load_model("starter")
    scoring = model.info.scoring.model_copy(update={"directions": "both"})
    own = DecodeSettings(peak_threshold=0.3)
    both = replace(model, info=model.info.model_copy(update={"scoring": scoring, "live_decode": own}))
    live = NetworkSystem(both).live()
    assert (live.model.info.scoring, live.model.info.decode) == (model.info.scoring, own)
    assert NetworkSystem(model).live().model.info == model.info


def test_told_how_much_is_planted_only_confidences_change(monkeypatch: pytest.MonkeyPatch) -> None:
    import systems
    from baselines import Chance, planted_per_min
    from plan import load_plan

    from metst.models.checkpoint import load_model

    development = [recording([(30, 42), (90, 105), (200, 212)]), recording([], name="free")]
    minutes = sum(each.minutes for each in development)
    assert planted_per_min(development) == Chance.like(development).per_min == pytest.approx(3 / minutes)
    monkeypatch.setattr(systems, "load", lambda *_, **__: development)

    def made(name: str) -> ModelInfo:
        system = systems.make_system(name, plan=load_plan(), folder=Path("unused"), say=print)
        assert isinstance(system, systems.NetworkSystem)
        return system.model.info

    usual = load_model("starter").info
    assert made("starter") == usual
    assert made("starter:told") == usual.expecting(3 / minutes)
    with pytest.raises(UsageError, match="unknown system"):
        made("starter:told:live")


def test_no_measured_head_is_one_that_packaged_models_train_on() -> None:
    from plan import PLAN_FILE, Plan, load_plan

    from metst.synthesis.heads.background_scenes import FIRST_IDENTITY

    values = load_plan(PLAN_FILE).model_dump()
    values["heads"][0]["identities"] = [FIRST_IDENTITY]
    with pytest.raises(ValueError, match="those that packaged models train on"):
        Plan.model_validate(values)


def test_an_ablation_counts_what_any_threshold_could_reach() -> None:
    from ablation import Peaks

    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    right = np.array([True, False, True, False, True])
    free = np.array([False, True, False, True, False])
    peaks = Peaks(score, right, free, planted=4, free_min=1.0)
    assert peaks.best_f1() == pytest.approx(2 * 3 / (4 + 5))
    assert peaks.recall(per_min=0.5) == pytest.approx(1 / 4)  # no false alarm
    assert peaks.recall(per_min=1.0) == pytest.approx(2 / 4)
    assert peaks.recall(per_min=2.0) == pytest.approx(3 / 4)
