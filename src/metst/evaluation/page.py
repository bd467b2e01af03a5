"""The page of an evaluation: figures, how each fold was trained, and where it fails; one file that loads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from metst.metrics import tables_for_people
from metst.metrics.text_tables import TextTable
from metst.report.drawing import ACCENT, LINE, MUTED, Box, Drawing, Panel, class_colour
from metst.report.html import page_style, page_template
from metst.report.ticks import Tick, number_ticks
from metst.storage import write_whole
from metst.timeline import MINUTE_S

# Of a drawing, in points.  All sizes here were set by eye.
_WIDTH, _HEIGHT = 380.0, 190.0
# Of its panel: room for numbers to the left, and for numbers and a title below.
_BOX: Final = Box(46, 16, 320, 132)
_MOST_LEVELS, _MOST_ACROSS = 5, 7  # marks beside the panel, and below it
# Lines, in points: a fold or a figure beside the one that counts, and that one.
_HISTORY_WIDTHS: Final = (0.5, 1.6)
_CURVE_WIDTHS: Final = (0.9, 1.6)
# Room above the highest point, as a share of it.
_HISTORY_ROOM, _CURVE_ROOM = 1.05, 1.02
# Names of the curves: the first and the distance between them as shares of the width, and their height.
_FIRST_NAME, _NAME_DISTANCE, _NAME_HEIGHT = 0.2, 0.3, 0.93
# Of the title, below the panel, as a share of the panel's height.
_TITLE_BELOW = 0.24


def write_run_report(result: dict[str, Any], path: Path) -> None:
    """Write the page of what :func:`metst.evaluation.outcome.evaluate_run` returned.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    page = page_template("metst.evaluation", "run.html.j2").render(
        result=result,
        folds=len(result["folds"]),
        summary=summary_tables(result),
        greedy=authors_greedy(result),
        variants=[_variant(name, values, key=f"v{i}") for i, (name, values) in enumerate(result["variants"].items())],
        style=page_style(),
    )
    write_whole(path, page.encode())


def summary_tables(result: dict[str, Any]) -> list[TextTable]:
    """The figures of all variants, and what the further ones are better or worse than the first."""
    spotting, recognition = [], []
    for name, variant in result["variants"].items():
        for scorer in ("strict", "greedy"):
            figures, four = variant[scorer], variant[scorer]["with_others"]
            counted = figures["spotting"]
            ends = figures["confidence_intervals"].get("spotting_f1")
            interval = f"{ends[0]:.3f} to {ends[1]:.3f}" if ends and scorer == "strict" else ""
            counts = [str(counted[count]) for count in ("tp", "fp", "fn")]
            spotting.append((name, scorer, *counts, f"{counted['f1']:.4f}", interval))
            numbers = (figures["recognition"]["f1"], figures["strs"], four["recognition"]["f1"], four["strs"])
            recognition.append((name, scorer, *(f"{number:.4f}" for number in numbers)))
    tables = [
        TextTable("Spotting", ("variant", "scorer", "hits", "false alarms", "misses", "F1", "95 %"), spotting),
        TextTable(
            "Recognition of the hits, and STRS, with 3 classes and with others as a fourth",
            ("variant", "scorer", "F1 (3)", "STRS (3)", "F1 (4)", "STRS (4)"),
            recognition,
        ),
    ]
    if result["differences"]:
        columns = ("variant", "figure", "difference", "95 % from", "to")
        title = f"Strict, minus {result['differences'][0]['minus']}, paired by subject"
        tables.append(TextTable(title, columns, list(_differences(result["differences"]))))
    return tables


def authors_greedy(result: dict[str, Any]) -> str:
    """Whose figures of the scorer greedy are counted by another rule than those of the other rows; empty for none."""
    names = [name for name, values in result["variants"].items() if "raw" in values["greedy"]]
    if not names:
        return ""
    return (
        f"Greedy of {', '.join(names)} is counted as the authors' programs count: in frames of the network, intervals"
        " not clipped to the video, and a detection that the strategy deletes is deleted after the matching, so that"
        " its hit becomes a miss. Of other rows it is deleted before: compare these with each other by strict."
    )


def _differences(compared: Sequence[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for row in compared:
        for figure, words in (("spotting_f1", "spotting F1"), ("recognition_f1", "recognition F1"), ("strs", "STRS")):
            ends = [f"{end:+.4f}" for end in row[figure].get("interval") or ()] or ["-", "-"]
            yield row["variant"], words, f"{row[figure]['value']:+.4f}", *ends


def _variant(name: str, values: dict[str, Any], *, key: str) -> dict[str, Any]:
    """All that the page shows of one variant."""
    histories = [fold["epochs"] for fold in values["training"].values()]
    seconds = [fold["seconds"] for fold in values["training"].values()]
    curve = values["strict"].get("curve")
    drawings = []
    if any(histories):
        drawings.append(_history(histories, "loss", title="training loss by epoch", key=f"{key}-loss"))
    if any(epoch["validation"] is not None for epochs in histories for epoch in epochs):
        title = "spotting F1 on the validation subjects by epoch"
        drawings.append(_history(histories, "validation", title=title, key=f"{key}-validation"))
    if curve and len(curve["threshold"]) > 1:
        drawings.append(_threshold_curve(curve, key=f"{key}-curve"))
    return {
        "name": name,
        "about": _about(values),
        "trained": any(histories),
        "seen": ", ".join(values.get("trained_on_tested") or ()),
        "minutes": sum(seconds) / MINUTE_S,
        "drawings": [Markup(svg) for svg in drawings],
        "tables": tables_for_people(values["strict"]),
        "notes": values["strict"]["notes"],
    }


def _about(values: dict[str, Any]) -> str:
    """What a variant is, in a sentence."""
    if "model" in values:
        known = "" if values["trained_on_tested"] is not None else "; it does not say which subjects it was trained on"
        return f"Model {values['model']['name']} as it is, trained on {values['model']['trained_on']}{known}"
    if "threshold" in values:
        lowest, highest = min(values["threshold"].values()), max(values["threshold"].values())
        start = values["recipe"]["start"]
        before = f"from the weights of the packaged {start}" if start else "from fresh weights"
        return f"Own network {values['recipe']['name']}, {before}, thresholds {lowest:.2f} to {highest:.2f}"
    half = ", ".join(map(str, sorted(set(values["k_p"].values()))))
    return f"Recipe {values['recipe']['name']}, strategy {values['strategy']}, k_p {half}"


def _history(histories: Sequence[Sequence[dict[str, Any]]], what: str, *, title: str, key: str) -> str:
    """One thin line per fold, their mean thick."""
    longest = max(len(epochs) for epochs in histories)
    lines = np.full((len(histories), longest), np.nan)
    for row, epochs in zip(lines, histories, strict=True):
        row[: len(epochs)] = [np.nan if epoch[what] is None else epoch[what] for epoch in epochs]
    top = float(np.nanmax(lines, initial=0.0)) or 1.0
    drawing, numbers = Drawing(_WIDTH, _HEIGHT, key=key, label=title), np.arange(1.0, longest + 1)
    panel = drawing.panel(_BOX, x=(1, max(longest, 2)), y=(0, _HISTORY_ROOM * top))
    _axes(panel, title=title, across=number_ticks(*panel.x, most=_MOST_ACROSS, whole=True))
    for row in lines:
        panel.curve(numbers, row, colour=MUTED, width=_HISTORY_WIDTHS[0])
    counted = np.isfinite(lines).sum(axis=0)
    mean = np.nansum(lines, axis=0) / np.maximum(counted, 1)
    panel.curve(numbers, np.where(counted == len(lines), mean, np.nan), colour=ACCENT, width=_HISTORY_WIDTHS[1])
    return drawing.svg()


def _threshold_curve(curve: dict[str, Any], *, key: str) -> str:
    """Precision, recall and F1 where only surer detections count."""
    title = "spotting by threshold of the confidence"
    drawing = Drawing(_WIDTH, _HEIGHT, key=key, label=title)
    levels = np.array(curve["threshold"])
    panel = drawing.panel(_BOX, x=(float(levels.min()), float(levels.max())), y=(0, _CURVE_ROOM))
    _axes(panel, title=title, across=number_ticks(*panel.x, most=_MOST_ACROSS))
    for place, (name, words) in enumerate((("precision", "precision"), ("recall", "recall"), ("f1", "F1"))):
        colour = ACCENT if name == "f1" else class_colour(place)
        panel.curve(levels, np.array(curve[name]), colour=colour, width=_CURVE_WIDTHS[name == "f1"])
        at = panel.x[0] + (_FIRST_NAME + _NAME_DISTANCE * place) * (panel.x[1] - panel.x[0])
        panel.write(at, _NAME_HEIGHT, words, colour=colour, bold=name == "f1")
    return drawing.svg()


def _axes(panel: Panel, *, title: str, across: Sequence[Tick]) -> None:
    ticks = number_ticks(*panel.y, most=_MOST_LEVELS)
    for tick in ticks:
        panel.level(tick.value, colour=LINE, width=0.4)
    panel.frame()
    panel.y_ticks(ticks)
    panel.x_ticks(across)
    middle = panel.x[0] + (panel.x[1] - panel.x[0]) / 2
    panel.write(middle, panel.y[0] - _TITLE_BELOW * (panel.y[1] - panel.y[0]), title, colour=MUTED)
