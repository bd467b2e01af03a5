"""What the packaged model finds in real footage, raw and with planted micro-expressions.

    python benchmarks/footage.py clip.mp4 --count 10 --start 39.5 --end 50.2 --amplitude 0.2

The raw clip gives false alarms per minute (whatever its person really did counts as one), the
planted one how many of the planted movements are found (IoU >= 0.5), and how the class fares.
Each analysis runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from metst.metrics import score_tables
from metst.models.checkpoint import DEFAULT_MODEL
from metst.results import read_analysis
from metst.synthesis.clip import write_clip
from metst.synthesis.recipe import ClipRecipe


def analysed(video: Path, folder: Path, *, model: str) -> tuple[Path, float, float]:
    """Folder of the results, wall seconds and peak MB of ``metst analyze``."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "metst", "analyze", str(video), "-o", str(folder), "--model", model, "-q"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode not in (0, 3):
        raise SystemExit(done.stderr)
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return folder / video.stem, time.perf_counter() - started, peak_mb


def events_table(folder: Path, *, video: str) -> pd.DataFrame:
    """Events of an analysis as the scorers read them."""
    events = pd.read_csv(folder / "events.csv")
    return pd.DataFrame(
        {
            "subject": "planted",
            "video": video,
            "onset": events.onset_frame,
            "offset": events.offset_frame,
            "emotion": events.label,
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--amplitude", type=float, nargs="+", default=[0.1, 0.15, 0.2, 0.3])
    parser.add_argument("--start", type=float, default=0.5)
    parser.add_argument("--end", type=float)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder, seconds, peak_mb = analysed(args.video, Path(work) / "raw", model=args.model)
        raw = read_analysis(folder)
        minutes = raw.source.duration_s / 60
        moments = [round(float(raw.scores.grid.time_s[onset]), 2) for onset in raw.events.onset]
        print(
            f"raw: {len(raw.events)} events in {60 * minutes:.1f} s = {len(raw.events) / minutes:.2f} per minute"
            f" (at {moments} s); {raw.source.frames / seconds:.1f} frames/s, peak {peak_mb:.0f} MB,"
            f" {raw.motion.displacement.valid.mean():.1%} of frames usable"
        )
        for amplitude in args.amplitude:
            for seed in args.seeds:
                recipe = ClipRecipe(
                    count=args.count, amplitude=amplitude, start_s=args.start, end_s=args.end, seed=seed
                )
                clip = write_clip(Path(work) / f"{amplitude}-{seed}", recipe=recipe, footage=args.video)
                folder, _, _ = analysed(clip.video, Path(work) / f"out-{amplitude}-{seed}", model=args.model)
                truth = pd.read_csv(clip.truth)[["subject", "video", "onset", "offset", "emotion"]]
                found = events_table(folder, video=clip.video.name)
                first, last = truth.onset.min(), truth.offset.max()
                inside = found[(found.offset >= first) & (found.onset <= last)]
                tables = score_tables(inside, truth)
                spotting, recognition = tables["spotting"], tables["recognition"]
                print(
                    f"amplitude {amplitude} seed {seed}: {spotting['tp']} of {len(truth)} found,"
                    f" {spotting['fp']} false alarms in that stretch, {len(found) - len(inside)} outside of it,"
                    f" class F1 {recognition['f1']:.2f}, UAR {recognition['uar']:.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
