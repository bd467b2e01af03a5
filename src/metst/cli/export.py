"""``metst export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from metst.cli.console import Quiet, Verbose, console, talk
from metst.errors import UsageError

Format = Literal["onnx"]


def export(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="A packaged model or checkpoint folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")],
    to: Annotated[Format, typer.Option("--format", help="What to write: onnx, a network to run elsewhere.")] = "onnx",
    batch: Annotated[int, typer.Option(min=1, help="Sequences scored side by side.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write what other programs read: a network as an ONNX file, one frame per step."""
    talk(quiet=quiet, verbose=verbose)
    from metst.checkpoint import load_model
    from metst.export import export_onnx

    if len(sources) != 1:
        raise UsageError(f"--format {to} takes one model, got {len(sources)}: {', '.join(sources)}")
    model = load_model(sources[0])
    with console.status(f"exporting {model.info.name}"):
        export_onnx(model, output, batch=batch, overwrite=overwrite)
    console.print(f"{output}: network {model.info.name}, compared with PyTorch")
