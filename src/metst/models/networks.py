"""The networks that read ROI motion frame by frame: one family, four published members.

A stem of two convolutions, then Mamba blocks at full rate, optionally beside a second
pathway at half rate and twice the width, then two heads: a micro-expression score and
class logits for every frame (ME-TST, arXiv 2409.09707; ME-TST+, arXiv 2508.08082;
BoostingVRME, arXiv 2508.18834).

Every layer with memory takes what it needs of earlier chunks from a :class:`Memory` and
leaves there what later chunks will need.  One pass over a sequence is one chunk that is the
first and the last, so a stream and a whole pass are the same code.

Letters: ``B`` batch, ``T`` frames, ``C`` motion channels, ``d`` width, ``D`` inner width,
``N`` state size, ``K`` classes.  Layers exchange ``(B, T, channels)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from metst.config import STAGES, NetworkConfig
from metst.errors import DataError
from metst.models.engine.tensors import TAPS, check_tensors
from metst.models.exact_layers import LayerNorm, Linear, linear
from metst.models.scan import causal_convolution, selective_scan
from metst.published.facts import NETWORKS, START

State = dict[str, Tensor]
"""What a network carries from one chunk to the next, by layer."""

PUBLISHED: dict[str, NetworkConfig] = {
    name: NetworkConfig(
        name=name,
        in_channels=facts.in_channels,
        width=facts.width,
        slow_fast=facts.slow_fast,
        pathways=facts.pathways,
        time_step_start=START.time_step,
        drop_path_row=START.drop_path_row,
        trunk_per_head=facts.trunk_per_head,
    )
    for name, facts in NETWORKS.items()
}
"""The four published networks; what they do not say is the default."""


class Memory:
    """What the layers of one network carry from one chunk to the next.

    Parameters
    ----------
    past : dict of tensors
        What the previous chunk left; empty for the first one.
    last : bool
        No frame follows: the layers flush what they hold back, and nothing is kept.
    """

    def __init__(self, past: State, *, last: bool) -> None:
        self.past = past
        self.last = last
        self.kept: State = {} if last else dict(past)

    def recall(self, name: str) -> Tensor | None:
        """What this layer kept of the earlier chunks; None before the first."""
        return self.past.get(name)

    def keep(self, name: str, value: Tensor) -> None:
        """Keep a value for the next chunk, as a copy: a slice would hold the whole chunk."""
        if not self.last:
            self.kept[name] = value.clone()

    def prepend(self, name: str, x: Tensor, *, zeros: int) -> Tensor:
        """``x`` (B, T, channels) behind the frames this layer kept, or behind zero frames at the start."""
        past = self.recall(name)
        if past is None:
            past = x.new_zeros(x.shape[0], zeros, x.shape[2])
        return torch.cat([past, x], dim=1)


class CentredConv(nn.Conv1d):
    """Convolution of the frames before, at and after each (second) frame, which may come in chunks.

    The sequence is padded with one zero frame at each end.  A frame comes out as soon as the one
    after it is known.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=TAPS, stride=stride)
        self.memory_name = ""

    def stream(self, x: Tensor, memory: Memory) -> Tensor:
        """``(B, T, in_channels)`` to ``(B, T', out_channels)``."""
        padded = memory.prepend(self.memory_name, x, zeros=1)
        if memory.last:
            padded = functional.pad(padded, (0, 0, 0, 1))
        stride = self.stride[0]
        frames = max(0, (padded.shape[1] - TAPS) // stride + 1)
        memory.keep(self.memory_name, padded[:, frames * stride :])
        if frames == 0:
            return x.new_zeros(x.shape[0], 0, self.out_channels)
        # One matrix product over the three frames side by side: the frames stay rows, as all layers have them.
        last = (frames - 1) * stride + 1
        triples = torch.cat([padded[:, lag : lag + last : stride] for lag in range(TAPS)], dim=2)
        return linear(triples, self.weight.transpose(1, 2).flatten(1), self.bias)


class CausalConv(nn.Conv1d):
    """Convolution of each channel by itself over the frames up to the present one, and SiLU."""

    def __init__(self, channels: int, *, kernel: int) -> None:
        super().__init__(channels, channels, kernel_size=kernel, groups=channels)
        self.memory_name = ""

    def stream(self, xz: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """``(B, T, 2 channels)``: the first half convolved and activated, and the second, which passes by."""
        past, channels = memory.recall(self.memory_name), self.out_channels
        if not memory.last:
            frames = memory.prepend(self.memory_name, xz[:, :, :channels], zeros=self.kernel_size[0] - 1)
            memory.keep(self.memory_name, frames[:, frames.shape[1] - self.kernel_size[0] + 1 :])
        assert self.bias is not None
        return causal_convolution(xz, past, weight=self.weight, bias=self.bias)


class ConvNormReLU(nn.Module):
    """Convolution of three frames around each (second) frame, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = CentredConv(in_channels, out_channels, stride=stride)
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """``(B, T, in_channels)`` to ``(B, T', out_channels)``."""
        frames = self.conv.stream(x, memory).transpose(1, 2)
        return functional.relu(self.norm(frames)).transpose(1, 2)


class Mamba(nn.Module):
    """Mamba-1 layer, causal (arXiv 2312.00752)."""

    def __init__(self, width: int, config: NetworkConfig) -> None:
        super().__init__()
        inner, self.d_state, self.dt_rank = config.expand * width, config.d_state, config.dt_rank(width)
        self.in_proj = Linear(width, 2 * inner, bias=False)
        self.time_step_start = config.time_step_start
        self.conv = CausalConv(inner, kernel=config.d_conv)
        self.x_proj = Linear(inner, self.dt_rank + 2 * self.d_state, bias=False)
        self.dt_proj = Linear(self.dt_rank, inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, self.d_state + 1)).repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = Linear(inner, width, bias=False)
        self.memory_name = ""

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """``(B, T, width)`` to the same shape."""
        x, z = self.conv.stream(self.in_proj(x), memory)
        dt, B, C = self.x_proj(x).split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        scanned = selective_scan(
            x,
            linear(dt, self.dt_proj.weight),
            -torch.exp(self.A_log),
            B,
            C,
            self.D,
            z=z,
            delta_bias=self.dt_proj.bias,
            delta_softplus=True,
            initial_state=memory.recall(self.memory_name),
            return_last_state=not memory.last,
        )
        if isinstance(scanned, tuple):
            scanned, state = scanned
            memory.keep(self.memory_name, state)
        out: Tensor = self.out_proj(scanned)
        return out


class MambaBlock(nn.Module):
    """``x + DropPath(LN(Mamba(LN(x))))``, without an MLP.

    A sample that skips the block in training is not computed.
    """

    def __init__(self, width: int, *, config: NetworkConfig, drop_path: float) -> None:
        super().__init__()
        self.norm_in = LayerNorm(width)
        self.mixer = Mamba(width, config)
        self.norm_out = LayerNorm(width)
        self.drop_path = drop_path

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """``(B, T, width)`` to the same shape."""
        if x.shape[1] == 0:  # the layers before still hold back the first frames
            return x
        if not (self.training and self.drop_path > 0):
            return x + self._branch(x, memory)
        kept = torch.rand(x.shape[0], device=x.device) >= self.drop_path
        scale = 1 / (1 - self.drop_path)
        rows = kept.nonzero().flatten()
        if len(rows) == 0 or memory.past or not memory.last:  # weights want a gradient, and what is kept all samples
            return x + self._branch(x, memory) * (scale * kept)[:, None, None]
        branch = self._branch(x.index_select(0, rows), memory)
        return x.to(branch.dtype).index_add(0, rows, branch, alpha=scale)  # mixed precision: the wider of the two

    def _branch(self, x: Tensor, memory: Memory) -> Tensor:
        out: Tensor = self.norm_out(self.mixer(self.norm_in(x), memory))
        return out


class BlockStack(nn.ModuleList):
    """Mamba blocks ``first .. first + count - 1`` of a pathway, one after the other."""

    def __init__(self, width: int, *, config: NetworkConfig, first: int, count: int) -> None:
        if config.drop_path_row == "stage":
            rates = drop_path_rates(count)
        else:
            rates = drop_path_rates(config.blocks)[first : first + count]
        super().__init__(MambaBlock(width, config=config, drop_path=rate) for rate in rates)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """``(B, T, width)`` to the same shape."""
        for block in self:
            x = block(x, memory)
        return x


class SingleRate(nn.Module):
    """One row of Mamba blocks at full rate (ME-TST)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.blocks = BlockStack(config.width, config=config, first=0, count=config.blocks)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """``(B, T, d)`` to the same shape."""
        out: Tensor = self.blocks(x, memory)
        return out


class SlowFast(nn.Module):
    """Full rate and half rate side by side in three stages (ME-TST+, BoostingVRME).

    Frame ``t`` of the result holds slow frame ``t // 2``, which reads one frame beyond an
    even ``t``; the slow pathway has ``ceil(T / 2)`` frames, so any ``T`` will do.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        d, count = config.width, config.blocks // STAGES
        firsts = range(0, config.blocks, count)
        self.slow_stem = ConvNormReLU(d, 2 * d, stride=2)
        self.fast = nn.ModuleList(BlockStack(d, config=config, first=first, count=count) for first in firsts)
        self.slow = nn.ModuleList(BlockStack(2 * d, config=config, first=first, count=count) for first in firsts)
        self.laterals = nn.ModuleList(ConvNormReLU(d, 2 * d, stride=2) for _ in range(STAGES - 1))
        self.memory_name = ""

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """``(B, T, d)`` to ``(B, T', 3 d)``, slow channels first."""
        fast, slow = self.fast[0](x, memory), self.slow[0](self.slow_stem(x, memory), memory)
        for lateral, fast_blocks, slow_blocks in zip(self.laterals, self.fast[1:], self.slow[1:], strict=True):
            slow = slow_blocks(slow + lateral(fast, memory), memory)
            fast = fast_blocks(fast, memory)
        return self._join(fast, slow, memory)

    def _join(self, fast: Tensor, slow: Tensor, memory: Memory) -> Tensor:
        fast = memory.prepend(self.memory_name, fast, zeros=0)
        slow = slow.repeat_interleave(2, dim=1)
        frames = min(fast.shape[1], slow.shape[1])
        memory.keep(self.memory_name, fast[:, frames:])
        return torch.cat([slow[:, :frames], fast[:, :frames]], dim=2)


class StateTransitionNetwork(nn.Module):
    """ROI motion to a micro-expression score and class logits for every frame.

    Parameters
    ----------
    config : NetworkConfig
        Which member of the family; :data:`PUBLISHED` has the four published ones.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        pathway = SlowFast if config.slow_fast else SingleRate
        self.stem = nn.ModuleList(
            [ConvNormReLU(config.in_channels, config.width), ConvNormReLU(config.width, config.width)]
        )
        self.pathways = nn.ModuleList(pathway(config) for _ in range(config.pathway_count))
        self.spot_head = Linear(config.features, 1)
        self.recog_head = Linear(config.features, config.classes)
        self.apply(_initialise)
        for name, module in self.named_modules():
            if isinstance(module, CentredConv | CausalConv | Mamba | SlowFast):
                module.memory_name = name

    @property
    def look_ahead(self) -> int:
        """Most frames that must follow a frame before its score comes out."""
        return len(self.stem) + (1 if self.config.slow_fast else 0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Score a whole sequence.

        Parameters
        ----------
        x : (B, C, T) float32
            ROI motion in the units the network was trained with, any ``T``.

        Returns
        -------
        score : (B, T) float32
            Micro-expression score in [0, 1].
        logits : (B, T, K) float32
            Class logits.

        Raises
        ------
        DataError
            When ``x`` is not ``(B, C, T)`` with the channels of this network.
        """
        score, logits, _ = self.advance(x, None, last=True)
        return score, logits

    def advance(self, x: Tensor, state: State | None, *, last: bool) -> tuple[Tensor, Tensor, State]:
        """Score the next chunk of a sequence.

        In evaluation mode the results of all chunks, joined, are the result of one pass over
        the whole sequence, whatever the sizes of the chunks.  Up to :attr:`look_ahead` frames
        are held back until later frames are known, or until ``last``.

        Parameters
        ----------
        x : (B, C, T) float32
            The next frames; ``T`` may be 0.
        state : dict of tensors, optional
            What the previous chunk returned; None for the first one.  It is not changed.
        last : bool
            No frame follows.

        Returns
        -------
        score : (B, T') float32
        logits : (B, T', K) float32
            For the next ``T'`` frames whose result is final.
        state : dict of tensors
            For the next chunk; empty after the last.

        Raises
        ------
        DataError
            When ``x`` is not ``(B, C, T)`` with the channels of this network.
        """
        if x.ndim != 3 or x.shape[1] != self.config.in_channels:
            raise DataError(
                f"network {self.config.name} expects motion (B, {self.config.in_channels}, T), got {tuple(x.shape)}"
            )
        memory = Memory(state or {}, last=last)
        x = x.transpose(1, 2)
        for layer in self.stem:
            x = layer(x, memory)
        spotting, recognition = self._features(x, memory)
        return torch.sigmoid(self.spot_head(spotting)).squeeze(-1), self.recog_head(recognition), memory.kept

    def _features(self, x: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """What each head reads, ``(B, T', features)``: of its pathway, or the same of the shared one."""
        spotting = self.pathways[0](x, memory)
        apart = self.config.pathways == "separate" or (self.training and self.config.trunk_per_head)
        return spotting, self.pathways[-1](x, memory) if apart else spotting


def without_weights(config: NetworkConfig) -> StateTransitionNetwork:
    """Network whose tensors have shapes and types, but no numbers: none are drawn for what is replaced at once."""
    with torch.device("meta"):
        return StateTransitionNetwork(config)


def build_network(config: NetworkConfig, state: Mapping[str, Tensor], *, where: str) -> StateTransitionNetwork:
    """Network in evaluation mode with the given weights.

    Parameters
    ----------
    config : NetworkConfig
        Its shape.
    state : dict of tensors
        All its parameters and buffers, by name.
    where : str
        What an error message calls the source of the weights.

    Raises
    ------
    CheckpointError
        When a tensor is missing, is left over, or has another shape.
    """
    network = without_weights(config)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    check_tensors(state, expected=expected, where=where)
    network.load_state_dict(dict(state), assign=True)
    return network.eval()


def drop_path_rates(blocks: int) -> list[float]:
    """Share of samples that skip each block of a row: 0 twice, then linearly towards the published highest rate."""
    step = START.drop_path_max / max(blocks - 1, 1)
    return [step * max(i - 1, 0) for i in range(blocks)]


def _initialise(module: nn.Module) -> None:
    """Initial weights as published, but for time steps that are spread; convolutions and norms keep PyTorch's."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=START.linear_std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, Mamba):
        nn.init.kaiming_uniform_(module.out_proj.weight, a=math.sqrt(5))  # as PyTorch starts linear maps
        with torch.no_grad():
            module.out_proj.weight /= math.sqrt(START.out_proj_layers)
            if module.time_step_start == "zero":  # as every linear map's bias is already
                return
            log_dt = torch.empty_like(module.dt_proj.bias).uniform_(math.log(START.dt_min), math.log(START.dt_max))
            dt = log_dt.exp().clamp_min(START.dt_floor)
            module.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # softplus of it is dt
