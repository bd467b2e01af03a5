"""Speed and memory of the whole networks: training, whole videos, live frames.

The baseline is the network as it runs without the compiled operators: torch's grouped convolution, and mamba-ssm's
reference loop.  *Default* and *fair* as in ``scan.py``: the loop as published with glibc's allocator as it is, and the
loop with its states unbound beside an allocator that keeps its memory.  Contestants of a row take turns in one process
on one thread, and each keeps its best processor time, so that neighbours on the machine count little; two threads are
compared by the clock.

    python benchmarks/network.py [training] [video] [live] [threads] [memory] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch
from scan import gain_of_two_threads, in_process, infer, print_machine, published_loop, resident_kb
from torch import Tensor
from torch.nn import functional

from metst.models import networks
from metst.models.engine import Engine
from metst.models.networks import PUBLISHED, StateTransitionNetwork
from metst.models.scan.convolution_operator import reference_convolution
from metst.training.simulated_recipes import RECIPES

NETWORK = "boosting-vrme"
NETWORKS = {**PUBLISHED, "metst-event": RECIPES["metst-event"].network}
LIVE = ("boosting-vrme", "metst-plus", "metst", "metst-event")
BATCH, WINDOW = 32, 30
FRAMES = 20_000
REFERENCE_FRAMES = 1000  # of the same video: for all, the reference would need some 3 GB per layer
CHUNK = 1000
WARM_UP, LIVE_FRAMES = 50, 1000


def network_of(name: str) -> StateTransitionNetwork:
    torch.manual_seed(0)
    return StateTransitionNetwork(NETWORKS[name])


def engine_of(name: str) -> Engine:
    weights = {key: value.numpy() for key, value in network_of(name).state_dict().items()}
    return Engine(NETWORKS[name], weights, where="untrained weights")


def motion(name: str, *, batch: int, frames: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, frames, NETWORKS[name].in_channels)).astype(np.float32)


def reference_mamba_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    *,
    z: Tensor,
    delta_bias: Tensor,
    unbound: bool,
    **_unused: object,
) -> Tensor:
    """The reference loop between the softplus and the gate, as in ``selective_scan_ref``."""
    operands = {"u": u, "delta": functional.softplus(delta + delta_bias), "A": A, "B": B, "C": C, "D": D}
    return published_loop(operands, unbound=unbound) * functional.silu(z)


@contextmanager
def on_reference_loop(*, unbound: bool) -> Iterator[None]:
    """The torch network without the compiled operators."""

    def scan(*operands: Tensor, **options: Tensor) -> Tensor:
        return reference_mamba_scan(*operands, unbound=unbound, **options)

    with mock.patch.multiple(networks, selective_scan=scan, causal_convolution=reference_convolution):
        yield


def training_step(network: StateTransitionNetwork, x: Tensor, optimiser: torch.optim.Optimizer) -> None:
    score, logits = network(x)
    optimiser.zero_grad()
    (score.square().mean() + logits.square().mean()).backward()
    optimiser.step()


def stepper() -> Callable[[], None]:
    network = network_of(NETWORK).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)
    x = torch.from_numpy(motion(NETWORK, batch=BATCH, frames=WINDOW)).transpose(1, 2).contiguous()
    return lambda: training_step(network, x, optimiser)


def take_turns(ours: Callable[[], None], reference: Callable[[], None], *, rounds: int) -> dict[str, float]:
    """Best processor seconds of each, and the median over the rounds of the ratio of neighbours."""
    ours()
    times: list[tuple[float, float]] = []
    for _ in range(rounds):
        pair = []
        for run, repeats in ((ours, 5), (reference, 1)):
            best = float("inf")
            for _ in range(repeats):
                start = time.process_time()
                run()
                best = min(best, time.process_time() - start)
            pair.append(best)
        times.append((pair[0], pair[1]))
    mine, theirs = (min(column) for column in zip(*times, strict=True))
    return {"metst": mine, "reference": theirs, "paired": float(np.median([r / m for m, r in times]))}


def training(*, fair: bool, rounds: int) -> dict[str, float]:
    ours, reference = stepper(), stepper()

    def referred() -> None:
        with on_reference_loop(unbound=fair):
            reference()

    return take_turns(ours, referred, rounds=rounds)


def video(*, fair: bool, rounds: int) -> dict[str, float]:
    """Seconds per frame."""
    engine, network, x = engine_of(NETWORK), network_of(NETWORK).eval(), motion(NETWORK, batch=1, frames=FRAMES)
    part = {"x": torch.from_numpy(x[:, :REFERENCE_FRAMES]).transpose(1, 2)}

    def referred() -> None:
        with on_reference_loop(unbound=fair):
            infer(lambda a: network(a["x"])[0], part)

    found = take_turns(lambda: engine(x), referred, rounds=rounds)  # type: ignore[arg-type]
    scale = FRAMES / REFERENCE_FRAMES
    return {
        "metst": found["metst"] / FRAMES,
        "reference": found["reference"] / REFERENCE_FRAMES,
        "paired": found["paired"] * scale,
    }


def live() -> dict[str, dict[str, float]]:
    """Mean milliseconds of one frame: on the clock, and of the processor alone."""
    found = {}
    for name in LIVE:
        engine, x, state = engine_of(name), motion(name, batch=1, frames=WARM_UP + LIVE_FRAMES), None
        for frame in range(WARM_UP + LIVE_FRAMES):
            if frame == WARM_UP:
                clock, processor = time.perf_counter(), time.process_time()
            _, _, state = engine.advance(x[:, frame : frame + 1], state, last=False)
        spent = time.perf_counter() - clock, time.process_time() - processor
        found[name] = {"clock": spent[0] / LIVE_FRAMES * 1e3, "processor": spent[1] / LIVE_FRAMES * 1e3}
    return found


def threads(*, rounds: int) -> dict[str, float]:
    """Seconds with one thread over seconds with two, in turn."""
    step, engine, x = stepper(), engine_of(NETWORK), motion(NETWORK, batch=1, frames=FRAMES)
    return gain_of_two_threads({"training step": step, "whole video": lambda: engine(x)}, rounds=rounds)


def peak_memory(frames: int) -> float:
    """Peak resident MB of a process that scores a video chunk by chunk and keeps its scores."""
    engine, rng, state, kept = engine_of(NETWORK), np.random.default_rng(0), None, []
    for first in range(0, frames, CHUNK):
        x = rng.standard_normal((1, CHUNK, PUBLISHED[NETWORK].in_channels), dtype=np.float32)
        score, logits, state = engine.advance(x, state, last=first + CHUNK >= frames)
        kept.append((score, logits))
    return resident_kb("VmHWM") / 1024


def run_stage(stage: str, *, rounds: int) -> object:
    torch.set_num_threads(1)
    stages: dict[str, Callable[[], object]] = {
        "training default": lambda: training(fair=False, rounds=min(rounds, 2)),
        "training fair": lambda: training(fair=True, rounds=rounds),
        "video default": lambda: video(fair=False, rounds=rounds),
        "video fair": lambda: video(fair=True, rounds=rounds),
        "live": live,
        "threads": lambda: threads(rounds=rounds),
        "memory short": lambda: peak_memory(FRAMES),
        "memory long": lambda: peak_memory(10 * FRAMES),
    }
    return stages[stage]()


def stage(name: str, *, rounds: int, fair: bool = False, threads: int = 1) -> object:
    return in_process(name, rounds=rounds, fair=fair, threads=threads, script=__file__)


def print_contest(row: str, title: str, unit: tuple[str, float], *, rounds: int) -> None:
    print(f"\n{title}\n{'':18}{'metst':>12}{'reference':>12}{'ratio':>8}{'paired':>8}", flush=True)
    name, scale = unit
    for kind in ("default", "fair"):
        found = stage(f"{row} {kind}", rounds=rounds, fair=kind == "fair")
        assert isinstance(found, dict)
        mine, theirs = (found[who] * scale for who in ("metst", "reference"))
        print(f"{kind:10}{name:8}{mine:12.2f}{theirs:12.2f}{theirs / mine:8.1f}{found['paired']:8.1f}", flush=True)


def print_training(rounds: int) -> None:
    title = f"one training step of {NETWORK}, batch {BATCH}, {WINDOW} frames: forward, backward, Adam"
    print_contest("training", title, ("ms", 1e3), rounds=rounds)


def print_video(rounds: int) -> None:
    title = f"scoring {FRAMES} frames with {NETWORK} (the reference: {REFERENCE_FRAMES} of them), per frame"
    print_contest("video", title, ("us", 1e6), rounds=rounds)


def print_live(rounds: int) -> None:
    found = stage("live", rounds=rounds)
    assert isinstance(found, dict)
    print(f"\none live frame, mean of {LIVE_FRAMES}\n{'':18}{'clock ms':>12}{'processor ms':>14}")
    for name, spent in found.items():
        print(f"{name:18}{spent['clock']:12.2f}{spent['processor']:14.2f}", flush=True)


def print_threads(rounds: int) -> None:
    found = stage("threads", rounds=rounds, threads=2)
    assert isinstance(found, dict)
    print(f"\ntwo threads against one: {', '.join(f'{part} {gain:.2f}x' for part, gain in found.items())}", flush=True)


def print_memory(rounds: int) -> None:
    short, long = (float(str(stage(f"memory {length}", rounds=rounds))) for length in ("short", "long"))
    print(f"\npeak memory of scoring in chunks of {CHUNK} frames with {NETWORK}")
    print(f"  {FRAMES} frames {short:.0f} MB, {10 * FRAMES} frames {long:.0f} MB: {long / short:.3f}x", flush=True)


ROWS = {
    "training": print_training,
    "video": print_video,
    "live": print_live,
    "threads": print_threads,
    "memory": print_memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which rows, by default all: {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(run_stage(options.stage, rounds=options.rounds)))
        return
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no row {', '.join(sorted(unknown))}: there are {', '.join(ROWS)}")
    print_machine()
    for row in options.rows or ROWS:
        ROWS[row](options.rounds)


if __name__ == "__main__":
    main()
