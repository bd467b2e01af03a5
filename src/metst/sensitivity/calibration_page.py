"""The page of a calibration: the curve, what it means, and what to do; one file that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from metst.report.drawing import ACCENT, INK, LINE, MUTED, Box, Drawing, Panel, add, class_colour, stroke, write
from metst.report.html import page_style, page_template
from metst.report.ticks import Tick, apart
from metst.sensitivity.calibration import Calibration
from metst.sensitivity.recording_quality import give_advice
from metst.sensitivity.summary import TARGET, Summary, Threshold
from metst.storage import write_whole

# Sizes of the drawings, points: set by eye.
_WIDTH, _HEIGHT = 520.0, 300.0
_SMALL_WIDTH, _SMALL_HEIGHT = 240.0, 156.0
_BOX: Final = Box(44, 14, 462, 232)
_PLACEBO_OFF: Final = 1.7  # the placebo stands this far left of the weakest amplitude on the logarithmic axis
_DOT_PT: Final = 3.2
_LEAST_APART: Final = 18.0  # points between two amplitudes that are named: room for four figures
_SMALL: Final = Box(40, 22, 190, 108)
_SHARES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)  # found, that get a line; the small drawings name every second
_TOP: Final = 1.02  # of the axis of shares: room above the highest
_BEYOND_PLACEBO: Final = 0.1  # room left of it on the logarithmic axis
# How far down words stand, pt: under the panels, the titles of the large and a small one and a remark; in a small
# drawing, what it shows.
_TITLE_DOWN, _SMALL_TITLE_DOWN, _REMARK_DOWN, _LASTING_DOWN = 26, 22, 40, 12
_WORDS_ASIDE, _WORDS_UP = 0.05, 0.02  # words beside a line: in units of the axes
_DASHES: Final = ("", "6 3", "1.5 2.5")  # of the middle duration, of longer ones, of shorter ones


def write_page(calibration: Calibration, summary: Summary, path: Path) -> None:
    """Write the page.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    page = page_template("metst.sensitivity", "calibrate.html.j2").render(
        calibration=calibration,
        raw=calibration.raw,
        source=calibration.raw.source,
        summary=summary,
        alarms=summary.figures["false_alarms"],
        timing=summary.figures["timing"],
        classes=summary.figures["classes"],
        advice=give_advice(calibration.conditions),
        lead=lead(summary.typical, points=summary.points),
        fewest=min(point["trials"] for point in summary.points),
        curve=Markup(draw_curve(summary)),
        durations=[Markup(svg) for svg in draw_durations(summary)],
        style=page_style(),
    )
    write_whole(path, page.encode())


def lead(best: Threshold, *, points: Sequence[dict[str, Any]]) -> str:
    """The main finding in one sentence: the threshold for the middle of the durations, and all points."""
    if best.amplitude is None or best.px is None or best.face_units is None:
        strongest = max(point["amplitude"] for point in points)
        return (
            f"No movement up to {100 * strongest:.0f} % of a full contraction is found 9 times in 10, at"
            f" {best.duration_s:g} s. Do not rely on this recording for micro-expressions: see the advice below."
        )
    return (
        f"A movement of {best.duration_s:g} s is found 9 times in 10 from {100 * best.amplitude:.0f} % of a full"
        f" contraction on: {best.px:.1f} px, or {100 * best.face_units:.1f} % of the distance of the outer eye corners."
        " Real micro-expressions mostly reach 5 to 20 % of a full contraction."
    )


def draw_curve(summary: Summary) -> str:
    """Detection probability over amplitude for the middle duration, with its band, and the points of all trials."""
    label = f"Detection probability over amplitude. {lead(summary.typical, points=summary.points)}"
    drawing = Drawing(_WIDTH, _HEIGHT, key="curve", label=label)
    panel = _axes(drawing, summary, box=_BOX, texts=True)
    _fill_band(panel, summary, duration_s=summary.typical.duration_s)
    for duration_s, dashes in zip(summary.lines, _styles(summary), strict=True):
        panel.curve(np.log(summary.grid), summary.lines[duration_s][0], colour=ACCENT, width=1.5, dashes=dashes)
    _threshold(panel, summary)
    for point in summary.points:
        _dot(panel, point, summary=summary)
    return drawing.svg()


def draw_durations(summary: Summary) -> list[str]:
    """One small drawing per duration: its curve, band and points."""
    drawings = []
    for number, duration_s in enumerate(summary.lines):
        drawing = Drawing(
            _SMALL_WIDTH, _SMALL_HEIGHT, key=f"duration-{number}", label=f"Detection of movements of {duration_s:g} s"
        )
        panel = _axes(drawing, summary, box=_SMALL, texts=False)
        _fill_band(panel, summary, duration_s=duration_s)
        panel.curve(np.log(summary.grid), summary.lines[duration_s][0], colour=ACCENT, width=1.3)
        for point in summary.by_duration:
            if point["duration_s"] == duration_s and point["trials"]:
                _dot(panel, point, summary=summary)
        write(
            drawing.root, _SMALL.left, _LASTING_DOWN, f"lasting {duration_s:g} s", colour=INK, anchor="start", bold=True
        )
        drawings.append(drawing.svg())
    return drawings


def _styles(summary: Summary) -> list[str]:
    """Dashes per line: the middle duration is drawn through."""
    middle = len(summary.lines) // 2
    return [_DASHES[0] if i == middle else _DASHES[1 if i > middle else 2] for i in range(len(summary.lines))]


def _axes(drawing: Drawing, summary: Summary, *, box: Box, texts: bool) -> Panel:
    low, high = float(np.log(summary.grid[0])), float(np.log(summary.grid[-1]))
    panel = drawing.panel(box, x=(low - np.log(_PLACEBO_OFF) - _BEYOND_PLACEBO, high), y=(0, _TOP))
    for level in _SHARES[1:]:
        panel.level(level, colour=LINE, width=0.4)
    panel.frame()
    panel.y_ticks(Tick(share, f"{share:.0%}") for share in (_SHARES if texts else _SHARES[::2]))
    panel.x_ticks(_amplitudes(summary, least=_LEAST_APART * (panel.x[1] - panel.x[0]) / box.width))
    middle, bottom = box.left + box.width / 2, box.top + box.height
    title = "amplitude, % of a full contraction (0: nothing planted)" if texts else "amplitude, %"
    write(drawing.root, middle, bottom + (_TITLE_DOWN if texts else _SMALL_TITLE_DOWN), title, colour=MUTED)
    if texts:
        panel.y_title("found", off=36)
        weakest = summary.figures["face_units_per_amplitude"]
        words = f"10 % of a full contraction moves the face by {10 * weakest:.1f} % of the eye corners' distance"
        write(drawing.root, middle, bottom + _REMARK_DOWN, words, colour=MUTED)
    return panel


def _amplitudes(summary: Summary, *, least: float) -> list[Tick]:
    """Marks at the amplitudes that were planted, none over another."""
    levels = sorted({point["amplitude"] for point in summary.points if point["amplitude"] > 0})
    planted = (Tick(float(np.log(level)), f"{100 * level:.3g}") for level in levels)
    return apart([Tick(_placebo(summary), "0"), *planted], least=least)


def _placebo(summary: Summary) -> float:
    """Where the placebo stands on the axis of logarithms."""
    return float(np.log(summary.grid[0] / _PLACEBO_OFF))


def _fill_band(panel: Panel, summary: Summary, *, duration_s: float) -> None:
    _, low, high = summary.lines[duration_s]
    x = np.log(summary.grid)
    across, down = panel.at(np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]]))
    path = "M" + " ".join(f"{a:.2f},{b:.2f}" for a, b in zip(across, down, strict=True)) + "Z"
    add(panel.drawing.root, "path", {"d": path, "style": f"fill:{ACCENT};opacity:.16"})


def _threshold(panel: Panel, summary: Summary) -> None:
    panel.level(TARGET, colour=MUTED, width=0.7, dashes="4 3")
    panel.write(panel.x[0] + _WORDS_ASIDE, TARGET + _WORDS_UP, "9 in 10", colour=MUTED, anchor="start")
    if (amplitude := summary.typical.amplitude) is not None:
        at = float(np.log(amplitude))
        panel.curve(np.array([at, at]), np.array([0, TARGET]), colour=class_colour(0), width=1.1)
        panel.write(at, _WORDS_UP, f" {100 * amplitude:.1f} %", colour=class_colour(0), anchor="start", bold=True)


def _dot(panel: Panel, point: dict[str, Any], *, summary: Summary) -> None:
    """A share with its interval; the title shows when pointed at."""
    at = float(np.log(point["amplitude"])) if point["amplitude"] > 0 else _placebo(summary)
    panel.curve(np.array([at, at]), np.array([point["low"], point["high"]]), colour=INK, width=0.9)
    across, down = panel.at(at, point["share"])
    circle = {"cx": f"{float(across):.2f}", "cy": f"{float(down):.2f}", "r": f"{_DOT_PT}"}
    fill = INK if point["amplitude"] > 0 else "var(--surface)"
    element = add(panel.drawing.root, "circle", {**circle, "style": f"fill:{fill};{stroke(INK, width=1)}"})
    add(element, "title").text = f"{point['found']} of {point['trials']} found at amplitude {point['amplitude']:g}"
