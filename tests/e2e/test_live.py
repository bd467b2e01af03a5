"""Live use as a person meets it: played recordings, cameras that fail, slow machines, terminals, Ctrl-C."""

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import metst
from helpers.margins import assert_no_event_hangs_on_rounding
from helpers.rounding import assert_within_rounding
from metst.cli import main
from metst.config import EXPECTED_PER_MIN
from metst.errors import OutputError, UsageError, VideoError
from metst.live.display import Lines, Screen, panel
from metst.live.outputs import LabStreamingLayer, Output, Tables
from metst.live.session import run_live
from metst.live.source import WAITING, Capture, Playback
from metst.live.status import Movement, Status
from metst.live.window import Preview, picture
from metst.models.checkpoint import load_model
from metst.results import Analysis, write_analysis
from metst.stream import Stream, Update
from metst.synthesis.clip import write_clip
from metst.synthesis.recipe import ClipRecipe
from metst.video import Frame, read_frames, write_video
from metst.video.camera import Camera

ROUNDING = 64
"""Units of rounding between frame by frame and one pass, as in the property of streams."""

BLACK = np.zeros((48, 64), np.uint8)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait with planted movements, at a changing rate, with black frames and a cut to a mirrored picture."""
    folder = tmp_path_factory.mktemp("live")
    clip = write_clip(folder, recipe=ClipRecipe(count=2, amplitude=0.35, duration_s=5.0, seed=3))
    frames = [frame.grey for frame in read_frames(clip.video)]
    frames[10:16] = [np.full_like(frames[0], level) for level in (10, 20, 8, 18, 12, 22)]
    frames[125:] = [np.ascontiguousarray(frame[:, ::-1]) for frame in frames[125:]]
    times_s = [round(i / 30 + (0.25 if i >= 75 else 0) + 0.004 * (i % 3), 4) for i in range(len(frames))]
    write_video(folder / "mixed.mp4", frames, times_s=times_s, preset="ultrafast")
    return folder / "mixed.mp4"


@pytest.fixture(scope="module")
def analysis(recording: Path) -> Analysis:
    return metst.analyze(recording, model=load_model().as_live())


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "metst", "live", *arguments]


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["metst", "live", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code


# The same as the whole pass


def test_a_stream_of_real_frames_is_the_analysis(recording: Path, analysis: Analysis) -> None:
    assert len(analysis.gaps) >= 2
    assert len(analysis.events) >= 1
    assert_no_event_hangs_on_rounding(analysis)
    stream = Stream()
    updates = [stream.feed(frame) for frame in read_frames(recording)]
    updates.append(stream.close())
    assert tuple(update.motion.reason for update in updates if update.motion) == analysis.motion.reason
    scores = np.concatenate([update.scores.values for update in updates])
    assert_within_rounding(scores, analysis.scores.values, units=ROUNDING)
    for name in ("onset", "apex", "offset"):
        found = np.concatenate([getattr(update.events, name) for update in updates])
        np.testing.assert_array_equal(found, getattr(analysis.events, name))


def test_the_tables_are_those_of_an_analysis(recording: Path, analysis: Analysis, tmp_path: Path) -> None:
    write_analysis(analysis, tmp_path / "whole")
    done = subprocess.run(
        command(str(recording), "--fast", "-o", str(tmp_path / "live"), "--json", "-v"),
        capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("events.csv", "frames.csv"):
        whole, live = (pd.read_csv(tmp_path / run / name) for run in ("whole", "live"))
        whole = whole.drop(columns="conditions", errors="ignore")
        pd.testing.assert_frame_equal(live, whole, rtol=0, atol=1e-5)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    pd.testing.assert_frame_equal(pd.DataFrame(lines), pd.read_csv(tmp_path / "live" / "events.csv"))
    assert "\x1b" not in done.stderr
    assert f"{len(lines)} movement candidate" in done.stderr
    assert "milliseconds per frame: face" in done.stderr


def test_an_operating_point_is_the_same_in_both(
    recording: Path,
    analysis: Analysis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    packaged = load_model().as_live()
    peaks = {"quiet": 0.9999, "balanced": packaged.info.decode.peak_threshold, "sensitive": 0.1}
    card = json.loads(packaged.info.model_dump_json())
    card["decode"]["operating_points"] = peaks
    shutil.copytree(packaged.folder, tmp_path / "model")
    (tmp_path / "model" / "model.json").write_text(json.dumps(card))
    model, found = str(tmp_path / "model"), {}
    for point, peak in peaks.items():
        whole = metst.analyze(recording, model=model, operating_point=point)
        decode = whole.settings["decode"]
        assert (decode["operating_point"], decode["peak_threshold"]) == (point, peak)
        options = ["--model", model, "--operating-point", point, "--fast", "-o", str(tmp_path / point)]
        assert call(monkeypatch, str(recording), *options) == 0
        told = f"Operating point {point}, threshold {peak:g}" in capsys.readouterr().err
        assert told == (point != "balanced")
        live = pd.read_csv(tmp_path / point / "events.csv")
        np.testing.assert_array_equal(live["onset_frame"], whole.events.onset + 1)
        found[point] = len(whole.events)
    # The planted movements are plain to see: only a threshold that nothing reaches leaves them out.
    assert 0 == found["quiet"] < found["balanced"] == len(analysis.events) <= found["sensitive"]


def test_an_expected_rate_changes_confidences_alike_in_both(
    recording: Path, analysis: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = analysis.settings["decode"]["expected_per_min"]
    assert usual == EXPECTED_PER_MIN != analysis.settings["decode"]["calibrated_per_min"]
    rate = usual / 5
    assert call(monkeypatch, str(recording), "--fast", "-o", str(tmp_path), "--expected-per-min", str(rate), "-q") == 0
    told = metst.analyze(recording, model=load_model().as_live().expecting(rate))
    assert told.settings["decode"] == analysis.settings["decode"] | {"expected_per_min": rate}
    np.testing.assert_array_equal(told.events.onset, analysis.events.onset)
    odds = [each.events.confidence / (1 - each.events.confidence) for each in (told, analysis)]
    np.testing.assert_allclose(odds[0], odds[1] / 5, rtol=1e-6)
    live = pd.read_csv(tmp_path / "events.csv")
    np.testing.assert_allclose(live["confidence"], told.events.confidence, atol=1e-4)


# The command


def test_interrupted_it_ends_cleanly_and_says_what_it_found(recording: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        command(str(recording), "-o", str(tmp_path / "log")), stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as running:
        assert running.stderr is not None
        assert any("s: face" in line for line in running.stderr)  # the first line on the state: frames are coming
        time.sleep(0.5)
        running.send_signal(signal.SIGINT)
        rest = running.stderr.read()
    assert running.returncode == 0, rest
    assert "movement candidate" in rest
    frames = pd.read_csv(tmp_path / "log" / "frames.csv")
    assert 0 < len(frames) < 150
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_nothing_is_stored_unless_asked(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, str(recording), "--speed", "0", "--duration", "0.5", "-q") == 0
    assert capsys.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_without_a_usable_face_it_finishes_with_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(tmp_path / "dark.mp4", [BLACK] * 10, rate_hz=30)
    assert call(monkeypatch, str(tmp_path / "dark.mp4"), "--fast") == 3
    assert "no frame with a usable face (black frame)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["99"], 1, "camera 99 cannot be opened"),
        (["missing.mp4"], 2, "no such file"),
        (["{dark}", "--fast", "--lsl", "x"], 2, "own speed"),
        (["{dark}", "--lsl", "x"], 2, "pip install 'metst[live]'"),
        (["{dark}", "--window"], 2, "without --window"),
        (["{dark}", "--model", "nothing"], 2, "no checkpoint"),
        (["{dark}", "--speed", "-1"], 2, "--speed"),
        (["{dark}", "-o", "{dark}"], 1, "cannot make the folder {dark}: a file stands"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: list[str], code: int, message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def no_window(*_: object) -> None:
        raise cv2.error("no windows")

    monkeypatch.setattr(cv2, "namedWindow", no_window)
    monkeypatch.setitem(sys.modules, "pylsl", None)
    write_video(tmp_path / "dark.mp4", [BLACK] * 3, rate_hz=30)
    arguments = [argument.format(dark=tmp_path / "dark.mp4") for argument in arguments]
    assert call(monkeypatch, *arguments, "-q") == code
    stderr = capfd.readouterr().err
    assert message.format(dark=tmp_path / "dark.mp4") in stderr
    assert stderr.count("\n") == 1


def test_tables_of_an_earlier_run_are_kept(tmp_path: Path) -> None:
    Tables(tmp_path, classes=("negative", "neutral")).close()
    with pytest.raises(UsageError, match="already"):
        Tables(tmp_path, classes=("negative", "neutral"))


# Cameras and slow machines


class Device:
    """Stands in for ``cv2.VideoCapture``: gives some pictures, then none."""

    def __init__(self, pictures: int, *, opened: bool = True) -> None:
        self._left, self._opened = pictures, opened

    def isOpened(self) -> bool:  # noqa: N802
        return self._opened

    def get(self, _key: int) -> float:
        return 30.0

    def grab(self) -> bool:
        self._left -= 1
        return self._left >= 0

    def retrieve(self) -> tuple[bool, Any]:
        return True, np.full((4, 6, 3), (250, 0, 0), np.uint8)

    def release(self) -> None:
        self._opened = False


def test_a_camera_gives_grey_frames_at_the_times_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metst.video.camera._MISS_PAUSE_S", 0.0)
    device = Device(5)
    camera = Camera(2, opener=lambda _index: device)
    frames = camera.frames()
    first, second = next(frames), next(frames)
    assert camera.rate_hz == 30
    assert first.time_s < second.time_s
    assert camera.clock_s(second.time_s) <= time.monotonic()
    assert second.grey.shape == (4, 6)
    assert second.grey[0, 0] == round(0.114 * 250)  # blue comes first
    with pytest.raises(VideoError, match="camera 2 gives no pictures"):
        list(frames)
    camera.close()
    assert not device.isOpened()


def test_a_camera_that_is_not_there_is_an_error() -> None:
    with pytest.raises(VideoError, match="camera 0 cannot be opened"):
        Camera(0, opener=lambda _index: Device(0, opened=False))


@dataclass
class Given:
    """A source that gives frames at once, then may fail."""

    count: int
    failure: Exception | None = None
    name: str = "given"
    rate_hz: float | None = 30.0
    closed: bool = False

    def __post_init__(self) -> None:
        self.problems: list[str] = []

    def frames(self) -> Iterator[Frame]:
        for i in range(self.count):
            yield Frame(i, i / 30, BLACK)
        if self.failure is not None:
            raise self.failure

    def clock_s(self, time_s: float) -> float:
        return time_s

    def close(self) -> None:
        self.closed = True


def test_frames_that_come_too_fast_are_dropped_and_counted() -> None:
    source = Given(100)
    capture = Capture(source)
    seen: list[Frame] = []
    for frame in capture:
        time.sleep(0.01)
        if frame is not None:
            seen.append(frame)
    assert WAITING <= len(seen) <= WAITING + 2
    assert len(seen) + capture.dropped == 100
    assert all(frame.time_s == frame.index / 30 for frame in seen)
    assert [frame.index for frame in seen] == sorted(frame.index for frame in seen)
    assert source.closed


def test_a_recording_may_wait_and_loses_nothing() -> None:
    capture = Capture(Given(50), keep_all=True)
    assert [frame.index for frame in capture if frame is not None] == list(range(50))
    assert capture.dropped == 0


def test_a_closed_capture_stops_its_source() -> None:
    source = Given(10**9)
    capture = Capture(source, keep_all=True)
    next(iter(capture))
    capture.close()
    assert source.closed


def test_a_recording_is_played_at_its_own_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that only waiting moves."""
    write_video(tmp_path / "dark.mp4", [BLACK] * 11, rate_hz=20)
    waits: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: 100 + sum(waits), sleep=waits.append)
    monkeypatch.setattr(metst.live.source, "time", clock)
    playback = Playback(tmp_path / "dark.mp4", speed=2.0)
    last = list(playback.frames())[-1]
    assert last.time_s == pytest.approx(0.5)
    assert [each for each in waits if each] == pytest.approx([0.025] * 10)
    assert playback.clock_s(0.5) - playback.clock_s(0.0) == pytest.approx(0.25)


def test_a_source_that_fails_ends_the_run_with_a_problem() -> None:
    outcome = run_live(Given(3, VideoError("unplugged")), stream=Stream(), outputs=[], keep_all=True)
    assert outcome.frames == 3
    assert "unplugged" in outcome.problems


def test_a_fault_in_the_thread_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        run_live(Given(3, ZeroDivisionError()), stream=Stream(), outputs=[], keep_all=True)


class Recorder:
    def __init__(self, *, fails_at: int = -1) -> None:
        self.taken, self.closed, self._fails_at = 0, False, fails_at

    def take(self, update: Update, *, rows: list[dict[str, Any]], status: Status) -> None:
        if self.taken == self._fails_at:
            raise OutputError("disk full")
        self.taken += 1

    def close(self) -> None:
        self.closed = True


def test_an_output_that_fails_is_left_out_and_told() -> None:
    good, bad = Recorder(), Recorder(fails_at=1)
    outputs: list[Output] = [bad, good]
    outcome = run_live(Given(5), stream=Stream(), outputs=outputs, keep_all=True)
    assert (good.taken, bad.taken) == (6, 1)  # five frames and the end
    assert good.closed
    assert bad.closed
    assert any("disk full" in problem for problem in outcome.problems)


def test_the_duration_is_that_of_the_source() -> None:
    outcome = run_live(Given(300), stream=Stream(), outputs=[], keep_all=True, duration_s=1.0)
    assert outcome.seconds == pytest.approx(1.0)


# What is shown


def shown() -> Status:
    status = Status("camera 0", "starter", threshold=0.6, min_quality=0.5)
    status.frames, status.time_s, status.first_s, status.reason = 300, 10.0, 0.0, ""
    status.quality, status.eye_px, status.score, status.behind_s, status.dropped = 0.9, 67.0, 0.42, 0.6, 3
    status.history.extend((i / 30, 0.9 if i == 150 else 0.1) for i in range(300))
    status.moving = (Movement("left brow", 2.1, "↑"),)
    status.events.append({"event": 1, "onset_s": 5.0, "offset_s": 5.3, "label": "surprise", "confidence": 0.8})
    status.event_count = 1
    return status


@pytest.mark.parametrize("width", [70, 100])
def test_the_panel_shows_the_state_and_keeps_its_width(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(panel(shown()))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for expected in ("movement candidates", "left brow ↑ 2.1 %", "surprise", "80%", "3 dropped", "0.42", "│"):
        assert expected in text
    assert {len(line) for line in text.splitlines()} == {width}
    strip = next(line for line in text.splitlines() if "last 10" in line)
    assert strip.count("█") == 1


def test_a_lost_face_is_shown_with_its_reason() -> None:
    status = shown()
    status.reason, status.score = "profile view", float("nan")
    console = Console(file=io.StringIO(), width=80)
    console.print(panel(status))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "not usable: profile view" in text
    assert "no score" in text


def test_regions_are_named_by_how_far_and_where_they_moved() -> None:
    stream, status = Stream(), shown()
    motion = stream.feed_picture(BLACK, time_s=0.0).motion
    assert motion is not None
    still = np.zeros((18, 2), np.float32)
    moved = still.copy()
    moved[0], moved[8], moved[17] = (0.0, -0.03), (0.01, 0.01), (0.5, 0.0)
    quality = np.ones(18, np.float32)
    quality[17] = 0.1
    status.frames = 0
    for time_s, displacement in ((0.0, still), (0.1, moved)):
        one = type(motion)(**{**vars(motion), "time_s": time_s, "displacement": displacement, "quality": quality,
                              "reason": ""})  # fmt: skip
        update = stream.feed_picture(BLACK, time_s=time_s + 1)
        status.add(Update(update.face, one, update.scores, 0, update.events, update.event_times_s), rows=[], behind_s=0)
    assert [(move.region, move.arrow, round(move.percent, 1)) for move in status.moving] == [
        ("left brow", "↑", 3.0),
        ("mouth", "↘", 1.4),
    ]


def test_a_screen_redraws_and_lines_use_no_control_codes() -> None:
    update = Stream().feed_picture(BLACK, time_s=0.0)
    row = {"event": 1, "onset_frame": 1, "apex_frame": 2, "offset_frame": 3, "onset_s": 5.0, "apex_s": 5.1,
           "offset_s": 5.3, "label": "surprise", "confidence": 0.8}  # fmt: skip
    terminal, plain = io.StringIO(), io.StringIO()
    screen = Screen(Console(file=terminal, width=100, force_terminal=True))
    lines = Lines(Console(file=plain, width=40))
    for output in (screen, lines):
        for _ in range(3):
            output.take(update, rows=[row], status=shown())
        output.close()
    assert "\x1b[" in terminal.getvalue()
    assert "\x1b" not in plain.getvalue()
    assert plain.getvalue().splitlines() == [
        "movement candidate 1: 5.00-5.30 s, surprise, confidence 80%",
        "10.0 s: face found, score 0.42, 1 candidates, 0.0 frames/s, 3 dropped, score 0.6 s behind",
        *["movement candidate 1: 5.00-5.30 s, surprise, confidence 80%"] * 2,
    ]


def test_the_preview_marks_landmarks_and_score(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream()
    update = stream.feed(next(iter(read_frames(recording))))
    assert update.face is not None
    assert update.face.face is not None
    drawn = picture(update, status=shown())
    height, width = update.face.frame.grey.shape
    assert drawn.shape == (height + 12, width, 3)
    coloured = (drawn[:height] != drawn[:height, :, :1]).any(axis=2)
    x, y = update.face.face.landmarks[30].round().astype(int)
    assert coloured[y, x]
    bar = drawn[-1]
    assert (bar[: round(0.42 * width) - 1].any(axis=1)).all()
    assert not bar[round(0.42 * width) + 1 : round(0.6 * width) - 1].any()
    calls: list[str] = []
    for name in ("namedWindow", "imshow", "waitKey", "destroyWindow"):
        monkeypatch.setattr(cv2, name, lambda *_, name=name: calls.append(name))
    window = Preview()
    window.take(update, rows=[], status=shown())
    window.close()
    assert calls == ["namedWindow", "imshow", "waitKey", "destroyWindow"]


# Lab Streaming Layer


def test_scores_and_events_go_through_the_lab_streaming_layer() -> None:
    pylsl = pytest.importorskip("pylsl")
    source, stream = Given(0), Stream()
    channels = stream.channels
    outlets = LabStreamingLayer("metst-test", channels=channels, source=source)
    inlets = {}
    for name in ("metst-test", "metst-test-events"):
        found = pylsl.resolve_byprop("name", name, timeout=10)
        assert found, "the outlet was not found on this machine"
        inlets[name] = pylsl.StreamInlet(found[0])
        inlets[name].open_stream(timeout=10)
    for i in range(3):
        stream.feed_picture(BLACK, time_s=i / 30)
    update = stream.feed_picture(BLACK, time_s=0.1)
    scores = type(update.scores)(
        metst.stream.TimeGrid(np.array([0.2])),
        np.arange(len(channels), dtype=np.float32)[None],
        np.array([True]),
        channels,
    )
    update = Update(None, None, scores, 0, update.events, update.event_times_s)
    before = pylsl.local_clock() - time.monotonic()
    outlets.take(update, rows=[{"event": 1, "onset_s": 0.1, "label": "surprise"}], status=shown())
    sample, stamp = inlets["metst-test"].pull_sample(timeout=10)
    marker, onset = inlets["metst-test-events"].pull_sample(timeout=10)
    assert sample == list(range(len(channels)))
    assert stamp == pytest.approx(0.2 + before, abs=0.01)
    assert json.loads(marker[0])["label"] == "surprise"
    assert onset == pytest.approx(0.1 + before, abs=0.01)
    info = inlets["metst-test"].info()
    assert info.nominal_srate() == 30
    assert info.get_channel_labels() == list(channels)
    outlets.close()
