"""Invariants of decoding, timestamps, seeking and writing."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import av
import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from metst.video import read_colour_frames, read_colour_stream, read_frames, write_video
from metst.video.clock import Clock, Report, ignore

TICK = Fraction(1, 1000)


def make_clock(report: Report = ignore, *, codec: str = "h264") -> Clock:
    stream = SimpleNamespace(time_base=TICK, codec_context=SimpleNamespace(name=codec, has_b_frames=False))
    return Clock(stream, source="presentation", rate_hz=25.0, report=report)  # type: ignore[arg-type]


def packet(pts: int | None, dts: int | None) -> SimpleNamespace:
    return SimpleNamespace(pts=pts, dts=dts, is_discard=False)


def frame(pts: int | None, *, interlaced: bool = False) -> SimpleNamespace:
    return SimpleNamespace(pts=pts, dts=None, interlaced_frame=interlaced)


@given(
    stamps=st.lists(st.one_of(st.none(), st.integers(-5000, 5000)), max_size=40),
    damaged_from=st.integers(0, 40),
)
def test_whatever_the_timestamps_number_and_time_increase(stamps: list[int | None], damaged_from: int) -> None:
    clock = make_clock()
    placed = []
    for number, stamp in enumerate(stamps):
        sent = packet(stamp, stamp)
        clock.expect(sent)  # type: ignore[arg-type]
        clock.damaged = number >= damaged_from
        placed.append(clock.place(frame(sent.pts)))  # type: ignore[arg-type]
    kept = [place for place in placed if place is not None]
    assert all(place is not None for place in placed[:damaged_from])
    assert all(one[0] < two[0] and one[1] < two[1] for one, two in pairwise(kept))


@given(data=st.data())
def test_number_is_the_rank_in_the_source_whatever_is_lost(data: st.DataObject) -> None:
    pts = sorted(data.draw(st.sets(st.integers(0, 10_000), min_size=1, max_size=30)))
    lost = data.draw(st.sets(st.sampled_from(pts)))
    delay = data.draw(st.integers(0, 4))
    # A decoder that reorders sends each frame once the packets of the next few have gone in.
    order = sorted(range(len(pts)), key=lambda k: k + data.draw(st.integers(0, delay)))
    clock, placed, ready = make_clock(), {}, []
    for sent, k in enumerate(order):
        clock.expect(packet(pts[k], pts[sent]))  # type: ignore[arg-type]
        ready = sorted([*ready, pts[k]])
        while len(ready) > delay or (sent == len(order) - 1 and ready):
            stamp = ready.pop(0)
            if stamp not in lost:
                placed[stamp] = clock.place(frame(stamp))  # type: ignore[arg-type]
    assert placed == {stamp: (k, float(stamp * TICK)) for k, stamp in enumerate(pts) if stamp not in lost}


@given(
    at=st.integers(1, 40),
    pts_error_s=st.one_of(st.none(), st.floats(-1e6, -2), st.floats(2, 1e6)),
    dts_error_s=st.one_of(st.none(), st.floats(-1e6, -2), st.floats(2, 1e6)),
)
def test_a_false_timestamp_touches_its_frame_only(
    at: int, pts_error_s: float | None, dts_error_s: float | None
) -> None:
    true = [k * 40 for k in range(60)]
    packets = [packet(stamp, stamp) for stamp in true]
    packets[at].pts += round(1000 * (pts_error_s or 0))
    packets[at].dts += round(1000 * (dts_error_s or 0))
    clock, placed = make_clock(), []
    for sent in clock.mended(packets):  # type: ignore[arg-type]
        clock.expect(sent)  # type: ignore[arg-type]
        placed.append(clock.place(frame(sent.pts)))  # type: ignore[arg-type, union-attr]
    assert placed == [(k, stamp / 1000) for k, stamp in enumerate(true)]


@given(codec=st.sampled_from(["h264", "vp8"]))
def test_packets_that_are_no_frames_are_no_lost_frames(codec: str) -> None:
    told: list[str] = []
    clock, placed = make_clock(lambda kind, _: told.append(kind), codec=codec), []
    for stamp in range(0, 400, 20):  # two fields a frame, or a hidden picture before each
        clock.expect(packet(stamp, stamp))  # type: ignore[arg-type]
        if stamp % 40 == 20:
            placed.append(clock.place(frame(stamp, interlaced=codec == "h264")))  # type: ignore[arg-type]
    assert placed == [(k, (40 * k + 20) / 1000) for k in range(10)]
    assert told == []


def test_a_frame_without_timestamp_comes_before_the_next() -> None:
    clock = make_clock()
    sent = [packet(stamp, None) for stamp in (0, 30, None, 50, 90)]
    for one in sent:
        clock.expect(one)  # type: ignore[arg-type]
    placed = [clock.place(frame(one.pts)) for one in sent]  # type: ignore[arg-type]
    assert placed == [(0, 0.0), (1, 0.03), (2, 0.04), (3, 0.05), (4, 0.09)]


def test_pauses_are_kept_leaps_are_carried_on_and_both_are_told() -> None:
    told: list[str] = []
    clock, placed = make_clock(lambda kind, _: told.append(kind)), []
    for stamp in (0, 40, 80, 60_080, 60_120, 8_000_000, 8_000_040, 8_000_080, 20, 60):
        sent = packet(stamp, stamp)
        clock.expect(sent)  # type: ignore[arg-type]
        placed.append(clock.place(frame(sent.pts)))  # type: ignore[arg-type]
    times = (0, 0.04, 0.08, 60.08, 60.12, 60.16, 60.2, 60.24, 60.28, 60.32)
    assert placed == list(enumerate(times))
    assert told == ["pause", "restart", "restart"]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_lossless_round_trip_of_pixels_and_timestamps(data: st.DataObject) -> None:
    count, height, width = data.draw(st.tuples(st.integers(1, 5), st.integers(4, 33), st.integers(4, 33)))
    name = data.draw(st.sampled_from(["a.mkv", "a.nut"]))
    ticks = np.cumsum(data.draw(st.lists(st.integers(1, 3000), min_size=count, max_size=count)))
    pictures = data.draw(hnp.arrays(np.uint8, (count, height, width)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=1000)
            stream.width, stream.height, stream.pix_fmt = width, height, "gray"
            stream.codec_context.time_base = TICK
            for picture, tick in zip(pictures, ticks.tolist(), strict=True):
                video_frame = av.VideoFrame.from_ndarray(picture, format="gray")
                video_frame.pts, video_frame.time_base = tick, TICK
                container.mux(stream.encode(video_frame))
            container.mux(stream.encode(None))
        frames = list(read_frames(path))
        order = data.draw(st.permutations(range(count)))
        found = read_colour_frames(path, times_s=[frames[index].time_s for index in order])
    assert [one.index for one in frames] == list(range(count))
    assert [one.time_s for one in frames] == [tick / 1000 for tick in ticks.tolist()]
    np.testing.assert_array_equal(np.array([one.grey for one in frames]), pictures)
    for index, rgb in zip(order, found, strict=True):
        np.testing.assert_array_equal(rgb, np.dstack([pictures[index]] * 3))


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.integers(1, 4000), min_size=1, max_size=12),
    ticks_per_s=st.sampled_from([1000, 600, 12800, 15360, 30000, 90000, 1_000_000]),
    start=st.integers(0, 5000),
)
def test_times_that_share_a_tick_are_written_exactly(steps: list[int], ticks_per_s: int, start: int) -> None:
    ticks = start + np.cumsum(steps) - steps[0]
    times = [tick / ticks_per_s for tick in ticks.tolist()]
    pictures = [np.full((16, 16), 40 + 10 * index, np.uint8) for index in range(len(times))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.mp4")
        write_video(path, pictures, times_s=times, preset="ultrafast")
        assert [one.time_s for one in read_colour_stream(path)] == times


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.floats(1e-4, 3), min_size=1, max_size=12), start=st.floats(0, 10))
def test_any_times_are_written_to_the_microsecond(steps: list[float], start: float) -> None:
    times = start + np.cumsum(steps) - steps[0]
    pictures = [np.full((16, 16), 40 + 10 * index, np.uint8) for index in range(len(times))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.mp4")
        write_video(path, pictures, times_s=times.tolist(), preset="ultrafast")
        read = [one.time_s for one in read_frames(path)]
    np.testing.assert_allclose(read, times, rtol=0, atol=0.51e-6)
