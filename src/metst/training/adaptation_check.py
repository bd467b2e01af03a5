"""What an adaptation gained: planted movements that are found before and after, on recordings it has not used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from metst.arrays import Float64Array
from metst.config import DecodeSettings
from metst.decode import decode_scores
from metst.inference import ScoringModel, decode_events, score_motion
from metst.metrics import interval_iou, match_intervals
from metst.results.motion import Motion
from metst.synthesis.faces import simulated_responses
from metst.synthesis.trajectories import Background, MotionSimulator, SimulatedMotion, SimulationSettings
from metst.timeline import Intervals, Series, true_runs
from metst.training.material import SHORTEST_RECORDED_S, background_stretches, motion_series
from metst.training.operating_point import ANY_PEAK, best_threshold

CHECK_AMPLITUDES = (0.05, 0.1, 0.2, 0.4)
"""Contractions of the planted movements, shares of a full one: from hardly seen to plain."""

# Movements planted per amplitude: enough that one more or less changes little.  Faces they come from.  Set by hand.
_PLANTED, _FACES = 80, 16
# At most so many drawings per amplitude, should stretches be too short for many.
_MOST_DRAWN = 400
_MINUTE_S = 60
"""Seconds of a minute."""


@dataclass
class Side:
    """What one model finds in the check.

    Parameters
    ----------
    found : dict of float to int
        Planted movements found (IoU >= 0.5), by amplitude.
    wrong : int
        Other events in the recordings with planted movements.
    best_f1 : float
        Best F1 over all thresholds: what the weights gained, whatever the threshold.
    candidates_per_min : float
        In the recordings as they are.
    """

    found: dict[float, int] = field(default_factory=lambda: dict.fromkeys(CHECK_AMPLITUDES, 0))
    wrong: int = 0
    best_f1: float = 0.0
    candidates_per_min: float = 0.0


@dataclass(frozen=True)
class Check:
    """Before and after on the same movements.

    Parameters
    ----------
    recordings : int
        That were checked on, and neither learnt from nor fitted on.
    minutes : float
        Of them, with a face.
    planted_minutes : float
        Of the recordings with planted movements, each stretch as often as it was planted into.
    planted : dict of float to int
        Movements, by amplitude.
    before, after : Side
    """

    recordings: int
    minutes: float
    planted_minutes: float
    planted: dict[float, int]
    before: Side
    after: Side

    def f1(self, side: Side) -> float:
        """Spotting F1 over all planted movements at the model's own threshold."""
        found, wanted = sum(side.found.values()), sum(self.planted.values())
        return 2 * found / (found + side.wrong + wanted) if wanted else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        sides = {name: asdict(side) | {"f1": self.f1(side)} for name, side in self._sides}
        return asdict(self) | sides

    @property
    def _sides(self) -> tuple[tuple[str, Side], ...]:
        return ("before", self.before), ("after", self.after)


def check_gain(
    recordings: Sequence[Motion],
    *,
    before: ScoringModel,
    after: ScoringModel,
    simulation: SimulationSettings,
    seed: int,
) -> Check:
    """Plant movements of known amplitudes into recordings as they are, and let both models find them.

    Parameters
    ----------
    recordings : sequence of Motion
        That ``after`` has not used.
    before, after : ScoringModel
        Both decoded by the product's rule.
    simulation : SimulationSettings
        How often movements come, and of which classes.
    seed : int
        Of the planted movements.
    """
    sides, peaks = (Side(), Side()), (_Peaks(), _Peaks())
    models = (before, after)
    planted, seconds = dict.fromkeys(CHECK_AMPLITUDES, 0), 0.0
    stretches = [
        stretch
        for each in recordings
        for stretch in background_stretches(
            each, min_quality=after.info.input.min_quality, shortest_s=SHORTEST_RECORDED_S
        )
    ]
    for amplitude in CHECK_AMPLITUDES:
        for drawn in _planted(stretches, amplitude=amplitude, simulation=simulation, seed=seed):
            truth = np.array([(run.start, run.stop - 1) for run in true_runs(drawn.score > 0)]).reshape(-1, 2)
            planted[amplitude] += len(truth)
            seconds += drawn.seconds
            for model, side, heights in zip(models, sides, peaks, strict=True):
                scores = score_motion(motion_series(drawn), model=model)
                hits, events = _hits(decode_events(scores, model=model), truth=truth)
                side.found[amplitude] += len(hits)
                side.wrong += len(events) - len(hits)
                heights.add(scores, model=model, truth=truth)
    minutes = sum(float(each.displacement.valid.sum()) * each.grid.frame_s for each in recordings) / _MINUTE_S
    for model, side, heights in zip(models, sides, peaks, strict=True):
        side.best_f1 = heights.best_f1(wanted=sum(planted.values()))
        raw = [score_motion(each.displacement, model=model, quality=each.quality) for each in recordings]
        side.candidates_per_min = sum(len(decode_events(scores, model=model)) for scores in raw) / minutes
    return Check(len(recordings), minutes, seconds / _MINUTE_S, planted, *sides)


def _planted(
    stretches: Sequence[Background], *, amplitude: float, simulation: SimulationSettings, seed: int
) -> Iterator[SimulatedMotion]:
    """Recordings with movements of one amplitude, until there are enough: stretch by stretch, again and again."""
    as_recorded = {"background_gain": (1.0, 1.0), "disturbed_share": 0.0, "event_free_share": 0.0}
    settings = simulation.model_copy(update={"amplitude": (amplitude, amplitude), **as_recorded})
    simulator = MotionSimulator(simulated_responses(count=_FACES, seed=seed), settings=settings)
    count = 0
    for number in range(_MOST_DRAWN):
        rng = np.random.default_rng([seed, round(1000 * amplitude), number])
        drawn = simulator.draw_over(rng, stretches[number % len(stretches)])
        yield drawn
        count += len(true_runs(drawn.score > 0))
        if count >= _PLANTED:
            return


def _hits(events: Intervals, *, truth: Any) -> tuple[list[int], Intervals]:
    found = np.stack([events.onset, events.offset - 1], axis=1)
    return [int(hit) for hit, _ in match_intervals(interval_iou(found, truth))], events


class _Peaks:
    """All peaks that a model's score has, and which are right."""

    def __init__(self) -> None:
        self._heights: list[Float64Array] = [np.zeros(0)]
        self._right: list[Any] = [np.zeros(0, np.bool_)]

    def add(self, scores: Series, *, model: ScoringModel, truth: Any) -> None:
        """Of one recording."""
        decode = model.info.decode
        assert isinstance(decode, DecodeSettings)
        everything = DecodeSettings(peak_threshold=ANY_PEAK, edge_fraction=decode.edge_fraction)
        hits, events = _hits(decode_scores(scores, settings=everything), truth=truth)
        self._heights.append(np.asarray(events.confidence, np.float64))
        self._right.append(np.isin(np.arange(len(events)), hits))

    def best_f1(self, *, wanted: int) -> float:
        """Over all thresholds."""
        heights = np.concatenate(self._heights)
        return best_threshold(heights, right=np.concatenate(self._right), wanted=wanted)[1] if len(heights) else 0.0
