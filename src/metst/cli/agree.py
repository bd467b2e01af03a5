"""``metst agree``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from metst.cli.console import console, print_json, table, talk
from metst.cli.options import AsJson, Quiet, Verbose


def agree(
    a: Annotated[
        Path, typer.Argument(metavar="A", help="Results, or a folder that holds some, or a file of another program.")
    ],
    b: Annotated[Path, typer.Argument(metavar="B", help="The same of whom it is compared with.")],
    coder_a: Annotated[
        str | None, typer.Option(help="Whose layer of A: a coder, or machine.", show_default="the only coder")
    ] = None,
    coder_b: Annotated[str | None, typer.Option(help="Whose layer of B.", show_default="the only coder")] = None,
    iou: Annotated[float, typer.Option(min=0.01, max=1, help="Lowest overlap at which two events are one.")] = 0.5,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Tell how well two coders agree, or a coder and the machine: kappa, alpha, edges, confusion of labels."""
    talk(quiet=quiet, verbose=verbose)
    from metst.formats.compared import compare

    found = compare(a, b, coder_a=coder_a, coder_b=coder_b, iou=iou)
    table(f"A {found['coder_a']}, B {found['coder_b']}", ["", ""], _figures(found))
    table("B behind A", ["edge", "pairs", "median", "mean", "quartiles", "mean distance", "mean in s"], _edges(found))
    rows = [[label, *map(str, row)] for label, row in zip(found["labels"], found["confusion"], strict=True)]
    table("Labels: A in rows, B in columns", ["", *found["labels"]], rows)
    for note in found["notes"]:
        console.print(f"[yellow]note:[/yellow] {escape(note)}")
    if as_json:
        print_json(found)


def _figures(found: dict[str, Any]) -> list[list[str]]:
    events = f"{found['events_a']} and {found['events_b']}, {found['matched']} in common at IoU {found['iou']:g}"
    alone = f"{found['agreed']} of one label, {found['only_a']} of A alone, {found['only_b']} of B"
    return [
        ["recordings", f"{found['recordings']}, {found['frames']} frames"],
        ["events", f"{events}; {alone}"],
        ["F1", f"{_told(found['f1'])}, with labels {_told(found['f1_labelled'])}"],
        ["Cohen's kappa", f"{_told(found['kappa'])} on events, {_told(found['kappa_frames'])} on frames"],
        ["Krippendorff's alpha", f"{_told(found['alpha'])} on frames"],
    ]


def _edges(found: dict[str, Any]) -> list[list[str]]:
    rows = []
    for edge in ("onset", "apex", "offset"):
        frames, seconds = found[edge]["frames"], found[edge]["seconds"]
        told = ["-"] * 5
        if frames:
            told = [f"{frames['median']:+g}", f"{frames['mean']:+.1f}"]
            told += [f"{frames['lower_quartile']:+g} to {frames['upper_quartile']:+g}"]
            told += [f"{frames['mean_absolute']:.1f}", f"{seconds['mean']:+.3f}" if seconds else "-"]
        rows.append([edge, str(found[edge]["pairs"]), *told])
    return rows


def _told(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.3f}"
