"""Follows the motion of one face from frame to frame: registration, head and expression apart, quality, loss.

A *segment* is a stretch of frames over which motion is chained; it ends with the face or where the face cannot be
bridged.  Within a segment the anchor is renewed now and then: what was displaced before is kept, and the tracked
similarity carries the regions over, so that errors of the landmarks (0.3-1 px) move regions but never read as motion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from metst.config import MotionSettings
from metst.face import OUTER_EYE_CORNERS, Face, FaceFrame
from metst.motion.anchor import Anchor, Match, Picture, Pose, Similarity, make_picture, still_pose
from metst.motion.canonical import (
    Grid,
    depth_at,
    displacement_at,
    make_grid,
    pixel_weights,
    pool_nodes,
    region_masks,
)
from metst.motion.head import HeadFit
from metst.motion.registration import Float32
from metst.regions import REGIONS
from metst.video import Frame

_FINE_UNIT, _COARSE_UNIT, _NODES_PER_UNIT = 64, 24, 8
_FINE_STEPS, _COARSE_STEPS = 4, 6
_FINE_TOLERANCE, _COARSE_TOLERANCE = 3e-4, 3e-3  # face units
_START_NOISE, _NOISE_RATE = 2.0, 0.2
_LOST_FIT, _RENEW_FIT = 0.45, 0.8  # share of the template that the frame explains
_RENEW_SCALE, _RENEW_TURN = 0.15, 0.2
_LOST_OFF, _REGION_OFF = 0.1, 0.08  # distance to fresh landmarks, face units
_LANDMARK_RATE = 0.3
_REFRESH_S = 0.5
_SLACK_S = 1e-3
_INNER_POINTS = slice(17, 68)

_DEFAULTS = MotionSettings()
_STILL = Similarity(1, 0)


@dataclass(frozen=True, eq=False)
class MotionFrame:
    """Motion of one frame.

    Parameters
    ----------
    index : int
        Frame of the source video.
    time_s : float
    displacement : (18, 2) float32
        Face units since the start of the segment; NaN where nothing was measured.
    quality : (18,) float32
        In [0, 1].
    face_px : float
        Face unit in source pixels; NaN where nothing was measured.
    head : (4,) float32
        Shift x, y (face units), log scale, roll (radians) since the start of the segment.
    face : (8,) float32
        Box left, top, right, bottom and centres of the two eyes (x, y), source pixels.
    face_quality : float
    reason : str
        Why there is no motion; empty when there is.
    """

    index: int
    time_s: float
    displacement: Float32
    quality: Float32
    face_px: float
    head: Float32
    face: Float32
    face_quality: float
    reason: str

    @property
    def valid(self) -> bool:
        """Whether motion was measured."""
        return not self.reason


@dataclass(frozen=True, eq=False)
class _Reference:
    """The anchor at both resolutions and what belongs to its frame."""

    time_s: float
    coarse: Anchor
    fine: Anchor
    head_fit: HeadFit
    px_per_pixel: float
    pool: Float32
    masks: Float32
    certainty: Float32
    displacement: Float32


@dataclass(eq=False)
class _Segment:
    """State of a segment; landmarks are canonical and lie on the anchor."""

    reference: _Reference
    pose: Pose
    coarse_pose: Pose
    landmarks: Float32
    start: Similarity
    quality: Float32
    agreement: Float32
    seen_s: float
    refreshed_s: float
    head: Similarity = _STILL
    velocity: Similarity = _STILL
    learnt: int = 1


class MotionTracker:
    """Measures the motion of the 18 regions frame by frame, in constant memory.

    Parameters
    ----------
    settings : MotionSettings
    """

    def __init__(self, settings: MotionSettings = _DEFAULTS) -> None:
        self.settings = settings
        self._coarse_grid = make_grid(_COARSE_UNIT, _COARSE_UNIT // _NODES_PER_UNIT)
        self._fine_grid = make_grid(_FINE_UNIT, _FINE_UNIT // _NODES_PER_UNIT)
        self._segment: _Segment | None = None
        self._noise = _START_NOISE
        self._shape: tuple[int, ...] = ()

    def update(self, face_frame: FaceFrame) -> MotionFrame:
        """Measure the next frame."""
        shape, self._shape = self._shape, face_frame.frame.grey.shape
        if not face_frame.valid:
            self._segment = None
            return _unmeasured(face_frame, face_frame.reason)
        if self._segment is not None and shape != self._shape:
            self._segment = self._begin(face_frame) if face_frame.fresh else None
            return _unmeasured(face_frame, "change of resolution")
        if self._segment is not None:
            return self._follow(face_frame, self._segment)
        if not face_frame.fresh:
            return _unmeasured(face_frame, "face lost")
        self._segment = self._begin(face_frame)
        return _measured(face_frame, self._segment)

    def _begin(self, face_frame: FaceFrame) -> _Segment:
        """Start a segment at the landmarks of this frame."""
        landmarks = _face(face_frame).landmarks
        similarity = _eyes(landmarks)
        canonical, nothing = similarity.inverse().apply(landmarks), np.zeros((len(REGIONS), 2), np.float32)
        reference = self._reference(face_frame.frame, similarity, landmarks=canonical, displacement=nothing)
        time_s, full = face_frame.frame.time_s, np.ones(len(REGIONS), np.float32)
        return _Segment(
            reference,
            still_pose(self._fine_grid, similarity),
            still_pose(self._coarse_grid, similarity),
            canonical,
            start=similarity,
            quality=reference.certainty,
            agreement=full,
            seen_s=time_s,
            refreshed_s=time_s,
        )

    def _reference(
        self, frame: Frame, similarity: Similarity, *, landmarks: Float32, displacement: Float32
    ) -> _Reference:
        """Make a frame the anchor; ``landmarks`` are canonical."""
        grid, px = self._fine_grid, abs(similarity.scale) / _FINE_UNIT
        coarse, fine = (
            Anchor(picture, grid=g, similarity=similarity, weight=pixel_weights(g, landmarks), noise=self._noise)
            for g, picture in zip(
                (self._coarse_grid, grid), self._pictures(frame, similarity, px_per_pixel=px), strict=True
            )
        )
        masks = region_masks(grid, landmarks)
        pool = pool_nodes(grid, masks)
        return _Reference(
            frame.time_s, coarse, fine, HeadFit(grid, landmarks), px, pool, masks, fine.certainty(pool), displacement
        )

    def _pictures(self, frame: Frame, similarity: Similarity, *, px_per_pixel: float) -> tuple[Picture, Picture]:
        """The face in a frame for the coarse and for the fine grid."""
        coarse_px = px_per_pixel * _FINE_UNIT / _COARSE_UNIT
        return (
            make_picture(frame.grey, similarity, grid=self._coarse_grid, px_per_pixel=coarse_px),
            make_picture(frame.grey, similarity, grid=self._fine_grid, px_per_pixel=px_per_pixel),
        )

    def _follow(self, face_frame: FaceFrame, segment: _Segment) -> MotionFrame:
        """Register a frame; renew the anchor when it is due; end the segment when the face cannot be bridged."""
        frame, reference = face_frame.frame, segment.reference
        for guess in self._guesses(face_frame, segment):
            coarse, fine = self._pictures(frame, guess, px_per_pixel=reference.px_per_pixel)
            coarse_pose, coarse_match = self._align(coarse, guess, segment)
            fit = coarse_match.explained(reference.coarse.template)
            if fit >= _LOST_FIT:
                break
        else:
            return self._lose(face_frame)
        pose, match = self._register(fine, coarse_pose, segment)
        off = self._distance_to_landmarks(face_frame, pose, segment)
        if np.median(off) > _LOST_OFF:
            return self._lose(face_frame)
        self._learn(frame.time_s, match, coarse_match, segment)
        self._advance(pose, coarse_pose, match, segment)
        measured = _measured(face_frame, segment)
        if self._is_due(frame.time_s, fit, segment):
            self._renew(frame, segment, displacement=measured.displacement)
        return measured

    def _guesses(self, face_frame: FaceFrame, segment: _Segment) -> list[Similarity]:
        """Where the face may be: where it was going, where it was, where its fresh landmarks are."""
        last = segment.pose.similarity
        guesses = [segment.velocity @ last, last]
        return [*guesses, _eyes(_face(face_frame).landmarks)] if face_frame.fresh else guesses

    def _align(self, picture: Picture, guess: Similarity, segment: _Segment) -> tuple[Pose, Match]:
        """Bring the face to within a pixel, at low resolution."""
        start = replace(segment.coarse_pose, similarity=guess)
        return segment.reference.coarse.register(
            picture, start, steps=_COARSE_STEPS, tolerance=_COARSE_TOLERANCE, noise=self._noise
        )

    def _register(self, picture: Picture, coarse_pose: Pose, segment: _Segment) -> tuple[Pose, Match]:
        """Register at full resolution from where the coarse registration has moved, and set the head apart."""
        last, coarse_last = segment.pose, segment.coarse_pose
        start = Pose(
            coarse_pose.similarity @ coarse_last.similarity.inverse() @ last.similarity,
            last.nodes + coarse_pose.nodes - coarse_last.nodes,
            last.turn,
            last.light,
            coarse_pose.contrast,
        )
        pose, match = segment.reference.fine.register(
            picture, start, steps=_FINE_STEPS, tolerance=_FINE_TOLERANCE, noise=self._noise
        )
        return segment.reference.head_fit.separated(pose, last_turn=last.turn), match

    def _distance_to_landmarks(self, face_frame: FaceFrame, pose: Pose, segment: _Segment) -> Float32:
        """How far fresh landmarks lie from where they should have moved, face units; also follows them slowly."""
        if not face_frame.fresh:
            return np.zeros(1, np.float32)
        moved = segment.landmarks + _moved(self._fine_grid, pose, segment.landmarks)
        off = pose.similarity.inverse().apply(_face(face_frame).landmarks) - moved
        segment.landmarks = (segment.landmarks + _LANDMARK_RATE * off).astype(np.float32)
        distance = np.linalg.norm(off, axis=-1)
        by_region = np.array([distance[list(region.landmarks)].mean() for region in REGIONS])
        segment.agreement = (1 / (1 + (by_region / _REGION_OFF) ** 4)).astype(np.float32)
        inner: Float32 = distance[_INNER_POINTS].astype(np.float32)
        return inner

    def _learn(self, time_s: float, match: Match, coarse_match: Match, segment: _Segment) -> None:
        """Let the templates follow, and the normal equations the noise."""
        reference = segment.reference
        segment.learnt += 1
        share = 1 - math.exp(-(time_s - segment.seen_s) / self.settings.template_memory_s)
        share = max(share, 1 / segment.learnt)
        reference.fine.learn(match, share=share, noise=self._noise)
        reference.coarse.learn(coarse_match, share=share, noise=self._noise)
        segment.seen_s = time_s
        if time_s - segment.refreshed_s > _REFRESH_S - _SLACK_S:
            segment.refreshed_s = time_s
            reference.fine.refresh_for(self._noise)
            reference.coarse.refresh_for(self._noise)

    def _advance(self, pose: Pose, coarse_pose: Pose, match: Match, segment: _Segment) -> None:
        """Keep the new pose and what the match says about noise and quality."""
        reference = segment.reference
        self._noise += _NOISE_RATE * (match.noise() - self._noise)
        segment.velocity = pose.similarity @ segment.pose.similarity.inverse()
        segment.head = segment.velocity @ segment.head
        segment.pose, segment.coarse_pose = pose, coarse_pose
        agreement = match.by_region(reference.fine, reference.masks, noise=self._noise)
        segment.quality = reference.certainty * agreement * segment.agreement

    def _is_due(self, time_s: float, fit: float, segment: _Segment) -> bool:
        """Whether the anchor is old, or the face no longer looks like it."""
        reference, pose = segment.reference, segment.pose
        scale = abs(pose.similarity.scale) / (_FINE_UNIT * reference.px_per_pixel)
        return (
            time_s - reference.time_s >= self.settings.anchor_interval_s - _SLACK_S
            or fit < _RENEW_FIT
            or abs(math.log(scale)) > _RENEW_SCALE
            or float(np.abs(pose.turn).max()) > _RENEW_TURN
        )

    def _renew(self, frame: Frame, segment: _Segment, *, displacement: Float32) -> None:
        """Make this frame the anchor; regions stay on the skin they lie on."""
        moved = segment.landmarks + _moved(self._fine_grid, segment.pose, segment.landmarks)
        placement = _eyes(moved)
        similarity = segment.pose.similarity @ placement
        segment.landmarks = placement.inverse().apply(moved)
        segment.reference = self._reference(frame, similarity, landmarks=segment.landmarks, displacement=displacement)
        segment.pose = still_pose(self._fine_grid, similarity)
        segment.coarse_pose = still_pose(self._coarse_grid, similarity)
        segment.learnt, segment.refreshed_s = 1, frame.time_s

    def _lose(self, face_frame: FaceFrame) -> MotionFrame:
        """A gap; a new segment starts at fresh landmarks, else the face may come back to the old anchor."""
        if face_frame.fresh:
            self._segment = self._begin(face_frame)
        elif self._segment is not None:
            self._segment.velocity = _STILL
        return _unmeasured(face_frame, "motion lost")


def _moved(grid: Grid, pose: Pose, points: Float32) -> Float32:
    """Displacement of canonical points by the face's own motion and its yaw and pitch, face units."""
    return displacement_at(grid, pose.nodes, points) + depth_at(points)[:, None] * pose.turn


def _eyes(landmarks: Float32) -> Similarity:
    """Canonical face units to the landmarks' frame, from the outer eye corners."""
    left, right = (complex(*landmarks[point].tolist()) for point in OUTER_EYE_CORNERS)
    return Similarity(right - left, (left + right) / 2)


def _face(face_frame: FaceFrame) -> Face:
    assert face_frame.face is not None
    return face_frame.face


def _measured(face_frame: FaceFrame, segment: _Segment) -> MotionFrame:
    """Row of a frame with motion."""
    reference, head, start = segment.reference, segment.head, segment.start
    local = (reference.pool @ segment.pose.nodes.reshape(2, -1).T).astype(np.float32)
    shift = ((head @ start).shift - start.shift) / abs(start.scale)
    return MotionFrame(
        index=face_frame.frame.index,
        time_s=face_frame.frame.time_s,
        displacement=reference.displacement + local,
        quality=segment.quality,
        face_px=abs(segment.pose.similarity.scale),
        head=np.array([shift.real, shift.imag, np.log(abs(head.scale)), np.angle(head.scale)], np.float32),
        face=_face_row(face_frame),
        face_quality=face_frame.quality,
        reason="",
    )


def _unmeasured(face_frame: FaceFrame, reason: str) -> MotionFrame:
    """Row of a frame without motion."""
    return MotionFrame(
        index=face_frame.frame.index,
        time_s=face_frame.frame.time_s,
        displacement=np.full((len(REGIONS), 2), np.nan, np.float32),
        quality=np.zeros(len(REGIONS), np.float32),
        face_px=math.nan,
        head=np.full(4, np.nan, np.float32),
        face=_face_row(face_frame),
        face_quality=face_frame.quality,
        reason=reason or "no face",
    )


def _face_row(face_frame: FaceFrame) -> Float32:
    """Box and eye centres; NaN without a face."""
    face = face_frame.face
    if face is None:
        return np.full(8, np.nan, np.float32)
    eyes = [face.landmarks[36:42].mean(axis=0), face.landmarks[42:48].mean(axis=0)]
    return np.concatenate([face.box, *eyes]).astype(np.float32)
