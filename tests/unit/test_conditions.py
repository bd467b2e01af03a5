"""Conditions are noticed on pictures and motions made for it, and nothing is noticed on a face at rest."""

import cv2
import numpy as np
import pytest

from metst.config import FaceSettings
from metst.face import FaceTracker
from metst.motion import MotionTracker
from metst.motion.canonical import make_grid, region_masks
from metst.motion.conditions import BlinkWatch, SpeechWatch, backdated, make_sites
from metst.regions import REGION_NAMES, REGIONS
from metst.results import Condition, face_conditions, in_words
from metst.synthesis.portrait import portrait, portrait_landmarks
from metst.video import Frame

RATE_HZ = 30.0
LIDS, MOUTH = [16, 17], list(range(8, 14))
Grey = np.ndarray


@pytest.fixture(scope="module")
def face() -> Grey:
    return cv2.cvtColor(portrait(), cv2.COLOR_RGB2GRAY)


@pytest.fixture(scope="module")
def landmarks() -> np.ndarray:
    return portrait_landmarks()


def conditions_of(pictures: list[Grey], landmarks: np.ndarray) -> np.ndarray:
    """(T, 18) conditions; the face stands still, so the landmarks are those of the portrait, noise on top."""
    rng = np.random.default_rng(0)
    faces = FaceTracker(FaceSettings(), landmarks=np.tile(landmarks, (len(pictures), 1, 1)))
    tracker, rows = MotionTracker(), []
    for index, picture in enumerate(pictures):
        noisy = np.clip(np.rint(picture + rng.normal(0, 1.5, picture.shape)), 0, 255).astype(np.uint8)
        rows.append(tracker.update(faces.update(Frame(index, index / RATE_HZ, noisy))))
    assert all(row.valid for row in rows)
    return np.array([row.conditions for row in rows])


def still(face: Grey, count: int) -> list[Grey]:
    return [face] * count


def with_closed_eyes(face: Grey, landmarks: np.ndarray, *, eyes: tuple[slice, ...], share: float) -> Grey:
    """Skin from above drawn down over the eyes, a line of lashes at its lower edge."""
    picture = face.astype(np.float32)
    for eye in eyes:
        points = landmarks[eye]
        (left, _), (right, _) = points[0], points[3]
        width = right - left
        middle = (points[0, 1] + points[3, 1]) / 2
        rows = np.arange(round(middle - 0.3 * width), round(middle + (0.5 * share - 0.2) * width))
        columns = slice(round(left - 2), round(right + 3))
        skin = face[round(middle - 0.42 * width) : round(middle - 0.34 * width), columns].mean()
        picture[rows, columns] = skin + 2.0 * (np.arange(columns.stop - columns.start) % 2)
        picture[rows[-2:] + 1, columns] = 0.35 * skin
    return np.clip(picture, 0, 255).astype(np.uint8)


BOTH = (slice(36, 42), slice(42, 48))


def test_a_face_at_rest_has_none(face: Grey, landmarks: np.ndarray) -> None:
    assert not conditions_of(still(face, 45), landmarks).any()


def test_a_blink_is_seen_on_the_lids_while_it_lasts(face: Grey, landmarks: np.ndarray) -> None:
    shut = with_closed_eyes(face, landmarks, eyes=BOTH, share=1.0)
    found = conditions_of(still(face, 20) + [shut] * 6 + still(face, 20), landmarks)
    blink = (found & Condition.BLINK) > 0
    assert blink[20:26, LIDS].all()
    assert not blink[:20].any()
    assert not blink[28:].any()
    assert not np.delete(blink, LIDS, axis=1).any()


def test_a_wink_is_no_blink(face: Grey, landmarks: np.ndarray) -> None:
    shut = with_closed_eyes(face, landmarks, eyes=BOTH[:1], share=1.0)
    found = conditions_of(still(face, 20) + [shut] * 6 + still(face, 10), landmarks)
    assert not (found & Condition.BLINK).any()


def test_eyes_kept_closed_are_a_blink_for_half_a_second_only() -> None:
    watch = BlinkWatch(usual=0.1)
    opened = np.r_[np.full(30, 0.1), np.full(90, 0.005), np.full(30, 0.1), np.full(6, 0.005), np.full(10, 0.1)]
    blink = np.array([watch.update(o, time_s=i / 30, elapsed_s=1 / 30) for i, o in enumerate(opened)])
    assert blink[30:45].all()
    assert not blink[47:150].any()
    assert blink[150:156].all()
    assert not blink[156:].any()


def test_the_lids_of_a_hidden_eye_do_not_blink() -> None:
    watch = BlinkWatch(usual=0.004)
    assert not any(watch.update(o, time_s=i / 30, elapsed_s=1 / 30) for i, o in enumerate([0.004, 0.0, 0.003] * 20))


@pytest.mark.parametrize("rate_hz", [2.0, 3.5, 5.0, 7.5])
@pytest.mark.parametrize("frame_hz", [25.0, 60.0])
def test_swings_of_the_lip_at_the_rate_of_syllables_are_speech(rate_hz: float, frame_hz: float) -> None:
    time_s = np.arange(0, 4, 1 / frame_hz)
    lip = np.where((time_s > 1) & (time_s < 3), 0.02 * (1 - np.cos(2 * np.pi * rate_hz * (time_s - 1))), 0.0)
    lip = lip + np.random.default_rng(0).normal(0, 0.001, len(lip))
    watch = SpeechWatch()
    spoken = np.array([watch.update(v, time_s=t, elapsed_s=1 / frame_hz) for v, t in zip(lip, time_s, strict=True)])
    assert not spoken[time_s < 1].any()
    # The first swings only raise suspicion; it takes longer to forget many than few.
    assert spoken[(time_s > 1.3 + 2.8 / rate_hz) & (time_s < 3)].all()
    assert not spoken[time_s > 4 - 1 / frame_hz].any() or rate_hz > 3


@pytest.mark.parametrize("amplitude", [0.015, 0.05])
@pytest.mark.parametrize("lasts_s", [0.2, 0.5, 1.5])
def test_single_movements_slow_ones_and_noise_are_no_speech(amplitude: float, lasts_s: float) -> None:
    time_s = np.arange(0, 6, 1 / 30)
    lip = np.random.default_rng(1).normal(0, 0.0015, len(time_s))
    for start in (1.0, 4.0):  # two of them, three seconds apart
        phase = np.clip((time_s - start) / lasts_s, 0, 1)
        lip += amplitude / 2 * (1 - np.cos(2 * np.pi * phase))
    lip += 0.03 * np.sin(2 * np.pi * 0.4 * time_s)
    watch = SpeechWatch()
    assert not any(watch.update(v, time_s=t, elapsed_s=1 / 30) for v, t in zip(lip, time_s, strict=True))


def test_a_hand_before_the_mouth_hides_it_and_nothing_else(face: Grey, landmarks: np.ndarray) -> None:
    hidden = face.copy()
    left, right = landmarks[48, 0] - 12, landmarks[54, 0] + 12
    top, bottom = landmarks[51, 1] - 6, landmarks[57, 1] + 12
    hand = 140 + 50 * np.sin(np.arange(face.shape[1]) / 3.0) * np.ones(face.shape)  # fingers
    box = np.s_[round(top) : round(bottom), round(left) : round(right)]
    hidden[box] = hand[box].astype(np.uint8)
    found = conditions_of(still(face, 20) + [hidden] * 15, landmarks) & Condition.OCCLUDED
    assert not found[:20].any()
    names = {REGION_NAMES[i] for i in np.flatnonzero(found[20:23].all(axis=0))}
    assert {"upper lip", "lower lip", "left mouth corner"} <= names
    assert not found[:, :8].any()


def with_spots(face: Grey, landmarks: np.ndarray, *, right: float = 0.0, share: float = 1.0) -> Grey:
    """Reflections as of a window on glasses, ``right`` pixels beside the left eye and below the right one."""
    rows, columns = np.indices(face.shape)
    picture = face.astype(np.float32)
    for eye, (across, down) in ((BOTH[0], (right, 0.0)), (BOTH[1], (0.0, right / 2))):
        x, y = landmarks[eye].mean(axis=0)
        spot = share * np.exp(-(((columns - x - across) / 9) ** 4) - ((rows - y - down) / 6) ** 4)
        picture += spot * (250 - picture)
    return np.clip(picture, 0, 255).astype(np.uint8)


EYES = [*range(8), *LIDS]


@pytest.mark.parametrize("kind", ["flash", "sweep"])
def test_glare_on_glasses_is_noticed_around_the_eyes(face: Grey, landmarks: np.ndarray, kind: str) -> None:
    glare = [with_spots(face, landmarks, right=0 if kind == "flash" else 3 * (k - 4)) for k in range(9)]
    found = conditions_of([*still(face, 15), *glare, *still(face, 30)], landmarks) & Condition.GLARE
    assert not found[:15].any()
    assert found[16:19][:, EYES].all()
    assert not found[:, 8:16].any()
    assert not found[-5:].any()


def test_a_spot_that_stays_becomes_usual(face: Grey, landmarks: np.ndarray) -> None:
    found = conditions_of([with_spots(face, landmarks)] * 60, landmarks) & Condition.GLARE
    assert not found.any()


def test_blinks_light_and_a_glint_in_the_eye_are_no_glare(face: Grey, landmarks: np.ndarray) -> None:
    closed = with_closed_eyes(face, landmarks, eyes=BOTH, share=1.0)
    brighter = np.clip(1.2 * face.astype(np.float32), 0, 255).astype(np.uint8)
    glint = face.copy()
    for eye in BOTH:
        x, y = np.rint(landmarks[eye].mean(axis=0)).astype(int)
        glint[y - 1 : y + 2, x : x + 3] = 250
    pictures = [*still(face, 20), *[closed] * 5, *still(face, 20), *[glint] * 10, *still(face, 10), *[brighter] * 20]
    assert not (conditions_of(pictures, landmarks) & Condition.GLARE).any()


def test_a_turned_face_has_sites_although_a_region_lies_outside_the_grid(landmarks: np.ndarray) -> None:
    grid = make_grid(64, 8)
    turned = ((landmarks - landmarks[[36, 45]].mean(axis=0)) / 30).astype(np.float32)  # eyes much too close together
    masks = region_masks(grid, turned)
    assert (masks.max(axis=1) == 0).any()
    sites = make_sites(grid, masks, landmarks=turned)
    assert np.isfinite(sites.regions).all()
    np.testing.assert_allclose(sites.regions[10, 0], turned[REGIONS[10].landmarks[0]], atol=0.3)


def test_a_picture_out_of_focus_is_blurred_until_it_is_usual(face: Grey, landmarks: np.ndarray) -> None:
    soft = cv2.GaussianBlur(face, (0, 0), 4.0)
    found = conditions_of(still(face, 30) + [soft] * 8 + still(face, 10), landmarks) & Condition.BLURRED
    assert found[30:36].all()
    assert not found[:30].any()
    assert not found[40:].any()


@pytest.mark.parametrize(("gain", "condition"), [(2.2, Condition.OVEREXPOSED), (0.08, Condition.UNDEREXPOSED)])
def test_a_place_too_bright_or_dark_is_named(
    face: Grey, landmarks: np.ndarray, gain: float, condition: Condition
) -> None:
    (x, y), (rows, columns) = landmarks[17:22].mean(axis=0), np.indices(face.shape)
    spot = np.exp(-(((columns - x) / 26) ** 4) - ((rows - y) / 16) ** 4)  # on the left brow
    lit = np.clip(face * (1 + (gain - 1) * spot), 0, 255).astype(np.uint8)
    found = conditions_of([*still(face, 10), lit, lit, lit], landmarks) & condition
    assert np.count_nonzero(found[-1, :4]) >= 2
    assert not found[-1, 4:8].any()
    assert not found[:10].any()


def test_a_face_cut_by_the_border_is_out_of_view_there(face: Grey, landmarks: np.ndarray) -> None:
    cut = round(landmarks[57, 1] - 4)
    faces = FaceTracker(FaceSettings(), landmarks=landmarks[None])
    row = MotionTracker().update(faces.update(Frame(0, 0.0, np.ascontiguousarray(face[:cut]))))
    assert row.reason == "face cut off"
    outside = {REGION_NAMES[i] for i in np.flatnonzero(row.conditions & Condition.OUT_OF_VIEW)}
    assert "lower lip" in outside
    assert not outside & {"left brow", "right brow", "upper lip"}


def test_speech_and_blinks_are_dated_back_to_where_they_began() -> None:
    time_s = np.arange(60) / 30
    found = np.zeros((60, 18), np.uint8)
    found[40:50, MOUTH] = Condition.SPEECH
    found[20:25, LIDS] = Condition.BLINK
    found[20:25, 0] = Condition.OVEREXPOSED
    dated = backdated(found, time_s=time_s)
    assert np.flatnonzero((dated & Condition.SPEECH).any(axis=1)).tolist() == list(range(19, 50))
    assert np.flatnonzero((dated & Condition.BLINK).any(axis=1)).tolist() == list(range(18, 25))
    assert not (dated[:, 0] & Condition.BLINK).any()
    np.testing.assert_array_equal(dated & Condition.OVEREXPOSED, found & Condition.OVEREXPOSED)


def test_words_say_every_condition_once() -> None:
    everything = int(np.bitwise_or.reduce([int(c) for c in Condition]))
    assert len(in_words(everything).split()) == len(Condition) == 8
    assert in_words(0) == ""
    assert in_words(Condition.BLINK | Condition.OCCLUDED) == "occlusion blink"
    some = np.array([[1, 32], [0, 0]], np.uint8)
    assert face_conditions(some).tolist() == [33, 0]
