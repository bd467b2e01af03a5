"""The selective scan against a float64 loop written here, closed forms, and numerical gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.scans import GRADIENT_TOLERANCE, VALUE_TOLERANCE, Array, distance, loop, operands, tensors
from metst.models.scan.forward import one_step
from metst.models.scan.numpy_scan import Operands, StepParameters, run_forward
from metst.models.scan.rows import count_remembered
from metst.models.scan.selective import _on_gpu, reference_scan, selective_scan

SHAPES = [(1, 1, 1, 1), (2, 1, 3, 2), (2, 2, 64, 16), (1, 31, 65, 5), (3, 32, 7, 64), (2, 33, 130, 3), (1, 97, 64, 17)]
OPTIONS = [
    {},
    {"gate": True, "bias": True},
    {"initial": True, "softplus": False},
    {"gate": True, "bias": True, "initial": True},
    {"gate": True, "bias": True, "softplus": False},
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", OPTIONS)
def test_values_equal_those_of_the_loop(shape: tuple[int, int, int, int], options: dict[str, bool]) -> None:
    a, softplus = operands(shape, **options), options.get("softplus", True)
    y, state = loop(a, delta_softplus=softplus)
    for function in (selective_scan_arrays, reference_arrays):
        found_y, found_state = function(a, delta_softplus=softplus)
        assert distance(found_y, y) < VALUE_TOLERANCE
        assert distance(found_state, state) < VALUE_TOLERANCE


def selective_scan_arrays(a: dict[str, Array], *, delta_softplus: bool) -> tuple[Array, Array]:
    y, state = selective_scan(**tensors(a), delta_softplus=delta_softplus, return_last_state=True)
    return y.numpy(), state.numpy()


def reference_arrays(a: dict[str, Array], *, delta_softplus: bool) -> tuple[Array, Array]:
    y, state = reference_scan(**tensors(a), delta_softplus=delta_softplus)
    return y.numpy(), state.numpy()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", OPTIONS)
def test_gradients_equal_those_of_the_float64_loop(shape: tuple[int, int, int, int], options: dict[str, bool]) -> None:
    a, softplus = operands(shape, **options), options.get("softplus", True)
    rng = np.random.default_rng(1)
    weights = [torch.tensor(rng.standard_normal(s)) for s in (a["u"].shape, (shape[0], shape[2], shape[3]))]
    fast, exact = tensors(a, grad=True), tensors(a, grad=True, dtype=torch.float64)
    y, state = selective_scan(**fast, delta_softplus=softplus, return_last_state=True)
    y64, state64 = reference_scan(**exact, delta_softplus=softplus)
    torch.autograd.backward([y, state], [w.float() for w in weights])
    torch.autograd.backward([y64, state64], weights)
    for name in a:
        assert distance(fast[name].grad, exact[name].grad) < GRADIENT_TOLERANCE, name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_states_that_are_forgotten_at_every_step_have_the_gradients_of_the_loop(dtype: type[np.floating]) -> None:
    """Mamba's rates and steps of ln 2, as the published networks start: state ``n`` is divided by ``2**n``.

    Over two chunks, so that a gradient comes in from behind; in the wide block some are forgotten, in the other, which
    has lanes to spare, none.
    """
    a = operands((2, 37, 70, 64), gate=True, bias=True, initial=True)
    a["A"] = -np.tile(np.arange(1.0, 65.0, dtype=np.float32), (70, 1))
    a["A"][:, [3, 40]] = a["A"][:, [40, 3]]  # a fast one among the slow and a slow one among the fast
    a["delta"] *= np.float32(0.05)
    a["delta_bias"][:] = 0.05
    step, rate = np.full((37, 64), np.log(2.0), dtype), np.ascontiguousarray(a["A"][:64].T / np.log(2.0)).astype(dtype)
    assert 40 < count_remembered(step, rate, np.empty((1, 64), dtype), 37) < 64
    fast, exact = tensors(a, grad=True, dtype=torch.from_numpy(step).dtype), tensors(a, grad=True, dtype=torch.float64)
    weights = [
        torch.sin(torch.arange(size)).reshape(shape) for size, shape in ((5180, (2, 37, 70)), (8960, (2, 70, 64)))
    ]
    for named, scan in ((fast, selective_scan), (exact, reference_scan)):
        options = {"return_last_state": True} if scan is selective_scan else {}
        y, state = scan(**named, delta_softplus=True, **options)
        torch.autograd.backward([y, state], [weight.to(y.dtype) for weight in weights])
    tolerance = GRADIENT_TOLERANCE if dtype is np.float32 else 1e-12
    for name in a:
        assert distance(fast[name].grad, exact[name].grad) < tolerance, name


@pytest.mark.parametrize("state_is_returned", [False, True])
def test_numerical_gradients(state_is_returned: bool) -> None:
    a = tensors(operands((2, 35, 2, 2), gate=True, bias=True, initial=True, dtype=np.float64), grad=True)

    def scan(*values: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        named = dict(zip(a, values, strict=True))
        return selective_scan(**named, delta_softplus=True, return_last_state=state_is_returned)

    assert torch.autograd.gradcheck(scan, tuple(a.values()))


def constant_operands(length: int, *, step: float, dtype: type[np.floating]) -> dict[str, Array]:
    width, states = 3, 4
    a = {
        "u": np.broadcast_to([1.0, -2.0, 0.5], (1, length, width)),
        "delta": np.full((1, length, width), step),
        "A": -np.outer([1.0, 0.25, 3.0], [0.0, 0.5, 1.0, 2.0]),
        "B": np.broadcast_to([1.0, 0.5, -1.0, 2.0], (1, length, states)),
        "C": np.broadcast_to([0.5, 1.0, 1.5, -1.0], (1, length, states)),
        "D": np.array([0.1, 0.2, 0.3]),
        "initial_state": np.full((1, width, states), 0.75),
    }
    return {name: np.array(operand, dtype=dtype) for name, operand in a.items()}


def closed_form(a: dict[str, Array], length: int) -> Array:
    """Last state for constant inputs: ``exp(T s A) h_0 + s B u expm1(T s A) / expm1(s A)``, exact at ``A = 0``."""
    a = {name: operand.astype(np.float64) for name, operand in a.items()}
    exponent = a["delta"][0, 0, :, None] * a["A"]
    drive = (a["delta"][0, 0] * a["u"][0, 0])[:, None] * a["B"][0, 0]
    fed = np.where(exponent == 0, length, np.expm1(length * exponent) / np.where(exponent == 0, 1, np.expm1(exponent)))
    return np.exp(length * exponent) * a["initial_state"][0] + drive * fed


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, VALUE_TOLERANCE)])
@pytest.mark.parametrize("length", [1, 37, 400])
def test_closed_form_for_constant_inputs(dtype: type[np.floating], tolerance: float, length: int) -> None:
    a = constant_operands(length, step=0.125, dtype=dtype)
    y, state = selective_scan_arrays(a, delta_softplus=False)
    wanted = closed_form(a, length)
    assert distance(state[0], wanted) < tolerance
    output = (wanted * a["C"][0, -1]).sum(-1) + a["D"] * a["u"][0, -1]
    assert np.abs(y[0, -1] - output).max() < tolerance * np.abs(wanted).max() * 4


def test_zero_steps_change_nothing_and_huge_steps_forget_everything() -> None:
    a = operands((1, 40, 5, 6), initial=True, softplus=False)
    a["delta"][:] = 0
    y, state = selective_scan_arrays(a, delta_softplus=False)
    np.testing.assert_array_equal(state, a["initial_state"])
    assert distance(y, loop(a, delta_softplus=False)[0]) < VALUE_TOLERANCE
    for huge in (1e3, 1e8, 1e30):
        a["delta"][:, ::7] = huge
        y, state = selective_scan_arrays(a, delta_softplus=False)
        exact_y, exact_state = loop(a, delta_softplus=False)
        assert distance(y, exact_y) < VALUE_TOLERANCE
        assert distance(state, exact_state) < VALUE_TOLERANCE


@pytest.mark.parametrize("steps", ["constant", "varying", "softplus"])
def test_fifty_thousand_steps_of_slow_decay(steps: str) -> None:
    """Memories of 2 to 10,000 steps."""
    length, width, states = 50_000, 6, 4
    a = operands((1, length, width, states), softplus=False)
    a["A"] = -np.tile(np.arange(1, states + 1, dtype=np.float32), (width, 1))
    rates = np.geomspace(1e-4, 1e-1, width)
    spread = np.random.default_rng(2).uniform(0.5, 1.5, (1, length, width)) if steps == "varying" else 1.0
    a["delta"] = (rates * spread * np.ones((1, length, width))).astype(np.float32)
    if steps == "softplus":
        a["delta"] = np.log(np.expm1(a["delta"].astype(np.float64))).astype(np.float32)
    y, state = selective_scan_arrays(a, delta_softplus=steps == "softplus")
    exact_y, exact_state = loop(a, delta_softplus=steps == "softplus")
    assert distance(y, exact_y) < VALUE_TOLERANCE
    assert distance(state, exact_state) < VALUE_TOLERANCE


def test_gradients_of_a_long_sequence() -> None:
    a = operands((1, 5000, 3, 4), softplus=False, gate=True)
    a["delta"] *= np.float32(0.05)
    fast, exact = tensors(a, grad=True), tensors(a, grad=True, dtype=torch.float64)
    selective_scan(**fast).square().sum().backward()
    reference_scan(**exact)[0].square().sum().backward()
    for name in a:
        assert distance(fast[name].grad, exact[name].grad) < GRADIENT_TOLERANCE, name


def test_steps_one_by_one_give_the_bits_of_the_scan() -> None:
    a = operands((2, 41, 70, 5), gate=True, bias=True)
    last, state = (np.zeros((2, 5, 70), np.float32) for _ in range(2))
    whole = run_forward(Operands(**a), delta_softplus=True, state=last, keep=False, threads=1).y
    of = StepParameters.of(a["A"], a["D"], delta_bias=a["delta_bias"])
    for t in range(41):
        u, delta, z, B, C = (np.ascontiguousarray(a[name][:, t]) for name in ("u", "delta", "z", "B", "C"))
        y = np.empty_like(u)
        assert one_step(True, (u, delta, z, B, C), of.rate, of.skip, of.bias, state, y)
        np.testing.assert_array_equal(y, whole[:, t])
    np.testing.assert_array_equal(state, last)


def test_gpu_kernel_gets_time_last_and_its_result_comes_back() -> None:
    """With a stand-in for the CUDA kernel that has its axes and checks them."""
    a = tensors(operands((2, 9, 4, 3), gate=True, bias=True))

    def stand_in(
        u: torch.Tensor,
        delta: torch.Tensor,
        A: torch.Tensor,
        B: torch.Tensor,
        C: torch.Tensor,
        D: torch.Tensor,
        *,
        z: torch.Tensor,
        delta_bias: torch.Tensor,
        delta_softplus: bool,
        return_last_state: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert return_last_state
        assert u.shape == (2, 4, 9)
        assert B.shape == (2, 3, 9)
        assert all(t.is_contiguous() for t in (u, delta, B, C, z))
        turned = (t.transpose(1, 2) for t in (u, delta, B, C, z))
        u, delta, B, C, z = turned
        y, state = reference_scan(u, delta, A, B, C, D, z=z, delta_bias=delta_bias, delta_softplus=delta_softplus)
        return y.transpose(1, 2), state

    y, state = _on_gpu(stand_in, a, delta_softplus=True)
    wanted_y, wanted_state = selective_scan(**a, delta_softplus=True, return_last_state=True)
    assert distance(y, wanted_y) < VALUE_TOLERANCE
    assert distance(state, wanted_state) < VALUE_TOLERANCE
