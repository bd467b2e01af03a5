"""Time and memory of exported networks: the graph of many frames, the one-step graph, and the engine, on one thread.

*At once* is the graph of ``metst export --whole`` over the recording in one run, *chunks* the same in chunks with
carried state, *steps* the graph of ``metst export``.  Last, a network of 30 Mamba blocks in the size of those that were
reported slow through ONNX ``Loop`` (onnxruntime issue 27796: 256 channels of 16 states), by the graph as it is, by the
nodes of ONNX that the file holds for other runtimes, and with every scan put into a ``Loop``.  Contestants of a row
take turns in one process and each keeps its best processor time; memory is the growth of the peak of a process of its
own.

    python benchmarks/export.py [--rounds 3] [NETWORK ...]

Networks are ``metst-event`` (the packaged one) and the published ones, which have untrained weights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from network import motion, network_of
from onnx import helper
from scan import in_process, print_machine, race, resident_kb

from metst.config import DecodeSettings, InputSettings, ModelInfo, NetworkConfig, ScoringSettings
from metst.models.checkpoint import DEFAULT_MODEL, Model, load_model, save_model
from metst.models.chunk import RUNTIME_DOMAIN
from metst.models.networks import PUBLISHED, StateTransitionNetwork
from metst.models.onnx import STATE_IN, TOLERANCE, export_onnx

NETWORKS = (DEFAULT_MODEL, "metst", "boosting-vrme")
FRAMES = 1000
"""Of the recording: 33 s at 30 frames/s."""
STEPS = 100
"""Frames of it that the one-step graph takes; its time per frame does not depend on them."""
CHUNK = 256
"""Frames of a chunk: about where the graph is fastest."""
DEEP = "30 blocks"
DEEP_FRAMES = (3, 30, 300)
"""0.1, 1 and 10 s at 30 frames/s."""
AT_ONCE, CHUNKS, STEPWISE, ENGINE = "at once", "chunks", "steps", "engine"

Run = Callable[[], None]


def model_of(name: str, folder: Path) -> Model:
    """The packaged model, or one of untrained weights."""
    if name == DEFAULT_MODEL:
        return load_model(name)
    if name == DEEP:
        torch.manual_seed(0)
        sizes = {"name": "deep", "blocks": 30, "d_state": 16, "time_step_start": "spread"}
        network = StateTransitionNetwork(NetworkConfig(**PUBLISHED["metst"].model_dump() | sizes))
    else:
        network = network_of(name)
    info = ModelInfo(
        network=network.config,
        classes=tuple("abcde"),
        input=InputSettings(regions=tuple(range(1, network.config.in_channels // 2 + 1))),
        scoring=ScoringSettings(),
        decode=DecodeSettings(peak_threshold=0.5),
        trained_on="nothing",
    )
    target = folder / name
    return Model(info, target) if target.exists() else save_model(target, network=network.eval(), info=info)


def write_graphs(name: str, folder: Path) -> None:
    """All graphs of a network, for the processes that run them."""
    model = model_of(name, folder)
    export_onnx(model, folder / f"{name} whole.onnx", whole=True)
    if name == DEEP:
        for way, change in OTHERWISE.items():
            graph = change(onnx.load(folder / f"{name} whole.onnx"))
            onnx.checker.check_model(graph, full_check=True)
            onnx.save(graph, folder / f"{name} {way}.onnx")
    else:
        export_onnx(model, folder / f"{name} step.onnx")


def in_nodes_of_onnx(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph for a runtime that does not know the node of onnxruntime: it takes the function."""
    for each in (*model.opset_import, *model.functions, *model.graph.node):
        if each.domain == RUNTIME_DOMAIN:
            each.domain = "unknown"
    return model


def through_loops(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with each scan as a loop over the frames, as exporters write a loop of PyTorch."""
    nodes = list(model.graph.node)
    del model.graph.node[:], model.functions[:]
    for node in nodes:
        model.graph.node.extend(_loop(node) if node.op_type == "LinearAttention" else [node])
    return model


OTHERWISE = {"ONNX": in_nodes_of_onnx, "Loop": through_loops}
"""Other ways to say a scan."""


def _loop(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    heads = next(attribute.i for attribute in node.attribute if attribute.name == "kv_num_heads")
    query, key, value, past, decay = node.input
    out, last = node.output
    name = node.name

    def named(part: str) -> str:
        return f"{name} {part}"

    body_nodes = []
    for part, source in zip("qkvg", (query, key, value, decay), strict=True):
        row = helper.make_node("Gather", [source, named("t")], [named(f"{part} row")], axis=1)
        shape = named("shared" if part in "qk" else "of each")
        body_nodes += [row, helper.make_node("Reshape", [row.output[0], shape], [named(part)])]
    for operator, inputs, output in (
        ("Exp", ["g"], "decay"),
        ("Mul", ["decay", "state in"], "kept"),
        ("Mul", ["k", "v"], "drive"),
        ("Add", ["kept", "drive"], "state out"),
        ("Mul", ["state out", "q"], "read"),
        ("ReduceSum", ["read", "axes"], "y"),
        ("Identity", ["going"], "on"),
    ):
        extra = {"keepdims": 0} if operator == "ReduceSum" else {}
        body_nodes.append(helper.make_node(operator, [named(each) for each in inputs], [named(output)], **extra))
    boolean, number, whole = onnx.TensorProto.BOOL, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    body = helper.make_graph(
        body_nodes,
        named("body"),
        [
            helper.make_tensor_value_info(named("t"), whole, []),
            helper.make_tensor_value_info(named("going"), boolean, []),
            helper.make_tensor_value_info(named("state in"), number, None),
        ],
        [
            helper.make_tensor_value_info(named("on"), boolean, []),
            helper.make_tensor_value_info(named("state out"), number, None),
            helper.make_tensor_value_info(named("y"), number, None),
        ],
        [
            helper.make_tensor(named("shared"), whole, [4], [0, 1, -1, 1]),
            helper.make_tensor(named("of each"), whole, [4], [0, heads, -1, 1]),
            helper.make_tensor(named("axes"), whole, [2], [2, 3]),
        ],
    )
    return [
        helper.make_node("Shape", [value], [named("length")], start=1, end=2),
        helper.make_node("Squeeze", [named("length")], [named("frames")]),
        helper.make_node("Loop", [named("frames"), "", past], [last, named("rows")], body=body),
        helper.make_node("Transpose", [named("rows")], [out], perm=[1, 0, 2]),
    ]


def opened(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def played(session: Any, x: np.ndarray, *, size: int) -> Iterator[list[np.ndarray]]:
    """Rows of ``x`` (1, T, C) by a graph, in chunks of so many frames; 0 for the graph of one step."""
    state = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs() if i.name.startswith(STATE_IN)}
    present = np.ones(x.shape[:2], bool)
    for first in range(0, x.shape[1], size or 1):
        part = slice(first, first + size) if size else first
        score, logits, _, *states = session.run(None, {"x": x[:, part], "present": present[:, part], **state})
        state = dict(zip(state, states, strict=True))
        yield [score, logits]


def contestant(name: str, way: str, folder: Path, *, frames: int) -> tuple[Run, int]:
    """What to run, and how many frames it takes."""
    model = model_of(name, folder)
    if way == STEPWISE:
        frames = min(frames, STEPS)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, frames, model.info.network.in_channels), np.float32)
    if way == ENGINE:
        engine = model.engine
        return lambda: (engine(x), None)[1], frames
    file = {STEPWISE: "step"}.get(way, way if way in OTHERWISE else "whole")
    session, size = opened(folder / f"{name} {file}.onnx"), {STEPWISE: 0, CHUNKS: CHUNK}.get(way, frames)

    def run() -> None:
        for _ in played(session, x, size=size):
            pass

    return run, frames


def milliseconds(name: str, folder: Path, *, ways: tuple[str, ...], frames: int, rounds: int) -> dict[str, float]:
    """Per frame, of each way."""
    runs = {way: contestant(name, way, folder, frames=frames) for way in ways}
    best = race({way: run for way, (run, _) in runs.items()}, rounds=rounds)
    return {way: best[way] / taken * 1e3 for way, (_, taken) in runs.items()}


def memory_growth(name: str, way: str, folder: Path) -> float:
    """MB by which a recording raises the peak of a process that has run over a few frames."""
    warm, _ = contestant(name, way, folder, frames=8)
    warm()
    run, _ = contestant(name, way, folder, frames=FRAMES)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = resident_kb("VmRSS")
    run()
    return (resident_kb("VmHWM") - before) / 1024


def run_stage(stage: str, *, rounds: int) -> object:
    torch.set_num_threads(1)
    what, name, way, frames, folder = stage.split("|")
    if what == "memory":
        return memory_growth(name, way, Path(folder))
    return milliseconds(name, Path(folder), ways=tuple(way.split(",")), frames=int(frames), rounds=rounds)


def print_network(name: str, folder: Path, *, rounds: int) -> None:
    write_graphs(name, folder)
    ways = (ENGINE, AT_ONCE, CHUNKS, STEPWISE)
    spent = in_process(f"time|{name}|{','.join(ways)}|{FRAMES}|{folder}", rounds=rounds, script=__file__)
    print(f"\n{name}, {FRAMES} frames\n{'':10}{'ms a frame':>12}{'to engine':>12}{'peak +MB':>12}")
    for way in ways:
        grown = in_process(f"memory|{name}|{way}|{FRAMES}|{folder}", rounds=1, script=__file__)
        print(f"{way:10}{spent[way]:12.3f}{spent[way] / spent[ENGINE]:12.1f}{grown:12.0f}", flush=True)


def print_deep(folder: Path, *, rounds: int) -> None:
    write_graphs(DEEP, folder)
    agree(folder)
    ways = (ENGINE, AT_ONCE, *OTHERWISE)
    print(
        f"\n{DEEP} of 256 channels and 16 states, milliseconds in all\n{'frames':10}"
        + "".join(f"{way:>12}" for way in ways)
    )
    for frames in DEEP_FRAMES:
        spent = in_process(f"time|{DEEP}|{','.join(ways)}|{frames}|{folder}", rounds=rounds, script=__file__)
        print(f"{frames:<10}" + "".join(f"{spent[way] * frames:12.2f}" for way in ways), flush=True)


def agree(folder: Path) -> None:
    """All graphs compute the same."""
    x = motion("metst", batch=1, frames=30)
    wanted, *others = (next(played(opened(folder / f"{DEEP} {way}.onnx"), x, size=30)) for way in ("whole", *OTHERWISE))
    for found in others:
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, atol=TOLERANCE * max(1.0, float(np.abs(b).max())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"by default {', '.join(NETWORKS)}, {DEEP!r}")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(run_stage(options.stage, rounds=options.rounds)))
        return
    print_machine()
    print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.networks or (*NETWORKS, DEEP):
            if name == DEEP:
                print_deep(Path(folder), rounds=options.rounds)
            else:
                print_network(name, Path(folder), rounds=options.rounds)


if __name__ == "__main__":
    main()
