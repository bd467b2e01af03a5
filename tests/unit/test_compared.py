"""`metst agree`: what is compared with what, and what is said where it cannot be."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.analyses import make_analysis
from helpers.command_line import run
from metst.coding import open_reviews
from metst.errors import DataError, MetstError, UsageError
from metst.formats.compared import compare
from metst.formats.conversion import export_results
from metst.formats.names import FormatName
from metst.results import write_analysis

KEYS = {"kappa", "kappa_frames", "alpha", "matched", "only_a", "only_b", "f1", "confusion", "onset", "apex", "offset"}

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of three recordings: two coders reviewed the first, one of them the second, nobody the third."""
    root = tmp_path_factory.mktemp("agree")
    for number, name in enumerate(("one", "two", "three")):
        analysis = make_analysis(name=f"{name}.mp4", seed=number)
        source = replace(analysis.source, content_hash=name)
        write_analysis(replace(analysis, source=source), root / "all" / name)
    reviewed(root / "all" / "one", "anna", ["accepted", "accepted", "rejected"], later=0)
    reviewed(root / "all" / "one", "ben", ["accepted", "rejected", "accepted"], later=2)
    reviewed(root / "all" / "two", "anna", ["accepted", "rejected", "rejected"], later=1)
    return root


def reviewed(folder: Path, coder: str, verdicts: list[str], *, later: int) -> None:
    with open_reviews(folder) as reviews:
        state = reviews.begin(coder, "machine", by=coder)
        changes = [
            {
                "key": each["key"],
                "revision": 0,
                "after": {"verdict": verdict, "onset_frame": each["onset_frame"] + later},
            }
            for each, verdict in zip(state["events"], verdicts, strict=True)
        ]
        reviews.edit(coder, changes, by=coder)


def test_a_side_agrees_with_itself(root: Path, capsys: Capsys) -> None:
    code, out, _ = run(capsys, "agree", root / "all", root / "all", "--coder-a", "machine", "--coder-b", "machine",
                       "--json", "-q")  # fmt: skip
    found = json.loads(out)
    assert code == 0
    assert found.keys() >= KEYS
    assert (found["kappa"], found["kappa_frames"], found["alpha"], found["f1"]) == (1, 1, 1, 1)
    assert (found["recordings"], found["frames"], found["matched"]) == (3, 1800, 9)


def test_two_coders_of_one_recording(root: Path) -> None:
    found = compare(root / "all" / "one", root / "all" / "one", coder_a="anna", coder_b="ben")
    assert (found["coder_a"], found["coder_b"]) == ("anna", "ben")
    assert (found["events_a"], found["events_b"], found["matched"], found["only_a"], found["only_b"]) == (2, 2, 1, 1, 1)
    assert found["onset"]["frames"]["mean"] == 2
    assert found["onset"]["seconds"]["mean"] == pytest.approx(2 / 30, abs=1e-4)
    assert found["confusion"] == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]


def test_recordings_are_pooled_and_those_without_a_coder_are_told(root: Path) -> None:
    found = compare(root / "all", root / "all", coder_a="machine", coder_b="anna")
    assert (found["recordings"], found["matched"], found["only_a"]) == (2, 3, 3)
    assert found["notes"] == ["three.mp4 is left out: there is no layer of both coders"]
    found = compare(root / "all" / "one", root / "all", coder_a="anna", coder_b="machine")
    assert found["recordings"] == 1
    assert found["notes"] == ["left out, as only one side has them: three.mp4, two.mp4"]


@pytest.mark.parametrize("form", ["csv", "tsv", "elan", "textgrid", "boris", "label-studio", "bids", "webvtt"])
def test_files_of_other_programs_are_read_by_the_timestamps_of_the_other_side(
    root: Path, tmp_path: Path, form: FormatName
) -> None:
    ending = {"elan": ".eaf", "textgrid": ".TextGrid", "label-studio": ".json", "bids": ".tsv", "webvtt": ".vtt"}
    path = tmp_path / f"one{ending.get(form, f'.{form}')}"
    export_results(root / "all" / "one", path, to=form)
    found = compare(path, root / "all" / "one", coder_a="ben", coder_b="ben")
    assert (found["kappa"], found["kappa_frames"], found["events_a"]) == (1, 1, 2)
    back = compare(root / "all" / "one", path, coder_a="anna", coder_b="ben")
    straight = compare(root / "all" / "one", root / "all" / "one", coder_a="anna", coder_b="ben")
    assert {name: back[name] for name in KEYS} == {name: straight[name] for name in KEYS}


def test_tables_of_frames_need_no_video(root: Path, tmp_path: Path) -> None:
    table = tmp_path / "all.csv"
    table.write_text(
        "video,onset_frame,offset_frame,label\na.mp4,1,10,x\na.mp4,30,40,y\nb.mp4,5,9,x\n", encoding="utf-8"
    )
    other = tmp_path / "other.csv"
    other.write_text("video,onset_frame,offset_frame,label\na.mp4,1,10,x\na.mp4,31,40,x\n", encoding="utf-8")
    found = compare(table, other)
    assert (found["coder_a"], found["recordings"], found["frames"]) == ("all", 1, 40)
    assert (found["matched"], found["agreed"], found["onset"]["seconds"]) == (2, 1, None)
    assert any("b.mp4" in note for note in found["notes"])
    assert any("how long" in note for note in found["notes"])
    events = root / "all" / "one" / "events.csv"  # names no video, and is one recording
    assert compare(events, events)["kappa"] == 1
    assert compare(events, root / "all" / "one", coder_b="machine")["kappa_frames"] == 1


def test_seconds_need_the_recording(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "seconds.csv"
    path.write_text("onset_s,offset_s,label\n1.0,1.4,negative\n", encoding="utf-8")
    with pytest.raises(DataError, match="which frames they are"):
        compare(path, path)
    assert compare(path, root / "all" / "one", coder_b="anna")["events_a"] == 1


@pytest.mark.parametrize(
    ("a", "b", "code", "words"),
    [
        ("all/one", "all/one", 2, "machine, anna, ben"),
        ("all/one --coder-a nobody", "all/one", 2, "no layer of 'nobody'"),
        ("all/one --coder-a anna", "all/three", 1, "no recording in common"),
        ("nothing", "all/one", 2, "no file"),
        ("empty", "all/three", 2, "holds no results"),
        ("text.csv", "all/three", 1, "no table of events"),
        ("binary.eaf", "all/three", 1, "binary.eaf"),
        ("binary.eaf", "binary.eaf", 1, "times and no frames"),
        ("binary.eaf", "all --coder-b machine", 2, "other side has 3"),
        ("text.doc", "all/three", 2, "expected a folder of results"),
        ("huge.csv", "huge.csv", 1, "expected them from 1 on"),
        ("zero.csv", "zero.csv", 1, "expected them from 1 on"),
    ],
)
def test_nonsense_is_one_line(root: Path, capsys: Capsys, a: str, b: str, code: int, words: str) -> None:
    (root / "empty").mkdir(exist_ok=True)
    (root / "text.csv").write_text("hello\nyou\n", encoding="utf-8")
    (root / "text.doc").write_text("hello", encoding="utf-8")
    (root / "binary.eaf").write_bytes(bytes(range(256)))
    for name, first in (("huge", 10**12), ("zero", 0)):
        (root / f"{name}.csv").write_text(f"onset_frame,offset_frame,label\n{first},{first + 9},x\n", encoding="utf-8")
    sides: list[Any] = []
    for side in (a, b):
        path, *options = side.split()
        sides += [root / path, *options]
    found, out, err = run(capsys, "agree", *sides)
    assert (found, out) == (code, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert words in err


def test_what_people_see(root: Path, capsys: Capsys) -> None:
    folder = root / "all" / "one"
    code, out, err = run(capsys, "agree", folder, folder, "--coder-a", "anna", "--coder-b", "ben")
    assert (code, out) == (0, "")
    for words in ("A anna, B ben", "Cohen's kappa", "Krippendorff's alpha", "2 and 2, 1 in common", "surprise"):
        assert words in " ".join(err.split())
    titled = err[err.index("A anna") : err.index("B behind A")].splitlines()
    assert "recordings" in titled[2]  # right below the frame: no row of empty names of columns


def test_two_recordings_of_one_name_are_two(root: Path, tmp_path: Path) -> None:
    analysis = make_analysis(name="one.mp4")
    write_analysis(replace(analysis, source=replace(analysis.source, content_hash="else")), tmp_path / "one")
    with pytest.raises(MetstError, match="no recording in common"):
        compare(root / "all" / "three", tmp_path / "one")
    with pytest.raises(UsageError, match="IoU"):
        compare(tmp_path / "one", tmp_path / "one", iou=0)
