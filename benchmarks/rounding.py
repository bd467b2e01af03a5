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

PEAK_ITSELF = {"confidence_slope": 1.0, "confidence_offset": 0.0, "calibrated_per_min": None, "expected_per_min": None}
"""Settings with which the confidence of an event is the height of its peak."""


def peaks(scores: Series, *, settings: DecodeSettings, at_least: float | None = None) -> Intervals:
    """Events whose ``confidence`` is the height of the peak of the smoothed score; with another threshold if given."""
    threshold = {} if at_least is None else {"peak_threshold": at_least}
    return decode_scores(scores, settings=settings.model_copy(update=PEAK_ITSELF | threshold))


def nearest_to_threshold(scores: Series, *, settings: DecodeSettings) -> tuple[float, float]:
    """How far the lowest peak that counts lies above the threshold, and the highest that does not below it.

    Both in log-odds, in which scores next to 0 and 1 are as far apart as they are sure; infinite where there is none.
    """
    at = settings.peak_threshold
    heights = peaks(scores, settings=settings, at_least=at / 4).confidence
    heights = np.concatenate([heights, peaks(scores, settings=settings).confidence])
    far = log_odds(heights) - log_odds(np.float64(at))
    return float(far[far >= 0].min(initial=math.inf)), float(-far[far < 0].max(initial=-math.inf))


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
    events, heights, time_s = decode_events(plain, model=model), peaks(plain, settings=settings), plain.grid.time_s
    stay, result = np.full(len(events), True), Spread(step, len(events), 0)
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        moved, other = shaken_motion(motion, step=step, rng=rng), shaken_model(model, step=step, rng=rng)
        scores = score_motion(moved.displacement, model=other, quality=moved.quality)
        found, found_heights = decode_events(scores, model=other), peaks(scores, settings=settings)
        pairs = match_intervals(interval_iou(_ends(found), _ends(events)), threshold=IOU).reshape(-1, 2)
        stay[np.setdiff1d(np.arange(len(events)), pairs[:, 1])] = False
        mine, theirs = pairs[:, 1], pairs[:, 0]
        peak = log_odds(found_heights.confidence[theirs]) - log_odds(heights.confidence[mine])
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


def _ends(events: Intervals) -> np.ndarray:
    return np.stack([events.onset, events.offset - 1], axis=1)


def _most(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0))


def digits(change: float) -> str:
    """Decimals in which numbers that differ by at most ``change`` agree when they are rounded, but for ties."""
    return "all" if change == 0 else str(max(0, math.floor(-math.log10(2 * change))))


def report(path: Path, *, model: Model, cache: Path) -> None:
    """Print a table of one recording."""
    analysis = analyze(path, model=model, cache=cache)
    settings = model.info.decode
    assert isinstance(settings, DecodeSettings)
    above, below = nearest_to_threshold(analysis.scores, settings=settings)
    print(
        f"\n{path.name}: {len(analysis.events)} events; threshold {settings.peak_threshold:g}; nearest peak above it ",
        end="",
    )
    print(f"{above:.3g}, below it {below:.3g} (log-odds)")
    heights = peaks(analysis.scores, settings=settings).confidence
    print("  peaks above the threshold by:", ", ".join(
        f"{each:.3g}" for each in log_odds(heights) - log_odds(np.float64(settings.peak_threshold))) or "-")  # fmt: skip
    print("| change of each number | events that stay | others | digits of score | of confidence | onset moves | peak moves (log-odds) | nearest peak is farther by |")  # fmt: skip
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for step in STEPS:
        one = spread(analysis.motion, model=model, step=step)
        factor = math.inf if one.peak == 0 else min(above, below) / one.peak
        print(
            f"| {step:.2g} | {one.stay} of {len(analysis.events)} | {one.others} | {digits(one.score)} "
            f"| {digits(one.confidence)} | {one.onset_s:.3f} s | {one.peak:.2g} | {factor:.2g} x |",
            flush=True,
        )  # fmt: skip


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
