"""Label sheets as they circulate: whole copies, made here, with the faults that copies have."""

import csv
import json
from collections import Counter

import pytest
from typer.testing import CliRunner

from helpers import dataset_folders as make
from metst.cli import app
from metst.datasets import load_dataset
from metst.datasets.counts import compare, counts
from metst.datasets.types import Correction, Fault, Source, said_once
from metst.errors import DataError, UsageError
from metst.spelling.alike import together


def check(*arguments: object):
    return CliRunner().invoke(app, ["datasets", "check", *map(str, arguments)])


def frames_of(data_set, *, kind="micro"):
    return [(la.subject, la.video, la.onset, la.apex, la.offset, la.emotion_class) for la in data_set.labels_of(kind)]


# Whole copies.


@pytest.fixture(scope="module")
def samm_lv(tmp_path_factory):
    return make.full_samm_lv(tmp_path_factory.mktemp("samm_lv"))


@pytest.fixture(scope="module")
def casme3(tmp_path_factory):
    return make.full_casme3(tmp_path_factory.mktemp("casme3"), jpg_index=False)


def test_a_whole_copy_of_samm_lv_with_fractions_of_frames(samm_lv):
    data_set = load_dataset(samm_lv)
    assert data_set.kind == "samm-lv"
    assert data_set.faults == ()
    assert {count.what for count in compare(data_set) if not count.agrees} == set()
    found = counts(data_set)
    assert (found["macro-expressions"], found["micro-expressions"]) == (343, 159)
    assert (found["subjects"], found["subjects with micro-expressions"]) == (30, 29)
    assert {fix.source.row for fix in data_set.corrections} == set(range(11, 11 + 177))
    # 2000.4 to 2006.4 are the frames 2000 to 2006 from 1, in a video whose first image is 1.
    assert [(la.onset, la.offset) for la in data_set.labels_of("macro")[:2]] == [(1999, 2006), (2009, 2016)]
    (tally,) = data_set.tallies
    assert (tally.rows, tally.read, tally.corrected) == (343 + 159, 343 + 159, 177)


def test_fractions_are_one_line_with_a_count_and_three_rows(samm_lv):
    short, long = check(samm_lv), check(samm_lv, "-v")
    (line,) = [line for line in short.stderr.replace("\n", " ").split("corrected: ")[1:] if "cut off" in line]
    assert "2000.4 is read as 2000" in line
    assert "[177 rows like this, 354 cells: 11, 12, 13 and 174 more]" in " ".join(line.split())
    assert long.stderr.count("cut off") == 354
    assert short.exit_code == long.exit_code == 0


def test_fractions_are_faults_of_rows_that_stay_where_nothing_is_corrected(samm_lv):
    result = check(samm_lv, "--no-errata", "--json")
    found = json.loads(result.stdout)
    assert found["counts"]["macro-expressions"] == 343
    assert found["corrections"] == []
    assert len(found["faults"]) == 354
    assert result.stderr.count("fault:") == 2  # one line for the onsets, one for the offsets


@pytest.mark.parametrize("cell", ["x", "1/2", "12;5", True])
def test_what_is_no_number_is_no_fraction(cell, tmp_path):
    row = [6, "006_1_3", 1, cell, -1, 30, 3, "Macro", "", ""]
    (fault,) = load_dataset(make.samm_lv(tmp_path, rows=[*make.SAMM_ROWS, row])).faults
    assert (fault.source.row, fault.column, fault.effect) == (14, "Onset", "the row is left out")


def test_a_whole_copy_of_casme3_in_one_workbook(casme3):
    data_set = load_dataset(casme3)
    assert data_set.kind == "casme3"
    assert data_set.faults == ()
    found = counts(data_set)
    assert (found["micro-expressions"], found["macro-expressions"], found["blinks"]) == (860, 3346, 841)
    assert {count.what for count in compare(data_set) if not count.agrees} == set()
    (fix,) = data_set.corrections
    assert (fix.column, fix.before, fix.after) == ("onset", "0", "1")
    assert {label.emotion_class for label in data_set.labels} == {None}
    assert any("names no emotions: its micro-expressions have no class" in note for note in data_set.notes)
    assert {label.source.sheet for label in data_set.labels_of("blink")} == {"eye blink"}
    assert {label.apex for label in data_set.labels_of("blink")} == {None}
    assert [(tally.source.sheet, tally.rows, tally.left_out) for tally in data_set.tallies] == [
        ("Sheet1", 4206, 0),
        ("eye blink", 841, 0),
    ]


def test_with_the_sheet_of_micro_expressions_beside_it_they_are_read_there(tmp_path):
    data_set = load_dataset(make.full_casme3(tmp_path, jpg_index=True))
    found = counts(data_set)
    assert (found["micro-expressions"], found["macro-expressions"], found["blinks"]) == (860, 3346, 841)
    assert {la.source.file for la in data_set.labels_of("micro")} == {"cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"}
    assert any(note.startswith("860 micro-expressions of CAS(ME)3_part_A_v2.xls are read") for note in data_set.notes)


def test_without_corrections_the_row_that_begins_at_zero_is_left_out(casme3):
    data_set = load_dataset(casme3, errata=False)
    assert len(data_set.labels_of("macro")) == 3345
    assert [(fault.column, fault.got) for fault in data_set.faults] == [("Onset", "0")]


def test_a_whole_copy_of_casme_ii(tmp_path):
    data_set = load_dataset(make.full_casme_ii(tmp_path))
    assert (data_set.kind, data_set.faults) == ("casme-ii", ())
    found = counts(data_set)
    assert (found["micro-expressions"], found["subjects"], found["videos"]) == (255, 26, 255)
    assert sum(label.apex is None for label in data_set.labels) == 26
    classes = Counter(label.emotion_class for label in data_set.labels)
    assert classes == {"negative": 102, "positive": 51, "surprise": 51, "others": 51}


def test_a_whole_copy_of_samm(tmp_path):
    data_set = load_dataset(make.full_samm(tmp_path))
    assert (data_set.kind, data_set.faults) == ("samm", ())
    found = counts(data_set)
    assert (found["micro-expressions"], found["subjects"], found["videos"]) == (159, 29, 159)


def test_a_whole_copy_of_dfme(tmp_path):
    data_set = load_dataset(make.full_dfme(tmp_path))
    assert (data_set.kind, data_set.faults) == ("dfme", ())
    found = counts(data_set)
    assert (found["micro-expressions"], found["videos"]) == (1856, 1856)
    rates = Counter(video.rate_hz for video in data_set.videos)
    assert rates == {200.0: 619, 300.0: 619, 500.0: 618}


# Each of the short clips' data sets.


def test_casme_ii(tmp_path):
    data_set = load_dataset(make.casme_ii(tmp_path))
    assert frames_of(data_set) == [
        ("sub01", "EP02_01f", 0, 13, 41, "positive"),
        ("sub01", "EP19_06f", 5, None, 25, "negative"),
        ("sub02", "EP01_11f", 0, 14, 35, "others"),
    ]
    assert {video.rate_hz for video in data_set.videos} == {200.0}


def test_samm(tmp_path):
    data_set = load_dataset(make.samm(tmp_path))
    assert frames_of(data_set) == [
        ("006", "006_1_2", 12, 38, 83, "negative"),
        ("007", "007_3_1", 30, None, 60, "positive"),
        ("007", "007_6_4", 20, 29, 50, "surprise"),
    ]
    assert data_set.labels[0].source.sheet == "MICRO_ONLY"
    assert data_set.labels[0].action_units == ("L4", "7")


def test_samm_names_a_subject_that_its_file_name_contradicts(tmp_path):
    rows = [[8, *make.SAMM_CLIP_ROWS[0][1:]]]
    (fault,) = load_dataset(make.samm(tmp_path, rows=rows)).faults
    assert (fault.column, fault.expected, fault.got) == ("Subject", "006 as in 006_1_2", "'8'")


def test_dfme_counts_from_zero_and_has_a_rate_per_clip(tmp_path):
    data_set = load_dataset(make.dfme(tmp_path))
    assert frames_of(data_set) == [
        ("sub0003", "sub0003_01", 0, 12, 30, "positive"),
        ("sub0003", "sub0003_02", 4, 9, 21, "negative"),
        ("sub0010", "sub0010_01", 2, 9, 26, "others"),
    ]
    assert [(video.name, video.rate_hz) for video in data_set.videos] == [
        ("sub0003_01", 200.0),
        ("sub0003_02", 300.0),
        ("sub0010_01", 500.0),
    ]


def test_dfme_sheets_of_the_test_sets_are_read_beside_the_training_sheet(tmp_path):
    make.dfme(tmp_path, rows=make.DFME_ROWS[:2])
    make.xlsx(tmp_path / "testA_with_AU.xlsx", [make.DFME_HEADER, make.DFME_ROWS[1], make.DFME_ROWS[2]])
    data_set = load_dataset(tmp_path)
    assert [label.video for label in data_set.labels] == ["sub0003_02", "sub0010_01", "sub0003_01"]
    assert [(fault.column, fault.expected) for fault in data_set.faults] == [("Filename", "one sheet per clip")]


@pytest.mark.parametrize("rate", ["", 0, "fast"])
def test_dfme_without_a_rate(rate, tmp_path):
    rows = [[*make.DFME_ROWS[0][:7], rate, "12"], *make.DFME_ROWS[1:]]
    data_set = load_dataset(make.dfme(tmp_path, rows=rows))
    assert data_set.videos[0].rate_hz is None
    assert [fault.column for fault in data_set.faults] == (["Fps"] if rate != "" else [])


# Names of files do not matter, columns do.


@pytest.mark.parametrize(
    ("layout", "old", "kind"),
    [
        (make.samm_lv, "SAMM_LongVideos_V3_Release.xlsx", "samm-lv"),
        (make.casme3, "annotation/cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", "casme3"),
        (make.casme2, "CAS(ME)^2code_final.xlsx", "casme2"),
        (make.smic, "SMIC-HS-E_annotation.xlsx", "smic-hs"),
        (make.casme_ii, "CASME2-coding-20140508.xlsx", "casme-ii"),
        (make.samm, "SAMM.xlsx", "samm"),
        (make.dfme, "training_full_with_AU.xlsx", "dfme"),
        (make.manifest, "manifest.csv", "manifest"),
    ],
)
def test_a_data_set_is_recognised_whatever_its_sheet_is_called(layout, old, kind, tmp_path):
    layout(tmp_path)
    expected = load_dataset(tmp_path)
    path = tmp_path / old
    path.rename(path.with_name(f"copy of mine{path.suffix}"))
    data_set = load_dataset(tmp_path)
    assert data_set.kind == expected.kind == kind
    assert frames_of(data_set) == frames_of(expected) != []
    assert data_set.faults == ()


@pytest.mark.parametrize("name", ["casme3_table.xlsx", "casme3_label.xlsx"])
def test_other_copies_of_the_sheet_of_casme3(name, tmp_path):
    make.casme3(tmp_path)
    expected = frames_of(load_dataset(tmp_path))
    (tmp_path / "annotation" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx").unlink()
    make.xlsx(tmp_path / name, [["Remarks"]], [make.CASME3_HEADER, *make.CASME3_ROWS])
    assert frames_of(load_dataset(tmp_path)) == expected


def test_labels_given_by_hand_win_wherever_they_lie(tmp_path):
    root = make.casme3(tmp_path / "data set")
    other = tmp_path / "desk" / "corrected.xlsx"
    make.xlsx(other, [make.CASME3_HEADER, ["spNO.1", "a", 7, 9, 14, "4", "IV", "disgust"]])
    assert [la.onset for la in load_dataset(root, labels=[other]).labels] == [6]
    result = check(root, "--labels", other, "--json")
    assert json.loads(result.stdout)["counts"]["micro-expressions"] == 1
    with pytest.raises(UsageError, match=r"no file .*nowhere\.xlsx: expected a sheet with labels"):
        load_dataset(root, labels=[tmp_path / "nowhere.xlsx"])


def test_several_sheets_are_given_one_by_one(tmp_path):
    root = make.samm_lv(tmp_path / "data set")
    sheets = []
    for path in sorted(root.glob("*.xlsx")):
        sheets.append(tmp_path / f"{len(sheets)}.xlsx")
        path.rename(sheets[-1])
    data_set = load_dataset(root, labels=sheets)
    assert (data_set.kind, data_set.faults, len(data_set.labels)) == ("samm-lv", (), 3)
    (fault,) = load_dataset(root, labels=sheets[:1]).faults
    assert "with the emotions" in fault.expected


def test_the_kind_given_by_hand_wins_over_the_columns(tmp_path):
    make.samm(tmp_path, name="SAMM.xlsx")
    make.casme3(tmp_path / "more")
    with pytest.raises(UsageError, match=r"more than one data set \(casme3, samm\): say which with --kind"):
        load_dataset(tmp_path)
    assert load_dataset(tmp_path, kind="samm").kind == "samm"


def test_labels_of_the_challenge_are_refused(tmp_path):
    with pytest.raises(UsageError, match="have no labels"):
        load_dataset(make.megc(tmp_path), kind="megc", labels=[tmp_path / "x.csv"])


def test_a_refusal_names_what_was_seen_and_what_is_missing(tmp_path):
    make.frames(tmp_path / "spNO.1" / "a", count=1)
    make.xlsx(tmp_path / "mine.xlsx", [["notes"]], [["Subject", "Filename", "Start", "Apex", "Offset", "emotion"]])
    with pytest.raises(UsageError) as caught:
        load_dataset(tmp_path)
    text = str(caught.value)
    assert "mine.xlsx, sheet 'Sheet1' lacks Onset of casme3" in text
    assert "it has 'Subject', 'Filename', 'Start' and 3 more" in text
    assert "no label sheet" not in text
    with pytest.raises(DataError) as caught_again:
        load_dataset(tmp_path, kind="dfme")
    assert "lacks OnsetFrame, ApexFrame, OffsetFrame, Fps" in str(caught_again.value)
    assert "no label sheet" not in str(caught_again.value)


def test_a_workbook_that_cannot_be_read_is_named_where_nothing_else_fits(tmp_path):
    make.frames(tmp_path / "sub01" / "x", count=1)
    (tmp_path / "labels.xlsx").write_bytes(b"no workbook")
    with pytest.raises(DataError, match=r"labels\.xlsx cannot be read: expected an \.xlsx workbook"):
        load_dataset(tmp_path)
    make.manifest(tmp_path)
    assert load_dataset(tmp_path).kind == "manifest"


# Manifests.

PLAIN = "subject,video,onset,apex,offset,emotion,fps\nanna,talk,5,9,14,happiness,29.5\n"
PLAIN += "ben,still,,,,,\nben,clip,2,3,4,other,\n"


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (PLAIN.encode(), ""),
        (PLAIN.replace(",", ";").replace("29.5", "29,5").encode(), "semicolons between cells, 1 decimal commas"),
        (PLAIN.replace(",", "\t").encode("utf-16"), "UTF-16, tabs between cells"),
        (("sep=;\r\n" + PLAIN.replace(",", ";")).encode("utf-8-sig"), "semicolons between cells, a first line sep="),
    ],
)
def test_a_manifest_as_spreadsheets_write_it(data, note, tmp_path):
    make.manifest(tmp_path).joinpath("manifest.csv").write_bytes(data)
    data_set = load_dataset(tmp_path)
    assert frames_of(data_set) == [("anna", "talk", 4, 8, 14, "positive"), ("ben", "clip", 1, 2, 4, "others")]
    assert {video.rate_hz for video in data_set.videos if video.name == "talk"} == {29.5}
    assert data_set.faults == ()
    assert data_set.notes == ((f"manifest.csv is read with {note}",) if note else ())


@pytest.mark.parametrize("stroke", ["", "/", "\\", "-", "\N{EN DASH}", " / "])
def test_a_stroke_is_an_unknown_apex(stroke, tmp_path):
    rows = [[*row[:3], stroke, *row[4:]] if row[2] else row for row in make.MANIFEST_ROWS]
    data_set = load_dataset(make.manifest(tmp_path, rows=rows))
    assert data_set.faults == ()
    assert [label.apex for label in data_set.labels] == [None] * 3


def test_a_manifest_without_a_column_for_the_apex(tmp_path):
    rows = [[*row[:3], *row[4:]] for row in make.MANIFEST_ROWS]
    make.manifest(tmp_path, rows=rows, header=["subject", "video", "onset", "offset", "emotion"])
    data_set = load_dataset(tmp_path)
    assert (data_set.kind, data_set.faults) == ("manifest", ())
    assert [label.apex for label in data_set.labels] == [None] * 3


def test_a_manifest_beside_a_table_of_predictions_is_the_one_with_the_apex(tmp_path):
    make.manifest(tmp_path, name="labels.csv")
    with (tmp_path / "predictions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["subject", "video", "onset", "offset", "emotion"], ["ben", "clip", 1, 2, "other"]])
    data_set = load_dataset(tmp_path)
    assert {label.source.file for label in data_set.labels} == {"labels.csv"}


def test_a_manifest_may_be_a_workbook(tmp_path):
    make.manifest(tmp_path)
    expected = frames_of(load_dataset(tmp_path))
    (tmp_path / "manifest.csv").unlink()
    make.xlsx(tmp_path / "labels.xlsx", [make.MANIFEST_HEADER, *make.MANIFEST_ROWS])
    assert frames_of(load_dataset(tmp_path)) == expected


# Names.


def test_decomposed_letters_of_a_folder_are_the_composed_ones_of_the_sheet(tmp_path):
    make.frames(tmp_path / "Jose\u0301" / "cafe\u0301", count=30)
    rows = [["Jos\u00e9", "caf\u00e9", 5, 9, 14, "happiness"]]
    with (tmp_path / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([make.MANIFEST_HEADER, *rows])
    data_set = load_dataset(tmp_path)
    assert data_set.faults == ()
    assert {(la.subject, la.video) for la in data_set.labels} == {(v.subject, v.name) for v in data_set.videos}


@pytest.mark.parametrize(
    ("folder", "written", "offered"),
    [("006", "6", True), ("s01", "S1", True), ("ben\uff11", "ben1", True), ("006", "60", False)],
)
def test_a_name_that_meets_but_for_a_slip_is_offered(folder, written, offered, tmp_path):
    make.frames(tmp_path / "ben" / "talk", count=30)
    make.frames(tmp_path / folder / "talk", count=30)
    with (tmp_path / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [["ben", "talk", 5, 9, 14, "sad"], [written, "talk", 5, 9, 14, "sad"]]
        csv.writer(file).writerows([make.MANIFEST_HEADER, *rows])
    faults = [fault for fault in load_dataset(tmp_path).faults if fault.source.row == 3]
    assert len(faults) == 1
    assert (f"perhaps 'talk' of subject {folder!r} is meant" in faults[0].got) == offered


# What is said once.


def test_many_findings_of_a_kind_are_one_line_and_a_few_are_all_told():
    many = [Fault(Source("a.xlsx", "S", row), "Onset", "a number", f"'x{row}'", "left out") for row in range(2, 9)]
    few = [Fault(Source("a.xlsx", "S", row), "Apex", "a number", "'y'") for row in (3, 4)]
    other = [Fault(Source("b.xlsx", "S", row), "Onset", "a number", "'x'", "left out") for row in (5,)]
    assert list(said_once([*many, *few, *other])) == [
        "a.xlsx, sheet 'S', row 2, column Onset: expected a number, got 'x2'; left out "
        "[7 rows like this: 2, 3, 4 and 4 more]",
        *map(str, few),
        *map(str, other),
    ]


def test_lines_that_say_the_same_of_many_places_are_one():
    gaps = [f"clips/{name}: {k} number(s) missing: {k}-9" for k, name in enumerate("abcd")]
    assert list(together([*gaps, "a note", "another note", "x: else"])) == [
        "clips/a: 0 number(s) missing: 0-9 [4 like this: clips/a, clips/b, clips/c and 1 more]",
        "a note",
        "another note",
        "x: else",
    ]


def test_corrections_for_different_reasons_are_not_one():
    fixes = [Correction(Source("a", "", row), "onset", "1.5", "1", f"reason {row % 2}") for row in range(10)]
    assert len(list(said_once(fixes))) == 2
