"""How many threads this process may use, for decoding, networks and compiled loops; and a stage that works ahead."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Full, Queue
from typing import TypeVar, cast

_T = TypeVar("_T")

_LOOK_S = 0.05  # until a stage that waits notices that nobody wants more; set by hand
_FAREWELL_S = 2.0  # for the item at work when the consumer goes: then its thread is left to itself; set by hand


@dataclass(frozen=True)
class _Last:
    """What a stage hands over behind its last item: why it ended, if not because that was all."""

    error: BaseException | None


def thread_limit() -> int:
    """Threads this process may use: the processors it may run on, or fewer by ``OMP_NUM_THREADS``.

    joblib and other launchers of worker processes set that variable in each worker.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    available = len(affinity(0)) if affinity else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(available, int(wanted)) if wanted.isdigit() and int(wanted) > 0 else available


def ahead(items: Iterator[_T], *, most: int) -> Generator[_T]:
    """The same items in the same order, made in a thread of its own while the caller works on those before.

    The thread begins at once, before the first item is asked for.  Nothing of what is computed depends on it, only
    when.  With one thread (:func:`thread_limit`) there is none more.

    Parameters
    ----------
    items : iterator
        Is run, and closed, in the thread.  What it raises is raised here, behind the items before.
    most : int
        Items that wait at the same time: the memory that this takes.

    Notes
    -----
    Who stops early (``close()``, an error, Ctrl-C) ends the thread, too: after the item that it is at.
    """
    if thread_limit() == 1:
        return _in_turn(items)
    waiting: Queue[_T | _Last] = Queue(maxsize=most)
    gone = threading.Event()

    def hand_over(item: _T | _Last) -> None:
        while not gone.is_set():
            with suppress(Full):
                waiting.put(item, timeout=_LOOK_S)
                return

    def produce() -> None:
        try:
            for item in items:
                hand_over(item)
                if gone.is_set():
                    break
            hand_over(_Last(None))
        except BaseException as error:  # noqa: BLE001 - the consumer raises it
            hand_over(_Last(error))
        finally:
            getattr(items, "close", lambda: None)()

    def handed_over() -> Generator[_T | None]:
        thread = threading.Thread(target=produce, name="metst-ahead", daemon=True)
        thread.start()
        try:
            yield None  # the thread works: whoever drops the generator from here on ends it
            while not isinstance(item := waiting.get(), _Last):
                yield item
            if item.error is not None:
                raise item.error
        finally:
            gone.set()
            thread.join(_FAREWELL_S)

    begun = handed_over()
    next(begun)
    return cast("Generator[_T]", begun)


def _in_turn(items: Iterator[_T]) -> Generator[_T]:
    yield from items
