"""Whatever hinders a command: afterwards it does what an unbroken run does, and nothing of a face lies about."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faults.commands import COMMANDS

TESTS = Path(__file__).parents[1]
NEEDS_TORCH = {"evaluate", "train-simulated", "train-recordings", "convert", "convert-over", "export-onnx"}
KILLED = 40  # steps in `make test`, over these commands
QUICK = {"analyze": 14, "analyze-again": 8, "extract": 8, "convert-over": 6, "export-megc": 4}
HINDERED = {"analyze": 1, "export-megc": 3}


def strike(command: str, fault: str, steps: int | str, work: Path) -> list[dict[str, object]]:
    """One line of the driver per fault."""
    if command in NEEDS_TORCH:
        pytest.importorskip("torch")
    if not hasattr(os, "fork"):
        pytest.skip("processes cannot be copied here")
    words = [sys.executable, "-m", "faults.driver", command, fault, str(steps), str(work / "work")]
    paths = os.pathsep.join(path for path in (str(TESTS), os.environ.get("PYTHONPATH", "")) if path)
    done = subprocess.run(words, cwd=TESTS, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def check(answers: list[dict[str, object]], *, codes: set[int]) -> None:
    assert answers
    for answer in answers:
        where = f"{answer['command']}, {answer['fault']} at step {answer['step']} of {answer['steps']}"
        assert answer["code"] in codes, f"{where}: {answer['said']}"
        assert "Traceback" not in str(answer["said"]), f"{where}: {answer['said']}"
        assert answer["again"] == 0, f"{where}, run again: {answer['said_again']}"
        assert answer["odd"] == [], where


def test_the_steps_of_a_usual_run_are_as_many_as_promised() -> None:
    assert sum(QUICK.values()) == KILLED


@pytest.mark.parametrize(("command", "steps"), QUICK.items())
def test_killed_and_run_again(command: str, steps: int, tmp_path: Path) -> None:
    answers = strike(command, "kill", steps, tmp_path)
    check(answers, codes={-9})
    assert len(answers) == min(steps, int(str(answers[0]["steps"])))


@pytest.mark.parametrize("fault", ["term", "full", "forbidden"])
@pytest.mark.parametrize(("command", "steps"), HINDERED.items())
def test_told_to_go_or_hindered_and_run_again(command: str, steps: int, fault: str, tmp_path: Path) -> None:
    check(strike(command, fault, steps, tmp_path), codes={143} if fault == "term" else {1})


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("fault", ["kill", "term", "full", "forbidden"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_step_of_every_command(command: str, fault: str, tmp_path: Path) -> None:
    # A command may do without a cache that cannot be written, or list what failed.
    codes = {"kill": {-9}, "term": {143}}.get(fault, {0, 1, 3})
    check(strike(command, fault, "all" if fault == "kill" else 12, tmp_path), codes=codes)
