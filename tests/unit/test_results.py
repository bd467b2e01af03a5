"""The folder of an analysis: contract of its tables, whole files, clear errors."""

import csv
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from helpers.analyses import make_analysis
from metst.errors import DataError, OutputError, UsageError
from metst.results import Analysis, Gap, Motion, event_table, read_analysis, read_header, write_analysis
from metst.results.motion_file import motion_bytes, motion_of
from metst.results.tables import face_table, frame_table, motion_table, table_of
from metst.storage import unsealed, write_whole
from metst.timeline import Intervals, TimeGrid

GAPS = ((2.0, 3.0, "no face"), (3.0, 3.5, "scene cut"), (9.0, 10.0, "no face"))


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return make_analysis(duration_s=12, gaps=GAPS, problems=("3 frames could not be decoded",))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def of_earlier_version(folder: Path) -> None:
    """Without hashes, as earlier versions wrote it."""
    header = unsealed((folder / "analysis.json").read_bytes())
    del header["sha256"], header["custody"], header["source"]["changed"]
    (folder / "analysis.json").write_text(json.dumps(header))


# The tables, read without pandas


def test_events_count_frames_from_one_and_include_both_ends(analysis: Analysis, tmp_path: Path) -> None:
    write_analysis(analysis, tmp_path)
    table = rows(tmp_path / "events.csv")
    names = [
        "event",
        "onset_frame",
        "apex_frame",
        "offset_frame",
        "onset_s",
        "apex_s",
        "offset_s",
        "label",
        "confidence",
    ]
    assert list(table[0]) == [*names, "p_negative", "p_positive", "p_surprise", "p_others"]
    assert len(table) == len(analysis.events) > 0
    for i, row in enumerate(table):
        onset, apex, after = (int(getattr(analysis.events, name)[i]) for name in ("onset", "apex", "offset"))
        assert (row["event"], row["label"]) == (str(i + 1), analysis.events.label[i])
        assert [int(row[name]) for name in names[1:4]] == [onset + 1, apex + 1, after]
        for frame, second in zip(names[1:4], names[4:7], strict=True):
            assert float(row[second]) == pytest.approx((int(row[frame]) - 1) / 30, abs=1e-6)
        assert sum(float(row[f"p_{name}"]) for name in analysis.events.classes) == pytest.approx(1)


def test_frames_have_empty_cells_where_nothing_was_measured(analysis: Analysis, tmp_path: Path) -> None:
    write_analysis(analysis, tmp_path)
    table = rows(tmp_path / "frames.csv")
    assert list(table[0])[:4] == ["frame", "time_s", "face_valid", "spot_score"]
    assert [int(row["frame"]) for row in table] == list(range(1, 361))
    for i, row in enumerate(table):
        invalid = 60 <= i < 105 or 270 <= i < 300
        assert row["face_valid"] == ("False" if invalid else "True")
        assert (row["spot_score"] == "") == (row["p_surprise"] == "") == invalid


def test_seconds_come_from_the_timestamps_not_from_the_rate(analysis: Analysis, tmp_path: Path) -> None:
    stretched = TimeGrid(analysis.grid.time_s**1.5 + 7)
    late = replace(analysis, scores=replace(analysis.scores, grid=stretched))
    np.testing.assert_allclose(event_table(late)["apex_s"], stretched.time_s[late.events.apex], atol=1e-6)


def test_motion_columns_are_named_by_region(analysis: Analysis, tmp_path: Path) -> None:
    write_analysis(analysis, tmp_path)
    table = rows(tmp_path / "motion.csv")
    assert list(table[0])[:5] == ["frame", "time_s", "left_brow_x", "left_brow_y", "left_brow_quality"]
    assert len(table[0]) == 2 + 18 * 7
    for i in (0, 200, 359):
        assert float(table[i]["upper_lip_y"]) == pytest.approx(
            float(analysis.motion.displacement.channel("upper lip")[i, 1]), rel=1e-6
        )
    assert table[70]["upper_lip_y"] == ""


def test_numbers_have_no_more_digits_than_they_need(analysis: Analysis, tmp_path: Path) -> None:
    quality = np.full_like(analysis.motion.quality, 0.9)
    quality[:, 1] = np.float32(1) / 3
    quality[:, 2] = np.nextafter(np.float32(0.7), np.float32(1))
    write_analysis(replace(analysis, motion=replace(analysis.motion, quality=quality)), tmp_path)
    row = rows(tmp_path / "motion.csv")[0]
    regions = [name.replace(" ", "_") for name in analysis.motion.displacement.channels]
    texts = [row[f"{regions[k]}_quality"] for k in range(3)]
    assert texts == ["0.9", "0.33333334", "0.70000005"]
    assert read_analysis(tmp_path).motion.quality[0, :3].tolist() == quality[0, :3].tolist()


def test_a_table_that_cannot_be_finished_leaves_nothing_behind(
    analysis: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_analysis(analysis, tmp_path)
    before = (tmp_path / "motion.csv").read_bytes()
    monkeypatch.setattr("metst.results.tables.Table.csv_parts", lambda _: iter([b"frame", 1]))
    with pytest.raises(TypeError):
        write_analysis(analysis, tmp_path)
    assert (tmp_path / "motion.csv").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_analysis_json_is_for_people_too(analysis: Analysis, tmp_path: Path) -> None:
    write_analysis(analysis, tmp_path)
    content = json.loads((tmp_path / "analysis.json").read_text(encoding="utf-8"))
    assert content["gaps"][0] == {
        "first_frame": 61,
        "last_frame": 90,
        "first_s": 2.0,
        "last_s": 2.966667,
        "reason": "no face",
    }
    assert content["summary"]["usable_frames"] == 360 - 75
    assert sum(content["summary"]["events_by_label"].values()) == content["summary"]["events"] == len(analysis.events)
    described = {
        part.strip() for columns in content["columns"].values() for name in columns for part in name.split(",")
    }
    assert {"onset_frame", "apex_s", "confidence", "face_valid", "spot_score", "<region>_x"} <= described


def test_gaps_are_runs_of_one_reason(analysis: Analysis) -> None:
    assert analysis.gaps == (Gap(60, 90, "no face"), Gap(90, 105, "scene cut"), Gap(270, 300, "no face"))


def test_no_event_leaves_a_table_with_a_header(tmp_path: Path) -> None:
    write_analysis(make_analysis(duration_s=2, events=0), tmp_path)
    assert rows(tmp_path / "events.csv") == []
    assert (tmp_path / "events.csv").read_text().startswith("event,onset_frame,")
    again = read_analysis(tmp_path).events
    assert len(again) == 0
    assert again.classes == ("negative", "positive", "surprise", "others")


# Reading back


@pytest.mark.parametrize("motion_format", ["csv", "safetensors"])
def test_what_was_written_is_read(analysis: Analysis, tmp_path: Path, motion_format: str) -> None:
    write_analysis(analysis, tmp_path, motion_format=motion_format)
    again = read_analysis(tmp_path)
    for one, two in (
        (analysis.scores, again.scores),
        (analysis.motion.displacement, again.motion.displacement),
        (analysis.motion.face, again.motion.face),
    ):
        np.testing.assert_array_equal(one.values, two.values)
        np.testing.assert_array_equal(one.valid, two.valid)
        np.testing.assert_array_equal(one.grid.time_s, two.grid.time_s)
        assert one.channels == two.channels
    assert again.motion.reason == analysis.motion.reason
    assert (again.source, again.problems) == (analysis.source, analysis.problems)
    assert again.threshold == 0.5


def test_results_of_an_earlier_version_are_read(analysis: Analysis, tmp_path: Path) -> None:
    """Their file of motion had other names, and less in it."""
    write_analysis(analysis, tmp_path, motion_format="safetensors")
    motion = analysis.motion
    tensors = {"time_s": analysis.grid.time_s, "motion": motion.displacement.values, "quality": motion.quality,
               "conditions": motion.conditions, "centres_px": motion.centres}  # fmt: skip
    safetensors.numpy.save_file(tensors, tmp_path / "motion.safetensors", metadata={"regions": "[]"})
    of_earlier_version(tmp_path)
    again = read_analysis(tmp_path).motion
    for name in ("quality", "conditions", "centres", "face_quality"):
        np.testing.assert_array_equal(getattr(again, name), getattr(motion, name))
    for name in ("displacement", "face"):
        np.testing.assert_array_equal(getattr(again, name).values, getattr(motion, name).values)
        np.testing.assert_array_equal(getattr(again, name).valid, getattr(motion, name).valid)
    assert again.reason == motion.reason
    assert np.isnan(again.face_px).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("quality"), "it has no 'quality'"),
        (
            lambda tensors: tensors.update(motion=tensors["motion"][:, :4].copy()),
            r"expected motion \(360, 18, 2\), got",
        ),
        (lambda tensors: tensors.update(time_s=tensors["time_s"][::-1]), "timestamps must increase"),
    ],
)
def test_a_file_of_motion_that_is_not_one_is_refused(
    analysis: Analysis, tmp_path: Path, change: Callable[[dict[str, np.ndarray]], object], message: str
) -> None:
    write_analysis(analysis, tmp_path, motion_format="safetensors")
    motion = analysis.motion
    tensors = {"time_s": analysis.grid.time_s, "motion": motion.displacement.values, "quality": motion.quality}
    change(tensors)
    tensors = {name: np.ascontiguousarray(each) for name, each in tensors.items()}
    safetensors.numpy.save_file(tensors, tmp_path / "motion.safetensors")
    of_earlier_version(tmp_path)
    with pytest.raises(DataError, match=rf"{message}.*analyse the recording again"):
        read_analysis(tmp_path)


def test_motion_of_other_regions_is_refused(analysis: Analysis) -> None:
    with pytest.raises(DataError, match=r"expected the regions a, b, got left brow, left brow inner"):
        motion_of(motion_bytes(analysis.motion), regions=("a", "b"))


def test_only_one_motion_file_is_kept(analysis: Analysis, tmp_path: Path) -> None:
    write_analysis(analysis, tmp_path, motion_format="csv")
    write_analysis(analysis, tmp_path, motion_format="safetensors")
    assert [path.name for path in tmp_path.glob("motion.*")] == ["motion.safetensors"]


def test_unknown_motion_format_is_refused_before_anything_is_written(analysis: Analysis, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"parquet.*csv or safetensors"):
        write_analysis(analysis, tmp_path / "new", motion_format="parquet")
    assert not (tmp_path / "new").exists()


def test_a_relative_rule_has_no_threshold() -> None:
    assert make_analysis(duration_s=2, decode={"rule": "fixed", "k_p": 5}).threshold is None


def damaged_schema(folder: Path) -> None:
    header = unsealed((folder / "analysis.json").read_bytes())
    (folder / "analysis.json").write_text(json.dumps(header | {"schema": 99}))


def damaged_header(folder: Path) -> None:
    header = unsealed((folder / "analysis.json").read_bytes())
    (folder / "analysis.json").write_text(json.dumps(header | {"source": {"name": "x"}}))


def cut_off(name: str) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: content.rindex(b"\n", 0, len(content) // 2) + 1])

    return cut


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def replace_text(folder: Path) -> None:
        content = (folder / name).read_text()
        assert old in content
        (folder / name).write_text(content.replace(old, new))

    return replace_text


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "analysis.json").unlink(), "analysis.json is missing.*metst analyze"),
        (lambda folder: (folder / "frames.csv").unlink(), "frames.csv is missing"),
        (lambda folder: (folder / "analysis.json").write_text("{"), "analysis.json cannot be read"),
        (lambda folder: (folder / "frames.csv").write_bytes(b"\xff\xfe\x00"), "frames.csv is not as it was written"),
        (damaged_schema, "schema 99.*version that wrote it"),
        (damaged_header, "source"),
        (cut_off("frames.csv"), r"360 frames of face, but 1\d\d in frames.csv"),
        (cut_off("motion.csv"), r"1\d\d frames of motion, but 360 in frames.csv"),
        (replaced("frames.csv", "spot_score", "score"), "frames.csv is not as it was written.*spot_score"),
        (replaced("events.csv", "negative,", "negative,very "), "events.csv is not as it was written"),
        (replaced("events.csv", "\n1,", "\n1,9"), "onset <= apex < offset"),
    ],
)
def test_damage_is_one_clear_line(
    analysis: Analysis, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    write_analysis(analysis, tmp_path)
    of_earlier_version(tmp_path)
    damage(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        read_analysis(tmp_path)
    assert "\n" not in str(caught.value)


# One whole


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("motion_format", ["csv", "safetensors"])
def test_no_flipped_bit_is_read_as_another_value(tmp_path: Path, motion_format: str) -> None:
    write_analysis(make_analysis(duration_s=3, events=2), tmp_path, motion_format=motion_format)
    expected = written(read_analysis(tmp_path))
    refused = 0
    for path in sorted(tmp_path.iterdir()):
        content = path.read_bytes()
        bits = 8 * len(content)
        for bit in range(7, bits, max(1, bits // 160) | 1):  # an odd step meets every place of a byte
            path.write_bytes(flipped(content, bit))
            found = read_or_refused(tmp_path)
            assert found == expected or str(path) in found, f"{path.name}, bit {bit}"
            refused += isinstance(found, str)
        path.write_bytes(content)
    assert refused > 500
    assert written(read_analysis(tmp_path)) == expected


def read_or_refused(folder: Path) -> list[bytes] | str:
    try:
        return written(read_analysis(folder))
    except DataError as error:
        return str(error)


def written(analysis: Analysis) -> list[bytes]:
    """All that an analysis says, as bytes."""
    tables = [table_of(event_table(analysis)), frame_table(analysis), face_table(analysis), motion_table(analysis)]
    parts = [b"".join(table.csv_parts()) for table in tables]
    rest = [analysis.source, analysis.model, analysis.settings, analysis.problems, analysis.created, analysis.custody,
            analysis.version, analysis.seconds, analysis.events.classes, analysis.scores.channels]  # fmt: skip
    return [*parts, repr(rest).encode()]


def test_tables_that_were_changed_by_hand_are_named_and_can_be_read_on_purpose(
    analysis: Analysis, tmp_path: Path
) -> None:
    write_analysis(analysis, tmp_path)
    label = analysis.events.label[0]
    replaced("events.csv", f",{label},", ",others,")(tmp_path)
    with pytest.raises(DataError, match=r"events\.csv is not the one that analysis\.json was .*--unchecked"):
        read_analysis(tmp_path)
    assert read_analysis(tmp_path, check=False).events.label[0] == "others"
    of_earlier_version(tmp_path)
    assert read_analysis(tmp_path).events.label[0] == "others"  # nobody can tell


@pytest.mark.parametrize("stop", range(7))
def test_an_analysis_that_is_replaced_is_the_old_one_the_new_one_or_none(
    analysis: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """A process is killed before one of the steps that put a file in its place."""
    write_analysis(analysis, tmp_path)
    old, steps, step = written(analysis), [0], Path.replace
    new = make_analysis(duration_s=12, gaps=GAPS, seed=1)

    class Killed(BaseException):
        pass

    def counted(self: Path, target: Path) -> Path:
        if steps[0] == stop:
            raise Killed
        steps[0] += 1
        return step(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", counted)
        with suppress(Killed):
            write_analysis(new, tmp_path)
    if stop == 0:
        assert written(read_analysis(tmp_path)) == old
    elif stop == 6:
        assert written(read_analysis(tmp_path)) == written(new) != old
    else:  # whose it is can be read, and nothing else
        assert read_header(tmp_path).created == new.created
        with pytest.raises(DataError, match=r"frames\.csv does not belong to this analysis, cut off"):
            read_analysis(tmp_path)
    write_analysis(new, tmp_path)
    assert written(read_analysis(tmp_path)) == written(new)
    assert not list(tmp_path.glob(".*"))


WRITER = """
import sys, time
from pathlib import Path
from metst.storage.locks import only_writer
with only_writer(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.readline()
"""


def test_a_second_writer_is_told_who_writes(analysis: Analysis, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "in\n"
        with pytest.raises(OutputError, match=rf"another metst \(process {writer.pid}\) writes into .*out: wait"):
            write_analysis(analysis, tmp_path / "out")
        assert [path.name for path in (tmp_path / "out").iterdir()] == [".metst-lock"]
        writer.kill()
    write_analysis(analysis, tmp_path / "out")  # the lock of a dead process keeps nobody out
    assert written(read_analysis(tmp_path / "out")) == written(analysis)
    assert not (tmp_path / "out" / ".metst-lock").exists()


def test_two_threads_write_one_folder_and_one_is_refused_or_waits_its_turn(tmp_path: Path) -> None:
    two = [make_analysis(duration_s=2, seed=seed) for seed in range(2)]
    start = threading.Barrier(2)

    def write(analysis: Analysis) -> str:
        start.wait()
        try:
            write_analysis(analysis, tmp_path)
        except OutputError as error:
            return str(error)
        return ""

    for _ in range(10):
        with ThreadPoolExecutor(2) as pool:
            said = list(pool.map(write, two))
        assert "" in said
        assert all("writes into" in each for each in said if each)
        assert written(read_analysis(tmp_path)) in [written(each) for each in two]
        assert not list(tmp_path.glob(".*"))


# Whole files


def test_a_full_disk_loses_only_the_file_that_did_not_fit(analysis: Analysis, tmp_path: Path) -> None:
    (tmp_path / "frames.csv").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"frames\.csv: the disk is full; free some space.*4 of 5 files") as caught:
        write_analysis(analysis, tmp_path)
    assert "\n" not in str(caught.value)
    assert len(rows(tmp_path / "events.csv")) == len(analysis.events)
    assert len(rows(tmp_path / "motion.csv")) == len(analysis.scores)
    assert json.loads((tmp_path / "analysis.json").read_text())["files"] == ["events.csv", "face.csv", "motion.csv"]
    with pytest.raises(DataError, match=r"frames\.csv does not belong to this analysis"):
        read_analysis(tmp_path)


def test_a_file_in_the_way_of_the_folder(analysis: Analysis, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("notes")
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(OutputError, match="a file stands where a folder is needed"):
            write_analysis(analysis, folder)
    assert (tmp_path / "out").read_text() == "notes"


def test_a_folder_in_the_way_of_a_file(analysis: Analysis, tmp_path: Path) -> None:
    (tmp_path / "events.csv").mkdir()
    with pytest.raises(OutputError, match=r"events\.csv: a folder stands where the file should be"):
        write_analysis(analysis, tmp_path)
    assert (tmp_path / "frames.csv").is_file()


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that may not be entered; root, who may enter all, is somebody else for a while."""
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    folder.chmod(stat.S_IRWXU)


def test_no_permission(analysis: Analysis, closed: Path) -> None:
    with pytest.raises(OutputError, match="no permission to write there; choose another output folder"):
        write_analysis(analysis, closed / "out")
    with pytest.raises(OutputError, match=r"events\.csv: no permission"):
        write_whole(closed / "events.csv", b"")


# What belongs together


def test_motion_of_another_length_is_refused(analysis: Analysis) -> None:
    motion = analysis.motion
    for part in ("displacement", "face"):
        with pytest.raises(DataError, match=r"needs (quality|face) of shape"):
            replace(motion, **{part: getattr(motion, part).part(slice(1, None))})
    short = Motion.bare(motion.displacement.part(slice(1, None)), quality=motion.quality[1:])
    with pytest.raises(DataError, match="360 frames needs motion of as many, got 359"):
        replace(analysis, motion=short)


def test_an_event_beyond_the_video_is_refused(analysis: Analysis) -> None:
    one = np.array([1])
    late = Intervals(one, one, np.array([361]), ("x",), np.ones(1), np.ones((1, 1)), ("x",))
    with pytest.raises(DataError, match="outside the 360 frames"):
        replace(analysis, events=late)
