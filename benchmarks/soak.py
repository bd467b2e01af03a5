"""Hours of video through ``Stream`` and through ``analyze``: memory, time per frame, drift, what is found.

A minute of an animated portrait with planted micro-expressions is played forth and back, again and again: the same
picture comes every two minutes, and its motion ought to be the same each time.  ``stream`` appends one row per minute
of video to ``WORK/stream.jsonl``; ``analyze`` writes the video and samples the memory of the process that analyses it.

    python benchmarks/soak.py stream WORK --hours 8
    python benchmarks/soak.py analyze WORK --hours 8
    python benchmarks/soak.py plot WORK PNG          (needs matplotlib)

A stream's state is not kept, so a run that was stopped starts again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import psutil
from repeated import repeated

from metst import Stream
from metst.arrays import Float64Array, Int64Array, UInt8Array
from metst.metrics.matching import interval_iou, match_intervals
from metst.results import read_analysis
from metst.synthesis.events import draw_schedule
from metst.synthesis.inject import animate_portrait, truth_intervals
from metst.synthesis.portrait import portrait, portrait_landmarks
from metst.timeline import TimeGrid
from metst.video import Frame, write_video

RATE_HZ = 30.0
LEG_FRAMES = 1800  # a minute, forth or back
EVENTS = 10
AMPLITUDE = 0.4
SIZE = (240, 320)  # px: a small picture leaves the time to the part that is tested
WARM_UP_MINUTES = (
    4  # kernels compile, buffers fill, and the first time each picture comes is what drift is measured from
)


def leg() -> tuple[list[UInt8Array], Int64Array]:
    """One minute of pictures, and onset and (half-open) offset of its movements, frames."""
    rng = np.random.default_rng(20)
    grid = TimeGrid(np.arange(LEG_FRAMES) / RATE_HZ)
    events = draw_schedule(rng, count=EVENTS, start_s=2.0, end_s=LEG_FRAMES / RATE_HZ - 2.0, amplitude=AMPLITUDE)
    picture = portrait(SIZE)
    images = animate_portrait(
        picture, landmarks=portrait_landmarks(picture), time_s=grid.time_s, events=events, rng=rng
    )
    truth = truth_intervals(events, grid=grid)
    return [np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8) for image in images], np.stack(
        [truth.onset, truth.offset], axis=1
    )


def places() -> Iterator[int]:
    """Number of the picture that comes next: forth, then back, for ever."""
    while True:
        yield from range(LEG_FRAMES)
        yield from range(LEG_FRAMES - 1, -1, -1)


def planted(minutes: int, *, truth: Int64Array) -> Int64Array:
    """Intervals of all movements in so many minutes, ``(N, 2)`` frames."""
    back = LEG_FRAMES - truth[::-1, ::-1]
    return np.concatenate([(back if minute % 2 else truth) + minute * LEG_FRAMES for minute in range(minutes)])


def counts(found: Int64Array, *, truth: Int64Array) -> dict[str, int]:
    hits = len(match_intervals(interval_iou(found, truth))) if len(found) else 0
    return {"planted": len(truth), "found": hits, "others": len(found) - hits}


def soak_stream(work: Path, *, hours: float) -> None:
    images, truth = leg()
    stream, process, minutes = Stream(), psutil.Process(), round(hours * 60)
    work.mkdir(parents=True, exist_ok=True)
    first = np.full((LEG_FRAMES, 18, 2), np.nan)
    found: list[Int64Array] = []
    order = places()
    with (work / "stream.jsonl").open("w") as rows:
        for minute in range(minutes):
            began, error = time.process_time(), np.full(LEG_FRAMES, np.nan)
            for step, place in enumerate(islice(order, LEG_FRAMES)):
                index = minute * LEG_FRAMES + step
                update = stream.feed(Frame(index, index / RATE_HZ, images[place]))
                if len(update.events):  # nothing of this programme grows with each frame
                    found.append(np.stack([update.events.onset, update.events.offset], axis=1))
                if update.motion is None:
                    continue
                if minute == 0:
                    first[place] = update.motion.displacement
                error[step] = np.nanmedian(np.linalg.norm(update.motion.displacement - first[place], axis=1))
            seconds = time.process_time() - began
            row = {
                "minute": minute + 1,
                "memory_mb": process.memory_info().rss / 2**20,
                "ms_per_frame": 1e3 * seconds / LEG_FRAMES,
                "drift": float(np.nanmedian(error)),
                "decided": sum(map(len, found)),
            }
            rows.write(json.dumps(row) + "\n")
            rows.flush()
    update = stream.close()
    found.append(np.stack([update.events.onset, update.events.offset], axis=1))
    report(work, table=counts(np.concatenate(found), truth=planted(minutes, truth=truth)))


def report(work: Path, *, table: dict[str, int]) -> None:
    rows = [json.loads(line) for line in (work / "stream.jsonl").read_text().splitlines()]
    later = rows[WARM_UP_MINUTES:]
    hour = np.array([row["minute"] for row in later]) / 60
    memory = np.array([row["memory_mb"] for row in later])
    spent = np.array([row["ms_per_frame"] for row in later])
    tenth = max(len(later) // 10, 1)
    print(f"{len(rows)} minutes of video; the first {WARM_UP_MINUTES} are left out of what follows")
    print(f"memory: {memory[0]:.1f} to {memory[-1]:.1f} MB, slope {np.polyfit(hour, memory, 1)[0]:+.2f} MB per hour")
    print(f"time per frame, last tenth over first tenth: {np.median(spent[-tenth:]) / np.median(spent[:tenth]):.3f}")
    drift = [row["drift"] for row in later]
    print(f"drift, median over a minute, face units: at most {max(drift):.4f}, last {drift[-1]:.4f}")
    print("planted {planted}, found {found}, other candidates {others}".format(**table))


def soak_analyze(work: Path, *, hours: float) -> None:
    images, truth = leg()
    minutes, video = 2 * round(hours * 30), work / "soak.mp4"
    work.mkdir(parents=True, exist_ok=True)
    if not video.is_file():
        # Forth and back once; encoded again and again it would be the same.
        round_trip, frames = work / "round-trip.mp4", (images[place] for place in islice(places(), 2 * LEG_FRAMES))
        write_video(round_trip, frames, rate_hz=RATE_HZ, preset="veryfast")
        repeated(round_trip, video, times=minutes // 2, length_s=2 * LEG_FRAMES / RATE_HZ)
    command = [sys.executable, "-m", "metst", "analyze", str(video), "-o", str(work / "results"), "--no-cache", "-q"]
    began = time.monotonic()
    child = psutil.Popen(command)
    with (work / "analyze.jsonl").open("w") as rows:
        while child.poll() is None:
            row = {"wall_s": time.monotonic() - began, "memory_mb": child.memory_info().rss / 2**20}
            rows.write(json.dumps(row) + "\n")
            time.sleep(2.0)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    analysis = read_analysis(work / "results" / "soak")
    found = np.stack([analysis.events.onset, analysis.events.offset], axis=1)
    memory: Float64Array = np.array(
        [json.loads(line)["memory_mb"] for line in (work / "analyze.jsonl").read_text().splitlines()]
    )
    print(f"{minutes} minutes of video, {time.monotonic() - began:.0f} s; memory at most {memory.max():.0f} MB")
    print(f"which is {memory.max() * 2**20 / (minutes * LEG_FRAMES):.0f} bytes a frame, all tables held at once")
    print("planted {planted}, found {found}, other candidates {others}".format(
        **counts(found, truth=planted(minutes, truth=truth))))  # fmt: skip


def plot(work: Path, picture: Path) -> None:
    """Memory, time and drift over the hours; the first minutes, in which kernels compile, are left out."""
    from matplotlib.figure import Figure

    rows = [json.loads(line) for line in (work / "stream.jsonl").read_text().splitlines()][WARM_UP_MINUTES:]
    figure = Figure(figsize=(7.5, 5.2), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    wanted = {"memory_mb": "memory, MB", "ms_per_frame": "processor time\nper frame, ms", "drift": "drift,\nface units"}
    for panel, (name, label) in zip(panels, wanted.items(), strict=True):
        for leg, colour in (("forth", "#1f4e79"), ("back", "#b45309")):  # minutes take turns, and differ a little
            of_leg = rows[leg == "back" :: 2]
            panel.plot([r["minute"] / 60 for r in of_leg], [r[name] for r in of_leg], color=colour, lw=1.4, label=leg)
        panel.set_ylabel(label)
        panel.set_ylim(0, 1.25 * max(row[name] for row in rows))
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, ncols=2, loc="lower right")
    panels[-1].set_xlabel("video, hours")
    figure.savefig(picture, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("door", choices=["stream", "analyze", "plot"])
    parser.add_argument("work", type=Path)
    parser.add_argument("picture", type=Path, nargs="?")
    parser.add_argument("--hours", type=float, default=8.0)
    asked = parser.parse_args()
    if asked.door == "plot":
        plot(asked.work, asked.picture or asked.work / "soak.png")
    else:
        {"stream": soak_stream, "analyze": soak_analyze}[asked.door](asked.work, hours=asked.hours)


if __name__ == "__main__":
    main()
