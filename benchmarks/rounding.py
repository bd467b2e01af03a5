"""What rounding can change in the events of a recording: which stay, in how many digits, how near the threshold is."""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from metst.analyze import analyze
from metst.cli.demo import DEMO_RECIPE
from metst.config import DecodeSettings
from metst.decode import decode_scores
from metst.decode.odds import log_odds
from metst.inference import decode_events, score_motion
from metst.metrics import interval_iou, match_intervals
from metst.models.checkpoint import WEIGHTS_FILE, Model, load_model
from metst.models.engine import Engine
from metst.motion import Motion
from metst.synthesis.clip import write_clip
from metst.timeline import Intervals, Series

FLOAT32 = 2.0**-24
"""Half of a unit in the last place of a number of 32 bits: what storing it may change, as a share of it (IEEE 754)."""

STEPS = (FLOAT32, 1e-6, 1e-5, 1e-4, 1e-3)
"""Largest relative change of each number, smallest step first."""

RUNS = 10
"""Runs per step, each with the seed of its number."""

IOU = 0.5
"""Overlap at which an event is the same event."""

SHARE = 0.25
"""Peaks down to this share of the threshold are looked at: those that rounding might lift."""

PEAK_ITSELF = {"confidence_slope": 1.0, "confidence_offset": 0.0, "calibrated_per_min": None, "expected_per_min": None}
"""Settings with which the confidence of an event is the height of its peak."""


def peaks(scores: Series, *, settings: DecodeSettings) -> Intervals:
    """Peaks of the smoothed score, down to a share of the threshold, with their heights as ``confidence``."""
    lower = {"peak_threshold": SHARE * settings.peak_threshold}
    return decode_scores(scores, settings=settings.model_copy(update=PEAK_ITSELF | lower))


def distances(scores: Series, *, settings: DecodeSettings) -> np.ndarray:
    """How far each peak lies above the threshold, or below it (negative), whatever else keeps it from being an event.

    In log-odds, in which scores next to 0 and 1 are as far apart as they are sure.
    """
    heights = peaks(scores, settings=settings).confidence
    at_threshold = decode_scores(scores, settings=settings.model_copy(update=PEAK_ITSELF)).confidence
    return log_odds(np.concatenate([heights, at_threshold])) - log_odds(np.float64(settings.peak_threshold))


def shaken_motion(motion: Motion, *, step: float, rng: np.random.Generator) -> Motion:
    """The same motion, each displacement and quality changed by a random share of itself, at most ``step``."""
    series = replace(motion.displacement, values=_shaken(motion.displacement.values, step, rng))
    return replace(motion, displacement=series, quality=np.minimum(_shaken(motion.quality, step, rng), 1))


def shaken_model(model: Model, *, step: float, rng: np.random.Generator) -> Model:
    """The same model, each weight changed so."""
    weights = {
        name: _shaken(values, step, rng) if values.dtype == np.float32 else values
        for name, values in load_file(model.folder / WEIGHTS_FILE).items()
    }
    other = replace(model)
    vars(other)["engine"] = Engine(model.info.network, weights, where="shaken weights")
    return other


def _shaken(values: np.ndarray, step: float, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(values * (1 + step * rng.uniform(-1, 1, values.shape)), np.float32)


@dataclass(frozen=True)
class Spread:
    """What one step changed, over all runs.

    ``stay``: events of the undisturbed run that are found in every run; ``others``: events of the runs that are none
    of those.  Then the largest changes: of the score, of an event's confidence, of its onset (s), and of its peak
    (log-odds).
    """

    step: float
    stay: int
    others: int
    score: float = 0.0
    confidence: float = 0.0
    onset_s: float = 0.0
    peak: float = 0.0


def spread(motion: Motion, *, model: Model, step: float, runs: int = RUNS) -> Spread:
    """Score and decode again with everything changed by a random share, at most ``step``."""
    settings = model.info.decode
    assert isinstance(settings, DecodeSettings)
    plain = score_motion(motion.displacement, model=model, quality=motion.quality)
    events, all_peaks, time_s = decode_events(plain, model=model), peaks(plain, settings=settings), plain.grid.time_s
    stay, result = np.full(len(events), True), Spread(step, len(events), 0)
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        moved, other = shaken_motion(motion, step=step, rng=rng), shaken_model(model, step=step, rng=rng)
        scores = score_motion(moved.displacement, model=other, quality=moved.quality)
        found, found_peaks = decode_events(scores, model=other), peaks(scores, settings=settings)
        pairs = match_intervals(interval_iou(_ends(found), _ends(events)), threshold=IOU).reshape(-1, 2)
        stay[np.setdiff1d(np.arange(len(events)), pairs[:, 1])] = False
        mine, theirs = pairs[:, 1], pairs[:, 0]
        both = match_intervals(interval_iou(_ends(found_peaks), _ends(all_peaks)), threshold=IOU).reshape(-1, 2)
        peak = log_odds(found_peaks.confidence[both[:, 0]]) - log_odds(all_peaks.confidence[both[:, 1]])
        result = Spread(
            step,
            int(stay.sum()),
            result.others + len(found) - len(pairs),
            max(result.score, float(np.nanmax(np.abs(scores.values[:, 0] - plain.values[:, 0])))),
            max(result.confidence, _most(found.confidence[theirs] - events.confidence[mine])),
            max(result.onset_s, _most(time_s[found.onset[theirs]] - time_s[events.onset[mine]])),
            max(result.peak, _most(peak)),
        )
    return result


def margin(motion: Motion, *, model: Model, step: float = FLOAT32, runs: int = RUNS) -> float:
    """How many times farther the peak next to the threshold is from it than rounding moves any peak.

    Infinite when there is no peak, or none moves.  No peak crosses the threshold by rounding when this is far above 1.
    """
    settings = model.info.decode
    assert isinstance(settings, DecodeSettings)
    scores = score_motion(motion.displacement, model=model, quality=motion.quality)
    nearest = float(np.abs(distances(scores, settings=settings)).min(initial=math.inf))
    moves = spread(motion, model=model, step=step, runs=runs).peak
    return nearest / moves if moves else math.inf


def _ends(events: Intervals) -> np.ndarray:
    return np.stack([events.onset, events.offset - 1], axis=1)


def _most(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0))


def digits(change: float) -> str:
    """Decimals in which numbers that differ by at most ``change`` agree when they are rounded, but for ties."""
    return "all" if change == 0 else str(max(0, math.floor(-math.log10(2 * change))))


COLUMNS = ("change of each number", "events that stay", "others", "decimals of score", "of confidence", "onset moves",
           "peak moves (log-odds)", "next peak is farther by")  # fmt: skip


def report(path: Path, *, model: Model, cache: Path) -> None:
    """Print a table of one recording."""
    analysis = analyze(path, model=model, cache=cache)
    settings = model.info.decode
    assert isinstance(settings, DecodeSettings)
    far = distances(analysis.scores, settings=settings)
    above, below = far[far >= 0].min(initial=math.inf), -far[far < 0].max(initial=-math.inf)
    print(f"\n{path.name}, {analysis.source.duration_s:.0f} s: {len(analysis.events)} events; the next peak above the")
    print(f"threshold {settings.peak_threshold:g} is {above:.2f}, the next below it {below:.2f} from it (log-odds)\n")
    print(f"| {' | '.join(COLUMNS)} |\n|---|{'---:|' * (len(COLUMNS) - 1)}")
    for step in STEPS:
        one = spread(analysis.motion, model=model, step=step)
        times = min(above, below) / one.peak if one.peak else math.inf
        cells = [f"{step:.2g}", f"{one.stay} of {len(analysis.events)}", one.others, digits(one.score)]
        cells += [digits(one.confidence), f"{one.onset_s:.3f} s", f"{one.peak:.1e}", f"{times:,.0f} x"]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="*", type=Path, help="recordings; none: the clip of the demonstration")
    parser.add_argument("--model", default="metst-event")
    parser.add_argument("--cache", type=Path, default=None, help="folder for the motion of the recordings")
    options = parser.parse_args()
    model = load_model(options.model)
    with tempfile.TemporaryDirectory() as work:
        clips = options.clips or [write_clip(Path(work), recipe=DEMO_RECIPE.model_copy(update={"seed": 1})).video]
        for path in clips:
            report(path, model=model, cache=options.cache or Path(work) / "motion")


if __name__ == "__main__":
    main()
