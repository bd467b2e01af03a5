"""Pickles of arrays, read without running anything that they ask for.

A pickle is a small program.  This reader follows its instructions itself, one by one, and knows only those that make
lists, tuples, numbers, texts and arrays of numbers: of the names that a pickle of arrays holds, none is ever imported
or called.  Any other name and any other instruction is refused where it stands.  What an array says about itself is
compared with the bytes that are there before memory is asked for.
"""

from __future__ import annotations

import math
import mmap
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, cast

import numpy as np

from metst.arrays import AnyArray
from metst.errors import DataError, UsageError

_EXPECTED = "expected a pickle of nested lists of arrays of numbers"
_NUMBERS = re.compile(r"[fiu][1248]|b1")  # dtype codes: floats, integers, truth values
_MODULES = ("numpy.core.", "numpy._core.")  # up to numpy 1, from numpy 2
_LAST_PROTOCOL = 5
_MOST_AXES = 8


@dataclass(eq=False)
class PickledArray:
    """An array of a pickle; ``values`` is None until the pickle has said what is in it."""

    values: AnyArray | None = None


@dataclass(eq=False)
class _Dtype:
    code: str
    order: str = "="

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


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
                return _Machine(path).run(data)
    except FileNotFoundError as error:
        raise UsageError(f"no file {path}: {_EXPECTED}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


_MARK = object()


@dataclass(frozen=True)
class _Name:
    """A name of a module, not the thing itself."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class _Machine:
    """Stack and memo of one pickle."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: mmap.mmap) -> Any:
        position = 0
        try:
            for opcode, argument, place in pickletools.genops(cast("IO[bytes]", data)):
                position = place or 0
                if opcode.name == "STOP":
                    return self._result(data)
                self._step(opcode.name, argument)
        except _Refused as error:
            raise DataError(
                f"{self._path}: {_EXPECTED}, but {error} (byte {position}): refused, nothing was run"
            ) from None
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            # what bytes that are no pickle, or half of one, lead to
            raise DataError(f"{self._path}: {_EXPECTED}, but it is damaged at byte {position} or later") from error
        raise DataError(f"{self._path}: {_EXPECTED}, but it ends before its end mark")

    def _result(self, data: mmap.mmap) -> Any:
        (result,) = self._stack
        if (rest := len(data) - data.tell()) > 0:
            raise _Refused(f"{rest} bytes follow its end mark")
        return result

    def _step(self, name: str, argument: Any) -> None:
        if name in _PUSHED:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif (step := _STEPS.get(name)) is not None:
            step(self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise _Refused(f"it holds the instruction {name}")
        elif name == "PROTO" and argument > _LAST_PROTOCOL:
            raise _Refused(f"it is of protocol {argument}, and this reader knows up to {_LAST_PROTOCOL}")

    def push_bytes(self, argument: bytes) -> None:
        self._stack.append(bytes(argument))

    def new_list(self, _: Any) -> None:
        self._stack.append([])

    def mark(self, _: Any) -> None:
        self._stack.append(_MARK)

    def since_mark(self) -> list[Any]:
        place = len(self._stack) - 1
        while self._stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise IndexError("no mark")
        items = self._stack[place + 1 :]
        del self._stack[place:]
        return items

    def make_list(self, _: Any) -> None:
        self._stack.append(self.since_mark())

    def make_tuple(self, _: Any) -> None:
        self._stack.append(tuple(self.since_mark()))

    def short_tuple(self, count: int) -> None:
        items = tuple(self._pop() for _ in range(count))
        self._stack.append(items[::-1])

    def append(self, _: Any) -> None:
        item = self._pop()
        self._top_list().append(item)

    def extend(self, _: Any) -> None:
        items = self.since_mark()
        self._top_list().extend(items)

    def put(self, index: int | None) -> None:
        top = self._stack[-1]
        if top is _MARK:
            raise ValueError("a mark is no value")
        self._memo[len(self._memo) if index is None else index] = top

    def get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def name(self, argument: str | None) -> None:
        if argument is None:
            name, module = self._pop(), self._pop()
        else:
            module, name = argument.split(" ", 1)
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name is a text")
        found = _Name(module, name)
        if found not in _CALLS and found != _NDARRAY:
            raise _Refused(f"it asks for {found}")
        self._stack.append(found)

    def call(self, _: Any) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, _Name) or function not in _CALLS or not isinstance(arguments, tuple):
            raise _Refused(f"it calls {_shown(function)}")
        self._stack.append(_CALLS[function](*arguments))

    def build(self, _: Any) -> None:
        state, target = self._pop(), self._stack[-1]
        if isinstance(target, _Dtype):
            _set_dtype(target, state)
        elif isinstance(target, PickledArray) and target.values is None and isinstance(state, tuple):
            *_, shape, dtype, fortran, data = state
            target.values = _array(data, dtype, shape, "F" if fortran else "C")
        else:
            raise _Refused(f"it sets the state of {_shown(target)}")

    def _pop(self) -> Any:
        item = self._stack.pop()
        if item is _MARK:
            raise ValueError("a mark is no value")
        return item

    def _top_list(self) -> list[Any]:
        top = self._stack[-1]
        if not isinstance(top, list):
            raise _Refused(f"it appends to {_shown(top)}")
        return top


def _refuse(what: str) -> NoReturn:
    raise _Refused(what)


def _shown(value: Any) -> str:
    """For messages; what is nested is not written out: it may be huge although the pickle is small."""
    return repr(value[:40]) if isinstance(value, str) else str(value) if isinstance(value, _Name) else _kind(value)


def _kind(value: Any) -> str:
    return type(value).__name__.lower().strip("_")


def _dtype(code: Any, *_: Any) -> _Dtype:
    if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
        _refuse("it holds an array of objects" if code in ("O", "O8") else f"it holds an array of type {_shown(code)}")
    return _Dtype(code)


def _set_dtype(dtype: _Dtype, state: Any) -> None:
    _, order, subarray, names, fields, *_ = state
    if order not in ("<", ">", "=", "|") or not subarray is names is fields is None:
        _refuse("it holds an array of records")
    dtype.order = order


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> AnyArray:
    """The array, once its size is known to be that of its data."""
    if isinstance(data, str):  # the bytes of a pickle by Python 2
        data = data.encode("latin-1")
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes) or not isinstance(shape, tuple):
        _refuse("it holds an array that is not described by type, shape and bytes")
    if len(shape) > _MOST_AXES or not all(type(size) is int and 0 <= size < 2**48 for size in shape):
        _refuse("it holds an array of a shape that is none")
    if order not in ("C", "F"):
        _refuse(f"it holds an array in the order {_shown(order)}")
    kind = dtype.numpy()
    if math.prod(shape) * kind.itemsize != len(data):
        _refuse(f"it holds an array of shape {shape} and type {kind} with {len(data)} bytes of data")
    return np.frombuffer(data, kind).reshape(shape, order=order)


def _new_array(kind: Any, *_: Any) -> PickledArray:
    return PickledArray() if kind == _NDARRAY else _refuse(f"it asks for an array of the kind {_shown(kind)}")


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
    return PickledArray(_array(data, dtype, shape, order))


def _scalar(dtype: Any, data: Any) -> Any:
    return _array(data, dtype, (), "C").item()


def _encode(text: Any, encoding: Any) -> bytes:
    if encoding not in ("latin1", "latin-1") or not isinstance(text, str):
        _refuse(f"it encodes in {_shown(encoding)}")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    return b""  # how old protocols write the data of an array without any element


_NDARRAY = _Name("numpy", "ndarray")
_CALLS: dict[_Name, Callable[..., Any]] = {
    _Name("numpy", "dtype"): _dtype,
    _Name("_codecs", "encode"): _encode,
    **{_Name(module, "bytes"): _no_bytes for module in ("builtins", "__builtin__")},
    **{_Name(f"{module}multiarray", "_reconstruct"): _new_array for module in _MODULES},
    **{_Name(f"{module}multiarray", "scalar"): _scalar for module in _MODULES},
    **{_Name(f"{module}numeric", "_frombuffer"): _from_buffer for module in _MODULES},
}
"""Every name that is admitted, and what is done here instead of calling it."""

_PUSHED = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    }
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "BYTEARRAY8": _Machine.push_bytes,
    "EMPTY_LIST": _Machine.new_list,
    "MARK": _Machine.mark,
    "LIST": _Machine.make_list,
    "TUPLE": _Machine.make_tuple,
    "TUPLE1": lambda machine, _: machine.short_tuple(1),
    "TUPLE2": lambda machine, _: machine.short_tuple(2),
    "TUPLE3": lambda machine, _: machine.short_tuple(3),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    **dict.fromkeys(("GLOBAL", "STACK_GLOBAL"), _Machine.name),
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
}
