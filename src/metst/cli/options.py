"""Options: those that several commands have, and how an option is made from the setting that it sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from typer.models import OptionInfo

    from metst.config import Settings

Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only errors.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more, down to each stage.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on the standard output.")]
OutputFolder = Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")]
LabelFiles = Annotated[
    list[Path] | None,
    typer.Option("--labels", help="Sheet with the labels, if it is not found; again for each, if there are several."),
]
Rate = Annotated[float | None, typer.Option("--fps", min=1, help="Frame rate of frame folders, in frames per second.")]
ModelName = Annotated[str, typer.Option("--model", help="Name of a packaged model, or a checkpoint folder.")]
ExpectedRate = Annotated[
    float | None,
    typer.Option(
        "--expected-per-min",
        help="Micro-expressions per minute that are to be expected: confidences are adjusted to that.",
        show_default="what the model was calibrated on",
    ),
]


def setting(settings: type[Settings], name: str, *options: str, at_least: float | None = None) -> OptionInfo:
    """The option that sets a field of settings: its help and its range are those of the field.

    The default of the command's parameter is the value of that field in settings without arguments.

    Parameters
    ----------
    settings : type of Settings
        Where the field is.
    name : str
        Of the field.
    options : str
        How the option is written, where not like the parameter of the command.
    at_least : float, optional
        Lower end of the range, where people need a narrower one or the field excludes its own.
    """
    field = settings.model_fields[name]
    assert field.description is not None
    low = next((bound.ge for bound in field.metadata if hasattr(bound, "ge")), at_least)
    high = next((bound.le for bound in field.metadata if hasattr(bound, "le")), None)
    option: OptionInfo = typer.Option(
        *options, min=low, max=high, help=f"{field.description[0].upper()}{field.description[1:]}."
    )
    return option
