"""What a live run shows in the terminal: a panel that is redrawn, or plain lines where nothing can be redrawn."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from metst.live.rows import EventRow, event_text
from metst.live.status import HISTORY_S, Status
from metst.stream import Update

# Set by hand.
_REDRAWN_EVERY_S = 0.1  # by the clock
_LINE_EVERY_S = 5.0  # of the recording
_BAR = 40  # characters
_ROOM_FOR_ECHO = 3  # terminals write ^C behind the panel; on a line of its own it would spoil the drawing
_BLOCKS = " ▁▂▃▄▅▆▇█"  # no score, then from the lowest to the highest


class Screen:
    """A panel in the terminal that shows the state of the run."""

    def __init__(self, console: Console) -> None:
        # The standard output carries results: rich must leave it alone.
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._drawn_s = 0.0
        self._live.start()

    def take(self, update: Update, *, rows: list[EventRow], status: Status) -> None:  # noqa: ARG002
        """Redraw, some times a second."""
        if rows or time.monotonic() - self._drawn_s >= _REDRAWN_EVERY_S:
            self._drawn_s = time.monotonic()
            self._live.update(panel(status), refresh=True)

    def close(self) -> None:
        """Leave the last state on the screen."""
        self._live.stop()


class Lines:
    """One line per event, and one on the state every few seconds of the recording; no control codes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told_s = -np.inf

    def take(self, update: Update, *, rows: list[EventRow], status: Status) -> None:  # noqa: ARG002
        """Print what is new."""
        for row in rows:
            self._console.print(escape(event_text(row)), soft_wrap=True)
        if status.time_s - self._told_s >= _LINE_EVERY_S:
            self._told_s = status.time_s
            self._console.print(escape(state_line(status)), soft_wrap=True)

    def close(self) -> None:
        """Nothing is held back."""


def panel(status: Status) -> RenderableType:
    """The state as a panel."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True, min_width=len(f"last {HISTORY_S:.0f} s"))
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")  # wrapping would make the panel jump
    grid.add_row("face", _face(status))
    grid.add_row("score", _bar(status))
    grid.add_row(f"last {HISTORY_S:.0f} s", _sparkline(status))
    grid.add_row("moving", _moving(status))
    grid.add_row("speed", _speed(status))
    drawn = Panel(
        Group(grid, Text(), _events(status)),
        title=f"metst live: {escape(status.source)}",
        title_align="left",
        subtitle=f"model {escape(status.model)}; Ctrl-C ends",
        subtitle_align="right",
    )
    return Padding(drawn, (0, _ROOM_FOR_ECHO, 0, 0))


def state_line(status: Status) -> str:
    """The state as one line."""
    face = f"not usable ({status.reason})" if status.reason else "found"
    score = "-" if np.isnan(status.score) else f"{status.score:.2f}"
    return f"{status.time_s:.1f} s: face {face}, score {score}, {status.event_count} candidates, {_speed(status)}"


def _face(status: Status) -> Text:
    if status.reason:
        return Text(f"not usable: {status.reason}", style="yellow")
    return Text(f"found, quality {status.quality:.0%}, {status.eye_px:.0f} px between the eye corners", style="green")


def _bar(status: Status) -> Text:
    """The score as a bar with the threshold marked."""
    if np.isnan(status.score):
        return Text("no score", style="dim")
    filled, mark = round(status.score * _BAR), round(status.threshold * _BAR)
    style = _style(status.score, status.threshold)
    bar = Text("█" * filled, style=style) + Text("·" * (_BAR - filled), style="dim")
    marked = bar[:mark] + Text("│", style="bold") + bar[mark:]
    return marked + Text(f" {status.score:.2f}", style=style) + Text(f" (│ threshold {status.threshold:.2f})", "dim")


def _sparkline(status: Status) -> Text:
    """The highest score of each piece of the last seconds; empty where there was none."""
    line = Text()
    for highest in _binned(status.history):
        known = not np.isnan(highest)
        block = _BLOCKS[1 + min(int(highest * (len(_BLOCKS) - 1)), len(_BLOCKS) - 2)] if known else _BLOCKS[0]
        line.append(block, style=_style(highest, status.threshold) if known else "")
    return line


def _binned(history: Iterable[tuple[float, float]]) -> list[float]:
    """Maximum over each of the bins up to the newest score; NaN for a bin without a score."""
    pairs = list(history)
    highest = [np.nan] * _BAR
    for time_s, score in pairs:
        place = _BAR - 1 - int((pairs[-1][0] - time_s) / HISTORY_S * _BAR)
        highest[max(place, 0)] = float(np.fmax(highest[max(place, 0)], score))
    return highest


def _style(score: float, threshold: float) -> str:
    return "bold red" if score >= threshold else "cyan"


def _moving(status: Status) -> Text:
    if not status.moving:
        return Text("-", style="dim")
    parts = (f"{move.region} {move.arrow} {move.percent:.1f} %" for move in status.moving)
    return Text(", ".join(parts)) + Text(" of the eye distance", style="dim")


def _speed(status: Status) -> str:
    behind = f", score {status.behind_s:.1f} s behind" if status.behind_s >= 0 else ""
    return f"{status.rate_hz:.1f} frames/s, {status.dropped} dropped{behind}"


def _events(status: Status) -> RenderableType:
    """The last events, the newest first."""
    if not status.events:
        return Text("no movement candidate yet", style="dim")
    table = Table(box=None, padding=(0, 2, 0, 0), title_justify="left", title="movement candidates", title_style="bold")
    for name in ("no.", "onset s", "offset s", "class", "confidence"):
        table.add_column(name, header_style="dim", justify="left" if name == "class" else "right")
    for row in reversed(status.events):
        table.add_row(
            str(row["event"]), f"{row['onset_s']:.2f}", f"{row['offset_s']:.2f}", str(row["label"]),
            f"{row['confidence']:.0%}",
        )  # fmt: skip
    return table
