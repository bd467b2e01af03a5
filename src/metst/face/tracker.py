"""Stage 2: frames -> one face track.

The largest face at the start is followed from then on.  The mesh network runs at key frames,
on a crop taken from the previous mesh as MediaPipe does; between them the mesh is carried,
and a cheap comparison of the pictures tells how soon the next key frame is due.  A face that is
lost is a gap with a reason.

Whether a face is *the same person* is decided by place and by looks
(:class:`metst.face.memory.Person`).  On real clips a person's looks correlate by 0.64 or more
over different expressions, a hand in front and half a minute; those of two people by 0.2 in
the median, but by 0.66 in the highest tenth.  So a stranger of similar looks who appears in
the same place can be taken for the person; and somebody whose light changes entirely while
out of sight is refused: the rest of the track then says "another person".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from metst.arrays import Float32Array, FloatArray, Image
from metst.config import FaceSettings
from metst.errors import DataError
from metst.face.memory import Fit, MeshFilter, Person, SceneWatch, difference, face_looks, glance
from metst.face.models import MESH_POINTS, Crop, FaceModels, box_overlap, landmarks_from_mesh
from metst.regions import INNER_POINTS, LANDMARK_COUNT, OUTER_EYE_CORNERS
from metst.timeline import TIMESTAMP_SLACK_S

if TYPE_CHECKING:
    from metst.video import Frame

# Where no origin is named, a number was set by hand.
_JAW_ENDS, _NOSE_TIP = (0, 16), 30  # landmarks
_LEAST_WIDTH = 1e-6  # square pixels; in landmarks that are given the ends of the jaw may coincide
_YAW_PER_RATIO_DEG = 41.0  # per half of the jaw's width; measured on rendered heads, see Face.yaw_deg

_SEARCH_SIZES = (256, 128, 384)  # the detector's long sides, the most successful first
_MAX_CANDIDATES = 8  # detections that the mesh network looks at, the best, of each size
_SURE = 0.85  # presence of a face that is new; things that are no face reach 0.78, faces behind hands fall to 0.9
_SAME_PLACE_IOU = 0.3  # of boxes; above it they are of one face
_CROP_OFF, _CROP_GROWN = 0.05, 0.1  # of the side of a crop; one that lies farther off is taken anew
_DRIFT_CHECKS = 3  # detections missed in a row before the mesh is believed to sit on something else

# Differences of glances, 0 to 1.4.
_MOVED = 0.3  # by 2 % of the face; strong noise gives 0.06, a change of light 0.05
_RESTLESS = 0.2  # by 1.3 %: landmarks err by half of that
_PATIENCE = 3  # a face that rests is looked at so many times less often
_CHANGED = 0.1  # of the whole picture: somebody may have come
_JUMP, _JUMP_PER_S = 0.06, 2.5  # face sizes, at once and a second; people turn and nod at up to 1.3 a second

_DEFAULTS = FaceSettings()  # see metst.config


@dataclass(frozen=True, eq=False)
class Face:
    """One face in one frame, in source pixels.

    Parameters
    ----------
    mesh : (468, 2) float32
        MediaPipe's face mesh; NaN where only landmarks were given.
    landmarks : (68, 2) float32
        iBUG order; its left is the left of the picture.
    score : float
        Probability that this is a face.
    box : (4,) float32
        Left, top, right, bottom.
    """

    mesh: Float32Array
    landmarks: Float32Array
    score: float
    box: Float32Array

    @property
    def eye_distance_px(self) -> float:
        """Distance between the outer eye corners."""
        left, right = self.landmarks[list(OUTER_EYE_CORNERS)]
        return float(np.linalg.norm(right - left))

    @property
    def yaw_deg(self) -> float:
        """Turn of the head about the vertical, positive to the right of the picture.

        From how far the nose tip lies off the middle between the jaw's ends, in halves of their
        distance: one such half per 41 degrees on rendered heads (within 3 degrees of the truth
        up to 40 degrees, within 8 up to 70).
        """
        left, right = self.landmarks[list(_JAW_ENDS)]
        across, off = right - left, self.landmarks[_NOSE_TIP] - (left + right) / 2
        return _YAW_PER_RATIO_DEG * 2 * float(off @ across) / max(float(across @ across), _LEAST_WIDTH)


@dataclass(frozen=True, eq=False)
class FaceFrame:
    """What is known about the face in one frame.

    Parameters
    ----------
    frame : Frame
    face : Face or None
        None when the person is not in sight.
    fresh : bool
        The landmarks were measured on this very frame, not carried from the last key frame.
    quality : float
        In [0, 1]: the score, lowered for faces under twice the smallest size and for turns
        beyond half the largest yaw.
    reason : str
        Empty when the face can be used, else why not: "no face", "face lost", "another person",
        "scene cut", "face jumped", "black frame", "face cut off", "profile view", "face too small",
        or what :attr:`metst.video.Frame.cut` says.
    """

    frame: Frame
    face: Face | None
    fresh: bool
    quality: float
    reason: str

    @property
    def valid(self) -> bool:
        """Motion may be measured on this frame."""
        return self.face is not None and not self.reason


@dataclass(eq=False)
class _Track:
    """The followed face as of the last key frame."""

    face: Face
    quality: float
    reason: str
    glance: Float32Array
    seen_s: float
    fitted_s: float
    detected_s: float
    missed_checks: int = 0


@dataclass(frozen=True, eq=False)
class _VainSearch:
    """When the person was looked for in vain, what the frame looked like, and what was reported."""

    time_s: float
    view: Float32Array
    reason: str


class FaceTracker:
    """Follows one person from frame to frame; constant memory.

    Parameters
    ----------
    settings : FaceSettings
    landmarks : (T, 68, 2) array, optional
        Used instead of the networks, by frame index; NaN rows are "no face".

    Raises
    ------
    FaceError
        The installation lacks the network files.
    DataError
        The given landmarks have another shape.
    """

    def __init__(self, settings: FaceSettings = _DEFAULTS, *, landmarks: FloatArray | None = None) -> None:
        self.settings = settings
        self._given = None if landmarks is None else _checked_landmarks(landmarks)
        self._models = None if self._given is not None else FaceModels()
        self._scene = SceneWatch()
        self._person = Person()
        self._filter = MeshFilter()
        self._track: _Track | None = None
        self._searched_s = -math.inf
        self._vain: _VainSearch | None = None

    def update(self, frame: Frame) -> FaceFrame:
        """Find the person in the next frame.

        Raises
        ------
        DataError
            Landmarks were given, but not for this frame.
        """
        if self._given is not None:
            return self._from_given(frame, self._given)
        other_scene = self._scene.is_cut(frame.grey)
        cut = frame.cut or ("scene cut" if other_scene else "")
        if self._scene.is_black(frame.grey):
            return self._lose(frame, "black frame")
        if self._track is None:
            return self._search_when_due(frame, cut=bool(cut))
        if cut:
            # Nothing may be measured across a cut, even when the person is there on both sides.
            self._search(frame, wide=True)
            return _gap(frame, cut)
        return self._follow(frame, self._track)

    def boxes_in(self, grey: Image) -> list[Float32Array]:
        """Boxes of all faces in a picture, whoever's, as the networks see them."""
        return [fit.box for fit in self._candidates(grey, sizes=_SEARCH_SIZES)]

    def _from_given(self, frame: Frame, given: Float32Array) -> FaceFrame:
        if not 0 <= frame.index < len(given):
            raise DataError(f"landmarks of {len(given)} frames were given, but the video has a frame {frame.index}")
        points = given[frame.index]
        if frame.cut:
            return _gap(frame, frame.cut)
        if not np.isfinite(points).all():
            return _gap(frame, "no face")
        mesh = np.full((MESH_POINTS, 2), np.nan, np.float32)
        return self._report(frame, Face(mesh, points, 1.0, _box(points)), fresh=True)

    def _follow(self, frame: Frame, track: _Track) -> FaceFrame:
        """Carry the mesh, or fit it anew when that is due or the picture asks for it."""
        elapsed_s, track.seen_s = frame.time_s - track.seen_s, frame.time_s
        if not self._is_due(frame, track):
            return FaceFrame(frame, track.face, fresh=False, quality=track.quality, reason=track.reason)
        fit = self._refit(frame.grey, track.face.mesh)
        if fit.presence < self.settings.min_score or self._person.is_stranger(fit):
            return self._search(frame, wide=True)
        if not self._confirmed_by_detector(frame, fit, track):
            return self._lose(frame, "face lost")
        if _has_jumped(track.face.box, fit.box, elapsed_s=elapsed_s):
            # An edit within the scene, or too fast to be measured.
            self._filter = MeshFilter()
            return replace(self._accept(frame, fit), quality=0.0, reason="face jumped")
        return self._accept(frame, fit)

    def _is_due(self, frame: Frame, track: _Track) -> bool:
        """Whether the mesh must be fitted anew: how soon depends on how far the face has moved since the last time."""
        since_s, interval_s = frame.time_s - track.fitted_s + TIMESTAMP_SLACK_S, self.settings.landmark_interval_s
        if since_s >= _PATIENCE * interval_s:
            return True
        moved = difference(glance(frame.grey, box=track.face.box), track.glance)
        return moved >= (_RESTLESS if since_s >= interval_s else _MOVED)

    def _confirmed_by_detector(self, frame: Frame, fit: Fit, track: _Track) -> bool:
        """False when the detector has repeatedly seen no face where the mesh is."""
        if frame.time_s - track.detected_s < self.settings.detect_interval_s - TIMESTAMP_SLACK_S:
            return True
        boxes = [found.box for found in self._networks.detect_near(frame.grey, fit.box)]
        track.detected_s = frame.time_s
        track.missed_checks = 0 if _is_among(fit.box, boxes) else track.missed_checks + 1
        return track.missed_checks < _DRIFT_CHECKS

    def _search_when_due(self, frame: Frame, *, cut: bool) -> FaceFrame:
        """Look for the person when something has changed in the picture since nobody was found, else now and then."""
        vain = self._vain
        if vain is not None and not cut:
            due = frame.time_s - vain.time_s >= self.settings.landmark_interval_s - TIMESTAMP_SLACK_S
            if not due and difference(self._scene.view, vain.view) < _CHANGED:
                return _gap(frame, vain.reason)
        found = self._search(frame, wide=cut)
        self._vain = None if found.face else _VainSearch(frame.time_s, self._scene.view, found.reason)
        return found

    def _search(self, frame: Frame, *, wide: bool) -> FaceFrame:
        """Look for the person everywhere; at all sizes when ``wide`` and now and then, else at the likeliest."""
        wide = wide or frame.time_s - self._searched_s >= self.settings.detect_interval_s
        if wide:
            self._searched_s = frame.time_s
        self._forget_track()
        found = self._candidates(frame.grey, sizes=_SEARCH_SIZES if wide else _SEARCH_SIZES[:1])
        if not found:
            return _gap(frame, "face lost" if self._person.known else "no face")
        chosen = self._person.pick(found)
        return _gap(frame, "another person") if chosen is None else self._accept(frame, chosen)

    def _candidates(self, grey: Image, *, sizes: tuple[int, ...]) -> list[Fit]:
        """All faces that the detector proposes and the mesh network confirms, each once."""
        found: list[Fit] = []
        for size in sizes:
            for detection in self._networks.detect(grey, long_side=size)[:_MAX_CANDIDATES]:
                if _is_among(detection.box, [fit.box for fit in found]):
                    continue
                first = self._fit(grey, detection.crop)
                fit = self._refit(grey, first.mesh)
                if min(first.presence, fit.presence) >= max(self.settings.min_score, _SURE):
                    found.append(fit)
        return found

    def _refit(self, grey: Image, mesh: Float32Array) -> Fit:
        """Fit from the last mesh; once more where the face has moved so far that the crop was off."""
        crop = Crop.of_mesh(mesh)
        fit = self._fit(grey, crop)
        after = Crop.of_mesh(fit.mesh)
        off = np.linalg.norm(after.center - crop.center) > _CROP_OFF * crop.side
        grown = abs(after.side / crop.side - 1) > _CROP_GROWN
        return self._fit(grey, after) if (off or grown) and fit.presence >= self.settings.min_score else fit

    def _fit(self, grey: Image, crop: Crop) -> Fit:
        mesh, presence = self._networks.fit_mesh(grey, crop)
        box = _box(mesh)
        return Fit(mesh, box, presence, face_looks(grey, mesh, box=box))

    def _accept(self, frame: Frame, fit: Fit) -> FaceFrame:
        """Make this frame the key frame."""
        mesh = self._filter.smooth(fit.mesh, time_s=frame.time_s)
        face = Face(mesh, landmarks_from_mesh(mesh), fit.presence, _box(mesh))
        self._person.remember(fit, time_s=frame.time_s)
        report, view = self._report(frame, face, fresh=True), glance(frame.grey, box=face.box)
        at_s = frame.time_s
        if self._track is None:
            self._track = _Track(face, report.quality, report.reason, view, seen_s=at_s, fitted_s=at_s, detected_s=at_s)
        else:
            track = self._track
            track.face, track.quality, track.reason = face, report.quality, report.reason
            track.glance, track.fitted_s = view, at_s
        return report

    def _lose(self, frame: Frame, reason: str) -> FaceFrame:
        self._forget_track()
        return _gap(frame, reason)

    def _forget_track(self) -> None:
        if self._track is not None:
            self._person = self._person.out_of_sight()
        self._track, self._filter = None, MeshFilter()

    def _report(self, frame: Frame, face: Face, *, fresh: bool) -> FaceFrame:
        reason = _why_unusable(face, shape=frame.grey.shape, settings=self.settings)
        return FaceFrame(frame, face, fresh, _quality(face, settings=self.settings), reason)

    @property
    def _networks(self) -> FaceModels:
        assert self._models is not None
        return self._models


def track_face(
    frames: Iterable[Frame],
    *,
    settings: FaceSettings = _DEFAULTS,
    landmarks: FloatArray | None = None,
) -> Iterator[FaceFrame]:
    """Follow one person through a video, one :class:`FaceFrame` per frame, in constant memory.

    Parameters
    ----------
    frames : iterable of Frame
        In order of time.
    settings : FaceSettings
        How often the networks run and what counts as a usable face.
    landmarks : (T, 68, 2) array, optional
        Used instead of the networks, by frame index, in source pixels; NaN rows are "no face".

    Raises
    ------
    FaceError, DataError
        As :class:`FaceTracker` does.
    """
    tracker = FaceTracker(settings, landmarks=landmarks)
    return (tracker.update(frame) for frame in frames)


def lie_on_faces(frames: Iterable[Frame], landmarks: FloatArray) -> list[bool]:
    """Whether landmarks ``(T, 68, 2)``, by frame index, lie on a face; of each frame with a face that metst finds."""
    points, tracker = _checked_landmarks(landmarks), FaceTracker()
    boxes_in = ((frame.index, tracker.boxes_in(frame.grey)) for frame in frames)
    return [_is_among(_box(points[index]), boxes) for index, boxes in boxes_in if boxes]


def _why_unusable(face: Face, *, shape: tuple[int, ...], settings: FaceSettings) -> str:
    inner = face.landmarks[INNER_POINTS]
    if (inner < 0).any() or (inner >= shape[1::-1]).any():
        return "face cut off"
    if abs(face.yaw_deg) > settings.max_yaw_deg:
        return "profile view"
    if face.eye_distance_px < settings.min_eye_distance_px:
        return "face too small"
    return ""


def _quality(face: Face, *, settings: FaceSettings) -> float:
    size = face.eye_distance_px / (2 * settings.min_eye_distance_px)
    frontal = 2 * (1 - abs(face.yaw_deg) / settings.max_yaw_deg)
    return face.score * float(np.clip(size, 0, 1) * np.clip(frontal, 0, 1))


def _has_jumped(before: Float32Array, after: Float32Array, *, elapsed_s: float) -> bool:
    """Whether the face went farther between two frames than heads do."""
    size = float((before[2:] - before[:2]).max())
    shift = float(np.linalg.norm(after[:2] + after[2:] - before[:2] - before[2:])) / 2 / size
    return shift > _JUMP and shift > _JUMP_PER_S * elapsed_s


def _gap(frame: Frame, reason: str) -> FaceFrame:
    return FaceFrame(frame, None, fresh=False, quality=0.0, reason=reason)


def _box(points: Float32Array) -> Float32Array:
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def _is_among(box: Float32Array, boxes: list[Float32Array]) -> bool:
    return bool(boxes) and float(box_overlap(box, np.stack(boxes)).max()) > _SAME_PLACE_IOU


def _checked_landmarks(landmarks: FloatArray) -> Float32Array:
    points = np.asarray(landmarks, np.float32)
    if points.ndim != 3 or points.shape[1:] != (LANDMARK_COUNT, 2):
        raise DataError(f"landmarks must be (frames, {LANDMARK_COUNT}, 2) source pixels, got shape {points.shape}")
    return points
