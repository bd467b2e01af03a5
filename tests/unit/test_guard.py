"""One bad input costs itself: whatever error it raises is one line, with a traceback where that is asked for."""

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import metst
from helpers.command_line import run
from helpers.dataset_folders import manifest
from metst.datasets import load_dataset
from metst.datasets.extraction import extract_features
from metst.errors import DataError, OutputError, UsageError
from metst.formats.megc import name_results
from metst.guard.faults import Fault, all_or_none, fault_of, guarded
from metst.guard.limits import LIMITS, PICTURE
from metst.guard.silence import SWITCHES
from metst.synthesis.clip import write_clip
from metst.synthesis.portrait import portrait
from metst.synthesis.recipe import ClipRecipe
from metst.video import write_video

DOCS = Path(__file__).parents[2] / "docs"


def singular() -> None:
    np.linalg.solve(np.zeros((4, 4)), np.ones(4))


def out_of_memory() -> None:
    raise MemoryError


def too_deep() -> None:
    too_deep()


class Panic(BaseException):
    """As Rust's are."""


def panic() -> None:
    raise Panic("called `Option::unwrap()` on a `None` value")


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (singular, r"unexpected LinAlgError: Singular matrix; please report it .*--debug"),
        (out_of_memory, r"unexpected MemoryError; not enough memory"),
        (too_deep, r"unexpected RecursionError: .*nested too deeply"),
        (panic, r"unexpected Panic: called .*; please report it"),
        (lambda: Path("nowhere/at/all").stat(), r"unexpected FileNotFoundError: .*; the system refuses it"),
    ],
)
def test_any_error_is_one_line_with_what_to_do(work: Callable[[], Any], said: str) -> None:
    done = guarded(work, name="input")
    assert isinstance(done, Fault)
    assert re.match(said, done.message), done.message
    assert "\n" not in done.message


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OutputError])
def test_what_is_no_fault_of_the_input_stays_what_it_is(error: type[BaseException]) -> None:
    def work() -> None:
        raise error("stop")

    with pytest.raises(error):
        guarded(work, name="input", let_through=(OutputError,))


def test_a_name_that_is_no_utf_8_has_its_traceback_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METST_DEBUG", str(tmp_path))
    message = fault_of(ValueError("caf\udce9"), name="caf\udce9 / ..").message
    (written,) = tmp_path.iterdir()
    assert written.name in message
    assert "ValueError" in written.read_text(encoding="utf-8")


def test_all_faults_of_a_whole_are_named() -> None:
    def work(number: int) -> int:
        if number == 2:
            raise DataError("two is bad")
        return 6 // number

    assert all_or_none(work, [1, 3]) == [6, 2]
    with pytest.raises(DataError, match=r"^two is bad$"):
        all_or_none(work, [1, 2])
    with pytest.raises(DataError, match=r"^2 of 3 failed: 2: two is bad; 0: unexpected ZeroDivisionError"):
        all_or_none(work, [2, 1, 0])


def test_a_name_that_is_no_utf_8_is_refused_before_the_work(tmp_path: Path) -> None:
    footage = tmp_path / "caf\udce9.mp4"
    with pytest.raises(UsageError, match="not in UTF-8"):
        name_results([Path("caf\udce9_1")])
    with pytest.raises(UsageError, match="not in UTF-8"):
        write_clip(tmp_path / "clip", recipe=ClipRecipe(), footage=footage)
    data_set = load_dataset(manifest(tmp_path / "set"))
    videos = tuple(replace(video, name="caf\udce9") for video in data_set.videos)
    with pytest.raises(UsageError, match="not in UTF-8"):
        extract_features(replace(data_set, videos=videos), tmp_path / "out", rate_hz=30.0)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name in ("bad", "good"):
        write_video(folder / f"{name}.mp4", [portrait()[::2, ::2]] * 12, rate_hz=30)
    return folder


@pytest.fixture
def _bad_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    analyze = metst.analyze  # the function: the package has it under the name of its module

    def breaking(path: Path, **values: Any) -> Any:
        return singular() if path.stem == "bad" else analyze(path, **values)

    monkeypatch.setattr(sys.modules["metst.analyze"], "analyze", breaking)


@pytest.mark.usefixtures("_bad_breaks")
def test_a_batch_goes_on_and_says_so(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, good = clips / "bad.mp4", clips / "good.mp4"
    code, _, said = run(capsys, "analyze", bad, good, "-o", tmp_path / "both", "--no-cache", "-q", "--debug")
    assert code == 3
    assert (tmp_path / "both" / "good" / "events.csv").exists()
    (written,) = tmp_path.glob("metst-debug-*.txt")
    assert "LinAlgError" in written.read_text()
    assert str(written) in said

    code, _, said = run(capsys, "analyze", bad, clips / "none.mp4", "-o", tmp_path / "none", "--no-cache", "-q")
    assert code == 1
    assert "2 of 2 inputs failed" in said
    assert "--debug" in said

    code, _, said = run(capsys, "analyze", bad, "-o", tmp_path / "one", "--no-cache", "-q")
    assert code == 1
    assert said.startswith("error: unexpected LinAlgError: Singular matrix")
    assert said.count("\n") == 1


def test_the_documentation_has_all_limits_and_switches() -> None:
    text = (DOCS / "reliability.md").read_text(encoding="utf-8")
    for limit in LIMITS:
        assert f"| {limit.what} | {limit.most:,} {limit.unit} |" in text
    for name in SWITCHES:
        assert f"`{name}`" in text


def test_a_limit_says_what_was_claimed() -> None:
    PICTURE.check(PICTURE.most, where="frame.png")
    with pytest.raises(DataError, match=r"frame.png: a picture may have up to 89,478,485 pixels, .* 4,000,000,000"):
        PICTURE.check(4_000_000_000, where="frame.png")
