"""Trajectory mode of ROI motion: one registration per frame against a renewed anchor, chained.

Displacements are read in the canonical face frame after the similarity of the head and its yaw and pitch have been
estimated from the whole face, with the stable parts counting most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from metst.config import MotionSettings
from metst.face import FaceFrame
from metst.motion.anchor import Anchor, Match, Picture, Pose, Similarity, make_picture, still_pose
from metst.motion.canonical import (
    displacement_at,
    make_grid,
    pixel_weights,
    pool_nodes,
    region_masks,
)
from metst.motion.head import HeadFit
from metst.motion.registration import Float32
from metst.regions import REGION_NAMES
from metst.timeline import Series, TimeGrid

_REGION_COUNT = len(REGION_NAMES)
_FINE_UNIT, _COARSE_UNIT, _NODES_PER_UNIT = 64, 24, 8
_START_NOISE = 2.0
_LOST, _RENEW = 0.45, 0.8
_ANCHOR_S, _MEMORY_S, _REFRESH_S = 8.0, 2.0, 0.5


@dataclass(frozen=True, eq=False)
class MotionFrame:
    """Motion of one frame: one row of :class:`Motion`.

    Parameters
    ----------
    index : int
        Frame of the video.
    time_s : float
    displacement : (18, 2) float32
        Face units; NaN where the frame is invalid.
    quality : (18,) float32
    face_px : float
        Face unit in source pixels, NaN where unknown.
    head : (4,) float32
        Shift x, y (face units), log scale, roll (radians) since the start of the valid segment.
    face : (8,) float32
        Box left, top, right, bottom and centres of the two eyes (x, y), source pixels.
    face_quality : float
    reason : str
        Why there is no motion; empty when valid.
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
class Motion:
    """Motion of one video.

    Parameters
    ----------
    displacement : Series, values (T, 18, 2) float32
        Displacement (x to the right, y down) of each region in the aligned face since the start of its valid stretch,
        face units (1 = distance of the outer eye corners).
    quality : (T, 18) float32
        In [0, 1]; 0 where invalid.
    face_px : (T,) float32
        Face unit in source pixels; NaN where invalid.
    head : (T, 4) float32
        Shift x, y (face units), log scale and roll (radians) of the head since the start of the valid stretch.
    face : Series, values (T, 8) float32
        Box left, top, right, bottom and the two eye centres, source pixels.
    face_quality : (T,) float32
    reason : tuple of str
        Why a frame has no motion, empty when it has.
    """

    displacement: Series
    quality: Float32
    face_px: Float32
    head: Float32
    face: Series
    face_quality: Float32
    reason: tuple[str, ...]


FACE_CHANNELS = ("left", "top", "right", "bottom", "eye_left_x", "eye_left_y", "eye_right_x", "eye_right_y")


def extract_motion(
    track: Iterable[FaceFrame],
    *,
    settings: MotionSettings,
    total: int | None = None,
    on_progress: Callable[[str, int, int | None], None] | None = None,
) -> Motion:
    """Measure the motion of the 18 regions over one video, in one pass.

    Parameters
    ----------
    track : iterable of FaceFrame
        Stage 2's face track, in order of time.
    settings : MotionSettings
    total : int, optional
        Number of frames, for the progress only.
    on_progress : callable, optional
        Called as ``on_progress("motion", done, total)``.
    """
    tracker = MotionTracker(settings)
    rows: list[MotionFrame] = []
    for face_frame in track:
        rows.append(tracker.update(face_frame))
        if on_progress is not None:
            on_progress("motion", len(rows), total)
    return _collect(rows)


def _collect(rows: list[MotionFrame]) -> Motion:
    grid = TimeGrid(np.array([row.time_s for row in rows], dtype=np.float64))
    valid = np.array([row.valid for row in rows], dtype=bool)
    face = np.array([row.face for row in rows], dtype=np.float32).reshape(-1, 8)
    return Motion(
        displacement=Series(
            grid, np.array([row.displacement for row in rows], np.float32).reshape(-1, _REGION_COUNT, 2), valid, REGION_NAMES
        ),
        quality=np.array([row.quality for row in rows], np.float32).reshape(-1, _REGION_COUNT),
        face_px=np.array([row.face_px for row in rows], np.float32),
        head=np.array([row.head for row in rows], np.float32).reshape(-1, 4),
        face=Series(grid, face, np.isfinite(face).all(axis=1), FACE_CHANNELS),
        face_quality=np.array([row.face_quality for row in rows], np.float32),
        reason=tuple(row.reason for row in rows),
    )


@dataclass(frozen=True, eq=False)
class _Reference:
    """The anchor at both resolutions, where its regions lie, and what was displaced before it."""

    time_s: float
    coarse: Anchor
    fine: Anchor
    px_per_pixel: float
    pool: Float32
    masks: Float32
    energy: Float32
    certainty: Float32
    displacement: Float32


class MotionTracker:
    """Follows one face from frame to frame; constant memory.

    Parameters
    ----------
    settings : MotionSettings
    """

    def __init__(self, settings: MotionSettings | None = None) -> None:
        self.settings = settings or MotionSettings()
        self._coarse_grid = make_grid(_COARSE_UNIT, _COARSE_UNIT // _NODES_PER_UNIT)
        self._fine_grid = make_grid(_FINE_UNIT, _FINE_UNIT // _NODES_PER_UNIT)
        self._reference: _Reference | None = None
        self._noise = _START_NOISE
        self._shape: tuple[int, int] = (0, 0)

    def update(self, face_frame: FaceFrame) -> MotionFrame:
        """Measure one frame against the anchor."""
        face, grey = face_frame.face, face_frame.frame.grey
        if face is None or not face_frame.valid:
            self._reference = None
            return self._invalid(face_frame, face_frame.reason or "no face")
        changed = self._reference is not None and grey.shape != self._shape
        self._shape = grey.shape
        if self._reference is None or changed:
            self._begin(face_frame)
            return self._invalid(face_frame, "change of resolution") if changed else self._measured(face_frame)
        return self._follow(face_frame)

    def _begin(self, face_frame: FaceFrame) -> None:
        """Start a valid segment at this frame's landmarks."""
        assert face_frame.face is not None
        landmarks = face_frame.face.landmarks
        similarity = _eyes_similarity(landmarks)
        self._landmarks = similarity.inverse().apply(landmarks)
        self._head = Similarity(1.0, 0.0)
        self._head_start = similarity
        self._pose = still_pose(self._fine_grid, similarity)
        self._coarse_pose = still_pose(self._coarse_grid, similarity)
        self._previous = similarity
        self._quality = np.ones(_REGION_COUNT, np.float32)
        self._anchor_at(face_frame, np.zeros((_REGION_COUNT, 2), np.float32))

    def _anchor_at(self, face_frame: FaceFrame, displacement: Float32) -> None:
        """Make this frame, at the present pose, the anchor."""
        similarity, grey = self._pose.similarity, face_frame.frame.grey
        self._frames, self._last_s, self._refreshed_s = 1, face_frame.frame.time_s, face_frame.frame.time_s
        px = abs(similarity.scale) / _FINE_UNIT
        anchors = []
        for grid, scale in ((self._coarse_grid, px * _FINE_UNIT / _COARSE_UNIT), (self._fine_grid, px)):
            picture = make_picture(grey, similarity, grid=grid, px_per_pixel=scale)
            weight = pixel_weights(grid, self._landmarks)
            anchors.append(
                Anchor(picture, grid=grid, similarity=similarity, weight=weight, noise=self._noise)
            )
        fine = anchors[1]
        self._head_fit = HeadFit(self._fine_grid, self._landmarks)
        masks = region_masks(self._fine_grid, self._landmarks)
        pool = pool_nodes(self._fine_grid, masks)
        energy = masks @ (fine.weight * fine.template**2).ravel()
        self._reference = _Reference(
            face_frame.frame.time_s, anchors[0], fine, px, pool, masks, energy, fine.certainty(pool), displacement
        )
        self._pose = still_pose(self._fine_grid, similarity)
        self._coarse_pose = still_pose(self._coarse_grid, similarity)

    def _follow(self, face_frame: FaceFrame) -> MotionFrame:
        """Register this frame against the anchor; renew the anchor when it is due."""
        reference, grey = self._reference, face_frame.frame.grey
        assert reference is not None and face_frame.face is not None
        last = self._pose.similarity
        velocity = last @ self._previous.inverse()
        guess = velocity @ last
        px = reference.px_per_pixel
        coarse = make_picture(grey, guess, grid=self._coarse_grid, px_per_pixel=px * _FINE_UNIT / _COARSE_UNIT)
        fine = make_picture(grey, guess, grid=self._fine_grid, px_per_pixel=px)
        coarse_pose, fit, coarse_match = self._coarse(coarse, guess)
        if fit < _LOST and face_frame.fresh:
            coarse_pose, fit, coarse_match = self._coarse(coarse, _eyes_similarity(face_frame.face.landmarks))
        if fit < _LOST:
            self._reference = None
            if face_frame.fresh:
                self._begin(face_frame)
            return self._invalid(face_frame, "face lost")
        start = Pose(
            coarse_pose.similarity @ self._coarse_pose.similarity.inverse() @ last,
            self._pose.nodes + coarse_pose.nodes - self._coarse_pose.nodes,
            self._pose.turn,
            self._pose.light,
            coarse_pose.contrast,
        )
        pose, match = reference.fine.register(fine, start, steps=4, noise=self._noise)
        pose = self._regauged(pose)
        self._advance(pose, coarse_pose, match, coarse_match, face_frame.frame.time_s)
        measured = self._measured(face_frame)
        if face_frame.fresh:
            seen = pose.similarity.inverse().apply(face_frame.face.landmarks)
            self._landmarks = self._landmarks + np.float32(0.3) * (seen - self._landmarks)
        if face_frame.frame.time_s - reference.time_s >= _ANCHOR_S - 1e-6 or fit < _RENEW:
            self._landmarks = self._landmarks + displacement_at(self._fine_grid, self._pose.nodes, self._landmarks)
            self._anchor_at(face_frame, measured.displacement)
        return measured

    def _coarse(self, picture: Picture, guess: Similarity) -> tuple[Pose, float, Match]:
        """Bring the face to within a pixel at low resolution; also the share of the template that is explained."""
        assert self._reference is not None
        anchor, last = self._reference.coarse, self._coarse_pose
        start = Pose(guess, last.nodes, last.turn, last.light, last.contrast)
        pose, match = anchor.register(picture, start, steps=6, noise=self._noise)
        energy = float((match.used * anchor.template**2).sum()) + 1e-6
        return pose, 1 - float((match.residual**2).sum()) / energy, match

    def _regauged(self, pose: Pose) -> Pose:
        """The same motion, shared anew between head and expression."""
        head = self._head_fit.split(pose.nodes, pose.turn, last_turn=self._pose.turn)
        step = Similarity(complex(1 + head[2], head[3]), complex(head[0], head[1]))
        rest = pose.nodes - self._head_fit.field(head)
        own = (rest[0] + 1j * rest[1]) / step.scale
        nodes = np.stack([own.real, own.imag]).astype(np.float32)
        return replace(pose, similarity=pose.similarity @ step, nodes=nodes, turn=pose.turn + head[4:].astype(np.float32))

    def _advance(self, pose: Pose, coarse_pose: Pose, match: Match, coarse_match: Match, time_s: float) -> None:
        """Keep the new pose and what it says about noise and quality."""
        reference = self._reference
        assert reference is not None
        self._frames += 1
        share = 1 - np.exp(-(time_s - self._last_s) / _MEMORY_S)
        share = max(share, 1 / (self._frames + 1))
        reference.fine.learn(match, share=share, noise=self._noise)
        reference.coarse.learn(coarse_match, share=share, noise=self._noise)
        self._last_s = time_s
        if time_s - self._refreshed_s > _REFRESH_S:
            self._refreshed_s = time_s
            reference.fine.refresh_for(self._noise)
            reference.coarse.refresh_for(self._noise)
        self._head = pose.similarity @ self._pose.similarity.inverse() @ self._head
        self._previous, self._pose, self._coarse_pose = self._pose.similarity, pose, coarse_pose
        self._noise += 0.2 * (match.noise() - self._noise)
        error = reference.masks @ (match.residual**2).ravel()
        excess = np.maximum(error - self._noise**2, 0)
        self._quality = reference.certainty * reference.energy / (reference.energy + excess + 1e-6)

    def _measured(self, face_frame: FaceFrame) -> MotionFrame:
        """Row of a valid frame."""
        reference = self._reference
        assert reference is not None
        local = (reference.pool @ self._pose.nodes.reshape(2, -1).T).astype(np.float32)
        moved = (self._head @ self._head_start).shift - self._head_start.shift
        unit = abs(self._head_start.scale)
        head = moved.real / unit, moved.imag / unit, np.log(abs(self._head.scale)), np.angle(self._head.scale)
        return MotionFrame(
            index=face_frame.frame.index,
            time_s=face_frame.frame.time_s,
            displacement=reference.displacement + local,
            quality=self._quality,
            face_px=abs(self._pose.similarity.scale),
            head=np.array(head, np.float32),
            face=_face_row(face_frame),
            face_quality=face_frame.quality,
            reason="",
        )

    def _invalid(self, face_frame: FaceFrame, reason: str) -> MotionFrame:
        """Row of a frame without motion."""
        return MotionFrame(
            index=face_frame.frame.index,
            time_s=face_frame.frame.time_s,
            displacement=np.full((_REGION_COUNT, 2), np.nan, np.float32),
            quality=np.zeros(_REGION_COUNT, np.float32),
            face_px=float("nan"),
            head=np.full(4, np.nan, np.float32),
            face=_face_row(face_frame),
            face_quality=face_frame.quality,
            reason=reason,
        )


def _eyes_similarity(landmarks: Float32) -> Similarity:
    """Canonical face units to source pixels from the outer eye corners."""
    left, right = (complex(*landmarks[point].tolist()) for point in (36, 45))
    return Similarity(right - left, (left + right) / 2)


def _face_row(face_frame: FaceFrame) -> Float32:
    face = face_frame.face
    if face is None:
        return np.full(8, np.nan, np.float32)
    eyes = [face.landmarks[36:42].mean(axis=0), face.landmarks[42:48].mean(axis=0)]
    return np.concatenate([np.asarray(face.box, np.float32), *eyes]).astype(np.float32)

