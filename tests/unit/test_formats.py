"""Files of other programs: read by other readers, checked against a schema, and refused in one line if they are bad."""

import csv
import json
import sys
import tarfile
import threading
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
import xmlschema
from praatio.textgrid import openTextgrid
from pympi.Elan import Eaf

from helpers.analyses import make_analysis
from helpers.command_line import run
from helpers.registry_files import praatio_source, pympi_source
from metst.coding.layers import MACHINE, Coding, Layer, LayerEvent, action_units_of, coder_of, machine_layer, note_of
from metst.coding.layers_folder import read_coding, read_layers, write_layers
from metst.datasets.corpus import find_recordings
from metst.errors import DataError, OutputError, UsageError
from metst.formats import tables
from metst.formats.conversion import FORMATS, READERS, import_file
from metst.formats.files import of_this_video, same_video, tier_name, tier_of, without_overlap
from metst.formats.frames import FrameTimes
from metst.formats.textgrid import read_textgrid
from metst.results import Custody, Source, read_analysis, write_analysis
from metst.timeline import TimeGrid
from metst.video import content_hash, write_video

VIDEO = "talk 1.mp4"
GRID = TimeGrid(np.array([0.0, 0.033, 0.067, 0.1, 0.2, 0.233, 0.267, 0.3, 0.4, 0.5]))
"""Frames that are not all of one length: no rate leads from a number to a time."""
EVENTS = (
    LayerEvent(0, 3, "negative", apex=2, confidence=0.75, action_units=("AU4", "AU7")),
    LayerEvent(2, 5, "positive", note="mouth <corners> & lips"),
    LayerEvent(8, 10, "surprise", apex=9, confidence=0.5),
)


@pytest.fixture
def coding() -> Coding:
    source = Source(VIDEO, VIDEO, 64, 48, len(GRID), GRID.duration_s, 25.0, "h264")
    layers = (Layer("anna", EVENTS), Layer("ben", EVENTS[:1]), Layer("nobody"))
    return Coding(source, GRID, layers, "2026-11-25T10:00:00+00:00", ("negative", "positive", "surprise", "others"))


def written(coding: Coding, name: str, folder: Path) -> Path:
    path = folder / f"file{FORMATS[name].suffix}"  # type: ignore[index]
    FORMATS[name].write(coding, path)  # type: ignore[index]
    return path


def read(name: str, path: Path, *, video: str = VIDEO, grid: TimeGrid = GRID) -> dict[str, tuple[LayerEvent, ...]]:
    found = READERS[name](path, video=video, grid=grid)  # type: ignore[index]
    return {layer.coder: layer.events for layer in found.layers}


def text_file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# Frames, times and names


def test_an_event_ends_where_the_frame_after_it_begins() -> None:
    times = FrameTimes(GRID)
    assert times.span_s(EVENTS[1]) == (0.067, 0.233)
    assert times.edges_s[-1] == pytest.approx(0.5 + GRID.frame_s)
    assert times.frames(0.0671, 0.2329, what="") == (2, 5)
    assert times.frames(0.49, 0.53, what="") == (9, 10)


@pytest.mark.parametrize("start_s", [0.0, 0.0003, 0.08])
def test_milliseconds_tell_frames_of_a_millisecond_apart(start_s: float) -> None:
    times = FrameTimes(TimeGrid(start_s + np.arange(1000) / 1000))
    assert (np.diff(times.edges_ms) > 0).all()
    assert [times.frames(ms / 1000, ms / 1000, what="")[0] for ms in times.edges_ms[:-1]] == list(range(1000))


def test_shorter_frames_and_times_before_zero_still_give_intervals() -> None:
    times = FrameTimes(TimeGrid(-0.001 + np.arange(8) / 4000))
    start, end = times.span_ms(LayerEvent(0, 1, "x"))
    assert 0 <= start < end


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(0.55, 0.6), (0.3, 0.6), (-1.0, -0.5), (-1.0, 0.3), (0.3, 0.2), (np.nan, 0.2)]
)
def test_times_that_are_none_of_the_recording(start_s: float, end_s: float) -> None:
    with pytest.raises(DataError, match="event 3"):
        FrameTimes(GRID).frames(start_s, end_s, what="event 3")


def test_an_event_may_begin_at_zero_where_the_first_frame_comes_later() -> None:
    later = FrameTimes(TimeGrid(GRID.time_s + 0.4))
    assert later.frames(0.0, 0.5, what="") == (0, 3)
    with pytest.raises(DataError, match="event 3"):
        later.frames(-1.0, 0.5, what="event 3")


def test_an_apex_outside_of_its_event_is_refused() -> None:
    times = FrameTimes(GRID)
    assert [times.frame_in(time_s, onset=3, offset=5) for time_s in (0.07, 0.11, 0.2, 0.25)] == [3, 3, 4, 4]
    for time_s in (-1.0, 0.4, 9.0, np.nan):
        with pytest.raises(DataError, match="frames 4 to 5: its apex"):
            times.frame_in(time_s, onset=3, offset=5)


@pytest.mark.parametrize(("first", "last"), [(0, 3), (3, 2), (8, 11)])
def test_numbers_that_are_none_of_the_recording(first: int, last: int) -> None:
    with pytest.raises(DataError, match="1 to 10"):
        FrameTimes(GRID).numbered(first, last, what="")


def test_groups_without_overlap_are_few() -> None:
    spans = [(0, 3), (1, 2), (2, 4), (3, 5), (4, 9)]
    groups = without_overlap([LayerEvent(*span, "x") for span in spans])
    assert [[(event.onset, event.offset) for event in group] for group in groups] == [
        [(0, 3), (3, 5)],
        [(1, 2), (2, 4), (4, 9)],
    ]
    assert without_overlap([]) == [[]]


@pytest.mark.parametrize("coder", ["anna", "2", "a - apex", "x [2]"])
@pytest.mark.parametrize("part", ["", "apex", "note"])
@pytest.mark.parametrize("group", [0, 1, 10])
def test_names_of_tiers(coder: str, part: str, group: int) -> None:
    assert tier_of(tier_name(coder, group=group, part=part)) == (coder, group, part)


@pytest.mark.parametrize(
    "named", [VIDEO, "talk 1", "/home/x/talk 1.mp4", "C:\\data\\talk 1.mp4", "/data/upload/3/1a2b3c4d-talk 1.mp4",
              "/data/local-files/?d=clips/talk 1.mp4"]
)  # fmt: skip
def test_a_name_of_this_video(named: str) -> None:
    assert same_video(named, VIDEO)
    assert not same_video(named, "talk 10.mp4")


def test_which_video_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert of_this_video(["x.mp4", VIDEO], video=VIDEO, path=path) == ({VIDEO}, ())
    assert of_this_video(["x.mp4"], video=VIDEO, path=path) == (
        {"x.mp4"},
        (f"a.json calls its video x.mp4, and not {VIDEO}",),
    )
    with pytest.raises(DataError, match=r"nothing of talk 1.mp4: it is of x.mp4, y.mp4"):
        of_this_video(["x.mp4", "/z/y.mp4"], video=VIDEO, path=path)


def test_what_others_write_becomes_what_all_can_hold() -> None:
    assert action_units_of("4+12C, AU25") == ("4", "12C", "AU25")
    assert (coder_of("ORT/MAU (x)"), coder_of(" \n")) == ("ORT MAU x", "coder")
    assert (note_of("a\n\x00b"), note_of("n/a")) == ("a b", "")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"onset": 3}, "first frame from 1 on"),
        ({"onset": -1}, "first frame from 1 on"),
        ({"apex": 3}, "its apex 4 is not in it"),
        ({"confidence": 1.5}, "confidence from 0 to 1"),
        ({"confidence": float("nan")}, "confidence from 0 to 1"),
        ({"label": " x"}, "one line each"),
        ({"label": ""}, "one line each"),
        ({"note": "a\nb"}, "one line each"),
        ({"action_units": ("AU 4",)}, "such as AU12"),
    ],
)
def test_events_that_are_none(values: dict[str, object], match: str) -> None:
    with pytest.raises(DataError, match=match):
        LayerEvent(**({"onset": 0, "offset": 3, "label": "x"} | values))  # type: ignore[arg-type]


def test_layers_that_are_none(coding: Coding) -> None:
    with pytest.raises(DataError, match="without"):
        Layer("a/b")
    with pytest.raises(DataError, match="one of each"):
        replace(coding, layers=(Layer("a"), Layer("a")))
    with pytest.raises(DataError, match="ends at frame 11"):
        replace(coding, layers=(Layer("a", (LayerEvent(0, 11, "x"),)),))


# Readers and schemas of others


def test_elan_files_follow_the_schema(coding: Coding, tmp_path: Path) -> None:
    with tarfile.open(pympi_source()) as archive:
        file = archive.extractfile("pympi_ling-1.71/test/EAFv3.0.xsd")
        assert file is not None
        schema = xmlschema.XMLSchema(file.read().decode())
    path = written(coding, "elan", tmp_path)
    schema.validate(str(path))
    broken = path.read_text().replace("TIME_VALUE", "TIME_VALU")
    assert not schema.is_valid(broken)


def test_elan_files_as_another_program_sees_them(coding: Coding, tmp_path: Path) -> None:
    eaf = Eaf(str(written(coding, "elan", tmp_path)))
    assert [(a, b, label) for a, b, label, *_ in eaf.get_annotation_data_for_tier("anna")] == [
        (0, 100, "negative"),
        (400, 534, "surprise"),
    ]
    assert [(a, b) for a, b, *_ in eaf.get_annotation_data_for_tier("anna (2)")] == [(67, 233)]
    assert [(a, b) for a, b, *_ in eaf.get_annotation_data_for_tier("anna / apex")] == [(67, 100), (500, 534)]
    assert eaf.get_parameters_for_tier("anna / note")["PARENT_REF"] == "anna"
    assert eaf.media_descriptors == [
        {"MEDIA_URL": "talk%201.mp4", "RELATIVE_MEDIA_URL": "./talk%201.mp4", "MIME_TYPE": "video/mp4"}
    ]
    assert [values[0][0] for values, _ in eaf.get_cv_entries("labels").values()] == [*coding.classes]
    assert list(eaf.timeslots.values()) == sorted(eaf.timeslots.values())


def test_an_elan_file_of_another_program(tmp_path: Path) -> None:
    with tarfile.open(pympi_source()) as archive:
        archive.extract("pympi_ling-1.71/test/sample_3.0.eaf", tmp_path, filter="data")
    path = tmp_path / "pympi_ling-1.71" / "test" / "sample_3.0.eaf"
    grid = TimeGrid.uniform(100_000, rate_hz=25)
    found = READERS["elan"](path, video="r03_v20_s5.wav", grid=grid)
    expected = {name: Eaf(str(path)).get_annotation_data_for_tier(name) for name in ("text", "gestures")}
    assert {layer.coder for layer in found.layers} == {*expected}
    for layer in found.layers:
        rows = sorted(expected[layer.coder])
        assert [(round(start / 40), label.strip()) for start, _, label, *_ in rows] == [
            (event.onset, event.label) for event in layer.events
        ]
    assert found.notes == (
        "sample_3.0.eaf: tiers below others are left out: words-timesub, words-symsub, gest_included, words-pos",
    )


def test_a_medium_that_begins_later(coding: Coding, tmp_path: Path) -> None:
    path = written(coding, "elan", tmp_path)
    other = '<MEDIA_DESCRIPTOR MEDIA_URL="other.wav" MIME_TYPE="audio/x-wav" />'
    text = path.read_text().replace("<MEDIA_DESCRIPTOR ", f'{other}<MEDIA_DESCRIPTOR TIME_ORIGIN="100" ')
    path.write_text(
        text.replace('TIME_VALUE="400"', 'TIME_VALUE="300"').replace('TIME_VALUE="534"', 'TIME_VALUE="434"')
    )
    assert [event.onset for event in read("elan", path)["anna"]] == [3, 4, 8]
    assert not READERS["elan"](path, video=VIDEO, grid=GRID).notes


def test_textgrids_as_another_program_sees_them(coding: Coding, tmp_path: Path) -> None:
    grid = openTextgrid(str(written(coding, "textgrid", tmp_path)), includeEmptyIntervals=False, reportingMode="error")
    assert (grid.minTimestamp, grid.maxTimestamp) == (0, pytest.approx(0.5 + GRID.frame_s))
    assert tuple(grid.getTier("anna").entries[0]) == (0.0, 0.1, "negative")
    assert [tuple(entry) for entry in grid.getTier("anna (2)").entries] == [(0.067, 0.233, "positive")]
    assert [entry.time for entry in grid.getTier("anna / apex").entries] == [0.067, 0.5]
    assert grid.getTier("nobody").entries == ()


def test_textgrids_of_others_are_read_as_praatio_reads_them(tmp_path: Path) -> None:
    with tarfile.open(praatio_source()) as archive:
        members = [each for each in archive.getmembers() if each.name.endswith(".TextGrid")]
        archive.extractall(tmp_path, members=members, filter="data")
    grid, compared = TimeGrid.uniform(10_000, rate_hz=100), 0
    for path in sorted(tmp_path.rglob("*.TextGrid")):
        theirs = openTextgrid(
            str(path), includeEmptyIntervals=False, reportingMode="silence", duplicateNamesMode="rename"
        )
        expected = sorted(
            (int(grid.frame_at(float(entry[0]))), " ".join(entry[-1].split()) or "unlabelled")
            for tier in theirs.tiers
            for entry in tier.entries
        )
        found = read_textgrid(path, video=VIDEO, grid=grid).layers
        assert sorted((event.onset, event.label) for layer in found for event in layer.events) == expected, path.name
        compared += len(expected)
    assert compared > 100


def test_boris_projects(coding: Coding, tmp_path: Path) -> None:
    project = json.loads(written(coding, "boris", tmp_path).read_text())
    assert project["project_format_version"] == "7.0"
    kinds = {each["code"]: each["type"] for each in project["behaviors_conf"].values()}
    assert kinds == dict.fromkeys(coding.classes, "State event") | {"apex": "Point event"}
    assert [*project["observations"]] == ["anna", "anna (2)", "ben", "nobody"]
    for observation in project["observations"].values():
        assert observation["file"]["1"] == [VIDEO]
        assert {*observation["media_info"]["length"]} == {VIDEO}
        assert [row[0] for row in observation["events"]] == sorted(row[0] for row in observation["events"])
        for code in coding.classes:
            assert sum(row[2] == code for row in observation["events"]) % 2 == 0
    assert project["observations"]["anna (2)"]["events"] == [
        [0.067, "", "positive", "None|None", "mouth <corners> & lips", 3],
        [0.233, "", "positive", "None|None", "", 5],
    ]


@pytest.mark.parametrize("suffix", [".tsv", ".csv"])
def test_boris_tables(coding: Coding, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"events{suffix}"
    FORMATS["boris"].write(coding, path)
    table = pd.read_csv(path, sep="\t" if suffix == ".tsv" else ",")
    states = table[table["Behavior type"] == "STATE"]
    assert [*states["Start (s)"]] == [0.0, 0.4, 0.067, 0.0]
    assert np.allclose(states["Stop (s)"] - states["Start (s)"], states["Duration (s)"])
    assert read("boris", path) == {"anna": EVENTS, "ben": EVENTS[:1]}


OLD_PROJECT = {
    "project_format_version": "4.0",
    "behaviors_conf": {
        "0": {"type": "Point event", "code": "p", "modifiers": {}},
        "1": {"type": "State event", "code": "s", "category": "face"},
    },
    "observations": {
        "first": {
            "type": "MEDIA",
            "file": {"1": ["/home/x/other.mp4", f"/home/x/{VIDEO}"], "2": []},
            "time offset": 5.0,
            "media_info": {"length": {"/home/x/other.mp4": 10.0, f"/home/x/{VIDEO}": 0.5}},
            "events": [[5.1, "", "s", "", ""], [5.3, "", "s", "", ""], [15.1, "", "s", "m1|None", "seen"],
                       [15.2, "bob", "p", "", ""], [15.3, "", "s", "m1|None", ""]],
        },
        "live": {"type": "LIVE", "file": [], "time offset": 0.0, "events": [[1.0, "", "p", "", ""]]},
    },
}  # fmt: skip


def test_a_boris_project_of_several_videos_with_an_offset(tmp_path: Path) -> None:
    path = text_file(tmp_path, "old.boris", json.dumps(OLD_PROJECT))
    assert read("boris", path) == {
        "first": (LayerEvent(3, 7, "s", note="seen m1"),),
        "first bob": (LayerEvent(4, 5, "p"),),
    }
    assert read("boris", path, video="other.mp4")["first"] == (LayerEvent(3, 7, "s"),)


def test_a_boris_state_without_end(tmp_path: Path) -> None:
    project = json.loads(json.dumps(OLD_PROJECT))
    project["observations"]["first"]["events"].pop()
    path = text_file(tmp_path, "old.boris", json.dumps(project))
    with pytest.raises(DataError, match=r"observation first: s begins at 0\.100 s and has no STOP"):
        read("boris", path)
    assert read("boris", path, video="other.mp4")["first"] == (LayerEvent(3, 7, "s"),)


TABULAR = f"""Observation id\tone\t\t\t\t\t\t\t
\t\t\t\t\t\t\t\t
Player #1\t{VIDEO}\t\t\t\t\t\t\t
Time\tMedia file path\tTotal length\tFPS\tSubject\tBehavior\tBehavioral category\tComment\tStatus
0.033\t{VIDEO}\t0.5\t25.0\t\tbrow\t\tfast\tSTART
0.100\t{VIDEO}\t0.5\t25.0\t\tnod\t\t\tPOINT
0.200\t{VIDEO}\t0.5\t25.0\t\tbrow\t\t\tSTOP
"""
"""Tabular events as BORIS 7 exports them: what the observation is like stands above the header."""


def test_boris_tabular_events(tmp_path: Path) -> None:
    path = text_file(tmp_path, "events.tsv", TABULAR)
    assert read("boris", path) == {"one": (LayerEvent(1, 4, "brow", note="fast"), LayerEvent(3, 4, "nod"))}


def test_label_studio_tasks(coding: Coding, tmp_path: Path) -> None:
    layers = (Layer(MACHINE, EVENTS[:1]), *coding.layers)
    (task,) = json.loads(written(replace(coding, layers=layers), "label-studio", tmp_path).read_text())
    assert task["data"] == {"video": VIDEO}
    (prediction,) = task["predictions"]
    assert prediction["result"][0] == {
        "id": "0-0", "from_name": "label", "to_name": "video", "type": "timelinelabels", "origin": "manual",
        "value": {"ranges": [{"start": 1, "end": 3}], "timelinelabels": ["negative"]}, "score": 0.75,
    }  # fmt: skip
    assert len(task["annotations"]) == 3


def test_label_studio_exports_of_annotators(tmp_path: Path) -> None:
    def region(start: int, end: int, *labels: str) -> dict[str, object]:
        value = {"ranges": [{"start": start, "end": end}], "timelinelabels": [*labels]}
        return {"id": "r", "from_name": "videoLabels", "to_name": "video", "type": "timelinelabels", "value": value}

    tasks = [
        {
            "id": 7,
            "data": {"clip": "/data/upload/3/1a2b3c4d-talk%201.mp4", "who": "x"},
            "annotations": [
                {
                    "completed_by": 3,
                    "result": [region(2, 4, "Movement"), {"type": "choices", "value": {"choices": ["a"]}}],
                },
                {"completed_by": {"id": 4, "email": "ben@example.org"}, "result": [region(10, 10, "Still", "Blink")]},
                {"completed_by": 5, "was_cancelled": True, "result": [region(1, 1, "no")]},
            ],
        },
        {"id": 8, "data": {"clip": "/data/upload/3/00000000-other.mp4"}, "annotations": []},
    ]
    path = text_file(tmp_path, "export.json", json.dumps(tasks))
    assert read("label-studio", path) == {
        "annotator 3": (LayerEvent(1, 4, "Movement"),),
        "annotator ben@example.org": (LayerEvent(9, 10, "Blink"), LayerEvent(9, 10, "Still")),
    }


def test_bids_events(coding: Coding, tmp_path: Path) -> None:
    path = written(coding, "bids", tmp_path)
    table = pd.read_csv(path, sep="\t", na_values="n/a")
    described = json.loads((tmp_path / "file_events.json").read_text())
    assert [*table.columns[:3]] == ["onset", "duration", "trial_type"]
    assert {*described} == {*table.columns}
    assert [*table["onset"]] == sorted(table["onset"])
    assert {*described["trial_type"]["Levels"]} == {*coding.classes}
    assert table.loc[table["trial_type"] == "positive", "duration"].item() == pytest.approx(0.166)
    assert table.loc[table["trial_type"] == "positive", "apex"].isna().all()


def test_bids_events_of_others(tmp_path: Path) -> None:
    path = text_file(tmp_path, "sub-01_events.tsv", "onset\tduration\ttrial_type\tresponse_time\n0.1\tn/a\tgo\t0.5\n")
    assert read("bids", path) == {"sub-01": (LayerEvent(3, 4, "go"),)}


def test_cues(coding: Coding, tmp_path: Path) -> None:
    text = written(coding, "webvtt", tmp_path).read_text()
    assert text.startswith(
        "WEBVTT\n\nNOTE coders: anna, ben, nobody\n\n1\n00:00:00.000 --> 00:00:00.100\n<v anna>negative</v>\n"
    )
    assert "<c.note>mouth &lt;corners&gt; &amp; lips</c>" in text
    cues = text.split("\n\n")[2:]
    assert len(cues) == 4
    for cue in cues:
        assert cue.count("-->") == 1
        assert cue.strip().count("\n") in {2, 3}


def test_cues_of_others(tmp_path: Path) -> None:
    text = (
        "\ufeffWEBVTT - title\r\n\r\nSTYLE\r\n::cue { color: red }\r\n\r\nNOTE\r\na comment\r\n\r\n00:00.100 -->"
        " 00:00.260 align:start\r\n<b>two\r\nlines</b> &amp; more\r\n\r\n"
        "id\r\n00:00:00.300 --> 00:00:00.400\r\n<v.loud Ann>x\r\n"
    )
    path = tmp_path / "subs.vtt"
    path.write_bytes(text.encode())
    assert read("webvtt", path) == {"subs": (LayerEvent(3, 6, "two lines & more"),), "Ann": (LayerEvent(7, 8, "x"),)}


def test_workbooks(coding: Coding, tmp_path: Path) -> None:
    formula = Layer("mallory", (LayerEvent(0, 1, "=1+1", note="@SUM(A1)"),))
    path = written(replace(coding, layers=(*coding.layers, formula)), "xlsx", tmp_path)
    sheet = openpyxl.load_workbook(path).active
    assert sheet is not None
    rows = list(sheet.iter_rows(values_only=True))
    assert rows[1][:5] == (VIDEO, "anna", 1, 3, 3)
    assert rows[-1][8] == "'=1+1"
    assert all(cell.data_type != "f" for row in sheet.iter_rows() for cell in row)
    assert read("xlsx", path)["mallory"] == formula.events


def test_tables_are_those_of_an_analysis(tmp_path: Path) -> None:
    analysis = make_analysis()
    write_analysis(analysis, tmp_path / "res")
    found = read("csv", tmp_path / "res" / "events.csv", video="any.mp4", grid=analysis.grid)
    assert found == {"events": machine_layer(analysis).events}


def test_tables_of_people(tmp_path: Path) -> None:
    text = "Coder;Onset (s);Apex (s);Offset (s);Label;Note\nAnna;0,033;;0,1;sad;a\nBen;0,2;0,24;0,3;glad;\n"
    path = text_file(tmp_path, "coding.csv", text)
    assert read("csv", path) == {
        "Anna": (LayerEvent(1, 4, "sad", note="a"),),
        "Ben": (LayerEvent(4, 8, "glad", apex=5),),
    }


def test_submissions(tmp_path: Path) -> None:
    text = "subject,video,onset,offset,emotion\n1,talk 1,2,4,negative\n2,other,3,9,positive\n"
    assert read("megc", text_file(tmp_path, "cas_pred.csv", text)) == {"cas_pred": (LayerEvent(1, 4, "negative"),)}


# Bad files

BOMB = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>
<ANNOTATION_DOCUMENT>&b;</ANNOTATION_DOCUMENT>"""
GOOD_TEXTGRID = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n0.5\n<exists>\n1\n"IntervalTier"\n"a"\n0\n0.5\n1\n'
)

BAD = {
    "elan": ["", "<a/>", BOMB, "<ANNOTATION_DOCUMENT", "<ANNOTATION_DOCUMENT/>", "WEBVTT", "\x00"],
    "textgrid": ["", "x", GOOD_TEXTGRID, GOOD_TEXTGRID + '0\n9\n"x"\n', GOOD_TEXTGRID.replace("IntervalTier", "x"),
                 '"ooTextFile" "Sound" 0 1'],
    "boris": ["", "[]", "{}", '{"observations": 3, "behaviors_conf": {}}', "[" * 100_000,
              '{"observations": {"a": {}}, "behaviors_conf": {}}', "NaN"],
    "label-studio": ["", "{}", "[3]", '[{"data": {}}]', '[{"data": {"video": "a"}, "annotations": [{"result": [{}]}]}]',
                     '[{"data": {"video": "a"}, "annotations": [{"result": [{"type": "timelinelabels", "value":'
                     ' {"ranges": [{"start": 3, "end": 99}]}}]}]}]', "[" * 100_000],
    "bids": ["", "onset\tlabel\n1\tx\n", "onset\tduration\nx\t1\n", "onset\tduration\n7\t1\n",
             "onset\tduration\n\t1\n"],
    "webvtt": ["", "WEBVTTX", "WEBVTT\n\n00:00 --> 1\nx\n", "WEBVTT\n\n00:09.000 --> 00:09.100\nx\n",
               f"WEBVTT\n\n{'9' * 400}:00:00.000 --> 00:01.000\nx\n"],
    "csv": ["", "a,b\n1,2\n", "label,onset_frame,offset_frame\nx,1,99\n", "label,onset_frame,offset_frame\nx,1.5,2\n",
            "label,onset_frame,offset_frame,confidence\nx,1,2,7\n", "label,onset_s,offset_s\nx,0.3,0.1\n",
            "label,onset_s,offset_s\nx,nan,0.1\n"],
    "xlsx": ["", "label,onset_frame\n"],
    "megc": ["", "subject,video\n", "subject,video,onset,offset,emotion\n1,talk 1,x,2,y\n"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_bad_files_are_refused_in_one_line(name: str, text: str, tmp_path: Path) -> None:
    suffix = FORMATS[name].suffix if name in FORMATS else ".csv"  # type: ignore[index]
    with pytest.raises(DataError) as caught:
        read(name, text_file(tmp_path, f"bad{suffix}", text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("table", ["", "Behavior\n", "a\tb\n1\t2\n", "Behavior\tTime\tStatus\nx\tsoon\tSTART\n",
                                   "Behavior\tTime\tStatus\nx\t0.1\tSTART\n"])  # fmt: skip
def test_bad_tables_of_boris(table: str, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read("boris", text_file(tmp_path, "bad.tsv", table))


@pytest.mark.parametrize("name", READERS)
def test_files_of_another_format(name: str, coding: Coding, tmp_path: Path) -> None:
    """A table of one program may look like that of another; nothing else is taken for what it is not."""
    alike = {"csv", "tsv", "bids", "megc", "boris"}
    for other in FORMATS.keys() - ({name} | (alike if name in alike else set())):
        path = written(coding, other, tmp_path)
        with pytest.raises(DataError):
            read(name, path)


@pytest.mark.parametrize("name", READERS)
def test_no_file_and_one_that_is_too_large(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file"):
        read(name, tmp_path / "none.tsv")
    huge = tmp_path / "huge.tsv"
    with huge.open("wb") as file:
        file.truncate(2**27)
    with pytest.raises(DataError):
        read(name, huge)


# Folders of results


def test_layers_come_back(coding: Coding, tmp_path: Path) -> None:
    custody = Custody("anna", "form 3")
    write_layers(coding, tmp_path / "res", origin={"ben": ("b.eaf", "elan")}, version="1", custody=custody)
    again = read_layers(tmp_path / "res")
    assert (again.layers, again.source, again.classes, again.created) == (
        coding.layers, coding.source, coding.classes, coding.created,
    )  # fmt: skip
    assert (again.grid.time_s == GRID.time_s).all()
    header = json.loads((tmp_path / "res" / "layers" / "layers.json").read_text())
    assert header["custody"]["person"] == "anna"
    assert header["layers"][1] == {"coder": "ben", "file": "2_ben.csv", "imported_from": "b.eaf", "format": "elan"}


def test_layers_that_were_changed_are_told(coding: Coding, tmp_path: Path) -> None:
    write_layers(coding, tmp_path, origin={}, version="1", custody=Custody())
    table = tmp_path / "layers" / "2_ben.csv"
    table.write_text(table.read_text().replace("negative", "others"))
    with pytest.raises(DataError, match=r"2_ben.csv is not the one that layers.json was written with"):
        read_coding(tmp_path)
    assert read_coding(tmp_path, check=False).layers[1].events[0].label == "others"
    table.write_text("x\n1\n")
    with pytest.raises(DataError, match="import the layers again"):
        read_coding(tmp_path, check=False)
    header = json.loads((tmp_path / "layers" / "layers.json").read_text())
    del header["sha256_of_the_rest"]
    header["layers"][1]["file"] = "../2_ben.csv"
    (tmp_path / "layers" / "layers.json").write_text(json.dumps(header))
    with pytest.raises(DataError, match="names a file elsewhere"):
        read_coding(tmp_path, check=False)
    (tmp_path / "layers" / "layers.json").write_text("{}")
    with pytest.raises(DataError, match="schema None"):
        read_coding(tmp_path)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("footage") / "talk.mp4"
    rng = np.random.default_rng(0)
    write_video(path, [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(90)], rate_hz=30)
    return path


@pytest.fixture
def results(recording: Path, tmp_path: Path) -> Path:
    analysis = make_analysis(duration_s=3.0, name="talk.mp4")
    source = replace(analysis.source, content_hash=content_hash(recording))
    write_analysis(replace(analysis, source=source, custody=Custody("p7")), tmp_path / "res")
    return tmp_path / "res"


@pytest.mark.parametrize("name", FORMATS)
def test_out_and_in_again(
    name: str, recording: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suffix = FORMATS[name].suffix  # type: ignore[index]
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    assert run(capsys, "export", results, "--format", name, "-o", first)[0] == 0
    code, out, err = run(
        capsys, "import", first, "--format", name, "--video", recording, "-o", tmp_path / "imported", "--json"
    )
    assert (code, json.loads(out)) == (0, {"layers": {"machine": 3}, "notes": []}), err
    assert run(capsys, "export", tmp_path / "imported", "--format", name, "-o", second)[0] == 0
    there = read_coding(tmp_path / "imported")
    assert there.layers == read_coding(results).layers
    if name in {"csv", "tsv", "textgrid", "label-studio", "webvtt"}:
        assert first.read_bytes() == second.read_bytes()
    again = run(capsys, "import", first, "--format", name, "--video", recording, "-o", tmp_path / "imported")
    assert again[0] == 2
    assert "holds layers of machine already" in again[2]


def test_a_coder_beside_the_analysis(
    recording: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    analysis = read_analysis(results)
    coding = read_coding(results)
    anna = Layer("anna", (LayerEvent(0, 90, "negative", note="all of it"),))
    edited = Layer(MACHINE, coding.layers[0].events[:1])
    path = tmp_path / "coded.eaf"
    FORMATS["elan"].write(replace(coding, layers=(edited, anna)), path)
    command = ("import", path, "--format", "elan", "--video", recording, "-o", results)
    assert run(capsys, *command, "--layer", "anna")[0] == 0
    assert [layer.coder for layer in read_coding(results).layers] == ["machine", "anna"]
    code, _, said = run(capsys, *command, "--overwrite")
    assert code == 0
    assert "it is called 'machine edited'" in said
    assert [layer.coder for layer in read_coding(results).layers] == ["machine", "anna", "machine edited"]
    assert read_coding(results).layers[1] == anna
    assert read_analysis(results).events.onset.tolist() == analysis.events.onset.tolist()
    code, _, said = run(capsys, *command, "--layer", "carl")
    assert code == 2
    assert "coded.eaf has no layer 'carl': it has machine, anna" in said
    code, out, _ = run(capsys, "purge", results, "--person", "p7", "--yes", "--json")
    assert code == 0
    assert len(json.loads(out)) == 2
    assert not results.exists()


def test_a_layer_of_the_machine_that_nobody_changed_adds_nothing(
    recording: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "export", results, "--format", "webvtt", "-o", tmp_path / "a.vtt")
    code, _, said = run(capsys, "import", tmp_path / "a.vtt", "--format", "webvtt", "--video", recording, "-o", results)
    assert code == 0
    assert "it is left out" in said
    assert not (results / "layers").exists()


def test_results_of_another_recording_stay(
    recording: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.mp4"
    write_video(other, [np.full((48, 64, 3), k * 2, np.uint8) for k in range(90)], rate_hz=30)
    run(capsys, "export", results, "--format", "csv", "-o", tmp_path / "a.csv")
    code, _, said = run(capsys, "import", tmp_path / "a.csv", "--format", "csv", "--video", other, "-o", results)
    assert code == 2
    assert "holds results of another recording" in said


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"--format": "elam"}, 2, "elam"),
        ({"--video": "none.mp4"}, 2, "no such file or folder"),
        ({"file": "none.eaf"}, 2, "no file"),
        ({"--format": "textgrid"}, 1, "is no TextGrid of Praat"),
    ],
)
def test_calls_that_are_wrong(
    changes: dict[str, str], code: int, message: str, recording: Path, results: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / "a.eaf"
    run(capsys, "export", results, "--format", "elan", "-o", path)
    values = {"file": path, "--format": "elan", "--video": recording} | changes
    options = [each for name in ("--format", "--video") for each in (name, values[name])]
    got, _, said = run(capsys, "import", values["file"], *options, "-o", tmp_path / "new")
    assert got == code
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_an_export_replaces_nothing_by_itself(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = text_file(tmp_path, "a.eaf", "mine")
    code, _, said = run(capsys, "export", results, "--format", "elan", "-o", path)
    assert (code, path.read_text()) == (2, "mine")
    assert "is there already" in said
    assert run(capsys, "export", results, "--format", "elan", "-o", path, "--overwrite")[0] == 0
    assert [each.name for each in tmp_path.iterdir() if "a." in each.name] == ["a.eaf"]


def test_what_stands_beside_a_file_is_not_replaced_either(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = text_file(tmp_path, "a_events.json", "{}")
    code, _, said = run(capsys, "export", results, "--format", "bids", "-o", tmp_path / "a_events.tsv")
    assert (code, mine.read_text()) == (2, "{}")
    assert "a_events.json is there already" in said
    code, _, said = run(capsys, "export", results, "--format", "bids", "-o", tmp_path / "b.json")
    assert code == 2
    assert "name that, as *_events.tsv" in said


def test_an_analysis_of_what_was_imported_before(
    recording: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "export", results, "--format", "csv", "-o", tmp_path / "a.csv")
    run(capsys, "import", tmp_path / "a.csv", "--format", "csv", "--video", recording, "-o", tmp_path / "new")
    write_analysis(read_analysis(results), tmp_path / "new")
    both = read_coding(tmp_path / "new").layers
    assert [layer.coder for layer in both] == ["machine", "machine edited"]
    assert both[0].events == both[1].events


def test_an_analysis_of_another_recording_does_not_take_the_place_of_layers(recording: Path, tmp_path: Path) -> None:
    coded = text_file(tmp_path, "anna.csv", "label,onset_frame,offset_frame\nnegative,1,9\n")
    import_file(coded, tmp_path / "results" / "talk", of="csv", video=recording)
    other = tmp_path / "elsewhere" / "talk.mp4"
    other.parent.mkdir()
    write_video(other, [np.full((48, 64, 3), k * 2, np.uint8) for k in range(90)], rate_hz=30)
    for path, name in ((recording, "talk"), (other, "talk-2")):
        assert [each.name for each in find_recordings([path], output=tmp_path / "results")] == [name]


@pytest.mark.parametrize("before", [True, False])
def test_two_layers_that_were_the_machines_are_two(
    before: bool, recording: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coding = read_coding(results)
    first, second = (coding.layers[0].events[k : k + 1] for k in (0, 1))
    path = tmp_path / "coded.eaf"
    FORMATS["elan"].write(replace(coding, layers=(Layer(MACHINE, first), Layer("machine edited", second))), path)
    folder = tmp_path / "new" if before else results
    assert run(capsys, "import", path, "--format", "elan", "--video", recording, "-o", folder)[0] == 0
    if before:
        write_analysis(read_analysis(results), folder)
    layers = {layer.coder: layer.events for layer in read_coding(folder).layers}
    assert layers == {
        "machine": coding.layers[0].events,
        "machine edited": second,
        "machine edited 2": first,
    }


def test_an_analysis_of_a_recording_that_was_changed_meanwhile(
    recording: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    analysis = read_analysis(results)
    write_analysis(replace(analysis, source=replace(analysis.source, content_hash="", changed=True)), results)
    coded = text_file(tmp_path, "anna.csv", "label,onset_frame,offset_frame\nnegative,1,9\n")
    code, _, said = run(capsys, "import", coded, "--format", "csv", "--video", recording, "-o", results)
    assert (code, said.count("\n")) == (2, 1)
    assert "does not say which recording it is of" in said


def test_an_import_waits_for_no_other_and_loses_nothing_of_it(recording: Path, tmp_path: Path) -> None:
    coded = text_file(tmp_path, "anna.csv", "label,onset_frame,offset_frame\nnegative,1,9\n")
    other = text_file(tmp_path, "ben.csv", "label,onset_frame,offset_frame\nnegative,1,9\n")
    refused: list[str] = []

    def meanwhile() -> None:
        try:
            import_file(other, tmp_path / "new", of="csv", video=recording)
        except OutputError as error:
            refused.append(str(error))

    def on_progress(stage: str, done: int, total: int | None) -> None:
        if done == 1:
            thread = threading.Thread(target=meanwhile)
            thread.start()
            thread.join()

    import_file(coded, tmp_path / "new", of="csv", video=recording, on_progress=on_progress)
    assert len(refused) == 1
    assert [layer.coder for layer in read_coding(tmp_path / "new").layers] == ["anna"]


@pytest.mark.parametrize("wanted", [("--person", "p7"), ("--expired",)])
def test_layers_go_with_an_analysis_that_came_after_them(
    wanted: tuple[str, ...], recording: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded = text_file(tmp_path, "anna.csv", "label,onset_frame,offset_frame\nnegative,1,9\n")
    assert run(capsys, "import", coded, "--format", "csv", "--video", recording, "-o", tmp_path / "new")[0] == 0
    analysis = replace(read_analysis(results), custody=Custody("p7", delete_by=date(2020, 1, 1)))
    write_analysis(analysis, tmp_path / "new")
    code, out, _ = run(capsys, "purge", tmp_path / "new", *wanted, "--yes", "--json")
    assert (code, len(json.loads(out))) == (0, 2)
    assert not (tmp_path / "new").exists()


def test_several_results_have_a_file_each(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    analysis = make_analysis(duration_s=3.0, name="more.mp4", seed=1)
    write_analysis(analysis, tmp_path / "more")
    assert run(capsys, "export", results, tmp_path / "more", "--format", "bids", "-o", tmp_path / "out")[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "more_events.json", "more_events.tsv", "res_events.json", "res_events.tsv",
    ]  # fmt: skip


def test_of_several_results_one_that_fails_does_not_stop_the_others(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none").mkdir()
    out, others = tmp_path / "out", ("--format", "csv", "-o", tmp_path / "out")
    code, _, said = run(capsys, "export", tmp_path / "none", results, *others)
    assert (code, [path.name for path in out.iterdir()]) == (3, ["res.csv"])
    assert [line for line in said.splitlines() if "none" in line and "is missing" in line]
    (tmp_path / "neither").mkdir()
    assert run(capsys, "export", tmp_path / "none", tmp_path / "neither", *others)[0] == 1


@pytest.mark.parametrize("name", ["events.csv", "analysis.json", "layers/frames.csv"])
def test_an_export_does_not_replace_what_it_reads(
    name: str, recording: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded = text_file(tmp_path, "anna.csv", "label,onset_frame,offset_frame\nnegative,1,9\n")
    run(capsys, "import", coded, "--format", "csv", "--video", recording, "-o", results)
    before = (results / name).read_bytes()
    code, _, said = run(capsys, "export", results, "--format", "csv", "-o", results / name, "--overwrite")
    assert code == 2
    assert "is one of the results that are exported" in said
    assert (results / name).read_bytes() == before


def test_what_a_coder_saw_is_submitted(
    recording: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "export", results, "--format", "csv", "-o", tmp_path / "a.csv")
    folder = tmp_path / "007_1"
    run(capsys, "import", tmp_path / "a.csv", "--format", "csv", "--video", recording, "-o", folder)
    written_twice = [tmp_path / "one.csv", tmp_path / "two.csv"]
    names = text_file(tmp_path, "names.csv", "input,subject,video\nres,007,007_1\n")
    assert run(capsys, "export", folder, "--format", "megc", "-o", written_twice[0])[0] == 0
    assert run(capsys, "export", results, "--format", "megc", "-o", written_twice[1], "--names", names)[0] == 0
    rows = [list(csv.reader(path.read_text().splitlines())) for path in written_twice]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 4


def test_excel_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "layer.xlsx"
    table.write_bytes(b"PK")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(UsageError, match=r"needs the package openpyxl: pip install 'metst\[tables\]'"):
        tables.read_xlsx(table, video="a.mp4", grid=TimeGrid.uniform(3, rate_hz=25.0))
