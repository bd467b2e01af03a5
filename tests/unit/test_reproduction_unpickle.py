"""Pickles of arrays: every form is read, nothing in them is ever run, nothing makes the reader grow or crash."""

import builtins
import collections
import io
import os
import pickle
import struct
import subprocess
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metst.errors import DataError, UsageError
from metst.reproduction.unpickle import PickledArray, read_pickle

ARRAY = np.arange(6.0).reshape(2, 3)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[bytes], Path]:
    def save(data: bytes) -> Path:
        path = tmp_path / "cache.pkl"
        path.write_bytes(data)
        return path

    return save


Save = Callable[[bytes], Path]


def plain(content: Any) -> Any:
    """Arrays in place of what the reader gives for them."""
    if isinstance(content, PickledArray):
        return content.values
    return type(content)(map(plain, content)) if isinstance(content, list | tuple) else content


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "array",
    [
        ARRAY,
        ARRAY.astype(np.float32),
        ARRAY.astype(">f8"),
        np.asfortranarray(ARRAY),
        ARRAY[:, ::2],
        np.zeros((0, 4)),
        np.array(3.5),
        np.arange(4, dtype=np.int64),
        np.array([True, False]),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_come_back_as_numpy_reads_them(saved: Save, protocol: int, array: Any) -> None:
    content = [[array, array.copy()], [], (array, 1, -2.5, True, None, "text", b"bytes", 10**30)]
    data = pickle.dumps(content, protocol=protocol)
    got, expected = plain(read_pickle(saved(data))), pickle.loads(data)
    assert len(got) == 3
    assert got[1] == []
    for one, other in zip([*got[0], got[2][0]], [*expected[0], expected[2][0]], strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype.newbyteorder("=") == other.dtype.newbyteorder("=")
    assert got[2][1:] == expected[2][1:]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_numbers_of_numpy_are_numbers(saved: Save, protocol: int) -> None:
    data = pickle.dumps([np.float64(0.1), np.float32(0.5), np.int64(-3)], protocol=protocol)
    assert read_pickle(saved(data)) == [0.1, 0.5, -3]


def test_names_of_numpy_before_its_second_version(saved: Save) -> None:
    data = pickle.dumps(ARRAY, protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in data
    np.testing.assert_array_equal(plain(read_pickle(saved(data))), ARRAY)


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class Plain:
    pass


RUNS = {
    "os.system": lambda marker: Call(os.system, f"touch {marker}"),
    "builtins.eval": lambda marker: Call(builtins.eval, f"open({str(marker)!r}, 'w')"),
    "builtins.exec": lambda marker: Call(builtins.exec, f"open({str(marker)!r}, 'w')"),
    "subprocess.Popen": lambda marker: Call(subprocess.Popen, ["touch", str(marker)]),
    "io.open": lambda marker: Call(io.open, str(marker), "w"),
    "builtins.getattr": lambda marker: Call(getattr, "text", "upper"),
    "builtins.bytearray": lambda marker: Call(bytearray, 10**15),
    "numpy.load": lambda marker: Call(np.load, str(marker)),
    "numpy.loadtxt": lambda marker: Call(np.loadtxt, str(marker)),
    "numpy.fromfile": lambda marker: Call(np.fromfile, str(marker)),
    "numpy.memmap": lambda marker: Call(np.memmap, str(marker), "u1", "w+", 0, (4,)),
    "numpy.zeros": lambda marker: Call(np.zeros, 10**15),
    "numpy.vectorize": lambda marker: Call(np.vectorize, len),
    "numpy.array": lambda marker: Call(np.array, [1.0]),
    "numpy.matrix": lambda marker: np.matrix([[1.0]]),
    "Plain": lambda marker: Plain(),
    "OrderedDict": lambda marker: collections.OrderedDict(),
    "complex": lambda marker: 1j,
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", RUNS)
def test_what_would_run_is_refused_by_name(saved: Save, tmp_path: Path, name: str, protocol: int) -> None:
    marker = tmp_path / "was-run"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about numpy.matrix
        data = pickle.dumps([[ARRAY, RUNS[name](marker)]], protocol=protocol)
    with pytest.raises(DataError, match="refused, nothing was run") as error:
        read_pickle(saved(data))
    last = name.rpartition(".")[2]
    assert last in str(error.value) or "instruction" in str(error.value) or "_reconstructor" in str(error.value)
    assert not marker.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cnumpy\nndarray\n(I1000000000\ntR.",  # the class itself, called
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntVb\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR(NNtb.",
        b"cnumpy\ndtype\n(Vf8\ntR(Vi8\ntR.",  # what was made is called
        b"cnumpy\ndtype\n(Vobject\ntR.",
        b"cnumpy\ndtype\n(VV8\ntR.",
        b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
        b"cnumpy\ndtype\n(N(V__setstate__\nNtb.",  # the state of a name is set
        b"(lp0\n(Vshape\nNtb.",  # of a list
        b"(inumpy\nload\n.",
        b"Pid\n.",
        b"\x80\x02\x82\x01.",  # extension registry
        b"\x80\x05\x97.",  # a buffer from elsewhere
        b"}.",
        b"N0N.",
        b"\x80\x06N.",
        pickle.dumps(ARRAY) + pickle.dumps(ARRAY),
        pickle.dumps(np.array([[1], "x"], dtype=object)),
        pickle.dumps(np.zeros(2, [("a", "f8")])),
        pickle.dumps(np.array(["text"])),
        pickle.dumps(np.array([1j])),
        pickle.dumps(np.array(["2020-01-01"], "M8[D]")),
        pickle.dumps({"a": 1}),
        pickle.dumps({1}),
    ],
)
def test_everything_else_is_refused_or_damaged(saved: Save, data: bytes) -> None:
    with pytest.raises(DataError, match=r"refused, nothing was run|is damaged at byte"):
        read_pickle(saved(data))


def test_objects_in_an_array_are_named(saved: Save) -> None:
    with pytest.raises(DataError, match="an array of objects"):
        read_pickle(saved(pickle.dumps(np.array([None]))))


def test_every_cut_is_an_error(saved: Save) -> None:
    data = pickle.dumps([[ARRAY, ARRAY + 1], [ARRAY * 2]])
    for end in range(len(data)):
        with pytest.raises(DataError):
            read_pickle(saved(data[:end]))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_damaged_bytes_never_lead_to_another_error(saved: Save, protocol: int) -> None:
    data = pickle.dumps([[ARRAY, ARRAY + 1], [np.float32(2)]], protocol=protocol)
    rng = np.random.default_rng(protocol)
    refused = 0
    for _ in range(200):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        try:
            read_pickle(saved(bytes(damaged)))
        except DataError:
            refused += 1
    assert refused > 50


def lying(old: bytes, new: bytes) -> bytes:
    data = pickle.dumps(np.zeros((36, 30)), protocol=4)
    assert data.count(old) == 1
    return data.replace(old, new)


def test_lying_sizes_ask_for_no_memory(saved: Save) -> None:
    shape = b"K$K\x1e\x86"  # (36, 30)
    huge = b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"
    power = 2**47
    tracemalloc.start()
    for data in (
        lying(shape, huge),
        lying(shape, b"K$K\x1f\x86"),
        lying(shape, b"K$J\xff\xff\xff\xff\x86"),
        lying(shape, b"(" + b"K\x01" * 40 + b"t"),
        lying(shape, b"\x8a\x08" + struct.pack("<q", power) + b"K\x02\x86"),
        lying(b"B\xc0!\x00\x00", b"B\xff\xff\xff\x7f"),  # the bytes of the data
        b"\x8e" + struct.pack("<Q", 2**62) + b"x.",
        b"\x8e" + struct.pack("<Q", 2**64 - 1) + b"x.",
        b"\x8b\xff\xff\xff\x7fx.",  # a number of two gigabytes
        b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b".",
        b"Nr\xff\xff\xff\xff00.",  # a memo with four billion places
    ):
        with pytest.raises(DataError):
            read_pickle(saved(data))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_nesting_and_sharing_cost_no_more_than_the_file(saved: Save) -> None:
    deep = b"]" * 100_000 + b"a" * 99_999 + b"."
    assert isinstance(read_pickle(saved(deep)), list)
    tuples = b"(" + b"N\x85" + b"q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(200))
    for where in (
        tuples + b"." + b"",
        b"cnumpy\ndtype\n" + tuples[1:] + b"\x85R.",
        b"c_codecs\nencode\n(Vx\n" + tuples[1:] + b"tR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(" + tuples[1:] + b"NNtR.",
    ):
        with pytest.raises(DataError):
            read_pickle(saved(where))


LONG = 1_000_000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.", "asks for builtins.bytearray"),
        (b"\x80\x02Nr\x00\x00\x00\x16.", "places to remember"),  # Python's reader alone would take 5.9 GB
        (
            b"](X" + struct.pack("<I", LONG) + LONG * b"x" + b"q\x00"
            + 1000 * b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R" + b"e.",
            "encodes more text than it holds",
        ),
        (
            b"](B" + struct.pack("<I", LONG) + LONG * b"x" + b"q\x00"
            + 1000 * (b"cnumpy.core.numeric\n_frombuffer\n(h\x00cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R"
                      + b"J" + struct.pack("<I", LONG) + b"\x85X\x01\x00\x00\x00CtR") + b"e.",
            "arrays hold more than it does",
        ),
    ],
    ids=["call", "memo", "text", "arrays"],
)  # fmt: skip
def test_small_pickles_of_much_are_refused_before_memory_is_taken(saved: Save, data: bytes, message: str) -> None:
    path = saved(data)
    tracemalloc.start()
    with pytest.raises(DataError, match=message) as error:
        read_pickle(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * LONG
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "data",
    [
        # A reader of frames goes on behind the frame, where a memo of four billion places is asked for.
        b"\x80\x04\x95" + struct.pack("<Q", 3) + b"C\x06N" + b"Nr\xff\xff\xff.",
        b"\x80\x04\x95" + struct.pack("<Q", 12) + b"N\x95" + struct.pack("<Q", 1) + b"N.",
        b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"N.",
    ],
    ids=["in an argument", "in a frame", "after the end"],
)
def test_frames_that_end_elsewhere_than_their_instructions_are_refused(saved: Save, data: bytes) -> None:
    with pytest.raises(DataError, match="frame"):
        read_pickle(saved(data))


@pytest.mark.parametrize("state", [b"(Vx\nNt", b"(NNNNNNNNt", b"Vx\n"])
@pytest.mark.parametrize("target", [b"(l", b"cnumpy\ndtype\n", b"c_codecs\nencode\n", b"I1\n", b"Vtext\n"])
def test_the_state_of_other_things_than_arrays_is_not_set(saved: Save, target: bytes, state: bytes) -> None:
    with pytest.raises(DataError):
        read_pickle(saved(target + state + b"b."))


def test_a_missing_and_an_empty_file(saved: Save, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file"):
        read_pickle(tmp_path / "none.pkl")
    with pytest.raises(DataError, match="empty file"):
        read_pickle(saved(b""))
    with pytest.raises(DataError, match="cannot be read"):
        read_pickle(tmp_path)
