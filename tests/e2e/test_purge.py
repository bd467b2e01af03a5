"""`metst purge`: results go with all that is kept of their recordings, and nothing else does."""

import csv
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from helpers.command_line import run
from metst import cli
from metst.evaluation.analyses import AnalysisTask, Choices, _custody
from metst.motion.cache import FOLDER_VARIABLE, MotionCache
from metst.results import read_analysis, read_header
from metst.storage.locks import only_writer
from metst.video import write_video

PEOPLE = {"anna": "P01", "ben": "P02", "cora": ""}
"""Recordings, and whose they are said to be."""

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """Recordings, results and cache of three people."""
    root = tmp_path_factory.mktemp("purge")
    rng = np.random.default_rng(7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(root / "cache"))
        (root / "in").mkdir()
        for name, person in PEOPLE.items():
            grain = rng.normal(0, 2, (12, 256, 256, 1))
            pictures = np.clip(astronaut[:256, 100:356, None] + grain, 0, 255).astype(np.uint8).repeat(3, axis=3)
            write_video(root / "in" / f"{name}.mp4", pictures, rate_hz=30)
            said = ["--person", person, "--consent", f"form {name}"] if person else []
            last = date.today() - timedelta(days=1) if name == "ben" else date.today()
            words = [
                "analyze",
                root / "in" / f"{name}.mp4",
                "-o",
                root / "out",
                *said,
                "--delete-by",
                last.isoformat(),
                "-q",
            ]
            patch.setattr("sys.argv", ["metst", *map(str, words)])
            with pytest.raises(SystemExit):
                cli.main()
    return root


@pytest.fixture
def root(analysed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to delete from."""
    shutil.copytree(analysed, tmp_path / "root")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "root" / "cache"))
    return tmp_path / "root"


def left(root: Path) -> set[str]:
    return {path.parent.name for path in (root / "out").rglob("analysis.json")}


def kept(root: Path) -> set[str]:
    return {entry.name.removesuffix(".mp4") for entry in MotionCache(root / "cache").entries()}


def test_what_was_said_is_in_results_report_and_table(root: Path, capsys: Capsys) -> None:
    custody = read_analysis(root / "out" / "ben").custody
    assert (custody.person, custody.consent) == ("P02", "form ben")
    assert custody.delete_by == date.today() - timedelta(days=1)
    report = (root / "out" / "ben" / "report.html").read_text()
    for word in ("P02", "form ben", str(custody.delete_by)):
        assert f"<td>{word}</td>" in report
    _, out, _ = run(capsys, "analyze", root / "in", "-o", root / "out", "--json", "-q")
    assert {line["name"]: line["person"] for line in json.loads(out)} == {f"{n}.mp4": p for n, p in PEOPLE.items()}
    with (root / "out" / "summary.csv").open(newline="") as file:
        assert {row["consent"] for row in csv.DictReader(file)} == {"form anna", "form ben", ""}


def test_what_was_said_stays_until_something_else_is_said(root: Path, capsys: Capsys) -> None:
    ben = root / "in" / "ben.mp4"
    before = read_header(root / "out" / "ben")
    run(capsys, "analyze", ben, "-o", root / "out", "--again", "-q")
    again = read_header(root / "out" / "ben")
    assert again.created >= before.created
    assert again.custody == before.custody
    run(capsys, "analyze", ben, "-o", root / "out", "--consent", "withdrawn", "-q")
    assert read_header(root / "out" / "ben").custody.said == {**before.custody.said, "consent": "withdrawn"}
    shutil.copy(root / "in" / "anna.mp4", ben)  # another person's: nothing was said of that
    run(capsys, "analyze", ben, "-o", root / "out", "-q")
    assert read_header(root / "out" / "ben-2").custody.said == {}


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        ([], {"anna", "ben", "cora"}),
        (["--person", "P01"], {"anna"}),
        (["--expired"], {"ben"}),
        (["--person", "P01", "--expired"], set()),
    ],
)
def test_those_that_were_chosen_go_with_their_motion(
    root: Path, capsys: Capsys, options: list[str], gone: set[str]
) -> None:
    run(capsys, "analyze", root / "in", "-o", root / "out", "-q")
    everything = sorted(root.rglob("*"))
    code, out, _ = run(capsys, "purge", root / "out", *options, "--dry-run", "--json")
    assert code == (2 if options[:1] == ["--person"] and not gone else 0)
    assert sorted(root.rglob("*")) == everything
    if gone:
        assert {Path(line["folder"]).name for line in json.loads(out)} == gone
        assert run(capsys, "purge", root / "out", *options)[0] == 2  # nobody is there to be asked
        assert sorted(root.rglob("*")) == everything
        assert run(capsys, "purge", root / "out", *options, "--yes")[0] == 0
    assert left(root) == kept(root) == set(PEOPLE) - gone
    assert {path.name for path in (root / "in").rglob("*.mp4")} == {f"{name}.mp4" for name in PEOPLE}
    if len(gone) == len(PEOPLE):
        assert not (root / "out").exists()
        return
    for table in ("summary.csv", "corpus.html"):
        words = (root / "out" / table).read_text()
        assert {name for name in PEOPLE if f"{name}.mp4" in words or f"{name}/report" in words} == left(root)


def test_what_is_not_of_metst_is_named_and_stays(root: Path, capsys: Capsys) -> None:
    folder = root / "out" / "anna"
    (folder / "notes.txt").write_text("mine")
    (folder / "coding").mkdir()
    (folder / "events.csv").unlink()
    (folder / "events.csv").symlink_to(root / "in" / "anna.mp4")
    code, _, err = run(capsys, "purge", folder, "--yes")
    assert code == 0
    assert "stays: coding, notes.txt" in err
    assert sorted(path.name for path in folder.iterdir()) == ["coding", "notes.txt"]
    assert (root / "in" / "anna.mp4").is_file()
    assert kept(root) == {"ben", "cora"}


def test_those_of_whom_nobody_can_tell_are_named(root: Path, capsys: Capsys) -> None:
    header = root / "out" / "ben" / "analysis.json"
    header.write_text(header.read_text().replace("P02", "P03"))
    code, _, err = run(capsys, "purge", root / "out", "--person", "P02", "--yes")
    assert code == 3
    assert "ben/analysis.json" in err
    assert "nobody can tell" in err
    assert left(root) == set(PEOPLE)
    code, _, _ = run(capsys, "purge", root / "out" / "ben", "--yes")
    assert code == 0
    assert left(root) == {"anna", "cora"}


def test_a_wrong_name_or_folder_says_what_there_is(root: Path, capsys: Capsys) -> None:
    for words, said in (
        ([root / "out", "--person", "P1"], "no results of 'P1' in .*: expected one of P01, P02"),
        ([root / "in"], "no results of metst in"),
        ([root / "nowhere"], "is no folder"),
        ([], "give the folders of results"),
        ([root / "out", "--leftovers", "--expired"], "leave out --person and --expired"),
    ):
        code, _, err = run(capsys, "purge", *words, "--yes")
        assert code == 2
        assert re.search(said, err)
    assert left(root) == set(PEOPLE)


def test_a_folder_that_is_written_to_stays(root: Path, capsys: Capsys) -> None:
    code = (
        "import sys; from pathlib import Path; from metst.storage.locks import only_writer\n"
        "with only_writer(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(root / "out" / "ben")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        code_, _, err = run(capsys, "purge", root / "out", "--yes")
        writer.kill()
    assert code_ == 3
    assert f"another metst (process {writer.pid}) writes into" in err
    assert left(root) == {"ben"}
    with only_writer(root / "out" / "ben"):
        pass


def test_what_other_programs_wrote_stays(root: Path, capsys: Capsys) -> None:
    """Also where their files have the names of ours."""
    faces, bundle, both = (root / "out" / name for name in ("openface", "bundle", "anna"))
    for folder in (faces, bundle):
        folder.mkdir()
    (faces / "face.csv").write_text("frame,confidence\n1,0.98\n")
    (faces / "report.html").write_text("mine")
    (bundle / "analysis.json").write_text('{"version": "3", "files": ["notes.txt", "../anna/events.csv"]}')
    (bundle / "overview.json").write_text("[]")
    (bundle / "notes.txt").write_text("mine")
    (both / "motion.safetensors").write_text("mine")  # not of its format
    mine = {path: path.read_bytes() for folder in (faces, bundle) for path in folder.iterdir()}
    code, _, err = run(capsys, "purge", root / "out", "--yes")
    assert code == 0
    assert f"{bundle} holds no results of metst, stays" in err
    assert "stays: motion.safetensors" in err
    assert {path: path.read_bytes() for path in mine} == mine
    assert [path.name for path in both.iterdir()] == ["motion.safetensors"]
    assert not (root / "out" / "ben").exists()
    assert run(capsys, "purge", faces, "--yes")[0] == run(capsys, "purge", bundle, "--yes")[0] == 2
    assert {path: path.read_bytes() for path in mine} == mine


def test_what_nobody_can_read_is_named_and_stays(root: Path, capsys: Capsys) -> None:
    folder = root / "out" / "anna"
    (folder / "overview.json").unlink()
    (folder / "analysis.json").write_text('{"schema": 1, ')
    before = sorted(folder.iterdir())
    code, _, err = run(capsys, "purge", root / "out", "--yes")
    assert code == 3
    assert "anna/analysis.json cannot be read" in err
    assert sorted(folder.iterdir()) == before
    assert left(root) == {"anna"}


def test_of_a_cut_off_analysis_all_tables_go(root: Path, capsys: Capsys) -> None:
    folder = root / "out" / "anna"
    header = json.loads((folder / "analysis.json").read_text())
    header |= {"files": [], "sha256": {}}
    del header["sha256_of_the_rest"]
    (folder / "analysis.json").write_text(json.dumps(header))
    assert run(capsys, "purge", root / "out", "--person", "P01", "--yes")[0] == 0
    assert not folder.exists()


def test_results_of_an_earlier_version_go(root: Path, capsys: Capsys) -> None:
    folder = root / "out" / "anna"
    header = json.loads((folder / "analysis.json").read_text())
    for name in ("sha256_of_the_rest", "sha256", "custody", "motion_algorithm"):
        header.pop(name)
    (folder / "analysis.json").write_text(json.dumps(header))
    assert run(capsys, "purge", folder, "--yes")[0] == 0
    assert not folder.exists()


@pytest.mark.parametrize("name", ["duration_s", "outputs"])
def test_an_overview_with_a_damaged_name_goes_with_the_rest(root: Path, capsys: Capsys, name: str) -> None:
    overview = root / "out" / "anna" / "overview.json"
    damaged = overview.read_bytes().replace(f'"{name}"'.encode(), f'"{name[:-1]}~"'.encode(), 1)
    assert damaged != overview.read_bytes()
    overview.write_bytes(damaged)
    assert run(capsys, "purge", root / "out", "--person", "P01", "--yes")[0] == 0
    assert not overview.parent.exists()


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_nobody(root: Path, capsys: Capsys, name: str) -> None:
    code, _, err = run(capsys, "purge", root / "out", "--person", name, "--yes")
    assert code == 2
    assert "--person needs a name" in err
    assert left(root) == set(PEOPLE)


def test_what_could_not_be_deleted_is_not_told_to_be(root: Path, capsys: Capsys) -> None:
    with only_writer(root / "out" / "ben"):
        code = f"""
import sys
sys.argv = ["metst", "purge", {str(root / "out")!r}, "--person", "P02", "--yes", "--json"]
from metst.cli import main
main()
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 3
    assert json.loads(done.stdout) == []
    assert "Nothing could be deleted" in done.stderr
    assert "Deleted the results" not in done.stderr
    assert "nobody can tell" not in done.stderr
    assert left(root) == set(PEOPLE)


def test_a_folder_that_cannot_be_looked_into_is_named(
    root: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def refused(folder: str) -> object:
        if Path(folder) == root / "out" / "anna":  # whose permissions bind everybody but root, who may run the tests
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refused)
    code, _, err = run(capsys, "purge", root / "out", "--person", "P02", "--dry-run")
    assert code == 3
    assert "anna cannot be looked into (Permission denied): what it holds stays" in err
    assert "ben.mp4, person P02" in err


def test_what_was_said_stays_where_the_header_is_damaged_or_the_recording_changes(root: Path, capsys: Capsys) -> None:
    for name, damage in (("ben", lambda text: text[:100]), ("anna", lambda text: text.replace("form", "from"))):
        file = root / "out" / name / "analysis.json"
        before = read_header(file.parent).custody
        file.write_text(damage(file.read_text()))
        run(capsys, "analyze", root / "in" / f"{name}.mp4", "-o", root / "out", "-q")
        assert read_header(file.parent).custody == before
    folder = root / "out" / "ben"
    task, source = AnalysisTask(root / "in" / "ben.mp4", folder, Choices()), read_header(folder).source
    changed = replace(source, content_hash="")  # somebody wrote to it while it was read
    assert _custody(task, source=changed).person == "P02"
    assert _custody(task, source=replace(changed, name="anna.mp4")).said == {}
    other = replace(source, content_hash="of another one", duration_s=7.0)
    assert _custody(task, source=other).said == {}
    file = folder / "analysis.json"
    file.write_text(file.read_text().replace("P02", "P03"))
    assert _custody(task, source=source).person == "P02"
    assert _custody(task, source=other).said == {}
    file.write_text("")
    assert _custody(task, source=other).said == {}


def test_parts_of_other_programs_stay(root: Path, capsys: Capsys) -> None:
    part = root / "out" / "ben" / ".film.part"
    part.write_text("mine")
    assert run(capsys, "analyze", root / "in" / "ben.mp4", "-o", root / "out", "--again", "-q")[0] == 0
    assert part.read_text() == "mine"
