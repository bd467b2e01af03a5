"""The training loop: one, for every network and every kind of data.

Batches are a pure function of their number, and so are the random numbers that the network draws in a step.
A training that was cut off at any moment therefore goes on from its last whole epoch to the very weights that
it would have had anyway.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from metst.arrays import OnProgress
from metst.config import NetworkConfig
from metst.errors import DataError
from metst.models.networks import StateTransitionNetwork
from metst.training.devices import has_mixed_precision, own_random_numbers
from metst.training.state import Metrics, Progress, copied_weights, restore_state, save_state

logger = logging.getLogger(__name__)

Batch = tuple[Tensor, ...]
Losses = dict[str, Tensor]
Loss = Callable[[nn.Module, Batch], Losses]


@dataclass(frozen=True)
class Optimisation:
    """How weights follow the gradient: one-cycle schedule (Smith, arXiv 1708.07120) up to ``learning_rate``.

    Parameters
    ----------
    learning_rate : float
        Peak of the schedule.
    optimiser : {"adam", "adamw"}
    weight_decay : float
    clip_norm : float or None
        Longest gradient; None for any.
    """

    learning_rate: float
    optimiser: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 0.0
    clip_norm: float | None = None


@dataclass(frozen=True, eq=False)
class Training:
    """All that decides what a network learns.

    Parameters
    ----------
    batch : callable
        ``batch(step)`` gives the tensors of step 0, 1, ...: always the same for a step.
    loss : callable
        ``loss(network, batch)`` gives tensors by name; ``"loss"`` is minimised, all are recorded.
    optimisation : Optimisation
        Optimiser and schedule.
    steps, epoch_steps : int
        Steps in all, and between two records of metrics and state.
    seed : int
        Of what the network draws at random.
    fingerprint : str
        Names all of this; a state of another training is refused.
    validate : callable, optional
        Called with the network in evaluation mode after each epoch; higher is better.  The weights of the
        best epoch are what the network has in the end.
    patience : int
        Epochs without a better validation after which training stops; 0: never.
    mixed_precision : bool
        Compute in bfloat16 on a graphics processor that has it; elsewhere without effect.
    """

    batch: Callable[[int], Batch]
    loss: Loss
    optimisation: Optimisation
    steps: int
    epoch_steps: int
    seed: int
    fingerprint: str = ""
    validate: Callable[[nn.Module], float] | None = None
    patience: int = 0
    mixed_precision: bool = False

    def is_over(self, progress: Progress) -> bool:
        """All steps are made, or nothing has become better for too long."""
        waited = len(progress.history) - progress.best_epoch
        return progress.step >= self.steps or 0 < self.patience <= waited


def fresh_network(config: NetworkConfig, *, seed: int) -> StateTransitionNetwork:
    """A network with the weights of a seed; the caller's random numbers are left alone."""
    with own_random_numbers():
        torch.manual_seed(seed)
        return StateTransitionNetwork(config)


def fit_network(
    network: nn.Module,
    training: Training,
    *,
    folder: Path | None = None,
    device: str | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Metrics, ...]:
    """Train a network in place; the caller's random numbers are left alone.

    Parameters
    ----------
    network : module
        With fresh weights, or those of an earlier stage; it is on the processor afterwards.
    training : Training
        What it learns.
    folder : Path, optional
        Keeps the state (one file, replaced whole) and ``metrics.jsonl``.  Training goes on from a state
        that is there; on the processor the result is bit for bit that of an unbroken run.
    device : str, optional
        Where it learns; by default ``"cuda"`` where there is one.
    on_progress : callable, optional
        Called as ``on_progress("training", step, steps)``.

    Returns
    -------
    tuple of dict
        Per epoch: ``epoch, step, learning_rate, seconds``, mean losses, ``validation``.

    Raises
    ------
    UsageError
        The state in the folder is that of another training.
    DataError
        The loss or a weight is not finite, or the state is damaged.
    OutputError
        The folder cannot be written.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if training.mixed_precision and not has_mixed_precision(device):
        logger.info("mixed precision is for a graphics processor with bfloat16: training in float32")
    with own_random_numbers():
        learner = _learner(network.to(device), training, device=device)
        progress = Progress()
        if folder is not None:
            progress = restore_state(folder, network, learner.optimiser, fingerprint=training.fingerprint)
        # The schedule is a function of the step alone: a restart only sets the step.
        learner.schedule.last_epoch = progress.step
        while not training.is_over(progress):
            progress = _epoch(learner, training, progress, on_progress=on_progress)
            if folder is not None:
                save_state(folder, network, learner.optimiser, progress=progress, fingerprint=training.fingerprint)
        network.to("cpu").eval()
        if progress.best_weights:
            network.load_state_dict(progress.best_weights)
    return progress.history


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread trains: the result is the same bit for bit however many folds run beside it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True, eq=False)
class _Learner:
    """A network on its device, and what moves its weights."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    device: str


def _learner(network: nn.Module, training: Training, *, device: str) -> _Learner:
    kinds: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    how = training.optimisation
    optimiser = kinds[how.optimiser](
        network.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, how.learning_rate, total_steps=training.steps)
    return _Learner(network, optimiser, schedule, device)


def _epoch(learner: _Learner, training: Training, progress: Progress, *, on_progress: OnProgress | None) -> Progress:
    """The steps of one epoch, then its metrics."""
    started, totals = time.perf_counter(), dict[str, float]()
    learning_rate = float(learner.optimiser.param_groups[0]["lr"])
    last = min(progress.step + training.epoch_steps, training.steps)
    learner.network.train()
    for step in range(progress.step, last):
        for name, value in _step(learner, training, step).items():
            totals[name] = totals.get(name, 0.0) + float(value.detach())
        if on_progress is not None:
            on_progress("training", step + 1, training.steps)
    _check_weights(learner.network, step=last)
    learner.network.eval()
    score = None if training.validate is None else training.validate(learner.network)
    epoch = len(progress.history) + 1
    record: Metrics = {"epoch": epoch, "step": last, "learning_rate": learning_rate}
    record |= {name: total / (last - progress.step) for name, total in totals.items()}
    record |= {"validation": score, "seconds": round(time.perf_counter() - started, ndigits=3)}
    history = (*progress.history, record)
    if score is not None and score > progress.best:
        return Progress(last, history, score, epoch, copied_weights(learner.network))
    return Progress(last, history, progress.best, progress.best_epoch, progress.best_weights)


def _step(learner: _Learner, training: Training, step: int) -> Losses:
    """One batch, one step of the optimiser."""
    batch = tuple(tensor.to(learner.device) for tensor in training.batch(step))
    torch.manual_seed(_number(training.seed, step))
    with _precision(learner.device, mixed=training.mixed_precision):
        losses = training.loss(learner.network, batch)
    if not torch.isfinite(losses["loss"]):
        raise DataError(f"the loss of step {step + 1} is not finite: lower the learning rate, or look at the data")
    learner.optimiser.zero_grad()
    torch.autograd.backward(losses["loss"])
    if training.optimisation.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(learner.network.parameters(), training.optimisation.clip_norm)
    learner.optimiser.step()
    learner.schedule.step()
    return losses


def _number(seed: int, step: int) -> int:
    """Seed of one step: far from those of other steps and of other trainings."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])


@contextmanager
def _precision(device: str, *, mixed: bool) -> Iterator[None]:
    """Mixed precision, where wanted and where there is some."""
    mixed = mixed and has_mixed_precision(device)
    with torch.autocast(torch.device(device).type, dtype=torch.bfloat16) if mixed else nullcontext():
        yield


def _check_weights(network: nn.Module, *, step: int) -> None:
    """The loss of a step is that of the weights before it: what the last one made is seen nowhere else."""
    bad = [name for name, value in network.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        raise DataError(
            f"weights ({', '.join(bad[:3])}) are not finite after step {step}: lower the learning rate, or look at"
            " the data"
        )
