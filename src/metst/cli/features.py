"""``metst features``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from metst.cli.console import console, print_json, talk
from metst.cli.options import AsJson, Quiet, Verbose

features = typer.Typer(help="Folders of features, which metst extract writes.", no_args_is_help=True)


@features.callback()
def _group() -> None:
    """Folders of features, which metst extract writes."""


@features.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(help="Folders of features of one data set.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for all of them; without features yet.")],
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Put features together that were extracted in parts, on several machines or one after the other."""
    talk(quiet=quiet, verbose=verbose)
    from metst.datasets.merging import merge_features

    index = merge_features(folders, output)
    console.print(escape(f"{output}: {len(index.videos)} videos of {len(index.subjects)} subjects"))
    if as_json:
        print_json({"folder": str(output), "videos": len(index.videos), "subjects": len(index.subjects)})
