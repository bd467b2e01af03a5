"""Compiled loops that are kept on disk: a folder that cannot be used costs time, never an error.

Numba's own ``cache=True`` ends the import where no folder can be written, and does not see that a function that was
inlined into another one has changed.  Both rest on internals of Numba; the tests fail when a release takes one away.
"""

# Numba's internals are only partly annotated.
# mypy: disable-error-code="no-untyped-call, misc"

from __future__ import annotations

import functools
import hashlib
import logging
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    try:
        dispatcher._cache = _TolerantCache(function)
    except _CACHE_FAULTS:
        _warn_once()


def kernel(*, fastmath: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function at its first call, without the interpreter's lock.

    Parameters
    ----------
    fastmath : bool
        Sums may be reordered and products fused, so that vectors can be used; NaN is not looked out for.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher: Any = njit(nogil=True, fastmath=fastmath)(function)
        keep_on_disk(dispatcher, function)
        return dispatcher

    return decorate
