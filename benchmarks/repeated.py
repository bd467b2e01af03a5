"""A long video from a short one, without encoding it again."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av


def repeated(source: Path, target: Path, *, times: int, length_s: float) -> Path:
    """The packets of a clip of so many seconds several times in a row."""
    with av.open(str(target), "w") as writing:
        stream = None
        for number in range(times):
            with av.open(str(source)) as reading:
                stream = stream or writing.add_stream_from_template(reading.streams.video[0])
                shift = round(number * length_s / (reading.streams.video[0].time_base or Fraction(1)))
                for packet in reading.demux(video=0):
                    if packet.dts is not None and packet.pts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                        writing.mux(packet)
    return target
