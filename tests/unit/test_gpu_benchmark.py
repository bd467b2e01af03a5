"""``benchmarks/gpu.py``: what it says without a graphics processor, and what its figures are made of."""

import sys
from types import ModuleType

import pytest
import torch

from helpers.benchmark_modules import CHECKOUT, benchmark_module


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(CHECKOUT / "benchmarks")
        return benchmark_module("gpu")


def test_without_a_graphics_processor_it_says_so_and_runs_nothing(
    gpu: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert gpu.main() == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert "sees no graphics processor on this machine: nothing was run" in line


def test_bytes_of_a_scan_by_hand(gpu: ModuleType) -> None:
    """Two sequences of three steps, five channels, seven states: 30 numbers in a row operand, 42 in a map."""
    assert gpu.moved_bytes((2, 3, 5, 7), backward=False) == 4 * (4 * 30 + 2 * 42)
    assert gpu.moved_bytes((2, 3, 5, 7), backward=True) == 4 * (8 * 30 + 4 * 42)


def test_a_scan_agrees_with_itself_and_not_with_another(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu.disagreement((2, 5, 3, 4), device="cpu")[0] == 0
    calls: list[int] = []

    def off(a: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        calls.append(0)
        return {"y": torch.ones(2), "gradient of u": torch.tensor([1.0, 2.0 + 0.02 * (len(calls) == 1)])}

    monkeypatch.setattr(gpu, "results", off)
    worst, name = gpu.disagreement((2, 5, 3, 4), device="cpu")
    assert name == "gradient of u"
    assert abs(worst - 0.01) < 1e-6
