"""The figures as people read them: one table of systems in Markdown, and reliability diagrams."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from cells import markdown, number, share_of
from default_rate import DefaultRate
from details import SHIFTS, Details, Rate
from figures import Figures

from metst.config import EXPECTED_PER_MIN
from metst.report.drawing import Box, Drawing
from metst.report.ticks import number_ticks

_WIDTH, _HEIGHT, _SIDE = 150.0, 165.0, 110.0
_PAGE = "--ink:#1b1f24;--muted:#5b6570;--line:#9aa4ae;--accent:#0b62b8"


def table(rows: Sequence[Figures]) -> str:
    """Systems in lines, figures in columns; 95 % intervals over persons in brackets."""
    heads = (
        "system", "spotting F1", "recognition F1", "STRS", "hits / false alarms / misses", "F1 real, amplitude >= 0.1",
        "false alarms per min, ME-free real", "the same, hard negatives", "still photograph: events",
        "onset error ms", "offset error ms", "ECE",
    )  # fmt: skip
    lines = [
        (
            row.system,
            _with_interval(row.spotting_f1, row.spotting_interval),
            _with_interval(row.recognition_f1, row.recognition_interval),
            _with_interval(row.strs, row.strs_interval),
            " / ".join(map(str, row.counts)),
            number(row.real_f1, 3),
            number(row.free_per_min, 2),
            number(row.negatives_per_min, 2),
            str(row.still_events),
            number(row.onset_ms, 0),
            number(row.offset_ms, 0),
            number(row.ece, 3),
        )
        for row in rows
    ]
    return markdown(heads, lines)


def recalls(rows: Sequence[Figures]) -> str:
    """Recall over amplitude and over duration, per system."""
    if not rows:
        return ""
    first = rows[0]
    heads = (
        "system",
        *(f"amplitude {each.of}" for each in first.recall_amplitude),
        *(each.of for each in first.recall_duration),
    )
    lines = [(row.system, *map(share_of, (*row.recall_amplitude, *row.recall_duration))) for row in rows]
    return markdown(heads, lines)


def people(rows: Sequence[Details]) -> str:
    """Systems in lines: candidates in real footage as it is, placebos, and either field."""
    if not rows:
        return ""
    heads = (
        "system",
        *(f"candidates per min: {rate.of}" for rate in (rows[0].lively, rows[0].rest, rows[0].sentences)),
        "placebo: kept",
        "placebo: gained",
        *(
            f"{each.field}: {what}"
            for each in rows[0].fields
            for what in ("F1", "STRS", "hits / false alarms / misses")
        ),
        "recall unlike the table, at rest",
    )
    lines = []
    for row in rows:
        fields: list[str] = []
        for each in row.fields:
            fields += [
                _with_interval(each.f1, each.f1_interval),
                _with_interval(each.strs, each.strs_interval),
                " / ".join(map(str, each.counts)),
            ]
        placebo = share_of(row.placebo.kept_share), share_of(row.placebo.gained_share)
        rates = map(_rate, (row.lively, row.rest, row.sentences))
        lines.append((row.system, *rates, *placebo, *fields, share_of(row.unlike)))
    return markdown(heads, lines)


def sizes(rows: Sequence[Details]) -> str:
    """Recall by amplitude, by pixels and by multiples of the own movement: a line per system and field."""
    lines = [
        (row.system, each.field, ", ".join(f"{share.of}: {share_of(share)}" for share in each.amplitude),
         *map(share_of, (*each.pixels, *each.own)))
        for row in rows for each in row.fields
    ]  # fmt: skip
    named = [share.of for row in rows[:1] for share in (*row.fields[0].pixels, *row.fields[0].own)]
    return markdown(("system", "field", "by amplitude", *named), lines) if lines else ""


def default_rates(rows: Sequence[DefaultRate]) -> str:
    """Confidences at the default rate, and what one that is exactly right would show."""
    heads = (
        "system", "candidates: right / beside a movement / elsewhere", "minutes as they are", "mean confidence",
        "share that is right", f"ECE at {EXPECTED_PER_MIN:g} a minute", "of an exact confidence",
    )  # fmt: skip
    lines = [
        (
            row.system, f"{row.right} / {row.beside} / {row.elsewhere}", number(row.minutes, 2), number(row.said, 3),
            _with_interval(row.held, row.held_interval), _with_interval(row.ece, row.interval),
            _with_interval(row.exact[1], (row.exact[0], row.exact[2])),
        )
        for row in rows
    ]  # fmt: skip
    return markdown(heads, lines)


def shifts(rows: Sequence[Details]) -> str:
    """F1 while the truth is shifted."""
    heads = ("system", *(f"{frames:+d}" if frames else "0" for frames in SHIFTS))
    return markdown(heads, [(row.system, *(number(f1, 3) for _, f1 in row.shifted)) for row in rows])


def persons(rows: Sequence[Details]) -> str:
    """A line per system and person."""
    heads = ("system", "person", "candidates per min as it is", "minutes", "F1 table", "F1 patterns")
    lines = [
        (row.system, each.person, number(each.raw.per_min, 1), number(each.raw.minutes, 2),
         number(each.f1["table"], 3), number(each.f1["patterns"], 3))
        for row in rows for each in row.persons
    ]  # fmt: skip
    return markdown(heads, lines)


def reliability(rows: Sequence[Figures]) -> str:
    """One diagram per system as SVG: how often events were right over how sure the system was."""
    drawing = Drawing(_WIDTH * len(rows), _HEIGHT, key="reliability", label="share of right events over confidence")
    drawing.root.set("xmlns", "http://www.w3.org/2000/svg")
    drawing.root.set("style", f"{_PAGE};background:#fff;font-family:sans-serif")
    for place, row in enumerate(rows):
        box = Box(_WIDTH * place + 30, 22, _SIDE, _SIDE)
        panel = drawing.panel(box, x=(0.0, 1.0), y=(0.0, 1.0))
        panel.frame()
        ticks = number_ticks(0.0, 1.0, most=3)
        panel.x_ticks(ticks)
        panel.y_ticks(ticks)
        panel.curve(_array(0, 1), _array(0, 1), colour="var(--muted)", width=0.6, dashes="2 2")
        x, y = _array(*(each.confidence for each in row.bins)), _array(*(each.right for each in row.bins))
        panel.curve(x, y, colour="var(--accent)", width=1.2)
        for each in row.bins:
            size = 0.012 + 0.02 * math.log10(each.events)
            panel.curve(
                _array(each.confidence - size, each.confidence + size), _array(each.right, each.right),
                colour="var(--accent)", width=4,
            )  # fmt: skip
        panel.write(0.5, 1.06, f"{row.system}: ECE {number(row.ece, 3)}", bold=True)
        panel.write(0.5, -0.27, "confidence", colour="var(--muted)")
    return drawing.svg()


def _array(*values: float) -> npt.NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{value:.3f} [{low:.2f}, {high:.2f}]" if math.isfinite(low) else f"{value:.3f}"


def _rate(rate: Rate) -> str:
    low, high = rate.interval
    shown = f"{number(rate.per_min, 1)} ({rate.candidates} in {rate.minutes:.2f} min)"
    return f"{shown} [{low:.1f}, {high:.1f}]" if math.isfinite(low) else shown
