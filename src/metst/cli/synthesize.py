"""``metst synthesize``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metst.cli.console import Quiet, Verbose, console, progress, talk


def synthesize(
    video: Annotated[Path | None, typer.Argument(help="Footage to plant into; a portrait when absent.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for clip, truth and recipe.")] = Path(
        "planted"
    ),
    count: Annotated[int, typer.Option(min=0, help="Number of micro-expressions.")] = 10,
    amplitude: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction of full contraction; 0.05-0.2 is micro.")
    ] = 0.2,
    start: Annotated[float, typer.Option(min=0, help="Start of the stretch to plant into, seconds.")] = 0.5,
    end: Annotated[
        float | None, typer.Option(min=0, help="End of that stretch, seconds; the clip's end when absent.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed; the same seed gives the same clip.")] = 1,
    crf: Annotated[int, typer.Option(min=0, max=51, help="H.264 quality of the clip; lower is better.")] = 18,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Plant known micro-expressions into real footage or into a portrait."""
    talk(quiet=quiet, verbose=verbose)
    from metst.synthesis.clip import ClipRecipe, write_clip

    recipe = ClipRecipe(count=count, amplitude=amplitude, start_s=start, end_s=end, seed=seed, crf=crf)
    with progress("synthesize") as on_progress:
        clip = write_clip(output, recipe=recipe, footage=video, on_progress=on_progress)
    console.print(f"Clip: {clip.video}\nTruth: {clip.truth}")
