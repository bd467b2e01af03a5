"""A stream gives what one pass over the whole recording gives, whatever arrives, and never later than it says."""

import tracemalloc
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metst.stream
from helpers.rounding import assert_within_rounding
from metst.config import DecodeSettings
from metst.face import FaceFrame
from metst.inference import decode_events, score_motion
from metst.models.checkpoint import Model, load_model
from metst.regions import REGION_NAMES
from metst.stream import Stream, Update
from metst.timeline import Intervals, Series, TimeGrid
from metst.video import Frame

ROUNDING = 64
"""Units of rounding between frame by frame and one pass; 22 were seen."""

PACKAGED = load_model().as_live()
# A low threshold, so that most recordings have events.
MODEL = Model(
    PACKAGED.info.model_copy(update={"decode": DecodeSettings(peak_threshold=0.1, min_duration_s=0.05)}),
    PACKAGED.folder,
)
PICTURE = np.zeros((2, 2), np.uint8)
# Raised brows at the apex, face units.
RAISED = np.zeros((18, 2))
RAISED[:8, 1] = -0.03


@dataclass(frozen=True)
class Recording:
    """Motion that the face and motion stages are made to report, by frame."""

    time_s: npt.NDArray[np.float64]
    valid: npt.NDArray[np.bool_]
    displacement: npt.NDArray[np.float32]
    quality: npt.NDArray[np.float32]

    @property
    def motion(self) -> Series:
        return Series(TimeGrid(self.time_s), self.displacement, self.valid, REGION_NAMES)


@dataclass(frozen=True)
class Moved:
    """What the stream reads of a ``MotionFrame``."""

    time_s: float
    valid: bool
    displacement: npt.NDArray[np.float32]
    quality: npt.NDArray[np.float32]


class GivenFace:
    def __init__(self, *_args: object, **_kwargs: object) -> None: ...

    def update(self, frame: Frame) -> FaceFrame:
        return FaceFrame(frame, None, False, 0.0, "")


def given_motion(recording: Recording) -> type:
    class GivenMotion:
        def __init__(self, *_args: object) -> None: ...

        def update(self, face: FaceFrame) -> Moved:
            i = face.frame.index % len(recording.time_s)
            moved, quality = recording.displacement[i], recording.quality[i]
            return Moved(face.frame.time_s, bool(recording.valid[i]), moved, quality)

    return GivenMotion


def live(recording: Recording) -> Stream:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metst.stream, "FaceTracker", GivenFace)
        patch.setattr(metst.stream, "MotionTracker", given_motion(recording))
        return Stream(model=MODEL)


def run(recording: Recording) -> list[Update]:
    stream = live(recording)
    updates = [stream.feed(Frame(i, time_s, PICTURE)) for i, time_s in enumerate(recording.time_s.tolist())]
    return [*updates, stream.close()]


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    """Bursts of motion like micro-expressions over a drift, at steady, changing or interrupted rates, with gaps."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    rate = draw(st.sampled_from([15.0, 25.0, 30.0, 60.0, 200.0]))
    count = draw(st.one_of(st.integers(1, 10), st.integers(100, 250)))
    steps = (1 + draw(st.sampled_from([0.0, 0.5])) * rng.uniform(-1, 1, count)) / rate
    steps[rng.random(count) < draw(st.sampled_from([0.0, 0.03]))] += rng.uniform(0.1, 3.0)
    time_s = draw(st.sampled_from([0.0, 3600.0])) + np.cumsum(steps)
    valid = np.ones(count, bool)
    for _ in range(draw(st.integers(0, 4))):
        start = rng.integers(0, count)
        valid[start : start + rng.integers(1, 25)] = False
    burst = np.zeros(count)
    for _ in range(draw(st.integers(0, 4))):
        burst += np.exp(-(((time_s - rng.uniform(time_s[0], time_s[-1])) / 0.12) ** 2))
    moved = burst[:, None, None] * RAISED + rng.normal(0, 5e-4, (count, 18, 2))
    displacement = moved.astype(np.float32)
    displacement[~valid] = np.nan
    quality = np.where(rng.random((count, 18)) < 0.02, 0.1, 0.9).astype(np.float32)
    return Recording(time_s, valid, displacement, quality)


@settings(deadline=None, max_examples=25)
@given(recording=recordings())
def test_the_stream_is_the_whole_pass(recording: Recording) -> None:
    expected = score_motion(recording.motion, model=MODEL, quality=recording.quality)
    events = decode_events(expected, model=MODEL)
    updates = run(recording)
    scores = np.concatenate([update.scores.values for update in updates])
    assert_within_rounding(scores, expected.values, units=ROUNDING)
    np.testing.assert_array_equal(np.concatenate([u.scores.grid.time_s for u in updates]), recording.time_s)
    assert [update.first_frame for update in updates] == np.cumsum([0, *(len(u.scores) for u in updates)])[:-1].tolist()
    for name in ("onset", "apex", "offset"):
        np.testing.assert_array_equal(all_of(updates, name), getattr(events, name))
    assert sum((update.events.label for update in updates), ()) == events.label
    np.testing.assert_allclose(all_of(updates, "confidence"), events.confidence, atol=1e-4)
    times_s = np.concatenate([update.event_times_s for update in updates])
    frames = np.stack([events.onset, events.apex, events.offset - 1], axis=1)
    np.testing.assert_array_equal(times_s, recording.time_s[frames])


def all_of(updates: list[Update], name: str) -> npt.NDArray[np.generic]:
    return np.concatenate([getattr(update.events, name) for update in updates])


def steady(*, rate_hz: float, seconds: float) -> Recording:
    time_s = np.arange(0, seconds, 1 / rate_hz)
    rng = np.random.default_rng(1)
    beat = np.exp(-((((time_s + 1) % 2 - 1) / 0.12) ** 2))  # one short burst every two seconds
    moved = beat[:, None, None] * RAISED + rng.normal(0, 5e-4, (len(time_s), 18, 2))
    quality = np.ones((len(time_s), 18), np.float32)
    return Recording(time_s, np.ones(len(time_s), bool), moved.astype(np.float32), quality)


@pytest.mark.parametrize("rate_hz", [25.0, 30.0, 60.0])
def test_nothing_comes_later_than_stated(rate_hz: float) -> None:
    recording = steady(rate_hz=rate_hz, seconds=12)
    stated = live(recording).latency
    updates = run(recording)[:-1]
    waits_s = [
        fed_s - float(update.scores.grid.time_s[0])
        for fed_s, update in zip(recording.time_s.tolist(), updates, strict=True)
        if len(update.scores)
    ]
    frame_s = max(1 / rate_hz, 1 / stated.rate_hz)
    assert max(waits_s) <= stated.score_s + 1e-6
    assert max(waits_s) >= stated.score_s - 2.5 * frame_s  # and what is stated is no idle promise
    decided_s = [
        fed_s - float(times_s[0])
        for fed_s, update in zip(recording.time_s.tolist(), updates, strict=True)
        for times_s in update.event_times_s
    ]
    assert len(decided_s) >= 3
    assert max(decided_s) <= stated.event_total_s + frame_s


def test_memory_stays_constant() -> None:
    recording = steady(rate_hz=30.0, seconds=10)
    stream = live(recording)

    def feed(count: int) -> None:
        for i in range(stream.frames, stream.frames + count):
            stream.feed(Frame(i, i / 30, PICTURE))

    tracemalloc.start()
    try:
        feed(300)
        before, _ = tracemalloc.get_traced_memory()
        feed(600)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 60_000  # one row of motion for each of them would be three times as much


def test_events_know_their_classes_without_any() -> None:
    updates = run(steady(rate_hz=30.0, seconds=0.1))
    assert all(isinstance(update.events, Intervals) and update.events.classes for update in updates)
