"""Tables of text in the forms that spreadsheets give them: each must hold what the plain one holds."""

import csv
import io

import pytest

from metst.errors import DataError
from metst.spelling.delimited import read_text_table

COLUMNS = ("subject", "video", "onset", "score", "units")
NUMBERS = ("onset", "score")
ROWS = [list(COLUMNS), ["006", "talk, 1", "10", "0.9", "4+7"], ["José", "a;b", "7", "1.5", "12"]]


def text(separator=",", *, rows=ROWS, ends="\n"):
    writing = io.StringIO()
    csv.writer(writing, delimiter=separator, lineterminator=ends).writerows(rows)
    return writing.getvalue()


def read(tmp_path, data):
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    return read_text_table(path, columns=COLUMNS, numbers=NUMBERS)


def commas(rows):
    return [rows[0], *[[*row[:3], row[3].replace(".", ","), *row[4:]] for row in rows[1:]]]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (text().encode(), ""),
        (text().encode("utf-8-sig"), ""),
        (text(ends="\r\n").encode(), ""),
        (text(ends="\r").encode(), ""),
        (text("\t").encode("utf-16"), "UTF-16, tabs between cells"),
        (text().encode("utf-16-le"), "UTF-16"),
        (b"\xfe\xff" + text().encode("utf-16-be"), "UTF-16"),
        (text(";").encode(), "semicolons between cells"),
        (("sep=;\r\n" + text(";", ends="\r\n")).encode(), "semicolons between cells, a first line sep="),
        (("sep=,\n" + text()).encode("utf-8-sig"), "a first line sep="),
        (text(";", rows=commas(ROWS)).encode(), "semicolons between cells, 2 decimal commas"),
        (text("\t", rows=commas(ROWS)).encode("utf-16"), "UTF-16, tabs between cells, 2 decimal commas"),
    ],
)
def test_every_form_holds_the_same(data, said, tmp_path):
    table = read(tmp_path, data)
    assert [list(cells) for _, cells in table.rows] == ROWS
    assert table.notes == ((f"table.csv is read with {said}",) if said else ())
    first = 2 if data.lstrip(b"\xef\xbb\xbf").startswith(b"sep=") else 1
    assert [number for number, _ in table.rows] == [first, first + 1, first + 2]


def test_commas_outside_of_numbers_stay(tmp_path):
    table = read(tmp_path, b"subject;video;onset;score;units\ns;v;3;0,5;4,7\n")
    assert table.rows[1][1] == ("s", "v", "3", "0.5", "4,7")


@pytest.mark.parametrize("cells", [["1,031"], ["1,031", "2,000"]])
def test_commas_that_may_part_thousands_are_not_read_as_points(cells, tmp_path):
    data = "subject;video;onset;score;units\n" + "".join(f"s;v;{cell};1;\n" for cell in cells)
    table = read(tmp_path, data.encode())
    assert [row[2] for _, row in table.rows[1:]] == cells
    assert table.notes == ("table.csv is read with semicolons between cells",)


def test_one_sure_decimal_comma_tells_what_the_others_of_its_column_are(tmp_path):
    table = read(tmp_path, b"subject;video;onset;score;units\ns;v;1;1,031;\ns;v;1;0,5;\n")
    assert [row[3] for _, row in table.rows[1:]] == ["1.031", "0.5"]


@pytest.mark.parametrize(
    "header", ["subject,video;onset", "subject,video;onset,x;score,units;y", "subject;video;onset,score;units"]
)
def test_a_header_that_two_separators_part_is_refused(header, tmp_path):
    with pytest.raises(DataError, match=r"parted by (commas and semicolons|semicolons and commas) alike") as caught:
        read(tmp_path, f"{header}\n".encode())
    assert header in str(caught.value)


def test_a_header_without_any_known_column_is_read_as_it_is_parted(tmp_path):
    assert read(tmp_path, b"a;b\n1;2\n").rows[0][1] == ("a", "b")
    assert read(tmp_path, b"a\n1\n").rows[0][1] == ("a",)
    assert read(tmp_path, b"").rows == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("subject,é\n".encode("latin-1"), "neither UTF-8 nor UTF-16"),
        (b"\xff\xfes\x00u", "UTF-16 that is cut off"),
        (b"PK\x03\x04 and so on", "it is a workbook"),
    ],
)
def test_what_is_no_such_text_is_refused(data, said, tmp_path):
    with pytest.raises(DataError, match=said) as caught:
        read(tmp_path, data)
    assert "table.csv cannot be read" in str(caught.value)
