"""The selective scan's surroundings: bad input, compilation and its cache, threads, processes, torch's tracers."""

from __future__ import annotations

import platform
import re
import shutil
import sys

import numpy as np
import pytest
import torch

from helpers.benchmark_modules import CHECKOUT, benchmark_module
from helpers.rounding import assert_within_rounding
from metst.errors import DataError, UsageError
from metst.models.scan import reference_scan, selective, selective_scan
from metst.models.scan.checks import check_operands
from metst.models.scan.forward import one_step
from metst.models.scan.numpy_scan import Operands, StepParameters, run_forward
from metst.models.scan.operator import scan_operator

ROUNDING = 16
"""Units of rounding; none were seen in single precision and 1.4 in double precision."""

SHAPE = (2, 6, 5, 3)


def arrays(dtype: type[np.floating] = np.float32) -> dict[str, np.ndarray]:
    batch, length, width, states = SHAPE
    rng = np.random.default_rng(0)
    a = {
        "u": rng.standard_normal((batch, length, width)),
        "delta": rng.uniform(0, 1, (batch, length, width)),
        "A": -rng.uniform(0, 2, (width, states)),
        "B": rng.standard_normal((batch, length, states)),
        "C": rng.standard_normal((batch, length, states)),
        "D": rng.standard_normal(width),
        "z": rng.standard_normal((batch, length, width)),
    }
    return {name: operand.astype(dtype) for name, operand in a.items()}


def tensors() -> dict[str, torch.Tensor]:
    return {name: torch.tensor(operand) for name, operand in arrays().items()}


# Bad input


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["u", "delta", "A", "B", "C", "D", "z", "delta_bias", "initial_state"])
def test_values_that_are_not_finite_are_named_with_their_first_index(name: str, bad: float) -> None:
    a = tensors() | {"delta_bias": torch.zeros(5), "initial_state": torch.zeros(2, 5, 3)}
    flat = a[name].view(-1)
    flat[3] = flat[-1] = bad
    index = tuple(int(k) for k in np.unravel_index(3, a[name].shape))
    with pytest.raises(DataError, match=rf"^{name} must be finite, got -?(nan|inf) at index {re.escape(str(index))}$"):
        selective_scan(**a, delta_softplus=True)


def test_first_index_is_found_far_into_a_large_tensor() -> None:
    a = tensors()
    a["u"] = torch.zeros(2, 3000, 5)
    a["delta"], a["z"] = torch.ones_like(a["u"]), torch.ones_like(a["u"])
    a["B"] = a["C"] = torch.ones(2, 3000, 3)
    a["u"][1, 1234, 2] = torch.nan
    a["u"][1, 2999, 4] = torch.nan
    with pytest.raises(DataError, match=r"u must be finite, got nan at index \(1, 1234, 2\)"):
        selective_scan(**a)


def test_negative_steps_need_the_softplus_and_rates_must_not_be_positive() -> None:
    a = tensors()
    a["delta"][1, 2, 3] = -1e-3
    with pytest.raises(DataError, match=r"delta must not be negative without delta_softplus.*\(1, 2, 3\)"):
        selective_scan(**a)
    assert torch.isfinite(selective_scan(**a, delta_softplus=True)).all()
    assert torch.isfinite(selective_scan(**a, delta_bias=torch.full((5,), 0.1))).all()
    with pytest.raises(DataError, match=r"delta \+ delta_bias must not be negative.*\(0, 0, 0\)"):
        selective_scan(**a, delta_bias=torch.full((5,), -2.0))
    a = tensors()
    a["A"][2, 1] = 1e-6
    with pytest.raises(DataError, match=r"A must not be positive.*\(2, 1\)"):
        selective_scan(**a)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("u", (6, 5)),
        ("A", (5,)),
        ("delta", (2, 6, 4)),
        ("A", (4, 3)),
        ("B", (2, 5, 3)),
        ("C", (1, 6, 3)),
        ("D", (1,)),
        ("z", (2, 6, 5, 1)),
        ("delta_bias", (3,)),
        ("initial_state", (2, 3, 5)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"shape"):
        selective_scan(**tensors() | {name: -torch.ones(shape)}, delta_softplus=True)


@pytest.mark.parametrize("shape", [(0, 6, 5, 3), (2, 0, 5, 3), (2, 6, 0, 3), (2, 6, 5, 0)])
def test_empty_operands_are_refused(shape: tuple[int, int, int, int]) -> None:
    batch, length, width, states = shape
    u, maps = torch.ones(batch, length, width), torch.ones(batch, length, states)
    with pytest.raises(DataError, match="at least one"):
        selective_scan(u, u, -torch.ones(width, states), maps, maps, torch.ones(width))


@pytest.mark.parametrize("name", ["u", "A", "z"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64, torch.bfloat16])
def test_mixed_and_other_dtypes_are_refused(name: str, dtype: torch.dtype) -> None:
    a = tensors()
    with pytest.raises(DataError, match="float32, or all float64"):
        selective_scan(**a | {name: a[name].to(dtype)})
    if dtype != torch.float64:
        with pytest.raises(DataError, match="float32, or all float64"):
            selective_scan(**{name: operand.to(dtype) for name, operand in a.items()})


def test_operands_on_several_devices_are_refused() -> None:
    a = tensors()
    with pytest.raises(DataError, match="one device: B is on meta, u on cpu"):
        selective_scan(**a | {"B": a["B"].to("meta")})


@pytest.mark.parametrize("name", ["u", "delta", "z", "B", "C"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_step_with_a_number_that_is_none_is_not_done(name: str, value: float) -> None:
    a = arrays()
    of, state = StepParameters.of(a["A"], a["D"]), np.full((2, 3, 5), 0.25, np.float32)
    rows = {part: np.ascontiguousarray(a[part][:, 0]) for part in ("u", "delta", "z", "B", "C")}
    rows[name][1, 2] = value
    y = np.empty((2, 5), np.float32)
    assert not one_step(False, tuple(rows.values()), of.rate, of.skip, of.bias, state, y)
    assert (state == 0.25).all()


def test_a_step_backwards_in_time_is_not_done() -> None:
    a = arrays()
    of, state = StepParameters.of(a["A"], a["D"]), np.full((2, 3, 5), 0.25, np.float32)
    u, delta, z, B, C = (np.ascontiguousarray(a[part][:, 0]) for part in ("u", "delta", "z", "B", "C"))
    assert not one_step(False, (u, -delta, z, B, C), of.rate, of.skip, of.bias, state, np.empty_like(u))
    assert (state == 0.25).all()


def test_parameters_of_steps_need_rates_that_fall() -> None:
    with pytest.raises(DataError, match="A must not be positive"):
        StepParameters.of(np.ones((5, 3)), np.ones(5))


def test_checks_see_arrays_and_tensors_alike() -> None:
    check_operands(arrays())
    check_operands(tensors())


# Choice


@pytest.mark.parametrize(
    ("device", "dtype", "there", "options", "chosen"),
    [
        ("cpu", torch.float32, "", {}, "operator"),
        ("cpu", torch.float64, "", {}, "operator"),
        ("meta", torch.float32, "", {}, "operator"),
        ("cuda", torch.float32, "triton mamba-ssm", {"initial": True, "through_state": True}, "operator"),
        ("cuda", torch.float64, "triton mamba-ssm", {}, "definition"),
        ("cuda", torch.float32, "mamba-ssm", {}, "mamba-ssm"),
        ("cuda", torch.float32, "mamba-ssm", {"initial": True}, "definition"),
        ("cuda", torch.float32, "mamba-ssm", {"through_state": True}, "definition"),
        ("cuda", torch.float32, "", {}, "definition"),
        ("mps", torch.float32, "triton mamba-ssm", {}, "definition"),
    ],
)
def test_implementation_by_device_precision_and_what_is_there(
    device: str, dtype: torch.dtype, there: str, options: dict[str, bool], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selective, "_has_triton", lambda: "triton" in there)
    monkeypatch.setattr(selective, "_fused_scan", lambda: reference_scan if "mamba-ssm" in there else None)
    asked = {"initial": False, "through_state": False} | options
    assert selective.implementation(device, dtype, **asked) == chosen


@pytest.mark.parametrize("module", ["triton", "mamba_ssm"])
def test_what_cannot_be_imported_is_not_there(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for name in ("metst.models.scan.triton_scan", "metst.models.scan.triton_kernels"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = {"triton": selective._has_triton, "mamba_ssm": selective._fused_scan}[module]
    assert not found.__wrapped__()


def test_mixed_precision_is_scanned_in_single_precision() -> None:
    a = tensors()
    wanted = selective_scan(**{name: t.bfloat16().float() if t.ndim == 3 else t for name, t in a.items()})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = selective_scan(**{name: t.bfloat16() if t.ndim == 3 else t for name, t in a.items()})
    assert torch.equal(got, wanted)


# Operator


@pytest.mark.parametrize("keep", [True, False])
def test_operator_obeys_the_rules_of_torch(keep: bool) -> None:
    a = {name: tensor.requires_grad_() for name, tensor in tensors().items()}
    initial = torch.ones(2, 5, 3, requires_grad=True)
    optional = (a.pop("z"), torch.ones(5, requires_grad=True), initial)
    torch.library.opcheck(scan_operator, (list(a.values()), *optional, True, True, keep))
    torch.library.opcheck(scan_operator, (list(a.values()), None, None, None, False, False, keep))


HAS_COMPILER = shutil.which("g++") is not None or shutil.which("clang++") is not None
INDUCTOR = pytest.param(
    "inductor",
    marks=[pytest.mark.slow, pytest.mark.skipif(not HAS_COMPILER, reason="it needs a C++ compiler")],
)


@pytest.mark.parametrize("backend", ["aot_eager", INDUCTOR])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:torch")
def test_compiled_by_torch_it_gives_the_same_values_and_gradients(backend: str) -> None:
    def loss(a: dict[str, torch.Tensor]) -> torch.Tensor:
        y, state = selective_scan(**a, delta_softplus=True, return_last_state=True)
        return (y * 2).sum() + state.square().sum()

    eager, traced = ({k: t.requires_grad_() for k, t in tensors().items()} for _ in range(2))
    loss(eager).backward()
    torch.compile(loss, fullgraph=True, backend=backend)(traced).backward()
    for name in eager:
        assert_within_rounding(traced[name].grad, eager[name].grad, units=ROUNDING)


def test_exported_program_contains_the_operator_and_gives_the_same_bits() -> None:
    class Scan(torch.nn.Module):
        def forward(self, u: torch.Tensor, delta: torch.Tensor, B: torch.Tensor, C: torch.Tensor) -> torch.Tensor:
            A, D = -torch.ones(5, 3), torch.ones(5)
            return selective_scan(u, delta, A, B, C, D, delta_softplus=True)

    a = tensors()
    inputs = tuple(a[name] for name in ("u", "delta", "B", "C"))
    length = torch.export.Dim("length", min=2, max=100)
    program = torch.export.export(Scan(), inputs, dynamic_shapes=tuple({1: length} for _ in inputs))
    assert "metst.selective_scan" in str(program.graph)
    longer = tuple(torch.cat([tensor] * 8, dim=1) for tensor in inputs)
    assert torch.equal(program.module()(*longer), Scan()(*longer))


def test_only_differentiable_once_and_says_so() -> None:
    a = {name: tensor.requires_grad_() for name, tensor in tensors().items()}
    (gradient,) = torch.autograd.grad(selective_scan(**a).sum(), a["u"], create_graph=True)
    with pytest.raises(UsageError, match="once"):
        gradient.sum().backward()


def test_a_loss_of_the_last_state_alone_has_gradients() -> None:
    wanted, got = ({name: tensor.double().requires_grad_() for name, tensor in tensors().items()} for _ in range(2))
    reference_scan(**wanted)[1].square().sum().backward()
    selective_scan(**got, return_last_state=True)[1].square().sum().backward()
    for name, tensor in got.items():
        reference = torch.zeros_like(tensor) if wanted[name].grad is None else wanted[name].grad
        assert_within_rounding(tensor.grad, reference, units=ROUNDING)


def test_initial_state_of_the_caller_is_not_changed() -> None:
    initial = torch.ones(2, 3, 5).transpose(1, 2)
    _, last = selective_scan(**tensors(), initial_state=initial, return_last_state=True)
    assert (initial == 1).all()
    assert not torch.equal(last, initial)


def test_the_peak_that_the_benchmark_compares_with_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(CHECKOUT / "benchmarks")
    few, many = (benchmark_module("scan").vector_peak(rounds=rounds) for rounds in (2_000, 20_000))
    assert 1e7 < few < 1e12
    assert 1e7 < many < 1e12


# Denormal numbers


X86 = platform.machine().lower() in ("x86_64", "amd64")


@pytest.mark.skipif(not X86, reason="other processors keep denormal numbers, at full speed")
def test_states_decay_to_zero_instead_of_lingering_as_denormals() -> None:
    zeros, maps = np.zeros((1, 20_000, 3), np.float32), np.ones((1, 20_000, 2), np.float32)
    state = np.ones((1, 2, 3), np.float32)
    operands = Operands(zeros, zeros + 1, np.full((3, 2), -0.01, np.float32), maps, maps, zeros[0, 0])
    run_forward(operands, delta_softplus=False, state=state, keep=False, threads=1)
    assert (state == 0).all()
    assert np.float32(1e-40) * np.ones(1, np.float32) > 0  # the thread's own arithmetic is as before
