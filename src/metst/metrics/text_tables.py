"""The result of a comparison as tables of text, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from metst.metrics.breakdown import OTHER_CLASS
from metst.metrics.figures import RATES

_CURVE_ROWS = 10
"""Thresholds of a curve that are printed, for a table that fits a screen. Set by hand."""
_RATES = ("precision", "recall", "F1")
"""Headings of the rates."""
_COUNTS = ("hits", "false alarms", "misses")
"""Headings of the counts."""


class TextTable(NamedTuple):
    """Title, names of the columns, rows of as many cells."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables_for_people(result: Mapping[str, Any]) -> list[TextTable]:
    """What :func:`~metst.metrics.score_tables` returned as tables of text."""
    return [
        _conditions(result),
        *_spotting(result),
        *_recognition(result),
        *([_curve(result["curve"])] if "curve" in result else []),
        *_intervals(result),
    ]


def _conditions(result: Mapping[str, Any]) -> TextTable:
    """How it was scored."""
    videos, ends = result["videos"], result["interval_convention"]
    counted = f"{videos['counted']} ({videos['rule']}); {videos['without_truth']} of them without truth"
    rows: list[tuple[str, ...]] = [
        ("scorer", result["scorer"]),
        ("a hit", f"IoU >= {result['iou']:g} on frames from {result['frame_base']}, both ends {ends}"),
        ("classes", ", ".join(result["classes"])),
        ("videos", f"{counted}, {videos['ignored']} ignored"),
        ("subjects", str(result["subjects"])),
    ]
    if result["threshold"] is not None:
        rows.append(("confidence", f">= {result['threshold']:g}"))
    return TextTable("How it was scored", ("rule", "value"), rows)


def _spotting(result: Mapping[str, Any]) -> Iterator[TextTable]:
    spotting = result["spotting"]
    means = _figures(spotting, ("mean_iou", "false_alarms_per_video"))
    columns = (*_COUNTS, *_RATES)
    yield TextTable("Spotting", (*columns, "mean IoU", "false alarms per video"), [_counted(spotting) + means])
    for kind in ("false_alarms", "misses"):
        causes = spotting[kind]
        names = tuple(cause.replace("_", " ") for cause in causes)
        yield TextTable(f"{kind.replace('_', ' ').capitalize()} by cause", names, [tuple(map(str, causes.values()))])
    by_class = [(name, *_counted(row)) for name, row in spotting["per_class"].items()]
    yield TextTable("Spotting by class (false alarms: predicted class)", ("class", *columns), by_class)
    by_duration = [(_band(row), *_counted(row)) for row in spotting["per_duration"]]
    yield TextTable("Spotting by duration (false alarms: their own)", ("duration", *columns), by_duration)
    by_subject = [
        (name, str(row["videos"]), *_counted(row), str(row["pairs"]), str(row["right"]))
        for name, row in result["per_subject"].items()
    ]
    yield TextTable("By subject", ("subject", "videos", *columns, "classes compared", "right"), by_subject)


def _recognition(result: Mapping[str, Any]) -> Iterator[TextTable]:
    recognition, names = result["recognition"], result["classes"]
    per_class = [(name, *_figures(row, RATES), str(row["support"])) for name, row in recognition["per_class"].items()]
    means = ("all", *_figures(recognition, RATES), str(recognition["pairs"]))
    yield TextTable(f"Recognition: {len(names)} classes", ("class", *_RATES, "hits"), [*per_class, means])
    confusion = zip(names, recognition["confusion"], strict=True)
    rows = [(name, *map(str, row)) for name, row in confusion]
    yield TextTable("True class by predicted class", ("", *names, OTHER_CLASS), rows)
    together = _figures(result["spotting"], ("f1",)) + _figures(recognition, ("f1", "uf1", "uar"))
    columns = ("spotting F1", "recognition F1", "UF1", "UAR", "STRS")
    yield TextTable("Spotting and recognition", columns, [together + _figures(result, ("strs",))])


def _curve(curve: Mapping[str, Any]) -> TextTable:
    """Some rows of the curve, and the best."""
    columns = (*RATES, "false_alarms_per_video")
    length = len(curve["threshold"])
    shown = np.unique(np.linspace(0, length - 1, min(length, _CURVE_ROWS)).round().astype(int)).tolist()
    rows = [
        (f"{curve['threshold'][i]:g}", *_figures({name: curve[name][i] for name in columns}, columns), "")
        for i in shown
    ]
    if best := curve.get("best"):
        rows.append((f"{best['threshold']:g}", *_figures(best, columns), best["note"]))
    title = f"Spotting by threshold of the confidence ({len(shown)} of {length} thresholds)"
    return TextTable(title, ("threshold", *_RATES, "false alarms per video", ""), rows)


def _intervals(result: Mapping[str, Any]) -> Iterator[TextTable]:
    if ends := result.get("confidence_intervals"):
        rows = [(_named(name), *_ends(interval)) for name, interval in ends.items()]
        yield TextTable("95 % over resamples of the subjects", ("figure", "from", "to"), rows)
    if against := result.get("against"):
        rows = [
            (_named(name), f"{change['value']:+.4f}", *_ends(change.get("interval")))
            for name, change in against["difference"].items()
        ]
        columns = ("figure", "difference", "95 % from", "to")
        yield TextTable("Minus the other table, paired by subject", columns, rows)


def _band(row: Mapping[str, Any]) -> str:
    if row["below"] is None:
        return f"{row['from']:g} {row['unit']} or more"
    return f"{row['from']:g} to below {row['below']:g} {row['unit']}"


def _named(figure: str) -> str:
    return figure.upper() if figure in ("strs", "uf1", "uar") else figure.replace("_", " ").replace("f1", "F1")


def _ends(interval: Sequence[float] | None) -> tuple[str, ...]:
    return tuple(f"{end:.4f}" for end in interval) if interval else ("-", "-")


def _counted(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (str(row["tp"]), str(row["fp"]), str(row["fn"]), *_figures(row, RATES))


def _figures(source: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{source[name]:.4f}" for name in names)
