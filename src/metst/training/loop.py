"""The training loop: one, for every network and every kind of data.

Batches are a pure function of their number, and so are the random numbers that the network draws in a step.
A training that was cut off at any moment therefore goes on from its last whole epoch to the very weights that
it would have had anyway.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from metst.arrays import OnProgress
from metst.errors import DataError, UsageError
from metst.storage import make_folder, write_whole

Batch = tuple[Tensor, ...]
Losses = dict[str, Tensor]
Metrics = dict[str, float | int | None]

STATE_FILE = "state.safetensors"
METRICS_FILE = "metrics.jsonl"
_FORMAT = "1"


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


@dataclass(frozen=True)
class Progress:
    """Where a training stands: kept in its state file.

    Parameters
    ----------
    step : int
        Steps that were made.
    history : tuple of dict
        Metrics of each whole epoch.
    best : float
        Best validation so far; minus infinity before the first.
    best_epoch : int
        The epoch it came from; 0 before the first.
    """

    step: int = 0
    history: tuple[Metrics, ...] = ()
    best: float = -math.inf
    best_epoch: int = 0


def fit_network(
    network: nn.Module,
    batch: Callable[[int], Batch],
    *,
    loss: Callable[[nn.Module, Batch], Losses],
    optimisation: Optimisation,
    steps: int,
    epoch_steps: int,
    seed: int,
    folder: Path | None = None,
    fingerprint: str = "",
    validate: Callable[[nn.Module], float] | None = None,
    patience: int = 0,
    device: str | torch.device = "cpu",
    on_progress: OnProgress | None = None,
) -> tuple[Metrics, ...]:
    """Train a network in place.

    Parameters
    ----------
    network : module
        With fresh weights.
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
    folder : Path, optional
        Keeps the state (one file, replaced whole) and ``metrics.jsonl``.  Training goes on from a state
        that is there; on the processor the result is bit for bit that of an unbroken run.
    fingerprint : str
        Names all that decides the training; a state of another one is refused.
    validate : callable, optional
        Called with the network in evaluation mode after each epoch; higher is better.  The weights of the
        best epoch are what the network has in the end.
    patience : int
        Epochs without a better validation after which training stops; 0: never.
    device : str
        ``"cuda"`` trains with mixed precision (bfloat16) where the processor has it.
    on_progress : callable, optional
        Called as ``on_progress("training", step, steps)``.

    Returns
    -------
    tuple of dict
        Per epoch: ``epoch, learning_rate, seconds``, mean losses, ``validation``.

    Raises
    ------
    UsageError
        The state in the folder is that of another training.
    DataError
        The loss or a weight is not finite, or the state is damaged.
    OutputError
        The folder cannot be written.
    """
    with torch.random.fork_rng():
        network.to(device)
        optimiser = _optimiser(network, optimisation)
        # OneCycleLR is a function of the step alone: a restart only sets the step.
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, optimisation.learning_rate, total_steps=steps)
        path = None
        if folder is not None:
            make_folder(folder)
            path = folder / STATE_FILE
        best: dict[str, Tensor] = {}
        progress = Progress()
        if path is not None and path.exists():
            progress, best = _restore(path, network, optimiser, fingerprint=fingerprint)
            schedule.last_epoch = progress.step
            # A kill between the two files may have left older metrics.
            write_whole(path.with_name(METRICS_FILE), _lines(progress.history))
        while progress.step < steps and not _is_over(progress, patience=patience):
            progress, improved = _epoch(
                network, batch, loss=loss, optimiser=optimiser, schedule=schedule, clip_norm=optimisation.clip_norm,
                progress=progress, last=min(progress.step + epoch_steps, steps), steps=steps, seed=seed,
                validate=validate, device=device, on_progress=on_progress,
            )  # fmt: skip
            if improved:
                best = _copy(network)
            if path is not None:
                _save(path, network, optimiser, progress=progress, best=best, fingerprint=fingerprint)
                write_whole(path.with_name(METRICS_FILE), _lines(progress.history))
        if best:
            network.load_state_dict(best)
        network.eval()
    return progress.history


def _optimiser(network: nn.Module, optimisation: Optimisation) -> torch.optim.Adam:
    kinds: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[optimisation.optimiser](
        network.parameters(), lr=optimisation.learning_rate, weight_decay=optimisation.weight_decay, fused=True
    )


def _epoch(
    network: nn.Module,
    batch: Callable[[int], Batch],
    *,
    loss: Callable[[nn.Module, Batch], Losses],
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    clip_norm: float | None,
    progress: Progress,
    last: int,
    steps: int,
    seed: int,
    validate: Callable[[nn.Module], float] | None,
    device: str | torch.device,
    on_progress: OnProgress | None,
) -> tuple[Progress, bool]:
    """Steps up to ``last``, then the metrics; and whether the validation was the best so far."""
    started, totals = time.perf_counter(), dict[str, float]()
    learning_rate = float(optimiser.param_groups[0]["lr"])
    network.train()
    for step in range(progress.step, last):
        tensors = tuple(tensor.to(device) for tensor in batch(step))
        torch.manual_seed(_number(seed, step))
        with _precision(device):
            losses = loss(network, tensors)
        if not torch.isfinite(losses["loss"]):
            raise DataError(f"the loss of step {step + 1} is not finite: lower the learning rate, or look at the data")
        optimiser.zero_grad()
        torch.autograd.backward(losses["loss"])
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        optimiser.step()
        schedule.step()
        for name, value in losses.items():
            totals[name] = totals.get(name, 0.0) + float(value.detach())
        if on_progress is not None:
            on_progress("training", step + 1, steps)
    _check_weights(network, step=last)
    network.eval()
    score = None if validate is None else validate(network)
    record: Metrics = {"epoch": len(progress.history) + 1, "step": last, "learning_rate": learning_rate}
    record |= {name: total / (last - progress.step) for name, total in totals.items()}
    record |= {"validation": score, "seconds": round(time.perf_counter() - started, 3)}
    improved = score is not None and score > progress.best
    return Progress(
        last,
        (*progress.history, record),
        best=score if improved and score is not None else progress.best,
        best_epoch=len(progress.history) + 1 if improved else progress.best_epoch,
    ), improved


def _check_weights(network: nn.Module, *, step: int) -> None:
    """The loss of a step is that of the weights before it: what the last one made is seen nowhere else."""
    bad = [name for name, value in network.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        raise DataError(
            f"weights ({', '.join(bad[:3])}) are not finite after step {step}: lower the learning rate, or look at"
            " the data"
        )


def _is_over(progress: Progress, *, patience: int) -> bool:
    return patience > 0 and len(progress.history) - progress.best_epoch >= patience


def _number(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])


@contextmanager
def _precision(device: str | torch.device) -> Iterator[None]:
    """Mixed precision where there is a graphics processor that has bfloat16; it needs no scaling of the loss."""
    mixed = torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported()
    with torch.autocast("cuda", dtype=torch.bfloat16) if mixed else nullcontext():
        yield


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def _save(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    *,
    progress: Progress,
    best: dict[str, Tensor],
    fingerprint: str,
) -> None:
    """One file, so that weights, moments and step are always of one moment."""
    tensors = {f"network.{name}": value for name, value in _copy(network).items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    moments = optimiser.state_dict()
    for number, values in moments["state"].items():
        tensors |= {f"optimiser.{number}.{name}": value.detach().cpu().clone() for name, value in values.items()}
    group = {name: moments["param_groups"][0][name] for name in ("lr", "betas", "initial_lr", "max_lr", "min_lr")
             if name in moments["param_groups"][0]}  # fmt: skip
    about = {
        "format": _FORMAT,
        "fingerprint": fingerprint,
        "step": progress.step,
        "history": progress.history,
        "best": progress.best if math.isfinite(progress.best) else None,
        "best_epoch": progress.best_epoch,
        "group": group,
    }
    write_whole(path, safetensors.torch.save(tensors, metadata={"about": json.dumps(about)}))


def _restore(
    path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, *, fingerprint: str
) -> tuple[Progress, dict[str, Tensor]]:
    about, tensors = _read(path)
    if about["format"] != _FORMAT or about["fingerprint"] != fingerprint:
        raise UsageError(f"{path} is of another training: give another folder, or delete this one to start again")
    network.load_state_dict(_under("network.", tensors))
    moments = optimiser.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _under("optimiser.", tensors).items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = value
    moments["state"] = state
    moments["param_groups"][0] |= about["group"] | {"betas": tuple(about["group"]["betas"])}
    optimiser.load_state_dict(moments)
    best = -math.inf if about["best"] is None else float(about["best"])
    progress = Progress(about["step"], tuple(about["history"]), best, about["best_epoch"])
    return progress, _under("best.", tensors)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
            return json.loads(file.metadata()["about"]), tensors
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise DataError(f"{path} is damaged ({error}): delete it to start again") from error


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _lines(history: tuple[Metrics, ...]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in history).encode()
