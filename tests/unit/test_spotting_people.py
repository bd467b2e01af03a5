"""The benchmark on people whose clips are given by folder: what is found, refused, planted and counted."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.benchmark_modules import benchmark_module
from helpers.patterns import write_statistics
from helpers.spotting import benchmark_on_the_path, recording
from metst.errors import DataError, FaceError, UsageError
from metst.labels import EMOTIONS
from metst.synthesis.clip import write_clip
from metst.synthesis.recipe import ClipRecipe
from metst.timeline import Intervals
from metst.video import read_colour_stream, write_video


@pytest.fixture(autouse=True)
def _benchmark_on_the_path() -> Iterator[None]:
    with benchmark_on_the_path():
        yield


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drifting portrait in place of a person's clip: 2.4 s."""
    recipe = ClipRecipe(count=0, duration_s=2.4, rate_hz=25.0, size=(240, 300))
    return write_clip(tmp_path_factory.mktemp("portrait"), recipe=recipe).video


def plan_of(clips: list[Path], *, statistics: Path | None = None, **changes: Any) -> Any:
    """A plan of nothing but these clips."""
    from people import hash_of
    from plan import Plan, load_plan

    values = load_plan().model_dump()
    person = values["listing"][0] | {"split": "development", "kind": "rest", "duration_s": 2.4} | changes
    listing = [
        person | {"file": path.name, "sha256": hash_of(path), "person": f"P{number}"}
        for number, path in enumerate(clips)
    ]
    values |= {"listing": listing, "planted": (), "free": (), "heads": (), "stretch": ()}
    if statistics is not None:
        values["statistics"]["sha256"] = hash_of(statistics)
    return Plan.model_validate(values)


def built(plan: Any, *, folder: Path, footage: Path, patterns: Path | None = None, **asked: Any) -> list[str]:
    """Build and give back what was said."""
    from build import Selection, build, given

    said: list[str] = []
    strict = asked.pop("strict", False)
    files = given(plan, footage=footage, patterns=patterns)
    selection = Selection(quick=True, **asked)
    build(plan, folder=folder, files=files, selection=selection, strict=strict, workers=1, say=said.append)
    return said


def test_the_listing_says_where_each_clip_lies_and_who_is_in_it() -> None:
    from plan import load_plan

    listing = load_plan().listing
    assert (len(listing), len({each.person for each in listing})) == (129, 13)
    people = {split: {each.person for each in listing if each.split == split} for split in ("train", "development")}
    assert people["development"] == {"P02", "P07", "P13", "P16", "P20"}
    assert people["train"] == {"P01", "P06", "P11", "P15", "P17", "P18", "P19", "P26"}
    assert {each.licence for each in listing if each.kind == "sentence"} == {"CC BY 4.0 (GRID)"}
    assert listing[0].url.startswith("https://raw.githubusercontent.com/bytedance/LatentSync/a229c3948406/assets/")


def test_of_a_sentence_corpus_each_person_says_a_dozen_at_most() -> None:
    from plan import load_plan

    clips = load_plan().clips()
    files = {person: {clip.footage.file for clip in clips if clip.person == person} for person in ("P15", "P17", "P26")}
    assert {person: len(names) for person, names in files.items()} == {"P15": 12, "P17": 1, "P26": 2}


def test_clips_are_known_by_hash_and_missing_ones_are_named_once(portrait: Path, tmp_path: Path) -> None:
    footage = tmp_path / "footage" / "deep"
    footage.mkdir(parents=True)
    shutil.copyfile(portrait, footage / "another name.mp4")
    missing = tmp_path / "missing.mp4"
    missing.write_bytes(b"not here")
    plan = plan_of([portrait, missing])
    said = built(plan, folder=tmp_path / "build", footage=footage.parent, fields=("table",))
    assert [line for line in said if "missing.mp4" in line] == [
        "4 of 8 clips are left out for want of missing.mp4: see --footage and --patterns"
    ]
    assert "P0-planted-raw" in (tmp_path / "build" / "clips.csv").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match=r"missing\.mp4.*--strict"):
        built(plan, folder=tmp_path / "build", footage=footage.parent, fields=("table",), strict=True)


def test_a_clip_under_its_name_with_another_content_is_refused(portrait: Path, tmp_path: Path) -> None:
    (tmp_path / portrait.name).write_bytes(b"another film")
    with pytest.raises(DataError, match=r"planted\.mp4 has SHA-256 .* the listing expects"):
        built(plan_of([portrait]), folder=tmp_path / "build", footage=tmp_path)
    with pytest.raises(UsageError, match="is no folder"):
        built(plan_of([portrait]), folder=tmp_path / "build", footage=tmp_path / "nowhere")


def test_footage_without_a_face_is_refused(tmp_path: Path) -> None:
    footage = tmp_path / "footage"
    footage.mkdir()
    write_video(footage / "wall.mp4", [np.full((120, 160, 3), 90, np.uint8)] * 30, rate_hz=25.0)
    with pytest.raises(FaceError, match=r"wall\.mp4 shows no face to plant into"):
        built(plan_of([footage / "wall.mp4"]), folder=tmp_path / "build", footage=footage)


def test_other_statistics_are_refused(portrait: Path, tmp_path: Path) -> None:
    from build import given

    plan = plan_of([portrait])
    from metst.regions import REGION_NAMES

    backwards = write_statistics(tmp_path / "backwards.npz", regions=np.array(REGION_NAMES[::-1]))
    with pytest.raises(DataError, match="another order"):
        given(plan, footage=None, patterns=backwards)
    with pytest.raises(DataError, match="the plan expects"):
        given(plan, footage=None, patterns=write_statistics(tmp_path / "others.npz"))


@pytest.mark.slow
def test_both_fields_and_a_placebo_are_planted_on_one_way(portrait: Path, tmp_path: Path) -> None:
    from clips import load

    statistics = write_statistics(tmp_path / "statistics.npz")
    plan = plan_of([portrait], statistics=statistics)
    folder = tmp_path / "build"
    built(plan, folder=folder, footage=portrait.parent, patterns=statistics)
    clips = {each.name.removeprefix("P0-planted-"): each for each in load(plan, folder=folder, split="development")}
    assert set(clips) == {
        "raw", "placebo-crf18-s1", "a0.1-crf18-s1", "a0.2-crf18-s1", "p0.02-crf18-s1", "p0.03-crf18-s1"
    }  # fmt: skip
    assert (folder / "clips" / "P0-planted-raw" / "raw.mp4").read_bytes() == portrait.read_bytes()
    placebo, raw = clips["placebo-crf18-s1"], clips["raw"]
    assert placebo.placebo
    assert len(placebo.truth) == len(raw.truth) == 0
    for name in ("a0.2-crf18-s1", "p0.03-crf18-s1"):
        planted = clips[name]
        facts = planted.planted
        assert facts is not None
        peak = [
            np.hypot(*(planted.motion.values[apex, region] - placebo.motion.values[apex, region]))
            for apex, region in zip(planted.truth.apex, facts.region, strict=True)
        ]
        np.testing.assert_allclose(peak, facts.peak, rtol=0.5)
        assert (facts.own > 0).all()
    own = clips["p0.03-crf18-s1"].planted
    np.testing.assert_allclose(own.peak, 0.03)
    assert own.peak_px == pytest.approx(0.03 * own.peak_px[0] / own.peak[0], rel=0.05)
    np.testing.assert_allclose(clips["a0.1-crf18-s1"].planted.table_cosine, 1, atol=0.02)


@pytest.mark.slow
def test_a_build_goes_on_where_it_was_interrupted(portrait: Path, tmp_path: Path) -> None:
    folder, plan = tmp_path / "build", plan_of([portrait])
    built(plan, folder=folder, footage=portrait.parent, fields=("table",))
    videos = {path: path.stat().st_mtime_ns for path in folder.glob("clips/*/*.mp4")}
    (folder / "clips" / "P0-planted-raw" / "plan.sha256").unlink()
    built(plan, folder=folder, footage=portrait.parent, fields=("table",))
    changed = {path.parent.name for path, when in videos.items() if path.stat().st_mtime_ns != when}
    assert changed == {"P0-planted-raw"}


def test_a_selection_keeps_what_is_no_planted_clip() -> None:
    from build import Selection
    from plan import load_plan

    plan = load_plan()
    names = {clip.name for clip in Selection(("development",), ("patterns",), quick=True, real=True).clips(plan)}
    assert {"P13-a14_vc_w-raw", "P13-a14_vc_w-placebo-crf18-s21", "sitting-talking-free"} < names
    assert "P13-a14_vc_w-p0.02-crf18-s21" in names
    assert not any("-a0." in name or name.startswith("head") for name in names)
    assert not any(name.endswith("2") or "-p0.01" in name for name in names)


def test_another_table_of_action_units_makes_other_clips_of_the_table_only(monkeypatch: pytest.MonkeyPatch) -> None:
    import plan

    clips = plan.load_plan().clips()
    before = {clip.name: clip.digest for clip in clips}
    monkeypatch.setattr(plan, "table_digest", lambda: "another")
    changed = {clip.name for clip in clips if clip.digest != before[clip.name]}
    assert changed == {clip.name for clip in clips if clip.field == "table" and "head" not in clip.tags}


def test_no_two_people_make_the_same_movements() -> None:
    from plan import load_plan

    seeds = {(clip.split, clip.stretch.name, clip.seed) for clip in load_plan().clips() if "people" in clip.tags}
    planted = [(split, seed) for split, _, seed in seeds if seed]
    assert len(planted) == len(set(planted))


def with_facts(clip: Any, *, cosine: float = 1.0, own: float = 0.01) -> Any:
    from clips import Planted

    count = len(clip.truth)
    peak = np.full(count, 0.02)
    facts = Planted(np.zeros(count, int), peak, 100 * peak, np.full(count, cosine), np.full(count, own))
    return replace(clip, planted=facts)


def test_who_finds_all_is_right_in_every_bin_and_only_unshifted() -> None:
    from details import details_of

    ends = [(30, 42), (90, 105), (200, 212)]
    clips = [
        with_facts(recording(ends, name="t", person="one", tags=("real", "rest"))),
        with_facts(recording(ends, name="p", person="two", tags=("real", "rest"), field="patterns"), cosine=0.2),
        recording([], name="talk", person="one", tags=("real", "talking"), frames=1800),
        recording([], name="says", person="two", tags=("real", "sentence"), frames=1800),
        recording(ends, name="portrait", tags=("portrait",)),
    ]
    alarm = recording([(100, 110), (500, 512)]).truth
    found = [clips[0].truth, clips[1].truth, alarm, alarm, Intervals.empty(EMOTIONS)]
    details = details_of("truth", recordings=clips, found=found)
    table, patterns = details.fields
    assert (table.counts, patterns.counts) == ((3, 0, 0), (3, 0, 0))
    assert [(each.of, each.part) for each in patterns.pixels if each.whole] == [("2-4 px", 3)]
    assert [(each.of, each.part) for each in patterns.own if each.whole] == [("2-4 x own", 3)]
    assert (details.unlike.part, details.unlike.whole) == (3, 3)
    shifted = dict(details.shifted)
    assert shifted[0] == 1
    assert shifted[2] == 1  # 2 of 12 frames late: an overlap of 10 / 14
    assert shifted[10] == shifted[-10] == 0
    assert (details.lively.per_min, details.sentences.per_min) == (2, 2)
    assert details.lively.minutes == 1
    assert [each.person for each in details.persons] == ["one", "two"]


def test_a_truth_that_lies_later_is_met_by_who_is_late() -> None:
    from details import f1_shifted

    clip = recording([(30, 42)])
    late = recording([(38, 50)]).truth
    assert [f1_shifted([(clip, late)], frames=frames) for frames in (0, 8, -8)] == [0, 1, 0]


def test_candidates_of_the_placebo_are_told_from_those_of_the_clip_as_it_is() -> None:
    from details import details_of

    raw = replace(recording([], name="raw"), stretch="one")
    placebo = replace(recording([], name="placebo", tags=("real", "placebo")), stretch="one")
    found = [recording([(10, 22), (50, 60)]).truth, recording([(12, 24), (100, 112), (200, 212)]).truth]
    details = details_of("any", recordings=[raw, placebo], found=found)
    assert (details.placebo.first, details.placebo.second, details.placebo.kept) == (2, 3, 1)
    assert details.lively.minutes == 0


def test_own_movement_is_how_far_a_region_goes_in_as_long_a_time() -> None:
    from clips import own_movement

    time = np.arange(200, dtype=np.float32)
    place = np.stack([0.001 * time, np.zeros_like(time)], axis=1)
    valid = np.ones(200, bool)
    assert own_movement(place, valid=valid, length=11) == pytest.approx(0.01, rel=1e-3)
    place[150] += 9.0
    valid[150] = False
    assert own_movement(place, valid=valid, length=11) == pytest.approx(0.01, rel=1e-3)
    assert np.isnan(own_movement(place[:5], valid=valid[:5], length=11))


def entry_of(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["subject,video,onset,offset,emotion,confidence", *rows]) + "\n", encoding="utf-8")
    return path


RAW = "P13,P13-a14_vc_w-raw"


def test_an_entry_is_scored_and_clips_it_does_not_name_are_named(tmp_path: Path) -> None:
    from entry import read_entry
    from plan import load_plan

    entry = read_entry(entry_of(tmp_path, f"{RAW},91,105,positive,.7", f"{RAW},31,42,negative,.9"), plan=load_plan())
    clip = recording([(30, 42)], name="P13-a14_vc_w-raw", person="P13")
    other = recording([(30, 42)], name="P13-a14_vc_w-placebo-crf18-s21", person="P13")
    events = entry.find(clip)
    assert (events.onset.tolist(), events.offset.tolist(), events.label) == (
        [30, 90],
        [42, 105],
        ("negative", "positive"),
    )
    assert len(entry.find(other)) == 0
    assert entry.note([clip]) == ""
    assert entry.note([clip, other]).startswith("mine: no row for 1 of 2 clips (P13-a14_vc_w-placebo-crf18-s21)")
    with pytest.raises(DataError, match="the clip has 50 frames"):
        entry.find(recording([], name="P13-a14_vc_w-raw", frames=50))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("P13,P13-a99-raw,31,42,negative,.9", "row 2 names the clip 'P13-a99-raw'"),
        ("P02,P13-a14_vc_w-raw,31,42,negative,.9", "row 2 has the subject 'P02'"),
        (f"{RAW},31,42,bored,.9", "row 2 has 'bored'"),
        (f"{RAW},31,42,negative,1.5", "row 2 has the confidence 1.5"),
    ],
)
def test_an_entry_with_a_slip_is_refused_in_one_line(tmp_path: Path, row: str, told: str) -> None:
    from entry import read_entry
    from plan import load_plan

    with pytest.raises(DataError) as error:
        read_entry(entry_of(tmp_path, row), plan=load_plan())
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("systems", "entry"), [(["metst-event"], "metst-event.csv"), (["a/mine", "b/mine"], "other.csv")]
)
def test_no_system_takes_the_place_of_another_of_its_name(tmp_path: Path, systems: list[str], entry: str) -> None:
    from plan import load_plan
    from run import arguments, made

    table = entry_of(tmp_path, f"{RAW},31,42,negative,.9").rename(tmp_path / entry)
    args = arguments().parse_args([str(tmp_path), "--systems", *systems, "--entry", str(table)])
    with pytest.raises(UsageError, match="two systems are called m"):
        made(load_plan(), folder=tmp_path, args=args)


def test_a_published_network_says_how_long_it_was_trained() -> None:
    from plan import load_plan
    from run import label, published_epochs

    plan = load_plan()
    short = published_epochs("metst-plus", plan=plan, epochs=None, as_published=False)
    whole = published_epochs("metst-plus", plan=plan, epochs=None, as_published=True)
    assert label("metst-plus", epochs=short) == "metst-plus (4 of 50 epochs)"
    assert label("metst-plus", epochs=whole) == "metst-plus (50 of 50 epochs)"
    assert published_epochs("metst-event", plan=plan, epochs=None, as_published=True) is None


def test_a_clip_is_written_again_smaller_by_averaging(portrait: Path) -> None:
    encoding = benchmark_module("encoding")
    first = next(read_colour_stream(portrait)).rgb
    small = next(encoding.pictures(portrait, shrink=2))
    assert small.shape == (150, 120, 3)
    assert abs(float(small.mean()) - float(first.mean())) < 0.5
    np.testing.assert_array_equal(next(encoding.pictures(portrait, shrink=1)), first)
