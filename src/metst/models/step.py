"""The networks one frame at a time, with static shapes and plain tensor operations: what can leave PyTorch.

:meth:`~metst.models.networks.StateTransitionNetwork.advance` takes chunks of any size and gives as many rows as are
final.  Here every step takes one frame and gives one row, that of the frame :attr:`OneStep.delay` steps earlier.  The
rows that belong to no frame, and the zero padding that a whole pass puts around the sequence, follow from flags: each
frame carries one that says whether it is there, and the flags of the last frames are part of the state.

The slow pathway has one frame for two steps: the step of an odd frame computes it, the step after repeats it.

Letters as in :mod:`metst.models.networks`; layers exchange ``(B, channels)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from metst.models.networks import (
    BlockStack,
    CausalConv,
    CentredConv,
    ConvNormReLU,
    Mamba,
    MambaBlock,
    SingleRate,
    SlowFast,
    State,
    StateTransitionNetwork,
)
from metst.models.scan.selective import reference_scan

FLAGS = "present"
"""State: whether the frames before were there, the latest last."""
PHASE = "odd"
"""State, with a slow pathway only: 1 when the next frame has an odd number."""

FAST_ROW, SLOW_ROW = "fast_row", "slow_row"
"""End of the names of two states, with a slow pathway only: the rows that wait for each other."""


class CarriedState(nn.Module):
    """A network whose state is handed in and out as plain tensors, as a graph outside PyTorch needs it.

    Parameters
    ----------
    network : StateTransitionNetwork
        In evaluation mode; its weights are shared, not copied.
    """

    def __init__(self, network: StateTransitionNetwork) -> None:
        super().__init__()
        self.network = network
        self.delay = network.look_ahead
        self.train(network.training)

    def initial_state(self, batch: int) -> State:
        """State before the first frame: zeros, by name."""
        width, slow_fast = self.network.config.width, self.network.config.slow_fast
        state: State = {FLAGS: torch.zeros(batch, self.delay)} | ({PHASE: torch.zeros(())} if slow_fast else {})
        for name, module in self.network.named_modules():
            match module:
                case CentredConv():
                    state[name] = torch.zeros(batch, 2, module.in_channels)
                case CausalConv():
                    state[name] = torch.zeros(batch, module.kernel_size[0] - 1, module.in_channels)
                case Mamba():
                    state[name] = torch.zeros(batch, *module.A_log.shape)
                case SlowFast():
                    state[f"{name}.{FAST_ROW}"] = torch.zeros(batch, width)
                    state[f"{name}.{SLOW_ROW}"] = torch.zeros(batch, 2 * width)
        return state


class OneStep(CarriedState):
    """One frame in, one row of results out."""

    def forward(self, x: Tensor, present: Tensor, state: State) -> tuple[Tensor, Tensor, Tensor, State]:
        """Take frame ``t``, give the results of frame ``t - delay``.

        Parameters
        ----------
        x : (B, C) float32
            ROI motion in the units the network was trained with; anything where no frame is present.
        present : (B,) bool
            Whether there is a frame.  After the last one, ``delay`` steps without give its results and those of the
            frames before it.  All sequences of a batch start with the first step; they may end at different ones.
        state : dict of tensors
            What the step before returned, or :meth:`initial_state`.

        Returns
        -------
        score : (B,) float32
            Micro-expression score in [0, 1].
        logits : (B, K) float32
            Class logits.
        valid : (B,) bool
            Whether the row belongs to a frame; the first ``delay`` rows do not.
        state : dict of tensors
            For the next step.
        """
        flags = torch.cat([state[FLAGS], present[:, None].to(x.dtype)], dim=1)
        kept = {FLAGS: flags[:, 1:]}
        there = [flag > 0.5 for flag in flags.flip(1).unbind(1)]  # by how many frames ago
        for age, layer in enumerate(cast(Iterable[ConvNormReLU], self.network.stem)):
            x = convolve(layer, _window(layer.conv, x, there[age], state, kept))[:, 0]
        age = len(self.network.stem)
        features = []
        for pathway in self.network.pathways:
            if isinstance(pathway, SlowFast):
                features.append(_slow_fast(pathway, x, there[age:], state, kept))
            else:
                assert isinstance(pathway, SingleRate)
                features.append(_blocks(pathway.blocks, x, there[age], state, kept))
        if PHASE in state:
            kept[PHASE] = 1 - state[PHASE]
        score = torch.sigmoid(self.network.spot_head(features[0])).squeeze(1)
        return score, self.network.recog_head(features[-1]), there[-1], {name: kept[name] for name in state}


def _window(conv: CentredConv, x: Tensor, there: Tensor, state: State, kept: State) -> Tensor:
    """The last three frames, ``(B, 3, channels)``; a frame that is not there is zero, as padding is."""
    frames = torch.cat([state[conv.memory_name], where(there, x)[:, None]], dim=1)
    kept[conv.memory_name] = frames[:, 1:]
    return frames


def convolve(layer: ConvNormReLU, frames: Tensor) -> Tensor:
    """``(B, T + 2, in_channels)`` to ``(B, T, out_channels)``, or half as many rows as the stride of the layer asks."""
    return functional.relu(layer.norm(layer.conv(frames.transpose(1, 2)))).transpose(1, 2)


def where(there: Tensor, x: Tensor) -> Tensor:
    """``x`` (..., channels), and zeros where ``there`` (...) is false, whatever ``x`` holds."""
    return torch.where(there.unsqueeze(-1), x, torch.zeros_like(x))


def _blocks(blocks: BlockStack, x: Tensor, there: Tensor, state: State, kept: State) -> Tensor:
    for block in cast(Iterable[MambaBlock], blocks):
        x = x + block.norm_out(_mamba(block.mixer, block.norm_in(x), there, state, kept))
    return x


def _mamba(mamba: Mamba, x: Tensor, there: Tensor, state: State, kept: State) -> Tensor:
    """Frames before the first leave the states at zero; what frames after the last do to them is never read."""
    x, z = mamba.in_proj(x).chunk(2, dim=-1)
    conv = mamba.conv
    assert conv.bias is not None
    frames = torch.cat([state[conv.memory_name], where(there, x)[:, None]], dim=1)
    kept[conv.memory_name] = frames[:, 1:]
    x = where(there, functional.silu((frames * conv.weight[:, 0].T).sum(dim=1) + conv.bias))
    dt, B, C = mamba.x_proj(x).split([mamba.dt_rank, mamba.d_state, mamba.d_state], dim=-1)
    y, kept[mamba.memory_name] = reference_scan(
        x[:, None],
        functional.linear(dt, mamba.dt_proj.weight)[:, None],
        -torch.exp(mamba.A_log),
        B[:, None],
        C[:, None],
        mamba.D,
        z=z[:, None],
        delta_bias=mamba.dt_proj.bias,
        delta_softplus=True,
        initial_state=state[mamba.memory_name],
    )
    out: Tensor = mamba.out_proj(y[:, 0])
    return out


def _slow_fast(pathway: SlowFast, x: Tensor, there: list[Tensor], state: State, kept: State) -> Tensor:
    """``(B, d)`` to ``(B, 3 d)`` of the frame before, slow channels first."""
    fast_row, slow_row = f"{pathway.memory_name}.{FAST_ROW}", f"{pathway.memory_name}.{SLOW_ROW}"
    layers = cast(list[ConvNormReLU], [pathway.slow_stem, *pathway.laterals])
    windows = []
    for layer, blocks in zip(layers, cast(Iterable[BlockStack], pathway.fast), strict=True):
        windows.append(_window(layer.conv, x, there[0], state, kept))
        x = _blocks(blocks, x, there[0], state, kept)
    states = [module.memory_name for module in pathway.slow.modules() if isinstance(module, CausalConv | Mamba)]

    def compute() -> tuple[Tensor, ...]:
        new: State = {}
        slow = torch.zeros_like(state[slow_row])
        for layer, window, blocks in zip(layers, windows, cast(Iterable[BlockStack], pathway.slow), strict=True):
            slow = _blocks(blocks, slow + convolve(layer, window)[:, 0], there[1], state, new)
        return _copies(slow, *(new[name] for name in states))

    def repeat() -> tuple[Tensor, ...]:
        return _copies(*(state[name] for name in (slow_row, *states)))

    kept.update(zip((slow_row, *states), _choose(state[PHASE] > 0.5, compute, repeat), strict=True))
    kept[fast_row] = x
    return torch.cat([kept[slow_row], state[fast_row]], dim=1)


def _copies(*tensors: Tensor) -> tuple[Tensor, ...]:
    """What both branches of a condition must return: tensors of their own, laid out alike."""
    return tuple(tensor.clone(memory_format=torch.contiguous_format) for tensor in tensors)


def _choose(
    condition: Tensor, yes: Callable[[], tuple[Tensor, ...]], no: Callable[[], tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    """What one of two functions returns: a branch of the graph when it is exported."""
    if torch.compiler.is_exporting():
        return cast(tuple[Tensor, ...], torch.cond(condition, yes, no))
    return yes() if bool(condition) else no()
