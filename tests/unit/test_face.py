"""The face track on a public-domain portrait: landmarks, tracking, gaps."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from metst.config import FaceSettings
from metst.errors import DataError, FaceError
from metst.face import FaceFrame, FaceTracker, track_face
from metst.face import models as face_models
from metst.face.models import MESH_TO_68
from metst.video import Frame

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]
FACE_CENTER = (225.0, 120.0)
EYE_DISTANCE_PX = 62.0
EVERY_FRAME = FaceSettings(landmark_interval_s=0)
FPS = 30
# Each of the 68 points when the picture is mirrored.
MIRRORED = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1),
            45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
            *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65]  # fmt: skip


def placement(*, scale: float = 1.5, roll_deg: float = 0, x: float = 320, y: float = 240) -> npt.NDArray[np.float64]:
    """Affine map (2, 3) that brings the portrait's face to (x, y) of another frame."""
    matrix = cv2.getRotationMatrix2D(FACE_CENTER, roll_deg, scale)
    matrix[:, 2] += np.array([x, y]) - FACE_CENTER
    return matrix


def picture(portrait: Image, matrix: npt.NDArray[np.float64], *, shape: tuple[int, int] = (480, 640)) -> Image:
    shrinks = abs(np.linalg.det(matrix[:, :2])) < 1
    if shrinks:
        portrait = cv2.GaussianBlur(portrait, (0, 0), 0.4 / np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    flags = cv2.INTER_LINEAR if shrinks else cv2.INTER_CUBIC
    return cv2.warpAffine(portrait, matrix, shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


def moved(points: Points, matrix: npt.NDArray[np.float64]) -> Points:
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


def video(pictures: Sequence[Image]) -> list[Frame]:
    return [Frame(index=i, time_s=i / FPS, grey=grey) for i, grey in enumerate(pictures)]


def track(pictures: Sequence[Image], settings: FaceSettings | None = None) -> list[FaceFrame]:
    return list(track_face(video(pictures), settings=settings or FaceSettings()))


def landmarks_of(grey: Image) -> Points:
    face = FaceTracker().update(Frame(index=0, time_s=0.0, grey=grey)).face
    assert face is not None
    return face.landmarks


def without_face(shape: tuple[int, int] = (480, 640)) -> Image:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(110 + 50 * np.sin(columns / 40) * np.cos(rows / 55), np.uint8)


def person(portrait: Image, *, x: float, y: float = 240, scale: float = 1.2) -> Image:
    """Only the head, before a background that stays."""
    matrix = placement(x=x, y=y, scale=scale)
    head = cv2.ellipse(np.zeros(portrait.shape, np.uint8), (226, 110), (75, 95), 0, 0, 360, 255, thickness=-1)
    weight = cv2.warpAffine(cv2.GaussianBlur(head, (0, 0), 6), matrix, (640, 480))[..., None] / 255
    layers = np.stack([picture(portrait, matrix), without_face()], axis=-1)
    return np.asarray((layers * np.concatenate([weight, 1 - weight], axis=-1)).sum(axis=-1), np.uint8)


@pytest.fixture(scope="module")
def portrait_points(astronaut: Image) -> Points:
    return landmarks_of(astronaut)


def test_landmarks_of_a_mirrored_portrait_are_the_mirrored_landmarks(astronaut: Image, portrait_points: Points) -> None:
    back = landmarks_of(np.ascontiguousarray(astronaut[:, ::-1]))[MIRRORED]
    back[:, 0] = astronaut.shape[1] - 1 - back[:, 0]
    off = np.linalg.norm(back - portrait_points, axis=1)
    assert off.mean() < 0.03 * EYE_DISTANCE_PX
    assert off.max() < 0.07 * EYE_DISTANCE_PX


def test_the_mapping_itself_is_symmetric() -> None:
    assert MESH_TO_68.shape == (68, 2)
    on_the_midline = [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]
    used = [frozenset(pair) for pair in MESH_TO_68.tolist()]
    assert len(set(used)) == 68
    assert [i for i in range(68) if MIRRORED[i] == i] == on_the_midline


def test_landmarks_lie_where_the_face_has_them(portrait_points: Points) -> None:
    x, y = portrait_points.T
    assert (np.diff(x[[0, 2, 4, 6, 8, 10, 12, 14, 16]]) > 0).all(), "jaw runs from left to right"
    assert (np.diff(y[:9]) > 0).all(), "jaw falls to the chin"
    assert (np.diff(y[8:17]) < 0).all(), "and rises again"
    assert (np.diff(x[17:27]) > 0).all(), "brows run from left to right"
    assert y[17:27].max() < y[36:48].min(), "brows above eyes"
    assert (np.diff(y[27:31]) > 0).all(), "nose bridge falls"
    assert (np.diff(x[31:36]) > 0).all(), "nostrils run from left to right"
    assert y[36:48].max() < y[31:36].min() < y[31:36].max() < y[48:68].min(), "eyes above nose above mouth"
    assert y[48:68].max() < y[8], "mouth above chin"
    for eye in (36, 42):
        assert x[eye] == x[eye : eye + 6].min()
        assert x[eye + 3] == x[eye : eye + 6].max()
        assert y[[eye + 1, eye + 2]].max() < y[[eye + 4, eye + 5]].min(), "upper lid above lower lid"
    assert x[48] < x[49:54].min()
    assert x[54] > x[49:54].max()
    assert y[61:64].mean() < y[65:68].mean(), "upper lip above lower lip: the portrait smiles"


@pytest.mark.parametrize(
    "place",
    [
        {"scale": 1.0, "x": 200.5, "y": 210.25},
        {"scale": 0.7},
        {"scale": 2.5, "y": 260.0},
        {"roll_deg": 25.0},
        {"roll_deg": -40.0, "scale": 1.2},
    ],
    ids=str,
)
def test_landmarks_follow_place_size_and_roll(
    astronaut: Image, portrait_points: Points, place: dict[str, float]
) -> None:
    matrix = placement(**place)
    found = landmarks_of(picture(astronaut, matrix))
    size = EYE_DISTANCE_PX * place.get("scale", 1.5)
    off = np.linalg.norm(found - moved(portrait_points, matrix), axis=1)
    assert off.mean() < 0.02 * size


@pytest.mark.parametrize("interval_s", [0.0, 0.2])
def test_landmarks_of_a_still_noisy_face_rest(astronaut: Image, interval_s: float) -> None:
    rng = np.random.default_rng(1)
    still = picture(astronaut, placement())
    noisy = [np.clip(still + rng.normal(0, 2, still.shape), 0, 255).astype(np.uint8) for _ in range(60)]
    frames = track(noisy, FaceSettings(landmark_interval_s=interval_s))
    points = np.array([frame.face.landmarks for frame in frames if frame.face is not None])
    assert len(points) == 60
    assert points[20:].std(axis=0).mean() < 0.1


def test_a_moving_face_is_followed_without_lag(astronaut: Image) -> None:
    places = [placement(x=250 + 5 * i, y=240 + 2 * i) for i in range(25)]
    frames = track([picture(astronaut, place) for place in places], EVERY_FRAME)
    centers = np.array([frame.face.landmarks.mean(axis=0) for frame in frames if frame.face is not None])
    steps = np.diff(centers, axis=0)
    np.testing.assert_allclose(centers[-1] - centers[0], [5 * 24, 2 * 24], atol=1.5)
    np.testing.assert_allclose(steps[2:].mean(axis=0), [5, 2], atol=0.15)


def test_the_mesh_is_carried_between_key_frames_of_a_still_face(astronaut: Image) -> None:
    frames = track([picture(astronaut, placement())] * 37, FaceSettings(landmark_interval_s=0.2))
    assert [frame.frame.index for frame in frames if frame.fresh] == [0, 18, 36]
    assert all(frame.valid for frame in frames)
    assert frames[17].face is frames[0].face


def test_a_face_that_wanders_is_looked_at_more_often_than_one_that_rests(astronaut: Image) -> None:
    pictures = [person(astronaut, x=320 + 0.4 * i, y=240) for i in range(25)]
    frames = track(pictures, FaceSettings(landmark_interval_s=0.2))
    assert [frame.frame.index for frame in frames if frame.fresh] == [0, 6, 12, 18, 24]


def test_a_sudden_movement_is_measured_at_once(astronaut: Image) -> None:
    here, there = person(astronaut, x=320, y=240), person(astronaut, x=328, y=245)
    frames = track([here, here, here, there])
    assert [frame.fresh for frame in frames] == [True, False, False, True]
    assert frames[0].face is not None
    assert frames[3].face is not None
    shift = (frames[3].face.landmarks - frames[0].face.landmarks).mean(axis=0)
    np.testing.assert_allclose(shift, [8, 5], atol=1)


def test_a_change_of_light_alone_is_no_movement(astronaut: Image) -> None:
    still = picture(astronaut, placement())
    frames = track([still, (still * 0.7).astype(np.uint8), still])
    assert [frame.valid for frame in frames] == [True] * 3
    assert [frame.fresh for frame in frames] == [True, False, False]


def test_a_face_that_leaves_is_a_gap_and_is_found_again(astronaut: Image) -> None:
    leaving = [person(astronaut, x=x) for x in range(320, -160, -8)]
    pictures = [leaving[0]] * 35 + leaving + [without_face()] * 10 + leaving[::-1] + [leaving[0]] * 3
    frames = track(pictures)
    assert all(frame.valid for frame in frames[:40])
    gone = frames[35 + len(leaving) : 45 + len(leaving)]
    assert {(frame.face, frame.quality, frame.reason) for frame in gone} == {(None, 0.0, "face lost")}
    assert all(frame.valid for frame in frames[-5:])
    for frame, x in zip(frames[35 : 35 + len(leaving)], range(320, -160, -8), strict=True):
        assert frame.face is None or abs(frame.face.landmarks[30, 0] - x) < 15, "an old place was kept"


def test_a_face_that_vanishes_between_key_frames_is_noticed_at_once(astronaut: Image) -> None:
    frames = track([person(astronaut, x=320)] * 32 + [without_face()] * 4)
    assert [frame.valid for frame in frames] == [True] * 32 + [False] * 4
    assert {frame.face for frame in frames[32:]} == {None}


def test_no_face_at_all(astronaut: Image) -> None:
    frames = track([without_face()] * 3)
    assert {(frame.face, frame.reason, frame.valid) for frame in frames} == {(None, "no face", False)}


def test_black_frames_are_a_gap(astronaut: Image) -> None:
    seen, black = picture(astronaut, placement()), np.full((480, 640), 16, np.uint8)
    frames = track([seen, seen, black, black, seen, seen])
    assert [frame.reason for frame in frames] == ["", "", "black frame", "black frame", "", ""]
    assert frames[2].face is None


def test_a_cut_is_a_gap_of_one_frame_although_the_person_stays(astronaut: Image) -> None:
    before, after = placement(x=200, y=200), placement(x=440, y=260, scale=1.8)
    frames = track([picture(astronaut, before)] * 3 + [picture(astronaut, after)] * 3)
    assert [frame.reason for frame in frames] == ["", "", "", "scene cut", "", ""]
    assert frames[3].face is None
    assert frames[4].face is not None
    assert abs(frames[4].face.landmarks[:, 0].mean() - 440) < 30


def test_a_change_of_picture_size_is_a_cut(astronaut: Image) -> None:
    seen = picture(astronaut, placement())
    frames = track([seen, seen, cv2.resize(seen, (480, 360)), cv2.resize(seen, (480, 360))])
    assert [frame.reason for frame in frames] == ["", "", "scene cut", ""]
    assert frames[3].face is not None
    assert abs(frames[3].face.landmarks[:, 0].mean() - 240) < 20


def test_a_face_is_detected_near_its_place_as_in_the_whole_picture(astronaut: Image) -> None:
    grey = picture(astronaut, placement(x=420, y=180, scale=1.2))
    models = face_models.FaceModels()
    (whole,) = models.detect(grey, long_side=256)
    (near,) = models.detect_near(grey, whole.box)
    np.testing.assert_allclose(near.box, whole.box, atol=0.1 * np.ptp(whole.box[::2]))
    np.testing.assert_allclose(near.eyes, whole.eyes, atol=0.1 * EYE_DISTANCE_PX)
    elsewhere = whole.box - np.tile(np.float32([300, 0]), 2)
    assert models.detect_near(grey, elsewhere) == []
    assert models.detect_near(grey, elsewhere - 1000) == []


@pytest.mark.parametrize("given", [False, True])
def test_a_frame_that_cannot_be_compared_with_the_last_is_a_gap(
    astronaut: Image, portrait_points: Points, given: bool
) -> None:
    frames = [replace(frame, cut="frozen picture" if frame.index == 3 else "") for frame in video([astronaut] * 6)]
    landmarks = np.stack([portrait_points] * 6) if given else None
    assert [frame.reason for frame in track_face(frames, landmarks=landmarks)] == ["", "", "", "frozen picture", "", ""]


def test_an_empty_scene_is_searched_now_and_then_and_a_face_is_found_at_once(
    astronaut: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []
    detect = face_models.FaceModels.detect

    def counted(models: face_models.FaceModels, grey: Image, *, long_side: int) -> list[face_models.Detection]:
        searched.append(long_side)
        return detect(models, grey, long_side=long_side)

    monkeypatch.setattr(face_models.FaceModels, "detect", counted)
    tracker = FaceTracker(FaceSettings(landmark_interval_s=0.2))
    pictures = video([without_face()] * 31 + [person(astronaut, x=320)])
    found = [tracker.update(frame) for frame in pictures[:31]]
    assert {frame.reason for frame in found} == {"no face"}
    assert len(searched) == 6 + 2 * 2  # every 0.2 s, twice at all three sizes
    assert tracker.update(pictures[31]).valid


@pytest.mark.parametrize("shape", [(1, 1), (9, 7), (20, 900), (900, 20)])
def test_pictures_too_small_for_a_face_have_none(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    frames = track([rng.integers(0, 255, shape).astype(np.uint8) for _ in range(3)])
    assert {frame.face for frame in frames} == {None}


@pytest.mark.parametrize(
    ("place", "reason"),
    [({"scale": 0.45}, "face too small"), ({"y": 440}, "face cut off"), ({"scale": 0.6}, "")],
    ids=str,
)
def test_faces_that_cannot_be_measured(astronaut: Image, place: dict[str, float], reason: str) -> None:
    frame = track([picture(astronaut, placement(**place))])[0]
    assert frame.face is not None
    assert frame.reason == reason
    assert frame.valid == (not reason)


def test_quality_grows_with_the_size_of_the_face(astronaut: Image) -> None:
    small, middle, large = (track([picture(astronaut, placement(scale=s))])[0].quality for s in (0.55, 0.8, 1.5))
    assert 0 < small < middle < large <= 1


def turned(points: Points, yaw_deg: float) -> Points:
    """Landmarks of a head with a protruding nose, seen turned about the vertical."""
    half_width = np.ptp(points[:17, 0]) / 2
    depth = np.zeros(68)
    depth[27:31] = half_width * np.linspace(0.9, 1.3, 4)
    center = points[[0, 16], 0].mean()
    angle = np.radians(yaw_deg)
    seen = points.copy()
    seen[:, 0] = center + (points[:, 0] - center) * np.cos(angle) + depth * np.sin(angle)
    return seen


def test_yaw_grows_with_the_turn_and_changes_sign(portrait_points: Points) -> None:
    turns = [-60, -30, -10, 10, 30, 60]
    given = np.array([turned(portrait_points, yaw) for yaw in turns])
    frames = list(track_face(video([without_face((512, 512))] * len(turns)), landmarks=given))
    yaws = [frame.face.yaw_deg for frame in frames if frame.face is not None]
    assert yaws == sorted(yaws)
    assert np.sign(yaws).tolist() == np.sign(turns).tolist()
    assert [frame.reason for frame in frames] == ["profile view", "", "", "", "", "profile view"]
    assert frames[1].quality < frames[2].quality


def test_given_landmarks_replace_the_networks(portrait_points: Points, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_models, "DETECTOR_FILE", "absent.tflite")
    given = np.stack([portrait_points, np.full((68, 2), np.nan, np.float32), portrait_points + 3])
    frames = list(track_face(video([without_face((512, 512))] * 3), landmarks=given))
    assert [frame.reason for frame in frames] == ["", "no face", ""]
    assert frames[1].face is None
    assert frames[2].face is not None
    np.testing.assert_array_equal(frames[2].face.landmarks, portrait_points + 3)
    assert frames[2].fresh


def test_given_landmarks_must_fit() -> None:
    with pytest.raises(DataError, match=r"\(frames, 68, 2\).*\(3, 5, 2\)"):
        FaceTracker(landmarks=np.zeros((3, 5, 2)))
    with pytest.raises(DataError, match=r"2 frames were given.* frame 2"):
        list(track_face(video([without_face()] * 3), landmarks=np.full((2, 68, 2), np.nan)))


def test_missing_network_files_are_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_models, "DETECTOR_FILE", "absent.tflite")
    with pytest.raises(FaceError, match=r"absent\.tflite is missing .* reinstall"):
        FaceTracker()
