"""The stream's border: what it takes, what it refuses, and what it says of its own delay."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

import metst
from metst.config import PublishedDecodeSettings
from metst.errors import DataError, UsageError
from metst.models.checkpoint import Model, load_model
from metst.stream import STAGES, Stream
from metst.video import Frame

Grey = npt.NDArray[np.uint8]
BLACK: Grey = np.zeros((48, 64), np.uint8)


def test_it_is_reached_from_the_package() -> None:
    assert metst.Stream is Stream


def test_frames_without_a_face_have_reasons_and_no_scores() -> None:
    stream = Stream()
    updates = [stream.feed(Frame(i, i / 30, BLACK)) for i in range(3)]
    updates.append(stream.close())
    assert [update.motion.reason for update in updates[:-1] if update.motion] == ["black frame"] * 3
    assert sum(len(update.scores) for update in updates) == 3
    assert not any(update.scores.valid.any() or len(update.events) for update in updates)
    assert updates[-1].face is updates[-1].motion is None
    assert stream.frames == 3


@pytest.mark.parametrize("time_s", [1.0, 0.5, float("nan"), float("inf")])
def test_times_must_be_finite_and_increase(time_s: float) -> None:
    stream = Stream()
    stream.feed_picture(BLACK, time_s=1.0)
    with pytest.raises(DataError, match="increase"):
        stream.feed_picture(BLACK, time_s=time_s)
    assert stream.feed_picture(BLACK, time_s=1.1).motion is not None  # what was refused leaves no trace


@pytest.mark.parametrize(
    "picture",
    [BLACK.astype(np.float32), BLACK[0], BLACK[:, :, None], np.zeros((48, 64, 4), np.uint8), BLACK[:0], None],
)
def test_pictures_that_are_none_are_refused(picture: Grey) -> None:
    stream = Stream()
    with pytest.raises(DataError, match="uint8, got"):
        stream.feed_picture(picture, time_s=0.0)
    with pytest.raises(DataError, match="uint8, got"):
        stream.feed(Frame(0, 0.0, picture))
    assert stream.frames == 0


def test_colours_become_grey_in_the_order_that_is_named() -> None:
    colour = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    for order, code in (("bgr", cv2.COLOR_BGR2GRAY), ("rgb", cv2.COLOR_RGB2GRAY)):
        update = Stream().feed_picture(colour, time_s=0.0, order=order)  # type: ignore[arg-type]
        assert update.face is not None
        np.testing.assert_array_equal(update.face.frame.grey, cv2.cvtColor(colour, code))
    with pytest.raises(UsageError, match="order"):
        Stream().feed_picture(colour, time_s=0.0, order="hsv")  # type: ignore[arg-type]


def test_a_closed_stream_says_so() -> None:
    stream = Stream()
    stream.close()
    with pytest.raises(UsageError, match="closed"):
        stream.feed(Frame(0, 0.0, BLACK))
    with pytest.raises(UsageError, match="closed"):
        stream.close()


def test_a_published_rule_cannot_run_live() -> None:
    packaged = load_model()
    rule = PublishedDecodeSettings(rule="fixed", k_p=5)
    info = packaged.info.model_copy(update={"decode": rule, "live_decode": None})
    with pytest.raises(UsageError, match="whole video"):
        Stream(model=Model(info, packaged.folder))


def test_every_stage_is_timed() -> None:
    stream = Stream()
    stream.feed_picture(BLACK, time_s=0.0)
    assert set(stream.stage_seconds) == set(STAGES)
    assert min(stream.stage_seconds.values()) > 0
