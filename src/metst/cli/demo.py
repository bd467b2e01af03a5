"""``metst demo``: a portrait that makes known micro-expressions, and what is found of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from metst.cli.console import console, print_json, progress, table, talk
from metst.cli.options import AsJson, ModelName, OutputFolder, Quiet, Verbose
from metst.synthesis.recipe import ClipRecipe

if TYPE_CHECKING:
    from metst.arrays import OnProgress
    from metst.results import Analysis
    from metst.synthesis.clip import Clip

DEMO_RECIPE = ClipRecipe(count=8, amplitude=0.25, duration_s=20.0)
"""The clip of the demonstration: short, and movements stronger than micro ones (0.05-0.2). Set by hand."""

_IOU = 0.5
"""Lowest overlap that counts as found, the usual one of the field."""


def demo(
    output: OutputFolder = Path("metst-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the clip.")] = 1,
    model: ModelName = "metst-event",
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make a clip with known micro-expressions, analyse it, compare found with planted."""
    talk(quiet=quiet, verbose=verbose)
    with progress("demo") as on_progress:
        outcome = run_demo(output, seed=seed, model=model, on_progress=on_progress)
    table("Planted and found", list(outcome.columns), [list(row) for row in outcome.rows])
    console.print(outcome.summary)
    console.print(escape(f"Report: {outcome.report}"))
    if as_json:
        print_json(outcome.as_dict())


@dataclass(frozen=True)
class DemoOutcome:
    """What was planted, what was found, where the report is."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    planted: int
    found: int
    false_alarms: int
    report: Path

    @property
    def summary(self) -> str:
        """One sentence for people."""
        return f"{self.found} of {self.planted} planted movements found, {self.false_alarms} false alarms."

    def as_dict(self) -> dict[str, Any]:
        """The counts, for machines."""
        return {
            "planted": self.planted,
            "found": self.found,
            "false_alarms": self.false_alarms,
            "report": str(self.report),
        }


def run_demo(folder: Path, *, seed: int, model: str, on_progress: OnProgress | None = None) -> DemoOutcome:
    """Make the clip, analyse it, match found with planted (one to one, IoU >= 0.5), write the report."""
    from metst.analyze import analyze
    from metst.report import write_report
    from metst.results import write_analysis
    from metst.synthesis.clip import write_clip

    clip = write_clip(folder, recipe=DEMO_RECIPE.model_copy(update={"seed": seed}), on_progress=on_progress)
    analysis = analyze(clip.video, model=model, on_progress=on_progress)
    write_analysis(analysis, folder)
    report = folder / "report.html"
    write_report(analysis, report, video=clip.video, on_progress=on_progress)
    return _compare(clip, analysis, report=report)


def _compare(clip: Clip, analysis: Analysis, *, report: Path) -> DemoOutcome:
    import numpy as np

    from metst.metrics import interval_iou, match_intervals
    from metst.synthesis.inject import truth_intervals

    truth, events = truth_intervals(clip.events, grid=clip.grid), analysis.events
    time_s = clip.grid.time_s
    iou = interval_iou(
        np.stack([events.onset, events.offset - 1], axis=1), np.stack([truth.onset, truth.offset - 1], axis=1)
    )
    pairs = {int(t): int(p) for p, t in match_intervals(iou, threshold=_IOU)}
    rows = []
    for i, label in enumerate(truth.label):
        planted = f"{time_s[truth.onset[i]]:.2f}-{time_s[truth.offset[i] - 1]:.2f}"
        if i in pairs:
            p = pairs[i]
            found = f"{time_s[events.onset[p]]:.2f}-{time_s[events.offset[p] - 1]:.2f}"
            rows.append((planted, label, found, events.label[p], f"{events.confidence[p]:.0%}", f"{iou[p, i]:.2f}"))
        else:
            rows.append((planted, label, "-", "-", "-", "-"))
    return DemoOutcome(
        columns=("planted s", "class", "found s", "class found", "confidence", "IoU"),
        rows=tuple(rows),
        planted=len(truth),
        found=len(pairs),
        false_alarms=len(events) - len(pairs),
        report=report,
    )
