"""An analysis from kept motion equals a fresh one, whoever made it, and whatever happened to it."""

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from metst.analyze import analyze
from metst.config import AnalyzeSettings, MotionSettings
from metst.motion.cache import FOLDER_VARIABLE, MotionCache
from metst.results import Analysis, Motion
from metst.synthesis.clip import write_clip
from metst.synthesis.recipe import ClipRecipe
from metst.timeline import Intervals, Series


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = ClipRecipe(count=1, amplitude=0.4, duration_s=3.0, rate_hz=25, end_s=2.5)
    video = write_clip(tmp_path_factory.mktemp("clip"), recipe=recipe).video
    # Damage in the middle, so that there is a problem to be kept as well.
    content = bytearray(video.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 1500] = bytes(1500)
    video.write_bytes(content)
    return video


def assert_equal(one: object, other: object) -> None:
    if isinstance(one, Series | Intervals | Motion | Analysis):
        for field in fields(one):
            assert_equal(getattr(one, field.name), getattr(other, field.name))
    elif hasattr(one, "time_s"):
        np.testing.assert_array_equal(one.time_s, other.time_s)
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other


def test_a_kept_analysis_equals_a_fresh_one(clip: Path, tmp_path: Path) -> None:
    fresh = analyze(clip, cache=False)
    first, again = (analyze(clip, cache=tmp_path) for _ in range(2))
    assert fresh.problems
    assert len(MotionCache(tmp_path).entries()) == 1
    for other in (first, again):
        assert_equal(replace(other, seconds=fresh.seconds, created=fresh.created), fresh)


def test_the_second_run_does_not_track_and_tells_its_progress(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyze(clip, cache=tmp_path)
    monkeypatch.setattr("metst.motion.measured.track_face", lambda *_, **__: pytest.fail("the face was tracked again"))
    told: list[tuple[str, int, int | None]] = []
    analysis = analyze(clip, cache=tmp_path, on_progress=lambda *step: told.append(step))
    count = len(analysis.grid)
    assert ("motion", count, count) in told
    assert told[-1][0] == "score"


def test_other_settings_are_measured_anew(clip: Path, tmp_path: Path) -> None:
    analyze(clip, cache=tmp_path)
    analyze(clip, cache=tmp_path, settings=AnalyzeSettings(motion=MotionSettings(template_memory_s=1.0)))
    assert len(MotionCache(tmp_path).entries()) == 2


def test_damage_costs_only_time(clip: Path, tmp_path: Path) -> None:
    fresh = analyze(clip, cache=tmp_path)
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(whole[:5000])
    again = analyze(clip, cache=tmp_path)
    assert_equal(replace(again, seconds=fresh.seconds, created=fresh.created), fresh)
    assert entry.read_bytes() == whole


def test_processes_that_share_a_folder_all_succeed_and_leave_one_whole_entry(clip: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from metst.analyze import analyze; a = analyze(sys.argv[1], cache=sys.argv[2]);"
        "print(a.motion.displacement.values.tobytes().hex()[:64], a.problems)"
    )
    command = [sys.executable, "-c", code, str(clip), str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {process.communicate(timeout=240)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert len(answers) == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from metst.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env={"METST_CACHE_DIR": str(folder), "PATH": "", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_lists_and_prunes(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    analyze(clip)
    listed = run("cache", folder=tmp_path)
    assert listed.returncode == 0
    assert clip.name in listed.stderr
    assert "1 entry" in listed.stderr
    (entry,) = json.loads(run("cache", "--json", folder=tmp_path).stdout)
    assert entry["name"] == clip.name
    assert entry["bytes"] > 1000
    assert run("cache", "--prune", folder=tmp_path).returncode == 2
    assert run("cache", "--all", folder=tmp_path).returncode == 2
    kept = run("cache", "--prune", "--older-than", "1", "--max-size", "100", folder=tmp_path)
    assert "Deleted 0 entries" in kept.stderr
    pruned = run("cache", "--prune", "--all", folder=tmp_path)
    assert "Deleted 1 entry" in pruned.stderr
    assert list(tmp_path.iterdir()) == []
