"""The engine's border: which weights and motion it takes, what it refuses and how; memory, threads, torch left out."""

import threading
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
import torch

from helpers.rounding import assert_within_rounding
from metst.config import NetworkConfig
from metst.errors import CheckpointError, DataError
from metst.models.engine import Engine
from metst.models.engine.tensors import tensor_shapes
from metst.models.networks import PUBLISHED, StateTransitionNetwork

Array = npt.NDArray[np.float32]

CONFIG = NetworkConfig(
    name="small", in_channels=4, width=8, blocks=3, d_state=4, classes=3, slow_fast=True, pathways="separate"
)
CONFIGS = {
    **PUBLISHED,
    "small": CONFIG,
    "odd": NetworkConfig(
        name="odd", in_channels=3, width=17, blocks=2, d_state=5, d_conv=1, expand=3, classes=2, slow_fast=False
    ),
}


@pytest.fixture
def weights() -> dict[str, Array]:
    torch.manual_seed(5)
    return {name: value.numpy() for name, value in StateTransitionNetwork(CONFIG).state_dict().items()}


@pytest.fixture
def engine(weights: dict[str, Array]) -> Engine:
    return Engine(CONFIG, weights, where="the test")


def motion(length: int, *, batch: int = 1) -> Array:
    return np.random.default_rng(0).standard_normal((batch, length, 4)).astype(np.float32)


# Weights


@pytest.mark.parametrize("name", CONFIGS)
def test_the_weights_wanted_are_those_of_the_torch_module(name: str) -> None:
    with torch.device("meta"):
        state = StateTransitionNetwork(CONFIGS[name]).state_dict()
    assert tensor_shapes(CONFIGS[name]) == {key: tuple(value.shape) for key, value in state.items()}


def test_weights_that_do_not_fit_are_named(weights: dict[str, Array]) -> None:
    lacking = {name: value for name, value in weights.items() if name != "pathways.1.slow.2.0.mixer.D"}
    with pytest.raises(CheckpointError, match=r"^here does not fit.*1 missing \(pathways.1.slow.2.0.mixer.D\)"):
        Engine(CONFIG, lacking, where="here")
    with pytest.raises(CheckpointError, match=r"1 unexpected \(more\)"):
        Engine(CONFIG, weights | {"more": np.zeros(1, np.float32)}, where="here")
    with pytest.raises(CheckpointError, match=r"spot_head.bias is \(2,\), not \(1,\)"):
        Engine(CONFIG, weights | {"spot_head.bias": np.zeros(2, np.float32)}, where="here")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("spot_head.bias", np.zeros(1), "spot_head.bias must be float32, is float64"),
        ("stem.0.conv.bias", np.full(8, np.nan, np.float32), "stem.0.conv.bias has numbers that are not finite"),
        ("stem.1.norm.running_var", np.full(8, -1, np.float32), "stem.1.norm.running_var must not be negative, got -1"),
        ("pathways.0.fast.0.0.mixer.A_log", np.full((16, 4), 99, np.float32), "A_log is too large"),
    ],
)
def test_weights_with_values_of_no_use_are_named(
    weights: dict[str, Array], name: str, value: Array, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        Engine(CONFIG, weights | {name: value}, where="here")


def test_weights_may_change_afterwards(engine: Engine, weights: dict[str, Array]) -> None:
    x = motion(20)
    before = engine(x)
    for value in weights.values():
        value.fill(0)
    for got, expected in zip(engine(x), before, strict=True):
        np.testing.assert_array_equal(got, expected)


# Motion


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((1, 5, 36), np.float32),
        np.zeros((1, 4, 5), np.float32),
        np.zeros((5, 4), np.float32),
        np.zeros((1, 5, 4)),
        np.zeros((1, 5, 4), np.int16),
    ],
)
def test_motion_of_other_channels_axes_or_numbers_is_refused(engine: Engine, x: Array) -> None:
    for use in (engine, lambda x: engine.advance(x, None, last=False)):
        with pytest.raises(DataError, match=r"small expects motion \(B, T, 4\) of float32, got \("):
            use(x)


def test_nothing_to_score_is_refused_but_an_empty_chunk_is_not(engine: Engine) -> None:
    with pytest.raises(DataError, match="at least one frame"):
        engine(motion(0))
    with pytest.raises(DataError, match="at least one sequence"):
        engine(motion(5)[:0])
    score, logits, state = engine.advance(motion(0), None, last=False)
    assert score.shape == (1, 0)
    assert logits.shape == (1, 0, 3)
    assert engine.advance(motion(0), state, last=True)[0].shape == (1, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_named_by_its_frame_in_the_stream(engine: Engine, value: float) -> None:
    x = motion(30, batch=2)
    expected, _ = engine(x)
    first, _, state = engine.advance(x[:, :20], None, last=False)
    bad = x[:, 20:].copy()
    bad[1, 3, 2] = value
    with pytest.raises(DataError, match=rf"got {value} in frame 23, channel 2 of sequence 1"):
        engine.advance(bad, state, last=True)
    rest, _, _ = engine.advance(x[:, 20:], state, last=True)  # what was refused has changed nothing
    assert_within_rounding(np.concatenate([first, rest], axis=1), expected, units=8)


@pytest.mark.parametrize("length", [1, 40])
def test_numbers_that_grow_beyond_all_bounds_are_an_error(weights: dict[str, Array], length: int) -> None:
    engine = Engine(CONFIG, weights | {"stem.0.norm.weight": np.full(8, 1e6, np.float32)}, where="the test")
    assert np.isfinite(engine(motion(length))[0]).all()
    with pytest.raises(DataError, match="check the scale of the motion"):
        engine(1e38 * np.sign(motion(length)))


def test_a_stream_keeps_its_number_of_sequences(engine: Engine) -> None:
    _, _, state = engine.advance(motion(5, batch=2), None, last=False)
    with pytest.raises(DataError, match="expected the next frames of 2 sequences, got 1"):
        engine.advance(motion(5), state, last=False)


def test_motion_may_lie_in_memory_as_it_likes_and_stays_as_it_is(engine: Engine) -> None:
    x = motion(50, batch=3)
    expected, _ = engine(x)
    turned = np.asfortranarray(x)
    every_second = np.repeat(x, 2, axis=1)[:, ::2]
    for other in (turned, every_second):
        assert_within_rounding(engine(other)[0], expected, units=8)
    x.flags.writeable = False
    assert_within_rounding(engine(x)[0], expected, units=8)


def test_results_are_the_callers_own(engine: Engine) -> None:
    """Buffers are used again; what was returned must not be one."""
    x = motion(12)
    _, _, state = engine.advance(x[:, :6], None, last=False)
    score, logits, state = engine.advance(x[:, 6:8], state, last=False)
    kept = score.copy(), logits.copy()
    engine.advance(x[:, 8:10], state, last=False)
    np.testing.assert_array_equal(score, kept[0])
    np.testing.assert_array_equal(logits, kept[1])


# Memory and threads


def peak_bytes(engine: Engine, length: int) -> int:
    """Most memory of arrays while scoring, less what goes in and comes out."""
    x = motion(length)
    tracemalloc.start()
    try:
        score, logits = engine(x)
        return tracemalloc.get_traced_memory()[1] - 2 * (score.nbytes + logits.nbytes)
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_length(engine: Engine) -> None:
    engine(motion(2000))  # compiled and imported
    assert peak_bytes(engine, 40_000) <= 1.05 * peak_bytes(engine, 4_000)


def test_one_engine_serves_several_threads(engine: Engine) -> None:
    inputs = [motion(length) for length in (40, 90, 333, 700)]
    expected = [engine(x)[0] for x in inputs]
    got: dict[int, Array] = {}

    def score(index: int) -> None:
        for _ in range(5):
            got[index] = engine(inputs[index])[0]

    threads = [threading.Thread(target=score, args=(index,)) for index in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, answer in enumerate(expected):
        np.testing.assert_array_equal(got[index], answer)


def test_more_threads_give_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    config = PUBLISHED["metst-2024"]
    weights = {name: value.numpy() for name, value in StateTransitionNetwork(config).state_dict().items()}
    x = np.random.default_rng(1).standard_normal((1, 700, 10)).astype(np.float32)
    engine, answers = Engine(config, weights, where="the test"), []
    for count in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", count)
        answers.append(engine(x))
    for one, two in zip(*answers, strict=True):
        assert_within_rounding(two, one, units=8)
