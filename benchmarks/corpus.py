"""A corpus of short clips on one and two workers, and through Dask with a worker killed in mid-work.

Makes clips of one portrait that differ in light, grain and planted movement by their seed, analyses them each way, and
says how long that took, whether anything was lost, and whether anything was done twice.

    python benchmarks/corpus.py WORK [--clips 200] [--frames 18]
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import distributed
import numpy as np

from metst.results.overview import OVERVIEW_FILE
from metst.synthesis.events import draw_schedule
from metst.synthesis.inject import animate_portrait
from metst.synthesis.portrait import portrait, portrait_landmarks
from metst.video import write_video

RATE_HZ = 12.0
SIZE = (192, 240)
POLL_S = 0.05
TOLD = re.compile(
    rb'("created": "[^"]*"|"seconds": [\d.]+|"sha256_of_the_rest": "\w*"|analysed [\d :-]+'
    rb"|analysis took</th><td>[\d.]+)"
)
"""When an analysis was made and how long it took, and the seal over that: all that may differ."""


def make_clips(folder: Path, *, clips: int, frames: int) -> None:
    picture = cv2.cvtColor(portrait(SIZE), cv2.COLOR_RGB2GRAY)
    landmarks = portrait_landmarks(portrait(SIZE))
    time_s = np.arange(frames) / RATE_HZ
    for number in range(clips):
        path = folder / f"group-{number % 10}" / f"clip-{number:04d}.mp4"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([7, number])
        events = draw_schedule(rng, count=1, start_s=0.3, end_s=time_s[-1], amplitude=0.2, amplitude_max=0.5)
        light = rng.uniform(0.8, 1.1)
        images = animate_portrait(picture, landmarks=landmarks, time_s=time_s, events=events, rng=rng)
        grey = (np.clip(light * image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8) for image in images)
        write_video(path, (cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) for image in grey), rate_hz=RATE_HZ)


def command(corpus: Path, output: Path, *more: object) -> list[str]:
    parts = ["analyze", corpus, "-o", output, "--no-cache", "-q", *more]
    return [sys.executable, "-m", "metst", *map(str, parts)]


def timed(parts: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(parts, check=False)
    if done.returncode not in (0, 3):
        sys.exit(f"{' '.join(parts)} left with {done.returncode}")
    return time.perf_counter() - started


def finished(output: Path) -> dict[str, int]:
    """When each analysis was done, nanoseconds, by its folder."""
    return {str(path.parent): path.stat().st_mtime_ns for path in output.rglob(OVERVIEW_FILE)}


def with_killed_worker(corpus: Path, output: Path, *, clips: int) -> tuple[float, int, int]:
    """Seconds; analyses that were done when a worker was killed; how many of these were done again."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        started = time.perf_counter()
        process = subprocess.Popen(
            command(corpus, output, "--executor", "dask", "--scheduler", cluster.scheduler_address)
        )
        while len(finished(output)) < clips // 4 and process.poll() is None:
            time.sleep(POLL_S)
        os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
        before = finished(output)
        if process.wait() not in (0, 3):
            sys.exit("the run with a killed worker failed")
        spent = time.perf_counter() - started
    after = finished(output)
    return spent, len(before), sum(after.get(name) != when for name, when in before.items())


def content(output: Path) -> dict[str, bytes]:
    """All files but for what a run says of itself: when it was, and for how long."""
    return {
        str(path.relative_to(output)): TOLD.sub(b"", path.read_bytes())
        for path in sorted(output.rglob("*"))
        if path.is_file()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--frames", type=int, default=18)
    asked = parser.parse_args()
    work = asked.work.resolve()
    corpus = work / "clips"
    make_clips(corpus, clips=asked.clips, frames=asked.frames)
    timed(command(next(corpus.rglob("*.mp4")), work / "first"))  # kernels are compiled once
    one = timed(command(corpus, work / "one", "--again", "--workers", 1))
    two = timed(command(corpus, work / "two", "--again", "--workers", 2))
    repeated = timed(command(corpus, work / "two", "--workers", 2))
    dask, before, twice = with_killed_worker(corpus, work / "dask", clips=asked.clips)
    expected = content(work / "one")
    lost = len(finished(work / "one")) - len(finished(work / "dask"))  # a face that leaves the picture is lost to all
    print(f"{asked.clips} clips of {asked.frames} frames: {one:.1f} s on one worker, {two:.1f} s on two"
          f" ({one / two:.2f} times as fast); done already: {repeated:.1f} s")  # fmt: skip
    print(f"Dask, one of two workers killed after {before} analyses: {dask:.1f} s; lost {lost}, twice {twice}")
    print(f"files equal to those of one worker: two {content(work / 'two') == expected},"
          f" Dask {content(work / 'dask') == expected} ({len(expected)} files)")  # fmt: skip


if __name__ == "__main__":
    main()
