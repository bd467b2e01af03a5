"""Follows the motion of one face from frame to frame: registration, head and expression apart, quality, loss.

A *segment* is a stretch of frames over which motion is chained; it ends with the face or where the face cannot be
bridged.  Within a segment the anchor is renewed now and then: what was displaced before is kept, and the tracked
similarity carries the regions over, so that errors of the landmarks (0.3-1 px) move regions but never read as motion.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from metst.arrays import Float32Array
from metst.config import MotionSettings
from metst.face import Face, FaceFrame
from metst.motion.algebra import median, product
from metst.motion.anchor import Anchor, Match, Pose, register, still_pose
from metst.motion.canonical import (
    Grid,
    TooLittleSeenError,
    depth_at,
    displacement_at,
    make_grid,
    mask_centres,
    pixel_weights,
    pool_nodes,
    region_masks,
    sparse_masks,
)
from metst.motion.conditions import ConditionWatch, Sites, make_sites
from metst.motion.foreign import influence, undisturbed
from metst.motion.frame import MotionFrame, face_row, unmeasured
from metst.motion.head import HeadFit
from metst.motion.keys import Correction, KeyFace, KeyFaces
from metst.motion.picture import Picture, Similarity, make_picture, reduced
from metst.motion.template import SparseMasks
from metst.regions import INNER_POINTS, LANDMARK_COUNT, OUTER_EYE_CORNERS, REGIONS
from metst.timeline import TIMESTAMP_SLACK_S

if TYPE_CHECKING:
    from metst.video import Frame

# Where no origin is named, a number was set by hand: see metst.motion.
_FINE_UNIT, _COARSE_UNIT, _NODES_PER_UNIT = 64, 24, 8  # pixels, and spline nodes, to the face unit
_FINE_STEPS, _COARSE_STEPS = 3, 6  # of Gauss-Newton, at most
_DOUBTFUL = 0.06  # fall of the fit from one frame to the next above which the face is looked for at low resolution
_FINE_TOLERANCE, _COARSE_TOLERANCE = 3e-3, 3e-3  # face units; steps end once nothing moves by more
_START_NOISE, _NOISE_RATE = 2.0, 0.2  # grey levels, and the share that each frame has in it
_LEAST_NOISE = 1e-3  # grey levels, against a division by 0 in pictures that stand still
_LEAST_UNIT_PX = 2.0  # of a face unit; landmarks whose eyes lie closer together are none
_MOST_STRETCH = 2.0  # of the eyes' distance on the anchor, or its inverse; a face that is stretched by more is none
_LOST_FIT, _RENEW_FIT = 0.45, 0.8  # share of the template that the frame explains
_RENEW_SCALE, _RENEW_TURN = 0.15, 0.2  # log of the size, and face units at unit depth, since the anchor
_LOST_OFF, _REGION_OFF = 0.1, 0.08  # distance to fresh landmarks, face units
_OFF_POWER = 4  # of that distance in a region's agreement: steeper than a square
_LANDMARK_RATE = 0.3  # share of the way that the regions' landmarks follow fresh ones
_REFRESH_S = 0.5  # between two looks whether the normal matrix still fits the noise

# (18, 68), weights of the mean over a region's landmarks.
_MEAN_OF_LANDMARKS = np.array(
    [np.isin(np.arange(LANDMARK_COUNT), region.landmarks) / len(region.landmarks) for region in REGIONS], np.float32
)

_DEFAULTS = MotionSettings()  # see metst.config
_STILL = Similarity(1, 0)  # no motion


@dataclass(frozen=True, eq=False)
class _Reference:
    """The anchor and what belongs to its frame; landmarks are canonical."""

    time_s: float
    landmarks: Float32Array
    anchor: Anchor
    head_fit: HeadFit
    px_per_pixel: float
    pool: Float32Array
    masks: SparseMasks
    influence: Float32Array
    sites: Sites
    centres: Float32Array
    certainty: Float32Array
    displacement: Float32Array


@dataclass(frozen=True, eq=False)
class _Found:
    """A registration, and the share of the template that the frame explains."""

    pose: Pose
    match: Match
    fit: float


@dataclass(eq=False)
class _Segment:
    """State of a segment; landmarks are canonical and lie on the anchor.

    ``turn`` are the yaw and pitch terms of the anchor since the start of the segment.
    """

    reference: _Reference
    pose: Pose
    landmarks: Float32Array
    start: Similarity
    quality: Float32Array
    agreement: Float32Array
    watch: ConditionWatch
    keys: KeyFaces
    seen_s: float
    refreshed_s: float
    coarse: Anchor | None = None
    fit: float = 1.0
    head: Similarity = _STILL
    velocity: Similarity = _STILL
    learnt: int = 1
    turn: Float32Array = field(default_factory=lambda: np.zeros(2, np.float32))
    correction: Correction = field(default_factory=Correction)


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
            return unmeasured(face_frame, face_frame.reason)
        if self._segment is not None and shape != self._shape:
            self._segment = self._begun(face_frame) if face_frame.fresh else None
            return unmeasured(face_frame, "change of resolution")
        if self._segment is not None:
            return self._follow(face_frame, self._segment)
        if not face_frame.fresh:
            return unmeasured(face_frame, "face lost")
        self._segment = self._begun(face_frame)
        return unmeasured(face_frame, "motion lost") if self._segment is None else _measured(face_frame, self._segment)

    def _begun(self, face_frame: FaceFrame) -> _Segment | None:
        """A segment that starts at the landmarks of this frame; None where they lie outside the picture."""
        landmarks = _face(face_frame).landmarks
        similarity = _eyes(landmarks)
        if not _LEAST_UNIT_PX <= abs(similarity.scale) < math.inf:
            return None
        try:
            return self._begin(face_frame, landmarks, similarity=similarity)
        except TooLittleSeenError:
            return None

    def _begin(self, face_frame: FaceFrame, landmarks: Float32Array, *, similarity: Similarity) -> _Segment:
        canonical, nothing = similarity.inverse().apply(landmarks), np.zeros((len(REGIONS), 2), np.float32)
        reference = self._reference(face_frame.frame, similarity, landmarks=canonical, displacement=nothing)
        time_s, full = face_frame.frame.time_s, np.ones(len(REGIONS), np.float32)
        keys = KeyFaces(self._fine_grid)
        keys.keep(_key(reference, turn=np.zeros(2, np.float32), displacement=nothing), time_s=time_s)
        return _Segment(
            reference,
            still_pose(self._fine_grid, similarity),
            canonical,
            start=similarity,
            quality=reference.certainty,
            agreement=full,
            watch=ConditionWatch(),
            keys=keys,
            seen_s=time_s,
            refreshed_s=time_s,
        )

    def _reference(
        self, frame: Frame, similarity: Similarity, *, landmarks: Float32Array, displacement: Float32Array
    ) -> _Reference:
        """Make a frame the anchor; ``landmarks`` are canonical."""
        grid, px = self._fine_grid, abs(similarity.scale) / _FINE_UNIT
        picture = make_picture(frame.grey, similarity, grid=grid, px_per_pixel=px)
        weight = pixel_weights(grid, landmarks)
        anchor = Anchor(picture, grid=grid, similarity=similarity, weight=weight, noise=self._noise)
        masks = region_masks(grid, landmarks)
        pool = pool_nodes(grid, masks)
        return _Reference(
            frame.time_s,
            landmarks,
            anchor,
            HeadFit(grid, landmarks),
            px,
            pool,
            sparse_masks(masks),
            influence=influence(grid, masks),
            sites=make_sites(grid, masks, landmarks=landmarks),
            centres=mask_centres(grid, masks),
            certainty=anchor.certainty(pool),
            displacement=displacement,
        )

    def _follow(self, face_frame: FaceFrame, segment: _Segment) -> MotionFrame:
        """Register a frame; renew the anchor when it is due; end the segment when the face cannot be bridged."""
        frame, reference, last = face_frame.frame, segment.reference, segment.pose
        found = self._register(frame, replace(last, similarity=segment.velocity @ last.similarity), reference)
        if found.fit < segment.fit - _DOUBTFUL:
            found = self._search(face_frame, segment, best=found)
        if not found.fit >= _LOST_FIT:
            return self._lose(face_frame)
        pose = reference.head_fit.separated(found.pose, last_turn=last.turn)
        off = self._distance_to_landmarks(face_frame, pose, segment)
        if off > _LOST_OFF:
            return self._lose(face_frame)
        elapsed_s = frame.time_s - segment.seen_s
        self._learn(frame.time_s, found.match, segment)
        agreement = self._advance(pose, found, segment, elapsed_s=elapsed_s)
        measured = _measured(face_frame, segment)
        conditions = segment.watch.update(
            frame.grey,
            time_s=frame.time_s,
            sites=reference.sites,
            scale=pose.similarity.scale,
            shift=pose.similarity.shift,
            displacement=measured.displacement,
            agreement=agreement,
        )
        if self._is_due(frame.time_s, segment):
            try:
                self._renew(frame, segment, displacement=measured.displacement)
            except TooLittleSeenError:
                self._segment = None
        return replace(measured, conditions=conditions)

    def _register(self, frame: Frame, start: Pose, reference: _Reference) -> _Found:
        """Register at full resolution; what the head moved stays in the local displacement."""
        picture = self._picture(frame, start.similarity, reference)
        model = reference.anchor.model()
        pose, match = register(
            picture, start, model=model, grid=self._fine_grid, steps=_FINE_STEPS, tolerance=_FINE_TOLERANCE,
            noise=self._noise,
        )  # fmt: skip
        return _Found(pose, match, match.explained(model) if np.isfinite(pose.nodes).all() else 0.0)

    def _picture(self, frame: Frame, guess: Similarity, reference: _Reference) -> Picture:
        """The face in a frame at the anchor's resolution."""
        return make_picture(frame.grey, guess, grid=self._fine_grid, px_per_pixel=reference.px_per_pixel)

    def _search(self, face_frame: FaceFrame, segment: _Segment, *, best: _Found) -> _Found:
        """Look at low resolution where the face was going, where it was, and where its fresh landmarks are."""
        last, reference = segment.pose, segment.reference
        guesses = [segment.velocity @ last.similarity, last.similarity]
        if face_frame.fresh and abs((eyes := _eyes(_face(face_frame).landmarks)).scale) >= _LEAST_UNIT_PX:
            guesses.append(eyes)
        for guess in guesses:
            try:
                aligned = self._align(face_frame.frame, replace(last, similarity=guess), segment)
            except TooLittleSeenError:  # all detail is too fine
                break
            start = replace(reference.head_fit.separated(aligned, last_turn=last.turn), light=last.light)
            found = self._register(face_frame.frame, start, reference)
            best = found if found.fit > best.fit else best
            if best.fit >= segment.fit - _DOUBTFUL:
                break
        return best

    def _align(self, frame: Frame, start: Pose, segment: _Segment) -> Pose:
        """Bring the face to within a pixel, at low resolution, with little change of its local motion."""
        reference, grid = segment.reference, self._coarse_grid
        if segment.coarse is None:
            weight = pixel_weights(grid, reference.landmarks)
            segment.coarse = reference.anchor.reduced(grid, weight=weight, noise=self._noise)
        picture = self._picture(frame, start.similarity, reference)
        pixel = reference.px_per_pixel * abs(picture.to_picture.scale)
        small = reduced(picture, self._fine_grid, coarse=grid, px_per_pixel=pixel)
        pose, _ = register(
            small, start, model=segment.coarse.model(), grid=grid, steps=_COARSE_STEPS, tolerance=_COARSE_TOLERANCE,
            noise=self._noise, centre=start.nodes,
        )  # fmt: skip
        return pose

    def _distance_to_landmarks(self, face_frame: FaceFrame, pose: Pose, segment: _Segment) -> float:
        """How far fresh landmarks lie from where they should have moved, face units; also follows them slowly."""
        if not face_frame.fresh:
            return 0.0
        moved = segment.landmarks + _moved(self._fine_grid, pose, segment.landmarks)
        off = pose.similarity.inverse().apply(_face(face_frame).landmarks) - moved
        segment.landmarks = (segment.landmarks + _LANDMARK_RATE * off).astype(np.float32)
        distance = np.linalg.norm(off, axis=-1)
        by_region = product(_MEAN_OF_LANDMARKS, distance[:, None].astype(np.float32))[:, 0]
        segment.agreement = (1 / (1 + (by_region / _REGION_OFF) ** _OFF_POWER)).astype(np.float32)
        return median(distance[INNER_POINTS])

    def _learn(self, time_s: float, match: Match, segment: _Segment) -> None:
        """Let the templates follow, and the normal equations the noise."""
        reference = segment.reference
        segment.learnt += 1
        share = 1 - math.exp(-(time_s - segment.seen_s) / self.settings.template_memory_s)
        share = max(share, 1 / segment.learnt)
        reference.anchor.learn(match, share=share, noise=self._noise)
        segment.seen_s = time_s
        if time_s - segment.refreshed_s > _REFRESH_S - TIMESTAMP_SLACK_S:
            segment.refreshed_s = time_s
            reference.anchor.refresh_for(self._noise)

    def _advance(self, pose: Pose, found: _Found, segment: _Segment, *, elapsed_s: float) -> Float32Array:
        """Keep the new pose and what the match says about noise and quality; returns the agreement by region."""
        reference = segment.reference
        self._noise = max(self._noise + _NOISE_RATE * (found.match.noise() - self._noise), _LEAST_NOISE)
        segment.velocity = pose.similarity @ segment.pose.similarity.inverse()
        segment.head = segment.velocity @ segment.head
        segment.pose, segment.fit = pose, found.fit
        segment.correction.advance(product(reference.pool, pose.nodes.reshape(2, -1).T), elapsed_s=elapsed_s)
        match = found.match
        agreement = match.by_region(reference.anchor.model(), reference.masks, noise=self._noise) * segment.agreement
        agreement *= undisturbed(match.residual, match.used, reference.influence, noise=self._noise)
        segment.quality = reference.certainty * agreement
        return agreement

    def _is_due(self, time_s: float, segment: _Segment) -> bool:
        """Whether the anchor is old, or the face no longer looks like it."""
        reference, pose = segment.reference, segment.pose
        scale = abs(pose.similarity.scale) / (_FINE_UNIT * reference.px_per_pixel)
        return (
            time_s - reference.time_s >= self.settings.anchor_interval_s - TIMESTAMP_SLACK_S
            or segment.fit < _RENEW_FIT
            or abs(math.log(scale)) > _RENEW_SCALE
            or float(np.abs(pose.turn).max()) > _RENEW_TURN
        )

    def _renew(self, frame: Frame, segment: _Segment, *, displacement: Float32Array) -> None:
        """Make this frame the anchor; regions stay on the skin they lie on."""
        moved = segment.landmarks + _moved(self._fine_grid, segment.pose, segment.landmarks)
        placement = _eyes(moved)
        if not 1 / _MOST_STRETCH < abs(placement.scale) < _MOST_STRETCH:
            raise TooLittleSeenError
        similarity = segment.pose.similarity @ placement
        segment.landmarks = placement.inverse().apply(moved)
        segment.reference = self._reference(frame, similarity, landmarks=segment.landmarks, displacement=displacement)
        segment.turn, segment.pose = segment.turn + segment.pose.turn, still_pose(self._fine_grid, similarity)
        segment.coarse, segment.fit = None, 1.0
        segment.learnt, segment.refreshed_s = 1, frame.time_s
        segment.correction.renew()
        self._settle(frame, segment)

    def _settle(self, frame: Frame, segment: _Segment) -> None:
        """Find how far displacement is off from an earlier look at the new anchor's pose; keep a look that is new."""
        reference = segment.reference
        seen = segment.keys.seen(
            frame.grey, similarity=segment.pose.similarity, turn=segment.turn, time_s=frame.time_s, noise=self._noise
        )
        if seen is None:
            key = _key(reference, turn=segment.turn, displacement=reference.displacement - segment.correction.owed)
            segment.keys.keep(key, time_s=frame.time_s)
            return
        segment.turn = seen.turn
        segment.correction.settle(reference.displacement, seen)

    def _lose(self, face_frame: FaceFrame) -> MotionFrame:
        """A gap; a new segment starts at fresh landmarks, else the face may come back to the old anchor."""
        if face_frame.fresh:
            self._segment = self._begun(face_frame)
        elif self._segment is not None:
            self._segment.velocity = _STILL
        return unmeasured(face_frame, "motion lost")


def _key(reference: _Reference, *, turn: Float32Array, displacement: Float32Array) -> KeyFace:
    """The look of an anchor, to be found again."""
    return KeyFace(
        reference.anchor.kept(),
        reference.head_fit,
        reference.px_per_pixel,
        reference.pool,
        reference.masks,
        turn,
        displacement,
    )


def _moved(grid: Grid, pose: Pose, points: Float32Array) -> Float32Array:
    """Displacement of canonical points by the face's own motion and its yaw and pitch, face units."""
    return displacement_at(grid, pose.nodes, points) + depth_at(points)[:, None] * pose.turn


def _eyes(landmarks: Float32Array) -> Similarity:
    """Canonical face units to the landmarks' frame, from the outer eye corners."""
    left, right = (complex(*landmarks[point].tolist()) for point in OUTER_EYE_CORNERS)
    return Similarity(right - left, (left + right) / 2)


def _face(face_frame: FaceFrame) -> Face:
    assert face_frame.face is not None
    return face_frame.face


def _measured(face_frame: FaceFrame, segment: _Segment) -> MotionFrame:
    """Row of a frame with motion."""
    reference, head, start = segment.reference, segment.head, segment.start
    local, given = segment.correction.local, segment.correction.given
    canonical = reference.centres[:, :2] + local + reference.centres[:, 2:] * segment.pose.turn
    shift = ((head @ start).shift - start.shift) / abs(start.scale)
    return MotionFrame(
        index=face_frame.frame.index,
        time_s=face_frame.frame.time_s,
        displacement=reference.displacement + given + local,
        quality=segment.quality,
        conditions=np.zeros(len(REGIONS), np.uint8),
        centres=segment.pose.similarity.apply(canonical),
        face_px=abs(segment.pose.similarity.scale),
        head=np.array([shift.real, shift.imag, math.log(abs(head.scale)), cmath.phase(head.scale)], np.float32),
        face=face_row(face_frame),
        face_quality=face_frame.quality,
        reason="",
    )
