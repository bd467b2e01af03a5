"""What one analysis found, as a value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metst.arrays import BoolArray
from metst.errors import DataError
from metst.results.motion import Motion
from metst.timeline import Intervals, Series, TimeGrid, counted, data_frame, number_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Source:
    """The recording that was analysed; sizes in pixels as displayed.

    ``path`` is its name as well: the folders above it are told to nobody that the results are handed to.  What has
    the same ``content_hash`` is the same recording.  ``changed``: somebody wrote to it while it was read, and what was
    found may belong to neither content.
    """

    name: str
    path: str
    width: int
    height: int
    frames: int
    duration_s: float
    rate_hz: float
    codec: str
    content_hash: str = ""
    changed: bool = False


@dataclass(frozen=True)
class Custody:
    """Whose recording it is, and how long its results may be kept; all of it as the user said it, or empty.

    Parameters
    ----------
    person : str
        Name or code of the person.
    consent : str
        Reference to the consent.
    delete_by : date, optional
        The last day on which the results may be there.
    """

    person: str = ""
    consent: str = ""
    delete_by: date | None = None

    def expired(self, today: date) -> bool:
        """Whether that day is over."""
        return self.delete_by is not None and self.delete_by < today

    @property
    def said(self) -> dict[str, str]:
        """What was said, by name; days as ISO 8601 has them."""
        words = {"person": self.person, "consent": self.consent}
        words["delete_by"] = "" if self.delete_by is None else self.delete_by.isoformat()
        return {name: each for name, each in words.items() if each}


@dataclass(frozen=True)
class Gap:
    """Frames ``start`` up to, not including, ``stop`` (0-based) that could not be used, and why."""

    start: int
    stop: int
    reason: str


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything that one analysis found, over the ``T`` frames of the recording.

    Parameters
    ----------
    source : Source
        The recording.
    scores : Series (T, 1 + K)
        Channels ``spot_score`` and ``p_<class>``, in [0, 1].
    motion : Motion
        What the scores were made from: motion of the regions, where the face was, why a frame could not be used.
    events : Intervals
        The movement candidates; called, as ``analysis.events()``, they are a data frame.
    model : dict of str
        ``name``, ``trained_on``, ``mode``, ...
    settings : dict
        The resolved settings, plain JSON values.
    problems : tuple of str
        What was wrong with the recording, for people.
    version, created : str
        Version of the product; ISO 8601 date and time.
    seconds : float
        How long the analysis took.
    custody : Custody
        Whose it is, and until when.
    motion_algorithm : int
        :data:`metst.motion.cache.FORMAT` of what measured the motion; 0 where nobody can tell.

    Raises
    ------
    DataError
        The parts do not belong together.
    """

    source: Source
    scores: Series
    motion: Motion
    events: Intervals
    model: dict[str, str]
    settings: dict[str, Any]
    problems: tuple[str, ...]
    version: str
    created: str
    seconds: float
    custody: Custody = Custody()
    motion_algorithm: int = 0

    def __post_init__(self) -> None:
        count = len(self.scores)
        if len(self.motion) != count:
            raise DataError(f"an analysis of {count} frames needs motion of as many, got {len(self.motion)}")
        if self.scores.channels[0] != "spot_score" or not all(c.startswith("p_") for c in self.scores.channels[1:]):
            raise DataError(f"score channels must be spot_score, p_<class>...; got {', '.join(self.scores.channels)}")
        if unknown := set(self.events.label) - set(self.events.classes):
            raise DataError(f"events of class {', '.join(sorted(unknown))}: expected {', '.join(self.events.classes)}")
        if len(self.events) and (self.events.onset.min() < 0 or self.events.offset.max() > count):
            raise DataError(f"an event lies outside the {count} frames of the analysis")
        object.__setattr__(self, "events", replace(self.events, grid=self.grid))

    def __repr__(self) -> str:
        source, found = self.source, counted(self.events.label)
        what = f"{number_of(self.events, 'candidate')}{': ' if found else ''}{found}"
        return f"Analysis({source.name!r}, {source.duration_s:.1f} s, {len(self.scores)} frames; {what})"

    def _repr_html_(self) -> str:
        from metst.results.notebook import summary_of

        return summary_of(self)

    @property
    def grid(self) -> TimeGrid:
        """Timestamps of the ``T`` frames."""
        return self.scores.grid

    @property
    def usable(self) -> BoolArray:
        """(T,) true where the frame could be used."""
        return self.motion.usable

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Runs of frames that could not be used, one per run and reason."""
        reasons = self.motion.reason
        starts = [i for i in range(len(reasons)) if i == 0 or reasons[i] != reasons[i - 1]]
        runs = zip(starts, [*starts[1:], len(reasons)], strict=True)
        return tuple(Gap(start, stop, reasons[start]) for start, stop in runs if reasons[start])

    @property
    def threshold(self) -> float | None:
        """Absolute score a peak had to reach; None under a rule whose threshold is relative to the video."""
        value = self.settings.get("decode", {}).get("peak_threshold")
        return None if value is None else float(value)

    def frames(self, *, motion: bool = False) -> pd.DataFrame:
        """As a data frame, one row per frame, with the columns of ``frames.csv``.

        Parameters
        ----------
        motion : bool
            Add those of ``motion.csv``: displacement, quality, uncertainty and conditions of each region.

        Raises
        ------
        UsageError
            pandas is not installed.
        """
        from metst.results.tables import frame_table, motion_table

        tables = [frame_table(self), motion_table(self)] if motion else [frame_table(self)]
        return data_frame({name: column for table in tables for name, column in table.by_column().items()})

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw score, candidates and gaps over time with Matplotlib.

        Parameters
        ----------
        axes : matplotlib.axes.Axes, optional
            Where; without it on a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            What was drawn on.

        Raises
        ------
        UsageError
            Matplotlib is not installed.
        """
        from metst.results.plot import draw_timeline

        return draw_timeline(self, axes)

    def save(self, folder: str | Path, *, motion_format: str = "csv") -> Path:
        """Write the tables and ``analysis.json``, as :func:`metst.write_analysis`; ``metst.read(folder)`` reads them.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        UsageError, OutputError
            As there.
        """
        from metst.results.analysis_folder import write_analysis

        write_analysis(self, folder, motion_format=motion_format)
        return Path(folder)
