"""What all commands share: the console, the model, progress, tables, JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from metst.arrays import OnProgress
    from metst.datasets.corpus import Recording
    from metst.models.checkpoint import Model

# A message is one line, however narrow the terminal: what reads a log must not meet half of it.
console = Console(stderr=True, highlight=False, soft_wrap=True)

FINISHED_WITH_PROBLEMS = 3
"""Exit code of a command that did its work and lists what was wrong with it."""
_NOTHING_DONE = 1
"""Exit code of a command all of whose inputs failed."""


def ended_with(problems: Sequence[str], *, failed: int, of: int) -> int:
    """Exit code of a command over several inputs: 0 without any problem, 1 where all of them failed, else 3."""
    if not problems:
        return 0
    return _NOTHING_DONE if failed == of else FINISHED_WITH_PROBLEMS


def introduce(model: Model) -> None:
    """Say which model works, what it has seen, at which operating point, and what its confidences take for granted."""
    from metst.config import DEFAULT_POINT, DecodeSettings

    console.print(f"Model {model.info.name}: trained on {escape(model.info.trained_on)}")
    decode = model.info.decode
    if not isinstance(decode, DecodeSettings):  # a published rule has one threshold, and its confidence is no odds
        return
    if decode.operating_point != DEFAULT_POINT:
        console.print(f"Operating point {decode.operating_point}, threshold {decode.peak_threshold:g}")
    if decode.granted_per_min is None:
        console.print("Confidences are for the rate that the model was fitted on: it does not say which")
    else:
        plural = "" if decode.granted_per_min == 1 else "s"
        console.print(f"Confidences are for {decode.granted_per_min:g} micro-expression{plural} per minute")


def talk(*, quiet: bool, verbose: bool) -> None:
    """Set how much the command says."""
    console.quiet = quiet
    shown = logging.ERROR if quiet else logging.NOTSET  # by the console alone: a journal has the warnings as well
    handler = RichHandler(shown, console=console, show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("metst").setLevel(logging.DEBUG if verbose and not quiet else logging.WARNING)


@contextmanager
def progress(title: str) -> Iterator[OnProgress]:
    """Draw the progress of the stages of a piece of work called ``title``."""
    from metst.cli.journal import StageClock

    clock = StageClock(title)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=console.quiet or not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def on_progress(stage: str, done: int, total: int | None) -> None:
            clock.heard(stage, done, total)
            if stage not in tasks:
                tasks[stage] = bars.add_task(f"{escape(title)}: {stage}", total=total)
            bars.update(tasks[stage], completed=done, total=total)

        try:
            yield on_progress
        finally:
            clock.end()


def named(path: Path, message: str) -> str:
    """A message that names its input, once."""
    return message if path.name in message else f"{path}: {message}"


def tell_folders(recordings: Iterable[Recording]) -> None:
    """Say whose results go to another folder than their name says."""
    for note in (each.note for each in recordings):
        if note:
            console.print(f"[yellow]note:[/yellow] {escape(note)}")


def print_json(value: Any) -> None:
    """Print a result on the standard output."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table for people; without names of columns where they are empty."""
    drawn = Table(title=escape(title), title_justify="left", show_header=any(columns))
    for column in columns:
        drawn.add_column(column)
    for row in rows:
        drawn.add_row(*(escape(cell) for cell in row))
    console.print(drawn, soft_wrap=False)
