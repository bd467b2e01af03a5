import numpy as np
import pytest

from metst.errors import DataError, UsageError
from metst.labels import CLASSES, EMOTION_MAPS, EMOTIONS, NEUTRAL, emotion_class, frame_labels, half_duration


def test_class_order_is_that_of_the_published_logits():
    assert CLASSES == ("negative", "positive", "surprise", "others", "neutral")
    assert (CLASSES[NEUTRAL], EMOTIONS) == ("neutral", CLASSES[:4])


@pytest.mark.parametrize("data_set", EMOTION_MAPS)
def test_every_map_ends_in_the_emotions(data_set):
    without_others = set(EMOTIONS) - ({"others"} if data_set == "smic" else set())
    assert set(EMOTION_MAPS[data_set].values()) == without_others


def test_emotion_names_as_label_sheets_write_them():
    assert emotion_class(" Others", data_set="casme3") == "others"
    assert emotion_class("Contempt", data_set="samm") == "negative"
    with pytest.raises(DataError, match="'happiness' in casme3"):
        emotion_class("happiness", data_set="casme3")
    with pytest.raises(UsageError, match="samm, casme3"):
        emotion_class("anger", data_set="casme9")


def test_frames_strictly_inside_carry_the_event():
    score, classes = frame_labels(np.array([2]), np.array([7]), label=["surprise"], length=9)
    # Published, inclusive: onset 2, offset 6, so 1 on frames 3 to 5.
    assert score.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert classes.tolist() == [4, 4, 4, 2, 2, 2, 4, 4, 4]
    assert (score.dtype, classes.dtype) == (np.float32, np.int64)


def test_events_too_short_for_an_inside_leave_no_label():
    score, classes = frame_labels(np.array([0, 3]), np.array([1, 5]), label=["others", "negative"], length=5)
    assert not score.any()
    assert (classes == NEUTRAL).all()


@pytest.mark.parametrize(("onset", "offset", "label"), [(-1, 3, "others"), (2, 6, "others"), (3, 3, "others")])
def test_events_outside_of_the_video_are_refused(onset, offset, label):
    with pytest.raises(DataError, match="5 frames"):
        frame_labels(np.array([onset]), np.array([offset]), label=[label], length=5)


def test_neutral_is_no_class_of_an_event():
    with pytest.raises(DataError, match="'neutral'"):
        frame_labels(np.array([1]), np.array([4]), label=["neutral"], length=5)


def test_half_duration_follows_the_published_formula():
    onset = np.array([0, 100, 200])
    last = np.array([10, 111, 260])  # inclusive
    assert half_duration(onset, last + 1) == int((np.mean(last - onset) + 1) / 2) == 14
    assert half_duration(onset, last + 1, statistic="median") == int((11 + 1) / 2)
    with pytest.raises(DataError, match="at least one"):
        half_duration(np.zeros(0, dtype=int), np.zeros(0, dtype=int))
