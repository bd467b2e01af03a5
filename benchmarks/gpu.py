"""The selective scan and the trainings on a graphics processor: agreement, speed, and what leave-one-subject-out takes.

Prints, in under ten minutes on one device:

- how far the kernel's output and gradients are from those of the loops for the processor;
- the time of a scan beside what moving its operands alone would take at the bandwidth of a copy: ``device`` is that of
  its kernels, ``call`` that of the whole call by the clock;
- the time of a training step of the published networks, batches and optimiser included, with mixed precision off and
  on, and the hours that follow for all folds of SAMM Long Videos and CAS(ME)3, with the steps of ``loso_hours.py``;
- the same of several trainings at once.

Ends with 1 where kernel and loops disagree, with 2 where there is no graphics processor.

    python benchmarks/gpu.py [--rehearse]

``--rehearse`` goes through all of it on the processor, on tiny sizes: the figures then mean nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from loso_hours import SUBJECTS, first_fold, make_features
from scan import operands as mamba_operands
from torch import Tensor

from metst.evaluation.executors import TASKS_PER_GPU
from metst.models.scan import selective_scan
from metst.models.scan.selective import implementation
from metst.published.facts import DATA_SETS, NETWORKS, TrainedOn
from metst.training import published_recipe
from metst.training.devices import has_mixed_precision
from metst.training.loop import fit_network, fresh_network
from metst.training.recipes import Recipe, changed_recipe

Shape = tuple[int, int, int, int]
Operands = dict[str, Tensor]

AGREEMENT = 1e-5  # of the largest value; both sides are in single precision
BYTES = 4  # of a number in single precision
WITHOUT = 2  # exit code


@dataclass(frozen=True)
class Sizes:
    """How much is done."""

    compared: tuple[Shape, ...] = ((32, 30, 256, 64), (2, 333, 130, 17), (1, 4000, 256, 16))
    timed: tuple[Shape, ...] = ((32, 30, 128, 64), (32, 30, 256, 64), (256, 50, 256, 64), (1, 4000, 256, 16))
    copied: int = 2**28  # numbers: 1 GiB there and back, far more than any cache
    rounds: int = 20
    warm_up: int = 5
    steps: int = 20
    networks: tuple[str, ...] = tuple(NETWORKS)
    changes: tuple[tuple[str, int], ...] = ()  # of the recipes


TINY = ((2, 5, 7, 3),)
REHEARSAL = Sizes(
    TINY, TINY, copied=2**16, rounds=1, warm_up=1, steps=1, networks=("metst-plus",),
    changes=(("network.width", 4), ("network.blocks", 3)),
)  # fmt: skip


def operands(shape: Shape, *, device: str) -> Operands:
    """All there can be, as a network gives them."""
    batch, _, width, states = shape
    generator, of_mamba = torch.Generator().manual_seed(1), mamba_operands(shape, grad=False)
    made = of_mamba | {
        "delta": torch.log(torch.expm1(of_mamba["delta"] + 1e-3)),  # before the softplus
        "z": torch.randn(of_mamba["u"].shape, generator=generator),
        "delta_bias": torch.randn(width, generator=generator) / 2,
        "initial_state": torch.randn(batch, width, states, generator=generator),
    }
    return {name: tensor.to(device).requires_grad_() for name, tensor in made.items()}


def results(a: Operands) -> Operands:
    """Output, last state and all gradients of one scan."""
    y, state = selective_scan(**a, delta_softplus=True, return_last_state=True)
    torch.autograd.backward([y, state], [torch.cos(torch.arange(t.numel())).view(t.shape).to(t) for t in (y, state)])
    return {"y": y, "last state": state} | {f"gradient of {name}": tensor.grad for name, tensor in a.items()}


def disagreement(shape: Shape, *, device: str) -> tuple[float, str]:
    """Largest difference from the loops for the processor, relative to the largest value, and of what."""
    ours, wanted = results(operands(shape, device=device)), results(operands(shape, device="cpu"))
    found = {
        name: float((ours[name].detach().cpu() - value.detach()).abs().max() / value.detach().abs().max())
        for name, value in wanted.items()
    }
    worst = max(found, key=lambda name: found[name])
    return found[worst], worst


def moved_bytes(shape: Shape, *, backward: bool) -> int:
    """What a scan with a gate must read and write at least; the backward pass its own part alone."""
    batch, length, width, states = shape
    rows, maps = batch * length * width, batch * length * states
    if not backward:
        return BYTES * (3 * rows + 2 * maps + rows)  # u, delta, z, B, C; y
    return BYTES * (5 * rows + 2 * maps + 3 * rows + 2 * maps)  # also the output before the gate and a gradient; five


def seconds(run: Callable[[], object], *, device: str, rounds: int) -> float:
    """Of one call, in the median."""
    taken = []
    for _ in range(rounds + 2):
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken[2:]))


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def bandwidth(sizes: Sizes, *, device: str) -> float:
    """Bytes per second that a copy moves, there and back."""
    one = torch.ones(sizes.copied, device=device)
    other = torch.empty_like(one)
    return 2 * BYTES * sizes.copied / seconds(lambda: other.copy_(one), device=device, rounds=sizes.rounds)


def device_seconds(run: Callable[[], object], *, device: str, rounds: int) -> float:
    """Of the kernels of one call alone, in the mean, as the profiler has it; on the processor by the clock."""
    if device == "cpu":
        return seconds(run, device=device, rounds=rounds)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(rounds):
            run()
        _wait(device)
    return sum(event.self_device_time_total for event in profile.key_averages()) * 1e-6 / rounds


def scan_passes(shape: Shape, *, device: str) -> dict[str, Callable[[], object]]:
    """The forward pass, and the backward pass alone."""
    a = operands(shape, device=device)
    del a["initial_state"]
    y = selective_scan(**a, delta_softplus=True)
    grad = torch.ones_like(y)
    return {
        "forward": lambda: selective_scan(**a, delta_softplus=True),
        "backward": lambda: torch.autograd.grad(y, list(a.values()), grad, retain_graph=True),
    }


def step_seconds(features: Path, recipe: Recipe, sizes: Sizes, *, device: str) -> tuple[float, int]:
    """Of one training step, in the median, and steps of a fold."""
    training, _, epoch_steps = first_fold(features, recipe, steps=sizes.warm_up + sizes.steps)
    moments = [time.perf_counter()]
    network = fresh_network(recipe.network, seed=1)
    fit_network(network, training, device=device, on_progress=lambda *_: moments.append(time.perf_counter()))
    return float(np.median(np.diff(moments)[sizes.warm_up :])), epoch_steps * recipe.epochs


def chosen_recipe(name: str, sizes: Sizes, *, mixed: bool) -> Recipe:
    return changed_recipe(published_recipe(name), {"mixed_precision": mixed, **dict(sizes.changes)})


def at_once(features: Path, name: str, *, rehearse: bool) -> float:
    """Seconds of a step while several trainings share the device, each in a process of its own: the slowest of them."""
    command = [sys.executable, __file__, "--stage", str(features), "--recipe", name, *["--rehearse"] * rehearse]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(TASKS_PER_GPU)]
    printed = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        sys.exit("a training beside others failed, see above")
    return max(json.loads(line)["seconds"] for line in printed)


def print_scans(sizes: Sizes, *, device: str) -> bool:
    """Agreement and speed; whether all agree."""
    agree = True
    for shape in sizes.compared:
        worst, name = disagreement(shape, device=device)
        agree &= worst < AGREEMENT
        print(f"agreement {shape!s:20} largest difference {worst:.1e} of the largest value ({name})"
              f"{'' if worst < AGREEMENT else f': MORE than {AGREEMENT}'}")  # fmt: skip
    speed = bandwidth(sizes, device=device)
    print(f"copy: {speed / 1e9:.0f} GB/s")
    for shape in sizes.timed:
        for part, run in scan_passes(shape, device=device).items():
            call = seconds(run, device=device, rounds=sizes.rounds)
            alone = device_seconds(run, device=device, rounds=sizes.rounds)
            bound = moved_bytes(shape, backward=part == "backward") / speed
            print(f"scan {shape!s:20} {part:8} device {alone * 1e6:8.1f} us, memory bound {bound * 1e6:8.1f} us:"
                  f" {bound / alone:.0%}; call {call * 1e6:8.1f} us")  # fmt: skip
    return agree


def print_trainings(work: Path, sizes: Sizes, *, device: str) -> None:
    """Steps of all networks on both data sets, and hours of all folds one after the other."""
    for data_set in DATA_SETS:
        make_features(work / data_set, data_set)
        plan = DATA_SETS[data_set]
        print(f"{data_set}: batches of {plan.batch_size}, {plan.window} frames, {SUBJECTS[data_set]} folds")
        for name in sizes.networks:
            print_network(work / data_set, name, data_set, sizes, device=device)
    for name in sizes.networks:
        several = at_once(work / "samm-lv", name, rehearse=device == "cpu")
        print(f"samm-lv {name:14} float32, {TASKS_PER_GPU} at once: a step of each {several * 1e3:.1f} ms, of all"
              f" {several / TASKS_PER_GPU * 1e3:.1f} ms")  # fmt: skip


def print_network(features: Path, name: str, data_set: TrainedOn, sizes: Sizes, *, device: str) -> None:
    for mixed in (False, True):
        precision = "bfloat16" if mixed else "float32"
        if mixed and device == "cuda" and not has_mixed_precision(device):
            print(f"  {name:14} {precision}: this device has none")
            continue
        step, steps = step_seconds(features, chosen_recipe(name, sizes, mixed=mixed), sizes, device=device)
        fold = step * steps / 60
        print(f"  {name:14} {precision:8} a step {step * 1e3:8.1f} ms, a fold of {steps} steps {fold:6.1f} min,"
              f" all {fold * SUBJECTS[data_set] / 60:6.1f} h")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rehearse", action="store_true", help="on the processor, tiny: to see that the script works")
    parser.add_argument("--stage", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--recipe", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.rehearse and not torch.cuda.is_available():
        print(f"PyTorch {torch.__version__} sees no graphics processor on this machine: nothing was run")
        return WITHOUT
    device, sizes = ("cpu", REHEARSAL) if options.rehearse else ("cuda", Sizes())
    if options.stage:
        recipe = chosen_recipe(options.recipe, sizes, mixed=False)
        print(json.dumps({"seconds": step_seconds(options.stage, recipe, sizes, device=device)[0]}))
        return 0
    started = time.perf_counter()
    scanned = implementation(device, torch.float32, initial=False, through_state=False)
    name = "REHEARSAL on the processor" if options.rehearse else torch.cuda.get_device_name()
    print(f"{name}; torch {torch.__version__}, CUDA {torch.version.cuda}; scans by: {scanned}")
    agree = print_scans(sizes, device=device)
    with tempfile.TemporaryDirectory() as work:
        print_trainings(Path(work), sizes, device=device)
    print(f"{time.perf_counter() - started:.0f} s in all")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
