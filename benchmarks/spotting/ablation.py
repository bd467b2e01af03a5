"""What each part of a model is worth, whatever its threshold: checkpoints on the development split.

    python benchmarks/spotting/ablation.py DIR CHECKPOINT [CHECKPOINT ...]

DIR is a build of the benchmark.  Each checkpoint is read forwards only and in both directions.  For each the table
gives the best strict F1 over all thresholds, clips without events included, and the recall at thresholds that let one
and two false alarms per minute through in the clips without events.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from cells import markdown
from clips import Recording, load
from plan import PLAN_FILE, load_plan
from scored import hits

from metst.config import DecodeSettings
from metst.decode import decode_scores
from metst.errors import MetstError, UsageError
from metst.inference import score_motion
from metst.models.checkpoint import Model, load_model
from metst.training.operating_point import ANY_PEAK, first_too_many

_DIRECTIONS: tuple[Literal["forward", "both"], ...] = ("forward", "both")
_RATES_PER_MIN = (1.0, 2.0)


@dataclass(frozen=True, eq=False)
class Peaks:
    """Every peak of the score on a split.

    Parameters
    ----------
    score : (N,) float64
        Height.
    right : (N,) bool
        Whether it hits a planted movement.
    free : (N,) bool
        Whether it lies in a clip without any.
    planted : int
        Movements in all clips.
    free_min : float
        Minutes of the clips without any.
    """

    score: npt.NDArray[np.float64]
    right: npt.NDArray[np.bool_]
    free: npt.NDArray[np.bool_]
    planted: int
    free_min: float

    def best_f1(self) -> float:
        """Highest F1 over all thresholds."""
        order = np.argsort(-self.score)
        found = np.cumsum(self.right[order])
        return float((2 * found / (self.planted + np.arange(1, len(order) + 1))).max(initial=0.0))

    def recall(self, *, per_min: float) -> float:
        """Share found above the lowest threshold with at most so many false alarms per minute."""
        threshold = first_too_many(self.score[self.free], minutes=self.free_min, per_min=per_min)
        return float((self.right & (self.score > threshold)).sum() / self.planted)


def peaks_of(model: Model, recordings: list[Recording]) -> Peaks:
    """Peaks of a model, with the edges of its own decoding."""
    if not isinstance(model.info.decode, DecodeSettings):
        raise UsageError(f"{model.folder} decodes by a published rule: it has no threshold to compare")
    everything = DecodeSettings(peak_threshold=ANY_PEAK, edge_fraction=model.info.decode.edge_fraction)
    score, right, free = [], [], []
    for each in recordings:
        scores = score_motion(each.motion, model=model, quality=each.quality)
        events = decode_scores(scores, settings=everything)
        score.append(events.confidence)
        right.append(hits(events, each.truth) >= 0)
        free.append(np.full(len(events), not len(each.truth)))
    return Peaks(
        np.concatenate(score), np.concatenate(right), np.concatenate(free),
        planted=sum(len(each.truth) for each in recordings),
        free_min=sum(each.minutes for each in recordings if not len(each.truth)),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of a build")
    parser.add_argument("models", nargs="+", help="packaged models or checkpoint folders")
    args = parser.parse_args()
    recordings = load(load_plan(PLAN_FILE), folder=args.folder, split="development")
    lines = []
    for name in args.models:
        model = load_model(name)
        for direction in _DIRECTIONS:
            peaks = peaks_of(replace(model, info=model.info.reading(direction)), recordings)
            recalls = [f"{peaks.recall(per_min=rate):.2f}" for rate in _RATES_PER_MIN]
            lines.append([Path(name).name, direction, f"{peaks.best_f1():.3f}", *recalls])
    heads = ["model", "directions", "best F1", *(f"recall at {rate:g} false alarms per min" for rate in _RATES_PER_MIN)]
    print(markdown(heads, lines))


if __name__ == "__main__":
    try:
        main()
    except MetstError as error:
        sys.exit(f"error: {error}")
