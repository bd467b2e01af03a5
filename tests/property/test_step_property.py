"""The one-step form of the networks: rows joined are one pass over the whole sequence."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.rounding import assert_within_rounding
from helpers.shaken_networks import shaken
from metst.config import NetworkConfig
from metst.models.checkpoint import load_model
from metst.models.networks import PUBLISHED, State
from metst.models.step import OneStep

ROUNDING = 64
"""Units of rounding between the two forms in single precision; 42 were seen in logits of size 3 (`metst-plus`)."""

# Time steps start as in the own networks: from the published start, networks this small have layers whose norm
# divides by next to nothing, and the rounding of either form grows (297 units were seen between them, 259 to doubles).
SMALL = {"width": 8, "blocks": 3, "d_state": 4, "time_step_start": "log-uniform"}
FORMS = ("metst", "metst-plus", "boosting-vrme")  # metst-2024 differs from metst in width alone


def one_step(config: NetworkConfig, *, by: float) -> OneStep:
    return OneStep(shaken(config, seed=5, by=lambda _: by))


STEPS = {name: one_step(PUBLISHED[name].model_copy(update=SMALL), by=0.1) for name in FORMS}


def motion(step: OneStep, length: int, *, batch: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, step.network.config.in_channels, length, generator=generator)


@torch.inference_mode()
def stepped(step: OneStep, x: torch.Tensor, *, lengths: list[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Scores and logits of each sequence; the steps after its end get no numbers at all."""
    state: State = step.initial_state(len(x))
    rows = []
    for t in range(x.shape[2] + step.delay):
        present = torch.tensor([t < length for length in lengths])
        frame = x[:, :, min(t, x.shape[2] - 1)].clone()
        frame[~present] = float("nan")
        score, logits, valid, state = step(frame, present, state)
        assert valid.tolist() == [step.delay <= t < length + step.delay for length in lengths]
        rows.append((score, logits))
    scores, logits = (torch.stack(parts, dim=1)[:, step.delay :] for parts in zip(*rows, strict=True))
    return [(scores[i, :length], logits[i, :length]) for i, length in enumerate(lengths)]


def assert_is_one_pass(step: OneStep, x: torch.Tensor, *, lengths: list[int]) -> None:
    for i, got in enumerate(stepped(step, x, lengths=lengths)):
        with torch.inference_mode():
            expected = step.network(x[i : i + 1, :, : lengths[i]])
        for one, other in zip(got, expected, strict=True):
            assert_within_rounding(one, other[0], units=ROUNDING)


@pytest.mark.parametrize("name", FORMS)
@settings(deadline=None, max_examples=8)
@given(lengths=st.lists(st.integers(1, 16), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_rows_of_all_steps_are_one_pass(name: str, lengths: list[int], seed: int) -> None:
    step = STEPS[name]
    assert_is_one_pass(step, motion(step, max(lengths), batch=len(lengths), seed=seed), lengths=lengths)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_a_sequence_shorter_than_the_look_ahead_is_answered(name: str, length: int) -> None:
    assert_is_one_pass(STEPS[name], motion(STEPS[name], length), lengths=[length, length])


@pytest.mark.parametrize("name", ["metst-2024", "metst"])
def test_networks_of_full_size(name: str) -> None:
    step = one_step(PUBLISHED[name], by=0.02)
    assert_is_one_pass(step, motion(step, 25, batch=1), lengths=[25])


def test_the_packaged_model() -> None:
    step = OneStep(load_model("starter").network)
    assert_is_one_pass(step, 3 * motion(step, 40, batch=1), lengths=[40])


@pytest.mark.parametrize("name", FORMS)
def test_a_step_leaves_its_state_as_it_was(name: str) -> None:
    step = STEPS[name]
    frame, present = motion(step, 1)[:, :, 0], torch.ones(2, dtype=torch.bool)
    with torch.inference_mode():
        _, _, _, state = step(frame, present, step.initial_state(2))
        kept = {key: value.clone() for key, value in state.items()}
        _, _, _, after = step(frame, present, state)
    assert list(after) == list(state)
    assert all(torch.equal(state[key], kept[key]) for key in kept)
    assert all(after[key].shape == kept[key].shape for key in kept)
