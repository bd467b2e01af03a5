"""``metst review`` as it is called: one line, a server, an end; and a server that is killed loses nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from helpers.command_line import run
from helpers.numbered_clips import number_in, numbered_picture, results_of
from metst.video import write_video

KILLS = 40
"""Times that the server is killed."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_video(folder / "clip.mp4", (numbered_picture(k) for k in range(1, 91)), rate_hz=30)
    results_of(folder / "clip.mp4", folder / "results" / "clip", events=2)
    return folder


@contextmanager
def started(*arguments: object, cwd: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and the line that it printed."""
    command = [sys.executable, "-m", "metst", "review", *map(str, arguments), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            if process.poll() is None:
                process.kill()


def test_it_prints_one_line_and_serves(made: Path, tmp_path: Path) -> None:
    options = ("--token", "T", "--coder", "anna", "-o", tmp_path / "up")
    with started(made / "results", *options, cwd=tmp_path) as (process, url):
        address, _, token = url.partition("?token=")
        assert token == "T"
        assert address.startswith("http://127.0.0.1:")
        with httpx.Client(base_url=address, headers={"Authorization": "Bearer T"}, trust_env=False) as client:
            assert client.get("/api/session").json()["coder"] == "anna"
            (listed,) = client.get("/api/recordings").json()
            client.post("/api/session/unlock", json={"faces": "clear"})
            assert number_in(client.get(f"/api/recordings/{listed['id']}/frames/33.jpg").content) == 33
            port = address.rstrip("/").rpartition(":")[2]
            other = subprocess.run(
                [sys.executable, "-m", "metst", "review", "--port", port, "--no-browser"],
                capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False,
            )  # fmt: skip
            assert (other.returncode, other.stdout) == (2, "")
            assert "give another --port" in other.stderr
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=30)
    assert (process.returncode, out, said) == (0, "", "")
    assert not (tmp_path / "up").exists()


def test_a_signal_ends_it_and_others_are_let_in_only_with_a_warning(made: Path, tmp_path: Path) -> None:
    with started(made / "results", "--host", "0.0.0.0", cwd=tmp_path) as (process, url):
        assert url.startswith("http://0.0.0.0:")
        assert len(url.partition("?token=")[2]) > 20
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert said.startswith("note: others in the network can reach")
    assert said.count("\n") == 1


def test_a_signal_before_it_serves_ends_it_as_well(made: Path, tmp_path: Path) -> None:
    """A signal at the last moment at which the server is not yet the one who hears it."""
    script = """
import asyncio, os, signal, sys
import uvicorn
from metst.cli import main

def run(self, sockets=None):
    begun = self.serve(sockets=sockets)
    os.kill(os.getpid(), signal.SIGTERM)
    asyncio.run(begun)

uvicorn.Server.run = run
sys.argv = ["metst", "review", sys.argv[1], "--no-browser"]
main()
"""
    command = [sys.executable, "-c", script, str(made / "results")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, "")


@pytest.mark.parametrize(("arguments", "message"), [
    (["nowhere"], "no such folder: nowhere"),
    (["."], "no results in ."),
    (["--coder", "machine"], "expected the name of a coder"),
    (["--coder", "a/b"], "expected the name of a coder"),
    (["--token", "a "], "expected a token"),
    (["--videos", "nowhere"], "no such folder: nowhere"),
    (["--host", "no.such.host.invalid"], "cannot listen at no.such.host.invalid"),
])  # fmt: skip
def test_a_wrong_call_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, out, said = run(capsys, "review", *arguments, "--no-browser")
    assert (code, out) == (2, "")
    assert message in said
    assert said.count("\n") == 1


def test_without_its_packages_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None; sys.argv = ['metst', 'review']; from metst.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "pip install 'metst[web]'" in done.stderr
    assert done.stderr.count("\n") == 1


class Session(threading.Thread):
    """Sends edits one after the other and counts those that were confirmed, until the server is gone."""

    def __init__(self, address: str, *, first: int) -> None:
        super().__init__()
        self.confirmed, self._address, self._next = first - 1, address, first

    def run(self) -> None:
        headers = {"Authorization": "Bearer T"}
        with httpx.Client(base_url=self._address, headers=headers, trust_env=False, timeout=20) as client:
            try:
                (listed,) = client.get("/api/recordings").json()
                path = f"/api/recordings/{listed['id']}"
                client.get(f"{path}/review").raise_for_status()
                while True:
                    number = self._next
                    after = {"onset_frame": 1 + number % 60, "offset_frame": 70, "note": f"n{number}"}
                    body = {"id": f"e{number}", "what": f"n{number}", "changes": [{"key": None, "after": after}]}
                    assert client.post(f"{path}/edits", json=body).status_code == 200
                    self.confirmed, self._next = number, number + 1
            except httpx.HTTPError:
                return


@pytest.mark.parametrize("kills", [1, pytest.param(KILLS, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_a_server_that_is_killed_loses_no_edit_that_it_confirmed(made: Path, tmp_path: Path, kills: int) -> None:
    results_of(made / "clip.mp4", tmp_path / "results" / "clip", events=2)
    rng, confirmed = random.Random(7), 0
    for _ in range(kills):
        with started(tmp_path / "results", "--token", "T", "--coder", "anna", cwd=tmp_path) as (process, url):
            address = url.partition("?")[0]
            confirmed = edits_in(address, at_least=confirmed)
            session = Session(address, first=confirmed + 1)
            session.start()
            while session.confirmed == confirmed and session.is_alive():
                time.sleep(0.001)
            time.sleep(rng.uniform(0.0, 0.2))
            os.kill(process.pid, signal.SIGKILL)
            session.join()
            assert session.confirmed > confirmed
            confirmed = session.confirmed
    with started(tmp_path / "results", "--token", "T", "--coder", "anna", cwd=tmp_path) as (_, url):
        edits_in(url.partition("?")[0], at_least=confirmed)


def edits_in(address: str, *, at_least: int) -> int:
    """How many edits a server has, which must be all that were confirmed, whole and in order."""
    with httpx.Client(base_url=address, headers={"Authorization": "Bearer T"}, trust_env=False, timeout=60) as client:
        (listed,) = client.get("/api/recordings").json()
        review = client.get(f"/api/recordings/{listed['id']}/review").json()
        history = client.get(f"/api/recordings/{listed['id']}/history").json()
    notes = {event["note"] for event in review["events"]} - {""}
    done = [line["what"] for line in history if line["kind"] == "edit"]
    assert done == [f"n{number}" for number in range(1, len(done) + 1)]
    assert notes == set(done)
    assert len(done) - at_least in (0, 1)  # the last may have been saved and not been told of
    return len(done)
