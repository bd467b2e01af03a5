"""Plants movements into footage: the table's, those of real statistics, or for a placebo none, all on one way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from plan import ClipPlan

from metst.config import FaceSettings
from metst.errors import FaceError
from metst.face import track_face
from metst.regions import LANDMARK_COUNT, OUTER_EYE_CORNERS, REGION_NAMES
from metst.results import table_of
from metst.storage import make_folder, whole_file, write_parts
from metst.synthesis.action_units import Contraction, FacePose, control_points, mix_displacement
from metst.synthesis.clip import truth_table
from metst.synthesis.events import EMOTION_UNITS, PlantedEvent, draw_schedule
from metst.synthesis.inject import inject_events
from metst.synthesis.patterns import PatternStatistics
from metst.synthesis.region_fields import region_points
from metst.synthesis.trajectories import region_response
from metst.timeline import TimeGrid
from metst.video import read_colour_stream, read_frames, write_video

FACTS = ("region", "peak", "peak_px", "table_cosine")
"""Columns of a truth beside those of :func:`metst.synthesis.clip.truth_table`."""

Values = npt.NDArray[np.float64]
_ONE_SIDE: tuple[Contraction, ...] = ((1.0, 0.0), (0.0, 1.0))
_BOTH_SIDES: tuple[Contraction, ...] = (1.0,)


@dataclass(frozen=True, eq=False)
class Track:
    """The face in every frame of a footage.

    Parameters
    ----------
    time_s : (T,) float64
    landmarks : (T, 68, 2) float64
        px; NaN where there is no face.
    """

    time_s: Values
    landmarks: Values

    @cached_property
    def response(self) -> Values:
        """How far each region of this face moves per unit of each control point, ``(18, 74)``."""
        seen = self.landmarks[np.isfinite(self.landmarks).all(axis=(1, 2))]
        shape = np.median([FacePose.from_landmarks(points).to_face(points) for points in seen], axis=0)
        pixels, masks = region_points(np.asarray(shape))
        return region_response(control_points(shape), points=pixels, masks=masks)

    @cached_property
    def table(self) -> dict[str, Values]:
        """Movements of the regions for every mix of the table that a class lists, ``(M, 18, 2)``, by class."""
        return {
            label: np.stack(
                [
                    self.response @ mix_displacement(dict.fromkeys(units, halves))
                    for _, units, one_sided in mixes
                    for halves in (_ONE_SIDE if one_sided else _BOTH_SIDES)
                ]
            )
            for label, mixes in EMOTION_UNITS.items()
        }

    def eye_distance_px(self, time_s: float) -> float:
        """Distance of the outer eye corners in the frame at a moment."""
        points = self.landmarks[np.abs(self.time_s - time_s).argmin()]
        left, right = points[list(OUTER_EYE_CORNERS)]
        return float(np.hypot(*(right - left)))


def track_of(footage: Path, *, kept: Path) -> Track:
    """Track the face, or read what an earlier build kept of that.

    Raises
    ------
    FaceError
        No frame shows a face.
    """
    if kept.is_file():
        with np.load(kept) as values:
            return Track(values["time_s"], values["landmarks"])
    time_s: list[float] = []
    landmarks: list[Values] = []
    reasons: Counter[str] = Counter()
    for found in track_face(read_frames(footage), settings=FaceSettings(landmark_interval_s=0.0)):
        time_s.append(found.frame.time_s)
        if found.face is None:
            reasons[found.reason] += 1
        unseen = np.full((LANDMARK_COUNT, 2), np.nan)
        landmarks.append(unseen if found.face is None else found.face.landmarks.astype(np.float64))
    if not landmarks or not np.isfinite(landmarks).any():
        why = reasons.most_common(1)[0][0] if reasons else "it has no frames"
        raise FaceError(f"{footage.name} shows no face to plant into ({why}): leave it out of the plan")
    track = Track(np.array(time_s), np.stack(landmarks))
    make_folder(kept.parent)
    with whole_file(kept) as part, part.open("wb") as file:
        np.savez_compressed(file, time_s=track.time_s, landmarks=track.landmarks)
    return track


def plant(folder: Path, *, clip: ClipPlan, footage: Path, track: Track, patterns: PatternStatistics | None) -> None:
    """Write ``planted.mp4`` and ``truth.csv``; a placebo has gone the same way, and its truth is empty."""
    end_s = min(float(track.time_s[-1]), clip.end_s if clip.end_s is not None else np.inf)
    events = draw_schedule(
        np.random.default_rng(clip.seed), count=clip.count, start_s=clip.start_s, end_s=end_s,
        amplitude=clip.amplitude, patterns=patterns if clip.field == "patterns" else None,
    )  # fmt: skip
    told = () if clip.placebo else tuple(sorted(events, key=lambda event: event.onset_s))
    truth = truth_table(told, grid=TimeGrid(track.time_s), video=clip.name, subject=clip.person)
    pictures = (frame.rgb for frame in read_colour_stream(footage))
    images = inject_events(pictures, landmarks=track.landmarks, time_s=track.time_s, events=events)
    make_folder(folder)
    write_parts(folder / "truth.csv", table_of(truth | facts_of(told, track=track)).csv_parts())
    write_video(folder / "planted.mp4", images, times_s=track.time_s.tolist(), crf=clip.crf, codec=clip.codec)


def facts_of(events: tuple[PlantedEvent, ...], *, track: Track) -> dict[str, list[str] | Values]:
    """Of each event the region that goes farthest, how far, and how like the most similar mix of its class it is."""
    moved = [displacement(event, track=track) for event in events]
    region = [int(np.hypot(*each.T).argmax()) for each in moved]
    peak = np.array([np.hypot(*each[i]) for i, each in zip(region, moved, strict=True)])
    values: tuple[list[str] | Values, ...] = (
        [REGION_NAMES[i] for i in region],
        peak,
        peak * [track.eye_distance_px(event.apex_s) for event in events],
        np.array(
            [best_cosine(each, table=track.table[event.label]) for each, event in zip(moved, events, strict=True)]
        ),
    )
    return dict(zip(FACTS, values, strict=True))


def displacement(event: PlantedEvent, *, track: Track) -> Values:
    """How far each region goes, ``(18, 2)``, as shares of the distance of the outer eye corners."""
    if event.pattern is not None:
        return np.asarray(event.pattern, dtype=np.float64)
    return np.asarray(track.response @ mix_displacement(event.units))


def best_cosine(moved: Values, *, table: Values) -> float:
    """Cosine of a movement of all regions ``(18, 2)`` with the most similar of ``(M, 18, 2)``."""
    flat = table.reshape(len(table), -1)
    return float((flat @ moved.ravel() / (np.linalg.norm(flat, axis=1) * np.linalg.norm(moved))).max())
