"""What one analysis found, in one line of a table over many: small enough to be kept beside each of ten thousand."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from metst.config import Settings
from metst.errors import DataError
from metst.results.analysis import Analysis, Custody
from metst.results.flags import WORDS, face_conditions
from metst.storage import faults_in_words, sealed, unsealed_as, write_whole

OVERVIEW_FILE = "overview.json"
"""The line, in the folder of an analysis."""

_MINUTE_S = 60.0
"""Seconds."""
_DIGITS = 4
"""Decimals of shares, confidences and rates. Set by hand."""


class Overview(Settings):
    """One analysis in numbers."""

    name: str = Field(description="of the recording's file or folder")
    duration_s: float = Field(ge=0, description="length, seconds")
    events_per_min: float = Field(ge=0, description="candidates per minute of the recording")
    usable_share: float = Field(ge=0, le=1, description="share of the frames that could be used")
    labels: tuple[str, ...] = Field(description="class of each candidate")
    confidence: tuple[float, ...] = Field(description="probability of each candidate")
    conditions: dict[str, float] = Field(description="what may mislead, and in which share of the frames")
    model: str = Field(description="name of the model")
    problems: tuple[str, ...] = Field(description="what was wrong with the recording, for people")
    outputs: dict[str, Any] = Field(description="what was asked of the files beside this one")
    person: str = Field("", description="whose recording it is, as the user said")
    consent: str = Field("", description="reference to the consent, as the user said")
    delete_by: str = Field("", description="last day on which the results may be there, ISO 8601")

    @property
    def events(self) -> int:
        """Candidates."""
        return len(self.labels)

    @property
    def custody(self) -> Custody:
        """Whose it is, and until when."""
        last = date.fromisoformat(self.delete_by) if self.delete_by else None
        return Custody(self.person, self.consent, last)


def overview_of(analysis: Analysis, *, outputs: dict[str, Any]) -> Overview:
    """An analysis in numbers.

    Parameters
    ----------
    analysis : Analysis
        What was found.
    outputs : dict
        What was asked of its files, plain JSON values.
    """
    events, duration_s = analysis.events, analysis.source.duration_s
    flags = face_conditions(analysis.motion.conditions)
    shares = {word: round(float((flags & bit > 0).mean()), _DIGITS) for bit, word in WORDS.items() if len(flags)}
    return Overview(
        name=analysis.source.name,
        duration_s=duration_s,
        events_per_min=round(_MINUTE_S * len(events) / duration_s, _DIGITS) if duration_s else 0.0,
        usable_share=round(float(analysis.usable.mean()), _DIGITS) if len(analysis.grid) else 0.0,
        labels=tuple(events.label),
        confidence=tuple(round(float(value), _DIGITS) for value in events.confidence),
        conditions={word: share for word, share in shares.items() if share},
        model=analysis.model["name"],
        problems=analysis.problems,
        outputs=outputs,
        **analysis.custody.said,
    )


def write_overview(overview: Overview, folder: Path) -> None:
    """Write ``overview.json``.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    write_whole(folder / OVERVIEW_FILE, sealed(overview.model_dump_json(indent=1)))


def read_overview(folder: Path) -> Overview:
    """Read ``overview.json``.

    Raises
    ------
    DataError
        There is none that can be read.
    """
    path = folder / OVERVIEW_FILE
    try:
        return unsealed_as(Overview, path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): analyse the recording again") from error
    except DataError as error:
        raise DataError(f"{path}: {error}; analyse the recording again") from error
    except ValidationError as error:
        raise DataError(f"{path} is not valid ({faults_in_words(error)}): analyse the recording again") from error
