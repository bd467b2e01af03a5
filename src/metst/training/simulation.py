"""Training on simulated motion, then the decoding constants on recordings it never saw."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from metst.arrays import OnProgress
from metst.config import DEFAULT_POINT, DEFAULT_SEED, DecodeSettings, ModelInfo
from metst.decode import decode_scores
from metst.errors import UsageError
from metst.inference import score_motion
from metst.labels import CLASSES
from metst.metrics.matching import interval_iou, match_intervals
from metst.models.checkpoint import Model, check_target, save_model
from metst.models.networks import StateTransitionNetwork
from metst.synthesis.trajectories import SimulatedMotion
from metst.timeline import MINUTE_S, true_runs
from metst.training.drawn import KEPT_FOR_VALIDATION, Drawn, People
from metst.training.layout import discard_state, training_folder
from metst.training.loop import Batch, Optimisation, Training, fit_network, fresh_network
from metst.training.losses import simulated_loss
from metst.training.material import SHORTEST_BACKGROUND_S, Material, clip_batch, minutes, motion_series, uniform_series
from metst.training.operating_point import ANY_PEAK, fit_logistic, pick_points
from metst.training.predictions import Candidate
from metst.training.simulated_recipes import RECIPES, SimulationRecipe
from metst.training.sources import NOTHING_ELSE, Sources, drawn_from

logger = logging.getLogger(__name__)

_EPOCH_STEPS = 50
"""Steps between two states that a training can go on from; set by hand."""
_SEED_STRIDE = 1000
"""Between the seeds of two stages, so that each sees other recordings; set by hand."""
_VALIDATION_RECORDING_S = 60.0
"""Length of a recording that threshold and calibration are fitted on, seconds; set by hand."""

# What decoding was fitted on: without rendered heads, and with them.
_FITTED_ON = (
    "simulated recordings that training never saw",
    "simulated recordings and movements planted into rendered heads, none seen in training",
)
_FITTED_ON_PEOPLE = ", and into footage of people whom training never saw"
# What nobody may take such a model for.
_NEVER = "no recording of a spontaneous micro-expression"


def trained_on(recipe: SimulationRecipe, people: People | None = None, *, start: ModelInfo | None = None) -> str:
    """The training data, for people; of weights that were taken over their model says what they have seen."""
    # Where weights were taken over, their model tells of the stages before.
    stages = recipe_stages(recipe) if start is None else [recipe]
    rendered = max(stage.backgrounds for stage in stages)
    count = rendered - len(range(0, rendered, KEPT_FOR_VALIDATION))
    among = ["blinks", "speech", "lasting expressions"]
    among += ["laughs"] * (recipe.simulation.laughs_per_min > 0)
    among += ["things before the face"] * (recipe.simulation.covers_per_min > 0)
    simulated = f"planted micro-expressions among {', '.join(among)}, head rotation and measurement noise"
    parts = [f"simulated motion of the 18 regions ({simulated})"]
    parts += [f"measured motion of {count} rendered heads"] if count else []
    if people:
        length = minutes([*chain.from_iterable(people.values())])
        parts += [f"measured motion of {len(people)} people on unlabelled footage ({length:.0f} min with re-encodings)"]
    before = _NEVER if start is None else f"before that, as {start.name}: {start.trained_on}"
    return f"{' and '.join(parts)}{'' if parts[1:] else ' only'}; {before}"


def train_model(
    folder: Path,
    *,
    recipe: SimulationRecipe,
    steps: int | None = None,
    seed: int = DEFAULT_SEED,
    sources: Sources = NOTHING_ELSE,
    on_progress: OnProgress | None = None,
) -> ModelInfo:
    """Train by a recipe and write a checkpoint folder.

    Parameters
    ----------
    folder : Path
        Checkpoint folder to make.  The state, until it is done, and metrics lie beside it, in ``<folder>.training``,
        with a folder for each stage.
    recipe : SimulationRecipe
        Network, data and schedule.
    steps : int, optional
        Fewer or more steps than the recipe's; when fewer, no earlier stage makes more.
    seed : int
        Of weights and data; the same seed on the same machine gives the same weights.
    sources : Sources
        Footage of people, statistics of patterns, and where rendered heads come from.
    on_progress : callable, optional
        Called as ``on_progress(stage, done, total)``.

    Returns
    -------
    ModelInfo
        What was written to ``model.json``.

    Raises
    ------
    UsageError
        The folder is no checkpoint, its state is that of another training, there is no head to render, the recipe
        learns from nobody and there is footage, a person to tune on is not in it, or the model to start from has
        another network.
    DataError, OutputError
        As for :func:`metst.training.loop.fit_network`, and where a source is damaged.
    """
    check_target(folder, overwrite=True)
    if sources.start is not None:
        _check_start(recipe, sources.start)
    folder = folder.resolve()  # a name is needed, and "." has none
    steps, work = steps or recipe.steps, training_folder(folder)
    own = work / "backgrounds"
    drawn = drawn_from(sources, recipe=recipe, kept=sources.backgrounds or own, on_progress=on_progress)
    seen, kept = drawn.parted(sources.tuned_on)
    network = _trained(
        recipe, steps=steps, seed=seed, drawn=seen, start=sources.start, folder=work, on_progress=on_progress
    )
    info = _described(recipe, steps=steps, seed=seed, drawn=drawn, learnt=seen, start=sources.start)
    info = fitted(Candidate.of(network, info), recipe=recipe, drawn=kept, seed=seed + 1, on_progress=on_progress)
    saved = save_model(folder, network=network, info=info, overwrite=True)
    discard_state(work)
    shutil.rmtree(own, ignore_errors=True)
    return saved.info


def _described(
    recipe: SimulationRecipe, *, steps: int, seed: int, drawn: Drawn, learnt: Drawn, start: Model | None
) -> ModelInfo:
    """What a model is, but for its decoding."""
    before = () if start is None else start.info.training_subjects  # whoever the weights have seen stays known
    return ModelInfo(
        network=recipe.network,
        classes=CLASSES,
        input=recipe.input,
        scoring=recipe.scoring,
        decode=DecodeSettings(),
        decode_fitted_on=f"{_FITTED_ON[bool(recipe.backgrounds)]}{_FITTED_ON_PEOPLE if drawn.people else ''}",
        training_subjects=None if before is None else tuple(dict.fromkeys([*before, *drawn.people])),
        trained_on=trained_on(recipe, learnt.people, start=None if start is None else start.info),
        provenance={
            "recipe": recipe.model_dump_json(),
            "steps": str(steps),
            "seed": str(seed),
            "backgrounds": drawn.sha256,
        }
        | ({} if start is None else {"start": _start_of(start)}),
    )


def _trained(
    recipe: SimulationRecipe,
    *,
    steps: int,
    seed: int,
    drawn: Drawn,
    start: Model | None,
    folder: Path,
    on_progress: OnProgress | None,
) -> StateTransitionNetwork:
    """The network after all stages; a training that was stopped goes on from what is in the folder."""
    network, stages = fresh_network(recipe.network, seed=seed), list(enumerate(recipe_stages(recipe)))
    if start is not None:
        network.load_state_dict(start.network.state_dict())
        stages = stages[-1:]
    for number, stage in stages:
        training = simulated_training(
            stage,
            steps=steps if stage is recipe else min(steps, stage.steps) if steps < recipe.steps else stage.steps,
            seed=seed + _SEED_STRIDE * number,
            drawn=_for_stage(stage, drawn),
        )
        if start is not None:
            training = replace(training, fingerprint=f"{training.fingerprint} from {_start_of(start)}")
        fit_network(network, training, folder=folder / str(number), on_progress=on_progress)
    return network


def _check_start(recipe: SimulationRecipe, start: Model) -> None:
    """Make sure that the recipe's network can begin where another model ended."""
    ours, theirs = (each.model_copy(update={"name": ""}) for each in (recipe.network, start.info.network))
    if ours != theirs:
        raise UsageError(f"the weights of {start.info.name} are of another network than the recipe's: {theirs!r}")


def _start_of(model: Model) -> str:
    """A model by name and hash."""
    return f"{model.info.name} {model.info.weights_sha256}"


def recipe_stages(recipe: SimulationRecipe) -> list[SimulationRecipe]:
    """The trainings that make a model, in order; the recipe itself is the last."""
    return [*(recipe_stages(RECIPES[recipe.after]) if recipe.after is not None else []), recipe]


def _for_stage(stage: SimulationRecipe, drawn: Drawn) -> Drawn:
    """What of it a stage draws from."""
    return Drawn(
        drawn.heads if stage.backgrounds else (),
        drawn.people if stage.footage_share else {},
        drawn.patterns if stage.simulation.measured_share else None,
    )


def simulated_training(
    recipe: SimulationRecipe, *, steps: int, seed: int, drawn: Drawn, shortest_s: float = SHORTEST_BACKGROUND_S
) -> Training:
    """One stage; stretches of rendered backgrounds that are shorter are left out."""
    material = Material.of(recipe, drawn=drawn, seed=seed, shortest_s=shortest_s)
    measured = drawn.sha256
    return Training(
        batch=_Ahead(lambda step: clip_batch(step, material=material, recipe=recipe, seed=seed), last=steps - 1),
        loss=simulated_loss(class_weight=recipe.class_weight, neutral_weight=recipe.neutral_weight),
        # Decay and clipping were set by hand.
        optimisation=Optimisation(recipe.learning_rate, optimiser="adamw", weight_decay=0.01, clip_norm=1.0),
        steps=steps,
        epoch_steps=_EPOCH_STEPS,
        seed=seed,
        mixed_precision=recipe.mixed_precision,
        fingerprint=f"{recipe.model_dump_json()} {steps} steps, seed {seed} {measured}".rstrip(),
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


def fitted(
    model: Candidate,
    *,
    recipe: SimulationRecipe,
    drawn: Drawn,
    seed: int,
    shortest_s: float = SHORTEST_BACKGROUND_S,
    on_progress: OnProgress | None = None,
) -> ModelInfo:
    """The description of a trained network with its decoding, and that of live use where it differs."""
    info = model.info
    source = Material.of(recipe, drawn=drawn, seed=seed, shortest_s=shortest_s)

    def fit(info: ModelInfo, stage: str) -> DecodeSettings:
        return fit_decoding(
            Candidate(info, model.engine), source=source, recipe=recipe, seed=seed, stage=stage, on_progress=on_progress
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
    event that is wrong is mostly one whose ends are off.  The other operating points are fitted on the same events.
    Where there is footage of people, all thresholds are fitted on that alone, as it was recorded: what is livelier or
    calmer than people are says little about them.
    """
    everything = DecodeSettings(peak_threshold=ANY_PEAK, edge_fraction=recipe.edge_fraction, smooth_s=recipe.smooth_s)
    peaks: list[float] = []
    right: list[bool] = []
    alarms: list[float] = []
    minutes, free_min, number, planted = 0.0, 0.0, 0, 0
    while minutes < recipe.validation_minutes:
        recording = source.draw(np.random.default_rng([seed, number]), seconds=_VALIDATION_RECORDING_S, once=True)
        truth = true_runs(recording.score > 0)
        peak, hit = _peaks_and_hits(model, recording, truth=truth, decode=everything)
        peaks.extend(peak)
        right.extend(hit)
        planted += len(truth)
        if not truth:
            alarms.extend(peak)
            free_min += recording.seconds / MINUTE_S
        minutes, number = minutes + recording.seconds / MINUTE_S, number + 1
        if on_progress:
            on_progress(stage, min(int(minutes), int(recipe.validation_minutes)), int(recipe.validation_minutes))
    if not any(right) or all(right):
        logger.warning("no event to calibrate on after so little training: the default threshold is kept")
        return DecodeSettings(edge_fraction=recipe.edge_fraction, smooth_s=recipe.smooth_s)
    slope, offset = fit_logistic(np.array(peaks), right=np.array(right))
    if not free_min:
        logger.warning("no recording without a micro-expression: the threshold counts every event that is wrong")
        alarms, free_min = [peak for peak, hit in zip(peaks, right, strict=True) if not hit], minutes
    if source.people:
        alarms, free_min = _found_among_people(model, source, decode=everything)
    points = pick_points(np.array(alarms), minutes=free_min, balanced_per_min=recipe.false_alarms_per_min)
    logger.info("thresholds %s, calibration slope %.3f offset %.3f", points, slope, offset)
    return DecodeSettings(
        peak_threshold=points[DEFAULT_POINT],
        operating_points=points,
        edge_fraction=recipe.edge_fraction,
        smooth_s=recipe.smooth_s,
        confidence_slope=slope,
        confidence_offset=offset,
        calibrated_per_min=planted / minutes,
    )


def _found_among_people(model: Candidate, source: Material, *, decode: DecodeSettings) -> tuple[list[float], float]:
    """Peaks of all that is found where nothing was planted, and the minutes that were looked through."""
    peaks: list[float] = []
    minutes = 0.0
    for stretch in chain.from_iterable(source.people):
        motion = uniform_series(stretch.displacement, rate_hz=stretch.rate_hz)
        events = decode_scores(score_motion(motion, model=model, quality=stretch.quality), settings=decode)
        peaks.extend(float(value) for value in events.confidence)
        minutes += stretch.seconds / MINUTE_S
    return peaks, minutes


def _peaks_and_hits(
    model: Candidate, recording: SimulatedMotion, *, truth: Sequence[slice], decode: DecodeSettings
) -> tuple[list[float], list[bool]]:
    events = decode_scores(score_motion(motion_series(recording), model=model), settings=decode)
    frames = np.array([(run.start, run.stop - 1) for run in truth]).reshape(-1, 2)
    found = np.stack([events.onset, events.offset - 1], axis=1)
    hits = {int(p) for p, _ in match_intervals(interval_iou(found, frames))}
    return [float(value) for value in events.confidence], [i in hits for i in range(len(events))]
