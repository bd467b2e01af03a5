"""Pickles of arrays, read without running anything that they ask for.

A pickle is a small program.  Its instructions are first read through without following any: all but those that make
lists, tuples, numbers, texts and arrays of numbers are refused, and so are sizes and places that the file does not
hold, before memory is asked for.  Then Python's own reader follows them, with functions of this module in place of
every name that a pickle of arrays holds; any other name is refused, and nothing is ever imported.
"""

from __future__ import annotations

import math
import mmap
import pickle
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, cast

import numpy as np

from metst.arrays import AnyArray
from metst.errors import DataError, UsageError

# How each message begins.
_EXPECTED = "expected a pickle of nested lists of arrays of numbers"
_NUMBERS = re.compile(r"[fiu][1248]|b1")  # dtype codes: floats, integers, truth values
_LAST_PROTOCOL = 5  # of pickles, as Python knows it since 3.8
_MOST_AXES = 8  # of an array; windows have two
_LARGEST_AXIS = 2**48  # elements; keeps the product of the sizes a number that is made at once

_ADMITTED = frozenset(
    {
        *("PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE"),
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("EMPTY_LIST", "LIST", "APPEND", "APPENDS"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
        *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    }
)
"""The instructions that a pickle of arrays is made of, as :mod:`pickletools` calls them."""

_DAMAGED = (
    pickle.UnpicklingError,
    *(EOFError, ValueError, LookupError, TypeError, AttributeError, OverflowError, BufferError),
)
"""What bytes that are no pickle, or half of one, lead to."""


class _Refused(Exception):  # noqa: N818 - not for callers: becomes a DataError with file and place
    """What the pickle asks for is not admitted."""


def read_pickle(path: str | Path) -> Any:
    """Lists, tuples, numbers, texts, bytes and :class:`PickledArray` of a pickle, nested as they are in it.

    Parameters
    ----------
    path : path
        A pickle of any protocol.

    Raises
    ------
    UsageError
        If there is no such file.
    DataError
        If the file is no pickle, is cut off, or holds anything else: names that are not those of arrays of numbers,
        objects, dictionaries, arrays of objects, or arrays whose size is not that of their data.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise DataError(f"{path}: {_EXPECTED}, got an empty file")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _read(data, path)
    except FileNotFoundError as error:
        raise UsageError(f"no file {path}: {_EXPECTED}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _read(data: mmap.mmap, path: Path) -> Any:
    try:
        _check(data)
        data.seek(0)
        return _Reader(data).load()
    except _Refused as error:
        raise DataError(
            f"{path}: {_EXPECTED}, but {error} (byte {data.tell()} or before): refused, nothing was run"
        ) from None
    except _DAMAGED as error:
        raise DataError(f"{path}: {_EXPECTED}, but it is damaged at byte {data.tell()} or before") from error


def _check(data: mmap.mmap) -> None:
    """Refuse instructions, sizes and places that are not those of a pickle of arrays."""
    frame_end, depth, marks = 0, 0, list[int]()
    argument: Any  # a number, of the instructions for which it is compared below
    for number, (opcode, argument, place) in enumerate(pickletools.genops(cast("IO[bytes]", data))):
        if opcode.name not in _ADMITTED:
            _refuse(f"it holds the instruction {opcode.name}")
        begin, end = place or 0, data.tell()
        if begin < frame_end < end:  # Python's reader would go on elsewhere than this one
            _refuse("an instruction reaches beyond its frame")
        if opcode.name == "PROTO" and argument > _LAST_PROTOCOL:
            _refuse(f"it is of protocol {argument}, and this reader knows up to {_LAST_PROTOCOL}")
        if opcode.name == "FRAME":
            if begin < frame_end or argument > len(data) - end:
                _refuse("a frame reaches beyond the file, or lies in another")
            frame_end = end + argument
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > number:
            _refuse(f"it asks for {argument} places to remember values, after {number} instructions")
        if pickletools.markobject in opcode.stack_before:
            depth = marks.pop() - opcode.stack_before.index(pickletools.markobject)
        else:
            depth -= len(opcode.stack_before)
        if opcode.name == "MARK":
            marks.append(depth)
        else:
            depth += len(opcode.stack_after)
    if depth or marks:
        _refuse("values are left over at its end mark")
    if rest := len(data) - data.tell():
        _refuse(f"{rest} bytes follow its end mark")


def _refuse(what: str) -> NoReturn:
    raise _Refused(what)


def _shown(value: Any) -> str:
    """For messages; what is nested is not written out: it may be huge although the pickle is small."""
    return repr(value[:40]) if isinstance(value, str) else type(value).__name__.lower().strip("_")


@dataclass(eq=False)
class PickledArray:
    """An array of a pickle; ``values`` is None until the pickle has said what is in it."""

    values: AnyArray | None = None
    _make: Callable[..., AnyArray] | None = None

    def __setstate__(self, state: Any) -> None:
        """What the pickle says of an array that it has announced."""
        if self._make is None or not isinstance(state, tuple):
            _refuse("it sets the state of an array that is there already")
        *_, shape, dtype, fortran, data = state
        self.values = self._make(data, dtype, shape, "F" if fortran else "C")
        self._make = None


@dataclass(eq=False)
class _Dtype:
    code: str
    order: str = "="

    def __setstate__(self, state: Any) -> None:
        _, order, subarray, names, fields, *_ = state
        if order not in ("<", ">", "=", "|") or not subarray is names is fields is None:
            _refuse("it holds an array of records")
        self.order = order

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


class _Reader(pickle.Unpickler):
    """Python's reader, with functions of its own for the names in a pickle of arrays."""

    def __init__(self, data: mmap.mmap) -> None:
        super().__init__(cast("IO[bytes]", data), encoding="latin-1")  # the bytes of a pickle by Python 2
        self._text_left = self._bytes_left = len(data)  # each array has its own data in the file
        self._functions: dict[tuple[str, str], Callable[..., Any]] = {
            ("numpy", "ndarray"): _ndarray,
            ("numpy", "dtype"): _dtype,
            ("_codecs", "encode"): self._encode,
            **{(module, "bytes"): _no_bytes for module in ("builtins", "__builtin__")},
            # up to numpy 1, and from numpy 2
            **{(f"numpy.{core}.multiarray", "_reconstruct"): self._new_array for core in ("core", "_core")},
            **{(f"numpy.{core}.multiarray", "scalar"): self._scalar for core in ("core", "_core")},
            **{(f"numpy.{core}.numeric", "_frombuffer"): self._from_buffer for core in ("core", "_core")},
        }

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """What stands in for a name; the thing itself is never looked up."""
        return self._functions.get((module, name)) or _refuse(f"it asks for {module}.{name}")

    def _new_array(self, kind: Any, *_: Any) -> PickledArray:
        return PickledArray(_make=self._array) if kind is _ndarray else _refuse("it asks for an array of another kind")

    def _from_buffer(self, data: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
        return PickledArray(self._array(data, dtype, shape, order))

    def _scalar(self, dtype: Any, data: Any) -> Any:
        return self._array(data, dtype, (), "C").item()

    def _encode(self, text: Any, encoding: Any) -> bytes:
        if encoding not in ("latin1", "latin-1") or not isinstance(text, str):
            _refuse(f"it encodes in {_shown(encoding)}")
        self._text_left -= len(text)
        if self._text_left < 0:
            _refuse("it encodes more text than it holds")
        return text.encode("latin-1")

    def _array(self, data: Any, dtype: Any, shape: Any, order: Any) -> AnyArray:
        """The array, once its size is known to be that of its data."""
        if isinstance(data, str):
            data = self._encode(data, "latin-1")
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray) or not isinstance(shape, tuple):
            _refuse("it holds an array that is not described by type, shape and bytes")
        if len(shape) > _MOST_AXES or not all(type(size) is int and 0 <= size < _LARGEST_AXIS for size in shape):
            _refuse("it holds an array of a shape that is none")
        if order not in ("C", "F"):
            _refuse(f"it holds an array in the order {_shown(order)}")
        kind = dtype.numpy()
        if math.prod(shape) * kind.itemsize != len(data):
            _refuse(f"it holds an array of shape {shape} and type {kind} with {len(data)} bytes of data")
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            _refuse("its arrays hold more than it does: several are made of the same bytes")
        return np.frombuffer(data, kind).reshape(shape, order=order)


def _ndarray(*_: Any) -> NoReturn:
    _refuse("it calls numpy.ndarray")


def _dtype(code: Any, *_: Any) -> _Dtype:
    if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
        _refuse("it holds an array of objects" if code in ("O", "O8") else f"it holds an array of type {_shown(code)}")
    return _Dtype(code)


def _no_bytes() -> bytes:
    return b""  # how old protocols write the data of an array without any element
