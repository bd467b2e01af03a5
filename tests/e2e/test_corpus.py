"""`metst analyze` of many recordings: each once, whatever runs them, and what is done stays done."""

import csv
import json
import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.analyses import make_analysis
from helpers.command_line import run
from metst import cli
from metst.datasets.corpus import find_recordings
from metst.errors import DataError, UsageError
from metst.evaluation.analyses import AnalysisTask, Choices, analyze_into, is_done, loaded
from metst.formats.megc import name_results
from metst.guard.faults import tracebacks
from metst.motion.cache import FORMAT
from metst.report.corpus_page import write_corpus_page, write_summary
from metst.results import read_header, write_analysis
from metst.video import write_video

# What a run says of itself: when it was, and how long it took.
OF_THE_RUN = re.compile(
    rb'("created": "[^"]*"|"seconds": [\d.e-]+|"sha256_of_the_rest": "\w+"'
    rb"|analysed [\d :-]+|analysis took</th><td>[\d.]+)"
)
GOOD = ("b/face", "b/frames", "face", "face-2")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "all of it #1"
    (folder / "b" / "frames").mkdir(parents=True)
    rng = np.random.default_rng(3)
    for name in ("face.mp4", "face.mkv", "b/face.mp4"):
        grain = rng.normal(0, 2, (24, 256, 256, 1))
        pictures = np.clip(astronaut[:256, 100:356, None] + grain, 0, 255).astype(np.uint8).repeat(3, axis=3)
        write_video(folder / name, pictures, rate_hz=30)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / "b" / "frames" / f"{number:03}.png"), picture)
    (folder / "bad[1].mp4").write_text("this is no video")
    (folder / "notes.doc").write_text("no video either")
    return folder


def analyze(capsys: pytest.CaptureFixture[str], corpus: Path, output: Path, *more: str) -> tuple[int, list[dict], str]:
    code, out, err = run(capsys, "analyze", corpus, "-o", output, "--fps", 30, "--json", "-q", *more)
    return code, json.loads(out), err


def content(output: Path) -> dict[str, bytes]:
    """All files, without what a run says of itself."""
    files = [path for path in output.rglob("*") if path.is_file()]
    return {str(path.relative_to(output)): OF_THE_RUN.sub(b"", path.read_bytes()) for path in files}


def written(output: Path) -> dict[str, int]:
    return {str(path.parent.relative_to(output)): path.stat().st_mtime_ns for path in output.rglob("analysis.json")}


@pytest.fixture(scope="module")
def done(corpus: Path) -> Path:
    output = corpus.parent / "one"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["metst", "analyze", str(corpus), "-o", str(output), "--fps", "30", "-q"])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    assert stop.value.code == 3
    return output


@pytest.fixture
def output(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done, tmp_path / "copy"))


def test_each_recording_has_a_folder_a_row_and_a_link(corpus: Path, done: Path) -> None:
    assert sorted(written(done)) == sorted(GOOD)
    with (done / "summary.csv").open(newline="") as file:
        rows = {row["input"].removeprefix(f"{corpus}/"): row for row in csv.DictReader(file)}
    assert sorted(rows) == ["b/face.mp4", "b/frames", "bad[1].mp4", "face.mkv", "face.mp4"]
    for name, row in rows.items():
        if name != "bad[1].mp4":
            header = json.loads((done / row["folder"] / "analysis.json").read_text())
            assert (row["name"], row["problems"]) == (Path(name).name, "; ".join(header["problems"]))
            assert float(row["duration_s"]) == header["source"]["duration_s"]
            assert int(row["events"]) == header["summary"]["events"]
            assert float(row["usable_share"]) == header["summary"]["usable_frames"] / header["summary"]["frames"]
            assert row["model"] == "metst-event"
    bad = rows["bad[1].mp4"]
    assert "bad[1].mp4" in bad["problems"]
    assert not any(bad[name] for name in ("folder", "duration_s", "events", "events_per_min", "usable_share"))
    page = (done / "corpus.html").read_text()
    for name in GOOD:
        assert f'href="./{name}/report.html"' in page
    assert page.count("<tr>") == 1 + len(GOOD)
    assert "5 recordings" in page
    assert "bad[1].mp4" in page


def test_what_is_done_is_not_done_again_and_one_bad_one_is_one_line(
    corpus: Path, output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written(output)
    code, lines, err = analyze(capsys, corpus, output)
    assert code == 3
    assert written(output) == before
    assert ["error" in line for line in lines] == [True, False, False, False, False]
    told = err.strip().splitlines()
    assert sum("bad[1].mp4" in line and "inputs failed" not in line for line in told) == 1
    assert told[-1].startswith("1 of 5 inputs failed")


@pytest.mark.parametrize("change", [["--again"], ["--motion-format", "safetensors"], ["--show-identity"],
                                    ["--expected-per-min", "2"], ["--model", "starter"]])  # fmt: skip
def test_other_settings_and_again_run_all(
    corpus: Path, output: Path, capsys: pytest.CaptureFixture[str], change: list[str]
) -> None:
    before = written(output)
    analyze(capsys, corpus, output, *change)
    after = written(output)
    assert after.keys() == before.keys()
    assert not [name for name in before if after[name] == before[name]]


def test_what_changed_or_is_not_whole_is_done_again(
    corpus: Path, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = Path(shutil.copytree(corpus, tmp_path / "moved"))
    shutil.copyfile(moved / "b" / "face.mp4", moved / "face.mp4")
    (output / "b" / "frames" / "report.html").unlink()
    part = output / "b" / "frames" / ".metst-1.part"  # as a killed worker of an earlier version left it
    part.touch()
    os.utime(part, (time.time() - 2 * 86400,) * 2)
    before = written(output)
    analyze(capsys, moved, output)
    changed = sorted(name for name, when in written(output).items() if when != before.get(name))
    assert changed == ["b/frames", "face-3"]  # what was found in another recording of that name stays
    assert not list(output.rglob("*.part"))


def test_a_table_that_was_changed_by_hand_is_told_and_not_overwritten_unasked(
    corpus: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = output / "b" / "face" / "events.csv"
    table.write_bytes(table.read_bytes().replace(b"onset_s", b"Onset s"))
    edited = table.read_bytes()
    code, lines, err = analyze(capsys, corpus, output)
    assert code == 3
    assert "events.csv is not the one that analysis.json was written with" in err
    assert [line["input"] for line in lines if "events.csv" in line.get("error", "")] == [
        str(corpus / "b" / "face.mp4")
    ]
    assert table.read_bytes() == edited
    analyze(capsys, corpus, output, "--again")
    assert table.read_bytes() == edited.replace(b"Onset s", b"onset_s")


def test_two_workers_find_what_one_finds(
    corpus: Path, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, _ = analyze(capsys, corpus, tmp_path / "two", "--workers", "2", "--no-cache")
    assert code == 3
    assert content(tmp_path / "two") == content(done)


def test_results_of_a_recording_are_never_those_of_another_of_its_name(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In as many calls as one likes, from wherever; the same recording finds its own again."""
    labs = [tmp_path / name for name in ("one", "two", "three")]
    for lab, name in zip(labs, ("face.mp4", "b/face.mp4", "face.mkv"), strict=True):
        lab.mkdir()
        shutil.copyfile(corpus / name, lab / "talk.mp4")
    output = tmp_path / "out"

    def call(lab: Path) -> tuple[str, str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(lab)
            code, out, err = run(capsys, "analyze", "talk.mp4", "-o", output, "--json")
        assert code == 0
        return Path(json.loads(out)[0]["folder"]).name, err

    folders = []
    for lab in labs:
        folder, err = call(lab)
        folders.append(folder)
        told = f"talk holds the results of another recording: those of talk.mp4 go to {folder}"
        assert (told in err) == (folder != "talk")
    assert folders == ["talk", "talk-2", "talk-3"]
    for lab, folder in reversed(list(zip(labs, folders, strict=True))):
        found, err = call(lab)
        assert found == folder
        assert "another recording" not in err
    before = written(output)
    code, out, _ = run(capsys, "analyze", labs[2] / "talk.mp4", labs[1], labs[0], "-o", output, "--json")
    assert code == 0
    assert [Path(line["folder"]).name for line in json.loads(out)] == folders[::-1]
    assert written(output) == before


@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_recording_with_workers_has_one_of_them(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    """Whether it is the only one or not, a recording is analysed by a process with one thread."""

    def here(*_: object, **__: object) -> None:
        raise AssertionError("analysed in the process of the command")

    video = corpus / "face.mkv"
    (tmp_path / "in.txt").write_text(str(video))
    code, lines, _ = analyze(capsys, tmp_path / "in.txt", tmp_path / "many", "--workers", "1", "--no-cache")
    assert (code, len(lines)) == (0, 1)
    monkeypatch.setattr("metst.evaluation.analyses.analyze_into", here)
    code, lines, _ = analyze(capsys, video, tmp_path / "one", "--workers", workers, "--no-cache")
    assert (code, [Path(line["folder"]).name for line in lines]) == (0, ["face"])
    assert content(tmp_path / "one" / "face") == content(tmp_path / "many" / "face")
    assert not (tmp_path / "one" / "summary.csv").exists()
    for name, fault in (("none.mp4", 2), ("bad[1].mp4", 1)):
        code, out, err = run(capsys, "analyze", corpus / name, "-o", tmp_path / "no", "--workers", workers, "-q")
        assert (code, out, len(err.strip().splitlines())) == (fault, "", 1)


def test_a_list_names_recordings_from_its_own_folder(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.txt").write_text(f"\ufeff{corpus / 'b' / 'face.mp4'}\r\n\nnear.mp4\n", encoding="utf-8")
    shutil.copyfile(corpus / "face.mp4", tmp_path / "near.mp4")
    code, lines, _ = analyze(capsys, tmp_path / "in.txt", tmp_path / "out")
    assert code == 0
    assert [Path(line["folder"]).name for line in lines] == ["face", "near"]
    (tmp_path / "in.txt").write_text("\n")
    with pytest.raises(UsageError, match="one path per line"):
        find_recordings([tmp_path / "in.txt"], output=tmp_path)


def test_results_in_the_corpus_are_no_recordings(tmp_path: Path) -> None:
    results = ("out/v/overlay.mp4", "other/v/analysis.json", "other/v/overlay.mp4")
    for name in ("v.mp4", *results, ".hidden/w.mp4", "s/V.avi"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_recordings([tmp_path, tmp_path / "v.mp4"], output=tmp_path / "out")
    assert [(str(each.path.relative_to(tmp_path)), each.name) for each in found] == [
        ("v.mp4", "v"), ("s/V.avi", "s/V"), ("v.mp4", "v-2")
    ]  # fmt: skip


def test_damaged_results_are_not_replaced_by_those_of_another_recording(corpus: Path, tmp_path: Path) -> None:
    task = AnalysisTask(corpus / "face.mp4", tmp_path / "out" / "face", Choices())
    analyze_into(task, model=loaded(task.choices))
    file = task.folder / "analysis.json"
    file.write_text(file.read_text().replace('"codec"', '"coded"'))
    with pytest.raises(DataError, match="changed or damaged"):
        read_header(task.folder)
    names = [find_recordings([corpus / path], output=tmp_path / "out")[0].name for path in ("face.mp4", "b/face.mp4")]
    assert names == ["face", "face-2"]


def test_ten_thousand_equal_names_are_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "all.txt").write_text("".join(f"{number}/talk.mp4\n" for number in range(10_000)))
    names = [each.name for each in find_recordings([tmp_path / "all.txt"], output=tmp_path / "out")]
    assert len(set(names)) == 10_000
    assert names[:3] == ["talk", "talk-2", "talk-3"]


def test_motion_of_an_earlier_algorithm_is_not_taken_for_done(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = AnalysisTask(corpus / "face.mp4", tmp_path / "face", Choices())
    analyze_into(task, model=loaded(task.choices))
    assert is_done(task, model=loaded(task.choices))
    monkeypatch.setattr("metst.motion.cache.FORMAT", FORMAT + 1)
    assert not is_done(task, model=loaded(task.choices))
    header = json.loads((task.folder / "analysis.json").read_text())
    for name in ("motion_algorithm", "sha256_of_the_rest"):  # as earlier versions wrote it
        del header[name]
    (task.folder / "analysis.json").write_text(json.dumps(header))
    monkeypatch.undo()
    assert read_header(task.folder).motion_algorithm == 0
    assert not is_done(task, model=loaded(task.choices))


def test_an_analysis_that_stops_between_its_files_is_not_taken_for_done(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = AnalysisTask(corpus / "face.mp4", tmp_path / "face", Choices())
    analyze_into(first, model=loaded(first.choices))
    assert is_done(first, model=loaded(first.choices))
    other = replace(first, choices=Choices(expected_per_min=0.01))
    monkeypatch.setattr("metst.report.write_report", _stopped)
    with pytest.raises(KeyboardInterrupt):
        analyze_into(other, model=loaded(other.choices))
    assert not is_done(first, model=loaded(first.choices))
    assert not is_done(other, model=loaded(other.choices))


def _stopped(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_list_with_a_zero_byte_and_a_corpus_in_the_folder_of_its_results(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"v.mp4\nx\0y.mp4\n")
    with pytest.raises(UsageError, match="save it as text in UTF-8"):
        find_recordings([tmp_path / "in.txt"], output=tmp_path / "out")
    (tmp_path / "v.mp4").touch()
    assert [each.name for each in find_recordings([tmp_path], output=tmp_path)] == ["v"]


def test_names_that_look_like_markup_are_printed_as_they_are(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "clip [final].mp4"
    shutil.copyfile(corpus / "face.mp4", clip)
    code, _, err = run(capsys, "analyze", clip, "-o", tmp_path / "out[/v2]")
    assert code == 0, err
    assert str(Path("out[/v2]") / "clip [final]" / "report.html") in err.replace("\n", "")


def test_folders_that_are_links_are_searched_once(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "v.mp4").touch()
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "s1").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "all")
    found = find_recordings([tmp_path / "all"], output=tmp_path / "out")
    assert [each.name for each in found] == ["s1/v"]


def test_a_link_goes_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores that keep files by their content (git-annex, DVC) link each name to a fingerprint."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "SHA256E-s9--4f2a.mp4").touch()
    (tmp_path / "006_1.mp4").symlink_to(tmp_path / "store" / "SHA256E-s9--4f2a.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    monkeypatch.chdir(tmp_path)
    found = find_recordings([Path("006_1.mp4"), Path("store/../006_1.mp4"), Path("loop.mp4")], output=tmp_path / "out")
    assert [each.name for each in found] == ["006_1", "006_1-2", "loop"]
    write_analysis(make_analysis(name="006_1.mp4"), tmp_path / "store" / "4f2a")
    (tmp_path / "006_1").symlink_to(tmp_path / "store" / "4f2a")
    assert name_results([tmp_path / "006_1"]) == (("006", "006_1"),)


@pytest.mark.parametrize("place", ["/srv/ward 3/anna", "/home/dr_bach/studies", "C:\\Users\\anna"])
def test_no_table_or_page_tells_the_folders_of_the_machine(tmp_path: Path, place: str) -> None:
    inputs, output = Path(place) / "in", tmp_path / "out put"
    errors = (
        f"cannot write {output}/b/frames.csv: the disk is full",
        f"{inputs}/c.mp4 is damaged (traceback: {tmp_path}/debug it/metst-debug-c.txt)",
        f"unexpected OSError: [Errno 5] Input/output error: '{place}/model x/weights'; look at the file",
        f"{Path.home()}/models/mine is no checkpoint",
    )
    lines = [{"input": f"{inputs}/{name}.mp4", "error": error} for name, error in zip("bcde", errors, strict=True)]
    with tracebacks(tmp_path / "debug it"):
        output.mkdir()
        write_summary(lines, output / "summary.csv")
        write_corpus_page(lines, output / "corpus.html", report="report.html")
    for name in ("summary.csv", "corpus.html"):
        words = (output / name).read_text()
        for told in (place, str(tmp_path), str(Path.home()), "ward", "dr_bach", "Users"):
            assert told not in words
        for kept in (
            "frames.csv: the disk is full",
            "traceback: metst-debug-c.txt",
            "weights",
            "mine is no checkpoint",
        ):
            assert kept in words
