"""Core hours of leave-one-subject-out with a published recipe on features of the size of SAMM Long Videos.

Makes features with as many subjects, videos and micro-expressions, of noise: the number of steps depends on the labels
alone.  Then times steps of the training as a fold makes them, batches and optimiser included, on one thread in
processor time.  With ``--before`` another checkout takes turns with this one; a round starts one process for each.

    python benchmarks/loso_hours.py [--recipe metst-plus] [--rounds 2] [--before CHECKOUT]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import metst
from metst.config import AnalyzeSettings
from metst.datasets.features import FeatureIndex, FeatureVideo, TrueEvent, read_features_index, write_features_index
from metst.published.facts import COUNTS, DATA_SETS, MICRO_VIDEOS, NETWORKS, VIDEOS, TrainedOn
from metst.published.facts import SUBJECTS as SUBJECTS_COUNT
from metst.regions import REGION_NAMES
from metst.results.motion import Motion
from metst.results.motion_file import motion_bytes
from metst.storage import write_whole
from metst.timeline import Series, TimeGrid

if TYPE_CHECKING:
    from metst.training.loop import Training
    from metst.training.recipes import Recipe

SUBJECTS = {"samm-lv": 30, "casme3": COUNTS["casme3"][SUBJECTS_COUNT][1]}  # folds: one of SAMM has no micro-expression
VIDEO_S = 35.0  # about the mean of SAMM; there are more neutral windows than are chosen, so that it matters little
EVENT_S = (0.15, 0.5)  # a micro-expression
NOISE = 0.005  # face units
WARM_UP, STEPS = 2, 6
HERE = Path(__file__).resolve().parents[1]


def make_features(folder: Path, data_set: TrainedOn = "samm-lv") -> None:
    """As many micro-expressions as a data set has, evenly over as many videos, of as many subjects."""
    folder.mkdir(parents=True)
    counts, rng = COUNTS[data_set], np.random.default_rng(1)
    rate_hz = DATA_SETS[data_set].video_rate_hz
    frames, rows = round(VIDEO_S * rate_hz), []
    for number in range(counts.get(VIDEOS, counts[MICRO_VIDEOS])[1]):
        moving = number < counts[MICRO_VIDEOS][1]
        subject = number % (counts[SUBJECTS_COUNT][1] if moving else SUBJECTS[data_set])
        values = rng.normal(0, NOISE, (frames, len(REGION_NAMES), 2)).astype(np.float32)
        motion = Series(TimeGrid.uniform(frames, rate_hz=rate_hz), values, np.ones(frames, bool), REGION_NAMES)
        file = f"{number:03d}.safetensors"
        quality = np.ones((frames, len(REGION_NAMES)), np.float32)
        write_whole(folder / file, motion_bytes(Motion.bare(motion, quality=quality)))
        of_video = range(number, counts["micro-expressions"][1], counts[MICRO_VIDEOS][1]) if moving else ()
        starts = np.sort(rng.choice(int(VIDEO_S) - 1, len(of_video), replace=False)) * round(rate_hz)
        events = tuple(
            TrueEvent(onset=int(a), offset=int(a + rate_hz * rng.uniform(*EVENT_S)), emotion="negative") for a in starts
        )
        rows.append(FeatureVideo(subject=f"{subject:03d}", video=f"{number:03d}", frames=frames, rate_hz=rate_hz,
                                 file=file, events=events))  # fmt: skip
    write_features_index(folder, FeatureIndex(data_set=data_set, settings=AnalyzeSettings(), videos=tuple(rows)))


def first_fold(features: Path, recipe: Recipe, *, steps: int) -> tuple[Training, int, int]:
    """So many steps of the fold that leaves the first subject out; its windows, and the steps of an epoch."""
    from metst.training import joint_loss
    from metst.training.loop import Optimisation, Training
    from metst.training.recordings import window_batches
    from metst.training.windows import training_windows, window_plan

    index = read_features_index(features)
    subjects = index.subjects[1:]
    plan = window_plan(recipe, index, subjects)
    windows = training_windows(features, index, subjects, recipe=recipe, plan=plan, seed=1)
    training = Training(
        batch=window_batches(windows, batch_size=plan.batch_size, gain=recipe.gain, seed=1),
        loss=joint_loss(windows.class_weights(strategy=1, neutral_factor=recipe.neutral_factor), recipe=recipe),
        optimisation=Optimisation(recipe.learning_rate), steps=steps, epoch_steps=steps, seed=1,
        mixed_precision=recipe.mixed_precision,
    )  # fmt: skip
    return training, len(windows), -(-len(windows) // plan.batch_size)


def time_fold(features: Path, recipe_name: str) -> dict[str, Any]:
    """Steps of a fold, and processor seconds of the best of some."""
    from metst.training import published_recipe
    from metst.training.loop import fit_network, fresh_network, one_thread

    recipe = published_recipe(recipe_name)
    training, windows, epoch_steps = first_fold(features, recipe, steps=WARM_UP + STEPS)
    moments = [time.process_time()]
    with one_thread():
        network = fresh_network(recipe.network, seed=1)
        fit_network(network, training, device="cpu", on_progress=lambda *_: moments.append(time.process_time()))
    spent = np.diff(moments)[WARM_UP:]
    return {"from": metst.__file__, "windows": windows, "epoch steps": epoch_steps, "epochs": recipe.epochs,
            "best": float(spent.min()), "median": float(np.median(spent))}  # fmt: skip


def timed(checkout: Path, features: Path, recipe: str) -> dict[str, Any]:
    """In a process of its own, with the sources of a checkout."""
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    command = [sys.executable, __file__, "--recipe", recipe, "--stage", str(features)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    if not Path(found["from"]).is_relative_to(checkout):
        sys.exit(f"{checkout} was asked for, {found['from']} was timed: give a folder with src/metst")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="metst-plus", choices=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--before", type=Path, help="another checkout, which takes turns with this one")
    parser.add_argument("--stage", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(time_fold(options.stage, options.recipe)))
        return
    contestants = {"now": HERE} | ({"before": options.before.resolve()} if options.before else {})
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    with tempfile.TemporaryDirectory() as work:
        features = Path(work) / "features"
        make_features(features)
        for _ in range(options.rounds):
            for name, checkout in contestants.items():
                found[name].append(timed(checkout, features, options.recipe))
    size = found["now"][0]
    steps = size["epoch steps"] * size["epochs"]
    folds = SUBJECTS["samm-lv"]
    print(f"{options.recipe}, {folds} folds, each of {size['windows']} windows: {size['epoch steps']} steps in each"
          f" of {size['epochs']} epochs; load {os.getloadavg()[0]:.1f}")  # fmt: skip
    for name, rounds in found.items():
        best, median = min(each["best"] for each in rounds), float(np.median([each["median"] for each in rounds]))
        hours = folds * steps * best / 3600
        fold = f"a fold {steps * best / 60:.1f} min, all {hours:.1f} core hours"
        print(f"  {name:8} a step {best:.2f} s at best, {median:.2f} s in the median; {fold}")
    if options.before:
        pairs = zip(found["before"], found["now"], strict=True)
        print(f"  before / now, median of neighbours: {np.median([b['best'] / n['best'] for b, n in pairs]):.2f}")


if __name__ == "__main__":
    main()
