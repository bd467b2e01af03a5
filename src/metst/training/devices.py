"""Graphics processors: how many there are, what they can do, and how trainings share them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from metst.errors import UsageError

_VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Variable of the environment that says which graphics processors a process sees."""

_taken: list[str] = []
"""The graphics processor that this process took, at most one."""


def check_gpus(wanted: int) -> None:
    """Make sure that there are so many graphics processors.

    Raises
    ------
    UsageError
        There are fewer.
    """
    found = torch.cuda.device_count()
    if found == 0:
        raise UsageError(
            f"--gpus {wanted}: PyTorch {torch.__version__} sees no graphics processor on this machine: leave it out to"
            " train on the processor"
        )
    if found < wanted:
        raise UsageError(f"--gpus {wanted}: PyTorch sees {found} on this machine: give at most {found}")


def check_mixed_precision() -> None:
    """Make sure that mixed precision would have an effect on this machine.

    Raises
    ------
    UsageError
        It has no graphics processor with bfloat16.
    """
    if not has_mixed_precision("cuda"):
        raise UsageError(
            "--mixed-precision is for a graphics processor with bfloat16, and PyTorch sees none on this machine: leave"
            " it out to train in float32"
        )


def has_mixed_precision(device: str) -> bool:
    """Whether a device computes in bfloat16: it needs no scaling of the loss."""
    cuda = torch.device(device).type == "cuda" and torch.cuda.is_available()
    return cuda and torch.cuda.is_bf16_supported(including_emulation=False)


@contextmanager
def own_random_numbers() -> Iterator[None]:
    """Whatever is drawn inside, the caller's random numbers are left alone, on all devices."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield


def take_gpu(places: Path, *, gpus: int) -> str:
    """Let this process see one graphics processor only: in turn, so that each has as many processes as any other.

    A process keeps what it took first.

    Parameters
    ----------
    places : Path
        Folder that all processes of a pool share, where each leaves an empty file.
    gpus : int
        How many to share: the first of those that this process sees so far.

    Returns
    -------
    str
        Number or name of the one that was taken, as CUDA has it.
    """
    if not _taken:
        visible = [each for each in os.environ.get(_VISIBLE, "").split(",") if each.strip()] or list(
            map(str, range(gpus))
        )
        _taken.append(visible[_free_place(places) % min(gpus, len(visible))])
        os.environ[_VISIBLE] = _taken[0]
    return _taken[0]


def _free_place(places: Path) -> int:
    """The lowest number that no other process has."""
    number = 0
    while True:
        try:
            (places / str(number)).touch(exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return number
