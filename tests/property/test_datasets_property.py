import csv
import io
import tempfile
import zipfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import dataset_folders as make
from metst.datasets import load_dataset
from metst.datasets.sheets import read_workbook
from metst.errors import DataError
from metst.labels import EMOTION_MAPS
from metst.timeline import frames_for_people

LENGTH = 60

frame = st.integers(1, LENGTH)
movement = st.tuples(frame, frame, frame).map(sorted)
emotion = st.sampled_from(sorted(EMOTION_MAPS["manifest"]))
cell = st.one_of(
    st.integers(-5, LENGTH + 5),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=5),
    st.none(),
    st.booleans(),
    st.sampled_from(["1e400", "-1", " 7 ", "7.0", "٣", "0x10"]),
)


def write(root: Path, rows: list[list[object]]) -> None:
    make.frames(root / "s1" / "v", count=1)
    (root / "s1" / "v" / f"{LENGTH}.jpg").write_bytes(make.JPEG)
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([make.MANIFEST_HEADER, *rows])


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(movement, emotion, st.booleans()),
        min_size=1,
        max_size=8,
        unique_by=lambda row: (row[0][0], row[0][2]),
    )
)
def test_sound_labels_come_back_as_written(rows):
    written = [["s1", "v", m[0], m[1] if seen else "", m[2], name] for m, name, seen in rows]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), written)
        data_set = load_dataset(folder)
    assert not data_set.faults
    back = []
    for label in data_set.labels:
        first, last = frames_for_people(label.onset, label.offset)
        apex = "" if label.apex is None else label.apex + 1
        back.append([label.subject, label.video, int(first), apex, int(last), label.emotion])
    assert back == written
    maps = EMOTION_MAPS["manifest"]
    assert [label.emotion_class for label in data_set.labels] == [maps[name] for _, name, _ in rows]


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(cell, cell, cell, st.one_of(emotion, st.text(max_size=4))), min_size=1, max_size=6))
def test_whatever_the_cells_hold_each_row_is_a_sound_label_or_a_fault(rows):
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), [["s1", "v", *row] for row in rows])
        data_set = load_dataset(folder)
    for label in data_set.labels:
        assert 0 <= label.onset < label.offset <= LENGTH
        assert label.apex is None or label.onset <= label.apex < label.offset
    named = {fault.source.row for fault in data_set.faults}
    for label in data_set.labels:
        assert label.source.row in named or label.emotion_class is not None
    for tally in data_set.tallies:
        assert tally.read == len(data_set.labels)
        assert tally.left_out <= len(named)


@settings(max_examples=20, deadline=None)
@given(
    onset=st.integers(1, 20), rise=st.integers(0, 40), fall=st.integers(0, 80), row=st.sampled_from(["micro", "macro"])
)
def test_the_rule_of_the_owners_touches_long_micro_expressions_only(onset, rise, fall, row):
    place = ["spNO.1", "a", onset, onset + rise, onset + rise + fall, "4"]
    micro, negatives = ([[*place, "I", "sad"]], []) if row == "micro" else ([], [[*place, "Macro-expression", "I"]])
    with tempfile.TemporaryDirectory() as folder:
        make.casme3(Path(folder), rows=micro, negatives=negatives, length=1)
        (Path(folder) / "data" / "spNO.1" / "a" / "color" / "200.jpg").write_bytes(make.JPEG)
        (label,) = load_dataset(folder).labels
        (plain,) = load_dataset(folder, errata=False).labels
    assert (plain.onset, plain.apex, plain.offset) == (onset - 1, onset + rise - 1, onset + rise + fall)
    too_long = row == "micro" and rise + fall > 30 and rise and fall
    assert label.offset == (onset + 2 * rise if too_long else plain.offset)
    assert (label.onset, label.apex) == (plain.onset, plain.apex)


def workbook(kind: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"sheet.{kind}"
        getattr(make, kind)(
            path, [["Subject", "Filename", "Onset"], *[[f"s{k}", "a", 10 * k + 0.5] for k in range(20)]]
        )
        return path.read_bytes()


def unpacked(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(parts: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(packing := io.BytesIO(), "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return packing.getvalue()


def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    changes = draw(st.dictionaries(st.integers(0, len(data) - 1), st.integers(0, 255), min_size=1, max_size=20))
    return bytes(changes.get(k, byte) for k, byte in enumerate(data))


WORKBOOKS = {kind: workbook(kind) for kind in ("xls", "xlsx")}
PARTS = unpacked(WORKBOOKS["xlsx"])


@st.composite
def damaged_workbooks(draw: st.DrawFn) -> tuple[str, bytes]:
    kind = draw(st.sampled_from(sorted(WORKBOOKS)))
    if kind == "xlsx":
        name = draw(st.sampled_from(sorted(PARTS)))
        return kind, packed(PARTS | {name: damaged(draw, PARTS[name])})
    return kind, damaged(draw, WORKBOOKS[kind])


@settings(max_examples=100, deadline=None)
@given(file=damaged_workbooks())
def test_a_damaged_workbook_is_read_or_named(file):
    kind, data = file
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"sheet.{kind}"
        path.write_bytes(data)
        try:
            sheets = read_workbook(path)
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert all(sheet.source.file == path.name for sheet in sheets)
