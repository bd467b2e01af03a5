"""The server of the review: who gets in, what is served, what is kept from whom."""

from __future__ import annotations

import json
import logging
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest

import metst.review
from helpers.analyses import make_analysis
from helpers.numbered_clips import numbered_picture, results_of
from helpers.review_server import TOKEN, only, serving
from helpers.reviewing import QUICK
from metst.coding.layers import Coding, Layer, LayerEvent
from metst.coding.layers_folder import write_layers
from metst.results import Analysis, Custody, read_analysis, write_analysis
from metst.results.analysis_folder import REVIEW_FILE
from metst.results.flags import WORDS
from metst.review.desk import Desk
from metst.review.gate import Address
from metst.review.videos import _UNSURE
from metst.video import content_hash, write_video

Served = tuple[httpx.Client, Desk]
FRAMES = 90


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip and its results beside it."""
    folder = tmp_path_factory.mktemp("made")
    write_video(folder / "clip.mp4", (numbered_picture(k) for k in range(1, FRAMES + 1)), rate_hz=30)
    results_of(folder / "clip.mp4", folder / "results" / "clip", events=2)
    return folder


@pytest.fixture
def copy(made: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=QUICK) as folder:
        shutil.copytree(made, Path(folder) / "work")
        yield Path(folder) / "work"


@pytest.fixture(scope="module")
def standing(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests that change nothing."""
    folder = tmp_path_factory.mktemp("standing")
    shutil.copytree(made, folder / "work")
    with serving(folder / "work" / "results") as found:
        yield found


@pytest.fixture
def served(copy: Path) -> Iterator[Served]:
    with serving(copy / "results") as found:
        yield found


def edit(client: httpx.Client, rid: str, *changes: dict[str, Any], id: str = "e1", **more: Any) -> httpx.Response:
    return client.post(
        f"/api/recordings/{rid}/edits", json={"id": id, "what": "test", "changes": list(changes), **more}
    )


# --- who gets in


def bare(client: httpx.Client, path: str, *, method: str = "GET", **headers: str) -> httpx.Response:
    return httpx.request(method, f"{client.base_url}{path.lstrip('/')}", headers=headers, trust_env=False)


@pytest.mark.parametrize("path", ["/api/session", "/api/recordings", "/api/openapi.json", "/", "/api", "/api/nothing"])
@pytest.mark.parametrize("token", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
def test_nobody_gets_in_without_the_token(standing: Served, path: str, token: str) -> None:
    found = bare(standing[0], path, Authorization=token) if token else bare(standing[0], path)
    assert found.status_code == 401
    assert "metst review" in found.json()["detail"]
    assert TOKEN not in found.text


def test_the_token_comes_in_a_header_in_the_address_or_as_a_cookie(served: Served) -> None:
    client, desk = served
    assert bare(client, "/api/session", Authorization=f"Bearer {TOKEN}").status_code == 200
    assert bare(client, f"/api/session?token={TOKEN}").status_code == 200
    cookie = f"{desk.address.cookie}={TOKEN}"
    assert bare(client, "/api/session", Cookie=cookie).status_code == 200
    assert bare(client, "/api/session", Cookie=f"metst-review-1={TOKEN}").status_code == 401


@pytest.mark.parametrize("other", ['a={"x":1}', "two words=1", "a[b]=1", '"', "="])
def test_a_cookie_of_another_server_hides_nothing(served: Served, other: str) -> None:
    client, desk = served
    own = f"{desk.address.cookie}={TOKEN}"
    assert bare(client, "/api/session", Cookie=f"{other}; {own}").status_code == 200
    assert bare(client, "/api/session", Cookie=f"{own}; {other}").status_code == 200


def test_the_address_sets_a_cookie_that_scripts_do_not_see(served: Served) -> None:
    client, desk = served
    found = bare(client, f"/?token={TOKEN}")
    if found.status_code == 404:
        pytest.skip("no page here")
    cookie = found.headers["set-cookie"]
    assert cookie.startswith(f"{desk.address.cookie}={TOKEN};")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "",
                                  "localhost.evil:{port}", "127.0.0.1:{port}.evil"])  # fmt: skip
def test_a_forged_host_is_refused(standing: Served, host: str) -> None:
    client, desk = standing
    host = host.format(port=desk.address.port)
    found = bare(client, "/api/session", Host=host, Authorization=f"Bearer {TOKEN}")
    assert found.status_code == 403
    assert found.json()["detail"].startswith("expected a request to http://127.0.0.1:")


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}"])
def test_its_own_names_are_known(standing: Served, host: str) -> None:
    client, desk = standing
    host = host.format(port=desk.address.port)
    own = {"Host": host, "Origin": f"http://{host}", "Authorization": f"Bearer {TOKEN}"}
    assert bare(client, "/api/session", **own).status_code == 200


def test_names_of_a_server_for_others() -> None:
    own = Address("0.0.0.0", 80)
    assert own.is_own("192.0.2.7:80")
    assert own.is_own(f"{socket.gethostname()}:80")
    assert not own.is_own("rebound.example:80")
    assert not own.is_loopback
    assert Address("::1", 80).url == "http://[::1]:80/"
    assert Address("::1", 80).is_own("[::1]:80")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST", "127.0.0.1:80"])
def test_the_usual_port_may_be_left_out(host: str) -> None:
    assert Address("127.0.0.1", 80).is_own(host)
    assert host.endswith(":80") or not Address("127.0.0.1", 8080).is_own(host)


@pytest.mark.parametrize("host", ["evil.example", "", "80", ":80", "127.0.0.1:", "127.0.0.1:8080", "[::1]x", "::1"])
def test_other_names_are_none_of_the_usual_port(host: str) -> None:
    assert not Address("127.0.0.1", 80).is_own(host)


@pytest.mark.parametrize("token", ["a&b=c#d+e f%41", 'x;y"z\\,/?', "{}"])
def test_any_token_comes_in_in_each_way(copy: Path, token: str) -> None:
    with serving(copy / "results", token=token) as (client, _):
        page = bare(client, f"/?token={quote(token, safe='')}")
        assert page.status_code == 200
        cookie = page.headers["set-cookie"].partition("; HttpOnly")[0]
        assert bare(client, "/api/session", Cookie=cookie).status_code == 200
        assert bare(client, "/api/session", Authorization=f"Bearer {token}").status_code == 200
        assert bare(client, "/api/session", Authorization=f"Bearer {token[:-1]}").status_code == 401


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1", "https://127.0.0.1:{port}"])
def test_another_origin_is_refused(standing: Served, method: str, origin: str) -> None:
    client, desk = standing
    origin = origin.format(port=desk.address.port)
    found = bare(client, "/api/session", method=method, Origin=origin, Authorization=f"Bearer {TOKEN}")
    assert found.status_code == 403


def test_a_page_of_another_site_changes_nothing(served: Served) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {TOKEN}"}
    assert bare(served[0], "/api/session/unlock", method="POST", **headers).status_code == 403


@pytest.mark.parametrize("path", ["/api/session", "/api/none", "/static/none.js", "/none"])
def test_every_answer_has_the_headers(standing: Served, path: str) -> None:
    headers = standing[0].get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == ("no-store" if path.startswith("/api") else "no-cache")
    assert "server" not in headers


@pytest.mark.parametrize("path", ["../server.py", "..%2fserver.py", "%2e%2e/server.py", "/etc/passwd",
                                  "..\\server.py", "....//server.py",
                                  "uPlot.min.css/../../../server.py", "%00", "a" * 5000])  # fmt: skip
def test_no_path_leads_out_of_the_page(standing: Served, path: str) -> None:
    desk = standing[1]
    with closing(socket.create_connection(("127.0.0.1", desk.address.port))) as raw:  # clients would tidy the path up
        raw.sendall(
            f"GET /static/{path} HTTP/1.1\r\nHost: 127.0.0.1:{desk.address.port}\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.split(None, 2)[1] == b"404"
    assert b"import" not in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]


def test_vendored_files_are_served(served: Served) -> None:
    found = served[0].get("/static/uPlot.iife.min.js")
    assert found.status_code == 200
    assert "javascript" in found.headers["content-type"]


@pytest.mark.parametrize("wanted", ["bytes=", "bytes=5", "bytes=9-2", "bytes=-", "items=0-5", "bytes=0-1,3-4",
                                    "nonsense", "bytes=99999999-", "bytes=--5", "bytes=1e3-"])  # fmt: skip
def test_nonsense_as_a_range_is_told(standing: Served, wanted: str) -> None:
    client, _ = standing
    rid = only(client)
    found = client.get(f"/api/recordings/{rid}/series/spot_score", headers={"Range": wanted})
    assert found.status_code == 416
    assert found.json()["detail"].startswith("expected a range")


def test_a_part_of_a_series(served: Served) -> None:
    client, _ = served
    path = f"/api/recordings/{only(client)}/series/spot_score"
    whole = client.get(path).content
    found = client.get(path, headers={"Range": "bytes=8-15"})
    assert (found.status_code, found.content) == (206, whole[8:16])
    assert found.headers["content-range"] == f"bytes 8-15/{len(whole)}"
    assert client.get(path, headers={"Range": "bytes=-4"}).content == whole[-4:]
    assert client.get(path, headers={"Range": "bytes=356-"}).content == whole[356:]


def test_a_body_that_is_too_large_is_refused(served: Served) -> None:
    client, _ = served
    found = client.post("/api/session/unlock", content=b" " * (9 * 2**20))
    assert found.status_code == 413
    in_chunks = client.post("/api/session/unlock", content=(b" " * 2**20 for _ in range(9)))
    assert (in_chunks.status_code, list(in_chunks.json())) == (413, ["detail"])


def test_no_log_holds_the_token(
    served: Served, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for client in ("httpx", "httpcore"):  # who asks may write down what is asked
        caplog.set_level(logging.CRITICAL, logger=client)
    with caplog.at_level(0):
        served[0].get(f"/api/session?token={TOKEN}")
        served[0].get(f"/api/none?token={TOKEN}")
    assert TOKEN not in "".join(record.getMessage() for record in caplog.records)
    assert TOKEN not in "".join(capfd.readouterr())
    assert TOKEN not in repr(served[1])


def test_an_error_of_the_server_is_one_line(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    client, desk = served

    def broken() -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(desk.library, "all", broken)
    found = client.get("/api/recordings")
    assert found.status_code == 500
    detail = found.json()["detail"]
    assert "ZeroDivisionError: inside" in detail
    assert "\n" not in detail
    assert client.get("/api/session").status_code == 200


# --- what is served


def test_the_interface_is_described(served: Served) -> None:
    client, _ = served
    described = client.get("/api/openapi.json").json()
    paths = described["paths"]
    at = "/api/recordings/{rid}"
    for path in ("/api/session", "/api/session/unlock", "/api/recordings", at, f"{at}/series/{{name}}",
                 f"{at}/layers", f"{at}/review", f"{at}/edits", f"{at}/undo", f"{at}/redo", f"{at}/begin",
                 f"{at}/release", f"{at}/history", f"{at}/agreement", f"{at}/adjudication",
                 f"{at}/frames/{{number}}.jpg",
                 f"{at}/export",
                 "/api/uploads/{name}", "/api/uploads/{rid}"):  # fmt: skip
        assert path in paths, path
    assert client.get("/docs").status_code == 404


def test_a_recording_and_its_series(served: Served, copy: Path) -> None:
    client, _ = served
    analysis = read_analysis(copy / "results" / "clip")
    (listed,) = client.get("/api/recordings").json()
    expected = {"name": "clip.mp4", "state": "ready", "frames": FRAMES, "candidates": 2, "video": "found"}
    assert expected.items() <= listed.items()
    path = f"/api/recordings/{listed['id']}"
    told = client.get(path).json()
    assert told["source"]["frames"] == FRAMES
    assert told["regions"] == list(analysis.motion.displacement.channels)
    assert told["threshold"] == analysis.threshold
    assert [layer["name"] for layer in told["layers"]] == ["machine"]

    def series(name: str) -> np.ndarray:
        found = client.get(f"{path}/series/{name}")
        assert found.status_code == 200, found.text
        return np.frombuffer(found.content, "<f8" if name == "time_s" else "<f4")

    np.testing.assert_array_equal(series("time_s"), analysis.grid.time_s)
    np.testing.assert_array_equal(series("spot_score"), analysis.scores.channel("spot_score"))
    np.testing.assert_array_equal(series("p_positive"), analysis.scores.channel("p_positive"))
    np.testing.assert_array_equal(series("face_valid"), analysis.usable)
    at = analysis.motion.displacement.channels.index("mouth")
    length = np.linalg.norm(analysis.motion.displacement.values[:, at], axis=1)
    np.testing.assert_allclose(series("motion/mouth"), length, rtol=1e-6)
    np.testing.assert_array_equal(series("quality/mouth"), analysis.motion.quality[:, at])
    found = client.get(f"{path}/conditions").json()
    for number, region in enumerate(told["regions"]):
        held = np.zeros(FRAMES, np.uint8)
        for each in found:
            if each["region"] == region:
                bit = next(bit for bit, word in WORDS.items() if word == each["condition"])
                held[each["first_frame"] - 1 : each["last_frame"]] |= np.uint8(bit)
        np.testing.assert_array_equal(held, analysis.motion.conditions[:, number])
    assert all(series(name).size == FRAMES for name in told["series"])
    assert client.get(f"{path}/series/none").status_code == 404


def test_gaps_and_conditions(tmp_path: Path) -> None:
    analysis = make_analysis(duration_s=8, gaps=((2.0, 3.0, "no face"),), events=0)
    write_analysis(analysis, tmp_path / "a")
    with serving(tmp_path) as (client, _):
        told = client.get(f"/api/recordings/{only(client)}").json()
        raw = client.get(f"/api/recordings/{only(client)}/series/spot_score").content
    assert told["gaps"] == [{"first_frame": 61, "last_frame": 90, "reason": "no face"}]
    assert np.isnan(np.frombuffer(raw, "<f4")[60:90]).all()
    first = next(each for each in told["conditions"] if each["condition"] == "blink")
    held = np.flatnonzero((analysis.motion.conditions & 32).any(axis=1))
    assert (first["first_frame"], first["last_frame"]) == (held[0] + 1, held[-1] + 1)
    assert told["video"]["state"] == "missing"
    assert "--videos" in told["video"]["hint"]


def test_a_review_is_shown_before_it_has_begun_as_it_will_be(tmp_path: Path) -> None:
    write_analysis(make_analysis(events=3), tmp_path / "a")
    with serving(tmp_path) as (client, desk):
        recording = desk.recording(only(client))
        shown = desk.coders.state(recording, "anna")
        assert not (tmp_path / "a" / REVIEW_FILE).exists()
        told = client.get(f"/api/recordings/{recording.id}/review").json()
        again = client.get(f"/api/recordings/{recording.id}/review").json()
        desk.coders.have_begun(recording, "anna")
        assert (tmp_path / "a" / REVIEW_FILE).exists()
        assert shown == told == again == json.loads(json.dumps(desk.coders.state(recording, "anna")))
        assert [each["kind"] for each in client.get(f"/api/recordings/{recording.id}/history").json()] == ["begin"]


def test_all_modules_of_the_page_are_asked_for_at_once() -> None:
    page = Path(metst.review.__file__).parent / "page"
    asked = set(re.findall(r'modulepreload" href="/static/([^"]+)"', (page / "index.html").read_text(encoding="utf-8")))
    assert asked | {"main.js"} == {each.name for each in page.glob("*.js")}


def test_movement_is_displacement_without_slow_drift(tmp_path: Path) -> None:
    made = make_analysis(duration_s=60, events=0, gaps=((30.0, 31.0, "no face"),))
    values = made.motion.displacement.values.copy()
    time_s = made.grid.time_s
    drift = np.where(time_s < 30, time_s, time_s - 31)[:, None] * np.float32([0.01, -0.005])  # up to .3 face units
    bump = (0.02 * np.exp(-(((time_s - 20) / 0.1) ** 2)))[:, None] * np.float32([0, 1])
    values[:, 0] = np.where(np.isfinite(values[:, 0]), drift + bump, np.nan)
    motion = replace(made.motion, displacement=replace(made.motion.displacement, values=values))
    write_analysis(replace(made, motion=motion), tmp_path / "a", motion_format="safetensors")
    with serving(tmp_path) as (client, _):
        path = f"/api/recordings/{only(client)}"
        region = client.get(path).json()["regions"][0]
        moved = np.frombuffer(client.get(f"{path}/series/movement/{region}").content, "<f4")
    at = int(np.abs(time_s - 20).argmin())
    assert moved[at] == pytest.approx(0.02, abs=0.002)
    # Two seconds from the ends of a stretch, where there is no more to tell drift by, at most their drift is left.
    inner = ((time_s > 3) & (time_s < 27)) | ((time_s > 34) & (time_s < 57))
    assert moved[inner & (np.abs(time_s - 20) > 0.5)].max() < 0.002
    assert np.nanmax(moved) < 0.03
    assert np.isnan(moved[(time_s > 30.1) & (time_s < 30.9)]).all()


def test_a_release_sent_twice_is_done_once(tmp_path: Path) -> None:
    write_analysis(make_analysis(events=1), tmp_path / "a")
    with serving(tmp_path) as (client, _):
        path = f"/api/recordings/{only(client)}"

        def release(name: str, released: bool) -> bool:
            return bool(client.post(f"{path}/release", json={"id": name, "released": released}).json()["released"])

        def told() -> bool:
            (listed,) = client.get("/api/recordings").json()
            return bool(listed["released"])

        assert not told()
        assert release("one", True)
        assert release("one", True)
        assert told()
        assert not release("two", False)
        assert not told()
        assert not release("one", True)  # it came late, and was done before
        kinds = [each["kind"] for each in client.get(f"{path}/history").json()]
        assert kinds.count("release") == 2
        opposite = client.post(f"{path}/release", json={"id": "one", "released": False})
        for used in (client.post(f"{path}/undo", json={"id": "one"}), opposite):
            assert used.status_code == 400
            assert "was used for something else" in used.json()["detail"]


def test_recordings_are_looked_for_at_any_depth(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metst.review.videos._WALK_AGAIN_S", 0.0)
    monkeypatch.setattr("metst.review.videos._LOOK_AGAIN_S", 0.0)
    shutil.copytree(copy / "results" / "clip", tmp_path / "r" / "clip")
    (video,) = copy.glob("*.mp4")
    deep = tmp_path / "videos" / "2026" / "lab"
    deep.mkdir(parents=True)
    (tmp_path / "videos" / ".hidden").mkdir()
    shutil.copy(video, tmp_path / "videos" / ".hidden")
    with serving(tmp_path / "r", videos=(tmp_path / "videos",)) as (client, _):
        path = f"/api/recordings/{only(client)}/video"
        assert client.get(path).json()["state"] == "missing"
        shutil.copy(video, deep)
        assert client.get(path).json()["state"] == "found"
        assert client.get(path.replace("video", "frames/5.jpg")).status_code == 200
        (tmp_path / "videos" / video.name).write_bytes(b"another one")  # less deep, but not the one that was analysed
        assert client.get(path).json()["state"] == "found"


def settled(client: httpx.Client, path: str) -> str:
    """Whether a recording is there, once its content was checked."""
    end_s = time.monotonic() + 30
    while (told := client.get(path).json())["hint"] == _UNSURE and time.monotonic() < end_s:
        time.sleep(0.02)
    return str(told["state"])


def test_of_many_recordings_with_one_name_the_one_in_folders_of_the_same_names_is_read_first(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr("metst.review.videos._WALK_AGAIN_S", 0.0)
    monkeypatch.setattr("metst.review.videos._LOOK_AGAIN_S", 0.0)
    monkeypatch.setattr("metst.review.videos.content_hash", lambda path: read.append(path) or content_hash(path))
    shutil.copytree(copy / "results" / "clip", tmp_path / "r" / "ben" / "clip")
    (video,) = copy.glob("*.mp4")
    videos = tmp_path / "videos"
    for person in ("anna", "ben", "carl"):
        (videos / person).mkdir(parents=True)
        (videos / person / video.name).write_bytes(person.encode())
    with serving(tmp_path / "r", videos=(videos,)) as (client, _):
        path = f"/api/recordings/{only(client)}/video"
        assert settled(client, path) == "changed"
        assert read[0] == videos / "ben" / video.name
        (videos / "dora").mkdir()
        shutil.copy(video, videos / "dora")  # a folder that was not there when the others were read
        assert settled(client, path) == "found"
        assert read[-1] == videos / "dora" / video.name


def test_layers_without_an_analysis_are_shown(copy: Path, tmp_path: Path) -> None:
    analysis = read_analysis(copy / "results" / "clip")
    coding = Coding(analysis.source, analysis.grid, (Layer("ben", (LayerEvent(3, 9, "smile"),)),), "", ())
    write_layers(coding, tmp_path / "r" / "clip", origin={}, version="0", custody=Custody())
    with serving(tmp_path / "r", videos=(copy,)) as (client, _):
        rid = only(client)
        told = client.get(f"/api/recordings/{rid}").json()
        assert (told["series"], told["classes"]) == (["time_s"], [])
        assert client.get(f"/api/recordings/{rid}/review").json()["events"] == []
        begun = client.post(f"/api/recordings/{rid}/begin", json={"from": "layers", "layers": ["ben"]}).json()
        assert [event["label"] for event in begun["events"]] == ["smile"]
        assert client.get(f"/api/recordings/{rid}/frames/5.jpg").status_code == 200


def test_damaged_and_older_results_are_told(copy: Path, tmp_path: Path) -> None:
    shutil.copytree(copy / "results" / "clip", copy / "results" / "older")
    path = copy / "results" / "older" / "analysis.json"
    values = json.loads(path.read_text()) | {"schema": 0}
    path.write_text(json.dumps({k: v for k, v in values.items() if not k.startswith("sha256_of")}))
    shutil.copytree(copy / "results" / "clip", copy / "results" / "torn")
    (copy / "results" / "torn" / "frames.csv").write_text("frame\n")
    with serving(copy / "results") as (client, _):
        clip, older, torn = client.get("/api/recordings").json()
        assert (clip["state"], older["state"], torn["state"]) == ("ready", "failed", "ready")
        assert "has schema 0" in older["problem"]
        for listed in (older, torn):
            found = client.get(f"/api/recordings/{listed['id']}")
            assert found.status_code == 409
            assert "\n" not in found.json()["detail"]
        assert client.get(f"/api/recordings/{clip['id']}").status_code == 200


def test_results_that_are_written_anew_are_read_anew(served: Served, copy: Path) -> None:
    client, _ = served
    rid = only(client)
    before = client.get(f"/api/recordings/{rid}/series/spot_score").content
    results_of(copy / "clip.mp4", copy / "results" / "clip", events=0)
    assert client.get("/api/recordings").json()[0]["candidates"] == 0
    assert client.get(f"/api/recordings/{rid}/series/spot_score").content != before


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>.mp4", "'; drop.mp4", "a&b \u202e.mp4"])
def test_names_with_markup_stay_text(tmp_path: Path, name: str) -> None:
    write_analysis(make_analysis(duration_s=2, events=0, name=name), tmp_path / "a")
    with serving(tmp_path) as (client, _):
        found = client.get("/api/recordings")
        assert found.headers["content-type"] == "application/json"
        assert found.json()[0]["name"] == name
        assert client.get(f"/api/recordings/{only(client)}/export?format=csv&layer=machine").status_code == 200


# --- the recording itself


def test_a_recording_that_is_moved_away_and_comes_back(
    served: Served, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metst.review.videos._LOOK_AGAIN_S", 0.0)
    client, _ = served
    path = f"/api/recordings/{only(client)}"
    assert client.get(f"{path}/frames/3.jpg").status_code == 200
    (copy / "clip.mp4").rename(copy / "elsewhere.mp4")
    for number in (3, 4):  # one that was made before, and one that was not
        found = client.get(f"{path}/frames/{number}.jpg")
        assert found.status_code == 409
        assert "clip.mp4 was not found" in found.json()["detail"]
    assert client.get(path).json()["video"]["state"] == "missing"
    assert client.get(f"{path}/review").status_code == 200
    (copy / "elsewhere.mp4").rename(copy / "clip.mp4")
    assert client.get(f"{path}/frames/4.jpg").status_code == 200


def test_a_recording_that_is_changed(served: Served, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metst.review.videos._LOOK_AGAIN_S", 0.0)
    client, _ = served
    path = f"/api/recordings/{only(client)}"
    assert client.get(f"{path}/frames/3.jpg").status_code == 200
    write_video(copy / "clip.mp4", (numbered_picture(k + 7) for k in range(1, FRAMES + 1)), rate_hz=30)
    found = client.get(f"{path}/frames/3.jpg")
    assert found.status_code == 409
    assert "not the recording that was analysed" in found.json()["detail"]
    assert client.get(path).json()["video"]["state"] == "changed"


@pytest.mark.parametrize("number", ["0", "-1", "91", "99999999999999999999"])
def test_there_is_no_such_frame(standing: Served, number: str) -> None:
    found = standing[0].get(f"/api/recordings/{only(standing[0])}/frames/{number}.jpg")
    assert found.status_code == 404


@pytest.mark.parametrize("query", ["width=1", "width=x", "faces=all", "magnify=0", "magnify=nan", "since=zero"])
def test_nonsense_about_a_picture_is_told(standing: Served, query: str) -> None:
    found = standing[0].get(f"/api/recordings/{only(standing[0])}/frames/3.jpg?{query}")
    assert found.status_code == 400
    assert query.partition("=")[0] in found.json()["detail"]


# --- reviews


def test_a_review_begins_with_what_the_machine_found(served: Served, copy: Path) -> None:
    client, _ = served
    rid = only(client)
    review = client.get(f"/api/recordings/{rid}/review").json()
    analysis = read_analysis(copy / "results" / "clip")
    assert (review["layer"], review["began_from"], review["released"]) == ("anna", "machine", False)
    assert [event["onset_frame"] for event in review["events"]] == (analysis.events.onset + 1).tolist()
    assert {event["verdict"] for event in review["events"]} == {"open"}
    assert {event["proposals"][0]["by"] for event in review["events"]} == {"machine"}


def test_edits_undo_redo_and_a_restart(copy: Path) -> None:
    with serving(copy / "results") as (client, _):
        rid = only(client)
        path = f"/api/recordings/{rid}"
        start = client.get(f"{path}/review").json()
        first = start["events"][0]
        change = {"key": first["key"], "revision": 0, "after": {"onset_frame": first["onset_frame"] - 1}}
        done = edit(client, rid, change)
        assert done.status_code == 200
        assert done.json()["events"][0]["onset_frame"] == first["onset_frame"] - 1
        assert done.json()["events"][0]["verdict"] == "accepted"
        assert edit(client, rid, change).json() == done.json()  # the same once more
        stale = edit(client, rid, change, id="e2")
        assert stale.status_code == 409
        assert stale.json()["events"][0]["revision"] == done.json()["revision"]
        assert (copy / "results" / "clip" / REVIEW_FILE).stat().st_mode & 0o077 == 0
    with serving(copy / "results") as (client, _):
        again = client.get(f"{path}/review").json()
        assert again["can_undo"] == "test"
        undone = client.post(f"{path}/undo", json={"id": "u1"}).json()
        assert undone["events"][0]["onset_frame"] == first["onset_frame"]
        assert undone["can_redo"] == "test"
        assert client.post(f"{path}/redo", json={"id": "r1"}).json()["events"][0]["verdict"] == "accepted"
        assert client.post(f"{path}/redo", json={"id": "r2"}).status_code == 400
        kinds = [line["kind"] for line in client.get(f"{path}/history").json()]
        assert kinds == ["begin", "edit", "undo", "redo"]
        (listed,) = client.get("/api/recordings").json()
        assert (listed["open"], listed["accepted"], listed["rejected"]) == (1, 1, 0)
    with serving(copy / "results") as (client, _):  # counted from the log, without opening it
        (listed,) = client.get("/api/recordings").json()
        assert (listed["open"], listed["accepted"], listed["rejected"]) == (1, 1, 0)


def changing(key: str | None, after: Any) -> dict[str, Any]:
    return {"id": "x", "changes": [{"key": key, "revision": 0, "after": after}]}


@pytest.mark.parametrize("body", [{}, {"id": "x"}, {"id": "x", "changes": []}, {"id": "x", "changes": [{}]}, [1],
                                  "text", changing("\ud800", None), changing("m1", {"note": "x"}) | {"id": "x" * 999},
                                  changing("m1", {"onset_frame": 1e99}), changing("m1", {"colour": "red"}),
                                  changing(None, {"onset_frame": 5, "offset_frame": 500}),
                                  changing(None, {"onset_frame": 9, "offset_frame": 3}),
                                  changing("m1", None)])  # fmt: skip
def test_edits_that_cannot_be_made_change_nothing(standing: Served, body: Any) -> None:
    client, _ = standing
    rid = only(client)
    before = client.get(f"/api/recordings/{rid}/review").json()
    plain = {"Content-Type": "application/json"}
    found = client.post(f"/api/recordings/{rid}/edits", content=json.dumps(body), headers=plain)
    assert found.status_code == 400, found.text
    assert "\n" not in found.json()["detail"]
    assert client.get(f"/api/recordings/{rid}/review").json() == before


def test_a_full_disk_is_told_and_nothing_is_lost(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    client, desk = served
    rid = only(client)
    before = client.get(f"/api/recordings/{rid}/review").json()
    desk.coders.have_begun(desk.recording(rid), "anna")  # else perhaps a moment later
    reviews = desk.coders.reviews(desk.recording(rid))
    assert reviews._journal is not None
    with monkeypatch.context() as patched:
        from metst.errors import OutputError

        def full(entry: object) -> None:
            raise OutputError("nothing was saved: the disk is full")

        patched.setattr(reviews._journal, "append", full)
        found = edit(client, rid, {"key": "m1", "revision": 0, "after": {"verdict": "rejected"}})
        assert found.status_code == 507
        assert "the disk is full" in found.json()["detail"]
        assert client.get(f"/api/recordings/{rid}/review").json() == before
    assert edit(client, rid, {"key": "m1", "revision": 0, "after": {"verdict": "rejected"}}).status_code == 200


def test_a_folder_that_may_not_be_changed_is_shown(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metst.coding.reviews.os.access", lambda *_: False)
    client, _ = served
    rid = only(client)
    assert "may not be changed" in client.get(f"/api/recordings/{rid}").json()["read_only"]
    assert len(client.get(f"/api/recordings/{rid}/review").json()["events"]) == 2
    found = edit(client, rid, {"key": "m1", "revision": 0, "after": {"verdict": "rejected"}})
    assert found.status_code == 507
    assert found.json()["detail"].startswith("nothing was saved: ")
    assert client.post(f"/api/recordings/{rid}/release", json={"released": True}).status_code == 507


@pytest.mark.parametrize("begun", [False, True])
def test_a_folder_that_may_not_be_changed_is_handed_on(
    copy: Path, begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if begun:
        with serving(copy / "results") as (client, _):
            client.get(f"/api/recordings/{only(client)}/review")
            edit(client, only(client), {"key": "m1", "revision": 0, "after": {"verdict": "accepted"}})
    monkeypatch.setattr("metst.coding.reviews.os.access", lambda *_: False)
    with serving(copy / "results") as (client, _):
        path = f"/api/recordings/{only(client)}"
        own = [layer for layer in client.get(path).json()["layers"] if layer["mine"]]
        assert [layer["name"] for layer in own] == ["anna"]
        found = client.get(f"{path}/export?format=csv")
        assert (found.status_code, found.text.count("\n")) == (200, 1 + begun)
        agreed = client.get(f"{path}/agreement?a=anna&b=machine").json()
        assert (agreed["events_a"], agreed["events_b"], agreed["matched"]) == (begun, 2, begun)
    assert (copy / "results" / "clip" / REVIEW_FILE).exists() == begun


def test_a_review_of_another_recording_is_refused(copy: Path, made: Path) -> None:
    write_video(copy / "other.mp4", (numbered_picture(k) for k in range(5, FRAMES + 5)), rate_hz=30)
    results_of(copy / "other.mp4", copy / "results" / "other")
    with serving(copy / "results" / "clip") as (client, _):
        client.get(f"/api/recordings/{only(client)}/review")
    shutil.copy(copy / "results" / "clip" / REVIEW_FILE, copy / "results" / "other" / REVIEW_FILE)
    with serving(copy / "results" / "other") as (client, _):
        found = client.get(f"/api/recordings/{only(client)}/review")
        assert found.status_code == 409
        assert "another recording (clip.mp4)" in found.json()["detail"]


def test_one_server_at_a_time(served: Served, copy: Path) -> None:
    path = f"/api/recordings/{only(served[0])}/review"
    served[0].get(path)
    command = [
        sys.executable,
        "-c",
        "import sys; from metst.coding.reviews import open_reviews; open_reviews(sys.argv[1])",
    ]
    done = subprocess.run([*command, str(copy / "results" / "clip")], capture_output=True, text=True, check=False)
    assert "OutputError" in done.stderr
    assert served[0].get(path).status_code == 200


# --- blindness


def code_and_release(folder: Path, coder: str, *, released: bool = True, **options: Any) -> None:
    """Let a coder add one event of their own and release the layer."""
    with serving(folder, coder=coder, **options) as (client, _):
        rid = only(client)
        client.get(f"/api/recordings/{rid}/review")
        added = {"key": None, "after": {"onset_frame": 20, "offset_frame": 30, "label": f"of {coder}"}}
        assert edit(client, rid, added, id=coder).status_code == 200
        if released:
            assert client.post(f"/api/recordings/{rid}/release", json={"released": True}).json()["released"]


def test_coders_are_blind_until_both_have_released(copy: Path) -> None:
    folder = copy / "results"
    code_and_release(folder, "ben")
    code_and_release(folder, "carl", released=False)
    with serving(folder, coder="anna") as (client, _):
        path = f"/api/recordings/{only(client)}"
        client.get(f"{path}/review")

        def seen() -> set[str]:
            return {layer["name"] for layer in client.get(f"{path}/layers").json()}

        assert seen() == {"machine"}
        for other in ("ben", "carl"):
            for part in (f"review?layer={other}", f"history?layer={other}", f"export?format=csv&layer={other}",
                         f"agreement?a=anna&b={other}"):  # fmt: skip
                assert client.get(f"{path}/{part}").status_code == 403, part
            assert client.post(f"{path}/adjudication", json={"a": "anna", "b": other}).status_code == 403
            assert client.post(f"{path}/begin", json={"from": "layers", "layers": [other]}).status_code == 403
            assert edit(client, only(client), {"key": "m1", "revision": 0, "after": {}}, layer=other).status_code == 403
        assert "of ben" not in json.dumps(client.get(path).json())
        assert client.post(f"{path}/release", json={"released": True}).status_code == 200
        assert seen() == {"machine", "ben"}
        assert client.get(f"{path}/review?layer=ben").json()["layer"] == "ben"
        assert client.get(f"{path}/review?layer=carl").status_code == 403
        assert edit(client, only(client), {"key": "m1", "revision": 0, "after": {}}, layer="ben").status_code == 403
        layer = client.post(f"{path}/adjudication", json={"a": "anna", "b": "ben"}).json()["layer"]
        assert layer == "adjudicated anna + ben"
        events = client.get(f"{path}/review", params={"layer": layer}).json()["events"]
        assert [event["label"] for event in events] == ["of ben"]
        done = edit(
            client,
            only(client),
            {"key": events[0]["key"], "revision": 0, "after": {"verdict": "rejected"}},
            layer=layer,
        )
        assert done.json()["events"][0]["by"] == "anna"
        client.post(f"{path}/release", json={"released": False})
        assert seen() == {"machine"}


def test_without_the_machine_nothing_of_it_is_served(copy: Path) -> None:
    with serving(copy / "results", with_machine=False) as (client, _):
        (listed,) = client.get("/api/recordings").json()
        path = f"/api/recordings/{listed['id']}"
        assert listed["candidates"] is None
        assert client.get(f"{path}/review").json()["events"] == []
        assert client.get(f"{path}/layers").json() == []
        told = client.get(path).json()
        assert told["threshold"] is None
        assert not [name for name in told["series"] if name == "spot_score" or name.startswith("p_")]
        for part in ("series/spot_score", "series/p_positive", "export?format=csv&layer=machine",
                     "agreement?a=anna&b=machine"):  # fmt: skip
            assert client.get(f"{path}/{part}").status_code == 403, part
        assert client.post(f"{path}/begin", json={"from": "machine"}).status_code == 403
        assert client.get(f"{path}/series/motion/mouth").status_code == 200
        client.post(f"{path}/release", json={"released": True})
        assert client.get(f"{path}/series/spot_score").status_code == 200
        assert [layer["name"] for layer in client.get(f"{path}/layers").json()] == ["machine"]


def test_what_two_released_layers_agree_on_is_a_second_round(copy: Path) -> None:
    folder = copy / "results"
    for coder in ("anna", "ben"):
        with serving(folder, coder=coder) as (client, _):
            rid = only(client)
            client.get(f"/api/recordings/{rid}/review")
            alone = 60 if coder == "ben" else 80
            values = ((20, 30, "both"), (alone, alone + 6, f"of {coder}"))
            added = [
                {"key": None, "after": {"onset_frame": onset, "offset_frame": offset, "label": label}}
                for onset, offset, label in values
            ]
            assert edit(client, rid, *added, id=coder).status_code == 200
            agreed = {"from": "layers", "layers": ["anna", "ben"], "agreed_only": True}
            if coder == "ben":  # anna has released; ben has judged, but not alone to the end
                for more in ({}, {"another_round": True}, {"layer": "anna"}):
                    assert client.post(f"/api/recordings/{rid}/begin", json=agreed | more).status_code >= 400
            client.post(f"/api/recordings/{rid}/release", json={"released": True})
    with serving(folder, coder="carl") as (client, _):
        path = f"/api/recordings/{only(client)}"
        client.get(f"{path}/review")
        assert client.post(f"{path}/begin", json=agreed | {"agreed_only": False}).status_code == 403
        assert client.post(f"{path}/begin", json=agreed | {"another_round": True}).status_code == 403
        begun = client.post(f"{path}/begin", json=agreed).json()
        assert [(each["label"], each["verdict"]) for each in begun["events"]] == [("both", "accepted")]
        assert client.get(f"{path}/history").json()[-1]["what"] == "began from what anna and ben agree on"
        # the layers themselves stay hidden
        assert {layer["name"] for layer in client.get(f"{path}/layers").json()} == {"machine"}
        for part in (
            "review?layer=anna",
            "history?layer=ben",
            "agreement?a=anna&b=ben",
            "export?format=csv&layer=anna",
        ):
            assert client.get(f"{path}/{part}").status_code == 403, part


def test_the_agreed_part_of_a_layer_that_is_not_released_is_kept(copy: Path) -> None:
    folder = copy / "results"
    code_and_release(folder, "anna")
    code_and_release(folder, "ben", released=False)
    for with_machine in (True, False):
        with serving(folder, coder="carl", with_machine=with_machine) as (client, _):
            path = f"/api/recordings/{only(client)}"
            client.get(f"{path}/review")
            for others in (["anna", "ben"], ["anna", "machine"]):
                body = {"from": "layers", "layers": others, "agreed_only": True}
                allowed = with_machine and "machine" in others
                assert client.post(f"{path}/begin", json=body).status_code == (200 if allowed else 403), others


def test_who_has_released_begins_a_layer_of_the_next_round(copy: Path) -> None:
    folder = copy / "results"
    code_and_release(folder, "ben")
    code_and_release(folder, "anna")
    agreed = {"from": "layers", "layers": ["anna", "ben"], "agreed_only": True, "another_round": True}
    with serving(folder) as (client, _):
        rid = only(client)
        path = f"/api/recordings/{rid}"
        assert client.post(f"{path}/begin", json=agreed | {"layer": "anna"}).status_code == 400
        assert client.post(f"{path}/begin", json=agreed).json()["layer"] == "anna round 2"
        mine = {line["name"] for line in client.get(path).json()["layers"] if line["mine"]}
        assert mine == {"anna", "anna round 2"}
        event = {"key": None, "after": {"onset_frame": 3, "offset_frame": 9, "label": "second"}}
        assert edit(client, rid, event, layer="anna round 2").status_code == 200
        assert client.get(f"{path}/review").json()["released"]
        client.post(f"{path}/release", json={"released": True, "layer": "anna round 2"})
    with serving(folder, coder="ben") as (client, _):
        found = client.get(f"{path}/review?layer=anna round 2").json()["events"]
        assert [each["label"] for each in found] == ["second"]
        assert edit(client, rid, event, layer="anna round 2", id="e2").status_code == 403


def test_who_begins_from_an_imported_layer_sees_it(copy: Path) -> None:
    analysis: Analysis = read_analysis(copy / "results" / "clip")
    coding = Coding(analysis.source, analysis.grid, (Layer("zoe", (LayerEvent(3, 9, "smile"),)),), "", ())
    write_layers(coding, copy / "results" / "clip", origin={}, version="0", custody=Custody())
    with serving(copy / "results") as (client, _):
        path = f"/api/recordings/{only(client)}"
        client.get(f"{path}/review")
        assert [layer["name"] for layer in client.get(f"{path}/layers").json()] == ["machine"]
        begun = client.post(f"{path}/begin", json={"from": "layers", "layers": ["zoe"]}).json()
        assert [event["proposals"][0]["by"] for event in begun["events"]] == ["zoe"]
        assert [layer["name"] for layer in client.get(f"{path}/layers").json()] == ["machine", "zoe"]


def test_layers_that_one_began_from_are_known_by_their_whole_names(copy: Path) -> None:
    analysis: Analysis = read_analysis(copy / "results" / "clip")
    names = ("smith, anna", "smith", "anna s", "nothing")
    layers = tuple(Layer(name, (LayerEvent(3, 9, "smile"),)) for name in names)
    coding = Coding(analysis.source, analysis.grid, layers, "", ())
    write_layers(coding, copy / "results" / "clip", origin={}, version="0", custody=Custody())
    with serving(copy / "results", with_machine=False) as (client, _):
        path = f"/api/recordings/{only(client)}"
        assert client.get(f"{path}/review").json()["began_from"] == "nothing"
        assert client.get(f"{path}/layers").json() == []
        client.post(f"{path}/begin", json={"from": "layers", "layers": ["smith, anna"]})
        assert [layer["name"] for layer in client.get(f"{path}/layers").json()] == ["smith, anna"]
    with serving(copy / "results", with_machine=False) as (client, _):
        assert [layer["name"] for layer in client.get(f"{path}/layers").json()] == ["smith, anna"]


# --- handing on


@pytest.mark.parametrize("form", ["elan", "textgrid", "boris", "label-studio", "webvtt", "csv", "tsv", "bids"])
def test_exports_are_files(standing: Served, form: str) -> None:
    client, _ = standing
    path = f"/api/recordings/{only(client)}"
    client.get(f"{path}/review")
    found = client.get(f"{path}/export?format={form}&layer=machine")
    assert found.status_code == 200
    assert found.headers["content-disposition"].startswith("attachment; filename*=UTF-8''clip")
    assert len(found.content) > 20
    assert client.get(f"{path}/export?format=word").status_code == 400
    assert client.get(f"{path}/export?format={form}&layer=nobody").status_code == 404


def test_an_export_holds_what_was_accepted(served: Served) -> None:
    client, _ = served
    rid = only(client)
    client.get(f"/api/recordings/{rid}/review")
    edit(client, rid, {"key": "m1", "revision": 0, "after": {"verdict": "accepted", "label": 'yes, "this"'}})
    text = client.get(f"/api/recordings/{rid}/export?format=csv").text
    assert text.count("\n") == 2
    assert 'yes, ""this""' in text
