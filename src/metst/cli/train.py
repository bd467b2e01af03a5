"""``metst train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metst.cli.console import Quiet, Verbose, console, progress, talk
from metst.errors import UsageError


def train(
    output: Annotated[Path, typer.Option("-o", "--output", help="Checkpoint folder to write.")],
    recipe: Annotated[str, typer.Option(help="Named recipe: starter.")] = "starter",
    steps: Annotated[int | None, typer.Option(min=1, help="Number of steps; the recipe's when absent.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of data and weights.")] = 100,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a model on simulated facial motion."""
    talk(quiet=quiet, verbose=verbose)
    from metst.train import RECIPES, train_model

    if recipe not in RECIPES:
        raise UsageError(f"unknown recipe {recipe!r}: expected one of {', '.join(RECIPES)}")
    with progress("train") as on_progress:
        info = train_model(output, recipe=RECIPES[recipe], steps=steps, seed=seed, on_progress=on_progress)
    console.print(f"{output}: {info.trained_on}")
