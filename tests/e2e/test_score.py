"""``metst score`` as a user runs it, and the example of the documentation."""

import json
import re
from pathlib import Path

import pytest

from helpers import command_line

DOCUMENT = Path(__file__).parents[2] / "docs" / "scoring.md"
SCORERS = ("strict", "greedy", "many-to-many", "megc")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    return command_line.run(capsys, "score", *arguments)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Predictions and truth as the document has them."""
    folder = tmp_path_factory.mktemp("example")
    for name, text in re.findall(
        r"<!-- file: (\w+\.csv) -->\n```text\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL
    ):
        (folder / name).write_text(text)
    return folder / "predictions.csv", folder / "truth.csv"


@pytest.mark.parametrize("scorer", SCORERS)
def test_the_documented_figures_are_those_that_are_printed(capsys, example, scorer):
    documented = re.search(rf"^\| {scorer} \| (.+) \|$", DOCUMENT.read_text(), flags=re.MULTILINE)
    assert documented
    code, out, err = run(capsys, *example, "--scorer", scorer, "--json", "-q")
    result = json.loads(out)
    spotting = result["spotting"]
    figures = [spotting[name] for name in ("precision", "recall", "f1")] + [result["recognition"]["f1"], result["strs"]]
    printed = [str(spotting[name]) for name in ("tp", "fp", "fn")] + [f"{figure:.4f}" for figure in figures]
    assert documented[1].split(" | ") == printed
    assert (code, err) == (0, "")


def test_people_and_machines_get_the_same(capsys, example):
    code, out, err = run(capsys, *example, "--json", "--threshold", 0.5, "--fps", 30)
    result = json.loads(out)
    assert code == 0
    assert result["spotting"]["misses"] == {"no_peak": 0, "below_threshold": 1, "wrong_interval": 0, "taken": 0}
    assert f"{result['strs']:.4f}" in err
    assert f"{result['with_others']['strs']:.4f}" in err
    assert "With class others as well (no true interval has it: it counts as 0)" in err
    assert "best on this very data: not a fair estimate" in err
    assert result["curve"]["best"]["threshold"] == 0.3
    assert [band["unit"] for band in result["spotting"]["per_duration"]] == ["s", "s"]
    for note in result["notes"]:
        assert f"note: {note}" in err
    assert run(capsys, *example)[1] == ""


def test_doubtful_names_are_said_and_do_not_fail(capsys, example, tmp_path):
    predictions, truth = example
    odd = tmp_path / "odd.csv"
    odd.write_text(predictions.read_text().replace("surprise", "astonishment"))
    code, out, err = run(capsys, odd, truth, "--classes", "negative,postive", "--json")
    assert code == 0
    assert json.loads(out)["notes"] == [
        "unknown class postive: neither one of negative, positive, surprise, others nor an emotion of the truth",
        "predictions: unknown emotion astonishment (1); a hit with it counts as a wrong class",
        "class without any sample: postive; it counts as 0 in the means over the classes",
    ]
    assert "note: unknown class postive" in err


def test_one_table_against_another(capsys, example, tmp_path):
    predictions, truth = example
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("".join(predictions.read_text().splitlines(keepends=True)[:-1]))
    code, out, err = run(capsys, predictions, truth, "--against", fewer, "--json")
    result = json.loads(out)
    alone = json.loads(run(capsys, fewer, truth, "--json", "-q")[1])
    assert code == 0
    assert result["against"]["strs"] == alone["strs"]
    change = result["against"]["difference"]["spotting_recall"]
    assert change["value"] == 0.25
    assert change["interval"] == [0, 0.5]
    assert "Minus the other table" in err


def test_videos_without_any_event_count(capsys, example, tmp_path):
    listed = tmp_path / "videos.csv"
    listed.write_text("subject,video\ns1,talk\ns3,silent\n")
    result = json.loads(run(capsys, *example, "--videos", listed, "--json", "-q")[1])
    assert result["videos"]["names"] == {"s1": ["calm", "talk"], "s2": ["film"], "s3": ["silent"]}
    assert result["spotting"]["false_alarms_per_video"] == 0.25


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("missing.csv",), 2, "no file missing.csv"),
        (("PREDICTIONS", "TRUTH", "--scorer", "fair"), 2, "fair"),
        (("TRUTH", "TRUTH", "--threshold", "0.5"), 2, "column confidence"),
        (("PREDICTIONS", "TRUTH", "--fps", "0"), 2, "frame rate"),
        (("PREDICTIONS", "TRUTH", "--videos", "missing.csv"), 2, "no file missing.csv"),
        (("BROKEN", "TRUTH"), 1, "row 2, column onset: is after the offset, 1"),
        (("PREDICTIONS", "TRUTH", "--against", "BROKEN"), 1, "row 2, column onset"),
    ],
)
def test_wrong_use_and_faulty_tables(capsys, example, tmp_path, arguments, code, words):
    broken = tmp_path / "broken.csv"
    broken.write_text("subject,video,onset,offset,emotion\ns,v,5,1,negative\n")
    files = {"PREDICTIONS": example[0], "TRUTH": example[1], "BROKEN": broken}
    arguments = [files.get(argument, argument) for argument in arguments]
    found, out, err = run(capsys, *(arguments if len(arguments) > 1 else [*arguments, example[1]]), "--json")
    assert (found, out) == (code, "")
    assert words in err
    assert len(err.strip().splitlines()) == 1
