"""Number and time of each decoded frame, from the timestamps of a container's packets.

The time of a frame is the container's: its timestamp in ticks times the seconds of a tick.
:class:`Clock` states what happens where a container has no timestamps or wrong ones.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeAlias

import av

from metst.errors import UsageError
from metst.timeline import HIGHEST_RATE_HZ, LOWEST_RATE_HZ

Report = Callable[[str, str], None]
_Packet: TypeAlias = "av.Packet[av.VideoStream]"
Source = Literal["presentation", "decoding", "count"]

# Where no origin is named, a number was set by hand.
_RESTART_S = 0.2  # a step back in decoding time longer than this is a restart, not jitter
_LONGEST_PAUSE_S = 3600.0  # a longer step forward is a fault, not a pause
_REPORTED_PAUSE_S = 0.5  # without a frame
_REORDERED = 16  # a decoder holds back at most so many frames, by the standards of H.264 and HEVC
_LEAST_HORIZON_S = 1.0  # by which decoding and presentation may differ at any rate


def ignore(_kind: str, _message: str) -> None:
    """Report to nobody: the caller has heard of it, or will."""


def check_rate(rate_hz: float | None) -> None:
    """Refuse a frame rate at which no camera films a face that moves."""
    if rate_hz is not None and not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        expected = f"{LOWEST_RATE_HZ:g} to {HIGHEST_RATE_HZ:g} frames per second"
        raise UsageError(f"expected a frame rate of {expected}, got {rate_hz:g}: give the rate of the recording")


def needed_rate(path: Path, rate_hz: float | None) -> float:
    """Frame rate given for a source that has no timestamps of its own."""
    if rate_hz is None:
        raise UsageError(f"{path} has no timestamps: give its frame rate in frames per second")
    return rate_hz


class Clock:
    """Gives each frame its 0-based number and its time in seconds.

    The number of a frame is the count of packets due before it in order of presentation, so that
    frames which cannot be decoded keep their numbers.  Where a packet need not be a frame (VP8,
    interlaced video), decoded frames are counted.  Where timestamps fail, which is reported:

    * none on the first frames: nominal frames before the first that has one, which may be before 0;
    * none on a later one: one nominal frame after the frame before, or half-way to the next;
    * one fits neither what came before nor what follows (a damaged stream): as if there were none;
    * they start again (files glued together) or leap by more than an hour: they go on one nominal
      frame after the last;
    * one is not later than the one before: half a nominal frame after it; but once the stream
      has shown damage a slightly earlier one marks an old picture, and the frame is left out.

    Parameters
    ----------
    stream : av.VideoStream
        The stream being decoded.
    source : "presentation", "decoding" or "count"
        What the container stores: presentation times; decoding times only (AVI), from which the
        delay of a decoder that reorders frames is subtracted; or nothing, and ``rate_hz`` counts.
    rate_hz : float
        Nominal frames per second.
    report : callable
        Takes the kind of a problem and a line of text.
    first_timed : callable, optional
        Asked when the first frame has no timestamp: how many frames have none before the first that has, and
        that timestamp in ticks; ``None`` where none has.
    """

    def __init__(
        self,
        stream: av.VideoStream,
        *,
        source: Source,
        rate_hz: float,
        report: Report,
        first_timed: Callable[[], tuple[int, int] | None] = lambda: None,
    ):
        self.damaged = False
        self._stream = stream
        self._source = source
        self._rate_hz = rate_hz
        self._report = report
        self._first_timed = first_timed
        self._ahead: deque[_Packet | None] = deque()
        # VP8 sends pictures that are never shown as packets of their own: they are not lost frames.
        self._packet_is_frame = stream.codec_context.name != "vp8"
        self._tick = stream.time_base or Fraction(1, av.time_base)
        self._step = 1 / (rate_hz * float(self._tick))
        self._due: list[int] = []
        self._delay: int | None = None
        self._shift = 0
        self._index = -1
        self._last: float | None = None
        self._last_dts: int | None = None
        self._untimed_left = 0  # of the first frames, which have no timestamp

    def seconds(self, ticks: float) -> float:
        """Ticks to seconds in one division, correctly rounded for whole ticks."""
        return ticks * self._tick.numerator / self._tick.denominator

    @property
    def end_s(self) -> float | None:
        """End of the last frame placed, in seconds."""
        return None if self._last is None else self.seconds(self._last + self._step)

    @property
    def _horizon_s(self) -> float:
        """Longest time by which the order of decoding and of presentation can differ."""
        return max(_LEAST_HORIZON_S, self.seconds(_REORDERED * self._step))

    def mended(self, packets: Iterable[_Packet | None]) -> Iterator[_Packet | None]:
        """Pass packets on as soon as enough of the next are known to take false timestamps off."""
        ahead = self._ahead
        previous: int | None = None
        for packet in packets:
            ahead.append(packet)
            if len(ahead) > _REORDERED:
                previous = yield from self._mend_first(previous)
        while ahead:
            previous = yield from self._mend_first(previous)

    def _mend_first(self, previous: int | None) -> Generator[_Packet | None, None, int | None]:
        ahead = self._ahead
        packet = ahead.popleft()
        if packet is not None:
            self._drop_outliers(packet, previous, [later.dts for later in ahead if later and later.dts is not None])
        yield packet
        return previous if packet is None or packet.dts is None else packet.dts

    def _drop_outliers(self, packet: _Packet, previous: int | None, following: list[int]) -> None:
        def apart(one: int, other: int) -> bool:
            return abs(self.seconds(one - other)) > self._horizon_s

        dts = packet.dts
        if dts is not None and previous is not None and following:
            before, after = apart(dts, previous), apart(dts, following[0])
            if before and after and not apart(previous, following[0]):
                packet.dts = None
        anchor = previous if packet.dts is None else packet.dts
        if packet.pts is None or anchor is None or len(following) < _REORDERED:
            return  # near the end nothing tells a false timestamp from a pause
        nearest = min(max(packet.pts, anchor), max([anchor, *following]))
        if apart(packet.pts, nearest):
            packet.pts = None

    def expect(self, packet: _Packet) -> None:
        """Note a packet about to be decoded; after a restart its timestamps are moved on."""
        if packet.dts is not None:
            self._last_dts = packet.dts = self._after_restart(packet.dts)
        if packet.pts is not None:
            packet.pts += self._shift
        stamp = packet.dts if self._source == "decoding" else packet.pts
        if stamp is not None and not packet.is_discard:
            heapq.heappush(self._due, stamp)

    def expect_lost(self, stamp: int) -> None:
        """Note a packet that should be in the file and is not."""
        heapq.heappush(self._due, stamp + self._shift)

    def _after_restart(self, dts: int) -> int:
        shifted = dts + self._shift
        if self._last_dts is None or -_RESTART_S <= self.seconds(shifted - self._last_dts) <= _LONGEST_PAUSE_S:
            return shifted
        at = f"{self.seconds(self._last_dts):.3f} s"
        self._report("restart", f"timestamps start again or leap after {at}, they are carried on")
        self._shift += round(self._last_dts - shifted + self._step)
        return dts + self._shift

    def place(self, frame: av.VideoFrame) -> tuple[int, float] | None:
        """Number and time of a frame, in the order of decoding; ``None`` for one to leave out."""
        if self._source == "count":
            self._index += 1
            return self._index, self._index / self._rate_hz
        stamp = self._stamp(frame)
        ticks = stamp
        if self._last is not None and stamp <= self._last:
            at = f"{self.seconds(stamp):.3f} s"
            if self.damaged and 0 < self.seconds(self._last - stamp) <= self._horizon_s:
                self._report("old frame", f"a frame of {at} came after later ones and is left out")
                return None
            self._report("timestamp", f"timestamp {at} is not later than the one before, half a frame is added")
            ticks = self._last + self._step / 2
        elif self._last is not None and (pause_s := self.seconds(stamp - self._last)) > _REPORTED_PAUSE_S:
            self._report("pause", f"no frames for {pause_s:.3f} s after {self.seconds(self._last):.3f} s")
        one_packet_each = self._packet_is_frame and not frame.interlaced_frame
        self._index += 1 + self._lost_before(stamp, one_packet_each=one_packet_each)
        self._last = ticks
        return self._index, self.seconds(ticks)

    def _stamp(self, frame: av.VideoFrame) -> float:
        stamp = frame.pts
        if self._source == "decoding" and self._stream.codec_context.has_b_frames:
            if self._delay is None and frame.dts is not None and self._due:
                self._delay = frame.dts - self._due[0]
            stamp = None if frame.dts is None or self._delay is None else frame.dts - self._delay
        if stamp is not None:
            return stamp
        if self._last is None:
            return self._before_first_timed()
        if self._untimed_left:
            self._untimed_left -= 1
            return self._last + self._step
        if self._source == "presentation":
            self._report("no timestamp", f"frame {self._index + 1} has no usable timestamp, the nominal rate is used")
        # Decoding times are regular; the next of presentation times must stay later than this one.
        later = [due for due in self._known_stamps() if due > self._last] if self._source == "presentation" else []
        return min([self._last + self._step, *((self._last + due) / 2 for due in later)])

    def _known_stamps(self) -> Iterator[int]:
        """Presentation times of the packets that are being decoded, and of the next ones."""
        yield from self._due
        yield from (packet.pts + self._shift for packet in self._ahead if packet and packet.pts is not None)

    def _before_first_timed(self) -> float:
        """Ticks of the first frame, which has no timestamp."""
        if self._source == "decoding" or (found := self._first_timed()) is None:
            if self._source == "presentation":
                self._report("no timestamp", "the first frames have no usable timestamp, the nominal rate is used")
            return self._due[0] if self._due else 0
        untimed, stamp = found
        self._untimed_left = untimed - 1
        self._report(
            "no timestamp",
            f"the first {untimed} frame(s) have no timestamp: they are placed one nominal frame apart before the "
            f"first that has one, at {self.seconds(stamp):.3f} s",
        )
        return stamp - untimed * self._step

    def _lost_before(self, stamp: float, *, one_packet_each: bool) -> int:
        """Take the packets up to this frame's off the list; how many others there were."""
        lost = 0
        while self._due and self._due[0] < stamp:
            heapq.heappop(self._due)
            lost += 1
        if self._due and self._due[0] == stamp:
            heapq.heappop(self._due)
        if not lost or not one_packet_each:
            return 0
        self._report("lost frames", f"{lost} frame(s) lost before {self.seconds(stamp):.3f} s")
        return lost
