"""`metst evaluate` killed in the middle: workers, then all of it; resumed, it has what an unbroken run has."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.feature_folders import feature_folder as make
from metst import cli

pytest.importorskip("torch")

OPTIONS = ("--recipe", "metst", "--width", "8", "--epochs", "5")
PATIENCE_S = 240.0


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = make(tmp_path_factory.mktemp("evaluate") / "features", subjects=4, frames=300)
    return folder


@pytest.fixture(scope="module")
def unbroken(features: Path) -> Path:
    run = features.parent / "unbroken"
    assert evaluate(features, run, "--workers", "1") == 0
    return run


def command(features: Path, run: Path, *more: str) -> list[str]:
    return ["metst", "evaluate", str(features), "-o", str(run), *OPTIONS, "-q", *more]


def evaluate(features: Path, run: Path, *more: str) -> int:
    """Run the command in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", command(features, run, *more))
        with pytest.raises(SystemExit) as stop:
            cli.main()
    return int(stop.value.code or 0)


def start(features: Path, run: Path) -> "subprocess.Popen[str]":
    _, *options = command(features, run, "--workers", "2")
    return subprocess.Popen([sys.executable, "-m", "metst", *options], stderr=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end, "nothing to kill"
        time.sleep(0.005)


def half_finished(run: Path) -> list[Path]:
    return [path.parent for path in run.rglob("state.safetensors") if not (path.parent / "done.json").exists()]


def done(run: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in run.rglob("done.json")}


def workers(parent: int) -> list[int]:
    """Processes that train: children that were started as workers of the pool."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rsplit(")", 1)[1].split()
            line = stat.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(words[1]) == parent and b"popen_loky_posix" in line:
            found.append(int(stat.parent.name))
    return found


def findings(run: Path) -> dict[str, bytes]:
    """All that must not depend on how a run went: tables, weights, losses, figures."""
    found = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*.csv")}
    found |= {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("weights.safetensors")}
    for path in run.rglob("metrics.jsonl"):
        lines = [json.loads(line) | {"seconds": 0} for line in path.read_text().splitlines()]
        found[str(path.relative_to(run))] = json.dumps(lines).encode()
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="workers are found in /proc")
def test_killed_workers_and_a_killed_run_change_nothing(features: Path, unbroken: Path) -> None:
    run = features.parent / "killed"
    process = start(features, run)
    try:
        wait_until(lambda: bool(half_finished(run)), process)
        os.kill(workers(process.pid)[0], signal.SIGKILL)
        # The run goes on by itself with new workers; then all of it is killed beside a half-finished fold.
        wait_until(lambda: bool(done(run)) and bool(half_finished(run)), process)
        orphans = workers(process.pid)
    finally:
        process.kill()
        process.communicate()
    for orphan in orphans:
        wait_for_end(orphan)
    finished, begun = done(run), half_finished(run)
    assert finished
    assert len(finished) < 4
    epochs = {folder: (folder / "metrics.jsonl").read_text() for folder in begun}

    assert evaluate(features, run, "--workers", "1") == 0
    assert {name: done(run)[name] for name in finished} == finished
    for folder, lines in epochs.items():
        assert (folder / "metrics.jsonl").read_text().startswith(lines), "epochs before the kill were run again"
    assert findings(run) == findings(unbroken)


def wait_for_end(process: int) -> None:
    """Workers of a killed run stop by themselves: nobody may write beside the run that goes on."""
    end = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < end, "a worker outlived the run that it belonged to"
        time.sleep(0.02)


def test_a_finished_run_is_not_run_again(
    features: Path, unbroken: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = done(unbroken)
    monkeypatch.setattr("metst.training.recordings.fit_network", None)
    assert evaluate(features, unbroken, "--workers", "1", "--json") == 0
    assert done(unbroken) == before
    assert json.loads(capsys.readouterr().out)["data_set"] == "manifest"


def test_a_run_with_other_settings_is_refused(
    features: Path, unbroken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = findings(unbroken)
    assert evaluate(features, unbroken, "--seed", "1") == 2
    assert "give another folder" in capsys.readouterr().err
    assert findings(unbroken) == before


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (("FEATURES", "--k-p", "train", "--labels", "x"), "--labels, --k-p: for --published only"),
        (("--published", "samm-lv", "--workers", "2"), "--workers: for FEATURES"),
        (("FEATURES", "--published", "samm-lv"), "and not both"),
        ((), "give either FEATURES"),
        (("FEATURES", "--strategy", "3"), "expected one of 0, 1, 2, all"),
        (("FEATURES", "--strategy", "all", "--grid", "x.toml"), "with --grid give one --strategy"),
    ],
)
def test_forms_that_are_mixed_are_refused(
    more: tuple[str, ...], match: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["metst", "evaluate", *more])
    monkeypatch.setattr(cli.console, "width", 400)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert match in capsys.readouterr().err
