"""`metst doctor`: what is well is said to be, each fault that is put in is found and named, and the rest goes on."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import metst.installation.checks as checks
from helpers.analyses import make_analysis
from metst.cli import main
from metst.errors import OutputError
from metst.installation import Check, check_all
from metst.installation.self_test import MOVED, Outcome, faults_of
from metst.synthesis.events import PlantedEvent


@pytest.fixture(autouse=True)
def _no_long_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "run_self_test", lambda: Outcome("as expected", ()))


def by_name() -> dict[str, Check]:
    return {check.name: check for check in check_all()}


def test_on_this_machine_all_is_well() -> None:
    found = by_name()
    assert [check.name for check in found.values() if not check.well] == []
    assert all(check.found and "\n" not in check.found for check in found.values())
    assert list(found)[-1] == "self-test"


@pytest.fixture
def _read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checks.tempfile, "TemporaryFile", refuse)


@pytest.mark.usefixtures("_read_only")
def test_caches_that_cannot_be_written_are_named_with_what_to_do() -> None:
    assert checks.check_kernel_cache() == Check(
        "kernels", False, "no folder for compiled loops can be written: each process compiles them again",
        "set NUMBA_CACHE_DIR to a folder that can be written",
    )  # fmt: skip
    motion = checks.check_motion_cache()
    assert not motion.well
    assert "METST_CACHE_DIR" in motion.advice


@pytest.mark.parametrize("door", ["write_video", "read_frames"])
def test_a_missing_codec_is_named(monkeypatch: pytest.MonkeyPatch, door: str) -> None:
    def refuse(*arguments: object, **options: object) -> Iterator[object]:
        raise OutputError("no H.264 here")

    monkeypatch.setattr(f"metst.video.{door}", refuse)
    check = checks.check_codec()
    assert not check.well
    assert ("written" if door == "write_video" else "read") in check.found
    assert "no H.264 here" in check.found


def test_a_decoder_that_loses_pictures_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metst.video.read_frames", lambda path: iter(()))
    assert "0 came back" in checks.check_codec().found


def test_wrong_bytes_of_a_model_are_found_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from metst.models import checkpoint

    name = checkpoint.known_models()[0]
    folder = tmp_path / "models" / name
    folder.mkdir(parents=True)
    for path in (checkpoint._packaged_folder() / name).iterdir():
        folder.joinpath(path.name).write_bytes(path.read_bytes())
    weights = folder / checkpoint.WEIGHTS_FILE
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    monkeypatch.setattr(checkpoint, "_packaged_folder", lambda: tmp_path / "models")
    found = by_name()
    assert not found["models"].well
    assert "damaged or was exchanged" in found["models"].found
    assert found["self-test"].well


def test_packages_that_are_old_or_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = checks._installed
    monkeypatch.setattr(checks, "_installed", lambda name: {"av": "9.2.0", "xxhash": ""}.get(name, real(name)))
    check = checks.check_versions()
    assert not check.well
    assert "av 9.2.0 is older than 18" in check.found
    assert "xxhash is not installed" in check.found


def test_a_version_that_is_too_new_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.metadata, "requires", lambda name: ["av<20,>=18"])
    for version, well in (("18.0.0", True), ("19.4.1", True), ("20.0.0", False)):
        monkeypatch.setattr(checks, "_installed", lambda name, version=version: version)
        check = checks.check_versions()
        assert check.well == well
    assert check.found == "av 20.0.0 is newer than what is known to work (below 20)"


def test_the_plain_installation_needs_nothing_of_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["numpy<4,>=2.0", "torch>=2.6; extra == 'train'", "metst[train]; extra == 'cluster'"]
    monkeypatch.setattr(checks.metadata, "requires", lambda name: lines)
    assert checks._needs() == {"numpy": ("2.0", "4")}
    assert checks._needs("train") == {"torch": ("2.6", "")}
    assert checks._needs("cluster") == {}


def test_a_full_disk_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = checks.shutil.disk_usage(Path.cwd())
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda place: usage._replace(free=10**8))
    assert not checks.check_disk().well


def test_a_check_that_breaks_is_a_problem_and_the_others_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Check:
        raise RuntimeError("illegal\ninstruction")

    monkeypatch.setattr(checks, "check_processor", broken)
    found = by_name()
    assert found["processor"].found == "RuntimeError: illegal instruction"
    assert found["self-test"].well


def planted() -> list[PlantedEvent]:
    return [
        PlantedEvent(onset_s=s, apex_s=s + 0.2, offset_s=s + 0.4, label="negative", units={4: 0.4}) for s in (4.0, 12.0)
    ]


def measured(scale: float, score: float = 0.99) -> list[str]:
    """Faults where the planted movements were measured ``scale`` times as far as expected."""
    analysis = make_analysis(duration_s=16, events=0)
    displacement, scores = np.zeros_like(analysis.motion.displacement.values), analysis.scores.values.copy()
    for event, moved in zip(planted(), MOVED, strict=True):
        onset, apex, offset = analysis.grid.frame_at(np.array([event.onset_s, event.apex_s, event.offset_s])).tolist()
        displacement[apex, 3, 1] = scale * moved
        scores[onset:offset, 0] = score
    motion = replace(analysis.motion, displacement=replace(analysis.motion.displacement, values=displacement))
    return faults_of(replace(analysis, motion=motion, scores=replace(analysis.scores, values=scores)), planted())


def test_the_self_test_forgives_another_processor_and_no_broken_one() -> None:
    assert measured(1.0) == measured(1.1) == measured(0.9) == []
    assert len(measured(0.7)) == len(measured(1.3)) == len(measured(np.nan)) == 2
    assert len(measured(1.0, score=0.3)) == len(measured(1.0, score=np.nan)) == 2


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["metst", "doctor", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize("faults", [(), ("movement 1 was not found",)])
def test_the_command_lists_them_and_its_code_says_whether_all_is_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], faults: tuple[str, ...]
) -> None:
    monkeypatch.setattr(checks, "run_self_test", lambda: Outcome("as expected", faults))
    assert run(monkeypatch, "--json") == (3 if faults else 0)
    out, err = capsys.readouterr()
    found = {each["name"]: each for each in json.loads(out)}
    assert found["self-test"]["well"] is (not faults)
    assert len([line for line in err.splitlines() if line.startswith(("well", "PROBLEM"))]) == len(found)
    assert ("1 problem." if faults else "All is well.") in err
