"""``--log-json``: what a command did, as lines that a program reads."""

import json
import logging
import signal
from datetime import datetime
from pathlib import Path

import pytest

from helpers.analyses import make_analysis
from helpers.command_line import run
from metst.cli.console import console, progress, talk
from metst.cli.journal import journal, tell
from metst.errors import DataError, OutputError
from metst.results import write_analysis


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_stages_are_told_with_their_times_in_the_order_they_began(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    with journal(path, command="analyze"), progress("a [b] ä.mp4") as on_progress:
        for done in range(3):
            on_progress("motion", done + 1, 3)
            on_progress("score", done + 1, None)
    started, motion, score, ended = lines(path)
    assert (started["event"], started["command"], ended["event"], ended["code"]) == ("started", "analyze", "ended", 0)
    assert [motion["stage"], score["stage"]] == ["motion", "score"]
    assert (motion["of"], motion["done"], motion["total"], score["total"]) == ("a [b] ä.mp4", 3, 3, None)
    seconds = [float(str(line["seconds"])) for line in (motion, score, ended)]
    assert all(0 <= each <= seconds[-1] for each in seconds)
    assert all(datetime.fromisoformat(str(line["time"])).tzinfo for line in lines(path))


@pytest.fixture(autouse=True)
def _talking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ran before in this process may have been told to be quiet; so may a test here, for itself alone."""
    monkeypatch.setattr(console, "quiet", False)


@pytest.mark.parametrize("quiet", [False, True])
def test_a_log_grows_and_warnings_are_in_it(tmp_path: Path, quiet: bool) -> None:
    path = tmp_path / "log.json"
    talk(quiet=quiet, verbose=False)
    for _ in range(2):
        with journal(path, command="live"):
            logging.getLogger("metst.video").warning("a frame is missing")
    assert [line["event"] for line in lines(path)] == ["started", "a frame is missing", "ended"] * 2
    assert lines(path)[1]["level"] == "warning"


def test_how_a_command_failed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    with pytest.raises(DataError), journal(path, command="score"):
        raise DataError("no such column")
    with pytest.raises(KeyboardInterrupt), journal(path, command="score"):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), journal(path, command="score"):
        raise KeyboardInterrupt(signal.SIGTERM.value)  # as the command's own handler does
    ends = [line for line in lines(path) if line["event"] == "ended"]
    stopped = "KeyboardInterrupt"
    assert [(end["code"], end["error"]) for end in ends] == [(1, "no such column"), (130, stopped), (143, stopped)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is full by itself")
def test_a_full_disk_costs_the_journal_and_not_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    done = []
    with journal(Path("/dev/full"), command="demo"):
        for number in range(3):
            tell("stage", number=number)
            done.append(number)
    assert done == [0, 1, 2]
    told = capsys.readouterr().err
    assert told.count("--log-json is not whole") == 1
    assert "Traceback" not in told


def test_without_a_file_nothing_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with journal(None, command="demo"):
        tell("nothing", value=float("nan"))
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr() == ("", "")


def test_a_log_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"), journal(tmp_path / "no" / "log", command="demo"):
        pytest.fail("the work began")


def test_the_command_line_keeps_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.json"
    write_analysis(make_analysis(duration_s=2.0, name="006_1.mp4"), tmp_path / "006_1")
    words = ("export", tmp_path / "006_1", "--format", "megc", "-o", tmp_path / "megc.csv", "--log-json", log)
    code, _, err = run(capsys, *words)
    assert code == 0, err
    assert [(line["event"], line["command"]) for line in lines(log)] == [("started", "export"), ("ended", "export")]
