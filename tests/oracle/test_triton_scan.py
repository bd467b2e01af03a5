"""The scan's kernels for a graphics processor against the float64 loop and its gradients.

On a machine without one they run in Triton's interpreter (``TRITON_INTERPRET``, see ``conftest.py``), on tensors of the
processor: the torch operator has them in place of the compiled loops for as long as these tests last.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from helpers.scans import GRADIENT_TOLERANCE, VALUE_TOLERANCE, Array, distance, loop, operands, tensors
from metst.models.scan import numpy_scan, reference_scan, selective_scan
from metst.models.scan.operator import scan_operator

pytest.importorskip("triton", reason="Triton comes with the CUDA builds of torch, or by itself: pip install triton")

KERNELS, HALVES = "metst.models.scan.triton_kernels", "metst.models.scan.triton_scan"
CHUNK = 4
"""Steps of a chunk here: the interpreter takes some 50 ms for one step of one program."""

SHAPES = [(1, 1, 1, 1), (2, 1, 3, 2), (1, 4, 33, 3), (2, 5, 7, 16), (1, 9, 40, 17), (1, 6, 2, 64), (3, 8, 31, 4)]
"""``B, T, D, N``: one step; lengths at, above and below whole chunks; channels and states beside whole blocks."""
OPTIONS = [
    {},
    {"gate": True, "bias": True},
    {"initial": True, "softplus": False},
    {"gate": True, "bias": True, "initial": True},
]

COMPILE = """
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import MockTensor

class NoDevice:
    def get_current_target(self):
        return GPUTarget("cuda", {capability}, 32)
    def get_current_device(self):
        return 0
    def get_current_stream(self, device=0):
        return 0

driver.set_active(NoDevice())
from metst.models.scan import triton_kernels
from metst.models.scan.triton_scan import shape_of_program

p, size = MockTensor(torch.float32), {size}
for there in (p, None):
    operands, outputs = (p, p, there, there, p, p, p, p), (p, there, there, there)
    options = dict(SOFTPLUS=there is None, grid=(1,), **shape_of_program(size[2]))
    triton_kernels.forward.warmup(operands, there, outputs, size, **options)
    saved, gradients = (there, p, there, p), (p, p, p, p, p)
    triton_kernels.backward.warmup(operands, saved, (p, there), gradients, (p, p, p, there), size, **options)
print("compiled")
"""
"""Compiles both kernels, with all operands and with none that may be absent, for a device that is not there."""


@pytest.fixture(scope="module")
def device() -> Iterator[str]:
    """Where the kernels run."""
    if torch.cuda.is_available():
        yield "cuda"
        return
    halves = importlib.import_module(HALVES)
    library = torch.library.Library("metst", "IMPL")
    with warnings.catch_warnings(action="ignore"):  # torch says that it does what is wanted
        library.impl("selective_scan", halves.scan, "CPU", allow_override=True)
        library.impl("selective_scan_backward", halves.scan_backward, "CPU", allow_override=True)
    yield "cpu"
    library._destroy()


@pytest.fixture
def short_chunks(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_scan, "CHUNK", CHUNK)
    monkeypatch.setattr(importlib.import_module(HALVES), "CHUNK", CHUNK)


def compare(shape: tuple[int, int, int, int], options: dict[str, bool], *, device: str) -> None:
    """Values with the loop's, all gradients with those of the definition in double precision."""
    a, softplus = operands(shape, **options), options.get("softplus", True)
    rng = np.random.default_rng(1)
    weights = [torch.tensor(rng.standard_normal(s)) for s in (a["u"].shape, (shape[0], shape[2], shape[3]))]
    fast = {name: tensor.to(device).requires_grad_() for name, tensor in tensors(a).items()}
    exact = tensors(a, grad=True, dtype=torch.float64)
    y, state = selective_scan(**fast, delta_softplus=softplus, return_last_state=True)
    wanted_y, wanted_state = loop(a, delta_softplus=softplus)
    assert distance(y.detach().cpu(), wanted_y) < VALUE_TOLERANCE
    assert distance(state.detach().cpu(), wanted_state) < VALUE_TOLERANCE
    torch.autograd.backward([y, state], [w.float().to(device) for w in weights])
    torch.autograd.backward(list(reference_scan(**exact, delta_softplus=softplus)), weights)
    for name in a:
        assert distance(fast[name].grad.cpu(), exact[name].grad) < GRADIENT_TOLERANCE, name


@pytest.mark.usefixtures("short_chunks")
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_with_all_operands(shape: tuple[int, int, int, int], device: str) -> None:
    compare(shape, {"gate": True, "bias": True, "initial": True}, device=device)


@pytest.mark.usefixtures("short_chunks")
@pytest.mark.parametrize("options", OPTIONS)
def test_values_and_gradients_with_some_operands(options: dict[str, bool], device: str) -> None:
    compare((2, 7, 5, 3), options, device=device)


def test_values_and_gradients_over_two_chunks_of_the_real_size(device: str) -> None:
    compare((1, numpy_scan.CHUNK + 1, 5, 3), {"gate": True, "initial": True}, device=device)


def test_the_kernels_are_what_ran(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all of the above would be said of the loops for the processor."""
    called: list[str] = []
    kernels = importlib.import_module(KERNELS)

    class Seen:
        def __init__(self, name: str) -> None:
            self.name, self.kernel = name, getattr(kernels, name)

        def __getitem__(self, grid: tuple[int, int]):
            called.append(self.name)
            return self.kernel[grid]

    for name in ("forward", "backward"):
        monkeypatch.setattr(kernels, name, Seen(name))
    a = {name: tensor.to(device).requires_grad_() for name, tensor in tensors(operands((1, 2, 3, 2))).items()}
    selective_scan(**a, delta_softplus=True).sum().backward()
    assert called == ["forward", "backward"]


@pytest.mark.usefixtures("short_chunks")
def test_a_loss_of_the_output_alone_or_of_the_last_state_alone_has_gradients(device: str) -> None:
    for part in (0, 1):
        a = operands((1, 5, 3, 2), initial=True)
        got = {name: tensor.to(device).requires_grad_() for name, tensor in tensors(a).items()}
        wanted = tensors(a, grad=True, dtype=torch.float64)
        selective_scan(**got, delta_softplus=True, return_last_state=True)[part].square().sum().backward()
        reference_scan(**wanted, delta_softplus=True)[part].square().sum().backward()
        for name, tensor in wanted.items():
            reference = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            assert distance(got[name].grad.cpu(), reference) < GRADIENT_TOLERANCE, name


@pytest.mark.usefixtures("short_chunks")
def test_pieces_with_their_state_give_the_bits_of_the_whole(device: str) -> None:
    a = {name: tensor.to(device) for name, tensor in tensors(operands((2, 9, 5, 3), gate=True, bias=True)).items()}
    whole, last = selective_scan(**a, delta_softplus=True, return_last_state=True)
    in_time, pieces, state = ("u", "delta", "B", "C", "z"), [], None
    for begin, end in ((0, 3), (3, 9)):
        piece = a | {name: a[name][:, begin:end] for name in in_time}
        y, state = selective_scan(**piece, delta_softplus=True, initial_state=state, return_last_state=True)
        pieces.append(y)
    assert torch.equal(torch.cat(pieces, dim=1), whole)
    assert torch.equal(state, last)


def test_slow_decays_keep_their_digits(device: str) -> None:
    """States that lose 1e-4 to 1e-1 a step: the factor itself, rounded, would be off by 1e-5 in the end."""
    rates, length = np.geomspace(1.0037e-4, 1.0037e-1, 4).astype(np.float32), 300
    a: dict[str, Array] = {
        "u": np.zeros((1, length, 1), np.float32),
        "delta": np.ones((1, length, 1), np.float32),
        "A": -rates[None],
        "B": np.zeros((1, length, 4), np.float32),
        "C": np.zeros((1, length, 4), np.float32),
        "D": np.zeros(1, np.float32),
        "initial_state": np.ones((1, 1, 4), np.float32),
    }
    _, state = selective_scan(**{name: t.to(device) for name, t in tensors(a).items()}, return_last_state=True)
    wanted = np.exp(-length * rates.astype(np.float64))
    assert np.abs(state.cpu().numpy()[0, 0] / wanted - 1).max() < VALUE_TOLERANCE


def test_steps_and_gates_of_any_size_are_accurate_relative_to_their_value(device: str) -> None:
    """With one state and one step, ``y`` is the step size by itself; without a state, ``u`` behind the gate."""
    x = np.concatenate([np.linspace(-80, 80, 33), np.linspace(-1, 1, 21), [-1e-6, 1e-6]]).astype(np.float32)
    rows, one = torch.from_numpy(x).view(1, 1, -1).to(device), torch.ones(1, 1, 1, device=device)
    ones, none = torch.ones_like(rows), torch.zeros(x.size, device=device)
    step = selective_scan(ones, rows, -torch.ones(x.size, 1, device=device), one, one, none, delta_softplus=True)
    gated = selective_scan(ones, ones, -ones[0].T, 0 * one, one, none + 1, z=rows)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(step.cpu().numpy()[0, 0], np.logaddexp(0, exact), rtol=1e-6)
    np.testing.assert_allclose(gated.cpu().numpy()[0, 0], exact / (1 + np.exp(-exact)), rtol=1e-6)


@pytest.mark.usefixtures("short_chunks")
def test_operator_obeys_the_rules_of_torch(device: str) -> None:
    made = tensors(operands((1, 5, 3, 2), gate=True, bias=True, initial=True))
    a = {name: tensor.to(device).requires_grad_() for name, tensor in made.items()}
    required = [a[name] for name in ("u", "delta", "A", "B", "C", "D")]
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(
        scan_operator, (required, a["z"], a["delta_bias"], a["initial_state"], True, True, True), test_utils=tests
    )


@pytest.mark.usefixtures("short_chunks")
def test_gradients_come_also_after_a_forward_pass_that_kept_nothing(device: str) -> None:
    a = operands((1, 6, 3, 2), gate=True)
    made = {name: tensor.to(device) for name, tensor in tensors(a).items()}
    required = [made[name] for name in ("u", "delta", "A", "B", "C", "D")]
    halves, grad = importlib.import_module(HALVES), torch.ones_like(made["u"])
    kept, not_kept = (halves.scan(required, made["z"], None, None, True, False, keep)[2:] for keep in (True, False))
    assert not any(tensor.numel() for tensor in not_kept)
    one, other = (
        halves.scan_backward(grad, None, required, made["z"], None, None, list(saved), True)
        for saved in (kept, not_kept)
    )
    for got, wanted in zip((*one[0], *one[1:]), (*other[0], *other[1:]), strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize(("capability", "size"), [(80, (30, 256, 16)), (90, (1, 1, 1))])
def test_the_kernels_compile_for_a_device_that_is_not_there(capability: int, size: tuple[int, int, int]) -> None:
    """The interpreter knows no types: it runs what the compiler refuses."""
    code = COMPILE.format(capability=capability, size=size)
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"TRITON_INTERPRET": "0"}, capture_output=True, text=True
    )
    assert done.stdout == "compiled\n", done.stderr[-2000:]
