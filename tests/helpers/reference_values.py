"""Reference values: those kept in ``tests/data``, and those that only a folder beside the checkout holds."""

from __future__ import annotations

import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

DATA = Path(__file__).parents[1] / "data"
SHARED = Path(__file__).parents[3] / "shared"
NETWORKS = ("metst_2024", "metst", "metst_plus", "boosting_vrme")
"""The published networks, as the files of their reference values are called."""


def shared_file(*parts: str, why: str) -> Path:
    """A file that cannot be published with the tests, or a skip that says why it is not there."""
    path = SHARED.joinpath(*parts)
    if not path.is_file():
        pytest.skip(f"no data: {path.name} is not kept with the tests ({why})")
    return path


@cache
def arrays(name: str) -> dict[str, npt.NDArray[Any]]:
    """Arrays of ``tests/data/<name>.npz``; read-only, because all tests get the same."""
    with np.load(DATA / f"{name}.npz") as stored:
        found = {key: stored[key] for key in stored.files}
    for array in found.values():
        array.flags.writeable = False
    return found


def cases(name: str) -> list[dict[str, Any]]:
    """Cases of ``tests/data/<name>.json``, at least one."""
    found: list[dict[str, Any]] = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    assert found
    return found


def tensor_shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that the authors' code saves."""
    listed = json.loads((DATA / f"{network}_state_dict.json").read_text(encoding="utf-8"))
    return {name: tuple(shape) for name, shape in listed.items()}


def released_state(network: str, *, seed: int = 7) -> dict[str, torch.Tensor]:
    """Weights under the names of a released checkpoint: those of the reference answers when the seed is 7.

    Each tensor has a stream of random numbers of its own, seeded with its name.
    """
    shapes = tensor_shapes(network)
    return {f"module.{name}": torch.from_numpy(_drawn(name, shape, seed=seed)) for name, shape in shapes.items()}


def _drawn(name: str, shape: tuple[int, ...], *, seed: int) -> npt.NDArray[Any]:
    """Values of about the size that training gives: steady decays, short time steps, scales about 1."""
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return np.asarray(100, np.int64)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if last == "running_var":
        values = rng.random(shape) + 0.5
    elif name.endswith("dt_proj.bias"):
        values = rng.uniform(-6, -2, shape)
    elif last == "A_log":
        values = np.log(np.arange(shape[1]) + 1) + rng.standard_normal(shape) * 0.1
    elif len(shape) > 1:
        values = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    else:
        centre = 0 if last in ("bias", "running_mean") else 1
        values = centre + rng.standard_normal(shape) * 0.1
    return values.astype(np.float32)
