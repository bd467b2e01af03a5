"""Uploads of the review: whole or not at all, under harmless names, analysed one after the other."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from helpers.numbered_clips import numbered_picture
from helpers.review_server import TOKEN, only, serving
from metst.review.desk import Desk
from metst.review.jobs import WAITING_FILE, Jobs
from metst.review.uploads import safe_name
from metst.synthesis.portrait import portrait
from metst.video import write_video

Served = tuple[httpx.Client, Desk]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(output=tmp_path / "up") as found:
        yield found


def ended(client: httpx.Client, *, within_s: float = 120) -> dict[str, Any]:
    """The only recording, when nothing waits or runs any more."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        listed = client.get("/api/recordings").json()
        if listed and all(each["state"] in {"ready", "failed"} for each in listed):
            return dict(listed[-1])
        time.sleep(0.1)
    raise AssertionError(listed)


def files(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()} if folder.is_dir() else set()


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No upload is analysed."""
    monkeypatch.setattr(Jobs, "_work", lambda self: None)


@pytest.mark.parametrize(("name", "safe"), [("talk.mp4", "talk.mp4"), ("../../etc/passwd.mp4", "passwd.mp4"),
                                            ("C:\\x\\y.mov", "y.mov"), ("<img src=x>.mp4", "_img src=x_.mp4"),
                                            (".hidden.mp4", "hidden.mp4"), ("..", "recording"), ("", "recording"),
                                            ("-rf.mp4", "rf.mp4"), ("a\x00\nb\u202e.mp4", "a b.mp4"), ("con.", "con"),
                                            ("e\u0301.mp4", "\u00e9.mp4"), ("no ending", "no ending"),
                                            ("x" * 400 + ".mp4", "x" * 117 + ".mp4"),
                                            ("\u00e9" * 400 + ".mp4", "\u00e9" * 58 + ".mp4")])  # fmt: skip
def test_names_become_harmless(name: str, safe: str) -> None:
    assert safe_name(name) == safe
    assert safe_name(safe) == safe


@pytest.mark.usefixtures("still")
def test_an_upload_is_whole_private_and_waits(served: Served, tmp_path: Path) -> None:
    client, desk = served
    data = bytes(range(256)) * 20_000
    taken = client.put("/api/uploads/..%2F%3Cb%3Etalk.mp4", content=data)
    assert taken.status_code == 201
    assert taken.json()["name"] == "_b_talk.mp4"
    path = tmp_path / "up" / "_b_talk.mp4"
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o077 == 0
    (listed,) = client.get("/api/recordings").json()
    assert (listed["id"], listed["state"]) == (taken.json()["id"], "waiting")
    again = client.put("/api/uploads/%3Cb%3Etalk.mp4", content=b"x").json()
    assert again["name"] == "_b_talk 2.mp4"
    assert path.read_bytes() == data
    assert client.delete(f"/api/uploads/{listed['id']}").status_code == 204
    assert client.delete(f"/api/uploads/{listed['id']}").status_code == 404
    assert files(tmp_path / "up") == {"_b_talk 2.mp4", WAITING_FILE}
    assert [job.name for job in desk.jobs.all()] == ["_b_talk 2.mp4"]


@pytest.mark.usefixtures("still")
def test_uploads_that_waited_wait_again(served: Served, tmp_path: Path) -> None:
    served[0].put("/api/uploads/a.mp4", content=b"x")
    served[0].put("/api/uploads/b.mp4", content=b"x")
    (tmp_path / "up" / "b.mp4").unlink()
    remembered = (tmp_path / "up" / WAITING_FILE).read_text()
    assert json.loads(remembered) == ["a.mp4", "b.mp4"]
    with serving(output=tmp_path / "up") as (client, _):
        assert [each["name"] for each in client.get("/api/recordings").json()] == ["a.mp4"]
    (tmp_path / "up" / WAITING_FILE).write_text('["../a.mp4", 7]')
    with serving(output=tmp_path / "up") as (client, _):
        assert client.get("/api/recordings").json() == []


def test_an_upload_that_stops_leaves_nothing(served: Served, tmp_path: Path) -> None:
    client, desk = served
    head = (f"PUT /api/uploads/a.mp4?token={TOKEN} HTTP/1.1\r\nHost: 127.0.0.1:{desk.address.port}\r\n"
            "Content-Length: 90000000\r\n\r\n")  # fmt: skip
    with socket.create_connection(("127.0.0.1", desk.address.port)) as raw:
        raw.sendall(head.encode() + b"x" * 5_000_000)
        until(lambda: bool(files(tmp_path / "up")))
    until(lambda: not files(tmp_path / "up"))
    assert client.get("/api/recordings").json() == []


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_part_that_a_killed_server_left_goes_with_the_next_one(tmp_path: Path) -> None:
    writes = "import sys; from metst.storage.leftovers import name_beside; from pathlib import Path;"
    writes += " path = name_beside(Path(sys.argv[1])); path.write_bytes(b'x'); print(path.name)"
    (tmp_path / "up").mkdir()
    command = [sys.executable, "-c", writes, str(tmp_path / "up" / "a.mp4")]
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert files(tmp_path / "up") == {name}
    with serving(output=tmp_path / "up"):
        assert files(tmp_path / "up") == set()


def test_an_empty_upload_is_none(served: Served, tmp_path: Path) -> None:
    found = served[0].put("/api/uploads/a.mp4", content=b"")
    assert found.status_code == 400
    assert "is empty" in found.json()["detail"]
    assert files(tmp_path / "up") == set()


def test_a_disk_that_is_full_is_told(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = served

    class Full:
        free = 1_000_000

    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda _: Full)
        found = client.put("/api/uploads/a.mp4", content=b"x" * 2_000_000)
        assert found.status_code == 507
        assert "do not fit on the disk" in found.json()["detail"]

    def full(file: Any, data: bytes, path: Path) -> int:
        from metst.errors import OutputError
        from metst.storage import remedy

        error = OSError(errno.ENOSPC, "no space")
        raise OutputError(f"cannot write {path.name}: {remedy(error)}") from error

    with monkeypatch.context() as patched:  # it fills up on the way
        patched.setattr("metst.review.uploads._write", full)
        found = client.put("/api/uploads/a.mp4", content=b"x" * 2_000_000)
        assert found.status_code == 507
        assert "the disk is full" in found.json()["detail"]
    assert files(tmp_path / "up") == set()


@pytest.mark.skipif(not hasattr(__import__("os"), "geteuid") or __import__("os").geteuid() == 0, reason="root may all")
def test_a_folder_that_may_not_be_changed_is_told(served: Served, tmp_path: Path) -> None:
    (tmp_path / "up").mkdir(mode=0o500)
    assert served[0].put("/api/uploads/a.mp4", content=b"x").status_code == 507


def test_a_file_where_the_folder_is_needed_is_told(served: Served, tmp_path: Path) -> None:
    (tmp_path / "up").write_text("")
    found = served[0].put("/api/uploads/a.mp4", content=b"x")
    assert found.status_code == 507
    assert "another output folder" in found.json()["detail"]


def test_nothing_is_taken_in_without_a_folder() -> None:
    with serving() as (client, _):
        assert client.get("/api/session").json()["uploads"] is False
        assert client.put("/api/uploads/a.mp4", content=b"x").status_code == 403


def test_what_is_no_video_fails_with_the_reason(served: Served, tmp_path: Path) -> None:
    client, _ = served
    rid = client.put("/api/uploads/notes.txt", content=b"no video at all").json()["id"]
    listed = ended(client)
    assert (listed["id"], listed["state"]) == (rid, "failed")
    assert listed["problem"].startswith("notes.txt cannot be read as a video")
    assert str(tmp_path) not in listed["problem"]
    assert client.get(f"/api/recordings/{rid}").status_code == 404
    assert client.delete(f"/api/uploads/{rid}").status_code == 204
    assert files(tmp_path / "up") == set()


def test_an_analysis_that_dies_is_told_and_leaves_nothing(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    served[0].put("/api/uploads/a.mp4", content=b"x")
    listed = ended(served[0])
    assert "ended without a word" in listed["problem"]
    until(lambda: files(tmp_path / "up") == {"a.mp4", WAITING_FILE})


def test_an_analysis_that_cannot_be_started_is_told_and_the_next_has_its_turn(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = served
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", "/no/such/program")
        rid = client.put("/api/uploads/a.mp4", content=b"x").json()["id"]
        listed = ended(client)
    assert (listed["id"], listed["state"]) == (rid, "failed")
    assert listed["problem"].startswith("the analysis could not be run: ")
    assert "\n" not in listed["problem"]
    client.put("/api/uploads/notes.txt", content=b"no video at all")
    assert ended(client)["problem"].startswith("notes.txt cannot be read as a video")


def test_one_that_failed_stays_in_the_list_of_the_next_server(tmp_path: Path) -> None:
    with serving(output=tmp_path / "up") as (client, _):
        rid = client.put("/api/uploads/notes.txt", content=b"no video at all").json()["id"]
        failed = ended(client)
        until(lambda: "problem" in (tmp_path / "up" / WAITING_FILE).read_text())
    with serving(output=tmp_path / "up") as (client, _):
        assert client.get("/api/recordings").json() == [failed]
        assert failed["state"] == "failed"
        assert client.delete(f"/api/uploads/{rid}").status_code == 204
        assert client.get("/api/recordings").json() == []
        assert files(tmp_path / "up") == set()


def test_an_upload_is_analysed_and_shown(served: Served, tmp_path: Path) -> None:
    client, _ = served
    write_video(tmp_path / "face.mp4", [portrait()[::2, ::2]] * 20, rate_hz=30)
    rid = client.put("/api/uploads/face.mp4", content=(tmp_path / "face.mp4").read_bytes()).json()["id"]
    listed = ended(client)
    assert (listed["id"], listed["state"], listed["frames"], listed["video"]) == (rid, "ready", 20, "found")
    assert client.get(f"/api/recordings/{rid}/frames/7.jpg").status_code == 200
    assert client.delete(f"/api/uploads/{rid}").status_code == 409
    assert files(tmp_path / "up") == {"face.mp4", "face"}
    with serving(tmp_path / "up") as (other, _):
        assert only(other) == rid


def test_one_that_runs_is_stopped_and_goes(served: Served, tmp_path: Path) -> None:
    client, desk = served
    write_video(tmp_path / "long.mp4", (numbered_picture(k) for k in range(400)), rate_hz=30)
    rid = client.put("/api/uploads/long.mp4", content=(tmp_path / "long.mp4").read_bytes()).json()["id"]
    until(lambda: client.get("/api/recordings").json()[0]["state"] == "running")
    (job,) = desk.jobs.all()
    until(lambda: job.process is not None)
    process = job.process
    assert client.delete(f"/api/uploads/{rid}").status_code == 204
    assert process is not None
    assert process.poll() is not None
    until(lambda: files(tmp_path / "up") == set())
    assert client.get("/api/recordings").json() == []


@pytest.mark.usefixtures("still")
def test_uploads_of_one_name_at_a_time_are_both_kept(served: Served, tmp_path: Path) -> None:
    client, desk = served
    client.put("/api/uploads/first.mp4", content=b"1")  # makes the folder
    sockets = []
    for letter in (b"a", b"b"):
        own = socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=30)
        head = f"PUT /api/uploads/talk.mp4 HTTP/1.1\r\nHost: {desk.address.host}:{desk.address.port}\r\n"
        head += f"Authorization: Bearer {TOKEN}\r\nContent-Length: 8\r\nConnection: close\r\n\r\n"
        own.sendall(head.encode() + letter * 4)
        sockets.append((own, letter))
    client.put("/api/uploads/second.mp4", content=b"2")  # both are on their way by now
    for own, letter in sockets:
        own.sendall(letter * 4)
        assert own.recv(4096).startswith(b"HTTP/1.1 201")
        own.close()
    assert {(tmp_path / "up" / name).read_bytes() for name in ("talk.mp4", "talk 2.mp4")} == {b"a" * 8, b"b" * 8}
    assert {each.name for each in desk.jobs.all()} >= {"talk.mp4", "talk 2.mp4"}


@pytest.mark.usefixtures("still")
def test_recordings_that_differ_in_the_ending_alone_have_results_of_their_own(served: Served) -> None:
    client, desk = served
    for name in ("talk.mp4", "talk.mov"):
        assert client.put(f"/api/uploads/{name}", content=b"x").status_code == 201
    assert {each.name for each in desk.jobs.all()} == {"talk.mp4", "talk 2.mov"}
