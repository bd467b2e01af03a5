"""Invariants of the selective scan on random shapes, options, memory layouts, pieces and numbers of threads."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metst.models.scan import pool as scan_threads
from metst.models.scan import reference_scan, selective_scan
from metst.models.scan.numpy_scan import Operands, run_backward, run_forward, scan_numpy, zero_state

Array = npt.NDArray[np.floating]
QUICK = settings(max_examples=40, deadline=None)


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Array], bool]:
    """Operands of a scan and whether the step sizes need the softplus."""
    batch, states = draw(st.integers(1, 3)), draw(st.integers(1, 19))
    length = draw(st.sampled_from([1, 2, 31, 32, 33, 64, 67, 97]) | st.integers(1, 100))
    width = draw(st.sampled_from([1, 15, 63, 64, 65, 128, 130]) | st.integers(1, 140))
    softplus = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.0, 1e-3, 0.1, 1.0, 50.0]))
    a = {
        "u": rng.standard_normal((batch, length, width)),
        "delta": rng.standard_normal((batch, length, width)) * max(scale, 0.1),
        "A": -rng.uniform(0, 4, (width, states)),
        "B": rng.standard_normal((batch, length, states)),
        "C": rng.standard_normal((batch, length, states)),
        "D": rng.standard_normal(width),
    }
    if not softplus:
        a["delta"] = rng.uniform(0, scale, (batch, length, width)) if scale else np.zeros((batch, length, width))
    if draw(st.booleans()):
        a["z"] = rng.standard_normal((batch, length, width)) * 3
    if draw(st.booleans()):
        a["delta_bias"] = np.abs(rng.standard_normal(width))
    return {name: operand.astype(np.float32) for name, operand in a.items()}, softplus


def tensors(a: dict[str, Array], *, initial: bool, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """With an initial state where wanted."""
    named = {name: torch.tensor(operand, dtype=dtype) for name, operand in a.items()}
    if initial:
        named["initial_state"] = torch.ones(a["u"].shape[0], *a["A"].shape, dtype=dtype)
    return named


def magnitudes(exact: dict[str, torch.Tensor], *, delta_softplus: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and state when no terms cancel: what rounding errors are proportional to."""
    signed = {"A", "delta", "delta_bias", "z"}
    positive = {name: operand if name in signed else operand.abs() for name, operand in exact.items()}
    y, state = reference_scan(**positive, delta_softplus=delta_softplus)
    return y.abs().max(), state.max()


@QUICK
@given(cases(), st.booleans())
def test_float32_values_are_close_to_the_float64_loop(case: tuple[dict[str, Array], bool], initial: bool) -> None:
    a, softplus = case
    y, state = selective_scan(
        **tensors(a, initial=initial, dtype=torch.float32), delta_softplus=softplus, return_last_state=True
    )
    exact = tensors(a, initial=initial, dtype=torch.float64)
    y64, state64 = reference_scan(**exact, delta_softplus=softplus)
    y_scale, state_scale = magnitudes(exact, delta_softplus=softplus)
    assert (y - y64).abs().max() <= 2e-6 * y_scale
    assert (state - state64).abs().max() <= 2e-6 * state_scale


@QUICK
@given(cases(), st.booleans())
def test_float64_gradients_are_those_of_the_loop(case: tuple[dict[str, Array], bool], initial: bool) -> None:
    a, softplus = case
    fast, slow = (tensors(a, initial=initial, dtype=torch.float64) for _ in range(2))
    for operand in (*fast.values(), *slow.values()):
        operand.requires_grad_()
    for operands, (y, state) in (
        (fast, selective_scan(**fast, delta_softplus=softplus, return_last_state=True)),
        (slow, reference_scan(**slow, delta_softplus=softplus)),
    ):
        torch.autograd.backward([y, state], [torch.sin(operands["u"].detach() * 7), torch.ones_like(state)])
    for name, operand in slow.items():
        torch.testing.assert_close(fast[name].grad, operand.grad, rtol=1e-9, atol=1e-9, msg=name)


@QUICK
@given(cases(), st.lists(st.integers(1, 99), max_size=4))
def test_pieces_with_carried_state_give_the_bits_of_the_whole(
    case: tuple[dict[str, Array], bool], cuts: list[int]
) -> None:
    a, softplus = case
    batch, length, width = a["u"].shape
    whole_state, state = (zero_state(batch, width, states=a["A"].shape[1]) for _ in range(2))
    whole = scan_numpy(Operands(**a), delta_softplus=softplus, state=whole_state)
    edges = sorted({0, length, *(cut for cut in cuts if cut < length)})
    pieces = []
    for first, last in itertools.pairwise(edges):
        piece = {name: v[:, first:last] if v.ndim == 3 else v for name, v in a.items()}
        pieces.append(scan_numpy(Operands(**piece), delta_softplus=softplus, state=state))
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)
    np.testing.assert_array_equal(state, whole_state)


@pytest.fixture
def small_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wakes threads for the smallest work too."""
    monkeypatch.setattr(scan_threads, "_SMALLEST_SHARE", 1)


@pytest.mark.usefixtures("small_shares")
def test_threads_do_not_change_a_bit() -> None:
    @QUICK
    @given(cases(), st.integers(2, 5))
    def check(case: tuple[dict[str, Array], bool], threads: int) -> None:
        a, softplus = case
        results = [everything(a, softplus, threads=n) for n in (1, threads)]
        for name, alone in results[0].items():
            np.testing.assert_array_equal(results[1][name], alone, err_msg=name)

    check()


def everything(a: dict[str, Array], softplus: bool, *, threads: int) -> dict[str, Array]:
    """Output, state and gradients with a number of threads."""
    operands = Operands(**a)
    batch, _, width = a["u"].shape
    state = np.full((batch, a["A"].shape[1], width), 0.5, np.float32)
    initial, grad_state = state.copy(), np.ones_like(state)
    outputs = run_forward(operands, delta_softplus=softplus, state=state, keep=True, threads=threads)
    gradients = run_backward(
        operands,
        outputs,
        delta_softplus=softplus,
        initial=initial,
        grad_y=np.ones_like(a["u"]),
        grad_state=grad_state,
        threads=threads,
    )
    return {"y": outputs.y, "state": state, "grad_state": grad_state} | {f"grad_{k}": g for k, g in gradients.items()}


@QUICK
@given(cases(), st.randoms(use_true_random=False))
def test_memory_layout_does_not_change_a_bit(case: tuple[dict[str, Array], bool], random: object) -> None:
    a, softplus = case
    plain = tensors(a, initial=True, dtype=torch.float32)
    scattered = {name: layout(tensor, random.choice(["turned", "spread", "plain"])) for name, tensor in plain.items()}
    wanted = selective_scan(**plain, delta_softplus=softplus)
    assert torch.equal(selective_scan(**scattered, delta_softplus=softplus), wanted)


def layout(tensor: torch.Tensor, kind: str) -> torch.Tensor:
    """The same values, not contiguous."""
    if kind == "turned" and tensor.ndim > 1:
        return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
    if kind == "spread":
        wide = torch.full((*tensor.shape, 2), torch.nan)
        wide[..., 1] = tensor
        return wide[..., 1]
    return tensor


@QUICK
@given(cases())
def test_state_layout_and_read_only_inputs_do_not_change_a_bit(case: tuple[dict[str, Array], bool]) -> None:
    a, softplus = case
    batch, _, width = a["u"].shape
    resident, plain = zero_state(batch, width, states=a["A"].shape[1]), np.zeros((batch, *a["A"].shape), np.float32)
    for operand in a.values():
        operand.flags.writeable = False
    wanted = scan_numpy(Operands(**a), delta_softplus=softplus, state=resident)
    np.testing.assert_array_equal(scan_numpy(Operands(**a), delta_softplus=softplus, state=plain), wanted)
    np.testing.assert_array_equal(plain, resident)
