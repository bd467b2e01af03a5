"""Which tensors the weights of a network are: names as in the torch module's state dict, and shapes.

The compiled loops read memory by these shapes without looking: weights are compared with what the network's description
asks for, not with what their file or ``model.json`` says of them, before anything is made of them.  The torch module
itself cannot be asked where torch is not installed; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from metst.config import STAGES, NetworkConfig
from metst.errors import CheckpointError

TAPS = 3  # frames that a centred convolution reads

Shape = tuple[int, ...]

_SHOWN = 3  # names in one error message: set by hand


class Shaped(Protocol):
    """An array or a tensor."""

    @property
    def shape(self) -> Any:
        """Size of each axis."""


def tensor_shapes(config: NetworkConfig) -> dict[str, Shape]:
    """Name and shape of every tensor of a network's weights.

    Parameters
    ----------
    config : NetworkConfig
        Its shape.
    """
    d, features = config.width, config.features
    found = [
        *_conv_norm("stem.0", config.in_channels, d),
        *_conv_norm("stem.1", d, d),
        ("spot_head.weight", (1, features)),
        ("spot_head.bias", (1,)),
        ("recog_head.weight", (config.classes, features)),
        ("recog_head.bias", (config.classes,)),
    ]
    for pathway in range(config.pathway_count):
        found += _pathway(f"pathways.{pathway}", config)
    return dict(found)


def check_tensors(found: Mapping[str, Shaped], *, expected: Mapping[str, Shape], where: str) -> None:
    """Refuse weights that are not those of a network.

    Parameters
    ----------
    found : mapping of str to array or tensor
        The weights.
    expected : mapping of str to tuple of int
        Shapes by name.
    where : str
        What an error message calls the source of the weights.

    Raises
    ------
    CheckpointError
        When a tensor is missing, is left over, or has another shape.
    """
    faults = []
    if missing := expected.keys() - found.keys():
        faults.append(f"{len(missing)} missing ({some(sorted(missing))})")
    if extra := found.keys() - expected.keys():
        faults.append(f"{len(extra)} unexpected ({some(sorted(extra))})")
    faults.extend(
        f"{name} is {tuple(found[name].shape)}, not {expected[name]}"
        for name in sorted(expected.keys() & found.keys())
        if tuple(found[name].shape) != expected[name]
    )
    if faults:
        raise CheckpointError(f"{where} does not fit the network: tensors {'; '.join(faults[:_SHOWN])}")


def _conv_norm(name: str, channels: int, out: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.conv.weight", (out, channels, TAPS)
    yield f"{name}.conv.bias", (out,)
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.norm.{part}", (out,)
    yield f"{name}.norm.num_batches_tracked", ()


def _pathway(name: str, config: NetworkConfig) -> Iterator[tuple[str, Shape]]:
    d = config.width
    if not config.slow_fast:
        yield from _stack(f"{name}.blocks", d, config.blocks, config)
        return
    yield from _conv_norm(f"{name}.slow_stem", d, 2 * d)
    for stage in range(STAGES):
        yield from _stack(f"{name}.fast.{stage}", d, config.blocks // STAGES, config)
        yield from _stack(f"{name}.slow.{stage}", 2 * d, config.blocks // STAGES, config)
    for lateral in range(STAGES - 1):
        yield from _conv_norm(f"{name}.laterals.{lateral}", d, 2 * d)


def _stack(name: str, width: int, blocks: int, config: NetworkConfig) -> Iterator[tuple[str, Shape]]:
    inner, rank, states = config.expand * width, config.dt_rank(width), config.d_state
    shapes: dict[str, Shape] = {
        "norm_in.weight": (width,),
        "norm_in.bias": (width,),
        "norm_out.weight": (width,),
        "norm_out.bias": (width,),
        "mixer.A_log": (inner, states),
        "mixer.D": (inner,),
        "mixer.in_proj.weight": (2 * inner, width),
        "mixer.conv.weight": (inner, 1, config.d_conv),
        "mixer.conv.bias": (inner,),
        "mixer.x_proj.weight": (rank + 2 * states, inner),
        "mixer.dt_proj.weight": (inner, rank),
        "mixer.dt_proj.bias": (inner,),
        "mixer.out_proj.weight": (width, inner),
    }
    for block in range(blocks):
        for part, shape in shapes.items():
            yield f"{name}.{block}.{part}", shape


def some(names: Iterable[str]) -> str:
    """The first few names, for a message."""
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "") if names else "none"
