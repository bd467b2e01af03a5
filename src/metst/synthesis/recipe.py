"""What decides a planted clip, as the command line, a file and :func:`metst.synthesis.clip.write_clip` know it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError, model_validator

from metst.config import Codec, Settings
from metst.errors import DataError, UsageError
from metst.guard.limits import SETTINGS, check_file

# What a clip may be; set by hand, to refuse slips of the pen before a file is begun.
_SMALLEST_PX, _LARGEST_PX = 64, 8192
"""Of either side."""
_LONGEST_S = 24 * 3600
"""Seconds."""
_FASTEST_HZ = 1000
"""Frames per second."""
_FARTHEST = 0.15
"""How far patterns may move a region, face units: the corners of a full smile move so far."""

PATTERN_AMPLITUDE = 0.03
"""What a drawn pattern moves the farthest region by where nothing else is said, face units; set by hand."""


class ClipRecipe(Settings):
    """All that decides a planted clip; with the footage, where there is one, it rebuilds the clip bit by bit."""

    model_config = ConfigDict(allow_inf_nan=False)

    count: int = Field(10, ge=0, description="number of micro-expressions")
    amplitude: float = Field(
        0.2,
        ge=0,
        le=1,
        description="fraction of full contraction; with patterns, how far the farthest region moves, face units; "
        "0 only for a placebo",
    )
    amplitude_max: float | None = Field(
        None, gt=0, le=1, description="each amplitude is drawn between amplitude and this one; all alike when absent"
    )
    placebo: bool = Field(False, description="plant events that move nothing")
    start_s: float = Field(0.5, ge=0, description="start of the stretch to plant into, seconds")
    end_s: float | None = Field(None, ge=0, description="end of that stretch, seconds; the clip's end when absent")
    labels: tuple[str, ...] = Field(
        ("negative", "positive", "surprise"), description="classes, planted in equal numbers"
    )
    units: tuple[str, ...] = Field(
        (), description='mixes of action units such as "4+7", in equal numbers; those of the classes when empty'
    )
    patterns: str = Field(
        "",
        description="statistics of measured micro-expressions that patterns are drawn from in place of action units, a "
        ".npz file as it is seen from here or by name",
    )
    patterns_hash: str = Field("", description="hash of its content; another file is refused")
    durations_s: tuple[float, ...] = Field(
        (), description="durations, in equal numbers; drawn from the published distribution when empty"
    )
    seed: int = Field(1, ge=0, description="seed; the same seed gives the same clip")
    crf: int = Field(18, ge=0, le=51, description="quality of the clip; lower is better")
    codec: Codec = Field("h264", description="how the clip is compressed")
    duration_s: float = Field(20.0, gt=0, le=_LONGEST_S, description="length of a portrait or head clip, seconds")
    rate_hz: float = Field(30.0, gt=0, le=_FASTEST_HZ, description="frame rate of a portrait or head clip")
    size: tuple[int, int] | None = Field(
        None, description="width and height of a portrait clip, px; those of the portrait when absent"
    )
    noise_sigma: float = Field(1.5, ge=0, description="sensor noise of a portrait clip, grey levels")
    head: dict[str, Any] | None = Field(
        None, description="settings of a rendered head, those of metst.synthesis.heads; a portrait when absent"
    )
    footage: str = Field(
        "",
        description="video that is planted into, seen from here or by name; a portrait or a head if empty",
    )
    footage_hash: str = Field("", description="hash of its content; another file is refused")

    @model_validator(mode="after")
    def _fits(self) -> ClipRecipe:
        if self.amplitude == 0 and not self.placebo:
            raise UsageError("amplitude 0 plants nothing that moves: ask for a placebo if that is what you want")
        if self.placebo and (self.amplitude or self.amplitude_max):
            raise UsageError(f"a placebo has amplitude 0, got {self.amplitude:g}")
        if self.amplitude_max is not None and self.amplitude_max < self.amplitude:
            raise UsageError(f"amplitudes from {self.amplitude:g} to {self.amplitude_max:g}: the second is smaller")
        if self.patterns and self.units:
            raise UsageError("patterns are drawn in place of action units: leave out one of them")
        if self.patterns and self.head is not None:
            raise UsageError("a rendered head moves by action units only: leave out the head or the patterns")
        if self.patterns and (most := max(self.amplitude, self.amplitude_max or 0)) > _FARTHEST:
            what = "the amplitude of a pattern is how far its farthest region moves, in face units"
            raise UsageError(f"{what}: up to {_FARTHEST:g}, and 0.006 to 0.06 is micro; got {most:g}")
        if self.size is not None and not _SMALLEST_PX <= min(self.size) <= max(self.size) <= _LARGEST_PX:
            what = f"a clip of {self.size[0]}x{self.size[1]} px cannot be made"
            raise UsageError(f"{what}: width and height must lie between {_SMALLEST_PX} px and {_LARGEST_PX} px")
        return self


def read_recipe(file: Path) -> ClipRecipe:
    """The recipe that :func:`write_clip` put beside a clip, with its footage and its statistics of patterns where they
    are found from there.

    Raises
    ------
    UsageError
        There is no such file.
    DataError
        It is no recipe.
    """
    check_file(file, SETTINGS)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read as a recipe: {error}") from error
    try:
        recipe = ClipRecipe.model_validate_json(text)
    except ValidationError as error:
        where, reason = first_fault(error)
        raise DataError(f"{file} is no recipe of a clip: {where or 'the file'}: {reason}") from error
    found = {
        "footage": _found(file.parent, recipe.footage, content=recipe.footage_hash),
        "patterns": _found(file.parent, recipe.patterns, content=recipe.patterns_hash),
    }
    return recipe.model_copy(update={field: place for field, place in found.items() if place})


def _found(folder: Path, name: str, *, content: str) -> str:
    """Where the file of a recipe in this folder lies; empty if it is not there, or another."""
    near = folder / name
    if not name or not near.is_file():
        return ""
    from metst.video import content_hash  # the command line reads recipes' fields, and starts without what decodes

    return str(near.resolve()) if content_hash(near) == content else ""


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Where settings are wrong first (``"camera.width"``; empty: as a whole), and why."""
    first = error.errors()[0]
    return ".".join(str(part) for part in first["loc"]), first["msg"]
