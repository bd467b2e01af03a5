"""``metst convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from metst.cli.console import console, talk
from metst.cli.options import Quiet, Verbose
from metst.published.facts import TrainedOn


def convert(
    released: Annotated[Path, typer.Argument(help="A released checkpoint (.pkl).")],
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    data_set: Annotated[TrainedOn, typer.Option(help="Data set it was trained on.")] = "casme3",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a checkpoint that is there.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Turn a released checkpoint into a checkpoint folder, without running code from it."""
    talk(quiet=quiet, verbose=verbose)
    from metst.models.convert import convert_released

    info = convert_released(released, output, data_set=data_set, overwrite=overwrite)
    console.print(escape(f"{output}: network {info.network.name}"))
