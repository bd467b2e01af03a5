"""The published form of ``metst evaluate``: cached features and released checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from metst.cli.console import console, progress, table
from metst.published.facts import Follow, HalfDuration, TrainedOn

if TYPE_CHECKING:
    from metst.config import Strategy

# What the stages of an evaluation are called in its tables.
_STAGES = {"raw": "raw", "after_strategy": "strategy"}

PANEL = "Published test: --published"
"""Title of these options in the help of the command."""


DataSetOption = Annotated[
    TrainedOn | None, typer.Option(help="Rerun the published test on this data set.", rich_help_panel=PANEL)
]
FeaturesOption = Annotated[
    list[Path],
    typer.Option(
        help="The authors' cached features: a file, each of several parts, or a folder.", rich_help_panel=PANEL
    ),
]
CheckpointsOption = Annotated[
    Path | None,
    typer.Option(help="Folder with one checkpoint per subject, released or converted.", rich_help_panel=PANEL),
]
LabelsOption = Annotated[
    Path | None, typer.Option(help="Folder of the data set, or of its label sheets only.", rich_help_panel=PANEL)
]
HalfDurationOption = Annotated[
    HalfDuration, typer.Option(help="As published, or from the other subjects of each.", rich_help_panel=PANEL)
]
FollowOption = Annotated[
    Follow,
    typer.Option(
        help="Windows become a curve as the papers describe it, or as the authors' program does.",
        rich_help_panel=PANEL,
    ),
]
OrderOption = Annotated[
    Path | None,
    typer.Option(help="CSV subject, video: the order of the videos in the cache.", rich_help_panel=PANEL),
]
ErrataOption = Annotated[
    bool, typer.Option("--errata/--no-errata", help="Correct known errors of the sheets.", rich_help_panel=PANEL)
]
TrainingSubjectsOption = Annotated[
    bool, typer.Option("--allow-training-subjects", help="Score subjects that a model was trained on.")
]


@dataclass(frozen=True)
class PublishedTest:
    """A published test as the options ask for it; each field is what its option says."""

    data_set: TrainedOn
    features: list[Path]
    checkpoints: Path
    labels: Path
    strategy: Strategy
    k_p: HalfDuration
    follow: Follow
    order: Path | None
    errata: bool
    allow_training_subjects: bool


def rerun_published(test: PublishedTest, *, output: Path) -> tuple[dict[str, Any], bool]:
    """Rerun a published test and print what came of it.

    Returns
    -------
    dict
        The evaluation.
    bool
        Whether labels were left out because they cannot be used.
    """
    from metst.datasets import load_dataset
    from metst.reproduction import evaluate_published, read_features, write_evaluation

    with console.status(escape(f"reading {test.labels}")):
        data_set = load_dataset(test.labels, kind=test.data_set, errata=test.errata)
    with console.status("reading the features"):
        windows = read_features(test.features)
    with progress(test.data_set) as on_progress:
        evaluation = evaluate_published(
            data_set,
            windows,
            checkpoints=test.checkpoints,
            strategy=test.strategy,
            k_p=test.k_p,
            follow=test.follow,
            order=test.order,
            allow_training_subjects=test.allow_training_subjects,
            on_progress=on_progress,
        )
    result = evaluation.result
    result["protocol"]["errata"] = test.errata
    write_evaluation(evaluation, output)
    _show(result, output=output)
    return result, any(tally.left_out for tally in data_set.tallies)


def _show(result: dict[str, Any], *, output: Path) -> None:
    protocol, found = result["protocol"], result["found"]
    half = sorted(set(protocol["k_p"].values()))
    console.print(
        escape(
            f"{protocol['network']} on {protocol['data_set']}: {found['subjects']} subjects, {found['videos']} videos,"
            f" {found['micro_expressions']} micro-expressions; {protocol['rule']} rule, k_p {protocol['k_p_from']}"
            f" ({', '.join(map(str, half))}), strategy {protocol['strategy']}, as in the {protocol['follows']}"
        )
    )
    table("Spotting, IoU >= 0.5", ["scorer", "stage", "hits", "false alarms", "misses", "F1"], _spotting(result))
    columns = ["scorer", "stage", "classes", "pairs", "F1", "UF1", "UAR", "STRS"]
    table("Recognition", columns, _recognition(result))
    for scorer, what in protocol["scorers"].items():
        console.print(escape(f"{scorer}: {what}"))
    if protocol["strategy"] != 1 and result["published"]:
        console.print("The published counts are those of strategy 1.")
    for subject in result["trained_on"]:
        console.print(f"[bold red]subject {escape(subject)} was scored by a model that was trained on it[/bold red]")
    for warning in result["warnings"]:
        console.print(f"[yellow]note:[/yellow] {escape(warning)}")
    if faults := len(result["label_faults"]):
        console.print(f"[yellow]note:[/yellow] inconsistencies of the labels: {faults} (see evaluation.json)")
    console.print(escape(f"{output}: evaluation.json, predictions.csv, truth.csv, order.csv"))


def _spotting(result: dict[str, Any]) -> list[list[str]]:
    rows = []
    for scorer, stages in result["scorers"].items():
        for stage, figures in stages.items():
            spotting = figures["spotting"]
            counts = [str(spotting[name]) for name in ("tp", "fp", "fn")]
            rows.append([scorer, _STAGES[stage], *counts, f"{spotting['f1']:.4f}"])
    for target in result["published"]:
        stage, counts = target["stage"], [str(target[name]) for name in ("tp", "fp", "fn")]
        rows.append([f"published ({target['scorer']})", _STAGES.get(stage, f"stage {stage}"), *counts, ""])
    return rows


def _recognition(result: dict[str, Any]) -> list[list[str]]:
    rows = []
    for scorer, stages in result["scorers"].items():
        for stage, figures in stages.items():
            for classes in ("3", "4"):
                scores = figures[f"classes_{classes}"]
                recognition = scores["recognition"]
                numbers = [f"{recognition[name]:.4f}" for name in ("f1", "uf1", "uar")]
                rows.append(
                    [scorer, _STAGES[stage], classes, str(recognition["pairs"]), *numbers, f"{scores['strs']:.4f}"]
                )
    return rows
