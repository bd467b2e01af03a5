"""Training on simulated motion, then the decoding constants on recordings it never saw."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from metst.arrays import OnProgress
from metst.config import DecodeSettings, ModelInfo
from metst.decode import decode_scores
from metst.inference import network_input, score_motion
from metst.labels import CLASSES, NEUTRAL
from metst.metrics import interval_iou, match_intervals
from metst.models.checkpoint import check_target, save_model
from metst.models.engine import Engine
from metst.models.networks import StateTransitionNetwork
from metst.regions import REGION_NAMES
from metst.results.motion import Motion
from metst.storage import fingerprint
from metst.synthesis.faces import simulated_responses
from metst.synthesis.trajectories import Background, MotionSimulator, SimulatedMotion
from metst.timeline import Series, TimeGrid, true_runs
from metst.training.backgrounds import recorded_backgrounds
from metst.training.loop import Batch, Losses, Optimisation, fit_network
from metst.training.operating_point import ANY_PEAK, fit_logistic, pick_threshold
from metst.training.predictions import Candidate
from metst.training.simulated_recipes import RECIPES, SimulationRecipe

logger = logging.getLogger(__name__)

_EPOCH_STEPS = 50  # between two states that a training can go on from
_SEED_STRIDE = 1000  # between the seeds of stages: each sees other recordings
_SHORTEST_BACKGROUND_S = 4.0
_KEPT_FOR_VALIDATION = 4  # every so manieth background is kept from training

_FITTED_ON = (
    "simulated recordings that training never saw",
    "simulated recordings and movements planted into rendered heads, none seen in training",
)
_NEVER = "no recording of a spontaneous micro-expression"


def trained_on(recipe: SimulationRecipe) -> str:
    """The training data, for people."""
    count = recipe.backgrounds - len(range(0, recipe.backgrounds, _KEPT_FOR_VALIDATION))
    among = ["blinks", "speech", "lasting expressions"]
    among += ["laughs"] * (recipe.simulation.laughs_per_min > 0)
    among += ["things before the face"] * (recipe.simulation.covers_per_min > 0)
    simulated = f"planted micro-expressions among {', '.join(among)}, head rotation and measurement noise"
    heads = f" and measured motion of {count} rendered heads" if count else " only"
    return f"simulated motion of the 18 regions ({simulated}){heads}; {_NEVER}"


def train_model(
    folder: Path,
    *,
    recipe: SimulationRecipe,
    steps: int | None = None,
    seed: int = 100,
    backgrounds: Path | None = None,
    head_model: Path | None = None,
    on_progress: OnProgress | None = None,
) -> ModelInfo:
    """Train by a recipe and write a checkpoint folder.

    Parameters
    ----------
    folder : Path
        Checkpoint folder to make.
    recipe : SimulationRecipe
        Network, data and schedule.
    steps : int, optional
        Fewer or more steps than the recipe's; when fewer, no earlier stage makes more.
    seed : int
        Of weights and data; the same seed on the same machine gives the same weights.
    backgrounds : Path, optional
        Folder that keeps the recorded backgrounds, for a recipe with any; when absent they go with the training's
        state.
    head_model : Path, optional
        Parametric head that they are rendered with; that of the installed package when absent.
    on_progress : callable, optional
        Called as ``on_progress(stage, done, total)``.

    Returns
    -------
    ModelInfo
        What was written to ``model.json``.
    """
    check_target(folder, overwrite=True)
    steps = steps or recipe.steps
    state = folder.with_name(f"{folder.name}.training")
    recorded = recorded_backgrounds(
        backgrounds or state / "backgrounds",
        count=recipe.backgrounds,
        seconds=recipe.background_s,
        head_model=head_model,
        on_progress=on_progress,
    )
    kept = recorded[::_KEPT_FOR_VALIDATION]
    network = _trained(
        recipe,
        steps=steps,
        seed=seed,
        backgrounds=[each for each in recorded if each not in kept],
        folder=state,
        on_progress=on_progress,
    )
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    engine = Engine(recipe.network, weights, where="the trained network")
    info = _described(recipe, steps=steps, seed=seed, backgrounds=recorded)
    info = fitted(info, engine, recipe=recipe, backgrounds=kept, seed=seed + 1, on_progress=on_progress)
    saved = save_model(folder, network=network, info=info, overwrite=True)
    shutil.rmtree(state)
    return saved.info


def _described(recipe: SimulationRecipe, *, steps: int, seed: int, backgrounds: Sequence[Motion]) -> ModelInfo:
    """What a model is, but for its decoding."""
    return ModelInfo(
        network=recipe.network,
        classes=CLASSES,
        input=recipe.input,
        scoring=recipe.scoring,
        decode=DecodeSettings(),
        decode_fitted_on=_FITTED_ON[bool(recipe.backgrounds)],
        training_subjects=(),
        trained_on=trained_on(recipe),
        provenance={
            "recipe": recipe.model_dump_json(),
            "steps": str(steps),
            "seed": str(seed),
            "backgrounds": _digest(backgrounds),
        },
    )


def _trained(
    recipe: SimulationRecipe,
    *,
    steps: int,
    seed: int,
    backgrounds: Sequence[Motion],
    folder: Path,
    on_progress: OnProgress | None,
) -> StateTransitionNetwork:
    """The network after all stages."""
    torch.manual_seed(seed)
    network = StateTransitionNetwork(recipe.network)
    for number, stage in enumerate(recipe_stages(recipe)):
        _fit(
            network,
            stage,
            backgrounds=backgrounds if stage.backgrounds else (),
            steps=steps if stage is recipe else min(steps, stage.steps) if steps < recipe.steps else stage.steps,
            seed=seed + _SEED_STRIDE * number,
            folder=folder / str(number),
            on_progress=on_progress,
        )
    return network


def recipe_stages(recipe: SimulationRecipe) -> list[SimulationRecipe]:
    """The trainings that make a model, in order; the recipe itself is the last."""
    return [*(recipe_stages(RECIPES[recipe.after]) if recipe.after is not None else []), recipe]


def _fit(
    network: StateTransitionNetwork,
    recipe: SimulationRecipe,
    *,
    backgrounds: Sequence[Motion],
    steps: int,
    seed: int,
    folder: Path,
    on_progress: OnProgress | None,
) -> None:
    """Train a network in place by one recipe; a training that was stopped goes on from what is in the folder."""
    source = Material.of(recipe, backgrounds=backgrounds, seed=seed)
    fit_network(
        network,
        _Ahead(lambda step: _batch(step, source=source, recipe=recipe, seed=seed), last=steps - 1),
        loss=lambda network, batch: _loss(network, batch, recipe=recipe),
        optimisation=Optimisation(recipe.learning_rate, optimiser="adamw", weight_decay=0.01, clip_norm=1.0),
        steps=steps,
        epoch_steps=_EPOCH_STEPS,
        seed=seed,
        folder=folder,
        fingerprint=f"{recipe.model_dump_json()} {steps} steps, seed {seed} {_digest(backgrounds)}".rstrip(),
        on_progress=on_progress,
    )


class _Ahead:
    """Batches by number, the next one made while the network learns from the present one."""

    def __init__(self, batch: Callable[[int], Batch], *, last: int) -> None:
        self._batch, self._last = batch, last
        self._pool = ThreadPoolExecutor(1)
        self._next: tuple[int, Future[Batch]] | None = None

    def __call__(self, step: int) -> Batch:
        made = self._next[1].result() if self._next and self._next[0] == step else self._batch(step)
        self._next = (step + 1, self._pool.submit(self._batch, step + 1)) if step < self._last else None
        return made


def _batch(step: int, *, source: Material, recipe: SimulationRecipe, seed: int) -> Batch:
    """Input (B, 36, T) and, delayed by the model's lag, score (B, T) and class (B, T)."""
    rng, frames, lag = np.random.default_rng([seed, step]), recipe.clip_frames, recipe.scoring.lag
    motion, score, label = [], [], []
    for _ in range(recipe.batch_size):
        drawn = source.draw(rng, seconds=frames / recipe.input.rate_hz)
        if recipe.reversed_share and rng.random() < recipe.reversed_share:
            drawn = drawn.reversed()
        read = network_input(_series(drawn), settings=recipe.input)
        nearest = np.rint(read.grid.time_s * drawn.rate_hz).astype(int)[: frames - lag]
        motion.append(read.values[:frames].T)
        score.append(np.pad(drawn.score[nearest], (lag, 0)))
        label.append(np.pad(drawn.label[nearest], (lag, 0), constant_values=NEUTRAL))
    return tuple(torch.from_numpy(np.stack(rows)) for rows in (motion, score, label))


@dataclass(frozen=True, eq=False)
class Material:
    """What recordings are drawn from: the simulator, and recorded backgrounds to plant into.

    Parameters
    ----------
    simulator : MotionSimulator
    backgrounds : tuple of Background
        Unbroken stretches.
    share : float
        Share of recordings that are planted into one of them.
    """

    simulator: MotionSimulator
    backgrounds: tuple[Background, ...]
    share: float

    @classmethod
    def of(cls, recipe: SimulationRecipe, *, backgrounds: Sequence[Motion], seed: int) -> Material:
        """Material by a recipe."""
        simulator = MotionSimulator(simulated_responses(count=recipe.faces, seed=seed), settings=recipe.simulation)
        stretches = tuple(
            stretch
            for each in backgrounds
            for stretch in _stretches(each, min_quality=recipe.input.min_quality)
            if stretch.seconds >= _SHORTEST_BACKGROUND_S
        )
        return cls(simulator, stretches, recipe.background_share if stretches else 0.0)

    def draw(self, rng: np.random.Generator, *, seconds: float, once: bool = False) -> SimulatedMotion:
        """A recording by a camera of one of the usual rates.

        It lasts at least so many seconds; with ``once`` no longer than the background it is planted into, of which no
        frame is seen twice.
        """
        if self.share and rng.random() < self.share:
            background = self.backgrounds[rng.integers(len(self.backgrounds))]
            if once and background.seconds <= seconds:
                return self.simulator.draw_over(rng, background)
            frames = math.ceil(seconds * background.rate_hz) + 1
            return self.simulator.draw_over(rng, background.to_and_fro(frames=frames, start=rng.random()))
        rates = self.simulator.settings.camera_rates_hz
        rate_hz = rates[rng.integers(len(rates))]
        return self.simulator.draw(rng, frames=math.ceil(seconds * rate_hz) + 1, rate_hz=rate_hz)


def _stretches(recording: Motion, *, min_quality: float) -> Iterator[Background]:
    rate_hz = 1 / recording.grid.frame_s
    for run in true_runs(recording.displacement.valid):
        yield Background(recording.displacement.values[run], recording.quality[run], rate_hz, min_quality)


def _digest(backgrounds: Sequence[Motion]) -> str:
    """SHA-256 over what was measured; empty without any."""
    measured = (part.tobytes() for each in backgrounds for part in (each.displacement.values, each.quality))
    return fingerprint(*measured) if backgrounds else ""


def _loss(network: nn.Module, batch: Batch, *, recipe: SimulationRecipe) -> Losses:
    """Cross-entropy of the score per frame, and of the class, mostly inside micro-expressions."""
    motion, score, label = batch
    predicted, logits = cast(tuple[Tensor, Tensor], network(motion))
    spotting = functional.binary_cross_entropy(predicted.clamp(1e-6, 1 - 1e-6), score)
    weight = torch.ones(len(CLASSES))
    weight[NEUTRAL] = recipe.neutral_weight
    recognition = functional.cross_entropy(logits.transpose(1, 2), label, weight=weight)
    return {
        "loss": spotting + recipe.class_weight * recognition, "spotting": spotting, "recognition": recognition,
    }  # fmt: skip


def fitted(
    info: ModelInfo,
    engine: Engine,
    *,
    recipe: SimulationRecipe,
    backgrounds: Sequence[Motion],
    seed: int,
    on_progress: OnProgress | None = None,
) -> ModelInfo:
    """The description of a trained network with its decoding, and that of live use where it differs."""
    source = Material.of(recipe, backgrounds=backgrounds, seed=seed)

    def fit(info: ModelInfo, stage: str) -> DecodeSettings:
        return fit_decoding(
            Candidate(info, engine), source=source, recipe=recipe, seed=seed, stage=stage, on_progress=on_progress
        )

    live = None
    if info.scoring.directions == "both":
        live = fit(info.reading("forward"), "calibration, live")
    return info.model_copy(update={"decode": fit(info, "calibration"), "live_decode": live})


def fit_decoding(
    model: Candidate,
    *,
    source: Material,
    recipe: SimulationRecipe,
    seed: int,
    stage: str = "calibration",
    on_progress: OnProgress | None = None,
) -> DecodeSettings:
    """Absolute threshold and calibration of the confidence, on recordings training never saw.

    Every peak of the score is an event first; each is then right (IoU >= 0.5 with a planted one) or
    wrong.  A logistic fit of right over the peak's log-odds is the confidence.  The threshold is the lowest peak
    at which recordings without a micro-expression give no more events than the recipe allows: beside one, an
    event that is wrong is mostly one whose ends are off.
    """
    everything = DecodeSettings(peak_threshold=ANY_PEAK, edge_fraction=recipe.edge_fraction)
    peaks: list[float] = []
    right: list[bool] = []
    alarms: list[float] = []
    minutes, free_min, number, planted = 0.0, 0.0, 0, 0
    while minutes < recipe.validation_minutes:
        recording = source.draw(np.random.default_rng([seed, number]), seconds=60.0, once=True)
        truth = true_runs(recording.score > 0)
        peak, hit = _peaks_and_hits(model, recording, truth=truth, decode=everything)
        peaks.extend(peak)
        right.extend(hit)
        planted += len(truth)
        if not truth:
            alarms.extend(peak)
            free_min += recording.seconds / 60
        minutes, number = minutes + recording.seconds / 60, number + 1
        if on_progress:
            on_progress(stage, min(int(minutes), int(recipe.validation_minutes)), int(recipe.validation_minutes))
    if not any(right) or all(right):
        logger.warning("no event to calibrate on after so little training: the default threshold is kept")
        return DecodeSettings(edge_fraction=recipe.edge_fraction)
    slope, offset = fit_logistic(np.array(peaks), right=np.array(right))
    if not free_min:
        logger.warning("no recording without a micro-expression: the threshold counts every event that is wrong")
        alarms, free_min = [peak for peak, hit in zip(peaks, right, strict=True) if not hit], minutes
    threshold = pick_threshold(np.array(alarms), minutes=free_min, per_min=recipe.false_alarms_per_min)
    logger.info("threshold %.3f, calibration slope %.3f offset %.3f", threshold, slope, offset)
    return DecodeSettings(
        peak_threshold=threshold,
        edge_fraction=recipe.edge_fraction,
        confidence_slope=slope,
        confidence_offset=offset,
        calibrated_per_min=planted / minutes,
    )


def _peaks_and_hits(
    model: Candidate, recording: SimulatedMotion, *, truth: Sequence[slice], decode: DecodeSettings
) -> tuple[list[float], list[bool]]:
    events = decode_scores(score_motion(_series(recording), model=model), settings=decode)
    frames = np.array([(run.start, run.stop - 1) for run in truth]).reshape(-1, 2)
    found = np.stack([events.onset, events.offset - 1], axis=1)
    hits = {int(p) for p, _ in match_intervals(interval_iou(found, frames), threshold=0.5)}
    return [float(value) for value in events.confidence], [i in hits for i in range(len(events))]


def _series(recording: SimulatedMotion) -> Series:
    length = len(recording.score)
    grid = TimeGrid.uniform(length, rate_hz=recording.rate_hz)
    return Series(grid, recording.displacement, np.ones(length, dtype=bool), REGION_NAMES)
