"""How a command ends when it is told to: at the keyboard, or by a signal that asks it to go."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_ASKED = ("SIGTERM", "SIGHUP")
"""Signals that ask a process to go; ``SIGHUP``: its terminal is gone."""

AT_THE_KEYBOARD = 128 + signal.SIGINT
"""Exit code of what was interrupted there: 128 and the number of the signal, as shells have it."""

_PATIENCE_S = 5.0
"""Seconds for tidying up before the same signal counts once more.  Set by hand."""


@dataclass
class Ending:
    """Which signal came; that of the keyboard when none did."""

    number: int = signal.SIGINT
    at: float = -_PATIENCE_S

    @property
    def code(self) -> int:
        """Exit code: as for :data:`AT_THE_KEYBOARD`, with the number of what came."""
        return 128 + self.number

    @property
    def asked(self) -> bool:
        """Whether one came that asks a process to go."""
        return self.number != signal.SIGINT

    def take(self, number: int, _frame: FrameType | None) -> None:
        """Stop as at the keyboard, so that everything that tidies up there does it here as well."""
        if time.monotonic() - self.at < _PATIENCE_S:
            return
        self.number, self.at = number, time.monotonic()
        raise KeyboardInterrupt(number)


@contextmanager
def tidy_ending() -> Iterator[Ending]:
    """Let signals that ask this process to go stop it like the keyboard; who ignores them goes on doing so.

    Yields
    ------
    Ending
        Its ``code`` is that of the process when it was stopped.
    """
    ending = Ending()
    before = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in _ASKED if hasattr(signal, name)]
        before = {number: signal.getsignal(number) for number in numbers}
        for number in (each for each, handler in before.items() if handler == signal.SIG_DFL):
            signal.signal(number, ending.take)
    try:
        yield ending
    finally:
        for number, handler in before.items():
            if handler == signal.SIG_DFL:
                signal.signal(number, handler)


def sweep_workers() -> None:
    """Take away the temporary files of this process's workers, which were stopped with it."""
    import tempfile

    from metst.storage.leftovers import sweep

    sweep(Path(tempfile.gettempdir()))
