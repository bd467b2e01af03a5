"""Leave-one-subject-out from pictures to the table: on one and two workers, through Dask, killed and resumed.

Makes a data set in the layout of SAMM Long Videos (one animated portrait with planted movements, 200 grey frames per
second; every third video of a subject without a micro-expression), checks it, measures its motion, and evaluates
``metst-plus`` and ``metst`` under all strategies.  With ``--simulated`` the motion is drawn instead, without pictures:
faster, and good enough for times.  Scores on either are no benchmark scores.

With ``--features-only`` nothing is evaluated.

    python benchmarks/loso.py WORK [--simulated] [--features-only] [--subjects 8] [--seconds 4] [--epochs 3]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import openpyxl

from metst.config import AnalyzeSettings
from metst.datasets.features import INDEX_FILE, FeatureIndex, FeatureVideo, TrueEvent, write_features_index
from metst.metrics import score_tables
from metst.regions import REGION_NAMES
from metst.results.motion import Motion
from metst.results.motion_file import motion_bytes
from metst.storage import fingerprint, write_whole
from metst.synthesis.events import PlantedEvent, draw_schedule
from metst.synthesis.faces import simulated_responses
from metst.synthesis.inject import animate_portrait, truth_intervals
from metst.synthesis.portrait import portrait, portrait_landmarks
from metst.synthesis.trajectories import MotionSimulator, SimulationSettings
from metst.timeline import Series, TimeGrid, frame_for_people, frames_for_people

RATE_HZ = 200.0
VIDEOS = 3
EVENTS_PER_S = 0.8
AMPLITUDE = (0.15, 0.4)
SIZE = (192, 240)
EMOTIONS = {"negative": "Anger", "positive": "Happiness", "surprise": "Surprise"}
SHEET = [
    "Subject",
    "Filename",
    "Inducement Code",
    "Onset",
    "Apex",
    "Offset",
    "Duration",
    "Type",
    "Action Units",
    "Notes",
]
FACS = ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration", "Micro",
        "Action Units", "Estimated Emotion", "Objective Classes", "Notes"]  # fmt: skip
RECIPES = ("metst-plus", "metst")
POLL_S = 0.05


def names(subjects: int) -> Iterator[tuple[int, str, int, bool]]:
    """Number of the video, subject, number within the subject, whether it has micro-expressions."""
    for number in range(subjects * VIDEOS):
        place = number % VIDEOS + 1
        yield number, f"{6 + number // VIDEOS:03d}", place, place < VIDEOS


def schedule(rng: np.random.Generator, *, seconds: float) -> tuple[PlantedEvent, ...]:
    count = max(1, round(EVENTS_PER_S * (seconds - 1)))
    return draw_schedule(rng, count=count, start_s=0.5, end_s=seconds - 0.2, amplitude=AMPLITUDE[0],
                         amplitude_max=AMPLITUDE[1])  # fmt: skip


def make_pictures(root: Path, *, subjects: int, seconds: float) -> None:
    """The data set on disk, sheets last."""
    picture = cv2.cvtColor(portrait(SIZE), cv2.COLOR_RGB2GRAY)
    landmarks = portrait_landmarks(portrait(SIZE))
    grid = TimeGrid(np.arange(round(seconds * RATE_HZ)) / RATE_HZ)
    sheet, facs = [[f"Line {line} above the table"] for line in range(9)] + [SHEET], [FACS]
    for number, subject, place, moving in names(subjects):
        rng = np.random.default_rng([1, number])
        events = schedule(rng, seconds=seconds) if moving else ()
        video = f"{subject}_{place}"
        folder = root / "SAMM_longvideos" / video
        folder.mkdir(parents=True)
        images = animate_portrait(picture, landmarks=landmarks, time_s=grid.time_s, events=events, rng=rng)
        for frame, image in enumerate(images, start=1):
            cv2.imwrite(str(folder / f"{video}_{frame:04d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        truth = truth_intervals(events, grid=grid)
        first, last = frames_for_people(truth.onset, truth.offset)
        for k, apex in enumerate(frame_for_people(truth.apex)):
            code, length = f"{video}_{k + 1}", int(last[k] - first[k] + 1)
            ends = [int(first[k]), int(apex), int(last[k]), length]
            sheet.append([int(subject), code, 1, *ends, "Micro - 1/2", "", ""])
            facs.append([int(subject), code, 1, *ends, "Micro - 1/2", "", EMOTIONS[truth.label[k]], "", ""])
    write_sheet(root / "SAMM_LongVideos_V3_Release.xlsx", sheet)
    write_sheet(root / "SAMM_Micro_FACS_Codes_v2.xlsx", facs)


def write_sheet(path: Path, rows: list[list[object]]) -> None:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


def draw_features(folder: Path, *, subjects: int, seconds: float) -> None:
    """Features of as many videos without pictures."""
    folder.mkdir(parents=True)
    responses, rows = simulated_responses(count=8, seed=1), []
    calm = {"blinks_per_min": 6.0, "macros_per_min": 1.0, "lively_share": 0.0, "speech_share": 0.0,
            "events_per_min": 60 * EVENTS_PER_S, "amplitude": AMPLITUDE, "others_share": 0.0}  # fmt: skip
    for number, subject, place, moving in names(subjects):
        settings = SimulationSettings.model_validate(calm | {"event_free_share": 0.0 if moving else 1.0})
        frames = round(seconds * RATE_HZ)
        drawn = MotionSimulator(responses, settings=settings).draw(
            np.random.default_rng([1, number]), frames=frames, rate_hz=RATE_HZ
        )
        grid = TimeGrid.uniform(frames, rate_hz=RATE_HZ)
        motion = Series(grid, drawn.displacement, np.ones(frames, bool), REGION_NAMES)
        file = f"{number:04d}.safetensors"
        quality = np.ones((frames, len(REGION_NAMES)), np.float32)
        write_whole(folder / file, motion_bytes(Motion.bare(motion, quality=quality)))
        edges = np.flatnonzero(np.diff(np.concatenate([[0], drawn.score, [0]])))
        events = tuple(
            TrueEvent(onset=int(a), apex=None, offset=int(b), emotion=list(EMOTIONS)[int(drawn.label[a])])
            for a, b in edges.reshape(-1, 2)
        )
        rows.append(FeatureVideo(subject=subject, video=f"{subject}_{place}", frames=frames, rate_hz=RATE_HZ, file=file,
                                 events=events))  # fmt: skip
    index = FeatureIndex(data_set="samm-lv", settings=AnalyzeSettings(), videos=tuple(rows))
    write_features_index(folder, index)


def command(*parts: object) -> list[str]:
    return [sys.executable, "-m", "metst", *map(str, parts)]


def evaluation(features: Path, run: Path, *, recipe: str, epochs: int, more: tuple[object, ...]) -> list[str]:
    return command("evaluate", features, "-o", run, "--recipe", recipe, "--strategy", "all", "--epochs", epochs, *more)


def timed(parts: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(parts, check=False)
    if done.returncode not in (0, 3):
        sys.exit(f"{' '.join(parts)} ended with {done.returncode}")
    return time.perf_counter() - started


def predictions(run: Path) -> str:
    """Of all that a run found."""
    tables = sorted((run / "predictions").glob("*.csv"))
    return fingerprint(*tables)[:12]


def kill_when(parts: list[str], run: Path, *, folds_done: int) -> tuple[int, float]:
    """Kill the whole run as soon as some folds are done; folds that were done, and seconds of work that were lost."""
    process = subprocess.Popen(parts, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while len(list(run.rglob("done.json"))) < folds_done and process.poll() is None:
        time.sleep(POLL_S)
    os.killpg(process.pid, signal.SIGKILL)
    killed_at = time.time()
    process.wait()
    done = {path.parent for path in run.rglob("done.json")}
    open_folds = {path.parent for path in run.rglob("state.safetensors")} - done
    lost = sum(killed_at - (folder / "state.safetensors").stat().st_mtime for folder in open_folds)
    return len(done), lost


def work_s(run: Path) -> float:
    """Seconds of training in all folds."""
    lines = [line for path in run.rglob("metrics.jsonl") for line in path.read_text().splitlines()]
    return sum(json.loads(line)["seconds"] for line in lines)


def race(features: Path, work: Path, *, recipe: str, epochs: int) -> None:
    """All ways of running one recipe; every one must find the same."""
    ways: dict[str, tuple[object, ...]] = {
        "one worker": ("--workers", 1),
        "two workers": ("--workers", 2),
        "two workers of Dask": ("--executor", "dask", "--workers", 2),
    }
    spent, found = {}, {}
    for name, more in ways.items():
        run = work / recipe / name.replace(" ", "-")
        spent[name] = timed(evaluation(features, run, recipe=recipe, epochs=epochs, more=(*more, "-q")))
        found[name] = predictions(run)
    run, more = work / recipe / "killed", (*ways["two workers"], "-q")
    parts = evaluation(features, run, recipe=recipe, epochs=epochs, more=more)
    done, lost_s = kill_when(parts, run, folds_done=5)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("done.json")}
    spent["the rest after a kill"] = timed(parts)
    kept = sum(path.stat().st_mtime_ns == at for path, at in before.items())
    found["killed and resumed"] = predictions(run)
    spent["done already"] = timed(parts)
    print(f"\n{recipe}, {epochs} epochs, seconds by the clock (other load: {os.getloadavg()[0]:.1f})")
    for name, seconds in spent.items():
        print(f"  {name:24} {seconds:7.1f}")
    print(f"  second worker: {spent['one worker'] / spent['two workers']:.2f}x")
    share = lost_s / work_s(run)
    print(f"  killed after {done} folds, {kept} of them kept; {lost_s:.1f} s of work lost, {share:.1%} of all training")
    print(f"  same predictions: {'yes' if len(set(found.values())) == 1 else f'NO {found}'}")


def show(work: Path, recipe: str) -> None:
    """The table again, from the command that finds everything done."""
    run = work / recipe / "two-workers"
    for table in sorted((run / "predictions").glob("*.csv")):
        figures = score_tables(table, run / "truth.csv", bootstrap=0)
        counts = "/".join(str(figures["spotting"][name]) for name in ("tp", "fp", "fn"))
        print(f"  {table.stem:28} {counts:14} F1 {figures['spotting']['f1']:.4f} STRS {figures['strs']:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--features-only", action="store_true")
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    options = parser.parse_args()
    features = options.work / "features"
    if (features / INDEX_FILE).exists():
        print(f"{features} is there already")
    elif options.simulated:
        draw_features(features, subjects=options.subjects, seconds=options.seconds)
    else:
        data = options.work / "SAMM_LV"
        if not data.exists():
            started = time.perf_counter()
            make_pictures(data, subjects=options.subjects, seconds=options.seconds)
            print(f"pictures: {time.perf_counter() - started:.0f} s")
        print(f"check: {timed(command('datasets', 'check', data)):.0f} s")
        print(f"extract: {timed(command('extract', data, '-o', features)):.0f} s")
    for recipe in () if options.features_only else options.recipes:
        race(features, options.work, recipe=recipe, epochs=options.epochs)
        show(options.work, recipe)


if __name__ == "__main__":
    main()
