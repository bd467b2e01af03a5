"""Chunks that vanish from a damaged AVI file, noticed by means of the file's own index.

AVI stores no timestamps: FFmpeg numbers the chunks as it meets them.  A chunk whose header has
been overwritten it skips without a word, and everything after it comes too early.  The index at
the end of the file knows where each chunk lies, and with that which one it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import av
import numpy as np

_Packet: TypeAlias = "av.Packet[av.VideoStream]"

_CHUNK_HEADER_BYTES = 8  # the index points at the header, a packet at what follows it


def with_index_times(
    packets: Iterable[_Packet | None], stream: av.VideoStream, *, on_lost: Callable[[int], None]
) -> Iterator[_Packet | None]:
    """Give each packet the timestamp that the file's index has for its place.

    Parameters
    ----------
    packets : iterable of av.Packet or None
        In the order of the file.
    stream : av.VideoStream
        Theirs, of an AVI file that has just been opened.
    on_lost : callable
        Called with the timestamp of each chunk that the index names and the file no longer
        gives, before the packet that comes after it.
    """
    entries = [(entry.pos + _CHUNK_HEADER_BYTES, entry.timestamp, entry.size) for entry in stream.index_entries]
    places, stamps, sizes = np.array(entries, np.int64).reshape(-1, 3).T
    last: int | None = None
    for packet in packets:
        if packet is not None and packet.pos is not None and packet.dts is not None:
            number = int(np.searchsorted(places, packet.pos))
            if number < len(places) and places[number] == packet.pos:
                for lost in range(number if last is None else last + 1, number):
                    if sizes[lost]:  # an empty chunk repeats the picture before it
                        on_lost(int(stamps[lost]))
                last = number
                ahead = int(stamps[number]) - packet.dts
                if ahead > 0:
                    packet.dts += ahead
                    packet.pts = None if packet.pts is None else packet.pts + ahead
        yield packet
