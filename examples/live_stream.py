"""Feed pictures one by one, as a camera gives them, and hear of candidates as soon as they are decided.

python examples/live_stream.py [VIDEO]
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import metst
from metst.stream import Update
from metst.synthesis.clip import ClipRecipe, write_clip
from metst.video import read_frames


def tell(update: Update, *, now: str) -> Iterator[str]:
    """One line per candidate that this update decided."""
    events = update.events
    for label, confidence, times_s in zip(events.label, events.confidence, update.event_times_s, strict=True):
        onset_s, _, last_s = times_s
        yield f"{now}: {label} from {onset_s:.2f} s to {last_s:.2f} s, probability {confidence:.2f}"


if len(sys.argv) > 1:
    video = Path(sys.argv[1])
else:  # a portrait that makes two known movements
    folder = Path(tempfile.mkdtemp(prefix="metst-example-"))
    video = write_clip(folder, recipe=ClipRecipe(count=2, amplitude=0.25, duration_s=6)).video

stream = metst.Stream()
print(f"an event is known at most {stream.latency.event_total_s:.1f} s after its onset")
for frame in read_frames(video):  # any pictures with times will do, grey or colour: a camera's
    for line in tell(stream.feed_picture(frame.grey, time_s=frame.time_s), now=f"{frame.time_s:.2f} s"):
        print(line)
for line in tell(stream.close(), now="end"):  # what was held back becomes final
    print(line)
