"""Training on simulated motion: one flat loop, then the decoding constants on recordings it never saw."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional

from metst import odds
from metst.checkpoint import check_target, save_model
from metst.config import DecodeSettings, InputSettings, ModelInfo, NetworkConfig, ScoringSettings, Settings
from metst.decode import decode_scores
from metst.labels import CLASSES, NEUTRAL
from metst.metrics import interval_iou, match_intervals
from metst.models.engine import Engine
from metst.models.networks import StateTransitionNetwork
from metst.regions import REGION_NAMES
from metst.scoring import network_input, score_motion
from metst.synthesis.faces import simulated_responses
from metst.synthesis.trajectories import MotionSimulator, SimulatedMotion, SimulationSettings
from metst.timeline import Series, TimeGrid, true_runs

OnProgress = Callable[[str, int, int | None], None]
logger = logging.getLogger(__name__)


class TrainRecipe(Settings):
    """All that decides a training besides its seed."""

    name: str = Field(description="name of the recipe")
    network: NetworkConfig
    input: InputSettings
    scoring: ScoringSettings
    simulation: SimulationSettings
    faces: int = Field(64, ge=1, description="number of simulated face shapes")
    steps: int = Field(ge=1, description="optimiser steps")
    batch_size: int = Field(16, ge=1, description="recordings per step")
    clip_frames: int = Field(480, ge=1, description="frames per recording")
    learning_rate: float = Field(2e-3, gt=0, description="peak of the one-cycle schedule")
    class_weight: float = Field(0.3, ge=0, description="weight of the class loss beside the spotting loss")
    neutral_weight: float = Field(0.05, ge=0, description="weight of neutral frames in the class loss")
    validation_minutes: float = Field(60.0, gt=0, description="simulated minutes for threshold and calibration")
    false_alarms_per_min: float = Field(0.5, gt=0, description="highest rate of false alarms the threshold may allow")


RECIPES: dict[str, TrainRecipe] = {
    "starter": TrainRecipe(
        name="starter",
        network=NetworkConfig(name="starter", in_channels=36, width=48, blocks=6, slow_fast=True, d_state=16),
        input=InputSettings(rate_hz=30.0, reference="leaky", baseline_s=1.0, scale=100.0),
        scoring=ScoringSettings(mode="whole", lag=12),
        simulation=SimulationSettings(),
        steps=2400,
    ),
}

TRAINED_ON = (
    "simulated motion of the 18 regions only (planted micro-expressions among blinks, speech, lasting expressions, head"
    " rotation and measurement noise); no recording of a spontaneous micro-expression"
)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A trained network with its description: what scoring asks for."""

    info: ModelInfo
    engine: Engine


def train_model(
    folder: Path,
    *,
    recipe: TrainRecipe,
    steps: int | None = None,
    seed: int = 100,
    on_progress: OnProgress | None = None,
) -> ModelInfo:
    """Train by a recipe and write a checkpoint folder.

    Parameters
    ----------
    folder : Path
        Checkpoint folder to make.
    recipe : TrainRecipe
        Network, data and schedule.
    steps : int, optional
        Fewer or more steps than the recipe's.
    seed : int
        Of weights and data; the same seed on the same machine gives the same weights.
    on_progress : callable, optional
        Called as ``on_progress(stage, done, total)``.

    Returns
    -------
    ModelInfo
        What was written to ``model.json``.
    """
    check_target(folder, overwrite=True)
    steps = steps or recipe.steps
    info = ModelInfo(
        network=recipe.network,
        classes=CLASSES,
        input=recipe.input,
        scoring=recipe.scoring,
        decode=DecodeSettings(),
        decode_fitted_on="simulated recordings that training never saw",
        training_subjects=(),
        trained_on=TRAINED_ON,
        provenance={"recipe": recipe.model_dump_json(), "steps": str(steps), "seed": str(seed)},
    )
    torch.manual_seed(seed)
    network = StateTransitionNetwork(recipe.network)
    simulator = MotionSimulator(simulated_responses(count=recipe.faces, seed=seed), settings=recipe.simulation)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=steps)
    network.train()
    batches = _batches(simulator, recipe=recipe, info=info, seed=seed, steps=steps)
    for step, (motion, score, label) in enumerate(batches, start=1):
        loss = _loss(network, motion, score=score, label=label, recipe=recipe)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 0:
            logger.info("step %d loss %.4f", step, float(loss.detach()))
        if on_progress:
            on_progress("training", step, steps)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    engine = Engine(recipe.network, weights, where="the trained network")
    decode = fit_decoding(
        _Candidate(info, engine), simulator=simulator, recipe=recipe, seed=seed + 1, on_progress=on_progress
    )
    return save_model(folder, network=network, info=info.model_copy(update={"decode": decode}), overwrite=True).info


def _batches(
    simulator: MotionSimulator, *, recipe: TrainRecipe, info: ModelInfo, seed: int, steps: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Input (B, 36, T) and, delayed by the model's lag, score (B, T) and class (B, T)."""
    lag = recipe.scoring.lag
    for step in range(steps):
        rng = np.random.default_rng([seed, step])
        drawn = [simulator.draw(rng, frames=recipe.clip_frames) for _ in range(recipe.batch_size)]
        motion = np.stack([network_input(_series(each, info=info), settings=recipe.input).values.T for each in drawn])
        score = np.stack([each.score for each in drawn])
        label = np.stack([each.label for each in drawn])
        late_score = np.pad(score, ((0, 0), (lag, 0)))[:, : recipe.clip_frames]
        late_label = np.pad(label, ((0, 0), (lag, 0)), constant_values=NEUTRAL)[:, : recipe.clip_frames]
        yield torch.from_numpy(motion.copy()), torch.from_numpy(late_score), torch.from_numpy(late_label)


def _loss(
    network: StateTransitionNetwork, motion: Tensor, *, score: Tensor, label: Tensor, recipe: TrainRecipe
) -> Tensor:
    """Cross-entropy of the score per frame, and of the class, mostly inside micro-expressions."""
    predicted, logits = network(motion)
    spotting = functional.binary_cross_entropy(predicted.clamp(1e-6, 1 - 1e-6), score)
    weight = torch.ones(len(CLASSES))
    weight[NEUTRAL] = recipe.neutral_weight
    recognition = functional.cross_entropy(logits.transpose(1, 2), label, weight=weight)
    return spotting + recipe.class_weight * recognition


def fit_decoding(
    model: _Candidate,
    *,
    simulator: MotionSimulator,
    recipe: TrainRecipe,
    seed: int,
    on_progress: OnProgress | None = None,
) -> DecodeSettings:
    """Absolute threshold and calibration of the confidence, on simulated recordings training never saw.

    Every peak of the score is an event first; each is then right (IoU >= 0.5 with a planted one) or
    wrong.  A logistic fit of right over the peak's log-odds is the confidence; the threshold is the
    lowest peak at which wrong events come no more often than the recipe allows.
    """
    minutes_each = 1.0
    frames = round(minutes_each * 60 * recipe.input.rate_hz)
    count = max(round(recipe.validation_minutes / minutes_each), 1)
    everything = DecodeSettings(peak_threshold=0.02)
    peaks: list[float] = []
    right: list[bool] = []
    for i in range(count):
        recording = simulator.draw(np.random.default_rng([seed, i]), frames=frames)
        peak, hit = _peaks_and_hits(model, recording, decode=everything)
        peaks.extend(peak)
        right.extend(hit)
        if on_progress:
            on_progress("calibration", i + 1, count)
    if not any(right) or all(right):
        logger.warning("no event to calibrate on after so little training: the default threshold is kept")
        return DecodeSettings()
    slope, offset = fit_logistic(np.array(peaks), right=np.array(right))
    threshold = pick_threshold(
        np.array(peaks), right=np.array(right), minutes=count * minutes_each, per_min=recipe.false_alarms_per_min
    )
    logger.info("threshold %.3f, calibration slope %.3f offset %.3f", threshold, slope, offset)
    return DecodeSettings(peak_threshold=threshold, confidence_slope=slope, confidence_offset=offset)


def _peaks_and_hits(
    model: _Candidate, recording: SimulatedMotion, *, decode: DecodeSettings
) -> tuple[list[float], list[bool]]:
    events = decode_scores(score_motion(_series(recording, info=model.info), model=model), settings=decode)
    truth = np.array([(run.start, run.stop - 1) for run in true_runs(recording.score > 0)]).reshape(-1, 2)
    found = np.stack([events.onset, events.offset - 1], axis=1)
    hits = {int(p) for p, _ in match_intervals(interval_iou(found, truth), threshold=0.5)}
    return [float(value) for value in events.confidence], [i in hits for i in range(len(events))]


def _series(recording: SimulatedMotion, *, info: ModelInfo) -> Series:
    length = len(recording.score)
    grid = TimeGrid.uniform(length, rate_hz=info.input.rate_hz)
    return Series(grid, recording.displacement, np.ones(length, dtype=bool), REGION_NAMES)


def fit_logistic(peaks: npt.NDArray[np.float64], *, right: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Slope (> 0) and offset of P(right) over the peak's log-odds, by maximum likelihood with a weak prior.

    Raises
    ------
    ValueError
        No peak, or all of one kind: nothing to fit.
    """
    if not right.any() or right.all():
        raise ValueError("calibration needs both right and wrong events")
    x = odds.log_odds(np.clip(peaks, 1e-6, 1 - 1e-6))

    def negative_log_likelihood(parameters: npt.NDArray[np.float64]) -> float:
        probability = np.clip(odds.probability(np.exp(parameters[0]) * x + parameters[1]), 1e-9, 1 - 1e-9)
        fit = -np.where(right, np.log(probability), np.log1p(-probability)).sum()
        return float(fit + 0.5 * (parameters**2).sum() / 25)

    best = minimize(negative_log_likelihood, np.zeros(2), method="BFGS")
    return float(np.exp(best.x[0])), float(best.x[1])


def pick_threshold(
    peaks: npt.NDArray[np.float64], *, right: npt.NDArray[np.bool_], minutes: float, per_min: float
) -> float:
    """Lowest threshold at which wrong events number at most ``per_min`` per minute; within 0.05 .. 0.95."""
    wrong = np.sort(peaks[~right])[::-1]
    allowed = int(per_min * minutes)
    threshold = wrong[allowed] if allowed < len(wrong) else 0.0
    return round(float(np.clip(threshold + 1e-3, 0.05, 0.95)), 3)
