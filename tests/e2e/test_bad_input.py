"""What people get wrong, through the command line: one clear line, the right exit code, nothing lost."""

import json
import shutil
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.command_line import run
from helpers.margins import assert_no_event_hangs_on_rounding
from metst.datasets.corpus import find_recordings
from metst.models.checkpoint import load_model
from metst.results import read_analysis
from metst.storage import unsealed
from metst.synthesis.portrait import portrait
from metst.video import write_video


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    picture = portrait()[::2, ::2]
    face = [picture] * 30
    grey = np.full_like(picture, 128)
    write_video(folder / "face.mp4", face, rate_hz=30)
    write_video(folder / "no-face.mp4", [grey] * 30, rate_hz=30)
    corner = grey.copy()
    corner[-40:, -40:] = cv2.resize(picture, (40, 40))
    write_video(folder / "corner.mp4", [grey] * 14 + [corner] * 3 + [grey] * 13, rate_hz=30)
    write_video(folder / "two-faces.mp4", [np.hstack([picture, picture])] * 30, rate_hz=30)
    whole = (folder / "face.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is no video")
    (folder / "damaged.mp4").write_bytes(_damaged(folder, picture))
    (folder / "empty-folder").mkdir()
    for name, count in (("one-frame", 1), ("ten-frames", 10)):
        (folder / name).mkdir()
        for number in range(count):
            cv2.imwrite(str(folder / name / f"{number:02}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    with wave.open(str(folder / "audio.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    return folder


def _damaged(folder: Path, picture: np.ndarray) -> bytes:
    """A noisy clip with bytes overwritten in the middle of its frames."""
    rng = np.random.default_rng(0)
    noisy = [np.clip(picture + rng.normal(0, 8, picture.shape), 0, 255).astype(np.uint8) for _ in range(30)]
    write_video(folder / "whole.mp4", noisy, rate_hz=30)
    data = bytearray((folder / "whole.mp4").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = rng.bytes(4000)
    return bytes(data)


def changed_starter(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a packaged model whose description was changed by hand."""
    shutil.copytree(load_model("starter").folder, folder)
    card = unsealed((folder / "model.json").read_bytes())
    change(card)
    (folder / "model.json").write_text(json.dumps(card))
    return folder


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("missing.mp4", 2, "no such file"),
        ("text.mp4", 1, "text.mp4"),
        ("empty.mp4", 1, "empty.mp4"),
        ("truncated.mp4", 1, "truncated.mp4"),
        ("audio.wav", 1, "no video"),
        ("no-face.mp4", 1, "no face"),
        ("corner.mp4", 1, "face"),
        ("empty-folder", 1, "no image"),
        ("one-frame", 1, "too short"),
    ],
)
def test_one_bad_input_is_one_line_and_an_exit_code(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, code: int, words: str
) -> None:
    got, out, err = run(capsys, "analyze", files / name, "-o", tmp_path, "--fps", 30, "-q")
    assert got == code
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert words in err.lower()


@pytest.mark.parametrize(
    ("rate_hz", "code", "words"),
    [("1000", 1, "too short"), ("1e9", 2, "frame rate"), ("2", 2, "frame rate"), ("inf", 2, "frame rate"),
     ("nan", 2, "--fps"), ("-3", 2, "--fps")],
)  # fmt: skip
def test_an_absurd_frame_rate_is_named(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rate_hz: str, code: int, words: str
) -> None:
    got, _, err = run(capsys, "analyze", files / "ten-frames", "-o", tmp_path / "o", "--fps", rate_hz, "-q")
    assert (got, len(err.strip().splitlines())) == (code, 1)
    assert words in err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("quiet", [True, False])
def test_each_failure_of_several_is_told_once_on_one_line(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], quiet: bool
) -> None:
    inputs = [files / name for name in ("no-face.mp4", "missing.mp4", "empty.mp4")]
    flags = ["-q"] if quiet else []
    code, _, err = run(capsys, "analyze", *inputs, "-o", tmp_path, *flags, width=40)
    assert code == 1
    lines = err.strip().splitlines()
    for words in ("no frame with a usable face", "no such file or folder", "is empty (0 bytes)"):
        assert [words in line for line in lines].count(True) == 1
    assert lines[-1].startswith("3 of 3 inputs failed: ")
    assert len(lines) == 4 + 2 * (not quiet)  # the model is named first, and the rate of its confidences


def test_one_bad_input_does_not_stop_the_others(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = [files / name for name in ("text.mp4", "face.mp4", "missing.mp4")]
    code, out, _ = run(capsys, "analyze", *inputs, "-o", tmp_path, "--json", "-q")
    assert code == 3
    assert ["error" in result for result in json.loads(out)] == [True, False, True]
    written = {path.name for path in (tmp_path / "face").iterdir()}
    assert written >= {"events.csv", "frames.csv", "motion.csv", "analysis.json", "report.html"}


def test_a_damaged_frame_is_reported_and_the_rest_analysed(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "analyze", files / "damaged.mp4", "-o", tmp_path, "--json")
    assert code == 3
    assert json.loads(out)[0]["problems"]
    assert (tmp_path / "damaged" / "report.html").exists()
    assert "damaged" in err


def test_two_faces_are_one_track(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "analyze", files / "two-faces.mp4", "-o", tmp_path, "--json", "-q")
    assert code == 0
    assert json.loads(out)[0]["events"] == 0
    assert_no_event_hangs_on_rounding(read_analysis(tmp_path / "two-faces"))


def test_a_still_photograph_gives_no_event(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "analyze", files / "face.mp4", "-o", tmp_path, "--json", "-q")
    assert code == 0
    assert json.loads(out)[0]["events"] == 0
    assert_no_event_hangs_on_rounding(read_analysis(tmp_path / "face"))


def test_unknown_model(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "analyze", files / "face.mp4", "-o", tmp_path, "--model", "nobody")
    assert code == 2
    assert "starter" in err


def test_a_checkpoint_with_another_number_of_classes(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(card: dict[str, Any]) -> None:
        card["network"]["classes"] = 3
        card["classes"] = card["classes"][:3]

    broken = changed_starter(tmp_path / "broken", change)
    code, _, err = run(capsys, "analyze", files / "face.mp4", "-o", tmp_path, "--model", broken, "-q")
    assert code == 1
    assert len(err.strip().splitlines()) == 1


def test_an_output_that_cannot_be_written(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("a file")
    code, _, err = run(capsys, "analyze", files / "face.mp4", "-o", tmp_path / "taken", "-q")
    assert code == 1
    assert "taken" in err
    code, _, err = run(capsys, "analyze", files / "face.mp4", "-o", "/dev/full", "-q")
    assert code == 1
    assert "/dev/full" in err


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys)
    assert code == 2
    assert "Usage:" in out + err
    assert "error:" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("analyse",),
        ("analyze",),
        ("score", "a.csv"),
        ("train", "-o", "x", "--recipe", "y"),
        ("analyze", "--fps", "no"),
    ],
)
def test_wrong_calls_are_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1)


def test_every_input_has_a_folder_of_its_own(tmp_path: Path) -> None:
    inputs = [Path("a/s.mp4"), Path("b/s.mp4"), Path("a/s-2.mp4"), Path("a/S.mp4")]
    names = [each.name.casefold() for each in find_recordings(inputs, output=tmp_path)]
    assert len(set(names)) == len(inputs)


@pytest.mark.parametrize("rate", ["0", "-2", "nan", "inf", "1e300"])
def test_a_rate_that_cannot_be_expected_is_refused(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rate: str
) -> None:
    for command in ("analyze", "live"):
        code, _, err = run(
            capsys, command, files / "face.mp4", "-o", tmp_path / "out", "--expected-per-min", rate, "-q"
        )
        assert code == 2
        assert "above 0" in err
    assert not (tmp_path / "out").exists()


def test_an_operating_point_that_a_model_has_not_is_refused(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("analyze", "live"):
        code, _, err = run(
            capsys, command, files / "face.mp4", "-o", tmp_path / "out", "--model", "starter",
            "--operating-point", "quiet", "-q",
        )  # fmt: skip
        assert code == 2
        assert "no operating point 'quiet': this model has balanced only, its own threshold 0.619" in err
    assert not (tmp_path / "out").exists()


def test_a_model_whose_confidence_cannot_be_adjusted_says_so(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = changed_starter(tmp_path / "unknown-rate", lambda card: card["decode"].pop("calibrated_per_min"))
    code, _, err = run(
        capsys, "analyze", files / "face.mp4", "-o", tmp_path / "out", "--model", folder, "--expected-per-min", 1, "-q"
    )
    assert code == 2
    assert "does not say how many micro-expressions per minute" in err
