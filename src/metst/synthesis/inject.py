"""Plants movements into pictures of real faces: a portrait set in motion, or real footage.

The displacement fields of :mod:`metst.synthesis.action_units` and :mod:`metst.synthesis.region_fields`
live in face coordinates, so they follow the head.  A frame is resampled once, by its displacement only
and as sharp as it was (:mod:`metst.synthesis.resample`): light, texture, noise and background stay those
of the source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from metst.arrays import BoolArray, Float32Array, Float64Array, Image
from metst.errors import UsageError
from metst.synthesis.action_units import FacePose, control_points, field_weights, mix_displacement
from metst.synthesis.events import PlantedEvent
from metst.synthesis.region_fields import region_field_weights
from metst.synthesis.resample import HALF_TAPS, FinePicture, to_picture
from metst.synthesis.smoothing import gaussian_over_time
from metst.timeline import Intervals, TimeGrid, true_runs

FIELD_LEFT, FIELD_TOP, FIELD_RIGHT, FIELD_BOTTOM, FIELD_STEP = -1.2, -1.0, 1.2, 1.8, 0.03
"""Extent and step of the sampled field in face units: brow to chin with room to fade out; set by hand."""

_MARGIN_PX = HALF_TAPS  # reach of the resampling filter beyond the part that moves
_DRIFT_PX = 32  # a portrait goes on, mirrored, this far beyond its edges: what drift and roll bring into view; by hand
_STEADY_S = 0.08  # landmarks are smoothed over this: standard deviation of the Gaussian; set by hand
_WARM_UP = 8  # standard deviations of the smoothing: noise that is drawn beyond the clip's length


@dataclass(frozen=True, eq=False)
class PlantedFields:
    """The displacement fields of a list of events on one face.

    Parameters
    ----------
    events : tuple of PlantedEvent
        What is planted.
    fields : (E, H, W, 2) float32
        Displacement at each event's apex over the field grid, face units.
    """

    events: tuple[PlantedEvent, ...]
    fields: Float32Array

    @classmethod
    def for_face(cls, landmarks: npt.ArrayLike, events: Sequence[PlantedEvent]) -> PlantedFields:
        """Fields for a face whose typical landmarks are ``(68, 2)``, px."""
        xs = np.arange(FIELD_LEFT, FIELD_RIGHT, FIELD_STEP)
        ys = np.arange(FIELD_TOP, FIELD_BOTTOM, FIELD_STEP)
        grid = np.stack(np.meshgrid(xs, ys), axis=-1)
        points = grid.reshape(-1, 2)
        of_units = field_weights(points, control=control_points(landmarks))
        patterned = any(event.pattern is not None for event in events)
        of_regions = region_field_weights(points, landmarks=landmarks) if patterned else np.empty(0)
        fields = np.zeros((len(events), *grid.shape), dtype=np.float32)
        for i, event in enumerate(events):
            moved = of_units @ mix_displacement(event.units) if event.pattern is None else of_regions @ event.pattern
            fields[i] = moved.reshape(grid.shape)
        return cls(tuple(events), fields)

    def at(self, time_s: float) -> Float32Array | None:
        """Total field at one moment ``(H, W, 2)``, or None while nothing moves."""
        shares = np.array([float(event.profile(time_s)) for event in self.events], dtype=np.float32)
        active = np.flatnonzero(shares > 0)
        return np.tensordot(shares[active], self.fields[active], axes=1) if active.size else None


def displacement_map(points: Float32Array, *, field: Float32Array, pose: FacePose) -> Float32Array:
    """Where each displaced pixel comes from.

    Parameters
    ----------
    points : (H, W, 2) float32
        Pixel positions (x, y) in the image ``pose`` refers to.
    field : (h, w, 2) float32
        Displacement over the field grid, face units.
    pose : FacePose
        Pose of the face in that image.

    Returns
    -------
    (H, W, 2) float32
        Source position ``s`` of each pixel ``p`` with ``s + u(s) = p``, by two fixed-point steps: the
        field is smooth and its gradient well below 1.
    """
    linear = pose.matrix[:, :2].astype(np.float32)
    to_cell = np.linalg.inv(pose.matrix[:, :2]).astype(np.float32) / np.float32(FIELD_STEP)
    first = (pose.to_face(np.zeros(2)) - np.array([FIELD_LEFT, FIELD_TOP])) / FIELD_STEP
    source = points
    for _ in range(2):
        cell = source @ to_cell.T + first.astype(np.float32)
        moved = cv2.remap(field, cell, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        source = points - moved @ linear.T
    return np.asarray(source, dtype=np.float32)


def warp_frame(image: Image, *, field: Float32Array | None, pose: FacePose) -> Image:
    """One frame with the field applied; the very same frame while nothing moves."""
    if field is None:
        return image
    height, width = image.shape[:2]
    corners = np.array([[x, y] for x in (FIELD_LEFT, FIELD_RIGHT) for y in (FIELD_TOP, FIELD_BOTTOM)])
    box = corners @ pose.matrix[:, :2].T + pose.matrix[:, 2]
    left, top = np.clip(np.floor(box.min(axis=0)).astype(int), 0, [width, height])
    right, bottom = np.clip(np.ceil(box.max(axis=0)).astype(int), 0, [width, height])
    if right <= left or bottom <= top:
        return image
    points = np.stack(np.meshgrid(np.arange(left, right), np.arange(top, bottom)), axis=-1).astype(np.float32)
    source = displacement_map(points, field=field, pose=pose)
    first_x, first_y = max(left - _MARGIN_PX, 0), max(top - _MARGIN_PX, 0)
    fine = FinePicture(image[first_y : bottom + _MARGIN_PX, first_x : right + _MARGIN_PX])
    out = image.copy()
    out[top:bottom, left:right] = to_picture(fine.at(source - np.array([first_x, first_y], np.float32)))
    return out


def inject_events(
    frames: Iterable[Image], *, landmarks: Float64Array, time_s: Float64Array, events: Sequence[PlantedEvent]
) -> Iterator[Image]:
    """Real footage with movements planted along the tracked face.

    Parameters
    ----------
    frames : iterable of (H, W) or (H, W, 3) uint8
        The footage.
    landmarks : (T, 68, 2) float64
        Tracked landmarks, px; NaN where there is no face.  They are smoothed over time here: a jitter of
        the tracker must not become a motion of the face.
    time_s : (T,) float64
        Timestamps.
    events : sequence of PlantedEvent
        What to plant.

    Returns
    -------
    iterator of uint8 images
        Each frame in order; made one by one.

    Raises
    ------
    UsageError
        An event falls on frames without a face.
    """
    valid = np.asarray(np.isfinite(landmarks).all(axis=(1, 2)))
    for event in events:
        inside = (time_s >= event.onset_s) & (time_s <= event.offset_s)
        if not inside.any() or not valid[inside].all():
            span = f"{event.onset_s:.2f}-{event.offset_s:.2f} s"
            raise UsageError(f"cannot plant an event at {span}: the face is not visible there; choose another moment")
    return _injected(frames, landmarks=landmarks, valid=valid, time_s=time_s, events=events)


def _injected(
    frames: Iterable[Image],
    *,
    landmarks: Float64Array,
    valid: BoolArray,
    time_s: Float64Array,
    events: Sequence[PlantedEvent],
) -> Iterator[Image]:
    if not valid.any() or not events:
        yield from frames
        return
    aligned = np.stack([FacePose.from_landmarks(points).to_face(points) for points in landmarks[valid]])
    fields = PlantedFields.for_face(np.median(aligned, axis=0), events)
    smooth = _smooth_in_segments(landmarks, valid=valid, sigma=_STEADY_S / np.median(np.diff(time_s)))
    for i, image in enumerate(frames):
        field = fields.at(float(time_s[i])) if valid[i] else None
        yield image if field is None else warp_frame(image, field=field, pose=FacePose.from_landmarks(smooth[i]))


def _smooth_in_segments(landmarks: Float64Array, *, valid: BoolArray, sigma: float) -> Float64Array:
    smooth = landmarks.copy()
    for run in true_runs(valid):
        smooth[run] = gaussian_over_time(landmarks[run], sigma=sigma, ends="hold")
    return smooth


@dataclass(frozen=True)
class HeadMotion:
    """How a portrait's head moves: slow random drift and roll, as a sitting person does; the defaults are set by hand.

    Parameters
    ----------
    drift_px : float
        Standard deviation of the position, px.
    roll_rad : float
        Standard deviation of the roll, rad.
    period_s : float
        Time scale of the movement, seconds.
    """

    drift_px: float = 1.5
    roll_rad: float = 0.005
    period_s: float = 1.5


def animate_portrait(
    portrait: Image,
    *,
    landmarks: npt.ArrayLike,
    time_s: Float64Array,
    events: Sequence[PlantedEvent],
    rng: np.random.Generator,
    head: HeadMotion | None = None,
    noise_sigma: float = 1.5,
) -> Iterator[Image]:
    """A video of a portrait whose head drifts and whose face makes the planted movements.

    Parameters
    ----------
    portrait : (H, W) or (H, W, 3) uint8
        The picture.
    landmarks : (68, 2) array
        Its landmarks, px.
    time_s : (T,) float64
        Timestamps of the frames.
    events : sequence of PlantedEvent
        What the face does.
    rng : numpy Generator
        Source of the drift and of the sensor noise.
    head : HeadMotion, optional
        Strength of the drift.
    noise_sigma : float
        Sensor noise, grey levels.

    Yields
    ------
    uint8 image of the portrait's shape
        Each frame in order.
    """
    head = head or HeadMotion()
    height, width = portrait.shape[:2]
    pose = FacePose.from_landmarks(landmarks)
    fields = PlantedFields.for_face(landmarks, events)
    sigma = max(head.period_s / float(np.median(np.diff(time_s))) / 2, 1.0)
    noise = rng.standard_normal((len(time_s) + int(_WARM_UP * sigma), 3))
    drift = gaussian_over_time(noise, sigma=sigma, ends="mirror")[: len(time_s)]
    drift *= np.array([head.drift_px, head.drift_px, head.roll_rad]) / drift.std(axis=0)
    points = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    fine = FinePicture(np.pad(portrait, [(_DRIFT_PX, _DRIFT_PX)] * 2 + [(0, 0)] * (portrait.ndim - 2), mode="reflect"))
    for moment, (dx, dy, roll) in zip(time_s, drift, strict=True):
        back = cv2.getRotationMatrix2D(pose.centre, float(np.degrees(roll)), 1.0)
        still = (points - np.array([dx, dy], dtype=np.float32)) @ back[:, :2].T.astype(np.float32)
        source = still + back[:, 2].astype(np.float32)
        field = fields.at(float(moment))
        if field is not None:
            source = displacement_map(source, field=field, pose=pose)
        image = fine.at(source + np.float32(_DRIFT_PX))
        grain = rng.standard_normal(image.shape[:2] + (1,) * (image.ndim - 2), dtype=np.float32)
        yield to_picture(image + np.float32(noise_sigma) * grain)


def truth_intervals(events: Sequence[PlantedEvent], *, grid: TimeGrid) -> Intervals:
    """Truth in frames: onset, apex and (half-open) offset of each event on the clip's timestamps.

    Raises
    ------
    UsageError
        An event falls between two frames.
    """
    ordered = sorted(events, key=lambda event: event.onset_s)
    classes = tuple(dict.fromkeys(event.label for event in ordered))
    onset = np.searchsorted(grid.time_s, [event.onset_s for event in ordered], side="left")
    offset = np.searchsorted(grid.time_s, [event.offset_s for event in ordered], side="right")
    if (between := np.flatnonzero(offset <= onset)).size:
        event = ordered[between[0]]
        span = f"{event.onset_s:.2f}-{event.offset_s:.2f} s"
        raise UsageError(f"an event at {span} falls between two frames: it must last longer, or the rate be higher")
    apex = np.clip(grid.frame_at(np.array([event.apex_s for event in ordered])), onset, offset - 1)
    label = tuple(event.label for event in ordered)
    probability = np.array([[float(name == each) for name in classes] for each in label])
    probability = probability.reshape(len(label), len(classes))
    return Intervals(onset, apex, offset, label, np.ones(len(label)), probability, classes)
