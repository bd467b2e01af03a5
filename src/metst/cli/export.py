"""``metst export``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from metst.cli.console import console, ended_with, named, talk
from metst.cli.options import Quiet, Verbose
from metst.errors import OutputError, UsageError
from metst.formats.names import FormatName
from metst.guard.faults import Fault, all_or_none, guarded
from metst.spelling.names import given_name

Format = Literal["onnx", "megc", FormatName]
Part = Literal["cas", "samm"]


def export(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="onnx: a packaged model or checkpoint folder. Others: results."),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="File to write; its folder with --data-set, and for several results."),
    ],
    to: Annotated[
        Format,
        typer.Option(
            "--format",
            help="onnx: a network to run elsewhere. megc: a submission to the grand challenge. Others: for the program"
            " of that name.",
        ),
    ] = "onnx",
    batch: Annotated[int, typer.Option(min=1, help="onnx: sequences scored side by side.")] = 1,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="onnx: the graph takes any number of frames at a time instead of one."),
    ] = False,
    data_set: Annotated[Part | None, typer.Option(help="megc: write cas_pred.csv or samm_pred.csv.")] = None,
    names: Annotated[Path | None, typer.Option(help="megc: CSV with the columns input, subject, video.")] = None,
    drop_others: Annotated[bool, typer.Option("--drop-others", help="megc: leave out the class others.")] = False,
    unchecked: Annotated[
        bool,
        typer.Option("--unchecked", help="Read tables of results as they are, also those that were changed by hand."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write what other programs read: results for annotation, a challenge submission, or a network as an ONNX file."""
    talk(quiet=quiet, verbose=verbose)
    if to != "megc" and (data_set is not None or names is not None or drop_others):
        raise UsageError("--data-set, --names and --drop-others belong to --format megc")
    if to != "onnx" and whole:
        raise UsageError("--whole belongs to --format onnx")
    if to == "onnx":
        if unchecked:
            raise UsageError("--unchecked belongs to results, not to --format onnx")
        _network(sources, output, batch=batch, whole=whole, overwrite=overwrite)
    elif to != "megc":
        _layers([Path(source) for source in sources], output, to=to, overwrite=overwrite, check=not unchecked)
    else:
        _submission(
            sources, output, part=data_set, names=names, drop_others=drop_others, overwrite=overwrite,
            check=not unchecked,
        )  # fmt: skip


def _network(sources: list[str], output: Path, *, batch: int, whole: bool, overwrite: bool) -> None:
    from metst.models.checkpoint import load_model
    from metst.models.onnx import export_onnx

    if len(sources) != 1:
        raise UsageError(f"--format onnx takes one model, got {len(sources)}: {', '.join(sources)}")
    model = load_model(sources[0])
    with console.status(escape(f"exporting {model.info.name}")):
        export_onnx(model, output, batch=batch, whole=whole, overwrite=overwrite)
    console.print(escape(f"{output}: network {model.info.name}, compared with PyTorch"))


def _layers(folders: list[Path], output: Path, *, to: FormatName, overwrite: bool, check: bool) -> None:
    from metst.formats.conversion import FORMATS, export_results

    targets = [(folder, output / f"{given_name(folder)}{FORMATS[to].suffix}") for folder in folders]
    if len({path for _, path in targets}) < len(targets):
        raise UsageError("several results have one name, and would have one file: give them one after the other")
    problems = []
    for folder, path in targets if len(folders) > 1 else [(folders[0], output)]:
        work = partial(export_results, folder, path, to=to, overwrite=overwrite, check=check)
        # One folder alone fails with the exit code of its error; of several each has its turn.
        coding = guarded(work, name=folder.name, let_through=(OutputError,)) if len(folders) > 1 else work()
        if isinstance(coding, Fault):
            problems.append(coding.message)
            console.print(f"[red]failed:[/red] {escape(named(folder, coding.message))}")
            continue
        for layer in coding.layers:
            console.print(escape(f"{path}: layer {layer.coder}, {len(layer.events)} events"))
    if code := ended_with(problems, failed=len(problems), of=len(folders)):
        raise typer.Exit(code)


def _submission(
    sources: list[str],
    output: Path,
    *,
    part: Part | None,
    names: Path | None,
    drop_others: bool,
    overwrite: bool,
    check: bool,
) -> None:
    from metst.formats.megc import name_results, read_submitted, submission_path, write_submission

    folders = [Path(source) for source in sources]
    path = submission_path(output, part=part)
    names_of = name_results(folders, names=names)
    with console.status(f"reading {len(folders)} results"):
        analyses = list(zip(names_of, all_or_none(partial(read_submitted, check=check), folders), strict=True))
    done = write_submission(analyses, path, drop_others=drop_others, overwrite=overwrite)
    for folder, (subject, video) in zip(folders, done.names, strict=True):
        console.print(escape(f"{folder}: subject {subject}, video {video}"))
    left_out = f", {done.left_out} left out (no class that is scored)" if done.left_out else ""
    console.print(escape(f"{done.path}: {done.rows} intervals of {len(folders)} videos{left_out}"))
