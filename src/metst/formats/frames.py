"""Frames and the times of other programs: always through the container's timestamps, never by a frame rate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from metst.arrays import Float64Array, IntArray
from metst.coding.layers import LayerEvent, frames_of
from metst.errors import DataError
from metst.timeline import TimeGrid

MS_PER_S = 1000
"""Milliseconds of a second."""
_ALONE_S = 0.04
"""Length of the only frame of a recording, seconds, which no other tells: that of 25 frames a second.  Set by hand."""
_SLACK_FRAMES = 1.0
"""Frames by which a time may lie outside of the recording: programs differ in when a frame ends.  Set by hand."""


@dataclass(frozen=True, eq=False)
class FrameTimes:
    """When frames begin and end.

    Parameters
    ----------
    grid : TimeGrid
        Timestamps of the ``T`` frames of the recording.
    """

    grid: TimeGrid

    @cached_property
    def edges_s(self) -> Float64Array:
        """(T + 1,) when each frame begins, and when the last one ends: after as long as frames last in the median."""
        time_s = self.grid.time_s
        return np.append(time_s, time_s[-1] + (self.grid.frame_s or _ALONE_S))

    @cached_property
    def edges_ms(self) -> IntArray:
        """(T + 1,) the same in whole milliseconds, each of which leads back to its frame if frames last longer.

        Times before 0, which files in milliseconds cannot hold, are 0.
        """
        nearest = np.rint(self.edges_s * MS_PER_S).astype(np.int64)
        numbers = np.arange(len(nearest))
        for step in (-1, 1):  # half a millisecond from two frames, rounding may take the wrong one
            wrong = self._edge_at(nearest / MS_PER_S) != numbers
            moved = np.where(wrong, nearest + step, nearest)
            right = self._edge_at(moved / MS_PER_S) == numbers
            nearest = np.where(wrong & right, moved, nearest)
        return np.maximum(nearest, 0)

    def span_s(self, event: LayerEvent) -> tuple[float, float]:
        """When an event begins and ends, seconds."""
        return float(self.edges_s[event.onset]), float(self.edges_s[event.offset])

    def frame_span_s(self, frame: int) -> tuple[float, float]:
        """The same of one frame."""
        return float(self.edges_s[frame]), float(self.edges_s[frame + 1])

    def span_ms(self, event: LayerEvent) -> tuple[int, int]:
        """When an event begins and ends, whole milliseconds; at least one of them lies between."""
        return self._ms(event.onset, event.offset)

    def frame_span_ms(self, frame: int) -> tuple[int, int]:
        """The same of one frame."""
        return self._ms(frame, frame + 1)

    def _ms(self, first: int, after: int) -> tuple[int, int]:
        start = int(self.edges_ms[first])
        return start, max(int(self.edges_ms[after]), start + 1)

    def frames(self, start_s: float, end_s: float, *, what: str) -> tuple[int, int]:
        """Frames of an event between two times: 0-based and half-open, at least one.

        Parameters
        ----------
        start_s, end_s : float
            Seconds.
        what : str
            Which event, for people.

        Raises
        ------
        DataError
            It ends before it begins, or lies outside of the recording.
        """
        slack_s = self._slack_s
        first_s, last_s = float(self.edges_s[0]), float(self.edges_s[-1])
        if not start_s <= end_s:
            raise DataError(f"{what}: it ends at {end_s:.3f} s, before it begins at {start_s:.3f} s")
        # Other programs count from 0, also where the first frame comes later: an event may begin there.
        before = start_s < min(first_s, 0.0) - slack_s or end_s < first_s - slack_s
        if before or start_s >= last_s or end_s > last_s + slack_s:
            raise DataError(
                f"{what}: {start_s:.3f} to {end_s:.3f} s is not in the recording, which has {first_s:.3f} to"
                f" {last_s:.3f} s; is it of another video?"
            )
        onset, offset = self._edge_at(np.array([start_s, end_s])).tolist()
        onset = min(onset, len(self.grid) - 1)
        return onset, max(offset, onset + 1)

    def frame_in(self, time_s: float, *, onset: int, offset: int) -> int:
        """The frame of an event that begins nearest to a time.

        Raises
        ------
        DataError
            The time lies outside of the event by more than a frame.
        """
        first_s, after_s = float(self.edges_s[onset]), float(self.edges_s[offset])
        if not first_s - self._slack_s <= time_s <= after_s + self._slack_s:
            raise DataError(
                f"event of frames {onset + 1} to {offset}: its apex at {time_s:.3f} s is not in it, which has"
                f" {first_s:.3f} to {after_s:.3f} s"
            )
        return min(max(int(self._edge_at(np.array(time_s))), onset), offset - 1)

    def numbered(self, first: int, last: int, apex: int | None = None, *, what: str) -> tuple[int, int, int | None]:
        """Onset, offset and apex of an event that a file names by numbers from 1, both ends included.

        Raises
        ------
        DataError
            It ends before it begins, or lies outside of the recording.
        """
        if not 1 <= first <= last <= len(self.grid):
            raise DataError(
                f"{what}: frames {first} to {last} are none of the recording, which has 1 to {len(self.grid)}; is it of"
                " another video?"
            )
        return frames_of(first, last, apex)

    @property
    def _slack_s(self) -> float:
        return _SLACK_FRAMES * float(self.edges_s[-1] - self.edges_s[-2])

    @cached_property
    def _edges(self) -> TimeGrid:
        return TimeGrid(self.edges_s)

    def _edge_at(self, time_s: Float64Array) -> IntArray:
        return self._edges.frame_at(time_s)
