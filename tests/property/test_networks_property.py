"""Streams, lengths and the start of training of the network family."""

import copy
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from helpers.rounding import assert_within_rounding
from helpers.shaken_networks import shaken
from metst.config import DropPathRow, NetworkConfig
from metst.errors import DataError
from metst.models import networks
from metst.models.networks import Mamba, Memory, SlowFast, StateTransitionNetwork, drop_path_rates
from metst.models.scan.convolution_operator import reference_convolution
from metst.models.scan.selective import reference_scan

ROUNDING = 64
"""Units of rounding between chunks and a whole in single precision; 17 were seen."""

SHAPES = {
    "single rate": {"slow_fast": False},
    "slow-fast, shared": {"slow_fast": True},
    "slow-fast, separate": {"slow_fast": True, "pathways": "separate"},
}


def small_network(shape: str) -> StateTransitionNetwork:
    config = NetworkConfig(name="small", in_channels=4, width=8, blocks=3, d_state=4, classes=3, **SHAPES[shape])
    return shaken(config, seed=3, by=lambda parameter: 0.3 if parameter.ndim == 2 else 0.0)


NETWORKS = {shape: small_network(shape) for shape in SHAPES}


def motion(length: int, *, seed: int = 0, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 4, length, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=8), flush_alone=st.booleans(), seed=st.integers(0, 99))
def test_chunks_of_any_sizes_joined_are_one_pass(shape: str, sizes: list[int], flush_alone: bool, seed: int) -> None:
    network, x = NETWORKS[shape], motion(sum(sizes), seed=seed)
    chunks = [*torch.split(x, sizes, dim=2)] + ([x[:, :, :0]] if flush_alone else [])
    state, scores, logits = None, [], []
    with torch.inference_mode():
        whole_score, whole_logits = network(x)
        for i, chunk in enumerate(chunks):
            score, logit, state = network.advance(chunk, state, last=i == len(chunks) - 1)
            scores.append(score)
            logits.append(logit)
            given_frames = sum(piece.shape[2] for piece in chunks[: i + 1])
            out = sum(piece.shape[1] for piece in scores)
            assert out == given_frames if i == len(chunks) - 1 else given_frames - network.look_ahead <= out
    assert state == {}
    assert_within_rounding(torch.cat(scores, dim=1), whole_score, units=ROUNDING)
    assert_within_rounding(torch.cat(logits, dim=1), whole_logits, units=ROUNDING)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_state_can_be_used_again_and_by_a_copy(shape: str) -> None:
    network, x = NETWORKS[shape], motion(20)
    with torch.inference_mode():
        _, _, state = network.advance(x[:, :, :11], None, last=False)
        first, _, _ = network.advance(x[:, :, 11:], state, last=True)
        again, _, _ = copy.deepcopy(network).advance(x[:, :, 11:], state, last=True)
    assert_within_rounding(again, first, units=8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 17])
def test_any_length_gives_one_finite_answer_per_frame(shape: str, length: int) -> None:
    score, logits = NETWORKS[shape](motion(length))
    assert score.shape == (2, length)
    assert logits.shape == (2, length, 3)
    assert bool(((score > 0) & (score < 1)).all())
    assert bool(logits.isfinite().all())


@pytest.mark.parametrize("shape", SHAPES)
def test_look_ahead_is_how_far_an_answer_reaches_into_the_future(shape: str) -> None:
    network, x = NETWORKS[shape], motion(40, batch=1)
    with torch.inference_mode():
        score, _ = network(x)
        reach = []
        for changed in range(20, 24):
            other = x.clone()
            other[:, :, changed] += 1
            first = int((network(other)[0] - score).abs().gt(1e-7).nonzero()[0, 1])
            reach.append(changed - first)
    assert max(reach) == network.look_ahead


@pytest.mark.parametrize("shape", SHAPES)
def test_each_sample_of_a_batch_is_answered_alone(shape: str) -> None:
    network, x = NETWORKS[shape], motion(15, batch=5)
    with torch.inference_mode():
        together, _ = network(x)
        alone = torch.cat([network(sample[None])[0] for sample in x])
    assert_within_rounding(together, alone, units=ROUNDING)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_do_not_change_the_answer(shape: str) -> None:
    network, x = NETWORKS[shape], motion(33)
    with torch.inference_mode():
        without = network(x)
    for got, expected in zip(network(x), without, strict=True):
        assert got.requires_grad
        assert_within_rounding(got.detach(), expected, units=ROUNDING)


def plain_scan(*operands: torch.Tensor, return_last_state: bool, **options: torch.Tensor) -> object:
    y, state = reference_scan(*operands, **options)
    return (y, state) if return_last_state else y


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_plain_tensor_operations(shape: str) -> None:
    x, found = motion(21).double(), []
    plain = {"selective_scan": plain_scan, "causal_convolution": reference_convolution}
    for operators in ({}, plain):
        network = copy.deepcopy(NETWORKS[shape]).double()
        with mock.patch.multiple(networks, **operators) if operators else mock.MagicMock():
            score, logits, state = network.advance(x[:, :, :10], None, last=False)
            later_score, later_logits, _ = network.advance(x[:, :, 10:], state, last=True)
        parts = (score, later_score, logits, later_logits)
        sum(part.sin().sum() for part in parts).backward()
        found.append([*parts, *(parameter.grad for parameter in network.parameters())])
    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-7, atol=1e-9)


def trained(threads: int) -> list[torch.Tensor]:
    """Weights after three steps from one seed, large enough for the work to be divided."""
    torch.manual_seed(5)
    config = NetworkConfig(name="small", in_channels=4, width=32, blocks=3, d_state=64, classes=3, slow_fast=True)
    network = StateTransitionNetwork(config).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for step in range(3):
            score, logits = network(motion(60, seed=step, batch=16))
            optimiser.zero_grad()
            (score.square().mean() + logits.square().mean()).backward()
            optimiser.step()
    finally:
        torch.set_num_threads(before)
    return [parameter.detach() for parameter in network.parameters()]


def test_training_gives_the_same_bits_for_a_seed_on_any_number_of_threads() -> None:
    first, again, on_two = trained(1), trained(1), trained(2)
    for one, other, third in zip(first, again, on_two, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)


def test_motion_of_other_channels_is_refused() -> None:
    with pytest.raises(DataError, match=r"expects motion \(B, 4, T\), got \(2, 36, 10\)"):
        NETWORKS["single rate"](torch.zeros(2, 36, 10))


@torch.no_grad()
def test_untrained_weights_start_as_published_but_for_the_time_steps_that_are_mambas() -> None:
    network = StateTransitionNetwork(NetworkConfig(name="new", in_channels=10, width=64, blocks=12, slow_fast=False))
    mambas = [module for module in network.modules() if isinstance(module, Mamba)]
    assert len(mambas) == 12
    for mamba in mambas:
        step = functional.softplus(mamba.dt_proj.bias)
        assert float(step.min()) >= 1e-3 * 0.999
        assert float(step.max()) <= 1e-1 * 1.001
        torch.testing.assert_close(-torch.exp(mamba.A_log[0]), -torch.arange(1.0, 65.0))
        assert float(mamba.out_proj.weight.abs().max()) <= 1 / (128**0.5 * 2)  # Kaiming bound, over sqrt(4)
        assert float(mamba.in_proj.weight.std()) == pytest.approx(0.02, rel=0.1)
    assert float(network.spot_head.bias.abs().max()) == 0


def test_drop_path_rates_are_the_published_list_one_behind() -> None:
    published = [0.0, *torch.linspace(0, 0.2, 12).tolist()]
    assert drop_path_rates(12) == pytest.approx(published[:12])
    assert drop_path_rates(1) == [0.0]


@pytest.mark.parametrize(
    ("row", "stages"),
    [("pathway", [[0, 0], [0.04, 0.08], [0.12, 0.16]]), ("stage", [[0, 0]] * 3)],
)
def test_a_row_of_drop_path_rates_goes_over_the_pathway_unless_it_starts_anew_in_each_stage(
    row: DropPathRow, stages: list[list[float]]
) -> None:
    config = NetworkConfig(name="own", in_channels=4, width=8, blocks=6, d_state=4, slow_fast=True, drop_path_row=row)
    pathway = StateTransitionNetwork(config).pathways[0]
    assert isinstance(pathway, SlowFast)
    for rate in (pathway.fast, pathway.slow):
        found = [[block.drop_path for block in stack] for stack in rate]
        np.testing.assert_allclose(found, stages, atol=1e-12)


@pytest.mark.parametrize("per_head", [False, True])
def test_a_trunk_per_head_skips_other_blocks_for_each_head_in_training_only(per_head: bool) -> None:
    shape = {"in_channels": 4, "width": 8, "blocks": 6, "d_state": 4, "slow_fast": False}
    network = StateTransitionNetwork(NetworkConfig(name="own", trunk_per_head=per_head, **shape))
    seen: list[torch.Tensor] = []
    for head in (network.spot_head, network.recog_head):
        head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for training in (True, False):
        seen.clear()
        network.train(training)(motion(16, batch=32))
        assert torch.equal(*seen) == (not (training and per_head))


def test_training_drops_branches_at_random_and_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    network = NETWORKS["slow-fast, separate"]
    trained = copy.deepcopy(network).train()
    for module in trained.modules():
        if hasattr(module, "drop_path"):
            module.drop_path = 0.5
    x = motion(16, batch=8)
    assert not torch.equal(trained(x)[0], trained(x)[0])
    score, logits = trained(x)
    (score.sum() + logits.square().sum()).backward()
    assert all(
        parameter.grad is not None and bool(parameter.grad.isfinite().all()) for parameter in trained.parameters()
    )


@pytest.mark.parametrize("drop_path", [0.3, 0.999999])
def test_a_sample_that_skips_a_block_is_left_alone_and_the_others_count_for_it(drop_path: float) -> None:
    """By the definition: the branch of each sample times 0 or ``1 / (1 - p)``; also where all samples skip."""
    block = copy.deepcopy(NETWORKS["single rate"].pathways[0].blocks[0]).double().train()
    block.drop_path = drop_path
    x = torch.randn(8, 5, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    weight = torch.sin(torch.arange(x.numel())).view(x.shape)
    torch.manual_seed(2)
    kept = (torch.rand(8) >= drop_path)[:, None, None]
    assert 0 < kept.sum() < 8 or not kept.any()
    branch = block.norm_out(block.mixer(block.norm_in(x), Memory({}, last=True)))
    wanted = x + branch * kept / (1 - drop_path)
    everything = [x, *block.parameters()]
    exact = torch.autograd.grad((wanted * weight).sum(), everything)
    torch.manual_seed(2)
    found = block(x, Memory({}, last=True))
    torch.testing.assert_close(found, wanted)
    for one, other in zip(torch.autograd.grad((found * weight).sum(), everything), exact, strict=True):
        torch.testing.assert_close(one, other)
