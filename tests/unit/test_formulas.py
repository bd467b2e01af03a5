"""Text that a spreadsheet would run is written as text, and read back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metst.results.tables import Table, table_in
from metst.spelling.delimited import read_text_table
from metst.spelling.formulas import as_meant, harmless
from metst.spelling.names import without_their_place
from metst.storage import csv_bytes

_FORMULAS = ["=cmd|' /C calc'!A0", "+1+cmd|x", "-2+3+cmd", "@SUM(A1)", "\t=1+1", "a;=1+1", "a\t@x", "'=1", "''=1", "="]
_TEXT = st.text(st.sampled_from("=+-@'\t;,\" a1\u00e9"), max_size=8) | st.text(max_size=12)


@given(_TEXT)
def test_what_is_written_is_read_back(text: str) -> None:
    assert as_meant(harmless(text)) == text


@given(_TEXT, _TEXT)
def test_two_texts_never_become_one(one: str, other: str) -> None:
    assert (harmless(one) == harmless(other)) == (one == other)


@pytest.mark.parametrize("text", _FORMULAS)
def test_no_cell_begins_as_a_formula(text: str) -> None:
    for part in harmless(text).replace("\t", ";").split(";"):
        assert part[:1] not in {"=", "+", "-", "@"}


@pytest.mark.parametrize("cell", ["-0.5", "+3", "1e-9", "-inf", "s01", "it's", "a=b", "a - b", "", -0.5, 7, None])
def test_numbers_and_other_text_stay_as_they_are(cell: object) -> None:
    assert harmless(cell) == cell


@pytest.mark.parametrize("name", _FORMULAS)
def test_tables_carry_such_names(tmp_path: Path, name: str) -> None:
    file = tmp_path / "scores.csv"
    file.write_bytes(csv_bytes(["subject", "onset"], [[name, 1], ["s01", -2]]))
    assert "\n=" not in file.read_text()
    rows = [cells for _, cells in read_text_table(file, columns=["subject", "onset"]).rows]
    assert rows[1:] == [(name, "1"), ("s01", "-2")]


@pytest.mark.parametrize("name", _FORMULAS)
def test_results_carry_such_labels(tmp_path: Path, name: str) -> None:
    file = tmp_path / "events.csv"
    file.write_bytes(b"".join(Table(("label", f"p_{name}"), ([name, "b"], ["0.5", "0.25"])).csv_parts()))
    table = table_in(file.read_bytes(), path=file, columns=[f"p_{name}"], text="label")
    assert table.words == (name, "b")
    assert table.numbers[f"p_{name}"].tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        (["/home/jane/patients/a.mp4"], ["a.mp4"]),
        (["/home/jane/patients/a.mp4", "/home/jane/patients/s/b.mp4"], ["a.mp4", "s/b.mp4"]),
        (["/home/jane/patients/a.mp4", "/data/b.mp4"], ["a.mp4", "b.mp4"]),
        (["/home/jane/a.mp4", "/home/bob/b.mp4"], ["a.mp4", "b.mp4"]),
        (["/home/jane/a.mp4", "b.mp4"], ["a.mp4", "b.mp4"]),
        (["../../jane/a.mp4", "../b.mp4"], ["a.mp4", "b.mp4"]),
        (["videos/a.mp4", "videos/s/b.mp4"], ["a.mp4", "s/b.mp4"]),
        ([], []),
    ],
)
def test_results_tell_names_not_places(paths: list[str], told: list[str]) -> None:
    assert without_their_place(paths) == told
