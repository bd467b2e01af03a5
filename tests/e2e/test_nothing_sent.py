"""No command opens a socket, nor leaves anything but its results."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from helpers.feature_folders import feature_folder
from helpers.no_network import KILLED, can_forbid, only_answering, without_network
from helpers.numbered_clips import results_of
from metst.synthesis.portrait import portrait
from metst.video import write_video

pytestmark = pytest.mark.skipif(not can_forbid(), reason="no filter of system calls on this system")

EVENTS = "subject,video,onset,offset,emotion\n1,a,10,20,negative\n1,a,40,52,surprise\n2,b,5,19,positive\n"

QUICK = {
    "analyze": "analyze a.mp4 -o {out} --motion-format safetensors",
    "live": "live a.mp4 --fast --json",
    "score": "score truth.csv truth.csv --json",
    "agree": "agree coded.csv coded.csv --json",
    "datasets": "datasets check set --json",
    "import": "import coded.csv --format csv --video a.mp4 -o {out} --json",
    "extract": "extract set -o {out}",
    "cache": "cache --json",
    "purge": "purge --leftovers --json",
}
"""Commands that take seconds, and how they are called."""
SLOW = {
    "export": "export starter -o {out}/starter.onnx",
    "corpus": "analyze a.mp4 frames -o {out} --fps 30 --overlay --workers 2",
    "synthesize": "synthesize --seconds 12 --count 2 -o {out}",
    "convert": "convert released.pkl {out}",
    "merge": "features merge features more -o {out}",
    "train": "train --features features --recipe metst --width 8 --epochs 1 -o {out}",
    "evaluate": "evaluate features --recipe metst --width 8 --epochs 1 --workers 2 -o {out}",
    "calibrate": "calibrate long.mp4 -o {out} --repeats 1 --amplitudes 0.5,1 --durations 0.4 --labels surprise",
    "adapt": "adapt long.mp4 longer.mp4 -o {out} --steps 1",
    "demo": "demo -o {out}",
    "doctor": "doctor --json",
}
"""The others."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    picture = portrait()[::2, ::2]
    write_video(folder / "a.mp4", [picture] * 20, rate_hz=30)
    (folder / "frames").mkdir()
    for number in range(10):
        cv2.imwrite(str(folder / "frames" / f"{number:03}.png"), picture[..., ::-1])
    (folder / "truth.csv").write_text(EVENTS)
    (folder / "coded.csv").write_text("coder,label,onset_frame,offset_frame\nanna,smile,3,9\n")
    (folder / "set" / "anna").mkdir(parents=True)
    shutil.copy(folder / "a.mp4", folder / "set" / "anna" / "talk.mp4")
    (folder / "set" / "manifest.csv").write_text(
        "subject,video,onset,apex,offset,emotion\nanna,talk,5,9,14,happiness\n"
    )
    return folder


@pytest.fixture(scope="module")
def more(work: Path) -> Path:
    """What the slow commands need as well."""
    from helpers.reference_values import released_state

    torch = pytest.importorskip("torch")
    torch.save(released_state("metst"), work / "released.pkl")
    feature_folder(work / "features", subjects=2, videos=2, frames=150)
    feature_folder(work / "more", subjects=2, videos=2, frames=150)
    rng, picture = np.random.default_rng(0), portrait()[::2, ::2]
    for name, seconds in (("long", 20), ("longer", 25)):
        noisy = (
            np.clip(picture + rng.normal(0, 1, picture.shape), 0, 255).astype(np.uint8) for _ in range(30 * seconds)
        )
        write_video(work / f"{name}.mp4", noisy, rate_hz=30)
    return work


def left_behind(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def assert_alone(call: str, work: Path, own: Path) -> None:
    """Run a command without network, in folders of its own, and look what it leaves there."""
    folders = {name: own / name for name in ("tmp", "home", "cache", "out")}
    for folder in folders.values():
        folder.mkdir()
    before = left_behind(work)
    env = {
        "TMPDIR": str(folders["tmp"]),
        "HOME": str(folders["home"]),
        "XDG_CACHE_HOME": str(folders["home"] / "cache"),
        "XDG_CONFIG_HOME": str(folders["home"] / "config"),
        "METST_CACHE_DIR": str(folders["cache"]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    out = folders["out"] / "results"
    command = [sys.executable, "-m", "metst", *call.format(out=out).split(), "-q"]
    done = without_network(command, cwd=work, env=env, timeout=280)
    assert done.returncode in (0, 3), done.stderr
    assert "killed" not in done.stderr
    assert left_behind(folders["tmp"]) == []
    assert left_behind(folders["home"]) == []
    assert left_behind(work) == before
    assert left_behind(folders["out"]) or "{out}" not in call


@pytest.mark.parametrize("asks", ["socket.socket()", "socket.getaddrinfo('example.org', 80)"])
def test_who_asks_for_the_network_is_killed(tmp_path: Path, asks: str) -> None:
    done = without_network([sys.executable, "-c", f"import socket; {asks}"], cwd=tmp_path, env={}, timeout=60)
    assert done.returncode == KILLED


@pytest.mark.parametrize("name", QUICK)
def test_a_command_sends_nothing_and_leaves_its_results_only(name: str, work: Path, tmp_path: Path) -> None:
    assert_alone(QUICK[name], work, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_a_slow_command_sends_nothing_and_leaves_its_results_only(name: str, more: Path, tmp_path: Path) -> None:
    assert_alone(SLOW[name], more, tmp_path)


def test_a_review_answers_this_machine_only_and_leaves_nothing(work: Path, tmp_path: Path) -> None:
    """A server needs a socket: it listens for this machine, connects to nobody, and ends when it is told to."""
    pytest.importorskip("uvicorn")
    results_of(work / "a.mp4", tmp_path / "results" / "a", events=0)
    before = left_behind(tmp_path)
    folders = {name: str(tmp_path / "own") for name in ("TMPDIR", "HOME", "METST_CACHE_DIR", "XDG_CACHE_HOME")}
    (tmp_path / "own").mkdir()
    command = [
        sys.executable,
        "-m",
        "metst",
        "review",
        "results",
        "--videos",
        str(work),
        "--no-browser",
        "--coder",
        "a",
    ]
    with subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, **folders}, stdout=subprocess.PIPE, text=True,
        preexec_fn=only_answering(),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        address, _, token = process.stdout.readline().strip().partition("?token=")
        request = urllib.request.Request(f"{address}api/recordings", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            rid = json.load(answer)[0]["id"]
        request = urllib.request.Request(f"{address}api/recordings/{rid}/frames/3.jpg?token={token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.headers["X-Frame"] == "3"
        own = psutil.Process(process.pid)
        assert {each.laddr.ip for each in own.net_connections(kind="inet")} == {"127.0.0.1"}
        assert not own.children()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert left_behind(tmp_path) == before


@pytest.mark.parametrize("asks", ["s.connect(('127.0.0.1', 9))", "socket.socket(type=socket.SOCK_DGRAM)"])
def test_a_server_that_asks_for_the_network_is_killed(tmp_path: Path, asks: str) -> None:
    code = f"import socket; s = socket.create_server(('127.0.0.1', 0)); print('up', flush=True); {asks}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        preexec_fn=only_answering(),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (KILLED, "up\n")


def test_every_command_is_here() -> None:
    from metst.cli import app

    groups = {group.name for group in app.registered_groups}
    commands = app.registered_commands
    names = {command.name or command.callback.__name__ for command in commands if command.callback} | groups
    assert names == {"review", *(call.split()[0] for call in (*QUICK.values(), *SLOW.values()))}
