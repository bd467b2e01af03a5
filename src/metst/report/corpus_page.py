"""Many analyses at a glance: a table for other programs, and a page that leads to the report of each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from metst.report.html import page_style, page_template
from metst.spelling.names import without_folders, without_their_place
from metst.storage import csv_bytes, write_whole
from metst.timeline import counted

SUMMARY_COLUMNS = ("name", "input", "folder", "duration_s", "events", "events_per_min", "classes", "usable_share",
                   "conditions", "model", "problems", "person", "consent", "delete_by")  # fmt: skip
"""Columns of ``summary.csv``; folders are relative to its own, inputs to the folder that they share."""


def is_summary(path: Path) -> bool:
    """Whether a file is such a table, of this version or an earlier one."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().startswith(",".join(SUMMARY_COLUMNS[:4]))
    except (OSError, ValueError):
        return False


def write_summary(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Write one row per recording, those that failed with their error as problem and no figures.

    Parameters
    ----------
    lines : sequence of dict
        One per recording, as the folder of its results gives it.
    path : Path
        The CSV file.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    root = path.parent
    write_whole(path, csv_bytes(SUMMARY_COLUMNS, (_row(line, root=root) for line in _without_places(lines, root=root))))


def _without_places(lines: Sequence[dict[str, Any]], *, root: Path) -> list[dict[str, Any]]:
    """Lines that name recordings by what is below the folder they share, and tell of no folder of this machine."""
    told = partial(without_folders, known=[root, *(Path(line["input"]).parent for line in lines)])
    named = without_their_place([line["input"] for line in lines])
    result = [line | {"input": name} for line, name in zip(lines, named, strict=True)]
    for line, new in zip(lines, result, strict=True):
        if "error" in line:
            new["error"] = told(line["error"].replace(line["input"], new["input"]))
        else:
            new["problems"] = [told(problem) for problem in line["problems"]]
    return result


def _row(line: dict[str, Any], *, root: Path) -> list[Any]:
    if "error" in line:
        told = {"name": Path(line["input"]).name, "input": line["input"], "problems": line["error"]}
    else:
        told = line | {
            "folder": _place(line, root=root).as_posix(),
            "classes": counted(line["labels"]),
            "conditions": _conditions(line),
            "problems": "; ".join(line["problems"]),
        }
    return [told.get(column, "") for column in SUMMARY_COLUMNS]


def write_corpus_page(lines: Sequence[dict[str, Any]], path: Path, *, report: str) -> None:
    """Write the page.

    Parameters
    ----------
    lines : sequence of dict
        As for :func:`write_summary`.
    path : Path
        The HTML file; links are relative to its folder.
    report : str
        Name of the page in the folder of each recording.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    lines = _without_places(lines, root=path.parent)
    done = [line for line in lines if "error" not in line]
    page = page_template("metst.report", "corpus.html.j2").render(
        lines=lines,
        done=[line | _for_people(line, root=path.parent, report=report) for line in done],
        failed=[line for line in lines if "error" in line],
        total_s=sum(line["duration_s"] for line in done),
        events=sum(line["events"] for line in done),
        models=sorted({line["model"] for line in done}),
        style=page_style(),
    )
    write_whole(path, page.encode())


def _for_people(line: dict[str, Any], *, root: Path, report: str) -> dict[str, str]:
    place = _place(line, root=root)
    return {
        "title": place.as_posix(),
        "link": quote(f"./{(place / report).as_posix()}"),  # a name may hold what means something else in an address
        "classes": counted(line["labels"]),
        "misleading": _conditions(line, unit="\N{NO-BREAK SPACE}%"),
    }


def _place(line: dict[str, Any], *, root: Path) -> Path:
    return Path(os.path.relpath(line["folder"], root))


def _conditions(line: dict[str, Any], *, unit: str = "%") -> str:
    """``speech 12.0%, blink 3.1%``: in order of their bits."""
    return ", ".join(f"{word} {100 * share:.1f}{unit}" for word, share in line["conditions"].items())
