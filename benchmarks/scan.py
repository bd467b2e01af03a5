"""Speed and memory of the selective scan against what people use on a processor today.

Two baselines, both on one thread.  *Default*: mamba-ssm's reference loop as published, and glibc's allocator as it is.
*Fair*: its states unbound outside the loop, and an allocator that keeps its memory (set by ``GLIBC_TUNABLES``, hence a
process of its own).  Within a process all contestants take turns and each keeps its best time: processor time on one
thread, so that neighbours on the machine count little; time on the clock where two threads are compared.  The
time-first loop is the project's own reference, the fastest that plain tensor operations got.

    python benchmarks/scan.py [--rounds 5] [--large-reference]

``mambapy`` takes part where it is installed (``pip install --no-deps mambapy==1.2.0``).

    python benchmarks/scan.py --ggml FOLDER [--rounds 3]

compares the forward pass with compiled peers instead (see ``peers.py``): llama.cpp's, from the unpacked wheel of
``libggml-python`` 0.20.2 (``pip download --no-deps libggml-python==0.20.2``), and onnxruntime's where it is installed.
What they compute is compared before it is timed.

    python benchmarks/scan.py --extension PYTHON [--rounds 3]

compares with ``selective_scan_fn`` of intel-extension-for-pytorch (``extension_scan.py``), in processes that alternate:
``PYTHON`` is that of an environment with torch and intel-extension-for-pytorch 2.8.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from peers import Arrays, Peer, ggml_instructions, ggml_scan, load_ggml, runtime_scan
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional

from metst.models.scan import reference_scan, selective_scan
from metst.models.scan.compile import hot_loop
from metst.models.scan.math import fma

FAIR = "glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=17179869184"
TRAINING = (32, 30, 256, 64)
VIDEO = (1, 4000, 256, 64)
LONG_VIDEO = (1, 20_000, 512, 64)

SMALL_STATE = (1, 4000, 256, 16)
PEER_SHAPES = (TRAINING, VIDEO, LONG_VIDEO, SMALL_STATE)
TURNS = 5
"""Of a process that alternates with that of another environment."""
DEMAND = 16
"""Times faster than ggml that is wanted."""
LARGEST_DECAY, LARGEST_LOOP = 1 << 29, 1 << 27
"""Bytes of a number for each state and step, up to which onnxruntime, which holds one, and the loops take part."""

ARITHMETIC = {"exponential": 11, "state": 2, "output": 1}
"""Vector instructions of one state update: exponential 3 fused or plain to reduce, 4 for the polynomial, 1 shift,
1 to scale, 1 subtraction and 1 fused at the end; state 2 fused; output 1 fused."""

Operands = dict[str, Tensor]
Contestant = Callable[[Operands], Tensor]


def operands(shape: tuple[int, int, int, int], *, grad: bool) -> Operands:
    batch, length, width, states = shape
    generator = torch.Generator().manual_seed(0)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    made = {
        "u": normal(batch, length, width),
        "delta": torch.rand(batch, length, width, generator=generator) * 0.1,
        "A": -torch.arange(1.0, states + 1).repeat(width, 1),
        "B": normal(batch, length, states),
        "C": normal(batch, length, states),
        "D": torch.ones(width),
    }
    return {name: operand.requires_grad_(grad) for name, operand in made.items()}


def ours(a: Operands) -> Tensor:
    return selective_scan(**a)


def published_loop(a: Operands, *, unbound: bool = False) -> Tensor:
    """As ``selective_scan_ref`` of mamba-ssm does it: time after the channels, and an index into it at each step."""
    u, delta, B, C = (a[name].transpose(1, 2) for name in ("u", "delta", "B", "C"))
    decay = torch.exp(torch.einsum("bdl,dn->bdln", delta, a["A"]))
    drive = torch.einsum("bdl,bnl,bdl->bdln", delta, B, u)
    steps = range(u.shape[2])
    if unbound:
        decays, drives, maps = decay.unbind(2), drive.unbind(2), C.unbind(2)
    state, outputs = torch.zeros_like(decay[:, :, 0]), []
    for t in steps:
        if unbound:
            state = decays[t] * state + drives[t]
            outputs.append(torch.einsum("bdn,bn->bd", state, maps[t]))
        else:
            state = decay[:, :, t] * state + drive[:, :, t]
            outputs.append(torch.einsum("bdn,bn->bd", state, C[:, :, t]))
    return (torch.stack(outputs, dim=2) + u * a["D"].unsqueeze(-1)).transpose(1, 2)


def unbound_published_loop(a: Operands) -> Tensor:
    return published_loop(a, unbound=True)


def time_first_loop(a: Operands) -> Tensor:
    """The project's own reference: states unbound, time before the channels."""
    return reference_scan(**a)[0]


def parallel_scan(a: Operands) -> Tensor:
    """As ``mambapy.mamba.MambaBlock.selective_scan`` does it."""
    from mambapy.pscan import pscan

    decay = torch.exp(a["delta"].unsqueeze(-1) * a["A"])
    drive = a["delta"].unsqueeze(-1) * a["B"].unsqueeze(2) * a["u"].unsqueeze(-1)
    return (pscan(decay, drive) @ a["C"].unsqueeze(-1)).squeeze(3) + a["D"] * a["u"]


def has(package: str) -> bool:
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def train(contestant: Contestant, a: Operands) -> None:
    contestant(a).sum().backward()
    for operand in a.values():
        operand.grad = None


def infer(contestant: Contestant, a: Operands) -> None:
    with torch.no_grad():
        contestant(a)


def race(
    runs: dict[str, Callable[[], None]], *, rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """Best seconds of each, in turn; those that take less than a second run five times per turn."""
    for run in runs.values():
        run()
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            for _ in range(1 if best[name] > 1 and np.isfinite(best[name]) else 5):
                start = clock()
                run()
                best[name] = min(best[name], clock() - start)
                if best[name] > 1:
                    break
    return best


def contest(*, fair: bool, rounds: int) -> dict[str, dict[str, float]]:
    """Both contests of one process: training and whole-video inference."""
    loop = unbound_published_loop if fair else published_loop
    contestants: dict[str, Contestant] = {"metst": ours, "reference loop": loop, "time-first loop": time_first_loop}
    if has("mambapy"):
        contestants["mambapy"] = parallel_scan
    batch, video = operands(TRAINING, grad=True), operands(VIDEO, grad=False)
    trained = {name: lambda c=c: train(c, batch) for name, c in contestants.items()}
    inferred = {name: lambda c=c: infer(c, video) for name, c in contestants.items()}
    return {"training": race(trained, rounds=rounds), "video": race(inferred, rounds=rounds)}


@hot_loop
def _fused_adds(sums: np.ndarray, factor: np.ndarray, rounds: int) -> None:
    """12 independent chains of fused multiply-adds, as many as keep two ports with a latency of 4 busy."""
    for _ in range(rounds):
        for j in range(192):
            sums[0, j] = fma(sums[0, j], factor[0, 0], factor[0, 1])


@numba.njit(nogil=True)
def _run_fused_adds(sums: np.ndarray, factor: np.ndarray, rounds: int) -> None:
    """Python's way in: hot loops have none of their own."""
    _fused_adds(sums, factor, rounds)


def vector_peak(rounds: int = 2_000_000) -> float:
    """Vector instructions for 16 numbers per second that this core reaches."""
    sums, factor = np.ones((1, 192), np.float32), np.array([[0.5, 0.5]], np.float32)
    _run_fused_adds(sums, factor, 10)
    seconds = race({"peak": lambda: _run_fused_adds(sums, factor, rounds)}, rounds=4)["peak"]
    return rounds * 192 / 16 / seconds


def long_video(*, rounds: int) -> dict[str, float]:
    """Seconds of the forward pass over 20,000 frames, and what its arithmetic alone would take."""
    a = operands(LONG_VIDEO, grad=False)
    seconds = race({"metst": lambda: infer(ours, a)}, rounds=rounds)["metst"]
    updates = float(np.prod(LONG_VIDEO)) / 16
    return {"seconds": seconds, "bound": updates * sum(ARITHMETIC.values()) / vector_peak()}


def gain_of_two_threads(runs: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Seconds with one thread over seconds with two, in turn."""

    def on(count: int, run: Callable[[], object]) -> Callable[[], None]:
        def timed() -> None:
            torch.set_num_threads(count)
            os.environ["OMP_NUM_THREADS"] = str(count)
            with threadpool_limits(count, user_api="blas"):
                run()

        return timed

    best = race(
        {f"{part} {n}": on(n, run) for part, run in runs.items() for n in (1, 2)},
        rounds=rounds,
        clock=time.perf_counter,
    )
    return {part: best[f"{part} 1"] / best[f"{part} 2"] for part in runs}


def threads(*, rounds: int) -> dict[str, float]:
    """What a second thread gains, in training and over a long video."""
    batch, video = operands(TRAINING, grad=True), operands(LONG_VIDEO, grad=False)
    runs = {"training": lambda: train(ours, batch), "long video": lambda: infer(ours, video)}
    return gain_of_two_threads(runs, rounds=rounds)


def memory_growth(contestant: Contestant) -> float:
    """MB by which the forward pass over 20,000 frames, its output included, raises the peak of the process."""
    infer(contestant, operands((1, 40, 64, 64), grad=False))
    a = operands(LONG_VIDEO, grad=False)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making the operands
    before = resident_kb("VmRSS")
    infer(contestant, a)
    return (resident_kb("VmHWM") - before) / 1024


def resident_kb(field: str) -> int:
    """A field of Linux' account of this process: ``VmRSS`` now, ``VmHWM`` at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def before_softplus(shape: tuple[int, int, int, int]) -> Arrays:
    """The operands with step sizes as they are before the softplus, which peers compute themselves."""
    a = {name: operand.numpy() for name, operand in operands(shape, grad=False).items()}
    return a | {"delta": np.log(np.expm1(np.maximum(a["delta"], 1e-6)))}


def scan_of(given: Arrays) -> Peer:
    tensors = {name: torch.from_numpy(operand) for name, operand in given.items()}
    return lambda: np.asarray(selective_scan(**tensors, delta_softplus=True).numpy())


def print_extension(python: Path, *, rounds: int) -> None:
    """Time of ours and of the extension's at each shape, turn about in processes of their own."""
    script = Path(__file__).with_name("extension_scan.py")
    print(f"{'(B, T, D, N)':26}{'metst':>12}{'extension':>14}{'ratio':>10}")
    for index, shape in enumerate(PEER_SHAPES):
        given, ours_s, theirs_s = before_softplus(shape), [], []
        with tempfile.TemporaryDirectory() as folder:
            held, found = Path(folder) / "operands.npz", Path(folder) / "out.npy"
            np.savez(held, **given)  # type: ignore[arg-type]
            for _ in range(rounds):
                ours_s.append(in_process(f"alone|{index}", rounds=TURNS))
                command = [str(python), str(script), str(held), str(found), str(TURNS)]
                environment = os.environ | {"OMP_NUM_THREADS": "1"}
                done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
                theirs_s.append(float(done.stdout.split()[-1]))
            wanted = scan_of(given)()
            np.testing.assert_allclose(np.load(found), wanted, atol=2e-5 * np.abs(wanted).max())
        mine, theirs = min(ours_s), min(theirs_s)
        print(f"{shape!s:26}{mine * 1e3:9.2f} ms{theirs * 1e3:11.1f} ms{theirs / mine:9.1f}x", flush=True)


def peers_at(shape: tuple[int, int, int, int], *, ggml: Path, rounds: int) -> dict[str, float]:
    """Seconds of the forward pass of each; step sizes go in before the softplus where a peer computes it."""
    given = before_softplus(shape)
    tensors = {name: torch.from_numpy(operand) for name, operand in given.items()}
    after = tensors | {"delta": functional.softplus(tensors["delta"])}
    peers: dict[str, Peer] = {
        "metst": scan_of(given),
        "ggml": ggml_scan(load_ggml(ggml), given),
    }
    if 4 * np.prod(shape) <= LARGEST_DECAY and has("onnxruntime") and has("onnx"):
        peers["onnxruntime"] = runtime_scan(given, decay_inside=True)
        peers["onnxruntime, decay given"] = runtime_scan(given, decay_inside=False)
    if 4 * np.prod(shape) <= LARGEST_LOOP:
        peers["time-first loop"] = lambda: time_first_loop(after).numpy()
        peers["reference loop"] = lambda: published_loop(after).numpy()
        if has("mambapy"):
            peers["mambapy"] = lambda: parallel_scan(after).numpy()
    skip = given["D"] * given["u"]
    with torch.no_grad():
        wanted = peers["metst"]()
        for name, peer in peers.items():
            found = peer() + skip if name.startswith(("ggml", "onnxruntime")) else peer()
            np.testing.assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max(), err_msg=name)
        return race({name: lambda p=peer: (p(), None)[1] for name, peer in peers.items()}, rounds=rounds)


def in_process(stage: str, *, rounds: int, fair: bool = False, threads: int = 1, script: str | Path = __file__) -> Any:
    """Run a stage of a benchmark in a fresh process; matrix threads rest as they do where metst is imported first."""
    rest = {"OPENBLAS_THREAD_TIMEOUT": "14", "GOMP_SPINCOUNT": "2000"}
    environment = os.environ | rest | {"OMP_NUM_THREADS": str(threads)} | ({"GLIBC_TUNABLES": FAIR} if fair else {})
    command = [sys.executable, str(Path(script)), "--stage", stage, "--rounds", str(rounds)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def run_stage(stage: str, *, rounds: int) -> object:
    torch.set_num_threads(1)
    if stage.startswith("peers|"):
        _, index, folder = stage.split("|")
        return peers_at(PEER_SHAPES[int(index)], ggml=Path(folder), rounds=rounds)
    if stage.startswith("alone|"):
        run = scan_of(before_softplus(PEER_SHAPES[int(stage.split("|")[1])]))
        return race({"metst": lambda: (run(), None)[1]}, rounds=rounds)["metst"]
    stages: dict[str, Callable[[], object]] = {
        "default": lambda: contest(fair=False, rounds=rounds),
        "fair": lambda: contest(fair=True, rounds=rounds),
        "long": lambda: long_video(rounds=rounds),
        "threads": lambda: threads(rounds=rounds),
        "memory": lambda: {"metst": memory_growth(ours)},
        "reference memory": lambda: {"reference loop": memory_growth(published_loop)},
    }
    return stages[stage]()


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def print_machine() -> None:
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("torch", "numba", "llvmlite", "numpy"))
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{processor()}, {os.cpu_count()} processors{load}; Python {platform.python_version()}, {versions}")


def print_contests(default: dict[str, dict[str, float]], fair: dict[str, dict[str, float]]) -> None:
    titles = {
        "training": f"forward + backward at (B, T, D, N) = {TRAINING}",
        "video": f"forward at {VIDEO}",
    }
    for part, title in titles.items():
        print(f"\n{title}\n{'':18}{'default ms':>12}{'ratio':>8}{'fair ms':>12}{'ratio':>8}")
        for name in default[part]:
            row = f"{name:18}"
            for times in (default[part], fair[part]):
                row += f"{times[name] * 1e3:12.1f}{times[name] / times['metst']:8.1f}"
            print(row)
    if "mambapy" not in default["training"]:
        print("\nmambapy is not installed: its rows are missing")


def print_peers(ggml: Path, *, rounds: int) -> None:
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("onnxruntime", "mambapy") if has(name)
    )
    print(f"ggml of {ggml.name}, built for {ggml_instructions(load_ggml(ggml))}; {versions}")
    for index, shape in enumerate(PEER_SHAPES):
        found = in_process(f"peers|{index}|{ggml}", rounds=rounds)
        print(f"\nforward at (B, T, D, N) = {shape}, softplus included; wanted {DEMAND}x of ggml")
        for name, seconds in found.items():
            print(f"{name:26}{seconds * 1e3:12.2f} ms{seconds / found['metst']:9.1f}x", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant")
    parser.add_argument("--large-reference", action="store_true", help="measure the reference's 7.5 GB too")
    parser.add_argument("--ggml", type=Path, metavar="FOLDER", help="compare compiled peers; where ggml's wheel lies")
    parser.add_argument("--extension", type=Path, metavar="PYTHON", help="of an environment with the extension")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(run_stage(options.stage, rounds=options.rounds)))
        return
    print_machine()
    if options.ggml:
        print_peers(options.ggml.resolve(), rounds=options.rounds)
        return
    if options.extension:
        print_extension(options.extension, rounds=options.rounds)
        return
    rounds = options.rounds
    print_contests(in_process("default", rounds=rounds), in_process("fair", rounds=rounds, fair=True))
    long = in_process("long", rounds=rounds)
    share = long["bound"] / long["seconds"]
    print(f"\nforward at {LONG_VIDEO}: {long['seconds'] * 1e3:.0f} ms")
    print(
        f"  arithmetic alone ({sum(ARITHMETIC.values())} vector instructions per 16 updates at the measured peak): "
        f"{long['bound'] * 1e3:.0f} ms, {share:.0%} of the bound reached"
    )
    gains = in_process("threads", rounds=rounds, threads=2)
    print(f"  two threads against one: {', '.join(f'{part} {gain:.2f}x' for part, gain in gains.items())}")
    growth = in_process("memory", rounds=1)
    if options.large_reference:
        growth |= in_process("reference memory", rounds=1)
    for name, megabytes in growth.items():
        print(f"  growth of the peak resident memory, output of 41 MB included: {name} {megabytes:.0f} MB")


if __name__ == "__main__":
    main()
