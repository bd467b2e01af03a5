"""What decides a calibration besides its recording and its model: light, for the command line makes options of it."""

from __future__ import annotations

from typing import Final

from pydantic import Field, model_validator

from metst.config import Settings
from metst.errors import UsageError

SLOT_S: Final = 1.1
"""A moment for one movement, seconds: the longest one planted, and rest on both sides."""

REST_S: Final = 0.25
"""Nothing is planted so close to the ends of a moment, seconds."""

_SHORTEST_S = 0.1
"""Movements that are shorter are not planted, seconds: three frames at 30 frames per second.  Set by hand."""

_LONGEST_S = SLOT_S - 2 * REST_S
"""What a moment leaves for a movement, seconds."""


class TrialSettings(Settings):
    """What is planted."""

    amplitudes: tuple[float, ...]
    durations_s: tuple[float, ...]
    labels: tuple[str, ...]
    repeats: int
    seed: int

    @property
    def count(self) -> int:
        """Number of trials, before what is left of the last pass is filled with placebos."""
        return len(self.amplitudes) * len(self.durations_s) * len(self.labels) * self.repeats


class CalibrateSettings(Settings):
    """All that decides a calibration besides its recording and its model."""

    amplitudes: tuple[float, ...] = Field(
        (0.0, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3), description="fractions of full contraction; 0 is the placebo"
    )
    durations_s: tuple[float, ...] = Field((0.2, 0.35, 0.5), description="onset to offset, seconds")
    labels: tuple[str, ...] = Field(("negative", "positive", "surprise"), description="classes that are planted")
    repeats: int = Field(2, ge=1, le=100, description="trials per amplitude, duration and class")
    crf: int = Field(18, ge=0, le=51, description="H.264 quality of the planted recordings")
    seed: int = Field(1, ge=0, description="seed; the same seed gives the same figures")
    resamples: int = Field(300, ge=20, le=10_000, description="bootstrap samples for the bands")

    @model_validator(mode="after")
    def _sensible(self) -> CalibrateSettings:
        amplitudes = self.amplitudes
        if any(not 0 <= value <= 1 for value in amplitudes) or len(set(amplitudes)) < len(amplitudes):
            raise UsageError(f"amplitudes must lie between 0 and 1, each once; got {_listed(amplitudes)}")
        if sum(value > 0 for value in amplitudes) < 2:
            raise UsageError(f"a curve needs at least two amplitudes above 0; got {_listed(amplitudes) or 'none'}")
        if not self.durations_s or any(not _SHORTEST_S <= value <= _LONGEST_S for value in self.durations_s):
            raise UsageError(
                f"durations must lie between {_SHORTEST_S:g} and {_LONGEST_S:g} s; got {_listed(self.durations_s)}"
            )
        if len(set(self.durations_s)) < len(self.durations_s):
            raise UsageError(f"durations must be named once each; got {_listed(self.durations_s)}")
        from metst.synthesis.events import EMOTION_UNITS  # the command line reads defaults without it

        if unknown := [label for label in self.labels if label not in EMOTION_UNITS]:
            raise UsageError(f"unknown class {unknown[0]!r}: expected some of {', '.join(EMOTION_UNITS)}")
        if not self.labels:
            raise UsageError("name at least one class to plant")
        if len(set(self.labels)) < len(self.labels):
            raise UsageError(f"classes must be named once each; got {', '.join(self.labels)}")
        return self

    def trials(self) -> TrialSettings:
        """What is planted; placebos belong to every calibration."""
        amplitudes = tuple(sorted({0.0, *self.amplitudes}))
        return TrialSettings(
            amplitudes=amplitudes,
            durations_s=self.durations_s,
            labels=self.labels,
            repeats=self.repeats,
            seed=self.seed,
        )


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
