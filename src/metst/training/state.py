"""Where a training stands, and the one file that it goes on from when it was cut off."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from metst.errors import DataError, UsageError
from metst.storage import make_folder, write_whole
from metst.training.layout import METRICS_FILE, STATE_FILE

Metrics = dict[str, float | int | None]
Weights = dict[str, Tensor]

# Of the state file's layout; a state of another one is refused.
_FORMAT = "1"
# What the schedule has written into the optimiser; all else comes from the training itself.
_SCHEDULED = ("lr", "betas", "initial_lr", "max_lr", "min_lr")


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a training stands.

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
    best_weights : dict of tensors
        And the weights of that epoch, on the processor; empty before the first.
    """

    step: int = 0
    history: tuple[Metrics, ...] = ()
    best: float = -math.inf
    best_epoch: int = 0
    best_weights: Weights = field(default_factory=dict)


def copied_weights(network: nn.Module) -> Weights:
    """The weights as they are now, on the processor."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def save_state(
    folder: Path, network: nn.Module, optimiser: torch.optim.Optimizer, *, progress: Progress, fingerprint: str
) -> None:
    """Write state and metrics.

    Parameters
    ----------
    folder : Path
        Gets ``state.safetensors``, one file, so that weights, moments and step are always of one moment, and
        ``metrics.jsonl``.
    network, optimiser
        As they are after the last epoch of ``progress``.
    progress : Progress
        Where the training stands.
    fingerprint : str
        Names all that decides the training.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    tensors = {f"network.{name}": value for name, value in copied_weights(network).items()}
    tensors |= {f"best.{name}": value for name, value in progress.best_weights.items()}
    moments = optimiser.state_dict()
    for number, values in moments["state"].items():
        tensors |= {f"optimiser.{number}.{name}": value.detach().cpu().clone() for name, value in values.items()}
    group = moments["param_groups"][0]
    about = {
        "format": _FORMAT,
        "fingerprint": fingerprint,
        "step": progress.step,
        "history": progress.history,
        "best": progress.best if math.isfinite(progress.best) else None,
        "best_epoch": progress.best_epoch,
        "group": {name: group[name] for name in _SCHEDULED if name in group},
    }
    write_whole(folder / STATE_FILE, safetensors.torch.save(tensors, metadata={"about": json.dumps(about)}))
    _write_metrics(folder, progress)


def restore_state(folder: Path, network: nn.Module, optimiser: torch.optim.Optimizer, *, fingerprint: str) -> Progress:
    """Bring a network and its optimiser to where the training in a folder stands: to its start if there is none.

    Parameters
    ----------
    folder : Path
        Made when absent.
    network, optimiser
        Changed in place.
    fingerprint : str
        As it was saved under.

    Raises
    ------
    UsageError
        The state is that of another training, or of a version whose states cannot be gone on from.
    DataError
        It is damaged.
    OutputError
        The folder cannot be written.
    """
    make_folder(folder)
    path = folder / STATE_FILE
    if not path.exists():
        return Progress()
    about, tensors = _read(path)
    other = f"{path} is of another training: give another folder, or delete this one to start again"
    if about.get("format") != _FORMAT or about.get("fingerprint") != fingerprint:
        raise UsageError(other)
    try:
        network.load_state_dict(_under("network.", tensors))
        optimiser.load_state_dict(_moments(optimiser, about["group"], _under("optimiser.", tensors)))
        progress = Progress(
            about["step"],
            tuple(about["history"]),
            -math.inf if about["best"] is None else float(about["best"]),
            about["best_epoch"],
            _under("best.", tensors),
        )
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise UsageError(other) from error
    _write_metrics(folder, progress)  # a kill between the two files may have left older ones
    return progress


def _read(path: Path) -> tuple[dict[str, Any], Weights]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
            return dict(json.loads(file.metadata()["about"])), tensors
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise DataError(f"{path} is damaged ({error}): delete it to start again") from error


def _moments(optimiser: torch.optim.Optimizer, group: dict[str, Any], tensors: Weights) -> dict[str, Any]:
    """What an optimiser loads: its own values, but for those that were saved."""
    state: dict[int, Weights] = {}
    for name, value in tensors.items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = value
    moments = optimiser.state_dict()
    moments["state"] = state
    moments["param_groups"][0] |= group | {"betas": tuple(group["betas"])}
    return moments


def _under(prefix: str, tensors: Weights) -> Weights:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _write_metrics(folder: Path, progress: Progress) -> None:
    lines = "".join(json.dumps(record) + "\n" for record in progress.history)
    write_whole(folder / METRICS_FILE, lines.encode())
