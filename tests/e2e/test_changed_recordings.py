"""A recording that somebody writes to while it is read: nothing of it is kept or told as another content's."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.command_line import run
from metst.analyze import analyze
from metst.errors import DataError, VideoError
from metst.motion import measured
from metst.motion.cache import MotionCache
from metst.results import Analysis, read_analysis
from metst.synthesis.clip import write_clip
from metst.synthesis.recipe import ClipRecipe
from metst.training.adaptation import measured_recordings
from metst.video import Frame, content_hash, read_frames, write_video

FRAMES, AT = 24, 9
"""Of a recording, and which of them was just read when it is changed."""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> tuple[Path, Path]:
    """Recordings of equal length and rate."""
    folder = tmp_path_factory.mktemp("two")
    rng = np.random.default_rng(5)
    for name, grain in (("old.mp4", 1.0), ("new.mp4", 4.0)):
        pictures = np.clip(astronaut[:256, 100:356, None] + rng.normal(0, grain, (FRAMES, 256, 256, 1)), 0, 255)
        write_video(folder / name, pictures.astype(np.uint8).repeat(3, axis=3), rate_hz=30)
    return folder / "old.mp4", folder / "new.mp4"


def while_read(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Change something once, in the middle of decoding."""
    left = [change]

    def frames(*arguments: object, **options: object) -> Iterator[Frame]:
        for number, frame in enumerate(read_frames(*arguments, **options)):  # type: ignore[arg-type]
            yield frame
            if number == AT and left:
                left.pop()()

    monkeypatch.setattr(measured, "read_frames", frames)


def overwritten(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


def replaced(path: Path, other: Path) -> None:
    shutil.copy(other, path.with_suffix(".next"))
    path.with_suffix(".next").replace(path)


def with_its_old_time(path: Path, other: Path) -> None:
    status = path.stat()
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def there_and_back(path: Path, other: Path) -> None:
    before = path.read_bytes()
    path.write_bytes(other.read_bytes())
    path.write_bytes(before)


def longer(path: Path, other: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def gone(path: Path, other: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [overwritten, replaced, with_its_old_time, there_and_back, longer, gone])
def test_it_is_marked_and_not_kept(
    two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path, Path], None]
) -> None:
    path, cache = tmp_path / "talk.mp4", tmp_path / "cache"
    shutil.copy(two[0], path)
    with monkeypatch.context() as patched:
        while_read(patched, lambda: change(path, two[1]))
        try:
            found = analyze(path, cache=cache)
        except VideoError:  # the decoder met the middle of another file
            assert change is not gone
        else:
            assert found.source.changed
            assert found.source.content_hash == ""
            assert any("was changed while it was read" in problem for problem in found.problems)
    assert MotionCache(cache).entries() == []
    for name in ("old", "new"):
        shutil.copy(two[name == "new"], path)
        assert_of(analyze(path, cache=cache), two[name == "new"])


def assert_of(found: Analysis, recording: Path) -> None:
    expected = analyze(recording, cache=False)
    assert not found.source.changed
    assert found.source.content_hash == content_hash(recording)
    np.testing.assert_array_equal(found.motion.displacement.values, expected.motion.displacement.values)


def test_folders_of_images_too(astronaut: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(FRAMES):
        cv2.imwrite(str(folder / f"{number:03}.png"), np.roll(astronaut, number % 2, axis=0))
    changes = [
        lambda: cv2.imwrite(str(folder / "020.png"), np.roll(astronaut, 3, axis=0)),
        lambda: cv2.imwrite(str(folder / "100.png"), astronaut),
    ]
    for change in changes:
        with monkeypatch.context() as patched:
            while_read(patched, change)
            assert analyze(folder, rate_hz=30, cache=tmp_path / "cache").source.changed
        assert MotionCache(tmp_path / "cache").entries() == []
    assert not analyze(folder, rate_hz=30, cache=tmp_path / "cache").source.changed


def test_the_command_says_so_and_does_not_take_it_for_done(
    two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "talk.mp4"
    shutil.copy(two[0], path)
    with monkeypatch.context() as patched:
        while_read(patched, lambda: longer(path, two[1]))
        code, _, err = run(capsys, "analyze", tmp_path / "in", "-o", tmp_path / "out")
    assert code == 3
    assert "was changed while it was read" in err
    assert read_analysis(tmp_path / "out" / "talk").source.changed
    assert "was changed while it was read" in (tmp_path / "out" / "talk" / "report.html").read_text()
    assert "was changed while it was read" in (tmp_path / "out" / "summary.csv").read_text()
    run(capsys, "analyze", tmp_path / "in", "-o", tmp_path / "out")
    assert not read_analysis(tmp_path / "out" / "talk").source.changed


def test_pictures_of_another_recording_are_not_shown(
    two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from metst import report

    path, write = tmp_path / "talk.mp4", report.write_report
    shutil.copy(two[0], path)

    def changed_before(*arguments: object, **options: object) -> None:
        overwritten(path, two[1])
        write(*arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(report, "write_report", changed_before)
        code, _, err = run(capsys, "analyze", path, "-o", tmp_path / "out")
    assert code == 1
    assert "was changed while its pictures were drawn" in err
    assert sorted(each.name for each in (tmp_path / "out" / "talk").iterdir()) == [
        "analysis.json", "events.csv", "face.csv", "frames.csv", "motion.csv"
    ]  # fmt: skip


def test_nothing_is_learnt_planted_or_extracted_from_it(
    two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "talk.mp4"
    shutil.copy(two[0], path)
    with monkeypatch.context() as patched:
        while_read(patched, lambda: longer(path, two[1]))
        with pytest.raises(DataError, match="was changed while it was read"):
            measured_recordings([path], min_quality=0.1, cache=False)
    with pytest.raises(DataError, match=r"talk\.mp4 was changed while it was read: nothing was written"):
        write_clip(
            tmp_path / "clip", recipe=ClipRecipe(count=0, amplitude=0.1), footage=path,
            on_progress=lambda _stage, done, _total: longer(path, two[1]) if done == AT else None,
        )  # fmt: skip
    assert not (tmp_path / "clip").exists()
