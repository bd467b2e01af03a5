"""Challenge submissions: frames, names, classes, and whole files only."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from helpers.analyses import make_analysis
from metst.cli import app
from metst.errors import DataError, OutputError, UsageError
from metst.formats.megc import name_results, submission_path, write_submission
from metst.metrics import score_tables
from metst.results import write_analysis


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Result folders of two videos with events and of one without, called like videos of the challenge."""
    root = tmp_path_factory.mktemp("results")
    folders = {}
    for seed, (name, events) in enumerate({"007_1": 4, "014_02": 5, "020_1": 0}.items()):
        folders[name] = root / name
        write_analysis(make_analysis(seed=seed, events=events), folders[name])
    return folders


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def export(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["export", *map(str, arguments), "--format", "megc"], catch_exceptions=False)


def test_every_event_of_every_video(results: dict[str, Path], tmp_path: Path) -> None:
    done = export(*results.values(), "-o", tmp_path / "out", "--data-set", "samm")
    assert (done.exit_code, done.stdout) == (0, "")
    path = tmp_path / "out" / "samm_pred.csv"
    assert [entry.name for entry in path.parent.iterdir()] == ["samm_pred.csv"]
    assert path.read_bytes().startswith(b"subject,video,onset,offset,emotion\n007,007_1,")
    expected = [
        {"subject": name[:3], "video": name, "onset": row["onset_frame"], "offset": row["offset_frame"],
         "emotion": row["label"]}
        for name, folder in results.items() for row in rows(folder / "events.csv")
    ]  # fmt: skip
    assert rows(path) == expected
    assert len(expected) == 9


def test_tables_that_were_changed_by_hand_are_handed_in_on_purpose_only(
    results: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "007_1"
    shutil.copytree(results["007_1"], folder)
    label = rows(folder / "events.csv")[0]["label"]
    table = (folder / "events.csv").read_text().replace(f",{label},", ",others,")
    (folder / "events.csv").write_text(table)
    with pytest.raises(DataError, match=r"events\.csv is not the one that analysis\.json was written with"):
        export(folder, "-o", tmp_path / "mine.csv")
    assert not (tmp_path / "mine.csv").exists()
    assert export(folder, "-o", tmp_path / "mine.csv", "--unchecked").exit_code == 0
    assert rows(tmp_path / "mine.csv")[0]["emotion"] == "others"


def test_the_file_is_what_the_scorer_reads(results: dict[str, Path], tmp_path: Path) -> None:
    export(*results.values(), "-o", tmp_path / "mine.csv")
    scores = score_tables(tmp_path / "mine.csv", tmp_path / "mine.csv", scorer="megc", bootstrap=0)
    assert scores["spotting"]["f1"] == 1


def test_frames_count_from_1_and_the_last_is_included(tmp_path: Path) -> None:
    analysis = make_analysis(events=1)
    done = write_submission([(("s", "v"), analysis)], tmp_path / "a.csv")
    (row,) = rows(done.path)
    assert int(row["onset"]) == analysis.events.onset[0] + 1
    assert int(row["offset"]) == analysis.events.offset[0]


def test_others_are_dropped_on_request(results: dict[str, Path], tmp_path: Path) -> None:
    export(*results.values(), "-o", tmp_path, "--data-set", "cas", "--drop-others")
    kept = rows(tmp_path / "cas_pred.csv")
    assert {row["emotion"] for row in kept} == {"negative", "positive", "surprise"}
    assert len(kept) == 7


def test_neutral_is_no_emotion_of_a_submission(tmp_path: Path) -> None:
    analysis = make_analysis(events=2)
    events = analysis.events
    object.__setattr__(events, "label", ("neutral", "others"))
    done = write_submission([(("s", "v"), analysis)], tmp_path / "a.csv")
    assert (done.rows, done.left_out) == (1, 1)


def test_names_from_a_table(results: dict[str, Path], tmp_path: Path) -> None:
    names = tmp_path / "names.csv"
    first, second, third = results.values()
    names.write_text(
        f"subject,note,input,video\n001,x,{first},a 1\n002,,014_02,b\n3,,{third.resolve()},c\n4,,not here,d\n"
    )
    assert name_results([first, second, third], names=names) == (("001", "a 1"), ("002", "b"), ("3", "c"))
    export(first, "-o", tmp_path / "out.csv", "--names", names)
    assert {(row["subject"], row["video"]) for row in rows(tmp_path / "out.csv")} == {("001", "a 1")}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("input,subject,video\nother,1,2\n", UsageError, "does not name .*007_1"),
        ("input,subject\n007_1,1\n", DataError, "lacks the columns video"),
        ("input,subject,video\n007_1,,2\n", DataError, "row 2, column subject"),
        ("input,subject,video\n007_1\n", DataError, "row 2, column subject; row 2, column video"),
        ("input,subject,video\n007_1,1,2\n007_1,1,3\n", UsageError, "names 007_1 twice"),
        ("", DataError, "lacks the columns input, subject, video"),
    ],
)
def test_faulty_tables_of_names(
    results: dict[str, Path], tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    (tmp_path / "names.csv").write_text(text)
    with pytest.raises(error, match=message):
        name_results([results["007_1"]], names=tmp_path / "names.csv")


def test_a_missing_table_and_one_that_is_no_text(results: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file"):
        name_results([results["007_1"]], names=tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        name_results([results["007_1"]], names=tmp_path / "binary.csv")


def test_a_name_that_tells_no_subject(tmp_path: Path) -> None:
    for name in ("interview", "_1"):
        with pytest.raises(UsageError, match="--names"):
            name_results([tmp_path / name])


def test_one_video_twice(results: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=r"same video .*007/007_1"):
        name_results([results["007_1"], results["007_1"]])


def test_where_it_is_written(tmp_path: Path) -> None:
    assert submission_path(tmp_path, part="cas") == tmp_path / "cas_pred.csv"
    assert submission_path("a/b.csv", part=None) == Path("a/b.csv")
    for output in (tmp_path, "a/b", "a/b.json"):
        with pytest.raises(UsageError, match="--data-set"):
            submission_path(output, part=None)


def test_nothing_is_replaced_or_half_written(results: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        export(results["007_1"], "-o", path)
    with pytest.raises(DataError, match="expected a folder that"):
        export(results["007_1"], tmp_path / "no_results", "-o", path, "--overwrite")
    assert path.read_text() == "mine"
    export(results["007_1"], "-o", path, "--overwrite")
    assert len(rows(path)) == 4
    with pytest.raises(OutputError, match="cannot make the folder"):
        export(results["007_1"], "-o", path / "below" / "out.csv")


def test_options_of_the_other_format(tmp_path: Path) -> None:
    arguments = ["export", "starter", "-o", str(tmp_path / "a.onnx"), "--drop-others"]
    with pytest.raises(UsageError, match="belong to --format megc"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_neither_submissions_nor_the_protocol_import_torch() -> None:
    code = "import sys, metst.formats.megc, metst.reproduction; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"
