"""``--log-json``: what a command did, one line of JSON per event, with the time that each stage took."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from metst.cli.console import console
from metst.errors import MetstError, OutputError
from metst.storage import finite, remedy

_EVENTS = logging.getLogger("metst.events")
"""What a command did."""
_EVENTS.propagate = False  # for the file alone: people see the progress itself
_EVENTS.addHandler(logging.NullHandler())

_STOPPED = 128
"""Exit code of what a signal stopped, less the number of the signal: as shells have it."""


class _Line(logging.Formatter):
    """A record as one object: when, what, and the values it came with."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps(told | finite(getattr(record, "values", {})), ensure_ascii=False)


class _File(logging.FileHandler):
    """Says once that the journal is not whole: a disk that is full must not stop the work that it tells of."""

    _told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002 - the library's name
        why = sys.exc_info()[1]
        if not self._told and isinstance(why, OSError):
            self._told = True
            console.print(f"[yellow]note:[/yellow] --log-json is not whole: {remedy(why)}")


def tell(event: str, **values: Any) -> None:
    """Write an event with its values, where a journal is kept."""
    _EVENTS.info(event, extra={"values": values})


@contextmanager
def journal(path: Path | None, *, command: str) -> Iterator[None]:
    """Keep a journal of a command at the end of a file; without a path there is none.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    if path is None:
        yield
        return
    try:
        handler = _File(path, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {remedy(error)}") from error
    handler.setFormatter(_Line())
    warnings = logging.getLogger("metst")
    level = _EVENTS.level
    _EVENTS.setLevel(logging.INFO)
    for logger in (_EVENTS, warnings):
        logger.addHandler(handler)
    try:
        with _told(command):
            yield
    finally:
        for logger in (_EVENTS, warnings):
            logger.removeHandler(handler)
        _EVENTS.setLevel(level)
        with suppress(OSError):  # what could not be written was told
            handler.close()


@contextmanager
def _told(command: str) -> Iterator[None]:
    from metst import __version__

    started, ended = time.perf_counter(), dict[str, Any](code=0)
    tell("started", command=command, version=__version__)
    try:
        yield
    except typer.Exit as error:
        ended = {"code": error.exit_code}
        raise
    except MetstError as error:
        ended = {"code": error.exit_code, "error": str(error)}
        raise
    except KeyboardInterrupt as error:  # also what signals that ask a command to go become
        ended = {"code": _STOPPED + (error.args[0] if error.args else signal.SIGINT), "error": type(error).__name__}
        raise
    except BaseException as error:
        ended = {"code": 1, "error": type(error).__name__}
        raise
    finally:
        tell("ended", command=command, seconds=round(time.perf_counter() - started, 3), **ended)


class StageClock:
    """When each stage of a piece of work was first and last heard of, told when the work ends.

    Stages may run beside each other, frame by frame: their times then overlap and are no shares of the whole.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._first: dict[str, float] = {}
        self._last: dict[str, tuple[float, int, int | None]] = {}

    def heard(self, stage: str, done: int, total: int | None) -> None:
        """A stage told its progress."""
        now = time.perf_counter()
        self._first.setdefault(stage, now)
        self._last[stage] = (now, done, total)

    def end(self) -> None:
        """Tell all stages, in the order in which they began."""
        for stage, first in self._first.items():
            last, done, total = self._last[stage]
            tell("stage", of=self._title, stage=stage, seconds=round(last - first, 3), done=done, total=total)
