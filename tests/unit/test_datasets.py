import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from helpers import dataset_folders as make
from metst.cli import app
from metst.datasets import KINDS, DataSet, Label, load_dataset
from metst.datasets.counts import compare, counts
from metst.errors import DataError, UsageError
from metst.labels import frame_labels
from metst.published.facts import COUNTS, Kind

LAYOUTS = {
    "samm-lv": make.samm_lv,
    "casme3": make.casme3,
    "casme2": make.casme2,
    "smic-hs": make.smic,
    "smic-vis": lambda root: make.smic(root, camera="VIS"),
    "smic-nir": lambda root: make.smic(root, camera="NIR"),
    "casme-ii": make.casme_ii,
    "samm": make.samm,
    "dfme": make.dfme,
    "megc": make.megc,
    "manifest": make.manifest,
}


def brief(label: Label) -> tuple[object, ...]:
    frames = (label.onset, label.apex, label.offset)
    return (label.subject, label.video, *frames, label.kind, label.emotion_class, label.source.row)


def check(data_set: DataSet) -> None:
    """What every data set promises."""
    videos = {(video.subject, video.name): video for video in data_set.videos}
    assert len(videos) == len(data_set.videos)
    for label in data_set.labels:
        video = videos.get((label.subject, label.video))
        assert 0 <= label.onset < label.offset <= (video.frames if video and video.frames else 10**9)
        assert label.apex is None or label.onset <= label.apex < label.offset
    for tally in data_set.tallies:
        place = (tally.source.file, tally.source.sheet)
        of_sheet = [label for label in data_set.labels if (label.source.file, label.source.sheet) == place]
        assert tally.read == len(of_sheet)
        assert tally.rows == tally.read + tally.left_out


@pytest.mark.parametrize("kind", KINDS)
def test_each_layout_is_recognised_and_clean(kind, tmp_path):
    data_set = load_dataset(LAYOUTS[kind](tmp_path))
    assert (data_set.kind, data_set.faults) == (kind, ())
    assert all(video.path.exists() for video in data_set.videos)
    check(data_set)
    again = load_dataset(tmp_path, kind=kind)
    assert (again.videos, again.labels) == (data_set.videos, data_set.labels)


def test_samm_lv(tmp_path):
    data_set = load_dataset(make.samm_lv(tmp_path))
    assert [brief(label) for label in data_set.labels] == [
        ("006", "006_1", 10, None, 20, "macro", None, 11),
        ("006", "006_1", 20, 24, 30, "micro", "negative", 12),
        ("007", "007_2", 2, None, 12, "micro", "positive", 13),
    ]
    assert data_set.labels[1].action_units == ("L4", "7")
    assert data_set.labels[1].emotion == "Contempt"
    assert data_set.labels[1].source.file == "SAMM_LongVideos_V3_Release.xlsx"
    assert [(v.subject, v.name, v.rate_hz, v.frames) for v in data_set.videos] == [
        ("006", "006_1", 200, 40),
        ("007", "007_2", 200, 40),
        ("007", "007_3", 200, 40),
    ]
    assert any("videos without a label of any kind: 1 (007/007_3)" in note for note in data_set.notes)


def test_samm_lv_without_the_emotions_says_so_once(tmp_path):
    data_set = load_dataset(make.samm_lv(tmp_path, facs=None))
    assert [str(fault) for fault in data_set.faults] == [
        f"{tmp_path.name}: expected SAMM_Micro_FACS_Codes_v2.xlsx with the emotions, got no such file; "
        "the labels have no class"
    ]
    assert [label.emotion_class for label in data_set.labels] == [None] * 3


def test_casme3(tmp_path):
    negatives = [
        ["spNO.1", "a", 21, 25, 30, "12", "Macro-expression", "I"],
        ["spNO.20", "b", 30, "", 33, "45", "Blink", ""],
        ["spNO.1", "a", 5, 9, 14, "4", "Micro-expression", "IV"],
    ]
    data_set = load_dataset(make.casme3(tmp_path, negatives=negatives))
    assert not data_set.faults
    assert [brief(label) for label in data_set.labels] == [
        ("spNO.1", "a", 4, 8, 14, "micro", "negative", 2),
        ("spNO.1", "j", 2, 4, 8, "micro", "others", 3),
        ("spNO.20", "b", 11, 19, 21, "micro", "positive", 4),
        ("spNO.1", "a", 20, 24, 30, "macro", None, 2),
        ("spNO.20", "b", 29, None, 33, "blink", None, 3),
    ]
    assert data_set.videos[0].path == tmp_path / "data" / "spNO.1" / "a" / "color"
    assert any("'J' is read as 'j'" in str(correction) for correction in data_set.corrections)
    assert any("1 micro-expressions of CAS(ME)3_part_A_v2.xls are read from" in note for note in data_set.notes)


def test_frame_numbers_are_those_in_the_names_of_the_images(tmp_path):
    data_set = load_dataset(make.casme3(tmp_path, first=3, rows=[["spNO.1", "a", 5, 9, 14, "4", "IV", "sad"]]))
    assert [(label.onset, label.apex, label.offset) for label in data_set.labels] == [(2, 6, 12)]
    assert data_set.videos[0].first_image == 3


def test_casme2(tmp_path):
    data_set = load_dataset(make.casme2(tmp_path))
    assert [brief(label) for label in data_set.labels] == [
        ("s15", "15_0101disgustingteeth", 4, 8, 14, "micro", "negative", 1),
        ("s15", "15_0101disgustingteeth", 14, 18, 19, "macro", "positive", 2),
        ("s16", "16_0401girlcrashing", 1, 3, 9, "macro", "surprise", 3),
    ]
    assert [(c.source.row, c.before, c.after) for c in data_set.corrections] == [(2, "0", "19")]
    plain = load_dataset(tmp_path, errata=False)
    assert not plain.corrections
    assert [(fault.source.row, fault.column) for fault in plain.faults] == [(2, "C (onset)")]
    assert len(plain.labels) == 2


@pytest.mark.parametrize(("kind", "rate_hz"), [("smic-hs", 100), ("smic-vis", 25), ("smic-nir", 25)])
def test_smic(kind, rate_hz, tmp_path):
    data_set = load_dataset(LAYOUTS[kind](tmp_path))
    assert [brief(label) for label in data_set.labels] == [
        ("s01", "s1_ne_01", 9, None, 18, "micro", "negative", 2),
        ("s01", "s1_po_02", 4, None, 12, "micro", "positive", 3),
        ("s11", "s11_su_01", 4, None, 12, "micro", "surprise", 4),
    ]
    assert {video.rate_hz for video in data_set.videos} == {rate_hz}
    assert any("remarks" in note and "rows 5" in note for note in data_set.notes)


def test_smic_cameras_side_by_side_need_a_kind(tmp_path):
    for camera in ("HS", "VIS"):
        make.smic(tmp_path / f"{camera}_long", camera=camera)
    with pytest.raises(UsageError, match=r"smic-hs, smic-vis\): say which with --kind"):
        load_dataset(tmp_path)
    data_set = load_dataset(tmp_path, kind="smic-vis")
    assert {video.path.parts[-4] for video in data_set.videos} == {"SMIC-VIS-E"}
    assert not data_set.faults


def test_smic_first_frame_that_is_not_the_first_image(tmp_path):
    rows = [[1, "s1_ne_01", 1010, 1018, 1000, 1030, "negative"]]
    (fault,) = load_dataset(make.smic(tmp_path, rows=rows)).faults
    assert (fault.column, fault.got) == ("FirstF", "1000")
    assert "1001, the first image of s1_ne_01" in fault.expected


def test_megc_keeps_zero_padding_and_has_no_labels(tmp_path):
    data_set = load_dataset(make.megc(tmp_path))
    assert [(v.subject, v.name, v.rate_hz) for v in data_set.videos] == [
        ("001", "001_1", 200),
        ("001", "001_2", 200),
        ("014", "014_3", 200),
        ("sub01", "a1", 30),
        ("sub02", "b07", 30),
    ]
    assert data_set.labels == ()
    assert [(c.found, c.difference) for c in compare(data_set)] == [(3, "7 too few"), (2, "18 too few")]


def test_manifest(tmp_path):
    header = [*make.MANIFEST_HEADER, "fps", "kind", "action_units"]
    extra = [["30", "", "12"], ["", "macro", ""], ["", "", ""], ["", "blink", ""]]
    rows = [[*row, *more] for row, more in zip(make.MANIFEST_ROWS, extra, strict=True)]
    data_set = load_dataset(make.manifest(tmp_path, rows=rows, header=header))
    assert [brief(label) for label in data_set.labels] == [
        ("anna", "talk", 4, 8, 14, "micro", "positive", 2),
        ("anna", "talk", 19, None, 24, "macro", "negative", 3),
        ("ben", "clip", 1, 2, 4, "blink", "others", 5),
    ]
    assert [(v.name, v.rate_hz, v.frames) for v in data_set.videos] == [
        ("talk", 30, 30),
        ("clip", None, None),
        ("still", None, 3),
    ]
    assert not data_set.faults


def test_labels_fit_the_training_targets(tmp_path):
    data_set = load_dataset(make.samm_lv(tmp_path))
    micro = [label for label in data_set.labels_of("micro") if label.video == "006_1"]
    onset, offset = ([getattr(label, name) for label in micro] for name in ("onset", "offset"))
    score, _ = frame_labels(onset, offset, label=[label.emotion_class for label in micro], length=40)
    # Frames 21 and 30 of the sheet are the first and the last of the movement; both are at rest still.
    assert score.nonzero()[0].tolist() == list(range(21, 29))


def test_of_several_releases_the_newest_is_read_and_a_note_says_so(tmp_path):
    make.samm_lv(tmp_path)
    make.xlsx(tmp_path / "old" / "SAMM_LongVideos_V1_Release.xlsx", [make.SAMM_HEADER])
    (tmp_path / "~$SAMM_LongVideos_V9_Release.xlsx").write_bytes(b"lock of an open workbook")
    data_set = load_dataset(tmp_path)
    assert len(data_set.labels) == 3
    note = "SAMM_LongVideos_V3_Release.xlsx is read, not old/SAMM_LongVideos_V1_Release.xlsx"
    assert note in data_set.notes


# The listed corrections.


def samm_rows(number: int, **changed: object) -> list[list[object]]:
    """``number`` micro-expressions without a contradiction but for ``row<n>`` = (onset, apex, offset)."""
    rows: list[list[object]] = []
    for k in range(number):
        frames = changed.get(f"at{k}", (5 * k + 1, 5 * k + 2, 5 * k + 4))
        rows.append([6, f"006_1_{k + 1}", 1, *frames, 4, "Micro - 1/2", "4", ""])
    return rows


@pytest.mark.parametrize("place", [55, 56, 46 - 1], ids=["label from 1", "label from 0", "spreadsheet row"])
def test_a_listed_correction_finds_its_row_however_rows_are_counted(place, tmp_path):
    rows = samm_rows(60, **{f"at{place}": (5700, 5710, 573)})
    facs = [[6, row[1], 1, 1, 2, 3, 3, "Micro", "4", "Anger", 2, ""] for row in rows]
    make.samm_lv(tmp_path, rows=rows, facs=facs, length=1)
    make.frames(tmp_path / "more" / "x", count=1)
    for image in (tmp_path / "SAMM_longvideos" / "006_1").iterdir():
        image.rename(image.with_name("006_1_0001.jpg"))
    (tmp_path / "SAMM_longvideos" / "006_1" / "006_1_6000.jpg").write_bytes(make.JPEG)
    data_set = load_dataset(tmp_path)
    (fixed,) = [c for c in data_set.corrections if c.column == "offset"]
    assert (fixed.source.row, fixed.before, fixed.after) == (11 + place, "573", "5739")
    assert data_set.labels[place].offset == 5739
    assert not data_set.faults
    assert (data_set.tallies[0].rows, data_set.tallies[0].corrected) == (60, 1)
    plain = load_dataset(tmp_path, errata=False)
    assert [(f.source.row, f.column) for f in plain.faults] == [(11 + place, "Onset")]
    assert plain.tallies[0].left_out == 1


def test_a_listed_correction_leaves_sound_rows_alone_and_says_so(tmp_path):
    data_set = load_dataset(make.samm_lv(tmp_path))
    assert not data_set.corrections
    assert any("not applied: rows 56, 125, 132, 133" in note for note in data_set.notes)


def test_rule_of_the_owners_of_casme3(tmp_path):
    rows = [
        ["spNO.1", "a", 2, 7, 33, "4", "IV", "disgust"],  # 31 frames on: not trusted
        ["spNO.1", "j", 2, 7, 32, "4", "IV", "disgust"],  # 30: trusted
    ]
    data_set = load_dataset(make.casme3(tmp_path, rows=rows))
    assert [label.offset for label in data_set.labels] == [12, 32]
    (fixed,) = data_set.corrections
    assert (fixed.before, fixed.after) == ("33", "12")
    assert "owners' rule" in fixed.why
    plain = load_dataset(tmp_path, errata=False)
    assert [label.offset for label in plain.labels] == [33, 32]
    assert not plain.faults


def test_casme3_row_750_starts_before_the_first_frame(tmp_path):
    rows = [["spNO.1", "a", 2, 3, 4, "4", "IV", "fear"] for _ in range(760)]
    rows = [[*row[:2], 2 + k % 9, 11, 12 + k // 9 % 20, *row[5:]] for k, row in enumerate(rows)]
    rows[748] = ["spNO.20", "b", 0, 0, 6, "4", "IV", "fear"]  # row 750 of the spreadsheet
    data_set = load_dataset(make.casme3(tmp_path, rows=rows))
    (label,) = [label for label in data_set.labels if label.source.row == 750]
    assert (label.onset, label.apex, label.offset) == (0, 0, 6)
    assert {(c.column, c.before, c.after) for c in data_set.corrections} == {("onset", "0", "1"), ("apex", "0", "1")}


# What can be wrong.


def faults_of(data_set: DataSet) -> list[tuple[int, str, str]]:
    check(data_set)
    return [(fault.source.row, fault.column, fault.got) for fault in data_set.faults]


ROW = ["spNO.1", "a", 5, 9, 14, "4", "IV", "disgust"]


@pytest.mark.parametrize(
    ("row", "column", "got", "labels"),
    [
        (["spNO.1", "a", "five", 9, 14, "4", "IV", "disgust"], "Onset", "'five'", 1),
        (["spNO.1", "a", 5.5, 9, 14, "4", "IV", "disgust"], "Onset", "'5.5'", 1),
        (["spNO.1", "a", True, 9, 14, "4", "IV", "disgust"], "Onset", "'True'", 1),
        (["spNO.1", "a", "#N/A", 9, 14, "4", "IV", "disgust"], "Onset", "'#N/A'", 1),
        (["spNO.1", "a", 5, "n/a", 14, "4", "IV", "disgust"], "Apex", "'n/a'", 1),
        (["spNO.1", "a", 5, 9, None, "4", "IV", "disgust"], "Offset", "an empty cell", 1),
        (["spNO.1", "a", 15, None, 14, "4", "IV", "disgust"], "Onset", "15", 1),
        (["spNO.1", "a", 0, 9, 14, "4", "IV", "disgust"], "Onset", "0", 1),
        (["spNO.1", "a", 35, 36, 41, "4", "IV", "disgust"], "Offset", "41", 1),
        (["spNO.1", "a", 5, 15, 14, "4", "IV", "disgust"], "Apex", "15", 2),
        (["spNO.1", "a", 5, 4, 14, "4", "IV", "disgust"], "Apex", "4", 2),
        (["spNO.1", "a", 5, 9, 14, "4", "IV", "joy"], "emotion", "'joy'", 2),
        (["spNO.1", "a", 5, 9, 14, "4", "IV", None], "emotion", "an empty cell", 2),
        (["spNO.1", "z", 5, 9, 14, "4", "IV", "disgust"], "Filename", "none (1 label without)", 2),
        (["spNO.9", "a", 5, 9, 14, "4", "IV", "disgust"], "Filename", "none (1 label without)", 2),
        (["spNO.20", "b", 12, 20, 21, "4", "IV", "disgust"], "", "the same as row 2", 1),
    ],
)
def test_a_bad_row_is_named_with_row_and_column(row, column, got, labels, tmp_path):
    rows = [["spNO.20", "b", 12, 20, 21, 12, "I", "happy"], row]
    data_set = load_dataset(make.casme3(tmp_path, rows=rows), errata=False)
    assert faults_of(data_set) == [(3, column, got)]
    assert len(data_set.labels) == labels
    assert data_set.faults[0].source.file == "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"


def test_all_faults_are_told_at_once(tmp_path):
    rows = [
        ["spNO.1", "a", "x", "y", "z", "4", "IV", "disgust"],
        ["spNO.1", "a", 20, 9, 14, "4", "IV", "disgust"],
        ["spNO.1", "q", 5, 9, 14, "4", "IV", "bliss"],
        ["SPNO.1", "a", 5, 9, 14, "4", "IV", "sad"],
    ]
    data_set = load_dataset(make.casme3(tmp_path, rows=rows), errata=False)
    assert [(row, column) for row, column, _ in faults_of(data_set)] == [
        (2, "Apex"), (2, "Offset"), (2, "Onset"), (3, "Onset"), (4, "Filename"), (4, "emotion"), (5, "Subject"),
    ]  # fmt: skip
    assert "'SPNO.1', another case" in data_set.faults[-1].got
    assert [label.subject for label in data_set.labels] == ["spNO.1", "spNO.1"]


def test_missing_and_renamed_columns(tmp_path):
    header = ["Subject", "Filename", "Start", "Apex", "Offset", "AU", "Objective class", "Feeling"]
    data_set = load_dataset(make.casme3(tmp_path, header=header))
    (fault,) = data_set.faults
    assert (fault.source.row, fault.column) == (1, "Onset, emotion")
    assert fault.got == "none; other columns are Start, Feeling"
    assert not data_set.labels
    assert len(data_set.videos) == 4


def test_header_in_another_case_or_row_is_found(tmp_path):
    header = [" SUBJECT", "filename", "onset ", "Apex", "OFFSET", "au", "Objective  Class", "Emotion"]
    make.casme3(tmp_path, header=header)
    assert len(load_dataset(tmp_path).labels) == 3


def test_no_header_at_all(tmp_path):
    make.casme3(tmp_path, header=["These", "are", "my", "notes"], rows=[["spNO.1", "a", 1, 2, 3]])
    (fault,) = load_dataset(tmp_path).faults
    assert "a header with Subject, Filename, Onset" in fault.expected
    assert fault.got == "a first row with These, are, my, notes"


def test_an_empty_sheet_and_a_header_alone(tmp_path):
    make.casme3(tmp_path / "a", rows=[], header=[])
    assert [fault.got for fault in load_dataset(tmp_path / "a").faults] == ["an empty sheet"]
    make.casme3(tmp_path / "b", rows=[])
    assert [fault.expected for fault in load_dataset(tmp_path / "b").faults] == ["rows below the header"]


@pytest.mark.parametrize("merged", ["A11:A12", "D12:F12"])
def test_merged_cells(merged, tmp_path):
    data_set = load_dataset(make.samm_lv(tmp_path, merged=merged))
    assert (merged, "merged cells") in {(fault.column, fault.got) for fault in data_set.faults}
    check(data_set)


def test_merged_cells_above_the_header_do_no_harm(tmp_path):
    assert not load_dataset(make.samm_lv(tmp_path, merged="A1:J1")).faults


def test_merged_cells_of_an_xls_sheet(tmp_path):
    xlwt = pytest.importorskip("xlwt")
    make.casme3(tmp_path)
    book = xlwt.Workbook()
    sheet = book.add_sheet("Sheet1")
    rows = [make.NEGATIVES_HEADER, ["spNO.1", "a", 21, 25, 30, "12", "Macro-expression", "I"], ["", "", 31, 32, 33]]
    for i, row in enumerate(rows):
        for k, cell in enumerate(row):
            sheet.write(i, k, cell)
    sheet.merge(1, 2, 6, 6)
    book.save(str(tmp_path / "CAS(ME)3_part_A_v2.xls"))
    faults = load_dataset(tmp_path).faults
    assert ("G2:G3", "merged cells") in {(fault.column, fault.got) for fault in faults}


@pytest.mark.parametrize(
    "name", ["annotation/cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", "annotation/CAS(ME)3_part_A_v2.xls"]
)
@pytest.mark.parametrize(
    "content", [b"", b"Subject,Filename\n", b"PK\x03\x04 cut", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 40]
)
def test_a_sheet_that_is_no_workbook(name, content, tmp_path):
    make.casme3(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read: expected an \.xlsx? workbook"):
        load_dataset(tmp_path)


def test_a_workbook_whose_text_is_damaged(tmp_path):
    make.casme3(tmp_path)
    path = tmp_path / "annotation" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part.replace(b"</row>", b"</row", 1))
    with pytest.raises(DataError, match=r"cannot be read: expected an \.xlsx workbook"):
        load_dataset(tmp_path)


def test_cells_of_an_xls_sheet_that_only_look_like_numbers(tmp_path):
    xlwt = pytest.importorskip("xlwt")
    make.casme3(tmp_path)
    book = xlwt.Workbook()
    sheet = book.add_sheet("Sheet1")
    for i, row in enumerate([make.NEGATIVES_HEADER, *[["spNO.1", "a", 21, 25, 30, "", "Macro-expression"]] * 3]):
        for k, cell in enumerate(row):
            if (i, k) not in {(1, 2), (2, 3)}:
                sheet.write(i, k, cell)
    sheet.write(1, 2, 20, xlwt.easyxf(num_format_str="YYYY-MM-DD"))
    sheet.row(2).set_cell_error(3, 0x2A)
    book.save(str(tmp_path / "CAS(ME)3_part_A_v2.xls"))
    data_set = load_dataset(tmp_path)
    assert faults_of(data_set) == [(2, "Onset", "'a date (20)'"), (3, "Apex", "'#N/A'")]
    assert len(data_set.labels_of("macro")) == 1


def test_a_workbook_with_the_ending_of_the_other_kind(tmp_path):
    make.casme3(tmp_path)
    rows = [make.NEGATIVES_HEADER, ["spNO.1", "a", 21, 25, 30, "12", "Macro-expression", "I"]]
    make.xlsx(tmp_path / "CAS(ME)3_part_A_v2.xls", rows)
    assert len(load_dataset(tmp_path).labels_of("macro")) == 1


def test_folders_that_are_not_what_they_should_be(tmp_path):
    root = make.casme3(tmp_path)
    (root / "data" / "spNO.1" / "k").mkdir()
    make.frames(root / "data" / "spNO.1" / "l" / "color", count=0)
    make.frames(root / "data" / "SPNO.1" / "a" / "color", count=40)
    found = [(fault.source.file, fault.expected, fault.got) for fault in load_dataset(root).faults]
    assert found == [
        ("data/spNO.1/k", "a folder color with the frames", "none"),
        ("data/spNO.1/l/color", "numbered images", "none"),
        (root.name, "subjects whose names differ in more than case", "'SPNO.1' and 'spNO.1'"),
    ]


def test_a_gap_in_the_frames_counts_as_frames(tmp_path):
    root = make.samm_lv(tmp_path)
    (root / "SAMM_longvideos" / "006_1" / "006_1_0017.jpg").unlink()
    data_set = load_dataset(root)
    assert data_set.videos[0].frames == 40
    assert any("006_1: 1 number(s) missing between images: 17" in note for note in data_set.notes)
    assert not data_set.faults


@pytest.mark.parametrize(
    ("row", "column", "got"),
    [
        ([6, "006-1-3", 1, 5, 6, 7, 3, "Micro - 1/2", "4", ""], "Filename", "'006-1-3'"),
        ([6, "006_1_3", 1, 5, 6, 7, 3, "Mikro", "4", ""], "Type", "'Mikro'"),
        ([8, "006_1_3", 1, 5, 6, 7, 3, "Macro", "4", ""], "Subject", "'8'"),
        ([6, "006_1_3", 1, 5, 6, 7, 3, "Micro - 1/2", "4", ""], "Filename", "none"),
    ],
)
def test_bad_rows_of_samm_lv(row, column, got, tmp_path):
    data_set = load_dataset(make.samm_lv(tmp_path, rows=[*make.SAMM_ROWS, row]))
    assert faults_of(data_set) == [(14, column, got)]


def test_two_emotions_of_one_sample(tmp_path):
    facs = [*make.FACS_ROWS, [6, "006_1_2", 1, 501, 505, 510, 10, "Micro", "4", "Anger", 5, ""]]
    (fault,) = load_dataset(make.samm_lv(tmp_path, facs=facs)).faults
    assert (fault.source.row, fault.column, fault.got) == (17, "Estimated Emotion", "'Anger' after 'Contempt'")


@pytest.mark.parametrize(
    ("row", "column", "got"),
    [
        ([9, "disgust1_3", 5, 6, 7, "4", "negative", "micro-expression", ""], "A (subject)", "'9'"),
        ([1, "bliss1_1", 5, 6, 7, "4", "negative", "micro-expression", ""], "B (video)", "'bliss1_1'"),
        ([1, "disgust1_3", 5, 6, 7, "4", "negative", "", ""], "H (type)", "an empty cell"),
        ([2, "disgust1_3", 5, 6, 7, "4", "negative", "micro-expression", ""], "B (video)", "none (1 label without)"),
        ([1, "disgust1_3", 5, 6, "7?", "4", "negative", "micro-expression", ""], "E (offset)", "'7?'"),
    ],
)
def test_bad_rows_of_casme2(row, column, got, tmp_path):
    data_set = load_dataset(make.casme2(tmp_path, rows=[*make.CASME2_ROWS, row]))
    assert faults_of(data_set) == [(4, column, got)]


def test_casme2_without_the_sheets_with_names(tmp_path):
    make.casme2(tmp_path)
    make.xlsx(tmp_path / "CAS(ME)^2code_final.xlsx", make.CASME2_ROWS)
    data_set = load_dataset(tmp_path)
    assert {"sheet 2 with the folder of each subject", "sheet 3 with the number of each video"} <= {
        fault.expected for fault in data_set.faults
    }
    assert data_set.tallies == () or data_set.tallies[0].read == 0


@pytest.mark.parametrize(
    ("row", "place", "got"),
    [
        (["ann", "talk", 5, 6, 7, "anger"], "video", "none (1 label without)"),
        (["Anna", "talk", 5, 6, 7, "anger"], "subject", "'Anna', another case"),
        (["anna", "talk", 5, 6, 31, "anger"], "offset", "31"),
        (["anna", "talk", 0, 6, 9, "anger"], "onset", "0"),
        (["anna", "talk", 5, 6, 7], "", "5"),
        (["anna", "talk", "", "", "", ""], "onset", "a row without frames"),
        (["anna", "walk", "", "", "", ""], "video", "none"),
        (["", "talk", 5, 6, 7, "anger"], "subject", "an empty cell"),
    ],
)
def test_bad_rows_of_a_manifest(row, place, got, tmp_path):
    data_set = load_dataset(make.manifest(tmp_path, rows=[*make.MANIFEST_ROWS, row]))
    assert (6, place, got) in faults_of(data_set)


def test_a_video_that_the_manifest_does_not_list(tmp_path):
    (fault,) = load_dataset(make.manifest(tmp_path, rows=make.MANIFEST_ROWS[:2] + make.MANIFEST_ROWS[3:])).faults
    assert fault.source.file == "ben/still"
    assert "a row in the manifest" in fault.expected


def test_manifest_of_another_name_and_several(tmp_path):
    make.manifest(tmp_path, name="our labels.csv")
    assert load_dataset(tmp_path).kind == "manifest"
    (tmp_path / "copy.csv").write_bytes((tmp_path / "our labels.csv").read_bytes())
    with pytest.raises(DataError, match=r"copy\.csv, our labels\.csv.*call it manifest\.csv"):
        load_dataset(tmp_path)
    (tmp_path / "our labels.csv").rename(tmp_path / "manifest.csv")
    assert not load_dataset(tmp_path).faults


# Folders that are no data set.


def test_unknown_layouts(tmp_path):
    with pytest.raises(UsageError, match=r"no folder .*none: expected the folder of a data set, got nothing"):
        load_dataset(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="got a file"):
        load_dataset(tmp_path / "file")
    (tmp_path / "videos").mkdir()
    with pytest.raises(
        UsageError, match=r"is no data set known: .* holds file, videos/; say which with --kind samm-lv"
    ):
        load_dataset(tmp_path)
    make.frames(tmp_path / "videos" / "s15" / "15_0101x", count=1)
    with pytest.raises(UsageError, match="videos holds folders of videos, but there is no label sheet"):
        load_dataset(tmp_path)
    with pytest.raises(UsageError, match="unknown kind of data set 'casme9'"):
        load_dataset(tmp_path, kind="casme9")
    with pytest.raises(
        DataError, match=r"no label sheet below .*: expected a file like SAMM_LongVideos_V3_Release\.xlsx"
    ):
        load_dataset(tmp_path, kind="samm-lv")


def test_sheets_without_videos(tmp_path):
    make.samm_lv(tmp_path / "whole")
    for sheet in (tmp_path / "whole").glob("*.xlsx"):
        (tmp_path / sheet.name).write_bytes(sheet.read_bytes())
    root = tmp_path / "alone"
    root.mkdir()
    for sheet in tmp_path.glob("*.xlsx"):
        sheet.rename(root / sheet.name)
    data_set = load_dataset(root)
    found = {fault.got for fault in data_set.faults}
    assert found == {"none", "none (2 labels without)", "none (1 label without)"}
    assert len(data_set.labels) == 3


@pytest.mark.parametrize("package", ["openpyxl", "xlrd"])
def test_a_missing_package_names_the_extra(package, tmp_path, monkeypatch):
    make.casme3(tmp_path, negatives=[])
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"needs the package {package}: pip install 'metst\[train\]'"):
        load_dataset(tmp_path)


def test_manifests_need_neither_package_nor_pandas_nor_torch(tmp_path):
    make.manifest(tmp_path)
    code = (
        "import sys; from metst.datasets import load_dataset; "
        f"load_dataset({str(tmp_path)!r}); "
        "print(*({'openpyxl', 'xlrd', 'pandas', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == []


# Published counts.


def test_published_counts_name_the_differences(tmp_path):
    data_set = load_dataset(make.samm_lv(tmp_path))
    found = {count.what: (count.published, count.found, count.difference) for count in compare(data_set)}
    assert found["micro-expressions"] == ((159, 159), 2, "157 too few")
    assert found["videos"] == ((147, 147), 3, "144 too few")
    assert found["micro-expressions, negative"] == ((92, 92), 1, "91 too few")


@pytest.mark.parametrize("kind", KINDS)
def test_every_published_count_is_one_that_is_counted(kind):
    names = counts(DataSet(kind, Path(), ()))
    assert all(what in names or what.startswith("videos at") for what in COUNTS[kind])


# The command.


def test_the_command_offers_every_kind():
    assert get_args(Kind) == KINDS


def run(*arguments: object):
    return CliRunner().invoke(app, ["datasets", "check", *map(str, arguments)])


def test_check_of_a_clean_folder(tmp_path):
    result = run(make.casme3(tmp_path))
    assert result.exit_code == 0
    assert result.stdout == ""
    counted = "labels 3: read as written 2, corrected 1, left out 0"
    renamed = "'J' is read as 'j'"
    for text in ("is read as casme3", "92 too few", counted, "853 to 858", renamed, "no inconsistencies"):
        assert text in result.stderr


def test_check_finds_faults(tmp_path):
    rows = [
        *make.CASME3_ROWS,
        ["spNO.1", "a", 20, 9, 14, "4", "IV", "[bliss]"],
        ["spNO.1", "a", "x", 9, 14, "", "", "sad"],
    ]
    make.casme3(tmp_path, rows=rows)
    result = run(tmp_path, "--json", "--no-errata")
    assert result.exit_code == 3
    found = json.loads(result.stdout)
    assert (found["data_set"], found["errata"], found["corrections"]) == ("casme3", False, [])
    places = [(fault["source"]["row"], fault["column"]) for fault in found["faults"]]
    assert places == [(3, "Filename"), (5, "Onset"), (6, "Onset")]
    assert found["counts"]["micro-expressions"] == 3
    assert found["rows"] == [
        {
            "source": {"file": "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", "sheet": "Sheet", "row": 0},
            "rows": 5, "read": 3, "corrected": 0, "left_out": 2,
        }
    ]  # fmt: skip
    assert "row 6, column Onset: expected a whole frame number, got 'x'; the row is left out" in result.stderr
    assert "3 inconsistencies" in result.stderr


def test_check_lists_many_corrections_of_one_kind_in_one_line(tmp_path):
    rows = [["spNO.1", "a", 1 + k, 3 + k, 35 + k, "4", "IV", "sad"] for k in range(5)]
    rows += [["spNO.1", "j", 1, 2 + k, 40, "4", "IV", "sad"] for k in range(10)]
    make.casme3(tmp_path, rows=rows)
    short, long = run(tmp_path), run(tmp_path, "-v")
    assert short.stderr.count("owners' rule") == 1
    assert "[15 rows like this: 2, 3, 4 and 12 more]" in short.stderr
    assert long.stderr.count("owners' rule") == 15


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["missing"], 2, "no folder"),
        (["there"], 2, "say which with --kind"),
        (["there", "--kind", "casme2"], 1, "no label sheet"),
        (["there", "--kind", "casme9"], 2, "casme9"),
    ],
)
def test_exit_codes_of_what_cannot_be_read(arguments, code, text, tmp_path):
    (tmp_path / "there").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "metst", "datasets", "check", *arguments],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr
