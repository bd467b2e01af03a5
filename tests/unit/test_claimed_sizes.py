"""Files of a few bytes that claim to hold terabytes, and readers that would recurse for ever: one error, no memory."""

import io
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from metst.cli.synthesize import _settings
from metst.datasets.sheets import read_workbook
from metst.errors import CheckpointError, DataError, MetstError, UsageError, VideoError
from metst.evaluation.plan import read_grid
from metst.models.checkpoint import load_model
from metst.models.convert import convert_released
from metst.models.released_file import check_released
from metst.reproduction.unpickle import read_pickle
from metst.training import published_recipe
from metst.video.folder import read_image

torch = pytest.importorskip("torch")
openpyxl = pytest.importorskip("openpyxl")

_NO_MORE = 50_000_000
"""Bytes that a refusal may take; what the files claim is a hundred times that and more."""


def refused(work: Callable[[], object], *, error: type[MetstError], match: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(error, match=match):
            work()
        assert tracemalloc.get_traced_memory()[1] < _NO_MORE
    finally:
        tracemalloc.stop()


def legacy(tensors: dict[str, object]) -> bytes:
    data = io.BytesIO()
    torch.save(tensors, data, _use_new_zipfile_serialization=False)
    return data.getvalue()


BYTEARRAY = b"\x80\x02cbuiltins\nbytearray\n" + pickle.dumps(10**14, 2)[2:-1] + b"\x85R."


def huge_tensor() -> bytes:
    """A float tensor of one element whose pickle says that it has 1.5 billion."""
    small = legacy({"weight": torch.zeros(1)})
    assert small.count(b"K\x01Nt") == 1
    return small.replace(b"K\x01Nt", b"J" + struct.pack("<i", 1_500_000_000) + b"Nt")


def many_storages() -> bytes:
    """A hundred tensors of which each claims as much as the whole file has."""
    small = legacy({f"{k}": torch.zeros(1) for k in range(100)})
    return small.replace(b"K\x01Nt", b"J" + struct.pack("<i", 9000) + b"Nt")


def packed() -> bytes:
    data = io.BytesIO()
    torch.save({"weight": torch.zeros(1 << 20)}, data)
    out = io.BytesIO()
    with zipfile.ZipFile(data) as plain, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as small:
        for name in plain.namelist():
            small.writestr(name, plain.read(name))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (BYTEARRAY, "asks for builtins bytearray: nothing in it was run"),
        (huge_tensor(), "it asks for 1500000000"),
        (many_storages(), "it claims"),
        (packed(), "packed"),
    ],
    ids=["bytearray", "huge", "many", "packed"],
)
def test_a_released_file_that_claims_more_than_it_has(tmp_path: Path, data: bytes, match: str) -> None:
    path = tmp_path / "released.pkl"
    path.write_bytes(data)
    refused(lambda: convert_released(path, tmp_path / "out"), error=CheckpointError, match=match)


@pytest.mark.parametrize("as_zip", [True, False])
def test_tensors_as_they_are_saved_pass(tmp_path: Path, as_zip: bool) -> None:
    """Shared ones, too, whose data is there once."""
    shared = torch.arange(50_000.0)
    tensors = {f"{k}": shared[k:] for k in range(20)} | {"own": torch.zeros(3, 2)}
    torch.save(tensors, tmp_path / "x.pkl", _use_new_zipfile_serialization=as_zip)
    check_released(tmp_path / "x.pkl")


def test_a_pickle_of_arrays_never_makes_a_bytearray(tmp_path: Path) -> None:
    path = tmp_path / "arrays.pkl"
    path.write_bytes(BYTEARRAY)
    refused(lambda: read_pickle(path), error=DataError, match="asks for builtins.bytearray")


def picture(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    body = zlib.compress(bytes(1_400_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(25_000, 26_000), (10_000, 9_000)])
def test_a_picture_that_claims_gigabytes(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "frame.png"
    path.write_bytes(picture(width, height))
    refused(lambda: read_image(path, colour=True), error=VideoError, match="pixels")


def workbook(cells: str = "", after: str = "") -> bytes:
    """A workbook with text put among its rows, and behind them."""
    book = openpyxl.Workbook()
    book.active.append(["Subject", "Onset"])
    data, out = io.BytesIO(), io.BytesIO()
    book.save(data)
    with zipfile.ZipFile(data) as plain, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in plain.namelist():
            content = plain.read(name)
            if name.startswith("xl/worksheets"):
                content = content.replace(b"</sheetData>", f"{cells}</sheetData>{after}".encode())
            new.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (workbook("<row><c><v>1</v></c></row>" * 1_500_000), "an unpacked workbook"),
        (workbook('<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'), r"a sheet may have up to .* cells"),
        (workbook(after='<mergeCells count="1"><mergeCell ref="A1:XFD1048576"/></mergeCells>'), "a sheet may have up"),
    ],
    ids=["bomb", "far cell", "merged"],
)
def test_a_workbook_that_unpacks_to_millions_of_cells(tmp_path: Path, data: bytes, match: str) -> None:
    path = tmp_path / "labels.xlsx"
    path.write_bytes(data)
    refused(lambda: read_workbook(path), error=DataError, match=match)


def test_what_is_nested_too_deeply(tmp_path: Path) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    (tmp_path / "model.json").write_text(deep)
    (tmp_path / "grid.toml").write_text(f"variant = {deep}")
    refused(lambda: load_model(str(tmp_path)), error=CheckpointError, match="recursion limit")
    recipe = published_recipe("metst-plus")
    refused(
        lambda: read_grid(tmp_path / "grid.toml", recipe=recipe, strategy=1),
        error=UsageError,
        match="cannot be read as TOML",
    )
    refused(lambda: _settings(tmp_path / "model.json"), error=UsageError, match="cannot be read")
