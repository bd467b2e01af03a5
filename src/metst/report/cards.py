"""One event as the page shows it: its row in the table and its card."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from markupsafe import Markup

from metst.arrays import Float32Array
from metst.errors import UsageError, VideoError
from metst.regions import REGIONS
from metst.report.condition_marks import hints
from metst.report.facemap import draw_facemap, enlargement
from metst.report.movement import onset_to_apex
from metst.report.plots import draw_close_up, strongest_regions
from metst.report.thumbnails import Face, data_uri, face_in, thumbnail
from metst.report.wording import clock, direction
from metst.results import Analysis
from metst.results.uncertainty import movement_uncertainty
from metst.threads import ahead
from metst.timeline import frame_for_people
from metst.video import read_colour_groups

MOMENTS: Final = ("onset", "apex", "offset")
"""Moments of an event that have a picture, in order."""

_REGIONS_NAMED: Final = 6  # that moved farthest, in the list beside the drawn face; set by hand
_REGIONS_SPOKEN: Final = 3  # of them, in the words that stand for the drawing


@dataclass(frozen=True)
class Moment:
    """Onset, apex or offset of an event."""

    name: str
    frame: int
    time_s: float

    @property
    def frame_number(self) -> int:
        """Counted from 1."""
        return int(frame_for_people(self.frame))

    @property
    def clock(self) -> str:
        """Time as m:ss.hh."""
        return clock(self.time_s, decimals=2)


@dataclass(frozen=True)
class Candidate:
    """One event as a row of the table."""

    number: int
    label: str
    colour: int
    confidence: float
    probability: tuple[float, ...]
    moments: tuple[Moment, ...]
    duration_s: float


@dataclass(frozen=True)
class Moved:
    """How one region moved from onset to apex: per cent of the eye distance, by how many they may be off along each
    axis (NaN where that is not known), share of the farthest, and whereto.
    """

    name: str
    per_cent: float
    uncertain: float
    share: float
    arrow: str
    words: str


@dataclass(frozen=True)
class Card:
    """One event close up; without ``facemap`` where its motion, without ``pictures`` where its face cannot be shown."""

    candidate: Candidate
    close_up: Markup
    facemap: Markup
    enlarged: float
    moved: tuple[Moved, ...]
    hints: tuple[str, ...]
    pictures: tuple[str, ...]

    @property
    def is_uncertain(self) -> bool:
        """Whether it is known of any region how far its movement may be off."""
        return any(math.isfinite(region.uncertain) for region in self.moved)


class Pictures:
    """Takes thumbnails from the video until that fails once; then ``problem`` says why there are none.

    They are made ahead, in a thread of their own: what is drawn meanwhile needs none of them.

    Parameters
    ----------
    analysis : Analysis
    events : sequence of int
        Whose pictures will be asked for, in this order.
    video : Path, optional
        The recording.
    blur : bool
        As in :func:`metst.report.thumbnails.thumbnail`.
    """

    def __init__(self, analysis: Analysis, events: Sequence[int], *, video: Path | None, blur: bool) -> None:
        self.problem = "the report was written without the video" if video is None else ""
        faces = {event: faces for event in events if (faces := _faces(analysis, event))}
        self._events = faces.keys() if video is not None else set()
        made = _thumbnails(analysis, faces, video=video, blur=blur) if video is not None and faces else iter(())
        self._made = ahead(made, most=max(1, len(faces)))  # a few kilobytes each

    def of(self, event: int) -> tuple[str, ...]:
        """Addresses of the pictures at onset, apex and offset; none where there is no video or no face."""
        if self.problem or event not in self._events:
            return ()
        try:
            made, pictures = next(self._made)
        except (UsageError, VideoError) as error:
            self.problem = f"the video could not be read again ({error})"
            return ()
        if made != event:
            raise ValueError(
                f"expected to be asked for the pictures of event {made}, got {event}: ask in the order given"
            )
        return pictures

    def close(self) -> None:
        """Leave those that nobody asked for."""
        self._made.close()


def _faces(analysis: Analysis, event: int) -> tuple[Face, ...]:
    """Where the face is at onset, apex and offset; empty where the event has none."""
    faces = [face_in(analysis, moment.frame, event=event) for moment in event_moments(analysis, event)]
    found = tuple(face for face in faces if face is not None)
    return found if len(found) == len(faces) else ()


def _thumbnails(
    analysis: Analysis, faces: Mapping[int, Sequence[Face]], *, video: Path, blur: bool
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Events with the addresses of their pictures; ``faces``: of each where its face is."""
    # Only a folder of images needs to be told its rate; a video has its own timestamps.
    rate_hz = analysis.source.rate_hz if video.is_dir() else None
    times_s = ([moment.time_s for moment in event_moments(analysis, event)] for event in faces)
    read = read_colour_groups(video, groups=times_s, rate_hz=rate_hz)
    for images, (event, shown) in zip(read, faces.items(), strict=True):
        apex = shown[MOMENTS.index("apex")]
        pictures = (
            thumbnail(image, face=face, around=apex, blur=blur) for image, face in zip(images, shown, strict=True)
        )
        yield event, tuple(map(data_uri, pictures))


def event_moments(analysis: Analysis, event: int) -> tuple[Moment, ...]:
    """Onset, apex and offset; the offset is the last frame of the event."""
    events, time_s = analysis.events, analysis.grid.time_s
    frames = (int(events.onset[event]), int(events.apex[event]), int(events.offset[event]) - 1)
    return tuple(Moment(name, frame, float(time_s[frame])) for name, frame in zip(MOMENTS, frames, strict=True))


def make_candidate(analysis: Analysis, event: int) -> Candidate:
    """The row of an event."""
    events, moments = analysis.events, event_moments(analysis, event)
    return Candidate(
        number=event + 1,
        label=events.label[event],
        colour=events.classes.index(events.label[event]),
        confidence=float(events.confidence[event]),
        probability=tuple(events.probability[event].tolist()),
        moments=moments,
        # The last frame is shown until the next one comes.
        duration_s=moments[-1].time_s - moments[0].time_s + analysis.grid.frame_s,
    )


def make_card(analysis: Analysis, event: int, *, pictures: Pictures) -> Card:
    """The card of an event."""
    onset, apex, _ = event_moments(analysis, event)
    displacement = onset_to_apex(analysis.motion.displacement, onset=onset.frame, apex=apex.frame)
    moved = _moved(displacement, movement_uncertainty(analysis.motion, first=onset.frame, last=apex.frame))
    facemap, enlarged = Markup(), 0.0
    if moved:
        label = "Drawn face; " + ", ".join(f"{region.name} moved {region.words}" for region in moved[:_REGIONS_SPOKEN])
        facemap = Markup(draw_facemap(displacement, key=f"map{event}", label=label))
        enlarged = enlargement(displacement)
    return Card(
        candidate=make_candidate(analysis, event),
        close_up=Markup(draw_close_up(analysis, event)),
        facemap=facemap,
        enlarged=enlarged,
        moved=moved,
        hints=hints(analysis, event),
        pictures=pictures.of(event),
    )


def _moved(displacement: Float32Array, uncertainty: Float32Array) -> tuple[Moved, ...]:
    """The regions that moved farthest, farthest first."""
    strongest = strongest_regions(displacement, count=_REGIONS_NAMED)
    distance = np.linalg.norm(displacement, axis=1).astype(float)
    farthest = max((distance[region] for region in strongest), default=0.0) or 1.0
    return tuple(
        Moved(
            REGIONS[i].name,
            100 * distance[i],
            100 * float(uncertainty[i]),
            distance[i] / farthest,
            *direction(*displacement[i].tolist()),
        )
        for i in strongest
    )
