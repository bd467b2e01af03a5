"""The networks many frames at a time, for ONNX: what :class:`~metst.models.step.OneStep` gives in as many steps.

States, their names, the delay and the flags are those of the one step; a chunk of any size, odd or even, is as good as
so many steps, and the two may take turns.  Each scan is one node, ``LinearAttention`` with a decay for each key, and so
is each causal convolution (``CausalConvWithState``).  PyTorch has neither: it can trace this module, and not run it.

A recurrence ``h_t = exp(dt_t A) h_{t-1} + B_t dt_t u_t``, ``y_t = C_t h_t`` is that of gated linear attention with a
head for each channel: key ``B``, query ``C``, value ``dt u``, logarithm of the decay ``dt A``, scale 1.  All heads have
one query and one key.  The node of ONNX (opset 27) wants them once for each head, and onnxruntime 1.32 takes it apart
into a ``Scan``; a node of its own, of the same name, has a kernel and takes them once.  The graph has the latter, and a
function that says it in nodes of ONNX, for everyone who does not know it.

Letters as in :mod:`metst.models.networks`; layers exchange ``(B, T, channels)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional

from metst.models.networks import (
    BlockStack,
    CentredConv,
    ConvNormReLU,
    Mamba,
    MambaBlock,
    SingleRate,
    SlowFast,
    State,
)
from metst.models.step import FAST_ROW, FLAGS, PHASE, SLOW_ROW, CarriedState, convolve, where

if TYPE_CHECKING:
    from onnx import FunctionProto, NodeProto

OPSET = 27
"""First ONNX operator set with ``LinearAttention`` and ``CausalConvWithState``."""

RUNTIME_DOMAIN = "com.microsoft"
"""Where onnxruntime keeps nodes of its own; their version is 1."""

_NODE = "LinearAttention"


class OneChunk(CarriedState):
    """Some frames in, as many rows of results out."""

    def forward(self, x: Tensor, present: Tensor, state: State) -> tuple[Tensor, Tensor, Tensor, State]:
        """Take ``T`` frames, give the results of the frames ``delay`` earlier.

        Parameters
        ----------
        x : (B, T, C) float32
            ROI motion in the units the network was trained with; anything where no frame is present.
        present : (B, T) bool
            Whether there is a frame, as in :meth:`metst.models.step.OneStep.forward`.
        state : dict of tensors
            What the chunk or the step before returned, or :meth:`initial_state`.

        Returns
        -------
        score : (B, T) float32
            Micro-expression score in [0, 1].
        logits : (B, T, K) float32
            Class logits.
        valid : (B, T) bool
            Whether the row belongs to a frame; the first ``delay`` rows of a sequence do not.
        state : dict of tensors
            For the next chunk or step.
        """
        frames = x.shape[1]
        flags = torch.cat([state[FLAGS], present.to(x.dtype)], dim=1)
        kept = {FLAGS: flags[:, frames:]}
        ages = range(self.delay + 1)
        there = [flags[:, self.delay - age : self.delay - age + frames] > 0.5 for age in ages]  # by frames ago
        for age, layer in enumerate(cast(Iterable[ConvNormReLU], self.network.stem)):
            x = convolve(layer, _window(layer.conv, x, there[age], state, kept))
        age = len(self.network.stem)
        features = []
        for pathway in self.network.pathways:
            if isinstance(pathway, SlowFast):
                half = HalfRate.of_chunk(state[PHASE], frames=frames)
                features.append(_slow_fast(pathway, x, there[age:], half, state, kept))
            else:
                assert isinstance(pathway, SingleRate)
                features.append(_blocks(pathway.blocks, x, there[age], state, kept))
        if PHASE in state:
            kept[PHASE] = (state[PHASE] + frames) % 2
        score = torch.sigmoid(self.network.spot_head(features[0])).squeeze(2)
        return score, self.network.recog_head(features[-1]), there[-1], {name: kept[name] for name in state}


@dataclass(frozen=True)
class HalfRate:
    """Which steps of a chunk compute the slow pathway: those of odd frames.

    A graph has one number of slow steps for each length of a chunk, half of it, rounded up.  Where the first frame is
    even and the length odd, that is one more than there are: the last one then belongs to no frame, and leaves the
    states as they are.
    """

    odd: Tensor
    """() float: 1 when the first frame has an odd number."""
    one_too_many: Tensor
    """() bool: the last slow step belongs to no frame."""

    @classmethod
    def of_chunk(cls, odd: Tensor, *, frames: int) -> HalfRate:
        """For a chunk of so many frames that begins with the state :data:`~metst.models.step.PHASE`."""
        return cls(odd, (1 - odd) * ((odd + frames) % 2) > 0.5)

    def from_odd(self, rows: Tensor) -> Tensor:
        """``rows`` (B, T, ...) from the first odd frame on, and zeros behind them: of the same size."""
        later = torch.cat([rows[:, 1:], torch.zeros_like(rows[:, :1])], dim=1)
        return torch.where(self.odd > 0.5, rows, later)

    def repeated(self, row: Tensor, slow: Tensor, *, frames: int) -> Tensor:
        """Each slow row (B, ceil(T / 2), channels) twice, behind the one before the chunk: ``(B, T, channels)``."""
        rows = torch.cat([row[:, None], slow], dim=1)
        done = (torch.arange(frames, device=row.device) + 1 + self.odd.long()) // 2
        return rows.index_select(1, done)


def _window(conv: CentredConv, x: Tensor, there: Tensor, state: State, kept: State) -> Tensor:
    """The frames behind the two before them, ``(B, 2 + T, channels)``; one that is not there is zero, as padding is."""
    frames = torch.cat([state[conv.memory_name], where(there, x)], dim=1)
    kept[conv.memory_name] = frames[:, -2:]
    return frames


def _blocks(
    blocks: BlockStack, x: Tensor, there: Tensor, state: State, kept: State, *, one_too_many: Tensor | None = None
) -> Tensor:
    for block in cast(Iterable[MambaBlock], blocks):
        mixed = _mamba(block.mixer, block.norm_in(x), there, state, kept, one_too_many=one_too_many)
        x = x + block.norm_out(mixed)
    return x


def _mamba(mamba: Mamba, x: Tensor, there: Tensor, state: State, kept: State, *, one_too_many: Tensor | None) -> Tensor:
    """A frame that is not there takes no time: the state of the scan stays what it is."""
    x, z = mamba.in_proj(x).chunk(2, dim=-1)
    frames, past = where(there, x), state[mamba.conv.memory_name]
    x, last = _causal_conv(frames, past, weight=mamba.conv.weight, bias=mamba.conv.bias)
    if one_too_many is not None:
        before = torch.cat([past, frames], dim=1)[:, -1 - past.shape[1] : -1]
        last = torch.where(one_too_many, before, last)
    kept[mamba.conv.memory_name] = last
    dt, B, C = mamba.x_proj(x).split([mamba.dt_rank, mamba.d_state, mamba.d_state], dim=-1)
    dt = where(there, functional.softplus(mamba.dt_proj(dt), threshold=40.0))
    A = -torch.exp(mamba.A_log)
    y, kept[mamba.memory_name] = _linear_attention(C, B, dt * x, dt.unsqueeze(-1) * A, state[mamba.memory_name])
    out: Tensor = mamba.out_proj((y + mamba.D * x) * functional.silu(z))
    return out


def _slow_fast(pathway: SlowFast, x: Tensor, there: list[Tensor], half: HalfRate, state: State, kept: State) -> Tensor:
    """``(B, T, d)`` to ``(B, T, 3 d)`` of the frames before, slow channels first."""
    fast_row, slow_row = f"{pathway.memory_name}.{FAST_ROW}", f"{pathway.memory_name}.{SLOW_ROW}"
    layers = cast(list[ConvNormReLU], [pathway.slow_stem, *pathway.laterals])
    slow_there = half.from_odd(there[1].to(x.dtype))[:, ::2] > 0.5
    stacks = zip(
        layers, cast(Iterable[BlockStack], pathway.fast), cast(Iterable[BlockStack], pathway.slow), strict=True
    )
    slow: Tensor | None = None
    for layer, fast_blocks, slow_blocks in stacks:
        lateral = convolve(layer, half.from_odd(_window(layer.conv, x, there[0], state, kept)))
        slow = lateral if slow is None else slow + lateral
        slow = _blocks(slow_blocks, slow, slow_there, state, kept, one_too_many=half.one_too_many)
        x = _blocks(fast_blocks, x, there[0], state, kept)
    assert slow is not None
    repeated = half.repeated(state[slow_row], slow, frames=x.shape[1])
    kept[slow_row] = repeated[:, -1]
    fast = torch.cat([state[fast_row][:, None], x], dim=1)
    kept[fast_row] = fast[:, -1]
    return torch.cat([repeated, fast[:, :-1]], dim=2)


def _causal_conv(x: Tensor, past: Tensor, *, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Each channel of ``x`` (B, T, D) convolved by itself behind ``past`` (B, k - 1, D), with SiLU; the last frames."""
    turned = x.transpose(1, 2)
    y, last = torch.onnx.ops.symbolic_multi_out(
        "CausalConvWithState",
        (turned, weight, bias, past.transpose(1, 2)),
        {"activation": "silu"},
        dtypes=(x.dtype, x.dtype),
        shapes=(turned.shape, (past.shape[0], past.shape[2], past.shape[1])),
    )
    return y.transpose(1, 2), last.transpose(1, 2)


def _linear_attention(query: Tensor, key: Tensor, value: Tensor, decay: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """The recurrence of the scan: query and key (B, T, N) of all channels, value (B, T, D), decay (B, T, D, N)."""
    y, last = torch.onnx.ops.symbolic_multi_out(
        f"{RUNTIME_DOMAIN}::{_NODE}",
        (query, key, value, past.unsqueeze(-1), decay.flatten(2)),
        {"q_num_heads": 1, "kv_num_heads": value.shape[2], "scale": 1.0, "update_rule": "gated"},
        dtypes=(value.dtype, value.dtype),
        shapes=(value.shape, (*past.shape, 1)),
    )
    return y, last.squeeze(-1)


def linear_attention_in_onnx() -> FunctionProto:
    """What the node of onnxruntime does, in nodes of ONNX: query and key repeated for each head."""
    from onnx import AttributeProto, helper

    def with_heads(node: NodeProto, *names: str) -> NodeProto:
        for name in names:
            node.attribute.append(AttributeProto(name=name, ref_attr_name="kv_num_heads", type=AttributeProto.INT))
        return node

    nodes = [
        with_heads(helper.make_node("Constant", [], ["heads"]), "value_int"),
        helper.make_node("Constant", [], ["once"], value_ints=[1]),
        helper.make_node("Mul", ["heads", "once"], ["times"]),  # a list of one
        helper.make_node("Concat", ["once", "once", "times"], ["repeats"], axis=0),
        helper.make_node("Tile", ["query", "repeats"], ["queries"]),
        helper.make_node("Tile", ["key", "repeats"], ["keys"]),
        with_heads(
            helper.make_node(
                _NODE,
                ["queries", "keys", "value", "past", "decay"],
                ["y", "present"],
                scale=1.0,
                update_rule="gated",
            ),
            "q_num_heads",
            "kv_num_heads",
        ),
    ]
    return helper.make_function(
        RUNTIME_DOMAIN,
        _NODE,
        ["query", "key", "value", "past", "decay"],
        ["y", "present"],
        nodes,
        [helper.make_opsetid("", OPSET)],
        attributes=["q_num_heads", "kv_num_heads", "scale", "update_rule"],
    )
