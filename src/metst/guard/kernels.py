"""Compiled loops that are kept on disk: a folder that cannot be used costs time, never an error.

Numba's own ``cache=True`` ends the import where no folder can be written, and does not see that a function that was
inlined into another one has changed.  Both rest on internals of Numba; the tests fail when a release takes one away.
"""

# Numba's internals are only partly annotated.
# mypy: disable-error-code="no-untyped-call, misc"

from __future__ import annotations

import functools
import gc
import hashlib
import logging
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from numba import njit
from numba.core.caching import FunctionCache

_CACHE_FAULTS = (OSError, RuntimeError, EOFError, pickle.PickleError, ValueError, AttributeError, ImportError)
"""What an unusable folder or a damaged cache file raises (Numba: ``RuntimeError`` when no folder can be written)."""

log = logging.getLogger(__name__)


class KernelCacheWarning(RuntimeWarning):
    """Compiled loops cannot be kept on disk; each new process compiles them again."""


@functools.cache
def _warn_once() -> None:
    warnings.warn(
        "the compiled loops cannot be cached on disk: every process compiles them again, which takes half a minute; "
        "set NUMBA_CACHE_DIR to a folder that can be written",
        KernelCacheWarning,
        stacklevel=4,
    )


@functools.cache
def _say_once() -> None:
    log.warning("compiling kernels, once on this machine: half a minute")


@functools.cache
def _sources_digest(folder: Path) -> str:
    """Of all modules of a room, as their loops are inlined into each other."""
    sources = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        sources.update(path.read_bytes())
    return sources.hexdigest()


class _TolerantCache(FunctionCache):
    """Numba's disk cache, whose faults cost time only."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._folder = Path(function.__code__.co_filename).parent

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)
        except _CACHE_FAULTS:
            _warn_once()
            found = None  # Numba's word for "not in the cache"
        if found is None:
            _say_once()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except _CACHE_FAULTS:
            _warn_once()

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), _sources_digest(self._folder))


def keep_on_disk(dispatcher: Any, function: Callable[..., Any]) -> None:
    """Let what Numba compiles of a function be kept for other processes, where a folder can be written."""
    if dispatcher is function:  # NUMBA_DISABLE_JIT: nothing is compiled
        return
    dispatcher.compile = _without_collecting(dispatcher.compile)
    try:
        dispatcher._cache = _TolerantCache(function)
    except _CACHE_FAULTS:
        _warn_once()


def _without_collecting(compile_now: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Compile without the collector of cycles: it would look through all that Numba makes a tenth of the time."""

    def compile_quickly(signature: Any) -> Any:
        if not gc.isenabled():
            return compile_now(signature)
        gc.disable()
        try:
            return compile_now(signature)
        finally:
            gc.enable()

    return compile_quickly


NO_C_ENTRANCE: Final = {"no_cfunc_wrapper": True}
"""Options of what Python calls: Numba would compile an entrance for C as well."""

NO_ENTRANCE: Final = NO_C_ENTRANCE | {"no_cpython_wrapper": True}
"""Options of what only other kernels call: it needs no entrance that takes Python's objects apart."""


def refuse_python(dispatcher: Any) -> None:
    """Let a function without an entrance say so where Python calls it, which would end the process."""

    def refuse(*_arguments: Any, **_named: Any) -> Any:
        raise TypeError(f"{dispatcher.__name__} is a part of compiled loops: Python cannot call it")

    def keep(compiled: Any) -> None:
        dispatcher.overloads[tuple(compiled.signature.args)] = compiled  # and not where calls from Python look

    dispatcher._compile_for_args, dispatcher.add_overload = refuse, keep


def kernel(*, fastmath: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function at its first call, without the interpreter's lock.

    Parameters
    ----------
    fastmath : bool
        Sums may be reordered and products fused, so that vectors can be used; NaN is not looked out for.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher: Any = njit(nogil=True, fastmath=fastmath, **NO_C_ENTRANCE)(function)
        keep_on_disk(dispatcher, function)
        return dispatcher

    return decorate


def part(*, fastmath: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """As :func:`kernel`, for what only kernels call: it is kept on disk with them, and compiles in half the time."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher: Any = njit(nogil=True, fastmath=fastmath, **NO_ENTRANCE)(function)
        refuse_python(dispatcher)
        return dispatcher

    return decorate
