"""How fast ``metst analyze`` is from a 720p H.264 file on one core, and how much memory it takes.

    python benchmarks/analyze.py --footage clip.mp4

The footage (the packaged portrait set in motion when none is given) is cut to 16:9, scaled to 1280 x 720,
given sensor noise, played forward and backward up to a minute, and encoded at 30 frames/s.  What is measured:

* each stage by itself, in one process on one core: decoding, the face track, motion, scores, tables, report;
* the whole command, start of the interpreter included, in a process of its own, without the cache;
* face and motion together on frames of 640 x 480 in memory, in turn with the published extractor;
* peak memory of the command on one and on ten minutes;
* two commands at once on two cores against one on one core.

Times are processor seconds (user and system) where a stage runs by itself, so that neighbours on the machine
count little, and the best of ``--repeat`` runs; of the whole command both processor and wall time are shown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from motion_speed import measured_speed
from repeated import repeated

from metst.synthesis.clip import write_clip
from metst.synthesis.recipe import ClipRecipe
from metst.video import read_colour_stream, read_frames, write_video

RATE_HZ, MINUTE_S = 30, 60
MEMORY_FRAMES = 300
# The command itself; what the system says of a child's peak memory includes that of its parent.
COMMAND = """
import re, time
from pathlib import Path
from metst.cli import main
try:
    main()
except SystemExit as stop:
    if stop.code not in (None, 0, 3):
        raise
print(time.process_time(), re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def pictures(footage: Path, *, count: int, noise: float) -> Iterator[np.ndarray]:
    """Footage at 1280 x 720 with noise, forward and backward."""
    frames = [np.ascontiguousarray(sixteen_to_nine(frame.rgb)) for frame in read_colour_stream(footage)][:count]
    there_and_back = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    rng = np.random.default_rng(0)
    grain = [rng.normal(0, noise, (720, 1280, 1)).astype(np.float32) for _ in range(8)]
    for number in range(count):
        frame = frames[there_and_back[number % len(there_and_back)]]
        large = cv2.resize(frame, (1280, 720), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        shifted = np.roll(grain[number % len(grain)], int(rng.integers(1280)), axis=1)
        yield np.clip(large + shifted, 0, 255).astype(np.uint8)


def sixteen_to_nine(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    rows, columns = min(height, width * 9 // 16), min(width, height * 16 // 9)
    top, left = (height - rows) // 2, (width - columns) // 2
    return rgb[top : top + rows, left : left + columns]


def least(work: Callable[[], Any], *, repeat: int) -> tuple[float, Any]:
    """Fewest processor seconds of several runs, and the last result."""
    seconds, result = [], None
    for _ in range(repeat):
        started = time.process_time()
        result = work()
        seconds.append(time.process_time() - started)
    return min(seconds), result


def stages(video: Path, *, repeat: int) -> dict[str, float]:
    """Milliseconds per frame of each stage."""
    from metst.analyze import analyze
    from metst.face import track_face
    from metst.inference import decode_events, score_motion
    from metst.models.checkpoint import load_model
    from metst.motion import extract_motion
    from metst.report import write_report
    from metst.results import write_analysis

    model = load_model()
    decode_s, total = least(lambda: sum(1 for _ in read_frames(video)), repeat=repeat)
    frames = [frame for frame, _ in zip(read_frames(video), range(MEMORY_FRAMES), strict=False)]
    extract_motion(track_face(frames[:10]))  # compiles
    face_s, track = least(lambda: list(track_face(frames)), repeat=repeat)
    motion_s, _ = least(lambda: extract_motion(track), repeat=repeat)
    times = {"decoding": decode_s / total, "face": face_s / len(frames), "motion": motion_s / len(frames)}
    analysis = analyze(video, model=model, cache=False)
    motion = analysis.motion
    scoring_s, _ = least(
        lambda: decode_events(score_motion(motion.displacement, model=model, quality=motion.quality), model=model),
        repeat=repeat,
    )
    with tempfile.TemporaryDirectory() as folder:
        tables_s, _ = least(lambda: write_analysis(analysis, folder), repeat=repeat)
        report_s, _ = least(lambda: write_report(analysis, Path(folder) / "r.html", video=video), repeat=repeat)
    times |= {"scores": scoring_s / total, "tables": tables_s / total, "report": report_s / total}
    return {name: 1e3 * seconds for name, seconds in times.items()}


def in_memory(video: Path, *, repeat: int) -> dict[str, float]:
    """Milliseconds per frame at 640 x 480 of face and motion, and how many times as long the published one takes."""
    frames = (frame.grey for frame, _ in zip(read_frames(video), range(120), strict=False))
    small = np.stack([cv2.resize(grey, (640, 480), interpolation=cv2.INTER_AREA) for grey in frames])
    found = measured_speed(small, repeats=repeat)
    return {"face": found.face_ms, "motion": found.motion_ms, "ratio": median(found.ratios)}


def start(arguments: list[str], *, core: int) -> subprocess.Popen[str]:
    """A process on one core."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )


def command(video: Path, *, core: int, out: Path) -> subprocess.Popen[str]:
    return start(["-c", COMMAND, "analyze", str(video), "-o", str(out), "--no-cache", "-q"], core=core)


def wait(process: subprocess.Popen[str]) -> tuple[float, float]:
    """Processor seconds and peak MB of a process once it has ended."""
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit("metst analyze failed")
    seconds, peak_kb = said.split()
    return float(seconds), float(peak_kb) / 1024


def at_once(video: Path, *, cores: list[int], out: Path) -> tuple[float, float, float]:
    """Wall seconds, processor seconds per command and highest peak MB of one command per core."""
    started = time.perf_counter()
    running = [command(video, core=core, out=out / str(core)) for core in cores]
    used = [wait(process) for process in running]
    wall_s = time.perf_counter() - started
    return wall_s, sum(cpu for cpu, _ in used) / len(used), max(peak for _, peak in used)


def row(name: str, value: str, demand: str = "") -> None:
    print(f"{name:44s} {value:>30s}   {demand}", flush=True)


def show_stages(video: Path, *, repeat: int, core: int) -> None:
    child = start([__file__, "--stages", str(video), "--repeat", str(repeat)], core=core)
    out, _ = child.communicate()
    times, small = json.loads(out.splitlines()[-1])
    for name, ms in times.items():
        row(f"{name}, ms/frame", f"{ms:.3f}")
    row("all stages, 1280x720, frames/s", f"{1e3 / sum(times.values()):.0f}", ">= 150, stretch 300")
    row("face in memory, 640x480, ms/frame", f"{small['face']:.2f}", "<= 0.8")
    row("face + motion in memory, 640x480, ms/frame", f"{small['face'] + small['motion']:.2f}", "<= 2.2")
    row("... the published extractor takes, times", f"{small['ratio']:.1f}", ">= 10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, help="video of a face; the packaged portrait otherwise")
    parser.add_argument("--noise", type=float, default=3.0, help="standard deviation of sensor noise, grey levels")
    parser.add_argument("--crf", type=int, default=23, help="H.264 quality")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--skip", nargs="*", default=[], choices=["stages", "memory", "two"])
    parser.add_argument("--stages", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stages:
        found = stages(options.stages, repeat=options.repeat), in_memory(options.stages, repeat=options.repeat)
        print(json.dumps(found))
        return
    cores = sorted(os.sched_getaffinity(0))[:2]
    count = RATE_HZ * MINUTE_S
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        footage = options.footage or write_clip(work / "portrait", recipe=ClipRecipe()).video
        video, long = work / "minute.mp4", work / "ten.mp4"
        write_video(
            video, pictures(footage, count=count, noise=options.noise), rate_hz=RATE_HZ, crf=options.crf, preset="fast"
        )
        repeated(video, long, times=10, length_s=MINUTE_S)
        row(f"1280x720 H.264, {count} frames", f"{video.stat().st_size * 8 / MINUTE_S / 1e6:.2f} Mbit/s")
        if "stages" not in options.skip:
            show_stages(video, repeat=options.repeat, core=cores[0])
        at_once(video, cores=cores[:1], out=work)  # compiles, and fills the caches of the disk
        one = min(at_once(video, cores=cores[:1], out=work) for _ in range(options.repeat))
        row("command, one minute, frames per CPU second", f"{count / one[1]:.0f}", ">= 150, stretch 300")
        row("command, one minute, frames per wall second", f"{count / one[0]:.0f}", ">= 150, stretch 300")
        if "memory" not in options.skip:
            ten = at_once(long, cores=cores[:1], out=work)
            row("command, ten minutes, frames per CPU second", f"{10 * count / ten[1]:.0f}", ">= 150, stretch 300")
            row("peak MB, ten minutes / one", f"{ten[2]:.0f} / {one[2]:.0f} = {ten[2] / one[2]:.3f}", "<= 1.05")
        if "two" not in options.skip and len(cores) == 2:
            two = min(at_once(video, cores=cores, out=work) for _ in range(options.repeat))
            row("two processes on two cores against one", f"{2 * one[0] / two[0]:.2f}", ">= 1.8")


if __name__ == "__main__":
    main()
