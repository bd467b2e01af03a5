"""The engine against its definition, the torch module; and its own invariants: chunks, batches, single frames."""

import copy
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.rounding import assert_within_rounding
from helpers.shaken_networks import shaken
from metst.config import NetworkConfig
from metst.models.checkpoint import load_model
from metst.models.engine import Engine
from metst.models.networks import PUBLISHED, StateTransitionNetwork

pytestmark = pytest.mark.usefixtures("one_torch_thread")

ROUNDING = 64
"""Units of rounding between single and double precision; 19 were seen (`boosting-vrme` at full size)."""

Array = npt.NDArray[np.float32]
Answer = tuple[Array, Array]

BASE = {"in_channels": 4, "width": 8, "blocks": 3, "d_state": 4, "classes": 3}
SMALL = {
    "single rate": NetworkConfig(name="small", slow_fast=False, **BASE),
    "slow-fast, shared": NetworkConfig(name="small", slow_fast=True, **BASE),
    "slow-fast, separate": NetworkConfig(name="small", slow_fast=True, pathways="separate", **BASE),
    "single rate, separate": NetworkConfig(name="small", slow_fast=False, pathways="separate", **BASE),
    # Sizes that no vector length divides; inner widths below, at and above one block of the scan.
    "odd": NetworkConfig(
        name="odd", in_channels=7, width=21, blocks=3, d_state=5, d_conv=3, expand=3, classes=2, slow_fast=True
    ),
    "one tap": NetworkConfig(
        name="one", in_channels=1, width=1, blocks=2, d_state=1, d_conv=1, expand=1, classes=1, slow_fast=False
    ),
    "many taps": NetworkConfig(
        name="many", in_channels=5, width=33, blocks=1, d_state=17, d_conv=9, expand=2, classes=4, slow_fast=False
    ),
}


def _spread_over_inputs(parameter: torch.Tensor) -> float:
    return 0.3 / parameter.shape[1] ** 0.5 if parameter.ndim == 2 else 0.0


@cache
def pair(config: NetworkConfig) -> tuple[StateTransitionNetwork, Engine]:
    """A network whose every layer counts, and its engine."""
    network = shaken(config, seed=3, by=_spread_over_inputs, norms=True)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    return network, Engine(config, weights, where="the test")


def motion(config: NetworkConfig, length: int, *, seed: int = 0, batch: int = 2) -> Array:
    return np.random.default_rng(seed).standard_normal((batch, length, config.in_channels)).astype(np.float32)


@lru_cache(maxsize=2)
def doubled(network: StateTransitionNetwork) -> StateTransitionNetwork:
    return copy.deepcopy(network).double()


def by_torch(network: StateTransitionNetwork, x: Array) -> Answer:
    """By the torch module in double precision: in single precision it would add rounding errors of its own."""
    with torch.inference_mode():
        score, logits = doubled(network)(torch.from_numpy(x.transpose(0, 2, 1).astype(np.float64)))
    return score.float().numpy(), logits.float().numpy()


def in_chunks(engine: Engine, x: Array, sizes: Sequence[int]) -> Answer:
    """All chunks joined; what is held back comes out as promised."""
    state, parts, given_frames, out = None, [], 0, 0
    for i, size in enumerate(sizes):
        score, logits, state = engine.advance(x[:, given_frames : given_frames + size], state, last=i == len(sizes) - 1)
        given_frames, out = given_frames + size, out + score.shape[1]
        assert logits.shape == (*score.shape, engine.config.classes)
        assert out == given_frames if i == len(sizes) - 1 else given_frames - engine.look_ahead <= out
        parts.append((score, logits))
    assert state is None
    return np.concatenate([score for score, _ in parts], axis=1), np.concatenate(
        [logits for _, logits in parts], axis=1
    )


def assert_close(got: Answer, expected: Answer) -> None:
    for mine, other in zip(got, expected, strict=True):
        assert mine.shape == other.shape
        assert mine.dtype == np.float32
        assert_within_rounding(mine, other, units=ROUNDING)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_agree_with_torch_at_once_and_frame_by_frame(name: str) -> None:
    network, engine = pair(PUBLISHED[name])
    for length in (1, 2, 3, 5, 30, 50, 201):
        x = motion(PUBLISHED[name], length, seed=length, batch=2 if length <= 50 else 1)
        expected = by_torch(network, x)
        assert_close(engine(x), expected)
        if length <= 50:
            assert_close(in_chunks(engine, x[:1], [1] * length), (expected[0][:1], expected[1][:1]))
    pair.cache_clear()
    doubled.cache_clear()


def test_the_network_of_the_package_agrees_with_torch() -> None:
    model = load_model("starter")
    x = motion(model.info.network, 1500, batch=1)
    expected = by_torch(model.network, x)
    assert_close(model.engine(x), expected)
    assert_close(in_chunks(model.engine, x[:, :200], [1] * 200), by_torch(model.network, x[:, :200]))


@pytest.mark.parametrize("shape", SMALL)
@settings(deadline=None, max_examples=8)
@given(length=st.integers(1, 90), batch=st.integers(1, 5), seed=st.integers(0, 99))
def test_any_batch_of_any_length_agrees_with_torch(shape: str, length: int, batch: int, seed: int) -> None:
    network, engine = pair(SMALL[shape])
    x = motion(SMALL[shape], length, seed=seed, batch=batch)
    assert_close(engine(x), by_torch(network, x))


@pytest.mark.parametrize("shape", SMALL)
@settings(deadline=None, max_examples=12)
@given(
    sizes=st.lists(st.integers(0, 3) | st.integers(0, 40), min_size=1, max_size=8),
    batch=st.integers(1, 3),
    flush_alone=st.booleans(),
    seed=st.integers(0, 99),
)
def test_chunks_of_any_sizes_joined_are_one_pass(
    shape: str, sizes: list[int], batch: int, flush_alone: bool, seed: int
) -> None:
    network, engine = pair(SMALL[shape])
    x = motion(SMALL[shape], sum(sizes), seed=seed, batch=batch)
    got = in_chunks(engine, x, [*sizes, 0] if flush_alone else sizes)
    assert_close(got, by_torch(network, x))
    if sum(sizes):
        assert_close(got, engine(x))


@pytest.mark.parametrize("shape", SMALL)
def test_one_frame_at_a_time_is_one_pass(shape: str) -> None:
    network, engine = pair(SMALL[shape])
    x = motion(SMALL[shape], 67, batch=1)
    assert_close(in_chunks(engine, x, [1] * 67), by_torch(network, x))


@pytest.mark.parametrize("shape", SMALL)
def test_a_long_sequence_goes_through_in_pieces_that_nobody_sees(shape: str) -> None:
    network, engine = pair(SMALL[shape])
    x = motion(SMALL[shape], 1301, batch=2)
    assert_close(engine(x), by_torch(network, x))
    assert_close(in_chunks(engine, x, [700, 601]), by_torch(network, x))


def test_each_sample_of_a_large_batch_is_answered_alone() -> None:
    config = SMALL["slow-fast, separate"]
    _, engine = pair(config)
    x = motion(config, 30, batch=70)
    alone = [engine(sample[None]) for sample in x]
    assert_close(engine(x), (np.concatenate([a for a, _ in alone]), np.concatenate([b for _, b in alone])))


def test_motion_far_larger_than_in_training_agrees_with_torch() -> None:
    config = SMALL["slow-fast, shared"]
    network, engine = pair(config)
    x = 100 * motion(config, 60)
    assert_close(engine(x), by_torch(network, x))
    assert_close(in_chunks(engine, x, [1] * 60), by_torch(network, x))
