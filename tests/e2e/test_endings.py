"""Commands that are told to go, or killed: no picture of anybody stays, and the next run is as if nothing had been."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from helpers.command_line import run
from helpers.reference_values import released_state
from metst import cli
from metst.cli import ending
from metst.models.checkpoint import load_model
from metst.storage import temporary_folder, whole_file
from metst.storage.leftovers import leftovers
from metst.synthesis.clip import write_clip
from metst.synthesis.recipe import ClipRecipe

LONGEST_S = 120.0
"""Seconds after which a command that shows nothing counts as stuck."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = ClipRecipe(count=0, duration_s=6.0, rate_hz=25)
    return write_clip(tmp_path_factory.mktemp("clip"), recipe=recipe).video


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Where a command leaves things: its output, its temporary files, its cache."""
    found = {name: tmp_path / name for name in ("out", "tmp", "cache")}
    found["tmp"].mkdir()
    return found


def start(places: dict[str, Path], *arguments: object, output: bool = True) -> subprocess.Popen[bytes]:
    environment = os.environ | {"TMPDIR": str(places["tmp"]), "METST_CACHE_DIR": str(places["cache"])}
    words = [*map(str, arguments), *(["-o", str(places["out"])] if output else [])]
    command = [sys.executable, "-c", "from metst.cli import main; main()", *words, "-q"]
    with (places["tmp"].parent / "said").open("w") as said:
        return subprocess.Popen(command, env=environment, stderr=said)


def ended(places: dict[str, Path], running: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Exit code, and what was said."""
    return running.wait(LONGEST_S), (places["tmp"].parent / "said").read_text()


def begun(places: dict[str, Path], running: subprocess.Popen[bytes]) -> list[Path]:
    """Files that are not whole yet, as soon as one holds something."""
    until = time.monotonic() + LONGEST_S
    while time.monotonic() < until and running.poll() is None:
        found = unfinished(places)
        if any(path.is_file() and path.stat().st_size for path in found):
            return found
        time.sleep(0.01)
    pytest.fail(f"nothing was begun: {ended(places, running)}")


def unfinished(places: dict[str, Path]) -> list[Path]:
    return [path for place in places.values() for path in place.rglob(".metst-*") if path.name != ".metst-lock"] + [
        path for path in places["tmp"].rglob("*.mp4") if path.exists()
    ]


def command(name: str, clip: Path) -> list[object]:
    quick = ["--amplitudes", "0.1,0.4", "--durations", "0.4", "--repeats", "1", "--no-cache"]
    return {
        "synthesize": ["synthesize", clip, "--count", "0", "--amplitude", "0.1"],
        "overlay": ["analyze", clip, "--overlay"],
        "calibrate": ["calibrate", clip, *quick],
        "workers": ["calibrate", clip, clip.parent / "copy.mp4", *quick, "--workers", "2"],
    }[name]


@pytest.mark.parametrize(
    "name",
    ["synthesize", "overlay", *(pytest.param(name, marks=pytest.mark.slow) for name in ("calibrate", "workers"))],
)
def test_a_command_that_is_told_to_go_leaves_no_picture(clip: Path, places: dict[str, Path], name: str) -> None:
    (clip.parent / "copy.mp4").write_bytes(clip.read_bytes() + b"\0")
    running = start(places, *command(name, clip))
    parts = begun(places, running)
    modes = {(path.is_dir(), path.stat().st_mode & 0o077) for path in parts if path.exists()}
    running.send_signal(signal.SIGTERM)
    code, said = ended(places, running)
    assert code == 143, said
    assert "Traceback" not in said
    assert {mode for _, mode in modes if name in ("synthesize", "overlay")} <= {0}
    assert unfinished(places) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["synthesize", "calibrate"])
def test_what_a_killed_command_left_goes_with_the_next(clip: Path, places: dict[str, Path], name: str) -> None:
    running = start(places, *command(name, clip))
    begun(places, running)
    running.kill()
    running.wait()
    assert unfinished(places)
    code, said = ended(places, start(places, *command(name, clip)))
    assert code in (0, 3), said
    assert unfinished(places) == []


@pytest.mark.slow
def test_purge_sweeps_what_a_killed_command_left(clip: Path, places: dict[str, Path]) -> None:
    running = start(places, *command("calibrate", clip))
    begun(places, running)
    with whole_file(places["out"] / "mine") as mine:  # of a process that lives
        running.kill()
        running.wait()
        for more, left in (("--dry-run", True), ("--yes", False)):
            assert ended(places, start(places, "purge", "--leftovers", more, places["out"], output=False))[0] == 0
            assert (set(unfinished(places)) != {mine}) == left
    assert unfinished(places) == []


def test_leftovers_are_those_of_dead_processes_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with temporary_folder() as mine, whole_file(tmp_path / "file") as part:
        assert mine.parent == tmp_path
        assert mine.stat().st_mode & 0o777 == 0o700
        assert part.stat().st_mode & 0o777 == 0o600
        assert str(os.getpid()) in mine.name.split("-")
        assert leftovers(tmp_path) == []
        before = mine.name.split("-")
        later = tmp_path / "-".join([*before[:3], str(int(before[3]) - 60), *before[4:]])  # whose number is mine now
        dead = subprocess.Popen([sys.executable, "-c", ""])  # a zombie, until somebody waits for it
        dead_part = tmp_path / "-".join([*before[:2], str(dead.pid), *before[3:]])
        elsewhere = tmp_path / "-".join([".metst", "0" * 8, *before[2:]])
        for path in (later, dead_part, elsewhere):
            path.touch()
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
        assert set(leftovers(tmp_path)) == {later, dead_part}
        dead.wait()
        assert set(leftovers(tmp_path)) == {later, dead_part}
        os.utime(elsewhere, (time.time() - 2 * 86400,) * 2)
        assert set(leftovers(tmp_path)) == {later, dead_part, elsewhere}
        (tmp_path / "precious").write_text("kept")
        link = tmp_path / "-".join([*before[:2], str(dead.pid), before[3], "link.part"])
        link.symlink_to(tmp_path / "precious")
    with temporary_folder():
        pass
    from metst.storage.leftovers import sweep

    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "precious"]


KILLED = """
import os, sys
from pathlib import Path
from metst import storage
if sys.argv[3] == "renames":
    storage._exchanged = lambda *_: False
steps, wanted, rename = [0], int(sys.argv[2]), Path.replace
def counted(self, target):
    if steps[0] == wanted:
        os._exit(9)
    steps[0] += 1
    return rename(self, target)
Path.replace = counted
with storage.whole_folder(Path(sys.argv[1])) as folder:
    (folder / "file").write_text("new")
"""


@pytest.mark.parametrize("way", ["exchange", "renames"])
@pytest.mark.parametrize("step", range(3))
def test_a_folder_that_is_replaced_is_there_whenever_the_process_is_killed(tmp_path: Path, way: str, step: int) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "file").write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(target), str(step), way], check=False, timeout=LONGEST_S)
    if way == "exchange":  # in one step
        assert done.returncode == 0
        assert (target / "file").read_text() == "new"
    with whole_file(tmp_path / "another"):  # the next that writes there brings back what stood aside
        pass
    assert (target / "file").read_text() == ("new" if done.returncode == 0 else "old")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another", "model"]


def test_a_conversion_that_was_finished_may_be_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    released, folder = tmp_path / "released.pkl", tmp_path / "model"
    torch.save(released_state("metst_2024", seed=0), released)

    def convert(*more: str) -> int:
        return run(capsys, "convert", released, folder, *more)[0]

    assert convert() == 0
    before = (folder / "model.json").stat().st_mtime_ns
    assert convert() == 0
    assert (folder / "model.json").stat().st_mtime_ns == before
    assert convert("--data-set", "samm-lv") == 2  # another one is not replaced unasked
    assert convert("--data-set", "samm-lv", "--overwrite") == 0
    assert load_model(folder).info.trained_on.startswith("SAMM")
    torch.save(released_state("metst_2024", seed=1), released)
    assert convert("--data-set", "samm-lv") == 2


def test_a_signal_counts_once_and_handlers_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    tidied: list[int] = []

    def app(**_: object) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            tidied.append(1)

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(ending.signal, "getsignal", lambda _: signal.SIG_DFL)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert (stop.value.code, tidied) == (143, [1])
    assert signal.signal(signal.SIGTERM, before) == signal.SIG_DFL


def test_the_cache_is_private(clip: Path, places: dict[str, Path]) -> None:
    assert ended(places, start(places, "analyze", clip))[0] == 0
    assert places["cache"].stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in places["cache"].iterdir()} == {0o600}
