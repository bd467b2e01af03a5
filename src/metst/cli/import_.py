"""``metst import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from metst.cli.console import console, print_json, progress, talk
from metst.cli.options import AsJson, Quiet, Rate, Verbose
from metst.formats.names import ImportName


def import_(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What another program wrote.")],
    of: Annotated[ImportName, typer.Option("--format", help="Its format.")],
    video: Annotated[Path, typer.Option(help="The recording: its timestamps tell which frames are meant.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of results: new, or of the same recording.")],
    coders: Annotated[
        list[str] | None, typer.Option("--layer", help="Only this tier, coder or observer; again for each.")
    ] = None,
    fps: Rate = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace layers of the same coders.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Put what was coded in another program beside the results of a recording, or into results of its own."""
    talk(quiet=quiet, verbose=verbose)
    from metst.formats.conversion import import_file

    with progress(video.name) as on_progress:
        done = import_file(
            path, output, of=of, video=video, rate_hz=fps, coders=coders or (), overwrite=overwrite,
            on_progress=on_progress,
        )  # fmt: skip
    for layer in done.layers:
        console.print(escape(f"{output}: layer {layer.coder}, {len(layer.events)} events"))
    for note in done.notes:
        console.print(f"[yellow]note:[/yellow] {escape(note)}")
    if as_json:
        print_json({"layers": {layer.coder: len(layer.events) for layer in done.layers}, "notes": list(done.notes)})
